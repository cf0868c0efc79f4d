//! What is to be restored, in which phase and by whom: from the archive's table of contents. Pure.
//!
//! Sections are PostgreSQL's (`pg_backup_archiver.c`): an entry without one belongs to that of the entry before it (`ProcessArchiveRestoreOptions`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use shared::archive::toc::{Entry, Text, Toc, lossy, section};
use shared::manifest::Manifest;

use super::Roles;

/// Name of the table of contents.
pub(super) const TOC: &str = "toc.dat";

/// What is to be restored.
pub(super) struct Contents {
    /// The table of contents; its entries are below.
    pub toc: Toc,
    /// What makes the session: encoding, strings, search path.
    pub special: Vec<Entry>,
    /// Before the rows.
    pub pre_data: Vec<Entry>,
    /// Our data files.
    pub loads: Vec<Load>,
    /// Of the data section, what needs no file: positions of sequences, the making of large objects.
    pub data: Vec<Entry>,
    /// Of the data section, what pg_dump wrote into files of its own.
    pub own_files: Vec<Entry>,
    /// Indexes and constraints: what takes long, and is done by several connections.
    pub heavy: Vec<Entry>,
    /// Everything else after the rows, in its order.
    pub post_data: Vec<Entry>,
    /// Materialized views to be filled.
    pub refreshes: Vec<Entry>,
    /// What must come last: event triggers would see everything that follows them.
    pub last: Vec<Entry>,
    /// What is never restored into a copy, by kind.
    pub left_out: BTreeMap<String, usize>,
}

/// A data file that is loaded by us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub dump_id: i32,
    /// Place in the manifest's objects.
    pub object: usize,
    /// Place in the manifest's tables.
    pub table: usize,
    pub copy_statement: String,
    /// Whether it is the only file of its table, and is loaded into this very table: then the table can be emptied first, and the rows be written frozen.
    pub is_alone: bool,
    /// What must be there first: its table.
    pub waits: Vec<i32>,
}

const SPECIAL: [&str; 3] = ["ENCODING", "STDSTRINGS", "SEARCHPATH"];
const HEAVY: [&str; 5] = ["INDEX", "INDEX ATTACH", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT"];
/// Which of them take a lock that excludes all others (`identify_locking_dependencies`).
const EXCLUSIVE: [&str; 3] = ["CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT"];

pub(super) fn text(text: &Text) -> String {
    text.as_deref().map(lossy).unwrap_or_default()
}

/// Kind, schema and name of an entry, for a person.
pub(super) fn describe(entry: &Entry) -> String {
    let (kind, schema, name) = (text(&entry.description), text(&entry.namespace), text(&entry.tag));
    if schema.is_empty() { format!("{kind} {name}") } else { format!("{kind} {schema}.{name}") }
}

/// What the copy is not asked to have.
pub(super) fn reason_to_leave_out(entry: &Entry, roles: Roles, superuser: bool) -> Option<&'static str> {
    let about = |what: &str| entry.tag.as_deref().is_some_and(|tag| tag.starts_with(what.as_bytes()));
    let kind = text(&entry.description);
    match kind.as_str() {
        "DATABASE" | "DATABASE PROPERTIES" => Some("definition of the database itself"),
        "ACL" | "COMMENT" | "SECURITY LABEL" if about("DATABASE ") => Some("comment and privileges of the database itself"),
        "ACL" | "DEFAULT ACL" if roles == Roles::None => Some("privilege"),
        // "must be owner of extension": RDS's extensions belong to somebody else.
        "COMMENT" if about("EXTENSION ") && !superuser => Some("comment on an extension"),
        _ => None,
    }
}

impl Contents {
    /// Sorts a table of contents.
    ///
    /// # Errors
    /// When it and the manifest do not name the same files.
    pub(super) fn sort(mut toc: Toc, manifest: &Manifest, roles: Roles, superuser: bool) -> Result<Self, String> {
        let objects: HashMap<&str, usize> = manifest.objects.iter().enumerate().map(|(place, object)| (object.name.as_str(), place)).collect();
        let tables: HashMap<&str, usize> = manifest
            .tables
            .iter()
            .enumerate()
            .filter(|(_, table)| !table.by_pg_dump)
            .flat_map(|(place, table)| table.objects.iter().map(move |name| (name.as_str(), place)))
            .collect();
        let entries = std::mem::take(&mut toc.entries);
        let mut contents = Self {
            toc,
            special: Vec::new(),
            pre_data: Vec::new(),
            loads: Vec::new(),
            data: Vec::new(),
            own_files: Vec::new(),
            heavy: Vec::new(),
            post_data: Vec::new(),
            refreshes: Vec::new(),
            last: Vec::new(),
            left_out: BTreeMap::new(),
        };
        let mut current = section::PRE_DATA;
        for entry in entries {
            if (section::PRE_DATA..=section::POST_DATA).contains(&entry.section) {
                current = entry.section;
            }
            let kind = text(&entry.description);
            if SPECIAL.contains(&kind.as_str()) {
                contents.special.push(entry);
            } else if let Some(reason) = reason_to_leave_out(&entry, roles, superuser) {
                *contents.left_out.entry(reason.to_owned()).or_default() += 1;
            } else if current == section::PRE_DATA {
                contents.pre_data.push(entry);
            } else if current == section::DATA {
                contents.take_data(entry, manifest, &objects, &tables)?;
            } else if kind == "EVENT TRIGGER"
                || (["COMMENT", "SECURITY LABEL"].contains(&kind.as_str()) && text(&entry.tag).starts_with("EVENT TRIGGER "))
            {
                contents.last.push(entry);
            } else if kind == "MATERIALIZED VIEW DATA" && is_text(&entry) {
                contents.refreshes.push(entry);
            } else if HEAVY.contains(&kind.as_str()) && is_text(&entry) {
                contents.heavy.push(entry);
            } else {
                contents.post_data.push(entry);
            }
        }
        contents.move_what_waits();
        let loaded: BTreeSet<usize> = contents.loads.iter().map(|load| load.object).collect();
        match tables.keys().find(|name| objects.get(**name).is_none_or(|object| !loaded.contains(object))) {
            Some(name) => Err(format!("the table of contents does not name {name}, which the manifest does")),
            None => Ok(contents),
        }
    }

    fn take_data(&mut self, entry: Entry, manifest: &Manifest, objects: &HashMap<&str, usize>, tables: &HashMap<&str, usize>) -> Result<(), String> {
        let Some(file) = entry.data_file() else {
            self.data.push(entry);
            return Ok(());
        };
        let found = ["", ".zst", ".gz"].iter().find_map(|suffix| objects.get_key_value(format!("{file}{suffix}").as_str()));
        let (name, object) = found.ok_or_else(|| format!("the table of contents names {file}, which the manifest does not"))?;
        match tables.get(name) {
            Some(table) => {
                let copy_statement = entry.copy_statement.clone().and_then(|statement| String::from_utf8(statement).ok());
                let copy_statement =
                    copy_statement.ok_or_else(|| format!("the statement that loads {} is not text", manifest.objects[*object].name))?;
                let waits = entry.dependency_ids().collect();
                // pg_restore reads the same sign (`_loadViaPartitionRoot` of `pg_backup_archiver.c`).
                let is_shared = text(&entry.definition).starts_with("-- load via partition root");
                let is_alone = manifest.tables[*table].objects.len() == 1 && !is_shared;
                self.loads.push(Load { dump_id: entry.dump_id, object: *object, table: *table, copy_statement, is_alone, waits });
            }
            None => self.own_files.push(entry),
        }
        Ok(())
    }

    /// What waits for something that is done one by one is done one by one too. (Rules of views that need a primary key wait the other way round.)
    fn move_what_waits(&mut self) {
        let mut slow: HashSet<i32> = self.post_data.iter().map(|entry| entry.dump_id).collect();
        // A rule, statistics or a policy that waits for an index is no reason: nothing heavy waits for it.
        loop {
            let (waiting, heavy): (Vec<Entry>, Vec<Entry>) =
                std::mem::take(&mut self.heavy).into_iter().partition(|entry| entry.dependency_ids().any(|id| slow.contains(&id)));
            self.heavy = heavy;
            if waiting.is_empty() {
                return;
            }
            slow.extend(waiting.iter().map(|entry| entry.dump_id));
            self.post_data.extend(waiting);
            // They follow what they wait for.
        }
    }

    /// Every entry that is restored, by its id.
    pub(super) fn by_id(&self) -> HashMap<i32, &Entry> {
        let all = [&self.pre_data, &self.data, &self.own_files, &self.heavy, &self.post_data, &self.refreshes, &self.last];
        all.into_iter().flatten().map(|entry| (entry.dump_id, entry)).collect()
    }

    /// Everything that cannot be there without an entry.
    pub(super) fn dependents(&self, id: i32) -> BTreeSet<i32> {
        let by_id = self.by_id();
        let entries = by_id.values().map(|entry| (entry.dump_id, entry.dependency_ids().collect()));
        let nodes: Vec<(i32, Vec<i32>)> = entries.chain(self.loads.iter().map(|load| (load.dump_id, load.waits.clone()))).collect();
        let mut lost = BTreeSet::from([id]);
        loop {
            let more: Vec<i32> =
                nodes.iter().filter(|(id, waits)| !lost.contains(id) && waits.iter().any(|wait| lost.contains(wait))).map(|(id, _)| *id).collect();
            if more.is_empty() {
                lost.remove(&id);
                return lost;
            }
            lost.extend(more);
        }
    }

    /// Tables that an entry waits for.
    pub(super) fn tables_of(entry: &Entry, by_id: &HashMap<i32, &Entry>) -> Vec<i32> {
        entry.dependency_ids().filter(|id| by_id.get(id).is_some_and(|other| other.is("TABLE"))).collect()
    }

    /// Whether an entry's statement excludes everybody else from its tables.
    pub(super) fn is_exclusive(entry: &Entry) -> bool {
        EXCLUSIVE.iter().any(|kind| entry.is(kind))
    }

    /// A session's setting from the archive: the value in `SET client_encoding = 'UTF8';`.
    pub(super) fn setting(&self, kind: &str) -> Option<String> {
        let definition = text(&self.special.iter().find(|entry| entry.is(kind))?.definition);
        let (_, rest) = definition.split_once('\'')?;
        rest.split_once('\'').map(|(value, _)| value.to_owned())
    }

    /// The tablespaces that are named.
    pub(super) fn tablespaces(&self) -> BTreeSet<String> {
        let all = [&self.pre_data, &self.heavy, &self.post_data].into_iter().flatten();
        all.filter_map(|entry| entry.tablespace.as_deref()).filter(|name| !name.is_empty()).map(lossy).collect()
    }
}

fn is_text(entry: &Entry) -> bool {
    entry.definition.as_deref().is_some_and(|definition| std::str::from_utf8(definition).is_ok())
}

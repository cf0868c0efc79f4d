//! What a reading came to, for whoever judges it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shared::digest::Content;
use shared::finding::{Finding, FindingKind};
use shared::manifest::{LargeObjects, Session, TableName};

use super::progress::{Progress, Table};
use super::relations::Relation;
use super::sequences::Position;

/// How far a reading is, and what it has read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Whether everything was read, or given up with a finding.
    pub done: bool,
    /// `server_version_num` / 10000.
    pub server_major: u32,
    /// The settings under which the text was made.
    pub session: Option<Session>,
    /// Tables that were read to their end and whose rows pg_dump would dump.
    #[serde(with = "by_name")]
    pub tables: BTreeMap<TableName, Content>,
    /// What else was read to its end: materialized views, what belongs to extensions.
    #[serde(with = "by_name")]
    pub counted: BTreeMap<TableName, Content>,
    /// Tables that could not be read to their end: the findings say why.
    pub incomplete: BTreeSet<TableName>,
    /// Those that a server loses when it is not shut down, as a snapshot's is not.
    pub unlogged: BTreeSet<TableName>,
    /// Tables that are not read yet.
    pub tables_left: u64,
    /// The large objects, if all were read.
    pub large_objects: Option<LargeObjects>,
    /// Where the sequences stand.
    pub sequences: Vec<Position>,
    /// Bytes of text that were read.
    pub bytes: u64,
    /// What could not be read.
    pub unreadable: Vec<Finding>,
}

/// Damaged ranges of a table that are named one by one.
const RANGES_SHOWN_MAX: usize = 8;

pub(super) fn state(relations: &[Relation], progress: &Progress, findings: Vec<Finding>, session: Session, server_major: u32) -> State {
    let mut state = State { server_major, session: Some(session), unreadable: findings, ..State::default() };
    for relation in relations {
        let Some(table) = progress.tables.get(&relation.oid).filter(|table| table.is_done()) else {
            state.tables_left += 1;
            continue;
        };
        state.bytes += table.rows().bytes;
        if relation.is_unlogged {
            state.unlogged.insert(relation.name.clone());
        }
        match table.content() {
            Some(content) if relation.is_dumped => drop(state.tables.insert(relation.name.clone(), content)),
            Some(content) => drop(state.counted.insert(relation.name.clone(), content)),
            None => {
                state.incomplete.insert(relation.name.clone());
                state.unreadable.extend(table.given_up.clone());
                state.unreadable.extend(damage(relation, table));
            }
        }
    }
    let objects = &progress.objects;
    state.bytes += objects.sum.bytes;
    state.unreadable.extend(objects.given_up.clone());
    state.large_objects = (objects.is_done && objects.given_up.is_none()).then_some(objects.sum);
    if let Some((positions, findings)) = &progress.sequences {
        state.sequences.clone_from(positions);
        state.unreadable.extend(findings.iter().cloned());
    }
    state.done = state.tables_left == 0 && objects.is_done && progress.sequences.is_some();
    state
}

fn damage(relation: &Relation, table: &Table) -> Option<Finding> {
    let damaged = table.damaged();
    let (_, said) = damaged.first()?;
    let mut places: Vec<String> = damaged.iter().take(RANGES_SHOWN_MAX).map(|(span, _)| span.pages()).collect();
    if damaged.len() > RANGES_SHOWN_MAX {
        places.push(format!("{} more ranges", damaged.len() - RANGES_SHOWN_MAX));
    }
    let seen = format!("{} of {} cannot be read: {said}", places.join(", "), relation.pages);
    Some(
        Finding::new(FindingKind::TableUnreadable, relation.subject(), seen)
            .expected("every page can be read")
            .hint("the rows of all other pages were read; look whether production has the same damage, and restore this table from an older backup or an archive"),
    )
}

/// JSON has no keys that are not strings.
mod by_name {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use shared::digest::Content;
    use shared::manifest::TableName;

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<TableName, Content>, serializer: S) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<TableName, Content>, D::Error> {
        Ok(Vec::<(TableName, Content)>::deserialize(deserializer)?.into_iter().collect())
    }
}

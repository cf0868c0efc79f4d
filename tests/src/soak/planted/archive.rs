//! An archive in memory, without compression, with what a planted bug must know about its tables.

use std::collections::BTreeMap;

use local::Instance;
use local::database::{self, with_database};
use rand::RngExt;
use rand::rngs::StdRng;
use shared::archive::toc::{Entry, Toc};
use shared::copy_text::END_OF_DATA;
use sqlx::Connection as _;

use crate::archive::{Held, data, read};
use crate::checks::Backup;

/// A row: its fields as COPY text.
pub(super) type Row = Vec<Vec<u8>>;

/// A table with rows of its own.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// `pg_class.oid`.
    pub(super) oid: u32,
    /// Columns of the COPY text with their types, domains resolved.
    pub(super) columns: Vec<(String, String)>,
    /// A generated column, quoted.
    pub(super) generated: Option<String>,
    /// Has row level security.
    pub(super) has_row_security: bool,
    /// Is loaded through the root of its partition tree.
    pub(super) through_root: bool,
    /// Is unlogged.
    pub(super) is_unlogged: bool,
    /// Tables that inherit from it and are no partitions.
    pub(super) children: Vec<u32>,
    /// Data files, in order.
    pub(super) pieces: Vec<String>,
}

/// An archive.
#[derive(Clone)]
pub(super) struct Archive {
    pub(super) toc: Toc,
    /// By the name in the table of contents.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) tables: Vec<Table>,
    /// Data files of large objects.
    pub(super) large_objects: Vec<String>,
}

type Asked = (i64, Vec<String>, Vec<String>, Option<String>, bool, bool, Vec<i64>);

const TABLES: &str = "
    SELECT c.oid::bigint,
        ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
        ARRAY(SELECT format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
        (SELECT min(quote_ident(a.attname)) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped),
        c.relrowsecurity, c.relpersistence = 'u',
        ARRAY(SELECT i.inhrelid::bigint FROM pg_inherits i JOIN pg_class child ON child.oid = i.inhrelid
               WHERE i.inhparent = c.oid AND NOT child.relispartition)
      FROM pg_class c WHERE c.relkind = 'r' AND c.oid >= 16384 ORDER BY c.oid";

impl Archive {
    /// Reads one from disk, while its database is still there.
    pub(super) async fn open(instance: &Instance, database: &str, backup: &Backup) -> Self {
        let folder = backup.folder.path();
        let toc = Toc::parse(&std::fs::read(folder.join("toc.dat")).expect("read toc.dat")).expect("parse toc.dat");
        let mut connection = database::connect(instance, &with_database(&instance.admin_url, database).expect("a URL")).await.expect("connect");
        let asked: Vec<Asked> = sqlx::query_as(TABLES).fetch_all(&mut connection).await.expect("list the tables");
        connection.close().await.expect("close");
        let (mut files, mut large_objects) = (BTreeMap::new(), Vec::new());
        for name in toc.entries.iter().filter_map(Entry::data_file) {
            let Some(listed) = shared::archive::blobs::is_toc(&name).then(|| std::fs::read(folder.join(&name)).expect("read")) else {
                files.insert(name.clone(), data(folder, &name));
                continue;
            };
            for object in shared::archive::blobs::parse(&String::from_utf8(listed.clone()).expect("text")).expect("parse") {
                files.insert(object.file_name.clone(), data(folder, &object.file_name));
                large_objects.push(object.file_name);
            }
            files.insert(name, listed);
        }
        let mut tables = Vec::new();
        for (oid, names, types, generated, has_row_security, is_unlogged, children) in asked {
            let oid = u32::try_from(oid).expect("an oid");
            let Some(table) = backup.manifest.tables.iter().find(|table| table.oid == oid) else { continue };
            let types: BTreeMap<String, String> = names.into_iter().zip(types).collect();
            tables.push(Table {
                oid,
                columns: table.columns.iter().map(|name| (name.clone(), types[name].clone())).collect(),
                generated,
                has_row_security,
                through_root: table.through_root.is_some(),
                is_unlogged,
                children: children.into_iter().filter_map(|oid| u32::try_from(oid).ok()).collect(),
                pieces: toc.entries.iter().filter(|entry| entry.is("TABLE DATA") && entry.oid() == oid).filter_map(Entry::data_file).collect(),
            });
        }
        Self { toc, files, tables, large_objects }
    }

    /// What the checks read of it.
    pub(super) fn held(self) -> Held {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes) in &self.files {
            std::fs::write(folder.path().join(name), bytes).expect("write a data file");
        }
        std::fs::write(folder.path().join("toc.dat"), self.toc.write()).expect("write toc.dat");
        read(folder.path())
    }

    /// The rows of a data file, without its end.
    pub(super) fn lines(&self, file: &str) -> Vec<Vec<u8>> {
        let rows = self.files[file].strip_suffix(END_OF_DATA).expect("the end of the data");
        let mut lines: Vec<Vec<u8>> = rows.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.pop();
        lines
    }

    /// Writes a data file.
    pub(super) fn set_lines(&mut self, file: &str, lines: &[Vec<u8>]) {
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(END_OF_DATA);
        self.files.insert(file.to_owned(), bytes);
    }

    /// A table of several slices, and one of its slices that has rows and is not the last.
    pub(super) fn slice(&self, rng: &mut StdRng) -> Option<(Table, usize)> {
        let found: Vec<(Table, usize)> = self
            .tables
            .iter()
            .flat_map(|table| (0..table.pieces.len().saturating_sub(1)).map(|number| (table.clone(), number)))
            .filter(|(table, number)| !self.lines(&table.pieces[*number]).is_empty())
            .collect();
        (!found.is_empty()).then(|| found[rng.random_range(0..found.len())].clone())
    }

    /// Writes the fields of columns of some types anew, in every row of every table; says whether any changed.
    pub(super) fn rewrite(&mut self, is_meant: impl Fn(&str) -> bool, rewrite: impl Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
        let mut changed = false;
        for table in self.tables.clone() {
            let places: Vec<usize> =
                table.columns.iter().enumerate().filter(|(_, (_, sql_type))| is_meant(sql_type)).map(|(place, _)| place).collect();
            for file in &table.pieces {
                let mut lines = self.lines(file);
                let mut changed_here = false;
                for line in &mut lines {
                    let mut fields = fields(line);
                    for place in &places {
                        if let Some(new) = fields.get(*place).and_then(|field| rewrite(field)).filter(|new| *new != fields[*place]) {
                            fields[*place] = new;
                            changed_here = true;
                        }
                    }
                    *line = fields.join(&b'\t');
                }
                if changed_here {
                    self.set_lines(file, &lines);
                    changed = true;
                }
            }
        }
        changed
    }

    /// The entries of a data file.
    pub(super) fn entry(&mut self, file: &str) -> &mut Entry {
        self.toc.entries.iter_mut().find(|entry| entry.data_file().as_deref() == Some(file)).expect("the file has an entry")
    }
}

/// A raw tab always ends a field.
pub(super) fn fields(line: &[u8]) -> Row {
    line.split(|byte| *byte == b'\t').map(<[u8]>::to_vec).collect()
}

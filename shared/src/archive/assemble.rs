//! Adds our data entries to a table of contents that pg_dump wrote without them.
//!
//! Three rules of `pg_restore` (`pg_backup_archiver.c`) shape what is written here:
//! * a parallel restore TRUNCATEs a table before each of its data entries, unless the entry's definition begins with
//!   `-- load via partition root ` (`is_load_via_partition_root`); the definition is sent to the server as SQL, so it is a constant text;
//! * an index or constraint waits for *one* data entry of its table, so every slice is added to its dependencies;
//! * the first dependency of a data entry is its table (`tableDataId`).

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};

use super::toc::{Entry, Text, Toc, WITH_ALGORITHM, lossy, section};
use crate::manifest::{Sequence, hex};

/// A table whose rows we dumped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableData {
    /// `pg_class.oid`.
    pub oid: u32,
    /// The name and column list for COPY, quoted: `public.t (a, b)`.
    pub copy_target: String,
    /// `pg_class.oid` of the partition root, where the rows must be loaded through it.
    pub root_oid: Option<u32>,
    /// The files, in order; more than one means slices.
    pub files: Vec<DataFile>,
}

/// A data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Name without the suffix of its compression.
    pub name: String,
}

/// The definition of an entry that must not be preceded by a TRUNCATE. A constant: the text reaches the server as SQL.
const NO_TRUNCATE: &str = "-- load via partition root ";

/// Adds a data entry for every file, in the order given, before everything else of the data section.
///
/// # Errors
/// When a table has no definition in the table of contents (it was dropped, or pg_dump left it out), or has data there already; when
/// slices are wanted in a version whose readers would TRUNCATE between them.
pub fn add_table_data(toc: &mut Toc, tables: &[TableData]) -> Result<(), String> {
    let definitions: HashMap<u32, (i32, Text, Text, Text)> = toc
        .entries
        .iter()
        .filter(|entry| entry.is("TABLE"))
        .map(|entry| (entry.oid(), (entry.dump_id, entry.tag.clone(), entry.namespace.clone(), entry.owner.clone())))
        .collect();
    if let Some(entry) = toc.entries.iter().find(|entry| entry.is("TABLE DATA") && tables.iter().any(|table| table.oid == entry.oid())) {
        return Err(format!("pg_dump dumped the rows of {} although it was told not to", entry.tag.as_deref().map(lossy).unwrap_or_default()));
    }
    let mut next_id = toc.entries.iter().map(|entry| entry.dump_id).max().unwrap_or(0);
    let mut added = Vec::new();
    // Who must wait for which data: the dump id of a table, or of the partition root that rows are loaded through.
    let mut data_of: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for table in tables {
        let (table_id, tag, namespace, owner) = definitions
            .get(&table.oid)
            .ok_or_else(|| format!("pg_dump has no definition of the table {}; was it dropped meanwhile?", table.copy_target))?;
        let sliced = table.files.len() > 1;
        if sliced && toc.version < WITH_ALGORITHM {
            return Err(format!("slices need a table of contents of version {WITH_ALGORITHM} or newer, this has {}", toc.version));
        }
        for (number, file) in table.files.iter().enumerate() {
            next_id += 1;
            data_of.entry(*table_id).or_default().push(next_id);
            if let Some((root_id, ..)) = table.root_oid.and_then(|root| definitions.get(&root)) {
                data_of.entry(*root_id).or_default().push(next_id);
            }
            let no_truncate = sliced || table.root_oid.is_some();
            added.push(Entry {
                dump_id: next_id,
                has_data: 1,
                catalog_oid: Some(b"0".to_vec()),
                oid: Some(table.oid.to_string().into_bytes()),
                tag: tag.clone(),
                description: Some(b"TABLE DATA".to_vec()),
                section: section::DATA,
                definition: no_truncate.then(|| format!("{NO_TRUNCATE}(slice {} of {})", number + 1, table.files.len()).into_bytes()),
                drop_statement: None,
                copy_statement: Some(format!("COPY {} FROM stdin;\n", table.copy_target).into_bytes()),
                namespace: namespace.clone(),
                tablespace: None,
                access_method: None,
                relkind: 0,
                owner: owner.clone(),
                with_oids: Some(b"false".to_vec()),
                dependencies: vec![table_id.to_string().into_bytes()],
                file_name: Some(format!("{}.dat", file.name).into_bytes()),
            });
        }
    }
    grant_schemas_first(toc);
    wait_for_all_data(toc, tables, &definitions.iter().map(|(oid, definition)| (*oid, definition.0)).collect(), &data_of);
    let position = toc.entries.iter().position(|entry| entry.section >= section::DATA).unwrap_or(toc.entries.len());
    toc.entries.splice(position..position, added);
    Ok(())
}

/// Makes the privileges on what is in a schema wait for those on the schema: a privilege that somebody other than the owner granted is restored as that
/// role, which must reach the schema by then. A serial restore keeps the order anyway; pg_dump leaves a parallel one to luck.
fn grant_schemas_first(toc: &mut Toc) {
    let of_schemas: HashMap<Vec<u8>, i32> = toc
        .entries
        .iter()
        .filter(|entry| entry.is("ACL"))
        .filter_map(|entry| Some((entry.tag.as_deref()?.strip_prefix(b"SCHEMA ")?.to_vec(), entry.dump_id)))
        .collect();
    for entry in toc.entries.iter_mut().filter(|entry| entry.is("ACL")) {
        let id = entry.namespace.as_deref().and_then(|schema| of_schemas.get(schema));
        entry.dependencies.extend(id.map(|id| id.to_string().into_bytes()));
    }
}

/// Makes everything after the data wait for every data entry of the tables it depends on. Rows that are loaded through a partition root
/// may land in any leaf, so there every leaf's indexes wait for the data of the whole tree.
fn wait_for_all_data(toc: &mut Toc, tables: &[TableData], table_ids: &HashMap<u32, i32>, data_of: &BTreeMap<i32, Vec<i32>>) {
    let root_of: HashMap<i32, i32> =
        tables.iter().filter_map(|table| Some((*table_ids.get(&table.oid)?, *table_ids.get(&table.root_oid?)?))).collect();
    for entry in toc.entries.iter_mut().filter(|entry| entry.section == section::POST_DATA) {
        let mut waits: Vec<i32> = Vec::new();
        for id in entry.dependency_ids() {
            for id in [Some(&id), root_of.get(&id)].into_iter().flatten() {
                waits.extend(data_of.get(id).into_iter().flatten());
            }
        }
        waits.sort_unstable();
        waits.dedup();
        entry.dependencies.extend(waits.into_iter().map(|id| id.to_string().into_bytes()));
    }
}

/// Every sequence with its position, as the table of contents has it: `SELECT pg_catalog.setval('public.s', 42, true);`.
///
/// # Errors
/// When a statement does not look like that.
pub fn sequences(toc: &Toc) -> Result<Vec<Sequence>, String> {
    let text = |text: &Text| text.as_deref().map(lossy).unwrap_or_default();
    toc.entries
        .iter()
        .filter(|entry| entry.is("SEQUENCE SET"))
        .map(|entry| {
            let statement = text(&entry.definition);
            // From the end: the name may contain anything.
            let mut words = statement.trim().strip_suffix(");").unwrap_or_default().rsplitn(3, ", ");
            let (is_called, last_value) = (words.next().and_then(|word| word.parse().ok()), words.next().and_then(|word| word.parse().ok()));
            let (Some(is_called), Some(last_value)) = (is_called, last_value) else {
                return Err(format!("{statement:?} does not set the position of a sequence"));
            };
            Ok(Sequence { schema: text(&entry.namespace), name: text(&entry.tag), last_value, is_called })
        })
        .collect()
}

/// SHA-256 over kind, schema, name, owner and definition of everything that is not data, whatever its order.
pub fn schema_fingerprint(toc: &Toc) -> String {
    let mut lines: Vec<Vec<u8>> = toc
        .entries
        .iter()
        .filter(|entry| entry.section != section::DATA)
        .map(|entry| {
            let fields = [&entry.description, &entry.namespace, &entry.tag, &entry.owner, &entry.definition];
            let mut line = Vec::new();
            for field in fields {
                // The length keeps two fields from running into each other.
                let bytes = field.as_deref().unwrap_or_default();
                line.extend(bytes.len().to_le_bytes());
                line.extend_from_slice(bytes);
            }
            line
        })
        .collect();
    lines.sort_unstable();
    let mut hash = Sha256::new();
    for line in &lines {
        hash.update(line);
    }
    hex(&hash.finalize())
}

//! An archive on disk, held against another: entry by entry, byte by byte.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write as _;
use std::path::Path;

use shared::archive::toc::{Entry, Toc, lossy, section};
use shared::compression::{Compression, Decompressor};
use shared::copy_text::END_OF_DATA;
use shared::store::Store;

/// Copies an archive from the bucket, as `aws s3 sync` does.
pub async fn download(store: &Store, manifest_key: &str, into: &Path) {
    let prefix = manifest_key.strip_suffix(shared::key::MANIFEST).expect("a manifest's key");
    for object in store.list(prefix).await.expect("list the archive") {
        let bytes = store.get(&object.key).await.expect("read an object").expect("it is listed");
        std::fs::write(into.join(&object.key[prefix.len()..]), bytes).expect("write an object");
    }
}

/// Schema and name of a table, as bytes.
pub type Name = (Vec<u8>, Vec<u8>);

/// By kind, schema and name: the tables whose rows must all be there first.
pub type Waits = BTreeMap<[Vec<u8>; 3], BTreeSet<Name>>;

/// What a folder's archive holds: the rows of each table, slices joined, with its COPY statement; and everything else.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    /// Rows and COPY statement by schema and table, as bytes.
    pub tables: BTreeMap<Name, (Vec<u8>, Vec<u8>)>,
    /// Kind, schema, name, definition and owner of every other entry, sorted.
    pub others: Vec<[Vec<u8>; 5]>,
    /// Large objects by oid.
    pub large_objects: BTreeMap<u32, Vec<u8>>,
    /// The tables whose rows must all be there before `pg_restore -j` makes it.
    pub waits: Waits,
    /// Tables in more than one piece, and pieces without a row among them.
    pub sliced: (usize, usize),
}

/// Reads a folder.
pub fn read(folder: &Path) -> Held {
    let bytes = std::fs::read(folder.join("toc.dat")).expect("read toc.dat");
    let toc = Toc::parse(&bytes).expect("parse toc.dat");
    assert!(toc.write() == bytes, "what was read is written byte for byte");
    let mut held = Held { tables: BTreeMap::new(), others: Vec::new(), large_objects: BTreeMap::new(), waits: waits(&toc), sliced: (0, 0) };
    let mut pieces: BTreeMap<Name, (usize, usize)> = BTreeMap::new();
    for entry in &toc.entries {
        let bytes = |text: &Option<Vec<u8>>| text.clone().unwrap_or_default();
        let file = entry.data_file();
        if let (true, Some(file)) = (entry.is("TABLE DATA"), &file) {
            let data = data(folder, file);
            let rows = data.strip_suffix(END_OF_DATA).unwrap_or_else(|| panic!("{file} has no end of data"));
            let key = (bytes(&entry.namespace), bytes(&entry.tag));
            let (count, empty) = pieces.entry(key.clone()).or_default();
            (*count, *empty) = (*count + 1, *empty + usize::from(rows.is_empty()));
            let table = held.tables.entry(key).or_insert_with(|| (Vec::new(), bytes(&entry.copy_statement)));
            table.0.extend_from_slice(rows);
        } else {
            held.others.push([&entry.description, &entry.namespace, &entry.tag, &entry.definition, &entry.owner].map(bytes));
            if let (true, Some(file)) = (entry.is("BLOBS"), file) {
                let listed =
                    shared::archive::blobs::parse(&String::from_utf8(std::fs::read(folder.join(file)).expect("read")).expect("text")).expect("parse");
                held.large_objects.extend(listed.into_iter().map(|object| (object.oid, self::data(folder, &object.file_name))));
            }
        }
    }
    held.others.sort();
    held.sliced =
        (pieces.values().filter(|(count, _)| *count > 1).count(), pieces.values().filter(|(count, _)| *count > 1).map(|(_, empty)| empty).sum());
    held
}

/// What waits for which data, by the rules of a parallel restore: a dependency on a table is one on the last of its data entries, all others must be
/// named (`repoint_table_dependencies` in `pg_backup_archiver.c`).
fn waits(toc: &Toc) -> Waits {
    let name = |entry: &Entry| [&entry.description, &entry.namespace, &entry.tag].map(|text| text.clone().unwrap_or_default());
    let data: Vec<&Entry> = toc.entries.iter().filter(|entry| entry.is("TABLE DATA")).collect();
    let last_of: HashMap<i32, i32> = data.iter().filter_map(|entry| Some((entry.dependency_ids().next()?, entry.dump_id))).collect();
    let mut pieces: HashMap<Name, BTreeSet<i32>> = HashMap::new();
    for entry in &data {
        let [_, schema, table] = name(entry);
        pieces.entry((schema, table)).or_default().insert(entry.dump_id);
    }
    let mut waits = BTreeMap::new();
    for entry in toc.entries.iter().filter(|entry| entry.section == section::POST_DATA) {
        let awaited: BTreeSet<i32> = entry.dependency_ids().map(|id| last_of.get(&id).copied().unwrap_or(id)).collect();
        let tables = pieces.iter().filter(|(_, pieces)| pieces.is_subset(&awaited)).map(|(table, _)| table.clone());
        waits.entry(name(entry)).or_insert_with(BTreeSet::new).extend(tables);
    }
    waits
}

/// Where two archives differ, in words; empty where they are equal.
pub fn differences(ours: &Held, reference: &Held) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, (rows, copy)) in &reference.tables {
        let shown = format!("{}.{}", lossy(&name.0), lossy(&name.1));
        match ours.tables.get(name) {
            None => differences.push(format!("{shown} is missing")),
            Some((our_rows, _)) if our_rows != rows => {
                differences.push(format!("the rows of {shown} differ: {} bytes, not {}", our_rows.len(), rows.len()));
            }
            Some((_, our_copy)) if our_copy != copy => differences.push(format!("{shown}: {:?}, not {:?}", lossy(our_copy), lossy(copy))),
            Some(_) => {}
        }
    }
    differences.extend(
        ours.tables
            .keys()
            .filter(|name| !reference.tables.contains_key(*name))
            .map(|name| format!("{}.{} is too much", lossy(&name.0), lossy(&name.1))),
    );
    if ours.others != reference.others {
        differences.push("the definitions differ".to_owned());
    }
    let none = BTreeSet::new();
    for (name, tables) in &reference.waits {
        let ours = ours.waits.get(name).unwrap_or(&none);
        differences.extend(tables.difference(ours).map(|table| {
            let [kind, schema, name] = name.each_ref().map(|text| lossy(text));
            format!("{kind} {schema}.{name} does not wait for all rows of {}.{}", lossy(&table.0), lossy(&table.1))
        }));
    }
    if ours.large_objects != reference.large_objects {
        differences.push("the large objects differ".to_owned());
    }
    differences
}

/// A data file, without its compression.
pub(crate) fn data(folder: &Path, file: &str) -> Vec<u8> {
    let found = ["", ".zst", ".gz"].iter().map(|suffix| folder.join(format!("{file}{suffix}"))).find(|path| path.is_file());
    let path = found.unwrap_or_else(|| panic!("{file} is not there"));
    let mut decompressor = Decompressor::new(Compression::of_file(&path.to_string_lossy()), Vec::new()).expect("set up");
    decompressor.write_all(&std::fs::read(&path).expect("read a data file")).expect("decompress");
    decompressor.finish().expect("decompress")
}

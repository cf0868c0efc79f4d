//! A small archive in memory, for tests: two tables (one in two slices), two large objects, a table of contents, globals.

use std::collections::BTreeMap;
use std::io::Write as _;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use shared::archive::toc::{Entry, Toc, section};
use shared::compression::{Compression, Compressor};
use shared::copy_text::END_OF_DATA;
use shared::digest::Content;
use shared::key::{ArchiveKey, MANIFEST};
use shared::listing::Version;
use shared::manifest::{FORMAT, LargeObjects, Lifeboat, Manifest, Object, Server, Session, Table, hex};
use shared::report::parse_slot_name;

/// A manifest of another archive, finished at its slot.
pub(crate) fn manifest_of(key: &ArchiveKey) -> Manifest {
    let manifest = TestArchive::new(Compression::None).manifest;
    Manifest { database: key.database.clone(), scheduled_at: key.slot, run_id: key.run_id.clone(), finished_at: key.slot, ..manifest }
}

#[derive(Clone)]
pub(crate) struct TestArchive {
    pub(crate) key: ArchiveKey,
    pub(crate) manifest: Manifest,
    pub(crate) bytes: BTreeMap<String, Vec<u8>>,
    pub(crate) versions: Vec<Version>,
}

fn time(name: &str) -> DateTime<Utc> {
    parse_slot_name(name).expect("time")
}

pub(crate) fn compressed(compression: Compression, data: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(compression).expect("set up");
    compressor.write_all(data).expect("compress");
    compressor.finish().expect("finish")
}

fn rows(lines: &[&str]) -> (Vec<u8>, Content) {
    let (mut data, mut content) = (Vec::new(), Content::default());
    for line in lines {
        content.add_row(line.as_bytes());
        data.extend_from_slice(line.as_bytes());
        data.push(b'\n');
    }
    data.extend_from_slice(END_OF_DATA);
    (data, content)
}

/// An empty table of contents of pg_dump 17, as bytes: its fields are private to the reader.
fn empty_toc() -> Toc {
    let mut bytes = b"PGDMP\x01\x10\x00\x04\x08\x03\x00".to_vec();
    let integer = |bytes: &mut Vec<u8>, value: u32| {
        bytes.push(0);
        bytes.extend(value.to_le_bytes());
    };
    (0..7).for_each(|_| integer(&mut bytes, 1));
    for text in ["app", "17.10", "17.10"] {
        integer(&mut bytes, 2_u32.max(u32::try_from(text.len()).expect("short")));
        bytes.extend_from_slice(text.as_bytes());
    }
    integer(&mut bytes, 0);
    Toc::parse(&bytes).expect("an empty table of contents")
}

fn entry(dump_id: i32, description: &str, file: &str) -> Entry {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    Entry {
        dump_id,
        has_data: 1,
        catalog_oid: text("0"),
        oid: text("16384"),
        tag: text("t"),
        description: text(description),
        section: section::DATA,
        definition: None,
        drop_statement: None,
        copy_statement: None,
        namespace: text("public"),
        tablespace: None,
        access_method: None,
        relkind: 0,
        owner: text("app"),
        with_oids: text("false"),
        dependencies: Vec::new(),
        file_name: text(file),
    }
}

impl TestArchive {
    pub(crate) fn new(compression: Compression) -> Self {
        let suffix = compression.suffix();
        let (first, mut content) = rows(&["1\tone", "2\ttwo"]);
        let (second, second_content) = rows(&["3\tthree"]);
        content.merge(second_content);
        let (other, other_content) = rows(&[]);
        let mut large = LargeObjects::default();
        let mut bytes = BTreeMap::new();
        for (oid, data) in [(9001_u32, &b"large\0object"[..]), (9002, b"")] {
            large.content.add_row(&[format!("{oid}\t").as_bytes(), data].concat());
            large.bytes += data.len() as u64;
            bytes.insert(format!("blob_{oid}.dat{suffix}"), compressed(compression, data));
        }
        bytes.insert("blobs_17.toc".to_owned(), b"9001 blob_9001.dat\n9002 blob_9002.dat\n".to_vec());
        let mut toc = empty_toc();
        let files = [("t1.dat", "TABLE DATA"), ("t1_002.dat", "TABLE DATA"), ("t2.dat", "TABLE DATA"), ("blobs_17.toc", "BLOBS"), ("", "TABLE")];
        toc.entries = (1..).zip(files).map(|(id, (file, description))| entry(id, description, file)).collect();
        bytes.insert("toc.dat".to_owned(), toc.write());
        for (name, data) in [("t1", first), ("t1_002", second), ("t2", other)] {
            bytes.insert(format!("{name}.dat{suffix}"), compressed(compression, &data));
        }
        bytes.insert("globals.sql".to_owned(), b"CREATE ROLE app;\n".to_vec());
        let table = |oid: u32, name: &str, content: Content, objects: &[&str]| Table {
            schema: "public".into(),
            name: name.into(),
            oid,
            columns: vec!["id".into()],
            content,
            objects: objects.iter().map(|name| format!("{name}.dat{suffix}")).collect(),
            through_root: None,
            in_root_order: None,
            by_pg_dump: false,
        };
        let tables = vec![table(1, "t1", content, &["t1", "t1_002"]), table(2, "t2", other_content, &["t2"])];
        let key = ArchiveKey { instance: "app-db".into(), database: "app".into(), slot: time("2026-11-23T02-00-00Z"), run_id: "0badcafe".into() };
        let manifest = manifest(&key, compression, tables, large);
        let mut archive = Self { key, manifest, bytes, versions: Vec::new() };
        archive.store();
        archive
    }

    /// Makes manifest and listing those of the bytes.
    pub(crate) fn store(&mut self) {
        self.manifest.objects = self
            .bytes
            .iter()
            .map(|(name, bytes)| Object {
                name: name.clone(),
                size_bytes: bytes.len() as u64,
                sha256: hex(&Sha256::digest(bytes)),
                version_id: Some(format!("v-{name}")),
            })
            .collect();
        self.manifest = Manifest::open(&self.manifest.clone().seal().expect("seal")).expect("open");
        let listed = self.bytes.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).chain([(MANIFEST, 1)]);
        self.versions = listed
            .map(|(name, size)| Version {
                key: self.key.object(name),
                version_id: Some(format!("v-{name}")),
                is_latest: true,
                is_delete_marker: false,
                size_bytes: size as u64,
                modified_at: self.manifest.finished_at,
            })
            .collect();
    }

    /// Writes other bytes over an object, as somebody would who may: a new version.
    pub(crate) fn overwrite(&mut self, name: &str, bytes: Vec<u8>) {
        let key = self.key.object(name);
        let old = self.versions.iter_mut().find(|version| version.key == key && version.is_latest).expect("it is there");
        old.is_latest = false;
        let new = Version { version_id: Some(format!("w-{name}")), is_latest: true, size_bytes: bytes.len() as u64, ..old.clone() };
        self.versions.push(new);
        self.bytes.insert(name.to_owned(), bytes);
    }

    /// Changes bytes as a broken disk would: the version stays.
    pub(crate) fn rot(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.bytes.get_mut(name).expect("it is there"));
        let (key, size) = (self.key.object(name), self.bytes[name].len() as u64);
        self.versions.iter_mut().filter(|version| version.key == key && version.is_latest).for_each(|version| version.size_bytes = size);
    }
}

fn manifest(key: &ArchiveKey, compression: Compression, tables: Vec<Table>, large_objects: LargeObjects) -> Manifest {
    let text = |text: &str| text.to_owned();
    Manifest {
        format: FORMAT,
        instance: key.instance.clone(),
        database: key.database.clone(),
        run_id: key.run_id.clone(),
        scheduled_at: key.slot,
        started_at: key.slot,
        snapshot_at: key.slot,
        finished_at: key.slot,
        lifeboat: Lifeboat { version: text("0.1.0"), git_sha: text("abc") },
        server: Server { version: text("17.10"), major: 17, encoding: text("UTF8"), collate: text("C"), ctype: text("C"), wal_lsn: text("0/1") },
        session: Session {
            client_encoding: text("UTF8"),
            time_zone: text("UTC"),
            date_style: text("ISO"),
            interval_style: text("postgres"),
            extra_float_digits: text("3"),
            bytea_output: text("hex"),
            lc_monetary: text("C"),
        },
        pg_dump_version: text("17.10"),
        toc_version: text("1.16"),
        compression,
        tables,
        large_objects,
        sequences: Vec::new(),
        schema_fingerprint: String::new(),
        left_out: Vec::new(),
        objects: Vec::new(),
        checksum: String::new(),
    }
}

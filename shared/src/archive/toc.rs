//! `toc.dat`, the table of contents of a pg_dump directory archive: read and written byte for byte.
//!
//! The layout is PostgreSQL's `src/bin/pg_dump/pg_backup_archiver.c` (`ReadHead`, `ReadToc`, `WriteToc`): an integer is a sign byte
//! and `int_size` bytes, little endian; a string is its length (-1 for NULL) and its bytes. Versions 1.14 (pg_dump 12 to 15), 1.15
//! (16) and 1.16 (17 and 18) are known; anything else is refused.

use std::fmt;

/// Version of the layout: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TocVersion(pub u8, pub u8);

impl fmt::Display for TocVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

/// Before this version the header has a compression level instead of an algorithm, and readers are not certain to know a slice.
pub const WITH_ALGORITHM: TocVersion = TocVersion(1, 15);
const WITH_RELKIND: TocVersion = TocVersion(1, 16);
const OLDEST: TocVersion = TocVersion(1, 14);
const NEWEST: TocVersion = TocVersion(1, 16);

/// A string as it stands in the file; `None` is NULL.
pub type Text = Option<Vec<u8>>;

/// Where an entry belongs in a restore.
pub mod section {
    /// Before the data.
    pub const PRE_DATA: i32 = 2;
    /// Rows, large objects, sequence positions.
    pub const DATA: i32 = 3;
    /// Indexes, constraints, triggers.
    pub const POST_DATA: i32 = 4;
}

/// A table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toc {
    /// Version of the layout.
    pub version: TocVersion,
    revision: u8,
    int_size: u8,
    offset_size: u8,
    format: u8,
    /// Algorithm (since 1.15) or level (before).
    pub compression: i32,
    created: [i32; 7],
    /// Name of the database.
    pub database: Text,
    /// Version of the server.
    pub server_version: Text,
    /// Version of pg_dump.
    pub pg_dump_version: Text,
    /// The entries, in the order of a serial restore.
    pub entries: Vec<Entry>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unique within the archive.
    pub dump_id: i32,
    /// Whether there is a data file.
    pub has_data: i32,
    /// Oid of the catalog that the thing is in, in decimal.
    pub catalog_oid: Text,
    /// Oid of the thing, in decimal.
    pub oid: Text,
    /// Name of the thing.
    pub tag: Text,
    /// Kind of the thing: `TABLE`, `TABLE DATA` …
    pub description: Text,
    /// See [`section`].
    pub section: i32,
    /// SQL that makes it.
    pub definition: Text,
    /// SQL that drops it.
    pub drop_statement: Text,
    /// `COPY … FROM stdin`.
    pub copy_statement: Text,
    /// Schema.
    pub namespace: Text,
    /// Tablespace.
    pub tablespace: Text,
    /// Table access method.
    pub access_method: Text,
    /// `pg_class.relkind` as an integer (since 1.16).
    pub relkind: i32,
    /// Owner.
    pub owner: Text,
    /// Always `false`: tables have had no oids since PostgreSQL 12.
    pub with_oids: Text,
    /// Dump ids of what must come before, as written in decimal.
    pub dependencies: Vec<Vec<u8>>,
    /// Name of the data file without the suffix of its compression; empty where there is none.
    pub file_name: Text,
}

impl Entry {
    /// Whether it is of this kind.
    pub fn is(&self, description: &str) -> bool {
        self.description.as_deref() == Some(description.as_bytes())
    }

    /// Dump ids of what must come before.
    pub fn dependency_ids(&self) -> impl Iterator<Item = i32> + '_ {
        self.dependencies.iter().filter_map(|id| std::str::from_utf8(id).ok()?.parse().ok())
    }

    /// Oid of the thing, 0 where it has none.
    pub fn oid(&self) -> u32 {
        self.oid.as_deref().and_then(|oid| std::str::from_utf8(oid).ok()?.parse().ok()).unwrap_or(0)
    }

    /// Name of the data file without suffix, if there is one.
    pub fn data_file(&self) -> Option<String> {
        self.file_name.as_deref().filter(|name| !name.is_empty()).map(lossy)
    }
}

/// A string of the archive for a person: NULL becomes empty, invalid bytes become `U+FFFD`.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Toc {
    /// Reads a whole `toc.dat`.
    ///
    /// # Errors
    /// When it is not one, is of another version, or is cut.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader { bytes, at: 0, int_size: 4 };
        if reader.take(5)? != b"PGDMP" {
            return Err("toc.dat does not begin with PGDMP".to_owned());
        }
        let version = TocVersion(reader.byte()?, reader.byte()?);
        let revision = reader.byte()?;
        if version < OLDEST || version > NEWEST {
            return Err(format!("toc.dat has version {version}; versions {OLDEST} to {NEWEST} (pg_dump 12 to 18) are known"));
        }
        let (int_size, offset_size, format) = (reader.byte()?, reader.byte()?, reader.byte()?);
        if int_size != 4 {
            return Err(format!("toc.dat has integers of {int_size} bytes; 4 are expected"));
        }
        reader.int_size = int_size.into();
        let compression = if version >= WITH_ALGORITHM { i32::from(reader.byte()?) } else { reader.integer()? };
        let mut created = [0; 7];
        for field in &mut created {
            *field = reader.integer()?;
        }
        let (database, server_version, pg_dump_version) = (reader.text()?, reader.text()?, reader.text()?);
        let count = reader.integer()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(reader.entry(version)?);
        }
        if reader.at == bytes.len() {
            Ok(Self { version, revision, int_size, offset_size, format, compression, created, database, server_version, pg_dump_version, entries })
        } else {
            Err(format!("toc.dat has {} bytes after its last entry", bytes.len() - reader.at))
        }
    }

    /// The bytes of `toc.dat`; for a table of contents that was only read, exactly those that were read.
    pub fn write(&self) -> Vec<u8> {
        let mut out = b"PGDMP".to_vec();
        out.extend([self.version.0, self.version.1, self.revision, self.int_size, self.offset_size, self.format]);
        if self.version >= WITH_ALGORITHM {
            out.extend(u8::try_from(self.compression));
        } else {
            write_integer(&mut out, self.compression);
        }
        self.created.iter().for_each(|field| write_integer(&mut out, *field));
        for text in [&self.database, &self.server_version, &self.pg_dump_version] {
            write_text(&mut out, text.as_deref());
        }
        write_length(&mut out, self.entries.len());
        for entry in &self.entries {
            write_entry(&mut out, entry, self.version);
        }
        out
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    int_size: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("toc.dat is cut: {count} bytes wanted at {} of {}", self.at, self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn integer(&mut self) -> Result<i32, String> {
        let sign = self.byte()?;
        let magnitude = self.take(self.int_size)?.iter().rev().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
        i32::try_from(if sign == 0 { magnitude } else { -magnitude }).map_err(|_| format!("toc.dat has the integer {magnitude} at {}", self.at))
    }

    fn text(&mut self) -> Result<Text, String> {
        let length = self.integer()?;
        usize::try_from(length).map_or(Ok(None), |length| Ok(Some(self.take(length)?.to_vec())))
    }

    fn entry(&mut self, version: TocVersion) -> Result<Entry, String> {
        Ok(Entry {
            dump_id: self.integer()?,
            has_data: self.integer()?,
            catalog_oid: self.text()?,
            oid: self.text()?,
            tag: self.text()?,
            description: self.text()?,
            section: self.integer()?,
            definition: self.text()?,
            drop_statement: self.text()?,
            copy_statement: self.text()?,
            namespace: self.text()?,
            tablespace: self.text()?,
            access_method: self.text()?,
            relkind: if version >= WITH_RELKIND { self.integer()? } else { 0 },
            owner: self.text()?,
            with_oids: self.text()?,
            dependencies: {
                let mut dependencies = Vec::new();
                while let Some(id) = self.text()? {
                    dependencies.push(id);
                }
                dependencies
            },
            file_name: self.text()?,
        })
    }
}

fn write_entry(out: &mut Vec<u8>, entry: &Entry, version: TocVersion) {
    write_integer(out, entry.dump_id);
    write_integer(out, entry.has_data);
    for text in [&entry.catalog_oid, &entry.oid, &entry.tag, &entry.description] {
        write_text(out, text.as_deref());
    }
    write_integer(out, entry.section);
    for text in [&entry.definition, &entry.drop_statement, &entry.copy_statement, &entry.namespace, &entry.tablespace, &entry.access_method] {
        write_text(out, text.as_deref());
    }
    if version >= WITH_RELKIND {
        write_integer(out, entry.relkind);
    }
    write_text(out, entry.owner.as_deref());
    write_text(out, entry.with_oids.as_deref());
    entry.dependencies.iter().for_each(|id| write_text(out, Some(id)));
    write_text(out, None);
    write_text(out, entry.file_name.as_deref());
}

fn write_integer(out: &mut Vec<u8>, value: i32) {
    out.push(u8::from(value < 0));
    out.extend(value.unsigned_abs().to_le_bytes());
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    // A definition longer than 2 GiB cannot come from pg_dump, whose own integers are as wide.
    write_integer(out, i32::try_from(length).unwrap_or(i32::MAX));
}

fn write_text(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        None => write_integer(out, -1),
        Some(bytes) => {
            write_length(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

//! The manifest: what a backup consists of and what it must yield when it is restored. Written last; its presence *is* the
//! backup, and it never changes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::compression::Compression;
use crate::digest::{Content, Digest};

/// Version of this model; a reader refuses a newer one.
pub const FORMAT: u32 = 1;

/// What a backup consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Version of this model.
    pub format: u32,
    /// The RDS instance.
    pub instance: String,
    /// The database.
    pub database: String,
    /// Of the run that made the backup.
    pub run_id: String,
    /// The slot that the backup fills.
    pub scheduled_at: DateTime<Utc>,
    /// When the run began.
    pub started_at: DateTime<Utc>,
    /// When the snapshot was taken that all data belongs to.
    pub snapshot_at: DateTime<Utc>,
    /// When the last byte was stored.
    pub finished_at: DateTime<Utc>,
    /// Lifeboat's version and commit.
    pub lifeboat: Lifeboat,
    /// The server that was dumped.
    pub server: Server,
    /// The settings under which the COPY text was made; a digest can only be compared with text made under the same.
    pub session: Session,
    /// Version of the pg_dump that wrote everything but the tables' rows.
    pub pg_dump_version: String,
    /// Version of the table of contents, e.g. `1.16`.
    pub toc_version: String,
    /// How data files are compressed.
    pub compression: Compression,
    /// Every table with rows of its own, by schema and name.
    pub tables: Vec<Table>,
    /// The large objects.
    pub large_objects: LargeObjects,
    /// Every sequence with its position.
    pub sequences: Vec<Sequence>,
    /// SHA-256 over the definitions of everything in the table of contents.
    pub schema_fingerprint: String,
    /// What exists in the database and is not in the backup, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Every object of the archive but this one, by name.
    pub objects: Vec<Object>,
    /// SHA-256 over this manifest with an empty checksum.
    pub checksum: String,
}

/// Who wrote a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifeboat {
    /// Version.
    pub version: String,
    /// Commit.
    pub git_sha: String,
}

/// The server that was dumped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// `server_version`.
    pub version: String,
    /// The major alone.
    pub major: u32,
    /// Encoding of the database.
    pub encoding: String,
    /// `datcollate`.
    pub collate: String,
    /// `datctype`.
    pub ctype: String,
    /// Write-ahead log position at the snapshot.
    pub wal_lsn: String,
}

/// The settings under which the COPY text was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// `client_encoding`.
    pub client_encoding: String,
    /// `TimeZone`.
    pub time_zone: String,
    /// `DateStyle`.
    pub date_style: String,
    /// `IntervalStyle`.
    pub interval_style: String,
    /// `extra_float_digits`.
    pub extra_float_digits: String,
    /// `bytea_output`.
    pub bytea_output: String,
    /// `lc_monetary`.
    pub lc_monetary: String,
}

/// One table: how many rows, their digest, and the objects that hold them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `pg_class.oid` at the source.
    pub oid: u32,
    /// Columns of the COPY text, in order.
    pub columns: Vec<String>,
    /// Rows and digest.
    #[serde(flatten)]
    pub content: Content,
    /// Names of the objects, in order: one, or one for each slice.
    pub objects: Vec<String>,
    /// Root of the partition tree through which the rows are restored; then they may land in another leaf, and only the sum over
    /// the tree can be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through_root: Option<TableName>,
    /// Where such a leaf has its columns in another order than the root: the same rows in the root's order, for the sum over the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_root_order: Option<InRootOrder>,
    /// Whether the rows were written by pg_dump itself: configuration tables of extensions (only the rows that the extension's filter
    /// selects), and tables whose names are not valid text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_pg_dump: bool,
}

/// The rows of a leaf with their columns in the order of the partition root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InRootOrder {
    /// Columns in that order.
    pub columns: Vec<String>,
    /// Digest of the rows in that order.
    pub digest: Digest,
}

impl Table {
    /// What the rows come to when the tables that are loaded through one root are added up, and the columns to read for that.
    pub fn comparable(&self) -> (Content, &[String]) {
        match &self.in_root_order {
            Some(order) => (Content { rows: self.content.rows, digest: order.digest }, &order.columns),
            None => (self.content, &self.columns),
        }
    }
}

/// A table's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableName {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
}

/// All large objects together: a row is the object's oid in decimal, a tab, and its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LargeObjects {
    /// How many, and the digest.
    #[serde(flatten)]
    pub content: Content,
    /// Their bytes.
    pub bytes: u64,
}

/// A sequence and its position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequence {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `last_value`.
    pub last_value: i64,
    /// `is_called`.
    pub is_called: bool,
}

/// Something that exists in the database and is not in the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

/// One object of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Name below the archive's prefix.
    pub name: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// S3's version id, where the bucket has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
}

impl Manifest {
    /// The bytes to store, with the checksum in place.
    ///
    /// # Errors
    /// Never in practice: the model has no map with odd keys.
    pub fn seal(mut self) -> Result<Vec<u8>, serde_json::Error> {
        self.checksum = self.checksum_now()?;
        serde_json::to_vec_pretty(&self)
    }

    /// Reads a stored manifest.
    ///
    /// # Errors
    /// When it is not a manifest, is of a newer format, or does not match its own checksum.
    pub fn open(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(bytes).map_err(|error| format!("not a manifest: {error}"))?;
        if format > FORMAT {
            return Err(format!("manifest of format {format}; this version reads up to {FORMAT}: update Lifeboat"));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| format!("not a manifest: {error}"))?;
        let actual = manifest.checksum_now().map_err(|error| error.to_string())?;
        if actual == manifest.checksum {
            Ok(manifest)
        } else {
            Err(format!("the manifest's checksum is {}, its content has {actual}", manifest.checksum))
        }
    }

    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.content.rows).sum()
    }

    /// Bytes of all objects.
    pub fn size_bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.size_bytes).sum()
    }

    fn checksum_now(&self) -> Result<String, serde_json::Error> {
        let blank = Self { checksum: String::new(), ..self.clone() };
        Ok(hex(&Sha256::digest(serde_json::to_vec(&blank)?)))
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

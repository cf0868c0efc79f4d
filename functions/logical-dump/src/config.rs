//! The settings of `logical-dump`.

use std::path::PathBuf;
use std::time::Duration;

use shared::compression::Compression;
use shared::env::{Databases, Reader};

/// The settings, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the parameter that holds the database URL.
    pub database_url_parameter: String,
    /// Which databases.
    pub databases: Databases,
    /// Certificates that the server's must descend from.
    pub database_ca_file: PathBuf,
    /// Folder of pg_dump and pg_dumpall.
    pub client_folder: PathBuf,
    /// Connections that copy tables at the same time; pg_dump and the holder of the snapshot come on top, for a while.
    pub connections: usize,
    /// Size of a slice of a big table, in bytes of the table.
    pub slice_bytes: u64,
    /// How data files are compressed; a server older than 16 gets gzip instead of zstd.
    pub compression: Compression,
    /// How long a session of production may wait behind a lock of ours before we give way.
    pub give_way: Duration,
    /// How long we wait for a lock.
    pub lock_wait: Duration,
}

impl Config {
    /// Reads the settings; mistakes go into the reader.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            database_url_parameter: reader.required("DATABASE_URL_PARAMETER"),
            databases: reader.parsed("DATABASES", Databases::Every),
            database_ca_file: reader.optional("DATABASE_CA_FILE").unwrap_or_else(|| "/opt/rds/global-bundle.pem".to_owned()).into(),
            client_folder: reader.optional("POSTGRES_CLIENT_FOLDER").unwrap_or_else(|| "/opt/bin".to_owned()).into(),
            connections: reader.number("CONNECTIONS", 2, 1..=32),
            slice_bytes: reader.number("SLICE_BYTES", 256 << 20, 8192..=1 << 40),
            compression: reader.parsed("COMPRESSION", Compression::Zstd(1)),
            give_way: Duration::from_secs(reader.number("GIVE_WAY_SECONDS", 5, 1..=3600)),
            lock_wait: Duration::from_secs(reader.number("LOCK_WAIT_SECONDS", 30, 1..=3600)),
        }
    }
}

//! The settings of `integrity-check`.

use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use shared::env::{Databases, Reader};

/// The settings, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the parameter that holds the URL.
    pub url_parameter: String,
    /// Where the team's checks are: `s3://BUCKET/KEY`, or the name of a parameter that need not exist.
    pub checks: Option<String>,
    /// Which databases.
    pub databases: Databases,
    /// Certificates that the server's must descend from.
    pub database_ca_file: PathBuf,
    /// What begins later than this after a night's beginning is the last of it.
    pub night: TimeDelta,
    /// Pages that are read in a second at most.
    pub pages_per_second: u64,
    /// Of a table with more pages a sample is read.
    pub table_pages_max: u64,
    /// Pages of tables in a night.
    pub night_pages_max: u64,
    /// Pages that amcheck looks at in a night.
    pub amcheck_pages_max: u64,
    /// The page of the runbook; a finding's anchor is appended.
    pub runbook_url: Option<String>,
    /// How long a statement may wait for a lock.
    pub lock_wait: Duration,
    /// How long a statement may take.
    pub statement: Duration,
}

impl Settings {
    /// Reads the settings; mistakes go into the reader.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            url_parameter: reader.required("INTEGRITY_URL_PARAMETER"),
            checks: reader.optional("INTEGRITY_CHECKS"),
            databases: reader.parsed("DATABASES", Databases::Every),
            database_ca_file: reader.optional("DATABASE_CA_FILE").unwrap_or_else(|| "/opt/rds/global-bundle.pem".to_owned()).into(),
            night: TimeDelta::minutes(reader.number("NIGHT_MINUTES", 150, 1..=1380)),
            pages_per_second: reader.number("PAGES_PER_SECOND", 4096, 16..=1 << 20),
            table_pages_max: reader.number("TABLE_PAGES_MAX", 1_310_720, 128..=u64::from(u32::MAX)),
            night_pages_max: reader.number("NIGHT_PAGES_MAX", 13_107_200, 128..=u64::from(u32::MAX)),
            amcheck_pages_max: reader.number("AMCHECK_PAGES_MAX", 1_310_720, 0..=u64::from(u32::MAX)),
            runbook_url: reader.optional("LIFEBOAT_RUNBOOK_URL"),
            // Half a second for each of the two that can stand before a session of the team's.
            lock_wait: Duration::from_millis(500),
            statement: Duration::from_mins(1),
        }
    }
}

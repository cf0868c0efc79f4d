//! What `logical-dump` is asked.

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// Dump databases of the instance.
    Dump(Dump),
    /// Compare a database of the server, restored by hand, with a backup.
    Compare(Compare),
}

/// Compare a database of the server with a backup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compare {
    /// Key of the backup's manifest.
    pub manifest: String,
    /// The database to read, on the server that the settings name.
    pub database: String,
}

/// Dump databases of the instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dump {
    /// These, instead of those of the settings.
    pub databases: Option<Vec<String>>,
    /// The slot that the dump fills; a slot that has a backup is not dumped again. Without it: now.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// A snapshot to import (`pg_export_snapshot()` of a session that stays open); needs exactly one database.
    pub snapshot: Option<String>,
    /// Whether what the role cannot read is left out, with a finding, instead of failing the run.
    #[serde(default)]
    pub allow_missing: bool,
    /// Say what would be dumped, and check that it could be; store nothing.
    #[serde(default)]
    pub dry_run: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_named() {
        let error = serde_json::from_str::<Request>(r#"{"kind":"dump","databse":["app"]}"#).expect_err("a typo");
        assert!(error.to_string().contains("databse"), "{error}");
        let error = serde_json::from_str::<Request>(r#"{"kind":"restore"}"#).expect_err("another job");
        assert!(error.to_string().contains("restore"), "{error}");
    }
}

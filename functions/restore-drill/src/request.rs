//! What `restore-drill` is asked.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::identity::DrillId;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// Begin a drill, or a real restore: decides what is restored to where, and starts the clock.
    Drill(Box<Drill>),
    /// How far is it?
    Status(About),
    /// The clock's next tick.
    Step(Step),
    /// May the migrations that were rehearsed be deployed?
    Gate(Gate),
    /// The part that connects to the database; only where the network reaches it.
    Work(About),
    /// The clock gave up: take everything down, and say why.
    TearDown(TearDown),
    /// Remove what drills left behind.
    Sweep(Sweep),
    /// The same for scratch databases on an existing server; only where the network reaches it.
    SweepDatabases(Sweep),
}

/// What to restore, and what to do with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drill {
    /// What to restore.
    pub source: Source,
    /// Where to; without it, an archive goes to the existing server where the stack knows one, everything else to an instance of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Databases to look at; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub databases: Option<Vec<String>>,
    /// Migrations to rehearse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrations: Option<Migrations>,
    /// A query that gives the time of the newest thing that matters: `SELECT max(created_at) FROM orders`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// A real restore: the instance stays, and is made as production is.
    #[serde(default)]
    pub keep: bool,
    /// The slot that the drill fills. Without it: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Say what would be done, and check that it could be.
    #[serde(default)]
    pub dry_run: bool,
}

/// What to restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The newest good one of a sort.
    Latest(Sort),
    /// The snapshot of this id or ARN, of this region.
    Snapshot(String),
    /// The archive with this manifest, or below this prefix.
    Archive(String),
    /// The instance as it was then; `latest` for the latest restorable time.
    PointInTime(String),
}

impl Default for Source {
    fn default() -> Self {
        Self::Latest(Sort::Snapshot)
    }
}

/// A sort of backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sort {
    /// A snapshot of ours in the stack's region.
    Snapshot,
    /// A copy of ours in the other region.
    Copy,
    /// An archive in S3, of each database.
    Archive,
    /// The latest restorable time.
    PointInTime,
}

/// Where a backup is restored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// An RDS instance made for the drill.
    Instance,
    /// New databases on an existing server; for archives only.
    Server,
}

/// Migrations to rehearse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Migrations {
    /// Prefix in the stack's bucket below which the `.sql` files lie: `migrations/1.4.2/`.
    pub prefix: String,
    /// The database that they are for.
    pub database: String,
    /// The role that they run as; without it, the master user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// A query for the age of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freshness {
    /// The database to ask.
    pub database: String,
    /// One row, one column, a time.
    pub sql: String,
}

/// A drill that exists.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct About {
    /// Its id.
    pub drill: DrillId,
}

/// May the migrations that were rehearsed be deployed?
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// The drill that rehearsed them.
    pub drill: DrillId,
    /// The snapshot from which everything could be had back.
    #[serde(default)]
    pub snapshot: Option<String>,
}

/// The clock's next tick.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// The drill.
    pub drill: DrillId,
    /// Whether the report is out.
    #[serde(default)]
    pub reported: bool,
}

/// The clock gave up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TearDown {
    /// The drill.
    pub drill: DrillId,
    /// What the clock was told: `{"Error": …, "Cause": …}`.
    #[serde(default)]
    pub error: Option<serde_json::Value>,
}

/// Remove what drills left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sweep {
    /// Say what would be removed; remove nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The slot of the run. Without it: now.
    pub scheduled_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_a_form_that_reads_well() {
        let read = |text: &str| serde_json::from_str::<Source>(text).expect(text);
        assert_eq!(read(r#"{"latest": "archive"}"#), Source::Latest(Sort::Archive));
        assert_eq!(read(r#"{"pointInTime": "2026-11-23T02:00:00Z"}"#), Source::PointInTime("2026-11-23T02:00:00Z".into()));
        assert_eq!(read(r#"{"snapshot": "before-the-flood"}"#), Source::Snapshot("before-the-flood".into()));
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = serde_json::from_str::<Request>(r#"{"kind": "drill", "source": {"latest": "snapshot"}, "keeep": true}"#).expect_err("a typo");
        assert!(error.to_string().contains("keeep"), "{error}");
    }
}

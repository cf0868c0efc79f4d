//! What was measured, and what follows from it: locks by relation, how long each was held, rewrites, rows read. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::split::Unit;

/// The lock modes of tables from weak to strong (PostgreSQL manual, "Explicit Locking").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    /// Of SELECT.
    #[serde(rename = "AccessShareLock")]
    AccessShare,
    /// Of SELECT … FOR UPDATE.
    #[serde(rename = "RowShareLock")]
    RowShare,
    /// Of INSERT, UPDATE, DELETE.
    #[serde(rename = "RowExclusiveLock")]
    RowExclusive,
    /// Of VACUUM, CREATE INDEX CONCURRENTLY, VALIDATE CONSTRAINT.
    #[serde(rename = "ShareUpdateExclusiveLock")]
    ShareUpdateExclusive,
    /// Of CREATE INDEX. From here on, writers wait.
    #[serde(rename = "ShareLock")]
    Share,
    /// Of ADD FOREIGN KEY, CREATE TRIGGER.
    #[serde(rename = "ShareRowExclusiveLock")]
    ShareRowExclusive,
    /// Of REFRESH MATERIALIZED VIEW CONCURRENTLY.
    #[serde(rename = "ExclusiveLock")]
    Exclusive,
    /// Of most of ALTER TABLE. Readers wait too.
    #[serde(rename = "AccessExclusiveLock")]
    AccessExclusive,
}

impl Mode {
    /// As SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    /// Whether INSERT, UPDATE and DELETE wait for it.
    pub fn blocks_writes(self) -> bool {
        self >= Self::Share
    }
}

/// A relation as it was before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Relation {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) filenode: i64,
    pub(super) rows: i64,
    pub(super) bytes: i64,
    pub(super) valid: bool,
    /// When somebody last vacuumed it, in seconds since 1970.
    #[serde(default)]
    pub(super) vacuumed: Option<f64>,
}

/// What a unit left in the ledger.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    #[serde(default)]
    pub(super) seconds: f64,
    #[serde(default)]
    pub(super) statements: Vec<StatementRecord>,
    #[serde(default)]
    pub(super) failed: Option<FailedRecord>,
    #[serde(default)]
    pub(super) relations: BTreeMap<String, Relation>,
    /// Why nothing is known of how it ended.
    #[serde(default)]
    pub(super) unknown: Option<String>,
    /// Locks and end were seen from another session.
    #[serde(default)]
    pub(super) is_sampled: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatementRecord {
    pub(super) started: f64,
    pub(super) seconds: f64,
    #[serde(default)]
    pub(super) rows: i64,
    #[serde(default)]
    pub(super) timeout_ms: i64,
    #[serde(default)]
    pub(super) locks: BTreeMap<String, LockRecord>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LockRecord {
    pub(super) modes: Vec<Mode>,
    /// After the statement; none when the relation is gone.
    #[serde(default)]
    pub(super) filenode: Option<i64>,
    #[serde(default)]
    pub(super) scans: i64,
    #[serde(default)]
    pub(super) rows_read: i64,
    /// Seconds from the statement's begin to the lock's first sight; known of samples.
    #[serde(default)]
    pub(super) since: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FailedRecord {
    /// From 1; one more than there are statements is the commit.
    pub(super) statement: usize,
    pub(super) sqlstate: String,
    pub(super) message: String,
    #[serde(default)]
    pub(super) seconds: f64,
}

/// What the second session saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Samples {
    /// Whether it was there from before the statement's begin to after its end.
    #[serde(skip)]
    pub(super) watched: bool,
    /// `OID MODE` to seconds from the statement's begin.
    #[serde(default)]
    pub(super) locks: BTreeMap<String, f64>,
    #[serde(default)]
    pub(super) wait_seconds: f64,
    #[serde(default)]
    pub(super) seconds: Option<f64>,
}

/// A statement that ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RanStatement {
    /// Line in the file; 0 for the checks that the commit makes.
    pub line: usize,
    /// Its first words.
    pub text: String,
    /// By the server's clock.
    pub seconds: f64,
    /// That it returned or changed.
    pub rows: i64,
    /// Its own `statement_timeout`, if it had one: in production it would have been stopped there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Tables that it wrote anew.
    pub rewrote: Vec<String>,
    /// Indexes that it built anew.
    pub rebuilt: Vec<String>,
    /// Tables that it read from end to end.
    pub scanned: Vec<String>,
    /// Tables that were there before, and are gone.
    pub dropped: Vec<String>,
}

/// A relation that was locked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Locked {
    /// `SCHEMA.NAME`, as it was before.
    pub relation: String,
    /// Whether it is an index.
    pub is_index: bool,
    /// The strongest lock.
    pub mode: Mode,
    /// How long the strongest was held: from the begin of the statement that took it to the end of the transaction.
    pub seconds: f64,
    /// How long writers would have waited.
    pub blocked_writes_seconds: f64,
    /// Its size before, with TOAST.
    pub bytes: u64,
    /// The planner's estimate before; none where it was never analysed.
    pub rows: Option<u64>,
}

/// A transaction, or a statement alone, that ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RanUnit {
    /// The file.
    pub file: String,
    /// From its begin to its end.
    pub seconds: f64,
    /// Whether it ran in a transaction, measured exactly by its own session; otherwise it was watched from a second one.
    pub is_transaction: bool,
    /// What ran.
    pub statements: Vec<RanStatement>,
    /// What was locked.
    pub locks: Vec<Locked>,
    /// Statements and locks that are not listed, because there are too many: the shortest, and the weakest on the smallest.
    #[serde(default)]
    pub left_out: usize,
    /// How long it waited for locks: nothing else runs on the copy, so for itself or for autovacuum.
    pub wait_seconds: f64,
    /// The statement that failed; everything of the transaction was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// Why nothing is known of how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// A statement that the server refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// Line in the file; 0 for the checks that the commit makes.
    pub line: usize,
    /// Its first words.
    pub text: String,
    /// SQLSTATE.
    pub sqlstate: String,
    /// The server's message, without values.
    pub message: String,
    /// After how long.
    pub seconds: f64,
}

const LISTED_MAX: usize = 100;

impl RanUnit {
    /// Keeps what matters most of a very long list, in its order. Only after it was judged.
    pub(super) fn shorten(&mut self) {
        let before = self.statements.len() + self.locks.len();
        if let Some(limit) = nth_largest(self.statements.iter().map(|statement| statement.seconds)) {
            self.statements.retain(|statement| statement.seconds > limit);
        }
        if let Some(limit) = nth_largest(self.locks.iter().map(Locked::weight)) {
            self.locks.retain(|locked| locked.weight() > limit);
        }
        self.left_out = before - self.statements.len() - self.locks.len();
    }
}

impl Locked {
    /// Larger for what shuts more people out for longer.
    fn weight(&self) -> f64 {
        let blocked = if self.mode.blocks_writes() { self.blocked_writes_seconds + 1.0 } else { 0.0 };
        // A size in bytes is far from where a float loses count that would matter here.
        #[expect(clippy::cast_precision_loss, reason = "an order, not a number")]
        let bytes = self.bytes as f64;
        blocked * (bytes + 1.0)
    }
}

/// The value that all but the listed ones are at most, if there are more than can be listed.
fn nth_largest(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(|one, other| other.total_cmp(one));
    values.get(LISTED_MAX).copied()
}

const TEXT_CHARS_MAX: usize = 160;

/// The first words of a statement, on one line.
pub(super) fn shorten(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= TEXT_CHARS_MAX { words } else { words.chars().take(TEXT_CHARS_MAX).chain(['…']).collect() }
}

/// Messages about a value (SQLSTATE class 22, "Data Exception") end with the value: a row's content has no place in a report.
fn without_values(sqlstate: &str, message: &str) -> String {
    match message.split_once(": \"") {
        Some((kept, _)) if sqlstate.starts_with("22") => format!("{kept}: …"),
        _ => message.to_owned(),
    }
}

/// What follows from a unit's record.
pub(super) fn ran(file: &str, unit: &Unit, record: &Record, samples: &Samples) -> RanUnit {
    let texts = unit.statements();
    let told = |number: usize| {
        texts.get(number).map_or_else(|| (0, "COMMIT, with its deferred checks".to_owned()), |known| (known.line, shorten(&known.text)))
    };
    let names = |oids: &BTreeSet<&String>, kinds: &[&str]| -> Vec<String> {
        let relations = oids.iter().filter_map(|oid| record.relations.get(oid.as_str())).filter(|relation| kinds.contains(&relation.kind.as_str()));
        relations.map(|relation| format!("{}.{}", relation.schema, relation.name)).collect()
    };
    let mut filenodes: BTreeMap<&String, Option<i64>> = record.relations.iter().map(|(oid, relation)| (oid, Some(relation.filenode))).collect();
    let mut read: BTreeMap<&String, (i64, i64)> = BTreeMap::new();
    let mut statements = Vec::new();
    for (number, statement) in record.statements.iter().enumerate() {
        let (mut rewrote, mut scanned, mut dropped) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (oid, lock) in &statement.locks {
            let before = filenodes.insert(oid, lock.filenode).flatten();
            if before.is_some() && lock.filenode.is_none() {
                dropped.insert(oid);
            } else if before.is_some_and(|filenode| filenode != 0) && before != lock.filenode {
                rewrote.insert(oid);
            }
            // What parallel workers read is counted as a scan only; what a new file is emptily read for is no scan of the old one.
            let (scans, rows_read) = read.insert(oid, (lock.scans, lock.rows_read)).unwrap_or_default();
            if lock.filenode.is_some() && (rows_read < lock.rows_read || (scans < lock.scans && !rewrote.contains(oid))) {
                scanned.insert(oid);
            }
        }
        let (line, text) = told(number);
        let is_commit = number >= texts.len();
        if is_commit && statement.seconds < 0.001 {
            continue;
        }
        statements.push(RanStatement {
            line,
            text,
            seconds: statement.seconds,
            rows: statement.rows,
            timeout_seconds: u32::try_from(statement.timeout_ms).ok().filter(|timeout| *timeout > 0).map(|timeout| f64::from(timeout) / 1000.0),
            rewrote: names(&rewrote, &["r", "m"]),
            rebuilt: names(&rewrote, &["i", "I"]),
            scanned: names(&scanned, &["r", "m"]),
            dropped: names(&dropped, &["r", "p", "m", "f"]),
        });
    }
    let failed = record.failed.as_ref().map(|failed| {
        let (line, text) = told(failed.statement.saturating_sub(1));
        let message = without_values(&failed.sqlstate, &failed.message);
        Failed { line, text, sqlstate: failed.sqlstate.clone(), message, seconds: failed.seconds }
    });
    RanUnit {
        file: file.to_owned(),
        seconds: record.seconds,
        is_transaction: matches!(unit, Unit::Transaction(_)),
        statements,
        locks: locks(record),
        left_out: 0,
        wait_seconds: samples.wait_seconds,
        failed,
        unknown: record.unknown.clone(),
    }
}

fn locks(record: &Record) -> Vec<Locked> {
    let mut locked = Vec::new();
    for (oid, relation) in &record.relations {
        // When each mode was first taken.
        let mut first: BTreeMap<Mode, f64> = BTreeMap::new();
        for statement in &record.statements {
            if let Some(lock) = statement.locks.get(oid) {
                for mode in &lock.modes {
                    first.entry(*mode).or_insert(statement.started + lock.since);
                }
            }
        }
        let held = |since: f64| (record.seconds - since).max(0.0);
        let Some((mode, since)) = first.last_key_value() else { continue };
        let writers = first.iter().filter(|(mode, _)| mode.blocks_writes()).map(|(_, since)| held(*since)).fold(0.0, f64::max);
        locked.push(Locked {
            relation: format!("{}.{}", relation.schema, relation.name),
            is_index: matches!(relation.kind.as_str(), "i" | "I"),
            mode: *mode,
            seconds: held(*since),
            blocked_writes_seconds: writers,
            bytes: u64::try_from(relation.bytes).unwrap_or_default(),
            rows: u64::try_from(relation.rows).ok(),
        });
    }
    locked.sort_by(|one, other| one.relation.cmp(&other.relation));
    locked
}

//! The judgement: from what was measured and read to pass or fail, with reasons. Pure.
//!
//! What was measured refuses; what was only read in the text warns, unless the settings say that it refuses. What could not be measured never passes.

use serde::{Deserialize, Serialize};
use shared::finding::{Finding, FindingKind};
use shared::human;

use super::lint::Lint;
use super::measure::{Locked, Mode, RanUnit};
use super::split::Unfit;
use super::{Planned, Rehearsal};

const REASONS_MAX: usize = 200;

/// A shorter wait says nothing.
const WAIT_SECONDS_NOTED: f64 = 1.0;

/// What a migration may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Policy {
    /// From this size on, a table is one that is waited for.
    pub large_bytes: u64,
    /// Or from this number of rows on.
    pub large_rows: u64,
    /// How long a large table may be shut for readers: ACCESS EXCLUSIVE.
    pub access_exclusive_seconds_max: f64,
    /// How long a large table may be shut for writers: SHARE and stronger.
    pub blocked_writes_seconds_max: f64,
    /// Tables above this size must not be written anew.
    pub rewrite_bytes_max: u64,
    /// Rules of squawk that refuse, by name. All others warn.
    pub refuse_rules: Vec<String>,
    /// Rules of squawk that say nothing.
    pub ignore_rules: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            large_bytes: 16 * 1024 * 1024,
            large_rows: 10_000,
            access_exclusive_seconds_max: 2.0,
            blocked_writes_seconds_max: 5.0,
            rewrite_bytes_max: 256 * 1024 * 1024,
            refuse_rules: Vec::new(),
            ignore_rules: Vec::new(),
        }
    }
}

/// Whether a migration may go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Whether nothing refuses it.
    pub passes: bool,
    /// What it destroys: `FILE:LINE STATEMENT`. It may only go on with a fresh, good snapshot; see [`super::gate`].
    pub destroys: Vec<String>,
    /// Why.
    pub reasons: Vec<Finding>,
}

impl Verdict {
    fn of(destroys: Vec<String>, mut reasons: Vec<Finding>) -> Self {
        let refuses = |finding: &Finding| matches!(finding.kind, FindingKind::MigrationRefused | FindingKind::NotChecked);
        let passes = !reasons.iter().any(refuses);
        // What refuses comes first, and is what is kept of a very long list.
        reasons.sort_by_key(|finding| !refuses(finding));
        let more = reasons.len().saturating_sub(REASONS_MAX);
        if more > 0 {
            reasons.truncate(REASONS_MAX);
            reasons.push(Finding::new(FindingKind::MigrationRisk, "all files", format!("{more} more reasons")).hint("see to these first"));
        }
        Self { passes, destroys, reasons }
    }
}

/// Files that cannot be rehearsed never pass.
pub(super) fn unfit(unfit: &[(String, Unfit)]) -> Verdict {
    let refused = unfit.iter().map(|(file, unfit)| {
        Finding::new(FindingKind::MigrationRefused, format!("{file}:{}", unfit.line), format!("not rehearsed: {}", unfit.seen)).hint(unfit.hint)
    });
    Verdict::of(Vec::new(), refused.collect())
}

/// Judges what was measured and read.
pub(super) fn judge(policy: &Policy, planned: &[Planned<'_>], rehearsal: &Rehearsal) -> Verdict {
    let mut reasons = Vec::new();
    let mut destroys: Vec<String> = Vec::new();
    for planned in planned {
        for statement in planned.unit.statements() {
            destroys.extend(statement.destroys.iter().map(|what| format!("{}:{} {what}", planned.file.name, statement.line)));
        }
    }
    for unit in &rehearsal.units {
        reasons.extend(outcome(unit));
        if unit.wait_seconds >= WAIT_SECONDS_NOTED {
            let seen = format!("waited {:.1} s for a lock, though nothing else runs on the copy", unit.wait_seconds);
            reasons.push(
                Finding::new(FindingKind::MigrationRisk, &unit.file, seen)
                    .hint("autovacuum held it: in production set a lock_timeout, and try again"),
            );
        }
        reasons.extend(unit.locks.iter().filter_map(|locked| lock(policy, unit, locked, &rehearsal.lints)));
        for statement in &unit.statements {
            let place = format!("{}:{}", unit.file, statement.line);
            reasons.extend(
                statement.rewrote.iter().filter(|table| !statement.dropped.contains(table)).map(|table| rewrite(policy, unit, &place, table)),
            );
            if let Some(limit) = statement.timeout_seconds.filter(|limit| statement.seconds > *limit) {
                let seen = format!("took {:.1} s; its own statement_timeout of {limit} s would have stopped it", statement.seconds);
                reasons.push(Finding::new(FindingKind::MigrationRefused, &place, seen).hint("set a longer timeout, or do it in parts"));
            }
            // What a block or a function dropped is in no text.
            let said = destroys.iter().any(|known| known.starts_with(&format!("{place} ")));
            if !said {
                destroys.extend(statement.dropped.iter().map(|table| format!("{place} dropped {table}")));
            }
        }
    }
    if rehearsal.units.len() < planned.len() {
        let missing: Vec<&str> = planned[rehearsal.units.len()..].iter().map(|planned| planned.file.name.as_str()).collect();
        let seen = format!(
            "not rehearsed, because the migration ended before: {} more transactions, up to {}",
            missing.len(),
            missing.last().unwrap_or(&"")
        );
        reasons.push(Finding::new(FindingKind::NotChecked, missing[0], seen).hint("mend what failed, and rehearse again"));
    }
    for what in &destroys {
        let (place, statement) = what.split_once(' ').unwrap_or((what, ""));
        let seen = format!("{statement}: what is gone comes back from a backup only");
        reasons.push(Finding::new(FindingKind::MigrationRisk, place, seen).hint("take a snapshot right before; the deploy gate asks for it"));
    }
    reasons.extend(rehearsal.lints.iter().filter_map(|lint| rule(policy, lint, &destroys)));
    Verdict::of(destroys, reasons)
}

fn outcome(unit: &RanUnit) -> Option<Finding> {
    if let Some(failed) = &unit.failed {
        let seen = format!("failed: {} (SQLSTATE {}): {}", failed.message, failed.sqlstate, failed.text);
        let hint = if unit.is_transaction {
            "it would fail in production too, or leave it as it was before: mend it, and rehearse again"
        } else {
            "it ran outside a transaction, so part of it stays, such as an index that is not valid: drop that, mend it, and rehearse again"
        };
        return Some(Finding::new(FindingKind::MigrationRefused, format!("{}:{}", unit.file, failed.line), seen).hint(hint));
    }
    let unknown = unit.unknown.as_ref()?;
    Some(
        Finding::new(FindingKind::NotChecked, &unit.file, format!("nothing is known of its outcome: {unknown}"))
            .hint("rehearse it again in a new drill"),
    )
}

fn is_large(policy: &Policy, locked: &Locked) -> bool {
    locked.bytes >= policy.large_bytes || locked.rows.is_some_and(|rows| rows >= policy.large_rows)
}

fn lock(policy: &Policy, unit: &RanUnit, locked: &Locked, lints: &[Lint]) -> Option<Finding> {
    // A lock of an index shuts what the lock of its table shuts.
    if locked.is_index || !is_large(policy, locked) || !locked.mode.blocks_writes() {
        return None;
    }
    let (seconds, limit, who) = if locked.mode == Mode::AccessExclusive && locked.seconds > policy.access_exclusive_seconds_max {
        (locked.seconds, policy.access_exclusive_seconds_max, "nobody can read or write")
    } else if locked.blocked_writes_seconds > policy.blocked_writes_seconds_max {
        (locked.blocked_writes_seconds, policy.blocked_writes_seconds_max, "nobody can write")
    } else {
        return None;
    };
    let help = lints.iter().filter(|lint| lint.file == unit.file).find_map(|lint| lint.help.clone());
    let seen =
        format!("holds {} on {} for {seconds:.1} s, while {who} it; it has {}", locked.mode.name(), locked.relation, human::bytes(locked.bytes));
    Some(Finding::new(FindingKind::MigrationRefused, format!("{} {}", unit.file, locked.relation), seen).expected(format!("at most {limit} s")).hint(
        help.unwrap_or_else(|| {
            "do the long part before, without the lock (CONCURRENTLY, NOT VALID and VALIDATE, in batches), or in a transaction of its own".to_owned()
        }),
    ))
}

fn rewrite(policy: &Policy, unit: &RanUnit, place: &str, table: &str) -> Finding {
    let bytes = unit.locks.iter().find(|locked| locked.relation == *table).map_or(0, |locked| locked.bytes);
    let seen = format!("writes {table} anew, {}", human::bytes(bytes));
    if bytes > policy.rewrite_bytes_max {
        Finding::new(FindingKind::MigrationRefused, place, seen)
            .expected(format!("no table above {} is written anew", human::bytes(policy.rewrite_bytes_max)))
            .hint("add a new column, fill it in batches, then swap the two")
    } else {
        Finding::new(FindingKind::MigrationRisk, place, seen).hint("it needs that much disk again, and shuts the table meanwhile")
    }
}

fn rule(policy: &Policy, lint: &Lint, destroys: &[String]) -> Option<Finding> {
    let place = format!("{}:{}", lint.file, lint.line);
    let refuses = policy.refuse_rules.contains(&lint.rule);
    let is_said = destroys.iter().any(|known| known.starts_with(&format!("{place} "))) && lint.rule.starts_with("ban-drop");
    if policy.ignore_rules.contains(&lint.rule) || (is_said && !refuses) {
        return None;
    }
    let kind = if refuses { FindingKind::MigrationRefused } else { FindingKind::MigrationRisk };
    let finding = Finding::new(kind, place, format!("{} ({})", lint.message, lint.rule));
    Some(match &lint.help {
        Some(help) => finding.hint(help),
        None => finding,
    })
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;

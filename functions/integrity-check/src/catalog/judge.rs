//! From what the catalogs say to findings. Pure: every limit stands here or in `ranges`.

use chrono::{DateTime, Utc};
use shared::finding::{Finding, FindingKind};
use shared_postgres::proof::quote;
use shared_postgres::soundness::{Distrust, Found, InvalidIndex, Untrusted, written};

use super::facts::{Facts, Holders, Server, Slot, Stale, Widths};
use super::ranges::{days_left, running_out};

/// Ids until the server refuses to write (`varsup.c`, `multixact.c`: it stops three million before the end).
const IDS: f64 = 2_147_483_647.0;
/// Used part of the ids from which on it is said, and from which on it is critical; or by days, at the pace since the last look.
const IDS_WARNING: f64 = 0.5;
const IDS_CRITICAL: f64 = 0.75;
const IDS_DAYS_WARNING: f64 = 30.0;
const IDS_DAYS_CRITICAL: f64 = 7.0;
/// An open transaction is named after so long: a backup of a large database takes hours.
const TRANSACTION_SECONDS_MAX: f64 = 4.0 * 3600.0;
/// One that only waits for its client, and a prepared one, after so long.
const IDLE_SECONDS_MAX: f64 = 3600.0;
/// Age, in transactions, of rows that a slot or a replica may keep.
const KEPT_AGE_MAX: i64 = 10_000_000;
/// WAL that a slot may keep while somebody reads it, and while nobody does.
const WAL_ACTIVE_BYTES_MAX: i64 = 20 << 30;
const WAL_IDLE_BYTES_MAX: i64 = 1 << 30;
/// Counters must have counted so long before "nobody used it" means anything.
const UNUSED_DAYS_MIN: f64 = 30.0;
/// A table is much larger than its rows when so much of it, and so many bytes, should not be needed.
const BLOAT_PART: f64 = 0.5;
const BLOAT_BYTES: u64 = 256 << 20;
/// Statistics are old when so many rows, and this part of them, changed since; and autovacuum had so many days for it.
const STALE_ROWS: u64 = 50_000;
const STALE_PART: f64 = 0.3;
const STALE_DAYS: f64 = 3.0;
/// A table that was never analyzed matters from so many pages on.
const NEVER_PAGES: u64 = 128;

/// Everything that is found, the worst sorts first.
pub fn judge(facts: &Facts, now: DateTime<Utc>) -> Vec<Finding> {
    #[expect(clippy::cast_precision_loss, reason = "seconds between two nights")]
    let before = facts.before.as_ref().map(|marks| (marks, (now - marks.at).num_seconds() as f64 / 86_400.0));
    let mut findings = Vec::new();
    if facts.checksums.failures > 0 {
        let seen = format!("the server counted {} pages whose checksum was wrong, in this database or in what all share", facts.checksums.failures);
        findings.push(Finding::new(FindingKind::HeapCorrupt, "checksums", seen).expected("none").hint(
            "the findings of tables and indexes name the pages, as the checks reach them. The server counts on until its statistics are reset: after the repair, \
             SELECT pg_stat_reset(); in the database, which also lets the counters of indexes and autovacuum begin anew",
        ));
    }
    findings.extend(wraparound(&facts.server, before.map(|(marks, days)| (marks.xid_age, marks.mxid_age, days))));
    findings.extend(running_out(&facts.ranges, before));
    findings.extend(facts.soundness.invalid_indexes.findings(|index| Some(invalid(index))));
    findings.extend(facts.soundness.untrusted.findings(|constraint| Some(untrusted(constraint))));
    findings.extend(facts.soundness.collations.findings(|collation| {
        let seen = format!(
            "it sorts by version {} now; indexes were made with version {} and may be in the wrong order",
            collation.actual, collation.recorded
        );
        let refresh = if collation.name.starts_with("the database") {
            format!("ALTER DATABASE {} REFRESH COLLATION VERSION;", quote(&facts.server.database))
        } else {
            format!("ALTER COLLATION {} REFRESH VERSION;", written(&collation.name))
        };
        Some(
            Finding::new(FindingKind::CollationChanged, &collation.name, seen)
                .hint(format!("REINDEX INDEX CONCURRENTLY every index on text that uses it; then {refresh}")),
        )
    }));
    findings.extend(facts.narrow.findings(|key| {
        let seen = format!(
            "a column of type {} refers to {}, which is of type {}: beyond its range every INSERT fails",
            key.type_name, key.parent, key.parent_type
        );
        Some(
            Finding::new(FindingKind::KeyTooNarrow, &key.column, seen)
                .expected(format!("the type {}", key.parent_type))
                .hint("make it as wide as the key before the key is that large (docs/runbook.md)"),
        )
    }));
    findings.extend(facts.triggers.findings(|trigger| {
        let seen = "the trigger is disabled: what it did is not done";
        let hint = format!("if that is not meant: ALTER TABLE {} ENABLE TRIGGER {};", written(&trigger.table), quote(&trigger.name));
        Some(Finding::new(FindingKind::TriggerDisabled, format!("{}, trigger {}", trigger.table, trigger.name), seen).hint(hint))
    }));
    findings.extend(held(&facts.holders));
    findings.extend(slots(&facts.holders.slots));
    findings.extend(not_seen(facts));
    if !facts.checksums.on {
        findings.push(
            Finding::new(FindingKind::ChecksumsOff, "checksums", "checksums of pages are off: a changed bit on disk is not noticed when it is read")
                .hint("RDS switches them on for new instances: move by a logical copy when there is occasion"),
        );
    }
    findings.extend(space(facts));
    findings
}

fn wraparound(server: &Server, before: Option<(i64, i64, f64)>) -> Vec<Finding> {
    #[expect(clippy::cast_precision_loss, reason = "a part of two milliards")]
    let part = |age: i64| age as f64 / IDS;
    let judged = |what: &str, age: i64, earlier: Option<i64>, frozen_at: i64, subject: String| {
        // Ages go up and are set back by freezing: only beyond the age where the server freezes by itself is a rise a trend.
        let days = earlier
            .zip(before)
            .filter(|_| age > frozen_at + frozen_at / 2)
            .and_then(|(earlier, (.., days))| days_left(part(earlier), part(age), days));
        let within = |limit: f64| days.is_some_and(|days| days < limit);
        let kind = match part(age) {
            used if used >= IDS_CRITICAL || within(IDS_DAYS_CRITICAL) => FindingKind::WraparoundImminent,
            used if used >= IDS_WARNING || within(IDS_DAYS_WARNING) => FindingKind::WraparoundNears,
            _ => return None,
        };
        let speed = days.map(|days| format!("; at the pace since the last look the server stops writing in {days:.0} days")).unwrap_or_default();
        let oldest = server.oldest_table.as_ref().map(|table| format!(", {table} first")).unwrap_or_default();
        let seen = format!("the oldest {what} is {age} old, {:.1} % of what there is{speed}", part(age) * 100.0);
        Some(Finding::new(kind, subject, seen).expected(format!("frozen by autovacuum at {frozen_at}")).hint(format!(
            "look for what holds old rows (xminHeld), end it, then VACUUM (FREEZE) the oldest tables{oldest}: \
             SELECT oid::regclass, age(relfrozenxid), mxid_age(relminmxid) FROM pg_class WHERE relkind IN ('r', 'm', 't') ORDER BY 2 DESC LIMIT 20;"
        )))
    };
    let database = &server.database;
    let mut findings: Vec<Finding> =
        judged("transaction id", server.xid_age, before.map(|before| before.0), server.freeze_age_max, format!("database {database}"))
            .into_iter()
            .collect();
    findings.extend(judged(
        "multixact",
        server.mxid_age,
        before.map(|before| before.1),
        server.freeze_mxid_age_max,
        format!("multixacts of {database}"),
    ));
    findings.extend(
        server.closed.iter().filter_map(|(name, age)| judged("transaction id", *age, None, server.freeze_age_max, format!("database {name}"))),
    );
    findings
}

fn invalid(index: &InvalidIndex) -> Finding {
    let table = &index.table;
    let (seen, hint) = if index.is_of_partitions {
        (
            format!("an index of the partitioned table {table} that lacks one of a partition"),
            format!("CREATE INDEX CONCURRENTLY on each partition that lacks it, then ALTER INDEX {} ATTACH PARTITION …;", written(&index.name)),
        )
    } else {
        let unique = if index.is_unique { "; nothing keeps its values unique" } else { "" };
        (
            format!("an index of {table} that no query uses, and every write pays for: its making was not finished{unique}"),
            format!("REINDEX INDEX CONCURRENTLY {0}; or, if its name ends in _ccnew or _ccold: DROP INDEX CONCURRENTLY {0};", written(&index.name)),
        )
    };
    Finding::new(FindingKind::IndexInvalid, &index.name, seen).hint(hint)
}

fn untrusted(constraint: &Untrusted) -> Finding {
    let (of, name) = (&constraint.of, quote(&constraint.constraint));
    let alter = of.strip_prefix("domain ").map_or_else(|| format!("ALTER TABLE {}", written(of)), |domain| format!("ALTER DOMAIN {domain}"));
    let (seen, hint) = match constraint.why {
        Distrust::NotValid => (
            "rows that were there before it were never looked at",
            format!("{alter} VALIDATE CONSTRAINT {name}; which reads the table under a lock that lets others read and write"),
        ),
        Distrust::NotEnforced => (
            "it is declared NOT ENFORCED: nobody looks at any row",
            format!("if that is not meant, for a foreign key: {alter} ALTER CONSTRAINT {name} ENFORCED; for another: drop it and make it anew"),
        ),
        Distrust::Disabled => (
            "its triggers are disabled: nobody enforces it",
            format!("{alter} ENABLE TRIGGER ALL; on both of its tables, then look for rows that break it"),
        ),
    };
    let subject = format!("{of}, constraint {}", constraint.constraint);
    Finding::new(FindingKind::ConstraintNotTrusted, subject, seen).expected("it holds for every row").hint(hint)
}

fn held(holders: &Holders) -> Vec<Finding> {
    let found = |subject: String, seen: String, hint: String| {
        Finding::new(FindingKind::XminHeld, subject, format!("{seen}: no row that died since is removed, in any table")).hint(hint)
    };
    let mut findings = Vec::new();
    for open in &holders.transactions {
        if open.seconds >= if open.is_idle { IDLE_SECONDS_MAX } else { TRANSACTION_SECONDS_MAX } {
            let state = if open.is_idle { ", and only waits for its client" } else { "" };
            let seen =
                format!("a transaction is open for {:.1} hours{state} (process {}, {} transactions old)", open.seconds / 3600.0, open.pid, open.age);
            findings.push(found(format!("transactions of {}", open.role), seen, format!("SELECT pid, state, xact_start, application_name FROM pg_stat_activity WHERE pid = {0}; and, if nobody needs it: SELECT pg_terminate_backend({0});", open.pid)));
        }
    }
    for prepared in holders.prepared.iter().filter(|prepared| prepared.seconds >= IDLE_SECONDS_MAX) {
        let seen =
            format!("prepared {:.1} hours ago and neither committed nor rolled back ({} transactions old)", prepared.seconds / 3600.0, prepared.age);
        findings.push(found(
            format!("prepared transaction {}", prepared.name),
            seen,
            format!("ask whose it is, then: ROLLBACK PREPARED '{}';", prepared.name.replace('\'', "''")),
        ));
    }
    for slot in holders.slots.iter().filter(|slot| slot.age > KEPT_AGE_MAX && !slot.is_lost) {
        let seen = format!("the slot keeps rows that are {} transactions old{}", slot.age, if slot.is_active { "" } else { ", and nobody reads it" });
        findings.push(found(format!("slot {}", slot.name), seen, format!("let its reader catch up; or, if nobody needs it: {}", drop_slot(slot))));
    }
    for (name, age) in holders.replicas.iter().filter(|(_, age)| *age > KEPT_AGE_MAX) {
        let seen = format!("a query on the replica needs rows that are {age} transactions old");
        findings.push(found(format!("replica {name}"), seen, "end the long query there, or set hot_standby_feedback off there".to_owned()));
    }
    Found::from(findings).findings(|finding| Some(finding.clone()))
}

fn drop_slot(slot: &Slot) -> String {
    format!("SELECT pg_drop_replication_slot('{}');", slot.name)
}

fn slots(slots: &[Slot]) -> Vec<Finding> {
    let found: Found<&Slot> = slots.iter().collect::<Vec<_>>().into();
    found.findings(|slot| {
        let most = if slot.is_active { WAL_ACTIVE_BYTES_MAX } else { WAL_IDLE_BYTES_MAX };
        #[expect(clippy::cast_precision_loss, reason = "for a person")]
        let gib = |bytes: i64| bytes as f64 / f64::from(1 << 30);
        let (seen, hint) = if slot.is_lost {
            ("what it needs is gone: whoever reads it cannot go on".to_owned(), format!("make the subscriber anew, and: {}", drop_slot(slot)))
        } else if slot.wal_bytes > most {
            let idle = if slot.is_active { "" } else { ", and nobody reads it" };
            (
                format!("it keeps {:.1} GiB of WAL{idle}: the storage fills", gib(slot.wal_bytes)),
                format!("start its reader again; or, if nobody needs it: {} max_slot_wal_keep_size bounds it", drop_slot(slot)),
            )
        } else {
            return None;
        };
        Some(
            Finding::new(FindingKind::SlotRetainsWal, format!("slot {}", slot.name), seen)
                .expected(format!("at most {:.0} GiB", gib(most)))
                .hint(hint),
        )
    })
}

/// What our role may not look at: one finding for each sort, with what to grant.
fn not_seen(facts: &Facts) -> Vec<Finding> {
    let role = quote(&facts.server.role);
    let grants = |what: &str, schemas: &std::collections::BTreeSet<String>| -> String {
        let each = schemas
            .iter()
            .take(10)
            .map(|schema| format!("GRANT USAGE ON SCHEMA {0} TO {role}; GRANT SELECT ON ALL {what} IN SCHEMA {0} TO {role};", quote(schema)));
        format!("GRANT pg_read_all_data TO {role}; or: {}", each.collect::<Vec<_>>().join(" "))
    };
    let mut findings = Vec::new();
    if !facts.server.sees_sessions {
        findings.push(
            Finding::new(
                FindingKind::NotChecked,
                "sessions of others",
                "the role does not see them, so nothing is known about transactions that are open for long",
            )
            .hint(format!("GRANT pg_monitor TO {role};")),
        );
    }
    let ranges = &facts.ranges;
    if ranges.unreadable_count > 0 {
        let seen = format!("the role may not read {} sequences, so nothing is known about their end", ranges.unreadable_count);
        findings.push(Finding::new(FindingKind::NotChecked, "sequences", seen).hint(grants("SEQUENCES", &ranges.unreadable)));
    } else if ranges.locked > 0 {
        let seen = format!("somebody held a lock on {} sequences or more, so nothing is known about their end tonight", ranges.locked);
        findings.push(
            Finding::new(FindingKind::NotChecked, "sequences", seen)
                .hint("nothing is to be done, unless it is said every night: then look who changes sequences at that time"),
        );
    }
    findings
}

/// What costs space and speed, and no more.
fn space(facts: &Facts) -> Vec<Finding> {
    let server = &facts.server;
    #[expect(clippy::cast_precision_loss, reason = "bytes, for a person")]
    let mib = |pages: u64| pages as f64 * server.block_bytes as f64 / f64::from(1 << 20);
    let mut findings = facts.tables.without_key.findings(|table| {
        let seen = "it has no primary key: a single row cannot be named, corrected, or replicated";
        Some(
            Finding::new(FindingKind::NoPrimaryKey, table, seen)
                .hint(format!("ALTER TABLE {} ADD PRIMARY KEY (…); over what is unique in it", written(table))),
        )
    });
    let bloated: Found<&Widths> = facts.bloat.iter().collect::<Vec<_>>().into();
    findings.extend(bloated.findings(|table| {
        let needed = needed_pages(table, server.block_bytes);
        let spare = table.pages.saturating_sub(needed);
        #[expect(clippy::cast_precision_loss, reason = "a part of a table")]
        let part = spare as f64 / table.pages.max(1) as f64;
        (part >= BLOAT_PART && spare * server.block_bytes >= BLOAT_BYTES).then(|| {
            let seen = format!(
                "it takes {:.0} MiB, and its rows should need about {:.0} (an estimate from the planner's statistics)",
                mib(table.pages),
                mib(needed)
            );
            Finding::new(FindingKind::TableBloated, &table.table, seen)
                .hint("look for what holds old rows (xminHeld) first; then pg_repack, or VACUUM FULL, which locks the table")
        })
    }));
    // On a replica only its own queries are counted.
    if server.counted_days >= UNUSED_DAYS_MIN && !server.is_replica {
        let replicas = if server.has_replicas { ", unless a replica's queries use it, which are counted there," } else { "" };
        findings.extend(facts.unused.findings(|index| {
            let seen = format!(
                "no query used this index of {} for {:.0} days; it takes {:.0} MiB, and every write pays for it",
                index.table,
                server.counted_days,
                mib(index.pages)
            );
            Some(
                Finding::new(FindingKind::IndexUnused, &index.name, seen)
                    .hint(format!("if it is not new{replicas} and nothing yearly needs it: DROP INDEX CONCURRENTLY {};", written(&index.name))),
            )
        }));
    }
    findings.extend(facts.duplicates.findings(|index| {
        let seen =
            format!("it does for {} what {} does; it takes {:.0} MiB, and every write pays for both", index.table, index.other, mib(index.pages));
        let hint = if index.constraint {
            format!("ALTER TABLE {} DROP CONSTRAINT … of this index, if no foreign key relies on it", written(&index.table))
        } else {
            format!("DROP INDEX CONCURRENTLY {};", written(&index.name))
        };
        Some(Finding::new(FindingKind::IndexDuplicate, &index.name, seen).hint(hint))
    }));
    findings.extend(facts.tables.stale.findings(|table| {
        let rows = table.rows.map(|rows| format!(" of about {rows}")).unwrap_or_default();
        let seen = match table.days {
            Some(days) => format!("{} rows{rows} changed since its statistics were made {days:.0} days ago: plans may be bad", table.changed),
            None if table.rows.is_none() => "it has no statistics at all: plans may be bad".to_owned(),
            None => format!("{} rows{rows} changed, and nobody knows when its statistics were made: plans may be bad", table.changed),
        };
        Some(
            Finding::new(FindingKind::StatisticsStale, &table.table, seen)
                .hint(format!("ANALYZE {}; and look why autovacuum does not come by", written(&table.table))),
        )
    }));
    findings
}

/// Whether a table's statistics are worth a word.
pub(super) fn is_stale(table: &Stale, pages: u64) -> bool {
    let Some(rows) = table.rows else { return pages >= NEVER_PAGES };
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a number of rows")]
    let part = (rows as f64 * STALE_PART) as u64;
    table.changed >= STALE_ROWS.max(part) && table.days.is_none_or(|days| days >= STALE_DAYS)
}

/// Pages that the rows of a table should need: header, null bitmap and line pointer of a row as in `htup_details.h` and `bufpage.h`, aligned to eight bytes.
fn needed_pages(table: &Widths, block_bytes: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let (block, bitmap) = (block_bytes as f64, (table.columns as f64 / 8.0).ceil());
    let row = ((23.0 + bitmap) / 8.0).ceil() * 8.0 + (table.bytes / 8.0).ceil() * 8.0 + 4.0;
    let rows_per_page = ((block - 24.0) * table.fillfactor / 100.0 / row).floor().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
    let pages = (table.rows / rows_per_page).ceil() as u64;
    pages
}

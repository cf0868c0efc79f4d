//! Each rule: a sound database passes, the same with one thing wrong is found, by kind and subject; and just below its limit it is not.

use chrono::{DateTime, TimeDelta, Utc};
use shared::finding::{Finding, FindingKind, Severity};
use shared_postgres::soundness::{ChangedCollation, Checksums, Distrust, Found, InvalidIndex, NAMED_MAX, Soundness, Untrusted};

use super::facts::{
    DuplicateIndex, Facts, KeyColumn, Marks, NarrowKey, Prepared, Sequence, Server, Slot, Stale, Transaction, Trigger, UnusedIndex, Widths,
};
use super::judge::{is_stale, judge};
use super::ranges::column_ranges;
use crate::model::{ColumnMetrics, TableMetrics};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).expect("a time")
}

/// A database with which everything is as it should be, though much is in use.
fn sound() -> Facts {
    let server = Server {
        database: "shop".to_owned(),
        role: "watch".to_owned(),
        sees_sessions: true,
        block_bytes: 8192,
        locks_max: 1000,
        counted_days: 100.0,
        xid_age: 180_000_000,
        mxid_age: 10_000,
        freeze_age_max: 200_000_000,
        freeze_mxid_age_max: 400_000_000,
        closed: vec![("template0".to_owned(), 150_000_000)],
        ..Server::default()
    };
    let mut facts = Facts { server, checksums: Checksums { on: true, ..Checksums::default() }, ..Facts::default() };
    facts.ranges.sequences.push(sequence(1_500_000_000));
    facts.holders.transactions.push(Transaction { role: "app".to_owned(), seconds: 30.0, age: 5, pid: 7, is_idle: true });
    facts.holders.transactions.push(Transaction { role: "backup".to_owned(), seconds: 7200.0, age: 50_000, pid: 8, is_idle: false });
    facts.holders.slots.push(slot());
    facts.bloat.push(widths(20_000));
    facts
}

fn sequence(last: i64) -> Sequence {
    Sequence {
        name: "public.s".to_owned(),
        column: Some("public.t.id".to_owned()),
        start: 1,
        bound: 2_147_483_647,
        is_bound_by_column: true,
        last,
        increment: 1,
    }
}

fn slot() -> Slot {
    Slot { name: "feed".to_owned(), is_active: true, age: 1000, wal_bytes: 1 << 30, is_lost: false }
}

/// A million rows of 100 bytes need some 16,000 pages.
fn widths(pages: u64) -> Widths {
    Widths { table: "public.t".to_owned(), pages, rows: 1_000_000.0, bytes: 100.0, fillfactor: 100.0, columns: 5 }
}

fn found(facts: &Facts) -> Vec<(FindingKind, String)> {
    judge(facts, now()).into_iter().map(|finding| (finding.kind, finding.subject)).collect()
}

#[test]
fn nothing_is_wrong_with_a_sound_database() {
    assert_eq!(found(&sound()), []);
    assert_eq!(found(&Facts { before: Some(sound().marks(now() - TimeDelta::days(1))), ..sound() }), []);
}

type Breaking = (&'static str, fn(&mut Facts), FindingKind, &'static str);

fn untrusted(why: Distrust) -> Untrusted {
    Untrusted { name: "public.k".to_owned(), constraint: "k".to_owned(), of: "public.t".to_owned(), why, key: None }
}

fn index(name: &str) -> InvalidIndex {
    InvalidIndex { name: name.to_owned(), table: "public.t".to_owned(), is_unique: false, is_of_partitions: false }
}

#[test]
fn each_thing_that_is_wrong_is_found_alone() {
    use FindingKind as K;
    let breakings: [Breaking; 33] = [
        ("a checksum", |facts| facts.checksums.failures = 1, K::HeapCorrupt, "checksums"),
        ("no checksums", |facts| facts.checksums.on = false, K::ChecksumsOff, "checksums"),
        ("half of the ids", |facts| facts.server.xid_age = 1_073_741_824, K::WraparoundNears, "database shop"),
        ("most of the ids", |facts| facts.server.xid_age = 1_650_000_000, K::WraparoundImminent, "database shop"),
        ("half of the multixacts", |facts| facts.server.mxid_age = 1_100_000_000, K::WraparoundNears, "multixacts of shop"),
        ("a closed database", |facts| facts.server.closed[0].1 = 1_200_000_000, K::WraparoundNears, "database template0"),
        (
            "ids that go fast",
            |facts| {
                facts.server.xid_age = 700_000_000;
                facts.before = Some(Marks { at: now() - TimeDelta::days(1), xid_age: 600_000_000, mxid_age: 10_000, used: [].into() });
            },
            K::WraparoundNears,
            "database shop",
        ),
        ("a sequence", |facts| facts.ranges.sequences[0].last = 1_650_000_000, K::RangeRunsOut, "sequence public.s"),
        ("a sequence nearly", |facts| facts.ranges.sequences[0].last = 1_950_000_000, K::RangeNearlyOut, "sequence public.s"),
        (
            "a sequence downwards",
            |facts| facts.ranges.sequences[0] = Sequence { start: -1, bound: -100, last: -80, increment: -1, ..sequence(0) },
            K::RangeRunsOut,
            "sequence public.s",
        ),
        (
            "a sequence that goes fast",
            |facts| facts.before = Some(Marks { used: [("sequence public.s".to_owned(), 0.68)].into(), ..sound().marks(now() - TimeDelta::days(1)) }),
            K::RangeNearlyOut,
            "sequence public.s",
        ),
        ("an index", |facts| facts.soundness.invalid_indexes = vec![index("public.i")].into(), K::IndexInvalid, "public.i"),
        (
            "not valid",
            |facts| facts.soundness.untrusted = vec![untrusted(Distrust::NotValid)].into(),
            K::ConstraintNotTrusted,
            "public.t, constraint k",
        ),
        (
            "not enforced",
            |facts| facts.soundness.untrusted = vec![untrusted(Distrust::NotEnforced)].into(),
            K::ConstraintNotTrusted,
            "public.t, constraint k",
        ),
        (
            "disabled",
            |facts| facts.soundness.untrusted = vec![untrusted(Distrust::Disabled)].into(),
            K::ConstraintNotTrusted,
            "public.t, constraint k",
        ),
        (
            "a collation",
            |facts| {
                let changed = ChangedCollation { name: "public.c".to_owned(), recorded: "1".to_owned(), actual: "2".to_owned() };
                facts.soundness = Soundness { collations: vec![changed].into(), ..Soundness::default() };
            },
            K::CollationChanged,
            "public.c",
        ),
        (
            "a narrow key",
            |facts| {
                let (column, parent) = ("public.a.b".to_owned(), "public.c.id".to_owned());
                facts.narrow = vec![NarrowKey { column, type_name: "integer".to_owned(), parent, parent_type: "bigint".to_owned() }].into();
            },
            K::KeyTooNarrow,
            "public.a.b",
        ),
        (
            "a trigger",
            |facts| facts.triggers = vec![Trigger { table: "public.t".to_owned(), name: "g".to_owned() }].into(),
            K::TriggerDisabled,
            "public.t, trigger g",
        ),
        ("a transaction", |facts| facts.holders.transactions[1].seconds = 15_000.0, K::XminHeld, "transactions of backup"),
        ("an idle transaction", |facts| facts.holders.transactions[0].seconds = 4000.0, K::XminHeld, "transactions of app"),
        (
            "a prepared transaction",
            |facts| facts.holders.prepared.push(Prepared { name: "it's".to_owned(), seconds: 4000.0, age: 3 }),
            K::XminHeld,
            "prepared transaction it's",
        ),
        ("a slot's rows", |facts| facts.holders.slots[0].age = 20_000_000, K::XminHeld, "slot feed"),
        ("a replica's rows", |facts| facts.holders.replicas.push(("reports".to_owned(), 20_000_000)), K::XminHeld, "replica reports"),
        ("a slot's WAL", |facts| facts.holders.slots[0].wal_bytes = 30 << 30, K::SlotRetainsWal, "slot feed"),
        (
            "an idle slot's WAL",
            |facts| facts.holders.slots[0] = Slot { is_active: false, wal_bytes: 2 << 30, ..slot() },
            K::SlotRetainsWal,
            "slot feed",
        ),
        ("a lost slot", |facts| facts.holders.slots[0].is_lost = true, K::SlotRetainsWal, "slot feed"),
        ("no sight", |facts| facts.server.sees_sessions = false, K::NotChecked, "sessions of others"),
        (
            "sequences that may not be read",
            |facts| (facts.ranges.unreadable_count, facts.ranges.unreadable) = (2, ["audit".to_owned()].into()),
            K::NotChecked,
            "sequences",
        ),
        ("no key", |facts| facts.tables.without_key = vec!["public.log".to_owned()].into(), K::NoPrimaryKey, "public.log"),
        ("bloat", |facts| facts.bloat[0].pages = 60_000, K::TableBloated, "public.t"),
        (
            "an unused index",
            |facts| facts.unused = vec![UnusedIndex { name: "public.i".to_owned(), table: "public.t".to_owned(), pages: 200 }].into(),
            K::IndexUnused,
            "public.i",
        ),
        (
            "a duplicate",
            |facts| {
                let (name, table, other) = ("public.j".to_owned(), "public.t".to_owned(), "public.i".to_owned());
                facts.duplicates = vec![DuplicateIndex { name, table, other, pages: 200, constraint: false }].into();
            },
            K::IndexDuplicate,
            "public.j",
        ),
        (
            "statistics",
            |facts| facts.tables.stale = vec![Stale { table: "public.t".to_owned(), days: None, changed: 0, rows: None }].into(),
            K::StatisticsStale,
            "public.t",
        ),
    ];
    for (what, breaking, kind, subject) in breakings {
        let mut facts = sound();
        breaking(&mut facts);
        assert_eq!(found(&facts), [(kind, subject.to_owned())], "{what}");
        let again = judge(&facts, now() + TimeDelta::days(1)).remove(0);
        assert_eq!(again.subject, subject, "{what}: the subject is its identity");
        assert!(again.hint.is_some_and(|hint| !hint.is_empty()), "{what}: a hint");
    }
}

#[test]
fn what_is_not_known_is_not_said() {
    // The counters have not counted for long, or not here.
    let unused: Found<UnusedIndex> = vec![UnusedIndex { name: "public.i".to_owned(), table: "public.t".to_owned(), pages: 200 }].into();
    let server = |change: fn(&mut Server)| {
        let mut facts = Facts { unused: unused.clone(), ..sound() };
        change(&mut facts.server);
        found(&facts)
    };
    assert_eq!(server(|_| {}).len(), 1);
    assert_eq!(server(|server| server.counted_days = 29.0), []);
    assert_eq!(server(|server| server.is_replica = true), []);
    // A sequence that was set back to before where it began.
    let mut facts = sound();
    facts.ranges.sequences[0] = Sequence { start: 2_000_000_000, last: 5, ..sequence(0) };
    assert_eq!(found(&facts), []);
    // Ages that fall, because rows were frozen, are no trend; neither is a rise below the age where freezing begins.
    for (age, before) in [(900_000_000, 950_000_000), (190_000_000, 90_000_000)] {
        let mut facts = sound();
        facts.server.xid_age = age;
        facts.before = Some(Marks { at: now() - TimeDelta::days(1), xid_age: before, mxid_age: 0, used: [].into() });
        assert_eq!(found(&facts), [], "{age}");
    }
}

#[test]
fn many_of_a_kind_are_named_in_part() {
    let mut facts = sound();
    facts.soundness.invalid_indexes = Found { items: (0..900).map(|number| index(&format!("public.i{number:04}"))).collect(), more: 100 };
    let findings = judge(&facts, now());
    assert_eq!(findings.len(), NAMED_MAX);
    assert!(findings[NAMED_MAX - 1].seen.ends_with("(and 980 more like it)"), "{:?}", findings[NAMED_MAX - 1]);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Warning));
}

#[test]
fn statistics_are_old_when_much_changed_and_nobody_came() {
    let table = |changed, rows, days| Stale { table: "t".to_owned(), days, changed, rows };
    assert!(is_stale(&table(0, None, None), 128) && !is_stale(&table(0, None, None), 127));
    assert!(is_stale(&table(60_000, Some(100_000), Some(4.0)), 1) && !is_stale(&table(60_000, Some(100_000), Some(1.0)), 1));
    assert!(!is_stale(&table(60_000, Some(1_000_000), None), 1) && !is_stale(&table(40_000, Some(1000), None), 1));
}

#[test]
fn key_columns_are_judged_by_the_largest_value_that_was_seen() {
    let mut facts = sound();
    facts.ranges.keys.push(KeyColumn { table: "public.t".to_owned(), column: "id".to_owned(), bytes: 4, is_alone: true });
    let metrics = |min: f64, max: f64| {
        let column = ColumnMetrics { column: "id".to_owned(), min: Some(min), max: Some(max), ..ColumnMetrics::default() };
        vec![TableMetrics { table: "public.t".to_owned(), columns: vec![column], ..TableMetrics::default() }]
    };
    let said = |facts: &Facts, min: f64, max: f64| {
        column_ranges(&facts.ranges, &metrics(min, max)).into_iter().map(|finding: Finding| (finding.kind, finding.subject)).collect::<Vec<_>>()
    };
    assert_eq!(said(&facts, 1.0, 1_500_000_000.0), []);
    assert_eq!(said(&facts, 1.0, 1_700_000_000.0), [(FindingKind::RangeRunsOut, "public.t.id".to_owned())]);
    assert_eq!(said(&facts, 1.0, 2_000_000_000.0), [(FindingKind::RangeNearlyOut, "public.t.id".to_owned())]);
    assert_eq!(said(&facts, -2_000_000_000.0, 0.0), [(FindingKind::RangeNearlyOut, "public.t.id".to_owned())]);
    // Its sequence says the same already.
    facts.ranges.sequences[0].last = 1_700_000_000;
    assert_eq!(said(&facts, 1.0, 1_700_000_000.0), []);
}

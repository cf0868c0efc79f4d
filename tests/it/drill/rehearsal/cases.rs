//! Migrations with known locks and rewrites.

use super::{Copy, Mode, SLOW_SECONDS, files, run};

use Mode::{AccessExclusive as Ae, RowExclusive as Re, RowShare as Rs, Share as S, ShareRowExclusive as Sre, ShareUpdateExclusive as Sue};

struct Case {
    sql: &'static str,
    /// For each unit: the strongest lock of each table, by name.
    locks: &'static [&'static [(&'static str, Mode)]],
    rewrote: &'static [&'static str],
    scanned: &'static [&'static str],
    destroys: usize,
    passes: bool,
}

const fn case(sql: &'static str, locks: &'static [&'static [(&'static str, Mode)]], passes: bool) -> Case {
    Case { sql, locks, rewrote: &[], scanned: &[], destroys: 0, passes }
}

impl Case {
    const fn rewrote(mut self, tables: &'static [&'static str]) -> Self {
        self.rewrote = tables;
        self
    }

    const fn scanned(mut self, tables: &'static [&'static str]) -> Self {
        self.scanned = tables;
        self
    }

    const fn destroys(mut self, count: usize) -> Self {
        self.destroys = count;
        self
    }
}

/// Sources: PostgreSQL manual, "Explicit Locking" and "ALTER TABLE", notes.
const CASES: &[Case] = &[
    case("alter table big add column c int", &[&[("big", Ae)]], true),
    case("alter table big add column c int not null default 7", &[&[("big", Ae)]], true),
    case("alter table big add column c float default random()", &[&[("big", Ae)]], false).rewrote(&["big"]).scanned(&["big"]),
    case("alter table small add column c float default random()", &[&[("small", Ae)]], true).rewrote(&["small"]).scanned(&["small"]),
    case("alter table big add constraint k check (slow(n) > 0)", &[&[("big", Ae)]], false).scanned(&["big"]),
    case(
        "begin; alter table big add constraint k check (slow(n) > 0) not valid; commit; begin; alter table big validate constraint k; commit",
        &[&[("big", Ae)], &[("big", Sue)]],
        true,
    )
    .scanned(&["big"]),
    case(
        "begin; alter table big add constraint k check (slow(n) > 0) not valid; alter table big validate constraint k; commit",
        &[&[("big", Ae)]],
        false,
    )
    .scanned(&["big"]),
    case("alter table big alter filled set not null", &[&[("big", Ae)]], true).scanned(&["big"]),
    case("alter table big alter n set not null", &[&[("big", Ae)]], true),
    case("alter table big alter id type bigint", &[&[("big", Ae)]], false).rewrote(&["big"]).scanned(&["big"]),
    case("alter table big alter code type varchar(50)", &[&[("big", Ae)]], true),
    case("alter table big alter note type varchar(300)", &[&[("big", Ae)]], false).rewrote(&["big"]).scanned(&["big"]),
    case("alter table big alter n type bigint using slow(n)", &[&[("big", Ae)]], false).rewrote(&["big"]).scanned(&["big"]).destroys(1),
    case("create index i on big (slow(n))", &[&[("big", S)]], false).scanned(&["big"]),
    case("create index i on big (owner)", &[&[("big", S)]], true).scanned(&["big"]),
    case("create index concurrently i on big (slow(n))", &[&[("big", Sue)]], true),
    case("drop index concurrently big_n", &[&[("big", Sue)]], true),
    case("drop index big_n", &[&[("big", Ae)]], true),
    case("reindex index concurrently big_n", &[&[("big", Sue)]], true),
    case("alter table big add constraint f foreign key (owner) references small (id)", &[&[("big", Sre), ("small", Sre)]], true)
        .scanned(&["big", "small"]),
    case(
        "begin; alter table big add constraint f foreign key (owner) references small (id) not valid; commit; begin; alter table big validate constraint f; commit",
        &[&[("big", Sre), ("small", Sre)], &[("big", Sue), ("small", Rs)]],
        true,
    )
    .scanned(&["big", "small"]),
    case("alter table big drop column note", &[&[("big", Ae)]], true).destroys(1),
    case("alter table big rename column note to remark", &[&[("big", Ae)]], true),
    case("alter table small rename to tiny", &[&[("small", Ae)]], true),
    case("drop table small", &[&[("small", Ae)]], true).destroys(1),
    case("do $$ begin execute 'drop table small'; end $$", &[&[("small", Ae)]], true).destroys(1),
    case("truncate small", &[&[("small", Ae)]], true).rewrote(&["small"]).destroys(1),
    case("update big set filled = filled + 1", &[&[("big", Re)]], true).scanned(&["big"]).destroys(1),
    case("delete from small where id = -1", &[&[("small", Re)]], true),
    case("alter table big alter n set default 5", &[&[("big", Ae)]], true),
    case("alter table big add constraint big_code unique using index big_code", &[&[("big", Ae)]], true),
    case("create table fresh (id bigint primary key)", &[&[]], true),
    case("alter type mood add value 'fair'", &[&[]], true),
    case("vacuum full big", &[&[("big", Ae)]], false).rewrote(&["big"]),
    case("vacuum big", &[&[("big", Sue)]], true),
    case("cluster big using big_pkey", &[&[("big", Ae)]], false).rewrote(&["big"]),
    case("create trigger t before update on big for each row execute function suppress_redundant_updates_trigger()", &[&[("big", Sre)]], true),
    case("alter table big set (fillfactor = 90)", &[&[("big", Sue)]], true),
    case("alter table big add column c int; select takes(2)", &[&[("big", Ae)]], false),
    case("select takes(2); alter table big add column c int", &[&[("big", Ae)]], true),
    case("set statement_timeout = '100ms'; select takes(0.2)", &[&[]], false),
];

async fn holds(major: u32, case: &Case) {
    let copy = Copy::new(major).await;
    let rehearsal = copy.rehearse(&files(&[("1.sql", case.sql)])).await;
    let told = |what: &str| format!("{major}: {}: {what}: {rehearsal:#?}", case.sql);
    assert!(rehearsal.units.iter().all(|unit| unit.failed.is_none() && unit.unknown.is_none()), "{}", told("it runs"));
    let named = |name: &&str| format!("public.{name}");
    for (unit, expected) in rehearsal.units.iter().zip(case.locks) {
        let seen: Vec<(String, Mode)> = unit.locks.iter().filter(|lock| !lock.is_index).map(|lock| (lock.relation.clone(), lock.mode)).collect();
        let expected: Vec<(String, Mode)> = expected.iter().map(|(name, mode)| (named(name), *mode)).collect();
        // What runs alone is seen by looking at it again and again; the shortest may be missed.
        if unit.is_transaction || unit.seconds > 0.2 || !seen.is_empty() {
            assert_eq!(seen, expected, "{}", told("locks"));
        }
    }
    assert_eq!(rehearsal.units.len(), case.locks.len(), "{}", told("units"));
    let all = |of: fn(&restore_drill::rehearsal::measure::RanStatement) -> &Vec<String>| -> Vec<String> {
        let mut tables: Vec<String> = rehearsal.units.iter().flat_map(|unit| &unit.statements).flat_map(|statement| of(statement).clone()).collect();
        tables.sort();
        tables.dedup();
        tables
    };
    assert_eq!(all(|statement| &statement.rewrote), case.rewrote.iter().map(named).collect::<Vec<_>>(), "{}", told("rewrites"));
    // What runs alone is watched from outside, where nobody sees what it reads.
    if rehearsal.units.iter().all(|unit| unit.is_transaction) && !case.sql.starts_with("cluster") && !case.sql.contains("delete") {
        assert_eq!(all(|statement| &statement.scanned), case.scanned.iter().map(named).collect::<Vec<_>>(), "{}", told("scans"));
    }
    assert_eq!(rehearsal.verdict.destroys.len(), case.destroys, "{}", told("destroys"));
    assert_eq!(rehearsal.verdict.passes, case.passes, "{}", told("verdict"));
    if case.sql.contains("takes(2)") || (case.sql.contains("slow(") && case.locks.len() == 1) {
        assert!((SLOW_SECONDS..SLOW_SECONDS * 2.0).contains(&rehearsal.seconds), "{}", told("seconds"));
    }
    copy.drop().await;
}

async fn all_hold(major: u32) {
    let mut left = CASES.iter();
    // A few at a time: most of them wait.
    loop {
        let some: Vec<_> = left.by_ref().take(6).map(|case| holds(major, case)).collect();
        if some.is_empty() {
            break;
        }
        futures_util::future::join_all(some).await;
    }
}

#[test]
fn locks_rewrites_scans_and_verdicts_are_those_of_the_manual() {
    run(all_hold(17));
}

#[test]
fn the_same_on_the_oldest_major() {
    run(all_hold(15));
}

//! A copy that is what the backups say gives no finding, whatever production did in between; one that is not gives one for each thing that differs.

use std::collections::BTreeMap;

use chrono::DateTime;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shared::compression::Compression;
use shared::digest::Content;
use shared::finding::{Finding, FindingKind};
use shared::manifest::{FORMAT, LargeObjects, Lifeboat, Manifest, Sequence, Server, Session, Table, TableName};

use super::{archive, between};
use crate::reading::{Position, State};

fn session() -> Session {
    Session {
        client_encoding: "UTF8".into(),
        time_zone: "UTC".into(),
        date_style: "ISO, MDY".into(),
        interval_style: "postgres".into(),
        extra_float_digits: "3".into(),
        bytea_output: "hex".into(),
        lc_monetary: "C".into(),
    }
}

fn content(rows: &[u64]) -> Content {
    let mut content = Content::default();
    for row in rows {
        content.add_row(row.to_string().as_bytes());
    }
    content
}

/// A database as it is at one moment.
#[derive(Clone, Debug, Default)]
struct World {
    tables: BTreeMap<String, (u32, Vec<u64>)>,
    sequences: BTreeMap<String, i64>,
}

impl World {
    fn manifest(&self) -> Manifest {
        let time = DateTime::from_timestamp(0, 0).expect("a time");
        Manifest {
            format: FORMAT,
            instance: "i".into(),
            database: "d".into(),
            run_id: "r".into(),
            scheduled_at: time,
            started_at: time,
            snapshot_at: time,
            finished_at: time,
            lifeboat: Lifeboat { version: "0".into(), git_sha: "0".into() },
            server: Server {
                version: "17.1".into(),
                major: 17,
                encoding: "UTF8".into(),
                collate: "C".into(),
                ctype: "C".into(),
                wal_lsn: "0/0".into(),
            },
            session: session(),
            pg_dump_version: "17.1".into(),
            toc_version: "1.16".into(),
            compression: Compression::Gzip(1),
            tables: self.tables.iter().map(|(name, (oid, rows))| table(name, *oid, content(rows))).collect(),
            large_objects: LargeObjects::default(),
            sequences: self
                .sequences
                .iter()
                .map(|(name, at)| Sequence { schema: "s".into(), name: name.clone(), last_value: *at, is_called: true })
                .collect(),
            schema_fingerprint: String::new(),
            left_out: Vec::new(),
            objects: Vec::new(),
            checksum: String::new(),
        }
    }

    fn state(&self) -> State {
        State {
            done: true,
            server_major: 17,
            session: Some(session()),
            tables: self.tables.iter().map(|(name, (_, rows))| (named(name), content(rows))).collect(),
            large_objects: Some(LargeObjects::default()),
            sequences: self
                .sequences
                .iter()
                .map(|(name, at)| Position {
                    schema: "s".into(),
                    name: name.clone(),
                    last_value: *at,
                    is_called: true,
                    increment: 1,
                    cycles: false,
                    is_unlogged: false,
                })
                .collect(),
            ..State::default()
        }
    }
}

fn named(name: &str) -> TableName {
    TableName { schema: "s".into(), name: name.into() }
}

fn table(name: &str, oid: u32, content: Content) -> Table {
    Table {
        schema: "s".into(),
        name: name.into(),
        oid,
        columns: vec!["a".into()],
        content,
        objects: Vec::new(),
        through_root: None,
        in_root_order: None,
        by_pg_dump: false,
    }
}

fn kinds(findings: &[Finding]) -> Vec<(FindingKind, &str)> {
    findings.iter().map(|finding| (finding.kind, finding.subject.as_str())).collect()
}

fn world() -> World {
    let rows = |count: u64| (0..count).collect::<Vec<u64>>();
    let tables = [("still", rows(500)), ("busy", rows(1000)), ("queue", Vec::new()), ("few", rows(20))];
    World {
        tables: tables.into_iter().zip(1..).map(|((name, rows), oid)| (name.to_owned(), (oid, rows))).collect(),
        sequences: [("idle".to_owned(), 7), ("grows".to_owned(), 100)].into(),
    }
}

/// What production does by day, without doing it to what is left alone.
fn live(world: &mut World, rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..8) {
        let fresh = rng.random_range(10_000..u64::MAX);
        let busy = &mut world.tables.get_mut("busy").expect("a table").1;
        match rng.random_range(0..8) {
            0 => busy.extend((0..rng.random_range(1..300)).map(|row| fresh ^ row)),
            1 => busy.iter_mut().step_by(7).for_each(|row| *row ^= fresh),
            2 => drop(busy.drain(..rng.random_range(0..busy.len() / 4 + 1))),
            3 => world.tables.get_mut("queue").expect("a table").1 = (0..rng.random_range(0..90)).map(|row| fresh ^ row).collect(),
            // Dropped and made again, in the middle of which a snapshot may fall.
            4 => drop(world.tables.insert("anew".into(), (rng.random_range(100..u32::MAX), (0..rng.random_range(0..90)).collect()))),
            5 => drop(world.tables.remove("anew")),
            6 => drop(world.tables.insert(format!("new{fresh}"), (rng.random_range(100..u32::MAX), vec![1, 2]))),
            _ => *world.sequences.get_mut("grows").expect("a sequence") += rng.random_range(0..500),
        }
    }
}

#[test]
fn whatever_production_does_between_two_backups_is_no_alarm() {
    for seed in 0..1_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let before = world();
        let mut at = before.clone();
        live(&mut at, &mut rng);
        let mut after = at.clone();
        live(&mut after, &mut rng);
        let (old, new) = (before.manifest(), after.manifest());
        let mut state = at.state();
        if rng.random_bool(0.5) {
            // Recovery: numbers ahead of the last one that was logged.
            state.sequences.iter_mut().for_each(|sequence| sequence.last_value += rng.random_range(0..33));
        }
        for (before, after) in [(Some(&old), Some(&new)), (Some(&old), None), (None, Some(&new)), (None, None)] {
            let (findings, facts) = between(&state, before, after);
            // A table of few rows may lose them all; one that lost nine tenths of many is said, and this production does not do that.
            assert_eq!(kinds(&findings), [], "seed {seed}");
            let tables = facts.tables_exact + facts.tables_bounded + facts.tables_unknown + facts.tables_new;
            assert_eq!(tables, state.tables.len() as u64, "seed {seed}: {facts:?}");
            assert_eq!(facts.tables_exact > 0, before.is_some() && after.is_some(), "seed {seed}: {facts:?}");
        }
        // What was left alone is exact: any change of it is found, and nothing else.
        let (mut damaged, place) = (state.clone(), rng.random_range(0..3));
        match place {
            0 => damaged.tables.get_mut(&named("still")).expect("a table").digest.0 ^= 1 << rng.random_range(0..128),
            1 => damaged.tables.get_mut(&named("few")).expect("a table").rows -= 1,
            _ => damaged.sequences.iter_mut().filter(|sequence| sequence.name == "idle").for_each(|sequence| sequence.last_value = 3),
        }
        let subject = ["s.still", "s.few", "sequence s.idle"][place];
        let (findings, _) = between(&damaged, Some(&old), Some(&new));
        assert_eq!(kinds(&findings), [(FindingKind::ContentMismatch, subject)], "seed {seed}");
    }
}

#[test]
fn what_cannot_be_by_any_ordinary_life_is_said() {
    let before = world();
    let mut after = before.clone();
    after.tables.get_mut("busy").expect("a table").1.push(1);
    after.sequences.insert("grows".into(), 120);
    let (old, new) = (before.manifest(), after.manifest());
    let said = |change: &dyn Fn(&mut State)| {
        let mut state = before.state();
        change(&mut state);
        let (findings, _) = between(&state, Some(&old), Some(&new));
        findings.into_iter().map(|finding| (finding.kind, finding.subject)).collect::<Vec<_>>()
    };
    assert_eq!(said(&|_| {}), []);
    assert_eq!(said(&|state| state.tables.extend([(named("busy"), content(&[1]))])), [(FindingKind::RowsDropped, "s.busy".to_owned())]);
    assert_eq!(said(&|state| state.tables.retain(|name, _| *name != named("busy"))), [(FindingKind::SchemaDiffers, "s.busy".to_owned())]);
    assert_eq!(said(&|state| state.sequences[0].last_value = 1), [(FindingKind::ContentMismatch, "sequence s.grows".to_owned())]);
    assert_eq!(said(&|state| state.sequences[1].last_value = 900), [(FindingKind::ContentMismatch, "sequence s.idle".to_owned())]);
    assert_eq!(said(&|state| state.server_major = 18), [(FindingKind::NotChecked, "d".to_owned())]);
    // A queue that both backups found empty has rows by day; an unlogged table is emptied by recovery.
    assert_eq!(said(&|state| state.tables.extend([(named("queue"), content(&[1, 2]))])), []);
    let unlogged = |state: &mut State| {
        state.unlogged.insert(named("still"));
        state.tables.insert(named("still"), Content::default());
    };
    assert_eq!(said(&unlogged), []);
    // The reading has said why; it is not said twice.
    let unreadable = |state: &mut State| {
        state.tables.remove(&named("still"));
        state.incomplete.insert(named("still"));
    };
    assert_eq!(said(&unreadable), []);
}

#[test]
fn an_archive_is_exact_and_every_difference_is_said_once() {
    let manifest = world().manifest();
    assert_eq!(archive(&world().state(), &manifest), []);
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut state = world().state();
        let names: Vec<TableName> = state.tables.keys().cloned().collect();
        let name = names[rng.random_range(0..names.len())].clone();
        let subject = format!("s.{}", name.name);
        let expected = match rng.random_range(0..5) {
            0 => {
                state.tables.get_mut(&name).expect("a table").digest.0 ^= 1 << rng.random_range(0..128);
                (FindingKind::ContentMismatch, subject)
            }
            1 => {
                state.tables.remove(&name);
                (FindingKind::ContentMismatch, subject)
            }
            2 => {
                state.tables.insert(named("more"), content(&[]));
                (FindingKind::SchemaDiffers, "s.more".to_owned())
            }
            3 => {
                let place = rng.random_range(0..state.sequences.len());
                state.sequences[place].last_value += 1;
                (FindingKind::ContentMismatch, format!("sequence s.{}", state.sequences[place].name))
            }
            _ => {
                state.large_objects = Some(LargeObjects { content: content(&[1]), bytes: 1 });
                (FindingKind::ContentMismatch, "large objects".to_owned())
            }
        };
        let findings = archive(&state, &manifest);
        assert_eq!(kinds(&findings), [(expected.0, expected.1.as_str())], "seed {seed}");
    }
}

#[test]
fn leaves_that_are_loaded_through_their_root_are_compared_as_one() {
    let mut manifest = world().manifest();
    manifest.tables = [("one", [1, 2]), ("two", [3, 4])].map(|(name, rows)| table(name, 1, content(&rows))).to_vec();
    manifest.tables.iter_mut().for_each(|table| table.through_root = Some(named("root")));
    let state = |one: &[u64], two: &[u64]| State { tables: [(named("one"), content(one)), (named("two"), content(two))].into(), ..world().state() };
    assert_eq!(archive(&state(&[1, 3, 4], &[2]), &manifest), []);
    let lost = archive(&state(&[1, 3], &[2]), &manifest);
    assert_eq!(kinds(&lost), [(FindingKind::ContentMismatch, "s.root and its partitions")]);
}

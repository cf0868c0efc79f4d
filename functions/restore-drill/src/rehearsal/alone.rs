//! What became of a statement that ran outside a transaction, when nobody was there at its end: read from the catalogues. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::measure::{LockRecord, Mode, Record, Relation, Samples, StatementRecord};
use super::split::Alone;

/// The second session looks again after at most half of this: what it never saw was over sooner.
const UNSEEN_SECONDS_MAX: f64 = 0.1;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It did what it says.
    Done,
    /// It did nothing: it may run, again.
    Again,
    /// Nothing tells.
    Unknown(&'static str),
}

type Relations = BTreeMap<String, Relation>;

fn relations(value: &Value) -> Relations {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// Judges by what is there now. `was_seen`: the second session saw it at work.
pub(super) fn ending(sort: Alone, before: &Value, after: &Value, was_seen: bool) -> Ending {
    let (before, after) = (relations(before), relations(after));
    let indexes = |relation: &Relation| matches!(relation.kind.as_str(), "i" | "I");
    let new: Vec<&Relation> =
        after.iter().filter(|(oid, _)| !before.contains_key(*oid)).map(|(_, relation)| relation).filter(|it| indexes(it)).collect();
    let gone = before.iter().any(|(oid, relation)| indexes(relation) && !after.contains_key(oid));
    let is_invalid = new.iter().any(|index| !index.valid);
    let unfinished = Ending::Unknown("the index that it made is not valid: it did not finish, and what it said is not known");
    match sort {
        Alone::CreateIndex | Alone::Reindex if is_invalid => unfinished,
        Alone::CreateIndex if !new.is_empty() => Ending::Done,
        Alone::Reindex if !new.is_empty() && gone => Ending::Done,
        Alone::DropIndex if gone => Ending::Done,
        Alone::Rewrite if before.iter().any(|(oid, one)| after.get(oid).is_some_and(|other| other.filenode != one.filenode)) => Ending::Done,
        Alone::Vacuum if before.iter().any(|(oid, one)| after.get(oid).is_some_and(|other| other.vacuumed > one.vacuumed)) => Ending::Done,
        Alone::Vacuum if was_seen => Ending::Unknown("nothing tells whether it finished: it left no trace"),
        Alone::CreateIndex | Alone::Reindex | Alone::DropIndex | Alone::Rewrite | Alone::Vacuum => Ending::Again,
        Alone::Other => Ending::Unknown("it runs outside a transaction, and nobody was there when it ended"),
    }
}

/// The record of a statement that ran alone, from the second session's samples; its seconds from whoever was there, or from the samples.
pub(super) fn record(before: &Value, after: &Value, samples: &Samples, seconds: Option<f64>) -> Record {
    let (before, after) = (relations(before), relations(after));
    let mut locks: BTreeMap<String, LockRecord> = BTreeMap::new();
    for (key, since) in &samples.locks {
        let Some((oid, mode)) = key.split_once(' ') else { continue };
        let Ok(mode) = serde_json::from_value::<Mode>(Value::String(mode.to_owned())) else { continue };
        if before.contains_key(oid) {
            let lock = locks.entry(oid.to_owned()).or_insert_with(|| LockRecord { since: *since, ..LockRecord::default() });
            lock.modes.push(mode);
            lock.since = lock.since.min(*since);
        }
    }
    // What was written anew or is gone was shut for it, seen or not: nothing else runs here, and nothing less allows it.
    for (oid, relation) in &before {
        if after.get(oid).is_none_or(|now| now.filenode != relation.filenode) {
            let lock = locks.entry(oid.clone()).or_default();
            if !lock.modes.contains(&Mode::AccessExclusive) {
                lock.modes.push(Mode::AccessExclusive);
            }
        }
    }
    for (oid, lock) in &mut locks {
        lock.filenode = after.get(oid).map(|relation| relation.filenode);
    }
    let seconds = seconds.or(samples.seconds).or(samples.watched.then_some(UNSEEN_SECONDS_MAX));
    let unknown = seconds.is_none().then(|| "it was done, and nobody saw how long it took and what it locked".to_owned());
    let seconds = seconds.unwrap_or_default();
    Record {
        seconds,
        relations: before.into_iter().filter(|(oid, _)| locks.contains_key(oid)).collect(),
        statements: vec![StatementRecord { seconds, locks, ..StatementRecord::default() }],
        unknown,
        is_sampled: true,
        ..Record::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn relation(kind: &str, filenode: i64, valid: bool) -> Value {
        json!({"schema": "public", "name": format!("r{filenode}"), "kind": kind, "filenode": filenode, "rows": 1, "bytes": 8192, "valid": valid})
    }

    #[test]
    fn the_catalogues_tell_what_happened_or_it_is_unknown() {
        let before = json!({"1": relation("r", 1, true), "2": relation("i", 2, true)});
        let with = |oid: &str, it: Value| {
            let mut after = before.clone();
            after[oid] = it;
            after
        };
        let mut vacuumed = relation("r", 1, true);
        vacuumed["vacuumed"] = json!(1.5);
        let without_index = json!({"1": relation("r", 1, true)});
        let other_index = json!({"1": relation("r", 1, true), "3": relation("i", 3, true)});
        for (sort, after, seen, expected) in [
            (Alone::CreateIndex, with("3", relation("i", 3, true)), true, "Done"),
            (Alone::CreateIndex, with("3", relation("i", 3, false)), true, "Unknown"),
            (Alone::CreateIndex, before.clone(), true, "Again"),
            (Alone::DropIndex, without_index.clone(), true, "Done"),
            (Alone::DropIndex, before.clone(), false, "Again"),
            (Alone::Reindex, other_index, true, "Done"),
            (Alone::Reindex, with("3", relation("i", 3, false)), true, "Unknown"),
            (Alone::Rewrite, with("1", relation("r", 9, true)), true, "Done"),
            (Alone::Rewrite, before.clone(), true, "Again"),
            (Alone::Vacuum, with("1", vacuumed), true, "Done"),
            (Alone::Vacuum, before.clone(), false, "Again"),
            (Alone::Vacuum, before.clone(), true, "Unknown"),
            (Alone::Other, before.clone(), false, "Unknown"),
        ] {
            let ending = ending(sort, &before, &after, seen);
            assert!(format!("{ending:?}").starts_with(expected), "{sort:?}: {ending:?}");
        }
    }

    #[test]
    fn an_end_that_nobody_timed_is_said() {
        let before = json!({"1": relation("r", 1, true)});
        assert!(record(&before, &before, &Samples::default(), None).unknown.is_some());
        assert!(record(&before, &before, &Samples::default(), Some(1.0)).unknown.is_none());
        let watched = record(&before, &before, &Samples { watched: true, ..Samples::default() }, None);
        assert!(watched.unknown.is_none() && watched.seconds > 0.0, "it was too short to be seen");
        let seen = Samples { locks: [("1 ShareUpdateExclusiveLock".to_owned(), 0.1)].into(), seconds: Some(2.0), ..Samples::default() };
        let record = record(&before, &before, &seen, None);
        assert_eq!((record.seconds, record.statements[0].locks["1"].modes.clone()), (2.0, vec![Mode::ShareUpdateExclusive]));
    }
}

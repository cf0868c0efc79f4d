//! Whether an archive is a good backup, from the listing of its versions and the newest record of its verification. Pure; what is not known to be good is not
//! called good.

use chrono::{DateTime, Utc};
use shared::key::{ArchiveKey, MANIFEST};
use shared::listing::Version;
use shared::report::Outcome;

use crate::model::State;

/// What the newest verification of an archive found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it came out.
    pub outcome: Outcome,
    /// Objects that were read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When S3 stored the record: by the clock that the objects' times are of.
    pub recorded_at: DateTime<Utc>,
}

/// The state of an archive, and when its manifest was written (without one, its first object). `None` when nothing of it is left.
pub fn state(key: &ArchiveKey, versions: &[Version], verdict: Option<&Verdict>) -> Option<(State, DateTime<Utc>)> {
    let manifest_key = key.object(MANIFEST);
    let there: Vec<&Version> = versions.iter().filter(|version| version.is_latest && !version.is_delete_marker).collect();
    let first = there.iter().map(|version| version.modified_at).min()?;
    let Some(manifest) = there.iter().find(|version| version.key == manifest_key) else {
        let changed_at = versions.iter().map(|version| version.modified_at).max().unwrap_or(first);
        let was_deleted = versions.iter().any(|version| version.key == manifest_key);
        return Some((State::Incomplete { changed_at, was_deleted }, first));
    };
    let state = verdict.map_or(State::Unverified, |verdict| verified(&there, &manifest_key, verdict));
    Some((state, manifest.modified_at))
}

/// A verification says something about what was there when it was recorded, and nothing about what was written since.
fn verified(there: &[&Version], manifest_key: &str, verdict: &Verdict) -> State {
    let data = there.iter().filter(|version| version.key != manifest_key);
    let (objects, bytes) = data.fold((0, 0), |(objects, bytes), version| (objects + 1, bytes + version.size_bytes));
    let is_whole = objects >= verdict.objects && bytes >= verdict.bytes;
    let is_as_read = there.iter().all(|version| version.modified_at <= verdict.recorded_at);
    match verdict.outcome {
        Outcome::Failed => State::Bad,
        Outcome::Unknown => State::Unverified,
        Outcome::Ok | Outcome::Attention if !is_whole => State::Bad,
        Outcome::Ok | Outcome::Attention if !is_as_read => State::Unverified,
        Outcome::Ok | Outcome::Attention => State::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn key() -> ArchiveKey {
        ArchiveKey { instance: "app-db".into(), database: "app".into(), slot: time(0), run_id: "0badcafe".into() }
    }

    fn time(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn version(name: &str, minute: i64) -> Version {
        Version {
            key: key().object(name),
            version_id: Some("v".into()),
            is_latest: true,
            is_delete_marker: false,
            size_bytes: 10,
            modified_at: time(minute),
        }
    }

    fn whole() -> Vec<Version> {
        vec![version("toc.dat", 1), version("1.dat", 2), version(MANIFEST, 3)]
    }

    fn verdict(outcome: Outcome) -> Verdict {
        Verdict { outcome, objects: 2, bytes: 20, recorded_at: time(5) }
    }

    fn state_of(versions: &[Version], outcome: Option<Outcome>) -> State {
        state(&key(), versions, outcome.map(verdict).as_ref()).expect("something is there").0
    }

    #[test]
    fn an_archive_is_good_when_it_was_read_and_is_still_what_was_read() {
        assert_eq!(state(&key(), &whole(), Some(&verdict(Outcome::Ok))), Some((State::Good, time(3))));
        assert_eq!(state_of(&whole(), Some(Outcome::Attention)), State::Good);
        assert_eq!(state_of(&whole(), None), State::Unverified);
        assert_eq!(state_of(&whole(), Some(Outcome::Unknown)), State::Unverified);
        assert_eq!(state_of(&whole(), Some(Outcome::Failed)), State::Bad);
    }

    #[test]
    fn what_changed_after_the_verification_is_not_covered_by_it() {
        let mut replaced = whole();
        replaced[1].modified_at = time(6);
        assert_eq!(state_of(&replaced, Some(Outcome::Ok)), State::Unverified);
        let mut hidden = whole();
        hidden[1].is_delete_marker = true;
        assert_eq!(state_of(&hidden, Some(Outcome::Ok)), State::Bad);
        let mut shorter = whole();
        shorter[0].size_bytes = 9;
        assert_eq!(state_of(&shorter, Some(Outcome::Ok)), State::Bad);
        let mut more = whole();
        more.push(version("notes.txt", 4));
        assert_eq!(state_of(&more, Some(Outcome::Ok)), State::Good, "what lies beside it spoils nothing");
    }

    #[test]
    fn without_a_manifest_it_is_incomplete_whatever_was_read_before() {
        let mut versions = whole();
        versions.pop();
        let incomplete = |versions: &[Version]| state(&key(), versions, Some(&verdict(Outcome::Ok)));
        assert_eq!(incomplete(&versions), Some((State::Incomplete { changed_at: time(2), was_deleted: false }, time(1))));
        let mut hidden = version(MANIFEST, 3);
        hidden.is_latest = false;
        versions.extend([hidden, Version { is_delete_marker: true, ..version(MANIFEST, 9) }]);
        assert_eq!(incomplete(&versions), Some((State::Incomplete { changed_at: time(9), was_deleted: true }, time(1))));
        for version in &mut versions {
            version.is_delete_marker = true;
        }
        assert_eq!(incomplete(&versions), None, "all of it is hidden");
        assert_eq!(incomplete(&[]), None);
    }
}

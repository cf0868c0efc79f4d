//! What was seen of the instance, its snapshots and their copies, in our own words: all that is judged and decided comes from here. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use shared::snapshot::{COPY_OF, Owned, Owner};

/// What a snapshot's status means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It can be restored and copied.
    Available,
    /// RDS is making it.
    UnderWay,
    /// RDS gave up; it stays until somebody deletes it.
    Failed,
    /// It is being deleted.
    Going,
}

impl Status {
    /// Reads RDS's word. What is final is known (the waiters of AWS's SDKs for `DBSnapshotAvailable` name it); everything else is on its way.
    pub fn of(word: &str) -> Self {
        match word {
            "available" => Self::Available,
            "failed" | "canceled" | "cancelled" | "incompatible-restore" | "incompatible-parameters" => Self::Failed,
            "deleting" | "deleted" => Self::Going,
            _ => Self::UnderWay,
        }
    }
}

/// A snapshot, at home or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its identifier.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// What it is good for.
    pub status: Status,
    /// RDS's word for it.
    pub status_word: String,
    /// How much of it is done.
    pub percent: i32,
    /// The instance that it is of.
    pub instance: String,
    /// `postgres`.
    pub engine: String,
    /// `17.6`.
    pub engine_version: String,
    /// Size of the instance's disk.
    pub allocated_gib: i32,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The key.
    pub key_arn: Option<String>,
    /// When RDS made it; of a copy: when it copied it.
    pub created_at: Option<DateTime<Utc>>,
    /// When the first of the chain was made; a copy keeps it.
    pub original_created_at: Option<DateTime<Utc>>,
    /// ARN of what RDS says it is a copy of (across regions and accounts only).
    pub source_arn: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Accounts that may restore it; `None`: not asked, or not answered.
    pub restorable_by: Option<Vec<String>>,
}

impl Snapshot {
    /// What its tags say, if it is ours.
    pub fn owned(&self, owner: &Owner) -> Option<Owned> {
        owner.read(&self.id, &self.tags)
    }

    /// Whether it is a copy that RDS is making, ours or not: those count for RDS's limit.
    pub fn is_copy_under_way(&self) -> bool {
        self.status == Status::UnderWay && (self.source_arn.is_some() || self.tags.contains_key(COPY_OF) || self.status_word == "copying")
    }

    /// The moment whose data it holds, as RDS's clock tells it.
    pub fn data_at(&self) -> Option<DateTime<Utc>> {
        self.original_created_at.or(self.created_at)
    }
}

/// The instance, with what makes it recoverable or not.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of RDS's")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Its identifier.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// RDS's word: `available`, `backing-up`, …
    pub status: String,
    /// `postgres`.
    pub engine: String,
    /// Whether its storage is encrypted.
    pub encrypted: bool,
    /// The key.
    pub key_arn: Option<String>,
    /// For how many days automated backups are kept; 0: there are none.
    pub backup_days: i32,
    /// The latest moment that can be restored.
    pub latest_restorable_at: Option<DateTime<Utc>>,
    /// Whether it has a standby.
    pub multi_az: bool,
    /// Whether it has a public address.
    pub publicly_accessible: bool,
    /// Whether one call deletes it.
    pub deletion_protection: bool,
    /// Name of the authority of its certificate.
    pub certificate_authority: Option<String>,
    /// When its certificate runs out.
    pub certificate_until: Option<DateTime<Utc>>,
    /// What AWS is going to do to it.
    pub maintenance: Vec<Maintenance>,
}

/// Something that AWS is going to do to the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// `system-update`, `db-upgrade`, …
    pub action: String,
    /// AWS's words.
    pub description: String,
    /// When it is done at the latest, if there is a date.
    pub at: Option<DateTime<Utc>>,
}

/// A KMS key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As it is configured, or as RDS names it.
    pub asked: String,
    /// The key's own ARN, where an alias was asked for.
    pub arn: String,
    /// `Enabled`, `Disabled`, `PendingDeletion`, …
    pub state: String,
    /// Whether AWS manages it: the account's default key (`aws/rds`), which nobody else can be let use.
    pub by_aws: bool,
    /// When it will be gone.
    pub deletion_at: Option<DateTime<Utc>>,
    /// What is encrypted with it.
    pub used_for: &'static str,
}

impl Key {
    /// Whether it works.
    pub fn is_usable(&self) -> bool {
        self.state == "Enabled"
    }
}

/// Manual snapshots of a place, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many there are.
    pub used: u64,
    /// How many there may be.
    pub max: u64,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The instance, if there is one.
    pub instance: Option<Instance>,
    /// All manual snapshots of the instance's region, ours and others'.
    pub home: Vec<Snapshot>,
    /// The same of each hop, in the order of the destinations; or why it is not known.
    pub hops: Vec<Result<Vec<Snapshot>, String>>,
    /// Quotas: of home, then of each hop.
    pub quotas: Vec<Option<Quota>>,
    /// Keys.
    pub keys: Vec<Key>,
}

impl Observed {
    /// The snapshots of a place: 0 is home, then the hops; `None`: not known.
    pub fn place(&self, place: usize) -> Option<&[Snapshot]> {
        match place.checked_sub(1) {
            None => Some(&self.home),
            Some(hop) => self.hops.get(hop)?.as_deref().ok(),
        }
    }

    /// A snapshot of a place.
    pub fn find(&self, place: usize, id: &str) -> Option<&Snapshot> {
        self.place(place)?.iter().find(|snapshot| snapshot.id == id)
    }

    /// What is known of a key, by the name that it is asked for or its own.
    pub fn key(&self, arn: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.asked == arn || key.arn == arn)
    }

    /// Our own snapshots at home, with what their tags say; in the order in which they were made.
    pub fn own(&self, owner: &Owner) -> Vec<(&Snapshot, Owned)> {
        let mut own: Vec<(&Snapshot, Owned)> =
            self.home.iter().filter_map(|snapshot| Some((snapshot, snapshot.owned(owner)?))).filter(|(_, owned)| owned.copy_of.is_none()).collect();
        own.sort_by(|(a, a_owned), (b, b_owned)| (a.data_at().unwrap_or(a_owned.slot), &a.id).cmp(&(b.data_at().unwrap_or(b_owned.slot), &b.id)));
        own
    }
}

/// When a snapshot holds the data of, for judging ages: the latest of its slot and RDS's time that is not in the future. Clocks lie in both
/// directions; a slot that a wrong clock put into the future neither counts as fresh for days nor makes a run with that clock repeat itself.
pub fn effective_at(snapshot: &Snapshot, slot: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    [Some(slot), snapshot.data_at()].into_iter().flatten().filter(|at| *at <= now).max().unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::samples::{now, snapshot};

    #[test]
    fn every_word_of_rds_means_something() {
        for (word, status) in [
            ("available", Status::Available),
            ("creating", Status::UnderWay),
            ("copying", Status::UnderWay),
            ("pending", Status::UnderWay),
            ("failed", Status::Failed),
            ("deleting", Status::Going),
        ] {
            assert_eq!(Status::of(word), status, "{word}");
        }
    }

    #[test]
    fn a_lying_clock_neither_hides_nor_ages_a_snapshot() {
        let (day, mut made) = (TimeDelta::days(2), snapshot("a", now() - TimeDelta::hours(3)));
        made.created_at = Some(now() - TimeDelta::hours(3));
        made.original_created_at = made.created_at;
        let at = |slot, now| effective_at(&made, slot, now);
        let slot = now() - TimeDelta::hours(3);
        assert_eq!(at(slot, now()), slot);
        // Made by a run whose clock was two days ahead: RDS's time counts.
        assert_eq!(at(slot + day, now()), slot);
        // Looked at with that clock: the slot counts, so that the run does not make another.
        assert_eq!(at(slot + day, now() + day), slot + day);
        // Looked at with a clock that is behind: it is new.
        assert_eq!(at(slot, now() - day), now() - day);
    }
}

//! Backups as the planner sees them: what there is, where, of whom, and in which state. Pure.

use chrono::{DateTime, Utc};
use shared::key::ArchiveKey;
use shared::snapshot::Owned;

/// Where a backup lies. Snapshots are copied from the first place to the next, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Snapshots in the region and account of the instance.
    Home,
    /// Copies of snapshots: number of the hop in [`Observed::hops`].
    Hop(usize),
    /// Archives in the backup bucket.
    Bucket,
    /// Archives in the bucket that S3 replicates to.
    Replica,
}

/// What RDS says of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It can be restored.
    Available,
    /// It never will be.
    Failed,
    /// Anything else: being created, copied or deleted.
    Changing,
}

impl Status {
    /// RDS's word.
    pub fn read(word: &str) -> Self {
        match word {
            "available" => Self::Available,
            "failed" => Self::Failed,
            _ => Self::Changing,
        }
    }
}

/// A manual snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Home or a hop.
    pub place: Place,
    /// Its identifier.
    pub id: String,
    /// Its ARN, which copies name.
    pub arn: String,
    /// What its tags say; `None` when it is not ours.
    pub owned: Option<Owned>,
    /// Its status.
    pub status: Status,
    /// When it was made; RDS does not say it of one that is being made.
    pub created_at: Option<DateTime<Utc>>,
}

/// What is known about an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Complete, and read to its last byte and found whole.
    Good,
    /// Complete as far as is known; nobody has read it.
    Unverified,
    /// Complete, and found damaged.
    Bad,
    /// Without a manifest: being made, left by a run that died, or left by a deletion that was cut.
    Incomplete {
        /// When the last of its objects was written.
        changed_at: DateTime<Utc>,
        /// Whether there was a manifest, which somebody deleted.
        was_deleted: bool,
    },
}

/// An archive of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The bucket or its replica.
    pub place: Place,
    /// Which.
    pub key: ArchiveKey,
    /// Its state.
    pub state: State,
    /// When its manifest was written; without one, its first object.
    pub written_at: DateTime<Utc>,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Names of the hops that are configured, in their order.
    pub hops: Vec<String>,
    /// Places that could not be read; nothing of them is here.
    pub unread: Vec<Place>,
    /// Manual snapshots, ours and those that look like it.
    pub snapshots: Vec<Snapshot>,
    /// Archives of our instance.
    pub archives: Vec<Archive>,
}

impl Observed {
    /// A place for a person.
    pub fn place_name(&self, place: Place) -> &str {
        match place {
            Place::Home => "home",
            Place::Hop(hop) => self.hops.get(hop).map_or("an unknown place", String::as_str),
            Place::Bucket => "the bucket",
            Place::Replica => "the replica",
        }
    }

    /// A snapshot or archive for a person.
    pub fn name(&self, what: What<'_>) -> String {
        match what {
            What::Snapshot(snapshot) => format!("snapshot {} in {}", snapshot.id, self.place_name(snapshot.place)),
            What::Archive(archive) => format!("archive {} in {}", archive.key.prefix(), self.place_name(archive.place)),
        }
    }
}

/// A snapshot or an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A snapshot.
    Snapshot(&'a Snapshot),
    /// An archive.
    Archive(&'a Archive),
}

impl<'a> What<'a> {
    /// Where it lies.
    pub fn place(self) -> Place {
        match self {
            Self::Snapshot(snapshot) => snapshot.place,
            Self::Archive(archive) => archive.place,
        }
    }

    /// Identifier, or folder: tells two of a place and slot apart.
    pub fn id(self) -> &'a str {
        match self {
            Self::Snapshot(snapshot) => &snapshot.id,
            Self::Archive(archive) => &archive.key.run_id,
        }
    }
}

/// What must never run out: backups of a sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sort<'a> {
    /// Not ours, or not to be counted.
    None,
    /// Snapshots of a kind.
    Kind(shared::snapshot::Kind),
    /// Archives of a database.
    Database(&'a str),
}

//! What the catalogs say, compact: everything that is judged, and nothing else. Names are for a person; statements are not made of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared_postgres::soundness::{Checksums, Found, Soundness};

/// Things of a sort that are kept.
pub const KEPT_MAX: usize = 1000;

/// Everything that is judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The server, and the database as a whole.
    pub server: Server,
    /// Checksums, extensions.
    pub checksums: Checksums,
    /// Indexes, constraints and collations that cannot be trusted.
    pub soundness: Soundness,
    /// From the list of tables.
    pub tables: TableFacts,
    /// Sequences, and key columns.
    pub ranges: Ranges,
    /// Triggers that are disabled, but for those of constraints.
    pub triggers: Found<Trigger>,
    /// Columns of foreign keys that are narrower than what they refer to.
    pub narrow: Found<NarrowKey>,
    /// Indexes that nobody used since the counters began, largest first.
    pub unused: Found<UnusedIndex>,
    /// Indexes that another one makes needless, largest first.
    pub duplicates: Found<DuplicateIndex>,
    /// Large tables and the space that their rows should need.
    pub bloat: Vec<Widths>,
    /// What keeps old rows and WAL.
    pub holders: Holders,
    /// The marks of an earlier night, if there is one: what is used up is then also judged by how fast it goes.
    pub before: Option<Marks>,
}

/// What a later night compares with; to be kept by the caller ([`Facts::marks`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marks {
    /// When.
    pub at: DateTime<Utc>,
    /// Age of the oldest transaction id of the database.
    pub xid_age: i64,
    /// Age of the oldest multixact.
    pub mxid_age: i64,
    /// By subject, the used part of what has used up a quarter or more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub used: BTreeMap<String, f64>,
}

impl Facts {
    /// What the next night compares with.
    pub fn marks(&self, at: DateTime<Utc>) -> Marks {
        let used = self.ranges.sequences.iter().map(|sequence| (sequence.subject(), sequence.used())).filter(|(_, used)| *used >= 0.25);
        Marks { at, xid_age: self.server.xid_age, mxid_age: self.server.mxid_age, used: used.take(KEPT_MAX).collect() }
    }
}

/// The server, and the database as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// The database.
    pub database: String,
    /// Our role.
    pub role: String,
    /// Whether it is a replica.
    pub is_replica: bool,
    /// Whether other servers replicate it: then its counters are not all there is.
    pub has_replicas: bool,
    /// Whether our role sees the sessions of others.
    pub sees_sessions: bool,
    /// Bytes of a page.
    pub block_bytes: u64,
    /// Locks that a single statement of ours may hold without taking them away from others.
    pub locks_max: i64,
    /// How long the counters of use have counted, in days.
    pub counted_days: f64,
    /// Ages of the oldest transaction id and multixact of this database.
    pub xid_age: i64,
    /// Likewise.
    pub mxid_age: i64,
    /// From which age on the server freezes by itself.
    pub freeze_age_max: i64,
    /// Likewise, of multixacts.
    pub freeze_mxid_age_max: i64,
    /// The table whose age that is.
    pub oldest_table: Option<String>,
    /// Databases that nobody can connect to, with their ages: nobody else looks at them.
    pub closed: Vec<(String, i64)>,
}

/// From the list of tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableFacts {
    /// How many there are.
    pub count: u64,
    /// Pages of all heaps.
    pub pages: u64,
    /// Tables that have no primary key.
    pub without_key: Found<String>,
    /// Tables whose statistics are missing or old.
    pub stale: Found<Stale>,
    /// Schemas of tables that the role may not read.
    pub unreadable: BTreeSet<String>,
    /// How many such tables there are.
    pub unreadable_count: u64,
}

/// A table whose statistics are missing or old.
#[derive(Clone, Debug, PartialEq)]
pub struct Stale {
    /// The table.
    pub table: String,
    /// Days since they were made; `None`: never.
    pub days: Option<f64>,
    /// Rows that changed since.
    pub changed: u64,
    /// Rows that the planner believes in.
    pub rows: Option<u64>,
}

/// What is counted up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranges {
    /// Sequences that can run out.
    pub sequences: Vec<Sequence>,
    /// How many of them were read.
    pub read: u64,
    /// Schemas of sequences that the role may not read.
    pub unreadable: BTreeSet<String>,
    /// How many such sequences there are.
    pub unreadable_count: u64,
    /// Sequences that somebody held locked.
    pub locked: u64,
    /// Columns of primary keys that are narrower than 8 bytes.
    pub keys: Vec<KeyColumn>,
}

/// A sequence, as far as it is narrower than it could ever be used up.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// `SCHEMA.NAME`.
    pub name: String,
    /// The column that it fills, `SCHEMA.TABLE.COLUMN`.
    pub column: Option<String>,
    /// Where it began.
    pub start: i64,
    /// The last value that it can give and its column can hold.
    pub bound: i64,
    /// Whether it is the column that ends first.
    pub is_bound_by_column: bool,
    /// The value that it gave last.
    pub last: i64,
    /// Step, negative downwards.
    pub increment: i64,
}

impl Sequence {
    /// For a person, and the same every night.
    pub fn subject(&self) -> String {
        format!("sequence {}", self.name)
    }

    /// The used part of its range.
    pub fn used(&self) -> f64 {
        let up = i128::from(self.increment.signum());
        let (last, start, bound) = (i128::from(self.last) * up, i128::from(self.start) * up, i128::from(self.bound) * up);
        // Set back before where it began: everything from there on is before it.
        let start = start.min(last);
        if bound <= start {
            return 1.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a part of a range")]
        let used = (last - start) as f64 / (bound - start) as f64;
        used
    }

    /// How many values are left.
    pub fn left(&self) -> i128 {
        let step = i128::from(self.increment).abs().max(1);
        ((i128::from(self.bound) - i128::from(self.last)).abs()) / step * i128::from(u8::from(self.used() < 1.0))
    }
}

/// An integer column of a primary key, narrower than 8 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// The table, as of [`crate::model::Table::subject`], or the partitioned one.
    pub table: String,
    /// The column.
    pub column: String,
    /// Bytes: 2 or 4.
    pub bytes: u8,
    /// Whether it is the table's only key column: then it counts the rows.
    pub is_alone: bool,
}

/// A trigger that is disabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The table.
    pub table: String,
    /// The trigger.
    pub name: String,
}

/// A column of a foreign key that cannot hold all that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NarrowKey {
    /// `SCHEMA.TABLE.COLUMN`.
    pub column: String,
    /// Its type.
    pub type_name: String,
    /// What it refers to, likewise.
    pub parent: String,
    /// Type of that.
    pub parent_type: String,
}

/// An index that nobody used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusedIndex {
    /// `SCHEMA.NAME`; of a partitioned one, the one at the top.
    pub name: String,
    /// The table.
    pub table: String,
    /// Pages, of all partitions.
    pub pages: u64,
}

/// An index that another one makes needless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateIndex {
    /// `SCHEMA.NAME`.
    pub name: String,
    /// The table.
    pub table: String,
    /// The index that does the same.
    pub other: String,
    /// Pages.
    pub pages: u64,
    /// Whether a constraint needs it, so that it goes with the constraint.
    pub constraint: bool,
}

/// A large table, and what is known about the width of its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Widths {
    /// The table.
    pub table: String,
    /// Pages.
    pub pages: u64,
    /// Rows, as of the last VACUUM or ANALYZE.
    pub rows: f64,
    /// Bytes of all columns of a row on average.
    pub bytes: f64,
    /// `fillfactor`.
    pub fillfactor: f64,
    /// Columns.
    pub columns: i64,
}

/// What keeps old rows and WAL.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holders {
    /// Transactions that are open, by role: the oldest of each.
    pub transactions: Vec<Transaction>,
    /// Prepared transactions.
    pub prepared: Vec<Prepared>,
    /// Replication slots of this database, and such as belong to none.
    pub slots: Vec<Slot>,
    /// Replicas that report what they still need: name, and age of it in transactions.
    pub replicas: Vec<(String, i64)>,
}

/// The oldest open transaction of a role.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// The role.
    pub role: String,
    /// Seconds since it began.
    pub seconds: f64,
    /// Age, in transactions, of what it keeps.
    pub age: i64,
    /// Process of the server, to end it.
    pub pid: i32,
    /// Whether it only waits for its client.
    pub is_idle: bool,
}

/// A prepared transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Its name.
    pub name: String,
    /// Seconds since it was prepared.
    pub seconds: f64,
    /// Age in transactions.
    pub age: i64,
}

/// A replication slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Whether somebody reads it.
    pub is_active: bool,
    /// Age, in transactions, of rows that it keeps; of the catalogs' rows, if that is older.
    pub age: i64,
    /// WAL that it keeps, in bytes.
    pub wal_bytes: i64,
    /// Whether what it needs is gone, so that whoever reads it cannot go on.
    pub is_lost: bool,
}

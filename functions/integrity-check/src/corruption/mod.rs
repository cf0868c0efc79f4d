//! Are the pages of tables and indexes sound? amcheck, a part each night, what was not checked for longest first: every page comes to its turn.
//!
//! Only checks that lock out nobody who reads or writes; whoever waits for one is let through. Nothing is created or repaired. What did not end, what our
//! role may not do, what somebody locked or dropped, is never called corrupt, and never called sound.

pub mod cursor;
pub mod findings;
pub mod plan;
#[cfg(test)]
mod plan_tests;
mod run;
mod watch;

use std::time::Duration;

pub use cursor::Cursor;
pub use findings::Coverage;
pub use run::advance;
use serde::{Deserialize, Serialize};
use shared::finding::Finding;

/// What a night may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Night {
    /// The night, in days since 1970: the day of its slot, not of the clock, for a night has many invocations.
    pub day: i32,
    /// Pages that may be read in all of it.
    pub budget_pages: u64,
    /// The time that an invocation has for this when it has nothing else to do: what does not end in so long was tried in earnest.
    pub whole: Duration,
}

/// What came of an invocation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Whether there is nothing left to do this night: everything is checked, or the budget is used up.
    pub done: bool,
    /// What is known to be wrong, or could not be checked for nights; all of it, not only what is new.
    pub findings: Vec<Finding>,
    /// Pages read in this invocation, as far as can be told.
    pub pages: u64,
    /// Windows of tables that were checked in this invocation.
    pub windows: u64,
    /// Indexes that were checked in this invocation.
    pub indexes: u64,
    /// Those of them whose table's rows were looked up in them.
    pub indexes_with_rows: u64,
    /// Tables and indexes that were passed over because somebody held a lock, or waited for one.
    pub gave_way: u64,
    /// Checks that did not end, or were refused.
    pub unfinished: u64,
    /// What vanished or was rewritten while it was checked.
    pub vanished: u64,
    /// How far the checks have come, over all nights.
    pub coverage: Coverage,
}

//! What the team asks: a TOML file of checks, read with line numbers in every mistake, and run against the database as gently as everything else.
//!
//! Nothing here can write, whatever the file says: the role may not, and every statement of the team's runs in a read-only transaction that is rolled
//! back. Nothing of a row is shown unless a check asks for it.

pub mod check;
pub mod desk;
pub mod facts;
pub mod file;
pub mod judge;
pub mod kinds;
pub mod load;
pub mod objects;
pub mod outcome;
pub mod pass;
pub mod reading;
pub mod refusal;
pub mod run;
pub mod sql;
mod watch;

pub use file::TeamFile;
pub use outcome::{CheckResult, State};
pub use run::{Progress, Room, not_reached, run, thresholds};

/// A file with every kind of check, for the team to begin with.
pub const EXAMPLE: &str = include_str!("example.toml");

//! Checks by seed that `cargo test` runs a little of and the soak program (`bench/src/bin/soak.rs`) runs much of. Each says what it saw; whoever calls
//! judges it. Nothing here reads a clock to decide anything, and nothing is drawn but from the seed.

pub mod mutations;
pub mod planted;
pub mod random;
pub mod restores;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long one invocation may take.
const LIMIT: Duration = Duration::from_mins(5);

/// How often something was seen, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<String, usize>);

impl Counts {
    /// One more.
    pub fn add(&mut self, name: &str) {
        *self.0.entry(name.to_owned()).or_default() += 1;
    }

    /// How often.
    pub fn of(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds those of another run.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().map(|(name, count)| format!("{name} {count}")).collect();
        formatter.write_str(&shown.join(", "))
    }
}

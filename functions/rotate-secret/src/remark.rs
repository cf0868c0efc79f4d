//! What a look without a write has to say about a place that a rotation will write to: before it begins, and with the fix.

/// One thing to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// How much it weighs.
    pub weight: Weight,
    /// What was seen, in a sentence. Never with a secret.
    pub what: String,
    /// What to do.
    pub fix: String,
}

/// How much it weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It cannot be told without doing it: there is no call that asks and does not do.
    Unpredictable,
    /// It will work, and something should be put right nevertheless.
    Warning,
    /// A rotation will fail.
    Refused,
}

impl Remark {
    pub(crate) fn new(weight: Weight, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { weight, what: what.into(), fix: fix.into() }
    }
}

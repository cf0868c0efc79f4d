//! What `integrity-check` is asked.

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// Check the data: begin a night, or go on with it.
    Check(Check),
}

/// Check the data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// Only these databases; without it, those of the settings.
    #[serde(default)]
    pub databases: Option<Vec<String>>,
    /// When the schedule meant to ask. Without it a person asks, and a night that has ended today is begun again.
    #[serde(default)]
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Only say what would be read, and whether the team's checks are understood.
    #[serde(default)]
    pub dry_run: bool,
}

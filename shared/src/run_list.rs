//! What a run promises: the databases that it saw when it began. Written before the first byte of data, so that a later check
//! knows what should exist without a connection to the server.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The databases that a run saw, and those of them that it set out to dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunList {
    /// Version of this model.
    pub format: u32,
    /// The RDS instance.
    pub instance: String,
    /// Of the run.
    pub run_id: String,
    /// The slot that the run fills.
    pub scheduled_at: DateTime<Utc>,
    /// When the run began.
    pub started_at: DateTime<Utc>,
    /// Every database of the instance that accepts connections, templates and RDS's own excepted.
    pub seen: Vec<String>,
    /// Those that this run dumps.
    pub chosen: Vec<String>,
    /// Whether the run chose all of them because it was told to dump every database.
    pub every_database: bool,
}

/// Version of [`RunList`].
pub const FORMAT: u32 = 1;

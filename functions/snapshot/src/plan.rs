//! What is to be done, and why, from what was seen: pure, without clock or network. What has to wait is a decision too.
//!
//! The steps are all that the function ever does. Deleting is not among them.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use shared::finding::Finding;

use crate::config::Promise;
use crate::observed::Observed;
use crate::request::Wish;
use crate::{copying, creation};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Make a snapshot of the instance.
    Create {
        /// Its id.
        id: String,
        /// Its tags.
        tags: BTreeMap<String, String>,
    },
    /// Let the other account copy a snapshot.
    Share {
        /// Where the snapshot is: 0 is home, then the hops.
        place: usize,
        /// Its id.
        id: String,
        /// The account.
        account: String,
    },
    /// Copy a snapshot to a hop, under the same id.
    Copy {
        /// The hop's place: 1 is the first.
        place: usize,
        /// Its id.
        id: String,
        /// What it is a copy of.
        source_arn: String,
        /// Whether that is encrypted.
        source_encrypted: bool,
        /// Its tags.
        tags: BTreeMap<String, String>,
    },
    /// Take back that the other account may copy a snapshot.
    Unshare {
        /// Where the snapshot is.
        place: usize,
        /// Its id.
        id: String,
        /// The account.
        account: String,
    },
    /// Write down on the source which of its copies were found good.
    NoteCopies {
        /// The source's id.
        id: String,
        /// Its ARN.
        arn: String,
        /// Names of the hops.
        names: Vec<String>,
    },
    /// Nothing yet.
    Wait {
        /// What waits.
        subject: String,
    },
}

/// A decision, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub what: What,
    /// Why.
    pub why: String,
    /// What the report says of it, where somebody should know.
    pub finding: Option<Finding>,
}

impl Step {
    /// A decision that is nobody's worry.
    pub fn new(what: What, why: impl Into<String>) -> Self {
        Self { what, why: why.into(), finding: None }
    }

    /// Nothing yet, and nobody needs to know.
    pub fn wait(subject: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(What::Wait { subject: subject.into() }, why)
    }

    /// Nothing yet, and somebody should know: the finding's words are the reason.
    pub fn wait_because(finding: Finding) -> Self {
        Self { what: What::Wait { subject: finding.subject.clone() }, why: finding.seen.clone(), finding: Some(finding) }
    }

    /// Whether something is changed outside.
    pub fn changes(&self) -> bool {
        !matches!(self.what, What::Wait { .. })
    }
}

impl What {
    /// The word for it.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Share { .. } => "share",
            Self::Copy { .. } => "copy",
            Self::Unshare { .. } => "unshare",
            Self::NoteCopies { .. } => "noteCopies",
            Self::Wait { .. } => "wait",
        }
    }
}

/// With what it is done, in a few words: `lifeboat-…-a2 at 1`.
impl fmt::Display for What {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { id, .. } => formatter.write_str(id),
            Self::Share { id, account, .. } | Self::Unshare { id, account, .. } => write!(formatter, "{id} with {account}"),
            Self::Copy { id, source_arn, .. } => write!(formatter, "{id} from {source_arn}"),
            Self::NoteCopies { id, names, .. } => write!(formatter, "{id}: {}", names.join(" ")),
            Self::Wait { subject } => formatter.write_str(subject),
        }
    }
}

/// What is to be done. A pipeline waits for its own snapshot only; everything else is for the schedule.
pub fn plan(observed: &Observed, promise: &Promise, wish: &Wish, now: DateTime<Utc>) -> Vec<Step> {
    let mut steps = creation::steps(observed, promise, wish, now);
    if !matches!(wish, Wish::PreDeploy { .. }) {
        steps.extend(copying::steps(observed, promise));
    }
    steps
}

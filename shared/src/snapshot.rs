//! What our RDS snapshots are called and how they are tagged. All that is known about a snapshot is in its id and its tags: no table beside RDS can
//! disagree with it.
//!
//! A snapshot is ours when its tags say so *and* its id begins as ours do: somebody who copies tags, or chooses such a name, has not handed it over.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use sha2::{Digest as _, Sha256};

use crate::manifest::hex;
use crate::report::{parse_slot_name, slot_name};

/// The tag that makes a snapshot ours, with [`CREATED_BY_VALUE`].
pub const CREATED_BY: &str = "lifeboat:created-by";
/// Value of [`CREATED_BY`].
pub const CREATED_BY_VALUE: &str = "lifeboat";
/// Tag: `dev`, `staging` or `prod`.
pub const STAGE: &str = "lifeboat:stage";
/// Tag: the guarded instance.
pub const INSTANCE: &str = "lifeboat:instance";
/// Tag: [`Kind`].
pub const KIND: &str = "lifeboat:kind";
/// Tag: the slot that it fills, as in [`slot_name`].
pub const SLOT: &str = "lifeboat:slot";
/// Tag: which retention policy it falls under; [`Kind`] when it was made, and may be changed by hand (`keep` is never deleted).
pub const EXPIRY_CLASS: &str = "lifeboat:expiry-class";
/// Value of [`EXPIRY_CLASS`] of what is never deleted.
pub const EXPIRY_CLASS_KEEP: &str = "keep";
/// Tag: id of the pipeline's request.
pub const REQUEST_ID: &str = "lifeboat:request-id";
/// Tag: release that the pipeline is about to deploy.
pub const RELEASE: &str = "lifeboat:release";
/// Tag: the commit that is about to be deployed.
pub const GIT_SHA: &str = "lifeboat:git-sha";
/// Tag: the copies that were promised when it was made, as [`crate::destination::Hop::name`] says, with blanks between.
pub const COPY_TO: &str = "lifeboat:copy-to";
/// Tag of a source: the promised copies that were found good, as in [`COPY_TO`]. From then on the copy lives by the policy of its own place: it is not
/// made again when that ends it, and the source is not kept for it.
pub const COPIED_TO: &str = "lifeboat:copied-to";
/// Tag of a copy: ARN of the snapshot that it was made from.
pub const COPY_OF: &str = "lifeboat:copy-of";

/// RDS takes identifiers of at most 255 letters, digits and hyphens (API reference, CreateDBSnapshot).
const ID_CHARS_MAX: usize = 255;
/// Values of tags have at most 256 characters (RDS User Guide, "Tagging Amazon RDS resources").
const TAG_CHARS_MAX: usize = 256;
const REQUEST_ID_CHARS_MAX: usize = 80;

/// Why a snapshot is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// By the schedule.
    Daily,
    /// By a pipeline, before it deploys.
    PreDeploy,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Daily, Self::PreDeploy];

    /// The word in tags and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::PreDeploy => "preDeploy",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("`{text}` is no kind of snapshot"))
    }
}

/// Whose snapshots: one stack guards one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `dev`, `staging` or `prod`.
    pub stage: String,
    /// The guarded instance.
    pub instance: String,
}

/// What a snapshot of ours is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// The schedule's slot, to the second.
    Daily(DateTime<Utc>),
    /// The pipeline's request.
    PreDeploy(String),
}

impl Purpose {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Daily(_) => Kind::Daily,
            Self::PreDeploy(_) => Kind::PreDeploy,
        }
    }
}

impl Owner {
    /// What all ids of ours begin with: `lifeboat-prod-app-db-`. IAM allows nothing below another one. RDS keeps identifiers in small letters.
    pub fn id_prefix(&self) -> String {
        format!("lifeboat-{}-{}-", self.stage, self.instance).to_ascii_lowercase()
    }

    /// The id of a snapshot: the same purpose has the same id, so that a repeated call finds what the first one made. A failed snapshot keeps its id until
    /// it is deleted, so each further attempt (from 2) has one of its own.
    pub fn id(&self, purpose: &Purpose, attempt: u32) -> String {
        let what = match purpose {
            Purpose::Daily(slot) => slot.format("daily-%Y%m%dt%H%M%Sz").to_string(),
            Purpose::PreDeploy(request_id) => format!("predeploy-{}", id_part(request_id)),
        };
        let attempt = if attempt > 1 { format!("-a{attempt}") } else { String::new() };
        let id = format!("{}{what}{attempt}", self.id_prefix());
        debug_assert!(id.len() <= ID_CHARS_MAX, "an instance's name has 63 characters at most");
        id
    }

    /// The tags that every snapshot of a purpose has.
    pub fn tags(&self, purpose: &Purpose, slot: DateTime<Utc>) -> BTreeMap<String, String> {
        let kind = purpose.kind().name();
        let mut tags = vec![
            (CREATED_BY, CREATED_BY_VALUE.to_owned()),
            (STAGE, self.stage.clone()),
            (INSTANCE, self.instance.clone()),
            (KIND, kind.to_owned()),
            (EXPIRY_CLASS, kind.to_owned()),
            (SLOT, slot_name(slot.trunc_subsecs(0))),
        ];
        if let Purpose::PreDeploy(request_id) = purpose {
            tags.push((REQUEST_ID, tag_value(request_id)));
        }
        tags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Reads a snapshot's id and tags; `None` when it is not ours, or not wholly.
    pub fn read(&self, id: &str, tags: &BTreeMap<String, String>) -> Option<Owned> {
        let is = |name: &str, value: &str| tags.get(name).is_some_and(|tag| tag == value);
        if !id.starts_with(&self.id_prefix()) || !is(CREATED_BY, CREATED_BY_VALUE) || !is(STAGE, &self.stage) || !is(INSTANCE, &self.instance) {
            return None;
        }
        let names = |tag: &str| tags.get(tag).map_or("", String::as_str).split_whitespace().map(str::to_owned).collect();
        Some(Owned {
            kind: tags.get(KIND)?.parse().ok()?,
            slot: parse_slot_name(tags.get(SLOT)?)?,
            expiry_class: tags.get(EXPIRY_CLASS).cloned().unwrap_or_else(|| EXPIRY_CLASS_KEEP.to_owned()),
            copy_to: names(COPY_TO),
            copied_to: names(COPIED_TO),
            copy_of: tags.get(COPY_OF).cloned(),
        })
    }
}

/// What the tags of a snapshot of ours say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Why it was made.
    pub kind: Kind,
    /// The slot that it fills.
    pub slot: DateTime<Utc>,
    /// The retention policy; without the tag nothing is deleted.
    pub expiry_class: String,
    /// Names of the copies that were promised.
    pub copy_to: Vec<String>,
    /// Names of those that were found good.
    pub copied_to: Vec<String>,
    /// ARN of what it is a copy of.
    pub copy_of: Option<String>,
}

/// The slot of an id of a daily snapshot, or `None`.
pub fn daily_slot(id: &str) -> Option<DateTime<Utc>> {
    let (_, rest) = id.rsplit_once("-daily-")?;
    let time = rest.split('-').next()?;
    NaiveDateTime::parse_from_str(time, "%Y%m%dt%H%M%Sz").ok().map(|time| time.and_utc())
}

/// A request's id as part of an identifier: as it is where RDS allows that, else what is left of it and the beginning of its hash, so that two
/// different requests never meet.
fn id_part(request_id: &str) -> String {
    let allowed = |text: &str| {
        !text.is_empty()
            && text.len() <= REQUEST_ID_CHARS_MAX
            && text.split('-').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
    };
    if allowed(request_id) {
        return request_id.to_owned();
    }
    let letters: String = request_id.chars().map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' }).collect();
    let words: Vec<&str> = letters.split('-').filter(|word| !word.is_empty()).collect();
    let readable: String = words.join("-").chars().take(REQUEST_ID_CHARS_MAX).collect();
    let hash = &hex(&Sha256::digest(request_id.as_bytes()))[..12];
    format!("{}-{hash}", readable.trim_matches('-')).trim_start_matches('-').to_owned()
}

/// A text as the value of a tag: letters, digits, blanks and `_.:/=+-@` (RDS User Guide, "Tagging Amazon RDS resources").
pub fn tag_value(text: &str) -> String {
    let allowed = |char: char| char.is_alphanumeric() || " _.:/=+-@".contains(char);
    text.chars().map(|char| if allowed(char) { char } else { '_' }).take(TAG_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { stage: "prod".to_owned(), instance: "App-Db".to_owned() }
    }

    fn slot() -> DateTime<Utc> {
        "2026-11-23T02:00:00Z".parse().expect("a time")
    }

    #[test]
    fn an_id_is_one_that_rds_takes_and_says_what_it_is_for() {
        let daily = owner().id(&Purpose::Daily(slot()), 1);
        assert_eq!(daily, "lifeboat-prod-app-db-daily-20261123t020000z");
        assert_eq!(daily_slot(&daily), Some(slot()));
        let again = owner().id(&Purpose::Daily(slot()), 2);
        assert_eq!(again, "lifeboat-prod-app-db-daily-20261123t020000z-a2");
        assert_eq!(daily_slot(&again), Some(slot()));
        for request_id in ["1234", "refs/heads/main#7", "--", "Ünïcode", "A", "a--b", &"x".repeat(300), ""] {
            let id = owner().id(&Purpose::PreDeploy(request_id.to_owned()), 3);
            let sound =
                id.len() <= ID_CHARS_MAX && id.split('-').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(sound, "{request_id}: {id}");
        }
    }

    #[test]
    fn different_requests_never_share_a_snapshot() {
        let id = |request_id: &str| owner().id(&Purpose::PreDeploy(request_id.to_owned()), 1);
        assert_eq!(id("build-7"), id("build-7"));
        for (one, other) in [("Build-7", "build-7"), ("a/b", "a-b"), ("a/b", "a.b"), ("a", "a ")] {
            assert_ne!(id(one), id(other), "{one} {other}");
        }
    }

    #[test]
    fn only_what_is_ours_in_name_and_tags_is_ours() {
        let (owner, purpose) = (owner(), Purpose::Daily(slot()));
        let (id, tags) = (owner.id(&purpose, 1), owner.tags(&purpose, slot()));
        let read = owner.read(&id, &tags).expect("ours");
        assert_eq!((read.kind, read.slot, read.expiry_class.as_str()), (Kind::Daily, slot(), "daily"));
        assert_eq!(owner.read("by-hand", &tags), None);
        for name in [CREATED_BY, STAGE, INSTANCE, KIND, SLOT] {
            let mut without = tags.clone();
            without.remove(name);
            assert_eq!(owner.read(&id, &without), None, "{name}");
            without.insert(name.to_owned(), "other".to_owned());
            assert_eq!(owner.read(&id, &without), None, "{name}");
        }
        let mut without = tags;
        without.remove(EXPIRY_CLASS);
        assert_eq!(owner.read(&id, &without).expect("ours").expiry_class, EXPIRY_CLASS_KEEP);
    }
}

//! What belongs to a drill, and how it is told: the id, and from it the names of everything that a drill makes.
//!
//! An instance is a drill's when its tags say so *and* its name begins as ours do. Nothing else is ever changed or removed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::manifest::hex;
use shared::report::{parse_slot_name, slot_name};
use shared::snapshot::{CREATED_BY, CREATED_BY_VALUE, INSTANCE, Owner, STAGE};

/// Tag: what an instance is for: [`PURPOSE_DRILL`] may be deleted, [`PURPOSE_RESTORE`] never.
pub const PURPOSE: &str = "lifeboat:purpose";
/// Value of [`PURPOSE`]: a scratch instance.
pub const PURPOSE_DRILL: &str = "drill";
/// Value of [`PURPOSE`]: a real restore, kept. No role of the stack may delete it.
pub const PURPOSE_RESTORE: &str = "restore";
/// Tag: the drill.
pub const DRILL: &str = "lifeboat:drill";
/// Tag: when the sweeper may remove it, as in [`slot_name`].
pub const EXPIRES_AT: &str = "lifeboat:expires-at";

/// Id of a drill: the second that it fills, and what distinguishes two of one second: `20261123t020000z-0badcafe`. Ids sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DrillId(String);

impl DrillId {
    /// The same slot and the same request are the same drill, so that a repeated delivery begins nothing twice.
    pub fn new(slot: DateTime<Utc>, distinguishing: &str) -> Self {
        let hash = hex(&Sha256::digest(distinguishing));
        Self(format!("{}-{}", slot.format("%Y%m%dt%H%M%Sz"), &hash[..8]))
    }

    /// The slot.
    pub fn slot(&self) -> DateTime<Utc> {
        parse_slot(&self.0).unwrap_or_default()
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Key of one of its objects: `drills/ID/NAME`.
    pub fn key(&self, name: &str) -> String {
        format!("{DRILLS}{}/{name}", self.0)
    }

    /// The id in a key of such an object, and the object's name.
    pub fn of_key(key: &str) -> Option<(Self, &str)> {
        let (id, name) = key.strip_prefix(DRILLS)?.split_once('/')?;
        Some((id.parse().ok()?, name))
    }

    /// Name of a scratch database on an existing server.
    pub fn database(&self, number: usize) -> String {
        format!("{SCRATCH_DATABASE}{}_{number}", self.0)
    }

    /// What the sessions of its work are called; PostgreSQL keeps 63 bytes.
    pub fn application_name(&self) -> String {
        format!("lifeboat drill {}", self.0)
    }
}

/// Where drills keep what they know.
pub const DRILLS: &str = "drills/";

/// What scratch databases on an existing server are called.
pub const SCRATCH_DATABASE: &str = "lifeboat_drill_";

fn parse_slot(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text.split_once('-')?.0, "%Y%m%dt%H%M%Sz").ok().map(|slot| slot.and_utc())
}

impl FromStr for DrillId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let suffix = text.split_once('-').map_or("", |(_, suffix)| suffix);
        let is_hex = suffix.len() == 8 && suffix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && parse_slot(text).is_some() && text.len() == 25 {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("`{text}` is no id of a drill: it looks like 20261123t020000z-0badcafe"))
    }
}

impl TryFrom<String> for DrillId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DrillId> for String {
    fn from(id: DrillId) -> Self {
        id.0
    }
}

impl fmt::Display for DrillId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What the names of all scratch instances of a stage begin with. IAM lets a stack touch nothing else.
pub fn instance_prefix(owner: &Owner) -> String {
    format!("lifeboat-{}-drill-", owner.stage)
}

/// Name of the scratch instance of a drill; RDS takes 63 characters.
pub fn instance_id(owner: &Owner, drill: &DrillId) -> String {
    format!("{}{drill}", instance_prefix(owner))
}

/// The tags of a scratch instance.
pub fn tags(owner: &Owner, drill: &DrillId, expires_at: DateTime<Utc>) -> BTreeMap<String, String> {
    [
        (CREATED_BY, CREATED_BY_VALUE.to_owned()),
        (STAGE, owner.stage.clone()),
        (INSTANCE, owner.instance.clone()),
        (PURPOSE, PURPOSE_DRILL.to_owned()),
        (DRILL, drill.to_string()),
        (EXPIRES_AT, slot_name(expires_at.trunc_subsecs(0))),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// What the name and tags of an instance say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// The drill that made it.
    pub drill: DrillId,
    /// When it may go; `None` for a real restore, which stays.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Reads a name and tags; `None` when the instance is not a drill's of this stack, or not wholly.
pub fn read(owner: &Owner, id: &str, tags: &BTreeMap<String, String>) -> Option<Scratch> {
    let is = |name: &str, value: &str| tags.get(name).is_some_and(|tag| tag == value);
    if !is(CREATED_BY, CREATED_BY_VALUE) || !is(STAGE, &owner.stage) || !is(INSTANCE, &owner.instance) {
        return None;
    }
    let drill: DrillId = tags.get(DRILL)?.parse().ok()?;
    if id != instance_id(owner, &drill) {
        return None;
    }
    match tags.get(PURPOSE)?.as_str() {
        PURPOSE_DRILL => Some(Scratch { drill, expires_at: Some(parse_slot_name(tags.get(EXPIRES_AT)?)?) }),
        PURPOSE_RESTORE => Some(Scratch { drill, expires_at: None }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { stage: "prod".into(), instance: "app-db".into() }
    }

    #[test]
    fn an_id_comes_back_and_sorts_by_time() {
        let slot = parse_slot_name("2026-11-23T02-00-00Z").expect("a slot");
        let id = DrillId::new(slot, "x");
        assert_eq!(id.as_str().parse::<DrillId>().as_ref(), Ok(&id));
        assert_eq!((id.slot(), DrillId::new(slot, "x")), (slot, id.clone()));
        assert!(DrillId::new(slot + chrono::TimeDelta::seconds(1), "a") > id);
        assert_eq!(DrillId::of_key(&id.key("plan.json")), Some((id.clone(), "plan.json")));
        assert!(id.database(12).len() <= 63 && id.application_name().len() <= 63 && instance_id(&owner(), &id).len() <= 63);
        for wrong in
            ["", "20261123t020000z", "20261123t020000z-0badcaf", "20261123t020000z-0BADCAFE", "20261323t020000z-0badcafe", "../../../x-0badcafe"]
        {
            assert!(wrong.parse::<DrillId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_instance_is_ours_by_name_and_by_every_tag() {
        let (owner, drill) = (owner(), DrillId::new(DateTime::UNIX_EPOCH, "x"));
        let (id, tags) = (instance_id(&owner, &drill), tags(&owner, &drill, DateTime::UNIX_EPOCH));
        assert_eq!(read(&owner, &id, &tags), Some(Scratch { drill: drill.clone(), expires_at: Some(DateTime::UNIX_EPOCH) }));
        for name in tags.keys() {
            let mut fewer = tags.clone();
            fewer.remove(name);
            assert_eq!(read(&owner, &id, &fewer), None, "without {name}");
        }
        assert_eq!(read(&owner, "app-db", &tags), None);
        assert_eq!(read(&Owner { stage: "dev".into(), ..owner.clone() }, &id, &tags), None);
        let mut kept = tags.clone();
        kept.insert(PURPOSE.to_owned(), PURPOSE_RESTORE.to_owned());
        assert_eq!(read(&owner, &id, &kept).and_then(|scratch| scratch.expires_at), None);
    }
}

//! Snapshots for the tests of the pure half.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use shared::destination::{Destinations, Hop};
use shared::snapshot::{COPY_OF, COPY_TO, Kind, Owner, Purpose};

use crate::config::Promise;
use crate::observed::{Instance, Key, Observed, Snapshot, Status};

pub(crate) const HOME: &str = "eu-central-1";
pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const ACCOUNT: &str = "111111111111";
pub(crate) const OTHER_ACCOUNT: &str = "222222222222";

pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-23T03:10:00Z".parse().expect("a time")
}

pub(crate) fn owner() -> Owner {
    Owner { stage: "prod".to_owned(), instance: "app-db".to_owned() }
}

pub(crate) fn key(region: &str, account: &str) -> String {
    format!("arn:aws:kms:{region}:{account}:key/k")
}

pub(crate) fn region_hop() -> Hop {
    Hop { region: REGION.to_owned(), key_arn: Some(key(REGION, ACCOUNT)), role_arn: None, retention_role_arn: None }
}

pub(crate) fn account_hop(region: &str) -> Hop {
    let role_arn = Some(format!("arn:aws:iam::{OTHER_ACCOUNT}:role/lifeboat-copy"));
    Hop { region: region.to_owned(), key_arn: Some(key(region, OTHER_ACCOUNT)), role_arn, retention_role_arn: None }
}

pub(crate) fn promise(hops: Vec<Hop>) -> Promise {
    Promise {
        owner: owner(),
        home: HOME.to_owned(),
        destinations: Destinations { hops },
        snapshot_age_max: TimeDelta::hours(26),
        copy_age_max: TimeDelta::hours(30),
        copies_in_progress_max: 20,
        recovery_point_max: TimeDelta::minutes(30),
        backup_days_min: 7,
        archive_keys: Vec::new(),
    }
}

pub(crate) fn instance() -> Instance {
    Instance {
        id: "app-db".to_owned(),
        arn: format!("arn:aws:rds:{HOME}:{ACCOUNT}:db:app-db"),
        status: "available".to_owned(),
        engine: "postgres".to_owned(),
        encrypted: true,
        key_arn: Some(key(HOME, ACCOUNT)),
        backup_days: 7,
        latest_restorable_at: Some(now() - TimeDelta::minutes(5)),
        multi_az: true,
        publicly_accessible: false,
        deletion_protection: true,
        certificate_authority: Some("rds-ca-rsa2048-g1".to_owned()),
        certificate_until: Some(now() + TimeDelta::days(300)),
        maintenance: Vec::new(),
    }
}

/// A daily snapshot of ours at home, available.
pub(crate) fn snapshot(suffix: &str, slot: DateTime<Utc>) -> Snapshot {
    let purpose = Purpose::Daily(slot);
    let id = owner().id(&purpose, if suffix.is_empty() || suffix == "a" { 1 } else { suffix.parse().expect("an attempt") });
    of(id, owner().tags(&purpose, slot), slot)
}

/// A pipeline's snapshot of ours at home, available.
pub(crate) fn pre_deploy(request_id: &str, at: DateTime<Utc>) -> Snapshot {
    let purpose = Purpose::PreDeploy(request_id.to_owned());
    of(owner().id(&purpose, 1), owner().tags(&purpose, at), at)
}

fn of(id: String, tags: BTreeMap<String, String>, at: DateTime<Utc>) -> Snapshot {
    assert!(tags.values().any(|value| Kind::ALL.iter().any(|kind| kind.name() == value)));
    Snapshot {
        arn: format!("arn:aws:rds:{HOME}:{ACCOUNT}:snapshot:{id}"),
        id,
        status: Status::Available,
        status_word: "available".to_owned(),
        percent: 100,
        instance: "app-db".to_owned(),
        engine: "postgres".to_owned(),
        engine_version: "17.6".to_owned(),
        allocated_gib: 20,
        encrypted: true,
        key_arn: Some(key(HOME, ACCOUNT)),
        created_at: Some(at),
        original_created_at: Some(at),
        source_arn: None,
        tags,
        restorable_by: None,
    }
}

impl Snapshot {
    pub(crate) fn with_status(mut self, word: &str) -> Self {
        (self.status, self.status_word) = (Status::of(word), word.to_owned());
        self
    }

    pub(crate) fn promised(mut self, hops: &[Hop]) -> Self {
        let names: Vec<String> = hops.iter().map(Hop::name).collect();
        self.tags.insert(COPY_TO.to_owned(), names.join(" "));
        self
    }

    pub(crate) fn shared_with(mut self, accounts: &[&str]) -> Self {
        self.restorable_by = Some(accounts.iter().map(|account| (*account).to_owned()).collect());
        self
    }

    /// Its copy at a hop, made an hour later.
    pub(crate) fn copied(&self, hop: &Hop) -> Self {
        let account = hop.account().unwrap_or(ACCOUNT);
        let mut copy = self.clone();
        copy.arn = format!("arn:aws:rds:{}:{account}:snapshot:{}", hop.region, self.id);
        copy.tags.remove(COPY_TO);
        copy.tags.insert(COPY_OF.to_owned(), self.arn.clone());
        copy.source_arn = Some(self.arn.clone());
        copy.key_arn.clone_from(&hop.key_arn);
        copy.encrypted = hop.key_arn.is_some() || self.encrypted;
        copy.created_at = self.created_at.map(|at| at + TimeDelta::hours(1));
        copy.restorable_by = None;
        copy
    }
}

/// An instance, these snapshots at home, these at the hops, all keys in order.
pub(crate) fn observed(home: Vec<Snapshot>, hops: Vec<Vec<Snapshot>>) -> Observed {
    let keys = [(HOME, ACCOUNT), (REGION, ACCOUNT), (HOME, OTHER_ACCOUNT), (REGION, OTHER_ACCOUNT)];
    let keys = keys.map(|(region, account)| Key {
        asked: key(region, account),
        arn: key(region, account),
        state: "Enabled".to_owned(),
        by_aws: false,
        deletion_at: None,
        used_for: "copies",
    });
    Observed { instance: Some(instance()), home, quotas: vec![None; hops.len() + 1], hops: hops.into_iter().map(Ok).collect(), keys: keys.to_vec() }
}

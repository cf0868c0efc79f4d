//! A world of backups that is only remembered: snapshots and archives with the names, tags, states and times that AWS would show. It knows nothing of how
//! retention decides; it only becomes what happens to it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use shared::report::slot_name;
use shared::snapshot::{COPIED_TO, COPY_OF, COPY_TO, KIND, Owner, Purpose, SLOT, STAGE};

/// Seconds of an hour and a day.
pub const HOUR: i64 = 3600;
pub const DAY: i64 = 24 * HOUR;

/// Where snapshots may lie: home, the other region, the other account there, the other account at home.
pub const SITES: [&str; 4] = ["home", "eu-west-1", "210987654321/eu-west-1", "210987654321/eu-central-1"];
/// The chains of copies that may be configured, by sites.
pub const CHAINS: [&[usize]; 4] = [&[], &[1], &[3], &[1, 2]];
/// Databases that are dumped.
pub const DATABASES: [&str; 2] = ["app", "shop"];

/// A snapshot as RDS shows it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Index in [`SITES`].
    pub site: usize,
    pub id: String,
    pub arn: String,
    pub tags: BTreeMap<String, String>,
    /// RDS's word.
    pub status: &'static str,
    pub created: Option<i64>,
    /// The truth, whatever the tags say: nobody but Lifeboat made it.
    pub is_ours: bool,
}

/// What is known of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    Good,
    Never,
    Bad,
    /// No manifest; since when nothing changed, and whether it had one.
    Incomplete {
        changed: i64,
        was_deleted: bool,
    },
}

/// An archive as the bucket shows it.
#[derive(Clone, Debug)]
pub struct Archive {
    pub is_replica: bool,
    pub database: &'static str,
    pub slot: i64,
    pub run_id: String,
    pub written: i64,
    pub read: Read,
}

/// Counts of a policy: last, hourly, daily, weekly, monthly, yearly.
pub type Counts = [u32; 6];

/// What the operator set.
#[derive(Clone, Debug)]
pub struct Settings {
    pub daily: Counts,
    pub pre_deploy: Counts,
    pub copies: Counts,
    pub archives: Counts,
    pub floor: usize,
    pub deletions_max: usize,
    /// Index in [`CHAINS`].
    pub chain: usize,
}

impl Settings {
    /// Sites of the configured copies.
    pub fn hops(&self) -> &'static [usize] {
        CHAINS[self.chain]
    }

    /// Home and the configured sites, in their order.
    pub fn sites(&self) -> impl Iterator<Item = usize> {
        std::iter::once(0).chain(self.hops().iter().copied())
    }
}

/// Everything there is.
#[derive(Clone, Debug)]
pub struct World {
    pub now: i64,
    pub settings: Settings,
    pub snapshots: Vec<Snapshot>,
    pub archives: Vec<Archive>,
    /// Manual snapshots that RDS allows at home.
    pub quota: usize,
}

/// Whose backups these are.
pub fn owner() -> Owner {
    Owner { stage: "prod".to_owned(), instance: "app-db".to_owned() }
}

/// Seconds as a time.
pub fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("within the calendar")
}

/// The ARN of a snapshot at a site.
pub fn arn(site: usize, id: &str) -> String {
    let place = ["eu-central-1:123456789012", "eu-west-1:123456789012", "eu-west-1:210987654321", "eu-central-1:210987654321"][site];
    format!("arn:aws:rds:{place}:snapshot:{id}")
}

impl World {
    /// A snapshot of ours begins to be made, if the quota and its name allow it.
    pub fn begin_snapshot(&mut self, purpose: &Purpose, slot: i64, created: i64) -> bool {
        let attempt = (1..=100).find(|attempt| {
            let id = owner().id(purpose, *attempt);
            !self.snapshots.iter().any(|one| one.site == 0 && one.id == id && one.status == "failed")
        });
        let id = owner().id(purpose, attempt.unwrap_or(1));
        let at_home = self.snapshots.iter().filter(|one| one.site == 0).count();
        if at_home >= self.quota || self.snapshots.iter().any(|one| one.site == 0 && one.id == id) {
            return false;
        }
        let mut tags = owner().tags(purpose, time(slot));
        let promised: Vec<&str> = self.settings.hops().iter().map(|site| SITES[*site]).collect();
        if !promised.is_empty() {
            tags.insert(COPY_TO.to_owned(), promised.join(" "));
        }
        self.snapshots.push(Snapshot { site: 0, arn: arn(0, &id), id, tags, status: "creating", created: Some(created), is_ours: true });
        true
    }

    /// A copy of a snapshot begins to be made, if there is none of its name.
    pub fn begin_copy(&mut self, source: usize, site: usize, created: i64) -> bool {
        let source = &self.snapshots[source];
        if self.snapshots.iter().any(|one| one.site == site && one.id == source.id) {
            return false;
        }
        let (id, mut tags) = (source.id.clone(), source.tags.clone());
        tags.insert(COPY_OF.to_owned(), source.arn.clone());
        tags.remove(COPIED_TO);
        self.snapshots.push(Snapshot { site, arn: arn(site, &id), id, tags, status: "creating", created: Some(created), is_ours: true });
        true
    }

    /// Copies that are owed, possible and not begun: source and site.
    pub fn wanted_copies(&self) -> Vec<(usize, usize)> {
        let sites: Vec<usize> = self.settings.sites().collect();
        let mut wanted = Vec::new();
        for (source, one) in self.snapshots.iter().enumerate().filter(|(_, one)| is_source(one)) {
            let Some(next) = sites.iter().position(|site| *site == one.site).and_then(|place| sites.get(place + 1)) else { continue };
            let home = self.snapshots.iter().find(|other| other.site == 0 && other.id == one.id && is_source(other));
            let owed = home.is_some_and(|home| lists(home, COPY_TO, *next) && !lists(home, COPIED_TO, *next));
            if owed && !self.snapshots.iter().any(|other| other.site == *next && other.id == one.id) {
                wanted.push((source, *next));
            }
        }
        wanted
    }

    /// Writes down at home which copies are there.
    pub fn note_copies(&mut self) {
        for index in 0..self.snapshots.len() {
            let home = &self.snapshots[index];
            if home.site != 0 || !is_source(home) {
                continue;
            }
            let there = |site: &usize| {
                let mut copies = self.snapshots.iter().filter(|other| other.site == *site && other.id == home.id);
                lists(home, COPY_TO, *site) && (lists(home, COPIED_TO, *site) || copies.any(|copy| copy.is_ours && copy.status == "available"))
            };
            let names: Vec<&str> = (1..SITES.len()).filter(there).map(|site| SITES[site]).collect();
            if !names.is_empty() {
                let names = names.join(" ");
                self.snapshots[index].tags.insert(COPIED_TO.to_owned(), names);
            }
        }
    }

    /// A snapshot that is none of ours.
    pub fn add_foreign(&mut self, site: usize, id: String, tags: BTreeMap<String, String>, created: i64) {
        if !self.snapshots.iter().any(|one| one.site == site && one.id == id) {
            self.snapshots.push(Snapshot { site, arn: arn(site, &id), id, tags, status: "available", created: Some(created), is_ours: false });
        }
    }
}

/// Whether a tag names a site.
fn lists(one: &Snapshot, tag: &str, site: usize) -> bool {
    one.tags.get(tag).is_some_and(|names| names.split(' ').any(|name| name == SITES[site]))
}

/// A slot as tags have it.
pub fn slot_tag(slot: i64) -> String {
    slot_name(time(slot))
}

/// Whether whoever makes copies takes it for ours: at home a snapshot of ours, elsewhere a copy of such a one.
fn is_source(one: &Snapshot) -> bool {
    let tagged = [STAGE, KIND, SLOT].iter().all(|name| one.tags.contains_key(*name));
    let is_copy = || one.tags.get(COPY_OF).is_some_and(|arn| arn.ends_with(&one.id));
    one.is_ours && tagged && one.status == "available" && if one.site == 0 { !one.tags.contains_key(COPY_OF) } else { is_copy() }
}

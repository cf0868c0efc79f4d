//! What happens to a world between two runs of retention, drawn from a seed: days with snapshots and dumps, and everything that goes wrong with them.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shared::snapshot::{COPY_OF, COPY_TO, EXPIRY_CLASS, INSTANCE, KIND, Purpose, SLOT, STAGE};

use super::Seen;
use super::world::{Archive, Counts, DATABASES, DAY, HOUR, Read, Settings, World, owner, slot_tag, time};

/// The first day: a Monday, so that weeks and the new year come soon.
const FIRST: i64 = 1_795_392_000;

/// A history in the making.
pub struct Story {
    pub rng: StdRng,
    pub world: World,
    /// What the histories contained.
    pub seen: Seen,
    number: u32,
}

impl Story {
    pub fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let settings = Settings {
            daily: counts(&mut rng),
            pre_deploy: counts(&mut rng),
            copies: counts(&mut rng),
            archives: counts(&mut rng),
            floor: rng.random_range(1..=4),
            deletions_max: [1, 2, 3, 10][rng.random_range(0..4)],
            chain: rng.random_range(0..4),
        };
        let quota = rng.random_range(6..=40);
        let world = World { now: FIRST + rng.random_range(0..120) * DAY, settings, snapshots: Vec::new(), archives: Vec::new(), quota };
        Self { rng, world, seen: Seen::default(), number: 0 }
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// A time near another: a clock that is right, or one that is up to 48 hours off.
    fn skewed(&mut self, seconds: i64) -> i64 {
        if self.chance(85) {
            return seconds;
        }
        self.seen.add("clock off by up to 48 h");
        seconds + self.rng.random_range(-48 * HOUR..=48 * HOUR)
    }

    /// Days until the next run.
    pub fn days(&mut self) {
        let days = if self.chance(10) { self.rng.random_range(5..40) } else { self.rng.random_range(1..4) };
        self.seen.add_many("days", days);
        self.world.now += (days - 1) * DAY;
        // Of a long pause, only the end has backups.
        for _ in 0..days.min(2) {
            self.world.now += DAY / days.min(2);
            self.day();
        }
        if self.chance(15) {
            self.settings_change();
        }
    }

    fn day(&mut self) {
        self.progress();
        let now = self.world.now;
        if self.chance(80) {
            let slot = self.skewed(now.div_euclid(DAY) * DAY + 2 * HOUR);
            let created = self.skewed(now);
            self.begin(&Purpose::Daily(time(slot)), slot, created, "daily snapshot");
        }
        if self.chance(40) {
            self.number += 1;
            let (slot, created) = (self.skewed(now), self.skewed(now));
            self.begin(&Purpose::PreDeploy(format!("build-{}", self.number)), slot, created, "pre-deploy snapshot");
        }
        self.copies();
        self.dumps();
        if self.chance(20) {
            self.strangers();
        }
        if self.chance(20) {
            self.hands();
        }
    }

    fn begin(&mut self, purpose: &Purpose, slot: i64, created: i64, name: &'static str) {
        let begun = self.world.begin_snapshot(purpose, slot, created);
        self.seen.add(if begun { name } else { "snapshot refused: quota, or there already" });
    }

    /// What was under way gets somewhere.
    fn progress(&mut self) {
        for index in 0..self.world.snapshots.len() {
            if self.world.snapshots[index].status != "creating" {
                continue;
            }
            let drawn = self.rng.random_range(0..100);
            let is_copy = self.world.snapshots[index].site > 0;
            match drawn {
                0..75 => self.world.snapshots[index].status = "available",
                75..88 => {
                    self.world.snapshots[index].status = "failed";
                    self.seen.add(if is_copy { "copy failed" } else { "snapshot failed" });
                }
                _ => self.seen.add(if is_copy { "copy half made at a run" } else { "snapshot being made at a run" }),
            }
        }
        for index in 0..self.world.archives.len() {
            let drawn = self.rng.random_range(0..100);
            let archive = &mut self.world.archives[index];
            match archive.read {
                Read::Never if drawn < 65 => archive.read = Read::Good,
                Read::Never if drawn < 75 => {
                    archive.read = Read::Bad;
                    self.seen.add("archive damaged");
                }
                Read::Good if drawn < 2 => {
                    archive.read = Read::Bad;
                    self.seen.add("archive damaged");
                }
                _ => {}
            }
        }
    }

    fn copies(&mut self) {
        if self.chance(70) {
            self.world.note_copies();
            self.seen.add("copies written down");
        }
        for (source, site) in self.world.wanted_copies() {
            if self.chance(80) {
                let now = self.world.now;
                let created = self.skewed(now);
                self.world.begin_copy(source, site, created);
                self.seen.add("copy");
            }
        }
    }

    fn dumps(&mut self) {
        for database in DATABASES {
            if !self.chance(45) {
                continue;
            }
            // Two runs for one slot are two archives.
            for _ in 0..if self.chance(8) { 2 } else { 1 } {
                self.number += 1;
                let (slot, now) = (self.world.now, self.world.now);
                let (slot, written) = (self.skewed(slot), self.skewed(now));
                let read = if self.chance(20) {
                    self.seen.add("archive without manifest");
                    Read::Incomplete { changed: written, was_deleted: false }
                } else {
                    self.seen.add("archive");
                    Read::Never
                };
                let archive = Archive { is_replica: false, database, slot, run_id: format!("{:08x}", self.number), written, read };
                if self.chance(50) {
                    self.world.archives.push(Archive { is_replica: true, ..archive.clone() });
                }
                self.world.archives.push(archive);
            }
        }
    }

    /// Snapshots of others: with names like ours, with our tags, of another stack, by hand.
    fn strangers(&mut self) {
        self.number += 1;
        let (number, now) = (self.number, self.world.now - self.rng.random_range(0..60) * DAY);
        let slot = self.skewed(now);
        let ours = owner().tags(&Purpose::Daily(time(slot)), time(slot));
        let prefix = owner().id_prefix();
        let (id, tags) = match self.rng.random_range(0..6) {
            0 => (format!("{prefix}before-upgrade-{number}"), BTreeMap::new()),
            1 => (format!("my-copy-{number}"), ours),
            2 => (format!("lifeboat-dev-app-db-daily-{number}"), with(ours, STAGE, "dev")),
            3 => (format!("{prefix}2-daily-{number}"), with(ours, INSTANCE, "app-db-2")),
            4 => {
                let lacking = [KIND, SLOT, STAGE][self.rng.random_range(0..3)];
                (format!("{prefix}daily-{number}"), ours.into_iter().filter(|(name, _)| name != lacking).collect())
            }
            _ => (format!("by-hand-{number}"), BTreeMap::new()),
        };
        let site = self.rng.random_range(0..4);
        self.world.add_foreign(site, id, tags, now);
        self.seen.add("foreign snapshot");
    }

    /// Somebody does something by hand.
    fn hands(&mut self) {
        if self.world.snapshots.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..self.world.snapshots.len());
        let drawn = self.rng.random_range(0..7);
        let snapshot = &mut self.world.snapshots[index];
        let mut tag = |name: &str, value: &str| {
            snapshot.tags.insert(name.to_owned(), value.to_owned());
        };
        match drawn {
            0 => tag(EXPIRY_CLASS, "keep"),
            1 => tag(EXPIRY_CLASS, "preDeploy"),
            2 => tag(EXPIRY_CLASS, "forever"),
            3 => {
                snapshot.tags.remove([EXPIRY_CLASS, STAGE, COPY_TO][index % 3]);
            }
            4 if snapshot.site > 0 => tag(COPY_OF, "arn:aws:rds:eu-central-1:123456789012:snapshot:another"),
            4 => tag(COPY_OF, "arn:aws:rds:eu-central-1:123456789012:snapshot:another"),
            5 => {
                self.world.snapshots.remove(index);
                self.seen.add("deleted by hand");
                return;
            }
            // Not of a stranger: with all our tags and such a name, nobody could tell it from ours.
            _ if snapshot.is_ours => tag(SLOT, &slot_tag(self.world.now - 2 * DAY)),
            _ => {}
        }
        self.seen.add("tag changed by hand");
    }

    fn settings_change(&mut self) {
        let settings = &mut self.world.settings;
        match self.rng.random_range(0..7) {
            0 => settings.daily = counts(&mut self.rng),
            1 => settings.pre_deploy = counts(&mut self.rng),
            2 => settings.copies = counts(&mut self.rng),
            3 => settings.archives = counts(&mut self.rng),
            4 => settings.floor = self.rng.random_range(1..=4),
            5 => settings.deletions_max = self.rng.random_range(1..=5),
            _ => {
                settings.chain = self.rng.random_range(0..4);
                self.seen.add("destinations changed");
                return;
            }
        }
        self.seen.add("policy changed");
    }

    /// Nothing goes wrong any more: what is under way ends well, copies are made, archives are read.
    pub fn calm(&mut self) {
        self.world.quota = usize::MAX;
        loop {
            for snapshot in self.world.snapshots.iter_mut().filter(|snapshot| snapshot.status == "creating") {
                snapshot.status = "available";
            }
            let wanted = self.world.wanted_copies();
            if wanted.is_empty() {
                break;
            }
            for (source, site) in wanted {
                self.world.begin_copy(source, site, self.world.now);
            }
        }
        self.world.note_copies();
        for archive in &mut self.world.archives {
            if archive.read == Read::Never {
                archive.read = Read::Good;
            }
        }
        self.world.now += 3 * DAY;
    }
}

fn with(mut tags: BTreeMap<String, String>, name: &str, value: &str) -> BTreeMap<String, String> {
    tags.insert(name.to_owned(), value.to_owned());
    tags
}

/// A small policy, so that little history is enough for it to delete something.
fn counts(rng: &mut StdRng) -> Counts {
    let mut counts = [0; 6];
    while counts.iter().all(|count| *count == 0) {
        for (place, count) in counts.iter_mut().enumerate() {
            // Days and weeks are what most people name.
            if rng.random_range(0..100) < [30, 5, 45, 35, 15, 5][place] {
                *count = rng.random_range(1..=4);
            }
        }
    }
    counts
}

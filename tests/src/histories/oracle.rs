//! The judge. It looks at a world and at what retention decided, knows the rules as they are promised to the operator, and nothing of how they are carried
//! out: no line of the planner and none of its types is used here. Where the planner sorts and counts once, this compares everything with everything.

use super::world::{Archive, Counts, DAY, HOUR, Read, SITES, Snapshot, World};

/// A snapshot (`true`) or an archive, by its index in the world.
pub type Item = (bool, usize);

/// One backup with what the rules ask about.
struct Fact<'a> {
    item: Item,
    name: &'a str,
    /// 0 home, 1 and 2 the hops, 10 the bucket, 11 the replica.
    place: usize,
    /// Kind or database.
    sort: &'a str,
    /// What chooses the policy.
    class: &'a str,
    slot: i64,
    made: i64,
    standing: Standing,
    /// A reason that stands above everything.
    apart: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    Unread,
    Bad,
    Unfinished { changed: i64, was_deleted: bool },
}

/// A world, seen once.
pub struct Oracle<'a> {
    world: &'a World,
    facts: Vec<Fact<'a>>,
    has_unread: bool,
}

fn tag<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a str> {
    snapshot.tags.get(name).map(String::as_str)
}

/// Days since 1970-01-01 of a civil date (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year and month of a time.
fn civil(seconds: i64) -> (i64, i64) {
    let days = seconds.div_euclid(DAY) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days - era * 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month)
}

/// `2026-11-23T02-00-00Z` in seconds.
fn read_slot(text: &str) -> Option<i64> {
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    if text.len() != 20 || !text.ends_with('Z') {
        return None;
    }
    let days = days_from_civil(part(0, 4)?, part(5, 7)?, part(8, 10)?);
    Some(days * DAY + part(11, 13)? * HOUR + part(14, 16)? * 60 + part(17, 19)?)
}

/// Ours by name and tags.
fn is_ours(snapshot: &Snapshot) -> bool {
    let says = |name: &str, value: &str| tag(snapshot, name) == Some(value);
    snapshot.id.starts_with("lifeboat-prod-app-db-")
        && says("lifeboat:created-by", "lifeboat")
        && says("lifeboat:stage", "prod")
        && says("lifeboat:instance", "app-db")
        && (says("lifeboat:kind", "daily") || says("lifeboat:kind", "preDeploy"))
        && tag(snapshot, "lifeboat:slot").and_then(read_slot).is_some()
}

/// The number of the period that a time is in; the count's place in [`Counts`] says of what.
fn period(rule: usize, seconds: i64) -> i64 {
    match rule {
        1 => seconds.div_euclid(HOUR),
        2 => seconds.div_euclid(DAY),
        // 1970-01-01 was a Thursday; weeks begin on Mondays.
        3 => (seconds.div_euclid(DAY) + 3).div_euclid(7),
        4 => civil(seconds).0 * 12 + civil(seconds).1,
        _ => civil(seconds).0,
    }
}

impl<'a> Oracle<'a> {
    /// Looks at a world of which the snapshots of some places could not be read.
    pub fn new(world: &'a World, unread: &[usize]) -> Self {
        let sites: Vec<usize> = world.settings.sites().collect();
        let mut facts = Vec::new();
        for (index, snapshot) in world.snapshots.iter().enumerate() {
            if let Some(place) = sites.iter().position(|site| *site == snapshot.site).filter(|_| !unread.contains(&snapshot.site)) {
                facts.push(snapshot_fact(world, &sites, unread, index, place));
            }
        }
        facts.extend(world.archives.iter().enumerate().map(archive_fact));
        Self { world, facts, has_unread: sites.iter().any(|site| unread.contains(site)) }
    }

    /// Whether one is newer than another: by its slot, then by when it was made, then by name.
    fn is_newer(a: &Fact<'_>, b: &Fact<'_>) -> bool {
        (a.slot, a.made, a.name) > (b.slot, b.made, b.name)
    }

    fn good_of<'b>(&'b self, one: &'b Fact<'_>) -> impl Iterator<Item = &'b Fact<'a>> + Clone {
        let same = move |other: &&Fact<'_>| other.place == one.place && other.sort == one.sort && other.apart.is_none();
        self.facts.iter().filter(move |other| other.standing == Standing::Good && same(other))
    }

    /// Why a backup must stay; `None`: it has to go sooner or later.
    fn must_stay(&self, one: &Fact<'_>) -> Option<&'static str> {
        if one.apart.is_some() {
            return one.apart;
        }
        if one.item.0 && self.has_unread {
            return Some("a place could not be read");
        }
        let (floor, good) = (self.world.settings.floor, self.good_of(one));
        if one.standing == Standing::Good {
            if good.clone().filter(|other| Self::is_newer(other, one)).count() < floor {
                return Some("one of the newest good ones");
            }
            if good.clone().all(|other| other.made <= one.made) {
                return Some("the good one that was made last");
            }
        } else {
            if good.clone().count() < floor {
                return Some("the good ones are fewer than the floor");
            }
            if good.clone().all(|other| other.slot <= one.slot) || good.clone().all(|other| other.made <= one.made) {
                return Some("not older than the newest good one");
            }
            if let Standing::Unfinished { changed, was_deleted: false } = one.standing
                && self.world.now < changed + DAY
            {
                return Some("somebody may be at work on it");
            }
        }
        if self.is_kept_by_policy(one) {
            return Some("the policy keeps it");
        }
        if one.item.0 && one.standing == Standing::Good { self.is_kept_for_copies(one) } else { None }
    }

    /// The newest of its period, and fewer than so many later periods have one.
    fn is_kept_by_policy(&self, one: &Fact<'_>) -> bool {
        let settings = &self.world.settings;
        let counts: &Counts = match (one.place, one.class) {
            (0, "daily") => &settings.daily,
            (0, _) => &settings.pre_deploy,
            (10 | 11, _) => &settings.archives,
            _ => &settings.copies,
        };
        let beside = |other: &&Fact<'_>| other.place == one.place && other.class == one.class && other.apart.is_none();
        // Among what is good only the good count; among what nobody has read, both.
        let counted = |standing: Standing| match one.standing {
            Standing::Good => standing == Standing::Good,
            Standing::Unread => standing == Standing::Good || standing == Standing::Unread,
            _ => false,
        };
        if !counted(one.standing) {
            return false;
        }
        let others: Vec<&Fact<'_>> = self.facts.iter().filter(beside).filter(|other| counted(other.standing)).collect();
        counts.iter().enumerate().filter(|(_, count)| **count > 0).any(|(rule, count)| {
            let count = *count as usize;
            if rule == 0 {
                return others.iter().filter(|other| Self::is_newer(other, one)).count() < count;
            }
            let own = period(rule, one.slot);
            let is_newest =
                !others.iter().any(|other| other.standing == one.standing && period(rule, other.slot) == own && Self::is_newer(other, one));
            let mut later: Vec<i64> = others.iter().map(|other| period(rule, other.slot)).filter(|other| *other > own).collect();
            later.sort_unstable();
            later.dedup();
            is_newest && later.len() < count
        })
    }

    /// Its copies are missing or under way; the newest copy is it, or came of it; it would be copied again.
    fn is_kept_for_copies(&self, one: &Fact<'_>) -> Option<&'static str> {
        let (snapshots, sites) = (&self.world.snapshots, self.world.settings.sites().collect::<Vec<_>>());
        let own = &snapshots[one.item.1];
        let is_sound = |fact: &Fact<'_>| fact.item.0 && !matches!(fact.apart, Some("foreign" | "strange"));
        let namesakes = || self.facts.iter().filter(|other| is_sound(other) && snapshots[other.item.1].id == own.id);
        // A snapshot owes its copies as long as it stands at home and has not written down that they were there.
        let owes = |hop: usize| {
            let lists = |other: &Fact<'_>, name: &str| {
                tag(&snapshots[other.item.1], name).is_some_and(|names| names.split(' ').any(|one| one == SITES[sites[hop]]))
            };
            let home = namesakes().find(|other| other.place == 0 && snapshots[other.item.1].status == "available");
            home.is_some_and(|home| lists(home, "lifeboat:copy-to") && !lists(home, "lifeboat:copied-to"))
        };
        let is_there = |hop: usize| namesakes().any(|other| other.place == hop && snapshots[other.item.1].status == "available");
        if (one.place + 1..sites.len()).any(|hop| owes(hop) && !is_there(hop)) {
            return Some("a promised copy is not there");
        }
        for hop in 1..sites.len() {
            let copies = || self.facts.iter().filter(|other| is_sound(other) && other.place == hop);
            if copies().any(|copy| snapshots[copy.item.1].status == "creating" && tag(&snapshots[copy.item.1], "lifeboat:copy-of") == Some(&own.arn))
            {
                return Some("it is being copied");
            }
            let available = || copies().filter(|copy| snapshots[copy.item.1].status == "available");
            for copy in available() {
                let is_base = available().all(|other| (other.slot, other.made, other.name) <= (copy.slot, copy.made, copy.name))
                    || available().all(|other| (other.made, other.slot, other.name) <= (copy.made, copy.slot, copy.name));
                if is_base && (copy.item == one.item || tag(&snapshots[copy.item.1], "lifeboat:copy-of") == Some(&own.arn)) {
                    return Some("the next copy builds on it");
                }
            }
        }
        (one.place > 0 && owes(one.place)).then_some("it would be copied again")
    }

    /// What is wrong with a plan: deletions that must not be, are too many, too few, or not the oldest.
    pub fn judge_plan(&self, planned: &[Item]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut to_go: Vec<&Fact<'_>> = Vec::new();
        for one in &self.facts {
            let (stays, is_planned) = (self.must_stay(one), planned.contains(&one.item));
            match stays {
                Some(why) if is_planned => wrong.push(format!("{} of {} is deleted: {why}", one.name, one.place)),
                None => to_go.push(one),
                Some(_) => {}
            }
        }
        let max = self.world.settings.deletions_max;
        if planned.len() > max {
            wrong.push(format!("{} deletions, at most {max} are allowed", planned.len()));
        }
        if planned.len() < max.min(to_go.len()) {
            wrong.push(format!("{} deletions, though {} backups are kept by nothing", planned.len(), to_go.len()));
        }
        if planned.iter().any(|item| !self.facts.iter().any(|one| one.item == *item)) {
            wrong.push("something is deleted that was not seen".to_owned());
        }
        let is_planned = |one: &&Fact<'_>| planned.contains(&one.item);
        if let Some(late) = to_go.iter().filter(|one| is_planned(one)).max_by_key(|one| (one.slot, one.made, one.name))
            && let Some(early) = to_go.iter().find(|one| !is_planned(one) && Self::is_newer(late, one))
        {
            wrong.push(format!("{} goes before the older {}", late.name, early.name));
        }
        wrong
    }

    /// What is wrong with what is left: by the promises alone, whoever decided whatever.
    pub fn judge_end(&self, gone: &[Item]) -> Vec<String> {
        let mut wrong = Vec::new();
        for one in self.facts.iter().filter(|one| gone.contains(&one.item)) {
            if one.item.0 && !self.world.snapshots[one.item.1].is_ours {
                wrong.push(format!("{} was never ours", one.name));
            }
            let good = |left: bool| self.good_of(one).filter(|other| !left || !gone.contains(&other.item)).count();
            if one.standing == Standing::Good && good(true) < self.world.settings.floor {
                wrong.push(format!("of {} good ones like {}, {} are left", good(false), one.name, good(true)));
            }
            let newest = self.good_of(one).max_by_key(|other| (other.slot, other.made, other.name));
            if newest.is_some_and(|newest| gone.contains(&newest.item)) {
                wrong.push(format!("the newest of those like {} is gone", one.name));
            }
        }
        wrong
    }

    /// How many of a place and sort are good, at the most: whoever deletes too little is found by it.
    pub fn crowd(&self) -> usize {
        let counted = |one: &Fact<'_>| one.apart.is_none() && one.standing == Standing::Good;
        let of = |one: &Fact<'_>| self.facts.iter().filter(|other| counted(other) && other.place == one.place && other.sort == one.sort).count();
        self.facts.iter().filter(|one| counted(one)).map(of).max().unwrap_or(0)
    }
}

fn snapshot_fact<'a>(world: &'a World, sites: &[usize], unread: &[usize], index: usize, place: usize) -> Fact<'a> {
    let snapshot = &world.snapshots[index];
    let copy_of = tag(snapshot, "lifeboat:copy-of");
    let at = |place: usize| {
        world.snapshots.iter().find(|other| other.site == sites[place] && other.id == snapshot.id && is_ours(other) && !unread.contains(&other.site))
    };
    let comes_from = |place: usize| at(place).is_some_and(|other| Some(other.arn.as_str()) == copy_of);
    let is_strange = match (place, copy_of) {
        (0, copy_of) => copy_of.is_some(),
        (_, None) => true,
        (_, Some(arn)) => !arn.ends_with(&format!(":snapshot:{}", snapshot.id)) || (at(place - 1).is_some() && !(0..place).any(comes_from)),
    };
    let class = tag(snapshot, "lifeboat:expiry-class").unwrap_or("keep");
    let apart = match () {
        () if !is_ours(snapshot) => Some("foreign"),
        () if is_strange => Some("strange"),
        () if !["daily", "preDeploy"].contains(&class) => Some("its class is no policy"),
        () if !["available", "failed"].contains(&snapshot.status) => Some("RDS is at work on it"),
        () => None,
    };
    let created = snapshot.created.unwrap_or_default();
    Fact {
        item: (true, index),
        name: &snapshot.id,
        place,
        sort: tag(snapshot, "lifeboat:kind").unwrap_or_default(),
        class,
        slot: tag(snapshot, "lifeboat:slot").and_then(read_slot).unwrap_or(created),
        made: created,
        standing: if snapshot.status == "available" { Standing::Good } else { Standing::Bad },
        apart,
    }
}

fn archive_fact((index, archive): (usize, &Archive)) -> Fact<'_> {
    let standing = match archive.read {
        Read::Good => Standing::Good,
        Read::Never => Standing::Unread,
        Read::Bad => Standing::Bad,
        Read::Incomplete { changed, was_deleted } => Standing::Unfinished { changed, was_deleted },
    };
    Fact {
        item: (false, index),
        name: &archive.run_id,
        place: if archive.is_replica { 11 } else { 10 },
        sort: archive.database,
        class: archive.database,
        slot: archive.slot,
        made: archive.written,
        standing,
        apart: None,
    }
}

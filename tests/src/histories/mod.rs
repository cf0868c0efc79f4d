//! Retention over time: a world of backups ([`world`]), what happens to it ([`story`]), the real planner or one that is wrong ([`mutants`]), its deletions
//! carried out wholly or not, and a judge who knows only the promises ([`oracle`]). All from a seed; `cargo test` plays some thousands of histories, the
//! program `soak` as many as you ask for.

pub mod mutants;
pub mod oracle;
pub mod story;
pub mod world;

use std::collections::BTreeMap;
use std::fmt;

use rand::RngExt;
use rand::seq::SliceRandom;
use retention::decision::Action;
use retention::model::{Archive, Observed, Place, Snapshot, State, Status, What};
use retention::plan::{Limits, Policies};
use retention::policy::Policy;
use shared::key::ArchiveKey;

use mutants::{Mutant, plan_as};
use oracle::{Item, Oracle};
use story::Story;
use world::{Counts, Read, SITES, World, owner, time};

/// How often something was in the histories, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(pub BTreeMap<&'static str, u64>);

impl Seen {
    /// One more.
    pub fn add(&mut self, name: &'static str) {
        self.add_many(name, 1);
    }

    /// So many more.
    pub fn add_many(&mut self, name: &'static str, count: i64) {
        *self.0.entry(name).or_default() += count.unsigned_abs();
    }

    /// How often.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds those of others.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, count)| writeln!(formatter, "{count:>12}  {name}"))
    }
}

/// What came of histories.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// What was in them.
    pub seen: Seen,
    /// What broke a promise, with the seed.
    pub wrong: Vec<String>,
}

/// Plays histories of these seeds with the real planner.
pub fn histories(seed: u64, count: u64) -> Played {
    let mut played = Played::default();
    for seed in seed..seed + count {
        let mut story = Story::new(seed);
        if let Err(wrong) = play(&mut story, None) {
            played.wrong.push(format!("seed {seed}: {wrong}"));
        }
        story.seen.add("histories");
        played.seen.merge(&story.seen);
    }
    played
}

/// The same by as many threads as there are processors: what comes of it is the same.
pub fn histories_at_once(seed: u64, count: u64) -> Played {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let each = count.div_ceil(threads).max(1);
    let mut all = Played::default();
    std::thread::scope(|scope| {
        let parts = (0..threads).map(|part| (seed + part * each, each.min(count.saturating_sub(part * each))));
        let threads: Vec<_> = parts.map(|(seed, count)| scope.spawn(move || histories(seed, count))).collect();
        for played in threads.into_iter().filter_map(|thread| thread.join().ok()) {
            all.seen.merge(&played.seen);
            all.wrong.extend(played.wrong);
        }
    });
    // A thread that panicked played none of its own.
    if all.seen.of("histories") != count {
        all.wrong.push(format!("{} histories of {count} were played to their end", all.seen.of("histories")));
    }
    all
}

/// How many histories it takes until a mutant is caught, and by what; `None` if they do not suffice.
pub fn until_caught(mutant: Mutant, seed: u64, count: u64) -> Option<(u64, String)> {
    (0..count).find_map(|number| play(&mut Story::new(seed + number), Some(mutant)).err().map(|wrong| (number + 1, wrong)))
}

/// One history, to its end or to the first broken promise.
fn play(story: &mut Story, mutant: Option<Mutant>) -> Result<(), String> {
    for _ in 0..story.rng.random_range(4..=12) {
        story.days();
        run(story, mutant, true)?;
    }
    // Then nothing happens any more but retention, and it comes to an end.
    story.calm();
    let mut left = story.world.snapshots.len() + story.world.archives.len();
    loop {
        let deleted = run(story, mutant, false)?;
        story.calm();
        if deleted == 0 {
            break;
        }
        left = left.checked_sub(deleted).ok_or("it deletes more than there is")?;
    }
    let settings = &story.world.settings;
    let sum = |counts: &Counts| counts.iter().sum::<u32>() as usize;
    let home = sum(&settings.daily) + sum(&settings.pre_deploy);
    // The policies' own number, the floor, the one made last; at home the sources of two newest copies of two hops and what failed copies hold.
    let max = (home + 2 * sum(&settings.copies)).max(2 * sum(&settings.archives)) + settings.floor + 8;
    let crowd = Oracle::new(&story.world, &[]).crowd();
    if crowd > max { Err(format!("{crowd} good ones of one sort are kept; the policies mean {max} at the most")) } else { Ok(()) }
}

/// One run of retention: look, plan, delete, as far as it gets. Gives the number of deletions.
fn run(story: &mut Story, mutant: Option<Mutant>, is_stormy: bool) -> Result<usize, String> {
    story.seen.add("runs");
    let unread: Vec<usize> = story.world.settings.sites().filter(|_| is_stormy && story.rng.random_range(0..100) < 4).collect();
    if !unread.is_empty() {
        story.seen.add("a place that could not be read");
    }
    let world = &story.world;
    let mut observed = observe(world, &unread);
    let policies = Policies {
        daily: policy(&world.settings.daily),
        pre_deploy: policy(&world.settings.pre_deploy),
        copies: policy(&world.settings.copies),
        archives: policy(&world.settings.archives),
    };
    let limits = Limits { floor: world.settings.floor, deletions_max: world.settings.deletions_max, now: time(world.now) };
    let mut disturbed = Observed::default();
    let decisions = plan_as(mutant, &observed, &mut disturbed, &policies, &limits);
    let planned: Vec<Item> =
        decisions.iter().filter(|decision| decision.action == Action::Delete).map(|decision| item(world, decision.what)).collect();
    story.seen.add_many("decisions", i64::try_from(decisions.len()).unwrap_or_default());
    let oracle = Oracle::new(world, &unread);
    if let Some(wrong) = oracle.judge_plan(&planned).into_iter().next() {
        return Err(wrong);
    }
    if story.rng.random_range(0..8) == 0 {
        let told: Vec<String> = decisions.iter().map(|decision| format_decision(&observed, decision)).collect();
        observed.snapshots.shuffle(&mut story.rng);
        observed.archives.shuffle(&mut story.rng);
        let mut disturbed = Observed::default();
        let again = plan_as(mutant, &observed, &mut disturbed, &policies, &limits);
        if !again.iter().map(|decision| format_decision(&observed, decision)).eq(told) {
            return Err("the same backups in another order make another plan".to_owned());
        }
        story.seen.add("shuffled and planned again");
    }
    carry_out(story, &unread, planned, is_stormy)
}

fn format_decision(observed: &Observed, decision: &retention::decision::Decision<'_>) -> String {
    format!("{} {}", observed.name(decision.what), decision.reason(observed))
}

/// Deletes what was planned: all of it, or some is refused, or the process is killed on the way.
fn carry_out(story: &mut Story, unread: &[usize], planned: Vec<Item>, is_stormy: bool) -> Result<usize, String> {
    let mut gone = planned;
    let mut half_gone = None;
    match story.rng.random_range(0..100) {
        0..12 if is_stormy && !gone.is_empty() => {
            gone.retain(|_| story.rng.random_range(0..2) == 0);
            story.seen.add("some deletions refused");
        }
        12..24 if is_stormy && !gone.is_empty() => {
            gone.truncate(story.rng.random_range(0..=gone.len()));
            half_gone = gone.last().copied().filter(|(is_snapshot, _)| !is_snapshot);
            story.seen.add(if half_gone.is_some() { "killed within an archive" } else { "killed between deletions" });
        }
        _ => {}
    }
    if gone.is_empty() {
        return Ok(0);
    }
    let wrong = Oracle::new(&story.world, unread).judge_end(&gone).into_iter().next();
    let world = &mut story.world;
    let names = |world: &World, wanted: Vec<(usize, usize)>| -> Vec<(String, usize)> {
        wanted.into_iter().map(|(source, site)| (world.snapshots[source].id.clone(), site)).collect()
    };
    let were_copies: Vec<(String, usize)> = gone
        .iter()
        .filter(|(is_snapshot, index)| *is_snapshot && world.snapshots[*index].status == "available")
        .map(|(_, index)| (world.snapshots[*index].id.clone(), world.snapshots[*index].site))
        .collect();
    for (is_snapshot, index) in &gone {
        let name = match (is_snapshot, *is_snapshot && world.snapshots[*index].site > 0) {
            (true, false) => "snapshots deleted",
            (true, true) => "copies deleted",
            _ => "archives deleted",
        };
        story.seen.add(name);
    }
    if let Some((_, index)) = half_gone {
        world.archives[index].read = Read::Incomplete { changed: world.now, was_deleted: true };
    }
    let mut number = 0..;
    world.snapshots.retain(|_| !gone.contains(&(true, number.next().unwrap_or_default())));
    let mut number = 0..;
    world.archives.retain(|_| {
        let item = (false, number.next().unwrap_or_default());
        half_gone == Some(item) || !gone.contains(&item)
    });
    let again = names(world, world.wanted_copies()).into_iter().find(|wanted| were_copies.contains(wanted));
    let again = again.map(|(id, site)| format!("{id} is deleted in {}, and would be copied there again", SITES[site]));
    wrong.or(again).map_or(Ok(gone.len()), Err)
}

/// The world as retention sees it.
fn observe(world: &World, unread: &[usize]) -> Observed {
    let sites: Vec<usize> = world.settings.sites().collect();
    let place = |place: usize| if place == 0 { Place::Home } else { Place::Hop(place - 1) };
    let mut observed = Observed { hops: sites[1..].iter().map(|site| SITES[*site].to_owned()).collect(), ..Observed::default() };
    for (number, site) in sites.iter().enumerate() {
        if unread.contains(site) {
            observed.unread.push(place(number));
            continue;
        }
        observed.snapshots.extend(world.snapshots.iter().filter(|one| one.site == *site).map(|one| Snapshot {
            place: place(number),
            id: one.id.clone(),
            arn: one.arn.clone(),
            owned: owner().read(&one.id, &one.tags),
            status: Status::read(one.status),
            created_at: one.created.map(time),
        }));
    }
    observed.archives.extend(world.archives.iter().map(|one| Archive {
        place: if one.is_replica { Place::Replica } else { Place::Bucket },
        key: ArchiveKey { instance: "app-db".to_owned(), database: one.database.to_owned(), slot: time(one.slot), run_id: one.run_id.clone() },
        state: match one.read {
            Read::Good => State::Good,
            Read::Never => State::Unverified,
            Read::Bad => State::Bad,
            Read::Incomplete { changed, was_deleted } => State::Incomplete { changed_at: time(changed), was_deleted },
        },
        written_at: time(one.written),
    }));
    observed
}

/// What a decision is about, in the world.
fn item(world: &World, what: What<'_>) -> Item {
    match what {
        What::Snapshot(snapshot) => (true, world.snapshots.iter().position(|one| one.arn == snapshot.arn).unwrap_or(usize::MAX)),
        What::Archive(archive) => {
            let is_replica = archive.place == Place::Replica;
            let same = |one: &world::Archive| one.is_replica == is_replica && one.run_id == archive.key.run_id;
            (false, world.archives.iter().position(same).unwrap_or(usize::MAX))
        }
    }
}

fn policy(counts: &Counts) -> Policy {
    let names = ["last", "hourly", "daily", "weekly", "monthly", "yearly"];
    let parts: Vec<String> = names.iter().zip(counts).map(|(name, count)| format!("{name}={count}")).collect();
    parts.join(",").parse().expect("the story never draws an empty policy")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What histories must contain to mean anything.
    const CONTENTS: [&str; 25] = [
        "a place that could not be read",
        "archive damaged",
        "archive without manifest",
        "archives deleted",
        "clock off by up to 48 h",
        "copies deleted",
        "copies written down",
        "copy",
        "copy failed",
        "copy half made at a run",
        "daily snapshot",
        "deleted by hand",
        "destinations changed",
        "foreign snapshot",
        "killed between deletions",
        "killed within an archive",
        "policy changed",
        "pre-deploy snapshot",
        "shuffled and planned again",
        "snapshot being made at a run",
        "snapshot failed",
        "snapshot refused: quota, or there already",
        "snapshots deleted",
        "some deletions refused",
        "tag changed by hand",
    ];

    #[test]
    fn no_history_breaks_a_promise() {
        let played = histories_at_once(1, 3_000);
        assert_eq!(played.wrong, Vec::<String>::new());
        assert_eq!(played.seen.of("histories"), 3_000);
        let rare: Vec<&str> = CONTENTS.into_iter().filter(|name| played.seen.of(name) < 100).collect();
        assert_eq!(rare, Vec::<&str>::new(), "{}", played.seen);
    }

    #[test]
    fn every_mutant_is_caught() {
        let missed: Vec<Mutant> = Mutant::ALL.into_iter().filter(|mutant| until_caught(*mutant, 1, 2_000).is_none()).collect();
        assert_eq!(missed, []);
    }
}

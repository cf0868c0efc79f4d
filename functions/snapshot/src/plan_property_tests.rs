//! The planner, on whatever it may see: worlds by the seed.

use chrono::{DateTime, TimeDelta, Utc};
use shared::destination::Hop;
use shared::snapshot::{COPIED_TO, COPY_OF};

use crate::observed::{Observed, Snapshot, Status};
use crate::plan::{Step, What, plan};
use crate::request::Wish;
use crate::samples::{HOME, OTHER_ACCOUNT, REGION, account_hop, now, observed, owner, pre_deploy, promise, region_hop, snapshot};

fn hours(hours: i64) -> TimeDelta {
    TimeDelta::hours(hours)
}

fn slot() -> DateTime<Utc> {
    "2026-11-23T03:00:00Z".parse().expect("a time")
}

fn under_way(mut copy: Snapshot) -> Snapshot {
    copy.percent = 7;
    copy.with_status("creating")
}

/// A small generator of numbers (SplitMix64), so that a seed is a world.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (value ^ (value >> 31)) % bound
    }

    fn word(&mut self) -> &'static str {
        ["available", "available", "available", "creating", "failed", "deleting"][usize::try_from(self.below(6)).expect("small")]
    }
}

fn random_world(random: &mut Random) -> (Observed, Vec<Hop>) {
    let hops = match random.below(4) {
        0 => vec![],
        1 => vec![region_hop()],
        2 => vec![account_hop(HOME)],
        _ => vec![region_hop(), account_hop(REGION)],
    };
    let mut places: Vec<Vec<Snapshot>> = vec![vec![]; hops.len()];
    let mut home = Vec::new();
    for number in 0..random.below(7) {
        let at = now() + hours(i64::try_from(random.below(150)).expect("small") - 100);
        let mut source = if random.below(3) == 0 { pre_deploy(&number.to_string(), at) } else { snapshot("", at) }.with_status(random.word());
        if random.below(5) > 0 {
            source = source.promised(&hops);
        }
        let mut copy = source.clone();
        for (hop, place) in hops.iter().zip(&mut places) {
            copy = copy.copied(hop).with_status(random.word());
            if random.below(2) == 0 {
                let mut there = copy.clone();
                if random.below(6) == 0 {
                    there.tags.remove(COPY_OF);
                }
                place.push(there);
            }
        }
        if hops.first().is_some_and(|hop| hop.account().is_some()) && random.below(2) == 0 {
            source = source.shared_with(if random.below(2) == 0 { &[OTHER_ACCOUNT] } else { &[] });
        }
        if random.below(8) == 0 {
            source.tags.remove(shared::snapshot::INSTANCE);
        }
        if home.iter().all(|known: &Snapshot| known.id != source.id) {
            home.push(source);
        }
    }
    (observed(home, places), hops)
}

/// What RDS would show after the steps: everything begun is there, and under way.
fn after(seen: &Observed, steps: &[Step], hops: &[Hop]) -> Observed {
    let mut next = seen.clone();
    for step in steps {
        match &step.what {
            What::Create { id, tags } => {
                let mut made = snapshot("", now()).with_status("creating");
                (made.id, made.tags) = (id.clone(), tags.clone());
                assert!(next.find(0, id).is_none(), "{id} is taken");
                next.home.push(made);
            }
            What::Copy { place, id, source_arn, .. } => {
                let from = next.find(place - 1, id).expect("a source").clone();
                assert_eq!((&from.arn, from.status), (source_arn, Status::Available));
                assert!(next.find(*place, id).is_none(), "{id} is there already");
                let copy = under_way(from.copied(&hops[place - 1]));
                next.hops[place - 1].as_mut().expect("seen").push(copy);
            }
            What::Share { place, id, account } | What::Unshare { place, id, account } => {
                let list = if *place == 0 { &mut next.home } else { next.hops[place - 1].as_mut().expect("seen") };
                let snapshot = list.iter_mut().find(|snapshot| snapshot.id == *id).expect("a snapshot");
                assert!(owner().read(id, &snapshot.tags).is_some(), "only ours are shared");
                let gives = matches!(step.what, What::Share { .. });
                snapshot.restorable_by = Some(if gives { vec![account.clone()] } else { vec![] });
            }
            What::NoteCopies { id, names, .. } => {
                let snapshot = next.home.iter_mut().find(|snapshot| snapshot.id == *id).expect("a snapshot");
                snapshot.tags.insert(COPIED_TO.to_owned(), names.join(" "));
            }
            What::Wait { .. } => {}
        }
    }
    next
}

#[test]
fn whatever_is_seen_a_second_look_finds_nothing_left_to_begin() {
    for seed in 0..10_000 {
        let mut random = Random(seed);
        let (seen, hops) = random_world(&mut random);
        let wish = if random.below(2) == 0 { Wish::Reconcile } else { Wish::Daily(slot()) };
        let promise = promise(hops.clone());
        let steps = plan(&seen, &promise, &wish, now());
        assert_eq!(steps, plan(&seen, &promise, &wish, now()), "seed {seed}: the same is decided twice");
        let mut shuffled = seen.clone();
        shuffled.home.reverse();
        assert_eq!(steps, plan(&shuffled, &promise, &wish, now()), "seed {seed}: the order of a listing decides nothing");
        let next = after(&seen, &steps, &hops);
        let again = plan(&next, &promise, &wish, now());
        assert!(again.iter().all(|step| !step.changes()), "seed {seed}: {steps:#?} then {again:#?}");
    }
}

#[test]
fn whatever_is_seen_what_is_promised_arrives_in_the_end() {
    for seed in 0..3_000 {
        let (mut seen, hops) = random_world(&mut Random(seed));
        let promise = promise(hops.clone());
        // RDS does its work between the runs; what failed is deleted, as `retention` does.
        for _ in 0..8 {
            let steps = plan(&seen, &promise, &Wish::Reconcile, now());
            seen = after(&seen, &steps, &hops);
            let lists = std::iter::once(&mut seen.home).chain(seen.hops.iter_mut().filter_map(|hop| hop.as_mut().ok()));
            for list in lists {
                list.retain(|snapshot| {
                    !matches!(snapshot.status, Status::Failed | Status::Going) && owner().read(&snapshot.id, &snapshot.tags).is_some()
                });
                for snapshot in list {
                    snapshot.status = Status::Available;
                    snapshot.restorable_by.get_or_insert_default();
                }
            }
        }
        let taken = |id: &str| (1..=hops.len()).any(|place| seen.find(place, id).is_some_and(|copy| !copy.tags.contains_key(COPY_OF)));
        for (source, owned) in seen.own(&owner()) {
            if !taken(&source.id) {
                assert_eq!(owned.copied_to, owned.copy_to, "seed {seed}: {}", source.id);
                let shared = source.restorable_by.as_deref().unwrap_or_default();
                assert!(shared.is_empty() || owned.copy_to.is_empty(), "seed {seed}: {} is still shared", source.id);
            }
        }
        assert!(!seen.own(&owner()).is_empty(), "seed {seed}: there is a snapshot");
    }
}

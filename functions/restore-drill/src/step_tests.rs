//! The steps played against a small world that fails in every way, thousands of times: they always come to an end, leave nothing, and touch nothing else.

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use shared::snapshot::Owner;

use super::*;
use crate::identity::{DrillId, instance_id};

fn owner() -> Owner {
    Owner { stage: "dev".into(), instance: "app-db".into() }
}

fn plan(keep: bool, on_server: bool) -> Plan {
    let requested_at = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    let drill = DrillId::new(requested_at, "x");
    let aim = AimInstance {
        region: "eu-central-1".into(),
        id: instance_id(&owner(), &drill),
        class: "db.t4g.medium".into(),
        engine_version: "17.5".into(),
        subnet_group: "closed".into(),
        security_group: "sg-closed".into(),
        parameter_group: "quiet".into(),
        storage_gib: 20,
        master_user: "master".into(),
        production: None,
    };
    Plan {
        format: 1,
        drill,
        requested_at,
        source: Planned::Snapshot { arn: "arn".into(), id: "s".into(), data_at: requested_at },
        target: if on_server { Aim::Server { url_parameter: "/x".into() } } else { Aim::Instance(Box::new(aim)) },
        databases: None,
        migrations: None,
        freshness: None,
        keep,
        recovery_time_max_seconds: 3600,
        recovery_point_max_seconds: 3600,
        give_up_at: requested_at + TimeDelta::hours(6),
        expires_at: requested_at + TimeDelta::hours(8),
    }
}

/// RDS, the bucket and the clock, as far as steps know them.
struct World {
    observed: Observed,
    now: DateTime<Utc>,
    random: StdRng,
    touched_foreign: bool,
    worked_before_isolation: bool,
    databases: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let (keep, on_server) = (random.random_bool(0.2), random.random_bool(0.2));
        let plan = plan(keep && !on_server, on_server);
        let now = plan.requested_at;
        let mut observed = Observed { plan, owner: owner(), reached: BTreeSet::new(), instance: None, secret: false, reported: false };
        if !on_server && random.random_bool(0.1) {
            observed.instance =
                Some(Instance { id: aim(&observed.plan).expect("an aim").id.clone(), status: "available".into(), ..Instance::default() });
        }
        Self { observed, now, random, touched_foreign: false, worked_before_isolation: false, databases: false }
    }

    fn reach(&mut self, milestone: Milestone) {
        // A kill, or a refused write, after the deed.
        if !self.random.random_bool(0.15) {
            self.observed.reached.insert(milestone);
        }
    }

    fn is_mine(&self) -> bool {
        self.observed.instance.as_ref().is_some_and(|instance| instance.scratch.is_some())
    }

    fn mine(&mut self) -> Option<&mut Instance> {
        self.observed.instance.as_mut().filter(|instance| instance.scratch.is_some())
    }

    fn fresh(&mut self) -> Instance {
        let (plan, aim) = (&self.observed.plan, aim(&self.observed.plan).expect("an aim"));
        let exposed = self.random.random_bool(0.05);
        Instance {
            id: aim.id.clone(),
            status: "creating".into(),
            scratch: Some(Scratch { drill: plan.drill.clone(), expires_at: Some(plan.expires_at) }),
            security_groups: BTreeSet::from([aim.security_group.clone()]),
            subnet_group: aim.subnet_group.clone(),
            parameter_groups: vec![(aim.parameter_group.clone(), "in-sync".into())],
            public: exposed,
            backup_days: 7,
            engine_version: "17.5".into(),
            ..Instance::default()
        }
    }

    /// RDS goes on by itself; now and then something breaks.
    fn pass(&mut self) {
        self.now += TimeDelta::seconds(60);
        if self.random.random_bool(0.02) {
            self.now += TimeDelta::hours(self.random.random_range(-1..4));
        }
        let (ready, breaks, gone) = (self.random.random_bool(0.4), self.random.random_bool(0.01), self.random.random_bool(0.01));
        let Some(instance) = self.mine() else { return };
        match instance.status.as_str() {
            "deleting" if ready => self.observed.instance = None,
            "deleting" => {}
            _ if gone => self.observed.instance = None,
            _ if breaks => instance.status = "failed".into(),
            "creating" | "modifying" | "rebooting" if ready => instance.status = "available".into(),
            _ => {}
        }
    }

    fn take(&mut self, step: &Step) {
        if self.random.random_bool(0.1) {
            return; // refused, or killed before it did anything
        }
        let foreign = self.observed.instance.is_some() && !self.is_mine();
        self.touched_foreign |= foreign && matches!(step, Step::Harden | Step::Delete | Step::Reboot | Step::Promote | Step::Work | Step::KeepSecret);
        match step {
            Step::Create => {
                if self.observed.instance.is_none() {
                    let fresh = self.fresh();
                    self.observed.instance = Some(fresh);
                }
                self.reach(Milestone::Created);
            }
            Step::NoteAvailable => self.reach(Milestone::Available),
            Step::KeepSecret => self.observed.secret = true,
            Step::Harden => {
                if let Some(instance) = self.mine() {
                    (instance.backup_days, instance.status) = (0, "modifying".into());
                }
                self.reach(Milestone::Hardened);
            }
            Step::Reboot => {
                if let Some(instance) = self.mine() {
                    instance.status = "rebooting".into();
                }
            }
            Step::CheckIsolation => {
                let is_exposed = self
                    .observed
                    .instance
                    .as_ref()
                    .is_some_and(|instance| !exposures(instance, &self.observed.plan, aim(&self.observed.plan).expect("an aim")).is_empty());
                self.reach(if is_exposed { Milestone::Failed } else { Milestone::Isolated });
            }
            Step::Work => {
                self.worked_before_isolation |= aim(&self.observed.plan).is_some() && !self.observed.reached.contains(&Milestone::Isolated);
                self.databases = true;
                if self.random.random_bool(0.3) {
                    self.reach(Milestone::Worked);
                }
            }
            Step::Fail => self.reach(Milestone::Failed),
            Step::Judge => self.reach(Milestone::Judged),
            Step::WorkDown => {
                self.databases = false;
                self.reach(Milestone::Dropped);
            }
            Step::Delete => {
                if let Some(instance) = self.mine() {
                    instance.status = "deleting".into();
                }
            }
            Step::Promote => {
                if let Some(instance) = self.mine() {
                    instance.scratch = instance.scratch.clone().map(|scratch| Scratch { expires_at: None, ..scratch });
                }
                self.reach(Milestone::Promoted);
            }
            Step::ForgetSecret => self.observed.secret = false,
            Step::Report { .. } => self.observed.reported = true,
            Step::Close => self.reach(Milestone::Closed),
            Step::Wait | Step::Finished => {}
        }
    }
}

#[test]
fn whatever_happens_it_ends_tells_and_leaves_nothing() {
    for seed in 0..20_000 {
        let mut world = World::new(seed);
        let began_foreign = world.observed.instance.clone();
        let mut clean = None;
        let mut ended = false;
        for _ in 0..3_000 {
            let Decision { step, why } = next_step(&world.observed, world.now);
            assert!(!why.is_empty());
            if let Step::Report { clean: is_clean } = step {
                clean = Some(is_clean);
            }
            if step == Step::Finished {
                ended = true;
                break;
            }
            world.take(&step);
            world.pass();
        }
        assert!(ended, "seed {seed}: it does not end: {:#?}", world.observed);
        assert!(!world.touched_foreign, "seed {seed}: it touched what is not its own");
        assert!(!world.worked_before_isolation, "seed {seed}: it connected before the instance was seen to be cut off");
        let clean = clean.unwrap_or_else(|| panic!("seed {seed}: nobody was told"));
        assert!(world.observed.reached.contains(&Milestone::Judged), "seed {seed}: no result");
        if began_foreign.is_some() {
            assert_eq!(world.observed.instance, began_foreign, "seed {seed}");
        } else if let Some(left) = &world.observed.instance {
            let is_kept = left.scratch.as_ref().is_some_and(|scratch| scratch.expires_at.is_none());
            assert!(!clean || is_kept, "seed {seed}: {left:#?} is left, and the report says that nothing is");
            assert!(is_kept || left.status != "available" || world.now > world.observed.plan.give_up_at, "seed {seed}: {left:#?}");
        }
        assert!(!clean || !world.databases || aim(&world.observed.plan).is_some(), "seed {seed}: databases are left");
    }
}

#[test]
fn each_exposure_is_seen() {
    let mut world = World::new(3);
    world.observed.plan = plan(false, false);
    world.random = StdRng::seed_from_u64(1);
    let mut sound = world.fresh();
    (sound.public, sound.backup_days) = (false, 0);
    let (plan, aim) = (&world.observed.plan, aim(&world.observed.plan).expect("an aim"));
    assert_eq!(exposures(&sound, plan, aim), [""; 0]);
    let spoilt: [fn(&mut Instance); 9] = [
        |instance| instance.public = true,
        |instance| instance.security_groups.extend(["sg-open".to_owned()]),
        |instance| instance.security_groups.clear(),
        |instance| instance.subnet_group = "default".into(),
        |instance| instance.parameter_groups = vec![("default.postgres17".into(), "in-sync".into())],
        |instance| instance.parameter_groups[0].1 = "pending-reboot".into(),
        |instance| instance.backup_days = 1,
        |instance| instance.roles.extend(["arn:aws:iam::1:role/s3-import".to_owned()]),
        |instance| instance.engine_version = "16.9".into(),
    ];
    for (number, spoil) in spoilt.iter().enumerate() {
        let mut instance = sound.clone();
        spoil(&mut instance);
        assert_eq!(exposures(&instance, plan, aim).len(), 1, "{number}");
    }
}

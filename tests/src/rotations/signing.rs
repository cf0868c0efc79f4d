//! Rotation of signing keys in a model: instances of an application that read the value at different times, sign with what they know, and must accept what the
//! others signed.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::task::noop_waker_ref;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rotate_secret::hands::{Fence, Hands, Published};
use rotate_secret::identity::RotationId;
use rotate_secret::journal::{Journal, Purpose, Refresh};
use rotate_secret::keys::{ALONE, KeyHands, LiveKeys, SIGNS, Step, Target, rotate};
use rotate_secret::rotation::{Ask, Progress, Run};
use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};

use super::hands::Moment;

/// A value: the key that signs, and those that are accepted besides.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Keys {
    sign: String,
    verify: Vec<String>,
}

/// An instance of the application.
#[derive(Clone, Debug)]
struct Instance {
    told: bool,
    keys: Keys,
    /// The latest moment at which it reads the newest value.
    reads_by: Option<DateTime<Utc>>,
}

struct World {
    rng: StdRng,
    now: DateTime<Utc>,
    settle: TimeDelta,
    lifetime: TimeDelta,
    live: Vec<Keys>,
    journals: Vec<Journal>,
    instances: Vec<Instance>,
    /// What was signed, with what, when.
    signed: Vec<(String, DateTime<Utc>)>,
    incident: bool,
    faults: bool,
    /// A plain swap, as scripts do it.
    swaps: bool,
    made: u64,
    wrong: Option<String>,
}

struct KeysModel {
    world: Arc<Mutex<World>>,
    seen: Option<Keys>,
}

impl KeysModel {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nobody panics while holding the world")
    }

    async fn moment(&self) -> Result<(), Failure> {
        Moment::default().await;
        let mut world = self.world();
        if world.faults && world.rng.random_bool(0.05) { Err(Failure::new(FailureKind::Unreachable, "no answer")) } else { Ok(()) }
    }
}

impl Hands for KeysModel {
    fn now(&self) -> DateTime<Utc> {
        self.world().now
    }

    fn has_time(&self) -> bool {
        true
    }

    fn new_secret(&mut self) -> Result<SecretString, Failure> {
        let mut world = self.world();
        world.made += 1;
        Ok(SecretString::from(format!("key-{}", world.made)))
    }

    async fn fence(&mut self) -> Result<Fence, Failure> {
        self.moment().await.map(|()| Fence::Ours)
    }

    async fn journal(&mut self) -> Result<Option<Journal>, Failure> {
        self.moment().await?;
        Ok(self.world().journals.last().cloned())
    }

    async fn write_journal(&mut self, journal: &Journal) -> Result<(), Failure> {
        self.moment().await?;
        self.world().journals.push(journal.clone());
        self.moment().await
    }

    async fn begin_refresh(&mut self, _: &Journal) -> Result<Vec<Refresh>, Failure> {
        self.moment().await?;
        let world = self.world();
        let told = world.instances.iter().filter(|instance| instance.told);
        Ok(told.map(|_| Refresh { handle: None, begun_at: world.now, done_at: None }).collect())
    }

    async fn look_at_refresh(&mut self, begun: &mut [Refresh]) -> Result<Option<String>, Failure> {
        self.moment().await?;
        let mut world = self.world();
        let told: Vec<usize> = (0..world.instances.len()).filter(|at| world.instances[*at].told).collect();
        for (refresh, at) in begun.iter_mut().zip(told) {
            if refresh.done_at.is_none() && (!world.faults || world.rng.random_bool(0.5)) {
                world.read(at);
                refresh.done_at = Some(world.now);
            }
        }
        Ok(None)
    }
}

impl KeyHands for KeysModel {
    async fn live(&mut self, not_before: Option<&str>) -> Result<LiveKeys, Failure> {
        self.moment().await?;
        let (keys, version) = {
            let mut world = self.world();
            let stale = usize::from(world.faults && world.rng.random_bool(0.05));
            let at_least = not_before.map_or(1, |version| version.parse().expect("a number"));
            let version = (world.live.len() - stale).max(at_least).max(1);
            (world.live[version - 1].clone(), version)
        };
        self.seen = Some(keys.clone());
        Ok(LiveKeys { sign: SecretString::from(keys.sign), version: version.to_string() })
    }

    fn phase(&self, old: &SecretString, new: &SecretString) -> Option<u8> {
        let keys = self.seen.as_ref().expect("live was looked at");
        let (old, new) = (old.expose_secret().to_owned(), new.expose_secret().to_owned());
        let accepts = |key: &String| keys.verify.contains(key);
        if keys.sign == old {
            Some(u8::from(accepts(&new)))
        } else if keys.sign == new {
            Some(if accepts(&old) { SIGNS } else { ALONE })
        } else {
            None
        }
    }

    async fn publish(&mut self, phase: u8, old: &SecretString, new: &SecretString, _: &RotationId) -> Result<Published, Failure> {
        self.moment().await?;
        let (old, new) = (old.expose_secret().to_owned(), new.expose_secret().to_owned());
        let version = {
            let mut world = self.world();
            let phase = if world.swaps { ALONE } else { phase };
            world.live.push(match phase {
                1 => Keys { sign: old, verify: vec![new] },
                SIGNS => Keys { sign: new, verify: vec![old] },
                _ => Keys { sign: new, verify: Vec::new() },
            });
            let by = world.now + world.settle;
            for instance in &mut world.instances {
                if !instance.told {
                    instance.reads_by.get_or_insert(by);
                }
            }
            world.live.len()
        };
        self.moment().await?;
        Ok(Published { version: version.to_string(), overtaken: false })
    }
}

impl World {
    fn read(&mut self, at: usize) {
        self.instances[at].keys = self.live.last().expect("there is a value").clone();
        self.instances[at].reads_by = None;
    }

    fn pass(&mut self, time: TimeDelta) {
        let until = self.now + time;
        while self.now < until {
            let due = self.instances.iter().filter_map(|instance| instance.reads_by).min();
            self.now = due.filter(|due| *due < until).unwrap_or(until).max(self.now);
            for at in 0..self.instances.len() {
                if self.instances[at].reads_by.is_some_and(|by| by <= self.now) {
                    self.read(at);
                }
            }
            if due.is_none_or(|due| due >= until) {
                break;
            }
        }
    }

    /// An instance signs; then every instance is shown everything that is still valid.
    fn sign(&mut self) {
        let at = self.rng.random_range(0..self.instances.len());
        self.signed.push((self.instances[at].keys.sign.clone(), self.now));
        let (now, lifetime) = (self.now, self.lifetime);
        self.signed.retain(|(_, signed_at)| now - *signed_at < lifetime);
        if self.incident {
            return;
        }
        for instance in &self.instances {
            for (key, _) in &self.signed {
                if instance.keys.sign != *key && !instance.keys.verify.contains(key) {
                    self.wrong.get_or_insert(format!("what {key} signed is refused by an instance that has {:?}", instance.keys));
                }
            }
        }
    }
}

/// Plays the history of a seed; `swaps` makes it do what a plain script does, to see that the model notices.
///
/// # Errors
/// The first signature that was refused, or that it did not end.
pub fn signing_history(seed: u64, swaps: bool) -> Result<Option<Purpose>, String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let now = DateTime::from_timestamp(1_795_000_000, 0).expect("a time");
    let first = Keys { sign: "key-0".to_owned(), verify: Vec::new() };
    let instances: Vec<Instance> =
        (0..rng.random_range(1..5)).map(|_| Instance { told: rng.random_bool(0.7), keys: first.clone(), reads_by: None }).collect();
    // Where nobody is told, the definition's default is a day; where somebody is not, whoever wrote the definition must say how long they take.
    let settle = if instances.iter().all(|instance| instance.told) { TimeDelta::zero() } else { TimeDelta::hours(rng.random_range(1..30)) };
    let purpose = if rng.random_bool(0.1) { Purpose::Incident } else { Purpose::Rotation };
    let lifetime = TimeDelta::hours(rng.random_range(1..400));
    let target = Target { secret: "session".to_owned(), settle, lifetime };
    let world = Arc::new(Mutex::new(World {
        rng,
        now,
        settle,
        lifetime,
        live: vec![first],
        journals: Vec::new(),
        instances,
        signed: Vec::new(),
        incident: purpose != Purpose::Rotation,
        faults: true,
        swaps,
        made: 0,
        wrong: None,
    }));
    let held = || world.lock().expect("nobody panics while holding the world");
    let id = RotationId::new("session", now, &seed.to_string());
    for round in 0..200 {
        held().faults = round < 60;
        let ask = if round == 0 || held().journals.is_empty() { Ask::Begin(id.clone(), purpose) } else { Ask::GoOn };
        let mut hands = KeysModel { world: world.clone(), seen: None };
        let mut run: Pin<Box<dyn Future<Output = Result<Run<Step>, Failure>>>> = Box::pin(rotate(&mut hands, &target, &ask));
        let mut ended = None;
        for _ in 0..200 {
            let mut context = Context::from_waker(noop_waker_ref());
            if let Poll::Ready(result) = run.as_mut().poll(&mut context) {
                ended = Some(result);
                break;
            }
            let mut world = held();
            world.sign();
            if world.rng.random_bool(0.1) {
                let instances = world.instances.len();
                let at = world.rng.random_range(0..instances);
                world.read(at);
            }
            if world.faults && world.rng.random_bool(0.05) {
                break;
            }
        }
        drop(run);
        let mut world = held();
        if let Some(wrong) = &world.wrong {
            return Err(format!("seed {seed}: {wrong}"));
        }
        let closed = world.journals.last().is_some_and(|journal| !journal.is_open());
        if closed && let Some(Ok(Run { progress: Progress::Ended(_) | Progress::AlreadyEnded(_) | Progress::Nothing, .. })) = ended {
            return Ok(Some(purpose));
        }
        let hours = world.rng.random_range(0..20);
        world.pass(TimeDelta::hours(hours));
        world.sign();
    }
    Err(format!("seed {seed}: it does not end: {:?}", held().journals.last()))
}

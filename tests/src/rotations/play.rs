//! A history: runs begin, go on, freeze and die in any order, people and restores interfere; then it calms down, and everything must be well.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use chrono::TimeDelta;
use futures_util::task::noop_waker_ref;
use rand::RngExt;
use rotate_secret::identity::RotationId;
use rotate_secret::journal::{Outcome, Purpose};
use rotate_secret::plan::Waiting;
use rotate_secret::rotation::{Ask, Progress, Run, Target, rotate};
use shared::failure::Failure;

use super::hands::ModelHands;
use super::world::{Backend, Bug, RunState, Shared, Value, World};

/// What Lambda lets a run live.
const RUN_SECONDS: i64 = 120;

/// What many histories came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Histories.
    pub histories: u64,
    /// Runs.
    pub runs: u64,
    /// Runs that were killed.
    pub killed: u64,
    /// Runs that lay still while others went on.
    pub frozen: u64,
    /// Commits of runs that were dead.
    pub late_commits: u64,
    /// Rotations that ended with the new credential.
    pub done: u64,
    /// Rotations that ended with the old one.
    pub given_up: u64,
    /// Rotations that ended with somebody else's.
    pub superseded: u64,
    /// Incidents.
    pub incidents: u64,
    /// Histories in which an outsider changed what only we should.
    pub disturbed: u64,
}

struct Playing {
    run: usize,
    future: Pin<Box<dyn Future<Output = Result<Run, Failure>> + Send>>,
}

struct Play {
    world: Shared,
    target: Target,
    playing: Vec<Playing>,
    asked: u64,
    tally: Tally,
}

/// Plays the history of a seed; what was wrong, first of all.
///
/// # Errors
/// The first thing that was wrong, with the story that led to it.
pub fn history(seed: u64, bug: Option<Bug>, tally: &mut Tally) -> Result<(), String> {
    let violations = played(seed, bug, tally, false).0;
    if violations.is_empty() {
        return Ok(());
    }
    let (violations, story) = played(seed, bug, &mut Tally::default(), true);
    Err(format!("seed {seed}: {}\n{}", violations.join("\n"), story.join("\n")))
}

fn played(seed: u64, bug: Option<Bug>, tally: &mut Tally, told: bool) -> (Vec<String>, Vec<String>) {
    let mut world = World::new(seed, bug);
    if told {
        world.story.reserve(1_000);
    }
    let target = Target { secret: "shop".to_owned(), users: world.users.clone(), grace: world.grace, stop: None };
    let mut play = Play { world: Shared::new(world), target, playing: Vec::new(), asked: 0, tally: Tally::default() };
    let moments = play.world.lock().rng.random_range(20..160);
    for _ in 0..moments {
        play.moment();
        if !play.world.lock().violations.is_empty() {
            break;
        }
    }
    if play.world.lock().violations.is_empty() {
        play.calm();
    }
    let mut world = play.world.lock();
    tally.histories += 1;
    tally.disturbed += u64::from(world.disturbed);
    tally.incidents += u64::from(world.incident);
    for (sum, part) in [
        (&mut tally.runs, play.tally.runs),
        (&mut tally.killed, play.tally.killed),
        (&mut tally.frozen, play.tally.frozen),
        (&mut tally.late_commits, play.tally.late_commits),
        (&mut tally.done, play.tally.done),
        (&mut tally.given_up, play.tally.given_up),
        (&mut tally.superseded, play.tally.superseded),
    ] {
        *sum += part;
    }
    (std::mem::take(&mut world.violations), std::mem::take(&mut world.story))
}

impl Play {
    fn moment(&mut self) {
        let choice = {
            let mut world = self.world.lock();
            let in_flight = world.runs.iter().any(|run| run.in_flight.is_some());
            // A commit on its way is the moment to die in, and to come late.
            if in_flight && world.chance(0.4) { world.rng.random_range(68..75) } else { world.rng.random_range(0..100) }
        };
        match choice {
            0..60 => self.poll(),
            60..68 => {
                if self.playing.len() < 3 {
                    self.begin();
                }
            }
            68..71 => self.kill(),
            71..75 => self.dead_run(),
            75..78 => {
                // Long enough, at times, for whoever lies still to be taken for dead.
                let mut world = self.world.lock();
                let seconds = if world.chance(0.3) { world.rng.random_range(1..200_000) } else { world.rng.random_range(1..200) };
                world.now += TimeDelta::seconds(seconds);
                self.tally.frozen += self.playing.len() as u64;
            }
            78..84 => self.world.lock().replay(),
            84..97 => {
                let mut world = self.world.lock();
                let consumers = world.consumers.len();
                let at = world.rng.random_range(0..consumers);
                if world.chance(0.3) { world.restart(at) } else { world.log_in(at) }
            }
            _ => {
                let mut world = self.world.lock();
                if world.chance(0.2) {
                    world.interfere();
                }
            }
        }
    }

    fn begin(&mut self) {
        let ask = {
            let mut world = self.world.lock();
            let purpose = match world.rng.random_range(0..30) {
                0 => Purpose::Incident,
                1 => Purpose::IncidentNow,
                _ => Purpose::Rotation,
            };
            match world.rng.random_range(0..10) {
                0..4 => Ask::GoOn,
                4..6 => Ask::Begin(self.id(self.asked), purpose),
                _ => {
                    self.asked += 1;
                    Ask::Begin(self.id(self.asked), purpose)
                }
            }
        };
        self.start(ask);
    }

    fn id(&self, number: u64) -> RotationId {
        RotationId::new(&self.target.secret, chrono::DateTime::UNIX_EPOCH, &number.to_string())
    }

    fn start(&mut self, ask: Ask) {
        let run = {
            let mut world = self.world.lock();
            let alive_until = world.now + TimeDelta::seconds(RUN_SECONDS);
            world.runs.push(RunState { alive_until, backend: Backend::Gone, in_flight: None, ended: false });
            let run = world.runs.len() - 1;
            world.tell(|| format!("run {run} begins: {ask:?}"));
            run
        };
        self.tally.runs += 1;
        let mut hands = ModelHands { world: self.world.clone(), run, journal_version: 0 };
        let target = self.target.clone();
        self.playing.push(Playing { run, future: Box::pin(async move { rotate(&mut hands, &target, &ask).await }) });
    }

    fn poll(&mut self) {
        if self.playing.is_empty() {
            return;
        }
        let at = self.world.lock().rng.random_range(0..self.playing.len());
        self.poll_at(at);
    }

    /// One moment of a run; what it came to, if that was its last.
    fn poll_at(&mut self, at: usize) -> Option<Result<Run, Failure>> {
        let mut context = Context::from_waker(noop_waker_ref());
        let Poll::Ready(result) = self.playing[at].future.as_mut().poll(&mut context) else { return None };
        let run = self.playing.remove(at).run;
        let mut world = self.world.lock();
        world.tell(|| format!("run {run} ends: {result:?}"));
        world.runs[run].ended = true;
        world.end_backend(run);
        if let Ok(Run { progress: Progress::Ended(closed), .. }) = &result {
            match closed.outcome {
                Outcome::Done => self.tally.done += 1,
                Outcome::GivenUp => self.tally.given_up += 1,
                Outcome::Superseded => self.tally.superseded += 1,
            }
        }
        let late: Vec<(usize, Value)> = world.late.extract_if(.., |(late, _)| *late == run).collect();
        for (run, value) in late {
            world.judge_publication(run, &value);
        }
        drop(world);
        Some(result)
    }

    fn kill(&mut self) {
        if self.playing.is_empty() {
            return;
        }
        let at = {
            let mut world = self.world.lock();
            let any = world.rng.random_range(0..self.playing.len());
            // The worst moment is a commit on its way.
            let in_flight = self.playing.iter().position(|playing| world.runs[playing.run].in_flight.is_some());
            in_flight.filter(|_| world.chance(0.7)).unwrap_or(any)
        };
        let run = self.playing.remove(at).run;
        self.tally.killed += 1;
        let mut world = self.world.lock();
        world.runs[run].ended = true;
        let fate = world.rng.random_range(0..3);
        world.tell(|| format!("run {run} is killed; its backend: {fate}"));
        match fate {
            // Its server hears of it at once.
            0 => world.end_backend(run),
            // The commit was on its way.
            1 => {
                if world.runs[run].backend == Backend::There {
                    world.commit(run);
                }
                world.end_backend(run);
            }
            // Nobody tells the server.
            _ => {}
        }
    }

    /// The backend of a dead run commits what it was told to, or notices.
    fn dead_run(&mut self) {
        let mut world = self.world.lock();
        let left: Vec<usize> = (0..world.runs.len()).filter(|run| world.runs[*run].ended && world.runs[*run].backend == Backend::There).collect();
        let Some(run) = left.iter().copied().find(|run| world.runs[*run].in_flight.is_some()).or(left.first().copied()) else { return };
        if world.runs[run].in_flight.is_some() && world.chance(0.5) {
            self.tally.late_commits += 1;
            world.commit(run);
        } else {
            world.end_backend(run);
        }
    }

    /// Nothing fails any more: one invocation goes on with what is open; then time passes, until it is closed.
    fn calm(&mut self) {
        while !self.playing.is_empty() {
            self.kill();
        }
        self.pass(TimeDelta::seconds(RUN_SECONDS + 1));
        self.world.lock().faults = false;
        for round in 0..12 {
            self.start(Ask::GoOn);
            let result = loop {
                if let Some(result) = self.poll_at(0) {
                    break result;
                }
            };
            let mut world = self.world.lock();
            if !world.violations.is_empty() {
                return;
            }
            match result {
                Ok(Run { progress: Progress::Nothing | Progress::Ended(_), .. }) => {
                    world.judge_end();
                    return;
                }
                Ok(Run {
                    progress: Progress::Open { waiting: Waiting::Time | Waiting::Consumers | Waiting::Stragglers | Waiting::Server, .. },
                    ..
                }) => {}
                Ok(Run { progress: Progress::Open { waiting: Waiting::Person, .. }, .. }) if world.unfit || world.disturbed => return,
                other => {
                    world.violations.push(format!("it does not converge, in calm round {round}: {other:?}"));
                    return;
                }
            }
            drop(world);
            self.pass(TimeDelta::hours(13));
        }
        let journal = format!("{:?}", self.world.lock().journal());
        self.world.lock().violations.push(format!("it does not end: {journal}"));
    }

    /// Time passes, in which everybody who is not told starts again for reasons of their own.
    fn pass(&mut self, time: TimeDelta) {
        let mut world = self.world.lock();
        world.now += time;
        let last = world.commits.len() - 1;
        world.readers.fill(last);
        for at in 0..world.consumers.len() {
            world.restart(at);
        }
    }
}

impl World {
    /// People and restores.
    fn interfere(&mut self) {
        let what = self.rng.random_range(0..5);
        self.tell(|| format!("interference {what}"));
        match what {
            0 => {
                self.disturbed = true;
                self.live.push(Value { user: self.users[0].clone(), password: "a slip of the pen".to_owned() });
            }
            1 => {
                // Somebody else's user, who may log in.
                let person = Value { user: "person".to_owned(), password: "person's".to_owned() };
                let mut roles = self.writer().clone();
                roles.insert("person".to_owned(), super::world::RoleState { password: person.password.clone(), login: true, comment: None });
                self.commits.push(roles);
                let last = self.commits.len() - 1;
                self.readers.fill(last);
                self.live.push(person);
            }
            2 => {
                let at = self.rng.random_range(0..self.live.len());
                let old = self.live[at].clone();
                self.disturbed |= !self.admits_everywhere(&old);
                self.live.push(old);
            }
            3 => {
                self.disturbed = true;
                let at = self.rng.random_range(0..self.commits.len());
                let roles = self.commits[at].clone();
                self.commits.push(roles);
                let last = self.commits.len() - 1;
                self.readers.fill(last);
            }
            _ => {
                self.disturbed = true;
                let mut roles = self.writer().clone();
                let user = self.users[self.rng.random_range(0..self.users.len())].clone();
                "a thief's".clone_into(&mut roles.get_mut(&user).expect("a user").password);
                self.commits.push(roles);
            }
        }
    }
}

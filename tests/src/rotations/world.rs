//! What there is: roles on a writer and on readers that lag, versions of parameters, sessions, consumers, and the runs that act on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rotate_secret::journal::{Journal, Purpose};
use shared::secrets::ExposeSecret;

/// A defect that is put into the hands, to see that the oracle finds it: one per invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Another password is set than was written down.
    SetsAnother,
    /// The journal is said to be written, and is not.
    JournalNotWritten,
    /// Each try makes a password of its own.
    MakesAnother,
    /// The backend of a dead run is left alone.
    NoFence,
    /// Every proof says that it works.
    ProvesEverything,
    /// Nobody is ever seen to use the old user.
    SeesNoSessions,
    /// An older journal is read as if it were the newest, for ever.
    ForgetsTheJournal,
    /// Two runs have the lock.
    SharesTheLock,
    /// A publication happens after its run has ended.
    PublishesLate,
}

impl Bug {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::SetsAnother,
        Self::JournalNotWritten,
        Self::MakesAnother,
        Self::NoFence,
        Self::ProvesEverything,
        Self::SeesNoSessions,
        Self::ForgetsTheJournal,
        Self::SharesTheLock,
        Self::PublishesLate,
    ];

    /// The invariant that it breaks.
    pub const fn breaks(self) -> &'static str {
        match self {
            Self::SetsAnother => "I1",
            Self::JournalNotWritten => "I2",
            Self::MakesAnother => "I3",
            Self::ProvesEverything => "I4",
            Self::SeesNoSessions => "I5",
            Self::ForgetsTheJournal => "I6",
            Self::NoFence | Self::SharesTheLock => "I7",
            Self::PublishesLate => "I8",
        }
    }
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoleState {
    pub password: String,
    pub login: bool,
    pub comment: Option<String>,
}

/// All roles, as one commit left them.
pub(super) type Roles = BTreeMap<String, RoleState>;

/// A version of the live value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub user: String,
    pub password: String,
}

/// A transaction that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub user: String,
    pub role: RoleState,
    /// Whether it sets a password that a rotation made, and not the old one or none.
    pub sets_password: bool,
}

/// The server's side of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    /// None yet, or ended.
    Gone,
    /// There; its client may be dead.
    There,
}

/// An invocation.
#[derive(Clone, Debug)]
pub(super) struct RunState {
    pub alive_until: DateTime<Utc>,
    pub backend: Backend,
    pub in_flight: Option<Change>,
    /// Whether its process has ended: by itself or killed.
    pub ended: bool,
}

/// Something that reads the live value and logs in with it.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    /// Whether it is told of a new value, or reads it when it happens to start again.
    pub told: bool,
    pub credential: Value,
    /// With what it is logged in, and since when.
    pub session: Option<(Value, DateTime<Utc>)>,
    /// Whether what it read was a value that never worked.
    pub misled: bool,
}

/// Everything.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct World {
    pub rng: StdRng,
    pub now: DateTime<Utc>,
    pub users: Vec<String>,
    pub grace: TimeDelta,
    pub live: Vec<Value>,
    pub journals: Vec<Journal>,
    /// States of the writer, one after the other; the last is how it is.
    pub commits: Vec<Roles>,
    /// How far each reader is.
    pub readers: Vec<usize>,
    pub lock: Option<usize>,
    pub runs: Vec<RunState>,
    pub consumers: Vec<Consumer>,
    /// Whether something lacks a privilege.
    pub unfit: bool,
    pub generated: u64,
    /// Passwords that were read back from the journal.
    pub read_back: BTreeSet<String>,
    /// Whether an outsider changed what only we should: then no login is promised until it is made good.
    pub disturbed: bool,
    /// Whether an incident locks people out on purpose.
    pub incident: bool,
    /// Whether calls fail at random.
    pub faults: bool,
    pub bug: Option<Bug>,
    /// Publications that a defect leaves for after the run.
    pub late: Vec<(usize, Value)>,
    /// What the oracle has to say.
    pub violations: Vec<String>,
    /// What happened, in words.
    pub story: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = DateTime::from_timestamp(1_795_000_000, 0).expect("a time");
        let users: Vec<String> = if rng.random_bool(0.7) { vec!["a".to_owned(), "b".to_owned()] } else { vec!["one".to_owned()] };
        let roles: Roles = users
            .iter()
            .enumerate()
            .map(|(at, user)| (user.clone(), RoleState { password: format!("first-{user}"), login: at == 0 || rng.random_bool(0.5), comment: None }))
            .collect();
        let first = Value { user: users[0].clone(), password: format!("first-{}", users[0]) };
        let readers = vec![0; rng.random_range(0..3)];
        let consumers = (0..rng.random_range(1..4))
            .map(|_| Consumer { told: rng.random_bool(0.7), credential: first.clone(), session: Some((first.clone(), now)), misled: false })
            .collect();
        let grace = TimeDelta::hours(if rng.random_bool(0.5) { 0 } else { 24 });
        let unfit = rng.random_bool(0.05);
        Self {
            rng,
            now,
            users,
            grace,
            live: vec![first],
            journals: Vec::new(),
            commits: vec![roles],
            readers,
            lock: None,
            runs: Vec::new(),
            consumers,
            unfit,
            generated: 0,
            read_back: BTreeSet::new(),
            disturbed: false,
            incident: false,
            faults: true,
            bug,
            late: Vec::new(),
            violations: Vec::new(),
            story: Vec::new(),
        }
    }

    pub(super) fn pair(&self) -> bool {
        self.users.len() == 2
    }

    pub(super) fn writer(&self) -> &Roles {
        self.commits.last().expect("there is a first state")
    }

    pub(super) fn newest(&self) -> &Value {
        self.live.last().expect("there is a first value")
    }

    pub(super) fn journal(&self) -> Option<&Journal> {
        self.journals.last()
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.rng.random_bool(share)
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        // Only what is looked at is worth the time: a history is played again for its story.
        if self.story.capacity() > 0 {
            let line = format!("{} {}", self.now.format("%d %H:%M:%S"), what());
            self.story.push(line);
        }
    }

    /// Ends a backend; what it had not committed is undone. Its lock goes with it.
    pub(super) fn end_backend(&mut self, run: usize) {
        self.runs[run].backend = Backend::Gone;
        self.runs[run].in_flight = None;
        if self.lock == Some(run) {
            self.lock = None;
        }
    }

    /// A transaction becomes what the writer is.
    pub(super) fn commit(&mut self, run: usize) {
        if let Some(change) = self.runs[run].in_flight.take() {
            self.tell(|| format!("commit of run {run}: {} is {:?}", change.user, change.role));
            self.judge_commit(run, &change);
            let mut roles = self.writer().clone();
            roles.insert(change.user, change.role);
            self.commits.push(roles);
            self.judge_state();
        }
    }

    /// Whether a server lets somebody in.
    pub(super) fn admits(roles: &Roles, value: &Value) -> bool {
        roles.get(&value.user).is_some_and(|role| role.login && role.password == value.password)
    }

    pub(super) fn admits_everywhere(&self, value: &Value) -> bool {
        Self::admits(self.writer(), value) && self.readers.iter().all(|at| Self::admits(&self.commits[*at], value))
    }

    /// A consumer starts again: reads the live value, and logs in with it.
    pub(super) fn restart(&mut self, at: usize) {
        let newest = self.newest().clone();
        self.consumers[at].credential = newest;
        self.consumers[at].session = None;
        self.log_in(at);
    }

    /// A consumer logs in, on the writer or on a reader.
    pub(super) fn log_in(&mut self, at: usize) {
        let value = self.consumers[at].credential.clone();
        let server = self.rng.random_range(0..=self.readers.len());
        let roles = if server == 0 { self.writer() } else { &self.commits[self.readers[server - 1]] };
        if Self::admits(roles, &value) {
            self.consumers[at].session = Some((value, self.now));
        } else {
            self.judge_refusal(at, &value);
        }
    }

    /// The sessions of a user, in words.
    pub(super) fn sessions_of(&self, user: &str, before: Option<DateTime<Utc>>) -> Vec<String> {
        let of = |consumer: &Consumer| {
            consumer.session.as_ref().is_some_and(|(value, since)| value.user == user && before.is_none_or(|before| *since < before))
        };
        self.consumers.iter().enumerate().filter(|(_, consumer)| of(consumer)).map(|(at, _)| format!("consumer {at}")).collect()
    }

    pub(super) fn is_incident(&self) -> bool {
        self.journal().is_some_and(|journal| journal.is_open() && journal.purpose != Purpose::Rotation)
    }
}

/// A password that a journal keeps.
pub(super) fn kept(secret: Option<&rotate_secret::journal::Kept>) -> Option<String> {
    secret.map(|kept| kept.0.expose_secret().to_owned())
}

/// The world, as many may hold it.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("nobody panics while holding the world")
    }
}

//! The product's hands in the model. Each call is a moment before, the effect, and a moment after; in each moment others act, and the run may end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use rotate_secret::hands::{Credential, DatabaseHands, Fence, Hands, LiveValue, Published, Role};
use rotate_secret::journal::{Journal, Kept, Refresh};
use rotate_secret::plan::{Death, Proof};
use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};

use super::world::{Backend, Bug, Change, RoleState, Shared, Value, World, kept};

/// What a call needs at most; a run that has less left begins no step.
const STEP_SECONDS: i64 = 20;

/// Hands of one run.
pub(super) struct ModelHands {
    pub world: Shared,
    pub run: usize,
    /// The version of the journal that was read or written last.
    pub journal_version: usize,
}

/// Lets others act.
#[derive(Default)]
pub(super) struct Moment(bool);

impl Future for Moment {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn failed(what: &str) -> Failure {
    Failure::new(FailureKind::Unreachable, what)
}

impl ModelHands {
    /// Before a call: it may not even begin.
    async fn begin(&self, what: &str) -> Result<(), Failure> {
        Moment::default().await;
        let mut world = self.world.lock();
        let took = TimeDelta::milliseconds(world.rng.random_range(0..800));
        world.now += took;
        let run = self.run;
        world.tell(|| format!("run {run}: {what}"));
        if world.faults && world.chance(0.03) { Err(failed("no answer")) } else { Ok(()) }
    }

    /// After a call: its answer may be lost.
    async fn end(&self) -> Result<(), Failure> {
        Moment::default().await;
        let mut world = self.world.lock();
        if world.faults && world.chance(0.03) { Err(failed("the answer was lost")) } else { Ok(()) }
    }

    /// A call to the database.
    async fn begin_sql(&self, what: &str) -> Result<(), Failure> {
        self.begin(what).await?;
        if self.world.lock().runs[self.run].backend == Backend::There { Ok(()) } else { Err(failed("the session was ended")) }
    }

    /// A write to AWS: not after the time at which the process is taken to be dead.
    async fn begin_write(&self, what: &str) -> Result<(), Failure> {
        self.begin(what).await?;
        let world = self.world.lock();
        if world.now < world.runs[self.run].alive_until { Ok(()) } else { Err(failed("the invocation is over")) }
    }

    async fn change(&self, change: Change) -> Result<(), Failure> {
        self.begin_sql("change").await?;
        self.world.lock().runs[self.run].in_flight = Some(change);
        Moment::default().await;
        {
            let mut world = self.world.lock();
            if world.runs[self.run].backend != Backend::There {
                return Err(failed("the session was ended"));
            }
            world.commit(self.run);
        }
        self.end().await
    }
}

fn value(credential: &Credential) -> Value {
    Value { user: credential.user.clone(), password: credential.password.expose_secret().to_owned() }
}

impl World {
    /// Readers follow the writer, each at its pace.
    pub(super) fn replay(&mut self) {
        let last = self.commits.len() - 1;
        for at in 0..self.readers.len() {
            let to = self.rng.random_range(self.readers[at]..=last);
            self.readers[at] = to;
        }
    }

    fn fence(&mut self, run: usize) -> Fence {
        if let Some(holder) = self.lock.filter(|holder| *holder != run) {
            if self.bug == Some(Bug::NoFence) || self.bug == Some(Bug::SharesTheLock) {
                // The lock changes hands, and the other backend stays.
            } else if self.now > self.runs[holder].alive_until || (self.runs[holder].ended && self.chance(0.5)) {
                if self.chance(0.5) {
                    self.commit(holder);
                }
                self.end_backend(holder);
            } else {
                return Fence::Busy(format!("run {holder}"));
            }
        }
        self.lock = Some(run);
        self.runs[run].backend = Backend::There;
        Fence::Ours
    }
}

impl Hands for ModelHands {
    fn now(&self) -> DateTime<Utc> {
        self.world.lock().now
    }

    fn has_time(&self) -> bool {
        let world = self.world.lock();
        world.now + TimeDelta::seconds(STEP_SECONDS) < world.runs[self.run].alive_until
    }

    fn new_secret(&mut self) -> Result<SecretString, Failure> {
        let mut world = self.world.lock();
        world.generated += 1;
        world.judge_new_password(self.run);
        Ok(SecretString::from(format!("new-{}", world.generated)))
    }

    async fn fence(&mut self) -> Result<Fence, Failure> {
        self.begin("take the lock").await?;
        let fence = self.world.lock().fence(self.run);
        self.end().await?;
        Ok(fence)
    }

    async fn journal(&mut self) -> Result<Option<Journal>, Failure> {
        self.begin("read the journal").await?;
        let journal = {
            let mut world = self.world.lock();
            let stale = world.faults && world.chance(0.05);
            if world.bug == Some(Bug::ForgetsTheJournal) {
                None
            } else if world.bug == Some(Bug::MakesAnother) && world.journal().is_some_and(Journal::is_open) {
                world.generated += 1;
                let mut journal = world.journal().expect("just seen").clone();
                let password = format!("new-{}", world.generated);
                world.read_back.insert(password.clone());
                journal.pending = Some(Kept(SecretString::from(password)));
                world.judge_journal(&journal, false);
                world.journals.push(journal.clone());
                Some(journal)
            } else {
                let version = world.journals.len().saturating_sub(usize::from(stale));
                self.journal_version = version;
                version.checked_sub(1).and_then(|at| world.journals.get(at)).cloned()
            }
        };
        self.end().await?;
        // What was read is stored, and can be decrypted.
        if let Some(password) = kept(journal.as_ref().and_then(|journal| journal.pending.as_ref())) {
            self.world.lock().read_back.insert(password);
        }
        Ok(journal)
    }

    async fn write_journal(&mut self, journal: &Journal) -> Result<(), Failure> {
        self.begin_write("write the journal").await?;
        if self.world.lock().bug == Some(Bug::JournalNotWritten) {
            return Ok(());
        }
        let overtaken = {
            let mut world = self.world.lock();
            let overtaken = self.journal_version != world.journals.len() && world.bug != Some(Bug::ForgetsTheJournal);
            world.judge_journal(journal, overtaken);
            world.journals.push(journal.clone());
            self.journal_version = world.journals.len();
            let open = journal.is_open();
            if open && journal.purpose != rotate_secret::journal::Purpose::Rotation {
                world.incident = true;
            }
            overtaken
        };
        self.end().await?;
        if overtaken {
            // What was read before was not the newest: the newest, which the new version has covered, is put back.
            self.begin_write("put the journal back").await?;
            let mut world = self.world.lock();
            let covered = world.journals[self.journal_version - 2].clone();
            world.journals.push(covered);
            return Err(failed("another journal was written meanwhile"));
        }
        self.begin("read the journal back").await?;
        let mut world = self.world.lock();
        if world.journal() != Some(journal) {
            return Err(failed("another journal was read back"));
        }
        if let Some(password) = kept(journal.pending.as_ref()) {
            world.read_back.insert(password);
        }
        Ok(())
    }

    async fn begin_refresh(&mut self, _: &Journal) -> Result<Vec<Refresh>, Failure> {
        self.begin_write("tell the consumers").await?;
        let world = self.world.lock();
        let told = world.consumers.iter().filter(|consumer| consumer.told);
        Ok(told.map(|_| Refresh { handle: None, begun_at: world.now, done_at: None }).collect())
    }

    async fn look_at_refresh(&mut self, begun: &mut [Refresh]) -> Result<Option<String>, Failure> {
        self.begin("look at the consumers").await?;
        let mut world = self.world.lock();
        let told: Vec<usize> = (0..world.consumers.len()).filter(|at| world.consumers[*at].told).collect();
        for (refresh, at) in begun.iter_mut().zip(told) {
            if refresh.done_at.is_none() && (!world.faults || world.chance(0.5)) {
                world.restart(at);
                refresh.done_at = Some(world.now);
            }
        }
        Ok((world.faults && world.chance(0.05)).then(|| "a deployment failed".to_owned()))
    }
}

impl DatabaseHands for ModelHands {
    async fn live(&mut self, not_before: Option<&str>) -> Result<LiveValue, Failure> {
        self.begin("read the live value").await?;
        let live = {
            let mut world = self.world.lock();
            let newest = world.live.len();
            let stale = world.faults && world.chance(0.05);
            let at_least = not_before.map_or(1, |version| version.parse().expect("a number"));
            let version = if stale { newest.saturating_sub(1).max(at_least).max(1) } else { newest };
            let Value { user, password } = world.live[version - 1].clone();
            LiveValue { credential: Credential { user, password: SecretString::from(password) }, version: version.to_string() }
        };
        self.end().await?;
        Ok(live)
    }

    async fn publish(&mut self, credential: &Credential, from: &LiveValue, _: &Journal) -> Result<Published, Failure> {
        self.begin_write("publish").await?;
        let published = {
            let mut world = self.world.lock();
            if world.bug == Some(Bug::PublishesLate) {
                let run = self.run;
                world.late.push((run, value(credential)));
                return Ok(Published { version: world.live.len().to_string(), overtaken: false });
            }
            world.judge_publication(self.run, &value(credential));
            world.live.push(value(credential));
            world.judge_state();
            let version = world.live.len();
            Published { version: version.to_string(), overtaken: from.version.parse::<usize>().expect("a number") + 1 != version }
        };
        self.end().await?;
        Ok(published)
    }

    async fn prepare(&mut self, _: &Credential, _: &Journal) -> Result<(), Failure> {
        self.begin("prepare the publication").await
    }

    async fn role(&mut self, user: &str) -> Result<Option<Role>, Failure> {
        self.begin_sql("look at a role").await?;
        let role = {
            let world = self.world.lock();
            world.writer().get(user).map(|role| Role { comment: role.comment.clone() })
        };
        self.end().await?;
        Ok(role)
    }

    async fn set_password(&mut self, credential: &Credential, comment: &str) -> Result<(), Failure> {
        let Value { user, mut password } = value(credential);
        let sets_password = password.starts_with("new-") && comment.ends_with(']') && !comment.ends_with("undone]");
        if self.world.lock().bug == Some(Bug::SetsAnother) {
            password.push('x');
        }
        self.change(Change { user, role: RoleState { password, login: true, comment: Some(comment.to_owned()) }, sets_password }).await
    }

    async fn retire(&mut self, user: &str, comment: &str) -> Result<(), Failure> {
        self.world.lock().judge_retirement(user);
        let role = RoleState { password: "nobody knows".to_owned(), login: false, comment: Some(comment.to_owned()) };
        self.change(Change { user: user.to_owned(), role, sets_password: false }).await
    }

    async fn sessions(&mut self, user: &str, before: Option<DateTime<Utc>>) -> Result<Vec<String>, Failure> {
        self.begin_sql("count sessions").await?;
        let sessions = {
            let world = self.world.lock();
            if world.bug == Some(Bug::SeesNoSessions) { Vec::new() } else { world.sessions_of(user, before) }
        };
        self.end().await?;
        Ok(sessions)
    }

    async fn end_sessions(&mut self, user: &str, before: Option<DateTime<Utc>>) -> Result<(), Failure> {
        self.begin_sql("end sessions").await?;
        for consumer in &mut self.world.lock().consumers {
            consumer.session.take_if(|(value, since)| value.user == user && before.is_none_or(|before| *since < before));
        }
        self.end().await
    }

    async fn prove(&mut self, credential: &Credential, takes_over_from: Option<&str>) -> Result<Proof, Failure> {
        self.begin("log in everywhere").await?;
        let value = value(credential);
        let proof = {
            let mut world = self.world.lock();
            if world.faults && world.chance(0.1) {
                world.replay();
            } else {
                // What a bounded wait for readers is for.
                let last = world.commits.len() - 1;
                world.readers.fill(last);
            }
            let role = world.writer().get(&value.user).cloned();
            if world.bug == Some(Bug::ProvesEverything) {
                Proof::Works
            } else if world.faults && world.chance(0.03) {
                Proof::Unknown("no answer".to_owned())
            } else if role.as_ref().is_none_or(|role| role.password != value.password) {
                Proof::WrongPassword
            } else if role.is_some_and(|role| !role.login) {
                Proof::Unfit("may not log in".to_owned())
            } else if takes_over_from.is_some() && world.unfit {
                Proof::Unfit("lacks a privilege".to_owned())
            } else if world.admits_everywhere(&value) {
                Proof::Works
            } else {
                Proof::NotEverywhere("a reader lags".to_owned())
            }
        };
        self.end().await?;
        Ok(proof)
    }

    async fn prove_death(&mut self, credential: &Credential) -> Result<Death, Failure> {
        self.begin("prove the death").await?;
        let value = value(credential);
        let death = {
            let mut world = self.world.lock();
            world.replay();
            if World::admits(world.writer(), &value) {
                Death::AliveOnWriter
            } else if world.readers.iter().any(|at| World::admits(&world.commits[*at], &value)) {
                Death::NotSeenEverywhere("a reader lags".to_owned())
            } else {
                Death::Everywhere
            }
        };
        self.end().await?;
        Ok(death)
    }
}

//! What must hold, whatever the product thinks: looked at with each effect, on the bare state. It knows no plan, no step and no mark.

use rotate_secret::journal::{Outcome, Purpose};

use super::world::{Backend, Change, Value, World, kept};

impl World {
    fn violated(&mut self, invariant: &str, what: impl FnOnce(&Self) -> String) {
        let text = format!("{invariant}: {}", what(self));
        self.tell(|| format!("!! {text}"));
        self.violations.push(text);
    }

    /// I1: whoever the live value names can log in with something that is written down. With a pair: with the live value itself.
    pub(super) fn judge_state(&mut self) {
        if self.disturbed || self.incident {
            return;
        }
        let live = self.newest().clone();
        let works = Self::admits(self.writer(), &live);
        if self.pair() {
            if !works {
                self.violated("I1", |world| format!("the live value {live:?} does not log in: {:?}", world.writer()));
            }
            return;
        }
        let written = self.journal().map(|journal| [kept(journal.pending.as_ref()), kept(journal.previous.as_ref())]).unwrap_or_default();
        let some = works || written.into_iter().flatten().any(|password| Self::admits(self.writer(), &Value { user: live.user.clone(), password }));
        if !some {
            self.violated("I1", |world| format!("nothing that is written down logs in as {}: {:?}", live.user, world.writer()));
        }
    }

    /// With a pair, nobody is refused who has what was given out; but for an incident, which is there to refuse.
    pub(super) fn judge_refusal(&mut self, at: usize, value: &Value) {
        if self.pair() && !self.disturbed && !self.incident && !self.consumers[at].misled {
            self.violated("login", |world| format!("consumer {at} is refused with {value:?}: {:?}", world.writer()));
        }
    }

    /// I2, I7: what reaches the database was written down and read back, and comes from the one run that may act.
    pub(super) fn judge_commit(&mut self, run: usize, change: &Change) {
        if change.sets_password && !self.read_back.contains(&change.role.password) {
            self.violated("I2", |_| format!("the password of {} was set before it was read back", change.user));
        }
        if self.lock != Some(run) {
            self.violated("I7", |world| format!("run {run} commits while {:?} holds the lock", world.lock));
        }
    }

    /// I3: while a commit is in doubt, no password is made.
    pub(super) fn judge_new_password(&mut self, run: usize) {
        let in_doubt =
            self.runs.iter().enumerate().any(|(other, state)| other != run && state.backend == Backend::There && state.in_flight.is_some());
        if in_doubt {
            self.violated("I3", |_| "a password is made while a commit is in doubt".to_owned());
        }
    }

    /// I3 and I6: what the journal held is not lost while it may be needed, and an open rotation is not replaced by another; but for an `overtaken` writing,
    /// which Parameter Store cannot prevent (it has no compare-and-swap) and which must be undone at once.
    pub(super) fn judge_journal(&mut self, new: &rotate_secret::journal::Journal, overtaken: bool) {
        let Some(old) = self.journal().cloned() else { return };
        if !overtaken && old.is_open() && old.rotation != new.rotation {
            self.violated("I6", |_| format!("{} takes the place of {}, which is open", new.rotation, old.rotation));
        }
        let (Some(pending), Some(user)) = (kept(old.pending.as_ref()), old.user.clone()) else { return };
        if kept(new.pending.as_ref()).is_some_and(|still| still == pending) || self.disturbed {
            return;
        }
        let lost = Value { user, password: pending };
        let live = self.newest().clone();
        let needed = lost.user == live.user && lost != live;
        if needed && Self::admits(self.writer(), &lost) {
            self.violated("I3", |_| format!("the only password that works for {} leaves the journal", lost.user));
        }
        let late = self
            .runs
            .iter()
            .any(|run| run.backend == Backend::There && run.in_flight.as_ref().is_some_and(|change| change.role.password == lost.password));
        if needed && late {
            self.violated("I3", |_| format!("a password of {} leaves the journal that may still be committed", lost.user));
        }
    }

    /// I4 and I8: what is given out works on every server, and is given out by a run that lives.
    pub(super) fn judge_publication(&mut self, run: usize, value: &Value) {
        if self.runs[run].ended {
            self.violated("I8", |_| format!("run {run} publishes after its end"));
        }
        if !self.disturbed && !self.admits_everywhere(value) {
            self.violated("I4", |world| format!("{value:?} is given out and does not log in everywhere: {:?}", world.writer()));
        }
        if self.unfit && self.pair() && value.user != self.newest().user {
            self.violated("I4", |_| format!("{} is given out and lacks a privilege", value.user));
        }
    }

    /// I5: who is retired is used by nobody, but in an incident.
    pub(super) fn judge_retirement(&mut self, user: &str) {
        if self.is_incident() || self.disturbed {
            return;
        }
        let is_in_use = self.consumers.iter().any(|consumer| consumer.session.as_ref().is_some_and(|(value, _)| value.user == user));
        let waiting = self.consumers.iter().any(|consumer| consumer.told && consumer.credential.user == user && !consumer.misled);
        if is_in_use || waiting || self.newest().user == user {
            self.violated("I5", |world| format!("{user} is retired and in use: {:?}", world.consumers));
        }
    }
}

impl World {
    /// When nothing is open any more: everybody can log in, no secret is left in the journal, and an incident has thrown everybody out.
    pub(super) fn judge_end(&mut self) {
        // Readers have the time that they need.
        let last = self.commits.len() - 1;
        self.readers.fill(last);
        let live = self.newest().clone();
        if !self.disturbed && !self.admits_everywhere(&live) {
            self.violated("end", |world| format!("nothing is open, and the live value {live:?} does not log in: {:?}", world.writer()));
        }
        let Some(journal) = self.journal().cloned() else { return };
        if journal.pending.is_some() || journal.previous.is_some() {
            self.violated("end", |_| "a closed journal keeps secrets".to_owned());
        }
        let dead = journal.closed.is_some_and(|closed| closed.outcome == Outcome::Done);
        let Some(old_user) = journal.old_user.filter(|_| dead && !self.disturbed) else { return };
        if journal.user.as_ref() != Some(&old_user) && self.writer().get(&old_user).is_some_and(|role| role.login) {
            self.violated("end", |_| format!("{old_user} was replaced and may still log in"));
        }
        let since = journal.published_at.filter(|_| journal.purpose != Purpose::Rotation);
        let left = since.map(|since| self.sessions_of(&old_user, Some(since))).unwrap_or_default();
        if !left.is_empty() {
            self.violated("end", |_| format!("after an incident {left:?} is still there as {old_user}"));
        }
    }
}

//! Statements that wait for each other, several at a time: which may begin is decided as `pg_restore -j` does it (`get_next_work_item`), the heaviest first.
//!
//! A statement is started only where everything it waits for has happened, and no other is running that wants the same table for itself. Those that are
//! running when the time is over are left to their backends, and found again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared_postgres::Connection;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Place;
use crate::ledger;
use crate::statement::{self, Outcome, Refusal, Statement};

/// How often a statement is begun that was neither refused nor finished.
const TRIES_MAX: usize = 3;
/// How often it is looked whether a statement of an earlier call has ended.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A statement that waits for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub id: i32,
    /// What it is, for a person.
    pub what: String,
    pub statement: Statement,
    /// What must have happened.
    pub waits: Vec<i32>,
    /// Tables that it uses.
    pub tables: Vec<i32>,
    /// Whether it wants them for itself.
    pub is_exclusive: bool,
    /// The heaviest begins first.
    pub weight: u64,
    /// What it is when it cannot be done.
    pub loss: FindingKind,
}

/// Where an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Waiting,
    Running,
    Done,
    /// Refused, given up, or left out because of another.
    Lost,
}

/// Whether two may not run at the same time (`has_lock_conflicts`).
fn conflict(one: &Item, other: &Item) -> bool {
    (one.is_exclusive || other.is_exclusive) && one.tables.iter().any(|table| other.tables.contains(table))
}

/// The item to begin next. What is no item need not be waited for: it was there before.
fn next(items: &[Item], stands: &[Stand], places: &HashMap<i32, usize>) -> Option<usize> {
    let running: Vec<&Item> = items.iter().zip(stands).filter(|(_, stand)| **stand == Stand::Running).map(|(item, _)| item).collect();
    let may_begin = |item: &Item| {
        item.waits.iter().all(|id| places.get(id).is_none_or(|place| stands[*place] == Stand::Done))
            && !running.iter().any(|other| conflict(item, other))
    };
    let waiting = (0..items.len()).filter(|place| stands[*place] == Stand::Waiting && may_begin(&items[*place]));
    waiting.max_by_key(|place| (items[*place].weight, std::cmp::Reverse(*place)))
}

/// Runs what is not in the ledger. Whether all of it has happened, or will not.
///
/// # Errors
/// When the server cannot be reached.
pub(super) async fn run_all(place: &Place<'_>, control: &mut Connection, items: &[Item], until: Instant) -> Result<bool, Failure> {
    // First who is running, then what has happened: who ends in between is in the ledger.
    let sessions = statement::sessions(control, place.job.drill).await?;
    let done = ledger::read(control).await?;
    let mut work = Work::new(place, items, &done);
    for session in sessions.iter().filter(|session| session.is_active) {
        work.adopt(&session.key);
    }
    work.run(control, until).await
}

struct Work<'a> {
    place: &'a Place<'a>,
    items: &'a [Item],
    places: HashMap<i32, usize>,
    stands: Vec<Stand>,
    tries: Vec<usize>,
    /// Running in backends of an earlier call.
    adopted: BTreeSet<usize>,
    idle: Vec<Connection>,
    opened: usize,
    /// Whether something was lost since it was last looked who waits for it.
    lost_more: bool,
}

impl<'a> Work<'a> {
    fn new(place: &'a Place<'a>, items: &'a [Item], done: &BTreeMap<String, Value>) -> Self {
        let lost = super::stock::left_out(done);
        let stand = |item: &Item| {
            if done.contains_key(&item.statement.step) {
                Stand::Done
            } else if lost.contains(&item.id) || done.contains_key(&format!("failed {}", item.statement.step)) {
                Stand::Lost
            } else {
                Stand::Waiting
            }
        };
        let tries = |item: &Item| (1..=TRIES_MAX).take_while(|number| done.contains_key(&format!("try {number} of {}", item.statement.step))).count();
        Self {
            place,
            items,
            places: items.iter().enumerate().map(|(place, item)| (item.id, place)).collect(),
            stands: items.iter().map(stand).collect(),
            tries: items.iter().map(tries).collect(),
            adopted: BTreeSet::new(),
            idle: Vec::new(),
            opened: 0,
            lost_more: true,
        }
    }

    fn adopt(&mut self, key: &str) {
        let place = (0..self.items.len()).find(|place| self.items[*place].statement.key == key && self.stands[*place] == Stand::Waiting);
        if let Some(place) = place {
            self.stands[place] = Stand::Running;
            self.adopted.insert(place);
        }
    }

    async fn run(&mut self, control: &mut Connection, until: Instant) -> Result<bool, Failure> {
        let mut running = FuturesUnordered::new();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.lose_what_waits_for_the_lost(control).await?;
            while running.len() + self.adopted.len() < self.place.job.connections.max(1) && Instant::now() < until {
                let Some(place) = next(self.items, &self.stands, &self.places) else { break };
                if self.tries[place] >= TRIES_MAX {
                    let why = format!("it was begun {TRIES_MAX} times, and neither ended nor was refused");
                    self.lose(control, place, &why, "look at the server's log: it may have run out of memory or disk, or was ended by somebody")
                        .await?;
                    continue;
                }
                let connection = if let Some(connection) = self.idle.pop() {
                    connection
                } else {
                    self.opened += 1;
                    self.place.sessions.open(&format!("work{}", self.opened)).await?
                };
                self.stands[place] = Stand::Running;
                running.push(begin(place, connection, self.place.job.drill, &self.items[place].statement, until));
            }
            if running.is_empty() && self.adopted.is_empty() {
                let all = !self.stands.contains(&Stand::Waiting);
                return Ok(all);
            }
            tokio::select! {
                Some((place, connection, outcome)) = running.next(), if !running.is_empty() => {
                    self.idle.extend(connection);
                    self.end(control, place, outcome).await?;
                }
                _ = looks.tick(), if !self.adopted.is_empty() => self.look(control).await?,
                () = sleep_until(until), if running.is_empty() => return Ok(false),
            }
        }
    }

    async fn end(&mut self, control: &mut Connection, place: usize, outcome: Outcome) -> Result<(), Failure> {
        match outcome {
            Outcome::Done => self.stands[place] = Stand::Done,
            Outcome::Refused(refusal) if is_bad_luck(&refusal) && self.tries[place] + 1 < TRIES_MAX => self.try_again(control, place).await?,
            Outcome::Refused(refusal) => {
                let hint = "what the server says is in its log too; the rows that it is about are never shown here";
                self.lose(control, place, &refusal.message, hint).await?;
            }
            // Its time is over, so nothing begins any more: the next call finds it.
            Outcome::Running => {
                tracing::info!(what = self.items[place].what, "left running");
                self.try_again(control, place).await?;
            }
            Outcome::Lost => self.try_again(control, place).await?,
        }
        Ok(())
    }

    async fn try_again(&mut self, control: &mut Connection, place: usize) -> Result<(), Failure> {
        self.tries[place] += 1;
        self.stands[place] = Stand::Waiting;
        ledger::record(control, &format!("try {} of {}", self.tries[place], self.items[place].statement.step), &json!({})).await
    }

    /// Whether the statements of an earlier call are still running; what is not is in the ledger, or must be begun again.
    async fn look(&mut self, control: &mut Connection) -> Result<(), Failure> {
        let sessions = statement::sessions(control, self.place.job.drill).await?;
        let active: HashSet<&str> = sessions.iter().filter(|session| session.is_active).map(|session| session.key.as_str()).collect();
        let ended: Vec<usize> = self.adopted.iter().copied().filter(|place| !active.contains(self.items[*place].statement.key.as_str())).collect();
        if ended.is_empty() {
            return Ok(());
        }
        let done = ledger::read(control).await?;
        for place in ended {
            self.adopted.remove(&place);
            self.stands[place] = if done.contains_key(&self.items[place].statement.step) { Stand::Done } else { Stand::Waiting };
        }
        Ok(())
    }

    async fn lose_what_waits_for_the_lost(&mut self, control: &mut Connection) -> Result<(), Failure> {
        while std::mem::take(&mut self.lost_more) {
            let waits_for_lost = |place: usize| {
                let lost = |id: &i32| self.places.get(id).copied().filter(|other| self.stands[*other] == Stand::Lost);
                self.items[place].waits.iter().find_map(lost)
            };
            let waiting = (0..self.items.len()).filter(|place| self.stands[*place] == Stand::Waiting);
            let found: Vec<(usize, usize)> = waiting.filter_map(|place| Some((place, waits_for_lost(place)?))).collect();
            for (place, other) in found {
                let why = format!("left out, because it needs {}, which is not there", self.items[other].what);
                self.lose(control, place, &why, "mend that one first").await?;
            }
        }
        Ok(())
    }

    async fn lose(&mut self, control: &mut Connection, place: usize, why: &str, hint: &str) -> Result<(), Failure> {
        let item = &self.items[place];
        let finding = Finding::new(item.loss, &item.what, why).hint(hint);
        ledger::record(control, &format!("failed {}", item.statement.step), &json!({"finding": finding})).await?;
        self.stands[place] = Stand::Lost;
        self.lost_more = true;
        Ok(())
    }
}

async fn begin(place: usize, connection: Connection, drill: &str, statement: &Statement, until: Instant) -> (usize, Option<Connection>, Outcome) {
    let (connection, outcome) = statement::run(connection, drill, statement, until).await;
    (place, connection, outcome)
}

/// A deadlock, a serialization failure, a lock that was not to be had: next time it may go well.
fn is_bad_luck(refusal: &Refusal) -> bool {
    refusal.sqlstate.starts_with("40") || refusal.sqlstate == "55P03"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: i32, waits: &[i32], tables: &[i32], is_exclusive: bool, weight: u64) -> Item {
        let statement = Statement { key: format!("s{id}"), step: id.to_string(), before: String::new(), sql: String::new() };
        Item {
            id,
            what: id.to_string(),
            statement,
            waits: waits.to_vec(),
            tables: tables.to_vec(),
            is_exclusive,
            weight,
            loss: FindingKind::RestoreStatementFailed,
        }
    }

    /// Begins all that may begin, ends the oldest, and so on; gives the order in which they began.
    fn play(items: &[Item], at_once: usize) -> Vec<i32> {
        let places = items.iter().enumerate().map(|(place, item)| (item.id, place)).collect();
        let (mut stands, mut running, mut order) = (vec![Stand::Waiting; items.len()], Vec::new(), Vec::new());
        loop {
            while running.len() < at_once {
                let Some(place) = next(items, &stands, &places) else { break };
                assert!(running.iter().all(|other: &usize| !conflict(&items[*other], &items[place])));
                stands[place] = Stand::Running;
                running.push(place);
                order.push(items[place].id);
            }
            if running.is_empty() {
                return order;
            }
            stands[running.remove(0)] = Stand::Done;
        }
    }

    #[test]
    fn the_heaviest_begins_first_and_none_before_what_it_waits_for() {
        let items = [item(1, &[], &[10], false, 1), item(2, &[], &[11], false, 9), item(3, &[2], &[11], true, 99), item(4, &[77], &[12], false, 5)];
        assert_eq!(play(&items, 1), [2, 3, 4, 1]);
    }

    #[test]
    fn whoever_wants_a_table_alone_waits_for_the_others() {
        let items = [item(1, &[], &[10], false, 3), item(2, &[], &[10], true, 2), item(3, &[], &[10], false, 1)];
        assert_eq!(play(&items, 3), [1, 3, 2]);
    }
}

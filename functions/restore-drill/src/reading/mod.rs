//! The full read of a restored copy: every table to its last page, in windows, over as many invocations as it takes.
//!
//! It shows that everything can be read, brings blocks that the storage loads lazily, and gives the counts and digests that a manifest is held against.
//! It never writes to what it reads, and never keeps a row.

pub mod large_objects;
pub mod piece;
pub mod progress;
pub mod relations;
pub mod sequences;
pub mod state;
pub mod turn;

use std::time::Duration;

use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared::manifest::Manifest;
use shared_postgres::route::Route;
use shared_postgres::session::{self, Limits};
use shared_postgres::trouble::Trouble;
use shared_postgres::windows::{Plan, Sizes};
use shared_postgres::{Access, Connection};
use tokio::task::JoinSet;
use tokio::time::Instant;

use piece::Ended;
use progress::{CUTS_MAX, DAMAGED_MAX, Progress, Step, Window};
use relations::Relation;
pub use sequences::Position;
pub use state::State;
use turn::{LOCK_WAIT_MS, Turn};

/// What is to be read.
pub struct Job<'a> {
    /// The server, as the master user.
    pub access: &'a Access,
    /// The database.
    pub database: &'a str,
    /// The database that the ledger is in: the same, or one of its own.
    pub ledger: &'a str,
    /// Tables or windows at a time.
    pub connections: usize,
    /// The manifest that the content will be held against: its columns, in its order.
    pub expected: Option<&'a Manifest>,
    /// Id of the drill.
    pub drill: &'a str,
    /// How large windows are.
    pub sizes: Sizes,
    /// What counts as a whole invocation's time: a piece that was cut off after so long is made smaller, or given up when that did not help. One that was
    /// begun late, and cut off sooner, is only begun again.
    pub whole: Duration,
}

/// Goes on reading until the time is over or everything is read. Somebody else's turn is an answer that is not done.
///
/// # Errors
/// When the server cannot be reached, or a session was lost: call again.
pub async fn advance(job: &Job<'_>, until: Instant) -> Result<State, Failure> {
    let name = |what: &str| format!("lifeboat drill {} {what}", job.drill);
    let Some(mut turn) = Turn::take(job.access, job.ledger, &name("ledger"), &format!("read {}", job.database)).await? else {
        return Ok(State::default());
    };
    let progress = Progress::of(&turn.done(&["read", job.database]).await?)?;
    let mut connection = job.access.connect(job.database, &name("read")).await?;
    let server_major = session::server_major(&mut connection).await?;
    let limits = Limits { lock_wait_ms: LOCK_WAIT_MS, server_major };
    session::prepare(&mut connection, limits).await?;
    let session = session::describe(&mut connection).await?;
    let (relations, findings) = relations::relations(&mut connection, job.expected).await?;
    let route = Route { access: job.access.clone(), database: job.database.to_owned(), application_name: name("read"), limits };
    let mut reading = Reading { job, turn, progress, relations, until };
    let connection = reading.tables(&route, connection).await?;
    let mut connection = match connection {
        Some(connection) => connection,
        None => route.connect().await.map_err(lost)?,
    };
    reading.large_objects(&mut connection, &route).await?;
    reading.sequences(&mut connection).await?;
    Ok(state::state(&reading.relations, &reading.progress, findings, session, server_major))
}

/// One invocation's part of it.
struct Reading<'a> {
    job: &'a Job<'a>,
    turn: Turn,
    progress: Progress,
    relations: Vec<Relation>,
    until: Instant,
}

impl Reading<'_> {
    /// In the ledger first, then in memory.
    async fn record(&mut self, step: Step) -> Result<(), Failure> {
        let (name, detail) = step.written(self.job.database)?;
        self.turn.record(&name, &detail).await?;
        self.progress.add(step);
        Ok(())
    }

    /// Reads what is left of the tables, several windows at a time. Gives a session back that can go on.
    async fn tables(&mut self, route: &Route, connection: Connection) -> Result<Option<Connection>, Failure> {
        let mut plans = Vec::with_capacity(self.relations.len());
        for place in 0..self.relations.len() {
            plans.push(self.plan(place).await?);
        }
        let (mut idle, mut running, mut from) = (vec![connection], JoinSet::new(), 0);
        loop {
            while running.len() < self.job.connections.max(1) && Instant::now() < self.until {
                while from < plans.len() && plans[from].is_empty() {
                    from += 1;
                }
                // A table that is being read may still have to be read in halves, so an earlier one can have something again.
                let Some((place, span)) = (from..plans.len()).find_map(|place| plans[place].hand_out().map(|span| (place, span))) else { break };
                let sql = self.relations[place].sql(span);
                running.spawn(piece::read(route.clone(), idle.pop(), place, span, sql, self.until));
            }
            let Some(ended) = running.join_next().await else { return Ok(idle.pop()) };
            let mut ended = ended.map_err(|error| Failure::from_error(shared::failure::FailureKind::Panic, &error).context("read a table"))?;
            idle.extend(ended.connection.take());
            let place = ended.table;
            self.take(&mut plans[place], ended).await?;
            from = from.min(place);
        }
    }

    /// What is left of a table; what cannot be read is given up here.
    async fn plan(&mut self, place: usize) -> Result<Plan, Failure> {
        let (oid, denied) = (self.relations[place].oid, self.relations[place].denied);
        if let (Some(why), false) = (denied, self.progress.tables.contains_key(&oid)) {
            let finding = self.relations[place].denied(why, &self.job.access.user);
            self.record(Step::GivenUp(oid, finding)).await?;
        }
        let relation = &self.relations[place];
        let known = self.progress.tables.entry(oid).or_default();
        let sizes = self.job.sizes;
        // Rows whose values are stored elsewhere make a page worth many; and a window that was cut off was too large.
        let share = relation.pages.max(1) * sizes.first / relation.weight_pages.max(relation.pages).max(1);
        let window = known.cuts.iter().fold(share.max(1), |window, cut| (window / 8).min((cut.to - cut.from) / 8).max(1));
        let mut plan = Plan::new(if relation.whole_sql.is_some() { 0 } else { relation.pages }, sizes, window, &known.spans());
        if known.given_up.is_some() {
            plan.stop();
        }
        Ok(plan)
    }

    /// Writes down what came of a window, and plans on.
    async fn take(&mut self, plan: &mut Plan, ended: Ended) -> Result<(), Failure> {
        let Ended { table, span, result, time, .. } = ended;
        let oid = self.relations[table].oid;
        let subject = self.relations[table].subject();
        let unchecked = |seen: String| Finding::new(FindingKind::NotChecked, subject.clone(), seen);
        let given_up = match result {
            Ok(rows) => {
                plan.took(span, time);
                return self.record(Step::Window(oid, span, Window::Read(rows))).await;
            }
            Err(Trouble::Damaged(said)) => {
                let known = self.progress.tables.get(&oid).map_or(0, |table| table.damaged().len());
                if known < DAMAGED_MAX && plan.halve(span) {
                    return Ok(());
                }
                return self.record(Step::Window(oid, span, Window::Damaged(said))).await;
            }
            Err(Trouble::Unfinished) => {
                plan.stop();
                let cuts = self.progress.tables.get(&oid).map_or(0, |table| table.cuts.iter().filter(|cut| **cut == span).count());
                // Cut off by us, and early; or by the server, for a lock that somebody holds.
                if time < self.job.whole && Instant::now() >= self.until {
                    return Ok(());
                }
                self.record(Step::Cut(oid, span, cuts)).await?;
                if cuts + 1 < CUTS_MAX {
                    return Ok(());
                }
                unchecked(format!("{} could not be read within an invocation, {CUTS_MAX} times", span.pages()))
                    .hint("give the drill's function more time, or a larger instance class, and drill again")
            }
            Err(Trouble::Denied) => self.relations[table].denied("the role may not read it", &self.job.access.user),
            Err(Trouble::Vanished) => unchecked("it vanished while it was being read".to_owned()).hint("nobody else may work on the copy"),
            Err(Trouble::Refused(code)) => unchecked(format!("the server refused to read {} (SQLSTATE {code})", span.pages()))
                .hint("look the code up in the PostgreSQL manual, appendix \"PostgreSQL Error Codes\"; try COPY of the table in production"),
            Err(Trouble::Lost(failure)) => return Err(failure.context(format!("read {subject}, {}", span.pages()))),
        };
        plan.stop();
        self.record(Step::GivenUp(oid, given_up)).await
    }

    async fn large_objects(&mut self, connection: &mut Connection, route: &Route) -> Result<(), Failure> {
        while self.tables_are_done() && !self.progress.objects.is_done && Instant::now() < self.until {
            let (after, begun) = (self.progress.objects.after, Instant::now());
            let cuts = self.progress.objects.cuts.iter().filter(|cut| **cut == after).count();
            let next = large_objects::next(connection, after, cuts > 0, self.until).await;
            let not_checked = |seen: String| Finding::new(FindingKind::NotChecked, "large objects", seen);
            let given_up = match next {
                Ok(large_objects::Range { last: Some(last), large_objects, .. }) => {
                    self.record(Step::Objects(after, last, large_objects)).await?;
                    if Instant::now() >= self.until {
                        // The session may be in the middle of an object.
                        *connection = route.connect().await.map_err(lost)?;
                    }
                    continue;
                }
                Ok(_) => None,
                Err(Trouble::Unfinished) => {
                    *connection = route.connect().await.map_err(lost)?;
                    if begun.elapsed() < self.job.whole {
                        return Ok(());
                    }
                    self.record(Step::ObjectsCut(after, cuts)).await?;
                    if cuts + 1 < CUTS_MAX {
                        return Ok(());
                    }
                    Some(not_checked(format!("the one after {after} could not be read within an invocation, {CUTS_MAX} times")))
                }
                Err(Trouble::Damaged(said)) => Some(Finding::new(FindingKind::TableUnreadable, "large objects", format!("after {after}: {said}"))),
                Err(Trouble::Denied) => Some(not_checked(format!("the role may not read one after {after}")).hint(format!(
                    "make {} a member of the owners of all large objects, or GRANT SELECT ON LARGE OBJECT … TO it: before PostgreSQL 19, pg_read_all_data does not cover them",
                    self.job.access.user
                ))),
                Err(Trouble::Vanished) => Some(not_checked("one vanished while it was being read".to_owned())),
                Err(Trouble::Refused(code)) => Some(not_checked(format!("the server refused to read the one after {after} (SQLSTATE {code})"))),
                Err(Trouble::Lost(failure)) => return Err(failure.context("read large objects")),
            };
            self.record(Step::ObjectsDone(given_up)).await?;
        }
        Ok(())
    }

    async fn sequences(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        if self.progress.sequences.is_none() && self.progress.objects.is_done {
            let (positions, findings) = sequences::positions(connection, &self.job.access.user).await?;
            self.record(Step::Sequences(positions, findings)).await?;
        }
        Ok(())
    }

    fn tables_are_done(&self) -> bool {
        self.relations.iter().all(|relation| self.progress.tables.get(&relation.oid).is_some_and(progress::Table::is_done))
    }
}

fn lost(trouble: Trouble) -> Failure {
    match trouble {
        Trouble::Lost(failure) => failure,
        other => Failure::new(shared::failure::FailureKind::Other, format!("{other:?}")),
    }
}

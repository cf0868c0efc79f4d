//! The scan of a table: one pass over its pages, in windows of about a second, that comes to counts, nulls, ranges and numbers of distinct values.
//!
//! It reads each page once and at the pace that is configured, holds no lock and no snapshot longer than a window, goes on in another invocation where one
//! ends, and never takes a value out of the database but the smallest and the largest number. What it could not see, it says.

pub mod kind;
pub mod progress;
pub mod sketch;
pub mod statement;
pub mod told;
pub mod totals;

use std::collections::HashMap;
use std::time::Duration;

use shared::failure::Failure;
use shared::finding::Finding;
use shared_postgres::error::sqlstate;
use shared_postgres::trouble::{Trouble, sort};
use shared_postgres::windows::Span;
use shared_postgres::{Connection, ContextSql};
use sqlx::{AssertSqlSafe, Executor, Row};
use tokio::time::{Instant, timeout_at};

use crate::model::{Table, TableMetrics};
use crate::pace::Pace;
pub use progress::Progress;
use progress::{FIRST_PAGES, Step, Way};
use statement::{Question, Source};
pub use told::locked;
pub use totals::{Totals, merge};

/// How much is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pages of a table beyond which it is only sampled.
    pub table_pages_max: u64,
    /// Pages that are read of such a table.
    pub sample_pages: u64,
    /// What a statement may take: so long does a migration wait behind it.
    pub window: Duration,
    /// Whether distinct values are counted: more than half of the scan's work, where no index makes them unique.
    pub distinct: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { table_pages_max: 16 << 20, sample_pages: 1 << 18, window: Duration::from_secs(1), distinct: true }
    }
}

/// Why a scan stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The time is over. The session may be in the middle of a statement: drop it.
    Deadline,
    /// Somebody holds, or waits for, a lock that excludes reading; nothing is known until it is tried again. See [`locked`].
    Locked,
    /// The columns are not those of the catalog any more: look at the catalog again, and go on with a new [`Scanner`].
    Changed,
}

/// What a scan came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Scanned {
    /// Everything that can be read was read.
    Done {
        /// What it came to.
        metrics: TableMetrics,
        /// The sums: kept for leaves of partitioned tables, for [`merge`].
        totals: Box<Totals>,
        /// What was not seen of it, and why.
        findings: Vec<Finding>,
    },
    /// To be gone on with.
    Unfinished(Box<Progress>, Cut),
    /// It cannot be read.
    NotChecked(Finding),
    /// It is not there any more.
    Vanished,
}

/// What is needed to scan tables.
pub struct Scanner {
    limits: Limits,
    user: String,
    details: HashMap<u32, kind::Details>,
}

/// What came of a statement.
enum Answer {
    Text(Vec<Option<String>>),
    Trouble(Trouble, String),
    Late,
}

impl Scanner {
    /// Asks what the columns of tables are: one statement, whatever their number. Only these tables can be scanned.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn new(connection: &mut Connection, tables: &[&Table], limits: Limits, user: &str) -> Result<Self, Failure> {
        let details = kind::details(connection, tables).await?;
        Ok(Self { limits, user: user.to_owned(), details })
    }

    /// Scans a table, or goes on with it, until it is done or the time is over.
    ///
    /// # Errors
    /// When the connection is lost: call again with the same progress.
    pub async fn scan(
        &self,
        connection: &mut Connection,
        table: &Table,
        progress: Option<Progress>,
        pace: &mut Pace,
        until: Instant,
    ) -> Result<Scanned, Failure> {
        let Some(details) = self.details.get(&table.oid) else { return Ok(Scanned::Vanished) };
        if !table.may_select && !table.columns.iter().any(|column| column.may_select) {
            return Ok(Scanned::NotChecked(told::denied(table, &self.user)));
        }
        let progress = progress.filter(|progress| progress.oid == table.oid);
        let progress = progress.unwrap_or_else(|| Progress { oid: table.oid, distinct: self.limits.distinct, ..Progress::default() });
        let mut scan =
            Scan { scanner: self, connection, table, details, question: question(table, details, &progress), progress, last: Duration::ZERO };
        if scan.progress.statements == 0 || !scan.question.fits(&scan.progress.totals) {
            scan.progress.totals.pages = table.pages;
            scan.begin(pace);
        }
        scan.run(pace, until).await
    }
}

fn question(table: &Table, details: &kind::Details, progress: &Progress) -> Question {
    Question::new(table, details, progress.distinct, progress.only_nulls.is_some())
}

/// A scan that goes on.
struct Scan<'a> {
    scanner: &'a Scanner,
    connection: &'a mut Connection,
    table: &'a Table,
    details: &'a kind::Details,
    question: Question,
    progress: Progress,
    /// How long the last statement took.
    last: Duration,
}

impl Scan<'_> {
    /// Begins, or begins anew.
    fn begin(&mut self, pace: &Pace) {
        self.question = question(self.table, self.details, &self.progress);
        let pages = self.progress.totals.pages;
        // Where the role may not read the whole table, or policies apply, a range of ctid would be read by reading everything.
        let by_pages = self.details.is_heap && self.table.may_select && !self.progress.under_policies;
        let is_small = pages <= pace.window_pages();
        self.progress.way = match (by_pages, self.details.is_heap) {
            (true, _) if pages <= self.scanner.limits.table_pages_max => Way::Windows,
            (false, true) if is_small => Way::Whole,
            (_, true) => Way::Samples,
            (_, false) => Way::Whole,
        };
        self.progress.window = FIRST_PAGES;
        self.progress.restart(self.question.totals());
    }

    async fn run(mut self, pace: &mut Pace, until: Instant) -> Result<Scanned, Failure> {
        let mut damaged = false;
        loop {
            // No file, no rows: whatever anybody estimated.
            if self.table.pages == 0 && self.progress.statements == 0 && self.details.is_heap {
                self.progress.is_done = true;
            }
            let Some(step) = self.progress.step(self.window_max(pace), &self.scanner.limits) else { return Ok(self.done()) };
            let allowed = timeout_at(until, pace.take(step.pages)).await.is_ok();
            if !allowed || Instant::now() + self.last.mul_f32(1.5) >= until {
                return Ok(self.unfinished(Cut::Deadline));
            }
            let begun = Instant::now();
            let answer = self.ask(step, until).await;
            self.last = begun.elapsed();
            let (trouble, code) = match answer {
                Answer::Late => return Ok(self.unfinished(Cut::Deadline)),
                Answer::Trouble(trouble, code) => (trouble, code),
                Answer::Text(text) => {
                    let mut totals = self.progress.totals.clone();
                    let Some(facts) = self.question.add(&text, &mut totals) else {
                        return Ok(Scanned::NotChecked(told::refused(self.table, &pages(step), "none; the answer cannot be read")));
                    };
                    if facts.oid != self.table.oid {
                        return Ok(Scanned::Vanished);
                    }
                    if self.progress.filenode.is_some_and(|filenode| filenode != facts.filenode) {
                        // The windows before this one are of pages that are gone.
                        self.progress.totals.pages = facts.pages;
                        self.begin(pace);
                        if self.progress.may_change() {
                            continue;
                        }
                        return Ok(Scanned::NotChecked(told::changing(self.table, "it was rewritten or emptied")));
                    }
                    self.progress.totals = totals;
                    self.progress.read(step, facts, self.last, &self.scanner.limits);
                    damaged = false;
                    continue;
                }
            };
            match trouble {
                Trouble::Lost(failure) => return Err(failure.context(format!("scan {}", self.table.subject()))),
                Trouble::Vanished => return Ok(Scanned::Vanished),
                Trouble::Unfinished if code == "55P03" => return Ok(self.unfinished(Cut::Locked)),
                Trouble::Unfinished => {
                    if !self.progress.cut(step) || self.progress.way == Way::Whole {
                        return Ok(Scanned::NotChecked(told::too_slow(self.table, &pages(step))));
                    }
                }
                Trouble::Denied => {
                    if let Some(ended) = self.denied(pace).await? {
                        return Ok(ended);
                    }
                }
                // Once is what a concurrent change of the catalogs can do too.
                Trouble::Damaged(_) if !damaged => damaged = true,
                Trouble::Damaged(said) if code == "XX000" => return Ok(Scanned::NotChecked(told::internal(self.table, &pages(step), &said))),
                Trouble::Damaged(said) => return Ok(Scanned::NotChecked(told::damaged(self.table, &pages(step), &said))),
                // A column is gone, or of another type: what was seen until then does not fit.
                Trouble::Refused(_) if matches!(code.as_str(), "42703" | "42804" | "42846" | "42883") => {
                    self.begin(pace);
                    if self.progress.may_change() {
                        return Ok(self.unfinished(Cut::Changed));
                    }
                    return Ok(Scanned::NotChecked(told::changing(self.table, "its columns were changed")));
                }
                Trouble::Refused(_) if self.progress.only_nulls.is_none() => {
                    self.progress.only_nulls = Some(code);
                    self.begin(pace);
                }
                Trouble::Refused(code) => return Ok(Scanned::NotChecked(told::refused(self.table, &pages(step), &code))),
            }
        }
    }

    /// Pages of a window: what the pace allows in its time.
    fn window_max(&self, pace: &Pace) -> u64 {
        let millis = u64::try_from(self.scanner.limits.window.as_millis()).unwrap_or(u64::MAX);
        (pace.window_pages().saturating_mul(millis) / 1000).max(1)
    }

    /// One statement; a transaction of its own.
    async fn ask(&mut self, step: Step, until: Instant) -> Answer {
        let sql = self.question.sql(step.source, step.pages <= FIRST_PAGES, &self.progress.totals);
        let work = async {
            if self.progress.under_policies {
                // Both in one message are one transaction, which ends with it.
                let sql = format!("SET LOCAL row_security = on; {sql}");
                self.connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await
            } else {
                sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_one(&mut *self.connection).await
            }
        };
        match timeout_at(until, work).await {
            Err(_) => Answer::Late,
            Ok(Err(error)) => Answer::Trouble(sort(&error), sqlstate(&error).unwrap_or_default()),
            Ok(Ok(row)) => row.try_get(0).map_or_else(|error| Answer::Trouble(sort(&error), String::new()), Answer::Text),
        }
    }

    /// Not allowed: is it row-level security, which can be looked through, or a privilege? `None`: it was begun anew, under policies.
    async fn denied(&mut self, pace: &Pace) -> Result<Option<Scanned>, Failure> {
        let policies: Option<bool> = sqlx::query_scalar("SELECT row_security_active(oid) FROM pg_class WHERE oid = $1::int8::oid")
            .bind(i64::from(self.table.oid))
            .persistent(false)
            .fetch_optional(&mut *self.connection)
            .await
            .context_sql(format!("ask why {} cannot be read", self.table.subject()))?;
        match policies {
            None => Ok(Some(Scanned::Vanished)),
            Some(true) if !self.progress.under_policies => {
                self.progress.under_policies = true;
                self.begin(pace);
                Ok(None)
            }
            Some(_) => Ok(Some(Scanned::NotChecked(told::denied(self.table, &self.scanner.user)))),
        }
    }

    fn unfinished(self, cut: Cut) -> Scanned {
        Scanned::Unfinished(Box::new(self.progress), cut)
    }

    fn done(self) -> Scanned {
        let (mut totals, mut findings, mut partial) = (self.progress.totals, Vec::new(), Vec::new());
        let mut say = |(why, finding): (String, Finding)| {
            partial.push(why);
            findings.push(finding);
        };
        if !self.table.may_select {
            say(told::some_columns(self.table, &self.scanner.user));
        }
        if self.progress.under_policies {
            say(told::policies(self.table, &self.scanner.user));
        }
        if let Some(code) = &self.progress.only_nulls {
            say(told::only_nulls(self.table, code));
        }
        // One finding for a table: the first is the one that has to be put right first.
        findings.truncate(1);
        totals.partial = (!partial.is_empty()).then(|| partial.join("; "));
        Scanned::Done { metrics: totals.metrics(&self.table.subject()), totals: Box::new(totals), findings }
    }
}

fn pages(step: Step) -> String {
    match step.source {
        Source::Whole => Span::ALL.pages(),
        Source::Window(span) => span.pages(),
        Source::Sample(..) => format!("a sample of {} pages", step.pages),
    }
}

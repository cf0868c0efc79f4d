//! What a night has done so far, and doing more of it: the team's checks, queries and flags; tables, one after the other; pages and indexes by amcheck.
//!
//! All of it lies in the bucket between two invocations. An invocation that is killed loses its own minutes, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared_postgres::Connection;
use sqlx::Connection as _;
use tokio::time::Instant;

use crate::catalog::Catalog;
use crate::checks::desk::Desk;
use crate::checks::{self, TeamFile};
use crate::config::Settings;
use crate::flags::{self, Memory};
use crate::model::{Table, TableMetrics};
use crate::nights::Parts;
use crate::pace::Pace;
use crate::queries::{self, Counters, Figures, Review};
use crate::scan::{self, Cut, Limits, Scanned, Scanner, Totals};
use crate::session::Sessions;
use crate::{corruption, orphans};

/// Of an invocation's time, what tables take while amcheck has something to do, too.
const TABLES_SHARE: f64 = 0.6;
/// A window is meant to take a second; one that takes so long is cut off, and made smaller.
const WINDOW_MAX: Duration = Duration::from_secs(10);
/// How long an anti-join of a foreign key that nobody enforces may take.
const ORPHANS_MAX: Duration = Duration::from_mins(1);

/// What a night has done so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Work {
    /// Tables, by their subject.
    pub tables: BTreeMap<String, Done>,
    /// The table in which an invocation ended, and how far it is.
    pub underway: Option<(String, Box<scan::Progress>)>,
    /// Pages of tables that were read.
    pub pages: u64,
    /// The team's checks.
    pub checks: checks::Progress,
    /// Whether each of them has a result.
    pub checks_done: bool,
    /// Foreign keys that nobody enforces.
    pub orphans: orphans::Progress,
    /// Whether all of them were looked at.
    pub orphans_done: bool,
    /// The team's flags, as soon as they were looked at.
    pub flags: Option<Flags>,
    /// Queries and figures, as soon as they were looked at.
    pub queries: Option<Queries>,
    /// What amcheck knows.
    pub cursor: corruption::Cursor,
    /// What it came to this night.
    pub corruption: corruption::Progress,
}

/// What became of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Done {
    /// It was read.
    Read {
        /// What it came to.
        metrics: TableMetrics,
        /// The sums of a leaf, for the partitioned table that it is of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        totals: Option<Box<Totals>>,
        /// What was not seen of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        findings: Vec<Finding>,
    },
    /// It could not be read.
    NotRead(Finding),
    /// It was gone.
    Vanished,
}

/// What became of the team's flags.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Flags {
    /// What was found.
    pub findings: Vec<Finding>,
    /// What the next nights should know; `None`: they could not be read, and what was known stays.
    pub memory: Option<Memory>,
}

/// What became of queries and figures.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Queries {
    /// The counters, if there are any.
    pub counters: Option<Counters>,
    /// What they say.
    pub review: Review,
    /// Why there are none, or not all.
    pub missing: Option<Finding>,
    /// Connections and sizes.
    pub figures: Figures,
}

/// What the nights before left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before<'a> {
    /// Tables that the last night did not reach.
    pub not_reached: Option<&'a BTreeMap<String, u32>>,
    /// Counters of queries.
    pub counters: Option<&'a Counters>,
    /// Flags.
    pub flags: Option<&'a Memory>,
}

/// What working needs.
pub struct Room<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// Where sessions go.
    pub sessions: &'a Sessions,
    /// S3, for checks of objects.
    pub s3: &'a aws_sdk_s3::Client,
    /// What the catalogs say.
    pub catalog: &'a Catalog,
    /// The team's file, as far as it is for this database.
    pub team: &'a TeamFile,
    /// What the nights before left.
    pub before: Before<'a>,
    /// The night.
    pub slot: DateTime<Utc>,
}

impl Work {
    /// Goes on until everything is done or the time is over. A part is written when much was done that a death should not take along.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn advance(&mut self, room: &Room<'_>, until: Instant, parts: &mut Parts<'_>) -> Result<bool, Failure> {
        let mut pace = Pace::new(room.settings.pages_per_second);
        self.look_around(room, until).await?;
        if !self.checks_done {
            let checking = checks::Room { sessions: room.sessions, tables: &room.catalog.tables, s3: room.s3 };
            self.checks_done = checks::run(&checking, &room.team.checks, &mut self.checks, &mut pace, until).await?;
        }
        if !self.orphans_done && Instant::now() < until {
            let mut desk = Desk::new(room.sessions, until);
            let keys = untrusted(room.catalog);
            let looked = orphans::look(&mut desk, &keys, &room.catalog.tables, ORPHANS_MAX, &mut self.orphans, &mut pace).await;
            desk.close().await;
            self.orphans_done = looked?;
        }
        let checks_pages = room.settings.amcheck_pages_max > 0;
        let now = Instant::now();
        let share = if checks_pages && !self.corruption.done { now + until.saturating_duration_since(now).mul_f64(TABLES_SHARE) } else { until };
        let mut tables_done = self.read(room, &mut pace, share).await?;
        parts.write(self).await?;
        if checks_pages && !self.corruption.done && Instant::now() < until {
            self.check_pages(room, &mut pace, until).await?;
        }
        if !tables_done && Instant::now() < until {
            tables_done = self.read(room, &mut pace, until).await?;
        }
        Ok(tables_done && self.checks_done && self.orphans_done && (self.corruption.done || !checks_pages))
    }

    /// What takes a moment: counters, figures, flags.
    async fn look_around(&mut self, room: &Room<'_>, until: Instant) -> Result<(), Failure> {
        if self.queries.is_none() {
            let (mut connection, _) = room.sessions.connect("queries").await?;
            let mut found = Queries { figures: queries::facts::look(&mut connection).await?, ..Queries::default() };
            match queries::look(&mut connection, &room.sessions.database, &room.sessions.access.user).await? {
                Ok((counters, missing)) => {
                    found.review = queries::review(room.before.counters, &counters);
                    let texts = queries::texts(&mut connection, &found.review.shown()).await?;
                    found.review.with_texts(&texts);
                    found.counters = Some(counters);
                    found.missing = missing.map(|missing| missing.0);
                }
                Err(missing) => found.missing = Some(missing.0),
            }
            let _ = connection.close().await;
            self.queries = Some(found);
        }
        if let (None, Some(settings)) = (&self.flags, &room.team.flags) {
            let mut desk = Desk::new(room.sessions, until);
            let looked = flags::look::look(&mut desk, settings).await;
            desk.close().await;
            let nothing = Memory::new();
            self.flags = looked.map(|looked| match looked {
                Ok(seen) => {
                    let memory = flags::remember(room.before.flags.unwrap_or(&nothing), &seen.flags, room.slot);
                    Flags { findings: flags::judge(settings, &seen.flags, &memory, room.slot), memory: Some(memory) }
                }
                Err(finding) => Flags { findings: vec![finding], memory: None },
            });
        }
        Ok(())
    }

    async fn check_pages(&mut self, room: &Room<'_>, pace: &mut Pace, until: Instant) -> Result<(), Failure> {
        let day = i32::try_from(room.slot.timestamp().div_euclid(86_400)).unwrap_or(0);
        let whole = until.saturating_duration_since(Instant::now());
        let night = corruption::Night { day, budget_pages: room.settings.amcheck_pages_max, whole };
        let came = corruption::advance(room.sessions, &mut self.cursor, night, pace, until).await?;
        let sum = &self.corruption;
        self.corruption = corruption::Progress {
            pages: sum.pages + came.pages,
            windows: sum.windows + came.windows,
            indexes: sum.indexes + came.indexes,
            indexes_with_rows: sum.indexes_with_rows + came.indexes_with_rows,
            gave_way: sum.gave_way + came.gave_way,
            unfinished: sum.unfinished + came.unfinished,
            vanished: sum.vanished + came.vanished,
            ..came
        };
        Ok(())
    }

    /// Tables that are left, in their order: the one that was cut, those that the last night did not reach, then the smallest first. What the night's budget does
    /// not reach is left out.
    pub fn left<'t>(&self, tables: &'t [Table], settings: &Settings, not_reached: Option<&BTreeMap<String, u32>>) -> Vec<&'t Table> {
        let mut left: Vec<(bool, u32, u64, String, &Table)> = tables
            .iter()
            .map(|table| (table, table.subject()))
            .filter(|(_, subject)| !self.tables.contains_key(subject))
            .map(|(table, subject)| {
                let is_cut = self.underway.as_ref().is_some_and(|(name, _)| *name == subject);
                let nights = not_reached.and_then(|missed| missed.get(&subject)).copied().unwrap_or(0);
                (!is_cut, u32::MAX - nights, table.pages, subject, table)
            })
            .collect();
        left.sort_by(|a, b| (a.0, a.1, a.2, &a.3).cmp(&(b.0, b.1, b.2, &b.3)));
        let mut budget = settings.night_pages_max.saturating_sub(self.pages);
        left.retain(|(is_new, _, pages, ..)| {
            let pages = (*pages).min(settings.table_pages_max);
            let fits = !is_new || pages <= budget;
            budget = budget.saturating_sub(if fits { pages } else { 0 });
            fits
        });
        left.into_iter().map(|(.., table)| table).collect()
    }

    /// Reads tables until the time is over. `true`: there is none left that the budget allows.
    async fn read(&mut self, room: &Room<'_>, pace: &mut Pace, until: Instant) -> Result<bool, Failure> {
        let todo = self.left(&room.catalog.tables, room.settings, room.before.not_reached);
        if todo.is_empty() {
            return Ok(true);
        }
        let sessions = Sessions { statement: WINDOW_MAX, ..room.sessions.clone() };
        let (mut connection, _) = sessions.connect("tables").await?;
        let limits = Limits { table_pages_max: room.settings.table_pages_max, sample_pages: room.settings.table_pages_max, ..Limits::default() };
        let scanner = Scanner::new(&mut connection, &todo, limits, &room.sessions.access.user).await?;
        // What somebody holds is tried once more when all others are done.
        let mut again: Vec<&Table> = Vec::new();
        for (place, table) in todo.iter().enumerate() {
            match self.one(&sessions, &scanner, connection, table, pace, until, false).await? {
                Next::Go(next) => connection = next,
                Next::Again(next) => {
                    again.push(table);
                    connection = next;
                }
                Next::Stop => return Ok(false),
            }
            if place % 64 == 63 && Instant::now() >= until {
                return Ok(false);
            }
        }
        for table in again {
            match self.one(&sessions, &scanner, connection, table, pace, until, true).await? {
                Next::Go(next) | Next::Again(next) => connection = next,
                Next::Stop => return Ok(false),
            }
        }
        let _ = connection.close().await;
        Ok(true)
    }

    #[expect(clippy::too_many_arguments, reason = "one table of the loop above")]
    async fn one(
        &mut self,
        sessions: &Sessions,
        scanner: &Scanner,
        mut connection: Connection,
        table: &Table,
        pace: &mut Pace,
        until: Instant,
        is_last: bool,
    ) -> Result<Next, Failure> {
        let subject = table.subject();
        let mut progress = self.underway.take_if(|(name, _)| *name == subject).map(|(_, progress)| *progress);
        let mut lost = false;
        loop {
            if Instant::now() >= until {
                self.underway = progress.map(|progress| (subject, Box::new(progress)));
                return Ok(Next::Stop);
            }
            let came = match scanner.scan(&mut connection, table, progress.clone(), pace, until).await {
                Ok(came) => came,
                Err(failure) if lost => {
                    // Twice over the same table: it may be the table that ends the session.
                    let seen = format!("the session was lost twice while it was read: {failure}");
                    Scanned::NotChecked(Finding::new(FindingKind::NotChecked, &subject, seen).hint("look into the server's log for that time"))
                }
                Err(_) => {
                    lost = true;
                    connection = sessions.connect("tables").await?.0;
                    continue;
                }
            };
            let done = match came {
                Scanned::Done { metrics, totals, findings } => {
                    self.pages += metrics.pages;
                    Done::Read { metrics, totals: table.root.is_some().then_some(totals), findings }
                }
                Scanned::NotChecked(finding) => Done::NotRead(finding),
                Scanned::Vanished => Done::Vanished,
                Scanned::Unfinished(further, Cut::Deadline) => {
                    self.underway = Some((subject, further));
                    return Ok(Next::Stop);
                }
                // In the next invocation the catalogs are looked at again; the last of a night says that it was not reached.
                Scanned::Unfinished(_, Cut::Changed) => return Ok(Next::Again(connection)),
                Scanned::Unfinished(_, Cut::Locked) if is_last => Done::NotRead(scan::locked(table)),
                Scanned::Unfinished(further, Cut::Locked) => {
                    progress = Some(*further);
                    // Kept for the second try of this very invocation.
                    self.underway = progress.map(|progress| (subject, Box::new(progress)));
                    return Ok(Next::Again(connection));
                }
            };
            self.tables.insert(subject, done);
            return Ok(Next::Go(connection));
        }
    }

    /// What the scans came to: leaves of a partitioned table as one, if all of them were read.
    pub fn metrics(&self, tables: &[Table]) -> Vec<TableMetrics> {
        let (mut metrics, mut roots): (Vec<TableMetrics>, BTreeMap<&str, Vec<&Table>>) = (Vec::new(), BTreeMap::new());
        for table in tables {
            match (&table.root, self.tables.get(&table.subject())) {
                (Some(root), _) => roots.entry(root).or_default().push(table),
                (None, Some(Done::Read { metrics: one, .. })) => metrics.push(one.clone()),
                (None, _) => {}
            }
        }
        for (root, leaves) in roots {
            let totals: Vec<&Totals> = leaves
                .iter()
                .filter_map(|leaf| match self.tables.get(&leaf.subject()) {
                    Some(Done::Read { totals: Some(totals), .. }) => Some(&**totals),
                    _ => None,
                })
                .collect();
            if totals.len() == leaves.len() {
                metrics.push(scan::merge(root, totals));
            }
        }
        metrics
    }

    /// Tables that were not reached, by their subject.
    pub fn not_reached(&self, tables: &[Table]) -> BTreeSet<String> {
        tables.iter().map(Table::subject).filter(|subject| !self.tables.contains_key(subject)).collect()
    }

    /// What reading the tables found.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.tables.values().flat_map(|done| match done {
            Done::Read { findings, .. } => findings.as_slice(),
            Done::NotRead(finding) => std::slice::from_ref(finding),
            Done::Vanished => &[],
        })
    }
}

/// What comes after a table.
enum Next {
    Go(Connection),
    Again(Connection),
    Stop,
}

/// Foreign keys that nobody vouches for.
fn untrusted(catalog: &Catalog) -> Vec<orphans::Untrusted> {
    let keys = catalog.facts.soundness.untrusted.items.iter().filter_map(|untrusted| {
        let key = untrusted.key.clone()?;
        Some(orphans::Untrusted {
            name: untrusted.constraint.clone(),
            child: key.child,
            child_columns: key.child_columns,
            parent: key.parent,
            parent_columns: key.parent_columns,
        })
    });
    keys.collect()
}

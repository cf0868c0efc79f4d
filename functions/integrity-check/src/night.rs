//! One invocation's part of a database's night: begin it, go on with it, or end it.
//!
//! A lock in the database keeps two invocations apart; what was done lies in the bucket as parts, each of which holds all that the ones before it held.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::SdkConfig;
use chrono::SubsecRound as _;
use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::human::count;
use shared::lambda::Run;
use shared::report::{Report, Unit};
use shared::store::Store;
use shared_postgres::{Access, Connection, ContextSql as _};
use sqlx::Connection as _;
use tokio::time::Instant;

use crate::catalog;
use crate::checks::TeamFile;
use crate::checks::load::{self, Place};
use crate::config::Settings;
use crate::ending::{End, Ending};
use crate::nights::{Known, Nights, Parts, Tonight, tonight};
use crate::request::Check;
use crate::session::Sessions;
use crate::work::{Before, Room, Work};

/// Advisory lock of a night, in the database that is checked: "integrit" in ASCII.
const LOCK: i64 = 0x696e_7465_6772_6974;
/// Of an invocation's time, what is kept for judging and writing.
const ENDING: (f64, Duration, Duration) = (0.1, Duration::from_secs(3), Duration::from_mins(1));

/// What an invocation of the function works with.
pub struct Invocation<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The bucket.
    pub store: &'a Store,
    /// For clients.
    pub config: &'a SdkConfig,
    /// The instance.
    pub instance: &'a str,
    /// The stage.
    pub stage: &'a str,
    /// The server, or a replica.
    pub access: &'a Access,
    /// The invocation.
    pub run: &'a Run,
}

/// What came of a database.
#[derive(Clone, Debug, Default)]
pub struct Came {
    /// The database.
    pub database: String,
    /// In a sentence.
    pub said: String,
    /// Whether its night ended.
    pub has_ended: bool,
    /// What was counted, by the name of the report's fact; each database's are added up.
    pub counted: Vec<(&'static str, u64)>,
    /// What is told.
    pub findings: Vec<Finding>,
    /// Where to read on: title and key.
    pub links: Vec<(String, String)>,
}

impl Came {
    /// Both of a database's nights that one invocation worked at.
    fn and(mut self, later: Self) -> Self {
        self.said = format!("{}; {}", self.said, later.said);
        if later.has_ended {
            self.counted = later.counted;
        }
        self.findings.extend(later.findings);
        self.links.splice(..0, later.links);
        self
    }

    /// This one, and then something went wrong.
    fn but(mut self, failure: &Failure) -> Self {
        self.said = format!("{}; the next could not be begun", self.said);
        let mut finding = Finding::new(FindingKind::NotChecked, self.database.as_str(), format!("tonight was not begun: {failure}"));
        finding.hint.clone_from(&failure.hint);
        self.findings.push(finding);
        self
    }
}

impl Invocation<'_> {
    /// Goes on with the night of a database.
    ///
    /// # Errors
    /// When the server or the bucket cannot be reached.
    pub async fn advance(&self, database: &str, check: &Check) -> Result<Came, Failure> {
        let came = Came { database: database.to_owned(), ..Came::default() };
        let sessions = self.sessions(database);
        let (mut control, major) = sessions.connect("night").await?;
        if check.dry_run {
            return self.dry_run(&mut control, major, came).await;
        }
        let ours: bool = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut control)
            .await
            .context_sql("take the lock of the night")?;
        if !ours {
            return Ok(Came { said: "another invocation is at it".to_owned(), ..came });
        }
        let mut result = self.locked(database, &sessions, &mut control, major, check).await;
        if let Ok((abandoned, true)) = result {
            result = match self.locked(database, &sessions, &mut control, major, check).await {
                Ok((tonight, _)) => Ok((abandoned.and(tonight), false)),
                // What the ended night found is told all the same.
                Err(failure) => Ok((abandoned.but(&failure), false)),
            };
        }
        // With the session goes its lock.
        let _ = control.close().await;
        result.map(|(came, _)| came)
    }

    /// One look, and what follows from it; whether it was only to end a night that nobody went on with.
    async fn locked(
        &self,
        database: &str,
        sessions: &Sessions,
        control: &mut Connection,
        major: u32,
        check: &Check,
    ) -> Result<(Came, bool), Failure> {
        let came = Came { database: database.to_owned(), ..Came::default() };
        let nights = Nights { store: self.store, instance: self.instance, database };
        let known = nights.newest(self.run.now()).await?;
        let ended = known.iter().find(|known| known.has_ended);
        let before: Option<End> = match ended {
            Some(known) => nights.end(known.slot).await?,
            None => None,
        };
        let asked_at = check.scheduled_at.unwrap_or(self.run.started_at).trunc_subsecs(0);
        let choice = tonight(known.first().copied(), asked_at, check.scheduled_at.is_some(), self.settings.night);
        let (known, is_last) = match choice {
            Tonight::Done(known) => {
                return Ok((Came { said: format!("the night of {} has ended", known.slot.format("%Y-%m-%d %H:%M")), ..came }, false));
            }
            Tonight::Begin => (None, false),
            Tonight::GoOn { known, is_last } => (Some(known), is_last),
            Tonight::EndThenBegin(old) => (Some(old), true),
        };
        let slot = known.map_or(asked_at, |known| known.slot);
        let mut work = match known {
            Some(known) => self.work(&nights, known, before.as_ref()).await?,
            None => fresh(before.as_ref()),
        };
        let (team, unread) = self.team().await;
        let team = team.for_database(database);
        let catalog = catalog::look(control, major).await?;
        let ending = Ending { invocation: self, database, slot, catalog, team: &team, unread, before };
        if let Tonight::EndThenBegin(_) = choice {
            let mut ended = ending.end(&nights, work).await?;
            ended.said = format!("the night of {}, which nobody went on with, was ended: {}", slot.format("%Y-%m-%d %H:%M"), ended.said);
            return Ok((ended, true));
        }
        let s3 = aws_sdk_s3::Client::new(self.config);
        let room = Room {
            settings: self.settings,
            sessions,
            s3: &s3,
            catalog: &ending.catalog,
            team: &team,
            before: Before {
                not_reached: ending.before.as_ref().map(|before| &before.not_reached),
                counters: ending.before.as_ref().and_then(|before| before.counters.as_ref()),
                flags: ending.before.as_ref().map(|before| &before.flags),
            },
            slot,
        };
        let mut parts = Parts { nights: &nights, slot, newest: known.map_or(0, |known| known.parts) };
        let done = match work.advance(&room, self.until(), &mut parts).await {
            Ok(done) => done,
            Err(failure) => {
                parts.write(&work).await?;
                return Err(failure);
            }
        };
        if !done && !is_last {
            parts.write(&work).await?;
            let (tables, left) = (ending.catalog.tables.len(), work.not_reached(&ending.catalog.tables).len());
            return Ok((Came { said: format!("under way: {} of {} tables are left", count(left as u64), count(tables as u64)), ..came }, false));
        }
        Ok((ending.end(&nights, work).await?, false))
    }

    async fn work(&self, nights: &Nights<'_>, known: Known, before: Option<&End>) -> Result<Work, Failure> {
        match nights.part(known.slot, known.parts).await? {
            Some(work) => Ok(work),
            None => Ok(fresh(before)),
        }
    }

    /// Where the sessions of a database go.
    pub fn sessions(&self, database: &str) -> Sessions {
        Sessions {
            access: self.access.clone(),
            database: database.to_owned(),
            lock_wait: self.settings.lock_wait,
            statement: self.settings.statement,
        }
    }

    fn until(&self) -> Instant {
        let (share, least, most) = ENDING;
        let left = self.run.work_until.saturating_duration_since(Instant::now());
        self.run.work_until - left.mul_f64(share).clamp(least, most).min(left)
    }

    /// The team's file, and what keeps it from being read.
    async fn team(&self) -> (TeamFile, Option<Finding>) {
        let Some(place) = &self.settings.checks else { return (TeamFile::default(), None) };
        let (s3, ssm) = (aws_sdk_s3::Client::new(self.config), aws_sdk_ssm::Client::new(self.config));
        let loaded = match Place::parse(place) {
            Ok(place) => load::load(&place, &s3, &ssm).await,
            Err(why) => Err(Failure::new(FailureKind::BadSettings, why)),
        };
        match loaded {
            Ok(text) => (TeamFile::read(&text), None),
            // Nobody has written one yet.
            Err(failure) if failure.to_string().contains("ParameterNotFound") => (TeamFile::default(), None),
            Err(failure) => {
                let mut finding = Finding::new(FindingKind::NotChecked, place, format!("none of the team's checks was looked at: {failure}"));
                finding.hint = failure.hint;
                (TeamFile::default(), Some(finding))
            }
        }
    }

    async fn dry_run(&self, control: &mut Connection, major: u32, came: Came) -> Result<Came, Failure> {
        let catalog = catalog::look(control, major).await?;
        let (team, unread) = self.team().await;
        let team = team.for_database(&came.database);
        let todo = fresh(None).left(&catalog.tables, self.settings, None);
        let sampled = todo.iter().filter(|table| table.pages > self.settings.table_pages_max).count();
        let pages: u64 = todo.iter().map(|table| table.pages.min(self.settings.table_pages_max)).sum();
        let said = format!(
            "would read {} of {} tables ({} by a sample), {} pages, which takes {} s at {} pages a second; {} checks of the team's",
            count(todo.len() as u64),
            count(catalog.tables.len() as u64),
            count(sampled as u64),
            count(pages),
            count(pages.div_ceil(self.settings.pages_per_second)),
            count(self.settings.pages_per_second),
            count(team.checks.len() as u64),
        );
        let source = self.settings.checks.as_deref().unwrap_or_default();
        let counted = vec![("tables", catalog.tables.len() as u64), ("pagesToRead", pages)];
        let findings = team.wrong.iter().map(|wrong| wrong.finding(source)).chain(unread).collect();
        Ok(Came { said, counted, findings, ..came })
    }
}

/// A night that begins: what amcheck knows goes on.
fn fresh(before: Option<&End>) -> Work {
    Work { cursor: before.map(|before| before.cursor.clone()).unwrap_or_default(), ..Work::default() }
}

/// Puts what came of the databases into the report.
pub fn summarise(came: &[Came], store: &Store, report: &mut Report) {
    let several = came.len() > 1;
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut said = Vec::new();
    for one in came {
        for (name, value) in &one.counted {
            *sums.entry(name).or_default() += value;
        }
        said.push(if several { format!("{}: {}", one.database, one.said) } else { one.said.clone() });
        report.findings.extend(one.findings.iter().map(|finding| {
            let mut finding = finding.clone();
            if several {
                finding.subject = format!("{}: {}", one.database, finding.subject);
            }
            finding
        }));
        for (title, key) in &one.links {
            report.link(if several { format!("{title} of {}", one.database) } else { title.clone() }, store.address(key));
        }
    }
    report.summary = said.join("; ");
    report.count("nightsEnded", came.iter().filter(|one| one.has_ended).count() as u64, Unit::Count);
    for (name, value) in sums {
        report.count(name, value, Unit::Count);
    }
}

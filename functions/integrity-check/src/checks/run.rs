//! The checks of a database, in the order of their cost: those that one pass over a table answers together, then the others one by one. Each ends in a
//! result; what the time did not reach has none, and is first in the next invocation.

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use serde::{Deserialize, Serialize};
use shared::failure::Failure;
use sqlx::Row;
use tokio::time::{Instant, timeout_at};

use super::check::{Check, Kind, Objects, Rule, TableName};
use super::desk::{Author, Desk, Refusal};
use super::facts::{self, Facts};
use super::outcome::{CheckResult, Outcome, conclude};
use super::pass::{self, Pass, RULES_MAX, pages, parts};
use super::reading::did_you_mean;
use super::{judge, objects, refusal, sql};
use crate::model::{Table, TableMetrics};
use crate::pace::Pace;
use crate::session::Sessions;

/// How far the checks of a night are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What is done, in the order in which it was.
    pub results: Vec<CheckResult>,
    /// A pass that was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<pass::Progress>,
    /// Statements that were sent for it, those of the beginnings and ends of transactions not counted.
    #[serde(default)]
    pub statements: u64,
}

/// What running checks needs.
pub struct Room<'a> {
    /// Where they run.
    pub sessions: &'a Sessions,
    /// The tables of the database, as the catalogs have them.
    pub tables: &'a [Table],
    /// S3, for checks of objects.
    pub s3: &'a Client,
}

/// Runs what has no result yet, but for thresholds, until the time is over. `true`: everything has one.
///
/// # Errors
/// When the server cannot be reached.
pub async fn run(room: &Room<'_>, checks: &[Check], progress: &mut Progress, pace: &mut Pace, until: Instant) -> Result<bool, Failure> {
    let is_left = |check: &&Check| !matches!(check.kind, Kind::Threshold(..)) && progress.results.iter().all(|result| result.name != check.name);
    let left: Vec<&Check> = checks.iter().filter(is_left).collect();
    if left.is_empty() {
        return Ok(true);
    }
    let mut desk = Desk::new(room.sessions, until);
    let done = Runner { room, desk: &mut desk, pace, facts: Facts::new(), lost: None }.all(&left, progress).await;
    progress.statements += desk.statements;
    desk.close().await;
    match done {
        Ok(()) => Ok(true),
        Err(Refusal::Lost(failure)) => Err(failure),
        Err(_) => Ok(false),
    }
}

/// Judges the thresholds by what the night's scan counted. A table that was not reached leaves them unanswered.
pub fn thresholds(checks: &[Check], metrics: &[TableMetrics], tables: &[Table]) -> Vec<CheckResult> {
    let thresholds = checks.iter().filter(|check| matches!(check.kind, Kind::Threshold(..)));
    let judged = thresholds.filter_map(|check| {
        let name = check.table()?;
        let is_there = is_known(name, tables);
        let outcome = match judge::threshold(check, metrics) {
            Some(outcome) => outcome,
            None if is_there => Outcome::NotChecked(format!("the night's scan did not reach {}", name.subject()), None),
            None => Outcome::Invalid(missing(check, name, tables)),
        };
        Some(conclude(check, outcome, 0.0))
    });
    judged.collect()
}

/// What the night did not reach, once it is over.
pub fn not_reached(checks: &[Check], progress: &Progress) -> Vec<CheckResult> {
    let is_left = |check: &&Check| !matches!(check.kind, Kind::Threshold(..)) && progress.results.iter().all(|result| result.name != check.name);
    checks
        .iter()
        .filter(is_left)
        .map(|check| conclude(check, Outcome::NotChecked("the night's time was over before it".to_owned(), None), 0.0))
        .collect()
}

fn is_known(name: &TableName, tables: &[Table]) -> bool {
    let subject = name.subject();
    tables.iter().any(|table| table.root.as_deref() == Some(&subject) || table.schema == name.schema && table.name == name.name)
}

/// Names that are held against one that is not there: so many, and only of about its length.
const NEAR_MAX: usize = 500;
const NEAR_BYTES: usize = 4;

fn missing(check: &Check, name: &TableName, tables: &[Table]) -> String {
    let known: Vec<String> = tables.iter().map(|table| table.root.clone().unwrap_or_else(|| table.subject())).collect();
    let subject = name.subject();
    let is_near = |known: &&str| known.len().abs_diff(subject.len()) <= NEAR_BYTES;
    let known: Vec<&str> = known.iter().map(String::as_str).filter(is_near).take(NEAR_MAX).collect();
    let near = did_you_mean(&subject, &known);
    format!("line {}: there is no table {subject}{near}", check.line)
}

/// Rules for columns of a table, each with the check that it is of.
type Rules<'c> = Vec<(&'c Check, &'c Rule)>;

struct Runner<'r, 'a> {
    room: &'r Room<'a>,
    desk: &'r mut Desk<'a>,
    pace: &'r mut Pace,
    facts: Facts,
    /// The check that a connection was lost over last.
    lost: Option<String>,
}

impl Runner<'_, '_> {
    async fn all(&mut self, left: &[&Check], progress: &mut Progress) -> Result<(), Refusal> {
        let mut wanted: Vec<TableName> = left.iter().filter_map(|check| check.table().cloned()).collect();
        wanted.sort();
        wanted.dedup();
        self.facts = facts::look(self.desk, &wanted).await?;
        let (mut groups, mut single): (BTreeMap<(&TableName, bool), Rules<'_>>, Vec<&Check>) = (BTreeMap::new(), Vec::new());
        for check in left {
            match (&check.kind, check.table()) {
                (_, Some(name)) if self.is_missing(name) => {
                    let outcome = Outcome::Invalid(missing(check, name, self.room.tables));
                    progress.results.push(conclude(check, outcome, 0.0));
                }
                (Kind::Each(name, rule), _) => groups.entry((name, sql::asks_others(check))).or_default().push((check, rule)),
                _ => single.push(check),
            }
        }
        let mut groups: Vec<(&TableName, Rules<'_>)> = groups.into_iter().map(|((name, _), rules)| (name, rules)).collect();
        // A pass that was cut goes on first; then the smallest first, so that most are answered early.
        let cut = progress.pass.as_ref().and_then(|pass| pass.checks.first().cloned());
        groups.sort_by_key(|(name, rules)| (!rules.iter().any(|(check, _)| Some(&check.name) == cut.as_ref()), pages(name, self.room.tables)));
        for (name, rules) in groups {
            for rules in rules.chunks(RULES_MAX) {
                self.pass(name, rules, progress).await?;
            }
        }
        for check in single {
            let begun = Instant::now();
            let outcome = self.one(check).await?;
            progress.results.push(conclude(check, outcome, begun.elapsed().as_secs_f64()));
        }
        Ok(())
    }

    fn is_missing(&self, name: &TableName) -> bool {
        self.facts.get(name).is_some_and(|known| known.relkind.is_none())
    }

    /// All rules of a table together; where that is refused, each alone, so that only the one that is wrong says so.
    async fn pass(&mut self, name: &TableName, rules: &[(&Check, &Rule)], progress: &mut Progress) -> Result<(), Refusal> {
        if let [(check, rule)] = rules {
            let begun = Instant::now();
            let outcome = match self.by_index(name, check, rule).await? {
                Some(outcome) => outcome,
                None => match self.read(name, rules, &mut progress.pass).await {
                    Ok((numbers, now, _)) => judge::rule(name, rule, numbers[0], now),
                    Err(refusal) => self.refused(check, refusal, &self.pass_of(name, rules, &[]).statement()).await?,
                },
            };
            let outcome = self.with_examples(check, outcome).await;
            progress.results.push(conclude(check, outcome, begun.elapsed().as_secs_f64()));
            return Ok(());
        }
        match self.read(name, rules, &mut progress.pass).await {
            Ok((numbers, now, seconds)) => {
                for ((check, rule), number) in rules.iter().zip(numbers) {
                    let outcome = self.with_examples(check, judge::rule(name, rule, number, now)).await;
                    progress.results.push(conclude(check, outcome, seconds));
                }
            }
            Err(Refusal::TimeIsOver) => return Err(Refusal::TimeIsOver),
            Err(_) => {
                for one in rules {
                    Box::pin(self.pass(name, std::slice::from_ref(one), progress)).await?;
                }
            }
        }
        Ok(())
    }

    fn pass_of<'p>(&self, name: &'p TableName, checks: &'p [(&'p Check, &'p Rule)], parts: &'p [pass::Part]) -> Pass<'p> {
        Pass { checks, name, parts, pages: pages(name, self.room.tables) }
    }

    async fn read(
        &mut self,
        name: &TableName,
        rules: &[(&Check, &Rule)],
        progress: &mut Option<pass::Progress>,
    ) -> Result<(Vec<Option<f64>>, Option<f64>, f64), Refusal> {
        let is_one = self.facts.get(name).is_some_and(|known| known.has_heirs) || rules.iter().any(|(check, _)| sql::asks_others(check));
        let parts = parts(name, self.room.tables, is_one);
        let (mut numbers, seconds) = self.pass_of(name, rules, &parts).advance(self.desk, progress, self.pace).await?;
        let now = numbers.pop().flatten();
        self.lost = None;
        Ok((numbers, now, seconds))
    }

    /// The newest time alone is at the end of an index.
    async fn by_index(&mut self, name: &TableName, check: &Check, rule: &Rule) -> Result<Option<Outcome>, Refusal> {
        let is_ordered = self.facts.get(name).is_some_and(|known| known.ordered.contains(&rule.column));
        if !is_ordered || check.filter.is_some() || !matches!(rule.holds, super::check::Holds::Fresh(_)) {
            return Ok(None);
        }
        match self.desk.ask(&sql::newest(name, &rule.column), Author::Ours, check.timeout).await {
            Ok(rows) => {
                let numbers: Vec<Option<f64>> = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_default();
                Ok(Some(judge::rule(name, rule, numbers.first().copied().flatten(), numbers.get(1).copied().flatten())))
            }
            Err(Refusal::TimeIsOver) => Err(Refusal::TimeIsOver),
            // The pass says why.
            Err(_) => Ok(None),
        }
    }

    /// A check that has a statement of its own.
    async fn one(&mut self, check: &Check) -> Result<Outcome, Refusal> {
        let statement = match &check.kind {
            Kind::Rows(query) => sql::rows(query, check.show_values),
            Kind::Scalar(query, _) => sql::scalar(query),
            Kind::Unique(name, columns) => {
                if self.facts.get(name).is_some_and(|known| known.promises_unique(columns)) {
                    return Ok(Outcome::Holds { value: None });
                }
                sql::unique(check, name, columns)
            }
            Kind::References(reference) => {
                if self.facts.get(&reference.table).is_some_and(|known| known.promises_reference(reference)) {
                    return Ok(Outcome::Holds { value: None });
                }
                sql::references(reference, check.filter.as_ref())
            }
            Kind::Objects(objects) => return self.objects(check, objects).await,
            Kind::Each(..) | Kind::Threshold(..) => return Ok(Outcome::Holds { value: None }),
        };
        self.allow(check).await?;
        let rows = match self.desk.ask(&statement, sql::author(check), check.timeout).await {
            Ok(rows) => rows,
            Err(refusal) => return self.refused(check, refusal, &statement).await,
        };
        self.lost = None;
        let first = rows.first();
        let number = || first.and_then(|row| row.try_get::<i64, _>(0).ok()).unwrap_or(0);
        let outcome = match &check.kind {
            Kind::Rows(_) => judge::rows(number(), first.and_then(|row| row.try_get(1).ok()).unwrap_or_default()),
            Kind::Scalar(_, promise) => judge::scalar(check, *promise, first.and_then(|row| row.try_get(0).ok().flatten())),
            Kind::Unique(name, columns) => judge::unique(name, columns, number(), Vec::new()),
            Kind::References(reference) => judge::references(reference, number(), Vec::new()),
            _ => Outcome::Holds { value: None },
        };
        Ok(self.with_examples(check, outcome).await)
    }

    /// Waits until the pages that a check reads may be read.
    async fn allow(&mut self, check: &Check) -> Result<(), Refusal> {
        let mut read = check.table().map_or(0, |name| pages(name, self.room.tables));
        if let Kind::References(reference) = &check.kind {
            read += pages(&reference.parent, self.room.tables);
        }
        timeout_at(self.desk.until, self.pace.take(read)).await.map_err(|_| Refusal::TimeIsOver)
    }

    async fn objects(&mut self, check: &Check, wanted: &Objects) -> Result<Outcome, Refusal> {
        let all = pages(&wanted.table, self.room.tables);
        let window = self.pace.window_pages();
        let is_table = self.facts.get(&wanted.table).is_some_and(|known| matches!(known.relkind.as_deref(), Some("r" | "p" | "m")));
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = (is_table && all > window).then(|| 100.0 * window as f64 / all as f64);
        let statement = sql::keys(check, &wanted.table, &wanted.column, share, wanted.sample);
        timeout_at(self.desk.until, self.pace.take(all.min(window))).await.map_err(|_| Refusal::TimeIsOver)?;
        match self.desk.ask(&statement, sql::author(check), check.timeout).await {
            Ok(rows) => {
                let keys: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
                objects::judge(wanted, self.room.s3, &keys, check.show_values, self.desk.until).await.ok_or(Refusal::TimeIsOver)
            }
            Err(refusal) => self.refused(check, refusal, &statement).await,
        }
    }

    /// A few values that break a check, where it asks for them.
    async fn with_examples(&mut self, check: &Check, outcome: Outcome) -> Outcome {
        let Outcome::Fails { violations, value, seen, expected, shown } = outcome else { return outcome };
        let statement = sql::examples(check).filter(|_| check.show_values && shown.is_empty());
        let shown = match statement {
            Some(statement) => match self.desk.ask(&statement, sql::author(check), check.timeout).await {
                Ok(rows) => {
                    rows.first().and_then(|row| row.try_get::<Vec<Option<String>>, _>(0).ok()).unwrap_or_default().into_iter().flatten().collect()
                }
                // That it fails is known; that nothing can be shown is no news.
                Err(_) => shown,
            },
            None => shown,
        };
        Outcome::Fails { violations, value, seen, expected, shown }
    }

    /// What a refusal means, after a look at why. A check over which connections are lost again and again is not tried for ever.
    async fn refused(&mut self, check: &Check, refused: Refusal, statement: &str) -> Result<Outcome, Refusal> {
        let denials = match &refused {
            Refusal::TimeIsOver => return Err(Refusal::TimeIsOver),
            Refusal::Lost(failure) => {
                // Two checks in a row: it is not the check.
                if self.lost.as_ref().is_some_and(|lost| *lost != check.name) {
                    return Err(Refusal::Lost(failure.clone()));
                }
                self.lost = Some(check.name.clone());
                return Ok(refusal::judge(check, &refused, statement, self.desk.role(), &[]));
            }
            Refusal::Server(said) if said.trouble == shared_postgres::trouble::Trouble::Denied => {
                let mut tables: Vec<TableName> = check.table().cloned().into_iter().collect();
                if let Kind::References(reference) = &check.kind {
                    tables.push(reference.parent.clone());
                }
                facts::denials(self.desk, &tables).await
            }
            _ => Vec::new(),
        };
        self.lost = None;
        Ok(refusal::judge(check, &refused, statement, self.desk.role(), &denials))
    }
}

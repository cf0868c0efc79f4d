//! All rules of a table in one pass over its pages: windows at the pace of the night, one after the other, each a statement of its own; the numbers of the
//! windows are added up. What is not finished goes on in the next invocation where it was.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared_postgres::windows::{END, Span};
use sqlx::Row;
use tokio::time::{Instant, timeout_at};

use super::check::{Check, Rule, TableName};
use super::desk::{Author, Desk, Refusal};
use super::sql::{self, From};
use crate::model::Table;
use crate::pace::Pace;

/// Rules that one statement judges at most.
pub const RULES_MAX: usize = 100;

/// How far a pass is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The checks that it is for: a pass for others begins anew.
    pub checks: Vec<String>,
    /// The part of the table that is read: `SCHEMA.NAME` of a partition, or of the table itself.
    pub part: String,
    /// The next page.
    pub page: u64,
    /// Sums so far.
    pub numbers: Vec<Option<f64>>,
    /// How long it took so far.
    pub seconds: f64,
}

/// A relation that is read on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    name: TableName,
    /// Its pages; `None`: it is read by one statement, for it has no pages of its own, or they may not be read alone.
    pages: Option<u64>,
}

/// The relations that hold the rows of a table: itself, or its partitions. What is not a table of that kind (a view, say), is read by one statement, and so
/// is what must be: `is_one`.
pub fn parts(name: &TableName, tables: &[Table], is_one: bool) -> Vec<Part> {
    let subject = name.subject();
    let whole = || vec![Part { name: name.clone(), pages: None }];
    let part = |table: &Table| Part { name: TableName { schema: table.schema.clone(), name: table.name.clone() }, pages: Some(table.pages) };
    let itself: Vec<&Table> = tables.iter().filter(|table| table.schema == name.schema && table.name == name.name).collect();
    let leaves: Vec<&Table> = tables.iter().filter(|table| table.root.as_deref() == Some(&subject)).collect();
    let chosen = if itself.is_empty() { leaves } else { itself };
    // Whoever may read the root may not be allowed to read a partition by its own name.
    if chosen.is_empty() || is_one || chosen.iter().any(|table| !table.may_select) { whole() } else { chosen.into_iter().map(part).collect() }
}

/// Pages of all parts, as far as they are known.
pub fn pages(name: &TableName, tables: &[Table]) -> u64 {
    let subject = name.subject();
    tables
        .iter()
        .filter(|table| table.root.as_deref() == Some(&subject) || table.schema == name.schema && table.name == name.name)
        .map(|table| table.pages)
        .sum()
}

/// What a pass needs.
pub struct Pass<'a> {
    /// The checks, with their rules.
    pub checks: &'a [(&'a Check, &'a Rule)],
    /// The table.
    pub name: &'a TableName,
    /// What is read.
    pub parts: &'a [Part],
    /// Pages of the table, as far as they are known.
    pub pages: u64,
}

impl Pass<'_> {
    fn names(&self) -> Vec<String> {
        self.checks.iter().map(|(check, _)| check.name.clone()).collect()
    }

    /// The statement that reads everything, as far as an error needs it.
    pub fn statement(&self) -> String {
        sql::pass(self.checks, &From { relation: self.name.clone(), alias: &self.name.name, span: None })
    }

    /// Reads on until everything is read, and gives the number of each rule and, last, the server's time.
    ///
    /// # Errors
    /// When a statement was refused, or the time is over: then `progress` has what was done.
    pub async fn advance(&self, desk: &mut Desk<'_>, progress: &mut Option<Progress>, pace: &mut Pace) -> Result<(Vec<Option<f64>>, f64), Refusal> {
        let names = self.names();
        let begun = progress.take().filter(|begun| begun.checks == names && self.parts.iter().any(|part| part.name.subject() == begun.part));
        let mut state = begun.unwrap_or_else(|| Progress { checks: names, numbers: vec![None; self.checks.len() + 1], ..Progress::default() });
        // One that takes long alone is found alone, and must not hold up the others until then.
        let timeout = self.checks.iter().map(|(check, _)| check.timeout).min().unwrap_or_default();
        let author = if self.checks.iter().any(|(check, _)| sql::author(check) == Author::Team) { Author::Team } else { Author::Ours };
        let first = self.parts.iter().position(|part| part.name.subject() == state.part).unwrap_or(0);
        for part in &self.parts[first..] {
            let subject = part.name.subject();
            if state.part != subject {
                (state.part, state.page) = (subject, 0);
            }
            loop {
                let span = part.pages.map(|pages| window(state.page, pages, pace.window_pages()));
                match self.read(desk, pace, part, span, author, timeout, &mut state).await {
                    Ok(()) => {}
                    Err(Refusal::TimeIsOver) => {
                        *progress = Some(state);
                        return Err(Refusal::TimeIsOver);
                    }
                    Err(refusal) => return Err(refusal),
                }
                match span {
                    Some(span) if span.to < END => state.page = span.to,
                    _ => break,
                }
            }
        }
        Ok((state.numbers, state.seconds))
    }

    #[expect(clippy::too_many_arguments, reason = "one window of a pass")]
    async fn read(
        &self,
        desk: &mut Desk<'_>,
        pace: &mut Pace,
        part: &Part,
        span: Option<Span>,
        author: Author,
        timeout: Duration,
        state: &mut Progress,
    ) -> Result<(), Refusal> {
        let read = span.map_or(self.pages, |span| span.to.min(part.pages.unwrap_or(0)).saturating_sub(span.from));
        timeout_at(desk.until, pace.take(read)).await.map_err(|_| Refusal::TimeIsOver)?;
        let begun = Instant::now();
        let statement = sql::pass(self.checks, &From { relation: part.name.clone(), alias: &self.name.name, span });
        let rows = desk.ask(&statement, author, timeout).await?;
        let numbers: Vec<Option<f64>> = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_default();
        if numbers.len() == state.numbers.len() {
            let rules = self.checks.iter().map(|(_, rule)| Some(*rule)).chain([None]);
            for ((sum, number), rule) in state.numbers.iter_mut().zip(numbers).zip(rules) {
                *sum = merged(*sum, number, rule);
            }
        }
        state.seconds += begun.elapsed().as_secs_f64();
        Ok(())
    }
}

/// The next window; the last is open, so that no page beyond the size that was measured is lost.
fn window(from: u64, pages: u64, size: u64) -> Span {
    let to = from.saturating_add(size.max(1));
    Span { from, to: if to >= pages { END } else { to } }
}

/// Counts are added; of times, ours with them, the newest counts.
fn merged(one: Option<f64>, other: Option<f64>, rule: Option<&Rule>) -> Option<f64> {
    let is_time = rule.is_none_or(|rule| matches!(rule.holds, super::check::Holds::Fresh(_)));
    match (one, other) {
        (Some(one), Some(other)) => Some(if is_time { one.max(other) } else { one + other }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_page_once() {
        for (pages, size) in [(0, 10), (1, 10), (10, 10), (11, 10), (1000, 1), (5, 0)] {
            let (mut at, mut spans) = (0, 0);
            loop {
                let span = window(at, pages, size);
                assert_eq!(span.from, at);
                spans += 1;
                if span.to == END {
                    break;
                }
                at = span.to;
            }
            assert_eq!(spans, pages.div_ceil(size.max(1)).max(1), "{pages} pages in windows of {size}");
        }
    }

    #[test]
    fn a_table_is_read_by_its_leaves_where_they_may_be_read() {
        let table = |name: &str, root: Option<&str>, may_select| Table {
            oid: 1,
            schema: "s".into(),
            name: name.into(),
            root: root.map(str::to_owned),
            pages: 7,
            tuples: None,
            may_select,
            is_locked: false,
            columns: Vec::new(),
        };
        let name = |name: &str| TableName { schema: "s".into(), name: name.into() };
        let tables = [table("a", None, true), table("p1", Some("s.p"), true), table("p2", Some("s.p"), true), table("q1", Some("s.q"), false)];
        let of = |one: &str| parts(&name(one), &tables, false).into_iter().map(|part| (part.name.name, part.pages)).collect::<Vec<_>>();
        assert_eq!(of("a"), [("a".to_owned(), Some(7))]);
        assert_eq!(of("p"), [("p1".to_owned(), Some(7)), ("p2".to_owned(), Some(7))]);
        assert_eq!(of("q"), [("q".to_owned(), None)]);
        assert_eq!(of("view"), [("view".to_owned(), None)]);
        assert_eq!(parts(&name("a"), &tables, true)[0].pages, None);
        assert_eq!((pages(&name("p"), &tables), pages(&name("a"), &tables), pages(&name("view"), &tables)), (14, 7, 0));
    }
}

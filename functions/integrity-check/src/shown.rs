//! From what a night knows to what its page shows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use maud::Markup;
use shared::human::{bytes, count};

use crate::anomaly::Judgement;
use crate::checks::{CheckResult, State};
use crate::dashboard::{self, CheckRow, CheckState, Coverage, DatabasePage, FlagRow, Page, QueryRow, ShownFinding};
use crate::history::{Past, TableTonight};
use crate::queries::{Figures, Review, growth};
use crate::standing::Judged;
use crate::work::Work;

/// Queries on the page.
const QUERIES_MAX: usize = 10;

/// What the page is made of.
pub(crate) struct Shown<'a> {
    pub(crate) instance: &'a str,
    pub(crate) stage: &'a str,
    pub(crate) runbook: Option<&'a str>,
    pub(crate) database: &'a str,
    pub(crate) slot: DateTime<Utc>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) tables: &'a [TableTonight],
    pub(crate) past: &'a Past,
    pub(crate) judgement: &'a Judgement,
    pub(crate) judged: &'a Judged,
    pub(crate) results: &'a [CheckResult],
    pub(crate) work: &'a Work,
    pub(crate) not_reached: &'a BTreeMap<String, u32>,
    pub(crate) figures_before: Option<&'a Figures>,
}

/// The page of a night.
pub(crate) fn page(shown: &Shown<'_>) -> Markup {
    let findings: Vec<ShownFinding> = shown
        .judged
        .standing
        .iter()
        .map(|standing| ShownFinding { finding: standing.finding.clone(), since: (standing.since < shown.now).then(|| standing.since.date_naive()) })
        .collect();
    let queries = shown.work.queries.as_ref();
    let database = DatabasePage {
        name: shown.database.to_owned(),
        tables: dashboard::tables(shown.past, shown.tables, shown.judgement, &findings),
        findings,
        resolved: shown.judged.gone.iter().map(|standing| standing.finding.clone()).collect(),
        checks: shown.results.iter().map(check).collect(),
        queries: queries.map(|queries| self::queries(&queries.review)).unwrap_or_default(),
        queries_missing: queries.and_then(|queries| queries.missing.as_ref()).map(|missing| missing.seen.clone()),
        flags: flags(shown.work),
        not_reached: shown.not_reached.keys().cloned().collect(),
        coverage: coverage(shown),
        figures: queries.map(|queries| figures(&queries.figures, shown.figures_before)).unwrap_or_default(),
        remarks: remarks(shown.past),
    };
    dashboard::page(&Page {
        instance: shown.instance.to_owned(),
        stage: shown.stage.to_owned(),
        night: shown.slot,
        written_at: shown.now,
        runbook: shown.runbook.map(str::to_owned),
        databases: vec![database],
    })
}

fn check(result: &CheckResult) -> CheckRow {
    let state = match result.state {
        State::Ok => CheckState::Ok,
        State::Failed => CheckState::Failed,
        State::Invalid => CheckState::Invalid,
        State::NotChecked => CheckState::NotChecked,
    };
    // Its finding may show values, where the team asked for them: for the report, and not for a page that is passed around.
    let at_least = if result.at_least { "at least " } else { "" };
    let seen = match (result.state, result.violations) {
        (State::Failed, Some(violations)) => format!("{at_least}{} violations", count(violations)),
        (State::Invalid | State::NotChecked, _) => result.finding.as_ref().map(|finding| finding.seen.clone()).unwrap_or_default(),
        (State::Failed, None) => "it does not hold".to_owned(),
        (State::Ok, _) => String::new(),
    };
    CheckRow { name: result.name.clone(), table: result.table.clone(), state, seen, owner: result.owner.clone(), seconds: result.seconds }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count that is shown")]
fn queries(review: &Review) -> Vec<QueryRow> {
    let remarks = [(&review.new, "new"), (&review.slower, "slower")];
    let remark = |query: i64| remarks.iter().find(|(of, _)| of.iter().any(|one| one.query == query)).map(|(_, word)| (*word).to_owned());
    let mut rows: Vec<QueryRow> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for one in review.new.iter().chain(&review.slower).chain(&review.top).filter(|one| seen.insert(one.query)) {
        let times = one.mean_milliseconds_before.filter(|before| *before > 0.0).map(|before| one.mean_milliseconds / before);
        let remark = match (remark(one.query), times) {
            (Some(word), Some(times)) if word == "slower" => format!("{times:.1} times slower"),
            (Some(word), _) => word,
            (None, _) => String::new(),
        };
        rows.push(QueryRow {
            text: one.text.clone().unwrap_or_else(|| format!("query {}", one.query)),
            remark,
            share: one.share,
            calls: one.calls.max(0.0) as u64,
            mean_ms: one.mean_milliseconds,
        });
    }
    rows.sort_by(|a, b| b.share.total_cmp(&a.share));
    rows.truncate(QUERIES_MAX);
    rows
}

fn flags(work: &Work) -> Vec<FlagRow> {
    let findings = work.flags.iter().flat_map(|flags| &flags.findings);
    findings.map(|finding| FlagRow { name: finding.subject.clone(), why: finding.seen.clone() }).collect()
}

fn coverage(shown: &Shown<'_>) -> Option<Coverage> {
    let known = &shown.work.corruption.coverage;
    let today = shown.slot.timestamp().div_euclid(86_400);
    (known.relations > 0).then(|| Coverage {
        verified_pages: known.checked_pages,
        pages: known.pages,
        tonight_pages: shown.work.corruption.pages,
        oldest_days: known.oldest_day.map(|day| u64::try_from(today - i64::from(day)).unwrap_or(0)),
    })
}

fn figures(now: &Figures, before: Option<&Figures>) -> Vec<(String, String)> {
    let more = before.map(|before| now.database_bytes.saturating_sub(before.database_bytes)).filter(|more| *more > 0);
    let mut size = bytes(now.database_bytes);
    if let Some(more) = more {
        size.push_str(&format!(", {} more than last night", bytes(more)));
    }
    let mut figures = vec![("size".to_owned(), size)];
    if let Some((name, more)) = before.and_then(|before| growth(before, now, 1).into_iter().next()) {
        figures.push(("grew most".to_owned(), format!("{name}, by {}", bytes(more))));
    }
    figures.push(("connections".to_owned(), format!("{} of {}", count(now.connections), count(now.connections_max))));
    figures
}

fn remarks(past: &Past) -> Vec<String> {
    let mut remarks: Vec<String> = past.left_out.iter().cloned().collect();
    if let Some(first) = past.unreadable.first() {
        remarks.push(format!("{} earlier nights could not be read, such as {first}", count(past.unreadable.len() as u64)));
    }
    if past.nights.is_empty() {
        remarks.push("This is the first night: counts and shares are judged from the second week on.".to_owned());
    }
    remarks
}

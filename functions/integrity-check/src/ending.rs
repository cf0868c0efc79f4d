//! The end of a night: everything that was found is judged, held against what stood, and written down: history, page, and the end itself, last.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::human::count;
use shared::key::segment;
use shared::report::slot_name;
use shared_postgres::soundness::Found;

use crate::anomaly::{self, Judgement};
use crate::catalog::{self, Catalog, Marks};
use crate::checks::{self, CheckResult, State, TeamFile};
use crate::corruption::Cursor;
use crate::flags::Memory;
use crate::history::{self, Extremes, Past, TableTonight};
use crate::night::{Came, Invocation};
use crate::nights::Nights;
use crate::queries::{Counters, Figures};
use crate::shown::{Shown, page};
use crate::standing::{self, Judged, Standing};
use crate::work::Work;

/// What a night leaves to the next ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct End {
    /// When it was written.
    pub at: DateTime<Utc>,
    /// What stands.
    pub standing: Vec<Standing>,
    /// What amcheck knows.
    pub cursor: Cursor,
    /// What is compared with for forecasts.
    pub marks: Option<Marks>,
    /// Tables that were not reached, and how many nights in a row.
    pub not_reached: BTreeMap<String, u32>,
    /// What is known of flags.
    pub flags: Memory,
    /// Counters of queries.
    pub counters: Option<Counters>,
    /// Sizes and connections.
    pub figures: Option<Figures>,
}

/// What ending a night needs.
pub(crate) struct Ending<'a> {
    pub(crate) invocation: &'a Invocation<'a>,
    pub(crate) database: &'a str,
    pub(crate) slot: DateTime<Utc>,
    pub(crate) catalog: Catalog,
    pub(crate) team: &'a TeamFile,
    /// What kept the team's file from being read.
    pub(crate) unread: Option<Finding>,
    pub(crate) before: Option<End>,
}

impl Ending<'_> {
    /// Ends the night.
    ///
    /// # Errors
    /// When the bucket cannot be read or written: the next invocation ends it.
    pub(crate) async fn end(mut self, nights: &Nights<'_>, mut work: Work) -> Result<Came, Failure> {
        let (store, instance) = (self.invocation.store, self.invocation.instance);
        let now = self.invocation.run.now();
        let before = self.before.take().unwrap_or_default();
        self.catalog.facts.before = before.marks.clone();
        let metrics = work.metrics(&self.catalog.tables);
        let mut results = work.checks.results.clone();
        results.extend(checks::thresholds(&self.team.checks, &metrics, &self.catalog.tables));
        results.extend(checks::not_reached(&self.team.checks, &work.checks));
        let ranges = catalog::column_ranges(&self.catalog.facts.ranges, &metrics);
        let tables = history::tonight(&self.catalog.tables, metrics);
        let past = history::read(store, instance, self.database, self.slot, &tables, history::BYTES_MAX).await?;
        let judgement = anomaly::judge(&past, &tables, self.slot, &self.team.calendar);
        let missed = self.missed(&work, &before);
        let mut found = self.found(&work, &results, &past, &tables, &judgement, now);
        found.extend(ranges);
        found.extend(not_reached(&missed, self.slot));
        let found = bounded(found);
        let looked = looked_at(&tables, &work, &results);
        let judged = standing::judge(before.standing, found, looked, now);

        let dashboard = format!("dashboard/{}/{}/{}.html", segment(instance), segment(self.database), slot_name(self.slot));
        let shown = Shown {
            instance,
            stage: self.invocation.stage,
            runbook: self.invocation.settings.runbook_url.as_deref(),
            database: self.database,
            slot: self.slot,
            now,
            tables: &tables,
            past: &past,
            judgement: &judgement,
            judged: &judged,
            results: &results,
            work: &work,
            not_reached: &missed,
            figures_before: before.figures.as_ref(),
        };
        let html = page(&shown).into_string().into_bytes();
        // An invocation that died before the end was written has left these two; the first that was written stands.
        written(history::write(store, instance, self.database, self.slot, &tables, &judgement.marks, Extremes::Values).await.map(|_| ()))?;
        written(store.put(&dashboard, html, "text/html; charset=utf-8").await.map(|_| ()))?;
        let came = self.came(&work, &tables, &results, &judged, dashboard);
        let end = End {
            at: now,
            standing: judged.standing,
            cursor: std::mem::take(&mut work.cursor),
            marks: Some(self.catalog.facts.marks(now)),
            not_reached: missed,
            flags: work.flags.take().and_then(|flags| flags.memory).unwrap_or(before.flags),
            counters: work.queries.as_mut().and_then(|queries| queries.counters.take()).or(before.counters),
            figures: work.queries.take().map(|queries| queries.figures).or(before.figures),
        };
        nights.write_end(self.slot, &end).await?;
        Ok(came)
    }

    /// Tables that were not reached, and how many nights in a row.
    fn missed(&self, work: &Work, before: &End) -> BTreeMap<String, u32> {
        let nights = |subject: &String| before.not_reached.get(subject).copied().unwrap_or(0) + 1;
        work.not_reached(&self.catalog.tables).into_iter().map(|subject| (subject.clone(), nights(&subject))).collect()
    }

    /// Everything that was found, the same thing once.
    fn found(
        &self,
        work: &Work,
        results: &[CheckResult],
        past: &Past,
        tables: &[TableTonight],
        judgement: &Judgement,
        now: DateTime<Utc>,
    ) -> Vec<Finding> {
        let source = self.invocation.settings.checks.as_deref().unwrap_or_default();
        let mut found = work.corruption.findings.clone();
        found.extend(catalog::judge(&self.catalog.facts, now));
        found.extend(judgement.findings.iter().cloned());
        found.extend(work.findings().cloned());
        found.extend(history::changes(past, tables));
        found.extend(self.unread.clone());
        found.extend(self.team.wrong.iter().map(|wrong| wrong.finding(source)));
        found.extend(results.iter().filter_map(|result| result.finding.clone()));
        found.extend(work.orphans.findings.iter().cloned());
        found.extend(work.flags.iter().flat_map(|flags| flags.findings.iter().cloned()));
        if let Some(queries) = &work.queries {
            found.extend(queries.missing.clone());
            found.extend(queries.review.findings());
        }
        found
    }

    fn came(&self, work: &Work, tables: &[TableTonight], results: &[CheckResult], judged: &Judged, dashboard: String) -> Came {
        let read: Vec<&TableTonight> = tables.iter().filter(|table| table.metrics.is_some()).collect();
        let rows: u64 = read.iter().filter_map(|table| table.metrics.as_ref()).map(|metrics| metrics.rows).sum();
        let failed = results.iter().filter(|result| result.state != State::Ok).count();
        let counted = vec![
            ("tables", tables.len() as u64),
            ("tablesRead", read.len() as u64),
            ("rowsCounted", rows),
            ("pagesRead", work.pages),
            ("pagesVerified", work.corruption.pages),
            ("checksFailed", failed as u64),
            ("findingsStanding", judged.standing.len() as u64),
            ("findingsNew", judged.new as u64),
        ];
        let mut said = format!("{} of {} tables read, {} rows", count(read.len() as u64), count(tables.len() as u64), count(rows));
        if !results.is_empty() {
            let good = results.len() - failed;
            said.push_str(&format!("; {} of {} checks hold", count(good as u64), count(results.len() as u64)));
        }
        said.push_str(&match (judged.new, judged.gone.len(), judged.standing.len()) {
            (0, 0, 0) => "; nothing found".to_owned(),
            (new, gone, standing) => format!("; {new} new, {gone} gone, {standing} stand"),
        });
        Came {
            database: self.database.to_owned(),
            said,
            has_ended: true,
            counted,
            findings: judged.told.clone(),
            links: vec![("page".to_owned(), dashboard), ("history".to_owned(), history::key(self.invocation.instance, self.database, self.slot))],
        }
    }
}

/// What a night did not reach.
fn not_reached(tables: &BTreeMap<String, u32>, slot: DateTime<Utc>) -> Vec<Finding> {
    /// Nights after which it is no longer only put off.
    const NIGHTS_MAX: u32 = 7;
    let Some((first, _)) = tables.first_key_value() else { return Vec::new() };
    let late: Vec<(&String, &u32)> = tables.iter().filter(|(_, nights)| **nights >= NIGHTS_MAX).collect();
    let hint = "raise NightPagesMax, PagesPerSecond or the length of the night, or let tables be sampled sooner (TablePagesMax)";
    let seen = format!("{} of the night of {}: {first}{}", count(tables.len() as u64), slot.format("%Y-%m-%d"), more(tables.len()));
    let mut findings =
        vec![Finding::new(FindingKind::NotReached, "tables", seen).hint(format!("nothing: they are first in the next night; to reach more, {hint}"))];
    if let Some((name, nights)) = late.first() {
        let seen = format!("{} tables were not reached for {NIGHTS_MAX} nights and more, {name} for {nights}", count(late.len() as u64));
        findings.push(Finding::new(FindingKind::NotChecked, "tables", seen).hint(hint));
    }
    findings
}

fn more(tables: usize) -> String {
    if tables > 1 { format!(" and {} more", count(tables as u64 - 1)) } else { String::new() }
}

/// What is there already was written by an invocation that died.
fn written(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(failure) if failure.kind == FailureKind::Conflict => Ok(()),
        other => other,
    }
}

/// Each thing once, and of a kind no more than a person reads; the last says how many more.
fn bounded(found: Vec<Finding>) -> Vec<Finding> {
    let mut seen: HashSet<(FindingKind, String)> = HashSet::new();
    let mut kinds: BTreeMap<FindingKind, Vec<Finding>> = BTreeMap::new();
    for finding in found {
        if seen.insert((finding.kind, finding.subject.clone())) {
            kinds.entry(finding.kind).or_default().push(finding);
        }
    }
    // The team asked for each of its checks by name.
    let is_asked_for = |kind: FindingKind| matches!(kind, FindingKind::CheckFailed | FindingKind::CheckWarned | FindingKind::CheckNoted);
    kinds
        .into_iter()
        .flat_map(|(kind, findings)| if is_asked_for(kind) { findings } else { Found::from(findings).findings(|finding| Some(finding.clone())) })
        .collect()
}

/// Whether this night could have found a thing again.
fn looked_at<'a>(tables: &'a [TableTonight], work: &'a Work, results: &'a [CheckResult]) -> impl Fn(&Finding) -> bool + use<'a> {
    let read: BTreeSet<&str> = tables.iter().filter(|table| table.metrics.is_some()).map(|table| table.table.as_str()).collect();
    let there: BTreeSet<&str> = tables.iter().map(|table| table.table.as_str()).collect();
    let unanswered: BTreeSet<&str> = results.iter().filter(|result| result.state == State::NotChecked).map(|result| result.name.as_str()).collect();
    let amcheck_ran = !work.corruption.findings.is_empty() || work.corruption.coverage.relations > 0;
    move |finding| {
        use FindingKind as Kind;
        let subject = finding.subject.as_str();
        match finding.kind {
            Kind::TableEmptied
            | Kind::RowsShrank
            | Kind::FirstNulls
            | Kind::FirstNegative
            | Kind::MetricAnomaly
            | Kind::LevelShift
            | Kind::PartlySeen => read.contains(subject) || !there.contains(subject),
            Kind::CheckFailed | Kind::CheckWarned | Kind::CheckNoted => !unanswered.contains(subject),
            Kind::OrphanRows => work.orphans_done,
            Kind::FlagStale => work.flags.as_ref().is_none_or(|flags| flags.memory.is_some()),
            Kind::HeapCorrupt | Kind::IndexCorrupt => amcheck_ran,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use shared_postgres::soundness::NAMED_MAX;

    use super::*;

    #[test]
    fn a_thing_is_said_once_and_many_are_counted_but_not_the_teams() {
        let many = |kind, prefix: &str| (0..NAMED_MAX + 5).map(|number| Finding::new(kind, format!("{prefix}{number}"), "seen")).collect::<Vec<_>>();
        let mut found = many(FindingKind::IndexUnused, "i");
        found.extend(many(FindingKind::IndexUnused, "i"));
        found.extend(many(FindingKind::CheckFailed, "c"));
        let found = bounded(found);
        let of = |kind| found.iter().filter(|finding| finding.kind == kind).count();
        assert_eq!((of(FindingKind::IndexUnused), of(FindingKind::CheckFailed)), (NAMED_MAX, NAMED_MAX + 5));
        assert!(found.iter().any(|finding| finding.seen.ends_with("(and 5 more like it)")));
    }

    #[test]
    fn what_was_not_reached_is_not_called_gone() {
        let table = |name: &str, is_read: bool| TableTonight {
            table: name.to_owned(),
            quoted: String::new(),
            pages: 1,
            columns: Vec::new(),
            metrics: is_read.then(Default::default),
        };
        let (tables, work) = ([table("public.read", true), table("public.not", false)], Work::default());
        let looked = looked_at(&tables, &work, &[]);
        let of = |kind, subject: &str| looked(&Finding::new(kind, subject, ""));
        assert!(of(FindingKind::FirstNulls, "public.read") && of(FindingKind::FirstNulls, "public.dropped"));
        assert!(!of(FindingKind::FirstNulls, "public.not") && !of(FindingKind::HeapCorrupt, "public.read"));
        assert!(of(FindingKind::IndexInvalid, "public.x") && !of(FindingKind::OrphanRows, "public.x.y"));
    }
}

//! amcheck of every table and index of a copy, then what the catalogs say: one window or one index is one step of the ledger.
//!
//! A check that does not end says nothing: it is begun again in the next invocation, and given up as "not checked" when that did not help.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared_postgres::Connection;
use shared_postgres::amcheck::{self, Ended, Order, Place, Target, Tools};
use shared_postgres::route::Route;
use shared_postgres::session::{self, Limits};
use shared_postgres::trouble::Trouble;
use shared_postgres::windows::{Plan, Span, joined};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::integrity::{self, Facts};
use crate::reading::Job;
use crate::reading::progress::{CUTS_MAX, DAMAGED_MAX};
use crate::reading::turn::{LOCK_WAIT_MS, Turn};

/// How far the checks are, and what they found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Whether everything was checked, or given up with a finding.
    pub done: bool,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Tables whose every page was checked, those of the system with them.
    pub tables: u64,
    /// Pages of them.
    pub pages: u64,
    /// Indexes that were checked.
    pub indexes: u64,
    /// Indexes that amcheck cannot check, by their method: nothing is known about their inside.
    pub indexes_without_check: BTreeMap<String, u64>,
    /// Tables and indexes that are not checked yet.
    pub left: u64,
    /// From the catalogs; there once everything else is done.
    pub facts: Option<Facts>,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Sound,
    Corrupt { blocks: Vec<u64>, said: String },
    NotChecked(Finding),
}

/// What is known about a table or an index.
#[derive(Clone, Debug, Default)]
struct Known {
    spans: Vec<Span>,
    corrupt: Vec<(u64, String)>,
    given_up: Option<Finding>,
    cuts: Vec<Span>,
}

struct Checking<'a> {
    job: &'a Job<'a>,
    turn: Turn,
    known: BTreeMap<u32, Known>,
    /// Nothing could be checked at all, and why; or what the catalogs said.
    without_amcheck: Option<Finding>,
    integrity: Option<(Vec<Finding>, Facts)>,
    /// Whether amcheck has a check for GIN (since 18).
    with_gin: bool,
    until: Instant,
}

/// Goes on checking until the time is over or everything is checked. Somebody else's turn is an answer that is not done.
///
/// # Errors
/// When the server cannot be reached, or a session was lost: call again.
pub async fn advance(job: &Job<'_>, until: Instant) -> Result<State, Failure> {
    let name = |what: &str| format!("lifeboat drill {} {what}", job.drill);
    let Some(mut turn) = Turn::take(job.access, job.ledger, &name("ledger"), &format!("check {}", job.database)).await? else {
        return Ok(State::default());
    };
    let steps = turn.done(&["check", job.database]).await?;
    let mut checking = Checking { job, turn, known: BTreeMap::new(), without_amcheck: None, integrity: None, with_gin: false, until };
    for (name, detail) in &steps {
        checking
            .learn(name, detail)
            .map_err(|error| Failure::new(FailureKind::Corrupt, format!("ledger, {}: {error}", Value::from(name.clone()))))?;
    }
    let mut connection = job.access.connect(job.database, &name("check")).await?;
    let server_major = session::server_major(&mut connection).await?;
    let limits = Limits { lock_wait_ms: LOCK_WAIT_MS, server_major };
    session::prepare(&mut connection, limits).await?;
    let (tables, indexes) = amcheck::targets(&mut connection, Some(crate::ledger::SCHEMA)).await?;
    let route = Route { access: job.access.clone(), database: job.database.to_owned(), application_name: name("check"), limits };
    let targets: Vec<Target> = tables.into_iter().chain(indexes).collect();
    if checking.without_amcheck.is_none() && checking.integrity.is_none() {
        match checking.tools(&mut connection).await? {
            Some(tools) => {
                checking.with_gin = tools.gin.is_some();
                checking.all(&targets, &tools, &route).await?;
            }
            None => checking.record(json!(["amcheck"]), &Verdict::NotChecked(without_amcheck(job))).await?,
        }
    }
    checking.finish(&mut connection, &targets, server_major).await?;
    Ok(checking.state(&targets))
}

fn without_amcheck(job: &Job<'_>) -> Finding {
    Finding::new(FindingKind::NotChecked, job.database, "amcheck is not there, and the role may not make it: nothing is known about the inside of tables and indexes")
        .hint("CREATE EXTENSION amcheck in production's database as its master user, and GRANT EXECUTE ON ALL FUNCTIONS of it to the role; then drill again")
}

impl Checking<'_> {
    async fn record(&mut self, name: Value, verdict: &Verdict) -> Result<(), Failure> {
        let mut step = vec![json!("check"), json!(self.job.database)];
        let name: Vec<Value> = name.as_array().cloned().unwrap_or_default();
        step.extend(name.iter().cloned());
        let bad = |error: serde_json::Error| Failure::new(FailureKind::Other, format!("write a step: {error}"));
        let detail = serde_json::to_value(verdict).map_err(bad)?;
        self.turn.record(&Value::from(step), &detail).await?;
        self.learn(&name, &detail).map_err(bad)
    }

    fn learn(&mut self, name: &[Value], detail: &Value) -> Result<(), serde_json::Error> {
        let number = |place: usize| name.get(place).and_then(Value::as_u64).unwrap_or_default();
        let span = Span { from: number(2), to: number(3) };
        let word = name.first().and_then(Value::as_str).unwrap_or_default();
        if word == "integrity" {
            self.integrity = Some(serde_json::from_value(detail.clone())?);
            return Ok(());
        }
        let verdict: Verdict = serde_json::from_value(detail.clone())?;
        if word == "amcheck" {
            self.without_amcheck = if let Verdict::NotChecked(finding) = verdict { Some(finding) } else { None };
            return Ok(());
        }
        let known = self.known.entry(u32::try_from(number(1)).unwrap_or_default()).or_default();
        match (word, verdict) {
            ("cut", _) => known.cuts.push(span),
            (_, Verdict::Sound) => known.spans.push(span),
            (_, Verdict::Corrupt { blocks, said }) => {
                known.spans.push(span);
                known.corrupt.extend(blocks.into_iter().map(|block| (block, said.clone())));
            }
            (_, Verdict::NotChecked(finding)) => known.given_up = Some(finding),
        }
        Ok(())
    }

    /// What amcheck offers, after making it where it is not there.
    async fn tools(&mut self, connection: &mut Connection) -> Result<Option<Tools>, Failure> {
        if let Some(tools) = amcheck::tools(connection).await? {
            return Ok(Some(tools));
        }
        if amcheck::install(connection).await? { amcheck::tools(connection).await } else { Ok(None) }
    }

    /// Checks what is left: tables first, for an index of a damaged table is only read itself.
    async fn all(&mut self, targets: &[Target], tools: &Tools, route: &Route) -> Result<(), Failure> {
        let mut plans: Vec<Plan> = targets.iter().map(|target| self.plan(target)).collect();
        let (mut idle, mut running): (Vec<Connection>, JoinSet<Ended>) = (Vec::new(), JoinSet::new());
        let first_index = targets.iter().position(|target| target.method != "heap").unwrap_or(targets.len());
        let mut tables_running = 0_usize;
        loop {
            while running.len() < self.job.connections.max(1) && Instant::now() < self.until {
                // An index waits until every table is known; so do we, when only tables are running.
                let last = if tables_running > 0 { first_index } else { targets.len() };
                let Some((place, span)) = (0..last).find_map(|place| plans[place].hand_out().map(|span| (place, span))) else { break };
                let Some(order) = self.order(targets, tools, place, span).await? else { continue };
                tables_running += usize::from(matches!(order, Order::Heap(..)));
                running.spawn(amcheck::check(route.clone(), idle.pop(), order, self.until));
            }
            let Some(ended) = running.join_next().await else { return Ok(()) };
            let mut ended = ended.map_err(|error| Failure::from_error(FailureKind::Panic, &error).context("check a table"))?;
            idle.extend(ended.connection.take());
            let place = match &ended.order {
                Order::Heap(place, ..) => {
                    tables_running -= 1;
                    *place
                }
                Order::Index(place, _) => *place,
            };
            self.take(&targets[place], &mut plans[place], ended).await?;
        }
    }

    fn plan(&self, target: &Target) -> Plan {
        let known = self.known.get(&target.oid).cloned().unwrap_or_default();
        let window = known.cuts.iter().fold(self.job.sizes.first, |window, cut| (window / 8).min((cut.to - cut.from) / 8).max(1));
        let pages = if target.method == "heap" { target.pages } else { 0 };
        let mut plan = Plan::new(pages, self.job.sizes, window, &known.spans);
        if known.given_up.is_some() || !known.corrupt.is_empty() && target.method != "heap" {
            plan.stop();
        }
        plan
    }

    /// The statements for a piece; `None`: there are none, which is written down.
    async fn order(&mut self, targets: &[Target], tools: &Tools, place: usize, span: Span) -> Result<Option<Order>, Failure> {
        let target = &targets[place];
        if target.method == "heap" {
            if let Some(function) = &tools.heap {
                return Ok(Some(Order::Heap(place, span, amcheck::heap_statements(function, target, span))));
            }
            self.record(json!(["piece", target.oid, 0, 0]), &Verdict::NotChecked(self.denied(target, tools))).await?;
            return Ok(None);
        }
        let damaged = self.known.get(&target.table_oid).is_some_and(|table| !table.corrupt.is_empty());
        let statements = amcheck::index_statements(tools, target, damaged);
        if statements.is_empty() && target.method == "btree" {
            self.record(json!(["piece", target.oid, 0, 0]), &Verdict::NotChecked(self.denied(target, tools))).await?;
        }
        // Of other methods amcheck knows nothing; they are counted in the state.
        Ok((!statements.is_empty()).then_some(Order::Index(place, statements)))
    }

    fn denied(&self, target: &Target, tools: &Tools) -> Finding {
        let role = shared_postgres::proof::quote(&self.job.access.user);
        let seen = "the role may not call amcheck's functions, so nothing is known about its inside";
        let grants: Vec<String> = tools.denied.iter().map(|function| format!("GRANT EXECUTE ON FUNCTION {function} TO {role};")).collect();
        let hint = if grants.is_empty() { "the extension amcheck is too old: ALTER EXTENSION amcheck UPDATE;".to_owned() } else { grants.join(" ") };
        Finding::new(FindingKind::NotChecked, &target.subject, seen).hint(hint)
    }

    /// Writes down what came of a piece.
    async fn take(&mut self, target: &Target, plan: &mut Plan, ended: Ended) -> Result<(), Failure> {
        let is_heap = target.method == "heap";
        let span = if let Order::Heap(_, span, _) = &ended.order { *span } else { Span::ALL };
        let step = json!(["piece", target.oid, span.from, span.to]);
        let not_checked = |seen: String| Verdict::NotChecked(Finding::new(FindingKind::NotChecked, &target.subject, seen));
        let verdict =
            match ended.result {
                Ok(places) if places.is_empty() => {
                    plan.took(span, ended.time);
                    Verdict::Sound
                }
                Ok(places) => corrupt(&places),
                Err(Trouble::Damaged(said)) => {
                    let found = self.known.get(&target.oid).map_or(0, |known| known.corrupt.len());
                    if is_heap && found < DAMAGED_MAX && plan.halve(span) {
                        return Ok(());
                    }
                    Verdict::Corrupt { blocks: vec![span.from], said }
                }
                Err(Trouble::Unfinished) => {
                    plan.stop();
                    // Cut off by us, and early; or by the server, for a lock that somebody holds.
                    if ended.time < self.job.whole && Instant::now() >= self.until {
                        return Ok(());
                    }
                    let cuts = self.known.get(&target.oid).map_or(0, |known| known.cuts.iter().filter(|cut| **cut == span).count());
                    self.record(json!(["cut", target.oid, span.from, span.to, cuts]), &Verdict::Sound).await?;
                    if cuts + 1 < CUTS_MAX {
                        return Ok(());
                    }
                    let seen = format!("amcheck did not end within an invocation, {CUTS_MAX} times: an unfinished check says nothing");
                    Verdict::NotChecked(Finding::new(FindingKind::NotChecked, &target.subject, seen).hint(
                        "give the drill's function more time, or a larger instance class; or check it by hand on a restored instance (pg_amcheck)",
                    ))
                }
                Err(Trouble::Denied) => not_checked("the role may not check it".to_owned()),
                Err(Trouble::Vanished) => not_checked("it vanished before it was checked".to_owned()),
                Err(Trouble::Refused(code)) => not_checked(format!("amcheck refused to check it (SQLSTATE {code})")),
                Err(Trouble::Lost(failure)) => return Err(failure.context(format!("check {}", target.subject))),
            };
        if matches!(verdict, Verdict::NotChecked(_)) {
            plan.stop();
        }
        self.record(step, &verdict).await
    }

    /// When every piece is known: amcheck goes, and the catalogs are looked at, last, for the count of wrong checksums.
    async fn finish(&mut self, connection: &mut Connection, targets: &[Target], server_major: u32) -> Result<(), Failure> {
        if self.integrity.is_some() || self.without_amcheck.is_none() && !targets.iter().all(|target| self.is_done(target)) {
            return Ok(());
        }
        amcheck::remove(connection).await?;
        let integrity = integrity::look(connection, server_major).await?;
        let detail = serde_json::to_value(&integrity).map_err(|error| Failure::new(FailureKind::Other, format!("write a step: {error}")))?;
        self.turn.record(&json!(["check", self.job.database, "integrity"]), &detail).await?;
        self.integrity = Some(integrity);
        Ok(())
    }

    fn is_done(&self, target: &Target) -> bool {
        let without = !matches!(target.method.as_str(), "heap" | "btree");
        match self.known.get(&target.oid) {
            Some(known) => known.given_up.is_some() || joined(&known.spans) == [Span::ALL],
            None => without && !(self.with_gin && target.method == "gin"),
        }
    }

    fn state(&self, targets: &[Target]) -> State {
        let mut state = State { done: self.integrity.is_some(), ..State::default() };
        state.findings.extend(self.without_amcheck.clone());
        let damaged: BTreeSet<u32> = targets
            .iter()
            .filter(|target| target.method == "heap" && self.known.get(&target.oid).is_some_and(|known| !known.corrupt.is_empty()))
            .map(|target| target.oid)
            .collect();
        for target in targets {
            let Some(known) = self.known.get(&target.oid) else {
                match target.method.as_str() {
                    "heap" | "btree" => state.left += u64::from(self.without_amcheck.is_none()),
                    method => *state.indexes_without_check.entry(method.to_owned()).or_default() += 1,
                }
                continue;
            };
            state.findings.extend(known.given_up.clone());
            if joined(&known.spans) == [Span::ALL] {
                if target.method == "heap" {
                    (state.tables, state.pages) = (state.tables + 1, state.pages + target.pages);
                } else {
                    state.indexes += 1;
                }
            } else if known.given_up.is_none() {
                state.left += 1;
            }
            state.findings.extend(finding(target, known, damaged.contains(&target.table_oid)));
        }
        if let Some((findings, facts)) = &self.integrity {
            state.findings.extend(findings.iter().cloned());
            state.facts = Some(facts.clone());
        }
        state
    }
}

fn corrupt(places: &[Place]) -> Verdict {
    let blocks: BTreeSet<u64> = places.iter().map(|place| place.block).collect();
    Verdict::Corrupt { blocks: blocks.into_iter().collect(), said: places[0].said.clone() }
}

/// Blocks of a table that are named.
const BLOCKS_SHOWN_MAX: usize = 8;

fn finding(target: &Target, known: &Known, table_is_damaged: bool) -> Option<Finding> {
    let (_, said) = known.corrupt.first()?;
    if target.method != "heap" {
        let seen = if table_is_damaged { format!("{said} (its table is damaged too)") } else { said.clone() };
        return Some(
            Finding::new(FindingKind::IndexCorrupt, &target.subject, seen)
                .expected("every row in it once, in order")
                .hint("REINDEX INDEX CONCURRENTLY it, in production too if it is damaged there (bt_index_check says so); rows are not lost by this"),
        );
    }
    let blocks: BTreeSet<u64> = known.corrupt.iter().map(|(block, _)| *block).collect();
    let shown: Vec<String> = blocks.iter().take(BLOCKS_SHOWN_MAX).map(u64::to_string).collect();
    let more = if blocks.len() > BLOCKS_SHOWN_MAX { format!(" and {} more", blocks.len() - BLOCKS_SHOWN_MAX) } else { String::new() };
    Some(
        Finding::new(FindingKind::HeapCorrupt, &target.subject, format!("block {}{more} of {}: {said}", shown.join(", "), target.pages))
            .expected("every page sound")
            .hint("look whether production has the same damage (verify_heapam there); restore the table from an older backup, or an archive"),
    )
}

//! The rehearsal of a migration on the restored copy: what it takes, what it locks and for how long, what it rewrites, and whether it may go on.
//!
//! [`files`] reads the migration, [`split`] takes it apart, [`advance`] runs it unit by unit over as many invocations as it takes, [`measure`] says what
//! was seen, [`policy`] judges, [`gate`] decides about a deployment. State is in the ledger of the database that is migrated: from the first statement on
//! it is no faithful copy any more, so a schema of ours in it hurts nobody, and what was measured is committed with what was done.
//!
//! A session is new for each transaction. Settings (`SET`) that a file makes outside its transactions are repeated; temporary tables are not.
//! It never touches production: it knows no other server than the copy's, and shows no row's values.

pub mod files;
pub mod gate;
pub mod lint;
pub mod measure;
pub mod order;
pub mod policy;
pub mod split;

mod alone;
mod run;
mod session;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::failure::{Failure, FailureKind};
use shared_postgres::{Access, Connection, ContextSql};
use sqlx::Connection as _;
use tokio::time::Instant;

use self::files::{File, Files};
use self::lint::Lint;
use self::measure::{RanUnit, Record};
use self::policy::{Policy, Verdict};
use self::run::Task;
use self::split::{Unfit, Unit};
use crate::ledger;

/// What there is, and how large it is.
const RELATIONS: &str = include_str!("sql/relations.sql");

/// Of `pg_try_advisory_lock`: one invocation at a time.
const INVOCATION_KEY: i64 = 0x6c69_6665_0000_0001;

/// The step that says which files are rehearsed.
const FILES_STEP: &str = "rehearsal/files";

/// What is rehearsed, and where.
pub struct Job<'a> {
    /// The copy's server.
    pub access: &'a Access,
    /// The database that is migrated, which gets the ledger too.
    pub database: &'a str,
    /// Name of the drill.
    pub drill: &'a str,
    /// The migration.
    pub files: &'a Files,
    /// The role that it runs as; otherwise the connecting one.
    pub role: Option<&'a str>,
    /// Whether the whole server was made for the drill. If not, nothing that reaches beyond the database is run.
    pub owns_server: bool,
    /// What may be.
    pub policy: &'a Policy,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Whether it is over.
    pub done: bool,
    /// Transactions, and statements alone, that ended.
    pub units_done: usize,
    /// Of how many.
    pub units: usize,
    /// What came of it, when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Rehearsal>,
}

/// What came of a rehearsal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsal {
    /// Of exactly these files: see [`Files::hash`].
    pub files_hash: String,
    /// The files, in order.
    pub files: Vec<String>,
    /// Objects below the prefix that are no part of the migration.
    pub left_out: Vec<String>,
    /// What ran.
    pub units: Vec<RanUnit>,
    /// All of it together.
    pub seconds: f64,
    /// Rules that the text breaks.
    pub lints: Vec<Lint>,
    /// Whether it may go on, and why.
    pub verdict: Verdict,
}

/// A unit and the file that it is of.
pub(crate) struct Planned<'a> {
    file: &'a File,
    unit: Unit,
}

/// Takes all files apart.
fn plan<'a>(job: &Job<'a>) -> Result<Vec<Planned<'a>>, Vec<(String, Unfit)>> {
    let (mut planned, mut unfit) = (Vec::new(), Vec::new());
    for file in &job.files.files {
        match split::split(file) {
            Ok(units) => planned.extend(units.into_iter().map(|unit| Planned { file, unit })),
            Err(reasons) => unfit.extend(reasons.into_iter().map(|reason| (file.name.clone(), reason))),
        }
    }
    if !job.owns_server {
        for planned in &planned {
            let reaching = planned.unit.statements().iter().filter(|statement| statement.reaches_out);
            unfit.extend(reaching.map(|statement| {
                let seen = format!("reaches beyond its database: {}", measure::shorten(&statement.text));
                (
                    planned.file.name.clone(),
                    Unfit { line: statement.line, seen, hint: "rehearse it on an instance of its own: a drill from a snapshot" },
                )
            }));
        }
    }
    if unfit.is_empty() { Ok(planned) } else { Err(unfit) }
}

/// Goes on with the rehearsal until it is over, or until time is.
///
/// # Errors
/// When the copy cannot be reached; try again. When the files are not those that it began with; begin a new drill.
pub async fn advance(job: &Job<'_>, until: Instant) -> Result<State, Failure> {
    let files_hash = job.files.hash();
    let lints: Vec<Lint> = job.files.files.iter().flat_map(lint::lint).collect();
    let mut rehearsal = Rehearsal {
        files_hash: files_hash.clone(),
        files: job.files.files.iter().map(|file| file.name.clone()).collect(),
        left_out: job.files.left_out.clone(),
        lints,
        ..Rehearsal::default()
    };
    let planned = match plan(job) {
        Ok(planned) => planned,
        Err(unfit) => {
            rehearsal.verdict = policy::unfit(&unfit);
            return Ok(State { done: true, result: Some(rehearsal), ..State::default() });
        }
    };
    let mut control = session::connect(job.access, job.database, &session::name(job.drill, "rehearsal")).await?;
    let answer = go_on(&mut control, job, &planned, &files_hash, until).await;
    // The lock is the session's: what follows must not find it held.
    let _ = control.close().await;
    let (units_done, is_over, ledger) = answer?;
    let mut state = State { done: is_over, units_done, units: planned.len(), result: None };
    if is_over {
        rehearsal.units = results(&planned, &ledger)?;
        rehearsal.seconds = rehearsal.units.iter().map(|unit| unit.seconds).sum();
        rehearsal.verdict = policy::judge(job.policy, &planned, &rehearsal);
        rehearsal.units.iter_mut().for_each(RanUnit::shorten);
        state.result = Some(rehearsal);
    }
    Ok(state)
}

type Ledger = BTreeMap<String, Value>;

async fn go_on(
    control: &mut Connection,
    job: &Job<'_>,
    planned: &[Planned<'_>],
    hash: &str,
    until: Instant,
) -> Result<(usize, bool, Ledger), Failure> {
    let is_ours: bool = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock($1)")
        .bind(INVOCATION_KEY)
        .fetch_one(&mut *control)
        .await
        .context_sql("take the rehearsal's lock")?;
    if !is_ours {
        return Ok((0, false, Ledger::new()));
    }
    ledger::open(control).await?;
    ledger::record(control, FILES_STEP, &json!({"hash": hash})).await?;
    let known = ledger::read(control).await?;
    if known.get(FILES_STEP).and_then(|detail| detail["hash"].as_str()) != Some(hash) {
        return Err(Failure::new(FailureKind::Conflict, "the files are not those that the rehearsal began with")
            .hint("begin a new drill: a rehearsal is of exactly one set of files"));
    }
    for (number, next) in planned.iter().enumerate() {
        if !known.contains_key(&run::step(number)) {
            let task = Task { number, unit: &next.unit, settings: settings(&planned[..number], next.file) };
            if !run::carry(control, job, &task, until).await? {
                return Ok((number, false, Ledger::new()));
            }
        }
        let now = ledger::read(control).await?;
        let record = record(&now, number)?;
        if record.failed.is_some() || record.unknown.is_some() {
            return Ok((number + 1, true, now));
        }
    }
    Ok((planned.len(), true, ledger::read(control).await?))
}

/// What the earlier transactions of a file left in their session.
fn settings<'a>(earlier: &'a [Planned<'_>], file: &File) -> Vec<&'a str> {
    let same_file = earlier.iter().filter(|planned| planned.file.name == file.name);
    same_file
        .flat_map(|planned| planned.unit.statements())
        .filter(|statement| statement.is_setting)
        .map(|statement| statement.text.as_str())
        .collect()
}

fn record(ledger: &Ledger, number: usize) -> Result<Record, Failure> {
    let step = run::step(number);
    let corrupt = |what: String| Failure::new(FailureKind::Corrupt, format!("ledger, {step}: {what}"));
    let detail = ledger.get(&step).ok_or_else(|| corrupt("is not there".to_owned()))?;
    serde_json::from_value(detail.clone()).map_err(|error| corrupt(error.to_string()))
}

fn results(planned: &[Planned<'_>], ledger: &Ledger) -> Result<Vec<RanUnit>, Failure> {
    let ran = planned.iter().enumerate().filter(|(number, _)| ledger.contains_key(&run::step(*number)));
    ran.map(|(number, planned)| {
        let samples = run::last_samples(ledger, &run::step(number));
        Ok(measure::ran(&planned.file.name, &planned.unit, &record(ledger, number)?, &samples))
    })
    .collect()
}

//! Runs one unit on the copy, once: whoever is killed, however often it is called.
//!
//! A transaction is one block in the server: it runs the statements, measures each from the inside, and writes what it saw into the ledger, in the same
//! transaction. It needs no client. A statement that refuses a transaction is sent as it is; a second session, which needs no client either, watches it;
//! what became of it is read from the catalogues, or is unknown.

use serde_json::{Value, json};
use shared::failure::{Failure, FailureKind};
use shared_postgres::{Connection, ContextSql};
use sqlx::Connection as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::alone::{self, Ending};
use super::measure::{FailedRecord, Record, Samples};
use super::session::{self, block};
use super::split::Unit;
use super::{Job, RELATIONS};
use crate::ledger;

/// A unit that ended without an outcome is not tried for ever.
const ATTEMPTS_MAX: usize = 5;

/// How long the second session may take to see that the first is gone.
const SAMPLER_MS_MAX: u64 = 2000;

/// Of `pg_advisory_xact_lock`: two blocks of the same rehearsal never run side by side.
const TRANSACTION_KEY: i64 = 0x6c69_6665_0000_0002;

/// What is to be done.
pub(super) struct Task<'a> {
    pub(super) number: usize,
    pub(super) unit: &'a Unit,
    /// Settings that the file's earlier transactions left in the session.
    pub(super) settings: Vec<&'a str>,
}

impl Task<'_> {
    pub(super) fn step(&self) -> String {
        step(self.number)
    }

    fn worker(&self, job: &Job<'_>) -> String {
        session::name(job.drill, &format!("migration {}", self.number))
    }

    fn sampler(&self, job: &Job<'_>) -> String {
        session::name(job.drill, &format!("watches {}", self.number))
    }
}

/// A unit's name in the ledger.
pub(super) fn step(number: usize) -> String {
    format!("rehearsal/{number:05}")
}

/// Carries a unit to its end. `false`: time is over, and it goes on.
pub(super) async fn carry(control: &mut Connection, job: &Job<'_>, task: &Task<'_>, until: Instant) -> Result<bool, Failure> {
    let (step, worker) = (task.step(), task.worker(job));
    let mut refused = None;
    loop {
        // First whether somebody is at it, then whether it is done: the other way round, it might end in between.
        if !session::until_gone(control, &worker, until).await? {
            return Ok(false);
        }
        let done = ledger::read(control).await?;
        if done.contains_key(&step) {
            return Ok(true);
        }
        let attempts: Vec<&Value> = (1..=ATTEMPTS_MAX).map_while(|attempt| done.get(&format!("{step}/started/{attempt}"))).collect();
        if let (Unit::Alone(_, sort), Some(before)) = (task.unit, attempts.last()) {
            session::until_gone(control, &task.sampler(job), until).await?;
            let samples = samples(control, &step).await?;
            let after = relations(control).await?;
            match alone::ending(*sort, before, &after, samples.seconds.is_some()) {
                Ending::Done => {
                    let record = alone::record(before, &after, &samples, None);
                    ledger::record(control, &step, &json(&record)).await?;
                    return Ok(true);
                }
                Ending::Unknown(why) => return unknown(control, &step, why.to_owned()).await,
                Ending::Again => {}
            }
        }
        if attempts.len() == ATTEMPTS_MAX {
            let why = refused.unwrap_or_else(|| "its session was ended from outside".to_owned());
            return unknown(control, &step, format!("began {ATTEMPTS_MAX} times, and never came to an end: {why}")).await;
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        let attempt = attempts.len() + 1;
        let before = if matches!(task.unit, Unit::Alone(..)) { relations(control).await? } else { Value::Null };
        ledger::record(control, &format!("{step}/started/{attempt}"), &before).await?;
        match start(control, job, task, attempt, &before, until).await? {
            Came::ToItsEnd => {}
            Came::ToAnError(error) => refused = Some(error),
            Came::NoFurther => return Ok(false),
        }
    }
}

async fn unknown(control: &mut Connection, step: &str, why: String) -> Result<bool, Failure> {
    ledger::record(control, step, &json(&Record { unknown: Some(why), ..Record::default() })).await?;
    Ok(true)
}

enum Came {
    ToItsEnd,
    ToAnError(String),
    NoFurther,
}

async fn start(control: &mut Connection, job: &Job<'_>, task: &Task<'_>, attempt: usize, before: &Value, until: Instant) -> Result<Came, Failure> {
    let mut worker = session::connect(job.access, job.database, &task.worker(job)).await?;
    let sampler = watch(control, job, task, attempt, &mut worker).await?;
    let sent = match task.unit {
        Unit::Transaction(statements) => {
            let texts: Vec<&str> = statements.iter().map(|statement| statement.text.as_str()).collect();
            let body = include_str!("sql/transaction.sql").replace("/*RELATIONS*/", RELATIONS);
            let arguments = json!({"step": task.step(), "key": TRANSACTION_KEY, "role": job.role, "settings": task.settings, "statements": texts});
            timeout_at(until, session::run(&mut worker, block(&body, &arguments))).await
        }
        Unit::Alone(statement, _) => {
            prepare(job, task, &mut worker).await?;
            let begun = clock(&mut worker).await?;
            let sent = timeout_at(until, session::run(&mut worker, statement.text.clone())).await;
            if let Ok(result) = &sent {
                let failed = match answer(result) {
                    Answer::Done => None,
                    Answer::Refused(sqlstate, message) => Some(FailedRecord { statement: 1, sqlstate, message, seconds: 0.0 }),
                    Answer::None => return Ok(Came::ToAnError("its session was ended".to_owned())),
                };
                let seconds = clock(&mut worker).await? - begun;
                let _ = worker.close().await;
                wait_for(sampler).await;
                let after = relations(control).await?;
                let mut record = alone::record(before, &after, &samples(control, &task.step()).await?, Some(seconds));
                let rows = result.as_ref().ok().and_then(|rows| i64::try_from(*rows).ok());
                record.statements[0].rows = rows.unwrap_or_default();
                record.failed = failed.map(|failed| FailedRecord { seconds, ..failed });
                ledger::record(control, &task.step(), &json(&record)).await?;
                return Ok(Came::ToItsEnd);
            }
            sent
        }
    };
    let Ok(result) = sent else {
        return Ok(Came::NoFurther);
    };
    let _ = worker.close().await;
    wait_for(sampler).await;
    Ok(match result {
        Ok(_) => Came::ToItsEnd,
        Err(error) => Came::ToAnError(shared_postgres::error::failure(&error).to_string()),
    })
}

/// Role and settings of a session whose statement runs by itself.
async fn prepare(job: &Job<'_>, task: &Task<'_>, worker: &mut Connection) -> Result<(), Failure> {
    if let Some(role) = job.role {
        let set = sqlx::query("SELECT pg_catalog.set_config('role', $1, false)").bind(role).execute(&mut *worker).await;
        set.context_sql("take the migration's role")?;
    }
    for setting in &task.settings {
        session::run(worker, (*setting).to_owned()).await.context_sql("repeat a setting of the migration")?;
    }
    Ok(())
}

/// What the server answered.
enum Answer {
    Done,
    /// SQLSTATE and message.
    Refused(String, String),
    /// The session was ended (class 57P), or is gone: the catalogues tell.
    None,
}

fn answer(result: &Result<u64, sqlx::Error>) -> Answer {
    let Err(error) = result else { return Answer::Done };
    let Some(error) = error.as_database_error() else { return Answer::None };
    match error.code() {
        Some(sqlstate) if !sqlstate.starts_with("57P") => Answer::Refused(sqlstate.into_owned(), error.message().to_owned()),
        _ => Answer::None,
    }
}

/// Starts the second session, which ends by itself when the first is gone.
async fn watch(control: &mut Connection, job: &Job<'_>, task: &Task<'_>, attempt: usize, worker: &mut Connection) -> Result<JoinSet<()>, Failure> {
    let pid: i32 = sqlx::query_scalar("SELECT pg_catalog.pg_backend_pid()").fetch_one(worker).await.context_sql("ask for the session's id")?;
    let name = task.sampler(job);
    // An earlier one must not be taken for this one.
    session::until_gone(control, &name, Instant::now() + std::time::Duration::from_millis(SAMPLER_MS_MAX)).await?;
    let mut connection = session::connect(job.access, job.database, &name).await?;
    let arguments = json!({"pid": pid, "worker": task.worker(job), "step": format!("{}/samples/{attempt}", task.step())});
    let sql = block(include_str!("sql/sampler.sql"), &arguments);
    // Ends with us: then its socket is closed, and its backend goes on.
    let mut sampler = JoinSet::new();
    sampler.spawn(async move {
        // What it sees is in the ledger; that it saw nothing is seen there too.
        let _ = session::run(&mut connection, sql).await;
        let _ = connection.close().await;
    });
    session::until_active(control, &name).await?;
    Ok(sampler)
}

async fn wait_for(mut sampler: JoinSet<()>) {
    let _ = tokio::time::timeout(std::time::Duration::from_millis(SAMPLER_MS_MAX), sampler.join_next()).await;
}

async fn clock(worker: &mut Connection) -> Result<f64, Failure> {
    let sql = "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8";
    sqlx::query_scalar(sql).fetch_one(worker).await.context_sql("read the server's clock")
}

/// Every relation of the database.
async fn relations(control: &mut Connection) -> Result<Value, Failure> {
    let text: String =
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT ({RELATIONS})::text"))).fetch_one(control).await.context_sql("list the relations")?;
    serde_json::from_str(&text).map_err(|error| Failure::new(FailureKind::Corrupt, format!("list the relations: {error}")))
}

/// What the second session saw in the last attempt that it saw the end of.
async fn samples(control: &mut Connection, step: &str) -> Result<Samples, Failure> {
    let done = ledger::read(control).await?;
    Ok(last_samples(&done, step))
}

/// The same, of a ledger that was read.
pub(super) fn last_samples(done: &std::collections::BTreeMap<String, Value>, step: &str) -> Samples {
    let found = (1..=ATTEMPTS_MAX).rev().find_map(|attempt| done.get(&format!("{step}/samples/{attempt}")));
    let samples: Option<Samples> = found.and_then(|detail| serde_json::from_value(detail.clone()).ok());
    samples.map(|samples| Samples { watched: true, ..samples }).unwrap_or_default()
}

fn json(record: &Record) -> Value {
    serde_json::to_value(record).unwrap_or_default()
}

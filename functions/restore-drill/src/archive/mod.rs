//! An archive becomes a database: definitions, rows, indexes, statistics, and the comparison of the definitions; over as many calls as it takes.
//!
//! What was done is in the ledger, in the same transaction as the work. So a call may be killed at any moment, and two at once do no harm: one of them holds
//! a lock and works, the other says that there is more. Reading the rows back is another module's; nothing here makes or removes a server.

mod contents;
mod create;
mod globals;
mod load;
mod object;
mod own_files;
mod post_data;
mod schema;
mod session;
mod stock;
mod work;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::archive::toc::Toc;
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::key::ArchiveKey;
use shared::manifest::Manifest;
use shared::store::Store;
use shared_postgres::client_program::ClientPrograms;
use shared_postgres::{Access, Connection, ContextSql, session as settings};
use tokio::time::{Instant, timeout_at};

use crate::ledger;
use crate::statement::{self, session_name};
use contents::{Contents, TOC};
use object::{Source, Trouble};
use session::Sessions;

pub use create::create_database;

/// Advisory lock of a restore, in the database that is restored: "lifeboat" in ASCII.
const LOCK: i64 = 0x6c69_6665_626f_6174;
const GLOBALS: &str = "globals.sql";

/// Whose roles the copy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Roles {
    /// Those of the archive, filtered: for an instance that was made for the drill.
    Filtered,
    /// None: on a server that is somebody's, owners and privileges are not restored.
    None,
}

/// What is to be restored, and where.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The bucket.
    pub store: &'a Store,
    /// The archive.
    pub archive: &'a ArchiveKey,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// A role that owns the new database.
    pub access: &'a Access,
    /// The new database, made by [`create_database`].
    pub database: &'a str,
    /// PostgreSQL's programs, of the server's own major.
    pub programs: &'a ClientPrograms,
    /// Sessions that work at the same time.
    pub connections: usize,
    /// About roles.
    pub roles: Roles,
    /// Id of the drill.
    pub drill: &'a str,
    /// Memory for an index build, in MB: each session takes as much.
    pub maintenance_memory_mb: u32,
    /// What may lie in the temporary folder at a time, in bytes: large objects and tables that pg_dump wrote itself.
    pub folder_bytes_max: u64,
}

/// How far a restore is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Whether there is nothing more to do.
    pub done: bool,
    /// What is being done, for a person.
    pub phase: String,
    /// Everything that was found, by earlier calls too.
    pub findings: Vec<Finding>,
    /// Data files that were loaded.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes, compressed.
    pub bytes: u64,
    /// Indexes, constraints and materialized views that were made.
    pub statements: u64,
}

/// What the phases share.
pub(crate) struct Place<'a> {
    job: Job<'a>,
    contents: Contents,
    sessions: Sessions,
    superuser: bool,
    with_tablespaces: bool,
    last_dump_id: i32,
}

/// Goes on with a restore until it is done or the time is over.
///
/// # Errors
/// When S3 or the server cannot be reached, or the database is not this drill's. Called again, it goes on where it was.
pub async fn advance(job: &Job<'_>, until: Instant) -> Result<State, Failure> {
    let Ok(control) = timeout_at(until, job.access.connect(job.database, &session_name(job.drill, "control"))).await else {
        return Ok(State { phase: "connecting".to_owned(), ..State::default() });
    };
    let mut control = control?;
    create::check_drill(&mut control, job.database, job.drill).await?;
    let ours: bool = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut control)
        .await
        .context_sql("take the restore's lock")?;
    let phase = if ours { restore(job, &mut control, until).await? } else { Some("another call is at work") };
    let done = ledger::read(&mut control).await?;
    let _ = sqlx::Connection::close(control).await;
    Ok(state(phase, &done))
}

fn state(phase: Option<&str>, done: &BTreeMap<String, Value>) -> State {
    let mut state = State { done: phase.is_none(), phase: phase.unwrap_or("done").to_owned(), ..State::default() };
    for (step, detail) in done {
        let finding = serde_json::from_value::<Finding>(detail["finding"].clone()).ok();
        let findings = serde_json::from_value::<Vec<Finding>>(detail["findings"].clone()).unwrap_or_default();
        state.findings.extend(finding.into_iter().chain(findings));
        let number = |name: &str| detail[name].as_u64().unwrap_or(0);
        if step.starts_with("load ") {
            state.files += 1;
            state.rows += number("rows");
            state.bytes += number("bytes");
        }
        state.statements += u64::from(step.starts_with("statement "));
    }
    state
}

/// The phases, in order. The one that is not finished; `None` at the end.
async fn restore(job: &Job<'_>, control: &mut Connection, until: Instant) -> Result<Option<&'static str>, Failure> {
    let done = ledger::read(control).await?;
    if done.contains_key("restored") {
        return Ok(None);
    }
    // Sessions of a call that was killed: what works by itself is left alone, and everything else would only be in our way.
    let works_by_itself = |session: &statement::Session| session.is_active && is_statement(&session.key);
    statement::end(control, job.drill, |session| !works_by_itself(session) && is_of_the_restore(&session.key)).await?;
    let Ok(fetched) = timeout_at(until, fetch(job, TOC)).await else { return Ok(Some("reading the table of contents")) };
    let toc = match fetched {
        Ok(bytes) => Toc::parse(&bytes).map_err(|why| Failure::new(FailureKind::Corrupt, why))?,
        Err(trouble) => return nothing_can_be_restored(control, trouble).await,
    };
    let place = place(job, control, &toc).await?;
    if !done.contains_key(globals::STEP) {
        let Ok(ended) = timeout_at(until, roles(&place, control)).await else { return Ok(Some("roles")) };
        if let Some(trouble) = ended? {
            return nothing_can_be_restored(control, trouble).await;
        }
    }
    let folder = tempfile::Builder::new().prefix("lifeboat-restore-drill-").tempdir().context("make a temporary folder")?;
    let folder = folder.path();
    if !stock::restore(&place, control, "definitions", &place.contents.pre_data, folder, until).await? {
        return Ok(Some("definitions"));
    }
    if !stock::restore(&place, control, "positions", &place.contents.data, folder, until).await? {
        return Ok(Some("positions of sequences"));
    }
    if !load::load(&place, control, until).await? || !own_files::restore(&place, control, until).await? {
        return Ok(Some("rows"));
    }
    if !post_data::build(&place, control, until).await? {
        return Ok(Some("indexes and constraints"));
    }
    if !stock::restore(&place, control, "rules", &place.contents.post_data, folder, until).await? {
        return Ok(Some("rules, triggers and privileges"));
    }
    if !post_data::refresh(&place, control, until).await? || !stock::restore(&place, control, "last", &place.contents.last, folder, until).await? {
        return Ok(Some("materialized views"));
    }
    if !post_data::analyze(&place, control, until).await? {
        return Ok(Some("statistics"));
    }
    if !schema::compare(&place, control, &toc, until).await? {
        return Ok(Some("comparing definitions"));
    }
    ledger::record(control, "restored", &json!({})).await?;
    Ok(None)
}

/// Whether a session is one of a statement that ends by itself.
fn is_statement(key: &str) -> bool {
    matches!(key.split_at_checked(1), Some(("s" | "a", number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a session is one of ours; a drill has others too.
fn is_of_the_restore(key: &str) -> bool {
    let of = |name: &str| key.strip_prefix(name).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    is_statement(key) || ["pg_restore", "pg_dump"].contains(&key) || of("load") || of("work")
}

async fn fetch(job: &Job<'_>, name: &str) -> Result<Vec<u8>, Trouble> {
    let object = job.manifest.objects.iter().find(|object| object.name == name);
    let object = object.ok_or_else(|| Failure::new(FailureKind::Corrupt, format!("the manifest names no {name}")))?;
    object::fetch(Source { store: job.store, archive: job.archive, manifest: job.manifest, object }).await
}

/// A damaged table of contents is a finding, and the end.
async fn nothing_can_be_restored(control: &mut Connection, trouble: Trouble) -> Result<Option<&'static str>, Failure> {
    match trouble {
        Trouble::Failed(failure) => Err(failure),
        Trouble::Damaged(finding) => {
            ledger::record(control, "restored", &json!({"finding": finding})).await?;
            Ok(None)
        }
    }
}

async fn place<'a>(job: &Job<'a>, control: &mut Connection, toc: &Toc) -> Result<Place<'a>, Failure> {
    let server_major = settings::server_major(control).await?;
    let superuser: bool = sqlx::query_scalar("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user")
        .fetch_one(&mut *control)
        .await
        .context_sql("ask who we are")?;
    let last_dump_id = toc.entries.iter().map(|entry| entry.dump_id).max().unwrap_or(0);
    let contents = Contents::sort(toc.clone(), job.manifest, job.roles, superuser).map_err(|why| Failure::new(FailureKind::Corrupt, why))?;
    let known: Vec<String> =
        sqlx::query_scalar("SELECT spcname::text FROM pg_catalog.pg_tablespace").fetch_all(&mut *control).await.context_sql("list tablespaces")?;
    let with_tablespaces = contents.tablespaces().iter().all(|name| known.contains(name));
    let sessions = Sessions::new(job.access, job.database, job.drill, &contents, server_major, job.maintenance_memory_mb);
    Ok(Place { job: *job, contents, sessions, superuser, with_tablespaces, last_dump_id })
}

/// The roles, and what is said about them and about what is never restored. What is damaged, if something is.
async fn roles(place: &Place<'_>, control: &mut Connection) -> Result<Option<Trouble>, Failure> {
    if let Some(finding) = schema::note(place) {
        ledger::record(control, "left out by rule", &json!({"finding": finding})).await?;
    }
    if !place.with_tablespaces {
        let seen = "its tablespaces are not there, so everything is in the default one";
        let finding = Finding::new(FindingKind::RestoreStatementLeftOut, place.job.database, seen);
        ledger::record(control, "without tablespaces", &json!({"finding": finding})).await?;
    }
    if place.job.roles == Roles::None {
        let seen = "restored without owners and privileges, because the server's roles are not the archive's";
        let finding =
            Finding::new(FindingKind::OwnershipNotChecked, place.job.database, seen).hint("a drill with an instance of its own restores both");
        ledger::record(control, globals::STEP, &json!({"finding": finding})).await?;
        return Ok(None);
    }
    let bytes = match fetch(&place.job, GLOBALS).await {
        Ok(bytes) => bytes,
        Err(trouble) => return Ok(Some(trouble)),
    };
    let major = settings::server_major(control).await?;
    globals::restore(control, &String::from_utf8_lossy(&bytes), &place.job.access.user, major).await?;
    Ok(None)
}

//! The rows: each data file is read from S3 once, hashed, decompressed, counted and digested on its way into a COPY, several at a time, the biggest first.
//!
//! A file's rows and its line in the ledger are one transaction, which is only committed when every byte is known to be what was written: so a file is
//! loaded once or not at all. Nothing is kept on disk, and memory holds some pieces for each connection, whatever the size of a row.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use shared::compression::{Compression, Decompressor};
use shared::copy_text::RowCounter;
use shared::digest::Content;
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::key::ArchiveKey;
use shared::manifest::{Manifest, Table};
use shared::store::Store;
use shared_postgres::{Connection, ContextSql};
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Place;
use super::contents::Load;
use super::object::{Reader, Source, Trouble};
use super::session::Sessions;
use crate::ledger;
use crate::statement::{identifier, literal, refusal};

/// What is sent to the server at a time, about.
const SEND_BYTES: usize = 256 * 1024;

/// What the loading sessions share.
#[derive(Clone)]
struct Route {
    store: Store,
    archive: ArchiveKey,
    manifest: Arc<Manifest>,
    sessions: Sessions,
    queue: Arc<Mutex<VecDeque<Load>>>,
    damaged: Arc<Mutex<HashSet<usize>>>,
    until: Instant,
}

/// Loads what is not in the ledger. Whether all of it is there.
///
/// # Errors
/// When a connection or S3 is lost.
pub(super) async fn load(place: &Place<'_>, control: &mut Connection, until: Instant) -> Result<bool, Failure> {
    let done = ledger::read(control).await?;
    let lost = super::stock::left_out(&done);
    let manifest = place.job.manifest;
    let mut todo: Vec<Load> = place
        .contents
        .loads
        .iter()
        .filter(|load| !lost.contains(&load.dump_id) && !done.contains_key(&step(manifest, load)) && !done.contains_key(&damage_step(manifest, load)))
        .cloned()
        .collect();
    if !todo.is_empty() {
        todo.sort_by_key(|load| std::cmp::Reverse(manifest.objects[load.object].size_bytes));
        let workers = place.job.connections.min(todo.len()).max(1);
        let route = Route {
            store: place.job.store.clone(),
            archive: place.job.archive.clone(),
            manifest: Arc::new(manifest.clone()),
            sessions: place.sessions.clone(),
            queue: Arc::new(Mutex::new(todo.into())),
            damaged: Arc::new(Mutex::new(damaged_tables(place, &done))),
            until,
        };
        // Dropping the set, when the call is cut, ends every session.
        let mut running = JoinSet::new();
        for number in 0..workers {
            running.spawn(work(route.clone(), number));
        }
        let mut result = Ok(true);
        while let Some(ended) = running.join_next().await {
            let ended = ended.map_err(|error| Failure::from_error(FailureKind::Panic, &error).context("load rows"))?;
            result = match (result, ended) {
                (Ok(all), Ok(finished)) => Ok(all && finished),
                (Err(failure), _) | (_, Err(failure)) => Err(failure),
            };
        }
        if !result? {
            return Ok(false);
        }
    }
    empty_damaged(place, control).await?;
    compare(place, control).await?;
    Ok(true)
}

fn step(manifest: &Manifest, load: &Load) -> String {
    format!("load {}", manifest.objects[load.object].name)
}

fn damage_step(manifest: &Manifest, load: &Load) -> String {
    format!("damaged {}", manifest.objects[load.object].name)
}

/// Places of the tables of which an object is damaged.
pub(super) fn damaged_tables(place: &Place<'_>, done: &BTreeMap<String, Value>) -> HashSet<usize> {
    place.contents.loads.iter().filter(|load| done.contains_key(&damage_step(place.job.manifest, load))).map(|load| load.table).collect()
}

/// Works until the queue is empty or the time is over; whether it was the first.
async fn work(route: Route, number: usize) -> Result<bool, Failure> {
    let mut connection = None;
    loop {
        let next = route.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(load) = next else { return Ok(true) };
        if Instant::now() >= route.until {
            return Ok(false);
        }
        let mut session = match connection.take() {
            Some(session) => session,
            None => match timeout_at(route.until, route.sessions.open(&format!("load{number}"))).await {
                Ok(session) => session?,
                Err(_) => return Ok(false),
            },
        };
        // Cut in the middle, the session is dropped, and the server undoes what it was given.
        match timeout_at(route.until, load_one(&route, &mut session, &load)).await {
            Err(_) => return Ok(false),
            Ok(Ok(())) => connection = Some(session),
            Ok(Err(Trouble::Failed(failure))) => {
                let table = &route.manifest.tables[load.table];
                return Err(failure.context(format!("load {} of {}.{}", route.manifest.objects[load.object].name, table.schema, table.name)));
            }
            Ok(Err(Trouble::Damaged(finding))) => {
                // A session in the middle of a COPY is no use any more.
                drop(session);
                let mut session = route.sessions.open(&format!("load{number}")).await?;
                ledger::record(&mut session, &damage_step(&route.manifest, &load), &json!({"finding": finding})).await?;
                route.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(load.table);
                connection = Some(session);
            }
        }
    }
}

/// Rows on their way: counted, and kept until they are sent.
struct Rows {
    counter: RowCounter,
    out: Vec<u8>,
}

impl Write for Rows {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.counter.write_all(piece)?;
        self.out.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Rows {
    fn of(decompressor: &mut Decompressor<Rows>) -> &mut Rows {
        match decompressor {
            Decompressor::None(rows) => rows,
            Decompressor::Gzip(decoder) => decoder.get_mut(),
            Decompressor::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

async fn load_one(route: &Route, session: &mut Connection, load: &Load) -> Result<(), Trouble> {
    let (manifest, object) = (&*route.manifest, &route.manifest.objects[load.object]);
    let table = &manifest.tables[load.table];
    let refused = |error: sqlx::Error| match refusal(&error) {
        // The text of such an error quotes rows.
        Some(refusal) if !refusal.sqlstate.starts_with("57") && !refusal.sqlstate.starts_with("53") => Trouble::Damaged(Box::new(
            Finding::new(
                FindingKind::RestoreStatementFailed,
                format!("{}.{}", table.schema, table.name),
                format!("the server refused rows of {} (SQLSTATE {})", object.name, refusal.sqlstate),
            )
            .hint("its rows were not loaded; load this one table by hand with pg_restore to see what the server says"),
        )),
        _ => Trouble::Failed(shared_postgres::error::failure(&error)),
    };
    let (begin, copy_statement) = statements(table, load);
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *session).await.context_sql("begin")?;
    let mut copy = session.copy_in_raw(&copy_statement).await.map_err(refused)?;
    let mut reader = Reader::new(Source { store: &route.store, archive: &route.archive, manifest, object });
    let rows = Rows { counter: RowCounter::default(), out: Vec::new() };
    let mut decompressor = Decompressor::new(Compression::of_file(&object.name), rows).context("set up a decompressor")?;
    let undecodable = |error: &io::Error| {
        let seen = format!("its bytes do not decode: {error}");
        Trouble::Damaged(Box::new(Finding::new(FindingKind::ObjectCorrupt, route.archive.object(&object.name), seen)))
    };
    // What does not decode is read to its end, for its hash says more: whose bytes they are, or that some are missing.
    let mut broken: Option<Trouble> = None;
    loop {
        let piece = match reader.next().await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(trouble) => return Err(trouble),
        };
        let mut rest: &[u8] = &piece;
        while broken.is_none() && !rest.is_empty() {
            match decompressor.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) => broken = Some(undecodable(&error)),
            }
            let rows = Rows::of(&mut decompressor);
            if rows.out.len() >= SEND_BYTES {
                copy.send(&rows.out[..]).await.map_err(refused)?;
                rows.out.clear();
                rows.out.shrink_to(4 * SEND_BYTES);
            }
        }
    }
    if let Some(trouble) = broken {
        return Err(trouble);
    }
    let rows = decompressor.finish().map_err(|error| undecodable(&error))?;
    if !rows.out.is_empty() {
        copy.send(&rows.out[..]).await.map_err(refused)?;
    }
    let mismatch = |seen: String, expected: String| {
        let finding = Finding::new(FindingKind::ContentMismatch, format!("{}.{}", table.schema, table.name), seen).expected(expected);
        Trouble::Damaged(Box::new(finding.hint("the backup was written wrong: this is a defect of Lifeboat, dump again and report it")))
    };
    let content = rows.counter.finish().map_err(|why| mismatch(why, "data that ends with its mark".to_owned()))?;
    let loaded = copy.finish().await.map_err(refused)?;
    if loaded != content.rows {
        return Err(mismatch(format!("the server took {loaded} rows of {}", object.name), format!("{} rows", content.rows)));
    }
    // Slices are added up when all of them are there.
    if table.objects.len() == 1 && content != table.content {
        return Err(mismatch(say(content), say(table.content)));
    }
    let detail = json!({"rows": content.rows, "digest": content.digest, "bytes": object.size_bytes});
    let sql = format!(
        "INSERT INTO lifeboat_drill.done (step, detail) VALUES ({}, {}); COMMIT",
        literal(&step(manifest, load)),
        literal(&detail.to_string())
    );
    match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *session).await {
        Ok(_) => Ok(()),
        // A session that we had lost was committing while we looked: its rows stand, ours are undone.
        Err(error) if refusal(&error).is_some_and(|refusal| refusal.sqlstate == "23505") => {
            sqlx::raw_sql("ROLLBACK").execute(&mut *session).await.context_sql("roll back")?;
            Ok(())
        }
        Err(error) => Err(refused(error)),
    }
}

/// What begins the transaction, and what takes the rows. A table that was emptied in the same transaction takes them frozen: nobody then has to write its pages
/// a second time, to note that the rows are visible (COPY, "FREEZE").
fn statements(table: &Table, load: &Load) -> (String, String) {
    let copy = load.copy_statement.trim_end();
    match copy.strip_suffix(';') {
        Some(copy) if load.is_alone => {
            let empty = format!("BEGIN; TRUNCATE TABLE ONLY {}.{}", identifier(&table.schema), identifier(&table.name));
            (empty, format!("{copy} WITH (FREEZE)"))
        }
        _ => ("BEGIN".to_owned(), copy.to_owned()),
    }
}

fn say(content: Content) -> String {
    format!("{} rows, digest {}", content.rows, content.digest)
}

/// A table of which one object is damaged must not look as if it were there: the rows of its other slices are removed.
async fn empty_damaged(place: &Place<'_>, control: &mut Connection) -> Result<(), Failure> {
    let done = ledger::read(control).await?;
    for index in damaged_tables(place, &done) {
        let table = &place.job.manifest.tables[index];
        let step = format!("emptied {}.{}", table.schema, table.name);
        // Through a root, rows of other tables are in the same leaves.
        if done.contains_key(&step) || table.through_root.is_some() || table.objects.len() == 1 {
            continue;
        }
        let sql = format!("BEGIN; TRUNCATE TABLE ONLY {}.{}", identifier(&table.schema), identifier(&table.name));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *control).await.context_sql("empty a table that is damaged in part")?;
        ledger::record(control, &step, &json!({})).await?;
        sqlx::raw_sql("COMMIT").execute(&mut *control).await.context_sql("commit")?;
    }
    Ok(())
}

/// The sum of each table's files against the manifest.
async fn compare(place: &Place<'_>, control: &mut Connection) -> Result<(), Failure> {
    let (done, manifest) = (ledger::read(control).await?, place.job.manifest);
    let mut sums: BTreeMap<usize, Content> = BTreeMap::new();
    for load in &place.contents.loads {
        let part = done.get(&step(manifest, load)).and_then(|detail| serde_json::from_value(detail.clone()).ok());
        sums.entry(load.table).or_default().merge(part.unwrap_or_default());
    }
    let incomplete = damaged_tables(place, &done);
    let lost = super::stock::left_out(&done);
    let left: HashSet<usize> = place.contents.loads.iter().filter(|load| lost.contains(&load.dump_id)).map(|load| load.table).collect();
    for (index, sum) in sums {
        let table = &manifest.tables[index];
        if sum != table.content && !incomplete.contains(&index) && !left.contains(&index) {
            let subject = format!("{}.{}", table.schema, table.name);
            let finding = Finding::new(FindingKind::ContentMismatch, &subject, say(sum)).expected(say(table.content));
            ledger::record(control, &format!("mismatch {subject}"), &json!({"finding": finding})).await?;
        }
    }
    Ok(())
}

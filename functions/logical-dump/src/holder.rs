//! The session that holds everything together: the tables' locks first, then the snapshot that all data belongs to.
//!
//! MVCC does not cover TRUNCATE and rewriting ALTER TABLE: a table that was not locked before the snapshot may look empty in it (PostgreSQL manual,
//! "Caveats" of Concurrency Control). So the locks come first, and afterwards the tables that the snapshot shows are compared with those that were locked.

use std::collections::BTreeSet;

use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared_postgres::error::sqlstate;
use shared_postgres::session::{self, Limits};
use shared_postgres::{Access, Connection, ContextSql};
use sqlx::{AssertSqlSafe, Row};

use crate::catalog::{self, Kind, Relation};

/// How often tables may come and go while we lock them before we give up.
const ATTEMPTS_MAX: usize = 20;
/// Tables in one LOCK statement.
const LOCK_BATCH: usize = 500;

/// What is asked of the holder.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The database.
    pub database: &'a str,
    /// Name of the sessions of this run.
    pub application_name: &'a str,
    /// A snapshot to import instead of taking one.
    pub snapshot: Option<&'a str>,
    /// Whether unreadable tables are left out.
    pub allow_missing: bool,
    /// About waiting.
    pub limits: Limits,
}

/// The open transaction, and what it saw.
pub struct Holder {
    connection: Connection,
    /// Id of the snapshot, for other sessions to import.
    pub snapshot: String,
    /// When it was taken, by the server's clock.
    pub snapshot_at: chrono::DateTime<chrono::Utc>,
    /// Write-ahead log position then.
    pub wal_lsn: String,
    /// The tables, all locked.
    pub relations: Vec<Relation>,
    /// Tables that were left out.
    pub left_out: Vec<Relation>,
    /// How many tables have names that are not text.
    pub nameless: usize,
    /// What was found on the way.
    pub findings: Vec<Finding>,
}

impl Holder {
    /// Locks every table and takes, or imports, the snapshot.
    ///
    /// # Errors
    /// When a table cannot be read: the hint is the GRANT. When somebody holds a lock that excludes reading. When tables keep changing.
    pub async fn open(access: &Access, wanted: Wanted<'_>) -> Result<Self, Failure> {
        let mut connection = access.connect(wanted.database, wanted.application_name).await?;
        session::prepare(&mut connection, wanted.limits).await?;
        let mut changed = String::new();
        for _ in 0..ATTEMPTS_MAX {
            let (before, _) = catalog::relations(&mut connection).await?;
            let before = readable(before, access, wanted)?.0;
            sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut connection).await.context_sql("begin")?;
            match lock(&mut connection, &before).await {
                Ok(()) => {}
                // undefined_table, invalid_schema_name: dropped since we listed it.
                Err(error) if matches!(sqlstate(&error).as_deref(), Some("42P01" | "3F000")) => {
                    changed = error.to_string();
                    roll_back(&mut connection).await?;
                    continue;
                }
                Err(error) => {
                    return Err(shared_postgres::error::failure(&error)
                        .context("lock the tables against being dropped or truncated")
                        .hint("somebody holds an exclusive lock (a migration, VACUUM FULL, REINDEX): run the dump at another time, or raise LOCK_WAIT_SECONDS"));
                }
            }
            let (snapshot, snapshot_at, wal_lsn) = take_snapshot(&mut connection, wanted.snapshot).await?;
            let (seen, nameless) = catalog::relations(&mut connection).await?;
            let (relations, left_out) = readable(seen, access, wanted)?;
            match difference(&before, &relations) {
                None => {
                    let findings = left_out.iter().map(|relation| left_out_finding(relation, &access.user)).collect();
                    return Ok(Self { connection, snapshot, snapshot_at, wal_lsn, relations, left_out, nameless, findings });
                }
                Some(difference) => changed = difference,
            }
            roll_back(&mut connection).await?;
        }
        let failure = Failure::new(FailureKind::GaveWay, format!("tables keep changing while they are locked: {changed}"));
        Err(if wanted.snapshot.is_some() {
            failure.hint("the snapshot that was named is older than this change, so it cannot be dumped whole: take a new one")
        } else {
            failure.hint("run migrations and dumps at different times")
        })
    }

    /// A number that the snapshot can be asked for, or any other question under it.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Ends the transaction; it must still be there.
    ///
    /// # Errors
    /// When it was lost on the way: then the tables were not locked all the time.
    pub async fn finish(mut self) -> Result<(), Failure> {
        sqlx::query("COMMIT").execute(&mut self.connection).await.context_sql("end the transaction that held the snapshot")?;
        let _ = sqlx::Connection::close(self.connection).await;
        Ok(())
    }
}

/// Splits off what cannot be read, or fails because of it.
fn readable(relations: Vec<Relation>, access: &Access, wanted: Wanted<'_>) -> Result<(Vec<Relation>, Vec<Relation>), Failure> {
    let (left_out, relations): (Vec<_>, Vec<_>) = relations.into_iter().partition(|relation| relation.unreadable.is_some());
    if left_out.is_empty() || wanted.allow_missing {
        return Ok((relations, left_out));
    }
    let names: Vec<&str> = left_out.iter().take(10).map(|relation| relation.quoted.as_str()).collect();
    let more = if left_out.len() > names.len() { format!(" and {} more", left_out.len() - names.len()) } else { String::new() };
    let grants: BTreeSet<String> = left_out.iter().take(10).map(|relation| relation.grant(&access.user)).collect();
    Err(Failure::new(FailureKind::Denied, format!("{} cannot read {}{more} in database {}", access.user, names.join(", "), wanted.database))
        .hint(grants.into_iter().collect::<Vec<_>>().join(" ")))
}

fn left_out_finding(relation: &Relation, user: &str) -> Finding {
    Finding::new(
        FindingKind::TableLeftOut,
        &relation.quoted,
        format!("{user} cannot read it, and the request allows missing tables: it is NOT in this backup"),
    )
    .hint(relation.grant(user))
}

async fn lock(connection: &mut Connection, relations: &[Relation]) -> Result<(), sqlx::Error> {
    let lockable: Vec<&Relation> = relations.iter().filter(|relation| relation.kind != Kind::Foreign).collect();
    for batch in lockable.chunks(LOCK_BATCH) {
        let names: Vec<String> = batch.iter().map(|relation| format!("ONLY {}", relation.quoted)).collect();
        sqlx::raw_sql(AssertSqlSafe(format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", ")))).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn take_snapshot(connection: &mut Connection, import: Option<&str>) -> Result<(String, chrono::DateTime<chrono::Utc>, String), Failure> {
    if let Some(snapshot) = import {
        // The grammar takes a literal only; the server accepts no other characters (`ImportSnapshot`).
        if snapshot.is_empty() || !snapshot.chars().all(|char| char.is_ascii_hexdigit() || char == '-') {
            return Err(Failure::new(FailureKind::BadRequest, format!("{snapshot:?} is not the id of a snapshot"))
                .hint("it is what pg_export_snapshot() returned: 00000003-0000001B-1"));
        }
        sqlx::raw_sql(AssertSqlSafe(format!("SET TRANSACTION SNAPSHOT '{snapshot}'")))
            .execute(&mut *connection)
            .await
            .context_sql(format!("import the snapshot {snapshot}"))?;
    }
    let row =
        sqlx::query("SELECT pg_catalog.pg_export_snapshot(), extract(epoch FROM clock_timestamp())::float8, pg_catalog.pg_current_wal_lsn()::text")
            .fetch_one(connection)
            .await
            .context_sql("export the snapshot")?;
    let seconds: f64 = row.get(1);
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit an i64")]
    let at = chrono::DateTime::from_timestamp_millis((seconds * 1000.0) as i64).unwrap_or_default();
    Ok((row.get(0), at, row.get(2)))
}

/// What the snapshot shows that was not locked, or was rewritten in between.
fn difference(locked: &[Relation], seen: &[Relation]) -> Option<String> {
    let locked: BTreeSet<u32> = locked.iter().map(|relation| relation.oid).collect();
    seen.iter().find_map(|relation| {
        if !locked.contains(&relation.oid) {
            Some(format!("{} is new", relation.quoted))
        } else if relation.file_nodes.0 != relation.file_nodes.1 {
            Some(format!("{} was truncated or rewritten after the snapshot", relation.quoted))
        } else {
            None
        }
    })
}

async fn roll_back(connection: &mut Connection) -> Result<(), Failure> {
    sqlx::query("ROLLBACK").execute(connection).await.context_sql("roll back").map(|_| ())
}

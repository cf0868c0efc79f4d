//! amcheck: what it offers here, what it is asked to check, and one check in a session of its own.
//!
//! Its messages name files, blocks and positions, and never a value of a row.

use std::time::Duration;

use futures_util::TryStreamExt;
use shared::failure::Failure;
use sqlx::{AssertSqlSafe, Row};
use tokio::time::{Instant, timeout_at};

use crate::error::failure;
use crate::proof::quote;
use crate::route::Route;
use crate::soundness::{bytes, lossy};
use crate::trouble::{Trouble, sort};
use crate::windows::{END, Span};
use crate::{Connection, ContextSql};

/// The schema that we make for the extension, where the database has it not; nothing else is in it.
pub const SCHEMA: &str = "lifeboat_amcheck";
/// Corrupt places of a window that are read.
const PLACES_MAX: u32 = 100;

/// What amcheck offers to our role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tools {
    /// Name of the check of a btree index, quoted, from the strictest on.
    pub btree: Vec<Btree>,
    /// Name of `verify_heapam`.
    pub heap: Option<String>,
    /// Name of `gin_index_check` (since 18).
    pub gin: Option<String>,
    /// Functions that our role may not call.
    pub denied: Vec<String>,
    /// The schema that they are in, quoted, if our role may not enter it.
    pub closed_schema: Option<String>,
}

/// A check of a btree index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Btree {
    /// Quoted name.
    pub function: String,
    /// Whether it can look for duplicates in unique indexes (since 17).
    pub with_unique: bool,
    /// Whether it checks parents and children against each other.
    pub is_parent: bool,
}

/// An index or a table that is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `pg_class.oid`.
    pub oid: u32,
    /// The table that an index is of; of a table its own.
    pub table_oid: u32,
    /// Schema and name, for a person.
    pub subject: String,
    /// `heap`, `btree`, `gin` …
    pub method: String,
    /// Pages.
    pub pages: u64,
    /// Whether values are stored elsewhere.
    pub has_toast: bool,
    /// Pages of those.
    pub toast_pages: u64,
    /// Pages of the table that an index is of; of a table its own.
    pub table_pages: u64,
    /// Its file (`relfilenode`): another one when it was rewritten.
    pub file: u32,
    /// Whether it is an index that keeps values unique.
    pub is_unique: bool,
    /// Whether somebody holds, or waits for, a lock on it or its table that excludes reading. Then its size is the one that the catalog remembers.
    pub is_locked: bool,
}

/// A place that is corrupt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Block.
    pub block: u64,
    /// What amcheck says of it.
    pub said: String,
}

/// Which functions there are, and which our role may call.
///
/// # Errors
/// When the server cannot be asked.
pub async fn tools(connection: &mut Connection) -> Result<Option<Tools>, Failure> {
    let rows = sqlx::query(
        "SELECT p.proname::text, n.nspname::text, 'checkunique' = ANY (coalesce(p.proargnames, '{}')) AS with_unique,
                'heapallindexed' = ANY (coalesce(p.proargnames, '{}')) AS with_heap,
                has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(n.oid, 'USAGE') AS may_call, p.oid::regprocedure::text,
                has_schema_privilege(n.oid, 'USAGE')
           FROM pg_catalog.pg_extension e
           JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid AND d.classid = 'pg_catalog.pg_proc'::regclass
           JOIN pg_catalog.pg_proc p ON p.oid = d.objid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
          WHERE e.extname = 'amcheck' AND d.deptype = 'e' ORDER BY p.pronargs DESC, p.oid",
    )
    .fetch_all(connection)
    .await
    .context_sql("ask for amcheck")?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut tools = Tools::default();
    for row in &rows {
        let (name, schema, with_unique, with_heap, may_call): (String, String, bool, bool, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
        let function = format!("{}.{}", quote(&schema), quote(&name));
        if !may_call {
            tools.denied.push(row.get(5));
            if !row.get::<bool, _>(6) {
                tools.closed_schema = Some(quote(&schema));
            }
            continue;
        }
        match name.as_str() {
            "bt_index_parent_check" | "bt_index_check" if with_heap => {
                let is_parent = name == "bt_index_parent_check";
                tools.btree.push(Btree { function, with_unique, is_parent });
            }
            "verify_heapam" => tools.heap = Some(function),
            "gin_index_check" => tools.gin = Some(function),
            _ => {}
        }
    }
    // The strictest first; of equal ones, the one with more arguments.
    tools.btree.sort_by_key(|check| (!check.is_parent, !check.with_unique));
    tools.btree.dedup_by_key(|check| check.is_parent);
    Ok(Some(tools))
}

/// Makes the extension in a schema of ours. `false`: our role may not, or the server does not have it.
///
/// # Errors
/// When the connection is lost.
pub async fn install(connection: &mut Connection) -> Result<bool, Failure> {
    let sql = format!("BEGIN; CREATE SCHEMA {SCHEMA}; CREATE EXTENSION amcheck SCHEMA {SCHEMA}; COMMIT");
    match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await {
        Ok(_) => Ok(true),
        Err(error) if error.as_database_error().is_none() => Err(failure(&error).context("make amcheck")),
        Err(_) => {
            sqlx::query("ROLLBACK").execute(connection).await.context_sql("make amcheck")?;
            Ok(false)
        }
    }
}

/// Takes it away again, if it is in the schema of ours.
///
/// # Errors
/// When the connection is lost, or somebody put something else there.
pub async fn remove(connection: &mut Connection) -> Result<(), Failure> {
    let is_there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)")
        .bind(SCHEMA)
        .fetch_one(&mut *connection)
        .await
        .context_sql("look for the schema of amcheck")?;
    if is_there {
        let sql = format!("BEGIN; DROP EXTENSION IF EXISTS amcheck; DROP SCHEMA {SCHEMA}; COMMIT");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.context_sql("take amcheck away")?;
    }
    Ok(())
}

/// Tables (with those of values stored elsewhere, and the system's), then indexes that can be used; each biggest first. `pg_relation_size` waits for
/// locks, so what is locked is not asked; on a replica there is nothing in what is not logged.
const TARGETS: &str = "
WITH locked AS MATERIALIZED (
  SELECT DISTINCT relation FROM pg_catalog.pg_locks
   WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND database IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))),
sized AS MATERIALIZED (
  SELECT c.oid, c.relname, c.relnamespace, c.relam, c.relkind, c.relpersistence, c.reltoastrelid, l.relation IS NOT NULL AS is_locked,
         coalesce(CASE WHEN l.relation IS NULL THEN pg_relation_size(c.oid) / current_setting('block_size')::bigint END, c.relpages) AS pages
    FROM pg_catalog.pg_class c LEFT JOIN locked l ON l.relation = c.oid
   WHERE c.relkind IN ('r', 'm', 't', 'i') AND c.relpersistence <> 't' AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery()))
SELECT c.oid::bigint, coalesce(i.indrelid, c.oid)::bigint, SCHEMA, NAME, m.amname::text, c.pages, c.reltoastrelid <> 0, c.relkind = 'i', OWNER,
       coalesce(toast.pages, 0), coalesce(h.pages, c.pages), coalesce(pg_relation_filenode(c.oid), 0)::bigint, coalesce(i.indisunique, false),
       c.is_locked OR coalesce(h.is_locked, false)
  FROM sized c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_am m ON m.oid = c.relam
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
  LEFT JOIN sized h ON h.oid = i.indrelid
  LEFT JOIN sized toast ON toast.oid = c.reltoastrelid AND c.reltoastrelid <> 0
  -- The table whose long values are here.
  LEFT JOIN pg_catalog.pg_class t ON t.reltoastrelid = coalesce(i.indrelid, c.oid) AND t.reltoastrelid <> 0
  LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
 WHERE n.nspname IS DISTINCT FROM $1 AND ($1 IS NULL OR tn.nspname IS DISTINCT FROM $1)
   AND (c.relkind <> 'i' OR i.indisvalid AND i.indisready AND i.indislive)
 ORDER BY c.relkind = 'i', c.pages DESC, c.oid";

/// What there is to be checked: tables, and indexes; nothing of the schema `besides`.
///
/// # Errors
/// When the server cannot be asked.
pub async fn targets(connection: &mut Connection, besides: Option<&str>) -> Result<(Vec<Target>, Vec<Target>), Failure> {
    let sql = TARGETS
        .replace("SCHEMA", &bytes("n.nspname::text"))
        .replace("NAME", &bytes("c.relname::text"))
        .replace("OWNER", &format!("CASE WHEN t.oid <> 0 THEN {} END", bytes("format('%s.%s', tn.nspname, t.relname)")));
    let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(besides).fetch(connection);
    let (mut tables, mut indexes) = (Vec::new(), Vec::new());
    while let Some(row) = rows.try_next().await.context_sql("list what can be checked")? {
        let oid = |index: usize| u32::try_from(row.get::<i64, _>(index)).unwrap_or(0);
        let pages = |index: usize| u64::try_from(row.get::<i64, _>(index)).unwrap_or(0);
        let name = format!("{}.{}", lossy(row.get(2)), lossy(row.get(3)));
        let target = Target {
            oid: oid(0),
            table_oid: oid(1),
            subject: match row.get::<Option<&[u8]>, _>(8) {
                // A number says nothing to a person.
                Some(owner) => format!("{name}, where long values of {} are", lossy(owner)),
                None => name,
            },
            method: row.get(4),
            pages: pages(5),
            has_toast: row.get(6),
            toast_pages: pages(9),
            table_pages: pages(10),
            file: oid(11),
            is_unique: row.get(12),
            is_locked: row.get(13),
        };
        if row.get(7) { indexes.push(target) } else { tables.push(target) }
    }
    Ok((tables, indexes))
}

/// One check that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Pages of a table: the place of the table, the pages, and the statements, one after the other until one finds something.
    Heap(usize, Span, Vec<String>),
    /// An index: its place, and the statements, until one is not refused.
    Index(usize, Vec<String>),
}

/// A check that was tried.
pub struct Ended {
    /// What was asked for.
    pub order: Order,
    /// Corrupt places, or why it could not be checked.
    pub result: Result<Vec<Place>, Trouble>,
    /// How long it took.
    pub time: Duration,
    /// The session, if it can go on.
    pub connection: Option<Connection>,
}

/// The statements that check pages of a table: first without the values stored elsewhere, for those of a damaged page can lead anywhere.
pub fn heap_statements(function: &str, table: &Target, span: Span) -> Vec<String> {
    let from = if span.from == 0 { "NULL".to_owned() } else { span.from.to_string() };
    let to = if span.to >= END { "NULL".to_owned() } else { (span.to - 1).to_string() };
    let statement = |toast: bool| {
        format!(
            "SELECT blkno::bigint, msg::text FROM {function}({}::regclass, on_error_stop => false, check_toast => {toast}, skip => 'none', startblock => {from}, endblock => {to})
              LIMIT {PLACES_MAX}",
            table.oid
        )
    };
    if table.has_toast { vec![statement(false), statement(true)] } else { vec![statement(false)] }
}

/// The statements that check an index, the strictest first. Of a table that is damaged itself only the index is read.
pub fn index_statements(tools: &Tools, index: &Target, table_is_damaged: bool) -> Vec<String> {
    match index.method.as_str() {
        "btree" => tools
            .btree
            .iter()
            .map(|check| {
                let unique = if check.with_unique && !table_is_damaged { ", checkunique => true" } else { "" };
                format!("SELECT {}({}::regclass, heapallindexed => {}{unique})", check.function, index.oid, !table_is_damaged)
            })
            .collect(),
        "gin" => tools.gin.iter().map(|function| format!("SELECT {function}({}::regclass)", index.oid)).collect(),
        _ => Vec::new(),
    }
}

/// The statements that check an index beside others' work, under a lock that excludes only what excludes reading: the stricter first, for where it is
/// refused. With the rows of its table only where that is asked for.
pub fn gentle_statements(tools: &Tools, index: &Target, with_rows: bool) -> Vec<String> {
    let Some(check) = tools.btree.iter().find(|check| !check.is_parent).filter(|_| index.method == "btree") else {
        return if index.method == "gin" { index_statements(tools, index, false) } else { Vec::new() };
    };
    let unique = if check.with_unique && index.is_unique { ", checkunique => true" } else { "" };
    let statement = |rows: bool, unique: &str| format!("SELECT {}({}::regclass, heapallindexed => {rows}{unique})", check.function, index.oid);
    let mut statements = vec![statement(with_rows, unique), statement(false, "")];
    statements.dedup();
    statements
}

/// Runs a check until it is done or the time is over; the server ends it then too.
pub async fn check(route: Route, connection: Option<Connection>, order: Order, until: Instant) -> Ended {
    let begun = Instant::now();
    let work = async {
        let mut connection = match connection {
            Some(connection) => connection,
            None => route.connect().await?,
        };
        let left = until.saturating_duration_since(Instant::now()).as_millis() + 1000;
        let set = format!("SET statement_timeout = {}", left.min(i32::MAX as u128));
        sqlx::query(AssertSqlSafe(set)).execute(&mut connection).await.map_err(|error| sort(&error))?;
        let result = match &order {
            Order::Heap(_, _, statements) => heap(&mut connection, statements).await,
            Order::Index(_, statements) => index(&mut connection, statements).await,
        };
        Ok((result, connection))
    };
    let (result, connection) = match timeout_at(until, work).await {
        Ok(Ok((Err(trouble @ Trouble::Lost(_)), _)) | Err(trouble)) => (Err(trouble), None),
        Ok(Ok((result, connection))) => (result, Some(connection)),
        Err(_) => (Err(Trouble::Unfinished), None),
    };
    Ended { order, result, time: begun.elapsed(), connection }
}

async fn heap(connection: &mut Connection, statements: &[String]) -> Result<Vec<Place>, Trouble> {
    for sql in statements {
        let rows = sqlx::query(AssertSqlSafe(sql.clone())).fetch_all(&mut *connection).await.map_err(|error| sort(&error))?;
        if !rows.is_empty() {
            return Ok(rows.iter().map(|row| Place { block: u64::try_from(row.get::<i64, _>(0)).unwrap_or(0), said: row.get(1) }).collect());
        }
    }
    Ok(Vec::new())
}

async fn index(connection: &mut Connection, statements: &[String]) -> Result<Vec<Place>, Trouble> {
    let mut refused = Trouble::Denied;
    for sql in statements {
        match sqlx::query(AssertSqlSafe(sql.clone())).execute(&mut *connection).await {
            Ok(_) => return Ok(Vec::new()),
            // Refused, perhaps for its lock only: the gentler check may be allowed.
            Err(error) => match sort(&error) {
                trouble @ (Trouble::Denied | Trouble::Refused(_)) => refused = trouble,
                trouble => return Err(trouble),
            },
        }
    }
    Err(refused)
}

//! The counters of `pg_stat_statements`, by the columns that this server's version has. The numbers first, without the text: reading text reads the whole
//! text file of the server.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared_postgres::error::sqlstate;
use shared_postgres::proof::quote;
use shared_postgres::{Connection, ContextSql};
use sqlx::{AssertSqlSafe, Row};

use crate::sql_text::redacted;

/// Queries that are kept of a night: those that took the most time.
pub const ENTRIES_MAX: usize = 2000;
/// Longest text of a query that is shown, in characters.
pub const TEXT_CHARACTERS_MAX: usize = 300;
/// Text of which that is made, in characters.
const TEXT_READ_MAX: usize = 4000;

/// The counters of a night.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// When they were read, by the server's clock.
    pub at: DateTime<Utc>,
    /// When all of them were reset last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<DateTime<Utc>>,
    /// How often the server threw entries away to make room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thrown_away: Option<i64>,
    /// Whether there are more than are kept.
    #[serde(default)]
    pub is_cut: bool,
    /// The queries.
    pub entries: Vec<Entry>,
}

/// One query of one user: query id, user, whether it is called from outside rather than by a function, calls, milliseconds, rows, blocks read, temporary
/// blocks written, bytes of WAL, and since when it is counted (seconds since 1970, from 17 on). An array in JSON, for there are many.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry(pub i64, pub i64, pub bool, pub f64, pub f64, pub f64, pub f64, pub f64, pub f64, pub Option<f64>);

impl Entry {
    /// What it is the same query by.
    pub fn key(&self) -> (i64, i64, bool) {
        (self.0, self.1, self.2)
    }
}

/// Why there are no counters, or not all: said once, with the exact statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCounted(pub Finding);

/// What is there to be read, in one statement: the extension's schema, its columns, whether the role sees others' queries.
const OFFERED: &str = "
SELECT n.nspname::text, ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
                               WHERE c.relnamespace = n.oid AND c.relname = 'pg_stat_statements' AND a.attnum > 0 AND NOT a.attisdropped),
       EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'pg_stat_statements_info'),
       pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') OR (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'";

fn not_counted(database: &str, seen: &str, help: String) -> NotCounted {
    NotCounted(Finding::new(FindingKind::QueriesNotSeen, format!("{database} slow queries"), seen).hint(help))
}

/// Reads the counters of this database. With them comes what is missing, if the role sees only its own queries.
///
/// # Errors
/// When the connection is lost.
pub async fn look(connection: &mut Connection, database: &str, role: &str) -> Result<Result<(Counters, Option<NotCounted>), NotCounted>, Failure> {
    let offered = sqlx::query(OFFERED).fetch_optional(&mut *connection).await.context_sql("ask for pg_stat_statements")?;
    let Some(offered) = offered else {
        let help = "add pg_stat_statements to shared_preload_libraries of the parameter group (RDS has it there by default), then in this database, as the master user: CREATE EXTENSION pg_stat_statements;";
        return Ok(Err(not_counted(database, "the extension pg_stat_statements is not there, so slow queries are not known", help.to_owned())));
    };
    let (schema, columns, has_info, sees_all): (String, Vec<String>, bool, bool) = (offered.get(0), offered.get(1), offered.get(2), offered.get(3));
    let sql = numbers(&quote(&schema), &columns.into_iter().collect(), has_info);
    let rows = match sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *connection).await {
        Ok(rows) => rows,
        Err(error) => {
            return match sqlstate(&error).as_deref() {
                // object_not_in_prerequisite_state: the library is not loaded.
                Some("55000") => Ok(Err(not_counted(
                    database,
                    "the extension pg_stat_statements is there, but its library is not loaded",
                    "add pg_stat_statements to shared_preload_libraries of the parameter group, and restart the instance".to_owned(),
                ))),
                Some("42501") => Ok(Err(not_counted(
                    database,
                    "the role may not read pg_stat_statements",
                    format!(
                        "GRANT USAGE ON SCHEMA {0} TO {1}; GRANT SELECT ON {0}.pg_stat_statements TO {1}; GRANT pg_read_all_stats TO {1};",
                        quote(&schema),
                        quote(role)
                    ),
                ))),
                Some(code) => Ok(Err(not_counted(
                    database,
                    &format!("pg_stat_statements cannot be read (SQLSTATE {code})"),
                    "the next night tries again".to_owned(),
                ))),
                None => Err(shared_postgres::error::failure(&error).context("read pg_stat_statements")),
            };
        }
    };
    let mut counters = Counters::default();
    let time = |seconds: Option<f64>| seconds.and_then(from_epoch);
    for row in &rows {
        let get = |place: usize| row.try_get::<Option<f64>, _>(place).ok().flatten();
        if let (Some(at), reset, thrown_away) = (time(get(0)), time(get(1)), row.try_get(2).ok().flatten()) {
            (counters.at, counters.reset_at, counters.thrown_away) = (at, reset, thrown_away);
        }
        // Others' queries have no id, where the role may not see them.
        let (Some(query), Some(user)) = (row.try_get::<Option<i64>, _>(3).ok().flatten(), row.try_get::<Option<i64>, _>(4).ok().flatten()) else {
            continue;
        };
        let number = |place: usize| get(place).unwrap_or(0.0);
        let top = row.try_get::<Option<bool>, _>(5).ok().flatten().unwrap_or(true);
        counters.entries.push(Entry(query, user, top, number(6), number(7), number(8), number(9), number(10), number(11), get(12)));
    }
    counters.is_cut = counters.entries.len() > ENTRIES_MAX;
    counters.entries.truncate(ENTRIES_MAX);
    let partly = (!sees_all)
        .then(|| not_counted(database, "the role sees the counters of its own queries only", format!("GRANT pg_read_all_stats TO {};", quote(role))));
    Ok(Ok((counters, partly)))
}

/// The statement that reads the numbers. The first three columns are of all of them, so that one statement is enough; there is a row even without a query.
fn numbers(schema: &str, columns: &BTreeSet<String>, has_info: bool) -> String {
    let epoch = |what: &str| format!("extract(epoch FROM {what})::pg_catalog.float8");
    let number = |name: &str| if columns.contains(name) { format!("s.{name}::pg_catalog.float8") } else { "NULL::pg_catalog.float8".to_owned() };
    let info = if has_info {
        format!("(SELECT {} FROM {schema}.pg_stat_statements_info), (SELECT dealloc FROM {schema}.pg_stat_statements_info)", epoch("stats_reset"))
    } else {
        "NULL::pg_catalog.float8, NULL::pg_catalog.int8".to_owned()
    };
    let time = if columns.contains("total_exec_time") { "total_exec_time" } else { "total_time" };
    let top = if columns.contains("toplevel") { "s.toplevel" } else { "NULL::pg_catalog.bool" };
    let since = if columns.contains("stats_since") { epoch("s.stats_since") } else { "NULL::pg_catalog.float8".to_owned() };
    format!(
        "SELECT {}, {info}, s.queryid, s.userid::pg_catalog.int8, {top}, {}, {}, {}, {}, {}, {}, {since}
           FROM (SELECT) AS one LEFT JOIN {schema}.pg_stat_statements(false) AS s
             ON s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AND s.queryid IS NOT NULL
          ORDER BY s.{time} DESC NULLS LAST LIMIT {}",
        epoch("pg_catalog.now()"),
        number("calls"),
        number(time),
        number("rows"),
        number("shared_blks_read"),
        number("temp_blks_written"),
        number("wal_bytes"),
        ENTRIES_MAX + 1
    )
}

fn from_epoch(seconds: f64) -> Option<DateTime<Utc>> {
    #[expect(clippy::cast_possible_truncation, reason = "times of a server fit")]
    let micros = (seconds * 1e6).round() as i64;
    seconds.is_finite().then(|| DateTime::from_timestamp_micros(micros)).flatten()
}

/// The text of a few queries, redacted and cut. The server reads its whole text file for it, so it is asked once.
///
/// # Errors
/// When the connection is lost. A text that cannot be had is left out.
pub async fn texts(connection: &mut Connection, queries: &[i64]) -> Result<BTreeMap<i64, String>, Failure> {
    let mut texts = BTreeMap::new();
    if queries.is_empty() {
        return Ok(texts);
    }
    let schema: Option<String> = sqlx::query_scalar(
        "SELECT n.nspname::text FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'",
    )
    .fetch_optional(&mut *connection)
    .await
    .context_sql("find pg_stat_statements")?;
    let Some(schema) = schema else { return Ok(texts) };
    let sql = format!(
        "SELECT DISTINCT ON (queryid) queryid, textsend(left(query, {TEXT_READ_MAX})) FROM {}.pg_stat_statements(true)
          WHERE queryid = ANY ($1) AND dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())",
        quote(&schema)
    );
    let rows = match sqlx::query(AssertSqlSafe(sql)).bind(queries).fetch_all(connection).await {
        Ok(rows) => rows,
        Err(error) if sqlstate(&error).is_some() => return Ok(texts),
        Err(error) => return Err(shared_postgres::error::failure(&error).context("read the text of queries")),
    };
    for row in &rows {
        if let (Ok(query), Ok(Some(text))) = (row.try_get(0), row.try_get::<Option<Vec<u8>>, _>(1)) {
            texts.insert(query, redacted(&String::from_utf8_lossy(&text), TEXT_CHARACTERS_MAX));
        }
    }
    Ok(texts)
}

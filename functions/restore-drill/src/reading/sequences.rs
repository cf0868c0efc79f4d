//! Where every sequence stands.

use serde::{Deserialize, Serialize};
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared_postgres::error::failure;
use shared_postgres::proof::quote;
use shared_postgres::{Connection, ContextSql};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use shared_postgres::trouble::{Trouble, sort};

/// A sequence and its position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `last_value`.
    pub last_value: i64,
    /// `is_called`.
    pub is_called: bool,
    /// `seqincrement`.
    pub increment: i64,
    /// Whether it begins again at its end.
    pub cycles: bool,
    /// Whether a server that was not shut down sets it back.
    pub is_unlogged: bool,
}

/// So many are asked for by one statement.
const BATCH: usize = 200;

const SEQUENCES: &str = "
SELECT textsend(n.nspname::text) AS schema, textsend(c.relname::text) AS name, s.seqincrement AS increment, s.seqcycle AS cycles,
       c.relpersistence = 'u' AS is_unlogged,
       has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT') AS may_read
  FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 ORDER BY n.nspname, c.relname";

/// Every position, and what could not be read.
///
/// # Errors
/// When the connection is lost.
pub async fn positions(connection: &mut Connection, user: &str) -> Result<(Vec<Position>, Vec<Finding>), Failure> {
    let rows = sqlx::query(SEQUENCES).fetch_all(&mut *connection).await.context_sql("list sequences")?;
    let (mut readable, mut findings) = (Vec::new(), Vec::new());
    for row in &rows {
        match known(row).context_sql("list sequences")? {
            Some((position, true)) => readable.push(position),
            Some((position, false)) => findings.push(denied(&position, user)),
            None => {
                findings.push(Finding::new(FindingKind::NotChecked, "sequences", "the name of a sequence is not text, so it cannot be asked for"));
            }
        }
    }
    let mut positions = Vec::with_capacity(readable.len());
    for batch in readable.chunks(BATCH) {
        match read(connection, batch).await {
            Ok(read) => positions.extend(read),
            Err(error) if error.as_database_error().is_none() => return Err(failure(&error).context("read sequences")),
            // One of them cannot be read: which?
            Err(_) => {
                for one in batch {
                    match read(connection, std::slice::from_ref(one)).await {
                        Ok(read) => positions.extend(read),
                        Err(error) => findings.push(unreadable(one, &error, user)?),
                    }
                }
            }
        }
    }
    Ok((positions, findings))
}

fn known(row: &PgRow) -> Result<Option<(Position, bool)>, sqlx::Error> {
    let text = |column: &str| row.try_get::<Vec<u8>, _>(column).map(String::from_utf8);
    let (Ok(schema), Ok(name)) = (text("schema")?, text("name")?) else { return Ok(None) };
    let position = Position {
        schema,
        name,
        last_value: 0,
        is_called: false,
        increment: row.try_get("increment")?,
        cycles: row.try_get("cycles")?,
        is_unlogged: row.try_get("is_unlogged")?,
    };
    Ok(Some((position, row.try_get("may_read")?)))
}

async fn read(connection: &mut Connection, batch: &[Position]) -> Result<Vec<Position>, sqlx::Error> {
    let selects: Vec<String> = batch
        .iter()
        .enumerate()
        .map(|(number, one)| format!("SELECT {number} AS number, last_value, is_called FROM {}.{}", quote(&one.schema), quote(&one.name)))
        .collect();
    let rows = sqlx::raw_sql(AssertSqlSafe(selects.join(" UNION ALL "))).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let number: i32 = row.try_get(0)?;
            let one = usize::try_from(number).ok().and_then(|number| batch.get(number)).ok_or(sqlx::Error::RowNotFound)?;
            Ok(Position { last_value: row.try_get(1)?, is_called: row.try_get(2)?, ..one.clone() })
        })
        .collect()
}

fn denied(one: &Position, user: &str) -> Finding {
    let (schema, name, role) = (quote(&one.schema), quote(&one.name), quote(user));
    Finding::new(FindingKind::NotChecked, format!("sequence {}.{}", one.schema, one.name), "the role may not read it, so its position is not known")
        .hint(format!("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON SEQUENCE {schema}.{name} TO {role};"))
}

fn unreadable(one: &Position, error: &sqlx::Error, user: &str) -> Result<Finding, Failure> {
    let subject = format!("sequence {}.{}", one.schema, one.name);
    match sort(error) {
        Trouble::Lost(failure) => Err(failure.context("read sequences")),
        Trouble::Denied => Ok(denied(one, user)),
        Trouble::Damaged(said) => Ok(Finding::new(FindingKind::TableUnreadable, subject, said).hint("restore from an older backup, or an archive")),
        Trouble::Unfinished => Ok(Finding::new(FindingKind::NotChecked, subject, "somebody held a lock on it for too long")),
        Trouble::Vanished => Ok(Finding::new(FindingKind::NotChecked, subject, "it vanished while it was being read")),
        Trouble::Refused(code) => Ok(Finding::new(FindingKind::NotChecked, subject, format!("the server refused to read it (SQLSTATE {code})"))),
    }
}

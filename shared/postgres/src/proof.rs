//! Is this database what a manifest says? Every count and digest, the large objects, the positions of the sequences.
//!
//! A digest is made of text, and text depends on settings and on the server's major: where those differ the verdict is "not checked", never "bad" and
//! never "good".

use std::collections::BTreeMap;

use shared::digest::Content;
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared::manifest::{Manifest, Table};
use sqlx::{AssertSqlSafe, Row};

use crate::rows::{copy_table_sql, count, count_large_objects};
use crate::session::{self, Limits};
use crate::{Connection, ContextSql};

/// What a comparison came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// What differs, and what could not be checked. Empty: the database is what the manifest says.
    pub findings: Vec<Finding>,
    /// Sequences that were read.
    pub sequences: u64,
    /// Large objects that were read.
    pub large_objects: u64,
    /// Tables that were read.
    pub tables: u64,
    /// Rows that were read.
    pub rows: u64,
}

/// Compares the database of a connection with a manifest, in one read-only transaction.
///
/// # Errors
/// When the connection is lost. A table that is missing, or cannot be read, is a finding.
pub async fn compare(connection: &mut Connection, manifest: &Manifest) -> Result<Proof, Failure> {
    let server_major = session::server_major(connection).await?;
    session::prepare(connection, Limits { lock_wait_ms: 30_000, server_major }).await?;
    let mut proof = Proof::default();
    let session = session::describe(connection).await?;
    if session != manifest.session || server_major != manifest.server.major {
        proof.findings.push(
            Finding::new(
                FindingKind::NotChecked,
                &manifest.database,
                format!("the text of this server (major {server_major}, {session:?}) cannot be compared with that of the backup"),
            )
            .expected(format!("major {}, {:?}", manifest.server.major, manifest.session))
            .hint("restore into a server of the same major, into a database of the same encoding and lc_monetary"),
        );
        return Ok(proof);
    }
    sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *connection).await.context_sql("begin")?;
    compare_tables(connection, manifest, &mut proof).await?;
    compare_large_objects(connection, manifest, &mut proof).await?;
    compare_sequences(connection, manifest, &mut proof).await?;
    sqlx::query("COMMIT").execute(connection).await.context_sql("commit")?;
    Ok(proof)
}

/// Rows that were loaded through a partition root may be in any leaf, so those tables are compared as one.
async fn compare_tables(connection: &mut Connection, manifest: &Manifest, proof: &mut Proof) -> Result<(), Failure> {
    let mut groups: BTreeMap<String, (Content, Option<Content>)> = BTreeMap::new();
    for table in &manifest.tables {
        let subject = match &table.through_root {
            Some(root) => format!("{}.{} and its partitions", root.schema, root.name),
            None => format!("{}.{}", table.schema, table.name),
        };
        if table.by_pg_dump && [&table.schema, &table.name].iter().any(|name| name.contains(char::REPLACEMENT_CHARACTER)) {
            let seen = "its name is not text, so it cannot be asked for; its bytes in the archive are checked by backup-verify";
            proof.findings.push(Finding::new(FindingKind::NotChecked, subject, seen));
            continue;
        }
        let (expected, seen) = groups.entry(subject.clone()).or_insert((Content::default(), Some(Content::default())));
        expected.merge(table.comparable().0);
        sqlx::query("SAVEPOINT before_table").execute(&mut *connection).await.context_sql("set a savepoint")?;
        match count_table(connection, table).await {
            Ok(content) => {
                proof.tables += 1;
                proof.rows += content.rows;
                if let Some(seen) = seen {
                    seen.merge(content);
                }
            }
            Err(failure) => {
                // A lost connection shows here again, and ends the comparison.
                sqlx::query("ROLLBACK TO SAVEPOINT before_table").execute(&mut *connection).await.context_sql("read tables")?;
                *seen = None;
                proof.findings.push(Finding::new(FindingKind::ContentMismatch, subject, failure.to_string()));
            }
        }
    }
    for (subject, (expected, seen)) in groups {
        if let Some(seen) = seen.filter(|seen| *seen != expected) {
            proof.findings.push(
                Finding::new(FindingKind::ContentMismatch, subject, format!("{} rows, digest {}", seen.rows, seen.digest))
                    .expected(format!("{} rows, digest {}", expected.rows, expected.digest)),
            );
        }
    }
    Ok(())
}

async fn count_table(connection: &mut Connection, table: &Table) -> Result<Content, Failure> {
    if table.by_pg_dump {
        return count_configuration(connection, table).await;
    }
    let columns: Vec<String> = table.comparable().1.iter().map(|column| quote(column)).collect();
    let list = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
    // Asked first by an ordinary query: after a COPY that the server refuses, sqlx's connection is out of step and cannot go on.
    // No column comes out, for sqlx does not know every type.
    let probe = format!("SELECT FROM (SELECT {} FROM ONLY {}.{}) AS probe LIMIT 0", columns.join(", "), quote(&table.schema), quote(&table.name));
    sqlx::query(AssertSqlSafe(probe)).execute(&mut *connection).await.context_sql("read it")?;
    count(connection, &copy_table_sql(&format!("{}.{}{list}", quote(&table.schema), quote(&table.name)))).await
}

/// A configuration table of an extension: the rows that the extension's filter selects.
async fn count_configuration(connection: &mut Connection, table: &Table) -> Result<Content, Failure> {
    let sql = configuration_sql(connection, &table.schema, &table.name).await?;
    count(connection, &sql).await
}

/// The `COPY` that reads the rows of a configuration table of an extension which the extension's filter selects, as pg_dump does
/// (`processExtensionTables`).
///
/// # Errors
/// When there is no such table, or the connection is lost.
pub async fn configuration_sql(connection: &mut Connection, schema: &str, name: &str) -> Result<String, Failure> {
    let row = sqlx::query(
        "SELECT coalesce((SELECT e.extcondition[array_position(e.extconfig, c.oid)] FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig)), ''),
                array_to_string(ARRAY(SELECT quote_ident(a.attname) FROM pg_catalog.pg_attribute a
                                       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum), ', ')
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
    )
    .bind(schema)
    .bind(name)
    .fetch_one(&mut *connection)
    .await
    .context_sql(format!("find the table {schema}.{name}"))?;
    let (condition, columns): (String, String) = (row.get(0), row.get(1));
    Ok(format!("COPY (SELECT {columns} FROM ONLY {}.{} {condition}) TO STDOUT", quote(schema), quote(name)))
}

async fn compare_large_objects(connection: &mut Connection, manifest: &Manifest, proof: &mut Proof) -> Result<(), Failure> {
    let (content, bytes) = count_large_objects(connection).await?;
    proof.large_objects = content.rows;
    let expected = manifest.large_objects;
    if content != expected.content || bytes != expected.bytes {
        proof.findings.push(
            Finding::new(
                FindingKind::ContentMismatch,
                "large objects",
                format!("{} objects, {bytes} bytes, digest {}", content.rows, content.digest),
            )
            .expected(format!("{} objects, {} bytes, digest {}", expected.content.rows, expected.bytes, expected.content.digest)),
        );
    }
    Ok(())
}

async fn compare_sequences(connection: &mut Connection, manifest: &Manifest, proof: &mut Proof) -> Result<(), Failure> {
    for sequence in &manifest.sequences {
        proof.sequences += 1;
        let name = format!("{}.{}", quote(&sequence.schema), quote(&sequence.name));
        let sql = format!("SELECT last_value, is_called FROM {name}");
        sqlx::query("SAVEPOINT before_sequence").execute(&mut *connection).await.context_sql("set a savepoint")?;
        let seen: Result<(i64, bool), _> = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut *connection).await;
        let seen = match seen {
            Ok(seen) if seen == (sequence.last_value, sequence.is_called) => continue,
            Ok((last_value, is_called)) => format!("last_value {last_value}, is_called {is_called}"),
            Err(error) => {
                sqlx::query("ROLLBACK TO SAVEPOINT before_sequence").execute(&mut *connection).await.context_sql("read sequences")?;
                crate::error::failure(&error).to_string()
            }
        };
        let subject = format!("sequence {}.{}", sequence.schema, sequence.name);
        let expected = format!("last_value {}, is_called {}", sequence.last_value, sequence.is_called);
        proof.findings.push(Finding::new(FindingKind::ContentMismatch, subject, seen).expected(expected));
    }
    Ok(())
}

/// An identifier in quotes.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

//! What the catalogs of a copy say about themselves: indexes that are not used, constraints that nobody enforces, collations that changed, checksums.
//!
//! Nothing here reads a row of a table of the user's.

use serde::{Deserialize, Serialize};
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared_postgres::{Connection, ContextSql};
use sqlx::{AssertSqlSafe, Row};

/// What is worth knowing and is no finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Whether a changed bit on disk would be noticed when its page is read.
    pub data_checksums: bool,
    /// Pages whose checksum was wrong, as the server counts them for this database.
    pub checksum_failures: i64,
    /// Extensions, with their versions.
    pub extensions: Vec<String>,
}

/// The same kind of thing is named so often; the rest is counted.
const NAMED_MAX: usize = 20;

const INVALID_INDEXES: &str = "
SELECT format('%s.%s', n.nspname, c.relname), format('%s.%s', tn.nspname, t.relname)
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
 WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND c.relpersistence <> 't' ORDER BY 1";

const UNTRUSTED: &str = "
SELECT format('%s.%s', n.nspname, c.conname),
       CASE WHEN c.conrelid <> 0 THEN (SELECT format('%s.%s', tn.nspname, t.relname) FROM pg_catalog.pg_class t
                                         JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace WHERE t.oid = c.conrelid)
            ELSE format('domain %s', pg_catalog.format_type(c.contypid, NULL)) END
  FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
 WHERE (NOT c.convalidated ENFORCED) AND c.conparentid = 0 ORDER BY 1";

const DISABLED: &str = "
SELECT DISTINCT format('%s.%s', n.nspname, c.conname), format('%s.%s', n.nspname, r.relname)
  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_constraint c ON c.oid = t.tgconstraint JOIN pg_catalog.pg_class r ON r.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
 WHERE t.tgenabled = 'D' AND c.contype = 'f' ORDER BY 1";

const COLLATIONS: &str = "
SELECT format('%s.%s', n.nspname, c.collname), c.collversion, pg_catalog.pg_collation_actual_version(c.oid)
  FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
 WHERE c.collversion IS NOT NULL AND c.collversion IS DISTINCT FROM pg_catalog.pg_collation_actual_version(c.oid)
   AND c.collencoding IN (-1, (SELECT encoding FROM pg_catalog.pg_database WHERE datname = current_database())) ORDER BY 1";

const DATABASE_COLLATION: &str = "
SELECT 'the database''s default', datcollversion, pg_catalog.pg_database_collation_actual_version(oid)
  FROM pg_catalog.pg_database WHERE datname = current_database() AND datcollversion IS NOT NULL
   AND datcollversion IS DISTINCT FROM pg_catalog.pg_database_collation_actual_version(oid)";

/// Looks. A copy of a database that has such things has them too.
///
/// # Errors
/// When the server cannot be asked.
pub async fn look(connection: &mut Connection, server_major: u32) -> Result<(Vec<Finding>, Facts), Failure> {
    let mut findings = Vec::new();
    let invalid = pairs(connection, INVALID_INDEXES).await?;
    findings.extend(named(&invalid, |(index, table)| {
        Finding::new(FindingKind::IndexInvalid, index, format!("an index of {table} that no query uses: its making was not finished"))
            .hint("REINDEX INDEX CONCURRENTLY it in production, or drop it")
    }));
    let enforced = if server_major >= 18 { "OR NOT c.conenforced" } else { "" };
    let untrusted = pairs(connection, &UNTRUSTED.replace("ENFORCED", enforced)).await?;
    findings.extend(named(&untrusted, |(constraint, table)| {
        Finding::new(
            FindingKind::ConstraintNotTrusted,
            constraint,
            format!("a constraint of {table} that is not valid for all rows, or not enforced"),
        )
        .hint("ALTER TABLE … VALIDATE CONSTRAINT in production says which rows are in the way")
    }));
    let disabled = pairs(connection, DISABLED).await?;
    findings.extend(named(&disabled, |(constraint, table)| {
        Finding::new(
            FindingKind::ConstraintNotTrusted,
            constraint,
            format!("a foreign key of {table} whose triggers are disabled: nobody enforces it"),
        )
        .hint("ALTER TABLE … ENABLE TRIGGER ALL in production; then look for rows that break it")
    }));
    let mut collations = triples(connection, COLLATIONS).await?;
    if server_major >= 15 {
        collations.extend(triples(connection, DATABASE_COLLATION).await?);
    }
    findings.extend(named(&collations, |(collation, recorded, actual)| {
        let seen = format!("the collation sorts by version {actual} now; indexes were made with version {recorded} and may be in the wrong order");
        Finding::new(FindingKind::CollationChanged, collation, seen)
            .hint("REINDEX every index on text that uses it, then ALTER COLLATION … REFRESH VERSION, or ALTER DATABASE … REFRESH COLLATION VERSION")
    }));
    let facts = facts(connection).await?;
    if facts.checksum_failures > 0 {
        let seen = format!("the server counted {} pages whose checksum was wrong", facts.checksum_failures);
        findings.push(
            Finding::new(FindingKind::HeapCorrupt, "checksums", seen)
                .hint("the findings of tables and indexes name the pages; if none does, drill again from the same source"),
        );
    }
    Ok((findings, facts))
}

async fn facts(connection: &mut Connection) -> Result<Facts, Failure> {
    let row = sqlx::query(
        "SELECT current_setting('data_checksums') = 'on', coalesce((SELECT sum(checksum_failures)::bigint FROM pg_catalog.pg_stat_database WHERE datname = current_database()), 0),
                ARRAY(SELECT extname || ' ' || extversion FROM pg_catalog.pg_extension ORDER BY 1)",
    )
    .fetch_one(connection)
    .await
    .context_sql("ask for checksums and extensions")?;
    Ok(Facts { data_checksums: row.get(0), checksum_failures: row.get(1), extensions: row.get(2) })
}

async fn pairs(connection: &mut Connection, sql: &str) -> Result<Vec<(String, String)>, Failure> {
    // Names need not be text.
    let sql = format!("SELECT textsend(name), textsend(coalesce(of, '')) FROM ({sql}) AS found (name, of)");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.context_sql("look into the catalogs")?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(rows.iter().map(|row| (text(row.get(0)), text(row.get(1)))).collect())
}

async fn triples(connection: &mut Connection, sql: &str) -> Result<Vec<(String, String, String)>, Failure> {
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(connection).await.context_sql("compare versions of collations")?;
    let text = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
    Ok(rows.iter().map(|row| (row.get(0), text(row.get(1)), text(row.get(2)))).collect())
}

/// One finding each, as far as they are named; the last says how many more there are.
fn named<T>(found: &[T], finding: impl Fn(&T) -> Finding) -> Vec<Finding> {
    let mut findings: Vec<Finding> = found.iter().take(NAMED_MAX).map(finding).collect();
    if let Some(last) = findings.last_mut().filter(|_| found.len() > NAMED_MAX) {
        last.seen = format!("{} (and {} more like it)", last.seen, found.len() - NAMED_MAX);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_named_in_part_and_counted() {
        let found: Vec<usize> = (0..NAMED_MAX + 5).collect();
        let findings = named(&found, |number| Finding::new(FindingKind::IndexInvalid, number.to_string(), "seen"));
        assert_eq!(findings.len(), NAMED_MAX);
        assert!(findings[NAMED_MAX - 1].seen.ends_with("(and 5 more like it)"));
        assert_eq!(named(&found[..2], |_| Finding::new(FindingKind::IndexInvalid, "", "seen")).len(), 2);
    }
}

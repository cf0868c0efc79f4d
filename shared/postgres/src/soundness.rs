//! What the catalogs say about what cannot be trusted: indexes that no query uses, constraints that nobody enforces, collations that changed, checksums.
//! Two queries, however many tables there are. Nothing here reads a row of a table of the user's, or waits for a lock.

use shared::failure::Failure;
use shared::finding::Finding;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use crate::proof::quote;
use crate::{Connection, ContextSql};

/// The same kind of thing is named so often; the rest is counted.
pub const NAMED_MAX: usize = 20;
/// Things of a sort that are read; the rest is counted.
const READ_MAX: u64 = 1000;

/// Things of a sort, as far as they are read, and how many more there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// Those that were read, in an order that stays the same from day to day.
    pub items: Vec<T>,
    /// How many more there are.
    pub more: u64,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { items: Vec::new(), more: 0 }
    }
}

impl<T> From<Vec<T>> for Found<T> {
    fn from(items: Vec<T>) -> Self {
        Self { items, more: 0 }
    }
}

impl<T> Found<T> {
    /// Adds one, if no more than so many are kept; else it is counted.
    pub fn add(&mut self, item: T, kept_max: usize) {
        if self.items.len() < kept_max { self.items.push(item) } else { self.more += 1 }
    }

    /// Those of which something can be said, one finding each, as far as they are named; the last says how many more there are.
    pub fn findings(&self, finding: impl FnMut(&T) -> Option<Finding>) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.items.iter().filter_map(finding).collect();
        // What was not read is of the same sort as what was, if anything was.
        let more = findings.len().saturating_sub(NAMED_MAX) as u64 + if findings.is_empty() { 0 } else { self.more };
        findings.truncate(NAMED_MAX);
        if let Some(last) = findings.last_mut().filter(|_| more > 0) {
            last.seen = format!("{} (and {more} more like it)", last.seen);
        }
        findings
    }
}

/// An index that was begun and not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidIndex {
    /// `SCHEMA.NAME`.
    pub name: String,
    /// The table that it is of.
    pub table: String,
    /// Whether it is to keep values unique: then nobody does.
    pub is_unique: bool,
    /// Whether it is the index of a partitioned table, which lacks one of a partition.
    pub is_of_partitions: bool,
}

/// Why a constraint cannot be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Rows that were there before were never looked at.
    NotValid,
    /// It is declared so that nobody enforces it (since 18).
    NotEnforced,
    /// The triggers that enforce it are disabled.
    Disabled,
}

/// A constraint that does not hold for all rows, or need not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// `SCHEMA.NAME`. Other tables of the schema may have one of the same name.
    pub name: String,
    /// Its own name.
    pub constraint: String,
    /// The table, or the domain, that it is of.
    pub of: String,
    /// Why.
    pub why: Distrust,
    /// What it refers to, when it is a foreign key whose names are text.
    pub key: Option<Key>,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Schema and name of the table that refers.
    pub child: (String, String),
    /// Its columns.
    pub child_columns: Vec<String>,
    /// Schema and name of the table that is referred to.
    pub parent: (String, String),
    /// Its columns, in the same order.
    pub parent_columns: Vec<String>,
}

/// A collation that sorts otherwise than when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedCollation {
    /// Its name, or what is said of the database's default.
    pub name: String,
    /// Version that indexes were made with.
    pub recorded: String,
    /// Version now.
    pub actual: String,
}

/// Everything of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Soundness {
    /// Indexes that no query uses, but for those that are being made just now.
    pub invalid_indexes: Found<InvalidIndex>,
    /// Constraints.
    pub untrusted: Found<Untrusted>,
    /// Collations.
    pub collations: Found<ChangedCollation>,
}

/// What is worth knowing and is not wrong by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    /// Whether a changed bit on disk would be noticed when its page is read.
    pub on: bool,
    /// Pages whose checksum was wrong, as the server counts them for this database and for what all databases share.
    pub failures: i64,
    /// Extensions, with their versions.
    pub extensions: Vec<String>,
}

/// Bytes of a text, in UTF-8 where the database says what its text is: names need not be text, and a session that asks for UTF-8 would be refused those
/// that are not. They are read with [`lossy`].
pub fn bytes(expression: &str) -> String {
    format!("convert_to({expression}, CASE current_setting('server_encoding') WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)")
}

/// What [`bytes`] gave, for a person.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `SCHEMA.NAME` as a statement has it: in quotes where it needs them. Behind a point any word is a name.
pub fn written(name: &str) -> String {
    let part = |part: &str| {
        let is_plain = |place: usize, byte: u8| byte.is_ascii_lowercase() || byte == b'_' || place > 0 && byte.is_ascii_digit();
        let plain = !part.is_empty() && part.bytes().enumerate().all(|(place, byte)| is_plain(place, byte));
        if plain { part.to_owned() } else { quote(part) }
    };
    match name.split_once('.') {
        Some((schema, name)) => format!("{}.{}", part(schema), part(name)),
        None => part(name),
    }
}

const LOOK: &str = "
WITH found (what, name, of, why, own, child, parent, child_columns, parent_columns) AS (
  SELECT CASE WHEN c.relkind = 'I' THEN 'index of partitions' WHEN i.indisunique THEN 'unique index' ELSE 'index' END,
         format('%s.%s', n.nspname, c.relname), format('%s.%s', tn.nspname, t.relname), NULL, NULL, NULL::oid, NULL::oid, NULL::int2[], NULL::int2[]
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
   WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND c.relpersistence <> 't'
     -- One that is being made is not a leftover. Whose command it is may be hidden from us; the lock that it holds is not.
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
                      WHERE p.datname = current_database()
                        AND (p.relid = i.indrelid OR EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = p.pid AND l.relation = i.indrelid)))
  UNION ALL
  SELECT 'constraint', format('%s.%s', n.nspname, c.conname),
         CASE WHEN c.conrelid <> 0 THEN (SELECT format('%s.%s', tn.nspname, t.relname) FROM pg_catalog.pg_class t
                                           JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace WHERE t.oid = c.conrelid)
              ELSE format('domain %s', pg_catalog.format_type(c.contypid, NULL)) END,
         CASE WHEN NOT ENFORCED THEN 'not enforced' WHEN NOT c.convalidated THEN 'not valid' ELSE 'disabled' END, c.conname::text,
         CASE c.contype WHEN 'f' THEN c.conrelid END, CASE c.contype WHEN 'f' THEN c.confrelid END, c.conkey, c.confkey
    FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
   WHERE (NOT c.convalidated OR NOT ENFORCED) AND c.conparentid = 0
      OR c.contype = 'f' AND c.oid IN (SELECT g.tgconstraint FROM pg_catalog.pg_trigger g WHERE g.tgenabled IN ('D', 'R') AND g.tgisinternal)
  UNION ALL
  SELECT 'collation', format('%s.%s', n.nspname, c.collname), c.collversion, pg_catalog.pg_collation_actual_version(c.oid), NULL, NULL, NULL, NULL, NULL
    FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
   WHERE c.collversion IS NOT NULL AND c.collversion IS DISTINCT FROM pg_catalog.pg_collation_actual_version(c.oid)
     AND c.collencoding IN (-1, (SELECT encoding FROM pg_catalog.pg_database WHERE datname = current_database()))
  DATABASE_COLLATION
), kept AS (SELECT *, split_part(what, ' ', 1) = 'index' OR what = 'unique index' AS is_index FROM found),
numbered AS (SELECT *, row_number() OVER sort AS place, count(*) OVER (PARTITION BY coalesce(nullif(is_index, false)::text, what)) AS total
    FROM kept WINDOW sort AS (PARTITION BY coalesce(nullif(is_index, false)::text, what) ORDER BY name, of))
SELECT what, NAME, OF, why, total, OWN, child IS NOT NULL, CHILD_SCHEMA, CHILD_NAME, PARENT_SCHEMA, PARENT_NAME,
       ARRAY(SELECT COLUMN FROM unnest(child_columns) WITH ORDINALITY AS k (number, place) JOIN pg_catalog.pg_attribute a ON a.attrelid = child AND a.attnum = k.number ORDER BY k.place),
       ARRAY(SELECT COLUMN FROM unnest(parent_columns) WITH ORDINALITY AS k (number, place) JOIN pg_catalog.pg_attribute a ON a.attrelid = parent AND a.attnum = k.number ORDER BY k.place)
  FROM numbered
  LEFT JOIN pg_catalog.pg_class c ON c.oid = child LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_class p ON p.oid = parent LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
 WHERE place <= READ_MAX ORDER BY what, place";

/// Since 15 a database has a version of its own.
const DATABASE_COLLATION: &str = "
  UNION ALL
  SELECT 'collation', 'the database''s default', datcollversion, pg_catalog.pg_database_collation_actual_version(oid), NULL, NULL, NULL, NULL, NULL
    FROM pg_catalog.pg_database WHERE datname = current_database() AND datcollversion IS NOT NULL
     AND datcollversion IS DISTINCT FROM pg_catalog.pg_database_collation_actual_version(oid)";

/// Looks. A copy of a database that has such things has them too.
///
/// # Errors
/// When the server cannot be asked.
pub async fn look(connection: &mut Connection, server_major: u32) -> Result<Soundness, Failure> {
    let sql = LOOK
        .replace("NOT ENFORCED", if server_major >= 18 { "NOT c.conenforced" } else { "false" })
        .replace("DATABASE_COLLATION", if server_major >= 15 { DATABASE_COLLATION } else { "" })
        .replace("READ_MAX", &READ_MAX.to_string())
        .replace(
            "NAME, OF, why, total, OWN",
            &format!("{}, {}, why, total, {}", bytes("name"), bytes("coalesce(of, '')"), bytes("coalesce(own, '')")),
        )
        .replace("CHILD_SCHEMA", &bytes("cn.nspname::text"))
        .replace("CHILD_NAME", &bytes("c.relname::text"))
        .replace("PARENT_SCHEMA", &bytes("pn.nspname::text"))
        .replace("PARENT_NAME", &bytes("p.relname::text"))
        .replace("COLUMN", &bytes("a.attname::text"));
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.context_sql("look for what cannot be trusted")?;
    let mut found = Soundness::default();
    for row in &rows {
        let (what, name, of, why): (&str, String, String, Option<String>) = (row.get(0), lossy(row.get(1)), lossy(row.get(2)), row.get(3));
        let more = u64::try_from(row.get::<i64, _>(4)).unwrap_or(0).saturating_sub(READ_MAX);
        match what {
            "constraint" => {
                let constraint = lossy(row.get(5));
                let why = match why.as_deref() {
                    Some("not enforced") => Distrust::NotEnforced,
                    Some("not valid") => Distrust::NotValid,
                    _ => Distrust::Disabled,
                };
                found.untrusted.items.push(Untrusted { constraint, name, of, why, key: key(row) });
                found.untrusted.more = more;
            }
            "collation" => {
                let known = |version: Option<String>| version.filter(|version| !version.is_empty()).unwrap_or_else(|| "unknown".to_owned());
                found.collations.items.push(ChangedCollation { name, recorded: known(Some(of)), actual: known(why) });
                found.collations.more = more;
            }
            _ => {
                let (is_unique, is_of_partitions) = (what == "unique index", what == "index of partitions");
                found.invalid_indexes.items.push(InvalidIndex { name, table: of, is_unique, is_of_partitions });
                found.invalid_indexes.more = more;
            }
        }
    }
    Ok(found)
}

/// A foreign key, unless one of its names cannot be said in a statement of ours.
fn key(row: &PgRow) -> Option<Key> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let name = |place: usize| row.get::<Option<&[u8]>, _>(place).and_then(text);
    let names = |place: usize| row.get::<Vec<Vec<u8>>, _>(place).iter().map(|name| text(name)).collect::<Option<Vec<_>>>();
    if !row.get::<bool, _>(6) {
        return None;
    }
    Some(Key { child: (name(7)?, name(8)?), child_columns: names(11)?, parent: (name(9)?, name(10)?), parent_columns: names(12)? })
}

/// Asks for checksums and extensions.
///
/// # Errors
/// When the server cannot be asked.
pub async fn checksums(connection: &mut Connection) -> Result<Checksums, Failure> {
    let row = sqlx::query(
        "SELECT current_setting('data_checksums') = 'on',
                coalesce((SELECT sum(checksum_failures)::bigint FROM pg_catalog.pg_stat_database WHERE datname = current_database() OR datid = 0), 0),
                ARRAY(SELECT extname || ' ' || extversion FROM pg_catalog.pg_extension ORDER BY 1)",
    )
    .fetch_one(connection)
    .await
    .context_sql("ask for checksums and extensions")?;
    Ok(Checksums { on: row.get(0), failures: row.get(1), extensions: row.get(2) })
}

#[cfg(test)]
mod tests {
    use shared::finding::FindingKind;

    use super::*;

    #[test]
    fn many_are_named_in_part_and_counted() {
        let finding = |number: &usize| Some(Finding::new(FindingKind::IndexInvalid, number.to_string(), "seen"));
        let findings = Found::from((0..NAMED_MAX + 5).collect::<Vec<usize>>()).findings(finding);
        assert_eq!(findings.len(), NAMED_MAX);
        assert!(findings[NAMED_MAX - 1].seen.ends_with("(and 5 more like it)"));
        assert_eq!(Found::from(vec![1, 2]).findings(finding).len(), 2);
        let unread = Found { items: vec![1, 2], more: 7 }.findings(finding);
        assert!(unread[1].seen.ends_with("(and 7 more like it)"));
        // What is passed over is neither named nor counted.
        assert_eq!(Found { items: vec![1, 2], more: 7 }.findings(|_| None), []);
    }

    #[test]
    fn a_name_in_a_statement_has_quotes_where_it_needs_them() {
        let names = ["public.orders_2", "public.Orders", "my shop.order", "public.2x", "public.a\"; DROP", "public.a.b", "alone"];
        let written: Vec<String> = names.map(written).into();
        assert_eq!(
            written,
            ["public.orders_2", "public.\"Orders\"", "\"my shop\".order", "public.\"2x\"", "public.\"a\"\"; DROP\"", "public.\"a.b\"", "alone"]
        );
    }

    #[test]
    fn one_more_is_counted_when_no_more_are_kept() {
        let mut found = Found::default();
        for number in 0..5 {
            found.add(number, 3);
        }
        assert_eq!(found, Found { items: vec![0, 1, 2], more: 2 });
    }
}

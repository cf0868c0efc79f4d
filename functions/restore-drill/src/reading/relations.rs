//! What there is to be read in a database, and how: every table with pages of its own, materialized views, and nothing of the system.

use std::collections::HashMap;

use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared::manifest::{Manifest, Table, TableName};
use shared_postgres::proof::{configuration_sql, quote};
use shared_postgres::{Connection, ContextSql};
use sqlx::Row;
use sqlx::postgres::PgRow;

use shared_postgres::windows::Span;

/// A relation that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema and name.
    pub name: TableName,
    /// Columns of the text, in order.
    pub columns: Vec<String>,
    /// Whether a range of ctid is a range of its pages.
    pub is_heap: bool,
    /// Pages of the main fork.
    pub pages: u64,
    /// Pages of all forks, with the values that are stored elsewhere.
    pub weight_pages: u64,
    /// Whether pg_dump would dump its rows, so that they can be compared with a manifest's.
    pub is_dumped: bool,
    /// Whether a server that was not shut down loses its rows.
    pub is_unlogged: bool,
    /// The statement that reads it in one, where it is not read by pages.
    pub whole_sql: Option<String>,
    /// Why our role cannot read it.
    pub denied: Option<&'static str>,
}

/// Those that pg_dump dumps (see `RELATIONS` in `logical-dump`), and beside them what belongs to extensions, and materialized views.
const RELATIONS: &str = "
SELECT c.oid::bigint AS oid, textsend(n.nspname::text) AS schema, textsend(c.relname::text) AS name,
       ARRAY(SELECT textsend(a.attname::text) FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS columns,
       coalesce(m.amname = 'heap', false) AS is_heap,
       pg_relation_size(c.oid) / current_setting('block_size')::bigint AS pages,
       pg_table_size(c.oid) / current_setting('block_size')::bigint AS weight_pages,
       c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                                        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') AS is_dumped,
       c.relpersistence = 'u' AS is_unlogged,
       has_schema_privilege(n.oid, 'USAGE') AND coalesce(has_table_privilege(c.oid, 'SELECT'), true) AS may_read,
       c.relkind = 'r' AND row_security_active(c.oid) AS row_security
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND c.relispopulated
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'lifeboat_drill')
 ORDER BY pg_table_size(c.oid) DESC, c.oid";

/// What there is to be read, biggest first, and what cannot be.
///
/// # Errors
/// When the server cannot be asked.
pub async fn relations(connection: &mut Connection, expected: Option<&Manifest>) -> Result<(Vec<Relation>, Vec<Finding>), Failure> {
    let rows = sqlx::query(RELATIONS).fetch_all(&mut *connection).await.context_sql("list tables")?;
    let (mut relations, mut findings) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in &rows {
        relations.extend(relation(row).context_sql("list tables")?);
    }
    if relations.len() < rows.len() {
        let seen = format!("{} tables have names that are not text, so they cannot be asked for", rows.len() - relations.len());
        findings.push(Finding::new(FindingKind::NotChecked, "tables", seen).hint("rename them in production to names that are UTF-8"));
    }
    let known: HashMap<TableName, &Table> = expected
        .iter()
        .flat_map(|manifest| &manifest.tables)
        .map(|table| (TableName { schema: table.schema.clone(), name: table.name.clone() }, table))
        .collect();
    for relation in &mut relations {
        let Some(table) = known.get(&relation.name) else { continue };
        if table.by_pg_dump {
            relation.is_dumped = true;
            if relation.denied.is_none() {
                relation.whole_sql = Some(configuration_sql(connection, &table.schema, &table.name).await?);
            }
        } else {
            relation.columns = columns_to_read(std::mem::take(&mut relation.columns), table);
        }
    }
    Ok((relations, findings))
}

/// The manifest's columns in the manifest's order, where they are the table's. Where they are not, the content cannot be the same either, and the table
/// is read as it is.
fn columns_to_read(own: Vec<String>, table: &Table) -> Vec<String> {
    let wanted = table.comparable().1;
    let sorted = |columns: &[String]| {
        let mut columns = columns.to_vec();
        columns.sort_unstable();
        columns
    };
    if sorted(wanted) == sorted(&own) { wanted.to_vec() } else { own }
}

/// `None` when a name is not UTF-8.
fn relation(row: &PgRow) -> Result<Option<Relation>, sqlx::Error> {
    let text = |column: &str| row.try_get::<Vec<u8>, _>(column).map(String::from_utf8);
    let columns: Vec<Vec<u8>> = row.try_get("columns")?;
    let columns: Result<Vec<String>, _> = columns.into_iter().map(String::from_utf8).collect();
    let (Ok(schema), Ok(name), Ok(columns)) = (text("schema")?, text("name")?, columns) else { return Ok(None) };
    let number = |column: &str| row.try_get::<Option<i64>, _>(column).map(|number| u64::try_from(number.unwrap_or(0)).unwrap_or(0));
    let (may_read, row_security): (bool, Option<bool>) = (row.try_get("may_read")?, row.try_get("row_security")?);
    let mut relation = Relation {
        oid: u32::try_from(number("oid")?).unwrap_or(0),
        name: TableName { schema, name },
        columns,
        is_heap: row.try_get("is_heap")?,
        pages: number("pages")?,
        weight_pages: number("weight_pages")?,
        is_dumped: row.try_get("is_dumped")?,
        is_unlogged: row.try_get("is_unlogged")?,
        whole_sql: None,
        denied: match (may_read, row_security) {
            (false, _) => Some("the role may not read it"),
            (true, Some(true)) => Some("row-level security would hide rows from the role"),
            _ => None,
        },
    };
    if !relation.is_heap {
        relation.whole_sql = Some(relation.sql_where(""));
    }
    Ok(Some(relation))
}

impl Relation {
    /// Both names, quoted.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.name.schema), quote(&self.name.name))
    }

    /// As findings call it.
    pub fn subject(&self) -> String {
        format!("{}.{}", self.name.schema, self.name.name)
    }

    /// The statement that reads a window.
    pub fn sql(&self, span: Span) -> String {
        self.whole_sql.clone().unwrap_or_else(|| self.sql_where(&format!(" WHERE {}", span.condition())))
    }

    fn sql_where(&self, condition: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| quote(column)).collect();
        format!("COPY (SELECT {} FROM ONLY {}{condition}) TO STDOUT", columns.join(", "), self.quoted())
    }

    /// That it was not read, and the statement that would let the role.
    pub fn denied(&self, why: &str, user: &str) -> Finding {
        let role = quote(user);
        let grant = if why.contains("row-level") {
            format!("ALTER ROLE {role} BYPASSRLS; -- or GRANT the table's owner TO {role};")
        } else {
            format!(
                "GRANT USAGE ON SCHEMA {} TO {role}; GRANT SELECT ON {} TO {role}; -- or, for everything: GRANT pg_read_all_data TO {role};",
                quote(&self.name.schema),
                self.quoted()
            )
        };
        Finding::new(FindingKind::NotChecked, self.subject(), format!("{why}, so nothing is known about its rows")).hint(grant)
    }
}

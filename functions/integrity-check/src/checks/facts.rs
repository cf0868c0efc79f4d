//! What the catalogs say about the tables of the checks: whether they are there, and what unique indexes, foreign keys and ordered indexes promise already,
//! so that nothing is read for it. One statement for all tables.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use sqlx::Row;

use super::check::{Reference, TableName};
use super::desk::{Author, Desk, Refusal};
use super::refusal::Denial;
use crate::sql_text::literal;

/// What is known about a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Known {
    /// `pg_class.relkind`; `None`: there is no such table.
    pub relkind: Option<String>,
    /// Whether tables inherit from it, other than partitions.
    #[serde(default)]
    pub has_heirs: bool,
    /// The columns of each unique index that is valid and covers every row.
    #[serde(default)]
    pub unique: Vec<Vec<String>>,
    /// Columns that an ordered index of every row begins with.
    #[serde(default)]
    pub ordered: Vec<String>,
    /// Foreign keys that are enforced and hold for every row.
    #[serde(default)]
    pub foreign: Vec<Foreign>,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Foreign {
    columns: Vec<String>,
    schema: String,
    name: String,
    parent_columns: Vec<String>,
}

/// Of every table by its name.
pub type Facts = BTreeMap<TableName, Known>;

impl Known {
    /// Whether an index promises that no two rows are equal in these columns. An index over fewer of them promises more.
    pub fn promises_unique(&self, columns: &[String]) -> bool {
        self.unique.iter().any(|index| !index.is_empty() && index.iter().all(|column| columns.contains(column)))
    }

    /// Whether a foreign key promises that these rows are there.
    pub fn promises_reference(&self, reference: &Reference) -> bool {
        let wanted: BTreeMap<&String, &String> = reference.columns.iter().zip(&reference.parent_columns).collect();
        self.foreign.iter().any(|key| {
            let has: BTreeMap<&String, &String> = key.columns.iter().zip(&key.parent_columns).collect();
            (&key.schema, &key.name) == (&reference.parent.schema, &reference.parent.name) && has == wanted
        })
    }
}

/// A JSON object for each table. `conenforced` is there since 18.
const LOOK: &str = "
SELECT CASE WHEN c.oid IS NULL THEN '{}' ELSE jsonb_build_object(
         'relkind', c.relkind::text,
         'has_heirs', c.relkind = 'r' AND c.relhassubclass,
         'unique', (SELECT coalesce(jsonb_agg((SELECT jsonb_agg(a.attname::text) FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k (attnum)
                                                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum)), '[]')
                      FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indisready AND i.indislive
                       AND i.indpred IS NULL AND i.indexprs IS NULL),
         'ordered', (SELECT coalesce(jsonb_agg(a.attname::text), '[]')
                       FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
                       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                      WHERE i.indrelid = c.oid AND i.indisvalid AND i.indisready AND i.indislive AND i.indpred IS NULL),
         'foreign', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                              'columns', (SELECT jsonb_agg(a.attname::text ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY AS k (attnum, place)
                                            JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
                              'schema', pn.nspname::text, 'name', p.relname::text,
                              'parent_columns', (SELECT jsonb_agg(a.attname::text ORDER BY k.place) FROM unnest(f.confkey) WITH ORDINALITY AS k (attnum, place)
                                            JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum))), '[]')
                       FROM pg_constraint f JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
                      WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.convalidated AND to_jsonb(f) ->> 'conenforced' IS DISTINCT FROM 'false'
                        AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = f.oid AND t.tgenabled = 'D')))::text END
  FROM (VALUES WANTED) AS w (place, schema, name)
  LEFT JOIN pg_namespace n ON n.nspname = w.schema LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind NOT IN ('i', 'I', 'S', 'c', 't')
 ORDER BY w.place";

/// How long the look may take.
const LOOK_MAX: Duration = Duration::from_secs(20);

/// Looks. Where the catalogs cannot be asked, nothing is known, and everything is read instead.
pub async fn look(desk: &mut Desk<'_>, wanted: &[TableName]) -> Result<Facts, Refusal> {
    if wanted.is_empty() {
        return Ok(Facts::new());
    }
    let values: Vec<String> =
        wanted.iter().enumerate().map(|(place, name)| format!("({place}, {}::name, {}::name)", literal(&name.schema), literal(&name.name))).collect();
    let rows = match desk.ask(&LOOK.replace("WANTED", &values.join(", ")), Author::Ours, LOOK_MAX).await {
        Ok(rows) => rows,
        Err(Refusal::Server(_) | Refusal::GaveWay) => return Ok(Facts::new()),
        Err(refusal) => return Err(refusal),
    };
    let known = rows.iter().filter_map(|row| serde_json::from_str(row.try_get(0).ok()?).ok());
    let known: Vec<Known> = known.collect();
    // What cannot be read as text shifts nothing: it is all or nothing.
    Ok(if known.len() == wanted.len() { wanted.iter().cloned().zip(known).collect() } else { Facts::new() })
}

/// Why the role may not read some tables: the message of a refusal does not tell a missing privilege from row-level security.
pub async fn denials(desk: &mut Desk<'_>, tables: &[TableName]) -> Vec<(TableName, Denial)> {
    let mut denials = Vec::new();
    for name in tables {
        let sql = format!(
            "SELECT has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {}::name AND c.relname = {}::name",
            literal(&name.schema),
            literal(&name.name)
        );
        if let Ok(rows) = desk.ask(&sql, Author::Ours, LOOK_MAX).await
            && let Some(row) = rows.first()
        {
            denials.push((name.clone(), Denial { may_use_schema: row.get(0), may_select: row.get(1), is_hidden: row.get(2) }));
        }
    }
    denials
}

//! The tables of a database as pg_dump sees them: which have rows of their own, how they are copied, and whether our role may.

use shared::failure::Failure;
use shared_postgres::{Connection, ContextSql};
use sqlx::Row;
use sqlx::postgres::PgRow;

/// A table, a partitioned table or a foreign table that pg_dump dumps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Schema and name, quoted where they must be.
    pub quoted: String,
    /// Schema and name, always quoted: as a pattern for pg_dump.
    pub pattern: String,
    /// What it is.
    pub kind: Kind,
    /// Names of the columns that COPY writes, in order: no generated ones.
    pub columns: Vec<String>,
    /// The same, quoted.
    pub quoted_columns: Vec<String>,
    /// Size of the main fork in bytes.
    pub size_bytes: u64,
    /// Whether a range of ctid is a range of its pages.
    pub is_heap: bool,
    /// Partition root, if the rows must be loaded through it.
    pub load_through: Option<Root>,
    /// `relfilenode` as the snapshot shows it, and as it is now: different when the table was truncated or rewritten in between.
    pub file_nodes: (i64, i64),
    /// Whether our role may read it, and if not, what would change that.
    pub unreadable: Option<Unreadable>,
}

/// The root of a partition tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Both, quoted.
    pub quoted: String,
    /// Its columns that COPY writes, in its order, which need not be a leaf's.
    pub columns: Vec<String>,
}

/// What kind of relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has rows.
    Table,
    /// Has partitions that have rows.
    Partitioned,
    /// Its rows are elsewhere.
    Foreign,
}

/// Why a table cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// No USAGE on the schema, or no SELECT on the table.
    NoPrivilege,
    /// Row-level security would hide rows.
    RowSecurity,
}

/// What pg_dump dumps, by its own rules (`pg_dump.c`): not what belongs to an extension, to the system, or to a session. A hash partition whose key has
/// an enum is loaded through its root (`getPartitioningInfo`, `forcePartitionRootLoad`): the hash of an enum is not the same after a restore.
/// Names come as bytes, because in a SQL_ASCII database they need not be text.
const RELATIONS: &str = "
WITH unsafe_root AS (
  SELECT p.partrelid FROM pg_catalog.pg_partitioned_table p
   WHERE (SELECT o.oid FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am a ON o.opcmethod = a.oid
           WHERE o.opcname = 'enum_ops' AND o.opcnamespace = 'pg_catalog'::regnamespace AND a.amname = 'hash') = ANY (p.partclass)
)
SELECT c.oid::bigint AS oid, c.relkind::text AS kind,
       textsend(n.nspname::text) AS schema, textsend(c.relname::text) AS name,
       textsend(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) AS quoted,
       textsend('\"' || replace(n.nspname, '\"', '\"\"') || '\".\"' || replace(c.relname, '\"', '\"\"') || '\"') AS pattern,
       ARRAY(SELECT textsend(a.attname::text) FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS columns,
       ARRAY(SELECT textsend(quote_ident(a.attname)) FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS quoted_columns,
       CASE WHEN c.relkind = 'r' THEN pg_relation_size(c.oid) ELSE 0 END AS size_bytes,
       coalesce(c.relkind = 'r' AND m.amname = 'heap', false) AS is_heap,
       root.oid::bigint AS root_oid, textsend(rn.nspname::text) AS root_schema, textsend(root.relname::text) AS root_name,
       textsend(quote_ident(rn.nspname) || '.' || quote_ident(root.relname)) AS root_quoted,
       ARRAY(SELECT textsend(a.attname::text) FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = root.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS root_columns,
       c.relfilenode::bigint AS file_node, coalesce(pg_relation_filenode(c.oid), 0)::bigint AS file_node_now,
       has_schema_privilege(n.oid, 'USAGE') AND coalesce(has_table_privilege(c.oid, 'SELECT'), true) AS may_read,
       c.relkind = 'r' AND row_security_active(c.oid) AS row_security
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam
  LEFT JOIN pg_catalog.pg_class root
         ON c.relispartition AND root.oid = pg_partition_root(c.oid)
        AND EXISTS (SELECT FROM pg_partition_ancestors(c.oid) a JOIN unsafe_root u ON u.partrelid = a.relid WHERE a.relid <> c.oid)
  LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = root.relnamespace
 WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname";

/// The relations of the database, as the session's snapshot shows them; and how many have names that are not text, which pg_dump must copy itself.
///
/// # Errors
/// When the server cannot be asked.
pub async fn relations(connection: &mut Connection) -> Result<(Vec<Relation>, usize), Failure> {
    let rows = sqlx::query(RELATIONS).fetch_all(connection).await.context_sql("list tables")?;
    let mut relations = Vec::with_capacity(rows.len());
    for row in &rows {
        relations.extend(relation(row).context_sql("list tables")?);
    }
    let nameless = rows.len() - relations.len();
    Ok((relations, nameless))
}

/// `None` when a name is not UTF-8.
fn relation(row: &PgRow) -> Result<Option<Relation>, sqlx::Error> {
    let bytes = |column: &str| row.try_get::<Option<Vec<u8>>, _>(column).map(Option::unwrap_or_default);
    let texts =
        |column: &str| row.try_get::<Vec<Vec<u8>>, _>(column).map(|names| names.into_iter().map(String::from_utf8).collect::<Result<Vec<_>, _>>());
    let (
        Ok(schema),
        Ok(name),
        Ok(quoted),
        Ok(pattern),
        Ok(columns),
        Ok(quoted_columns),
        Ok(root_schema),
        Ok(root_name),
        Ok(root_quoted),
        Ok(root_columns),
    ) = (
        String::from_utf8(bytes("schema")?),
        String::from_utf8(bytes("name")?),
        String::from_utf8(bytes("quoted")?),
        String::from_utf8(bytes("pattern")?),
        texts("columns")?,
        texts("quoted_columns")?,
        String::from_utf8(bytes("root_schema")?),
        String::from_utf8(bytes("root_name")?),
        String::from_utf8(bytes("root_quoted")?),
        texts("root_columns")?,
    )
    else {
        return Ok(None);
    };
    let oid = |oid: i64| u32::try_from(oid).unwrap_or(0);
    let root_oid: Option<i64> = row.try_get("root_oid")?;
    let (may_read, row_security): (bool, bool) = (row.try_get("may_read")?, row.try_get::<Option<bool>, _>("row_security")?.unwrap_or(false));
    Ok(Some(Relation {
        oid: oid(row.try_get("oid")?),
        schema,
        name,
        quoted,
        pattern,
        kind: match row.try_get::<String, _>("kind")?.as_str() {
            "p" => Kind::Partitioned,
            "f" => Kind::Foreign,
            _ => Kind::Table,
        },
        columns,
        quoted_columns,
        size_bytes: u64::try_from(row.try_get::<Option<i64>, _>("size_bytes")?.unwrap_or(0)).unwrap_or(0),
        is_heap: row.try_get("is_heap")?,
        load_through: root_oid.map(|root_oid| Root {
            oid: oid(root_oid),
            schema: root_schema,
            name: root_name,
            quoted: root_quoted,
            columns: root_columns,
        }),
        file_nodes: (row.try_get("file_node")?, row.try_get("file_node_now")?),
        unreadable: if may_read { row_security.then_some(Unreadable::RowSecurity) } else { Some(Unreadable::NoPrivilege) },
    }))
}

impl Relation {
    /// The column list as COPY wants it, with a space before it; empty for a table without columns.
    pub fn column_list(&self) -> String {
        if self.quoted_columns.is_empty() { String::new() } else { format!(" ({})", self.quoted_columns.join(", ")) }
    }

    /// For each column of the partition root that the rows are loaded through, its place in our rows; `None` where the order is the same.
    pub fn root_order(&self) -> Option<Vec<usize>> {
        let root = self.load_through.as_ref().filter(|root| root.columns != self.columns)?;
        root.columns.iter().map(|name| self.columns.iter().position(|column| column == name)).collect()
    }

    /// SQL that would let our role read it.
    pub fn grant(&self, user: &str) -> String {
        let role = shared_postgres::proof::quote(user);
        match self.unreadable {
            Some(Unreadable::RowSecurity) => format!("ALTER ROLE {role} BYPASSRLS; -- row-level security of {} would hide rows", self.quoted),
            _ => format!(
                "GRANT USAGE ON SCHEMA {} TO {role}; GRANT SELECT ON {} TO {role}; -- or, for everything: GRANT pg_read_all_data TO {role};",
                shared_postgres::proof::quote(&self.schema),
                self.quoted
            ),
        }
    }
}

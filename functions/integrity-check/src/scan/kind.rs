//! What a column is exactly: the class of the catalog says what may be asked of it, this says how it is asked so that no value can break the answer, nothing is
//! brought in from where long values are stored, and no code of users runs.

use std::collections::HashMap;

use shared::failure::Failure;
use shared_postgres::{Connection, ContextSql};
use sqlx::Row;

use crate::model::{Table, TypeClass};

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// smallint, integer, bigint.
    Integer,
    /// numeric.
    Numeric,
    /// real, double precision.
    Float,
    /// date.
    Date,
    /// timestamp.
    Timestamp,
    /// timestamptz.
    TimestampTz,
    /// text, varchar.
    Text,
    /// char(n): padded with blanks.
    Char,
    /// bytea.
    Bytes,
    /// boolean.
    Boolean,
    /// uuid.
    Uuid,
    /// An enum.
    Enum,
    /// Another type that the server can hash.
    Hashable,
    /// Only whether it is null.
    Opaque,
    /// A generated column that is computed when it is read, by an expression of users: it is left alone.
    Virtual,
}

/// What is known of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// What it is.
    pub kind: Kind,
    /// Whether it can have no nulls at all: so says a constraint that holds for all rows.
    pub not_null: bool,
    /// Whether an index makes its values unique, so that they need not be counted; of a leaf only where the values of all leaves are unique together.
    pub is_unique: bool,
}

/// What is known of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// Whether a range of ctid is a range of its pages.
    pub is_heap: bool,
    /// Whether long values are stored elsewhere.
    pub has_toast: bool,
    /// As the columns of the table; `None`: it is not there any more.
    pub columns: Vec<Option<Detail>>,
}

const DETAILS: &str = "
WITH RECURSIVE domains AS (
    SELECT t.oid, t.typbasetype FROM pg_type t WHERE t.typtype = 'd'
    UNION ALL SELECT d.oid, t.typbasetype FROM domains d JOIN pg_type t ON t.oid = d.typbasetype AND t.typtype = 'd'),
types AS MATERIALIZED (
    SELECT t.oid, b.oid AS base, b.typtype = 'e' AS is_enum,
           EXISTS (SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod AND m.amname = 'hash'
                     JOIN pg_amproc p ON p.amprocfamily = o.opcfamily AND p.amproclefttype = o.opcintype AND p.amprocrighttype = o.opcintype AND p.amprocnum = 2
                    WHERE o.opcdefault AND o.opcintype = b.oid) AS is_hashable
      FROM pg_type t LEFT JOIN (domains d JOIN pg_type e ON e.oid = d.typbasetype AND e.typtype <> 'd') ON d.oid = t.oid
      JOIN pg_type b ON b.oid = coalesce(d.typbasetype, t.oid)),
uniques AS MATERIALIZED (
    SELECT DISTINCT i.indrelid, i.indkey[0] AS attnum FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
     WHERE i.indrelid = ANY ($1::int8[]::oid[]) AND i.indisunique AND i.indisvalid AND i.indisready AND i.indislive AND i.indimmediate
       AND i.indnkeyatts = 1 AND i.indpred IS NULL AND i.indexprs IS NULL AND (NOT c.relispartition OR x.relispartition)),
unproved AS MATERIALIZED (
    SELECT k.conrelid, k.conkey[1] AS attnum FROM pg_constraint k WHERE k.contype = 'n' AND NOT k.convalidated)
SELECT c.oid::int8, textsend(a.attname::text), t.base::int8, t.is_enum, t.is_hashable, a.attnotnull AND u.attnum IS NULL, a.attgenerated = 'v', i.attnum IS NOT NULL,
       coalesce(m.amname = 'heap', false), c.reltoastrelid <> 0
  FROM pg_class c LEFT JOIN pg_am m ON m.oid = c.relam
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN types t ON t.oid = a.atttypid
  LEFT JOIN uniques i ON i.indrelid = c.oid AND i.attnum = a.attnum
  LEFT JOIN unproved u ON u.conrelid = c.oid AND u.attnum = a.attnum
 WHERE c.oid = ANY ($1::int8[]::oid[])
 ORDER BY c.oid, a.attnum";

/// What is known of tables, by `oid`; one statement for all of them.
///
/// # Errors
/// When the server cannot be asked.
pub async fn details(connection: &mut Connection, tables: &[&Table]) -> Result<HashMap<u32, Details>, Failure> {
    let of: HashMap<u32, &Table> = tables.iter().map(|table| (table.oid, *table)).collect();
    let oids: Vec<i64> = of.keys().map(|oid| i64::from(*oid)).collect();
    let mut details: HashMap<u32, Details> = HashMap::with_capacity(of.len());
    let mut rows = sqlx::query(DETAILS).bind(oids).fetch(connection);
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    while let Some(row) = futures_util::TryStreamExt::try_next(&mut rows).await.context_sql("ask what columns are")? {
        let oid = u32::try_from(row.get::<i64, _>(0)).unwrap_or(0);
        let Some(table) = of.get(&oid) else { continue };
        let known = details.entry(oid).or_insert_with(|| {
            places = table.columns.iter().enumerate().map(|(place, column)| (column.name.as_bytes(), place)).collect();
            Details { is_heap: row.get(8), has_toast: row.get(9), columns: vec![None; table.columns.len()] }
        });
        let Some(place) = row.get::<Option<&[u8]>, _>(1).and_then(|name| places.get(name)) else { continue };
        let base = row.get::<Option<i64>, _>(2).unwrap_or(0);
        let kind = if row.get(6) { Kind::Virtual } else { kind(base, row.get(3), row.get(4), table.columns[*place].class) };
        known.columns[*place] = Some(Detail { kind, not_null: row.get(5), is_unique: row.get(7) });
    }
    Ok(details)
}

/// By the `oid`s of the built-in types, which never change: a type of a user may have their names.
fn kind(base: i64, is_enum: bool, is_hashable: bool, class: TypeClass) -> Kind {
    match (base, class) {
        (_, TypeClass::Opaque) => Kind::Opaque,
        (20 | 21 | 23, _) => Kind::Integer,
        (1700, _) => Kind::Numeric,
        (700 | 701, _) => Kind::Float,
        (1082, _) => Kind::Date,
        (1114, _) => Kind::Timestamp,
        (1184, _) => Kind::TimestampTz,
        (25 | 1043, _) => Kind::Text,
        (1042, _) => Kind::Char,
        (17, _) => Kind::Bytes,
        (16, _) => Kind::Boolean,
        (2950, _) => Kind::Uuid,
        _ if is_enum => Kind::Enum,
        _ if is_hashable => Kind::Hashable,
        _ => Kind::Opaque,
    }
}

impl Kind {
    /// 64 bits of hash of a column, as SQL; NULL for NULL. `None`: its values are not counted so.
    ///
    /// Without a cast: where the type is not what the catalog said any more, it is refused. Only of values that are stored in the row as they are: those that
    /// are compressed or stored elsewhere would have to be brought in, so their length stands for them.
    pub fn hash_sql(self, column: &str, has_toast: bool) -> Option<String> {
        let plain = |hash: String, length: &str| {
            // Of a value in the row the size counts its header too; one that is compressed is smaller, one stored elsewhere just as long as its content.
            if has_toast {
                format!("CASE WHEN pg_column_size({column}) > {length}({column}) THEN {hash} ELSE hashint4extended({length}({column}), 0) END")
            } else {
                hash
            }
        };
        let record = format!("hash_record_extended(ROW({column}), 0)");
        Some(match self {
            Self::Integer => format!("hashint8extended({column}, 0)"),
            Self::Numeric => format!("hash_numeric_extended({column}, 0)"),
            Self::Float => format!("hashfloat8extended({column}, 0)"),
            // An infinite date has no difference to another.
            Self::Date => format!(
                "CASE WHEN isfinite({column}) THEN hashint4extended({column} - '2000-01-01'::date, 0) WHEN {column} IS NOT NULL THEN {record} END"
            ),
            Self::Timestamp => format!("timestamp_hash_extended({column}, 0)"),
            Self::TimestampTz => format!(
                "CASE WHEN isfinite({column}) THEN interval_hash_extended({column} - '2000-01-01Z'::timestamptz, 0) WHEN {column} IS NOT NULL THEN {record} END"
            ),
            Self::Text => plain(format!("hashtextextended({column} COLLATE \"C\", 0)"), "octet_length"),
            Self::Char => plain(format!("hashbpcharextended({column} COLLATE \"C\", 0)"), "octet_length"),
            Self::Bytes => {
                let hash = plain(record, "octet_length");
                format!("CASE WHEN {column} IS NOT NULL THEN {hash} END")
            }
            Self::Uuid => format!("uuid_hash_extended({column}, 0)"),
            Self::Enum => format!("hashenumextended({column}, 0)"),
            Self::Hashable => format!("CASE WHEN pg_column_size({column}) < 2000 THEN {record} END"),
            Self::Boolean | Self::Opaque | Self::Virtual => return None,
        })
    }
}

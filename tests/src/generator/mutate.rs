//! One random change to one restored copy: what a digest must find.
//!
//! A mutation is one statement. It either changes exactly one row (one row comes back from its RETURNING; a swap changes
//! one row in each of two tables) and then the text of the data differs, or it changes nothing: no row comes back where the
//! drawn row does not suit, and an error where a constraint refuses. In both of these cases draw again.
//!
//! Run it as a superuser with [`SESSION_SQL`]: triggers, rules, foreign keys and policies then stay out of the way.

use rand::{Rng, RngExt};

/// For the session that mutates, and for [`TABLES_SQL`]: type names must mean the same in both.
pub const SESSION_SQL: &str = "SET session_replication_role = replica; SET row_security = off; SET search_path = pg_catalog; SET DateStyle = 'ISO, MDY'; \
     SET IntervalStyle = postgres; SET TimeZone = 'UTC'; SET bytea_output = hex; SET extra_float_digits = 1";

/// The tables that have pages: one text value a row, for [`TableInfo::parse`].
pub const TABLES_SQL: &str = r"
SELECT concat_ws(chr(30), format('%I.%I', n.nspname, c.relname), c.relispartition::text,
        EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion))::text,
        (SELECT string_agg(concat_ws(chr(31), format('%I', a.attname), pg_catalog.format_type(a.atttypid, a.atttypmod), base.typname, base.typtype::text,
                base.typcategory::text, (a.attidentity <> 'a')::text, (a.attnotnull OR t.typnotnull)::text), chr(29) ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute AS a
            JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
            CROSS JOIN LATERAL (
                WITH RECURSIVE layer AS (
                    SELECT t.typname, t.typtype, t.typcategory, t.typbasetype
                    UNION ALL
                    SELECT b.typname, b.typtype, b.typcategory, b.typbasetype FROM layer JOIN pg_catalog.pg_type AS b ON b.oid = layer.typbasetype)
                SELECT * FROM layer WHERE layer.typtype <> 'd') AS base
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''))
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND pg_catalog.pg_relation_size(c.oid) > 0
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname";

/// A column that COPY writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Quoted.
    pub name: String,
    /// As a cast takes it, with its modifiers.
    pub sql_type: String,
    /// The type's own name, below all domains.
    pub base: String,
    /// `pg_type.typtype` of the base: b, c, e, r or m.
    pub kind: char,
    /// `pg_type.typcategory` of the base; A is an array.
    pub category: char,
    /// Not so for GENERATED ALWAYS AS IDENTITY.
    pub updatable: bool,
    pub not_null: bool,
}

/// A table that a mutation may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Quoted and with its schema.
    pub name: String,
    /// A leaf: a row of another table may not belong into it.
    pub partition: bool,
    /// Has a unique index or an exclusion constraint.
    pub unique: bool,
    pub columns: Vec<ColumnInfo>,
}

/// One statement that changes one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    pub sql: String,
    /// One of [`KINDS`].
    pub what: &'static str,
    /// The tables whose content differs afterwards.
    pub tables: Vec<String>,
}

/// Every kind of mutation, for counting.
pub const KINDS: &[&str] =
    &["value changed", "value to null", "null to value", "value of another row", "row dropped", "row duplicated", "row moved", "rows swapped"];

impl TableInfo {
    /// Reads a row of [`TABLES_SQL`]; `None` if it is not one.
    pub fn parse(row: &str) -> Option<Self> {
        let mut fields = row.split('\u{1e}');
        let (name, partition, unique) = (fields.next()?.to_owned(), fields.next()? == "true", fields.next()? == "true");
        let columns = fields.next().map_or(Some(Vec::new()), |columns| columns.split('\u{1d}').map(ColumnInfo::parse).collect())?;
        Some(Self { name, partition, unique, columns })
    }

    fn list(&self) -> String {
        self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn is_like(&self, other: &Self) -> bool {
        let types = |table: &Self| table.columns.iter().map(|column| column.sql_type.clone()).collect::<Vec<_>>();
        self.name != other.name && !self.columns.is_empty() && !self.partition && !other.partition && types(self) == types(other)
    }
}

impl ColumnInfo {
    fn parse(column: &str) -> Option<Self> {
        let mut fields = column.split('\u{1f}');
        let mut next = || fields.next();
        Some(Self {
            name: next()?.to_owned(),
            sql_type: next()?.to_owned(),
            base: next()?.to_owned(),
            kind: next()?.chars().next()?,
            category: next()?.chars().next()?,
            updatable: next()? == "true",
            not_null: next()? == "true",
        })
    }
}

/// Draws one mutation of one of the tables, of which there must be one at least.
pub fn random_mutation<R: Rng + ?Sized>(rng: &mut R, tables: &[TableInfo]) -> Mutation {
    let table = &tables[rng.random_range(0..tables.len())];
    let twins = tables.iter().filter(|other| table.is_like(other)).collect::<Vec<_>>();
    match rng.random_range(0..100) {
        0..10 => dropped(rng, table),
        10..20 if !table.unique => duplicated(rng, table),
        20..40 if !twins.is_empty() => {
            let twin = twins[rng.random_range(0..twins.len())];
            if rng.random_bool(0.5) { moved(rng, table, twin) } else { swapped(rng, table, twin) }
        }
        _ => {
            let columns = table.columns.iter().filter(|column| column.updatable).collect::<Vec<_>>();
            if columns.is_empty() {
                return dropped(rng, table);
            }
            let column = columns[rng.random_range(0..columns.len())];
            value(rng, table, column)
        }
    }
}

/// `ctid` of a random row among those that meet the condition, and what else is selected of it.
fn victim<R: Rng + ?Sized>(rng: &mut R, table: &str, selected: &str, condition: &str) -> String {
    let share: f64 = rng.random_range(0.0..1.0);
    format!(
        "SELECT ctid AS victim{selected} FROM ONLY {table} WHERE {condition} ORDER BY ctid \
         OFFSET (SELECT floor({share:.9} * count(*))::bigint FROM ONLY {table} WHERE {condition}) LIMIT 1"
    )
}

/// True where COPY would print two values differently. (`IS NULL` would take a composite of nulls for a null.)
fn differs(left: &str, right: &str) -> String {
    format!("(num_nulls({left}) <> num_nulls({right}) OR format('%s', {left}) <> format('%s', {right}))")
}

fn dropped<R: Rng + ?Sized>(rng: &mut R, table: &TableInfo) -> Mutation {
    let TableInfo { name, .. } = table;
    let sql = format!("DELETE FROM ONLY {name} WHERE ctid = (SELECT victim FROM ({}) AS v) RETURNING 1", victim(rng, name, "", "true"));
    Mutation { sql, what: "row dropped", tables: vec![name.clone()] }
}

fn duplicated<R: Rng + ?Sized>(rng: &mut R, table: &TableInfo) -> Mutation {
    let TableInfo { name, columns, .. } = table;
    let row = format!("ctid = (SELECT victim FROM ({}) AS v)", victim(rng, name, "", "true"));
    let sql = if columns.is_empty() {
        // No column list can be empty; a table with generated columns only has equal rows anyway.
        format!("INSERT INTO {name} DEFAULT VALUES RETURNING 1")
    } else {
        let list = table.list();
        format!("INSERT INTO {name} ({list}) OVERRIDING SYSTEM VALUE SELECT {list} FROM ONLY {name} WHERE {row} RETURNING 1")
    };
    Mutation { sql, what: "row duplicated", tables: vec![name.clone()] }
}

fn moved<R: Rng + ?Sized>(rng: &mut R, from: &TableInfo, to: &TableInfo) -> Mutation {
    let sql = format!(
        "WITH gone AS (DELETE FROM ONLY {from} WHERE ctid = (SELECT victim FROM ({victim}) AS v) RETURNING {from_list}) \
         INSERT INTO {to} ({to_list}) OVERRIDING SYSTEM VALUE SELECT * FROM gone RETURNING 1",
        from = from.name,
        victim = victim(rng, &from.name, "", "true"),
        from_list = from.list(),
        to = to.name,
        to_list = to.list(),
    );
    Mutation { sql, what: "row moved", tables: vec![from.name.clone(), to.name.clone()] }
}

/// Counts stay as they are: only the content of both tables tells.
fn swapped<R: Rng + ?Sized>(rng: &mut R, left: &TableInfo, right: &TableInfo) -> Mutation {
    let (left_list, right_list) = (left.list(), right.list());
    let skipped = rng.random_range(0..50);
    let sql = format!(
        "WITH l AS MATERIALIZED ({victim}), \
         r AS MATERIALIZED (SELECT x.ctid AS victim FROM ONLY {right} AS x, l WHERE format('%s', ROW({right_list})) <> l.whole ORDER BY x.ctid OFFSET {skipped} LIMIT 1), \
         gone_left AS (DELETE FROM ONLY {left} WHERE ctid = (SELECT victim FROM l WHERE EXISTS (SELECT FROM r)) RETURNING {left_list}), \
         gone_right AS (DELETE FROM ONLY {right} WHERE ctid = (SELECT victim FROM r) RETURNING {right_list}), \
         arrived AS (INSERT INTO {left} ({left_list}) OVERRIDING SYSTEM VALUE SELECT * FROM gone_right) \
         INSERT INTO {right} ({right_list}) OVERRIDING SYSTEM VALUE SELECT * FROM gone_left RETURNING 1",
        victim = victim(rng, &left.name, &format!(", format('%s', ROW({left_list})) AS whole"), "true"),
        left = left.name,
        right = right.name,
    );
    Mutation { sql, what: "rows swapped", tables: vec![left.name.clone(), right.name.clone()] }
}

fn value<R: Rng + ?Sized>(rng: &mut R, table: &TableInfo, column: &ColumnInfo) -> Mutation {
    let (table, name) = (&table.name, &column.name);
    let changes = changes(column);
    let (what, condition, new) = match rng.random_range(0..20) {
        0..2 if !column.not_null => ("value to null", format!("num_nulls({name}) = 0"), "NULL".to_owned()),
        2 if !column.not_null => ("null to value", format!("num_nulls({name}) = 1"), from_null(column).to_owned()),
        5.. if !changes.is_empty() => ("value changed", format!("num_nulls({name}) = 0"), changes[rng.random_range(0..changes.len())].to_owned()),
        _ => ("value of another row", "true".to_owned(), String::new()),
    };
    let old = victim(rng, table, &format!(", {name} AS old"), &condition);
    let candidate = if what == "value of another row" {
        format!("SELECT victim, old, other.{name} AS new FROM v, ONLY {table} AS other WHERE {} LIMIT 1", differs("old", &format!("other.{name}")))
    } else {
        format!("SELECT victim, old, ({new})::{} AS new FROM v", column.sql_type)
    };
    let sql = format!(
        "WITH v AS MATERIALIZED ({old}), n AS MATERIALIZED ({candidate}) \
         UPDATE ONLY {table} AS t SET {name} = n.new FROM n WHERE t.ctid = n.victim AND {} RETURNING 1",
        differs("n.old", "n.new")
    );
    Mutation { sql, what, tables: vec![table.clone()] }
}

/// A value for what was null: the empty one where the type has one, so that `''` and `\N` are told apart.
fn from_null(column: &ColumnInfo) -> &'static str {
    match (column.category, column.kind, column.base.as_str()) {
        ('S' | 'Z', ..) | (_, _, "bytea" | "tsvector" | "varbit") => "''",
        ('A', ..) | (_, 'm', _) => "'{}'",
        (_, 'r', _) => "'empty'",
        ('N', ..) | (_, _, "interval") => "'0'",
        ('B', ..) => "false",
        (_, _, "json" | "jsonb") => "'null'",
        ('D', _, "date" | "timestamp" | "timestamptz") => "'infinity'",
        _ => "NULL",
    }
}

/// Expressions over `old`, some of which compare equal to it and print otherwise.
fn changes(column: &ColumnInfo) -> &'static [&'static str] {
    match (column.category, column.kind, column.base.as_str()) {
        ('A', ..) => &[
            "CASE WHEN array_ndims(old) > 1 THEN NULL ELSE array_append(old, NULL) END",
            "CASE WHEN array_ndims(old) > 1 THEN NULL ELSE array_prepend(NULL, old) END",
            "'{}'",
        ],
        (_, 'e', _) => &["CASE WHEN old = enum_first(old) THEN enum_last(old) ELSE enum_first(old) END"],
        (_, 'r', _) => &["CASE WHEN isempty(old) THEN '(,)' ELSE 'empty' END"],
        (_, 'm', _) => &["CASE WHEN isempty(old) THEN '{(,)}' ELSE '{}' END"],
        (_, _, "text" | "varchar" | "bpchar" | "name") => &[
            "overlay(old::text PLACING CASE left(old::text, 1) WHEN 'x' THEN 'y' ELSE 'x' END FROM 1 FOR 1)",
            "old::text || 'x'",
            "left(old::text, -1)",
            "reverse(old::text)",
            "upper(old::text)",
            "old::text || ' '",
            "replace(old::text, '\\', '/')",
            "old::text || E'\\n'",
            "''",
            "translate(old::text, '0123456789', '1234567890')",
        ],
        (_, _, "char") => &["CASE WHEN old = 'a' THEN 'b' ELSE 'a' END", "''"],
        (_, _, "int2" | "int4" | "int8") => &["old # 1", "old + 1", "-old", "~old", "old # 64"],
        (_, _, "oid") => &["(old::bigint # 1)::oid"],
        (_, _, "numeric") => &[
            "old + 1",
            "-old",
            "CASE WHEN old::text ~ '[a-z]' THEN '0' ELSE old::text || CASE WHEN position('.' IN old::text) > 0 THEN '0' ELSE '.0' END END",
            "'NaN'",
            "trim_scale(old)",
            "old + 0.01",
        ],
        (_, _, "float4" | "float8") => &["-old", "CASE WHEN old = 0 THEN 1 ELSE old * 2 END", "'NaN'", "'-0'", "0"],
        (_, _, "money") => &["old + '0.01'::money", "old * -1"],
        ('B', _, "bool") => &["NOT old"],
        (_, _, "bytea") => &["old || '\\x00'", "substr(old, 2)", "set_byte(old, 0, get_byte(old, 0) # 1)", "''"],
        (_, _, "date") => &["CASE WHEN isfinite(old) THEN old + 1 ELSE '2000-01-01' END", "'-infinity'"],
        (_, _, "timestamp" | "timestamptz") => {
            &["CASE WHEN isfinite(old) THEN old + '1 microsecond'::interval ELSE '2000-01-01' END", "'infinity'", "date_trunc('hour', old)"]
        }
        (_, _, "time" | "timetz") => &["old + '1 microsecond'::interval"],
        // 1 day, 24 hours: equal, and printed otherwise.
        (_, _, "interval") => &[
            "old + '1 microsecond'::interval",
            "old - '1 day'::interval + '24 hours'::interval",
            "old - '1 mon'::interval + '30 days'::interval",
            "-old",
        ],
        (_, _, "json") => &["old::text || ' '", "' ' || old::text", "'[' || old::text || ']'"],
        (_, _, "jsonb") => &["jsonb_build_array(old)", "'{}'", "'null'"],
        (_, _, "tsvector") => &["old || '''mutated'':1'::tsvector", "strip(old)"],
        (_, _, "uuid") => &["translate(old::text, '0123456789abcdef', '123456789abcdef0')"],
        (_, _, "inet") => &["set_masklen(old, (masklen(old) + 1) % 33)", "old + 1"],
        (_, _, "macaddr" | "macaddr8" | "bit" | "varbit") => &["~old"],
        (_, _, "point") => &["point(old[1], old[0])", "point(-old[0], old[1])"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn tables() -> Vec<TableInfo> {
        let text = "\"a \"\"q\"\"\"\u{1f}text\u{1f}text\u{1f}b\u{1f}S\u{1f}true\u{1f}false";
        let number = "id\u{1f}bigint\u{1f}int8\u{1f}b\u{1f}N\u{1f}true\u{1f}true";
        [
            format!("public.t\u{1e}false\u{1e}true\u{1e}{number}\u{1d}{text}"),
            format!("public.twin\u{1e}false\u{1e}false\u{1e}{number}\u{1d}{text}"),
            "public.nothing\u{1e}false\u{1e}false".to_owned(),
        ]
        .iter()
        .map(|row| TableInfo::parse(row).expect("a row of TABLES_SQL"))
        .collect()
    }

    #[test]
    fn rows_of_the_catalog_query_are_read() {
        let tables = tables();
        assert_eq!(tables[0].columns.len(), 2);
        assert_eq!((tables[0].columns[1].name.as_str(), tables[0].columns[1].not_null), ("\"a \"\"q\"\"\"", false));
        assert!(tables[0].is_like(&tables[1]) && !tables[0].is_like(&tables[0]) && tables[2].columns.is_empty());
        assert_eq!(TableInfo::parse("x"), None);
    }

    #[test]
    fn every_kind_is_drawn_and_the_same_seed_draws_the_same() {
        let tables = tables();
        let draw = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            (0..2000).map(|_| random_mutation(&mut rng, &tables)).collect::<Vec<_>>()
        };
        let drawn = draw(1);
        for kind in KINDS {
            assert!(drawn.iter().any(|mutation| mutation.what == *kind), "{kind} was never drawn");
        }
        assert_eq!(drawn, draw(1));
        // A duplicate in a table with a unique index would be refused every time.
        assert!(drawn.iter().all(|mutation| mutation.what != "row duplicated" || mutation.tables[0] != "public.t"));
    }
}

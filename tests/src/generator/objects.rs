//! Everything around the tables: views, code, rules of access, settings. None of it holds rows of its own, except large
//! objects; all of it must come back, in an order that works.

use super::{
    builder::{Builder, literal},
    tables::Plain,
};

pub(super) fn code(b: &mut Builder) {
    if b.wants("function") {
        let (name, argument) = (b.name("f"), b.name("arg"));
        b.say(&format!(
            "CREATE FUNCTION {name}({argument} text DEFAULT {}) RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $outer$ BEGIN RETURN $inner$it's $$ \\ $inner$ || $1; END $outer$",
            literal("it's \\ \n")
        ));
    }
    if b.wants("function with an SQL body") {
        let name = b.name("f");
        b.say(&format!("CREATE FUNCTION {name}(n int) RETURNS TABLE (a int, t text) LANGUAGE sql BEGIN ATOMIC SELECT g, U&'sn\\2603w' || g FROM generate_series(1, n) AS g; END"));
    }
    if b.wants("procedure") {
        let name = b.name("p");
        b.say(&format!("CREATE PROCEDURE {name}(INOUT n int DEFAULT 1) LANGUAGE plpgsql AS 'BEGIN n := n + 1; END'"));
    }
    if b.wants("aggregate") {
        let name = b.name("agg");
        b.say(&format!("CREATE AGGREGATE {name}(float8) (SFUNC = float8mul, STYPE = float8, INITCOND = '1')"));
    }
    if b.wants("operator and cast") {
        let (kind, function, cast) = (b.name("type"), b.name("f"), b.name("f"));
        b.say(&format!("CREATE TYPE {kind} AS (x float8)"));
        b.say(&format!("CREATE FUNCTION {function}({kind}, {kind}) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.x < $2.x'"));
        b.say(&format!("CREATE OPERATOR <<~ (FUNCTION = {function}, LEFTARG = {kind}, RIGHTARG = {kind})"));
        b.say(&format!("CREATE FUNCTION {cast}(float8) RETURNS {kind} LANGUAGE sql IMMUTABLE AS 'SELECT ROW($1)'"));
        b.say(&format!("CREATE CAST (float8 AS {kind}) WITH FUNCTION {cast}(float8) AS ASSIGNMENT"));
    }
    if b.wants("collation") {
        let (collation, name) = (b.name("collation"), b.name("collated"));
        b.say(&format!("CREATE COLLATION {collation} (LOCALE = 'C')"));
        b.say(&format!("CREATE TABLE {name} (word text COLLATE {collation} PRIMARY KEY)"));
        b.say(&format!("INSERT INTO {name} SELECT chr(64 + g % 60) || g FROM generate_series(1, 300) AS g"));
        b.holds(&name, 300, 300 * 30);
    }
    if b.wants("text search configuration") {
        let (dictionary, configuration) = (b.name("dict"), b.name("search"));
        b.say(&format!("CREATE TEXT SEARCH DICTIONARY {dictionary} (TEMPLATE = simple, ACCEPT = false)"));
        b.say(&format!("CREATE TEXT SEARCH CONFIGURATION {configuration} (COPY = pg_catalog.english)"));
        b.say(&format!("ALTER TEXT SEARCH CONFIGURATION {configuration} ALTER MAPPING FOR word WITH {dictionary}, pg_catalog.english_stem"));
    }
    if b.wants("sequence") {
        for options in ["START 42", "INCREMENT -7 MINVALUE -100000 MAXVALUE 10 START -3 CACHE 20", "AS smallint MINVALUE 3 MAXVALUE 5 CYCLE"] {
            let name = b.name("seq");
            b.say(&format!("CREATE SEQUENCE {name} {options}"));
            let calls = b.below(6);
            if calls > 0 {
                b.say(&format!("SELECT nextval({}) FROM generate_series(1, {calls})", literal(&name)));
            } else {
                b.say(&format!("SELECT setval({}, 4, false)", literal(&name)));
            }
        }
    }
    if b.wants("large objects") {
        let count = b.between(2, 8);
        for oid in 700_000..700_000 + count {
            let bytes = b.below(20_000);
            b.say(&format!("SELECT lo_from_bytea({oid}, decode(repeat('00ff5c2e0a', {bytes}), 'hex'))"));
            b.say(&format!("GRANT SELECT ON LARGE OBJECT {oid} TO PUBLIC"));
        }
        b.say(&format!("COMMENT ON LARGE OBJECT 700000 IS {}", literal("it's\n\\.")));
    }
}

pub(super) fn views(b: &mut Builder, tables: &[Plain]) {
    let Plain { name, body, .. } = &tables[0];
    if b.wants("view") {
        let view = b.name("a_view");
        b.say(&format!("CREATE VIEW {view} (\"the id\", \"select\") WITH (security_barrier) AS SELECT id, {body} FROM {name} WHERE {body} <> {} WITH CHECK OPTION", literal("\\ '\n")));
    }
    if b.wants("view that waits for a key") {
        let (view, materialized) = (b.name("grouped"), b.name("grouped"));
        b.say(&format!("CREATE VIEW {view} AS SELECT id, {body}, count(*) AS n FROM {name} GROUP BY id"));
        b.say(&format!("CREATE MATERIALIZED VIEW {materialized} AS SELECT * FROM {view} WHERE n > 1"));
    }
    if b.wants("materialized view") {
        let view = b.name("m");
        b.say(&format!("CREATE MATERIALIZED VIEW {view} AS SELECT id, length({body}) AS n FROM {name}"));
        let index = b.name("index");
        b.say(&format!("CREATE UNIQUE INDEX {index} ON {view} (id)"));
    }
    if b.wants("materialized view on another") {
        let (base, view) = (b.name("z_base"), b.name("a_on"));
        b.say(&format!("CREATE MATERIALIZED VIEW {base} AS SELECT count(*) AS n FROM {name}"));
        b.say(&format!("CREATE MATERIALIZED VIEW {view} AS SELECT n + 1 AS n FROM {base}"));
    }
    if b.wants("materialized view, unpopulated") {
        let view = b.name("m");
        b.say(&format!("CREATE MATERIALIZED VIEW {view} AS SELECT * FROM {name} WITH NO DATA"));
    }
}

/// Code that would run, or refuse, if it were restored before the rows.
pub(super) fn guards(b: &mut Builder, tables: &[Plain]) {
    let (second, third) = (&tables[1], &tables[2]);
    if b.wants("rule") {
        let rule = b.name("rule");
        b.say(&format!("CREATE RULE {rule} AS ON INSERT TO {} DO INSTEAD NOTHING", third.name));
    }
    if b.wants("trigger") {
        let (function, trigger) = (b.name("refuse"), b.name("trigger"));
        b.say(&format!("CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused''; END'"));
        b.say(&format!(
            "CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION {function}({})",
            second.name,
            literal("a'\\\n")
        ));
        if b.below(2) == 0 {
            b.say(&format!("ALTER TABLE {} ENABLE ALWAYS TRIGGER {trigger}", second.name));
        }
    }
    for (feature, table, force) in [("row level security", second, false), ("forced row level security", third, true)] {
        if b.wants(feature) {
            let policy = b.name("policy");
            b.say(&format!("CREATE POLICY {policy} ON {} USING (id % 2 = 0)", table.name));
            b.say(&format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY{}", table.name, if force { ", FORCE ROW LEVEL SECURITY" } else { "" }));
        }
    }
}

pub(super) fn access(b: &mut Builder, tables: &[Plain]) {
    let Plain { name, body, rows } = &tables[0];
    if b.wants("publication") {
        let (narrow, root) = (b.name("pub"), b.name("pub"));
        b.say(&format!("CREATE PUBLICATION {narrow} FOR TABLE {name} (id) WHERE (id > {})", rows / 2));
        b.say(&format!("CREATE PUBLICATION {root} FOR TABLE {} WITH (publish_via_partition_root = true)", tables[1].name));
    }
    if b.wants("comment") {
        b.say(&format!("COMMENT ON TABLE {name} IS {}", literal("it's; -- \"q\"\n\\connect x\n$$")));
        b.say(&format!("COMMENT ON COLUMN {name}.{body} IS {}", literal("☃\t")));
    }
    if b.wants("privileges") {
        b.say(&format!("GRANT SELECT, INSERT ON {name} TO PUBLIC"));
        b.say(&format!("REVOKE DELETE ON {} FROM CURRENT_USER", tables[1].name));
        b.say("GRANT EXECUTE ON FUNCTION twice(bigint) TO pg_monitor WITH GRANT OPTION");
    }
    if b.wants("column privileges") {
        b.say(&format!("GRANT SELECT ({}), UPDATE (id) ON {} TO pg_monitor", tables[2].body, tables[2].name));
    }
    if b.wants("default privileges") {
        b.say("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor");
        b.say("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO pg_monitor");
        b.say("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC");
    }
    if b.wants("database settings") {
        let settings = [
            ("DateStyle", "SQL, DMY"),
            ("IntervalStyle", "iso_8601"),
            ("TimeZone", "Asia/Kathmandu"),
            ("bytea_output", "escape"),
            ("extra_float_digits", "-3"),
            ("search_path", "nowhere"),
        ];
        for (setting, value) in settings {
            b.say(&format!("DO $do$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting} = %L', current_database(), '{value}'); END $do$"));
        }
    }
}

//! What the catalogs say, on each major: a sound database is passed, each thing that is wrong is made for real, found alone, undone, and passed again.

use std::collections::BTreeSet;

use integrity_check::catalog::{self, Catalog};
use integrity_check::model::{Table, TypeClass, TypeClass as C};
use integrity_check::session::Sessions;
use local::Instance;
use local::database::{self, with_database, with_user};
use shared::finding::{Finding, FindingKind};
use sqlx::{AssertSqlSafe, Connection as _};
use tests::pages::sessions;
use tests::world::{run, unique, world};

const PASSWORD: &str = "night-watch";
const MAJORS: [u32; 4] = [15, 16, 17, 18];

/// A database with a bit of everything, and a role that may read it.
struct Scene {
    instance: Instance,
    database: String,
    role: String,
    watch: Sessions,
}

impl Scene {
    async fn make(major: u32, name: &str) -> Self {
        let instance = world().await.server(major).await;
        let (database, role) = (format!("{name}_{major}_{}", unique()), format!("watch_{}", unique()));
        database::create(&instance, &database).await.expect("create");
        let sql = format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT pg_read_all_data, pg_monitor TO {role}");
        database::run_as_admin(&instance, "postgres", &sql).await.expect("a role");
        let url = with_user(&with_database(&instance.admin_url, &database).expect("a URL"), &role, PASSWORD).expect("a URL");
        let watch = sessions(&instance, &url, &database);
        Self { instance, database, role, watch }
    }

    async fn look(&self) -> Catalog {
        let (mut connection, major) = self.watch.connect("catalog").await.expect("connect");
        let seen = catalog::look(&mut connection, major).await.unwrap_or_else(|failure| panic!("{failure}"));
        connection.close().await.expect("close");
        seen
    }

    /// What is found, but for what is of the whole server, which other tests use too.
    async fn found(&self) -> BTreeSet<(FindingKind, String)> {
        let seen = self.look().await;
        let findings = catalog::judge(&seen.facts, local::host::now());
        let is_ours = |finding: &Finding| !finding.subject.starts_with("slot ") && finding.kind != FindingKind::ChecksumsOff;
        findings.into_iter().filter(is_ours).map(|finding| (finding.kind, finding.subject)).collect()
    }

    async fn run(&self, sql: &str) {
        // Statement by statement: some may not be in a transaction.
        let mut admin = self.admin().await;
        for sql in sql.split(";;").filter(|sql| !sql.trim().is_empty()) {
            database::run(&mut admin, sql).await.unwrap_or_else(|failure| panic!("{failure}: {sql}"));
        }
        admin.close().await.expect("close");
    }

    async fn admin(&self) -> sqlx::PgConnection {
        database::connect(&self.instance, &with_database(&self.instance.admin_url, &self.database).expect("a URL")).await.expect("connect")
    }

    async fn end(self) {
        database::drop(&self.instance, &self.database).await.expect("drop");
        database::run_as_admin(&self.instance, "postgres", &format!("DROP ROLE {}", self.role)).await.expect("drop the role");
    }
}

const FILL: &str = "
CREATE TABLE parents (id bigint PRIMARY KEY, t text, n int);
CREATE TABLE children (id serial PRIMARY KEY, parent bigint CONSTRAINT children_parent REFERENCES parents, t text);
CREATE INDEX children_t ON children (t);
INSERT INTO parents SELECT n, n::text, n % 10 FROM generate_series(1, 500) n; INSERT INTO children (parent, t) SELECT n, n::text FROM generate_series(1, 300) n;
CREATE TABLE parted (id int PRIMARY KEY, t text) PARTITION BY RANGE (id); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE SEQUENCE free AS int; SELECT nextval('free'); CREATE SEQUENCE round MAXVALUE 10 CYCLE; SELECT setval('round', 10);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER note BEFORE INSERT ON children FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE COLLATION words (provider = libc, locale = 'C.UTF-8');
ANALYZE;";

/// What is done, how it is undone, what is found, and since which major.
type Breaking = (&'static str, &'static str, FindingKind, &'static str, u32);

const BREAKINGS: [Breaking; 15] = [
    ("CREATE INDEX parted_t ON ONLY parted (t)", "DROP INDEX parted_t", FindingKind::IndexInvalid, "public.parted_t", 15),
    (
        "ALTER TABLE parents ADD CONSTRAINT short CHECK (length(t) < 3) NOT VALID",
        "ALTER TABLE parents DROP CONSTRAINT short",
        FindingKind::ConstraintNotTrusted,
        "public.parents, constraint short",
        15,
    ),
    (
        "ALTER TABLE children DROP CONSTRAINT children_parent;; ALTER TABLE children ADD CONSTRAINT children_parent FOREIGN KEY (parent) REFERENCES parents NOT VALID",
        "ALTER TABLE children VALIDATE CONSTRAINT children_parent",
        FindingKind::ConstraintNotTrusted,
        "public.children, constraint children_parent",
        15,
    ),
    (
        "ALTER TABLE parents ADD CONSTRAINT lax CHECK (id > 0) NOT ENFORCED",
        "ALTER TABLE parents DROP CONSTRAINT lax",
        FindingKind::ConstraintNotTrusted,
        "public.parents, constraint lax",
        18,
    ),
    (
        "ALTER TABLE parents ADD CONSTRAINT there NOT NULL t NOT VALID",
        "ALTER TABLE parents DROP CONSTRAINT there",
        FindingKind::ConstraintNotTrusted,
        "public.parents, constraint there",
        18,
    ),
    (
        "CREATE DOMAIN small AS int;; CREATE TABLE holds (id int PRIMARY KEY, s small);; ALTER DOMAIN small ADD CONSTRAINT few CHECK (VALUE < 5) NOT VALID",
        "DROP TABLE holds;; DROP DOMAIN small",
        FindingKind::ConstraintNotTrusted,
        "domain public.small, constraint few",
        15,
    ),
    (
        "ALTER TABLE children DISABLE TRIGGER note",
        "ALTER TABLE children ENABLE TRIGGER note",
        FindingKind::TriggerDisabled,
        "public.children, trigger note",
        15,
    ),
    (
        "CREATE TABLE narrow (parent int CONSTRAINT narrow_parent REFERENCES parents, id bigint PRIMARY KEY)",
        "DROP TABLE narrow",
        FindingKind::KeyTooNarrow,
        "public.narrow.parent",
        15,
    ),
    (
        "SELECT setval('children_id_seq', 1700000000)",
        "SELECT setval('children_id_seq', 300)",
        FindingKind::RangeRunsOut,
        "sequence public.children_id_seq",
        15,
    ),
    (
        // The sequence may go on, its column may not.
        "ALTER SEQUENCE children_id_seq AS bigint MAXVALUE 9223372036854775807;; SELECT setval('children_id_seq', 2147483000)",
        "ALTER SEQUENCE children_id_seq AS int;; SELECT setval('children_id_seq', 300)",
        FindingKind::RangeNearlyOut,
        "sequence public.children_id_seq",
        15,
    ),
    (
        "CREATE SEQUENCE down INCREMENT -2 MINVALUE -1000 MAXVALUE -1;; SELECT setval('down', -950)",
        "DROP SEQUENCE down",
        FindingKind::RangeNearlyOut,
        "sequence public.down",
        15,
    ),
    (
        "UPDATE pg_collation SET collversion = '0' WHERE collname = 'words'",
        "UPDATE pg_collation SET collversion = NULL WHERE collname = 'words'",
        FindingKind::CollationChanged,
        "public.words",
        15,
    ),
    ("CREATE TABLE log AS SELECT n FROM generate_series(1, 10) n", "DROP TABLE log", FindingKind::NoPrimaryKey, "public.log", 15),
    ("CREATE INDEX children_twice ON children (t)", "DROP INDEX children_twice", FindingKind::IndexDuplicate, "public.children_twice", 15),
    (
        "CREATE TABLE fresh (id bigint PRIMARY KEY, t text) WITH (autovacuum_enabled = false);; INSERT INTO fresh SELECT n, repeat('x', 400) FROM generate_series(1, 4000) n",
        "DROP TABLE fresh",
        FindingKind::StatisticsStale,
        "public.fresh",
        15,
    ),
];

async fn everything_is_found(major: u32) {
    let scene = Scene::make(major, "catalog").await;
    scene.run(FILL).await;
    assert_eq!(scene.found().await, BTreeSet::new(), "clean at first on {major}");
    for (breaking, repair, kind, subject, since) in BREAKINGS {
        if major < since {
            continue;
        }
        scene.run(breaking).await;
        assert_eq!(scene.found().await, [(kind, subject.to_owned())].into(), "{breaking} on {major}");
        scene.run(repair).await;
        assert_eq!(scene.found().await, BTreeSet::new(), "{repair} on {major}");
    }

    // An index whose making fails; one that is being made is none of them, whoever looks.
    let mut admin = scene.admin().await;
    let failed = database::run(&mut admin, "CREATE UNIQUE INDEX CONCURRENTLY parents_n ON parents (n)").await;
    assert!(failed.is_err(), "there are duplicates");
    assert_eq!(scene.found().await, [(FindingKind::IndexInvalid, "public.parents_n".to_owned())].into(), "on {major}");
    scene.run("DROP INDEX parents_n").await;
    let mut writer = scene.admin().await;
    database::run(&mut writer, "BEGIN; INSERT INTO parents VALUES (1000, 'x', 1)").await.expect("write");
    let making = tokio::spawn(async move {
        database::run(&mut admin, "CREATE INDEX CONCURRENTLY parents_later ON parents (n, t)").await.expect("make");
        admin.close().await.expect("close");
    });
    let mut other = scene.admin().await;
    let is_there = "SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)";
    while !sqlx::query_scalar::<_, bool>(is_there).fetch_one(&mut other).await.expect("ask") {}
    assert_eq!(scene.found().await, BTreeSet::new(), "it is being made, on {major}");
    database::run(&mut other, &format!("REVOKE pg_monitor FROM {}", scene.role)).await.expect("revoke");
    let found = scene.found().await;
    assert_eq!(
        found,
        [(FindingKind::NotChecked, "sessions of others".to_owned())].into(),
        "without the right to see whose command it is, on {major}"
    );
    database::run(&mut other, &format!("GRANT pg_monitor TO {}; ", scene.role)).await.expect("grant");
    database::run(&mut writer, "COMMIT").await.expect("commit");
    making.await.expect("made");

    // Foreign keys whose triggers are disabled are told with what an anti-join needs.
    scene.run("ALTER TABLE children DISABLE TRIGGER ALL").await;
    let seen = scene.look().await;
    let key = seen.facts.soundness.untrusted.items.iter().find_map(|constraint| constraint.key.clone()).expect("a foreign key");
    assert_eq!(
        (key.child.1.as_str(), key.child_columns, key.parent.1.as_str(), key.parent_columns),
        ("children", vec!["parent".to_owned()], "parents", vec!["id".to_owned()])
    );
    scene.run("ALTER TABLE children ENABLE TRIGGER ALL").await;
    for connection in [other, writer] {
        connection.close().await.expect("close");
    }
    scene.end().await;
}

#[test]
fn each_thing_that_is_wrong_is_made_and_found_and_over_once_it_is_undone() {
    run(async {
        for major in MAJORS {
            everything_is_found(major).await;
        }
    });
}

#[test]
fn what_holds_rows_and_space_is_seen() {
    run(async {
        let scene = Scene::make(17, "holders").await;
        scene.run("CREATE TABLE t (id int PRIMARY KEY, t text STORAGE PLAIN) WITH (autovacuum_enabled = false);; INSERT INTO t SELECT n, repeat('x', 7000) FROM generate_series(1, 40000) n;; CREATE INDEX t_long ON t (left(t, 300), id);; DELETE FROM t WHERE id % 10 <> 0;; VACUUM ANALYZE t").await;
        let mut holder = scene.admin().await;
        database::run(&mut holder, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t LIMIT 1").await.expect("hold");
        let slot = format!("slot_{}", unique());
        scene.run(&format!("SELECT pg_create_physical_replication_slot('{slot}', true)")).await;
        let mut seen = scene.look().await;
        let holders = &seen.facts.holders;
        assert!(holders.transactions.len() == 1 && holders.transactions[0].is_idle && holders.transactions[0].pid > 0, "{holders:#?}");
        assert!(holders.slots.iter().any(|found| found.name == slot && !found.is_active && found.wal_bytes >= 0 && !found.is_lost), "{holders:#?}");
        scene.run(&format!("SELECT pg_drop_replication_slot('{slot}')")).await;
        database::run(&mut holder, "ROLLBACK").await.expect("end");
        holder.close().await.expect("close");
        // The counters of this server have not counted for a month: here they have.
        assert!(seen.facts.server.counted_days < 30.0);
        seen.facts.server.counted_days = 31.0;
        let found: BTreeSet<(FindingKind, String)> =
            catalog::judge(&seen.facts, local::host::now()).into_iter().map(|finding| (finding.kind, finding.subject)).collect();
        assert!(found.contains(&(FindingKind::TableBloated, "public.t".to_owned())), "{found:#?} {:#?}", seen.facts.bloat);
        assert!(found.contains(&(FindingKind::IndexUnused, "public.t_long".to_owned())), "{found:#?}");
        scene.run("VACUUM FULL ANALYZE t;; SET enable_seqscan = off;; SELECT count(*) FROM t WHERE left(t, 300) = 'x'").await;
        let mut seen = scene.look().await;
        seen.facts.server.counted_days = 31.0;
        let found: BTreeSet<FindingKind> = catalog::judge(&seen.facts, local::host::now()).into_iter().map(|finding| finding.kind).collect();
        assert!(!found.contains(&FindingKind::TableBloated) && !found.contains(&FindingKind::IndexUnused), "{found:#?}");
        scene.end().await;
    });
}

#[test]
fn locks_are_passed_by_and_what_may_not_be_read_is_said() {
    run(async {
        for major in [15, 18] {
            let scene = Scene::make(major, "locks").await;
            scene.run(FILL).await;
            let mut holder = scene.admin().await;
            database::run(&mut holder, "BEGIN; LOCK TABLE parents IN ACCESS EXCLUSIVE MODE; ALTER SEQUENCE free MAXVALUE 100000")
                .await
                .expect("lock");
            let seen = scene.look().await;
            let locked: Vec<&str> = seen.tables.iter().filter(|table| table.is_locked).map(|table| table.name.as_str()).collect();
            assert_eq!((locked, seen.tables.len()), (vec!["parents"], 3), "on {major}");
            let found = catalog::judge(&seen.facts, local::host::now());
            assert!(found.iter().any(|finding| finding.kind == FindingKind::NotChecked && finding.subject == "sequences"), "on {major}: {found:#?}");
            database::run(&mut holder, "ROLLBACK").await.expect("unlock");
            holder.close().await.expect("close");

            // Without any right nothing is called sound, and what is named gives the right.
            scene.run(&format!("REVOKE pg_read_all_data, pg_monitor FROM {};; REVOKE USAGE ON SCHEMA public FROM public", scene.role)).await;
            let seen = scene.look().await;
            assert!(seen.tables.iter().all(|table| !table.may_select && table.columns.iter().all(|column| !column.may_select)), "on {major}");
            let findings: Vec<Finding> =
                catalog::judge(&seen.facts, local::host::now()).into_iter().filter(|finding| finding.kind == FindingKind::NotChecked).collect();
            let subjects: Vec<&str> = findings.iter().map(|finding| finding.subject.as_str()).collect();
            assert_eq!(subjects, ["sessions of others", "sequences"], "on {major}");
            for finding in &findings {
                let hint = finding.hint.clone().expect("a hint");
                scene.run(hint.split(" or: ").next().unwrap_or_default()).await;
            }
            assert_eq!(scene.found().await, BTreeSet::new(), "on {major}: what was named was enough");
            assert!(scene.look().await.tables.iter().all(|table| table.may_select));
            scene.end().await;
        }
    });
}

#[test]
fn tables_and_columns_are_as_they_are() {
    run(async {
        for major in MAJORS {
            let scene = Scene::make(major, "types").await;
            let virtual_column = if major >= 18 { ", broken int GENERATED ALWAYS AS (1 / (a - a)) VIRTUAL" } else { "" };
            let long = "n".repeat(63);
            let wide: Vec<String> = (1..=1600).map(|number| format!("c{number} int")).collect();
            let sql = format!(
                "CREATE DOMAIN inner_one AS int;; CREATE DOMAIN outer_one AS inner_one;; CREATE TYPE mood AS ENUM ('sad', 'glad');; CREATE TYPE pair AS (a int, b int);;
                 CREATE TABLE types (a int NOT NULL, b outer_one, c mood, d int[], e jsonb, f uuid, g varchar(9), h char(3), i numeric, j real, k date, l timestamptz, m bytea, n boolean,
                   o inet, p pair, q xml, r int4range, s point, gone int, t cidr{virtual_column});; ALTER TABLE types DROP COLUMN gone;;
                 CREATE TABLE \"\"\"; DROP TABLE types; --\" (\"{long}\" int);; CREATE TABLE none ();; CREATE TABLE wide ({});;
                 CREATE TABLE parted (id int) PARTITION BY LIST (id);; CREATE TABLE halfway PARTITION OF parted FOR VALUES IN (1) PARTITION BY LIST (id);;
                 CREATE TABLE leaf PARTITION OF halfway FOR VALUES IN (1);; CREATE TEMP TABLE fleeting (a int);; CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS one WITH NO DATA;;
                 CREATE MATERIALIZED VIEW filled AS SELECT 1 AS one;; CREATE TABLE partly (open int, closed int);; GRANT USAGE ON SCHEMA public TO {role};;
                 GRANT SELECT (open) ON partly TO {role};; REVOKE pg_read_all_data FROM {role};; GRANT SELECT ON types TO {role}",
                wide.join(", "),
                role = scene.role
            );
            scene.run(&sql).await;
            let seen = scene.look().await;
            let table = |name: &str| -> &Table { seen.tables.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("{name} on {major}")) };
            let classes: Vec<TypeClass> = table("types").columns.iter().map(|column| column.class).collect();
            let mut expected = vec![
                C::Integer,
                C::Integer,
                C::Hashable,
                C::Opaque,
                C::Opaque,
                C::Hashable,
                C::Text,
                C::Text,
                C::Number,
                C::Number,
                C::Time,
                C::Time,
                C::Bytes,
                C::Boolean,
                C::Hashable,
                C::Opaque,
                C::Opaque,
                C::Opaque,
                C::Opaque,
                C::Hashable,
            ];
            expected.extend((major >= 18).then_some(C::Opaque));
            assert_eq!(classes, expected, "on {major}");
            let columns = &table("types").columns;
            assert!(columns[0].not_null && !columns[1].not_null && columns.iter().all(|column| column.may_select));
            // A virtual column is never asked for anything.
            assert!(major < 18 || columns.last().is_some_and(|column| column.name == "broken" && column.not_null));
            assert_eq!(table("\"; DROP TABLE types; --").columns[0].name, long);
            assert_eq!((table("none").columns.len(), table("wide").columns.len()), (0, 1600));
            assert_eq!((table("leaf").root.as_deref(), table("types").root.as_deref()), (Some("public.parted"), None));
            let may: Vec<bool> = table("partly").columns.iter().map(|column| column.may_select).collect();
            assert_eq!((table("partly").may_select, may), (false, vec![true, false]));
            let names: Vec<&str> = seen.tables.iter().map(|table| table.name.as_str()).collect();
            assert_eq!(names, ["\"; DROP TABLE types; --", "filled", "leaf", "none", "partly", "types", "wide"], "on {major}");
            scene.end().await;
        }
    });
}

#[test]
fn names_that_are_not_text_are_looked_past() {
    run(async {
        let scene = Scene::make(17, "bytes").await;
        let name = format!("ascii_{}", unique());
        let sql = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'");
        database::run_as_admin(&scene.instance, "postgres", &sql).await.expect("create");
        let mut admin = database::connect(&scene.instance, &with_database(&scene.instance.admin_url, &name).expect("a URL")).await.expect("connect");
        let sql = r#"DO $$ BEGIN EXECUTE 'CREATE TABLE "a' || chr(255) || '" ("c' || chr(254) || '" serial)'; EXECUTE 'ALTER TABLE "a' || chr(255) || '" ADD CONSTRAINT "k' || chr(253) || '" CHECK (true) NOT VALID'; END $$"#;
        database::run(&mut admin, sql).await.expect("make");
        admin.close().await.expect("close");
        let watch = sessions(&scene.instance, &with_database(&scene.instance.admin_url, &name).expect("a URL"), &name);
        let (mut connection, major) = watch.connect("catalog").await.expect("connect");
        let seen = catalog::look(&mut connection, major).await.unwrap_or_else(|failure| panic!("{failure}"));
        connection.close().await.expect("close");
        assert_eq!((seen.tables[0].name.as_str(), seen.tables[0].columns[0].name.as_str()), ("a\u{fffd}", "c\u{fffd}"));
        assert_eq!(seen.facts.soundness.untrusted.items[0].constraint, "k\u{fffd}");
        database::drop(&scene.instance, &name).await.expect("drop");
        scene.end().await;
    });
}

#[test]
fn many_tables_are_looked_at_by_as_few_statements_as_one() {
    run(async {
        let scene = Scene::make(17, "many").await;
        let few = scene.look().await.statements;
        for part in 0..4 {
            let sql = format!(
                "DO $$ BEGIN FOR i IN {} .. {} LOOP EXECUTE format('CREATE TABLE t%s (id bigserial PRIMARY KEY, a int, b text, c timestamptz)', i); END LOOP; END $$",
                part * 250,
                part * 250 + 249
            );
            scene.run(&sql).await;
        }
        let many = scene.look().await;
        assert_eq!((many.tables.len(), many.statements), (1000, few));
        assert!(few <= 12, "{few}");
        // Two sequences that can run out, and more of them than a statement may lock.
        let mut admin = scene.admin().await;
        let alter: Vec<String> = (0..1000).map(|number| format!("ALTER SEQUENCE t{number}_id_seq AS int")).collect();
        for part in alter.chunks(200) {
            database::run(&mut admin, &part.join(";")).await.expect("alter");
        }
        sqlx::query(AssertSqlSafe("SELECT setval('t7_id_seq', 2147483000), setval('t999_id_seq', 2147483000)"))
            .execute(&mut admin)
            .await
            .expect("set");
        admin.close().await.expect("close");
        let near: BTreeSet<(FindingKind, String)> =
            ["t7", "t999"].map(|table| (FindingKind::RangeNearlyOut, format!("sequence public.{table}_id_seq"))).into();
        assert_eq!(scene.found().await, near);
        let seen = scene.look().await;
        assert!(seen.statements <= 12 && seen.facts.ranges.read == 1000, "{} statements", seen.statements);
        scene.end().await;
    });
}

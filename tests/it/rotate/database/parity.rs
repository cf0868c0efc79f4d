//! What one user of a pair lacks: planted in every kind, found, and made good by the very statements that are printed.

use local::database::{self, identifier, with_database};
use rotate_secret::database::Server;
use rotate_secret::database::parity::{Parity, compare};
use tests::world::run;

use super::{MAJORS, OLD, Stage, Who, say, secret};

async fn compared(stage: &Stage) -> Parity {
    let mut server = Server::connect(&stage.rotator, &stage.database, "test").await.expect("connect");
    compare(&mut server, &stage.name(Who::A), &stage.name(Who::B)).await.expect("compare")
}

const OBJECTS: &str = "
    CREATE SCHEMA \"the shop\"; CREATE TABLE \"the shop\".\"or\"\"ders\" (id bigserial PRIMARY KEY, price int, \"a col\" int); CREATE VIEW v AS SELECT 1 AS one;
    CREATE MATERIALIZED VIEW m AS SELECT 1 AS one; CREATE SEQUENCE s; CREATE TABLE parts (k int) PARTITION BY LIST (k);
    CREATE FUNCTION f(int, VARIADIC text[]) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE p(IN a int, OUT b int) LANGUAGE sql AS 'SELECT 1';
    CREATE AGGREGATE agg(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0'); CREATE AGGREGATE public.ordered(float8 ORDER BY int) (SFUNC = ordered_step, STYPE = int);
    CREATE TYPE t AS ENUM ('x'); CREATE DOMAIN \"the shop\".d AS int; SELECT lo_create(4711);
    CREATE FOREIGN DATA WRAPPER w; CREATE SERVER \"far away\" FOREIGN DATA WRAPPER w;
    ALTER TABLE \"the shop\".\"or\"\"ders\" ENABLE ROW LEVEL SECURITY";

/// Each: what is given to the first, as a pattern for its name, its group's and the database's.
fn planted(major: u32) -> Vec<(&'static str, &'static str)> {
    let mut planted = vec![
        // First, for an owner's privileges are merged with what it was given.
        ("ownership of a table", "ALTER TABLE parts OWNER TO {a}"),
        ("ownership of what has a sequence", "ALTER TABLE \"the shop\".\"or\"\"ders\" OWNER TO {a}"),
        ("ownership of a function", "ALTER FUNCTION f(int, text[]) OWNER TO {a}"),
        ("ownership of a procedure", "ALTER PROCEDURE p OWNER TO {a}"),
        ("ownership of an aggregate", "ALTER AGGREGATE agg(int) OWNER TO {a}"),
        ("ownership of a type", "ALTER TYPE t OWNER TO {a}; ALTER DOMAIN \"the shop\".d OWNER TO {a}"),
        ("ownership of a schema", "ALTER SCHEMA \"the shop\" OWNER TO {a}"),
        ("ownership of a view", "ALTER VIEW v OWNER TO {a}; ALTER MATERIALIZED VIEW m OWNER TO {a}; ALTER SEQUENCE s OWNER TO {a}"),
        ("ownership of a large object", "ALTER LARGE OBJECT 4711 OWNER TO {a}"),
        ("ownership of a server", "ALTER SERVER \"far away\" OWNER TO {a}"),
        ("ownership of the database", "ALTER DATABASE {database} OWNER TO {a}"),
        ("CREATEDB", "ALTER ROLE {a} CREATEDB"),
        ("CREATEROLE", "ALTER ROLE {a} CREATEROLE"),
        ("BYPASSRLS", "ALTER ROLE {a} BYPASSRLS"),
        ("REPLICATION", "ALTER ROLE {a} REPLICATION"),
        ("a limit of connections", "ALTER ROLE {b} CONNECTION LIMIT 3"),
        ("a membership", "GRANT pg_read_all_data TO {a}"),
        ("a membership with ADMIN", "GRANT pg_monitor TO {a} WITH ADMIN OPTION"),
        ("a setting", "ALTER ROLE {a} SET work_mem TO '7MB'"),
        ("a setting that is a list", "ALTER ROLE {a} SET search_path TO '$user', 'the shop', public"),
        ("an empty list", "ALTER ROLE {a} IN DATABASE {database} SET search_path TO ''"),
        ("a setting of one database", "ALTER ROLE {a} IN DATABASE {database} SET app.tenant TO 'it''s = 1, 2'"),
        ("a setting of another value", "ALTER ROLE {a} SET role TO {group}; ALTER ROLE {b} RESET role"),
        ("a table", "GRANT SELECT, INSERT ON \"the shop\".\"or\"\"ders\" TO {a}"),
        (
            "a table, grantable",
            "GRANT UPDATE ON \"the shop\".\"or\"\"ders\" TO {a} WITH GRANT OPTION; GRANT UPDATE ON \"the shop\".\"or\"\"ders\" TO {b}",
        ),
        ("a column", "GRANT SELECT (price), UPDATE (\"a col\") ON \"the shop\".\"or\"\"ders\" TO {a}"),
        ("a view", "GRANT SELECT ON v TO {a}"),
        ("a materialized view", "GRANT SELECT ON m TO {a}"),
        ("a partitioned table", "GRANT TRUNCATE, TRIGGER ON parts TO {a}"),
        ("a sequence", "GRANT USAGE ON s TO {a}"),
        ("a schema", "GRANT USAGE, CREATE ON SCHEMA \"the shop\" TO {a}"),
        ("a function", "GRANT EXECUTE ON FUNCTION f(int, text[]) TO {a} WITH GRANT OPTION"),
        ("a procedure", "GRANT EXECUTE ON PROCEDURE p TO {a}"),
        ("an aggregate", "GRANT EXECUTE ON FUNCTION agg(int) TO {a}"),
        ("an ordered aggregate", "GRANT EXECUTE ON FUNCTION ordered(float8, int) TO {a}"),
        ("a built-in function", "GRANT EXECUTE ON FUNCTION pg_stat_reset() TO {a}"),
        ("a type", "GRANT USAGE ON TYPE t TO {a}"),
        ("a domain", "GRANT USAGE ON DOMAIN \"the shop\".d TO {a}"),
        ("a large object", "GRANT UPDATE ON LARGE OBJECT 4711 TO {a}"),
        ("a language", "GRANT USAGE ON LANGUAGE plpgsql TO {a}"),
        ("a foreign-data wrapper", "GRANT USAGE ON FOREIGN DATA WRAPPER w TO {a}"),
        ("a foreign server", "GRANT USAGE ON FOREIGN SERVER \"far away\" TO {a}"),
        ("the database", "GRANT CREATE, TEMPORARY ON DATABASE {database} TO {a}"),
        ("another database", "GRANT CREATE ON DATABASE template1 TO {a}"),
        ("a tablespace", "GRANT CREATE ON TABLESPACE pg_default TO {a}"),
        ("a parameter", "GRANT SET, ALTER SYSTEM ON PARAMETER log_min_messages TO {a}"),
        ("what others will make", "ALTER DEFAULT PRIVILEGES FOR ROLE {group} IN SCHEMA \"the shop\" GRANT SELECT ON TABLES TO {a} WITH GRANT OPTION"),
        ("what others will make, everywhere", "ALTER DEFAULT PRIVILEGES FOR ROLE {group} GRANT USAGE ON SCHEMAS TO {a}"),
        ("what it will make", "ALTER DEFAULT PRIVILEGES FOR ROLE {a} GRANT SELECT ON TABLES TO {group}"),
        ("what it will make, in a schema", "ALTER DEFAULT PRIVILEGES FOR ROLE {a} IN SCHEMA public GRANT USAGE ON SEQUENCES TO {group}"),
        ("what it will not give away", "ALTER DEFAULT PRIVILEGES FOR ROLE {a} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"),
        ("a policy", "CREATE POLICY \"the policy\" ON \"the shop\".\"or\"\"ders\" TO {a}, pg_monitor USING (true)"),
    ];
    if major >= 16 {
        planted.push(("a membership with options", "GRANT pg_read_all_stats TO {a} WITH ADMIN FALSE, INHERIT FALSE, SET FALSE"));
        planted.push((
            "a membership with other options",
            "GRANT pg_signal_backend TO {a} WITH INHERIT TRUE, SET TRUE; GRANT pg_signal_backend TO {b} WITH INHERIT FALSE",
        ));
    }
    if major >= 17 {
        planted.push(("MAINTAIN", "GRANT MAINTAIN ON parts TO {a}"));
    }
    if major >= 18 {
        planted.push(("large objects that others will make", "ALTER DEFAULT PRIVILEGES FOR ROLE {group} GRANT SELECT ON LARGE OBJECTS TO {a}"));
    }
    planted
}

impl Stage {
    fn filled(&self, pattern: &str) -> String {
        let name = |who| identifier(&self.name(who));
        pattern
            .replace("{a}", &name(Who::A))
            .replace("{b}", &name(Who::B))
            .replace("{group}", &name(Who::Group))
            .replace("{database}", &identifier(&self.database))
    }

    async fn with_objects(major: u32) -> Self {
        let stage = Self::new(major).await;
        stage.admin(&stage.filled("GRANT CONNECT ON DATABASE {database} TO PUBLIC; REVOKE ALL ON DATABASE template1 FROM {a}, {b}")).await;
        stage.admin("CREATE FUNCTION ordered_step(int, int) RETURNS int LANGUAGE sql AS 'SELECT 1'").await;
        stage.admin(OBJECTS).await;
        stage
    }
}

#[test]
fn every_kind_of_difference_is_found_and_made_good_by_what_is_printed() {
    run(async {
        for major in MAJORS {
            let stage = Stage::with_objects(major).await;
            let url = with_database(&stage.instance.admin_url, &stage.database).expect("a URL");
            let mut admin = database::connect(&stage.instance, &url).await.expect("connect");
            let mut server = Server::connect(&stage.rotator, &stage.database, "test").await.expect("connect");
            let [a, b] = [Who::A, Who::B].map(|who| stage.name(who));
            let clean = compare(&mut server, &a, &b).await.expect("compare");
            assert!(clean.is_enough() && clean.notes.is_empty(), "PostgreSQL {major}: {clean:#?}");
            let mut count = 0;
            for (what, plant) in planted(major) {
                database::run(&mut admin, &stage.filled(plant)).await.expect(what);
                let found = compare(&mut server, &a, &b).await.expect("compare");
                assert!(!found.is_enough(), "PostgreSQL {major}: {what} is not found");
                let statements: Vec<String> = found.statements().map(str::to_owned).collect();
                assert_eq!(statements.len(), found.lacking.len() + found.owned.len(), "PostgreSQL {major}: {what}: {found:#?}");
                for statement in &statements {
                    database::run(&mut admin, statement).await.unwrap_or_else(|failure| panic!("PostgreSQL {major}: {what}: {failure}: {statement}"));
                }
                let made_good = compare(&mut server, &a, &b).await.expect("compare");
                assert!(made_good.is_enough() && made_good.notes.is_empty(), "PostgreSQL {major}: {what}: after {statements:?}: {made_good:#?}");
                count += statements.len();
            }
            say(&format!("PostgreSQL {major}: {} differences planted, {count} statements", planted(major).len()));
            // The other way round, nothing is lacking: the two are equal.
            let reverse = compare(&mut server, &b, &a).await.expect("compare");
            let limits = reverse.lacking.iter().filter(|difference| !difference.what.contains("connections")).collect::<Vec<_>>();
            assert!(limits.is_empty(), "PostgreSQL {major}: {limits:#?}");
            drop((server, admin));
            forget(&stage).await;
            stage.end().await;
        }
    });
}

/// So that the roles can be dropped.
async fn forget(stage: &Stage) {
    stage.admin(&stage.filled("ALTER DATABASE {database} OWNER TO lifeboat_master")).await;
    for database in [stage.database.as_str(), "template1", "postgres"] {
        let url = with_database(&stage.instance.admin_url, database).expect("a URL");
        let mut admin = database::connect(&stage.instance, &url).await.expect("connect");
        let cascade = if database == stage.database { " CASCADE" } else { "" };
        for role in ["{a}", "{b}", "{group}"] {
            database::run(&mut admin, &stage.filled(&format!("DROP OWNED BY {role}{cascade}"))).await.expect("forget");
        }
    }
}

#[test]
fn what_cannot_be_said_exactly_is_said_in_words() {
    run(async {
        let stage = Stage::with_objects(17).await;
        let words = async |sql: &str, undo: &str| {
            stage.admin(&stage.filled(sql)).await;
            let found = compared(&stage).await;
            stage.admin(&stage.filled(undo)).await;
            found
        };
        let found = words(
            "CREATE USER MAPPING FOR {a} SERVER \"far away\" OPTIONS (password 'never-to-be-printed')",
            "DROP USER MAPPING FOR {a} SERVER \"far away\"",
        )
        .await;
        assert!(
            !found.is_enough() && found.lacking[0].what.contains("far away") && !format!("{found:?}").contains("never-to-be-printed"),
            "{found:#?}"
        );
        let found =
            words("GRANT SELECT ON v TO {b}; ALTER ROLE {b} SET work_mem TO '1MB'", "REVOKE SELECT ON v FROM {b}; ALTER ROLE {b} RESET work_mem")
                .await;
        assert!(found.is_enough() && found.notes.len() == 2, "more is a note: {found:#?}");
        let found =
            words("CREATE POLICY p ON \"the shop\".\"or\"\"ders\" USING (current_user = 'x')", "DROP POLICY p ON \"the shop\".\"or\"\"ders\"").await;
        assert!(found.is_enough() && found.notes.len() == 1 && found.notes[0].contains("name of the user"), "{found:#?}");
        // Without a group that owns, there is no statement.
        let found =
            words("ALTER ROLE {a} RESET role; ALTER ROLE {b} RESET role; ALTER TABLE parts OWNER TO {a}", "ALTER TABLE parts OWNER TO rdsadmin")
                .await;
        assert!(found.owned.len() == 1 && found.owned[0].statement.is_none() && found.owned[0].what.contains("NOLOGIN"), "{found:#?}");
        let other = format!("other_{}", stage.database);
        database::create(&stage.instance, &other).await.expect("create");
        database::run_as_admin(&stage.instance, &other, &stage.filled("CREATE TABLE x (); GRANT SELECT ON x TO {a}")).await.expect("grant");
        let found = compared(&stage).await;
        assert!(found.lacking.len() == 1 && found.lacking[0].what.contains(&other) && found.lacking[0].statement.is_none(), "{found:#?}");
        database::drop(&stage.instance, &other).await.expect("drop");
        let own = "CREATE TABLE y (); ALTER TABLE y OWNER TO {a}";
        database::create(&stage.instance, &other).await.expect("create");
        database::run_as_admin(&stage.instance, &other, &stage.filled(own)).await.expect("own");
        let found = compared(&stage).await;
        assert!(found.is_enough() && found.notes.len() == 1 && found.notes[0].contains(&other), "{found:#?}");
        database::drop(&stage.instance, &other).await.expect("drop");
        // What is temporary comes and goes.
        let access = stage.place().access(&stage.name(Who::A), &secret(OLD)).expect("on this machine");
        let mut application = access.connect(&access.database, "application").await.expect("connect");
        database::run(&mut application, "CREATE TEMPORARY TABLE z (id serial PRIMARY KEY, t text)").await.expect("create");
        assert!(compared(&stage).await.is_enough());
        drop(application);
        // Many are counted.
        let many: String =
            (0..250).map(|number| format!("CREATE TABLE many_{number} (); GRANT SELECT ON many_{number} TO {{a}};")).collect::<Vec<_>>().concat();
        let found = words(&many, "SELECT 1").await;
        assert_eq!((found.lacking.len(), found.more), (200, 50));
        stage.end().await;
    });
}

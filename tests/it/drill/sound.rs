//! Checks of a copy that is sound: they find nothing, say what they could not check, and go on where they were interrupted.

use std::time::Duration;

use local::database::{self, with_database};
use restore_drill::checks::{engine, integrity};
use restore_drill::reading::Job;
use shared::finding::FindingKind;
use shared_postgres::windows::Sizes;
use sqlx::Connection as _;
use tests::world::{run, unique, world};

use tests::drills::clean_drills;
use tests::drills::copy::{Found, LONG, access, checked, expected, found, ledger};

#[test]
fn clean_drills_find_nothing() {
    run(async { assert_eq!(clean_drills(0..10).await, (20, Vec::new())) });
}

#[test]
fn without_amcheck_a_copy_is_not_checked_and_that_is_said() {
    run(async {
        let instance = world().await.server(16).await;
        let database = format!("unchecked_{}", unique());
        database::create(&instance, &database).await.expect("create");
        let access = access(&instance, &instance.master_url);
        let job = Job {
            access: &access,
            database: &database,
            ledger: &database,
            connections: 2,
            expected: None,
            drill: "u",
            sizes: Sizes::default(),
            whole: LONG,
        };
        let state = checked(&job, LONG).await;
        assert_eq!(found(state.findings.clone()), expected(&[(FindingKind::NotChecked, database.as_str())]));
        assert!(state.facts.is_some_and(|facts| facts.data_checksums) && state.indexes == 0);
        database::drop(&instance, &database).await.expect("drop");
    });
}

#[test]
fn what_the_catalogs_say_is_found_and_checks_go_on_where_they_were_interrupted() {
    run(async {
        for major in [15, 17, 18] {
            let instance = world().await.server(major).await;
            let database = format!("catalogs_{major}_{}", unique());
            database::create(&instance, &database).await.expect("create");
            let sql = "CREATE TABLE a (id int PRIMARY KEY, t text); INSERT INTO a SELECT n, md5(n::text) FROM generate_series(1, 3000) n; CREATE INDEX a_t ON a (t);
                       CREATE TABLE b (a int CONSTRAINT b_a REFERENCES a, words tsvector, place point); CREATE INDEX b_words ON b USING gin (words);
                       CREATE INDEX b_place ON b USING gist (place); INSERT INTO b SELECT n, to_tsvector('simple', md5(n::text)), point(n, n) FROM generate_series(1, 500) n";
            database::run_as_admin(&instance, &database, sql).await.expect("fill");
            let url = with_database(&instance.admin_url, &database).expect("a URL");
            let access = access(&instance, &url);
            let (one, other) = (ledger(&instance).await, ledger(&instance).await);
            let sizes = Sizes { first: 2, max: 64, aim: Duration::from_millis(100) };
            let job = |ledger| Job { access: &access, database: &database, ledger, connections: 2, expected: None, drill: "c", sizes, whole: LONG };
            let at_once = checked(&job(&one), LONG).await;
            let in_pieces = checked(&job(&other), Duration::from_millis(200)).await;
            let counted = |state: &engine::State| (state.tables, state.indexes, state.left, state.findings.clone(), state.facts.clone());
            assert_eq!(counted(&at_once), counted(&in_pieces), "on {major}");
            assert_eq!(found(at_once.findings.clone()), Found::new(), "on {major}");
            let without: Vec<&str> = at_once.indexes_without_check.keys().map(String::as_str).collect();
            assert_eq!(without, if major >= 18 { vec!["gist"] } else { vec!["gin", "gist"] });
            let extensions = at_once.facts.expect("facts").extensions;
            assert!(!extensions.iter().any(|name| name.starts_with("amcheck")), "what was made is taken away: {extensions:?}");

            let harm = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'a_t'::regclass; ALTER TABLE b DISABLE TRIGGER ALL;
                        ALTER TABLE a ADD CONSTRAINT short CHECK (length(t) < 3) NOT VALID; CREATE COLLATION old (provider = libc, locale = 'C.UTF-8');
                        UPDATE pg_collation SET collversion = '0' WHERE collname = 'old'";
            database::run_as_admin(&instance, &database, harm).await.expect("harm");
            let more = if major >= 18 { "ALTER TABLE a ADD CONSTRAINT lax CHECK (id > 0) NOT ENFORCED" } else { "SELECT 1" };
            database::run_as_admin(&instance, &database, more).await.expect("harm");
            let mut admin = database::connect(&instance, &url).await.expect("connect");
            let (findings, _) = integrity::look(&mut admin, major).await.expect("look");
            admin.close().await.expect("close");
            let mut wanted = vec![
                (FindingKind::IndexInvalid, "public.a_t"),
                (FindingKind::ConstraintNotTrusted, "public.short"),
                (FindingKind::ConstraintNotTrusted, "public.b_a"),
                (FindingKind::CollationChanged, "public.old"),
            ];
            wanted.extend((major >= 18).then_some((FindingKind::ConstraintNotTrusted, "public.lax")));
            assert_eq!(found(findings), expected(&wanted), "on {major}");
            for name in [&database, &one, &other] {
                database::drop(&instance, name).await.expect("drop");
            }
        }
    });
}

#[test]
fn a_check_that_does_not_end_is_tried_twice_and_then_not_checked() {
    run(async {
        let instance = world().await.server(17).await;
        let database = format!("endless_{}", unique());
        database::create(&instance, &database).await.expect("create");
        let sql = "CREATE FUNCTION endless(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
                     IF current_setting('application_name') LIKE '%check' THEN LOOP PERFORM 1; END LOOP; END IF; RETURN n; END $$;
                   CREATE TABLE t AS SELECT n FROM generate_series(1, 10) n; CREATE INDEX t_endless ON t (endless(n)); CREATE INDEX t_n ON t (n)";
        database::run_as_admin(&instance, &database, sql).await.expect("fill");
        let (access, ledger) = (access(&instance, &with_database(&instance.admin_url, &database).expect("a URL")), ledger(&instance).await);
        let (sizes, whole) = (Sizes::default(), Duration::from_secs(1));
        let job = Job { access: &access, database: &database, ledger: &ledger, connections: 2, expected: None, drill: "e", sizes, whole };
        let state = checked(&job, Duration::from_secs(4)).await;
        assert_eq!(found(state.findings.clone()), expected(&[(FindingKind::NotChecked, "public.t_endless")]), "{state:#?}");
        assert!(state.indexes > 100 && state.left == 0, "{state:#?}");
        database::drop(&instance, &database).await.expect("drop");
        database::drop(&instance, &ledger).await.expect("drop");
    });
}

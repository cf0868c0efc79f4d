//! Slow queries, from the counters of real servers, and the figures of the digest.

use integrity_check::queries::{self, Counters, NotCounted, growth, look, review, texts};
use local::Instance;
use local::database::identifier;
use shared::finding::FindingKind;
use sqlx::{Connection as _, Executor as _};
use tests::world::{run, unique, world};

use super::checks::{MAJORS, Stage};

const ACCOUNT: &str = "300000000001";

/// A server whose parameter group preloads the library, as RDS's does.
async fn with_library(major: u32) -> Instance {
    let cloud = &world().await.cloud;
    let rds = aws_sdk_rds::Client::new(&cloud.sdk_config(ACCOUNT));
    let name = format!("counted-{major}-{}", unique());
    let group =
        rds.create_db_parameter_group().db_parameter_group_name(&name).db_parameter_group_family(format!("postgres{major}")).description("counted");
    group.send().await.expect("make a parameter group");
    let library = aws_sdk_rds::types::Parameter::builder()
        .parameter_name("shared_preload_libraries")
        .parameter_value("pg_stat_statements")
        .apply_method(aws_sdk_rds::types::ApplyMethod::PendingReboot);
    rds.modify_db_parameter_group().db_parameter_group_name(&name).parameters(library.build()).send().await.expect("set a parameter");
    let create =
        rds.create_db_instance().db_instance_identifier(&name).engine("postgres").engine_version(major.to_string()).db_instance_class("db.t4g.micro");
    let create =
        create.allocated_storage(20).master_username("lifeboat_master").master_user_password("of-the-master-of-all").db_parameter_group_name(&name);
    create.send().await.expect("create the instance");
    cloud.wait_for_instance(ACCOUNT, local::cloud::REGION, &name).await.expect("an instance")
}

async fn counted(stage: &Stage) -> Result<(Counters, Option<NotCounted>), NotCounted> {
    let (mut connection, _) = stage.sessions().connect("queries").await.expect("connect");
    let counted = look(&mut connection, &stage.database, &stage.role).await.expect("look");
    connection.close().await.expect("close");
    counted
}

#[test]
fn queries_between_two_nights_are_reviewed_on_every_server_that_counts() {
    run(async {
        let mut majors = Vec::new();
        for major in MAJORS {
            let stage = Stage::on(with_library(major).await).await;
            let mut admin = stage.admin().await;
            if admin.execute("CREATE SCHEMA \"stats 1\"; CREATE EXTENSION pg_stat_statements SCHEMA \"stats 1\"").await.is_err() {
                // Not every server here has the library: that is what is said.
                let missing = counted(&stage).await.expect_err("there are no counters");
                assert!(
                    missing.0.kind == FindingKind::QueriesNotSeen
                        && missing.0.hint.is_some_and(|hint| hint.contains("CREATE EXTENSION pg_stat_statements"))
                );
                stage.end().await;
                continue;
            }
            majors.push(major);
            let role = identifier(&stage.role);
            let denied = counted(&stage).await;
            let (_, partly) = denied.expect("its own queries");
            let grant = partly.expect("only its own").0.hint.expect("a grant");
            assert_eq!(grant, format!("GRANT pg_read_all_stats TO {role};"));
            admin.execute(sqlx::AssertSqlSafe(grant)).await.expect("grant");

            admin
                .execute("CREATE TABLE t (n int, word text); INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 2000) n")
                .await
                .expect("fill");
            let (before, partly) = counted(&stage).await.expect("counters");
            assert_eq!(partly, None);
            for number in 0..150 {
                admin
                    .execute(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM t a WHERE word <> 'hunter{number}' /* of hunter3 */")))
                    .await
                    .expect("ask");
            }
            admin.execute("CREATE ROLE \"told\" PASSWORD 'hunter2'; DROP ROLE \"told\"").await.expect("a role");
            let (after, _) = counted(&stage).await.expect("counters");
            let mut seen = review(Some(&before), &after);
            let (mut connection, _) = stage.sessions().connect("queries").await.expect("connect");
            seen.with_texts(&texts(&mut connection, &seen.shown()).await.expect("texts"));
            connection.close().await.expect("close");
            let asked = seen.top.iter().find(|reviewed| (reviewed.calls - 150.0).abs() < 0.5).unwrap_or_else(|| panic!("on {major}: {seen:#?}"));
            assert_eq!(asked.text.as_deref(), Some("SELECT count(*) FROM t a WHERE word <> $1"), "on {major}");
            assert!(asked.mean_milliseconds > 0.0 && asked.share > 0.0 && (asked.rows - 150.0).abs() < 0.5, "on {major}: {asked:?}");
            assert!(seen.top.iter().any(|reviewed| reviewed.text.as_deref().is_some_and(|text| text.contains("PASSWORD"))), "on {major}: {seen:#?}");
            assert!(!format!("{seen:?}").contains("hunter"), "on {major}: {seen:#?}");
            assert!(
                seen.new.is_empty()
                    && seen.slower.is_empty()
                    && !seen.was_reset
                    && after.entries.iter().all(|entry| entry.9.is_some() == (major >= 17))
            );

            admin.execute("SELECT \"stats 1\".pg_stat_statements_reset()").await.expect("reset");
            admin.execute("SELECT count(*) FROM t a WHERE word <> 'x'").await.expect("ask");
            let (reset, _) = counted(&stage).await.expect("counters");
            let again = review(Some(&after), &reset);
            assert!(again.was_reset && again.new.is_empty() && again.slower.is_empty() && again.seconds < 5.0, "on {major}: {again:#?}");
            admin.execute(sqlx::AssertSqlSafe(format!("REVOKE pg_read_all_data FROM {role}"))).await.expect("revoke");
            let shut = counted(&stage).await.expect_err("shut").0;
            admin.execute(sqlx::AssertSqlSafe(shut.hint.expect("a grant"))).await.expect("grant");
            assert!(counted(&stage).await.is_ok());
            stage.end().await;
        }
        assert!(majors.len() >= 2, "too few servers have pg_stat_statements: {majors:?}");
    });
}

#[test]
fn without_the_extension_or_its_library_it_is_said_what_helps() {
    run(async {
        let stage = Stage::new(15).await;
        let missing = counted(&stage).await.expect_err("nothing is counted");
        assert!(missing.0.hint.is_some_and(|hint| hint.contains("CREATE EXTENSION pg_stat_statements;")));
        stage.sql("CREATE EXTENSION pg_stat_statements").await;
        let not_loaded = counted(&stage).await.expect_err("nothing is counted").0;
        assert!(not_loaded.seen.contains("not loaded") && not_loaded.hint.is_some_and(|hint| hint.contains("shared_preload_libraries")));
        stage.end().await;
    });
}

#[test]
fn figures_are_the_servers_and_growth_is_seen() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            stage
                .sql("CREATE TABLE grows (n int PRIMARY KEY, t text); CREATE TABLE stays (n int); INSERT INTO stays SELECT generate_series(1, 5000)")
                .await;
            stage.sql("VACUUM ANALYZE").await;
            let figures = || async {
                let (mut connection, _) = stage.sessions().connect("figures").await.expect("connect");
                let figures = queries::facts::look(&mut connection).await.expect("look");
                connection.close().await.expect("close");
                figures
            };
            let before = figures().await;
            stage.sql("INSERT INTO grows SELECT n, repeat('x', 200) FROM generate_series(1, 5000) n").await;
            stage.sql("VACUUM ANALYZE grows").await;
            // A lock of somebody's does not hold it up.
            let mut admin = stage.admin().await;
            admin.execute("BEGIN; LOCK TABLE grows IN ACCESS EXCLUSIVE MODE").await.expect("lock");
            let after = figures().await;
            admin.execute("ROLLBACK").await.expect("unlock");
            let size: i64 =
                sqlx::query_scalar("SELECT pg_total_relation_size('grows') - pg_relation_size('grows', 'fsm') - pg_relation_size('grows', 'vm')")
                    .fetch_one(&mut admin)
                    .await
                    .expect("size");
            let grown = growth(&before, &after, 5);
            assert_eq!(grown.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["public.grows"], "on {major}");
            let seen = i64::try_from(after.largest["public.grows"]).expect("bytes");
            assert!((size - seen).abs() <= size / 20 + 65_536, "on {major}: {seen} of {size}");
            assert!(
                after.connections >= 2 && after.connections_max > after.connections && after.database_bytes > before.database_bytes,
                "on {major}: {after:?}"
            );
            stage.end().await;
        }
    });
}

//! The times that are measured are the server's: held against `pg_stat_statements`, which knows nothing of ours.

use std::time::Duration;

use super::{Copy, Instant, SETUP, database, files, run, unique, with_database, world};

const ACCOUNT: &str = "100000000000";

/// Starts a server of its own again, with the extension that measures every statement, those inside of blocks too.
async fn measuring(major: u32) -> Copy {
    let world = world().await;
    let instance = world.own_server(major).await;
    for sql in [
        "alter system set shared_preload_libraries = 'pg_stat_statements'",
        "alter system set pg_stat_statements.track = 'all'",
        "alter system set pg_stat_statements.track_planning = on",
    ] {
        database::run_as_admin(&instance, "postgres", sql).await.expect("set");
    }
    let rds = aws_sdk_rds::Client::new(&world.cloud.sdk_config(ACCOUNT));
    rds.reboot_db_instance().db_instance_identifier(&instance.id).send().await.expect("reboot");
    let name = format!("times-{}", unique());
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let ready = "do $$ begin if current_setting('shared_preload_libraries') = '' then raise 'not yet'; end if; end $$; create extension if not exists pg_stat_statements";
        if database::run_as_admin(&instance, "postgres", ready).await.is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "the server did not come back");
    }
    database::create(&instance, &name).await.expect("create");
    let mut connection = database::connect(&instance, &with_database(&instance.master_url, &name).expect("a URL")).await.expect("connect");
    database::run(&mut connection, SETUP).await.expect("fill");
    Copy::of(instance, name)
}

#[test]
fn a_statement_takes_as_long_as_the_server_says() {
    run(async {
        let copy = measuring(17).await;
        database::run_as_admin(&copy.instance, &copy.database, "create extension pg_stat_statements").await.expect("make the extension");
        let migration = files(&[
            (
                "1.sql",
                "alter table big alter id type bigint; create index i1 on big (slow(n)); update big set filled = filled + 1; select count(*) from big a join big b on a.n < 500 and b.n > a.n;",
            ),
            ("2.sql", "create index concurrently i2 on big (slow(n));"),
            (
                "3.sql",
                "alter table big add constraint k check (slow(n) > 0); insert into small select i, repeat('y', 500) from generate_series(1000, 60000) i;",
            ),
            ("4.sql", "vacuum full big"),
        ]);
        let rehearsal = copy.rehearse(&migration).await;
        assert!(rehearsal.units.iter().all(|unit| unit.failed.is_none()), "{rehearsal:#?}");
        let mut compared = 0;
        for statement in rehearsal.units.iter().flat_map(|unit| &unit.statements) {
            // Normalised by the extension: constants are parameters, so it is found by its first words.
            let words: Vec<&str> = statement.text.split_whitespace().take(4).collect();
            let sql = format!(
                "select sum(total_exec_time + total_plan_time) / 1000 from pg_stat_statements s join pg_database d on d.oid = dbid
                  where datname = current_database() and query ilike '{}%'",
                words.join(" ")
            );
            let Ok(server) = copy.ask(&sql).await.parse::<f64>() else { panic!("the server knows no {:?}", statement.text) };
            // Parsing is not in that figure: for the shortest a millisecond more.
            assert!((statement.seconds - server).abs() <= server * 0.1 + 0.002, "{}: {} s, server {server} s", statement.text, statement.seconds);
            compared += 1;
        }
        assert_eq!(compared, 8);
    });
}

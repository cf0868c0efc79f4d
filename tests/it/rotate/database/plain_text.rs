//! A server that logs everything it can never sees a password: not in statements, not in failing ones, not in what its views show.

use std::fs;

use local::Instance;
use local::cloud::REGION;
use local::database;
use rotate_secret::database::login;
use rotate_secret::database::password::new_password;
use rotate_secret::identity::{marked, retired};
use shared::secrets::ExposeSecret;
use tests::world::{run, world};

use super::{MAJORS, Stage, Who, rotation, secret, works};

const SERVERS: &str = "100000000000";

#[test]
fn no_log_and_no_view_of_the_server_has_a_password() {
    run(async {
        for major in MAJORS {
            let instance = world().await.own_server(major).await;
            log_everything(&instance).await;
            let stage = Stage::on(instance).await;
            let mut passwords = vec!["a-password-that-is-refused".to_owned()];
            let mut session = stage.must_take(&stage.rotator, "loud").await;
            for number in 0..5 {
                let (password, id) = (new_password().expect("a password"), rotation(number));
                passwords.push(password.expose_secret().to_owned());
                session.set_password(&stage.name(Who::B), &password, &marked(Some("it's a pair"), &id)).await.expect("set");
                assert!(works(&login::log_in(&stage.place(), &stage.name(Who::B), &password, "test").await));
                assert!(!works(&stage.log_in(Who::B, &passwords[0]).await));
                // Statements that fail are logged on a way of their own.
                session.set_password("nobody of this name", &password, "x").await.expect_err("no such role");
                session.set_password("rdsadmin", &password, "x").await.expect_err("a superuser");
                session.retire(&stage.name(Who::B), &retired(None, &id)).await.expect("retire");
            }
            let mut seen = server_text(&stage.instance).await;
            assert!(
                seen.contains("ALTER ROLE") && seen.contains("COMMENT ON ROLE") && seen.contains("SCRAM-SHA-256$4096:"),
                "the server logs statements"
            );
            assert!(seen.contains("nobody of this name") && seen.contains("ERROR"), "and failing ones");
            for password in &passwords {
                assert!(!seen.contains(password.as_str()), "PostgreSQL {major} saw a password");
            }
            // The search itself finds what is there.
            stage.admin("CREATE ROLE careless PASSWORD 'a-password-in-clear'").await;
            seen = server_text(&stage.instance).await;
            assert!(seen.contains("a-password-in-clear"));
            assert!(!format!("{:?}", secret("never shown")).contains("never shown"));
            session.close().await;
            world().await.cloud.stop_server(SERVERS, REGION, &stage.instance.id).await.expect("stop");
        }
    });
}

async fn log_everything(instance: &Instance) {
    let mut admin = database::connect(instance, &instance.admin_url).await.expect("connect");
    for setting in [
        "log_statement = 'all'",
        "log_min_duration_statement = 0",
        "log_min_messages = debug1",
        "log_min_error_statement = debug5",
        "log_parameter_max_length = -1",
        "log_parameter_max_length_on_error = -1",
        "log_connections = on",
        "log_error_verbosity = verbose",
        "log_line_prefix = '%m [%p] %u@%d %a '",
    ] {
        database::run(&mut admin, &format!("ALTER SYSTEM SET {setting}")).await.expect(setting);
    }
    // Not every build has the extension.
    let remembers = remembers(&mut admin).await;
    if remembers {
        database::run(&mut admin, "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'").await.expect("preload");
    }
    drop(admin);
    let cloud = &world().await.cloud;
    cloud.stop_server(SERVERS, REGION, &instance.id).await.expect("stop");
    cloud.start_server(SERVERS, REGION, &instance.id).await.expect("start");
    if remembers {
        database::run_as_admin(instance, "postgres", "CREATE EXTENSION pg_stat_statements").await.expect("the extension");
    }
}

async fn remembers(admin: &mut sqlx::PgConnection) -> bool {
    let sql = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements')";
    sqlx::query_scalar(sql).fetch_one(admin).await.expect("look")
}

/// The log, and the texts of statements that the server remembers.
async fn server_text(instance: &Instance) -> String {
    let name = instance.folder.file_name().expect("a name").to_string_lossy().into_owned();
    let log = instance.folder.ancestors().nth(2).expect("the cloud's folder").join("logs").join(format!("{name}.log"));
    let mut text = fs::read_to_string(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    let mut admin = database::connect(instance, &instance.admin_url).await.expect("connect");
    let mut views = vec!["SELECT query FROM pg_stat_activity WHERE query IS NOT NULL"];
    views.extend(remembers(&mut admin).await.then_some("SELECT query FROM pg_stat_statements"));
    for sql in views {
        let queries: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut admin).await.expect("look");
        text.push_str(&queries.join("\n"));
    }
    text
}

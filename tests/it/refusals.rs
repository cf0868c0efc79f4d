//! Bad input and bad surroundings get an answer that says what to do, and change nothing.

use std::time::Duration;

use local::database::{self, with_database};
use local::{Instance, Outcome};
use serde_json::{Value, json};
use tests::bed::{Bed, report};
use tests::world::{run, unique, world};

const LIMIT: Duration = Duration::from_mins(1);

/// A database with one table, and a bed whose parameter points at it.
async fn guarded() -> (Bed, Instance, String) {
    let instance = world().await.server(17).await;
    let database = format!("refusals_{}", unique());
    database::create(&instance, &database).await.expect("create");
    database::run_as_admin(&instance, &database, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n").await.expect("fill");
    let bed = Bed::new().await;
    bed.set_url(&instance, &with_database(&instance.admin_url, &database).expect("a URL")).await;
    (bed, instance, database)
}

/// The class and the text of a failure; and all that was printed, which has the hint.
async fn refused(bed: &Bed, instance: &Instance, settings: &[(&str, &str)], request: Value) -> (String, String, String) {
    let runner = bed.dumper(instance, settings).await;
    let outcome = runner.invoke(&request, LIMIT).await;
    let (output, errors) = runner.end().await;
    let Outcome::Err { kind, message } = outcome else { panic!("not refused: {outcome:?}") };
    assert_eq!(bed.manifests().await, Vec::<String>::new(), "nothing was stored as a backup");
    (kind, message, [output, errors].concat().join("\n"))
}

#[test]
fn a_client_of_another_major_says_what_to_install() {
    run(async {
        let (bed, instance, database) = guarded().await;
        let other = world().await.server(16).await;
        let folder = other.bin_folder.display().to_string();
        let (kind, message, said) =
            refused(&bed, &instance, &[("POSTGRES_CLIENT_FOLDER", &folder)], json!({"kind": "dump", "databases": [database]})).await;
        assert_eq!(kind, "WrongVersion", "{message}");
        assert!(message.contains("pg_dump is version 16") && said.contains("PgClient17Layer"), "{message} {said}");
        let (_, message, said) = refused(&bed, &instance, &[("POSTGRES_CLIENT_FOLDER", "/nowhere")], json!({"kind": "dump"})).await;
        assert!(message.contains("/nowhere/pg_dump") && said.contains("POSTGRES_CLIENT_FOLDER"), "{message} {said}");
        database::drop(&instance, &database).await.expect("drop");
    });
}

#[test]
fn a_server_that_its_certificate_does_not_name_is_not_trusted() {
    run(async {
        let (bed, instance, database) = guarded().await;
        // The public authorities: none of them signed this server's certificate.
        let strangers = "/etc/ssl/certs/ca-certificates.crt";
        let (kind, message, _) = refused(&bed, &instance, &[("DATABASE_CA_FILE", strangers)], json!({"kind": "dump"})).await;
        assert_eq!(kind, "Unreachable", "{message}");
        assert!(message.contains("certificate") || message.contains("UnknownIssuer"), "{message}");
        let (kind, message, said) = refused(&bed, &instance, &[("DATABASE_CA_FILE", "/nowhere.pem")], json!({"kind": "dump"})).await;
        assert!(kind == "BadSettings" && message.contains("/nowhere.pem") && said.contains("DATABASE_CA_FILE"), "{message} {said}");
        database::drop(&instance, &database).await.expect("drop");
    });
}

#[test]
fn wrong_settings_are_listed_all_at_once() {
    run(async {
        let (bed, instance, database) = guarded().await;
        let wrong = [("CONNECTIONS", "0"), ("COMPRESSION", "brotli"), ("SLICE_BYTES", "1"), ("DATABASES", ",")];
        let (kind, message, _) = refused(&bed, &instance, &wrong, json!({"kind": "dump"})).await;
        assert_eq!(kind, "BadSettings");
        assert!(wrong.iter().all(|(name, _)| message.contains(name)), "{message}");
        database::drop(&instance, &database).await.expect("drop");
    });
}

#[test]
fn a_request_that_is_wrong_is_answered_with_what_is_wrong() {
    run(async {
        let (bed, instance, database) = guarded().await;
        for (request, expected) in [
            (json!({"kind": "dump", "databases": ["nope"]}), "there is no database nope"),
            (json!({"kind": "dump", "databse": ["app"]}), "databse"),
            (json!({"kind": "restore"}), "restore"),
            (json!({}), "kind"),
            (json!({"kind": "dump", "databases": [database], "snapshot": "'; DROP"}), "is not the id of a snapshot"),
            (json!({"kind": "dump", "databases": [database, "postgres"], "snapshot": "00000003-0000001B-1"}), "a snapshot belongs to one database"),
            (json!({"kind": "compare", "manifest": "dumps/other/x/y/manifest.json", "database": database}), "is not the key of a manifest"),
        ] {
            let (kind, message, _) = refused(&bed, &instance, &[], request.clone()).await;
            assert!(kind == "BadRequest" && message.contains(expected), "{request}: {kind}: {message}");
        }
        database::drop(&instance, &database).await.expect("drop");
    });
}

#[test]
fn a_missing_parameter_says_how_to_make_it() {
    run(async {
        let (bed, instance, database) = guarded().await;
        let (_, message, said) = refused(&bed, &instance, &[("DATABASE_URL_PARAMETER", "/lifeboat/dev/nothing")], json!({"kind": "dump"})).await;
        assert!(message.contains("/lifeboat/dev/nothing") && said.contains("aws ssm put-parameter"), "{message} {said}");
        database::drop(&instance, &database).await.expect("drop");
    });
}

#[test]
fn a_dry_run_says_what_it_would_do_and_stores_nothing() {
    run(async {
        let (bed, instance, database) = guarded().await;
        let answer = bed.dumper(&instance, &[]).await.invoke(&json!({"kind": "dump", "databases": [database], "dryRun": true}), LIMIT).await;
        let report = report(answer);
        assert!(report.fact("dataObjects").is_some_and(|objects| objects >= 3.0), "{report:?}");
        assert_eq!(bed.store.list("").await.expect("list"), [], "nothing was stored, not even the report");
        database::drop(&instance, &database).await.expect("drop");
    });
}

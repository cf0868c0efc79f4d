//! Nights of a deployed stack: begun by the schedule, gone on with, ended; what breaks is found the night after, and what is mended is gone.

use chrono::{DateTime, TimeDelta, Utc};
use local::Runner;
use local::database::{self, with_database, with_user};
use serde_json::{Value, json};
use shared::report::Report;
use tests::bed::{self, Bed};
use tests::drills::stage::{DATABASE, PATIENCE, Stage};
use tests::world::{run, unique, world};

use crate::permissions;

const CHECKS: &str = r#"
[[check]]
name = "every order has a name"
kind = "not-null"
table = "public.orders"
column = "name"

[[check]]
name = "amounts are not negative"
kind = "range"
table = "public.items"
column = "amount"
min = 0
severity = "critical"
owner = "billing"

[[check]]
name = "written wrong"
kind = "sql"
sql = "SELECT nothing FROM nowhere"
"#;

/// In minutes.
const DAY: i64 = 24 * 60;

/// A stack whose check has a role of its own, as DEPLOYMENT.md makes it.
async fn stage(more: &[(&'static str, String)]) -> Stage {
    let mut parameters = vec![("IntegrityUrlParameter", "/lifeboat/dev/integrity-url".to_owned()), ("IntegrityPagesPerSecond", "1048576".to_owned())];
    parameters.extend(more.iter().cloned());
    let stage = Stage::new(&parameters).await;
    stage
        .sql(
            "CREATE EXTENSION amcheck; CREATE ROLE reader LOGIN PASSWORD 'never-to-be-printed'; GRANT pg_monitor, pg_read_all_data TO reader;
             DO $$ DECLARE f regprocedure; BEGIN
               FOR f IN SELECT p.oid FROM pg_proc p WHERE p.proname IN ('bt_index_check', 'verify_heapam', 'gin_index_check') LOOP
                 EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO reader', f); END LOOP; END $$",
        )
        .await;
    let url = with_database(&stage.instance.master_url, DATABASE).expect("a URL");
    let url = with_user(&url, "reader", "never-to-be-printed").expect("a URL");
    stage.cloud.put_secret(&stage.account, "/lifeboat/dev/integrity-url", &url).await.expect("store the URL");
    stage
}

async fn night(stage: &Stage, at: DateTime<Utc>) -> Report {
    let answer = stage.ask("IntegrityCheckFunctionName", &json!({"kind": "check", "scheduledAt": at})).await;
    serde_json::from_value(answer.unwrap_or_else(|error| panic!("{error:#}"))).expect("a report")
}

fn kinds(report: &Report) -> Vec<String> {
    report.findings.iter().map(|finding| format!("{} {}", finding.kind.name(), finding.subject)).collect()
}

fn page_key(report: &Report) -> String {
    let link = report.links.iter().find(|link| link.title == "page").unwrap_or_else(|| panic!("{report:#?}"));
    link.target.splitn(4, '/').nth(3).expect("a key").to_owned()
}

#[test]
fn what_breaks_is_found_the_next_night_and_told_again_only_when_it_matters() {
    run(async {
        let stage = stage(&[]).await;
        let first = DateTime::parse_from_rfc3339("2026-11-23T01:00:00Z").expect("a time").to_utc();

        // A person looks beforehand.
        let event: Value = serde_json::from_str(include_str!("../../../events/integrity-check/dry-run.json")).expect("JSON");
        let answer = stage.ask("IntegrityCheckFunctionName", &event).await.expect("an answer");
        assert!(answer["summary"].as_str().is_some_and(|said| said.contains("would read 3 of 3 tables")), "{answer:#}");

        stage.sql("INSERT INTO empty SELECT generate_series(1, 100)").await;
        stage.cloud.put_secret(&stage.account, "/lifeboat/dev/checks", CHECKS).await.expect("store the checks");
        let report = night(&stage, first).await;
        let found = kinds(&report);
        assert!(found.contains(&"checkInvalid written wrong".to_owned()), "{found:#?}");
        assert!(found.contains(&"queriesNotSeen app slow queries".to_owned()), "{found:#?}");
        assert!(
            !found.iter().any(|kind| kind.starts_with("heapCorrupt") || kind.starts_with("checkFailed") || kind.starts_with("runFailed")),
            "{found:#?}"
        );
        let fact = |report: &Report, name: &str| report.fact(name).unwrap_or_else(|| panic!("no {name} in {report:#?}"));
        assert_eq!((fact(&report, "tables"), fact(&report, "tablesRead"), fact(&report, "rowsCounted")), (3.0, 3.0, 50_100.0));
        assert!(fact(&report, "pagesVerified") > 0.0 && (fact(&report, "nightsEnded") - 1.0).abs() < f64::EPSILON);
        let page = stage.store.get(&page_key(&report)).await.expect("read").expect("a page");
        let page = String::from_utf8(page).expect("text");
        assert!(page.contains("public.orders") && page.contains("amounts are not negative") && !page.contains("never-to-be-printed"));
        stage.slack.wait_for(PATIENCE, |message| message.body.to_string().contains("3 of 3 tables read")).await.expect("a message");

        // What comes later in the same night has nothing to do, and says so to nobody.
        let again = night(&stage, first + TimeDelta::minutes(20)).await;
        assert!(again.summary.contains("has ended") && again.findings.is_empty(), "{again:#?}");

        // It breaks: a check of the team's, a foreign key that nobody enforces with rows that break it, a table that is emptied.
        stage
            .sql(
                "UPDATE items SET amount = -1 WHERE id = 7;
                 ALTER TABLE items DROP CONSTRAINT items_order_id_fkey; UPDATE items SET order_id = 99999 WHERE id IN (8, 9);
                 ALTER TABLE items ADD CONSTRAINT items_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders NOT VALID",
            )
            .await;
        let report = night(&stage, first + TimeDelta::days(1)).await;
        let found = kinds(&report);
        for wanted in ["checkFailed amounts are not negative", "orphanRows public.items.items_order_id_fkey"] {
            assert!(found.iter().any(|kind| kind == wanted), "{wanted} of {found:#?}");
        }
        assert!(found.iter().any(|kind| kind.starts_with("constraintNotTrusted")), "{found:#?}");
        // A note of the night before is not told again; what is not known is.
        assert!(!found.iter().any(|kind| kind.starts_with("queriesNotSeen")), "{found:#?}");
        assert!(found.contains(&"checkInvalid written wrong".to_owned()), "{found:#?}");

        // Mended, and another thing broken: all rows of a table go.
        stage
            .sql(
                "UPDATE items SET amount = 1 WHERE id = 7; UPDATE items SET order_id = 1 WHERE id IN (8, 9);
                 ALTER TABLE items VALIDATE CONSTRAINT items_order_id_fkey; TRUNCATE empty",
            )
            .await;
        stage
            .cloud
            .put_secret(&stage.account, "/lifeboat/dev/checks", CHECKS.split("[[check]]\nname = \"written").next().unwrap_or_default())
            .await
            .expect("store");
        let report = night(&stage, first + TimeDelta::days(2)).await;
        let found = kinds(&report);
        assert_eq!(found, ["tableEmptied public.empty"], "{report:#?}");
        assert!(report.summary.contains("5 gone"), "{}", report.summary);

        let calls = stage.cloud.calls(&stage.account, 0).await.expect("the calls");
        permissions::none_was_missing(&calls);
        permissions::none_is_idle(&calls, |role| role.starts_with("IntegrityCheck"));
        stage.end().await;
    });
}

#[test]
fn a_night_that_is_cut_again_and_again_comes_to_the_same() {
    run(async {
        let (bed, server) = (Bed::new().await, world().await.server(17).await);
        let name = format!("nights_{}", unique());
        database::create(&server, &name).await.expect("create the database");
        let url = with_database(&server.admin_url, &name).expect("a URL");
        let mut connection = database::connect(&server, &url).await.expect("connect");
        let fill = "CREATE TABLE a (id int PRIMARY KEY, t text); INSERT INTO a SELECT n, md5(n::text) FROM generate_series(1, 20000) n;
                    CREATE TABLE b (id int PRIMARY KEY, t text); INSERT INTO b SELECT n, md5(n::text) FROM generate_series(1, 30000) n; CREATE TABLE c ()";
        database::run(&mut connection, fill).await.expect("fill");
        bed.set_url(&server, &url).await;
        // A pace at which nothing fits into one invocation.
        let more = [
            ("INTEGRITY_URL_PARAMETER", "/lifeboat/dev/database-url"),
            ("DATABASES", &name),
            ("PAGES_PER_SECOND", "16"),
            ("AMCHECK_PAGES_MAX", "64"),
        ];
        let environment = bed.environment(&server, &more);
        let function = world().await.function("integrity-check");
        let first = DateTime::parse_from_rfc3339("2026-11-23T01:00:00Z").expect("a time").to_utc();
        let at = async |minutes| {
            let runner = Runner::start(&function, &environment).await.expect("start");
            let request = json!({"kind": "check", "scheduledAt": first + TimeDelta::minutes(minutes)});
            let outcome = runner.invoke(&request, std::time::Duration::from_secs(9)).await;
            runner.end().await;
            bed::report(outcome)
        };
        let mut ended = None;
        for invocation in 0..60 {
            let report = at(invocation).await;
            if report.fact("nightsEnded") == Some(1.0) {
                ended = Some((invocation, report));
                break;
            }
            assert!(report.summary.contains("under way"), "{report:#?}");
        }
        let (invocations, report) = ended.expect("it comes to an end");
        assert!(invocations > 2, "it was cut: {invocations}");
        assert_eq!((report.fact("tablesRead"), report.fact("rowsCounted")), (Some(3.0), Some(50_000.0)), "{report:#?}");

        // A night that nobody goes on with is ended by the first invocation of the next, which begins as well: where the schedule asks once a day, no day is lost.
        assert!(at(DAY).await.summary.contains("under way"));
        let report = at(2 * DAY).await;
        assert!(report.summary.contains("the night of 2026-11-24 01:00, which nobody went on with, was ended: "), "{}", report.summary);
        assert!(report.summary.contains("; under way: ") && report.fact("nightsEnded") == Some(1.0), "{report:#?}");
        let report = at(2 * DAY + 1).await;
        assert!(report.summary.starts_with("under way: "), "it is gone on with: {}", report.summary);
        database::drop(&server, &name).await.expect("drop the database");
    });
}

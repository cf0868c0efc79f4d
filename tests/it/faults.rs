//! What may go wrong on the way goes wrong here, on the wire. Whatever happens: no run is reported good that is not, and the run after it is good.

use std::time::Duration;

use local::Outcome;
use local::database;
use local::proxy::{Fault, HttpProxy};
use serde_json::json;
use shared::finding::FindingKind;
use sqlx::Connection as _;
use tests::bed::report;
use tests::faults::{Case, LIMIT, cuts, kills, s3_faults};
use tests::world::{run, unique};

#[test]
fn a_dump_cut_in_the_middle_is_not_a_success() {
    run(async {
        let faulted = cuts(6).await;
        assert_eq!((faulted.runs, faulted.wrong), (6, Vec::new()));
    });
}

#[test]
fn a_fault_of_s3_at_any_call_makes_no_false_success() {
    run(async {
        let faulted = s3_faults(1, &[Fault::LostReply, Fault::InternalError], 1).await;
        assert!(faulted.runs >= 10 && faulted.wrong.is_empty(), "{faulted:?}");
    });
}

#[test]
fn a_killed_run_leaves_nothing_that_the_next_does_not_clean() {
    run(async {
        let faulted = kills(5).await;
        assert_eq!((faulted.runs, faulted.good, faulted.wrong), (5, 0, Vec::new()));
    });
}

#[test]
fn a_run_stops_before_its_deadline_and_says_so() {
    run(async {
        let case = Case::new().await;
        case.bed.set_url(&case.instance, &case.url()).await;
        let proxy = HttpProxy::start(&case.bed.world.cloud.endpoint).await.expect("a proxy");
        proxy.fail("s3:UploadPart", 1, Fault::Slow(Duration::from_mins(1)));
        let outcome = case.runner(&[("AWS_ENDPOINT_URL", &proxy.url)]).await.invoke(&case.request(1), Duration::from_secs(12)).await;
        assert!(matches!(&outcome, Outcome::Err { kind, .. } if kind == "Deadline"), "{outcome:?}");
        proxy.heal();
        assert_eq!(case.judge(&outcome, 1, "the deadline").await, Vec::<String>::new());
        case.end().await;
    });
}

#[test]
fn a_dump_gives_way_to_a_session_that_waits_behind_it() {
    run(async {
        let case = Case::new().await;
        case.bed.set_url(&case.instance, &case.url()).await;
        let proxy = HttpProxy::start(&case.bed.world.cloud.endpoint).await.expect("a proxy");
        proxy.fail("s3:UploadPart", 1, Fault::Hang);
        let runner = case.runner(&[("AWS_ENDPOINT_URL", &proxy.url), ("GIVE_WAY_SECONDS", "1")]).await;
        let request = case.request(1);
        let (outcome, waited) = tokio::join!(runner.invoke(&request, LIMIT), async {
            proxy.wait_for("s3:UploadPart", 1).await;
            let started = std::time::Instant::now();
            // The locks were taken before the snapshot, so this waits, and then goes through.
            database::run_as_admin(&case.instance, &case.database, "ALTER TABLE small ADD COLUMN added int; ALTER TABLE small DROP COLUMN added")
                .await
                .expect("alter");
            started.elapsed()
        });
        assert!(matches!(&outcome, Outcome::Err { kind, message } if kind == "GaveWay" && message.contains("waited")), "{outcome:?}");
        assert!(waited < Duration::from_secs(20), "{waited:?}");
        proxy.heal();
        assert_eq!(case.judge(&outcome, 1, "giving way").await, Vec::<String>::new());
        case.end().await;
    });
}

#[test]
fn the_same_event_twice_at_once_makes_one_backup() {
    run(async {
        let case = Case::new().await;
        case.bed.set_url(&case.instance, &case.url()).await;
        let (first, second) = (case.runner(&[]).await, case.runner(&[]).await);
        let request = case.request(1);
        let (first, second) = tokio::join!(first.invoke(&request, LIMIT), second.invoke(&request, LIMIT));
        let reports = [report(first), report(second)];
        let stood_back = |kind| reports.iter().filter(|report| report.findings.iter().any(|finding| finding.kind == kind)).count();
        assert_eq!(stood_back(FindingKind::AlreadyRunning) + stood_back(FindingKind::AlreadyDone), 1, "{reports:?}");
        assert_eq!(case.bed.manifests().await.iter().filter(|key| key.contains("2026-11-23T00-01-00Z")).count(), 1);
        // And once more, later: nothing is done twice.
        let again = report(case.runner(&[]).await.invoke(&request, LIMIT).await);
        assert!(again.findings.iter().any(|finding| finding.kind == FindingKind::AlreadyDone), "{again:?}");
        case.end().await;
    });
}

#[test]
fn a_table_that_was_truncated_after_the_snapshot_is_not_dumped_empty() {
    run(async {
        let case = Case::new().await;
        let snapshot = tests::copies::Snapshot::take(&case.instance, &case.url()).await;
        database::run_as_admin(&case.instance, &case.database, "TRUNCATE small").await.expect("truncate");
        let request = json!({"kind": "dump", "databases": [case.database], "snapshot": snapshot.id, "scheduledAt": "2026-11-23T00:01:00Z"});
        let outcome = case.bed.dump(&case.instance, &case.url(), &request).await;
        assert!(matches!(&outcome, Outcome::Err { message, .. } if message.contains("small was truncated or rewritten")), "{outcome:?}");
        snapshot.end().await;
        case.end().await;
    });
}

#[test]
fn what_the_role_cannot_read_fails_the_run_with_the_grant() {
    run(async {
        let case = Case::new().await;
        let role = format!("reader_{}", unique());
        let sql = format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'a-secret-of-{role}'; GRANT SELECT ON noise, empty TO {role}; GRANT SELECT ON LARGE OBJECT 4711 TO {role}"
        );
        database::run_as_admin(&case.instance, &case.database, &sql).await.expect("create the role");
        let url = database::with_user(&case.url(), &role, &format!("a-secret-of-{role}")).expect("a URL");
        case.bed.set_url(&case.instance, &url).await;
        let runner = case.runner(&[]).await;
        let outcome = runner.invoke(&case.request(1), LIMIT).await;
        assert!(matches!(&outcome, Outcome::Err { kind, message } if kind == "Denied" && message.contains("public.small")), "{outcome:?}");
        let (output, errors) = runner.end().await;
        let said = [output, errors].concat().join("\n");
        assert!(said.contains(&format!("GRANT SELECT ON public.small TO \\\"{role}\\\"")), "{said}");
        assert!(!said.contains("a-secret-of"), "the password was printed");
        let mut request = case.request(2);
        request["allowMissing"] = true.into();
        let allowed = report(case.runner(&[]).await.invoke(&request, LIMIT).await);
        let left_out: Vec<&str> =
            allowed.findings.iter().filter(|finding| finding.kind == FindingKind::TableLeftOut).map(|finding| finding.subject.as_str()).collect();
        assert_eq!(left_out, ["public.small"]);
        assert_eq!(allowed.outcome, shared::report::Outcome::Failed, "a backup without a table is not a good one");
        database::run_as_admin(&case.instance, &case.database, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.expect("drop the role");
        let mut admin = database::connect(&case.instance, &case.instance.admin_url).await.expect("connect");
        admin.ping().await.expect("the server is well");
        case.end().await;
    });
}

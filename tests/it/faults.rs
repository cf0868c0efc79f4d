//! What may go wrong on the way goes wrong here, on the wire. Whatever happens: no run is reported good that is not, and the run after it is good.

use std::time::Duration;

use local::database::{self, with_database};
use local::proxy::{AfterCut, Cut, Direction, Fault, HttpProxy, TcpProxy};
use local::{Instance, Outcome, Runner};
use serde_json::{Value, json};
use shared::finding::FindingKind;
use sqlx::Connection as _;
use tests::archive::Held;
use tests::bed::{Bed, report};
use tests::checks::fetch;
use tests::world::{run, unique, world};

const LIMIT: Duration = Duration::from_secs(120);

/// A database with several tables and slices, a bed, and what a good dump of it holds.
struct Case {
    bed: Bed,
    instance: Instance,
    database: String,
    good: Held,
}

impl Case {
    async fn new() -> Self {
        let world = world().await;
        let instance = world.server(17).await;
        let database = format!("faults_{}", unique());
        database::create(&instance, &database).await.expect("create");
        // About 8 MB, not compressed, so that one object is sent in parts.
        let sql = "CREATE TABLE noise AS SELECT n, md5(n::text) || md5((n + 1)::text) || md5((n + 2)::text) || md5((n + 3)::text) AS t FROM generate_series(1, 60000) n;
                   CREATE TABLE small AS SELECT n FROM generate_series(1, 100) n; CREATE TABLE empty (n int); SELECT lo_from_bytea(4711, 'large');";
        database::run_as_admin(&instance, &database, sql).await.expect("fill");
        let bed = Bed::new().await;
        let url = with_database(&instance.admin_url, &database).expect("a URL");
        let outcome = bed.dump(&instance, &url, &json!({"kind": "dump", "databases": [database]})).await;
        let good = fetch(&bed, &report(outcome), &database).await.held;
        Self { bed, instance, database, good }
    }

    fn url(&self) -> String {
        with_database(&self.instance.admin_url, &self.database).expect("a URL")
    }

    fn request(&self, minute: u64) -> Value {
        json!({"kind": "dump", "databases": [self.database], "scheduledAt": format!("2026-11-23T{:02}:{:02}:00Z", minute / 60, minute % 60)})
    }

    /// One object of several parts, and small ones.
    async fn runner(&self, more: &[(&str, &str)]) -> Runner {
        let settings = [&[("SLICE_BYTES", "1073741824"), ("COMPRESSION", "none")], more].concat();
        self.bed.dumper(&self.instance, &settings).await
    }

    /// A run that answered good must have left a good backup; one that failed must have left none. Then: nothing stays open, and the next run is good.
    async fn judge(&self, outcome: Outcome, minute: u64, what: &str) {
        let slot = format!("2026-11-23T{:02}-{:02}-00Z", minute / 60, minute % 60);
        let made = self.bed.manifests().await.into_iter().filter(|key| key.contains(&slot)).count();
        match outcome {
            Outcome::Ok(_) => {
                assert_eq!(made, 1, "{what}: one backup");
                let backup = fetch(&self.bed, &report(outcome), &self.database).await;
                assert_eq!(backup.held.tables, self.good.tables, "{what}: reported good, and is not");
                assert_eq!(backup.held.large_objects, self.good.large_objects, "{what}: reported good, and is not");
            }
            _ => assert_eq!(made, 0, "{what}: a failed run left a backup"),
        }
        self.no_session_is_left(what).await;
        let next = self.runner(&[]).await.invoke(&self.request(minute + 700), LIMIT).await;
        let backup = fetch(&self.bed, &report(next), &self.database).await;
        assert_eq!(backup.held.tables, self.good.tables, "{what}: the next run");
        assert_eq!(self.bed.open_uploads().await, 0, "{what}: open uploads");
    }

    /// A backend that was told to end needs a moment.
    async fn no_session_is_left(&self, what: &str) {
        let mut admin = database::connect(&self.instance, &self.instance.admin_url).await.expect("connect");
        for _ in 0..600 {
            let sql = "SELECT count(*), pg_sleep(0.05) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'lifeboat %'";
            let (left, ()): (i64, ()) = sqlx::query_as(sql).bind(&self.database).fetch_one(&mut admin).await.expect("look");
            if left == 0 {
                return;
            }
        }
        panic!("{what}: sessions are left");
    }

    async fn end(self) {
        database::drop(&self.instance, &self.database).await.expect("drop");
    }
}

#[test]
fn a_dump_cut_in_the_middle_is_not_a_success() {
    run(async {
        let case = Case::new().await;
        let proxy = TcpProxy::start(format!("{}:{}", case.instance.host, case.instance.port).parse().expect("an address")).await.expect("a proxy");
        let direct = format!("{}:{}", case.instance.host, case.instance.port);
        let through = case.url().replace(&direct, &proxy.address.to_string());
        case.bed.set_url(&case.instance, &through).await;
        report(case.runner(&[]).await.invoke(&case.request(0), LIMIT).await);
        let whole = proxy.bytes().from_server;
        for part in 1..=6 {
            let after_bytes = proxy.bytes().from_server + whole * part / 7;
            proxy.cut_at(Cut { direction: Direction::FromServer, after_bytes, then: AfterCut::Refuse });
            let outcome = case.runner(&[]).await.invoke(&case.request(part), LIMIT).await;
            let what = format!("cut at {part}/7 of {whole} bytes");
            assert!(matches!(outcome, Outcome::Err { .. }), "{what}: {outcome:?}");
            proxy.heal();
            case.judge(outcome, part, &what).await;
        }
        case.end().await;
    });
}

#[test]
fn a_fault_of_s3_at_any_call_makes_no_false_success() {
    run(async {
        let case = Case::new().await;
        case.bed.set_url(&case.instance, &case.url()).await;
        let proxy = HttpProxy::start(&case.bed.world.cloud.endpoint).await.expect("a proxy");
        let through = [("AWS_ENDPOINT_URL", proxy.url.as_str())];
        report(case.runner(&through).await.invoke(&case.request(0), LIMIT).await);
        let operations: std::collections::BTreeSet<String> =
            proxy.recorded().into_iter().map(|call| call.operation).filter(|name| name.starts_with("s3:")).collect();
        assert!(operations.contains("s3:UploadPart") && operations.contains("s3:CompleteMultipartUpload"), "{operations:?}");
        let mut minute = 0;
        for operation in &operations {
            for fault in [Fault::LostReply, Fault::InternalError] {
                minute += 1;
                let what = format!("{fault:?} at {operation}");
                let nth = proxy.count(operation) + 1;
                proxy.fail(operation, nth, fault);
                let outcome = case.runner(&through).await.invoke(&case.request(minute), LIMIT).await;
                proxy.heal();
                case.judge(outcome, minute, &what).await;
            }
        }
        case.end().await;
    });
}

#[test]
fn a_killed_run_leaves_nothing_that_the_next_does_not_clean() {
    run(async {
        let case = Case::new().await;
        case.bed.set_url(&case.instance, &case.url()).await;
        let proxy = HttpProxy::start(&case.bed.world.cloud.endpoint).await.expect("a proxy");
        let through = [("AWS_ENDPOINT_URL", proxy.url.as_str())];
        for (number, operation) in ["s3:PutObject", "s3:CreateMultipartUpload", "s3:UploadPart", "s3:CompleteMultipartUpload"].into_iter().enumerate()
        {
            let minute = number as u64 + 1;
            let nth = proxy.count(operation) + 1;
            proxy.fail(operation, nth, Fault::Hang);
            let runner = case.runner(&through).await;
            let request = case.request(minute);
            let (outcome, ()) = tokio::join!(runner.invoke(&request, LIMIT), async {
                proxy.wait_for(operation, nth).await;
                runner.kill();
            });
            assert!(matches!(outcome, Outcome::Died { .. }), "{outcome:?}");
            proxy.heal();
            case.judge(outcome, minute, &format!("killed at {operation}")).await;
        }
        case.end().await;
    });
}

#[test]
fn a_run_stops_before_its_deadline_and_says_so() {
    run(async {
        let case = Case::new().await;
        case.bed.set_url(&case.instance, &case.url()).await;
        let proxy = HttpProxy::start(&case.bed.world.cloud.endpoint).await.expect("a proxy");
        proxy.fail("s3:UploadPart", 1, Fault::Slow(Duration::from_secs(60)));
        let outcome = case.runner(&[("AWS_ENDPOINT_URL", &proxy.url)]).await.invoke(&case.request(1), Duration::from_secs(12)).await;
        assert!(matches!(&outcome, Outcome::Err { kind, .. } if kind == "Deadline"), "{outcome:?}");
        proxy.heal();
        case.judge(outcome, 1, "the deadline").await;
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
        case.judge(outcome, 1, "giving way").await;
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

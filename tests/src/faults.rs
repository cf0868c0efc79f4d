//! Dumps during which something goes wrong on the wire, and what must hold whatever happens: no run is reported good that is not, a manifest is only where
//! a good backup is, nothing stays open, and the run after it is good.

use std::collections::BTreeMap;
use std::time::Duration;

use local::database::{self, with_database};
use local::proxy::{AfterCut, Chaos, Cut, Direction, Fault, HttpProxy, TcpProxy};
use local::{Instance, Outcome, Runner};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::archive::Held;
use crate::bed::{Bed, report};
use crate::checks::{fetch, fetch_key};
use crate::world::{unique, world};

/// How long a run may take.
pub const LIMIT: Duration = Duration::from_mins(2);

/// Everything that may happen to a request and that a client must live with.
pub const FAULTS: [Fault; 6] =
    [Fault::LostReply, Fault::LostRequest, Fault::InternalError, Fault::Throttle, Fault::TruncatedReply(20), Fault::Slow(Duration::from_secs(2))];

/// A database with several tables and slices, a bed, and what a good dump of it holds.
pub struct Case {
    /// Its account.
    pub bed: Bed,
    /// Its server.
    pub instance: Instance,
    /// Its name.
    pub database: String,
    good: Held,
}

/// What came of runs in which something went wrong.
#[derive(Clone, Debug, Default)]
pub struct Faulted {
    /// Runs.
    pub runs: usize,
    /// Those that were reported good in spite of it (and were).
    pub good: usize,
    /// What does not hold, with the place of the fault.
    pub wrong: Vec<String>,
}

impl Faulted {
    fn add(&mut self, outcome: &Outcome, wrong: Vec<String>) {
        self.runs += 1;
        self.good += usize::from(matches!(outcome, Outcome::Ok(_)));
        self.wrong.extend(wrong);
    }

    /// Adds other runs.
    pub fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.good += other.good;
        self.wrong.extend(other.wrong);
    }
}

impl Case {
    /// A new one.
    pub async fn new() -> Self {
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

    /// The database's.
    pub fn url(&self) -> String {
        with_database(&self.instance.admin_url, &self.database).expect("a URL")
    }

    /// A dump for the slot of that minute of a day.
    pub fn request(&self, minute: u64) -> Value {
        json!({"kind": "dump", "databases": [self.database], "scheduledAt": format!("2026-11-23T{:02}:{:02}:00Z", minute / 60, minute % 60)})
    }

    /// One object of several parts, and small ones.
    pub async fn runner(&self, more: &[(&str, &str)]) -> Runner {
        let settings = [&[("SLICE_BYTES", "1073741824"), ("COMPRESSION", "none")], more].concat();
        self.bed.dumper(&self.instance, &settings).await
    }

    /// What does not hold. A run that answered good must have left a good backup; one that failed must have left none; of one that was killed, what it left
    /// must be good. Then: nothing stays open, and the next run is good. Minutes up to 700.
    #[must_use]
    pub async fn judge(&self, outcome: &Outcome, minute: u64, what: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let slot = format!("2026-11-23T{:02}-{:02}-00Z", minute / 60, minute % 60);
        let made: Vec<String> = self.bed.manifests().await.into_iter().filter(|key| key.contains(&slot)).collect();
        let is_right = match outcome {
            Outcome::Ok(_) => made.len() == 1,
            Outcome::Died { .. } => made.len() <= 1,
            _ => made.is_empty(),
        };
        if !is_right {
            wrong.push(format!("{what}: {} backups after {outcome:?}", made.len()));
        }
        for key in &made {
            if !self.is_good(&fetch_key(&self.bed, key).await.held) {
                wrong.push(format!("{what}: {key} passes for a backup, and is not"));
            }
        }
        wrong.extend(self.sessions_left().await.then(|| format!("{what}: sessions are left")));
        let next = self.runner(&[]).await.invoke(&self.request(minute + 700), LIMIT).await;
        if matches!(next, Outcome::Ok(_)) {
            let backup = fetch(&self.bed, &report(next), &self.database).await;
            wrong.extend((!self.is_good(&backup.held)).then(|| format!("{what}: the next run is not good")));
        } else {
            wrong.push(format!("{what}: the next run: {next:?}"));
        }
        let open = self.bed.open_uploads().await;
        wrong.extend((open > 0).then(|| format!("{what}: {open} open uploads")));
        wrong
    }

    fn is_good(&self, held: &Held) -> bool {
        held.tables == self.good.tables && held.large_objects == self.good.large_objects
    }

    /// A backend that was told to end needs a moment.
    async fn sessions_left(&self) -> bool {
        let mut admin = database::connect(&self.instance, &self.instance.admin_url).await.expect("connect");
        for _ in 0..600 {
            let sql = "SELECT count(*), pg_sleep(0.05) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'lifeboat %'";
            let (left, ()): (i64, ()) = sqlx::query_as(sql).bind(&self.database).fetch_one(&mut admin).await.expect("look");
            if left == 0 {
                return false;
            }
        }
        true
    }

    /// Ends it.
    pub async fn end(self) {
        database::drop(&self.instance, &self.database).await.expect("drop");
    }
}

/// Cuts the connections to PostgreSQL at so many points, spread over the bytes of a recorded run, those of the server and those of the client in turn; no
/// new ones are let in. A run that loses the server's bytes on the way cannot be good.
pub async fn cuts(points: u64) -> Faulted {
    let case = Case::new().await;
    let direct = format!("{}:{}", case.instance.host, case.instance.port);
    let proxy = TcpProxy::start(direct.parse().expect("an address")).await.expect("a proxy");
    let through = case.url().replace(&direct, &proxy.address.to_string());
    case.bed.set_url(&case.instance, &through).await;
    report(case.runner(&[]).await.invoke(&case.request(0), LIMIT).await);
    let whole = proxy.bytes();
    let mut faulted = Faulted::default();
    for point in 1..=points {
        // Runs differ by a few bytes: the last point is well before the end.
        let (now, share) = (proxy.bytes(), |bytes: u64| bytes * point / (points + 2));
        let (direction, after_bytes) = match point % 3 {
            0 => (Direction::FromClient, now.from_client + share(whole.from_client)),
            _ => (Direction::FromServer, now.from_server + share(whole.from_server)),
        };
        let cuts = proxy.cuts();
        proxy.cut_at(Cut { direction, after_bytes, then: AfterCut::Refuse });
        let outcome = case.runner(&[]).await.invoke(&case.request(point), LIMIT).await;
        proxy.heal();
        let what = format!("cut {direction:?} at {point} of {points} of {whole:?}");
        let mut wrong = case.judge(&outcome, point, &what).await;
        wrong.extend((proxy.cuts() == cuts).then(|| format!("{what}: nothing was cut")));
        if direction == Direction::FromServer && !matches!(outcome, Outcome::Err { .. }) {
            wrong.push(format!("{what}: {outcome:?}"));
        }
        faulted.add(&outcome, wrong);
    }
    case.end().await;
    faulted
}

/// A case behind a proxy for AWS, and how often a good run makes each call.
struct Proxied {
    case: Case,
    proxy: HttpProxy,
    calls: Vec<(String, u64)>,
}

impl Proxied {
    async fn new() -> Self {
        let case = Case::new().await;
        case.bed.set_url(&case.instance, &case.url()).await;
        let proxy = HttpProxy::start(&case.bed.world.cloud.endpoint).await.expect("a proxy");
        report(case.runner(&[("AWS_ENDPOINT_URL", &proxy.url)]).await.invoke(&case.request(0), LIMIT).await);
        let calls = proxy.recorded().into_iter().map(|call| (call.operation, call.occurrence)).collect();
        Self { case, proxy, calls }
    }

    /// S3's operations, each with the number of its calls.
    fn operations(&self) -> BTreeMap<String, u64> {
        let mut operations = BTreeMap::new();
        for (operation, _) in self.calls.iter().filter(|(operation, _)| operation.starts_with("s3:")) {
            *operations.entry(operation.clone()).or_default() += 1;
        }
        operations
    }

    async fn runner(&self) -> Runner {
        self.case.runner(&[("AWS_ENDPOINT_URL", &self.proxy.url)]).await
    }
}

/// Each of these faults, at so many calls of each of S3's operations: the first, and others by the seed.
pub async fn s3_faults(seed: u64, faults: &[Fault], calls_max: u64) -> Faulted {
    let proxied = Proxied::new().await;
    let (case, proxy, operations) = (&proxied.case, &proxied.proxy, proxied.operations());
    assert!(operations.contains_key("s3:UploadPart") && operations.contains_key("s3:CompleteMultipartUpload"), "{operations:?}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut faulted, mut minute) = (Faulted::default(), 0);
    for (operation, calls) in &operations {
        for fault in faults {
            for number in 0..calls_max.min(*calls) {
                minute += 1;
                let call = if number == 0 { 1 } else { rng.random_range(2..=*calls) };
                let what = format!("seed {seed}: {fault:?} at call {call} of {operation}");
                proxy.fail(operation, proxy.count(operation) + call, fault.clone());
                let outcome = proxied.runner().await.invoke(&case.request(minute), LIMIT).await;
                proxy.heal();
                faulted.add(&outcome, case.judge(&outcome, minute, &what).await);
            }
        }
    }
    proxied.case.end().await;
    faulted
}

/// Runs in which a share of all requests is hit, by the seed; at first few, then many.
pub async fn chaos(seed: u64, runs: u64) -> Faulted {
    let proxied = Proxied::new().await;
    let (case, proxy) = (&proxied.case, &proxied.proxy);
    let mut faulted = Faulted::default();
    for number in 1..=runs {
        let percent = u8::try_from(5 + 25 * number / runs).expect("a share");
        proxy.set_chaos(Some(Chaos { seed: seed + number, percent, faults: FAULTS.to_vec() }));
        let outcome = proxied.runner().await.invoke(&case.request(number), LIMIT).await;
        proxy.heal();
        faulted.add(&outcome, case.judge(&outcome, number, &format!("seed {}: {percent} % of all requests", seed + number)).await);
    }
    proxied.case.end().await;
    faulted
}

/// Kills the process, with its children, at so many of its calls to AWS, spread over a recorded run: while the call waits for its answer.
pub async fn kills(points: usize) -> Faulted {
    let proxied = Proxied::new().await;
    let (case, proxy) = (&proxied.case, &proxied.proxy);
    let mut faulted = Faulted::default();
    for point in 0..points {
        let minute = point as u64 + 1;
        let (operation, occurrence) = &proxied.calls[proxied.calls.len() * point / points];
        let nth = proxy.count(operation) + occurrence;
        let what = format!("killed at call {occurrence} of {operation}");
        proxy.fail(operation, nth, Fault::Hang);
        let (runner, request) = (proxied.runner().await, case.request(minute));
        let (outcome, ()) = tokio::join!(runner.invoke(&request, LIMIT), async {
            // The order of calls differs from run to run, their number does not; should it, the run ends by itself.
            let _ = tokio::time::timeout(LIMIT, proxy.wait_for(operation, nth)).await;
            runner.kill();
        });
        proxy.heal();
        let mut wrong = case.judge(&outcome, minute, &what).await;
        wrong.extend((!matches!(outcome, Outcome::Died { .. })).then(|| format!("{what}: {outcome:?}")));
        faulted.add(&outcome, wrong);
    }
    proxied.case.end().await;
    faulted
}

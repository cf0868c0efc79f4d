//! A pair of users takes turns, again and again, under an application that logs in all the time, while the function is killed, frozen, cut off and called twice.

pub mod shop;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use local::cloud::REGION;
use local::database::{self, with_user};
use local::proxy::{AfterCut, Cut, Direction, Fault, HttpProxy, Occurrence, Rule, TcpProxy};
use local::{Instance, Outcome, Runner};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::task::JoinHandle;

use self::shop::{FIRST, PAIR, PARAMETER, Shop};
use crate::world::world;

/// What a run is told that it may take.
const LIMIT: Duration = Duration::from_mins(2);
/// Instances of the application; each logs in again and again, and holds one session, as a pool does.
const INSTANCES: usize = 4;
/// Sweeps until a rotation is closed, at most.
const SWEEPS_MAX: usize = 40;

/// What many turns came to.
#[derive(Debug, Default)]
pub struct Turns {
    /// Rotations.
    pub rotations: usize,
    /// Of each sort of trouble.
    pub troubles: BTreeMap<&'static str, usize>,
    /// Logins of the application.
    pub logins: u64,
    /// How long it took.
    pub seconds: f64,
    /// Calls to AWS of a rotation that nothing disturbed, by operation.
    pub calls: BTreeMap<String, usize>,
    /// What was wrong.
    pub wrong: Vec<String>,
}

/// The application: everybody logs in all the time with what they have, and takes the new value when they see it.
struct Application {
    live: Arc<RwLock<String>>,
    over: Arc<AtomicBool>,
    logins: Arc<AtomicU64>,
    refused: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Application {
    fn start(instance: &Instance, live: String, pace: Duration) -> Self {
        let application =
            Self { live: Arc::new(RwLock::new(live)), over: Arc::default(), logins: Arc::default(), refused: Arc::default(), tasks: Vec::new() };
        let tasks = (0..INSTANCES).map(|_| {
            let (instance, live, over) = (instance.clone(), application.live.clone(), application.over.clone());
            let (logins, refused) = (application.logins.clone(), application.refused.clone());
            tokio::spawn(async move {
                let read = || live.read().expect("nobody panics here").clone();
                let mut url = read();
                let mut held = database::connect(&instance, &url).await.expect("the first session");
                let mut pace = tokio::time::interval(pace);
                pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                while !over.load(Ordering::Relaxed) {
                    pace.tick().await;
                    match database::connect(&instance, &url).await {
                        Ok(connection) => {
                            logins.fetch_add(1, Ordering::Relaxed);
                            let _ = connection.close().await;
                        }
                        Err(failure) => refused.lock().expect("nobody panics here").push(failure.to_string()),
                    }
                    let newest = read();
                    if newest != url {
                        match database::connect(&instance, &newest).await {
                            Ok(session) => {
                                let _ = std::mem::replace(&mut held, session).close().await;
                                url = newest;
                            }
                            Err(failure) => refused.lock().expect("nobody panics here").push(failure.to_string()),
                        }
                    }
                }
                let _ = held.close().await;
            })
        });
        let tasks = tasks.collect();
        Self { tasks, ..application }
    }

    async fn end(self) -> (u64, Vec<String>) {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("the application ends");
        }
        (self.logins.load(Ordering::Relaxed), self.refused.lock().expect("nobody panics here").clone())
    }
}

/// A stack, the function as its own process, and both its ways to the world in our hands.
pub struct Turner {
    /// The stack.
    pub shop: Shop,
    /// The function's way to AWS.
    pub http: HttpProxy,
    tcp: TcpProxy,
    environment: Vec<(String, String)>,
    /// Everything that the function has printed.
    printed: Mutex<Vec<String>>,
}

impl Turner {
    /// Deploys the stack with the definition of its credential.
    pub async fn new(definition: &str) -> Self {
        let shop = Shop::new(definition).await;
        let http = HttpProxy::start(&shop.stage.cloud.endpoint).await.expect("a proxy");
        let port = shop.stage.instance.port;
        let address: IpAddr = shop.stage.instance.host.parse().expect("an address");
        let tcp = TcpProxy::start(SocketAddr::from((address, port))).await.expect("a proxy");
        let lambda = aws_sdk_lambda::Client::new(&shop.stage.cloud.sdk_config(&shop.stage.account));
        let name = shop.stage.output("RotateSecretFunctionName");
        let answer = lambda.get_function_configuration().function_name(name).send().await.expect("the configuration");
        let variables = answer.environment.and_then(|environment| environment.variables).unwrap_or_default();
        let mut environment: Vec<(String, String)> = variables.into_iter().filter(|(name, _)| !name.starts_with("AWS_")).collect();
        let more =
            [("AWS_REGION", REGION), ("AWS_ACCESS_KEY_ID", &shop.stage.account), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_ENDPOINT_URL", &http.url)];
        environment.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        // There are no layers here.
        environment.retain(|(name, _)| name != "DATABASE_CA_FILE");
        environment.push(("DATABASE_CA_FILE".to_owned(), shop.stage.instance.ca_file.display().to_string()));
        // The rotator alone goes through the proxy.
        let through = shop.get("/lifeboat/dev/rotator-url").await.replace(&format!(":{port}/"), &format!(":{}/", tcp.address.port()));
        shop.put("/lifeboat/dev/rotator-url", &through).await;
        Self { shop, http, tcp, environment, printed: Mutex::default() }
    }

    async fn runner(&self) -> Runner {
        Runner::start(&world().await.function("rotate-secret"), &self.environment).await.expect("start rotate-secret")
    }

    fn keep_output(&self, runner: &Runner) {
        let mut printed = self.printed.lock().expect("nobody panics here");
        printed.extend(runner.stdout_lines());
        printed.extend(runner.stderr_lines());
    }

    /// Where a password or key that was ever live stands and must not: in what the function printed, in the bucket, in Slack.
    pub async fn leaks(&self) -> Vec<String> {
        let mut secrets = vec![FIRST.to_owned()];
        let mut next = None;
        loop {
            let call = self.shop.ssm.get_parameter_history().name(PARAMETER).with_decryption(true).set_next_token(next);
            let answer = call.send().await.expect("the history");
            secrets.extend(answer.parameters().iter().filter_map(|version| password(version.value()?)));
            next = answer.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
        let mut texts = self.printed.lock().expect("nobody panics here").clone();
        texts.extend(self.shop.stage.slack.messages().iter().map(|message| message.body.to_string()));
        for prefix in ["reports/rotate-secret/", "rotations/"] {
            for listed in self.shop.stage.store.list(prefix).await.expect("list") {
                texts.push(String::from_utf8_lossy(&self.shop.stage.store.get(&listed.key).await.expect("read").unwrap_or_default()).into_owned());
            }
        }
        assert!(secrets.len() > 1 && texts.len() > 1, "{} secrets, {} texts", secrets.len(), texts.len());
        let leaks = |text: &&String| secrets.iter().any(|secret| text.contains(secret.as_str()));
        texts.iter().filter(leaks).map(|text| format!("a secret stands in {text}")).collect()
    }

    /// One rotation that nothing disturbs, which must succeed.
    pub async fn rotate(&self, id: &str) {
        let runner = self.runner().await;
        let outcome = runner.invoke_as(id, &json!({"kind": "rotate", "secret": "shop"}), LIMIT).await;
        self.keep_output(&runner);
        assert!(matches!(&outcome, Outcome::Ok(report) if report["outcome"] == "ok"), "{outcome:?}");
    }

    async fn user(&self) -> String {
        let url = self.shop.get(PARAMETER).await;
        url.split_once("//").and_then(|(_, rest)| rest.split_once(':')).map(|(user, _)| user.to_owned()).expect("a user")
    }

    fn heal(&self) {
        self.http.heal();
        self.tcp.heal();
    }

    /// The first invocation of a rotation, with trouble.
    async fn disturbed(&self, id: &str, request: &Value, sort: &str, random: &mut StdRng, calls: &[(String, u64)], bytes: u64) {
        let runner = self.runner().await;
        let (operation, nth) = calls.choose(random).cloned().expect("a call");
        let nth = self.http.count(&operation) + nth;
        let rule = |occurrence, fault| Rule { operation: Some(operation.clone()), occurrence, fault };
        let at = random.random_range(1..bytes.max(2));
        let cut = |direction| {
            let passed = self.tcp.bytes();
            let before = if direction == Direction::FromServer { passed.from_server } else { passed.from_client };
            self.tcp.cut_at(Cut { direction, after_bytes: before + at, then: AfterCut::Accept });
        };
        let direction = if random.random_bool(0.5) { Direction::FromServer } else { Direction::FromClient };
        match sort {
            "killed before a call" => {
                self.http.add(rule(Occurrence::From(nth), Fault::Hang));
                tokio::select! { _ = runner.invoke_as(id, request, LIMIT) => {} () = self.http.wait_for(&operation, nth) => runner.kill() }
            }
            "killed after a call" => {
                self.http.add(rule(Occurrence::Nth(nth), Fault::LostReply));
                self.http.add(rule(Occurrence::From(nth + 1), Fault::Hang));
                tokio::select! { _ = runner.invoke_as(id, request, LIMIT) => {} () = self.http.wait_for(&operation, nth) => runner.kill() }
            }
            "cut from the database" => {
                cut(direction);
                let _ = runner.invoke_as(id, request, LIMIT).await;
            }
            "killed at a byte" => {
                let cuts = self.tcp.cuts();
                cut(direction);
                tokio::select! { _ = runner.invoke_as(id, request, LIMIT) => {} () = self.tcp.wait_for_cuts(cuts + 1) => runner.kill() }
            }
            "a call goes wrong" => {
                let fault = [Fault::Throttle, Fault::InternalError, Fault::LostReply, Fault::LostRequest].choose(random).cloned().expect("a fault");
                self.http.add(rule(Occurrence::Nth(nth), fault));
                let _ = runner.invoke_as(id, request, LIMIT).await;
            }
            "frozen, and called twice" => {
                self.http.add(rule(Occurrence::Nth(nth), Fault::Slow(Duration::from_millis(300))));
                let other = self.runner().await;
                let first = runner.invoke_as(id, request, LIMIT);
                let second = async {
                    self.http.wait_for(&operation, nth).await;
                    runner.freeze();
                    let _ = other.invoke_as(id, request, LIMIT).await;
                    runner.thaw();
                    std::future::pending::<()>().await;
                };
                tokio::select! { _ = first => {} () = second => {} }
            }
            _ => {
                let _ = runner.invoke_as(id, request, LIMIT).await;
            }
        }
        self.keep_output(&runner);
        self.heal();
    }

    /// A rotation with trouble; what was wrong. One further invocation must have the new value out.
    async fn turn(&self, number: u64, sort: &'static str, calls: &[(String, u64)], bytes: u64, application: &Application) -> Vec<String> {
        let mut random = StdRng::seed_from_u64(number);
        let (before, id) = (self.user().await, format!("turn-{number}"));
        let request = json!({"kind": "rotate", "secret": "shop"});
        self.disturbed(&id, &request, sort, &mut random, calls, bytes).await;
        let take = async || *application.live.write().expect("nobody panics here") = self.shop.get(PARAMETER).await;
        take().await;
        let mut wrong = Vec::new();
        let runner = self.runner().await;
        // What Lambda does with a call that failed: the same event again.
        let outcome = runner.invoke_as(&id, &request, LIMIT).await;
        if !matches!(outcome, Outcome::Ok(_)) {
            return vec![format!("turn {number}, {sort}: the next invocation fails: {outcome:?}")];
        }
        take().await;
        if self.user().await == before {
            wrong.push(format!("after one further invocation {before} is still live"));
        }
        let mut sweeps = 0;
        while self.shop.journal("shop").await.get("closed").is_none() {
            sweeps += 1;
            if sweeps > SWEEPS_MAX {
                wrong.push("it is not closed".to_owned());
                break;
            }
            let _ = runner.invoke(&json!({"kind": "sweep"}), LIMIT).await;
        }
        self.keep_output(&runner);
        wrong.into_iter().map(|what| format!("turn {number}, {sort}: {what}")).collect()
    }
}

const SORTS: [&str; 7] = [
    "nothing",
    "killed before a call",
    "killed after a call",
    "cut from the database",
    "killed at a byte",
    "a call goes wrong",
    "frozen, and called twice",
];

fn password(url: &str) -> Option<String> {
    url.split_once("//")?.1.split_once('@')?.0.split_once(':').map(|(_, password)| password.to_owned())
}

/// So many rotations, the sort of trouble by turns, its moment by the seed. Each instance of the application logs in once in a `pace`, or as often as it can.
pub async fn turns(seed: u64, count: u64, pace: Duration) -> Turns {
    let turner = Turner::new(PAIR).await;
    let mut all = Turns::default();
    let live = turner.shop.get(PARAMETER).await;
    let application = Application::start(&turner.shop.stage.instance, live, pace);
    let began = Instant::now();
    // What a rotation is like that nothing disturbs.
    let (recorded, passed) = (turner.http.recorded().len(), turner.tcp.bytes());
    all.wrong.extend(turner.turn(seed, SORTS[0], &[("none".to_owned(), 1)], 1, &application).await);
    if !all.wrong.is_empty() {
        return all;
    }
    let mut calls = Vec::new();
    for call in &turner.http.recorded()[recorded..] {
        let count = all.calls.entry(call.operation.clone()).or_insert(0);
        *count += 1;
        calls.push((call.operation.clone(), *count as u64));
    }
    let bytes = (turner.tcp.bytes().from_server - passed.from_server) / 2;
    for number in 1..count {
        let sort = SORTS[usize::try_from(number).unwrap_or_default() % SORTS.len()];
        *all.troubles.entry(sort).or_insert(0) += 1;
        all.wrong.extend(turner.turn(seed + number, sort, &calls, bytes, &application).await);
        all.rotations += 1;
    }
    all.seconds = began.elapsed().as_secs_f64();
    let (logins, refused) = application.end().await;
    all.logins = logins;
    all.wrong.extend(refused.into_iter().map(|refused| format!("a login was refused: {refused}")));
    let stolen = with_user(&turner.shop.stage.instance.master_url, "shop_a", FIRST).expect("a URL");
    if turner.shop.logs_in(&stolen).await {
        all.wrong.push("the first password still works".to_owned());
    }
    all.wrong.extend(turner.leaks().await);
    turner.shop.stage.end().await;
    all
}

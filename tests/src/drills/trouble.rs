//! Trouble at any call of a drill: it goes on where it was, or ends and says why; nothing is left after the sweeper, and production is as it was.
//!
//! The test is the clock here: the same binary, called as the machine calls it, outside the cloud's Lambda, so that it can be killed at a call.

use std::time::Duration;

use crate::world::world;
use chrono::TimeDelta;
use local::cloud::REGION;
use local::database::{self, with_database, with_user};
use local::proxy::{Fault, HttpProxy, Occurrence, Rule};
use local::{Outcome as Invoked, Runner};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use restore_drill::identity::DrillId;
use restore_drill::plan::PLAN;
use serde_json::json;
use shared::report::Outcome;

use super::stage::{DATABASE, Stage};

const LIMIT: Duration = Duration::from_mins(2);
/// Calls of a drill that nothing disturbs are less than a hundred.
const TICKS_MAX: usize = 1500;

/// How a call goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// This happens to it once.
    Once(Fault),
    /// The function is killed while the call waits, and nothing was done.
    KilledBefore,
    /// What was asked was done, the reply is lost, and the function is killed.
    KilledAfter,
    /// It goes wrong until the end.
    Lasting(Fault),
}

const TROUBLES: [Trouble; 7] = [
    Trouble::Once(Fault::Throttle),
    Trouble::Once(Fault::InternalError),
    Trouble::Once(Fault::LostReply),
    Trouble::Once(Fault::LostRequest),
    Trouble::KilledBefore,
    Trouble::KilledAfter,
    Trouble::Lasting(Fault::Denied),
];

struct Clock {
    stage: Stage,
    proxy: HttpProxy,
    environment: Vec<(String, String)>,
}

impl Clock {
    async fn new() -> Self {
        let stage = Stage::new(&[]).await;
        stage.dump().await;
        stage.snapshot(local::host::now() - TimeDelta::hours(1)).await;
        stage.dump().await;
        let proxy = HttpProxy::start(&stage.cloud.endpoint).await.expect("a proxy");
        let lambda = aws_sdk_lambda::Client::new(&stage.cloud.sdk_config(&stage.account));
        let mut environment = Vec::new();
        for function in ["RestoreDrillFunctionName", "RestoreDrillDatabaseFunctionName"] {
            let answer = lambda.get_function_configuration().function_name(stage.output(function)).send().await.expect("the configuration");
            let variables = answer.environment.and_then(|environment| environment.variables).unwrap_or_default();
            environment.extend(variables.into_iter().filter(|(name, _)| !name.starts_with("AWS_")));
        }
        let more =
            [("AWS_REGION", REGION), ("AWS_ACCESS_KEY_ID", &stage.account), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_ENDPOINT_URL", &proxy.url)];
        environment.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Self { stage, proxy, environment }
    }

    async fn runner(&self) -> Runner {
        Runner::start(&world().await.function("restore-drill"), &self.environment).await.expect("start restore-drill")
    }

    /// A drill that is decided, and whose clock is ours.
    async fn decide(&self, source: &str) -> DrillId {
        let request = json!({"kind": "drill", "source": {"latest": source}, "dryRun": true});
        let Invoked::Ok(answer) = self.runner().await.invoke(&request, LIMIT).await else { panic!("{request}") };
        let drill: DrillId = serde_json::from_value(answer["drill"].clone()).expect("an id");
        self.stage.store.put(&drill.key(PLAN), answer["plan"].to_string().into_bytes(), "application/json").await.expect("keep the plan");
        drill
    }

    /// Ticks until the drill is over, as the machine does; `trouble` strikes at a call, counted from the begin. The machine's last word; `None` when it gave up.
    async fn play(&self, drill: &DrillId, trouble: Option<(&str, u64, &Trouble)>) -> Option<String> {
        let mut killed_at = trouble.and_then(|(operation, nth, trouble)| self.arm(operation, nth, trouble));
        let mut runner = self.runner().await;
        let (mut request, mut failures) = (json!({"kind": "step", "drill": drill}), 0);
        for _ in 0..TICKS_MAX {
            let outcome = match &killed_at {
                None => runner.invoke(&request, LIMIT).await,
                Some((operation, nth)) => tokio::select! {
                    outcome = runner.invoke(&request, LIMIT) => outcome,
                    () = self.proxy.wait_for(operation, *nth) => {
                        runner.kill();
                        killed_at = None;
                        self.proxy.heal();
                        runner = self.runner().await;
                        continue;
                    }
                },
            };
            let Invoked::Ok(answer) = outcome else {
                failures += 1;
                if failures > 12 {
                    return None;
                }
                if failures % 3 == 0 {
                    request =
                        json!({"kind": "tearDown", "drill": drill, "error": {"Error": "Other", "Cause": "{\"errorMessage\": \"it was refused\"}"}});
                }
                continue;
            };
            let kind = match answer["next"].as_str().unwrap_or_default() {
                "work" => "work",
                "passed" | "failed" => return answer["next"].as_str().map(str::to_owned),
                _ => "step",
            };
            request = json!({"kind": kind, "drill": drill});
            if answer["next"] == "close" {
                request["reported"] = json!(true);
            }
        }
        panic!("drill {drill} does not end");
    }

    /// Sets the trouble up; where the function is to be killed.
    fn arm(&self, operation: &str, nth: u64, trouble: &Trouble) -> Option<(String, u64)> {
        let nth = self.proxy.count(operation) + nth;
        let rule = |occurrence, fault| Rule { operation: Some(operation.to_owned()), occurrence, fault };
        match trouble {
            Trouble::Once(fault) => self.proxy.add(rule(Occurrence::Nth(nth), fault.clone())),
            Trouble::Lasting(fault) => self.proxy.add(rule(Occurrence::From(nth), fault.clone())),
            Trouble::KilledBefore => {
                self.proxy.add(rule(Occurrence::From(nth), Fault::Hang));
                return Some((operation.to_owned(), nth));
            }
            Trouble::KilledAfter => {
                self.proxy.add(rule(Occurrence::Nth(nth), Fault::LostReply));
                self.proxy.add(rule(Occurrence::From(nth + 1), Fault::Hang));
                return Some((operation.to_owned(), nth + 1));
            }
        }
        None
    }

    /// What is wrong after a drill: something is left, production changed, or nobody knows what happened.
    async fn judge(&self, drill: &DrillId, word: Option<&str>, lasting: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        self.proxy.heal();
        let clean = self.stage.others().await.is_empty() && self.stage.secrets().await.is_empty();
        if word.is_some() && !clean {
            wrong.push(format!("it says {word:?}, and left {:?} {:?}", self.stage.others().await, self.stage.secrets().await));
        }
        // Whatever is left, the sweeper removes when its time is over.
        let later = local::host::now() + TimeDelta::days(3);
        for _ in 0..60 {
            let sweep = self.stage.ask("RestoreDrillFunctionName", &json!({"kind": "sweep", "scheduledAt": later})).await;
            if let Err(error) = sweep {
                wrong.push(format!("the sweeper failed: {error}"));
            }
            // What is being deleted keeps its parameter until it is gone: the next hour's sweep has it.
            if self.stage.others().await.is_empty() && self.stage.secrets().await.is_empty() {
                break;
            }
        }
        if !self.stage.others().await.is_empty() || !self.stage.secrets().await.is_empty() {
            wrong.push(format!("left after the sweeper: {:?} {:?}", self.stage.others().await, self.stage.secrets().await));
        }
        match (self.stage.result(drill).await, word) {
            (Some(result), Some("passed")) if result.outcome <= Outcome::Attention && result.databases.iter().any(|one| one.rows == 50_000) => {}
            (Some(result), Some("failed")) if lasting && result.outcome == Outcome::Failed => {}
            (_, None) if lasting => {}
            (result, word) => wrong.push(format!("{word:?}: {result:#?}")),
        }
        // Production: there, as it was, and with the password that it had.
        let rds = aws_sdk_rds::Client::new(&self.stage.cloud.sdk_config(&self.stage.account));
        let shown = rds.describe_db_instances().db_instance_identifier(&self.stage.instance.id).send().await.expect("describe");
        let url = with_database(&self.stage.instance.master_url, DATABASE).expect("a URL");
        let application = with_user(&url, "application", "never-to-be-printed").expect("a URL");
        let may_log_in =
            database::connect(&self.stage.instance, &url).await.is_ok() && database::connect(&self.stage.instance, &application).await.is_ok();
        if shown.db_instances()[0].db_instance_status() != Some("available") || !may_log_in {
            wrong.push("production was touched".to_owned());
        }
        wrong
    }
}

/// Plays drills of a sort of backup with trouble at calls that are chosen by the seed; what was wrong.
pub async fn troubled(source: &str, seed: u64, count: usize) -> Vec<String> {
    let clock = Clock::new().await;
    let drill = clock.decide(source).await;
    let before = clock.proxy.recorded().len();
    let word = clock.play(&drill, None).await;
    let mut wrong = clock.judge(&drill, word.as_deref(), false).await;
    let calls: Vec<(String, u64)> = {
        let mut counts = std::collections::BTreeMap::new();
        let operations = clock.proxy.recorded()[before..].iter().map(|call| call.operation.clone()).collect::<Vec<_>>();
        operations
            .into_iter()
            .map(|operation| {
                let n = counts.entry(operation.clone()).or_insert(0);
                *n += 1;
                (operation, *n)
            })
            .collect()
    };
    for number in 0..count {
        let mut random = StdRng::seed_from_u64(seed + number as u64);
        let trouble = &TROUBLES[random.random_range(0..TROUBLES.len())];
        // Kinds of calls first, for some are made a hundred times, and some once.
        let mut kinds: Vec<&str> = calls.iter().map(|(operation, _)| operation.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let kind = *kinds.choose(&mut random).expect("a call");
        let of_kind: Vec<&(String, u64)> = calls.iter().filter(|(operation, _)| operation == kind).collect();
        let (operation, nth) = of_kind.choose(&mut random).expect("a call");
        let drill = clock.decide(source).await;
        let played = tokio::time::timeout(Duration::from_mins(5), clock.play(&drill, Some((operation, *nth, trouble)))).await;
        let case = format!("seed {}, {trouble:?} at call {nth} of {operation}, {drill}", seed + number as u64);
        match played {
            Ok(word) => {
                let found = clock.judge(&drill, word.as_deref(), matches!(trouble, Trouble::Lasting(_))).await;
                wrong.extend(found.into_iter().map(|found| format!("{case}: {found}")));
            }
            Err(_) => wrong.push(format!("{case}: it does not end")),
        }
    }
    clock.stage.end().await;
    wrong
}

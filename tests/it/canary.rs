//! `canary` against servers of ours, with and without TLS: what is wrong is found and named, what is well passes, and nothing goes where it must not.

mod certificates;
mod clean;
mod gate;
mod redirects;
mod site;
mod tls;
mod watch;
mod wrong;

use std::sync::LazyLock;
use std::time::Duration;

use aws_sdk_ssm::types::ParameterType;
use canary::Canary;
use certificates::Authority;
use local::host::now;
use serde_json::{Value, json};
use shared::failure::Failure;
use shared::lambda::{Handler, Run};
use shared::report::Report;
use site::{Act, Asked, Site};
use tests::bed::{Bed, GUARDED};
use tests::world::unique;

const DEFINITIONS: &str = "/lifeboat/dev/canary";
const TOKEN: &str = "/shop/dev/canary-token";
/// What no output may have in it.
const SECRET: &str = "Bearer planted-s3cret-value";
const SHA: &str = "0badcafe0badcafe0badcafe0badcafe0badcafe";
const OLD_SHA: &str = "1dea5eed1dea5eed1dea5eed1dea5eed1dea5eed";
const LIMIT: Duration = Duration::from_secs(80);

/// One authority for all tests: making keys takes time.
static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("the authority", now()));

/// An account with definitions in it.
struct Case {
    bed: Bed,
    handler: Handler<Canary>,
}

impl Case {
    async fn new(definitions: &str) -> Self {
        Self::with(definitions, &[]).await
    }

    /// With other settings in place of the usual ones.
    async fn with(definitions: &str, others: &[(&'static str, &str)]) -> Self {
        let bed = Bed::new().await;
        let topic = aws_sdk_sns::Client::new(&bed.config).create_topic().name("ops").send().await.expect("create a topic");
        let others: Vec<(&str, String)> = others.iter().map(|(name, value)| (*name, value.replace("BUCKET", &bed.store.bucket))).collect();
        let usual = [
            ("LIFEBOAT_STAGE", "dev".to_owned()),
            ("LIFEBOAT_INSTANCE", GUARDED.to_owned()),
            ("LIFEBOAT_BUCKET", bed.store.bucket.clone()),
            ("LIFEBOAT_TOPIC_ARN", topic.topic_arn.unwrap_or_default()),
            ("CANARY_DEFINITIONS", DEFINITIONS.to_owned()),
        ];
        let lookup = move |name: &str| others.iter().chain(&usual).find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let handler = Handler::new(&lookup, &bed.config);
        let case = Self { bed, handler };
        case.define(definitions).await;
        case.put(TOKEN, SECRET).await;
        case
    }

    async fn define(&self, definitions: &str) {
        self.put(DEFINITIONS, definitions).await;
    }

    async fn put(&self, name: &str, value: &str) {
        let put = aws_sdk_ssm::Client::new(&self.bed.config).put_parameter().name(name).value(value).r#type(ParameterType::SecureString);
        put.overwrite(true).send().await.expect("put a parameter");
    }

    async fn invoke_as(&self, request_id: &str, event: &Value) -> Result<Value, Failure> {
        self.handler.invoke(event.clone(), &Run::new(request_id, now(), LIMIT), now).await
    }

    async fn invoke(&self, event: &Value) -> Result<Value, Failure> {
        self.invoke_as(&format!("request-{}", unique()), event).await
    }

    /// Asks after a deploy of `SHA`.
    async fn canary(&self) -> Said {
        self.canary_of(&json!({"version": "1.4.2", "gitSha": SHA})).await
    }

    async fn canary_of(&self, release: &Value) -> Said {
        let reply = self.invoke(&json!({"kind": "canary", "release": release, "requestId": "deploy-7"})).await.expect("a verdict");
        let text = reply.to_string();
        assert!(!text.contains("planted-s3cret"), "{text}");
        Said { reply }
    }

    /// Reports that were archived, which are those that are told, in their order.
    async fn told(&self) -> Vec<Report> {
        let mut listed = self.bed.store.list("reports/canary/").await.expect("list");
        listed.sort_by_key(|object| object.modified_at);
        let mut reports: Vec<Report> = Vec::new();
        for object in listed {
            let bytes = self.bed.store.get(&object.key).await.expect("read").expect("it is there");
            reports.push(serde_json::from_slice(&bytes).expect("a report"));
        }
        reports.sort_by_key(|report| report.started_at);
        reports
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        self.bed.store.list(prefix).await.expect("list").into_iter().map(|object| object.key).collect()
    }
}

/// The answer to a pipeline.
#[derive(Debug)]
struct Said {
    reply: Value,
}

impl Said {
    fn verdict(&self) -> &str {
        self.reply["verdict"].as_str().expect("a verdict")
    }

    /// Result and words of a check of the first target.
    fn check(&self, name: &str) -> (&str, &str) {
        let checks = self.reply["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check {name}: {:#}", self.reply["checks"]));
        (check["result"].as_str().expect("a result"), check["seen"].as_str().expect("words"))
    }

    /// Whether anything is said by this check.
    fn has(&self, name: &str) -> bool {
        self.reply["checks"].as_array().expect("checks").iter().any(|check| check["name"] == name)
    }

    /// Kinds of the findings, worst first.
    fn kinds(&self) -> Vec<&str> {
        self.reply["findings"].as_array().expect("findings").iter().map(|finding| finding["kind"].as_str().expect("a kind")).collect()
    }

    /// Names of the checks that did not pass.
    fn not_passed(&self) -> Vec<&str> {
        let checks = self.reply["checks"].as_array().expect("checks");
        checks.iter().filter(|check| check["result"] != "pass").map(|check| check["name"].as_str().expect("a name")).collect()
    }

    /// Asserts that it fails by these checks alone, and that the first says this.
    #[track_caller]
    fn fails_by(&self, names: &[&str], says: &str) {
        assert_eq!((self.verdict(), self.not_passed().as_slice()), ("fail", names), "{:#}", self.reply["checks"]);
        let (result, seen) = self.check(names[0]);
        assert!(result == "fail" && seen.contains(says), "{seen}");
    }
}

/// A good answer of the new release.
fn good(_: &Asked) -> Act {
    Act::json(&json!({"status": "ok", "git_sha": SHA, "version": "1.4.2"}))
}

/// A definition of one health page, asked fast; with `more` in place of the same keys.
fn definition(url: &str, more: &str) -> String {
    let mut lines = format!("[[target]]\nname = \"health\"\nurl = \"{url}\"\n");
    for line in ["requests = 20", "pace-seconds = 0.05", "timeout-seconds = 5"] {
        let key = line.split(' ').next().unwrap_or_default();
        if !more.lines().any(|own| own.starts_with(&format!("{key} ="))) {
            lines += &format!("{line}\n");
        }
    }
    format!("{lines}authorities = '''\n{}'''\n{more}\n", AUTHORITY.pem())
}

/// A server with a certificate that is good for long.
async fn secure(behaviour: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Site {
    Site::secure(AUTHORITY.issue(&["localhost"], -10, 300), behaviour).await
}

//! `notify-slack` against Slack's stand-in: what Slack takes is posted once and in order, what it does not take goes back to the queue, and the secret
//! is never said.

use std::time::Duration;

use aws_sdk_ssm::types::ParameterType;
use chrono::TimeDelta;
use local::Runner;
use local::host::now;
use local::slack::{Fault, Message, Options, Slack};
use notify_slack::NotifySlack;
use serde_json::{Value, json};
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared::lambda::{Handler, Run};
use shared::report::{Outcome, Report, SCHEMA, Subject};
use tests::bed::{Bed, GUARDED};
use tests::world::{run, unique};

const PARAMETER: &str = "/lifeboat/dev/slack";
const LIMIT: Duration = Duration::from_mins(1);

/// Which way in.
#[derive(Clone, Copy, Debug)]
enum Way {
    Webhook,
    Token,
}

/// An account, and a Slack of its own.
struct Case {
    bed: Bed,
    slack: Slack,
    handler: Handler<NotifySlack>,
}

impl Case {
    async fn new(way: Way) -> Self {
        let (bed, slack) = (Bed::new().await, Slack::start(&Options::default()).await.expect("start Slack's stand-in"));
        put_secret(&bed, secret(&slack, way)).await;
        let settings = settings(&bed, &slack);
        let lookup = move |name: &str| settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let handler = Handler::new(&lookup, &bed.config);
        Self { bed, slack, handler }
    }

    async fn invoke_for(&self, event: Value, limit: Duration) -> Result<Value, Failure> {
        self.handler.invoke(event, &Run::new(format!("request-{}", unique()), now(), limit), now).await
    }

    /// Ids of the messages that go back to the queue.
    async fn deliver(&self, event: Value) -> Vec<String> {
        failures(&self.invoke_for(event, LIMIT).await.expect("a reply"))
    }

    /// The notifier's own newest report, from the bucket.
    async fn own_report(&self) -> Report {
        let listed = self.bed.store.list("reports/notify-slack/").await.expect("list");
        let newest = listed.into_iter().max_by(|a, b| a.key.cmp(&b.key)).expect("it archives its report");
        serde_json::from_slice(&self.bed.store.get(&newest.key).await.expect("read").expect("it is there")).expect("a report")
    }
}

fn secret(slack: &Slack, way: Way) -> &str {
    match way {
        Way::Webhook => &slack.webhook_url,
        Way::Token => &slack.token,
    }
}

async fn put_secret(bed: &Bed, secret: &str) {
    let put = aws_sdk_ssm::Client::new(&bed.config).put_parameter().name(PARAMETER).value(secret).r#type(ParameterType::SecureString).overwrite(true);
    put.send().await.expect("put the secret");
}

fn settings(bed: &Bed, slack: &Slack) -> Vec<(String, String)> {
    [
        ("LIFEBOAT_STAGE", "dev"),
        ("LIFEBOAT_INSTANCE", GUARDED),
        ("LIFEBOAT_BUCKET", &bed.store.bucket),
        ("LIFEBOAT_TOPIC_ARN", "arn:aws:sns:eu-central-1:000000000000:nobody"),
        ("LIFEBOAT_RUNBOOK_URL", "https://example.org/runbook"),
        ("SLACK_PARAMETER", PARAMETER),
        ("SLACK_CHANNEL", "#ops"),
        ("SLACK_API_URL", &slack.api_url),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn failures(reply: &Value) -> Vec<String> {
    let failures = reply["batchItemFailures"].as_array().expect("the reply that SQS wants");
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().expect("an id").to_owned()).collect()
}

fn report(summary: &str) -> Report {
    let started_at = now();
    let mut report = Report {
        schema: SCHEMA,
        id: format!("backup-verify.app-db.{}", unique()),
        job: "backup-verify".into(),
        stage: "dev".into(),
        subject: Subject { instance: GUARDED.into(), database: None },
        version: "0.1.0".into(),
        git_sha: "abc".into(),
        started_at,
        duration_seconds: 0.0,
        outcome: Outcome::Unknown,
        summary: summary.to_owned(),
        facts: Vec::new(),
        findings: vec![Finding::new(FindingKind::ObjectCorrupt, "dumps/app-db/app/x/<!channel>.dat.zst", "other bytes").expected("those")],
        findings_left_out: 0,
        links: Vec::new(),
    };
    report.finish(started_at + TimeDelta::seconds(3));
    report
}

/// A batch of SQS with what SNS delivered into it; a message's id is its text.
fn batch(messages: &[(&str, String)]) -> Value {
    let records: Vec<Value> = messages
        .iter()
        .enumerate()
        .map(|(number, (id, message))| {
            let body = json!({"Type": "Notification", "MessageId": id, "TopicArn": "arn:aws:sns:eu-central-1:1:ops", "Message": message});
            json!({"messageId": id, "receiptHandle": "r", "body": body.to_string(), "attributes": {"SentTimestamp": (1_000 + number).to_string()},
                "messageAttributes": {}, "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:1:notify", "awsRegion": "eu-central-1"})
        })
        .collect();
    json!({"Records": records})
}

fn reports(ids: &[&str]) -> Value {
    let messages: Vec<(&str, String)> =
        ids.iter().map(|id| (*id, serde_json::to_string(&report(&format!("summary of {id}"))).expect("write"))).collect();
    batch(&messages)
}

/// The ids of the reports that Slack has, in its order.
fn posted(slack: &Slack) -> Vec<String> {
    let id = |message: &Message| {
        message.body.to_string().split("summary of ").nth(1).map(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).collect())
    };
    slack.messages().iter().filter_map(id).collect()
}

#[test]
fn reports_are_posted_in_order_by_webhook_and_by_token() {
    run(async {
        for way in [Way::Webhook, Way::Token] {
            let case = Case::new(way).await;
            let mut event = reports(&["a", "b", "c"]);
            event["Records"].as_array_mut().expect("records").reverse();
            assert_eq!(case.deliver(event).await, Vec::<String>::new());
            assert_eq!(posted(&case.slack), ["a", "b", "c"], "{way:?}");
            assert_eq!(case.slack.refused().len(), 0, "{:?}", case.slack.refused());
            let said = case.slack.messages()[0].body.to_string();
            assert!(said.contains("objectCorrupt|runbook") && said.contains("&lt;!channel&gt;") && !said.contains("<!channel>"), "{said}");
            assert_eq!(case.own_report().await.outcome, Outcome::Ok);
        }
    });
}

#[test]
fn whatever_is_not_a_report_is_posted_as_it_came() {
    run(async {
        let case = Case::new(Way::Token).await;
        let alarm = r#"{"AlarmName":"disk <!here>","NewStateValue":"ALARM"}"#;
        let event = batch(&[("a", alarm.to_owned()), ("b", "hello".to_owned()), ("c", "x".repeat(200_000))]);
        assert_eq!(case.deliver(event).await, Vec::<String>::new());
        let said: Vec<String> = case.slack.messages().iter().map(|message| message.body.to_string()).collect();
        assert!(said[0].contains("disk &lt;!here&gt;") && said[1].contains("hello") && said[2].contains("xxx"), "{said:?}");
        // The alarm is known for what it is.
        assert_eq!(case.own_report().await.fact("notUnderstood"), Some(2.0));
    });
}

#[test]
fn a_message_that_slack_does_not_take_is_posted_as_plain_text_once() {
    run(async {
        let case = Case::new(Way::Token).await;
        case.slack.fault(&Fault { error: Some("invalid_blocks".into()), ..Fault::default() });
        assert_eq!(case.deliver(reports(&["a"])).await, Vec::<String>::new());
        let message = &case.slack.messages()[0].body;
        assert!(message["blocks"].is_null() && message["text"].as_str().is_some_and(|text| text.contains("objectCorrupt")), "{message}");
        // Refused both ways: that one goes back, the next is posted.
        case.slack.fault(&Fault { error: Some("msg_blocks_too_long".into()), count: 2, ..Fault::default() });
        assert_eq!(case.deliver(reports(&["b", "c"])).await, ["b"]);
        assert_eq!(posted(&case.slack), ["a", "c"]);
        let own = case.own_report().await;
        assert_eq!((own.outcome, own.findings[0].kind), (Outcome::Attention, FindingKind::NotDelivered));
    });
}

#[test]
fn when_slack_asks_to_wait_we_wait_or_come_back() {
    run(async {
        let case = Case::new(Way::Webhook).await;
        case.slack.fault(&Fault { status: Some(429), retry_after: Some(1), ..Fault::default() });
        let began = tokio::time::Instant::now();
        assert_eq!(case.deliver(reports(&["a"])).await, Vec::<String>::new());
        assert!(began.elapsed() >= Duration::from_secs(1), "Retry-After is honoured");
        case.slack.fault(&Fault { status: Some(429), retry_after: Some(3_600), ..Fault::default() });
        assert_eq!(case.deliver(reports(&["b", "c"])).await, ["b", "c"], "an hour does not fit: nothing is tried again meanwhile");
        assert_eq!(posted(&case.slack), ["a"]);
        assert_eq!(case.deliver(reports(&["b", "c"])).await, Vec::<String>::new());
        assert_eq!(posted(&case.slack), ["a", "b", "c"]);
    });
}

#[test]
fn a_slack_with_trouble_of_its_own_loses_nothing() {
    run(async {
        let case = Case::new(Way::Token).await;
        // One bad answer is tried again at once.
        case.slack.fault(&Fault { status: Some(503), ..Fault::default() });
        assert_eq!(case.deliver(reports(&["a"])).await, Vec::<String>::new());
        // It is down: two are tried, the others are not kept waiting.
        case.slack.fault(&Fault { status: Some(500), count: 6, ..Fault::default() });
        assert_eq!(case.deliver(reports(&["b", "c", "d"])).await, ["b", "c", "d"]);
        assert_eq!(case.deliver(reports(&["b", "c", "d"])).await, Vec::<String>::new());
        // It took the message and the reply was lost: said twice is better than lost.
        case.slack.fault(&Fault { drop: true, ..Fault::default() });
        assert_eq!(case.deliver(reports(&["e"])).await, Vec::<String>::new());
        assert_eq!(posted(&case.slack)[..4], ["a", "b", "c", "d"]);
        assert!(posted(&case.slack)[4..].iter().all(|id| id == "e") && posted(&case.slack).len() > 4);
    });
}

#[test]
fn a_secret_that_slack_does_not_know_holds_everything_and_a_rotated_one_is_read_again() {
    run(async {
        for way in [Way::Token, Way::Webhook] {
            let case = Case::new(way).await;
            assert_eq!(case.deliver(reports(&["a"])).await, Vec::<String>::new());
            let right = secret(&case.slack, way).to_owned();
            let wrong = format!("{right}0000");
            // The process still holds the right one, so this alone changes nothing; a fault makes it ask again.
            put_secret(&case.bed, &wrong).await;
            let error = if matches!(way, Way::Token) { "token_revoked" } else { "invalid_token" };
            case.slack.fault(&Fault { error: Some(error.into()), status: matches!(way, Way::Webhook).then_some(403), ..Fault::default() });
            assert_eq!(case.deliver(reports(&["b", "c"])).await, ["b", "c"]);
            let own = case.own_report().await;
            assert_eq!((own.outcome, own.findings[0].kind), (Outcome::Failed, FindingKind::RunFailed));
            let text = serde_json::to_string(&own).expect("write");
            assert!(text.contains("does not accept the secret") && !text.contains(&right), "{text}");
            put_secret(&case.bed, &right).await;
            assert_eq!(case.deliver(reports(&["b", "c"])).await, Vec::<String>::new());
            assert_eq!(posted(&case.slack), ["a", "b", "c"]);
        }
    });
}

#[test]
fn a_missing_secret_or_channel_says_what_to_do() {
    run(async {
        let case = Case::new(Way::Token).await;
        aws_sdk_ssm::Client::new(&case.bed.config).delete_parameter().name(PARAMETER).send().await.expect("delete the secret");
        assert_eq!(case.deliver(reports(&["a"])).await, ["a"]);
        let finding = case.own_report().await.findings.remove(0);
        assert!(finding.seen.contains("ParameterNotFound") && finding.hint.is_some_and(|hint| hint.contains("put-parameter")), "{}", finding.seen);
        put_secret(&case.bed, &case.slack.token).await;
        case.slack.fault(&Fault { error: Some("channel_not_found".into()), ..Fault::default() });
        assert_eq!(case.deliver(reports(&["a", "b"])).await, ["a", "b"]);
        assert!(case.own_report().await.findings[0].hint.as_ref().is_some_and(|hint| hint.contains("SLACK_CHANNEL")));
        assert_eq!(case.deliver(reports(&["a", "b"])).await, Vec::<String>::new());
    });
}

#[test]
fn without_time_nothing_is_begun() {
    run(async {
        let case = Case::new(Way::Token).await;
        let reply = case.invoke_for(reports(&["a", "b"]), Duration::from_secs(3)).await.expect("a reply");
        assert_eq!((failures(&reply), posted(&case.slack)), (vec!["a".to_owned(), "b".to_owned()], Vec::new()));
    });
}

#[test]
fn the_shipped_binary_never_prints_the_secret() {
    run(async {
        for way in [Way::Webhook, Way::Token] {
            let (bed, slack) = (Bed::new().await, Slack::start(&Options::default()).await.expect("start Slack's stand-in"));
            let secret = secret(&slack, way).to_owned();
            put_secret(&bed, &secret).await;
            let mut environment = settings(&bed, &slack);
            let cloud =
                [("AWS_ENDPOINT_URL", bed.world.cloud.endpoint.as_str()), ("AWS_REGION", local::cloud::REGION), ("AWS_ACCESS_KEY_ID", &bed.account)];
            environment.extend(cloud.map(|(name, value)| (name.to_owned(), value.to_owned())));
            environment.extend(
                [("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_LAMBDA_LOG_LEVEL", "trace")].map(|(name, value)| (name.to_owned(), value.to_owned())),
            );
            let runner = Runner::start(&bed.world.function("notify-slack"), &environment).await.expect("start notify-slack");
            let said = |outcome: local::Outcome| match outcome {
                local::Outcome::Ok(reply) => failures(&reply),
                other => panic!("{other:?}"),
            };
            assert_eq!(said(runner.invoke(&reports(&["a"]), LIMIT).await), Vec::<String>::new());
            let (status, error) = if matches!(way, Way::Token) { (None, "token_revoked") } else { (Some(404), "no_service") };
            slack.fault(&Fault { status, error: Some(error.into()), ..Fault::default() });
            assert_eq!(said(runner.invoke(&reports(&["b"]), LIMIT).await), ["b"]);
            // Nobody listens any more.
            drop(slack);
            assert_eq!(said(runner.invoke(&reports(&["c"]), LIMIT).await), ["c"]);
            let (out, err) = runner.end().await;
            let printed = format!("{}{}", out.join("\n"), err.join("\n"));
            let tail = secret.rsplit(['/', '-']).next().expect("the secret part").to_owned();
            assert!(printed.contains("notify-slack") && tail.len() > 20, "{printed}");
            assert!(!printed.contains(&tail), "{way:?}: the secret was printed");
        }
    });
}

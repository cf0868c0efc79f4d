//! Consumers are told once, keep what is theirs, and say when they are done. And nothing of a value is in what they are told, or in what is said of them.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_ecs::types::{ContainerDefinition, DeploymentController, DeploymentControllerType};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, Runtime, State};
use chrono::{DateTime, Utc};
use local::proxy::Fault;
use rotate_secret::consumers::{Consumers, Progress, Told};
use rotate_secret::definition::Consumer;
use rotate_secret::identity::RotationId;
use rotate_secret::journal::Refresh;
use rotate_secret::remark::{Remark, Weight};
use shared::failure::{Failure, FailureKind};
use shared::secrets::SecretString;
use tests::world::{run, world};

use super::listener::Listener;
use super::store::{Place, secret};

/// A rotation that has published a value.
pub(super) struct Published {
    rotation: RotationId,
    value: SecretString,
    pub(super) at: DateTime<Utc>,
}

impl Published {
    pub(super) fn new(at: DateTime<Utc>) -> Self {
        Self { rotation: RotationId::new("shop", at, "a test"), value: secret("canary-canary"), at }
    }

    pub(super) fn told<'a>(&'a self, earlier: Option<&'a Refresh>) -> Told<'a> {
        Told { secret: "shop", rotation: &self.rotation, phase: 1, value: &self.value, published_at: self.at, earlier, now: local::host::now() }
    }
}

fn refused(remarks: &[Remark]) -> usize {
    assert!(remarks.iter().all(|remark| !remark.fix.is_empty()), "{remarks:?}");
    assert!(remarks.iter().any(|remark| remark.weight != Weight::Warning), "a look cannot tell everything: {remarks:?}");
    remarks.iter().filter(|remark| remark.weight == Weight::Refused).count()
}

fn is_silent(failure: &Failure) {
    assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
}

async fn service(ecs: &aws_sdk_ecs::Client, name: &str, controller: DeploymentControllerType) -> Consumer {
    ecs.create_cluster().cluster_name("shop").send().await.expect("a cluster");
    let container = ContainerDefinition::builder().name("web").image("web:1").build();
    ecs.register_task_definition().family("web").container_definitions(container).send().await.expect("a task definition");
    let controller = DeploymentController::builder().r#type(controller).build().expect("a controller");
    let create = ecs.create_service().cluster("shop").service_name(name).task_definition("web").desired_count(1).deployment_controller(controller);
    create.send().await.expect("a service");
    Consumer::Ecs { ecs: format!("shop/{name}") }
}

/// The local cloud tells a deployment's time in whole seconds: the moment before one that no deployment has begun in.
async fn next_second(ecs: &aws_sdk_ecs::Client) -> DateTime<Utc> {
    let begun = local::host::now().timestamp();
    for _ in 0..10_000 {
        let now = local::host::now();
        if now.timestamp() > begun {
            return DateTime::from_timestamp_millis(now.timestamp() * 1000 - 1).expect("a time");
        }
        ecs.describe_clusters().send().await.expect("an answer");
    }
    panic!("a second does not end");
}

#[test]
fn an_ecs_service_gets_one_deployment() {
    run(async {
        let place = Place::new().await;
        let ecs = aws_sdk_ecs::Client::new(&world().await.cloud.sdk_config(&place.account));
        let consumers = Consumers::new(&place.config).expect("consumers");
        let consumer = service(&ecs, "web", DeploymentControllerType::Ecs).await;
        let described = ecs.describe_services().cluster("shop").services("web").send().await.expect("describe");
        let first = described.services()[0].deployments()[0].id().map(str::to_owned);
        assert_eq!(refused(&consumers.check(&consumer, 100).await.expect("check")), 0);
        assert_eq!(place.proxy.count("ecs:UpdateService"), 0);
        let published = Published::new(next_second(&ecs).await);
        // The handle is lost before it is noted: the next invocation asks again.
        let refresh = consumers.begin(&consumer, published.told(None)).await.expect("begin");
        assert!(refresh.handle.is_some() && refresh.handle != first);
        let again = consumers.begin(&consumer, published.told(None)).await.expect("again");
        assert_eq!((again.handle.clone(), place.proxy.count("ecs:UpdateService")), (refresh.handle.clone(), 1));
        let calls = place.proxy.recorded().len();
        assert_eq!(consumers.begin(&consumer, published.told(Some(&refresh))).await.expect("noted"), refresh);
        assert_eq!(place.proxy.recorded().len(), calls, "what is noted is not asked for");
        done(&consumers, &consumer, &refresh).await;
        // Somebody deploys after us: theirs has read the new value, too.
        ecs.update_service().cluster("shop").service("web").force_new_deployment(true).send().await.expect("another");
        done(&consumers, &consumer, &refresh).await;
        // The next value is another one.
        let next = consumers.begin(&consumer, Published::new(local::host::now()).told(None)).await.expect("begin");
        assert_ne!(next.handle, refresh.handle);
        place.end().await;
    });
}

#[test]
fn what_cannot_be_deployed_from_here_is_refused_and_predicted() {
    run(async {
        let place = Place::new().await;
        let ecs = aws_sdk_ecs::Client::new(&world().await.cloud.sdk_config(&place.account));
        let consumers = Consumers::new(&place.config).expect("consumers");
        let external = service(&ecs, "external", DeploymentControllerType::External).await;
        let names = ["shop/missing", "missing/web", "web", "a/b/c"].map(|ecs| Consumer::Ecs { ecs: ecs.to_owned() });
        for consumer in names.iter().chain([&external]) {
            let published = Published::new(local::host::now());
            let failure = consumers.begin(consumer, published.told(None)).await.expect_err("refused");
            assert!(failure.kind == FailureKind::BadSettings && failure.hint.is_some(), "{consumer:?}: {failure}");
            is_silent(&failure);
            let predicted =
                consumers.check(consumer, 100).await.map_or(1, |remarks| remarks.iter().filter(|remark| remark.weight == Weight::Refused).count());
            assert_eq!(predicted, 1, "{consumer:?}");
        }
        assert_eq!(place.proxy.count("ecs:UpdateService"), 0);
        place.end().await;
    });
}

/// A role that a function may have.
async fn role(account: &str) {
    let trust = r#"{"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}]}"#;
    let template = format!(
        r#"{{"Resources": {{"Role": {{"Type": "AWS::IAM::Role", "Properties": {{"RoleName": "worker", "AssumeRolePolicyDocument": {trust}}}}}}}}}"#
    );
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
    std::fs::write(file.path(), template).expect("write the template");
    world().await.cloud.deploy(account, "role", file.path(), &serde_json::json!({})).await.expect("make a role");
}

/// The least that is an archive: one without a file.
fn empty_zip() -> Vec<u8> {
    let mut zip = b"PK\x05\x06".to_vec();
    zip.resize(22, 0);
    zip
}

async fn variables(lambda: &aws_sdk_lambda::Client) -> HashMap<String, String> {
    let configuration = lambda.get_function_configuration().function_name("worker").send().await.expect("the configuration");
    configuration.environment.and_then(|environment| environment.variables).unwrap_or_default()
}

const WRITE: &str = "lambda:UpdateFunctionConfiguration";

fn writes(place: &Place) -> usize {
    place.proxy.recorded().iter().filter(|call| call.operation == WRITE).count()
}

/// Hits the next write.
fn fail_next_write(place: &Place, fault: Fault) -> u64 {
    let nth = place.proxy.count(WRITE) + 1;
    place.proxy.fail(WRITE, nth, fault);
    nth
}

/// Looks until it is done.
pub(super) async fn done(consumers: &Consumers, consumer: &Consumer, refresh: &Refresh) {
    for _ in 0..10_000 {
        match consumers.look(consumer, refresh, local::host::now()).await.expect("look") {
            Progress::Done => return,
            Progress::UnderWay => {}
            Progress::Failed(why) => panic!("{why}"),
        }
    }
    panic!("{consumer:?} is never done");
}

async fn active(lambda: &aws_sdk_lambda::Client) {
    for _ in 0..10_000 {
        let configuration = lambda.get_function_configuration().function_name("worker").send().await.expect("the configuration");
        if configuration.state() == Some(&State::Active) {
            return;
        }
    }
    panic!("the function is never active");
}

/// Begins again as long as the consumer is in the middle of something else, as one invocation after the other does.
async fn begun_at_last(consumers: &Consumers, consumer: &Consumer, published: &Published) -> Refresh {
    for _ in 0..10_000 {
        match consumers.begin(consumer, published.told(None)).await {
            Ok(refresh) => return refresh,
            Err(failure) => assert_eq!(failure.kind, FailureKind::GaveWay, "{failure}"),
        }
    }
    panic!("{consumer:?} is never free");
}

#[test]
fn a_function_keeps_its_other_variables_whoever_writes_meanwhile() {
    run(async {
        let place = Place::new().await;
        let lambda = aws_sdk_lambda::Client::new(&world().await.cloud.sdk_config(&place.account));
        let consumers = Consumers::new(&place.config).expect("consumers");
        let consumer = Consumer::Lambda { lambda: "worker".to_owned(), variable: "DATABASE_URL".to_owned() };
        let missing = consumers.begin(&consumer, Published::new(local::host::now()).told(None)).await.expect_err("not there");
        assert!(missing.kind == FailureKind::BadSettings && missing.hint.is_some(), "{missing}");
        assert_eq!(refused(&consumers.check(&consumer, 100).await.expect("check")), 1);
        role(&place.account).await;
        let environment = Environment::builder().variables("A", "kept").variables("DATABASE_URL", "old").build();
        let create = lambda.create_function().function_name("worker").runtime(Runtime::Providedal2023).handler("bootstrap").environment(environment);
        let code = FunctionCode::builder().zip_file(Blob::new(empty_zip())).build();
        create.role(format!("arn:aws:iam::{}:role/worker", place.account)).code(code).send().await.expect("create");
        active(&lambda).await;
        assert_eq!(refused(&consumers.check(&consumer, 100).await.expect("check")), 0);
        assert_eq!(refused(&consumers.check(&consumer, 4096).await.expect("check")), 1);
        assert_eq!(writes(&place), 0);
        let published = Published::new(local::host::now());
        // The reply of the write is lost: what it did is seen, and not done again.
        fail_next_write(&place, Fault::LostReply);
        let refresh = begun_at_last(&consumers, &consumer, &published).await;
        done(&consumers, &consumer, &refresh).await;
        let found = variables(&lambda).await;
        assert_eq!((found.len(), found["A"].as_str(), found["DATABASE_URL"].as_str()), (2, "kept", "canary-canary"));
        let before = writes(&place);
        assert!(before >= 1);
        consumers.begin(&consumer, published.told(None)).await.expect("again");
        assert_eq!(writes(&place), before, "what it has is not written");
        let failure = {
            fail_next_write(&place, Fault::Denied);
            let other = Published { value: secret("canary-other"), ..Published::new(local::host::now()) };
            consumers.begin(&consumer, other.told(None)).await.expect_err("denied")
        };
        assert_eq!(failure.kind, FailureKind::Denied);
        is_silent(&failure);
        // Somebody writes between our reading and our writing: both are kept.
        let third = Published { value: secret("canary-third"), ..Published::new(local::host::now()) };
        let slow = fail_next_write(&place, Fault::Slow(Duration::from_secs(2)));
        let somebody = async {
            place.proxy.wait_for(WRITE, slow).await;
            let theirs = Environment::builder().variables("A", "changed").variables("B", "added").variables("DATABASE_URL", "canary-canary").build();
            lambda.update_function_configuration().function_name("worker").environment(theirs).send().await.expect("update");
        };
        let (begun, ()) = futures_util::future::join(consumers.begin(&consumer, third.told(None)), somebody).await;
        // Theirs may not be over yet.
        assert!(begun.as_ref().err().is_none_or(|failure| failure.kind == FailureKind::GaveWay), "{begun:?}");
        let refresh = begun_at_last(&consumers, &consumer, &third).await;
        done(&consumers, &consumer, &refresh).await;
        let found = variables(&lambda).await;
        assert_eq!((found.len(), found["A"].as_str(), found["B"].as_str(), found["DATABASE_URL"].as_str()), (3, "changed", "added", "canary-third"));
        let version = Consumer::Lambda { lambda: "worker:live".to_owned(), variable: "X".to_owned() };
        assert_eq!(refused(&[consumers.check(&version, 1).await.expect("check"), consumers.check(&consumer, 1).await.expect("check")].concat()), 1);
        place.end().await;
    });
}

fn answer(status: u16, headers: &str) -> (u16, String, String) {
    (status, headers.to_owned(), String::new())
}

#[test]
fn a_url_is_called_with_names_and_no_value() {
    run(async {
        let place = Place::new().await;
        let consumers = Consumers::new(&place.config).expect("consumers");
        let published = Published::new(local::host::now());
        let elsewhere = Listener::start(vec![answer(200, "")]).await;
        let hook = |listener: &Listener| Consumer::Url { url: format!("{}/hooks/canary?token=canary", listener.url) };
        let good = Listener::start(vec![answer(204, "")]).await;
        let refresh = consumers.begin(&hook(&good), published.told(None)).await.expect("2xx");
        assert_eq!(consumers.look(&hook(&good), &refresh, local::host::now()).await.expect("look"), Progress::Done);
        consumers.begin(&hook(&good), published.told(None)).await.expect("a second time");
        let asked = good.asked();
        let body: serde_json::Value = serde_json::from_str(&asked[0].body).expect("JSON");
        assert_eq!(body, serde_json::json!({"secret": "shop", "rotation": published.rotation}));
        assert!(asked[0].line.starts_with("POST /hooks/canary?token=canary "));
        let key = |at: usize| asked[at].headers.iter().find(|header| header.starts_with("idempotency-key: ")).cloned();
        assert!(asked.len() == 2 && key(0).is_some() && key(0) == key(1));
        let redirect = format!("Location: {}/\r\n", elsewhere.url);
        for (status, headers, kind) in
            [(302, redirect.as_str(), FailureKind::BadSettings), (404, "", FailureKind::BadSettings), (503, "", FailureKind::Unreachable)]
        {
            let listener = Listener::start(vec![answer(status, headers)]).await;
            let failure = consumers.begin(&hook(&listener), published.told(None)).await.expect_err("no 2xx");
            assert!(failure.kind == kind && failure.to_string().contains(&status.to_string()), "{failure}");
            is_silent(&failure);
        }
        assert!(elsewhere.asked().is_empty(), "a redirect is not followed");
        let gone = hook(&elsewhere);
        drop(elsewhere);
        let closed = Consumer::Url { url: "http://127.0.0.1:1/canary".to_owned() };
        let failure = consumers.begin(&closed, published.told(None)).await.expect_err("nobody is there");
        assert_eq!(failure.kind, FailureKind::Unreachable);
        is_silent(&failure);
        let clear = Consumer::Url { url: "http://hooks.example/canary".to_owned() };
        let failure = consumers.begin(&clear, published.told(None)).await.expect_err("in clear");
        assert_eq!(failure.kind, FailureKind::BadSettings);
        is_silent(&failure);
        assert_eq!((refused(&consumers.check(&clear, 1).await.expect("check")), refused(&consumers.check(&gone, 1).await.expect("check"))), (1, 0));
        place.end().await;
    });
}

//! A live value in Parameter Store: what a publication keeps, who it notices, what it costs, and what a look beforehand predicts.

use aws_sdk_ssm::types::{ParameterStringFilter, ParameterTier, ParameterType};
use local::proxy::{Fault, HttpProxy};
use rotate_secret::remark::Weight;
use rotate_secret::store::{Published, Store};
use serde_json::json;
use shared::failure::FailureKind;
use shared::secrets::{ExposeSecret, SecretString};
use tests::world::{run, unique, world};

use super::listener::Listener;

pub(super) const NAME: &str = "/shop/prod/DATABASE_URL";

/// An account of a test's own, seen through a proxy.
pub(super) struct Place {
    pub account: String,
    pub proxy: HttpProxy,
    pub config: aws_config::SdkConfig,
    pub ssm: aws_sdk_ssm::Client,
}

impl Place {
    pub(super) async fn new() -> Self {
        let cloud = &world().await.cloud;
        let account = format!("71{:010}", unique());
        let proxy = HttpProxy::start(&cloud.endpoint).await.expect("a proxy");
        let config = cloud.sdk_config_through(&proxy.url, &account);
        // Past the proxy: what the test does itself is not counted.
        let ssm = aws_sdk_ssm::Client::new(&cloud.sdk_config(&account));
        Self { account, proxy, config, ssm }
    }

    pub(super) async fn end(self) {
        world().await.cloud.drop_account(&self.account).await.expect("drop the account");
    }

    fn store(&self) -> Store {
        Store::new(&self.config, Some(NAME), None).expect("a store")
    }

    async fn put(&self, value: &str) -> i64 {
        let put = self.ssm.put_parameter().name(NAME).value(value).r#type(ParameterType::SecureString).overwrite(true);
        put.send().await.expect("put").version
    }

    async fn get(&self) -> String {
        let answer = self.ssm.get_parameter().name(NAME).with_decryption(true).send().await.expect("get");
        answer.parameter.and_then(|parameter| parameter.value).expect("a value")
    }

    async fn described(&self) -> aws_sdk_ssm::types::ParameterMetadata {
        let filter = ParameterStringFilter::builder().key("Name").option("Equals").values(NAME).build().expect("a filter");
        let answer = self.ssm.describe_parameters().parameter_filters(filter).send().await.expect("describe");
        answer.parameters.unwrap_or_default().remove(0)
    }
}

pub(super) fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

/// Clients' configuration for a listener.
pub(super) fn elsewhere(url: &str) -> aws_config::SdkConfig {
    let credentials = aws_sdk_ssm::config::Credentials::new("1", "test", None, None, "a test");
    let provider = aws_sdk_ssm::config::SharedCredentialsProvider::new(credentials);
    let builder = aws_config::SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::v2026_01_12());
    builder.region(aws_config::Region::from_static(local::cloud::REGION)).endpoint_url(url).credentials_provider(provider).build()
}

async fn key(place: &Place) -> String {
    let kms = aws_sdk_kms::Client::new(&world().await.cloud.sdk_config(&place.account));
    kms.create_key().send().await.expect("a key").key_metadata.expect("its metadata").arn.expect("an ARN")
}

#[test]
fn a_publication_keeps_everything_but_the_value() {
    run(async {
        let place = Place::new().await;
        let key = key(&place).await;
        let put = place.ssm.put_parameter().name(NAME).value("one").r#type(ParameterType::SecureString).key_id(&key);
        put.tier(ParameterTier::Advanced).description("the shop's database").allowed_pattern(".*").send().await.expect("put");
        let store = place.store();
        let live = store.live().await.expect("live");
        assert_eq!((live.value.expose_secret(), live.version.as_str(), live.changed_at.is_some()), ("one", "1", true));
        let published = store.publish(&secret("two"), &live.version, None).await.expect("publish");
        assert_eq!(published, Published { version: "2".into(), overtaken: false });
        let after = place.described().await;
        assert_eq!(place.get().await, "two");
        assert_eq!((after.key_id(), after.tier(), after.version), (Some(key.as_str()), Some(&ParameterTier::Advanced), 2));
        assert_eq!(
            (after.r#type(), after.description(), after.allowed_pattern()),
            (Some(&ParameterType::SecureString), Some("the shop's database"), Some(".*"))
        );
        // The trap is there: what a careless write does not say again is lost.
        place.put("three").await;
        assert_eq!(place.described().await.key_id(), Some("alias/aws/ssm"));
        place.end().await;
    });
}

#[test]
fn between_the_commit_and_the_publication_there_are_two_calls() {
    run(async {
        let place = Place::new().await;
        place.put("one").await;
        let store = place.store();
        store.live().await.expect("live");
        store.prepare().await.expect("prepare");
        let before = place.proxy.recorded().len();
        let live = store.live().await.expect("live");
        store.publish(&secret("two"), &live.version, None).await.expect("publish");
        let calls: Vec<String> = place.proxy.recorded()[before..].iter().map(|call| call.operation.clone()).collect();
        // The last one is the look whether it is there.
        assert_eq!(calls, ["ssm:GetParameter", "ssm:PutParameter", "ssm:GetParameter"]);
        assert_eq!(place.proxy.recorded().len(), 5);
        place.end().await;
    });
}

#[test]
fn somebody_who_writes_meanwhile_is_noticed_and_a_lost_reply_is_not_somebody() {
    run(async {
        let place = Place::new().await;
        place.put("one").await;
        let store = place.store();
        let live = store.live().await.expect("live");
        place.put("by hand").await;
        let published = store.publish(&secret("two"), &live.version, None).await.expect("publish");
        assert_eq!(published, Published { version: "3".into(), overtaken: true });
        assert_eq!(store.live().await.expect("live").value.expose_secret(), "two");
        // The reply is lost, and the client asks again: two versions, both ours.
        let nth = place.proxy.count("ssm:PutParameter") + 1;
        place.proxy.fail("ssm:PutParameter", nth, Fault::LostReply);
        let published = store.publish(&secret("three"), "3", None).await.expect("publish");
        assert_eq!(published, Published { version: "5".into(), overtaken: false });
        place.end().await;
    });
}

/// Answers of Parameter Store in the order of time are rare for a moment; here they are out of it on demand.
#[test]
fn an_answer_older_than_what_is_known_is_asked_for_again_and_never_believed() {
    run(async {
        let answer = |version: u32, value: &str| {
            let body = json!({"Parameter": {"Name": NAME, "Type": "SecureString", "Value": value, "Version": version}});
            (200, "Content-Type: application/x-amz-json-1.1\r\n".to_owned(), body.to_string())
        };
        let moment = Listener::start(vec![answer(7, "new"), answer(6, "canary"), answer(6, "canary"), answer(7, "new")]).await;
        let store = Store::new(&elsewhere(&moment.url), Some(NAME), None).expect("a store");
        assert_eq!(store.live().await.expect("live").version, "7");
        assert_eq!(store.live().await.expect("again").value.expose_secret(), "new");
        assert_eq!(moment.asked().len(), 4);
        let lasting = Listener::start(vec![answer(7, "new"), answer(6, "canary")]).await;
        let store = Store::new(&elsewhere(&lasting.url), Some(NAME), None).expect("a store");
        assert_eq!(store.live().await.expect("live").version, "7");
        let failure = store.live().await.expect_err("never believed");
        assert_eq!(failure.kind, FailureKind::Unreachable);
        assert!(!format!("{failure:?}").contains("canary") && lasting.asked().len() == 7, "{failure:?}");
        // What expires is refused; the local cloud knows no policies.
        let policy = json!({"PolicyText": "{\"Type\":\"Expiration\"}", "PolicyType": "Expiration", "PolicyStatus": "Pending"});
        let described = json!({"Parameters": [{"Name": NAME, "Type": "SecureString", "Tier": "Advanced", "Version": 3, "Policies": [policy]}]});
        let expiring = Listener::start(vec![(200, String::new(), described.to_string())]).await;
        let remarks = Store::new(&elsewhere(&expiring.url), Some(NAME), None).expect("a store").check(10).await.expect("check");
        assert!(remarks.iter().any(|remark| remark.weight == Weight::Refused && remark.what.contains("expiration")), "{remarks:?}");
    });
}

#[test]
fn a_look_beforehand_predicts_and_writes_nothing() {
    run(async {
        let place = Place::new().await;
        let refused = async |store: &Store, bytes: usize, word: &str| {
            let remarks = store.check(bytes).await.expect("check");
            let found: Vec<_> = remarks.iter().filter(|remark| remark.weight != Weight::Unpredictable).collect();
            assert!(remarks.iter().all(|remark| !remark.fix.is_empty()), "{remarks:?}");
            if word.is_empty() {
                assert!(found.is_empty(), "{remarks:?}");
            } else {
                assert!(found.len() == 1 && found[0].what.contains(word), "{word}: {remarks:?}");
            }
        };
        let store = place.store();
        assert_eq!(store.check(10).await.expect_err("it is not there").kind, FailureKind::BadSettings);
        place.ssm.put_parameter().name(NAME).value("one").r#type(ParameterType::String).send().await.expect("put");
        refused(&store, 10, "is a String").await;
        let key = key(&place).await;
        place.ssm.delete_parameter().name(NAME).send().await.expect("delete");
        place.ssm.put_parameter().name(NAME).value("one").r#type(ParameterType::SecureString).key_id(&key).send().await.expect("put");
        refused(&store, 10, "").await;
        refused(&store, 4096, "").await;
        refused(&store, 4097, "4097 bytes").await;
        let kms = aws_sdk_kms::Client::new(&world().await.cloud.sdk_config(&place.account));
        kms.disable_key().key_id(&key).send().await.expect("disable");
        refused(&store, 10, "cannot be used").await;
        kms.enable_key().key_id(&key).send().await.expect("enable");
        let first = place.put("first").await;
        place.ssm.label_parameter_version().name(NAME).parameter_version(first).labels("keep").send().await.expect("label");
        for number in 3..=101 {
            place.put(&format!("value {number}")).await;
        }
        // The first version of all has gone; the labelled one is the oldest now.
        refused(&store, 10, "has a label (keep)").await;
        let live = store.live().await.expect("live");
        let failure = store.publish(&secret("canary-canary"), &live.version, None).await.expect_err("as predicted");
        assert!(failure.to_string().contains("ParameterMaxVersionLimitExceeded") && failure.hint.is_some(), "{failure}");
        assert!(!format!("{failure:?}").contains("canary"));
        let wrote = place.proxy.recorded().into_iter().filter(|call| call.operation != "ssm:PutParameter" && call.status == Some(200));
        assert!(
            wrote.into_iter().all(|call| ["Get", "Describe"].iter().any(|verb| call
                .operation
                .split(':')
                .nth(1)
                .is_some_and(|name| name.starts_with(verb))))
        );
        assert_eq!(place.proxy.count("ssm:PutParameter"), 1, "the publication alone");
        place.end().await;
    });
}

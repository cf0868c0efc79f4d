//! A live value in Secrets Manager: staged under a token, published by moving a label, and both once however often they are asked for.

use local::proxy::Fault;
use rotate_secret::remark::Weight;
use rotate_secret::store::{Described, Preamble, Published, SecretsManager, Step, Store, preamble};
use serde_json::{Value, json};
use shared::failure::FailureKind;
use shared::secrets::ExposeSecret;
use tests::world::{run, world};

use super::listener::Listener;
use super::store::{Place, elsewhere, secret};

const ID: &str = "shop/prod/database";
const TOKEN: &str = "11111111-2222-4333-8444-555555555555";

async fn client(place: &Place) -> aws_sdk_secretsmanager::Client {
    aws_sdk_secretsmanager::Client::new(&world().await.cloud.sdk_config(&place.account))
}

fn manager(store: &Store) -> &SecretsManager {
    match store {
        Store::Secret(manager) => manager,
        Store::Parameter(_) => panic!("a secret was asked for"),
    }
}

#[test]
fn a_value_is_staged_once_and_published_once() {
    run(async {
        let place = Place::new().await;
        let client = client(&place).await;
        client.create_secret().name(ID).secret_string("one").send().await.expect("create");
        let store = Store::new(&place.config, None, Some(ID)).expect("a store");
        let live = store.live().await.expect("live");
        assert_eq!(live.value.expose_secret(), "one");
        assert!(manager(&store).pending(TOKEN).await.expect("pending").is_none());
        // The reply is lost: the same call again finds what is there.
        place.proxy.fail("secretsmanager:PutSecretValue", 1, Fault::LostReply);
        let staged = manager(&store).stage_pending(TOKEN, &secret("two")).await.expect("stage");
        assert_eq!(staged.value.expose_secret(), "two");
        // With another value, too: what is there is taken.
        let staged = manager(&store).stage_pending(TOKEN, &secret("canary")).await.expect("stage");
        assert_eq!((staged.value.expose_secret(), staged.adopted), ("two", true));
        assert_eq!(store.live().await.expect("live").value.expose_secret(), "one", "nothing but the live value is read");
        // Not what was staged: nothing is published.
        let failure = store.publish(&secret("canary"), &live.version, Some(TOKEN)).await.expect_err("another value");
        assert!(failure.kind == FailureKind::Conflict && !format!("{failure:?}").contains("canary"), "{failure:?}");
        for time in 0..3 {
            let before = place.proxy.recorded().len();
            let published = store.publish(&secret("two"), &live.version, Some(TOKEN)).await.expect("publish");
            assert_eq!(published, Published { version: TOKEN.into(), overtaken: false });
            assert_eq!(place.proxy.recorded().len() - before, 3, "the {time}. time");
        }
        assert_eq!(store.live().await.expect("live").value.expose_secret(), "two");
        let described = manager(&store).describe().await.expect("describe");
        assert_eq!(described.current(), Some(TOKEN));
        place.end().await;
    });
}

#[test]
fn a_publication_does_not_overrun_somebody() {
    run(async {
        let place = Place::new().await;
        let client = client(&place).await;
        client.create_secret().name(ID).secret_string("one").send().await.expect("create");
        let store = Store::new(&place.config, None, Some(ID)).expect("a store");
        let live = store.live().await.expect("live");
        manager(&store).stage_pending(TOKEN, &secret("two")).await.expect("stage");
        client.put_secret_value().secret_id(ID).secret_string("by hand").send().await.expect("put");
        let failure = store.publish(&secret("two"), &live.version, Some(TOKEN)).await.expect_err("somebody else wrote");
        assert_eq!(failure.kind, FailureKind::Conflict, "{failure}");
        assert_eq!(store.live().await.expect("live").value.expose_secret(), "by hand");
        place.end().await;
    });
}

/// RotateSecret leaves a version that is staged and has no value. Services have answered for it in two ways.
#[test]
fn an_empty_pending_version_is_filled() {
    run(async {
        let json = "Content-Type: application/x-amz-json-1.1\r\n".to_owned();
        let not_found = json!({"__type": "ResourceNotFoundException", "Message": "Secrets Manager can't find the specified secret value"});
        let empty = json!({"Name": ID, "VersionId": TOKEN, "VersionStages": ["AWSPENDING"]});
        for (status, answer) in [(400, not_found), (200, empty)] {
            let put = json!({"Name": ID, "VersionId": TOKEN, "VersionStages": ["AWSPENDING"]});
            let listener = Listener::start(vec![(status, json.clone(), answer.to_string()), (200, json.clone(), put.to_string())]).await;
            let store = Store::new(&elsewhere(&listener.url), None, Some(ID)).expect("a store");
            let staged = manager(&store).stage_pending(TOKEN, &secret("two")).await.expect("stage");
            assert_eq!((staged.value.expose_secret(), staged.adopted), ("two", false));
            let asked: Value = serde_json::from_str(&listener.asked()[1].body).expect("JSON");
            assert_eq!(asked, json!({"SecretId": ID, "ClientRequestToken": TOKEN, "SecretString": "two", "VersionStages": ["AWSPENDING"]}));
        }
    });
}

#[test]
fn the_contract_is_kept_over_what_the_service_describes() {
    run(async {
        let place = Place::new().await;
        let client = client(&place).await;
        client.create_secret().name(ID).secret_string("one").send().await.expect("create");
        let store = Store::new(&place.config, None, Some(ID)).expect("a store");
        let described = async || Described { rotation_enabled: Some(true), ..manager(&store).describe().await.expect("describe") };
        assert!(preamble("createSecret", TOKEN, &described().await).is_err(), "nothing is staged");
        manager(&store).stage_pending(TOKEN, &secret("two")).await.expect("stage");
        assert_eq!(described().await.pending(), Some(TOKEN));
        assert_eq!(preamble("create_secret", TOKEN, &described().await), Ok(Preamble::Do(Step::Create)));
        let warned = store.check(10).await.expect("check");
        assert!(warned.iter().any(|remark| remark.weight == Weight::Warning && remark.what.contains("did not end")), "{warned:?}");
        let live = store.live().await.expect("live");
        store.publish(&secret("two"), &live.version, Some(TOKEN)).await.expect("publish");
        for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
            assert_eq!(preamble(step, TOKEN, &described().await), Ok(Preamble::NothingToDo));
        }
        let remarks = store.check(10).await.expect("check");
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        // A binary value has no user and no password.
        client.put_secret_value().secret_id(ID).secret_binary(aws_sdk_secretsmanager::primitives::Blob::new("x")).send().await.expect("put");
        let failure = Store::new(&place.config, None, Some(ID)).expect("a store").live().await.expect_err("binary");
        assert_eq!(failure.kind, FailureKind::BadSettings);
        place.end().await;
    });
}

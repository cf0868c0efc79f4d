//! Journals: written once by one, read back, found again, and never believed when they are old, foreign or of a newer form.

use std::path::Path;

use aws_sdk_ssm::types::ParameterType;
use chrono::{DateTime, Utc};
use local::proxy::Fault;
use rotate_secret::identity::RotationId;
use rotate_secret::journal::{Closed, Journal, Kept, Outcome, Purpose, SCHEMA};
use rotate_secret::store::Journals;
use serde_json::json;
use shared::failure::FailureKind;
use tests::world::run;

use super::listener::Listener;
use super::store::{Place, elsewhere, secret};

const PATH: &str = "/lifeboat/dev/rotations";

fn journal(name: &str, distinguishing: &str) -> Journal {
    let opened_at: DateTime<Utc> = "2026-11-23T02:00:00Z".parse().expect("a time");
    Journal {
        schema: SCHEMA,
        secret: name.to_owned(),
        rotation: RotationId::new(name, opened_at, distinguishing),
        purpose: Purpose::Rotation,
        opened_at,
        live_version: "1".to_owned(),
        user: Some("shop_b".to_owned()),
        old_user: Some("shop_a".to_owned()),
        pending: Some(Kept(secret("canary-pending"))),
        previous: Some(Kept(secret("canary-previous"))),
        token: None,
        phase: 1,
        published_at: None,
        published_version: None,
        refreshed_at: None,
        refreshes: Vec::new(),
        closed: None,
    }
}

fn closed(mut journal: Journal) -> Journal {
    journal.closed = Some(Closed { at: journal.opened_at, outcome: Outcome::Done, reason: "done".to_owned() });
    (journal.pending, journal.previous) = (None, None);
    journal
}

#[test]
fn a_journal_is_begun_by_one_and_found_by_all() {
    run(async {
        let place = Place::new().await;
        let (ours, others) = (Journals::new(&place.config, "dev", None), Journals::new(&place.config, "dev", None));
        assert_eq!(ours.read("shop").await.expect("read"), None);
        assert_eq!(others.read("shop").await.expect("read"), None);
        ours.write(&journal("shop", "ours")).await.expect("begin");
        // Put once, read back once; the two reads before.
        assert_eq!((place.proxy.count("ssm:PutParameter"), place.proxy.count("ssm:GetParameter")), (1, 3));
        let failure = others.write(&journal("shop", "others")).await.expect_err("it is begun");
        assert_eq!(failure.kind, FailureKind::Conflict);
        assert!(!format!("{failure:?}").contains("canary"));
        assert_eq!(others.read("shop").await.expect("read"), Some(journal("shop", "ours")));
        // The other goes on with it; then we are the ones who come too late.
        let mut noted = journal("shop", "ours");
        noted.published_at = Some(noted.opened_at);
        others.note(&noted).await.expect("note");
        assert_eq!(ours.note(&closed(noted.clone())).await.expect_err("overtaken").kind, FailureKind::Conflict);
        let stored = place.ssm.get_parameter().name(format!("{PATH}/shop")).send().await.expect("get").parameter.expect("a parameter");
        assert_eq!(stored.r#type, Some(ParameterType::SecureString));
        assert!(!stored.value.expect("a value").contains("canary"), "encrypted");
        place.end().await;
    });
}

/// Between the writing and the look whether it is there, somebody else may write; and what is read may not be what was written.
#[test]
fn what_is_read_back_must_be_what_was_written() {
    run(async {
        let answer = |body: serde_json::Value| (200, "Content-Type: application/x-amz-json-1.1\r\n".to_owned(), body.to_string());
        let missing = (400, String::new(), json!({"__type": "ParameterNotFound"}).to_string());
        let put = answer(json!({"Version": 1, "Tier": "Standard"}));
        let text = serde_json::to_string(&journal("shop", "ours")).expect("JSON");
        for (version, text, expected) in [
            (1, text.as_str(), None),
            (1, "canary", Some(FailureKind::Corrupt)),
            (2, text.as_str(), Some(FailureKind::Conflict)),
            (2, "canary", Some(FailureKind::Conflict)),
        ] {
            let get = answer(json!({"Parameter": {"Name": "shop", "Type": "SecureString", "Value": text, "Version": version}}));
            let listener = Listener::start(vec![missing.clone(), put.clone(), get]).await;
            let journals = Journals::new(&elsewhere(&listener.url), "dev", Some("the-key"));
            assert_eq!(journals.read("shop").await.expect("read"), None);
            let failure = journals.write(&journal("shop", "ours")).await.err();
            assert_eq!(failure.as_ref().map(|failure| failure.kind), expected);
            assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
            let asked: serde_json::Value = serde_json::from_str(&listener.asked()[1].body).expect("JSON");
            assert_eq!((&asked["KeyId"], &asked["Overwrite"], &asked["Type"]), (&json!("the-key"), &json!(false), &json!("SecureString")));
        }
    });
}

#[test]
fn a_lost_reply_is_nobody_else() {
    run(async {
        let place = Place::new().await;
        let journals = Journals::new(&place.config, "dev", None);
        assert_eq!(journals.read("shop").await.expect("read"), None);
        place.proxy.fail("ssm:PutParameter", 1, Fault::LostReply);
        journals.write(&journal("shop", "ours")).await.expect("begin");
        place.proxy.fail("ssm:PutParameter", place.proxy.count("ssm:PutParameter") + 1, Fault::LostReply);
        journals.write(&closed(journal("shop", "ours"))).await.expect("end");
        assert_eq!(Journals::new(&place.config, "dev", None).read("shop").await.expect("read"), Some(closed(journal("shop", "ours"))));
        // And a write that is refused has not happened.
        place.proxy.fail("ssm:PutParameter", place.proxy.count("ssm:PutParameter") + 1, Fault::Denied);
        let failure = journals.write(&journal("shop", "next")).await.expect_err("denied");
        assert!(failure.kind == FailureKind::Denied && failure.to_string().contains("ssm:PutParameter"), "{failure}");
        journals.write(&journal("shop", "next")).await.expect("the next one");
        place.end().await;
    });
}

#[test]
fn open_journals_are_found_and_one_that_is_not_understood_keeps_nothing_back() {
    run(async {
        let place = Place::new().await;
        let journals = Journals::new(&place.config, "dev", None);
        assert!(journals.open_ones().await.expect("none").open.is_empty());
        for number in 0..12 {
            let journal = journal(&format!("shop-{number:02}"), "x");
            let journal = if number % 2 == 0 { journal } else { closed(journal) };
            assert_eq!(journals.read(&journal.secret).await.expect("read"), None);
            journals.write(&journal).await.expect("write");
        }
        let put = async |name: &str, text: &str| {
            place.ssm.put_parameter().name(format!("{PATH}/{name}")).value(text).r#type(ParameterType::SecureString).send().await.expect("put");
        };
        put("newer", &serde_json::to_string(&journal("newer", "x")).expect("JSON").replace("\"schema\":1", "\"schema\":2")).await;
        put("garbage", "{\"schema\": 1, \"secret\": [\"canary\"]}").await;
        put("moved", &serde_json::to_string(&journal("elsewhere", "x")).expect("JSON")).await;
        put("deeper/one", "canary").await;
        let before = place.proxy.count("ssm:GetParametersByPath");
        let found = journals.open_ones().await.expect("open ones");
        let open: Vec<&str> = found.open.iter().map(|journal| journal.secret.as_str()).collect();
        assert_eq!(open, ["shop-00", "shop-02", "shop-04", "shop-06", "shop-08", "shop-10"]);
        let refused: Vec<&str> = found.refused.iter().filter_map(|(name, _)| Path::new(name).file_name()?.to_str()).collect();
        assert_eq!(refused, ["garbage", "moved", "newer"]);
        assert!(!format!("{:?}", found.refused).contains("canary") && !format!("{:?}", found.open).contains("canary"));
        assert_eq!(place.proxy.count("ssm:GetParametersByPath") - before, 2);
        let failure = journals.read("newer").await.expect_err("newer");
        assert!(failure.kind == FailureKind::WrongVersion && failure.hint.is_some(), "{failure}");
        // A name cannot lead to another place.
        for name in ["", "a/b", "../x", "a b", "a:1", "ä"] {
            assert_eq!(journals.read(name).await.expect_err(name).kind, FailureKind::BadSettings);
        }
        place.end().await;
    });
}

//! A deployed stack rotates: a pair of users, one user, keys; an incident, and what a restore brings back.

use local::database;
use serde_json::{Value, json};
use tests::drills::stage::PATIENCE;
use tests::turns::shop::{FIRST, KEYS, PAIR, Shop};
use tests::world::run;

fn event(path: &str) -> Value {
    let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).expect("read the event");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_pair_takes_turns_and_the_old_one_dies() {
    run(async {
        let shop = Shop::new(PAIR).await;
        let (user, first) = shop.live().await;
        assert_eq!(user, "shop_a");
        let report = shop.ask(event("events/rotate-secret/rotate-dry-run.json")).await;
        assert!(report.findings.iter().all(|finding| finding.kind.name() == "notPredictable"), "{report:#?}");
        assert_eq!(shop.live().await.1, first, "a dry run writes nothing");
        let calls = shop.stage.cloud.calls(&shop.stage.account, 0).await.expect("the calls");
        let calls: Vec<_> = calls.into_iter().filter(|call| call.principal.contains("RotateSecretRole")).collect();
        // Its log apart.
        let only_looks = |action: &str| {
            ["logs:", "ssm:Get", "ssm:Describe", "rds:Describe", "secretsmanager:Get", "secretsmanager:Describe", "kms:Decrypt", "kms:Describe"]
                .iter()
                .any(|look| action.starts_with(look))
        };
        assert!(!calls.is_empty() && calls.iter().all(|call| only_looks(&call.action)), "{calls:#?}");
        let report = shop.ask(event("events/rotate-secret/rotate.json")).await;
        assert!(report.findings.is_empty(), "{report:#?}");
        let (user, second) = shop.live().await;
        assert_eq!(user, "shop_b");
        assert!(!shop.logs_in(&first).await, "the old credential is dead");
        let journal = shop.journal("shop").await;
        assert_eq!(journal["closed"]["outcome"], "done", "{journal:#}");
        assert!(journal.get("pending").is_none() && journal.get("previous").is_none(), "a closed journal keeps no secret");
        let told = shop.stage.slack.wait_for(PATIENCE, |message| message.body.to_string().contains("the new credential is in use")).await;
        assert!(!told.expect("a message").body.to_string().contains(FIRST));

        // Again: the first user comes back with another password; and with what is left of a session the old one stays until it is gone.
        let straggler = database::connect(&shop.stage.instance, &second).await.expect("a straggler");
        let report = shop.ask(event("events/rotate-secret/rotate.json")).await;
        assert!(report.findings.is_empty() && report.summary.contains("still logged in with the old credential: 1 of"), "{report:#?}");
        assert_eq!(shop.live().await.0, "shop_a");
        assert!(shop.logs_in(&second).await, "the straggler may come again");
        drop(straggler);
        let report = shop.ask(event("events/rotate-secret/sweep-scheduled.json")).await;
        assert!(report.findings.is_empty(), "{report:#?}");
        assert!(!shop.logs_in(&second).await);

        // A restore brings old passwords back: database and value are made to agree.
        let (_, live) = shop.live().await;
        shop.stage
            .sql("ALTER ROLE shop_a PASSWORD 'of-another-time'; ALTER ROLE shop_b LOGIN PASSWORD 'of-another-time'; COMMENT ON ROLE shop_b IS NULL")
            .await;
        assert!(!shop.logs_in(&live).await);
        let report = shop.ask(event("events/rotate-secret/reconcile-dry-run.json")).await;
        assert!(report.summary.contains("would be set again"), "{report:#?}");
        let report = shop.ask(event("events/rotate-secret/reconcile.json")).await;
        assert!(report.findings.is_empty() && report.summary.contains("accepts the live value again"), "{report:#?}");
        assert_eq!(shop.live().await, ("shop_a".to_owned(), live));

        // An incident: as soon as the new value is out. Another: at once.
        let report = shop.ask(event("events/rotate-secret/incident.json")).await;
        assert!(report.findings.is_empty(), "{report:#?}");
        let (user, _) = shop.live().await;
        assert_eq!(user, "shop_b");

        // An incident locks the stolen credential out, sessions and all.
        let (_, stolen) = shop.live().await;
        let mut thief = database::connect(&shop.stage.instance, &stolen).await.expect("a thief");
        let report = shop.ask(event("events/rotate-secret/incident-now.json")).await;
        assert!(report.findings.is_empty(), "{report:#?}");
        assert!(database::run(&mut thief, "SELECT 1").await.is_err() && !shop.logs_in(&stolen).await);
        assert_eq!(shop.live().await.0, "shop_a");
        let record = report.links.iter().find(|link| link.target.contains("/rotations/shop/")).expect("a record");
        let key = record.target.splitn(4, '/').nth(3).expect("a key");
        let record = String::from_utf8(shop.stage.store.get(key).await.expect("read").expect("a record")).expect("text");
        assert!(record.contains("refused with 28") && !record.contains("never-to-be-printed"), "{record}");
        shop.ask(event("events/rotate-secret/status-scheduled.json")).await;
        let calls = shop.stage.cloud.calls(&shop.stage.account, 0).await.expect("the calls");
        crate::permissions::none_was_missing(&calls);
        crate::permissions::none_is_idle(&calls, |role| role.starts_with("RotateSecret"));
        shop.stage.end().await;
    });
}

#[test]
fn one_user_and_keys_are_rotated_too() {
    run(async {
        let shop =
            Shop::new("[[database]]\nname = \"shop\"\nparameter = \"/shop/dev/DATABASE_URL\"\nuser = \"shop_a\"\ncadence = \"monthly\"\n").await;
        let (_, first) = shop.live().await;
        let report = shop.ask(event("events/rotate-secret/rotate-scheduled.json")).await;
        assert!(report.findings.is_empty(), "{report:#?}");
        let (user, second) = shop.live().await;
        assert!(user == "shop_a" && first != second && !shop.logs_in(&first).await);
        // A second delivery of the same slot is the same rotation.
        let report = shop.ask(event("events/rotate-secret/rotate-scheduled.json")).await;
        assert!(report.summary.contains("has ended before"), "{report:#?}");
        assert_eq!(shop.live().await.1, second);

        let report = shop.ask(json!({"kind": "rotate", "secret": "session"})).await;
        assert!(report.findings.is_empty(), "{report:#?}");
        let keys: Value = serde_json::from_str(&shop.get(KEYS).await).expect("JSON");
        assert!(keys["SECRET_KEY"] != "k1" && keys["SECRET_KEY_FALLBACKS"] == json!([]) && keys["OTHER"] == 1, "{keys}");
        // First accepted, then signing, then alone: three values, one after the other.
        let history = shop.ssm.get_parameter_history().name(KEYS).with_decryption(true).send().await.expect("the history");
        assert_eq!(history.parameters().len(), 4);

        let report = shop.ask(event("events/rotate-secret/status-scheduled.json")).await;
        assert_eq!(
            (report.fact("secrets"), report.fact("secretsOverdue"), report.fact("rotationsOpen")),
            (Some(2.0), Some(0.0), Some(0.0)),
            "{report:#?}"
        );
        let step =
            shop.stage.ask("RotateSecretFunctionName", &event("events/rotate-secret/secrets-manager-create.json")).await.expect_err("no such secret");
        assert!(step.to_string().contains("no definition is of the secret"), "{step}");
        let wrong = shop.stage.ask("RotateSecretFunctionName", &json!({"kind": "rotate", "secret": "shp"})).await.expect_err("a wrong name");
        assert!(wrong.to_string().contains("there are: shop, session"), "{wrong}");
        shop.stage.end().await;
    });
}

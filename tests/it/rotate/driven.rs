//! Secrets Manager drives: its four steps in their order, repeated, out of order, alone; and the real service's own calls.

use aws_sdk_secretsmanager::types::RotationRulesType;
use local::database;
use local::secret::RotationStep;
use serde_json::{Value, json};
use tests::drills::stage::DATABASE;
use tests::turns::shop::{FIRST, Shop};
use tests::world::run;

const SECRET: &str = "shop/dev/database";
const DEFINITION: &str = r#"
[[database]]
name = "shop"
secret = "shop/dev/database"
users = ["shop_a", "shop_b"]
grace-hours = 0
fields = {}
"#;

/// A shop whose credential lies in Secrets Manager.
struct Driven {
    shop: Shop,
    secrets: aws_sdk_secretsmanager::Client,
}

impl Driven {
    async fn new() -> Self {
        let mut shop = Shop::new(DEFINITION).await;
        let secrets = aws_sdk_secretsmanager::Client::new(&shop.stage.cloud.sdk_config(&shop.stage.account));
        let (host, port) = (&shop.stage.instance.host, shop.stage.instance.port);
        let value =
            json!({"engine": "postgres", "host": host, "port": port, "username": "shop_a", "password": FIRST, "dbname": DATABASE, "note": "kept"});
        let made = secrets.create_secret().name(SECRET).secret_string(value.to_string()).send().await.expect("create the secret");
        shop.stage.redeploy(vec![("RotatedSecretArns", made.arn().expect("an ARN").to_owned())]).await;
        Self { shop, secrets }
    }

    async fn value(&self, stage: &str) -> Value {
        let answer = self.secrets.get_secret_value().secret_id(SECRET).version_stage(stage).send().await.expect("read the secret");
        serde_json::from_str(answer.secret_string().expect("a text")).expect("JSON")
    }

    async fn logs_in(&self, value: &Value) -> bool {
        let field = |name: &str| value[name].as_str().expect("a text").to_owned();
        let url = database::with_user(&self.shop.stage.instance.master_url, &field("username"), &field("password")).expect("a URL");
        self.shop.logs_in(&database::with_database(&url, DATABASE).expect("a URL")).await
    }

    async fn step(&self, token: &str, step: RotationStep) -> Result<Value, String> {
        let answer = self.shop.stage.cloud.rotation_step(&self.shop.stage.account, SECRET, token, step).await.expect("send the step");
        answer.error.map_or(Ok(answer.payload.clone()), |error| Err(format!("{error} {}", answer.payload)))
    }
}

#[test]
fn the_service_rotates_by_its_four_steps() {
    run(async {
        let driven = Driven::new().await;
        let (cloud, account) = (driven.shop.stage.cloud, &driven.shop.stage.account);
        let first = driven.value("AWSCURRENT").await;
        let rules = RotationRulesType::builder().automatically_after_days(30).build();
        let rotate = driven.secrets.rotate_secret().secret_id(SECRET).rotation_lambda_arn(driven.shop.stage.output("RotateSecretFunctionArn"));
        rotate.rotation_rules(rules).rotate_immediately(true).send().await.expect("rotate");
        let state = cloud.wait_for_rotation(account, SECRET).await.expect("an end");
        assert!(state.under_way.is_none() && state.event_names().contains(&"RotationSucceeded"), "{state:#?}");
        let second = driven.value("AWSCURRENT").await;
        assert_eq!((second["username"].as_str(), second["note"].as_str()), (Some("shop_b"), Some("kept")));
        assert!(driven.logs_in(&second).await && !driven.logs_in(&first).await, "the new one works, the old one is dead");
        assert_eq!(driven.shop.journal("shop").await["closed"]["outcome"], "done");

        // An operator rotates it, too, by the same machine.
        let report = driven.shop.ask(json!({"kind": "rotate", "secret": "shop"})).await;
        assert!(report.findings.is_empty(), "{report:#?}");
        let third = driven.value("AWSCURRENT").await;
        assert!(third["username"] == "shop_a" && driven.logs_in(&third).await && !driven.logs_in(&second).await);
        driven.shop.stage.end().await;
    });
}

#[test]
fn steps_come_twice_out_of_order_and_alone() {
    run(async {
        let driven = Driven::new().await;
        let (cloud, account) = (driven.shop.stage.cloud, &driven.shop.stage.account);
        let rules = RotationRulesType::builder().automatically_after_days(30).build();
        let rotate = driven.secrets.rotate_secret().secret_id(SECRET).rotation_lambda_arn(driven.shop.stage.output("RotateSecretFunctionArn"));
        // A new configuration is tried by `testSecret` alone.
        rotate.rotation_rules(rules).rotate_immediately(false).send().await.expect("configure");
        let state = cloud.wait_for_rotation(account, SECRET).await.expect("an end");
        assert!(state.event_names().contains(&"TestRotationSucceeded"), "{state:#?}");
        let first = driven.value("AWSCURRENT").await;
        assert_eq!(first["username"], "shop_a");

        let token = cloud.begin_rotation(account, SECRET).await.expect("an empty version");
        for early in [RotationStep::Set, RotationStep::Finish] {
            let refused = driven.step(&token, early).await.expect_err("nothing is staged yet");
            assert!(refused.contains("has not come to its end"), "{refused}");
        }
        assert!(driven.logs_in(&driven.value("AWSCURRENT").await).await);
        for step in [RotationStep::Create, RotationStep::Create] {
            driven.step(&token, step).await.expect("create");
        }
        let pending = driven.value("AWSPENDING").await;
        assert_eq!(pending["username"], "shop_b");
        assert!(!driven.logs_in(&pending).await, "only written down");
        let refused = driven.step(&token, RotationStep::Finish).await;
        // Finishing early does what is missing: nothing is given out before it was proved.
        assert!(refused.is_ok() && driven.logs_in(&driven.value("AWSCURRENT").await).await, "{refused:?}");
        for step in RotationStep::ALL {
            let repeated = driven.step(&token, step).await.expect("a repeated step");
            assert!(repeated.to_string().contains("is the live one"), "{repeated}");
        }
        let wrong = cloud.rotation_event(account, SECRET, "another-token-that-no-version-has-0001", "createSecret").await.expect("send");
        assert!(wrong.error.is_some(), "{wrong:?}");
        driven.shop.stage.end().await;
    });
}

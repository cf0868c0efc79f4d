//! A rotator whose URL has no password logs in with a token of its role.

use local::cloud::REGION;
use local::database::{with_database, with_user};
use serde_json::json;
use tests::drills::stage::DATABASE;
use tests::turns::shop::{PAIR, Shop};
use tests::world::run;

#[test]
fn a_rotator_without_a_password_logs_in_with_iam_and_only_where_its_role_may() {
    run(async {
        let mut shop = Shop::of_major(15, PAIR).await;
        let (cloud, account) = (shop.stage.cloud, shop.stage.account.clone());
        let url = with_database(&shop.stage.instance.master_url, DATABASE).expect("a URL");
        let url = with_user(&url, "rotator", "-").expect("a URL").replace(":-@", "@");
        shop.put("/lifeboat/dev/rotator-url", &url).await;
        shop.stage.sql("GRANT rds_iam TO rotator").await;
        cloud.enable_iam_logins(&account, &shop.stage.instance.id).await.expect("switch IAM logins on");
        let (_, first) = shop.live().await;

        // The role may not yet: nothing is changed, and the server's refusal is said as one.
        let refused = shop.stage.ask("RotateSecretFunctionName", &json!({"kind": "rotate", "secret": "shop"})).await.expect_err("refused");
        let said = refused.to_string();
        assert!(said.contains("rotator") && said.contains("SQLSTATE 28"), "{said}");
        assert_eq!(shop.live().await.1, first);

        let rds = aws_sdk_rds::Client::new(&cloud.sdk_config(&account));
        let described = rds.describe_db_instances().db_instance_identifier(&shop.stage.instance.id).send().await.expect("describe");
        let resource = described.db_instances()[0].dbi_resource_id().expect("a resource id").to_owned();
        let arn = format!("arn:aws:rds-db:{REGION}:{account}:dbuser:{resource}/rotator");
        shop.stage.redeploy(vec![("RotatorDatabaseUserArn", arn)]).await;
        let report = shop.ask(json!({"kind": "rotate", "secret": "shop"})).await;
        assert!(report.findings.is_empty(), "{report:#?}");
        assert_eq!(shop.live().await.0, "shop_b");
        assert!(!shop.logs_in(&first).await, "the old credential is dead");
        shop.stage.end().await;
    });
}

//! Readers that lag, consumers that are told, one after the other, and what fails there.

use local::consumer::Next;
use serde_json::json;
use tests::turns::shop::Shop;
use tests::world::run;

const DEFINITION: &str = r#"
[[database]]
name = "shop"
parameter = "/shop/dev/DATABASE_URL"
users = ["shop_a", "shop_b"]
grace-hours = 0
consumers = [{ ecs = "shop/web" }]
"#;

/// A service that runs.
async fn service(shop: &Shop) {
    let ecs = aws_sdk_ecs::Client::new(&shop.stage.cloud.sdk_config(&shop.stage.account));
    ecs.create_cluster().cluster_name("shop").send().await.expect("a cluster");
    let container = aws_sdk_ecs::types::ContainerDefinition::builder().name("web").image("shop").build();
    ecs.register_task_definition().family("web").container_definitions(container).send().await.expect("a task");

    // Without it, ECS tries for ever.
    let breaker = aws_sdk_ecs::types::DeploymentCircuitBreaker::builder().enable(true).rollback(false).build();
    let configuration = aws_sdk_ecs::types::DeploymentConfiguration::builder().deployment_circuit_breaker(breaker).build();
    let create = ecs.create_service().cluster("shop").service_name("web").task_definition("web").desired_count(1);
    create.deployment_configuration(configuration).send().await.expect("a service");
}

#[test]
fn nothing_is_given_out_before_every_reader_has_it_and_nothing_dies_before_everybody_is_told() {
    run(async {
        let mut shop = Shop::new(DEFINITION).await;
        let (cloud, account) = (shop.stage.cloud, shop.stage.account.clone());
        service(&shop).await;
        let arn = format!("arn:aws:ecs:{}:{account}:service/shop/web", local::cloud::REGION);
        shop.stage.redeploy(vec![("RotationEcsServiceArns", arn)]).await;
        let replica = cloud.create_replica(&account, "app-db-reader", &shop.stage.instance.id).await.expect("a replica");
        let (_, first) = shop.live().await;

        // The reader lags: the new password is set, and nobody is given it.
        cloud.pause_replay(&account, &replica.id).await.expect("pause");
        let report = shop.ask(json!({"kind": "rotate", "secret": "shop"})).await;
        let kinds: Vec<&str> = report.findings.iter().map(|finding| finding.kind.name()).collect();
        assert_eq!(kinds, ["rotationDelayed"], "{report:#?}");
        assert_eq!(shop.live().await.1, first);
        cloud.resume_replay(&account, &replica.id).await.expect("resume");

        // It goes on; but a deployment fails, so that the old one must live.
        cloud.set_next_deployment(&account, "shop", "web", Next::Fail).await.expect("fail the next");
        shop.ask(json!({"kind": "sweep"})).await;
        let (user, second) = shop.live().await;
        assert_eq!(user, "shop_b");
        assert!(shop.logs_in(&first).await, "who was not told may still log in");
        let mut stuck = false;
        for _ in 0..200 {
            let report = shop.ask(json!({"kind": "sweep"})).await;
            stuck = report.findings.iter().any(|finding| finding.kind.name() == "rotationStuck" && finding.seen.contains("shop/web"));
            if stuck {
                break;
            }
        }
        let state = cloud.ecs_service(&account, "shop", "web").await.expect("the service");
        assert!(stuck && shop.logs_in(&first).await, "the failed deployment is said, and the old one lives: {state:#?}");

        // A person has mended it, and says so: told again, the old one dies, on the reader too.
        cloud.set_next_deployment(&account, "shop", "web", Next::Succeed).await.expect("let the next succeed");
        shop.ask(json!({"kind": "rotate", "secret": "shop"})).await;
        for _ in 0..200 {
            if shop.journal("shop").await.get("closed").is_some() {
                break;
            }
            shop.ask(json!({"kind": "sweep"})).await;
        }
        assert_eq!(shop.journal("shop").await["closed"]["outcome"], "done");
        assert!(!shop.logs_in(&first).await && shop.logs_in(&second).await);
        let calls = cloud.calls(&account, 0).await.expect("the calls");
        crate::permissions::none_was_missing(&calls);
        shop.stage.end().await;
    });
}

//! Environments of Elastic Beanstalk: restarted once for each value, waited for, and heard when they fail.

use aws_sdk_elasticbeanstalk::types::EnvironmentStatus;
use rotate_secret::consumers::{Consumers, Progress};
use rotate_secret::definition::Consumer;
use rotate_secret::remark::Weight;
use shared::failure::FailureKind;
use tests::world::{run, world};

use super::consumers::{Published, done};
use super::store::Place;

const NAME: &str = "shop-prod";

async fn ready(beanstalk: &aws_sdk_elasticbeanstalk::Client) {
    for _ in 0..10_000 {
        let found = beanstalk.describe_environments().environment_names(NAME).send().await.expect("describe");
        if found.environments()[0].status() == Some(&EnvironmentStatus::Ready) {
            return;
        }
    }
    panic!("the environment is never ready");
}

#[test]
fn an_environment_is_restarted_once_for_each_value() {
    run(async {
        let place = Place::new().await;
        let beanstalk = aws_sdk_elasticbeanstalk::Client::new(&world().await.cloud.sdk_config(&place.account));
        let consumers = Consumers::new(&place.config).expect("consumers");
        let consumer = Consumer::Beanstalk { elastic_beanstalk: NAME.to_owned() };
        let missing = consumers.begin(&consumer, Published::new(local::host::now()).told(None)).await.expect_err("not there");
        assert!(missing.kind == FailureKind::BadSettings && missing.hint.is_some(), "{missing}");
        let refused = async || {
            let remarks = consumers.check(&consumer, 100).await.expect("check");
            (remarks.iter().filter(|remark| remark.weight == Weight::Refused).count(), remarks.len())
        };
        assert_eq!(refused().await, (1, 1));
        beanstalk.create_application().application_name("shop").send().await.expect("an application");
        beanstalk.create_environment().application_name("shop").environment_name(NAME).send().await.expect("an environment");
        // In the middle of something else: not now.
        let published = Published::new(local::host::now());
        let failure = consumers.begin(&consumer, published.told(None)).await.expect_err("it is being launched");
        assert_eq!(failure.kind, FailureKind::GaveWay, "{failure}");
        ready(&beanstalk).await;
        assert_eq!(refused().await, (0, 1));
        let restarts = place.proxy.count(RESTART);
        let refresh = consumers.begin(&consumer, published.told(None)).await.expect("begin");
        assert_eq!(consumers.look(&consumer, &refresh, local::host::now()).await.expect("look"), Progress::UnderWay);
        // It was not noted: the next invocation finds it.
        let again = consumers.begin(&consumer, published.told(None)).await.expect("again");
        assert!(again.begun_at >= published.at);
        assert_eq!(place.proxy.count(RESTART), restarts + 1);
        done(&consumers, &consumer, &again).await;
        done(&consumers, &consumer, &refresh).await;
        // The next value is another restart.
        consumers.begin(&consumer, Published::new(local::host::now()).told(None)).await.expect("begin");
        assert_eq!(place.proxy.count(RESTART), restarts + 2);
        ready(&beanstalk).await;
        place.end().await;
    });
}

const RESTART: &str = "elasticbeanstalk:RestartAppServer";

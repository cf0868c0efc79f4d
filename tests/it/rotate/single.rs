//! One user: between the commit and the publication new logins fail. How little lies between them is counted, and a reader that reads the value again when it
//! is refused, as DEPLOYMENT.md says, loses no operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use local::database;
use sqlx::Connection as _;
use tests::turns::Turner;
use tests::turns::shop::PARAMETER;
use tests::world::run;

const DEFINITION: &str = "[[database]]\nname = \"shop\"\nparameter = \"/shop/dev/DATABASE_URL\"\nuser = \"shop_a\"\n";
/// As long as DEPLOYMENT.md asks of a reader.
const RETRY_MAX: Duration = Duration::from_secs(30);
const ROTATIONS: usize = 5;

#[test]
fn two_calls_lie_between_commit_and_publication_and_a_reader_that_tries_again_loses_nothing() {
    run(async {
        let turner = Turner::new(DEFINITION).await;
        let (operations, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let reader = async {
            let mut lost = Vec::new();
            let mut url = turner.shop.get(PARAMETER).await;
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            while !over.load(Ordering::Relaxed) {
                pace.tick().await;
                let begun = Instant::now();
                loop {
                    match database::connect(&turner.shop.stage.instance, &url).await {
                        Ok(connection) => {
                            operations.fetch_add(1, Ordering::Relaxed);
                            let _ = connection.close().await;
                            break;
                        }
                        Err(failure) if begun.elapsed() > RETRY_MAX => {
                            lost.push(failure.to_string());
                            break;
                        }
                        Err(_) => url = turner.shop.get(PARAMETER).await,
                    }
                }
            }
            lost
        };
        let rotations = async {
            for number in 0..ROTATIONS {
                let before = turner.http.recorded().len();
                turner.rotate(&format!("single-{number}")).await;
                let calls: Vec<String> = turner.http.recorded()[before..].iter().map(|call| call.operation.clone()).collect();
                let prepared = calls.iter().position(|call| call == "ssm:DescribeParameters").expect("the settings are looked up before the commit");
                // Everything that can be looked up was looked up before; then the value is written, and read to see that it is there.
                assert_eq!(calls[prepared + 1..prepared + 3], ["ssm:PutParameter", "ssm:GetParameter"], "{calls:?}");
                assert!(calls.len() <= 22, "{} calls: {calls:?}", calls.len());
            }
            over.store(true, Ordering::Relaxed);
        };
        let (lost, ()) = futures_util::future::join(reader, rotations).await;
        assert_eq!(lost, [""; 0]);
        assert_eq!(turner.leaks().await, [""; 0]);
        assert!(operations.load(Ordering::Relaxed) > 20);
        turner.shop.stage.end().await;
    });
}

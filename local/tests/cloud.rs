//! The driver and the Python cloud together: a signature through the fault proxy, TLS through the byte proxy, and nothing left at the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use local::host::Target;
use local::progress::Progress;
use local::proxy::{Chaos, Fault, HttpProxy, TcpProxy};
use local::{Cloud, Options, database, python};
use sqlx::Connection;

const ACCOUNT: &str = "111122223333";

async fn start() -> Cloud {
    let target = Target::of_this_program().expect("target");
    let python = python::environment(&target, &Progress::silent()).await.expect("python");
    Cloud::start(&Options { python, functions: target.profile, port: None, postgres: Vec::new() }).await.expect("cloud")
}

/// Processes whose command line names the cloud's folder, or that run in it.
fn left_of(folder: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("proc").flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&*folder.to_string_lossy()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_injected_between_the_real_sdk_and_the_cloud() {
    let cloud = start().await;
    let proxy = HttpProxy::start(&cloud.endpoint).await.expect("proxy");
    let s3 = aws_sdk_s3::Client::new(&cloud.sdk_config_through(&proxy.url, ACCOUNT));
    let constraint =
        aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(aws_sdk_s3::types::BucketLocationConstraint::EuCentral1).build();
    s3.create_bucket().bucket("b-111122223333").create_bucket_configuration(constraint).send().await.expect("create");
    let put = |key: &str| {
        let body = ByteStream::from(vec![7; 100_000]);
        s3.put_object().bucket("b-111122223333").key(key).if_none_match("*").body(body).send()
    };
    // The SDK tries again after a throttle; the signature is right for what arrives.
    proxy.fail("s3:PutObject", 1, Fault::Throttle);
    put("throttled").await.expect("the second attempt");
    assert_eq!(proxy.count("s3:PutObject"), 2);
    // The object is there, but the reply was lost: the second attempt meets its own object.
    proxy.fail("s3:PutObject", 3, Fault::LostReply);
    put("lost").await.expect_err("412 for its own object");
    let recorded = proxy.recorded();
    let (third, fourth) = (recorded.iter().find(|r| r.operation == "s3:PutObject" && r.occurrence == 3), recorded.last());
    assert_eq!(third.and_then(|request| request.status), Some(200), "it was done");
    assert_eq!(fourth.and_then(|request| request.status), Some(412));
    // A truncated body is an error of the body, not of the call.
    proxy.fail("s3:GetObject", 1, Fault::TruncatedReply(1_000));
    let got = s3.get_object().bucket("b-111122223333").key("lost").send().await.expect("head");
    assert!(got.body.collect().await.is_err(), "truncated");
    // A seed is the same story twice, and another seed another.
    let mut stories = Vec::new();
    for seed in [1, 1, 2] {
        let proxy = HttpProxy::start(&cloud.endpoint).await.expect("proxy");
        proxy.set_chaos(Some(Chaos { seed, percent: 40, faults: vec![Fault::InternalError, Fault::Throttle] }));
        let retries = aws_sdk_s3::config::retry::RetryConfig::disabled();
        let config = aws_sdk_s3::config::Builder::from(&cloud.sdk_config_through(&proxy.url, ACCOUNT)).retry_config(retries).build();
        let s3 = aws_sdk_s3::Client::from_conf(config);
        for _ in 0..20 {
            let _ = s3.head_object().bucket("b-111122223333").key("lost").send().await;
        }
        stories.push(proxy.recorded().into_iter().map(|request| request.fault).collect::<Vec<_>>());
    }
    assert!(stories[0] == stories[1] && stories[0] != stories[2], "{stories:?}");
    assert!(stories[0].iter().any(Option::is_some) && stories[0].iter().any(Option::is_none));
    let waiting = proxy.wait_for("s3:HeadObject", 1);
    proxy.fail("s3:HeadObject", 1, Fault::Hang);
    tokio::select! {
        _ = s3.head_object().bucket("b-111122223333").key("lost").send() => panic!("it hangs"),
        () = waiting => {}
    }
    cloud.drop_account(ACCOUNT).await.expect("drop");
    let folder = cloud.folder.clone();
    drop(cloud);
    assert!(!folder.exists(), "{} is left", folder.display());
    assert_eq!(left_of(&folder), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_a_real_postgresql_with_verified_tls_also_through_the_proxy() {
    let cloud = start().await;
    let mut instance = cloud.create_instance(ACCOUNT, "app-db", 17).await.expect("instance");
    assert!(instance.tls);
    database::create(&instance, "a \"b\" c").await.expect("create");
    let proxy = TcpProxy::start(format!("{}:{}", instance.host, instance.port).parse().expect("address")).await.expect("proxy");
    let url = instance.master_url.replace(&format!(":{}/", instance.port), &format!(":{}/", proxy.address.port()));
    let url = database::with_database(&url, "a \"b\" c").expect("url");
    let mut connection = database::connect(&instance, &url).await.expect("connect");
    let name: String = sqlx::query_scalar("select current_database()::text").fetch_one(&mut connection).await.expect("query");
    assert_eq!(name, "a \"b\" c");
    assert!(proxy.bytes().from_server > 0);
    proxy.cut_now(local::proxy::AfterCut::Accept);
    proxy.wait_for_cuts(1).await;
    let lost = tokio::time::timeout(Duration::from_secs(30), connection.ping()).await.expect("noticed");
    lost.expect_err("cut");
    let authority = std::mem::replace(&mut instance.ca_file, PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    database::connect(&instance, &instance.master_url).await.expect_err("an unknown authority");
    instance.ca_file = authority;
    database::drop(&instance, "a \"b\" c").await.expect("drop");
    let folder = cloud.folder.clone();
    drop(cloud);
    assert_eq!(left_of(&folder), Vec::<String>::new());
}

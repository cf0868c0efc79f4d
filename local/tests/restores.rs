//! The driver and the Python cloud together: executions are waited for, restores are real, files of a stopped server can be changed.

use std::time::Duration;

use aws_sdk_rds::primitives::DateTime;
use local::cloud::REGION;
use local::host::Target;
use local::progress::Progress;
use local::{Cloud, Options, database, python};
use serde_json::{Value, json};
use sqlx::PgConnection;

const ACCOUNT: &str = "111122224444";
const LIMIT: Duration = Duration::from_secs(30);
/// A machine that waits, a schedule that starts it, and a queue that hears of its executions.
const MACHINE: &str = r#"
AWSTemplateFormatVersion: 2010-09-09
Transform: AWS::Serverless-2016-10-31
Resources:
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      Definition:
        StartAt: Wait
        States:
          Wait: {Type: Wait, Seconds: 100, Next: Done}
          Done: {Type: Pass, Result: {done: true}, End: true}
      Policies:
        - Statement: [{Effect: Deny, Action: "*", Resource: "*"}]
      Events:
        Daily: {Type: ScheduleV2, Properties: {OmitName: true, ScheduleExpression: rate(1 day)}}
  Heard: {Type: AWS::SQS::Queue}
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [aws.states], detail: {status: [RUNNING]}}
      Targets: [{Id: queue, Arn: !GetAtt Heard.Arn}]
Outputs:
  Schedule: {Value: !Ref MachineDaily}
  Heard: {Value: !Ref Heard}
"#;

async fn start() -> Cloud {
    let target = Target::of_this_program().expect("target");
    let python = python::environment(&target, &Progress::silent()).await.expect("python");
    Cloud::start(&Options { python, functions: target.profile, port: None, postgres: Vec::new() }).await.expect("cloud")
}

/// The ARN of the next execution that the queue hears of.
async fn started(cloud: &Cloud, queue: &str) -> String {
    let sqs = aws_sdk_sqs::Client::new(&cloud.sdk_config(ACCOUNT));
    let got = sqs.receive_message().queue_url(queue).wait_time_seconds(10).send().await.expect("receive");
    let event: Value = serde_json::from_str(got.messages()[0].body().unwrap_or_default()).expect("an event");
    event["detail"]["executionArn"].as_str().expect("its ARN").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_is_waited_for_and_its_waits_are_short() {
    let cloud = start().await;
    let folder = tempfile::tempdir().expect("folder");
    let template = folder.path().join("template.yaml");
    std::fs::write(&template, MACHINE).expect("template");
    let deployed = cloud.deploy(ACCOUNT, "machines", &template, &json!({})).await.expect("deploy");
    cloud.fire(ACCOUNT, deployed.output("Schedule").expect("schedule"), None).await.expect("fire");
    let arn = started(&cloud, deployed.output("Heard").expect("queue")).await;
    let ended = cloud.wait_for_execution(ACCOUNT, &arn, LIMIT).await.expect("ended");
    assert_eq!((ended.status.as_str(), ended.value()), ("SUCCEEDED", json!({"done": true})));
    assert_eq!((&ended.error, &ended.cause), (&None, &None));
    // At its own pace it does not end while we look.
    cloud.set_time_scale(ACCOUNT, 1.0).await.expect("scale");
    cloud.fire(ACCOUNT, deployed.output("Schedule").expect("schedule"), None).await.expect("fire");
    let arn = started(&cloud, deployed.output("Heard").expect("queue")).await;
    let failure = cloud.wait_for_execution(ACCOUNT, &arn, Duration::from_millis(300)).await.expect_err("it waits");
    assert!(failure.to_string().contains("still runs"), "{failure}");
    cloud.set_time_scale(ACCOUNT, 2.0).await.expect_err("slower than time");
    cloud.wait_for_execution(ACCOUNT, "arn:aws:states:eu-central-1:1:execution:a:b", LIMIT).await.expect_err("no execution");
    cloud.drop_account(ACCOUNT).await.expect("drop");
}

async fn count(connection: &mut PgConnection, table: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}"))).fetch_one(connection).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_in_time_comes_back_and_a_stopped_servers_files_can_be_changed() {
    let cloud = start().await;
    let source = cloud.create_instance(ACCOUNT, "app-db", 17).await.expect("instance");
    let mut connection = database::connect(&source, &source.master_url).await.expect("connect");
    database::run(&mut connection, "create table kept as select n, repeat('x', 400) as t from generate_series(1, 100) as n").await.expect("fill");
    let now: f64 = sqlx::query_scalar("select extract(epoch from clock_timestamp())::float8").fetch_one(&mut connection).await.expect("time");
    database::run(&mut connection, "delete from kept").await.expect("the accident");
    cloud.archive_now(ACCOUNT, REGION, "app-db").await.expect("archive");
    let rds = aws_sdk_rds::Client::new(&cloud.sdk_config(ACCOUNT));
    let restore = rds.restore_db_instance_to_point_in_time().source_db_instance_identifier("app-db").target_db_instance_identifier("copy");
    restore.restore_time(DateTime::from_secs_f64(now)).backup_retention_period(0).send().await.expect("restore");
    let copy = cloud.wait_for_instance(ACCOUNT, REGION, "copy").await.expect("copy");
    let mut restored = database::connect(&copy, &copy.master_url).await.expect("connect");
    assert_eq!((count(&mut restored, "kept").await.expect("count"), count(&mut connection, "kept").await.expect("count")), (100, 0));
    cloud.archive_now(ACCOUNT, REGION, "copy").await.expect_err("it has no automated backups");

    let path: String = sqlx::query_scalar("select pg_relation_filepath('kept')").fetch_one(&mut restored).await.expect("path");
    cloud.stop_server(ACCOUNT, REGION, "copy").await.expect("stop");
    let file = copy.folder.join(path);
    let mut bytes = std::fs::read(&file).expect("the table's file");
    bytes[8192 + 4000] ^= 0xff;
    std::fs::write(&file, bytes).expect("damage");
    cloud.start_server(ACCOUNT, REGION, "copy").await.expect("start");
    let mut restored = database::connect(&copy, &copy.master_url).await.expect("connect");
    let error = count(&mut restored, "kept").await.expect_err("a damaged page");
    assert!(error.to_string().contains("invalid page"), "{error}");
    cloud.drop_account(ACCOUNT).await.expect("drop");
}

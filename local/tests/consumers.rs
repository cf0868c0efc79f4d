//! The driver and the Python cloud together, in what rotations need: pending versions of secrets, replicas that lag, deployments that wait, parameters
//! whose reads are stale, logins by tokens.

use aws_sdk_ecs::types::DeploymentRolloutState;
use aws_sdk_ssm::types::ParameterType;
use local::consumer::Next;
use local::host::Target;
use local::progress::Progress;
use local::secret::RotationStep;
use local::{Cloud, Options, database, python};
use sqlx::PgConnection;
use std::time::{Duration, Instant};

const ACCOUNT: &str = "111122225555";
const MAJOR: u32 = 17;
const LIMIT: Duration = Duration::from_mins(1);

async fn start() -> Cloud {
    let target = Target::of_this_program().expect("target");
    let python = python::environment(&target, &Progress::silent()).await.expect("python");
    Cloud::start(&Options { python, functions: target.profile, port: None, postgres: Vec::new() }).await.expect("cloud")
}

/// Asks until it is so.
async fn until(mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !check().await {
        assert!(Instant::now() < deadline, "not within {} s", LIMIT.as_secs());
    }
}

async fn count(connection: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(connection).await.expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_can_hang_on_an_empty_version() {
    let cloud = start().await;
    let secrets = aws_sdk_secretsmanager::Client::new(&cloud.sdk_config(ACCOUNT));
    let made = secrets.create_secret().name("app/database").secret_string("first").send().await.expect("a secret");
    let pending = cloud.begin_rotation(ACCOUNT, "app/database").await.expect("a pending version");
    let state = cloud.secret(ACCOUNT, "app/database").await.expect("the secret");
    assert_eq!((state.holder("AWSPENDING"), state.holder("AWSCURRENT")), (Some(pending.as_str()), made.version_id()));
    assert!(state.versions[&pending].empty);
    assert!(state.event_names().is_empty());
    let step = cloud.rotation_step(ACCOUNT, "app/database", &pending, RotationStep::Create).await.expect("an answer");
    assert!(step.error.is_some_and(|error| error.contains("there is no function")));
    cloud.set_rotation_attempts(ACCOUNT, "app/database", 1, Duration::ZERO).await.expect("attempts");
    let refused = cloud.rotate_by_schedule(ACCOUNT, "app/database").await.expect_err("not turned on");
    assert!(refused.to_string().contains("not turned on"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_lags_when_it_is_told_to() {
    let cloud = start().await;
    let writer = cloud.create_instance(ACCOUNT, "writer", MAJOR).await.expect("a writer");
    let reader = cloud.create_replica(ACCOUNT, "reader", "writer").await.expect("a reader");
    cloud.pause_replay(ACCOUNT, "reader").await.expect("paused");
    let mut there = database::connect(&writer, &writer.master_url).await.expect("the writer");
    sqlx::query("create table seen as select 1 as x").execute(&mut there).await.expect("a table");
    let lag = cloud.lag(ACCOUNT, "reader").await.expect("its lag");
    assert!(lag.paused && lag.bytes > 0, "{lag:?}");
    let mut here = database::connect(&reader, &reader.master_url).await.expect("the reader");
    assert_eq!(count(&mut here, "select count(*) from pg_class where relname = 'seen'").await, 0);
    cloud.resume_replay(ACCOUNT, "reader").await.expect("resumed");
    until(async || cloud.lag(ACCOUNT, "reader").await.expect("its lag").bytes == 0).await;
    assert_eq!(count(&mut here, "select count(*) from seen").await, 1);
    cloud.set_apply_delay(ACCOUNT, "reader", Duration::from_mins(1)).await.expect("a delay");
    assert!(cloud.pause_replay(ACCOUNT, "writer").await.is_err());
    assert!(cloud.lag(ACCOUNT, "writer").await.is_err());
    cloud.enable_iam_logins(ACCOUNT, "writer").await.expect("switched on");
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_and_restarts_wait_until_they_are_released() {
    let cloud = start().await;
    let ecs = aws_sdk_ecs::Client::new(&cloud.sdk_config(ACCOUNT));
    ecs.create_cluster().cluster_name("main").send().await.expect("a cluster");
    ecs.create_service().cluster("main").service_name("web").task_definition("web").desired_count(1).send().await.expect("a service");
    cloud.set_next_deployment(ACCOUNT, "main", "web", Next::Hold).await.expect("held");
    ecs.update_service().cluster("main").service("web").force_new_deployment(true).send().await.expect("a deployment");
    let held = cloud.ecs_service(ACCOUNT, "main", "web").await.expect("the service");
    assert_eq!((held.deployments[0].status.as_str(), held.deployments[0].rollout_state.as_str()), ("PRIMARY", "IN_PROGRESS"));
    cloud.release_deployment(ACCOUNT, "main", "web").await.expect("released");
    until(async || {
        let shown = ecs.describe_services().cluster("main").services("web").send().await.expect("the service");
        shown.services()[0].deployments()[0].rollout_state() == Some(&DeploymentRolloutState::Completed)
    })
    .await;
    let beanstalk = aws_sdk_elasticbeanstalk::Client::new(&cloud.sdk_config(ACCOUNT));
    beanstalk.create_application().application_name("shop").send().await.expect("an application");
    let create = beanstalk.create_environment().application_name("shop").environment_name("site");
    let made = create.send().await.expect("an environment");
    assert_eq!(made.environment_name(), Some("site"));
    until(async || cloud.environment(ACCOUNT, "site").await.expect("the environment").status == "Ready").await;
    cloud.set_next_operation(ACCOUNT, "site", Next::Hold).await.expect("held");
    beanstalk.restart_app_server().environment_name("site").send().await.expect("a restart");
    assert_eq!(cloud.environment(ACCOUNT, "site").await.expect("the environment").status, "Updating");
    cloud.release_operation(ACCOUNT, "site").await.expect("released");
    until(async || cloud.environment(ACCOUNT, "site").await.expect("the environment").status == "Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_can_be_stale_and_busy() {
    let cloud = start().await;
    let ssm = aws_sdk_ssm::Client::new(&cloud.sdk_config(ACCOUNT));
    let put = |value: &'static str| ssm.put_parameter().name("/p").r#type(ParameterType::String).overwrite(true).value(value);
    put("1").send().await.expect("written");
    put("2").send().await.expect("written");
    cloud.set_stale_reads(ACCOUNT, "/p", 1).await.expect("stale");
    let read = || async { ssm.get_parameter().name("/p").send().await.expect("read").parameter.expect("a parameter").version };
    assert_eq!((read().await, read().await), (1, 2));
    cloud.set_colliding_writes(ACCOUNT, "/p", 10).await.expect("busy");
    let refused = put("3").send().await.expect_err("refused");
    assert!(refused.into_service_error().is_too_many_updates());
}

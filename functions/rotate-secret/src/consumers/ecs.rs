//! ECS: the service's tasks are replaced, because a task reads its secrets when it starts and never again.

use aws_sdk_ecs::types::{Deployment, DeploymentControllerType, DeploymentRolloutState, Service};
use chrono::{DateTime, Utc};
use shared::aws;
use shared::failure::{Failure, FailureKind};

use super::{Progress, Told, time};
use crate::journal::Refresh;
use crate::remark::{Remark, Weight};
use crate::store::of_kind;

const PRIMARY: &str = "PRIMARY";

/// Forces a deployment, unless one began after the publication.
pub(super) async fn begin(client: &aws_sdk_ecs::Client, place: &str, told: Told<'_>) -> Result<Refresh, Failure> {
    let (cluster, name) = parts(place)?;
    let service = service(client, place).await?;
    refuse_foreign(&service)?;
    let begun = |deployment: &Deployment| Refresh {
        handle: deployment.id().map(str::to_owned),
        begun_at: time(deployment.created_at()).unwrap_or(told.now).max(told.published_at),
        done_at: None,
    };
    // By us, before we could note it, or by somebody else: its tasks have read the new value.
    if let Some(deployment) = primary(&service).filter(|deployment| began(deployment).is_some_and(|at| at > told.published_at)) {
        return Ok(begun(deployment));
    }
    let answer = client.update_service().cluster(cluster).service(name).force_new_deployment(true).send().await;
    let answer = answer.map_err(|error| aws::failure(error).context("force a new deployment (ecs:UpdateService)"))?;
    let deployment = answer.service.as_ref().and_then(primary).map(begun);
    deployment.ok_or_else(|| Failure::new(FailureKind::Other, "ECS shows no primary deployment after one was forced"))
}

/// Looks at the deployment; where it was replaced by a younger one, at that: it, too, began after the publication.
pub(super) async fn look(client: &aws_sdk_ecs::Client, place: &str, refresh: &Refresh) -> Result<Progress, Failure> {
    let service = service(client, place).await?;
    let ours = service.deployments().iter().find(|deployment| deployment.id() == refresh.handle.as_deref());
    let is_failed = |deployment: &&Deployment| deployment.rollout_state() == Some(&DeploymentRolloutState::Failed);
    let successor = || primary(&service).filter(|deployment| began(deployment).is_some_and(|at| at >= refresh.begun_at));
    let Some(deployment) = ours.filter(|ours| is_failed(ours) || ours.status() == Some(PRIMARY)).or_else(successor).or(ours) else {
        return Ok(Progress::Failed("its deployment is gone, and the one that is there began before the new value was published".to_owned()));
    };
    Ok(match deployment.rollout_state() {
        Some(DeploymentRolloutState::Completed) => Progress::Done,
        Some(DeploymentRolloutState::Failed) => {
            Progress::Failed(deployment.rollout_state_reason().unwrap_or("the deployment failed; ECS gives no reason").to_owned())
        }
        // Without a rollout state: by the numbers.
        None if service.deployments().len() == 1 && deployment.running_count() == deployment.desired_count() => Progress::Done,
        _ => Progress::UnderWay,
    })
}

/// What can be said without a deployment.
pub(super) async fn check(client: &aws_sdk_ecs::Client, place: &str) -> Result<Vec<Remark>, Failure> {
    let service = match service(client, place).await {
        Ok(service) => service,
        Err(failure) if failure.kind == FailureKind::BadSettings => {
            return Ok(vec![Remark::new(Weight::Refused, failure.to_string(), failure.hint.unwrap_or_default())]);
        }
        Err(failure) => return Err(failure),
    };
    let mut remarks = Vec::new();
    if let Err(failure) = refuse_foreign(&service) {
        remarks.push(Remark::new(Weight::Refused, failure.to_string(), failure.hint.unwrap_or_default()));
    }
    if service.deployments().len() > 1 {
        let what = format!("the ECS service {place} is in the middle of a deployment");
        remarks.push(Remark::new(Weight::Warning, what, "a rotation would replace it by another one; let it end first"));
    }
    let breaker = service.deployment_configuration().and_then(|configuration| configuration.deployment_circuit_breaker());
    if !breaker.is_some_and(|breaker| breaker.enable) {
        let what = format!("the ECS service {place} has no deployment circuit breaker: a deployment that cannot succeed is under way for ever");
        remarks.push(Remark::new(Weight::Warning, what, "switch the circuit breaker on, so that ECS says when a deployment has failed"));
    }
    let what = format!("whether ecs:UpdateService on {place} is allowed shows only when it is called");
    remarks.push(Remark::new(Weight::Unpredictable, what, "the statement is in the function's role; see `simulate-principal-policy` of IAM"));
    Ok(remarks)
}

fn primary(service: &Service) -> Option<&Deployment> {
    service.deployments().iter().find(|deployment| deployment.status() == Some(PRIMARY))
}

fn began(deployment: &Deployment) -> Option<DateTime<Utc>> {
    time(deployment.created_at())
}

async fn service(client: &aws_sdk_ecs::Client, place: &str) -> Result<Service, Failure> {
    let (cluster, name) = parts(place)?;
    let missing = |failure: Failure| failure.hint("correct `ecs = \"CLUSTER/SERVICE\"` in the definition, or take the consumer out of it");
    let answer = client.describe_services().cluster(cluster).services(name).send().await.map_err(|error| {
        let failure = aws::failure(error).context("describe the service (ecs:DescribeServices)");
        if failure.to_string().contains("ClusterNotFound") { missing(of_kind(failure, FailureKind::BadSettings)) } else { failure }
    })?;
    let found = answer.services.unwrap_or_default().into_iter().find(|service| service.status() != Some("INACTIVE"));
    found.ok_or_else(|| missing(Failure::new(FailureKind::BadSettings, format!("there is no ECS service {place}"))))
}

fn parts(place: &str) -> Result<(&str, &str), Failure> {
    // An ARN of a service is of the same form behind its last colon: `service/cluster/name`.
    let plain = place.rsplit_once(":service/").map_or(place, |(_, behind)| behind);
    plain
        .split_once('/')
        .filter(|(cluster, name)| !cluster.is_empty() && !name.is_empty() && !name.contains('/'))
        .ok_or_else(|| Failure::new(FailureKind::BadSettings, format!("{place:?} does not name an ECS service")).hint("write CLUSTER/SERVICE"))
}

/// A service that something else deploys cannot be made to replace its tasks from here.
fn refuse_foreign(service: &Service) -> Result<(), Failure> {
    let controller = service.deployment_controller().map(aws_sdk_ecs::types::DeploymentController::r#type);
    match controller {
        None | Some(DeploymentControllerType::Ecs) => Ok(()),
        Some(other) => Err(Failure::new(FailureKind::BadSettings, format!("the ECS service is deployed by {}", other.as_str())).hint(
            "name a URL as consumer that starts the deployment where it is made (a pipeline, CodeDeploy), or let tasks read the value themselves",
        )),
    }
}

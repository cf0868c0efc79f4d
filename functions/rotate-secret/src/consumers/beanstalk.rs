//! Elastic Beanstalk: the app servers of an environment are restarted.
//!
//! Secrets that are named in the environment's options are read at an instance's bootstrapping only, and again when RestartAppServer or UpdateEnvironment is called: AWS
//! recommends either of the two for exactly this (Elastic Beanstalk developer guide, "Best practices for secrets synchronization"). RestartAppServer it is: it changes
//! no option, replaces no instance, and needs no right to write the environment's configuration. An application that reads the value itself at its start is served as well.

use aws_sdk_elasticbeanstalk::types::{EnvironmentDescription, EnvironmentStatus, EventDescription, EventSeverity};
use chrono::{DateTime, TimeDelta, Utc};
use shared::aws;
use shared::failure::{Failure, FailureKind};

use super::{Progress, Told, time};
use crate::journal::Refresh;
use crate::remark::{Remark, Weight};
use crate::store::of_kind;

/// An environment that is ready and has not said anything for so long has restarted: events may be lost.
const SILENT_MINUTES: i64 = 5;
const EVENTS_MAX: i32 = 100;

/// Restarts the app servers, unless that was begun since the publication.
pub(super) async fn begin(client: &aws_sdk_elasticbeanstalk::Client, name: &str, told: Told<'_>) -> Result<Refresh, Failure> {
    let since = events(client, name, told.published_at).await?;
    let begun = since.iter().filter(|event| begins_restart(event)).filter_map(|event| time(event.event_date())).min();
    if let Some(begun_at) = begun {
        return Ok(Refresh { handle: None, begun_at, done_at: None });
    }
    match client.restart_app_server().environment_name(name).send().await {
        Ok(_) => Ok(Refresh { handle: None, begun_at: told.now, done_at: None }),
        Err(error) => {
            let failure = aws::failure(error);
            let text = failure.to_string();
            let failure = if text.contains("No Environment found") {
                of_kind(failure, FailureKind::BadSettings).hint("correct `elastic-beanstalk = \"ENVIRONMENT\"` in the definition")
            } else if text.contains("Must be Ready") || text.contains("invalid state") {
                of_kind(failure, FailureKind::GaveWay).hint("the environment is being changed; it is told when that is over")
            } else {
                failure
            };
            Err(failure.context("restart the app servers (elasticbeanstalk:RestartAppServer)"))
        }
    }
}

/// Done is an environment that is ready again, with an event that says so and none that says the contrary.
pub(super) async fn look(client: &aws_sdk_elasticbeanstalk::Client, name: &str, refresh: &Refresh, now: DateTime<Utc>) -> Result<Progress, Failure> {
    let environment = environment(client, name).await?;
    if matches!(environment.status(), Some(EnvironmentStatus::Terminating | EnvironmentStatus::Terminated)) {
        return Ok(Progress::Failed("the environment is being terminated".to_owned()));
    }
    let since = events(client, name, refresh.begun_at).await?;
    Ok(progress(environment.status(), &since, refresh.begun_at, now))
}

fn progress(status: Option<&EnvironmentStatus>, since: &[EventDescription], begun_at: DateTime<Utc>, now: DateTime<Utc>) -> Progress {
    let is_bad = |event: &&EventDescription| matches!(event.severity(), Some(EventSeverity::Error | EventSeverity::Fatal));
    if let Some(bad) = since.iter().find(is_bad) {
        return Progress::Failed(bad.message().unwrap_or("Elastic Beanstalk tells of an error without a message").to_owned());
    }
    if status != Some(&EnvironmentStatus::Ready) {
        return Progress::UnderWay;
    }
    let says_done = |event: &EventDescription| {
        let message = event.message().unwrap_or_default().to_ascii_lowercase();
        message.contains("completed") || message.contains("successfully")
    };
    if since.iter().any(says_done) || now - begun_at >= TimeDelta::minutes(SILENT_MINUTES) { Progress::Done } else { Progress::UnderWay }
}

/// What can be said without a restart.
pub(super) async fn check(client: &aws_sdk_elasticbeanstalk::Client, name: &str) -> Result<Vec<Remark>, Failure> {
    let environment = match environment(client, name).await {
        Ok(environment) => environment,
        Err(failure) if failure.kind == FailureKind::BadSettings => {
            return Ok(vec![Remark::new(Weight::Refused, failure.to_string(), failure.hint.unwrap_or_default())]);
        }
        Err(failure) => return Err(failure),
    };
    let mut remarks = Vec::new();
    if environment.status() != Some(&EnvironmentStatus::Ready) {
        let status = environment.status().map_or("unknown", EnvironmentStatus::as_str);
        let what = format!("the environment {name} is not ready but {status}: it takes no restart");
        remarks.push(Remark::new(Weight::Warning, what, "let it become ready; a rotation waits for it"));
    }
    let what = format!("whether elasticbeanstalk:RestartAppServer on {name} is allowed shows only when it is called");
    let fix =
        "the statement is in the function's role; Elastic Beanstalk also wants the rights to read the environment's stack and its Auto Scaling group";
    remarks.push(Remark::new(Weight::Unpredictable, what, fix));
    Ok(remarks)
}

async fn environment(client: &aws_sdk_elasticbeanstalk::Client, name: &str) -> Result<EnvironmentDescription, Failure> {
    let answer = client.describe_environments().environment_names(name).include_deleted(false).send().await;
    let answer = answer.map_err(|error| aws::failure(error).context("describe the environment (elasticbeanstalk:DescribeEnvironments)"))?;
    answer.environments.unwrap_or_default().into_iter().next().ok_or_else(|| {
        Failure::new(FailureKind::BadSettings, format!("there is no Elastic Beanstalk environment {name}"))
            .hint("correct `elastic-beanstalk = \"ENVIRONMENT\"` in the definition, or take the consumer out of it")
    })
}

/// The newest events since a moment.
async fn events(client: &aws_sdk_elasticbeanstalk::Client, name: &str, since: DateTime<Utc>) -> Result<Vec<EventDescription>, Failure> {
    let start = aws_sdk_elasticbeanstalk::primitives::DateTime::from_millis(since.timestamp_millis());
    let answer = client.describe_events().environment_name(name).start_time(start).max_records(EVENTS_MAX).send().await;
    let answer = answer.map_err(|error| aws::failure(error).context("read the environment's events (elasticbeanstalk:DescribeEvents)"))?;
    let events = answer.events.unwrap_or_default();
    Ok(events.into_iter().filter(|event| time(event.event_date()).is_some_and(|at| at >= since)).collect())
}

/// Not the end of one: that may have begun before the publication.
fn begins_restart(event: &EventDescription) -> bool {
    let message = event.message().unwrap_or_default().to_ascii_lowercase();
    message.contains("restartappserver") && message.contains("starting")
}

#[cfg(test)]
#[path = "beanstalk_tests.rs"]
mod tests;

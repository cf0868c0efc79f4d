//! Who reads a value and has to be told that there is a new one: told once for each value that is given out, then looked at until it is done.
//!
//! What was begun is looked for before it is begun: by the handle that the journal has, or, where that was not written any more, by what the service itself shows since
//! the value was published. Where it cannot be seen, a second telling does no harm. A consumer's environment is never logged, and never in an error.

mod beanstalk;
mod ecs;
mod lambda;
mod url;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use shared::failure::Failure;
use shared::secrets::SecretString;

use crate::definition::Consumer;
use crate::identity::RotationId;
use crate::journal::Refresh;
use crate::remark::Remark;

/// The clients.
#[derive(Debug)]
pub struct Consumers {
    ecs: aws_sdk_ecs::Client,
    beanstalk: aws_sdk_elasticbeanstalk::Client,
    lambda: aws_sdk_lambda::Client,
    http: reqwest::Client,
}

/// What a consumer is told about.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The definition's name.
    pub secret: &'a str,
    /// The rotation.
    pub rotation: &'a RotationId,
    /// Which of its values.
    pub phase: u8,
    /// The value that is live now.
    pub value: &'a SecretString,
    /// Since when: a deployment that is younger has it.
    pub published_at: DateTime<Utc>,
    /// What the journal says of an earlier telling.
    pub earlier: Option<&'a Refresh>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// How far a consumer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It reads the new value.
    Done,
    /// Not yet.
    UnderWay,
    /// It will not, and why. To be told again it must be begun without the earlier telling.
    Failed(String),
}

impl Consumers {
    /// The clients of this configuration.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub fn new(config: &SdkConfig) -> Result<Self, Failure> {
        Ok(Self {
            ecs: aws_sdk_ecs::Client::new(config),
            beanstalk: aws_sdk_elasticbeanstalk::Client::new(config),
            lambda: aws_sdk_lambda::Client::new(config),
            http: url::client()?,
        })
    }

    /// Tells a consumer, unless it was told. ECS: DescribeServices and UpdateService. Elastic Beanstalk: DescribeEvents and RestartAppServer. Lambda:
    /// GetFunctionConfiguration and UpdateFunctionConfiguration, again for each change by somebody else. URL: one POST.
    ///
    /// # Errors
    /// When it is not known to have been told: to be called again. [`shared::failure::FailureKind::GaveWay`]: the consumer is in the middle of something else.
    pub async fn begin(&self, consumer: &Consumer, told: Told<'_>) -> Result<Refresh, Failure> {
        if let Some(earlier) = told.earlier {
            return Ok(earlier.clone());
        }
        let result = match consumer {
            Consumer::Ecs { ecs } => ecs::begin(&self.ecs, ecs, told).await,
            Consumer::Beanstalk { elastic_beanstalk } => beanstalk::begin(&self.beanstalk, elastic_beanstalk, told).await,
            Consumer::Lambda { lambda, variable } => lambda::begin(&self.lambda, lambda, variable, told).await,
            Consumer::Url { url } => url::begin(&self.http, url, told).await,
        };
        result.map_err(|failure| crate::store::without(failure, told.value).context(format!("tell {}", name(consumer))))
    }

    /// Looks how far a consumer is. One call; Elastic Beanstalk two, a URL none.
    ///
    /// # Errors
    /// When it cannot be seen.
    pub async fn look(&self, consumer: &Consumer, refresh: &Refresh, now: DateTime<Utc>) -> Result<Progress, Failure> {
        if refresh.done_at.is_some() {
            return Ok(Progress::Done);
        }
        let result = match consumer {
            Consumer::Ecs { ecs } => ecs::look(&self.ecs, ecs, refresh).await,
            Consumer::Beanstalk { elastic_beanstalk } => beanstalk::look(&self.beanstalk, elastic_beanstalk, refresh, now).await,
            Consumer::Lambda { lambda, .. } => lambda::look(&self.lambda, lambda).await,
            // Only an answer of 2xx makes a refresh, and that is done.
            Consumer::Url { .. } => Ok(Progress::Done),
        };
        result.map_err(|failure| failure.context(format!("look at {}", name(consumer))))
    }

    /// What can be said of a consumer without telling it anything. `bytes` is the size of the value that it will get.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub async fn check(&self, consumer: &Consumer, bytes: usize) -> Result<Vec<Remark>, Failure> {
        let result = match consumer {
            Consumer::Ecs { ecs } => ecs::check(&self.ecs, ecs).await,
            Consumer::Beanstalk { elastic_beanstalk } => beanstalk::check(&self.beanstalk, elastic_beanstalk).await,
            Consumer::Lambda { lambda, variable } => lambda::check(&self.lambda, lambda, variable, bytes).await,
            Consumer::Url { url } => Ok(url::check(url)),
        };
        result.map_err(|failure| failure.context(format!("look at {}", name(consumer))))
    }
}

/// A consumer in messages. Of a URL only the host: the rest may be a secret of its own.
pub fn name(consumer: &Consumer) -> String {
    match consumer {
        Consumer::Ecs { ecs } => format!("the ECS service {ecs}"),
        Consumer::Beanstalk { elastic_beanstalk } => format!("the Elastic Beanstalk environment {elastic_beanstalk}"),
        Consumer::Lambda { lambda, variable } => format!("the variable {variable} of the function {lambda}"),
        Consumer::Url { url } => format!("the URL at {}", url::host(url)),
    }
}

/// A time of the SDKs.
fn time(at: Option<&aws_sdk_ecs::primitives::DateTime>) -> Option<DateTime<Utc>> {
    at.and_then(|at| DateTime::from_timestamp(at.secs(), at.subsec_nanos()))
}

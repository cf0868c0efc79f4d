//! AWS as every function uses it: one configuration with limits on every call, and errors that say what was refused.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::failure::{Failure, FailureKind};

/// Reads region, credentials and endpoint from the environment, as AWS's own tools do.
#[expect(clippy::disallowed_methods, reason = "the one place that configures AWS clients")]
pub async fn configuration() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .retry_config(RetryConfig::standard().with_max_attempts(6).with_max_backoff(Duration::from_secs(8)))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(5))
                .read_timeout(Duration::from_secs(30))
                .operation_attempt_timeout(Duration::from_secs(90))
                .build(),
        )
        .load()
        .await
}

/// What went wrong in a call, in one line: the service's code and message where it answered, the whole chain of causes where it did not.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
pub fn failure<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Some(service) = error.as_service_error() else {
        return Failure::from_error(FailureKind::Unreachable, &error);
    };
    // A refused HEAD has no body, so S3 gives it no code but the status.
    let forbidden = error.raw_response().is_some_and(|response| response.status().as_u16() == 403);
    let code = service.code().unwrap_or(if forbidden { "Forbidden" } else { "(no error code)" });
    let message = service.message().map_or_else(|| service.to_string(), str::to_owned);
    let failure = Failure::new(kind_of(code), format!("{code}: {message}"));
    if failure.kind == FailureKind::Denied {
        failure.hint("allow the action named in the message in the function's role (and in the key's policy, if it is a kms: action); the roles are in template.yaml")
    } else {
        failure
    }
}

/// The class of a service's error code.
fn kind_of(code: &str) -> FailureKind {
    match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "Forbidden"
        | "AuthorizationError"
        | "AuthorizationErrorException"
        | "KMSAccessDenied"
        | "KMSAccessDeniedException"
        | "UnauthorizedOperation" => FailureKind::Denied,
        "InternalError" | "InternalServerError" | "ServiceUnavailable" | "SlowDown" | "Throttling" | "ThrottlingException" | "RequestTimeout" => {
            FailureKind::Unreachable
        }
        "PreconditionFailed" | "ConditionalRequestConflict" => FailureKind::Conflict,
        _ => FailureKind::Other,
    }
}

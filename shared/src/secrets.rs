//! Secrets: read from Parameter Store, held in a type that cannot be printed.

pub use secrecy::{ExposeSecret, SecretString};

use crate::aws;
use crate::failure::{Failure, FailureKind};

/// Reads a SecureString of SSM Parameter Store.
///
/// # Errors
/// When it does not exist (the hint says how to create it) or may not be read.
pub async fn parameter(ssm: &aws_sdk_ssm::Client, name: &str) -> Result<SecretString, Failure> {
    let answer = ssm.get_parameter().name(name).with_decryption(true).send().await.map_err(|error| {
        let failure = aws::failure(error).context(format!("read the parameter {name} (ssm:GetParameter)"));
        if failure.to_string().contains("ParameterNotFound") {
            failure.hint(format!("create it: aws ssm put-parameter --type SecureString --name {name} --value …"))
        } else {
            failure
        }
    })?;
    let value = answer.parameter.and_then(|parameter| parameter.value).filter(|value| !value.trim().is_empty());
    value
        .map(|value| SecretString::from(value.trim().to_owned()))
        .ok_or_else(|| Failure::new(FailureKind::BadSettings, format!("the parameter {name} is empty")))
}

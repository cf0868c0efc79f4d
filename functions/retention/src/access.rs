//! Clients for other regions and accounts: our own configuration in another region, with the credentials of a role there where one is named.

use aws_config::{Region, SdkConfig};
use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use shared::aws;
use shared::failure::{Failure, FailureKind};

/// Our own configuration, and what assumes roles.
pub struct Access {
    config: SdkConfig,
    sts: aws_sdk_sts::Client,
}

impl Access {
    /// Of this function.
    pub fn new(config: &SdkConfig) -> Self {
        Self { config: config.clone(), sts: aws_sdk_sts::Client::new(config) }
    }

    /// The region that the function runs in.
    pub fn home(config: &SdkConfig) -> String {
        config.region().map(ToString::to_string).unwrap_or_default()
    }

    /// The configuration for a region, as a role if one is named. Credentials last an hour, longer than any run.
    ///
    /// # Errors
    /// When the role cannot be assumed.
    pub async fn config(&self, region: &str, role_arn: Option<&str>) -> Result<SdkConfig, Failure> {
        let builder = self.config.clone().into_builder().region(Region::new(region.to_owned()));
        let Some(role_arn) = role_arn else { return Ok(builder.build()) };
        let call = self.sts.assume_role().role_arn(role_arn).role_session_name("lifeboat-retention");
        let answer = call.send().await.map_err(|error| aws::failure(error).context(format!("assume {role_arn} (sts:AssumeRole)")))?;
        let found = answer.credentials.ok_or_else(|| Failure::new(FailureKind::Other, format!("{role_arn} was assumed without credentials")))?;
        let credentials = Credentials::new(found.access_key_id, found.secret_access_key, Some(found.session_token), None, "retention");
        Ok(builder.credentials_provider(SharedCredentialsProvider::new(credentials)).build())
    }
}

//! Clients for each place: home, and the hops, with the credentials that count there.

use aws_config::{Region, SdkConfig};
use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use shared::aws;
use shared::destination::Hop;
use shared::failure::{Failure, FailureKind};
use shared::snapshot::Owner;

/// Names of sessions have at most 64 characters of these (API reference of STS, AssumeRole).
const SESSION_NAME_CHARS_MAX: usize = 64;

/// Home and the hops. Clients live as long as an invocation: the other account's credentials do not last.
pub struct Places {
    own: SdkConfig,
    home: aws_sdk_rds::Client,
    hops: Vec<(Hop, Result<SdkConfig, Failure>)>,
}

impl Places {
    /// Only home.
    pub fn home_only(own: &SdkConfig) -> Self {
        Self { own: own.clone(), home: aws_sdk_rds::Client::new(own), hops: Vec::new() }
    }

    /// All of them. A hop whose role cannot be had is a place of which nothing is known.
    pub async fn open(own: &SdkConfig, hops: &[Hop], owner: &Owner) -> Self {
        let mut places = Self::home_only(own);
        for hop in hops {
            let config = match &hop.role_arn {
                None => Ok(own.clone()),
                Some(role_arn) => assume(own, role_arn, owner).await,
            };
            places.hops.push((hop.clone(), config.map(|config| in_region(&config, &hop.region))));
        }
        places
    }

    /// RDS at a place: 0 is home, then the hops.
    ///
    /// # Errors
    /// When the role of the place could not be had.
    pub fn rds(&self, place: usize) -> Result<aws_sdk_rds::Client, Failure> {
        let Some(index) = place.checked_sub(1) else { return Ok(self.home.clone()) };
        let (_, config) = self.hops.get(index).ok_or_else(|| Failure::new(FailureKind::Other, "there is no such place"))?;
        config.as_ref().map(aws_sdk_rds::Client::new).map_err(Clone::clone)
    }

    /// KMS of a key's own region, with our own credentials: another account's key lets us look by its policy.
    pub fn kms(&self, key_arn: &str) -> aws_sdk_kms::Client {
        match key_arn.split(':').nth(3).filter(|region| !region.is_empty()) {
            Some(region) => aws_sdk_kms::Client::new(&in_region(&self.own, region)),
            None => aws_sdk_kms::Client::new(&self.own),
        }
    }

    /// Our own credentials, to sign with.
    ///
    /// # Errors
    /// When there are none.
    pub async fn own_credentials(&self) -> Result<Credentials, Failure> {
        use aws_sdk_sts::config::ProvideCredentials as _;
        let provider = self.own.credentials_provider().ok_or_else(|| Failure::new(FailureKind::Other, "there are no credentials"))?;
        provider.provide_credentials().await.map_err(|error| Failure::from_error(FailureKind::Other, &error).context("find credentials"))
    }
}

fn in_region(config: &SdkConfig, region: &str) -> SdkConfig {
    config.to_builder().region(Region::new(region.to_owned())).build()
}

/// A session of the other account's role, whose name says who it is.
async fn assume(own: &SdkConfig, role_arn: &str, owner: &Owner) -> Result<SdkConfig, Failure> {
    let sts = aws_sdk_sts::Client::new(own);
    let answer = sts.assume_role().role_arn(role_arn).role_session_name(session_name(owner)).send().await;
    let answer = answer.map_err(|error| aws::failure(error).context(format!("assume {role_arn} (sts:AssumeRole)")))?;
    let found = answer.credentials.ok_or_else(|| Failure::new(FailureKind::Other, "STS gave no credentials"))?;
    let credentials = Credentials::new(found.access_key_id, found.secret_access_key, Some(found.session_token), None, "the other account's role");
    Ok(own.to_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build())
}

fn session_name(owner: &Owner) -> String {
    format!("lifeboat-{}-{}", owner.stage, owner.instance).chars().take(SESSION_NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_name_says_who_it_is_and_fits() {
        let name = |instance: &str| session_name(&Owner { stage: "prod".to_owned(), instance: instance.to_owned() });
        assert_eq!(name("app-db"), "lifeboat-prod-app-db");
        assert_eq!(name(&"x".repeat(63)).len(), SESSION_NAME_CHARS_MAX);
    }
}

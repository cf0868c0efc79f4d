//! How the rotator itself logs in: with the URL of its own parameter, or, where that URL has no password, with a token of IAM that is good for a quarter of an
//! hour. Then nobody has to rotate the rotator.

use std::path::Path;

use aws_config::SdkConfig;
use aws_sdk_rds::auth_token::{AuthTokenGenerator, Config};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shared::failure::{Failure, FailureKind};
use shared::secrets::SecretString;
use shared_postgres::Access;

use crate::database::login::Place;

/// The rotator's access, from the text of its parameter.
///
/// # Errors
/// When the URL is none, or no token can be had.
pub async fn rotator(url: &SecretString, ca_file: &Path, aws: &SdkConfig) -> Result<Access, Failure> {
    let access = Access::parse(url, ca_file).map_err(|failure| failure.context("read the rotator's URL"))?;
    if access.has_password() { Ok(access) } else { with_token(access, aws).await }
}

/// The rotator's way to another server. A token is for one address: with `tokens`, a new one is signed.
///
/// # Errors
/// When it would be reached without TLS, or no token can be had.
pub async fn elsewhere(own: &Access, place: &Place, tokens: Option<&SdkConfig>) -> Result<Access, Failure> {
    let there = own.clone().at(&place.host, place.port)?;
    match tokens {
        Some(aws) if there.host != own.host || there.port != own.port => with_token(there, aws).await,
        _ => Ok(there),
    }
}

/// The same access with a token for its password.
///
/// # Errors
/// When there is no TLS, or when there are no credentials to sign with.
pub async fn with_token(access: Access, aws: &SdkConfig) -> Result<Access, Failure> {
    let attempted = || format!("sign a token for {} at {} (rds-db:connect)", access.user, access.host);
    if access.ca_file.is_none() {
        // RDS asks for the token itself, not for a proof that we have it.
        return Err(Failure::new(FailureKind::BadSettings, "a token is sent as it is, so it needs TLS")
            .context(attempted())
            .hint("give the rotator's URL a password, or leave sslmode=disable out of it"));
    }
    // The generator puts the name into a URL as it is.
    let user = utf8_percent_encode(&access.user, NON_ALPHANUMERIC).to_string().replace("%5F", "_").replace("%2D", "-").replace("%2E", ".");
    let config = Config::builder().hostname(&access.host).port(u64::from(access.port)).username(user).build();
    let config = config.map_err(|error| Failure::from_error(FailureKind::BadSettings, error.as_ref()).context(attempted()))?;
    let token = AuthTokenGenerator::new(config).auth_token(aws).await;
    let token = token.map_err(|error| Failure::from_error(FailureKind::Denied, error.as_ref()).context(attempted()))?;
    Ok(access.clone().with_password(SecretString::from(token.as_str())))
}

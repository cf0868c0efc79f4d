//! The signed request that lets RDS in another region read an encrypted snapshot in ours: `PreSignedUrl` of CopyDBSnapshot, which the SDK for Rust does
//! not make by itself.
//!
//! RDS asks for it in the GovCloud regions and ignores it elsewhere (API reference, CopyDBSnapshot, `PreSignedUrl`); the parameters are those that it
//! names, and what AWS's other SDKs sign.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use aws_sdk_rds::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use shared::failure::{Failure, FailureKind};

/// Of the protocol, as the SDK sends it.
const VERSION: &str = "2014-10-31";
const VALID: Duration = Duration::from_hours(1);

/// What is to be copied, as in the request that the URL goes with.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'a> {
    /// Region of the source.
    pub source_region: &'a str,
    /// Region of the copy.
    pub destination_region: &'a str,
    /// ARN of the source.
    pub source_arn: &'a str,
    /// Id of the copy.
    pub target_id: &'a str,
    /// Key of the copy.
    pub key_arn: &'a str,
}

/// The URL, good for an hour from `now`.
///
/// # Errors
/// When it cannot be signed, which is a defect.
pub fn url(copy: Copy<'_>, credentials: Credentials, now: SystemTime) -> Result<String, Failure> {
    let parameters = [
        ("Action", "CopyDBSnapshot"),
        ("DestinationRegion", copy.destination_region),
        ("KmsKeyId", copy.key_arn),
        ("SourceDBSnapshotIdentifier", copy.source_arn),
        ("TargetDBSnapshotIdentifier", copy.target_id),
        ("Version", VERSION),
    ];
    // Always AWS's own address: it is RDS that calls it, not we.
    let suffix = if copy.source_region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let mut url = format!("https://rds.{}.{suffix}/", copy.source_region);
    for (index, (name, value)) in parameters.iter().enumerate() {
        let _ = write!(url, "{}{name}={}", if index == 0 { '?' } else { '&' }, encoded(value));
    }
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(VALID);
    let identity = credentials.into();
    let signing = v4::SigningParams::builder().identity(&identity).region(copy.source_region).name("rds").time(now).settings(settings);
    let signing = signing.build().map_err(|error| failed(&error))?.into();
    let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(b"")).map_err(|error| failed(&error))?;
    let (instructions, _) = sign(request, &signing).map_err(|error| failed(&error))?.into_parts();
    let (_, added) = instructions.into_parts();
    for (name, value) in added {
        let _ = write!(url, "&{name}={}", encoded(&value));
    }
    Ok(url)
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::from_error(FailureKind::Other, error).context("sign the request for the source's region")
}

/// As RFC 3986 and SigV4 want it: everything but letters, digits and `-._~`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(token: Option<&str>) -> String {
        let copy = Copy {
            source_region: "us-west-2",
            destination_region: "us-east-1",
            source_arn: "arn:aws:rds:us-west-2:123456789012:snapshot:mysql-instance1-snapshot-20161115",
            target_id: "mysql-instance1-snapshot-20161115",
            key_arn: "arn:aws:kms:us-east-1:123456789012:key/1234abcd",
        };
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", token.map(str::to_owned), None, "test");
        url(copy, credentials, SystemTime::UNIX_EPOCH + Duration::from_hours(17_120 * 24)).expect("signed")
    }

    fn parameter<'a>(url: &'a str, name: &str) -> Option<&'a str> {
        let (_, query) = url.split_once('?')?;
        query.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    }

    #[test]
    fn it_has_the_parameters_that_rds_asks_for() {
        let url = signed(None);
        assert!(url.starts_with("https://rds.us-west-2.amazonaws.com/?"), "{url}");
        for (name, value) in [
            ("Action", "CopyDBSnapshot"),
            ("DestinationRegion", "us-east-1"),
            ("KmsKeyId", "arn%3Aaws%3Akms%3Aus-east-1%3A123456789012%3Akey%2F1234abcd"),
            ("SourceDBSnapshotIdentifier", "arn%3Aaws%3Ards%3Aus-west-2%3A123456789012%3Asnapshot%3Amysql-instance1-snapshot-20161115"),
            ("TargetDBSnapshotIdentifier", "mysql-instance1-snapshot-20161115"),
            ("Version", "2014-10-31"),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", "AKIDEXAMPLE%2F20161115%2Fus-west-2%2Frds%2Faws4_request"),
            ("X-Amz-Date", "20161115T000000Z"),
            ("X-Amz-Expires", "3600"),
            ("X-Amz-SignedHeaders", "host"),
        ] {
            assert_eq!(parameter(&url, name), Some(value), "{name} in {url}");
        }
        assert_eq!(parameter(&url, "X-Amz-Signature").map(str::len), Some(64), "{url}");
    }

    #[test]
    fn a_roles_token_is_signed_too() {
        assert_eq!(parameter(&signed(None), "X-Amz-Security-Token"), None);
        let url = signed(Some("a+b/c="));
        assert_eq!(parameter(&url, "X-Amz-Security-Token"), Some("a%2Bb%2Fc%3D"));
    }

    #[test]
    fn the_signature_is_that_of_botocore() {
        let url = signed(None);
        assert_eq!(parameter(&url, "X-Amz-Signature"), Some("f03b4d27afd676c79e6ffc2f41daf4765c35bd195e1cc69ef6e46afb766aab92"), "{url}");
    }
}

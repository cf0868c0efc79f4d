//! Where the team's file is: an object of S3, or a parameter.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use shared::aws;
use shared::failure::{Context as _, Failure, FailureKind};

/// Longest file, in bytes.
const BYTES_MAX: i64 = 1024 * 1024;

/// Where the file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `s3://BUCKET/KEY`.
    Object {
        /// Bucket.
        bucket: String,
        /// Key.
        key: String,
    },
    /// Name of a parameter of Parameter Store.
    Parameter(String),
}

impl Place {
    /// Reads `s3://bucket/key` or `/name/of/a/parameter`.
    ///
    /// # Errors
    /// In words, when it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("s3://").map(|address| address.split_once('/')) {
            Some(Some((bucket, key))) if !bucket.is_empty() && !key.is_empty() => Ok(Self::Object { bucket: bucket.to_owned(), key: key.to_owned() }),
            None if text.starts_with('/') && text.len() > 1 => Ok(Self::Parameter(text.to_owned())),
            _ => Err(format!("{text:?} must be s3://BUCKET/KEY, or the name of a parameter, which begins with /")),
        }
    }
}

/// Reads the file.
///
/// # Errors
/// When it cannot be read: it is not there, say, or not text.
pub async fn load(place: &Place, s3: &aws_sdk_s3::Client, ssm: &aws_sdk_ssm::Client) -> Result<String, Failure> {
    match place {
        Place::Object { bucket, key } => {
            let attempted = format!("read the team's file s3://{bucket}/{key} (s3:GetObject)");
            let answer = match s3.get_object().bucket(bucket).key(key).send().await {
                Ok(answer) => answer,
                Err(error) if error.code() == Some("NoSuchKey") => {
                    return Err(Failure::new(FailureKind::BadSettings, "there is no such object").context(attempted));
                }
                Err(error) => return Err(aws::failure(error).context(attempted)),
            };
            if answer.content_length().is_none_or(|length| length > BYTES_MAX) {
                return Err(Failure::new(FailureKind::BadSettings, format!("it is longer than {BYTES_MAX} bytes")).context(attempted));
            }
            let body =
                answer.body.collect().await.map_err(|error| Failure::from_error(FailureKind::Unreachable, &error)).context(attempted.clone())?;
            String::from_utf8(body.to_vec()).map_err(|_| Failure::new(FailureKind::BadSettings, "it is not UTF-8 text").context(attempted))
        }
        Place::Parameter(name) => {
            let attempted = format!("read the team's file from the parameter {name} (ssm:GetParameter)");
            let answer =
                ssm.get_parameter().name(name).with_decryption(true).send().await.map_err(|error| aws::failure(error).context(attempted.clone()))?;
            let value = answer.parameter.and_then(|parameter| parameter.value);
            value.ok_or_else(|| Failure::new(FailureKind::BadSettings, "it has no value").context(attempted))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_object_or_a_parameter() {
        let object = |bucket: &str, key: &str| Ok(Place::Object { bucket: bucket.into(), key: key.into() });
        assert_eq!(Place::parse("s3://b/checks/a.toml"), object("b", "checks/a.toml"));
        assert_eq!(Place::parse("/shop/checks"), Ok(Place::Parameter("/shop/checks".into())));
        for wrong in ["", "/", "s3://", "s3://b", "s3://b/", "s3:///k", "checks.toml"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}

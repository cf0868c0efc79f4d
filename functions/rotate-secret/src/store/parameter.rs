//! A live value in Parameter Store.
//!
//! A parameter knows no "next": its newest version is what readers get, there is no comparing while writing, and what a write does not say again (the KMS key, above
//! all) falls back to a default. So everything is said again, the version that comes back tells whether somebody else wrote meanwhile, and every answer
//! is held against the newest version that this process has seen.

use std::sync::atomic::{AtomicI64, Ordering};

use aws_config::SdkConfig;
use aws_sdk_ssm::types::{ParameterHistory, ParameterMetadata, ParameterStringFilter, ParameterTier, ParameterType};
use shared::aws;
use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use super::{Live, PAUSES, Published, keys, of_kind, time, without};
use crate::remark::{Remark, Weight};

const VERSIONS_MAX: i64 = 100;
const STANDARD_BYTES_MAX: usize = 4096;
const ADVANCED_BYTES_MAX: usize = 8192;
const PAGE: i32 = 50;
const PAGES_MAX: usize = 4;
/// AWS's own key cannot be switched off.
const AWS_KEY: &str = "alias/aws/ssm";
/// So many versions in between are looked at.
const BETWEEN_MAX: i64 = 3;

/// One parameter.
#[derive(Debug)]
pub struct ParameterStore {
    ssm: aws_sdk_ssm::Client,
    kms: aws_sdk_kms::Client,
    name: String,
    settings: OnceCell<ParameterMetadata>,
    seen: AtomicI64,
}

impl ParameterStore {
    pub(super) fn new(config: &SdkConfig, name: &str) -> Self {
        let (ssm, kms) = (aws_sdk_ssm::Client::new(config), aws_sdk_kms::Client::new(config));
        Self { ssm, kms, name: name.to_owned(), settings: OnceCell::new(), seen: AtomicI64::new(0) }
    }

    pub(super) fn remember(&self, version: &str) {
        if let Ok(version) = version.parse() {
            self.seen.fetch_max(version, Ordering::SeqCst);
        }
    }

    /// GetParameter, once.
    pub(super) async fn live(&self) -> Result<Live, Failure> {
        self.live_since(self.seen.load(Ordering::SeqCst)).await
    }

    /// GetParameter until the answer is this version or a newer one.
    async fn live_since(&self, known: i64) -> Result<Live, Failure> {
        let mut pauses = PAUSES.iter();
        loop {
            let (version, live) = self.get(&self.name).await?;
            if version >= known {
                self.seen.fetch_max(version, Ordering::SeqCst);
                return Ok(live);
            }
            let Some(pause) = pauses.next() else {
                return Err(Failure::new(
                    FailureKind::Unreachable,
                    format!("Parameter Store still answers with version {version} of {}, and version {known} was there before", self.name),
                )
                .hint("nothing was concluded from it; the next invocation goes on"));
            };
            tokio::time::sleep(*pause).await;
        }
    }

    async fn get(&self, name: &str) -> Result<(i64, Live), Failure> {
        let answer = self.ssm.get_parameter().name(name).with_decryption(true).send().await;
        let answer = answer.map_err(|error| hinted(aws::failure(error), name).context(format!("read the parameter {name} (ssm:GetParameter)")))?;
        let parameter = answer.parameter.unwrap_or_else(|| aws_sdk_ssm::types::Parameter::builder().build());
        let value = parameter.value.filter(|value| !value.trim().is_empty());
        let value = value.ok_or_else(|| Failure::new(FailureKind::BadSettings, format!("the parameter {name} is empty")))?;
        let changed_at = time(parameter.last_modified_date.as_ref());
        Ok((parameter.version, Live { value: SecretString::from(value), version: parameter.version.to_string(), changed_at }))
    }

    /// DescribeParameters, once for each process.
    pub(super) async fn prepare(&self) -> Result<(), Failure> {
        self.settings().await.map(|_| ())
    }

    async fn settings(&self) -> Result<&ParameterMetadata, Failure> {
        self.settings.get_or_try_init(|| self.describe()).await
    }

    async fn describe(&self) -> Result<ParameterMetadata, Failure> {
        let attempted = || format!("look at the settings of the parameter {} (ssm:DescribeParameters)", self.name);
        let filter = ParameterStringFilter::builder().key("Name").option("Equals").values(&self.name).build();
        let filter = filter.map_err(|error| Failure::from_error(FailureKind::Other, &error).context(attempted()))?;
        let answer = self.ssm.describe_parameters().parameter_filters(filter).send().await;
        let answer = answer.map_err(|error| aws::failure(error).context(attempted()))?;
        let found = answer.parameters.unwrap_or_default().into_iter().find(|parameter| parameter.name() == Some(&self.name));
        found.ok_or_else(|| Failure::new(FailureKind::BadSettings, format!("the parameter {} is not there", self.name)).context(attempted()))
    }

    /// PutParameter, then GetParameter until it is there.
    pub(super) async fn publish(&self, value: &SecretString, from_version: &str) -> Result<Published, Failure> {
        let from: i64 = from_version
            .parse()
            .map_err(|_| Failure::new(FailureKind::BadRequest, format!("{from_version:?} is not a version of the parameter {}", self.name)))?;
        let settings = self.settings().await?;
        let put = self.ssm.put_parameter().name(&self.name).value(value.expose_secret()).overwrite(true);
        // Said again, because what is left out may fall back to a default: the account's own key in place of the team's.
        let put = put.set_type(settings.r#type.clone()).set_tier(settings.tier.clone()).set_data_type(settings.data_type.clone());
        let is_secure = settings.r#type == Some(ParameterType::SecureString);
        let put = put.set_key_id(settings.key_id.clone().filter(|_| is_secure));
        let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let put = put.set_description(said(&settings.description)).set_allowed_pattern(said(&settings.allowed_pattern));
        let answer = put.send().await;
        let attempted = || format!("publish the new value in the parameter {} (ssm:PutParameter)", self.name);
        let version = answer.map_err(|error| without(hinted(aws::failure(error), &self.name), value).context(attempted()))?.version;
        self.seen.fetch_max(version, Ordering::SeqCst);
        let overtaken = version != from + 1 && !self.is_ours_between(from, version, value).await;
        let live = self.live_since(version).await?;
        let is_ours = live.value.expose_secret() == value.expose_secret();
        if live.version == version.to_string() && !is_ours {
            return Err(Failure::new(FailureKind::Corrupt, "what is read back is not what was written").context(attempted()));
        }
        Ok(Published { version: version.to_string(), overtaken: overtaken || !is_ours })
    }

    /// Whether all versions between are our own value: a call that was answered too late was made again.
    async fn is_ours_between(&self, from: i64, to: i64, value: &SecretString) -> bool {
        if to <= from || to - from - 1 > BETWEEN_MAX {
            return false;
        }
        for version in from + 1..to {
            match self.get(&format!("{}:{version}", self.name)).await {
                Ok((_, between)) if between.value.expose_secret() == value.expose_secret() => {}
                _ => return false,
            }
        }
        true
    }

    /// Versions with their labels, without values.
    async fn history(&self) -> Result<Vec<ParameterHistory>, Failure> {
        let (mut history, mut next) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let call = self.ssm.get_parameter_history().name(&self.name).with_decryption(false).max_results(PAGE).set_next_token(next);
            let answer = call.send().await.map_err(|error| {
                hinted(aws::failure(error), &self.name).context(format!("read the versions of the parameter {} (ssm:GetParameterHistory)", self.name))
            })?;
            history.extend(answer.parameters.unwrap_or_default());
            next = answer.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(history);
            }
        }
        Err(Failure::new(FailureKind::Other, format!("the parameter {} has more versions than Parameter Store keeps", self.name)))
    }

    /// DescribeParameters, DescribeKey, and from version 100 on GetParameterHistory without decryption.
    pub(super) async fn check(&self, bytes: usize) -> Result<Vec<Remark>, Failure> {
        let name = &self.name;
        // Not the remembered one: a dry run says what is now.
        let settings = self.describe().await?;
        let mut remarks = Vec::new();
        match (&settings.r#type, settings.key_id()) {
            (Some(ParameterType::SecureString), Some(key)) if key != AWS_KEY => remarks.extend(keys::check(&self.kms, key).await),
            (Some(ParameterType::SecureString), _) => {}
            (Some(ParameterType::StringList), _) => {
                let what = format!("the parameter {name} is a StringList: a comma in a value would divide it");
                remarks.push(Remark::new(Weight::Refused, what, "create another parameter, of type SecureString, and let the application read that"));
            }
            _ => {
                let what =
                    format!("the parameter {name} is a String: everybody who may describe the account's configuration can read the credential");
                let fix = format!("aws ssm put-parameter --overwrite --type SecureString --name {name} --value …");
                remarks.push(Remark::new(Weight::Warning, what, fix));
            }
        }
        let (limit, tier) = match settings.tier {
            Some(ParameterTier::Advanced) => (ADVANCED_BYTES_MAX, "advanced"),
            _ => (STANDARD_BYTES_MAX, "standard"),
        };
        if bytes > limit {
            let what = format!("the new value would have {bytes} bytes, and the {tier} tier of the parameter {name} takes {limit}");
            remarks.push(Remark::new(Weight::Refused, what, "make the value shorter, or put the parameter into the advanced tier"));
        }
        let expires = |text: Option<&str>| text.is_some_and(|text| text.contains("\"Expiration\""));
        if settings.policies().iter().any(|policy| policy.policy_type() == Some("Expiration") || expires(policy.policy_text())) {
            let what = format!("the parameter {name} has an expiration policy: Parameter Store will delete it, and with it the live credential");
            remarks.push(Remark::new(Weight::Refused, what, "remove the policy: aws ssm put-parameter --overwrite --policies '[{}]' …"));
        }
        if settings.version >= VERSIONS_MAX {
            let oldest = self.history().await?.into_iter().min_by_key(|version| version.version);
            if let Some(oldest) = oldest.filter(|oldest| !oldest.labels().is_empty()) {
                let (version, labels) = (oldest.version, oldest.labels().join(" "));
                let what = format!("the oldest of the {VERSIONS_MAX} versions of {name}, {version}, has a label ({labels}): no version can be added");
                let fix = format!("aws ssm unlabel-parameter-version --name {name} --parameter-version {version} --labels {labels}");
                remarks.push(Remark::new(Weight::Refused, what, fix));
            }
        }
        let what = format!("whether ssm:PutParameter on {name} is allowed shows only when it is called");
        remarks.push(Remark::new(Weight::Unpredictable, what, "the statement is in the function's role; see `simulate-principal-policy` of IAM"));
        Ok(remarks)
    }
}

/// What to do about errors that are Parameter Store's own.
fn hinted(failure: Failure, name: &str) -> Failure {
    let text = failure.to_string();
    let says = |code: &str| text.contains(code);
    if says("ParameterNotFound") {
        return failure.hint(format!("create it: aws ssm put-parameter --type SecureString --name {name} --value …"));
    }
    if says("ParameterMaxVersionLimitExceeded") {
        return failure.hint("the oldest version has a label: move or remove it (aws ssm unlabel-parameter-version), and the rotation goes on");
    }
    if says("TooManyUpdates") {
        return of_kind(failure, FailureKind::Unreachable).hint("somebody else writes the parameter at the same time; the next invocation goes on");
    }
    if says("ParameterPatternMismatch") {
        return failure.hint("the parameter has an allowed pattern that the new value does not match: change the pattern");
    }
    failure
}

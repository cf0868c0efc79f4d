//! A live value in Secrets Manager: AWSCURRENT, and the value that is about to be under AWSPENDING.
//!
//! A version's content never changes, and a label moves from the version that is named and from no other: so a publication that would overrun somebody is refused
//! by the service itself. A version is addressed by the token that it was made with; whoever comes again with the same token finds what is there.

use std::sync::Mutex;

use aws_config::SdkConfig;
use shared::aws;
use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};

use super::preamble::{CURRENT, Described, PENDING, refuse_owned};
use super::{Live, PAUSES, Published, keys, of_kind, time, without};
use crate::remark::{Remark, Weight};

/// One secret.
#[derive(Debug)]
pub struct SecretsManager {
    client: aws_sdk_secretsmanager::Client,
    kms: aws_sdk_kms::Client,
    id: String,
    /// The version that this process made the live one.
    published: Mutex<Option<String>>,
}

/// What came of staging a value.
#[derive(Clone, Debug)]
pub struct Staged {
    /// What lies under the token: to be gone on with, whatever one meant to stage.
    pub value: SecretString,
    /// Whether it was there already.
    pub adopted: bool,
}

impl SecretsManager {
    pub(super) fn new(config: &SdkConfig, id: &str) -> Self {
        let (client, kms) = (aws_sdk_secretsmanager::Client::new(config), aws_sdk_kms::Client::new(config));
        Self { client, kms, id: id.to_owned(), published: Mutex::new(None) }
    }

    pub(super) fn remember(&self, version: &str) {
        if let Ok(mut published) = self.published.lock() {
            *published = Some(version.to_owned());
        }
    }

    /// DescribeSecret, once.
    ///
    /// # Errors
    /// When it is not there or may not be described.
    pub async fn describe(&self) -> Result<Described, Failure> {
        self.described().await.map(|(described, _)| described)
    }

    async fn described(&self) -> Result<(Described, aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput), Failure> {
        let attempted = format!("describe the secret {} (secretsmanager:DescribeSecret)", self.id);
        let answer = self.client.describe_secret().secret_id(&self.id).send().await.map_err(|error| aws::failure(error).context(attempted))?;
        let described = Described {
            name: answer.name().unwrap_or(&self.id).to_owned(),
            rotation_enabled: answer.rotation_enabled,
            owning_service: answer.owning_service.clone(),
            stages: answer.version_ids_to_stages.clone().unwrap_or_default(),
        };
        Ok((described, answer))
    }

    /// GetSecretValue, once.
    pub(super) async fn live(&self) -> Result<Live, Failure> {
        let known = self.published.lock().map_or(None, |published| published.clone());
        let mut pauses = PAUSES.iter();
        loop {
            let call = self.client.get_secret_value().secret_id(&self.id).version_stage(CURRENT);
            let answer = call.send().await.map_err(|error| {
                let failure = aws::failure(error).context(format!("read the secret {} (secretsmanager:GetSecretValue)", self.id));
                if failure.to_string().contains("ResourceNotFound") { failure.hint("create the secret, with a value") } else { failure }
            })?;
            let version = answer.version_id.unwrap_or_default();
            // Not the one that we published: an older one, or somebody's newer one. Which, the time does not tell; a moment does.
            if known.as_ref().is_some_and(|known| *known != version)
                && let Some(pause) = pauses.next()
            {
                tokio::time::sleep(*pause).await;
                continue;
            }
            let value = answer.secret_string.filter(|value| !value.trim().is_empty()).ok_or_else(|| {
                Failure::new(FailureKind::BadSettings, format!("the secret {} is empty or binary", self.id)).hint("write it as text: --secret-string")
            })?;
            if known.as_ref().is_some_and(|known| *known != version) {
                // Somebody's newer one: it is not waited for again.
                self.remember(&version);
            }
            let changed_at = time(answer.created_date.as_ref());
            return Ok(Live { value: SecretString::from(value), version, changed_at });
        }
    }

    /// What lies under a token; none if there is no such version, or one without a value. GetSecretValue, once.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn pending(&self, token: &str) -> Result<Option<SecretString>, Failure> {
        match self.client.get_secret_value().secret_id(&self.id).version_id(token).send().await {
            Ok(answer) => Ok(answer.secret_string.filter(|value| !value.is_empty()).map(SecretString::from)),
            Err(error) => {
                let failure = aws::failure(error);
                if failure.to_string().contains("ResourceNotFound") {
                    return Ok(None);
                }
                Err(failure.context(format!("read the version {token} of the secret {} (secretsmanager:GetSecretValue)", self.id)))
            }
        }
    }

    /// Stages a value as AWSPENDING under a token, unless one is there: that is taken, whatever it is. GetSecretValue and PutSecretValue, each once.
    ///
    /// # Errors
    /// When it is not known to be staged. To be called again with the same token.
    pub async fn stage_pending(&self, token: &str, value: &SecretString) -> Result<Staged, Failure> {
        if let Some(value) = self.pending(token).await? {
            return Ok(Staged { value, adopted: true });
        }
        let put = self.client.put_secret_value().secret_id(&self.id).client_request_token(token).secret_string(value.expose_secret());
        let failure = match put.version_stages(PENDING).send().await {
            Ok(_) => return Ok(Staged { value: value.clone(), adopted: false }),
            Err(error) => without(aws::failure(error), value),
        };
        // Somebody staged another value under the token between the two calls.
        if failure.to_string().contains("ResourceExists")
            && let Some(value) = self.pending(token).await?
        {
            return Ok(Staged { value, adopted: true });
        }
        Err(failure.context(format!("stage a value in the secret {} (secretsmanager:PutSecretValue)", self.id)))
    }

    /// GetSecretValue of the staged version, UpdateSecretVersionStage, GetSecretValue until it is current. What is current already is not moved again.
    pub(super) async fn publish(&self, value: &SecretString, from_version: &str, token: Option<&str>) -> Result<Published, Failure> {
        let attempted = || format!("publish the new value of the secret {} (secretsmanager:UpdateSecretVersionStage)", self.id);
        let token =
            token.ok_or_else(|| Failure::new(FailureKind::BadRequest, "a value of Secrets Manager is published by the token it was staged under"))?;
        let staged = self.pending(token).await?;
        if staged.as_ref().map(ExposeSecret::expose_secret) != Some(value.expose_secret()) {
            let what = format!("the version {token} of the secret {} does not hold the value that is to be published", self.id);
            return Err(Failure::new(FailureKind::Conflict, what)
                .context(attempted())
                .hint("somebody changed the live value after this one was staged: stage the new one under another token"));
        }
        let call = self.client.update_secret_version_stage().secret_id(&self.id).version_stage(CURRENT).move_to_version_id(token);
        let moved = if from_version == token { Ok(()) } else { call.remove_from_version_id(from_version).send().await.map(|_| ()) };
        self.remember(token);
        let live = self.live().await;
        if live.as_ref().is_ok_and(|live| live.version == token) {
            return Ok(Published { version: token.to_owned(), overtaken: false });
        }
        if let Ok(mut published) = self.published.lock() {
            *published = None;
        }
        match moved {
            Err(error) => {
                let failure = aws::failure(error).context(attempted());
                let overtaken = live.is_ok_and(|live| live.version != from_version);
                if overtaken {
                    return Err(of_kind(failure, FailureKind::Conflict)
                        .hint("somebody else wrote the secret meanwhile; theirs is live, and nothing was moved"));
                }
                Err(failure)
            }
            // It was moved, and somebody has moved it on.
            Ok(()) => live.map(|_| Published { version: token.to_owned(), overtaken: true }),
        }
    }

    /// DescribeSecret and DescribeKey.
    pub(super) async fn check(&self) -> Result<Vec<Remark>, Failure> {
        let (described, answer) = self.described().await?;
        let (mut remarks, name) = (Vec::new(), &described.name);
        if let Err(failure) = refuse_owned(&described) {
            remarks.push(Remark::new(Weight::Refused, failure.to_string(), failure.hint.unwrap_or_default()));
        }
        if answer.deleted_date().is_some() {
            let fix = format!("aws secretsmanager restore-secret --secret-id {name}");
            remarks.push(Remark::new(Weight::Refused, format!("the secret {name} is marked for deletion"), fix));
        }
        if let (Some(current), Some(pending)) = (described.current(), described.pending())
            && current != pending
        {
            let what = format!("the secret {name} has a version {pending} under {PENDING}: a rotation of it did not end");
            let fix =
                "let it end, or find out which value the database has, before the label is removed: it may be the only copy of the live password";
            remarks.push(Remark::new(Weight::Warning, what, fix));
        }
        if let Some(region) = answer.primary_region().filter(|region| self.client.config().region().is_some_and(|here| here.as_ref() != *region)) {
            let fix = "rotate it there: replicas are written by Secrets Manager alone";
            remarks.push(Remark::new(Weight::Refused, format!("the secret {name} is a replica of the one in {region}"), fix));
        }
        if let Some(key) = answer.kms_key_id() {
            remarks.extend(keys::check(&self.kms, key).await);
        }
        let what = format!("whether PutSecretValue and UpdateSecretVersionStage on {name} are allowed shows only when they are called");
        remarks.push(Remark::new(Weight::Unpredictable, what, "the statement is in the function's role; see `simulate-principal-policy` of IAM"));
        Ok(remarks)
    }
}

//! The journals: one parameter for each definition, below one path, read back after what must not be lost was written.
//!
//! A parameter is never deleted: to be created again, it would have to be gone for half a minute. A finished journal stays, and the next rotation writes over it.

use std::collections::HashMap;
use std::sync::Mutex;

use aws_config::SdkConfig;
use aws_sdk_ssm::types::ParameterType;
use shared::aws;
use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};

use super::{PAUSES, without};
use crate::journal::{Journal, SCHEMA};

const BYTES_MAX: usize = 4096;
const PAGE: i32 = 10;
const PAGES_MAX: usize = 50;

/// Where the journals lie.
#[derive(Debug)]
pub struct Journals {
    ssm: aws_sdk_ssm::Client,
    /// `/lifeboat/STAGE/rotations`
    path: String,
    key_id: Option<String>,
    /// The newest version of each that this process has seen; 0: seen not to be there.
    seen: Mutex<HashMap<String, i64>>,
}

/// The journals that are open.
#[derive(Debug, Default)]
pub struct OpenJournals {
    /// These.
    pub open: Vec<Journal>,
    /// Parameters that are no journals, or none that this version understands, with why.
    pub refused: Vec<(String, Failure)>,
}

impl Journals {
    /// The journals of a stage, encrypted with this key (the account's default key without it).
    pub fn new(config: &SdkConfig, stage: &str, key_id: Option<&str>) -> Self {
        let path = format!("/lifeboat/{stage}/rotations");
        Self { ssm: aws_sdk_ssm::Client::new(config), path, key_id: key_id.map(str::to_owned), seen: Mutex::default() }
    }

    /// The journal of a definition's last rotation. GetParameter, once.
    ///
    /// # Errors
    /// When it cannot be read, is of a newer version of this program, or all answers are older than what this process has written.
    pub async fn read(&self, name: &str) -> Result<Option<Journal>, Failure> {
        let parameter = self.parameter(name)?;
        let Some((version, text)) = self.text(&parameter, self.known(name).unwrap_or(0)).await? else {
            self.saw(name, 0);
            return Ok(None);
        };
        self.saw(name, version);
        parse(&text).map(Some).map_err(|failure| failure.context(format!("read the journal {parameter}")))
    }

    /// Writes a journal and reads it back until it is there, decrypted and equal. PutParameter and GetParameter, each once.
    ///
    /// # Errors
    /// When it is not known to be there; nothing may be done then that needs it. [`FailureKind::Conflict`]: somebody else has written it since it was read.
    pub async fn write(&self, journal: &Journal) -> Result<(), Failure> {
        let (version, text) = self.put(journal).await?;
        let parameter = self.parameter(&journal.secret)?;
        let Some((found, read)) = self.text(&parameter, version).await? else {
            return Err(Failure::new(FailureKind::Unreachable, format!("the journal {parameter} was written and cannot be read")));
        };
        if found != version {
            return Err(overtaken(&parameter));
        }
        if read.expose_secret() != text.expose_secret() {
            return Err(Failure::new(
                FailureKind::Corrupt,
                format!("the journal {parameter} is read back with another content than it was written with"),
            ));
        }
        Ok(())
    }

    /// Writes a journal without reading it back: progress, which is seen again if it is lost, and never a secret for the first time. PutParameter, once.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub async fn note(&self, journal: &Journal) -> Result<(), Failure> {
        self.put(journal).await.map(|_| ())
    }

    async fn put(&self, journal: &Journal) -> Result<(i64, SecretString), Failure> {
        let parameter = self.parameter(&journal.secret)?;
        let attempted = || format!("write the journal {parameter} (ssm:PutParameter)");
        let text = serde_json::to_string(journal).map_err(|_| Failure::new(FailureKind::Other, "a journal cannot be written as JSON"))?;
        if text.len() > BYTES_MAX {
            return Err(Failure::new(FailureKind::Other, format!("it has {} bytes, and a parameter takes {BYTES_MAX}", text.len()))
                .context(attempted())
                .hint("fewer consumers for one definition, or shorter names"));
        }
        let text = SecretString::from(text);
        let known = self.known(&journal.secret).unwrap_or(0);
        let put = self.ssm.put_parameter().name(&parameter).value(text.expose_secret()).r#type(ParameterType::SecureString);
        let put = put.set_key_id(self.key_id.clone()).description("Lifeboat: the journal of a rotation").overwrite(known > 0);
        let version = match put.send().await {
            Ok(answer) => answer.version,
            Err(error) => {
                let failure = without(aws::failure(error), &text);
                // The first one: whoever creates it has begun, and everybody else has not.
                if failure.to_string().contains("ParameterAlreadyExists") {
                    return self.created_by(&parameter, journal, &text).await.map_err(|other| other.context(attempted()));
                }
                return Err(failure.context(attempted()));
            }
        };
        self.saw(&journal.secret, version);
        if known > 0 && version != known + 1 {
            // A call that was made again because its answer was lost looks the same; then what was written is what is there.
            let between = self.text(&format!("{parameter}:{}", version - 1), version - 1).await?.map(|(_, between)| between);
            let is_ours = between.as_ref().is_some_and(|between| between.expose_secret() == text.expose_secret());
            if version != known + 2 || !is_ours {
                self.put_back(&parameter, journal, between.filter(|_| !is_ours)).await?;
                return Err(overtaken(&parameter));
            }
        }
        Ok((version, text))
    }

    /// What was read before was an older version, and the newest is covered now: Parameter Store has no compare-and-swap. An open rotation that is covered is
    /// put back, for it may hold the only copy of a password.
    async fn put_back(&self, parameter: &str, ours: &Journal, covered: Option<SecretString>) -> Result<(), Failure> {
        let Some(covered) = covered else { return Ok(()) };
        if !parse(&covered).is_ok_and(|journal| journal.is_open() && journal.rotation != ours.rotation) {
            return Ok(());
        }
        let put = self.ssm.put_parameter().name(parameter).value(covered.expose_secret()).r#type(ParameterType::SecureString);
        let put = put.set_key_id(self.key_id.clone()).overwrite(true);
        let answer = put.send().await.map_err(|error| {
            without(aws::failure(error), &covered)
                .context(format!("put the journal {parameter} back, which somebody else had written (ssm:PutParameter)"))
        })?;
        self.saw(&ours.secret, answer.version);
        Ok(())
    }

    /// Whether the journal that exists already is the very one: a call made again because its answer was lost.
    async fn created_by(&self, parameter: &str, journal: &Journal, text: &SecretString) -> Result<(i64, SecretString), Failure> {
        match self.text(parameter, 1).await? {
            Some((1, found)) if found.expose_secret() == text.expose_secret() => {
                self.saw(&journal.secret, 1);
                Ok((1, found))
            }
            _ => Err(overtaken(parameter)),
        }
    }

    /// All journals that are open. GetParametersByPath, once for each ten.
    ///
    /// # Errors
    /// When they cannot be listed. One that is not understood does not keep the others.
    pub async fn open_ones(&self) -> Result<OpenJournals, Failure> {
        let attempted = || format!("read the journals below {} (ssm:GetParametersByPath)", self.path);
        let (mut found, mut next) = (OpenJournals::default(), None);
        for _ in 0..PAGES_MAX {
            let call =
                self.ssm.get_parameters_by_path().path(&self.path).recursive(false).with_decryption(true).max_results(PAGE).set_next_token(next);
            let answer = call.send().await.map_err(|error| aws::failure(error).context(attempted()))?;
            for parameter in answer.parameters.unwrap_or_default() {
                let name = parameter.name.unwrap_or_default();
                match parse(&SecretString::from(parameter.value.unwrap_or_default())) {
                    Ok(journal) if self.parameter(&journal.secret).as_ref() == Ok(&name) => {
                        self.saw(&journal.secret, parameter.version);
                        found.open.extend(journal.is_open().then_some(journal));
                    }
                    Ok(_) => {
                        let why = Failure::new(FailureKind::Corrupt, "the journal is of another definition than its name says");
                        found.refused.push((name, why));
                    }
                    Err(failure) => found.refused.push((name, failure)),
                }
            }
            next = answer.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(Failure::new(FailureKind::Other, format!("there are more than {} of them", PAGES_MAX * 10)).context(attempted()))
    }

    /// GetParameter, until the answer is this version or a newer one; none if there is no such parameter, and none is known.
    async fn text(&self, parameter: &str, known: i64) -> Result<Option<(i64, SecretString)>, Failure> {
        let mut pauses = PAUSES.iter();
        loop {
            let answer = self.ssm.get_parameter().name(parameter).with_decryption(true).send().await;
            let stale = match answer {
                Ok(answer) => {
                    let found = answer.parameter.map_or((0, None), |parameter| (parameter.version, parameter.value));
                    match found {
                        (version, Some(value)) if version >= known => return Ok(Some((version, SecretString::from(value)))),
                        (version, _) => format!("version {version}"),
                    }
                }
                Err(error) => {
                    let failure = aws::failure(error);
                    let is_missing = failure.to_string().contains("ParameterNotFound") || failure.to_string().contains("ParameterVersionNotFound");
                    if !is_missing {
                        return Err(failure.context(format!("read the journal {parameter} (ssm:GetParameter)")));
                    }
                    if known == 0 {
                        return Ok(None);
                    }
                    "that it is not there".to_owned()
                }
            };
            let Some(pause) = pauses.next() else {
                let what = format!("Parameter Store still answers with {stale} for the journal {parameter}, and version {known} was there before");
                return Err(Failure::new(FailureKind::Unreachable, what).hint("nothing was concluded from it; the next invocation goes on"));
            };
            tokio::time::sleep(*pause).await;
        }
    }

    /// The parameter of a definition. Its name comes from outside, and must not lead to another place.
    fn parameter(&self, name: &str) -> Result<String, Failure> {
        let is_plain = (1..=100).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if is_plain {
            return Ok(format!("{}/{name}", self.path));
        }
        Err(Failure::new(FailureKind::BadSettings, format!("{name:?} cannot be the name of a definition"))
            .hint("use letters, digits, `-`, `_` and `.`"))
    }

    fn known(&self, name: &str) -> Option<i64> {
        self.seen.lock().ok()?.get(name).copied()
    }

    fn saw(&self, name: &str, version: i64) {
        if let Ok(mut seen) = self.seen.lock() {
            let newest = seen.entry(name.to_owned()).or_default();
            *newest = version.max(*newest);
        }
    }
}

fn overtaken(parameter: &str) -> Failure {
    Failure::new(FailureKind::Conflict, format!("somebody else has written the journal {parameter}"))
        .hint("another invocation is at work; nothing is done by this one")
}

/// Takes a journal apart. The library's message could quote what it refuses, so only the place is named.
fn parse(text: &SecretString) -> Result<Journal, Failure> {
    #[derive(serde::Deserialize)]
    struct Schema {
        schema: u32,
    }
    let text = text.expose_secret();
    let not_one = |error: &serde_json::Error| {
        Failure::new(FailureKind::Corrupt, format!("it is not a journal (line {}, column {})", error.line(), error.column()))
            .hint("the parameter is Lifeboat's own: see its history for the last version that is a journal")
    };
    let schema = serde_json::from_str::<Schema>(text).map_err(|error| not_one(&error))?.schema;
    if schema != SCHEMA {
        return Err(Failure::new(
            FailureKind::WrongVersion,
            format!("the journal is of form {schema}, and this version of Lifeboat knows form {SCHEMA}"),
        )
        .hint("deploy the version that wrote it, or a newer one, and let it end the rotation"));
    }
    serde_json::from_str(text).map_err(|error| not_one(&error))
}

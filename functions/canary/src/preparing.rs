//! What must be there before anything is asked: the definitions, and what they name.

use std::sync::{Arc, OnceLock};

use shared::failure::{Context, Failure, FailureKind};
use shared::secrets::{self, ExposeSecret, SecretString};
use shared::store::Store;

use crate::config::Place;
use crate::definition::{Definitions, Target};
use crate::probe::{Probe, Trust, authorities};

/// Longer ones are something else.
const DEFINITIONS_BYTES_MAX: u64 = 256 * 1024;

/// Reads definitions, parameters and authorities.
pub(crate) struct Preparing {
    pub(crate) place: Place,
    pub(crate) ssm: aws_sdk_ssm::Client,
    pub(crate) s3: aws_sdk_s3::Client,
    /// The machine's authorities, read once.
    pub(crate) machine: OnceLock<Arc<Trust>>,
}

impl Preparing {
    pub(crate) async fn definitions(&self) -> Result<Definitions, Failure> {
        match &self.place {
            Place::Parameter(name) => {
                let text = secrets::parameter(&self.ssm, name).await.map_err(|failure| {
                    let is_missing = failure.to_string().contains("ParameterNotFound");
                    if is_missing { failure.hint("put the definitions there; docs/canary.md begins with an example") } else { failure }
                })?;
                Definitions::read(text.expose_secret()).context(format!("read the parameter {name}"))
            }
            Place::Object { bucket, key } => {
                let store = Store::new(self.s3.clone(), bucket.as_str());
                let address = store.address(key);
                let bad = |what: &str| Failure::new(FailureKind::BadSettings, format!("{address} {what}"));
                let missing = || bad("is not there").hint("put the definitions there; docs/canary.md begins with an example");
                if store.head(key).await?.ok_or_else(missing)?.size_bytes > DEFINITIONS_BYTES_MAX {
                    return Err(bad("is too long for definitions of the canary"));
                }
                let bytes = store.get(key).await?.ok_or_else(missing)?;
                let text = String::from_utf8(bytes).map_err(|_| bad("is no text"))?;
                Definitions::read(&text).context(format!("read {address}"))
            }
        }
    }

    /// A target with its secrets and those whom it trusts.
    pub(crate) async fn probe<'a>(&self, target: &'a Target) -> Result<Probe<'a>, Failure> {
        let mut values: Vec<SecretString> = Vec::new();
        for (_, parameter) in &target.secret_headers {
            values.push(secrets::parameter(&self.ssm, parameter).await?);
        }
        Probe::new(target, self.trust(target)?, values)
    }

    fn trust(&self, target: &Target) -> Result<Arc<Trust>, Failure> {
        if let Some(pem) = &target.authorities {
            let roots = authorities(pem).map_err(|what| Failure::new(FailureKind::BadSettings, format!("`authorities`: {what}")))?;
            return Trust::new(roots).map(Arc::new);
        }
        if let Some(machine) = self.machine.get() {
            return Ok(machine.clone());
        }
        let made = Arc::new(Trust::machine()?);
        Ok(self.machine.get_or_init(|| made).clone())
    }
}

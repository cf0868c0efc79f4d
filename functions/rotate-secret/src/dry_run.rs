//! What a rotation would come to: everything that can be looked at without writing, with the exact fix for what is in the way.

use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::lambda::Answer;
use shared::report::Report;
use shared::secrets::ExposeSecret;

use crate::Secret;
use crate::acting::{CredentialHands, Tools};
use crate::database::preflight;
use crate::definition::Database;
use crate::hands::DatabaseHands;
use crate::journal::Journal;
use crate::remark::{Remark, Weight};
use crate::store::Store;
use crate::value::keys::KeyRing;

/// A new key or password makes a value longer by this much at most.
const KEY_BYTES: usize = 100;
/// A URL, where its size is not known.
const VALUE_BYTES: usize = 300;

/// Looks, and writes nothing.
pub(crate) async fn dry_run(tools: &Tools<'_>, chosen: &[Secret<'_>], report: &mut Report) -> Result<Answer, Failure> {
    let mut said = Vec::new();
    for secret in chosen {
        let before = report.findings.len();
        match looked(tools, *secret).await {
            Ok(remarks) => report.findings.extend(remarks.into_iter().map(|remark| finding(secret.name(), remark))),
            Err(failure) => {
                let finding = Finding::new(FindingKind::RotationRefused, secret.name(), failure.to_string());
                report.findings.push(match failure.hint {
                    Some(hint) => finding.hint(hint),
                    None => finding,
                });
            }
        }
        let refused = report.findings[before..].iter().any(|finding| finding.kind == FindingKind::RotationRefused);
        said.push(format!("{} {}", secret.name(), if refused { "would not be rotated" } else { "would be rotated" }));
    }
    report.summary = format!("dry run: {}", said.join(", "));
    Ok(Answer { reply: None, only_answered: true })
}

fn finding(secret: &str, remark: Remark) -> Finding {
    let kind = match remark.weight {
        Weight::Refused => FindingKind::RotationRefused,
        Weight::Warning => FindingKind::RotationRemark,
        Weight::Unpredictable => FindingKind::NotPredictable,
    };
    Finding::new(kind, secret, remark.what).hint(remark.fix)
}

async fn looked(tools: &Tools<'_>, secret: Secret<'_>) -> Result<Vec<Remark>, Failure> {
    let (mut remarks, told, bytes) = match secret {
        Secret::Credential(definition) => (credential(tools, definition).await?, &definition.consumers, VALUE_BYTES),
        Secret::Keys(definition) => {
            let store = Store::new(tools.config, definition.parameter.as_deref(), definition.secret.as_deref())?;
            let live = store.live().await?;
            KeyRing::read(&definition.sign, &definition.verify, &live.value)?;
            let bytes = live.value.expose_secret().len() + KEY_BYTES;
            (store.check(bytes).await?, &definition.consumers, bytes)
        }
    };
    if let Some(open) = tools.journals.read(secret.name()).await?.filter(Journal::is_open) {
        let what = format!("the rotation {} is open, and would go on", open.rotation);
        remarks.push(Remark { weight: Weight::Warning, what, fix: "nothing: a sweep goes on with it every minute".to_owned() });
    }
    for consumer in told {
        remarks.extend(tools.consumers.check(consumer, bytes).await?);
    }
    Ok(remarks)
}

async fn credential(tools: &Tools<'_>, definition: &Database) -> Result<Vec<Remark>, Failure> {
    let mut hands = CredentialHands::new(tools, definition, None)?;
    let live = hands.live(None).await?.credential;
    let rotator = tools.rotator().await?;
    hands.reach(rotator);
    let (servers, access, tokens) = (hands.servers().await?, hands.access()?.clone(), hands.tokens());
    let users = definition.users().map_err(|what| Failure::new(FailureKind::BadSettings, what))?;
    let request = preflight::Request {
        rotator: &access,
        users: &users,
        live_user: &live.user,
        live_password: &live.password,
        bound_to_user: definition.bound_to_user,
        servers: &servers,
        tokens,
    };
    let predicted = preflight::check(&request).await;
    let mut remarks: Vec<Remark> = predicted
        .into_iter()
        .map(|one| Remark {
            weight: if one.obstacle.blocks() { Weight::Refused } else { Weight::Warning },
            what: format!("{}: {}", one.subject, one.seen),
            fix: one.fix,
        })
        .collect();
    let bytes = hands.value().map_or(VALUE_BYTES, |value| value.text().expose_secret().len() + KEY_BYTES);
    remarks.extend(hands.store().check(bytes).await?);
    Ok(remarks)
}

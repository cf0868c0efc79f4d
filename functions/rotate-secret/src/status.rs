//! How old each secret is, and what is under way: for the daily gauge, the digest and the alarm.

use chrono::{DateTime, TimeDelta, Utc};
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared::lambda::Answer;
use shared::report::{Report, Unit};

use crate::Secret;
use crate::acting::Tools;
use crate::definition::Definitions;
use crate::journal::{Journal, Outcome};
use crate::store::Store;

/// Looks at every definition; connects to no database.
pub(crate) async fn status(tools: &Tools<'_>, definitions: &Definitions, report: &mut Report) -> Result<Answer, Failure> {
    let now = tools.run.now();
    let (mut oldest, mut overdue, mut open, mut said) = (TimeDelta::zero(), 0_u64, 0_u64, Vec::new());
    for secret in Secret::all(definitions) {
        let (parameter, place) = match secret {
            Secret::Credential(one) => (one.parameter.as_deref(), one.secret.as_deref()),
            Secret::Keys(one) => (one.parameter.as_deref(), one.secret.as_deref()),
        };
        let looked = async {
            let live = Store::new(tools.config, parameter, place)?.live().await?;
            Ok::<_, Failure>((live.changed_at, tools.journals.read(secret.name()).await?))
        };
        let (changed_at, journal) = match looked.await {
            Ok(seen) => seen,
            Err(failure) => {
                let finding = Finding::new(FindingKind::NotChecked, secret.name(), failure.to_string());
                report.findings.push(match failure.hint {
                    Some(hint) => finding.hint(hint),
                    None => finding,
                });
                continue;
            }
        };
        let Some(since) = rotated_at(journal.as_ref()).or(changed_at) else { continue };
        let age = now - since;
        oldest = oldest.max(age);
        open += u64::from(journal.is_some_and(|journal| journal.is_open()));
        said.push(format!("{} is {} days old", secret.name(), age.num_days()));
        let limit = secret.cadence().overdue_days();
        if age.num_days() > limit {
            overdue += 1;
            let finding = Finding::new(FindingKind::RotationOverdue, secret.name(), format!("it is {} days old", age.num_days()));
            report.findings.push(finding.expected(format!("at most {limit} days")));
        }
    }
    report.count("secrets", said.len() as u64, Unit::Count);
    report.count("secretsOverdue", overdue, Unit::Count);
    report.count("rotationsOpen", open, Unit::Count);
    report.seconds("secretAgeSecondsMax", oldest.as_seconds_f64());
    report.summary = if said.is_empty() { "no secret is defined".to_owned() } else { said.join(", ") };
    Ok(Answer::default())
}

/// When the last rotation gave out what is live; an edit of another part of the value does not make its password younger.
fn rotated_at(journal: Option<&Journal>) -> Option<DateTime<Utc>> {
    let journal = journal?;
    let counts = journal.closed.as_ref().is_none_or(|closed| closed.outcome == Outcome::Done);
    journal.published_at.filter(|_| counts)
}

//! The deploy gate: what a rehearsal, the files as they are now, and the snapshot before the deployment come to. The decision itself is pure
//! ([`crate::rehearsal::gate`]); this gathers what it needs.

use aws_config::SdkConfig;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::failure::{Context, Failure, FailureKind};
use shared::report::{Outcome, Report};
use shared::store::Store;

use crate::observe;
use crate::plan::Planned;
use crate::rehearsal::gate::{Decision, Fallback, gate};
use crate::rehearsal::policy::Verdict;
use crate::rehearsal::{Rehearsal, files};
use crate::request::Gate;
use crate::result::DrillResult;
use crate::sources;
use crate::step::Milestone;

/// A snapshot that is older is no way back from a deployment: what came after it would be lost.
const FALLBACK_AGE_MAX: TimeDelta = TimeDelta::hours(2);

/// Decides, and says why in the report.
///
/// # Errors
/// When the drill rehearsed nothing, or something cannot be read.
pub async fn decide(
    store: &Store,
    config: &SdkConfig,
    home: &str,
    request: &Gate,
    now: DateTime<Utc>,
    report: &mut Report,
) -> Result<Value, Failure> {
    let plan = observe::plan(store, &request.drill).await?;
    let migrations = plan.migrations.as_ref().ok_or_else(|| {
        Failure::new(FailureKind::BadRequest, format!("the drill {} rehearsed no migrations", request.drill)).hint("begin one with `migrations`")
    })?;
    let key = request.drill.key(Milestone::Judged.object());
    let bytes = store.get(&key).await?;
    let bytes = bytes.ok_or_else(|| {
        Failure::new(FailureKind::BadRequest, format!("the drill {} has no result yet", request.drill)).hint("ask for its status, and wait")
    })?;
    let result: DrillResult = serde_json::from_slice(&bytes).context(format!("read {}", store.address(&key)))?;
    let rehearsal: Rehearsal = match &result.rehearsal {
        Some(rehearsal) => serde_json::from_value(rehearsal.clone()).context("read the rehearsal")?,
        None => Rehearsal { verdict: Verdict::default(), ..Rehearsal::default() },
    };
    let now_hash = files::read(store, &migrations.prefix).await?.hash();
    let fallback = match &request.snapshot {
        Some(id) => Some(fallback(config, home, id).await?),
        None => None,
    };
    let Decision { mut may_deploy, reasons } = gate(&rehearsal.verdict, &rehearsal.files_hash, &now_hash, fallback.as_ref(), FALLBACK_AGE_MAX, now);
    report.findings.extend(rehearsal.verdict.reasons.clone());
    report.findings.extend(reasons);
    // A copy that could not be proved says nothing about how production would take it.
    if !matches!(result.outcome, Outcome::Ok | Outcome::Attention) {
        may_deploy = false;
        report.findings.extend(result.findings.iter().filter(|finding| !rehearsal.verdict.reasons.contains(finding)).cloned());
    }
    report.summary = if may_deploy {
        format!("the migrations below {} may be deployed: they took {:.1} s on the copy", migrations.prefix, rehearsal.seconds)
    } else {
        format!("the migrations below {} must not be deployed", migrations.prefix)
    };
    report.seconds("rehearsalSeconds", rehearsal.seconds);
    report.link("rehearsal", store.address(&key));
    let said: Vec<String> = report.findings.iter().map(|finding| format!("{}: {}", finding.subject, finding.seen)).collect();
    Ok(json!({
        "drill": request.drill,
        "mayDeploy": may_deploy,
        "filesHash": now_hash,
        "snapshot": request.snapshot,
        "seconds": rehearsal.seconds,
        "summary": report.summary,
        "reasons": said,
    }))
}

/// A snapshot that is not available, or gone, is no way back; the decision says so.
async fn fallback(config: &SdkConfig, home: &str, id: &str) -> Result<Fallback, Failure> {
    match sources::snapshot(&observe::rds(config, home), id).await {
        Ok(found) => {
            let shows = if let Planned::Snapshot { data_at, .. } = found.source { data_at } else { DateTime::UNIX_EPOCH };
            Ok(Fallback { id: id.to_owned(), shows, is_good: true })
        }
        Err(failure) if failure.kind == FailureKind::BadRequest => Ok(Fallback { id: id.to_owned(), shows: DateTime::UNIX_EPOCH, is_good: false }),
        Err(failure) => Err(failure),
    }
}

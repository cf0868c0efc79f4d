//! Says how a drill came out: the result and its page in the bucket, the report for everybody, a verdict for the pipeline.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::report::{Outcome, Report, Unit};

use crate::act::Hands;
use crate::history;
use crate::page;
use crate::plan::Aim;
use crate::result::{self, DrillResult, Times, Worked};
use crate::step::Milestone;

/// Name of the page's object.
pub const PAGE: &str = "report.html";

/// Writes the page, then the result, whose presence says that both are there.
///
/// # Errors
/// When the bucket cannot be read or written.
pub async fn judge(hands: &Hands<'_>) -> Result<(), Failure> {
    let plan = &hands.observed.plan;
    let at = |milestone| async move {
        Ok::<_, Failure>(read(hands, milestone).await?.and_then(|content| content["at"].as_str()?.parse::<DateTime<Utc>>().ok()))
    };
    let times = Times { available_at: at(Milestone::Available).await?, isolated_at: at(Milestone::Isolated).await? };
    let worked: Option<Worked> = match read(hands, Milestone::Worked).await? {
        Some(content) => Some(serde_json::from_value(content).context("read what the database's part found")?),
        None => None,
    };
    let failed = read(hands, Milestone::Failed).await?;
    let failure = failed.as_ref().map(|content| content["why"].as_str().unwrap_or("it failed, and did not say why"));
    let mut result = result::judge(plan, &hands.observed.owner.instance, times, worked.as_ref(), failure);
    // What is exposed has a kind of its own.
    if let Some(exposures) = failed.as_ref().and_then(|content| content.get("exposures")).and_then(Value::as_array) {
        let hint = "nothing was done with it; correct the network or the parameter group that the message names, and drill again";
        let exposed =
            exposures.iter().filter_map(Value::as_str).map(|seen| Finding::new(FindingKind::ScratchExposed, plan.drill.as_str(), seen).hint(hint));
        result.findings.splice(0..0, exposed);
    }
    let before = history::before(hands.store, &plan.drill).await?;
    let page = page::page(&result, &before, hands.now).into_string();
    keep(hands, PAGE, page.into_bytes(), "text/html; charset=utf-8").await?;
    keep(hands, Milestone::Judged.object(), serde_json::to_vec_pretty(&result).context("write the result")?, "application/json").await
}

/// The first one stands.
async fn keep(hands: &Hands<'_>, name: &str, bytes: Vec<u8>, content_type: &str) -> Result<(), Failure> {
    match hands.store.put(&hands.observed.plan.drill.key(name), bytes, content_type).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.kind == FailureKind::Conflict => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Fills the report; the verdict is `pass` or `fail`.
///
/// # Errors
/// When the result cannot be read.
pub async fn report(hands: &Hands<'_>, clean: bool, report: &mut Report) -> Result<&'static str, Failure> {
    let plan = &hands.observed.plan;
    let result = result(hands).await?;
    report.summary.clone_from(&result.summary);
    report.findings.extend(result.findings.clone());
    if !clean {
        let what = match &plan.target {
            Aim::Instance(aim) => aim.id.clone(),
            Aim::Server { .. } => format!("the scratch databases of drill {}", plan.drill),
        };
        let hint = "the sweeper removes it when its time is over, and says so; look in RDS's console why it could not be removed";
        report.findings.push(Finding::new(FindingKind::ScratchLeftBehind, what, "it could not be removed within an hour").hint(hint));
    }
    if let Some(seconds) = result.recovery_time_seconds {
        report.seconds("recoveryTimeSeconds", seconds);
    }
    report.seconds("recoveryPointSeconds", result.recovery_point_seconds);
    let sum = |of: fn(&result::WorkedDatabase) -> u64| result.databases.iter().map(of).sum();
    report.count("tablesRead", sum(|one| one.tables), Unit::Count);
    report.count("rowsRead", sum(|one| one.rows), Unit::Count);
    report.count("tablesExact", sum(|one| one.exact), Unit::Count);
    report.link("page", hands.store.address(&plan.drill.key(PAGE)));
    report.link("result", hands.store.address(&plan.drill.key(Milestone::Judged.object())));
    if plan.keep && clean && hands.observed.reached.contains(&Milestone::Promoted) {
        report.summary = format!("{}; {}", report.summary, cut_over(hands));
    }
    Ok(verdict(&result))
}

/// What is to be done with a restored instance.
fn cut_over(hands: &Hands<'_>) -> String {
    let address = hands
        .observed
        .instance
        .as_ref()
        .and_then(|instance| instance.endpoint.as_ref())
        .map_or_else(|| "its endpoint (RDS's console)".to_owned(), |(host, port)| format!("{host}:{port}"));
    format!(
        "it stays, as production is. To cut over: (1) stop the application; (2) see in the page which roles were locked, and unlock them (ALTER ROLE … LOGIN, new passwords); (3) give it {address} as the database's address; (4) start it; (5) rename or remove the old instance. The runbook has the commands"
    )
}

/// The word for the machine's last state: it fails when the drill did, so that a pipeline stops.
///
/// # Errors
/// When the result cannot be read.
pub async fn end(hands: &Hands<'_>) -> Result<&'static str, Failure> {
    Ok(if verdict(&result(hands).await?) == "pass" { "passed" } else { "failed" })
}

fn verdict(result: &DrillResult) -> &'static str {
    if matches!(result.outcome, Outcome::Ok | Outcome::Attention) { "pass" } else { "fail" }
}

async fn result(hands: &Hands<'_>) -> Result<DrillResult, Failure> {
    let content = read(hands, Milestone::Judged).await?.ok_or_else(|| Failure::new(FailureKind::Corrupt, "the drill's result is gone"))?;
    serde_json::from_value(content).context("read the drill's result")
}

async fn read(hands: &Hands<'_>, milestone: Milestone) -> Result<Option<Value>, Failure> {
    let key = hands.observed.plan.drill.key(milestone.object());
    let Some(bytes) = hands.store.get(&key).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).context(format!("read {}", hands.store.address(&key)))
}

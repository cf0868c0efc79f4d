//! What the report and the answer say. Whatever they say comes from the checks.

use serde::Serialize;
use serde_json::{Value, json};
use shared::failure::{Context, Failure};
use shared::human;
use shared::lambda::Run;
use shared::report::{Report, Unit};

use crate::history::{Measured, release_name};
use crate::request::Release;
use crate::verdict::{Check, CheckResult, Verdict, findings};

/// All targets, measured and judged.
pub(crate) struct Judged {
    pub(crate) targets: Vec<Measured>,
    pub(crate) checks: Vec<Check>,
}

impl Judged {
    /// Targets of which a check failed or could not be made, in the order of the definitions.
    fn wrong_targets(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.checks.iter().filter(|check| check.result >= CheckResult::Unknown).map(|check| check.target.as_str()).collect();
        names.dedup();
        names
    }

    /// Facts and findings, for either request.
    pub(crate) fn tell(&self, report: &mut Report) {
        report.count("targets", self.targets.len() as u64, Unit::Count);
        report.count("targetsWrong", self.wrong_targets().len() as u64, Unit::Count);
        report.count("requests", self.targets.iter().map(|one| one.figures.requests as u64).sum(), Unit::Count);
        report.count("requestsFailed", self.targets.iter().map(|one| one.figures.failed as u64).sum(), Unit::Count);
        let slowest = self.targets.iter().filter_map(|one| one.figures.p95_ms).max_by(f64::total_cmp);
        if let Some(slowest) = slowest {
            report.seconds("slowestSeconds", slowest / 1e3);
        }
        if let Some(until) = self.targets.iter().filter_map(|one| one.figures.certificate_until).min() {
            report.hours("certificateHoursLeft", (until - report.started_at).as_seconds_f64() / 3600.0);
        }
        report.findings.extend(findings(&self.checks));
    }

    pub(crate) fn summarise_deploy(&self, release: &Release, verdict: Verdict, report: &mut Report) {
        let requests: usize = self.targets.iter().map(|one| one.figures.requests).sum();
        let asked = format!("{} to {}", number(requests, "request"), number(self.targets.len(), "target"));
        let (name, wrong) = (release_name(release), self.wrong_targets().join(", "));
        report.summary = match verdict {
            Verdict::Pass => format!("{name} is served and answers well: {asked}"),
            Verdict::Fail => format!("{name} fails at {wrong}: {asked}"),
            Verdict::Unknown => format!("nobody can tell whether {name} is good, because of {wrong}: {asked}"),
        };
    }

    pub(crate) fn summarise_watch(&self, report: &mut Report) {
        let wrong = self.wrong_targets();
        report.summary = if !wrong.is_empty() {
            format!("{} of {} not as it must be: {}", wrong.len(), number(self.targets.len(), "target"), wrong.join(", "))
        } else if self.checks.iter().any(|check| check.result == CheckResult::Warn && check.name == crate::verdict::Name::Certificate) {
            format!("{} answered, and a certificate runs out", number(self.targets.len(), "target"))
        } else {
            format!("{} answered as it must be", number(self.targets.len(), "target"))
        };
    }
}

/// `1 target`, `1,200 requests`.
fn number(count: usize, what: &str) -> String {
    format!("{} {what}{}", human::count(count as u64), if count == 1 { "" } else { "s" })
}

/// The answer for a pipeline: the report as it stands, and beside it the verdict and every check.
pub(crate) fn reply(report: &Report, verdict: Verdict, release: &Release, judged: &Judged, is_dry: bool, run: &Run) -> Result<Value, Failure> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Shown<'a> {
        name: &'a str,
        #[serde(flatten)]
        figures: &'a crate::judge::Figures,
    }
    let mut report = report.clone();
    report.finish(run.now());
    let mut reply = serde_json::to_value(&report).context("write the answer")?;
    let targets: Vec<Shown<'_>> = judged.targets.iter().map(|one| Shown { name: &one.name, figures: &one.figures }).collect();
    reply["verdict"] = json!(verdict);
    reply["release"] = json!(release);
    reply["dryRun"] = json!(is_dry);
    reply["checks"] = serde_json::to_value(&judged.checks).context("write the checks")?;
    reply["targets"] = serde_json::to_value(&targets).context("write the figures")?;
    Ok(reply)
}

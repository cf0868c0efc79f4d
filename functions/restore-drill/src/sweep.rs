//! Removes what drills left behind: instances whose tags say that they expired, parameters of instances that are gone, and says of every drill that ended
//! without a word that it did. Only what carries our tags *and* our name; never a real restore.

use aws_config::SdkConfig;
use chrono::{DateTime, TimeDelta, Utc};
use shared::aws;
use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::report::{Report, Unit};
use shared::snapshot::Owner;
use shared::store::Store;

use crate::act;
use crate::config::Settings;
use crate::identity::{DRILLS, DrillId};
use crate::observe;
use crate::step::Milestone;

/// Drills older than this are not looked at again.
const LOOK_BACK: TimeDelta = TimeDelta::days(14);
/// Parameters of a page (API reference, GetParametersByPath), and pages.
const PAGE: i32 = 10;
const PAGES_MAX: usize = 50;

/// What a sweep needs.
pub struct Broom<'a> {
    /// The bucket.
    pub store: &'a Store,
    /// Clients' configuration.
    pub config: &'a SdkConfig,
    /// Settings.
    pub settings: &'a Settings,
    /// Whose stack.
    pub owner: &'a Owner,
    /// The stack's region.
    pub home: &'a str,
    /// Whether nothing is removed.
    pub dry_run: bool,
}

impl Broom<'_> {
    /// Sweeps.
    ///
    /// # Errors
    /// When something cannot be listed. What cannot be removed is a finding.
    pub async fn sweep(&self, now: DateTime<Utc>, report: &mut Report) -> Result<(), Failure> {
        let mut removed = 0;
        let mut alive = Vec::new();
        for region in std::iter::once(self.home).chain(self.settings.copy_region.as_deref()) {
            let rds = observe::rds(self.config, region);
            for instance in observe::scratch_instances(&rds, self.owner).await? {
                let Some(scratch) = &instance.scratch else { continue };
                let expired = scratch.expires_at.is_some_and(|at| at <= now);
                if !expired || instance.status == "deleting" {
                    alive.push(scratch.drill.clone());
                    continue;
                }
                let seen = format!("the instance {} of drill {} should have been gone by now", instance.id, scratch.drill);
                let swept = if self.dry_run { Ok(()) } else { act::delete(&rds, &instance.id).await };
                removed += 1;
                report.findings.push(match swept {
                    Ok(()) => Finding::new(FindingKind::ScratchSwept, &instance.id, seen),
                    Err(failure) => {
                        Finding::new(FindingKind::ScratchLeftBehind, &instance.id, format!("{seen}, and could not be removed: {failure}")).hint(
                            format!("delete it by hand: aws rds delete-db-instance --db-instance-identifier {} --skip-final-snapshot", instance.id),
                        )
                    }
                });
            }
        }
        removed += self.parameters(&alive, now, report).await?;
        let silent = self.silent(now, report).await?;
        report.count("swept", removed, Unit::Count);
        report.count("drillsWithoutReport", silent, Unit::Count);
        report.summary =
            if removed == 0 { "nothing was left behind".to_owned() } else { format!("{removed} things that drills left behind were removed") };
        Ok(())
    }

    /// Parameters of drills that are over and whose instance is gone.
    async fn parameters(&self, alive: &[DrillId], now: DateTime<Utc>, report: &mut Report) -> Result<u64, Failure> {
        let ssm = aws_sdk_ssm::Client::new(self.config);
        let (mut removed, mut token) = (0, None);
        for _ in 0..PAGES_MAX {
            let call = ssm.get_parameters_by_path().path(self.settings.secrets_prefix.trim_end_matches('/')).recursive(true).max_results(PAGE);
            let answer = call.set_next_token(token).send().await;
            let answer = answer.map_err(|error| {
                aws::failure(error).context(format!("list parameters below {} (ssm:GetParametersByPath)", self.settings.secrets_prefix))
            })?;
            for name in answer.parameters().iter().filter_map(|parameter| parameter.name()) {
                let id = name
                    .strip_prefix(&self.settings.secrets_prefix)
                    .and_then(|rest| rest.split('/').next())
                    .and_then(|id| id.parse::<DrillId>().ok());
                // A day and a half is longer than any drill may take.
                let Some(drill) = id.filter(|drill| !alive.contains(drill) && drill.slot() + TimeDelta::hours(36) < now) else { continue };
                if !self.dry_run {
                    act::forget(&ssm, name).await?;
                }
                removed += 1;
                report.findings.push(Finding::new(FindingKind::ScratchSwept, name, format!("the parameter of drill {drill} was still there")));
            }
            token = answer.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(removed);
            }
        }
        Err(Failure::new(FailureKind::Other, format!("there are more parameters below {} than drills can have made", self.settings.secrets_prefix)))
    }

    /// Drills that should be over and never said how they ended.
    async fn silent(&self, now: DateTime<Utc>, report: &mut Report) -> Result<u64, Failure> {
        let mut silent = 0;
        let folders = self.store.list_folder(DRILLS).await?.folders;
        let drills = folders.iter().filter_map(|folder| DrillId::of_key(folder)).map(|(drill, _)| drill);
        for drill in drills.filter(|drill| drill.slot() > now - LOOK_BACK) {
            let reached = observe::reached(self.store, &drill).await?;
            if reached.contains(&Milestone::Closed) {
                continue;
            }
            let Ok(plan) = observe::plan(self.store, &drill).await else { continue };
            if plan.expires_at > now {
                continue;
            }
            silent += 1;
            let last = reached.iter().next_back().map_or_else(|| "nothing was reached".to_owned(), |last| format!("it had reached: {last:?}"));
            report.findings.push(
                Finding::new(FindingKind::DrillFailed, plan.source.in_words(), format!("the drill {drill} ended without a report; {last}"))
                    .hint("look at its execution in the console of Step Functions; what it made was removed, begin another drill"),
            );
            if !self.dry_run {
                let content = serde_json::json!({"at": now, "why": "it ended without a report; the sweeper said so"}).to_string().into_bytes();
                match self.store.put(&drill.key(Milestone::Closed.object()), content, "application/json").await {
                    Err(failure) if failure.kind != FailureKind::Conflict => return Err(failure),
                    _ => {}
                }
            }
        }
        Ok(silent)
    }
}

//! What a run of a rotation comes to, for people: a sentence, findings, and the record that stays.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use shared::finding::{Finding, FindingKind};
use shared::report::Report;

use crate::journal::{Closed, Journal, Outcome, Purpose};
use crate::plan::Waiting;
use crate::rotation::Progress;

/// One secret's part of a run.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// The definition's name.
    pub secret: &'a str,
    /// How far it got.
    pub progress: &'a Progress,
    /// The journal at the end.
    pub journal: Option<&'a Journal>,
    /// The version that somebody wrote while ours was being written.
    pub overtaken: Option<&'a str>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A consumer that takes longer will hardly end by itself: ECS, without a circuit breaker, tries for ever.
const REFRESH_MAX: TimeDelta = TimeDelta::minutes(30);

/// Whoever was told takes a moment to change over.
const STRAGGLERS_MAX: TimeDelta = TimeDelta::minutes(15);

impl Told<'_> {
    /// The sentence.
    pub fn sentence(&self) -> String {
        let secret = self.secret;
        match self.progress {
            Progress::Nothing => format!("{secret}: nothing is under way"),
            Progress::AlreadyEnded(closed) => format!("{secret}: this rotation has ended before: {}", closed.reason),
            Progress::Busy(who) => format!("{secret}: another invocation is at it: {who}"),
            Progress::Refused(why) => format!("{secret}: not rotated: {why}"),
            Progress::Open { why, .. } => {
                let published = self.journal.and_then(|journal| journal.published_at.map(|at| (journal, at)));
                match published {
                    Some((Journal { user: Some(user), .. }, at)) => format!("{secret}: {user} is live since {}; {why}", at.format("%H:%M:%S UTC")),
                    Some((_, at)) => format!("{secret}: a new value is live since {}; {why}", at.format("%Y-%m-%d %H:%M UTC")),
                    None => format!("{secret}: nothing is given out yet; {why}"),
                }
            }
            Progress::Ended(closed) => format!("{secret}: {}", closed.reason),
        }
    }

    /// The findings.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let finding = |kind, seen: &str| Finding::new(kind, self.secret, seen);
        match self.progress {
            Progress::Nothing | Progress::AlreadyEnded(_) => {}
            Progress::Busy(who) => findings.push(finding(FindingKind::RotationDelayed, &format!("another invocation is at it: {who}"))),
            Progress::Refused(why) => findings.push(finding(FindingKind::RotationRefused, why)),
            Progress::Open { waiting, why } => match waiting {
                Waiting::Time => {}
                Waiting::Consumers => {
                    let open = self.journal.into_iter().flat_map(|journal| &journal.refreshes).filter(|refresh| refresh.done_at.is_none());
                    if let Some(since) = open.map(|refresh| refresh.begun_at).min().filter(|since| self.now - *since > REFRESH_MAX) {
                        let seen = format!("a consumer that was told at {} is not done", since.format("%Y-%m-%d %H:%M UTC"));
                        findings.push(finding(FindingKind::RotationDelayed, &seen).hint("look at its deployment; mended, it goes on by itself"));
                    }
                }
                Waiting::Stragglers => {
                    let since = self.journal.and_then(|journal| journal.published_at);
                    if since.is_none_or(|since| self.now - since > STRAGGLERS_MAX) {
                        let hint = "restart who is named with the new value: the old user is retired when nobody uses it any more";
                        findings.push(finding(FindingKind::OldCredentialInUse, why).hint(hint));
                    }
                }
                Waiting::Server => findings.push(finding(FindingKind::RotationDelayed, why)),
                Waiting::Person => findings.push(finding(FindingKind::RotationStuck, why)),
            },
            Progress::Ended(Closed { outcome, reason, .. }) => match outcome {
                Outcome::Done => {}
                Outcome::GivenUp => findings.push(finding(FindingKind::RotationGivenUp, reason)),
                Outcome::Superseded => findings.push(finding(FindingKind::ValueOverwritten, reason)),
            },
        }
        if let Some(version) = self.overtaken {
            let seen = format!("version {version} was written by somebody while ours was being written; ours is the newest");
            findings.push(
                finding(FindingKind::ValueOverwritten, &seen)
                    .hint("look at that version for an edit that is lost now: aws ssm get-parameter-history"),
            );
        }
        findings
    }

    /// Adds it to the report.
    pub fn tell(&self, report: &mut Report) {
        let separator = if report.summary.is_empty() { "" } else { "; " };
        report.summary = format!("{}{separator}{}", report.summary, self.sentence());
        report.findings.extend(self.findings());
    }
}

/// What stays of a rotation: evidence for an auditor, and after an incident. Without a secret.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<'a> {
    /// The definition's name.
    pub secret: &'a str,
    /// The rotation.
    pub rotation: &'a str,
    /// What it was for.
    pub purpose: Purpose,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When the new value was live.
    pub published_at: Option<DateTime<Utc>>,
    /// When the consumers had it.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub closed: Option<&'a Closed>,
    /// The user that was given a new password.
    pub user: Option<&'a str>,
    /// The user of before.
    pub old_user: Option<&'a str>,
    /// The steps of the last invocation.
    pub steps: Vec<String>,
    /// What servers said in it.
    pub servers: Vec<String>,
}

impl<'a> Record<'a> {
    /// The record of a journal.
    pub fn of(journal: &'a Journal, steps: Vec<String>, servers: Vec<String>) -> Self {
        Self {
            secret: &journal.secret,
            rotation: journal.rotation.as_str(),
            purpose: journal.purpose,
            opened_at: journal.opened_at,
            published_at: journal.published_at,
            refreshed_at: journal.refreshed_at,
            closed: journal.closed.as_ref(),
            user: journal.user.as_deref(),
            old_user: journal.old_user.as_deref(),
            steps,
            servers,
        }
    }

    /// Where it lies: `rotations/NAME/ID-TIME.json`, one object for each invocation that changed something.
    pub fn key(&self, at: DateTime<Utc>) -> String {
        format!("rotations/{}/{}-{}.json", shared::key::segment(self.secret), self.rotation, at.format("%Y%m%dt%H%M%S%3fz"))
    }
}

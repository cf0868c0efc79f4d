//! Whatever goes wrong with any call of a run, and wherever it dies: the run after it ends where an undisturbed one would, nothing is lost.

use std::collections::BTreeSet;

use local::Outcome;
use local::proxy::{Fault, HttpProxy};
use serde_json::json;
use shared::finding::FindingKind;
use shared::report::Outcome as Verdict;
use tests::world::run;

use super::case::{Answer, Case, LIMIT};

/// A case with something to delete in every round, behind a proxy.
struct Round {
    case: Case,
    proxy: HttpProxy,
    number: i64,
    /// What stays.
    newest: (String, String),
}

impl Round {
    async fn new() -> Self {
        let case = Case::new().await;
        let proxy = HttpProxy::start(&case.bed.world.cloud.endpoint).await.expect("a proxy");
        let newest = (case.daily(0).await, case.archive(500, true, Some(Verdict::Ok)).await.prefix());
        Self { case, proxy, number: 0, newest }
    }

    /// One old snapshot more than is kept, and a newer archive beside the one that was the newest.
    async fn plant(&mut self) {
        self.number += 1;
        self.case.daily(1000 - self.number).await;
        self.newest.1 = self.case.archive(500 - self.number, true, Some(Verdict::Ok)).await.prefix();
    }

    async fn invoke(&self) -> Outcome {
        self.case.runner(&self.proxy.url, &[]).await.invoke(&json!({"kind": "retain"}), LIMIT).await
    }

    /// The calls of a run that nothing disturbs.
    async fn calls(&mut self) -> Vec<(String, u64)> {
        self.plant().await;
        let before = self.proxy.recorded().len();
        let answer = Answer::new(self.invoke().await);
        assert_eq!(answer.deleted().len(), 2, "{:#?}", answer.decisions);
        let recorded = self.proxy.recorded().split_off(before);
        let mut calls: Vec<(String, u64)> = Vec::new();
        for call in recorded {
            let count = calls.iter().filter(|(operation, _)| *operation == call.operation).count() as u64 + 1;
            calls.push((call.operation, count));
        }
        for must in [
            "rds:DescribeDBSnapshots",
            "rds:DeleteDBSnapshot",
            "rds:DescribeAccountAttributes",
            "s3:DeleteObject",
            "s3:DeleteObjects",
            "s3:GetObject",
        ] {
            assert!(calls.iter().any(|(operation, _)| operation == must), "{must}: {calls:?}");
        }
        assert!(calls.len() >= 16, "{calls:?}");
        calls
    }

    /// After whatever happened, one undisturbed run ends where it should.
    async fn converges(&self, what: &str) {
        self.proxy.heal();
        let answer = Answer::new(self.invoke().await);
        assert!(!answer.report.findings.iter().any(|finding| finding.kind == FindingKind::DeletionRefused), "{what}: {:#?}", answer.report.findings);
        let expected = BTreeSet::from(["by-hand-seed".to_owned(), self.newest.0.clone(), self.newest.1.clone()]);
        assert_eq!(self.case.backups().await, expected, "{what}");
    }
}

#[test]
fn a_fault_at_any_call_costs_nothing() {
    run(async {
        let mut round = Round::new().await;
        let calls = round.calls().await;
        let faults = [Fault::LostReply, Fault::Throttle, Fault::InternalError];
        for (number, (operation, occurrence)) in calls.iter().enumerate() {
            // Every fault where something is changed, one after the other elsewhere.
            let here = if operation.contains("Delete") { &faults[..] } else { &faults[number % 3..=number % 3] };
            for fault in here {
                round.plant().await;
                round.proxy.fail(operation, round.proxy.count(operation) + occurrence, fault.clone());
                let what = format!("{fault:?} at call {occurrence} of {operation}");
                let answer = Answer::new(round.invoke().await);
                // The client tries again, so even this run does all of it.
                assert_eq!((answer.deleted().len(), answer.report.fact("backupsDeleted")), (2, Some(2.0)), "{what}: {:#?}", answer.report.findings);
                round.converges(&what).await;
            }
        }
    });
}

#[test]
fn a_run_that_is_killed_at_any_call_is_finished_by_the_next() {
    run(async {
        let mut round = Round::new().await;
        for (operation, occurrence) in round.calls().await {
            round.plant().await;
            let nth = round.proxy.count(&operation) + occurrence;
            round.proxy.fail(&operation, nth, Fault::Hang);
            let runner = round.case.runner(&round.proxy.url, &[]).await;
            let request = json!({"kind": "retain"});
            let (outcome, ()) = tokio::join!(runner.invoke(&request, LIMIT), async {
                let _ = tokio::time::timeout(LIMIT, round.proxy.wait_for(&operation, nth)).await;
                runner.kill();
            });
            let what = format!("killed at call {occurrence} of {operation}");
            assert!(matches!(outcome, Outcome::Died { .. }), "{what}: {outcome:?}");
            round.converges(&what).await;
        }
    });
}

#[test]
fn a_deletion_that_is_refused_is_said_and_does_not_stop_the_others() {
    run(async {
        let mut round = Round::new().await;
        round.plant().await;
        round.proxy.fail("rds:DeleteDBSnapshot", 1, Fault::Denied);
        let answer = Answer::new(round.invoke().await);
        let refused: Vec<_> = answer.report.findings.iter().filter(|finding| finding.kind == FindingKind::DeletionRefused).collect();
        assert_eq!(refused.len(), 1, "{:#?}", answer.report.findings);
        assert!(refused[0].seen.contains("rds:DeleteDBSnapshot") && refused[0].subject.contains("daily"), "{refused:#?}");
        assert_eq!(answer.report.fact("backupsDeleted"), Some(1.0), "the archive is deleted all the same");
        round.converges("after a refusal").await;
    });
}

#[test]
fn where_snapshots_cannot_be_listed_archives_are_still_retained() {
    run(async {
        let mut round = Round::new().await;
        round.plant().await;
        round.proxy.fail("rds:DescribeDBSnapshots", 1, Fault::Denied);
        let answer = Answer::new(round.invoke().await);
        assert_eq!(answer.report.outcome, Verdict::Unknown, "{:#?}", answer.report.findings);
        let finding = answer.report.findings.iter().find(|finding| finding.kind == FindingKind::NotChecked).expect("it is said");
        assert_eq!(finding.subject, "snapshots, home");
        assert!(answer.deleted().iter().all(|name| name.starts_with("dumps/")) && answer.deleted().len() == 1);
        assert_eq!(answer.report.fact("dailySnapshotAgeHours"), None, "a figure that nobody measured is missing, which an alarm sees");
        round.converges("after a place that could not be read").await;
    });
}

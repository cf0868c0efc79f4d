//! Whatever goes wrong at whatever call: the run after it goes on where it was, nothing is made twice, nothing is lost.
//!
//! A story is a snapshot from the schedule's event to its last copy, a run of the function for each step. It is played once to learn its calls, then
//! again with one fault at one of them.

use std::time::Duration;

use local::Outcome;
use local::cloud::{OTHER_REGION, REGION};
use local::proxy::{Fault, HttpProxy, Occurrence, Rule};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};
use tests::world::run;

use super::guarded::{Copies, DAY, Guarded, LIMIT, listed, tags};

/// How a call goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// This happens to it once.
    Once(Fault),
    /// The function is killed while the call waits, and nothing was done.
    KilledBefore,
    /// What was asked was done, the reply is lost, and the function is killed.
    KilledAfter,
    /// It goes wrong for the rest of the run.
    Lasting(Fault),
}

/// For calls that change something.
fn troubles() -> Vec<Trouble> {
    vec![
        Trouble::Once(Fault::Throttle),
        Trouble::Once(Fault::InternalError),
        Trouble::Once(Fault::LostReply),
        Trouble::Once(Fault::LostRequest),
        Trouble::Once(Fault::TruncatedReply(20)),
        Trouble::KilledBefore,
        Trouble::KilledAfter,
        Trouble::Lasting(Fault::Denied),
    ]
}

fn changes(operation: &str) -> bool {
    ["rds:Create", "rds:Copy", "rds:Modify", "rds:AddTags", "sts:"].iter().any(|prefix| operation.starts_with(prefix))
}

/// A place in the story: a call of an operation, counted from the story's begin.
type Call = (String, u64);

struct Story {
    guarded: Guarded,
    proxy: HttpProxy,
    copies: Copies,
}

impl Story {
    async fn new(copies: Copies) -> Self {
        let guarded = Guarded::new(copies).await;
        guarded.write("1, 10").await;
        let proxy = HttpProxy::start(&guarded.bed.world.cloud.endpoint).await.expect("a proxy");
        Self { guarded, proxy, copies }
    }

    /// The requests of a story: the schedule's, and what carries the copies on.
    fn requests(&self) -> Vec<Value> {
        let reconciles = match self.copies {
            Copies::No => 0,
            Copies::Region | Copies::Account => 2,
            Copies::Both => 3,
        };
        let reconcile = json!({"kind": "reconcile", "scheduledAt": format!("{DAY}T02:00:00Z")});
        std::iter::once(json!({"kind": "daily", "scheduledAt": format!("{DAY}T01:00:00Z")})).chain(vec![reconcile; reconciles]).collect()
    }

    async fn invoke(&self, request: &Value, killed_at: Option<(&str, u64)>) -> Outcome {
        let runner = self.guarded.runner(&[("AWS_ENDPOINT_URL", &self.proxy.url)]).await;
        let Some((operation, nth)) = killed_at else { return runner.invoke(request, LIMIT).await };
        tokio::select! {
            outcome = runner.invoke(request, LIMIT) => outcome,
            () = async {
                self.proxy.wait_for(operation, nth).await;
                runner.kill();
                std::future::pending::<()>().await;
            } => unreachable!("the other branch ends it"),
        }
    }

    /// Plays it without trouble, and gives its calls.
    async fn learn(&self) -> Vec<Call> {
        let before = self.proxy.recorded().len();
        for request in self.requests() {
            let outcome = self.invoke(&request, None).await;
            assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
            self.guarded.rest().await;
        }
        let calls: Vec<Call> = self.proxy.recorded()[before..].iter().map(|call| (call.operation.clone(), call.occurrence)).collect();
        assert_eq!(self.judge().await, [""; 0], "without trouble");
        self.forget().await;
        calls
    }

    /// Plays it with trouble at a call; a run that did not succeed is repeated, as Lambda does. What is wrong at the end.
    async fn play(&self, (operation, occurrence): &Call, trouble: &Trouble) -> Vec<String> {
        let nth = self.proxy.count(operation) + occurrence;
        let rule = |occurrence, fault| Rule { operation: Some(operation.clone()), occurrence, fault };
        let mut killed_at = None;
        match trouble {
            Trouble::Once(fault) => self.proxy.add(rule(Occurrence::Nth(nth), fault.clone())),
            Trouble::Lasting(fault) => self.proxy.add(rule(Occurrence::From(nth), fault.clone())),
            Trouble::KilledBefore => {
                self.proxy.add(rule(Occurrence::From(nth), Fault::Hang));
                killed_at = Some((operation.as_str(), nth));
            }
            Trouble::KilledAfter => {
                self.proxy.add(rule(Occurrence::Nth(nth), Fault::LostReply));
                self.proxy.add(rule(Occurrence::From(nth + 1), Fault::Hang));
                killed_at = Some((operation.as_str(), nth + 1));
            }
        }
        let mut wrong = Vec::new();
        for request in self.requests() {
            let outcome = self.invoke(&request, killed_at).await;
            let was_hit = self.proxy.count(operation) >= nth;
            if was_hit {
                self.proxy.heal();
                killed_at = None;
            }
            if !matches!(outcome, Outcome::Ok(_)) {
                if matches!(trouble, Trouble::Once(_)) {
                    wrong.push(format!("{outcome:?}: one fault is what a client lives with"));
                }
                self.guarded.rest().await;
                let again = self.invoke(&request, None).await;
                if !matches!(again, Outcome::Ok(_)) {
                    wrong.push(format!("the run after it: {again:?}"));
                }
            }
            self.guarded.rest().await;
        }
        self.proxy.heal();
        self.guarded.settle(&format!("{DAY}T02:30:00Z")).await;
        wrong.extend(self.judge().await);
        self.forget().await;
        wrong.iter().map(|wrong| format!("{trouble:?} at call {occurrence} of {operation}: {wrong}")).collect()
    }

    /// Accounts and regions where there is a snapshot in the end, one each.
    fn places(&self) -> Vec<(&str, &str)> {
        let (own, other) = (self.guarded.bed.account.as_str(), self.guarded.other_account.as_str());
        match self.copies {
            Copies::No => vec![(own, REGION)],
            Copies::Region => vec![(own, REGION), (own, OTHER_REGION)],
            Copies::Account => vec![(own, REGION), (other, REGION)],
            Copies::Both => vec![(own, REGION), (own, OTHER_REGION), (other, OTHER_REGION)],
        }
    }

    /// What is not as it should be: one snapshot in each place, available, nothing shared, and the source knows its copies.
    async fn judge(&self) -> Vec<String> {
        let (mut wrong, mut ids) = (Vec::new(), None);
        let places = self.places();
        for (account, region) in &places {
            let rds = self.guarded.rds_in(account, region);
            let found = listed(&rds).await;
            let seen: Vec<_> = found.iter().map(|seen| (seen.db_snapshot_identifier().unwrap_or("?"), seen.status().unwrap_or("?"))).collect();
            // What could not be made for the schedule's slot is made up for under another: one it is, and the same everywhere.
            let first = ids.get_or_insert_with(|| seen.first().map_or_else(String::new, |(id, _)| (*id).to_owned()));
            if seen != [(first.as_str(), "available")] || !first.starts_with("lifeboat-dev-app-db-daily-20261123t0") {
                wrong.push(format!("in {account} {region}: {seen:?}"));
            }
            for snapshot in &found {
                let id = snapshot.db_snapshot_identifier().unwrap_or_default();
                let attributes = rds.describe_db_snapshot_attributes().db_snapshot_identifier(id).send().await.expect("attributes");
                let result = attributes.db_snapshot_attributes_result.expect("attributes");
                let shared = result.db_snapshot_attributes().iter().any(|seen| !seen.attribute_values().is_empty());
                wrong.extend(shared.then(|| format!("in {account} {region}: {id} is still shared")));
            }
        }
        let copied: Vec<usize> = self
            .guarded
            .snapshots()
            .await
            .iter()
            .map(|source| tags(source).get("lifeboat:copied-to").map_or(0, |names| names.split(' ').count()))
            .collect();
        if copied.iter().any(|copied| *copied != places.len() - 1) {
            wrong.push(format!("{copied:?} copies are written down of {}", places.len() - 1));
        }
        wrong
    }

    /// Deletes all snapshots, so that the next play begins as this one did.
    async fn forget(&self) {
        for (account, region) in self.places() {
            let rds = self.guarded.rds_in(account, region);
            for snapshot in listed(&rds).await {
                let id = snapshot.db_snapshot_identifier().unwrap_or_default();
                rds.delete_db_snapshot().db_snapshot_identifier(id).send().await.unwrap_or_else(|error| panic!("delete {id}: {error:?}"));
            }
        }
    }
}

/// Plays a story with trouble at its calls: of all pairs of a call and a trouble, as many as `cases_max`, chosen by the seed. Calls that only look
/// have the troubles that differ for them.
async fn troubled(copies: Copies, seed: u64, cases_max: usize) -> Vec<String> {
    let story = Story::new(copies).await;
    let mut cases = Vec::new();
    for call in story.learn().await {
        let looks = vec![Trouble::Once(Fault::LostReply), Trouble::KilledBefore, Trouble::Lasting(Fault::Denied)];
        let all = if changes(&call.0) { troubles() } else { looks };
        cases.extend(all.into_iter().map(|trouble| (call.clone(), trouble)));
    }
    cases.shuffle(&mut StdRng::seed_from_u64(seed));
    cases.truncate(cases_max);
    let mut wrong = Vec::new();
    for (call, trouble) in &cases {
        let played = tokio::time::timeout(Duration::from_mins(3), story.play(call, trouble)).await;
        wrong.extend(played.unwrap_or_else(|_| vec![format!("{trouble:?} at {call:?}: it does not end")]));
    }
    story.guarded.end().await;
    wrong
}

#[test]
fn trouble_at_any_call_of_the_schedules_run_loses_nothing_and_makes_nothing_twice() {
    run(async { assert_eq!(troubled(Copies::No, 1, 8).await, [""; 0]) });
}

#[test]
fn trouble_at_a_share_of_the_calls_of_all_copies_loses_nothing_and_makes_nothing_twice() {
    run(async { assert_eq!(troubled(Copies::Both, 1, 3).await, [""; 0]) });
}

#[test]
fn a_sharing_whose_end_is_refused_is_not_forgotten() {
    run(async {
        let story = Story::new(Copies::Both).await;
        let end_of_sharing = ("rds:ModifyDBSnapshotAttribute".to_owned(), 2);
        assert_eq!(story.play(&end_of_sharing, &Trouble::Lasting(Fault::Denied)).await, [""; 0]);
        story.guarded.end().await;
    });
}

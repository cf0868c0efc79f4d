//! Looks at everything that is judged. What cannot be seen at home ends the run; what cannot be seen elsewhere is a finding, and the snapshot is made
//! all the same.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::future::{join, join_all};
use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};

use crate::config::Promise;
use crate::copying::sharing_matters;
use crate::describe;
use crate::observed::{Instance, Observed, Quota, Snapshot};
use crate::places::Places;

/// What was seen, and what could not be.
pub struct Seen {
    /// What was seen.
    pub observed: Observed,
    /// What could not be.
    pub findings: Vec<Finding>,
}

/// The instance and the snapshots of its region: all that a pipeline's snapshot needs.
///
/// # Errors
/// When RDS does not answer.
pub async fn home(places: &Places, promise: &Promise) -> Result<Seen, Failure> {
    let rds = places.rds(0)?;
    let (instance, home) = join(describe::instance(&rds, &promise.owner.instance), describe::snapshots(&rds)).await;
    let observed = Observed { instance: instance?, home: home?, ..Observed::default() };
    Ok(Seen { observed, findings: Vec::new() })
}

/// Everything. What is not at home gets `limit` to answer.
///
/// # Errors
/// When RDS does not answer at home.
pub async fn everything(places: &Places, promise: &Promise, limit: Duration) -> Result<Seen, Failure> {
    let mut seen = home(places, promise).await?;
    let hops = &promise.destinations.hops;
    let snapshots = join_all((1..=hops.len()).map(|place| within(limit, async move { describe::snapshots(&places.rds(place)?).await })));
    let quotas = join_all((0..=hops.len()).map(|place| within(limit, async move { describe::quota(&places.rds(place)?).await })));
    let (snapshots, quotas) = join(snapshots, quotas).await;
    for (hop, listed) in hops.iter().zip(snapshots) {
        let listed = listed.map_err(|failure| {
            let hint = "nothing is copied there as long as it lasts; the snapshots themselves are made";
            seen.findings.push(not_checked(hop.name(), &failure, hint));
            failure.to_string()
        });
        seen.observed.hops.push(listed);
    }
    let names = std::iter::once(promise.home.clone()).chain(hops.iter().map(shared::destination::Hop::name));
    for (place, (name, quota)) in names.zip(quotas).enumerate() {
        let known = seen.observed.place(place).is_some();
        seen.observed.quotas.push(seen.findings.unless_known(quota, known, || format!("quota of snapshots in {name}")));
    }
    let (maintenance, keys) = join(
        within(limit, maintenance(places, seen.observed.instance.as_ref())),
        join_all(keys(&seen.observed, promise).into_iter().map(|(arn, used_for)| async move {
            let looked = within(limit, describe::key(&places.kms(&arn), &arn, used_for)).await;
            (arn, looked)
        })),
    )
    .await;
    match maintenance {
        Ok(maintenance) => seen.observed.instance.iter_mut().for_each(|instance| instance.maintenance.clone_from(&maintenance)),
        Err(failure) => seen.findings.push(not_checked("pending maintenance", &failure, "allow the action that the message names")),
    }
    for (arn, looked) in keys {
        match looked {
            Ok(key) => seen.observed.keys.push(key),
            Err(failure) => seen.findings.push(not_checked(arn, &failure, "allow kms:DescribeKey, in the role and in the key's policy")),
        }
    }
    sharing(places, promise, limit, &mut seen).await;
    Ok(seen)
}

async fn maintenance(places: &Places, instance: Option<&Instance>) -> Result<Vec<crate::observed::Maintenance>, Failure> {
    match instance {
        Some(instance) => describe::maintenance(&places.rds(0)?, &instance.arn).await,
        None => Ok(Vec::new()),
    }
}

/// Every key that a backup needs, once.
fn keys(observed: &Observed, promise: &Promise) -> Vec<(String, &'static str)> {
    let of_snapshots = observed.own(&promise.owner).into_iter().filter_map(|(snapshot, _)| snapshot.key_arn.clone()).map(|arn| (arn, "snapshots"));
    let of_copies = promise.destinations.hops.iter().filter_map(|hop| hop.key_arn.clone()).map(|arn| (arn, "copies"));
    let of_archives = promise.archive_keys.iter().cloned().map(|arn| (arn, "archives"));
    let of_instance = observed.instance.iter().filter_map(|instance| instance.key_arn.clone()).map(|arn| (arn, "the instance"));
    // The first use that names it is overwritten by a more telling one.
    of_archives.chain(of_snapshots).chain(of_copies).chain(of_instance).collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// With whom those snapshots are shared of which it matters.
async fn sharing(places: &Places, promise: &Promise, limit: Duration, seen: &mut Seen) {
    for (place, id) in sharing_matters(&seen.observed, promise) {
        let asked = within(limit, async { describe::restorable_by(&places.rds(place)?, &id).await }).await;
        let list = if place == 0 { Some(&mut seen.observed.home) } else { seen.observed.hops[place - 1].as_mut().ok() };
        let snapshot = list.into_iter().flatten().find(|snapshot: &&mut Snapshot| snapshot.id == id);
        match (asked, snapshot) {
            (Ok(accounts), Some(snapshot)) => snapshot.restorable_by = Some(accounts),
            (Ok(_), None) => {}
            (Err(failure), _) => seen.findings.push(not_checked(id, &failure, "it is shared again if it must be, and not forgotten")),
        }
    }
}

fn not_checked(subject: impl Into<String>, failure: &Failure, hint: &str) -> Finding {
    Finding::new(FindingKind::NotChecked, subject, failure.to_string()).hint(failure.hint.clone().unwrap_or_else(|| hint.to_owned()))
}

trait Collect {
    fn unless_known(&mut self, quota: Result<Option<Quota>, Failure>, known: bool, subject: impl FnOnce() -> String) -> Option<Quota>;
}

impl Collect for Vec<Finding> {
    /// A place that does not answer at all is one finding, not two.
    fn unless_known(&mut self, quota: Result<Option<Quota>, Failure>, known: bool, subject: impl FnOnce() -> String) -> Option<Quota> {
        match quota {
            Ok(quota) => quota,
            Err(failure) => {
                self.extend(known.then(|| not_checked(subject(), &failure, "allow rds:DescribeAccountAttributes")));
                None
            }
        }
    }
}

/// An answer, if it comes in time. A place that swallows packets must not take the time of the others.
async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(limit, answer)
        .await
        .unwrap_or_else(|_| Err(Failure::new(FailureKind::Unreachable, format!("no answer within {} s", limit.as_secs()))))
}

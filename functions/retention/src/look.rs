//! Looks at everything: snapshots in every place, archives in the bucket and its replica, the quotas. A place that cannot be looked at is a finding, and the
//! others go on.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use shared::env::Databases;
use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::key::ArchiveKey;
use shared::snapshot::Owner;
use tokio::time::Instant;

use crate::access::Access;
use crate::archives::Bucket;
use crate::config::Settings;
use crate::model::{Archive, Observed, Place, Snapshot};
use crate::snapshots::{self, Quota};

/// A run that began within this time may not have dumped a new database yet.
const RUN_TIME_MAX: TimeDelta = TimeDelta::hours(2);

/// Those who look, and then delete.
pub struct Clients {
    /// RDS of each place that could be reached.
    pub snapshots: BTreeMap<Place, aws_sdk_rds::Client>,
    /// The backup bucket.
    pub bucket: Bucket,
    /// Its replica.
    pub replica: Option<Bucket>,
}

/// What was seen.
pub struct Seen {
    /// The backups.
    pub observed: Observed,
    /// Databases that must have archives.
    pub databases: Vec<String>,
    /// Manual snapshots of each place that said so.
    pub quotas: Vec<(Place, Quota)>,
    /// What could not be looked at.
    pub findings: Vec<Finding>,
    /// For the deletions.
    pub clients: Clients,
}

/// What is looked at.
pub struct Look<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// Whose backups.
    pub owner: &'a Owner,
    /// Region of the stack.
    pub home: &'a str,
    /// The bucket of the stack.
    pub bucket: &'a str,
    /// What reaches other places.
    pub access: &'a Access,
    /// What ages are measured against.
    pub at: DateTime<Utc>,
    /// When looking must end.
    pub until: Instant,
}

impl Look<'_> {
    /// Looks at everything.
    ///
    /// # Errors
    /// Never for a place that cannot be looked at; only when not even a client can be made.
    pub async fn everything(&self) -> Result<Seen, Failure> {
        let home = self.access.config(self.home, None).await?;
        let bucket = Bucket::new(aws_sdk_s3::Client::new(&home), self.bucket);
        let replica = match &self.settings.replica {
            Some(replica) => {
                let config = self.access.config(&replica.region, None).await?;
                Some(Bucket::new(aws_sdk_s3::Client::new(&config), &replica.bucket))
            }
            None => None,
        };
        let hops = self.settings.destinations.hops.iter().map(shared::destination::Hop::name).collect();
        let mut seen = Seen {
            observed: Observed { hops, ..Observed::default() },
            databases: Vec::new(),
            quotas: Vec::new(),
            findings: Vec::new(),
            clients: Clients { snapshots: BTreeMap::new(), bucket, replica },
        };
        self.snapshots(&mut seen).await;
        self.archives(&mut seen).await;
        Ok(seen)
    }

    async fn snapshots(&self, seen: &mut Seen) {
        let hops = &self.settings.destinations.hops;
        let places = std::iter::once(Place::Home).chain((0..hops.len()).map(Place::Hop));
        let looked = join_all(places.map(|place| async move { (place, self.snapshots_of(place).await) }).collect::<Vec<_>>()).await;
        for (place, result) in looked {
            let name = seen.observed.place_name(place).to_owned();
            match result {
                Ok((client, snapshots, quota)) => {
                    seen.observed.snapshots.extend(snapshots);
                    seen.clients.snapshots.insert(place, client);
                    match quota {
                        Ok(quota) => seen.quotas.extend(quota.map(|quota| (place, quota))),
                        Err(failure) => seen.findings.push(not_checked(&format!("quota of snapshots, {name}"), &failure)),
                    }
                }
                Err(failure) => {
                    seen.observed.unread.push(place);
                    let finding = not_checked(&format!("snapshots, {name}"), &failure);
                    seen.findings.push(finding.expected("every place of the snapshots can be read; until then no snapshot is deleted anywhere"));
                }
            }
        }
    }

    async fn snapshots_of(&self, place: Place) -> Result<(aws_sdk_rds::Client, Vec<Snapshot>, Result<Option<Quota>, Failure>), Failure> {
        let config = match place {
            Place::Hop(hop) => {
                let hop = &self.settings.destinations.hops[hop];
                if hop.role_arn.is_some() && hop.retention_role_arn.is_none() {
                    let failure = Failure::new(FailureKind::BadSettings, "COPY_ACCOUNT_RETENTION_ROLE_ARN is not set");
                    return Err(failure.hint("without that role nobody can say which copies exist in the other account, nor delete one"));
                }
                self.access.config(&hop.region, hop.retention_role_arn.as_deref()).await?
            }
            _ => self.access.config(self.home, None).await?,
        };
        let client = aws_sdk_rds::Client::new(&config);
        let snapshots = snapshots::list(&client, self.owner, place).await?;
        let quota = snapshots::quota(&client).await;
        Ok((client, snapshots, quota))
    }

    async fn archives(&self, seen: &mut Seen) {
        let instance = self.owner.instance.as_str();
        let (bucket, replica) = (&seen.clients.bucket, seen.clients.replica.as_ref());
        let mut found: Vec<(Place, &Bucket, Vec<ArchiveKey>)> = Vec::new();
        for (place, bucket) in [(Place::Bucket, Some(bucket)), (Place::Replica, replica)] {
            let Some(bucket) = bucket else { continue };
            match bucket.find(instance).await {
                Ok((keys, objects)) => {
                    if place == Place::Bucket {
                        let run = if self.settings.databases == Databases::Every { bucket.newest_run(&objects).await } else { Ok(None) };
                        match run {
                            Ok(run) => {
                                let run = run.filter(|run| self.at - run.started_at.max(run.scheduled_at) > RUN_TIME_MAX);
                                seen.databases = databases(&self.settings.databases, run.map(|run| run.seen), &keys);
                            }
                            Err(failure) => seen.findings.push(not_checked("databases", &failure)),
                        }
                    }
                    found.push((place, bucket, keys));
                }
                Err(failure) => {
                    seen.observed.unread.push(place);
                    seen.findings.push(not_checked(&bucket.store.address(""), &failure));
                }
            }
        }
        let keys: Vec<&ArchiveKey> = found.iter().flat_map(|(_, _, keys)| keys).collect();
        let verdicts = match bucket.verdicts(instance, &keys).await {
            Ok(verdicts) => verdicts,
            Err(failure) => {
                // Nothing is good without them, so nothing would be deleted: but nothing could be said of ages either.
                seen.observed.unread.extend(found.iter().map(|(place, ..)| *place));
                seen.findings.push(not_checked("verifications", &failure));
                return;
            }
        };
        for (place, bucket, keys) in found {
            match bucket.inspect(place, keys, &verdicts, self.until).await {
                Ok((archives, unseen)) => {
                    seen.observed.archives.extend(archives);
                    if unseen > 0 {
                        let finding =
                            Finding::new(FindingKind::NotChecked, bucket.store.address(""), format!("no time was left for {unseen} archives"));
                        seen.findings.push(finding.hint("give the function more time or memory"));
                    }
                }
                Err(failure) => {
                    seen.observed.unread.push(place);
                    seen.findings.push(not_checked(&bucket.store.address(""), &failure));
                }
            }
        }
        // What could not be read wholly is not judged at all.
        let unread = &seen.observed.unread;
        seen.observed.archives.retain(|archive: &Archive| !unread.contains(&archive.place));
    }
}

/// The listed databases; or for `*` those that the newest run for every database saw, or that have archives.
fn databases(promised: &Databases, seen: Option<Vec<String>>, keys: &[ArchiveKey]) -> Vec<String> {
    match (promised, seen) {
        (Databases::Listed(names), _) => names.clone(),
        (Databases::Every, Some(seen)) => seen,
        (Databases::Every, None) => {
            let names: std::collections::BTreeSet<&String> = keys.iter().map(|key| &key.database).collect();
            names.into_iter().cloned().collect()
        }
    }
}

fn not_checked(subject: &str, failure: &Failure) -> Finding {
    let finding = Finding::new(FindingKind::NotChecked, subject, failure.to_string());
    match &failure.hint {
        Some(hint) => finding.hint(hint),
        None => finding.hint("the next run looks again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_those_that_are_listed_seen_or_there() {
        let key = |database: &str| ArchiveKey { instance: "i".into(), database: database.into(), slot: DateTime::UNIX_EPOCH, run_id: "r".into() };
        let keys = [key("b"), key("a"), key("b")];
        assert_eq!(databases(&Databases::Every, None, &keys), ["a", "b"]);
        assert_eq!(databases(&Databases::Every, Some(vec!["c".into()]), &keys), ["c"], "a database that was dropped is not expected any more");
        assert_eq!(databases(&Databases::Listed(vec!["d".into()]), Some(vec!["c".into()]), &keys), ["d"]);
    }
}

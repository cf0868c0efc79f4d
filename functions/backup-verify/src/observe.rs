//! Looks at what is in the bucket: which archives there are and how each stands against its manifest, what the runs promised, and
//! what was verified when. Reads manifests and other small objects, never data.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared::key::{self, ArchiveKey, MANIFEST};
use shared::manifest::Manifest;
use shared::run_list::{self, RunList};
use shared::store::{Listed as StoredObject, Store};
use shared::verification::{self, Record};
use tokio::time::Instant;

use crate::listing_check::{self, Listed};
use crate::plan::{Candidate, Last, Work};
use crate::policy::Backup;
use crate::replica::{Held, Replica};

/// Small objects and listings that are asked for at once.
const AT_ONCE: usize = 8;

/// Lists of runs that are read, the newest first: those for single databases may be many between two for every database.
const RUN_LISTS_MAX: usize = 200;

/// An archive as it stands.
pub struct Archive {
    /// Which.
    pub key: ArchiveKey,
    /// What the policy wants to know of it.
    pub backup: Backup,
    /// What there is to read, when its manifest could be opened.
    pub work: Option<Work>,
    /// The last time that it was read to the end.
    pub record: Option<Record>,
    /// What the listing shows.
    pub findings: Vec<Finding>,
}

impl Archive {
    /// It can be read to the end if its manifest can be opened.
    pub fn candidate(&self) -> Option<Candidate> {
        let last = self.record.as_ref().map(|record| Last { at: record.verified_at, good: record.is_good() });
        Some(Candidate { key: self.key.clone(), work: self.work?, last })
    }

    /// What is known about an archive that was not read now: what the listing shows, and what was wrong with its bytes the last time.
    pub fn known_findings(&self) -> Vec<Finding> {
        let mut known = self.findings.clone();
        if let Some(record) = self.record.as_ref().filter(|record| !record.is_good()) {
            for old in &record.findings {
                if known.iter().all(|finding| finding.subject != old.subject) {
                    let seen = format!("{} (read at {}, not read again since)", old.seen, shared::report::slot_name(record.verified_at));
                    known.push(Finding { seen, ..old.clone() });
                }
            }
        }
        known
    }
}

/// Everything that was seen.
#[derive(Default)]
pub struct Observed {
    /// The archives, by key.
    pub archives: Vec<Archive>,
    /// The newest runs' lists.
    pub runs: Vec<RunList>,
    /// Objects whose checksum was compared in the replica.
    pub replica_objects: u64,
    /// What could not be looked at.
    pub findings: Vec<Finding>,
}

/// What is looked at, and when.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The bucket.
    pub store: &'a Store,
    /// The instance.
    pub instance: &'a str,
    /// What ages are measured against.
    pub at: DateTime<Utc>,
    /// When looking must end.
    pub until: Instant,
}

/// Looks at everything of an instance.
///
/// # Errors
/// When the bucket cannot be listed.
pub async fn everything(look: &Look<'_>, replica: Option<&Replica>) -> Result<Observed, Failure> {
    let Look { store, instance, at, until } = *look;
    let top = store.list_folder(&key::dumps(instance)).await?;
    let (runs, mut findings) = runs(store, instance, &top.objects, at).await?;
    let mut folders = Vec::new();
    for database in &top.folders {
        folders.extend(store.list_folder(database).await?.folders);
    }
    let keys: Vec<ArchiveKey> = folders
        .iter()
        .filter_map(|folder| ArchiveKey::parse(folder).map(|(archive, _)| archive).filter(|archive| archive.prefix() == *folder))
        .collect();
    let mut records = records(store, instance).await?;
    let mut elsewhere = None;
    if let Some(replica) = replica {
        match replica.list(instance).await {
            Ok(held) => elsewhere = Some((replica, held)),
            Err(failure) => findings.push(replica_not_checked(instance, &failure)),
        }
    }
    let elsewhere = elsewhere.as_ref();
    let (mut archives, mut replica_objects) = (Vec::new(), 0);
    let mut unseen = 0_usize;
    let mut todo = Vec::with_capacity(keys.len());
    for key in keys {
        let newest_record = records.remove(&key);
        todo.push(async move {
            if Instant::now() >= until {
                return Ok(None);
            }
            Box::pin(archive(look, key, newest_record, elsewhere)).await.map(Some)
        });
    }
    let mut looking = stream::iter(todo).buffered(AT_ONCE / 2);
    while let Some(archive) = looking.try_next().await? {
        match archive {
            Some((archive, compared)) => {
                archives.push(archive);
                replica_objects += compared;
            }
            None => unseen += 1,
        }
    }
    if unseen > 0 {
        let seen = format!("the time did not suffice to look at {unseen} archives");
        findings.push(Finding::new(FindingKind::NotChecked, instance, seen).hint("give the function more time or memory, or keep fewer backups"));
    }
    Ok(Observed { archives, runs, replica_objects, findings })
}

fn replica_not_checked(subject: &str, failure: &Failure) -> Finding {
    Finding::new(FindingKind::NotChecked, subject, format!("the replica could not be looked at: {failure}"))
        .expected("every archive is in the replica, as it was written")
        .hint("the bucket's policy and the key's policy are made by vault.yaml, this function's permissions by template.yaml")
}

/// One archive, and how many of its objects were compared with their replicas.
async fn archive(
    look: &Look<'_>,
    key: ArchiveKey,
    newest_record: Option<String>,
    elsewhere: Option<&(&Replica, Held)>,
) -> Result<(Archive, u64), Failure> {
    let store = look.store;
    let record = match newest_record {
        Some(record_key) => read_record(store, &record_key).await,
        None => None,
    };
    let inspected = inspect(store, &key, record.as_ref()).await?;
    let work = inspected.manifest.as_ref().map(|manifest| Work { objects: manifest.objects.len() as u64, bytes: manifest.size_bytes() });
    let backup = Backup { key: key.clone(), complete: inspected.is_complete, objects: inspected.objects, size_bytes: inspected.size_bytes };
    let (mut compared, mut of_replica) = (0, Vec::new());
    if let Some((manifest, (replica, held))) = inspected.manifest.as_ref().zip(elsewhere) {
        match replica.compare(store, &key, manifest, held, look.at).await {
            Ok(answer) => (compared, of_replica) = answer,
            Err(failure) => of_replica.push(replica_not_checked(&key.prefix(), &failure)),
        }
    }
    let mut findings = inspected.findings();
    findings.extend(of_replica);
    Ok((Archive { key, backup, work, record, findings }, compared))
}

/// One archive as it is listed, with its manifest.
pub struct Inspected {
    /// Whether there is a manifest, whatever its state.
    pub is_complete: bool,
    /// The manifest, if it can be opened.
    pub manifest: Option<Manifest>,
    /// Objects that are there, the manifest included.
    pub objects: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// Every object of the manifest.
    pub listed: Vec<Listed>,
    /// What is wrong beside those objects.
    pub others: Vec<Finding>,
}

impl Inspected {
    /// Everything that the listing shows to be wrong.
    pub fn findings(self) -> Vec<Finding> {
        self.listed.into_iter().filter_map(|listed| listed.finding).chain(self.others).collect()
    }
}

/// Lists one archive and opens its manifest.
///
/// # Errors
/// When the bucket cannot be listed.
pub async fn inspect(store: &Store, key: &ArchiveKey, record: Option<&Record>) -> Result<Inspected, Failure> {
    let versions = store.list_versions(&key.prefix()).await?;
    let manifest_key = key.object(MANIFEST);
    let there = versions.iter().filter(|version| version.is_latest && !version.is_delete_marker);
    let (objects, size_bytes) = there.clone().fold((0, 0), |(objects, size), version| (objects + 1, size + version.size_bytes));
    let is_complete = there.clone().any(|version| version.key == manifest_key);
    let mut inspected = Inspected { is_complete, manifest: None, objects, size_bytes, listed: Vec::new(), others: Vec::new() };
    if !is_complete {
        inspected.others.extend(listing_check::lost_manifest(key, &versions, record.is_some()));
        return Ok(inspected);
    }
    let bytes = match store.get(&manifest_key).await {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(failure) => {
            let finding = Finding::new(FindingKind::ObjectUnreadable, manifest_key, failure.to_string());
            inspected.others.push(finding.hint("nothing is known about this backup; the next run tries again"));
            return Ok(inspected);
        }
    };
    match listing_check::open_manifest(key, &bytes) {
        Err(finding) => inspected.others.push(*finding),
        Ok(manifest) => {
            (inspected.listed, inspected.others) = listing_check::compare(key, &manifest, &versions);
            if inspected.others.iter().all(|finding| finding.subject != manifest_key) {
                let changed = record.and_then(|record| listing_check::changed_manifest(key, &manifest, &record.manifest_checksum));
                inspected.others.extend(changed);
            }
            inspected.manifest = Some(manifest);
        }
    }
    Ok(inspected)
}

/// The newest lists, down to one for every database.
async fn runs(store: &Store, instance: &str, objects: &[StoredObject], at: DateTime<Utc>) -> Result<(Vec<RunList>, Vec<Finding>), Failure> {
    let mut keys: Vec<(DateTime<Utc>, &str)> =
        objects.iter().filter_map(|object| Some((key::parse_run_list(&object.key)?.0, object.key.as_str()))).collect();
    keys.sort_unstable_by(|a, b| b.cmp(a));
    let (mut runs, mut findings) = (Vec::<RunList>::new(), Vec::new());
    for page in keys[..keys.len().min(RUN_LISTS_MAX)].chunks(AT_ONCE) {
        // A week of lists shows runs that did not finish; further back only the newest for every database is looked for.
        let recent = page.first().is_some_and(|(slot, _)| at - *slot <= chrono::TimeDelta::days(7));
        if !recent && runs.iter().any(|run| run.every_database) {
            break;
        }
        let read = join_all(page.iter().map(|(_, key)| store.get(key)).collect::<Vec<_>>()).await;
        for ((_, key), bytes) in page.iter().zip(read) {
            match bytes.map_err(|failure| failure.to_string()).and_then(|bytes| open_run_list(instance, key, &bytes.unwrap_or_default())) {
                Ok(run) => runs.push(run),
                Err(why) => findings.push(
                    Finding::new(FindingKind::NotChecked, *key, why).hint("what this run promised is not known; the next run's list will do instead"),
                ),
            }
        }
    }
    Ok((runs, findings))
}

fn open_run_list(instance: &str, key: &str, bytes: &[u8]) -> Result<RunList, String> {
    let run: RunList = serde_json::from_slice(bytes).map_err(|error| format!("not the list of a run: {error}"))?;
    if run.format > run_list::FORMAT {
        return Err(format!("a list of format {}; this version reads up to {}: update Lifeboat", run.format, run_list::FORMAT));
    }
    if run.instance != instance || key::run_list(instance, run.scheduled_at, &run.run_id) != key {
        return Err(format!("it is the list of another run: {} of {}", run.run_id, run.instance));
    }
    Ok(run)
}

/// Key of the newest record of every archive.
async fn records(store: &Store, instance: &str) -> Result<BTreeMap<ArchiveKey, String>, Failure> {
    let mut newest = BTreeMap::new();
    // Keys are listed in their order, and a record's name begins with its time: the last one of an archive is the newest.
    for object in store.list(&verification::prefix(instance)).await? {
        if let Some((archive, _)) = verification::parse_key(&object.key) {
            newest.insert(archive, object.key);
        }
    }
    Ok(newest)
}

/// A record that cannot be read counts as none: the backup is then read again, which is never wrong.
async fn read_record(store: &Store, key: &str) -> Option<Record> {
    let record = match store.get(key).await {
        Ok(bytes) => serde_json::from_slice::<Record>(&bytes?).map_err(|error| error.to_string()),
        Err(failure) => Err(failure.to_string()),
    };
    match record {
        Ok(record) if record.format <= verification::FORMAT => Some(record),
        Ok(record) => {
            tracing::warn!(key, format = record.format, "a record of a newer version is not used");
            None
        }
        Err(why) => {
            tracing::warn!(key, why, "a record cannot be read");
            None
        }
    }
}

/// The newest record of one archive.
///
/// # Errors
/// When the bucket cannot be listed.
pub async fn newest_record(store: &Store, archive: &ArchiveKey) -> Result<Option<Record>, Failure> {
    let listed = store.list(&archive.verifications()).await?;
    match listed.last() {
        Some(newest) => Ok(read_record(store, &newest.key).await),
        None => Ok(None),
    }
}

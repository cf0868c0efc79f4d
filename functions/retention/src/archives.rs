//! Archives as the bucket and its replica show them, and the deletion of one: the manifest first, so that what is left of a deletion that was cut is no backup
//! any more and the next run goes on with it. In a bucket with versions nothing is destroyed: delete markers hide what was there until the bucket's lifecycle
//! removes it.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use shared::aws;
use shared::failure::{Failure, FailureKind};
use shared::key::{self, ArchiveKey, MANIFEST};
use shared::listing::Version;
use shared::run_list::{self, RunList};
use shared::store::{Listed, Store};
use shared::verification::{self, Record};
use tokio::time::Instant;

use crate::archive_state::{Verdict, state};
use crate::execute::Done;
use crate::model::{Archive, Place, State};

/// Listings and small objects that are asked for at once.
const AT_ONCE: usize = 4;
/// Keys of one call (S3 API reference, DeleteObjects).
const KEYS_MAX: usize = 1000;
/// Lists of runs that are looked at, the newest first: those for single databases may be many between two for every database.
const RUN_LISTS_MAX: usize = 200;

/// A bucket with archives.
pub struct Bucket {
    /// To read it.
    pub store: Store,
    /// To delete from it.
    pub client: aws_sdk_s3::Client,
}

impl Bucket {
    /// With a client of its region.
    pub fn new(client: aws_sdk_s3::Client, name: &str) -> Self {
        Self { store: Store::new(client.clone(), name), client }
    }

    /// The archives of an instance of which something is there, and the objects beside their databases.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub async fn find(&self, instance: &str) -> Result<(Vec<ArchiveKey>, Vec<Listed>), Failure> {
        let top = self.store.list_folder(&key::dumps(instance)).await?;
        let mut keys = Vec::new();
        for database in &top.folders {
            let folders = self.store.list_folder(database).await?.folders;
            let parsed = folders.iter().filter_map(|folder| ArchiveKey::parse(folder).map(|(key, _)| (key, folder)));
            keys.extend(parsed.filter(|(key, folder)| key.instance == instance && key.prefix() == **folder).map(|(key, _)| key));
        }
        Ok((keys, top.objects))
    }

    /// How each of them stands. Beyond a time no more is looked at: the number says how many were not.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub async fn inspect(
        &self,
        place: Place,
        keys: Vec<ArchiveKey>,
        verdicts: &BTreeMap<ArchiveKey, Verdict>,
        until: Instant,
    ) -> Result<(Vec<Archive>, usize), Failure> {
        let (mut archives, mut unseen) = (Vec::new(), 0);
        let looking = keys.into_iter().map(|key| async move {
            if Instant::now() >= until {
                return Ok(None);
            }
            let versions = self.store.list_versions(&key.prefix()).await?;
            Ok::<_, Failure>(Some((key, versions)))
        });
        let mut looking = std::pin::pin!(stream::iter(looking.collect::<Vec<_>>()).buffered(AT_ONCE));
        while let Some(looked) = looking.try_next().await? {
            let Some((key, versions)) = looked else {
                unseen += 1;
                continue;
            };
            if let Some((state, written_at)) = state(&key, &versions, verdicts.get(&key)) {
                archives.push(Archive { place, key, state, written_at });
            }
        }
        Ok((archives, unseen))
    }

    /// What the newest verification of each of these archives found.
    ///
    /// # Errors
    /// When the bucket cannot be listed. A record that cannot be read counts as none.
    pub async fn verdicts(&self, instance: &str, keys: &[&ArchiveKey]) -> Result<BTreeMap<ArchiveKey, Verdict>, Failure> {
        let mut newest: BTreeMap<ArchiveKey, Listed> = BTreeMap::new();
        // Keys are listed in their order, and a record's name begins with its time: the last one of an archive is the newest.
        for listed in self.store.list(&verification::prefix(instance)).await? {
            if let Some((archive, _)) = verification::parse_key(&listed.key).filter(|(archive, _)| keys.contains(&archive)) {
                newest.insert(archive, listed);
            }
        }
        let reading = newest.into_iter().map(|(archive, listed)| async move { (self.verdict(&listed).await, archive) });
        let read: Vec<(Option<Verdict>, ArchiveKey)> = stream::iter(reading.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
        Ok(read.into_iter().filter_map(|(verdict, archive)| Some((archive, verdict?))).collect())
    }

    async fn verdict(&self, listed: &Listed) -> Option<Verdict> {
        let read = match self.store.get(&listed.key).await {
            Ok(bytes) => serde_json::from_slice::<Record>(&bytes?).map_err(|error| error.to_string()),
            Err(failure) => Err(failure.to_string()),
        };
        match read {
            Ok(record) if record.format <= verification::FORMAT => {
                Some(Verdict { outcome: record.outcome, objects: record.objects, bytes: record.bytes, recorded_at: listed.modified_at })
            }
            Ok(record) => {
                tracing::warn!(key = listed.key, format = record.format, "a record of a newer version is not used");
                None
            }
            Err(why) => {
                tracing::warn!(key = listed.key, why, "a record cannot be read");
                None
            }
        }
    }

    /// The databases that the newest run for every database saw; `None` if there was none.
    ///
    /// # Errors
    /// When a list cannot be read.
    pub async fn newest_run(&self, objects: &[Listed]) -> Result<Option<RunList>, Failure> {
        let mut lists: Vec<_> = objects.iter().filter_map(|object| Some((key::parse_run_list(&object.key)?, &object.key))).collect();
        lists.sort_unstable();
        for (_, key) in lists.iter().rev().take(RUN_LISTS_MAX) {
            let bytes = self.store.get(key).await?.unwrap_or_default();
            match serde_json::from_slice::<RunList>(&bytes) {
                Ok(run) if run.format <= run_list::FORMAT && run.every_database => return Ok(Some(run)),
                Ok(_) => {}
                Err(error) => tracing::warn!(key, %error, "the list of a run cannot be read"),
            }
        }
        Ok(None)
    }

    /// Deletes an archive if it is still what was planned for.
    ///
    /// # Errors
    /// When S3 refuses something; what is left is deleted by the next run.
    pub async fn delete(&self, planned: &Archive, until: Instant) -> Result<Done, Failure> {
        let versions = self.store.list_versions(&planned.key.prefix()).await?;
        let manifest_key = planned.key.object(MANIFEST);
        let there: Vec<&Version> = versions.iter().filter(|version| version.is_latest && !version.is_delete_marker).collect();
        if there.is_empty() {
            return Ok(Done::GoneAlready);
        }
        let written_at = there.iter().find(|version| version.key == manifest_key).map(|manifest| manifest.modified_at);
        let was_complete = !matches!(planned.state, State::Incomplete { .. });
        if written_at != was_complete.then_some(planned.written_at) {
            return Ok(Done::Changed);
        }
        if was_complete {
            let call = self.client.delete_object().bucket(&self.store.bucket).key(&manifest_key);
            call.send().await.map_err(|error| aws::failure(error).context("delete its manifest (s3:DeleteObject)"))?;
        }
        let rest: Vec<&str> = there.iter().map(|version| version.key.as_str()).filter(|key| *key != manifest_key).collect();
        for keys in rest.chunks(KEYS_MAX) {
            if Instant::now() >= until {
                return Ok(Done::Cut);
            }
            self.delete_all(keys).await?;
        }
        Ok(Done::Deleted)
    }

    async fn delete_all(&self, keys: &[&str]) -> Result<(), Failure> {
        let attempted = || format!("delete {} objects (s3:DeleteObject)", keys.len());
        let broken = |error| Failure::from_error(FailureKind::Other, &error).context(attempted());
        let named = keys.iter().map(|key| ObjectIdentifier::builder().key(*key).build()).collect::<Result<Vec<_>, _>>().map_err(broken)?;
        let delete = Delete::builder().set_objects(Some(named)).quiet(true).build().map_err(broken)?;
        let answer = self.client.delete_objects().bucket(&self.store.bucket).delete(delete).send().await;
        let answer = answer.map_err(|error| aws::failure(error).context(attempted()))?;
        // A call that succeeds may have failed for some of the keys.
        let Some(first) = answer.errors().first() else { return Ok(()) };
        let text = |text: Option<&str>| text.unwrap_or("(not said)").to_owned();
        let what = format!("{} of them: {} {}: {}", answer.errors().len(), text(first.key()), text(first.code()), text(first.message()));
        Err(Failure::new(FailureKind::Other, what).context(attempted()))
    }
}

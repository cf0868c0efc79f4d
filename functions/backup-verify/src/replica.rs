//! The replica of the archives, in another region or account: whether S3's replication brought every object there, and whether the checksum that S3
//! computed there is that of the bytes which were written. It reads no data and writes nothing: a checksum is asked for, object by object.

use std::collections::BTreeMap;

use aws_config::{Region, SdkConfig};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use shared::env::Reader;
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared::human::{bytes, duration};
use shared::key::{self, ArchiveKey, MANIFEST};
use shared::listing::Head;
use shared::manifest::{Manifest, Object};
use shared::store::Store;

/// Most objects arrive within 15 minutes (S3 User Guide, "S3 Replication Time Control"); without that paid promise they may take some hours.
const LAG_MAX: TimeDelta = TimeDelta::hours(6);
/// Archives of the last days have their checksums compared every day.
const RECENT: TimeDelta = TimeDelta::days(2);
/// Objects that are asked for at once.
const AT_ONCE: usize = 8;
/// Objects that a finding names.
const NAMED_MAX: usize = 5;

/// The bucket that S3 replicates to.
pub struct Replica {
    store: Store,
    reread: TimeDelta,
}

/// What the replica holds: size in bytes by key.
pub type Held = BTreeMap<String, u64>;

impl Replica {
    /// Reads REPLICA_BUCKET and REPLICA_REGION; `None` without the first. Checksums of old archives are compared again within `reread`.
    pub fn read(reader: &mut Reader<'_>, config: &SdkConfig, reread: TimeDelta) -> Option<Self> {
        let bucket = reader.optional("REPLICA_BUCKET")?;
        let region = reader.required("REPLICA_REGION");
        let config = aws_sdk_s3::config::Builder::from(config).region(Region::new(region)).build();
        Some(Self { store: Store::new(aws_sdk_s3::Client::from_conf(config), bucket), reread })
    }

    /// Everything of an instance that it holds.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub async fn list(&self, instance: &str) -> Result<Held, Failure> {
        let listed = self.store.list(&key::dumps(instance)).await?;
        Ok(listed.into_iter().map(|object| (object.key, object.size_bytes)).collect())
    }

    /// Compares an archive with its replica: sizes always; checksums of recent archives, and of a share of the others that changes with the day. Gives
    /// the number of checksums compared, and what was found.
    ///
    /// # Errors
    /// When a bucket cannot be asked.
    pub async fn compare(
        &self,
        source: &Store,
        archive: &ArchiveKey,
        manifest: &Manifest,
        held: &Held,
        at: DateTime<Utc>,
    ) -> Result<(u64, Vec<Finding>), Failure> {
        if at - manifest.finished_at < LAG_MAX {
            return Ok((0, Vec::new()));
        }
        let address = self.store.address(&archive.prefix());
        let mut findings = compare_sizes(&address, archive, manifest, held);
        if !findings.is_empty() || !is_due(archive, manifest, self.reread, at) {
            return Ok((0, findings));
        }
        let mut asked = Vec::with_capacity(manifest.objects.len() + 1);
        for object in &manifest.objects {
            asked.push(self.compare_object(source, archive, &object.name, Some(object)));
        }
        asked.push(self.compare_object(source, archive, MANIFEST, None));
        let mut asked = stream::iter(asked).buffered(AT_ONCE);
        let (mut compared, mut different) = (0, Vec::new());
        while let Some(answer) = asked.try_next().await? {
            compared += 1;
            different.extend(answer);
        }
        if !different.is_empty() {
            let finding = Finding::new(FindingKind::ReplicaDiffers, address, named(&different));
            findings
                .push(finding.expected("the checksums that were written").hint("the source is verified separately: copy the objects from it anew"));
        }
        Ok((compared, findings))
    }

    async fn compare_object(&self, source: &Store, archive: &ArchiveKey, name: &str, object: Option<&Object>) -> Result<Option<String>, Failure> {
        let key = archive.object(name);
        let (written, replicated) = futures_util::try_join!(source.head(&key), self.store.head(&key))?;
        Ok(compare_checksums(name, object, written.as_ref(), replicated.as_ref()))
    }
}

/// Whether the checksums of an archive are compared on this day.
fn is_due(archive: &ArchiveKey, manifest: &Manifest, reread: TimeDelta, at: DateTime<Utc>) -> bool {
    let days = reread.num_days().max(1);
    at - manifest.finished_at <= RECENT + LAG_MAX || (archive.slot.timestamp() / 86_400 + at.timestamp() / 86_400).rem_euclid(days) == 0
}

/// What the listing of the replica shows about an archive: pure.
fn compare_sizes(address: &str, archive: &ArchiveKey, manifest: &Manifest, held: &Held) -> Vec<Finding> {
    let (mut missing, mut other_size) = (Vec::new(), Vec::new());
    let sizes = manifest.objects.iter().map(|object| (object.name.as_str(), Some(object.size_bytes))).chain([(MANIFEST, None)]);
    for (name, size) in sizes {
        match (held.get(&archive.object(name)), size) {
            (None, _) => missing.push(name.to_owned()),
            (Some(there), Some(size)) if *there != size => other_size.push(format!("{name} ({}, not {})", bytes(*there), bytes(size))),
            _ => {}
        }
    }
    let mut findings = Vec::new();
    if !missing.is_empty() {
        let seen = format!("{} of {} objects are missing: {}", missing.len(), manifest.objects.len() + 1, named(&missing));
        findings.push(Finding::new(FindingKind::ReplicaMissing, address, seen).expected(format!("every object within {}", duration(LAG_MAX))).hint(
            "look at the replication status of the objects (aws s3api head-object); S3 does not try again by itself: S3 Batch Replication does",
        ));
    }
    if !other_size.is_empty() {
        findings.push(
            Finding::new(FindingKind::ReplicaDiffers, address, named(&other_size))
                .hint("the source is verified separately: copy the objects from it anew"),
        );
    }
    findings
}

/// What is wrong with an object of the replica, in words. A checksum of one part is that of the manifest; one of several parts is compared with the source's.
fn compare_checksums(name: &str, object: Option<&Object>, written: Option<&Head>, replicated: Option<&Head>) -> Option<String> {
    let Some(replicated) = replicated else { return Some(format!("{name} is gone")) };
    let Some(checksum) = &replicated.checksum_sha256 else { return Some(format!("{name} has no checksum")) };
    let of_source = written.and_then(|written| written.checksum_sha256.as_ref());
    let of_manifest = object.map(|object| object.sha256.as_str());
    let same = match (of_source, of_manifest) {
        (Some(of_source), _) if of_source == checksum => true,
        (_, Some(of_manifest)) => replicated.sha256().as_deref() == Some(of_manifest),
        _ => false,
    };
    (!same).then(|| format!("{name} has the checksum {checksum}, not {}", of_source.map_or_else(|| of_manifest.unwrap_or("(none)"), String::as_str)))
}

fn named(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(checksum: &str) -> Head {
        Head { size_bytes: 1, checksum_sha256: Some(checksum.to_owned()) }
    }

    #[test]
    fn a_checksum_is_compared_with_the_source_and_with_the_manifest() {
        // SHA-256 of nothing.
        let (hex, base64) = ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        let object = Object { name: "a".into(), size_bytes: 0, sha256: hex.into(), version_id: None };
        let wrong = |written: Option<&Head>, replicated: Option<&Head>| compare_checksums("a", Some(&object), written, replicated).is_some();
        assert!(!wrong(Some(&head(base64)), Some(&head(base64))));
        assert!(!wrong(None, Some(&head(base64))), "the source is gone, the manifest still tells");
        assert!(!wrong(Some(&head("parts-2")), Some(&head("parts-2"))));
        assert!(wrong(Some(&head("parts-2")), Some(&head("other-2"))));
        assert!(wrong(None, Some(&head("parts-2"))), "nothing to compare with is not equal");
        assert!(wrong(Some(&head(base64)), None));
        assert!(wrong(Some(&head(base64)), Some(&Head { size_bytes: 1, checksum_sha256: None })));
    }

    #[test]
    fn every_archive_has_its_day() {
        let archive = |days: i64| ArchiveKey {
            instance: "i".into(),
            database: "d".into(),
            slot: DateTime::UNIX_EPOCH + TimeDelta::days(days),
            run_id: "0badcafe".into(),
        };
        let begin = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        for days in 0..40 {
            let archive = archive(days);
            let manifest = crate::test_archive::manifest_of(&archive);
            let due = (0..30).filter(|day| is_due(&archive, &manifest, TimeDelta::days(30), begin + TimeDelta::days(*day))).count();
            assert_eq!(due, 1, "{days}");
        }
    }

    #[test]
    fn what_did_not_arrive_is_named() {
        let archive = ArchiveKey { instance: "i".into(), database: "d".into(), slot: DateTime::UNIX_EPOCH, run_id: "0badcafe".into() };
        let mut manifest = crate::test_archive::manifest_of(&archive);
        manifest.objects = ["a", "b"].map(|name| Object { name: name.into(), size_bytes: 7, sha256: String::new(), version_id: None }).to_vec();
        let mut held: Held = ["a", "b", MANIFEST].map(|name| (archive.object(name), 7)).into();
        assert_eq!(compare_sizes("s3://replica", &archive, &manifest, &held), []);
        held.insert(archive.object("a"), 6);
        held.remove(&archive.object(MANIFEST));
        let found = compare_sizes("s3://replica", &archive, &manifest, &held);
        assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::ReplicaMissing, FindingKind::ReplicaDiffers]);
        assert!(found[0].seen.contains(MANIFEST) && found[1].seen.contains('a'), "{found:?}");
    }
}

//! The backups on both sides of a moment: the last archive whose snapshot was taken before it, and the first one after it.

use chrono::{DateTime, Utc};
use shared::archive::toc::Toc;
use shared::failure::Failure;
use shared::key::{ArchiveKey, MANIFEST, dumps, segment};
use shared::manifest::Manifest;
use shared::store::Store;

/// Manifests that are read on each side: some archives have none, because their run did not end.
const LOOKED_AT_MAX: usize = 8;

/// The nearest manifests of a database before and after a moment, by the time of their snapshots. A damaged manifest is passed over: that is for
/// `backup-verify` to say.
///
/// # Errors
/// When the bucket cannot be read.
pub async fn neighbours(store: &Store, instance: &str, database: &str, at: DateTime<Utc>) -> Result<(Option<Manifest>, Option<Manifest>), Failure> {
    let prefix = format!("{}{}/", dumps(instance), segment(database));
    let folders = store.list_folder(&prefix).await?.folders;
    let archives = folders.iter().filter_map(|folder| ArchiveKey::parse(&format!("{folder}{MANIFEST}")).map(|(archive, _)| archive)).collect();
    let (earlier, later) = sides(archives, at);
    let (mut before, mut after): (Option<Manifest>, Option<Manifest>) = (None, None);
    for archive in earlier {
        let Some(manifest) = manifest(store, &archive).await? else { continue };
        // A run that was late took its snapshot after the moment, though its slot was before it.
        if manifest.snapshot_at > at {
            keep_earlier(&mut after, manifest);
        } else {
            before = Some(manifest);
            break;
        }
    }
    for archive in later {
        if let Some(manifest) = manifest(store, &archive).await? {
            if manifest.snapshot_at > at {
                keep_earlier(&mut after, manifest);
            } else if before.as_ref().is_none_or(|before| before.snapshot_at < manifest.snapshot_at) {
                // Dumped by hand, before its slot.
                before = Some(manifest);
                continue;
            }
            break;
        }
    }
    Ok((before, after))
}

/// The archives to look at, nearest first: with slots up to the moment, and after it.
fn sides(mut archives: Vec<ArchiveKey>, at: DateTime<Utc>) -> (Vec<ArchiveKey>, Vec<ArchiveKey>) {
    archives.sort_by(|a, b| (a.slot, &a.run_id).cmp(&(b.slot, &b.run_id)));
    let later = archives.split_off(archives.partition_point(|archive| archive.slot <= at));
    (archives.into_iter().rev().take(LOOKED_AT_MAX).collect(), later.into_iter().take(LOOKED_AT_MAX).collect())
}

fn keep_earlier(kept: &mut Option<Manifest>, manifest: Manifest) {
    if kept.as_ref().is_none_or(|kept| manifest.snapshot_at < kept.snapshot_at) {
        *kept = Some(manifest);
    }
}

async fn manifest(store: &Store, archive: &ArchiveKey) -> Result<Option<Manifest>, Failure> {
    let bytes = store.get(&archive.object(MANIFEST)).await?;
    Ok(bytes.and_then(|bytes| Manifest::open(&bytes).ok()))
}

/// The table of contents of a manifest's archive; `None` when it is missing or cannot be read.
///
/// # Errors
/// When the bucket cannot be read.
pub async fn table_of_contents(store: &Store, manifest: &Manifest) -> Result<Option<Toc>, Failure> {
    let archive = ArchiveKey {
        instance: manifest.instance.clone(),
        database: manifest.database.clone(),
        slot: manifest.scheduled_at,
        run_id: manifest.run_id.clone(),
    };
    let bytes = store.get(&archive.object("toc.dat")).await?;
    Ok(bytes.and_then(|bytes| Toc::parse(&bytes).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(hour: u32, run_id: &str) -> ArchiveKey {
        let slot = DateTime::from_timestamp(i64::from(hour) * 3600, 0).expect("a time");
        ArchiveKey { instance: "i".into(), database: "d".into(), slot, run_id: run_id.into() }
    }

    #[test]
    fn the_nearest_of_each_side_come_first_and_few_are_looked_at() {
        let at = DateTime::from_timestamp(50 * 3600, 0).expect("a time");
        let (earlier, later) = sides((0..100).rev().map(|hour| archive(hour, "a")).collect(), at);
        assert_eq!(earlier.iter().map(|archive| archive.slot).collect::<Vec<_>>()[..2], [archive(50, "").slot, archive(49, "").slot]);
        assert_eq!(later[0], archive(51, "a"));
        assert_eq!((earlier.len(), later.len()), (LOOKED_AT_MAX, LOOKED_AT_MAX));
        assert_eq!(sides(Vec::new(), at), (Vec::new(), Vec::new()));
    }
}

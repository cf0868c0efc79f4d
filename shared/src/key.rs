//! Where things lie in the bucket. Every name that comes from outside becomes one percent-encoded segment.

use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::report::{parse_slot_name, slot_name};

/// Kept as they are: S3 calls these safe, and none is special to a shell or a URL.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Name of the object whose presence is the backup.
pub const MANIFEST: &str = "manifest.json";

/// Ending of the list of databases that a run saw.
pub const RUN_LIST_SUFFIX: &str = ".run.json";

/// One segment of a key: percent-encoded, and never `.` or `..`, which a copy on disk would follow.
pub fn segment(name: &str) -> String {
    if name.chars().all(|char| char == '.') { name.replace('.', "%2E") } else { utf8_percent_encode(name, SEGMENT).to_string() }
}

/// The name that [`segment`] encoded.
pub fn segment_name(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// All dumps of an instance: `dumps/INSTANCE/`.
pub fn dumps(instance: &str) -> String {
    format!("dumps/{}/", segment(instance))
}

/// One archive: a database of an instance, dumped by a run for a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveKey {
    /// The RDS instance.
    pub instance: String,
    /// The database.
    pub database: String,
    /// The slot that the dump fills.
    pub slot: DateTime<Utc>,
    /// Of the run that made it.
    pub run_id: String,
}

impl ArchiveKey {
    /// `dumps/INSTANCE/DATABASE/SLOT-RUNID/`.
    pub fn prefix(&self) -> String {
        format!("{}{}/{}/", dumps(&self.instance), segment(&self.database), self.folder())
    }

    /// `SLOT-RUNID`.
    pub fn folder(&self) -> String {
        format!("{}-{}", slot_name(self.slot), self.run_id)
    }

    /// Key of an object of this archive.
    pub fn object(&self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }

    /// `verifications/INSTANCE/DATABASE/SLOT-RUNID/`.
    pub fn verifications(&self) -> String {
        format!("verifications/{}/{}/{}/", segment(&self.instance), segment(&self.database), self.folder())
    }

    /// The archive that a key lies in, and the rest of the key.
    pub fn parse(key: &str) -> Option<(Self, &str)> {
        let mut parts = key.splitn(5, '/');
        let (root, instance, database, folder, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if root != "dumps" {
            return None;
        }
        let (slot, run_id) = parse_folder(folder)?;
        Some((Self { instance: segment_name(instance), database: segment_name(database), slot, run_id: run_id.to_owned() }, rest))
    }
}

/// `dumps/INSTANCE/SLOT-RUNID.run.json`: the databases that a run saw.
pub fn run_list(instance: &str, slot: DateTime<Utc>, run_id: &str) -> String {
    format!("{}{}-{run_id}{RUN_LIST_SUFFIX}", dumps(instance), slot_name(slot))
}

/// Slot and run id of a run list's key.
pub fn parse_run_list(key: &str) -> Option<(DateTime<Utc>, String)> {
    let name = key.rsplit('/').next()?.strip_suffix(RUN_LIST_SUFFIX)?;
    parse_folder(name).map(|(slot, run_id)| (slot, run_id.to_owned()))
}

fn parse_folder(folder: &str) -> Option<(DateTime<Utc>, &str)> {
    let (slot, run_id) = folder.rsplit_once('-')?;
    Some((parse_slot_name(slot)?, run_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_kind_make_one_segment_and_come_back() {
        for name in ["app", "..", ".", "a/b", "a*b", "tab\tnew\nline", "ünï", "100%", "it's \"quoted\"", "x y+z"] {
            let encoded = segment(name);
            assert!(!encoded.contains(['/', '*', ' ', '\n', '"', '\'']) && encoded != "." && encoded != "..", "{encoded}");
            assert_eq!(segment_name(&encoded), name);
        }
    }

    #[test]
    fn an_archive_is_found_again_by_any_of_its_keys() {
        let slot = parse_slot_name("2026-11-23T02-00-00Z").expect("slot");
        let archive = ArchiveKey { instance: "app-db".into(), database: "a/b".into(), slot, run_id: "0badcafe".into() };
        assert_eq!(archive.object(MANIFEST), "dumps/app-db/a%2Fb/2026-11-23T02-00-00Z-0badcafe/manifest.json");
        assert_eq!(ArchiveKey::parse(&archive.object("toc.dat")), Some((archive, "toc.dat")));
        assert_eq!(parse_run_list(&run_list("app-db", slot, "0badcafe")), Some((slot, "0badcafe".into())));
        for other in ["dumps/app-db/2026-11-23T02-00-00Z-0badcafe.run.json", "dumps/app-db/x/y/z", "reports/a/b/c/d"] {
            assert_eq!(ArchiveKey::parse(other), None, "{other}");
        }
    }
}

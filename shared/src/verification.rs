//! What was read to its last byte, when, and how it came out: one object for each verification, beside the backups and never over
//! another. A manifest never changes; what becomes known about a backup later is here. `backup-verify` writes it; `retention` counts as good only what it calls so.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::key::{ArchiveKey, segment};
use crate::manifest::Lifeboat;
use crate::report::{Outcome, parse_slot_name, slot_name};

/// Version of this model; a reader takes a newer one for none.
pub const FORMAT: u32 = 1;

/// Findings that a record keeps; the report has them all.
const FINDINGS_MAX: usize = 100;

/// One verification of one backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Version of this model.
    pub format: u32,
    /// The RDS instance.
    pub instance: String,
    /// The database.
    pub database: String,
    /// The slot that the backup fills.
    pub scheduled_at: DateTime<Utc>,
    /// Of the run that made the backup.
    pub run_id: String,
    /// When the last byte was read.
    pub verified_at: DateTime<Utc>,
    /// How it came out: `ok` or `attention` for a backup that is whole.
    pub outcome: Outcome,
    /// Checksum of the manifest that it was compared with.
    pub manifest_checksum: String,
    /// Objects that were read.
    pub objects: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Rows and large objects that were counted.
    pub rows: u64,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Findings beyond those kept here.
    pub findings_left_out: usize,
    /// Who verified.
    pub lifeboat: Lifeboat,
}

impl Record {
    /// Sets what was found, and what that amounts to.
    #[must_use]
    pub fn with_findings(mut self, findings: &[Finding]) -> Self {
        self.outcome = Outcome::of(findings);
        self.findings = findings.iter().take(FINDINGS_MAX).cloned().collect();
        self.findings_left_out = findings.len() - self.findings.len();
        self
    }

    /// Whether the backup was whole.
    pub fn is_good(&self) -> bool {
        matches!(self.outcome, Outcome::Ok | Outcome::Attention)
    }

    /// `verifications/INSTANCE/DATABASE/SLOT-RUNID/DATE-ID.json`; the names sort by time.
    pub fn key(&self, archive: &ArchiveKey, id: &str) -> String {
        format!("{}{}-{}.json", archive.verifications(), slot_name(self.verified_at), segment(id))
    }
}

/// All verifications of an instance.
pub fn prefix(instance: &str) -> String {
    format!("verifications/{}/", segment(instance))
}

/// The backup that a record is about, and when it was verified.
pub fn parse_key(key: &str) -> Option<(ArchiveKey, DateTime<Utc>)> {
    let below = key.strip_prefix("verifications/")?;
    let (archive, name) = ArchiveKey::parse(&format!("dumps/{below}")).map(|(archive, name)| (archive, name.to_owned()))?;
    let date = name.strip_suffix(".json")?.get(..20)?;
    Some((archive, parse_slot_name(date)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::FindingKind;

    fn archive() -> ArchiveKey {
        let slot = parse_slot_name("2026-11-23T02-00-00Z").expect("slot");
        ArchiveKey { instance: "app-db".into(), database: "a/b".into(), slot, run_id: "0badcafe".into() }
    }

    fn record() -> Record {
        Record {
            format: FORMAT,
            instance: "app-db".into(),
            database: "a/b".into(),
            scheduled_at: archive().slot,
            run_id: "0badcafe".into(),
            verified_at: parse_slot_name("2026-11-24T06-00-13Z").expect("time"),
            outcome: Outcome::Ok,
            manifest_checksum: "c0ffee".into(),
            objects: 3,
            bytes: 4,
            rows: 5,
            findings: Vec::new(),
            findings_left_out: 0,
            lifeboat: Lifeboat { version: "0.1.0".into(), git_sha: "abc".into() },
        }
    }

    #[test]
    fn a_record_is_found_by_its_key() {
        let key = record().key(&archive(), "1-2/3");
        assert_eq!(key, "verifications/app-db/a%2Fb/2026-11-23T02-00-00Z-0badcafe/2026-11-24T06-00-13Z-1-2%2F3.json");
        assert_eq!(parse_key(&key), Some((archive(), record().verified_at)));
        for other in ["verifications/app-db/x.json", "dumps/app-db/a/2026-11-23T02-00-00Z-0badcafe/2026-11-24T06-00-13Z-1.json"] {
            assert_eq!(parse_key(other), None, "{other}");
        }
        assert_eq!(parse_key(&key.replace("2026-11-24T06", "äääääääääääää")), None);
    }

    #[test]
    fn a_record_keeps_a_bounded_number_of_findings_and_the_verdict_of_all() {
        assert!(record().is_good());
        let mut findings: Vec<Finding> = (0..150).map(|n| Finding::new(FindingKind::ObjectExtra, n.to_string(), "extra")).collect();
        assert!(record().with_findings(&findings).is_good(), "an extra object does not spoil a backup");
        findings.push(Finding::new(FindingKind::ObjectUnreadable, "x", "nothing"));
        let bad = record().with_findings(&findings);
        assert!(!bad.is_good());
        assert_eq!((bad.findings.len(), bad.findings_left_out), (100, 51));
        let json = serde_json::to_string(&bad).expect("write");
        assert_eq!(serde_json::from_str::<Record>(&json).expect("read"), bad);
    }
}

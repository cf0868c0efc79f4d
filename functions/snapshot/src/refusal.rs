//! A step that AWS refused: what the report says of it, and whether it may pass by itself. By error code, not by text. Pure.

use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};

use crate::plan::What;

/// A refused step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the report says.
    pub finding: Finding,
    /// Whether it may pass by itself, so that a pipeline should ask again.
    pub passes: bool,
}

/// What a refusal means. The next run looks again and takes the step again if it is still due, whatever the reason was.
pub fn refusal(what: &What, subject: &str, code: Option<&str>, failure: &Failure) -> Refusal {
    let seen = format!("{}: {failure}", in_words(what));
    let found = |kind, hint: &str, passes| Refusal { finding: Finding::new(kind, subject, &seen).hint(hint), passes };
    let refused = |hint: &str, passes| found(FindingKind::SnapshotStepRefused, hint, passes);
    match code.unwrap_or_default().trim_end_matches("Fault") {
        "InvalidDBInstanceState" => found(FindingKind::InstanceNotAvailable, "nothing, if it passes: the next run tries again", true),
        "DBInstanceNotFound" => found(FindingKind::InstanceMissing, "it was there a moment ago: was it deleted or renamed?", false),
        // RDS has one code for both of its limits.
        "SnapshotQuotaExceeded" if matches!(what, What::Copy { .. }) && failure.to_string().contains("copy more than") => {
            found(FindingKind::CopyWaits, "nothing: it is begun when others are done", true)
        }
        "SnapshotQuotaExceeded" => refused(
            "the region takes no further manual snapshot: ask for a higher quota (Service Quotas, Amazon RDS, \"Manual DB instance snapshots\"), or keep fewer (the stack's parameters for retention); then the next run tries again",
            false,
        ),
        "SharedSnapshotQuotaExceeded" => refused("a snapshot can be shared with 20 accounts: take back sharings by hand", false),
        "KMSKeyNotAccessible" => refused(
            "see that the key is enabled, and that its policy lets the role that copies use it: kms:DescribeKey, kms:CreateGrant, kms:Decrypt of the source's key (from another account: by the key's own policy), kms:GenerateDataKeyWithoutPlaintext and kms:CreateGrant of the copy's key",
            false,
        ),
        "DBSnapshotNotFound" | "InvalidDBSnapshotState" => refused("nothing: the snapshot changed meanwhile, and the next run looks again", true),
        "InvalidParameterCombination" | "InvalidParameterValue" => {
            refused("RDS does not allow this copy or sharing as it is configured: its message says why; correct the stack's parameters", false)
        }
        "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "TooManyRequestsException" => {
            refused("nothing, if it passes: AWS asked to slow down, and the next run tries again", true)
        }
        _ => match failure.kind {
            FailureKind::Unreachable | FailureKind::Deadline => {
                refused("nothing, if it passes: AWS could not be reached, and the next run tries again", true)
            }
            FailureKind::Denied => refused(
                "allow the action that the message names, in the function's role (for a copy in another account: in that role, made by vault.yaml) or in the key's policy",
                false,
            ),
            _ => refused("the message says what AWS does not like; the next run tries again", false),
        },
    }
}

fn in_words(what: &What) -> &'static str {
    match what {
        What::Create { .. } => "make the snapshot (rds:CreateDBSnapshot)",
        What::Share { .. } => "share it with the other account (rds:ModifyDBSnapshotAttribute)",
        What::Copy { .. } => "copy it (rds:CopyDBSnapshot)",
        What::Unshare { .. } => "take the sharing back (rds:ModifyDBSnapshotAttribute)",
        What::NoteCopies { .. } => "write down which copies are good (rds:AddTagsToResource)",
        What::Wait { .. } => "wait",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_code_decides_what_is_said_and_whether_it_passes() {
        let create = What::Create { id: "a".to_owned(), tags: BTreeMap::new() };
        let copy = What::Copy { place: 1, id: "a".to_owned(), source_arn: String::new(), source_encrypted: true, tags: BTreeMap::new() };
        let said = |what: &What, code: &str, kind, message: &str| {
            let refusal = refusal(what, "a", Some(code), &Failure::new(kind, message));
            assert!(refusal.finding.hint.is_some() && refusal.finding.seen.contains(message));
            (refusal.finding.kind, refusal.passes)
        };
        let other = FailureKind::Other;
        assert_eq!(said(&create, "InvalidDBInstanceState", other, "modifying"), (FindingKind::InstanceNotAvailable, true));
        assert_eq!(said(&create, "InvalidDBInstanceStateFault", other, "modifying"), (FindingKind::InstanceNotAvailable, true));
        assert_eq!(
            said(&create, "SnapshotQuotaExceeded", other, "Cannot create more than 100 manual snapshots"),
            (FindingKind::SnapshotStepRefused, false)
        );
        assert_eq!(said(&copy, "SnapshotQuotaExceeded", other, "Cannot copy more than 20 snapshots across regions"), (FindingKind::CopyWaits, true));
        assert_eq!(
            said(&copy, "SnapshotQuotaExceeded", other, "Cannot create more than 100 manual snapshots"),
            (FindingKind::SnapshotStepRefused, false)
        );
        assert_eq!(said(&copy, "KMSKeyNotAccessibleFault", other, "no grant"), (FindingKind::SnapshotStepRefused, false));
        assert_eq!(said(&copy, "AccessDenied", FailureKind::Denied, "not authorized"), (FindingKind::SnapshotStepRefused, false));
        assert_eq!(said(&copy, "ThrottlingException", FailureKind::Unreachable, "slow"), (FindingKind::SnapshotStepRefused, true));
        assert_eq!(said(&copy, "", FailureKind::Unreachable, "reset"), (FindingKind::SnapshotStepRefused, true));
        assert_eq!(said(&create, "DBInstanceNotFound", other, "gone"), (FindingKind::InstanceMissing, false));
    }
}

//! What a job found: typed, with a severity and a place in the runbook. Rendering is somebody else's.

use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Worth knowing; nothing to do.
    Note,
    /// Somebody should look this week.
    Warning,
    /// It could not be checked, which is never healthy.
    Unknown,
    /// Somebody must look now.
    Critical,
}

/// Declares the kinds of findings: one line each, with the severity that a kind always has. Its name in camelCase is stable, and is the
/// anchor of its section in `docs/runbook.md` (held by the `tidy` test).
macro_rules! finding_kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $severity:ident,)+) => {
        /// What was found. Every kind has a section of its own in `docs/runbook.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum FindingKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind,)+
        }

        impl FindingKind {
            /// Every kind there is.
            pub const ALL: &'static [FindingKind] = &[$(FindingKind::$kind,)+];

            /// The stable name, which is the anchor in the runbook too.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self { $(Self::$kind => Severity::$severity,)+ }
            }
        }
    };
}

finding_kinds! {
    /// The job could not be done; the failure's chain is in `seen`.
    RunFailed "runFailed" Critical,

    // logical-dump
    /// pg_dump or pg_dumpall printed a warning.
    PgDumpWarning "pgDumpWarning" Warning,
    /// A table could not be read and was left out, because the request allows it.
    TableLeftOut "tableLeftOut" Critical,
    /// A foreign table: its definition is in the archive, its rows are elsewhere.
    ForeignTableData "foreignTableData" Note,
    /// A database that exists but accepts no connections was not dumped.
    DatabaseNotDumped "databaseNotDumped" Warning,
    /// Another run holds the instance's lock.
    AlreadyRunning "alreadyRunning" Note,
    /// This slot's dump is already there.
    AlreadyDone "alreadyDone" Note,
    /// Sessions or uploads of an earlier run that was killed were ended.
    LeftoversRemoved "leftoversRemoved" Note,

    // backup-verify
    /// A database that should be backed up has no backup at all.
    BackupMissing "backupMissing" Critical,
    /// The newest backup of a database is older than the schedule promises.
    BackupStale "backupStale" Critical,
    /// No run has been seen for longer than the schedule promises.
    RunMissing "runMissing" Critical,
    /// A run began and left no manifest.
    RunUnfinished "runUnfinished" Note,
    /// The manifest cannot be read, or does not match its own checksum.
    ManifestDamaged "manifestDamaged" Critical,
    /// An object that the manifest names is not there.
    ObjectMissing "objectMissing" Critical,
    /// An object is shorter or longer than it was written.
    ObjectTruncated "objectTruncated" Critical,
    /// An object's bytes are not those that were written.
    ObjectCorrupt "objectCorrupt" Critical,
    /// An object holds the bytes of another object of the archive.
    ObjectSwapped "objectSwapped" Critical,
    /// An object was written again after the backup was made.
    ObjectReplaced "objectReplaced" Critical,
    /// An object lies in the archive that the manifest does not name.
    ObjectExtra "objectExtra" Warning,
    /// An object could not be read, so nothing is known about it.
    ObjectUnreadable "objectUnreadable" Unknown,
    /// The bytes are as written, but do not decode to the rows that the manifest counts.
    ContentMismatch "contentMismatch" Critical,
    /// Some archives were not re-read within the promised number of days.
    RereadOverdue "rereadOverdue" Warning,
    /// Something could not be checked.
    NotChecked "notChecked" Unknown,

    // snapshot
    /// The instance cannot be snapshotted now; the next reconcile tries again.
    InstanceNotAvailable "instanceNotAvailable" Warning,
    /// There is no instance of this name.
    InstanceMissing "instanceMissing" Critical,
    /// RDS could not make a snapshot: its status is `failed`.
    SnapshotFailed "snapshotFailed" Critical,
    /// The newest daily snapshot is older than promised, or there is none.
    SnapshotStale "snapshotStale" Critical,
    /// A snapshot of that id exists and is not ours.
    SnapshotIdTaken "snapshotIdTaken" Critical,
    /// The manual snapshots near the quota, or have reached it.
    SnapshotQuota "snapshotQuota" Warning,
    /// RDS or KMS refused a step; the next reconcile tries again.
    SnapshotStepRefused "snapshotStepRefused" Critical,
    /// A copy that was promised cannot be made, whatever is tried.
    CopyImpossible "copyImpossible" Critical,
    /// RDS could not make a copy: its status is `failed`.
    CopyFailed "copyFailed" Critical,
    /// A copy waits because the region takes no more at a time.
    CopyWaits "copyWaits" Note,
    /// A copy is not what its source is: size, engine, encryption or key differ.
    CopyDiffers "copyDiffers" Critical,
    /// A promised copy is older than promised, or there is none.
    CopyStale "copyStale" Critical,
    /// Automated backups are off or kept too short, so there is no point-in-time recovery.
    AutomatedBackupsOff "automatedBackupsOff" Critical,
    /// The latest restorable time lags behind: this much would be lost now.
    RecoveryPointLags "recoveryPointLags" Critical,
    /// The instance's storage is not encrypted.
    StorageNotEncrypted "storageNotEncrypted" Warning,
    /// The instance can be deleted by one call.
    DeletionProtectionOff "deletionProtectionOff" Warning,
    /// The instance has no standby.
    SingleAvailabilityZone "singleAvailabilityZone" Note,
    /// The instance can be reached from the internet.
    PubliclyAccessible "publiclyAccessible" Warning,
    /// The server's certificate, or its authority's, runs out.
    CertificateExpires "certificateExpires" Warning,
    /// AWS will change the instance by itself at a date.
    MaintenancePending "maintenancePending" Note,
    /// A key that backups are encrypted with is disabled, or will be deleted.
    KeyUnusable "keyUnusable" Critical,

    // retention
    /// Fewer good backups exist than the floor asks for; nothing of that group is deleted.
    BelowFloor "belowFloor" Warning,
    /// There is no good backup of a sort that is promised.
    NoGoodBackup "noGoodBackup" Critical,
    /// More could be deleted than a run may delete; the next runs go on.
    DeletionsPutOff "deletionsPutOff" Note,
    /// A backup could not be deleted.
    DeletionRefused "deletionRefused" Warning,
    /// A source is kept beyond its policy because its copies are not all good.
    KeptForCopy "keptForCopy" Note,

    // replication of archives
    /// An archive's object is not in the replica.
    ReplicaMissing "replicaMissing" Critical,
    /// An object of the replica is not what was written.
    ReplicaDiffers "replicaDiffers" Critical,

    // rotate-secret
    /// A rotation may not begin, or would fail; nothing was changed.
    RotationRefused "rotationRefused" Warning,
    /// A rotation waits for a person: it does not get better by itself.
    RotationStuck "rotationStuck" Critical,
    /// A rotation waits for a server that does not answer or lags behind.
    RotationDelayed "rotationDelayed" Warning,
    /// A rotation was ended, and the old credential is in use as before.
    RotationGivenUp "rotationGivenUp" Warning,
    /// The old credential is in use beyond its time, so it is not retired.
    OldCredentialInUse "oldCredentialInUse" Warning,
    /// Somebody wrote the value while a rotation was at it.
    ValueOverwritten "valueOverwritten" Warning,
    /// The live value does not log in.
    CredentialRejected "credentialRejected" Critical,
    /// A secret is older than its cadence allows.
    RotationOverdue "rotationOverdue" Warning,
    /// Something about a secret, its place or a consumer should be put right; a rotation works nevertheless.
    RotationRemark "rotationRemark" Warning,
    /// Whether a call is allowed cannot be told without making it.
    NotPredictable "notPredictable" Note,

    // restore-drill
    /// The drill could not be carried to its end; what was proved until then is in the report.
    DrillFailed "drillFailed" Critical,
    /// The server refused a statement of the restore.
    RestoreStatementFailed "restoreStatementFailed" Critical,
    /// A statement of the restore was left out, because nothing that is compared depends on it.
    RestoreStatementLeftOut "restoreStatementLeftOut" Note,
    /// Owners and privileges were not restored, so nothing is known about them.
    OwnershipNotChecked "ownershipNotChecked" Note,
    /// The definitions in the restored copy are not those of the backup.
    SchemaDiffers "schemaDiffers" Critical,
    /// A table of the restored copy could not be read to its end.
    TableUnreadable "tableUnreadable" Critical,
    /// A table's pages are damaged.
    HeapCorrupt "heapCorrupt" Critical,
    /// An index is damaged, or does not fit its table.
    IndexCorrupt "indexCorrupt" Critical,
    /// An index is there that queries do not use, because its making was not finished.
    IndexInvalid "indexInvalid" Warning,
    /// A constraint exists that does not hold for all rows, or is not enforced.
    ConstraintNotTrusted "constraintNotTrusted" Warning,
    /// A collation sorts otherwise than when the indexes were made.
    CollationChanged "collationChanged" Warning,
    /// A table has far fewer rows than the newest backup counted.
    RowsDropped "rowsDropped" Warning,
    /// The restored instance is not as cut off as it must be; nothing was done with it.
    ScratchExposed "scratchExposed" Critical,
    /// A role of the restored copy can still log in with production's password, or a subscription is still enabled.
    RoleNotLocked "roleNotLocked" Warning,
    /// What a drill made could not be removed.
    ScratchLeftBehind "scratchLeftBehind" Critical,
    /// What a drill left behind was removed.
    ScratchSwept "scratchSwept" Warning,
    /// The restore took longer than the objective.
    RecoveryTimeExceeded "recoveryTimeExceeded" Critical,
    /// More would be lost than the objective allows.
    RecoveryPointExceeded "recoveryPointExceeded" Critical,
    /// A migration failed, or does what the policy forbids: it must not reach production so.
    MigrationRefused "migrationRefused" Critical,
    /// A migration passes, and does something that can hurt.
    MigrationRisk "migrationRisk" Warning,

    // integrity-check
    /// A table that had rows has none.
    TableEmptied "tableEmptied" Critical,
    /// A table that never shrinks has fewer rows than before.
    RowsShrank "rowsShrank" Critical,
    /// Nulls in a column that never had any.
    FirstNulls "firstNulls" Warning,
    /// Negative numbers in a column that never had any.
    FirstNegative "firstNegative" Warning,
    /// A count or share is not what its history lets expect.
    MetricAnomaly "metricAnomaly" Warning,
    /// A count or share stays where it went: its history begins anew there.
    LevelShift "levelShift" Note,
    /// A table or column came, went, or changed its type.
    SchemaChanged "schemaChanged" Note,
    /// Row-level security or missing privileges hide a part: what was counted is not everything.
    PartlySeen "partlySeen" Unknown,
    /// The night's budget or time did not reach it; it is first next night.
    NotReached "notReached" Note,
    /// A trigger is disabled.
    TriggerDisabled "triggerDisabled" Warning,
    /// A sequence or key column has used up much of its range.
    RangeRunsOut "rangeRunsOut" Warning,
    /// A sequence or key column has used up nearly all of its range: then every INSERT fails.
    RangeNearlyOut "rangeNearlyOut" Critical,
    /// A column that refers to a key is narrower than the key.
    KeyTooNarrow "keyTooNarrow" Warning,
    /// Transaction ids are used up faster than they are given back.
    WraparoundNears "wraparoundNears" Warning,
    /// Transaction ids are nearly used up: the server will refuse to write.
    WraparoundImminent "wraparoundImminent" Critical,
    /// A transaction, a prepared transaction or a slot keeps dead rows from being removed.
    XminHeld "xminHeld" Warning,
    /// A replication slot keeps WAL that fills the storage.
    SlotRetainsWal "slotRetainsWal" Warning,
    /// Checksums of pages are off: damage is not noticed when it is read.
    ChecksumsOff "checksumsOff" Note,
    /// A table is much larger than its rows.
    TableBloated "tableBloated" Note,
    /// A table has no primary key.
    NoPrimaryKey "noPrimaryKey" Note,
    /// No query used an index for a long time.
    IndexUnused "indexUnused" Note,
    /// Two indexes do the same.
    IndexDuplicate "indexDuplicate" Note,
    /// The planner's statistics of a table are missing or old.
    StatisticsStale "statisticsStale" Note,
    /// Rows refer to rows that are not there.
    OrphanRows "orphanRows" Warning,
    /// A check of the team's failed, which the team calls critical.
    CheckFailed "checkFailed" Critical,
    /// A check of the team's failed, which the team calls a warning.
    CheckWarned "checkWarned" Warning,
    /// A check of the team's failed, which the team calls a note.
    CheckNoted "checkNoted" Note,
    /// A check of the team's is written wrong, so that it checks nothing.
    CheckInvalid "checkInvalid" Unknown,
    /// A feature flag does nothing any more.
    FlagStale "flagStale" Note,
    /// Slow queries are not known: pg_stat_statements is not there, or hides them.
    QueriesNotSeen "queriesNotSeen" Note,
    /// A query became much slower, or is new and heavy.
    QueryRegressed "queryRegressed" Note,

    // canary
    /// Requests were not answered, or with an error of the server.
    RequestsFailed "requestsFailed" Critical,
    /// The server's certificate is not accepted by a client: expired, for another name, from an unknown authority.
    CertificateRefused "certificateRefused" Critical,
    /// Answers have not the status, the content or the redirect that they must have.
    AnswerWrong "answerWrong" Critical,
    /// Not every answer came from the release that was deployed.
    ReleaseNotServed "releaseNotServed" Critical,
    /// Answers take longer than they may, or much longer than those of the release before.
    AnswersSlow "answersSlow" Critical,
    /// A target is asked without TLS.
    AskedInClear "askedInClear" Note,

    // notify-slack
    /// Reports went back to the queue, because Slack could not be reached or asked to wait; they are tried again.
    NotDelivered "notDelivered" Warning,
}

/// One thing that a job found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// What it is about: a database, a table, an S3 key.
    pub subject: String,
    /// How much it matters; decided by the kind.
    pub severity: Severity,
    /// What was seen.
    pub seen: String,
    /// What was expected, where there is a promise to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Anchor in the runbook.
    pub runbook: String,
}

impl Finding {
    /// A finding of a kind about a subject, with what was seen.
    pub fn new(kind: FindingKind, subject: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            kind,
            subject: subject.into(),
            severity: kind.severity(),
            seen: seen.into(),
            expected: None,
            hint: None,
            runbook: kind.name().to_owned(),
        }
    }

    /// Adds what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_by_its_stable_name() {
        for kind in FindingKind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("serialise"), kind.name());
        }
    }
}

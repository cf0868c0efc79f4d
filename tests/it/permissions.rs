//! Permissions against what was really called: roles as they stand in DEPLOYMENT.md, calls as the local cloud authorised them.

use std::collections::{BTreeMap, BTreeSet};

use local::cloud::Call;
use tests::world::file;

/// What roles allow beyond the calls of this story, each with its reason.
const NOT_SEEN: &[(&str, &str, &str)] = &[
    ("LogicalDumpRole", "s3:AbortMultipartUpload", "only a failed or killed run aborts uploads (tests/it/faults.rs)"),
    ("LogicalDumpRole", "s3:GetObject", "only after a lost reply: HEAD"),
    ("LogicalDumpRole", "sqs:SendMessage", "only an event that failed for good"),
    ("BackupVerifyRole", "sqs:SendMessage", "only an event that failed for good"),
    ("BackupVerifyRole", "s3:GetObjectVersion", "only when a version is named"),
    ("NotifySlackRole", "s3:GetObject", "only after a lost reply: HEAD"),
    ("SnapshotRole", "s3:GetObject", "only after a lost reply: HEAD"),
    ("SnapshotRole", "sqs:SendMessage", "only an event that failed for good"),
    ("RetentionRole", "sqs:SendMessage", "only an event that failed for good"),
    ("SnapshotRole", "kms:Encrypt", "RDS encrypts the copy in the caller's name; the local cloud asks for CreateGrant and DescribeKey only"),
    (
        "SnapshotRole",
        "kms:GenerateDataKeyWithoutPlaintext",
        "RDS encrypts the copy in the caller's name; the local cloud asks for CreateGrant and DescribeKey only",
    ),
    ("RestoreDrillRole", "sqs:SendMessage", "only an event that failed for good"),
    ("RestoreDrillDatabaseRole", "sqs:SendMessage", "only an event that failed for good"),
    ("RestoreDrillDatabaseRole", "sns:Publish", "only a call that failed has a report of its own (tests/it/drill/faults.rs)"),
    ("RestoreDrillRole", "rds:RestoreDBInstanceToPointInTime", "another story of tests/it/drill/scenario.rs"),
    ("RestoreDrillRole", "rds:RebootDBInstance", "only where RDS says pending-reboot: a restored instance begins with its parameter group in effect"),
    (
        "RestoreDrillRole",
        "kms:GenerateDataKeyWithoutPlaintext",
        "RDS uses the key in the caller's name; the local cloud asks for CreateGrant and DescribeKey only",
    ),
    ("IntegrityCheckRole", "sqs:SendMessage", "only an event that failed for good"),
    ("RotateSecretRole", "sqs:SendMessage", "only an event that failed for good"),
    ("RotateSecretRole", "s3:GetObject", "only after a lost reply: HEAD"),
    ("RotateSecretRole", "ssm:GetParameterHistory", "only a dry run of a parameter with a hundred versions (tests/it/rotate/store.rs)"),
    ("RotateSecretRole", "kms:Encrypt", "only with an own key for parameters"),
    ("RotateSecretRole", "kms:DescribeKey", "only with an own key for parameters"),
    ("RotateSecretRole", "rds-db:connect", "asked by the server, of whom a token is: tests/it/rotate/iam.rs"),
    ("RotateSecretRole", "secretsmanager:DescribeSecret", "another story: tests/it/rotate/driven.rs"),
    ("RotateSecretRole", "secretsmanager:GetSecretValue", "another story: tests/it/rotate/driven.rs"),
    ("RotateSecretRole", "secretsmanager:PutSecretValue", "another story: tests/it/rotate/driven.rs"),
    ("RotateSecretRole", "secretsmanager:UpdateSecretVersionStage", "another story: tests/it/rotate/driven.rs"),
    ("RotateSecretRole", "ecs:DescribeServices", "another story: tests/it/rotate/told.rs"),
    ("RotateSecretRole", "ecs:UpdateService", "another story: tests/it/rotate/told.rs"),
    ("RotateSecretRole", "elasticbeanstalk:DescribeEnvironments", "another story: tests/it/rotate/consumers_beanstalk.rs"),
    ("RotateSecretRole", "elasticbeanstalk:DescribeEvents", "another story: tests/it/rotate/consumers_beanstalk.rs"),
    ("RotateSecretRole", "elasticbeanstalk:RestartAppServer", "another story: tests/it/rotate/consumers_beanstalk.rs"),
    ("RotateSecretRole", "lambda:GetFunctionConfiguration", "another story: tests/it/rotate/consumers.rs"),
    ("RotateSecretRole", "lambda:UpdateFunctionConfiguration", "another story: tests/it/rotate/consumers.rs"),
    ("ReplicationRole", "s3:GetObjectLegalHold", "S3 reads it to replicate the lock; the local cloud does not ask"),
    ("ReplicationRole", "s3:GetObjectRetention", "S3 reads it to replicate the lock; the local cloud does not ask"),
    ("ReplicationRole", "s3:GetObjectVersionAcl", "S3 reads it with the version; the local cloud does not ask"),
    ("ReplicationRole", "s3:GetObjectVersionTagging", "S3 reads it with the version; the local cloud does not ask"),
    ("ReplicationRole", "s3:GetReplicationConfiguration", "S3 reads the rules; the local cloud knows them"),
    ("ReplicationRole", "s3:ListBucket", "S3 looks for the objects; the local cloud sees them written"),
    ("ReplicationRole", "s3:ObjectOwnerOverrideToBucketOwner", "S3 gives the copy to the other account; the local cloud does not ask"),
    ("ReplicationRole", "s3:ReplicateTags", "objects of archives have no tags; S3 asks all the same"),
    ("ScheduleRole", "sqs:SendMessage", "only what could not be delivered"),
    ("NotifySlackRole", "kms:Decrypt", "with an own key for parameters; a multipart upload's parts"),
    ("LogicalDumpRole", "kms:Decrypt", "with an own key for parameters; a multipart upload's parts"),
    ("BackupVerifyRole", "kms:Decrypt", "reading what is encrypted with the bucket's key"),
];

/// Nothing that was called was denied.
pub(crate) fn none_was_missing(calls: &[Call]) {
    let denied: Vec<&Call> = calls.iter().filter(|call| !call.allowed).collect();
    assert!(denied.is_empty(), "{denied:#?}");
}

/// Nothing is allowed to these roles that nothing calls, but what is listed with its reason.
pub(crate) fn none_is_idle(calls: &[Call], is_of_the_story: impl Fn(&str) -> bool) {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let allowed = allowed_by_the_template();
    for call in calls {
        let role = allowed.keys().find(|role| call.principal.contains(role.as_str())).map(String::as_str);
        if let Some(role) = role {
            seen.entry(role).or_default().insert(&call.action);
        }
    }
    let mut idle = Vec::new();
    for (role, actions) in allowed.iter().filter(|(role, _)| is_of_the_story(role)) {
        let role_seen = seen.get(role.as_str()).unwrap_or_else(|| panic!("no call of {role} was seen"));
        for action in actions.iter().filter(|action| !role_seen.contains(action.as_str())) {
            // Only under conditions of the template that this stack does not meet.
            let conditional = action.starts_with("ec2:") || action.starts_with("xray:");
            let explained = NOT_SEEN.iter().any(|(known, known_action, _)| known == role && known_action == action);
            if !conditional && !explained {
                idle.push(format!("{role} allows {action}"));
            }
        }
    }
    assert!(idle.is_empty(), "nothing calls:\n{}", idle.join("\n"));
}

/// Actions by role, from the table in DEPLOYMENT.md, which the template's checks hold against the template.
fn allowed_by_the_template() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(file("DEPLOYMENT.md")).expect("read DEPLOYMENT.md");
    let table = text.split("<!-- begin permissions").nth(1).and_then(|rest| rest.split("<!-- end permissions").next()).expect("the table");
    let (mut allowed, mut role) = (BTreeMap::<String, BTreeSet<String>>::new(), String::new());
    for line in table.lines() {
        if let Some(name) = line.strip_prefix("**") {
            name.trim_end_matches('*').clone_into(&mut role);
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.len() > 3 && !cells[2].contains("DENIES") {
            let actions = cells[2].split('`').filter(|action| action.contains(':') && !action.contains(' '));
            allowed.entry(role.clone()).or_default().extend(actions.map(str::to_owned));
        }
    }
    assert!(allowed.len() >= 4, "{allowed:?}");
    allowed
}

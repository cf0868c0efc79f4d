"""What the local cloud does not do as AWS does, by name, in one place.

`UNSUPPORTED` is looked at by every deployment: what of it the template uses is returned to the caller and printed. The
behaviour of what is not listed here is meant to be AWS's; a difference found is a bug or belongs in this table.
"""

# (resource type, property or None for the whole type, what happens instead)
UNSUPPORTED = [
    ("AWS::Serverless::LayerVersion", None, "layers are not unpacked: no /opt; POSTGRES_CLIENT_FOLDER and "
                                            "DATABASE_CA_FILE are set to stand-ins instead"),
    ("AWS::Lambda::Function", "VpcConfig", "no network isolation: functions reach all of loopback"),
    ("AWS::Lambda::Function", "MemorySize", "no memory limit"),
    ("AWS::Lambda::Function", "EphemeralStorage", "no limit on the temporary folder"),
    ("AWS::Lambda::Function", "Architectures", "the binary runs on the host whatever it says"),
    ("AWS::Lambda::Function", "TracingConfig", "no X-Ray"),
    ("AWS::CloudWatch::Alarm", None, "evaluated when data of its metric arrives, and when a test asks: missing data "
                                     "alone changes nothing; no metric math, no anomaly detection"),
    ("AWS::CloudWatch::CompositeAlarm", None, "unknown to the stand-in: left out of the stack"),
    ("AWS::CloudWatch::Dashboard", None, "stored, not rendered"),
    ("AWS::StepFunctions::StateMachine", "LoggingConfiguration", "nothing is logged; what the role needs for it is checked"),
    ("AWS::StepFunctions::StateMachine", "TracingConfiguration", "no X-Ray; what the role needs for it is checked"),
    ("AWS::RDS::DBInstance", None, "made in the stand-in's own RDS, without a server: make instances by the API"),
    ("AWS::EC2::SecurityGroup", None, "no network isolation"),
    ("AWS::EC2::VPCEndpoint", None, "no network isolation"),
    ("AWS::S3::Bucket", "LifecycleConfiguration", "stored, not carried out: nothing expires"),
    ("AWS::KMS::Key", "EnableKeyRotation", "stored only; nothing is encrypted at rest"),
    ("AWS::Logs::LogGroup", "RetentionInDays", "stored only"),
    ("AWS::Backup::BackupPlan", None, "stored only"),
]

# Resource types that make the stand-in refuse a template: taken out before deployment, and reported.
REMOVED_TYPES = ("AWS::CloudWatch::CompositeAlarm",)

# Differences that do not hang on a resource of the template. The README prints them for people.
GENERAL = [
    "aws:SecureTransport is true although the endpoint is plain HTTP",
    "functions run as the cloud's own user, with the host's file system and all of loopback in reach",
    "asynchronous invocations are retried after 1 s and 2 s, not 1 min and 2 min",
    "RDS: no managed master password; a snapshot takes seconds; no automated snapshots among the snapshots (the automated "
    "backup is there, and restores to a point in time work); no maintenance window: what waits for it waits for ever",
    "RDS: LatestRestorableTime is three minutes ago or the last log segment that was archived, whichever is later; 8 GiB of "
    "an instance's log are kept; AWS does not document the error for a time outside the window (InvalidParameterValue here)",
    "RDS: of a parameter group, what PostgreSQL knows is in effect; rds.* and what the stand-in needs for itself "
    "(shared_buffers, full_page_writes, TLS) is stored and shown only; libraries to preload that do not exist are left out; "
    "default groups show no parameters",
    "RDS: a new instance is public only if the request says so (AWS: if its network has an internet gateway); restores are as "
    "on AWS; changes of class, storage and Multi-AZ are shown, and nothing else",
    "Step Functions: waits and the pauses between retries are scaled (`POST states`, `--time-scale`), limits of time are not; "
    "Express workflows, heartbeats of tasks and jitter of retries are not modelled; an integration other than lambda:invoke "
    "is not limited by the machine's role",
    "RDS: copies are never incremental and all run at once, where AWS queues those of one instance",
    "RDS: a copy to another region of an encrypted snapshot must bring a PreSignedUrl (its signature is checked but for "
    "root's); AWS's newest reference says both that it must and that it is ignored outside GovCloud",
    "RDS: an encrypted snapshot of another account can be copied in its own region only; AWS has lifted this in 2025",
    "RDS: AWS does not document the error codes for sharing a snapshot under the default key (InvalidParameterValue "
    "here), for copying a shared encrypted one to another region (InvalidParameterCombination) and for restoring one "
    "directly (InvalidDBSnapshotState)",
    "RDS: an instance whose key is disabled stays available; no event tells of a snapshot that failed, as AWS "
    "documents none; of an instance's events there are those of its state",
    "KMS: grants are not made; where RDS needs one, kms:CreateGrant and kms:DescribeKey of the caller are checked",
    "RDS: PostgreSQL 16 and 18 have no TLS here (their binaries were built without it)",
    "RDS: tokens of IAM database authentication are checked by PostgreSQL 15 only (Debian's is built with LDAP; the "
    "wheels have neither LDAP nor PAM): on 16 to 18 members of rds_iam are refused with the SQLSTATE of a wrong token "
    "(28000), and the master cannot grant rds_iam, as the ADMIN OPTION for it would make the master a member; messages "
    "name LDAP or Ident where RDS's name PAM; logins a second are not limited",
    "RDS: rds.restrict_password_commands is stored and shown, and restricts nothing: stock PostgreSQL has no way to; the "
    "role rds_password is there",
    "RDS: replicas are made in their source's region and account; StatusInfos knows `replicating` and `error`; there "
    "are no snapshots, no automated backups and no replicas of a replica",
    "PostgreSQL runs with fsync off",
    "Secrets Manager: the service invokes the function synchronously; a rotation that fails is tried three times in all, "
    "half a second apart (AWS does not say how often); schedules do not fire by themselves (`POST secret` with `rotate` does), "
    "and cron() gives no NextRotationDate; no managed rotation; versions without a label are kept for ever; the events of "
    "a rotation reach EventBridge without a trail; kms:EncryptionContext:SecretARN of a secret being created ends in "
    "-??????",
    "ECS: a service runs no container and lists no task: a deployment is numbers and a third of a second, or what a test "
    "says; only services are authorised one by one",
    "Elastic Beanstalk: applications and environments with their state, settings and events, and nothing that runs; AWS "
    "does what an operation does to EC2, Auto Scaling, CloudFormation and S3 with the caller's permissions: not checked "
    "here",
    "EventBridge Scheduler: cron() is evaluated in UTC, whatever the time zone; flexible windows do not delay; a "
    "failed delivery is not retried before it goes to the dead-letter queue",
    "EventBridge rules: a target that fails is not retried",
    "Lambda: a new configuration serves at once, while its update is still InProgress; no throttling but by reserved "
    "concurrency; failure destinations in S3 and EventBridge get nothing",
    "SNS: messages are not signed; alarms and rules publish without a look at the topic's policy and key",
    "SSM: no parameter policies, no throughput limits; another type is refused as the API reference of PutParameter says "
    "(HierarchyTypeMismatchException), though AWS was seen to accept it",
    "CloudWatch: no metrics from metric filters; no evaluation range beyond an alarm's periods",
    "IAM: no service control policies, no VPC endpoint policies; MiniStack does not know every service's actions",
    "S3 replication: of new versions and delete markers only; no existing objects, no later changes of tags or locks, no "
    "time control, no metrics",
    "S3: no throttling, no eventual consistency of bucket configuration; an object is held in memory while written",
]


def used(resources):
    """One line per entry of the table that these resources (by logical id) meet, with their names."""
    lines = []
    for kind, name, instead in UNSUPPORTED:
        met = sorted(logical_id for logical_id, resource in resources.items() if resource.get("Type") == kind
                     and (name is None or name in (resource.get("Properties") or {})))
        if met:
            lines.append(f"{kind}{'.' + name if name else ''}: {instead} ({', '.join(met)})")
    return lines

"""Mistakes that each check is there for, planted in a clean template. A check that does not notice its mistake fails the run.

Each entry: the check, what is broken, and how. The change is made to the transformed template, before conditions are decided.
"""

import structure as s


def properties(template, name):
    return template["Resources"][name]["Properties"]


def allow(template, role, **statement):
    properties(template, role)["Policies"][0]["PolicyDocument"]["Statement"].append({"Effect": "Allow"} | statement)


def statement(document, sid):
    return next(item for item in document["Statement"] if item.get("Sid") == sid)


def without(template, document, sid):
    document["Statement"] = [item for item in document["Statement"] if item.get("Sid") != sid]


def bucket_policy(template):
    return properties(template, "BackupBucketPolicy")["PolicyDocument"]


def role_statement(template, role, sid):
    return statement(properties(template, role)["Policies"][0]["PolicyDocument"], sid)


def delete(mapping, key):
    del mapping[key]


BUCKET = {"Fn::Sub": "${BackupBucket.Arn}/dumps/*"}

BREAKS = [
    (s.names_carry_the_stack, "a schedule is named by a constant", lambda t: properties(t, "DumpSchedule").update(Name="dump")),
    (s.names_carry_the_stack, "two alarms have one name", lambda t: properties(t, "NotifyAgeAlarm").update(AlarmName=properties(t, "DeadLetterDepthAlarm")["AlarmName"])),
    (s.schedules_retry_and_keep, "a schedule that may not invoke", lambda t: role_statement(t, "ScheduleRole", "InvokeScheduledFunctions")["Resource"].pop(0)),
    (s.schedules_retry_and_keep, "a schedule loses its dead-letter queue", lambda t: delete(properties(t, "DumpSchedule")["Target"], "DeadLetterConfig")),
    (s.schedules_retry_and_keep, "a schedule does not retry", lambda t: properties(t, "VerifySchedule")["Target"].update(RetryPolicy={"MaximumRetryAttempts": 0})),
    (s.schedules_retry_and_keep, "a schedule forgets its planned time", lambda t: properties(t, "DumpSchedule")["Target"].update(Input='{"kind":"dump"}')),
    (s.async_paths_end_somewhere, "a function loses its failure destination", lambda t: delete(properties(t, "LogicalDumpFunctionEventInvokeConfig"), "DestinationConfig")),
    (s.async_paths_end_somewhere, "a role may not send to the failure destination", lambda t: without(t, properties(t, "BackupVerifyRole")["Policies"][0]["PolicyDocument"], "SendFailedEvent")),
    (s.async_paths_end_somewhere, "the rule loses its dead-letter queue", lambda t: delete(properties(t, "ManifestWrittenRule")["Targets"][0], "DeadLetterConfig")),
    (s.async_paths_end_somewhere, "the notify queue loses its dead-letter queue", lambda t: delete(properties(t, "NotifyQueue"), "RedrivePolicy")),
    (s.async_paths_end_somewhere, "one bad message repeats its batch", lambda t: delete(properties(t, "NotifySlackFunctionNotifyQueue"), "FunctionResponseTypes")),
    (s.every_queue_has_an_alarm, "a queue has no alarm", lambda t: delete(t["Resources"], "NotifyDeadLetterDepthAlarm")),
    (s.every_function_has_alarms, "a function's errors are watched by nobody", lambda t: delete(t["Resources"], "BackupVerifyErrorsAlarm")),
    (s.every_function_has_alarms, "a timeout is shortened and its alarm is not", lambda t: properties(t, "LogicalDumpFunction").update(Timeout=600)),
    (s.alarms_arrive, "an alarm tells nobody", lambda t: properties(t, "DeadLetterDepthAlarm").update(AlarmActions=[])),
    (s.alarms_arrive, "the topic's key keeps CloudWatch out", lambda t: without(t, properties(t, "OpsTopicKey")["KeyPolicy"], "AlarmsPublishToTheTopic")),
    (s.alarms_arrive, "the topic's policy keeps CloudWatch out", lambda t: without(t, properties(t, "OpsTopicPolicy")["PolicyDocument"], "AlarmsPublish")),
    (s.alarms_arrive, "the key asks EventBridge for a source", lambda t: statement(properties(t, "OpsTopicKey")["KeyPolicy"], "EventsPublishToTheTopic").update(Condition={"StringEquals": {"aws:SourceAccount": "1"}})),
    (s.services_may_reach_queues, "the rule's dead-letter queue has no policy", lambda t: without(t, properties(t, "DeadLetterQueuePolicy")["PolicyDocument"], "RuleDeliversWhatItCouldNotInvoke")),
    (s.services_may_reach_queues, "the topic may not send to the queue", lambda t: delete(t["Resources"], "NotifyQueuePolicy")),
    (s.roles_are_least, "a wildcard action", lambda t: allow(t, "LogicalDumpRole", Sid="WriteArchive", Action="s3:*", Resource=BUCKET)),
    (s.roles_are_least, "a wildcard resource", lambda t: allow(t, "BackupVerifyRole", Sid="ReadArchive", Action="s3:GetObject", Resource="*")),
    (s.roles_are_least, "a statement without a reason", lambda t: allow(t, "NotifySlackRole", Sid="Surprise", Action="sns:Publish", Resource={"Ref": "OpsTopic"})),
    (s.roles_are_least, "a key beyond its service", lambda t: allow(t, "LogicalDumpRole", Sid="EncryptInBucket", Action="kms:Decrypt", Resource={"Fn::GetAtt": ["OpsTopicKey", "Arn"]})),
    (s.roles_are_least, "a managed policy", lambda t: properties(t, "NotifySlackRole").update(ManagedPolicyArns=["arn:aws:iam::aws:policy/AmazonS3FullAccess"])),
    (s.roles_trust_one_service, "two functions share a role", lambda t: properties(t, "NotifySlackFunction").update(Role={"Fn::GetAtt": ["LogicalDumpRole", "Arn"]})),
    (s.roles_trust_one_service, "any account's schedule", lambda t: delete(properties(t, "ScheduleRole")["AssumeRolePolicyDocument"]["Statement"][0], "Condition")),
    (s.roles_trust_one_service, "any rule may invoke", lambda t: delete(properties(t, "ManifestWrittenPermission"), "SourceArn")),
    (s.writers_cannot_destroy, "the writer may delete", lambda t: allow(t, "LogicalDumpRole", Sid="WriteArchive", Action="s3:DeleteObject", Resource=BUCKET)),
    (s.writers_cannot_destroy, "the writer may rewrite the lifecycle", lambda t: allow(t, "LogicalDumpRole", Sid="WriteArchive", Action="s3:PutLifecycleConfiguration", Resource={"Fn::GetAtt": ["BackupBucket", "Arn"]})),
    (s.writers_cannot_destroy, "the writer may lift the lock", lambda t: allow(t, "BackupVerifyRole", Sid="ReadArchive", Action="s3:BypassGovernanceRetention", Resource=BUCKET)),
    (s.writers_cannot_destroy, "retention may delete any snapshot", lambda t: allow(t, "RetentionRole", Sid="DeleteOwnSnapshots", Action="rds:DeleteDBSnapshot", Resource={"Fn::Sub": "arn:aws:rds:eu-central-1:1:snapshot:*"})),
    (s.writers_cannot_destroy, "retention may delete without looking at tags", lambda t: delete(role_statement(t, "RetentionRole", "DeleteOwnSnapshots"), "Condition")),
    (s.writers_cannot_destroy, "retention may delete versions", lambda t: allow(t, "RetentionRole", Sid="HideArchives", Action="s3:DeleteObjectVersion", Resource=BUCKET)),
    (s.writers_cannot_destroy, "the snapshot function may delete", lambda t: allow(t, "SnapshotRole", Sid="TakeSnapshot", Action="rds:DeleteDBSnapshot", Resource={"Fn::Sub": "arn:aws:rds:eu-central-1:1:snapshot:lifeboat-a-b-*"})),
    (s.writers_cannot_destroy, "the drill may delete production", lambda t: allow(t, "RestoreDrillRole", Sid="DeleteScratchInstance", Action="rds:DeleteDBInstance", Resource={"Fn::Sub": "arn:aws:rds:eu-central-1:1:db:${Instance}"})),
    (s.writers_cannot_destroy, "the drill may delete without looking at tags", lambda t: delete(role_statement(t, "RestoreDrillRole", "DeleteScratchInstance"), "Condition")),
    (s.writers_cannot_destroy, "the drill may delete a real restore", lambda t: delete(role_statement(t, "RestoreDrillRole", "DeleteScratchInstance")["Condition"]["StringEquals"], "aws:ResourceTag/lifeboat:purpose")),
    (s.bucket_is_held, "retention may delete versions by the bucket's policy", lambda t: without(t, bucket_policy(t), "RetentionOnlyHides")),
    (s.backup_ages_are_watched, "no measure is no alarm", lambda t: properties(t, "ArchiveAgeAlarm").update(TreatMissingData="notBreaching")),
    (s.backup_ages_are_watched, "one late measure is an alarm", lambda t: properties(t, "DailySnapshotAgeAlarm").update(EvaluationPeriods=4)),
    (s.bucket_is_held, "plain HTTP", lambda t: without(t, bucket_policy(t), "OnlyOverTls")),
    (s.bucket_is_held, "overwriting", lambda t: without(t, bucket_policy(t), "OnlyNewKeys")),
    (s.bucket_is_held, "parts of uploads are refused", lambda t: delete(statement(bucket_policy(t), "OnlyNewKeys")["Condition"], "Bool")),
    (s.bucket_is_held, "the functions may delete by the bucket's policy", lambda t: without(t, bucket_policy(t), "WritersNeverDelete")),
    (s.bucket_is_held, "one writer is left out", lambda t: statement(bucket_policy(t), "WritersNeverDelete")["Principal"]["AWS"].pop()),
    (s.bucket_is_held, "the lifecycle removes backups", lambda t: properties(t, "BackupBucket")["LifecycleConfiguration"]["Rules"][0].update(ExpirationInDays=30)),
    (s.bucket_is_held, "no versions", lambda t: properties(t, "BackupBucket")["VersioningConfiguration"].update(Status="Suspended")),
    (s.bucket_is_held, "the bucket goes with the stack", lambda t: t["Resources"]["BackupBucket"].update(DeletionPolicy="Delete")),
    (s.bucket_is_held, "the key goes with the stack", lambda t: t["Resources"]["BackupKey"].update(DeletionPolicy="Delete")),
    (s.logs_end, "logs are kept for ever", lambda t: delete(properties(t, "NotifySlackLogGroup"), "RetentionInDays")),
    (s.settings_hold_no_secrets, "a URL with a password", lambda t: properties(t, "LogicalDumpFunction")["Environment"]["Variables"].update(DATABASE_URL="postgres://user:word@host/db")),
    (s.parameters_explain_themselves, "a parameter without a description", lambda t: delete(t["Parameters"]["Connections"], "Description")),
    (s.parameters_explain_themselves, "a parameter that takes anything", lambda t: delete(t["Parameters"]["OpsEmail"], "AllowedPattern")),
    (s.parameters_explain_themselves, "a default that its pattern refuses", lambda t: t["Parameters"]["Compression"].update(Default="brotli")),
    (s.outputs_are_the_contract, "an output is renamed", lambda t: delete(t["Outputs"], "BackupBucketName")),
    (s.samconfig_fits, "samconfig sets a parameter that is gone", lambda t: delete(t["Parameters"], "ObjectLockDays")),
]  # fmt: skip

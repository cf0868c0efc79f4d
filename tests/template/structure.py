"""What must hold of the whole template and no linter knows: who alarms whom, who may delete, where a failed event ends.

Each check is a function that yields what is wrong, in words; nothing yielded is a pass. `breaks.py` shows that each of them
notices the mistake it is there for.
"""

import json
import re
import tomllib
from pathlib import Path

from resolve import identity, listed, of_type, statements

ROOT = Path(__file__).resolve().parents[2]
REASONS = tomllib.loads((Path(__file__).parent / "iam_reasons.toml").read_text())

FUNCTION, RULE, SCHEDULE = "AWS::Lambda::Function", "AWS::Events::Rule", "AWS::Scheduler::Schedule"
QUEUE, TOPIC, SUBSCRIPTION, ALARM = "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::SNS::Subscription", "AWS::CloudWatch::Alarm"
ROLE, MAPPING, INVOKE, PERMISSION = "AWS::IAM::Role", "AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::Permission"
OUTPUTS = {
    "SnapshotFunctionName", "RetentionFunctionName", "SnapshotRoleArn", "RetentionRoleArn", "BackupVerifyRoleArn", "SnapshotScheduleName", "ReconcileScheduleName",
    "RetentionScheduleName", "LogicalDumpFunctionName", "BackupVerifyFunctionName", "NotifySlackFunctionName", "BackupBucketName", "OpsTopicArn", "NotifyQueueUrl",
    "NotifyDeadLetterQueueUrl", "DeadLetterQueueUrl", "DumpScheduleName", "VerifyScheduleName",
    "RestoreDrillFunctionName", "RestoreDrillDatabaseFunctionName", "RestoreDrillMachineArn", "DeployGateMachineArn", "DrillScheduleName", "DrillArchiveScheduleName", "SweepScheduleName",
    "CanaryFunctionName", "CanaryFunctionArn", "CanaryWatchScheduleName", "IntegrityCheckFunctionName", "IntegrityScheduleName",
    "RotateSecretFunctionName", "RotateSecretFunctionArn", "RotateQuarterlyScheduleName", "RotateSweepScheduleName",
}  # fmt: skip
# What would let a writer destroy what it wrote, or loosen what holds it.
DESTRUCTIVE = re.compile(
    r"s3:(Delete|BypassGovernance|PutLifecycle|PutBucket|PutEncryption|PutReplication|PutObjectRetention|PutObjectLegalHold|PutObjectAcl|PutObjectVersionAcl)"
    r"|kms:(ScheduleKeyDeletion|DisableKey|PutKeyPolicy)|rds:Delete"
)


def names_carry_the_stack(template, resources):
    """Two stages of one account must not collide: a name is left to CloudFormation or carries the stack's."""
    keys = ("Name", "FunctionName", "QueueName", "TopicName", "AlarmName", "LogGroupName", "RoleName", "AliasName", "ScheduleName", "LayerName")
    for kind in {resource["Type"] for resource in resources.values()}:
        seen = set()
        for name, properties in of_type(resources, kind).items():
            if kind in (MAPPING, INVOKE, PERMISSION):
                continue
            for key in keys:
                value = properties.get(key)
                if value is None:
                    continue
                if "${AWS::StackName}" not in str(value):
                    yield f"{name}.{key} is {value}: the same in every stack"
                if value in seen:
                    yield f"{name}.{key} is {value}, twice"
                seen.add(value)


def schedules_retry_and_keep(template, resources):
    """A schedule that could not deliver tries again, and what it could not deliver is kept; its input carries the planned time."""
    for name, schedule in of_type(resources, SCHEDULE).items():
        target = schedule["Target"]
        if identity(resources, target.get("DeadLetterConfig", {}).get("Arn")) not in of_type(resources, QUEUE):
            yield f"{name} has no dead-letter queue"
        if not target.get("RetryPolicy", {}).get("MaximumRetryAttempts"):
            yield f"{name} does not try again"
        if "ScheduleExpressionTimezone" not in schedule:
            yield f"{name} has no time zone"
        if json.loads(target["Input"]).get("scheduledAt") != "<aws.scheduler.scheduled-time>":
            yield f"{name} does not pass the time it was planned for"
        if not _allows(resources, identity(resources, target["RoleArn"]), "lambda:InvokeFunction", f"${{{identity(resources, target['Arn'])}.Arn}}"):
            yield f"{name} may not invoke its target: it would never run"


def async_paths_end_somewhere(template, resources):
    """Whoever invokes a function asynchronously, its failure for good reaches a queue."""
    functions = of_type(resources, FUNCTION)
    invoked = set()
    for schedule in of_type(resources, SCHEDULE).values():
        invoked.add(identity(resources, schedule["Target"]["Arn"]))
    for name, rule in of_type(resources, RULE).items():
        for target in rule["Targets"]:
            invoked.add(identity(resources, target["Arn"]))
            if identity(resources, target.get("DeadLetterConfig", {}).get("Arn")) not in of_type(resources, QUEUE):
                yield f"{name} has no dead-letter queue"
    for subscription in of_type(resources, SUBSCRIPTION).values():
        if subscription["Protocol"] == "lambda":
            invoked.add(identity(resources, subscription["Endpoint"]))
    for permission in of_type(resources, PERMISSION).values():
        invoked.add(identity(resources, permission["FunctionName"]))
    configured = {}
    for config in of_type(resources, INVOKE).values():
        configured[identity(resources, config["FunctionName"])] = config
    for name in sorted(invoked & set(functions)):
        config = configured.get(name, {})
        destination = identity(resources, config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"))
        if destination not in of_type(resources, QUEUE):
            yield f"{name} is invoked asynchronously and its failures go nowhere"
        role = identity(resources, functions[name]["Role"])
        if not _allows(resources, role, "sqs:SendMessage", f"${{{destination}.Arn}}"):
            yield f"{role} may not send to {destination}: the failures of {name} would be lost"
    for name, mapping in of_type(resources, MAPPING).items():
        queue = identity(resources, mapping["EventSourceArn"])
        if "RedrivePolicy" not in of_type(resources, QUEUE).get(queue, {}):
            yield f"{name} reads {queue}, which has no dead-letter queue"
        if "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", []):
            yield f"{name} posts a whole batch again when one message fails"


def every_queue_has_an_alarm(template, resources):
    watched = {identity(resources, d["Value"]) for a in of_type(resources, ALARM).values() for d in listed(a.get("Dimensions")) if d["Name"] == "QueueName"}
    for name in of_type(resources, QUEUE):
        if name not in watched:
            yield f"no alarm watches {name}"


def every_function_has_alarms(template, resources):
    watched = {(identity(resources, d["Value"]), a["MetricName"]) for a in of_type(resources, ALARM).values() for d in listed(a.get("Dimensions"))}
    for name in of_type(resources, FUNCTION):
        for metric in ("Errors", "Throttles", "Duration"):
            if (name, metric) not in watched:
                yield f"no alarm watches {metric} of {name}"
    for name, function in of_type(resources, FUNCTION).items():
        for alarm_name, alarm in of_type(resources, ALARM).items():
            # These use their time on purpose, but for the last 30 seconds.
            limit = function["Timeout"] * 1000 - 10_000 if name in ("RestoreDrillDatabaseFunction", "IntegrityCheckFunction") else function["Timeout"] * 800
            if alarm["MetricName"] == "Duration" and identity(resources, alarm["Dimensions"][0]["Value"]) == name and alarm["Threshold"] != limit:
                yield f"{alarm_name} is not at 80 % of the timeout of {name}, or 10 s before its end where it works until then"


def backup_ages_are_watched(template, resources):
    """The age of each sort of backup is measured daily; a measure that does not come is an alarm, one that is late is none."""
    gauges = {name: alarm for name, alarm in of_type(resources, ALARM).items() if alarm["Namespace"] == "Lifeboat"}
    for name in ("DailySnapshotAgeAlarm", "ArchiveAgeAlarm"):
        if name not in gauges:
            yield f"{name} is missing"
    for name, alarm in gauges.items():
        hours = alarm["Period"] * alarm["EvaluationPeriods"] / 3600
        if alarm["TreatMissingData"] != "breaching" or "DatapointsToAlarm" in alarm:
            yield f"{name}: a missing measure is no alarm"
        if not 24 + alarm["Period"] / 3600 <= hours <= 168:
            yield f"{name} looks at {hours} hours: a daily measure needs more, and an alarm takes seven days at most"
        if {d["Name"] for d in alarm["Dimensions"]} != {"function", "stage", "instance"}:
            yield f"{name} does not watch one stack's measure"


def alarms_arrive(template, resources):
    """An alarm's topic lets CloudWatch publish, and so does the topic's key; with the key aws/sns alarms are dropped silently."""
    for name, alarm in of_type(resources, ALARM).items():
        if not alarm.get("AlarmActions"):
            yield f"{name} tells nobody"
        for action in alarm.get("AlarmActions", []):
            topic = identity(resources, action)
            if topic not in of_type(resources, TOPIC):
                yield f"{name} tells {action}, which is no topic of this stack"
    for name, topic in of_type(resources, TOPIC).items():
        key = identity(resources, topic.get("KmsMasterKeyId"))
        policies = [p["PolicyDocument"] for p in of_type(resources, "AWS::SNS::TopicPolicy").values() if f"${{{name}}}" in p["Topics"]]
        for service in ("cloudwatch.amazonaws.com", "events.amazonaws.com"):
            if not any(_lets_in(policy, service, {"sns:Publish"}) for policy in policies):
                yield f"the policy of {name} does not let {service} publish"
            if key is None or not _lets_in(resources[key]["Properties"]["KeyPolicy"], service, {"kms:Decrypt", "kms:GenerateDataKey*"}):
                yield f"the key of {name} does not let {service} in"
        for event_statement in (s for s in statements(resources[key]["Properties"]["KeyPolicy"]) if key and "events.amazonaws.com" in str(s["Principal"])):
            if "Condition" in event_statement:
                yield "the key's statement for EventBridge has a condition: its calls to KMS carry no source, so none would pass"


def services_may_reach_queues(template, resources):
    """SAM writes no queue policy for a dead-letter queue given by ARN, and SNS needs one: without it, events are lost twice."""
    policies = {}
    for policy in of_type(resources, "AWS::SQS::QueuePolicy").values():
        for queue in policy["Queues"]:
            policies.setdefault(identity(resources, queue), []).append(policy["PolicyDocument"])
    wanted = []
    for name, rule in of_type(resources, RULE).items():
        wanted += [(t["DeadLetterConfig"]["Arn"], "events.amazonaws.com", f"${{{name}.Arn}}") for t in rule["Targets"] if "DeadLetterConfig" in t]
    for subscription in of_type(resources, SUBSCRIPTION).values():
        queues = [subscription.get("RedrivePolicy", {}).get("deadLetterTargetArn")] + ([subscription["Endpoint"]] if subscription["Protocol"] == "sqs" else [])
        wanted += [(queue, "sns.amazonaws.com", subscription["TopicArn"]) for queue in queues if queue]
    for queue, service, source in wanted:
        name = identity(resources, queue)
        if not any(_lets_in(policy, service, {"sqs:SendMessage"}, source) for policy in policies.get(name, [])):
            yield f"{name} does not let {service} in for {source}"


def roles_are_least(template, resources):
    """No wildcard action, no managed policy, `*` only for listed actions, every statement with a Sid and a reason."""
    for name, role in of_type(resources, ROLE).items():
        if role.get("ManagedPolicyArns"):
            yield f"{name} has managed policies: they are wider than what is needed"
        for statement in _role_statements(role):
            sid = statement.get("Sid")
            if sid not in REASONS.get(name, {}):
                yield f"{name}: statement {sid} has no reason in iam_reasons.toml"
            if statement["Effect"] != "Allow":
                continue
            for action in listed(statement["Action"]):
                if "*" in action:
                    yield f"{name} {sid}: the action {action} is a wildcard"
                if "*" in listed(statement["Resource"]) and action not in REASONS["everywhere"]:
                    yield f"{name} {sid}: {action} on every resource, and no reason for it"
                if action.startswith("kms:") and action != "kms:DescribeKey" and "kms:ViaService" not in str(statement.get("Condition")):
                    yield f"{name} {sid}: {action} without kms:ViaService"
                if action.startswith("logs:") and not str(statement["Resource"]).endswith("LogGroup.Arn}"):
                    yield f"{name} {sid}: {action} beyond the function's own log group"


def roles_trust_one_service(template, resources):
    roles = of_type(resources, ROLE)
    used = [identity(resources, function["Role"]) for function in of_type(resources, FUNCTION).values()]
    if len(set(used)) != len(used):
        yield "two functions share a role"
    for name, role in roles.items():
        for statement in statements(role["AssumeRolePolicyDocument"]):
            service = statement["Principal"].get("Service")
            if service in ("scheduler.amazonaws.com", "s3.amazonaws.com", "states.amazonaws.com") and "aws:SourceAccount" not in str(statement.get("Condition")):
                yield f"{name} can be assumed for another account's schedule or bucket"
            if service not in ("lambda.amazonaws.com", "scheduler.amazonaws.com", "s3.amazonaws.com", "states.amazonaws.com") or len(statement["Principal"]) != 1:
                yield f"{name} trusts {statement['Principal']}"
    for name, permission in of_type(resources, PERMISSION).items():
        if "SourceArn" not in permission:
            yield f"{name} lets any source of {permission['Principal']} invoke the function"


def writers_cannot_destroy(template, resources):
    """One role deletes backups: archives by hiding them, snapshots by name and tag. Another deletes scratch instances, by name, tags and purpose."""
    for name, role in of_type(resources, ROLE).items():
        for statement in _role_statements(role):
            for action in listed(statement["Action"]):
                if statement["Effect"] == "Allow" and DESTRUCTIVE.match(action) and not _is_excepted(name, statement, action):
                    yield f"{name} {statement.get('Sid')} allows {action}"


def _is_excepted(name, statement, action):
    return (name == "RetentionRole" and _deletes_backups_only(statement, action)) or (name == "RestoreDrillRole" and _deletes_scratch_only(statement, action))


def _deletes_scratch_only(statement, action):
    tags = statement.get("Condition", {}).get("StringEquals", {})
    tagged = {"aws:ResourceTag/lifeboat:created-by", "aws:ResourceTag/lifeboat:stage", "aws:ResourceTag/lifeboat:instance"} <= set(tags)
    named = all(re.search(r":db:lifeboat-[^*:]+-drill-\*$", str(target)) for target in listed(statement["Resource"]))
    return action == "rds:DeleteDBInstance" and tagged and named and tags.get("aws:ResourceTag/lifeboat:purpose") == "drill"


def _deletes_backups_only(statement, action):
    targets = [str(target) for target in listed(statement["Resource"])]
    if action == "s3:DeleteObject":
        return all(re.search(r"/(dumps|verifications)/[^*]+/\*$", target) for target in targets)
    condition = statement.get("Condition", {})
    tags = condition.get("StringEquals", {})
    tagged = {"aws:ResourceTag/lifeboat:created-by", "aws:ResourceTag/lifeboat:stage", "aws:ResourceTag/lifeboat:instance"} <= set(tags)
    kept = condition.get("StringNotEquals", {}).get("aws:ResourceTag/lifeboat:expiry-class") == "keep"
    return action == "rds:DeleteDBSnapshot" and tagged and kept and all(re.search(r":snapshot:lifeboat-[^*:]+-\*$", target) for target in targets)


def bucket_is_held(template, resources):
    """TLS only, new keys only, no deletes for the functions; versions, own key, nothing public, current objects untouched, all retained."""
    for name, bucket in of_type(resources, "AWS::S3::Bucket").items():
        documents = [p["PolicyDocument"] for p in of_type(resources, "AWS::S3::BucketPolicy").values() if identity(resources, p["Bucket"]) == name]
        policy = {s["Sid"]: s for document in documents for s in statements(document) if s["Effect"] == "Deny"}
        everything, objects = [f"${{{name}.Arn}}", f"${{{name}.Arn}}/*"], f"${{{name}.Arn}}/*"
        expected = {
            "OnlyOverTls": ("*", ["s3:*"], everything, {"Bool": {"aws:SecureTransport": "false"}}),
            "OnlyNewKeys": ("*", ["s3:PutObject"], [objects], {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}),
        }
        for sid, (principal, actions, held, condition) in expected.items():
            found = policy.get(sid, {})
            if (found.get("Principal"), listed(found.get("Action")), listed(found.get("Resource")), found.get("Condition")) != (principal, actions, held, condition):
                yield f"{name}: the statement {sid} is missing or weakened"
        held = policy.get("WritersNeverDelete", {})
        writers = {f"${{{identity(resources, f['Role'])}.Arn}}" for f in of_type(resources, FUNCTION).values()} - {"${RetentionRole.Arn}"}
        if set(listed(held.get("Principal", {}).get("AWS"))) != writers or "Condition" in held or set(listed(held.get("Resource"))) != set(everything):
            yield f"{name}: WritersNeverDelete does not hold every function's role"
        for action in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:PutLifecycleConfiguration", "s3:PutBucketPolicy"):
            if action not in listed(held.get("Action")):
                yield f"{name}: WritersNeverDelete leaves out {action}"
        hides = policy.get("RetentionOnlyHides", {})
        if hides.get("Principal") != {"AWS": "${RetentionRole.Arn}"} or "Condition" in hides or set(listed(hides.get("Action"))) != set(listed(held.get("Action"))) - {"s3:DeleteObject"}:
            yield f"{name}: RetentionOnlyHides does not keep retention from versions, locks and policies"
        if bucket["VersioningConfiguration"]["Status"] != "Enabled":
            yield f"{name} keeps no versions"
        if set(bucket["PublicAccessBlockConfiguration"].values()) != {True}:
            yield f"{name} could be made public"
        encryption = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
        if encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] != "aws:kms" or not encryption["BucketKeyEnabled"]:
            yield f"{name} is not encrypted with an own key"
        for rule in bucket["LifecycleConfiguration"]["Rules"]:
            if {"ExpirationInDays", "ExpirationDate", "Transitions", "Transition"} & set(rule):
                yield f"{name}: lifecycle rule {rule['Id']} touches current objects"
        if not any("AbortIncompleteMultipartUpload" in rule for rule in bucket["LifecycleConfiguration"]["Rules"]):
            yield f"{name} keeps abandoned uploads for ever"
    for name in ("BackupBucket", "BackupBucketPolicy", "BackupKey"):
        resource = resources.get(name, {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"})
        if {resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")} != {"Retain"}:
            yield f"{name} goes with the stack"


def logs_end(template, resources):
    for name, function in of_type(resources, FUNCTION).items():
        group = identity(resources, function.get("LoggingConfig", {}).get("LogGroup"))
        if group is None or "RetentionInDays" not in resources[group]["Properties"]:
            yield f"the log of {name} is kept for ever"
        if function["LoggingConfig"].get("LogFormat") != "JSON":
            yield f"{name} does not log JSON"


def settings_hold_no_secrets(template, resources):
    for name, function in of_type(resources, FUNCTION).items():
        for key, value in function["Environment"]["Variables"].items():
            if re.search(r"PASSWORD|SECRET|TOKEN|WEBHOOK|CREDENTIAL", key) or re.search(r"://[^/]*:[^/]*@|xox[bp]-|hooks\.slack\.com/services", str(value)):
                yield f"{name}: {key} looks like a secret"


def parameters_explain_themselves(template, resources):
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    for name, parameter in template["Parameters"].items():
        if not parameter.get("Description"):
            yield f"{name} has no description"
        if grouped.count(name) != 1:
            yield f"{name} is in {grouped.count(name)} groups"
        if name not in interface["ParameterLabels"]:
            yield f"{name} has no label"
        free_text = parameter["Type"] == "String" and "AllowedValues" not in parameter and "MinLength" not in parameter
        if free_text and not ("AllowedPattern" in parameter and "ConstraintDescription" in parameter):
            yield f"{name} takes any text, or does not say what it takes"
        if parameter["Type"] == "Number" and "MinValue" not in parameter and "AllowedValues" not in parameter:
            yield f"{name} takes any number"
        default = str(parameter.get("Default", ""))
        if "Default" in parameter and "AllowedPattern" in parameter and not re.search(parameter["AllowedPattern"], default):
            yield f"the default of {name} does not fit its own pattern"
    for name in set(grouped) | set(interface["ParameterLabels"]):
        if name not in template["Parameters"]:
            yield f"{name} is grouped or labelled, and is no parameter"


def outputs_are_the_contract(template, resources):
    if set(template["Outputs"]) != OUTPUTS:
        yield f"outputs differ from what tools and docs use: {sorted(set(template['Outputs']) ^ OUTPUTS)}"


def samconfig_fits(template, resources, text=None):
    config = tomllib.loads(text or (ROOT / "samconfig.toml").read_text())
    stacks = []
    for stage in ("dev", "staging", "prod"):
        deploy = config[stage]["deploy"]["parameters"]
        stacks.append(deploy["stack_name"])
        values = dict(override.split("=", 1) for override in deploy["parameter_overrides"])
        if values.get("Stage") != stage:
            yield f"samconfig {stage} deploys the stage {values.get('Stage')}"
        yield from (f"samconfig {stage}: {problem}" for problem in parameter_problems(template, values))
    if len(set(stacks)) != 3:
        yield f"samconfig: two stages have the same stack: {stacks}"


def parameter_problems(template, values):
    """What CloudFormation would say about these parameters."""
    for name, parameter in template["Parameters"].items():
        if "Default" not in parameter and name not in values:
            yield f"{name} is needed"
    for name, value in values.items():
        parameter = template["Parameters"].get(name)
        if parameter is None:
            yield f"{name} is no parameter"
        elif "AllowedValues" in parameter and value not in [str(allowed) for allowed in parameter["AllowedValues"]]:
            yield f"{name}={value} is not allowed"
        elif "AllowedPattern" in parameter and not re.search(parameter["AllowedPattern"], value):
            yield f"{name}={value} does not fit {parameter['AllowedPattern']}"
        elif parameter["Type"] == "Number" and not parameter.get("MinValue", 0) <= int(value) <= parameter.get("MaxValue", int(value)):
            yield f"{name}={value} is out of range"


CHECKS = [
    names_carry_the_stack, schedules_retry_and_keep, async_paths_end_somewhere, every_queue_has_an_alarm, every_function_has_alarms,
    backup_ages_are_watched, alarms_arrive, services_may_reach_queues, roles_are_least, roles_trust_one_service, writers_cannot_destroy, bucket_is_held, logs_end,
    settings_hold_no_secrets, parameters_explain_themselves, outputs_are_the_contract, samconfig_fits,
]  # fmt: skip


def _role_statements(role):
    return [statement for policy in role.get("Policies", []) for statement in statements(policy["PolicyDocument"])]


def _allows(resources, role, action, resource):
    return any(
        s["Effect"] == "Allow" and action in listed(s["Action"]) and resource in listed(s["Resource"]) for s in _role_statements(resources[role]["Properties"])
    )


def _lets_in(policy, service, actions, source=None):
    """Whether a resource policy allows a service these actions, for this source only if one is named."""
    return any(
        s["Effect"] == "Allow"
        and isinstance(s["Principal"], dict)
        and service in listed(s["Principal"].get("Service"))
        and actions <= set(listed(s["Action"]))
        and (source is None or s.get("Condition", {}).get("ArnEquals", {}).get("aws:SourceArn") == source)
        for s in statements(policy)
    )

"""Applies by API what MiniStack's CloudFormation leaves out of a stack's resources.

Each entry names a resource type and does, with the resolved properties, what AWS's CloudFormation would have done. A
property that neither applies is in gaps.py.
"""

import json

from . import function_updates, iam, states


def apply(cloud, resources, environment):
    """Complete all resources of a stack.

    `environment` adds variables to functions: by logical id, or `*` for all.
    """
    for logical_id, resource in resources.items():
        if resource["Type"] == "AWS::Lambda::Function":
            function_updates.settle(cloud.account, cloud.region, resource["Id"])
        complete = _BY_TYPE.get(resource["Type"])
        if complete is not None:
            complete(cloud, resource["Id"], resource["Properties"])
        if resource["Type"] == "AWS::Lambda::Function":
            function_updates.settle(cloud.account, cloud.region, resource["Id"])
            added = {**environment.get("*", {}), **environment.get(logical_id, {})}
            if added:
                _add_variables(cloud, resource["Id"], added)
                function_updates.settle(cloud.account, cloud.region, resource["Id"])


def _add_variables(cloud, name, added):
    client = cloud.client("lambda")
    present = client.get_function_configuration(FunctionName=name).get("Environment", {}).get("Variables", {})
    if present | added != present:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": present | added})


def _bucket(cloud, name, properties):
    client = cloud.client("s3")
    if encryption := properties.get("BucketEncryption"):
        rules = [{"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
                  "BucketKeyEnabled": _true(rule.get("BucketKeyEnabled"))}
                 for rule in encryption["ServerSideEncryptionConfiguration"]]
        client.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
    if _true(properties.get("ObjectLockEnabled")):
        configuration = {"ObjectLockEnabled": "Enabled"}
        rule = (properties.get("ObjectLockConfiguration") or {}).get("Rule")
        if rule:
            retention = {key: int(value) if key in ("Days", "Years") else value
                         for key, value in rule["DefaultRetention"].items()}
            configuration["Rule"] = {"DefaultRetention": retention}
        client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=configuration)
    if lifecycle := properties.get("LifecycleConfiguration"):
        client.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": [_lifecycle_rule(rule) for rule in lifecycle["Rules"]]})
    if replication := properties.get("ReplicationConfiguration"):
        client.put_bucket_replication(Bucket=name, ReplicationConfiguration={
            "Role": replication["Role"], "Rules": [_replication_rule(rule) for rule in replication["Rules"]]})


def _replication_rule(rule):
    """CloudFormation's names and texts for a replication rule in S3's."""
    made = json.loads(json.dumps(rule))
    if "Id" in made:
        made["ID"] = made.pop("Id")
    if "Priority" in made:
        made["Priority"] = int(made["Priority"])
    for holder in (made.get("Filter") or {}, (made.get("Filter") or {}).get("And") or {}):
        if "TagFilter" in holder:
            holder["Tag"] = holder.pop("TagFilter")
        if "TagFilters" in holder:
            holder["Tags"] = holder.pop("TagFilters")
    for name, inner in (("ReplicationTime", "Time"), ("Metrics", "EventThreshold")):
        minutes = (made["Destination"].get(name) or {}).get(inner)
        if minutes:
            minutes["Minutes"] = int(minutes["Minutes"])
    return made


def _lifecycle_rule(rule):
    """CloudFormation's names for a lifecycle rule in S3's."""
    made = {"Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if "Id" in rule:
        made["ID"] = rule["Id"]
    if "ExpirationInDays" in rule:
        made["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "ExpiredObjectDeleteMarker" in rule:
        made["Expiration"] = {"ExpiredObjectDeleteMarker": _true(rule["ExpiredObjectDeleteMarker"])}
    if expiration := rule.get("NoncurrentVersionExpiration"):
        made["NoncurrentVersionExpiration"] = {key: int(value) for key, value in expiration.items()}
    if abort := rule.get("AbortIncompleteMultipartUpload"):
        made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": int(abort["DaysAfterInitiation"])}
    if transitions := rule.get("Transitions"):
        made["Transitions"] = [{"Days": int(one["TransitionInDays"]), "StorageClass": one["StorageClass"]}
                               for one in transitions]
    return made


def _topic(cloud, arn, properties):
    if key := properties.get("KmsMasterKeyId"):
        cloud.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="KmsMasterKeyId", AttributeValue=key)


def _queue(cloud, url, properties):
    attributes = {name: str(properties[name]) for name in ("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds",
                                                           "SqsManagedSseEnabled") if name in properties}
    if attributes:
        cloud.client("sqs").set_queue_attributes(QueueUrl=url, Attributes=attributes)


def _function(cloud, name, properties):
    client = cloud.client("lambda")
    if target := properties.get("DeadLetterConfig"):
        client.update_function_configuration(FunctionName=name, DeadLetterConfig=target)
    if "ReservedConcurrentExecutions" in properties:
        client.put_function_concurrency(
            FunctionName=name, ReservedConcurrentExecutions=int(properties["ReservedConcurrentExecutions"]))


def _event_invoke_config(cloud, _id, properties):
    """CloudFormation files it under `$LATEST`, where the API without a qualifier does not look."""
    if properties.get("Qualifier") == "$LATEST":
        wanted = {"FunctionName": properties["FunctionName"].split(":")[-1] if ":" in properties["FunctionName"]
                  else properties["FunctionName"]}
        for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds"):
            if name in properties:
                wanted[name] = int(properties[name])
        if "DestinationConfig" in properties:
            wanted["DestinationConfig"] = properties["DestinationConfig"]
        cloud.client("lambda").put_function_event_invoke_config(**wanted)


def _schedule(cloud, name, properties):
    """CloudFormation keeps the target only; time zone, window and dates are lost."""
    known = ("ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "Target", "State",
             "Description", "StartDate", "EndDate", "KmsKeyArn", "GroupName")
    wanted = {key: properties[key] for key in known if key in properties}
    target = json.loads(json.dumps(wanted["Target"]))
    for key, value in (target.get("RetryPolicy") or {}).items():
        target["RetryPolicy"][key] = int(value)
    wanted["Target"] = target
    window = dict(wanted.get("FlexibleTimeWindow") or {"Mode": "OFF"})
    if "MaximumWindowInMinutes" in window:
        window["MaximumWindowInMinutes"] = int(window["MaximumWindowInMinutes"])
    wanted["FlexibleTimeWindow"] = window
    cloud.client("scheduler").update_schedule(Name=name, **wanted)


def _event_source_mapping(cloud, _id, properties):
    """Lambda refuses a mapping whose function's role may not read the queue."""
    source, name = properties.get("EventSourceArn", ""), properties["FunctionName"].split(":function:")[-1]
    if ":sqs:" not in source:
        return
    role = cloud.client("lambda").get_function_configuration(FunctionName=name)["Role"]
    for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"):
        if not iam.role_may(role, action, source, cloud.region, name):
            raise PermissionError(f"The provided execution role does not have permissions to call {action} on {source}")


# What the role of a machine that logs must be allowed (Step Functions Developer Guide, "IAM policies for logging").
_LOG_DELIVERY = ("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries",
                 "PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups")
_TRACING = ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets")


def _state_machine(cloud, arn, properties):
    """Step Functions refuses a definition that cannot run, and a role that it cannot use."""
    found = cloud.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
    name, role = found["name"], found["roleArn"]
    if problem := states.problem(found["definition"]):
        raise PermissionError(f"Invalid State Machine Definition of {name}: {problem}")
    trust = cloud.client("iam").get_role(RoleName=role.rsplit("/", 1)[-1])["Role"]["AssumeRolePolicyDocument"]
    if "states.amazonaws.com" not in json.dumps(trust):
        raise PermissionError("Neither the global service principal states.amazonaws.com, nor the regional one is "
                              f"authorized to assume the provided role {role}")
    needed = []
    if (properties.get("LoggingConfiguration") or {}).get("Level", "OFF") != "OFF":
        needed += [f"logs:{action}" for action in _LOG_DELIVERY]
    if _true((properties.get("TracingConfiguration") or {}).get("Enabled")):
        needed += [f"xray:{action}" for action in _TRACING]
    for action in needed:
        if not iam.role_may(role, action, "*", cloud.region, name):
            raise PermissionError(f"The state machine IAM Role {role} is not authorized to {action}")


def _true(value):
    return str(value).lower() == "true"


_BY_TYPE = {
    "AWS::S3::Bucket": _bucket,
    "AWS::SNS::Topic": _topic,
    "AWS::SQS::Queue": _queue,
    "AWS::Lambda::Function": _function,
    "AWS::Lambda::EventSourceMapping": _event_source_mapping,
    "AWS::Lambda::EventInvokeConfig": _event_invoke_config,
    "AWS::Scheduler::Schedule": _schedule,
    "AWS::StepFunctions::StateMachine": _state_machine,
}

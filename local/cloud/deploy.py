"""Deploys a SAM template as it stands: functions packaged, stack made by CloudFormation, the rest by API.

Nothing of the template is rewritten but where code comes from, which is what `sam package` does, too. What the
stand-in cannot do is reported by name (gaps.py), never silently skipped.
"""

import hashlib
import json
import os
import time

import samtranslator.yaml_helper
from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import cloudformation

from . import after_deploy, clients, conditions, errors, gaps, packages, rds_cloudformation

conditions.install()        # here, and not with the other patches: importing CloudFormation takes half a second
rds_cloudformation.install()
_POLL_SECONDS = 0.02
_STACK_SECONDS = 120
_FINISHED = ("CREATE_COMPLETE", "UPDATE_COMPLETE")


def deploy(region, functions_folder, wanted):
    """Create or update a stack; `wanted` is the request of `/_lifeboat/deploy`, the result its answer."""
    started = time.monotonic()
    account, stack_name = wanted["account"], wanted["stackName"]
    cloud = clients.of(account, region)
    template, removed = _packaged(cloud, wanted["template"], functions_folder)
    arguments = {
        "StackName": stack_name, "TemplateURL": _upload(cloud, template),
        "Parameters": [{"ParameterKey": key, "ParameterValue": str(value)}
                       for key, value in (wanted.get("parameters") or {}).items()],
        "Capabilities": wanted.get("capabilities") or ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM",
                                                       "CAPABILITY_AUTO_EXPAND"],
    }
    _create_or_update(cloud.client("cloudformation"), arguments)
    stack = _wait(cloud.client("cloudformation"), stack_name)
    resources = _resources(account, region, stack_name)
    environment = dict(wanted.get("environment") or {})
    after_deploy.apply(cloud, resources, environment)
    return {
        "outputs": {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])},
        "unsupported": gaps.used(removed | resources),
        "seconds": round(time.monotonic() - started, 3),
    }


def _packaged(cloud, path, functions_folder):
    """The template with code replaced by packages, and the resources of it that were taken out or emptied."""
    with open(path, encoding="utf-8") as file:
        template = samtranslator.yaml_helper.yaml_parse(file.read())
    if not isinstance(template, dict) or "Resources" not in template:
        raise errors.Refused(f"{path}: no CloudFormation template")
    resources, removed = template["Resources"], {}
    default_uri = ((template.get("Globals") or {}).get("Function") or {}).pop("CodeUri", None)
    for logical_id, resource in list(resources.items()):
        kind, properties = resource.get("Type"), resource.setdefault("Properties", {})
        if kind in gaps.REMOVED_TYPES:
            removed[logical_id] = resource
            del resources[logical_id]
        elif kind == "AWS::Serverless::Function":
            _package(logical_id, properties, default_uri, functions_folder)
            resource.pop("Metadata", None)      # how `sam build` makes the binary
        elif kind == "AWS::Serverless::StateMachine":
            _package_definition(cloud, logical_id, properties, os.path.dirname(path))
        elif kind == "AWS::Serverless::LayerVersion":
            removed[logical_id] = resource
            properties["ContentUri"] = {"Bucket": packages.BUCKET, "Key": packages.layer_key()}
            resource.pop("Metadata", None)
    return template, removed


def _package(logical_id, properties, default_uri, functions_folder):
    uri = properties.get("CodeUri", default_uri)
    if not isinstance(uri, str):
        raise errors.Refused(f"{logical_id}: CodeUri must be a path whose last segment names the package")
    package = uri.rstrip("/").rsplit("/", 1)[-1]
    try:
        key = packages.key_of(functions_folder, package)
    except FileNotFoundError as error:
        raise errors.Refused(f"{logical_id}: no binary {package} in {functions_folder}") from error
    properties["CodeUri"] = {"Bucket": packages.BUCKET, "Key": key}


def _package_definition(cloud, logical_id, properties, folder):
    """A definition in a file goes to S3, as `sam package` does it."""
    uri = properties.get("DefinitionUri")
    if not isinstance(uri, str) or uri.startswith("s3://"):
        return
    path = os.path.join(folder, uri)
    try:
        with open(path, "rb") as file:
            body = file.read()
    except FileNotFoundError as error:
        raise errors.Refused(f"{logical_id}: no definition {path}") from error
    if path.endswith((".yaml", ".yml")):
        body = json.dumps(samtranslator.yaml_helper.yaml_parse(body.decode())).encode()
    bucket, key = _store(cloud, body, ".asl.json")
    properties["DefinitionUri"] = {"Bucket": bucket, "Key": key}


def _upload(cloud, template):
    """Put the template into a bucket of the account, as `sam deploy` does: a request body may have 51,200 bytes."""
    bucket, key = _store(cloud, json.dumps(template, default=str).encode(), ".template")
    return f"{cloud.client('s3').meta.endpoint_url}/{bucket}/{key}"


def _store(cloud, body, ending):
    """Put an object into the account's bucket of deployments, under its digest; returns `(bucket, key)`."""
    client, bucket = cloud.client("s3"), f"deployments-{cloud.account}"
    try:
        client.head_bucket(Bucket=bucket)
    except client.exceptions.ClientError:
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": cloud.region})
    key = hashlib.sha256(body).hexdigest() + ending
    client.put_object(Bucket=bucket, Key=key, Body=body)
    return bucket, key


def _create_or_update(client, arguments):
    exists = True
    try:
        client.describe_stacks(StackName=arguments["StackName"])
    except client.exceptions.ClientError:
        exists = False
    try:
        (client.update_stack if exists else client.create_stack)(**arguments)
    except client.exceptions.ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise errors.Refused(str(error)) from error


def _wait(client, stack_name):
    deadline = time.monotonic() + _STACK_SECONDS
    while True:
        stack = client.describe_stacks(StackName=stack_name)["Stacks"][0]
        status = stack["StackStatus"]
        if status in _FINISHED:
            return stack
        if not status.endswith("_IN_PROGRESS"):
            raise errors.Refused(f"{status}: {_reasons(client, stack_name) or stack.get('StackStatusReason', '')}")
        if time.monotonic() > deadline:
            raise errors.Refused(f"stack {stack_name} still {status} after {_STACK_SECONDS} s")
        time.sleep(_POLL_SECONDS)


def _reasons(client, stack_name):
    events = client.describe_stack_events(StackName=stack_name)["StackEvents"]
    failed = [f"{one['LogicalResourceId']}: {one.get('ResourceStatusReason', '')}" for one in reversed(events)
              if one["ResourceStatus"].endswith("_FAILED")]
    return "; ".join(failed)


def _resources(account, region, stack_name):
    """The stack's resources with their resolved properties, as CloudFormation holds them."""
    set_request_account_id(account)
    set_request_region(region)
    stack = cloudformation._stacks[stack_name]
    return {logical_id: {"Type": one.get("ResourceType"), "Id": one.get("PhysicalResourceId"),
                         "Properties": one.get("Properties") or {}}
            for logical_id, one in stack["_resources"].items()}


def template_path(path):
    """An absolute, existing template path; raises `errors.Refused`."""
    if not os.path.isfile(path):
        raise errors.Refused(f"no template {path}")
    return os.path.abspath(path)

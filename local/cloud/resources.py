"""The resources that a request names, all of them, where MiniStack's IAM looks at one only.

An RDS call is authorised on every instance and snapshot it names, an SSM call on every parameter, an ECS call about
services on each of them, an Elastic Beanstalk call on the environment.
"""

import json

from . import beanstalk, ecs_deployments, rds_resources

_ECS_SERVICE_CALLS = ("CreateService", "UpdateService", "DeleteService", "DescribeServices")


def named(request, region, account):
    """ARNs of all resources the request names; empty: leave it to MiniStack."""
    if request.service == "rds":
        return rds_resources.named(request, region, account)
    if request.service == "ssm":
        return _ssm(request, region, account)
    if request.service == "ecs":
        return _ecs(request, region, account)
    if request.service == "elasticbeanstalk":
        return beanstalk.named(request, region, account)
    return []


def _ecs(request, region, account):
    if (request.header("x-amz-target") or "").rsplit(".", 1)[-1] not in _ECS_SERVICE_CALLS:
        return []
    try:
        data = json.loads(request.body or b"{}")
    except ValueError:
        return []
    return ecs_deployments.service_arns(data, region, account)


def _ssm(request, region, account):
    try:
        data = json.loads(request.body or b"{}")
    except ValueError:
        return []
    if not isinstance(data, dict) or "ResourceType" in data:
        return []
    # GetParametersByPath is authorised on the path itself.
    one = data.get("Name", data.get("Path"))
    names = data.get("Names", [one] if one is not None else None)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return []
    return [_parameter(name, region, account) for name in names]


def _parameter(name, region, account):
    if name.startswith("arn:"):
        return name
    plain = name.split(":")[0].strip("/")      # a selector (version or label) is no part of the resource
    return f"arn:aws:ssm:{region}:{account}:parameter/{plain}"

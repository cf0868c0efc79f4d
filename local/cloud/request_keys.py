"""Condition keys and implied permissions of requests that MiniStack's IAM does not know of, by service.

Source: Service Authorization Reference, "Actions, resources, and condition keys for" Secrets Manager, ECS and Elastic
Beanstalk; the API reference of RotateSecret.
"""

import json

import ministack.services.secretsmanager as secretsmanager

from . import beanstalk, ecs_deployments

_OF_SECRETS = ("SecretId", "VersionId", "VersionStage", "RotationLambdaARN", "KmsKeyId", "Name", "Description")


def _json(request):
    try:
        data = json.loads(request.body or b"{}")
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _secret(arn):
    return (secretsmanager._resolve(arn, use_arn_scope=True)[1] if arn.startswith("arn:") else None) or {}


def _of_secrets(request, resource_arn):
    data = _json(request)
    keys = {f"secretsmanager:{name}": data.get(name) for name in _OF_SECRETS}
    keys["secretsmanager:resource/AllowRotationLambdaArn"] = _secret(resource_arn).get("RotationLambdaARN")
    return keys


def _of_services(request, resource_arn):
    parts = resource_arn.split(":")
    return ecs_deployments.keys(_json(request), resource_arn, parts[3], parts[4]) if len(parts) > 4 else {}


def _of_environments(request, resource_arn):
    return beanstalk.keys(request, resource_arn)


_KEYS = {"secretsmanager": _of_secrets, "ecs": _of_services, "elasticbeanstalk": _of_environments}


def of_request(request, resource_arn):
    """The condition keys of this request, as far as it concerns this resource."""
    find = _KEYS.get(request.service)
    found = find(request, resource_arn) if find else {}
    return {name: str(value) for name, value in found.items() if value is not None}


def implied(iam_action, request, resource_arn):
    """`(action, ARN)` of what a request needs besides its own action."""
    if iam_action == "secretsmanager:RotateSecret":
        arn = _json(request).get("RotationLambdaARN") or _secret(resource_arn).get("RotationLambdaARN")
        return [("lambda:InvokeFunction", arn)] if arn else []
    return []

"""Limits of the SSM Parameter Store that MiniStack does not have.

Rotation code meets them: at most 100 versions (the oldest goes, unless it carries a label), at most ten labels per
version, label names of a certain form, 4 KB in the standard tier, moving and removing labels.
Source: the Systems Manager user guide, "Working with parameter labels" and "Managing parameter tiers".
"""

import json
import re

import ministack.services.ssm as ssm
from ministack.core.responses import error_response_json, json_response

_VERSIONS = 100
_LABELS = 10
_SIZES = {"Standard": 4096, "Advanced": 8192}
_LABEL = re.compile(r"(?!\d)(?!aws)(?!ssm)[A-Za-z0-9_.-]{1,100}", re.IGNORECASE)
_ministack_put = ssm._put_parameter
_ministack_label = ssm._label_parameter_version
_ministack_handle = ssm.handle_request


def _put(data):
    name, value = data.get("Name"), data.get("Value") or ""
    size = len(value.encode())
    tier = data.get("Tier") or "Standard"
    if tier == "Standard" and size > _SIZES["Standard"]:
        return error_response_json(
            "ValidationException", "Standard tier parameters support a maximum parameter value of 4096 characters. To "
            "create a larger parameter value, upgrade the parameter to use the advanced-parameter tier.", 400)
    if size > _SIZES["Advanced"]:
        return error_response_json("ValidationException", "The parameter value is longer than 8192 characters.", 400)
    history = ssm._parameter_history.get(name) or []
    full = data.get("Overwrite") and name in ssm._parameters and len(history) >= _VERSIONS
    if full and history[0].get("Labels"):
        return error_response_json(
            "ParameterMaxVersionLimitExceeded", f"You attempted to create a new version of {name} by calling the "
            f"PutParameter API with the overwrite flag. Version {history[0]['Version']}, the oldest version, can't be "
            "deleted because it has a label associated with it. Move the label to another version of the parameter, "
            "and try again.", 400)
    answer = _ministack_put(data)
    if full and answer[0] == 200:
        del ssm._parameter_history[name][0]
    return answer


def _label(data):
    labels = data.get("Labels") or []
    invalid = [label for label in labels if not _LABEL.fullmatch(label)]
    valid = [label for label in labels if label not in invalid]
    history = ssm._parameter_history.get(data.get("Name")) or []
    parameter = ssm._parameters.get(data.get("Name")) or {}
    version = data.get("ParameterVersion") or parameter.get("Version")
    present = next((set(one.get("Labels") or []) for one in history if one["Version"] == version), set())
    if len(present | set(valid)) > _LABELS:
        return error_response_json("ParameterVersionLabelLimitExceeded",
                                   "A parameter version can have a maximum of ten labels.", 400)
    status, headers, body = _ministack_label({**data, "Labels": valid})
    if status == 200:
        answered = json.loads(body)
        answered["InvalidLabels"] = invalid
        return json_response(answered)
    return status, headers, body


def _unlabel(data):
    name, version = data.get("Name"), data.get("ParameterVersion")
    history = ssm._parameter_history.get(name)
    if history is None:
        return error_response_json("ParameterNotFound", f"Parameter {name} not found.", 400)
    records = [one for one in (*history, ssm._parameters.get(name)) if one and one["Version"] == version]
    if not records:
        return error_response_json("ParameterVersionNotFound", f"Version {version} of {name} not found.", 400)
    removed = [label for label in data.get("Labels") or [] if any(label in (one.get("Labels") or []) for one in records)]
    for one in records:
        one["Labels"] = [label for label in one.get("Labels") or [] if label not in removed]
    invalid = [label for label in data.get("Labels") or [] if label not in removed]
    return json_response({"RemovedLabels": removed, "InvalidLabels": invalid})


async def _handle_request(method, path, headers, body, query_params):
    if headers.get("x-amz-target") == "AmazonSSM.UnlabelParameterVersion":
        return _unlabel(json.loads(body or b"{}"))
    return await _ministack_handle(method, path, headers, body, query_params)


def install():
    """Put the limits before MiniStack's handlers."""
    ssm._put_parameter, ssm._label_parameter_version = _put, _label
    ssm.handle_request = _handle_request

"""Limits of the SSM Parameter Store that MiniStack does not have.

Rotation code meets them: at most 100 versions (the oldest goes, unless it carries a label), at most ten labels per
version, label names of a certain form, 4 KB in the standard tier, moving and removing labels; a type that stays what it
was. Tests make reads stale (AWS does not promise that a read sees the write before it) and writes collide.
Source: the Systems Manager user guide, "Working with parameter labels" and "Managing parameter tiers"; API reference of
PutParameter.
"""

import json
import re

import ministack.services.ssm as ssm
from ministack.core.responses import AccountRegionScopedDict, error_response_json, json_response

from . import errors

_VERSIONS = 100
_LABELS = 10
_SIZES = {"Standard": 4096, "Advanced": 8192}
_LABEL = re.compile(r"(?!\d)(?!aws)(?!ssm)[A-Za-z0-9_.-]{1,100}", re.IGNORECASE)
_ministack_put = ssm._put_parameter
_ministack_label = ssm._label_parameter_version
_ministack_handle = ssm.handle_request
_ministack_get = ssm._get_parameter
_ministack_get_many = ssm._get_parameters
_SECURE = "SecureString"
# By name: how many of the next reads answer the version before, how many of the next writes are refused.
_faults = AccountRegionScopedDict()


def _take(name, fault):
    """Whether the next call of this sort is to go wrong; counts down."""
    left = (_faults.get(name) or {}).get(fault, 0)
    if left > 0:
        _faults[name][fault] = left - 1
    return left > 0


def control(request):
    """Set what goes wrong with a parameter; what is left of it. The request's account and region are set."""
    name = request.get("name")
    if not name:
        raise errors.Refused("`name` is needed")
    faults = _faults.setdefault(name, {"staleReads": 0, "tooManyUpdates": 0})
    for fault in faults:
        faults[fault] = int(request.get(fault, faults[fault]))
    return dict(faults)


def _put(data):
    name, value = data.get("Name"), data.get("Value") or ""
    if _take(name, "tooManyUpdates"):
        return error_response_json("TooManyUpdates", "There are concurrent updates for a resource that supports one update at "
                                   "a time.", 400)
    present = ssm._parameters.get(name) if data.get("Overwrite") else None
    kind = data.get("Type") or (present or {}).get("Type")
    if present and kind != present["Type"]:
        return error_response_json("HierarchyTypeMismatchException", "Parameter Store does not support changing a parameter "
                                   f"type in a hierarchy: {name} is a {present['Type']}.", 400)
    if data.get("KeyId") and kind != _SECURE:
        return error_response_json("ValidationException", "KeyId is required for SecureString type parameter only.", 400)
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


class _Stale:
    """For as long as it lasts, the newest version of these parameters is not there yet."""

    def __init__(self, names):
        self._names = [name for name in names if name in ssm._parameters and _take(name, "staleReads")]
        self._kept = {}

    def __enter__(self):
        for name in self._names:
            newest, history = ssm._parameters[name], ssm._parameter_history[name]
            self._kept[name] = newest, history
            if len(history) > 1:
                ssm._parameters[name], ssm._parameter_history[name] = {**newest, **history[-2]}, history[:-1]
            else:
                del ssm._parameters[name], ssm._parameter_history[name]

    def __exit__(self, *_):
        for name, (newest, history) in self._kept.items():
            ssm._parameters[name], ssm._parameter_history[name] = newest, history


def _plain(name):
    return ssm._split_selector(name)[0]


def _get(data):
    with _Stale([_plain(data.get("Name"))]):
        return _ministack_get(data)


def _get_many(data):
    with _Stale({_plain(name) for name in data.get("Names") or []}):
        return _ministack_get_many(data)


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
    ssm._get_parameter, ssm._get_parameters = _get, _get_many
    ssm.handle_request = _handle_request

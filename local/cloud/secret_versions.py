"""Versions and staging labels of Secrets Manager as AWS documents them, where MiniStack's differ.

| what | MiniStack | here, as on AWS |
|---|---|---|
| a version's id | drawn, in CreateSecret | `ClientRequestToken`, 32 to 64 characters |
| a secret without a value | an empty version that is AWSCURRENT | no version |
| PutSecretValue again, same token | replaces the value | nothing if the value is the same, else ResourceExistsException |
| a label put on a version | stays on the old one, too | moves |
| GetSecretValue by id and label | looks at the id only | both must name the same version |
| a version without a value | answered without a value | ResourceNotFoundException |
| AWSCURRENT | can be taken away | moves only |
| versions without a label | forgotten | kept, and listed with IncludeDeprecated |

Source: API reference of CreateSecret, PutSecretValue, UpdateSecret, GetSecretValue, UpdateSecretVersionStage,
ListSecretVersionIds.
"""

import json
import threading
import time

import ministack.services.secretsmanager as service
from ministack.core.responses import error_response_json, json_response, new_uuid

lock = threading.RLock()
_TOKEN_LENGTH = range(32, 65)
_VALUE_BYTES, _LABELS = 65536, 20
CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
_ministack_create = service._create_secret
_ministack_get = service._get_secret_value
_ministack_move = service._update_secret_version_stage
_ministack_list = service._list_secret_version_ids
# Called with a secret and the version's id when somebody makes a version; a rotation hears of it.
made = []


class Refused(Exception):
    """An error as the service answers it."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def answered(function):
    """A handler whose `Refused` becomes the service's error; one at a time."""
    def handler(data):
        with lock:
            try:
                return function(data)
            except Refused as refused:
                return error_response_json(refused.code, str(refused), 400)

    return handler


def found(data):
    """The secret that a request names, if it can be worked with."""
    _, secret = service._resolve(data.get("SecretId"))
    if not secret:
        raise Refused("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
    if secret.get("DeletedDate"):
        raise Refused("InvalidRequestException", "You can't perform this operation on the secret because it was marked for "
                      "deletion.")
    if service._is_replica(secret):
        raise Refused("InvalidRequestException", "You can't perform this operation on a replica secret.")
    return secret


def token(data):
    """The version's id that a request brings, or a new one."""
    given = data.get("ClientRequestToken")
    if given is not None and len(given) not in _TOKEN_LENGTH:
        raise Refused("InvalidParameterException", "ClientRequestToken must be 32-64 characters long.")
    return given or new_uuid()


def holder(secret, label):
    """The id of the version that carries a label, or None."""
    return service._find_stage_version(secret, label)[0]


def is_empty(version):
    """Whether a version has no value."""
    return version.get("SecretString") is None and version.get("SecretBinary") is None


def put(secret, version_id, value, labels):
    """Make a version, or fill an empty one, and move these labels to it."""
    secret["Versions"].setdefault(version_id, {"CreatedDate": int(time.time()), "Stages": []}).update(value)
    for label in labels:
        move(secret, label, version_id)
    secret["LastChangedDate"] = int(time.time())
    service._sync_replicas(secret)


def move(secret, label, version_id):
    """Move a label; where AWSCURRENT was, AWSPREVIOUS is then."""
    before = holder(secret, label)
    if before == version_id:
        return
    service._remove_stage_everywhere(secret, label)
    service._add_stage(secret, version_id, label)
    if label == CURRENT and before is not None:
        service._remove_stage_everywhere(secret, PREVIOUS)
        service._add_stage(secret, before, PREVIOUS)
    if label not in (PENDING, PREVIOUS):
        service._emit_secret_label_updated(secret, label, version_id)


def _value(data):
    value = {name: data.get(name) for name in ("SecretString", "SecretBinary")}
    if all(one is not None for one in value.values()):
        raise Refused("InvalidParameterException", "You can't specify both a binary secret value and a string secret value in "
                      "the same secret.")
    if len((value["SecretString"] or "").encode()) > _VALUE_BYTES:
        raise Refused("ValidationException", "1 validation error detected: Value at 'secretString' failed to satisfy "
                      "constraint: Member must have length less than or equal to 65536")
    return value


@answered
def _create(data):
    version_id, value = token(data), _value(data)
    status, headers, body = _ministack_create(data)
    if status != 200:
        return status, headers, body
    shown, secret = json.loads(body), service._secrets[data["Name"]]
    drawn = secret["Versions"].pop(shown.pop("VersionId"))
    # Rotation is configured by RotateSecret only; a secret that never had it does not show it.
    for name in ("RotationEnabled", "RotationLambdaARN", "RotationRules"):
        secret.pop(name, None)
    if any(one is not None for one in value.values()):
        secret["Versions"][version_id] = drawn
        shown["VersionId"] = version_id
    return json_response(shown)


@answered
def _put(data):
    secret, version_id, value = found(data), token(data), _value(data)
    if all(one is None for one in value.values()):
        raise Refused("InvalidRequestException", "You must provide either SecretString or SecretBinary.")
    labels = data.get("VersionStages")
    if labels is not None and not 1 <= len(labels) <= _LABELS:
        raise Refused("InvalidParameterException", "VersionStages must have 1 to 20 members.")
    present = secret["Versions"].get(version_id)
    if present is not None and not is_empty(present):
        if any(present.get(name) != one for name, one in value.items()):
            raise Refused("ResourceExistsException", "A resource with the ID you requested already exists.")
        return _shown(secret, version_id)
    labels = list(labels or [CURRENT])
    if holder(secret, CURRENT) is None and CURRENT not in labels:
        labels.append(CURRENT)      # the first version becomes the current one whatever is asked
    _heard(secret, version_id)
    put(secret, version_id, value, labels)
    return _shown(secret, version_id)


def _shown(secret, version_id):
    return json_response({"ARN": secret["ARN"], "Name": secret["Name"], "VersionId": version_id,
                          "VersionStages": list(secret["Versions"][version_id]["Stages"])})


@answered
def _update(data):
    secret, value = found(data), _value(data)
    shown = {"ARN": secret["ARN"], "Name": secret["Name"]}
    for name in ("Description", "KmsKeyId"):
        if name in data:
            secret[name] = data[name]
    if any(one is not None for one in value.values()):
        version_id = token(data)
        present = secret["Versions"].get(version_id)
        if present is not None and not is_empty(present) and any(present.get(key) != one for key, one in value.items()):
            raise Refused("ResourceExistsException", "A resource with the ID you requested already exists.")
        if present is None or is_empty(present):
            _heard(secret, version_id)
            put(secret, version_id, value, [CURRENT])
        shown["VersionId"] = version_id
    secret["LastChangedDate"] = int(time.time())
    return json_response(shown)


def _heard(secret, version_id):
    for hear in made:
        hear(secret, version_id)


@answered
def _get(data):
    _, secret = service._resolve(data.get("SecretId"))
    version_id, label = data.get("VersionId"), data.get("VersionStage")
    if secret and not secret.get("DeletedDate"):
        if version_id and label and label not in (secret["Versions"].get(version_id) or {"Stages": [label]})["Stages"]:
            raise Refused("InvalidRequestException", "You provided a VersionStage that is not associated to the provided "
                          "VersionId.")
        version = secret["Versions"].get(version_id or holder(secret, label or CURRENT))
        if version is None or is_empty(version):
            what = f"VersionId: {version_id}" if version_id else f"staging label: {label or CURRENT}"
            raise Refused("ResourceNotFoundException", f"Secrets Manager can't find the specified secret value for {what}")
    return _ministack_get(data)


@answered
def _update_stage(data):
    secret = found(data)
    label, target = data.get("VersionStage"), data.get("MoveToVersionId")
    if label == CURRENT and not target and data.get("RemoveFromVersionId"):
        raise Refused("InvalidParameterException", f"You can only move staging label {CURRENT} to a different secret version. "
                      "It can't be completely removed.")
    if target and len(set((secret["Versions"].get(target) or {"Stages": []})["Stages"]) | {label}) > _LABELS:
        raise Refused("LimitExceededException", "A secret version can have at most 20 staging labels.")
    return _ministack_move(data)


@answered
def _list_versions(data):
    status, headers, body = _ministack_list(data)
    if status != 200 or data.get("IncludeDeprecated"):
        return status, headers, body
    shown = json.loads(body)
    shown["Versions"] = [one for one in shown["Versions"] if one.get("VersionStages")]
    return json_response(shown)


def secret_by_arn(arn):
    """The secret of this ARN in its own scope, or None."""
    return service._resolve(arn, use_arn_scope=True)[1]


def install():
    """Replace MiniStack's handlers by these."""
    service._create_secret, service._put_secret_value, service._update_secret = _create, _put, _update
    service._get_secret_value, service._update_secret_version_stage = _get, _update_stage
    service._list_secret_version_ids = _list_versions

"""Rotation by Secrets Manager: the service's side of the contract with a rotation function.

RotateSecret makes a version without a value, labels it AWSPENDING, and invokes the real function with createSecret,
setSecret, testSecret and finishSecret, each with `{SecretId, ClientRequestToken, Step, RotationToken}`. A step that
fails is followed by the whole from its beginning, with the same token, a few times; what is left then stays: the next
RotateSecret is refused and tries that rotation again. At the end AWSCURRENT must be where AWSPENDING was, which goes.
A version made by somebody else in between ends the rotation (RotationAbandoned). With RotateImmediately=false
testSecret alone is invoked, for a version that goes again.

Sources: Secrets Manager User Guide, "Rotation by Lambda function", "Permissions for rotation", "CloudTrail entries"; API
reference of RotateSecret and CancelRotateSecret.
"""

import contextvars
import json
import logging
import re
import threading
import time

import ministack.services.lambda_svc as lambda_service
import ministack.services.secretsmanager as service
from ministack.core.responses import get_account_id, get_region, json_response, new_uuid, request_scope

from . import calls, delivery, errors
from . import secret_versions as versions

_log = logging.getLogger("lifeboat.secrets")
_PRINCIPAL = "secretsmanager.amazonaws.com"
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
# AWS tries "multiple times" and does not say how often, or after how long.
_ATTEMPTS, _PAUSE_SECONDS = 3, 0.5
_PREVIOUS_INCOMPLETE = "A previous rotation isn't complete. That rotation will be reattempted."
_DAYS = range(1, 1001)
_HOURS_MIN = 4
_EVENTS_KEPT = 1000
_RATE = re.compile(r"rate\((\d+) (hours?|days?)\)")
_CRON = re.compile(r"cron\(0 \S+ \S+ \S+ \S+ \*\)")
_ministack_describe = service._describe_secret
_ministack_handle = service.handle_request


def _state(secret):
    """What the service remembers of a secret's rotations: the token of the one under way, settings, events."""
    return secret.setdefault("_rotation", {"token": None, "attempts": _ATTEMPTS, "pauseSeconds": _PAUSE_SECONDS, "events": []})


def _say(secret, event, **more):
    """An event as CloudTrail has it, also to EventBridge."""
    state = _state(secret)
    state["events"].append({"name": event, "time": time.time(), **more})
    del state["events"][:-_EVENTS_KEPT]
    from ministack.services import eventbridge

    detail = {"eventSource": _PRINCIPAL, "eventName": event, "eventType": "AwsServiceEvent",
              "additionalEventData": {"SecretId": secret["ARN"]}}
    eventbridge._dispatch_event({
        "EventId": new_uuid(), "Source": "aws.secretsmanager", "DetailType": "AWS Service Event via CloudTrail",
        "Detail": json.dumps(detail), "EventBusName": "default", "Time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "Resources": [secret["ARN"]], "Account": get_account_id(), "Region": get_region()})


def _function(arn):
    """The function that is to rotate, which must let the service invoke it for this secret."""
    function, config, _ = lambda_service._get_func_record_for_ref(arn)
    return (function, config) if function and config else None


def _may_invoke(secret, function_arn):
    allowed = delivery._service_may(function_arn, _PRINCIPAL, secret["ARN"])
    calls.record(get_account_id(), _PRINCIPAL, "lambda:InvokeFunction", function_arn, allowed, source=secret["Name"])
    return allowed


def invoke(secret, version_id, step):
    """Invoke the secret's function with one step, now; `(payload, None or what went wrong)`."""
    arn = secret.get("RotationLambdaARN")
    found = _function(arn) if arn else None
    if found is None:
        return None, f"there is no function {arn}"
    if not _may_invoke(secret, arn):
        return None, f"{_PRINCIPAL} may not invoke {arn}"
    # The token of the rotation says who rotates, where that is a role of another account: nobody checks it here.
    event = {"SecretId": secret["ARN"], "ClientRequestToken": version_id, "Step": step, "RotationToken": new_uuid()}
    result = lambda_service._execute_function_with_config_scope(
        lambda_service._execution_record_for_config(*found), event)
    if result.get("throttle") or result.get("error"):
        return result.get("body"), json.dumps(result.get("body"), default=str)
    return result.get("body"), None


@versions.answered
def _rotate(data):
    secret = versions.found(data)
    arn = data.get("RotationLambdaARN") or secret.get("RotationLambdaARN")
    rules = data.get("RotationRules")
    _check_rules(rules)
    version_id, state = versions.token(data), _state(secret)
    if not arn:
        raise versions.Refused("InvalidRequestException", "No Lambda rotation function ARN is associated with this secret.")
    if _function(arn) is None:
        raise versions.Refused("ResourceNotFoundException", "Secrets Manager can't find the specified Lambda function.")
    if not _may_invoke(secret, arn):
        raise versions.Refused("AccessDeniedException", "Secrets Manager cannot invoke the specified Lambda function. Ensure "
                               f"that the function policy grants access to the principal {_PRINCIPAL}.")
    pending, current = versions.holder(secret, versions.PENDING), versions.holder(secret, versions.CURRENT)
    if current is None:
        raise versions.Refused("InvalidRequestException", "You can't rotate a secret that has no value.")
    if pending is not None and pending != current:
        if state["token"] is None:
            _begin(secret, pending, _whole)
        raise versions.Refused("InvalidRequestException", _PREVIOUS_INCOMPLETE)
    secret["RotationLambdaARN"], secret["RotationEnabled"] = arn, True
    secret["RotationRules"] = rules or secret.get("RotationRules") or {}
    now = data.get("RotateImmediately", True)
    if version_id not in secret["Versions"]:
        versions.put(secret, version_id, {"SecretString": None, "SecretBinary": None}, [versions.PENDING])
        _begin(secret, version_id, _whole if now else _test)
    return json_response({"ARN": secret["ARN"], "Name": secret["Name"], "VersionId": version_id})


def _check_rules(rules):
    """Either days or a schedule, with AWS's limits."""
    if not rules:
        return
    days, schedule = rules.get("AutomaticallyAfterDays"), rules.get("ScheduleExpression")
    if days is not None and schedule:
        raise versions.Refused("InvalidParameterException", "You can't specify both AutomaticallyAfterDays and "
                               "ScheduleExpression.")
    if days is not None and int(days) not in _DAYS:
        raise versions.Refused("InvalidParameterException", "AutomaticallyAfterDays must be between 1 and 1000.")
    if schedule:
        rate = _RATE.fullmatch(schedule)
        hours = rate and int(rate.group(1)) * (24 if rate.group(2).startswith("day") else 1)
        if not _CRON.fullmatch(schedule) and (hours is None or hours < _HOURS_MIN):
            raise versions.Refused("InvalidParameterException", f"Invalid ScheduleExpression {schedule}.")
    if (duration := rules.get("Duration")) is not None and not re.fullmatch(r"\d{1,2}h", duration):
        raise versions.Refused("InvalidParameterException", "Duration must be a number of hours, such as 3h.")


@versions.answered
def _cancel(data):
    secret = versions.found(data)
    if not secret.get("RotationEnabled"):
        raise versions.Refused("InvalidRequestException", "You can't cancel rotation of a secret that has no rotation turned "
                               "on.")
    # The labels stay where they are, as the documentation warns.
    pending, state = versions.holder(secret, versions.PENDING), _state(secret)
    secret["RotationEnabled"], state["token"] = False, None
    shown = {"ARN": secret["ARN"], "Name": secret["Name"]}
    return json_response(shown | ({"VersionId": pending} if pending else {}))


def _begin(secret, version_id, work):
    """Work on a rotation in the background; `lock` is held by who calls."""
    _state(secret)["token"] = version_id
    account, region = get_account_id(), get_region()

    def run():
        with request_scope(account, region):
            try:
                work(secret, version_id)
            except Exception:       # noqa: BLE001 - a thread's last words
                _log.exception("rotation of %s", secret["Name"])
            finally:
                with versions.lock:
                    if _state(secret)["token"] == version_id:
                        _state(secret)["token"] = None

    threading.Thread(target=contextvars.Context().run, args=(run,), daemon=True, name="secret-rotation").start()


def _alive(secret, version_id):
    """Whether the rotation is still wanted: not cancelled, not abandoned, its secret not deleted."""
    current = service._secrets.get(secret["Name"]) is secret and not secret.get("DeletedDate")
    return current and _state(secret)["token"] == version_id


def _whole(secret, version_id):
    state = _state(secret)
    _say(secret, "RotationStarted", versionId=version_id)
    for attempt in range(max(1, int(state["attempts"]))):
        if attempt:
            time.sleep(float(state["pauseSeconds"]))
        for step in STEPS:
            if not _alive(secret, version_id):
                return
            _, wrong = invoke(secret, version_id, step)
            state["events"].append({"name": step, "time": time.time(), "versionId": version_id, "error": wrong})
            if wrong is not None:
                break
        else:
            with versions.lock:
                if not _alive(secret, version_id):
                    return
                if versions.holder(secret, versions.CURRENT) == version_id:
                    service._remove_stage_everywhere(secret, versions.PENDING)
                    secret["LastRotatedDate"] = int(time.time())
                    state["token"] = None
                    _say(secret, "RotationSucceeded", versionId=version_id)
                    return
                state["events"].append({"name": "unfinished", "time": time.time(), "versionId": version_id})
    if _alive(secret, version_id):
        with versions.lock:
            state["token"] = None
            _say(secret, "RotationFailed", versionId=version_id)


def _test(secret, version_id):
    """The configuration test: testSecret alone; the version goes again."""
    _say(secret, "TestRotationStarted", versionId=version_id)
    _, wrong = invoke(secret, version_id, "testSecret")
    _state(secret)["events"].append({"name": "testSecret", "time": time.time(), "versionId": version_id, "error": wrong})
    with versions.lock:
        service._remove_stage(secret, version_id, versions.PENDING)
        if versions.is_empty(secret["Versions"].get(version_id) or {}):
            secret["Versions"].pop(version_id, None)
        _say(secret, "TestRotationFailed" if wrong is not None else "TestRotationSucceeded", versionId=version_id)


def _version_made(secret, version_id):
    """A version of another id, made while a rotation is under way, ends it."""
    state = _state(secret)
    if state["token"] is not None and state["token"] != version_id:
        state["token"] = None
        service._remove_stage_everywhere(secret, versions.PENDING)
        _say(secret, "RotationAbandoned", versionId=version_id)


def _next_rotation(secret):
    rules, rate = secret.get("RotationRules") or {}, None
    seconds = int(rules["AutomaticallyAfterDays"]) * 86400 if rules.get("AutomaticallyAfterDays") else None
    if rate := _RATE.fullmatch(rules.get("ScheduleExpression") or ""):
        seconds = int(rate.group(1)) * (86400 if rate.group(2).startswith("day") else 3600)
    return seconds and (secret.get("LastRotatedDate") or secret["CreatedDate"]) + seconds


def _describe(data):
    status, headers, body = _ministack_describe(data)
    if status != 200:
        return status, headers, body
    shown = json.loads(body)
    secret = service._resolve(data.get("SecretId"))[1]
    if "RotationEnabled" not in secret:
        shown.pop("RotationEnabled", None)
    elif secret["RotationEnabled"] and (date := _next_rotation(secret)):
        shown["NextRotationDate"] = date
    if secret.get("LastRotatedDate"):
        shown["LastRotatedDate"] = secret["LastRotatedDate"]
    return json_response({name: value for name, value in shown.items() if value is not None})


async def _handle_request(method, path, headers, body, query_params):
    if headers.get("x-amz-target", "").endswith(".CancelRotateSecret"):
        return _cancel(json.loads(body or b"{}"))
    return await _ministack_handle(method, path, headers, body, query_params)


def control(request):
    """What tests ask of the service: see the README's table. The request's account and region are set."""
    with versions.lock:
        secret = service._resolve(request.get("id"))[1]
        if secret is None:
            raise errors.Refused(f"no secret {request.get('id')}")
        state, version_id = _state(secret), request.get("token")
        for name in ("attempts", "pauseSeconds"):
            if request.get(name) is not None:
                state[name] = request[name]
        if request.get("pending"):
            version_id = version_id or new_uuid()
            versions.put(secret, version_id, {"SecretString": None, "SecretBinary": None}, [versions.PENDING])
        if request.get("rotate"):
            if not secret.get("RotationEnabled"):
                raise errors.Refused(f"rotation of {secret['Name']} is not turned on")
            status, _, body = _rotate({"SecretId": secret["ARN"]})
            if status != 200:
                raise errors.Refused(json.loads(body)["message"])
            version_id = json.loads(body)["VersionId"]
    answer = {}
    if request.get("step"):
        payload, wrong = invoke(secret, version_id, request["step"])
        answer = {"payload": payload if not isinstance(payload, bytes) else payload.decode(), "error": wrong}
    with versions.lock:
        return answer | {
            "token": version_id, "underWay": state["token"], "events": list(state["events"]), "arn": secret["ARN"],
            "versions": {name: {"stages": list(one["Stages"]), "empty": versions.is_empty(one)}
                         for name, one in secret["Versions"].items()}}


def install():
    """Replace MiniStack's handlers by these."""
    versions.install()
    versions.made.append(_version_made)
    service._rotate_secret, service._describe_secret = _rotate, _describe
    service.handle_request = _handle_request

"""Deliveries between services as AWS makes them: with the role's permission, retries, and a dead-letter queue.

MiniStack hands an event of a schedule or a rule straight to a function's process. On AWS the schedule's role must
allow the call, a rule's target must allow the service in its resource policy, the invocation is asynchronous (two
retries, then the failure destination, for which the function's role needs permission), and what cannot be delivered
goes to the schedule's own dead-letter queue.
"""

import contextvars
import datetime
import json
import logging
import threading
import time

import ministack.core.iam_evaluator as evaluator
import ministack.services.eventbridge as eventbridge
import ministack.services.lambda_svc as lambda_service
import ministack.services.scheduler as scheduler
import ministack.services.sqs as sqs
from ministack.core.arn import parse_arn
from ministack.core.responses import get_account_id, get_region, new_uuid, set_request_account_id, set_request_region

from . import calls, iam, states

_log = logging.getLogger("lifeboat.delivery")
_TICK_SECONDS = 1
# AWS waits one and two minutes between the attempts of an asynchronous invocation.
_RETRY_SECONDS = (1.0, 2.0)
_THROTTLE_RETRY_SECONDS = 0.5
_ministack_dispatch_lambda = eventbridge._dispatch_to_lambda
_ministack_invoke_target = eventbridge._invoke_target
_ministack_route_failure = lambda_service._route_async_failure
_ministack_new_uuid = lambda_service.new_uuid
_firing = contextvars.ContextVar("lifeboat_firing", default=None)
_request_id = contextvars.ContextVar("lifeboat_request_id", default=None)
_drawn = contextvars.ContextVar("lifeboat_drawn", default=None)


def fire(account, region, name, at=None):
    """Fire a schedule now, as if its time `at` (default: now, to the second) had come; `LookupError` if unknown."""
    set_request_account_id(account)
    set_request_region(region)
    found = [(key, one) for key, one in scheduler._schedules.items() if name in (one["Name"], key)]
    if not found:
        raise LookupError(f"no schedule {name} in account {account}")
    schedule = found[0][1]
    _deliver_schedule(schedule, at or datetime.datetime.now(datetime.timezone.utc))
    return schedule


def _deliver_schedule(schedule, at):
    """The scheduler's delivery: its context attributes filled in, with its role, to its dead-letter queue on failure."""
    target, arn = schedule["Target"], schedule["Target"]["Arn"]
    values = {
        "<aws.scheduler.schedule-arn>": schedule["Arn"], "<aws.scheduler.execution-id>": new_uuid(),
        "<aws.scheduler.scheduled-time>": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "<aws.scheduler.attempt-number>": "1",
    }
    payload = target.get("Input")
    if payload is None:
        payload = "{}"
    for name, value in values.items():
        payload = payload.replace(name, value)
    action = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage", "sns": "sns:Publish"}.get(parse_arn(arn).service)
    source = schedule["Name"]
    if parse_arn(arn).service == "states":
        refused = states.deliver(arn, payload, target["RoleArn"], source)
        return _to_dead_letter_queue(schedule, payload, *refused) if refused else None
    if action is None:
        return _to_dead_letter_queue(schedule, payload, "UnsupportedTarget", f"the local cloud has no target {arn}")
    if not iam.role_may(target["RoleArn"], action, arn, get_region(), source):
        return _to_dead_letter_queue(schedule, payload, "ACCESS_DENIED",
                                     f"{target['RoleArn']} may not {action} on {arn}")
    if action != "lambda:InvokeFunction":
        _ministack_invoke_target({"Arn": arn, "Input": payload}, _event(schedule), schedule)
        return None
    if not _invoke(arn, payload):
        return _to_dead_letter_queue(schedule, payload, "RESOURCE_NOT_FOUND", f"Function not found: {arn}")
    return None


def _event(schedule):
    return {"EventId": new_uuid(), "Source": "aws.scheduler", "DetailType": "Scheduled Event", "Detail": "{}",
            "Time": time.time(), "Resources": [schedule["Arn"]], "Account": get_account_id(), "Region": get_region()}


def _to_dead_letter_queue(schedule, payload, code, message):
    _log.warning("schedule %s not delivered: %s: %s", schedule["Name"], code, message)
    arn = ((schedule["Target"].get("DeadLetterConfig")) or {}).get("Arn")
    if not arn or not iam.role_may(schedule["Target"]["RoleArn"], "sqs:SendMessage", arn, get_region(), schedule["Name"]):
        return
    attributes = {"ERROR_CODE": code, "ERROR_MESSAGE": message, "SCHEDULE_ARN": schedule["Arn"],
                  "TARGET_ARN": schedule["Target"]["Arn"], "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
                  "RETRY_ATTEMPTS": "0"}
    _send(arn, payload, attributes)


def _send(queue_arn, body, attributes):
    url = sqs._queue_url(parse_arn(queue_arn).resource)
    sent = {"QueueUrl": url, "MessageBody": body, "MessageAttributes": {
        name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}}
    sqs._act_send_message(sent, url)


def _invoke(arn, payload):
    """Start an asynchronous invocation; False: there is no such function."""
    function, config, _ = lambda_service._get_func_record_for_ref(arn)
    if not function or not config:
        return False
    record = lambda_service._execution_record_for_config(function, config)
    _invoke_async(record, json.loads(payload))
    return True


def _invoke_target(target, event, rule, view=None):
    """A rule's target, or MiniStack's own tick of a schedule."""
    if event.get("Source") == "aws.scheduler" and "Target" in rule:
        return _deliver_schedule(rule, _scheduled_time(rule["ScheduleExpression"], event["Time"]))
    token = _firing.set((rule, target))
    try:
        return _ministack_invoke_target(target, event, rule, view)
    finally:
        _firing.reset(token)


def _scheduled_time(expression, now):
    """The time that was asked for: the tick comes up to a second late."""
    exact = scheduler._at_time_epoch(expression)
    if exact is None:
        exact = now - now % 60 if expression.strip().startswith("cron") else int(now)
    return datetime.datetime.fromtimestamp(exact, datetime.timezone.utc)


def _dispatch_to_lambda(arn, payload):
    """A rule's delivery to a function, which must allow `events.amazonaws.com` for this rule."""
    rule, target = _firing.get() or ({}, {})
    allowed = _service_may(arn, "events.amazonaws.com", rule.get("Arn", ""))
    calls.record(get_account_id(), "events.amazonaws.com", "lambda:InvokeFunction", arn, allowed, source=rule.get("Name"))
    queue = ((target.get("DeadLetterConfig")) or {}).get("Arn")
    if not allowed or not _invoke(arn, payload):
        code = "NO_PERMISSIONS" if not allowed else "RESOURCE_NOT_FOUND"
        _log.warning("rule %s not delivered to %s: %s", rule.get("Name"), arn, code)
        if queue:
            _send(queue, payload, {"ERROR_CODE": code, "RULE_ARN": rule.get("Arn", ""), "TARGET_ARN": arn})


def _dispatch_to_stepfunctions(arn, payload):
    """A rule's delivery to a state machine, by the role of its target."""
    rule, target = _firing.get() or ({}, {})
    refused = states.deliver(arn, payload, target.get("RoleArn", ""), rule.get("Name"))
    if refused:
        _log.warning("rule %s not delivered to %s: %s: %s", rule.get("Name"), arn, *refused)
        if queue := ((target.get("DeadLetterConfig")) or {}).get("Arn"):
            _send(queue, payload, {"ERROR_CODE": refused[0], "RULE_ARN": rule.get("Arn", ""), "TARGET_ARN": arn})


def _service_may(function_arn, service, source_arn):
    """Whether the function's resource policy lets this service invoke it for this source."""
    found = lambda_service.function_policy_for_arn(function_arn)
    if not found:
        return False
    context = evaluator.EvalContext(
        principal_arn=service, principal_type="Service", principal_account=get_account_id(),
        action="lambda:InvokeFunction", resource_arn=function_arn, region=get_region(), secure_transport=True,
        service_context={"aws:sourcearn": source_arn, "aws:sourceaccount": get_account_id()})
    return evaluator.evaluate_resource_policy(found[0], context, service=service).decision == "Allow"


def _invoke_async(function, event):
    """Asynchronous invocation: the same request id in every attempt, two retries, then the failure destination."""
    def run():
        config = function.get("config") or function
        account, region = lambda_service._account_region_from_function_config(config)
        set_request_account_id(account)
        set_request_region(region)
        name = config.get("FunctionName", "unknown")
        current = lambda_service._functions.get(name) or {}     # its settings as they are now
        settings = current.get("event_invoke_config") or (current.get("event_invoke_configs") or {}).get("$LATEST") or {}
        retries = settings.get("MaximumRetryAttempts")
        retries = 2 if retries is None else int(retries)
        deadline = time.time() + int(settings.get("MaximumEventAgeInSeconds") or 21600)
        _request_id.set(_ministack_new_uuid())
        attempt, result = 0, None
        while name in lambda_service._functions:        # not after the function, or its account, was dropped
            result = lambda_service._execute_function(function, event)
            if result.get("throttle") and time.time() < deadline:       # does not count as an attempt
                time.sleep(_THROTTLE_RETRY_SECONDS)
                continue
            if not result.get("error") and not result.get("throttle"):
                return
            if attempt >= retries or time.time() > deadline:
                break
            time.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
            attempt += 1
        if result is not None and name in lambda_service._functions:
            _failed(config, settings, event, result, _request_id.get(), attempt + 1)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True, name="async-invoke").start()


def _failed(config, settings, event, result, request_id, attempts):
    """Hand an event that failed for good to the function's failure destination or its dead-letter queue."""
    payload = result.get("body")
    destination = ((settings.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
    queue = (config.get("DeadLetterConfig") or {}).get("TargetArn")
    condition = "RetriesExhausted" if not result.get("throttle") else "EventAgeExceeded"
    if destination:
        envelope = {
            "version": "1.0", "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(),
            "requestContext": {"requestId": request_id, "functionArn": config["FunctionArn"] + ":$LATEST",
                               "condition": condition, "approximateInvokeCount": attempts},
            "requestPayload": event,
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST",
                                "functionError": result.get("function_error") or "Unhandled"},
            "responsePayload": payload,
        }
        _to_failure_target(config, destination, json.dumps(envelope), {}, event, result)
    if queue:
        attributes = {"RequestID": request_id, "ErrorCode": "200",
                      "ErrorMessage": str((payload or {}).get("errorMessage", ""))[:1024] or "unknown"}
        _to_failure_target(config, queue, json.dumps(event), attributes, event, result)


def _to_failure_target(config, target, body, attributes, event, result):
    service, name = parse_arn(target).service, config.get("FunctionName", "unknown")
    action = {"sqs": "sqs:SendMessage", "sns": "sns:Publish"}.get(service, "lambda:InvokeFunction")
    if not iam.role_may(config.get("Role", ""), action, target, get_region(), name):
        _log.warning("failed event of %s dropped: its role may not %s on %s", name, action, target)
    elif service == "sqs":
        _send(target, body, attributes)
    else:
        _ministack_route_failure(target, name, event, result)


def _execute_with_request_id(original):
    """MiniStack draws the request id inside; the attempts of one asynchronous invocation share theirs on AWS."""
    def execute(function, event):
        wanted = _request_id.get()
        if wanted is None:
            return original(function, event)
        token = _drawn.set(iter([wanted]))
        try:
            return original(function, event)
        finally:
            _drawn.reset(token)

    return execute


def _new_uuid():
    return next(_drawn.get() or iter(()), None) or _ministack_new_uuid()


def install():
    """Replace MiniStack's deliveries by these, and tick every second."""
    scheduler._SCHEDULE_TICK_INTERVAL = _TICK_SECONDS
    eventbridge._SCHEDULER_TICK_INTERVAL = _TICK_SECONDS
    eventbridge._invoke_target = _invoke_target
    eventbridge._dispatch_to_lambda = _dispatch_to_lambda
    eventbridge._dispatch_to_stepfunctions = _dispatch_to_stepfunctions
    lambda_service.invoke_async_with_retry = _invoke_async
    lambda_service.new_uuid = _new_uuid
    lambda_service._execute_function = _execute_with_request_id(lambda_service._execute_function)

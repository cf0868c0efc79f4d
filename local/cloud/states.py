"""Step Functions as AWS runs them, where MiniStack's interpreter falls short of what a state machine relies on.

A task acts with the machine's role; a function's errors arrive under AWS's names; starting an execution again by its
name gives the same one; a machine's own time limit and StopExecution end an execution in the middle of a wait. Waits and
the pauses between retries can be shortened (`set_time_scale`); limits of time (`TimeoutSeconds`) are never.

Sources: Step Functions Developer Guide, "Handling errors in Step Functions workflows", "Invoke Lambda with Step
Functions"; API reference of StartExecution; AWS's specification of the States Language.
"""

import contextvars
import json
import logging
import re
import threading

import ministack.services.lambda_svc as lambda_service
import ministack.services.stepfunctions as stepfunctions
from ministack.core.responses import error_response_json, get_account_id, get_region, json_response, now_iso, request_scope

from . import iam

_log = logging.getLogger("lifeboat.states")
_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")
_RETRY_ATTEMPTS, _RETRY_SECONDS, _RETRY_RATE = 3, 1, 2.0
_ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
# What States.ALL does not match.
_UNCATCHABLE = ("States.DataLimitExceeded", "States.Runtime")
_ministack_start = stepfunctions._start_execution
_ministack_stop = stepfunctions._stop_execution
_ministack_run = stepfunctions._run_execution
_ministack_fail = stepfunctions._fail_execution
_ministack_retrier = stepfunctions._find_matching_retrier
_current = contextvars.ContextVar("lifeboat_execution", default=None)
_delay = contextvars.ContextVar("lifeboat_retry_delay", default=None)
_lock = threading.RLock()
_scales = {}
_default_scale = 1.0
_ends = {}


class _Ended(BaseException):
    """The execution was ended from outside; no Catch of the machine may see it."""


def set_time_scale(scale, account=None):
    """Waits and pauses between retries take this part of their time, in one account or in all that have none of theirs."""
    global _default_scale
    scale = float(scale)
    if not 0 <= scale <= 1:
        raise ValueError(f"a time scale is between 0 and 1, not {scale}")
    if account is None:
        _default_scale = scale
    else:
        _scales[account] = scale


def time_scale(account):
    """What holds for this account."""
    return _scales.get(account, _default_scale)


def describe(account, region, arn):
    """An execution as tests want it: `{status, input, output, error, cause}`; `LookupError` if there is none."""
    found = stepfunctions._executions.get_scoped(account, region, arn)
    if found is None:
        raise LookupError(f"no execution {arn}")
    return {name: found.get(name) for name in ("status", "input", "output", "error", "cause", "startDate", "stopDate")}


def forget(account):
    """End the executions of an account without a word."""
    with _lock:
        _scales.pop(account, None)
        for arn in [arn for arn in _ends if arn.split(":")[4] == account]:
            execution, end = _ends[arn]
            execution["status"] = "ABORTED"
            end.set()


def _start_execution(data):
    """By name it is idempotent while the execution runs and the input is the same."""
    machine = stepfunctions._resolve_state_machine_arn(data.get("stateMachineArn", ""))
    name, given = data.get("name"), data.get("input", "{}")
    if name is not None and not _NAME.fullmatch(name):
        return error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
    try:
        json.loads(given)
    except ValueError as error:
        return error_response_json("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'", 400)
    with _lock:
        if machine is not None and name is not None:
            machine_name = stepfunctions._state_machines[machine]["name"]
            arn = f"arn:aws:states:{get_region()}:{get_account_id()}:execution:{machine_name}:{name}"
            found = stepfunctions._executions.get(arn)
            if found is not None and found["status"] == "RUNNING" and found["input"] == given:
                return json_response({"executionArn": arn, "startDate": found["startDate"]})
        return _ministack_start(data)


def _stop_execution(data):
    arn = data.get("executionArn")
    with _lock:
        answer = _ministack_stop(data)
        if arn in _ends:
            _ends[arn][1].set()
    return answer


def _run_execution(arn):
    execution = stepfunctions._executions.get(arn)
    if execution is None:
        return
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) or {}
    with _lock:
        if execution["status"] in _ENDED:
            return
        end = threading.Event()
        _ends[arn] = execution, end
    _current.set((execution, machine.get("roleArn", ""), end))
    timer = _limit(machine, execution, end)
    try:
        _ministack_run(arn)
    except _Ended:
        pass
    finally:
        if timer is not None:
            timer.cancel()
        with _lock:
            _ends.pop(arn, None)


def _limit(machine, execution, end):
    """A timer for the machine's own `TimeoutSeconds`."""
    try:
        seconds = json.loads(machine.get("definition") or "{}").get("TimeoutSeconds")
    except ValueError:
        return None
    if not seconds:
        return None

    def expire():
        with _lock:
            if execution["status"] in _ENDED:
                return
            execution["status"], execution["stopDate"] = "TIMED_OUT", now_iso()
            execution["error"] = "States.Timeout"
        stepfunctions._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {
            "error": "States.Timeout"}})
        end.set()
        stepfunctions._emit_execution_status_event(execution)

    timer = threading.Timer(float(seconds), contextvars.copy_context().run, (expire,))
    timer.daemon = True
    timer.start()
    return timer


def _fail_execution(execution, error, cause):
    """Not one that ended already, by its limit or by hand. A failed execution has no output."""
    with _lock:
        if execution["status"] in _ENDED:
            return
        _ministack_fail(execution, error, cause)
        execution["output"] = None


def _scaled_sleep(seconds):
    """A pause that ends with its execution."""
    exact = _delay.get()
    if exact is not None:
        _delay.set(None)
        seconds = exact
    current = _current.get()
    seconds *= time_scale(get_account_id())
    if current is None:
        threading.Event().wait(seconds)
    elif current[2].wait(seconds):
        raise _Ended()


def _find_matching_retrier(retriers, error, retry_counts):
    """With `MaxDelaySeconds`, and without the stand-in's own limit of a minute."""
    retrier, index = _ministack_retrier(retriers, error, retry_counts)
    if retrier is not None:
        rate = retrier.get("BackoffRate", _RETRY_RATE) ** retry_counts.get(index, 0)
        delay = retrier.get("IntervalSeconds", _RETRY_SECONDS) * rate
        _delay.set(min(delay, retrier.get("MaxDelaySeconds", delay)))
    return retrier, index


def _error_matches(error_equals, error):
    if error in error_equals:
        return True
    if error in _UNCATCHABLE:
        return False
    return "States.ALL" in error_equals or ("States.TaskFailed" in error_equals and error != "States.Timeout")


def _call_lambda(reference, event):
    """Invoke a function as the machine's role, synchronously; its failure is the task's."""
    current = _current.get()
    if current is not None and current[0]["status"] in _ENDED:
        raise _Ended()
    function, config, name = lambda_service._get_func_record_for_ref(reference)
    arn = (config or {}).get("FunctionArn") or f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{name}"
    if current is not None:
        source = current[0]["stateMachineArn"].rsplit(":", 1)[-1]
        if not iam.role_may(current[1], "lambda:InvokeFunction", arn, get_region(), source):
            account, role = current[1].split(":")[4], current[1].rsplit("/", 1)[-1]
            raise _failure("Lambda.AWSLambdaException", "AccessDeniedException", 403,
                           f"User: arn:aws:sts::{account}:assumed-role/{role}/{source} is not authorized to perform: "
                           f"lambda:InvokeFunction on resource: {arn} because no identity-based policy allows the "
                           "lambda:InvokeFunction action")
    if not function or not config:
        raise _failure("Lambda.ResourceNotFoundException", "ResourceNotFoundException", 404, f"Function not found: {arn}")
    record = lambda_service._execution_record_for_config(function, config)
    result = lambda_service._execute_function_with_config_scope(record, event)
    body = result.get("body")
    if result.get("throttle"):
        raise _failure("Lambda.TooManyRequestsException", "TooManyRequestsException", 429,
                       (body or {}).get("message") or "Rate Exceeded.")
    if result.get("error"):
        if not isinstance(body, dict):
            raise stepfunctions._ExecutionError("Lambda.Unknown", str(body))
        raise stepfunctions._ExecutionError(body.get("errorType") or "Lambda.Unknown", json.dumps(body))
    if isinstance(body, (str, bytes)):
        try:
            return json.loads(body)
        except ValueError:
            return body
    return body


def _failure(error, code, status, message):
    return stepfunctions._ExecutionError(error, f"{message} (Service: AWSLambda; Status Code: {status}; "
                                                f"Error Code: {code})")


def deliver(arn, payload, role, source):
    """Start an execution for a schedule or a rule, as its role; the reason when it cannot be, else None."""
    if not iam.role_may(role, "states:StartExecution", arn, get_region(), source):
        return "ACCESS_DENIED", f"{role} may not states:StartExecution on {arn}"
    parts = arn.split(":")
    with request_scope(parts[4], parts[3]):
        status, _, body = _start_execution({"stateMachineArn": arn, "input": payload})
    if status >= 400:
        answer = json.loads(body)
        return answer.get("__type", "FAILED").split("#")[-1], answer.get("message", "")
    return None


def problem(definition):
    """What AWS would refuse in a definition, or None: no JSON, states that are missing, states without a way on."""
    try:
        machine = json.loads(definition)
    except ValueError as error:
        return f"INVALID_JSON_DESCRIPTION: {error}"
    return _problem_of(machine, "")


def _problem_of(machine, where):
    states = machine.get("States")
    if not isinstance(states, dict) or not states:
        return f"SCHEMA_VALIDATION_FAILED: {where}/States is needed"
    if machine.get("StartAt") not in states:
        return f"MISSING_TRANSITION_TARGET: {where}/StartAt is {machine.get('StartAt')!r}"
    reached = {machine["StartAt"]}
    for name, state in states.items():
        ways = [state[key] for key in ("Next", "Default") if key in state]
        ways += [one["Next"] for key in ("Choices", "Catch") for one in state.get(key, []) if "Next" in one]
        for way in ways:
            if way not in states:
                return f"MISSING_TRANSITION_TARGET: {where}/States/{name} goes to {way!r}, which does not exist"
        reached.update(ways)
        ends = state.get("Type") in ("Succeed", "Fail", "Choice") or state.get("End") is True
        if not ends and "Next" not in state:
            return f"SCHEMA_VALIDATION_FAILED: {where}/States/{name} has neither Next nor End"
        for number, branch in enumerate(state.get("Branches", [])):
            if found := _problem_of(branch, f"{where}/States/{name}/Branches[{number}]"):
                return found
    if lost := sorted(set(states) - reached):
        return f"MISSING_TRANSITION_TARGET: {where}/States: no way leads to {', '.join(lost)}"
    return None


def install(scale):
    """Replace MiniStack's functions by these."""
    set_time_scale(scale)
    for function in (_start_execution, _stop_execution, _run_execution, _fail_execution, _scaled_sleep,
                     _find_matching_retrier, _error_matches, _call_lambda):
        setattr(stepfunctions, function.__name__, function)

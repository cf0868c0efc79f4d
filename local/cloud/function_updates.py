"""Updates of functions as Lambda makes them, where MiniStack differs.

| what | MiniStack | here, as on AWS |
|---|---|---|
| State during an update | Pending | Active; LastUpdateStatus is InProgress |
| an update during an update | accepted | ResourceConflictException, 409 |
| an invocation during an update | killed, in every account that has a function of that name | ends as it began |

A stale RevisionId is refused with 412 by MiniStack already. Source: Lambda Developer Guide, "Lambda function states"; API
reference of UpdateFunctionConfiguration.
"""

import contextvars

import ministack.core.lambda_runtime as runtime
import ministack.services.lambda_svc as lambda_service
from ministack.core.responses import error_response_json, get_account_id, get_region, request_scope

_ministack_release = runtime.release_worker
_SETTLED = {"State": "Active", "StateReason": "", "StateReasonCode": "", "LastUpdateStatus": "Successful",
            "LastUpdateStatusReason": "", "LastUpdateStatusReasonCode": ""}
# Processes that serve an invocation of before the update, with their pool's key.
_retired = {}
_updating = contextvars.ContextVar("lifeboat_function_update", default=False)


def _guarded(update):
    """An update that is refused while another one is under way, and leaves the function active."""
    def guarded(name, data):
        config = (lambda_service._functions.get(name) or {}).get("config") or {}
        if config.get("LastUpdateStatus") == "InProgress":
            what = ("The function is currently in the following state: Pending" if config.get("State") == "Pending" else
                    f"An update is in progress for resource: {config.get('FunctionArn')}")
            return error_response_json("ResourceConflictException", f"The operation cannot be performed at this time. {what}",
                                       409)
        token = _updating.set(True)
        try:
            answer = update(name, data)
        finally:
            _updating.reset(token)
        if answer[0] == 200:
            config |= {"State": "Active", "StateReason": "", "StateReasonCode": ""}
            return answer[0], answer[1], lambda_service.json_response(config)[2]
        return answer

    return guarded


def _invalidate(name, qualifier=None, account=None, region=None):
    """New invocations get a new process; those under way when a function is updated keep theirs to their end."""
    account, region = account or get_account_id(), region or get_region()
    doomed = []
    with runtime._lock:
        for key in list(runtime._workers):
            parts = key.split(":")
            if parts[:3] == [account, region, name] and qualifier in (None, parts[-1]):
                for worker in runtime._workers.pop(key):
                    if worker.in_use and _updating.get():
                        _retired[worker] = key
                    else:
                        doomed.append(worker)
    runtime.kill_workers(doomed)


def _release(worker):
    _ministack_release(worker)
    with runtime._lock:
        doomed = _retired.pop(worker, None) is not None
    if doomed:
        runtime.kill_workers([worker])


def take_retired(account):
    """The processes of an account that end with their invocation, to be ended now; the runtime's lock is held."""
    return [_retired.pop(worker) and worker for worker, key in list(_retired.items()) if key.startswith(f"{account}:")]


def settle(account, region, name):
    """End a function's creation or update now: CloudFormation waits for it."""
    with request_scope(account, region):
        config = (lambda_service._functions.get(name) or {}).get("config")
        if config and config.get("LastUpdateStatus") == "InProgress":
            config.update(_SETTLED)


def install():
    """Replace MiniStack's functions by these."""
    lambda_service._update_config = _guarded(lambda_service._update_config)
    lambda_service._update_code = _guarded(lambda_service._update_code)
    lambda_service.invalidate_worker = runtime.invalidate_worker = _invalidate
    lambda_service.release_worker = runtime.release_worker = _release

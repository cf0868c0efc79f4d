"""Dropping an account: everything it has, at once, so that a long test run does not grow."""

import sys

import ministack.core.lambda_runtime as runtime
from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict

from . import calls, function_updates, rds_front, replication, states

_OURS = __name__.rpartition(".")[0] + "."


def drop(account):
    """End the account's databases and functions, forget all its resources; returns what was ended."""
    databases = 0
    states.forget(account)
    for backend in rds_front.plane().backends(account).values():
        databases += len(backend.databases)
        backend.drop_everything()
    workers = _end_functions(account)
    forgotten = 0
    for name, module in list(sys.modules.items()):
        if name.startswith(("ministack.", _OURS)) and module is not None:
            for store in list(vars(module).values()):
                if isinstance(store, (AccountScopedDict, AccountRegionScopedDict)):
                    mine = [key for key in list(store._data) if key[0] == account]
                    for key in mine:
                        store._data.pop(key, None)
                    forgotten += len(mine)
    # A function that was in the middle of an invocation may have been started again by it.
    workers += _end_functions(account)
    calls.forget(account)
    replication.forget(account)
    return {"databases": databases, "functionProcesses": workers, "resources": forgotten}


def _end_functions(account):
    with runtime._lock:
        keys = [key for key in runtime._workers if key.startswith(f"{account}:")]
        doomed = [worker for key in keys for worker in runtime._workers.pop(key)] + function_updates.take_retired(account)
    runtime.kill_workers(doomed)
    for worker in doomed:
        if worker._proc is not None:
            worker._proc.end()
    return len(doomed)

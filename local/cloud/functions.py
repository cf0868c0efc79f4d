"""How a function's process runs: with the function's environment only, its own temporary folder, its own group.

MiniStack's local executor starts `bootstrap` and speaks the Lambda runtime API with it. What we change: the
environment is built from nothing instead of from the cloud's own; `TMPDIR` belongs to the process and goes with it; a
timeout ends the whole process group (a pg_dump too), as it does in Lambda, where the whole environment is frozen.
"""

import os
import shutil
import subprocess
import tempfile
import time
import types

import ministack.core.lambda_runtime as runtime
import ministack.services.cloudwatch_logs as cloudwatch_logs
import ministack.services.lambda_svc as lambda_service
import ministack.services.sts as sts
from ministack.core.responses import get_account_id, get_region

from . import calls, iam, processes

_CREDENTIALS_SECONDS = 30 * 24 * 3600

_endpoint = ""
_stand_ins = {}
_ministack_emit_logs = lambda_service._emit_lambda_logs
_ministack_credentials = runtime.execution_credentials


class FunctionProcess(subprocess.Popen):
    """A bootstrap process; ending it ends its group and removes its temporary folder."""

    temporary = None

    def poll(self):
        """The exit code, once it has ended; what it started ends with it.

        The group is ended before the leader is collected: after that its number may be somebody else's.
        """
        if self.returncode is None:
            try:
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    processes.end_group(self.pid)
            except ChildProcessError:
                pass
        return super().poll()

    def end(self):
        """End the process and all that it started, and collect it."""
        if self.poll() is None:
            processes.end_group(self.pid)
        try:
            self.wait(5)
        except subprocess.TimeoutExpired:
            pass
        if self.temporary:
            shutil.rmtree(self.temporary, ignore_errors=True)

    terminate = kill = end


def _popen(argv, *, env, cwd, stdin, stdout, stderr, **_):
    temporary = tempfile.mkdtemp(prefix="function-")
    env = {**env, "TMPDIR": temporary, "HOME": temporary}
    process = processes.spawn(argv, kind=FunctionProcess, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr)
    process.temporary = temporary
    return process


def _end(process):
    if process is not None:
        process.end()


def _collect(process, _deadline):
    _end(process)


def _credentials(config):
    found = _ministack_credentials(config)
    # Credentials without an end are none for a login by IAM. These end after the cloud: a warm process keeps them.
    sts._sessions[found["AWS_ACCESS_KEY_ID"]]["Expiration"] = time.time() + _CREDENTIALS_SECONDS
    calls.function_key(found["AWS_ACCESS_KEY_ID"], config.get("FunctionName", ""))
    return found


def _environment(config, code_folder, port):
    """What Lambda sets, the function's own variables, and stand-ins for what its layers would bring."""
    name, region = config.get("FunctionName", "unknown"), get_region()
    group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{name}"
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin", "LANG": "en_US.UTF-8", "TZ": ":UTC",
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}", "AWS_REGION": region, "AWS_DEFAULT_REGION": region,
        "AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
        "AWS_LAMBDA_FUNCTION_VERSION": config.get("Version", "$LATEST"), "AWS_LAMBDA_LOG_GROUP_NAME": group,
        "AWS_LAMBDA_LOG_STREAM_NAME": time.strftime("%Y/%m/%d/[$LATEST]") + os.urandom(16).hex(),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "LAMBDA_TASK_ROOT": code_folder,
        "_HANDLER": config.get("Handler", "bootstrap"),
    }
    logging = config.get("LoggingConfig") or {}
    if logging.get("LogFormat") == "JSON":
        environment["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        environment["AWS_LAMBDA_LOG_LEVEL"] = logging.get("ApplicationLogLevel", "INFO")
    environment |= _credentials(config)
    environment |= lambda_service._runtime_env_vars(config)
    for variable, value in _stand_ins.items():
        if environment.get(variable, "/opt/").startswith("/opt/"):
            environment[variable] = value
    # Last, so that no function can be configured to talk to the real AWS.
    environment["AWS_ENDPOINT_URL"] = _endpoint
    return environment


def _emit_logs(function, *arguments, **options):
    """Logs appear only if the function's role lets them: Lambda writes them with its permissions."""
    config = function.get("config") or function
    name, region = config.get("FunctionName", "unknown"), get_region()
    group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{name}"
    arn = f"arn:aws:logs:{region}:{get_account_id()}:log-group:{group}"
    needed = [("logs:CreateLogStream", arn + ":log-stream:new"), ("logs:PutLogEvents", arn + ":log-stream:new")]
    if group not in cloudwatch_logs._log_groups:
        needed.insert(0, ("logs:CreateLogGroup", arn + ":*"))
    if all([iam.role_may(config.get("Role", ""), action, resource, region, name) for action, resource in needed]):
        _ministack_emit_logs(function, *arguments, **options)


def install(endpoint, stand_ins):
    """Patch MiniStack's executor; `stand_ins` are variables that replace an absent value and one below /opt."""
    global _endpoint
    _endpoint = endpoint
    _stand_ins.update(stand_ins)
    shim = types.SimpleNamespace(**{name: getattr(subprocess, name) for name in dir(subprocess)
                                    if not name.startswith("__")})
    shim.Popen = _popen
    runtime.subprocess = shim
    runtime._signal, runtime._collect = _end, _collect
    runtime.execution_credentials = _credentials
    lambda_service.execution_credentials = _credentials
    lambda_service._provided_worker_env = _environment
    lambda_service._emit_lambda_logs = _emit_logs

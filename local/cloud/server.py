"""Puts the parts together and serves them on one port.

MiniStack reads its settings from the environment when it is imported, so they are set first; the patches follow, then
the web server. What the driver reads (one JSON line) goes to the standard output that the process was started with,
everything else into `cloud.log`.
"""

import asyncio
import json
import logging
import os
import sys
import tempfile
import threading

from . import binaries, certificates, postgres, processes, supervisor

REGION = "eu-central-1"
# The account of internal work that belongs to nobody; tests bring their own.
_DEFAULT_ACCOUNT = "123456789012"
_SCRATCH = "lifeboat-postgres-"
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")


def _set_environment(port, folder, endpoint):
    """A clean environment: nothing of the caller's (real AWS credentials, tokens) may reach MiniStack or a function."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    os.environ.clear()
    os.environ.update(kept)
    temporary = os.path.join(folder, "tmp")
    os.makedirs(temporary, exist_ok=True)
    tempfile.tempdir = temporary
    os.environ.update({
        "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "MINISTACK_ACCOUNT_ID": _DEFAULT_ACCOUNT,
        "S3_DATA_DIR": os.path.join(folder, "s3"), "STATE_DIR": os.path.join(folder, "state"), "TMPDIR": temporary,
        "HOME": temporary, "LAMBDA_EXECUTOR": "local", "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "AUTH": "true",
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": _DEFAULT_ACCOUNT, "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true", "DOCKER_HOST": "unix:///nonexistent", "LOG_LEVEL": "INFO",
        "MOTO_RDS_SNAPSHOT_LIMIT": "1000",
    })


def _log_to(folder):
    """Send standard output and error, ours and every library's, to the log; returns the original output."""
    ready_output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    log = os.open(os.path.join(folder, "cloud.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    logging.getLogger("hypercorn.access").setLevel(logging.WARNING)
    return ready_output


def _postgres_root(folder):
    """Below the working folder if PostgreSQL's user can get there, else below the system's temporary folder."""
    inside = os.path.join(folder, "postgres")
    os.makedirs(inside, mode=0o755, exist_ok=True)
    if binaries.reachable(inside):
        return inside
    processes.sweep_scratch(_SCRATCH)
    outside = tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-", dir="/tmp")
    os.chmod(outside, 0o755)
    processes.note_scratch(folder, outside)
    return outside


def serve(arguments, folder, alive):
    """Serve until ended by the supervisor; `alive` is a pipe that ends when the supervisor is gone."""
    endpoint = f"http://127.0.0.1:{arguments.port}"
    threading.Thread(target=_watch, args=(alive, folder), daemon=True, name="supervisor-watch").start()
    root = _postgres_root(folder)
    ready_output = _log_to(folder)
    _set_environment(arguments.port, folder, endpoint)
    log = logging.getLogger("lifeboat")
    authority = certificates.Authority(folder)
    place = postgres.Place(root, binaries.find(arguments.postgres), authority, log)
    from . import assembly

    application = assembly.build(place, arguments.functions, endpoint, arguments.time_scale)
    ready = {"ready": True, "endpoint": endpoint, "pid": os.getppid(), "caFile": authority.file}

    def say_ready():
        ready_output.write(json.dumps(ready) + "\n")
        ready_output.close()
        assembly.warm(place)

    asyncio.run(_serve_http(application, arguments.port, say_ready))


def _watch(alive, folder):
    while os.read(alive, 1):
        pass
    supervisor.abandoned(folder)


async def _serve_http(application, port, say_ready):
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.accesslog = None
    config.errorlog = "-"
    started = asyncio.Event()

    async def announcing(scope, receive, send):
        if scope["type"] != "lifespan":
            return await application(scope, receive, send)

        async def noticing(message):
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                started.set()

        return await application(scope, receive, noticing)

    serving = asyncio.create_task(hypercorn_serve(announcing, config, mode="asgi"))
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    while not serving.done():       # the port is bound right after the lifespan's startup
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            say_ready()
            break
        except OSError:
            await asyncio.sleep(0.01)
    await serving


if __name__ == "__main__":
    sys.exit("start it by `python -m cloud`")

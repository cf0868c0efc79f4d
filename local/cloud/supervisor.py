"""Ends everything the cloud started, whatever happened to whom.

The supervisor is the process the driver started; the server is its forked child. The supervisor is a child subreaper,
so an orphan (a PostgreSQL whose parent was killed, a pg_dump whose bootstrap died) becomes its child instead of
escaping to init. Standard input at end-of-file means that the driver is gone, also by SIGKILL.

| who dies            | who cleans up                                                           |
|---------------------|-------------------------------------------------------------------------|
| the driver          | the supervisor: its standard input ends                                 |
| the server          | the supervisor: its child ended                                         |
| the supervisor      | the server: the pipe from the supervisor ends                           |
| both at once        | the kernel: every process asked for a parent-death signal (processes.py)|

It never ends a process that is not its own descendant.
"""

import os
import select
import shutil
import signal

from . import processes

_EXIT_AFTER_SIGNAL = 0


def run(arguments):
    """Serve until standard input ends or a signal arrives; returns the exit status."""
    folder = os.path.abspath(arguments.folder)
    os.makedirs(folder, exist_ok=True)
    processes.become_subreaper()
    alive_read, alive_write = os.pipe()     # the server reads: end-of-file means that the supervisor is gone
    wake_read, wake_write = os.pipe()       # signals wake the select below
    os.set_blocking(wake_write, False)
    server = os.fork()
    if server == 0:
        for unused in (alive_write, wake_read, wake_write):
            os.close(unused)
        _serve(arguments, folder, alive_read)
    os.close(alive_read)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    status = _wait(server, wake_read)
    processes.end_descendants()
    remove(folder)
    return status


def _wait(server, wake_read):
    """Block until the driver, a signal or the server's own end says stop; returns the exit status."""
    while True:
        readable, _, _ = select.select([0, wake_read], [], [])
        if 0 in readable and not os.read(0, 65536):
            return _EXIT_AFTER_SIGNAL
        if wake_read in readable:
            signals = os.read(wake_read, 4096)
            if any(number in signals for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)):
                return _EXIT_AFTER_SIGNAL
            # Orphans of the server are ours to collect, too.
            if signal.SIGCHLD in signals and (code := processes.collect(server)) is not None:
                return code or 1


def _serve(arguments, folder, alive_read):
    """The forked child: becomes the server; never returns."""
    status = 1
    complaints = os.fdopen(os.dup(2), "w", encoding="utf-8")    # standard error becomes the log, which goes, too
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        signal.signal(signal.SIGINT, signal.SIG_IGN)    # Ctrl-C reaches the whole group; the supervisor decides
        from . import server

        server.serve(arguments, folder, alive_read)
        status = 0
    except BaseException as error:      # noqa: BLE001 - the last place that can say why
        import traceback

        traceback.print_exc(file=complaints)
        print(f"cloud: {error}", file=complaints, flush=True)
    finally:
        os._exit(status)


def abandoned(folder):
    """The server's way out when its supervisor is gone: the same cleaning, then exit."""
    processes.become_subreaper()
    processes.end_descendants()
    remove(folder)
    os._exit(1)


def remove(folder):
    """Remove the working folder and what `processes.scratch` made outside it."""
    for path in (*processes.scratch_folders(folder), folder):
        shutil.rmtree(path, ignore_errors=True)

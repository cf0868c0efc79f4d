"""Runs one command and ends it, with all that it started, when the driver is gone.

`python3 -I -S guard.py LOG COMMAND...`: standard input is held open by the driver, so its end means that the driver
died, also by SIGKILL. Until then each byte on it is an order: `g` kills everything, `o` kills the command alone and
leaves its children, `s` stops and `c` continues everything. LOG is `tell` (the first line on standard output is then
`pid N`) or `quiet`. Ends as the command ended. It never signals a process that is not its own descendant.
"""

import ctypes
import os
import select
import signal
import sys

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def descendants():
    """All living descendants; orphans among them are our children, because we are a subreaper."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                text = file.read()
        except OSError:
            continue
        state, parent = text[text.rindex(b")") + 2:].split()[:2]
        if state != b"Z":
            children.setdefault(int(parent), []).append(int(entry))
    found, waiting = [], [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def signal_all(number):
    """Signal every descendant; says whether there was one."""
    living = descendants()
    for pid in living:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
    return bool(living)


def start(command):
    """Fork the command into a session of its own."""
    guard, pid = os.getpid(), os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def collect(pid):
    """Collect all that ended; the wait status of `pid` if it is among them."""
    status = None
    try:
        while True:
            ended, how = os.waitpid(-1, os.WNOHANG)
            if not ended:
                return status
            if ended == pid:
                status = how
    except ChildProcessError:
        return status


def end_all(pid):
    """Kill until nothing is left, then return the wait status of `pid` if it was still to be collected."""
    status = None
    while signal_all(signal.SIGKILL):
        collected = collect(pid)
        status = status if collected is None else collected
        select.select([], [], [], 0.005)
    collected = collect(pid)
    return status if collected is None else collected


def leave(status):
    """End as the command did."""
    if status is None:
        os._exit(1)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def main(log, command):
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    pid = start(command)
    if log == "tell":
        os.write(1, f"pid {pid}\n".encode())
    # Only the command writes to the pipes from here on: they end when it and its children end.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    status, patient = None, False
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            signals = os.read(wake, 4096)
            ended = collect(pid)
            status = status if ended is None else ended
            if any(number in signals for number in (signal.SIGTERM, signal.SIGHUP)):
                break
            if status is not None and not (patient and descendants()):
                break
        if 0 in ready:
            orders = os.read(0, 4096)
            if not orders or b"g" in orders:
                break
            if b"o" in orders:
                patient = True
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if b"s" in orders:
                signal_all(signal.SIGSTOP)
            if b"c" in orders:
                signal_all(signal.SIGCONT)
    ended = end_all(pid)
    leave(status if ended is None else ended)


main(sys.argv[1], sys.argv[2:])

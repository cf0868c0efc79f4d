"""Starting and ending processes so that none outlives the cloud.

Every child is started from one thread that lives as long as the server, because Linux ties the parent-death signal to
the *thread* that forked. Every child leads its own session, so that it ends together with what it started itself.
"""

import ctypes
import os
import queue
import shutil
import signal
import subprocess
import threading
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)
_GRACE_SECONDS = 5.0
_SCRATCH_NOTE = "scratch-folders"


def become_subreaper():
    """Orphans among our descendants become our children."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class Spawner:
    """Runs every fork in one long-lived thread."""

    def __init__(self):
        self._work = queue.Queue()
        threading.Thread(target=self._loop, daemon=True, name="spawner").start()

    def _loop(self):
        while True:
            make, answer = self._work.get()
            try:
                answer.put((make(), None))
            except BaseException as error:      # noqa: BLE001 - handed to the caller
                answer.put((None, error))

    def call(self, make):
        """Run `make` in the spawning thread and return its result (or raise its error)."""
        answer = queue.Queue()
        self._work.put((make, answer))
        result, error = answer.get()
        if error is not None:
            raise error
        return result


_spawner = None
_spawner_lock = threading.Lock()


def spawn(argv, death_signal=signal.SIGKILL, user=None, kind=subprocess.Popen, **options):
    """Start `argv` in its own session; the kernel sends it `death_signal` when the server dies.

    `user` is a `(uid, gid)` to become. The parent-death signal is set after that: changing identity clears it.
    """
    global _spawner
    with _spawner_lock:
        _spawner = _spawner or Spawner()
    parent = os.getpid()

    def before_exec():
        if user is not None:
            os.setgroups([])
            os.setgid(user[1])
            os.setuid(user[0])
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:      # died between fork and prctl
            os._exit(1)

    return _spawner.call(lambda: kind(argv, start_new_session=True, preexec_fn=before_exec, **options))


def run(argv, user=None, environment=None, timeout=120):
    """Run a command to its end and return its standard output; raises `RuntimeError` with what it said."""
    process = spawn(argv, user=user, env=environment, cwd="/", stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        end_group(process.pid)
        process.communicate()
        raise
    if process.returncode:
        raise RuntimeError(f"{argv[0]}: exit {process.returncode}: {err.decode(errors='replace')[-800:]}")
    return out.decode()


def end_group(leader, number=signal.SIGKILL):
    """Signal a whole process group; a group that is already gone is fine."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        pass


def collect(pid):
    """Collect every child that has ended; the exit code of `pid` if it is among them, else None."""
    code = None
    try:
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                return code
            if ended == pid:
                code = os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        return code if code is not None else 0


def descendants():
    """The pids and names of all living descendants of this process."""
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                text = stat.read()
        except OSError:
            continue
        name = text[text.index("(") + 1:text.rindex(")")]
        state, parent = text[text.rindex(")") + 2:].split()[:2]
        children.setdefault(int(parent), []).append((int(entry), name, state))
    found, waiting = {}, [os.getpid()]
    while waiting:
        for pid, name, state in children.get(waiting.pop(), []):
            if state != "Z":
                found[pid] = name
            waiting.append(pid)
    return found


def end_descendants():
    """End every descendant: PostgreSQL by SIGQUIT first (it then frees its shared memory), all others by SIGKILL."""
    deadline = time.monotonic() + _GRACE_SECONDS
    asked = set()
    while living := descendants():
        for pid, name in living.items():
            patient = name in ("postgres", "postmaster") and time.monotonic() < deadline
            if patient and pid in asked:
                continue
            asked.add(pid)
            try:
                os.kill(pid, signal.SIGQUIT if patient else signal.SIGKILL)
            except ProcessLookupError:
                pass
        collect(0)
        time.sleep(0.01)
        if time.monotonic() > deadline + _GRACE_SECONDS:
            return
    collect(0)


def note_scratch(folder, path):
    """Remember a folder made outside the working folder, so that whoever cleans up finds it."""
    with open(os.path.join(folder, _SCRATCH_NOTE), "a", encoding="utf-8") as note:
        note.write(path + "\n")


def scratch_folders(folder):
    """The folders noted by `note_scratch`."""
    try:
        with open(os.path.join(folder, _SCRATCH_NOTE), encoding="utf-8") as note:
            return [line for line in note.read().splitlines() if line.startswith("/")]
    except OSError:
        return []


def sweep_scratch(prefix):
    """Remove the scratch folders in /tmp of clouds that were killed together with their supervisor."""
    for name in os.listdir("/tmp"):
        owner = name.removeprefix(prefix).split("-")[0]
        if name.startswith(prefix) and owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            shutil.rmtree(os.path.join("/tmp", name), ignore_errors=True)

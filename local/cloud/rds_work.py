"""Work of the RDS plane that takes time: threads that set a state when they are done."""

import threading
import time

# A transitional state is shown at least this long, so that a client that polls can see it.
STATE_SECONDS = 0.1


class Worker(threading.Thread):
    """A thread that survives moto's copying of what refers to it."""

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


def background(log, holders, name, work, then, gate=None):
    """Run `work` after the first holder's earlier work; then, when `gate` is open, set states by `then(failed)`.

    `holders` remember the thread as their `worker`.
    """
    earlier = getattr(holders[0], "worker", None)

    def run():
        if earlier is not None:
            earlier.join()
        started, failed = time.monotonic(), False
        try:
            work()
        except Exception as error:      # noqa: BLE001 - shown as the state `failed` and in the log
            failed = True
            log.exception("RDS %s: %s", name, error)
        time.sleep(max(0.0, STATE_SECONDS - (time.monotonic() - started)))
        if gate is not None:
            gate.wait()
        then(failed)

    worker = Worker(target=run, daemon=True, name=f"rds-{name}")
    for holder in holders:
        holder.worker = worker
    worker.start()

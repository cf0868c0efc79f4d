"""What tests set of the RDS plane, below `POST /_lifeboat/rds`: quotas, failures, and how an instance looks."""

import dataclasses
import datetime
import signal
import threading

from . import errors


def _open_gate():
    gate = threading.Event()
    gate.set()
    return gate


@dataclasses.dataclass
class Settings:
    """Of one account and region. The defaults are AWS's, but for the instances: a test run keeps many in one account."""

    snapshot_quota: int = 100
    instance_quota: int = 400
    copies_in_progress_max: int = 20
    fail_next_snapshots: int = 0
    fail_next_copies: int = 0
    fail_next_restores: int = 0
    # What a restore that fails ends as: `incompatible-restore`, `failed`, `incompatible-network`.
    failed_restore_status: str = "incompatible-restore"
    # Closed: what is under way stays `creating`.
    snapshots_gate: threading.Event = dataclasses.field(default_factory=_open_gate)
    copies_gate: threading.Event = dataclasses.field(default_factory=_open_gate)
    restores_gate: threading.Event = dataclasses.field(default_factory=_open_gate)
    # Closed: what is deleted stays `deleting`.
    deletes_gate: threading.Event = dataclasses.field(default_factory=_open_gate)

    def take(self, name):
        """Whether the next one is to fail; counts down."""
        left = getattr(self, name)
        setattr(self, name, max(0, left - 1))
        return left > 0

    def open(self):
        """Let everything that is under way end."""
        for field in _GATES.values():
            getattr(self, field).set()


_NUMBERS = {"snapshotQuota": "snapshot_quota", "instanceQuota": "instance_quota",
            "copiesInProgressMax": "copies_in_progress_max", "failNextSnapshots": "fail_next_snapshots",
            "failNextCopies": "fail_next_copies", "failNextRestores": "fail_next_restores"}
_GATES = {"holdSnapshots": "snapshots_gate", "holdCopies": "copies_gate", "holdRestores": "restores_gate",
          "holdDeletes": "deletes_gate"}
_INSTANCE = {"status": "status", "backupRetentionPeriod": "backup_retention_period",
             "storageEncrypted": "storage_encrypted", "kmsKeyId": "kms_key_id", "multiAZ": "multi_az",
             "deletionProtection": "deletion_protection", "publiclyAccessible": "publicly_accessible"}
# Done to the server behind the instance, whose state in RDS stays as it is.
_SERVER = {"stopServer": lambda server: server.stop(), "killServer": lambda server: server.stop(signal.SIGQUIT),
           "startServer": lambda server: server.start(), "archiveNow": lambda server: server.archive_now()}
# Of a replica: how it follows.
_REPLICA = {"replay": lambda server, mode: server.set_replay(mode),
            "applyDelayMilliseconds": lambda server, delay: server.set_apply_delay(delay)}
_POSTURE = {"latestRestorableTime": "latest_restorable_time", "certificateValidTill": "certificate_valid_till",
            "pendingMaintenance": "pending_maintenance"}
_SNAPSHOT = {"status": "status", "createdAt": "created", "percentProgress": "percent_progress",
             "kmsKeyId": "kms_key_id", "encrypted": "encrypted"}
_TIMES = ("latestRestorableTime", "certificateValidTill", "createdAt")


def change(backend, request):
    """Set what the request names; answers what holds now. `instance` or `snapshot` names whose fields are set."""
    wanted = {name: value for name, value in request.items() if name not in ("account", "region", "instance", "snapshot")}
    if "instance" in request:
        _set_instance(_found(backend.databases, request["instance"]), wanted)
    elif "snapshot" in request:
        _set_snapshot(_found(backend.database_snapshots, request["snapshot"]), wanted)
    else:
        _set_region(backend.settings, wanted)
    settings = backend.settings
    return {name: getattr(settings, field) for name, field in _NUMBERS.items()} | {
        name: not getattr(settings, field).is_set() for name, field in _GATES.items()} | {
        "manualSnapshots": backend.manual_snapshots()}


def _set_region(settings, wanted):
    for name, value in wanted.items():
        if name in _NUMBERS:
            setattr(settings, _NUMBERS[name], int(value))
        elif name == "failedRestoreStatus":
            settings.failed_restore_status = value
        elif name in _GATES:
            gate = getattr(settings, _GATES[name])
            gate.clear() if value else gate.set()
        else:
            raise errors.Refused(f"no setting {name}")


def _set_instance(instance, wanted):
    for name, value in wanted.items():
        if name in _SERVER:
            if value:
                _SERVER[name](instance.server)
        elif name in _REPLICA:
            _REPLICA[name](instance.server, value)
        elif name in _INSTANCE:
            setattr(instance, _INSTANCE[name], value)
        elif name in _POSTURE:
            instance.posture[_POSTURE[name]] = _time(value) if name in _TIMES else value
        else:
            raise errors.Refused(f"no field {name} of an instance")


def _set_snapshot(snapshot, wanted):
    for name, value in wanted.items():
        if name not in _SNAPSHOT:
            raise errors.Refused(f"no field {name} of a snapshot")
        setattr(snapshot, _SNAPSHOT[name], _time(value) if name in _TIMES else value)
        if name == "createdAt":
            snapshot.original_snapshot_create_time = snapshot.created


def _found(those, name):
    if name not in those:
        raise errors.Refused(f"no {name}")
    return those[name]


def _time(text):
    """Like moto's: naive, in UTC. None takes a value back."""
    if text is None:
        return None
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment.astimezone(datetime.timezone.utc).replace(tzinfo=None)

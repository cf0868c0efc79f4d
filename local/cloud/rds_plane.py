"""Real PostgreSQL servers behind moto's RDS control plane.

A subclass of moto's backend: moto answers the API, this adds what it lacks: states that take the time the work takes,
an endpoint that a client can connect to, snapshots that hold data, restores that bring it back.
"""

import copy
import functools
import os
import re
import secrets
import shutil
import subprocess
import threading
import time

from moto.rds import models
from moto.rds.exceptions import RDSClientError

from . import postgres, processes

# A transitional state is shown at least this long, so that a client that polls can see it.
_STATE_SECONDS = 0.1
_DEFAULT_MAJOR = 17
_place = None


class _Worker(threading.Thread):
    """A thread that survives moto's copying of what refers to it."""

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


def _background(instance, work, then, *others):
    """Run `work` after the instance's earlier work; then set states by `then(failed)` ."""
    earlier = getattr(instance, "worker", None)

    def run():
        if earlier is not None:
            earlier.join()
        started, failed = time.monotonic(), False
        try:
            work()
        except Exception as error:      # noqa: BLE001 - shown as the state `failed` and in the log
            failed = True
            _place.log.exception("RDS %s: %s", instance.db_instance_identifier, error)
        time.sleep(max(0.0, _STATE_SECONDS - (time.monotonic() - started)))
        then(failed)

    worker = _Worker(target=run, daemon=True, name=f"rds-{instance.db_instance_identifier}")
    for holder in (instance, *others):
        holder.worker = worker
    worker.start()


@functools.lru_cache
def _minor_version(bin_folder):
    shown = subprocess.run([os.path.join(bin_folder, "postgres"), "--version"], capture_output=True, text=True)
    return re.search(r"\d+\.\d+", shown.stdout).group(0)


def _engine(arguments):
    """Check engine and version; returns the major version and completes the version to `major.minor`."""
    engine = arguments.get("engine") or "postgres"
    if engine != "postgres":
        raise RDSClientError("InvalidParameterValue", f"The local cloud runs postgres only, not {engine}.")
    asked = str(arguments.get("engine_version") or _DEFAULT_MAJOR)
    major = int(asked.split(".")[0]) if asked.split(".")[0].isdigit() else 0
    if major not in _place.majors():
        raise RDSClientError("InvalidParameterCombination",
                             f"Cannot find version {asked} for postgres: the local cloud has {_place.majors()}.")
    arguments["engine"], arguments["engine_version"] = engine, asked if "." in asked else _minor_version(_place.bin(major))
    return major


def _check_password(password):
    if password is not None and not 8 <= len(password) <= 128:
        raise RDSClientError("InvalidParameterValue", "The parameter MasterUserPassword is not a valid password "
                             "because it is shorter than 8 characters.")


class PlaneBackend(models.RDSBackend):
    """moto's RDS backend with servers behind its instances."""

    def create_db_instance(self, db_kwargs):
        source = db_kwargs.pop("_restored_from", None)
        major = _engine(db_kwargs)
        if source is None:
            _check_password(db_kwargs.get("master_user_password"))
        instance = super().create_db_instance(db_kwargs)
        server = postgres.Server(_place, f"{self.account_id}-{instance.db_instance_identifier}", major)
        instance.server, instance.worker, instance.status = server, None, "creating"
        instance.port = postgres.PORT
        instance.dbi_resource_id = "db-" + secrets.token_hex(13).upper()

        def work():
            if source is None:
                server.create(instance.master_username, instance._master_user_password, instance.db_name)
            else:
                server.restore(source)

        _background(instance, work, lambda failed: self._became(instance, failed))
        return instance

    @staticmethod
    def _became(instance, failed):
        instance.status = "failed" if failed else "available"

    def create_auto_snapshot(self, *_):
        """Automated backups are not modelled (gaps.py)."""

    def create_db_snapshot(self, db_instance_identifier, db_snapshot_identifier, *args, **kwargs):
        instance = self.databases.get(db_instance_identifier)
        if instance is not None and instance.status not in ("available", "backing-up"):
            raise RDSClientError("InvalidDBInstanceState",
                                 f"Instance {db_instance_identifier} is not currently in the available state.")
        snapshot = super().create_db_snapshot(db_instance_identifier, db_snapshot_identifier, *args, **kwargs)
        snapshot.data = os.path.join(_place.root, "snapshots", f"{db_snapshot_identifier}-{secrets.token_hex(4)}")
        snapshot.status, snapshot.percent_progress, instance.status = "creating", 0, "backing-up"

        def then(failed):
            snapshot.status, snapshot.percent_progress = ("failed", 0) if failed else ("available", 100)
            if instance.status == "backing-up":
                instance.status = "available"

        _background(instance, lambda: instance.server.backup(snapshot.data), then, snapshot)
        return snapshot

    def copy_db_snapshot(self, source_db_snapshot_identifier, *args, **kwargs):
        source = self.get_db_snapshot(source_db_snapshot_identifier)
        snapshot = super().copy_db_snapshot(source_db_snapshot_identifier, *args, **kwargs)
        # The data of a snapshot never changes, so both share it.
        snapshot.data, snapshot.status, snapshot.percent_progress = source.data, "creating", 0
        snapshot.source_db_snapshot_identifier = source.db_snapshot_arn

        def finish():
            source.worker.join()
            time.sleep(_STATE_SECONDS)
            snapshot.status, snapshot.percent_progress = source.status, source.percent_progress

        snapshot.worker = _Worker(target=finish, daemon=True)
        snapshot.worker.start()
        return snapshot

    def restore_db_instance_from_db_snapshot(self, from_snapshot_id, overrides):
        snapshot = self.get_db_snapshot(from_snapshot_id)
        if snapshot.status != "available":
            raise RDSClientError("InvalidDBSnapshotState", f"The snapshot is {snapshot.status}.")
        overrides = copy.copy(overrides)
        overrides["_restored_from"] = snapshot.data
        return super().restore_db_instance_from_db_snapshot(from_snapshot_id, overrides)

    def restore_db_instance_to_point_in_time(self, *_):
        raise RDSClientError("InvalidParameterCombination", "The local cloud keeps no WAL archive: "
                             "restore to a point in time is not supported.")

    def modify_db_instance(self, db_instance_identifier, db_kwargs):
        password = db_kwargs.get("master_user_password")
        _check_password(password)
        instance = super().modify_db_instance(db_instance_identifier, db_kwargs)
        if password:
            instance.status = "resetting-master-credentials"
            _background(instance, lambda: instance.server.set_password(instance.master_username, password),
                        lambda failed: self._became(instance, failed))
        return instance

    def reboot_db_instance(self, db_instance_identifier):
        instance = super().reboot_db_instance(db_instance_identifier)
        instance.status = "rebooting"

        def work():
            instance.server.stop()
            instance.server.start()

        _background(instance, work, lambda failed: self._became(instance, failed))
        return instance

    def stop_db_instance(self, *args, **kwargs):
        instance = super().stop_db_instance(*args, **kwargs)
        instance.status = "stopping"

        def then(failed):
            instance.status = "failed" if failed else "stopped"

        _background(instance, instance.server.stop, then)
        return instance

    def start_db_instance(self, *args, **kwargs):
        instance = super().start_db_instance(*args, **kwargs)
        instance.status = "starting"
        _background(instance, instance.server.start, lambda failed: self._became(instance, failed))
        return instance

    def delete_db_instance(self, *args, **kwargs):
        instance = super().delete_db_instance(*args, **kwargs)
        name = instance.db_instance_identifier
        self.databases[name] = instance     # stays visible as `deleting` until it is really gone

        def then(_failed):
            if self.databases.get(name) is instance:
                self.databases.pop(name)

        _background(instance, instance.server.remove, then)
        return instance

    def delete_db_snapshot(self, db_snapshot_identifier):
        snapshot = super().delete_db_snapshot(db_snapshot_identifier)
        snapshot.status = "deleted"
        if not any(getattr(other, "data", None) == snapshot.data for other in self.database_snapshots.values()):
            shutil.rmtree(snapshot.data, ignore_errors=True)
        return snapshot

    def drop_everything(self):
        """Stop all servers and forget all instances and snapshots of this account and region."""
        instances = [one for one in self.databases.values() if hasattr(one, "server")]
        for instance in instances:
            if instance.worker is not None:
                instance.worker.join()
            processes.end_group(instance.server.process.pid, 3) if instance.server.running() else None
        for instance in instances:
            instance.server.remove()
        for snapshot in list(self.database_snapshots.values()):
            shutil.rmtree(snapshot.data, ignore_errors=True)
        self.reset()


def _address(instance):
    return instance.server.address if hasattr(instance, "server") else "pending.invalid"


def _endpoint(instance):
    if instance.status == "creating":
        return None
    return {"Address": _address(instance), "Port": instance.port}


def install(place):
    """Make moto use this backend; `place` says where servers live."""
    global _place
    _place = place
    models.DBInstance.address = property(_address)
    models.DBInstance.endpoint = property(_endpoint)
    PlaneBackend.__module__ = "moto.rds.models"      # moto finds its urls by the backend's module name
    models.rds_backends.backend = PlaneBackend


def backends(account):
    """The backends of an account by region."""
    return dict(models.rds_backends[account])


def instance(account, region, name):
    """The instance, or None."""
    return models.rds_backends[account][region].databases.get(name)

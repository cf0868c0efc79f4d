"""Real PostgreSQL servers behind moto's RDS control plane.

A subclass of moto's backend: moto answers the API, this adds what it lacks: states that take the time the work takes,
an endpoint that a client can connect to, snapshots that hold data, restores that bring it back.
"""

import functools
import os
import re
import secrets
import subprocess

from moto.rds import models
from moto.rds.exceptions import RDSClientError

from . import postgres, processes, rds_events, rds_keys, rds_posture, rds_settings, rds_snapshots, rds_work

_DEFAULT_MAJOR = 17
_place = None


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


def _background(instance, work, then):
    rds_work.background(_place.log, (instance,), instance.db_instance_identifier, work, then)


class PlaneBackend(rds_snapshots.Snapshots, models.RDSBackend):
    """moto's RDS backend with servers behind its instances."""

    def __init__(self, region_name, account_id):
        super().__init__(region_name, account_id)
        self.settings, self.place = rds_settings.Settings(), _place

    def create_db_instance(self, db_kwargs):
        source = db_kwargs.pop("_restored_from", None)
        major = _engine(db_kwargs)
        if source is None:
            _check_password(db_kwargs.get("master_user_password"))
            self._choose_key(db_kwargs)
        if len(self.databases) >= self.settings.instance_quota:
            raise RDSClientError("InstanceQuotaExceeded", "DB Instance quota exceeded")
        db_kwargs.setdefault("ca_certificate_identifier", rds_posture.CERTIFICATE_AUTHORITY)
        instance = super().create_db_instance(db_kwargs)
        server = postgres.Server(_place, f"{self.account_id}-{instance.db_instance_identifier}", major)
        instance.server, instance.worker, instance.status = server, None, "creating"
        instance.posture = {}
        instance.port = postgres.PORT
        instance.dbi_resource_id = "db-" + secrets.token_hex(13).upper()

        def work():
            if source is None:
                server.create(instance.master_username, instance._master_user_password, instance.db_name)
            else:
                try:
                    server.restore(source)
                finally:
                    rds_snapshots.release(source)

        _background(instance, work, lambda failed: self._became(instance, failed, "created"))
        return instance

    def _choose_key(self, arguments):
        """An encrypted instance has a key: the one that is named, else the account's default key for RDS."""
        if arguments.get("storage_encrypted"):
            key_id = arguments.get("kms_key_id")
            arguments["kms_key_id"] = (rds_keys.usable(self.account_id, self.region_name, key_id) if key_id
                                       else rds_keys.default(self.account_id, self.region_name)["Arn"])

    @staticmethod
    def _became(instance, failed, event, status="available"):
        instance.status = "failed" if failed else status
        if not failed:
            rds_events.emit_of_instance(event, instance)

    def create_auto_snapshot(self, *_):
        """Automated backups are not modelled (gaps.py)."""

    def add_tags_to_resource(self, arn, tags):
        rds_snapshots.check_tags(tags)
        if ":snapshot:" in arn:
            self.own(arn)       # RDS says so when there is none
        return super().add_tags_to_resource(arn, tags)

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
                        lambda failed: self._became(instance, failed, "password reset"))
        return instance

    def reboot_db_instance(self, db_instance_identifier):
        instance = super().reboot_db_instance(db_instance_identifier)
        instance.status = "rebooting"

        def work():
            instance.server.stop()
            instance.server.start()

        _background(instance, work, lambda failed: self._became(instance, failed, "restarted"))
        return instance

    def stop_db_instance(self, *args, **kwargs):
        instance = super().stop_db_instance(*args, **kwargs)
        instance.status = "stopping"
        _background(instance, instance.server.stop,
                    lambda failed: self._became(instance, failed, "stopped", "stopped"))
        return instance

    def start_db_instance(self, *args, **kwargs):
        instance = super().start_db_instance(*args, **kwargs)
        instance.status = "starting"
        _background(instance, instance.server.start, lambda failed: self._became(instance, failed, "started"))
        return instance

    def delete_db_instance(self, *args, **kwargs):
        instance = super().delete_db_instance(*args, **kwargs)
        name = instance.db_instance_identifier
        self.databases[name] = instance     # stays visible as `deleting` until it is really gone

        def then(_failed):
            if self.databases.get(name) is instance:
                self.databases.pop(name)
            rds_events.emit_of_instance("deleted", instance)

        _background(instance, instance.server.remove, then)
        return instance

    def drop_everything(self):
        """Stop all servers and forget all instances and snapshots of this account and region."""
        self.settings.open()
        instances = [one for one in self.databases.values() if hasattr(one, "server")]
        for instance in instances:
            if instance.worker is not None:
                instance.worker.join()
            processes.end_group(instance.server.process.pid, 3) if instance.server.running() else None
        for instance in instances:
            instance.server.remove()
        for snapshot in list(self.database_snapshots.values()):
            if snapshot.worker is not None:
                snapshot.worker.join()
            rds_snapshots.release(snapshot.data)
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
    models.DBSnapshot.snapshot_create_time = property(rds_snapshots.create_time)
    rds_posture.install()
    PlaneBackend.__module__ = "moto.rds.models"      # moto finds its urls by the backend's module name
    models.rds_backends.backend = PlaneBackend


def backends(account):
    """The backends of an account by region."""
    return dict(models.rds_backends[account])


def backend(account, region):
    """The backend of an account and region."""
    return models.rds_backends[account][region]


def tags(account, region, kind, name):
    """The tags of an instance (`db`) or a snapshot; none if there is no such thing."""
    try:
        found = models.rds_backends[account][region] if account in models.rds_backends else None
    except KeyError:        # no such region
        found = None
    stores = {"db": "databases", "snapshot": "database_snapshots"}
    one = getattr(found, stores[kind]).get(name) if found and kind in stores else None
    return one.tags if one else []


def instance(account, region, name):
    """The instance, or None."""
    return models.rds_backends[account][region].databases.get(name)

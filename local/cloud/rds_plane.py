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

from . import (postgres, processes, rds_backups, rds_changes, rds_groups, rds_iam_logins, rds_keys, rds_posture, rds_replicas,
               rds_restores, rds_settings, rds_snapshots)

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


class PlaneBackend(rds_snapshots.Snapshots, rds_restores.Restores, rds_changes.Changes, rds_backups.Backups,
                   rds_groups.Groups, rds_replicas.Replicas, models.RDSBackend):
    """moto's RDS backend with servers behind its instances."""

    def __init__(self, region_name, account_id):
        super().__init__(region_name, account_id)
        self.settings, self.place = rds_settings.Settings(), _place

    def create_db_instance(self, db_kwargs):
        """A new instance; `_make` is how a restore fills its server, `_release` what it does in the end."""
        db_kwargs["db_instance_identifier"] = db_kwargs["db_instance_identifier"].lower()
        with rds_snapshots.lock:        # of two that ask for the same name at the same time, one is refused
            return self._create(db_kwargs)

    def _create(self, db_kwargs):
        make, release = db_kwargs.pop("_make", None), db_kwargs.pop("_release", None)
        major = _engine(db_kwargs)
        if make is None:
            rds_changes.check_password(db_kwargs.get("master_user_password"))
            self._choose_key(db_kwargs)
        if len(self.databases) >= self.settings.instance_quota:
            raise RDSClientError("InstanceQuotaExceeded", "DB Instance quota exceeded")
        self.check_parameter_group(db_kwargs.get("db_parameter_group_name"), major)
        db_kwargs.setdefault("ca_certificate_identifier", rds_posture.CERTIFICATE_AUTHORITY)
        self.network(db_kwargs)
        instance = super().create_db_instance(db_kwargs)
        port = int(db_kwargs.get("port") or postgres.PORT)
        server = postgres.Server(_place, f"{self.account_id}-{instance.db_instance_identifier}", major, port)
        instance.server, instance.worker, instance.status = server, None, "creating"
        instance.posture, instance.pending_modified_values, instance.parameter_status = {}, {}, "in-sync"
        instance.subnet_group_name = db_kwargs["db_subnet_group_name"]
        instance.port = port
        instance.dbi_resource_id = "db-" + secrets.token_hex(13).upper()
        server.settings = self.settings_of(instance)
        asks_as = rds_iam_logins.prefix(self.account_id, self.region_name, instance.dbi_resource_id)
        server.logins = rds_iam_logins.port(), asks_as
        fails = self.settings.take("fail_next_restores") if make else False
        self.background(instance, lambda: self._fill(instance, make, release, fails),
                        lambda failed: self._filled(instance, failed or fails, make is not None))
        return instance

    def _fill(self, instance, make, release, fails):
        """Give a new instance its data, and its first backup."""
        server = instance.server
        try:
            if fails:
                return
            backup = self.start_backup(instance) if instance.backup_retention_period else None
            if make is not None:
                make(server, backup)
            else:
                base = server.create(instance.master_username, instance._master_user_password, instance.db_name)
                if backup is not None:
                    backup.begin(base)
        finally:
            if release is not None:
                release()
            if make is not None:
                self.settings.restores_gate.wait()
        if backup is not None:
            instance.status = "backing-up"
            if backup.base is None:
                backup.begin_anew()

    def _filled(self, instance, failed, restored):
        if failed and restored:
            instance.status = self.settings.failed_restore_status
        elif instance.status != "deleting":
            self.became(instance, failed, "created")

    def _choose_key(self, arguments):
        """An encrypted instance has a key: the one that is named, else the account's default key for RDS."""
        if arguments.get("storage_encrypted"):
            key_id = arguments.get("kms_key_id")
            arguments["kms_key_id"] = (rds_keys.usable(self.account_id, self.region_name, key_id) if key_id
                                       else rds_keys.default(self.account_id, self.region_name)["Arn"])

    def create_auto_snapshot(self, *_):
        """Automated backups are not modelled (gaps.py)."""

    def add_tags_to_resource(self, arn, tags):
        rds_snapshots.check_tags(tags)
        if ":snapshot:" in arn:
            self.own(arn)       # RDS says so when there is none
        return super().add_tags_to_resource(arn, tags)

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
        self.drop_backups()
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
    rds_groups.install()
    rds_backups.install()
    rds_replicas.install()
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
    stores = {"db": "databases", "snapshot": "database_snapshots", "pg": "db_parameter_groups", "subgrp": "subnet_groups"}
    one = getattr(found, stores[kind]).get(name) if found and kind in stores else None
    return one.tags if one else []


def engine_version(account, region, source):
    """The version of a snapshot or an instance by name or ARN; None if there is no such thing here."""
    found = backend(account, region)
    one = found.database_snapshots.get(source) or found.databases.get(source.rsplit(":", 1)[-1])
    try:
        one = one or found.visible(source)
    except RDSClientError:
        return None
    return getattr(one, "engine_version", None) or one.database.engine_version


def instance(account, region, name):
    """The instance, or None."""
    return models.rds_backends[account][region].databases.get(name)

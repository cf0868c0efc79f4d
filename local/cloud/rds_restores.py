"""Restores: a new instance from a snapshot or from an automated backup, with what RDS gives it when nothing is named.

| not named | from a snapshot | from a point in time |
|---|---|---|
| parameter, subnet, security group | the defaults | the defaults |
| class, storage, engine version, port, backup retention | the source's | the source's |
| tags | those the source had at the snapshot | none |
| multi-AZ, deletion protection, IAM logins, log exports, copying of tags | no | no |
| public | if the network has an internet gateway: the default one has | the same |

Source: API reference of RestoreDBInstanceFromDBSnapshot, RestoreDBInstanceToPointInTime and CreateDBInstance.
"""

import copy
import datetime

from moto.rds import exceptions
from moto.rds.exceptions import RDSClientError

from . import rds_events, rds_keys, rds_snapshots

# Of a restored instance that RDS does not take from the source, but from the request or its defaults.
_NOT_RESTORED = (
    "backend", "db_parameter_group_name", "vpc_security_group_ids", "max_allocated_storage", "worker", "server", "tags",
    "availability_zone", "db_subnet_group_name", "db_subnet_group", "deletion_protection", "multi_az", "publicly_accessible",
    "posture", "enable_iam_database_authentication", "copy_tags_to_snapshot", "enabled_cloudwatch_logs_exports",
    "monitoring_interval", "monitoring_role_arn", "ca_certificate_identifier", "status", "pending_modified_values",
    "storage_type", "subnet_group_name", "parameter_status", "allocated_storage")
_SOURCE_STATES = ("available", "backing-up", "modifying", "resetting-master-credentials", "rebooting", "stopped")


class Restores:
    """The part of the backend that restores."""

    def restore_db_instance_from_db_snapshot(self, from_snapshot_id, overrides):
        with rds_snapshots.lock:
            snapshot = self.visible(from_snapshot_id)
            if snapshot.region != self.region_name:
                raise exceptions.DBSnapshotNotFoundFault(from_snapshot_id)
            if snapshot.status != "available":
                raise RDSClientError("InvalidDBSnapshotState", f"The snapshot is {snapshot.status}.")
            if snapshot.account_id != self.account_id and snapshot.encrypted:
                raise RDSClientError("InvalidDBSnapshotState", "A snapshot that is shared and encrypted cannot be "
                                     "restored: restore a copy of it.")
            if overrides["db_instance_identifier"].lower() in self.databases:
                raise exceptions.DBInstanceAlreadyExists()
            self._check_key(snapshot.kms_key_id)
            rds_snapshots.hold(snapshot.data)
        tags = overrides.get("tags") or copy.copy(snapshot.database.tags)

        def make(server, backup):
            server.restore(snapshot.data)
            if backup is not None:
                backup.begin(snapshot.data, held=True)

        made = self._restored(snapshot.database, overrides, snapshot.allocated_storage, tags)
        made |= {"kms_key_id": snapshot.kms_key_id, "storage_encrypted": snapshot.encrypted}
        instance = self._begin_restore(made, make, lambda: rds_snapshots.release(snapshot.data))
        rds_events.emit("restored", snapshot, name=snapshot.db_snapshot_identifier)
        return instance

    def restore_db_instance_to_point_in_time(self, source_db_identifier, target_db_identifier, overrides):
        given = overrides.get
        until, latest = given("restore_time"), given("use_latest_restorable_time")
        if bool(until) == bool(latest):
            raise RDSClientError("InvalidParameterCombination", "Either RestoreTime or UseLatestRestorableTime must be "
                                 "specified, and not both.")
        backup = self.backup_to_restore(source_db_identifier, given("source_dbi_resource_id"),
                                        given("source_db_instance_automated_backups_arn"))
        source = backup.instance
        living = backup.status == "active" and self.databases.get(source.db_instance_identifier) is source
        if living and source.status not in _SOURCE_STATES:
            raise RDSClientError("InvalidDBInstanceState", f"DB Instance {source.db_instance_identifier} has state: "
                                 f"{source.status} which is not valid for a restore to a point in time")
        if target_db_identifier.lower() in self.databases:
            raise exceptions.DBInstanceAlreadyExists()
        self._check_key(source.kms_key_id)
        until = _time(until) if until else backup.latest()
        if not backup.earliest() <= until <= backup.latest():
            raise RDSClientError("InvalidParameterValue", "The specified instance cannot be restored to "
                                 f"{until:%Y-%m-%dT%H:%M:%SZ}: the earliest restorable time is "
                                 f"{backup.earliest():%Y-%m-%dT%H:%M:%SZ}, the latest {backup.latest():%Y-%m-%dT%H:%M:%SZ}")
        if backup.full() and until > backup.archived():
            raise RDSClientError("InvalidRestoreFault", "The local cloud keeps 8 GiB of an instance's log, and this one wrote "
                                 f"more: it can be restored to {backup.archived():%Y-%m-%dT%H:%M:%SZ} at the latest.")
        base = backup.base
        rds_snapshots.hold(backup.folder)

        def make(server, own):
            if living and source.server.running():
                source.server.archive_now()
            archive, server.archive = server.archive, None
            server.recover(base, backup.log, f"{until:%Y-%m-%d %H:%M:%S.%f}+00")
            if own is not None:
                server.archive = archive
                server.reload()

        made = self._restored(source, overrides, source.allocated_storage, overrides.get("tags") or [])
        made |= {"kms_key_id": source.kms_key_id, "storage_encrypted": source.storage_encrypted,
                 "db_instance_identifier": target_db_identifier}
        return self._begin_restore(made, make, lambda: rds_snapshots.release(backup.folder))

    def _check_key(self, key):
        """RDS makes a grant for the new instance, with the caller's permissions."""
        if key and not (rds_keys.enabled(key) and rds_keys.caller_may_use(key, self.region_name)):
            raise rds_keys.not_accessible("specified", key)

    def _restored(self, source, overrides, storage, tags):
        """The arguments of the new instance."""
        rds_snapshots.check_tags(overrides.get("tags"))
        made = {key.removeprefix("_"): copy.copy(value) for key, value in source.__dict__.items()
                if key.removeprefix("_") not in _NOT_RESTORED}
        if not source.option_group_supplied:
            made.pop("option_group_name", None)
        if int(overrides.get("allocated_storage") or storage) < storage:
            raise RDSClientError("InvalidParameterValue", "The allocated storage size can't be less than the source "
                                 "snapshot or backup size.")
        made |= {"allocated_storage": storage, "storage_type": "io1" if overrides.get("iops") else "gp3"}
        made |= {key: value for key, value in overrides.items() if value is not None and value != []}
        return made | {"tags": tags, "engine_version": source.engine_version, "engine": source.engine}

    def _begin_restore(self, made, make, release):
        try:
            if made.get("publicly_accessible") is None:
                made["publicly_accessible"] = self.has_way_out(self.network(dict(made)).vpc_id)
            return self.create_db_instance(made | {"_make": make, "_release": release})
        except BaseException:
            release()
            raise


def _time(value):
    """Naive and in UTC, as moto has its times."""
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    return value.astimezone(datetime.timezone.utc).replace(tzinfo=None) if value.tzinfo else value

"""Automated backups: the log of an instance archived as it is written, and a base backup to begin with.

A base backup costs nothing where the instance came from data that stays: the empty data folder that all new instances
are copied from, the snapshot it was restored from. Else (backups switched on later, a restore to a point in time) it is
a real one. What is archived is what can be restored: `latest` follows the archive, not the clock, but for this: the log
of a living server up to now is brought into the archive when a restore asks for it.
"""

import datetime
import os
import re
import secrets
import shutil

from moto.core.utils import utcnow
from moto.rds import models, responses
from moto.rds.exceptions import RDSClientError

from . import postgres, rds_posture, rds_snapshots

_SEGMENT = re.compile(r"[0-9A-F]{24}")
# RDS ships the log every five minutes.
_LAG = datetime.timedelta(minutes=3)
_DAYS_MAX = 35


class Backup:
    """The automated backup of one instance; it may outlive the instance."""

    def __init__(self, backend, instance):
        self.backend, self.instance = backend, instance
        self.folder = os.path.join(backend.place.root, "backups",
                                   f"{instance.db_instance_identifier}-{secrets.token_hex(4)}")
        self.log = os.path.join(self.folder, "log")
        self.base, self.began, self.status, self._held = None, None, "creating", None
        self.identifier = "ab-" + secrets.token_hex(13)
        for path in (self.folder, self.log):
            os.mkdir(path, mode=0o700)
            backend.place.give(path)
        rds_snapshots.hold(self.folder)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def begin(self, base, held=False):
        """There is a base; `held`: one that others may drop."""
        if held:
            rds_snapshots.hold(base)
            self._held = base
        self.base, self.began, self.status = base, utcnow(), "active"

    def begin_anew(self):
        """Take a base from the running server."""
        base = os.path.join(self.folder, "base-" + secrets.token_hex(4))
        self.instance.server.backup(base)
        self.begin(base)

    def latest(self):
        """The latest time that can be restored, or None."""
        if self.began is None:
            return None
        living = [utcnow() - _LAG] if self.status == "active" and self.instance.server.running() else []
        return max([self.archived(), *living])

    def archived(self):
        """The time up to which the log is in the archive."""
        shipped = [os.stat(one.path).st_mtime for one in os.scandir(self.log) if _SEGMENT.fullmatch(one.name)]
        last = [datetime.datetime.fromtimestamp(max(shipped), datetime.timezone.utc).replace(tzinfo=None)] if shipped else []
        return max([self.began, *last])

    def full(self):
        """Whether the archive takes no more (gaps.py)."""
        return os.path.exists(os.path.join(self.log, postgres.FULL))

    def earliest(self):
        """The earliest, or None."""
        if self.began is None:
            return None
        return max(self.began, utcnow() - datetime.timedelta(days=self.instance.backup_retention_period or _DAYS_MAX))

    def drop(self):
        """Forget it; the data goes when no restore reads it any more."""
        rds_snapshots.release(self.folder)
        if self._held is not None:
            rds_snapshots.release(self._held)
            self._held = None

    def arn(self):
        """Its ARN."""
        return f"arn:aws:rds:{self.backend.region_name}:{self.backend.account_id}:auto-backup:{self.identifier}"

    def describe(self):
        """As DescribeDBInstanceAutomatedBackups shows it."""
        one = self.instance
        return {
            "DBInstanceArn": one.arn, "DbiResourceId": one.dbi_resource_id, "Region": self.backend.region_name,
            "DBInstanceIdentifier": one.db_instance_identifier, "AllocatedStorage": one.allocated_storage,
            "RestoreWindow": {"EarliestTime": self.earliest(), "LatestTime": self.latest()} if self.began else {},
            "Status": self.status, "Port": one.port, "AvailabilityZone": one.availability_zone, "Engine": one.engine,
            "VpcId": one.db_subnet_group.vpc_id, "InstanceCreateTime": one.instance_create_time,
            "MasterUsername": one.master_username, "EngineVersion": one.engine_version, "LicenseModel": one.license_model,
            "OptionGroupName": one.option_group_name, "Encrypted": one.storage_encrypted, "KmsKeyId": one.kms_key_id,
            "StorageType": one.storage_type, "BackupRetentionPeriod": one.backup_retention_period,
            "IAMDatabaseAuthenticationEnabled": bool(one.enable_iam_database_authentication),
            "PreferredBackupWindow": one.preferred_backup_window, "DBInstanceAutomatedBackupsArn": self.arn(),
            "BackupTarget": "region", "TagList": [],
        }


class Backups:
    """The part of the backend that keeps them, by the resource id of their instance."""

    def __init__(self, region_name, account_id):
        super().__init__(region_name, account_id)
        self.automated_backups = {}

    def start_backup(self, instance):
        """Have the server archive from its start on; returns the backup, which has no base yet."""
        backup = self.automated_backups[instance.dbi_resource_id] = Backup(self, instance)
        instance.server.archive = backup.log
        return backup

    def switch_backups(self, instance, days):
        """Change the retention of a running instance; from or to none, its backups begin or are dropped."""
        was, instance.backup_retention_period = instance.backup_retention_period, days
        if days and not was:
            backup = self.start_backup(instance)
            instance.server.reload()
            instance.status = "backing-up"
            backup.begin_anew()
        elif was and not days:
            instance.server.archive = None
            instance.server.reload()
            self.end_backup(instance)

    def end_backup(self, instance, retain=False):
        """Drop the backup of an instance, or keep it when the instance goes."""
        backup = self.automated_backups.get(instance.dbi_resource_id)
        if backup is None:
            return
        if retain:
            if instance.server.running():
                instance.server.archive_now()
            backup.status = "retained"
            return
        del self.automated_backups[instance.dbi_resource_id]
        backup.drop()

    def backup_to_restore(self, instance_name, resource_id, arn):
        """The backup that a restore to a point in time names."""
        if arn:
            found = [one for one in self.automated_backups.values() if one.arn() == arn]
            if not found:
                raise RDSClientError("DBInstanceAutomatedBackupNotFound", f"No automated backup {arn}")
            return found[0]
        if resource_id:
            found = self.automated_backups.get(resource_id)
            if found is None:
                raise RDSClientError("DBInstanceAutomatedBackupNotFound", f"No automated backup of {resource_id}")
            return found
        instance = self.describe_db_instances(instance_name)[0]
        found = self.automated_backups.get(instance.dbi_resource_id)
        if found is None or not instance.backup_retention_period:
            raise RDSClientError("PointInTimeRestoreNotEnabled", "Point in time restore is not enabled for DB instance "
                                 f"{instance_name}")
        return found

    def drop_backups(self):
        """All of them."""
        for backup in list(self.automated_backups.values()):
            backup.drop()
            shutil.rmtree(backup.folder, ignore_errors=True)
        self.automated_backups.clear()


def latest_restorable_time(instance):
    """What DescribeDBInstances shows; a test may have set it."""
    if not instance.backup_retention_period:
        return None
    held = getattr(instance, "backend", None)
    backup = getattr(held, "automated_backups", {}).get(instance.dbi_resource_id)
    if moment := getattr(instance, "posture", {}).get("latest_restorable_time"):
        return moment
    # A retention that a test wrote into the instance has no archive behind it: shown as it would be.
    return backup.latest() if backup else utcnow() - _LAG


def _describe_db_instance_automated_backups(self):
    given, wanted = self.params.get, rds_posture.filters(self)
    shown = []
    for backup in self.backend.automated_backups.values():
        one = backup.describe()
        matches = {"status": one["Status"], "db-instance-id": one["DBInstanceIdentifier"],
                   "dbi-resource-id": one["DbiResourceId"]}
        asked = {"DBInstanceIdentifier": given("DBInstanceIdentifier"), "DbiResourceId": given("DbiResourceId"),
                 "DBInstanceAutomatedBackupsArn": given("DBInstanceAutomatedBackupsArn")}
        if all(one[name].lower() == value.lower() for name, value in asked.items() if value) and all(
                matches.get(name) in values for name, values in wanted.items()):
            shown.append(one)
    if not shown and given("DBInstanceIdentifier"):
        raise RDSClientError("DBInstanceAutomatedBackupNotFound", f"No automated backup of {given('DBInstanceIdentifier')}")
    return rds_posture.paged(self, "DBInstanceAutomatedBackups", sorted(shown, key=lambda one: one["DbiResourceId"]))


def install():
    """Put these into moto's instances and answers."""
    models.DBInstance.latest_restorable_time = property(latest_restorable_time)
    responses.RDSResponse.describe_db_instance_automated_backups = _describe_db_instance_automated_backups

"""Changes of RDS instances: modify, reboot, stop, start, delete; what is applied at once, and what waits.

| changed | takes effect |
|---|---|
| master password | soon, whatever ApplyImmediately says; shown as pending until then |
| parameter group | at the next reboot |
| backup retention from or to none, class, storage, | at once with ApplyImmediately, else in the maintenance window, |
| Multi-AZ, version, port | which never comes here |
| anything else | at once |

After the answer an instance is `available` for a moment more, with the change among its pending values: who waits for
`available` only is wrong here as on AWS. Source: API reference of ModifyDBInstance and DeleteDBInstance.
"""

import time

from moto.rds import exceptions
from moto.rds.exceptions import RDSClientError

from . import rds_events, rds_work

_CHANGEABLE = ("available", "stopped", "storage-optimization", "storage-full", "incompatible-parameters")
_ANNOUNCED_SECONDS = 0.05
_LATER = {"db_instance_class": "DBInstanceClass", "allocated_storage": "AllocatedStorage", "multi_az": "MultiAZ",
          "engine_version": "EngineVersion", "storage_type": "StorageType", "iops": "Iops", "port": "Port",
          "db_port_number": "Port"}
_RETENTION, _PASSWORD = "BackupRetentionPeriod", "MasterUserPassword"
_PASSWORD_SHOWN = "****"
_RETENTION_DAYS_MAX = 35
_FAILURES = ("failed", "incompatible-restore", "incompatible-network")


def check_password(password):
    """Raise as RDS does for one that it does not take."""
    if password is not None and not 8 <= len(password) <= 128:
        raise RDSClientError("InvalidParameterValue", "The parameter MasterUserPassword is not a valid password "
                             "because it is shorter than 8 characters.")


class Changes:
    """The part of the backend that changes instances."""

    def modify_db_instance(self, db_instance_identifier, db_kwargs):
        instance = self.describe_db_instances(db_instance_identifier)[0]
        wanted = {key: value for key, value in dict(db_kwargs).items() if value is not None}
        password, days = wanted.pop("master_user_password", None), wanted.pop("backup_retention_period", None)
        check_password(password)
        if days is not None and not 0 <= int(days) <= _RETENTION_DAYS_MAX:
            raise RDSClientError("InvalidParameterValue", f"Invalid backup retention period: {days}")
        if instance.status not in _CHANGEABLE:
            raise RDSClientError("InvalidDBInstanceState", "Database instance is not in available state.")
        if instance.replicas and days is not None and not int(days):
            raise RDSClientError("InvalidDBInstanceState", f"DB Instance {db_instance_identifier} has read replicas: its "
                                 "automated backups cannot be disabled.")
        if instance.is_replica and days is not None and int(days):
            raise self.no_backup(db_instance_identifier)
        if instance.is_replica and password is not None:
            raise RDSClientError("InvalidDBInstanceState", f"DB Instance {db_instance_identifier} is a read replica: its "
                                 "master password is its source's.")
        group = wanted.pop("db_parameter_group_name", None)
        self.check_parameter_group(group, instance.server.major)
        if groups := wanted.get("vpc_security_group_ids"):
            self.network({"db_subnet_group_name": instance.subnet_group_name, "vpc_security_group_ids": groups})
        now = bool(wanted.pop("apply_immediately", False))
        pending = {_LATER[key]: wanted[key] for key in list(wanted) if key in _LATER}
        later = {key: wanted.pop(key) for key in list(wanted) if key in _LATER}
        super().modify_db_instance(db_instance_identifier, wanted | {"db_instance_identifier": db_instance_identifier})
        if group is not None and group != instance.db_parameter_group_name:
            instance.db_parameter_group_name, instance.parameter_status = group.lower(), "pending-reboot"
        if days is not None and int(days) != instance.backup_retention_period:
            if days and instance.backup_retention_period:
                instance.backup_retention_period, days = int(days), None
            else:
                pending[_RETENTION] = int(days)
        else:
            days = None
        if password is not None:
            pending[_PASSWORD] = _PASSWORD_SHOWN
        instance.pending_modified_values = instance.pending_modified_values | pending
        if password is not None or (now and pending):
            self._apply(instance, password, int(days) if now and days is not None else None, later if now else {})
        return instance

    def _apply(self, instance, password, days, others):
        """In the background: each change under the state that RDS shows for it."""
        earlier = instance.status

        def work():
            time.sleep(_ANNOUNCED_SECONDS)
            if password is not None:
                instance.status = "resetting-master-credentials"
                instance.server.set_password(instance.master_username, password)
                for one in (instance, *self.replicas_of(instance)):
                    one._master_user_password = password
                self._applied(instance, _PASSWORD)
                rds_events.emit_of_instance("password reset", instance)
                time.sleep(rds_work.STATE_SECONDS)
            if days is not None or others:
                instance.status = "modifying"
                time.sleep(rds_work.STATE_SECONDS)
                for name, value in others.items():
                    if name not in ("port", "db_port_number"):
                        setattr(instance, name, value)
                self._applied(instance, *(_LATER[name] for name in others))
            if days is not None:
                self.switch_backups(instance, days)
                self._applied(instance, _RETENTION)

        def then(failed):
            instance.status = "failed" if failed else earlier

        self.background(instance, work, then)

    @staticmethod
    def _applied(instance, *names):
        instance.pending_modified_values = {name: value for name, value in instance.pending_modified_values.items()
                                            if name not in names}

    def background(self, instance, work, then):
        """Work on an instance, after what is under way on it."""
        rds_work.background(self.place.log, (instance,), instance.db_instance_identifier, work, then)

    def became(self, instance, failed, event, status="available"):
        """Set the state that a piece of work leads to, and say so."""
        instance.status = "failed" if failed else status
        if not failed:
            rds_events.emit_of_instance(event, instance)

    def reboot_db_instance(self, db_instance_identifier):
        instance = super().reboot_db_instance(db_instance_identifier)
        if instance.status != "available":
            raise RDSClientError("InvalidDBInstanceState", f"Database instance {db_instance_identifier} is not in available "
                                 "state.")
        instance.status = "rebooting"

        def work():
            instance.server.stop()
            instance.server.settings = self.settings_of(instance)
            instance.server.start()
            instance.parameter_status = "in-sync"

        self.background(instance, work, lambda failed: self.became(instance, failed, "restarted"))
        return instance

    def stop_db_instance(self, *args, **kwargs):
        self.check_no_replication(self.describe_db_instances(kwargs.get("db_instance_identifier") or args[0])[0])
        instance = super().stop_db_instance(*args, **kwargs)
        instance.status = "stopping"
        self.background(instance, instance.server.stop,
                        lambda failed: self.became(instance, failed, "stopped", "stopped"))
        return instance

    def start_db_instance(self, *args, **kwargs):
        instance = super().start_db_instance(*args, **kwargs)
        instance.status = "starting"
        self.background(instance, instance.server.start, lambda failed: self.became(instance, failed, "started"))
        return instance

    def delete_db_instance(self, db_instance_identifier, final_db_snapshot_identifier=None, skip_final_snapshot=False,
                           delete_automated_backups=True):
        name = db_instance_identifier.lower()
        instance = self.databases.get(name)
        if instance is None:
            raise exceptions.DBInstanceNotFoundError(db_instance_identifier)
        if instance.status == "deleting":
            raise RDSClientError("InvalidDBInstanceState", f"Instance {name} is already being deleted.")
        if bool(skip_final_snapshot) == bool(final_db_snapshot_identifier):
            raise RDSClientError("InvalidParameterCombination",
                                 "FinalDBSnapshotIdentifier can not be specified when deleting with SkipFinalSnapshot."
                                 if skip_final_snapshot else
                                 "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
        if not skip_final_snapshot and instance.status != "available" and not instance.deletion_protection:
            why = "has failed" if instance.status in _FAILURES else f"is currently {instance.status}"
            raise RDSClientError("InvalidDBInstanceState",
                                 f"Instance {name} {why} - a final snapshot cannot be taken.")
        super().delete_db_instance(name, final_db_snapshot_identifier, skip_final_snapshot, False)
        instance.status = "deleting"
        self.databases[name] = instance     # stays visible until it is really gone

        def work():
            self.end_backup(instance, retain=delete_automated_backups is False)
            instance.server.stop()
            self.unfollow(instance)
            instance.server.remove()
            self.settings.deletes_gate.wait()

        def then(_failed):
            if self.databases.get(name) is instance:
                self.databases.pop(name)
            rds_events.emit_of_instance("deleted", instance)

        self.background(instance, work, then)
        return instance

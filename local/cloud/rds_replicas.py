"""Read replicas of RDS instances: real streaming standbys, in the source's region.

The standby is a base backup of its source that follows it by a replication slot, as RDS's do since PostgreSQL 14; it can
be read from while it follows. Tests make it lag: replay paused, or each commit applied later by a fixed time.

| an instance that | cannot |
|---|---|
| has replicas | be stopped; lose its automated backups |
| is a replica | be stopped; have its master password changed |
| has no automated backups | get replicas |

When a source is deleted, its replicas become instances of their own, as by PromoteReadReplica. Source: RDS User Guide,
"Working with DB instance read replicas", "Stopping an Amazon RDS DB instance temporarily"; API reference of
CreateDBInstanceReadReplica.
"""

import secrets

from moto.rds import exceptions, models
from moto.rds.exceptions import RDSClientError

_STATES = ("available", "backing-up", "modifying", "resetting-master-credentials", "storage-optimization")
_REPLICAS_MAX = 15
_SLOT_SECONDS = 5


class Replicas:
    """The part of the backend that makes and ends replicas."""

    def create_db_instance_read_replica(self, db_kwargs):
        given = dict(db_kwargs)
        source = self._source(given.pop("source_db_instance_identifier"))
        if given["db_instance_identifier"].lower() in self.databases:
            raise exceptions.DBInstanceAlreadyExists()
        if not source.backup_retention_period:
            raise RDSClientError("InvalidDBInstanceState", "Automated backups are not enabled for this database instance. To "
                                 "enable automated backups, use ModifyDBInstance to set the backup retention period to a "
                                 "non-zero value.")
        if source.status not in _STATES:
            raise RDSClientError("InvalidDBInstanceState", f"DB Instance {source.db_instance_identifier} is not in available "
                                 "state.")
        if len(source.replicas) >= _REPLICAS_MAX:
            raise RDSClientError("InvalidParameterValue", f"A DB instance can have up to {_REPLICAS_MAX} read replicas.")
        slot = "rds_" + secrets.token_hex(6)
        made = self._restored(source, given, source.allocated_storage, given.get("tags") or [])
        made |= {"kms_key_id": source.kms_key_id, "storage_encrypted": source.storage_encrypted,
                 "backup_retention_period": 0, "db_subnet_group_name": source.subnet_group_name,
                 "master_user_password": source._master_user_password}
        if not given.get("db_parameter_group_name") and source.db_parameter_group_name:
            made["db_parameter_group_name"] = source.db_parameter_group_name
        for name in ("replicas", "is_replica", "source_db_instance_identifier", "replication_slot"):
            made.pop(name, None)
        made["source_db_instance_identifier"] = source.db_instance_identifier
        made["_make"] = lambda server, _backup: server.follow(source.server, slot)
        made["_release"] = lambda: None
        replica = self.create_db_instance(made)
        replica.set_as_replica()
        replica.replication_slot = slot
        source.add_replica(replica)
        return replica

    def _source(self, name):
        if name.startswith("arn:"):
            region, account, name = name.split(":")[3], name.split(":")[4], name.split(":")[-1]
            if (region, account) != (self.region_name, self.account_id):
                raise RDSClientError("InvalidParameterCombination", "The local cloud makes replicas in their source's region "
                                     "and account only.")
        return self.describe_db_instances(name)[0]

    def replicas_of(self, instance):
        """The replicas of an instance."""
        return [self.databases[name] for name in instance.replicas if name in self.databases]

    def check_no_replication(self, instance):
        """Raise as RDS does for what neither a source nor a replica may."""
        if instance.is_replica or instance.replicas:
            what = "is a read replica" if instance.is_replica else "has read replicas"
            raise RDSClientError("InvalidDBInstanceState",
                                 f"Instance {instance.db_instance_identifier} cannot be stopped: it {what}.")

    @staticmethod
    def no_backup(name):
        """The refusal of a backup of a replica: PostgreSQL cannot take one of a standby without full_page_writes."""
        return RDSClientError("InvalidDBInstanceState", f"The local cloud takes no backups of read replicas: {name}.")

    def unfollow(self, instance):
        """An instance that goes: its slot on its source goes, its own replicas become instances of their own."""
        if instance.is_replica:
            self._drop_slot(instance)
        for replica in self.replicas_of(instance):
            replica.server.promote()
            self._made_its_own(replica)
        instance.replicas = []

    def promote_read_replica(self, db_kwargs):
        """An instance of its own from a replica; its source goes on without it."""
        replica = self.describe_db_instances(db_kwargs["db_instance_identifier"])[0]
        if not replica.is_replica or replica.status != "available":
            raise RDSClientError("InvalidDBInstanceState", f"DB Instance {replica.db_instance_identifier} is not a read "
                                 "replica that is available.")
        replica.status = "modifying"

        def work():
            source = self.databases.get(replica.source_db_instance_identifier)
            replica.server.promote()
            self._drop_slot(replica)
            if source is not None:
                source.remove_replica(replica)
            self._made_its_own(replica)

        def then(failed):
            replica.status = "failed" if failed else "available"

        self.background(replica, work, then)
        return replica

    def _drop_slot(self, replica):
        source = self.databases.get(replica.source_db_instance_identifier or "")
        if source is not None and source.server.running():
            source.server.drop_slot(replica.replication_slot, _SLOT_SECONDS)

    @staticmethod
    def _made_its_own(replica):
        replica.is_replica, replica.source_db_instance_identifier = False, None


def _status_infos(instance):
    if not getattr(instance, "is_replica", False):
        return []
    source = instance.backend.databases.get(instance.source_db_instance_identifier)
    running = instance.server.running() and source is not None and source.server.running()
    return [{"StatusType": "read replication", "Normal": running, "Status": "replicating" if running else "error",
             "Message": "" if running else "Replication has stopped."}]


def install():
    """Show in moto's instances how replication is."""
    models.DBInstance.status_infos = property(_status_infos)

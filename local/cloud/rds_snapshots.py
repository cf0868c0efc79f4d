"""Snapshots of the RDS plane: base backups of real servers, their copies across regions and accounts, their sharing.

The data of a snapshot never changes, so a copy shares it: a folder goes when the last snapshot that refers to it goes,
wherever that one is.
"""

import collections
import os
import re
import secrets
import shutil
import threading
import time

from moto.core.utils import utcnow
from moto.rds import exceptions, models
from moto.rds.exceptions import RDSClientError

from . import rds_copies, rds_events, rds_keys, rds_work

_ACCOUNT = re.compile(r"\d{12}")
_SHARED_ACCOUNTS_MAX = 20
_TAGS_MAX = 50
# Pattern of tag keys and values in the API reference of RDS's type Tag.
_TAG_TEXT = re.compile(r"[\w\s.:/=+\-@]*")
lock = threading.RLock()
_holders = collections.Counter()


def hold(folder):
    """One more refers to this folder of data."""
    with lock:
        _holders[folder] += 1


def release(folder):
    """One less refers to it: removed with the last one."""
    with lock:
        _holders[folder] -= 1
        if _holders[folder] <= 0:
            del _holders[folder]
            shutil.rmtree(folder, ignore_errors=True)


def check_tags(tags):
    """Raise as RDS does for tags that it does not take."""
    keys = [tag["Key"] for tag in tags or []]
    if any(key.lower().startswith(("aws:", "rds:")) for key in keys):
        raise RDSClientError("InvalidParameterValue", "Tag keys cannot start with the reserved prefix aws: or rds:.")
    if len(keys) > _TAGS_MAX or len(set(keys)) < len(keys):
        raise RDSClientError("InvalidParameterValue", f"There can be {_TAGS_MAX} tags, and one of each key.")
    for tag in tags or []:
        value = tag.get("Value") or ""
        if not 1 <= len(tag["Key"]) <= 128 or len(value) > 256 or not (
                _TAG_TEXT.fullmatch(tag["Key"]) and _TAG_TEXT.fullmatch(value)):
            raise RDSClientError("InvalidParameterValue", f"The tag {tag['Key']}={value} is not valid.")


def parse_arn(arn):
    """`(region, account, name)` of a snapshot's ARN."""
    parts = arn.split(":", 6)
    if len(parts) != 7 or parts[2] != "rds" or parts[5] != "snapshot":
        raise RDSClientError("InvalidParameterValue", f"Invalid snapshot ARN: {arn}")
    return parts[3], parts[4], parts[6]


def create_time(snapshot):
    """RDS shows it once the moment of the snapshot is known."""
    return None if snapshot.status == "creating" else snapshot.created


class Snapshots:
    """The part of the backend that makes, copies, shares, shows and deletes snapshots."""

    def create_db_snapshot(self, db_instance_identifier, db_snapshot_identifier, snapshot_type="manual", tags=None,
                           original_created_at=None, kms_key_id=None):
        check_tags(tags)
        with lock:
            instance = self.databases.get(db_instance_identifier)
            if instance is None:
                raise exceptions.DBInstanceNotFoundError(db_instance_identifier)
            if db_snapshot_identifier in self.database_snapshots:
                raise exceptions.DBSnapshotAlreadyExistsError(db_snapshot_identifier)
            if instance.is_replica:
                raise self.no_backup(db_instance_identifier)
            if instance.status != "available":
                raise RDSClientError("InvalidDBInstanceState", "Cannot create a snapshot because the database instance "
                                     f"{db_instance_identifier} is not currently in the available state.")
            self._check_quota()
            snapshot = models.DBSnapshot(self, instance, db_snapshot_identifier, snapshot_type, tags)
            snapshot.data = os.path.join(self.place.root, "snapshots",
                                         f"{db_snapshot_identifier}-{secrets.token_hex(4)}")
            self._begin(snapshot)
            snapshot.original_snapshot_create_time = None
            instance.status = "backing-up"
        fails = self.settings.take("fail_next_snapshots")

        def then(failed):
            failed = failed or fails
            snapshot.status, snapshot.percent_progress = ("failed", 0) if failed else ("available", 100)
            snapshot.original_snapshot_create_time = snapshot.created
            if instance.status == "backing-up":
                instance.status = "available"
            if not failed:
                rds_events.emit("created", snapshot)

        rds_events.emit("creating", snapshot)
        rds_work.background(self.place.log, (instance, snapshot), snapshot.db_snapshot_identifier,
                            lambda: instance.server.backup(snapshot.data), then, self.settings.snapshots_gate)
        return snapshot

    def copy_db_snapshot(self, source_db_snapshot_identifier, target_db_snapshot_identifier, kms_key_id=None, tags=None,
                         copy_tags=False, pre_signed_url=None, **_):
        check_tags(tags)
        source = self.visible(source_db_snapshot_identifier)
        remote = source.region != self.region_name
        foreign = source.account_id != self.account_id
        with lock:
            if target_db_snapshot_identifier in self.database_snapshots:
                raise exceptions.DBSnapshotAlreadyExistsError(target_db_snapshot_identifier)
            if source.status != "available":
                raise RDSClientError("InvalidDBSnapshotStateFault", "Cannot copy a snapshot that is not in the available "
                                     f"state: {source.db_snapshot_identifier} is {source.status}.")
            self._check_quota()
            key = rds_copies.key_of_copy(source, self.account_id, self.region_name, kms_key_id, pre_signed_url)
            if remote:
                self._check_copies()
            # Tags that are given replace those of the source, CopyTags or not.
            snapshot = models.DBSnapshot(self, source.database, target_db_snapshot_identifier,
                                         tags=tags or (source.tags if copy_tags else None), kms_key_id=key,
                                         original_created_at=source.original_snapshot_create_time)
            snapshot.tags = tags or (source.tags if copy_tags else [])
            snapshot.database.backend = self
            snapshot.kms_key_id, snapshot.encrypted, snapshot.storage_encrypted = key, key is not None, key is not None
            snapshot.remote, snapshot.data = remote, source.data
            snapshot.source_region = source.region
            if remote or foreign:
                snapshot.source_db_snapshot_identifier = source.arn
            self._begin(snapshot)
        self._copy(source, snapshot, "remote" if remote else "local")
        return snapshot

    def _copy(self, source, snapshot, kind):
        fails, started = self.settings.take("fail_next_copies"), time.monotonic()
        words = {"name": source.db_snapshot_identifier, "region": source.region}
        rds_events.emit(f"{kind} copy started", snapshot, **words)

        def then(failed):
            # The source must be there until the copy is.
            failed = failed or fails or source.backend.database_snapshots.get(source.db_snapshot_identifier) is not source
            snapshot.status, snapshot.percent_progress = ("failed", 0) if failed else ("available", 100)
            minutes = int((time.monotonic() - started) // 60)
            rds_events.emit(f"{kind} copy {'failed' if failed else 'finished'}", snapshot, minutes=minutes, **words)

        rds_work.background(self.place.log, (snapshot,), snapshot.db_snapshot_identifier, lambda: None, then,
                            self.settings.copies_gate)

    def _begin(self, snapshot):
        snapshot.created = utcnow()
        snapshot.status, snapshot.percent_progress = "creating", 0
        snapshot.license_model, snapshot.snapshot_target = "postgresql-license", "region"
        snapshot.storage_type = snapshot.database.storage_type
        snapshot.availability_zone = f"{self.region_name}a"
        hold(snapshot.data)
        self.database_snapshots[snapshot.db_snapshot_identifier] = snapshot

    def manual_snapshots(self):
        """How many count against the quota."""
        with lock:
            return sum(one.snapshot_type == "manual" for one in self.database_snapshots.values())

    def _check_quota(self):
        quota = self.settings.snapshot_quota
        if self.manual_snapshots() >= quota:
            raise RDSClientError("SnapshotQuotaExceeded", f"Cannot create more than {quota} manual snapshots")

    def _check_copies(self):
        allowed = self.settings.copies_in_progress_max
        running = sum(one.status == "creating" and getattr(one, "remote", False)
                      for one in self.database_snapshots.values())
        if running >= allowed:
            raise RDSClientError("SnapshotQuotaExceeded", f"Cannot copy more than {allowed} snapshots across regions")

    def own(self, identifier):
        """A snapshot of this account and region by name or ARN; raises `DBSnapshotNotFound`."""
        found = self.visible(identifier)
        if found.backend is not self:
            raise exceptions.DBSnapshotNotFoundFault(identifier)
        return found

    def visible(self, identifier):
        """A snapshot by name or ARN, also one of another region of ours or shared with us."""
        if not identifier.startswith("arn:"):
            found = self.database_snapshots.get(identifier)
        else:
            region, account, name = parse_arn(identifier)
            found = _snapshots_of(account, region).get(name)
            if found is not None and account != self.account_id and not {self.account_id, "all"} & set(
                    found.attributes["restore"]):
                found = None
        if found is None:
            raise exceptions.DBSnapshotNotFoundFault(identifier)
        return found

    def describe_db_snapshots(self, db_instance_identifier, db_snapshot_identifier=None, snapshot_type=None, filters=None,
                              include_shared=False, dbi_resource_id=None):
        filters = dict(filters or {})
        with lock:
            if db_snapshot_identifier:
                found = self.visible(db_snapshot_identifier)
                if found.region != self.region_name:
                    raise exceptions.DBSnapshotNotFoundFault(db_snapshot_identifier)
                shown = [found]
            elif snapshot_type == "shared":
                shown = self._shared()
            else:
                shown = list(self.database_snapshots.values()) + (self._shared() if include_shared else [])
        if snapshot_type not in (None, "shared"):
            filters.setdefault("snapshot-type", [snapshot_type])
        if db_instance_identifier:
            filters["db-instance-id"] = [db_instance_identifier]
        if dbi_resource_id:
            filters["dbi-resource-id"] = [dbi_resource_id]
        by_arn = {one.arn: one for one in shown}
        return sorted((self._filter_resources(by_arn, filters, models.DBSnapshot) if filters else by_arn).values(),
                      key=lambda one: one.arn)

    def _shared(self):
        """What other accounts share with us in this region."""
        backends = [container.get(self.region_name) for account, container in list(models.rds_backends.items())
                    if account != self.account_id]
        return [one for backend in backends if backend for one in backend.database_snapshots.values()
                if self.account_id in one.attributes["restore"]]

    def delete_db_snapshot(self, db_snapshot_identifier):
        with lock:
            snapshot = self.own(db_snapshot_identifier)
            if snapshot.status not in ("available", "failed"):
                raise RDSClientError("InvalidDBSnapshotStateFault", f"The snapshot {db_snapshot_identifier} is "
                                     f"{snapshot.status}: it must be available to be deleted.")
            del self.database_snapshots[snapshot.db_snapshot_identifier]
            snapshot.status = "deleted"
        release(snapshot.data)
        rds_events.emit("deleted", snapshot)
        return snapshot

    def describe_db_snapshot_attributes(self, db_snapshot_identifier):
        return self.own(db_snapshot_identifier).attributes

    def modify_db_snapshot_attribute(self, db_snapshot_identifier, attribute_name, values_to_add=None,
                                     values_to_remove=None):
        add, remove = list(values_to_add or []), list(values_to_remove or [])
        with lock:
            snapshot = self.own(db_snapshot_identifier)
            if attribute_name != "restore":
                raise RDSClientError("InvalidParameterValue", f"Invalid snapshot attribute {attribute_name}")
            if set(add) & set(remove):
                raise RDSClientError("InvalidParameterCombination",
                                     "A value may not appear in both the add list and remove list.")
            if snapshot.status != "available":
                raise RDSClientError("InvalidDBSnapshotStateFault", f"The snapshot is {snapshot.status}.")
            if not all(_ACCOUNT.fullmatch(value) or value == "all" for value in add + remove):
                raise RDSClientError("InvalidParameterValue", f"Invalid value for attribute restore: {add + remove}")
            if add and snapshot.encrypted and rds_keys.is_default(snapshot.kms_key_id):
                raise RDSClientError("InvalidParameterValue", "Sharing snapshots encrypted with the default service key "
                                     "for RDS is currently not supported.")
            if "all" in add and snapshot.encrypted:
                raise RDSClientError("InvalidParameterValue", "Encrypted snapshots cannot be shared publicly.")
            kept = dict.fromkeys(snapshot.attributes["restore"] + add)
            kept = [value for value in kept if value not in remove]
            if len(kept) > _SHARED_ACCOUNTS_MAX:
                raise exceptions.SharedSnapshotQuotaExceeded()
            snapshot.attributes["restore"] = kept
        return snapshot.attributes


def _snapshots_of(account, region):
    """The snapshots of an account and region; empty if nobody used RDS there, without making it."""
    try:
        return models.rds_backends[account][region].database_snapshots if account in models.rds_backends else {}
    except KeyError:
        return {}

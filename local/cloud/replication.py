"""S3 replication as AWS does it: soon after the write, with the rule's role, and with the version id of the source.

MiniStack replicates inside the write, without a role and with a version id of its own. Here a write is marked PENDING
and put in line; one thread carries the line out in order, so a test can see the lag by pausing a bucket. What the role
needs is in the S3 User Guide, "Setting up permissions for live replication"; what becomes of encrypted objects in
"Replicating encrypted objects".
"""

import collections
import contextlib
import copy
import dataclasses
import logging
import threading
import time

import ministack.services.s3 as s3
from ministack.core.responses import get_account_id, get_region, request_scope

from . import errors, iam

_log = logging.getLogger("lifeboat.replication")
# A reader that is quick sees PENDING.
_DELAY_SECONDS = 0.05
_RECORDED_SECONDS = 5
_SSE = "x-amz-server-side-encryption"
_KEY = "x-amz-server-side-encryption-aws-kms-key-id"
_line = collections.deque()
_changed = threading.Condition()
_paused = set()
_failing = set()


@dataclasses.dataclass
class _Job:
    """One object version, or a delete marker (`record` is None), to copy by a rule."""

    account: str
    region: str
    bucket: str
    key: str
    rule: dict
    role: str
    record: dict
    data: bytes
    due: float


def _enqueue(bucket, key, rule, role, record, data):
    region = s3._buckets[bucket].get("region") or get_region()
    with _changed:
        _line.append(_Job(get_account_id(), region, bucket, key, rule, role, record, data,
                          time.monotonic() + _DELAY_SECONDS))
        _changed.notify()


def _maybe_replicate(bucket, key, record, data, tags=None):
    """A write: in line if a rule covers it."""
    rule, role = s3._replication_rule_for(bucket, key, tags)
    if rule is None:
        return
    if _is_kms(record) and not _replicates_kms(rule):
        return
    record["replication_status"] = "PENDING"
    _enqueue(bucket, key, rule, role, record, data)


def _maybe_replicate_delete_marker(bucket, key):
    """A delete: in line if the rule says so. A rule of the old form (no Filter) always does."""
    config = s3._bucket_replication.get(bucket) or {}
    rule, role = s3._replication_rule_for(bucket, key, {})
    if rule is None or ("Filter" in rule and (s3._replication_rule_tags(rule) or (
            rule.get("DeleteMarkerReplication") or {}).get("Status") != "Enabled")):
        return
    _enqueue(bucket, key, rule, role or config.get("Role", ""), None, None)


def _is_kms(record):
    return record.get("preserved_headers", {}).get(_SSE) == "aws:kms"


def _replicates_kms(rule):
    criteria = (rule.get("SourceSelectionCriteria") or {}).get("SseKmsEncryptedObjects") or {}
    return criteria.get("Status") == "Enabled"


def _work():
    while True:
        job = _next()
        try:
            with request_scope(job.account, job.region):
                _carry_out(job)
        except Exception:       # noqa: BLE001 - one object must not end the line
            _log.exception("replicate %s/%s", job.bucket, job.key)
            _mark(job, "FAILED")


def _next():
    with _changed:
        while True:
            now = time.monotonic()
            for job in _line:
                if (job.account, job.bucket) in _paused:
                    continue
                if job.due <= now:
                    _line.remove(job)
                    return job
                break
            ready = [job.due - now for job in _line if (job.account, job.bucket) not in _paused]
            _changed.wait(min(ready) if ready else None)


def _carry_out(job):
    if not s3._buckets.contains_scoped(job.account, None, job.bucket):
        return      # the account was dropped
    version = _source_version(job)
    if version is None:
        return
    target = s3._replication_destination(job.bucket, job.key, job.rule, job.role)
    if target is None or (job.account, job.bucket) in _failing or not _permitted(job, target[0], target[2]):
        _mark(job, "FAILED")
        return
    name, account, bucket = target
    region = bucket.get("region") or job.region
    tags = s3._object_tags.get((job.bucket, job.key, version["version_id"]))
    with request_scope(account, region):
        _write(job, version, name, bucket, tags)
    _mark(job, "COMPLETED")


def _source_version(job):
    """The version to copy, once the write has recorded it; None: it is gone."""
    deadline = time.monotonic() + _RECORDED_SECONDS
    while time.monotonic() < deadline:
        versions = s3._object_versions.get((job.bucket, job.key)) or []
        for version in reversed(versions):
            if job.record is None and version.get("is_delete_marker"):
                return version
            if job.record is not None and version["version_id"] == job.record.get("version_id"):
                return version
        if job.record is None or job.record.get("version_id"):
            return None
        time.sleep(0.005)
    return None


def _permitted(job, name, bucket):
    """Whether the role may read here, write there, and use the keys."""
    source, target = f"arn:aws:s3:::{job.bucket}/{job.key}", f"arn:aws:s3:::{name}/{job.key}"
    there = bucket.get("region") or job.region
    if job.record is None:
        return _role_may(job, "s3:ReplicateDelete", target, job.region)
    needed = [_role_may(job, "s3:GetObjectVersionForReplication", source, job.region),
              _role_may(job, "s3:ReplicateObject", target, job.region)]
    if s3._object_tags.get((job.bucket, job.key, job.record.get("version_id"))):
        needed.append(_role_may(job, "s3:ReplicateTags", target, job.region))
    if _is_kms(job.record):
        key = job.record["preserved_headers"].get(_KEY, "")
        needed.append(_role_may(job, "kms:Decrypt", key, job.region, {
            "kms:ViaService": f"s3.{job.region}.amazonaws.com", "kms:EncryptionContext:aws:s3:arn": source}))
        with request_scope(job.account, there):
            needed.append(_role_may(job, "kms:Encrypt", _replica_key(job.rule) or "", there, {
                "kms:ViaService": f"s3.{there}.amazonaws.com", "kms:EncryptionContext:aws:s3:arn": target}))
    return all(needed)


def _role_may(job, action, resource, region, context=None):
    from ministack.services import iam as iam_service

    role = iam_service._roles.get_scoped(job.account, None, job.role.rsplit("/", 1)[-1])
    if role is None or "s3.amazonaws.com" not in str(role.get("AssumeRolePolicyDocument")):
        return False
    return iam.role_may(job.role, action, resource, region, "s3-replication", context)


def _replica_key(rule):
    return ((rule.get("Destination") or {}).get("EncryptionConfiguration") or {}).get("ReplicaKmsKeyID")


def _write(job, version, name, bucket, tags):
    """Put the replica into the destination bucket; runs in the scope of its account."""
    history = s3._object_versions.setdefault((name, job.key), [])
    if any(one["version_id"] == version["version_id"] for one in history):
        return
    prior = bucket["objects"].get(job.key)
    if job.record is None:
        s3._record_delete_marker(name, job.key, prior)
        history[-1]["version_id"] = version["version_id"]
        bucket["objects"].pop(job.key, None)
        return
    replica = copy.deepcopy(job.record)
    replica["replication_status"] = "REPLICA"
    replica.pop("version_id", None)
    headers = {key: value for key, value in replica.get("preserved_headers", {}).items() if not key.startswith(_SSE)}
    if _is_kms(job.record):
        headers |= {_SSE: "aws:kms", _KEY: _replica_key(job.rule)}
    else:
        headers |= s3._bucket_default_sse_headers(name)
    replica["preserved_headers"] = headers
    if storage_class := (job.rule.get("Destination") or {}).get("StorageClass"):
        replica["storage_class"] = storage_class
    bucket["objects"][job.key] = replica
    s3._record_object_version(name, job.key, prior, replica, job.data)
    replica["version_id"] = history[-1]["version_id"] = version["version_id"]
    if tags:
        s3._object_tags[(name, job.key, version["version_id"])] = dict(tags)
    s3._apply_object_lock_from_headers(name, job.key, {}, version["version_id"])
    s3._fire_s3_event_async(name, job.key, "s3:ObjectCreated:Put", size=replica["size"], etag=replica["etag"],
                            version_id=version["version_id"])


def _mark(job, status):
    if job.record is None:
        return
    job.record["replication_status"] = status
    with request_scope(job.account, job.region), contextlib.suppress(LookupError):
        for version in s3._object_versions.get((job.bucket, job.key)) or []:
            if version["version_id"] == job.record.get("version_id"):
                version["replication_status"] = status
        current = s3._buckets[job.bucket]["objects"].get(job.key)
        if current and current.get("version_id") == job.record.get("version_id"):
            current["replication_status"] = status


def control(account, bucket, mode):
    """Set how a source bucket replicates: `on`, `paused` (what comes stays in line), `failing`; answers what waits."""
    if not s3._buckets.contains_scoped(account, None, bucket):
        raise errors.Refused(f"no bucket {bucket} in account {account}")
    if mode not in ("on", "paused", "failing"):
        raise errors.Refused(f"replication is on, paused or failing, not {mode}")
    with _changed:
        for those, name in ((_paused, "paused"), (_failing, "failing")):
            (those.add if mode == name else those.discard)((account, bucket))
        _changed.notify()
        return {"waiting": sum((job.account, job.bucket) == (account, bucket) for job in _line)}


def forget(account):
    """Drop what waits of an account."""
    with _changed:
        for job in [job for job in _line if job.account == account]:
            _line.remove(job)
        for those in (_paused, _failing):
            those.difference_update({one for one in those if one[0] == account})
        _changed.notify()


def install():
    """Replace MiniStack's replication and start the thread."""
    s3._maybe_replicate = _maybe_replicate
    s3._maybe_replicate_delete_marker = _maybe_replicate_delete_marker
    threading.Thread(target=_work, daemon=True, name="replication").start()

"""KMS across accounts, and AWS managed keys: what MiniStack's KMS does not know of.

A key's ARN works from another account, in the same region, if the key's policy and the caller's allow it; whether they
do is decided by IAM, which needs the policy and the owner.
"""

import json

import ministack.services.kms as kms
from ministack.core.responses import get_region, request_scope

_ministack_resolve = kms._resolve_key
_ministack_metadata = kms._key_metadata


def _resolve_key(key_id_or_arn):
    found = _ministack_resolve(key_id_or_arn)
    if found is None and str(key_id_or_arn).startswith("arn:") and key_id_or_arn.split(":")[3] == get_region():
        found = of_arn(key_id_or_arn)
    return found


def policy_for_arn(resource_arn):
    """The key's policy and the account that owns the key; None: no such key."""
    record = kms._resolve_key(resource_arn)
    return (record.get("Policy") or "", record["Arn"].split(":")[4]) if record else None


def _key_metadata(record):
    return {**_ministack_metadata(record), "KeyManager": record.get("KeyManager", "CUSTOMER")}


def of_arn(arn):
    """A key by its ARN, wherever it is; None: there is none."""
    parts = arn.split(":", 5)
    return kms._keys.get_scoped(parts[4], parts[3], parts[5].removeprefix("key/")) if len(parts) == 6 else None


def resolve(account, region, key_id):
    """A key by id, ARN or alias as seen from this account and region; None: there is none."""
    with request_scope(account, region):
        return kms._resolve_key(key_id)


def managed(account, region, alias, description):
    """The AWS managed key of this alias, which comes into being when it is first used."""
    with request_scope(account, region):
        found = kms._resolve_key(alias)
        if found is None:
            _, _, body = kms._create_key({"Description": description})
            found = kms._resolve_key(json.loads(body)["KeyMetadata"]["KeyId"])
            found["KeyManager"] = "AWS"
            kms._create_alias({"AliasName": alias, "TargetKeyId": found["KeyId"]})
        return found


def install():
    """Replace MiniStack's functions by these."""
    kms._resolve_key = _resolve_key
    kms.key_policy_for_arn = policy_for_arn
    kms._key_metadata = _key_metadata

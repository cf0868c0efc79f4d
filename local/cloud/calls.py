"""The record of AWS API calls: who asked for what, and whether it was allowed.

Tests prove least privilege with it: a permission in a role that no call used is too much. One request can be several
records (a multipart upload to an encrypted bucket is `s3:PutObject` and `kms:GenerateDataKey`), as in IAM's own terms.
"""

import collections
import datetime
import itertools
import threading

# Old records fall off: a soak run must not grow without bound.
_KEPT = 200_000
_numbers = itertools.count(1)
_records = collections.deque(maxlen=_KEPT)
_lock = threading.Lock()
# Session name of a function's credentials is the function's name; the key says that it is a function's.
_function_keys = {}


def function_key(access_key, function):
    """Remember that this access key was handed to a function."""
    _function_keys[access_key] = function


def role_of(principal):
    """The role's ARN for an assumed-role session's ARN; other principals as they are."""
    parts = principal.split(":")
    if len(parts) == 6 and parts[2] == "sts" and parts[5].startswith("assumed-role/"):
        return f"arn:aws:iam::{parts[4]}:role/{parts[5].split('/')[1]}"
    return principal


def record(account, principal, action, resource, allowed, access_key="", source=None):
    """Add one call."""
    with _lock:
        _records.append({
            "n": next(_numbers), "time": datetime.datetime.now(datetime.timezone.utc).isoformat(),
            "account": account, "principal": role_of(principal), "action": action, "resource": resource,
            "allowed": allowed, "source": source or _function_keys.get(access_key),
        })


def of_account(account, since=0):
    """The calls of an account with a number above `since`, in order."""
    with _lock:
        return [one for one in _records if one["account"] == account and one["n"] > since]


def forget(account):
    """Drop the records of an account."""
    with _lock:
        kept = [one for one in _records if one["account"] != account]
        _records.clear()
        _records.extend(kept)

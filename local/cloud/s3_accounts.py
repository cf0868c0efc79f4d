"""S3 across accounts: the bucket's policy is asked about the caller itself, not about the caller's account.

MiniStack lets a foreign caller in if the policy allows the root of its account, so a policy that names a role never does.
What the caller's own policies say is decided before (iam.py); both must allow.
"""

import ministack.core.iam_actions as actions
import ministack.core.iam_evaluator as evaluator
import ministack.services.s3 as s3
from ministack.core.responses import get_region, request_scope

from . import request

_ministack_allows = s3._foreign_bucket_allows


def _foreign_bucket_allows(owner, bucket, key, method, query, caller, headers=None):
    policy = s3._bucket_policies.get_scoped(owner, None, bucket)
    if not caller or not policy or (s3._public_access_blocked(owner, bucket, "RestrictPublicBuckets")
                                    and s3._policy_is_public(policy)):
        return _ministack_allows(owner, bucket, key, method, query, caller, headers)
    principal = evaluator.caller_arn() or f"arn:aws:iam::{caller}:root"
    for action, resource in _asked(bucket, key, method, query):
        with request_scope(owner, get_region()):
            context = actions.s3_service_context(action, query, f"/{bucket}/{key}" if key else f"/{bucket}", headers or {})
        checked = evaluator.EvalContext(
            principal_arn=principal, principal_account=caller, action=action, resource_arn=resource, region=get_region(),
            principal_type="AssumedRole" if ":assumed-role/" in principal else "Root", secure_transport=True,
            service_context={name.lower(): value for name, value in context.items()})
        if evaluator.evaluate_resource_policy(policy, checked).decision != "Allow":
            return False
    return True


def _asked(bucket, key, method, query):
    """`(action, resource)` of a request: one, or one for each key that DeleteObjects names."""
    resource = f"arn:aws:s3:::{bucket}"
    if method == "POST" and not key and "delete" in query:
        current = request.current()
        targets = actions._s3_batch_delete_targets(bucket, current.body if current else b"")
        return [("s3:DeleteObjectVersion" if version else "s3:DeleteObject", arn) for arn, version in targets]
    path = f"/{bucket}/{key}" if key else f"/{bucket}"
    action = actions._s3_action(method, path, query) or ("GetObject" if method in ("GET", "HEAD") else "PutObject")
    return [(f"s3:{action}", f"{resource}/{key}" if key else resource)]


def install():
    """Replace MiniStack's function by this."""
    s3._foreign_bucket_allows = _foreign_bucket_allows

"""KMS keys as RDS uses them: the default key, and who may have RDS use which.

RDS answers `KMSKeyNotAccessibleFault` for a key that does not exist, is not enabled, or that the caller may not use. The
caller needs kms:CreateGrant and kms:DescribeKey on a customer managed key (RDS User Guide, "Encrypting Amazon RDS
resources"), in the key's policy too if the key is another account's.
"""

import ministack.core.iam_evaluator as evaluator
from ministack.core.responses import get_account_id
from ministack.core.router import extract_access_key_id
from moto.rds.exceptions import RDSClientError

from . import iam, kms_accounts, request

_DEFAULT_ALIAS = "alias/aws/rds"
_NEEDED = ("kms:DescribeKey", "kms:CreateGrant")


def default(account, region):
    """The key `alias/aws/rds` of an account and region."""
    return kms_accounts.managed(account, region, _DEFAULT_ALIAS, "Default key that protects my RDS database volumes when "
                                "no other key is defined")


def is_default(arn):
    """Whether this is an AWS managed key."""
    return (kms_accounts.of_arn(arn) or {}).get("KeyManager") == "AWS"


def not_accessible(which, key_id):
    """The error; `which` is `source`, `target` or `specified`, in RDS's words."""
    return RDSClientError("KMSKeyNotAccessibleFault", f"The {which} KMS key [{key_id}] does not exist, is not enabled or "
                          "you do not have permissions to access it.")


def enabled(arn):
    """Whether the key exists and is enabled."""
    return (kms_accounts.of_arn(arn) or {}).get("KeyState") == "Enabled"


def usable(account, region, key_id, which="specified"):
    """The ARN of a key that the caller names; raises when it cannot be used."""
    if key_id in (_DEFAULT_ALIAS, f"arn:aws:kms:{region}:{account}:{_DEFAULT_ALIAS}"):
        return default(account, region)["Arn"]
    found = kms_accounts.resolve(account, region, key_id)
    if found is None or found["Arn"].split(":")[3] != region or not enabled(found["Arn"]) or not caller_may_use(
            found["Arn"], region):
        raise not_accessible(which, key_id)
    return found["Arn"]


def caller_may_use(arn, region):
    """Whether who made the current request may have RDS use this key."""
    current = request.current()
    if is_default(arn):
        return arn.split(":")[4] == get_account_id()
    if current is None:
        return True
    access_key = extract_access_key_id(current.headers, current.query) or ""
    context = {"kms:ViaService": f"rds.{region}.amazonaws.com", "kms:GrantIsForAWSResource": "true"}
    for action in _NEEDED:
        if iam.decide(access_key, action, "kms", region, arn, context) is not None:
            return False
        if evaluator._is_root_key(access_key) and not _root_may(action, arn, region, context):
            return False
    return True


def _root_may(action, arn, region, context):
    """Root of an account is above its own policies, not above the key policies of other accounts."""
    account = get_account_id()
    policy, owner = kms_accounts.policy_for_arn(arn) or ("", "")
    checked = evaluator.EvalContext(
        principal_arn=f"arn:aws:iam::{account}:root", principal_type="Root", principal_account=account, action=action,
        resource_arn=arn, region=region, secure_transport=True,
        service_context={name.lower(): value for name, value in context.items()})
    return owner == account or evaluator.evaluate_resource_policy(policy, checked).decision == "Allow"

"""What RDS checks before it copies a snapshot: the source, the keys, the presigned URL.

| copy | needs |
|---|---|
| encrypted, to another region | a key of the destination region; a presigned CopyDBSnapshot of the source region |
| of another account's snapshot | the snapshot shared with us, in the same region if it is encrypted |
| of another account's encrypted one | a key of ours; kms:CreateGrant and kms:DescribeKey on the source's key |

Sources: API reference of CopyDBSnapshot; RDS User Guide, "Copying a DB snapshot", "Sharing a DB snapshot". The texts of
errors are those that AWS gave to users who published them.
"""

import urllib.parse

import ministack.core.iam_evaluator as evaluator
import ministack.core.sigv4 as sigv4
from ministack.core.responses import get_account_id
from ministack.core.router import extract_access_key_id
from moto.rds.exceptions import RDSClientError

from . import rds_keys, request

_PRESIGNED_PARAMETERS = ("Action", "DestinationRegion", "SourceDBSnapshotIdentifier", "KmsKeyId")


def key_of_copy(source, account, region, key_id, presigned_url):
    """The ARN of the key of a copy that is made in this account and region, or None if the copy is not encrypted."""
    foreign, remote = source.account_id != account, source.region != region
    if not source.encrypted:
        return rds_keys.usable(account, region, key_id, "target") if key_id else None
    if foreign and remote:
        raise RDSClientError("InvalidParameterCombination", "An encrypted snapshot that is shared by another account can "
                             "be copied in its own region only.")
    if remote and not key_id:
        raise RDSClientError("InvalidParameterValue",
                             "Must specify new KMS key for cross region encrypted snapshot copy.")
    if foreign and not key_id:
        raise rds_keys.not_accessible("target", None)
    if not rds_keys.enabled(source.kms_key_id):
        raise rds_keys.not_accessible("source", source.kms_key_id)
    if foreign and not rds_keys.caller_may_use(source.kms_key_id, region):
        raise rds_keys.not_accessible("source", source.kms_key_id)
    key = rds_keys.usable(account, region, key_id, "target") if key_id else source.kms_key_id
    if remote:
        _check_presigned(presigned_url, source, region, key_id)
    return key


def _check_presigned(url, source, region, key_id):
    """The URL must be what the caller could send to the source region: CopyDBSnapshot, signed there, with our values."""
    if not url:
        raise _invalid("PreSignedUrl must be specified to copy an encrypted snapshot from another region.")
    parts = urllib.parse.urlsplit(url)
    query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
    wanted = {"Action": "CopyDBSnapshot", "DestinationRegion": region, "SourceDBSnapshotIdentifier": source.arn,
              "KmsKeyId": key_id}
    for name in _PRESIGNED_PARAMETERS:
        if query.get(name) != [wanted[name]]:
            raise _invalid(f"PreSignedUrl: {name} is {query.get(name)}, expected {wanted[name]}")
    signature = sigv4.parse_query_signature(query)
    if isinstance(signature, tuple):
        raise _invalid(f"PreSignedUrl could not be authenticated: {signature[1]}")
    if (signature.region, signature.service) != (source.region, "rds"):
        raise _invalid(f"PreSignedUrl could not be authenticated: it is signed for {signature.service} in "
                       f"{signature.region}, not for rds in {source.region}")
    _check_signature(signature, parts, query)


def _check_signature(signature, parts, query):
    current = request.current()
    caller = extract_access_key_id(current.headers, current.query) if current else signature.access_key_id
    if signature.access_key_id != caller:
        raise _invalid("PreSignedUrl could not be authenticated: it is signed by somebody else")
    if evaluator._is_root_key(caller):      # the stand-in knows no secret of root
        return
    token = (query.get("X-Amz-Security-Token") or [""])[0]
    credential = evaluator.resolve_credential(caller, get_account_id(), token)
    if isinstance(credential, evaluator.CredentialResolutionError):
        raise _invalid(f"PreSignedUrl could not be authenticated: {credential.message}")
    expires = (query.get("X-Amz-Expires") or ["0"])[0]
    if not expires.isdigit() or sigv4.presigned_request_is_expired(signature.amz_date, expires):
        raise _invalid("PreSignedUrl could not be authenticated: it has expired")
    failure = sigv4.header_signature_failure(signature, credential.secret_access_key, "GET", parts.path or "/", query,
                                             {"host": parts.netloc}, b"", presigned=True)
    if failure:
        raise _invalid(f"PreSignedUrl could not be authenticated: {failure[1]}")


def _invalid(message):
    return RDSClientError("InvalidParameterValue", message)

"""KMS permissions that other calls imply: AWS uses the caller's own permissions on a customer managed key.

| call | implied, with a customer managed key |
|---|---|
| S3 PutObject, CopyObject, CreateMultipartUpload | kms:GenerateDataKey |
| S3 UploadPart, CompleteMultipartUpload, UploadPartCopy | kms:Decrypt |
| S3 GetObject; HeadObject with checksum mode | kms:Decrypt |
| SSM PutParameter of a SecureString | kms:Encrypt (GenerateDataKey in the advanced tier) |
| SSM GetParameter* with decryption | kms:Decrypt |
| SNS Publish, SQS SendMessage | kms:GenerateDataKey and kms:Decrypt |
| SQS ReceiveMessage | kms:Decrypt |
| Secrets Manager CreateSecret, PutSecretValue, UpdateSecret with a value | kms:GenerateDataKey and kms:Decrypt |
| Secrets Manager UpdateSecret with another key | kms:Encrypt, too |
| Secrets Manager GetSecretValue | kms:Decrypt |

AWS managed keys (alias/aws/…) need nothing in the caller's policy: their key policy lets the account's principals use
them through the service. Sources: the user guides' pages on encryption of each service.
"""

import json

import ministack.services.kms as kms
import ministack.services.s3 as s3
import ministack.services.secretsmanager as secretsmanager
import ministack.services.sns as sns
import ministack.services.sqs as sqs
import ministack.services.ssm as ssm
from ministack.core.responses import get_account_id, get_region, request_scope


def checks(iam_action, resource_arn, request, region):
    """`(action, key ARN, context)` for each implied permission of this request."""
    by_action = {
        "s3:PutObject": _s3_write, "s3:GetObject": _s3_read, "s3:GetObjectVersion": _s3_read,
        "ssm:PutParameter": _ssm_write, "ssm:GetParameter": _ssm_read, "ssm:GetParameters": _ssm_read,
        "ssm:GetParametersByPath": _ssm_read, "ssm:GetParameterHistory": _ssm_read,
        "secretsmanager:CreateSecret": _secret_write, "secretsmanager:PutSecretValue": _secret_write,
        "secretsmanager:UpdateSecret": _secret_write, "secretsmanager:GetSecretValue": _secret_read,
        "sns:Publish": _sns_publish, "sqs:SendMessage": _sqs_send, "sqs:ReceiveMessage": _sqs_receive,
    }
    find = by_action.get(iam_action)
    if find is None:
        return []
    service = iam_action.split(":")[0]
    found = []
    for key_id, key_actions, encryption_context in find(request, resource_arn):
        arn = _customer_key(key_id)
        if arn is None:
            continue
        context = {"kms:ViaService": f"{service}.{region}.amazonaws.com"}
        context |= {f"kms:EncryptionContext:{name}": value for name, value in encryption_context.items()}
        found += [(action, arn, context) for action in key_actions]
    return found


def _customer_key(key_id):
    """The ARN of a customer managed key, by id, ARN or alias; None for AWS managed and unknown keys."""
    if not key_id or "alias/aws/" in key_id:
        return None
    record = kms._resolve_key(key_id)
    if not record or record.get("KeyManager") == "AWS":
        return None
    return record.get("Arn")


def _bucket_and_key(request):
    bucket, _, key = request.path.lstrip("/").partition("/")
    return bucket, key


def _sse_key(headers):
    if (headers or {}).get("x-amz-server-side-encryption") != "aws:kms":
        return None
    return headers.get("x-amz-server-side-encryption-aws-kms-key-id")


def _in_owners_scope(find):
    """A bucket may be another account's: its records are in the owner's scope, and so are its keys' short names."""
    def found(request, resource_arn):
        bucket = resource_arn.removeprefix("arn:aws:s3:::").partition("/")[0]
        with request_scope(s3._bucket_owner_account(bucket) or get_account_id(), get_region()):
            shown = list(find(request, resource_arn))
            return [((kms._resolve_key(key_id) or {}).get("Arn") or key_id, *rest) for key_id, *rest in shown]

    return found


@_in_owners_scope
def _s3_write(request, resource_arn):
    bucket, _ = _bucket_and_key(request)
    upload = request.parameter("uploadId")
    if upload:
        record = s3._multipart_uploads.get(upload) or {}
        yield _sse_key(record.get("preserved_headers")), ["kms:Decrypt"], {"aws:s3:arn": resource_arn}
        return
    effective, error = s3._resolve_sse_write_headers(request.headers, bucket)
    if not error:
        yield _sse_key(effective), ["kms:GenerateDataKey"], {"aws:s3:arn": resource_arn}


@_in_owners_scope
def _s3_read(request, resource_arn):
    if request.method == "HEAD" and (request.header("x-amz-checksum-mode") or "").upper() != "ENABLED":
        return
    if request.method in ("GET", "HEAD"):
        bucket, key = _bucket_and_key(request)
    else:       # the source of a copy
        bucket, _, key = resource_arn.removeprefix("arn:aws:s3:::").partition("/")
    record = (s3._buckets.get(bucket) or {}).get("objects", {}).get(key)
    version = request.parameter("versionId")
    if version:
        for kept in s3._object_versions.get((bucket, key)) or []:
            if kept.get("version_id") == version:
                record = kept.get("obj_record") or record
    if record:
        yield _sse_key(s3._stored_sse_headers(record)), ["kms:Decrypt"], {"aws:s3:arn": resource_arn}


def _json(request):
    try:
        return json.loads(request.body or b"{}")
    except ValueError:
        return {}


def _ssm_write(request, resource_arn):
    data = _json(request)
    present = ssm._parameters.get(data.get("Name")) or {}
    if (data.get("Type") or present.get("Type")) == "SecureString":
        tier = data.get("Tier") or present.get("Tier")
        action = "kms:GenerateDataKey" if tier == "Advanced" else "kms:Encrypt"
        yield data.get("KeyId"), [action], {"PARAMETER_ARN": resource_arn}


def _ssm_read(request, _resource_arn):
    data = _json(request)
    if not data.get("WithDecryption"):
        return
    path = data.get("Path")
    names = data.get("Names") or ([data["Name"]] if data.get("Name") else [])
    if path is not None:
        names = [name for name in ssm._parameters if name.startswith(path.rstrip("/") + "/")]
    for name in names:
        found = ssm._parameters.get(name if name.startswith("arn:") else name.split(":")[0])
        if found and found.get("Type") == "SecureString":
            yield found.get("KeyId"), ["kms:Decrypt"], {"PARAMETER_ARN": found.get("ARN", "")}


def _sns_publish(request, resource_arn):
    topic = sns._topics.get(resource_arn) or {}
    yield (topic.get("attributes") or {}).get("KmsMasterKeyId"), ["kms:GenerateDataKey", "kms:Decrypt"], {
        "aws:sns:topicArn": resource_arn}


def _queue_key(resource_arn):
    queue = sqs._queue_by_arn(resource_arn) or {}
    return (queue.get("attributes") or {}).get("KmsMasterKeyId")


def _sqs_send(_request, resource_arn):
    yield _queue_key(resource_arn), ["kms:GenerateDataKey", "kms:Decrypt"], {"aws:sqs:arn": resource_arn}


def _sqs_receive(_request, resource_arn):
    yield _queue_key(resource_arn), ["kms:Decrypt"], {"aws:sqs:arn": resource_arn}


def _secret_write(request, resource_arn):
    data = _json(request)
    secret = secretsmanager._resolve(resource_arn)[1]
    new_key = data.get("KmsKeyId")
    if secret is None and "Name" not in data:
        return
    # The six characters after a new secret's name are not drawn yet: a policy can say `-??????` only.
    arn = secret["ARN"] if secret else f"{resource_arn}-??????"
    has_value = data.get("SecretString") is not None or data.get("SecretBinary") is not None
    if has_value or (new_key and secret):
        actions = ["kms:GenerateDataKey", "kms:Decrypt"] + (["kms:Encrypt"] if new_key and secret else [])
        yield new_key or (secret or {}).get("KmsKeyId"), actions, {"SecretARN": arn}


def _secret_read(request, resource_arn):
    secret = secretsmanager._resolve(resource_arn)[1]
    if secret:
        data = _json(request)
        version_id = data.get("VersionId") or secretsmanager._find_stage_version(
            secret, data.get("VersionStage") or "AWSCURRENT")[0]
        context = {"SecretARN": secret["ARN"]} | ({"SecretVersionId": version_id} if version_id else {})
        yield secret.get("KmsKeyId"), ["kms:Decrypt"], context

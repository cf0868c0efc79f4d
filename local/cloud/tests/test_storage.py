"""S3 objects of hundreds of megabytes and every checksum; SSM's limits."""

import base64
import hashlib
import struct
import time
import unittest
import zlib

import harness
from botocore.exceptions import ClientError

PART_BYTES = 32 * 1024 * 1024
PARTS = 10


class Storage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.account = harness.Account(harness.shared_cloud())
        cls.s3 = cls.account.client("s3")
        cls.s3.create_bucket(Bucket=f"objects-{cls.account.id}", ObjectLockEnabledForBucket=True,
                             CreateBucketConfiguration={"LocationConstraint": harness.REGION})
        cls.bucket = f"objects-{cls.account.id}"

    @classmethod
    def tearDownClass(cls):
        cls.account.cloud.post("account/drop", account=cls.account.id)

    def test_a_large_multipart_upload_comes_back_whole(self):
        body = hashlib.sha256(b"seed").digest() * (PART_BYTES // 32)
        digest, started = hashlib.sha256(), time.monotonic()
        upload = self.s3.create_multipart_upload(Bucket=self.bucket, Key="large", ChecksumAlgorithm="CRC64NVME")["UploadId"]
        parts = []
        for number in range(1, PARTS + 1):
            part = bytes([number]) + body[1:]
            digest.update(part)
            sent = self.s3.upload_part(Bucket=self.bucket, Key="large", UploadId=upload, PartNumber=number, Body=part,
                                       ChecksumAlgorithm="CRC64NVME")
            parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC64NVME": sent["ChecksumCRC64NVME"]})
        self.s3.complete_multipart_upload(Bucket=self.bucket, Key="large", UploadId=upload, IfNoneMatch="*",
                                          MultipartUpload={"Parts": parts})
        seconds = time.monotonic() - started
        received = hashlib.sha256()
        for chunk in self.s3.get_object(Bucket=self.bucket, Key="large")["Body"].iter_chunks(1 << 20):
            received.update(chunk)
        self.assertEqual(received.digest(), digest.digest())
        self.assertLess(seconds, 25)        # in pure Python the checksums alone would take over half a minute

    def test_every_checksum_is_verified(self):
        body = b"123456789"
        values = {      # the algorithms' published check values
            "ChecksumCRC32C": struct.pack(">I", 0xE3069283), "ChecksumCRC64NVME": struct.pack(">Q", 0xAE8B14860A799888),
            "ChecksumCRC32": struct.pack(">I", zlib.crc32(body)), "ChecksumSHA256": hashlib.sha256(body).digest(),
        }
        for name, value in values.items():
            with self.subTest(name):
                right = {name: base64.b64encode(value).decode()}
                self.s3.put_object(Bucket=self.bucket, Key=name, Body=body, **right)
                head = self.s3.head_object(Bucket=self.bucket, Key=name, ChecksumMode="ENABLED")
                self.assertEqual(head[name], right[name])
                wrong = {name: base64.b64encode(b"\0" + value[1:]).decode()}
                with self.assertRaises(ClientError) as caught:
                    self.s3.put_object(Bucket=self.bucket, Key=name, Body=body, **wrong)
                self.assertEqual(caught.exception.response["Error"]["Code"], "BadDigest")

    def test_a_locked_version_cannot_be_deleted(self):
        self.s3.put_object_lock_configuration(Bucket=self.bucket, ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}})
        version = self.s3.put_object(Bucket=self.bucket, Key="locked", Body=b"x")["VersionId"]
        with self.assertRaises(ClientError):
            self.s3.delete_object(Bucket=self.bucket, Key="locked", VersionId=version)

    def test_parameter_versions_labels_and_sizes(self):
        ssm = self.account.client("ssm")
        put = {"Name": "/p", "Type": "String", "Overwrite": True}
        ssm.put_parameter(Name="/p", Type="String", Value="1")
        ssm.label_parameter_version(Name="/p", ParameterVersion=1, Labels=["current"])
        for number in range(2, 101):
            ssm.put_parameter(**put, Value=str(number))
        with self.assertRaisesRegex(ClientError, "ParameterMaxVersionLimitExceeded"):
            ssm.put_parameter(**put, Value="101")
        self.assertEqual(ssm.get_parameter(Name="/p:current")["Parameter"]["Value"], "1")
        moved = ssm.label_parameter_version(Name="/p", ParameterVersion=100, Labels=["current", "1bad", "aws-bad"])
        self.assertEqual(moved["InvalidLabels"], ["1bad", "aws-bad"])
        ssm.put_parameter(**put, Value="101")
        self.assertEqual(ssm.get_parameter(Name="/p:current")["Parameter"]["Value"], "100")
        with self.assertRaisesRegex(ClientError, "ParameterVersionNotFound"):
            ssm.get_parameter(Name="/p:1")
        with self.assertRaisesRegex(ClientError, "ParameterVersionLabelLimitExceeded"):
            ssm.label_parameter_version(Name="/p", ParameterVersion=100, Labels=[f"l{n}" for n in range(10)])
        removed = ssm.unlabel_parameter_version(Name="/p", ParameterVersion=100, Labels=["current", "absent"])
        self.assertEqual((removed["RemovedLabels"], removed["InvalidLabels"]), (["current"], ["absent"]))
        with self.assertRaises(ClientError):
            ssm.get_parameter(Name="/p:current")
        with self.assertRaisesRegex(ClientError, "4096"):
            ssm.put_parameter(**put, Value="x" * 4097)

    def test_a_parameter_keeps_its_type_and_its_key_is_named_each_time(self):
        ssm, kms = self.account.client("ssm"), self.account.client("kms")
        key = kms.create_key()["KeyMetadata"]["Arn"]
        ssm.put_parameter(Name="/typed", Type="SecureString", KeyId=key, Value="1")
        self.assertEqual(ssm.put_parameter(Name="/typed", Value="2", KeyId=key, Overwrite=True)["Version"], 2)

        def kept():
            return [(one["Type"], one["KeyId"]) for one in ssm.get_parameter_history(Name="/typed")["Parameters"]]

        self.assertEqual(kept(), [("SecureString", key)] * 2)
        with self.assertRaisesRegex(ClientError, "HierarchyTypeMismatchException"):
            ssm.put_parameter(Name="/typed", Type="String", Value="3", Overwrite=True)
        with self.assertRaisesRegex(ClientError, "KeyId is required for SecureString"):
            ssm.put_parameter(Name="/plain", Type="String", KeyId=key, Value="1")
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ssm:PutParameter", "Resource": "*"}]}
        writer = self.account.client("ssm", **self.account.create_role("writer", policy))
        with self.assertRaisesRegex(ClientError, "kms:Encrypt"):
            writer.put_parameter(Name="/typed", Value="3", KeyId=key, Overwrite=True)
        # Without a key the account's default one is used, whatever the version before had.
        writer.put_parameter(Name="/typed", Value="3", Overwrite=True)
        self.assertEqual(kept()[-1], ("SecureString", "alias/aws/ssm"))

    def test_reads_can_be_stale_and_writes_can_collide(self):
        ssm, cloud = self.account.client("ssm"), self.account.cloud
        read = lambda: ssm.get_parameter(Name="/stale")["Parameter"]      # noqa: E731
        ssm.put_parameter(Name="/stale", Type="String", Value="1")
        cloud.post("ssm", account=self.account.id, name="/stale", staleReads=1)
        with self.assertRaisesRegex(ClientError, "ParameterNotFound"):
            read()
        ssm.put_parameter(Name="/stale", Value="2", Overwrite=True)
        cloud.post("ssm", account=self.account.id, name="/stale", staleReads=3)
        self.assertEqual((read()["Value"], read()["Version"]), ("1", 1))
        with self.assertRaisesRegex(ClientError, "ParameterVersionNotFound"):
            ssm.get_parameter(Name="/stale:2")
        self.assertEqual((read()["Value"], read()["Version"]), ("2", 2))
        self.assertEqual(cloud.post("ssm", account=self.account.id, name="/stale", tooManyUpdates=1)["staleReads"], 0)
        with self.assertRaisesRegex(ClientError, "TooManyUpdates"):
            ssm.put_parameter(Name="/stale", Value="3", Overwrite=True)
        self.assertEqual(ssm.put_parameter(Name="/stale", Value="3", Overwrite=True)["Version"], 3)


if __name__ == "__main__":
    unittest.main()

"""S3 replication from a template: soon, by the role, under the other key, with the source's version ids."""

import base64
import hashlib
import json
import os
import unittest

import harness
from botocore.exceptions import ClientError

HERE = os.path.dirname(os.path.abspath(__file__))
AWAY = "eu-west-1"


class Replication(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()

    def replicated(self, other_account=False):
        """An account with a replicated bucket, the account of its target, and clients of both."""
        source = harness.Account(self.cloud)
        target = harness.Account(self.cloud) if other_account else source
        for account in {source, target}:
            self.addCleanup(self.cloud.post, "account/drop", account=account.id)
        outputs = self.cloud.post("deploy", account=target.id, region=AWAY, stackName="copies",
                                  parameters={"TrustedAccount": source.id},
                                  template=os.path.join(HERE, "copies.yaml"))["outputs"]
        self.answer = self.cloud.post(
            "deploy", account=source.id, stackName="archive", template=os.path.join(HERE, "replicated.yaml"),
            parameters={"TargetBucket": outputs["BucketName"], "TargetKey": outputs["KeyArn"]})
        self.assertEqual("RoleArn" in outputs, other_account)      # a condition that looks at AWS::AccountId
        self.role = self.answer["outputs"]["RoleArn"]
        return (source.client("s3"), self.answer["outputs"]["BucketName"], target.client("s3", AWAY),
                outputs["BucketName"], outputs["KeyArn"], source, target)

    def status(self, client, bucket, key, expected, **more):
        def reached():
            try:
                head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED", **more)
            except ClientError:
                return None
            return head if head.get("ReplicationStatus") == expected else None

        return harness.eventually(reached, 5)

    def absent(self, client, bucket, key):
        with self.assertRaises(ClientError):
            client.head_object(Bucket=bucket, Key=key)

    def test_an_object_arrives_as_it_is_under_the_other_key(self):
        here, bucket, there, target, key, source, _ = self.replicated()
        self.assertEqual(self.answer["unsupported"], [])
        digest = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
        put = here.put_object(Bucket=bucket, Key="dumps/one", Body=b"content", ChecksumSHA256=digest,
                              Metadata={"made": "by test"}, Tagging="kind=daily")
        done = self.status(here, bucket, "dumps/one", "COMPLETED")
        replica = self.status(there, target, "dumps/one", "REPLICA", VersionId=put["VersionId"])
        for name in ("VersionId", "ContentLength", "ETag", "ChecksumSHA256", "Metadata", "LastModified"):
            self.assertEqual(replica[name], done[name], name)
        self.assertEqual((replica["SSEKMSKeyId"], replica["StorageClass"], replica["ChecksumSHA256"]),
                         (key, "STANDARD_IA", digest))
        self.assertNotEqual(done["SSEKMSKeyId"], key)
        self.assertEqual(there.get_object(Bucket=target, Key="dumps/one")["Body"].read(), b"content")
        tags = there.get_object_tagging(Bucket=target, Key="dumps/one")["TagSet"]
        self.assertEqual(tags, [{"Key": "kind", "Value": "daily"}])
        here.put_object(Bucket=bucket, Key="elsewhere", Body=b"x")
        self.assertNotIn("ReplicationStatus", here.head_object(Bucket=bucket, Key="elsewhere"))
        calls = {one["action"]: one["allowed"] for one in self.cloud.get(f"calls?account={source.id}")
                 if one["source"] == "s3-replication"}
        self.assertEqual(calls, {"s3:GetObjectVersionForReplication": True, "s3:ReplicateObject": True,
                                 "s3:ReplicateTags": True, "kms:Decrypt": True, "kms:Encrypt": True})

    def test_a_multipart_upload_and_every_version_arrive_in_order(self):
        here, bucket, there, target, *_ = self.replicated()
        upload = here.create_multipart_upload(Bucket=bucket, Key="dumps/large", ChecksumAlgorithm="SHA256")["UploadId"]
        part = here.upload_part(Bucket=bucket, Key="dumps/large", UploadId=upload, PartNumber=1, Body=b"x" * 1000,
                                ChecksumAlgorithm="SHA256")
        here.complete_multipart_upload(Bucket=bucket, Key="dumps/large", UploadId=upload, MultipartUpload={"Parts": [
            {"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}]})
        versions = [here.put_object(Bucket=bucket, Key="dumps/v", Body=bytes([number]))["VersionId"] for number in range(5)]
        last = self.status(here, bucket, "dumps/v", "COMPLETED")
        self.assertEqual(last["VersionId"], versions[-1])
        listed = there.list_object_versions(Bucket=target, Prefix="dumps/v")["Versions"]
        self.assertEqual([one["VersionId"] for one in listed], versions[::-1])
        source = self.status(here, bucket, "dumps/large", "COMPLETED")
        replica = self.status(there, target, "dumps/large", "REPLICA")
        self.assertEqual((source["ChecksumSHA256"], source["ChecksumType"], source["ETag"]),
                         (replica["ChecksumSHA256"], replica["ChecksumType"], replica["ETag"]))

    def test_lag_is_seen_and_delete_markers_follow_the_rule(self):
        here, bucket, there, target, _, source, _ = self.replicated()
        control = {"account": source.id, "bucket": bucket}
        self.cloud.post("s3", **control, replication="paused")
        here.put_object(Bucket=bucket, Key="dumps/late", Body=b"x")
        here.put_object(Bucket=bucket, Key="verifications/late", Body=b"x")
        self.assertEqual(here.head_object(Bucket=bucket, Key="dumps/late")["ReplicationStatus"], "PENDING")
        self.absent(there, target, "dumps/late")
        self.assertEqual(self.cloud.post("s3", **control, replication="paused"), {"waiting": 2})
        self.cloud.post("s3", **control, replication="on")
        self.status(here, bucket, "verifications/late", "COMPLETED")
        here.delete_object(Bucket=bucket, Key="dumps/late")
        marker = here.delete_object(Bucket=bucket, Key="verifications/late")["VersionId"]
        here.put_object(Bucket=bucket, Key="dumps/after", Body=b"x")
        self.status(here, bucket, "dumps/after", "COMPLETED")
        there.head_object(Bucket=target, Key="dumps/late")
        markers = there.list_object_versions(Bucket=target)["DeleteMarkers"]
        self.assertEqual([(one["Key"], one["VersionId"]) for one in markers], [("verifications/late", marker)])
        self.cloud.post("s3", **control, replication="failing")
        here.put_object(Bucket=bucket, Key="dumps/bad", Body=b"x")
        self.status(here, bucket, "dumps/bad", "FAILED")
        self.absent(there, target, "dumps/bad")

    def test_the_role_must_be_allowed(self):
        here, bucket, there, target, _, source, _ = self.replicated()
        iam, role = source.client("iam"), self.role.rsplit("/", 1)[-1]
        policy = iam.get_role_policy(RoleName=role, PolicyName="replicate")["PolicyDocument"]
        for number, action in enumerate(("s3:GetObjectVersionForReplication", "s3:ReplicateObject", "kms:Decrypt",
                                         "kms:Encrypt")):
            with self.subTest(action):
                denied = {"Effect": "Deny", "Action": action, "Resource": "*"}
                iam.put_role_policy(RoleName=role, PolicyName="replicate", PolicyDocument=json.dumps(
                    {**policy, "Statement": [*policy["Statement"], denied]}))
                here.put_object(Bucket=bucket, Key=f"dumps/{number}", Body=b"x")
                self.status(here, bucket, f"dumps/{number}", "FAILED")
                self.absent(there, target, f"dumps/{number}")

    def test_another_account_must_let_the_role_in(self):
        here, bucket, there, target, key, source, other = self.replicated(other_account=True)
        here.put_object(Bucket=bucket, Key="dumps/early", Body=b"x")
        self.status(here, bucket, "dumps/early", "FAILED")
        statement = {"Effect": "Allow", "Principal": {"AWS": self.role}, "Resource": "*"}
        there.put_bucket_policy(Bucket=target, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
            {**statement, "Action": ["s3:ReplicateObject", "s3:ReplicateTags"], "Resource": f"arn:aws:s3:::{target}/*"}]}))
        here.put_object(Bucket=bucket, Key="dumps/keyless", Body=b"x")
        self.status(here, bucket, "dumps/keyless", "FAILED")
        other.client("kms", AWAY).put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps({
            "Version": "2012-10-17", "Statement": [
                {**statement, "Principal": {"AWS": f"arn:aws:iam::{other.id}:root"}, "Action": "kms:*"},
                {**statement, "Action": "kms:Encrypt"}]}))
        here.put_object(Bucket=bucket, Key="dumps/one", Body=b"x")
        self.status(here, bucket, "dumps/one", "COMPLETED")
        self.assertEqual(self.status(there, target, "dumps/one", "REPLICA")["SSEKMSKeyId"], key)

    def test_a_role_reads_another_account_s_bucket_as_both_sides_allow(self):
        source, owner = harness.Account(self.cloud), harness.Account(self.cloud)
        for account in (source, owner):
            self.addCleanup(self.cloud.post, "account/drop", account=account.id)
        outputs = self.cloud.post("deploy", account=owner.id, region=AWAY, stackName="copies",
                                  parameters={"TrustedAccount": source.id},
                                  template=os.path.join(HERE, "copies.yaml"))["outputs"]
        bucket, key = outputs["BucketName"], outputs["KeyArn"]
        root = owner.client("s3", AWAY)
        for name in ("dumps/one", "dumps/two", "other/one"):
            root.put_object(Bucket=bucket, Key=name, Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["s3:*", "kms:Decrypt"], "Resource": "*"}]}
        there = source.client("s3", AWAY, **source.create_role("reader", policy))
        stranger = source.client("s3", AWAY, **source.create_role("stranger", policy))

        def denied(call, **arguments):
            with self.assertRaises(ClientError) as caught:
                call(Bucket=bucket, **arguments)
            self.assertIn(caught.exception.response["Error"]["Code"], ("AccessDenied", "403"))

        denied(there.get_object, Key="dumps/one")
        allow = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{source.id}:role/reader"}}
        root.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
            {**allow, "Action": ["s3:GetObject", "s3:DeleteObject"], "Resource": f"arn:aws:s3:::{bucket}/dumps/*"},
            {**allow, "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}",
             "Condition": {"StringLike": {"s3:prefix": "dumps/*"}}}]}))
        denied(there.get_object, Key="dumps/one")       # the key's policy does not let it
        owner.client("kms", AWAY).put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps({
            "Version": "2012-10-17", "Statement": [
                {**allow, "Principal": {"AWS": f"arn:aws:iam::{owner.id}:root"}, "Action": "kms:*", "Resource": "*"},
                {**allow, "Action": "kms:Decrypt", "Resource": "*"}]}))
        self.assertEqual(there.get_object(Bucket=bucket, Key="dumps/one")["Body"].read(), b"x")
        self.assertEqual(there.list_objects_v2(Bucket=bucket, Prefix="dumps/")["KeyCount"], 2)
        denied(there.list_objects_v2, Prefix="other/")
        denied(there.get_object, Key="other/one")
        denied(there.put_object, Key="dumps/three", Body=b"x")
        denied(stranger.get_object, Key="dumps/one")
        denied(there.delete_objects, Delete={"Objects": [{"Key": "dumps/one"}, {"Key": "other/one"}]})
        there.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "dumps/one"}, {"Key": "dumps/two"}]})
        self.assertEqual(there.list_objects_v2(Bucket=bucket, Prefix="dumps/")["KeyCount"], 0)


if __name__ == "__main__":
    unittest.main()

"""Permissions are enforced as AWS does, denials read as AWS's, and every decision is recorded."""

import json
import unittest

import harness
from botocore.exceptions import ClientError


class Permissions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.outputs = cls.account.deploy()
        resources = cls.account.client("cloudformation").describe_stack_resources(StackName="lifeboat")["StackResources"]
        cls.names = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}
        cls.without_key = cls.account.as_role(cls.names["Role"])
        cls.with_key = cls.account.as_role(cls.names["KeyUserRole"])

    def denied(self, call, *parts, **arguments):
        """The call is denied and the message names these parts; returns the error."""
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        error = caught.exception.response["Error"]
        self.assertRegex(error["Code"], "AccessDenied|AuthorizationError")      # the latter is SNS's own
        message = error.get("Message") or error.get("message")
        for part in ("is not authorized to perform: ", *parts):
            self.assertIn(part, message)
        return message

    def test_writes_must_be_conditional(self):
        s3, bucket = self.account.client("s3", **self.with_key), self.outputs["BucketName"]
        self.denied(s3.put_object, "s3:PutObject on resource", f"{bucket}/dumps/plain", "explicit deny",
                    Bucket=bucket, Key="dumps/plain", Body=b"x")
        s3.put_object(Bucket=bucket, Key="dumps/once", Body=b"x", IfNoneMatch="*")
        with self.assertRaises(ClientError) as caught:
            s3.put_object(Bucket=bucket, Key="dumps/once", Body=b"y", IfNoneMatch="*")
        self.assertEqual(caught.exception.response["Error"]["Code"], "PreconditionFailed")
        self.assertEqual(s3.get_object(Bucket=bucket, Key="dumps/once")["Body"].read(), b"x")

    def test_a_multipart_upload_is_conditional_at_its_end(self):
        s3, bucket = self.account.client("s3", **self.with_key), self.outputs["BucketName"]
        upload = s3.create_multipart_upload(Bucket=bucket, Key="dumps/large")["UploadId"]
        part = s3.upload_part(Bucket=bucket, Key="dumps/large", UploadId=upload, PartNumber=1, Body=b"x" * 100)
        complete = {"Bucket": bucket, "Key": "dumps/large", "UploadId": upload,
                    "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}}
        self.denied(s3.complete_multipart_upload, "explicit deny", **complete)
        s3.complete_multipart_upload(**complete, IfNoneMatch="*")

    def test_encrypted_objects_need_the_key(self):
        root, bucket = self.account.client("s3"), self.outputs["BucketName"]
        root.put_object(Bucket=bucket, Key="dumps/encrypted", Body=b"x", IfNoneMatch="*")
        s3 = self.account.client("s3", **self.without_key)
        self.denied(s3.put_object, "kms:GenerateDataKey on resource: " + self.outputs["KeyArn"],
                    Bucket=bucket, Key="dumps/new", Body=b"x", IfNoneMatch="*")
        self.denied(s3.get_object, "kms:Decrypt on resource: " + self.outputs["KeyArn"],
                    Bucket=bucket, Key="dumps/encrypted")
        s3.head_object(Bucket=bucket, Key="dumps/encrypted")
        self.denied(s3.create_multipart_upload, "kms:GenerateDataKey", Bucket=bucket, Key="dumps/parts")
        with_key = self.account.client("s3", **self.with_key)
        self.assertEqual(with_key.get_object(Bucket=bucket, Key="dumps/encrypted")["Body"].read(), b"x")

    def test_secure_parameters_need_the_key(self):
        ssm = self.account.client("ssm")
        ssm.put_parameter(Name="/lifeboat/own-key", Type="SecureString", Value="v", KeyId=self.outputs["KeyArn"])
        ssm.put_parameter(Name="/lifeboat/aws-key", Type="SecureString", Value="v")
        mine = self.account.client("ssm", **self.without_key)
        self.denied(mine.get_parameter, "kms:Decrypt", Name="/lifeboat/own-key", WithDecryption=True)
        mine.get_parameter(Name="/lifeboat/own-key")
        mine.get_parameter(Name="/lifeboat/aws-key", WithDecryption=True)
        self.denied(mine.get_parameter, "ssm:GetParameter on resource", "parameter/other", Name="/other")
        keyed = self.account.client("ssm", **self.with_key)
        self.assertEqual(keyed.get_parameter(Name="/lifeboat/own-key", WithDecryption=True)["Parameter"]["Value"], "v")

    def test_an_encrypted_topic_needs_the_key(self):
        topic = self.outputs["TopicArn"]
        self.account.client("sns", **self.with_key).publish(TopicArn=topic, Message="m")
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sns:Publish", "Resource": topic}]}
        self.account.client("iam").put_role_policy(RoleName=self.names["Role"], PolicyName="publish",
                                                   PolicyDocument=json.dumps(policy))
        self.denied(self.account.client("sns", **self.without_key).publish, "kms:GenerateDataKey", TopicArn=topic,
                    Message="m")

    def test_metrics_are_bound_to_their_namespace(self):
        metrics = self.account.client("cloudwatch", **self.without_key)
        data = [{"MetricName": "age", "Value": 1.0}]
        metrics.put_metric_data(Namespace="Lifeboat", MetricData=data)
        self.denied(metrics.put_metric_data, "cloudwatch:PutMetricData", Namespace="Other", MetricData=data)

    def test_every_resource_of_an_rds_call_is_checked(self):
        rds = self.account.client("rds", **self.without_key)
        self.denied(rds.create_db_snapshot, "rds:CreateDBSnapshot", ":snapshot:other-1",
                    DBInstanceIdentifier="db1", DBSnapshotIdentifier="other-1")
        with self.assertRaises(ClientError) as caught:      # allowed, so RDS itself answers
            rds.create_db_snapshot(DBInstanceIdentifier="db1", DBSnapshotIdentifier="lifeboat-1")
        self.assertIn("DBInstanceNotFound", caught.exception.response["Error"]["Code"])
        self.denied(rds.describe_db_instances, "rds:DescribeDBInstances on resource: arn:aws:rds:", ":db:*")

    def test_calls_are_recorded(self):
        before = max((one["n"] for one in self.cloud.get(f"calls?account={self.account.id}")), default=0)
        arguments = {"Bucket": self.outputs["BucketName"], "Key": "dumps/recorded", "IfNoneMatch": "*"}
        self.account.invoke(self.outputs["KeyUserName"], {
            "do": "call", "service": "s3", "operation": "put_object", "arguments": arguments})
        made = self.cloud.get(f"calls?account={self.account.id}&since={before}")
        role = f"arn:aws:iam::{self.account.id}:role/{self.names['KeyUserRole']}"
        mine = {(one["action"], one["resource"]): one for one in made if one["principal"] == role}
        put = mine["s3:PutObject", f"arn:aws:s3:::{self.outputs['BucketName']}/dumps/recorded"]
        self.assertTrue(put["allowed"])
        self.assertEqual(put["source"], self.outputs["KeyUserName"])
        self.assertIn(("kms:GenerateDataKey", self.outputs["KeyArn"]), mine)
        self.assertIn("logs:PutLogEvents", [action for action, _ in mine])

    def test_a_wrong_secret_is_refused(self):
        wrong = {**self.with_key, "aws_secret_access_key": "wrong"}
        with self.assertRaises(ClientError) as caught:
            self.account.client("s3", **wrong).get_object(Bucket=self.outputs["BucketName"], Key="dumps/x")
        self.assertEqual(caught.exception.response["Error"]["Code"], "SignatureDoesNotMatch")


if __name__ == "__main__":
    unittest.main()

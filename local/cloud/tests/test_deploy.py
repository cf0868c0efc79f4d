"""A deployed template is all there: also what MiniStack's CloudFormation leaves out."""

import json
import os
import unittest

import harness


class Deploy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.account = harness.Account(harness.shared_cloud())
        cls.outputs = cls.account.deploy()

    def test_what_cloudformation_leaves_out_is_applied(self):
        s3, bucket = self.account.client("s3"), self.outputs["BucketName"]
        rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
        self.assertEqual(rule["ApplyServerSideEncryptionByDefault"],
                         {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": self.outputs["KeyArn"]})
        lock = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
        self.assertEqual(lock["Rule"]["DefaultRetention"], {"Mode": "GOVERNANCE", "Days": 7})
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        self.assertEqual(rules[0]["AbortIncompleteMultipartUpload"], {"DaysAfterInitiation": 2})
        topic = self.account.client("sns").get_topic_attributes(TopicArn=self.outputs["TopicArn"])["Attributes"]
        self.assertEqual(topic["KmsMasterKeyId"], self.outputs["KeyArn"])
        schedule = self.account.client("scheduler").get_schedule(Name=self.outputs["ScheduleName"])
        self.assertEqual(schedule["ScheduleExpressionTimezone"], "Europe/Berlin")
        self.assertEqual(schedule["Target"]["RetryPolicy"], {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3600})
        invoke = self.account.client("lambda").get_function_event_invoke_config(FunctionName=self.outputs["WorkerName"])
        self.assertEqual(invoke["MaximumRetryAttempts"], 1)

    def test_the_unsupported_is_named(self):
        named = "\n".join(self.account.answer["unsupported"])
        self.assertIn("AWS::CloudWatch::Alarm: evaluated when data of its metric arrives", named)
        self.assertIn("(Failures)", named)
        self.assertNotIn("VpcConfig", named)        # the condition is false, so nothing asks for it

    def test_the_same_stack_in_two_accounts(self):
        other = harness.Account(self.account.cloud)
        outputs = other.deploy()
        self.assertEqual(outputs["WorkerName"], self.outputs["WorkerName"])
        self.assertNotEqual(outputs["BucketName"], self.outputs["BucketName"])
        self.assertEqual(other.invoke(outputs["WorkerName"], {"x": 1})[0]["echo"], {"x": 1})
        self.assertNotIn(self.outputs["BucketName"],
                         [one["Name"] for one in other.client("s3").list_buckets()["Buckets"]])
        dropped = other.cloud.post("account/drop", account=other.id)
        self.assertGreaterEqual(dropped["functionProcesses"], 1)
        self.assertEqual(other.client("lambda").list_functions()["Functions"], [])
        self.assertEqual(other.client("s3").list_buckets()["Buckets"], [])

    def test_deploying_again_updates(self):
        account = harness.Account(self.account.cloud)
        first = account.deploy()
        self.assertEqual(account.deploy(), first)
        again = account.deploy(parameters={"Stage": "prod"}, environment={"Worker": {"ADDED": "yes"}})
        self.assertEqual(again["WorkerName"], first["WorkerName"])
        seen = account.invoke(again["WorkerName"], {"do": "environment"})[0]["environment"]
        self.assertEqual((seen["LIFEBOAT_STAGE"], seen["ADDED"]), ("prod", "yes"))

    def test_a_failed_deployment_says_where_and_why(self):
        template = {"Transform": "AWS::Serverless-2016-10-31", "Resources": {
            "Missing": {"Type": "AWS::Serverless::Function", "Properties": {
                "CodeUri": "functions/nowhere", "Runtime": "provided.al2023", "Handler": "bootstrap"}}}}
        path = os.path.join(self.account.cloud.base, "broken.json")
        with open(path, "w", encoding="utf-8") as out:
            json.dump(template, out)
        with self.assertRaisesRegex(RuntimeError, "Missing: no binary nowhere in"):
            self.account.cloud.post("deploy", account=self.account.id, stackName="broken", template=path)


if __name__ == "__main__":
    unittest.main()

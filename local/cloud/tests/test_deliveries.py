"""Schedules and rules deliver as on AWS, with the permissions that AWS asks for."""

import datetime
import json
import unittest

import harness


class Deliveries(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.outputs = cls.account.deploy()
        cls.worker = cls.outputs["WorkerName"]

    def seen(self, wanted, seconds=8):
        """Wait until the worker was invoked with an event that `wanted` accepts; returns the event."""
        return harness.eventually(
            lambda: next((one["event"] for one in self.account.events_seen(self.worker) if wanted(one["event"])), None),
            seconds)

    def test_firing_takes_the_real_input_and_the_role(self):
        self.cloud.post("fire", account=self.account.id, schedule=self.outputs["ScheduleName"], at="2026-11-23T02:00:00Z")
        event = self.seen(lambda event: event.get("kind") == "dump")
        self.assertEqual(event, {"kind": "dump", "scheduledAt": "2026-11-23T02:00:00Z"})
        invoked = [one for one in self.cloud.get(f"calls?account={self.account.id}")
                   if one["action"] == "lambda:InvokeFunction" and one["source"] == self.outputs["ScheduleName"]]
        self.assertTrue(invoked[0]["allowed"])
        self.assertIn(":role/", invoked[0]["principal"])

    def test_a_schedule_whose_role_may_not_goes_to_its_dead_letter_queue(self):
        self.cloud.post("fire", account=self.account.id, schedule=self.outputs["ForbiddenName"], at="2026-11-23T03:00:00Z")
        sqs = self.account.client("sqs")
        message = harness.eventually(lambda: sqs.receive_message(
            QueueUrl=self.outputs["FailedQueueUrl"], MessageAttributeNames=["All"]).get("Messages"))[0]
        self.assertEqual(json.loads(message["Body"]), {"at": "2026-11-23T03:00:00Z"})
        self.assertEqual(message["MessageAttributes"]["ERROR_CODE"]["StringValue"], "ACCESS_DENIED")
        with self.assertRaisesRegex(RuntimeError, "no schedule nowhere"):
            self.cloud.post("fire", account=self.account.id, schedule="nowhere")

    def test_a_schedule_fires_by_itself_within_two_seconds(self):
        scheduler = self.account.client("scheduler")
        target = scheduler.get_schedule(Name=self.outputs["ScheduleName"])["Target"]
        at = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(seconds=2)
        target["Input"] = '{"kind":"once","at":"<aws.scheduler.scheduled-time>"}'
        scheduler.create_schedule(Name="once", ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})", Target=target,
                                  FlexibleTimeWindow={"Mode": "OFF"}, ActionAfterCompletion="DELETE")
        event = self.seen(lambda event: event.get("kind") == "once", 6)
        late = (datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()
        self.assertEqual(event["at"], f"{at:%Y-%m-%dT%H:%M:%SZ}")
        self.assertLess(late, 2.5)
        self.assertNotIn("once", [one["Name"] for one in scheduler.list_schedules()["Schedules"]])

    def test_a_manifest_starts_its_verification_and_other_objects_do_not(self):
        s3, bucket = self.account.client("s3"), self.outputs["BucketName"]
        s3.put_object(Bucket=bucket, Key="dumps/a/toc.dat", Body=b"x", IfNoneMatch="*")
        s3.put_object(Bucket=bucket, Key="dumps/a b/ä%20/manifest.json", Body=b"{}", IfNoneMatch="*")
        event = self.seen(lambda event: event.get("kind") == "verify")
        self.assertEqual(event, {"kind": "verify", "manifest": "dumps/a b/ä%20/manifest.json"})
        upload = s3.create_multipart_upload(Bucket=bucket, Key="dumps/large/manifest.json")["UploadId"]
        part = s3.upload_part(Bucket=bucket, Key="dumps/large/manifest.json", UploadId=upload, PartNumber=1, Body=b"x")
        s3.complete_multipart_upload(Bucket=bucket, Key="dumps/large/manifest.json", UploadId=upload, IfNoneMatch="*",
                                     MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
        self.seen(lambda event: event.get("manifest") == "dumps/large/manifest.json")
        self.assertFalse([one for one in self.account.events_seen(self.worker) if "toc.dat" in json.dumps(one)])

    def test_a_rule_without_permission_on_the_function_does_not_deliver(self):
        account = harness.Account(self.cloud)
        outputs = account.deploy()
        policy = json.loads(account.client("lambda").get_policy(FunctionName=outputs["WorkerName"])["Policy"])
        for statement in policy["Statement"]:
            account.client("lambda").remove_permission(FunctionName=outputs["WorkerName"], StatementId=statement["Sid"])
        account.client("s3").put_object(Bucket=outputs["BucketName"], Key="dumps/manifest.json", Body=b"{}", IfNoneMatch="*")
        message = harness.eventually(lambda: account.client("sqs").receive_message(
            QueueUrl=outputs["FailedQueueUrl"], MessageAttributeNames=["All"]).get("Messages"))[0]
        self.assertEqual(message["MessageAttributes"]["ERROR_CODE"]["StringValue"], "NO_PERMISSIONS")


if __name__ == "__main__":
    unittest.main()

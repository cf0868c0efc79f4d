"""Functions run as in Lambda: their own environment, their own end, retries and failure destinations."""

import json
import os
import unittest

import harness


def processes_with(marker):
    """The pids of all processes that have `marker` in their arguments."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if marker.encode() in file.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


class Functions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.account = harness.Account(harness.shared_cloud())
        cls.outputs = cls.account.deploy()
        cls.worker = cls.outputs["WorkerName"]
        cls.sqs = cls.account.client("sqs")

    def receive(self, url, seconds=10):
        """One message of a queue, deleted."""
        def poll():
            return self.sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"]).get("Messages")

        message = harness.eventually(poll, seconds)[0]
        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return message

    def test_the_environment_is_the_functions_own(self):
        payload, error = self.account.invoke(self.outputs["KeyUserName"], {"do": "environment"})
        self.assertIsNone(error)
        seen = payload["environment"]
        for name in ("SECRET_OF_THE_PARENT", "AWS_PROFILE", "MINISTACK_ACCOUNT_ID", "AUTH", "PYTHONPATH"):
            self.assertNotIn(name, seen)
        self.assertEqual(seen["AWS_ENDPOINT_URL"], self.account.cloud.endpoint)
        self.assertTrue(seen["AWS_ACCESS_KEY_ID"].startswith("ASIA"))
        self.assertTrue(os.path.exists(os.path.join(seen["POSTGRES_CLIENT_FOLDER"], "pg_dump")))
        self.assertEqual(seen["DATABASE_CA_FILE"], self.account.cloud.ready["caFile"])
        self.assertTrue(os.path.isdir(seen["TMPDIR"]))

    def test_a_timeout_ends_everything_the_function_started(self):
        marker = f"marker-{self.account.id}"
        self.account.client("lambda").update_function_configuration(FunctionName=self.worker, Timeout=1)
        before = set(os.listdir(os.path.join(self.account.cloud.folder, "tmp")))
        payload, error = self.account.invoke(self.worker, {"do": "hang", "marker": marker})
        self.account.client("lambda").update_function_configuration(FunctionName=self.worker, Timeout=5)
        self.assertEqual((payload["errorType"], error), ("Sandbox.Timedout", "Unhandled"))
        harness.eventually(lambda: not processes_with(marker), 3)
        left = set(os.listdir(os.path.join(self.account.cloud.folder, "tmp"))) - before
        self.assertEqual([one for one in left if one.startswith("function-")], [])

    def test_a_failed_asynchronous_invocation_is_retried_and_kept(self):
        self.account.client("lambda").invoke(FunctionName=self.worker, InvocationType="Event",
                                             Payload=json.dumps({"do": "fail", "id": 7}))
        body = json.loads(self.receive(self.outputs["FailedQueueUrl"])["Body"])
        self.assertEqual(body["requestPayload"], {"do": "fail", "id": 7})
        self.assertEqual(body["requestContext"]["approximateInvokeCount"], 2)
        self.assertEqual(body["responsePayload"]["errorMessage"], "asked to fail")
        tries = [one for one in self.account.events_seen(self.worker) if one["event"] == {"do": "fail", "id": 7}]
        self.assertEqual([one["requestId"] for one in tries], [body["requestContext"]["requestId"]] * 2)

    def test_a_crash_is_an_error_and_the_next_invocation_works(self):
        payload, error = self.account.invoke(self.worker, {"do": "exit"})
        self.assertEqual((payload["errorType"], error), ("Runtime.ExitError", "Unhandled"))
        self.assertEqual(self.account.invoke(self.worker, {"x": 2})[0]["echo"], {"x": 2})

    def test_failed_items_of_a_batch_come_again_and_go_to_the_dead_letter_queue(self):
        sns = self.account.client("sns")
        for text in ("fine", "poison", "also fine"):
            sns.publish(TopicArn=self.outputs["TopicArn"], Message=text)
        dead = json.loads(self.receive(self.outputs["QueueDeadUrl"], 15)["Body"])
        self.assertEqual(dead["Message"], "poison")
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.outputs["QueueUrl"], AttributeNames=["All"])
        self.assertEqual(attributes["Attributes"]["ApproximateNumberOfMessages"], "0")

    def test_throttled_messages_are_kept(self):
        account = harness.Account(self.account.cloud)
        outputs = account.deploy()
        functions = account.client("lambda")
        functions.put_function_concurrency(FunctionName=outputs["WorkerName"], ReservedConcurrentExecutions=0)
        account.client("sqs").send_message(QueueUrl=outputs["QueueUrl"], MessageBody="kept")
        with self.assertRaises(functions.exceptions.TooManyRequestsException):
            account.invoke(outputs["WorkerName"], {})
        functions.delete_function_concurrency(FunctionName=outputs["WorkerName"])
        harness.eventually(lambda: "kept" in str(account.events_seen(outputs["WorkerName"])))

    def test_without_permission_to_log_there_are_no_logs(self):
        account = harness.Account(self.account.cloud)
        outputs = account.deploy()
        iam, role = account.client("iam"), outputs["RoleArn"].split("/")[-1]
        account.invoke(outputs["WorkerName"], {"x": "seen"})
        deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "logs:PutLogEvents", "Resource": "*"}]}
        iam.put_role_policy(RoleName=role, PolicyName="no-logs", PolicyDocument=json.dumps(deny))
        account.invoke(outputs["WorkerName"], {"x": "unseen"})
        self.assertEqual([one["event"]["x"] for one in account.events_seen(outputs["WorkerName"])], ["seen"])


if __name__ == "__main__":
    unittest.main()

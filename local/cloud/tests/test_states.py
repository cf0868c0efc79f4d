"""Step Functions: a machine of the template, its role, its errors, its ends."""

import json
import os
import time
import unittest

import harness
from botocore.exceptions import ClientError

MACHINES = os.path.join(harness.HERE, "machines.yaml")


class Machines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.outputs = cls.deploy()
        cls.states = cls.account.client("stepfunctions")
        cls.cloud.post("states", account=cls.account.id, timeScale=0.01)

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    @classmethod
    def deploy(cls, stack="machines", **parameters):
        answer = cls.cloud.post("deploy", account=cls.account.id, stackName=stack, template=MACHINES, parameters=parameters)
        return answer["outputs"]

    def start(self, given, name=None):
        more = {"name": name} if name else {}
        return self.states.start_execution(stateMachineArn=self.outputs["Machine"], input=json.dumps(given),
                                           **more)["executionArn"]

    def ended(self, arn, seconds=15):
        def done():
            shown = self.states.describe_execution(executionArn=arn)
            return shown if shown["status"] != "RUNNING" else None

        return harness.eventually(done, seconds)

    def calls(self):
        found = self.cloud.get(f"calls?account={self.account.id}")
        return {(one["action"], one["resource"].rsplit(":", 1)[-1], one["allowed"]) for one in found
                if one["source"] == self.outputs["Machine"].rsplit(":", 1)[-1]}

    def end_messages(self):
        """Names and states of executions that the rule saw end badly."""
        sqs = self.account.client("sqs")
        messages = sqs.receive_message(QueueUrl=self.outputs["Ended"], MaxNumberOfMessages=10).get("Messages", [])
        for one in messages:
            sqs.delete_message(QueueUrl=self.outputs["Ended"], ReceiptHandle=one["ReceiptHandle"])
        details = [json.loads(one["Body"])["detail"] for one in messages]
        return [(one["name"], one["status"]) for one in details]

    def test_a_task_runs_the_function_as_the_machines_role(self):
        shown = self.ended(self.start({"do": "echo"}))
        self.assertEqual(shown["status"], "SUCCEEDED")
        self.assertEqual(json.loads(shown["output"])["answer"]["echo"], {"do": "echo"})
        self.assertIn(("lambda:InvokeFunction", self.outputs["Worker"], True), self.calls())
        self.assertIn(("logs:CreateLogDelivery", "*", True), self.calls())

    def test_a_function_that_the_role_may_not_invoke_is_not_invoked(self):
        shown = self.ended(self.start({"ask": "stranger"}))
        self.assertEqual((shown["status"], shown["error"]), ("FAILED", "Lambda.AWSLambdaException"))
        self.assertIn("is not authorized to perform: lambda:InvokeFunction", shown["cause"])
        self.assertNotIn("output", shown)
        groups = self.account.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
        self.assertFalse([one for one in groups if self.outputs["Stranger"] in one["logGroupName"]])

    def test_errors_have_awss_names_and_are_retried(self):
        for do, error, times in (("fail", "RuntimeError", 3), ("exit", "Runtime.ExitError", 1),
                                 ("hang", "Sandbox.Timedout", 1)):
            arn = self.start({"do": do, "marker": f"states-{do}"})
            shown = self.ended(arn)
            self.assertEqual(shown["status"], "SUCCEEDED", shown)
            self.assertEqual(json.loads(shown["output"])["error"]["Error"], error)
            history = self.states.get_execution_history(executionArn=arn)["events"]
            self.assertEqual(sum(one["type"] == "TaskFailed" for one in history), times)

    def test_a_tasks_own_limit_is_no_failure_of_the_task(self):
        arn = self.start({"ask": "soon", "do": "hang", "marker": "states-soon"})
        shown = self.ended(arn)
        self.assertEqual(json.loads(shown["output"])["error"]["Error"], "States.Timeout")
        history = self.states.get_execution_history(executionArn=arn)["events"]
        self.assertEqual(sum(one["type"] == "TaskFailed" for one in history), 1)

    def test_a_function_that_is_throttled_is_asked_again(self):
        functions = self.account.client("lambda")
        functions.put_function_concurrency(FunctionName=self.outputs["Worker"], ReservedConcurrentExecutions=0)
        arn = self.start({"do": "echo"})
        shown = self.ended(arn)
        functions.delete_function_concurrency(FunctionName=self.outputs["Worker"])
        self.assertEqual(json.loads(shown["output"])["error"]["Error"], "Lambda.TooManyRequestsException")
        history = self.states.get_execution_history(executionArn=arn)["events"]
        self.assertEqual(sum(one["type"] == "TaskFailed" for one in history), 11)

    def test_a_wait_takes_the_scaled_time(self):
        began = time.monotonic()
        self.assertEqual(self.ended(self.start({"ask": "pause"}))["status"], "SUCCEEDED")
        self.assertTrue(0.3 <= time.monotonic() - began < 4)

    def test_a_name_gives_the_same_execution_while_it_runs(self):
        arn = self.start({"ask": "long"}, "once")
        self.assertEqual(self.start({"ask": "long"}, "once"), arn)
        with self.assertRaises(self.states.exceptions.ExecutionAlreadyExists):
            self.start({"ask": "pause"}, "once")
        self.states.stop_execution(executionArn=arn, error="Stopped", cause="by a test")
        with self.assertRaises(self.states.exceptions.ExecutionAlreadyExists):
            self.start({"ask": "long"}, "once")
        shown = self.ended(arn)
        self.assertEqual((shown["status"], shown["error"], shown["cause"]), ("ABORTED", "Stopped", "by a test"))
        listed = self.states.list_executions(stateMachineArn=self.outputs["Machine"], statusFilter="ABORTED")
        self.assertIn("once", [one["name"] for one in listed["executions"]])
        with self.assertRaises(self.states.exceptions.InvalidName):
            self.start({}, "with space")
        with self.assertRaises(self.states.exceptions.InvalidExecutionInput):
            self.states.start_execution(stateMachineArn=self.outputs["Machine"], input="{")

    def test_the_machines_own_limit_ends_it_and_the_bus_hears_of_bad_ends(self):
        late = self.start({"ask": "long"}, "late")
        failed = self.start({"ask": "stranger"}, "failed")
        self.states.stop_execution(executionArn=self.start({"ask": "long"}, "stopped"))
        self.assertEqual(self.ended(late)["status"], "TIMED_OUT")
        self.assertEqual(self.ended(failed)["status"], "FAILED")
        found = set()

        def heard():
            found.update(self.end_messages())
            return {("late", "TIMED_OUT"), ("failed", "FAILED"), ("stopped", "ABORTED")} <= found

        harness.eventually(heard)
        answer = self.cloud.get(f"execution?account={self.account.id}&arn={late}")
        self.assertEqual(answer["status"], "TIMED_OUT")

    def test_a_schedule_starts_it_with_its_role(self):
        self.cloud.post("fire", account=self.account.id, schedule=self.outputs["ScheduleName"],
                        at="2026-11-23T02:00:00Z")

        def started():
            listed = self.states.list_executions(stateMachineArn=self.outputs["Machine"])["executions"]
            inputs = [self.states.describe_execution(executionArn=one["executionArn"])["input"] for one in listed]
            return [one for one in inputs if "2026-11-23T02:00:00Z" in one]

        self.assertTrue(harness.eventually(started))
        made = [one for one in self.cloud.get(f"calls?account={self.account.id}") if one["action"] == "states:StartExecution"
                and one["source"] == self.outputs["ScheduleName"]]
        self.assertTrue(made and made[0]["allowed"])

    def test_a_rule_starts_it_with_the_role_of_its_target(self):
        machine, events = self.outputs["Machine"], self.account.client("events")
        may = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "states:StartExecution", "Resource": machine}]}
        may_not = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
        for name, policy in (("may", may), ("may-not", may_not)):
            self.account.create_role(name, policy)
            events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
            events.put_targets(Rule=name, Targets=[{"Id": "machine", "Arn": machine, "Input": json.dumps({"rule": name}),
                                                    "RoleArn": f"arn:aws:iam::{self.account.id}:role/{name}"}])
        events.put_events(Entries=[{"Source": name, "DetailType": "x", "Detail": "{}"} for name in ("may-not", "may")])

        def inputs():
            listed = self.states.list_executions(stateMachineArn=machine)["executions"]
            return [self.states.describe_execution(executionArn=one["executionArn"])["input"] for one in listed]

        harness.eventually(lambda: '{"rule": "may"}' in inputs())
        self.assertNotIn('{"rule": "may-not"}', inputs())

    def test_permissions_are_of_the_machine_and_of_the_execution(self):
        arn = self.start({"do": "echo"}, "permitted")
        machine = self.outputs["Machine"]
        session = self.account.create_role("starter", {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "states:StartExecution", "Resource": machine},
            {"Effect": "Allow", "Action": "states:DescribeExecution",
             "Resource": machine.replace(":stateMachine:", ":execution:") + ":permitted"}]})
        states = self.account.client("stepfunctions", **session)
        other = states.start_execution(stateMachineArn=machine, input="{}")["executionArn"]
        self.assertEqual(states.describe_execution(executionArn=arn)["name"], "permitted")
        for call, arguments in ((states.describe_execution, {"executionArn": other}),
                                (states.stop_execution, {"executionArn": other}),
                                (states.list_executions, {"stateMachineArn": machine})):
            with self.assertRaises(ClientError) as caught:
                call(**arguments)
            self.assertEqual(caught.exception.response["Error"]["Code"], "AccessDeniedException")

    def test_a_role_that_step_functions_cannot_assume_is_refused(self):
        with self.assertRaises(RuntimeError) as caught:
            self.deploy("untrusted", Trusted="ec2.amazonaws.com")
        self.assertIn("authorized to assume the provided role", str(caught.exception))


if __name__ == "__main__":
    unittest.main()

"""Secrets Manager: versions and labels, and the service's side of the contract with a rotation function."""

import json
import os
import unittest
import uuid

import harness
from botocore.exceptions import ClientError

ROTATED = os.path.join(harness.HERE, "rotated.yaml")
STEPS = ["createSecret", "setSecret", "testSecret", "finishSecret"]


def token():
    return str(uuid.uuid4())


class Secrets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        answer = cls.cloud.post("deploy", account=cls.account.id, stackName="rotated", template=ROTATED)
        cls.outputs = answer["outputs"]
        cls.secrets = cls.account.client("secretsmanager")

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    def make(self, name, value=None, **more):
        """A secret below app/; its current version's id."""
        value = {"password": "first", "name": f"/app/{name}", **(value or {})}
        made = self.secrets.create_secret(Name=f"app/{name}", SecretString=json.dumps(value), **more)
        self.control(name, attempts=2, pauseSeconds=0)
        return made["VersionId"]

    def control(self, name, **more):
        return self.cloud.post("secret", account=self.account.id, id=f"app/{name}", **more)

    def rotate(self, name, **more):
        more = {"RotationLambdaARN": self.outputs["Rotator"], "RotationRules": {"AutomaticallyAfterDays": 90}, **more}
        return self.secrets.rotate_secret(SecretId=f"app/{name}", **more)["VersionId"]

    def ended(self, name, *events):
        """Wait for one of these events; all names since, in order."""
        def done():
            shown = self.control(name)
            return shown if shown["events"] and shown["events"][-1]["name"] in events else None

        return harness.eventually(done)

    def labels(self, name):
        shown = self.secrets.describe_secret(SecretId=f"app/{name}")
        return {version: set(labels) for version, labels in shown["VersionIdsToStages"].items()}

    def value(self, name, **more):
        return json.loads(self.secrets.get_secret_value(SecretId=f"app/{name}", **more)["SecretString"])["password"]

    def test_a_rotation_from_begin_to_end(self):
        first = self.make("whole")
        second = self.rotate("whole")
        shown = self.ended("whole", "RotationSucceeded", "RotationFailed")
        self.assertEqual([one["name"] for one in shown["events"]], ["RotationStarted", *STEPS, "RotationSucceeded"])
        self.assertEqual(self.labels("whole"), {first: {"AWSPREVIOUS"}, second: {"AWSCURRENT"}})
        self.assertEqual(self.value("whole"), f"made for {second}")
        self.assertEqual(self.value("whole", VersionStage="AWSPREVIOUS"), "first")
        described = self.secrets.describe_secret(SecretId="app/whole")
        self.assertTrue(described["RotationEnabled"])
        self.assertEqual((described["NextRotationDate"] - described["LastRotatedDate"]).days, 90)
        # The schedule's own rotation, by what is configured.
        third = self.control("whole", rotate=True)["token"]
        harness.eventually(lambda: self.labels("whole").get(third) == {"AWSCURRENT"})

    def test_the_version_is_empty_before_createsecret(self):
        self.make("empty")
        self.rotate("empty", RotateImmediately=False)
        self.ended("empty", "TestRotationSucceeded", "TestRotationFailed")
        pending = self.control("empty", pending=True)["token"]
        self.assertIn("AWSPENDING", self.labels("empty")[pending])
        for how in ({"VersionId": pending}, {"VersionStage": "AWSPENDING"}):
            with self.assertRaisesRegex(ClientError, "ResourceNotFoundException"):
                self.value("empty", **how)

    def test_steps_by_hand_repeated_out_of_order_and_with_a_wrong_token(self):
        first = self.make("steps")
        self.rotate("steps", RotateImmediately=False)
        self.ended("steps", "TestRotationSucceeded", "TestRotationFailed")
        pending = self.control("steps", pending=True)["token"]
        early = self.control("steps", step="testSecret", token=pending)
        self.assertIn("can't find the specified secret value", early["error"])
        self.assertIn("no such version", self.control("steps", step="createSecret", token=token())["error"])
        for step in ("createSecret", "createSecret", "setSecret", "testSecret", "finishSecret"):
            done = self.control("steps", step=step, token=pending)
            self.assertEqual((done["payload"], done["error"]), (step, None))
        # The label is the service's to take away.
        self.assertEqual(self.labels("steps"), {first: {"AWSPREVIOUS"}, pending: {"AWSCURRENT", "AWSPENDING"}})
        self.assertEqual(self.control("steps", step="finishSecret", token=pending)["payload"], "nothing to do")

    def test_the_configuration_test_calls_testsecret_alone(self):
        first = self.make("tested", {"untested": True})
        self.rotate("tested", RotateImmediately=False)
        shown = self.ended("tested", "TestRotationSucceeded", "TestRotationFailed")
        self.assertEqual([one["name"] for one in shown["events"]], ["TestRotationStarted", "testSecret", "TestRotationSucceeded"])
        self.assertEqual(self.labels("tested"), {first: {"AWSCURRENT"}})
        self.make("badly", {})
        self.rotate("badly", RotateImmediately=False)
        self.assertEqual(self.ended("badly", "TestRotationSucceeded", "TestRotationFailed")["events"][-1]["name"],
                         "TestRotationFailed")

    def test_a_rotation_that_fails_hangs_and_is_tried_again(self):
        first = self.make("fails", {"fail": "setSecret"})
        second = self.rotate("fails")
        shown = self.ended("fails", "RotationFailed")
        self.assertEqual([one["name"] for one in shown["events"]],
                         ["RotationStarted", "createSecret", "setSecret", "createSecret", "setSecret", "RotationFailed"])
        self.assertEqual(self.labels("fails"), {first: {"AWSCURRENT"}, second: {"AWSPENDING"}})
        with self.assertRaisesRegex(ClientError, "A previous rotation isn't complete. That rotation will be reattempted."):
            self.rotate("fails")
        harness.eventually(lambda: [one["name"] for one in self.control("fails")["events"]].count("RotationFailed") == 2)
        self.assertEqual(self.control("fails")["events"][-1]["versionId"], second)
        # Without the label, a new one may begin: this is what the documentation advises.
        self.secrets.update_secret_version_stage(SecretId="app/fails", VersionStage="AWSPENDING", RemoveFromVersionId=second)
        self.assertNotEqual(self.rotate("fails"), second)

    def test_a_version_made_in_between_abandons_the_rotation(self):
        self.make("between", {"wait": "setSecret"})
        pending = self.rotate("between")
        self.ended("between", "createSecret")
        made = self.secrets.put_secret_value(SecretId="app/between", SecretString='{"password": "by hand"}')["VersionId"]
        self.assertEqual(self.control("between")["events"][-1]["name"], "RotationAbandoned")
        self.account.client("ssm").put_parameter(Name="/app/between", Value="go on", Type="String")
        harness.eventually(lambda: self.control("between")["events"][-1]["name"] == "setSecret")
        self.assertEqual(self.labels("between")[made], {"AWSCURRENT"})
        self.assertNotIn(pending, self.labels("between"))
        self.assertIsNone(self.control("between")["underWay"])

    def test_a_cancelled_rotation_keeps_its_labels(self):
        self.make("cancelled", {"fail": "testSecret"})
        pending = self.rotate("cancelled")
        self.ended("cancelled", "RotationFailed")
        self.assertEqual(self.secrets.cancel_rotate_secret(SecretId="app/cancelled")["VersionId"], pending)
        shown = self.secrets.describe_secret(SecretId="app/cancelled")
        self.assertFalse(shown["RotationEnabled"])
        self.assertEqual(shown["VersionIdsToStages"][pending], ["AWSPENDING"])
        with self.assertRaisesRegex(RuntimeError, "not turned on"):
            self.control("cancelled", rotate=True)

    def test_the_functions_policy_must_let_the_service_in(self):
        self.make("stranger")
        with self.assertRaisesRegex(ClientError, "AccessDeniedException.*Secrets Manager cannot invoke"):
            self.rotate("stranger", RotationLambdaARN=self.outputs["Stranger"])
        with self.assertRaisesRegex(ClientError, "No Lambda rotation function ARN"):
            self.secrets.rotate_secret(SecretId="app/stranger")
        for rules in ({"ScheduleExpression": "rate(3 hours)"}, {"ScheduleExpression": "cron(5 8 1 * ? *)"},
                      {"ScheduleExpression": "rate(10 days)", "AutomaticallyAfterDays": 10}):
            with self.assertRaisesRegex(ClientError, "InvalidParameterException"):
                self.rotate("stranger", RotationRules=rules)
        self.assertEqual(len(self.labels("stranger")), 1)

    def test_roles_are_held_to_their_policies(self):
        self.make("held", KmsKeyId=self.outputs["Key"])
        self.rotate("held")     # the function's role has the key's actions and the condition on its own ARN
        self.assertEqual(self.ended("held", "RotationSucceeded", "RotationFailed")["events"][-1]["name"], "RotationSucceeded")
        arn = f"arn:aws:secretsmanager:{harness.REGION}:{self.account.id}:secret:app/held-*"
        allow = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["secretsmanager:RotateSecret", "secretsmanager:GetSecretValue"], "Resource": arn}]}
        keys = self.account.create_role("reader", allow)
        held = self.account.client("secretsmanager", **keys)
        with self.assertRaisesRegex(ClientError, "kms:Decrypt"):
            held.get_secret_value(SecretId="app/held")
        with self.assertRaisesRegex(ClientError, "lambda:InvokeFunction"):
            held.rotate_secret(SecretId="app/held")
        calls = self.cloud.get(f"calls?account={self.account.id}")
        invoked = [one for one in calls if one["principal"] == "secretsmanager.amazonaws.com"]
        self.assertIn(("lambda:InvokeFunction", True), {(one["action"], one["allowed"]) for one in invoked})

    def test_versions_and_labels(self):
        name, first = "app/labels", token()
        self.assertNotIn("VersionId", self.secrets.create_secret(Name=name))
        with self.assertRaisesRegex(ClientError, "can't find the specified secret value for staging label: AWSCURRENT"):
            self.secrets.get_secret_value(SecretId=name)
        put = {"SecretId": name, "ClientRequestToken": first, "SecretString": "one", "VersionStages": ["mine"]}
        shown = self.secrets.put_secret_value(**put)
        self.assertEqual((shown["VersionId"], set(shown["VersionStages"])), (first, {"mine", "AWSCURRENT"}))
        self.secrets.put_secret_value(**put)        # the same again is harmless
        with self.assertRaisesRegex(ClientError, "ResourceExistsException"):
            self.secrets.put_secret_value(**{**put, "SecretString": "two"})
        second = self.secrets.put_secret_value(SecretId=name, SecretString="two", VersionStages=["mine"])["VersionId"]
        self.assertEqual(self.secrets.get_secret_value(SecretId=name)["SecretString"], "one")
        self.assertEqual(self.secrets.get_secret_value(SecretId=name, VersionStage="mine")["SecretString"], "two")
        with self.assertRaisesRegex(ClientError, "not associated"):
            self.secrets.get_secret_value(SecretId=name, VersionId=first, VersionStage="mine")
        move = {"SecretId": name, "VersionStage": "AWSCURRENT"}
        with self.assertRaisesRegex(ClientError, "RemoveFromVersionId"):
            self.secrets.update_secret_version_stage(**move, MoveToVersionId=second)
        with self.assertRaisesRegex(ClientError, "can't be completely removed"):
            self.secrets.update_secret_version_stage(**move, RemoveFromVersionId=first)
        self.secrets.update_secret_version_stage(**move, MoveToVersionId=second, RemoveFromVersionId=first)
        labels = self.secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
        self.assertEqual({one: set(those) for one, those in labels.items()},
                         {first: {"AWSPREVIOUS"}, second: {"AWSCURRENT", "mine"}})
        third = self.secrets.update_secret(SecretId=name, SecretString="three")["VersionId"]
        listed = self.secrets.list_secret_version_ids(SecretId=name)["Versions"]
        self.assertEqual({one["VersionId"] for one in listed}, {second, third})
        listed = self.secrets.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
        self.assertEqual({one["VersionId"] for one in listed}, {first, second, third})


if __name__ == "__main__":
    unittest.main()

"""What reads a secret and must be refreshed: ECS services, Elastic Beanstalk environments, functions."""

import threading
import unittest

import harness
from botocore.exceptions import ClientError


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]}


class Services(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.ecs = cls.account.client("ecs")
        cls.cluster = cls.ecs.create_cluster(clusterName="main")["cluster"]["clusterArn"]
        cls.ecs.register_task_definition(family="web", containerDefinitions=[{"name": "web", "image": "web"}])

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    def make(self, name, breaker=False, rollback=False, count=2):
        made = self.ecs.create_service(
            cluster="main", serviceName=name, taskDefinition="web", desiredCount=count, tags=[{"key": "team", "value": "a"}],
            deploymentConfiguration={"deploymentCircuitBreaker": {"enable": breaker, "rollback": rollback}})["service"]
        self.wait(name, "COMPLETED")
        return made

    def control(self, name, **more):
        return self.cloud.post("ecs", account=self.account.id, cluster="main", service=name, **more)

    def describe(self, name):
        return self.ecs.describe_services(cluster="main", services=[name])["services"][0]

    def wait(self, name, state):
        return harness.eventually(lambda: (shown := self.describe(name))["deployments"][0]["rolloutState"] == state and shown)

    def force(self, name):
        return self.ecs.update_service(cluster="main", service=name, forceNewDeployment=True)["service"]

    def test_a_forced_deployment_replaces_the_one_before(self):
        made = self.make("rolls")
        self.assertEqual(made["deployments"][0]["rolloutState"], "IN_PROGRESS")
        self.control("rolls", next="hold")
        begun = self.force("rolls")["deployments"]
        self.assertEqual([(one["status"], one["rolloutState"], one["runningCount"], one["pendingCount"]) for one in begun],
                         [("PRIMARY", "IN_PROGRESS", 0, 2), ("ACTIVE", "COMPLETED", 2, 0)])
        self.assertEqual(self.describe("rolls")["runningCount"], 2)
        self.control("rolls", release=True)
        shown = self.wait("rolls", "COMPLETED")
        self.assertEqual([(one["id"], one["status"], one["runningCount"]) for one in shown["deployments"]],
                         [(begun[0]["id"], "PRIMARY", 2)])
        self.assertIn("steady state", shown["events"][0]["message"])
        self.assertEqual(self.ecs.update_service(cluster="main", service="rolls", desiredCount=3)["service"]["runningCount"], 3)

    def test_a_newer_deployment_overtakes_one_that_hangs(self):
        self.make("overtaken")
        self.control("overtaken", next="hold")
        hanging = self.force("overtaken")["deployments"][0]["id"]
        newer = self.force("overtaken")["deployments"][0]["id"]
        shown = self.wait("overtaken", "COMPLETED")
        self.assertEqual([one["id"] for one in shown["deployments"]], [newer])
        self.assertNotEqual(newer, hanging)

    def test_a_deployment_that_fails(self):
        self.make("stuck")
        self.control("stuck", next="fail", seconds=0)
        self.force("stuck")
        harness.eventually(lambda: self.describe("stuck")["deployments"][0].get("failedTasks"))
        self.assertEqual(self.describe("stuck")["deployments"][0]["rolloutState"], "IN_PROGRESS")
        self.make("breaks", breaker=True)
        self.control("breaks", next="fail", seconds=0)
        self.force("breaks")
        self.assertIn("circuit breaker", self.wait("breaks", "FAILED")["deployments"][0]["rolloutStateReason"])
        self.make("backs", breaker=True, rollback=True)
        self.control("backs", next="fail", seconds=0)
        failed = self.force("backs")["deployments"][0]["id"]
        shown = harness.eventually(lambda: (one := self.describe("backs"))["deployments"][0]["id"] != failed and one)
        self.assertNotEqual(shown["deployments"][0]["id"], failed)
        self.assertEqual(self.wait("backs", "COMPLETED")["runningCount"], 2)

    def test_permission_is_on_the_service_in_its_cluster(self):
        arn = self.make("held")["serviceArn"]
        self.make("other")
        update = {"Action": ["ecs:UpdateService", "ecs:DescribeServices"], "Resource": arn,
                  "Condition": {"ArnEquals": {"ecs:cluster": self.cluster}}}
        keys = self.account.create_role("deployer", policy(update))
        ecs = self.account.client("ecs", **keys)
        ecs.update_service(cluster="main", service="held", forceNewDeployment=True)
        ecs.describe_services(cluster=self.cluster, services=[arn])
        for call in (lambda: ecs.update_service(cluster="main", service="other", forceNewDeployment=True),
                     lambda: ecs.describe_services(cluster="main", services=["held", "other"])):
            with self.assertRaisesRegex(ClientError, "service/main/other"):
                call()
        elsewhere = self.account.create_role("elsewhere", policy({**update, "Condition": {"ArnEquals": {
            "ecs:cluster": self.cluster + "-2"}}}))
        with self.assertRaisesRegex(ClientError, "AccessDenied"):
            self.account.client("ecs", **elsewhere).describe_services(cluster="main", services=["held"])


class Environments(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.beanstalk = cls.account.client("elasticbeanstalk")
        cls.beanstalk.create_application(ApplicationName="shop")
        cls.made = [cls.beanstalk.create_environment(
            ApplicationName="shop", EnvironmentName=name, Tags=[{"Key": "team", "Value": "a"}], SolutionStackName="Python",
            OptionSettings=[{"Namespace": "aws:elasticbeanstalk:application:environment", "OptionName": "A", "Value": "1"}])
            for name in ("site", "worker", "other")]
        for one in cls.made:
            cls.wait(one["EnvironmentName"])

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    @classmethod
    def describe(cls, name):
        found = cls.beanstalk.describe_environments(EnvironmentNames=[name])["Environments"]
        return found[0] if found else None

    @classmethod
    def wait(cls, name, status="Ready"):
        return harness.eventually(lambda: (one := cls.describe(name))["Status"] == status and one)

    def control(self, name, **more):
        return self.cloud.post("beanstalk", account=self.account.id, environment=name, **more)

    def test_a_restart_is_an_update_that_ends(self):
        self.assertEqual((self.made[0]["Status"], self.made[0]["Health"]), ("Launching", "Grey"))
        self.control("site", next="hold")
        self.beanstalk.restart_app_server(EnvironmentName="site")
        self.assertEqual(self.describe("site")["Status"], "Updating")
        with self.assertRaisesRegex(ClientError, "invalid state for this operation. Must be Ready"):
            self.beanstalk.restart_app_server(EnvironmentId=self.made[0]["EnvironmentId"])
        self.control("site", release=True)
        self.assertEqual(self.wait("site")["Health"], "Green")
        events = self.beanstalk.describe_events(ApplicationName="shop", EnvironmentName="site")["Events"]
        self.assertEqual([one["Message"] for one in events[:2]],
                         ["Successfully restarted application container(s).", "restartAppServer is starting."])
        since = self.beanstalk.describe_events(EnvironmentName="site", StartTime=events[0]["EventDate"])["Events"]
        self.assertEqual(len(since), 1)

    def test_an_update_changes_settings_and_can_fail(self):
        setting = {"Namespace": "aws:elasticbeanstalk:application:environment", "OptionName": "A", "Value": "2"}
        self.control("worker", next="fail", seconds=0)
        self.beanstalk.update_environment(EnvironmentName="worker", OptionSettings=[setting])
        harness.eventually(lambda: self.describe("worker")["Health"] == "Red")
        found = self.beanstalk.describe_configuration_settings(ApplicationName="shop", EnvironmentName="worker")
        self.assertIn(setting, found["ConfigurationSettings"][0]["OptionSettings"])
        self.assertEqual(self.beanstalk.describe_events(EnvironmentName="worker", MaxRecords=1)["Events"][0]["Severity"], "ERROR")
        with self.assertRaisesRegex(ClientError, "No Environment found"):
            self.beanstalk.restart_app_server(EnvironmentName="nobody")

    def test_permission_is_on_the_environment_in_its_application(self):
        arn = self.made[2]["EnvironmentArn"]
        restart = {"Action": ["elasticbeanstalk:RestartAppServer", "elasticbeanstalk:DescribeEnvironments"], "Resource": arn,
                   "Condition": {"StringEquals": {"elasticbeanstalk:InApplication": arn.split(":environment")[0]
                                                  + ":application/shop"}}}
        held = self.account.client("elasticbeanstalk", **self.account.create_role("restarter", policy(restart)))
        held.describe_environments(EnvironmentNames=["other"])
        held.restart_app_server(EnvironmentName="other")
        with self.assertRaisesRegex(ClientError, "AccessDenied.*environment/shop/site"):
            held.restart_app_server(EnvironmentName="site")


class Functions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account, cls.neighbour = harness.Account(cls.cloud), harness.Account(cls.cloud)
        cls.names = [one.deploy()["WorkerName"] for one in (cls.account, cls.neighbour)]
        cls.functions = cls.account.client("lambda")

    @classmethod
    def tearDownClass(cls):
        for one in (cls.account, cls.neighbour):
            cls.cloud.post("account/drop", account=one.id)

    def configuration(self):
        return self.functions.get_function_configuration(FunctionName=self.names[0])

    def update(self, **more):
        return self.functions.update_function_configuration(FunctionName=self.names[0], **more)

    def settled(self):
        return harness.eventually(lambda: (one := self.configuration())["LastUpdateStatus"] == "Successful" and one)

    def test_an_update_takes_time_and_its_revision_is_checked(self):
        before = self.settled()
        answer = self.update(Description="one", RevisionId=before["RevisionId"])
        self.assertEqual((answer["State"], answer["LastUpdateStatus"]), ("Active", "InProgress"))
        with self.assertRaisesRegex(ClientError, "ResourceConflictException.*An update is in progress"):
            self.update(Description="two")
        after = self.settled()
        self.assertNotEqual(after["RevisionId"], before["RevisionId"])
        with self.assertRaises(ClientError) as refused:
            self.update(Description="two", RevisionId=before["RevisionId"])
        self.assertEqual((refused.exception.response["Error"]["Code"],
                          refused.exception.response["ResponseMetadata"]["HTTPStatusCode"]), ("PreconditionFailedException", 412))
        self.assertEqual(self.configuration()["Description"], "one")

    def test_an_invocation_outlives_an_update_and_a_neighbours_too(self):
        self.settled()
        self.assertEqual(self.names[0], self.names[1])
        answers = {}

        def invoke(account):
            answers[account.id] = account.invoke(self.names[0], {"do": "wait", "parameter": "/lifeboat/go"})

        for account in (self.account, self.neighbour):
            threading.Thread(target=invoke, args=(account,)).start()
        for account in (self.account, self.neighbour):
            harness.eventually(lambda: any(one["action"] == "ssm:GetParameter" for one in self.cloud.get(f"calls?account={account.id}")))
        self.update(Environment={"Variables": {"CHANGED": "yes"}})
        for account in (self.account, self.neighbour):
            account.client("ssm").put_parameter(Name="/lifeboat/go", Value="go", Type="String")
        harness.eventually(lambda: len(answers) == 2)
        self.assertEqual(list(answers.values()), [("waited", None)] * 2)
        self.settled()
        fresh = self.account.invoke(self.names[0], {"do": "environment"})[0]["environment"]
        self.assertEqual(fresh["CHANGED"], "yes")


if __name__ == "__main__":
    unittest.main()

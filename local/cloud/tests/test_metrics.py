"""Log lines in the embedded metric format become metrics; alarms mind dimensions, periods and missing data."""

import datetime
import json
import unittest

import harness

NOW = datetime.datetime.now(datetime.timezone.utc)
DIMENSIONS = {"function": "retention", "stage": "dev"}


def listed(dimensions):
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()

    def setUp(self):
        self.account = harness.Account(self.cloud)
        self.addCleanup(self.cloud.post, "account/drop", account=self.account.id)
        self.metrics, self.logs = self.account.client("cloudwatch"), self.account.client("logs")
        self.logs.create_log_group(logGroupName="lines")
        self.logs.create_log_stream(logGroupName="lines", logStreamName="one")

    @staticmethod
    def line(*, hours_ago=0.0, **more):
        """One line with the metric `ageHours`."""
        moment = int((NOW.timestamp() - hours_ago * 3600) * 1000)
        directive = {"Namespace": "Lifeboat", "Dimensions": [list(DIMENSIONS)],
                     "Metrics": [{"Name": "ageHours", "Unit": "None"}]}
        return json.dumps({**DIMENSIONS, "ageHours": 5, **more,
                           "_aws": {"Timestamp": moment, "CloudWatchMetrics": [directive]}})

    def log(self, **more):
        """Write such a line."""
        self.logs.put_log_events(logGroupName="lines", logStreamName="one", logEvents=[
            {"timestamp": int(NOW.timestamp() * 1000), "message": self.line(**more)}])

    def alarm(self, name, **more):
        arguments = {"Namespace": "Lifeboat", "MetricName": "ageHours", "Dimensions": listed(DIMENSIONS), "Period": 21600,
                     "Statistic": "Maximum", "EvaluationPeriods": 5, "Threshold": 26.0,
                     "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "breaching", **more}
        self.metrics.put_metric_alarm(AlarmName=name, **arguments)

    def states(self, **more):
        return self.cloud.post("alarms", account=self.account.id, **more)

    def test_a_line_becomes_a_metric_with_its_dimensions(self):
        self.log()
        self.log(ageHours=[7, 9])
        self.log(stage=None, ageHours=1000)      # a dimension without a value: dropped
        self.log(ageHours="text")
        query = {"StartTime": NOW - datetime.timedelta(hours=1), "EndTime": NOW + datetime.timedelta(hours=1)}
        shown = self.metrics.get_metric_statistics(
            Namespace="Lifeboat", MetricName="ageHours", Dimensions=listed(DIMENSIONS), Period=7200,
            Statistics=["SampleCount", "Maximum", "Minimum"], **query)["Datapoints"]
        self.assertEqual([(one["SampleCount"], one["Minimum"], one["Maximum"]) for one in shown], [(3, 5, 9)])
        metric = {"Namespace": "Lifeboat", "MetricName": "ageHours", "Dimensions": listed(DIMENSIONS)}
        data = self.metrics.get_metric_data(MetricDataQueries=[
            {"Id": "m", "MetricStat": {"Metric": metric, "Period": 7200, "Stat": "Maximum"}}], **query)
        self.assertEqual(data["MetricDataResults"][0]["Values"], [9])

    def test_a_function_s_line_becomes_a_metric(self):
        self.account.invoke(self.account.deploy()["WorkerName"], {"do": "log", "line": self.line(ageHours=11)})

        def stored():
            return self.metrics.get_metric_statistics(
                Namespace="Lifeboat", MetricName="ageHours", Dimensions=listed(DIMENSIONS), Period=7200,
                Statistics=["Maximum"], StartTime=NOW - datetime.timedelta(hours=1),
                EndTime=NOW + datetime.timedelta(hours=1))["Datapoints"]

        self.assertEqual(harness.eventually(stored)[0]["Maximum"], 11)

    def test_a_line_fires_an_alarm(self):
        topic = self.account.client("sns").create_topic(Name="ops")["TopicArn"]
        arn = f"arn:aws:sqs:{harness.REGION}:{self.account.id}:ops"
        policy = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}]}
        sqs = self.account.client("sqs")
        queue = sqs.create_queue(QueueName="ops", Attributes={"Policy": json.dumps(policy)})["QueueUrl"]
        self.account.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        self.alarm("age", AlarmActions=[topic], EvaluationPeriods=1)
        self.log(ageHours=1)
        self.assertEqual(self.metrics.describe_alarms()["MetricAlarms"][0]["StateValue"], "OK")
        self.log(ageHours=30)
        message = harness.eventually(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
        self.assertEqual(json.loads(json.loads(message[0]["Body"])["Message"])["NewStateValue"], "ALARM")

    def test_missing_data_is_treated_as_the_alarm_says(self):
        for treat in ("breaching", "notBreaching", "missing", "ignore"):
            self.alarm(treat, TreatMissingData=treat)
        self.alarm("other", Dimensions=listed({**DIMENSIONS, "stage": "prod"}))
        self.log(hours_ago=20)
        self.assertEqual(self.metrics.describe_alarms(AlarmNames=["other"])["MetricAlarms"][0]["StateValue"],
                         "INSUFFICIENT_DATA")       # no data of its own: not evaluated
        everything_ok = {"breaching": "OK", "notBreaching": "OK", "missing": "OK", "ignore": "OK"}
        self.assertEqual(self.states(), {**everything_ok, "other": "ALARM"})
        later = (NOW + datetime.timedelta(hours=11)).isoformat()       # the point is older than five periods
        self.assertEqual(self.states(at=later), {"breaching": "ALARM", "notBreaching": "OK", "missing": "INSUFFICIENT_DATA",
                                                 "ignore": "OK", "other": "ALARM"})
        self.log(hours_ago=1, ageHours=100)
        self.assertEqual(self.states(alarm="breaching"), {"breaching": "OK"})       # 20 h ago it was good
        self.assertEqual(self.states(alarm="breaching", at=later), {"breaching": "ALARM"})
        with self.assertRaisesRegex(RuntimeError, "no alarm"):
            self.states(alarm="unknown")


if __name__ == "__main__":
    unittest.main()

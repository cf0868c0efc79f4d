"""RDS's events of instances and snapshots reach rules in their region, in the documented shape."""

import json
import unittest

import harness

AWAY = "eu-west-1"


class SnapshotEvents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.rds = cls.account.client("rds")
        cls.account.create_instance("db1")

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    def listen(self, region, transformer=None):
        """A queue that gets all snapshot events of a region; returns how to read `(count)` messages of it."""
        sqs, events = self.account.client("sqs", region), self.account.client("events", region)
        url = sqs.create_queue(QueueName="events")["QueueUrl"]
        arn = f"arn:aws:sqs:{region}:{self.account.id}:events"
        events.put_rule(Name="snapshots", EventPattern=json.dumps(
            {"source": ["aws.rds"], "detail-type": ["RDS DB Snapshot Event"]}))
        target = {"Id": "queue", "Arn": arn} | ({"InputTransformer": transformer} if transformer else {})
        events.put_targets(Rule="snapshots", Targets=[target])
        read = []

        def receive(count):
            def enough():
                read.extend(json.loads(one["Body"]) for one in sqs.receive_message(
                    QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []))
                return len(read) >= count and read

            return harness.eventually(enough, 5)

        return receive

    def test_events_of_an_instance(self):
        sqs, events = self.account.client("sqs"), self.account.client("events")
        url = sqs.create_queue(QueueName="instances")["QueueUrl"]
        events.put_rule(Name="instances", EventPattern=json.dumps(
            {"source": ["aws.rds"], "detail-type": ["RDS DB Instance Event"], "detail": {"SourceIdentifier": ["db1"]}}))
        events.put_targets(Rule="instances", Targets=[
            {"Id": "queue", "Arn": f"arn:aws:sqs:{harness.REGION}:{self.account.id}:instances"}])
        self.account.wait_for_instance("db1")
        self.rds.reboot_db_instance(DBInstanceIdentifier="db1")
        body = harness.eventually(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))[0]["Body"]
        detail = json.loads(body)["detail"]
        self.assertEqual((detail["EventID"], detail["SourceType"], detail["EventCategories"], detail["SourceArn"]), (
            "RDS-EVENT-0006", "DB_INSTANCE", ["availability"], f"arn:aws:rds:{harness.REGION}:{self.account.id}:db:db1"))
        self.account.wait_for_instance("db1")

    def test_events_of_a_snapshot_s_life(self):
        here = self.listen(harness.REGION)
        away = self.listen(AWAY, {
            "InputPathsMap": {"id": "$.detail.EventID", "about": "$.detail.SourceIdentifier"},
            "InputTemplate": '{"kind":"reconcile","event":"<id>","about":"<about>"}'})
        self.rds.create_db_snapshot(DBInstanceIdentifier="db1", DBSnapshotIdentifier="s-1")
        arn = self.account.wait_for_snapshot("s-1")["DBSnapshotArn"]
        created = here(2)
        self.assertEqual([one["detail"]["EventID"] for one in created], ["RDS-EVENT-0040", "RDS-EVENT-0042"])
        event, detail = created[1], created[1]["detail"]
        self.assertEqual((event["source"], event["detail-type"], event["resources"], event["region"], event["account"]),
                         ("aws.rds", "RDS DB Snapshot Event", [arn], harness.REGION, self.account.id))
        self.assertRegex(detail.pop("Date"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(detail, {
            "EventCategories": ["creation"], "SourceType": "SNAPSHOT", "SourceArn": arn, "SourceIdentifier": "s-1",
            "Message": "Manual snapshot created", "EventID": "RDS-EVENT-0042"})
        self.account.client("rds", AWAY).copy_db_snapshot(SourceDBSnapshotIdentifier=arn, TargetDBSnapshotIdentifier="s-1")
        self.account.wait_for_snapshot("s-1", AWAY)
        self.assertEqual(away(2), [{"kind": "reconcile", "event": event, "about": "s-1"}
                                   for event in ("RDS-EVENT-0059", "RDS-EVENT-0060")])
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="s-1", TargetDBSnapshotIdentifier="s-2")
        self.account.wait_for_snapshot("s-2")
        self.rds.delete_db_snapshot(DBSnapshotIdentifier="s-1")
        seen = {one["detail"]["EventID"] for one in here(5)}
        self.assertEqual(seen, {f"RDS-EVENT-{number}" for number in ("0040", "0042", "0196", "0197", "0041")})


if __name__ == "__main__":
    unittest.main()

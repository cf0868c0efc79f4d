"""Read replicas are streaming standbys, which can be made to lag, and follow their source through its changes."""

import unittest

import harness
from botocore.exceptions import ClientError


class Replicas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.rds = cls.account.client("rds")
        cls.account.create_instance("source", BackupRetentionPeriod=1)
        cls.shown = cls.rds.create_db_instance_read_replica(
            DBInstanceIdentifier="reader", SourceDBInstanceIdentifier="source", Tags=[{"Key": "a", "Value": "b"}])["DBInstance"]
        cls.account.wait_for_instance("reader")

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    def describe(self, name):
        return self.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]

    def lag(self, name="reader"):
        return self.cloud.get(f"lag?account={self.account.id}&id={name}")

    def set(self, name="reader", **fields):
        self.cloud.post("rds", account=self.account.id, instance=name, **fields)

    def test_a_replica_is_shown_and_can_be_read_only(self):
        self.assertEqual((self.shown["DBInstanceStatus"], self.shown["ReadReplicaSourceDBInstanceIdentifier"]), ("creating", "source"))
        source, reader = self.describe("source"), self.describe("reader")
        self.assertIn("reader", source["ReadReplicaDBInstanceIdentifiers"])
        self.assertEqual(reader["ReadReplicaDBInstanceIdentifiers"], [])
        self.assertNotIn("ReadReplicaSourceDBInstanceIdentifier", source)
        self.assertEqual(reader["StatusInfos"], [{"StatusType": "read replication", "Normal": True, "Status": "replicating",
                                                  "Message": ""}])
        self.assertNotEqual((reader["DbiResourceId"], reader["Endpoint"]), (source["DbiResourceId"], source["Endpoint"]))
        self.assertEqual((reader["BackupRetentionPeriod"], reader["TagList"]), (0, [{"Key": "a", "Value": "b"}]))
        self.account.query("source", "create table seen as select 7 x")
        harness.eventually(lambda: self.account.query("reader", "select x from seen") == "7")
        self.assertEqual(self.account.query("reader", "select pg_is_in_recovery()"), "t")
        self.assertIn("read-only transaction", self.account.query("reader", "create table no()"))

    def test_replay_that_pauses_makes_it_lag(self):
        harness.eventually(lambda: self.lag()["bytes"] == 0)
        self.set(replay="paused")
        self.account.query("source", "create role late login password 'later'")
        self.assertEqual(self.account.query("reader", "select count(*) from pg_roles where rolname = 'late'"), "0")
        lag = self.lag()
        self.assertTrue(lag["paused"] and lag["bytes"] > 0, lag)
        self.set(replay="on")
        harness.eventually(lambda: self.account.query("reader", "select count(*) from pg_roles where rolname = 'late'") == "1")
        self.set(applyDelayMilliseconds=100_000)
        self.account.query("source", "drop role late")
        harness.eventually(lambda: self.lag()["bytes"] > 0)
        self.set(applyDelayMilliseconds=0)
        harness.eventually(lambda: self.account.query("reader", "select count(*) from pg_roles where rolname = 'late'") == "0")
        with self.assertRaisesRegex(RuntimeError, "no replica"):
            self.set("source", applyDelayMilliseconds=1)

    def test_it_follows_a_source_that_restarts_or_gets_a_password(self):
        self.account.create_instance("second", BackupRetentionPeriod=1)
        self.rds.create_db_instance_read_replica(DBInstanceIdentifier="follower", SourceDBInstanceIdentifier="second")
        self.account.wait_for_instance("follower")
        self.rds.modify_db_instance(DBInstanceIdentifier="second", MasterUserPassword="another one", ApplyImmediately=True)
        harness.eventually(lambda: not self.describe("second")["PendingModifiedValues"])
        harness.eventually(lambda: self.account.query("follower", "select 1") == "1")
        self.account.wait_for_instance("second")
        self.rds.reboot_db_instance(DBInstanceIdentifier="second")
        self.account.wait_for_instance("second")
        self.rds.reboot_db_instance(DBInstanceIdentifier="follower")
        self.account.wait_for_instance("follower")
        self.account.query("second", "create table after_restart as select 1 x")
        harness.eventually(lambda: self.account.query("follower", "select x from after_restart") == "1")
        for name in ("second", "follower"):
            with self.assertRaisesRegex(ClientError, "InvalidDBInstanceState"):
                self.rds.stop_db_instance(DBInstanceIdentifier=name)
        with self.assertRaisesRegex(ClientError, "automated backups cannot be disabled"):
            self.rds.modify_db_instance(DBInstanceIdentifier="second", BackupRetentionPeriod=0)
        with self.assertRaisesRegex(ClientError, "is a read replica"):
            self.rds.modify_db_instance(DBInstanceIdentifier="follower", MasterUserPassword="not its own")
        self.set("second", killServer=True)
        self.assertEqual([(one["Normal"], one["Status"]) for one in self.describe("follower")["StatusInfos"]], [(False, "error")])
        self.set("second", startServer=True)
        # A source that goes leaves its replica behind, as an instance of its own.
        self.rds.delete_db_instance(DBInstanceIdentifier="second", SkipFinalSnapshot=True)
        harness.eventually(lambda: self.account.query("follower", "create table own()") == "", 20)
        harness.eventually(lambda: not self.describe("follower").get("StatusInfos"))

    def test_a_replica_goes_and_its_source_stays(self):
        self.rds.create_db_instance_read_replica(DBInstanceIdentifier="brief", SourceDBInstanceIdentifier="source")
        self.account.wait_for_instance("brief")
        slots = "select count(*) from pg_replication_slots"
        before = int(self.account.query("source", slots))
        self.rds.delete_db_instance(DBInstanceIdentifier="brief", SkipFinalSnapshot=True)
        harness.eventually(lambda: int(self.account.query("source", slots)) == before - 1)
        self.assertNotIn("brief", self.describe("source")["ReadReplicaDBInstanceIdentifiers"])

    def test_a_promoted_replica_is_an_instance_of_its_own(self):
        self.rds.create_db_instance_read_replica(DBInstanceIdentifier="own", SourceDBInstanceIdentifier="source")
        self.account.wait_for_instance("own")
        self.rds.promote_read_replica(DBInstanceIdentifier="own")
        harness.eventually(lambda: self.account.query("own", "create table written()") == "")
        self.account.wait_for_instance("own")
        self.assertNotIn("ReadReplicaSourceDBInstanceIdentifier", self.describe("own"))
        self.assertNotIn("own", self.describe("source")["ReadReplicaDBInstanceIdentifiers"])
        with self.assertRaisesRegex(ClientError, "InvalidDBInstanceState"):
            self.rds.promote_read_replica(DBInstanceIdentifier="own")

    def test_what_cannot_be_is_refused(self):
        make = self.rds.create_db_instance_read_replica
        with self.assertRaisesRegex(ClientError, "Automated backups are not enabled"):
            make(DBInstanceIdentifier="no", SourceDBInstanceIdentifier="reader")
        with self.assertRaisesRegex(ClientError, "DBInstanceNotFound"):
            make(DBInstanceIdentifier="no", SourceDBInstanceIdentifier="nobody")
        for backup in (lambda: self.rds.create_db_snapshot(DBInstanceIdentifier="reader", DBSnapshotIdentifier="no"),
                       lambda: self.rds.modify_db_instance(DBInstanceIdentifier="reader", BackupRetentionPeriod=1)):
            with self.assertRaisesRegex(ClientError, "takes no backups of read replicas"):
                backup()
        with self.assertRaisesRegex(ClientError, "DBInstanceAlreadyExists"):
            make(DBInstanceIdentifier="reader", SourceDBInstanceIdentifier="source")


if __name__ == "__main__":
    unittest.main()

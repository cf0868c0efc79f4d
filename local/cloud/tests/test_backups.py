"""Automated backups: the restore window, restores to a point in time, what damage of the data does."""

import datetime
import glob
import os
import unittest

import harness
from botocore.exceptions import ClientError

SECOND = datetime.timedelta(seconds=1)


class Backups(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.rds = cls.account.client("rds")
        cls.account.create_instance("prod", BackupRetentionPeriod=7, Tags=[{"Key": "app", "Value": "shop"}])
        cls.account.query("prod", "create table log (n int, at timestamptz default clock_timestamp())")

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    def set(self, **settings):
        return self.cloud.post("rds", account=self.account.id, **settings)

    def write(self, number, instance="prod"):
        """Write a row; the time at which it was there and nothing came after it yet."""
        self.account.query(instance, f"insert into log values ({number})")
        return datetime.datetime.fromisoformat(self.account.query(
            instance, "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS') || '+00:00'"))

    def shown(self, name):
        return self.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]

    def backup(self, name):
        return self.rds.describe_db_instance_automated_backups(DBInstanceIdentifier=name)["DBInstanceAutomatedBackups"][0]

    def restore(self, target, source="prod", **more):
        named = {} if "SourceDbiResourceId" in more else {"SourceDBInstanceIdentifier": source}
        return self.rds.restore_db_instance_to_point_in_time(TargetDBInstanceIdentifier=target, **named, **more)

    def rows(self, name):
        return self.account.query(name, "select coalesce(string_agg(n::text, ' ' order by n), '') from log")

    def refused(self, code, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code, caught.exception)

    def test_a_point_in_time_is_exactly_that(self):
        first = self.write(1)
        second = self.write(2)
        third = self.write(3)
        self.set(instance="prod", archiveNow=True)
        self.assertGreaterEqual(self.shown("prod")["LatestRestorableTime"] + SECOND, third)
        window = self.backup("prod")["RestoreWindow"]
        self.assertLess(window["EarliestTime"], first)
        self.assertEqual(self.backup("prod")["Status"], "active")
        # RDS takes whole seconds over the wire; the fraction of the SDK's time counts here.
        for target, moment, rows in (("at-first", first, "1"), ("at-second", second, "1 2")):
            self.restore(target, RestoreTime=moment, Tags=[{"Key": "drill", "Value": "d1"}])
            shown = self.account.wait_for_instance(target)
            self.assertEqual(self.rows(target), rows)
            self.assertEqual((shown["BackupRetentionPeriod"], shown["TagList"]), (7, [{"Key": "drill", "Value": "d1"}]))
            self.write(9, target)       # it is a server of its own
        self.assertEqual(self.rows("prod"), "1 2 3")
        # A restored instance has backups of its own, which can be restored in turn.
        self.set(instance="at-first", archiveNow=True)
        self.restore("again", "at-first", UseLatestRestorableTime=True, BackupRetentionPeriod=0)
        self.assertNotIn("LatestRestorableTime", self.account.wait_for_instance("again"))
        self.assertEqual(self.rows("again"), "1 9")

    def test_the_latest_time_of_an_idle_instance(self):
        self.account.create_instance("idle", BackupRetentionPeriod=1)
        self.account.query("idle", "create table log as select 5 as n")
        self.set(instance="idle", archiveNow=True)
        self.restore("idle-copy", "idle", UseLatestRestorableTime=True)
        shown = self.account.wait_for_instance("idle-copy")
        self.assertEqual(self.rows("idle-copy"), "5")
        self.assertEqual(shown["TagList"], [])

    def test_from_a_restored_snapshot_on(self):
        self.account.create_instance("origin", BackupRetentionPeriod=0)
        self.account.query("origin", "create table log as select 1 as n")
        self.rds.create_db_snapshot(DBInstanceIdentifier="origin", DBSnapshotIdentifier="origin-1")
        self.account.wait_for_snapshot("origin-1")
        self.rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="heir", DBSnapshotIdentifier="origin-1",
                                                      BackupRetentionPeriod=3)
        self.account.wait_for_instance("heir")
        moment = self.write(2, "heir") if self.account.query("heir", "alter table log add at timestamptz") == "" else None
        self.write(3, "heir")
        self.set(instance="heir", archiveNow=True)
        self.rds.delete_db_snapshot(DBSnapshotIdentifier="origin-1")
        self.restore("grandchild", "heir", RestoreTime=moment)
        self.account.wait_for_instance("grandchild")
        self.assertEqual(self.rows("grandchild"), "1 2")

    def test_what_cannot_be_is_refused(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        self.account.create_instance("bare", BackupRetentionPeriod=0)
        self.refused("PointInTimeRestoreNotEnabled", self.restore, target="no", source="bare", UseLatestRestorableTime=True)
        self.refused("DBInstanceNotFound", self.restore, target="no", source="nowhere", UseLatestRestorableTime=True)
        self.refused("InvalidParameterCombination", self.restore, target="no")
        self.refused("InvalidParameterCombination", self.restore, target="no", UseLatestRestorableTime=True, RestoreTime=now)
        self.refused("InvalidParameterValue", self.restore, target="no", RestoreTime=now + 60 * SECOND)
        self.refused("InvalidParameterValue", self.restore, target="no", RestoreTime=now - 3600 * SECOND)
        self.refused("DBInstanceAlreadyExists", self.restore, target="bare", UseLatestRestorableTime=True)
        self.refused("DBInstanceAutomatedBackupNotFound", self.rds.describe_db_instance_automated_backups,
                     DBInstanceIdentifier="bare")

    def test_backups_outlive_their_instance_if_asked(self):
        self.account.create_instance("leaving", BackupRetentionPeriod=2)
        self.account.query("leaving", "create table log as select 7 as n")
        resource = self.shown("leaving")["DbiResourceId"]
        self.rds.delete_db_instance(DBInstanceIdentifier="leaving", SkipFinalSnapshot=True, DeleteAutomatedBackups=False)

        def retained():
            found = self.rds.describe_db_instance_automated_backups(DbiResourceId=resource)["DBInstanceAutomatedBackups"]
            return found and found[0]["Status"] == "retained"

        harness.eventually(retained)
        self.restore("back", SourceDbiResourceId=resource, UseLatestRestorableTime=True)
        self.account.wait_for_instance("back")
        self.assertEqual(self.rows("back"), "7")

    def test_backups_can_be_switched_on_and_off(self):
        self.account.create_instance("late", BackupRetentionPeriod=0)
        self.account.query("late", "create table log (n int, at timestamptz default now())")
        self.rds.modify_db_instance(DBInstanceIdentifier="late", BackupRetentionPeriod=3, ApplyImmediately=True)
        harness.eventually(lambda: "LatestRestorableTime" in self.shown("late") and not self.shown("late")["PendingModifiedValues"])
        self.account.wait_for_instance("late")
        moment = self.write(4, "late")
        self.write(5, "late")
        self.set(instance="late", archiveNow=True)
        self.restore("late-copy", "late", RestoreTime=moment)
        self.account.wait_for_instance("late-copy")
        self.assertEqual(self.rows("late-copy"), "4")

    def test_a_damaged_page_is_found_by_who_reads_it(self):
        self.account.create_instance("damaged", BackupRetentionPeriod=0)
        self.account.query("damaged", "create table big as select n, repeat('x', 500) as t from generate_series(1, 2000) n")
        path = self.account.query("damaged", "select pg_relation_filepath('big')")
        self.account.query("damaged", "checkpoint")
        self.set(instance="damaged", stopServer=True)
        found = self.cloud.get(f"instance?account={self.account.id}&id=damaged")
        self.assertFalse(found["running"])
        self.assertEqual(self.shown("damaged")["DBInstanceStatus"], "available")
        with open(glob.glob(os.path.join(glob.escape(found["folder"]), path))[0], "r+b") as file:
            file.seek(3 * 8192 + 4000)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 0xFF]))
        self.set(instance="damaged", startServer=True)
        self.assertIn("invalid page", self.account.query("damaged", "select count(t) from big"))
        self.assertEqual(self.account.query("damaged", "select 1"), "1")


if __name__ == "__main__":
    unittest.main()

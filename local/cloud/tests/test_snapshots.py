"""Snapshots as RDS shows them: fields, states, filters, pages, errors, quotas; and what tests can set."""

import datetime
import unittest

import harness
from botocore.exceptions import ClientError

TAGS = [{"Key": "lifeboat:kind", "Value": "daily"}, {"Key": "lifeboat:copy-to", "Value": "region account"}]


class Snapshots(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.rds = cls.account.client("rds")
        cls.account.create_instance("db1", StorageEncrypted=True, BackupRetentionPeriod=7, DeletionProtection=True)

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    def setUp(self):
        self.account.wait_for_instance("db1")

    def create(self, name, **more):
        return self.rds.create_db_snapshot(DBInstanceIdentifier="db1", DBSnapshotIdentifier=name, **more)["DBSnapshot"]

    def set(self, **settings):
        return self.cloud.post("rds", account=self.account.id, **settings)

    def refused(self, code, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return caught.exception.response["Error"]["Message"]

    def test_a_snapshot_has_rdss_fields_and_states(self):
        made = self.create("full-1", Tags=TAGS)
        self.assertEqual((made["Status"], made["PercentProgress"], made.get("SnapshotCreateTime")), ("creating", 0, None))
        self.refused("DBSnapshotAlreadyExists", self.create, name="FULL-1")
        self.refused("InvalidDBInstanceState", self.create, name="full-2")
        self.refused("InvalidDBSnapshotState", self.rds.delete_db_snapshot, DBSnapshotIdentifier="full-1")
        shown = self.account.wait_for_snapshot("full-1")
        instance = self.account.wait_for_instance("db1")
        expected = {
            "PercentProgress": 100, "TagList": TAGS, "Encrypted": True, "Engine": "postgres", "SnapshotType": "manual",
            "DBSnapshotArn": f"arn:aws:rds:eu-central-1:{self.account.id}:snapshot:full-1", "AllocatedStorage": 20,
            "KmsKeyId": instance["KmsKeyId"], "EngineVersion": instance["EngineVersion"], "MasterUsername": "master",
            "DbiResourceId": instance["DbiResourceId"], "DBInstanceIdentifier": "db1", "Port": 5432}
        self.assertEqual({name: shown.get(name) for name in expected}, expected)
        self.assertLess(abs(datetime.datetime.now(datetime.timezone.utc) - shown["SnapshotCreateTime"]).total_seconds(), 20)
        self.assertEqual(shown["SnapshotCreateTime"], shown["OriginalSnapshotCreateTime"])
        self.assertNotIn("SourceDBSnapshotIdentifier", shown)
        described = self.account.client("kms").describe_key(KeyId=shown["KmsKeyId"])["KeyMetadata"]
        self.assertEqual(described["KeyManager"], "AWS")
        self.rds.remove_tags_from_resource(ResourceName=shown["DBSnapshotArn"], TagKeys=["lifeboat:kind"])
        self.rds.add_tags_to_resource(ResourceName=shown["DBSnapshotArn"], Tags=[{"Key": "more", "Value": "x"}])
        self.assertEqual(self.account.snapshot("full-1")["TagList"], [TAGS[1], {"Key": "more", "Value": "x"}])

    def test_what_cannot_be_is_refused(self):
        self.refused("DBInstanceNotFound", self.rds.create_db_snapshot, DBInstanceIdentifier="db2",
                     DBSnapshotIdentifier="no-1")
        self.refused("DBSnapshotNotFound", self.rds.describe_db_snapshots, DBSnapshotIdentifier="no-1")
        self.refused("DBSnapshotNotFound", self.rds.delete_db_snapshot, DBSnapshotIdentifier="no-1")
        for key, value in (("aws:x", "y"), ("x", "a,b"), ("x", "y" * 257)):
            self.refused("InvalidParameterValue", self.create, name="no-1", Tags=[{"Key": key, "Value": value}])
        self.set(instance="db1", status="modifying")
        self.assertIn("available state", self.refused("InvalidDBInstanceState", self.create, name="no-1"))
        self.set(instance="db1", status="available")

    def test_lists_are_filtered_and_come_in_pages(self):
        self.create("page-00")
        self.account.wait_for_snapshot("page-00")
        for number in range(1, 24):
            self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="page-00",
                                      TargetDBSnapshotIdentifier=f"page-{number:02}")
        first = self.rds.describe_db_snapshots(MaxRecords=20, DBInstanceIdentifier="db1", SnapshotType="manual")
        self.assertEqual(len(first["DBSnapshots"]), 20)
        paginator = self.rds.get_paginator("describe_db_snapshots")
        names = [one["DBSnapshotIdentifier"] for page in paginator.paginate(PaginationConfig={"PageSize": 20})
                 for one in page["DBSnapshots"]]
        self.assertEqual(sorted(set(names)), names)
        self.assertLessEqual({f"page-{number:02}" for number in range(24)}, set(names))
        self.assertEqual(self.rds.describe_db_snapshots(SnapshotType="automated")["DBSnapshots"], [])
        self.assertEqual(self.rds.describe_db_snapshots(DBInstanceIdentifier="db2")["DBSnapshots"], [])
        by_arn = self.rds.describe_db_snapshots(DBSnapshotIdentifier=first["DBSnapshots"][0]["DBSnapshotArn"])
        self.assertEqual(by_arn["DBSnapshots"], [self.account.snapshot(first["DBSnapshots"][0]["DBSnapshotIdentifier"])])

    def test_the_quota_counts_and_can_be_set(self):
        used = self.set()["manualSnapshots"]
        self.set(snapshotQuota=used + 1)
        self.create("quota-1")
        self.account.wait_for_snapshot("quota-1")
        self.account.wait_for_instance("db1")
        message = self.refused("SnapshotQuotaExceeded", self.create, name="quota-2")
        self.assertIn(f"more than {used + 1} manual snapshots", message)
        self.refused("SnapshotQuotaExceeded", self.rds.copy_db_snapshot, SourceDBSnapshotIdentifier="quota-1",
                     TargetDBSnapshotIdentifier="quota-2")
        shown = {one["AccountQuotaName"]: (one["Used"], one["Max"])
                 for one in self.rds.describe_account_attributes()["AccountQuotas"]}
        self.assertEqual(shown["ManualSnapshots"], (used + 1, used + 1))
        self.assertEqual(shown["DBInstances"], (1, 400))
        self.assertEqual(self.set(snapshotQuota=100)["snapshotQuota"], 100)

    def test_a_snapshot_can_be_made_to_fail_and_to_wait(self):
        self.set(failNextSnapshots=1)
        self.create("bad-1")
        self.account.wait_for_snapshot("bad-1", status="failed")
        self.rds.delete_db_snapshot(DBSnapshotIdentifier="bad-1")
        self.account.wait_for_instance("db1")
        self.set(holdSnapshots=True)
        self.create("slow-1")
        self.assertEqual(self.account.snapshot("slow-1")["Status"], "creating")
        self.set(holdSnapshots=False)
        self.account.wait_for_snapshot("slow-1")
        self.set(snapshot="slow-1", createdAt="2026-01-02T03:04:05Z")
        self.assertEqual(self.account.snapshot("slow-1")["SnapshotCreateTime"].isoformat(), "2026-01-02T03:04:05+00:00")

    def test_an_instances_posture_is_shown_and_can_be_set(self):
        shown = self.account.wait_for_instance("db1")
        key = shown["KmsKeyId"]
        lag = datetime.datetime.now(datetime.timezone.utc) - shown["LatestRestorableTime"]
        self.assertTrue(0 < lag.total_seconds() < 200)
        self.assertEqual((shown["BackupRetentionPeriod"], shown["DeletionProtection"], shown["StorageEncrypted"]),
                         (7, True, True))
        self.assertGreater(shown["CertificateDetails"]["ValidTill"], datetime.datetime.now(datetime.timezone.utc))
        self.set(instance="db1", backupRetentionPeriod=1, latestRestorableTime="2026-01-01T00:00:00Z", multiAZ=True,
                 storageEncrypted=False, deletionProtection=False, publiclyAccessible=True, kmsKeyId=None,
                 certificateValidTill="2026-12-01T00:00:00Z",
                 pendingMaintenance=[{"Action": "system-update", "CurrentApplyDate": "2026-12-24T00:00:00Z",
                                      "Description": "New Operating System update is available"}])
        shown = self.account.wait_for_instance("db1")
        self.assertEqual((shown["BackupRetentionPeriod"], shown["MultiAZ"], shown["StorageEncrypted"],
                          shown["DeletionProtection"], shown["PubliclyAccessible"], shown["LatestRestorableTime"].year,
                          shown["CertificateDetails"]["ValidTill"].month), (1, True, False, False, True, 2026, 12))
        pending = self.rds.describe_pending_maintenance_actions()["PendingMaintenanceActions"]
        self.assertEqual(pending[0]["ResourceIdentifier"], shown["DBInstanceArn"])
        self.assertEqual(pending[0]["PendingMaintenanceActionDetails"][0]["Action"], "system-update")
        self.set(instance="db1", backupRetentionPeriod=0)
        self.assertNotIn("LatestRestorableTime", self.account.wait_for_instance("db1"))
        self.set(instance="db1", backupRetentionPeriod=7, latestRestorableTime=None, storageEncrypted=True,
                 kmsKeyId=key, pendingMaintenance=[])
        with self.assertRaisesRegex(RuntimeError, "no field"):
            self.set(instance="db1", unknown=1)


if __name__ == "__main__":
    unittest.main()

"""IAM on snapshots: every resource of a call, in its region, with tags of the resource and of the request."""

import unittest

import harness
from botocore.exceptions import ClientError

AWAY = "eu-west-1"
OURS = {"Key": "lifeboat:stage", "Value": "dev"}


class SnapshotPermissions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.rds, arn = cls.account.client("rds"), f"arn:aws:rds:{{}}:{cls.account.id}:{{}}"
        cls.account.create_instance("db1")
        for name, tags in (("lifeboat-1", [OURS]), ("lifeboat-2", []), ("foreign-1", [OURS])):
            cls.rds.create_db_snapshot(DBInstanceIdentifier="db1", DBSnapshotIdentifier=name, Tags=tags)
            cls.account.wait_for_snapshot(name)
            cls.account.wait_for_instance("db1")
        snapshots = arn.format("*", "snapshot:lifeboat-*")
        requested = {"StringEquals": {"aws:RequestTag/lifeboat:stage": "dev"},
                     "ForAllValues:StringLike": {"aws:TagKeys": "lifeboat:*"}}
        tagged = {"StringEquals": {"aws:ResourceTag/lifeboat:stage": "dev"}}
        cls.maker = cls.account.client("rds", **cls.role("maker", [
            {"Action": ["rds:CreateDBSnapshot", "rds:AddTagsToResource"], "Resource": snapshots, "Condition": requested},
            {"Action": "rds:CreateDBSnapshot", "Resource": arn.format("*", "db:db1")}]))
        cls.copier_keys = cls.role("copier", [
            {"Action": "rds:CopyDBSnapshot", "Resource": arn.format(harness.REGION, "snapshot:lifeboat-*"),
             "Condition": {"StringEquals": {"rds:snapshot-tag/lifeboat:stage": "dev",
                                            "aws:RequestedRegion": harness.REGION}}},
            {"Action": "rds:CopyDBSnapshot", "Resource": arn.format(AWAY, "snapshot:lifeboat-*"),
             "Condition": {"StringEquals": {"aws:RequestedRegion": AWAY}}}])
        cls.remover = cls.account.client("rds", **cls.role("remover", [
            {"Action": ["rds:DeleteDBSnapshot", "rds:ModifyDBSnapshotAttribute"], "Resource": snapshots,
             "Condition": tagged}]))
        cls.reader_keys = cls.role("reader", [
            {"Action": ["rds:DescribeDBInstances", "rds:DescribePendingMaintenanceActions"],
             "Resource": arn.format("*", "db:*")},
            {"Action": ["rds:DescribeDBSnapshots", "rds:DescribeDBSnapshotAttributes"],
             "Resource": arn.format("*", "snapshot:*")},
            {"Action": "rds:DescribeAccountAttributes", "Resource": "*"}])

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    @classmethod
    def role(cls, name, statements):
        return cls.account.create_role(name, {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", **statement} for statement in statements]})

    def denied(self, action, resource, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        error = caught.exception.response["Error"]
        self.assertEqual(error["Code"], "AccessDenied")
        self.assertIn(f"{action} on resource: ", error["Message"])
        self.assertIn(resource, error["Message"])

    def test_creating_needs_instance_snapshot_and_the_request_s_tags(self):
        create, named = self.maker.create_db_snapshot, {"DBInstanceIdentifier": "db1"}
        self.account.wait_for_instance("db1")
        self.denied("rds:CreateDBSnapshot", ":snapshot:other-1", create, **named, DBSnapshotIdentifier="other-1",
                    Tags=[OURS])
        self.denied("rds:CreateDBSnapshot", ":snapshot:lifeboat-3", create, **named, DBSnapshotIdentifier="lifeboat-3")
        self.denied("rds:CreateDBSnapshot", ":snapshot:lifeboat-3", create, **named, DBSnapshotIdentifier="lifeboat-3",
                    Tags=[{"Key": "lifeboat:stage", "Value": "prod"}])
        self.denied("rds:CreateDBSnapshot", ":snapshot:lifeboat-3", create, **named, DBSnapshotIdentifier="lifeboat-3",
                    Tags=[OURS, {"Key": "else", "Value": "x"}])
        self.denied("rds:CreateDBSnapshot", ":db:db2", create, DBInstanceIdentifier="db2", DBSnapshotIdentifier="lifeboat-3",
                    Tags=[OURS])
        create(**named, DBSnapshotIdentifier="lifeboat-3", Tags=[OURS])
        self.account.wait_for_snapshot("lifeboat-3")

    def test_tags_at_creation_need_their_own_permission(self):
        untagged = self.account.client("rds", **self.role("untagged", [{"Action": "rds:CreateDBSnapshot", "Resource": "*"}]))
        self.account.wait_for_instance("db1")
        self.denied("rds:AddTagsToResource", ":snapshot:tagged-1", untagged.create_db_snapshot, DBInstanceIdentifier="db1",
                    DBSnapshotIdentifier="tagged-1", Tags=[OURS])
        untagged.create_db_snapshot(DBInstanceIdentifier="db1", DBSnapshotIdentifier="tagged-1")
        self.account.wait_for_snapshot("tagged-1")

    def test_a_copy_is_checked_on_both_snapshots_each_in_its_region(self):
        copier = self.account.client("rds", AWAY, **self.copier_keys)
        source = f"arn:aws:rds:{harness.REGION}:{self.account.id}:snapshot:"
        for name in ("lifeboat-2", "foreign-1"):        # one without the tag, one of another name
            self.denied("rds:CopyDBSnapshot", source + name, copier.copy_db_snapshot,
                        SourceDBSnapshotIdentifier=source + name, TargetDBSnapshotIdentifier="lifeboat-1")
        self.denied("rds:CopyDBSnapshot", f"{AWAY}:{self.account.id}:snapshot:other", copier.copy_db_snapshot,
                    SourceDBSnapshotIdentifier=source + "lifeboat-1", TargetDBSnapshotIdentifier="other")
        copier.copy_db_snapshot(SourceDBSnapshotIdentifier=source + "lifeboat-1", TargetDBSnapshotIdentifier="lifeboat-1")
        self.account.wait_for_snapshot("lifeboat-1", AWAY)

    def test_deleting_and_sharing_need_the_tag_and_the_name(self):
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="lifeboat-1", TargetDBSnapshotIdentifier="lifeboat-9",
                                  CopyTags=True)
        self.account.wait_for_snapshot("lifeboat-9")
        for name in ("lifeboat-2", "foreign-1"):
            self.denied("rds:DeleteDBSnapshot", ":snapshot:" + name, self.remover.delete_db_snapshot,
                        DBSnapshotIdentifier=name)
            self.denied("rds:ModifyDBSnapshotAttribute", ":snapshot:" + name, self.remover.modify_db_snapshot_attribute,
                        DBSnapshotIdentifier=name, AttributeName="restore", ValuesToAdd=["111122223333"])
        self.remover.modify_db_snapshot_attribute(DBSnapshotIdentifier="lifeboat-9", AttributeName="restore",
                                                  ValuesToAdd=["111122223333"])
        self.remover.delete_db_snapshot(DBSnapshotIdentifier="lifeboat-9")

    def test_reading_is_checked_on_the_documented_types(self):
        reader = self.account.client("rds", **self.reader_keys)
        reader.describe_db_instances()
        reader.describe_db_instances(DBInstanceIdentifier="db1")
        reader.describe_db_snapshots(SnapshotType="manual")
        reader.describe_pending_maintenance_actions(ResourceIdentifier=f"arn:aws:rds:eu-central-1:{self.account.id}:db:db1")
        reader.describe_db_snapshot_attributes(DBSnapshotIdentifier="lifeboat-1")
        reader.describe_account_attributes()
        self.denied("rds:ListTagsForResource", ":snapshot:lifeboat-1", reader.list_tags_for_resource,
                    ResourceName=self.account.snapshot("lifeboat-1")["DBSnapshotArn"])


if __name__ == "__main__":
    unittest.main()

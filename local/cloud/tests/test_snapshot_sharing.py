"""Snapshots across accounts: sharing, what may be done with a shared one, keys of another account, assumed roles."""

import json
import os
import unittest

import harness
from botocore.exceptions import ClientError

AWAY = "eu-west-1"
HERE = os.path.dirname(os.path.abspath(__file__))


def policy(*statements):
    """A policy document of `(action or actions, resource)`."""
    return {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": actions, "Resource": resource} for actions, resource in statements]}


class Sharing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.owner, cls.other = harness.Account(cls.cloud), harness.Account(cls.cloud)
        cls.rds, cls.theirs = cls.owner.client("rds"), cls.other.client("rds")
        cls.key = cls.owner.client("kms").create_key()["KeyMetadata"]["Arn"]
        cls.their_key = cls.other.client("kms").create_key()["KeyMetadata"]["Arn"]
        cls.let_other_use_key(True)
        cls.owner.create_instance("db1", StorageEncrypted=True, KmsKeyId=cls.key)
        cls.owner.query("db1", "create table kept as select generate_series(1, 1000) x")
        cls.rds.create_db_snapshot(DBInstanceIdentifier="db1", DBSnapshotIdentifier="source")
        cls.source = cls.owner.wait_for_snapshot("source")["DBSnapshotArn"]

    @classmethod
    def tearDownClass(cls):
        for account in (cls.owner, cls.other):
            cls.cloud.post("account/drop", account=account.id)

    @classmethod
    def let_other_use_key(cls, may):
        statements = [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{cls.owner.id}:root"}, "Action": "kms:*",
                       "Resource": "*"}]
        if may:
            statements.append({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{cls.other.id}:root"},
                               "Action": ["kms:CreateGrant", "kms:DescribeKey"], "Resource": "*"})
        cls.owner.client("kms").put_key_policy(KeyId=cls.key, PolicyName="default", Policy=json.dumps(
            {"Version": "2012-10-17", "Statement": statements}))

    def share(self, add=(), remove=(), name="source"):
        answer = self.rds.modify_db_snapshot_attribute(DBSnapshotIdentifier=name, AttributeName="restore",
                                                       ValuesToAdd=list(add), ValuesToRemove=list(remove))
        return answer["DBSnapshotAttributesResult"]["DBSnapshotAttributes"][0]["AttributeValues"]

    def copy(self, name, client=None, **more):
        arguments = {"SourceDBSnapshotIdentifier": self.source, "KmsKeyId": self.their_key, **more}
        arguments = {key: value for key, value in arguments.items() if value is not None}
        return (client or self.theirs).copy_db_snapshot(TargetDBSnapshotIdentifier=name, **arguments)["DBSnapshot"]

    def refused(self, code, message, call, *positional, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(*positional, **arguments)
        error = caught.exception.response["Error"]
        self.assertEqual(error["Code"], code)
        self.assertIn(message, error["Message"])

    def test_only_a_shared_snapshot_is_seen_and_copied(self):
        self.assertEqual(self.share(remove=[self.other.id]), [])
        self.refused("DBSnapshotNotFound", "not found", self.copy, "early")
        self.refused("DBSnapshotNotFound", "not found", self.theirs.describe_db_snapshots, DBSnapshotIdentifier=self.source)
        self.assertEqual(self.share(add=[self.other.id]), [self.other.id])
        seen = self.theirs.describe_db_snapshots(DBSnapshotIdentifier=self.source)["DBSnapshots"]
        self.assertEqual([one["DBSnapshotArn"] for one in seen], [self.source])
        self.assertEqual(self.theirs.describe_db_snapshots(SnapshotType="shared")["DBSnapshots"], seen)
        self.assertIn(seen[0], self.theirs.describe_db_snapshots(IncludeShared=True)["DBSnapshots"])
        self.assertNotIn(seen[0], self.theirs.describe_db_snapshots()["DBSnapshots"])
        self.refused("DBSnapshotNotFound", "not found", self.theirs.delete_db_snapshot, DBSnapshotIdentifier=self.source)
        shown = self.rds.describe_db_snapshot_attributes(DBSnapshotIdentifier="source")["DBSnapshotAttributesResult"]
        self.assertEqual(shown, {"DBSnapshotIdentifier": "source", "DBSnapshotAttributes": [
            {"AttributeName": "restore", "AttributeValues": [self.other.id]}]})

    def test_a_copy_belongs_to_the_other_account(self):
        self.share(add=[self.other.id])
        self.copy("theirs")
        shown = self.other.wait_for_snapshot("theirs")
        self.assertEqual((shown["DBSnapshotArn"], shown["SourceDBSnapshotIdentifier"], shown["KmsKeyId"]), (
            f"arn:aws:rds:eu-central-1:{self.other.id}:snapshot:theirs", self.source, self.their_key))
        self.share(remove=[self.other.id])
        self.theirs.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="back", DBSnapshotIdentifier="theirs")
        self.other.wait_for_instance("back")
        self.assertEqual(self.other.query("back", "select count(*) from kept"), "1000")

    def test_dropping_the_owner_leaves_the_copy(self):
        gone = harness.Account(self.cloud)
        gone.create_instance("db1")
        gone.query("db1", "create table kept as select generate_series(1, 10) x")
        rds = gone.client("rds")
        rds.create_db_snapshot(DBInstanceIdentifier="db1", DBSnapshotIdentifier="plain")
        arn = gone.wait_for_snapshot("plain")["DBSnapshotArn"]
        rds.modify_db_snapshot_attribute(DBSnapshotIdentifier="plain", AttributeName="restore", ValuesToAdd=[self.other.id])
        self.copy("orphan", SourceDBSnapshotIdentifier=arn, KmsKeyId=None)
        self.other.wait_for_snapshot("orphan")
        self.cloud.post("account/drop", account=gone.id)
        self.theirs.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="alone", DBSnapshotIdentifier="orphan")
        self.other.wait_for_instance("alone")
        self.assertEqual(self.other.query("alone", "select count(*) from kept"), "10")

    def test_what_cannot_be_shared_or_copied_is_refused(self):
        self.share(add=[self.other.id])
        away_key = self.other.client("kms", AWAY).create_key()["KeyMetadata"]["Arn"]
        self.refused("InvalidParameterCombination", "own region only", self.copy, "away",
                     client=self.other.client("rds", AWAY), KmsKeyId=away_key, SourceRegion=harness.REGION)
        self.refused("KMSKeyNotAccessibleFault", "target KMS key [None]", self.copy, "keyless", KmsKeyId=None)
        self.refused("InvalidDBSnapshotState", "restore a copy", self.theirs.restore_db_instance_from_db_snapshot,
                     DBInstanceIdentifier="direct", DBSnapshotIdentifier=self.source)
        self.let_other_use_key(False)
        self.refused("KMSKeyNotAccessibleFault", "source KMS key", self.copy, "no-grant")
        self.let_other_use_key(True)
        self.refused("InvalidParameterValue", "publicly", self.share, add=["all"])
        self.refused("InvalidParameterValue", "Invalid value", self.share, add=["someone"])
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="source", TargetDBSnapshotIdentifier="default-key",
                                  KmsKeyId="alias/aws/rds")
        self.owner.wait_for_snapshot("default-key")
        self.refused("InvalidParameterValue", "default service key", self.share, add=[self.other.id], name="default-key")

    def test_a_function_copies_with_a_role_of_the_other_account(self):
        self.share(add=[self.other.id])
        worker = f"arn:aws:iam::{self.owner.id}:role/worker"
        target = f"arn:aws:iam::{self.other.id}:role/backup-copies"
        mine = self.owner.create_role("worker", policy(("rds:DescribeDBInstances", "*")))
        self.other.create_role("backup-copies", policy(
            ("rds:CopyDBSnapshot", [self.source, f"arn:aws:rds:*:{self.other.id}:snapshot:by-*"]),
            ("rds:DescribeDBSnapshots", f"arn:aws:rds:*:{self.other.id}:snapshot:*"),
            (["kms:DescribeKey", "kms:CreateGrant"], [self.key, self.their_key])),
            trusted=f"arn:aws:iam::{self.owner.id}:root")
        sts = self.owner.client("sts", **mine)
        assume = {"RoleArn": target, "RoleSessionName": "copy"}
        self.refused("AccessDenied", "sts:AssumeRole", sts.assume_role, **assume)       # not in the caller's policy
        self.owner.client("iam").put_role_policy(RoleName="worker", PolicyName="assume",
                                                 PolicyDocument=json.dumps(policy(("sts:AssumeRole", target))))
        given = sts.assume_role(**assume)["Credentials"]
        session = {"aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"],
                   "aws_session_token": given["SessionToken"]}
        who = self.owner.client("sts", **session).get_caller_identity()
        self.assertEqual((who["Account"], who["Arn"]),
                         (self.other.id, f"arn:aws:sts::{self.other.id}:assumed-role/backup-copies/copy"))
        there = self.owner.client("rds", **session)
        self.refused("AccessDenied", "rds:CopyDBSnapshot", self.copy, "foreign-name", client=there)
        self.copy("by-role", client=there)
        self.other.wait_for_snapshot("by-role")
        self.assertEqual(self.owner.snapshot("by-role", **session)["KmsKeyId"], self.their_key)
        calls = [(one["principal"], one["action"]) for one in self.cloud.get(f"calls?account={self.other.id}")]
        self.assertIn((target, "kms:CreateGrant"), calls)
        self.other.client("iam").update_assume_role_policy(RoleName="backup-copies", PolicyDocument=json.dumps({
            "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
                                                    "Principal": {"AWS": worker + "-other"}}]}))
        self.refused("AccessDenied", "sts:AssumeRole", sts.assume_role, **assume)       # not in the role's trust

    def test_a_stack_can_be_deployed_in_another_region_and_account(self):
        answer = self.cloud.post("deploy", account=self.other.id, region=AWAY, stackName="copies",
                                 template=os.path.join(HERE, "copies.yaml"), parameters={"TrustedAccount": self.owner.id})
        outputs = answer["outputs"]
        self.assertTrue(outputs["KeyArn"].startswith(f"arn:aws:kms:{AWAY}:{self.other.id}:key/"))
        self.other.client("kms", AWAY).describe_key(KeyId=outputs["KeyArn"])
        self.assertEqual(self.other.client("s3", AWAY).get_bucket_versioning(Bucket=outputs["BucketName"])["Status"],
                         "Enabled")
        given = self.owner.client("sts").assume_role(RoleArn=outputs["RoleArn"], RoleSessionName="look")["Credentials"]
        session = {"aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"],
                   "aws_session_token": given["SessionToken"]}
        self.owner.client("rds", AWAY, **session).describe_db_snapshots()
        self.cloud.post("deploy", account=self.other.id, stackName="copies", parameters={"TrustedAccount": self.owner.id},
                        template=os.path.join(HERE, "copies.yaml"))


if __name__ == "__main__":
    unittest.main()

"""Restores from snapshots: what is named, RDS's defaults for what is not, states, failures, and changes afterwards."""

import concurrent.futures
import os
import unittest

import harness
from botocore.exceptions import ClientError

TEMPLATE = os.path.join(harness.HERE, "drill.yaml")
TAGS = [{"Key": "lifeboat:drill", "Value": "d1"}]


def network(account):
    """The identifiers of the account's default network, for the template."""
    subnets = account.client("ec2").describe_subnets()["Subnets"]
    return {"VpcId": subnets[0]["VpcId"], "SubnetIds": ",".join(one["SubnetId"] for one in subnets)}


class Restores(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.rds = cls.account.client("rds")
        cls.outputs = cls.deploy()
        cls.account.create_instance("prod", BackupRetentionPeriod=7, DeletionProtection=True, MultiAZ=True,
                                    EnableIAMDatabaseAuthentication=True, Tags=[{"Key": "app", "Value": "shop"}],
                                    DBParameterGroupName=cls.outputs["Parameters"])
        cls.account.query("prod", "create table kept as select generate_series(1, 1000) as n")
        cls.rds.create_db_snapshot(DBInstanceIdentifier="prod", DBSnapshotIdentifier="s1")
        cls.account.wait_for_snapshot("s1")
        cls.account.wait_for_instance("prod")

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    @classmethod
    def deploy(cls, **more):
        answer = cls.cloud.post("deploy", account=cls.account.id, stackName="drill", template=TEMPLATE,
                                parameters={**network(cls.account), **more})
        return answer["outputs"]

    def set(self, **settings):
        return self.cloud.post("rds", account=self.account.id, **settings)

    def restore(self, name, **more):
        return self.rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier=name, DBSnapshotIdentifier="s1",
                                                             **more)["DBInstance"]

    def shown(self, name):
        return self.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]

    def settled(self, name):
        def done():
            shown = self.shown(name)
            return shown if shown["DBInstanceStatus"] == "available" and not shown["PendingModifiedValues"] else None

        return harness.eventually(done, 30)

    def delete(self, name, **more):
        self.rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True, **more)

    def gone(self, name):
        def missing():
            try:
                self.shown(name)
            except self.rds.exceptions.DBInstanceNotFoundFault:
                return True
            return False

        harness.eventually(missing)

    def refused(self, code, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code, caught.exception)

    def test_what_is_named_is_honoured(self):
        made = self.restore("named", DBInstanceClass="db.m6g.large", DBSubnetGroupName=self.outputs["Subnets"],
                            VpcSecurityGroupIds=[self.outputs["Closed"]], DBParameterGroupName=self.outputs["Parameters"],
                            PubliclyAccessible=False, MultiAZ=False, AutoMinorVersionUpgrade=False, DeletionProtection=True,
                            Tags=TAGS, CopyTagsToSnapshot=True, StorageType="gp3", Port=5444)
        self.assertEqual(made["DBInstanceStatus"], "creating")
        self.assertNotIn("Endpoint", made)
        shown = self.account.wait_for_instance("named")
        expected = {"DBInstanceClass": "db.m6g.large", "PubliclyAccessible": False, "MultiAZ": False, "TagList": TAGS,
                    "AutoMinorVersionUpgrade": False, "DeletionProtection": True, "CopyTagsToSnapshot": True,
                    "StorageType": "gp3", "BackupRetentionPeriod": 7, "PendingModifiedValues": {},
                    "IAMDatabaseAuthenticationEnabled": False}
        self.assertEqual({name: shown.get(name) for name in expected}, expected)
        self.assertEqual(shown["DBSubnetGroup"]["DBSubnetGroupName"], self.outputs["Subnets"])
        self.assertEqual(shown["VpcSecurityGroups"], [{"VpcSecurityGroupId": self.outputs["Closed"], "Status": "active"}])
        self.assertEqual(shown["DBParameterGroups"], [
            {"DBParameterGroupName": self.outputs["Parameters"], "ParameterApplyStatus": "in-sync"}])
        self.assertEqual(shown["Endpoint"]["Port"], 5444)
        self.assertNotEqual(shown["DbiResourceId"], self.shown("prod")["DbiResourceId"])
        self.assertGreater(shown["InstanceCreateTime"], self.shown("prod")["InstanceCreateTime"])
        self.assertEqual(self.account.query("named", "select count(*) from kept"), "1000")
        for setting, value in (("max_logical_replication_workers", "0"), ("shared_preload_libraries", "pg_stat_statements"),
                               ("client_connection_check_interval", "0")):
            self.assertEqual(self.account.query("named", f"show {setting}"), value)
        self.refused("InvalidParameterCombination", self.delete, name="named")
        self.rds.modify_db_instance(DBInstanceIdentifier="named", DeletionProtection=False)
        self.delete("named")
        self.refused("InvalidDBInstanceState", self.delete, name="named")
        self.gone("named")

    def test_what_is_not_named_gets_the_defaults(self):
        self.restore("plain")
        shown = self.account.wait_for_instance("plain")
        expected = {"PubliclyAccessible": True, "MultiAZ": False, "DeletionProtection": False, "BackupRetentionPeriod": 7,
                    "IAMDatabaseAuthenticationEnabled": False, "TagList": [{"Key": "app", "Value": "shop"}]}
        self.assertEqual({name: shown.get(name) for name in expected}, expected)
        self.assertEqual(shown["DBSubnetGroup"]["DBSubnetGroupName"], "default")
        self.assertNotEqual(shown["VpcSecurityGroups"][0]["VpcSecurityGroupId"], self.outputs["Closed"])
        self.assertEqual(shown["DBParameterGroups"][0]["DBParameterGroupName"], "default.postgres17")
        self.assertEqual(self.account.query("plain", "show max_logical_replication_workers"), "4")
        self.delete("plain")

    def test_what_cannot_be_is_refused(self):
        ec2 = self.account.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        foreign = ec2.create_security_group(GroupName="foreign", Description="x", VpcId=vpc)["GroupId"]
        for code, more in (("DBParameterGroupNotFound", {"DBParameterGroupName": "nowhere"}),
                           ("DBSubnetGroupNotFoundFault", {"DBSubnetGroupName": "nowhere"}),
                           ("InvalidParameterValue", {"VpcSecurityGroupIds": ["sg-nowhere"]}),
                           ("InvalidParameterCombination", {"VpcSecurityGroupIds": [foreign]}),
                           ("InvalidParameterValue", {"Tags": [{"Key": "aws:x", "Value": "y"}]}),
                           ("InvalidParameterValue", {"AllocatedStorage": 5})):
            self.refused(code, self.restore, name="no", **more)
        self.refused("DBInstanceAlreadyExists", self.restore, name="prod")
        count = len(self.rds.describe_db_instances()["DBInstances"])
        self.set(instanceQuota=count)
        self.refused("InstanceQuotaExceeded", self.restore, name="no")
        self.set(instanceQuota=400)
        subnets = ec2.describe_subnets()["Subnets"]
        self.refused("DBSubnetGroupDoesNotCoverEnoughAZs", self.rds.create_db_subnet_group, DBSubnetGroupName="narrow",
                     DBSubnetGroupDescription="x", SubnetIds=[subnets[0]["SubnetId"]])
        self.refused("InvalidSubnet", self.rds.create_db_subnet_group, DBSubnetGroupName="none",
                     DBSubnetGroupDescription="x", SubnetIds=["subnet-nowhere"])

    def test_restores_and_deletions_can_be_held_and_fail(self):
        self.set(holdRestores=True)
        self.restore("held")
        self.assertEqual(self.shown("held")["DBInstanceStatus"], "creating")
        self.refused("InvalidDBInstanceState", self.rds.modify_db_instance, DBInstanceIdentifier="held",
                     BackupRetentionPeriod=0)
        self.set(holdRestores=False, holdDeletes=True)
        self.account.wait_for_instance("held")
        self.delete("held")
        self.assertEqual(self.shown("held")["DBInstanceStatus"], "deleting")
        self.set(holdDeletes=False)
        self.gone("held")
        self.set(failNextRestores=1)
        self.restore("broken")
        harness.eventually(lambda: self.shown("broken")["DBInstanceStatus"] == "incompatible-restore")
        self.refused("InvalidDBInstanceState", self.rds.delete_db_instance, DBInstanceIdentifier="broken",
                     FinalDBSnapshotIdentifier="no")
        self.delete("broken")
        self.gone("broken")

    def test_changes_are_pending_until_they_are_applied(self):
        self.restore("changed", Tags=TAGS)
        self.account.wait_for_instance("changed")
        answer = self.rds.modify_db_instance(
            DBInstanceIdentifier="changed", MasterUserPassword="a random one", BackupRetentionPeriod=0,
            ApplyImmediately=True)["DBInstance"]
        self.assertEqual((answer["DBInstanceStatus"], answer["PendingModifiedValues"]),
                         ("available", {"MasterUserPassword": "****", "BackupRetentionPeriod": 0}))
        harness.eventually(lambda: self.shown("changed")["DBInstanceStatus"] == "resetting-master-credentials")
        self.assertEqual(self.settled("changed")["BackupRetentionPeriod"], 0)
        self.assertNotIn("LatestRestorableTime", self.shown("changed"))
        self.assertIn("a%20random%20one", self.cloud.get(f"instance?account={self.account.id}&id=changed")["masterUrl"])
        self.assertEqual(self.account.query("changed", "select count(*) from kept"), "1000")
        self.rds.modify_db_instance(DBInstanceIdentifier="changed", DBInstanceClass="db.r6g.large",
                                    DBParameterGroupName=self.outputs["Parameters"],
                                    VpcSecurityGroupIds=[self.outputs["Closed"]])
        shown = self.shown("changed")
        self.assertEqual(shown["PendingModifiedValues"], {"DBInstanceClass": "db.r6g.large"})
        self.assertEqual(shown["DBParameterGroups"][0]["ParameterApplyStatus"], "pending-reboot")
        self.assertEqual(shown["VpcSecurityGroups"][0]["VpcSecurityGroupId"], self.outputs["Closed"])
        self.rds.reboot_db_instance(DBInstanceIdentifier="changed")
        self.assertEqual(self.account.wait_for_instance("changed")["DBParameterGroups"][0]["ParameterApplyStatus"], "in-sync")
        self.assertEqual(self.account.query("changed", "show max_logical_replication_workers"), "0")
        self.rds.modify_db_instance(DBInstanceIdentifier="changed", DBInstanceClass="db.r6g.large", ApplyImmediately=True)
        self.assertEqual(self.settled("changed")["DBInstanceClass"], "db.r6g.large")
        self.delete("changed")

    def test_a_parameter_group_in_use_changes_its_servers(self):
        self.assertEqual(self.account.query("prod", "show max_logical_replication_workers"), "0")
        group = self.outputs["Parameters"]
        static = {"ParameterName": "max_logical_replication_workers", "ParameterValue": "2", "ApplyMethod": "immediate"}
        self.refused("InvalidParameterCombination", self.rds.modify_db_parameter_group, DBParameterGroupName=group,
                     Parameters=[static])
        self.refused("InvalidParameterValue", self.rds.modify_db_parameter_group, DBParameterGroupName=group,
                     Parameters=[{"ParameterName": "max_nonsense", "ParameterValue": "2", "ApplyMethod": "immediate"}])
        self.rds.modify_db_parameter_group(DBParameterGroupName=group, Parameters=[
            {"ParameterName": "work_mem", "ParameterValue": "5120", "ApplyMethod": "immediate"}])
        harness.eventually(lambda: self.account.query("prod", "show work_mem") == "5MB")
        found = {one["ParameterName"]: one for one in self.rds.describe_db_parameters(DBParameterGroupName=group)["Parameters"]}
        self.assertEqual((found["max_logical_replication_workers"]["ParameterValue"],
                          found["max_logical_replication_workers"]["ApplyType"]), ("0", "static"))
        self.refused("InvalidDBParameterGroupState", self.rds.delete_db_parameter_group, DBParameterGroupName=group)
        self.deploy(Workers="1")
        self.assertEqual(self.shown("prod")["DBParameterGroups"][0]["ParameterApplyStatus"], "pending-reboot")
        self.deploy(Workers="0")

    def test_the_key_of_an_encrypted_snapshot_must_be_usable(self):
        kms = self.account.client("kms")
        key = kms.create_key()["KeyMetadata"]
        self.account.create_instance("coded", StorageEncrypted=True, KmsKeyId=key["Arn"], BackupRetentionPeriod=1)
        self.rds.create_db_snapshot(DBInstanceIdentifier="coded", DBSnapshotIdentifier="coded-1")
        self.account.wait_for_snapshot("coded-1")
        self.account.wait_for_instance("coded")
        rds_only = {"Effect": "Allow", "Action": "rds:*", "Resource": "*"}
        with_key = {"Effect": "Allow", "Action": ["kms:DescribeKey", "kms:CreateGrant"], "Resource": key["Arn"]}
        version = {"Version": "2012-10-17"}
        without = self.account.client("rds", **self.account.create_role("keyless", {**version, "Statement": [rds_only]}))
        keyed = self.account.client("rds", **self.account.create_role("keyed", {**version, "Statement": [rds_only, with_key]}))
        snapshot = {"DBSnapshotIdentifier": "coded-1", "DBInstanceIdentifier": "decoded"}
        moment = {"SourceDBInstanceIdentifier": "coded", "TargetDBInstanceIdentifier": "decoded",
                  "UseLatestRestorableTime": True}
        self.refused("KMSKeyNotAccessibleFault", without.restore_db_instance_from_db_snapshot, **snapshot)
        self.refused("KMSKeyNotAccessibleFault", without.restore_db_instance_to_point_in_time, **moment)
        keyed.restore_db_instance_from_db_snapshot(**snapshot)
        self.assertEqual(self.account.wait_for_instance("decoded")["KmsKeyId"], key["Arn"])
        kms.disable_key(KeyId=key["KeyId"])
        self.refused("KMSKeyNotAccessibleFault", self.rds.restore_db_instance_from_db_snapshot,
                     **{**snapshot, "DBInstanceIdentifier": "decoded-2"})

    def test_of_two_at_the_same_time_one_is_refused(self):
        def attempt(_):
            try:
                return self.account.client("rds").restore_db_instance_from_db_snapshot(
                    DBInstanceIdentifier="twice", DBSnapshotIdentifier="s1")["DBInstance"]["DbiResourceId"]
            except ClientError as error:
                return error.response["Error"]["Code"]

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(attempt, range(6)))
        self.assertEqual(answers.count("DBInstanceAlreadyExists"), 5, answers)
        self.assertEqual(self.account.wait_for_instance("twice")["DbiResourceId"], next(
            one for one in answers if one.startswith("db-")))

    def test_permissions_are_of_every_resource_and_its_tags(self):
        base = f"arn:aws:rds:eu-central-1:{self.account.id}"
        allowed = [f"{base}:snapshot:s1", f"{base}:subgrp:{self.outputs['Subnets']}", f"{base}:pg:{self.outputs['Parameters']}",
                   f"{base}:og:default:postgres-17"]
        session = self.account.create_role("driller", {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "rds:RestoreDBInstanceFromDBSnapshot", "Resource": allowed},
            {"Effect": "Allow", "Action": ["rds:RestoreDBInstanceFromDBSnapshot", "rds:AddTagsToResource"],
             "Resource": f"{base}:db:drill-*", "Condition": {"StringLike": {"aws:RequestTag/lifeboat:drill": "*"}}},
            {"Effect": "Allow", "Action": ["rds:ModifyDBInstance", "rds:DeleteDBInstance"], "Resource": f"{base}:db:*",
             "Condition": {"StringLike": {"aws:ResourceTag/lifeboat:drill": "*"}}}]})
        rds = self.account.client("rds", **session)
        named = {"DBSnapshotIdentifier": "s1", "DBSubnetGroupName": self.outputs["Subnets"],
                 "DBParameterGroupName": self.outputs["Parameters"], "VpcSecurityGroupIds": [self.outputs["Closed"]]}
        restore = rds.restore_db_instance_from_db_snapshot
        for wrong in ({"DBInstanceIdentifier": "drill-1"}, {"DBInstanceIdentifier": "prod-2", "Tags": TAGS},
                      {"DBInstanceIdentifier": "drill-1", "Tags": TAGS, "DBParameterGroupName": "default.postgres17"}):
            self.refused("AccessDenied", restore, **{**named, **wrong})
        without = {key: value for key, value in named.items() if key != "DBSubnetGroupName"}
        self.refused("AccessDenied", restore, DBInstanceIdentifier="drill-1", Tags=TAGS, **without)
        restore(DBInstanceIdentifier="drill-1", Tags=TAGS, **named)
        self.account.wait_for_instance("drill-1")
        for call, more in ((rds.modify_db_instance, {"BackupRetentionPeriod": 0}),
                           (rds.delete_db_instance, {"SkipFinalSnapshot": True})):
            self.refused("AccessDenied", call, DBInstanceIdentifier="prod", **more)
        rds.delete_db_instance(DBInstanceIdentifier="drill-1", SkipFinalSnapshot=True)
        self.gone("drill-1")


if __name__ == "__main__":
    unittest.main()

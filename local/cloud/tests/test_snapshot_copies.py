"""Copies of snapshots to another region: keys, presigned URL, limits, and data that outlives its source."""

import unittest
import urllib.parse

import harness
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

HOME, AWAY = harness.REGION, "eu-west-1"


class Copies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.rds, cls.away = cls.account.client("rds"), cls.account.client("rds", AWAY)
        cls.home_key = cls.account.client("kms").create_key()["KeyMetadata"]["Arn"]
        cls.away_key = cls.account.client("kms", AWAY).create_key()["KeyMetadata"]["Arn"]
        cls.account.create_instance("db1", StorageEncrypted=True, KmsKeyId=cls.home_key)
        cls.account.query("db1", "create table kept as select generate_series(1, 1000) x")
        cls.rds.create_db_snapshot(DBInstanceIdentifier="db1", DBSnapshotIdentifier="source",
                                   Tags=[{"Key": "made", "Value": "by test"}])
        cls.source = cls.account.wait_for_snapshot("source")["DBSnapshotArn"]

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    def copy(self, name, client=None, **more):
        """Copy to the other region, as boto3 does it: with a presigned URL made from `SourceRegion`."""
        arguments = {"KmsKeyId": self.away_key, "SourceRegion": HOME, "SourceDBSnapshotIdentifier": self.source, **more}
        arguments = {name: value for name, value in arguments.items() if value is not None}
        return (client or self.away).copy_db_snapshot(TargetDBSnapshotIdentifier=name, **arguments)["DBSnapshot"]

    def refused(self, code, message, name="refused", **more):
        with self.assertRaises(ClientError) as caught:
            self.copy(name, **more)
        error = caught.exception.response["Error"]
        self.assertEqual(error["Code"], code)
        self.assertIn(message, error["Message"])

    def test_a_copy_is_a_snapshot_of_its_own(self):
        made = self.copy("copied", Tags=[{"Key": "lifeboat:copy-of", "Value": self.source}], CopyTags=True)
        self.assertEqual(made["Status"], "creating")
        shown = self.account.wait_for_snapshot("copied", AWAY)
        source = self.account.snapshot("source")
        expected = {
            "DBSnapshotArn": f"arn:aws:rds:{AWAY}:{self.account.id}:snapshot:copied", "SourceRegion": HOME,
            "SourceDBSnapshotIdentifier": self.source, "KmsKeyId": self.away_key, "Encrypted": True,
            "SnapshotType": "manual", "TagList": [{"Key": "lifeboat:copy-of", "Value": self.source}],
            "OriginalSnapshotCreateTime": source["SnapshotCreateTime"], "PercentProgress": 100,
            "DBInstanceIdentifier": "db1", "DbiResourceId": source["DbiResourceId"]}
        self.assertEqual({name: shown.get(name) for name in expected}, expected)
        self.assertGreater(shown["SnapshotCreateTime"], source["SnapshotCreateTime"])
        self.copy("with-tags", CopyTags=True)
        self.assertEqual(self.account.wait_for_snapshot("with-tags", AWAY)["TagList"], source["TagList"])
        self.copy("without-tags")
        self.assertEqual(self.account.wait_for_snapshot("without-tags", AWAY)["TagList"], [])
        self.refused("DBSnapshotAlreadyExists", "copied", name="copied")

    def test_a_copy_outlives_its_source_and_is_restored_where_it_is(self):
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="source", TargetDBSnapshotIdentifier="going")
        going = self.account.wait_for_snapshot("going")
        self.assertNotIn("SourceDBSnapshotIdentifier", going)       # only across regions and accounts
        self.copy("staying", SourceDBSnapshotIdentifier=going["DBSnapshotArn"])
        self.account.wait_for_snapshot("staying", AWAY)
        self.rds.delete_db_snapshot(DBSnapshotIdentifier="going")
        self.away.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="back", DBSnapshotIdentifier="staying")
        shown = self.account.wait_for_instance("back", AWAY)
        self.assertEqual((shown["KmsKeyId"], shown["AvailabilityZone"], shown["MultiAZ"]),
                         (self.away_key, AWAY + "a", False))
        self.assertEqual(self.account.query("back", "select count(*) from kept", AWAY), "1000")

    def test_keys_are_checked(self):
        self.refused("InvalidParameterValue", "Must specify new KMS key", KmsKeyId=None, SourceRegion=None)
        self.refused("KMSKeyNotAccessibleFault", "target KMS key", KmsKeyId=self.home_key)
        kms = self.account.client("kms", AWAY)
        disabled = kms.create_key()["KeyMetadata"]["Arn"]
        kms.disable_key(KeyId=disabled)
        self.refused("KMSKeyNotAccessibleFault", "not enabled", KmsKeyId=disabled)
        home = self.account.client("kms")
        home.disable_key(KeyId=self.home_key)
        try:
            self.refused("KMSKeyNotAccessibleFault", "source KMS key")
        finally:
            home.enable_key(KeyId=self.home_key)

    def test_the_presigned_url_is_checked(self):
        self.refused("InvalidParameterValue", "PreSignedUrl must be specified", SourceRegion=None)
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["rds:*", "kms:DescribeKey", "kms:CreateGrant"], "Resource": "*"}]}
        role = self.account.create_role("copier", policy)
        away, sent = self.account.client("rds", AWAY, **role), []
        away.meta.events.register("before-sign.rds.CopyDBSnapshot",
                                  lambda request, **_: sent.append(request.data.get("PreSignedUrl")))
        self.copy("signed", away)
        self.account.wait_for_snapshot("signed", AWAY)
        url = sent[-1]
        forged = {
            "DestinationRegion": url.replace(f"DestinationRegion={AWAY}", "DestinationRegion=eu-west-2"),
            "SourceDBSnapshotIdentifier": url.replace("%3Asnapshot%3Asource", "%3Asnapshot%3Aother"),
            "KmsKeyId": url.replace(urllib.parse.quote_plus(self.away_key), "other"),
            "Action": url.replace("Action=CopyDBSnapshot", "Action=DeleteDBSnapshot"),
            "could not be authenticated: it is signed for rds in eu-west-1": url.replace(
                f"%2F{HOME}%2Frds", f"%2F{AWAY}%2Frds"),
            "could not be authenticated: The request signature": url.replace("signed", "forged"),
        }
        for message, one in forged.items():
            with self.subTest(message):
                self.assertNotEqual(one, url)
                self.refused("InvalidParameterValue", message, client=away, SourceRegion=None, PreSignedUrl=one)

    def test_a_url_for_the_public_endpoint_is_as_good(self):
        role = self.account.create_role("signer", {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["rds:*", "kms:DescribeKey", "kms:CreateGrant"], "Resource": "*"}]})
        query = {"Action": "CopyDBSnapshot", "Version": "2014-10-31", "DestinationRegion": AWAY, "KmsKeyId": self.away_key,
                 "SourceDBSnapshotIdentifier": self.source, "TargetDBSnapshotIdentifier": "public"}
        request = AWSRequest("GET", f"https://rds.{HOME}.amazonaws.com/?{urllib.parse.urlencode(query)}")
        credentials = Credentials(role["aws_access_key_id"], role["aws_secret_access_key"], role["aws_session_token"])
        SigV4QueryAuth(credentials, "rds", HOME, expires=300).add_auth(request)
        self.copy("public", self.account.client("rds", AWAY, **role), SourceRegion=None, PreSignedUrl=request.url)
        self.account.wait_for_snapshot("public", AWAY)

    def test_copies_in_progress_are_limited(self):
        set_away = {"account": self.account.id, "region": AWAY}
        self.cloud.post("rds", **set_away, copiesInProgressMax=2, holdCopies=True)
        self.copy("busy-1")
        self.copy("busy-2")
        self.refused("SnapshotQuotaExceeded", "Cannot copy more than 2 snapshots across regions")
        self.cloud.post("rds", **set_away, copiesInProgressMax=20, holdCopies=False)
        self.account.wait_for_snapshot("busy-2", AWAY)
        self.copy("busy-3")

    def test_a_copy_can_fail(self):
        self.cloud.post("rds", account=self.account.id, region=AWAY, failNextCopies=1)
        self.copy("failing")
        self.account.wait_for_snapshot("failing", AWAY, "failed")
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="source", TargetDBSnapshotIdentifier="vanishing")
        vanishing = self.account.wait_for_snapshot("vanishing")["DBSnapshotArn"]
        self.cloud.post("rds", account=self.account.id, region=AWAY, holdCopies=True)
        self.copy("orphan", SourceDBSnapshotIdentifier=vanishing)
        self.rds.delete_db_snapshot(DBSnapshotIdentifier="vanishing")
        self.cloud.post("rds", account=self.account.id, region=AWAY, holdCopies=False)
        self.account.wait_for_snapshot("orphan", AWAY, "failed")
        self.refused("DBSnapshotNotFound", "not found", SourceDBSnapshotIdentifier=vanishing)

    def test_an_unencrypted_snapshot_needs_no_key(self):
        self.account.create_instance("plain")
        self.rds.create_db_snapshot(DBInstanceIdentifier="plain", DBSnapshotIdentifier="plain")
        arn = self.account.wait_for_snapshot("plain")["DBSnapshotArn"]
        self.copy("plain", SourceDBSnapshotIdentifier=arn, KmsKeyId=None, SourceRegion=None)
        shown = self.account.wait_for_snapshot("plain", AWAY)
        self.assertEqual((shown["Encrypted"], shown.get("KmsKeyId")), (False, None))
        self.copy("plain-encrypted", SourceDBSnapshotIdentifier=arn, SourceRegion=None)
        self.assertTrue(self.account.wait_for_snapshot("plain-encrypted", AWAY)["Encrypted"])


if __name__ == "__main__":
    unittest.main()

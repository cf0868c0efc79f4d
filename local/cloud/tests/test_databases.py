"""RDS instances are real PostgreSQL servers that behave as RDS's do."""

import os
import subprocess
import time
import unittest

import harness
from botocore.exceptions import ClientError

# 15 is Debian's, the others come with the wheels.
MAJORS = [major for major in ("15", "16", "17", "18")
          if major != "15" or os.path.exists("/usr/lib/postgresql/15/bin/postgres")]
PASSWORD = "s3cr3t/pass@word'\""


class Databases(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        cls.rds = cls.account.client("rds")
        for major in MAJORS:
            cls.rds.create_db_instance(
                DBInstanceIdentifier=f"db{major}", Engine="postgres", EngineVersion=major, DBInstanceClass="db.t4g.micro",
                AllocatedStorage=20, MasterUsername="master", MasterUserPassword=PASSWORD, DBName="app")

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    def status(self, name):
        try:
            return self.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
        except ClientError:
            return {"DBInstanceStatus": "gone"}

    def wait(self, name, status="available"):
        """Wait for a status; returns the seconds."""
        started = time.monotonic()
        harness.eventually(lambda: self.status(name)["DBInstanceStatus"] == status, 30)
        return time.monotonic() - started

    def instance(self, name):
        return self.cloud.get(f"instance?account={self.account.id}&id={name}")

    def query(self, name, sql, url="masterUrl", database=None, **environment):
        """Run SQL; returns `(output, error)`."""
        found = self.instance(name)
        target = found[url] if database is None else found[url].rsplit("/", 1)[0] + "/" + database
        done = subprocess.run([found["binFolder"] + "/psql", "-XAtq", target, "-c", sql], capture_output=True, text=True,
                              env={**os.environ, **environment})
        return done.stdout.strip(), done.stderr.strip()

    def test_every_major_runs_and_its_master_is_no_superuser(self):
        for major in MAJORS:
            with self.subTest(major):
                self.wait(f"db{major}")
                shown = self.status(f"db{major}")
                self.assertTrue(shown["EngineVersion"].startswith(major + "."))
                self.assertEqual(shown["Endpoint"]["Port"], 5432)
                facts, error = self.query(f"db{major}", "select current_setting('server_version_num')::int / 10000, "
                                          "current_setting('max_connections'), rolsuper, rolcreatedb, rolcreaterole, "
                                          "pg_has_role('rds_superuser', 'member'), pg_has_role('pg_read_all_data', 'usage') "
                                          "from pg_roles where rolname = current_user")
                self.assertEqual((facts, error), (f"{major}|200|f|t|t|t|t", ""))
                self.assertEqual(self.query(f"db{major}", "select rolsuper from pg_roles where rolname = current_user",
                                            "adminUrl"), ("t", ""))
                self.assertIn("permission denied", self.query(f"db{major}", "select pg_read_file('PG_VERSION')")[1])
                self.assertIn("rejects connection", self.query(f"db{major}", "select 1", database="rdsadmin")[1])

    def test_tls_is_required_and_verifies(self):
        for major in {"15", "17"} & set(MAJORS):
            self.wait(f"db{major}")
            self.assertIn("no encryption", self.query(f"db{major}", "select 1", PGSSLMODE="disable")[1])
            self.assertEqual(self.query(f"db{major}", "select 1", PGSSLMODE="verify-full",
                                        PGSSLROOTCERT=self.cloud.ready["caFile"]), ("1", ""))

    def test_a_snapshot_brings_the_data_of_its_moment_back(self):
        self.wait("db17")
        self.query("db17", "create table kept as select generate_series(1, 50000) x")
        self.rds.create_db_snapshot(DBInstanceIdentifier="db17", DBSnapshotIdentifier="before")
        self.assertEqual(self.status("db17")["DBInstanceStatus"], "backing-up")
        with self.assertRaises(ClientError):
            self.rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="early", DBSnapshotIdentifier="before")
        harness.eventually(lambda: self.rds.describe_db_snapshots(
            DBSnapshotIdentifier="before")["DBSnapshots"][0]["Status"] == "available")
        self.query("db17", "delete from kept")
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="before", TargetDBSnapshotIdentifier="copied")
        harness.eventually(lambda: self.rds.describe_db_snapshots(
            DBSnapshotIdentifier="copied")["DBSnapshots"][0]["Status"] == "available")
        self.rds.delete_db_snapshot(DBSnapshotIdentifier="before")
        self.rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="restored", DBSnapshotIdentifier="copied")
        self.assertEqual(self.status("restored")["DBInstanceStatus"], "creating")
        self.wait("restored")
        self.assertEqual(self.query("restored", "select count(*) from kept"), ("50000", ""))
        self.assertEqual(self.query("db17", "select count(*) from kept"), ("0", ""))
        self.assertNotEqual(self.instance("restored")["host"], self.instance("db17")["host"])

    def test_password_stop_start_and_delete(self):
        self.wait("db18")
        self.rds.modify_db_instance(DBInstanceIdentifier="db18", MasterUserPassword="another one", ApplyImmediately=True)
        old = self.instance("db18")["masterUrl"]
        # Available and not yet changed, as on AWS: what is pending tells.
        shown = self.status("db18")
        self.assertEqual((shown["DBInstanceStatus"], shown["PendingModifiedValues"]["MasterUserPassword"]), ("available", "****"))
        harness.eventually(lambda: not self.status("db18")["PendingModifiedValues"])
        self.wait("db18")
        self.assertEqual(self.query("db18", "select 1"), ("1", ""))
        done = subprocess.run([self.instance("db18")["binFolder"] + "/psql", "-XAtq", old, "-c", "select 1"],
                              capture_output=True, text=True)
        self.assertIn("password authentication failed", done.stderr)
        with self.assertRaises(ClientError):
            self.rds.modify_db_instance(DBInstanceIdentifier="db18", MasterUserPassword="short")
        self.rds.stop_db_instance(DBInstanceIdentifier="db18")
        self.wait("db18", "stopped")
        self.assertIn("refused", self.query("db18", "select 1")[1])
        self.rds.start_db_instance(DBInstanceIdentifier="db18")
        self.wait("db18")
        self.assertEqual(self.query("db18", "select 1"), ("1", ""))
        self.rds.delete_db_instance(DBInstanceIdentifier="db18", SkipFinalSnapshot=False,
                                    FinalDBSnapshotIdentifier="final")
        self.wait("db18", "gone")
        self.assertEqual(self.rds.describe_db_snapshots(DBSnapshotIdentifier="final")["DBSnapshots"][0]["Status"],
                         "available")

    def test_what_cannot_be_is_refused(self):
        common = {"DBInstanceIdentifier": "no", "DBInstanceClass": "db.t4g.micro", "AllocatedStorage": 20,
                  "MasterUsername": "master", "MasterUserPassword": "long enough"}
        with self.assertRaisesRegex(ClientError, "Cannot find version 12"):
            self.rds.create_db_instance(**common, Engine="postgres", EngineVersion="12.1")
        with self.assertRaisesRegex(ClientError, "postgres only"):
            self.rds.create_db_instance(**common, Engine="mysql")
        with self.assertRaisesRegex(ClientError, "shorter than 8"):
            self.rds.create_db_instance(**{**common, "MasterUserPassword": "short"}, Engine="postgres")
        self.assertEqual(self.status("no")["DBInstanceStatus"], "gone")


if __name__ == "__main__":
    unittest.main()

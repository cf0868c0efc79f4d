"""IAM database authentication: who gets in with which token, on a server that can ask; refused where it cannot."""

import datetime
import os
import subprocess
import sys
import unittest
from unittest import mock

import botocore.auth
import botocore.crt.auth
import harness
from botocore.exceptions import ClientError

DEBIANS = "/usr/lib/postgresql/15/bin/postgres"
PSQL = os.path.join(os.path.dirname(DEBIANS), "psql")


@unittest.skipUnless(os.path.exists(DEBIANS), "needs Debian's PostgreSQL 15")
class IamLogins(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = harness.shared_cloud()
        cls.account = harness.Account(cls.cloud)
        for name, major in (("db", "15"), ("off", "15"), ("new", "17")):
            cls.account.create_instance(name, EngineVersion=major, EnableIAMDatabaseAuthentication=name != "off")
        for name, grantor in (("db", "masterUrl"), ("off", "masterUrl"), ("new", "adminUrl")):
            for user in ("rotator", "stranger", "plain"):
                cls.run_sql(cls.instance(name)[grantor], f"create role {user} login password 'known'")
            cls.run_sql(cls.instance(name)[grantor], "grant rds_iam to rotator; grant rds_iam to stranger")
        cls.resource = cls.account.client("rds").describe_db_instances(DBInstanceIdentifier="db")["DBInstances"][0]["DbiResourceId"]
        allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "rds-db:connect", "Resource":
                 f"arn:aws:rds-db:{harness.REGION}:{cls.account.id}:dbuser:{cls.resource}/rotator"}]}
        cls.keys = cls.account.create_role("rotator", allow)

    @classmethod
    def tearDownClass(cls):
        cls.cloud.post("account/drop", account=cls.account.id)

    @classmethod
    def instance(cls, name):
        return cls.cloud.get(f"instance?account={cls.account.id}&id={name}")

    @staticmethod
    def run_sql(url, sql, **environment):
        done = subprocess.run([PSQL, "-XAtq", url, "-c", sql], capture_output=True, text=True, env={**os.environ, **environment})
        return done.stdout.strip(), done.stderr.strip()

    def token(self, name="db", user="rotator", keys=None, **more):
        one = self.instance(name)
        where = {"DBHostname": one["host"], "Port": one["port"], "DBUsername": user, **more}
        return self.account.client("rds", **(keys or self.keys)).generate_db_auth_token(**where)

    def login(self, password, name="db", user="rotator", sslmode="verify-full"):
        one = self.instance(name)
        return self.run_sql(f"host={one['host']} port={one['port']} user={user} dbname=postgres sslmode={sslmode}",
                            "select current_user", PGPASSWORD=password, PGSSLROOTCERT=self.cloud.ready["caFile"])

    def refused(self, *arguments, **named):
        """A login fails as it does with a wrong token."""
        output, error = self.login(*arguments, **named)
        self.assertEqual(output, "")
        self.assertIn("authentication failed for user", error)

    def test_a_token_lets_its_user_in(self):
        self.assertEqual(self.login(self.token()), ("rotator", ""))
        self.assertEqual(self.login("known", user="plain"), ("plain", ""))
        seen = self.cloud.get(f"calls?account={self.account.id}")
        self.assertIn(("rds-db:connect", f"arn:aws:rds-db:{harness.REGION}:{self.account.id}:dbuser:{self.resource}/rotator", True),
                      [(one["action"], one["resource"], one["allowed"]) for one in seen])

    def test_every_other_token_is_refused(self):
        good = self.token()
        self.refused("known")       # a member's password counts for nothing
        self.refused(good[:-1] + ("0" if good[-1] != "0" else "1"))
        self.refused(self.token(user="stranger"), user="stranger")      # signed well, not allowed
        self.refused(self.token(user="stranger"))
        self.refused(self.token(Port=5433))
        self.refused(self.token(DBHostname="127.0.0.1"))
        self.refused(self.token(Region="eu-west-1"))
        before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=14)
        for minutes, lets_in in ((0, True), (2, False)):
            with mock.patch.object(botocore.crt.auth, "get_current_datetime",
                                   lambda *_, minutes=minutes, **__: before - datetime.timedelta(minutes=minutes)):
                late = self.token()
            self.assertIn((before - datetime.timedelta(minutes=minutes)).strftime("%Y%m%dT%H%M%SZ"), late)
            if lets_in:
                self.assertEqual(self.login(late), ("rotator", ""))
            else:
                self.refused(late)
        output, error = self.login(good, sslmode="disable")
        self.assertIn("no encryption", error)
        self.refused(self.token("off"), name="off")     # the same user and key, where it is switched off

    def test_it_can_be_switched_on(self):
        self.account.client("rds").modify_db_instance(DBInstanceIdentifier="off", EnableIAMDatabaseAuthentication=True,
                                                      ApplyImmediately=True)
        root = {"aws_access_key_id": self.account.id, "aws_secret_access_key": "test"}
        harness.eventually(lambda: self.login(self.token("off", keys=root), name="off") == ("rotator", ""))
        self.account.client("rds").modify_db_instance(DBInstanceIdentifier="off", EnableIAMDatabaseAuthentication=False,
                                                      ApplyImmediately=True)
        harness.eventually(lambda: "authentication failed" in self.login(self.token("off", keys=root), name="off")[1])

    def test_a_replica_is_logged_in_to_by_its_own_name(self):
        rds, root = self.account.client("rds"), {"aws_access_key_id": self.account.id, "aws_secret_access_key": "test"}
        rds.create_db_instance_read_replica(DBInstanceIdentifier="reader", SourceDBInstanceIdentifier="db",
                                            EnableIAMDatabaseAuthentication=True)
        shown = self.account.wait_for_instance("reader")
        self.assertTrue(shown["IAMDatabaseAuthenticationEnabled"])
        self.assertEqual(self.login(self.token("reader", keys=root), name="reader"), ("rotator", ""))
        self.refused(self.token("db", keys=root), name="reader")
        self.refused(self.token("reader"), name="reader")       # the role's policy names the source alone

    def test_where_no_token_can_be_checked_members_are_refused(self):
        self.refused(self.token("new"), name="new")
        self.refused("known", name="new")
        self.assertEqual(self.login("known", name="new", user="plain"), ("plain", ""))

    def test_the_masters_roles(self):
        for role in ("rds_superuser", "rds_password", "pg_signal_backend", "pg_monitor"):
            for name in ("db", "new"):
                self.assertEqual(self.account.query(name, f"select pg_has_role('{role}', 'usage')"), "t", (name, role))
        rds = self.account.client("rds")
        rds.create_db_parameter_group(DBParameterGroupName="held", DBParameterGroupFamily="postgres15", Description="x")
        restrict = {"ParameterName": "rds.restrict_password_commands", "ParameterValue": "1"}
        with self.assertRaisesRegex(ClientError, "cannot use immediate apply method for static parameter"):
            rds.modify_db_parameter_group(DBParameterGroupName="held", Parameters=[{**restrict, "ApplyMethod": "immediate"}])
        rds.modify_db_parameter_group(DBParameterGroupName="held", Parameters=[{**restrict, "ApplyMethod": "pending-reboot"}])


class Binds(unittest.TestCase):
    """What the responder takes for a bind; needs no server."""

    BIND = bytes.fromhex("300f020101600a020103040175800270 77".replace(" ", ""))     # name `u`, password `pw`

    @classmethod
    def setUpClass(cls):
        sys.path.insert(0, os.path.dirname(os.path.dirname(harness.HERE)))
        from cloud import ldap_responder

        cls.responder = ldap_responder

    @classmethod
    def tearDownClass(cls):
        sys.path.pop(0)

    def code(self, message, right=("u", "pw")):
        """The result code of the answer, whose message has the number of the question."""
        said = self.responder.answer(message, lambda name, password: (name, password) == right)
        self.assertEqual(said[:8], bytes.fromhex("300c02010161070a"))
        return said[9]

    def test_a_bind_is_answered(self):
        self.assertEqual(self.code(self.BIND), 0)
        self.assertEqual(self.code(self.BIND, ("u", "other")), 49)
        token = "t" * 3000      # lengths in more than one byte
        password = b"\x80\x82" + len(token).to_bytes(2, "big") + token.encode()
        request = bytes.fromhex("020103040175") + password
        bind = b"\x02\x01\x01\x60\x82" + len(request).to_bytes(2, "big") + request
        self.assertEqual(self.code(b"\x30\x82" + len(bind).to_bytes(2, "big") + bind, ("u", token)), 0)
        self.assertEqual(self.code(self.BIND.replace(b"\x80\x02", b"\xa3\x02")), 2)     # SASL

    def test_what_is_no_bind_is_not_answered(self):
        self.assertIsNone(self.responder.answer(bytes.fromhex("30050201024200"), None))     # an unbind
        for end in range(2, len(self.BIND)):
            with self.assertRaises((ValueError, IndexError)):
                self.responder.answer(self.BIND[:end], lambda *_: True)


if __name__ == "__main__":
    unittest.main()

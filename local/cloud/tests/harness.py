"""Starts a cloud for the contract tests the way the Rust driver does, and gives out accounts of it."""

import atexit
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATE = os.path.join(HERE, "template.yaml")
REGION = "eu-central-1"
_accounts = itertools.count(100000000001)


class Cloud:
    """A running cloud. The path of its folder has a space in it, as a checkout's may."""

    def __init__(self, secret_variable="SECRET_OF_THE_PARENT"):
        self.base = tempfile.mkdtemp(prefix="cloud tests ")
        self.folder = os.path.join(self.base, "working folder")
        functions = os.path.join(self.base, "built functions")
        os.makedirs(functions)
        # The tests' function runs under this Python, so that it has boto3.
        with open(os.path.join(HERE, "bootstrap"), encoding="utf-8") as source:
            script = source.read().replace("/usr/bin/env python3", sys.executable, 1)
        worker = os.path.join(functions, "worker")
        with open(worker, "w", encoding="utf-8") as out:
            out.write(script)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cloud", "--port", str(self.port), "--folder", self.folder, "--functions", functions],
            cwd=os.path.dirname(os.path.dirname(HERE)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, secret_variable: "hunter2", "AWS_PROFILE": "real", "PYTHONDONTWRITEBYTECODE": "1"})
        self.ready = json.loads(self.process.stdout.readline())
        self.ready_seconds = time.monotonic() - started
        self.endpoint = self.ready["endpoint"]
        atexit.register(self.end)

    def end(self):
        """End it the ordinary way: standard input ends."""
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()
        shutil.rmtree(self.base, ignore_errors=True)

    def get(self, path):
        """GET an own endpoint."""
        with urllib.request.urlopen(f"{self.endpoint}/_lifeboat/{path}") as answer:
            return json.load(answer)

    def post(self, path, **body):
        """POST to an own endpoint; raises `RuntimeError` with its error."""
        request = urllib.request.Request(f"{self.endpoint}/_lifeboat/{path}", json.dumps(body).encode(), method="POST")
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["error"]) from error

    def log(self):
        """The cloud's log."""
        with open(os.path.join(self.folder, "cloud.log"), encoding="utf-8") as file:
            return file.read()


class Account:
    """One account of a cloud, with boto3 clients as its root."""

    def __init__(self, cloud):
        self.cloud, self.id = cloud, str(next(_accounts))

    def client(self, service, region=REGION, **credentials):
        """A client; root unless credentials are given."""
        credentials = credentials or {"aws_access_key_id": self.id, "aws_secret_access_key": "test"}
        return boto3.client(service, endpoint_url=self.cloud.endpoint, region_name=region, **credentials,
                            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}))

    def deploy(self, stack="lifeboat", **more):
        """Deploy the test template; returns the outputs."""
        self.answer = self.cloud.post("deploy", account=self.id, stackName=stack, template=TEMPLATE, **more)
        return self.answer["outputs"]

    def create_instance(self, name, **more):
        """Create a PostgreSQL instance and wait until it is available."""
        rds = self.client("rds")
        arguments = {"Engine": "postgres", "EngineVersion": "17", "DBInstanceClass": "db.t4g.micro",
                     "AllocatedStorage": 20, "MasterUsername": "master", "MasterUserPassword": "s3cr3t/pass", **more}
        rds.create_db_instance(DBInstanceIdentifier=name, **arguments)
        self.wait_for_instance(name)

    def wait_for_instance(self, name, region=REGION):
        """Wait until an instance is available; returns its description."""
        def available():
            shown = self.client("rds", region).describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
            return shown if shown["DBInstanceStatus"] == "available" else None

        return eventually(available, 30)

    def snapshot(self, name, region=REGION, **credentials):
        """The description of a snapshot."""
        found = self.client("rds", region, **credentials).describe_db_snapshots(DBSnapshotIdentifier=name)
        return found["DBSnapshots"][0]

    def wait_for_snapshot(self, name, region=REGION, status="available"):
        """Wait for a snapshot's status; returns its description."""
        def reached():
            shown = self.snapshot(name, region)
            return shown if shown["Status"] == status else None

        return eventually(reached, 15)

    def query(self, name, sql, region=REGION):
        """What SQL answers on an instance, as its master user."""
        found = self.cloud.get(f"instance?account={self.id}&id={name}&region={region}")
        done = subprocess.run([found["binFolder"] + "/psql", "-XAtq", found["masterUrl"], "-c", sql],
                              capture_output=True, text=True)
        return done.stdout.strip() or done.stderr.strip()

    def as_role(self, role_name):
        """Keyword arguments for `client` with a session of this role."""
        trust = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{self.id}:root"}, "Action": "sts:AssumeRole"}]}
        self.client("iam").update_assume_role_policy(RoleName=role_name, PolicyDocument=json.dumps(trust))
        return self.session(role_name)

    def create_role(self, name, policy, trusted=None):
        """Make a role with this policy, trusted by our root or by ARN; returns a session of it as `as_role` does."""
        trust = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": trusted or f"arn:aws:iam::{self.id}:root"},
             "Action": "sts:AssumeRole"}]}
        iam = self.client("iam")
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        iam.put_role_policy(RoleName=name, PolicyName="work", PolicyDocument=json.dumps(policy))
        return self.session(name) if trusted is None else None

    def session(self, role_name):
        """A session of a role of ours, got as root."""
        given = self.client("sts").assume_role(RoleArn=f"arn:aws:iam::{self.id}:role/{role_name}",
                                               RoleSessionName="test")["Credentials"]
        return {"aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"],
                "aws_session_token": given["SessionToken"]}

    def invoke(self, function, event, **arguments):
        """Invoke a function; returns `(payload, function error or None)`."""
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event), **arguments)
        text = answer["Payload"].read()
        return json.loads(text) if text else None, answer.get("FunctionError")

    def events_seen(self, function):
        """The events that a function of these tests was invoked with, from its log group."""
        group, seen = f"/aws/lambda/{function}", []
        for event in self.client("logs").filter_log_events(logGroupName=group).get("events", []):
            try:
                logged = json.loads(event["message"])
            except ValueError:
                continue
            if isinstance(logged, dict) and "event" in logged:
                seen.append(logged)
        return seen


def eventually(check, seconds=10):
    """Poll until `check` returns something true; returns it."""
    deadline = time.monotonic() + seconds
    while True:
        if result := check():
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {check}")
        time.sleep(0.05)


_shared = None


def shared_cloud():
    """The cloud that all tests of this process share."""
    global _shared
    if _shared is None:
        _shared = Cloud()
    return _shared

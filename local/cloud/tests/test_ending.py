"""Nothing is left, whoever is ended and however: no process, no folder."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zipfile

import harness


def descendants(root):
    """The pids of all descendants of a process."""
    children = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        children.setdefault(int(text[text.rindex(")") + 2:].split()[1]), []).append(int(pid))
    found, waiting = [], [root]
    while waiting:
        mine = children.get(waiting.pop(), [])
        found += mine
        waiting += mine
    return found


def alive(pid):
    """Whether a process lives (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return False
    return text[text.rindex(")") + 2:].split()[0] != "Z"


class Ending(unittest.TestCase):
    def setUp(self):
        self.cloud = harness.Cloud()
        self.addCleanup(self.cloud.end)
        account = harness.Account(self.cloud)
        function = self.function(account)
        account.client("rds").create_db_instance(
            DBInstanceIdentifier="db", Engine="postgres", DBInstanceClass="db.t4g.micro", AllocatedStorage=20,
            MasterUsername="master", MasterUserPassword="long enough")
        harness.eventually(lambda: self.cloud.get(f"instance?account={account.id}&id=db")["status"] == "available", 30)
        self.log = self.cloud.get(f"instance?account={account.id}&id=db")["log"]
        hang = {"do": "hang", "marker": "left"}
        threading.Thread(target=self.quietly, args=(account.invoke, function, hang), daemon=True).start()
        harness.eventually(lambda: any(b"left" in self.arguments(pid) for pid in descendants(self.cloud.process.pid)))
        self.processes = descendants(self.cloud.process.pid)
        # The server, the postmaster and its five or more, the function and its child.
        self.assertGreaterEqual(len(self.processes), 8)

    def function(self, account):
        """A function made by the API: quicker than a stack."""
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.write(os.path.join(self.cloud.base, "built functions", "worker"), "bootstrap")
        trust = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
        role = account.client("iam").create_role(RoleName="worker", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
        account.client("lambda").create_function(FunctionName="worker", Runtime="provided.al2023", Handler="bootstrap",
                                                 Role=role["Arn"], Timeout=60, Code={"ZipFile": package.getvalue()})
        return "worker"

    @staticmethod
    def quietly(call, *arguments):
        try:
            call(*arguments)
        except Exception:
            pass

    @staticmethod
    def arguments(pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return file.read()
        except OSError:
            return b""

    def assert_nothing_left(self, folder=True):
        harness.eventually(lambda: not [pid for pid in self.processes if alive(pid)], 8)
        if folder:
            harness.eventually(lambda: not os.path.exists(self.cloud.folder), 3)
            self.assertFalse(os.path.exists(os.path.dirname(self.log)))

    def test_standard_input_ends(self):
        started = time.monotonic()
        self.cloud.process.stdin.close()
        self.assertEqual(self.cloud.process.wait(10), 0)
        self.assertLess(time.monotonic() - started, 5)
        self.assert_nothing_left()

    def test_terminated(self):
        self.cloud.process.terminate()
        self.assertEqual(self.cloud.process.wait(10), 0)
        self.assert_nothing_left()

    def test_the_process_the_driver_knows_is_killed(self):
        self.cloud.process.kill()
        self.cloud.process.wait(10)
        self.assert_nothing_left()

    def test_the_server_is_killed(self):
        server = next(pid for pid in self.processes if b"cloud" in self.arguments(pid))
        os.kill(server, signal.SIGKILL)
        self.assertNotEqual(self.cloud.process.wait(10), 0)
        self.assert_nothing_left()

    def test_both_are_killed_at_once(self):
        server = next(pid for pid in self.processes if b"cloud" in self.arguments(pid))
        os.kill(self.cloud.process.pid, signal.SIGSTOP)     # so that neither sees the other die
        os.kill(server, signal.SIGKILL)
        os.kill(self.cloud.process.pid, signal.SIGKILL)
        self.cloud.process.wait(10)
        # Nobody is left who could remove the folder, and what a function had started itself has no one to tell it.
        child = next(pid for pid in self.processes if b"left" in self.arguments(pid))
        self.addCleanup(os.kill, child, signal.SIGKILL)
        self.addCleanup(shutil.rmtree, os.path.dirname(os.path.dirname(self.log)), ignore_errors=True)
        self.processes.remove(child)
        self.assert_nothing_left(folder=False)


class Starting(unittest.TestCase):
    def test_a_port_in_use_is_said(self):
        base = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, base)
        folder = os.path.join(base, "folder")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            process = subprocess.Popen(
                [sys.executable, "-m", "cloud", "--port", str(taken.getsockname()[1]), "--folder", folder,
                 "--functions", base], cwd=os.path.dirname(os.path.dirname(harness.HERE)), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            out, err = process.stdout.read(), process.stderr.read()
            process.wait(10)
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()
        self.assertEqual((process.returncode, out), (1, ""))
        self.assertIn("Address already in use", err)
        self.assertFalse(os.path.exists(folder))


if __name__ == "__main__":
    unittest.main()

"""One real PostgreSQL server behind one RDS instance.

It looks to a client as RDS does: port 5432 of its own (loopback) address, SCRAM passwords, TLS required where the
binaries can (RDS sets `rds.force_ssl=1` since version 15), a database `rdsadmin` that nobody may enter, and a master
user that is a member of `rds_superuser` and not a superuser. `rdsadmin` is ours and the real superuser.
"""

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time

from . import binaries, processes, standby

PORT = 5432
_START_SECONDS, _RECOVERY_SECONDS = 60, 600
_ARCHIVED_SECONDS = 20
_SETTINGS = """
listen_addresses = '{address}'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
password_encryption = 'scram-sha-256'
log_min_messages = warning
log_timezone = 'UTC'
timezone = 'UTC'
dynamic_shared_memory_type = mmap
# A test cloud is thrown away with its machine: durability against power loss is not what it shows.
fsync = off
full_page_writes = off
# RDS ships its log every five minutes. A finished segment is linked into the archive, not copied, and so never reused.
archive_mode = on
archive_timeout = 300
wal_recycle = off
wal_init_zero = off
"""
_RECOVERY = """
hot_standby = off
restore_command = {command}
recovery_target_action = promote
"""
# Log segments of 16 MiB that an archive takes; a load of many gigabytes would fill the disk. FULL marks that it is so.
_ARCHIVED_MAX = 512
FULL = "full"
_ARCHIVE = ('if [ $(ls "{folder}" | wc -l) -ge {most} ]; then touch "{folder}/{full}"; '
            'else ln -f "%p" "{folder}/%f" || cp "%p" "{folder}/%f"; fi')
_TOO_EARLY = "recovery ended before configured recovery target was reached"
_TLS = "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n"
# rds_superuser's roles as RDS grants them; those that a major version does not have are left out.
_ROLES = ("pg_monitor", "pg_signal_backend", "pg_checkpoint", "pg_read_all_data", "pg_write_all_data",
          "pg_use_reserved_connections", "pg_create_subscription", "pg_maintain", "rds_replication", "rds_password")
_template_lock = threading.Lock()


def quoted(text):
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(text):
    """A quoted identifier."""
    return '"' + text.replace('"', '""') + '"'


def free_address(port=PORT):
    """A random loopback address whose port nobody listens on (another cloud, or a server on 0.0.0.0)."""
    for _ in range(200):
        address = f"127.{random.randint(16, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
                return address
            except OSError:
                continue
    raise RuntimeError("no loopback address with a free port: does a server listen on 0.0.0.0:5432?")


class Place:
    """Where servers live and with what: the data folder, binaries per major version, the authority."""

    def __init__(self, root, bin_folders, authority, log):
        self.root, self._found, self.authority, self.log = root, bin_folders, authority, log
        self.admin_password = secrets.token_urlsafe(18)
        for name in ("data", "snapshots", "backups", "logs", "templates"):
            os.makedirs(os.path.join(root, name), mode=0o700, exist_ok=True)
            self.give(os.path.join(root, name))

    def give(self, path):
        """Make the servers' user the owner."""
        if (user := binaries.server_user()) is not None:
            os.chown(path, *user)

    def majors(self):
        """The major versions that can be started."""
        return sorted(self._found)

    def bin(self, major):
        """The bin folder of a major version, runnable by the servers' user."""
        if major not in self._found:
            raise RuntimeError(f"no PostgreSQL {major} binaries; have {self.majors()} (see --postgres)")
        return binaries.runnable(self._found[major], major, self.root)

    def run(self, major, program, *arguments, **environment):
        """Run one of PostgreSQL's programs as the servers' user."""
        full = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10", "HOME": self.root, **environment}
        return processes.run([os.path.join(self.bin(major), program), *arguments],
                             user=binaries.server_user(), environment=full)

    def template(self, major):
        """A data folder fresh from initdb, made once per major version and copied for each instance."""
        with _template_lock:
            path = os.path.join(self.root, "templates", str(major))
            if not os.path.exists(os.path.join(path, "PG_VERSION")):
                password = os.path.join(self.root, "templates", f"password-{major}")
                with open(password, "w", encoding="utf-8") as file:
                    file.write(self.admin_password)
                self.give(password)
                try:
                    self.run(major, "initdb", "-D", path, "-U", "rdsadmin", "-A", "scram-sha-256",
                             "--pwfile", password, "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums", "-N")
                finally:
                    os.unlink(password)
                # The name must end in .conf and sit in the data folder: a base backup carries it along, and every
                # start rewrites it for the instance's own address.
                with open(os.path.join(path, "postgresql.conf"), "a", encoding="utf-8") as conf:
                    conf.write("\ninclude_if_exists = 'instance.conf'\n")
            return path


class Server(standby.Following):
    """A PostgreSQL server with its own address; never copied (moto copies what holds it)."""

    def __init__(self, place, name, major, port=PORT):
        self.place, self.major = place, major
        self.address, self.port = free_address(port), port
        # Of its parameter group; the folder that takes finished log segments, or None; of a recovery, while it lasts.
        self.settings, self.archive, self._recovery = {}, None, ""
        # Who decides about members of rds_iam: `(port, prefix)` of LDAP's simple bind.
        self.logins = None
        # Whom it follows by which slot, how much later it applies commits, and who follows it.
        self._source, self._slot, self._apply_delay, self.followers = None, None, 0, []
        unique = f"{name}-{secrets.token_hex(4)}"
        self.folder = os.path.join(place.root, "data", unique)
        self.log = os.path.join(place.root, "logs", unique + ".log")
        self.process = None

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def url(self, user, password, database="postgres"):
        """A connection URL."""
        from urllib.parse import quote

        return f"postgres://{quote(user, safe='')}:{quote(password, safe='')}@{self.address}:{self.port}/{database}"

    def admin_url(self):
        """The superuser's URL, for tests that plant what the master user cannot."""
        return self.url("rdsadmin", self.place.admin_password)

    def _clone(self, source):
        processes.run(["cp", "-a", "--reflink=auto", source, self.folder], user=binaries.server_user(),
                      environment={"PATH": "/usr/bin:/bin"})

    def create(self, master, password, database):
        """A new server with this master user, and this database if it is not None; returns the data it began with."""
        template = self.place.template(self.major)
        self._clone(template)
        self.start()
        name = identifier(master)
        present = set(self.sql("select rolname from pg_roles").split())
        self.sql("create role rds_superuser nologin; create role rds_replication nologin; "
                 "create role rds_password nologin; create role rds_iam nologin; create role rds_ad nologin")
        roles = ", ".join(role for role in _ROLES if role in present or role.startswith("rds_"))
        self.sql(f"grant {roles} to rds_superuser with admin option; "
                 f"create role {name} login createdb createrole in role rds_superuser password {quoted(password)}; "
                 f"alter database postgres owner to {name}; alter database template1 owner to {name}")
        self.sql("create database rdsadmin owner rdsadmin; revoke connect on database rdsadmin from public", split=True)
        if database and database != "postgres":
            self.sql(f"create database {identifier(database)} owner {name}")
        return template

    def restore(self, source):
        """A new server from a base backup."""
        self._clone(source)
        self.start()

    def recover(self, source, archive, until):
        """A new server from a base backup and archived log: as of a time (with its time zone), or of all if None."""
        command = f'cp "{archive}/%f" "%p"'
        self._clone(source)
        self._recovery = _RECOVERY.format(command=quoted(command)) + (
            f"recovery_target_time = {quoted(until)}\n" if until else "")
        self.write("recovery.signal", "")
        try:
            self.start(_RECOVERY_SECONDS)
        except RuntimeError as error:
            # PostgreSQL takes it for a mistake when nothing was committed after that time; RDS does not.
            if until is None or _TOO_EARLY not in str(error):
                raise
            shutil.rmtree(self.folder)
            self.recover(source, archive, None)
        self._recovery = ""
        self.reload()

    def bin(self):
        """The folder of its programs."""
        return self.place.bin(self.major)

    def reload(self):
        """Write the settings again and have the server read them."""
        self._configure()
        if self.running():
            self.process.send_signal(signal.SIGHUP)

    def archive_now(self):
        """Finish the current log segment and wait until all finished ones are in the archive."""
        if self.archive is None:
            raise ValueError("the instance has no automated backups")
        self.sql("select pg_logical_emit_message(false, 'lifeboat', '')")     # an idle server would not switch
        segment = self.sql("select pg_walfile_name(pg_switch_wal())").strip()
        deadline = time.monotonic() + _ARCHIVED_SECONDS
        while not any(os.path.exists(os.path.join(self.archive, name)) for name in (segment, FULL)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the log segment {segment} does not reach the archive")
            time.sleep(0.02)

    def sql(self, text, database="postgres", split=False):
        """Run SQL as the superuser; `split`: each statement in its own transaction."""
        statements = [part for part in text.split("; ") if part] if split else [text]
        arguments = [item for statement in statements for item in ("-c", statement)]
        return self.place.run(self.major, "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *arguments, **self._environment(),
                              PGDATABASE=database)

    def _environment(self):
        return {"PGHOST": self.address, "PGPORT": str(self.port), "PGUSER": "rdsadmin",
                "PGPASSWORD": self.place.admin_password, "PGSSLMODE": "prefer"}

    def _configure(self):
        tls = self.tls()
        archive = _ARCHIVE.format(folder=self.archive, most=_ARCHIVED_MAX, full=FULL) if self.archive else "true"
        own = "".join(f"{name} = {quoted(str(value))}\n" for name, value in self.settings.items())
        settings = (_SETTINGS.format(address=self.address, port=self.port) + own + self._recovery + self.standby_settings()
                    + f"archive_command = {quoted(archive)}\n")
        line = "hostssl" if tls else "host"
        files = {
            "instance.conf": settings + (_TLS if tls else ""),
            # RDS rejects everyone but itself from `rdsadmin`, also the master user.
            "pg_hba.conf": "host all rdsadmin 127.0.0.0/8 scram-sha-256\n"
                           "host replication rdsadmin 127.0.0.0/8 scram-sha-256\n"
                           "host rdsadmin all 127.0.0.0/8 reject\n" + self._iam_logins(line) +
                           f"{line} all all 127.0.0.0/8 scram-sha-256\n",
        }
        if tls:
            certificate, key = self.place.authority.server_certificate(self.address)
            files |= {"server.crt": certificate.decode(), "server.key": key.decode()}
        for name, content in files.items():
            self.write(name, content)

    def _iam_logins(self, line):
        """Where members of rds_iam must show a token. Without LDAP nobody can check one: refused as a wrong one is."""
        if self.logins is None:
            return ""
        how = "ident"      # nobody answers on its port
        if binaries.speaks_ldap(self.place.bin(self.major)):
            how = 'ldap ldapserver=127.0.0.1 ldapport={} ldapprefix="{}"'.format(*self.logins)
        return f"{line} all +rds_iam 127.0.0.0/8 {how}\n"

    def write(self, name, content):
        """Write a file of its data folder."""
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(content)
        os.chmod(path, 0o600)
        self.place.give(path)

    def start(self, seconds=_START_SECONDS):
        """Start and wait until the server accepts connections; raises `RuntimeError` with its log."""
        if not self._port_is_free():        # someone took it while the server was stopped
            self.address = free_address(self.port)
        self._configure()
        with open(self.log, "ab") as log:
            self.process = processes.spawn(
                [os.path.join(self.place.bin(self.major), "postgres"), "-D", self.folder],
                death_signal=signal.SIGQUIT, user=binaries.server_user(), cwd="/", stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"})
        deadline = time.monotonic() + seconds
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log, encoding="utf-8", errors="replace") as log:
                    raise RuntimeError(f"PostgreSQL {self.major} did not start: {log.read()[-800:]}")
            time.sleep(0.02)
        for follower in self.followers:     # its address may be another one now
            follower.reload()

    def _port_is_free(self):
        with socket.socket() as probe:
            try:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((self.address, self.port))
                return True
            except OSError:
                return False

    def _ready(self):
        # The postmaster writes its status into line 8 of postmaster.pid once it accepts connections.
        try:
            with open(os.path.join(self.folder, "postmaster.pid"), encoding="utf-8") as file:
                lines = file.read().splitlines()
        except OSError:
            return False
        # A standby says `standby` when it can be read from; a recovery without hot standby, as soon as it begins.
        ready = ("ready",) if self._source is None else ("ready", "standby")
        return len(lines) >= 8 and lines[7].strip() in ready and lines[0] == str(self.process.pid)

    def tls(self):
        """Whether clients must use TLS."""
        return binaries.speaks_tls(self.place.bin(self.major))

    def running(self):
        """Whether the server process lives."""
        return self.process is not None and self.process.poll() is None

    def stop(self, number=signal.SIGINT):
        """Stop: SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one."""
        if not self.running():
            return
        self.process.send_signal(number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            processes.end_group(self.process.pid)
            self.process.wait()

    def backup(self, target):
        """A base backup of the running server into the folder `target`."""
        self.place.run(self.major, "pg_basebackup", "-D", target, "-X", "stream", "-c", "fast", "--no-sync",
                       "--no-manifest", **self._environment())

    def set_password(self, user, password):
        """Change a user's password; open sessions stay, as on RDS."""
        self.sql(f"alter role {identifier(user)} password {quoted(password)}")

    def remove(self):
        """Stop at once and remove the data."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

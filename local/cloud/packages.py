"""Turns the binaries of a build into Lambda packages that many accounts share.

A debug build of a function is over 100 MB, a test run deploys to dozens of accounts: each binary is stripped and
zipped once per content and kept as one `bytes` object that every account's function refers to. It is addressed as an
S3 object in a bucket that exists for nobody, so that CloudFormation finds it the way it finds any package.
"""

import hashlib
import io
import os
import shutil
import subprocess
import tempfile
import threading
import zipfile

import ministack.services.lambda_svc as lambda_service

BUCKET = "lifeboat-packages.local"
_ministack_fetch = lambda_service._fetch_code_from_s3
_ministack_code_folder = lambda_service._provided_runtime_code_dir
_by_key = {}
_by_file = {}
_code_folders = {}
_lock = threading.Lock()


def key_of(folder, package):
    """The key under which CloudFormation finds the package of this binary; raises `FileNotFoundError`."""
    path = os.path.join(folder, package)
    stat = os.stat(path)
    identity = (path, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    with _lock:
        if _by_file.get(path, (None,))[0] != identity:
            content = _stripped(path)
            key = f"{package}-{hashlib.sha256(content).hexdigest()[:16]}.zip"
            if key not in _by_key:
                _by_key[key] = _zip(content)
            _by_file[path] = (identity, key)
        return _by_file[path][1]


def layer_key():
    """The key of an empty layer: layers are not unpacked here (gaps.py)."""
    with _lock:
        _by_key.setdefault("layer.zip", _zip(b"", name="README"))
    return "layer.zip"


def _stripped(path):
    """The binary without debug information; as it is if it is a script or `strip` is not installed."""
    with open(path, "rb") as file:
        content = file.read()
    if not content.startswith(b"\x7fELF") or shutil.which("strip") is None:
        return content
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "bootstrap")
        done = subprocess.run(["strip", "-g", "-o", out, path], capture_output=True)
        if done.returncode != 0:
            return content
        with open(out, "rb") as file:
            return file.read()


def _zip(content, name="bootstrap"):
    buffer = io.BytesIO()
    # Stored, not compressed: it is unpacked on the same machine a moment later.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
        entry.external_attr = 0o100755 << 16
        archive.writestr(entry, content)
    return buffer.getvalue()


def _fetch(bucket, key, version_id=None):
    if bucket == BUCKET:
        return _by_key.get(key)
    return _ministack_fetch(bucket, key, version_id=version_id)


def _code_folder(code_zip):
    # The packages are shared objects: their identity saves hashing tens of megabytes per process start.
    folder = _code_folders.get(id(code_zip))
    if folder is None or not os.path.isdir(folder):
        folder = _ministack_code_folder(code_zip)
        if any(code_zip is shared for shared in _by_key.values()):
            _code_folders[id(code_zip)] = folder
    return folder


def install():
    """Let Lambda find the packages."""
    lambda_service._fetch_code_from_s3 = _fetch
    lambda_service._provided_runtime_code_dir = _code_folder

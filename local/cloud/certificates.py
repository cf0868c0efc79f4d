"""A certificate authority made at start, and one server certificate per PostgreSQL instance.

Clients verify in full (`verify-full`) as they do against RDS, with this authority in place of RDS's bundle. The
authority's key is never written to disk.
"""

import datetime
import ipaddress
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = datetime.timedelta(days=30)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject, issuer, key):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + _LIFETIME))


class Authority:
    """Signs server certificates; `file` is its own certificate in PEM."""

    def __init__(self, folder):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name("Lifeboat local cloud CA")
        usage = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                              key_encipherment=False, data_encipherment=False, key_agreement=False,
                              encipher_only=False, decipher_only=False)
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        certificate = (_builder(self._subject, self._subject, self._key)
                       .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                       .add_extension(usage, critical=True)
                       .add_extension(self._identifier, critical=False)
                       .sign(self._key, hashes.SHA256()))
        self.file = os.path.join(folder, "ca.pem")
        with open(self.file, "wb") as out:
            out.write(certificate.public_bytes(serialization.Encoding.PEM))

    def server_certificate(self, address):
        """`(certificate, key)` in PEM for a server on this IP address."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (_builder(_name(address), self._subject, key)
                       .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                       .add_extension(x509.SubjectAlternativeName(
                           [x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
                       .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
                       .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                           self._identifier), critical=False)
                       .sign(self._key, hashes.SHA256()))
        return (certificate.public_bytes(serialization.Encoding.PEM),
                key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                  serialization.NoEncryption()))

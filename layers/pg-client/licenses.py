"""The licence of every library in the client layer: looked up once, by a person. A library that is not here stops the build."""

_DEBIAN = "Text: /usr/share/doc/{}/copyright of Debian 12, from which the wheel took it."

LIBRARIES = {
    "libcom_err.so.2": ("e2fsprogs", "MIT", _DEBIAN.format("libcom-err2")),
    "libcrypto.so.3": ("OpenSSL 3", "Apache-2.0", _DEBIAN.format("libssl3")),
    "libgssapi_krb5.so.2": ("MIT Kerberos 5", "MIT", _DEBIAN.format("libgssapi-krb5-2")),
    "libk5crypto.so.3": ("MIT Kerberos 5", "MIT", _DEBIAN.format("libk5crypto3")),
    "libkeyutils.so.1": ("keyutils", "LGPL-2.1-or-later", _DEBIAN.format("libkeyutils1")),
    "libkrb5.so.3": ("MIT Kerberos 5", "MIT", _DEBIAN.format("libkrb5-3")),
    "libkrb5support.so.0": ("MIT Kerberos 5", "MIT", _DEBIAN.format("libkrb5support0")),
    "liblz4.so.1": ("LZ4", "BSD-2-Clause", _DEBIAN.format("liblz4-1")),
    "libpcre2-8.so.0": ("PCRE2", "BSD-3-Clause", _DEBIAN.format("libpcre2-8-0")),
    "libpq.so.5": ("PostgreSQL", "PostgreSQL", "Text: above."),
    "libselinux.so.1": ("SELinux", "public domain", _DEBIAN.format("libselinux1")),
    "libssl.so.3": ("OpenSSL 3", "Apache-2.0", _DEBIAN.format("libssl3")),
    "libz.so.1": ("zlib", "Zlib", _DEBIAN.format("zlib1g")),
    "libzstd.so.1": ("Zstandard", "BSD-3-Clause", _DEBIAN.format("libzstd1")),
}

"""Whom to trust: the operating system's own store, as the browser on the same machine does.

On macOS and Windows that is truststore's business. On Linux it is OpenSSL's default file, which is loaded here once:
truststore would load it again for each connection, 40 ms during which nothing else runs. Where OpenSSL finds no file,
truststore knows the places where distributions keep one.

`SSL_CERT_FILE` and `SSL_CERT_DIR` keep OpenSSL's meaning on every platform: where either is set, exactly what it names
is trusted, and the system's store is not.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Mapping
from pathlib import Path

import truststore


def system_trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    """A client's TLS context: host names checked, TLS 1.2 at least, HTTP/1.1 only. OSError names a bad variable."""
    names = {name: environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name)}
    for name, path in names.items():
        if not (Path(path).is_file() if name == "SSL_CERT_FILE" else Path(path).is_dir()):
            raise OSError(f"{name}={path} does not exist; correct it, or unset it to use the system's certificates")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if names:
        try:
            context.load_verify_locations(names.get("SSL_CERT_FILE"), names.get("SSL_CERT_DIR"))
        except ssl.SSLError as error:
            raise OSError(f"SSL_CERT_FILE={names.get('SSL_CERT_FILE')} holds no PEM certificates: {error}") from error
    else:
        if sys.platform not in ("darwin", "win32"):
            context.load_default_certs()
        if not context.cert_store_stats()["x509_ca"]:
            context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context

"""TLS connections to platforms: the authorities that they trust, and the certificate that they show."""

from __future__ import annotations

import ssl
from functools import cache


@cache
def tls_context(ca_file: str = "", client_cert_file: str = "", client_key_file: str = "") -> ssl.SSLContext:
    """Return the context of a TLS connection: the authorities that it trusts, and the certificate that it shows.

    All are PEM files; without `ca_file` the machine's authorities are trusted, without `client_key_file` the key is in
    `client_cert_file`. The same files return the same context, since making one takes milliseconds. Raises `OSError`
    for a file that cannot be used.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    if client_cert_file:
        context.load_cert_chain(client_cert_file, client_key_file or None, password="")  # never ask on the terminal
    return context

"""The address of a platform: what the settings of every connector have in common."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, get_type_hints

import msgspec

from policies.http.tls import tls_context
from policies.store.secret import Secret

if TYPE_CHECKING:
    from policies.outbound.ownership import Fields

Url = Annotated[str, msgspec.Meta(pattern=r"(?i)^https?://[^\s/]+")]
"""The URL of a server, with its scheme."""
USER_IN_URL = re.compile(r"https?://[^/?#]*@", re.IGNORECASE)


class PlatformServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The address of a platform, and how a TLS connection to it is made.

    `ca_file` holds the authorities that it trusts (empty: those of the machine), `client_cert_file` and
    `client_key_file` the certificate and key that it shows of us (empty: none). All are PEM files.
    """

    url: Url
    ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a user in the URL, and for files that no TLS connection can be made with.

        A user would be sent in a header of every request, and be printed.
        """
        if USER_IN_URL.match(self.url):
            keys = [name for name, kind in get_type_hints(type(self)).items() if kind is Secret]
            raise ValueError(f"url names a user before the @: leave it out, a secret belongs in {' or '.join(keys)}")
        if self.client_key_file and not self.client_cert_file:
            raise ValueError("client_key_file is of no use without client_cert_file")
        if (self.ca_file or self.client_cert_file) and not self.url.startswith("https://"):
            raise ValueError("ca_file and client_cert_file are of no use without an https:// url")
        try:
            if self.ca_file or self.client_cert_file:
                self.tls()
        except OSError as error:
            raise ValueError(
                f"ca_file, client_cert_file or client_key_file cannot be used ({error.strerror or error}): they are PEM"
                " files, and the key has no password"
            ) from error

    def fields(self, declared: Mapping[str, Fields]) -> Mapping[str, Fields]:
        """Return the fields that may be written: those that the connector declares, unless a mapping renames them."""
        return declared

    def tls(self) -> ssl.SSLContext:
        """Return the TLS context of a connection. Raises `OSError` for a file that cannot be used."""
        return tls_context(self.ca_file, self.client_cert_file, self.client_key_file)

"""The secrets that sign deliveries. None is stored: each is made of a key of the deployment and of a name and a
salt in the webhook's row, so that neither the database, nor a backup of it, has any."""

from __future__ import annotations

import hmac
import secrets
from base64 import b64encode
from functools import partial

from policies.store.documents import Document, StoreAway
from process_apis.records.webhooks import KeptKey

BYTES = 32
"""Of the key, and of each secret (Standard Webhooks specification, "Signature scheme": 24 to 64)."""


class WebhookSecrets:
    """Makes the secrets of all webhooks."""

    def __init__(self, key: Document) -> None:
        """`key` is the document that replicas share: it is made when it is first needed."""
        self._key = key

    def of(self, webhook_id: str, key: KeptKey) -> str:
        """Return the secret of a webhook that is made of a key, always the same. Raises as `Document.read` does."""
        made = hmac.digest(self._read(), f"webhook\0{webhook_id}\0{key.name}\0{key.salt}".encode(), "sha256")
        return f"whsec_{b64encode(made).decode()}"

    def _read(self) -> bytes:
        found = self._key.read()
        if not found:
            fresh = secrets.token_hex(BYTES).encode()
            self._key.change(partial(_unless_there, fresh))
            found = self._key.read()
        try:
            return bytes.fromhex(found.decode())
        except ValueError as error:  # half a file, or another one: with a new key all would be signed wrongly
            raise StoreAway("the key of webhooks is no key: restore webhook.key from a backup") from error


def _unless_there(fresh: bytes, found: bytes) -> bytes:
    return found or fresh

"""Each webhook has secrets of its own, which nobody makes without the key."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from policies.store.documents import FileDocument, StoreAway
from process_apis.records.webhooks import KeptKey
from process_apis.webhooks.secrets import BYTES, WebhookSecrets
from tests.support.process_context import MemoryDocument

KEY = KeptKey("a", "0", datetime(2026, 3, 1, tzinfo=UTC))


def test_a_secret_is_the_same_for_all_replicas_that_share_the_key(tmp_path: Path) -> None:
    one, other = (WebhookSecrets(FileDocument(tmp_path / "webhook.key")) for _ in range(2))

    assert one.of("whk_1", KEY) == other.of("whk_1", KEY)


def test_no_two_webhooks_names_salts_or_deployments_have_the_same_secret() -> None:
    one, other = WebhookSecrets(MemoryDocument()), WebhookSecrets(MemoryDocument())
    keys = [replace(KEY, name=name, salt=salt) for name in ("a", "b") for salt in ("0", "1")]
    made = [each.of(webhook, key) for each in (one, other) for webhook in ("whk_1", "whk_2") for key in keys]

    assert len(set(made)) == len(made)
    assert {len(b64decode(each.removeprefix("whsec_"))) for each in made} == {BYTES}


def test_a_key_that_is_none_is_away_and_is_not_replaced() -> None:
    key = MemoryDocument()
    key.change(lambda _: b"half a f")

    with pytest.raises(StoreAway, match=r"restore webhook\.key"):
        WebhookSecrets(key).of("whk_1", KEY)
    assert key.read() == b"half a f"

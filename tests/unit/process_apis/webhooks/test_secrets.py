"""Each webhook has secrets of its own, which nobody makes without the key."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

from policies.store.documents import FileDocument
from process_apis.webhooks.secrets import BYTES, WebhookSecrets
from tests.support.process_context import MemoryDocument


def test_a_secret_is_the_same_for_all_replicas_that_share_the_key(tmp_path: Path) -> None:
    one, other = (WebhookSecrets(FileDocument(tmp_path / "webhook.key")) for _ in range(2))

    assert one.of("whk_1", "a") == other.of("whk_1", "a")


def test_no_two_webhooks_names_or_keys_have_the_same_secret() -> None:
    one, other = WebhookSecrets(MemoryDocument()), WebhookSecrets(MemoryDocument())
    made = [each.of(webhook, name) for each in (one, other) for webhook in ("whk_1", "whk_2") for name in ("a", "b")]

    assert len(set(made)) == len(made)
    assert {len(b64decode(each.removeprefix("whsec_"))) for each in made} == {BYTES}

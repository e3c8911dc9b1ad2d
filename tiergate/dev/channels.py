"""The channels, called as the internal apps call them: for the demo, and for tests."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from canonical.orders import Order, OrderSummary, Page, PostingStatus
from policies.catalogue.check import load as load_catalogue
from tiergate.settings import Settings
from tiergate.shared import SharedState


class DemoFailed(RuntimeError):
    """The deal did not become cash; the message says in which state it is."""


class Channels:
    """Call the experience APIs, as the internal apps do."""

    def __init__(self, settings: Settings) -> None:
        shared = SharedState(settings)
        self._issuer = shared.issuer()
        self.clock = shared.clock
        """The time that the layers have."""
        self._clients = load_catalogue(settings.governance.path()).clients
        self.url = f"http://{settings.server.host}:{settings.server.experience_port}"
        self._http = httpx.Client(base_url=self.url, timeout=10)

    def headers(self, client: str, on_behalf_of: str = "") -> dict[str, str]:
        token = self._issuer.token(client, self._clients[client], on_behalf_of=on_behalf_of)
        return {"authorization": f"Bearer {token}"}

    def get(self, client: str, path: str, kind: type[Any]) -> Any:
        answer = self._http.get(path, headers=self.headers(client)).raise_for_status()
        return msgspec.json.decode(answer.content, type=kind)

    def post(self, client: str, path: str, body: object, kind: type[Any], on_behalf_of: str = "", key: str = "") -> Any:
        """Return the answer to a write. `key` is its idempotency key, where the operation takes one."""
        headers = self.headers(client, on_behalf_of) | ({"idempotency-key": key} if key else {})
        answer = self._http.post(path, headers=headers, json=body).raise_for_status()
        return msgspec.json.decode(answer.content, type=kind)

    def order_of(self, crm: str, deal: str) -> Order | None:
        page: Page[OrderSummary] = self.get("sales-app", "/sales/v1/orders?limit=10", Page[OrderSummary])
        for each in page.items:
            order: Order = self.get("sales-app", f"/sales/v1/orders/{each.id}", Order)
            if (order.crm, order.deal_id) == (crm, deal):
                return order
        return None

    def order(self, order_id: str) -> Order:
        return self.get("sales-app", f"/sales/v1/orders/{order_id}", Order)

    def postings(self, contract_id: str) -> list[PostingStatus]:
        page: Page[PostingStatus] = self.get("finance-app", "/finance/v1/postings?limit=100", Page[PostingStatus])
        return [each for each in page.items if each.contract_id == contract_id]

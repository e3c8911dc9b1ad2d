"""A Stripe account in this process, for the connector and for Stripe's own Python client."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import stripe as official
from litestar import Litestar
from litestar.testing import TestClient

from canonical.ids import utc_now
from canonical.money import Money
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret
from sandbox.store import SandboxClock, Store
from sandbox.stripe.account import Account, signature
from sandbox.stripe.app import Stripe, stripe_app
from sandbox.stripe.versions import CURRENT
from system_apis.billing import stripe
from system_apis.billing.port import Billing
from system_apis.billing.stripe.client import PREVIEW
from tests.support.connector_kit import samples
from tests.support.connector_kit.billing import BillingSubject
from tests.support.connector_kit.kit import Act
from tests.support.connector_kit.loopback import Seen
from tiergate.platforms import Connector

API_KEY = "rk_test_of_the_kit"
SECRET = "whsec_of_the_kit"
ASKED = "limit=100"


class InProcess(official.HTTPClient):
    """Carries what Stripe's own client sends to a stand-in in this process."""

    name = "in-process"

    def __init__(self, app: Litestar) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType] - one parameter has no type there
        self._http = TestClient(app)

    def request(
        self, method: str, url: str, headers: Any, post_data: Any = None, *, _usage: list[str] | None = None
    ) -> Any:
        path = url.removeprefix("https://api.stripe.com")
        answer = self._http.request(method.upper(), path, headers=headers, content=post_data)
        return answer.text, answer.status_code, answer.headers

    def close(self) -> None:
        self._http.close()


class StripeAccount(BillingSubject):
    connector = cast("Connector", stripe)
    secrets = (API_KEY, SECRET)
    webhook_secret = SECRET
    webhook_secret_setting = "webhook_secret"
    page = 2
    disputed = "pm_card_createDispute"

    def __init__(self, folder: Path, search_lag: int = 0) -> None:
        self._store = Store(folder / "stripe.sqlite")
        self._clock = SandboxClock()
        self.account = Account(self._store, self._clock)
        self.stand_in = Stripe(self.account, API_KEY, search_lag)
        self.app: Any = stripe_app(self.stand_in)
        self.api = official.StripeClient(API_KEY, http_client=InProcess(self.app))

    def settings(self, url: str) -> PlatformServer:
        return stripe.Settings(url=url, api_key=Secret(API_KEY), webhook_secret=Secret(SECRET))

    def platform(self) -> httpx.AsyncClient:
        async def small_pages(request: httpx.Request) -> None:
            request.url = httpx.URL(str(request.url).replace(ASKED, f"limit={self.page}"))

        transport = httpx.ASGITransport(self.app)
        hooks: dict[str, list[Any]] = {"request": [small_pages]}
        return httpx.AsyncClient(transport=transport, base_url="http://stripe", event_hooks=hooks)

    def is_write(self, request: Seen) -> bool:
        """Return whether a request writes. A preview is a POST that writes nothing."""
        return super().is_write(request) and request.path != PREVIEW

    def wait(self, seconds: float) -> None:
        """Let time pass, and do what is due then."""
        self._clock.advance(seconds)
        self.stand_in.due.tick()

    async def customers(self, customer_id: str) -> list[tuple[str, str]]:
        return [
            (each["id"], each["name"])
            for each in self.account.all("customer")
            if each["metadata"]["tiergate_id"] == customer_id
        ]

    async def contracts(self, contract_id: str) -> int:
        keys = [each["metadata"]["tiergate_key"] for each in self.account.all("subscription_schedule")]
        return keys.count(f"{contract_id}:main")

    async def invoices(self, contract_id: str) -> list[str]:
        return [
            each["id"]
            for each in self.account.all("invoice")
            if each["parent"]["subscription_details"]["metadata"]["tiergate_contract"] == contract_id
        ]

    async def delete_customer(self, reference: str) -> None:
        self.stand_in.handle("DELETE", ["customers", reference], {})

    async def credit(self, invoice_id: str, *, refunded: bool = False, half: bool = False) -> str:
        invoice = self.api.v1.invoices.retrieve(invoice_id)
        params: Any = {"invoice": invoice_id, "lines": []}
        for each in invoice.lines.data:
            part = {"amount": each.amount // 2} if half else {"quantity": each.quantity}
            params["lines"].append({"type": "invoice_line_item", "invoice_line_item": each.id, **part})
        if refunded:
            params["refund_amount"] = invoice.total
        return self.api.v1.credit_notes.create(params).id

    async def void(self, credit_note_id: str) -> None:
        self.api.v1.credit_notes.void_credit_note(credit_note_id)

    async def refund(self, invoice_id: str, amount: Money) -> str:
        (paid,) = self.api.v1.invoice_payments.list({"invoice": invoice_id, "status": "paid"}).data
        intent = str(paid.payment.payment_intent)
        return self.api.v1.refunds.create({"payment_intent": intent, "amount": amount.amount}).id

    async def dispute(self, contract_id: str) -> str:
        (invoice,) = await self.invoices(contract_id)
        (paid,) = self.api.v1.invoice_payments.list({"invoice": invoice, "status": "paid"}).data
        self.wait(0)
        (made,) = self.api.v1.disputes.list({"payment_intent": str(paid.payment.payment_intent)}).data
        return made.id

    def set_clock(self, now: datetime) -> None:
        self._clock.offset = (now - utc_now()).total_seconds()

    async def refused(self, connector: Billing) -> tuple[Act, str]:
        declined = samples.customer("refused", payment_method="pm_card_chargeDeclined")
        return (lambda: connector.put_customer(declined)), "payment_method"

    async def report(self) -> bytes:
        about = {"tiergate_contract": "con_1", "tiergate_customer": "cus_1", "tiergate_legal_entity": "DE01"}
        invoice = {"id": "in_1", "object": "invoice", "parent": {"subscription_details": {"metadata": about}}}
        event = self.account.make(
            "event", "evt_1", type="invoice.finalized", data={"object": invoice}, api_version=CURRENT
        )
        return msgspec.json.encode(event)

    def sign(self, body: bytes, at: datetime, secret: str) -> Mapping[str, str]:
        return {"stripe-signature": signature(secret, body, int(at.timestamp()))}

    async def close(self) -> None:
        await self.account.close()
        self._store.close()


def bank_transfer(api: official.StripeClient, invoice: str, cents: int) -> str:
    """Report a bank transfer to Stripe, and count it towards an invoice. Return its id."""
    params: Any = {
        "amount_requested": {"currency": "eur", "value": cents},
        "initiated_at": 1_700_000_000,
        "outcome": "guaranteed",
        "payment_method_details": {"type": "custom"},
    }
    made = api.v1.payment_records.report_payment(params).id
    api.v1.invoices.attach_payment(invoice, {"payment_record": made})
    return made

"""The billing port on Stripe."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from canonical.billing import Contract, Invoice
from canonical.deals import PricedLine
from canonical.faults import Conflict, NotFound, Rejected
from canonical.parties import Customer
from policies.context import correlation
from system_apis.billing.port import Reported
from system_apis.billing.stripe import mapping, webhooks
from system_apis.billing.stripe.client import Declined, Row, Settings, StripeClient
from system_apis.connector import ConnectorContext

FIRST_INVOICE = ["subscription.latest_invoice"]


class Stripe:
    """Implement `system_apis.billing.port.Billing`.

    An idempotency key covers a repeat within a day; the search by our own id in the metadata covers any later one.
    """

    def __init__(self, settings: Settings, context: ConnectorContext) -> None:
        self._client = StripeClient(settings, context.client)
        self._source = f"billing/{context.instance}"
        self._secret = settings.webhook_secret
        self._clock = context.clock
        self._prices: dict[str, str] = {}
        self._tax_rates: dict[str, str] = {}

    # ---- customers

    async def put_customer(self, customer: Customer) -> str:
        wanted = mapping.customer(customer, correlation.current())
        found = await self._client.get("customers/search", query=f"metadata['tiergate_id']:'{customer.id}'")
        if found["data"]:
            row: Row = found["data"][0]
        else:
            created = wanted | mapping.at_creation(customer)
            row = await self._client.create("customers", f"customer:{customer.id}", **created)
        changes = {
            key: wanted[key]
            for key in ("name", "email", "tax_exempt", "address")
            if wanted[key] and not mapping.holds(row[key], wanted[key])
        }
        if wanted["metadata"]["tiergate_parent"] != row["metadata"].get("tiergate_parent"):
            changes["metadata"] = {"tiergate_parent": customer.parent_id or ""}
        if customer.payment_method and not row["invoice_settings"]["default_payment_method"]:
            attached = await self._client.post(
                f"payment_methods/{customer.payment_method}/attach",
                f"attach:{customer.id}:{customer.payment_method}",
                customer=row["id"],
            )
            changes["invoice_settings"] = {"default_payment_method": attached["id"]}
        if changes:
            # A name that is changed and changed back is changed each time: the key is that of the work at hand.
            marker = "".join(f"{key}={value};" for key, value in sorted(changes.items())) + correlation.current()
            await self._client.post(f"customers/{row['id']}", f"customer:{customer.id}:{marker}", **changes)
        return row["id"]

    # ---- contracts

    async def put_contract(self, contract: Contract, correlation_id: str) -> Contract:
        owner = _reference(contract, "customer")
        schedule = await self._schedule(contract)
        if schedule is None:
            customer = await self._client.get(f"customers/{owner}")
            if customer.get("deleted"):
                raise NotFound("billing", f"the customer {owner} was deleted", field="references.customer")
            charged = customer["invoice_settings"]["default_payment_method"] is not None
            phase = await self._phase(contract, correlation_id)
            if not charged:
                phase |= {
                    "collection_method": "send_invoice",
                    "invoice_settings": {"days_until_due": mapping.DAYS_UNTIL_DUE},
                }
            schedule = await self._client.create(
                "subscription_schedules",
                f"schedule:{mapping.contract_key(contract)}",
                customer=owner,
                start_date=mapping.held_until(contract),
                end_behavior="release",
                metadata={"tiergate_key": mapping.contract_key(contract), "tiergate_correlation": correlation_id},
                phases=[phase],
            )
        return _with(contract, schedule=schedule["id"])

    async def _schedule(self, contract: Contract) -> Row | None:
        key = mapping.contract_key(contract)
        rows = await self._client.listed("subscription_schedules", customer=_reference(contract, "customer"))
        return next((each for each in rows if each["metadata"].get("tiergate_key") == key), None)

    async def start(self, contract: Contract) -> Contract:
        """Move the schedule's start to now, with the lines that were provisioned, and finalize its first invoice.

        A declined card stops nothing here: the invoice stays open, and Stripe goes on trying to collect it.
        """
        path = f"subscription_schedules/{_reference(contract, 'schedule')}"
        schedule = await self._client.get(path, expand=FIRST_INVOICE)
        if schedule["status"] == "not_started":
            held: Row = schedule["phases"][0]
            phase = await self._phase(contract, held["metadata"]["tiergate_correlation"]) | {"start_date": "now"}
            if held["collection_method"]:
                days = held["invoice_settings"]["days_until_due"]
                phase |= {"collection_method": held["collection_method"], "invoice_settings": {"days_until_due": days}}
            key = f"start:{mapping.contract_key(contract)}"
            schedule = await self._client.post(path, key, phases=[phase], expand=FIRST_INVOICE)
        subscription: Row | None = schedule["subscription"]
        if subscription is None:
            raise Rejected("billing", f"the schedule of {contract.id} is {schedule['status']}", field="state")
        invoice: Row = subscription["latest_invoice"]
        if invoice["status"] == "draft":
            invoice = await self._client.post(f"invoices/{invoice['id']}/finalize", f"finalize:{invoice['id']}")
        if invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically":
            with contextlib.suppress(Declined):
                await self._client.post(f"invoices/{invoice['id']}/pay", f"pay:{invoice['id']}")
        started = msgspec.structs.replace(contract, state="active")
        return _with(started, subscription=subscription["id"], invoice=invoice["id"])

    async def cancel(self, contract: Contract) -> None:
        schedule = await self._schedule(contract) if "customer" in contract.references else None
        if schedule and schedule["status"] in ("not_started", "active"):
            await self._client.post(f"subscription_schedules/{schedule['id']}/cancel", f"cancel:{schedule['id']}")

    async def _phase(self, contract: Contract, correlation_id: str) -> Row:
        await self._ensure_prices(contract.lines)
        tax_rate = await self._tax_rate(contract)
        return mapping.phase(contract, self._prices, tax_rate, correlation_id)

    async def _ensure_prices(self, lines: tuple[PricedLine, ...]) -> None:
        """Find or create the products by SKU, and the prices by lookup key: natural keys that Stripe keeps unique."""
        missing = {mapping.price_key(line): line for line in lines if mapping.price_key(line) not in self._prices}
        if not missing:
            return
        for each in await self._client.listed("prices", lookup_keys=list(missing)):
            self._prices[each["lookup_key"]] = each["id"]
        for key, line in missing.items():
            if key not in self._prices:
                await self._ensure_product(line)
                try:
                    made = await self._client.create("prices", f"price:{key}", **mapping.price(line))
                except Conflict:
                    made = (await self._client.listed("prices", lookup_keys=[key]))[0]
                self._prices[key] = made["id"]

    async def _ensure_product(self, line: PricedLine) -> None:
        try:
            await self._client.get(f"products/{quote(line.sku, safe='')}")
        except NotFound:
            try:
                await self._client.create("products", f"product:{line.sku}", id=line.sku, name=line.name)
            except Conflict:
                return  # another order made it in this moment

    async def _tax_rate(self, contract: Contract) -> str:
        key = f"{contract.legal_entity}:{contract.tax}:{contract.tax_percent}"
        if key not in self._tax_rates:
            rows = await self._client.listed("tax_rates", active=True)
            found = next((each for each in rows if each["metadata"].get("tiergate_key") == key), None)
            if found is None:
                found = await self._client.create("tax_rates", f"tax_rate:{key}", **mapping.tax_rate(contract, key))
            self._tax_rates[key] = found["id"]
        return self._tax_rates[key]

    # ---- invoices

    async def invoice(self, invoice_id: str) -> Invoice:
        row = await self._client.get(f"invoices/{invoice_id}", expand=["payments"])
        lines: list[Row] = row["lines"]["data"]
        if row["lines"]["has_more"]:
            lines = await self._client.listed(f"invoices/{invoice_id}/lines")
        payments: list[Row] = row["payments"]["data"]
        if row["payments"]["has_more"]:
            payments = await self._client.listed("invoice_payments", invoice=invoice_id)
        try:
            return mapping.invoice(row, lines, payments)
        except (KeyError, TypeError) as error:
            raise Rejected(
                "billing", f"the invoice {invoice_id} belongs to no contract of ours", field="metadata"
            ) from error

    def reported(self, headers: Mapping[str, str], body: bytes) -> Reported | None:
        webhooks.verify(self._secret.reveal(), headers.get("stripe-signature", ""), body, self._clock)
        return webhooks.canonical_event(body, self._source)

    async def check(self) -> None:
        await self._client.get("account")


def _reference(contract: Contract, name: str) -> str:
    """Return billing's own id of a record that a contract depends on.

    Raises `Rejected` when the contract does not name it.
    """
    if name not in contract.references:
        raise Rejected("billing", f"the contract {contract.id} names no {name}", field=f"references.{name}")
    return contract.references[name]


def _with(contract: Contract, **references: str) -> Contract:
    return msgspec.structs.replace(contract, references=contract.references | references)


def connect(settings: Settings, context: ConnectorContext) -> Stripe:
    """Return the connector of one account."""
    return Stripe(settings, context)

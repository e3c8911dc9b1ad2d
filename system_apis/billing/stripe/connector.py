"""The billing port on Stripe."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from canonical.billing import Contract, Invoice
from canonical.deals import LineTerms, PricedLine
from canonical.events import Event
from canonical.faults import Conflict, NotFound, Rejected
from canonical.parties import Customer, CustomerMatch
from policies.context import correlation
from system_apis.billing.port import Reported
from system_apis.billing.stripe import invoices, mapping, matching, parts, webhooks
from system_apis.billing.stripe.client import (
    PAGE,
    PAGES,
    VERSION,
    Declined,
    InvalidTaxId,
    Row,
    Settings,
    StripeClient,
    at,
)
from system_apis.billing.stripe.event_feed import EventFeed
from system_apis.billing.stripe.parts import Part
from system_apis.billing.stripe.setup import WebhookEndpoint
from system_apis.connector import ConnectorContext, Misfit
from system_apis.feed import Look
from system_apis.intake import Intake

NOT_SEARCHED_YET = timedelta(minutes=2)
"""How long a customer may be there before a search finds it, with as much again to spare."""
FIRST_INVOICE = ["subscription.latest_invoice"]
NOTES = ("tiergate_id", "tiergate_parent", "tiergate_tax_number", "tiergate_email")
"""What is kept in the metadata of a customer as it is now."""
TWO_CURRENCIES = "combine currencies"
"""What Stripe says, without a code or a field, when a customer is billed in another currency already."""


class Stripe:
    """Implement `system_apis.billing.port.Billing`.

    An idempotency key covers a repeat within a day; our own id in the metadata covers any later one.
    """

    def __init__(self, settings: Settings, context: ConnectorContext) -> None:
        self._client = StripeClient(settings, context.client)
        self._instance = context.instance
        self._source = f"billing/{context.instance}"
        self._endpoint = WebhookEndpoint(self._client, context.webhook_url, context.new_id)
        self._url = settings.url
        self._secret = settings.webhook_secret
        self._clock = context.clock
        self._timezone = context.timezone
        self._prices: dict[str, str] = {}
        self._tax_rates: dict[str, str] = {}
        """By natural key."""
        self._rates: dict[str, mapping.Rate] = {}
        """By the id of the rate."""
        self._automatic_tax = settings.automatic_tax
        self._tax_codes = settings.tax_codes
        self._terms: dict[str, LineTerms | None] = {}
        """What was agreed for one piece, by the id of the price."""
        self._changes = EventFeed(self._client, context.position, context.clock, context.new_id)

    # ---- customers

    async def match_customer(self, customer: Customer) -> tuple[CustomerMatch, ...]:
        found: dict[str, Row] = {}
        are_all = True
        for query in matching.queries(customer):
            rows, is_all = await self._client.searched(at("customers", "search"), query, expand=["data.tax_ids"])
            are_all = are_all and is_all
            found |= {each["id"]: each for each in rows}
        reference = customer.references.get(self._instance)
        if reference and reference not in found and (row := await self._present(reference)):
            found[reference] = row
        free = [each for each in found.values() if _is_free(each, customer)]
        own = [each for each in free if not _is_free(each)]
        if (free or not are_all) and not own:
            row = await self._customer(msgspec.structs.replace(customer, references={}))
            own = [row] if row else []
        if own:
            return (matching.match(own[0], customer),)
        if not are_all:
            reason = (
                f"more than {PAGE * PAGES} customers have the name {customer.name!r} or its e-mail: write {customer.id}"
                " to the metadata tiergate_id of the one that it is, or of a new one"
            )
            raise Rejected("billing", reason, field="customer.name")
        for each in free:
            if numbers := each.get("tax_ids"):
                numbers["data"] = await self._client.whole(numbers, at("customers", each["id"], "tax_ids"))
        return tuple(matching.match(each, customer) for each in free)

    async def put_customer(self, customer: Customer) -> str:
        wanted = mapping.customer(customer, correlation.current())
        row, recipient = await self._customer(customer), ""
        if row is None:
            created = wanted | mapping.at_creation(customer) | self._located()
            row = await self._client.create(at("customers"), f"customer:{customer.id}", **created)
        else:
            recipient = mapping.recipient(await self._schedules_of(row["id"]))
        noted: str = row["metadata"].get("tiergate_tax_number", "")
        await self._follow_tax_number(customer, row["id"], noted)
        changes = {
            key: wanted[key]
            for key in ("name", "tax_exempt", "address")
            if wanted[key] and not mapping.holds(row[key], wanted[key])
        }
        mail = recipient or wanted["email"] or ""
        if mail != (row["email"] or ""):
            changes["email"] = mail  # empty: there is none any more
        notes = {name: wanted["metadata"][name] or "" for name in NOTES}
        changed = {name: note for name, note in notes.items() if note != (row["metadata"].get(name) or "")}
        if changed:
            changes["metadata"] = changed
        if customer.payment_method and not row["invoice_settings"]["default_payment_method"]:
            attached = await self._client.post(
                at("payment_methods", customer.payment_method, "attach"),
                f"attach:{customer.id}:{customer.payment_method}",
                customer=row["id"],
            )
            changes["invoice_settings"] = {"default_payment_method": attached["id"]}
        if "address" in changes:
            changes |= self._located()
        if changes:
            # A name that is changed and changed back is changed each time: the key is that of the work at hand.
            marker = "".join(f"{key}={value};" for key, value in sorted(changes.items())) + correlation.current()
            await self._client.post(at("customers", row["id"]), f"customer:{customer.id}:{marker}", **changes)
        return row["id"]

    def _located(self) -> Row:
        """Return what lets a place be refused that Stripe Tax does not know, before anything is sold there."""
        return {"tax": {"validate_location": "immediately"}} if self._automatic_tax else {}

    async def _customer(self, customer: Customer) -> Row | None:
        """Return the customer as billing has it: by its own id where we know it, also if it does not have ours yet; by
        ours otherwise.

        A search is up to a minute behind (API reference: Search), so it only names who may be the one, and those that
        were made in the last two minutes are looked through.
        """
        names = [customer.references.get(self._instance, "")]
        for look in (self._searched, self._recent):
            for each in names:
                row = await self._present(each) if each else None
                if row and _is_free(row, customer):
                    return row
            names = await look(customer.id)
        return await self._present(names[0]) if names else None

    async def _searched(self, customer_id: str) -> list[str]:
        found, _ = await self._client.searched(at("customers", "search"), f"metadata['tiergate_id']:'{customer_id}'")
        return [each["id"] for each in found]

    async def _recent(self, customer_id: str) -> list[str]:
        since = int((self._clock() - NOT_SEARCHED_YET).timestamp())
        rows = await self._client.listed(at("customers"), created={"gte": since})
        return [each["id"] for each in rows if each["metadata"].get("tiergate_id") == customer_id]

    async def _present(self, reference: str) -> Row | None:
        """Return a customer by billing's own id; None for one that is not there, or was deleted."""
        try:
            row = await self._client.get(at("customers", reference))
        except NotFound:
            return None
        return None if row.get("deleted") else row

    async def _follow_tax_number(self, customer: Customer, owner: str, noted: str) -> None:
        """Let the customer have its present tax number in the place of the one that was `noted` before.

        What people added by hand stays. A number that Stripe does not take is kept in the metadata alone: a sale does
        not stop for it.
        """
        wanted = mapping.tax_id(customer)
        if wanted is None and not noted:
            return
        present = await self._client.listed(at("customers", owner, "tax_ids"))
        if wanted and wanted.value not in [each["value"] for each in present]:
            path, key = at("customers", owner, "tax_ids"), f"tax_id:{owner}:{wanted.type}:{wanted.value}"
            with contextlib.suppress(InvalidTaxId):
                await self._client.create(path, key, type=wanted.type, value=wanted.value)
        for each in present:
            if each["value"] == noted != mapping.tax_number(customer):
                await self._client.delete(at("customers", owner, "tax_ids", each["id"]))

    # ---- contracts

    async def put_contract(self, contract: Contract, correlation_id: str) -> Contract:
        owner = _reference(contract, "customer")
        all_of_owner = await self._schedules_of(owner)
        known = _keyed(all_of_owner, contract)
        wanted = parts.split(contract.lines)
        keys = [mapping.contract_key(contract, place) for place in range(1, len(wanted) + 1)]
        if not known.keys() >= set(keys):
            self._check_tax(contract)
        buyer = await self._buyer(owner)
        terms = _collection(buyer, contract.invoicing.days_until_due)
        for key, part in zip(keys, wanted, strict=True):
            if key not in known:
                phase = await self._phase(contract, part, correlation_id)
                try:
                    known[key] = await self._client.create(
                        at("subscription_schedules"),
                        f"schedule:{key}",
                        customer=owner,
                        start_date=mapping.held_until(contract, self._timezone(contract.legal_entity), self._clock()),
                        end_behavior="release",
                        metadata={"tiergate_key": key, "tiergate_correlation": correlation_id},
                        phases=[_collected(phase, terms)],
                    )
                except Rejected as refused:
                    if TWO_CURRENCIES not in refused.reason:
                        raise
                    raise Rejected("billing", refused.reason, field="currency") from refused
        await self._send_invoices_to(buyer, mapping.recipient([*all_of_owner, *known.values()]))
        return _with(contract, "schedule", [known[key]["id"] for key in keys])

    def _check_tax(self, contract: Contract) -> None:
        """Raise `Rejected` where the ERP's mapping and the settings do not say the same of who decides about tax."""
        if contract.taxed_by_billing == self._automatic_tax:
            return
        seller, setting = contract.legal_entity, f"automatic_tax of {self._instance}"
        reason = (
            f"the ERP's mapping leaves the tax of {seller} to billing: set {setting}, or give {seller} tax_rules"
            if contract.taxed_by_billing
            else f"the ERP's mapping has tax_rules for {seller}: take {setting} away, or name billed_taxes instead"
        )
        raise Rejected("billing", reason, field="tax")

    async def _buyer(self, owner: str) -> Row:
        """Return the customer of a contract. Raises `NotFound` for one that was deleted."""
        customer = await self._client.get(at("customers", owner))
        if customer.get("deleted"):
            raise NotFound("billing", f"the customer {owner} was deleted", field="references.customer")
        return customer

    async def _send_invoices_to(self, buyer: Row, recipient: str) -> None:
        """Let invoices be sent to who gets all of a customer's, or else to its contact.

        Stripe sends each to the customer's own address, and has none for a contract (Send customer emails).
        """
        mail = recipient or buyer["metadata"].get("tiergate_email") or buyer["email"]
        if mail != buyer["email"]:
            key = f"email:{buyer['id']}:{mail}:{correlation.current()}"
            await self._client.post(at("customers", buyer["id"]), key, email=mail)

    async def _schedules_of(self, owner: str) -> list[Row]:
        return await self._client.listed(at("subscription_schedules"), customer=owner)

    async def _schedules(self, contract: Contract) -> dict[str, Row]:
        """Return the schedules of a contract by their natural keys, the first one first."""
        return _keyed(await self._schedules_of(_reference(contract, "customer")), contract)

    async def start(self, contract: Contract) -> Contract:
        """Move the schedules' start to the contract's first day, or to now when that has come, with the lines that were
        provisioned. The first invoices of what has begun are finalized; what begins later is billed by Stripe.

        A schedule of which no line was provisioned is cancelled. A declined card stops nothing here: the invoice stays
        open, and Stripe goes on trying to collect it.
        """
        _reference(contract, "schedule")  # there is one, or it is refused
        held = [await self._client.get(at("subscription_schedules", each)) for each in contract.named("schedule")]
        left = [parts.delivered(each["phases"][0], contract.lines) for each in held]
        wanted = [(row, items) for row, items in zip(held, left, strict=True) if items] or [(held[0], ())]
        for row in held:
            if row["status"] == "not_started" and row["id"] not in [each["id"] for each, _ in wanted]:
                await self._client.post(at("subscription_schedules", row["id"], "cancel"), f"cancel:{row['id']}")
        started = [
            await self._start(contract, row, part)
            for (row, _), part in zip(
                wanted, parts.with_once([items for _, items in wanted], contract.lines), strict=True
            )
        ]
        active = msgspec.structs.replace(contract, state="active")
        begun = [each for each in started if each is not None]
        with_subscriptions = _with(active, "subscription", [subscription for subscription, _ in begun])
        return _with(with_subscriptions, "invoice", [invoice for _, invoice in begun])

    async def _start(self, contract: Contract, schedule: Row, part: Part) -> tuple[str, str] | None:
        """Start one schedule. Return the ids of its subscription and its first invoice, None when it begins later."""
        if schedule["status"] == "canceled":  # by people, or before a restore to an earlier moment
            raise Rejected("billing", f"the schedule of {contract.id} is canceled", field="state")
        begins = mapping.first_moment(contract, self._timezone(contract.legal_entity))
        begins_at = int(begins.timestamp()) if begins > self._clock() else "now"
        path = at("subscription_schedules", schedule["id"])
        if schedule["status"] == "not_started":
            held: Row = schedule["phases"][0]
            phase = await self._phase(contract, part, held["metadata"]["tiergate_correlation"]) | {
                "start_date": begins_at
            }
            if held["collection_method"]:
                days = held["invoice_settings"]["days_until_due"]
                by_invoice = {
                    "collection_method": held["collection_method"],
                    "invoice_settings": {"days_until_due": days},
                }
                phase = _collected(phase, by_invoice)
            key = f"start:{schedule['metadata']['tiergate_key']}"
            schedule = await self._client.post(path, key, phases=[phase], expand=FIRST_INVOICE)
        else:
            schedule = await self._client.get(path, expand=FIRST_INVOICE)
        subscription: Row | None = schedule["subscription"]
        if released := schedule["released_subscription"]:
            subscription = await self._client.get(at("subscriptions", released), expand=["latest_invoice"])
        if subscription is None and schedule["status"] == "not_started" and begins_at != "now":
            return None
        if subscription is None:
            raise Rejected("billing", f"the schedule of {contract.id} is {schedule['status']}", field="state")
        invoice: Row = subscription["latest_invoice"]
        if invoice["status"] == "draft":
            invoice = await self._client.post(at("invoices", invoice["id"], "finalize"), f"finalize:{invoice['id']}")
        by_itself = invoice["collection_method"] == "charge_automatically" and not invoice["attempted"]
        if invoice["status"] == "open" and by_itself:
            with contextlib.suppress(Declined):
                await self._client.post(at("invoices", invoice["id"], "pay"), f"pay:{invoice['id']}")
        return subscription["id"], invoice["id"]

    async def cancel(self, contract: Contract) -> None:
        for schedule in (await self._schedules(contract)).values() if "customer" in contract.references else ():
            if schedule["status"] in ("not_started", "active"):
                await self._client.post(
                    at("subscription_schedules", schedule["id"], "cancel"), f"cancel:{schedule['id']}"
                )
            elif left := schedule["released_subscription"] or schedule["subscription"]:
                await self._end(left)

    async def _end(self, subscription_id: str) -> None:
        """Cancel a subscription that has outlived its schedule, unless it is over."""
        subscription = await self._client.get(at("subscriptions", subscription_id))
        if subscription["status"] != "canceled":
            await self._client.delete(at("subscriptions", subscription_id))

    async def _phase(self, contract: Contract, part: Part, correlation_id: str) -> Row:
        lines = [each.lines[0] for each in part.items]
        if contract.taxed_by_billing:
            codes = {line.sku: code for line in lines if (code := mapping.product_tax_code(line, self._tax_codes))}
            await self._ensure_prices(lines)
            await self._ensure_tax_codes(codes)
        else:
            await self._ensure_prices(lines)
            await self._ensure_tax_rates(contract, lines)
        return mapping.phase(contract, part, self._prices, self._tax_rates, correlation_id)

    async def _ensure_prices(self, lines: list[PricedLine]) -> None:
        """Find or create the products by SKU, and the prices by lookup key: natural keys that Stripe keeps unique."""
        missing = {parts.price_key(line): line for line in lines if parts.price_key(line) not in self._prices}
        if not missing:
            return
        wanted = {key: mapping.price(line) for key, line in missing.items()}  # all that can be billed, or none is made
        for each in await self._client.listed(at("prices"), lookup_keys=list(missing)):
            if self._automatic_tax and each["tax_behavior"] == "unspecified":
                path, key = at("prices", each["id"]), f"tax_behavior:{each['id']}"
                await self._client.post(path, key, tax_behavior="exclusive")
            self._know(each)
        for key, line in missing.items():
            if key not in self._prices:
                await self._ensure_product(line)
                try:
                    made = await self._client.create(at("prices"), f"price:{key}", **wanted[key])
                except Conflict:
                    made = (await self._client.listed(at("prices"), lookup_keys=[key]))[0]
                except Rejected as refused:
                    field = mapping.FIELDS["prices"].get(refused.field, refused.field)
                    raise Rejected("billing", f"{line.name}: {refused.reason}", field=field) from refused
                self._know(made)

    def _know(self, price: Row) -> None:
        self._prices[price["lookup_key"]] = price["id"]
        self._terms[price["id"]] = parts.read(price["metadata"])

    async def _ensure_product(self, line: PricedLine) -> None:
        try:
            await self._client.get(at("products", line.sku))
        except NotFound:
            try:
                await self._client.create(at("products"), f"product:{line.sku}", id=line.sku, name=line.name)
            except Conflict:
                return  # another order made it in this moment

    async def _ensure_tax_codes(self, codes: dict[str, str]) -> None:
        """Let products have the tax codes of their classes, by SKU. The ERP may have put one in another class."""
        for sku, code in codes.items():
            path = at("products", sku)
            if (await self._client.get(path))["tax_code"] != code:
                await self._client.post(path, f"tax_code:{sku}:{code}:{correlation.current()}", tax_code=code)

    async def _ensure_tax_rates(self, contract: Contract, lines: list[PricedLine]) -> None:
        missing = {key: line for line in lines if (key := mapping.tax_key(contract, line)) not in self._tax_rates}
        if not missing:
            return
        for each in await self._client.listed(at("tax_rates"), active=True):
            self._tax_rates[each["metadata"].get("tiergate_key") or each["id"]] = each["id"]
        for key, line in missing.items():
            if key not in self._tax_rates:
                made = await self._client.create(at("tax_rates"), f"tax_rate:{key}", **mapping.tax_rate(contract, line))
                self._tax_rates[key] = made["id"]

    async def _learn_rates(self, lines: list[Row]) -> None:
        """Read the tax rates of an invoice that were not met before; what a rate stands for never changes."""
        for rate in {invoices.rate_of(tax) for line in lines for tax in line["taxes"] or ()} - self._rates.keys():
            self._rates[rate] = mapping.rate(await self._client.get(at("tax_rates", rate)))

    async def _learn_terms(self, lines: list[Row]) -> None:
        """Read the prices of an invoice that were not met before; what was agreed for one never changes."""
        for price in {invoices.price_of(each) for each in lines} - self._terms.keys() - {None}:
            found = await self._client.get(at("prices", str(price)))
            self._terms[str(price)] = parts.read(found["metadata"])

    # ---- invoices

    async def invoice(self, invoice_id: str) -> Invoice:
        row = await self._client.get(at("invoices", invoice_id), expand=["payments"])
        lines = await self._client.whole(row["lines"], at("invoices", invoice_id, "lines"))
        payments = await self._client.whole(row["payments"], at("invoice_payments"), invoice=invoice_id)
        try:
            await self._learn_rates(lines)
            await self._learn_terms(lines)
            settles = await self._settled_with(row)
            return invoices.invoice(row, lines, payments, self._rates, self._terms, self._timezone, settles)
        except (KeyError, TypeError) as error:
            raise Rejected(
                "billing", f"the invoice {invoice_id} belongs to no contract of ours", field="metadata"
            ) from error

    async def _settled_with(self, row: Row) -> tuple[str, ...]:
        """Return the earlier invoices that are settled with one: those that changed the customer's balance since it was
        nothing, if it is nothing again (The Customer Balance Transaction object)."""
        if row["status"] != "paid" or not row["starting_balance"] or row["ending_balance"]:
            return ()
        newest_first = iter(await self._client.listed(at("customers", row["customer"], "balance_transactions")))
        any(each["invoice"] == row["id"] and not each["ending_balance"] for each in newest_first)  # up to its own
        before = itertools.takewhile(lambda each: each["ending_balance"], newest_first)
        return tuple(dict.fromkeys(each["invoice"] for each in before if each["invoice"]))

    async def reported(self, headers: Mapping[str, str], body: bytes) -> Reported | None:
        webhooks.verify(self._secret.reveal(), headers.get("stripe-signature", ""), body, self._clock)
        event = webhooks.decoded(body)
        return await self._canonical(event) if event else None

    def taken(self, event: Event) -> None:
        self._changes.taken(event)

    async def begin(self) -> None:
        await self._changes.begin()

    async def look(self, intake: Intake) -> Look:
        return await self._changes.look(intake, self._canonical)

    async def _canonical(self, event: webhooks.StripeEvent) -> Reported | None:
        """Return the canonical event, None for one that is of no interest."""
        thing = event.data.object
        about = thing.get("id")
        if thing.get("object") == "invoice_payment":
            if not webhooks.is_part(event):
                return None
            about = thing.get("invoice")
        if about is not thing.get("id") or event.api_version != VERSION:
            try:
                thing = await self._client.get(at("invoices", str(about)))
            except NotFound:
                return None
        return webhooks.canonical_event(event, thing, self._source)

    async def check(self) -> None:
        await self._client.get(at("account"))

    async def misfits(self) -> list[Misfit]:
        """Return what hinders the events of the account from arriving, and whether our key can do more than it has
        to."""
        found = await self._endpoint.misfits(self._url, self._instance)
        if self._client.is_unrestricted:
            remedy = "use a restricted key (rk_…), which may do what docs/guides/connecting-your-systems.md lists"
            found.append(Misfit("the API key may do everything (sk_…)", remedy, blocks=False))
        return found + (await self._misfits_of_tax() if self._automatic_tax else [])

    async def _misfits_of_tax(self) -> list[Misfit]:
        """Return what Stripe Tax lacks (API reference: Tax Settings, Tax Registrations)."""
        settings = await self._client.get(at("tax", "settings"))
        if settings["status"] != "active":
            lacks = ", ".join(settings["status_details"]["pending"]["missing_fields"] or ())
            what = f"automatic_tax is set, and Stripe Tax of the account is {settings['status']}: it lacks {lacks}"
            return [
                Misfit(what, "a person completes Settings > Tax in Stripe's Dashboard, or takes automatic_tax away")
            ]
        if await self._client.listed(at("tax", "registrations"), status="active"):
            return []
        what = "automatic_tax is set, and Stripe Tax has no active registration: it collects no tax anywhere"
        return [Misfit(what, "a person adds one in Stripe's Dashboard (Tax > Registrations)", blocks=False)]


def _is_free(row: Row, but_for: Customer | None = None) -> bool:
    """Return whether a customer of Stripe is none of ours, or the one that it may be."""
    own = row["metadata"].get("tiergate_id")
    return not own or (but_for is not None and own == but_for.id)


def _keyed(schedules: list[Row], contract: Contract) -> dict[str, Row]:
    """Return those schedules that are a contract's by their natural keys, the first one first."""
    key = mapping.contract_key(contract)
    keyed = {each["metadata"].get("tiergate_key", ""): each for each in reversed(schedules)}
    return {each: row for each, row in keyed.items() if each == key or each.startswith(f"{key}#")}


def _collection(buyer: Row, days_until_due: int | None) -> Row:
    """Return how a customer is asked for money: by its payment method, or by an invoice that it pays by itself, which
    it does where days for that were agreed."""
    if buyer["invoice_settings"]["default_payment_method"] is not None and days_until_due is None:
        return {}
    days = mapping.DAYS_UNTIL_DUE if days_until_due is None else days_until_due
    return {"collection_method": "send_invoice", "invoice_settings": {"days_until_due": days}}


def _collected(phase: Row, by: Row) -> Row:
    """Return a phase with how its invoices are collected, beside what else is said of them."""
    settings: Row = phase.get("invoice_settings", {}) | by.get("invoice_settings", {})
    return phase | by | ({"invoice_settings": settings} if settings else {})


def _reference(contract: Contract, name: str) -> str:
    """Return billing's own id of a record that a contract depends on.

    Raises `Rejected` when the contract does not name it.
    """
    if name not in contract.references:
        raise Rejected("billing", f"the contract {contract.id} names no {name}", field=f"references.{name}")
    return contract.references[name]


def _with(contract: Contract, name: str, ids: list[str]) -> Contract:
    """Return a contract that names one or several records: `schedule`, `schedule.2`, and so on."""
    named = {name if place == 1 else f"{name}.{place}": each for place, each in enumerate(ids, 1)}
    return msgspec.structs.replace(contract, references=contract.references | named)


def connect(settings: Settings, context: ConnectorContext) -> Stripe:
    """Return the connector of one account."""
    return Stripe(settings, context)

"""The billing port on Stripe."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Mapping, Sequence
from datetime import timedelta

import msgspec

from canonical.amendments import BillingPreview, ContractChange
from canonical.billing import Contract, Invoice
from canonical.corrections import Correctable, CreditOrder, InvoiceEnd, Refund, RefundOrder
from canonical.credits import CreditNote, PaymentReversal, ReversalKind
from canonical.disputes import Dispute, Evidence
from canonical.dunning import OpenInvoices
from canonical.events import (
    BILLED_CUSTOMER_CHANGED,
    COLLECTION_CHANGED,
    CONTRACT_ENDED,
    CREDIT_NOTE_ISSUED,
    CREDIT_NOTE_VOIDED,
    DISPUTE_CHANGED,
    DISPUTE_CLOSED,
    DISPUTE_OPENED,
    MEANS_ATTACHED,
    PAYMENT_REINSTATED,
    PAYMENT_REVERSED,
    Event,
)
from canonical.faults import Conflict, NotFound, Rejected
from canonical.parties import Customer, CustomerCopy, CustomerMatch
from canonical.products import CatalogueProduct, PriceChange, ProductMatch
from canonical.usage import UsageCharge, UsageOfPeriod, UsageOrder
from policies.context import correlation
from system_apis.billing.port import Reported
from system_apis.billing.stripe import credits as credits_
from system_apis.billing.stripe import disputes as disputes_
from system_apis.billing.stripe import invoices, mapping, matching, webhooks
from system_apis.billing.stripe.arrears import Arrears
from system_apis.billing.stripe.catalogue import StripeProducts
from system_apis.billing.stripe.changes import ContractChanges
from system_apis.billing.stripe.client import (
    PAGE,
    PAGES,
    VERSION,
    InvalidTaxId,
    Row,
    Settings,
    StripeClient,
    at,
)
from system_apis.billing.stripe.contracts import Contracts
from system_apis.billing.stripe.corrections import Corrections
from system_apis.billing.stripe.event_feed import EventFeed
from system_apis.billing.stripe.metering import Metering
from system_apis.billing.stripe.price_list import PriceList
from system_apis.billing.stripe.setup import WebhookEndpoint
from system_apis.billing.stripe.usage_corrections import MoreUsage
from system_apis.connector import ConnectorContext, Misfit
from system_apis.feed import Look
from system_apis.intake import Intake

NOT_SEARCHED_YET = timedelta(minutes=2)
"""How long a customer may be there before a search finds it, with as much again to spare."""
OF_CUSTOMER = (BILLED_CUSTOMER_CHANGED, MEANS_ATTACHED)
OF_SUBSCRIPTION = (COLLECTION_CHANGED, CONTRACT_ENDED)
DISPUTES = (DISPUTE_OPENED, DISPUTE_CHANGED, DISPUTE_CLOSED)
CREDITS = (CREDIT_NOTE_ISSUED, CREDIT_NOTE_VOIDED, PAYMENT_REVERSED, PAYMENT_REINSTATED, *DISPUTES)
REVERSALS = ("refund", "dispute")
FAILED = ("failed", "canceled")
"""The states of a refund of which no money went back (API reference: The Refund object, `status`)."""
DISPUTE = ("du_", "dp_")
"""What the ids of disputes begin with."""
NOTES = ("tiergate_id", "tiergate_parent", "tiergate_tax_number", "tiergate_email")
"""What is kept in the metadata of a customer as it is now."""


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
        self._automatic_tax = settings.automatic_tax
        self._price_list = PriceList(self._client, automatic_tax=settings.automatic_tax, tax_codes=settings.tax_codes)
        self._catalogue = StripeProducts(self._client)
        self._contracts = Contracts(
            self._client, self._price_list, settings, context.instance, context.clock, context.timezone
        )
        self._changes = ContractChanges(
            self._client, self._contracts, self._price_list, context.clock, context.timezone
        )
        self._corrections = Corrections(self._client, self.invoice, self._read_note)
        self._arrears = Arrears(self._client, context.clock)
        self._metering = Metering(self._client)
        self._feed = EventFeed(self._client, context.position, self._source, context.clock, context.new_id)
        self._more_usage = MoreUsage(self._client)

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

    async def customer_copy(self, customer: Customer) -> CustomerCopy:
        row = await self._customer(customer)
        if row is None or _is_free(row):
            raise NotFound("billing", f"there is no customer {customer.id}")
        numbers = await self._client.listed(at("customers", row["id"], "tax_ids"))
        recipient = mapping.recipient(await self._contracts.schedules_of(row["id"]))
        return mapping.customer_copy(row, numbers, customer, recipient)

    async def put_customer(self, customer: Customer) -> str:
        wanted = mapping.customer(customer, correlation.current())
        row, recipient = await self._customer(customer), ""
        if row is None:
            created = wanted | mapping.at_creation(customer) | self._located()
            row = await self._client.create(at("customers"), f"customer:{customer.id}", **created)
        else:
            recipient = mapping.recipient(await self._contracts.schedules_of(row["id"]))
        noted: str = row["metadata"].get("tiergate_tax_number", "")
        await self._follow_tax_number(customer, row["id"], noted)
        changes = {key: wanted[key] for key in ("name", "tax_exempt") if wanted[key] and row[key] != wanted[key]}
        if mapping.address_held(row) != customer.address:  # what people have put on a second line goes, too
            changes["address"] = wanted["address"] | {"line2": ""}
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
            path, what = at("customers", owner, "tax_ids"), f"{wanted.type}:{wanted.value}"
            key = f"tax_id:{owner}:{what}:{correlation.current()}"  # people may have deleted it since
            with contextlib.suppress(InvalidTaxId):
                await self._client.create(path, key, type=wanted.type, value=wanted.value)
        for each in present:
            if each["value"] == noted != mapping.tax_number(customer):
                await self._client.delete(at("customers", owner, "tax_ids", each["id"]))

    # ---- contracts

    async def put_contract(self, contract: Contract, correlation_id: str) -> Contract:
        return await self._contracts.put(contract, correlation_id)

    async def start(self, contract: Contract) -> Contract:
        return await self._contracts.start(contract)

    async def cancel(self, contract: Contract) -> None:
        await self._contracts.cancel(contract)

    async def collect(self, contract: Contract) -> None:
        await self._contracts.collect(contract)

    async def preview_change(self, change: ContractChange, correlation_id: str) -> BillingPreview:
        return await self._changes.preview(change, correlation_id)

    async def change(self, change: ContractChange, correlation_id: str) -> Contract:
        return await self._changes.carry_out(change, correlation_id)

    # ---- what is sold

    async def put_usage(self, usage: UsageOfPeriod) -> UsageOfPeriod:
        return await self._metering.put(usage)

    async def price_usage(self, order: UsageOrder) -> UsageCharge:
        return await self._more_usage.price(order)

    async def charge_usage(self, order: UsageOrder) -> UsageCharge:
        return await self._more_usage.charge(order)

    async def match_products(self, products: Sequence[CatalogueProduct]) -> tuple[ProductMatch, ...]:
        return await self._catalogue.match(products)

    async def put_product(self, product: CatalogueProduct) -> CatalogueProduct:
        return await self._catalogue.put(product)

    async def put_price(self, change: PriceChange) -> PriceChange:
        return await self._catalogue.put_price(change)

    # ---- invoices

    async def invoice(self, invoice_id: str) -> Invoice:
        row = await self._client.get(at("invoices", invoice_id), expand=["payments"])
        lines = await self._client.whole(row["lines"], at("invoices", invoice_id, "lines"))
        payments = await self._client.whole(row["payments"], at("invoice_payments"), invoice=invoice_id)
        with _of_ours(f"the invoice {invoice_id}"):
            await self._price_list.learn(lines)
            settles = await self._settled_with(row)
            known = self._price_list
            return invoices.invoice(row, lines, payments, known.rates, known.terms, self._timezone, settles)

    async def open_invoices(self, contract: Contract) -> OpenInvoices:
        return await self._arrears.of(contract)

    async def credit_note(self, credit_note_id: str) -> CreditNote:
        row = await self._client.get(at("credit_notes", credit_note_id))
        return await self._read_note(
            row, await self._client.whole(row["lines"], at("credit_notes", credit_note_id, "lines"))
        )

    async def _read_note(self, row: Row, rows: list[Row]) -> CreditNote:
        """Return a credit note with all its lines as a canonical one."""
        of, whole = await self._with_lines(row["invoice"])
        made = credits_.lines(rows, whole)
        with _of_ours(f"the credit note {row['id']}"):
            return credits_.credit_note(row, made, of, await self._reading(of, made))

    async def reversal(self, reversal_id: str) -> PaymentReversal:
        went = credits_.went_of(reversal_id)
        about = went.about
        row = await self._client.get(at("disputes" if about.startswith(DISPUTE) else "refunds", about))
        how = await self._went(row, went)
        paid, of = await self._invoice_paid_with(row)
        notes = await self._client.listed(at("credit_notes"), invoice=of["id"])
        with _of_ours(about):
            read = await self._reading(of, [])
            return credits_.reversal(row, went, how, invoices.payment_id(paid), notes, of, read)

    async def dispute(self, dispute_id: str) -> Dispute:
        row = await self._client.get(at("disputes", dispute_id))
        paid, of = await self._invoice_paid_with(row)
        with _of_ours(dispute_id):
            return disputes_.dispute(row, invoices.payment_id(paid), of, await self._reading(of, []))

    async def accept_dispute(self, dispute_id: str) -> Dispute:
        await disputes_.accept(self._client, dispute_id)
        return await self.dispute(dispute_id)

    async def answer_dispute(self, dispute_id: str, evidence: Evidence) -> Dispute:
        await disputes_.answer(self._client, dispute_id, evidence, self._clock())
        return await self.dispute(dispute_id)

    async def _went(self, row: Row, which: credits_.Went) -> tuple[ReversalKind, int]:
        """Return how the money of a refund or a dispute went back, or is ours again, and when (seconds since 1970).
        Raises as `Billing.reversal` does."""
        went = credits_.moved(row, again=which.again, time=which.time)
        if went is None and row["status"] in FAILED:
            raise NotFound("billing", f"{row['id']} is {row['status']}: no money went back", field="status")
        if went is None:
            raise Conflict("billing", f"{row['id']} is {row['status']}", field="status")
        kind, at_second = went
        if kind == "dispute" and await self._is_debit(row["charge"]):
            return "return", at_second
        if failure := row.get("failure_balance_transaction"):
            failed = await self._client.get(at("balance_transactions", failure))
            return kind, failed["created"]
        return went

    async def _is_debit(self, charge_id: str) -> bool:
        """Return whether a charge is a direct debit: its dispute is lost at once (SEPA Direct Debit: Disputes)."""
        charge = await self._client.get(at("charges", charge_id))
        return charge["payment_method_details"]["type"].endswith("_debit")

    async def _invoice_paid_with(self, reversal: Row) -> tuple[Row, Row]:
        """Return the payment that a refund or a dispute is about, and its invoice. Raises `Rejected` where it is of
        none."""
        paid = await self._paid_with(reversal)
        if paid is None:
            raise Rejected("billing", f"{reversal['id']} is of no invoice", field="payment_id")
        return paid, await self._client.get(at("invoices", paid["invoice"]))

    async def _paid_with(self, reversal: Row) -> Row | None:
        """Return the payment of an invoice that a refund or a dispute is about; None where it is of no invoice."""
        if not reversal["payment_intent"]:
            return None  # Stripe finds payments of invoices by nothing else
        asked = {"type": "payment_intent", "payment_intent": reversal["payment_intent"]}
        found = await self._client.listed(at("invoice_payments"), payment=asked)
        return found[0] if found else None

    async def _with_lines(self, invoice_id: str) -> tuple[Row, list[Row]]:
        """Return an invoice, and all its lines."""
        row = await self._client.get(at("invoices", invoice_id))
        return row, await self._client.whole(row["lines"], at("invoices", invoice_id, "lines"))

    async def _reading(self, of: Row, lines: list[Row]) -> invoices.Reading:
        """Return what lines that are an invoice's, or of a credit note of it, are read with."""
        await self._price_list.learn(lines)
        return invoices.reading(of, self._price_list.rates, self._price_list.terms, self._timezone)

    async def _settled_with(self, row: Row) -> tuple[str, ...]:
        """Return the earlier invoices that are settled with one: those that changed the customer's balance since it was
        nothing, if it is nothing again (The Customer Balance Transaction object)."""
        if row["status"] != "paid" or not row["starting_balance"] or row["ending_balance"]:
            return ()
        newest_first = iter(await self._client.listed(at("customers", row["customer"], "balance_transactions")))
        any(each["invoice"] == row["id"] and not each["ending_balance"] for each in newest_first)  # up to its own
        before = itertools.takewhile(lambda each: each["ending_balance"], newest_first)
        left = (each["credit_note"] or each["invoice"] for each in before)
        return tuple(dict.fromkeys(each for each in left if each))

    # ---- corrections

    async def correctable(self, invoice_id: str) -> Correctable:
        return await self._corrections.correctable(invoice_id)

    async def preview_credit_note(self, order: CreditOrder) -> CreditNote:
        return await self._corrections.preview(order)

    async def issue_credit_note(self, order: CreditOrder) -> CreditNote:
        return await self._corrections.issue(order)

    async def refund_payment(self, order: RefundOrder) -> Refund:
        return await self._corrections.refund(order)

    async def void_invoice(self, end: InvoiceEnd) -> Invoice:
        return await self._corrections.end(end, "void")

    async def write_off_invoice(self, end: InvoiceEnd) -> Invoice:
        return await self._corrections.end(end, "mark_uncollectible")

    # ---- what happens

    async def reported(self, headers: Mapping[str, str], body: bytes) -> Reported | None:
        webhooks.verify(self._secret.reveal(), headers.get("stripe-signature", ""), body, self._clock)
        event = webhooks.decoded(body)
        return await self._canonical(event) if event else None

    def taken(self, event: Event) -> None:
        self._feed.taken(event)

    async def begin(self) -> None:
        await self._feed.begin()

    async def look(self, intake: Intake) -> Look:
        return await self._feed.look(intake, self._canonical)

    async def _canonical(self, event: webhooks.StripeEvent) -> Reported | None:
        """Return the canonical event, None for one that is of no interest."""
        thing = event.data.object
        if webhooks.TYPES[event.type] in OF_CUSTOMER:
            return await self._changed_customer(event, thing)
        if webhooks.TYPES[event.type] in CREDITS:
            return await self._credited(event, thing)
        if webhooks.TYPES[event.type] in OF_SUBSCRIPTION:
            return webhooks.of_subscription(event, self._source)
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

    async def _credited(self, event: webhooks.StripeEvent, thing: Row) -> Reported | None:
        """Return the canonical event about a credit note, a dispute, or money that went back or is ours again."""
        about = thing.get("invoice")
        if event.type == "refund.updated" and "status" not in event.data.previous_attributes:
            return None  # it was booked, by us or by hand, when it became what it is
        if thing.get("object") in REVERSALS:
            type_ = webhooks.TYPES[event.type]
            went = type_ in DISPUTES or credits_.moved(thing, again=type_ == PAYMENT_REINSTATED)
            paid = await self._paid_with(thing) if went else None
            about = paid["invoice"] if paid else None
        if not about:
            return None
        return credits_.canonical_event(event, await self._client.get(at("invoices", str(about))), self._source)

    async def _changed_customer(self, event: webhooks.StripeEvent, thing: Row) -> Reported | None:
        """Return the canonical event, None for one that we have made ourselves or that is about no customer of ours."""
        if webhooks.is_own(event):
            return None
        if thing.get("object") in ("tax_id", "payment_method"):
            thing = await self._present(str(thing.get("customer"))) or {}
        return webhooks.changed_customer(event, thing, self._source)

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


@contextlib.contextmanager
def _of_ours(what: str) -> Generator[None]:
    """Read a record that may be of no contract of ours: then its metadata lacks what ours have. Raises `Rejected`."""
    try:
        yield
    except (KeyError, TypeError) as error:
        raise Rejected("billing", f"{what} belongs to no contract of ours", field="metadata") from error


def _is_free(row: Row, but_for: Customer | None = None) -> bool:
    """Return whether a customer of Stripe is none of ours, or the one that it may be."""
    own = row["metadata"].get("tiergate_id")
    return not own or (but_for is not None and own == but_for.id)


def connect(settings: Settings, context: ConnectorContext) -> Stripe:
    """Return the connector of one account."""
    return Stripe(settings, context)

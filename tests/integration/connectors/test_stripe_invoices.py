"""What the Stripe connector makes of invoices that were settled, or made, in unusual ways."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from canonical.billing import Contract, Invoice
from canonical.deals import InvoiceTerms
from canonical.events import INVOICE_FINALIZED, INVOICE_PAID, PAYMENT_RECEIVED, Event
from canonical.faults import Rejected, Unavailable
from canonical.money import Money
from canonical.parties import Address, Recipient
from sandbox.stripe.account import as_sent
from system_apis.billing.port import Billing
from system_apis.billing.stripe import invoices
from system_apis.billing.stripe.mapping import Rate
from tests.support.connector_kit import samples
from tests.support.connector_kit.subject import Bench, KitIntake, run_over
from tests.support.stripe_account import StripeAccount, bank_transfer

Act = Callable[[Bench[Billing]], Awaitable[None]]


async def started(
    made: Bench[Billing], cents: int = 10_000, method: str | None = None, in_days: int = 0, **facts: Any
) -> Contract:
    buyer = samples.customer("cus_1", payment_method=method)
    reference = await made.call(lambda: made.connector.put_customer(buyer))
    lines = (samples.priced_line("lin_1", "SEAT", Money(cents, "EUR")),)
    wanted = samples.contract("con_1", "cus_1", reference, lines, made.clock().date() + timedelta(days=in_days))
    wanted = msgspec.structs.replace(wanted, **facts)
    contract = await made.call(lambda: made.connector.put_contract(wanted, "correlation-1"))
    return await made.call(lambda: made.connector.start(contract))


def test_the_custom_fields_of_a_contract_are_metadata_in_billing_and_are_on_its_invoice(
    account: StripeAccount, tmp_path: Path
) -> None:
    longest, custom = "c" * 33, {"cost_center": "4711"}

    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, custom=custom | {longest: "x" * 500})
        (subscription,) = account.api.v1.subscriptions.list().data

        assert subscription.metadata["custom_cost_center"] == "4711"
        assert (await read(made, contract.references["invoice"])).custom == custom | {longest: "x" * 500}

    run_over(account, tmp_path, act)


async def read(made: Bench[Billing], invoice: str) -> Invoice:
    return await made.call(lambda: made.connector.invoice(invoice))


def euros(cents: int) -> Money:
    return Money(cents, "EUR")


AGREED = InvoiceTerms(
    "4500012345", 45, Recipient("Accounts", "ap@example.com", Address("Ring 2", "1010", "Wien", "AT"))
)


@pytest.mark.parametrize("method", [None, "pm_card_visa"])
def test_an_invoice_bears_the_purchase_order_the_days_and_the_recipient_that_were_agreed(
    account: StripeAccount, tmp_path: Path, method: str | None
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method=method, invoicing=AGREED)
        invoice = contract.references["invoice"]
        found, shown = await read(made, invoice), account.account.get("invoice", invoice)

        assert (found.state, found.purchase_order, found.bill_to) == ("open", "4500012345", AGREED.bill_to)
        assert found.due_on == found.issued_on + timedelta(days=45)
        assert shown["custom_fields"] == [{"name": "PO number", "value": "4500012345"}]
        assert shown["footer"] == "Bill to: Accounts, Ring 2, 1010 Wien, AT, ap@example.com"

    run_over(account, tmp_path, act)


def test_invoices_are_sent_to_who_gets_all_of_a_customers_and_else_to_its_contact(
    account: StripeAccount, tmp_path: Path
) -> None:
    other = msgspec.structs.replace(AGREED, bill_to=Recipient("Else", "else@example.com", Address(country="AT")))

    async def act(made: Bench[Billing]) -> None:
        def mail() -> str | None:
            return account.api.v1.customers.retrieve(first.references["customer"]).email

        first = await started(made, invoicing=AGREED)
        mails = [mail()]
        await started(made, invoicing=AGREED, id="con_2")  # which puts the customer again
        mails.append(mail())
        third = await started(made, invoicing=other, id="con_3")
        mails.append(mail())
        await made.call(lambda: made.connector.cancel(third))
        await made.call(lambda: made.connector.put_customer(samples.customer("cus_1")))
        mails.append(mail())

        assert mails == ["ap@example.com", "ap@example.com", "kim@example.com", "ap@example.com"]

    run_over(account, tmp_path, act)


@pytest.mark.parametrize(("method", "days"), [(None, 30), ("pm_card_visa", None)])
def test_an_invoice_of_which_nothing_was_agreed_is_as_all_of_the_customer(
    account: StripeAccount, tmp_path: Path, method: str | None, days: int | None
) -> None:
    async def act(made: Bench[Billing]) -> None:
        found = await read(made, (await started(made, method=method)).references["invoice"])

        assert found.due_on == (None if days is None else found.issued_on + timedelta(days=days))
        assert (found.purchase_order, found.bill_to) == ("", None)

    run_over(account, tmp_path, act)


def test_an_invoice_that_is_due_at_once_is_so(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        at_once = InvoiceTerms(days_until_due=0)
        found = await read(made, (await started(made, invoicing=at_once)).references["invoice"])

        assert (found.state, found.due_on) == ("open", found.issued_on)

    run_over(account, tmp_path, act)


def test_an_invoice_that_is_paid_outside_of_stripe_has_one_payment_of_its_own_id(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = (await started(made)).references["invoice"]
        account.api.v1.invoices.pay(invoice, {"paid_out_of_band": True})
        found = await read(made, invoice)

        (payment,) = found.payments
        assert (found.state, found.balance) == ("paid", euros(0))
        assert (payment.id, payment.amount) == (f"{invoice}:out_of_band", euros(11_900))

    run_over(account, tmp_path, act)


def test_a_part_that_was_paid_is_a_payment_and_the_rest_is_the_balance(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made)
        invoice, customer = contract.references["invoice"], contract.references["customer"]
        method = account.api.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
        for amount, left in ((6_000, 5_900), (5_900, 0)):
            intent = account.api.v1.payment_intents.create(
                {"amount": amount, "currency": "eur", "payment_method": method, "confirm": True}
            )
            account.api.v1.invoices.attach_payment(invoice, {"payment_intent": intent.id})
            assert (await read(made, invoice)).balance == euros(left)
        found = await read(made, invoice)

        assert found.state == "paid"
        assert [each.amount for each in found.payments] == [euros(6_000), euros(5_900)]

    run_over(account, tmp_path, act)


def test_what_was_overpaid_is_a_part_of_the_last_payment(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = (await started(made)).references["invoice"]
        first = bank_transfer(account.api, invoice, 6_000)
        account.wait(60)
        last = bank_transfer(account.api, invoice, 7_000)
        found = await read(made, invoice)

        assert (found.state, found.balance) == ("paid", euros(0))
        assert [(each.id, each.amount, each.overpaid) for each in found.payments] == [
            (first, euros(6_000), None),
            (last, euros(7_000), euros(1_100)),
        ]

    run_over(account, tmp_path, act)


async def billed_again(account: StripeAccount, made: Bench[Billing], contract: Contract, cents: int) -> Invoice:
    """Bill an amount by hand, and return the invoice once it is paid."""
    customer, subscription = contract.references["customer"], contract.references["subscription"]
    draft = account.api.v1.invoices.create({"customer": customer, "subscription": subscription})
    item: Any = {"customer": customer, "amount": cents, "currency": "eur", "invoice": draft.id}
    account.api.v1.invoice_items.create(item)
    account.api.v1.invoices.finalize_invoice(draft.id)
    if account.account.get("invoice", draft.id)["status"] == "open":
        account.api.v1.invoices.pay(draft.id, {"paid_out_of_band": True})
    return await read(made, draft.id)


def test_what_was_too_small_to_be_charged_is_settled_with_the_next_payment(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, 30, "pm_card_visa")
        small = await read(made, contract.references["invoice"])
        (payment,) = (await billed_again(account, made, contract, 10_000)).payments
        (later,) = (await billed_again(account, made, contract, 10_000)).payments

        assert (small.total, small.payments) == (euros(36), ())
        assert (payment.amount, payment.overpaid, payment.settles) == (euros(10_036), euros(36), (small.id,))
        assert (later.amount, later.overpaid, later.settles) == (euros(10_000), None, ())

    run_over(account, tmp_path, act)


@pytest.mark.parametrize(("next_cents", "paid"), [(1_500, 400), (1_100, 0)])
def test_what_was_overpaid_is_settled_with_the_invoice_that_it_is_used_for(
    account: StripeAccount, tmp_path: Path, next_cents: int, paid: int
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made)
        first = contract.references["invoice"]
        bank_transfer(account.api, first, 13_000)
        found = await billed_again(account, made, contract, next_cents)

        assert (found.state, found.total) == ("paid", euros(next_cents))
        assert [(each.amount, each.overpaid, each.settles) for each in found.payments] == [
            (euros(paid), None, (first,))
        ]

    run_over(account, tmp_path, act)


def test_a_part_is_reported_when_it_arrives_and_what_completes_an_invoice_with_the_invoice(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        async def reported() -> list[tuple[str, str, str]]:
            """Return type, subject and payment of what the newest events about payments become."""
            found: list[tuple[str, str, str]] = []
            for event in account.account.all("event"):
                if event["type"] in ("invoice_payment.paid", "invoice.paid"):
                    body = msgspec.json.encode(as_sent({"api_version": None}, event))
                    headers = account.sign(body, made.clock(), account.webhook_secret)
                    made_of = await made.call(lambda body=body, headers=headers: made.connector.reported(headers, body))
                    if made_of:
                        one = made_of.event
                        found.append((one.type, one.subject, one.data.get("payment", "")))
            return found

        invoice = (await started(made)).references["invoice"]
        part = bank_transfer(account.api, invoice, 6_000)
        assert await reported() == [(PAYMENT_RECEIVED, invoice, part)]
        bank_transfer(account.api, invoice, 5_900)
        assert await reported() == [(INVOICE_PAID, invoice, "")]

    run_over(account, tmp_path, act)


def test_a_payment_that_completes_its_invoice_costs_no_look_at_it(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        await started(made, method="pm_card_visa")
        (event,) = (each for each in account.account.all("event") if each["type"] == "invoice_payment.paid")
        body = msgspec.json.encode(as_sent({"api_version": None}, event))
        headers = account.sign(body, made.clock(), account.webhook_secret)
        made.loopback.seen.clear()

        assert await made.call(lambda: made.connector.reported(headers, body)) is None
        assert made.loopback.seen == []

    run_over(account, tmp_path, act)


def test_a_bank_transfer_that_was_reported_to_stripe_is_a_payment_of_its_own_id(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = (await started(made)).references["invoice"]
        transfer = bank_transfer(account.api, invoice, 11_900)

        (payment,) = (await read(made, invoice)).payments
        assert (payment.id, payment.amount) == (transfer, euros(11_900))

    run_over(account, tmp_path, act)


def test_a_direct_debit_is_a_payment_on_the_day_that_it_arrives(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = (await started(made, method="pm_success_de")).references["invoice"]
        before = await read(made, invoice)
        account.wait(6 * 24 * 3600)
        after = await read(made, invoice)

        assert (before.state, before.balance, before.payments) == ("open", euros(11_900), ())
        assert after.state == "paid"
        assert (after.payments[0].received_on - before.issued_on).days == 6

    run_over(account, tmp_path, act)


@pytest.mark.parametrize("method", ["pm_success_de", "pm_card_chargeCustomerFail"])
def test_a_contract_that_is_started_again_days_later_is_not_charged_again(
    account: StripeAccount, tmp_path: Path, method: str
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method=method)
        account.wait(2 * 24 * 3600)
        before = len(list(account.account.all("charge")))
        again = await made.call(lambda: made.connector.start(contract))

        assert again.references == contract.references
        assert len(list(account.account.all("charge"))) == before

    run_over(account, tmp_path, act)


@pytest.mark.parametrize("cents", [0, 30])
def test_what_is_not_charged_is_paid_without_a_payment(account: StripeAccount, tmp_path: Path, cents: int) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = (await started(made, cents, "pm_card_visa")).references["invoice"]
        found = await read(made, invoice)

        assert (found.state, found.balance, found.payments) == ("paid", euros(0), ())
        assert found.lines[0].net == euros(cents)

    run_over(account, tmp_path, act)


@pytest.mark.parametrize(("action", "state"), [("void_invoice", "void"), ("mark_uncollectible", "uncollectible")])
def test_an_invoice_that_was_voided_or_written_off_says_so(
    account: StripeAccount, tmp_path: Path, action: str, state: str
) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = (await started(made)).references["invoice"]
        getattr(account.api.v1.invoices, action)(invoice)

        assert (await read(made, invoice)).state == state

    run_over(account, tmp_path, act)


@pytest.mark.parametrize("given_up", [False, True])
def test_a_payment_of_an_invoice_that_was_written_off_says_so(
    account: StripeAccount, tmp_path: Path, *, given_up: bool
) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = (await started(made)).references["invoice"]
        if given_up:
            account.api.v1.invoices.mark_uncollectible(invoice)
        account.api.v1.invoices.pay(invoice, {"paid_out_of_band": True})

        found = await read(made, invoice)
        assert (found.state, [each.recovered for each in found.payments]) == ("paid", [given_up])

    run_over(account, tmp_path, act)


def test_what_starts_later_is_billed_from_its_first_day_and_not_before(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_card_visa", in_days=60)
        again = await made.call(lambda: made.connector.start(contract))
        account.wait(58 * 24 * 3600)
        before = await account.invoices("con_1")
        account.wait(3 * 24 * 3600)
        for _ in ("it is finalized after an hour", "and charged"):
            account.wait(2 * 3600)
        (issued,) = await account.invoices("con_1")
        found = await read(made, issued)

        assert (contract.state, again, before) == ("active", contract, [])
        assert "invoice" not in contract.references
        assert (found.state, found.lines[0].period_start) == ("paid", contract.starts_on)

    run_over(account, tmp_path, act)


def test_nothing_is_billed_while_the_lines_of_a_contract_are_not_delivered(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        buyer = samples.customer("cus_1", payment_method="pm_card_visa")
        reference = await made.call(lambda: made.connector.put_customer(buyer))
        lines = (samples.priced_line("lin_1", "SEAT", euros(10_000)),)
        overdue = samples.contract("con_1", "cus_1", reference, lines, made.clock().date() - timedelta(days=200))
        await made.call(lambda: made.connector.put_contract(overdue, "correlation-1"))
        account.wait(300 * 24 * 3600)

        assert await account.invoices("con_1") == []

    run_over(account, tmp_path, act)


def test_the_day_of_an_invoice_is_that_of_its_sellers_books(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = (await started(made)).references["invoice"]
        source = account.account.get("invoice", invoice)
        late = int(datetime(2026, 12, 31, 23, 30, tzinfo=UTC).timestamp())
        finalized = source | {"status_transitions": source["status_transitions"] | {"finalized_at": late}}
        rates = defaultdict[str, Rate](lambda: Rate("standard", Decimal(19)))
        days = [
            invoices.invoice(finalized, [], [], rates, {}, lambda _, zone=zone: ZoneInfo(zone)).issued_on
            for zone in ("Europe/Berlin", "America/New_York")
        ]

        assert days == [date(2027, 1, 1), date(2026, 12, 31)]

    run_over(account, tmp_path, act)


def test_a_line_that_was_made_by_hand_is_one_piece_of_its_amount(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made)
        customer, subscription = contract.references["customer"], contract.references["subscription"]
        draft = account.api.v1.invoices.create({"customer": customer, "subscription": subscription})
        account.api.v1.invoice_items.create(
            {"customer": customer, "amount": 2_500, "currency": "eur", "invoice": draft.id}
        )
        account.api.v1.invoices.finalize_invoice(draft.id)
        found = await read(made, draft.id)

        (line,) = found.lines
        assert (found.contract_id, found.total) == ("con_1", euros(2_500))
        assert (line.sku, line.description, line.quantity, line.net) == ("", "", 1, euros(2_500))

    run_over(account, tmp_path, act)


@pytest.mark.parametrize("kind", ["payment_intent", "charge", "payment_record"])
def test_a_payment_is_known_by_what_it_is_at_stripe(account: StripeAccount, tmp_path: Path, kind: str) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = (await started(made, method="pm_card_visa")).references["invoice"]
        (row,) = account.stand_in.invoicing.payments(invoice)
        paid: Any = row | {"payment": {"type": kind, kind: "its_id"}}
        source = account.account.get("invoice", invoice)
        rates = defaultdict[str, Rate](lambda: Rate("standard", Decimal(19)))
        (payment,) = invoices.invoice(source, source["lines"]["data"], [paid], rates, {}, lambda _: UTC).payments

        assert (payment.id, payment.amount) == ("its_id", euros(11_900))

    run_over(account, tmp_path, act)


@pytest.mark.parametrize("version", ["2024-06-20", "2025-02-24.acacia", None])
def test_an_event_in_an_older_version_is_read_under_our_own(
    account: StripeAccount, tmp_path: Path, version: str | None
) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = (await started(made)).references["invoice"]
        endpoint: Any = {"api_version": version}
        (event,) = (each for each in account.account.all("event") if each["type"] == "invoice.finalized")
        made.loopback.seen.clear()
        body = msgspec.json.encode(as_sent(endpoint, event))
        headers = account.sign(body, made.clock(), account.webhook_secret)
        reported = await made.call(lambda: made.connector.reported(headers, body))

        assert reported
        assert (reported.event.subject, reported.event.data["contract"]) == (invoice, "con_1")
        assert reported.correlation_id == "correlation-1"
        assert len(made.loopback.seen) == (1 if version else 0)

    run_over(account, tmp_path, act)


def test_an_event_in_an_older_version_about_an_invoice_that_is_gone_is_of_no_interest(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        data: Any = {"object": {"id": "in_gone", "object": "invoice"}}
        event = account.account.make("event", type="invoice.paid", data=data, api_version="2024-06-20")
        body = msgspec.json.encode(event)
        headers = account.sign(body, made.clock(), account.webhook_secret)

        assert await made.call(lambda: made.connector.reported(headers, body)) is None

    run_over(account, tmp_path, act)


def test_a_contract_that_was_cancelled_is_not_taken_for_started(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made)
        await made.call(lambda: made.connector.cancel(contract))

        fault = await made.fault(lambda: made.connector.start(contract))

        assert isinstance(fault, Rejected)
        assert fault.field == "state"

    run_over(account, tmp_path, act)


def test_what_no_webhook_has_brought_is_found_by_a_look_and_what_one_has_brought_is_not_offered_again(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        taken = KitIntake()
        await made.connector.look(taken)
        invoice = (await started(made, method="pm_card_visa")).references["invoice"]
        (finalized,) = (each for each in account.account.all("event") if each["type"] == "invoice.finalized")
        body = msgspec.json.encode(as_sent({"api_version": None}, finalized))
        headers = account.sign(body, made.clock(), account.webhook_secret)
        brought = await made.call(lambda: made.connector.reported(headers, body))
        assert brought is not None
        made.connector.taken(brought.event)

        await made.connector.look(taken)
        await made.connector.look(taken)

        assert [(each.type, each.subject) for each in taken.events] == [(INVOICE_PAID, invoice)]

    run_over(account, tmp_path, act)


def test_a_look_begins_again_where_an_older_position_says(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        await made.connector.look(KitIntake())
        before = (made.folder / "position").read_bytes()
        invoice = (await started(made, method="pm_card_visa")).references["invoice"]
        made.offset = timedelta(days=2)
        account.wait(2 * 24 * 3600)
        await made.connector.look(KitIntake())
        unmoved = KitIntake()
        await made.connect().look(unmoved)
        (made.folder / "position").write_bytes(before)
        restored, away = KitIntake(), KitIntakeThatIsAway()

        with pytest.raises(Unavailable):
            await made.connect().look(away)
        await made.connect().look(restored)

        assert unmoved.events == []
        assert [(each.type, each.subject) for each in restored.events] == [
            (INVOICE_FINALIZED, invoice),
            (INVOICE_PAID, invoice),
        ]

    run_over(account, tmp_path, act)


class KitIntakeThatIsAway(KitIntake):
    async def offer(self, event: Event, correlation_id: str) -> None:
        raise Unavailable("process", f"no answer about {event.id} in {correlation_id}")

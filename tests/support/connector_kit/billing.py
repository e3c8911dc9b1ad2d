"""What is asked of a billing connector."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from canonical.amendments import ContractChange
from canonical.billing import Contract, Invoice
from canonical.corrections import Correctable, CreditedLine, CreditOrder, InvoiceEnd, RefundOrder
from canonical.credits import CreditedPart
from canonical.disputes import Dispute, Evidence
from canonical.events import Event
from canonical.faults import NotFound, Rejected
from canonical.money import Money
from canonical.parties import CustomerCopy
from system_apis.billing.port import Billing
from tests.support.connector_kit import samples
from tests.support.connector_kit.kit import NAME, Act, Put, behaviour
from tests.support.connector_kit.subject import LEGAL_ENTITY
from tests.support.connector_kit.webhooks import Headers, WebhookKit, WebhookSubject

PRICE = Money(12345, "EUR")
EVIDENCE = Evidence("they use it every day", product="Seats", no_refund="nobody has asked for one")
WRITTEN_OTHERWISE = (Money(12345, "ISK"), Money(12345, "UGX"), Money(1230000, "MGA"))
"""Amounts in currencies that some platforms write with other digits than ISO 4217."""


class BillingSubject(WebhookSubject[Billing]):
    """A billing platform, as its own users see it."""

    domain = "billing"
    disputed: str
    """A payment method whose payments the bank disputes."""
    page: int
    """How many records the platform lists at a time: make it small."""

    @abstractmethod
    async def customers(self, customer_id: str) -> list[tuple[str, str]]:
        """Return the platform's own id and the name of each customer of ours with this id."""

    @abstractmethod
    async def contracts(self, contract_id: str) -> int:
        """Return how many schedules the platform holds for a contract of ours."""

    @abstractmethod
    async def invoices(self, contract_id: str) -> list[str]:
        """Return the platform's own ids of the invoices of a contract of ours."""

    @abstractmethod
    async def delete_customer(self, reference: str) -> None:
        """Delete a customer by the platform's own id."""

    @abstractmethod
    async def credit(self, invoice_id: str, *, refunded: bool = False, half: bool = False) -> str:
        """Issue a credit note of all lines of an invoice, or of half of each, off what is due or refunded. Return the
        platform's id."""

    @abstractmethod
    async def void(self, credit_note_id: str) -> None:
        """Void a credit note."""

    @abstractmethod
    async def refund(self, invoice_id: str, amount: Money) -> str:
        """Refund a part of what was paid for an invoice. Return the platform's id."""

    @abstractmethod
    async def dispute(self, contract_id: str) -> str:
        """Let the bank of the customer dispute what was paid with `disputed` for a contract. Return the platform's id
        of the dispute, which takes an answer."""

    @abstractmethod
    def set_clock(self, now: datetime) -> None:
        """Set the platform's clock: what is issued now is issued then."""

    @abstractmethod
    async def refused(self, connector: Billing) -> tuple[Act, str]:
        """Return a call that the platform refuses, and the field that it names."""


class BillingKit(WebhookKit[Billing, BillingSubject]):
    """A subject's connector, as `system_apis.billing.port` wants it."""

    def puts(self) -> Sequence[Put]:
        return (
            Put("customer", self._customer, self._customers),
            Put("contract", self._contract, self.subject.contracts),
            Put("start", self._start, self._invoices),
            Put("change", self._change, self._invoices_of_change),
            Put("credited", self._credit, self._credit_notes),
            Put("refunded", self._refund, self._refunds),
            Put("answer", self._answering, self._answered),
        )

    async def read(self) -> Act:
        started = await self.bench.settled(await self._start("read"))
        assert isinstance(started, Contract)
        (invoice_id,) = await self.subject.invoices(started.id)
        return lambda: self.connector.invoice(invoice_id)

    async def missing(self) -> Sequence[Act]:
        return (
            lambda: self.connector.invoice("in_missing"),
            lambda: self.connector.credit_note("cn_missing"),
            lambda: self.connector.reversal("re_missing"),
            lambda: self.connector.correctable("in_missing"),
            lambda: self.connector.void_invoice(InvoiceEnd("in_missing", LEGAL_ENTITY)),
            lambda: self.connector.write_off_invoice(InvoiceEnd("in_missing", LEGAL_ENTITY)),
            lambda: self.connector.dispute("du_missing"),
        )

    async def refused(self) -> tuple[Act, str]:
        return await self.subject.refused(self.connector)

    async def named(self, key: str) -> tuple[Act | None, Callable[[], Awaitable[str]]]:
        async def stored() -> str:
            return (await self.subject.customers(key))[0][1]

        return (lambda: self.connector.put_customer(samples.customer(key, NAME))), stored

    async def reported(self, headers: Headers, body: bytes) -> Event | None:
        report = await self.bench.call(lambda: self.connector.reported(headers, body))
        return report.event if report else None

    @behaviour
    async def a_list_of_several_pages_is_read_whole_while_it_grows(self) -> None:
        """Find a contract behind pages of others, while more of them come in."""
        reference = await self.bench.settled(lambda: self.connector.put_customer(samples.customer("paged")))
        contracts = [self._sample(f"paged-{place}", "paged", reference) for place in range(3 * self.subject.page)]
        for each in contracts:
            await self.bench.settled(lambda each=each: self.connector.put_contract(each, "correlation-1"))
        more = iter(range(3))
        writer = self.bench.connect()

        async def add(_: object) -> None:
            self.loopback.before = None  # not for what is added itself
            if (place := next(more, None)) is not None:
                await writer.put_contract(self._sample(f"added-{place}", "paged", reference), "correlation-1")

        for each in (contracts[0], contracts[-1]):
            self.loopback.before = add
            await self.bench.settled(lambda each=each: self.connector.put_contract(each, "correlation-1"))
            assert await self.subject.contracts(each.id) == 1

    @behaviour
    async def what_is_held_of_a_customer_is_read_as_it_was_written(self) -> None:
        made = samples.customer("copied", tax_number="DE129273398")
        reference = await self.bench.settled(lambda: self.connector.put_customer(made))
        copy = await self.bench.settled(lambda: self.connector.customer_copy(made))
        mail = made.contact.email if made.contact else ""
        assert copy == CustomerCopy(reference, made.name, made.address, mail, made.tax_number or "")
        fault = await self.bench.fault(lambda: self.connector.customer_copy(samples.customer("missing")))
        assert isinstance(fault, NotFound), repr(fault)

    @behaviour
    async def amounts_are_the_same_in_currencies_with_none_two_and_three_digits(self) -> None:
        for price in (*samples.PRICES, *WRITTEN_OTHERWISE):
            found = await self._first_invoice(f"in-{price.currency}", price)
            tax = price.times(samples.TAX_PERCENT / 100)
            assert (found.total, found.tax, found.lines[0].net) == (price + tax, tax, price)

    @behaviour
    async def an_invoice_of_a_moment_near_midnight_is_of_that_day_in_utc(self) -> None:
        midnight = datetime(self.bench.clock().year, 6, 1, tzinfo=UTC)
        for place, at in enumerate((midnight - timedelta(seconds=1), midnight)):
            self.subject.set_clock(at)
            assert (await self._first_invoice(f"midnight-{place}", PRICE)).issued_on == at.date()

    @behaviour
    async def what_is_left_to_be_paid_is_said_until_it_is_given_up_and_that_is_done_once(self) -> None:
        for price in (*samples.PRICES, *WRITTEN_OTHERWISE):
            contract = await self.bench.settled(await self._start(f"owes-{price.currency}", price))
            assert isinstance(contract, Contract)
            (key,) = await self.subject.invoices(contract.id)
            owed = await self.bench.settled(lambda key=key: self.connector.invoice(key))
            found = await self.bench.settled(lambda contract=contract: self.connector.open_invoices(contract))
            ((left,), is_over) = found.items, found.is_over
            assert not is_over
            assert (left.id, left.due, left.is_overdue, left.returned) == (key, owed.balance, False, False)
            for _ in range(2):
                given = InvoiceEnd(key, contract.legal_entity)
                await self.bench.settled(lambda given=given: self.connector.write_off_invoice(given))
            rest = await self.bench.settled(lambda contract=contract: self.connector.open_invoices(contract))
            assert rest.items == ()
            given_up = await self.bench.settled(lambda key=key: self.connector.invoice(key))
            assert given_up.state == "uncollectible"

    @behaviour
    async def what_is_paid_is_not_left_and_is_not_given_up(self) -> None:
        paid = await self._first_invoice("pays", PRICE, payment_method="pm_card_visa")
        started = await self.bench.settled(await self._start("pays", PRICE, payment_method="pm_card_visa"))
        assert isinstance(started, Contract)
        given = InvoiceEnd(paid.id, paid.legal_entity)
        assert isinstance(await self.bench.fault(lambda: self.connector.write_off_invoice(given)), Rejected)
        assert (await self.bench.settled(lambda: self.connector.open_invoices(started))).items == ()
        assert (await self.bench.settled(lambda: self.connector.invoice(paid.id))).state == "paid"

    @behaviour
    async def a_credit_note_of_what_is_due_is_read_as_it_was_issued_and_voided(self) -> None:
        for price in (*samples.PRICES, *WRITTEN_OTHERWISE):
            invoice = await self._first_invoice(f"due-{price.currency}", price)
            issued = await self.subject.credit(invoice.id)
            note = await self.bench.settled(lambda issued=issued: self.connector.credit_note(issued))
            zero = Money.zero(price.currency)
            assert (note.state, note.invoice_id, note.contract_id) == ("issued", invoice.id, invoice.contract_id)
            assert (note.total, note.tax, note.off_due) == (invoice.total, invoice.tax, invoice.total)
            assert (note.refunded, note.to_balance, note.outside, note.refunds) == (zero, zero, zero, ())
            credited = [(each.sku, each.net, each.tax, each.taxes) for each in note.lines]
            assert credited == [(each.sku, each.net, each.tax, each.taxes) for each in invoice.lines]
            left = await self.bench.settled(lambda invoice=invoice: self.connector.invoice(invoice.id))
            assert (left.total, left.balance, left.state, left.payments) == (invoice.total, zero, "paid", ())

    @behaviour
    async def a_credit_note_that_is_void_is_read_as_such(self) -> None:
        invoice = await self._first_invoice("void", PRICE)
        issued = await self.subject.credit(invoice.id, half=True)
        await self.subject.void(issued)
        void = await self.bench.settled(lambda: self.connector.credit_note(issued))
        assert (void.state, void.cancelled_on) == ("void", self.bench.clock().date())
        assert void.total - void.tax == sum((each.net for each in void.lines), Money.zero(PRICE.currency))

    @behaviour
    async def what_went_back_is_read_with_its_payment_and_its_credit_note(self) -> None:
        invoice = await self._first_invoice("back", PRICE, payment_method="pm_card_visa")
        (payment,) = invoice.payments
        part = Money(1000, PRICE.currency)
        alone = await self.subject.refund(invoice.id, part)
        found = await self.bench.settled(lambda: self.connector.reversal(alone))
        assert (found.kind, found.invoice_id, found.payment_id) == ("refund", invoice.id, payment.id)
        assert (found.amount, found.credited, found.unexplained) == (part, (), part)
        other = await self._first_invoice("back-2", PRICE, payment_method="pm_card_visa")
        note_id = await self.subject.credit(other.id, refunded=True)
        note = await self.bench.settled(lambda: self.connector.credit_note(note_id))
        assert (note.total, note.refunded, note.off_due) == (other.total, other.total, Money.zero(PRICE.currency))
        (named,) = note.refunds
        refund = await self.bench.settled(lambda: self.connector.reversal(named.id))
        assert (refund.credited, refund.amount, named.amount) == (
            (CreditedPart(note_id, other.total),),
            other.total,
            other.total,
        )
        unchanged = await self.bench.settled(lambda: self.connector.invoice(other.id))
        assert (unchanged.state, unchanged.payments) == ("paid", other.payments)

    @behaviour
    async def a_dispute_is_read_with_what_it_has_cost_and_is_answered_once(self) -> None:
        opened = await self._disputed("disputed")
        for _ in range(2):
            answered = await self.bench.settled(lambda: self.connector.answer_dispute(opened.id, EVIDENCE))
            assert (answered.state, answered.answered, answered.fees) == ("answered", True, opened.fees)
        await self._takes_nothing(opened.id)

    @behaviour
    async def a_dispute_that_is_accepted_is_lost(self) -> None:
        opened = await self._disputed("accepted")
        for _ in range(2):
            lost = await self.bench.settled(lambda: self.connector.accept_dispute(opened.id))
            assert (lost.state, lost.answered, lost.fees) == ("lost", False, opened.fees)
        fault = await self.bench.fault(lambda: self.connector.answer_dispute(opened.id, EVIDENCE))
        assert (type(fault), fault.field) == (Rejected, "state")

    @behaviour
    async def a_cancelled_contract_stays_cancelled_and_one_that_is_not_there_is_cancelled_already(self) -> None:
        made = await self.bench.settled(await self._contract("cancelled"))
        assert isinstance(made, Contract)
        for _ in range(2):
            await self.bench.settled(lambda: self.connector.cancel(made))
        await self.bench.settled(lambda: self.connector.cancel(msgspec.structs.replace(made, id="con_none")))

    @behaviour
    async def a_deleted_customer_is_created_again_and_has_no_contracts(self) -> None:
        made = await self.bench.settled(await self._contract("deleted"))
        assert isinstance(made, Contract)
        await self.subject.delete_customer(made.references["customer"])
        other = msgspec.structs.replace(made, id="con_other")
        fault = await self.bench.fault(lambda: self.connector.put_contract(other, "correlation-1"))
        assert isinstance(fault, NotFound), repr(fault)
        await self.bench.settled(await self._customer("deleted"))
        assert await self._customers("deleted") == 1

    @behaviour
    async def a_change_is_charged_as_it_was_previewed_in_currencies_with_none_two_and_three_digits(self) -> None:
        for price in samples.PRICES:
            key = f"changed-{price.currency}"
            started = await self.bench.settled(await self._start(key, price))
            assert isinstance(started, Contract)
            change = self._amendment(started, 3)
            preview = await self.bench.settled(
                lambda change=change: self.connector.preview_change(change, "correlation-1")
            )
            assert await self._invoices_of_change(key) == 0
            changed = await self.bench.settled(lambda change=change: self.connector.change(change, "correlation-1"))
            issued = [
                await self.bench.settled(lambda each=each: self.connector.invoice(each))
                for each in changed.named("invoice")
            ]
            assert [(each.invoice.total, each.invoice.tax) for each in preview.invoices] == [
                (each.total, each.tax) for each in issued
            ]
            assert [[line.net for line in each.invoice.lines] for each in preview.invoices] == [
                [line.net for line in each.lines] for each in issued
            ]
            assert [len(each.parts) for each in preview.invoices] == [len(each.lines) for each in issued]

    @behaviour
    async def what_cannot_be_changed_is_refused_or_not_found(self) -> None:
        started = await self.bench.settled(await self._start("unchanged"))
        assert isinstance(started, Contract)
        change = self._amendment(started, 3)
        early = msgspec.structs.replace(change, effective_at=change.effective_at - timedelta(days=1))
        unknown = msgspec.structs.replace(change, contract=msgspec.structs.replace(started, id="con_none"))
        for each, kind in ((early, Rejected), (unknown, NotFound)):
            for call in (self.connector.preview_change, self.connector.change):
                fault = await self.bench.fault(lambda call=call, each=each: call(each, "correlation-1"))
                assert isinstance(fault, kind), repr(fault)
                assert each is unknown or fault.field == "effective_at"
        assert await self._invoices("unchanged") == 1

    @behaviour
    async def a_credit_note_is_issued_as_it_was_previewed_in_currencies_with_none_two_and_three_digits(self) -> None:
        for price in samples.PRICES:
            invoice = await self._first_invoice(f"issued-{price.currency}", price)
            order = await self._order(f"crc_{price.currency}", invoice)
            said = await self.bench.settled(lambda order=order: self.connector.preview_credit_note(order))
            assert (await self._correctable(invoice)).credited == Money.zero(price.currency)
            note = await self.bench.settled(lambda order=order: self.connector.issue_credit_note(order))
            assert (said.id, said.total, said.tax, said.off_due) == (order.id, note.total, note.tax, note.off_due)
            assert [(each.id, each.net, each.tax) for each in said.lines] == [
                (each.id, each.net, each.tax) for each in note.lines
            ]
            left = await self._correctable(invoice)
            assert (left.credited, left.invoice.balance) == (note.total, invoice.balance - note.off_due)
            again = await self.bench.fault(lambda invoice=invoice: self._more(invoice))
            assert isinstance(again, Rejected), repr(again)
            assert (await self._correctable(invoice)).credited == note.total

    @behaviour
    async def more_than_is_left_of_a_payment_is_refused_and_an_invoice_ends_once(self) -> None:
        paid = await self._first_invoice("ends-paid", PRICE, payment_method="pm_card_visa")
        (payment,) = paid.payments
        more = RefundOrder("crc_more", paid.id, LEGAL_ENTITY, payment.id, payment.amount + Money(1, "EUR"))
        open_one = await self._first_invoice("ends-open", PRICE)
        end = InvoiceEnd(open_one.id, LEGAL_ENTITY)
        for _ in range(2):
            off = await self.bench.settled(lambda: self.connector.write_off_invoice(end))
            assert off.state == "uncollectible"
        for _ in range(2):
            void = await self.bench.settled(lambda: self.connector.void_invoice(end))
            assert void.state == "void"
        ended = InvoiceEnd(paid.id, LEGAL_ENTITY)
        refused: tuple[Act, ...] = (
            lambda: self.connector.refund_payment(more),
            lambda: self.connector.void_invoice(ended),
            lambda: self.connector.write_off_invoice(ended),
            lambda: self.connector.write_off_invoice(end),
        )
        for each in refused:
            fault = await self.bench.fault(each)
            assert isinstance(fault, Rejected), repr(fault)
        (part,) = (await self._correctable(paid)).payments
        assert part.refundable == payment.amount

    # ---- the calls

    async def _correctable(self, invoice: Invoice) -> Correctable:
        return await self.bench.settled(lambda: self.connector.correctable(invoice.id))

    async def _order(self, key: str, invoice: Invoice) -> CreditOrder:
        """Return an order to credit all of an invoice that is open."""
        zero, found = Money.zero(invoice.total.currency), await self._correctable(invoice)
        lines = tuple(CreditedLine(each.line.id, each.quantity) for each in found.lines)
        return CreditOrder(key, invoice.id, LEGAL_ENTITY, lines, zero, zero, zero, text="Too much")

    async def _more(self, invoice: Invoice) -> object:
        """Credit one piece more of each line than there is."""
        zero, found = Money.zero(invoice.total.currency), await self._correctable(invoice)
        lines = tuple(CreditedLine(each.line.id, 1) for each in found.lines)
        order = CreditOrder("crc_more", invoice.id, LEGAL_ENTITY, lines, zero, zero, zero)
        return await self.connector.issue_credit_note(order)

    async def _credit(self, key: str) -> Act:
        invoice = await self._first_invoice(f"{key}-credited", PRICE)
        order = await self._order(f"crc_{key}", invoice)
        return lambda: self.connector.issue_credit_note(order)

    async def _credit_notes(self, key: str) -> int:
        found = await self._of(f"{key}-credited")
        return found.credited.amount // found.invoice.total.amount if found else 0

    async def _refund(self, key: str) -> Act:
        """Return a refund of a small part of what was paid: several of them would be possible."""
        invoice = await self._first_invoice(f"{key}-refunded", PRICE, payment_method="pm_card_visa")
        order = RefundOrder(f"crc_{key}", invoice.id, LEGAL_ENTITY, invoice.payments[0].id, Money(1000, "EUR"))
        return lambda: self.connector.refund_payment(order)

    async def _refunds(self, key: str) -> int:
        found = await self._of(f"{key}-refunded")
        return sum(each.amount.amount for each in found.unexplained) // 1000 if found else 0

    async def _of(self, key: str) -> Correctable | None:
        """Return what can be corrected of the invoice of a contract, if there is one."""
        found = await self.subject.invoices(key)
        if not found:
            return None
        return await self.bench.settled(lambda: self.connector.correctable(found[0]))

    async def _customers(self, key: str) -> int:
        return len(await self.subject.customers(key))

    async def _invoices(self, key: str) -> int:
        return len(await self.subject.invoices(key))

    async def _customer(self, key: str) -> Act:
        return lambda: self.connector.put_customer(samples.customer(key))

    async def _contract(self, key: str, price: Money = PRICE, **facts: Any) -> Act:
        reference = await self.bench.settled(lambda: self.connector.put_customer(samples.customer(key, **facts)))
        made = self._sample(key, key, reference, price)
        return lambda: self.connector.put_contract(made, "correlation-1")

    async def _start(self, key: str, price: Money = PRICE, **facts: Any) -> Act:
        made = await self.bench.settled(await self._contract(key, price, **facts))
        assert isinstance(made, Contract)
        return lambda: self.connector.start(made)

    async def _disputed(self, key: str) -> Dispute:
        """Return the dispute of a payment, which nobody has answered."""
        invoice = await self._first_invoice(key, PRICE, payment_method=self.subject.disputed)
        opened = await self.bench.settled(self._dispute_of(await self.subject.dispute(key)))
        assert (opened.state, opened.invoice_id, opened.amount) == ("open", invoice.id, invoice.total)
        assert [opened.payment_id] == [each.id for each in invoice.payments]
        assert opened.respond_by is not None
        assert opened.respond_by > self.bench.clock()
        assert [(each.dispute_id, each.amount.amount > 0) for each in opened.fees] == [(opened.id, True)]
        return opened

    async def _takes_nothing(self, key: str) -> None:
        """Check that a dispute that was answered takes no other answer, and is not given up."""
        for late in (
            lambda: self.connector.answer_dispute(key, Evidence("something else")),
            lambda: self.connector.accept_dispute(key),
        ):
            fault = await self.bench.fault(late)
            assert (type(fault), fault.field) == (Rejected, "state")

    def _dispute_of(self, key: str) -> Callable[[], Awaitable[Dispute]]:
        return lambda: self.connector.dispute(key)

    async def _answering(self, key: str) -> Act:
        await self._first_invoice(f"answered.{key}", PRICE, payment_method=self.subject.disputed)
        about = await self.subject.dispute(f"answered.{key}")
        return lambda: self.connector.answer_dispute(about, EVIDENCE)

    async def _answered(self, key: str) -> int:
        about = await self.subject.dispute(f"answered.{key}")
        return int((await self.bench.settled(self._dispute_of(about))).answered)

    async def _change(self, key: str) -> Act:
        """Return a change of a contract that runs, whose first invoice is there already."""
        started = await self.bench.settled(await self._start(key))
        assert isinstance(started, Contract)
        change = self._amendment(started, 3)
        return lambda: self.connector.change(change, "correlation-1")

    async def _invoices_of_change(self, key: str) -> int:
        return await self._invoices(key) - 1

    def _amendment(self, contract: Contract, quantity: int) -> ContractChange:
        """Return a change of the quantity of each line, from now on."""
        lines = tuple(msgspec.structs.replace(each, quantity=quantity) for each in contract.lines)
        now = self.bench.clock().replace(microsecond=0)
        return ContractChange(f"amd_{contract.id}", contract, lines, now)

    async def _first_invoice(self, key: str, price: Money, **facts: Any) -> Invoice:
        started = await self.bench.settled(await self._start(key, price, **facts))
        assert isinstance(started, Contract)
        (invoice_id,) = await self.subject.invoices(key)
        return await self.bench.settled(lambda: self.connector.invoice(invoice_id))

    def _sample(self, key: str, customer_id: str, reference: str, price: Money = PRICE) -> Contract:
        lines = tuple(samples.priced_line(f"lin_{key}.{place}", f"SKU-{key}", price) for place in (1,))
        return samples.contract(key, customer_id, reference, lines, self.bench.clock().date())

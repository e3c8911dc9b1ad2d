"""What is asked of an ERP connector."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from fractions import Fraction

import msgspec
from msgspec.structs import replace

from canonical.billing import Invoice, InvoiceState, InvoiceToPost, LineTax, Payment, Posting
from canonical.credits import CreditedPart, CreditNote, PaymentReversal, RefundPart
from canonical.faults import TRANSIENT, Conflict, NotFound, PlatformFault, Rejected
from canonical.money import Money
from canonical.parties import CustomerCopy, Product
from system_apis.erp.port import Erp, put_invoice
from tests.support.connector_kit import samples
from tests.support.connector_kit.kit import MAX_WRITES, NAME, Act, Kit, Put, behaviour
from tests.support.connector_kit.subject import LEGAL_ENTITY, Subject

CANCELLED: tuple[InvoiceState, ...] = ("void", "uncollectible")
NETS = (Money(12345, "EUR"), Money(99, "EUR"), Money(100_000, "EUR"))


class ErpSubject(Subject[Erp]):
    """An ERP, as its own users see it. It has the company DE01, with 19 % tax, books for this year, and `sku`."""

    domain = "erp"
    sku: str

    @abstractmethod
    async def customers(self, customer_id: str) -> list[str]:
        """Return the name of each customer with this id of ours."""

    @abstractmethod
    async def posted(self, invoice_id: str) -> int:
        """Return how many posted invoices there are for one of billing's."""

    @abstractmethod
    async def records(self, invoice_id: str) -> int:
        """Return how many invoices there are for one of billing's, in whatever state, and those that a preview made."""

    @abstractmethod
    async def payments(self, payment_id: str) -> int:
        """Return how many payments are booked for one of billing's."""

    @abstractmethod
    async def delete_customer(self, customer_id: str) -> None:
        """Delete a customer that nothing was booked for."""


class ErpKit(Kit[Erp, ErpSubject]):
    """A subject's connector, as `system_apis.erp.port` wants it."""

    ALIKE = ("k", "k.1", "k:1")  # what has to be there for a payment takes an ERP some time

    def troubled(self) -> Sequence[Put]:
        return self.puts()[:2]

    def puts(self) -> Sequence[Put]:
        return (
            Put("customer", self._customer, self._customers),
            Put("invoices", self._batch, self._posted_of_batch),
            Put("payment", self._payment, self._payments),
            Put("credit note", self._credit_note, self._credit_notes),
            Put("reversal", self._reversal, self._reversals),
            Put("fee", self._fee, self._fees),
        )

    async def read(self) -> Act:
        return lambda: self.connector.legal_entity(LEGAL_ENTITY)

    async def missing(self) -> Sequence[Act]:
        unknown = self._sample("unknown")
        return (
            lambda: self.connector.posting("in_missing", LEGAL_ENTITY),
            lambda: self.connector.legal_entity("ZZ99"),
            lambda: put_invoice(self.connector, msgspec.structs.replace(unknown, customer_id="cus_none"), "next"),
        )

    async def refused(self) -> tuple[Act, str]:
        await self.bench.settled(await self._customer("refused"))
        lines = tuple(msgspec.structs.replace(each, sku="NONE") for each in self._sample("refused").lines)
        made = msgspec.structs.replace(self._sample("refused"), lines=lines)
        return (lambda: put_invoice(self.connector, made, "next")), "sku"

    async def named(self, key: str) -> tuple[Act | None, Callable[[], Awaitable[str]]]:
        async def stored() -> str:
            return (await self.subject.customers(key))[0]

        return (lambda: self.connector.put_customer(samples.customer(key, NAME))), stored

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
        await self.bench.settled(await self._customer("money"))
        for price in samples.PRICES:
            made = samples.invoice(f"in_{price.currency}", "money", self.subject.sku, (price,), self._today())
            posting = await self.bench.settled(lambda made=made: put_invoice(self.connector, made, "next"))
            assert (posting.total, posting.tax, posting.balance) == (made.total, made.tax, made.total)
            paid = await self.bench.settled(
                lambda made=made: self.connector.put_payment(samples.payment(made), LEGAL_ENTITY, "next")
            )
            assert paid.balance == Money.zero(price.currency)

    @behaviour
    async def an_invoice_is_posted_on_its_own_day_whatever_the_time(self) -> None:
        await self.bench.settled(await self._customer("days"))
        made = self._sample("days")
        self.bench.offset = timedelta(days=1)
        posting = await self.bench.settled(lambda: put_invoice(self.connector, made, "next"))
        assert (posting.posted_on, posting.reference) == (made.issued_on, made.id)

    @behaviour
    async def one_bad_invoice_of_a_batch_never_stops_the_others(self) -> None:
        await self.bench.settled(await self._customer("mixed"))
        good, there, totals, product, lost, last = (
            msgspec.structs.replace(self._sample("mixed"), id=f"in_mixed_{place}") for place in range(6)
        )
        await self.bench.settled(lambda: put_invoice(self.connector, there, "next"))
        wrong = msgspec.structs.replace(product.lines[0], sku="NONE")
        mixed = (
            good,
            there,
            msgspec.structs.replace(totals, total=totals.total + Money(1, "EUR")),
            msgspec.structs.replace(product, lines=(wrong, *product.lines[1:])),
            msgspec.structs.replace(lost, customer_id="cus_none"),
            last,
        )
        batch = [InvoiceToPost(each, "cor_mixed") for each in mixed]
        for _ in ("once", "again"):
            results = await self.bench.settled(lambda: self.connector.put_invoices(batch, "next"))
            assert [type(each) for each in results] == [Posting, Posting, Rejected, Rejected, NotFound, Posting]
            assert [await self.subject.posted(each.id) for each in mixed] == [1, 1, 0, 0, 0, 1]
            references = [each.reference for each in results if isinstance(each, Posting)]
            assert references == [good.id, there.id, last.id]

    @behaviour
    async def a_batch_is_numbered_in_the_order_of_its_days(self) -> None:
        await self.bench.settled(await self._customer("order"))
        today = self._today()
        days = [today, today - timedelta(days=2), today - timedelta(days=1)]
        made = [samples.invoice(f"in_order_{day}", "order", self.subject.sku, NETS, day) for day in days]
        batch = [InvoiceToPost(each, "cor_order") for each in made]
        results = await self.bench.settled(lambda: self.connector.put_invoices(batch, "next"))
        numbers = {each.reference: each.number for each in results if isinstance(each, Posting)}
        assert sorted(numbers, key=lambda each: (len(numbers[each]), numbers[each])) == sorted(each.id for each in made)

    @behaviour
    async def a_preview_of_prorations_is_what_is_then_booked(self) -> None:
        await self.bench.settled(await self._customer("prorated"))
        made = self._prorations()
        previews = [
            await self.bench.settled(lambda one=one: self.connector.preview_invoice(one, "next")) for one in made
        ]
        assert [await self.subject.records(each.id) for each in made] == [0] * len(made)

        batch = [InvoiceToPost(each, "cor_prorated") for each in made]
        for _ in ("once", "again"):
            results = await self.bench.settled(lambda: self.connector.put_invoices(batch, "next"))
            booked = [each for each in results if isinstance(each, Posting)]
            assert previews == [msgspec.structs.replace(each, number="") for each in booked]
            assert [(each.total, each.tax, each.balance) for each in booked] == [
                (each.total, each.tax, each.total) for each in made
            ]
        assert [await self.subject.posted(each.id) for each in made] == [1] * len(made)

    @behaviour
    async def what_cannot_be_booked_is_refused_by_its_preview_and_nothing_is_left(self) -> None:
        await self.bench.settled(await self._customer("unbooked"))
        good = self._sample("unbooked")
        first, *others = good.lines
        taxed = msgspec.structs.replace(first, taxes=(LineTax("none", first.tax),))
        for place, bad in enumerate(
            (
                msgspec.structs.replace(good, lines=(msgspec.structs.replace(first, sku="NONE"), *others)),
                msgspec.structs.replace(good, lines=(taxed, *others)),
                msgspec.structs.replace(good, tax=good.tax + Money(1, "EUR"), total=good.total + Money(1, "EUR")),
                msgspec.structs.replace(good, customer_id="cus_none"),
            )
        ):
            wrong = msgspec.structs.replace(bad, id=f"in_unbooked_{place}")
            faults = [
                await self.bench.fault(lambda wrong=wrong: self.connector.preview_invoice(wrong, "next")),
                await self.bench.fault(lambda wrong=wrong: put_invoice(self.connector, wrong, "next")),
            ]
            assert [type(each) for each in faults] == 2 * [NotFound if bad.customer_id == "cus_none" else Rejected]
            assert [str(each) for each in faults] == 2 * [str(faults[0])]

    @behaviour
    async def a_preview_has_the_amounts_of_the_erp_where_they_are_not_those_of_billing(self) -> None:
        await self.bench.settled(await self._customer("differs"))
        good = self._sample("differs")
        more = Money(len(good.lines) + 1, "EUR")
        taxed = msgspec.structs.replace(good.lines[0], tax=good.lines[0].tax + more)
        for other in (
            msgspec.structs.replace(good, total=good.total + more),
            samples.invoice_of(good.id, good.customer_id, (taxed, *good.lines[1:]), good.issued_on),
        ):
            previewed = await self.bench.settled(lambda other=other: self.connector.preview_invoice(other, "next"))
            assert (previewed.total, previewed.tax) == (good.total, good.tax)
        assert await self.subject.records(good.id) == 0

    @behaviour
    async def a_preview_that_breaks_off_leaves_nothing_after_the_next(self) -> None:
        await self.bench.settled(await self._customer("broken_off"))
        for place in range(1, MAX_WRITES):
            made = msgspec.structs.replace(self._sample("broken_off"), id=f"amd_{place}:preview")
            lost = self.lose_all_from(place)
            with contextlib.suppress(*TRANSIENT):
                await self.bench.call(lambda made=made: self.connector.preview_invoice(made, "next"))
            self.loopback.calm()
            broke_off = lost()
            await self.bench.settled(lambda made=made: self.connector.preview_invoice(made, "next"))
            assert await self.subject.records(made.id) == 0, f"write {place}"
            if not broke_off:
                break

    @behaviour
    async def a_credit_is_settled_by_the_invoices_that_it_is_used_for(self) -> None:
        """Billing takes it off what is due: once a part of it, and then all that is left."""
        await self.bench.settled(await self._customer("credited"))
        nothing = Money.zero("EUR")
        credit, covered, rest = (
            samples.prorated(
                f"in_credited_{place}", "credited", self.subject.sku, ((3, Money(net, "EUR")),), self._today()
            )
            for place, net in enumerate((-100_00, 60_00, 50_00))
        )
        batch = [InvoiceToPost(each, "cor_credited") for each in (credit, covered, rest)]
        await self.bench.settled(lambda: self.connector.put_invoices(batch, "next"))
        due = rest.total + covered.total + credit.total
        paid = msgspec.structs.replace(samples.payment(rest), amount=due, settles=(covered.id, credit.id))

        for _ in ("once", "again"):
            await self.bench.settled(lambda: self.connector.put_payment(paid, LEGAL_ENTITY, "next"))

        for each in (credit, covered, rest):
            posting = await self.bench.settled(lambda each=each: self.connector.posting(each.id, LEGAL_ENTITY))
            assert posting.balance == nothing, each.id
        left = await self.bench.settled(lambda: self.connector.credit("credited", LEGAL_ENTITY, ["EUR"]))
        assert left.used == nothing

    @behaviour
    async def a_payment_waits_for_its_invoice(self) -> None:
        made = self._sample("early")
        fault = await self.bench.fault(lambda: self.connector.put_payment(samples.payment(made), LEGAL_ENTITY, "next"))
        assert isinstance(fault, Conflict), repr(fault)

    @behaviour
    async def an_invoice_with_other_totals_is_not_posted(self) -> None:
        await self.bench.settled(await self._customer("totals"))
        made = self._sample("totals")
        other = msgspec.structs.replace(made, total=made.total + Money(1, "EUR"))
        await self.bench.fault(lambda: put_invoice(self.connector, other, "next"))
        assert await self._posted("totals") == 0

    @behaviour
    async def the_tax_of_an_invoice_is_what_billing_rounded_it_to(self) -> None:
        await self.bench.settled(await self._customer("rounded"))
        odd = (Money(9950, "EUR"), Money(50, "EUR"), Money(150, "EUR"))  # 18.905, 0.095 and 0.285 of tax
        made = samples.invoice("in_rounded", "rounded", self.subject.sku, odd, self._today())
        posting = await self.bench.settled(lambda: put_invoice(self.connector, made, "next"))
        assert (posting.total, posting.tax) == (made.total, Money(1891 + 10 + 29, "EUR"))
        paid = await self.bench.settled(lambda: self.connector.put_payment(samples.payment(made), LEGAL_ENTITY, "next"))
        assert paid.balance == Money.zero("EUR")

    @behaviour
    async def a_line_that_names_no_product_is_refused_by_what_it_is(self) -> None:
        await self.bench.settled(await self._customer("by_hand"))
        made = self._sample("by_hand")
        by_hand = msgspec.structs.replace(made.lines[0], sku="", description="Goodwill")
        other = msgspec.structs.replace(made, lines=(by_hand, *made.lines[1:]))
        fault = await self.bench.fault(lambda: put_invoice(self.connector, other, "next"))
        assert isinstance(fault, Rejected), repr(fault)
        assert "Goodwill" in fault.reason

    @behaviour
    async def a_tax_that_no_rounding_explains_is_refused(self) -> None:
        await self.bench.settled(await self._customer("taxed"))
        made = self._sample("taxed")
        more = Money(len(made.lines) + 1, "EUR")
        first = msgspec.structs.replace(made.lines[0], tax=made.lines[0].tax + more)
        other = msgspec.structs.replace(made, tax=made.tax + more, total=made.total + more)
        for lines in (made.lines, (first, *made.lines[1:])):
            wrong = msgspec.structs.replace(other, lines=lines)
            fault = await self.bench.fault(lambda wrong=wrong: put_invoice(self.connector, wrong, "next"))
            assert isinstance(fault, Rejected), repr(fault)
        assert await self._posted("taxed") == 0

    @behaviour
    async def an_invoice_of_an_earlier_day_is_posted_after_one_of_a_later_day(self) -> None:
        await self.bench.settled(await self._customer("late"))
        days = [self._today(), self._today() - timedelta(days=1)]
        late = [samples.invoice(f"in_{day}", "late", self.subject.sku, NETS, day) for day in days]
        for each in late:
            posting = await self.bench.settled(lambda each=each: put_invoice(self.connector, each, "next"))
            assert posting.total == each.total
        assert [await self.subject.posted(each.id) for each in late] == [1, 1]

    @behaviour
    async def what_billing_has_cancelled_is_taken_back_once(self) -> None:
        await self.bench.settled(await self._customer("cancelled"))
        odd = (Money(9950, "EUR"), Money(50, "EUR"), Money(150, "EUR"), Money(-350, "EUR"))  # taxes end on half a cent
        for state in CANCELLED:
            issued = samples.invoice(f"in_{state}", "cancelled", self.subject.sku, odd, self._today())
            made = msgspec.structs.replace(issued, state=state, cancelled_on=self._today())
            nothing = await self.bench.fault(lambda made=made: self.connector.cancel_invoice(made, "next"))
            assert isinstance(nothing, NotFound), repr(nothing)
            posting = await self.bench.settled(lambda issued=issued: put_invoice(self.connector, issued, "next"))
            for _ in range(2):
                taken = await self.bench.settled(lambda made=made: self.connector.cancel_invoice(made, "next"))
                assert (taken.number, taken.total, taken.balance) == (posting.number, made.total, Money.zero("EUR"))
            assert await self.subject.posted(made.id) == 1

    @behaviour
    async def what_was_written_off_is_owed_again_when_it_is_paid_or_voided_after_all(self) -> None:
        await self.bench.settled(await self._customer("recovered"))
        made = self._sample("recovered")
        given_up = msgspec.structs.replace(made, state="uncollectible", cancelled_on=self._today())
        voided = msgspec.structs.replace(given_up, state="void")
        part = msgspec.structs.replace(
            samples.payment(made), id="pay_recovered_1", amount=Money(1000, "EUR"), recovered=True
        )
        rest = msgspec.structs.replace(part, id="pay_recovered_2", amount=made.total - part.amount)
        nothing = Money.zero("EUR")

        async def left(act: Callable[[], Awaitable[Posting]]) -> Money:
            first, again = await self.bench.settled(act), await self.bench.settled(act)
            assert first.balance == again.balance
            return again.balance

        await self.bench.settled(lambda: put_invoice(self.connector, made, "next"))
        assert await left(lambda: self.connector.cancel_invoice(given_up, "next")) == nothing
        assert await left(lambda: self.connector.put_payment(part, LEGAL_ENTITY, "next")) == rest.amount
        assert await left(lambda: self.connector.cancel_invoice(given_up, "next")) == nothing
        assert await left(lambda: self.connector.put_payment(rest, LEGAL_ENTITY, "next")) == nothing
        assert [await self.subject.payments(each.id) for each in (part, rest)] == [1, 1]

        other = msgspec.structs.replace(voided, id="in_recovered_other")
        await self.bench.settled(lambda: put_invoice(self.connector, other, "next"))
        before = msgspec.structs.replace(other, state="uncollectible")
        assert await left(lambda: self.connector.cancel_invoice(before, "next")) == nothing
        assert await left(lambda: self.connector.cancel_invoice(other, "next")) == nothing
        credit = await self.bench.settled(lambda: self.connector.credit("recovered", LEGAL_ENTITY, ["EUR"]))
        assert credit.used == nothing

    @behaviour
    async def each_part_of_a_payment_is_booked_when_it_comes_and_once(self) -> None:
        await self.bench.settled(await self._invoice("parts"))
        made = self._sample("parts")
        first = msgspec.structs.replace(samples.payment(made), id="pay_parts_1", amount=Money(10_00, "EUR"))
        rest = msgspec.structs.replace(samples.payment(made), id="pay_parts_2", amount=made.total - first.amount)
        for each, left in ((first, rest.amount), (first, rest.amount), (rest, Money.zero("EUR")), (first, None)):
            posting = await self.bench.settled(lambda each=each: self.connector.put_payment(each, LEGAL_ENTITY, "next"))
            assert posting.balance == (left or Money.zero("EUR"))
        assert [await self.subject.payments(each.id) for each in (first, rest)] == [1, 1]

    @behaviour
    async def a_part_that_is_booked_by_two_at_once_is_booked_once(self) -> None:
        await self.bench.settled(await self._invoice("twice"))
        part = msgspec.structs.replace(samples.payment(self._sample("twice")), amount=Money(10_00, "EUR"))

        async def book() -> None:
            await self.bench.settled(lambda: self.connector.put_payment(part, LEGAL_ENTITY, "next"))

        await asyncio.gather(*(book() for _ in range(4)))
        assert await self.subject.payments(part.id) == 1

    @behaviour
    async def more_than_is_due_is_refused_unless_billing_says_so(self) -> None:
        await self.bench.settled(await self._invoice("more"))
        made = self._sample("more")
        wrong = msgspec.structs.replace(samples.payment(made), amount=made.total + Money(1, "EUR"))
        fault = await self.bench.fault(lambda: self.connector.put_payment(wrong, LEGAL_ENTITY, "next"))
        assert isinstance(fault, Rejected), repr(fault)
        assert await self.subject.payments(wrong.id) == 0

    @behaviour
    async def a_voided_invoice_that_is_paid_in_part_is_left_to_people(self) -> None:
        await self.bench.settled(await self._customer("part"))
        made = self._sample("part")
        await self.bench.settled(lambda: put_invoice(self.connector, made, "next"))
        part = msgspec.structs.replace(samples.payment(made), amount=Money(1000, "EUR"))
        await self.bench.settled(lambda: self.connector.put_payment(part, LEGAL_ENTITY, "next"))
        voided = msgspec.structs.replace(made, state="void", cancelled_on=self._today())
        fault = await self.bench.fault(lambda: self.connector.cancel_invoice(voided, "next"))
        assert isinstance(fault, Rejected), repr(fault)

    @behaviour
    async def a_credit_note_takes_off_what_is_due_and_pays_the_invoice_when_nothing_is_left(self) -> None:
        for price in samples.PRICES:
            made = await self._credited(f"due_{price.currency}", price)
            half = samples.credit_note(made, Fraction(1, 2))
            note = await self._twice(lambda half=half: self.connector.put_credit_note(half, "next"))
            assert (note.total, note.tax, note.reference) == (-half.total, -half.tax, half.id)
            assert (await self._due(made)) == made.total - half.total
            rest = replace(samples.payment(made), amount=made.total - half.total)
            paid = await self._twice(lambda rest=rest: self.connector.put_payment(rest, LEGAL_ENTITY, "next"))
            assert paid.balance == Money.zero(price.currency)
            whole = await self._credited(f"whole_{price.currency}", price)
            await self._twice(lambda whole=whole: self.connector.put_credit_note(samples.credit_note(whole), "next"))
            assert (await self._due(whole)) == Money.zero(price.currency)

    @behaviour
    async def a_credit_note_of_a_paid_invoice_is_in_credit_until_it_is_refunded(self) -> None:
        made, payment = await self._paid("refunded")
        note = samples.credit_note(made, Fraction(1, 3), off_due=False)
        early = samples.reversal(payment, note.total, credit_note_id=note.id)
        fault = await self.bench.fault(lambda: self.connector.put_reversal(early, "next"))
        assert isinstance(fault, Conflict), repr(fault)
        posted = await self._twice(lambda: self.connector.put_credit_note(note, "next"))
        assert posted.balance == -note.total
        first = samples.reversal(payment, Money(1000, "EUR"), "re_refunded_1", note.id)
        rest = samples.reversal(payment, note.total - first.amount, "re_refunded_2", note.id)
        await self._twice(lambda: self.connector.put_reversal(first, "next"))
        assert await self._due(note) == -rest.amount
        more = samples.reversal(payment, rest.amount + Money(1, "EUR"), "re_refunded_3", note.id)
        fault = await self.bench.fault(lambda: self.connector.put_reversal(more, "next"))
        assert isinstance(fault, Rejected), repr(fault)
        booked = await self._twice(lambda: self.connector.put_reversal(rest, "next"))
        assert booked.balance == await self._due(note) == Money.zero("EUR")
        assert [await self.subject.payments(each.id) for each in (first, rest, more)] == [1, 1, 0]

    @behaviour
    async def a_credit_note_of_an_invoice_that_is_paid_in_part_is_taken_off_and_refunded(self) -> None:
        made = await self._credited("mixed", Money(20000, "EUR"))
        part = replace(samples.payment(made), amount=Money(10000, "EUR"))
        await self._twice(lambda: self.connector.put_payment(part, LEGAL_ENTITY, "next"))
        whole = samples.credit_note(made)
        note = replace(whole, off_due=made.total - part.amount, refunded=part.amount)
        await self._twice(lambda: self.connector.put_credit_note(note, "next"))
        assert await self._due(made) == Money.zero("EUR")
        refund = samples.reversal(part, part.amount, credit_note_id=note.id)
        await self._twice(lambda: self.connector.put_reversal(refund, "next"))
        assert await self._due(note) == Money.zero("EUR")
        credit = await self.bench.settled(lambda: self.connector.credit("mixed", LEGAL_ENTITY, ["EUR"]))
        assert credit.used == Money.zero("EUR")

    @behaviour
    async def money_that_went_back_without_a_credit_note_is_due_again_and_can_be_paid_again(self) -> None:
        for price in samples.PRICES:
            made, payment = await self._paid(f"back_{price.currency}", price)
            part = Money(payment.amount.amount // 10 * 3, price.currency)
            returned = samples.reversal(payment, part, f"re_part_{price.currency}")
            reopened = await self._twice(lambda returned=returned: self.connector.put_reversal(returned, "next"))
            assert reopened.balance == part
            disputed = samples.reversal(payment, payment.amount - part, f"dp_{price.currency}")
            reopened = await self._twice(lambda disputed=disputed: self.connector.put_reversal(disputed, "next"))
            assert reopened.balance == made.total
            too_much = samples.reversal(payment, Money(1000, price.currency), f"re_more_{price.currency}")
            fault = await self.bench.fault(lambda too_much=too_much: self.connector.put_reversal(too_much, "next"))
            assert isinstance(fault, Rejected), repr(fault)
            first = await self._twice(lambda payment=payment: self.connector.put_payment(payment, LEGAL_ENTITY, "next"))
            assert first.balance == made.total  # what was booked is not booked again
            again = replace(payment, id=f"again_{payment.id}")
            paid = await self._twice(lambda again=again: self.connector.put_payment(again, LEGAL_ENTITY, "next"))
            assert paid.balance == Money.zero(price.currency)
            once_more = samples.reversal(again, again.amount, f"dp_{price.currency}:2")
            taken = await self._twice(lambda once_more=once_more: self.connector.put_reversal(once_more, "next"))
            assert taken.balance == made.total

    @behaviour
    async def two_refunds_of_one_payment_at_once_leave_both_due(self) -> None:
        for place, amounts in enumerate(((1000, 1000), (1000, 2000))):
            made, payment = await self._paid(f"both-{place}")
            backs = [
                samples.reversal(payment, Money(each, "EUR"), f"re_both_{place}_{number}")
                for number, each in enumerate(amounts)
            ]

            async def book(back: PaymentReversal) -> None:
                await self.bench.settled(lambda: self.connector.put_reversal(back, "next"))

            await asyncio.gather(*(book(each) for each in backs))
            assert await self._due(made) == Money(sum(amounts), "EUR")
            credit = await self.bench.settled(
                lambda place=place: self.connector.credit(f"both-{place}", LEGAL_ENTITY, ["EUR"])
            )
            assert credit.used == Money(sum(amounts), "EUR")

    @behaviour
    async def a_refund_for_several_credit_notes_pays_each_and_the_rest_is_due_again(self) -> None:
        made, payment = await self._paid("several")
        parts = [samples.credit_note(made, Fraction(1, each), off_due=False) for each in (4, 8)]
        notes = [replace(each, id=f"cn_several_{place}") for place, each in enumerate(parts)]
        for each in notes:
            await self._twice(lambda each=each: self.connector.put_credit_note(each, "next"))
        rest = Money(500, "EUR")
        amount = notes[0].total + notes[1].total + rest
        credited = tuple(CreditedPart(each.id, each.total) for each in notes)
        refund = replace(samples.reversal(payment, amount), credited=credited)
        booked = await self._twice(lambda: self.connector.put_reversal(refund, "next"))
        assert booked.balance == rest
        assert [await self._due(each) for each in notes] == [Money.zero("EUR")] * len(notes)

    @behaviour
    async def a_reversal_that_was_cut_short_before_its_credit_note_leaves_the_invoice_paid(self) -> None:
        for place in range(1, MAX_WRITES):
            made, payment = await self._paid(f"cut-{place}")
            alone = samples.reversal(payment, Money(1000, "EUR"), f"re_cut_{place}")
            lost = self.lose_all_from(place)
            with contextlib.suppress(*TRANSIENT):
                await self.bench.call(lambda alone=alone: self.connector.put_reversal(alone, "next"))
            self.loopback.calm()
            whole = samples.credit_note(made, off_due=False)
            note = replace(whole, refunds=(RefundPart(alone.id, alone.amount),), refunded=alone.amount)
            await self._twice(lambda note=note: self.connector.put_credit_note(note, "next"))
            named = replace(alone, credited=(CreditedPart(note.id, alone.amount),))
            await self._twice(lambda named=named: self.connector.put_reversal(named, "next"))
            assert await self._due(made) == Money.zero("EUR"), f"write {place}"
            assert await self._due(note) == alone.amount - note.total, f"write {place}"
            if not lost():
                break

    @behaviour
    async def a_credit_note_for_a_refund_that_was_there_before_it_takes_off_what_that_left_due(self) -> None:
        made, payment = await self._paid("before")
        whole = samples.credit_note(made, Fraction(1, 2), off_due=False)
        refund = samples.reversal(payment, whole.total)
        reopened = await self._twice(lambda: self.connector.put_reversal(refund, "next"))
        assert reopened.balance == whole.total
        note = replace(whole, refunds=(RefundPart(refund.id, refund.amount),))
        posted = await self._twice(lambda: self.connector.put_credit_note(note, "next"))
        assert posted.balance == await self._due(made) == Money.zero("EUR")

    @behaviour
    async def a_credit_note_takes_off_what_refunds_have_left_due_also_of_those_that_come_later(self) -> None:
        made, payment = await self._paid("later")
        first, second = (samples.reversal(payment, Money(each, "EUR"), f"re_later_{each}") for each in (1000, 2000))
        whole = samples.credit_note(made, off_due=False)
        parts = tuple(RefundPart(each.id, each.amount) for each in (first, second))
        note = replace(whole, refunds=parts, refunded=first.amount + second.amount)
        for back in (first, second):  # the second one is booked before billing shows that the note names it
            await self._twice(lambda back=back: self.connector.put_reversal(back, "next"))
            await self._twice(lambda: self.connector.put_credit_note(note, "next"))
            assert await self._due(made) == Money.zero("EUR")
        assert await self._due(note) == first.amount + second.amount - note.total

    @behaviour
    async def what_a_void_credit_note_took_off_is_due_again(self) -> None:
        for part, due in ((Fraction(1, 2), "half"), (Fraction(1), "all")):
            made = await self._credited(f"void_{due}", Money(20000, "EUR"))
            void = samples.credit_note(made, part, void=True)
            nothing = await self.bench.fault(lambda void=void: self.connector.put_credit_note(void, "next"))
            assert isinstance(nothing, NotFound), repr(nothing)
            await self._twice(
                lambda made=made, part=part: self.connector.put_credit_note(samples.credit_note(made, part), "next")
            )
            taken = await self._twice(lambda void=void: self.connector.put_credit_note(void, "next"))
            assert (taken.balance, await self._due(made)) == (Money.zero("EUR"), made.total)

    @behaviour
    async def a_credit_note_of_more_than_is_due_is_refused(self) -> None:
        made = await self._credited("over", Money(20000, "EUR"))
        part = replace(samples.payment(made), amount=Money(10000, "EUR"))
        await self._twice(lambda: self.connector.put_payment(part, LEGAL_ENTITY, "next"))
        fault = await self.bench.fault(lambda: self.connector.put_credit_note(samples.credit_note(made), "next"))
        assert isinstance(fault, Rejected), repr(fault)

    @behaviour
    async def a_deleted_customer_is_created_again(self) -> None:
        act = await self._customer("deleted")
        await self.bench.settled(act)
        await self.subject.delete_customer("deleted")
        fault = await self.bench.fault(lambda: put_invoice(self.connector, self._sample("deleted"), "next"))
        assert isinstance(fault, NotFound), repr(fault)
        await self.bench.settled(act)
        assert await self._customers("deleted") == 1

    @behaviour
    async def products_are_known_whatever_their_names(self) -> None:
        skus = [self.subject.sku, "NONE", "Ü'\"%", self.subject.sku]
        known = await self.bench.settled(lambda: self.connector.known_products(skus))
        assert known == {self.subject.sku: Product()}

    # ---- the calls

    async def _customers(self, key: str) -> int:
        return len(await self.subject.customers(key))

    async def _posted(self, key: str) -> int:
        return await self.subject.posted(self._sample(key).id)

    async def _payments(self, key: str) -> int:
        return await self.subject.payments(samples.payment(self._sample(f"paid.{key}")).id)

    async def _customer(self, key: str) -> Act:
        return lambda: self.connector.put_customer(samples.customer(key))

    async def _invoice(self, key: str) -> Act:
        await self.bench.settled(await self._customer(key))
        return lambda: put_invoice(self.connector, self._sample(key), "next")

    async def _batch(self, key: str) -> Act:
        """Return a put of two invoices together, which ends with the fault of one if there is any."""
        await self.bench.settled(await self._customer(key))
        batch = [InvoiceToPost(self._sample(each), f"cor_{key}") for each in self._of_batch(key)]

        async def put() -> None:
            for result in await self.connector.put_invoices(batch, "next"):
                if isinstance(result, PlatformFault):
                    raise result

        return put

    async def _posted_of_batch(self, key: str) -> int:
        """Return how often both invoices of a batch are posted, -1 when one is posted more often than the other."""
        counts = {await self._posted(each) for each in self._of_batch(key)}
        return counts.pop() if len(counts) == 1 else -1

    def _of_batch(self, key: str) -> tuple[str, str]:
        return key, f"{key}.second"

    async def _payment(self, key: str) -> Act:
        made = self._sample(f"paid.{key}")
        await self.bench.settled(await self._invoice(f"paid.{key}"))
        return lambda: self.connector.put_payment(samples.payment(made), LEGAL_ENTITY, "next")

    async def _credit_note(self, key: str) -> Act:
        made = self._sample(f"credited.{key}")
        await self.bench.settled(await self._invoice(f"credited.{key}"))
        return lambda: self.connector.put_credit_note(samples.credit_note(made), "next")

    async def _credit_notes(self, key: str) -> int:
        """Return how many credit notes there are of an invoice; -1 when they do not pay it."""
        made = self._sample(f"credited.{key}")
        is_paid = not (await self._due(made)).amount
        return await self.subject.posted(samples.credit_note(made).id) if is_paid else -1

    async def _reversal(self, key: str) -> Act:
        await self.bench.settled(await self._payment(f"back.{key}"))
        payment = samples.payment(self._sample(f"paid.back.{key}"))
        back = samples.reversal(payment, Money(1000, "EUR"))
        return lambda: self.connector.put_reversal(back, "next")

    async def _reversals(self, key: str) -> int:
        """Return how often money is booked that went back; -1 when it is not what is due then."""
        made = self._sample(f"paid.back.{key}")
        is_due = await self._due(made) == Money(1000, "EUR")
        return await self.subject.payments(f"re_{samples.payment(made).id}") if is_due else -1

    async def _fee(self, key: str) -> Act:
        taken = samples.fee(f"txn_{key}", Money(2000, "EUR"), self._today())
        return lambda: self.connector.put_fee(taken, "next")

    async def _fees(self, key: str) -> int:
        return await self.subject.payments(f"txn_{key}")

    async def _credited(self, key: str, price: Money) -> Invoice:
        """Return an invoice of two lines that is posted, and due."""
        await self.bench.settled(await self._customer(key))
        made = samples.invoice(f"in_{key}", key, self.subject.sku, (price, price), self._today())
        await self.bench.settled(lambda: put_invoice(self.connector, made, "next"))
        return made

    async def _paid(self, key: str, price: Money = NETS[0]) -> tuple[Invoice, Payment]:
        """Return an invoice that is posted and paid, and its payment."""
        made = await self._credited(key, price)
        payment = samples.payment(made)
        await self.bench.settled(lambda: self.connector.put_payment(payment, LEGAL_ENTITY, "next"))
        return made, payment

    async def _due(self, made: Invoice | CreditNote) -> Money:
        posting = await self.bench.settled(lambda: self.connector.posting(made.id, LEGAL_ENTITY))
        return posting.balance

    async def _twice(self, act: Callable[[], Awaitable[Posting]]) -> Posting:
        """Return what is booked by a call, which is the same when it is made again."""
        first = await self.bench.settled(act)
        again = await self.bench.settled(act)
        assert (again.number, again.total, again.balance) == (first.number, first.total, first.balance)
        return again

    def _prorations(self) -> tuple[Invoice, ...]:
        """Return invoices of changes: more charged than credited, less, nothing at all, and in other currencies."""
        parts: tuple[tuple[tuple[int, Money], ...], ...] = (
            ((10, Money(-19_41, "EUR")), (15, Money(29_12, "EUR")), (15, Money(2_91, "EUR")), (15, Money(2_91, "EUR"))),
            ((10, Money(-19_41, "EUR")), *(3 * ((1, Money(50, "EUR")),)), (7, Money(-50, "EUR"))),
            ((1000, Money(-299_99, "EUR")),),
            ((10, Money(-19_41, "EUR")), (10, Money(19_41, "EUR"))),
            ((5, Money(-1941, "JPY")), (7, Money(2717, "JPY"))),
            ((7, Money(-4000, "KWD")), (3, Money(2000, "KWD"))),
        )
        return tuple(
            samples.prorated(
                f"in_prorated_{place}", "prorated", self.subject.sku, each, self._today(), taxed_by_sum=place % 2 > 0
            )
            for place, each in enumerate(parts)
        )

    def _sample(self, key: str) -> Invoice:
        return samples.invoice(f"in_{key}", key.removesuffix(".second"), self.subject.sku, NETS, self._today())

    def _today(self) -> date:
        return self.bench.clock().date()

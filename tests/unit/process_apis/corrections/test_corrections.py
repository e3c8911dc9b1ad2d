"""Corrections over the connector of billing: what cannot be changes nothing, two at once take no more than there is,
and a process that dies leaves one of each."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.faults import Conflict, PlatformFault, Rejected, Unavailable
from canonical.money import Money
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis.lineage import lineage
from process_apis.runtime.agenda import CASE_AFTER
from sandbox.stripe.periods import DAY
from tests.support.correction_bench import CLERK, Corrected, corrected
from tests.support.process_context import at_once
from tests.support.stripe_account import bank_transfer
from tests.unit.process_apis.test_cancelled_invoices import Killed, before_statement, dies

SEAT, ALL = 11_900, 47_600


def euros(cents: int) -> dict[str, Any]:
    return {"amount": cents, "currency": "EUR"}


@pytest.fixture
def paid(tmp_path: Path, empty_tables: Path) -> Generator[Corrected]:
    with corrected(tmp_path, empty_tables) as subject:
        assert (subject.stripe()["status"], subject.books.receivable) == ("paid", 0)
        yield subject


@pytest.fixture
def unpaid(tmp_path: Path, empty_tables: Path) -> Generator[Corrected]:
    with corrected(tmp_path, empty_tables, method=None) as subject:
        assert (subject.stripe()["status"], subject.books.receivable) == ("open", ALL)
        yield subject


def line(subject: Corrected) -> str:
    return str(subject.stripe()["lines"]["data"][0]["id"])


def seats(subject: Corrected, count: int) -> list[dict[str, Any]]:
    return [{"line": line(subject), "quantity": count}]


def refused(subject: Corrected, **wanted: Any) -> str:
    """Return the problem of what is asked for, which changes nothing, and is that of its preview, too."""
    before, due = subject.made, dict(subject.books.due)
    with pytest.raises(ProblemError) as previewed:
        subject.preview(**wanted)
    with pytest.raises(ProblemError) as asked:
        subject.ask("refused", **wanted)
    assert previewed.value.problem == asked.value.problem
    assert (subject.made, subject.books.due) == (before, due)
    assert not [each for each in subject.writes if each != "credit-notes/preview"]
    assert subject.runs.records.page(CLERK, None, None, None, None, None, 100).items == ()
    return asked.value.problem.name


def agree(subject: Corrected) -> None:
    """Check that billing and the books say the same, after all is booked."""
    subject.settle()
    assert (subject.waiting(), subject.failed()) == ([], [])
    assert subject.owed_in_billing() == subject.books.receivable


@pytest.mark.parametrize(
    ("problem", "wanted"),
    [
        ("refund-too-large", {"kind": "refund", "amount": euros(ALL + 1)}),
        ("refund-too-large", {"kind": "credit_note", "lines": 4, "refund": euros(ALL + 1)}),
        ("credit-too-large", {"kind": "credit_note", "lines": 5, "refund": euros(5 * SEAT)}),
        ("invoice-paid", {"kind": "void"}),
        ("invoice-paid", {"kind": "write_off"}),
        ("wrong-currency", {"kind": "refund", "amount": {"amount": 100, "currency": "USD"}}),
        ("amount-not-possible", {"kind": "refund", "amount": euros(0)}),
        ("amount-not-possible", {"kind": "credit_note", "lines": 1, "refund": euros(-1)}),
        ("amounts-do-not-add-up", {"kind": "credit_note", "lines": 1}),
        ("amounts-do-not-add-up", {"kind": "credit_note", "lines": 1, "refund": euros(SEAT), "outside": euros(1)}),
        ("correction-refused", {"kind": "refund", "payment_id": "pi_else"}),
        ("correction-refused", {"kind": "refund", "reason": "duplicate"}),
        ("correction-refused", {"kind": "void", "amount": euros(1)}),
        ("correction-refused", {"kind": "refund", "text": " "}),
        ("correction-refused", {"kind": "credit_note", "lines": 1, "refunds": [{"id": "re_1", "amount": euros(1)}]}),
    ],
)
def test_what_cannot_be_of_a_paid_invoice_is_a_problem_of_its_own(
    paid: Corrected, problem: str, wanted: dict[str, Any]
) -> None:
    if "lines" in wanted:
        wanted = wanted | {"lines": seats(paid, wanted["lines"])}
    assert refused(paid, **wanted) == problem


def test_what_cannot_be_of_an_open_invoice_is_a_problem_of_its_own(unpaid: Corrected) -> None:
    unknown = [{"line": "il_else", "quantity": 1}]
    assert refused(unpaid, kind="refund") == "correction-refused"
    assert refused(unpaid, kind="credit_note", lines=unknown) == "correction-refused"
    assert refused(unpaid, kind="credit_note", lines=[{"line": line(unpaid)}]) == "correction-refused"
    assert refused(unpaid, kind="credit_note", refund=euros(100)) == "refund-too-large"
    assert refused(unpaid, kind="credit_note", to_balance=euros(100)) == "amounts-do-not-add-up"
    one_seat = {"type": "invoice_line_item", "invoice_line_item": line(unpaid), "quantity": 1}
    api: Any = unpaid.account.api.v1
    api.credit_notes.create({"invoice": unpaid.invoice, "lines": [one_seat]})
    assert refused(unpaid, kind="void") == "invoice-credited"
    by_amount = [{"line": line(unpaid), "amount": euros(100)}]
    assert refused(unpaid, kind="credit_note", lines=by_amount) == "credit-too-large"
    api.invoices.mark_uncollectible(unpaid.invoice)
    assert refused(unpaid, kind="credit_note") == "invoice-written-off"
    assert refused(unpaid, kind="write_off") == "invoice-written-off"
    api.invoices.void_invoice(unpaid.invoice)
    assert [refused(unpaid, kind=each) for each in ("credit_note", "void", "write_off")] == ["invoice-void"] * 3


def test_an_invoice_that_is_paid_in_part_is_not_void(unpaid: Corrected) -> None:
    bank_transfer(unpaid.account.api, unpaid.invoice, SEAT)
    assert refused(unpaid, kind="void") == "invoice-paid"
    assert refused(unpaid, kind="refund") == "refund-too-large"  # it was paid past billing
    agree(unpaid)


def test_a_disputed_payment_and_one_that_is_on_its_way_are_left_alone(tmp_path: Path, empty_tables: Path) -> None:
    (tmp_path / "disputed").mkdir()
    (tmp_path / "debit").mkdir()
    with corrected(tmp_path / "disputed", empty_tables, method="pm_card_createDispute") as disputed:
        disputed.account.wait(1)
        assert refused(disputed, kind="refund") == "payment-disputed"
        back = {"lines": seats(disputed, 1), "refund": euros(SEAT)}
        assert refused(disputed, kind="credit_note", **back) == "payment-disputed"
    with corrected(tmp_path / "debit", empty_tables, method="pm_success_de") as debit:
        for kind in ("credit_note", "void", "write_off"):
            assert refused(debit, kind=kind) == "payment-processing"
        debit.account.wait(6 * DAY)
        agree(debit)
        assert debit.run(debit.ask("paid", kind="refund", amount=euros(100)).id).state == "carried_out"


def test_an_invoice_of_somebody_else_looks_like_none(paid: Corrected) -> None:
    france = msgspec.structs.replace(CLERK, entities=frozenset({"FR01"}))
    partner = msgspec.structs.replace(CLERK, partner="reseller-nord")
    strangers: tuple[Principal, ...] = (france, partner)
    wanted = paid.wanted("theirs", kind="refund")
    for each in strangers:
        for act in (
            lambda each=each: paid.runs.preview(paid.invoice, wanted, each),
            lambda each=each: paid.runs.request(paid.invoice, wanted, each, "cor_1", proposed=True),
        ):
            with pytest.raises(ProblemError) as missing:
                act()
            assert missing.value.problem.status == 404
    asked = paid.ask("ours", kind="refund", proposed=True)
    for each in strangers:
        with pytest.raises(ProblemError) as missing:
            paid.runs.withdraw(asked.id, each)
        assert missing.value.problem.status == 404
    assert paid.of(asked.id).state == "requested"


def test_what_somebody_has_asked_for_is_withdrawn_by_nobody_else_who_does_not_decide_on_it(paid: Corrected) -> None:
    colleague = msgspec.structs.replace(CLERK, subject="colleague@example.com")
    lead = msgspec.structs.replace(colleague, scopes=CLERK.scopes | {"approvals:grant"})
    asked = [paid.ask(key, kind="refund", amount=euros(SEAT), proposed=True).id for key in ("one", "two")]

    with pytest.raises(ProblemError) as refusal:
        paid.runs.withdraw(asked[0], colleague)
    assert (refusal.value.problem.status, paid.of(asked[0]).state) == (403, "requested")

    same = msgspec.structs.replace(CLERK, subject="Clerk@Example.com")
    assert [paid.runs.withdraw(asked[0], same).state, paid.runs.withdraw(asked[1], lead).state] == ["given_up"] * 2


@pytest.mark.parametrize(
    ("price", "step"), [(Money(1_000, "JPY"), 1), (Money(10_000, "EUR"), 1), (Money(10_000, "KWD"), 10)]
)
def test_amounts_have_the_digits_that_are_paid_in_their_currency(
    tmp_path: Path, empty_tables: Path, price: Money, step: int
) -> None:
    with corrected(tmp_path, empty_tables, price) as subject:
        said = subject.preview(kind="credit_note", lines=seats(subject, 1), to_balance=back_of(price))
        assert said.differences == ()
        assert said.credit_note
        assert said.credit_note.total == Money(price.amount * 119 // 100, price.currency)
        if step > 1:
            odd = {"amount": step + 1, "currency": price.currency}
            assert refused(subject, kind="refund", amount=odd) == "amount-not-possible"
        asked = subject.ask("part", kind="refund", amount={"amount": step * 7, "currency": price.currency})
        asked = subject.run(asked.id)
        if asked.state == "awaiting_approval":  # no limit is set for yen and dinars
            subject.act(asked.id, "approve")
            asked = subject.run(asked.id)
        assert asked.state == "carried_out"
        subject.settle()
        assert subject.of(asked.id).state == "booked"
        assert subject.books.receivable == step * 7


def back_of(price: Money) -> dict[str, Any]:
    return {"amount": price.amount * 119 // 100, "currency": price.currency}


def test_two_at_once_take_no_more_than_there_is(unpaid: Corrected) -> None:
    def ask(key: str) -> str:
        try:
            return unpaid.ask(key, kind="credit_note", lines=seats(unpaid, 3)).state
        except ProblemError as refusal:
            return refusal.problem.name

    assert sorted(map(str, at_once(lambda: ask("one"), lambda: ask("two")))) == ["invoice-reserved", "requested"]
    (asked,) = unpaid.runs.records.page(CLERK, None, None, None, None, None, 10).items
    assert unpaid.ask("rest", kind="credit_note", lines=seats(unpaid, 1)).state == "requested"
    with pytest.raises(ProblemError, match="more than there is"):
        unpaid.ask("off", kind="write_off")
    unpaid.runs.withdraw(asked.id, CLERK)
    assert unpaid.ask("again", kind="credit_note", lines=seats(unpaid, 3)).state == "requested"


def test_a_preview_says_to_support_that_finance_decides(unpaid: Corrected) -> None:
    wanted = unpaid.wanted("preview", kind="credit_note", lines=seats(unpaid, 1))
    support = msgspec.structs.replace(CLERK, scopes=frozenset({"corrections:propose"}))
    assert unpaid.runs.preview(unpaid.invoice, wanted, support).approvals == ("support has asked for it",)
    assert unpaid.runs.preview(unpaid.invoice, wanted, CLERK).approvals == ()


def test_a_lineage_says_what_was_asked_of_an_invoice_and_who_decided(unpaid: Corrected) -> None:
    asked = unpaid.run(unpaid.ask("seen", kind="write_off").id)
    unpaid.act(asked.id, "approve")
    unpaid.run(asked.id)
    agree(unpaid)
    scopes = frozenset({"postings:read", "corrections:read", "cases:read"})
    reader = msgspec.structs.replace(CLERK, scopes=scopes)
    database, catalogue = unpaid.context.database, unpaid.context.live_catalogue.current
    for record in (asked.id, unpaid.invoice):
        found = lineage(database, catalogue, reader, record)
        assert found is not None
        words = [each.words for each in found.entries if asked.id in each.records]
        assert words[0] == "the write-off of 476.00 EUR is requested by clerk@example.com: Too much"
        assert "the write-off of 476.00 EUR is checking by lead@example.com: approved" in words
        assert ("correction", "booked") in [(each.kind, each.state) for each in found.records]
    blind = msgspec.structs.replace(reader, scopes=frozenset({"postings:read"}))
    assert lineage(database, catalogue, blind, asked.id) is None


def test_the_same_key_is_the_same_correction(unpaid: Corrected) -> None:
    first, again = (unpaid.ask("same", kind="write_off") for _ in range(2))
    assert first.id == again.id
    with pytest.raises(ProblemError, match="another correction"):
        unpaid.ask("same", kind="void")


def test_where_the_books_would_have_another_tax_nothing_is_written(unpaid: Corrected) -> None:
    unpaid.books.tax_more = 1
    held = unpaid.run(unpaid.ask("taxed", kind="credit_note", lines=seats(unpaid, 1)).id)
    case = unpaid.case(held.id)
    assert case is not None
    assert (held.state, case.kind, unpaid.made) == ("on_hold", "correction_not_agreed", (0, 0))
    unpaid.books.tax_more = 0
    unpaid.act(held.id, "retry")
    assert unpaid.run(held.id).state == "carried_out"
    agree(unpaid)
    assert unpaid.of(held.id).state == "booked"


@pytest.mark.parametrize("kind", ["credit_note", "refund", "void", "write_off"])
@pytest.mark.parametrize("statement", range(0, 40, 3))
def test_a_process_that_dies_anywhere_does_it_once(
    tmp_path: Path, empty_tables: Path, kind: str, statement: int
) -> None:
    is_paid = kind in ("credit_note", "refund")
    with corrected(tmp_path, empty_tables, Money(100, "EUR"), "pm_card_visa" if is_paid else None) as subject:
        wanted: dict[str, Any] = {"kind": kind} | ({"refund": euros(476)} if kind == "credit_note" else {})
        asked = subject.ask("once", **wanted)
        with suppress(Killed), before_statement(subject.context.database, statement, dies):
            subject.run(asked.id)
        subject.run(asked.id)
        subject.run(asked.id)
        subject.settle()
        assert subject.of(asked.id).state == "booked"
        assert subject.made == {"credit_note": (1, 1), "refund": (0, 1)}.get(kind, (0, 0))
        assert len(subject.of(asked.id).history) == 5
        agree(subject)


def test_what_billing_has_done_before_its_answer_was_lost_is_found(paid: Corrected) -> None:
    asked = paid.ask("lost", kind="refund", amount=euros(100))

    def lost() -> None:
        paid.meanwhile = lambda: None
        raise ConnectionAbortedError

    paid.meanwhile = lost
    waits = paid.run(asked.id)
    assert (waits.state, paid.made) == ("carrying_out", (0, 1))
    assert paid.run(asked.id).state == "carried_out"
    agree(paid)
    assert (paid.of(asked.id).state, paid.made) == ("booked", (0, 1))


def test_a_refund_that_fails_later_is_a_case_and_leaves_nothing_due(tmp_path: Path, empty_tables: Path) -> None:
    with corrected(tmp_path, empty_tables, method="pm_card_pendingRefund") as subject:
        asked = subject.run(subject.ask("fails", kind="refund", amount=euros(100)).id)
        assert (asked.state, asked.blocked_reason) == ("carried_out", "the ERP has not booked it yet")
        (refund,) = subject.account.account.all("refund")
        subject.account.account.save(refund | {"status": "failed"}, "refund.failed")
        held = subject.run(asked.id)
        case = subject.case(held.id)
        assert case is not None
        assert (held.state, case.kind) == ("on_hold", "correction_refused")
        subject.act(held.id, "compensate")
        assert subject.of(held.id).state == "given_up"
        assert subject.books.receivable == 0


@pytest.mark.parametrize(("kind", "action"), [("void", "void"), ("write_off", "mark_uncollectible")])
def test_what_billing_has_refused_once_is_tried_again_under_another_key(
    unpaid: Corrected, kind: str, action: str
) -> None:
    asked = unpaid.ask("again", kind=kind)
    key, request = f"{action}:{unpaid.invoice}:open:{asked.id}:1", f"POST {['invoices', unpaid.invoice, action]} "
    refusal = {"error": {"type": "invalid_request_error", "message": "It is being paid."}}
    first, sent = (sha256(each.encode()).hexdigest() for each in (key, request))
    unpaid.account.account.remember(first, sent, 400, refusal)
    if unpaid.run(asked.id).state == "awaiting_approval":
        unpaid.act(asked.id, "approve")
        unpaid.run(asked.id)
    assert unpaid.of(asked.id).state == "on_hold", unpaid.of(asked.id).blocked_reason
    unpaid.act(asked.id, "retry")
    assert unpaid.run(asked.id).state == "carried_out"
    agree(unpaid)
    assert unpaid.of(asked.id).state == "booked"


@pytest.mark.parametrize("fault", [Rejected("billing", "not now"), Unavailable("billing", "away"), None])
def test_what_has_waited_in_front_of_billing_is_previewed_and_approved_again(
    unpaid: Corrected, fault: PlatformFault | None
) -> None:
    asked = unpaid.run(unpaid.ask("waits", kind="credit_note", lines=seats(unpaid, 2), proposed=True).id)
    unpaid.act(asked.id, "approve")
    if fault is None:
        unpaid.runs.correcting.check(asked.id)  # and the process ends
    else:
        unpaid.before = partial(raised, fault)
        unpaid.run(asked.id)
        unpaid.before = lambda: None
    unpaid.clock.move(120)
    bank_transfer(unpaid.account.api, unpaid.invoice, SEAT)
    if isinstance(fault, Rejected):
        unpaid.act(asked.id, "retry")
    else:
        assert unpaid.of(asked.id).state == "carrying_out"
        assert unpaid.run(asked.id).state == "checking"
    again = unpaid.run(asked.id)
    assert (again.state, unpaid.made) == ("awaiting_approval", (0, 0))
    assert "another preview" in again.blocked_reason
    unpaid.act(asked.id, "approve")
    assert (unpaid.run(asked.id).state, unpaid.made) == ("carried_out", (1, 0))
    agree(unpaid)
    assert unpaid.of(asked.id).state == "booked"


def test_what_passes_but_does_not_is_a_case_of_its_own_and_no_outage(unpaid: Corrected) -> None:
    asked = unpaid.ask("busy", kind="credit_note", lines=seats(unpaid, 1))
    unpaid.before = partial(raised, Conflict("billing", "it is being paid", field="invoice"))
    for _ in range(CASE_AFTER):
        assert unpaid.case(asked.id) is None
        unpaid.clock.move(120)
        if unpaid.run(asked.id).state == "checking":
            unpaid.run(asked.id)
        row = unpaid.runs.records.row(asked.id)
        assert (row.blocked_by, "it is being paid" in row.blocked_reason) == (None, True)
    case = unpaid.case(asked.id)
    assert case is not None
    assert (case.kind, case.field, unpaid.runs.allowed(case)) == ("correction_refused", "invoice", ("retry",))

    unpaid.before = lambda: None
    unpaid.act(asked.id, "retry")
    unpaid.run(asked.id)
    assert unpaid.run(asked.id).state == "carried_out"
    assert unpaid.case(asked.id) is None
    agree(unpaid)


@pytest.mark.parametrize(
    "fault", [Conflict("billing", "it is being paid", field="invoice"), Unavailable("erp", "away")]
)
def test_the_case_of_what_waits_is_closed_when_it_goes_on_and_an_outage_is_none(
    unpaid: Corrected, fault: PlatformFault
) -> None:
    asked = unpaid.ask("waits", kind="void")
    unpaid.books.trouble = fault
    for _ in range(CASE_AFTER):
        assert unpaid.run(asked.id).state == "checking"
    assert (unpaid.case(asked.id) is not None) == bool(fault.field)
    assert (unpaid.runs.records.row(asked.id).blocked_by is None) == bool(fault.field)
    unpaid.books.trouble = None
    unpaid.run(asked.id)
    assert "correction_refused" not in [each.kind for each in [unpaid.case(asked.id)] if each]


def raised(fault: PlatformFault) -> None:
    raise fault


def test_what_was_credited_into_the_balance_is_not_refunded_as_well(paid: Corrected) -> None:
    half: dict[str, Any] = {"kind": "credit_note", "lines": seats(paid, 2), "to_balance": euros(2 * SEAT)}
    waits = paid.ask("waits", **half)
    with pytest.raises(ProblemError, match="more than there is"):
        paid.ask("too-much", kind="refund", amount=euros(2 * SEAT + 1))
    paid.runs.withdraw(waits.id, CLERK)

    asked = paid.run(paid.ask("half", **half).id)
    if asked.state == "awaiting_approval":
        paid.act(asked.id, "approve")
        asked = paid.run(asked.id)
    assert (asked.state, paid.made) == ("carried_out", (1, 0))
    agree(paid)
    with pytest.raises(ProblemError, match=r"238\.00 EUR of .* can be refunded") as refusal:
        paid.ask("too-much", kind="refund", amount=euros(2 * SEAT + 1))
    assert "238.00 EUR of it was credited into the customer's balance" in str(refusal.value)
    assert "void the credit note in billing" in str(refusal.value)
    assert paid.preview(kind="refund").paid_back == Money(2 * SEAT, "EUR")


def test_what_was_refunded_is_named_before_as_much_goes_back_by_a_credit_note(paid: Corrected) -> None:
    asked = paid.run(paid.ask("back", kind="refund", amount=euros(SEAT)).id)
    agree(paid)
    with pytest.raises(ProblemError, match="name what was refunded"):
        paid.ask("all", kind="credit_note", to_balance=euros(ALL))
    named = [{"id": asked.reference, "amount": euros(SEAT)}]
    assert paid.ask("named", kind="credit_note", to_balance=euros(ALL - SEAT), refunds=named).state == "requested"


def test_an_invoice_that_was_written_off_is_void_once_the_books_have_taken_it_back(unpaid: Corrected) -> None:
    off = unpaid.ask("off", kind="write_off")
    unpaid.run(off.id)
    unpaid.act(off.id, "approve")
    unpaid.run(off.id)
    agree(unpaid)
    asked = unpaid.ask("void", kind="void")
    if unpaid.run(asked.id).state == "awaiting_approval":
        unpaid.act(asked.id, "approve")
        unpaid.run(asked.id)
    assert unpaid.of(asked.id).state == "carried_out"
    assert unpaid.books.written_off != {}
    agree(unpaid)
    assert (unpaid.of(asked.id).state, unpaid.books.written_off) == ("booked", {})

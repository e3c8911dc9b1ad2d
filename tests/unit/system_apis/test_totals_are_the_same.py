"""What billing charges is what is expected before and what the ERP books after it, to the minor unit and by rate."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from canonical.billing import Invoice
from canonical.faults import Rejected
from canonical.money import Money, exponent
from system_apis.erp.tryton import mapping
from system_apis.erp.tryton.mapping import TaxSide
from tests.support.drawn_invoices import by_code, contracts, credited_in_part, invoicing, issued

ON = date(2026, 1, 1)
PERCENTS = {str(each): Decimal(each) / 10 for each in (*range(0, 271, 5), 26, 38, 81)}
"""From 0 to 27 per cent by halves, and the Swiss ones."""
IDS = {code: number for number, code in enumerate(PERCENTS, 1)}


def drafted(invoice: Invoice) -> list[dict[str, Any]]:
    """Return the taxes of a draft as Tryton rounds them: halves to even, for each line, credits apart."""
    digits = Decimal(1).scaleb(-exponent(invoice.total.currency))
    worked_out: dict[TaxSide, tuple[Decimal, Decimal]] = {}
    for line in invoice.lines:
        (tax,) = line.taxes
        side = IDS[tax.code], line.net.amount >= 0
        base, amount = worked_out.get(side, (Decimal(0), Decimal(0)))
        exact = line.net.decimal * PERCENTS[tax.code] / 100
        worked_out[side] = base + line.net.decimal, amount + exact.quantize(digits, ROUND_HALF_EVEN)
    return [
        {"id": place, "tax": tax, "base": mapping.decimal(base), "amount": mapping.decimal(amount)}
        for place, ((tax, _), (base, amount)) in enumerate(worked_out.items())
    ]


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_of_thousands_of_invoices_each_is_booked_as_it_was_charged(tmp_path: Path, count: int) -> None:
    billing, draw = invoicing(tmp_path), Random(7)
    for contract in contracts(7, count, PERCENTS):
        whole = issued(contract, billing, ON)
        if exponent(contract.currency) <= 2:  # three digits are charged in steps of ten
            assert contract.gross == whole.total
        for invoice in (whole, credited_in_part(whole, draw)):
            present = drafted(invoice)

            changes = mapping.tax_changes(present, mapping.taxes_by_side(invoice, IDS.__getitem__), len(invoice.lines))

            written = {row[0]: mapping.from_decimal(values["amount"]) for _, row, values in changes}
            booked: dict[int, Decimal] = {}
            for each in present:
                amount = written.get(each["id"], mapping.from_decimal(each["amount"]))
                booked[each["tax"]] = booked.get(each["tax"], Decimal(0)) + amount
            charged = {IDS[code]: tax.decimal for code, (_, tax) in by_code(invoice.lines).items()}
            assert booked == charged, invoice


@pytest.mark.parametrize(("currency", "most"), [("JPY", 2), ("EUR", 2), ("KWD", 20)])
def test_a_difference_beyond_the_rounding_of_each_line_is_refused(currency: str, most: int) -> None:
    amount = mapping.decimal(Money(1000, currency).decimal)
    present = [{"id": 1, "tax": 1, "base": mapping.decimal(Decimal(1)), "amount": amount}]

    mapping.tax_changes(present, {(1, True): Money(1000 + most, currency)}, 2)

    with pytest.raises(Rejected):
        mapping.tax_changes(present, {(1, True): Money(1000 + most + 1, currency)}, 2)

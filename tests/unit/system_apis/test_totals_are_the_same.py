"""What billing charges is what is expected before and what the ERP books after it, to the minor unit and by rate."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest

from canonical.billing import Invoice
from canonical.faults import Rejected
from canonical.money import Money, exponent
from system_apis.erp.tryton import mapping
from tests.support.drawn_invoices import by_code, contracts, invoicing, issued

ON = date(2026, 1, 1)
COUNT = 10_000
PERCENTS = {str(each): Decimal(each) / 10 for each in (*range(0, 271, 5), 26, 38, 81)}
"""From 0 to 27 per cent by halves, and the Swiss ones."""
IDS = {code: number for number, code in enumerate(PERCENTS, 1)}


def drafted(invoice: Invoice) -> list[dict[str, Any]]:
    """Return the taxes of a draft as Tryton rounds them: halves to even, for each line."""
    digits = Decimal(1).scaleb(-exponent(invoice.total.currency))
    worked_out: dict[str, Decimal] = {}
    for line in invoice.lines:
        (tax,) = line.taxes
        exact = line.net.decimal * PERCENTS[tax.code] / 100
        worked_out[tax.code] = worked_out.get(tax.code, Decimal(0)) + exact.quantize(digits, ROUND_HALF_EVEN)
    return [
        {"id": IDS[code], "tax": IDS[code], "amount": mapping.decimal(amount)} for code, amount in worked_out.items()
    ]


def test_of_ten_thousand_invoices_each_is_booked_as_it_was_charged(tmp_path: Path) -> None:
    billing = invoicing(tmp_path)
    for contract in contracts(7, COUNT, PERCENTS):
        invoice = issued(contract, billing, ON)
        wanted = {IDS[code]: tax for code, (_, tax) in by_code(invoice.lines).items()}
        present = drafted(invoice)

        changes = mapping.tax_changes(present, wanted, len(invoice.lines))

        written = {row[0]: mapping.from_decimal(values["amount"]) for _, row, values in changes}
        booked = {each["id"]: written.get(each["id"], mapping.from_decimal(each["amount"])) for each in present}
        assert {key: Money.of(amount, contract.currency) for key, amount in booked.items()} == wanted, invoice
        if exponent(contract.currency) <= 2:  # three digits are charged in steps of ten
            assert contract.gross == invoice.total


@pytest.mark.parametrize(("currency", "most"), [("JPY", 2), ("EUR", 2), ("KWD", 20)])
def test_a_difference_beyond_the_rounding_of_each_line_is_refused(currency: str, most: int) -> None:
    present = [{"id": 1, "tax": 1, "amount": mapping.decimal(Money(1000, currency).decimal)}]

    mapping.tax_changes(present, {1: Money(1000 + most, currency)}, 2)

    with pytest.raises(Rejected):
        mapping.tax_changes(present, {1: Money(1000 + most + 1, currency)}, 2)

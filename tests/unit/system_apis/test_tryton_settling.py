"""When lines on a customer's account come to nothing, whatever a currency was worth on the day of each."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from system_apis.erp.tryton.mapping import decimal, left_of


def line(debit: str, credit: str, foreign: str = "", currency: int | None = None) -> dict[str, Any]:
    return {
        "debit": decimal(Decimal(debit)),
        "credit": decimal(Decimal(credit)),
        "second_currency": currency,
        "amount_second_currency": decimal(Decimal(foreign)) if foreign else None,
    }


def test_what_is_left_is_said_in_the_currency_of_the_invoices() -> None:
    credit, invoice = line("0", "92.00", "-100.00", 2), line("95.00", "0", "100.00", 2)

    assert left_of([credit, invoice]) == 0
    assert left_of([credit, line("46.00", "0", "50.00", 2)]) == Decimal("-50.00")


def test_lines_of_several_currencies_are_added_up_in_that_of_the_books() -> None:
    assert left_of([line("95.00", "0", "100.00", 2), line("0", "95.00")]) == 0
    assert left_of([line("95.00", "0", "100.00", 2), line("0", "92.00", "-100.00", 3)]) == 3
    assert left_of([line("10.00", "0"), line("0", "4.00")]) == 6

"""What billing takes for disputes, and gives back, in Tryton: a move between an expense account and the account on
which payments come in."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from canonical.billing import ClosedPeriod, Posting
from canonical.disputes import DisputeFee
from canonical.faults import Rejected
from canonical.money import Money
from system_apis.erp.tryton import mapping
from system_apis.erp.tryton.books import Books
from system_apis.erp.tryton.client import TrytonClient
from system_apis.erp.tryton.invoices import Invoices
from system_apis.erp.tryton.ledger import Ledger
from system_apis.erp.tryton.mapping import EXPENSE, Row
from system_apis.erp.tryton.master_data import MasterData


class Fees:
    """Book fees. Its methods raise leaves of `PlatformFault`."""

    def __init__(
        self, client: TrytonClient, master_data: MasterData, invoices: Invoices, ledger: Ledger, books: Books
    ) -> None:
        self._client = client
        self._master_data = master_data
        self._invoices = invoices
        self._ledger = ledger
        self._books = books

    async def put(self, fee: DisputeFee, closed: ClosedPeriod, company: Row) -> Posting:
        """Do as `Erp.put_fee` says. The move's description is billing's id."""
        if not await self._ledger.is_booked(fee.id, company):
            on = await self._invoices.open_day(fee.taken_on, closed, company)
            await self._ledger.move(fee.id, await self._move(fee, on, company), company)
        booked = [["description", "=", fee.id], ["company", "=", company["id"]], ["state", "=", "posted"]]
        found = await self._client.rows("account.move", booked, ["number", "date"], company["id"])
        if len(found) > 1:
            raise Rejected("erp", f"{fee.id} is booked {len(found)} times: cancel all but one", field="id")
        zero = Money.zero(fee.amount.currency)
        number, day = found[0]["number"] or "", mapping.from_day(found[0]["date"])
        return Posting(number, fee.amount, zero, zero, day, fee.id)

    async def _move(self, fee: DisputeFee, on: date, company: Row) -> Row:
        """Return the move of a fee: an expense, off what billing owes us; the other way round where it gave it back."""
        method = (await self._master_data.opened(company))["payment_method"]
        fields = ["journal", "debit_account"]
        (paid_by,) = await self._client.rows(
            "account.invoice.payment.method", [["id", "=", method]], fields, company["id"]
        )
        expense, amount = await self._expense(fee, company), abs(await self._worth(fee, on, company))
        second = None
        if fee.amount.currency != company["currency"]:
            second = await self._master_data.currency(fee.amount.currency)
        nothing, is_cost = Decimal(0), fee.amount.amount > 0

        def line(account: int, *, owed: bool) -> Row:
            own: Row = {"account": account, "description": fee.dispute_id}
            own |= {"debit": mapping.decimal(amount if owed else nothing)}
            own |= {"credit": mapping.decimal(nothing if owed else amount)}
            if second is not None:
                foreign = abs(fee.amount.decimal)
                own["second_currency"] = second
                own["amount_second_currency"] = mapping.decimal(foreign if owed else -foreign)
            return own

        return {
            "journal": paid_by["journal"],
            "date": mapping.day(on),
            "period": await self._ledger.period(on, company),
            "lines": [["create", [line(expense, owed=is_cost), line(paid_by["debit_account"], owed=not is_cost)]]],
        }

    async def _worth(self, fee: DisputeFee, on: date, company: Row) -> Decimal:
        """Return a fee in the currency of the books, by Tryton's rate of its day in them."""
        own: str = company["currency"]
        if fee.amount.currency == own:
            return fee.amount.decimal
        rates = await self._master_data.rates([fee.amount.currency], company, on)
        return Money.of(fee.amount.decimal * rates[fee.amount.currency], own).decimal

    async def _expense(self, fee: DisputeFee, company: Row) -> int:
        """Return Tryton's id of the account that the mapping names for fees. Raises `Rejected`."""
        named = self._books.of(fee.legal_entity)
        if named is None or not named.payment_fees:
            reason = (
                f"the mapping of {fee.legal_entity} names no payment_fees: book {fee.amount} that billing took for the"
                f" dispute {fee.dispute_id} by hand, and skip; or name an expense account there, and retry"
            )
            raise Rejected("erp", reason, field="payment_fees")
        own = [["company", "=", company["id"]], *EXPENSE]
        for name in ("code", "name"):
            sought = [*own, [name, "=", named.payment_fees]]
            found = await self._client.rows("account.account", sought, ["id"], company["id"], 2)
            if len(found) == 1:
                return found[0]["id"]
        reason = f"{company['name']} has not one expense account that is {named.payment_fees!r} by its code or its name"
        raise Rejected("erp", reason, field="payment_fees")

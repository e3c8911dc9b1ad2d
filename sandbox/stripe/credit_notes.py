"""Credit notes: what a finalized invoice is less by (API reference: Credit Notes; Invoicing: Issue credit notes)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

from sandbox.stripe import currencies, forms
from sandbox.stripe.account import Account
from sandbox.stripe.discounts import net
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.invoicing import Invoicing, rounded_amount
from sandbox.stripe.objects import Object, listing
from sandbox.stripe.parameters import require, unknown
from sandbox.stripe.refunds import Refunds

REASONS = ("duplicate", "fraudulent", "order_change", "product_unsatisfactory")
LINE = {
    "invoice_line_item": {"amount", "invoice_line_item", "metadata", "quantity", "tax_amounts", "type"},
    "custom_line_item": {
        *("description", "metadata", "quantity", "tax_amounts", "tax_rates", "type", "unit_amount"),
        "unit_amount_decimal",
    },
}
"""What each type of line takes (API reference: Create a credit note, `lines`)."""
RETURNED = ("refund_amount", "credit_amount", "out_of_band_amount")


class CreditNotes:
    """Create credit notes, and void them where nothing has been paid back."""

    def __init__(self, account: Account, invoicing: Invoicing, refunds: Refunds, follow: Callable[[str], None]) -> None:
        """Tell `follow` of the subscription whose invoice a credit note pays."""
        self.account = account
        self.invoicing = invoicing
        self.refunds = refunds
        self.follow = follow

    def create(self, params: Params) -> Object:
        """Credit an invoice: first what remains to be paid of it, then what has been.

        What has been paid goes back as a refund, to the customer's balance, or outside of Stripe; these three have to
        sum up to it.
        """
        invoice = self._invoice(params)
        note = self._note(invoice, params)
        before = min(note["amount"], invoice["amount_remaining"]) if invoice["status"] == "open" else 0
        after = note["amount"] - before
        linked = self._linked(invoice, params)
        given = {name: forms.whole(params, name, default=0) for name in RETURNED}
        back = sum(given.values()) + sum(each["amount_refunded"] for each in linked)
        if back != after:
            reason = (
                "The sum of refund amounts, `credit_amount` and `out_of_band_amount` must equal the post-payment "
                f"amount of the credit note ({after}), and is {back}."
            )
            raise invalid(reason, "", "")
        if given["refund_amount"]:
            linked.append(self._refunded(invoice, given["refund_amount"], note["reason"]))
        note |= {
            "out_of_band_amount": given["out_of_band_amount"] or None,
            "pre_payment_amount": before,
            "post_payment_amount": after,
            "refunds": linked,
            "type": "mixed" if before and after else "post_payment" if after else "pre_payment",
        }
        if given["credit_amount"]:
            note["customer_balance_transaction"] = self._balance(note, -given["credit_amount"])["id"]
        self.account.save(note, "credit_note.created")
        self._applied(invoice, before, after)
        return note

    def update(self, note: Object, params: Params) -> Object:
        """Change the memo and the metadata (API reference: Update a credit note)."""
        kept: Object = {**note["metadata"], **(params.get("metadata") or {})}
        metadata = {} if params.get("metadata") == "" else {key: each for key, each in kept.items() if each != ""}
        changed: Object = {"metadata": metadata, "memo": params.get("memo", note["memo"]) or None}
        return self.account.save(note | changed, "credit_note.updated", note)

    def void(self, note: Object) -> Object:
        """Void a credit note: its invoice is owed again, or the customer's balance has it no longer.

        What reduced an invoice comes back while that is open alone, and what was paid back stays so (Issue credit
        notes: Void a credit note).
        """
        invoice = self.account.get("invoice", note["invoice"])
        if note["status"] == "void":
            raise invalid("This credit note is already void.", "", "")
        if note["pre_payment_amount"] and invoice["status"] != "open":
            raise invalid("You can only void a credit note if the associated invoice is open.", "", "")
        if note["refunds"] or note["out_of_band_amount"]:
            raise invalid("You cannot void a credit note whose amount was paid back.", "", "")
        if note["pre_payment_amount"]:
            self._check_still(invoice)
        booked = self.account.find("customer_balance_transaction", note["customer_balance_transaction"] or "")
        if booked:
            self._balance(note, -booked["amount"])
        ended: Object = {"status": "void", "voided_at": self.account.clock.seconds()}
        voided = self.account.save(note | ended, "credit_note.voided")
        self._applied(invoice, -note["pre_payment_amount"], -note["post_payment_amount"])
        return voided

    # ---- what it says

    def _invoice(self, params: Params) -> Object:
        require(params, "invoice")
        invoice = self.account.get("invoice", params["invoice"], "invoice")
        if invoice["status"] not in ("open", "paid"):
            reason = f"You can only create a credit note for an open or paid invoice; it is {invoice['status']}."
            raise invalid(reason, "invoice", "")
        self._check_still(invoice)
        return invoice

    def _check_still(self, invoice: Object) -> None:
        """Raise `StripeError` while a payment of an open invoice is on its way, of which the amount stands."""
        if invoice["status"] == "open" and self.invoicing.intent(invoice)["status"] == "processing":
            raise invalid("The payment of this invoice is processing.", "", "payment_intent_unexpected_state")

    def _note(self, invoice: Object, params: Params) -> Object:
        """Return what a credit note says, without where its amount goes to."""
        reason = params.get("reason")
        if reason is not None and reason not in REASONS:
            raise invalid(f"Invalid reason: must be one of {', '.join(REASONS)}", "reason", "")
        if params.get("email_type", "none") not in ("credit_note", "none"):
            raise invalid("Invalid email_type: must be one of credit_note, none", "email_type", "")
        count = sum(each["invoice"] == invoice["id"] for each in self.account.all("credit_note"))
        note = self.account.make(
            "credit_note",
            currency=invoice["currency"],
            customer=invoice["customer"],
            effective_at=forms.whole(params, "effective_at", default=self.account.clock.seconds()),
            invoice=invoice["id"],
            memo=params.get("memo"),
            metadata=params.get("metadata") or {},
            number=f"{invoice['number']}-CN-{count + 1:02}",
            reason=reason,
        )
        rows = self._rows(invoice, params)
        note |= _totals(rows) | {
            "lines": listing(f"/v1/credit_notes/{note['id']}/lines", rows),
            "pdf": f"https://pay.stripe.com/credit_notes/acct_sandbox/{note['id']}/pdf",
        }
        if params.get("amount") and forms.whole(params, "amount") != note["amount"]:
            raise invalid(f"The lines sum up to {note['amount']}.", "amount", "")
        left = invoice["total"] - sum(invoice[f"{when}_payment_credit_notes_amount"] for when in ("pre", "post"))
        if not 0 < note["amount"] <= left:
            reason = f"The amount of a credit note must be above 0 and at most {left}, which is left of its invoice."
            raise invalid(reason, "amount", "")
        return note

    def _rows(self, invoice: Object, params: Params) -> list[Object]:
        rows: list[Params] = params.get("lines") or []
        if rows:
            made: list[Object] = []
            for place, each in enumerate(rows):
                made.append(self._row(invoice, each, f"lines[{place}]", made))
            return made
        if not params.get("amount"):
            reason = "One of `amount`, `lines`, or `shipping_cost` must be provided."
            raise invalid(reason, "amount", "parameter_missing")
        amount = forms.whole(params, "amount")
        return [self._line("custom_line_item", amount, f"Credit of invoice {invoice['number']}", 1, amount)]

    def _row(self, invoice: Object, row: Params, at: str, made: list[Object]) -> Object:
        kind = row.get("type", "")
        if kind not in LINE:
            raise invalid(f"Invalid {at}[type]: must be one of {', '.join(LINE)}", f"{at}[type]", "")
        for key in row:
            if key not in LINE[kind]:
                raise unknown(f"{at}[{key}]")
        automatic: bool = invoice["automatic_tax"]["enabled"]
        if automatic and (kind == "custom_line_item" or row.get("tax_amounts")):
            reason = "An invoice with automatic tax takes neither custom lines nor tax amounts."
            raise invalid(reason, f"{at}[type]", "")
        line = (
            self._of_invoice(invoice, row, at, made) if kind == "invoice_line_item" else self._custom(row, at, invoice)
        )
        if row.get("tax_amounts"):
            if row.get("tax_rates"):
                raise invalid("You may only specify one of these parameters: tax_amounts, tax_rates.", at, "")
            line |= self._taxes([self._given(each, at) for each in row["tax_amounts"]])
        return line | {"metadata": row.get("metadata") or {}}

    def _of_invoice(self, invoice: Object, row: Params, at: str, made: list[Object]) -> Object:
        """Return a line that credits one of the invoice, by its quantity or by an amount before tax.

        A line that was credited in one way is not credited in the other (Generate credit notes programmatically). What
        is credited last of a line takes all that is left of its discounts and taxes.
        """
        key = row.get("invoice_line_item", "")
        source = next((each for each in invoice["lines"]["data"] if each["id"] == key), None)
        if source is None:
            raise invalid(f"No such invoice line item on this invoice: '{key}'", f"{at}[invoice_line_item]", "")
        earlier = [each for each in (*self._credited(invoice), *made) if each["invoice_line_item"] == key]
        given = [name for name in ("quantity", "amount") if row.get(name)]
        if len(given) != 1:
            raise invalid("You must specify one of these parameters: quantity, amount.", f"{at}[amount]", "")
        by_quantity = given == ["quantity"]
        if any((each["quantity"] is not None) != by_quantity for each in earlier):
            raise invalid("A line is credited either by quantity or by amount.", f"{at}[{given[0]}]", "")
        asked = forms.whole(row, given[0], at)
        whole = source["quantity"] or 0 if by_quantity else source["amount"]
        left = whole - sum(each[given[0]] for each in earlier)
        if not 0 < asked <= left:
            reason = f"The {given[0]} to credit must be above 0 and at most {left}, which is left of the line."
            raise invalid(reason, f"{at}[{given[0]}]", "")
        share, is_last = Decimal(asked) / whole, asked == left

        def part(total: int, taken: Iterable[int]) -> int:
            rest = total - sum(taken)
            return rest if is_last else min(rest, currencies.rounded(total * share, invoice["currency"]))

        discounts = [
            {"amount": part(each["amount"], _of(earlier, "discount_amounts", place)), "discount": each["discount"]}
            for place, each in enumerate(source["discount_amounts"])
        ]
        amount = part(source["amount"], (each["amount"] for each in earlier)) if by_quantity else asked
        base = amount - sum(each["amount"] for each in discounts)
        taxes = [
            each
            | {
                "amount": part(each["amount"], _of(earlier, "taxes", place)),
                "taxable_amount": base if each["taxable_amount"] else 0,
            }
            for place, each in enumerate(source["taxes"])
        ]
        unit: Object = source["pricing"] or {"unit_amount_decimal": None}
        line = self._line("invoice_line_item", amount, source["description"], asked if by_quantity else None, None)
        line |= {"invoice_line_item": key, "discount_amounts": discounts} | self._taxes(taxes)
        line |= {
            "discount_amount": amount - base,
            "pretax_credit_amounts": [each | {"type": "discount"} for each in discounts],
        }
        if by_quantity and unit["unit_amount_decimal"] is not None:
            line |= _unit(Decimal(unit["unit_amount_decimal"]))
        return line

    def _custom(self, row: Params, at: str, invoice: Object) -> Object:
        """Return a line that is on no invoice, with tax rates of its own."""
        require(row, "description")
        given = [name for name in ("unit_amount", "unit_amount_decimal") if row.get(name)]
        if len(given) != 1:
            reason = "You must specify one of these parameters: unit_amount, unit_amount_decimal."
            raise invalid(reason, f"{at}[unit_amount]", "parameter_missing")
        unit = currencies.unit_amount(row[given[0]], given[0], invoice["currency"])
        quantity = forms.whole(row, "quantity", at)
        amount = rounded_amount(f"{unit:f}", quantity)
        line = self._line("custom_line_item", amount, row["description"], quantity, None) | _unit(unit)
        keys: list[str] = row.get("tax_rates") or []
        rates = [self.account.get("tax_rate", each, "tax_rates") for each in keys]
        return line | self._taxes(self.invoicing.taxes(amount, invoice["currency"], rates))

    def _line(self, kind: str, amount: int, description: str | None, quantity: int | None, unit: int | None) -> Object:
        line = self.account.make(
            "credit_note_line_item", type=kind, amount=amount, description=description, quantity=quantity
        )
        return line if unit is None else line | _unit(Decimal(unit))

    def _taxes(self, taxes: list[Object]) -> Object:
        keys: list[str] = [each["tax_rate_details"]["tax_rate"] for each in taxes]
        return {"taxes": taxes, "tax_rates": [self.account.get("tax_rate", each) for each in keys]}

    def _given(self, tax: Params, at: str) -> Object:
        """Return a tax as it is asked for: of a rate that Stripe has made itself (Create a credit note,
        `lines.tax_amounts.tax_rate`)."""
        rate = self.account.get("tax_rate", tax.get("tax_rate", ""), f"{at}[tax_amounts][0][tax_rate]")
        if rate["rate_type"] is None:
            reason = "The tax rate of a tax amount must have been created by Stripe."
            raise invalid(reason, f"{at}[tax_amounts][0][tax_rate]", "")
        require(tax, "amount", "taxable_amount")
        amounts = {name: forms.whole(tax, name, at) for name in ("amount", "taxable_amount")}
        return {**self.invoicing.taxes(0, "eur", [rate])[0], **amounts}

    def _credited(self, invoice: Object) -> Iterator[Object]:
        """Return the lines of the credit notes that an invoice has, which are not void."""
        for note in self.account.all("credit_note"):
            if note["invoice"] == invoice["id"] and note["status"] == "issued":
                yield from note["lines"]["data"]

    # ---- where the amount goes to

    def _charges(self, invoice: Object) -> list[Object]:
        """Return the charges that have paid an invoice, the newest first."""
        rows = [each for each in self.invoicing.payments(invoice["id"]) if each["status"] == "paid"]
        intents: list[Object | None] = [
            self.account.find("payment_intent", each["payment"].get("payment_intent") or "") for each in rows
        ]
        found = [self.account.find("charge", each["latest_charge"] or "") for each in intents if each]
        return [each for each in found if each][::-1]

    def _linked(self, invoice: Object, params: Params) -> list[Object]:
        """Return the refunds that exist already and are linked: each in part or whole, and no part twice."""
        charges = [each["id"] for each in self._charges(invoice)]
        linked: list[Object] = []
        for place, row in enumerate(params.get("refunds") or []):
            at = f"refunds[{place}]"
            if row.get("type", "refund") != "refund":
                raise invalid("The stand-in knows no refund of a payment record.", f"{at}[type]", "")
            refund = self.account.get("refund", row.get("refund", ""), f"{at}[refund]")
            if refund["charge"] not in charges:
                raise invalid("The refund is not of a payment of this invoice.", f"{at}[refund]", "")
            notes = [each for each in self.account.all("credit_note") if each["status"] == "issued"]
            others: list[Object] = [*(each for note in notes for each in note["refunds"]), *linked]
            left = refund["amount"] - sum(each["amount_refunded"] for each in others if each["refund"] == refund["id"])
            amount = forms.whole(row, "amount_refunded", at, default=left)
            if not 0 < amount <= left:
                raise invalid(f"Of the refund {left} is left to be linked.", f"{at}[amount_refunded]", "")
            linked.append(_link(refund["id"], amount))
        return linked

    def _refunded(self, invoice: Object, amount: int, reason: str | None) -> Object:
        """Refund a charge of the invoice, and return the link to the refund."""
        charges = self._charges(invoice)
        if not charges:
            raise invalid("There is no charge of this invoice to refund.", "refund_amount", "")
        charge = next((each for each in charges if each["amount"] - each["amount_refunded"] >= amount), charges[0])
        asked: Params = {"charge": charge["id"], "amount": str(amount)}
        if reason in ("duplicate", "fraudulent"):
            asked["reason"] = reason
        return _link(self.refunds.create(asked)["id"], amount)

    def _balance(self, note: Object, amount: int) -> Object:
        customer = self.account.get("customer", note["customer"], "customer")
        about = {"credit_note": note["id"], "invoice": note["invoice"]}
        return self.invoicing.balances.change(customer, amount, "credit_note", note["currency"], **about)

    def _applied(self, invoice: Object, before: int, after: int) -> None:
        """Take amounts off an invoice, or put them back below zero. One of which nothing remains is paid."""
        previous = dict(invoice)
        invoice |= {
            "amount_due": invoice["amount_due"] - before,
            "amount_remaining": invoice["amount_remaining"] - before,
            "pre_payment_credit_notes_amount": invoice["pre_payment_credit_notes_amount"] + before,
            "post_payment_credit_notes_amount": invoice["post_payment_credit_notes_amount"] + after,
        }
        if before and not invoice["amount_remaining"]:
            self.invoicing.withdraw(invoice)
            self.invoicing.settled(invoice, by_payment=False)
            if invoice["subscription"]:
                self.follow(invoice["subscription"])
            return
        if before:
            remaining: int = invoice["amount_remaining"]
            self.account.save(self.invoicing.request(invoice) | {"amount_requested": remaining})
            self.account.save(self.invoicing.intent(invoice) | {"amount": remaining})
        self.account.save(invoice, "invoice.updated", previous)


def _link(refund: str, amount: int) -> Object:
    return {"amount_refunded": amount, "payment_record_refund": None, "refund": refund, "type": "refund"}


def _unit(amount: Decimal) -> Object:
    is_whole = amount == amount.to_integral_value()
    return {"unit_amount": int(amount) if is_whole else None, "unit_amount_decimal": f"{amount.normalize():f}"}


def _of(lines: list[Object], name: str, place: int) -> Iterator[int]:
    """Return what lines have of the discount or tax that is at this place of the line that they credit."""
    yield from (each[name][place]["amount"] for each in lines)


def _totals(rows: list[Object]) -> Object:
    """Return the sums of a credit note by discount and rate (The Credit Note object)."""
    discounts: dict[str, int] = {}
    taxes: dict[str, Any] = {}
    for row in rows:
        for each in row["discount_amounts"]:
            discounts[each["discount"]] = discounts.get(each["discount"], 0) + each["amount"]
        for each in row["taxes"]:
            sums = taxes.setdefault(each["tax_rate_details"]["tax_rate"], each | {"amount": 0, "taxable_amount": 0})
            sums["amount"] += each["amount"]
            sums["taxable_amount"] += each["taxable_amount"]
    subtotal = sum(each["amount"] for each in rows)
    before_tax = sum(net(each) for each in rows)
    total = before_tax + sum(each["amount"] for each in taxes.values())
    shown = [{"amount": amount, "discount": key} for key, amount in discounts.items()]
    return {
        "amount": total,
        "discount_amount": subtotal - before_tax,
        "discount_amounts": shown,
        "pretax_credit_amounts": [each | {"type": "discount"} for each in shown],
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": total,
        "total_excluding_tax": before_tax,
        "total_taxes": list(taxes.values()),
    }

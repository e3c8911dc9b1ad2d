"""Changes of contracts: which of them somebody else has to approve, and the problems of those that cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated

import msgspec

from canonical.deals import LineTerms, PricedLine, plain
from canonical.money import Money, UnknownCurrency, exponent
from policies.catalogue.model import Catalogue, Fact, Report
from policies.catalogue.sections import section
from policies.problems import problem_type

CONTRACT_OVER = problem_type(
    "contract-over",
    409,
    "The contract does not run",
    "Read the contract: it says what it is, and since when.",
    "A contract is changed while it runs: once it is in force, and until it is cancelled. Nothing was done.",
)
CHANGE_REFUSED = problem_type(
    "change-refused",
    422,
    "The contract does not allow this change",
    "Correct what the errors name. The contract is as it was.",
    "An action names a line that the contract does not have, changes nothing, or says an amount that cannot be; or the "
    "day from which it counts is outside the term, or before an earlier change. Nothing was done.",
)
ALREADY_RENEWED = problem_type(
    "already-renewed",
    409,
    "The contract is renewed already",
    "Read the renewal that is named. Withdraw it before you ask for another, or change what it has agreed.",
    "A term is renewed once. Once the new term has begun, it can be renewed itself. Nothing was done.",
)
KEY_TAKEN = problem_type(
    "key-taken",
    409,
    "The key is that of another change",
    "Take a new key for another change, or send the first one again as it was.",
    "The contract has an amendment with this key, and it is not the same. The same key is the same change.",
)


class AmendmentApprovals(Fact, frozen=True):
    """From where on a change of a contract needs a yes of somebody else. A product that is new in it always does: who
    asks says its price. So does an end of the contract by us.

    `discount_percent` is the largest discount that needs none: from the list price, from the price before, or from that
    at which the line began, so that small steps add up. `credit` is the largest credit that needs none, in minor units
    by currency; a credit in any other currency always does. `lost_value` is the largest part of what the rest of the
    term is worth that a contract may lose without one, in minor units by currency: as by fewer units, by an earlier end
    or by a cancellation. There is no such limit for a currency that it does not name.
    """

    discount_percent: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0
    credit: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = msgspec.field(default_factory=dict[str, int])
    lost_value: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = msgspec.field(default_factory=dict[str, int])


def approvals_for(
    catalogue: Catalogue,
    began_at: Mapping[str, Decimal],
    before: Sequence[PricedLine],
    after: Sequence[PricedLine],
    charged: Money,
    value: Money | None = None,
    *,
    ended_by_us: bool = False,
) -> tuple[str, ...]:
    """Return what of a change somebody else has to approve, each in a sentence. `began_at` is the unit price at which
    each line began with its product, by its id. `charged` is what billing charges for the change, less what it credits,
    `value` what the rest of the term is worth more than before, both net of tax."""
    limits = AMENDMENT_APPROVALS.of(catalogue)
    former = {each.id: each for each in before}
    found: list[str] = ["we end the contract, and not the customer"] if ended_by_us else []
    for line in after:
        was = former.get(line.id)
        if was is None or was.sku != line.sku:
            found.append(f"{line.name}: its price of {line.in_words()} is a new one")
            continue
        discount = _discount(was.terms, line.terms, began_at.get(line.id, was.terms.unit_price))
        most = Decimal(str(limits.discount_percent))
        if discount > most:
            allowed = f"one of {plain(most)} % needs no approval"
            found.append(f"{line.name}: a discount of {plain(round(discount, 2))} %, and {allowed}")
    credit = Money(limits.credit.get(charged.currency, 0), charged.currency)
    if charged.amount < -credit.amount:
        found.append(f"a credit of {-charged}, and one of {credit} needs no approval")
    if value is not None and value.currency in limits.lost_value:
        lost = Money(limits.lost_value[value.currency], value.currency)
        if value.amount < -lost.amount:
            found.append(f"the contract loses {-value} of its value, and a loss of {lost} needs no approval")
    return tuple(found)


def _discount(was: LineTerms, now: LineTerms, began_at: Decimal) -> Decimal:
    """Return by how many percent a line is cheaper than its list price, than it was, or than it began; 0 for one that
    is as dear as before."""
    if now.unit_price >= was.unit_price:
        return Decimal(0)
    return max(100 - 100 * now.unit_price / max(was.unit_price, began_at), now.discount_percent)


def _check(catalogue: Catalogue) -> Iterator[Report]:
    limits = AMENDMENT_APPROVALS.of(catalogue)
    for name, by_currency in (("credit", limits.credit), ("lost_value", limits.lost_value)):
        for currency in by_currency:
            try:
                exponent(currency)
            except UnknownCurrency as error:
                yield ("amendment_approvals", name, currency), str(error), "write an ISO 4217 code, as in EUR"


AMENDMENT_APPROVALS = section("amendment_approvals", AmendmentApprovals, check=_check, title="Amendments to approve")

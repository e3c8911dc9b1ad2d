"""What follows when a contract owes: when its service is suspended, and what is done when nobody pays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from canonical.dunning import LastStep
from canonical.money import Money, UnknownCurrency, exponent
from policies.catalogue.model import Catalogue, Fact, Report
from policies.catalogue.sections import section

Days = Annotated[int, msgspec.Meta(ge=1, le=730)]


class DunningPolicy(Fact, frozen=True):
    """What follows when a contract of a legal entity owes, in days since the oldest of its invoices was to be paid.

    The service is suspended after `suspend_after_days`, and never where none are said. After `final_after_days` the
    `last_step` is done; the two go together. Nothing follows from less than the `minimum`, in minor units by currency;
    there is none for a currency that it does not name.
    """

    suspend_after_days: Days | None = None
    final_after_days: Days | None = None
    last_step: LastStep | None = None
    minimum: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = msgspec.field(default_factory=dict[str, int])

    def concerns(self, owed: Money) -> bool:
        """Return whether anything follows from an amount that is owed."""
        return owed.amount > 0 and owed.amount >= self.minimum.get(owed.currency, 0)


def _check(catalogue: Catalogue) -> Iterator[Report]:
    homes = catalogue.homes()
    for name, policy in DUNNING.of(catalogue).items():
        path = ("dunning", name)
        first, last = policy.suspend_after_days, policy.final_after_days
        if name not in homes:
            yield path, f"{name} belongs to no region", "use the code of a legal entity that has one"
        if (last is None) != (policy.last_step is None):
            has, lacks = ("last_step", "final_after_days") if last is None else ("final_after_days", "last_step")
            yield (*path, has), f"{has} says nothing without {lacks}", f"add {lacks}, or leave {has} out"
        if first is not None and last is not None and last <= first:
            reason = f"the last step comes after {last} days, and the service is suspended after {first}"
            yield (*path, "final_after_days"), reason, "let more days pass before the last step"
        for currency in policy.minimum:
            try:
                exponent(currency)
            except UnknownCurrency as error:
                yield (*path, "minimum", currency), str(error), "write an ISO 4217 code, as in EUR"


DUNNING = section("dunning", dict[str, DunningPolicy], check=_check, title="Dunning of")

"""What happens when the term of a contract ends: it is offered again, renewed by itself, or ends."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

import msgspec

from canonical.renewals import RenewalMode
from policies.catalogue.model import Catalogue, Fact, Report
from policies.catalogue.sections import section

SHORTEST_NOTICE = 7
"""Days. The end of a contract is agreed with billing four days before; before that, somebody has to hear of it."""


class RenewalPolicy(Fact, frozen=True):
    """How the contracts of a legal entity are renewed.

    With `quoted` the CRM gets an opportunity, and the contract ends with its term unless that is won; with `automatic`
    it is renewed without one; with `lapse` it ends unless somebody renews it. That begins `notice_days` before the end
    of the term. Prices rise by `uplift_percent`. The new term has `term_months`, 0 for as many as the present one; with
    `co_term` it ends earlier where that is the end of another contract of the customer, and billing allows it. What was
    delivered stays for `grace_days` after an end.
    """

    mode: RenewalMode
    notice_days: Annotated[int, msgspec.Meta(ge=SHORTEST_NOTICE, le=365)] = 60
    uplift_percent: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0
    term_months: Annotated[int, msgspec.Meta(ge=0, le=120)] = 0
    grace_days: Annotated[int, msgspec.Meta(ge=0, le=90)] = 0
    co_term: bool = False

    @property
    def uplift(self) -> Decimal:
        """Return by how many percent prices rise, as it is written in the catalogue."""
        return Decimal(str(self.uplift_percent))


def _check(catalogue: Catalogue) -> Iterator[Report]:
    homes = catalogue.homes()
    for name, policy in RENEWALS.of(catalogue).items():
        path = ("renewals", name)
        if name not in homes:
            yield path, f"{name} belongs to no region", "use the code of a legal entity that has one"
        if round(policy.uplift, 2) != policy.uplift:
            reason = f"{policy.uplift} has more than two digits after the point"
            yield (*path, "uplift_percent"), reason, "write percent such as 5 or 3.25"
        if policy.mode == "lapse" and (policy.uplift_percent or policy.term_months or policy.co_term):
            reason = "what lapses has no new term, and so neither months nor an uplift"
            remedy = "leave uplift_percent, term_months and co_term out, or write another mode"
            yield (*path, "mode"), reason, remedy


RENEWALS = section("renewals", dict[str, RenewalPolicy], check=_check, title="Renewals of")

"""What each connector says of its platform's fields agrees with the canonical model and with who owns what."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from canonical.fields import is_known
from policies.catalogue.check import load
from policies.catalogue.model import Domain
from policies.outbound.ownership import OWNERSHIP, Fields, check
from system_apis.billing.stripe import mapping as stripe
from system_apis.crm.salesforce import mapping as salesforce
from system_apis.erp.tryton import mapping as tryton
from system_apis.provisioning.webhook import connector as webhook

WRITTEN: dict[Domain, Mapping[str, Fields]] = {
    "crm": salesforce.FIELDS,
    "billing": stripe.FIELDS,
    "erp": tryton.FIELDS,
    "provisioning": webhook.FIELDS,
}


def canonical(domain: Domain) -> set[str]:
    """Return the canonical fields that a connector can write."""
    return {field for record in WRITTEN[domain].values() for each in record.values() for field in each.split()}


@pytest.mark.parametrize("domain", list(WRITTEN))
def test_all_that_a_connector_can_write_is_known_and_allowed(domain: Domain) -> None:
    fields = canonical(domain)

    assert fields
    assert [each for each in fields if not is_known(each)] == []
    check(load(), domain, frozenset(fields))


def test_no_field_is_said_to_have_copies_where_nobody_writes_it() -> None:
    written = {(domain, field) for domain in WRITTEN for field in canonical(domain)}
    declared = {
        (domain, f"{entity}.{name}")
        for entity, fields in OWNERSHIP.of(load()).items()
        for name, rule in fields.items()
        for domain in rule.projections
    }

    assert declared - written == set()

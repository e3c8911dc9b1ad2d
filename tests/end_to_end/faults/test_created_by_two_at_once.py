"""Two orders create the same customer in one moment: billing refuses the second, who looks again instead of giving
up."""

from __future__ import annotations

import hashlib

import pytest

from canonical.faults import Conflict
from canonical.parties import Address, Customer
from policies.catalogue.check import load
from policies.outbound.layer_client import LayerClient
from tests.support.environment import Environment
from tiergate import composition


def test_a_key_that_another_order_has_used_is_a_conflict_and_no_refusal(environment: Environment) -> None:
    customer = Customer(id="cus_two_at_once", name="Two At Once GmbH", address=Address(country="DE"))
    key = hashlib.sha256(f"customer:{customer.id}".encode()).hexdigest()
    environment.stripe.v1.customers.create({"name": "the other's"}, {"idempotency_key": key})
    token = composition.issuer(environment.settings).token("process-layer", load().clients["process-layer"])
    client = LayerClient(environment.sandbox.url("system"), "system", lambda: token, 10)

    with pytest.raises(Conflict, match="same parameters"):
        client.call("PUT", f"/billing/v1/customers/{customer.id}", dict[str, str], customer)

    client.close()

"""A step fails for good after billing has the contract: what was made is undone in reverse order, and what cannot be
undone is a case."""

from __future__ import annotations

from canonical.cases import Case
from canonical.orders import Order
from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import wait_until


def given_up(environment: Environment, name: str) -> tuple[str, Case]:
    """Sell what cannot be delivered, and give the order up. Return the deal, and the case that was acted on."""
    environment.behave(sku="SEAT", outcome="fail")
    _, deal = environment.sell(environment.sale(name, lines=(SaleLine("SEAT", 2),)))
    order = environment.order_in(deal, "on_hold")
    (case,) = environment.cases_of(order.id)
    environment.act(case.id, "compensate")
    return deal, case


def contracts_in_billing(environment: Environment, order: Order) -> list[str]:
    """Return the states of the contracts that billing has of the order's customer."""
    assert order.plan is not None
    customer = order.plan.contract.references["customer"]
    return [each.status for each in environment.stripe.v1.subscription_schedules.list({"customer": customer}).data]


def nothing_is_left(environment: Environment, order: Order) -> None:
    counted = environment.counted(order)
    assert (counted["billing.invoices"], counted["erp.posted_invoices"], counted["crm.contracts"]) == (0, 0, 0)
    assert contracts_in_billing(environment, order) == ["canceled"]
    assert {each["state"] for each in environment.jobs(order.id)} == {"removed"}


def test_an_order_that_is_given_up_is_undone_in_reverse(environment: Environment) -> None:
    deal, _ = given_up(environment, "Undone In Reverse")

    order = environment.order_in(deal, "cancelled")
    assert [each.state for each in order.history][-3:] == ["on_hold", "compensating", "cancelled"]
    nothing_is_left(environment, order)
    environment.behave(sku="SEAT", outcome="succeed")


def test_what_cannot_be_undone_is_a_case_and_holds_up_what_comes_after_it(environment: Environment) -> None:
    environment.fault("provisioning", kind="status", status=422, matching="/removal", times=0)
    deal, first = given_up(environment, "Cannot Be Undone")

    order = environment.order_of(deal)
    (held,) = wait_until(
        lambda: [each for each in environment.cases_of(order.id) if each.id != first.id], 20, "a case of what is left"
    )
    order = environment.order_in(deal, "on_hold")
    assert (held.kind, held.field.partition(".")[0], held.state) == ("platform_rejected", "provisioning", "open")
    still = contracts_in_billing(environment, order)
    assert still
    assert "canceled" not in still, "undone in reverse: billing comes after the target"

    environment.calm()
    environment.act(held.id, "retry")

    nothing_is_left(environment, environment.order_in(deal, "cancelled"))
    environment.behave(sku="SEAT", outcome="succeed")

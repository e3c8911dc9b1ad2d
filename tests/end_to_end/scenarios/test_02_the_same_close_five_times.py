"""The same close event arrives five times, at once and later, before and after a restart: one of everything."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from canonical.events import DEAL_CLOSED, Event
from canonical.ids import utc_now
from policies.catalogue.check import load
from policies.outbound.layer_client import LayerClient
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE
from tiergate import composition


def test_five_repeats_at_once_later_and_after_a_restart_change_nothing(environment: Environment) -> None:
    _, deal = environment.sell(environment.sale("Five Times"))
    event = Event(
        id=f"{deal}:1", source="crm/salesforce", type=DEAL_CLOSED, subject=deal, time=utc_now(), data={"revision": "1"}
    )

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(partial(offer, environment), [event] * 3))
    order = environment.order_in(deal, "active")
    environment.settled(order)
    offer(environment, event)
    environment.kill("process")
    environment.start("process")
    assert offer(environment, event) is False

    assert environment.order_in(deal, "active").id == order.id
    assert environment.counted(order) == EXACTLY_ONE
    assert environment.record("SELECT count(*) FROM orders WHERE deal_id = ?", deal) == 1


def offer(environment: Environment, event: Event) -> bool:
    """Offer it as the system layer does. Return whether it was new."""
    identity = load().clients["system-layer"]
    token = composition.issuer(environment.settings).token("system-layer", identity)
    client = LayerClient(environment.sandbox.url("process"), "process", lambda: token, 10)
    try:
        return client.call("POST", "/process/v1/events", dict[str, bool], event)["new"]
    finally:
        client.close()

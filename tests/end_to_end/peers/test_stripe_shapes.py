"""Every object that the Stripe stand-in returns has the keys and types of the table of Stripe's own shapes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
import stripe

from tests.end_to_end.peers.test_stripe_meters import Metered
from tests.end_to_end.peers.test_stripe_refunds import paid
from tests.support.environment import Environment
from tests.support.stripe_account import StripeAccount
from tests.support.stripe_shop import CHANGE, Shop, first

TABLE: list[tuple[str, str, list[str], bool]] = msgspec.json.decode(
    Path(__file__).with_name("stripe_shapes.json").read_bytes(), type=list[tuple[str, str, list[str], bool]]
)
KINDS = sorted({row[0] for row in TABLE})
USAGE = {f"billing.meter{each}" for each in ("", "_event", "_event_adjustment", "_event_summary")}
AFTERWARDS = {"credit_note", "credit_note_line_item", "dispute", "refund"}
"""Kinds that no sale makes: what comes after it does."""
LISTS = (
    "customers",
    "products",
    "prices",
    "tax_rates",
    "payment_methods",
    "subscriptions?status=all",
    "subscription_schedules",
    "invoices?expand[]=data.payments",
    "invoice_payments",
    "payment_intents",
    "charges",
    "balance_transactions",
    "events",
    "webhook_endpoints",
    "tax_ids",
)


def type_of(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Return every object inside an answer, however deep."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        if isinstance(members.get("object"), str) and not members.get("deleted"):
            yield members
        for inner in members.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from objects(inner)


def faults(found: dict[str, Any]) -> list[str]:
    """Return what an object lacks, or has in another type than Stripe's."""
    wrong: list[str] = []
    for kind, key, types, nullable in TABLE:
        if kind != found["object"]:
            continue
        if key not in found:
            wrong.append(f"{kind}.{key} is missing")
        elif found[key] is None:
            if not nullable:
                wrong.append(f"{kind}.{key} is null")
        elif (
            types and type_of(found[key]) not in types and not (types == ["integer"] and isinstance(found[key], float))
        ):
            wrong.append(f"{kind}.{key} is {type_of(found[key])}, not {types}")
    return wrong


@pytest.fixture
def returned(environment: Environment, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """All that the stand-in holds after a deal became cash."""
    _, deal = environment.sell(environment.sale(str(request.node.name)))
    environment.settled(environment.order_in(deal, "active"))
    found: list[dict[str, Any]] = []
    with httpx.Client(base_url=environment.sandbox.url("billing")) as http:
        for path in LISTS:
            headers = {"authorization": f"Bearer {environment.sandbox.api_key}"}
            answer = http.get(f"/v1/{path}{'&' if '?' in path else '?'}limit=100", headers=headers)
            found += objects(answer.raise_for_status().json())
    return found


def test_every_object_has_stripes_keys_and_types(returned: list[dict[str, Any]]) -> None:
    seen = {each["object"] for each in returned}
    wrong = sorted({fault for each in returned for fault in faults(each)})

    assert not wrong, "; ".join(wrong)
    assert set(KINDS) - seen <= AFTERWARDS | USAGE, "kinds that nothing returned"


def test_the_check_itself_sees_a_missing_key_a_null_and_a_wrong_type(returned: list[dict[str, Any]]) -> None:
    invoice = next(each for each in returned if each["object"] == "invoice")

    assert faults({key: value for key, value in invoice.items() if key != "lines"}) == ["invoice.lines is missing"]
    assert faults(invoice | {"total": None}) == ["invoice.total is null"]
    assert faults(invoice | {"total": "12"}) == ["invoice.total is string, not ['integer']"]


def test_what_a_change_a_preview_and_a_schedule_make_has_stripes_keys_and_types(
    api: stripe.StripeClient, account: StripeAccount
) -> None:
    shop = Shop(api)
    tenth = api.v1.coupons.create({"percent_off": 10, "duration": "forever"}).id
    running = shop.subscribe(shop.price(3_100), discounts=[{"coupon": tenth}])
    more: Any = {"items": [{"id": first(running).id, "quantity": 3}]}
    shop.until(CHANGE)

    seen = api.v1.invoices.create_preview({"subscription": running.id, "subscription_details": more})
    shop.change(running, **more, pause_collection={"behavior": "void"})
    api.v1.subscription_schedules.create({"from_subscription": running.id})
    shop.until(datetime(2021, 9, 26, tzinfo=UTC))
    api.v1.subscriptions.cancel(running.id, {"prorate": True, "invoice_now": True})

    made: list[Any] = [seen.to_dict()]
    for kind in ("customer", "subscription", "subscription_schedule", "invoice", "event"):
        made += account.account.all(kind)
    assert sorted({fault for row in made for each in objects(row) for fault in faults(each)}) == []


def test_what_comes_after_a_sale_has_stripes_keys_and_types(api: stripe.StripeClient, account: StripeAccount) -> None:
    charge = paid(api)
    api.v1.refunds.create({"charge": charge.id, "amount": 100})
    invoice = api.v1.invoices.list().data[0]
    credit: Any = {"type": "invoice_line_item", "invoice_line_item": invoice.lines.data[0].id, "quantity": 1}
    own: Any = {"type": "custom_line_item", "description": "Goodwill", "unit_amount": 0}
    refund: Any = {"invoice": invoice.id, "lines": [credit, own], "credit_amount": 200, "refund_amount": 9_800}
    api.v1.credit_notes.create(refund)
    disputed = [paid(api, method=f"pm_card_createDispute{each}") for each in ("", "Inquiry")]
    account.wait(1)
    assert len(api.v1.disputes.list().data) == len(disputed)

    made = [each for kind in ("charge", "event", *AFTERWARDS) for each in account.account.all(kind)]
    found = [each for row in made for each in objects(row)]
    assert sorted({fault for each in found for fault in faults(each)}) == []
    assert {each["object"] for each in found} >= AFTERWARDS


def test_meters_and_what_they_count_have_stripes_keys_and_types(account: StripeAccount) -> None:
    metered = Metered(account)
    event = metered.use("5")
    start = metered.now() // 60 * 60
    period: Any = {"customer": metered.customer, "start_time": start, "end_time": start + 120}
    cancel: Any = {"event_name": "call", "type": "cancel", "cancel": {"identifier": event.identifier}}

    summary = metered.api.meters.event_summaries.list(metered.meter.id, period).data[0]
    made: list[Any] = [metered.meter, event, summary, metered.api.meter_event_adjustments.create(cancel)]

    found = [each for row in made for each in objects(row.to_dict())]
    assert sorted({fault for each in found for fault in faults(each)}) == []
    assert {each["object"] for each in found} == USAGE

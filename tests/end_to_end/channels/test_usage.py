"""What was used is sent by the thousand over all layers, kept once each whatever is killed, and read at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from typing import Any

import httpx
import pytest

from canonical.ids import utc_now
from canonical.orders import Order
from policies.catalogue.model import SHIPPED
from sandbox.salesperson import SaleLine
from tests.support.amending import contract_of
from tests.support.environment import Environment
from tests.support.partners import NORD, SUED, Partner, customer_of
from tests.support.platforms import wait_until

METERS = '\n[meters.seat_hours]\nsku = "SEAT"\nunit = "hour"\naggregation = "sum"\n'
LINES = {"content-type": "application/x-ndjson"}
MANY = 60_000


@pytest.fixture(scope="module")
def metered(running: Environment, tmp_path_factory: pytest.TempPathFactory) -> Generator[Environment]:
    """Return the environment, whose process layer knows a meter of a product that contracts have."""
    catalogue = tmp_path_factory.mktemp("metered") / "catalogue.toml"
    catalogue.write_text(SHIPPED.read_text() + METERS)
    running.calm()
    running.children["process"].stop()
    running.start("process", governed(str(catalogue)))
    yield running
    running.children["process"].stop()
    running.start("process")


@pytest.fixture(scope="module")
def order(metered: Environment) -> Order:
    return customer_of(metered, NORD, "Usage of Nord", lines=(SaleLine("PLATFORM", 1), SaleLine("SEAT", 1)))


def governed(catalogue: str) -> dict[str, str]:
    return {"TIERGATE_GOVERNANCE_CATALOGUE": catalogue}


def lines(order: Order, prefix: str, count: int) -> Iterator[bytes]:
    """Yield records of an hour each, at the present moment."""
    contract, at = contract_of(order).id, utc_now().isoformat()
    for each in range(count):
        said = {"id": f"{prefix}-{each}", "contract_id": contract, "meter": "seat_hours", "at": at, "quantity": "1"}
        yield json.dumps(said).encode() + b"\n"


def send(partner: Partner, content: Any, **headers: str) -> httpx.Response:
    return partner.call("POST", "/partners/v2/usage", content=content, headers=LINES | headers)


def used(partner: Partner, order: Order) -> tuple[str, int]:
    """Return the quantity, and the number of records, of the present period up to a moment from now."""
    answer = partner.call("GET", f"/partners/v2/contracts/{contract_of(order).id}/usage")
    (found,) = answer.json()["items"]
    return found["quantity"], found["records"]


def after_a_second(partner: Partner, order: Order, records: int) -> str:
    """Return the quantity once all records count, which they do a second later."""
    return wait_until(
        lambda: next((q for q, n in [used(partner, order)] if n == records), ""), 60, f"{records} records"
    )


def test_a_partner_sends_and_reads_what_its_own_customer_used(metered: Environment, order: Order) -> None:
    partner = Partner(metered)
    sent = list(lines(order, "first", 3))
    wrong = sent[0].replace(b'"1"', b'"2"')

    first = send(partner, b"".join(sent))
    again = send(partner, b"".join([*sent, b"{\n", wrong]))

    assert first.json() == {"taken": 3, "repeated": 0, "refused": 0, "errors": []}
    assert [again.json()[name] for name in ("taken", "repeated", "refused")] == [0, 3, 2]
    assert [(each["line"], each["path"]) for each in again.json()["errors"]] == [(4, "$"), (5, "$.id")]
    assert after_a_second(partner, order, 3) == "3"
    for client, channel in (("support-desk", "support"), ("sales-app", "sales")):
        path = f"/{channel}/v1/contracts/{contract_of(order).id}/usage"
        found = metered.channels.get(client, path, dict[str, Any])
        assert [(each["meter"], each["quantity"]) for each in found["items"]] == [("seat_hours", "3")]


def test_a_partner_places_an_order_of_what_is_charged_by_use(metered: Environment, order: Order) -> None:
    partner = Partner(metered)
    more = partner.place(order.customer_id, "by-use-more", lines=[{"sku": "SEAT", "quantity": 5}])

    answer = partner.place(order.customer_id, "by-use", lines=[{"sku": "SEAT", "quantity": 1}])

    assert [each["path"] for each in more.json()["errors"]] == ["$.lines[0].quantity"]
    deal = metered.record("SELECT deal_id FROM orders WHERE id = ?", answer.json()["id"])
    placed = metered.order_in(deal, "active")
    (line,) = partner.call("GET", f"/partners/v2/orders/{placed.id}").json()["contract"]["lines"]
    assert (line["unit_price"]["amount"], line["agreed"]["unit_price"]) == (0, "240.0")
    key = contract_of(placed).references["subscription"]
    (item,) = metered.stripe.v1.subscriptions.retrieve(key)["items"].data
    assert (item.price.recurring.usage_type, item.price.unit_amount) == ("metered", 24_000)


def test_another_partner_is_told_the_same_as_of_no_contract(metered: Environment, order: Order) -> None:
    stranger = Partner(metered, SUED)
    none = next(lines(order, "none", 1)).replace(contract_of(order).id.encode(), b"con_" + b"0" * 32)

    answer = send(stranger, next(lines(order, "stolen", 1)) + none)

    one, other = answer.json()["errors"]
    assert answer.json()["refused"] == 2
    assert (one["path"], one["reason"]) == (other["path"], other["reason"])
    assert stranger.call("GET", f"/partners/v2/contracts/{contract_of(order).id}/usage").status_code == 404


def test_a_whole_call_is_refused_by_a_problem_that_says_what_to_do(metered: Environment, order: Order) -> None:
    partner = Partner(metered)
    one = next(lines(order, "whole", 1))

    other_type = send(partner, one, **{"content-type": "application/json"})
    too_many = send(partner, one + b"\n" * 100_000)
    in_v1 = partner.call("POST", "/partners/v1/usage", content=one, headers=LINES)
    no_scope = httpx.post(
        f"{partner.url}/sales/v1/usage", content=one, headers=metered.channels.headers("support-desk") | LINES
    )

    assert (other_type.status_code, other_type.json()["type"]) == (415, "/problems/usage-not-lines")
    assert (too_many.status_code, too_many.json()["type"]) == (413, "/problems/usage-too-long")
    assert "taken 1, repeated 0, refused 0" in too_many.json()["detail"]
    assert (in_v1.status_code, no_scope.status_code) == (404, 403)


def test_what_is_longer_than_any_call_may_be_is_broken_off(metered: Environment) -> None:
    partner = Partner(metered)

    answer = send(partner, [b" " * 65_536 for _ in range(1100)])

    assert answer.status_code == 413


def test_records_that_come_slowly_and_in_pieces_are_taken(metered: Environment, order: Order) -> None:
    partner = Partner(metered)
    whole = b"".join(lines(order, "slowly", 2000))

    answer = send(partner, [whole[start : start + 777] for start in range(0, len(whole), 777)])

    assert answer.json() == {"taken": 2000, "repeated": 0, "refused": 0, "errors": []}


def test_nothing_is_lost_or_doubled_when_the_process_layer_is_killed_in_the_middle(
    metered: Environment, order: Order, tmp_path_factory: pytest.TempPathFactory
) -> None:
    catalogue = tmp_path_factory.mktemp("killed") / "catalogue.toml"
    catalogue.write_text(SHIPPED.read_text() + METERS)
    partner, before = Partner(metered), metered.record("SELECT count(*) FROM usage_records")
    after_a_second(partner, order, before)
    sent = list(lines(order, "killed", MANY))
    answers: list[httpx.Response] = []
    sending = threading.Thread(target=lambda: answers.append(send(partner, sent)))

    sending.start()
    wait_until(
        lambda: metered.record("SELECT count(*) FROM usage_records WHERE id LIKE 'killed-%'"), 20, "some records"
    )
    metered.kill("process")
    sending.join(60)
    metered.start("process", governed(str(catalogue)))
    again = send(partner, b"".join(sent))

    assert answers[0].status_code == 504
    assert answers[0].json()["type"] == "/problems/outcome-unknown"
    found = again.json()
    assert (found["taken"] + found["repeated"], found["refused"]) == (MANY, 0)
    assert 0 < found["repeated"] < MANY
    assert metered.record("SELECT count(*) FROM usage_records WHERE id LIKE 'killed-%'") == MANY
    assert after_a_second(partner, order, before + MANY) == str(before + MANY)

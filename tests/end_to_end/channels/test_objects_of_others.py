"""Whose records a client may see is decided at the record: what is not its own is not there."""

from __future__ import annotations

import httpx
import pytest

from canonical.cases import Case
from canonical.orders import Order, OrderSummary, Page, PostingStatus
from tests.support.environment import Environment


@pytest.fixture(scope="module")
def order(running: Environment) -> Order:
    """Sell an order of the German legal entity, with its postings, which no test changes."""
    running.calm()
    return running.paid_order(running.sale("Object"))


def test_a_client_of_another_legal_entity_finds_neither_order_nor_customer_nor_posting(
    environment: Environment, order: Order
) -> None:
    other = "sales-france"

    for path in (f"/sales/v1/orders/{order.id}", f"/support/v1/customers/{order.customer_id}"):
        with pytest.raises(httpx.HTTPStatusError) as missing:
            environment.channels.get(other, path, dict)
        assert missing.value.response.status_code == 404
    orders: Page[OrderSummary] = environment.channels.get(other, "/sales/v1/orders", Page[OrderSummary])
    postings: Page[PostingStatus] = environment.channels.get(other, "/finance/v1/postings", Page[PostingStatus])
    cases: Page[Case] = environment.channels.get(other, "/support/v1/cases", Page[Case])
    assert (orders.items, postings.items, cases.items) == ((), (), ())


def test_missing_and_forbidden_look_the_same(environment: Environment, order: Order) -> None:
    def answer(order_id: str) -> tuple[int, str]:
        with pytest.raises(httpx.HTTPStatusError) as refused:
            environment.channels.get("sales-france", f"/sales/v1/orders/{order_id}", dict)
        body = refused.value.response.json()
        return refused.value.response.status_code, body["detail"].replace(order_id, "…")

    assert answer(order.id) == answer("ord_" + "0" * 32)


def test_a_client_without_the_scope_is_forbidden(environment: Environment, order: Order) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        environment.channels.get("sales-app", f"/support/v1/customers/{order.customer_id}", dict)

    assert refused.value.response.status_code == 403


def test_a_token_for_the_channels_is_worthless_below_them(environment: Environment, order: Order) -> None:
    headers = environment.channels.headers("finance-app")

    for layer, path in (("process", f"/process/v1/orders/{order.id}"), ("system", f"/crm/v1/deals/{order.deal_id}")):
        assert httpx.get(f"{environment.sandbox.url(layer)}{path}", headers=headers).status_code == 401


def test_lists_come_in_pages_that_neither_skip_nor_repeat(environment: Environment, order: Order) -> None:
    whole = [each.id for each in environment.orders()]
    paged: list[str] = []
    cursor = ""
    while True:
        path = f"/sales/v1/orders?limit=1{f'&cursor={cursor}' if cursor else ''}"
        page: Page[OrderSummary] = environment.channels.get("sales-app", path, Page[OrderSummary])
        paged += [each.id for each in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor

    assert paged == whole
    assert order.id in paged


@pytest.mark.parametrize(
    "path",
    [
        "/sales/v1/orders?limit=0",
        "/sales/v1/orders?limit=101",
        "/sales/v1/orders?cursor=abc",
        "/sales/v1/orders?state=lost",
        "/sales/v1/orders/not-an-id",
    ],
)
def test_a_parameter_out_of_bounds_is_refused(environment: Environment, path: str) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        environment.channels.get("sales-app", path, dict)

    assert refused.value.response.status_code in (400, 422)
    assert refused.value.response.json()["type"] == "/problems/invalid-request"


def test_support_sees_a_customer_with_all_that_is_going_on(environment: Environment, order: Order) -> None:
    seen = environment.channels.get("support-desk", f"/support/v1/customers/{order.customer_id}", dict)

    assert seen["customer"]["references"].keys() == {"salesforce", "stripe", "tryton"}
    assert [each["id"] for each in seen["orders"]] == [order.id]
    assert {each["kind"]: each["state"] for each in seen["postings"]} == {"invoice": "posted", "payment": "posted"}
    assert seen["open_cases"] == 0


def test_an_unknown_field_in_an_action_is_named(environment: Environment) -> None:
    answer = httpx.post(
        f"{environment.sandbox.url('experience')}/support/v1/cases/cas_{'0' * 32}/actions",
        headers=environment.channels.headers("support-desk"),
        json={"action": "retry", "because": "x"},
    )

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"path": "$.because", "reason": "unknown field"}]

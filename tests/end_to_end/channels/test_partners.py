"""What a partner can do for its customers, in both versions, and what it never sees."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import httpx
import pytest

from canonical.amendments import mrr
from canonical.corrections import Correction
from canonical.orders import Order
from tests.support.amending import amend, amendment_in, amendment_of, contract_of, extra_invoice, line_of
from tests.support.environment import Environment
from tests.support.partners import NORD, SUED, Partner, customer_of
from tests.support.platforms import wait_until


@pytest.fixture(scope="module")
def first(running: Environment) -> Order:
    """Return the first order of a customer of the partner Nord, for whom the tests order more."""
    running.calm()
    return customer_of(running, NORD, "Of Nord")


def test_an_order_that_a_partner_places_is_a_deal_of_the_crm_and_becomes_service(
    environment: Environment, first: Order
) -> None:
    partner = Partner(environment)

    answer = partner.place(first.customer_id, "an-order")

    assert answer.status_code == 201
    placed = answer.json()
    deal = environment.record("SELECT deal_id FROM orders WHERE id = ?", placed["id"])
    order = environment.order_in(deal, "active")
    environment.settled(order)
    (opportunity,) = environment.crm.query(
        f"SELECT IsWon, Amount, PlacedBy__c, AccountId FROM Opportunity WHERE Id = '{deal}'"
    )
    assert (opportunity["IsWon"], opportunity["PlacedBy__c"]) == (True, NORD)
    shown = partner.call("GET", f"/partners/v2/orders/{placed['id']}").json()
    assert shown["state"] == "active"
    assert [(line["sku"], line["quantity"], line["unit_price"]) for line in shown["contract"]["lines"]] == [
        ("PLATFORM", 1, {"amount": 600000, "currency": "EUR"}),
        ("SEAT", 5, {"amount": 24000, "currency": "EUR"}),
    ]
    invoices = partner.call("GET", f"/partners/v2/invoices?customer_id={first.customer_id}").json()["items"]
    assert {each["balance"]["amount"] for each in invoices} == {0}
    assert len(invoices) == 2


def test_a_partner_reads_the_credit_notes_of_its_own_customers(environment: Environment) -> None:
    order = customer_of(environment, NORD, "Credited Partner")
    invoice = contract_of(order).references["invoice"]
    environment.settled(order)
    total = environment.stripe.v1.invoices.retrieve(invoice).total
    body = {"kind": "credit_note", "text": "Not delivered", "key": "all", "to_balance": euros(total)}
    path = f"/support/v1/invoices/{invoice}/corrections"
    asked = environment.channels.post("support-desk", path, body, Correction, key="all-of-it")
    waits = "correction_approval"
    wait_until(lambda: [each.kind for each in environment.cases_of(asked.id)] == [waits], 40, "the case of finance")
    environment.decide(environment.cases_of(asked.id)[0].id, "approve")

    def credited(partner: str) -> list[dict[str, Any]]:
        query = f"?customer_id={order.customer_id}"
        return Partner(environment, partner).call("GET", f"/partners/v2/credit-notes{query}").json()["items"]

    (note,) = wait_until(lambda: credited(NORD), 60, "the credit note in the books")
    assert (note["invoice_id"], note["total"], note["void"]) == (invoice, euros(-total), False)
    old = Partner(environment).call("GET", f"/partners/v1/credit-notes?customer_id={order.customer_id}").json()
    assert old["items"][0]["total"] == f"-{Decimal(total) / 100:.2f} EUR"
    assert credited(SUED) == []


def euros(cents: int) -> dict[str, Any]:
    return {"amount": cents, "currency": "EUR"}


def test_v1_speaks_of_the_same_order_in_its_own_words(environment: Environment, first: Order) -> None:
    partner = Partner(environment)
    body = partner.wanted(first.customer_id)
    old = {key: value for key, value in body.items() if key not in {"customer_id", "lines"}}
    old |= {"customer": body["customer_id"], "items": body["lines"]}

    placed = partner.call("POST", "/partners/v1/orders", json=old, headers={"idempotency-key": "in-v1"})

    assert placed.status_code == 201
    assert placed.headers["deprecation"].startswith("@")
    assert 'rel="successor-version"' in placed.headers["link"]
    order_id = placed.json()["id"]

    def active() -> dict[str, Any] | None:
        shown: dict[str, Any] = partner.call("GET", f"/partners/v1/orders/{order_id}").json()
        return shown if shown["state"] == "active" else None

    shown = wait_until(active, 30)
    assert shown["customer"] == first.customer_id
    assert {"customer_id", "placed_at"}.isdisjoint(shown)
    assert [line["unit_price"] for line in shown["contract"]["items"]] == ["6000.00 EUR", "240.00 EUR"]
    assert shown["contract"]["net"] == "7200.00 EUR"
    (row, *_) = partner.call("GET", "/partners/v1/orders").json()["items"]
    assert row["customer"] == first.customer_id
    newer = partner.call("GET", f"/partners/v2/orders/{order_id}").json()
    assert newer["placed_at"] == shown["created"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"items": [{"sku": "SEAT", "quantity": 0}]}, "$.items[0].quantity"),
        ({"lines": []}, "$.lines"),
        ({"customer_id": "x"}, "$.customer_id"),
        ({"items": [{"sku": "SEAT", "quantity": 1, "colour": "red"}]}, "$.items[0].colour"),
    ],
)
def test_v1_names_what_is_wrong_as_v1_calls_it(environment: Environment, change: dict[str, Any], path: str) -> None:
    partner = Partner(environment)
    old = {
        "customer": "cus_" + "0" * 32,
        "name": "n",
        "legal_entity": "DE01",
        "currency": "EUR",
        "starts_on": "2026-01-01",
        "items": [{"sku": "SEAT", "quantity": 1}],
    }

    refused = partner.call(
        "POST", "/partners/v1/orders", json=old | change, headers={"idempotency-key": path + str(list(change))}
    )

    assert refused.status_code == 422
    assert path in [each["path"] for each in refused.json()["errors"]]


def test_another_partner_sees_neither_customer_nor_order_nor_invoice(environment: Environment, first: Order) -> None:
    other = Partner(environment, SUED)

    def ids(path: str, member: str) -> set[str]:
        return {each[member] for each in other.call("GET", f"/partners/v2/{path}?limit=100").json()["items"]}

    assert first.customer_id not in ids("customers", "id")
    assert first.id not in ids("orders", "id")
    assert first.customer_id not in ids("invoices", "customer_id")
    assert other.call("GET", f"/partners/v2/orders/{first.id}").status_code == 404
    missing = other.place("cus_" + "0" * 32, "missing").json()
    forbidden = other.place(first.customer_id, "forbidden").json()
    assert missing["detail"].replace("cus_" + "0" * 32, "…") == forbidden["detail"].replace(first.customer_id, "…")
    assert missing["status"] == forbidden["status"] == 404


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"legal_entity": "FR01"}, "$.legal_entity", "there is no legal entity FR01"),
        ({"legal_entity": "XX99"}, "$.legal_entity", "there is no legal entity XX99"),
        ({"starts_on": "2020-01-01"}, "$.starts_on", "it has to be from "),
        (
            {"lines": [{"sku": "SEAT", "quantity": 1}, {"sku": "NOTHING", "quantity": 1}]},
            "$.lines[1].sku",
            "the price list has no price for NOTHING in EUR",
        ),
        (
            {"lines": [{"sku": "ONBOARDING", "quantity": 1}]},
            "$.lines",
            "a contract needs at least one recurring line",
        ),
        ({"currency": "SEK"}, "$.currency", "the price list has no prices in SEK"),
        ({"currency": "ABC"}, "$.currency", "'ABC' is not an ISO 4217"),
    ],
)
def test_what_could_never_be_fulfilled_is_refused_at_once_and_nothing_is_created(
    environment: Environment, first: Order, change: dict[str, Any], path: str, reason: str
) -> None:
    before = len(environment.crm.query("SELECT Id FROM Opportunity"))

    refused = Partner(environment).place(first.customer_id, re.sub(r"\W", "-", str(change)), **change)

    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-request")
    (error,) = refused.json()["errors"]
    assert error["path"] == path
    assert error["reason"].startswith(reason)
    assert len(environment.crm.query("SELECT Id FROM Opportunity")) == before


def test_what_a_partner_sees_says_nothing_of_how_we_work(environment: Environment, first: Order) -> None:
    shown = Partner(environment).call("GET", f"/partners/v2/orders/{first.id}").text

    assert first.deal_id not in shown
    assert first.correlation_id not in shown
    assert "references" not in shown


def test_a_partner_previews_and_asks_for_a_change_at_the_prices_of_the_contract(environment: Environment) -> None:
    order = customer_of(environment, NORD, "Grows")
    partner, contract, seats = Partner(environment), contract_of(order), line_of(order, "SEAT")
    path = f"/partners/v2/contracts/{contract.id}"
    body = {"actions": [{"action": "quantity", "line": seats, "quantity": "30"}]}

    previewed = partner.call("POST", f"{path}/amendments/preview", json=body)
    in_old_words = partner.call("POST", f"/partners/v1/contracts/{contract.id}/amendments/preview", json=body)
    asked = [
        partner.call("POST", f"{path}/amendments", json=body, headers={"idempotency-key": "partner-30"})
        for _ in range(2)
    ]

    assert previewed.status_code == 200
    expected = previewed.json()
    old_invoices = in_old_words.raise_for_status().json()["invoices"]
    assert [each["total"].endswith(" EUR") for each in old_invoices] == [True] * len(expected["invoices"])
    assert (expected["is_agreed"], expected["needs_approval"]) == (True, False)
    assert [each.status_code for each in asked] == [201, 201]
    assert asked[0].json()["id"] == asked[1].json()["id"]
    done = amendment_in(environment, amendment_of(environment, asked[0].json()["id"]), "applied")
    charged = extra_invoice(environment, order, done)
    shown = partner.call("GET", f"/partners/v2/amendments/{done.id}").json()
    assert [each["total"]["amount"] for each in shown["preview"]["invoices"]] == [charged.total]
    now = partner.call("GET", path).json()
    agreed = {each["sku"]: each["terms"]["quantity"] for each in now["present"]["lines"]}
    assert agreed["SEAT"] == "30"
    assert [each["amendment_id"] for each in now["versions"]] == ["", done.id]
    later = partner.call("GET", f"{path}?as_of=2100-01-01T00:00:00Z").json()
    assert later["present"] == now["versions"][-1]
    for no_moment in ("null", "2026-02-30T00:00:00Z", "2026-03-01T00:00:00"):
        assert partner.call("GET", f"{path}?as_of={no_moment}").status_code == 422, no_moment
    in_v1 = partner.call("GET", f"/partners/v1/amendments/{done.id}").json()
    total = f"{Decimal(charged.total) / 100:.2f} EUR"
    assert [each["total"] for each in in_v1["preview"]["invoices"]] == [total]
    listed = partner.call("GET", f"/partners/v2/amendments?contract_id={contract.id}").json()["items"]
    assert [each["id"] for each in listed] == [done.id]


def test_contracts_are_listed_as_they_are_now_by_who_may_see_them(environment: Environment, first: Order) -> None:
    second = customer_of(environment, NORD, "Ends")
    ends = {"actions": [{"action": "cancel"}], "effective": "period_end"}
    amendment_in(environment, amend(environment, second, ends, "ends"), "applied", "scheduled")

    def listed(client: str, path: str) -> list[dict[str, Any]]:
        return environment.channels.get(client, path, dict)["items"]

    (found,) = listed("sales-app", f"/sales/v1/contracts?customer_id={second.customer_id}")
    (page,) = listed("sales-app", "/sales/v1/contracts?limit=1")
    of_nord = {each["id"]: each for each in listed(NORD, "/partners/v2/contracts?limit=100")}
    of_sued = {each["id"] for each in listed(SUED, "/partners/v2/contracts?limit=100")}

    contract = contract_of(second)
    recurring = mrr([each.line for each in second.lines if each.line.interval != "one_time"], contract.currency)
    assert (found["id"], found["order_id"], found["name"]) == (contract.id, second.id, second.name)
    assert found["mrr"] == {"amount": recurring.amount, "currency": "EUR"}
    assert page["id"] == contract.id
    assert {contract.id, contract_of(first).id} <= of_nord.keys()
    assert of_nord[contract.id]["products"] == found["products"] == ["PLATFORM", "SEAT"]
    assert "mrr" not in of_nord[contract.id]
    assert of_sued.isdisjoint(of_nord)


def test_a_partner_changes_no_price_and_sees_no_limit_of_ours(environment: Environment, first: Order) -> None:
    partner, seats = Partner(environment), line_of(first, "SEAT")
    path = f"/partners/v2/contracts/{contract_of(first).id}/amendments"
    for action in ({"action": "price", "unit_price": "1"}, {"action": "discount", "discount_percent": "50"}):
        refused = partner.call("POST", f"{path}/preview", json={"actions": [action | {"line": seats}]})
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-request")

    ends = {"actions": [{"action": "cancel"}]}
    asked = partner.call("POST", path, json=ends, headers={"idempotency-key": "partner-ends"}).json()
    waits = amendment_in(environment, amendment_of(environment, asked["id"]), "awaiting_approval")
    shown = partner.call("GET", f"/partners/v2/amendments/{asked['id']}")
    withdrawn = partner.call("POST", f"/partners/v2/amendments/{asked['id']}/withdrawal")

    assert "500.00" in waits.blocked_reason
    assert shown.json()["waits_for"] == "our approval"
    assert "500.00" not in shown.text
    assert "explanations" not in shown.text
    assert (withdrawn.status_code, withdrawn.json()["state"]) == (200, "given_up")


def test_a_partner_pauses_the_contract_of_its_customer_and_nobody_elses(environment: Environment) -> None:
    order = environment.paid_order(environment.sale("Rests With Nord", partner=NORD, evergreen=True))
    partner, path = Partner(environment), f"/partners/v2/contracts/{contract_of(order).id}"
    body = {"actions": [{"action": "pause"}], "effective": "period_end"}

    seen = partner.call("POST", f"{path}/amendments/preview", json=body).raise_for_status().json()
    others = Partner(environment, SUED).call("POST", f"{path}/amendments/preview", json=body)
    at_once = partner.call("POST", f"{path}/amendments/preview", json=body | {"effective": "now"})
    asked = partner.call("POST", f"{path}/amendments", json=body, headers={"idempotency-key": "rests"}).json()

    assert (seen["invoices"], seen["resumes_on"], seen["needs_approval"]) == ([], None, False)
    assert (others.status_code, at_once.json()["errors"][0]["path"]) == (404, "$.effective")
    done = amendment_in(environment, amendment_of(environment, asked["id"]), "applied")
    assert done.preview
    assert done.preview.in_words() == f"paused from {seen['pauses_on']}"
    versions = partner.call("GET", path).json()["versions"]
    assert [each["state"] for each in versions] == ["active", "paused"]
    resumed = partner.call("POST", f"{path}/amendments/preview", json={**body, "actions": [{"action": "resume"}]})
    assert resumed.json()["errors"] == [
        {"path": "$.actions[0]", "reason": f"the pause has not begun: reverse {done.id}"}
    ]


def test_contracts_and_changes_of_another_partners_customers_are_not_there(
    environment: Environment, first: Order
) -> None:
    other, contract = Partner(environment, SUED), contract_of(first).id
    body = {"actions": [{"action": "cancel"}]}

    answers = [
        other.call("GET", f"/partners/v2/contracts/{contract}"),
        other.call("POST", f"/partners/v2/contracts/{contract}/amendments/preview", json=body),
        other.call(
            "POST", f"/partners/v2/contracts/{contract}/amendments", json=body, headers={"idempotency-key": "others"}
        ),
    ]

    assert [each.status_code for each in answers] == [404, 404, 404]
    assert other.call("GET", f"/partners/v2/amendments?contract_id={contract}").json()["items"] == []


def test_calls_of_the_deprecated_version_are_counted_by_client(environment: Environment) -> None:
    def counted() -> int:
        headers = environment.channels.headers("platform-team")
        url = f"{environment.sandbox.url('experience')}/operations/v1/deprecated-calls"
        found = httpx.get(url, headers=headers).raise_for_status().json()["items"]
        return sum(each["calls"] for each in found if (each["client"], each["version"]) == (SUED, "v1"))

    before = counted()
    for _ in range(3):
        Partner(environment, SUED).call("GET", "/partners/v1/orders").raise_for_status()
    Partner(environment, SUED).call("GET", "/partners/v2/orders").raise_for_status()

    wait_until(lambda: counted() == before + 3 or None, 10, "three calls counted")


def test_the_platform_team_sees_what_is_in_force_and_what_would_happen_to_a_call(environment: Environment) -> None:
    headers = environment.channels.headers("platform-team")
    url = f"{environment.sandbox.url('experience')}/operations/v1"
    apis = {each["name"]: each for each in httpx.get(f"{url}/apis", headers=headers).raise_for_status().json()["items"]}
    reported, own = (
        httpx.get(f"{url}/explanations/{NORD}/{each}_get_order", headers=headers).raise_for_status().json()
        for each in ("sales", "partners")
    )

    assert [each["state"] for each in apis["partners"]["versions"]] == ["deprecated", "active"]
    assert (reported["allowed"], own["allowed"]) == (False, True)
    assert httpx.get(f"{url}/explanations/nobody/sales_get_order", headers=headers).status_code == 404
    assert httpx.get(f"{url}/apis", headers=environment.channels.headers("sales-app")).status_code == 403

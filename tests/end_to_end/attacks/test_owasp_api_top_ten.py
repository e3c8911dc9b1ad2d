"""The OWASP API Security Top 10 of 2023, those parts that are not said elsewhere.

API1 and API5: `test_objects_of_others`. API2: `test_tokens`, and guessing of secrets in `test_oauth`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from policies.catalogue.check import load
from policies.contract.bodies import MAX_BODY
from tests.support.environment import Environment
from tests.support.partners import NORD, SUED, Partner, customer_of

NAME_AN_ADDRESS = {"create_webhook", "change_webhook", "partners_create_webhook", "partners_change_webhook"}
INSIDE = (
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/",
    "https://[fd00:ec2::254]/",
    "https://[::ffff:10.0.0.1]/",
    "https://10.0.0.1/",
    "https://0x7f000001/",
    "https://2130706433/",
    "https://localhost/",
    "https://metadata.google.internal/",
    "gopher://example.com/",
    "https://example.com:6379/",
    "https://example.com@10.0.0.1/",
)
"""What servers of clouds and of companies have, in the ways in which it is written."""


@pytest.fixture
def url(environment: Environment) -> str:
    return environment.sandbox.url("experience")


def test_api3_a_property_that_a_partner_may_not_see_does_not_leave_and_none_of_ours_can_be_set(
    environment: Environment,
) -> None:
    order = customer_of(environment, NORD, "Properties")
    partner = Partner(environment)
    shown = (
        partner.call("GET", f"/partners/v2/orders/{order.id}").text
        + partner.call("GET", "/partners/v2/customers?limit=100").text
    )

    for secret in ("references", "payment_method", "placed_by", "deal_id", "correlation_id", "pm_card", order.deal_id):
        assert secret not in shown
    for ours in ("state", "placed_by", "partner", "key", "id"):
        refused = partner.place(order.customer_id, f"set-{ours}", **{ours: "x"})
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, f"$.{ours}")


def test_api4_size_page_and_rate_are_bounded(environment: Environment, url: str) -> None:
    headers = environment.channels.headers("sales-app")
    large = httpx.post(
        f"{url}/support/v1/cases/cas_{'0' * 32}/actions",
        content=b"{" + b" " * MAX_BODY,
        headers=environment.channels.headers("support-desk"),
    )
    page = httpx.get(f"{url}/sales/v1/orders?limit=100000", headers=headers)
    token = httpx.get(f"{url}/sales/v1/orders", headers={"authorization": f"Bearer {'x' * 5000}"})
    with httpx.Client() as client:
        tokens = environment.channels.headers(SUED)
        statuses = [client.get(f"{url}/partners/v2/orders", headers=tokens).status_code for _ in range(60)]

    assert (large.status_code, page.status_code, token.status_code) == (413, 422, 401)
    assert 429 in statuses


def test_api5_a_partners_token_opens_no_other_channel_for_its_own_customers(environment: Environment) -> None:
    order = customer_of(environment, NORD, "Other channels")
    partner = Partner(environment)
    paths = (
        "/sales/v1/orders",
        f"/sales/v1/orders/{order.id}",
        f"/support/v1/customers/{order.customer_id}",
        "/finance/v1/postings",
    )
    answers = [partner.call("GET", each) for each in paths]

    assert {each.status_code for each in answers} == {403}
    assert answers[0].json()["detail"].startswith("reseller-nord may call partners, and not sales: ")
    assert partner.call("GET", f"/partners/v2/orders/{order.id}").status_code == 200


def test_api6_orders_cost_more_than_reads_of_a_partners_share() -> None:
    operations = load().apis["partners"].operations

    assert operations["partners_place_order"].cost > operations["partners_get_order"].cost


def test_api7_no_request_but_those_of_webhooks_names_an_address_that_we_would_call(environment: Environment) -> None:
    for path in Path("openapi").glob("*.json"):
        document = json.loads(path.read_text())
        taken = [
            body["schema"].get("$ref", "")
            for item in document.get("paths", {}).values()
            for operation in item.values()
            for body in operation.get("requestBody", {}).get("content", {}).values()
            if operation["operationId"] not in NAME_AN_ADDRESS
        ]
        text = json.dumps([document["components"]["schemas"].get(each.rpartition("/")[2], {}) for each in taken])
        assert not re.search(r'"\w*(url|uri|callback|webhook)\w*":', text, re.IGNORECASE), path.name
    for number, inside in enumerate(INSIDE):
        wanted = {"url": inside, "events": ["order.activated.v1"]}
        named = {"idempotency-key": f"inside-{number}"}
        answer = Partner(environment).call("POST", "/partners/v2/webhooks", json=wanted, headers=named)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "$.url"), inside
    for key in ("http://169.254.169.254/", "..%2F..%2Fv1%2Faccounts", "a%0d%0aHost:%20evil"):
        answer = Partner(environment).call("GET", f"/partners/v2/orders/{key}")
        assert answer.status_code in {404, 422}


def test_api8_answers_tell_nothing_of_the_inside_and_no_method_is_open_by_chance(
    environment: Environment, url: str
) -> None:
    headers = environment.channels.headers("sales-app")
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE"):
        answer = httpx.request(method, f"{url}/sales/v1/orders", headers=headers)
        assert answer.status_code == 405
    strange = httpx.get(f"{url}/sales/v1/orders?cursor='%20OR%201=1--", headers=headers)
    assert strange.status_code == 422
    assert not re.search(r"Traceback|sqlite|File \"|litestar", strange.text, re.IGNORECASE)
    crossed = httpx.options(f"{url}/sales/v1/orders", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in crossed.headers


def test_api9_every_version_that_is_served_is_in_the_catalogue_and_has_a_contract(
    environment: Environment, url: str
) -> None:
    headers = environment.channels.headers("platform-team")
    apis = httpx.get(f"{url}/operations/v1/apis", headers=headers).json()["items"]
    listed = {f"{api['name']}.{each['version']}.json" for api in apis for each in api["versions"]}

    assert listed == {path.name for path in Path("openapi").glob("*.json")} - {"events.v1.json"}
    for unlisted in ("/partners/v3/orders", "/partners/v0/orders", "/schema", "/schema/openapi.json", "/sales/orders"):
        assert httpx.get(f"{url}{unlisted}", headers=headers).status_code == 404


def test_api10_what_a_platform_answers_is_checked_before_it_is_believed(environment: Environment) -> None:
    """A webhook is a thin event: what it says is read again from its owner. A wrong signature stores nothing."""
    system = environment.sandbox.url("system")
    forged = {"id": "evt_1", "type": "invoice.paid", "data": {"object": {"id": "in_forged"}}}
    refused = httpx.post(f"{system}/billing/v1/webhooks", json=forged, headers={"stripe-signature": "t=1,v1=00"})

    assert refused.status_code == 401
    assert environment.record("SELECT id FROM events WHERE subject = ?", "in_forged") is None

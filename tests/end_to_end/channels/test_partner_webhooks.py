"""A partner's developer follows the guide alone: a webhook is made, events come, and its servers verify them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from canonical.ids import utc_now
from canonical.orders import Order
from tests.support.environment import Environment
from tests.support.partners import NORD, SUED, Partner, customer_of
from tests.support.platforms import wait_until
from tests.support.webhook_bench import PartnerServer, partner_server
from tiergate.dev.ports import free_port

GUIDE = Path("docs/guides/partner-webhooks.md").read_text()
HOOKS = "/partners/v2/webhooks"
NODE = Path(sys.executable).with_name("node")
ALL = ["order.received.v1", "order.activated.v1", "invoice.posted.v1", "payment.booked.v1"]


@pytest.fixture(scope="module")
def first(running: Environment) -> Order:
    running.calm()
    return customer_of(running, NORD, "Webhooks of Nord")


@pytest.fixture
def server() -> Generator[PartnerServer]:
    with partner_server() as made:
        yield made


def made(partner: Partner, url: str, key: str, **about: Any) -> dict[str, Any]:
    body = {"url": url, "events": ALL} | about
    answer = partner.call("POST", HOOKS, json=body, headers={"idempotency-key": key})
    assert answer.status_code == 201, answer.text
    return answer.json()


def log(partner: Partner, webhook: str, query: str = "") -> list[dict[str, Any]]:
    return partner.call("GET", f"{HOOKS}/{webhook}/deliveries{query}").json()["items"]


def snippet(name: str) -> str:
    """Return what the guide has under a name."""
    found = re.search(rf"^```\w+ {re.escape(name)}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@contextmanager
def receiver(folder: Path, name: str, command: str, secret: str, port: int) -> Generator[Path]:
    """Run a receiver of the guide. Yield the file that has what it prints."""
    script, output = folder / name, folder / f"{name}.txt"
    script.write_text(snippet(name))
    variables = {"WEBHOOK_SECRET": secret, "PORT": str(port)}
    with output.open("w") as writes:
        process = subprocess.Popen([command, str(script)], env=variables, stdout=writes, start_new_session=True)
        try:
            yield output
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # Node is the child of a script
            process.wait()


@pytest.mark.parametrize(("name", "command"), [("receive.py", sys.executable), ("receive.mjs", str(NODE))])
def test_the_receivers_of_the_guide_take_a_real_delivery_once_and_refuse_what_is_not_signed(
    environment: Environment, first: Order, tmp_path: Path, name: str, command: str
) -> None:
    partner, port = Partner(environment), free_port()
    url = f"http://127.0.0.1:{port}/"
    answer = made(partner, url, f"guide-{name}")
    webhook, secret = answer["webhook"]["id"], answer["secret"]

    with receiver(tmp_path, name, command, secret, port) as output:
        wait_until(lambda: try_out(partner, webhook)["delivered"], 20)
        unsigned = httpx.post(url, json={}, headers={"webhook-id": "evt_1", "webhook-timestamp": "1"})
        placed = partner.place(first.customer_id, f"for-{name}").json()
        wait_until(lambda: placed["id"] in output.read_text(), 20)
        received = wait_until(lambda: log(partner, webhook, "?type=order.received.v1"), 20)[0]
        partner.call("POST", f"{HOOKS}/{webhook}/deliveries/{received['id']}/resend")
        wait_until(lambda: len(log(partner, webhook, "?type=order.received.v1")[0]["attempts"]) == 2, 20)

    assert unsigned.status_code == 401
    lines = output.read_text().splitlines()
    assert [each.split(" ")[0] for each in lines if placed["id"] in each and "received" in each] == [
        "order.received.v1"
    ]
    assert any(each.startswith("webhook.tested.v1") for each in lines), "events of what was sold before may come first"
    partner.call("DELETE", f"{HOOKS}/{webhook}")


def try_out(partner: Partner, webhook: str) -> dict[str, Any]:
    return partner.call("POST", f"{HOOKS}/{webhook}/test").json()


def test_an_order_is_followed_to_its_payment_and_the_other_partner_hears_nothing(
    environment: Environment, first: Order, server: PartnerServer
) -> None:
    partner, other = Partner(environment), Partner(environment, SUED)
    webhook = made(partner, f"{server.url}/nord", "followed")["webhook"]["id"]
    made(other, f"{server.url}/sued", "followed")

    placed = partner.place(first.customer_id, "followed").json()

    def types() -> set[str]:
        return {each.event["type"] for each in server.got}

    wait_until(lambda: types() == set(ALL), 60)
    assert {each.path for each in server.got} == {"/nord"}
    activated = next(each.event for each in server.got if each.event["type"] == "order.activated.v1")
    assert activated["data"] == {"customer_id": first.customer_id, "order_id": placed["id"], "state": "active"}
    invoices = partner.call("GET", f"/partners/v2/invoices?customer_id={first.customer_id}").json()["items"]
    posted = next(each.event for each in server.got if each.event["type"] == "invoice.posted.v1")
    assert posted["data"]["invoice_id"] in {each["id"] for each in invoices}
    wait_until(lambda: {each["state"] for each in log(partner, webhook)} == {"delivered"}, 10)
    listed = environment.channels.headers("platform-team")
    shown = httpx.get(f"{environment.sandbox.url('experience')}/operations/v1/webhooks?limit=100", headers=listed)
    assert {"reseller-nord", "reseller-sued"} <= {each["client"] for each in shown.json()["items"]}


def test_a_secret_is_shown_once_and_kept_nowhere(environment: Environment, first: Order) -> None:
    del first
    partner = Partner(environment)
    answer = made(partner, "http://127.0.0.1:9/", "a-secret")
    webhook, secret = answer["webhook"]["id"], answer["secret"].removeprefix("whsec_")
    again = made(partner, "http://127.0.0.1:9/", "a-secret")
    newer = partner.call("POST", f"{HOOKS}/{webhook}/secrets", json={}, headers={"idempotency-key": "newer"}).json()

    assert again == answer
    assert newer["secret"] != answer["secret"]
    assert len(newer["webhook"]["signing_keys"]) == 2
    for path in (HOOKS, f"{HOOKS}/{webhook}", f"{HOOKS}/{webhook}/deliveries"):
        assert "whsec_" not in partner.call("GET", path).text
    for path in environment.folder.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    assert partner.call("DELETE", f"{HOOKS}/{webhook}").status_code == 200
    assert partner.call("GET", f"{HOOKS}/{webhook}").status_code == 404


def test_a_key_that_cannot_be_read_is_away_and_another_is_not_made(environment: Environment, first: Order) -> None:
    del first
    partner = Partner(environment)
    webhook = made(partner, "http://127.0.0.1:9/", "a-key")["webhook"]["id"]
    (key,) = environment.folder.rglob("webhook.key")
    whole = key.read_bytes()
    key.write_bytes(whole[:7])
    try:
        assert partner.call("POST", f"{HOOKS}/{webhook}/test").status_code == 503
        assert key.read_bytes() == whole[:7]
    finally:
        key.write_bytes(whole)
    assert partner.call("POST", f"{HOOKS}/{webhook}/test").status_code == 200
    partner.call("DELETE", f"{HOOKS}/{webhook}")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"url": "http://10.0.0.1/"}, "$.url"),
        ({"url": "https://localhost/"}, "$.url"),
        ({"url": "https://user:word@example.com/"}, "$.url"),
        ({"url": "https://nobody.invalid/"}, "$.url"),
        ({"events": ["case.opened.v1"]}, "$.events[0]"),
        ({"customer_ids": ["cus_" + "0" * 32]}, "$.customer_ids[0]"),
        ({"colour": "red"}, "$"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_with_what_is_wrong(
    environment: Environment, change: dict[str, Any], path: str
) -> None:
    body = {"url": "http://127.0.0.1:9/", "events": ALL} | change
    headers = {"idempotency-key": f"refused-{path}-{len(str(change))}"}
    answer = Partner(environment).call("POST", HOOKS, json=body, headers=headers)

    assert answer.status_code == 422
    assert any(each["path"].startswith(path) for each in answer.json()["errors"])


def test_v1_has_no_webhooks(environment: Environment) -> None:
    answer = Partner(environment).call("GET", "/partners/v1/webhooks")

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/no-such-path")


def test_what_a_killed_process_layer_had_in_hand_is_delivered_after_its_start(
    environment: Environment, first: Order, server: PartnerServer
) -> None:
    partner, began = Partner(environment), utc_now()
    webhook = made(partner, f"{server.url}/slow", "killed", events=["order.received.v1"])["webhook"]["id"]
    placed = partner.place(first.customer_id, "killed").json()
    wait_until(lambda: server.got, 20)

    environment.kill("process")
    server.may_go_on.set()
    environment.start("process")

    wait_until(lambda: log(partner, webhook)[0]["state"] == "delivered", 90)
    assert {each.event["data"]["order_id"] for each in server.got} == {placed["id"]}
    assert len({each.headers["webhook-id"] for each in server.got}) == 1
    assert len(server.got) == 2
    again = partner.call("POST", f"{HOOKS}/{webhook}/resend", json={"since": began.isoformat()}).json()
    assert again == {"resent": 0, "next_cursor": None}

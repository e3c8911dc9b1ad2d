"""Every route of every channel, called as every client, for records that are not the client's own: never a record, and
never a difference between one that is somebody else's and one that does not exist (OWASP API1:2023)."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from canonical.catalogue_sync import CatalogueSync
from canonical.corrections import Correction
from canonical.customer_merges import CustomerMergeSummary
from canonical.disputes import DisputeSummary
from canonical.drift import Drift
from canonical.dunning import Dunning
from canonical.ids import utc_now
from canonical.mass_changes import MassChange
from canonical.orders import Order, Page
from canonical.renewals import Renewal
from policies.catalogue.check import load
from policies.catalogue.model import SHIPPED
from process_apis.records.database import open_database, usage_corrections
from tests.support.amending import amend, contract_of
from tests.support.environment import Environment
from tests.support.partners import NORD, Partner, customer_of, patiently
from tests.support.platforms import wait_until

CATALOGUE = load()
CLIENTS = sorted(name for name, client in CATALOGUE.clients.items() if client.audience == "experience")
SEES_GERMANY = {name for name in CLIENTS if CATALOGUE.clients[name].legal_entities & {"*", "DE01"}}
OWNERS = {name for name in SEES_GERMANY if CATALOGUE.clients[name].kind == "internal"} | {NORD}
STRANGERS = [name for name in CLIENTS if name not in OWNERS]
ENDS: dict[str, object] = {"actions": [{"action": "cancel"}]}
WRITES_OFF = {"kind": "write_off", "text": "it is not ours"}
BODIES: dict[str, object] = {
    "sales_preview_amendment": ENDS,
    "sales_request_amendment": ENDS,
    "partners_preview_amendment": ENDS,
    "sales_preview_catalogue_sync": {},
    "partners_request_amendment": ENDS,
    "partners_change_webhook": {"description": "it is not ours"},
    "partners_add_webhook_secret": {},
    "partners_resend_webhook_deliveries": {"since": "2026-01-01T00:00:00Z"},
    "sales_act_on_mass_change": {"action": "cancel"},
    "sales_act_on_customer_merge": {"action": "switch"},
    "support_act_on_case": {"action": "retry"},
    "support_assign_case": {"to": "somebody@example.com"},
    "support_note_case": {"text": "it is not ours"},
    "support_give_up_order": {"reason": "it is not ours"},
    "support_accept_drift": {"reason": "it is not ours"},
    "support_act_on_dispute": {"action": "accept", "reason": "it is not ours"},
    "finance_decide_approval": {"decision": "approve"},
    "finance_decide_usage_correction": {"decision": "approve", "revision": 1},
    **dict.fromkeys(("finance_preview_correction", "support_preview_correction"), WRITES_OFF),
    **dict.fromkeys(("finance_request_correction", "support_propose_correction"), WRITES_OFF | {"key": "theirs"}),
    "finance_act_on_dunning": {"action": "end", "reason": "it is not ours"},
    "support_act_on_dunning": {"action": "end", "reason": "it is not ours"},
}


class Target:
    """What the strangers want to see: an order of Nord's customer with its contract, and what else there is by now."""

    def __init__(self, order: Order, event: str, **ids: str) -> None:
        self.ids = {
            "order_id": order.id,
            "customer_id": order.customer_id,
            "contract_id": contract_of(order).id,
            "record": order.id,
            "number": event,
            **ids,
        }
        self.order = order

    def none(self, name: str) -> str:
        return "999999" if name == "number" else self.ids[name][:4] + "0" * 32


@pytest.fixture(scope="module")
def target(running: Environment, tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    running.calm()
    order = customer_of(running, NORD, "Object of others")
    account = running.crm.query(f"SELECT AccountId FROM Opportunity WHERE Id = '{order.deal_id}'")[0]["AccountId"]
    _, held = running.sell(running.sale("Object of others", partner=NORD, currency="SEK"), account)
    waiting = running.order_in(held, "on_hold")
    later = (utc_now() + timedelta(days=30)).date().isoformat()
    asked = amend(running, order, ENDS | {"effective": "date", "effective_on": later}, "of-another")
    dearer = {"by": "percentage", "basis_points": 100}
    many = {"sku": "SEAT", "legal_entity": "DE01", "price": dearer, "customers": [order.customer_id]}
    change = running.channels.post("sales-app", "/sales/v1/mass-changes", many, MassChange, key="many-of-another")
    event = str(running.record("SELECT seq FROM events WHERE subject = ?", order.deal_id))
    syncs = "/sales/v1/catalogue-syncs"
    sync: CatalogueSync = running.channels.post("sales-app", syncs, {}, CatalogueSync, key="of-another")
    (found,) = drifting(running, order)
    ids = {"amendment_id": asked.id, "mass_change_id": change.id, "sync_id": sync.id, "drift_id": found.id}
    ids["invoice_id"] = contract_of(order).references["invoice"]
    ids["correction_id"] = credited(running, ids["invoice_id"]).id
    ids["usage_correction_id"] = used_late(running, order)
    ids["webhook_id"], ids["delivery_id"] = webhook(running)
    ids["merge_id"] = merged(running, account).id
    ids["dunning_id"] = owing(running, order).id
    ids["dispute_id"] = disputed(running)
    ids["renewal_id"] = ending(running, order, tmp_path_factory.mktemp("governed")).id
    yield Target(order, event, case_id=running.cases_of(waiting.id)[0].id, **ids)
    running.children["process"].stop()
    running.start("process")


def webhook(environment: Environment) -> tuple[str, str]:
    """Make a webhook of Nord's, to which nobody listens, and something that it is sent. Return the ids of both."""
    partner = Partner(environment)
    body = {"url": "http://127.0.0.1:9/", "events": ["order.activated.v1"]}
    path = "/partners/v2/webhooks"
    made = partner.call("POST", path, json=body, headers={"idempotency-key": "of-another"}).json()["webhook"]["id"]
    customer_of(environment, NORD, "Sent to others")

    def look() -> str | None:
        found = partner.call("GET", f"{path}/{made}/deliveries").json()["items"]
        return found[0]["id"] if found else None

    return made, wait_until(look, 20, "a delivery to the webhook")


def drifting(environment: Environment, order: Order) -> tuple[Drift, ...]:
    """Let somebody change the customer in billing. Return the drift that is seen then."""
    billed = contract_of(order).references["customer"]
    environment.stripe.v1.customers.update(billed, {"name": "Not the owner's"})
    path = f"/support/v1/drift-looks/{order.customer_id}"
    return environment.channels.post("support-desk", path, None, Page[Drift]).items


def credited(environment: Environment, invoice: str) -> Correction:
    """Let support ask for a refund of an invoice. Return the correction, on which nobody decides."""
    body = {"kind": "refund", "text": "Nothing was delivered", "key": "theirs"}
    path, found = f"/support/v1/invoices/{invoice}/corrections", "SELECT id FROM postings WHERE id = ?"
    wait_until(lambda: environment.record(found, invoice), 30, f"the posting of {invoice}")
    return environment.channels.post("support-desk", path, body, Correction, key="theirs")


def used_late(environment: Environment, order: Order) -> str:
    """Let there be a usage correction of the order's contract, which otherwise takes a month. Return its id."""
    numbers = ("seq", "number", "starts_at", "ends_at", "revision", "tries", "run", "attempts")
    row: dict[str, Any] = {
        each.name: 1 if each.name in numbers else "" for each in usage_corrections.c if not each.nullable
    }
    row |= {"id": f"ucr_{order.id[4:]}", "contract_id": contract_of(order).id, "customer_id": order.customer_id}
    row |= {"legal_entity": "DE01", "state": "rejected", "found_at": order.updated_at.isoformat()}
    row |= {"updated_at": row["found_at"], **dict.fromkeys(("charged", "settled", "quantity", "difference"), "1")}
    url = environment.settings.process.database_url or f"sqlite:///{environment.folder / 'process.sqlite'}"
    database = open_database(url)
    with database.begin() as connection:
        connection.execute(usage_corrections.insert().values(row))
    database.dispose()
    return str(row["id"])


def merged(environment: Environment, account: str) -> CustomerMergeSummary:
    """Let an account be merged into one that never bought anything. Return the record of that."""
    left = environment.crm.create("Account", Name="Left of another", BillingCountryCode="DE", Partner__c=NORD)
    environment.merge(account, into=left)

    def look() -> CustomerMergeSummary | None:
        found: Page[CustomerMergeSummary] = environment.channels.get(
            "sales-app", "/sales/v1/customer-merges", Page[CustomerMergeSummary]
        )
        return next((each for each in found.items if each.merged_account_id == account), None)

    return wait_until(look, 20, "the record of the merge")


def owing(environment: Environment, order: Order) -> Dunning:
    """Let a payment of the order's contract fail. Return what it owes."""
    billed, api = contract_of(order).references, environment.stripe.v1
    (card,) = api.customers.payment_methods.list(billed["customer"]).data
    url = f"{environment.sandbox.url('control')}/billing/payment_methods/{card.id}"
    httpx.post(url, json={"code": "insufficient_funds"}).raise_for_status()
    line: Any = api.invoices.line_items.list(billed["invoice"]).data[0]
    of_contract: Any = {
        "customer": billed["customer"],
        "subscription": line.parent.subscription_item_details.subscription,
    }
    price: Any = {"currency": "eur", "product": line.pricing.price_details.product, "unit_amount": 10000}
    once: Any = {"pricing": {"price": api.prices.create(price).id}, "quantity": 1}
    api.invoice_items.create(of_contract | once)
    made = api.invoices.create(of_contract | {"pending_invoice_items_behavior": "include"}).id
    api.invoices.finalize_invoice(made)
    with pytest.raises(stripe.CardError):
        api.invoices.pay(made)
    path = f"/finance/v1/dunnings?customer_id={order.customer_id}"

    def look() -> Dunning | None:
        found: Page[Dunning] = environment.channels.get("finance-app", path, Page[Dunning])
        return next(iter(found.items), None)

    return wait_until(look, 30, "what the contract owes")


def disputed(environment: Environment) -> str:
    """Let the bank of another customer of Nord's dispute a payment. Return the dispute."""
    sale = environment.sale("Disputed of another", partner=NORD, payment_method="pm_card_createDispute")
    _, deal = environment.sell(sale)
    path = f"/support/v1/disputes?customer_id={environment.order_in(deal, 'active').customer_id}"

    def look() -> str | None:
        found: Page[DisputeSummary] = environment.channels.get("support-desk", path, Page[DisputeSummary])
        return next((each.id for each in found.items), None)

    return wait_until(look, 30, "the record of the dispute")


def ending(environment: Environment, order: Order, folder: Path) -> Renewal:
    """Let the term of the order's contract be one that ends soon enough to be seen to. Return its renewal."""
    catalogue = folder / "catalogue.toml"
    catalogue.write_text(f"{SHIPPED.read_text()}\n[renewals.DE01]\nmode = 'lapse'\nnotice_days = 365\n")
    environment.children["process"].stop()
    environment.start("process", {"TIERGATE_GOVERNANCE_CATALOGUE": str(catalogue)})
    path = f"/sales/v1/renewals?customer_id={order.customer_id}"

    def look() -> Renewal | None:
        found: Page[Renewal] = environment.channels.get("sales-app", path, Page[Renewal])
        return next(iter(found.items), None)

    return wait_until(look, 30, "the renewal of the contract")


def operations() -> list[tuple[str, str, str, dict[str, Any]]]:
    """Return (operation, method, path, description) of every channel."""
    found: list[tuple[str, str, str, dict[str, Any]]] = []
    for name, api in CATALOGUE.apis.items():
        for version in api.versions if api.layer == "experience" else ():
            document = json.loads(Path(f"openapi/{name}.{version}.json").read_text())
            found += [
                (operation["operationId"], method.upper(), path, operation)
                for path, item in document["paths"].items()
                for method, operation in item.items()
            ]
    return found


def ask(environment: Environment, client: str, method: str, path: str, body: object = None) -> httpx.Response:
    """Ask as a patient attacker does: what is throttled is asked again."""
    headers = environment.channels.headers(client) | {"idempotency-key": path[-60:].replace("/", "-") + client}
    return patiently(method, f"{environment.sandbox.url('experience')}{path}", headers=headers, json=body)


def reported(answer: httpx.Response, key: str) -> tuple[int, str]:
    body = {name: value for name, value in answer.json().items() if name != "correlation_id"}
    return answer.status_code, re.sub(rf"\b{re.escape(key)}\b", "…", json.dumps(body))  # an event's may be one digit


KEYED = [each for each in operations() if "{" in each[2] and "explanations" not in each[2]]
LISTS = [
    each for each in operations() if each[1] == "GET" and "{" not in each[2] and not each[2].startswith("/operations/")
]


@pytest.mark.parametrize("client", STRANGERS)
def test_a_record_of_another_looks_like_none(running: Environment, target: Target, client: str) -> None:
    for operation, method, template, _ in KEYED:
        name, *others = re.findall(r"{(\w+)}", template)
        theirs, none = target.ids[name], target.none(name)
        path = template
        for each in others:
            path = path.replace(f"{{{each}}}", target.ids[each])
        body = BODIES.get(operation)

        asked = ask(running, client, method, path.replace(f"{{{name}}}", theirs), body)
        missing = ask(running, client, method, path.replace(f"{{{name}}}", none), body)

        assert reported(asked, theirs) == reported(missing, none), f"{client} {operation}"
        assert asked.status_code in {403, 404}, f"{client} {operation}"


@pytest.mark.parametrize("client", STRANGERS)
def test_a_list_has_no_record_of_another(running: Environment, target: Target, client: str) -> None:
    for operation, method, path, described in LISTS:
        named = {each["name"] for each in described.get("parameters", ())}
        queries = ["?limit=100"] if "limit" in named else [""]
        if "format" in named:
            queries = ["?format=csv"]
        if "customer_id" in named:
            queries.append(f"?customer_id={target.order.customer_id}")
        for query in queries:
            answer = ask(running, client, method, path + query)
            assert answer.status_code in {200, 403}
            theirs = (each for name, each in target.ids.items() if name != "number")
            assert not any(each in answer.text.replace(query, "") for each in theirs), f"{client} {operation}"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_can_do_what_its_apis_and_scopes_say_and_nothing_else(
    running: Environment, target: Target, client: str
) -> None:
    """OWASP API5:2023, broken function level authorization."""
    its_own = CATALOGUE.operations_of(CATALOGUE.clients[client])
    scopes = CATALOGUE.clients[client].scopes
    for operation, method, path, described in operations():
        if described["x-scope"] in scopes and operation in its_own:
            continue
        for name in target.ids:
            path = path.replace(f"{{{name}}}", target.ids[name])  # noqa: PLW2901
        asked = path.replace("{client}", "sales-app").replace("{operation}", "get_deal")
        answer = ask(running, client, method, asked, BODIES.get(operation))
        assert answer.status_code == 403, f"{client} {operation}"


def test_an_owner_does_see_them(running: Environment, target: Target) -> None:
    """So that the others are not refused for a reason of another kind."""
    for operation, method, path, described in KEYED:
        if method != "GET":
            continue
        name = path[path.index("{") + 1 : path.index("}")]
        for client in sorted(OWNERS):
            its = CATALOGUE.clients[client]
            if described["x-scope"] in its.scopes and operation in CATALOGUE.operations_of(its):
                answer = ask(running, client, method, path.replace(f"{{{name}}}", target.ids[name]))
                assert answer.status_code == 200, f"{client} {operation}"

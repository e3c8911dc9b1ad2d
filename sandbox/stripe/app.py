"""The HTTP surface of the stand-in: one table of routes, expansion, idempotency, errors."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, route
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from sandbox.stripe import forms, versions
from sandbox.stripe.account import Account
from sandbox.stripe.balances import Balances
from sandbox.stripe.billing import Billing
from sandbox.stripe.changes import Changes
from sandbox.stripe.coupons import Coupons
from sandbox.stripe.credit_notes import CreditNotes
from sandbox.stripe.customers import Customers
from sandbox.stripe.disputes import Disputes
from sandbox.stripe.due import Due
from sandbox.stripe.endpoints import Endpoints
from sandbox.stripe.errors import StripeError, declined, invalid, unrecognized
from sandbox.stripe.expansion import Expansion
from sandbox.stripe.invoice_items import InvoiceItems
from sandbox.stripe.invoicing import Invoicing
from sandbox.stripe.ledger import Ledger
from sandbox.stripe.lists import Lists
from sandbox.stripe.meter_routes import MeterRoutes
from sandbox.stripe.meters import Meters
from sandbox.stripe.money_routes import MoneyRoutes
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import ACCEPTED, accept
from sandbox.stripe.payment_records import PaymentRecords
from sandbox.stripe.payments import Payments
from sandbox.stripe.previews import Previews
from sandbox.stripe.prices import Prices, check_update
from sandbox.stripe.prorations import Prorations
from sandbox.stripe.refunds import Refunds
from sandbox.stripe.schedules import Schedules
from sandbox.stripe.subscription_items import SubscriptionItems
from sandbox.stripe.subscription_routes import SubscriptionRoutes
from sandbox.stripe.subscriptions import Subscriptions
from sandbox.stripe.test_clocks import TestClocks
from sandbox.stripe.usage import Usage

Params = forms.Params
PlatformRequest = Request[Any, Any, Any]
KINDS = (
    "customer",
    "product",
    "price",
    "coupon",
    "tax_rate",
    "subscription",
    "subscription_schedule",
    "invoice",
    "invoice_payment",
    "invoiceitem",
    "payment_intent",
    "charge",
    "credit_note",
    "dispute",
    "refund",
    "balance_transaction",
    "event",
    "payment_method",
    "webhook_endpoint",
    "tax_id",
)
COLLECTIONS = {f"{kind}s": kind for kind in KINDS}
MOST_PREVIEWED = 20
"""Previews of which the lines can be read page by page."""
REUSED_KEY = "Keys for idempotent requests can only be used with the same parameters they were first used with."


class Stripe:
    """Answer the requests of one account."""

    def __init__(self, account: Account, api_key: str, search_lag: int = 0) -> None:
        """Serve `account` to whom has `api_key`. A search sees a new object after `search_lag` seconds."""
        self.account = account
        self.api_key = api_key
        self.prices = Prices(account)
        self.meters = Meters(account)
        self.lists = Lists(account, search_lag)
        self.endpoints = Endpoints(account)
        self.balances = Balances(account)
        self.invoicing = Invoicing(account, self.balances)
        self.customers = Customers(account, self.invoicing.tax)
        self.expansion = Expansion(account, self.invoicing, self.customers)
        self.coupons = Coupons(account)
        self.pending = InvoiceItems(account, self.invoicing, self.coupons)
        self.records = PaymentRecords(account)
        ledger = Ledger(account)
        self.payments = Payments(account, self.invoicing, ledger)
        self.refunds = Refunds(account, ledger)
        self.disputes = Disputes(account, ledger)
        items = SubscriptionItems(account, self.invoicing.tax)
        prorations = Prorations(account, self.invoicing)
        usage = Usage(account, self.invoicing, self.meters)
        self.invoicing.counted = usage.counted_again
        billing = Billing(account, self.invoicing, self.pending, self.payments, items, self.coupons, usage)
        self.items = items
        self.billing = billing
        self.credit_notes = CreditNotes(account, self.invoicing, self.refunds, billing.follow)
        self.subscriptions = Subscriptions(account, items, billing, self.coupons, prorations)
        self.changes = Changes(account, items, prorations, billing, self.coupons, self.subscriptions)
        self.schedules = Schedules(account, items, self.coupons, billing, self.subscriptions, self.changes)
        later = (self.refunds, self.disputes, self.meters)
        self.due = Due(account, billing, self.payments, self.subscriptions, self.schedules, later)
        self.clocks = TestClocks(account, self.due)
        self.previewed: dict[str, Object] = {}
        """The lines of the newest previews by the previews' ids: a preview shows ten (The Invoice object, `lines`)."""
        self.routes = SubscriptionRoutes(account, self.lists, self.changes, self.schedules, self.clocks, self.preview)
        self.metering = MeterRoutes(account, self.lists, self.meters)
        self.money = MoneyRoutes(account, self.lists, self.refunds, self.credit_notes, self.disputes, self.preview_note)

    def handle(self, method: str, path: list[str], params: Params) -> Object:
        """Return the object that one request answers with, before expansion, at the time of whom it concerns."""
        with self.account.at(self.clocks.time(self._customer(path, params), params.get("test_clock"))):
            self._check_paid(method, path, params)
            for routes in (self.routes, self.money, self.metering):
                if (answer := routes.answer(method, path, params)) is not None:
                    return answer
            return self._handle(method, path, params)

    def _check_paid(self, method: str, path: list[str], params: Params) -> None:
        """Refuse a change whose invoice cannot be paid, where that is asked: a copy of the account tries it first.

        (API reference: Update a subscription, `payment_behavior`.)
        """
        wanted = params.get("payment_behavior", "allow_incomplete")
        if wanted in ("default_incomplete", "pending_if_incomplete"):
            raise invalid(f"The stand-in knows no payment_behavior {wanted}.", "payment_behavior", "")
        if wanted != "error_if_incomplete":
            return
        copy = Stripe(self.account.copied(), self.api_key)
        copy.handle(method, path, deepcopy({name: each for name, each in params.items() if name != "payment_behavior"}))
        known = {each["id"] for each in self.account.all("invoice")}
        made = [each for each in copy.account.all("invoice") if each["id"] not in known]
        if any(each["status"] == "open" and each["attempted"] for each in made):
            raise declined("generic_decline")

    def preview(self, params: Params) -> Object:
        """Return an invoice that is to come, made on a copy of the account."""
        copy = Stripe(self.account.copied(), self.api_key)
        made = Previews(copy.account, copy.changes, copy.pending, copy.due, copy.coupons).create(params)
        self.previewed = dict(list(self.previewed.items())[1 - MOST_PREVIEWED :]) | {made["id"]: made["lines"]}
        return made

    def preview_note(self, params: Params) -> Object:
        """Return the credit note that would be created, made on a copy of the account."""
        return Stripe(self.account.copied(), self.api_key).credit_notes.create(params)

    def _customer(self, path: list[str], params: Params) -> str | None:
        """Return the customer that a request concerns."""
        if "customer" in params:
            return params["customer"]
        if path[:1] == ["billing"]:
            return self.meters.owner(path, params)
        key = params.get("subscription") or params.get("from_subscription") or ""
        found: Object = self.account.find("subscription", key) or {}
        found = self.account.find("subscription_schedule", params.get("schedule") or "") or found
        for name in ("charge", "payment_intent", "invoice"):
            found = self.account.find(name, params.get(name) or "") or found
        if len(path) > 1 and path[0] in COLLECTIONS:
            found = self.account.find(COLLECTIONS[path[0]], path[1]) or found
        if len(path) > 1 and path[0] == "subscription_items":
            found = self.items.find(path[1])[1]
        if found.get("object") == "dispute":
            found = self.account.get("charge", found["charge"])
        return found["id"] if found.get("object") == "customer" else found.get("customer")

    def _handle(self, method: str, path: list[str], params: Params) -> Object:
        match method, path:
            case "GET", ["account"]:
                return {"id": "acct_sandbox", "object": "account", "country": "DE", "default_currency": "eur"}
            case "GET", ["tax", "settings"]:
                return self.invoicing.tax.settings()
            case "POST", ["tax", "settings"]:
                accept("tax.settings", params)
                return self.invoicing.tax.configure(params)
            case "GET", ["tax", "registrations"]:
                return self.lists.page("tax.registration", "/v1/tax/registrations", params)
            case "POST", ["tax", "registrations"]:
                accept("tax.registration", params)
                return self.invoicing.tax.register(params)
            case "GET", ["customers", "search"]:
                return self.lists.search("customer", params)
            case "GET", ["customers", key, "tax_ids"]:
                return self.lists.page("tax_id", f"/v1/customers/{key}/tax_ids", params | {"customer": key})
            case "GET", ["customers", key, "payment_methods"]:
                return self.lists.page(
                    "payment_method", f"/v1/customers/{key}/payment_methods", params | {"customer": key}
                )
            case "GET", ["customers", key, "tax_ids", number]:
                return self.customers.tax_id(self.account.get("customer", key), number)
            case "DELETE", ["customers", key, "tax_ids", number]:
                found = self.customers.tax_id(self.account.get("customer", key), number)
                return self.account.remove(found, "customer.tax_id.deleted")
            case "GET", ["customers", key, "balance_transactions"]:
                url = f"/v1/customers/{key}/balance_transactions"
                return self.lists.page("customer_balance_transaction", url, params | {"customer": key})
            case "POST", ["customers", key, "balance_transactions"]:
                accept("customer_balance_transaction", params)
                return self.balances.adjust(self.account.get("customer", key), params)
            case "POST", ["customers", key, "tax_ids"]:
                return self.customers.add_tax_id(self.account.get("customer", key), params)
            case "POST", ["payment_records", "report_payment"]:
                return self.records.report(params)
            case "GET", ["payment_records", key]:
                return self.account.get("payment_record", key)
            case "POST", ["payment_methods", key, "attach"]:
                return self.customers.attach(key, self.account.get("customer", params.get("customer", ""), "customer"))
            case "GET", ["invoices", key, "lines"]:
                lines = self.previewed.get(key) or self.account.get("invoice", key)["lines"]
                return self.lists.cut("line_item", lines["url"], lines["data"], params)
            case "POST", ["invoices", key, action]:
                return self._invoice_action(self.account.get("invoice", key), action, params)
            case "DELETE", ["invoiceitems", key]:
                return self.pending.delete(self.account.get("invoiceitem", key))
            case "DELETE", ["invoices", key]:
                return self.invoicing.delete(self.account.get("invoice", key))
            case "DELETE", ["customers", key]:
                customer = self.account.get("customer", key)
                self.due.end_all(customer)
                return self.account.remove(customer, "customer.deleted")
            case "DELETE", [collection, key]:
                kind = _kind(collection)
                if kind not in ("coupon", "product", "webhook_endpoint"):
                    raise unrecognized(method, path)
                if kind == "product":
                    self.prices.check_deletable(self.account.get(kind, key))
                return self.account.remove(
                    self.account.get(kind, key), f"{kind}.deleted" if kind != "webhook_endpoint" else ""
                )
            case "GET", [collection]:
                return self.lists.page(_kind(collection), f"/v1/{collection}", params)
            case "GET", [collection, key]:
                return self.account.retrieve(_kind(collection), key)
            case "POST", [collection]:
                return self._create(_kind(collection), params)
            case "POST", [collection, key]:
                return self._update(_kind(collection), key, params)
            case _:
                raise unrecognized(method, path)

    # ---- create and update

    def _create(self, kind: str, params: Params) -> Object:
        accept(kind, params)
        match kind:
            case "customer":
                return self.customers.create(params)
            case "product":
                return self.prices.product(params)
            case "price":
                return self.prices.price(params)
            case "tax_rate":
                return self.prices.tax_rate(params)
            case "subscription":
                return self.subscriptions.create(params)
            case "subscription_schedule":
                return self.schedules.create(params)
            case "invoiceitem":
                return self.pending.create(params)
            case "invoice":
                return self.pending.invoice(params)
            case "payment_intent":
                return self.payments.intent(params)
            case "webhook_endpoint":
                return self.endpoints.create(params)
            case "coupon":
                return self.coupons.create(params)
            case _:
                raise invalid(f"Cannot create {kind} here.", code="resource_invalid")

    def _update(self, kind: str, key: str, params: Params) -> Object:
        thing = self.account.get(kind, key)
        accept(f"{kind}.updated" if f"{kind}.updated" in ACCEPTED else kind, params)
        if kind == "subscription_schedule":
            return self.schedules.update(thing, params)
        if kind == "subscription":
            return self.changes.update(thing, params)
        if kind == "coupon":
            return self.coupons.update(thing, params)
        if kind == "webhook_endpoint":
            return self.endpoints.update(thing, params)
        if kind == "customer" and "balance" in params:
            change = int(params.pop("balance")) - thing["balance"]
            self.balances.change(thing, change, "adjustment", thing["currency"] or "eur")
            thing = self.account.get(kind, key)
        before = dict(thing)
        check_update(kind, thing, params)
        if kind in ("price", "product"):
            self.prices.check_update(kind, thing, params)
        if "automatic_tax" in params:
            thing["automatic_tax"] |= self.invoicing.tax.wanted({"automatic_tax": params.pop("automatic_tax")})
        if kind == "customer":
            address: Object = (thing["address"] or {}) | params.get("address", {})
            self.customers.check_location(thing | {"address": address}, {"tax": params.pop("tax", {})})
        for name, value in params.items():
            if isinstance(value, dict) and isinstance(thing.get(name), dict):
                merged: Params = {**thing[name], **value}
                thing[name] = {key: each for key, each in merged.items() if each != "" or name != "metadata"}
            elif name == "auto_advance":
                thing = self.invoicing.advance(thing, wanted=forms.flag(value))
            elif name == "active":
                thing[name] = forms.flag(value)
            else:
                thing[name] = value if value != "" else None
        if kind == "invoice" and thing["status"] == "draft":
            thing = self.invoicing.totalled(thing)
        return self.account.save(thing, f"{kind}.updated", before)

    def _invoice_action(self, invoice: Object, action: str, params: Params) -> Object:
        match action:
            case "finalize":
                return self.invoicing.finalize(invoice)
            case "void":
                return self.invoicing.void(invoice)
            case "mark_uncollectible":
                return self.invoicing.write_off(invoice)
            case "attach_payment":
                return self.payments.attach(invoice, params)
            case "pay":
                try:
                    method = params.get("payment_method", "")
                    return self.payments.pay(invoice, method, out_of_band=forms.flag(params.get("paid_out_of_band")))
                finally:
                    if invoice["subscription"]:
                        self.billing.follow(invoice["subscription"])
            case _:
                raise unrecognized("POST", ["invoices", invoice["id"], action])


def _kind(collection: str) -> str:
    if collection not in COLLECTIONS:
        raise unrecognized("", [collection])
    return COLLECTIONS[collection]


def stripe_app(stripe: Stripe) -> Litestar:
    """Return the stand-in as an ASGI application."""
    account = stripe.account

    @route("/v1/{rest:path}", http_method=["GET", "POST", "DELETE"])
    async def v1(request: PlatformRequest, rest: FromPath[Path]) -> Response[Any]:
        _authenticate(request, stripe.api_key)
        version = versions.known(request.headers.get("stripe-version", versions.CURRENT))
        body = (await request.body()).decode()
        query = request.scope["query_string"].decode()
        params = versions.asked(forms.decode("&".join(filter(None, (query, body)))), version)
        path = [part for part in str(rest).split("/") if part]
        headers = {"request-id": f"req_{secrets.token_hex(7)}", "stripe-version": version}
        expand = params.get("expand", [])
        key = request.headers.get("idempotency-key", "") if request.method == "POST" else ""
        if key:
            headers["idempotency-key"] = key
        fingerprint = hashlib.sha256(f"{request.method} {path} {body}".encode()).hexdigest()
        if key and (stored := account.remembered(key)):
            if stored["fingerprint"] != fingerprint:
                raise StripeError(400, "idempotency_error", REUSED_KEY)
            headers["idempotent-replayed"] = "true"
            return Response(stored["body"], status_code=stored["status"], headers=headers)
        account.request = {"id": headers["request-id"], "idempotency_key": key or None}
        try:
            answer = versions.rendered(
                stripe.expansion.expanded(stripe.handle(request.method, path, params), expand), version
            )
            status = 200
        except StripeError as error:
            if error.status != 402:  # nothing was begun: the same key may be used again
                raise
            answer, status = error.body, error.status
        if key:
            account.remember(key, fingerprint, status, answer)
        return Response(answer, status_code=status, headers=headers)

    @route("/v2/core/events", http_method=["GET"])
    async def events(request: PlatformRequest) -> Response[Any]:
        _authenticate(request, stripe.api_key)
        return Response(stripe.metering.thin_events(forms.decode(request.scope["query_string"].decode())))

    @route("/v2/core/events/{key:str}", http_method=["GET"])
    async def event(request: PlatformRequest, key: FromPath[str]) -> Response[Any]:
        _authenticate(request, stripe.api_key)
        return Response(stripe.metering.thin_event(key))

    def refused(_: PlatformRequest, error: StripeError) -> Response[Any]:
        return Response(error.body, status_code=error.status, headers={"request-id": f"req_{secrets.token_hex(7)}"})

    def unknown(_: PlatformRequest, error: HTTPException) -> Response[Any]:
        body = {"error": {"type": "invalid_request_error", "message": error.detail}}
        return Response(body, status_code=error.status_code)

    return Litestar(
        [v1, events, event],
        exception_handlers={StripeError: refused, HTTPException: unknown},
        openapi_config=None,
        logging_config=None,
    )


def _authenticate(request: PlatformRequest, api_key: str) -> None:
    """Take the key as a bearer token, or as a user name without a password (docs.stripe.com/api/authentication)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            token = base64.b64decode(token, validate=True).decode().removesuffix(":")
    elif scheme.lower() != "bearer":
        token = ""
    if not secrets.compare_digest(token.encode(), api_key.encode()):
        raise StripeError(401, "invalid_request_error", "Invalid API Key provided.")


def error_body(status: int) -> bytes:
    """Return what Stripe answers when it is too busy or down."""
    kind = "rate_limit" if status == 429 else "api_error"
    return msgspec.json.encode({"error": {"type": kind, "message": "The request could not be served.", "code": kind}})

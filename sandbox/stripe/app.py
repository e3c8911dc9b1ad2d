"""The HTTP surface of the stand-in: one table of routes, expansion, idempotency, errors."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
from pathlib import Path
from typing import Any, cast

import msgspec
from litestar import Litestar, Request, Response, route
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from sandbox.stripe import forms, versions
from sandbox.stripe.account import Account
from sandbox.stripe.balances import Balances
from sandbox.stripe.customers import Customers
from sandbox.stripe.endpoints import Endpoints
from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.invoice_items import InvoiceItems
from sandbox.stripe.invoicing import Invoicing
from sandbox.stripe.lists import Lists, shortened
from sandbox.stripe.objects import Object, listing
from sandbox.stripe.parameters import accept
from sandbox.stripe.payment_records import PaymentRecords
from sandbox.stripe.payments import Payments
from sandbox.stripe.prices import Prices, check_update
from sandbox.stripe.subscriptions import Subscriptions

Params = forms.Params
PlatformRequest = Request[Any, Any, Any]
EXPANDABLE = {
    "customer": "customer",
    "product": "product",
    "price": "price",
    "latest_invoice": "invoice",
    "invoice": "invoice",
    "subscription": "subscription",
    "schedule": "subscription_schedule",
    "default_payment_method": "payment_method",
    "payment_method": "payment_method",
    "payment_intent": "payment_intent",
    "latest_charge": "charge",
    "default_price": "price",
    "tax_rate": "tax_rate",
}
KINDS = (
    "customer",
    "product",
    "price",
    "tax_rate",
    "subscription",
    "subscription_schedule",
    "invoice",
    "invoice_payment",
    "invoiceitem",
    "payment_intent",
    "charge",
    "event",
    "payment_method",
    "webhook_endpoint",
    "tax_id",
)
COLLECTIONS = {f"{kind}s": kind for kind in KINDS}
REUSED_KEY = "Keys for idempotent requests can only be used with the same parameters they were first used with."


class Stripe:
    """Answer the requests of one account."""

    def __init__(self, account: Account, api_key: str, search_lag: int = 0) -> None:
        """Serve `account` to whom has `api_key`. A search sees a new object after `search_lag` seconds."""
        self.account = account
        self.api_key = api_key
        self.prices = Prices(account)
        self.lists = Lists(account, search_lag)
        self.endpoints = Endpoints(account)
        self.balances = Balances(account)
        self.invoicing = Invoicing(account, self.balances)
        self.customers = Customers(account, self.invoicing.tax)
        self.items = InvoiceItems(account, self.invoicing)
        self.records = PaymentRecords(account)
        self.payments = Payments(account, self.invoicing)
        self.subscriptions = Subscriptions(account, self.invoicing, self.items, self.payments)

    def handle(self, method: str, path: list[str], params: Params) -> Object:
        """Return the object that one request answers with, before expansion."""
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
            case "POST", ["subscription_schedules", key, "cancel"]:
                return self.subscriptions.cancel_schedule(self.account.get("subscription_schedule", key))
            case "GET", ["invoices", key, "lines"]:
                lines = self.account.get("invoice", key)["lines"]
                return self.lists.cut("line_item", lines["url"], lines["data"], params)
            case "POST", ["invoices", key, action]:
                return self._invoice_action(self.account.get("invoice", key), action, params)
            case "DELETE", ["invoiceitems", key]:
                return self.items.delete(self.account.get("invoiceitem", key))
            case "DELETE", ["invoices", key]:
                return self.invoicing.delete(self.account.get("invoice", key))
            case "DELETE", ["subscriptions", key]:
                return self.subscriptions.cancel(self.account.get("subscription", key))
            case "DELETE", ["customers", key]:
                customer = self.account.get("customer", key)
                self.subscriptions.end_all(customer)
                return self.account.remove(customer, "customer.deleted")
            case "DELETE", [collection, key]:
                kind = _kind(collection)
                if kind not in ("product", "webhook_endpoint"):
                    raise _unrecognized(method, path)
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
                raise _unrecognized(method, path)

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
                return self.subscriptions.schedule(params)
            case "invoiceitem":
                return self.items.create(params)
            case "invoice":
                return self.items.invoice(params)
            case "payment_intent":
                return self.payments.intent(params)
            case "webhook_endpoint":
                return self.endpoints.create(params)
            case _:
                raise invalid(f"Cannot create {kind} here.", code="resource_invalid")

    def _update(self, kind: str, key: str, params: Params) -> Object:
        thing = self.account.get(kind, key)
        accept(kind, params)
        if kind == "subscription_schedule":
            return self.subscriptions.reschedule(thing, params)
        if kind == "webhook_endpoint":
            return self.endpoints.update(thing, params)
        if kind == "customer" and "balance" in params:
            change = int(params.pop("balance")) - thing["balance"]
            self.balances.change(thing, change, "adjustment", thing["currency"] or "eur")
            thing = self.account.get(kind, key)
        before = dict(thing)
        check_update(kind, thing, params)
        if "automatic_tax" in params:
            thing["automatic_tax"] |= self.invoicing.tax.wanted({"automatic_tax": params.pop("automatic_tax")})
        if kind == "customer":
            address: Object = (thing["address"] or {}) | params.get("address", {})
            self.customers.check_location(thing | {"address": address}, {"tax": params.pop("tax", {})})
        for name, value in params.items():
            if isinstance(value, dict) and isinstance(thing.get(name), dict):
                merged: Params = {**thing[name], **value}
                thing[name] = {key: each for key, each in merged.items() if each != "" or name != "metadata"}
            elif name in ("active", "auto_advance", "cancel_at_period_end"):
                thing[name] = forms.flag(value)
            else:
                thing[name] = value if value != "" else None
        if kind == "invoice" and thing["status"] == "draft":
            thing = self.invoicing.totalled(thing)
        return self.account.save(thing, f"{'customer.' if kind == 'subscription' else ''}{kind}.updated", before)

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
                        self.subscriptions.follow(invoice["subscription"])
            case _:
                raise _unrecognized("POST", ["invoices", invoice["id"], action])

    # ---- expansion (API reference: Expanding responses)

    def expanded(self, thing: Object, paths: list[str]) -> Object:
        if len(paths) > 20:
            raise invalid("You cannot expand more than 20 properties at once.", "expand", "parameter_invalid")
        copy: Object = msgspec.json.decode(msgspec.json.encode(thing))
        for path in paths:
            self._expand(copy, path.split("."), path)
        return shortened(copy)

    def _expand(self, node: Any, path: list[str], whole: str) -> None:
        if not path or node is None:
            return
        if isinstance(node, list):
            for each in cast("list[Any]", node):
                self._expand(each, path, whole)
            return
        head, rest = path[0], path[1:]
        if head == "payments" and node.get("object") == "invoice" and "payments" not in node:
            node["payments"] = listing(
                "/v1/invoice_payments", [dict(each) for each in self.invoicing.payments(node["id"])]
            )
        if head == "tax_ids" and node.get("object") == "customer" and "tax_ids" not in node:
            node["tax_ids"] = listing(f"/v1/customers/{node['id']}/tax_ids", self.customers.of(node))
        if head not in node:
            raise invalid(f"This property cannot be expanded ({whole}).", "expand", "parameter_invalid")
        value = node[head]
        if isinstance(value, str) and head in EXPANDABLE:
            node[head] = value = msgspec.json.decode(
                msgspec.json.encode(self.account.retrieve(EXPANDABLE[head], value))
            )
        self._expand(value, rest, whole)


def _kind(collection: str) -> str:
    if collection not in COLLECTIONS:
        raise _unrecognized("", [collection])
    return COLLECTIONS[collection]


def _unrecognized(method: str, path: list[str]) -> StripeError:
    return StripeError(404, "invalid_request_error", f"Unrecognized request URL ({method}: /v1/{'/'.join(path)}).")


def stripe_app(stripe: Stripe) -> Litestar:
    """Return the stand-in as an ASGI application."""
    account = stripe.account

    @route("/v1/{rest:path}", http_method=["GET", "POST", "DELETE"])
    async def v1(request: PlatformRequest, rest: FromPath[Path]) -> Response[Any]:
        _authenticate(request, stripe.api_key)
        version = versions.known(request.headers.get("stripe-version", versions.CURRENT))
        body = (await request.body()).decode()
        query = request.scope["query_string"].decode()
        params = forms.decode("&".join(filter(None, (query, body))))
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
            answer = versions.rendered(stripe.expanded(stripe.handle(request.method, path, params), expand), version)
            status = 200
        except StripeError as error:
            if error.status != 402:  # nothing was begun: the same key may be used again
                raise
            answer, status = error.body, error.status
        if key:
            account.remember(key, fingerprint, status, answer)
        return Response(answer, status_code=status, headers=headers)

    def refused(_: PlatformRequest, error: StripeError) -> Response[Any]:
        return Response(error.body, status_code=error.status, headers={"request-id": f"req_{secrets.token_hex(7)}"})

    def unknown(_: PlatformRequest, error: HTTPException) -> Response[Any]:
        body = {"error": {"type": "invalid_request_error", "message": error.detail}}
        return Response(body, status_code=error.status_code)

    return Litestar(
        [v1],
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

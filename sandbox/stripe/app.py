"""The HTTP surface of the stand-in: one table of routes, expansion, pagination, idempotency, errors."""

from __future__ import annotations

import hashlib
import re
import secrets
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
from litestar import Litestar, Request, Response, route
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from sandbox.stripe import forms
from sandbox.stripe.account import API_VERSION, Account
from sandbox.stripe.errors import StripeError, declined, invalid, missing
from sandbox.stripe.invoicing import REFUSED_AT_ATTACH, Invoicing
from sandbox.stripe.objects import Object, listing
from sandbox.stripe.subscriptions import Subscriptions

Params = forms.Params
PlatformRequest = Request[Any, Any, Any]
VERSION = re.compile(r"20\d\d-\d\d-\d\d(\.[a-z]+)?")
SEARCH = re.compile(r"metadata\['([^']+)'\]:\s*'([^']*)'")
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
    "payment_intent",
    "charge",
    "event",
    "payment_method",
    "webhook_endpoint",
    "tax_id",
)
COLLECTIONS = {f"{kind}s": kind for kind in KINDS}
ACCEPTED = {
    "customer": (
        "address balance description email invoice_prefix invoice_settings metadata name payment_method phone "
        "preferred_locales shipping tax_exempt tax_id_data"
    ),
    "product": (
        "active default_price description id images marketing_features metadata name statement_descriptor tax_code "
        "type unit_label url"
    ),
    "price": (
        "active currency lookup_key metadata nickname product recurring tax_behavior transfer_lookup_key unit_amount "
        "unit_amount_decimal"
    ),
    "tax_rate": "active country description display_name inclusive jurisdiction metadata percentage state tax_type",
    "subscription": (
        "add_invoice_items collection_method customer days_until_due default_payment_method default_tax_rates "
        "description items metadata payment_behavior off_session cancel_at_period_end"
    ),
    "subscription_schedule": (
        "customer default_settings end_behavior metadata phases proration_behavior start_date billing_mode"
    ),
    "invoice": "auto_advance description metadata default_payment_method",
    "webhook_endpoint": "api_version description enabled_events metadata url disabled",
}
"""The parameters that each kind takes, separated by blanks."""
FILTERS = "customer status active product subscription invoice type lookup_keys price schedule"
REUSED_KEY = "Keys for idempotent requests can only be used with the same parameters they were first used with."
PAGING = {"limit", "starting_after", "ending_before", "expand", "created", "query", "page"}


class Stripe:
    """Answer the requests of one account."""

    def __init__(self, account: Account, api_key: str) -> None:
        self.account = account
        self.api_key = api_key
        self.invoicing = Invoicing(account)
        self.subscriptions = Subscriptions(account, self.invoicing)

    def handle(self, method: str, path: list[str], params: Params) -> Object:
        """Return the object that one request answers with, before expansion."""
        match method, path:
            case "GET", ["account"]:
                return {"id": "acct_sandbox", "object": "account", "country": "DE", "default_currency": "eur"}
            case "GET", ["customers", "search"]:
                return self._search("customer", params)
            case "GET", ["customers", key, "tax_ids"]:
                return self._list("tax_id", f"/v1/customers/{key}/tax_ids", params | {"customer": key})
            case "GET", ["customers", key, "payment_methods"]:
                return self._list("payment_method", f"/v1/customers/{key}/payment_methods", params | {"customer": key})
            case "POST", ["customers", key, "tax_ids"]:
                return self._tax_id(self.account.get("customer", key), params)
            case "POST", ["payment_methods", key, "attach"]:
                return self._attach(key, self.account.get("customer", params.get("customer", ""), "customer"))
            case "POST", ["subscription_schedules", key, "cancel"]:
                return self.subscriptions.cancel_schedule(self.account.get("subscription_schedule", key))
            case "GET", ["invoices", key, "lines"]:
                return self.account.get("invoice", key)["lines"]
            case "POST", ["invoices", key, action]:
                return self._invoice_action(self.account.get("invoice", key), action, params)
            case "DELETE", ["subscriptions", key]:
                return self.subscriptions.cancel(self.account.get("subscription", key))
            case "DELETE", [collection, key]:
                kind = _kind(collection)
                if kind not in ("customer", "product", "webhook_endpoint"):
                    raise _unrecognized(method, path)
                return self.account.remove(
                    self.account.get(kind, key), f"{kind}.deleted" if kind != "webhook_endpoint" else ""
                )
            case "GET", [collection]:
                return self._list(_kind(collection), f"/v1/{collection}", params)
            case "GET", [collection, key]:
                return self.account.get(_kind(collection), key)
            case "POST", [collection]:
                return self._create(_kind(collection), params)
            case "POST", [collection, key]:
                return self._update(_kind(collection), key, params)
            case _:
                raise _unrecognized(method, path)

    # ---- create and update

    def _create(self, kind: str, params: Params) -> Object:
        _accept(kind, params)
        match kind:
            case "customer":
                return self._customer(params)
            case "product":
                return self._product(params)
            case "price":
                return self._price(params)
            case "tax_rate":
                _require(params, "display_name", "inclusive", "percentage")
                values: Params = params | {
                    "inclusive": forms.flag(params["inclusive"]),
                    "percentage": float(params["percentage"]),
                }
                return self.account.save(self.account.make("tax_rate", **values), "tax_rate.created")
            case "subscription":
                return self.subscriptions.create(params)
            case "subscription_schedule":
                return self.subscriptions.schedule(params)
            case "webhook_endpoint":
                _require(params, "url", "enabled_events")
                return self.account.endpoint(params)
            case _:
                raise invalid(f"Cannot create {kind} here.", code="resource_invalid")

    def _update(self, kind: str, key: str, params: Params) -> Object:
        thing = self.account.get(kind, key)
        _accept(kind, params)
        if kind == "subscription_schedule":
            return self.subscriptions.reschedule(thing, params)
        before = dict(thing)
        for name, value in params.items():
            if isinstance(value, dict) and isinstance(thing.get(name), dict):
                merged: Params = {**thing[name], **value}
                thing[name] = {key: each for key, each in merged.items() if each != "" or name != "metadata"}
            elif name in ("active", "auto_advance", "cancel_at_period_end"):
                thing[name] = forms.flag(value)
            else:
                thing[name] = value if value != "" else None
        return self.account.save(thing, f"{'customer.' if kind == 'subscription' else ''}{kind}.updated", before)

    def _customer(self, params: Params) -> Object:
        values = {
            key: value
            for key, value in params.items()
            if key not in ("tax_id_data", "payment_method", "invoice_settings", "address")
        }
        prefix = values.pop("invoice_prefix", secrets.token_hex(4).upper())
        customer = self.account.make("customer", **values, invoice_prefix=prefix)
        if "address" in params:
            customer["address"] = (
                dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")) | params["address"]
            )
        customer["invoice_settings"] |= params.get("invoice_settings", {})
        if token := params.get("payment_method"):
            attached = self._attach(token, customer)  # refused: then there is no customer either
            if customer["invoice_settings"]["default_payment_method"] == token:
                customer["invoice_settings"]["default_payment_method"] = attached["id"]
        self.account.save(customer, "customer.created")
        for each in params.get("tax_id_data", []):
            self._tax_id(customer, each)
        return customer

    def _tax_id(self, customer: Object, params: Params) -> Object:
        _require(params, "type", "value")
        made = self.account.make(
            "tax_id",
            type=params["type"],
            value=params["value"],
            customer=customer["id"],
            country=params["value"][:2],
            owner={"type": "customer", "customer": customer["id"], "customer_account": None},
        )
        return self.account.save(made, "customer.tax_id.created")

    def _product(self, params: Params) -> Object:
        _require(params, "name")
        key = params.get("id", "")
        if key and self.account.find("product", key):
            raise invalid("Product already exists.", "id", "resource_already_exists")
        values = {name: value for name, value in params.items() if name not in ("id", "active")}
        made = self.account.make("product", key, **values)
        return self.account.save(made | {"updated": made["created"]}, "product.created")

    def _price(self, params: Params) -> Object:
        _require(params, "currency", "product")
        self.account.get("product", params["product"], "product")
        lookup = params.get("lookup_key")
        if lookup and any(each["lookup_key"] == lookup for each in self.account.all("price")):
            raise invalid(
                f"A price (`{lookup}`) already uses that lookup key.", "lookup_key", "resource_already_exists"
            )
        amount = Decimal(params.get("unit_amount_decimal", params.get("unit_amount", "")) or "NaN")
        if amount.is_nan():
            raise invalid(
                "You must specify either `unit_amount` or `unit_amount_decimal`.", "unit_amount", "parameter_missing"
            )
        recurring = params.get("recurring")
        if recurring:
            recurring = {
                "interval": recurring["interval"],
                "interval_count": int(recurring.get("interval_count", 1)),
                "meter": None,
                "usage_type": recurring.get("usage_type", "licensed"),
                "trial_period_days": None,
            }
        values = {
            key: params[key]
            for key in ("product", "lookup_key", "nickname", "metadata", "tax_behavior")
            if key in params
        }
        made = self.account.make(
            "price",
            **values,
            currency=params["currency"].lower(),
            recurring=recurring,
            type="recurring" if recurring else "one_time",
            unit_amount=int(amount) if amount == amount.to_integral_value() else None,
            unit_amount_decimal=f"{amount.normalize():f}",
        )
        return self.account.save(made, "price.created")

    def _attach(self, token: str, customer: Object) -> Object:
        """Attach a payment method of its own for a test token; some tokens are refused.

        (Stripe: Testing, declined payments.)
        """
        if token in REFUSED_AT_ATTACH:
            raise declined(REFUSED_AT_ATTACH[token])
        method = self.account.find("payment_method", token)
        if method is None:
            if not token.startswith("pm_card_"):
                raise missing("payment_method", token)
            method = self.account.make("payment_method", metadata={"token": token})
            method["card"]["fingerprint"] = hashlib.sha256(token.encode()).hexdigest()[:16]
        return self.account.save(method | {"customer": customer["id"]}, "payment_method.attached")

    def _invoice_action(self, invoice: Object, action: str, params: Params) -> Object:
        match action:
            case "finalize":
                return self.invoicing.finalize(invoice)
            case "void":
                return self.invoicing.void(invoice)
            case "pay":
                try:
                    method = params.get("payment_method", "")
                    return self.invoicing.pay(invoice, method, out_of_band=forms.flag(params.get("paid_out_of_band")))
                finally:
                    if invoice["subscription"]:
                        self.subscriptions.follow(invoice["subscription"])
            case _:
                raise _unrecognized("POST", ["invoices", invoice["id"], action])

    # ---- lists

    def _list(self, kind: str, url: str, params: Params) -> Object:
        """Return a page of objects, newest first as Stripe lists them (API reference: Pagination)."""
        for key in params:
            if key not in PAGING and key not in FILTERS.split():
                raise invalid(f"Received unknown parameter: {key}", key, "parameter_unknown")
        found = [each for each in self.account.all(kind) if _matches(each, params)]
        found.reverse()
        keys = [each["id"] for each in found]
        limit = int(params.get("limit", 10))
        if not 1 <= limit <= 100:
            raise invalid("Limit must be between 1 and 100.", "limit", "parameter_invalid_integer")
        start, end = 0, len(found)
        if after := params.get("starting_after"):
            if after not in keys:
                raise missing(kind, after, "starting_after")
            start = keys.index(after) + 1
        elif before := params.get("ending_before"):
            if before not in keys:
                raise missing(kind, before, "ending_before")
            end = keys.index(before)
            start = max(0, end - limit)
            return listing(url, found[start:end], more=start > 0)
        return listing(url, found[start : start + limit], more=start + limit < end)

    def _search(self, kind: str, params: Params) -> Object:
        clause = SEARCH.fullmatch(params.get("query", "").strip())
        if clause is None:
            raise invalid("We were unable to parse your search query.", "query", "parameter_invalid_string")
        found = [each for each in self.account.all(kind) if each["metadata"].get(clause[1]) == clause[2]]
        return {
            "object": "search_result",
            "data": found,
            "has_more": False,
            "next_page": None,
            "url": f"/v1/{kind}s/search",
        }

    # ---- expansion (API reference: Expanding responses)

    def expanded(self, thing: Object, paths: list[str]) -> Object:
        if len(paths) > 20:
            raise invalid("You cannot expand more than 20 properties at once.", "expand", "parameter_invalid")
        copy: Object = msgspec.json.decode(msgspec.json.encode(thing))
        for path in paths:
            self._expand(copy, path.split("."), path)
        return copy

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
        if head not in node:
            raise invalid(f"This property cannot be expanded ({whole}).", "expand", "parameter_invalid")
        value = node[head]
        if isinstance(value, str) and head in EXPANDABLE:
            node[head] = value = msgspec.json.decode(msgspec.json.encode(self.account.get(EXPANDABLE[head], value)))
        self._expand(value, rest, whole)


def _kind(collection: str) -> str:
    if collection not in COLLECTIONS:
        raise _unrecognized("", [collection])
    return COLLECTIONS[collection]


def _unrecognized(method: str, path: list[str]) -> StripeError:
    return StripeError(404, "invalid_request_error", f"Unrecognized request URL ({method}: /v1/{'/'.join(path)}).")


def _accept(kind: str, params: Params) -> None:
    known = {*ACCEPTED.get(kind, "").split(), "expand"}
    for key in params:
        if key not in known:
            raise invalid(f"Received unknown parameter: {key}", key, "parameter_unknown")
    params.pop("expand", None)


def _require(params: Params, *names: str) -> None:
    for name in names:
        if params.get(name) in (None, ""):
            raise invalid(f"Missing required param: {name}.", name, "parameter_missing")


def _matches(thing: Object, params: Params) -> bool:
    for key in FILTERS.split():
        if key not in params:
            continue
        wanted = params[key]
        if key == "lookup_keys":
            if thing["lookup_key"] not in wanted:
                return False
        elif key == "active":
            if thing["active"] != forms.flag(wanted):
                return False
        elif key == "status" and wanted == "all":
            continue
        elif thing.get(key) != wanted:
            return False
    return not (thing["object"] == "subscription" and "status" not in params and thing["status"] == "canceled")


def stripe_app(stripe: Stripe) -> Litestar:
    """Return the stand-in as an ASGI application."""
    account = stripe.account

    @route("/v1/{rest:path}", http_method=["GET", "POST", "DELETE"])
    async def v1(request: PlatformRequest, rest: FromPath[Path]) -> Response[Any]:
        _authenticate(request, stripe.api_key)
        version = request.headers.get("stripe-version", API_VERSION)
        if not VERSION.fullmatch(version):
            raise invalid(f"Invalid Stripe API version: {version}", code="invalid_api_version")
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
            answer = stripe.expanded(stripe.handle(request.method, path, params), expand)
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
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secrets.compare_digest(token, api_key):
        raise StripeError(401, "invalid_request_error", "Invalid API Key provided.")


def error_body(status: int) -> bytes:
    """Return what Stripe answers when it is too busy or down."""
    kind = "rate_limit" if status == 429 else "api_error"
    return msgspec.json.encode({"error": {"type": kind, "message": "The request could not be served.", "code": kind}})

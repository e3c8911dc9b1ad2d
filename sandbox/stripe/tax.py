"""Stripe Tax: the settings of an account, where it is registered, and what tax a line bears (docs.stripe.com/tax).

The rates are a small table of places. A line gets one result for each tax of its place, also where nothing is collected
(Zero tax amounts and reverse charges).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from sandbox.stripe import currencies, forms
from sandbox.stripe.account import Account
from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import require

NOTHING = Decimal(0)
NONTAXABLE, BOOKS, GOODS = "txcd_00000000", "txcd_35010000", "txcd_99999999"
"""Some of the product tax codes (docs.stripe.com/tax/tax-codes)."""
TAX_CODE = re.compile(r"txcd_\d{8}")
UNION = {
    *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU"),
    *("LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"),
}
REASONS = {"exempt": "customer_exempt", "reverse": "reverse_charge"}
"""What the `tax_exempt` of a customer makes of every tax (API reference: Customers)."""
BEHAVIORS = ("exclusive", "inclusive", "inferred_by_currency")
FIVE_DIGITS = re.compile(r"\d{5}(-\d{4})?")
NO_LOCATION = (
    "The customer's location isn't recognized. Set a valid customer address in order to automatically calculate tax."
)
INACTIVE = (
    "Stripe Tax has not been activated on your account. Please visit https://stripe.com/docs/tax/set-up to get started."
)


class Levy(msgspec.Struct, frozen=True):
    """A tax of a place: its rate, that of books, and whether services are free of it."""

    name: str
    kind: str
    percent: Decimal
    of_books: Decimal | None = None
    on_services: bool = True


def _vat(percent: str, of_books: str) -> tuple[Levy, ...]:
    return (Levy("VAT", "vat", Decimal(percent), Decimal(of_books)),)


PLACES: dict[str, tuple[Levy, ...]] = {
    "DE": _vat("19", "7"),
    "FR": _vat("20", "5.5"),
    "AT": _vat("20", "10"),
    "ES": _vat("21", "4"),
    "IT": _vat("22", "4"),
    "NL": _vat("21", "9"),
    "CH": _vat("8.1", "2.6"),
    "GB": _vat("20", "0"),
    "US-NY": (
        Levy("Sales Tax", "sales_tax", Decimal(4)),
        Levy("New York City Sales Tax", "sales_tax", Decimal("4.875")),
    ),
    "US-CA": (Levy("Sales Tax", "sales_tax", Decimal("7.25"), on_services=False),),
    "CA-ON": (Levy("HST", "hst", Decimal(13)),),
    "CA-QC": (Levy("GST", "gst", Decimal(5)), Levy("QST", "qst", Decimal("9.975"))),
}
"""The taxes of each place that is known here: a country, or a state of one that taxes by state."""
BY_POSTAL_CODE = {"US": {"1": "NY", "9": "CA"}, "CA": {"M": "ON", "H": "QC"}}
"""The state of a postal code, by its first character."""


class Tax:
    """Stripe Tax of one account."""

    def __init__(self, account: Account) -> None:
        self.account = account

    # ---- settings and registrations (API reference: Tax Settings, Tax Registrations)

    def settings(self) -> Object:
        """Return the settings, which are pending until the head office is known."""
        return {name: value for name, value in self._settings().items() if name not in ("id", "created")}

    def _settings(self) -> Object:
        return self.account.find("tax.settings", "settings") or self.account.make("tax.settings", "settings")

    def configure(self, params: Params) -> Object:
        """Change settings. None can be removed once it is set."""
        made, defaults = self._settings(), params.get("defaults", {})
        if defaults.get("tax_behavior", BEHAVIORS[0]) not in BEHAVIORS:
            raise invalid(f"Invalid tax_behavior: must be one of {', '.join(BEHAVIORS)}", "defaults[tax_behavior]", "")
        if "tax_code" in defaults:
            known_code(defaults["tax_code"], "defaults[tax_code]")
        made["defaults"] |= defaults
        if address := params.get("head_office", {}).get("address"):
            require(address, "country")
            places = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
            made["head_office"] = {"address": places | address}
            made |= {"status": "active", "status_details": {"active": {}, "pending": None}}
        self.account.save(made, "tax.settings.updated")
        return self.settings()

    def register(self, params: Params) -> Object:
        """Register in a country, or in a state of one that taxes by state."""
        require(params, "active_from", "country", "country_options")
        country: str = params["country"]
        options: Params | None = params["country_options"].get(country.lower())
        if options is None or "type" not in options:
            name = f"country_options[{country.lower()}][type]"
            raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
        if country == "US" and "state" not in options:
            raise invalid(
                "Missing required param: country_options[us][state].", "country_options[us][state]", "parameter_missing"
            )
        now = self.account.clock.seconds()
        begins = now if params["active_from"] == "now" else int(params["active_from"])
        made = self.account.make(
            "tax.registration",
            active_from=begins,
            country=country,
            country_options={country.lower(): options},
            status="active" if begins <= now else "scheduled",
        )
        return self.account.save(made)

    # ---- what has to be so (docs.stripe.com/tax/subscriptions, docs.stripe.com/tax/customer-locations)

    def wanted(self, params: Params, at: str = "") -> Object:
        """Return the `automatic_tax` of what is created. Raises `StripeError` where the account cannot use it."""
        given: Params = params.get("automatic_tax", {})
        name = f"{at}[automatic_tax]" if at else "automatic_tax"
        if given and "enabled" not in given:
            raise invalid(f"Missing required param: {name}[enabled].", f"{name}[enabled]", "parameter_missing")
        enabled = forms.flag(given.get("enabled"))
        liability: Params = given.get("liability") or {"type": "self"}
        if liability.get("type") not in ("self", "account"):
            raise invalid("Invalid liability[type]: must be one of account, self", f"{name}[liability][type]", "")
        if liability["type"] == "account":
            raise StripeError(400, "invalid_request_error", "No such connected account.", param=f"{name}[liability]")
        if enabled and self._settings()["status"] != "active":
            raise invalid(INACTIVE, name, "stripe_tax_inactive")
        return {"enabled": enabled, "liability": liability if enabled else None, "disabled_reason": None}

    def check(self, customer: Object, prices: Iterable[Object], rates: Iterable[Any], at: str) -> None:
        """Raise `StripeError` for what cannot be taxed automatically."""
        if any(rates):
            raise invalid("You cannot set tax rates when automatic tax is enabled.", at, "")
        for price in prices:
            self._behavior(price)
        if self.place(customer) is None:
            raise invalid(NO_LOCATION, "", "customer_tax_location_invalid")

    def _behavior(self, price: Object) -> None:
        behavior = price["tax_behavior"]
        if behavior == "unspecified":
            behavior = self._settings()["defaults"]["tax_behavior"]
        if behavior is None:
            raise invalid(
                f"The price {price['id']} has no tax_behavior, which automatic tax requires.", "tax_behavior", ""
            )
        if behavior != "exclusive":
            raise invalid("The stand-in knows no tax that prices include.", "tax_behavior", "")

    def place(self, customer: Object) -> str | None:
        """Return where a customer is taxed: `DE`, or `US-NY`. None where that is not known (Address formats).

        In the United States that takes a postal code, in Canada a province or a postal code, elsewhere a country.
        """
        address: Object = customer["address"] or {}
        country, code = address.get("country"), address.get("postal_code") or ""
        if not country:
            return None
        if country not in BY_POSTAL_CODE:
            return country
        if country == "US" and not FIVE_DIGITS.fullmatch(code):
            return None
        state = address.get("state") or BY_POSTAL_CODE[country].get(code[:1].upper(), "")
        return f"{country}-{state}" if state or code else None

    # ---- the tax of a line

    def of(self, customer: Object, product: Object | None, amount: int, currency: str) -> list[Object]:
        """Return the taxes of a line of a customer whose place is known, rounded for each line."""
        place = self.place(customer)
        code = (product or {}).get("tax_code") or self._settings()["defaults"]["tax_code"] or ""
        found: list[Object] = []
        for levy in PLACES.get(place or "", (Levy("Tax", "vat", NOTHING),)):
            percent, reason = self._result(customer, place or "", levy, code)
            rate = self._rate(place or "", levy, percent)
            found.append(
                {
                    "amount": currencies.rounded(amount * percent / 100, currency),
                    "taxable_amount": amount if percent else 0,
                    "tax_behavior": "exclusive",
                    "tax_rate_details": {"tax_rate": rate["id"]},
                    "type": "tax_rate_details",
                    "taxability_reason": reason,
                }
            )
        return found

    def _result(self, customer: Object, place: str, levy: Levy, code: str) -> tuple[Decimal, str]:
        """Return the rate that is collected, and why (Invoice Line Item, `taxes.taxability_reason`)."""
        if code == NONTAXABLE:
            return NOTHING, "not_subject_to_tax"
        if place not in PLACES:
            return NOTHING, "not_supported"
        if customer["tax_exempt"] in REASONS:
            return NOTHING, REASONS[customer["tax_exempt"]]
        if self._is_business_abroad(customer, place):
            return NOTHING, "reverse_charge"
        if not self._is_registered(place):
            return NOTHING, "not_collecting"
        if not levy.on_services and code != GOODS:
            return NOTHING, "product_exempt"
        if code == BOOKS and levy.of_books is not None:
            return levy.of_books, "reduced_rated" if levy.of_books else "zero_rated"
        return levy.percent, "standard_rated"

    def _is_business_abroad(self, customer: Object, place: str) -> bool:
        """Return whether a buyer with a number of its own is in another member state than the head office."""
        office: Object = self._settings()["head_office"]["address"]
        numbers = (each for each in self.account.all("tax_id") if each["customer"] == customer["id"])
        has_number = any(each["type"] == "eu_vat" and each["country"] == place for each in numbers)
        return has_number and place in UNION and office["country"] in UNION and place != office["country"]

    def _is_registered(self, place: str) -> bool:
        country, _, state = place.partition("-")
        for each in self.account.all("tax.registration"):
            options: Params = each["country_options"][each["country"].lower()]
            if each["active_from"] > self.account.clock.seconds():
                continue
            if each["country"] == country and options.get("state") in (None, state):
                return True
            if options["type"] == "oss_union" and country in UNION:
                return True
        return False

    def _rate(self, place: str, levy: Levy, percent: Decimal) -> Object:
        """Return the rate that says so: that of the law, and what was used of it (The Tax Rate object)."""
        country, _, state = place.partition("-")
        wanted: Object = {
            "country": country,
            "state": state or None,
            "display_name": levy.name,
            "jurisdiction": state or country,
            "jurisdiction_level": "state" if state else "country",
            "tax_type": levy.kind,
            "rate_type": "percentage",
            "percentage": float(levy.percent),
            "effective_percentage": float(percent),
        }
        for each in self.account.all("tax_rate"):
            if {name: each[name] for name in wanted} == wanted:
                return each
        return self.account.save(self.account.make("tax_rate", **wanted))


def known_code(code: str, param: str) -> str:
    """Return a product tax code. Raises `StripeError` for what is none."""
    if not TAX_CODE.fullmatch(code):
        raise invalid(f"No such tax code: '{code}'", param, "resource_missing")
    return code

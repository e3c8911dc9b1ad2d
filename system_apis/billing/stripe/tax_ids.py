"""Which kind of tax number Stripe takes a number as (docs.stripe.com/billing/customer/tax-ids).

By the number's own prefix where it has one, else by the customer's country. The forms are those of the examples there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
from stdnum.util import get_cc_module

from canonical.tax import EU

PREFIXES = (EU - {"GR"}) | {"EL", "XI"}
"""What a European VAT number begins with: Greece writes EL, Northern Ireland XI."""


class TaxId(msgspec.Struct, frozen=True):
    """A tax number as Stripe takes it: its type, and its value in the form of that type."""

    type: str
    value: str


def tax_id(number: str, country: str) -> TaxId | None:
    """Return the tax number of a customer of `country` (ISO 3166-1 alpha-2) as Stripe takes it.

    Return None for a number of a kind that Stripe does not know. A European number is returned in whatever form it has.
    """
    text = re.sub(r"[^0-9A-Z+*&Ñ]", "", number.upper())
    if text.startswith("CHE") and country == "LI":
        return _formed("li_uid", text, r"(CHE\d{9})", "{}".format)
    if text.startswith("CHE"):
        return _swiss(text)
    if text[:2] in PREFIXES and (country in EU or _module(text[:2]).is_valid(text[2:])):
        return _european(text[:2], text[2:])
    if country in EU:
        return _european("EL" if country == "GR" else country, text)
    if country not in FORMS:
        return None
    kind, pattern, write = FORMS[country]
    return _formed(kind, text, pattern, write)


def _module(prefix: str) -> Any:
    """Return what knows the VAT numbers that begin with `prefix`."""
    country = {"XI": "GB", "EL": "GR"}.get(prefix, prefix)
    return get_cc_module(country.lower(), "vat")


def _european(prefix: str, rest: str) -> TaxId:
    return TaxId("eu_vat", prefix + str(_module(prefix).compact(rest)).removeprefix(prefix))


def _swiss(text: str) -> TaxId | None:
    parts = re.fullmatch(r"CHE(\d{3})(\d{3})(\d{3})(MWST|TVA|IVA|TPV|VAT)?", text)
    if parts is None:
        return None
    word = parts[4] if parts[4] in ("MWST", "TVA", "IVA") else "MWST"
    return TaxId("ch_vat", f"CHE-{parts[1]}.{parts[2]}.{parts[3]} {word}")


def _formed(kind: str, text: str, pattern: str, write: Callable[..., str]) -> TaxId | None:
    found = re.fullmatch(pattern, text)
    if found is None:
        return None
    return TaxId(kind, write(*found.groups()))


FORMS: dict[str, tuple[str, str, Callable[..., str]]] = {
    "GB": ("gb_vat", r"(?:GB)?(\d{9}|\d{12}|GD\d{3}|HA\d{3})", "GB{}".format),
    "NO": ("no_vat", r"(?:NO)?(\d{9})(?:MVA)?", "{}MVA".format),
    "IS": ("is_vat", r"(?:IS)?(\d{6})", "{}".format),
    "US": ("us_ein", r"(\d{2})(\d{7})", "{}-{}".format),
    "AU": ("au_abn", r"(?:AU|ABN)?(\d{11})", "{}".format),
    "NZ": ("nz_gst", r"(?:NZ)?(\d{8,9})", "{}".format),
    "CA": ("ca_gst_hst", r"(\d{9}RT\d{4})", "{}".format),
    "JP": ("jp_trn", r"(T\d{13})", "{}".format),
    "KR": ("kr_brn", r"(\d{3})(\d{2})(\d{5})", "{}-{}-{}".format),
    "SG": ("sg_gst", r"([A-Z]\d{8}[A-Z])", "{}".format),
    "IN": ("in_gst", r"(\d{2}[A-Z]{5}\d{4}[A-Z][A-Z0-9]Z[A-Z0-9])", "{}".format),
    "ZA": ("za_vat", r"(?:ZA)?(\d{10})", "{}".format),
    "TR": ("tr_tin", r"(?:TR)?(\d{10})", "{}".format),
    "AE": ("ae_trn", r"(\d{15})", "{}".format),
    "SA": ("sa_vat", r"(\d{15})", "{}".format),
    "IL": ("il_vat", r"(\d{9})", "{}".format),
    "UA": ("ua_vat", r"(\d{9})", "{}".format),
    "RS": ("rs_pib", r"(?:RS)?(\d{9})", "{}".format),
    "MX": ("mx_rfc", r"([A-Z&Ñ]{3,4}\d{6}[A-Z0-9]{3})", "{}".format),
    "BR": ("br_cnpj", r"(\d{2})(\d{3})(\d{3})(\d{4})(\d{2})", "{}.{}.{}/{}-{}".format),
    "CL": ("cl_tin", r"(\d{1,2})(\d{3})(\d{3})([\dK])", "{}.{}.{}-{}".format),
    "TH": ("th_vat", r"(\d{13})", "{}".format),
    "TW": ("tw_vat", r"(\d{8})", "{}".format),
    "LI": ("li_vat", r"(\d{5})", "{}".format),
}
"""The type of each country's tax number, its form without dots and blanks, and how Stripe writes it."""

"""The tax numbers that Stripe takes: their types, and the form of each (docs.stripe.com/billing/customer/tax-ids)."""

from __future__ import annotations

import re

from sandbox.stripe.errors import invalid

EU_VAT = {
    "AT": r"U\d{8}",
    "BE": r"\d{10}",
    "BG": r"\d{9,10}",
    "CY": r"\d{8}[A-Z]",
    "CZ": r"\d{8,10}",
    "DE": r"\d{9}",
    "DK": r"\d{8}",
    "EE": r"\d{9}",
    "EL": r"\d{9}",
    "ES": r"[A-Z0-9]\d{7}[A-Z0-9]",
    "FI": r"\d{8}",
    "FR": r"[A-Z0-9]{2}\d{9}",
    "HR": r"\d{11}",
    "HU": r"\d{8}",
    "IE": r"\d[A-Z0-9+*]\d{5}[A-Z]{1,2}",
    "IT": r"\d{11}",
    "LT": r"\d{9}|\d{12}",
    "LU": r"\d{8}",
    "LV": r"\d{11}",
    "MT": r"\d{8}",
    "NL": r"\d{9}B\d{2}",
    "PL": r"\d{10}",
    "PT": r"\d{9}",
    "RO": r"\d{2,10}",
    "SE": r"\d{12}",
    "SI": r"\d{8}",
    "SK": r"\d{10}",
    "XI": r"\d{9}|\d{12}",
}
"""European VAT numbers by their prefix. Those of Northern Ireland begin with XI, those of Greece with EL."""
COUNTRY = {"EL": "GR", "XI": "GB"}
TYPES = {
    "eu_vat": "|".join(f"{prefix}(?:{rest})" for prefix, rest in EU_VAT.items()),
    "eu_oss_vat": r"EU\d{9}",
    "gb_vat": r"GB(\d{9}|\d{12}|GD\d{3}|HA\d{3})",
    "ch_vat": r"CHE-\d{3}\.\d{3}\.\d{3} (MWST|TVA|IVA)",
    "ch_uid": r"CHE-\d{3}\.\d{3}\.\d{3} HR",
    "li_uid": r"CHE\d{9}",
    "li_vat": r"\d{5}",
    "no_vat": r"\d{9}MVA",
    "no_voec": r"\d{7}",
    "is_vat": r"\d{6}",
    "us_ein": r"\d{2}-\d{7}",
    "ca_bn": r"\d{9}",
    "ca_gst_hst": r"\d{9}RT\d{4}",
    "ca_qst": r"\d{10}TQ\d{4}",
    "au_abn": r"\d{11}",
    "au_arn": r"\d{12}",
    "nz_gst": r"\d{8,9}",
    "jp_cn": r"\d{13}",
    "jp_rn": r"\d{5}",
    "jp_trn": r"T\d{13}",
    "kr_brn": r"\d{3}-\d{2}-\d{5}",
    "sg_gst": r"[A-Z]\d{8}[A-Z]",
    "sg_uen": r"\d{8,9}[A-Z]",
    "in_gst": r"\d{2}[A-Z]{5}\d{4}[A-Z][A-Z0-9]Z[A-Z0-9]",
    "za_vat": r"\d{10}",
    "tr_tin": r"\d{10}",
    "ae_trn": r"\d{15}",
    "sa_vat": r"\d{15}",
    "il_vat": r"\d{9}",
    "ua_vat": r"\d{9}",
    "rs_pib": r"\d{9}",
    "mx_rfc": r"[A-Z&Ñ]{3,4}\d{6}[A-Z0-9]{3}",
    "br_cnpj": r"\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}",
    "br_cpf": r"\d{3}\.\d{3}\.\d{3}-\d{2}",
    "cl_tin": r"\d{1,2}\.\d{3}\.\d{3}-[\dK]",
    "th_vat": r"\d{13}",
    "tw_vat": r"\d{8}",
    "hk_br": r"\d{8}",
    "de_stn": r"\d{10,11}",
    "es_cif": r"[A-Z]\d{7}[A-Z0-9]",
}
"""Supported tax ID types, each with the form of its example. Types that are not here are refused as well."""
VERIFIED = ("eu_vat", "gb_vat", "au_abn")
"""The types that Stripe verifies; others stay `unavailable` (Customer tax IDs: Validation)."""


def country(kind: str, value: str) -> str:
    """Return the country of a tax number. Raises `StripeError` for an unknown type, or a value of another form."""
    if kind not in TYPES:
        raise invalid(f"Invalid type: must be one of {', '.join(sorted(TYPES))}", "type", "")
    if not re.fullmatch(TYPES[kind], value):
        raise invalid(f"Invalid value for {kind}.", "value", "tax_id_invalid")
    prefix = value[:2] if kind == "eu_vat" else kind[:2].upper()
    return COUNTRY.get(prefix, prefix)


def verification(kind: str) -> str:
    """Return the state of the check of a number that was just given."""
    return "pending" if kind in VERIFIED else "unavailable"

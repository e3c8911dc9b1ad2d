"""What the books of this Tryton are called: the taxes of each legal entity, and what decides between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import pycountry

from canonical.countries import is_country
from canonical.tax import STANDARD_CLASS, ChargedTax, TaxRule, TaxTreatment
from policies.catalogue.model import Report
from policies.catalogue.nearest import hint
from system_apis.erp.tryton.mapping import FIELDS, INVOICE
from system_apis.mapping_file import load

SHIPPED = Path(__file__).with_name("mapping.toml")
"""The mapping of books that are set up as those of the demo."""
FIELD = re.compile(r"[a-z][a-z0-9_]*")
ANY = "*"
"""All legal entities that are not named."""
HIGHEST = 100
"""Percent that a tax can have."""


WRITTEN = FIELDS[INVOICE].keys()
"""The fields of an invoice that are written anyway."""


class TaxRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name of the ERP's record of a tax, and how what bears it is treated."""

    record: str
    treatment: TaxTreatment = "standard"


class Rule(TaxRule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule, as it is written in the mapping."""


class BilledTax(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which tax billing's own engine has charged is booked with the code `tax`: where all that it names is so."""

    tax: str
    percent: Decimal | None = None
    countries: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def fits(self, charged: ChargedTax) -> bool:
        """Return whether it is about a tax."""
        return (
            self.percent in (None, charged.percent)
            and charged.country in (self.countries or (charged.country,))
            and charged.state in (self.states or (charged.state,))
            and charged.reason in (self.reasons or (charged.reason,))
        )


class Entity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The taxes of a legal entity by their codes, and the rules that choose one: the first that fits.

    Where it has `billed_taxes` and no `tax_rules`, billing's own engine decides about tax. `write_off` names the method
    by which what billing has given up is written off; without one, people do it. `payment_fees` is the code or the name
    of the expense account of what billing takes for disputes; without one, people book it.
    """

    taxes: dict[str, TaxRecord]
    tax_rules: tuple[Rule, ...] = ()
    write_off: str = ""
    payment_fees: str = ""
    billed_taxes: tuple[BilledTax, ...] = ()

    @property
    def taxed_by_billing(self) -> bool:
        """Return whether billing's own engine decides about tax."""
        return bool(self.billed_taxes) and not self.tax_rules

    def code_of(self, charged: ChargedTax) -> str | None:
        """Return the code with which a tax is booked that billing's own engine has charged, None where none is
        named."""
        return next((each.tax for each in self.billed_taxes if each.fits(charged)), None)


class Custom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The field of an invoice in Tryton for each custom field of a deal. What is not named is a line of its comment."""

    invoice: dict[str, str] = {}


class NewProducts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How products are created that the CRM's catalogue has.

    `unit` and `category` are the names of the unit, and of the accounting category, of one of which the CRM says
    neither. `units` and `categories` hold the names by the CRM's own; what is not there has the same name here.
    """

    unit: str = "Unit"
    category: str = ""
    units: dict[str, str] = {}
    categories: dict[str, str] = {}

    def unit_of(self, named: str) -> str:
        return self.units.get(named, named) or self.unit

    def category_of(self, named: str) -> str:
        return self.categories.get(named, named) or self.category


class Books(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mapping of one Tryton.

    `product_classes` holds the tax class of products by the name of their accounting category; others are `standard`.
    """

    legal_entities: dict[str, Entity]
    product_classes: dict[str, str] = {}
    products: NewProducts = NewProducts()
    custom: Custom = Custom()

    def of(self, legal_entity: str) -> Entity | None:
        """Return what the books of a legal entity are called, None where nothing is said of it."""
        return self.legal_entities.get(legal_entity) or self.legal_entities.get(ANY)

    def product_class(self, category: str) -> str:
        """Return the tax class of the products of an accounting category."""
        return self.product_classes.get(category, STANDARD_CLASS)


def books(path: str) -> Books:
    """Return the mapping in a file; the shipped one if `path` is empty. Raises `MappingError`."""
    return load(Path(path) if path else SHIPPED, Books, _check)


def _check(mapping: Books) -> Iterator[Report]:
    """Report what the shape alone does not show."""
    yield from _of_custom(mapping.custom.invoice)
    classes = {STANDARD_CLASS, *mapping.product_classes.values()}
    for code, entity in mapping.legal_entities.items():
        at = ("legal_entities", code)
        if not entity.tax_rules and not entity.billed_taxes:
            decides = "add tax_rules, or billed_taxes where billing's own engine decides"
            yield at, f"nothing says which taxes {code} charges", decides
        if "" in entity.taxes:
            yield (*at, "taxes"), "a tax has no code", "give it one, such as standard"
        yield from _of_billed(code, entity)
        for place, rule in enumerate(entity.tax_rules):
            path = (*at, "tax_rules", str(place))
            yield from _of_names(path, code, entity, rule)
            for name in sorted(set(rule.product_classes) - classes):
                reason = f"no product is of the class {name!r}"
                yield (*path, "product_classes"), reason, f"use one of {', '.join(sorted(classes))}, or add it"
            if rule.valid_from and rule.valid_until and rule.valid_from > rule.valid_until:
                yield (*path, "valid_until"), "it ends before it begins", "give the last day on which it holds"
            if place and _always(entity.tax_rules[place - 1]):
                yield path, "the rule above it fits every sale, so that this one never decides", "move it up"


def _of_billed(code: str, entity: Entity) -> Iterator[Report]:
    for place, billed in enumerate(entity.billed_taxes):
        path = ("legal_entities", code, "billed_taxes", str(place))
        yield from _of_names(path, code, entity, billed)
        if billed.percent is not None and not (billed.percent.is_finite() and 0 <= billed.percent <= HIGHEST):
            yield (*path, "percent"), f"{billed.percent} is no percentage", f"write one from 0 to {HIGHEST}"
        if place and _always(entity.billed_taxes[place - 1]):
            yield path, "the one above it is about every tax, so that this one is never chosen", "move it up"


def _of_names(path: tuple[str, ...], code: str, entity: Entity, rule: Rule | BilledTax) -> Iterator[Report]:
    """Report a tax that a legal entity does not have, and places that are none."""
    if rule.tax not in entity.taxes:
        known = f"use one of {', '.join(sorted(entity.taxes))}{hint(rule.tax, entity.taxes)}, or add it to taxes"
        yield (*path, "tax"), f"{code} has no tax {rule.tax!r}", known
    for country in sorted(each for each in set(rule.countries) if not is_country(each)):
        yield (*path, "countries"), f"{country!r} is no country", "write ISO 3166-1 codes such as DE"
    for state in sorted(set(rule.states) - _states()):
        yield (*path, "states"), f"{state!r} is no state", "write ISO 3166-2 codes such as US-CA"


def _of_custom(fields: dict[str, str]) -> Iterator[Report]:
    for name, field in fields.items():
        if not FIELD.fullmatch(field) or field in WRITTEN:
            taken = f"{field!r} is written by Tiergate" if field in WRITTEN else f"{field!r} is no name of a field"
            yield ("custom", "invoice", name), taken, "name a text field of account.invoice, or leave it to the comment"


def _states() -> set[str]:
    return {str(each.code) for each in cast("Iterable[Any]", pycountry.subdivisions)}


def _always(rule: Rule | BilledTax) -> bool:
    """Return whether a rule names no condition."""
    return rule == type(rule)(tax=rule.tax)

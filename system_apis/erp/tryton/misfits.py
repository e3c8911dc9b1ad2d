"""What the mapping of a Tryton names and its books lack, which an accountant decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import date
from typing import Any

from canonical.deals import plain
from policies.catalogue.nearest import hint
from system_apis.connector import Misfit
from system_apis.erp.tryton.books import ANY, Books, Entity
from system_apis.erp.tryton.client import TrytonClient
from system_apis.erp.tryton.mapping import EXPENSE, RECEIVABLE, Row, day, from_decimal


async def misfits(client: TrytonClient, named: Books, companies: Mapping[str, Row], today: date) -> list[Misfit]:
    """Return the companies, taxes, categories and fields that are missing, by their keys in the mapping, and what is
    missing to post on the day that it is.

    `companies` are those of the books, by the codes of their parties. Raises leaves of `PlatformFault`.
    """
    found: list[Misfit] = []
    for code in named.legal_entities.keys() - companies.keys() - {ANY}:
        remedy = f"use the code of a company's party ({', '.join(sorted(companies))})"
        found.append(Misfit(f"legal_entities.{code}: no company of the books has this code", remedy))
    for code, company in companies.items():
        found += [each async for each in _of_company(client, named, code, company, today)]
    rows = await client.rows("product.category", [["accounting", "=", True]], ["name"], 0)
    categories = sorted({each["name"] for each in rows})
    for name in named.product_classes.keys() - set(categories):
        what = f"product_classes.{name}: no accounting category has this name"
        found.append(Misfit(what, _one_of(categories, name)))
    found += [each async for each in _of_invoices(client, named.custom.invoice)]
    return sorted(found, key=lambda each: each.what)


async def _of_invoices(client: TrytonClient, wanted: Mapping[str, str]) -> AsyncIterator[Misfit]:
    """Yield the custom fields of invoices that are no text fields of theirs."""
    if not wanted:
        return
    known: dict[str, Row] = await client.call("model.account.invoice.fields_get", [])
    texts = sorted(name for name, each in known.items() if each["type"] in ("char", "text") and not each["readonly"])
    for name, field in wanted.items():
        if field not in texts:
            what = f"custom.invoice.{name}: account.invoice has no text field {field!r} that can be written"
            yield Misfit(what, f"{_one_of(texts, field)}, or leave it to the comment")


async def _of_company(
    client: TrytonClient, named: Books, code: str, company: Row, today: date
) -> AsyncIterator[Misfit]:
    entity, own = named.of(code), ["company", "=", company["id"]]
    if entity is None:
        return
    key = code if code in named.legal_entities else f'"{ANY}"'
    rows = await client.rows("account.tax", [own], ["name", "rate"], company["id"])
    rates = {each["name"]: from_decimal(each["rate"]) * 100 for each in rows}
    taxes = sorted(rates)
    for tax, about in entity.taxes.items():
        if about.record not in taxes:
            lacks = f"{company['name']} has no tax that is named {about.record!r}"
            yield Misfit(f"legal_entities.{key}.taxes.{tax}.record: {lacks}", _one_of(taxes, about.record))
    for place, billed in enumerate(entity.billed_taxes):
        record = entity.taxes[billed.tax].record
        if billed.percent not in (None, rates.get(record, billed.percent)):
            other = (
                f"{record!r} of {company['name']} has {plain(rates[record])} %, and billing charged {billed.percent}"
            )
            remedy = "name a tax with that rate: no other can be posted to the cent"
            yield Misfit(f"legal_entities.{key}.billed_taxes.{place}: {other}", remedy)
    async for each in _of_accounts(client, entity, f"legal_entities.{key}", company):
        yield each
    needed: tuple[tuple[str, list[Any], str, str], ...] = (
        ("account.period", [own, *_open_on(today)], f"open period for {today}", "opens the year and its sequences"),
        ("account.journal", [["type", "=", "revenue"]], "journal of the type revenue", "creates it"),
        ("account.account", [own, *RECEIVABLE], "receivable account that requires a party", "creates it"),
    )
    for model, domain, what, remedy in needed:
        if not await client.rows(model, domain, ["id"], company["id"], 1):
            yield Misfit(f"{company['name']} has no {what}", f"an accountant {remedy}")


async def _of_accounts(client: TrytonClient, entity: Entity, key: str, company: Row) -> AsyncIterator[Misfit]:
    """Yield what is not there of the method and the account that a legal entity names, by its `key` in the mapping."""
    own = ["company", "=", company["id"]]
    if entity.write_off:
        rows = await client.rows("account.move.reconcile.write_off", [own], ["name"], company["id"])
        methods = sorted({each["name"] for each in rows})
        if entity.write_off not in methods:
            lacks = f"{company['name']} has no method to write off that is named {entity.write_off!r}"
            yield Misfit(f"{key}.write_off: {lacks}", _one_of(methods, entity.write_off))
    if entity.payment_fees:
        rows = await client.rows("account.account", [own, *EXPENSE], ["code", "name"], company["id"])
        accounts = sorted({each for row in rows for each in (row["code"], row["name"]) if each})
        if entity.payment_fees not in accounts:
            lacks = f"{company['name']} has no expense account with the code or the name {entity.payment_fees!r}"
            yield Misfit(f"{key}.payment_fees: {lacks}", _one_of(accounts, entity.payment_fees))


def _open_on(today: date) -> list[Any]:
    spans = [["start_date", "<=", day(today)], ["end_date", ">=", day(today)]]
    return [*spans, ["state", "=", "open"], ["type", "=", "standard"]]


def _one_of(known: Collection[str], name: str) -> str:
    return f"use one of {', '.join(known) or '(none)'}{hint(name, known)}"

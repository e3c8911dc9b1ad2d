"""The catalogue: what is wrong with one is said with line, key and remedy; what it decides and changes, in words."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from policies.catalogue.check import load, read, schema
from policies.catalogue.diff import diff
from policies.catalogue.explain import Unknown, asked
from policies.catalogue.model import SHIPPED, Catalogue, CatalogueError
from policies.catalogue.sections import catalogue_type
from policies.chain.pipeline import explain
from tiergate.cli.main import cli

TEXT = SHIPPED.read_text()
CONSOLE = "console-finance, console-platform, console-sales, console-support"
TIER_INTERNAL = f"Tier internal ({CONSOLE}, finance-app, platform-team, sales-app, sales-france, support-desk)"
MAY_LEAVE = "line.id, line.quantity, line.sku, order.correlation_id, order.id, order.state"
TODAY = date(2026, 11, 25)
SALES = 'owner = "sales operations"\ntitle = "Sales"\naudit_days = 730\nversions.v1 = { state = "active" }'
V2 = 'versions.v2 = { state = "active" }'
RETIRED = (
    'versions.v1 = { state = "deprecated", deprecated_on = 2026-01-01, sunset_on = 2027-01-01, '
    'guide = "https://example.com/after" }'
)


def sales(*versions: str) -> tuple[str, str]:
    """Return the sales API with other versions."""
    return SALES, 'owner = "sales operations"\ntitle = "Sales"\naudit_days = 730\n' + "\n".join(versions)


APP = '[clients.sales-app]\nkind = "internal"'
APIS = 'apis = ["sales", "support"]'
OF_FINANCE = (
    "finance_act_on_dunning, finance_export_postings, finance_get_customer_merge, finance_get_dunning,"
    " finance_list_customer_merges, finance_list_dunnings"
)
SCOPES = (
    'scopes = ["orders:read", "contracts:amend", "contracts:mass_change", "usage:write", "cases:read", "cases:act", '
    '"catalogue:read", "catalogue:sync"]'
)
SEES_ALL = f'{APIS}\n{SCOPES}\nlegal_entities = ["*"]'
GATEWAY_DAYS = "The gateway: audit records are kept for 30 days instead of 365."
GET_DEAL = 'get_deal = { scope = "crm:read", tier = "near_real_time", idempotency = "safe" }'
LIVE = 'live = { open = "health", tier = "real_time", idempotency = "safe" }'
READY = 'ready = { open = "health", tier = "real_time", idempotency = "safe" }'
PLATFORM = """[platforms.other]
domain = "erp"
connector = "tryton"
owner = "x"
region = "eu"
rate = "1/second"
concurrent = 1
retries = { first = 0.1, most = 2.0, budget = 0.2 }
breaker = { failures = 10, rest = 1.0 }
calls.default = { timeout = 10.0, tries = 3 }
"""
WRONG: dict[str, tuple[tuple[str, str], str, str, str]] = {
    # name: (what is changed into what), the key, part of the reason, part of the remedy
    "served twice": (
        ("[platforms.provisioner]", PLATFORM + "[platforms.provisioner]"),
        "platforms.other.legal_entities",
        "tryton serves every legal entity in the domain erp already",
        "once",
    ),
    "served by nobody": (
        ('connector = "tryton"', 'connector = "tryton"\nlegal_entities = ["DE01"]'),
        "platforms.tryton.legal_entities",
        "no erp serves FR01",
        "add FR01",
    ),
    "a legal entity of nowhere": (
        ('connector = "tryton"', 'connector = "tryton"\nlegal_entities = ["DE01", "FR01", "XX01"]'),
        "platforms.tryton.legal_entities",
        "XX01 belongs to no region",
        "that has one",
    ),
    "platform rule": (
        ("calls.get_credit", "calls.get_crdit"),
        "platforms.tryton.calls.get_crdit",
        "no operation",
        "get_credit",
    ),
    "platform default": (
        ("calls.default = { timeout = 15.0, tries = 3 }", "calls.get_invoice = { timeout = 15.0, tries = 3 }"),
        "platforms.stripe.calls",
        "have none",
        "calls.default",
    ),
    "platform rate": (
        ('rate = "50/second"', 'rate = "quickly"'),
        "platforms.provisioner.rate",
        "'quickly'",
        "100/second",
    ),
    "platform name": (
        ("[platforms.provisioner]", "[platforms.Provisioner_1]"),
        "platforms.Provisioner_1",
        "cannot carry 'Provisioner_1'",
        "small letters",
    ),
    "no tries": (
        ("calls.get_credit = { timeout = 5.0, tries = 2 }", "calls.get_credit = { timeout = 5.0, tries = 0 }"),
        "platforms.tryton.calls.get_credit.tries",
        "too small",
        "1 or more",
    ),
    "no time": (
        ("calls.get_credit = { timeout = 5.0", "calls.get_credit = { timeout = 0"),
        "platforms.tryton.calls.get_credit.timeout",
        "0",
        "more than",
    ),
    "pauses": (
        ("first = 0.2, most = 2.0", "first = 3.0, most = 2.0"),
        "platforms.tryton.retries",
        "longer than the longest",
        "larger",
    ),
    "owned field": (
        ('revision = { owner = "tiergate"', 'shoe_size = { owner = "tiergate"'),
        "ownership.customer.shoe_size",
        "no field 'shoe_size'",
        "tax_number",
    ),
    "owned entity": (("[ownership.deal]", "[ownership.dream]"), "ownership.dream", "no 'dream'", "contract"),
    "owner": (
        ('payment_method = { owner = "billing" }', 'payment_method = { owner = "somebody" }'),
        "ownership.customer.payment_method.owner",
        "'somebody'",
        "billing",
    ),
    "owner and copy": (
        ('payment_method = { owner = "billing" }', 'payment_method = { owner = "billing", projections = ["billing"] }'),
        "ownership.customer.payment_method",
        "has a copy",
        "projections",
    ),
    "region of a platform": (
        (
            '[platforms.tryton]\ndomain = "erp"\nconnector = "tryton"\nowner = "finance operations"\nregion = "eu"',
            '[platforms.tryton]\ndomain = "erp"\nconnector = "tryton"\nowner = "finance operations"\nregion = "moon"',
        ),
        "platforms.tryton.region",
        "no region 'moon'",
        "eu",
    ),
    "region of a client": ((APP, APP + '\nregions = ["moon"]'), "clients.sales-app.regions", "no region 'moon'", "eu"),
    "entity of no region": (
        ('legal_entities = ["DE01", "FR01"]\nmay_leave', 'legal_entities = ["DE01"]\nmay_leave'),
        "clients.sales-france.legal_entities",
        "FR01 belongs to no region",
        "add it",
    ),
    "entity of two regions": (
        (
            "# ----------------------------------------------------------------- ownership",
            '[regions.us]\nlegal_entities = ["DE01"]\n',
        ),
        "regions.us.legal_entities",
        "DE01 is in eu",
        "one region",
    ),
    "field that may leave": (
        ('may_leave = ["order.id",', 'may_leave = ["order.smell",'),
        "regions.eu.may_leave",
        "'order.smell'",
        "order.id",
    ),
    "unowned case": (
        ('line_failed = { team = "support" }\n', ""),
        "case_routing",
        "line_failed are unowned",
        "add line_failed",
    ),
    "unknown case": (("line_failed =", "line_lost ="), "case_routing", "'line_lost'", "choices"),
    "unknown team": (
        ('line_failed = { team = "support" }', 'line_failed = { team = "cats" }'),
        "case_routing.line_failed.team",
        "'cats'",
        "support",
    ),
    "time zone": (
        ('timezone = "Europe/Berlin"', 'timezone = "Europe/Berlinn"'),
        "posting_windows.DE01.timezone",
        "'Europe/Berlinn'",
        "Europe/Berlin",
    ),
    "half a window": (
        ('timezone = "Europe/Berlin"', "opens = 06:00:00"),
        "posting_windows.DE01",
        "never closes",
        "both times",
    ),
    "no window": (
        ('timezone = "Europe/Berlin"', "opens = 06:00:00\ncloses = 06:00:00"),
        "posting_windows.DE01",
        "closes when it opens",
        "differ",
    ),
    "whose window": (
        ("[posting_windows.FR01]", "[posting_windows.FR09]"),
        "posting_windows.FR09",
        "no region",
        "legal entity",
    ),
    "no TOML": (("[clients.sales-app]", "[clients.sales-app"), "(file)", "not TOML", "syntax"),
    "a key twice": ((APP, APP + '\nkind = "internal"'), "(file)", "not TOML", "syntax"),
    "unknown key": ((APP, APP + '\ncolour = "red"'), "clients.sales-app.colour", "no such key", "one of apis"),
    "unknown table": (
        ("[service_tiers.deferred]", "[tiers.deferred]"),
        "tiers",
        "no such key",
        "one of amend",
    ),
    "missing key": ((APP, "[clients.sales-app]"), "clients.sales-app.kind", "missing", "add kind"),
    "wrong choice": (
        (APP, '[clients.sales-app]\nkind = "robot"'),
        "clients.sales-app.kind",
        "'robot'",
        "internal, partner",
    ),
    "wrong type": (
        (SCOPES, 'scopes = "orders:read"'),
        "clients.sales-app.scopes",
        "not a list",
        "a list",
    ),
    "wrong date": (
        sales('versions.v1 = { state = "active", sunset_on = "soon" }'),
        "apis.sales.versions.v1.sunset_on",
        "soon",
        "date",
    ),
    "empty owner": (
        ('owner = "sales operations"\ntitle', 'owner = ""\ntitle'),
        "apis.sales.owner",
        "too short",
        "say more",
    ),
    "no owner": (('owner = "sales operations"\ntitle', "title"), "apis.sales.owner", "missing", "add owner"),
    "no scope": (
        (GET_DEAL, GET_DEAL.replace('scope = "crm:read", ', "")),
        "apis.crm.operations.get_deal",
        "neither",
        "give the scope",
    ),
    "scope and open": (
        (GET_DEAL, GET_DEAL.replace("{", '{ open = "health",')),
        "apis.crm.operations.get_deal",
        "both",
        "give the scope",
    ),
    "key of nobody": (
        (LIVE, LIVE.replace('"safe"', '"key"')),
        "gateway.operations.live.idempotency",
        "an open operation knows none",
        "natural",
    ),
    "no idempotency": (
        (GET_DEAL, GET_DEAL.replace(', idempotency = "safe"', "")),
        "apis.crm.operations.get_deal.idempotency",
        "missing",
        "add",
    ),
    "idempotency": (
        (GET_DEAL, GET_DEAL.replace('"safe"', '"maybe"')),
        "apis.crm.operations.get_deal.idempotency",
        "'maybe'",
        "safe",
    ),
    "unknown tier": (
        (GET_DEAL, GET_DEAL.replace("near_real_time", "instant")),
        "apis.crm.operations.get_deal.tier",
        "'instant'",
        "real_time",
    ),
    "scope form": (
        (GET_DEAL, GET_DEAL.replace("crm:read", "CRM")),
        "apis.crm.operations.get_deal.scope",
        "not a scope",
        "orders:read",
    ),
    "nobody grants": (
        (GET_DEAL, GET_DEAL.replace("crm:read", "crm:peek")),
        "apis.crm.operations.get_deal.scope",
        "no client",
        "grant it",
    ),
    "nobody grants what the gateway asks for": (
        (READY, READY.replace('open = "health"', 'scope = "layers:read"')),
        "gateway.operations.ready.scope",
        "no client has 'layers:read'",
        "grant it",
    ),
    "nobody needs": (
        (SCOPES, 'scopes = ["orders:write"]'),
        "clients.sales-app.scopes",
        "needs 'orders:write'",
        "take the scope",
    ),
    "wrong layer": (
        ('scopes = ["events:write", "jobs:report"]', 'scopes = ["events:write", "crm:read"]'),
        "clients.system-layer.scopes",
        "'crm:read'",
        "name the API",
    ),
    "an API that is none": (
        ('apis = ["partners"]', 'apis = ["partner"]'),
        "clients.reseller-nord.apis",
        "there is no API 'partner' (did you mean partners?)",
        "name one of [apis]",
    ),
    "an API of another layer": (
        (f"{APIS}\n{SCOPES}", f'apis = ["sales", "crm"]\n{SCOPES}'),
        "clients.sales-app.apis",
        "crm is an API of the system layer",
        "take it out",
    ),
    "no API": (
        (f"{APIS}\n{SCOPES}", f"apis = []\n{SCOPES}"),
        "clients.sales-app.apis",
        "it may call no API",
        "of finance, operations, overview, partners, sales, support",
    ),
    "same operation": (
        ("sales_get_order =", "finance_list_postings ="),
        "apis.finance.operations.finance_list_postings",
        "same operation id",
        "rename",
    ),
    "legal entity": (
        ('legal_entities = ["*"]', 'legal_entities = ["Germany, all"]'),
        "clients.sales-app.legal_entities",
        "'Germany, all'",
        "DE01",
    ),
    "partner below": (
        (APP, APP.replace("internal", "partner")),
        "clients.sales-app.legal_entities",
        "named legal entities",
        "list them",
    ),
    "service above": (
        (APP, APP.replace("internal", "service")),
        "clients.sales-app.audience",
        "never calls a channel",
        "next layer",
    ),
    "no version active": (
        sales('versions.v1 = { state = "draft" }'),
        "apis.sales.versions",
        "no version is active",
        "newest",
    ),
    "version name": (
        sales('versions.v1 = { state = "active" }', 'versions.beta = { state = "draft" }'),
        "apis.sales.versions.beta",
        "not a major version",
        "v1",
    ),
    "active with an end": (
        sales('versions.v1 = { state = "active", sunset_on = 2027-01-01 }'),
        "apis.sales.versions.v1",
        "no date of its end",
        "deprecated",
    ),
    "since when": (
        sales('versions.v1 = { state = "deprecated", successor = "v2" }', V2),
        "apis.sales.versions.v1.deprecated_on",
        "missing",
        "since when",
    ),
    "no successor": (
        sales('versions.v1 = { state = "deprecated", deprecated_on = 2026-01-01 }', V2),
        "apis.sales.versions.v1.successor",
        "missing",
        "name the version",
    ),
    "retired without an end": (
        sales('versions.v1 = { state = "deprecated", deprecated_on = 2026-01-01, guide = "/docs/x" }'),
        "apis.sales.versions.v1.sunset_on",
        "the API is retired",
        "when it ends",
    ),
    "retired without a page": (
        sales('versions.v1 = { state = "deprecated", deprecated_on = 2026-01-01, sunset_on = 2027-01-01 }'),
        "apis.sales.versions.v1.guide",
        "the API is retired",
        "a page that says what callers do",
    ),
    "retired with a successor": (
        sales(
            'versions.v1 = { state = "deprecated", deprecated_on = 2026-01-01, sunset_on = 2027-01-01, '
            'successor = "v2", guide = "/docs/x" }',
            RETIRED.replace("v1", "v2"),
        ),
        "apis.sales.versions.v1.successor",
        "nothing comes after its versions",
        "take it out",
    ),
    "unknown successor": (
        sales('versions.v1 = { state = "deprecated", deprecated_on = 2026-01-01, successor = "v3" }', V2),
        "apis.sales.versions.v1.successor",
        "'v3'",
        "active",
    ),
    "older successor": (
        sales(
            'versions.v1 = { state = "active" }',
            'versions.v2 = { state = "deprecated", deprecated_on = 2026-01-01, successor = "v1" }',
        ),
        "apis.sales.versions.v2.successor",
        "not newer",
        "newer",
    ),
    "short notice": (
        sales(
            'versions.v1 = { state = "deprecated", deprecated_on = 2026-01-01, sunset_on = '
            '2026-02-01, successor = "v2" }',
            V2,
        ),
        "apis.sales.versions.v1.sunset_on",
        "less than 90 days",
        "move",
    ),
    "expired": (
        sales(
            'versions.v1 = { state = "deprecated", deprecated_on = 2026-01-01, sunset_on = '
            '2026-11-25, successor = "v2" }',
            V2,
        ),
        "apis.sales.versions.v1.sunset_on",
        "ended on 2026-11-25",
        "remove",
    ),
    "conflicting scopes": (
        ('scopes = ["events:write", "jobs:report"]', 'scopes = ["events:write", "cases:act"]'),
        "clients.system-layer.scopes",
        "conflict",
        "split",
    ),
    "rule about nothing": (
        ('scopes = ["events:write", "cases:act"]', 'scopes = ["events:write", "cases:win"]'),
        "segregation.0.scopes",
        "'cases:win'",
        "remove the rule",
    ),
    "rule of one": (
        ('scopes = ["events:write", "cases:act"]', 'scopes = ["events:write"]'),
        "segregation.0.scopes",
        "too short",
        "say more",
    ),
    "rates": (
        ('rates = "200/second; 6000/minute"', 'rates = "plenty"'),
        "throttle_tiers.internal.rates",
        "'plenty'",
        "100/second",
    ),
    "cost of more than a window": (
        ("cost = 5 }\npartners_list_orders", "cost = 21 }\npartners_list_orders"),
        "apis.partners.operations.partners_place_order.cost",
        "more than the smallest limit of reseller-nord, reseller-sued, which is 20",
        "raise the limit",
    ),
    "cost of more than its own window": (
        ('rates = "10/minute"', 'rates = "10/minute", cost = 11'),
        "gateway.operations.issue_token.cost",
        "more than the smallest limit of the operation itself, which is 10",
        "raise the limit",
    ),
    "no quota": (("daily = 2_000_000", "daily = 0"), "throttle_tiers.internal.daily", "too small", "1 or more"),
    "no throttle tier": (
        (
            f'tier = "internal"\naudience = "experience"\n{APIS}\n{SCOPES}',
            f'audience = "experience"\n{APIS}\n{SCOPES}',
        ),
        "clients.sales-app.tier",
        "everybody else has one",
        "add it",
    ),
    "unknown throttle tier": (
        ('tier = "internal"\naudience', 'tier = "gold"\naudience'),
        "clients.sales-app.tier",
        "'gold'",
        "internal",
    ),
    "event name": (
        ("com.tiergate.crm.deal.closed.v1", "com.tiergate.crm.deal.close.v1"),
        "events.com.tiergate.crm.deal.close.v1",
        "'close' does not end in -ed",
        "<past participle>",
    ),
    "event of a noun": (
        ("com.tiergate.crm.deal.closed.v1", "com.tiergate.crm.deal.amount.v1"),
        "events.com.tiergate.crm.deal.amount.v1",
        "'amount' does not end in -ed",
        "policies/catalogue/participles.txt",
    ),
    "event version": (
        ("com.tiergate.crm.deal.closed.v1", "com.tiergate.crm.deal.closed"),
        "events.com.tiergate.crm.deal.closed",
        "breaks the rule",
        "v<major>",
    ),
    "event that no partner knows": (
        ('summary = "A case was closed" }', 'summary = "A case was closed", partners = "cases:read" }'),
        "events.com.tiergate.process.case.resolved.v1.partners",
        "nothing that a partner knows",
        "take it out",
    ),
    "event for a scope of nobody": (
        ('delivered and billed", partners = "orders:read"', 'delivered and billed", partners = "orders:see"'),
        "events.com.tiergate.process.order.partially_activated.v1.partners",
        "'orders:see'",
        "the scope that reads the record",
    ),
    "event owner": (
        ('closed.v1" = { owner = "sales operations", summary', 'closed.v1" = { summary'),
        "events.com.tiergate.crm.deal.closed.v1.owner",
        "missing",
        "add owner",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_catalogue_is_refused_with_line_key_and_remedy(name: str) -> None:
    (old, new), key, reason, remedy = WRONG[name]
    assert old in TEXT, "the shipped catalogue has changed"
    changed = TEXT.replace(old, new, 1)

    _, violations = read(changed.encode(), TODAY)

    found = [each for each in violations if each.key == key and reason in each.reason and remedy in each.remedy]
    assert found, [str(each) for each in violations]
    place = changed.splitlines()[found[0].line - 1]
    assert key == "(file)" or any(part in place for part in key.removeprefix("apis.").split(".")), place


@pytest.mark.parametrize(
    "participle",
    ["closed", "partially_refunded", "kept", "made", "left", "met", "paid", "sent", "won", "lost", "put", "withdrawn"],
)
def test_an_event_may_be_named_by_a_regular_or_an_irregular_participle(participle: str) -> None:
    _, violations = read(TEXT.replace("crm.deal.closed.v1", f"crm.sale.{participle}.v1").encode(), TODAY)

    assert violations == []


def test_the_shipped_catalogue_is_fine_and_fits_its_schema() -> None:
    catalogue, violations = read(SHIPPED.read_bytes(), TODAY)

    assert catalogue is not None
    assert violations == []
    Draft202012Validator.check_schema(schema())  # pyright: ignore[reportUnknownMemberType]


def test_a_catalogue_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    draft = tmp_path / "draft.toml"
    draft.write_text(SHIPPED.read_text(), encoding="utf-8-sig")

    assert load(draft) == load(SHIPPED)
    explained = CliRunner().invoke(cli, ["policy", "explain", "sales-app", "list_orders", "--catalogue", str(draft)])
    assert (explained.exit_code, "draft.toml:" in explained.stdout) == (0, True)


def test_a_scope_of_the_gateway_is_granted_by_a_client_of_any_layer() -> None:
    text = TEXT.replace(READY, READY.replace('open = "health"', 'scope = "crm:read"'))
    text = text.replace("apis.crm", "apis.operations_of_crm")
    assert text.count('scope = "crm:read"') > TEXT.count('scope = "crm:read"')

    _, violations = read(text.encode(), TODAY)

    assert [str(each) for each in violations if each.key == "gateway.operations.ready.scope"] == []


def test_all_flaws_are_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(TEXT.replace(GET_DEAL, GET_DEAL.replace("crm:read", "CRM")).replace('"FR01"', '"x"'))

    with pytest.raises(CatalogueError) as refused:
        load(path)

    assert len(refused.value.violations) >= 2
    assert str(refused.value).startswith("catalogue.toml: line ")


def test_a_version_that_has_ended_does_not_keep_a_layer_from_starting(tmp_path: Path) -> None:
    (old, new), *_ = WRONG["expired"]
    path = tmp_path / "catalogue.toml"
    path.write_text(TEXT.replace(old, new, 1))

    assert load(path).apis["sales"].versions["v1"].successor == "v2"


# ---- what it decides


def said(client: str, operation: str) -> tuple[bool, str]:
    found = explain(load(), TEXT, client, operation, TODAY)
    lines = TEXT.splitlines()
    return found.allowed, "\n".join(
        f"{each.policy}: {each.outcome} | {lines[each.line - 1]}" for each in found.decisions
    )


def test_an_allowed_call_is_explained_policy_by_policy_with_its_lines() -> None:
    allowed, text = said("sales-france", "sales_get_order")

    assert allowed
    assert "version: sales v1 is active | versions.v1" in text
    assert 'authorization: the scope orders:read is granted | scopes = ["orders:read", "cases:read"' in text
    assert 'objects: records of FR01; to it, records of others do not exist: 404 | legal_entities = ["FR01"]' in text


def test_an_operation_of_the_gateway_is_explained_as_any_other() -> None:
    allowed, text = said("process-layer", "live")

    assert allowed
    assert "authentication: none is asked: health | live = " in text
    assert "version" not in text


@pytest.mark.parametrize(
    ("versions", "served", "outcome"),
    [
        (('versions.v1 = { state = "active" }', 'versions.v2 = { state = "draft" }'), True, "sales v2 is a draft: 404"),
        (('versions.v1 = { state = "draft" }',), False, "sales v1 is a draft: 404"),
    ],
)
def test_a_draft_is_explained_as_it_is_answered(versions: tuple[str, ...], *, served: bool, outcome: str) -> None:
    catalogue = msgspec.convert(tomllib.loads(TEXT.replace(*sales(*versions))), catalogue_type())

    found = explain(catalogue, TEXT, "sales-app", "sales_get_order", TODAY)

    assert found.allowed is served
    assert outcome in [each.outcome for each in found.decisions]


@pytest.mark.parametrize(
    ("client", "operation", "last"),
    [
        (
            "sales-app",
            "get_deal",
            "authentication: its tokens are for the experience layer, this is the system layer: 401",
        ),
        ("finance-app", "support_get_customer", "authorization: the scope customers:read is not granted: 403"),
        (
            "sales-app",
            "finance_list_postings",
            "authorization: the client may call sales, support, and not the API finance: 403",
        ),
        ("reseller-nord", "sales_get_order", "authorization: the client may call partners, and not the API sales: 403"),
    ],
)
def test_a_refused_call_ends_with_the_policy_that_refuses_it(client: str, operation: str, last: str) -> None:
    allowed, text = said(client, operation)

    assert not allowed
    assert text.splitlines()[-1].startswith(last)


@pytest.mark.parametrize(("client", "operation"), [("nobody", "get_deal"), ("sales-app", "get_everything")])
def test_an_unknown_client_or_operation_is_named(client: str, operation: str) -> None:
    with pytest.raises(Unknown, match="there is no"):
        explain(load(), TEXT, client, operation, TODAY)


# ---- what a change changes


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            f"{APIS}\n{SCOPES}",
            'apis = ["sales", "support", "finance"]\n' + SCOPES.replace("]", ', "postings:read"]'),
            f"sales-app may now also call {OF_FINANCE}, finance_list_postings, support_list_postings.",
        ),
        (
            '"customers:read", "disputes:read", "disputes:act"]\nlegal',
            '"disputes:read", "disputes:act"]\nlegal',
            "support-desk may no longer call support_get_customer.",
        ),
        (
            'legal_entities = ["FR01"]',
            'legal_entities = ["*"]',
            "sales-france now sees the records of every legal entity.",
        ),
        ("[clients.sales-france]", "[clients.sales-italy]", "sales-france is gone: every call of it is refused."),
        (
            *sales(
                'versions.v1 = { state = "deprecated", deprecated_on = 2026-01-01, sunset_on = '
                '2027-01-01, successor = "v2" }',
                V2,
            ),
            "API sales: v1 was active, is deprecated, ends on 2027-01-01, then v2.",
        ),
        (
            *sales(RETIRED),
            "API sales: v1 was active, is deprecated, ends on 2027-01-01, and nothing comes after it.",
        ),
        (
            "6000/minute",
            "60/minute",
            TIER_INTERNAL + ": 200/second; 6000/minute becomes 200/second; 60/minute.",
        ),
        (GET_DEAL, GET_DEAL.replace("near_real", "real"), "API crm: get_deal: tier near_real_time becomes real_time."),
        (
            "calls.put_erp_invoice = { timeout = 25.0",
            "calls.put_erp_invoice = { timeout = 40.0",
            "Platform tryton: calls.put_erp_invoice.timeout 25.0 becomes 40.0.",
        ),
        (
            'may_leave = ["order.id", ',
            'may_leave = ["order.id", "customer.id", ',
            f"Region eu: may_leave {MAY_LEAVE} becomes customer.id, {MAY_LEAVE}.",
        ),
        (
            'payment_method = { owner = "billing" }',
            'payment_method = { owner = "crm" }',
            "Ownership of customer: payment_method.owner billing becomes crm.",
        ),
        (
            'timezone = "Europe/Paris"\nclosed_period = "wait"',
            'timezone = "Europe/Paris"\nclosed_period = "next"',
            "Posting window of FR01: closed_period wait becomes next.",
        ),
        (
            'line_failed = { team = "support" }',
            'line_failed = { team = "sales" }',
            "Cases of the kind line_failed: team support becomes sales.",
        ),
        (
            'title = "Sales"\naudit_days = 730',
            'title = "Sales"\naudit_days = 30',
            "API sales: audit records are kept for 30 days instead of 730.",
        ),
        (APP, APP + '\nregions = ["eu"]', "sales-app no longer sees records of others than DE01, FR01."),
        (SEES_ALL, SEES_ALL.replace('"*"', '"DE01"'), "sales-app no longer sees records of others than DE01."),
        ('legal_entities = ["FR01"]', 'legal_entities = ["DE01"]', "sales-france now also sees the records of DE01."),
        ("sheds_at = 512", "sheds_at = 500", "Service tier real_time: sheds_at 512 becomes 500."),
        ("[gateway]\naudit_days = 365", "[gateway]\naudit_days = 30", GATEWAY_DAYS),
        ('rates = "10/minute"', 'rates = "5/minute"', "The gateway: issue_token: rates 10/minute becomes 5/minute."),
        (
            "[throttle_tiers.partner]",
            '[throttle_tiers.gold]\nrates = "9/second"\ndaily = 800\nconcurrent = 7\n\n[throttle_tiers.partner]',
            "Tier gold is new: 9/second; 800 a day; 7 at once.",
        ),
        (
            '"com.tiergate.billing.invoice.paid.v1"',
            '"com.tiergate.billing.invoice.voided.v1"',
            "The event com.tiergate.billing.invoice.paid.v1 is now refused.",
        ),
        (
            'summary = "An order is known", partners = "orders:read" }',
            'summary = "An order is known" }',
            "The event com.tiergate.process.order.received.v1 is now sent to no partner any more.",
        ),
    ],
)
def test_a_change_is_said_in_words(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in TEXT
    changed = tmp_path / "catalogue.toml"
    changed.write_text(TEXT.replace(old, new, 1))

    assert sentence in diff(load(), load(changed))
    assert diff(load(), load()) == []


BOTH = "approvals:grant, orders:place"
REASON = "who places orders must not approve them"
RULE = f"""[[segregation]]
scopes = ["orders:place", "approvals:grant"]
kinds = ["internal", "partner"]
reason = "{REASON}"
"""
NARROW = RULE.replace(', "partner"', "")
OTHER = RULE.replace(REASON, "four eyes")
WIDER = RULE.replace('"orders:place"', '"orders:place", "orders:read"')


@pytest.mark.parametrize(
    ("before", "after", "sentences"),
    [
        (RULE, NARROW, [f"{BOTH} may now be held by one client of the kind partner."]),
        (NARROW, RULE, [f"{BOTH} may no longer be held by one client of the kind partner: {REASON}."]),
        (RULE, "", [f"{BOTH} may now be held by one client of the kind internal or partner."]),
        ("", RULE, [f"{BOTH} may no longer be held by one client of the kind internal or partner: {REASON}."]),
        (RULE, OTHER, [f"{BOTH} may still not be held by one client, and the reason is now: four eyes."]),
        (RULE, f"{RULE}\n{WIDER}", []),
    ],
)
def test_a_rule_of_segregation_that_changes_says_only_what_is_true(
    before: str, after: str, sentences: list[str]
) -> None:
    assert RULE in TEXT

    def with_rule(rule: str) -> Catalogue:
        found, violations = read(TEXT.replace(RULE, rule).encode())
        assert found is not None, violations
        return found

    assert diff(with_rule(before), with_rule(after)) == sentences


def test_a_scope_that_changes_is_said_with_the_clients_that_it_concerns() -> None:
    changed = GET_DEAL.replace("crm:read", "crm:write")
    after, violations = read(TEXT.replace(GET_DEAL, changed).encode())
    assert after is not None, violations

    sentence = "API crm: get_deal: scope crm:read becomes crm:write. It concerns process-layer."
    assert sentence in diff(load(), after)


@pytest.mark.parametrize(
    ("client", "operation", "nearest"),
    [("sales-app", "sales_list_order", "sales_list_orders"), ("sale-app", "sales_list_orders", "sales-app")],
)
def test_what_is_misspelt_is_answered_with_the_nearest(client: str, operation: str, nearest: str) -> None:
    with pytest.raises(Unknown, match=rf"\(did you mean {nearest}\?\); there are "):
        asked(load(), client, operation, date(2026, 1, 1))


def test_each_missing_key_is_reported_once() -> None:
    begun = TEXT.index("[apis.support]")
    without = TEXT[:begun] + TEXT[begun:].replace('title = "Support"\naudit_days = 730\n', "", 1)

    _, violations = read(without.encode())

    assert [each.key for each in violations] == ["apis.support.audit_days", "apis.support.title"]


# ---- the command


def test_the_command_checks_explains_and_compares(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(TEXT.replace(GET_DEAL, GET_DEAL.replace("crm:read", "CRM")))
    other = tmp_path / "other.toml"
    other.write_text(TEXT.replace('legal_entities = ["FR01"]', 'legal_entities = ["DE01"]'))

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["policy", *arguments])
        return done.exit_code, done.output

    assert run("check")[0] == 0
    code, text = run("check", str(wrong))
    assert code == 2
    assert "wrong.toml:" in text
    assert "is not a scope" in text
    explained = run("explain", "sales-app", "sales_list_orders")[1]
    assert "sales-app may call sales_list_orders, by policies/catalogue/catalogue.toml" in explained
    assert run("explain", "nobody", "sales_list_orders")[0] == 2
    assert "sales-france no longer sees the records of FR01." in run("diff", str(SHIPPED), str(other))[1]
    code, text = run("diff", str(SHIPPED), str(SHIPPED))
    assert (code, text.splitlines()[1:]) == (0, ["Nothing changes for anybody."])
    assert run("diff")[0] == 2


@pytest.mark.parametrize("by", ["option", "variable"])
def test_the_command_uses_the_catalogue_of_the_settings_and_says_so(tmp_path: Path, by: str) -> None:
    own, config = tmp_path / "own.toml", tmp_path / "tiergate.toml"
    own.write_text(TEXT.replace('legal_entities = ["FR01"]', 'legal_entities = ["DE01"]'))
    config.write_text(f'[governance]\ncatalogue = "{own}"\n')

    def run(*arguments: str) -> str:
        option = ["--config", str(config)] if by == "option" else []
        runner = CliRunner(env={} if option else {"TIERGATE_CONFIG": str(config)})
        done = runner.invoke(cli, ["policy", *arguments, *option])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert run("check").startswith(f"{own}: ")
    assert f", by {own}\n" in run("explain", "sales-france", "sales_list_orders")
    compared = run("diff", str(SHIPPED))
    assert compared.startswith(f"From {own} to ")
    assert "sales-france now also sees the records of FR01." in compared


def test_each_team_has_a_client_that_reads_its_cases_and_acts_on_them() -> None:
    catalogue = load()
    can = {
        client.owner
        for client in catalogue.clients.values()
        if {"support_list_cases", "support_act_on_case"} <= catalogue.operations_of(client).keys()
        and {"cases:read", "cases:act"} <= client.scopes
    }

    assert can == {"sales operations", "finance operations", "support", "platform team"}

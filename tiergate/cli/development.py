"""What a developer or a newcomer runs: the sandbox, the demo, a sale."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiergate.cli.common import (
    FAILED,
    NOT_READY,
    config_option,
    folder_option,
    load_settings,
    platforms_of,
    refuse,
    shared_state,
)

if TYPE_CHECKING:
    from sandbox.salesperson import Sale
    from sandbox.seed import Crm

OF_A_NEW_BUYER = ("tax_number", "country", "partner")
"""The options that say what the CRM knows of a buyer already, when it knows one."""


@click.command()
@folder_option
@click.option("--database", default="", metavar="URL", help="A PostgreSQL database for the process layer, not SQLite.")
@click.option("--erp-database", default="", metavar="URL", help="A PostgreSQL server for Tryton, not SQLite.")
@click.option("--prepare", is_flag=True, help="Only make what takes long the first time, then exit.")
@click.option("--instances", type=click.IntRange(1, 2), default=1, show_default=True, help="How many to prepare.")
def sandbox(folder: Path, database: str, erp_database: str, instances: int, *, prepare: bool) -> None:
    """Run the stand-ins and a real Tryton until Ctrl-C, and write settings that point at them."""
    from sandbox.site import SITES
    from tiergate.dev.sandbox import prepare_sandbox, run_sandbox

    if prepare:
        prepare_sandbox(folder, SITES[:instances])
    else:
        run_sandbox(folder, database, erp_database)


@click.command()
@click.option("--once", is_flag=True, help="Exit when the deal is done, instead of staying up.")
@click.option("--report", type=click.Path(path_type=Path), help="Write what came out to this file, as JSON.")
@click.option("--instances", type=click.IntRange(1, 2), default=1, show_default=True, help="How many of each platform.")
@folder_option
def demo(folder: Path, report: Path | None, instances: int, *, once: bool) -> None:
    """Start everything, close a deal in the CRM and follow it to cash."""
    from tiergate.dev.channels import DemoFailed
    from tiergate.dev.demo import run

    try:
        run(folder, once=once, report=report, instances=instances)
    except DemoFailed as error:
        click.echo(f"tiergate: {error}", err=True)
        sys.exit(FAILED)


@click.command()
@config_option
@click.option(
    "--buyer", default="Südwind Energie GmbH", show_default=True, help="The company that buys; a known one buys again."
)
@click.option("--seats", default=10.0, show_default=True, help="How many seats.")
@click.option("--entity", default="DE01", show_default=True, help="The legal entity that sells; empty for none.")
@click.option("--tax-number", default="", help="The VAT number of a new buyer.")
@click.option("--country", default="DE", show_default=True, help="Where a new buyer is, as an ISO 3166 code.")
@click.option("--partner", default="", help="The partner that serves a new buyer, by its name in the catalogue.")
@click.option("--platform", default="salesforce", show_default=True, help="The CRM, by its name in the catalogue.")
@click.pass_context
def sell(
    ctx: click.Context,
    config: Path,
    buyer: str,
    seats: float,
    entity: str,
    tax_number: str,
    country: str,
    partner: str,
    platform: str,
) -> None:
    """Close a deal in the sandbox's CRM, as a salesperson would."""
    import httpx

    from sandbox.salesperson import Sale, SaleLine
    from tiergate.dev.platform_views import crm_of
    from tiergate.dev.sandbox import is_stand_in

    if not buyer.strip():
        raise click.UsageError("--buyer needs a name")

    settings = load_settings(config)
    crms = {name: each for name, each in platforms_of(settings).items() if each.domain == "crm"}
    if platform not in crms:
        refuse([f"the catalogue has no CRM {platform!r}; it has {', '.join(crms)}"])
    if not is_stand_in(crms[platform]):
        refuse([f"{platform} is no stand-in: `tiergate sell` sells in the CRM of the demo or the sandbox alone"])
    lines = (SaleLine("PLATFORM", 1), SaleLine("SEAT", seats), SaleLine("ONBOARDING", 1))
    sale = Sale(
        buyer=buyer,
        lines=lines,
        country=country,
        legal_entity=entity or None,
        tax_number=tax_number or None,
        partner=partner or None,
    )
    try:
        crm = crm_of(crms, platform)
        account = _known(crm, buyer)
        if account and (given := [f"--{each.replace('_', '-')}" for each in OF_A_NEW_BUYER if _is_given(ctx, each)]):
            refuse([f"{buyer} is in the CRM already, and {', '.join(given)} would be ignored: name another --buyer"])
        deal = _sell(crm, sale, shared_state(settings).clock().date(), account)
    except httpx.TransportError:
        refuse([f"the CRM at {crms[platform].settings.url} does not answer; is `make demo` running?"], NOT_READY)
    except httpx.HTTPStatusError as error:
        refuse([f"the CRM at {crms[platform].settings.url} refuses: {error.response.text}"], FAILED)
    crm.close()
    click.echo(f"closed the deal {deal} with {buyer}")


def _is_given(ctx: click.Context, option: str) -> bool:
    return ctx.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE


def _known(crm: Crm, buyer: str) -> str | None:
    """Return the id of a company's account, if it has one."""
    quoted = buyer.replace("\\", "\\\\").replace("'", "\\'")
    found = crm.query(f"SELECT Id FROM Account WHERE Name = '{quoted}' LIMIT 1")
    return str(found[0]["Id"]) if found else None


def _sell(crm: Crm, sale: Sale, today: date, account: str | None) -> str:
    """Close a deal with a company, known or new. Return the id of the deal."""
    from sandbox.salesperson import close_deal, open_deal

    _, deal = open_deal(crm, sale, today, account)
    close_deal(crm, deal)
    return deal

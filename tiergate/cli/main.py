"""The `tiergate` command. Nothing heavy is imported before a command needs it, so that `--help` answers at once."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from tiergate.cli.audit import audit
from tiergate.cli.backup import backup, restore
from tiergate.cli.common import Commands, reporting
from tiergate.cli.console import console
from tiergate.cli.contracts import openapi
from tiergate.cli.database import database
from tiergate.cli.development import demo, sandbox, sell
from tiergate.cli.doctor import doctor
from tiergate.cli.events import events
from tiergate.cli.keys import keys
from tiergate.cli.lineage import lineage
from tiergate.cli.mapping import mapping
from tiergate.cli.person import person
from tiergate.cli.policy import policy
from tiergate.cli.serve import serve, up
from tiergate.cli.setup import setup
from tiergate.cli.status import status, tail
from tiergate.cli.tokens import clients, revoke, token


class Reporting(Commands):
    """Report what stops a command in a sentence, with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        with reporting():
            return super().invoke(ctx)


@click.group(cls=Reporting, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tiergate")
def cli() -> None:
    """Links CRM, ERP and subscription billing: a closed deal becomes service, invoices and booked cash.

    Exit codes: 0 done, 2 wrong usage or settings, 3 something is missing or out of reach, 4 the work failed.
    """


for each in (
    serve,
    up,
    sandbox,
    demo,
    sell,
    doctor,
    status,
    tail,
    setup,
    mapping,
    token,
    revoke,
    clients,
    console,
    keys,
    database,
    backup,
    restore,
    person,
    events,
    lineage,
    openapi,
    policy,
    audit,
):
    cli.add_command(each)
for each in (sandbox, demo, sell):  # a company's own installation does without the packages that they need
    each.hidden = find_spec("trytond") is None
openapi.hidden = not Path(__file__).parents[2].joinpath("pyproject.toml").exists()


def main() -> None:
    """Run the command line: the entry point. What it creates is its user's alone."""
    os.umask(0o077)
    cli(prog_name="tiergate")

"""What is set up, reachable or missing."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tiergate.cli.common import NOT_READY, config_option

COLOURS = {"ok": "green", "warning": "yellow", "missing": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--token", help="Only say whether the channels take this access token, and why; - reads it.")
@config_option
def doctor(config: Path, token: str | None, *, as_json: bool) -> None:
    """Say what is set up, reachable or missing, and what to do about it.

    Each platform is logged in to and held against what its connector needs. Exits with 3 when something is missing.
    """
    import msgspec

    from tiergate.doctor import Check, examine, examine_token

    if token == "-":  # noqa: S105 – where it is read from
        token = sys.stdin.readline().strip()
    found: list[Check] = []
    for each in examine(config) if token is None else [examine_token(config, token)]:
        found.append(each)
        if not as_json:
            remedy = f" – {each.remedy}" if each.remedy else ""
            page = f" ({each.runbook})" if each.runbook else ""
            click.echo(f"{click.style(f'{each.state:8}', fg=COLOURS[each.state])}{each.what}{remedy}{page}")
    good = all(each.state != "missing" for each in found)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"ok": good, "checks": found})).decode())
    sys.exit(0 if good else NOT_READY)

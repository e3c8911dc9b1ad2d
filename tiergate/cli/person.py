"""What is stored of a person, and its erasure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiergate.cli.common import NOT_READY, Commands, config_option, load_settings, refuse, warn

if TYPE_CHECKING:
    from process_apis.erasure.erase import Holding
    from process_apis.erasure.people import Person
    from tiergate.erasure import People, Place

ELSEWHERE = (
    "answers that are kept for Idempotency-Key, each for a day: they go by themselves",
    "audit records of what the person did itself, for as long as the catalogue says (audit_days)",
    "backups: after a restore, `tiergate person repeat`",
)
"""Where a person may be that no table has."""
HAS = {"owner": "owns", "source": "is the source of", "copy": "has a copy of"}
WRITTEN_AGAIN = "some of it was written again meanwhile: erase the person on the platforms first, and run this again"
GUIDE = "docs/guides/personal-data.md"
mail_argument = click.argument("email", required=False)
customer_option = click.option("--customer", help="Whom the records of this customer name, by its id.")
yes_option = click.option("--yes", is_flag=True, help="Erase; without it, only say what would be changed.")


@click.group(cls=Commands)
def person() -> None:
    """Say what is stored of a person, and erase it."""


@person.command()
@mail_argument
@customer_option
@click.option("--json", "as_json", is_flag=True, help="Print all that is stored, for who asked for it.")
@config_option
def show(email: str | None, customer: str | None, config: Path, *, as_json: bool) -> None:
    """Say where there is something of the person with the address EMAIL."""
    from tiergate.erasure import people

    _check(email, customer)
    with people(load_settings(config)) as known:
        found = [known.look(each) for each in known.wanted(email, customer)]
        if as_json:
            click.echo(_json(known, found))
            return
        for each in found:
            _show(known, each)
        if not any(found):
            click.echo(f"nothing is stored of {email or customer}")
    _show_elsewhere()


@person.command()
@mail_argument
@customer_option
@click.option("--reason", required=True, help="Why, for the audit log: who asked, and when.")
@yes_option
@config_option
def erase(email: str | None, customer: str | None, reason: str, config: Path, *, yes: bool) -> None:
    """Erase the person with the address EMAIL from our records. Facts about companies stay."""
    from tiergate.erasure import people

    _check(email, customer)
    with people(load_settings(config)) as known:
        wanted = known.wanted(email, customer)
        if not wanted:
            click.echo(f"nothing is stored of {email or customer}")
        _erase(known, [(each, reason) for each in wanted], yes=yes)


@person.command()
@yes_option
@config_option
def repeat(config: Path, *, yes: bool) -> None:
    """Erase again all who were erased before, after a restore has put them back."""
    from tiergate.erasure import people

    with people(load_settings(config)) as known:
        again = list(known.listed())
        _erase(known, again, yes=yes)
    if not again:
        click.echo("nobody who was erased is stored")


def _check(email: str | None, customer: str | None) -> None:
    from process_apis.records.erased import is_address, is_placeholder

    if (email is None) == (customer is None):
        refuse(["name a person: by an e-mail address, or by --customer"])
    if email is not None and not is_address(email):
        refuse([f"{email!r} is no e-mail address"])
    if email is not None and is_placeholder(email):
        refuse([f"{email} stands in the place of a person who was erased"])


def _erase(known: People, people: Iterable[tuple[Person, str]], *, yes: bool) -> None:
    """Erase people, each for a reason, or say what would be changed. What stands in the way of one stops no other."""
    from process_apis.erasure.erase import UnderWay

    in_the_way: list[str] = []
    for person, reason in people:
        found = known.look(person)
        if not found:
            if yes and known.is_incomplete(person):
                known.end(person)
            click.echo(f"nothing is stored of {_called(person)}")
            continue
        _show(known, found)
        in_the_way += found.under_way
        if found.under_way:
            continue
        if not yes:
            click.echo("nothing was changed: --yes erases it")
            continue
        try:
            done = known.erase(found, reason)
        except UnderWay as work:
            in_the_way += [*work.what, "run this again then: it goes on where it was"]
            continue
        click.echo(f"erased: {_counted(done.changed)}")
        if done.left:
            in_the_way.append(WRITTEN_AGAIN)
    if in_the_way:
        refuse(in_the_way, NOT_READY)


def _show(known: People, found: Holding) -> None:
    if not found:
        return
    click.echo(f"{_called(found.person)}: {_counted(found.counted())}")
    for each in found.records:
        click.echo(f"  {each.table} {' '.join(map(str, each.key.values()))}: {', '.join(each.fields)}")
    for held in found.workflows:
        click.echo(f"  workflow {held.workflow_id}: {', '.join(held.fields)}")
    _show_places(known.places(found))
    for work in found.under_way:
        click.echo(f"under way: {work}")
    if found.person.similar:
        warn([f"perhaps the same person, who has to be named as well: {', '.join(found.person.similar)}"])


def _show_places(places: list[Place]) -> None:
    if places:
        click.echo("to be erased there first; an owner or a source brings it back with its next change:")
    for each in places:
        click.echo(f"  {each.platform} ({each.seen_to_by}) {HAS[each.has]} {each.field}: {each.record}")


def _show_elsewhere() -> None:
    click.echo(f"there may be more, which is not looked through ({GUIDE}):")
    for each in ELSEWHERE:
        click.echo(f"  {each}")


def _called(person: Person) -> str:
    names = ", ".join(sorted(person.names))
    return f"{person.address} ({names})" if person.address and names else person.address or names


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "nothing"


def _json(known: People, found: list[Holding]) -> str:
    import msgspec

    answer = {
        "people": [
            {
                "address": each.person.address,
                "names": sorted(each.person.names),
                "similar": each.person.similar,
                "records": each.records,
                "workflows": each.workflows,
                "on_platforms": known.places(each),
                "under_way": each.under_way,
            }
            for each in found
        ],
        "elsewhere": ELSEWHERE,
    }
    return msgspec.json.format(msgspec.json.encode(answer)).decode()

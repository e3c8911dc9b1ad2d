"""Which events may enter the log, and who answers for what each means."""

from __future__ import annotations

from collections.abc import Iterator

from canonical import events
from canonical.partner_events import can_be_shown
from policies.catalogue.model import Catalogue, Fact, Name, Report
from policies.catalogue.participles import is_past_participle
from policies.catalogue.sections import section


class EventType(Fact, frozen=True):
    """An event that may enter the log, and who answers for what it means. It is sent to the webhooks of partners that
    have the scope `partners`; to none without one."""

    owner: Name
    summary: Name
    partners: Name | None = None


def _check(catalogue: Catalogue) -> Iterator[Report]:
    scopes = {each.scope for _, _, each in catalogue.placed_operations()}
    for name, each in EVENTS.of(catalogue).items():
        if each.partners is not None and not can_be_shown(name):
            yield ("events", name, "partners"), "it has nothing that a partner knows", "take it out"
        elif each.partners is not None and each.partners not in scopes:
            reason = f"no operation has the scope {each.partners!r}"
            yield ("events", name, "partners"), reason, "write the scope that reads the record"
        rule = "com.tiergate.<domain>.<entity>.<past participle>.v<major>"
        if not events.TYPE.fullmatch(name):
            yield ("events", name), "the name breaks the rule", f"write it as {rule}"
        elif not is_past_participle(word := name.split(".")[-2]):
            reason = (
                f"the name breaks the rule: {word!r} does not end in -ed and is no irregular past participle we know"
            )
            yield ("events", name), reason, f"write it as {rule}, or add the verb to policies/catalogue/participles.txt"


def _diff(before: Catalogue, after: Catalogue) -> Iterator[str]:
    old, new = EVENTS.of(before), EVENTS.of(after)
    for name in sorted(new.keys() - old.keys()):
        yield f"The event {name} may now enter the log."
    for name in sorted(old.keys() - new.keys()):
        yield f"The event {name} is now refused."
    for name in sorted(new):
        former, present = old[name].partners if name in old else None, new[name].partners
        if former != present:
            whom = f"sent to partners that have {present}" if present else "sent to no partner any more"
            yield f"The event {name} is now {whom}."


EVENTS = section("events", dict[str, EventType], check=_check, diff=_diff)

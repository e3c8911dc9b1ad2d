"""Which events may enter the log, and who answers for what each means."""

from __future__ import annotations

from collections.abc import Iterator

from canonical import events
from policies.catalogue.model import Catalogue, Fact, Name, Report
from policies.catalogue.participles import is_past_participle
from policies.catalogue.sections import section


class EventType(Fact, frozen=True):
    """An event that may enter the log, and who answers for what it means."""

    owner: Name
    summary: Name


def _check(catalogue: Catalogue) -> Iterator[Report]:
    for name in EVENTS.of(catalogue):
        rule = "com.tiergate.<domain>.<entity>.<past participle>.v<major>"
        if not events.TYPE.fullmatch(name):
            yield ("events", name), "the name breaks the rule", f"write it as {rule}"
        elif not is_past_participle(word := name.split(".")[-2]):
            reason = (
                f"the name breaks the rule: {word!r} does not end in -ed and is no irregular past participle we know"
            )
            yield ("events", name), reason, f"write it as {rule}, or add the verb to policies/catalogue/participles.txt"


def _diff(before: Catalogue, after: Catalogue) -> Iterator[str]:
    old, new = EVENTS.of(before).keys(), EVENTS.of(after).keys()
    for name in sorted(new - old):
        yield f"The event {name} may now enter the log."
    for name in sorted(old - new):
        yield f"The event {name} is now refused."


EVENTS = section("events", dict[str, EventType], check=_check, diff=_diff)

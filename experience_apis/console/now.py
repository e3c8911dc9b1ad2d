"""The page Now: the way from the deal to the cash, with what waits on it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec
from litestar import Response
from litestar.di import NamedDependency

from canonical.money import Money
from canonical.overview import Flow, RecordsInState
from experience_apis.console.channel import Trouble
from experience_apis.console.pages import View
from policies.contract.operation import operation

Mood = Literal["calm", "late", "stuck"]
ORDERED: tuple[tuple[str, tuple[str, ...], timedelta], ...] = (
    ("Checked", ("received", "validating", "credit_review"), timedelta(minutes=5)),
    ("Set up", ("onboarding", "subscribing"), timedelta(minutes=5)),
    ("Delivered", ("provisioning", "partially_active"), timedelta(hours=4)),
)
"""The stages of an order on its way, the states of each, and after how long one that is still there is late."""
STOPPED: tuple[str, ...] = ("on_hold", "awaiting_approval", "failed")
OBJECTIVE = timedelta(hours=1)
"""After how long an invoice that is not posted is late."""


class Stage(msgspec.Struct, frozen=True):
    """A stage of the way: how many are in it, since when the oldest, and whether that is too long."""

    title: str
    count: int
    link: str
    oldest_since: datetime | None = None
    oldest_id: str = ""
    worth: tuple[Money, ...] = ()
    mood: Mood = "calm"


@operation("console_now", "GET", "/", summary="Show how far everything has come")
async def now_page(view: NamedDependency[View]) -> Response[str]:
    """Show the stages from the deal to the cash, the open cases and the platforms that something waits for."""
    flow = await view.channel.get("/overview/v1/flow", Flow)
    name = "now_part" if view.is_part else "now"
    if isinstance(flow, Trouble):
        return view.page(name, stages=(), waiting=(), flow=None, trouble=flow)
    return view.page(name, stages=stages(flow, view.clock()), waiting=waiting(flow), flow=flow, trouble=None)


def stages(flow: Flow, now: datetime) -> tuple[Stage, ...]:
    """Return the stages of the way, in its order."""
    on_their_way = tuple(
        _stage(title, [each for each in flow.orders if each.state in states], objective, now)
        for title, states, objective in ORDERED
    )
    active = sum(each.count for each in flow.orders if each.state == "active")
    to_post = [each for each in flow.postings if each.state == "waiting"]
    posted = sum(each.count for each in flow.postings if each.state == "posted")
    all_stages = (*on_their_way, Stage("Active", active, "active"))
    if "postings:read" in flow.left_out:
        return all_stages
    return (*all_stages, _stage("To be posted", to_post, OBJECTIVE, now), Stage("Posted", posted, "posted"))


def waiting(flow: Flow) -> tuple[tuple[str, RecordsInState], ...]:
    """Return what waits for a decision or has failed, of each kind."""
    groups = (
        ("Orders", flow.orders, STOPPED),
        ("Changes", flow.amendments, ("on_hold", "awaiting_approval")),
        ("Postings", flow.postings, ("failed",)),
        ("Debts", flow.dunnings, tuple(each.state for each in flow.dunnings if each.oldest_since)),
        ("Disputes", flow.disputes, tuple(each.state for each in flow.disputes if each.oldest_since)),
    )
    return tuple((kind, each) for kind, counts, states in groups for each in counts if each.state in states)


def _stage(title: str, counts: list[RecordsInState], objective: timedelta, now: datetime) -> Stage:
    oldest = min((each for each in counts if each.oldest_since), key=lambda each: str(each.oldest_since), default=None)
    since = oldest.oldest_since if oldest else None
    late = since is not None and now - since > objective
    amounts: dict[str, Money] = {}
    for each in (money for count in counts for money in count.worth):
        amounts[each.currency] = amounts[each.currency] + each if each.currency in amounts else each
    return Stage(
        title,
        sum(each.count for each in counts),
        title.lower().replace(" ", "-"),
        since,
        oldest.oldest_id if oldest else "",
        tuple(amounts[each] for each in sorted(amounts)),
        "late" if late else "calm",
    )

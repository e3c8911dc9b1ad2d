"""Setting up a Stripe account: the webhook endpoint, with the events and the version that are read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from canonical.faults import Misconfigured
from policies.store.documents import FileDocument
from policies.store.secret import NO_SECRET, Secret
from system_apis.billing import stripe
from system_apis.billing.stripe.setup import EVENTS
from system_apis.connector import ConnectorContext, Misfit
from system_apis.feed_position import FeedPosition
from system_apis.setup import Made, Setup, Step
from tests.support.connector_kit.subject import INSTANCE, WEBHOOKS, Bench, bench
from tests.support.stripe_account import API_KEY, StripeAccount

T = TypeVar("T")
VERSION = "2026-10-28.endive"


class Account(StripeAccount):
    """An account whose endpoint's secret may be unknown, and which may be in the cloud or on this machine."""

    def endpoint(self, **changes: Any) -> str:
        """Create an endpoint as a person would, in Stripe's own Dashboard."""
        given: Any = {"url": WEBHOOKS, "enabled_events": EVENTS, "api_version": VERSION} | changes
        return self.api.v1.webhook_endpoints.create(given).id

    def endpoints(self) -> list[Any]:
        return self.api.v1.webhook_endpoints.list().data


def asked(account: Account, folder: Path, act: Callable[[Bench[Any]], Awaitable[T]]) -> T:
    async def run() -> T:
        async with bench(account, folder) as made:
            return await act(made)

    return asyncio.run(run())


def prepared(made: Bench[Any], secret: Secret = NO_SECRET, url: str = WEBHOOKS, platform: str = "") -> Setup:
    settings = stripe.Settings(url=made.settings.url, api_key=Secret(API_KEY), webhook_secret=secret)
    settings = msgspec.structs.replace(settings, url=platform) if platform else settings
    position = FeedPosition(FileDocument(made.folder / "position"))
    context = ConnectorContext(INSTANCE, made.client, made.clock, lambda kind: f"{kind}_{made.clock()}", position, url)
    return stripe.prepare(settings, context)


async def done(steps: list[Step]) -> list[Made]:
    return [await each.act() for each in steps if each.act]


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def test_an_account_gets_an_endpoint_once(account: Account, tmp_path: Path) -> None:
    async def twice(made: Bench[Any]) -> tuple[list[Step], list[Made], list[Step]]:
        first = await prepared(made).steps()
        shown = await done(first)
        return first, shown, await prepared(made, shown[0].secret).steps()

    first, shown, second = asked(account, tmp_path, twice)

    assert [(each.state, each.plan) for each in first] == [("missing", "create it, and keep its signing secret")]
    assert shown[0].setting == "webhook_secret"
    assert shown[0].secret.reveal().startswith("whsec_")
    assert [(each.state, each.act) for each in second] == [("there", None)]
    (endpoint,) = account.endpoints()
    assert (endpoint.url, endpoint.api_version, sorted(endpoint.enabled_events)) == (WEBHOOKS, VERSION, EVENTS)


@pytest.mark.parametrize(
    ("changes", "plan"),
    [
        ({"enabled_events": EVENTS[1:]}, f"update it: it does not send {EVENTS[0]}"),
        ({"enabled_events": [*EVENTS, "charge.failed"]}, "update it: it sends more than is read: charge.failed"),
    ],
)
def test_other_events_are_corrected(account: Account, tmp_path: Path, changes: dict[str, Any], plan: str) -> None:
    known = account.endpoint(**changes)

    async def corrected(made: Bench[Any]) -> tuple[list[Step], list[Step]]:
        before = await prepared(made, Secret("whsec_known")).steps()
        await done(before)
        return before, await prepared(made, Secret("whsec_known")).steps()

    before, after = asked(account, tmp_path, corrected)

    assert [each.plan for each in before] == [plan]
    assert [each.state for each in after] == ["there"]
    assert [(each.id, sorted(each.enabled_events)) for each in account.endpoints()] == [(known, EVENTS)]


def test_one_that_was_switched_off_is_switched_on(account: Account, tmp_path: Path) -> None:
    known = account.endpoint()
    account.api.v1.webhook_endpoints.update(known, {"disabled": True})

    async def corrected(made: Bench[Any]) -> list[Step]:
        steps = await prepared(made, Secret("whsec_known")).steps()
        await done(steps)
        return steps

    (step,) = asked(account, tmp_path, corrected)

    assert step.plan == "update it: it is switched off"
    assert [each.status for each in account.endpoints()] == ["enabled"]


@pytest.mark.parametrize("version", ["2024-06-20", None])
def test_another_version_is_replaced_since_it_cannot_be_changed(
    account: Account, tmp_path: Path, version: str | None
) -> None:
    old = account.endpoint(**({"api_version": version} if version else {"api_version": ""}))

    async def replaced(made: Bench[Any]) -> tuple[Step, list[Made]]:
        (step,) = await prepared(made, Secret("whsec_known")).steps()
        return step, await done([step])

    step, (shown,) = asked(account, tmp_path, replaced)

    assert step.state == "wrong"
    assert (
        f"replace it, with a new signing secret: it sends events of the API version {version or 'of the'}" in step.plan
    )
    assert shown.secret
    (endpoint,) = account.endpoints()
    assert endpoint.id != old
    assert endpoint.api_version == VERSION


def test_one_whose_secret_is_not_known_is_replaced(account: Account, tmp_path: Path) -> None:
    old = account.endpoint()

    async def replaced(made: Bench[Any]) -> list[Made]:
        return await done(await prepared(made).steps())

    (shown,) = asked(account, tmp_path, replaced)

    assert shown.secret
    assert old not in [each.id for each in account.endpoints()]
    assert len(account.endpoints()) == 1


def test_a_second_endpoint_of_the_same_address_goes(account: Account, tmp_path: Path) -> None:
    account.endpoint()
    account.endpoint(api_version="2024-06-20")

    async def corrected(made: Bench[Any]) -> list[str]:
        steps = await prepared(made, Secret("whsec_known")).steps()
        await done(steps)
        return [each.state for each in steps]

    assert asked(account, tmp_path, corrected) == ["there", "wrong"]
    assert [each.api_version for each in account.endpoints()] == [VERSION]


def test_what_setup_made_is_taken_away_and_nothing_else(account: Account, tmp_path: Path) -> None:
    other = account.endpoint(url="https://shop.example.com/hooks")

    async def removed(made: Bench[Any]) -> list[Step]:
        await done(await prepared(made).steps())
        steps = await prepared(made).removal()
        await done(steps)
        return [*steps, *await prepared(made).removal()]

    steps = asked(account, tmp_path, removed)

    assert [(each.state, each.plan) for each in steps] == [("ours", "delete it")]
    assert [each.id for each in account.endpoints()] == [other]


def test_an_endpoint_that_a_person_made_stays(account: Account, tmp_path: Path) -> None:
    account.endpoint()

    async def removal(made: Bench[Any]) -> list[Step]:
        return await prepared(made).removal()

    assert [(each.state, each.plan, each.act) for each in asked(account, tmp_path, removal)] == [
        ("kept", "setup did not make it", None)
    ]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8101/x", "http://10.1.2.3/x", "http://system.internal:8101/x"])
def test_stripe_is_not_sent_to_an_address_that_it_cannot_reach(account: Account, tmp_path: Path, url: str) -> None:
    async def steps(made: Bench[Any]) -> list[Step]:
        return await prepared(made, url=url, platform="https://api.stripe.com").steps()

    (step,) = asked(account, tmp_path, steps)

    assert step.act is None
    assert "set server.public_url" in step.plan


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (None, "no webhook endpoint reports to"),
        ({"enabled_events": EVENTS[1:]}, f"does not send {EVENTS[0]}"),
        ({"api_version": "2024-06-20"}, "sends events of the API version 2024-06-20"),
    ],
)
def test_the_connector_says_what_hinders_its_events(
    account: Account, tmp_path: Path, changes: dict[str, Any] | None, what: str
) -> None:
    if changes is not None:
        account.endpoint(**changes)

    async def misfits(made: Bench[Any]) -> list[Misfit]:
        return await made.connector.misfits()

    (found,) = asked(account, tmp_path, misfits)

    assert what in found.what
    assert found.remedy == f"run `tiergate setup billing {INSTANCE}`"
    assert found.blocks


def test_an_account_that_fits_has_no_misfit(account: Account, tmp_path: Path) -> None:
    account.endpoint()

    async def misfits(made: Bench[Any]) -> list[Misfit]:
        return await made.connector.misfits()

    assert asked(account, tmp_path, misfits) == []


def test_a_wrong_key_is_named(account: Account, tmp_path: Path) -> None:
    account.stand_in.api_key = "rk_another"

    async def refused(made: Bench[Any]) -> Misconfigured:
        with pytest.raises(Misconfigured) as refusal:
            await made.connector.check()
        return refusal.value

    assert asked(account, tmp_path, refused).reason == "Stripe refuses the API key: correct api_key"

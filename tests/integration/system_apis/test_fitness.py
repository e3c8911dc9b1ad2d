"""What readiness says of a platform that answers and lacks something."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from policies.chain.readiness import Checks, is_ok
from sandbox.stripe.versions import CURRENT
from system_apis.billing.stripe.setup import EVENTS
from system_apis.fitness import COMPARE_AGAIN, COMPARE_EVERY, Fitness
from tests.support.connector_kit.loopback import Trouble
from tests.support.connector_kit.subject import WEBHOOKS, bench
from tests.support.stripe_account import StripeAccount

LACKING = "but what is needed is missing there (1): the log and `tiergate doctor` say what"


def endpoint(account: StripeAccount) -> None:
    account.api.v1.webhook_endpoints.create(
        {"url": WEBHOOKS, "enabled_events": cast("Any", EVENTS), "api_version": CURRENT}
    )


def test_what_a_platform_lacks_is_said_until_it_is_there_and_is_rarely_asked(tmp_path: Path) -> None:
    async def run() -> None:
        account = StripeAccount(tmp_path)
        async with bench(account, tmp_path) as made:
            fitness = Fitness("stripe", made.connector, made.clock)
            assert [await fitness.check(), await fitness.check()] == [LACKING, LACKING]
            asked = [each for each in made.loopback.seen if "webhook_endpoints" in each.path]
            assert len(asked) == 1

            endpoint(account)
            made.offset = COMPARE_EVERY + timedelta(seconds=1)
            assert await fitness.check() == ""

    asyncio.run(run())


def test_a_comparison_that_fails_is_made_again_and_the_platform_stays_ready(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(StripeAccount(tmp_path), tmp_path) as made:
            made.loopback.trouble(
                Trouble("answered", lambda each: "webhook_endpoints" in each.path, times=1, status=400)
            )
            fitness = Fitness("stripe", made.connector, made.clock)
            assert await fitness.check() == ""
            made.offset = COMPARE_AGAIN + timedelta(seconds=1)
            assert await fitness.check() == LACKING

    asyncio.run(run())


def test_a_platform_that_lacks_something_is_ready_and_one_that_refuses_us_is_not(tmp_path: Path) -> None:
    async def run() -> None:
        account = StripeAccount(tmp_path)
        async with bench(account, tmp_path) as made:
            checks = Checks({"stripe": Fitness("stripe", made.connector, made.clock).check})
            await checks.ask()
            assert checks.found() == {"stripe": f"ok, {LACKING}"}
            assert is_ok(checks.found()["stripe"])

            account.stand_in.api_key = "rk_another"
            await checks.ask()
            assert checks.found() == {"stripe": "Stripe refuses the API key: correct api_key"}

    asyncio.run(run())

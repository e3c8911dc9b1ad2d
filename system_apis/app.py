"""The system layer as one deployable: the connectors behind their governed routes, and the change feeds."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol

import msgspec
import structlog
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig

from canonical.faults import PlatformFault
from policies.chain.gate import Gate, governed
from policies.context.background import Background
from system_apis.billing import api as billing_api
from system_apis.billing.port import Billing
from system_apis.connector import Instances
from system_apis.crm import api as crm_api
from system_apis.crm.port import Crm
from system_apis.erp import api as erp_api
from system_apis.erp.port import Erp
from system_apis.intake import Intake
from system_apis.provisioning import api as provisioning_api
from system_apis.provisioning.port import Provisioning

log = structlog.get_logger("tiergate.system")
AWAY = "not available; the log says why"
CHECK_EVERY = 5.0
"""Seconds between two checks of whether the platforms answer."""


class Closing(Protocol):
    """An object with connections to close."""

    async def close(self) -> None: ...


class Checked(Protocol):
    """A connector that can be checked for whether its platform answers."""

    async def check(self) -> None: ...


class Platforms(msgspec.Struct, frozen=True):
    """The connectors of each domain, by instance."""

    crms: Instances[Crm]
    erps: Instances[Erp]
    billings: Instances[Billing]
    targets: Instances[Provisioning]

    def every(self) -> dict[str, Checked]:
        """Return all instances of all domains, by name."""
        return {**dict(self.crms), **dict(self.erps), **dict(self.billings), **dict(self.targets)}


def create_app(
    gate: Gate,
    platforms: Platforms,
    intake: Intake,
    closing: tuple[Closing, ...] = (),
    openapi: OpenAPIConfig | None = None,
) -> Litestar:
    """Return the system layer's app.

    Its change feeds run from its start to its end, and `closing` is closed at its end. Readiness names each platform
    that is down.
    """
    answers = dict.fromkeys(platforms.every(), "not asked yet")
    feeds = [partial(crm.watch, intake) for _, crm in platforms.crms]
    running = Background(*feeds, partial(_keep_checking, platforms.every(), answers))

    async def close() -> None:
        for each in closing:
            await each.close()

    return governed(
        gate,
        [crm_api.router, erp_api.router, billing_api.router, provisioning_api.router],
        readiness=lambda: dict(answers),
        provided={name: getattr(platforms, name) for name in Platforms.__struct_fields__} | {"intake": intake},
        on_startup=[running.start],
        on_shutdown=[running.stop, close],
        openapi=openapi,
    )


async def _keep_checking(platforms: dict[str, Checked], answers: dict[str, str]) -> None:
    async def ask(name: str, platform: Checked) -> None:
        try:
            await platform.check()
            answers[name] = "ok"
        except PlatformFault as fault:
            if answers[name] != AWAY:
                log.warning("a platform does not answer", platform=name, reason=fault.reason)
            answers[name] = AWAY  # readiness is open to everybody, and a reason may name addresses

    while True:
        await asyncio.gather(*(ask(name, platform) for name, platform in platforms.items()))
        await asyncio.sleep(CHECK_EVERY)

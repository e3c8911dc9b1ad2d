"""The system layer as one deployable: the connectors behind their governed routes, and the change feeds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import msgspec
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig

from canonical.faults import PlatformFault
from policies.chain.gate import Gate, governed
from policies.context.background import Background
from system_apis.billing import api as billing_api
from system_apis.billing.port import Billing
from system_apis.crm import api as crm_api
from system_apis.crm.port import Crm
from system_apis.erp import api as erp_api
from system_apis.erp.port import Erp
from system_apis.intake import Intake
from system_apis.provisioning import api as provisioning_api
from system_apis.provisioning.port import Provisioning

CHECK_EVERY = 5.0
"""Seconds between two looks at whether the platforms answer."""


class Closing(Protocol):
    """What has connections to close."""

    async def close(self) -> None: ...


class Platforms(msgspec.Struct, frozen=True):
    """One connector for each domain."""

    crm: Crm
    erp: Erp
    billing: Billing
    provisioning: Provisioning


def create_app(
    gate: Gate,
    platforms: Platforms,
    intake: Intake,
    closing: tuple[Closing, ...] = (),
    openapi: OpenAPIConfig | None = None,
) -> Litestar:
    """The app. Its change feeds run from its start to its end; a platform that is down is said in its readiness."""
    found: dict[str, str] = dict.fromkeys(("crm", "erp", "billing", "provisioning"), "not asked yet")
    feeds = Background(partial(platforms.crm.watch, intake), partial(_keep_checking, platforms, found))

    async def close() -> None:
        for each in closing:
            await each.close()

    return governed(
        gate,
        [crm_api.router, erp_api.router, billing_api.router, provisioning_api.router],
        readiness=lambda: dict(found),
        state={**{name: getattr(platforms, name) for name in found}, "intake": intake},
        on_startup=[feeds.start],
        on_shutdown=[feeds.stop, close],
        openapi=openapi,
    )


async def _keep_checking(platforms: Platforms, found: dict[str, str]) -> None:
    async def look(name: str, check: Callable[[], Awaitable[None]]) -> None:
        try:
            await check()
            found[name] = "ok"
        except PlatformFault as fault:
            found[name] = fault.reason

    while True:
        await asyncio.gather(*(look(name, getattr(platforms, name).check) for name in found))
        await asyncio.sleep(CHECK_EVERY)

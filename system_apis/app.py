"""The system layer as one deployable: the connectors behind their governed routes, and the change feeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from prometheus_client.core import Metric

from canonical.ids import Clock, NewId
from policies.background import Background
from policies.chain.gate import Gate, governed
from policies.chain.job_reports import SendReport
from policies.chain.readiness import Checks
from policies.observe.metrics import gauge
from policies.store.leases import KeptLease
from system_apis.billing import api as billing_api
from system_apis.billing.port import Billing
from system_apis.connector import Instances
from system_apis.crm import api as crm_api
from system_apis.crm.port import Crm
from system_apis.erp import api as erp_api
from system_apis.erp.port import Erp
from system_apis.feed import Feed
from system_apis.fitness import Checked, Fitness
from system_apis.intake import Intake
from system_apis.provisioning import api as provisioning_api
from system_apis.provisioning.port import Provisioning

CHANGES = " changes"
"""What readiness calls the change feed of a platform, after its name."""


class Closing(Protocol):
    """An object with connections to close."""

    async def close(self) -> None: ...


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
    leases: Mapping[str, KeptLease],
    intake: Intake,
    clock: Clock,
    new_id: NewId,
    longest_silence: float,
    report: SendReport,
    closing: tuple[Closing, ...] = (),
    openapi: OpenAPIConfig | None = None,
) -> Litestar:
    """Return the system layer's app.

    Its change feeds run from its start to its end, each while its lease, by the instance's name, is held; `closing` is
    closed at the end, and `report` takes how its jobs go on. Readiness names each platform that is down or lacks what
    is needed, and says how old the last good look at each feed is. The layer is ready all the same: one platform that
    is away must not keep the webhooks of another from it. After `longest_silence` seconds without one a case is opened.
    """
    checks = Checks({name: Fitness(name, each, clock).check for name, each in platforms.every().items()})
    feeds = {
        f"{name}{CHANGES}": Feed(f"{domain}/{name}", each, leases[name], intake, clock, new_id, longest_silence)
        for domain, instances in (("crm", platforms.crms), ("billing", platforms.billings))
        for name, each in instances
    }
    jobs = [job for each in feeds.values() for job in (each.keep_looking, each.keep_telling)]
    jobs += [each.keep for each in leases.values()]
    running = Background(*jobs, checks.keep_asking)

    def feed_ages() -> Iterator[Metric]:
        ages = {(name.removesuffix(CHANGES),): each.age for name, each in feeds.items()}
        known = {name: age for name, age in ages.items() if age is not None}
        yield gauge("feed_age_seconds", "Since the last good look at a platform's changes.", ("platform",), known)

    gate.metrics.find(feed_ages)

    def readiness() -> dict[str, str]:
        return checks.found() | {name: each.found() for name, each in feeds.items()}

    async def close() -> None:
        for each in closing:
            await each.close()

    return governed(
        gate,
        [crm_api.router, erp_api.router, billing_api.router, provisioning_api.router],
        readiness=readiness,
        ready_without=True,
        provided={name: getattr(platforms, name) for name in Platforms.__struct_fields__} | {"intake": intake},
        background=[running],
        report=report,
        on_shutdown=[close],
        openapi=openapi,
    )

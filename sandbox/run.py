"""The sandbox: all stand-ins and Tryton, each on a port of its own.

A control port switches faults, sets the clock and changes behaviour.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, delete, get, post
from litestar.params import FromPath

from sandbox.faults import Fault, Faults
from sandbox.provisioning import app as provisioning
from sandbox.salesforce import app as salesforce
from sandbox.salesforce.dialect import DEMO, Dialect
from sandbox.site import GERMANY, Site
from sandbox.store import SandboxClock, Store
from sandbox.stripe import app as stripe
from sandbox.stripe import control as banks
from sandbox.stripe.account import Account
from sandbox.tryton import proxy
from sandbox.tryton.server import TrytonServer

Platform = Literal["crm", "billing", "erp", "provisioning"]
PACE = 0.05
CLOCK = "clock"
"""The file in the folder of a sandbox that says by how many seconds its time is ahead."""


class SandboxPlan(msgspec.Struct, frozen=True):
    """Where the sandbox stores its state, where it listens, and the secrets that it shares with its users."""

    folder: Path
    templates: Path
    crm_port: int
    billing_port: int
    erp_port: int
    tryton_port: int
    provisioning_port: int
    control_port: int
    connected_app: salesforce.ConnectedApp
    billing_key: str
    provisioning_secret: str
    erp_password: str
    year: int
    erp_database: str = ""
    site: Site = GERMANY
    dialect: Dialect = DEMO


class Advance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far to set the clock forward, in seconds."""

    seconds: Annotated[float, msgspec.Meta(ge=0)]


class Merge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which account is merged into which, as people do in the user interface; `values` are those of the loser that
    they choose for the master."""

    master: str
    loser: str
    values: dict[str, Any] = {}


class Restoration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which account is restored from the recycle bin, as people do there."""

    account: str


async def run(plan: SandboxPlan) -> None:
    """Serve until SIGINT or SIGTERM, or until the process that holds the other end of standard input is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    loop.add_reader(sys.stdin.fileno(), lambda: (stop.set(), loop.remove_reader(sys.stdin.fileno())))
    tryton = TrytonServer(
        plan.folder / "tryton",
        plan.templates,
        plan.tryton_port,
        plan.year,
        plan.erp_password,
        plan.erp_database,
        plan.site,
    )
    clock = SandboxClock(plan.folder / CLOCK)
    stores = {name: Store(plan.folder / f"{name}.sqlite") for name in ("crm", "billing", "provisioning")}
    account = Account(stores["billing"], clock)
    billing = stripe.Stripe(account, plan.billing_key)
    target = provisioning.Provisioning(stores["provisioning"], clock, plan.provisioning_secret)
    crm = salesforce.Salesforce(stores["crm"], clock, plan.connected_app, dialect=plan.dialect)
    stand_ins: dict[Platform, tuple[Faults, int]] = {
        "crm": (Faults(salesforce.salesforce_app(crm), salesforce.error_body), plan.crm_port),
        "billing": (Faults(stripe.stripe_app(billing), stripe.error_body), plan.billing_port),
        "erp": (Faults(proxy.tryton_proxy(tryton.url), proxy.error_body), plan.erp_port),
        "provisioning": (
            Faults(provisioning.provisioning_app(target), provisioning.error_body),
            plan.provisioning_port,
        ),
    }
    control = control_app({name: faults for name, (faults, _) in stand_ins.items()}, clock, target, billing, crm)
    servers = [_server(app, port) for app, port in (*stand_ins.values(), (control, plan.control_port))]
    try:
        await loop.run_in_executor(None, tryton.wait)
        running: list[asyncio.Future[Any]] = [asyncio.ensure_future(server.serve()) for server in servers]
        running.append(asyncio.ensure_future(_time_passes(billing, target)))
        running.append(asyncio.ensure_future(stop.wait()))
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for server in servers:
            server.stop()
        for each in running[len(servers) :]:
            each.cancel()
        done = await asyncio.gather(*running, return_exceptions=True)
        broken = [each for each in done if isinstance(each, Exception)]
        if broken:
            raise broken[0]
    finally:
        await account.close()
        await target.close()
        tryton.stop()
        for store in stores.values():
            store.close()


def _server(app: Any, port: int) -> Server:
    return Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, websockets=False, log_enabled=False)


async def _time_passes(billing: stripe.Stripe, target: provisioning.Provisioning) -> None:
    """Do what platforms do by themselves: deliver webhooks and finish jobs, and once a second what a date brings."""
    rounds = 0
    while True:
        await asyncio.sleep(PACE)
        rounds += 1
        if rounds % round(1 / PACE) == 0:
            billing.due.tick()
        await billing.account.deliver()
        await target.work()


def control_app(
    stand_ins: dict[Platform, Faults],
    clock: SandboxClock,
    target: provisioning.Provisioning,
    billing: stripe.Stripe,
    crm: salesforce.Salesforce,
) -> Litestar:
    """Return the app of the control port.

    It listens on loopback and asks for no credentials: it controls nothing but the sandbox.
    """

    @get("/faults")
    async def faults() -> dict[str, list[Fault]]:
        return {name: stand_in.active for name, stand_in in stand_ins.items()}

    @post("/faults/{platform:str}")
    async def add(platform: FromPath[Platform], data: Fault) -> dict[str, list[Fault]]:
        stand_ins[platform].active.append(data)
        return {platform: stand_ins[platform].active}

    @delete("/faults")
    async def clear() -> None:
        for stand_in in stand_ins.values():
            stand_in.active.clear()

    @get("/clock")
    async def read_clock() -> dict[str, Any]:
        return {"now": clock.now(), "offset_seconds": clock.offset}

    @post("/clock")
    async def advance(data: Advance) -> dict[str, Any]:
        before = clock.seconds()
        clock.advance(data.seconds)
        billing.due.catch_up(None, before, clock.seconds())
        return {"now": clock.now(), "offset_seconds": clock.offset}

    @post("/provisioning")
    async def behave(data: provisioning.Behaviour) -> provisioning.Behaviour:
        target.behave(data)
        return data

    @get("/provisioning/{order_id:str}")
    async def jobs(order_id: FromPath[str]) -> list[dict[str, Any]]:
        return target.jobs(order_id)

    @get("/provisioning/{order_id:str}/service")
    async def service(order_id: FromPath[str]) -> dict[str, Any]:
        return target.service(order_id)

    @post("/billing/events/{event_id:str}")
    async def resend(event_id: FromPath[str]) -> None:
        billing.account.resend(event_id)

    @post("/crm/merges")
    async def merge(data: Merge) -> None:
        crm.org.merge("Account", data.master, data.loser, data.values, crm.person)

    @post("/crm/restorations")
    async def restore(data: Restoration) -> None:
        crm.org.undelete("Account", data.account, crm.person)

    return Litestar(
        [
            *(faults, add, clear, read_clock, advance, behave, jobs, service, resend, merge, restore),
            *banks.routes(billing),
        ],
        openapi_config=None,
        logging_config=None,
    )


def main() -> None:
    """Run the plan given as a line of JSON on standard input, so that its secrets are in no argument and no
    environment."""
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=SandboxPlan, dec_hook=lambda kind, value: kind(value))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(plan))


if __name__ == "__main__":
    main()

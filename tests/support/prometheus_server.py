"""A real Prometheus of a test's own, which scrapes the layers of an environment and evaluates our rules."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.environment import METRICS_TOKEN
from tests.support.manifests import DEPLOY
from tests.support.platforms import wait_until
from tiergate.dev.ports import free_port

EVERY = "500ms"
"""How often it scrapes, and evaluates the rules."""


class PrometheusServer:
    """A Prometheus that runs, at an address."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=10)

    def is_ready(self) -> bool:
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the samples that a query has now. Raises `httpx.HTTPStatusError` for one that is wrong."""
        answer = self._http.get("/api/v1/query", params={"query": query}).raise_for_status().json()
        assert answer["status"] == "success"
        return answer["data"]["result"]

    def close(self) -> None:
        self._http.close()


@contextmanager
def prometheus_of(folder: Path, targets: list[str]) -> Generator[PrometheusServer]:
    """Run a Prometheus that scrapes `targets` (host and port) as the job `tiergate`, with our rules."""
    token = folder / "token"
    token.write_text(METRICS_TOKEN)
    (read,) = yaml.safe_load_all((DEPLOY / "prometheus" / "scrape.yaml").read_text())
    (job,) = read["scrape_configs"]
    job |= {"scrape_interval": EVERY, "scrape_timeout": EVERY, "static_configs": [{"targets": targets}]}
    job["authorization"]["credentials_file"] = str(token)
    rules = str(DEPLOY / "prometheus" / "alerts.yaml")
    said = {"global": {"evaluation_interval": EVERY}, "scrape_configs": [job], "rule_files": [rules]}
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(said))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
        server = PrometheusServer(f"http://{address}")
        try:
            wait_until(server.is_ready, 30, "Prometheus is ready")
            yield server
        finally:
            server.close()
            process.terminate()
            process.wait(20)

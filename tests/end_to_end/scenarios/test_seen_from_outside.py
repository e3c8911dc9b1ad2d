"""What those who run it see of a deal that is sold: the dashboard, in a real Prometheus."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tests.support.environment import Environment
from tests.support.manifests import DEPLOY
from tests.support.platforms import wait_until
from tests.support.prometheus_server import prometheus_of
from tiergate.dev.layers import LAYERS

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "tiergate.json").read_text())
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_every_query_of_the_dashboard_returns_data_once_a_deal_is_sold(
    environment: Environment, tmp_path: Path
) -> None:
    targets = [environment.sandbox.url(layer).removeprefix("http://") for layer in LAYERS]
    with prometheus_of(tmp_path, targets) as prometheus:
        wait_until(lambda: len(prometheus.ask("up == 1")) == len(LAYERS), 20, "each layer is scraped")
        environment.paid_order(environment.sale("Seen"))

        silent = QUERIES

        def all_have_data() -> bool:
            nonlocal silent
            silent = [each for each in silent if not has_data(prometheus.ask(each[1]))]
            return not silent

        try:
            wait_until(all_have_data, 20)
        except AssertionError:
            raise AssertionError(f"no data: {silent}") from None


def has_data(samples: list[dict[str, Any]]) -> bool:
    return any(not math.isnan(float(each["value"][1])) for each in samples)

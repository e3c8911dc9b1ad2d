"""What those who run it see of a deal that is sold: the dashboard, in a real Prometheus, and commands."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner

from canonical.events import DEAL_CLOSED
from canonical.process_events import ORDER_EVENTS
from tests.support.environment import METRICS_TOKEN, Environment
from tests.support.manifests import DEPLOY
from tests.support.platforms import wait_until
from tests.support.prometheus_server import prometheus_of
from tiergate.cli.main import cli
from tiergate.dev.layers import LAYERS
from tiergate.status import Status

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "tiergate.json").read_text())
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]

METRICS_SHOWN = {"TIERGATE_SERVER_METRICS_TOKEN": METRICS_TOKEN}


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


def test_a_deal_that_is_sold_is_followed_live_and_counted_in_a_terminal(environment: Environment) -> None:
    config = str(environment.sandbox.config)
    command = [sys.executable, "-m", "tiergate", "tail", "--json", "--last", "1", "--config", config]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        end = threading.Timer(60, following.kill)
        end.start()
        assert following.stdout is not None
        lines = [json.loads(following.stdout.readline())]  # it follows
        _, deal = environment.sell(environment.sale("Followed"))
        for line in following.stdout:
            lines.append(json.loads(line))
            if lines[-1]["event"]["type"] == ORDER_EVENTS["active"]:
                break
        end.cancel()
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 0
    order = environment.order_in(deal, "active")
    types = [each["event"]["type"] for each in lines if each["correlation_id"] == order.correlation_id]
    numbers = [each["number"] for each in lines]
    assert types[0] == DEAL_CLOSED
    assert types[-1] == ORDER_EVENTS["active"]
    assert numbers == sorted(set(numbers))

    environment.settled(order)
    shown = CliRunner().invoke(cli, ["status", "--config", config], env={**METRICS_SHOWN, "COLUMNS": "160"})
    as_json = CliRunner().invoke(cli, ["status", "--json", "--config", config], env=METRICS_SHOWN)
    found = msgspec.json.decode(as_json.stdout, type=Status)

    assert (shown.exit_code, as_json.exit_code) == (0, 0), shown.output
    for words in ("orders", "postings", "close to active", "stripe", "experience"):
        assert words in shown.stdout
    counts = {each.state: each.count for each in found.flow.orders}
    assert counts["active"] >= 1
    assert {each.layer: each.answers for each in found.layers} == dict.fromkeys(LAYERS, True)
    assert {each.platform for each in found.platforms} >= {"salesforce", "stripe", "tryton"}
    assert found.close_to_active is not None
    assert found.finalized_to_posted is not None


def test_a_layer_that_does_not_answer_is_said_and_ends_with_3(environment: Environment) -> None:
    nowhere = {"TIERGATE_SERVER_CONSOLE_URL": "http://127.0.0.1:9", "COLUMNS": "160"}

    shown = CliRunner().invoke(cli, ["status", "--config", str(environment.sandbox.config)], env=nowhere)

    assert shown.exit_code == 3
    assert "does not answer" in shown.stdout
    assert "orders" in shown.stdout


def has_data(samples: list[dict[str, Any]]) -> bool:
    return any(not math.isnan(float(each["value"][1])) for each in samples)

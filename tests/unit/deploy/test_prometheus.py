"""What Prometheus is given: rules that are whole, each with a runbook, over measures that there are."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.support.manifests import DEPLOY, LAYERS, Document, documents, of_kind
from tests.unit.docs.test_runbooks import anchor_of, headed

FOLDER = DEPLOY / "prometheus"
PORTS = {8101, 8102, 8103}
TIERS = {"real_time", "near_real_time", "deferred"}


def rules() -> list[Document]:
    (found,) = documents(FOLDER / "alerts.yaml")
    return [rule for group in found["groups"] for rule in group["rules"] if "alert" in rule]


def test_there_is_a_runbook_for_each_alert_and_for_no_other() -> None:
    names = [each["alert"] for each in rules()]

    assert sorted(headed("alerts.md", "##")) == sorted(names)
    for each in rules():
        assert each["annotations"]["runbook_url"] == f"docs/runbooks/alerts.md#{anchor_of(each['alert'])}"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_since_when_how_urgent_and_what(rule: Document) -> None:
    assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert len(rule["annotations"]["summary"]) > 20
    assert rule["expr"].count("(") == rule["expr"].count(")")
    named: set[str] = set(re.findall(r"labels\.(\w+)", rule["annotations"]["summary"]))
    grouped = re.findall(r"by \(([^)]*)\)", rule["expr"])
    assert all(named <= {each.strip() for each in group.split(",")} for group in grouped)
    assert set(re.findall(r'tier="(\w+)"', rule["expr"])) <= TIERS


def test_each_alert_fires_beyond_its_bound_and_is_quiet_within_it() -> None:
    (tests,) = documents(FOLDER / "alerts-tests.yaml")
    expected = Counter(
        (each["alertname"], bool(each["exp_alerts"])) for test in tests["tests"] for each in test["alert_rule_test"]
    )
    assert expected == Counter((each["alert"], fires) for each in rules() for fires in (True, False))

    for command in ("check", "test"):
        file = "alerts.yaml" if command == "check" else "alerts-tests.yaml"
        done = subprocess.run(
            ["promtool", command, "rules", file], cwd=FOLDER, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_asks_every_layer_with_the_token_and_has_time_for_the_answer() -> None:
    for name in ("scrape.yaml", "scrape-kubernetes.yaml"):
        (found,) = documents(FOLDER / name)
        (job,) = found["scrape_configs"]
        assert job["metrics_path"] == "/metrics"
        assert job["authorization"]["type"] == "Bearer"
        assert Path(job["authorization"]["credentials_file"]).is_absolute()
        assert int(job["scrape_timeout"].rstrip("s")) < int(job["scrape_interval"].rstrip("s"))
    (hosts,) = documents(FOLDER / "scrape.yaml")
    (job,) = hosts["scrape_configs"]
    (targets,) = job["static_configs"]
    assert {int(each.rpartition(":")[2]) for each in targets["targets"]} == PORTS
    (policy,) = documents(FOLDER / "network-policy.yaml")
    assert {each["port"] for each in policy["spec"]["ingress"][0]["ports"]} == PORTS
    assert len(LAYERS) == len(PORTS)


def test_the_process_layer_is_scaled_by_the_measure_that_the_adapter_serves() -> None:
    (metric,) = of_kind("HorizontalPodAutoscaler")["process"]["spec"]["metrics"]
    (adapter,) = documents(FOLDER / "adapter.yaml")
    (rule,) = adapter["rules"]["external"]

    assert rule["seriesQuery"].startswith(f"{metric['external']['metric']['name']}{{")
    assert rule["metricsQuery"].startswith("max(")  # an autoscaler adds up what it is given

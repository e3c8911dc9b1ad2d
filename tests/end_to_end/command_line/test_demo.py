"""The demo, the sandbox and `up`, as a person runs them."""

from __future__ import annotations

import calendar
import html
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import tour
from tests.support.platforms import wait_until

Start = Callable[..., subprocess.Popen[str]]
SPAN = re.compile(r'<text [^>]*-line-(\d+)\)">(.*?)</text>')
"""A piece of a line in a picture of a terminal."""
END = "-- the end of an answer --"
TIERGATE = str(Path(sys.executable).with_name("tiergate"))


@pytest.fixture
def start(tmp_path: Path, templates: Path) -> Generator[Start]:
    """Starts the command in a folder of its own; what a failed test leaves running is stopped."""
    environment = os.environ | {"TIERGATE_TEMPLATES": str(templates), "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["env", "--default-signal=HUP", TIERGATE, *arguments],  # as from a terminal
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in reversed(started):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=180)


def finished(process: subprocess.Popen[str], seconds: float = 180) -> str:
    reported, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, reported
    return reported


def test_the_demo_stays_up_with_calls_that_work_and_the_next_begins_anew_with_one_of_everything(
    tmp_path: Path, start: Start
) -> None:
    process = start("demo")
    reported = ""
    assert process.stdout is not None
    for line in process.stdout:
        reported += line
        if "Ctrl-C" in line:
            break

    calls = [line.strip() for line in reported.splitlines() if line.strip().startswith("curl")]
    answers = [
        subprocess.run(
            call.replace(".venv/bin/tiergate", TIERGATE),
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for call in calls
    ]
    taken = take_the_tour(tmp_path)
    process.send_signal(signal.SIGINT)
    finished(process)

    assert len(taken) >= 15
    assert [each.command for each, _ in taken if "127.0.0.1" in each.command] == []  # it may be another demo's
    assert [(each.command, answer) for each, answer in taken if not tour.is_in(each.shown, answer)] == []
    assert len(answers) == 4
    assert json.loads(answers[0])["state"] == "active"
    assert [each["state"] for each in json.loads(answers[1])["items"]] == ["posted"] * 12
    assert [(each["kind"], each["state"]) for each in json.loads(answers[2])["items"]] == [
        ("amendment_approval", "resolved"),
        ("correction_approval", "resolved"),
        ("payment_overdue", "resolved"),
    ]
    assert json.loads(answers[3])["customer"]["name"] == "Nordwind Logistik GmbH"

    reported = finished(start("demo", "--once", "--report", "r.json"))

    report: dict[str, Any] = json.loads((tmp_path / "r.json").read_text())
    assert report["order"]["state"] == "active"
    assert report["order"]["seconds"] <= 10
    assert report["order"]["id"].startswith("ord_")
    assert report["order"]["correlation_id"].startswith("cor_")
    assert (
        report["billing"]["invoice_total"]
        == report["erp"]["invoice_total"]
        == {"amount": "16065.00", "currency": "EUR"}
    )
    assert report["erp"]["tax"] == {"amount": "2565.00", "currency": "EUR"}
    assert report["erp"]["balance_due"] == {"amount": "0.00", "currency": "EUR"}
    assert re.fullmatch(r"RE-\d{4}-00001", report["erp"]["invoice_number"])
    assert report["crm"]["status"] == "active"
    assert report["counts"] == {
        "crm": {"accounts": 2, "contacts": 1, "opportunities": 1, "contracts": 1},
        "billing": {"customers": 1, "subscriptions": 1, "invoices": 1, "payment_intents": 1, "charges": 1},
        "erp": {"customers": 1, "invoices": 1, "payments": 1},
    }
    rows = [" ".join(each.replace("│", " ").split()) for each in reported.splitlines()]
    for row in ("tax at 7 % 112.00 EUR 112.00 EUR", "tax number" + " CHE-116.281.710 MWST" * 3, "invoices – 0 0"):
        assert row in rows
    for row in ("total – 2,523", "total – 19,492.20 EUR 19,492.20 EUR", "total – -2,9"):
        assert any(each.startswith(row) for each in rows), row
    assert reported.count("as its rule says") == 6
    for state in ("closed won", "received", "validating", "onboarding", "active", "invoice posted", "payment posted"):
        assert state in reported
    assert fixed(reported.splitlines()) == fixed(in_picture())


def take_the_tour(folder: Path) -> list[tuple[tour.Step, str]]:
    """Run the README's tour in one shell beside the demo in `folder`. Return each step with its answer.

    A step that looks is run until its answer is there.
    """
    with subprocess.Popen(
        ["bash"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        to_shell, from_shell = shell.stdin, shell.stdout

        def answer(step: tour.Step) -> str:
            command = step.command.replace(".venv/bin/tiergate", TIERGATE)
            to_shell.write(f"{command}\necho; echo {END}\n")
            to_shell.flush()
            return "".join(iter(from_shell.readline, f"{END}\n")).replace(f"{Path.cwd()}/", "")

        def as_shown(step: tour.Step) -> str | None:
            return found if tour.is_in(step.shown, found := answer(step)) else None

        taken = [
            (step, wait_until(lambda step=step: as_shown(step), 20, step.command) if step.looks else answer(step))
            for step in tour.steps(Path("README.md"))
        ]
        shell.stdin.close()
    return taken


def in_picture() -> list[str]:
    """Return the lines of the picture of the demo, after the command."""
    lines: dict[str, str] = {}
    for number, text in SPAN.findall(Path("docs/demo.svg").read_text()):
        lines[number] = lines.get(number, "") + html.unescape(text)
    return list(lines.values())[1:]


def fixed(lines: list[str]) -> list[str]:
    """Return what is printed each time: without times, months, ids, numbers, spaces, and ports that were taken."""
    months = "|".join(calendar.month_name[1:])
    kept = (re.sub(rf"\S*\d\S*|\b({months})\b", "#", each) for each in lines if " is taken: " not in each)
    return ["".join(each.split()) for each in kept if each.strip()]


def test_sandbox_and_up_run_beside_each_other_and_stop_cleanly(start: Start) -> None:
    sandbox = start("sandbox")
    assert sandbox.stdout is not None
    for line in sandbox.stdout:
        if "Ctrl-C" in line:
            break
    up = start("up")
    assert up.stdout is not None
    reported = ""
    for line in up.stdout:
        reported += line
        if "Ctrl-C" in line:
            break

    addresses = re.findall(r"http://\S+", reported)
    assert len(addresses) == 3
    for address in addresses:
        wait_until(lambda address=address: httpx.get(f"{address}/health/ready").status_code == 200, 15, address)
    for process, how in ((up, signal.SIGHUP), (sandbox, signal.SIGINT)):  # a terminal that is closed, and Ctrl-C
        process.send_signal(how)
        finished(process)

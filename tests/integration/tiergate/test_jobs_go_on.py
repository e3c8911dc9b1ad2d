"""Each job that a layer does beside its requests goes on after each kind of fault, and nobody has to keep another."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from policies.catalogue.model import Layer

OF_ALL = (
    "JobReports watch",
    "LiveCatalogue watch",
    "Revocations watch",
    "KeyRing watch",
    "DeprecationUsage watch",
    "AuditRetention watch",
    "AuditTrail watch",
)
FEEDS = tuple(
    f"{of} {does}" for of in ("crm/salesforce", "billing/stripe") for does in ("keep_looking", "keep_telling")
)
LEASES = ("lease of salesforce keep", "lease of stripe keep")
TASKS: dict[Layer, tuple[str, ...]] = {
    "system": (*OF_ALL, "Checks keep_asking", *FEEDS, *LEASES),
    "process": (*OF_ALL, "Retention watch", "Engine keep_threads", "webhooks deliver"),
    "experience": (*OF_ALL, "Checks keep_asking"),
}
THREADS: dict[Layer, tuple[str, ...]] = {
    "system": (),
    "process": ("heartbeat", "poller", "queue partitions", "queue _dbos_internal_queue"),
    "experience": (),
}
LIBRARIES = re.compile(
    r"MainThread|asyncio-portal-\w+|asyncio_\d+"  # the event loop's, and its pool
    r"|dbos-executor\S*|Thread-\d+ \((_run_event_loop|run_notification_listener)\)"  # the engine's
    r"|litestar\.events\.emitter\.\S+|anyio\.\S+"  # the framework's
    r"|Checks\._ask|Latest\._find_again"  # what a job, or a request, has begun and waits for
)
"""What else runs in a layer: nothing of it does something again and again that we need."""


@pytest.mark.parametrize("layer", ["system", "process", "experience"])
def test_each_job_goes_on_after_each_kind_of_fault_and_there_is_no_other(layer: Layer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.end_each_job", layer, str(tmp_path), *TASKS[layer], *THREADS[layer]]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert strangers(found["tasks"]) == sorted([*TASKS[layer], *(f"keeps {each}" for each in TASKS[layer])])
    assert strangers(found["threads"]) == sorted(THREADS[layer])
    assert found["live"] == ["200"]


def strangers(names: list[str]) -> list[str]:
    """Return those of no library."""
    return sorted(name for name in names if not LIBRARIES.fullmatch(name))

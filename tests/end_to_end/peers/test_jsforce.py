"""The Salesforce stand-in, driven by jsforce: the client that JavaScript shops use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.environment import Environment
from tiergate.dev.sandbox import CLIENT_ID

HERE = Path(__file__).parent


def test_jsforce_logs_in_and_does_what_a_sales_tool_does(environment: Environment) -> None:
    plan = {
        "url": environment.sandbox.url("crm"),
        "clientId": CLIENT_ID,
        "clientSecret": environment.sandbox.client_secret,
    }
    node = Path(sys.executable).with_name("node")

    done = subprocess.run(
        [node, "drive_jsforce.js", json.dumps(plan)], cwd=HERE, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "created": True,
        "updated": True,
        "name": "Script SE",
        "upserts": [True, False],
        "query": {"total": 1, "done": True, "children": 1},
        "find": 1,
        "fields": True,
        "limit": 100_000,
        "deleted": True,
        "error": "INVALID_FIELD",
    }

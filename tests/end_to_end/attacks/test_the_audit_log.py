"""What callers without a token can do to the audit log of a layer that runs: make it neither wrong nor long."""

from __future__ import annotations

import httpx

from policies.audit.records import LARGEST, sealing_key
from policies.audit.samples import FEW
from policies.audit.verify import export, verify
from tests.support.environment import Environment

MANY = 200


def test_a_flood_of_long_paths_without_a_token_neither_breaks_nor_fills_the_log(environment: Environment) -> None:
    files, key = environment.settings.audit_files("experience"), sealing_key(environment.settings.audit_key())
    before, _ = verify(files, key)
    url = f"{environment.sandbox.url('experience')}/support/v1/cases/{'%01' * 10_000}/actions"

    with httpx.Client() as client:
        statuses = {client.post(url, json={}).status_code for _ in range(MANY)}
        assert client.get(f"{environment.sandbox.url('experience')}/health/live", timeout=1.0).status_code == 200

    assert statuses == {401}
    number, broken = verify(files, key)
    assert broken == []
    assert number - before <= 3 * FEW  # the few of at most three minutes
    assert all(len(line) < LARGEST for line in export([files], None, None, None))

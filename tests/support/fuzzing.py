"""Schemathesis against the running gateway, one document at a time, at both sides of authentication.

`python -m tests.support.fuzzing SECONDS` runs long, over every document; the tests run it bounded.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import msgspec
from click.testing import CliRunner

from policies.catalogue.check import load
from policies.catalogue.model import SHIPPED
from policies.contract.operation import LINES
from tests.support.environment import Environment
from tests.support.platforms import THREE_LINES
from tiergate import composition

CONFIG = Path("openapi/rules/schemathesis.toml")


def generous(folder: Path) -> Path:
    """Write the shipped catalogue with limits that a fuzzer does not reach, and return its path.

    One client may call all of the process layer.
    """
    text = re.sub(r'rates = "[^"]+"', 'rates = "100000/second"', SHIPPED.read_text())
    text = re.sub(r"daily = [0-9_]+", "daily = 100_000_000", text)
    text = re.sub(r"\[\[segregation\]\]\n(\w+ = .*\n)+", "", text)
    text = text.replace(
        'scopes = ["orders:read", "orders:place", "contracts',
        'scopes = ["events:write", "orders:read", "orders:place", "contracts',
    )
    path = folder / "catalogue.toml"
    path.write_text(text)
    return path


def fuzzed_environment(folder: Path, templates: Path) -> Environment:
    """Return an environment of its own, since what the fuzzer leaves behind would disturb other tests."""
    environment = {"TIERGATE_GOVERNANCE_CATALOGUE": str(generous(folder))}
    environment = Environment(folder / "environment", templates, variables=environment)
    for partner in ("reseller-nord", None):  # so that there is something to find
        _, deal = environment.sell(environment.sale(f"Fuzzed {partner}", partner=partner, lines=THREE_LINES[:2]))
        environment.order_in(deal, "active")
    _, wrong = environment.sell(environment.sale("Held", tax_number="DE1"))
    environment.order_in(wrong, "on_hold")
    return environment


def token(environment: Environment, document: str) -> str:
    """Return a token with every scope that the document's API asks for, and no more."""
    name = document.split(".", maxsplit=1)[0]
    catalogue = load(environment.settings.governance.path())
    api = catalogue.apis[name]
    scopes = frozenset(each.scope for each in api.operations.values() if each.scope)
    clients = {
        client: of for client, of in catalogue.clients.items() if of.audience == api.layer and scopes <= of.scopes
    }
    client = (
        min(clients, key=lambda each: (not each.startswith("reseller"), each)) if name == "partners" else min(clients)
    )
    issuer = composition.issuer(environment.settings)
    return issuer.token(client, clients[client], ttl=timedelta(hours=8))


def fuzz(
    environment: Environment,
    document: Path,
    *,
    examples: int,
    seed: int | None,
    seconds: int | None = None,
    signed: bool = True,
    phases: str = "",
) -> str:
    """Return what the fuzzer printed, or an empty string when it found nothing. Without `signed` it sends no token.

    `phases` are those of the fuzzer's that are run, all when it is empty.
    """
    layer = load().apis[document.name.split(".")[0]].layer
    command = ["--config-file", str(CONFIG.resolve()), "run", str(document.resolve())]
    command += ["--url", environment.sandbox.url(layer), "--max-examples", str(examples)]
    command += ["--workers", "1", "--request-timeout", "30"]
    if signed:
        command += ["--header", f"Authorization: Bearer {token(environment, document.name)}"]
    else:  # nothing is accepted, so nothing leads anywhere
        command += ["--exclude-checks", "positive_data_acceptance"]
        phases = "examples,fuzzing"
    if phases:
        command += ["--phases", phases]
    if seed is not None:
        command += ["--seed", str(seed), "--generation-deterministic"]
    if seconds is not None:
        command += ["--max-time", str(seconds)]
    with contextlib.chdir(environment.folder):  # what it finds is kept where it is imported first
        import schemathesis as fuzzer  # noqa: PLC0415 - it is slow to import, so once, and by who fuzzes
        from schemathesis.cli import schemathesis  # noqa: PLC0415 - as above

        fuzzer.serializer(LINES)(as_lines)
        done = CliRunner().invoke(schemathesis, command)
    return "" if done.exit_code == 0 else f"{done.output}\nexit code {done.exit_code}: {done.exception!r}"


def as_lines(_: object, value: object) -> bytes:
    """Return a value as a body that is to be lines of JSON."""
    return value.encode(errors="replace") if isinstance(value, str) else msgspec.json.encode(value)


def documents() -> list[Path]:
    return sorted(path for path in Path("openapi").glob("*.json") if not path.name.startswith("events."))


def main() -> None:
    """Fuzz every document with a token and without, for as many seconds each as the first argument says."""
    seconds = int(sys.argv[1])
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        environment = fuzzed_environment(Path(folder), Path(".tiergate/templates").resolve())
        try:
            for document in documents():
                for signed in (True, False):
                    found = fuzz(environment, document, examples=100, seed=None, seconds=seconds, signed=signed)
                    said = f"{document.name}, {'with' if signed else 'without'} a token: {found or 'nothing found'}\n"
                    sys.stdout.write(said)
                    failed = failed or bool(found)
        finally:
            environment.stop()
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()

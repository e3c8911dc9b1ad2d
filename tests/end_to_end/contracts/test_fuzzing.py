"""A bounded run of the fuzzer over every document; `make fuzz` runs long."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.environment import Environment
from tests.support.fuzzing import documents, fuzz, fuzzed_environment

ONE_OF_EACH_LAYER = ("crm.v1.json", "partners.v2.json", "process.v1.json")
"""A request without a token is stopped at the same gate for all documents of a layer."""
SLOW = ("billing.v1.json", "partners.v1.json", "process.v1.json")
"""Documents that take longer than all others together."""
LARGE = ("billing.v1.json", "erp.v1.json", "finance.v1.json", "sales.v1.json", "support.v1.json")
"""Documents whose bodies have so many fields that to try each of them takes a third of a minute. They are read as the
bodies of the others are. Those of finance, sales and support are passed on to the process layer, where each is
tried."""


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Environment]:
    environment = fuzzed_environment(tmp_path_factory.mktemp("fuzzed"), templates)
    yield environment
    environment.stop()


@pytest.mark.parametrize(
    "document",
    [pytest.param(each, marks=[pytest.mark.extended] if each.name in SLOW else []) for each in documents()],
    ids=lambda path: path.name,
)
def test_the_fuzzer_finds_nothing_with_a_token(fuzzed: Environment, document: Path) -> None:
    large = document.name in LARGE

    found = fuzz(
        fuzzed, document, examples=1 if large else 3, seed=1, phases="examples,fuzzing,stateful" if large else ""
    )

    assert not found, found


@pytest.mark.long
@pytest.mark.parametrize("document", [each for each in documents() if each.name in LARGE], ids=lambda path: path.name)
def test_the_fuzzer_finds_nothing_in_any_field_of_a_large_body(fuzzed: Environment, document: Path) -> None:
    found = fuzz(fuzzed, document, examples=3, seed=1, phases="coverage")

    assert not found, found


@pytest.mark.parametrize("document", [each for each in documents() if each.name in ONE_OF_EACH_LAYER])
def test_the_fuzzer_finds_nothing_without_one(fuzzed: Environment, document: Path) -> None:
    found = fuzz(fuzzed, document, examples=1, seed=1, signed=False)

    assert not found, found

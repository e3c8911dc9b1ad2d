"""A bounded run of the fuzzer over every document; `make fuzz` runs long."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.environment import Stack
from tests.support.fuzzing import documents, fuzz, fuzzed_stack


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Stack]:
    stack = fuzzed_stack(tmp_path_factory.mktemp("fuzzed"), templates)
    yield stack
    stack.stop()


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_the_fuzzer_finds_nothing_with_a_token(fuzzed: Stack, document: Path) -> None:
    found = fuzz(fuzzed, document, examples=8, seed=1)

    assert not found, found


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_the_fuzzer_finds_nothing_without_one(fuzzed: Stack, document: Path) -> None:
    found = fuzz(fuzzed, document, examples=3, seed=1, signed=False)

    assert not found, found

"""Two accounts of a CRM, of which the one that is going to be merged is a customer."""

from __future__ import annotations

import pytest

from process_apis.runtime.context import WorkflowContext
from tests.support.merge_bench import FIRST, LOSER, Books


@pytest.fixture
def books(context: WorkflowContext) -> Books:
    made = Books(context)
    made.customer(FIRST, LOSER)
    return made

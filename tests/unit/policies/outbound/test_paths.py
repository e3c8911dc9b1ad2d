"""An id that a person wrote, or a platform gave, leads to no other path and to no query."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.faults import Rejected
from policies.outbound.paths import STEPS, path_of

ESCAPES = (
    "pm_1/../../charges",
    "pm_1?expand[]=customer",
    "pm_1#",
    "pm_1%2F..",
    "a b",
    "\u00fc",
    "pm_1\r\nX: y",
    "..%2f",
)


@pytest.mark.parametrize("key", ESCAPES)
def test_an_id_stays_in_its_place(key: str) -> None:
    path = path_of("billing", "payment_methods", key, "attach")
    parts = urlsplit(f"https://api.example.com/v1/{path}")

    assert (parts.query, parts.fragment) == ("", "")
    assert [unquote(each) for each in parts.path.split("/")] == ["", "v1", "payment_methods", key, "attach"]


@given(st.text(min_size=1).filter(lambda each: each not in STEPS))
def test_any_text_stays_in_its_place(key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError:
        return
    path = path_of("billing", "customers", key)

    assert path.isascii()
    assert [unquote(each) for each in path.split("/")] == ["customers", key]


@pytest.mark.parametrize("step", sorted(STEPS))
def test_a_segment_that_leads_up_or_nowhere_is_refused(step: str) -> None:
    with pytest.raises(Rejected, match="is no id"):
        path_of("billing", "customers", step)


def test_an_id_of_a_platform_is_written_as_it_is() -> None:
    assert path_of("billing", "customers", "cus_Nf:1-a.b~c", "tax_ids") == "customers/cus_Nf:1-a.b~c/tax_ids"

"""An answer of a platform: what can be read of it is read, and what was not asked for is no answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from canonical.faults import Unavailable, UnknownOutcome
from policies.http.client import HttpResponse


class Page(msgspec.Struct):
    records: list[dict[str, Any]]


def answered(content: bytes, **headers: str) -> HttpResponse:
    return HttpResponse(200, {name.replace("_", "-").encode(): headers[name].encode() for name in headers}, content)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb'{"a": "half \ud83d", "b": 1}', {"a": "half \ufffd", "b": 1}),
        (rb'{"a": "\udc00 half"}', {"a": "\ufffd half"}),
        (rb'["no\u0000thing"]', ["no\ufffdthing"]),
        (b'["\xff"]', ["\ufffd"]),
        (rb'["\ud83d\ude00", "\\u0000"]', ["\U0001f600", "\\u0000"]),
        (b'{"a": 1e400, "b": 2}', {"a": float("inf"), "b": 2}),
    ],
)
def test_what_cannot_be_stored_in_one_record_keeps_no_other_from_being_read(sent: bytes, read: object) -> None:
    assert answered(sent).json("crm", safe=True) == read


@pytest.mark.parametrize("content", [b"", b"<html>We are back soon", b"{", b"[NaN]", b"[" * 100_000, rb'"\u0000'])
def test_what_is_no_json_is_no_answer(content: bytes) -> None:
    with pytest.raises(Unavailable, match="no JSON"):
        answered(content).json("crm", safe=True)
    with pytest.raises(UnknownOutcome):
        answered(content).json("crm", safe=False)


@pytest.mark.parametrize("content", [b"{}", b"[]", b"null", b'{"records": null}', b'{"records": ["a"]}', b'"fine"'])
def test_json_of_another_shape_is_no_answer(content: bytes) -> None:
    with pytest.raises(Unavailable, match="not what was asked for"):
        answered(content).json("crm", safe=True, shape=Page)
    with pytest.raises(UnknownOutcome):
        answered(content).json("crm", safe=False, shape=Page)


def test_json_of_the_shape_that_was_asked_for_is_the_answer() -> None:
    assert answered(b'{"records": [{"a": 1}], "more": 1}').json("crm", safe=True, shape=Page) == Page([{"a": 1}])


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("3600", 3600.0),
        ("Sun, 01 Mar 2026 12:00:09 GMT", 9.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("999999999", 86_400.0),
        ("Sun, 01 Mar 2099 12:00:00 GMT", 86_400.0),
        ("²", None),
        ("1e9", None),
        ("-1", None),
        ("inf", None),
        ("soon", None),
        ("Sun, 01 Mar 99999999999999999999 12:00:00 GMT", None),
        ("Sun, 01 Mar 2026 12:00:00 +99999999999999999999", None),
        ("", None),
    ],
)
def test_the_pause_that_is_asked_for_is_read_in_seconds_or_as_a_date(asked: str, seconds: float | None) -> None:
    assert answered(b"", retry_after=asked, date="Sun, 01 Mar 2026 12:00:00 GMT").retry_after == seconds

"""A body is passed on in bounded pieces of whole lines, each with the number of its first, however it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from experience_apis.usage_records import PIECE, Piece, pieces

LINE = st.sampled_from([b"", b"x", b"y" * 100, b"z" * (PIECE // 3), b"w" * (PIECE - 1), b"v" * (2 * PIECE)])


def cut(body: bytes, sizes: list[int]) -> list[Piece]:
    """Return the pieces of a body that comes in parts of these sizes, and a rest."""

    async def parts() -> AsyncIterator[bytes]:
        left = body
        for size in sizes:
            yield left[:size]
            left = left[size:]
        yield left

    async def all_pieces() -> list[Piece]:
        return [each async for each in pieces(parts())]

    return asyncio.run(all_pieces())


@given(st.lists(LINE, max_size=12), st.lists(st.integers(0, PIECE), max_size=8), st.sampled_from([b"", b"\n"]))
def test_every_line_is_passed_on_once_with_its_number_but_for_those_that_are_too_long(
    lines: list[bytes], sizes: list[int], end: bytes
) -> None:
    body = b"\n".join(lines) + end

    found = cut(body, sizes)

    numbered: dict[int, bytes] = {}
    for each in found:
        if each.lines is not None:
            assert len(each.lines) <= PIECE
            numbered |= dict(enumerate(each.lines.split(b"\n"), each.first))
    passed = {number: line for number, line in numbered.items() if line}
    assert passed == {number: line for number, line in enumerate(lines, 1) if 0 < len(line) < PIECE}
    left_out = [each.first for each in found if each.lines is None]
    assert left_out == [number for number, line in enumerate(lines, 1) if len(line) >= PIECE]


def test_a_body_without_anything_has_no_pieces() -> None:
    assert cut(b"", [0, 0]) == []


def test_a_line_without_an_end_is_never_held_as_a_whole() -> None:
    found = cut(b"x" * (5 * PIECE) + b"\ny", [1000] * (5 * PIECE // 1000))

    assert found == [Piece(1, None), Piece(2, b"y")]

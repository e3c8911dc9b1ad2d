"""Passes records of usage on while they come: in pieces of whole lines, so that no more than one piece is in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Request

from canonical.faults import PlatformFault, UnknownOutcome
from canonical.usage import UsageError, UsageReceipt
from experience_apis.process_client import Process
from policies.business.usage import MOST_LINES, NOT_LINES, TOO_LONG, USAGE_TOO_LONG
from policies.contract.bodies import parts_of_body
from policies.contract.operation import LINES
from policies.identity.authentication import Principal
from policies.problems import ProblemError

PIECE = 192 * 1024
"""Bytes that are passed on together: within what any call to a layer may have, and more than a thousand records."""
RECORDING = (USAGE_TOO_LONG, NOT_LINES)
"""The problems of a call that brings records."""
NOTHING = UsageReceipt(0, 0, 0)


class Piece(msgspec.Struct, frozen=True):
    """Whole lines, of which the first has the number `first`; none where that line is too long to be kept."""

    first: int
    lines: bytes | None

    @property
    def next(self) -> int:
        """Return the number of the line after it."""
        if self.lines is None:
            return self.first + 1
        return self.first + self.lines.count(b"\n") + (not self.lines.endswith(b"\n"))


async def take_records(request: Request[Any, Any, Any], process: Process, principal: Principal) -> UsageReceipt:
    """Let the process layer take what a request brings, and return what became of it.

    Raises `ProblemError` for a body of another type (415) and for more than `MOST_LINES` (413), of which those before
    were taken. When the process layer refuses the first piece, nothing was done and its answer is raised; after that an
    outage is an `UnknownOutcome`.
    """
    if not request.headers.get("content-type", "").lower().startswith(LINES):
        raise ProblemError(NOT_LINES, f"The body is to be {LINES}.")
    receipt = NOTHING
    async for piece in pieces(parts_of_body(request.receive)):
        left = MOST_LINES - piece.first + 1
        if left > 0:
            receipt = receipt.plus(await _passed(process, principal, _first(piece, left)))
        if piece.next > MOST_LINES + 1:
            said = f"taken {receipt.taken:,}, repeated {receipt.repeated:,}, refused {receipt.refused:,}"
            raise ProblemError(USAGE_TOO_LONG, f"Of the first {MOST_LINES:,} lines: {said}. Those after were not read.")
    return receipt


async def _passed(process: Process, principal: Principal, piece: Piece) -> UsageReceipt:
    if piece.lines is None:
        return UsageReceipt(0, 0, 1, (UsageError(piece.first, "$", TOO_LONG),))
    try:
        return await process.write(principal, f"usage?first_line={piece.first}", piece.lines, UsageReceipt)
    except PlatformFault as fault:
        if piece.first == 1:
            raise
        reason = f"{fault.reason}; the lines before {piece.first} were taken: send all again, which doubles nothing"
        raise UnknownOutcome(fault.platform, reason, retry_after=fault.retry_after) from fault


def _first(piece: Piece, left: int) -> Piece:
    """Return as many of the lines as may still be taken."""
    if piece.lines is None or piece.next - piece.first <= left:
        return piece
    return Piece(piece.first, b"\n".join(piece.lines.split(b"\n", left)[:left]))


async def pieces(parts: AsyncIterator[bytes]) -> AsyncIterator[Piece]:
    """Yield a body that comes in parts as pieces of whole lines, of `PIECE` bytes at the most. A longer line is left
    out while it comes."""
    held, first, skipping = bytearray(), 1, False
    async for part in parts:
        if skipping:
            _, ends, part = part.partition(b"\n")  # noqa: PLW2901 - the rest of it is what there is
            if not ends:
                continue
            skipping = False
        held += part
        while len(held) >= PIECE:
            cut = held.rfind(b"\n", 0, PIECE) + 1
            if cut:
                piece = Piece(first, bytes(held[:cut]))
            else:
                piece, cut = Piece(first, None), held.find(b"\n", PIECE) + 1
                skipping, cut = not cut, cut or len(held)
            del held[:cut]
            yield piece
            first = piece.next
    if held:
        yield Piece(first, bytes(held))

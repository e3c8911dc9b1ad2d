"""What is refused, at whatever place: each refusal is counted by its type of problem, and leaves a line in the log.

A problem tells the caller to quote its correlation id, so the id is in the log. Who sends much fills no disk: of each
kind the first few in a minute are logged, then their number.
"""

from __future__ import annotations

import msgspec
import structlog

from canonical.ids import Clock
from policies.audit.samples import Samples
from policies.observe.metrics import Metrics
from policies.policy import Call
from policies.problems import TYPES, name_in

log = structlog.get_logger("tiergate.refusals")


class _TypeOfProblem(msgspec.Struct):
    """The member of a problem that says what kind it is."""

    type: str = ""


class Refusals:
    """The refusals of one layer, on its event loop."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._samples: Samples[tuple[str, str, int]] = Samples()

    def note(self, call: Call, problem: str, status: int) -> None:
        """Take note of the refusal of a call, once: several see it on its way out."""
        if not call.is_refused:
            call.is_refused = True
            self._note(call.rules.operation_id, call.client_name, problem, status, call.correlation_id)

    def note_passed(self, call: Call, status: int, body: bytes) -> None:
        """Take note of the refusal of a call whose problem was made by the next layer, or by the route."""
        if not call.is_refused:
            self.note(call, named_in(body), status)

    def note_unrouted(self, problem: str, status: int, correlation_id: str) -> None:
        """Take note of a request that was refused before it was known what it asks for. It is counted here too."""
        self._metrics.count("", "", status)
        self._note("", "", problem, status, correlation_id)

    def _note(self, operation_id: str, client: str, problem: str, status: int, correlation_id: str) -> None:
        known = problem if problem in TYPES else ""
        self._metrics.refused(operation_id, client, known)
        now = self._clock()
        for (operation, name, code), times in self._samples.ended(now):
            log.warning("refused", operation=operation, problem=name, status=code, times=times)
        if self._samples.take((operation_id, known, status), now):
            about = {"operation": operation_id, "client": client, "problem": known, "status": status}
            log.warning("refused", **about, correlation_id=correlation_id)


def named_in(body: bytes) -> str:
    """Return the name of the type of problem that a body states; empty when it states none."""
    try:
        return name_in(msgspec.json.decode(body, type=_TypeOfProblem).type)
    except msgspec.DecodeError:
        return ""

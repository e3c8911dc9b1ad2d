"""Business reasons to stop an order, or what is asked for beside orders, and the cases that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from canonical.cases import Action, CaseKind, Finding
from canonical.orders import Order, OrderLine
from process_apis.runtime.context import WorkflowContext


class Stopped(Exception):
    """What is asked for is held: `kind` and `actions` are those of its cases, one for each finding."""

    def __init__(self, kind: CaseKind, findings: list[Finding], actions: tuple[Action, ...]) -> None:
        super().__init__(kind)
        self.kind: CaseKind = kind
        self.findings = findings
        self.actions = actions


class Held(Exception):
    """A business reason to stop. `findings` say what is wrong and whose it is; `line` is the id of the only line
    concerned; `given` is what the case of each finding is given, by the finding's field."""

    def __init__(
        self,
        kind: CaseKind,
        findings: list[Finding],
        actions: tuple[Action, ...],
        line: str = "",
        given: Mapping[str, dict[str, str]] | None = None,
    ) -> None:
        super().__init__(kind)
        self.kind: CaseKind = kind
        self.findings = findings
        self.actions = actions
        self.line = line
        self.given = given or {}


def open_cases(context: WorkflowContext, order: Order, held: Held) -> None:
    """Open a case for each finding."""
    given = {"deal": order.deal_id, "state": order.state} | ({"line": held.line} if held.line else {})
    for finding in held.findings:
        context.cases.open(
            held.kind,
            order.id,
            finding,
            held.actions,
            correlation_id=order.correlation_id,
            legal_entity=order.legal_entity,
            customer_id=order.customer_id,
            given=given | held.given.get(finding.field, {}),
        )


def line_field(lines: Sequence[OrderLine], line_id: str) -> str:
    """Return how a case names one of an order's lines, as `lines[0].SEAT`: two of the same product differ."""
    return next(f"lines[{place}].{each.line.sku}" for place, each in enumerate(lines) if each.line.id == line_id)

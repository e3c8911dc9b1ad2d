"""The page Cases: the inbox of each team, and what can be done about each."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlencode

import msgspec
from litestar import Response
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter
from litestar.response import Redirect

from canonical.cases import (
    Approval,
    Assignment,
    Case,
    CaseAction,
    CaseOrder,
    CaseOutcome,
    CaseOutcomes,
    CasesAction,
    CasesOf,
    CaseState,
    NewNote,
    Team,
)
from canonical.orders import Page
from experience_apis.console.channel import Trouble, path_to
from experience_apis.console.pages import HEADERS, ROOT, View
from policies.contract.operation import operation
from policies.contract.parameters import CANONICAL

CaseId = Annotated[str, PathParameter(pattern=rf"^{CANONICAL}\Z", description="The id of a case")]
OfTeam = Annotated[Team | None, QueryParameter(name="team")]
InState = Annotated[CaseState | None, QueryParameter(name="state")]
InOrder = Annotated[CaseOrder | None, QueryParameter(name="order")]
Whose = Annotated[CasesOf | None, QueryParameter(name="whose")]
OfKind = Annotated[str, QueryParameter(name="kind", pattern=r"^[a-z_]{0,40}\Z")]
Next = Annotated[str, QueryParameter(name="cursor", pattern=r"^[0-9]{0,18}\Z", description="Where the page begins")]
MEANS = {
    "retry": "What failed is tried again, at once. What is there already is found, and not made a second time.",
    "skip": "It is left to you: nothing more is tried, and your reason stays with it.",
    "compensate": "What was created for it is taken back, in every system, and the order ends as cancelled.",
    "approve": "It goes on as it was asked for.",
    "reject": "It does not go on, and who asked for it reads your reason.",
}
"""What becomes of a case after each action."""
SEVERAL: tuple[Literal["retry", "skip", "compensate"], ...] = ("retry", "skip", "compensate")
"""What can be done about several cases at once. Approvals are given one by one."""


class _Wanted(msgspec.Struct, frozen=True):
    """Which cases a page shows."""

    team: Team
    state: CaseState
    order: CaseOrder | None
    whose: CasesOf | None
    kind: str

    @property
    def shown_order(self) -> CaseOrder:
        """Return the order: what is due first, and of what is over the newest first, if nobody chose another."""
        return self.order or ("due" if self.state == "open" else "newest")

    def to(self, **changed: str) -> str:
        """Return the address of the page with something changed."""
        values = {name: getattr(self, name) for name in self.__struct_fields__} | changed
        return f"{ROOT}/cases?{urlencode({name: value for name, value in values.items() if value})}"


@operation("console_cases", "GET", "/cases", summary="Show the cases of a team")
async def cases_page(
    view: NamedDependency[View],
    of_team: OfTeam = None,
    in_state: InState = None,
    in_order: InOrder = None,
    whose: Whose = None,
    kind: OfKind = "",
    cursor: Next = "",
) -> Response[str]:
    """Show a team's cases, one's own if none is named: the open ones that are due first at the top."""
    wanted = _Wanted(of_team or view.role.team, in_state or "open", in_order, whose, kind)
    return await _cases(view, wanted, cursor, ())


@operation("console_act_on_cases", "POST", "/cases", summary="Act on several cases", status=200)
async def act_on_several(
    view: NamedDependency[View],
    form: NamedDependency[dict[str, str]],
    of_team: OfTeam = None,
    whose: Whose = None,
    in_order: InOrder = None,
    kind: OfKind = "",
) -> Response[str]:
    """Do the same about all cases that were chosen, and say of each that did not allow it why."""
    wanted = _Wanted(of_team or view.role.team, "open", in_order, whose, kind)
    ids = tuple(name for name in form if name.startswith("cas_"))
    action = form.get("action", "")
    if not ids or action not in SEVERAL:
        trouble = Trouble(422, "about:blank", view.language.text("Choose cases, and what to do about them."))
        return await _cases(view, wanted, "", (), trouble)
    body = CasesAction(ids, action, form.get("reason", ""))
    done = await view.channel.post("/support/v1/cases/actions", body, CaseOutcomes)
    if isinstance(done, Trouble):
        return await _cases(view, wanted, "", (), done)
    return await _cases(view, wanted, "", done.items)


async def _cases(
    view: View, wanted: _Wanted, cursor: str, outcomes: tuple[CaseOutcome, ...], refused: Trouble | None = None
) -> Response[str]:
    found = await view.channel.get(
        "/support/v1/cases",
        Page[Case],
        state=wanted.state,
        team=wanted.team,
        order=wanted.shown_order,
        assigned_to=wanted.whose,
        kind=wanted.kind,
        cursor=cursor,
    )
    trouble = found if isinstance(found, Trouble) else None
    items: tuple[Case, ...] = () if isinstance(found, Trouble) else found.items
    following = None if isinstance(found, Trouble) else found.next_cursor
    allowed = [each for each in SEVERAL if any(each in case.actions for case in items)]
    return view.page(
        "cases",
        status=refused.status if refused else 200,
        wanted=wanted,
        items=items,
        following=following,
        trouble=trouble,
        refused=refused,
        outcomes=outcomes,
        allowed=allowed if wanted.state == "open" and view.may("support_act_on_cases") else [],
        means=MEANS,
    )


@operation("console_case", "GET", "/cases/{case_id:str}", summary="Show a case")
async def case_page(view: NamedDependency[View], case_id: CaseId) -> Response[str]:
    """Show what happened, to whom, and what each action will do."""
    return await _case(view, case_id, None)


@operation("console_act", "POST", "/cases/{case_id:str}", summary="Act on a case", status=303)
async def act(
    view: NamedDependency[View], case_id: CaseId, form: NamedDependency[dict[str, str]]
) -> Response[str] | Redirect:
    """Do what was chosen. A refusal is shown beside the case, with what to do."""
    chosen, reason = form.get("action", ""), form.get("reason", "")
    match chosen:
        case "take" | "leave":
            path = path_to("support", "v1", "cases", case_id, "assignment")
            mine = view.signed_in.principal.subject if chosen == "take" else ""
            done = await view.channel.put(path, Assignment(mine), Case)
        case "note":
            path = path_to("support", "v1", "cases", case_id, "notes")
            done = await view.channel.post(path, NewNote(form.get("text", "")), Case)
        case "approve" | "reject":
            path = path_to("finance", "v1", "cases", case_id, "approval")
            done = await view.channel.post(path, Approval(chosen, reason), Case)
        case "retry" | "skip" | "compensate":
            path = path_to("support", "v1", "cases", case_id, "actions")
            done = await view.channel.post(path, CaseAction(chosen, reason), Case)
        case _:
            done = Trouble(422, "about:blank", view.language.text("There is no such action."))
    if isinstance(done, Trouble):
        return await _case(view, case_id, done)
    return Redirect(f"{ROOT}/cases/{case_id}", status_code=303, headers=HEADERS)


async def _case(view: View, case_id: str, refused: Trouble | None) -> Response[str]:
    case = await view.channel.get(path_to("support", "v1", "cases", case_id), Case)
    if isinstance(case, Trouble):
        return view.page("trouble", status=case.status, trouble=case)
    mine = view.signed_in.principal.subject
    return view.page(
        "case", status=refused.status if refused else 200, case=case, refused=refused, means=MEANS, mine=mine
    )

"""The page Cases: the inbox of each team, and what can be done about each."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter
from litestar.response import Redirect

from canonical.cases import Approval, Case, CaseAction, CaseState, Team
from canonical.orders import Page
from experience_apis.console.channel import Trouble, path_to
from experience_apis.console.pages import HEADERS, ROOT, View
from policies.contract.operation import operation
from policies.contract.parameters import CANONICAL

CaseId = Annotated[str, PathParameter(pattern=rf"^{CANONICAL}\Z", description="The id of a case")]
OfTeam = Annotated[Team | None, QueryParameter(name="team")]
InState = Annotated[CaseState | None, QueryParameter(name="state")]
Next = Annotated[str, QueryParameter(name="cursor", pattern=r"^[0-9]{0,18}\Z", description="Where the page begins")]
MEANS = {
    "retry": "What failed is tried again, at once. What is there already is found, and not made a second time.",
    "skip": "It is left to you: nothing more is tried, and your reason stays with it.",
    "compensate": "What was created for it is taken back, in every system, and the order ends as cancelled.",
    "approve": "It goes on as it was asked for.",
    "reject": "It does not go on, and who asked for it reads your reason.",
}
"""What becomes of a case after each action."""


@operation("console_cases", "GET", "/cases", summary="Show the cases of a team")
async def cases_page(
    view: NamedDependency[View], of_team: OfTeam = None, in_state: InState = None, cursor: Next = ""
) -> Response[str]:
    """Show a team's cases, one's own if none is named."""
    team, state = of_team or view.role.team, in_state or "open"
    found = await view.channel.get("/support/v1/cases", Page[Case], state=state, team=team, cursor=cursor)
    trouble = found if isinstance(found, Trouble) else None
    items = found.items if isinstance(found, Page) else ()
    following = found.next_cursor if isinstance(found, Page) else None
    return view.page("cases", team=team, state=state, items=items, following=following, trouble=trouble)


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
    return view.page("case", status=refused.status if refused else 200, case=case, refused=refused, means=MEANS)

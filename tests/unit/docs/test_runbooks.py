"""There is a runbook for all that asks for a person, and for nothing else."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import get_args

import msgspec
import pytest

import experience_apis
import policies
import process_apis
from canonical.cases import Action, Approval, CaseAction, CaseKind
from experience_apis.portal import pages
from policies.business.case_routing import CASE_ROUTING
from policies.catalogue.check import load
from policies.catalogue.model import SHIPPED
from policies.catalogue.sections import sections
from policies.chain.readiness import UNKNOWN
from policies.problems import TYPES
from tiergate.doctor import RUNBOOK, Trouble, Word

LAYERS = (policies, process_apis, experience_apis)
ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs/runbooks"
CASES = ("amendments.md", "catalogue.md", "deals.md", "deliveries.md", "money.md", "platforms.md")
KINDS: tuple[CaseKind, ...] = get_args(CaseKind)
ACTIONS: tuple[Action, ...] = get_args(Action)
PARTS = ("You see", "It means", "Do:", "It is over", "Do not")
HEADING = re.compile(r"^#{1,3} (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#:]*)#([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
sections()  # it loads all policies, and with them their problems


def headed(page: str, level: str) -> dict[str, str]:
    """Return the text below each heading of a level, by the heading."""
    parts = re.split(rf"^{level} (.+)$", (FOLDER / page).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def of_cases() -> dict[str, str]:
    found = [each for page in CASES for each in headed(page, "##").items()]
    assert len(dict(found)) == len(found)
    return dict(found)


def anchor_of(heading: str) -> str:
    """Return the anchor that GitHub and the site give a heading."""
    return re.sub(r"[^\w\s-]", "", heading).lower().replace(" ", "-")


def strings(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


@cache
def allowed_actions() -> dict[str, set[str]]:
    """Return the actions that the process layer gives each kind of case, by its calls that name some.

    A call that names no kind is of those that its module names.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "process_apis").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for function in (each for each in ast.walk(tree) if isinstance(each, FUNCTION)):
            given = {
                each.target.id: strings(each.value) & set(ACTIONS)
                for each in ast.walk(function)
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value
            }
            for call in (each for each in ast.walk(function) if isinstance(each, ast.Call)):
                named = {str(each.value) for each in call.args if isinstance(each, ast.Constant)}
                actions = {each for of in call.args if isinstance(of, ast.Tuple) for each in strings(of) & set(ACTIONS)}
                actions |= {each for of in call.args if isinstance(of, ast.Name) for each in given.get(of.id, ())}
                if actions:
                    for kind in named & set(KINDS) or strings(tree) & set(KINDS):
                        found[kind] |= actions
    return dict(found)


def words_of_readiness() -> Iterator[str]:
    """Yield what the layers say of themselves: what they assign in `ready` and return from `readiness`."""
    yield from UNKNOWN
    for path in ("policies/chain/gate.py", "process_apis/app.py", "experience_apis/app.py"):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, FUNCTION) and node.name in ("ready", "readiness"):
                for each in ast.walk(node):
                    if isinstance(each, ast.Dict) and len(each.keys) != 1:
                        yield from (str(key.value) for key in each.keys if isinstance(key, ast.Constant))
                    if isinstance(each, ast.BinOp) and isinstance(each.right, ast.Dict):
                        yield from (str(key.value) for key in each.right.keys if isinstance(key, ast.Constant))
                    if isinstance(each, ast.Subscript) and getattr(each.value, "id", "") == "said":
                        yield from strings(each.slice)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Checks":
                keys = [key for of in node.args if isinstance(of, ast.Dict) for key in of.keys if key]
                yield from (name for key in keys for name in strings(key))


def test_there_is_a_heading_for_each_kind_of_case_and_for_no_other() -> None:
    assert sorted(of_cases()) == sorted(KINDS)


def test_there_is_a_heading_for_each_type_of_problem_and_for_no_other() -> None:
    for package in LAYERS:  # a type is known once its module is there
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations." not in module.name:
                import_module(module.name)
    assert sorted(headed("problems.md", "###")) == sorted(TYPES)


def test_there_is_a_heading_for_each_word_of_readiness_and_each_finding_of_the_doctor() -> None:
    assert sorted(headed("health.md", "###")) == sorted({*get_args(Word), *get_args(Trouble)})
    assert (ROOT / RUNBOOK) == FOLDER / "health.md"


def test_the_doctor_knows_each_word_of_readiness() -> None:
    assert {*words_of_readiness(), "platform", "changes"} == set(get_args(Word))


@pytest.mark.parametrize("kind", KINDS)
def test_a_case_says_whose_it_is_what_can_be_done_and_when_it_is_over(kind: CaseKind) -> None:
    text = of_cases()[kind]
    first = text.strip().splitlines()[0]
    route = CASE_ROUTING.of(load(SHIPPED))[kind]
    teams = {route.team, *route.fields.values(), *route.platforms.values()}

    assert first.startswith(f"Team: **{route.team}**")
    assert set(re.findall(r"\*\*(\w+)\*\*", first)) == teams
    assert [each for each in PARTS if f"**{each}" not in text] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_actions_of_a_case_are_those_that_the_code_allows(kind: CaseKind) -> None:
    text = FENCE.sub("", of_cases()[kind])
    if "It allows no action" in text.partition("\n\n**")[0]:
        assert kind not in allowed_actions()
        return
    allowed = allowed_actions()[kind]
    listed = re.search(r"Actions: ((?:`\w+`(?:, )?)+)", text)

    assert listed
    assert set(re.findall(r"`(\w+)`", listed[1])) == allowed
    assert set(re.findall(r"`(\w+)`", text)) & set(ACTIONS) == allowed


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_problem_has_its_status_and_steps_and_its_page_leads_here(name: str) -> None:
    text = headed("problems.md", "###")[name].strip()

    assert text.startswith(f"**{TYPES[name].status}")
    assert "\n1. " in text
    assert f"docs/runbooks/problems.md#{name}" in (pages.problem(name) or "")


def test_every_link_to_a_heading_leads_to_one() -> None:
    broken: list[str] = []
    for page in FOLDER.glob("*.md"):
        for path, anchor in LINK.findall(page.read_text()):
            target = page.parent / path if path else page
            if anchor not in map(anchor_of, HEADING.findall(target.read_text())):
                broken.append(f"{page.name}: {path}#{anchor}")

    assert broken == []


def test_the_index_names_every_kind_of_case_and_every_page() -> None:
    index = (FOLDER / "README.md").read_text()

    assert [kind for kind in KINDS if f"`{kind}`" not in index] == []
    assert [
        page.name for page in FOLDER.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index
    ] == []


def test_the_calls_about_cases_have_bodies_that_the_api_takes() -> None:
    text = "".join(page.read_text() for page in FOLDER.glob("*.md"))
    calls = re.findall(r"/cases/\$CASE/(\w+)\" .*?--json '(.*?)'", text, re.DOTALL)
    kinds = {"actions": CaseAction, "approval": Approval}

    taken = {type(msgspec.json.decode(body, type=kinds[route])) for route, body in calls}

    assert taken == {CaseAction, Approval}

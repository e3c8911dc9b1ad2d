"""What the documentation names is there: files, commands, terms, decisions."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest
from click import Command, Group

from canonical.cases import Approval, CaseAction
from tiergate.cli.main import cli

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in [
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/guides/*.md"),
        *ROOT.glob("docs/runbooks/*.md"),
        *ROOT.glob("docs/decisions/*.md"),
        *ROOT.glob("*.md"),
    ]
)
GUIDING = [
    *[page for page in PAGES if page.startswith(("docs/guides/", "docs/runbooks/"))],
    *("docs/architecture.md", "docs/glossary.md", "README.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md"),
]
CODE = re.compile(r"`([^`\s]+)`")
LINK = re.compile(r"\]\(([^)\s#:]+)[^)\s:]*\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
OPENING = re.compile(r"""```(\w+( title=("|').+\3)?)?""")
"""How a fence begins that the site's Markdown takes for one."""
PYTHON = re.compile(r"^ *```python.*?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
ADDED = re.compile(r"^\+\+\+ \S+\.py\n@@ -0,0 .*\n((?:\+.*\n)+)", re.MULTILINE)
"""A module that a diff adds."""
FENCES = runpy.run_path(str(ROOT / "docs/tooling/fences.py"))
SOURCE = (
    "canonical",
    "policies",
    "system_apis",
    "process_apis",
    "experience_apis",
    "sandbox",
    "tiergate",
    "tests",
    "docs",
    "bench",
    "deploy",
    "requirements",
)
WIDEST = 84
"""Characters of a line of code that is shown whole."""
MADE = ("bench/out/", "site/")
"""What is there once it was made."""
COMMAND = re.compile(r"`(?:\.venv/bin/)?tiergate ([a-z][^`]*)`")
TARGET = re.compile(r"`make ([a-z-]+)[^`]*`")
TERM = re.compile(r"^\| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \|$", re.MULTILINE)


def prose(page: str) -> str:
    """Return a page without its fenced code, in which new files are shown."""
    return FENCE.sub("", (ROOT / page).read_text())


def named_paths(page: str) -> list[str]:
    """Return what a page calls a file or folder of the repository: no pattern and no example such as `<domain>`."""
    found = [each for each in CODE.findall(prose(page)) if not re.search(r"[<>*{}]", each)]
    return [each for each in found if each.split("/")[0] in SOURCE and "/" in each]


def named_modules(page: str) -> list[str]:
    """Return the modules that a page names without their folder."""
    return [each for each in CODE.findall(prose(page)) if re.fullmatch(r"\w+\.py", each)]


@pytest.mark.parametrize("page", GUIDING)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    missing = [each for each in named_paths(page) if each not in MADE and not (ROOT / each).exists()]
    missing += [each for each in named_modules(page) if not any(any((ROOT / room).rglob(each)) for room in SOURCE)]

    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file(page: str) -> None:
    missing = [each for each in LINK.findall(prose(page)) if not (ROOT / page).parent.joinpath(each).exists()]

    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_is_one(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    unknown = [each for each in TARGET.findall(prose(page)) if not re.search(rf"^{each}:", makefile, re.MULTILINE)]
    unknown += [each for each in COMMAND.findall(prose(page)) if not is_command(each.split())]

    assert unknown == []


def test_the_calls_about_cases_have_bodies_that_the_api_takes() -> None:
    calls = re.findall(
        r"/cases/\$CASE/(\w+)\" .*?--json '(.*?)'", (ROOT / "docs/guides/operating.md").read_text(), re.DOTALL
    )
    kinds = {"actions": CaseAction, "approval": Approval}

    taken = [msgspec.json.decode(body, type=kinds[route]) for route, body in calls]

    assert [getattr(each, "action", "approval") for each in taken] == ["retry", "skip", "approval"]


def test_no_line_of_code_in_the_readme_is_cut_off() -> None:
    lines = [line for fence in FENCE.findall((ROOT / "README.md").read_text()) for line in fence.splitlines()]

    assert [line for line in lines if len(line) > WIDEST] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_fence_of_a_page_is_code_on_the_site(page: str) -> None:
    lines = FENCES["titled"]((ROOT / page).read_text()).splitlines()

    assert [each for each in lines if each.startswith("```") and not OPENING.fullmatch(each)] == []


@pytest.mark.parametrize("page", GUIDING)
def test_every_example_is_as_the_formatter_leaves_it(page: str) -> None:
    text = (ROOT / page).read_text()
    added = ("".join(each[1:] for each in file.splitlines(keepends=True)) for file in ADDED.findall(text))

    for example in (*(textwrap.dedent(each) for each in PYTHON.findall(text)), *added):
        command = [
            str(Path(sys.executable).with_name("ruff")),
            "format",
            "--diff",
            "--stdin-filename",
            "example.py",
            "-",
        ]
        done = subprocess.run(command, input=example, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_name_of_a_file_becomes_the_title_of_its_code() -> None:
    assert FENCES["titled"]('```text a.py below "x": {') == """```text title='a.py below "x": {'"""
    assert FENCES["titled"]("```toml\na = 1\n```") == "```toml\na = 1\n```"


def test_a_fence_that_a_page_shows_as_text_is_found() -> None:
    assert FENCES["has_literal_fence"]("<p>```python a.py</p>")
    assert not FENCES["has_literal_fence"]("<p><code>```</code></p><pre>```</pre>")


def is_command(words: list[str]) -> bool:
    found: Command = cli
    for word in words:
        if not isinstance(found, Group):
            return True  # what follows are its arguments
        if word.startswith("-"):
            return False
        alternatives = [found.commands.get(each) for each in word.split("|")]
        if None in alternatives:
            return False
        found = found.commands[word.split("|")[0]]
    return True


def test_the_glossary_says_where_every_term_lives() -> None:
    terms = [row for row in TERM.findall((ROOT / "docs/glossary.md").read_text()) if row[0] not in ("term", "---")]

    assert len(terms) > 50
    assert len({name for name, _, _ in terms}) == len(terms)
    for name, meaning, where in terms:
        assert meaning.endswith("."), name
        assert CODE.findall(where), name
        assert all((ROOT / each).exists() for each in CODE.findall(where)), name


def test_the_index_of_decisions_has_the_number_the_title_and_the_status_of_each() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text().splitlines()
    rows = [each for each in index if each.startswith("| [")]

    assert rows == [row_of(path) for path in sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))]


def row_of(path: Path) -> str:
    """Return the row of a decision in the index: its status is what stands between its title and its context."""
    heading, status, *_ = path.read_text().split("\n\n")
    number, _, name = heading.splitlines()[0].removeprefix("# ").partition(". ")
    words = "" if "\n" in heading or status.startswith(("#", "**")) else " ".join(status.split())
    return f"| [{number}]({path.name}) | {name} | {words or 'Accepted.'} |"

"""Holds the code to the field's own words: no private dialect, one word for one thing, docstrings with a verb first.

    python -m tests.support.words

prints each violation as `file:line: what`, and exits with 1 when there is one. docs/glossary.md has the words.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

BANNED = {
    r"anew": "again",
    r"whoever": "the caller",
    r"nobody's": "unowned",
    r"over there": "remote",
    r"mend(s|ed|ing)?": "fix",
    r"told": "reported",
    r"looked at": "checked, or attempted",
    r"a word on the way": "a 1xx response",
    r"living": "live",
    r"patience": "retry policy",
    r"namesakes?": "potential duplicates",
    r"overlooked": "stalled",
}
"""A word of a private dialect, to the field's own."""
DIALECT = re.compile(rf"\b({'|'.join(BANNED)})\b", re.IGNORECASE)
OF_A_CRM = re.compile(
    r"\b(Opportunity|OpportunityLineItems?|Pricebook\w*|SOQL|Salesforce|StageName|SystemModstamp|BillingCountryCode)\b|\w__c\b"
)
KNOWS_A_CRM = ("system_apis/crm/salesforce/", "sandbox/", "tiergate/dev/", "tests/", "bench/", "docs/")
WIRE_NAMES = {"namesakes", "waits_for"}
"""Names that published contracts have, in a string of their own."""
MOST_OF_A_NAME = 2
NOT_A_VERB = re.compile(
    r"A|All|An|And|Another|Any|As|At|Before|Both|By|Each|Either|Every|Everything|For|From|"
    r"How|If|In|Is|It|Its|Neither|No|Nobody|None|Not|Nothing|Of|On|Once|One|Only|Our|"
    r"Several|So|Some|The|Their|These|This|Those|Until|What|When|Where|Whether|Which|Who|"
    r"Whole|Whose|With|Without|Gives|Raises|Takes|Finds|Creates|Adds|Shows|Begins|Ends"
)
"""How a docstring of a function does not begin. Verbs are in the imperative."""
LEFT_ALONE = ("/migrations/versions/", "tests/data/")
SUPPRESSIONS = re.compile(r"#\s*fmt:\s*(skip|off)")


def violations(paths: list[str]) -> Iterator[str]:
    """Return what is wrong in the Python files given, as `file:line: what`."""
    classes: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        if any(each in path for each in LEFT_ALONE) or path == "tests/support/words.py":
            continue
        text = Path(path).read_text()
        yield from _of_words(path, text)
        tree = ast.parse(text)
        yield from _of_docstrings(path, tree)
        if not path.startswith("tests/"):
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and node.name != "Settings":
                    classes[node.name].append(f"{path}:{node.lineno}")
    for name, places in sorted(classes.items()):
        if len(places) > MOST_OF_A_NAME:
            yield f"{places[-1]}: {len(places)} classes are called {name}: give each the name of its own thing"


def _of_words(path: str, text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        said = token.string
        if token.type == tokenize.COMMENT and SUPPRESSIONS.search(said):
            yield f"{path}:{token.start[0]}: the formatter is switched off: give the line another shape"
        if token.type not in (tokenize.NAME, tokenize.COMMENT, tokenize.STRING):
            continue
        if said.strip("\"'") in WIRE_NAMES or (token.type == tokenize.NAME and said.startswith("test_")):
            continue
        for found in DIALECT.finditer(said.replace("_", " ") if token.type == tokenize.NAME else said):
            word = found[0].lower()
            remedy = next(instead for banned, instead in BANNED.items() if re.fullmatch(banned, word))
            line = token.start[0] + said[: found.start()].count("\n")
            yield f"{path}:{line}: {found[0]!r} is a word of our own: say {remedy!r}"
        if not path.startswith(KNOWS_A_CRM) and (found_name := OF_A_CRM.search(said)):
            line = token.start[0] + said[: found_name.start()].count("\n")
            yield f"{path}:{line}: {found_name[0]!r} is a word of one CRM: name the canonical field or the port"


def _of_docstrings(path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith(("test_", "__init__")):
            continue
        if any(
            getattr(each, "id", "") == "fixture" or getattr(each, "attr", "") == "fixture"
            for each in node.decorator_list
        ):
            continue
        words = (ast.get_docstring(node) or "").split()
        if words and (NOT_A_VERB.fullmatch(words[0].strip("`,:")) or not words[0][0].isupper()):
            yield f"{path}:{node.lineno}: the docstring of {node.name} begins with {words[0]!r}: begin with a verb"


def main() -> None:
    """Check every Python file that git tracks."""
    paths = subprocess.check_output(["git", "ls-files", "*.py"], text=True).split()
    found = list(violations([each for each in paths if Path(each).exists()]))
    for each in found:
        sys.stdout.write(f"{each}\n")
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

"""Major versions and their lives: what a deprecated one says of itself, and how one that has ended answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from email.utils import format_datetime

from policies.catalogue.explain import Outcome, Question
from policies.catalogue.model import Version
from policies.contract.deprecation_usage import DeprecationUsage
from policies.policy import Call, Headers, Policy, Rules
from policies.problems import MISSING, ProblemError, problem_type

ENDED = problem_type(
    "version-ended",
    410,
    "This version has ended",
    "Move to the version that the detail names; where the API is retired, read the page that it names.",
    "The major version that the path names has reached its sunset.",
)


def named_in(path: str) -> str:
    """Return the version that a path names: `/<api>/<version>/…`; nothing in a path that belongs to no API."""
    return path.split("/", 3)[2] if path.count("/") > 1 else ""


def check(api: str, version: str, life: Version, today: date, *, portal: bool) -> Headers:
    """Return the headers that a call of this version is answered with (RFC 9745, RFC 8594, RFC 8288). With a `portal`
    they name the reference of the successor. The guide is linked, as what explains the sunset too where nothing comes
    after the version.

    Raises `ProblemError`: 410 from the day of the sunset on, 404 for a version that is still a draft.
    """
    if life.state == "draft":
        raise ProblemError(MISSING, f"There is no version {version} of this API.")
    if _ended(life, today):
        raise ProblemError(ENDED, f"{version} of this API ended on {life.sunset_on}; {life.way_on}.")
    if life.deprecated_on is None:
        return []
    headers: Headers = [(b"deprecation", f"@{int(_midnight(life.deprecated_on).timestamp())}".encode())]
    if life.sunset_on:
        headers.append((b"sunset", format_datetime(_midnight(life.sunset_on), usegmt=True).encode()))
    links: list[str] = []
    if portal and life.successor:
        links.append(f'</docs/reference/{api}.{life.successor}>; rel="successor-version"; type="text/html"')
    if life.guide:
        relation = "deprecation" if life.successor else "deprecation sunset"
        links.append(f'<{life.guide}>; rel="{relation}"; type="text/html"')
    if links:
        headers.append((b"link", ", ".join(links).encode()))
    return headers


def _ended(life: Version, today: date) -> bool:
    return life.sunset_on is not None and life.sunset_on <= today


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


class Versions(Policy):
    """A call names a major version that is served, and hears of its life."""

    def __init__(self, rules: Rules) -> None:
        self._api = rules.api_name
        self._portal = rules.layer == "experience"
        self._lives = rules.api.versions if rules.api else {}
        self._checked: dict[str, tuple[date, Headers]] = {}
        """What answers of a version say on a day for which it is known to be served."""

    @staticmethod
    def applies(rules: Rules) -> bool:
        lives = rules.api.versions.values() if rules.api else ()
        return any(life.state != "active" for life in lives)  # of an active version there is nothing to say

    def enter(self, call: Call) -> None:
        today, version = call.now.date(), call.version
        known = self._checked.get(version)
        if known is None or known[0] != today:
            life = self._lives[version]
            known = self._checked[version] = today, check(self._api, version, life, today, portal=self._portal)
        call.marks += known[1]

    @classmethod
    def explain(cls, question: Question) -> Iterator[Outcome]:
        name, versions = question.api_name, question.api.versions if question.api else {}
        refusals = {version: _refusal(life, question.today) for version, life in versions.items()}
        served = not all(refusals.values())  # of several versions a caller takes one that is served
        for version, life in versions.items():
            then = f"its successor is {life.successor}" if life.successor else life.way_on
            ends = f" and ends on {life.sunset_on}; {then}" if life.sunset_on else ""
            outcome = f"{name} {version} {refusals[version] or f'is {life.state}{ends}'}"
            yield Outcome(served, "version", outcome, ("apis", name, "versions", version))


def _refusal(life: Version, today: date) -> str:
    """Return why calls of a version are refused; nothing when it is served."""
    if life.state == "draft":
        return "is a draft: 404"
    return f"ended on {life.sunset_on}: 410, {life.way_on}" if _ended(life, today) else ""


class CountedDeprecations(Policy):
    """Who calls a deprecated version is counted."""

    def __init__(self, rules: Rules, usage: DeprecationUsage) -> None:
        self._api = rules.api_name
        self._deprecated = _deprecated(rules)
        self._usage = usage

    @staticmethod
    def applies(rules: Rules) -> bool:
        return not rules.operation.open and bool(_deprecated(rules))

    def enter(self, call: Call) -> None:
        if call.version in self._deprecated:
            self._usage.note(call.client_name, self._api, call.version)


def _deprecated(rules: Rules) -> frozenset[str]:
    lives = rules.api.versions if rules.api else {}
    return frozenset(name for name, life in lives.items() if life.state == "deprecated")

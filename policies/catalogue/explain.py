"""The words in which the policies say what a catalogue decides about a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import NamedTuple

import msgspec

from policies.catalogue import nearest
from policies.catalogue.locate import line_of, lines_of
from policies.catalogue.model import Api, Catalogue, Client, Layer, Operation, Path


class Decision(msgspec.Struct, frozen=True):
    """One policy's word on a call, and the line of the catalogue that decides it."""

    policy: str
    outcome: str
    line: int


class Explanation(msgspec.Struct, frozen=True):
    """Everything that would happen to a call. `allowed` is whether it reaches its handler."""

    allowed: bool
    decisions: tuple[Decision, ...]


class Unknown(LookupError):
    """The catalogue has no such client or operation; the message lists those it has."""


class Question(msgspec.Struct, frozen=True):
    """What would happen if a client called an operation on a day (UTC)? `api_name` is empty for one of the gateway."""

    catalogue: Catalogue
    client_name: str
    api_name: str
    operation_id: str
    today: date

    @property
    def client(self) -> Client:
        """Return the client that calls."""
        return self.catalogue.clients[self.client_name]

    @property
    def api(self) -> Api | None:
        """Return the API that is called, or None for the gateway."""
        return self.catalogue.apis[self.api_name] if self.api_name else None

    @property
    def layer(self) -> Layer:
        """Return the layer that is called. Each serves the operations of the gateway: the client calls its own."""
        return self.api.layer if self.api else self.client.audience

    @property
    def operation(self) -> Operation:
        """Return the operation that is called."""
        return (self.api or self.catalogue.gateway).operations[self.operation_id]

    @property
    def of_client(self) -> Path:
        """Return where the client stands in the catalogue."""
        return ("clients", self.client_name)

    @property
    def of_operation(self) -> Path:
        """Return where the operation stands in the catalogue."""
        return (*(("apis", self.api_name) if self.api_name else ("gateway",)), "operations", self.operation_id)


class Outcome(NamedTuple):
    """What a policy does with a call; `path` is what decides it. A call that is not `allowed` goes no further."""

    allowed: bool
    policy: str
    outcome: str
    path: Path


def asked(catalogue: Catalogue, client_name: str, operation_id: str, today: date) -> Question:
    """Return the question about a client and an operation by their names. Raises `Unknown`."""
    if client_name not in catalogue.clients:
        raise Unknown(_unknown("client", client_name, sorted(catalogue.clients)))
    name = catalogue.api_of(operation_id)
    if name is None and operation_id not in catalogue.gateway.operations:
        known = sorted(each for _, each, _ in catalogue.placed_operations())
        raise Unknown(_unknown("operation", operation_id, known))
    return Question(catalogue, client_name, name or "", operation_id, today)


def _unknown(what: str, name: str, known: list[str]) -> str:
    return f"there is no {what} {name!r}{nearest.hint(name, known)}; there are {', '.join(known)}"


def explained(
    question: Question, text: str, explanations: Iterable[Callable[[Question], Iterable[Outcome]]]
) -> Explanation:
    """Return what the policies say, in their order, until one refuses. `text` is the catalogue as it is written."""
    lines = lines_of(text)
    made: list[Decision] = []
    for explain in explanations:
        for outcome in explain(question):
            made.append(Decision(outcome.policy, outcome.outcome, line_of(lines, outcome.path)))
            if not outcome.allowed:
                return Explanation(allowed=False, decisions=tuple(made))
    return Explanation(allowed=True, decisions=tuple(made))

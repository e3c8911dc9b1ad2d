"""What a caller may do: the operation's scope, and the records that it sees.

Each record is checked where it is read.
"""

from __future__ import annotations

from collections.abc import Iterator

from policies.catalogue.diff import listed
from policies.catalogue.explain import Outcome, Question
from policies.policy import Call, Policy, Rules
from policies.problems import FORBIDDEN, ProblemError


class Authorization(Policy):
    """The scope is in the token and granted to the client; the caller sees the legal entities that both allow."""

    def __init__(self, rules: Rules) -> None:
        self._scope = rules.operation.scope
        self._entities = {
            name: rules.catalogue.entities_of(client)
            for name, client in rules.catalogue.clients.items()
            if self._scope in client.scopes
        }

    @staticmethod
    def applies(rules: Rules) -> bool:
        return not rules.operation.open

    def enter(self, call: Call) -> None:
        principal, client, entities = call.principal, call.client, self._entities.get(call.client_name)
        if principal is None or client is None or entities is None or self._scope not in principal.scopes:
            raise ProblemError(FORBIDDEN, f"The operation needs the scope {self._scope}.")
        call.principal = principal.within(client, entities)

    @classmethod
    def explain(cls, question: Question) -> Iterator[Outcome]:
        scope, granted = question.operation.scope, question.client.scopes
        if scope is None:
            return
        path = (*question.of_client, "scopes")
        if scope not in granted:
            yield Outcome(False, "authorization", f"the scope {scope} is not granted: 403", path)
        else:
            yield Outcome(True, "authorization", f"the scope {scope} is granted", path)
        entities = question.catalogue.entities_of(question.client)
        everybody = "*" in entities
        seen = "every legal entity" if everybody else listed(entities)
        others = "" if everybody else "; to it, records of others do not exist: 404"
        yield Outcome(True, "objects", f"records of {seen}{others}", (*question.of_client, "legal_entities"))

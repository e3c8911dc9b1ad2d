"""What a caller may do: the APIs that its client may call, the operation's scope, and the records that it sees.

Each record is checked where it is read.
"""

from __future__ import annotations

from collections.abc import Iterator

from policies.catalogue.diff import listed
from policies.catalogue.explain import Outcome, Question
from policies.policy import Call, Policy, Rules
from policies.problems import FORBIDDEN, ProblemError


class Authorization(Policy):
    """The client may call the API, and the scope is in the token and granted to the client; the caller sees the legal
    entities that both allow."""

    def __init__(self, rules: Rules) -> None:
        self._scope = rules.operation.scope
        self._api = rules.api_name
        callers = {
            name: client
            for name, client in rules.catalogue.clients.items()
            if not rules.api_name or rules.api_name in client.apis
        }
        self._callers = frozenset(callers)
        self._entities = {
            name: rules.catalogue.entities_of(client)
            for name, client in callers.items()
            if self._scope in client.scopes
        }

    @staticmethod
    def applies(rules: Rules) -> bool:
        return not rules.operation.open

    def enter(self, call: Call) -> None:
        if call.client is not None and call.client_name not in self._callers:
            raise ProblemError(FORBIDDEN, _other_api(call.client_name, call.client.apis, self._api))
        principal, client, entities = call.principal, call.client, self._entities.get(call.client_name)
        if principal is None or client is None or entities is None or self._scope not in principal.scopes:
            raise ProblemError(FORBIDDEN, f"The operation needs the scope {self._scope}.")
        call.principal = principal.within(client, entities)

    @classmethod
    def explain(cls, question: Question) -> Iterator[Outcome]:
        scope, granted = question.operation.scope, question.client.scopes
        if scope is None:
            return
        apis = question.client.apis
        if question.api_name:
            path, may = (*question.of_client, "apis"), question.api_name in apis
            refused = f"the client may call {listed(apis)}, and not the API {question.api_name}: 403"
            said = f"the client may call the API {question.api_name}" if may else refused
            yield Outcome(may, "authorization", said, path)
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


def _other_api(client: str, apis: frozenset[str], api: str) -> str:
    """Return what a client hears that calls an API which is not one of its own."""
    return f"{client} may call {listed(apis)}, and not {api}: use one of those, or ask for {api} to be one of its APIs."

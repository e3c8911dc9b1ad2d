"""How many calls run at once. Under overload those of lower service tiers are turned away first, so that a person who
waits is answered; and no client has more running than its share.

Calls whose callers have not proved who they are (the token endpoint, webhooks, pages) are carried beside those of
clients, and are a quarter as many: however many come, they take nothing from the clients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from policies.catalogue.explain import Outcome, Question
from policies.policy import Call, Policy, Rules
from policies.problems import OVERLOADED, ProblemError
from policies.traffic.rate_limit import THROTTLE_TIERS, THROTTLED

OPEN_SHARE = 4
"""A tier carries so many times as many calls of clients as of callers who have not proved who they are."""


class Load:
    """How many calls a replica carries: those of clients, those that are open to all, and how many of each client."""

    def __init__(self) -> None:
        self.running: Counter[bool] = Counter()
        """How many calls run, by whether their operation is open."""
        self.of_client: Counter[str] = Counter()


class LoadShedding(Policy):
    """A call is carried by the replica, if it is not too busy for calls of this tier."""

    def __init__(self, rules: Rules, load: Load) -> None:
        self._open = rules.operation.open is not None
        most = rules.service_tier.sheds_at
        self._sheds_at = max(most // OPEN_SHARE, 1) if self._open else most
        self._running = load.running

    @staticmethod
    def applies(rules: Rules) -> bool:
        return rules.operation.open != "health"  # which must answer most of all when we are busy

    def enter(self, call: Call) -> None:
        del call
        if self._running[self._open] >= self._sheds_at:
            detail = "Too much is going on; calls of higher tiers go first."
            raise ProblemError(OVERLOADED, detail, headers={"Retry-After": "1"})
        self._running[self._open] += 1

    def leave(self, call: Call) -> None:
        del call
        self._running[self._open] -= 1

    @classmethod
    def explain(cls, question: Question) -> Iterator[Outcome]:
        yield Outcome(True, "service tier", question.operation.tier.replace("_", " "), question.of_operation)


class CallsAtOnce(Policy):
    """A client has as many calls running on a replica as its tier allows, and no more."""

    def __init__(self, rules: Rules, load: Load) -> None:
        self._most = {name: tier.concurrent for name, tier in THROTTLE_TIERS.of(rules.catalogue).items()}
        self._running = load.of_client

    @staticmethod
    def applies(rules: Rules) -> bool:
        return not rules.operation.open

    def enter(self, call: Call) -> None:
        if call.client is not None and call.client.tier:
            most, running = self._most[call.client.tier], self._running[call.client_name]
            if running >= most:
                detail = f"{most} calls of yours are running; wait until one has ended."
                raise ProblemError(THROTTLED, detail, headers={"Retry-After": "1"})
            self._running[call.client_name] = running + 1

    def leave(self, call: Call) -> None:
        if call.client is not None and call.client.tier:
            self._running[call.client_name] -= 1

"""How many deliveries one process sends at once: of all, of one partner, and of one webhook. No I/O."""

from __future__ import annotations

from collections import Counter

AT_ONCE = 32
"""Deliveries that one process sends at once."""
AT_ONCE_OF_CLIENT = 8
"""Those of one partner among them: one whose webhooks are all slow keeps no other partner waiting."""
AT_ONCE_OF_ONE = 4
"""Those of one webhook among them."""


class Places:
    """The places that are taken."""

    def __init__(self) -> None:
        self._webhooks = Counter[str]()
        self._clients = Counter[str]()

    def copy(self) -> Places:
        """Return the same places, to be taken elsewhere."""
        made = Places()
        made._webhooks, made._clients = self._webhooks.copy(), self._clients.copy()
        return made

    @property
    def room(self) -> int:
        """Return how many are free."""
        return AT_ONCE - self._webhooks.total()

    @property
    def full_webhooks(self) -> list[str]:
        """Return the webhooks that have no place left."""
        return [each for each, count in self._webhooks.items() if count >= AT_ONCE_OF_ONE]

    @property
    def full_clients(self) -> list[str]:
        """Return the partners that have no place left."""
        return [each for each, count in self._clients.items() if count >= AT_ONCE_OF_CLIENT]

    def has_one(self, webhook: str, client: str) -> bool:
        """Return whether there is a place for a webhook of a partner."""
        return self._webhooks[webhook] < AT_ONCE_OF_ONE and self._clients[client] < AT_ONCE_OF_CLIENT and self.room > 0

    def take(self, webhook: str, client: str) -> None:
        """Take a place."""
        self._webhooks[webhook] += 1
        self._clients[client] += 1

    def leave(self, webhook: str, client: str) -> bool:
        """Leave a place. Return whether something may have waited for it."""
        was_full = not self.has_one(webhook, client)
        self._webhooks -= Counter((webhook,))
        self._clients -= Counter((client,))
        return was_full

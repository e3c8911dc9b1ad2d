"""What is asked of a provisioning connector."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import pytest

from canonical.deals import Holder, Suspension
from canonical.events import LINE_PROVISIONED, Event
from canonical.faults import NotFound
from system_apis.provisioning.port import Provisioning
from tests.support.connector_kit import samples
from tests.support.connector_kit.kit import Act, Put, behaviour
from tests.support.connector_kit.loopback import ALWAYS, Trouble
from tests.support.connector_kit.webhooks import Headers, WebhookKit, WebhookSubject


class ProvisioningSubject(WebhookSubject[Provisioning]):
    """A target, as its own users see it."""

    domain = "provisioning"
    answers_json = False

    @abstractmethod
    async def jobs(self, order_id: str) -> list[tuple[str, int]]:
        """Return line and attempt of each job that was begun for an order and not taken back."""

    @abstractmethod
    async def suspended(self, order_id: str) -> bool:
        """Return whether the service of an order is suspended."""

    @abstractmethod
    async def holder(self, order_id: str) -> str:
        """Return who has the service of an order, empty where the target has not heard that it is another customer."""

    @abstractmethod
    async def refused(self, connector: Provisioning) -> tuple[Act, str]:
        """Return a call that the target refuses, and the field that it names (empty if it names none)."""


class ProvisioningKit(WebhookKit[Provisioning, ProvisioningSubject]):
    """A subject's connector, as `system_apis.provisioning.port` wants it."""

    def puts(self) -> Sequence[Put]:
        return (Put("jobs", self._put, self._begun),)

    async def read(self) -> Act:
        return self._check

    async def missing(self) -> Sequence[Act]:
        return ()

    async def refused(self) -> tuple[Act, str]:
        return await self.subject.refused(self.connector)

    async def named(self, key: str) -> tuple[Act | None, Callable[[], Awaitable[str]]]:
        async def nothing() -> str:
            return key

        return None, nothing

    async def reported(self, headers: Headers, body: bytes) -> Event | None:
        return self.connector.reported(headers, body)

    @behaviour
    async def a_report_names_its_order_and_line(self) -> None:
        body = await self.subject.report()
        event = self.connector.reported(self._signed(body), body)
        assert event.type == LINE_PROVISIONED
        assert event.subject
        assert event.data["line"]
        assert event.data["succeeded"] in ("true", "false")

    @behaviour
    async def a_higher_attempt_is_a_new_try(self) -> None:
        for attempt in (1, 2, 2):
            request = samples.provisioning_request("tried", attempt)
            await self.bench.settled(lambda request=request: self.connector.put(request, "correlation-1"))
        lines = [line.id for line in samples.provisioning_request("tried").lines]
        assert Counter(await self.subject.jobs("tried")) == Counter(
            (line, attempt) for line in lines for attempt in (1, 2)
        )

    @behaviour
    async def a_removal_takes_back_all_and_what_is_not_there_is_removed_already(self) -> None:
        await self.bench.settled(await self._put("removed"))
        for _ in range(2):
            await self.bench.settled(lambda: self.connector.remove("removed"))
        assert await self.subject.jobs("removed") == []
        await self.bench.settled(lambda: self.connector.remove("never-there"))
        self.loopback.trouble(Trouble("answered", lambda _: True, 404, times=ALWAYS))
        await self.bench.settled(lambda: self.connector.remove("unknown"))

    @behaviour
    async def a_service_is_suspended_and_taken_up_and_nothing_of_it_is_lost(self) -> None:
        await self.bench.settled(await self._put("rests"))
        for change, suspended in (
            ("amd_1", True),
            ("amd_1", True),
            ("amd_2", False),
            ("amd_3", True),
        ):
            wanted = Suspension("rests", change, suspended, samples.LEGAL_ENTITY)
            await self.bench.settled(lambda wanted=wanted: self.connector.suspend(wanted, "correlation-1"))
            assert await self.subject.suspended("rests") == suspended
        assert await self._begun("rests") == 1

    @behaviour
    async def a_service_that_is_not_there_is_not_suspended(self) -> None:
        await self.bench.settled(await self._put("gone"))
        await self.bench.settled(lambda: self.connector.remove("gone"))
        for key in ("gone", "never-there"):
            wanted = Suspension(key, "amd_1", suspended=True, legal_entity=samples.LEGAL_ENTITY)
            with pytest.raises(NotFound):
                await self.bench.settled(lambda wanted=wanted: self.connector.suspend(wanted, "correlation-1"))

    @behaviour
    async def a_service_goes_to_another_customer_as_it_is(self) -> None:
        await self.bench.settled(await self._put("moves"))
        for change, customer in (("amd_1", "cus_2"), ("amd_1", "cus_2"), ("amd_2", "cus_3")):
            wanted = Holder("moves", change, customer, samples.LEGAL_ENTITY)
            await self.bench.settled(lambda wanted=wanted: self.connector.hand_over(wanted, "correlation-1"))
            assert await self.subject.holder("moves") == customer
        assert (await self._begun("moves"), await self.subject.suspended("moves")) == (1, False)
        missing = Holder("never-there", "amd_1", "cus_2", samples.LEGAL_ENTITY)
        with pytest.raises(NotFound):
            await self.bench.settled(lambda: self.connector.hand_over(missing, "correlation-1"))

    async def _put(self, key: str) -> Act:
        request = samples.provisioning_request(key)
        return lambda: self.connector.put(request, "correlation-1")

    async def _begun(self, key: str) -> int:
        """Return how many times every line was begun; -1 when not all were as often."""
        wanted = {(line.id, 1) for line in samples.provisioning_request(key).lines}
        begun = Counter(await self.subject.jobs(key))
        return begun.popitem()[1] if set(begun) == wanted and len(set(begun.values())) == 1 else -bool(begun)

"""Whatever partners, their servers and our processes do: each event is one delivery for each webhook, none is lost, and
the log says what the server got."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from canonical.states import IllegalTransition
from canonical.webhooks import NewWebhookSecret, ResendRequest, Webhook, WebhookChange
from policies.problems import ProblemError
from process_apis.records.database import events, webhook_deliveries
from process_apis.records.webhooks import live_keys
from process_apis.webhooks.delivering import KIND
from process_apis.webhooks.places import Places
from process_apis.webhooks.plan import DELAYS
from tests.support.process_context import TestClock, context_over
from tests.support.webhook_bench import PARTNER, WebhookBench, partner_server

STATUSES = st.sampled_from([200, 204, 302, 404, 410, 429, 500, 503])


class WebhookLife(RuleBasedStateMachine):
    """One partner with a webhook or two."""

    def __init__(self) -> None:
        super().__init__()
        self._used = ExitStack()
        folder = Path(self._used.enter_context(tempfile.TemporaryDirectory()))
        clock = TestClock()
        context = self._used.enter_context(context_over(f"sqlite:///{folder / 'tables.sqlite'}", clock))
        self.bench = WebhookBench(context, clock, self._used.enter_context(partner_server()))
        self.webhooks: list[Webhook] = []
        self.happened: dict[str, int] = {}
        """How many events each webhook is to have."""
        self.keys = 0
        self.create()

    def teardown(self) -> None:
        self._used.close()

    # ---- what partners do

    def create(self) -> None:
        made = self.bench.webhook(f"/{len(self.webhooks)}", str(len(self.webhooks)))
        self.webhooks.append(made)
        self.happened[made.id] = 0

    @precondition(lambda self: len(self.webhooks) == 1)
    @rule()
    def make_another(self) -> None:
        self.create()

    @rule(which=st.integers(0, 1), state=st.sampled_from(["active", "disabled"]))
    def switch(self, which: int, state: str) -> None:
        webhook = self.webhooks[which % len(self.webhooks)]
        try:
            self.bench.records.change(webhook.id, WebhookChange(state=state), PARTNER)  # pyright: ignore[reportArgumentType]
        except IllegalTransition:
            assert (self.bench.now(webhook.id).state, state) == ("active", "stopped")
            return
        assert self.bench.now(webhook.id).state == state

    @rule(hours=st.integers(0, 48))
    def rotate(self, hours: int) -> None:
        self.keys += 1
        wanted = NewWebhookSecret(hours, key=f"key {self.keys}")
        row = self.bench.records.add_key(self.webhooks[0].id, wanted, PARTNER)
        assert live_keys(row, self.bench.clock())[-1].name == wanted.key

    @rule(which=st.integers(0, 1), since=st.integers(0, 72))
    def send_again(self, which: int, since: int) -> None:
        webhook = self.bench.now(self.webhooks[which % len(self.webhooks)].id)
        wanted = ResendRequest(self.bench.clock() - timedelta(hours=since))
        try:
            self.bench.deliveries.resend_since(webhook.id, wanted)
            refused = False
        except ProblemError:
            refused = True
        assert refused == (webhook.state != "active")

    # ---- what happens

    @rule()
    def happen(self) -> None:
        self.bench.hold(self.bench.happen())
        for each in self.happened:
            self.happened[each] += 2

    @rule(statuses=st.lists(STATUSES, max_size=8))
    def deliver(self, statuses: list[int]) -> None:
        active = {each.id for each in self.webhooks if self.bench.now(each.id).state == "active"}
        self.bench.server.statuses = list(statuses)
        before = len(self.bench.server.got)
        self.bench.deliver()
        self.bench.server.statuses = []
        paths = {each.path for each in self.bench.server.got[before:]}
        assert paths <= {f"/{place}" for place, each in enumerate(self.webhooks) if each.id in active}

    @rule(seconds=st.sampled_from([1.0, 60.0, *DELAYS, 86400.0, 4 * 86400.0]))
    def time_passes(self, seconds: float) -> None:
        self.bench.clock.move(seconds)

    @rule()
    def die_with_work_in_hand(self) -> None:
        """Claim what is due and do nothing with it, as a process that is killed before it sends."""
        self.bench.delivering._claim(Places())  # pyright: ignore[reportPrivateUsage]
        self.bench.delivering = self.bench.restarted()

    # ---- what is always so

    @invariant()
    def each_event_is_one_delivery_for_each_webhook(self) -> None:
        for each in self.webhooks:
            log = self.bench.log(each.id)
            if self.happened[each.id] < 100:
                assert len(log) == self.happened[each.id]
            assert len({delivery.event_id for delivery in log}) == len(log)

    @invariant()
    def what_waits_has_a_time_and_nothing_else_has(self) -> None:
        with self.bench.context.database.connect() as connection:
            for row in connection.execute(sa.select(webhook_deliveries)):
                assert (row.state == "pending") == (row.next_attempt_at is not None)

    @invariant()
    def what_is_switched_off_has_nothing_that_waits(self) -> None:
        for each in (self.bench.now(one.id) for one in self.webhooks):
            assert each.state == "active" or each.waiting == 0
            assert (each.state == "stopped") == bool(each.reason)

    @invariant()
    def the_log_has_each_attempt_that_the_server_saw(self) -> None:
        seen = Counter(each.headers["webhook-id"] for each in self.bench.server.got)
        taken = Counter[str]()
        for each in self.webhooks:
            for delivery in self.bench.log(each.id):
                taken[delivery.event_id] += min(len(delivery.attempts), 20)
                if delivery.state == "delivered":
                    assert delivery.attempts[0].reason == ""
        assert self.bench.rows()[1] == seen.total()
        if all(count < 20 for count in seen.values()):
            assert +taken == +seen

    @invariant()
    def what_is_sent_is_in_the_log_of_events(self) -> None:
        with self.bench.context.database.connect() as connection:
            known = set(connection.scalars(sa.select(events.c.id)))
        assert {each.headers["webhook-id"] for each in self.bench.server.got} <= known

    @invariant()
    def there_is_a_case_for_what_we_have_stopped(self) -> None:
        stopped = {each.id for each in self.webhooks if self.bench.now(each.id).state == "stopped"}
        assert stopped <= {each.subject for each in self.bench.context.cases.open_of_kind(KIND)}


WebhookLife.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestWebhookLife = WebhookLife.TestCase

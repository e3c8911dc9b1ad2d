"""Events come to the webhooks of partners at least once, to those who may see them, and the log says all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy import event as sqlalchemy_events
from standardwebhooks import Webhook as Verifying

from canonical.cases import Case
from canonical.process_events import WEBHOOK_RESUMED, WEBHOOK_STOPPED
from canonical.states import IllegalTransition
from canonical.webhooks import NewWebhook, NewWebhookSecret, ResendRequest, WebhookChange
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import SHIPPED
from policies.problems import ProblemError
from process_apis.records import webhook_deliveries as log
from process_apis.records.database import events, metadata, webhook_deliveries, webhooks
from process_apis.records.webhooks import MOST, MOST_KEYS, SHOWN_FOR, kept_keys
from process_apis.retention import Retention, RetentionDays
from process_apis.runtime.context import WorkflowContext
from process_apis.webhooks import act
from process_apis.webhooks.delivering import KIND, PACE
from process_apis.webhooks.places import AT_ONCE_OF_CLIENT, AT_ONCE_OF_ONE
from process_apis.webhooks.plan import DELAYS, STOPPED_AFTER
from tests.support.process_context import SOMEBODY, TestClock, at_once
from tests.support.webhook_bench import (
    CUSTOMER,
    NORD,
    PARTNER,
    PartnerServer,
    WebhookBench,
    deliver_due,
    eventually,
    partner_server,
)

OTHER = f"cus_{'2' * 32}"
SUED = replace(PARTNER, subject="reseller-sued", partner="reseller-sued")


@pytest.fixture
def server() -> Generator[PartnerServer]:
    with partner_server() as made:
        yield made


@pytest.fixture
def bench(context: WorkflowContext, clock: TestClock, server: PartnerServer) -> WebhookBench:
    return WebhookBench(context, clock, server)


def open_cases(bench: WebhookBench) -> list[Case]:
    return bench.context.cases.open_of_kind(KIND)


def published(bench: WebhookBench) -> list[str]:
    of_webhooks = sa.select(events.c.type).where(events.c.type.in_([WEBHOOK_STOPPED, WEBHOOK_RESUMED]))
    with bench.context.database.connect() as connection:
        return list(connection.scalars(of_webhooks.order_by(events.c.seq)))


# ---- what is sent, and to whom


def test_an_event_is_sent_with_ids_and_a_state_and_a_signature_that_the_published_package_takes(
    bench: WebhookBench, server: PartnerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = bench.webhook()
    order = bench.happen()

    assert bench.deliver() == 1

    (sent,) = server.got
    assert sent.event == {
        "type": "order.received.v1",
        "timestamp": bench.clock().isoformat().replace("+00:00", "Z"),
        "data": {"order_id": order, "customer_id": CUSTOMER, "state": "received"},
    }
    assert sent.headers["webhook-id"].startswith("evt_")
    secret = bench.secrets.of(webhook.id, kept_keys(bench.records.row(webhook.id, PARTNER))[0])
    assert secret.startswith("whsec_")
    monkeypatch.setattr("standardwebhooks.webhooks.datetime", _At(bench.clock))
    assert Verifying(secret).verify(sent.body, sent.headers) == sent.event
    (delivery,) = bench.log(webhook.id)
    assert (delivery.state, delivery.next_attempt_at, delivery.attempts[0].status) == ("delivered", None, 204)


class _At:
    """The time of the published package, which reads the machine's clock: the test's."""

    def __init__(self, clock: TestClock) -> None:
        self._clock = clock

    def now(self, tz: object = None) -> object:
        del tz
        return self._clock()

    def fromtimestamp(self, seconds: float, tz: object = None) -> object:
        del tz
        return type(self._clock()).fromtimestamp(seconds, self._clock().tzinfo)


def test_what_happened_before_a_webhook_was_made_is_not_sent(bench: WebhookBench, server: PartnerServer) -> None:
    order = bench.happen()
    bench.webhook()
    bench.hold(order)

    bench.deliver()

    assert [each.event["type"] for each in server.got] == ["order.held.v1"]


def test_an_event_is_one_delivery_for_each_webhook_that_wants_it(bench: WebhookBench, server: PartnerServer) -> None:
    bench.webhook("/all", "a")
    bench.webhook("/held", "b", events=("order.held.v1",))
    bench.webhook("/others", "c", customer_ids=(OTHER,))
    bench.hold(bench.happen())

    bench.deliver()

    assert sorted((each.path, each.event["type"]) for each in server.got) == [
        ("/all", "order.held.v1"),
        ("/all", "order.received.v1"),
        ("/held", "order.held.v1"),
    ]
    assert len({each.headers["webhook-id"] for each in server.got}) == 2


def test_events_of_others_customers_and_of_other_legal_entities_are_not_sent(bench: WebhookBench) -> None:
    bench.customer(OTHER, "reseller-sued")
    bench.webhook()
    bench.happen(OTHER, "reseller-sued")
    bench.happen(OTHER, "")
    bench.happen(legal_entity="FR01")

    assert bench.rows() == (0, 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (('"customers:read", "orders:read", ', '"customers:read", '), "see such events"),
        (('kind = "partner"', 'kind = "internal"'), "no such partner"),
        (('["DE01"]', '["FR01"]'), "see records of DE01"),
    ],
)
def test_what_the_catalogue_does_not_allow_any_more_is_withheld(
    bench: WebhookBench, server: PartnerServer, tmp_path: Path, change: tuple[str, str], why: str
) -> None:
    webhook = bench.webhook()
    bench.happen()
    bench.context = _with_catalogue(bench, tmp_path, *change)
    bench.delivering = bench.restarted()

    bench.deliver()

    (delivery,) = bench.log(webhook.id)
    assert (delivery.state, server.got) == ("withheld", [])
    assert why in delivery.reason


def _with_catalogue(bench: WebhookBench, folder: Path, old: str, new: str) -> WorkflowContext:
    """Return the context with another catalogue, in which the client of the partner is changed."""
    before, name, client = SHIPPED.read_text().partition("[clients.reseller-nord]")
    assert old in client
    path = folder / "catalogue.toml"
    path.write_text(before + name + client.replace(old, new, 1))
    return replace(bench.context, live_catalogue=LiveCatalogue(path))


def test_a_record_that_is_another_partners_by_now_is_withheld(bench: WebhookBench, server: PartnerServer) -> None:
    webhook = bench.webhook()
    bench.give(bench.happen(), "reseller-sued")

    bench.deliver()

    assert [each.state for each in bench.log(webhook.id)] == ["withheld"]
    assert not server.got


def cancelled_twice(context: WorkflowContext, order: str) -> None:
    with context.orders.at(order) as one:
        one.advance("validating", next_attempt_at=None)
        one.advance("on_hold", next_attempt_at=None)
        one.advance("active", next_attempt_at=None)


# ---- what becomes of it


def test_what_fails_is_sent_again_under_the_same_id_until_it_is_taken(
    bench: WebhookBench, server: PartnerServer
) -> None:
    webhook = bench.webhook()
    bench.happen()
    server.statuses = [500, 503]
    for seconds in (0.0, *DELAYS[:2]):
        bench.clock.move(seconds)
        assert bench.deliver() == 1

    assert len({each.headers["webhook-id"] for each in server.got}) == 1
    assert len({each.headers["webhook-timestamp"] for each in server.got}) == 3
    assert len({each.body for each in server.got}) == 1
    (delivery,) = bench.log(webhook.id)
    assert [(each.status, each.reason) for each in delivery.attempts] == [
        (204, ""),
        (503, "it answered 503"),
        (500, "it answered 500"),
    ]
    assert (bench.now(webhook.id).failing_since, bench.now(webhook.id).delivered_at) == (None, bench.clock())


def test_after_the_last_attempt_it_has_failed_and_the_log_says_so(bench: WebhookBench, server: PartnerServer) -> None:
    webhook = bench.webhook()
    bench.happen()
    server.statuses = [500] * 20
    for seconds in (0.0, *DELAYS):
        bench.clock.move(seconds)
        assert bench.deliver() == 1
    bench.clock.move(10 * DELAYS[-1])

    assert bench.deliver() == 0
    (delivery,) = bench.log(webhook.id)
    assert (delivery.state, len(delivery.attempts), delivery.next_attempt_at) == ("failed", 1 + len(DELAYS), None)
    assert delivery.reason == "8 attempts have failed, the last one since it answered 500"
    assert bench.now(webhook.id).failing_since is not None


def test_an_endpoint_that_asks_for_it_is_left_alone_longer(bench: WebhookBench, server: PartnerServer) -> None:
    webhook = bench.webhook()
    bench.happen()
    server.statuses, server.headers = [429], {"retry-after": "600"}
    bench.deliver()

    (delivery,) = bench.log(webhook.id)
    assert delivery.next_attempt_at == bench.clock() + timedelta(seconds=600)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:9/", "no connection"),
        ("https://nobody.invalid/", "cannot be found"),
        ("http://10.0.0.1/", "not called: 10.0.0.1 cannot be found on the public Internet"),
    ],
)
def test_a_server_that_is_not_there_is_a_failure_that_the_log_explains(bench: WebhookBench, url: str, why: str) -> None:
    webhook = bench.webhook()
    bench.records.change(webhook.id, WebhookChange(url=url), PARTNER)
    bench.happen()
    bench.deliver()

    (delivery,) = bench.log(webhook.id)
    assert (delivery.state, delivery.attempts[0].status) == ("pending", None)
    assert why in delivery.attempts[0].reason


def test_a_slow_webhook_keeps_no_other_waiting(bench: WebhookBench, server: PartnerServer) -> None:
    slow = bench.webhook("/slow", "a")
    for _ in range(3 * AT_ONCE_OF_ONE):
        bench.happen()
    fast = bench.webhook("/fast", "b")
    bench.happen()

    async def act() -> int:
        async with asyncio.TaskGroup() as sending:
            begun = await bench.delivering.begin_due(sending)
            await asyncio.to_thread(eventually, lambda: bench.log(fast.id)[0].state == "delivered")
            assert sum(each.path == "/slow" for each in server.got) == AT_ONCE_OF_ONE
            assert await bench.delivering.begin_due(sending) == 0
            server.may_go_on.set()
        return begun

    assert asyncio.run(act()) == AT_ONCE_OF_ONE + 1
    bench.deliver()
    assert {each.state for each in bench.log(slow.id)} == {"delivered"}


def test_a_partner_whose_webhooks_are_all_slow_keeps_no_other_partner_waiting(
    bench: WebhookBench, server: PartnerServer
) -> None:
    for each in range(MOST):
        bench.webhook(f"/slow/{each}", str(each))
    bench.happen()
    bench.happen()
    bench.customer(OTHER, "reseller-sued")
    wanted = NewWebhook(f"{server.url}/fast", ("order.received.v1",), key="key")
    other = bench.records.create(wanted, SUED, "cor_1")
    bench.happen(OTHER, "reseller-sued")

    async def act() -> int:
        async with asyncio.TaskGroup() as sending:
            begun = await bench.delivering.begin_due(sending)
            await asyncio.to_thread(eventually, lambda: bench.log(other.id)[0].state == "delivered")
            server.may_go_on.set()
        return begun

    assert asyncio.run(act()) == AT_ONCE_OF_CLIENT + 1
    assert bench.deliver() == 2 * MOST - AT_ONCE_OF_CLIENT


def test_what_waits_for_a_place_is_sent_as_soon_as_one_is_free(bench: WebhookBench, server: PartnerServer) -> None:
    webhook = bench.webhook()
    for _ in range(10 * AT_ONCE_OF_ONE):
        bench.happen()

    async def act() -> float:
        began = monotonic()
        delivering = asyncio.create_task(bench.delivering.deliver())
        await asyncio.to_thread(eventually, lambda: len(server.got) == 10 * AT_ONCE_OF_ONE)
        took = monotonic() - began
        await asyncio.to_thread(eventually, lambda: not bench.now(webhook.id).waiting)
        delivering.cancel()
        await asyncio.wait({delivering})
        return took

    assert asyncio.run(act()) < 5 * PACE


def test_a_fault_of_ours_ends_no_other_delivery_and_is_an_attempt_that_comes_to_an_end(
    bench: WebhookBench, server: PartnerServer
) -> None:
    bad = bench.webhook("/bad", "a")
    good = bench.webhook("/good", "b")
    bench.happen()
    with bench.context.database.begin() as connection:
        broken = webhooks.update().where(webhooks.c.id == bad.id).values(signing_keys=b"no keys")
        connection.execute(broken)
    for seconds in (0.0, *DELAYS):
        bench.clock.move(seconds)
        bench.deliver()

    with bench.context.database.begin() as connection:
        whole = webhooks.update().where(webhooks.c.id == bad.id).values(signing_keys=b"[]")
        connection.execute(whole)
    assert [each.state for each in bench.log(good.id)] == ["delivered"]
    (delivery,) = bench.log(bad.id)
    assert (delivery.state, len(delivery.attempts)) == ("failed", 1 + len(DELAYS))
    assert delivery.attempts[0].reason.startswith("a fault of ours")
    assert (bench.now(bad.id).state, bench.now(bad.id).failing_since) == ("active", None)
    assert {each.path for each in server.got} == {"/good"}


def test_a_key_that_cannot_be_read_leaves_a_delivery_that_is_sent_when_it_can(
    bench: WebhookBench, server: PartnerServer
) -> None:
    webhook = bench.webhook()
    bench.happen()
    bench.context.webhooks.key.change(lambda _: b"half a f")
    assert (bench.deliver(), bench.log(webhook.id)[0].attempts) == (1, ())

    bench.context.webhooks.key.change(lambda _: b"00" * 32)
    bench.clock.move(bench.context.retry_policy.stalled_after)
    assert (bench.deliver(), len(server.got)) == (1, 1)


def test_a_pause_that_is_no_time_is_an_answer_like_any_other(bench: WebhookBench, server: PartnerServer) -> None:
    webhook = bench.webhook()
    bench.happen()
    server.statuses, server.headers = [503], {"retry-after": "Sun, 01 Mar 99999999999999999999 12:00:00 GMT"}
    bench.deliver()

    (delivery,) = bench.log(webhook.id)
    assert (delivery.state, delivery.attempts[0].status) == ("pending", 503)


def test_a_process_that_dies_while_it_sends_leaves_a_delivery_that_is_sent_again(
    bench: WebhookBench, server: PartnerServer
) -> None:
    webhook = bench.webhook("/slow")
    bench.happen()

    async def die() -> None:
        sending = asyncio.create_task(deliver_due(bench.delivering))
        await asyncio.to_thread(eventually, lambda: server.got)
        sending.cancel()
        await asyncio.wait({sending})

    asyncio.run(die())
    server.may_go_on.set()
    bench.delivering = bench.restarted()
    assert (bench.deliver(), bench.log(webhook.id)[0].state) == (0, "pending")

    bench.clock.move(bench.context.retry_policy.stalled_after)
    assert bench.deliver() == 1
    assert bench.log(webhook.id)[0].state == "delivered"
    assert len({each.headers["webhook-id"] for each in server.got}) == 1


def test_of_two_processes_that_look_at_once_one_sends(bench: WebhookBench, server: PartnerServer) -> None:
    bench.webhook()
    for _ in range(5):
        bench.happen()
    sent = at_once(*(lambda: asyncio.run(deliver_due(bench.restarted())) for _ in range(3)))

    assert sum(map(int, map(str, sent))) == len(server.got)
    assert len({each.headers["webhook-id"] for each in server.got}) == len(server.got) == 5


def test_what_is_rolled_back_is_sent_to_nobody(bench: WebhookBench) -> None:
    bench.webhook()
    order = bench.happen()
    with pytest.raises(IllegalTransition):
        cancelled_twice(bench.context, order)

    assert bench.rows()[0] == 1


# ---- switched off, and on again


def test_410_stops_a_webhook_and_people_hear_of_it(bench: WebhookBench, server: PartnerServer) -> None:
    webhook = bench.webhook()
    bench.happen()
    server.statuses = [410]
    bench.deliver()

    stopped = bench.now(webhook.id)
    assert (stopped.state, stopped.since) == ("stopped", bench.clock())
    assert stopped.reason == "it answered 410: it wants no webhooks any more"
    assert [each.state for each in bench.log(webhook.id)] == ["missed"]
    (case,) = open_cases(bench)
    assert (case.subject, case.team, case.input["client"]) == (webhook.id, "platform", NORD)
    assert published(bench) == [WEBHOOK_STOPPED]


def failing_for_days(bench: WebhookBench, server: PartnerServer) -> None:
    """Let something happen each day, and fail, until the webhook is stopped."""
    server.statuses = [500] * 1000
    for _ in range(STOPPED_AFTER.days):
        bench.happen()
        bench.deliver()
        bench.clock.move(86400)
    bench.deliver()


def test_a_webhook_that_fails_for_days_is_stopped_and_what_it_missed_is_sent_when_it_asks(
    bench: WebhookBench, server: PartnerServer
) -> None:
    webhook = bench.webhook()
    failing_for_days(bench, server)
    bench.happen()

    stopped = bench.now(webhook.id)
    assert (stopped.state, stopped.reason) == ("stopped", "all attempts of 5 days have failed: it answered 500")
    assert (bench.deliver(), bench.log(webhook.id)[0].state) == (0, "missed")
    with pytest.raises(ProblemError, match="switched off"):
        bench.deliveries.resend_since(webhook.id, ResendRequest(webhook.created_at))

    server.statuses.clear()
    server.got.clear()
    bench.records.change(webhook.id, WebhookChange(state="active"), PARTNER)
    found = bench.deliveries.resend_since(webhook.id, ResendRequest(webhook.created_at))

    assert (found.resent, found.next_cursor, bench.deliver()) == (6, None, 6)
    assert {each.state for each in bench.log(webhook.id)} == {"delivered"}
    assert len({each.headers["webhook-id"] for each in server.got}) == 6
    assert published(bench) == [WEBHOOK_STOPPED, WEBHOOK_RESUMED]


def test_a_webhook_with_few_events_is_not_stopped_at_the_first_one_that_fails(
    bench: WebhookBench, server: PartnerServer
) -> None:
    webhook = bench.webhook()
    server.statuses = [500] * 100
    bench.happen()
    for seconds in (0.0, *DELAYS):
        bench.clock.move(seconds)
        bench.deliver()
    bench.clock.move(30 * 86400)
    bench.happen()
    bench.deliver()

    assert (bench.now(webhook.id).state, bench.now(webhook.id).failing_since) == ("active", bench.clock())


def test_people_of_ours_switch_a_stopped_webhook_on_by_its_case(bench: WebhookBench, server: PartnerServer) -> None:
    webhook = bench.webhook()
    bench.happen()
    server.statuses = [410]
    bench.deliver()
    (case,) = open_cases(bench)

    act(bench.records, case, "retry")
    assert bench.now(webhook.id).state == "active"
    bench.records.remove(webhook.id, PARTNER)
    with pytest.raises(IllegalTransition):
        act(bench.records, case, "retry")


def test_what_its_partner_has_switched_off_people_of_ours_do_not_switch_on(
    bench: WebhookBench, server: PartnerServer
) -> None:
    webhook = bench.webhook()
    bench.happen()
    server.statuses = [410]
    bench.deliver()
    (case,) = open_cases(bench)
    bench.records.change(webhook.id, WebhookChange(state="disabled"), PARTNER)

    with pytest.raises(IllegalTransition):
        act(bench.records, case, "retry")
    act(bench.records, case, "skip")
    assert bench.now(webhook.id).state == "disabled"


def test_one_event_is_sent_again_whatever_became_of_it(bench: WebhookBench, server: PartnerServer) -> None:
    webhook = bench.webhook()
    bench.happen()
    bench.deliver()
    (delivery,) = bench.log(webhook.id)

    again = bench.deliveries.resend(webhook.id, delivery.id)
    assert bench.deliveries.resend(webhook.id, delivery.id) == again

    assert (again.state, bench.deliver()) == ("pending", 1)
    assert server.got[0].headers["webhook-id"] == server.got[1].headers["webhook-id"]
    assert len(bench.log(webhook.id)[0].attempts) == 2
    with pytest.raises(ProblemError, match="has no delivery"):
        bench.deliveries.resend(webhook.id, "dlv_none")


def test_what_was_delivered_is_sent_again_part_by_part_until_the_end(
    bench: WebhookBench, server: PartnerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = bench.webhook()
    for _ in range(5):
        bench.happen()
    bench.deliver()
    server.got.clear()
    monkeypatch.setattr(log, "MOST_AT_ONCE", 2)

    wanted = ResendRequest(webhook.created_at, ("delivered",))
    parts: list[int] = []
    while not parts or wanted.cursor:
        found = bench.deliveries.resend_since(webhook.id, wanted)
        parts.append(found.resent)
        bench.deliver()
        wanted = replace(wanted, cursor=found.next_cursor)

    assert parts == [2, 2, 1]
    assert len({each.headers["webhook-id"] for each in server.got}) == len(server.got) == 5


def test_a_moment_that_is_none_in_utc_is_refused(bench: WebhookBench) -> None:
    webhook = bench.webhook()
    first = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))

    with pytest.raises(ProblemError, match="Nothing was sent again"):
        bench.deliveries.resend_since(webhook.id, ResendRequest(first))


def test_an_attempt_that_ends_after_its_event_is_sent_again_decides_nothing(
    bench: WebhookBench, server: PartnerServer
) -> None:
    webhook = bench.webhook("/slow")
    bench.happen()
    server.statuses = [410, 204]
    (delivery,) = bench.log(webhook.id)

    async def meanwhile() -> None:
        async with asyncio.TaskGroup() as sending:
            await bench.delivering.begin_due(sending)
            await asyncio.to_thread(eventually, lambda: server.got)
            bench.records.change(webhook.id, WebhookChange(state="disabled"), PARTNER)
            server.may_go_on.set()

    asyncio.run(meanwhile())
    assert bench.now(webhook.id).state == "disabled"
    (missed,) = bench.log(webhook.id)
    assert (missed.id, missed.state, missed.attempts[0].status) == (delivery.id, "missed", 410)


# ---- secrets


def test_the_former_secret_signs_beside_the_new_one_until_its_time_is_over(
    bench: WebhookBench, server: PartnerServer
) -> None:
    webhook = bench.webhook()
    first, second = (
        bench.secrets.of(webhook.id, kept_keys(row)[-1])
        for row in (
            bench.records.row(webhook.id, PARTNER),
            bench.records.add_key(webhook.id, NewWebhookSecret(key="second"), PARTNER),
        )
    )
    bench.happen()
    bench.deliver()
    bench.clock.move(24 * 3600)
    bench.happen()
    bench.deliver()

    def signed_by(secret: str) -> list[bool]:
        return [
            Verifying(secret).sign(
                each.headers["webhook-id"],
                _At(bench.clock).fromtimestamp(int(each.headers["webhook-timestamp"])),  # pyright: ignore[reportArgumentType]
                each.body.decode(),
            )
            in each.headers["webhook-signature"].split(" ")
            for each in server.got
        ]

    assert (signed_by(first), signed_by(second)) == ([True, False], [True, True])
    assert len(bench.now(webhook.id).signing_keys) == 1


def test_a_secret_that_others_have_seen_signs_no_more_at_once(bench: WebhookBench) -> None:
    webhook = bench.webhook()
    row = bench.records.add_key(webhook.id, NewWebhookSecret(0, key="second"), PARTNER)

    assert [each.name for each in kept_keys(row)] == ["second"]


def test_a_secret_is_shown_again_to_the_same_request_for_a_day_and_never_after(bench: WebhookBench) -> None:
    webhook = bench.webhook()
    assert bench.webhook().id == webhook.id
    wanted = NewWebhookSecret(key="second")
    assert [len(kept_keys(bench.records.add_key(webhook.id, wanted, PARTNER))) for _ in range(2)] == [2, 2]
    with pytest.raises(ProblemError, match="made with this key before"):
        bench.webhook()
    bench.clock.move(SHOWN_FOR.total_seconds())
    with pytest.raises(ProblemError, match="shown no more"):
        bench.records.add_key(webhook.id, wanted, PARTNER)


def test_a_key_that_is_used_again_makes_another_secret(bench: WebhookBench) -> None:
    def newest(row: sa.Row[Any]) -> str:
        return bench.secrets.of(row.id, kept_keys(row)[-1])

    webhook = bench.webhook(key="again")
    seen = [newest(bench.records.row(webhook.id, PARTNER))]
    wanted = [NewWebhookSecret(0, key=key) for key in ("a", "again")]
    seen += [newest(bench.records.add_key(webhook.id, each, PARTNER)) for each in wanted]
    bench.records.remove(webhook.id, PARTNER)
    assert bench.webhook(key="again").id == webhook.id
    seen.append(newest(bench.records.row(webhook.id, PARTNER)))

    assert len(set(seen)) == len(seen)


def test_no_table_has_a_secret(bench: WebhookBench) -> None:
    webhook = bench.webhook()
    secret = bench.secrets.of(webhook.id, kept_keys(bench.records.row(webhook.id, PARTNER))[0])
    with bench.context.database.connect() as connection:
        rows = [connection.execute(sa.select(each)).all() for each in metadata.sorted_tables]
        dump = str(rows)

    assert webhook.id in dump
    assert secret.removeprefix("whsec_") not in dump


def test_so_many_secrets_sign_at_once_and_no_more(bench: WebhookBench) -> None:
    webhook = bench.webhook()
    for number in range(2 * MOST_KEYS):
        bench.records.add_key(webhook.id, NewWebhookSecret(168, key=str(number)), PARTNER)

    assert len(bench.now(webhook.id).signing_keys) == MOST_KEYS


# ---- whose they are


def test_nobody_sees_or_changes_the_webhook_of_another_partner(bench: WebhookBench) -> None:
    webhook = bench.webhook()

    assert bench.records.page(SUED, None, None, 25).items == ()
    for attempt in (
        lambda: bench.records.row(webhook.id, SUED),
        lambda: bench.records.change(webhook.id, WebhookChange(description="mine"), SUED),
        lambda: bench.records.remove(webhook.id, SUED),
        lambda: bench.records.add_key(webhook.id, NewWebhookSecret(key="x"), SUED),
    ):
        with pytest.raises(ProblemError, match="no such webhook"):
            attempt()
    assert [each.id for each in bench.records.page(SOMEBODY, None, None, 25).items] == [webhook.id]


def test_a_token_for_fewer_legal_entities_does_not_reach_a_webhook_that_is_sent_more(bench: WebhookBench) -> None:
    both = replace(PARTNER, entities=frozenset({"DE01", "FR01"}))
    row = bench.records.create(NewWebhook("https://example.com/", ("order.held.v1",), key="both"), both, "cor_1")

    assert bench.records.page(PARTNER, None, None, 25).items == ()
    with pytest.raises(ProblemError):
        bench.records.row(row.id, PARTNER)
    assert bench.records.row(row.id, both).id == row.id


def test_a_partner_ends_a_webhook_that_it_may_not_see_any_more(bench: WebhookBench) -> None:
    webhook = bench.webhook()
    fewer = replace(PARTNER, entities=frozenset({"FR01"}))

    with pytest.raises(ProblemError, match="no such webhook"):
        bench.records.change(webhook.id, WebhookChange(state="active"), fewer)
    with pytest.raises(ProblemError, match="no such webhook"):
        bench.records.change(webhook.id, WebhookChange(state="disabled", description="mine"), fewer)
    assert bench.records.change(webhook.id, WebhookChange(state="disabled"), fewer).state == "disabled"
    assert kept_keys(bench.records.add_key(webhook.id, NewWebhookSecret(0, key="new"), fewer))[-1].name == "new"
    assert bench.records.remove(webhook.id, fewer).id == webhook.id
    assert bench.rows() == (0, 0)


def test_of_webhooks_that_are_made_at_once_there_are_no_more_than_a_partner_has(bench: WebhookBench) -> None:
    def make(key: str) -> str:
        try:
            return bench.webhook(key=key).id
        except ProblemError:
            return ""

    made = at_once(*(partial(make, str(each)) for each in range(MOST + 10)))

    assert sum(map(bool, made)) == len(bench.records.page(PARTNER, None, None, 100).items) == MOST


def test_a_partner_has_so_many_webhooks_and_no_more(bench: WebhookBench) -> None:
    for number in range(MOST):
        bench.webhook(key=str(number))
    with pytest.raises(ProblemError, match=f"{MOST} webhooks"):
        bench.webhook(key="one more")


def test_a_webhook_is_deleted_with_its_log_and_what_waits(bench: WebhookBench, server: PartnerServer) -> None:
    webhook = bench.webhook()
    bench.happen()
    bench.deliver()
    bench.happen()

    assert bench.records.remove(webhook.id, PARTNER).waiting == 1
    assert (bench.rows(), bench.deliver(), len(server.got)) == ((0, 0), 0, 1)


# ---- what is kept


def test_what_was_sent_is_kept_for_its_days_and_what_waits_stays(bench: WebhookBench) -> None:
    webhook = bench.webhook()
    bench.happen()
    bench.deliver()
    bench.clock.move(31 * 86400)
    bench.happen()
    with bench.context.database.begin() as connection:
        still_waits = webhook_deliveries.c.state == "pending"
        old = (bench.clock() - timedelta(days=40)).isoformat()
        connection.execute(webhook_deliveries.update().where(still_waits).values(created_at=old))
    retention = Retention(bench.context.database, RetentionDays(), bench.clock, "test")
    retention._remove_deliveries(bench.clock() - timedelta(days=30))  # pyright: ignore[reportPrivateUsage]

    assert [each.state for each in bench.log(webhook.id)] == ["pending"]
    assert bench.rows() == (1, 0)


def test_what_is_sent_again_while_it_is_removed_stays_with_its_attempts(bench: WebhookBench) -> None:
    webhook = bench.webhook()
    bench.happen()
    bench.deliver()
    sent_again: list[str] = []

    def send_again(connection: sa.Connection, _: object, statement: str, *__: object) -> None:
        if statement.startswith("SELECT webhook_deliveries.id") and not sent_again:
            sent_again.append(statement)
            connection.execute(webhook_deliveries.update().values(state="pending"))

    sqlalchemy_events.listen(bench.context.database, "after_cursor_execute", send_again)
    retention = Retention(bench.context.database, RetentionDays(), bench.clock, "test")
    retention._remove_deliveries(bench.clock() + timedelta(days=1))  # pyright: ignore[reportPrivateUsage]

    assert sent_again
    assert [(each.state, len(each.attempts)) for each in bench.log(webhook.id)] == [("pending", 1)]


def test_a_test_is_signed_and_in_no_log(bench: WebhookBench, server: PartnerServer) -> None:
    webhook = bench.webhook()
    server.statuses = [500]
    row = bench.records.row(webhook.id, PARTNER)
    found = asyncio.run(bench.delivering.test(row))

    assert (found.delivered, found.status, found.reason) == (False, 500, "it answered 500")
    assert server.got[0].event["type"] == "webhook.tested.v1"
    assert server.got[0].headers["webhook-id"] == found.event_id
    assert bench.rows() == (0, 0)

"""What the Stripe connector makes of the account's list of events where one of them cannot be taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from canonical.events import INVOICE_FINALIZED, INVOICE_PAID, RECORD_REFUSED, Event
from canonical.faults import Misconfigured, Rejected, Unavailable
from system_apis.billing.port import Billing
from tests.integration.connectors.test_stripe_invoices import started
from tests.support.connector_kit.subject import Bench, KitIntake, run_over
from tests.support.stripe_account import StripeAccount


class Refusing(KitIntake):
    """A process layer that does not take events of one type."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.fault: Exception | None = fault

    async def offer(self, event: Event, correlation_id: str) -> None:
        if event.type == INVOICE_FINALIZED and self.fault:
            raise self.fault
        await super().offer(event, correlation_id)


def without_data(event: dict[str, Any]) -> None:
    del event["data"]


def without_object(event: dict[str, Any]) -> None:
    event["data"]["object"] = {}


def at_no_time(event: dict[str, Any]) -> None:
    event["created"] = "yesterday"


def broken(how: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    """Return what breaks the event that an invoice was finalized, in every answer of Stripe."""

    def rewritten(body: bytes) -> bytes:
        answer = json.loads(body)
        for each in answer.get("data", ()) if answer.get("object") == "list" else ():
            if each.get("type") == "invoice.finalized":
                how(each)
        return json.dumps(answer).encode()

    return rewritten


def finalized(account: StripeAccount) -> str:
    (found,) = account.api.v1.events.list({"type": "invoice.finalized"}).data
    return found.id


@pytest.mark.parametrize("how", [without_data, without_object, at_no_time])
def test_an_event_that_cannot_be_read_is_reported_once_and_the_others_are_taken(
    account: StripeAccount, tmp_path: Path, how: Callable[[dict[str, Any]], None]
) -> None:
    async def act(made: Bench[Billing]) -> None:
        await started(made, method="pm_card_visa")
        made.loopback.rewritten = broken(how)
        intake = KitIntake()
        await made.connector.begin()
        for _ in ("once", "again"):
            await made.connector.look(intake)
            (refused,) = [each for each in intake.events if each.type == RECORD_REFUSED]
            assert (refused.subject, refused.source) == (finalized(account), "billing/under-test")
            assert (refused.data["record"], refused.data["field"]) == ("invoice.finalized", "event")
            assert INVOICE_PAID in [each.type for each in intake.events]

    run_over(account, tmp_path, act)


def test_an_event_that_the_process_layer_refuses_keeps_no_other_back(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        await started(made, method="pm_card_visa")
        intake = Refusing(Rejected("process", "it is not taken", field="type"))
        await made.connector.begin()
        await made.connector.look(intake)
        (refused,) = [each for each in intake.events if each.type == RECORD_REFUSED]
        assert (refused.subject, refused.data["reason"]) == (finalized(account), "it is not taken")
        assert INVOICE_PAID in [each.type for each in intake.events]

    run_over(account, tmp_path, act)


@pytest.mark.parametrize("fault", [Unavailable("process", "away"), Misconfigured("process", "no such client")])
def test_a_fault_that_is_not_about_an_event_leaves_all_of_them_for_the_next_look(
    account: StripeAccount, tmp_path: Path, fault: Exception
) -> None:
    async def act(made: Bench[Billing]) -> None:
        await started(made, method="pm_card_visa")
        intake = Refusing(fault)
        await made.connector.begin()
        with pytest.raises(type(fault)):
            await made.connector.look(intake)
        intake.fault = None
        await made.connector.look(intake)
        types = [each.type for each in intake.events]
        assert (INVOICE_FINALIZED in types, INVOICE_PAID in types, RECORD_REFUSED in types) == (True, True, False)

    run_over(account, tmp_path, act)

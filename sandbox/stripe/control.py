"""What the control port lets happen to payments: what banks do, and what people set in the dashboard."""

from __future__ import annotations

from typing import Literal

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from sandbox.stripe.app import Stripe
from sandbox.stripe.dunning import Declines, Retries
from sandbox.stripe.errors import StripeError
from sandbox.stripe.objects import Object


class Return(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a direct debit is returned, in Stripe's words for the reasons of disputes."""

    reason: str = "insufficient_funds"


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the bank decides on a dispute."""

    outcome: Literal["won", "lost", "escalated"]


def routes(stripe: Stripe) -> list[HTTPRouteHandler]:
    """Return the handlers of one account. What Stripe would refuse is refused in its words."""

    @post("/billing/charges/{charge_id:str}/return", exception_handlers={StripeError: _refused})
    async def give_back(charge_id: FromPath[str], data: Return) -> Object:
        charge = stripe.account.get("charge", charge_id)
        with stripe.account.at(stripe.clocks.time(charge["customer"])):
            return stripe.disputes.returned(charge, data.reason)

    @post("/billing/disputes/{dispute_id:str}", exception_handlers={StripeError: _refused})
    async def decide(dispute_id: FromPath[str], data: Decision) -> Object:
        dispute = stripe.account.get("dispute", dispute_id)
        with stripe.account.at(stripe.clocks.time(stripe.account.get("charge", dispute["charge"])["customer"])):
            return stripe.disputes.decide(dispute, data.outcome)

    @post("/billing/payment_methods/{method_id:str}", exception_handlers={StripeError: _refused})
    async def decline(method_id: FromPath[str], data: Declines) -> Declines:
        stripe.due.dunning.refuse(method_id, data)
        return data

    @get("/billing/retries")
    async def retries() -> Retries:
        return stripe.due.dunning.settings()

    @post("/billing/retries")
    async def retry(data: Retries) -> Retries:
        stripe.due.dunning.configure(data)
        return data

    return [give_back, decide, decline, retries, retry]


def _refused(_: object, error: StripeError) -> Response[Object]:
    return Response(error.body, status_code=error.status)

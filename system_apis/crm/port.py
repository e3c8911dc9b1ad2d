"""What a CRM connector must do."""

from __future__ import annotations

from typing import Protocol

from canonical.deals import Deal, DealReference, DealStatus, PlacedDeal
from canonical.parties import Account, AccountSync
from system_apis.intake import Intake


class Crm(Protocol):
    """Every method raises leaves of `PlatformFault`."""

    async def deal(self, deal_id: str) -> Deal:
        """A closed deal as it is now, with its account, the account's ancestors and the price list's word on each line."""
        ...

    async def put_deal(self, deal: PlacedDeal) -> DealReference:
        """Create the deal and close it as won. One with the same key that is there already is taken up where it stands."""
        ...

    async def account(self, account_id: str) -> Account:
        """An account as it is now, without what only a deal decides: its ancestors above the next, and its potential_duplicates."""
        ...

    async def put_followed(self, account_id: str, followed: AccountSync) -> None:
        """Mark an account with the customer that it is and the revision that was followed."""
        ...

    async def put_status(self, deal_id: str, status: DealStatus, correlation_id: str) -> None:
        """Show the state of an order on its deal; with a contract, create or update that contract too."""
        ...

    async def watch(self, intake: Intake) -> None:
        """Offer every deal that closes, and every change to an account of a customer that is not an echo of our own
        writing, to `intake`, until cancelled. What is offered twice is the same event."""
        ...

    async def check(self) -> None:
        """Return when the platform answers."""
        ...

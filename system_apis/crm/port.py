"""What a CRM connector must do."""

from __future__ import annotations

from typing import Protocol

from canonical.deals import ContractCopy, Deal, DealReference, DealStatus, PlacedDeal, RenewalDeal
from canonical.parties import Account, AccountSync
from canonical.products import OwnedProducts
from system_apis.feed import Look, Reader
from system_apis.intake import Intake


class Crm(Reader, Protocol):
    """What the process layer needs of a CRM. Every method raises leaves of `PlatformFault`."""

    async def deal(self, deal_id: str) -> Deal:
        """Return a closed deal as it is now, with its account, the account's ancestors, and whether each line is
        listed.
        """
        ...

    async def put_deal(self, deal: PlacedDeal) -> DealReference:
        """Create the deal and close it as won. If one with the same key exists, go on from the state that it is in.

        An account that was merged into another is that other, here and in `put_status`.
        """
        ...

    async def put_renewal(self, deal: RenewalDeal) -> DealReference:
        """Create the opportunity that offers another term of a contract, for the account of the contract and the owner
        of the deal that it came of, with its lines. If there is one with the same key, go on from where it is, and
        leave what people have made of it. Raises `NotFound` for a contract that the CRM does not have."""
        ...

    async def account(self, account_id: str) -> Account:
        """Return an account as it is now. One that was merged into another is that other, as its `id` shows.

        Of its ancestors it holds the parent only, and no potential duplicates: `deal` returns those.
        """
        ...

    async def contract_copy(self, contract_id: str) -> ContractCopy:
        """Return what the CRM holds of a contract, by our id of it. Raises `NotFound`."""
        ...

    async def put_followed(self, account_id: str, followed: AccountSync) -> None:
        """Write to an account which customer of ours it is, and the revision of the account that was synced."""
        ...

    async def put_status(self, deal_id: str, status: DealStatus, correlation_id: str) -> None:
        """Show the state of an order on its deal; with a contract, create or update that contract too. One that was
        transferred is the account's from that day on; what the former account had of it stays there."""
        ...

    async def products(self, after: str, limit: int) -> OwnedProducts:
        """Return a page of the products, those that are out of use included, with their list prices in every currency.
        `after` is the cursor of the page before, empty for the first one. A product that cannot be read, or of which a
        price cannot, says so in its findings, and holds up no other."""
        ...

    async def look(self, intake: Intake) -> Look:
        """Offer to `intake` what is new since the last look. Return when to look again.

        There is an event for every deal that closes, and for every change to an account of a customer that is not an
        echo of our own writing. A record that cannot be read is an event of its own, and holds up no other. The same
        change offered twice is the same event. After a fault the next look offers again what this one did not.
        """
        ...

    async def check(self) -> None:
        """Return when the platform answers."""
        ...

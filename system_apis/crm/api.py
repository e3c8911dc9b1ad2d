"""The CRM's governed routes."""

from __future__ import annotations

from typing import Annotated

from litestar import Router
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from canonical.deals import ContractCopy, Deal, DealReference, DealStatus, PlacedDeal, RenewalDeal
from canonical.ids import KEY
from canonical.parties import Account, AccountSync
from canonical.products import OwnedProducts
from policies.context import correlation
from policies.contract.bodies import names_the_same
from policies.contract.operation import operation
from policies.contract.parameters import ForeignKey, Instance, Limit
from policies.outbound.residency import record_of
from policies.problems import WRITES
from system_apis.connector import Instances
from system_apis.crm.port import Crm

After = Annotated[
    str | None, QueryParameter(name="cursor", pattern=KEY, description="`next_cursor` of the page before")
]


@operation("get_deal", "GET", "/deals/{deal_id:str}", summary="Read a closed deal with all that decides about it")
async def get_deal(crms: NamedDependency[Instances[Crm]], deal_id: ForeignKey, instance: Instance = None) -> Deal:
    """Return the deal as the CRM has it at this moment, with its account, the account's ancestors and the price
    list's word on each line."""
    return await crms.named(instance).deal(deal_id)


@operation("get_account", "GET", "/accounts/{account_id:str}", summary="Read the account of a customer")
async def get_account(
    crms: NamedDependency[Instances[Crm]], account_id: ForeignKey, instance: Instance = None
) -> Account:
    """Return the account as the CRM has it at this moment, with its revision."""
    return await crms.named(instance).account(account_id)


@operation(
    "copy_of_crm_contract", "GET", "/contracts/{contract_id:str}", summary="Read what the CRM holds of a contract"
)
async def copy_of_crm_contract(
    crms: NamedDependency[Instances[Crm]], contract_id: ForeignKey, instance: Instance = None
) -> ContractCopy:
    """Return the fields that are copies there, by our own id of the contract."""
    return await crms.named(instance).contract_copy(contract_id)


@operation(
    "put_followed_account",
    "PUT",
    "/accounts/{account_id:str}/followed",
    summary="Mark an account as followed up to a revision",
    problems=WRITES,
)
async def put_followed_account(
    crms: NamedDependency[Instances[Crm]],
    account_id: ForeignKey,
    data: JSONBody[AccountSync],
    instance: Instance = None,
) -> AccountSync:
    """Write the mark by which the change feed knows an echo of our own writing: an account at this revision brings no
    event."""
    with record_of(data.legal_entity):
        await crms.named(instance).put_followed(account_id, data)
    return data


@operation(
    "put_deal_status",
    "PUT",
    "/deals/{deal_id:str}/status",
    summary="Show an order's state on its deal",
    problems=WRITES,
)
async def put_deal_status(
    crms: NamedDependency[Instances[Crm]], deal_id: ForeignKey, data: JSONBody[DealStatus], instance: Instance = None
) -> DealStatus:
    """Show where the order of a deal stands, and creates or updates the contract in the CRM once there is one."""
    with record_of(data.legal_entity):
        await crms.named(instance).put_status(deal_id, data, correlation.current())
    return data


@operation(
    "put_placed_deal",
    "PUT",
    "/placed-deals/{key:str}",
    summary="Bring an order that a channel took into the CRM, closed as won",
    problems=WRITES,
)
async def put_placed_deal(
    crms: NamedDependency[Instances[Crm]], key: ForeignKey, data: JSONBody[PlacedDeal], instance: Instance = None
) -> DealReference:
    """Create the opportunity with its lines at list prices and closes it. The same key again finds the first one."""
    names_the_same(key, data.key, "key")
    with record_of(data.legal_entity):
        return await crms.named(instance).put_deal(data)


@operation(
    "put_renewal_deal",
    "PUT",
    "/renewal-deals/{key:str}",
    summary="Offer another term of a contract as an open opportunity",
    problems=WRITES,
)
async def put_renewal_deal(
    crms: NamedDependency[Instances[Crm]], key: ForeignKey, data: JSONBody[RenewalDeal], instance: Instance = None
) -> DealReference:
    """Create the opportunity with its lines at the prices that are offered. The same key again finds the first one, and
    leaves what people have made of it."""
    names_the_same(key, data.key, "key")
    with record_of(data.legal_entity):
        return await crms.named(instance).put_renewal(data)


@operation("list_products", "GET", "/products", summary="List what is sold, with its list prices")
async def list_products(
    crms: NamedDependency[Instances[Crm]],
    after: After = None,
    limit: Limit = 50,
    instance: Instance = None,
) -> OwnedProducts:
    """Return products by pages, those that are out of use included. One that cannot be read says why."""
    return await crms.named(instance).products(after or "", limit)


router = Router(
    "/crm/v1",
    route_handlers=[
        get_deal,
        put_deal_status,
        put_placed_deal,
        put_renewal_deal,
        get_account,
        copy_of_crm_contract,
        put_followed_account,
        list_products,
    ],
    tags=["crm"],
)

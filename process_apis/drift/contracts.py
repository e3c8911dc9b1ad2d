"""A contract as billing runs it, and as the CRM shows it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from canonical.deals import ContractCopy, DealStatus
from canonical.faults import NotFound
from canonical.orders import Order
from policies.outbound.ownership import OWNERSHIP
from process_apis.amendments.contract import order_of
from process_apis.drift.comparison import Compared, NotKnown, OnItsWay, Value, compared
from process_apis.drift.customers import settled
from process_apis.records.amendments import Amendments
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE, status_of


class ContractLook:
    """What billing says of a contract, and what the CRM shows of it now.

    Billing's word is what we hold of the contract since billing has confirmed it: its own records have no term any more
    once a contract was changed. One that is not in force is not compared.
    """

    def __init__(self, context: WorkflowContext, contract_id: str) -> None:
        """Ask the CRM. Raises `OnItsWay`, `NotKnown` for a contract that is not known, and leaves of
        `PlatformFault`."""
        self._context = context
        self._contract_id = contract_id
        self._rules = OWNERSHIP.of(context.live_catalogue.current).get("contract", {})
        self._order, self._status = self._shown()
        self.customer_id = self._order.customer_id
        self.compared: tuple[Compared, ...] = ()
        self._held: ContractCopy | None = None
        if self._order.state not in IN_FORCE:
            return
        try:
            self._held = context.platforms.crm_contract(self._order.crm, contract_id)
        except NotFound:
            self._held = None
        if self._shown()[1] != self._status:
            raise OnItsWay("the contract was changed in this moment")
        self.compared = tuple(self._compare())

    def write(self, wanted: Compared) -> None:
        """Write what billing says of one field to the CRM. What it shows of the other fields stays. Raises leaves of
        `PlatformFault`."""
        status, held = self._status, self._held
        if held is not None:
            kept = {name: getattr(held, name) for field, name in NAMES.items() if wanted.field != f"contract.{field}"}
            kept = {name: value for name, value in kept.items() if value is not None}
            if kept.get("account_id", status.account_id) != status.account_id:
                kept["customer_id"] = ""  # the mark of the customer is for its own account
            status = msgspec.structs.replace(status, **kept)
        self._context.platforms.put_deal_status(self._order.crm, self._order.deal_id, status)

    def _shown(self) -> tuple[Order, DealStatus]:
        """Return the order of the contract, and what of it the CRM is to show, once it shows its state."""
        context = self._context
        order_id = order_of(context, self._contract_id)
        if not order_id:
            raise NotKnown(f"there is no contract {self._contract_id}")
        order = context.orders.as_it_stands(order_id, with_lines=False)
        if order.state in IN_FORCE:
            settled(context, order.customer_id)
            if context.orders.row(order_id).crm_status != order.state:
                raise OnItsWay("the state of the order is being written to its deal")
            if Amendments(context.database, context.clock).being_carried_out(self._contract_id):
                raise OnItsWay("a change of the contract is being carried out")
        return order, status_of(context, order)

    def _compare(self) -> Iterator[Compared]:
        held, crm = self._held, self._order.crm
        says: dict[str, Value] = {"id": self._contract_id}
        holds: dict[str, Value] = {"id": self._contract_id if held else ""}
        if held:
            says |= {field: getattr(self._status, name) for field, name in NAMES.items()}
            holds |= {field: getattr(held, name) for field, name in NAMES.items()}
        for field, value in holds.items():
            rule = self._rules.get(field)
            if rule and "crm" in rule.projections:
                name = f"contract.{field}"
                yield compared(name, rule.owner, says[field], crm, value, self._order.legal_entity)


NAMES = {"customer_id": "account_id", "starts_on": "starts_on", "term_months": "term_months"}
"""The fields of a contract that are compared, with what a status and a copy call them. The customer is the CRM's own id
of its account."""

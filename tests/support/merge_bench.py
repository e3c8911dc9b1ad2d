"""Customers whose accounts are merged and restored in a CRM, each synced when a test says so."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from canonical.cases import Case, CaseKind
from canonical.customer_merges import CustomerMergeAction, CustomerMergeSummary, LeadChoice
from canonical.faults import NotFound
from canonical.money import Money
from canonical.orders import Plan
from canonical.parties import Account, AccountSync, Address, Credit, Customer, LegalEntity
from policies.identity.authentication import Principal
from process_apis import account_merges, customer_sync
from process_apis.case_actions import CaseActions
from process_apis.customer_merge.decisions import MergeDecisions
from process_apis.customer_merge.overview import MergeOverview
from process_apis.order_cases import KINDS, OrderCases
from process_apis.records import cross_references, customers
from process_apis.records.amendments import Amendments
from process_apis.runtime.capability import CaseOwner, Signed
from process_apis.runtime.context import WorkflowContext
from process_apis.system_client import Platforms
from tests.support.process_context import LINES, SOMEBODY, contract_of

CRM, LOSER, LEFT = "salesforce", "001L", "001S"
FIRST, SECOND = "cus_first", "cus_second"
EVERYBODY = msgspec.structs.replace(SOMEBODY, subject="kim@tiergate.example")


class Org(Platforms):
    """A CRM with accounts, some of them merged, over billing and an ERP that take everything."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.into: dict[str, str] = {}
        self.marks: dict[str, str] = {}
        self.billed: dict[str, str] = {}
        self.owed: dict[str, int] = {}
        for each in (LOSER, LEFT):
            self.add(each)

    def add(self, account: str) -> None:
        self.accounts[account] = Account(account, f"Name of {account}", Address(country="DE"))

    def merge(self, loser: str, into: str) -> None:
        self.into[loser] = into

    def restore(self, account: str) -> None:
        del self.into[account]

    @property
    def present(self) -> list[str]:
        return [each for each in self.accounts if each not in self.into]

    def left(self, account: str) -> str:
        """Return the account that is left in the end."""
        while account in self.into:
            account = self.into[account]
        return account

    def merged(self, account: str) -> tuple[str, ...]:
        """Return those that were merged into an account, nearest first."""
        found: list[str] = []
        level = [account]
        while level:
            level = [each for each, into in self.into.items() if into in level]
            found += level
        return tuple(found)

    def account(self, crm: str, account_id: str) -> Account:
        assert crm == CRM
        left = self.left(account_id)
        if left not in self.accounts:
            raise NotFound("crm", f"there is no account {left}")
        return msgspec.structs.replace(self.accounts[left], merged=self.merged(left))

    def put_billing_customer(self, customer: Customer) -> str:
        self.billed[customer.id] = customer.name
        return customer.id

    def put_erp_customer(self, customer: Customer) -> str:
        return customer.id

    def put_account_sync(self, crm: str, account_id: str, sync: AccountSync) -> None:
        assert crm == CRM
        self.marks[account_id] = sync.customer_id

    def legal_entity(self, code: str) -> LegalEntity:
        return LegalEntity(code, "Seller", "DE", "EUR", {})

    def credit(self, customer_id: str, legal_entity: str, currencies: Collection[str], record: str) -> Credit:
        assert (list(currencies), record) == (["EUR"], f"party of {customer_id} in {legal_entity}")
        return Credit(Money(self.owed.get(customer_id, 0), "EUR"), Money(1000, "EUR"))


class Books:
    """Customers, each synced when a test says so."""

    def __init__(self, context: WorkflowContext) -> None:
        self.org = Org()
        self.context = msgspec.structs.replace(context, platforms=self.org)
        self.records = account_merges.records(self.context)
        self.decisions = MergeDecisions(self.context, self.records)
        self.overview = MergeOverview(self.context, self.records, Amendments(context.database, context.clock))
        cases = OrderCases(self.context, lambda _: None)
        owners: dict[CaseKind, CaseOwner] = {
            "duplicate_customer": CaseOwner(KINDS, Signed(cases.decide), allowed=cases.allowed),
            "merge_undone": CaseOwner(frozenset({"merge_undone"}), Signed(self.decisions.act)),
        }
        self._acts = CaseActions(self.context, owners)
        self._sold = 0

    def customer(self, customer_id: str, account: str, **facts: Any) -> None:
        made = Customer(customer_id, "Before", Address(country="DE"), references={CRM: account}, crm=CRM)
        cross_references.move(self.context.database, "cus", CRM, account, None, customer_id)
        customers.keep(self.context.database, msgspec.structs.replace(made, **{"legal_entity": "DE01"} | facts))

    def seen(self, customer_id: str) -> Customer:
        found = customers.last_seen(self.context.database, customer_id)
        assert found
        return found

    def sync(self, customer_id: str) -> None:
        """Sync a customer, and what is to be synced after it."""
        customers.expect_change(self.context.database, customer_id, "cor_1", self.context.clock())
        for each in (customer_id, FIRST, SECOND):
            assert customer_sync.follow(self.context, each) == "done"

    def of(self, account: str) -> str:
        return account_merges.customer_of(self.context, CRM, self.org.account(CRM, account))

    def sell(self, account: str, seller: str = "DE01") -> str:
        """Close a deal with an account as it is now, and carry it out. Return the id of the buyer."""
        context, present = self.context, self.org.account(CRM, account)
        buyer = account_merges.customer_of(context, CRM, present)
        if customers.last_seen(context.database, buyer) is None:
            made = Customer(buyer, present.name, present.address, references={CRM: present.id}, crm=CRM)
            customers.keep(context.database, msgspec.structs.replace(made, legal_entity=seller))
        self._sold += 1
        order_id, _ = context.orders.receive(CRM, f"deal{self._sold}", 1, "cor_1", context.stalled_at())
        contract = contract_of(f"con_{self._sold}", order_id, buyer, LINES, references={"customer": buyer})
        contract = msgspec.structs.replace(contract, legal_entity=seller)
        context.orders.accept(order_id, "Deal", "seller", Plan(self.seen(buyer), contract, present.id))
        return buyer

    def cases(self, customer_id: str) -> list[Case]:
        kinds = ("duplicate_customer", "customer_not_followed", "merge_undone")
        return [each for kind in kinds for each in self.context.cases.open_of(customer_id, kind)]

    def act(self, case: Case, action: Any) -> None:
        self._acts.act(case.id, action, "said so", EVERYBODY)

    def choose(self, merge_id: str, choice: LeadChoice, who: Principal = EVERYBODY) -> CustomerMergeSummary:
        wanted = CustomerMergeAction(choice, "they buy by it")
        return self.records.summary(self.decisions.choose(merge_id, wanted, who))

    def merges(self, who: Principal = EVERYBODY) -> list[CustomerMergeSummary]:
        """Return the merges that somebody may see, the first one first."""
        return list(reversed(self.records.page(who, None, None, None, 100).items))

    def one(self) -> CustomerMergeSummary:
        (found,) = self.merges()
        return found

"""What the fields, stages and values of one org are called: its mapping file, and what follows from it.

Queries are put together from it once for an org. Every name is checked, so that nothing else gets into a query.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from math import inf, isfinite, ulp
from pathlib import Path

import msgspec

from canonical.countries import is_country
from canonical.deals import CUSTOM_NAME, INTERVALS, MOST_CUSTOM
from canonical.money import UnknownCurrency, exponent
from policies.catalogue.model import Report
from policies.outbound.ownership import TECHNICAL, Fields
from system_apis.crm.salesforce.columns import MOST, TRANSFORMS, Column, Kind, Reader, Value, is_number
from system_apis.mapping_file import load

SHIPPED = Path(__file__).with_name("mapping.toml")
"""The mapping of an org that is set up as that of the demo."""
Source = str | Column
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
FIELD = re.compile(rf"{NAME.pattern}(\.{NAME.pattern})*")
DEAL, ACCOUNT, LINE, PRODUCT = "Opportunity", "Account", "OpportunityLineItems", "Product2"
CURRENCY, COUNTRY, STATE = "CurrencyIsoCode", "BillingCountryCode", "BillingStateCode"
WITHOUT_CODES = {COUNTRY: Column("BillingCountry", transform="country"), STATE: Column("BillingState")}
"""What an org without state and country picklists has in the place of their codes."""
RECIPIENT = "BillToContact__r"
RECIPIENT_COUNTRY = f"{RECIPIENT}.MailingCountryCode"
RECIPIENT_WITHOUT_CODES = Column(f"{RECIPIENT}.MailingCountry", transform="country")
DEAL_TERMS = {
    "purchase_order": Column("PurchaseOrder__c"),
    "days_until_due": Column("PaymentDays__c"),
    "bill_to.name": Column(f"{RECIPIENT}.Name"),
    "bill_to.email": Column(f"{RECIPIENT}.Email"),
    "bill_to.street": Column(f"{RECIPIENT}.MailingStreet"),
    "bill_to.postal_code": Column(f"{RECIPIENT}.MailingPostalCode"),
    "bill_to.city": Column(f"{RECIPIENT}.MailingCity"),
    "bill_to.country": Column(RECIPIENT_COUNTRY),
}
"""What was agreed for the invoices of a deal, in an org that is set up as that of the demo. `Evergreen__c` is there
too."""
RECORD_TYPE = "RecordType.DeveloperName"
KINDS: dict[str, Kind] = {
    "deal.starts_on": "day",
    "deal.term_months": "whole",
    "deal.revision": "whole",
    "deal.evergreen": "flag",
    "invoicing.days_until_due": "number",
    "account.tax_exempt": "flag",
    "line.quantity": "number",
    "line.unit_price": "number",
    "line.discount_percent": "number",
}
"""The kind of each canonical field that is no text."""


BOUNDS: dict[str, tuple[float, float, str]] = {
    "deal.term_months": (1, MOST, "write 1 or more: a contract without end has none"),
    "deal.revision": (1, MOST, "write 1 or more"),
    "invoicing.days_until_due": (0, MOST, "write 0 or more"),
    "line.quantity": (ulp(0.0), inf, "write more than 0"),
    "line.unit_price": (0, inf, "write 0 or more"),
    "line.discount_percent": (0, 100, "write 0 to 100"),
}
"""The least and the greatest value of a canonical field that is a number, and what to do about any other."""
RELATIONS = 5
"""Relationships that a query follows from a record to others (SOQL and SOSL Reference: Relationship Query Limitations).
An account's fields are read through its deal, which is one of them."""


class Stages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of values. `open_stage` is that of a deal which a channel has placed, until its lines are there;
    `active_contract` is the status of a contract in force, `renewal` and `cancellation` the `change` of a deal that
    renews or ends the contract which it names.

    `price_book` names the price book of deals that are placed, the standard one if empty. Only deals of the
    `record_types` (developer names) are sales here; the first is that of a deal that is placed.
    """

    open_stage: str
    won_stage: str
    active_contract: str
    renewal: str = "Renewal"
    cancellation: str = "Cancellation"
    price_book: str = ""
    record_types: tuple[str, ...] = ()


class DealFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a deal's own fields are.

    `contract_id` is our id of the contract that a deal changes, by default that of its `ContractId`; `change` is what
    says that it renews or ends the contract.
    """

    name: Source
    currency: Source
    legal_entity: Source
    starts_on: Source
    term_months: Source
    evergreen: Source = Column(constant=False)
    revision: Source = Column(constant=1)
    placed_by: Source = Column(constant="")
    contract_id: Source | None = None
    change: Source = Column("Type")


class AddressFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the parts of an account's address are."""

    street: Source
    postal_code: Source
    city: Source
    country: Source
    state: Source = Column(constant="")


class RecipientFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the fields of who gets the invoices are, where that is not the account itself."""

    name: Source = Column(constant="")
    email: Source = Column(constant="")
    street: Source = Column(constant="")
    postal_code: Source = Column(constant="")
    city: Source = Column(constant="")
    country: Source = Column(constant="")


class InvoicingFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a deal says what was agreed for its invoices."""

    purchase_order: Source = Column(constant="")
    days_until_due: Source | None = None
    bill_to: RecipientFields = RecipientFields()


class AccountFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an account's fields are."""

    name: Source
    tax_number: Source
    address: AddressFields
    payment_method: Source = Column(constant="")
    partner: Source = Column(constant="")
    tax_exempt: Source = Column(constant=False)


class LineFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the fields of a line are. `discount_percent` is of the unit price."""

    sku: Source
    name: Source
    quantity: Source
    unit_price: Source
    interval: Source
    discount_percent: Source = Column(constant=0)


class ProductFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the fields of a product are that only its copies need. Its other ones are those of a line.

    `category` says what accounting category it is created with in the ERP, `unit` in what it is sold.
    """

    category: Source = Column(constant="")
    unit: Source = Column(constant="")


class WrittenDeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields that show an order on its deal. `key` is the external id of one that a channel has placed."""

    key: str
    state: str
    detail: str
    order: str
    correlation: str


class WrittenLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The external id of a line that a channel has placed."""

    key: str


class WrittenAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields that show which customer an account is, and which state of it was synced."""

    customer: str
    revision: str


class WrittenContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The external id of a contract, and its reference to the deal."""

    contract: str
    deal: str


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields that are written, beside those of a deal that a channel has placed."""

    deal: WrittenDeal
    line: WrittenLine
    account: WrittenAccount
    contract: WrittenContract


class Custom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields of a deal that travel unchanged to the contract, the invoice and the ERP, under names of one's own."""

    deal: dict[str, Source] = {}


class OrgMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mapping file of one org."""

    org: Stages
    deal: DealFields
    account: AccountFields
    line: LineFields
    written: Written
    custom: Custom = Custom()
    invoicing: InvoicingFields = InvoicingFields()
    product: ProductFields = ProductFields()

    @property
    def contract(self) -> Source:
        """Return where a deal names the contract that it changes (Object Reference: Opportunity, ContractId)."""
        named = self.deal.contract_id
        return f"Contract.{self.written.contract.contract}" if named is None else named

    def columns(self) -> Iterator[tuple[tuple[str, ...], Source]]:
        """Yield each readable field with its path in the file."""
        deal = msgspec.structs.replace(self.deal, contract_id=self.contract)
        for record, fields in (
            ("deal", deal),
            ("account", self.account),
            ("line", self.line),
            ("product", self.product),
        ):
            for name, source in msgspec.structs.asdict(fields).items():
                if not isinstance(source, AddressFields):
                    yield (record, name), source
        for name, source in msgspec.structs.asdict(self.account.address).items():
            yield ("account", "address", name), source
        for name, source in self.custom.deal.items():
            yield ("custom", "deal", name), source
        yield ("invoicing", "purchase_order"), self.invoicing.purchase_order
        if self.invoicing.days_until_due is not None:
            yield ("invoicing", "days_until_due"), self.invoicing.days_until_due
        for name, source in msgspec.structs.asdict(self.invoicing.bill_to).items():
            yield ("invoicing", "bill_to", name), source


class Org:
    """One org in our terms: how each field is read and written, and what queries ask for."""

    def __init__(
        self, mapping: OrgMapping, currency: str = "", *, country_codes: bool = True, deal_terms: bool = False
    ) -> None:
        """`currency` is that of an org without multiple currencies; `country_codes` is whether it has state and country
        picklists, `deal_terms` whether it has the fields of `DEAL_TERMS`, which no mapping names then."""
        self.names = mapping.org
        self.written = mapping.written
        self.deal: dict[str, Reader] = {}
        self.account: dict[str, Reader] = {}
        self.line: dict[str, Reader] = {}
        self.product: dict[str, Reader] = {}
        self.custom: dict[str, Reader] = {}
        self.invoicing: dict[str, Reader] = {}
        self._reads_invoicing("days_until_due", Column())
        own = {"deal": (DEAL, self.deal), "line": (LINE, self.line), "product": (PRODUCT, self.product)}
        for (table, *path), source in mapping.columns():
            column = _column(source)
            if not country_codes and column.field in WITHOUT_CODES and not column.otherwise:
                column = WITHOUT_CODES[column.field]
            match table:
                case "deal" | "line" | "product":
                    record, readers = own[table]
                    readers[path[0]] = Reader(record, path[0], column)
                case "account":
                    self.account[".".join(path)] = Reader(ACCOUNT, ".".join(path), column)
                case "invoicing":
                    self._reads_invoicing(".".join(path), column)
                case _:
                    self.custom[path[1]] = Reader(DEAL, f"custom.{path[1]}", column)
        if currency:
            self.deal["currency"] = Reader(DEAL, "currency", Column(constant=currency))
        if deal_terms:
            self.deal["evergreen"] = Reader(DEAL, "evergreen", Column("Evergreen__c"))
            for name, column in DEAL_TERMS.items():
                plain = column.field == RECIPIENT_COUNTRY and not country_codes
                self._reads_invoicing(name, RECIPIENT_WITHOUT_CODES if plain else column)
        constant = self.deal["currency"].column.constant
        self._currency = str(constant) if constant else ""
        *record, field = self.deal["contract_id"].path or ("",)
        self.contract = tuple(record) if field == self.written.contract.contract else ()
        """The relationship from a deal to the contract that it changes, empty where a field of its own names it."""
        self.customer = Reader(ACCOUNT, "id", Column(self.written.account.customer))
        self.ours = f"{self.written.account.customer} != null"
        self.record_type = RECORD_TYPE if self.deal["legal_entity"].column.field == RECORD_TYPE else ""
        self._words = self._named()

    def _reads_invoicing(self, name: str, column: Column) -> None:
        self.invoicing[name] = Reader(DEAL, f"invoicing.{name}", column)

    def fields(self, fixed: Iterable[str], readers: Iterable[Reader], before: str = "") -> list[str]:
        """Return what a query asks for, each field once: Salesforce refuses one that is named twice."""
        wanted = [*fixed, *(path for reader in readers for path in reader.fields)]
        return list({each.lower(): f"{before}{each}" for each in wanted}.values())

    def in_currency(self, currency: str) -> str:
        """Return the condition for records in a currency, with its AND: none for an org that has one alone."""
        own = self.deal["currency"].column.field
        return f" AND {CURRENCY} = {quoted(currency)}" if own == CURRENCY else ""

    def sells_in(self, currency: str) -> bool:
        return not self._currency or self._currency == currency

    def is_ours(self) -> str:
        """Return the condition for the deals that are sales here, with its AND: none where all are."""
        types = ", ".join(map(quoted, self.names.record_types))
        return f" AND {RECORD_TYPE} IN ({types})" if types else ""

    def price_book(self) -> str:
        """Return the condition for the price book of what channels place."""
        named = self.names.price_book
        return f"Pricebook2.Name = {quoted(named)}" if named else "Pricebook2.IsStandard = true"

    def in_words(self, field: str) -> str:
        """Return the org's name of a canonical field: `deal.lines[0].quantity` may be
        `OpportunityLineItems[0].Quantity`."""
        if line := re.fullmatch(r"deal\.lines(\[\d+\])\.(\w+)", field):
            reader = self.line.get(line[2])
            return reader.words(line[1]) if reader else f"{LINE}{line[1]}.{LINE_WORDS.get(line[2], line[2])}"
        return self._words.get(field, field)

    def _named(self) -> dict[str, str]:
        words = dict(WORDS) | {"customer.id": self.customer.words()}
        words |= {f"deal.{name}": each.words() for name, each in self.deal.items()}
        words |= {f"deal.account.{name}": each.words() for name, each in self.account.items()}
        words |= {f"deal.{each.name}": each.words() for each in (*self.custom.values(), *self.invoicing.values())}
        return words

    @property
    def names_contract(self) -> str:
        """Return the field in which a deal names the contract that it changes by the org's own id of that; empty where
        it does so in another way."""
        if len(self.contract) != 1:
            return ""
        (relation,) = self.contract
        return f"{relation.removesuffix('__r')}__c" if relation.endswith("__r") else f"{relation}Id"

    @property
    def offers(self) -> Fields:
        """Return what is written of a deal that offers another term of a contract, beside what is of any deal; nothing
        where the mapping names no field for one of both, so that none can be offered."""
        contract, change = self.names_contract or self.deal["contract_id"].own_field, self.deal["change"].own_field
        return {contract: "deal.contract_id", change: "deal.change"} if contract and change else {}

    def writable(self) -> dict[str, Fields]:
        """Return the fields that may be written, each with its field of the canonical model."""
        written = self.written
        placed = {
            field: f"deal.{name}" for name, each in self.deal.items() if name in PLACED and (field := each.own_field)
        }
        return {
            "Opportunity": {
                "AccountId": "deal.account",
                "Pricebook2Id": "deal.lines",
                "StageName": "deal.won",
                "CloseDate": TECHNICAL,
                "RecordTypeId": "deal.legal_entity" if self.record_type else TECHNICAL,
                "OwnerId": TECHNICAL,
                **placed,
                **self.offers,
                written.deal.key: TECHNICAL,
                written.deal.state: "order.state",
                written.deal.detail: "order.blocked_reason",
                written.deal.order: "order.id",
                written.deal.correlation: "order.correlation_id",
            },
            "OpportunityLineItem": {
                "OpportunityId": "deal.lines",
                "PricebookEntryId": "deal.lines",
                "Quantity": "deal.lines",
                "UnitPrice": "deal.lines",
                "SortOrder": TECHNICAL,
                **({field: "deal.lines"} if (field := self.line["interval"].own_field) else {}),
                written.line.key: TECHNICAL,
            },
            "Account": {written.account.customer: "customer.id", written.account.revision: "customer.revision"},
            "Contract": {
                "AccountId": "contract.customer_id",
                "StartDate": "contract.starts_on",
                "ContractTerm": "contract.term_months",
                "Status": "contract.state",
                written.contract.deal: "contract.order_id",
                written.contract.contract: "contract.id",
            },
        }


SET = {
    "deal": ("AccountId", "Pricebook2Id", "StageName", "CloseDate", "RecordTypeId", "OwnerId"),
    "line": ("OpportunityId", "PricebookEntryId", "Quantity", "UnitPrice", "SortOrder"),
    "account": (),
    "contract": ("AccountId", "StartDate", "ContractTerm", "Status"),
}
"""The fields that every org has under the same name and that are written, by the table of `Written`."""
PLACED = ("name", "currency", "legal_entity", "starts_on", "term_months", "placed_by")
"""The fields of a deal that are written when a channel places it."""
WORDS = {
    "deal.won": "Opportunity.StageName",
    "deal.account": "Opportunity.AccountId",
    "deal.account.ancestors": "Account.ParentId",
    "deal.account.contact.name": "Contact.LastName",
    "deal.account.contact.email": "Contact.Email",
    "deal.lines": LINE,
}
"""The names of the fields that every org has under the same name."""
LINE_WORDS = {"listed": "PricebookEntry"}


def quoted(text: str) -> str:
    """Return `text` as a SOQL string literal (SOQL reference: quoted string escape sequences)."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@cache
def org_of(path: str, currency: str = "", *, country_codes: bool = True, deal_terms: bool = False) -> Org:
    """Return the org that a mapping file describes; the shipped one if `path` is empty. Raises `MappingError`."""
    mapping = load(Path(path) if path else SHIPPED, OrgMapping, _check)
    return Org(mapping, currency, country_codes=country_codes, deal_terms=deal_terms)


def _column(source: Source) -> Column:
    return Column(source) if isinstance(source, str) else source


def _check(mapping: OrgMapping) -> Iterator[Report]:
    """Report what the shape alone does not show."""
    yield from _of_custom(mapping.custom.deal)
    for path, source in mapping.columns():
        yield from _of_column(path, _column(source))
    yield from _of_written(mapping)
    for key in ("open_stage", "won_stage", "active_contract"):
        if not getattr(mapping.org, key):
            yield ("org", key), "it is empty", "write the name of the value, as it is in the org's picklist"
    for each in mapping.org.record_types:
        if not NAME.fullmatch(each):
            yield ("org", "record_types"), f"{each!r} is no developer name", "write one such as New_Business"


def _of_custom(names: Collection[str]) -> Iterator[Report]:
    for name in names:
        if not CUSTOM_NAME.fullmatch(name):
            remedy = "write lower case letters, digits and underscores, 33 at most"
            yield ("custom", "deal", name), f"{name!r} is no name of a custom field", remedy
    if len(names) > MOST_CUSTOM:
        yield ("custom", "deal"), f"{len(names)} fields are too many", f"name {MOST_CUSTOM} at most"


def _of_written(mapping: OrgMapping) -> Iterator[Report]:
    """Report what is no name, and what would be written over: Salesforce takes names in any case."""
    for record, fields in msgspec.structs.asdict(mapping.written).items():
        others = {name.lower(): "written with something else" for name in SET[record]}
        for path, source in mapping.columns():
            column = _column(source)
            if path[0] == record:
                others |= {name.lower(): ".".join(path) for name in (column.field, column.otherwise)}
        for key, name in msgspec.structs.asdict(fields).items():
            where = ("written", record, key)
            if not NAME.fullmatch(name):
                yield where, f"{name!r} is no name of a field", "write one such as Status__c"
            elif other := others.get(name.lower()):
                yield where, f"{name} is {other}, and would be written over", "name a field of its own"
            others[name.lower()] = f"written.{record}.{key}"


def _of_column(path: tuple[str, ...], column: Column) -> Iterator[Report]:
    kind: Kind = KINDS.get(".".join(path), "text")
    if bool(column.field) == (column.constant is not None):
        yield path, "it needs a field or a constant, and not both", 'write "Field__c", or { constant = … }'
    for key, name in (("field", column.field), ("otherwise", column.otherwise)):
        if name and not FIELD.fullmatch(name):
            yield (*path, key), f"{name!r} is no name of a field", "write one such as Region__c or Owner.Region__c"
        elif name.count(".") > (most := RELATIONS - (path[0] == "account")):
            yield (*path, key), f"{name!r} follows {name.count('.')} relationships", f"follow {most} at most"
    if not column.field and (column.otherwise or column.values or column.transform or column.default is not None):
        yield path, "without a field nothing is read", "take everything but the constant out"
    if column.transform and TRANSFORMS[column.transform][0] != kind:
        fitting = [name for name, (of, _) in TRANSFORMS.items() if of == kind]
        remedy = f"use {' or '.join(fitting)}, or leave it out" if fitting else "leave it out"
        yield (*path, "transform"), f"{column.transform} is for another kind of field", remedy
    given = {f"values.{theirs}": value for theirs, value in column.values.items()}
    given |= {key: value for key in ("default", "constant") if (value := getattr(column, key)) is not None}
    for key, value in given.items():
        if remedy := _unfit(".".join(path), kind, value):
            yield (*path, key), f"{value!r} is none of its values", remedy


def _unfit(field: str, kind: Kind, value: Value) -> str:
    """Return what to write in the place of a canonical value, empty for a good one."""
    match kind:
        case "flag":
            return "" if isinstance(value, bool) else "write true or false"
        case "whole" | "number":
            return _unfit_number(field, kind, value)
        case "day":
            return "take it out: a day is read from a field"
        case "text":
            if not isinstance(value, str):
                return "write a text in quotes"
    return _unfit_text(field, value) if value else ""


def _unfit_number(field: str, kind: Kind, value: Value) -> str:
    if not is_number(value) or not isfinite(value) or (kind == "whole" and not isinstance(value, int)):
        return "write a whole number" if kind == "whole" else "write a number"
    least, most, remedy = BOUNDS[field]
    return "" if least <= value <= most else remedy


def _unfit_text(field: str, value: str) -> str:
    match field:
        case "line.interval" if value not in INTERVALS:
            return f"use one of {', '.join(INTERVALS)}"
        case "deal.currency":
            try:
                exponent(value)
            except UnknownCurrency:
                return "write an ISO 4217 code such as EUR"
        case "account.address.country" | "invoicing.bill_to.country" if not is_country(value):
            return "write an ISO 3166-1 code such as DE"
        case _:
            pass
    return ""

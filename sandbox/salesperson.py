"""A salesperson's client: sells through the CRM's own API, and knows nothing of Tiergate."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from sandbox.seed import Crm


class SaleLine(msgspec.Struct, frozen=True):
    """A product of the price list. `unit_price` is in major units; None takes the price list's.

    `discount` is in per cent of the price.
    """

    code: str
    quantity: float
    unit_price: float | None = None
    discount: float | None = None


class Sale(msgspec.Struct, frozen=True):
    """What is sold to whom. With `parent`, the buyer belongs to another company."""

    buyer: str
    lines: tuple[SaleLine, ...]
    parent: str | None = None
    country: str = "DE"
    tax_number: str | None = None
    payment_method: str | None = "pm_card_visa"
    legal_entity: str | None = "DE01"
    currency: str = "EUR"
    partner: str | None = None
    """The partner that serves the buyer, by its name in Tiergate's catalogue."""
    starts_on: date | None = None
    """The first day of the contract; the day of the sale, if not said."""
    evergreen: bool = False
    purchase_order: str | None = None
    bill_to: str | None = None
    """The last name of who gets the invoices, if it is not the buyer itself."""


def open_deal(crm: Crm, sale: Sale, today: date, account_id: str | None = None) -> tuple[str, str]:
    """Create account, contact and an opportunity with lines, not closed yet.

    Return the ids of account and opportunity.
    """
    if account_id is None:
        parent = crm.create("Account", Name=sale.parent) if sale.parent else None
        account_id = crm.create(
            "Account",
            Name=sale.buyer,
            ParentId=parent,
            BillingStreet="Hauptstraße 1",
            BillingPostalCode="10115",
            BillingCity="Berlin",
            BillingCountryCode=sale.country,
            VatNumber__c=sale.tax_number,
            PaymentMethod__c=sale.payment_method,
            Partner__c=sale.partner,
        )
        crm.create("Contact", FirstName="Kim", LastName="Beispiel", Email="kim@example.com", AccountId=account_id)
    price_list = crm.query("SELECT Id FROM Pricebook2 WHERE IsStandard = true LIMIT 1")[0]["Id"]
    recipient = None
    if sale.bill_to:
        place = {"MailingStreet": "Ring 2", "MailingCity": "Wien", "MailingCountryCode": "AT"}
        recipient = crm.create("Contact", LastName=sale.bill_to, AccountId=account_id, **place)
    deal = crm.create(
        "Opportunity",
        Name=f"{sale.buyer} – subscription",
        AccountId=account_id,
        Pricebook2Id=price_list,
        StageName="Negotiation/Review",
        CloseDate=today.isoformat(),
        CurrencyIsoCode=sale.currency,
        LegalEntity__c=sale.legal_entity,
        StartDate__c=(sale.starts_on or today).isoformat(),
        TermMonths__c=None if sale.evergreen else 12,
        Evergreen__c=sale.evergreen,
        PurchaseOrder__c=sale.purchase_order,
        BillToContact__c=recipient,
    )
    for order, line in enumerate(sale.lines):
        entries = crm.query(
            f"SELECT Id, UnitPrice{', CurrencyIsoCode' if crm.multi_currency else ''} FROM PricebookEntry "
            f"WHERE Product2.ProductCode = '{line.code}' AND Pricebook2Id = '{price_list}'"
        )
        entry = next((each for each in entries if each.get("CurrencyIsoCode") == sale.currency), entries[0])
        price = entry["UnitPrice"] if line.unit_price is None else line.unit_price
        crm.create(
            "OpportunityLineItem",
            OpportunityId=deal,
            PricebookEntryId=entry["Id"],
            Quantity=line.quantity,
            UnitPrice=price,
            Discount=line.discount,
            SortOrder=order,
        )
    return account_id, deal


def open_change(
    crm: Crm, contract_id: str, lines: tuple[SaleLine, ...], today: date, *, kind: str | None = None
) -> str:
    """Create an opportunity that changes a contract, which is known by its id in the CRM, not closed yet. The quantity
    of a line is how many more, or less, there are to be; `kind` is its type. Return its id."""
    (contract,) = crm.query(
        "SELECT AccountId, Opportunity__r.LegalEntity__c, Opportunity__r.CurrencyIsoCode FROM Contract "
        f"WHERE Id = '{contract_id}' LIMIT 1"
    )
    sold: dict[str, Any] = contract["Opportunity__r"] or {}
    sale = Sale(
        "Change of a contract",
        lines,
        legal_entity=sold.get("LegalEntity__c", "DE01"),
        currency=sold.get("CurrencyIsoCode", "EUR"),
    )
    _, deal = open_deal(crm, sale, today, contract["AccountId"])
    crm.update("Opportunity", deal, ContractId=contract_id, Type=kind)
    return deal


def close_deal(crm: Crm, deal: str) -> None:
    """Close the deal as won: the one click that everything follows from."""
    crm.update("Opportunity", deal, StageName="Closed Won")

"""Orgs whose administrators have called things otherwise: other names of fields, stages and values for the same."""

from __future__ import annotations

from typing import Any

import msgspec

from sandbox.salesforce.schema import STAGES, SObject, Stage, objects_of

Values = dict[str, str | float]


class Dialect(msgspec.Struct, frozen=True):
    """The names of an org for what the demo's org has, by the demo's names.

    `values` holds those of a field's values, by the field's name in the demo's org. Without `multi_currency` no record
    names a currency, and without `country_picklists` there are no codes of countries.
    """

    names: dict[str, str] = {}
    values: dict[str, Values] = {}
    multi_currency: bool = True
    country_picklists: bool = True

    def objects(self) -> dict[str, SObject]:
        """Return the objects of the org."""
        made = objects_of(multi_currency=self.multi_currency, country_picklists=self.country_picklists)
        return {
            name: msgspec.structs.replace(
                each,
                fields={
                    self.names.get(field, field): msgspec.structs.replace(
                        about,
                        values=tuple(str(self.value(field, value)) for value in about.values),
                        relationship=self.names.get(about.relationship, about.relationship),
                    )
                    for field, about in each.fields.items()
                },
            )
            for name, each in made.items()
        }

    def stages(self) -> tuple[Stage, ...]:
        return tuple(msgspec.structs.replace(each, name=str(self.value("StageName", each.name))) for each in STAGES)

    def value(self, field: str, value: Any) -> Any:
        """Return the org's value for one of the demo's."""
        return self.values.get(field, {}).get(str(value), value)

    def fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the org's fields for some of the demo's."""
        return {
            self.names.get(name, name): self.value(name, value)
            for name, value in fields.items()
            if self.multi_currency or name != "CurrencyIsoCode"
        }


DEMO = Dialect()
GROUP = Dialect(
    names={
        "LegalEntity__c": "Gesellschaft__c",
        "StartDate__c": "Vertragsbeginn__c",
        "TermMonths__c": "Laufzeit_Jahre__c",
        "Evergreen__c": "Unbefristet__c",
        "PurchaseOrder__c": "Bestellnummer__c",
        "PaymentDays__c": "Zahlungsziel__c",
        "BillToContact__c": "Rechnungsempfaenger__c",
        "BillToContact__r": "Rechnungsempfaenger__r",
        "Revision__c": "Fassung__c",
        "PlacedBy__c": "Besteller__c",
        "CostCenter__c": "Kostenstelle__c",
        "VatNumber__c": "USt_IdNr__c",
        "PaymentMethod__c": "Zahlungsmittel__c",
        "Partner__c": "Betreuer__c",
        "BillingInterval__c": "Abrechnung__c",
        "BillingCountryCode": "BillingCountry",
        "BillingStateCode": "BillingState",
        "MailingCountryCode": "MailingCountry",
        "TiergateStatus__c": "Auftragsstand__c",
        "TiergateDetail__c": "Auftragshinweis__c",
        "TiergateOrder__c": "Auftrag__c",
        "TiergateKey__c": "Auftragsschluessel__c",
        "TiergateCorrelation__c": "Vorgang__c",
        "TiergateCustomer__c": "Debitor__c",
        "TiergateRevision__c": "Debitorstand__c",
        "TiergateContract__c": "Vertrag__c",
        "Opportunity__c": "Verkaufschance__c",
    },
    values={
        "StageName": {
            "Prospecting": "Kontakt",
            "Proposal/Price Quote": "Angebot",
            "Negotiation/Review": "Verhandlung",
            "Closed Won": "Gewonnen",
            "Closed Lost": "Verloren",
        },
        "Status": {"Draft": "Entwurf", "In Approval Process": "In Genehmigung", "Activated": "Gültig"},
        "LegalEntity__c": {"DE01": "Muster GmbH", "FR01": "Exemple SAS"},
        "TermMonths__c": {"12": 1, "24": 2},
        "BillingInterval__c": {
            "one_time": "einmalig",
            "month": "monatlich",
            "quarter": "vierteljährlich",
            "half_year": "halbjährlich",
            "year": "jährlich",
        },
        "BillingCountryCode": {"DE": "Germany", "FR": "France"},
        "MailingCountryCode": {"AT": "Austria"},
    },
    multi_currency=False,
    country_picklists=False,
)
"""A group's org in German, without multiple currencies and picklists of countries. Its mapping is the example in
`deploy/mappings/salesforce.toml`."""

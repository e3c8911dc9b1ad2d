"""The objects of the stand-in's org and their fields, standard and custom."""

from __future__ import annotations

from typing import Literal

import msgspec

FieldType = Literal[
    "id",
    "string",
    "textarea",
    "email",
    "phone",
    "url",
    "boolean",
    "double",
    "currency",
    "percent",
    "int",
    "date",
    "datetime",
    "reference",
    "picklist",
]


class Field(msgspec.Struct, frozen=True):
    """A field of an object.

    `to` names the object that a reference points at, `relationship` the name to follow it by. A `create_only` field
    cannot be changed later (Object Reference: the properties of each field).
    """

    type: FieldType = "string"
    to: str = ""
    relationship: str = ""
    required: bool = False
    external_id: bool = False
    read_only: bool = False
    create_only: bool = False
    values: tuple[str, ...] = ()
    length: int = 255
    """Characters that a text may have (Object Reference: the fields of each object)."""
    default: str | bool | float | None = None


class SObject(msgspec.Struct, frozen=True):
    """An object. `prefix` starts the record ids; `children` maps a child relationship to (object, reference field)."""

    name: str
    prefix: str
    fields: dict[str, Field]
    children: dict[str, tuple[str, str]] = {}

    def having(self, fields: dict[str, Field]) -> SObject:
        """Return the object with other fields."""
        return msgspec.structs.replace(self, fields=fields)


TEXT, MONEY, NUMBER, FLAG, DATE = (
    Field(),
    Field("currency"),
    Field("double"),
    Field("boolean", default=False),
    Field("date"),
)
AREA = Field("textarea", length=32_000)
LONG = Field("textarea", length=32_768)
"""A custom field of the type Long Text Area, at its usual length (Salesforce Help: Custom Field Types)."""
EMAIL, PHONE, URL = Field("email", length=80), Field("phone", length=40), Field("url")


class Stage(msgspec.Struct, frozen=True):
    """A value of an opportunity's stage, and what it says of it (Object Reference: OpportunityStage)."""

    name: str
    closed: bool = False
    won: bool = False


STAGES = (
    Stage("Prospecting"),
    Stage("Proposal/Price Quote"),
    Stage("Negotiation/Review"),
    Stage("Closed Won", closed=True, won=True),
    Stage("Closed Lost", closed=True),
)

SYSTEM = {
    "Id": Field("id", read_only=True),
    "IsDeleted": Field("boolean", default=False, read_only=True),
    "CreatedDate": Field("datetime", read_only=True),
    "CreatedById": Field("reference", "User", "CreatedBy", read_only=True),
    "LastModifiedDate": Field("datetime", read_only=True),
    "LastModifiedById": Field("reference", "User", "LastModifiedBy", read_only=True),
    "SystemModstamp": Field("datetime", read_only=True),
}


def _address(prefix: str) -> dict[str, Field]:
    lengths = {
        "Street": 255,
        "City": 40,
        "PostalCode": 20,
        "State": 80,
        "StateCode": 10,
        "Country": 80,
        "CountryCode": 10,
    }
    return {f"{prefix}{part}": Field(length=length) for part, length in lengths.items()}


def _sobject(
    name: str, prefix: str, fields: dict[str, Field], children: dict[str, tuple[str, str]] | None = None
) -> SObject:
    return SObject(name, prefix, SYSTEM | fields, children or {})


CUSTOM_FIELD = _sobject(
    "CustomField", "00N", {"DeveloperName": Field(required=True, length=80), "TableEnumOrId": Field(required=True)}
)
"""What the Tooling API has of each custom field (Tooling API: CustomField)."""
PERMISSIONS = tuple(
    f"Permissions{each}"
    for each in ("ApiEnabled", "AuthorApex", "CustomizeApplication", "ManageUsers", "ModifyAllData", "ViewAllData")
)
"""What a permission set may grant beside objects and fields, of some hundreds of permissions (Object Reference:
PermissionSet, PermissionsPermissionName)."""
USER_ACCESS = SObject(
    "UserPermissionAccess",
    "0ua",
    {"Id": SYSTEM["Id"], "LastCacheUpdate": Field("datetime", read_only=True)}
    | dict.fromkeys(PERMISSIONS, Field("boolean", default=False, read_only=True)),
)
"""The permissions of the user that asks, from all that it has them by: one row, for which nobody needs a permission
(Object Reference: UserPermissionAccess)."""
OBJECTS: dict[str, SObject] = {
    each.name: each
    for each in (
        _sobject(
            "PermissionSet",
            "0PS",
            {"Name": Field(required=True, length=80), "Label": Field(required=True, length=80), "Description": TEXT}
            | dict.fromkeys(PERMISSIONS, FLAG),
        ),
        USER_ACCESS,
        _sobject(
            "FieldPermissions",
            "01k",
            {
                "ParentId": Field("reference", "PermissionSet", "Parent", required=True, create_only=True),
                "SobjectType": Field(required=True, create_only=True),
                "Field": Field(required=True, create_only=True),
                "PermissionsRead": FLAG,
                "PermissionsEdit": FLAG,
            },
        ),
        _sobject(
            "PermissionSetAssignment",
            "0Pa",
            {
                "AssigneeId": Field("reference", "User", "Assignee", required=True, create_only=True),
                "PermissionSetId": Field(
                    "reference", "PermissionSet", "PermissionSet", required=True, create_only=True
                ),
            },
        ),
        _sobject(
            "User",
            "005",
            {
                "Username": Field(length=80),
                "Name": Field(length=121),
                "Email": EMAIL,
                "Country": Field(length=80),
                "IsActive": FLAG,
            },
        ),
        _sobject(
            "Account",
            "001",
            {
                "Name": Field(required=True),
                "MasterRecordId": Field("reference", "Account", "MasterRecord", read_only=True),
                "ParentId": Field("reference", "Account", "Parent"),
                "OwnerId": Field("reference", "User", "Owner"),
                "Type": TEXT,
                "Industry": TEXT,
                "NumberOfEmployees": Field("int"),
                "AnnualRevenue": MONEY,
                "AccountNumber": Field(length=40),
                "Phone": PHONE,
                "Fax": PHONE,
                "Website": URL,
                "Description": AREA,
                **_address("Billing"),
                **_address("Shipping"),
                "VatNumber__c": TEXT,
                "PaymentMethod__c": TEXT,
                "Partner__c": TEXT,
                "TiergateCustomer__c": Field(external_id=True),
                "TiergateRevision__c": TEXT,
            },
            {
                "Contacts": ("Contact", "AccountId"),
                "Opportunities": ("Opportunity", "AccountId"),
                "ChildAccounts": ("Account", "ParentId"),
                "Contracts": ("Contract", "AccountId"),
            },
        ),
        _sobject(
            "Contact",
            "003",
            {
                "MasterRecordId": Field("reference", "Contact", "MasterRecord", read_only=True),
                "FirstName": Field(length=40),
                "LastName": Field(required=True, length=80),
                "Email": EMAIL,
                "Phone": PHONE,
                "MobilePhone": PHONE,
                "Title": Field(length=128),
                "Department": Field(length=80),
                "AccountId": Field("reference", "Account", "Account"),
                "Name": Field(read_only=True, length=121),
                **_address("Mailing"),
            },
        ),
        _sobject(
            "RecordType",
            "012",
            {"Name": Field(length=80), "DeveloperName": Field(length=80), "SobjectType": TEXT, "IsActive": FLAG},
        ),
        _sobject(
            "OpportunityStage",
            "01J",
            {
                "MasterLabel": TEXT,
                "ApiName": TEXT,
                "IsActive": FLAG,
                "IsClosed": FLAG,
                "IsWon": FLAG,
                "SortOrder": Field("int"),
            },
        ),
        _sobject("Pricebook2", "01s", {"Name": Field(required=True), "IsActive": FLAG, "IsStandard": FLAG}),
        _sobject(
            "Product2",
            "01t",
            {
                "Name": Field(required=True),
                "ProductCode": Field(external_id=True),
                "Description": AREA,
                "Family": TEXT,
                "QuantityUnitOfMeasure": Field("picklist"),
                "IsActive": FLAG,
                "BillingInterval__c": Field("picklist", values=("one_time", "month", "quarter", "half_year", "year")),
            },
            {"PricebookEntries": ("PricebookEntry", "Product2Id")},
        ),
        _sobject(
            "PricebookEntry",
            "01u",
            {
                "Pricebook2Id": Field("reference", "Pricebook2", "Pricebook2", required=True),
                "Product2Id": Field("reference", "Product2", "Product2", required=True),
                "UnitPrice": Field("currency", required=True),
                "CurrencyIsoCode": TEXT,
                "IsActive": FLAG,
            },
        ),
        _sobject(
            "Opportunity",
            "006",
            {
                "Name": Field(required=True, length=120),
                "Type": TEXT,
                "LeadSource": TEXT,
                "NextStep": TEXT,
                "Probability": NUMBER,
                "Description": AREA,
                "AccountId": Field("reference", "Account", "Account"),
                "OwnerId": Field("reference", "User", "Owner"),
                "RecordTypeId": Field("reference", "RecordType", "RecordType"),
                # Object Reference: Opportunity, ContractId; of any account, and in any status
                "ContractId": Field("reference", "Contract", "Contract"),
                "Pricebook2Id": Field("reference", "Pricebook2", "Pricebook2"),
                "StageName": Field("picklist", required=True, values=tuple(each.name for each in STAGES)),
                "CloseDate": Field("date", required=True),
                "LastStageChangeDate": Field("datetime", read_only=True),
                "Amount": MONEY,
                "CurrencyIsoCode": TEXT,
                "IsClosed": Field("boolean", default=False, read_only=True),
                "IsWon": Field("boolean", default=False, read_only=True),
                "LegalEntity__c": TEXT,
                "StartDate__c": DATE,
                "TermMonths__c": NUMBER,
                "Evergreen__c": FLAG,
                "PurchaseOrder__c": TEXT,
                "PaymentDays__c": NUMBER,
                "BillToContact__c": Field("reference", "Contact", "BillToContact__r"),
                "Revision__c": Field("double", default=1),
                "CostCenter__c": TEXT,
                "TiergateStatus__c": TEXT,
                "TiergateDetail__c": LONG,
                "TiergateOrder__c": Field(external_id=True),
                "TiergateKey__c": Field(external_id=True),
                "PlacedBy__c": TEXT,
                "TiergateCorrelation__c": TEXT,
            },
            {"OpportunityLineItems": ("OpportunityLineItem", "OpportunityId")},
        ),
        _sobject(
            "OpportunityLineItem",
            "00k",
            {
                "OpportunityId": Field("reference", "Opportunity", "Opportunity", required=True, create_only=True),
                "PricebookEntryId": Field("reference", "PricebookEntry", "PricebookEntry", create_only=True),
                "Product2Id": Field("reference", "Product2", "Product2", create_only=True),
                "ProductCode": Field(read_only=True),
                "Name": Field(read_only=True),
                "Quantity": Field("double", required=True),
                "UnitPrice": MONEY,
                "ListPrice": Field("currency", read_only=True),
                "Discount": Field("percent"),
                "ServiceDate": DATE,
                "TotalPrice": Field("currency", read_only=True),
                "Description": AREA,
                "SortOrder": Field("int"),
                "TiergateKey__c": Field(external_id=True),
            },
        ),
        _sobject(
            "Contract",
            "800",
            {
                "AccountId": Field("reference", "Account", "Account", required=True),
                "ContractNumber": Field(read_only=True),
                "Status": Field(
                    "picklist", default="Draft", values=("Draft", "In Approval Process", "Activated", "Expired")
                ),
                "StartDate": DATE,
                "EndDate": Field("date", read_only=True),
                "ContractTerm": Field("int"),
                "Description": AREA,
                "TiergateContract__c": Field(external_id=True),
                "Opportunity__c": Field("reference", "Opportunity", "Opportunity__r"),
            },
        ),
    )
}


def objects_of(*, multi_currency: bool = True, country_picklists: bool = True) -> dict[str, SObject]:
    """Return the objects of an org. Without multiple currencies no record names one (Salesforce Help: Manage Multiple
    Currencies), and without state and country picklists there are no codes of them (Salesforce Help: State and Country
    Picklists)."""

    def is_there(name: str) -> bool:
        return (multi_currency or name != "CurrencyIsoCode") and (
            country_picklists or not name.endswith(("CountryCode", "StateCode"))
        )

    return {
        name: msgspec.structs.replace(each, fields={key: field for key, field in each.fields.items() if is_there(key)})
        for name, each in OBJECTS.items()
    }

"""Setting up an org: the custom fields that the mapping names, and the right of our user to see and edit them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest

from canonical.faults import Misconfigured, PlatformFault
from policies.store.documents import FileDocument
from policies.store.secret import NO_SECRET, Secret
from sandbox.salesforce.administration import ADMINISTRATOR
from sandbox.salesforce.app import salesforce_app
from system_apis.connector import ConnectorContext
from system_apis.crm import salesforce
from system_apis.crm.salesforce.connector import Salesforce
from system_apis.crm.salesforce.org import org_of
from system_apis.crm.salesforce.setup import SalesforceSetup, needed
from system_apis.feed_position import FeedPosition
from system_apis.setup import Step
from tests.integration.connectors.test_salesforce import PERSON, Org
from tests.support.connector_kit.subject import INSTANCE, Bench, bench

DATA = "/services/data/v66.0"
NEEDED = needed(org_of(""))
SALE = {"Name": "D", "StageName": "Prospecting", "CloseDate": "2026-01-01"}


class New(Org):
    """An org in which nobody has made any custom field, and its administrator."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name, sobject in self._org.objects.items():
            left = {field: each for field, each in sobject.fields.items() if not field.endswith("__c")}
            self._org.objects[name] = sobject.having(left)
            for each in self._org.live(sobject):
                self._store.put(name, each["Id"], {key: value for key, value in each.items() if key in left})
        self.token = self._platform.sign_in(ADMINISTRATOR)[0]

    def fields(self) -> dict[str, Any]:
        """Return the custom fields of the org, by name."""
        return {
            f"{name}.{field}": each
            for name, sobject in self._org.objects.items()
            for field, each in sobject.fields.items()
            if field.endswith("__c")
        }

    def make(self, sobject: str, **fields: Any) -> str:
        return str(self._org.create(sobject, fields, PERSON)["Id"])

    async def asked(self, method: str, path: str, body: Any = None, token: str = "") -> httpx.Response:
        """Ask the org past the connector."""
        transport = httpx.ASGITransport(cast("Any", salesforce_app(self._platform)))
        headers = {"authorization": f"Bearer {token or self.token}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://org", headers=headers) as http:
            return await http.request(method, f"{DATA}/{path}", json=body)

    async def field(self, name: str, **metadata: Any) -> httpx.Response:
        content = {"FullName": name, "Metadata": {"label": "Field", "type": "Text", "length": 80} | metadata}
        return await self.asked("POST", "tooling/sobjects/CustomField", content)


def prepared(made: Bench[Any], token: str | None = None) -> SalesforceSetup:
    position = FeedPosition(FileDocument(made.folder / "position"))
    context = ConnectorContext(INSTANCE, made.client, made.clock, lambda kind: kind, position, "")
    org = cast("New", made.subject)
    administrator = Secret(org.token if token is None else token) if token != "" else NO_SECRET
    return salesforce.prepare(cast("salesforce.Settings", made.settings), context, administrator)


async def done(made: Bench[Any], steps: list[Step]) -> None:
    for each in steps:
        if each.act:
            await made.call(each.act)


def asked(folder: Path, act: Callable[[New, Bench[Any]], Awaitable[None]]) -> None:
    async def run() -> None:
        org = New(folder)
        async with bench(org, folder) as made:
            made.settings = msgspec.structs.replace(made.settings, deal_terms=False)
            await act(org, made)

    asyncio.run(run())


def test_a_new_org_gets_every_field_that_the_mapping_names_once_and_fits_then(tmp_path: Path) -> None:
    async def act(org: New, made: Bench[Any]) -> None:
        assert await made.call(cast("Salesforce", made.connect()).misfits)
        first = await made.call(prepared(made).steps)
        assert {each.state for each in first} == {"missing"}
        assert first[0].what == "permission set Tiergate, which our user is assigned to"
        assert len(first) == len(NEEDED) + 1
        assert not org.fields()

        await done(made, first)

        assert org.fields().keys() == NEEDED.keys()
        (there,) = await made.call(prepared(made).steps)
        assert (there.what, there.state) == (f"{len(NEEDED)} custom fields, which our user may see and edit", "there")
        assert await made.call(cast("Salesforce", made.connect()).misfits) == []

    asked(tmp_path, act)


def test_the_fields_are_of_the_types_that_the_connector_reads_and_writes(tmp_path: Path) -> None:
    async def act(org: New, made: Bench[Any]) -> None:
        await done(made, await made.call(prepared(made).steps))

        fields = org.fields()
        assert {name: fields[name].type for name in ("Opportunity.StartDate__c", "Opportunity.TermMonths__c")} == {
            "Opportunity.StartDate__c": "date",
            "Opportunity.TermMonths__c": "double",
        }
        assert fields["Product2.BillingInterval__c"].values == ("one_time", "month", "quarter", "half_year", "year")
        assert fields["Opportunity.TiergateDetail__c"].length == 32_768
        assert fields["Contract.Opportunity__c"].to == "Opportunity"
        keys = {name.partition(".")[2] for name, each in fields.items() if each.external_id}
        assert keys == {"TiergateKey__c", "TiergateOrder__c", "TiergateCustomer__c", "TiergateContract__c"}

    asked(tmp_path, act)


def test_an_org_whose_deals_say_how_they_are_invoiced_gets_the_fields_for_it(tmp_path: Path) -> None:
    async def act(org: New, made: Bench[Any]) -> None:
        made.settings = msgspec.structs.replace(made.settings, deal_terms=True)
        await done(made, await made.call(prepared(made).steps))

        terms = {name: each.type for name, each in org.fields().items() if name not in NEEDED}
        assert terms == {
            "Opportunity.Evergreen__c": "boolean",
            "Opportunity.PurchaseOrder__c": "string",
            "Opportunity.PaymentDays__c": "double",
            "Opportunity.BillToContact__c": "reference",
        }
        assert org.fields()["Opportunity.BillToContact__c"].to == "Contact"
        assert await made.call(cast("Salesforce", made.connect()).misfits) == []

    asked(tmp_path, act)


def test_a_field_that_our_user_cannot_see_is_granted_and_not_made_again(tmp_path: Path) -> None:
    async def act(org: New, made: Bench[Any]) -> None:
        await done(made, await made.call(prepared(made).steps))
        soql = "SELECT Id FROM FieldPermissions WHERE Field = 'Account.VatNumber__c'"
        (hidden,) = (await org.asked("GET", f"query?q={soql}")).json()["records"]
        assert (await org.asked("DELETE", f"sobjects/FieldPermissions/{hidden['Id']}")).status_code == 204

        steps = await made.call(prepared(made).steps)
        assert [(each.what, each.state) for each in steps] == [
            ("permission set Tiergate, which our user is assigned to", "there"),
            ("custom field Account.VatNumber__c (Text)", "wrong"),
        ]
        await done(made, steps)
        assert [each.state for each in await made.call(prepared(made).steps)] == ["there"]

    asked(tmp_path, act)


def test_what_setup_made_is_taken_away_and_nothing_else(tmp_path: Path) -> None:
    async def act(org: New, made: Bench[Any]) -> None:
        assert (await org.field("Account.Partner__c")).status_code == 201
        await done(made, await made.call(prepared(made).steps))

        steps = await made.call(prepared(made).removal)
        kept = [(each.what, each.plan) for each in steps if each.state == "kept"]
        assert kept == [("custom field Account.Partner__c (Text)", "setup did not make it")]
        await done(made, steps)

        assert org.fields().keys() == {"Account.Partner__c"}
        assert [each.state for each in await made.call(prepared(made).removal)] == ["kept"]

    asked(tmp_path, act)


def test_fields_that_hold_values_are_not_taken_away(tmp_path: Path) -> None:
    async def act(org: New, made: Bench[Any]) -> None:
        await done(made, await made.call(prepared(made).steps))
        org.make("Opportunity", **SALE, LegalEntity__c="DE01")

        steps = await made.call(prepared(made).removal)

        states = {each.what.split()[2]: each.state for each in steps if each.what.startswith("custom field")}
        assert {name: state for name, state in states.items() if name.startswith("Opportunity.")}.keys() > set()
        assert {state for name, state in states.items() if name.startswith("Opportunity.")} == {"kept"}
        assert {state for name, state in states.items() if not name.startswith("Opportunity.")} == {"ours"}
        assert (steps[-1].what, steps[-1].state) == ("permission set Tiergate", "kept")

    asked(tmp_path, act)


@pytest.mark.parametrize(
    ("token", "reason"),
    [("", "you need the permission Customize Application"), ("wrong", "refuses the administrator's access token")],
)
def test_who_may_not_make_fields_is_refused_with_the_reason(tmp_path: Path, token: str, reason: str) -> None:
    async def act(_org: New, made: Bench[Any]) -> None:
        fault = await made.fault(prepared(made, token).steps)

        assert reason in fault.reason
        assert isinstance(fault, Misconfigured if token else PlatformFault)

    asked(tmp_path, act)


@pytest.mark.parametrize(
    ("name", "metadata", "code"),
    [
        ("Opportunity.Two__Parts__c", {}, "INVALID_FULLNAME"),
        ("Opportunity.Plain", {}, "INVALID_FULLNAME"),
        ("Opportunity.New__c", {"length": 256}, "FIELD_INTEGRITY_EXCEPTION"),
        ("Opportunity.New__c", {"type": "LongTextArea", "length": 32_768}, "FIELD_INTEGRITY_EXCEPTION"),
        ("Opportunity.New__c", {"label": ""}, "FIELD_INTEGRITY_EXCEPTION"),
        ("Opportunity.New__c", {"type": "Date"}, "FIELD_INTEGRITY_EXCEPTION"),
        ("Opportunity.Twice__c", {}, "DUPLICATE_DEVELOPER_NAME"),
        ("Nothing.New__c", {}, "NOT_FOUND"),
    ],
)
def test_the_stand_in_refuses_a_field_as_the_platform_does(
    tmp_path: Path, name: str, metadata: dict[str, Any], code: str
) -> None:
    async def run() -> str:
        org = New(tmp_path)
        assert (await org.field("Opportunity.Twice__c")).status_code == 201
        return (await org.field(name, **metadata)).json()[0]["errorCode"]

    assert asyncio.run(run()) == code


def test_the_stand_in_shows_a_new_field_to_nobody_until_it_is_granted(tmp_path: Path) -> None:
    async def run() -> None:
        org = New(tmp_path)
        await org.field("Account.New__c")
        lacks = await org.asked("GET", "query?q=SELECT New__c FROM Account")
        assert lacks.json()[0]["errorCode"] == "INVALID_FIELD"
        written = await org.asked("POST", "sobjects/Account", {"Name": "A", "New__c": "x"})
        assert written.json()[0]["errorCode"] == "INVALID_FIELD"

        refused = await org.asked(
            "POST", "sobjects/FieldPermissions", {"Field": "Account.Other__c", "SobjectType": "Account"}
        )
        assert refused.json()[0]["errorCode"] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"

    asyncio.run(run())

"""The mapping file of an org: what is refused at start, what does not fit the org, and what becomes of a deal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from canonical.deals import Deal, RenewalDeal
from canonical.faults import NotFound, PlatformFault, Rejected
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret
from sandbox.salesforce.dialect import DEMO, GROUP, Dialect
from system_apis.connector import Translation
from system_apis.crm import salesforce
from system_apis.crm.port import Crm
from system_apis.crm.salesforce.connector import Salesforce
from system_apis.crm.salesforce.org import SHIPPED
from system_apis.mapping_file import MappingError
from tests.integration.connectors.test_salesforce import CUT_OVER, PERSON, SECRET, Org
from tests.support.connector_kit import samples
from tests.support.connector_kit.crm import STARTS_ON
from tests.support.connector_kit.subject import Bench, KitIntake, bench

EXAMPLE = Path("deploy/mappings/salesforce.toml")
Act = Callable[["Mapped", Bench[Crm]], Awaitable[None]]


class Mapped(Org):
    """An org with a mapping file of its own."""

    def __init__(self, folder: Path, text: str, dialect: Dialect) -> None:
        self.dialect = dialect
        self._file = folder / "org.toml"
        self._file.write_text(text)
        super().__init__(folder)

    def settings(self, url: str) -> PlatformServer:
        return settings(self._file, url)

    async def deal_with(self, owner: str = PERSON, account: str = "", **fields: Any) -> str:
        """Return a won deal with some fields of the org's own."""
        deal = await self.close_deal(account or await self.account("Mapped"))
        self._org.update("Opportunity", deal, fields, owner)
        return deal

    def make(self, sobject: str, **fields: Any) -> str:
        return self._create(sobject, **fields)

    def change(self, sobject: str, record_id: str, **fields: Any) -> None:
        self._org.update(sobject, record_id, fields, PERSON)

    def record(self, sobject: str, record_id: str) -> dict[str, Any]:
        return self._org.get(sobject, record_id)

    def without(self, sobject: str, *fields: str) -> None:
        """Take fields away, as an administrator does who deletes or hides them."""
        known = self._org.objects[sobject]
        left = {name: each for name, each in known.fields.items() if name not in fields}
        self._org.objects[sobject] = msgspec.structs.replace(known, fields=left)


def settings(file: Path, url: str = "http://org") -> salesforce.Settings:
    return salesforce.Settings(
        url=url, client_id="app", cut_over=CUT_OVER, client_secret=Secret(SECRET), poll_seconds=0.02, mapping=str(file)
    )


def run(folder: Path, act: Act, changes: dict[str, str] | None = None, *, of: Path = SHIPPED) -> None:
    """Act on an org that is mapped by a shipped file with some changes of its text."""
    text = of.read_text()
    for before, after in (changes or {}).items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)

    async def case() -> None:
        org = Mapped(folder, text, GROUP if of == EXAMPLE else DEMO)
        async with bench(org, folder) as made:
            await act(org, made)

    asyncio.run(case())


async def read(made: Bench[Crm], deal: str) -> Deal:
    return await made.call(lambda: made.connector.deal(deal))


async def misfits(made: Bench[Crm]) -> dict[str, str]:
    """Return the remedy for each misfit."""
    found = await made.call(cast("Salesforce", made.connector).misfits)
    return {each.what: each.remedy for each in found}


async def example(made: Bench[Crm], deal: str = "") -> dict[str, Translation]:
    _, fields = await made.call(lambda: cast("Salesforce", made.connector).example(deal))
    return {each.field: each for each in fields}


async def refusal(made: Bench[Crm], deal: str) -> PlatformFault:
    return await made.fault(lambda: made.connector.deal(deal))


# ---- what is refused at start


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('won_stage = "Closed Won"', 'won = "Closed Won"', "line 7: org.won: there is no such key"),
        ('won_stage = "Closed Won"', 'won_stage = ""', "org.won_stage: it is empty"),
        ('revision = "Revision__c"', 'revision = { feld = "R__c" }', "deal.revision.feld: there is no such key"),
        ('"Partner__c"', '{ field = "Partner__c", transform = "lower" }', "use one of country, first_of_month"),
        ('"Partner__c"', "7", "line 23: account.partner: 7"),
        ('"LegalEntity__c"', '{ values = { A = "DE01" } }', "line 13: deal.legal_entity: it needs a field or a"),
        ('"LegalEntity__c"', '{ constant = "DE01", default = "FR01" }', "without a field nothing is read"),
        ('"LegalEntity__c"', '"Legal Entity"', "deal.legal_entity.field: 'Legal Entity' is no name of a field"),
        ('"CurrencyIsoCode"', '{ constant = "Euro" }', "write an ISO 4217 code such as EUR"),
        ('"BillingCountryCode"', '{ field = "Land__c", default = "DEU" }', "write an ISO 3166-1 code such as DE"),
        ('"Revision__c"', '{ field = "Revision__c", transform = "upper" }', "use years_to_months, or leave it out"),
        ('"Product2.BillingInterval__c"', '{ constant = "weekly" }', "use one of one_time, month, quarter, half"),
        ('"Partner__c"', '{ field = "Partner__c", default = 1 }', "write a text in quotes"),
        ("default = 12", 'default = "12"', "deal.term_months.default: '12' is none of its values"),
        ("default = 12", "default = 0", "line 15: deal.term_months.default: 0 is none of its values"),
        ('"Revision__c"', "{ constant = -1 }", "deal.revision.constant: -1 is none of its values; write 1 or more"),
        ('"Quantity"', "{ constant = 0 }", "line.quantity.constant: 0 is none of its values; write more than 0"),
        ('"Quantity"', "{ constant = inf }", "write a number"),
        ('"UnitPrice"', "{ constant = -0.5 }", "write 0 or more"),
        ('"UnitPrice"', '{ field = "A__c", values = { low = -1 } }', "line.unit_price.values.low: -1"),
        ('"Partner__c"', '"A__r.B__r.C__r.D__r.E__r.F__c"', "follows 5 relationships; follow 4 at most"),
        ('"LegalEntity__c"', '"A__r.B__r.C__r.D__r.E__r.F__r.G__c"', "follows 6 relationships; follow 5 at most"),
        ('state = "TiergateStatus__c"', 'state = "Owner.Status"', "written.deal.state: 'Owner.Status' is no name"),
        ('state = "TiergateStatus__c"', 'state = "stagename"', "stagename is written with something else"),
        ('state = "TiergateStatus__c"', 'state = "Name"', "Name is deal.name, and would be written over"),
        ('detail = "TiergateDetail__c"', 'detail = "tiergatestatus__c"', "is written.deal.state, and would be"),
        ("[written.line]", '[custom.deal]\n"Cost Center" = "C__c"\n[written.line]', "'Cost Center' is no name of a"),
    ],
)
def test_a_mistake_of_the_file_is_named_at_start_with_its_key_and_the_remedy(
    tmp_path: Path, before: str, after: str, complaint: str
) -> None:
    file, text = tmp_path / "org.toml", SHIPPED.read_text()
    assert before in text
    file.write_text(text.replace(before, after))

    with pytest.raises(MappingError) as caught:
        settings(file)

    assert complaint in str(caught.value)


def test_each_of_several_mistakes_of_a_file_has_a_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "org.toml"
    file.write_text(SHIPPED.read_text().replace("won_stage", "won").replace("active_contract", "active"))

    with pytest.raises(MappingError) as caught:
        settings(file)

    assert all(re.match(r" *org\.toml: line \d+: org\.", each) for each in str(caught.value).splitlines())
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize("path", ['"A__r.B__r.C__r.D__r.E__r.F__c"', '{ field = "Zero__c", default = 1 }'])
def test_what_is_just_within_the_bounds_is_taken(tmp_path: Path, path: str) -> None:
    file, key = tmp_path / "org.toml", '"LegalEntity__c"' if "__r" in path else '"Revision__c"'
    file.write_text(SHIPPED.read_text().replace(key, path))

    assert settings(file)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "org.toml"
    file.write_text(SHIPPED.read_text(), encoding="utf-8-sig")

    assert settings(file)


def test_more_custom_fields_than_billing_can_carry_are_refused(tmp_path: Path) -> None:
    many = "".join(f'f{each} = "F{each}__c"\n' for each in range(41))
    (tmp_path / "org.toml").write_text(f"{SHIPPED.read_text()}\n[custom.deal]\n{many}")

    with pytest.raises(MappingError, match="41 fields are too many"):
        settings(tmp_path / "org.toml")


# ---- what does not fit the org


@pytest.mark.parametrize("shipped", [SHIPPED, EXAMPLE])
def test_a_mapping_fits_the_org_that_it_was_written_for(tmp_path: Path, shipped: Path) -> None:
    async def act(_: Mapped, made: Bench[Crm]) -> None:
        assert await misfits(made) == {}

    run(tmp_path, act, of=shipped)


def test_what_the_org_lacks_of_what_the_mapping_names_is_said_with_its_key_and_what_to_do(tmp_path: Path) -> None:
    changes = {
        '"LegalEntity__c"': '"LegalEntitty__c"',
        '"Product2.BillingInterval__c"': '"Produkt.BillingInterval__c"',
        'sku = "ProductCode"': 'sku = "Quantity"',
        '"Closed Won"': '"Closed Lost"',
        '"Negotiation/Review"': '"Negotiation"',
        '"Activated"': '"Active"\nprice_book = "Partners"\nrecord_types = ["New_Business"]',
        'detail = "TiergateDetail__c"': 'detail = "IsWon"',
        'deal = "Opportunity__c"': 'deal = "Description"',
    }

    async def act(org: Mapped, made: Bench[Crm]) -> None:
        org.make("RecordType", DeveloperName="New_Busines", SobjectType="Opportunity", IsActive=True)
        org.without("Account", "Partner__c")
        found = await misfits(made)

        keys = {what.partition(": ")[0] for what in found}
        assert keys == {
            "account.partner",
            "deal.legal_entity",
            "line.interval",
            "line.sku",
            "org.active_contract",
            "org.open_stage",
            "org.price_book",
            "org.record_types",
            "org.won_stage",
            "written.contract.deal",
            "written.deal.detail",
        }
        remedy = found["deal.legal_entity: Opportunity has no field 'LegalEntitty__c'"]
        assert "did you mean LegalEntity__c?" in remedy
        assert "or create it with `tiergate setup crm under-test`" in remedy
        assert "did you mean" not in found["account.partner: Account has no field 'Partner__c'"]
        assert "use one of Closed Won" in found["org.won_stage: 'Closed Lost' is no stage of won deals"]
        kind = found["org.record_types: the org has no record type of deals 'New_Business'"]
        assert "(did you mean New_Busines?)" in kind

    run(tmp_path, act, changes)


def test_a_name_in_another_case_is_said_since_the_answers_of_the_org_have_it_in_one(tmp_path: Path) -> None:
    changes = {
        '"Partner__c"': '"partner__c"',
        '"Product2.BillingInterval__c"': '"product2.BillingInterval__c"',
        'revision = "TiergateRevision__c"': 'revision = "tiergaterevision__c"',
    }

    async def act(_: Mapped, made: Bench[Crm]) -> None:
        found = await misfits(made)

        assert {what.partition(": ")[0]: remedy.partition(":")[0] for what, remedy in found.items()} == {
            "account.partner": "write Partner__c",
            "line.interval": "write Product2",
            "written.account.revision": "write TiergateRevision__c",
        }

    run(tmp_path, act, changes)


def test_a_value_of_a_picklist_that_the_mapping_has_not_is_said_before_a_deal_has_it(tmp_path: Path) -> None:
    async def act(_: Mapped, made: Bench[Crm]) -> None:
        (what,) = await misfits(made)
        assert "the picklist StageName has 'Closed Lost', too" in what

    stages = (
        'values = { Prospecting = "p", "Proposal/Price Quote" = "q", "Negotiation/Review" = "n", "Closed Won" = "w" }'
    )
    run(
        tmp_path, act, {"[written.deal]": f'[custom.deal]\nstage = {{ field = "StageName", {stages} }}\n[written.deal]'}
    )


def test_what_contracts_cannot_be_offered_again_by_is_said_and_stops_nothing_else(tmp_path: Path) -> None:
    async def hidden(org: Mapped, made: Bench[Crm]) -> None:
        org.without("Opportunity", "OwnerId")
        found = await made.call(cast("Salesforce", made.connector).misfits)
        own = {each.what: each.blocks for each in found if "renewals are written to" in each.what}
        assert own == {"Opportunity has no field 'OwnerId', which renewals are written to": False}

    async def unnamed(_: Mapped, made: Bench[Crm]) -> None:
        found = await made.call(cast("Salesforce", made.connector).misfits)
        assert [each.blocks for each in found if "deal.contract_id and deal.change" in each.what] == [False]
        offer = RenewalDeal("k", "rnw_1", "Seats", "006", "con_1", "DE01", "EUR", date(2027, 3, 1), 12, ())
        fault = await made.fault(lambda: made.connector.put_renewal(offer))
        assert fault.field == "deal.change"

    for each in ("hidden", "unnamed"):
        (tmp_path / each).mkdir()
    run(tmp_path / "hidden", hidden)
    constant = '[deal]\nchange = { constant = "Renewal" }'
    run(tmp_path / "unnamed", unnamed, {"[deal]": constant})


def test_a_mapping_is_held_against_the_org_in_a_request_for_each_object(tmp_path: Path) -> None:
    async def act(_: Mapped, made: Bench[Crm]) -> None:
        await misfits(made)

        described = [each.path for each in made.loopback.seen if each.path.endswith("/describe")]
        assert len(described) == len(set(described)) == 7  # four objects, the product, the owner and our own rights

    run(tmp_path, act)


# ---- what becomes of a deal


def test_a_deal_of_an_org_of_other_names_is_read_as_one_of_ours(tmp_path: Path) -> None:
    async def act(org: Mapped, made: Bench[Crm]) -> None:
        fields: dict[str, Any] = {
            "Gesellschaft__c": "Exemple SAS",
            "Laufzeit_Jahre__c": 2,
            "Vertragsbeginn__c": "2026-04-01",
        }
        fields["Kostenstelle__c"] = "4711"
        deal = await read(made, await org.deal_with(**fields))

        assert (deal.legal_entity, deal.term_months, str(deal.starts_on)) == ("FR01", 24, "2026-04-01")
        assert (deal.currency, deal.account.address.country, deal.revision) == ("EUR", "DE", 1)
        assert [each.interval for each in deal.lines] == ["year"]
        assert deal.custom == {"cost_center": "4711"}

    run(tmp_path, act, of=EXAMPLE)


def test_a_value_that_no_table_has_holds_the_deal_on_its_canonical_field(tmp_path: Path) -> None:
    async def act(org: Mapped, made: Bench[Crm]) -> None:
        fault = await refusal(made, await org.deal_with(Gesellschaft__c="Muster AG"))

        assert isinstance(fault, Rejected)
        assert fault.field == "deal.legal_entity"
        assert fault.reason == "Opportunity.Gesellschaft__c: 'Muster AG' is none of the values of the mapping"

    run(tmp_path, act, of=EXAMPLE)


def test_what_is_not_written_is_the_default_and_a_field_without_one_is_empty(tmp_path: Path) -> None:
    async def act(org: Mapped, made: Bench[Crm]) -> None:
        deal = await read(made, await org.deal_with())

        assert (deal.legal_entity, deal.term_months, deal.custom) == (None, 12, {})
        assert str(deal.starts_on) == "2026-01-01"  # the day of its close

    run(tmp_path, act, of=EXAMPLE)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('{ constant = "FR01" }', "FR01"),
        ('{ field = "LegalEntity__c", default = "FR01" }', "FR01"),
        ('{ field = "Owner.Country", values = { Germany = "DE01", France = "FR01" } }', "FR01"),
        ('{ field = "LegalEntity__c", otherwise = "Owner.Country", values = { France = "FR01" } }', "FR01"),
        ('{ field = "Account.BillingCountryCode", values = { DE = "DE01" } }', "DE01"),
        ('{ field = "RecordType.DeveloperName", values = { Deal_FR = "FR01", Deal_DE = "DE01" } }', "FR01"),
        ('{ field = "Description", transform = "upper" }', "FR01"),
    ],
)
def test_the_company_that_sells_is_found_by_the_owner_the_country_the_kind_of_deal_or_is_always_the_same(
    tmp_path: Path, source: str, expected: str
) -> None:
    async def act(org: Mapped, made: Bench[Crm]) -> None:
        kind = org.make("RecordType", DeveloperName="Deal_FR", SobjectType="Opportunity", IsActive=True)
        owner = org.make("User", Username="c@example.com", Country="France")
        deal = await org.deal_with(OwnerId=owner, RecordTypeId=kind, Description="fr01")

        assert (await read(made, deal)).legal_entity == expected

    run(tmp_path, act, {'"LegalEntity__c"': source})


@pytest.mark.parametrize(
    ("transform", "expected"), [("first_of_month", "2026-01-01"), ("first_of_next_month", "2026-02-01")]
)
def test_a_contract_may_start_on_the_first_of_a_month(tmp_path: Path, transform: str, expected: str) -> None:
    async def act(org: Mapped, made: Bench[Crm]) -> None:
        assert str((await read(made, await org.deal_with(StartDate__c="2026-01-31"))).starts_on) == expected

    run(tmp_path, act, {'otherwise = "CloseDate"': f'transform = "{transform}"'})


def test_a_real_deal_is_shown_before_and_after_with_what_cannot_be_read(tmp_path: Path) -> None:
    async def act(org: Mapped, made: Bench[Crm]) -> None:
        with pytest.raises(NotFound):
            await example(made)
        await org.deal_with(Gesellschaft__c="Muster GmbH", Laufzeit_Jahre__c=1)
        shown = await example(made)
        other = await example(made, await org.deal_with(Gesellschaft__c="Muster AG"))

        assert [getattr(shown["deal.legal_entity"], each) for each in ("theirs", "before", "after")] == [
            "Opportunity.Gesellschaft__c",
            "Muster GmbH",
            "DE01",
        ]
        assert shown["deal.term_months"].after == "12"
        assert (shown["deal.account.address.country"].before, shown["deal.account.address.country"].after) == (
            "Germany",
            "DE",
        )
        assert shown["deal.lines[0].interval"].after == "year"
        assert [each.field for each in other.values() if not each.readable] == ["deal.legal_entity"]

    run(tmp_path, act, of=EXAMPLE)


def test_only_deals_of_the_kinds_that_the_mapping_names_are_sales(tmp_path: Path) -> None:
    changes = {'active_contract = "Activated"': 'active_contract = "Activated"\nrecord_types = ["New_Business"]'}

    async def act(org: Mapped, made: Bench[Crm]) -> None:
        kind = org.make("RecordType", DeveloperName="New_Business", SobjectType="Opportunity", IsActive=True)
        await org.deal_with(Name="A renewal")
        sale = await org.deal_with(RecordTypeId=kind, Name="A sale")
        seen = KitIntake()
        await made.call(lambda: made.connector.look(seen))

        assert [each.subject for each in seen.events] == [sale]

    run(tmp_path, act, changes)


# ---- what channels place


def test_an_order_of_a_channel_is_written_in_the_orgs_own_words(tmp_path: Path) -> None:
    async def act(org: Mapped, made: Bench[Crm]) -> None:
        placed = samples.placed_deal("own", await org.account("Buyer"), org.sku, STARTS_ON)
        deal = (await made.call(lambda: made.connector.put_deal(placed))).id

        record = org.record("Opportunity", deal)
        assert (record["Gesellschaft__c"], record["Laufzeit_Jahre__c"]) == ("Muster GmbH", 1)
        assert (record["StageName"], record["IsWon"]) == ("Gewonnen", True)
        assert (await read(made, deal)).legal_entity == placed.legal_entity

    run(tmp_path, act, of=EXAMPLE)


def test_an_order_of_a_channel_has_the_kind_of_deal_that_says_which_company_sells(tmp_path: Path) -> None:
    source = '{ field = "RecordType.DeveloperName", values = { Deal_FR = "FR01", Deal_DE = "DE01" } }'

    async def act(org: Mapped, made: Bench[Crm]) -> None:
        kind = org.make("RecordType", DeveloperName="Deal_DE", SobjectType="Opportunity", IsActive=True)
        placed = samples.placed_deal("kind", await org.account("Buyer"), org.sku, STARTS_ON)
        deal = (await made.call(lambda: made.connector.put_deal(placed))).id
        in_france = msgspec.structs.replace(placed, key="other", legal_entity="FR01")

        assert org.record("Opportunity", deal)["RecordTypeId"] == kind
        assert (await read(made, deal)).legal_entity == "DE01"
        assert "record type" in (await made.fault(lambda: made.connector.put_deal(in_france))).reason

    run(tmp_path, act, {'"LegalEntity__c"': source})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({'"LegalEntity__c"': '{ constant = "FR01" }'}, "legal_entity"),
        ({'"LegalEntity__c"': '{ field = "Owner.Country", values = { Germany = "DE01" } }'}, "legal_entity"),
        ({'{ field = "TermMonths__c", default = 12 }': "{ constant = 24 }"}, "term_months"),
        (
            {'{ field = "TermMonths__c", default = 12 }': '{ field = "TermMonths__c", transform = "years_to_months" }'},
            "term_months",
        ),
    ],
)
def test_an_order_that_the_org_would_make_another_of_is_refused(
    tmp_path: Path, change: dict[str, str], field: str
) -> None:
    async def act(org: Mapped, made: Bench[Crm]) -> None:
        placed = samples.placed_deal("other", await org.account("Buyer"), org.sku, STARTS_ON)
        placed = msgspec.structs.replace(placed, term_months=18)
        fault = await made.fault(lambda: made.connector.put_deal(placed))

        assert isinstance(fault, Rejected)
        assert fault.field == field
        assert made.writes() == []

    run(tmp_path, act, change)


def test_a_mapping_takes_no_more_requests_of_the_org_than_none(tmp_path: Path) -> None:
    counted: list[int] = []

    async def act(org: Mapped, made: Bench[Crm]) -> None:
        await read(made, await org.deal_with())
        counted.append(len(made.loopback.seen))

    for each in (SHIPPED, EXAMPLE):
        folder = tmp_path / each.parent.name
        folder.mkdir()
        run(folder, act, of=each)

    assert counted[0] == counted[1]


def test_the_price_of_a_line_is_less_its_discount_wherever_the_org_has_it(tmp_path: Path) -> None:
    async def act(org: Mapped, made: Bench[Crm]) -> None:
        deal = await org.close_deal(await org.account("Buyer"), price=Decimal(100))
        (line,) = (await read(made, deal)).lines

        assert (line.list_price, line.unit_price) == (Decimal(100), Decimal(90))

    run(tmp_path, act, {'"Discount"': "{ constant = 10 }"})

"""How the Stripe connector keeps customers: found while a search is behind, with their present tax number."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.events import BILLED_CUSTOMER_CHANGED
from canonical.faults import NotFound, Rejected
from canonical.parties import Address, Contact, Customer
from system_apis.billing.port import Billing
from system_apis.billing.stripe.client import PAGES
from tests.support.connector_kit import samples
from tests.support.connector_kit.subject import INSTANCE, Bench, KitIntake, run_over
from tests.support.stripe_account import StripeAccount

Act = Callable[[Bench[Billing]], Awaitable[None]]


@pytest.fixture
def behind(tmp_path: Path) -> StripeAccount:
    """Return an account whose search is a minute behind."""
    return StripeAccount(tmp_path, search_lag=60)


async def put(made: Bench[Billing], customer: Customer) -> str:
    return await made.call(lambda: made.connector.put_customer(customer))


def buyer(country: str = "DE", number: str | None = None, **facts: Any) -> Customer:
    sample = samples.customer("cus_1", tax_number=number)
    return msgspec.structs.replace(sample, address=Address("1", "1", "1", country), **facts)


def taxed(account: StripeAccount) -> list[tuple[str, str]]:
    return [(each["type"], each["value"]) for each in account.account.all("tax_id")]


def noted(account: StripeAccount) -> str | None:
    (customer,) = account.account.all("customer")
    return customer["metadata"].get("tiergate_tax_number")


@pytest.mark.parametrize(
    ("country", "number", "sent"),
    [
        ("CH", "CHE-116.281.710 MWST", ("ch_vat", "CHE-116.281.710 MWST")),
        ("GB", "GB980780684", ("gb_vat", "GB980780684")),
        ("GB", "XI980780684", ("eu_vat", "XI980780684")),
        ("NO", "NO995525828MVA", ("no_vat", "995525828MVA")),
        ("US", "911144442", ("us_ein", "91-1144442")),
        ("AU", "51824753556", ("au_abn", "51824753556")),
        ("DE", "DE136695976", ("eu_vat", "DE136695976")),
    ],
)
def test_a_customer_of_any_country_is_made_with_its_tax_number(
    account: StripeAccount, tmp_path: Path, country: str, number: str, sent: tuple[str, str]
) -> None:
    async def act(made: Bench[Billing]) -> None:
        await put(made, buyer(country, number))
        await put(made, buyer(country, number))

        assert taxed(account) == [sent]

    run_over(account, tmp_path, act)


@pytest.mark.parametrize(("country", "number"), [("ZZ", "A-1"), ("DE", "DE12"), ("US", "unknown")])
def test_a_tax_number_that_stripe_does_not_take_is_noted_and_stops_no_sale(
    account: StripeAccount, tmp_path: Path, country: str, number: str
) -> None:
    async def act(made: Bench[Billing]) -> None:
        await put(made, buyer(country, number))
        await put(made, buyer(country, number))

        assert taxed(account) == []
        assert noted(account) == number

    run_over(account, tmp_path, act)


def test_a_tax_number_that_changes_and_goes_is_followed_and_one_added_by_hand_stays(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        reference = await put(made, buyer("DE", "DE136695976"))
        account.api.v1.customers.tax_ids.create(reference, {"type": "gb_vat", "value": "GB980780684"})
        for number in ("FR40303265045", "DE136695976", "A-1"):
            await put(made, buyer("DE" if number != "A-1" else "ZZ", number))
            kept = [] if number == "A-1" else [number]
            assert sorted(value for _, value in taxed(account)) == sorted(["GB980780684", *kept])
            assert noted(account) == number
        await put(made, buyer("DE"))

        assert taxed(account) == [("gb_vat", "GB980780684")]
        assert not noted(account)

    run_over(account, tmp_path, act)


def test_a_customer_that_a_search_does_not_see_yet_is_found_and_changed(behind: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        first = await put(made, buyer())
        made.connector = made.connect()
        second = await put(made, buyer(name="Renamed GmbH"))

        assert (first, "Renamed GmbH") == (second, (await behind.customers("cus_1"))[0][1])
        assert behind.account.find("customer", first)
        assert len(await behind.customers("cus_1")) == 1

    run_over(behind, tmp_path, act)


def test_a_customer_is_read_by_billings_own_id_where_it_is_known(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        reference = await put(made, buyer())
        made.loopback.seen.clear()
        again = await put(made, buyer(references={INSTANCE: reference}))

        assert again == reference
        assert not [each for each in made.loopback.seen if "search" in each.path or "created" in each.path]

    run_over(account, tmp_path, act)


def test_a_customer_that_was_deleted_by_hand_is_made_again_even_if_its_old_id_is_known(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        gone = await put(made, buyer())
        account.api.v1.customers.delete(gone)
        made.loopback.seen.clear()
        again = await put(made, buyer(references={INSTANCE: gone}))

        assert again != gone
        assert [each for each, _ in await account.customers("cus_1")] == [again]
        assert len(made.loopback.seen) < 10

    run_over(account, tmp_path, act)


def test_an_id_that_is_another_customers_is_not_taken(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        other = account.api.v1.customers.create({"name": "Other", "metadata": {"tiergate_id": "cus_other"}}).id
        made_for_us = await put(made, buyer(references={INSTANCE: other}))

        assert made_for_us != other
        assert account.api.v1.customers.retrieve(other).name == "Other"

    run_over(account, tmp_path, act)


@pytest.mark.parametrize("contact", [None, Contact("Kim Beispiel", "")])
def test_an_address_for_mail_that_is_gone_is_gone_in_billing_as_well(
    account: StripeAccount, tmp_path: Path, contact: Contact | None
) -> None:
    async def act(made: Bench[Billing]) -> None:
        reference = await put(made, buyer())
        before = account.api.v1.customers.retrieve(reference).email
        await put(made, buyer(contact=contact))

        assert before == "kim@example.com"
        assert account.api.v1.customers.retrieve(reference).email is None

    run_over(account, tmp_path, act)


@pytest.mark.parametrize("reference", ["../account", "search?query=x", "cus_gone", "%2e%2e/account"])
def test_an_id_of_billing_that_is_none_is_looked_for_in_its_place_alone(
    account: StripeAccount, tmp_path: Path, reference: str
) -> None:
    async def act(made: Bench[Billing]) -> None:
        await put(made, buyer(references={INSTANCE: reference}))

        assert len(await account.customers("cus_1")) == 1
        assert made.loopback.seen[0].path.startswith("/v1/customers/")
        assert made.loopback.seen[0].path.count("/") == 3

    run_over(account, tmp_path, act)


# ---- customers that are there already


async def matched(made: Bench[Billing], customer: Customer) -> list[tuple[str, bool, str]]:
    found = await made.call(lambda: made.connector.match_customer(customer))
    return [(each.id, each.same_tax_number, each.customer_id) for each in found]


def theirs(account: StripeAccount, name: str, email: str = "", number: str = "", **facts: Any) -> str:
    """Return a customer that the company has made in Stripe by itself."""
    params: Any = {"name": name, "email": email or "else@example.com", **facts}
    if number:
        params["tax_id_data"] = [{"type": "eu_vat", "value": number}]
    return account.api.v1.customers.create(params).id


def test_who_may_be_the_customer_is_found_by_name_and_by_e_mail_with_its_tax_number(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        by_number = theirs(account, "EXAMPLE GmbH", number="DE136695976")
        by_mail = theirs(account, "Else", "Kim@Example.com")
        theirs(account, "Example GmbH & Co KG", number="FR40303265045")
        theirs(account, "Example GmbH", metadata={"tiergate_id": "cus_other"})
        account.api.v1.customers.delete(theirs(account, "Example GmbH"))

        found = await matched(made, buyer("DE", "DE136695976"))

        assert sorted(found) == sorted([(by_number, True, ""), (by_mail, False, "")])
        assert not [each for each in made.loopback.seen if each.method != "GET"]

    run_over(account, tmp_path, act)


def test_a_tax_number_that_is_not_among_the_first_of_a_customer_is_found(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        many = theirs(account, "Example GmbH", number="DE136695976")
        for place in range(12):
            account.api.v1.customers.tax_ids.create(many, {"type": "de_stn", "value": f"12345678{place:02}"})

        assert await matched(made, buyer("DE", "DE136695976")) == [(many, True, "")]

    run_over(account, tmp_path, act)


def test_a_name_that_more_have_than_are_read_is_refused_until_one_of_them_is_ours(
    account: StripeAccount, tmp_path: Path
) -> None:
    known = [theirs(account, "Example GmbH") for _ in range(PAGES * account.page)]

    async def act(made: Bench[Billing]) -> None:
        assert len(await matched(made, buyer())) == len(known)
        last = theirs(account, "Example GmbH")
        refused = await made.fault(lambda: made.connector.match_customer(buyer()))
        account.api.v1.customers.update(last, {"metadata": {"tiergate_id": "cus_1"}})

        assert isinstance(refused, Rejected), repr(refused)
        assert (refused.field, "write cus_1 to the metadata tiergate_id" in refused.reason) == ("customer.name", True)
        assert await matched(made, buyer()) == [(last, False, "cus_1")]

    run_over(account, tmp_path, act)


@pytest.mark.parametrize("name", ['Quote "and" Sons', "O'Brien AND Sons", "back\\slash", "-name:null OR"])
def test_a_name_with_any_signs_is_searched_for_as_it_is(account: StripeAccount, tmp_path: Path, name: str) -> None:
    async def act(made: Bench[Billing]) -> None:
        theirs(account, "Else")
        wanted = theirs(account, name)

        assert await matched(made, buyer(name=name, contact=None)) == [(wanted, False, "")]

    run_over(account, tmp_path, act)


def test_a_customer_that_is_ours_already_is_the_only_match(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        theirs(account, "Example GmbH")
        ours = await put(made, buyer())

        assert [(each, of) for each, _, of in await matched(made, buyer())] == [(ours, "cus_1")]
        assert await matched(made, buyer(references={INSTANCE: theirs(account, "Else")})) == [(ours, False, "cus_1")]

    run_over(account, tmp_path, act)


def test_a_customer_is_taken_over_with_what_the_crm_owns_and_keeps_the_rest(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        theirs_before = theirs(account, "Old name", number="DE136695976", metadata={"crm": "4711"}, phone="030 1")
        taking = buyer("DE", "DE136695976", references={INSTANCE: theirs_before})
        made_of_two = await asyncio.gather(put(made, taking), put(made, taking))
        later = await put(made, buyer("DE", "DE136695976", references={INSTANCE: theirs_before}))

        now = account.api.v1.customers.retrieve(theirs_before)
        assert {*made_of_two, later} == {theirs_before}
        assert (now.name, now.phone, now.metadata and now.metadata["crm"]) == ("Example GmbH", "030 1", "4711")
        assert [each for each, _ in await account.customers("cus_1")] == [theirs_before]
        assert taxed(account) == [("eu_vat", "DE136695976")]
        assert [each["id"] for each in account.account.all("customer")] == [theirs_before]

    run_over(account, tmp_path, act)


@pytest.mark.parametrize("token", ["../customers/{}?name=Mallory&x=", "pm_1?x=", "pm_1/../..", "pm_1#", "..", "."])
def test_a_means_of_payment_of_the_crm_leads_to_no_other_call(
    account: StripeAccount, tmp_path: Path, token: str
) -> None:
    async def act(made: Bench[Billing]) -> None:
        victim = await put(made, buyer(payment_method=None))
        other = msgspec.structs.replace(buyer(), id="cus_2", payment_method=None)
        await put(made, other)
        with pytest.raises((Rejected, NotFound)):
            await put(made, msgspec.structs.replace(other, payment_method=token.format(victim)))

    run_over(account, tmp_path, act)

    assert {each["name"] for each in account.account.all("customer")} == {buyer().name}
    assert [
        each for each in account.account.all("customer") if each["invoice_settings"]["default_payment_method"]
    ] == []


def test_a_copy_is_in_the_words_of_the_owners_whatever_form_stripe_has_it_in(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        for country, number in (("NO", "123456785"), ("CH", "CHE116281710"), ("BR", "a number of no known form")):
            customer = buyer(country, number, id=f"cus_{country}")
            await put(made, customer)
            copy = await made.call(lambda customer=customer: made.connector.customer_copy(customer))
            assert copy.tax_number == number

    run_over(account, tmp_path, act)


def test_what_people_change_in_stripe_is_seen_and_taken_back(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        customer = buyer("DE", "DE129273398")
        reference = await put(made, customer)
        row = account.account.get("customer", reference)
        row["name"], row["email"] = "Other GmbH", "other@example.com"
        row["address"] |= {"line1": "Elsewhere 2", "line2": "2nd floor"}
        (number,) = account.account.all("tax_id")
        number["value"] = "DE136695976"

        copy = await made.call(lambda: made.connector.customer_copy(customer))
        assert (copy.name, copy.email, copy.tax_number) == ("Other GmbH", "other@example.com", "DE136695976")
        assert copy.address.street == "Elsewhere 2\n2nd floor"

        await put(made, customer)
        again = await made.call(lambda: made.connector.customer_copy(customer))
        assert (again.name, again.address) == (customer.name, customer.address)
        assert customer.contact is not None
        assert again.email == customer.contact.email

    run_over(account, tmp_path, act)


def test_what_others_change_of_a_customer_is_an_event_and_our_own_writing_is_none(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        taken = KitIntake()
        await made.connector.look(taken)
        customer = buyer("DE", "DE129273398")
        reference = await put(made, customer)
        await put(made, msgspec.structs.replace(customer, name="Ours GmbH", tax_number="DE136695976"))
        stranger = account.api.v1.customers.create({"name": "None of ours"})
        account.api.v1.customers.update(stranger.id, {"name": "Still none of ours"})
        own = [each for each in account.account.all("event") if each["type"] == "customer.updated"]
        assert own
        await made.connector.look(taken)
        deleted = [each.id for each in taken.events]  # a request to delete has no key that would tell whose it is
        theirs: list[list[str]] = []

        account.api.v1.customers.update(reference, {"email": "other@example.com"})
        account.api.v1.customers.tax_ids.create(reference, {"type": "eu_vat", "value": "ATU12345675"})
        await made.connector.look(taken)
        theirs.append([each.subject for each in taken.events if each.id not in deleted])
        account.api.v1.customers.delete(reference)
        await made.connector.look(taken)
        theirs.append([each.subject for each in taken.events if each.id not in deleted])

        assert len(deleted) == 1
        assert theirs == [2 * ["cus_1"], 3 * ["cus_1"]]
        assert {each.type for each in taken.events} == {BILLED_CUSTOMER_CHANGED}

    run_over(account, tmp_path, act)

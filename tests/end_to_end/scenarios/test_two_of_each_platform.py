"""Two CRMs, two ERPs, two billing accounts and two targets in one deployment: each deal is found where it belongs.

The rules of the mapping decide about tax in Germany, billing's own engine in France. The French org has other fields,
stages and values, and neither multiple currencies nor picklists of countries: a mapping file alone says so.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.ids import utc_now
from canonical.orders import Order
from sandbox.salesforce.dialect import GROUP
from sandbox.salesperson import SaleLine, close_deal, open_deal
from sandbox.site import FRANCE
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, PlatformSet, wait_until

FRENCH = "salesforce-fr"
MAPPING = Path("deploy/mappings/salesforce.toml").resolve()
TIERGATE = str(Path(sys.executable).with_name("tiergate"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Environment]:
    taxed_by_billing = msgspec.structs.replace(FRANCE, taxed_by_billing=True)
    named = {FRANCE.code: (GROUP, MAPPING)}
    environment = Environment(tmp_path_factory.mktemp("two"), templates, beside=(taxed_by_billing,), mappings=named)
    tax = environment.twins[0].stripe.v1.tax
    tax.settings.update({"head_office": {"address": {"country": "FR"}}})
    at_home: Any = {"country": "FR", "country_options": {"fr": {"type": "standard"}}, "active_from": "now"}
    tax.registrations.create(at_home)
    yield environment
    environment.stop()


def readiness(environment: Environment) -> dict[str, str]:
    return environment.readiness("system").json()


def test_a_deal_of_each_crm_goes_to_the_erp_and_billing_of_its_legal_entity_alone(two: Environment) -> None:
    (french,) = two.twins
    _, in_germany = two.sell(two.sale("Zwei Werke"))
    _, in_france = french.sell(two.sale("Deux Usines", country="FR", tax_number="FR40303265045", legal_entity="FR01"))

    german_order, french_order = two.order_in(in_germany, "active"), two.order_in(in_france, "active", crm=FRENCH)
    two.settled(german_order)
    two.settled(french_order)

    assert (german_order.crm, french_order.crm) == ("salesforce", "salesforce-fr")
    assert two.counted(german_order) == EXACTLY_ONE
    assert french.counted(french_order) == EXACTLY_ONE
    beyond_the_crm = [
        each for each in EXACTLY_ONE if not each.startswith("crm.")
    ]  # two orgs give the same id to two accounts
    assert [two.counted(french_order)[each] for each in beyond_the_crm] == [0] * len(beyond_the_crm)
    assert [french.counted(german_order)[each] for each in beyond_the_crm] == [0] * len(beyond_the_crm)
    assert two.crm.query("SELECT Id FROM Account WHERE Name = 'Deux Usines GmbH'") == []
    assert french.crm.query("SELECT Id FROM Account WHERE Name = 'Zwei Werke GmbH'") == []
    assert french_order.plan is not None
    assert french_order.plan.contract.tax_percent == "20"
    assert french_order.plan.customer.references.keys() == {"salesforce-fr", "stripe-fr", "tryton-fr"}


@pytest.mark.parametrize(
    ("buyer", "booked", "reasons"),
    [
        (
            {"country": "FR", "tax_number": None},
            {"TVA20": 1_991 * 2, "TVA5.5": 1_538},
            {"standard_rated", "reduced_rated"},
        ),
        ({"country": "AT", "tax_number": "ATU13585627"}, {"REVERSE": 0}, {"reverse_charge"}),
    ],
    ids=["at home", "to a business in another member state"],
)
def test_a_sale_about_whose_tax_billing_decides_is_booked_as_billing_charged_it(
    two: Environment, buyer: dict[str, Any], booked: dict[str, int], reasons: set[str]
) -> None:
    (french,) = two.twins
    lines = (SaleLine("SEAT", 1, 99.55), SaleLine("SUPPORT", 1, 99.55), SaleLine("HANDBOOK", 7, 39.95))
    name = f"Taxé par la facturation {buyer['country']}"
    _, deal = french.sell(two.sale(name, legal_entity="FR01", lines=lines, **buyer))

    order = two.order_in(deal, "active", crm=FRENCH)
    two.settled(order)

    assert order.plan is not None
    invoice = order.plan.contract.references["invoice"]
    (posted,) = french.in_erp("account.invoice", ("reference", "=", invoice))
    billed = french.stripe.v1.invoices.retrieve(invoice)
    assert {each.tax.name: int(each.amount * 100) for each in posted.taxes} == booked
    assert {each.taxability_reason for each in billed.total_taxes or ()} == reasons
    assert posted.total_amount * 100 == billed.total
    assert posted.amount_to_pay == 0


def test_a_tax_that_the_mapping_does_not_name_is_a_case_that_says_what_billing_charged(two: Environment) -> None:
    (french,) = two.twins
    _, deal = french.sell(two.sale("Sans Règle", country="ES", tax_number=None, legal_entity="FR01"))

    order = two.order_in(deal, "active", crm=FRENCH)

    assert order.plan is not None
    subject = f"invoice:{order.plan.contract.references['invoice']}"
    (case,) = wait_until(lambda: two.cases_of(subject), 20, "a case about the invoice")
    assert (case.kind, case.field) == ("invoice_not_posted", "tax")
    assert "no billed_taxes of FR01 are about 0 % of ES (not_collecting)" in case.reason


def test_what_is_said_of_a_deal_under_other_names_travels_with_it_and_is_shown_under_them(two: Environment) -> None:
    (french,) = two.twins
    sale = two.sale("Noms Propres", country="FR", tax_number="FR23334175221", legal_entity="FR01")
    _, deal = open_deal(french.crm, sale, utc_now().date())
    french.crm.update("Opportunity", deal, CostCenter__c="4711")
    close_deal(french.crm, deal)

    order = two.order_in(deal, "active", crm=FRENCH)
    two.settled(order)

    assert french.counted(order) == EXACTLY_ONE
    assert order.plan is not None
    references = order.plan.contract.references
    assert french.stripe.v1.subscriptions.retrieve(references["subscription"]).metadata["custom_cost_center"] == "4711"
    (invoice,) = french.rows_in_erp("account.invoice", ["comment"], ("reference", "=", references["invoice"]))
    assert invoice["comment"] == "cost_center: 4711"
    (shown,) = french.crm.query(f"SELECT Auftrag__c FROM Opportunity WHERE Id = '{deal}'")
    assert shown["Auftrag__c"] == order.id
    (contract,) = french.crm.query(f"SELECT Status FROM Contract WHERE Verkaufschance__c = '{deal}'")
    assert contract["Status"] == "Gültig"


def test_a_value_that_the_mapping_does_not_know_is_a_case_and_the_check_shows_it_in_a_real_deal(
    two: Environment,
) -> None:
    (french,) = two.twins
    _, deal = french.sell(two.sale("Inconnue", country="FR", tax_number=None, legal_entity="Exemple SARL"))

    order = two.order_in(deal, "on_hold", crm=FRENCH)
    command = [TIERGATE, "mapping", "check", "--config", str(two.sandbox.config)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    (case,) = two.cases_of(order.id)
    assert case.field == "deal.legal_entity"
    assert "Opportunity.Gesellschaft__c: 'Exemple SARL' is none of the values of the mapping" in case.reason
    assert f"{FRENCH}: everything fits" in checked.stdout, checked.stdout + checked.stderr
    assert "deal.account.address.country" in checked.stdout
    assert "'France' → 'FR'" in checked.stdout
    assert "salesforce: everything fits" in checked.stdout
    assert "provisioner: nothing of it can be compared: it has no mapping" in checked.stdout


def test_trouble_of_one_instance_does_not_stop_the_other(two: Environment) -> None:
    (french,) = two.twins
    french.fault("erp", kind="status", status=503, times=0)
    try:
        _, in_france = french.sell(two.sale("En Panne", country="FR", tax_number=None, legal_entity="FR01"))
        _, in_germany = two.sell(two.sale("Läuft Weiter"))
        two.settled(two.order_in(in_germany, "active"))
        assert two.order_of(in_france, crm=FRENCH).state in {"validating", "credit_review"}  # which ask the ERP
        wait_until(lambda: readiness(two)["tryton-fr"] != "ok", 15, "the French ERP said to be down")
    finally:
        french.calm()

    two.settled(two.order_in(in_france, "active", crm=FRENCH))


def test_a_deal_for_a_company_that_its_crm_does_not_sell_for_is_a_finding(two: Environment) -> None:
    (french,) = two.twins
    _, deal = french.sell(two.sale("Falsche Tür", legal_entity="DE01"))

    order = two.order_in(deal, "on_hold", crm=FRENCH)

    (case,) = two.cases_of(order.id)
    assert (case.kind, case.field) == ("deal_invalid", "deal.legal_entity")
    assert "salesforce-fr does not sell for DE01" in case.reason


def test_a_change_of_a_customer_reaches_the_platforms_of_every_company_that_has_sold_to_it(two: Environment) -> None:
    (french,) = two.twins
    both_sell_from_one_crm(two)
    account, first = two.sell(two.sale("Zwei Verkäufer"))
    order = two.order_in(first, "active")
    _, second = two.sell(two.sale("Zwei Verkäufer", legal_entity="FR01"), account)
    two.order_in(second, "active")
    (exempt,) = {each.tax_exempt for each in customers_of(two, order)}

    two.crm.update("Account", account, Name="Drei Verkäufer GmbH")

    for platforms in (two, french):
        wait_until(lambda to=platforms: [each.name for each in customers_of(to, order)] == ["Drei Verkäufer GmbH"], 20)
        wait_until(lambda to=platforms: parties_of(to, order) == ["Drei Verkäufer GmbH"], 20)
    assert [each.tax_exempt for each in customers_of(two, order)] == [exempt], "its tax there stays"
    assert [each.tax_exempt for each in customers_of(french, order)] == ["none"], "Stripe Tax reverses the charge"


def customers_of(platforms: PlatformSet, order: Order) -> list[Any]:
    return platforms.stripe.v1.customers.search({"query": f"metadata['tiergate_id']:'{order.customer_id}'"}).data


def parties_of(platforms: PlatformSet, order: Order) -> list[str]:
    """Return the names that the ERP has now: a record that was read once keeps its values."""
    return [each.name for each in platforms.in_erp("party.party", ("code", "=", order.customer_id))]


def both_sell_from_one_crm(two: Environment) -> None:
    """Let the first CRM sell for the French company too."""
    path, own = two.settings.governance.path(), '[platforms.salesforce]\nlegal_entities = ["DE01"'
    assert own in path.read_text()
    path.write_text(path.read_text().replace(own, f'{own}, "FR01"'))

"""An org of other fields, stages and values, without multiple currencies and picklists of countries, beside the demo's:
its deals become cash by a mapping file alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from canonical.ids import utc_now
from sandbox.salesforce.dialect import GROUP
from sandbox.salesperson import close_deal, open_deal
from sandbox.site import FRANCE
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE

MAPPING = Path("deploy/mappings/salesforce.toml").resolve()
FRENCH = "salesforce-fr"
TIERGATE = str(Path(sys.executable).with_name("tiergate"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Environment]:
    folder = tmp_path_factory.mktemp("own_names")
    environment = Environment(folder, templates, beside=(FRANCE,), mappings={FRANCE.code: (GROUP, MAPPING)})
    yield environment
    environment.stop()


def test_a_deal_of_an_org_with_its_own_names_becomes_cash_beside_one_with_ours(two: Environment) -> None:
    (french,) = two.twins
    sale = two.sale("Noms Propres", country="FR", tax_number="FR40303265045", legal_entity="FR01")
    _, in_france = open_deal(french.crm, sale, utc_now().date())
    french.crm.update("Opportunity", in_france, CostCenter__c="4711")
    close_deal(french.crm, in_france)
    _, in_germany = two.sell(two.sale("Unsere Namen"))

    order, other = two.order_in(in_france, "active", crm=FRENCH), two.order_in(in_germany, "active")
    two.settled(order)
    two.settled(other)

    assert french.counted(order) == EXACTLY_ONE
    assert two.counted(other) == EXACTLY_ONE
    (subscription,) = french.stripe.v1.subscriptions.list({"limit": 100}).data
    assert subscription.metadata["custom_cost_center"] == "4711"
    (invoice,) = french.rows_in_erp("account.invoice", ["comment"], ("type", "=", "out"))
    assert invoice["comment"] == "cost_center: 4711"
    (shown,) = french.crm.query(f"SELECT Auftragsstand__c, Auftrag__c FROM Opportunity WHERE Id = '{in_france}'")
    assert shown["Auftrag__c"] == order.id
    (contract,) = french.crm.query("SELECT Status, ContractTerm, Verkaufschance__c FROM Contract")
    assert (contract["Status"], contract["Verkaufschance__c"]) == ("Gültig", in_france)


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

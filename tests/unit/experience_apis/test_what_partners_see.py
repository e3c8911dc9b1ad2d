"""What a partner sees of a change that lets its customer's contract go to another: nothing of that other one."""

from __future__ import annotations

from datetime import UTC, date, datetime

import msgspec
import pytest

from canonical.amendments import (
    Amendment,
    AmendmentPreview,
    AmendmentRequest,
    Cancel,
    NewAmendment,
    Transfer,
    TransferTerms,
)
from canonical.billing import Invoice
from canonical.money import Money
from experience_apis.partners.contract import PartnerAmendmentRequest, amendment

NOW = datetime(2026, 3, 10, tzinfo=UTC)
NET = Money(100, "EUR")
INVOICE = Invoice(
    "in_1", "", "cus_2", "con_1", "DE01", "draft", date(2026, 4, 1), NET, Money(0, "EUR"), NET, "reverse_charge", ()
)
TERMS = TransferTerms("cus_2", "cus_1", date(2026, 4, 1), "reverse_charge", "0")
PREVIEW = AmendmentPreview("con_1", NOW, (), (), (), (INVOICE,), approvals=("its credit: 10 owed",), transfer=TERMS)


def of(request: NewAmendment, preview: AmendmentPreview, waits_for: str) -> Amendment:
    about = ("amd_1", "con_1", "ord_1", "cus_1", "DE01")
    return Amendment(*about, "on_hold", request, "seller", NOW, NOW, "cor_1", waits_for, preview=preview)


@pytest.mark.parametrize("waits_for", ["", "actions[0].customer: cus_2 has no tax number"])
def test_a_partner_sees_that_a_contract_goes_and_not_to_whom(waits_for: str) -> None:
    wanted = NewAmendment((Transfer("cus_2"),), "period_end", key="goes")
    seen = amendment(of(wanted, PREVIEW, waits_for))
    assert seen.preview
    assert (seen.preview.invoices, seen.preview.needs_approval) == ((), True)
    assert seen.waits_for == ("our approval" if waits_for else "")
    assert b"cus_2" not in msgspec.json.encode(seen)


def test_a_partner_sees_what_another_change_of_it_charges_and_waits_for() -> None:
    wanted = NewAmendment((Cancel(),), key="ends")
    seen = amendment(of(wanted, msgspec.structs.replace(PREVIEW, transfer=None), "its day"))
    assert seen.preview
    assert [each.total for each in seen.preview.invoices] == [NET]
    assert seen.waits_for == "its day"


def test_a_partner_cannot_say_that_a_contract_is_to_go_to_another_customer() -> None:
    asked = msgspec.json.encode(AmendmentRequest((Transfer("cus_2"),), "period_end"))
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(asked, type=PartnerAmendmentRequest)

"""Who is whom is exact, and what takes the place of a person is valid wherever the person was."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from canonical.cases import Case
from canonical.deals import InvoiceTerms, PricedLine
from canonical.events import Event
from canonical.money import Money
from canonical.orders import Plan
from canonical.parties import Address, Contact, Customer, Recipient
from policies.store.documents import FileDocument
from process_apis.erasure.people import PEOPLE, Person
from process_apis.erasure.replacement import WORDS, Replacement
from process_apis.erasure.tables import TABLES, personal_columns
from process_apis.records.database import metadata
from process_apis.records.erased import ErasedPeople, address, identity, is_address, is_placeholder, subject_name
from tests.support.process_context import contract_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACEHOLDER = "erased-0123456789ab"
AT = address(PLACEHOLDER)
TECHNICAL = {
    "references_": {"kind", "platform", "foreign_id", "canonical_id"},
    "matches": {"customer_id", "platform", "record"},
    "customers": {"id", "partner", "correlation_id", "next_attempt_at", "shares_with", "blocked_by", "blocked_since"},
    "orders": {
        "id",
        "crm",
        "deal_id",
        "deal_state",
        "state",
        "held_in",
        "legal_entity",
        "customer_id",
        "partner",
        "correlation_id",
        "blocked_by",
        "blocked_since",
        "currency",
        "next_attempt_at",
        "crm_status",
        "received_at",
        "updated_at",
    },
    "usage_sources": {"contract_id", "meter"},
    "usage_records": {"id", "digest"},
    "usage_voids": {"id"},
    "usage_corrections": {
        "id",
        "period_id",
        "contract_id",
        "order_id",
        "customer_id",
        "legal_entity",
        "meter",
        "sku",
        "state",
        "charged",
        "settled",
        "quantity",
        "difference",
        "currency",
        "invoice_id",
        "line",
        "held_in",
        "reference",
        "correlation_id",
        "next_attempt_at",
        "found_at",
        "updated_at",
    },
    "usage_periods": {
        "id",
        "contract_id",
        "order_id",
        "customer_id",
        "legal_entity",
        "meter",
        "sku",
        "state",
        "quantity",
        "correlation_id",
        "next_attempt_at",
        "updated_at",
    },
    "order_states": {"order_id", "state", "at"},
    "order_lines": {"order_id", "line_id", "state"},
    "dunnings": {
        "id",
        "contract_id",
        "order_id",
        "customer_id",
        "legal_entity",
        "state",
        "currency",
        "since",
        "invoices",
        "shown",
        "postponed_until",
        "amendment_id",
        "correlation_id",
        "next_attempt_at",
        "found_at",
        "updated_at",
    },
    "dunning_states": {"dunning_id", "state", "at"},
    "amending_deals": {
        "id",
        "crm",
        "deal_id",
        "deal_state",
        "contract_id",
        "amendment_id",
        "shown",
        "correlation_id",
        "next_attempt_at",
    },
    "catalogue_syncs": {
        "id",
        "crm",
        "state",
        "held_in",
        "blocked_by",
        "blocked_since",
        "cursor",
        "correlation_id",
        "next_attempt_at",
        "requested_at",
        "updated_at",
    },
    "catalogue_items": {"sync_id", "platform", "domain", "sku", "currency", "action", "state", "field", "document"},
    "catalogue_products": {"platform", "sku", "crm", "seen_by"},
    "amendments": {
        "id",
        "contract_id",
        "order_id",
        "customer_id",
        "legal_entity",
        "state",
        "held_in",
        "blocked_by",
        "blocked_since",
        "approved",
        "effective_at",
        "ends_at",
        "invoices",
        "undelivered",
        "correlation_id",
        "next_attempt_at",
        "requested_at",
        "updated_at",
    },
    "contract_products": {"sku"},
    "mass_changes": {
        "id",
        "legal_entity",
        "state",
        "sku",
        "cursor",
        "correlation_id",
        "next_attempt_at",
        "requested_at",
        "updated_at",
    },
    "mass_change_items": {
        "mass_change_id",
        "contract_id",
        "order_id",
        "customer_id",
        "currency",
        "state",
        "reason",
        "amendment_id",
        "reversal_id",
        "asked_at",
    },
    "postings": {
        "kind",
        "billing",
        "id",
        "invoice_id",
        "customer_id",
        "contract_id",
        "legal_entity",
        "state",
        "blocked_by",
        "blocked_since",
        "batch",
        "currency",
        "number",
        "cancelled",
        "correlation_id",
        "next_attempt_at",
        "updated_at",
    },
    "case_notes": {"case_id", "at", "customer_id"},
    "cases": {
        "id",
        "subject",
        "kind",
        "field",
        "team",
        "state",
        "legal_entity",
        "customer_id",
        "resolved_at",
        "currency",
        "due_at",
    },
    "events": {
        "source",
        "id",
        "type",
        "subject",
        "correlation_id",
        "taken_at",
        "untaken",
        "next_attempt_at",
        "legal_entity",
        "customer_id",
    },
    "drifts": {
        "id",
        "subject",
        "field",
        "system",
        "owner",
        "state",
        "customer_id",
        "legal_entity",
        "since",
        "seen_at",
        "settled_at",
        "correlation_id",
    },
    "renewals": {
        "id",
        "contract_id",
        "order_id",
        "customer_id",
        "legal_entity",
        "state",
        "mode",
        "ends_on",
        "renews_until",
        "currency",
        "crm",
        "deal_id",
        "amendment_id",
        "correlation_id",
        "next_attempt_at",
        "found_at",
        "updated_at",
    },
    "webhooks": {
        "id",
        "client",
        "url",
        "event_types",
        "customer_ids",
        "legal_entities",
        "state",
        "reason",
        "since",
        "signing_keys",
        "delivered_at",
        "failing_since",
        "failed_at",
        "correlation_id",
        "created_at",
        "updated_at",
    },
    "webhook_deliveries": {
        "id",
        "webhook_id",
        "event_id",
        "type",
        "subject",
        "customer_id",
        "legal_entity",
        "body",
        "state",
        "reason",
        "correlation_id",
        "next_attempt_at",
        "created_at",
    },
    "webhook_attempts": {"delivery_id", "at", "reason"},
    "customer_merges": {
        "id",
        "crm",
        "merged_account",
        "account",
        "customer_id",
        "other_customer_id",
        "legal_entity",
        "other_legal_entity",
        "state",
        "held_in",
        "account_in_question",
        "answer",
        "decided_at",
        "correlation_id",
        "next_attempt_at",
        "seen_at",
        "updated_at",
    },
    "customer_merge_states": {"merge_id", "state", "at"},
    "corrections": {
        "id",
        "kind",
        "invoice_id",
        "billing",
        "contract_id",
        "customer_id",
        "legal_entity",
        "currency",
        "state",
        "held_in",
        "approved",
        "reference",
        "blocked_by",
        "blocked_since",
        "correlation_id",
        "next_attempt_at",
        "requested_at",
        "updated_at",
    },
    "correction_states": {"correction_id", "state", "at"},
    "disputes": {
        "id",
        "billing",
        "invoice_id",
        "payment_id",
        "contract_id",
        "customer_id",
        "legal_entity",
        "state",
        "currency",
        "opened_at",
        "respond_by",
        "reported_until",
        "asked",
        "digest",
        "doing",
        "correlation_id",
        "next_attempt_at",
        "reported_at",
        "updated_at",
    },
    "dispute_steps": {"dispute_id", "state", "at", "asked"},
    "dispute_fees": {"id", "dispute_id", "legal_entity", "currency", "taken_on"},
    "drift_looks": {"id", "correlation_id", "next_attempt_at"},
    "drift_sweeps": {"name", "next_at"},
    "oldest_code": {"revision"},
    "executors": {"id"},
    "leases": {"name", "holder"},
}
"""The columns with texts that name nobody: ids, states, names of the catalogue, moments."""
LOCAL = st.text(st.characters(exclude_categories=("Z", "C"), exclude_characters="@"), min_size=1, max_size=20).map(
    lambda text: unicodedata.normalize("NFC", text)
)
HOST = st.from_regex(r"[a-z][a-z0-9]{0,8}(\.[a-z]{2,5}){1,2}", fullmatch=True)
NAME = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)


def replaced(text: str, mail: str, *names: str, company: str = "") -> str:
    companies = frozenset({company}) if company else frozenset[str]()
    person = Person(identity(mail), names=frozenset(names), ids=frozenset({"own"}), companies=companies)
    return Replacement(person, PLACEHOLDER).text(text)


def test_each_column_with_texts_is_one_that_names_people_or_one_that_does_not() -> None:
    """A column that is added is looked through for people, or is named above."""
    for table in metadata.sorted_tables:
        texts = {each.name for each in table.c if each.type.python_type in (str, bytes)}
        personal = {name for name, _ in personal_columns(table)}

        assert texts == personal | TECHNICAL[table.name], table.name
        assert table in TABLES or not personal


@pytest.mark.parametrize(
    ("written", "other"),
    [
        ("kim@example.com", "Kim@example.com"),
        ("kim@example.com", "kim+news@example.com"),
        ("kim@example.com", "k.im@example.com"),
        ("kim@example.com", "akim@example.com"),
        ("kim@example.com", "o'kim@example.com"),
        ("kim@example.com", "lee.kim@example.com"),
        ("kim@example.com", "lee-kim@example.com"),
        ("kim@example.com", "kim@example.com.au"),
        ("kim@example.com", "kim@example.community"),
        ("kim@example.com", "kim@mail.example.com"),
        ("kim@example.com", "kim@example-com"),
    ],
)
def test_an_address_that_is_like_the_person_is_another(written: str, other: str) -> None:
    assert identity(written) != identity(other)
    assert replaced(f"to {other}.", written) == f"to {other}."


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("kim@example.com", "kim@EXAMPLE.com"),
        ("kim@example.com", " kim@example.com "),
        ("kim@müller.de", "kim@MÜLLER.de"),
        ("kim@müller.de", "kim@xn--mller-kva.de"),
        ("kim@xn--mller-kva.de", "kim@müller.de"),
        ("josé@example.com", unicodedata.normalize("NFD", "josé@example.com")),
    ],
)
def test_forms_of_one_address_are_one(written: str, same: str) -> None:
    assert identity(written) == identity(same)
    assert replaced(f"<{same.strip()}>", written) == f"<{AT}>"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("approve by kim@example.com: ok", f"approve by {AT}: ok"),
        ("email 'kim@example.com' is refused", f"email '{AT}' is refused"),
        ("mail=kim@example.com, and Kim Beispiel.", f"mail={AT}, and {PLACEHOLDER}."),
        ("mailto:kim@example.com", f"mailto:{AT}"),
        ("KIM  BEISPIEL's seats", f"{PLACEHOLDER}'s seats"),
        ("Kim Beispiel GmbH for Kim Beispiel", f"Kim Beispiel GmbH for {PLACEHOLDER}"),
        ("Akim Beispiele", "Akim Beispiele"),
    ],
)
def test_free_text_is_left_without_the_person_and_companies_keep_their_names(text: str, left: str) -> None:
    assert replaced(text, "kim@example.com", "Kim Beispiel", company="Kim Beispiel GmbH") == left


@pytest.mark.parametrize("name", ["", "-", "K", "1", "."])
def test_a_name_of_hardly_a_letter_is_not_looked_for_in_texts(name: str) -> None:
    assert replaced("K - 1. of 1", "kim@example.com", name) == "K - 1. of 1"


@given(LOCAL, HOST, NAME)
@example("o'neill", "example.com", "O'Neill \\d (x")
@example('"kim b"', "example.com", "𝒦im")
@example("ſ", "example.com", "ﬁnn ß")
def test_every_address_and_name_leaves_documents_that_are_valid(local: str, host: str, name: str) -> None:
    mail = f"{local}@{host}"
    assume(is_address(mail) and not is_placeholder(name))
    documents = plan_of(name, mail), case_of(f"asked {mail} for it"), event_of(f"it has {mail}")
    person = Person(identity(mail), names=frozenset({name}), ids=frozenset({"own"}))
    elsewhere = Replacement(Person(identity(mail), names=frozenset({name})), PLACEHOLDER)

    for column, document in zip(("orders.plan", "cases.document", "events.document"), documents, strict=True):
        (table,) = [each for each in TABLES if each.name == column.partition(".")[0]]
        name_of = column.partition(".")[2]
        values, _ = Replacement(person, PLACEHOLDER).changes(table, row_of(name_of, msgspec.json.encode(document)))
        (new,) = values.values()
        (of_others,) = elsewhere.changes(table, row_of(name_of, msgspec.json.encode(document)))[0].values()
        assert mail not in str(msgspec.json.decode(of_others, type=type(document)))
        left = msgspec.json.decode(new, type=type(document))
        assert mail not in str(left)
        again, _ = Replacement(person, PLACEHOLDER).changes(table, row_of(name_of, new))
        assert again == {}
        if isinstance(left, Plan):
            assert left.customer.contact == Contact(PLACEHOLDER, AT)
            assert left.contract.invoicing.bill_to == Recipient(PLACEHOLDER, AT, Address(country="AT"))
            assert left.customer.name == "Buyer GmbH"
            assert left.contract.net == plan_of(name, mail).contract.net


@given(LOCAL, HOST)
def test_what_the_digest_and_the_placeholder_are_made_of_is_stable(local: str, host: str) -> None:
    mail = f"{local}@{host}"
    assume(is_address(mail))

    assert identity(identity(mail)) == identity(mail)
    assert subject_name(subject_name(mail)) == subject_name(mail)


def test_the_placeholder_is_the_same_for_each_form_of_a_subject_and_other_with_another_key(tmp_path: Path) -> None:
    one, other = (ErasedPeople(FileDocument(tmp_path / name / "erased.json")) for name in ("one", "other"))
    for each in (one, other):
        each.prepare()
    placeholder = one.placeholder("kim@example.com")

    assert is_placeholder(placeholder)
    assert is_placeholder(address(placeholder))
    assert one.placeholder(" mailto:KIM@example.com") == placeholder
    assert one.stands_for(address(placeholder), "Kim@Example.com") is True
    assert one.stands_for(address(placeholder), "lee@example.com") is False
    assert other.placeholder("kim@example.com") != placeholder
    assert ErasedPeople(FileDocument(tmp_path / "none.json")).stands_for(placeholder, "kim@example.com") is None


def test_the_list_knows_who_was_erased_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "erased.json"
    listed = ErasedPeople(FileDocument(path))
    listed.prepare()
    listed.ask("kim@example.com", "ticket 7", NOW)
    (asked,) = listed.all()
    listed.complete("kim@example.com", NOW)
    done = listed.of("kim@example.com")

    assert asked.completed_at is None
    assert done is not None
    assert (done.completed_at, done.reason) == (NOW, "ticket 7")
    assert listed.of("lee@example.com") is None
    assert "kim" not in path.read_text()


def test_a_copy_has_whom_the_restore_of_a_database_takes_from_the_list(tmp_path: Path) -> None:
    document, copy = (FileDocument(tmp_path / name) for name in ("shared.json", "copy.json"))
    listed = ErasedPeople(document, copy)
    listed.prepare()
    listed.ask("kim@example.com", "ticket 7", NOW)
    before = document.read()
    listed.ask("lee@example.com", "ticket 8", NOW)
    placeholder = listed.placeholder("kim@example.com")

    for restored in (before, b""):
        document.change(lambda _, to=restored: to)
        listed.prepare()

        assert [each.reason for each in listed.all()] == ["ticket 7", "ticket 8"]
        assert listed.placeholder("kim@example.com") == placeholder
    copy.change(lambda _: b'{"key": "00", "people": []}')
    listed.prepare()
    assert len(listed.all()) == 2


def test_every_place_where_people_and_words_are_is_in_the_canonical_types() -> None:
    types = {
        "customers.document": Customer,
        "orders.plan": Plan,
        "order_lines.line": PricedLine,
        "cases.document": Case,
        "events.document": Event,
    }
    examples = {
        "customers.document": plan_of("Kim", "kim@example.com").customer,
        "orders.plan": plan_of("Kim", "kim@example.com"),
        "order_lines.line": plan_of("Kim", "kim@example.com").contract.lines[0],
        "cases.document": case_of("why"),
        "events.document": event_of("why"),
    }
    for column, paths in [*PEOPLE.items(), *WORDS.items()]:
        assert isinstance(examples[column], types[column])
        for path in paths:
            found = tuple(valued(msgspec.to_builtins(examples[column]), path.removesuffix(".*").split(".")))
            assert any(found), (column, path)


def valued(value: Any, names: list[str]) -> Iterator[Any]:
    """Yield what is at a path; lists add nothing to it."""
    if not names:
        yield value
    elif isinstance(value, dict):
        yield from valued(value[names[0]], names[1:])
    else:
        for each in value:
            yield from valued(each, names)


class Row:
    """A row that belongs to a customer of the person's, with one document."""

    def __init__(self, **columns: object) -> None:
        self._columns = columns

    def __getattr__(self, name: str) -> object:
        return self._columns.get(name)

    def __iter__(self) -> Iterator[object]:
        return iter(self._columns.values())


def row_of(column: str, document: bytes) -> Any:
    """Return a row as the database would, as far as it is read."""
    return Row(id="own", **{column: document})


def plan_of(name: str, mail: str) -> Plan:
    line = PricedLine("1", "SEAT", "Seat", 2, Money(100, "EUR"), "month")
    terms = InvoiceTerms("PO 7", None, Recipient(name, mail, Address("Ring 2", "1010", "Wien", "AT")))
    customer = Customer(
        "cus_1", "Buyer GmbH", Address("Hauptstraße 1", country="DE"), contact=Contact(name, mail), crm="salesforce"
    )
    contract = contract_of("con_1", "ord_1", "cus_1", (line,), custom={"project": "Ring"}, invoicing=terms)
    return Plan(customer, contract, "001")


def case_of(reason: str) -> Case:
    return Case(
        id="cas_1",
        kind="deal_invalid",
        team="sales",
        subject="ord_1",
        field="lines",
        reason=reason,
        actions=("retry",),
        state="resolved",
        opened_at=NOW,
        correlation_id="cor_1",
        resolved_at=NOW,
        resolution="seen to",
    )


def event_of(reason: str) -> Event:
    kind = "com.tiergate.crm.record.refused.v1"
    return Event(id="1", source="crm/salesforce", type=kind, subject="006", time=NOW, data={"reason": reason})

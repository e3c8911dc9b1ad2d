"""One example of everything that is sent. They are real instances, so they cannot lose touch with the types.
Those of a channel are in its own folder."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any, get_args, get_origin

import msgspec

import experience_apis
from canonical.amendments import (
    Amendment,
    AmendmentPreview,
    AmendmentRequest,
    BillingPreview,
    ChangeQuantity,
    ChargedPart,
    ContractChange,
    ContractSummary,
    ContractTimeline,
    ContractVersion,
    Explanation,
    InvoicePreview,
    NewAmendment,
    deltas,
    ends_on,
    mrr,
)
from canonical.billing import (
    Contract,
    Invoice,
    InvoiceBatch,
    InvoiceLine,
    InvoiceToPost,
    Payment,
    Posting,
    PostingResult,
    PostingResults,
)
from canonical.cases import (
    Approval,
    Assignment,
    Case,
    CaseAction,
    CaseNote,
    CaseOutcome,
    CaseOutcomes,
    CasesAction,
    NewNote,
)
from canonical.catalogue_sync import CatalogueItem, CatalogueSync, NewCatalogueSync, PreviewWanted
from canonical.corrections import (
    Correctable,
    Correction,
    CorrectionPreview,
    CorrectionReason,
    CorrectionRequest,
    CorrectionStep,
    CorrectionSummary,
    CreditedLine,
    CreditOrder,
    InvoiceEnd,
    LineLeft,
    NewCorrection,
    PaidPart,
    Refund,
    RefundOrder,
)
from canonical.credits import CreditedPart, CreditNote, PaymentReversal, RefundPart
from canonical.customer_merges import (
    CustomerMerge,
    CustomerMergeAction,
    CustomerMergeStep,
    CustomerMergeSummary,
    MergedCustomer,
    Receivable,
)
from canonical.deals import (
    ContractCopy,
    Deal,
    DealLine,
    DealReference,
    DealStatus,
    Holder,
    OrderReference,
    PlacedDeal,
    PlacedLine,
    PricedLine,
    ProvisioningRequest,
    RenewalDeal,
    RenewalLine,
    Suspension,
)
from canonical.disputes import (
    Dispute,
    DisputeAction,
    DisputeFee,
    DisputeRecord,
    DisputeStep,
    DisputeSummary,
    Evidence,
)
from canonical.drift import Drift, DriftAcceptance
from canonical.dunning import Dunning, DunningAction, DunningEntry, OpenInvoice, OpenInvoices
from canonical.event_log import (
    EventDetail,
    LoggedEvent,
    ReplayPlan,
    ReplayRequest,
    ReplayShare,
    SetInMotion,
    SubscriberStatus,
)
from canonical.events import DEAL_CLOSED, Event, EventReceipt, WebhookReceipt
from canonical.jobs import JobsReceipt, JobsReport
from canonical.lineage import Lineage, LineageEntry, LineageRecord
from canonical.mass_changes import (
    MassChange,
    MassChangeAction,
    MassChangeItem,
    MassChangeRequest,
    MassChangeSummary,
    NewMassChange,
    PricePercentage,
    RevenueChange,
    StateCount,
)
from canonical.money import Money
from canonical.orders import (
    Cancellation,
    CustomerOverview,
    NewOrder,
    Order,
    OrderLine,
    OrderSummary,
    Page,
    Plan,
    PostingStatus,
    StateChange,
)
from canonical.overview import Flow, Found, Hit, RecordsInState, TeamCases
from canonical.parties import (
    Account,
    AccountSync,
    Address,
    Contact,
    Credit,
    Customer,
    CustomerCopy,
    CustomerMatch,
    CustomerMatches,
    KnownProducts,
    LegalEntity,
    PlatformId,
)
from canonical.products import (
    CatalogueProduct,
    ListPrice,
    OwnedProduct,
    OwnedProducts,
    PriceChange,
    ProductBatch,
    ProductMatch,
    ProductMatches,
)
from canonical.renewals import Renewal
from canonical.usage import (
    ContractUsage,
    MeterReading,
    UsageCharge,
    UsageError,
    UsageOfPeriod,
    UsageOrder,
    UsageReceipt,
    UsageRecord,
)
from canonical.usage_corrections import UsageCorrection, UsageDecision
from canonical.webhooks import (
    NewWebhook,
    NewWebhookSecret,
    ResendRequest,
    ResendResult,
    SigningKey,
    Webhook,
    WebhookAttempt,
    WebhookChange,
    WebhookDelivery,
    WebhookRequest,
    WebhookSecretRequest,
    WebhookTestResult,
    WebhookWithSecret,
)

CUS, ORD, CON, CAS, COR, ACT, MAS = (
    f"{prefix}_019aba7c5e0e7c4e8f3b7d1a2c9e4f60" for prefix in ("cus", "ord", "con", "cas", "cor", "act", "mas")
)
DAY = date(2026, 11, 1)
RENEWED_ON = date(2027, 11, 1)
NOON = datetime(2026, 11, 1, 12, 0, 5, tzinfo=UTC)
ADDRESS = Address("Hauptstraße 1", "10115", "Berlin", "DE")
KIM = Contact("Kim Beispiel", "kim@example.com")
CUSTOMER = Customer(
    CUS,
    "Beispiel GmbH",
    ADDRESS,
    "DE129273398",
    KIM,
    None,
    "pm_card_visa",
    "standard",
    "reseller-nord",
    "DE01",
    "9f86d081884c7d65",
    {"crm": "001gK0000000001AAA", "billing": "cus_QXg1o8vcGmoR32", "erp": "12"},
)
CUSTOMER_ACCOUNT = Account(
    "001gK0000000001AAA", CUSTOMER.name, ADDRESS, CUSTOMER.tax_number, KIM, revision=CUSTOMER.revision
)
SEATS = PricedLine("00kgK0000000002AAA", "SEAT", "Seat", 25, Money(24000, "EUR"), "year")
FEE = PricedLine("00kgK0000000001AAA", "PLATFORM", "Platform fee", 1, Money(600000, "EUR"), "year")
CONTRACT = Contract(
    CON,
    ORD,
    CUS,
    "DE01",
    "EUR",
    DAY,
    12,
    (FEE, SEATS),
    "standard",
    "19",
    "main",
    "active",
    {"customer": "cus_QXg1o8vcGmoR32", "schedule": "sub_sched_1MrLf72eZvKYlo2C"},
)
PAYMENT = Payment("pi_3MtwBwLkdIwHu7ix28a3tqPa", "in_1MtHbELkdIwHu7ixl4OzzPMv", Money(1428000, "EUR"), DAY)
CREDIT_NOTE = CreditNote(
    "cn_1MxvRqLkdIwHu7ixY0xbUcxk",
    "R-2026-7-CN-01",
    PAYMENT.invoice_id,
    CUS,
    CON,
    "DE01",
    "issued",
    DAY,
    Money(11900, "EUR"),
    Money(1900, "EUR"),
    off_due=Money(0, "EUR"),
    refunded=Money(11900, "EUR"),
    to_balance=Money(0, "EUR"),
    outside=Money(0, "EUR"),
    tax_treatment="standard",
    lines=(InvoiceLine("SEAT", "Seat", 1, Money(10000, "EUR"), Money(1900, "EUR"), DAY, DAY),),
    refunds=(RefundPart("re_1Nispe2eZvKYlo2Cd31jOCgZ", Money(11900, "EUR")),),
)
REVERSAL = PaymentReversal(
    "re_1Nispe2eZvKYlo2Cd31jOCgZ",
    "refund",
    PAYMENT.invoice_id,
    PAYMENT.id,
    CUS,
    "DE01",
    Money(11900, "EUR"),
    DAY,
    (CreditedPart(CREDIT_NOTE.id, Money(11900, "EUR")),),
)
SEAT_LINE = "il_1MtHbELkdIwHu7ixl4OzzPMv"
CREDITED = CorrectionRequest(
    "credit_note",
    "One seat was never used",
    lines=(CreditedLine(SEAT_LINE, 1),),
    refund=Money(11900, "EUR"),
    reason="order_change",
)
NEW_CORRECTION = NewCorrection(key="one-seat", **msgspec.structs.asdict(CREDITED))
TAKEN = DisputeFee("txn_1MiN3gLkdIwHu7ixNCZvFdgA", "du_1MtJUT2eZvKYlo2CNaw2HvEv", "DE01", Money(2000, "EUR"), DAY)
DISPUTE = DisputeSummary(
    TAKEN.dispute_id,
    "open",
    "stripe",
    PAYMENT.invoice_id,
    PAYMENT.id,
    CUS,
    CON,
    "DE01",
    "product not received",
    answered=False,
    reported_at=NOON,
    updated_at=NOON,
    correlation_id="cor_5f4dcc3b5aa765d61d8327deb882cf99",
    amount=Money(11900, "EUR"),
    opened_at=NOON,
    respond_by=NOON + timedelta(days=20),
    fees=(TAKEN,),
    actions=("answer", "accept"),
)
EVIDENCE = Evidence("They have used it every day, and have asked for nothing.", "Seats of a subscription")
SUMMARY = OrderSummary(ORD, "Beispiel GmbH – subscription", "active", "", CUS, NOON)
POSTING = PostingStatus(
    "invoice",
    PAYMENT.invoice_id,
    PAYMENT.invoice_id,
    CUS,
    CON,
    "DE01",
    "posted",
    "",
    1,
    NOON,
    Money(1428000, "EUR"),
    Money(228000, "EUR"),
    "7",
    Money(0, "EUR"),
)
DEAL_ID = "006gK0000000001AAA"
ORDER = Order(
    ORD,
    DEAL_ID,
    1,
    SUMMARY.name,
    "active",
    "",
    COR,
    NOON,
    NOON,
    "DE01",
    CUS,
    Plan(CUSTOMER, CONTRACT, "001gK0000000001AAA"),
    (OrderLine(FEE, "provisioned"), OrderLine(SEATS, "provisioned")),
    (StateChange("received", NOON), StateChange("active", NOON)),
    "salesperson@example.com",
)
WANTED = (PlacedLine("PLATFORM", 1), PlacedLine("SEAT", 25))
INVOICE = Invoice(
    PAYMENT.invoice_id,
    "F3A1-0001",
    CUS,
    CON,
    "DE01",
    "paid",
    DAY,
    Money(1428000, "EUR"),
    Money(228000, "EUR"),
    Money(0, "EUR"),
    "standard",
    (
        InvoiceLine("SEAT", "Seat", 25, Money(600000, "EUR"), Money(114000, "EUR"), DAY, date(2027, 10, 31)),
        InvoiceLine("PLATFORM", "Platform fee", 1, Money(600000, "EUR"), Money(114000, "EUR"), DAY, date(2027, 10, 31)),
    ),
    (PAYMENT,),
)
CREDIT_PREVIEW = CorrectionPreview(
    "credit_note",
    INVOICE,
    open_before=Money(0, "EUR"),
    open_after=Money(0, "EUR"),
    paid_back=Money(11900, "EUR"),
    written_off=Money(0, "EUR"),
    credit_note=CREDIT_NOTE,
    posting=Posting("", Money(-11900, "EUR"), Money(-1900, "EUR"), Money(-11900, "EUR"), DAY, "2061"),
    explanations=(
        CorrectionReason(
            "Seat", Money(10000, "EUR"), "the share of the invoice's line", "billing", Money(10000, "EUR")
        ),
        CorrectionReason("refund", Money(11900, "EUR"), "as it was asked for", "finance"),
    ),
    approvals=("support has asked for it",),
)
CRC = "crc_019aba7c5e0e7c4e8f3b7d1a2c9e4f60"
CORRECTED = CorrectionSummary(
    CRC,
    "credit_note",
    "awaiting_approval",
    PAYMENT.invoice_id,
    CUS,
    CON,
    "DE01",
    Money(11900, "EUR"),
    "kim@example.com",
    NOON,
    NOON,
    "",
    "approval: support has asked for it",
)
YEAR = (datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 11, 1, tzinfo=UTC), 12)
HALF = datetime(2027, 5, 2, 12, tzinfo=UTC)
AMD = "amd_019aba7c5e0e7c4e8f3b7d1a2c9e4f60"
AFTER = (FEE, msgspec.structs.replace(SEATS, quantity=30))
CHANGE = ContractChange(AMD, CONTRACT, AFTER, HALF)
PREVIEWED = Invoice(
    f"{AMD}:preview",
    "",
    CUS,
    CON,
    "DE01",
    "draft",
    HALF.date(),
    Money(71400, "EUR"),
    Money(11400, "EUR"),
    Money(71400, "EUR"),
    "standard",
    tuple(
        InvoiceLine(
            "SEAT",
            f"{word} time on {quantity} × Seat after 02 May 2027",
            quantity,
            Money(net, "EUR"),
            Money(tax, "EUR"),
            HALF.date(),
            date(2027, 10, 31),
        )
        for word, quantity, net, tax in (("Unused", 25, -300000, -57000), ("Remaining", 30, 360000, 68400))
    ),
)
PARTS = tuple(ChargedPart((SEATS.id,), HALF, YEAR[1], True, Money(price, "EUR"), *YEAR) for price in (-600000, 720000))
ASKED = AmendmentRequest((ChangeQuantity(SEATS.id, Decimal(30)),), reason="the team grows")
REQUEST = NewAmendment(ASKED.actions, reason=ASKED.reason, key=ACT)
WORTH = deltas(CONTRACT, REQUEST.actions, HALF.date())
AGREED = AmendmentPreview(
    CON,
    HALF,
    CONTRACT.lines,
    AFTER,
    WORTH,
    (PREVIEWED,),
    (Posting("", PREVIEWED.total, PREVIEWED.tax, PREVIEWED.balance, PREVIEWED.issued_on, PREVIEWED.id),),
    tuple(
        Explanation(
            part.lines,
            line.description,
            "stripe",
            "seconds",
            "15768000 of 31536000 seconds",
            part.price,
            line.net,
            line.net,
            explained=True,
        )
        for line, part in zip(PREVIEWED.lines, PARTS, strict=True)
    ),
)
AMENDMENT = Amendment(
    AMD,
    CON,
    ORD,
    CUS,
    "DE01",
    "applied",
    REQUEST,
    "kim@example.com",
    HALF,
    HALF,
    COR,
    "",
    HALF,
    AGREED,
    ("in_1OtHbELkdIwHu7ixl4OzzPMw",),
)
SOLD = ContractVersion(NOON, "active", CONTRACT.lines, mrr(CONTRACT.lines, "EUR"))
GROWN = ContractVersion(HALF, "active", AFTER, mrr(AFTER, "EUR"), AMD, WORTH)
TIMELINE = ContractTimeline(CON, ORD, CUS, "DE01", "EUR", DAY, ends_on(CONTRACT), HALF, GROWN, (SOLD, GROWN))
DEARER = MassChangeRequest("SEAT", "DE01", PricePercentage(500), currency="EUR", reason="the prices of 2027")
NEW_PRICES = NewMassChange(
    DEARER.sku, DEARER.legal_entity, DEARER.price, currency=DEARER.currency, reason=DEARER.reason, key=ACT
)
MASS_CHANGE = MassChange(
    MAS,
    "running",
    False,
    "DE01",
    NEW_PRICES,
    "kim@example.com",
    HALF,
    HALF,
    COR,
    (RevenueChange(2, Money(100000, "EUR"), Money(105000, "EUR"), Money(5000, "EUR")),),
    (StateCount("changed", 1), StateCount("left_out", 1, "change_on_its_way"), StateCount("to_do", 1)),
)
SUMMARY_OF_CONTRACT = ContractSummary(
    CON, ORD, CUS, "Example platform", "DE01", "active", DAY, ends_on(CONTRACT), GROWN.mrr, ("PLATFORM", "SEAT")
)
CLOSED = Event(
    id=f"{DEAL_ID}:1",
    source="crm/salesforce",
    type=DEAL_CLOSED,
    subject=DEAL_ID,
    time=NOON,
    data={"revision": "1"},
)
LOGGED = LoggedEvent(42, CLOSED, COR, NOON)
HAPPENED = LineageEntry(NOON, "salesforce", f"the deal {DEAL_ID} was closed as won, as revision 1", (DEAL_ID,), COR)
BOOKED = Posting("7", Money(1428000, "EUR"), Money(228000, "EUR"), Money(0, "EUR"), DAY, PAYMENT.invoice_id)
SYN, RNW, DRF, USG = f"syn_{ORD[4:]}", f"rnw_{CON[4:]}", f"drf_{CUS[4:]}", f"usg_{CON[4:]}"
UCR = f"ucr_{USG[4:]}"
PERIOD = UsageOfPeriod(USG, CONTRACT, "CALLS", NOON, datetime(2026, 12, 1, 12, 0, 5, tzinfo=UTC), Decimal("65000.5"))
DUN, RETRIED = f"dun_{CON[4:]}", datetime(2026, 11, 4, 12, tzinfo=UTC)
OVERDUE = OpenInvoice(
    PAYMENT.invoice_id, "F3A1-0001", PAYMENT.amount, NOON, True, 1, RETRIED, reason="insufficient funds"
)
DEBT = Dunning(
    DUN,
    "past_due",
    CON,
    ORD,
    CUS,
    "DE01",
    OVERDUE.due,
    suspended=False,
    found_at=NOON,
    updated_at=NOON,
    correlation_id=COR,
    since=NOON,
    blocked_reason="billing tries again on 2026-11-04 12:00 UTC; the service is suspended on 2026-11-15",
    invoices=(OVERDUE,),
    next_attempt_at=RETRIED,
    history=(DunningEntry("past_due", NOON, OVERDUE.due),),
)
MRG = f"mrg_{CUS[4:]}"
MERGE = CustomerMergeSummary(
    id=MRG,
    state="asked",
    crm="salesforce",
    merged_account_id="001gK0000000001AAA",
    account_id="001gK0000000002AAA",
    customer_id=CUS,
    other_customer_id=f"cus_{ORD[4:]}",
    leading_customer_id=f"cus_{ORD[4:]}",
    legal_entity="DE01",
    seen_at=NOON,
    updated_at=NOON,
    correlation_id=COR,
    actions=("keep", "switch"),
)
WHK, DLV, EVT = f"whk_{ORD[4:]}", f"dlv_{ORD[4:]}", f"evt_{ORD[4:]}"
HOOKS, TO_HOOKS = "https://hooks.partner.example/tiergate", ("order.activated.v1", "order.held.v1")
WEBHOOK = Webhook(
    WHK,
    "reseller-nord",
    HOOKS,
    TO_HOOKS,
    "what our portal shows",
    (),
    "active",
    "",
    NOON,
    NOON,
    NOON,
    (SigningKey(NOON, None),),
    0,
    NOON,
)
WITH_SECRET = WebhookWithSecret(WEBHOOK, "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
DELIVERY = WebhookDelivery(
    DLV,
    WHK,
    EVT,
    "order.activated.v1",
    CUS,
    "delivered",
    "",
    NOON,
    None,
    (
        WebhookAttempt(NOON, 204, 83, "", ""),
        WebhookAttempt(NOON, 500, 61, "it answered 500", "the database is away"),
    ),
)
PRODUCT = CatalogueProduct("SEAT", "Seat", "Each", "Subscriptions", prices=(ListPrice("EUR", Decimal(252), "year"),))
COPY = CatalogueProduct("SEAT", "Seat", prices=(ListPrice("EUR", Decimal(240), "year"),))
SAMPLES: dict[Any, Any] = {
    type(each): each
    for each in (
        CUSTOMER,
        CONTRACT,
        PAYMENT,
        CREDIT_NOTE,
        REVERSAL,
        TAKEN,
        DISPUTE,
        DisputeRecord(
            **{name: getattr(DISPUTE, name) for name in DISPUTE.__struct_fields__},
            history=(DisputeStep("reported", NOON), DisputeStep("open", NOON)),
        ),
        Dispute(
            DISPUTE.id,
            PAYMENT.invoice_id,
            PAYMENT.id,
            CUS,
            CON,
            "DE01",
            "open",
            Money(11900, "EUR"),
            DISPUTE.reason,
            NOON,
            DISPUTE.respond_by,
            answered=False,
            fees=(TAKEN,),
        ),
        EVIDENCE,
        DisputeAction("answer", "the customer has confirmed it", EVIDENCE),
        SUMMARY,
        POSTING,
        ORDER,
        Deal(
            DEAL_ID,
            SUMMARY.name,
            1,
            CUSTOMER_ACCOUNT,
            "EUR",
            "DE01",
            DAY,
            12,
            (DealLine(SEATS.id, "SEAT", "Seat", Decimal(25), Decimal(240), "year", listed=True),),
            won=True,
            placed_by="salesperson@example.com",
        ),
        RenewalDeal(
            f"renewal:{CON}:{RENEWED_ON}",
            RNW,
            SUMMARY.name,
            DEAL_ID,
            CON,
            "DE01",
            "EUR",
            RENEWED_ON,
            12,
            (RenewalLine("SEAT", Decimal(25), Decimal(252), "year"),),
        ),
        DealReference(DEAL_ID),
        ContractCopy("800gK0000000001AAA", "001gK0000000001AAA", DAY, 12),
        DealStatus(ORD, "active", "", "001gK0000000001AAA", CUS, CON, DAY, 12, "DE01", CUSTOMER.revision),
        CUSTOMER_ACCOUNT,
        AccountSync(CUS, CUSTOMER.revision, "DE01"),
        PlacedDeal(ACT, SUMMARY.name, "001gK0000000001AAA", "DE01", "EUR", DAY, 12, WANTED, "reseller-nord"),
        NewOrder(ACT, CUS, SUMMARY.name, "DE01", "EUR", DAY, 12, WANTED),
        OrderReference(ORD),
        ProvisioningRequest(ORD, (FEE, SEATS), 1, "DE01"),
        Suspension(ORD, AMD, suspended=True, legal_entity="DE01"),
        Holder(ORD, AMD, CUS, "DE01"),
        LegalEntity("DE01", "Tiergate GmbH", "DE", "EUR", {"standard": Decimal(19), "reverse_charge": Decimal(0)}),
        KnownProducts(("PLATFORM", "SEAT")),
        Credit(Money(0, "EUR"), Money(5000000, "EUR")),
        PlatformId("12"),
        WEBHOOK,
        WITH_SECRET,
        DELIVERY,
        WebhookRequest(HOOKS, TO_HOOKS, "what our portal shows"),
        NewWebhook(HOOKS, TO_HOOKS, "what our portal shows", key=ACT),
        WebhookChange(events=(*TO_HOOKS, "invoice.posted.v1")),
        WebhookSecretRequest(),
        NewWebhookSecret(key=ACT),
        ResendRequest(NOON),
        ResendResult(3, None),
        WebhookTestResult(True, EVT, 204, 83, "", ""),
        Drift(
            DRF,
            "accepted",
            CUS,
            "customer.name",
            "crm",
            CUSTOMER.name,
            "stripe",
            "Beispiel GmbH (Zentrale)",
            CUS,
            "DE01",
            NOON,
            NOON,
            COR,
            NOON,
            "kim@tiergate.example",
            "the invoices need it",
        ),
        DriftAcceptance("the invoices need it"),
        MERGE,
        CustomerMerge(
            **msgspec.structs.asdict(MERGE),
            history=(CustomerMergeStep("asked", NOON),),
            customers=(
                MergedCustomer(
                    CUS,
                    CUSTOMER.name,
                    False,
                    (SUMMARY_OF_CONTRACT,),
                    (),
                    (Receivable("DE01", Money(119000, "EUR"), Money(5000000, "EUR")),),
                    (CAS,),
                ),
            ),
        ),
        CustomerMergeAction("switch", "they buy by the old name"),
        CustomerCopy("12", CUSTOMER.name, ADDRESS, KIM.email, "DE129273398"),
        CustomerMatches((CustomerMatch("12", CUSTOMER.name, KIM.email, ADDRESS.city, "DE136695976", True),)),
        INVOICE,
        InvoiceBatch((InvoiceToPost(INVOICE, COR),)),
        CHANGE,
        BillingPreview(
            HALF,
            (
                InvoicePreview(
                    PREVIEWED,
                    PARTS,
                ),
            ),
        ),
        BOOKED,
        PostingResults((PostingResult(INVOICE.id, "posted", BOOKED),)),
        CLOSED,
        LOGGED,
        EventDetail(LOGGED, ("change_feeds", "fulfilment"), (SetInMotion("order", ORD, "active"),)),
        SubscriberStatus("fulfilment", (DEAL_CLOSED,), 1, 0, 42, NOON),
        ReplayRequest(since=NOON, until=NOON, subscriber="fulfilment"),
        ReplayPlan(1, (ReplayShare("fulfilment", DEAL_CLOSED, 1, 0),), 0, 0, begun=False, first=42, last=42),
        Flow(
            NOON,
            (RecordsInState("active", 412), RecordsInState("provisioning", 3, HALF, ORD, (Money(1035300, "EUR"),))),
            (RecordsInState("scheduled", 7, HALF, AMENDMENT.id),),
            (RecordsInState("posted", 1210), RecordsInState("waiting", 2, HALF, INVOICE.id, (Money(1232007, "EUR"),))),
            cases=(TeamCases("finance", 1, NOON, {"invoice_not_posted": 1}),),
        ),
        Found("Nordwind", (Hit("order", ORD, "Nordwind Logistik GmbH – subscription", "active", CUS, NOON),)),
        Lineage(ORD, (LineageRecord("order", ORD, "active", {"salesforce": DEAL_ID}),), (HAPPENED,)),
        EventReceipt(new=True),
        WebhookReceipt(taken=True),
        JobsReport("gateway-1", {"LiveCatalogue watch": "", "AuditTrail watch": "it ends again and again, by OSError"}),
        JobsReceipt(open_cases=1),
        Case(
            CAS,
            "deal_invalid",
            "finance",
            ORD,
            "deal.account.tax_number",
            "DE123 is not a valid tax number",
            ("retry", "compensate"),
            "open",
            NOON,
            COR,
            {"deal": DEAL_ID, "state": "validating"},
            customer_id=CUS,
            amount=Money(50000, "EUR"),
            due_at=NOON + timedelta(hours=24),
            assigned_to="mia@example.com",
            notes=(CaseNote(NOON, "mia@example.com", "I have asked them for the number."),),
        ),
        CaseAction("retry", "the number is corrected"),
        CasesAction((CAS,), "retry", "the number is corrected"),
        CaseOutcomes((CaseOutcome(CAS, True),)),
        Assignment("mia@example.com"),
        NewNote("I have asked them for the number."),
        Approval("approve", "paid on time for years"),
        Cancellation("the customer does not want to wait"),
        CustomerOverview(CUSTOMER, (SUMMARY,), (POSTING,), 1, (CORRECTED,), (DISPUTE,), (DEBT,)),
        ASKED,
        REQUEST,
        AGREED,
        AMENDMENT,
        TIMELINE,
        SUMMARY_OF_CONTRACT,
        DEARER,
        NEW_PRICES,
        MASS_CHANGE,
        Renewal(
            RNW,
            "quoted",
            "quoted",
            CON,
            ORD,
            CUS,
            "DE01",
            RENEWED_ON,
            Money(50000, "EUR"),
            Money(52500, "EUR"),
            NOON,
            NOON,
            COR,
            date(2028, 11, 1),
            "the deal to be won before 2027-10-28",
            "salesforce",
            DEAL_ID,
        ),
        CREDITED,
        NEW_CORRECTION,
        CREDIT_PREVIEW,
        CORRECTED,
        Correction(
            **msgspec.structs.asdict(CORRECTED),
            request=NEW_CORRECTION,
            proposed=True,
            correlation_id=COR,
            preview=CREDIT_PREVIEW,
            history=(
                CorrectionStep("requested", NOON, "kim@example.com", "One seat was never used"),
                CorrectionStep("checking", NOON, "", ""),
                CorrectionStep("awaiting_approval", NOON, "", "support has asked for it"),
            ),
        ),
        Correctable(
            INVOICE,
            (LineLeft(INVOICE.lines[0], 1, INVOICE.lines[0].net, INVOICE.lines[0].tax),),
            Money(0, "EUR"),
            (PaidPart(PAYMENT.id, PAYMENT.amount, PAYMENT.amount),),
            PAYMENT.amount,
        ),
        CreditOrder(
            CRC,
            PAYMENT.invoice_id,
            "DE01",
            CREDITED.lines,
            Money(11900, "EUR"),
            Money(0, "EUR"),
            Money(0, "EUR"),
            reason="order_change",
            text=CREDITED.text,
        ),
        RefundOrder(CRC, PAYMENT.invoice_id, "DE01", PAYMENT.id, Money(11900, "EUR")),
        InvoiceEnd(PAYMENT.invoice_id, "DE01", CRC),
        Refund(REVERSAL.id, CRC, PAYMENT.invoice_id, PAYMENT.id, Money(11900, "EUR"), "pending"),
        OpenInvoices((OVERDUE,)),
        DEBT,
        DunningAction("postpone", "the customer pays by bank transfer this week", date(2026, 11, 20)),
        UsageRecord("call-2026-11-01-0001", CON, "api_calls", NOON, "12.5"),
        PERIOD,
        UsageOrder(UCR, PERIOD, Decimal("120.5")),
        UsageCharge(PAYMENT.invoice_id, "il_1MtHbELkdIwHu7ixl4OzzPMv", Money(241, "EUR")),
        UsageCorrection(
            UCR,
            "proposed",
            CON,
            CUS,
            "DE01",
            "api_calls",
            "CALLS",
            NOON,
            PERIOD.ends_at,
            charged=PERIOD.quantity,
            quantity=Decimal(65121),
            difference=Decimal("120.5"),
            amount=Money(241, "EUR"),
            invoice_id=PAYMENT.invoice_id,
            revision=2,
            reference="",
            decided_by="",
            reason="",
            blocked_reason="",
            found_at=NOON,
            updated_at=NOON,
            correlation_id=COR,
        ),
        UsageDecision("approve", 2, "a device was offline"),
        UsageReceipt(99_998, 1, 1, (UsageError(40_217, "$.at", "it is more than 35 days ago"),)),
        ContractUsage(
            CON,
            HALF,
            (
                MeterReading(
                    "api_calls",
                    "CALLS",
                    "call",
                    "sum",
                    datetime(2027, 5, 1, 12, tzinfo=UTC),
                    datetime(2027, 6, 1, 12, tzinfo=UTC),
                    Decimal("65000.5"),
                    99_998,
                ),
            ),
        ),
        MassChangeAction("pause"),
        MassChangeSummary(MAS, "running", False, "DE01", "SEAT", "kim@example.com", HALF, HALF),
        MassChangeItem(CON, CUS, "changed", Money(50000, "EUR"), Money(52500, "EUR"), amendment_id=AMENDMENT.id),
        PRODUCT,
        OwnedProducts((OwnedProduct("01tgK0000000001AAA", "SEAT", PRODUCT),), "01tgK0000000001AAA"),
        ProductBatch((PRODUCT,)),
        ProductMatches((ProductMatch("SEAT", COPY),)),
        PriceChange("SEAT", "EUR", PRODUCT.prices[0]),
        NewCatalogueSync(ACT, "salesforce"),
        PreviewWanted("salesforce"),
        CatalogueSync(
            SYN, "salesforce", "planned", "kim@example.com", NOON, NOON, COR, "", 6, {"replace": 1}, {"planned": 1}
        ),
        CatalogueItem(
            "stripe", "SEAT", "EUR", "replace", "planned", COPY.prices[0].in_words(), PRODUCT.prices[0].in_words(), ""
        ),
    )
}


def sample(kind: Any) -> Any:
    """Return an instance of `kind`; a page of something is a page with one. Raises `KeyError` for a type without an
    example."""
    if get_origin(kind) is Page:
        return Page((SAMPLES[get_args(kind)[0]],))
    return SAMPLES[kind]


def _of_the_channels() -> dict[Any, Any]:
    """Return what each channel shows in the module `examples` of its folder, if its contract has types of its own."""
    names = (f"experience_apis.{each.name}.examples" for each in iter_modules(experience_apis.__path__) if each.ispkg)
    found = (import_module(name).examples(sample) for name in names if find_spec(name))
    return {type(each): each for of_one in found for each in of_one}


SAMPLES.update(_of_the_channels())

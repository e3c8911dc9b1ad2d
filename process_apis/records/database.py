"""The tables, and the engine over them. SQLite by default, PostgreSQL when there is more than one machine."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from policies.store.databases import database_at
from policies.store.secret import NO_SECRET, Secret
from process_apis.records import lease

metadata = sa.MetaData()
KEY = sa.String(120)
INSTANCE = sa.String(40)
"""The name of a platform in the catalogue."""
NOT_BLOCKED: dict[str, None] = {"blocked_by": None, "blocked_since": None}
"""What the columns of a row hold that waits for no platform: neither for which one nor since when (UTC)."""
PERSONAL = "personal"
"""What the columns say of themselves that may name a person: how `process_apis/erasure.py` reads them."""
TEXT, DOCUMENT = {PERSONAL: "text"}, {PERSONAL: "document"}
"""Words of people or of platforms, or a name; a record of the canonical model as JSON."""
CONNECTIONS = 20
"""Connections that are kept, and as many that are opened when there is more to do."""

references = sa.Table(
    "references_",
    metadata,
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("platform", INSTANCE, primary_key=True),
    sa.Column("foreign_id", KEY, primary_key=True),
    sa.Column("canonical_id", KEY, nullable=False, index=True),
)
matches = sa.Table(
    "matches",
    metadata,
    sa.Column("customer_id", KEY, primary_key=True),
    sa.Column("platform", INSTANCE, primary_key=True),
    sa.Column("record", sa.String(255)),
    sa.UniqueConstraint("platform", "record"),
)
customers = sa.Table(
    "customers",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("partner", sa.String(60), nullable=False, default="", index=True),
    sa.Column("document", sa.LargeBinary, nullable=False, info=DOCUMENT),
    sa.Column("searched", sa.Text, nullable=False, server_default="", info=TEXT),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("correlation_id", KEY, nullable=False, default=""),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("shares_with", KEY, nullable=False, default="", server_default="", index=True),
    sa.Column("blocked_by", INSTANCE),
    sa.Column("blocked_since", sa.String(40)),
)
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("crm", INSTANCE, nullable=False),
    sa.Column("deal_id", KEY, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("deal_state", sa.String(40), nullable=False, default=""),
    sa.Column("deal_revision", sa.Integer),
    sa.Column("name", sa.String(255), nullable=False, default="", info=TEXT),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("held_in", sa.String(20), nullable=False, default=""),
    sa.Column("blocked_reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("legal_entity", sa.String(20), nullable=False, default=""),
    sa.Column("customer_id", KEY, nullable=False, default="", index=True),
    sa.Column("partner", sa.String(60), nullable=False, default="", index=True),
    sa.Column("placed_by", KEY, nullable=False, default="", info=TEXT),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("plan", sa.LargeBinary, info=DOCUMENT),
    sa.Column("run", sa.Integer, nullable=False, default=1),
    sa.Column("attempts", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Column("blocked_by", INSTANCE),
    sa.Column("blocked_since", sa.String(40)),
    sa.Column("currency", sa.String(3)),
    sa.Column("amount", sa.BigInteger),
    sa.Column("provisioning_attempt", sa.Integer, nullable=False, default=1),
    sa.Column("accepts_duplicate", sa.Boolean, nullable=False, default=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("crm_status", sa.String(40), nullable=False, default=""),
    sa.Column("received_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
    sa.UniqueConstraint("crm", "deal_id", "revision"),
    sa.Index("ix_orders_state", "state", "updated_at"),
)
order_states = sa.Table(
    "order_states",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("order_id", KEY, nullable=False, index=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
)
order_lines = sa.Table(
    "order_lines",
    metadata,
    sa.Column("order_id", KEY, primary_key=True),
    sa.Column("line_id", KEY, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("line", sa.LargeBinary, nullable=False, info=DOCUMENT),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("attempt", sa.Integer, nullable=False, default=1),
    sa.Column("billed", sa.Boolean, nullable=False, default=False),
)
postings = sa.Table(
    "postings",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("billing", INSTANCE, nullable=False),
    sa.Column("id", KEY, nullable=False),
    sa.Column("invoice_id", KEY, nullable=False, index=True),
    sa.Column("customer_id", KEY, nullable=False, default="", index=True),
    sa.Column("contract_id", KEY, nullable=False, default="", index=True),
    sa.Column("legal_entity", sa.String(20), nullable=False, default=""),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("blocked_reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("blocked_by", INSTANCE),
    sa.Column("blocked_since", sa.String(40)),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("batch", sa.String(160), nullable=False, default="", server_default=""),
    sa.Column("currency", sa.String(3)),
    sa.Column("amount", sa.BigInteger),
    sa.Column("tax", sa.BigInteger),
    sa.Column("balance", sa.BigInteger),
    sa.Column("number", sa.String(60), nullable=False, default=""),
    sa.Column("cancelled", sa.String(20), nullable=False, default="", server_default=""),
    sa.Column("skipped", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("updated_at", sa.String(40), nullable=False),
    sa.UniqueConstraint("kind", "id"),
    sa.Index("ix_postings_state", "state", "updated_at"),
    sa.Index("ix_postings_number", "number"),
)
cases = sa.Table(
    "cases",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("subject", KEY, nullable=False, index=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("field", sa.String(120), nullable=False),
    sa.Column("team", sa.String(20), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("legal_entity", sa.String(20), nullable=False, default=""),
    sa.Column("customer_id", KEY, nullable=False, default="", index=True),
    sa.Column("document", sa.LargeBinary, nullable=False, info=DOCUMENT),
    sa.Column("resolved_at", sa.String(40), index=True),
    sa.Column("currency", sa.String(3), nullable=False, server_default=""),
    sa.Column("amount", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("due_at", sa.String(40), nullable=False, server_default=""),
    sa.Column("assigned_to", KEY, nullable=False, server_default="", info=TEXT),
    sa.Index("ix_cases_state", "state", "team"),
    sa.Index("ix_cases_due", "state", "team", "due_at", "seq"),
    sa.Index("ix_cases_amount", "state", "team", "currency", "amount", "seq"),
)
case_notes = sa.Table(
    "case_notes",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("case_id", KEY, nullable=False, index=True),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("written_by", KEY, nullable=False, info=TEXT),
    sa.Column("text", sa.Text, nullable=False, info=TEXT),
    sa.Column("customer_id", KEY, nullable=False),
)
amendments = sa.Table(
    "amendments",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("contract_id", KEY, nullable=False, index=True),
    sa.Column("order_id", KEY, nullable=False, index=True),
    sa.Column("customer_id", KEY, nullable=False, index=True),
    sa.Column("legal_entity", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("held_in", sa.String(20), nullable=False, default=""),
    sa.Column("blocked_reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("blocked_by", INSTANCE),
    sa.Column("blocked_since", sa.String(40)),
    sa.Column("requested_by", KEY, nullable=False, info=TEXT),
    sa.Column("request", sa.LargeBinary, nullable=False, info=DOCUMENT),
    sa.Column("preview", sa.LargeBinary, info=DOCUMENT),
    sa.Column("approved", sa.String(120), nullable=False, default=""),
    sa.Column("effective_at", sa.String(40)),
    sa.Column("ends_at", sa.String(40)),
    sa.Column("version", sa.Integer),
    sa.Column("invoices", sa.Text, nullable=False, default=""),
    sa.Column("delivery_attempt", sa.Integer, nullable=False, default=0),
    sa.Column("undelivered", sa.Text, nullable=False, default=""),
    sa.Column("run", sa.Integer, nullable=False, default=1),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("requested_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
    sa.UniqueConstraint("contract_id", "version"),
)
amending_deals = sa.Table(
    "amending_deals",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("crm", INSTANCE, nullable=False),
    sa.Column("deal_id", KEY, nullable=False),
    sa.Column("deal_state", sa.String(40), nullable=False),
    sa.Column("deal_revision", sa.Integer, nullable=False),
    sa.Column("contract_id", KEY, nullable=False, index=True),
    sa.Column("key_revision", sa.Integer, nullable=False),
    sa.Column("amendment_id", KEY, nullable=False, default="", index=True),
    sa.Column("shown", sa.String(40), nullable=False, default=""),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.UniqueConstraint("crm", "deal_id"),
)
drifts = sa.Table(
    "drifts",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("subject", KEY, nullable=False, index=True),
    sa.Column("field", sa.String(60), nullable=False),
    sa.Column("system", INSTANCE, nullable=False),
    sa.Column("owner", INSTANCE, nullable=False),
    sa.Column("owner_value", sa.Text, nullable=False, info=TEXT),
    sa.Column("value", sa.Text, nullable=False, info=TEXT),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("customer_id", KEY, nullable=False, index=True),
    sa.Column("legal_entity", sa.String(20), nullable=False),
    sa.Column("since", sa.String(40), nullable=False),
    sa.Column("seen_at", sa.String(40), nullable=False),
    sa.Column("settled_at", sa.String(40)),
    sa.Column("settled_by", KEY, nullable=False, default="", info=TEXT),
    sa.Column("reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("correlation_id", KEY, nullable=False),
)
drift_looks = sa.Table(
    "drift_looks",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
)
drift_sweeps = sa.Table(
    "drift_sweeps",
    metadata,
    sa.Column("name", KEY, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("next_at", sa.String(40), nullable=False),
)
catalogue_syncs = sa.Table(
    "catalogue_syncs",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("crm", INSTANCE, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("held_in", sa.String(20), nullable=False, default=""),
    sa.Column("requested_by", KEY, nullable=False, info=TEXT),
    sa.Column("blocked_reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("blocked_by", INSTANCE),
    sa.Column("blocked_since", sa.String(40)),
    sa.Column("cursor", KEY, nullable=False, default=""),
    sa.Column("listed", sa.Boolean, nullable=False, default=False),
    sa.Column("pages", sa.Integer, nullable=False, default=0),
    sa.Column("products", sa.Integer, nullable=False, default=0),
    sa.Column("run", sa.Integer, nullable=False, default=1),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("requested_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
)
catalogue_items = sa.Table(
    "catalogue_items",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("sync_id", KEY, nullable=False),
    sa.Column("place", sa.BigInteger, nullable=False),
    sa.Column("platform", INSTANCE, nullable=False),
    sa.Column("domain", sa.String(20), nullable=False),
    sa.Column("sku", KEY, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("action", sa.String(10), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("field", KEY, nullable=False),
    sa.Column("was", sa.Text, nullable=False, info=TEXT),
    sa.Column("becomes", sa.Text, nullable=False, info=TEXT),
    sa.Column("reason", sa.Text, nullable=False, info=TEXT),
    sa.Column("document", sa.LargeBinary),
    sa.UniqueConstraint("sync_id", "place"),
)
catalogue_products = sa.Table(
    "catalogue_products",
    metadata,
    sa.Column("platform", INSTANCE, primary_key=True),
    sa.Column("sku", KEY, primary_key=True),
    sa.Column("crm", INSTANCE, nullable=False),
    sa.Column("seen_by", KEY, nullable=False),
)
contract_products = sa.Table(
    "contract_products",
    metadata,
    sa.Column("sku", KEY, primary_key=True),
    sa.Column("order_seq", sa.Integer, primary_key=True),
)
mass_changes = sa.Table(
    "mass_changes",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("legal_entity", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("undoing", sa.Boolean, nullable=False, default=False),
    sa.Column("sku", KEY, nullable=False),
    sa.Column("requested_by", KEY, nullable=False, info=TEXT),
    sa.Column("request", sa.LargeBinary, nullable=False, info=DOCUMENT),
    sa.Column("cursor", sa.String(20)),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("requested_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
)
mass_change_items = sa.Table(
    "mass_change_items",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("mass_change_id", KEY, nullable=False),
    sa.Column("contract_id", KEY, nullable=False),
    sa.Column("order_id", KEY, nullable=False),
    sa.Column("customer_id", KEY, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("mrr_before", sa.BigInteger, nullable=False),
    sa.Column("mrr_after", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("reason", sa.String(40), nullable=False, default=""),
    sa.Column("detail", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("attempt", sa.Integer, nullable=False, default=1),
    sa.Column("amendment_id", KEY, nullable=False, default="", index=True),
    sa.Column("reversal_id", KEY, nullable=False, default="", index=True),
    sa.Column("asked_at", sa.String(40)),
    sa.UniqueConstraint("mass_change_id", "contract_id"),
)
sa.Index("ix_mass_change_items_in_turn", mass_change_items.c.mass_change_id, mass_change_items.c.state)
renewals = sa.Table(
    "renewals",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("contract_id", KEY, nullable=False, index=True),
    sa.Column("order_id", KEY, nullable=False),
    sa.Column("customer_id", KEY, nullable=False, index=True),
    sa.Column("legal_entity", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("mode", sa.String(20), nullable=False),
    sa.Column("ends_on", sa.String(10), nullable=False, index=True),
    sa.Column("renews_until", sa.String(10)),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("mrr_before", sa.BigInteger, nullable=False),
    sa.Column("mrr_after", sa.BigInteger, nullable=False),
    sa.Column("blocked_reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("note", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("crm", INSTANCE, nullable=False, default=""),
    sa.Column("deal_id", KEY, nullable=False, default="", index=True),
    sa.Column("deal_lost", sa.Boolean, nullable=False, default=False),
    sa.Column("asked_again", sa.Boolean, nullable=False, default=False),
    sa.Column("found_again", sa.Integer, nullable=False, default=0),
    sa.Column("amendment_id", KEY, nullable=False, default=""),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("found_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
    sa.UniqueConstraint("contract_id", "ends_on"),
)
dunnings = sa.Table(
    "dunnings",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("contract_id", KEY, nullable=False, index=True),
    sa.Column("order_id", KEY, nullable=False, index=True),
    sa.Column("customer_id", KEY, nullable=False, index=True),
    sa.Column("legal_entity", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("times", sa.Integer, nullable=False, default=0),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("owed", sa.BigInteger, nullable=False, default=0),
    sa.Column("since", sa.String(40)),
    sa.Column("invoices", sa.LargeBinary, nullable=False),
    sa.Column("suspended", sa.Boolean, nullable=False, default=False),
    sa.Column("turn", sa.Integer, nullable=False, default=0),
    sa.Column("reported_turn", sa.Integer, nullable=False, default=0),
    sa.Column("shown", sa.Text, nullable=False, default=""),
    sa.Column("postponed_until", sa.String(10)),
    sa.Column("amendment_id", KEY, nullable=False, default=""),
    sa.Column("blocked_reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("found_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
    sa.UniqueConstraint("contract_id", "customer_id"),
)
dunning_states = sa.Table(
    "dunning_states",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("dunning_id", KEY, nullable=False, index=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("owed", sa.BigInteger, nullable=False),
    sa.Column("suspended", sa.Boolean, nullable=False),
    sa.Column("decided_by", KEY, nullable=False, default="", info=TEXT),
    sa.Column("reason", sa.Text, nullable=False, default="", info=TEXT),
)
customer_merges = sa.Table(
    "customer_merges",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("crm", INSTANCE, nullable=False),
    sa.Column("merged_account", KEY, nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("account", KEY, nullable=False),
    sa.Column("customer_id", KEY, nullable=False, index=True),
    sa.Column("other_customer_id", KEY, nullable=False, default="", index=True),
    sa.Column("legal_entity", sa.String(20), nullable=False),
    sa.Column("other_legal_entity", sa.String(20), nullable=False, default=""),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("held_in", sa.String(20), nullable=False, default=""),
    sa.Column("account_in_question", KEY, nullable=False, default=""),
    sa.Column("answer", sa.String(10), nullable=False, default=""),
    sa.Column("decided_at", sa.String(40)),
    sa.Column("decided_by", KEY, nullable=False, default="", info=TEXT),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("seen_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
    sa.UniqueConstraint("crm", "merged_account", "times"),
)
customer_merge_states = sa.Table(
    "customer_merge_states",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("merge_id", KEY, nullable=False, index=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("decided_by", KEY, nullable=False, default="", info=TEXT),
    sa.Column("reason", sa.Text, nullable=False, default="", info=TEXT),
)
corrections = sa.Table(
    "corrections",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("invoice_id", KEY, nullable=False, index=True),
    sa.Column("billing", sa.String(60), nullable=False),
    sa.Column("contract_id", KEY, nullable=False),
    sa.Column("customer_id", KEY, nullable=False),
    sa.Column("legal_entity", sa.String(20), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("held_in", sa.String(20), nullable=False, default=""),
    sa.Column("requested_by", KEY, nullable=False, info=TEXT),
    sa.Column("proposed", sa.Boolean, nullable=False),
    sa.Column("request", sa.LargeBinary, nullable=False, info=DOCUMENT),
    sa.Column("wanted", sa.LargeBinary, nullable=False, info=DOCUMENT),
    sa.Column("preview", sa.LargeBinary, info=DOCUMENT),
    sa.Column("approved", sa.String(64), nullable=False, default=""),
    sa.Column("reference", KEY, nullable=False, default="", index=True),
    sa.Column("tries", sa.Integer, nullable=False, default=1),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("blocked_reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("blocked_by", sa.String(60)),
    sa.Column("blocked_since", sa.String(40)),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("requested_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
)
correction_states = sa.Table(
    "correction_states",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("correction_id", KEY, nullable=False, index=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("decided_by", KEY, nullable=False, default="", info=TEXT),
    sa.Column("reason", sa.Text, nullable=False, default="", info=TEXT),
)
webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("client", sa.String(60), nullable=False, index=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False, info=TEXT),
    sa.Column("event_types", sa.Text, nullable=False),
    sa.Column("customer_ids", sa.Text, nullable=False),
    sa.Column("legal_entities", sa.Text, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("since", sa.String(40), nullable=False),
    sa.Column("signing_keys", sa.LargeBinary, nullable=False),
    sa.Column("delivered_at", sa.String(40)),
    sa.Column("failing_since", sa.String(40)),
    sa.Column("failed_at", sa.String(40)),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("created_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
)
webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("webhook_id", KEY, nullable=False),
    sa.Column("event_id", KEY, nullable=False),
    sa.Column("type", sa.String(120), nullable=False),
    sa.Column("subject", KEY, nullable=False),
    sa.Column("customer_id", KEY, nullable=False),
    sa.Column("legal_entity", sa.String(20), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("created_at", sa.String(40), nullable=False, index=True),
)
sa.Index("ix_webhook_deliveries_webhook", webhook_deliveries.c.webhook_id, webhook_deliveries.c.seq)
webhook_attempts = sa.Table(
    "webhook_attempts",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("delivery_id", KEY, nullable=False, index=True),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("milliseconds", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("excerpt", sa.Text, nullable=False, info=TEXT),
)
usage_sources = sa.Table(
    "usage_sources",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("contract_id", KEY, nullable=False),
    sa.Column("meter", sa.String(40), nullable=False),
    sa.UniqueConstraint("contract_id", "meter"),
)
# A million rows of a contract and meter are read in the order of their moments: on SQLite they lie in it.
usage_records = sa.Table(
    "usage_records",
    metadata,
    sa.Column("source", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", KEY, primary_key=True),
    sa.Column("quantity", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(32), nullable=False, default=""),
    sa.UniqueConstraint("source", "id"),
    sqlite_with_rowid=False,
)
usage_voids = sa.Table(
    "usage_voids",
    metadata,
    sa.Column("source", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", KEY, primary_key=True),
    sqlite_with_rowid=False,
)
usage_periods = sa.Table(
    "usage_periods",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("source", sa.Integer, nullable=False),
    sa.Column("contract_id", KEY, nullable=False, index=True),
    sa.Column("order_id", KEY, nullable=False),
    sa.Column("customer_id", KEY, nullable=False),
    sa.Column("legal_entity", sa.String(20), nullable=False),
    sa.Column("meter", sa.String(40), nullable=False),
    sa.Column("sku", KEY, nullable=False),
    sa.Column("starts_at", sa.BigInteger, nullable=False),
    sa.Column("ends_at", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("quantity", sa.String(40), nullable=False, default=""),
    sa.Column("is_whole", sa.Boolean, nullable=False, default=True),
    sa.Column("blocked_reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("updated_at", sa.String(40), nullable=False),
    sa.UniqueConstraint("source", "starts_at"),
)
usage_corrections = sa.Table(
    "usage_corrections",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("period_id", KEY, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("contract_id", KEY, nullable=False, index=True),
    sa.Column("order_id", KEY, nullable=False),
    sa.Column("customer_id", KEY, nullable=False, index=True),
    sa.Column("legal_entity", sa.String(20), nullable=False),
    sa.Column("meter", sa.String(40), nullable=False),
    sa.Column("sku", KEY, nullable=False),
    sa.Column("starts_at", sa.BigInteger, nullable=False),
    sa.Column("ends_at", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("charged", sa.String(40), nullable=False),
    sa.Column("settled", sa.String(40), nullable=False),
    sa.Column("quantity", sa.String(40), nullable=False),
    sa.Column("difference", sa.String(40), nullable=False),
    sa.Column("currency", sa.String(3)),
    sa.Column("amount", sa.BigInteger),
    sa.Column("invoice_id", KEY, nullable=False, default=""),
    sa.Column("line", KEY, nullable=False, default=""),
    sa.Column("revision", sa.Integer, nullable=False, default=1),
    sa.Column("sent_by", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("decided_by", KEY, nullable=False, default="", info=TEXT),
    sa.Column("reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("held_in", sa.String(20), nullable=False, default=""),
    sa.Column("tries", sa.Integer, nullable=False, default=1),
    sa.Column("reference", KEY, nullable=False, default=""),
    sa.Column("blocked_reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("found_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
    sa.UniqueConstraint("period_id", "number"),
)
disputes = sa.Table(
    "disputes",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("billing", INSTANCE, nullable=False),
    sa.Column("invoice_id", KEY, nullable=False, default=""),
    sa.Column("payment_id", KEY, nullable=False, default=""),
    sa.Column("contract_id", KEY, nullable=False, default="", index=True),
    sa.Column("customer_id", KEY, nullable=False, default="", index=True),
    sa.Column("legal_entity", sa.String(20), nullable=False, default=""),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("currency", sa.String(3)),
    sa.Column("amount", sa.BigInteger),
    sa.Column("reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("opened_at", sa.String(40)),
    sa.Column("respond_by", sa.String(40), index=True),
    sa.Column("answered", sa.Boolean, nullable=False, default=False),
    sa.Column("reported_until", sa.String(40), nullable=False, default=""),
    sa.Column("asked", sa.String(10), nullable=False, default=""),
    sa.Column("digest", sa.String(64), nullable=False, default=""),
    sa.Column("doing", sa.String(10), nullable=False, default=""),
    sa.Column("evidence", sa.LargeBinary, info=DOCUMENT),
    sa.Column("revision", sa.Integer, nullable=False, default=0),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("blocked_reason", sa.Text, nullable=False, default="", info=TEXT),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("next_attempt_at", sa.String(40), index=True),
    sa.Column("reported_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
)
dispute_steps = sa.Table(
    "dispute_steps",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("dispute_id", KEY, nullable=False, index=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("asked", sa.String(10), nullable=False, default=""),
    sa.Column("asked_by", KEY, nullable=False, default="", info=TEXT),
    sa.Column("reason", sa.Text, nullable=False, default="", info=TEXT),
)
dispute_fees = sa.Table(
    "dispute_fees",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", KEY, nullable=False, unique=True),
    sa.Column("dispute_id", KEY, nullable=False, index=True),
    sa.Column("legal_entity", sa.String(20), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("taken_on", sa.String(10), nullable=False),
)
OPEN = cases.c.state == "open"
sa.Index(
    "one_open_case", cases.c.subject, cases.c.kind, cases.c.field, unique=True, sqlite_where=OPEN, postgresql_where=OPEN
)
# Counted by state from an index alone. None begins with a state, which SQLite would take for a narrow choice.
sa.Index("ix_orders_received_at_state", orders.c.received_at, orders.c.state)
sa.Index("ix_postings_in_turn", postings.c.contract_id, postings.c.kind, postings.c.state, postings.c.seq)
sa.Index("ix_cases_open_kind", cases.c.kind, sqlite_where=OPEN, postgresql_where=OPEN)
sa.Index("ix_catalogue_items_state", catalogue_items.c.sync_id, catalogue_items.c.state, catalogue_items.c.place)
sa.Index("ix_catalogue_products_crm", catalogue_products.c.crm, catalogue_products.c.seen_by)
for _table in (orders, postings, customers, amendments, catalogue_syncs, corrections):
    _blocked = _table.c.blocked_by.is_not(None)
    sa.Index(
        f"ix_{_table.name}_blocked_by",
        _table.c.blocked_by,
        _table.c.seq,
        sqlite_where=_blocked,
        postgresql_where=_blocked,
    )
events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("source", sa.String(60), nullable=False),
    sa.Column("id", KEY, nullable=False),
    sa.Column("type", sa.String(120), nullable=False),
    sa.Column("subject", KEY, nullable=False, index=True),
    sa.Column("correlation_id", KEY, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False, info=DOCUMENT),
    sa.Column("taken_at", sa.String(40)),
    sa.Column("untaken", sa.String(255), nullable=False, default="", server_default=""),
    sa.Column("legal_entity", sa.String(20), nullable=False, default="", server_default=""),
    sa.Column("customer_id", KEY, nullable=False, default="", server_default=""),
    sa.Column("run", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Column("attempts", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Column("next_attempt_at", sa.String(40)),
    sa.UniqueConstraint("source", "id"),
)
UNTAKEN = events.c.untaken != sa.literal_column("''")
"""An event that a subscriber has not taken: `untaken` names those, with blanks between. In the words of its index."""
sa.Index("ix_events_untaken", events.c.next_attempt_at, sqlite_where=UNTAKEN, postgresql_where=UNTAKEN)
OLDEST = sa.Table("oldest_code", metadata, sa.Column("revision", sa.String(10), primary_key=True))
"""One row: the revision whose code still works on these tables."""
executors = sa.Table(
    "executors", metadata, sa.Column("id", KEY, primary_key=True), sa.Column("beat_at", sa.Float, nullable=False)
)
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", KEY, primary_key=True),
    sa.Column("holder", KEY, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)


def open_database(url: str, password: Secret = NO_SECRET) -> sa.Engine:
    """Return an engine. SQLite waits for other writers instead of failing. `revisions` sees to the tables.

    Each new connection logs in with the `password` as it is then.
    """
    engine = database_at(url, password, pool_size=CONNECTIONS, max_overflow=CONNECTIONS)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def require_room(engine: sa.Engine, name: str) -> None:
    """Write something, and take it away again, as the process `name`. Raises `OperationalError` for a database that
    can be read alone, as on a full disk: the engine of workflows does not begin there."""
    with writing(engine) as connection:
        connection.execute(executors.insert().values(id=name, beat_at=0.0))
    with writing(engine) as connection:
        connection.execute(executors.delete().where(executors.c.id == name))


@contextmanager
def writing(engine: sa.Engine) -> Generator[sa.Connection]:
    """Begin a transaction that writes, and end it with the block.

    What it reads `with_for_update` stays as it was read until it ends: SQLite, which knows no locks of rows, lets one
    transaction write at a time, and this one from its start. Raises what ends a workflow that another process has taken
    over (`lease.require`): it must write nothing any more.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        lease.require(connection)
        yield connection


def insert_once(connection: sa.Connection, table: sa.Table, values: dict[str, Any]) -> bool:
    """Insert unless a unique key is taken. Returns whether it was inserted: of two at once, one gets yes."""
    return connection.execute(_insert_once(connection.dialect.name, table), values).rowcount == 1


@cache
def _insert_once(dialect: str, table: sa.Table) -> sa.Insert:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    # SQLAlchemy counts the rows of an insert on PostgreSQL only when it is asked to.
    return insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Write-ahead log: readers and the one writer do not block each other (SQLite: WAL); FULL: what was answered is
    still there after a power cut. IMMEDIATE as the engine's own."""
    connection.isolation_level = "IMMEDIATE"
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 30000", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")

"""The AsyncAPI 3 document: the events of the log, and the webhooks that come in and go out."""

from __future__ import annotations

from typing import Any

import msgspec

from canonical.events import Event
from canonical.process_events import PROCESS_EVENTS, SOURCE
from policies.business.events import EVENTS
from policies.catalogue.model import Catalogue
from tiergate.contracts.examples import AMD, CAS, CON, CRC, CUS, DRF, DUN, MAS, MRG, NOON, ORD, RNW, SYN, USG

Json = dict[str, Any]
NAME = "events.v1.json"
INV = "in_1MtHbELkdIwHu7ixl4OzzPMv"
INVOICED = {"contract": CON, "customer": CUS, "legal_entity": "DE01"}
DISPUTED = INVOICED | {
    "invoice": INV,
    "dispute": "du_1MtJUT2eZvKYlo2CNaw2HvEv",
    "amount": "119.00 EUR",
    "reason": "fraudulent",
    "respond_by": "2026-12-20 23:59",
}
EXAMPLES: dict[str, tuple[str, str, dict[str, str]]] = {
    "com.tiergate.crm.deal.closed.v1": (
        "crm/salesforce",
        "006gK0000000001AAA",
        {"revision": "1", "digest": "9f86d081884c7d65"},
    ),
    "com.tiergate.crm.deal.lost.v1": (
        "crm/salesforce",
        "006gK0000000001AAA",
        {"revision": "1", "digest": "60303ae22b998861"},
    ),
    "com.tiergate.crm.customer.changed.v1": ("crm/salesforce", CUS, {"account": "001gK0000000001AAA"}),
    "com.tiergate.crm.record.refused.v1": (
        "crm/salesforce",
        "006gK0000000001AAA",
        {"record": "deal", "field": "deal.revision", "reason": "1.5 is no whole number"},
    ),
    "com.tiergate.crm.feed.stopped.v1": (
        "crm/salesforce",
        "salesforce",
        {"since": "2026-03-01T12:00:00+00:00", "reason": "no answer (ConnectError)"},
    ),
    "com.tiergate.crm.feed.resumed.v1": ("crm/salesforce", "salesforce", {}),
    "com.tiergate.provisioning.line.reported.v1": (
        "provisioning/provisioner",
        ORD,
        {"line": "00kgK0000000001AAA", "succeeded": "true"},
    ),
    "com.tiergate.billing.contract.ended.v1": ("billing/stripe", INVOICED["contract"], INVOICED),
    "com.tiergate.billing.payment.failed.v1": ("billing/stripe", INV, INVOICED),
    "com.tiergate.billing.collection.changed.v1": (
        "billing/stripe",
        INVOICED["contract"],
        INVOICED | {"state": "past_due"},
    ),
    "com.tiergate.billing.payment_method.attached.v1": ("billing/stripe", CUS, {}),
    "com.tiergate.billing.customer.changed.v1": ("billing/stripe", CUS, {}),
    "com.tiergate.billing.invoice.finalized.v1": ("billing/stripe", INV, INVOICED),
    "com.tiergate.billing.invoice.paid.v1": ("billing/stripe", INV, INVOICED),
    "com.tiergate.billing.payment.received.v1": (
        "billing/stripe",
        INV,
        INVOICED | {"payment": "pi_3MtwBwLkdIwHu7ix28a3tqPa"},
    ),
    "com.tiergate.billing.credit_note.issued.v1": (
        "billing/stripe",
        "cn_1MxvRqLkdIwHu7ixY0xbUcxk",
        INVOICED | {"invoice": INV},
    ),
    "com.tiergate.billing.credit_note.voided.v1": (
        "billing/stripe",
        "cn_1MxvRqLkdIwHu7ixY0xbUcxk",
        INVOICED | {"invoice": INV},
    ),
    "com.tiergate.billing.dispute.opened.v1": (
        "billing/stripe",
        "du_1MtJUT2eZvKYlo2CNaw2HvEv",
        DISPUTED | {"state": "needs_response"},
    ),
    "com.tiergate.billing.dispute.changed.v1": (
        "billing/stripe",
        "du_1MtJUT2eZvKYlo2CNaw2HvEv",
        DISPUTED | {"state": "under_review"},
    ),
    "com.tiergate.billing.dispute.closed.v1": (
        "billing/stripe",
        "du_1MtJUT2eZvKYlo2CNaw2HvEv",
        DISPUTED | {"state": "lost"},
    ),
    "com.tiergate.billing.payment.reinstated.v1": (
        "billing/stripe",
        "du_1MtJUT2eZvKYlo2CNaw2HvEv:reinstated",
        INVOICED | {"invoice": INV},
    ),
    "com.tiergate.billing.payment.reversed.v1": (
        "billing/stripe",
        "re_1Nispe2eZvKYlo2Cd31jOCgZ",
        INVOICED | {"invoice": INV},
    ),
    "com.tiergate.billing.invoice.cancelled.v1": (
        "billing/stripe",
        INV,
        INVOICED | {"state": "void"},
    ),
}
"""Of each event of a platform: the source, the subject and the data that it usually comes with."""
OWN: dict[str, tuple[str, dict[str, str]]] = {
    "order": (ORD, {"customer": CUS, "legal_entity": "DE01", "deal": "006gK0000000001AAA"}),
    "amendment": (AMD, INVOICED | {"order": ORD}),
    "renewal": (RNW, INVOICED | {"order": ORD}),
    "dunning": (DUN, INVOICED | {"order": ORD}),
    "usage": (USG, INVOICED | {"order": ORD, "state": "handed_over"}),
    "usage_correction": (f"ucr_{ORD[4:]}", INVOICED | {"order": ORD, "state": "proposed"}),
    "mass_change": (MAS, {"legal_entity": "DE01"}),
    "catalogue_sync": (SYN, {}),
    "customer_merge": (MRG, {"customer": CUS, "legal_entity": "DE01"}),
    "drift": (DRF, {"customer": CUS, "legal_entity": "DE01"}),
    "invoice": (INV, INVOICED | {"kind": "invoice", "invoice": INV}),
    "payment": (INV, INVOICED | {"kind": "payment", "invoice": INV}),
    "credit_note": ("cn_1MxvRqLkdIwHu7ixY0xbUcxk", INVOICED | {"kind": "credit", "invoice": INV}),
    "dispute": ("du_1MtJUT2eZvKYlo2CNaw2HvEv", INVOICED | {"invoice": INV}),
    "fee": ("txn_1MiN3gLkdIwHu7ixNCZvFdgA", INVOICED | {"kind": "fee", "invoice": INV}),
    "posting": (INV, INVOICED | {"kind": "invoice", "invoice": INV}),
    "correction": (CRC, INVOICED | {"kind": "credit_note", "invoice": INV}),
    "webhook": (f"whk_{ORD[4:]}", {}),
    "case": (CAS, {"customer": CUS, "legal_entity": "DE01", "kind": "deal_invalid", "team": "sales"}),
}
"""The same of the events of our own records, by the record."""


def document(catalogue: Catalogue) -> Json:
    """Return one channel for the log with a message for each event of the catalogue; one for each webhook."""
    _, schemas = msgspec.json.schema_components([Event], ref_template="#/components/schemas/{name}")
    names = {name: _camel(name) for name in EVENTS.of(catalogue)}
    messages = {names[name]: _message(name, event.owner, event.summary) for name, event in EVENTS.of(catalogue).items()}
    webhooks = {
        "billingWebhook": ("/billing/v1/webhooks", "The billing platform's signed event", "stripe-signature"),
        "provisioningReport": ("/provisioning/v1/webhooks", "The target's report on one line", "webhook-signature"),
    }
    return {
        "asyncapi": "3.0.0",
        "id": "urn:tiergate:events",
        "info": {
            "title": "Tiergate events",
            "version": "v1",
            "description": (
                "Thin events: each says that something has changed; a subscriber "
                "reads the present state. The order of arrival does not matter."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "contact": {"name": "platform team"},
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {
            "eventLog": {
                "address": "/process/v1/events",
                "description": "The append-only log. `source` and `id` tell a repeat from a new event.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            },
            **{
                name: {
                    "address": address,
                    "description": f"{summary}, with a {signature} over the raw body and its time.",
                    "messages": {name: {"$ref": f"#/components/messages/{name}"}},
                }
                for name, (address, summary, signature) in webhooks.items()
            },
        },
        "operations": {
            "takeEvent": {
                "action": "receive",
                "channel": {"$ref": "#/channels/eventLog"},
                "summary": "Take an event once, however often it is offered",
                "messages": [_in_log(names[name]) for name in names if name not in PROCESS_EVENTS],
                "security": [_scheme("token")],
            },
            "sayOfRecords": {
                "action": "send",
                "channel": {"$ref": "#/channels/eventLog"},
                "summary": "Say that one of our own records has changed its state",
                "messages": [_in_log(names[name]) for name in names if name in PROCESS_EVENTS],
                "security": [_scheme("token")],
            },
            **{
                f"receive{name[0].upper()}{name[1:]}": {
                    "action": "receive",
                    "channel": {"$ref": f"#/channels/{name}"},
                    "summary": summary,
                    "security": [_scheme(signature)],
                }
                for name, (_, summary, signature) in webhooks.items()
            },
        },
        "components": {
            "messages": messages | {name: _webhook(name, summary) for name, (_, summary, _) in webhooks.items()},
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token for the process layer",
                },
                **{
                    signature: {
                        "type": "httpApiKey",
                        "name": signature,
                        "in": "header",
                        "description": "The sender's signature; an old one is refused",
                    }
                    for _, _, signature in webhooks.values()
                },
            },
        },
    }


def _in_log(message: str) -> Json:
    return {"$ref": f"#/channels/eventLog/messages/{message}"}


def own_example(name: str) -> tuple[str, str, dict[str, str]]:
    """Return the example of an event of our own records."""
    subject, data = OWN[name.split(".")[3]]
    return SOURCE, subject, data | {"state": PROCESS_EVENTS[name]}


def _message(name: str, owner: str, summary: str) -> Json:
    source, subject, data = EXAMPLES[name] if name in EXAMPLES else own_example(name)
    example = Event(id=f"{subject}:1", source=source, type=name, subject=subject, time=NOON, data=data)
    return {
        "name": name,
        "title": summary,
        "summary": f"{summary}. Answers for its meaning: {owner}.",
        "contentType": "application/cloudevents+json",
        "payload": {"allOf": [{"$ref": "#/components/schemas/Event"}, {"properties": {"type": {"const": name}}}]},
        "examples": [{"name": "usual", "payload": msgspec.json.decode(msgspec.json.encode(example))}],
    }


def _scheme(name: str) -> Json:
    return {"$ref": f"#/components/securitySchemes/{name}"}


def _webhook(name: str, summary: str) -> Json:
    return {
        "name": name,
        "title": summary,
        "summary": f"{summary}, as the platform documents it.",
        "contentType": "application/json",
        "payload": {"type": "object"},
    }


def _camel(name: str) -> str:
    _, _, domain, entity, verb, _ = name.split(".")
    return domain + entity.title().replace("_", "") + verb.title().replace("_", "")

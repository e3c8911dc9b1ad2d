"""What a fresh object of each kind holds: every key of the API reference, most of them empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Object = dict[str, Any]

ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def _empty(keys: str) -> Object:
    return dict.fromkeys(keys.split())


def fresh(kind: str, key: str, created: int) -> Object:
    """A new object of `kind`. The values are copies: nobody else holds them."""
    return {"id": key, "object": kind, "livemode": False, "created": created} | TEMPLATES[kind]()


def listing(url: str, data: list[Object], *, more: bool = False) -> Object:
    return {"object": "list", "data": data, "has_more": more, "url": url}


TEMPLATES: dict[str, Callable[[], Object]] = {
    "customer": lambda: _empty("currency default_source description discount email name phone shipping test_clock")
    | {
        "address": None, "balance": 0, "delinquent": False, "invoice_prefix": "", "livemode": False, "metadata": {},
        "invoice_settings": _empty("custom_fields default_payment_method footer rendering_options"),
        "next_invoice_sequence": 1, "preferred_locales": [], "tax_exempt": "none",
    },
    "tax_id": lambda: _empty("customer_account")
    | {
        "country": None, "customer": None, "owner": None, "type": "", "value": "",
        "verification": {"status": "pending", "verified_address": None, "verified_name": None},
    },
    "tax_rate": lambda: _empty("country description effective_percentage flat_amount jurisdiction jurisdiction_level state tax_type rate_type")
    | {"active": True, "display_name": "", "inclusive": False, "metadata": {}, "percentage": 0},
    "product": lambda: _empty("default_price description package_dimensions shippable statement_descriptor tax_code unit_label url")
    | {"active": True, "images": [], "marketing_features": [], "metadata": {}, "name": "", "type": "service", "updated": 0},
    "price": lambda: _empty("custom_unit_amount lookup_key nickname recurring tiers_mode transform_quantity")
    | {
        "active": True, "billing_scheme": "per_unit", "currency": "", "metadata": {}, "product": "",
        "tax_behavior": "unspecified", "type": "one_time", "unit_amount": None, "unit_amount_decimal": None,
    },
    "payment_method": lambda: _empty("customer customer_account")
    | {
        "allow_redisplay": "unspecified", "metadata": {}, "type": "card",
        "billing_details": {"address": dict(ADDRESS), **_empty("email name phone tax_id")},
        "card": {
            "brand": "visa", "checks": _empty("address_line1_check address_postal_code_check cvc_check"), "country": "DE",
            "display_brand": "visa", "exp_month": 12, "exp_year": 2034, "fingerprint": "", "funding": "credit",
            "generated_from": None, "last4": "4242", "networks": {"available": ["visa"], "preferred": None},
            "three_d_secure_usage": {"supported": True}, "wallet": None, "regulated_status": None,
        },
    },
    "subscription": lambda: _empty(
        "application application_fee_percent billing_cycle_anchor_config billing_thresholds cancel_at canceled_at "
        "customer_account days_until_due default_payment_method default_source description ended_at latest_invoice "
        "managed_payments next_pending_invoice_item_invoice on_behalf_of pause_collection pending_invoice_item_interval "
        "pending_setup_intent pending_update schedule test_clock transfer_data trial_end trial_start"
    )
    | {
        "automatic_tax": {"enabled": False, "liability": None, "disabled_reason": None}, "billing_cycle_anchor": 0, "billing_schedules": [],
        "billing_mode": {"type": "flexible", "flexible": {"proration_discounts": "included"}}, "cancel_at_period_end": False,
        "cancellation_details": _empty("comment feedback reason"), "collection_method": "charge_automatically",
        "currency": "", "customer": "", "default_tax_rates": [], "discounts": [],
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}, **_empty("custom_fields description footer")},
        "items": None, "metadata": {}, "start_date": 0, "status": "incomplete",
        "payment_settings": _empty("payment_method_options payment_method_types save_default_payment_method"),
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
    },
    "subscription_item": lambda: _empty("billing_thresholds")
    | {
        "current_period_end": 0, "current_period_start": 0, "discounts": [], "metadata": {}, "plan": None, "price": None,
        "quantity": 1, "subscription": "", "tax_rates": [],
    },
    "subscription_schedule": lambda: _empty(
        "application canceled_at completed_at current_phase customer_account released_at released_subscription subscription test_clock"
    )
    | {
        "customer": "", "end_behavior": "release", "metadata": {}, "phases": [], "status": "not_started",
        "billing_mode": {"type": "flexible", "flexible": {"proration_discounts": "included"}},
        "default_settings": {
            "application_fee_percent": None, "automatic_tax": {"enabled": False, "liability": None, "disabled_reason": None},
            "billing_cycle_anchor": "automatic", "billing_thresholds": None, "collection_method": "charge_automatically",
            "default_payment_method": None, "description": None, "on_behalf_of": None, "transfer_data": None,
            "invoice_settings": {"account_tax_ids": None, "days_until_due": None, "issuer": {"type": "self"}, **_empty("custom_fields description footer")},
        },
    },
    "invoice": lambda: _empty(
        "account_country account_name account_tax_ids application automatically_finalizes_at custom_fields customer_account "
        "customer_address customer_email customer_name customer_phone customer_shipping default_payment_method default_source "
        "description due_date effective_at ending_balance footer from_invoice hosted_invoice_url invoice_pdf "
        "last_finalization_error latest_revision next_payment_attempt number on_behalf_of parent receipt_number rendering "
        "shipping_cost shipping_details statement_descriptor subscription test_clock total_pretax_credit_amounts webhooks_delivered_at"
    )
    | {
        "amount_due": 0, "amount_overpaid": 0, "amount_paid": 0, "amount_remaining": 0, "amount_shipping": 0,
        "attempt_count": 0, "attempted": False, "auto_advance": True, "billing_reason": "manual",
        "automatic_tax": {"enabled": False, **_empty("liability status disabled_reason provider")},
        "collection_method": "charge_automatically", "currency": "", "customer": "", "customer_tax_exempt": "none",
        "customer_tax_ids": [], "default_tax_rates": [], "discounts": [], "issuer": {"type": "self"}, "lines": None,
        "metadata": {}, "payment_settings": _empty("default_mandate payment_method_options payment_method_types"),
        "period_end": 0, "period_start": 0, "post_payment_credit_notes_amount": 0, "pre_payment_credit_notes_amount": 0,
        "starting_balance": 0, "status": "draft", "subtotal": 0, "subtotal_excluding_tax": 0, "total": 0,
        "status_transitions": _empty("finalized_at marked_uncollectible_at paid_at voided_at"),
        "total_discount_amounts": [], "total_excluding_tax": 0, "total_taxes": [],
    },
    "line_item": lambda: _empty("parent pretax_credit_amounts pricing quantity_decimal subscription")
    | {
        "amount": 0, "currency": "", "description": "", "discount_amounts": [], "discountable": True, "discounts": [],
        "invoice": "", "metadata": {}, "period": None, "quantity": 1, "subtotal": 0, "taxes": [],
    },
    "invoice_payment": lambda: {
        "amount_paid": None, "amount_requested": 0, "currency": "", "invoice": "", "is_default": True,
        "payment": None, "status": "open", "status_transitions": _empty("canceled_at paid_at"),
    },
    "payment_intent": lambda: _empty(
        "application application_fee_amount automatic_payment_methods canceled_at cancellation_reason customer customer_account "
        "description excluded_payment_method_types last_payment_error latest_charge managed_payments next_action on_behalf_of "
        "payment_method payment_method_configuration_details processing receipt_email review setup_future_usage shipping source "
        "statement_descriptor statement_descriptor_suffix transfer_data transfer_group"
    )
    | {
        "amount": 0, "amount_capturable": 0, "amount_details": {"tip": {}}, "amount_received": 0,
        "capture_method": "automatic", "client_secret": "", "confirmation_method": "automatic", "currency": "",
        "metadata": {}, "payment_method_options": {}, "payment_method_types": ["card"], "status": "requires_payment_method",
    },
    "charge": lambda: _empty(
        "application application_fee application_fee_amount balance_transaction calculated_statement_descriptor customer "
        "description failure_balance_transaction failure_code failure_message on_behalf_of payment_intent payment_method "
        "receipt_email receipt_number receipt_url review shipping source source_transfer statement_descriptor "
        "statement_descriptor_suffix transfer_data transfer_group"
    )
    | {
        "amount": 0, "amount_captured": 0, "amount_refunded": 0, "captured": False, "currency": "", "disputed": False,
        "billing_details": {"address": dict(ADDRESS), **_empty("email name phone tax_id")}, "fraud_details": {},
        "metadata": {}, "paid": False, "payment_method_details": None, "refunded": False, "status": "pending",
        "outcome": {**_empty("advice_code network_advice_code network_decline_code network_status reason seller_message"), "type": "authorized"},
        "refunds": listing("/v1/charges/refunds", []),
    },
    "event": lambda: {"api_version": None, "data": {}, "pending_webhooks": 0, "request": {"id": None, "idempotency_key": None}, "type": ""},
    "webhook_endpoint": lambda: _empty("api_version application description")
    | {"enabled_events": ["*"], "metadata": {}, "status": "enabled", "url": ""},
}  # fmt: skip
PREFIX = {
    "customer": "cus", "tax_id": "txi", "tax_rate": "txr", "product": "prod", "price": "price", "payment_method": "pm",
    "subscription": "sub", "subscription_item": "si", "subscription_schedule": "sub_sched", "invoice": "in", "line_item": "il",
    "invoice_payment": "inpay", "payment_intent": "pi", "charge": "ch", "event": "evt", "webhook_endpoint": "we",
}  # fmt: skip

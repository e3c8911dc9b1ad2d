"""The content of a new object of each kind: every key of the API reference, most of them empty."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

Object = dict[str, Any]

BILLING_MODE: Object = {"type": "flexible", "flexible": {"proration_discounts": "included"}}


def _all(value: object, keys: str) -> Object:
    return dict.fromkeys(keys.split(), value)


def empty(keys: str) -> Object:
    return _all(None, keys)


def _lists(keys: str) -> Object:
    return {key: [] for key in keys.split()}


def _billing_details() -> Object:
    address = empty("city country line1 line2 postal_code state")
    return {"address": address, **empty("email name phone tax_id")}


def _no_automatic_tax() -> Object:
    return {"enabled": False, "liability": None, "disabled_reason": None}


def _invoice_settings() -> Object:
    return {"issuer": {"type": "self"}, **empty("account_tax_ids custom_fields description footer")}


def fresh(kind: str, key: str, created: int) -> Object:
    """Return a new object of `kind`, which shares no value with another. `created` is in seconds since 1970, UTC."""
    return {"id": key, "object": kind, "livemode": False, "created": created} | KINDS[kind][1]()


def listing(url: str, data: list[Object], *, more: bool = False) -> Object:
    return {"object": "list", "data": data, "has_more": more, "url": url}


def _customer() -> Object:
    return {
        **empty("address currency default_source description discount email name phone shipping test_clock"),
        **_all(False, "delinquent livemode"),
        **_lists("preferred_locales"),
        "balance": 0,
        "invoice_prefix": "",
        "invoice_settings": empty("custom_fields default_payment_method footer rendering_options"),
        "metadata": {},
        "next_invoice_sequence": 1,
        "tax_exempt": "none",
    }


def _tax_id() -> Object:
    return {
        **empty("country customer customer_account owner"),
        **_all("", "type value"),
        "verification": {"status": "pending", **empty("verified_address verified_name")},
    }


def _tax_rate() -> Object:
    return {
        **empty("country description effective_percentage flat_amount jurisdiction jurisdiction_level"),
        **empty("state tax_type rate_type"),
        "active": True,
        "display_name": "",
        "inclusive": False,
        "metadata": {},
        "percentage": 0,
    }


def _product() -> Object:
    return {
        **empty("default_price description package_dimensions shippable statement_descriptor tax_code"),
        **empty("unit_label url"),
        **_lists("images marketing_features"),
        "active": True,
        "metadata": {},
        "name": "",
        "type": "service",
        "updated": 0,
    }


def _price() -> Object:
    return {
        **empty("custom_unit_amount lookup_key nickname recurring tiers_mode transform_quantity"),
        **empty("unit_amount unit_amount_decimal"),
        **_all("", "currency product"),
        "active": True,
        "billing_scheme": "per_unit",
        "metadata": {},
        "tax_behavior": "unspecified",
        "type": "one_time",
    }


def _payment_method() -> Object:
    return {
        **empty("customer customer_account"),
        "allow_redisplay": "unspecified",
        "billing_details": _billing_details(),
        "card": {
            **_all("visa", "brand display_brand"),
            **empty("generated_from regulated_status wallet"),
            "checks": empty("address_line1_check address_postal_code_check cvc_check"),
            "country": "DE",
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": "",
            "funding": "credit",
            "last4": "4242",
            "networks": {"available": ["visa"], "preferred": None},
            "three_d_secure_usage": {"supported": True},
        },
        "metadata": {},
        "type": "card",
    }


def _subscription() -> Object:
    return {
        **empty("application application_fee_percent billing_cycle_anchor_config billing_thresholds cancel_at"),
        **empty("canceled_at customer_account days_until_due default_payment_method default_source description"),
        **empty("ended_at items latest_invoice managed_payments next_pending_invoice_item_invoice on_behalf_of"),
        **empty("pause_collection pending_invoice_item_interval pending_setup_intent pending_update schedule"),
        **empty("test_clock transfer_data trial_end trial_start"),
        **_all("", "currency customer"),
        **_all(0, "billing_cycle_anchor start_date"),
        **_lists("billing_schedules default_tax_rates discounts"),
        "automatic_tax": _no_automatic_tax(),
        "billing_mode": deepcopy(BILLING_MODE),
        "cancel_at_period_end": False,
        "cancellation_details": empty("comment feedback reason"),
        "collection_method": "charge_automatically",
        "invoice_settings": _invoice_settings(),
        "metadata": {},
        "payment_settings": empty("payment_method_options payment_method_types save_default_payment_method"),
        "status": "incomplete",
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
    }


def _subscription_item() -> Object:
    return {
        **empty("billing_thresholds plan price"),
        **_all(0, "current_period_end current_period_start"),
        **_lists("discounts tax_rates"),
        "metadata": {},
        "quantity": 1,
        "subscription": "",
    }


def _subscription_schedule() -> Object:
    return {
        **empty("application canceled_at completed_at current_phase customer_account released_at"),
        **empty("released_subscription subscription test_clock"),
        "billing_mode": deepcopy(BILLING_MODE),
        "customer": "",
        "default_settings": {
            **empty("application_fee_percent billing_thresholds default_payment_method description on_behalf_of"),
            **empty("transfer_data"),
            "automatic_tax": _no_automatic_tax(),
            "billing_cycle_anchor": "automatic",
            "collection_method": "charge_automatically",
            "invoice_settings": {**_invoice_settings(), "days_until_due": None},
        },
        "end_behavior": "release",
        "metadata": {},
        "phases": [],
        "status": "not_started",
    }


def _invoice() -> Object:
    return {
        **empty("account_country account_name account_tax_ids application automatically_finalizes_at"),
        **empty("custom_fields customer_account customer_address customer_email customer_name customer_phone"),
        **empty("customer_shipping default_payment_method default_source description due_date effective_at"),
        **empty("ending_balance footer from_invoice hosted_invoice_url invoice_pdf last_finalization_error"),
        **empty("latest_revision lines next_payment_attempt number on_behalf_of parent receipt_number rendering"),
        **empty("shipping_cost shipping_details statement_descriptor subscription test_clock"),
        **empty("total_pretax_credit_amounts webhooks_delivered_at"),
        **_all(0, "amount_due amount_overpaid amount_paid amount_remaining amount_shipping attempt_count"),
        **_all(0, "period_end period_start post_payment_credit_notes_amount pre_payment_credit_notes_amount"),
        **_all(0, "starting_balance subtotal subtotal_excluding_tax total total_excluding_tax"),
        **_all("", "currency customer"),
        **_lists("customer_tax_ids default_tax_rates discounts total_discount_amounts total_taxes"),
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"enabled": False, **empty("liability status disabled_reason provider")},
        "billing_reason": "manual",
        "collection_method": "charge_automatically",
        "customer_tax_exempt": "none",
        "issuer": {"type": "self"},
        "metadata": {},
        "payment_settings": empty("default_mandate payment_method_options payment_method_types"),
        "status": "draft",
        "status_transitions": empty("finalized_at marked_uncollectible_at paid_at voided_at"),
    }


def _line_item() -> Object:
    return {
        **empty("parent period pretax_credit_amounts pricing quantity_decimal subscription"),
        **_all(0, "amount subtotal"),
        **_all("", "currency description invoice"),
        **_lists("discount_amounts discounts taxes"),
        "discountable": True,
        "metadata": {},
        "quantity": 1,
    }


def _test_clock() -> Object:
    return {"deletes_after": 0, "frozen_time": 0, "name": None, "status": "ready", "status_details": {}}


def _coupon() -> Object:
    return {
        **empty("amount_off applies_to currency duration_in_months max_redemptions name percent_off redeem_by"),
        "duration": "once",
        "metadata": {},
        "times_redeemed": 0,
        "valid": True,
    }


def _discount() -> Object:
    return {
        **empty("checkout_session customer customer_account end invoice invoice_item promotion_code subscription"),
        **empty("subscription_item"),
        "source": {},
        "start": 0,
    }


def _invoice_payment() -> Object:
    return {
        **empty("amount_paid payment"),
        **_all("", "currency invoice"),
        "amount_requested": 0,
        "is_default": True,
        "status": "open",
        "status_transitions": empty("canceled_at paid_at"),
    }


def _payment_intent() -> Object:
    return {
        **empty("application application_fee_amount automatic_payment_methods canceled_at cancellation_reason"),
        **empty("customer customer_account description excluded_payment_method_types last_payment_error"),
        **empty("latest_charge managed_payments next_action on_behalf_of payment_method"),
        **empty("payment_method_configuration_details processing receipt_email review setup_future_usage shipping"),
        **empty("source statement_descriptor statement_descriptor_suffix transfer_data transfer_group"),
        **_all(0, "amount amount_capturable amount_received"),
        **_all("automatic", "capture_method confirmation_method"),
        **_all("", "client_secret currency"),
        "amount_details": {"tip": {}},
        "metadata": {},
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
    }


def _charge() -> Object:
    reasons = empty("advice_code network_advice_code network_decline_code network_status reason seller_message")
    return {
        **empty("application application_fee application_fee_amount balance_transaction"),
        **empty("calculated_statement_descriptor customer description failure_balance_transaction failure_code"),
        **empty("failure_message on_behalf_of payment_intent payment_method payment_method_details receipt_email"),
        **empty("receipt_number receipt_url review shipping source source_transfer statement_descriptor"),
        **empty("statement_descriptor_suffix transfer_data transfer_group"),
        **_all(0, "amount amount_captured amount_refunded"),
        **_all(False, "captured disputed paid refunded"),
        "billing_details": _billing_details(),
        "currency": "",
        "fraud_details": {},
        "metadata": {},
        "outcome": {**reasons, "type": "authorized"},
        "refunds": listing("/v1/charges/refunds", []),
        "status": "pending",
    }


def _refund() -> Object:
    return {
        **empty("balance_transaction charge customer customer_account destination_details payment_intent"),
        **empty("payment_method reason receipt_number source_transfer_reversal transfer_reversal"),
        "amount": 0,
        "currency": "",
        "metadata": {},
        "status": "pending",
    }


def _balance_transaction() -> Object:
    return {
        **empty("description exchange_rate source"),
        **_all(0, "amount available_on fee net"),
        **_all("", "currency reporting_category type"),
        "balance_type": "payments",
        "fee_details": [],
        "status": "available",
    }


def _credit_note() -> Object:
    return {
        **empty("customer_account customer_balance_transaction effective_at memo out_of_band_amount reason"),
        **empty("shipping_cost subtotal_excluding_tax total_excluding_tax voided_at"),
        **_all(0, "amount amount_shipping discount_amount post_payment_amount pre_payment_amount subtotal total"),
        **_all("", "currency customer invoice number pdf"),
        **_lists("discount_amounts pretax_credit_amounts refunds total_taxes"),
        "lines": {},
        "metadata": {},
        "status": "issued",
        "type": "pre_payment",
    }


def _credit_note_line_item() -> Object:
    return {
        **empty("description invoice_line_item quantity unit_amount unit_amount_decimal"),
        **_all(0, "amount discount_amount"),
        **_lists("discount_amounts pretax_credit_amounts tax_rates taxes"),
        "metadata": {},
        "type": "custom_line_item",
    }


def _dispute() -> Object:
    return {
        **empty("payment_intent payment_method_details"),
        **_all("", "charge currency reason"),
        **_lists("balance_transactions enhanced_eligibility_types"),
        "amount": 0,
        "evidence": {
            **empty("access_activity_log billing_address cancellation_policy cancellation_policy_disclosure"),
            **empty("cancellation_rebuttal customer_communication customer_email_address customer_name"),
            **empty("customer_purchase_ip customer_signature duplicate_charge_documentation"),
            **empty("duplicate_charge_explanation duplicate_charge_id product_description receipt refund_policy"),
            **empty("refund_policy_disclosure refund_refusal_explanation service_date service_documentation"),
            **empty("shipping_address shipping_carrier shipping_date shipping_documentation"),
            **empty("shipping_tracking_number uncategorized_file uncategorized_text"),
            "enhanced_evidence": {},
        },
        "evidence_details": {},
        "is_charge_refundable": False,
        "metadata": {},
        "status": "needs_response",
    }


def _meter() -> Object:
    return {
        **empty("event_time_window"),
        **_all("", "display_name event_name"),
        "customer_mapping": {},
        "default_aggregation": {},
        "status": "active",
        "status_transitions": empty("deactivated_at"),
        "updated": 0,
        "value_settings": {},
    }


def _meter_event() -> Object:
    return {**_all("", "event_name identifier"), "payload": {}, "timestamp": 0}


def _event() -> Object:
    return {
        "api_version": None,
        "data": {},
        "pending_webhooks": 0,
        "request": empty("id idempotency_key"),
        "type": "",
    }


def _webhook_endpoint() -> Object:
    return {
        **empty("api_version application description"),
        "enabled_events": ["*"],
        "metadata": {},
        "status": "enabled",
        "url": "",
    }


def _invoiceitem() -> Object:
    return {
        **empty("customer_account description invoice parent period pricing proration_details test_clock"),
        **_all(0, "amount date net_amount"),
        **_all("", "currency customer quantity_decimal"),
        **_lists("discounts tax_rates"),
        "discountable": True,
        "metadata": {},
        "proration": False,
        "quantity": 1,
    }


def _customer_balance_transaction() -> Object:
    return {
        **empty("checkout_session credit_note customer_account description invoice"),
        **_all(0, "amount ending_balance"),
        **_all("", "currency customer"),
        "metadata": {},
        "type": "adjustment",
    }


def _payment_record() -> Object:
    return {
        **empty("amount amount_authorized amount_canceled amount_failed amount_guaranteed amount_refunded"),
        **empty("amount_requested application customer_details customer_presence description"),
        **empty("latest_payment_attempt_record payment_method_details shipping_details"),
        "metadata": {},
        "processor_details": {"type": "custom"},
        "reported_by": "self",
    }


def _tax_settings() -> Object:
    return {
        "defaults": {"provider": "stripe", **empty("tax_behavior tax_code")},
        "head_office": None,
        "status": "pending",
        "status_details": {"active": None, "pending": {"missing_fields": ["head_office"]}},
    }


def _tax_registration() -> Object:
    return {**empty("expires_at"), "active_from": 0, "country": "", "country_options": {}, "status": "active"}


def sepa_debit() -> Object:
    """Return what a payment method of SEPA Direct Debit shows of its account."""
    return {"bank_code": "37040044", "branch_code": "", "country": "DE", "last4": "3000", **empty("generated_from")}


KINDS: dict[str, tuple[str, Callable[[], Object]]] = {
    "customer": ("cus", _customer),
    "tax_id": ("txi", _tax_id),
    "tax_rate": ("txr", _tax_rate),
    "product": ("prod", _product),
    "price": ("price", _price),
    "payment_method": ("pm", _payment_method),
    "subscription": ("sub", _subscription),
    "subscription_item": ("si", _subscription_item),
    "subscription_schedule": ("sub_sched", _subscription_schedule),
    "invoice": ("in", _invoice),
    "line_item": ("il", _line_item),
    "invoiceitem": ("ii", _invoiceitem),
    "payment_record": ("prec", _payment_record),
    "customer_balance_transaction": ("cbtxn", _customer_balance_transaction),
    "coupon": ("coupon", _coupon),
    "test_helpers.test_clock": ("clock", _test_clock),
    "discount": ("di", _discount),
    "invoice_payment": ("inpay", _invoice_payment),
    "payment_intent": ("pi", _payment_intent),
    "charge": ("ch", _charge),
    "refund": ("re", _refund),
    "credit_note": ("cn", _credit_note),
    "credit_note_line_item": ("cnli", _credit_note_line_item),
    "dispute": ("du", _dispute),
    "billing.meter": ("mtr", _meter),
    "billing.meter_event": ("", _meter_event),
    "balance_transaction": ("txn", _balance_transaction),
    "event": ("evt", _event),
    "webhook_endpoint": ("we", _webhook_endpoint),
    "tax.settings": ("tax_settings", _tax_settings),
    "tax.registration": ("taxreg", _tax_registration),
}
"""The prefix of the ids of each kind, and what a new object of it is."""

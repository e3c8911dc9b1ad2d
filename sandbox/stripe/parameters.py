"""Which parameters each kind of object takes, and which it needs."""

from __future__ import annotations

from typing import Any, cast

from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.forms import Params

ACCEPTED = {
    "customer": (
        "address balance description email invoice_prefix invoice_settings metadata name payment_method phone "
        "preferred_locales shipping tax tax_exempt tax_id_data test_clock"
    ),
    "customer.updated": (
        "address balance description email invoice_prefix invoice_settings metadata name payment_method phone "
        "preferred_locales shipping tax tax_exempt tax_id_data"
    ),
    "product": (
        "active default_price description id images marketing_features metadata name statement_descriptor tax_code "
        "type unit_label url"
    ),
    "price": (
        "active billing_scheme currency lookup_key metadata nickname product recurring tax_behavior tiers tiers_mode "
        "transfer_lookup_key transform_quantity unit_amount unit_amount_decimal"
    ),
    "price.updated": "active lookup_key metadata nickname tax_behavior transfer_lookup_key",
    "product.updated": (
        "active default_price description images marketing_features metadata name statement_descriptor tax_code "
        "unit_label url"
    ),
    "tax_rate": "active country description display_name inclusive jurisdiction metadata percentage state tax_type",
    "subscription": (
        "add_invoice_items automatic_tax backdate_start_date billing_cycle_anchor billing_mode cancel_at "
        "cancel_at_period_end collection_method customer days_until_due default_payment_method default_tax_rates "
        "description discounts items metadata off_session payment_behavior proration_behavior"
    ),
    "subscription.updated": (
        "add_invoice_items automatic_tax billing_cycle_anchor cancel_at cancel_at_period_end cancellation_details "
        "collection_method days_until_due default_payment_method default_tax_rates description discounts "
        "invoice_settings items metadata off_session pause_collection payment_behavior proration_behavior "
        "proration_date"
    ),
    "subscription.canceled": "cancellation_details invoice_now prorate",
    "subscription_item": (
        "discounts metadata off_session payment_behavior price proration_behavior proration_date quantity subscription "
        "tax_rates"
    ),
    "subscription_item.updated": (
        "discounts metadata off_session payment_behavior price proration_behavior proration_date quantity tax_rates"
    ),
    "subscription_item.deleted": "clear_usage payment_behavior proration_behavior proration_date",
    "subscription_schedule": (
        "billing_mode customer default_settings end_behavior from_subscription metadata phases start_date"
    ),
    "subscription_schedule.updated": "default_settings end_behavior metadata phases proration_behavior",
    "subscription_schedule.canceled": "invoice_now prorate",
    "subscription_schedule.released": "preserve_cancel_date",
    "test_helpers.test_clock": "customer frozen_time name",
    "test_helpers.test_clock.advanced": "frozen_time",
    "coupon": (
        "amount_off applies_to currency duration duration_in_months id max_redemptions metadata name percent_off "
        "redeem_by"
    ),
    "coupon.updated": "metadata name",
    "invoice": (
        "auto_advance automatic_tax collection_method currency customer days_until_due default_payment_method "
        "default_tax_rates description metadata pending_invoice_items_behavior subscription"
    ),
    "invoice.previewed": (
        "automatic_tax customer discounts invoice_items preview_mode schedule schedule_details subscription "
        "subscription_details"
    ),
    "invoiceitem": (
        "amount currency customer description discountable discounts invoice metadata period price_data pricing "
        "quantity quantity_decimal subscription tax_behavior tax_rates unit_amount_decimal"
    ),
    "payment_intent": (
        "amount currency customer payment_method payment_method_types confirm description metadata off_session"
    ),
    "credit_note": (
        "amount credit_amount effective_at email_type invoice lines memo metadata out_of_band_amount reason "
        "refund_amount refunds"
    ),
    "credit_note.updated": "memo metadata",
    "dispute.updated": "evidence metadata submit",
    "billing.meter": "customer_mapping default_aggregation display_name event_name value_settings",
    "billing.meter.updated": "display_name",
    "billing.meter_event": "event_name identifier payload timestamp",
    "billing.meter_event_adjustment": "cancel event_name type",
    "billing.meter_event_summary": "customer end_time start_time value_grouping_window",
    "refund": "amount charge metadata payment_intent reason",
    "refund.updated": "metadata",
    "payment_record": (
        "amount_requested customer_details customer_presence description failed guaranteed initiated_at metadata "
        "outcome payment_method_details processor_details"
    ),
    "customer_balance_transaction": "amount currency description metadata",
    "webhook_endpoint": "api_version description enabled_events metadata url disabled",
    "tax.settings": "defaults head_office",
    "tax.registration": "active_from country country_options expires_at",
}
"""The parameters that each kind takes, separated by blanks."""
METADATA_KEYS, METADATA_KEY, METADATA_VALUE = 50, 40, 500
"""How many keys an object may have, and how many characters a key and a value."""


def accept(kind: str, params: Params) -> None:
    """Raise `StripeError` for a parameter that the kind does not take. Take out what only shapes the answer."""
    known = {*ACCEPTED.get(kind, "").split(), "expand"}
    for key in params:
        if key not in known:
            raise unknown(key)
    params.pop("expand", None)
    _check_metadata(params)


def _check_metadata(params: Any) -> None:
    """Raise `StripeError` for metadata that is too much, wherever it is (API reference: Metadata)."""
    if isinstance(params, list):
        for each in cast("list[Any]", params):
            _check_metadata(each)
    for name, value in cast("Params", params).items() if isinstance(params, dict) else ():
        if name != "metadata" or not isinstance(value, dict):
            _check_metadata(value)
            continue
        metadata = cast("dict[str, Any]", value)
        if len(metadata) > METADATA_KEYS:
            raise invalid(f"Metadata can have up to {METADATA_KEYS} keys, but you've set {len(metadata)}.", "metadata")
        for key, each in metadata.items():
            if len(key) > METADATA_KEY:
                raise invalid(f"Invalid key: {key} must be a string under {METADATA_KEY} characters", "metadata")
            if len(str(each)) > METADATA_VALUE:
                raise invalid(f"Invalid val: {each} must be a string under {METADATA_VALUE} characters", "metadata")


def unknown(name: str) -> StripeError:
    """Return the refusal of a parameter that is not taken."""
    return invalid(f"Received unknown parameter: {name}", name, "parameter_unknown")


def require(params: Params, *names: str) -> None:
    """Raise `StripeError` for a parameter that is missing or empty."""
    for name in names:
        if params.get(name) in (None, ""):
            raise invalid(f"Missing required param: {name}.", name, "parameter_missing")

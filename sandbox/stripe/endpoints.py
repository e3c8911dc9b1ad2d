"""Webhook endpoints: which events they want, and in which version (API reference: Webhook Endpoints)."""

from __future__ import annotations

from sandbox.stripe import forms, versions
from sandbox.stripe.account import Account
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import require


class Endpoints:
    """Create and change webhook endpoints."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def create(self, params: Params) -> Object:
        """Create an endpoint. Its version cannot be changed later."""
        require(params, "url", "enabled_events")
        if "disabled" in params:
            raise invalid("Received unknown parameter: disabled", "disabled", "parameter_unknown")
        if params.get("api_version"):
            versions.known(params["api_version"])
        return self.account.endpoint(_checked(params))

    def update(self, endpoint: Object, params: Params) -> Object:
        """Change an endpoint, or switch it off with `disabled`."""
        if "api_version" in params:
            raise invalid("Received unknown parameter: api_version", "api_version", "parameter_unknown")
        values = _checked(params)
        if "disabled" in values:
            values["status"] = "disabled" if forms.flag(values.pop("disabled")) else "enabled"
        return self.account.save(endpoint | values)


def _checked(params: Params) -> Params:
    """Return the parameters. Raises `StripeError` for an address that is none, and for `*` among other events."""
    if not params.get("url", "https://").startswith(("https://", "http://")):
        raise invalid("Invalid URL: An explicit scheme (such as https) must be provided.", "url", "url_invalid")
    events = params.get("enabled_events", ["*"])
    if "*" in events and len(events) > 1:
        raise invalid("`*` cannot be used with other events.", "enabled_events", "")
    return params

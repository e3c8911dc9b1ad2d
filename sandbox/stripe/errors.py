"""Stripe's error form (API reference: Errors)."""

from __future__ import annotations

from typing import Any


class StripeError(Exception):
    """An error that Stripe answers: `status`, and the members of the error object."""

    def __init__(self, status: int, kind: str, message: str, **members: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, **members}}


def invalid(message: str, param: str = "", code: str = "parameter_invalid_empty") -> StripeError:
    """Return a refusal of a request. Some of Stripe's have no `param`, and some no `code`."""
    members = {name: each for name, each in (("code", code), ("param", param)) if each}
    return StripeError(400, "invalid_request_error", message, **members)


def missing(kind: str, key: str, param: str = "id") -> StripeError:
    message = f"No such {kind.replace('_', '')}: '{key}'"
    return StripeError(
        404 if param == "id" else 400, "invalid_request_error", message, code="resource_missing", param=param
    )


def declined(reason: str, **members: Any) -> StripeError:
    code = "card_declined"
    return StripeError(402, "card_error", "Your card was declined.", code=code, decline_code=reason, **members)


def unrecognized(method: str, path: list[str]) -> StripeError:
    return StripeError(404, "invalid_request_error", f"Unrecognized request URL ({method}: /v1/{'/'.join(path)}).")

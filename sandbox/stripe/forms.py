"""Stripe's form encoding: `items[0][price]=p&metadata[k]=v` to nested values and back to bare types."""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import parse_qsl

from sandbox.stripe.errors import invalid

Params = dict[str, Any]
KEY = re.compile(r"\[([^\]]*)\]")


def decode(text: str) -> Params:
    """Return nested dictionaries and lists of strings. A list is written with numbers or with empty brackets."""
    root: Params = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        head = key.split("[", 1)[0]
        path = [head, *KEY.findall(key)]
        node: Any = root
        for index, part in enumerate(path):
            last = index == len(path) - 1
            name = part or str(len(node))
            if last:
                node[name] = value
            else:
                node = node.setdefault(name, {})
    return {key: _listed(value) for key, value in root.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    members = cast("Params", value)
    if members and all(key.isdigit() for key in members):
        return [_listed(members[key]) for key in sorted(members, key=int)]
    return {key: _listed(inner) for key, inner in members.items()}


def whole(params: Params, name: str, at: str = "", default: int = 1) -> int:
    """Return a number that Stripe takes as an integer only. Raises `StripeError` for 2.5."""
    value = str(params.get(name, default))
    if not value.isdecimal():
        raise invalid(f"Invalid integer: {value}", f"{at}[{name}]" if at else name, "parameter_invalid_integer")
    return int(value)


def flag(value: Any) -> bool:
    return str(value).lower() == "true"

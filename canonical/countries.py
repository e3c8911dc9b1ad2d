"""Countries by their codes."""

from __future__ import annotations

import pycountry


def is_country(code: str) -> bool:
    """Return whether a code is one of ISO 3166-1 (alpha-2) as it has to be written: `de` would be taxed as a country of
    its own."""
    country = pycountry.countries.get(alpha_2=code)
    return country is not None and country.alpha_2 == code

"""A shop's API in its third version, with two older ones alive, to try on it all kinds of changes."""

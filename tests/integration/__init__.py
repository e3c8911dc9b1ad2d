"""One server or two."""

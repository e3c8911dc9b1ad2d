"""A stand-in for Stripe's API (API reference, version 2026-10-28.endive): what billing a contract needs."""

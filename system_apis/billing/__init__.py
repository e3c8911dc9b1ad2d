"""Contracts, invoices, payments."""

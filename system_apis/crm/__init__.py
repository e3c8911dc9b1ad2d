"""Customers, deals and what was sold."""

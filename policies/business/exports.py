"""Exports: the problem of one that is too large."""

from __future__ import annotations

from policies.problems import problem_type

EXPORT_TOO_LARGE = problem_type(
    "export-too-large",
    422,
    "The export has too many rows",
    "Ask for less at a time: a month with `from` and `to`, one selling company, one state.",
    "An export has at most 50,000 rows. Nothing was written: you get all that you asked for, or none of it.",
)

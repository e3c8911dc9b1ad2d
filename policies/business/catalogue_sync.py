"""The problems of bringing what is sold from its owner to the others."""

from __future__ import annotations

from policies.problems import problem_type

OWNED_ELSEWHERE = problem_type(
    "catalogue-owned-elsewhere",
    409,
    "The CRM does not own what is sold",
    "See `[ownership.product]` in the catalogue: its fields have to be owned by crm, or nothing is brought anywhere.",
    "Products and prices go from the CRM to the platforms that have copies of them. The catalogue says that another "
    "system owns a field. Nothing was done.",
)
PREVIEW_OUTDATED = problem_type(
    "preview-outdated",
    409,
    "The preview cannot be carried out",
    "Preview the catalogue again, and start that.",
    "It is not whole yet, or a later preview of the same catalogue has been started meanwhile: what it would write is "
    "older than what is there. Nothing was done.",
)

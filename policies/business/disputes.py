"""The problems of disputes that cannot be answered or accepted."""

from __future__ import annotations

from policies.problems import problem_type

DISPUTE_DECIDED = problem_type(
    "dispute-decided",
    409,
    "The dispute is decided",
    "Read the dispute: it says how it ended. A lost one can be answered once more where billing asks for that.",
    "The bank has decided, or the dispute was accepted, or it ended by itself. Nothing was done.",
)
ANSWER_TOO_LATE = problem_type(
    "answer-too-late",
    409,
    "No answer is taken any more",
    "Accept the dispute, or wait for what the bank decides.",
    "A bank takes evidence until a moment that the dispute names, and takes none for some. Nothing was sent.",
)
EVIDENCE_TOO_LARGE = problem_type(
    "evidence-too-large",
    422,
    "The evidence is too large",
    "Shorten the texts to 150,000 characters together.",
    "A bank reads so much and no more. Nothing was sent.",
)

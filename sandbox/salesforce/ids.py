"""Record ids: of 15 characters, which differ in case, or of 18, which do not (SOAP API Developer Guide: Primitive Data
Types, ID). Both are taken, and the longer is answered."""

from __future__ import annotations

SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
SHORT = 15


def case_safe_id(record_id: str) -> str:
    """Return the 18-character form of an id: three more characters encode the case of five each."""
    if len(record_id) != SHORT:
        return record_id
    chunks = (record_id[start : start + 5] for start in (0, 5, 10))
    return record_id + "".join(
        SUFFIX[sum(1 << index for index, letter in enumerate(chunk) if letter.isupper())] for chunk in chunks
    )

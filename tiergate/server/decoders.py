"""What msgspec knows of each struct, made before any thread needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec


def build() -> None:
    """Let msgspec learn all structs that are imported, in this one thread. It takes some 20 ms.

    It learns a struct when it decodes one for the first time, and shows other threads what it has of it until then:
    msgspec 0.22.0 ends the process (a segmentation fault) where two of them come together.
    """
    for each in _below(msgspec.Struct):
        with suppress(TypeError, NameError):  # it has fields that no document has, and is never decoded
            msgspec.json.Decoder(each)


def _below(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for each in struct.__subclasses__():
        yield each
        yield from _below(each)

"""Where the audit log of a layer is: a file for each day, and apart from them the signed head.

Records are appended to the open file. When its day is over it gets that day's name, and nothing is appended to it any
more. The head says which record is the last. It lies in another folder, and its signature needs the key: nobody who
has the log alone can cut off the end of it and say that there never was more. Beside the log lies a reserve, room on
the disk for the records of what is being done when the disk is full.
"""

from __future__ import annotations

import fcntl
import hmac
import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from policies.audit.records import FIRST

HEAD = 20 + 64 + 20 + 10 + 10 + 64 + 6
"""Bytes of a head: its five fields, the signature, what stands between them."""
FORMER_HEAD = 20 + 1 + 64 + 1
"""Bytes of a head as it was until version 0.1, without a signature and beside the log."""
NO_DAY = "0000-00-00"


class Head(msgspec.Struct, frozen=True):
    """How far a log is: the number and the seal of its last record, and the day of that (UTC).

    `size` is that of the open file in bytes, `spilled` how many bytes of records wait in the reserve.
    """

    number: int = 0
    seal: str = FIRST
    size: int = 0
    spilled: int = 0
    day: str = NO_DAY

    def signed(self, key: bytes, name: str) -> bytes:
        """Return the head of the log `name` as it is stored; all are of one length, so that each fits over the last."""
        text = f"{self.number:020} {self.seal} {self.size:020} {self.spilled:010} {self.day}"
        return f"{text} {_signature(key, name, text)}\n".encode()


class LogFiles(msgspec.Struct, frozen=True):
    """The files of one layer's log: the open one by its path, and the head."""

    log: Path
    head: Path

    @property
    def reserve(self) -> Path:
        """Return the path of the room that is kept for the records of what is under way."""
        return self.log.with_suffix(".reserve")

    @property
    def former_head(self) -> Path:
        """Return the path of the head as it was until version 0.1."""
        return self.log.with_suffix(".head")

    def of_day(self, day: str) -> Path:
        """Return the path of the file of a day that is over."""
        return self.log.with_suffix(f".{day}{self.log.suffix}")

    def closed(self) -> list[Path]:
        """Return the files of the days that are over, oldest first."""
        return sorted(self.log.parent.glob(f"{self.log.stem}.[0-9]*-[0-9][0-9]-[0-9][0-9]{self.log.suffix}"))

    def exist(self) -> bool:
        """Return whether there is a log."""
        return self.log.exists() or bool(self.closed())

    def read_head(self, raw: bytes, key: bytes | None = None) -> Head | None:
        """Return a head as it was stored; None for what is none, and with a `key` for one that it has not signed."""
        if len(raw) != HEAD or not raw.isascii():
            return None
        text, _, signature = raw.decode().rstrip("\n").rpartition(" ")
        if key is not None and not hmac.compare_digest(_signature(key, self.log.name, text), signature):
            return None
        try:
            number, seal, size, spilled, day = text.split(" ")
            return Head(int(number), seal, int(size), int(spilled), day)
        except ValueError:
            return None

    def read_former_head(self) -> Head | None:
        """Return the head that a log had until version 0.1, if it has one."""
        raw = self.former_head.read_bytes() if self.former_head.exists() else b""
        if len(raw) != FORMER_HEAD:
            return None
        number, _, seal = raw.decode("latin-1").strip().partition(" ")
        return Head(int(number), seal, size=-1) if number.isdigit() else None


def _signature(key: bytes, name: str, text: str) -> str:
    return hmac.digest(key, f"{name} {text}".encode(), "sha256").hex()


class Snapshot(msgspec.Struct, frozen=True):
    """A log at one moment: its head as it is stored, the days that are over, the open file, and the reserve."""

    files: LogFiles
    head: bytes
    closed: list[Path]
    opened: BinaryIO | None
    spilled: bytes

    def lines(self) -> Iterator[tuple[Path, int, bytes]]:
        """Yield (file, number of the line from 1, line without its end), oldest first."""
        for path in self.closed:
            with suppress(FileNotFoundError), path.open("rb") as file:  # its gap is in the next one by now
                for number, line in enumerate(file, 1):
                    yield path, number, line.rstrip(b"\n")
        for number, line in enumerate(self.opened or (), 1):
            yield self.files.log, number, line.rstrip(b"\n")
        for number, line in enumerate(self.spilled.splitlines(), 1):
            yield self.files.reserve, number, line


@contextmanager
def snapshot(files: LogFiles) -> Generator[Snapshot]:
    """Yield a log as it is. Writers wait while it is opened, and not while it is read."""
    with ExitStack() as stack:
        with _held(files.head):
            raw = files.head.read_bytes() if files.head.exists() else b""
            opened = stack.enter_context(files.log.open("rb")) if files.log.exists() else None
            closed = files.closed()
            head = files.read_head(raw)
            spilled = files.reserve.read_bytes()[: head.spilled] if head and files.reserve.exists() else b""
        yield Snapshot(files, raw, closed, opened, spilled)


@contextmanager
def _held(path: Path) -> Generator[None]:
    """Hold the lock of a log's writers, if there is a head to lock."""
    if not path.exists():
        yield
        return
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield
    finally:
        os.close(file)

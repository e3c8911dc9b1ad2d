"""The audit log: an append-only record of every write, which several processes may share.

Who did what to which object, with what result. A record is written whole or not at all. When the disk is full, what is
being done gets its record into the reserve, and nothing more is begun until there is room again.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic

import msgspec
import structlog
from msgspec.structs import replace

from policies.audit.files import NO_DAY, Head, LogFiles
from policies.audit.records import UNREADABLE, AuditEntry, day_of, decoded, ends_of, is_sealed, line_of
from policies.store.files import make_private

RESERVE = 256 * 1024
"""Bytes of the reserve: room for the records of all that the replicas on one machine do at once."""
LATE = 2.0
"""Seconds for which a record may wait for its turn until nothing more is begun."""
NO_ROOM = "it cannot be written"
NO_TURN = "another process holds it"
log = structlog.get_logger("tiergate.audit")


class _Waiting(msgspec.Struct, frozen=True):
    """A record that was handed over, and when: in seconds of a clock that is never set."""

    entry: AuditEntry
    written: asyncio.Future[None]
    since: float


class AuditLog:
    """Append to one log. `write` may be called in any thread, `record` on the event loop."""

    def __init__(self, files: LogFiles, key: bytes) -> None:
        for folder in (files.log.parent, files.head.parent):
            make_private(folder)
        self.files = files
        self.key = key
        self._head_file = os.open(files.head, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = -1
        self._reserve = -1
        self._raw = b""
        self._head = Head()
        self._alone = Lock()
        self._writer = ThreadPoolExecutor(1, "audit")
        self._waiting: deque[_Waiting] = deque()
        """What was handed over and is not written yet, that which is being written first."""
        self._no_room = ""
        self.written = self.failed = 0
        """Records of this process that were written, and that could not be."""
        self.waited = 0.0
        """Seconds that records which were handed over have waited, all together."""
        with suppress(BlockingIOError):  # another process holds it: a layer starts all the same
            self.resume(fcntl.LOCK_NB)

    # ---- on the event loop

    def record(self, entry: AuditEntry) -> asyncio.Future[None]:
        """Write a record after those that were handed over before, off the event loop.

        Return what to await: it raises `OSError` when the record could not be written. One who stops waiting does not
        take the record back.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(entry, written, monotonic()))
        if len(self._waiting) == 1:
            self._begin()
        return asyncio.shield(written)

    def _begin(self) -> None:
        """Let the writer's thread write all that waits."""
        taken = list(self._waiting)
        entries = [each.entry for each in taken]
        writing = asyncio.get_running_loop().run_in_executor(self._writer, self.write_all, entries)
        writing.add_done_callback(partial(self._end, taken))

    def _end(self, taken: list[_Waiting], writing: asyncio.Future[list[OSError | None]]) -> None:
        broken, now = writing.exception(), monotonic()
        for each, error in zip(taken, [broken] * len(taken) if broken else writing.result(), strict=True):
            self._waiting.popleft()
            self.waited += now - each.since
            if error is None:
                each.written.set_result(None)
            else:
                each.written.set_exception(error)
        if self._waiting:
            self._begin()

    async def drained(self, seconds: float) -> None:
        """Wait until all that was handed over is written, for some seconds at most."""
        if self._waiting:
            await asyncio.wait([self._waiting[-1].written], timeout=seconds)

    async def try_again(self) -> None:
        """Go on after trouble, if there is room again, when the records before have had their turn."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self.resume)

    def trouble(self) -> str:
        """Return why nothing may be begun that needs a record; empty when it may."""
        if self._no_room:
            return NO_ROOM
        with suppress(IndexError):  # a thread may ask, and the last one have had its turn meanwhile
            return NO_TURN if monotonic() - self._waiting[0].since > LATE else ""
        return ""

    # ---- in a thread

    def write(self, entry: AuditEntry) -> None:
        """Append a record. Raises `OSError` when it could not be: then nothing of it is there."""
        (error,) = self.write_all([entry])
        if error is not None:
            raise error

    def write_all(self, entries: list[AuditEntry]) -> list[OSError | None]:
        """Append records, and return for each what stood in the way: then nothing of it is there."""
        day = max(each.at for each in entries).date().isoformat()
        with self._held():
            head, trouble = self._opened(day)
            if trouble is None:
                try:
                    self._write(entries, head, day)
                except OSError as error:
                    trouble = error
            found: list[OSError | None] = [None] * len(entries)
            if trouble is not None:
                found = [self._written_to_reserve(each) for each in entries]
            self._note(trouble)
            self.written += found.count(None)
            self.failed += len(found) - found.count(None)
        return found

    def resume(self, flags: int = 0) -> None:
        """Go on after trouble, if there is room again: what waits in the reserve is appended."""
        with self._held(flags):
            _, trouble = self._opened(NO_DAY)
            self._note(trouble)

    def close_day(self, day: str) -> None:
        """Give the open file its name if its day is over by `day`."""
        with self._held():
            self._opened(day)

    def close(self) -> None:
        """Write what was handed over, and close the files."""
        self._writer.shutdown()
        for each in (self._file, self._reserve, self._head_file):
            if each != -1:
                os.close(each)

    def _note(self, trouble: OSError | None) -> None:
        reason = "" if trouble is None else errno.errorcode.get(trouble.errno or 0, type(trouble).__name__)
        if reason and reason != self._no_room:
            log.error("the audit log cannot be written: writes are refused", file=self.files.log.name, reason=reason)
        elif self._no_room and not reason:
            log.warning("the audit log is written again", file=self.files.log.name)
        self._no_room = reason

    @contextmanager
    def _held(self, flags: int = 0) -> Generator[None]:
        """Be alone among the threads and processes that write to this log. Raises `BlockingIOError` with `LOCK_NB`."""
        with self._alone:
            fcntl.flock(self._head_file, fcntl.LOCK_EX | flags)
            try:
                yield
            finally:
                fcntl.flock(self._head_file, fcntl.LOCK_UN)

    # ---- alone

    def _write(self, entries: list[AuditEntry], head: Head, day: str) -> None:
        new, lines = replace(head, day=max(day, head.day)), bytearray()
        for entry in entries:
            line, seal = line_of(entry, new.number + 1, new.seal, self.key)
            new = replace(new, number=new.number + 1, seal=seal)
            lines += line
        self._store(self._append(bytes(lines), new), undo=head)

    def _written_to_reserve(self, entry: AuditEntry) -> OSError | None:
        """Write a record to the reserve, which takes no new room on the disk. Return what stands in the way."""
        try:
            head = self._current()
            line, seal = line_of(entry, head.number + 1, head.seal, self.key)
            room = self._reserve != -1 and head.spilled + len(line) <= RESERVE
            _whole(os.pwrite(self._reserve, line, head.spilled) if room else 0, line)
            self._store(replace(head, number=head.number + 1, seal=seal, spilled=head.spilled + len(line)))
        except OSError as error:
            return error
        return None

    def _current(self) -> Head:
        """Return how far the log is, as the last writer has left it."""
        raw = os.pread(self._head_file, 1024, 0)
        if raw and raw == self._raw:
            return self._head
        found = self.files.read_head(raw, self.key)
        if found is not None:
            self._raw, self._head = raw, found
            return found
        if raw:
            log.error("the head of the audit log was not signed by us", file=self.files.head.name)
        return (None if raw else self.files.read_former_head()) or Head(size=-1)

    def _opened(self, day: str) -> tuple[Head, OSError | None]:
        """Open the file for the records of `day` after putting right what a crash, a full disk or somebody has done.

        Return how far the log is, and the error that stands in the way of appending.
        """
        head = self._head
        try:
            head = self._current()
            if self._file == -1 or self._is_elsewhere():
                self._reopen()
            if self._reserve == -1:
                self._reserve = _room_at(self.files.reserve)
            if (size := os.fstat(self._file).st_size) != head.size:
                head = self._reconciled(head, size)
                self._store(head)
                self.files.former_head.unlink(missing_ok=True)
            if head.spilled:
                appended = self._append(self._spilled(head), replace(head, spilled=0))
                self._store(appended, undo=head)
                head = appended
            if NO_DAY < head.day < day and head.size and not self.files.of_day(head.day).exists():
                self.files.log.rename(self.files.of_day(head.day))
                self._reopen()
                head = replace(head, size=0)
                self._store(head)
        except OSError as error:
            return head, error
        return head, None

    def _is_elsewhere(self) -> bool:
        """Return whether the open file is not the one at the path any more: another process has closed the day."""
        try:
            there = self.files.log.stat()
        except FileNotFoundError:
            return True
        here = os.fstat(self._file)
        return (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev)

    def _reopen(self) -> None:
        if self._file != -1:
            os.close(self._file)
            self._file = -1
        self._file = os.open(self.files.log, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)

    def _reconciled(self, head: Head, size: int) -> Head:
        """Return how far the log is where its file is not as the head says.

        A record that was written before a crash, and its head after it, counts. What is left of half a record is cut
        off: nobody was answered on its account. Whatever else the file holds stays for `verify` to find, and the chain
        goes on from the last record that there was.
        """
        if head.spilled and 0 <= head.size < size:
            appended = os.pread(self._file, head.spilled + 1, head.size)
            if self._spilled(head).startswith(appended):  # what waited was being appended
                os.ftruncate(self._file, head.size)
                return head
        newest_first = (self.files.log, *reversed(self.files.closed()))
        last = next((found for path in newest_first if (found := last_record(path, self.key))), None)
        if last is not None and last.number >= head.number:
            head = replace(last, spilled=head.spilled)
        end = _end_of_last_line(self._file, size)
        if end < size:
            os.ftruncate(self._file, end)
        return replace(head, size=end)

    def _spilled(self, head: Head) -> bytes:
        """Return the records that wait in the reserve; nothing when somebody has emptied it."""
        waiting = os.pread(self._reserve, head.spilled, 0)
        return waiting if waiting.endswith(b"\n") and b"\0" not in waiting else b""

    def _append(self, lines: bytes, new: Head) -> Head:
        """Append to the open file, whole or not at all, and return `new` with its size."""
        before = os.fstat(self._file).st_size
        try:
            _whole(os.write(self._file, lines), lines)
        except OSError:
            os.ftruncate(self._file, before)
            raise
        return replace(new, size=before + len(lines))

    def _store(self, head: Head, undo: Head | None = None) -> None:
        """Write the head. When that fails, what was appended since `undo` is taken back."""
        raw = head.signed(self.key, self.files.log.name)
        try:
            _whole(os.pwrite(self._head_file, raw, 0), raw)
        except OSError:
            if undo is not None and head.size > undo.size:
                os.ftruncate(self._file, undo.size)
            raise
        self._raw, self._head = raw, head


def _whole(written: int, content: bytes) -> None:
    """Raise `OSError` when there was no room for all that was to be written."""
    if written != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def last_record(path: Path, key: bytes) -> Head | None:
    """Return how far a file goes by its last line that a holder of the key has written; None without one."""
    found: Head | None = None
    if not path.exists():
        return None
    with path.open("rb") as file:
        for raw in file:
            with suppress(*UNREADABLE):
                line = decoded(raw)
                if is_sealed(raw.rstrip(b"\n"), key):
                    number, seal, _ = ends_of(line)
                    found = Head(number, seal, size=-1, day=day_of(line).isoformat())
    return found


def _end_of_last_line(file: int, size: int) -> int:
    """Return the length of a file without what follows its last line end."""
    block = 64 * 1024
    for start in range((size - 1) // block * block, -1, -block):
        if (cut := os.pread(file, min(block, size - start), start).rfind(b"\n")) != -1:
            return start + cut + 1
    return 0


def _room_at(path: Path) -> int:
    """Return a file of `RESERVE` bytes, which are on the disk and not only promised."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        missing = bytes(max(0, RESERVE - os.fstat(file).st_size))
        _whole(os.pwrite(file, missing, RESERVE - len(missing)), missing)
        os.fsync(file)
    except OSError:
        os.close(file)
        raise
    return file

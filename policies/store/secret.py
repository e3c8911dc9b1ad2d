"""Secrets: never seen in a log, an error, a URL or a `repr`.

They are read again when they change, so that a secret can be exchanged without a restart.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import structlog

from policies.store.files import stamp

COMMAND_SECONDS = 20.0
"""Seconds that a command may take."""
log = structlog.get_logger("tiergate.secrets")


class Secret:
    """A secret as it is now. Empty when none is set."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the moment in which it is used."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __repr__(self) -> str:
        return "Secret(…)"


NO_SECRET = Secret("")
"""The secret when none is set."""


class FromFile(Secret):
    """A secret that a file holds. When the file cannot be read any more, the last content stays valid."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises `OSError` when that fails."""
        self._path = path
        self._stamp = stamp(path)
        super().__init__(_content(path))

    def reveal(self) -> str:
        try:
            found = stamp(self._path)
            if found != self._stamp:
                self._value, self._stamp = _content(self._path), found
                log.info("a secret was read again", file=self._path.name)
        except OSError as error:
            log.warning("a secret cannot be read again", file=self._path.name, reason=type(error).__name__)
        return self._value


class FromCommand(Secret):
    """A secret that a command writes to its standard output, without a shell.

    The command is run again in the background when its output is older than `seconds`; a caller gets the last output
    meanwhile.
    """

    def __init__(self, command: Sequence[str], seconds: float, clock: Callable[[], float] = monotonic) -> None:
        """Run the command. Raises `OSError` or `subprocess.SubprocessError` when that fails."""
        self._command = list(command)
        self._seconds = seconds
        self._clock = clock
        self._running = threading.Lock()
        super().__init__(_output_of(self._command))
        self._read_at = clock()

    def reveal(self) -> str:
        if self._clock() - self._read_at > self._seconds and self._running.acquire(blocking=False):
            threading.Thread(target=self._run_again, name="secret", daemon=True).start()
        return self._value

    def _run_again(self) -> None:
        try:
            self._value = _output_of(self._command)
        except (OSError, subprocess.SubprocessError) as error:
            # Neither its output nor its arguments: both may hold the secret.
            log.warning("a secret's command failed", command=self._command[0], reason=type(error).__name__)
        finally:
            self._read_at = self._clock()
            self._running.release()


def _output_of(command: list[str]) -> str:
    # The words are the operator's own settings.
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True)  # noqa: S603
    return done.stdout.strip()


def _content(path: Path) -> str:
    """Return what is in a file, without the byte-order mark that some editors put in front."""
    return path.read_text(encoding="utf-8-sig").strip()

"""Secrets of the settings: each is said in an environment variable, a file or a command, never in the settings file."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from policies.store.secret import NO_SECRET, FromCommand, FromFile, Secret

WAYS = ("file", "command")
"""What may be put after the name of a secret, to say where it is."""


class SecretError(ValueError):
    """A secret is in the settings file, or cannot be read. The message does not show it."""


class SecretSetting(msgspec.Struct, frozen=True):
    """Where one secret is: its value itself, a file or a command, the first that is given; or nowhere."""

    name: str
    value: Secret = NO_SECRET
    path: Path | None = None
    command: tuple[str, ...] = ()
    max_age: float = 0.0
    """Seconds that the output of the command may be old."""

    def __repr__(self) -> str:
        return f"SecretSetting({self.name})"  # the words of a command may hold the secret

    def __bool__(self) -> bool:
        return bool(self.value or self.path or self.command)

    def read(self) -> Secret:
        """Return the secret, `NO_SECRET` if it is nowhere. Raises `SecretError` when it cannot be read."""
        try:
            if self.value:
                return self.value
            if self.path:
                return FromFile(self.path)
            return FromCommand(self.command, self.max_age) if self.command else NO_SECRET
        except OSError as error:
            ways = f"{self.name}_file or {self.name}_command"
            reason = f"{ways}: {error.filename}: {error.strerror}"
        except UnicodeError:
            reason = "what is there is no text in UTF-8"
        except subprocess.SubprocessError as error:
            reason = f"{self.name}_command failed ({type(error).__name__})"
        raise SecretError(f"{self.name} cannot be read: {reason}")


NOWHERE = SecretSetting("")
"""A secret that nothing says where it is."""


def keys_of(name: str) -> Iterator[str]:
    """Yield the keys of a settings file that say where a secret is."""
    return (f"{name}_{way}" for way in WAYS)


def variables_of(variable: str) -> Iterator[str]:
    """Yield the environment variables of a secret, by the one that holds it."""
    yield variable
    yield from (f"{variable}_{way}".upper() for way in WAYS)


def how_to_set(name: str, variable: str) -> str:
    return f"set {variable}, {name}_file to a file, or {name}_command"


def locate(
    name: str, variable: str, given: dict[str, Any], environment: Mapping[str, str], max_age: float
) -> SecretSetting:
    """Return where a secret is, and take its keys out of a section: what the environment says goes before the file.

    Raises `SecretError` for a secret in the file, and for what names neither a file nor a command.
    """
    plain, file, command = given.pop(name, None), *(given.pop(key, None) for key in keys_of(name))
    if plain is not None:
        raise SecretError(f"a secret is never in this file: take {name} out and {how_to_set(name, variable)}")
    if value := environment.get(variable):
        return SecretSetting(name, Secret(value))
    if named := environment.get(f"{variable}_FILE"):
        return SecretSetting(name, path=Path(named))
    if words := environment.get(f"{variable}_COMMAND"):
        try:
            return SecretSetting(name, command=tuple(shlex.split(words)), max_age=max_age)
        except ValueError as error:  # quotes that do not end
            raise SecretError(f"{name} cannot be read: {variable}_COMMAND: {error}") from None
    try:
        path, words = msgspec.convert(file or "", str), msgspec.convert(command or (), tuple[str, ...])
    except msgspec.ValidationError:
        raise SecretError(f"{name}_file is a path, and {name}_command a list of words") from None
    return SecretSetting(name, path=Path(path) if path else None, command=words, max_age=max_age)

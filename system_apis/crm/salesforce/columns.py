"""How one canonical field is read from a record of an org, and written to it: which field, through which table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, Literal, TypeGuard

import msgspec
import pycountry

from canonical.deals import plain
from canonical.faults import Rejected
from policies.http.client import REPLACEMENT

Row = dict[str, Any]
Value = str | int | float | bool
Kind = Literal["text", "whole", "number", "day", "flag"]
Transform = Literal["trim", "upper", "country", "first_of_month", "first_of_next_month", "years_to_months"]
MOST = 2**31 - 1
"""The greatest whole number that every table can hold."""
MONTHS = 12


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the value of a canonical field is in an org. A text in its place is the `field` alone.

    `field` may be the path to a field of another record (`Owner.Country__c`); `otherwise` is the field that is read
    where it is empty. `transform` changes what is read, `values` says which canonical value each value of the org is,
    `default` is the canonical value where nothing is read. A `constant` is the value of every record.
    """

    field: str = ""
    otherwise: str = ""
    transform: Transform | None = None
    values: dict[str, Value] = {}
    default: Value | None = None
    constant: Value | None = None


class Unreadable(ValueError):
    """A value of a record is none.

    `field` is its canonical name, `reason` says what is wrong in an org's words.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def at(row: Row, path: tuple[str, ...]) -> Any:
    """Return the value at a path from a record, None where a reference is empty or the record has no such field."""
    value: Any = row
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
    return value  # pyright: ignore[reportUnknownVariableType]


def code_of_country(country: Any) -> Any:
    """Return the ISO 3166 code of a country by its English name or one of its codes, else what was there."""
    try:
        return pycountry.countries.lookup(country.strip()).alpha_2
    except (LookupError, AttributeError):
        return country


def _first_of_next_month(day: str) -> str:
    first = date.fromisoformat(day).replace(day=1)
    return (first + timedelta(days=31)).replace(day=1).isoformat()


TRANSFORMS: dict[Transform, tuple[Kind, Callable[[Any], Any]]] = {
    "trim": ("text", str.strip),
    "upper": ("text", str.upper),
    "country": ("text", code_of_country),
    "first_of_month": ("day", lambda day: date.fromisoformat(day).replace(day=1).isoformat()),
    "first_of_next_month": ("day", _first_of_next_month),
    "years_to_months": ("whole", lambda years: years * MONTHS),
}
"""Each transform with the kind of field that it is for."""


def shown(value: Any) -> str:
    """Return a value as a table of values names it: the words true and false, 12 rather than 12.0, and
    4711000 rather than 4.711e+06."""
    if isinstance(value, bool):
        return str(value).lower()
    return plain(Decimal(str(value))) if isinstance(value, float) else str(value)


class Reader:
    """Read and write one canonical field of the records of one kind."""

    def __init__(self, record: str, name: str, column: Column) -> None:
        """`record` is what the org calls the records (`Opportunity`), `name` the field's canonical name in one."""
        self.name = name
        self.record = record
        self.column = column
        self.path = tuple(column.field.split(".")) if column.field else ()
        self._otherwise = tuple(column.otherwise.split(".")) if column.otherwise else ()
        self._transform = TRANSFORMS[column.transform][1] if column.transform else None
        self._as_written = {value: theirs for theirs, value in reversed(column.values.items())}

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the paths to ask the org for."""
        return tuple(each for each in (self.column.field, self.column.otherwise) if each)

    @property
    def own_field(self) -> str:
        """Return the record's own field, empty for a constant and for what is read from another record."""
        return self.column.field if len(self.path) == 1 else ""

    def words(self, place: str = "") -> str:
        """Return the org's name of the field; `place` is that of a line, such as `[0]`."""
        return f"{self.record}{place}.{self.column.field}" if self.path else f"{self.name} in the mapping"

    def first(self, row: Row) -> Any:
        """Return what is in the field itself, as the org has it."""
        return at(row, self.path) if self.path else None

    def raw(self, row: Row) -> Any:
        """Return what is in the field, or in the other one where it is empty, as the org has it."""
        found = self.first(row)
        return at(row, self._otherwise) if self._otherwise and found in (None, "") else found

    def value(self, row: Row, of: str) -> Any:
        """Return the canonical value, not checked yet. `of` is the canonical name of the record."""
        column = self.column
        if column.constant is not None:
            return column.constant
        found = self.raw(row)
        if found is None or found == "":
            return column.default
        if self._transform:
            try:
                found = self._transform(found)
            except (TypeError, ValueError) as error:
                raise self.unreadable(of, f"{found!r} cannot be read by {column.transform}") from error
        if not column.values:
            return found
        if (known := column.values.get(shown(found))) is None:
            raise self.unreadable(of, f"{shown(found)!r} is none of the values of the mapping")
        return known

    def unreadable(self, of: str, reason: str, joint: str = ": ") -> Unreadable:
        place = of[of.find("[") :] if "[" in of else ""
        return Unreadable(f"{of}.{self.name}", f"{self.words(place)}{joint}{reason}")

    # ---- by kind; each raises `Unreadable`

    def text(self, row: Row, of: str) -> str:
        """Return a text, empty where there is none."""
        value = self.value(row, of)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.unreadable(of, f"{value!r} is no text")
        if REPLACEMENT in value:
            raise self.unreadable(of, "holds a character that cannot be stored", " ")
        return value

    def anything(self, row: Row, of: str) -> str:
        """Return a value of any kind as text, empty where there is none."""
        value = self.value(row, of)
        if isinstance(value, dict | list):
            raise self.unreadable(of, "is no single value", " ")
        return "" if value is None else shown(value)

    def whole(self, row: Row, of: str, default: int) -> int:
        """Return a whole number from 1."""
        value = self.value(row, of)
        if value is None:
            return default
        if is_number(value) and 1 <= value <= MOST and value == int(value):
            return int(value)
        raise self.unreadable(of, f"{value!r} is no whole number from 1 to {MOST}")

    def number(self, row: Row, of: str, default: Decimal | None = None) -> Decimal:
        """Return a number."""
        value = self.value(row, of)
        if value is None and default is not None:
            return default
        if not is_number(value) or not isfinite(value):
            raise self.unreadable(of, f"{value!r} is no number")
        return Decimal(str(value))

    def day(self, row: Row, of: str) -> date:
        """Return a day."""
        value = self.value(row, of)
        try:
            return date.fromisoformat(value)
        except (TypeError, ValueError) as error:
            raise self.unreadable(of, f"{value!r} is no day") from error

    def flag(self, row: Row, of: str) -> bool:
        """Return a yes or no, no where there is none."""
        value = self.value(row, of)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self.unreadable(of, f"{value!r} is no yes or no")

    # ---- writing

    def check_constant(self, value: Value) -> None:
        """Return where every record has this canonical value. Raises `Rejected` for a field that is no constant."""
        if self.column.constant != value:
            reason = f"{value} cannot be written: {self.words()} is no field of the deal's own"
            raise Rejected("crm", reason, field=self.name)

    def written(self, value: Value) -> Value:
        """Return what the org has for a canonical value. Raises `Rejected` where it has nothing."""
        if self.column.values:
            if value not in self._as_written:
                raise Rejected("crm", f"the mapping has no value of {self.words()} for {value}", field=self.name)
            return self._as_written[value]
        match self.column.transform:
            case "years_to_months" if isinstance(value, int):
                if value % MONTHS:
                    raise Rejected("crm", f"{self.words()} holds whole years, not {value} months", field=self.name)
                return value // MONTHS
            case "first_of_month" | "first_of_next_month" if isinstance(value, str):
                day = date.fromisoformat(value)
                if day.day != 1:
                    raise Rejected("crm", f"a contract starts on the first of a month, not on {value}", field=self.name)
                before = self.column.transform == "first_of_next_month"
                return (day - timedelta(days=1)).isoformat() if before else value
            case _:
                return value


def is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""SOQL (SOQL and SOSL Reference, v66.0): the subset with relationships, child subqueries, and the usual clauses."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec
from lark import Lark, Token, Transformer, UnexpectedInput

from sandbox.salesforce.ids import case_safe_id

GRAMMAR = r"""
start: query
query: _SELECT fields _FROM NAME [where] [order] [limit] [offset]
fields: field ("," field)*
field: PATH -> path
     | _COUNT "(" ")" -> count
     | "(" query ")" -> child
where: _WHERE either
?either: both (_OR both)*
?both: unary (_AND unary)*
?unary: _NOT unary -> negated
      | "(" either ")"
      | PATH OPERATOR literal -> compare
      | PATH _LIKE STRING -> like
      | PATH _IN "(" literal ("," literal)* ")" -> among
      | PATH _NOT _IN "(" literal ("," literal)* ")" -> not_among
order: _ORDER _BY term ("," term)*
term: PATH [DIRECTION] [NULLS]
limit: _LIMIT INT
offset: _OFFSET INT
literal: STRING | DATETIME | DATE | NUMBER | WORD
_COUNT.5: /COUNT(?=\s*\()/i
_SELECT.5: /SELECT\b/i
_FROM.5: /FROM\b/i
_WHERE.5: /WHERE\b/i
_OR.5: /OR\b/i
_AND.5: /AND\b/i
_NOT.5: /NOT\b/i
_LIKE.5: /LIKE\b/i
_IN.5: /IN\b/i
_ORDER.5: /ORDER\b/i
_BY.5: /BY\b/i
_LIMIT.5: /LIMIT\b/i
_OFFSET.5: /OFFSET\b/i
NAME: /[A-Za-z][A-Za-z0-9_]*/
PATH: /[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*/
OPERATOR: "=" | "!=" | "<>" | "<=" | ">=" | "<" | ">"
DIRECTION.2: /(ASC|DESC)\b/i
NULLS.2: /NULLS\s+(FIRST|LAST)\b/i
WORD.2: /(TRUE|FALSE|NULL)\b/i
STRING: /'(\\.|[^'\\])*'/
DATETIME.4: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)/
DATE.3: /\d{4}-\d\d-\d\d/
NUMBER.1: /[+-]?\d+(\.\d+)?/
INT: /\d+/
%import common.WS
%ignore WS
"""

# A keyword is a whole word that comes before any name, in the places where the grammar allows it.

Row = dict[str, Any]
Lookup = Callable[[Row, str], Any]
"""Returns the value of a dotted path from a record, None where a reference is empty. Raises `InvalidField`."""
Condition = Callable[[Row, Lookup], bool]


class MalformedQuery(ValueError):
    """The text is not SOQL."""


class InvalidField(ValueError):
    """The object has no such field or relationship."""


class Query(msgspec.Struct, frozen=True):
    """A parsed query. `selected` holds dotted paths and child queries; `counts` is set for `SELECT COUNT()`."""

    source: str
    selected: tuple[Any, ...]
    where: Condition | None
    order: tuple[tuple[str, bool, bool], ...]
    limit: int | None
    offset: int
    counts: bool = False


def _instant(text: str) -> str:
    """Return a moment in UTC as the stand-in stores it, which sorts and compares as text."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


def comparable(value: Any) -> Any:
    """Return a value that compares with others of its type: text without regard to case, moments in UTC."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value)
    if re.fullmatch(r"\d{4}-\d\d-\d\dT.*", value):
        return _instant(value)
    return str(value).lower()


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<>": lambda left, right: left != right,
    "<": lambda left, right: left is not None and right is not None and left < right,
    "<=": lambda left, right: left is not None and right is not None and left <= right,
    ">": lambda left, right: left is not None and right is not None and left > right,
    ">=": lambda left, right: left is not None and right is not None and left >= right,
}


class _Build(Transformer[Token, Query]):
    def start(self, parts: list[Any]) -> Query:
        return parts[0]

    def query(self, parts: list[Any]) -> Query:
        fields, source, where, order, limit, offset = parts
        return Query(
            str(source), tuple(fields), where, tuple(order or ()), limit, offset or 0, counts=fields == ["COUNT()"]
        )

    def fields(self, parts: list[Any]) -> list[Any]:
        return parts

    def path(self, parts: list[Any]) -> str:
        return str(parts[0])

    def count(self, _: list[Any]) -> str:
        return "COUNT()"

    def child(self, parts: list[Any]) -> Query:
        return parts[0]

    def where(self, parts: list[Any]) -> Condition:
        return parts[0]

    def either(self, parts: list[Condition]) -> Condition:
        return lambda row, value: True in [each(row, value) for each in parts]  # all of them: a field may not be there

    def both(self, parts: list[Condition]) -> Condition:
        return lambda row, value: False not in [each(row, value) for each in parts]

    def negated(self, parts: list[Condition]) -> Condition:
        return lambda row, value: not parts[0](row, value)

    def compare(self, parts: list[Any]) -> Condition:
        path, operator, wanted = str(parts[0]), OPERATORS[str(parts[1])], _wanted(parts[2])
        return lambda row, value: operator(comparable(value(row, path)), wanted)

    def like(self, parts: list[Any]) -> Condition:
        path = str(parts[0])
        escaped = re.escape(_text(parts[1]))
        pattern = re.compile(escaped.replace("%", ".*").replace("_", "."), re.IGNORECASE | re.DOTALL)
        return lambda row, value: pattern.fullmatch(str(value(row, path) or "")) is not None

    def among(self, parts: list[Any]) -> Condition:
        path, wanted = str(parts[0]), {_wanted(each) for each in parts[1:]}
        return lambda row, value: comparable(value(row, path)) in wanted

    def not_among(self, parts: list[Any]) -> Condition:
        inside = self.among(parts)
        return lambda row, value: not inside(row, value)

    def order(self, parts: list[Any]) -> list[Any]:
        return parts

    def term(self, parts: list[Any]) -> tuple[str, bool, bool]:
        path, direction, nulls = parts
        descending = direction is not None and direction.upper() == "DESC"
        return str(path), descending, nulls is not None and nulls.upper().endswith("LAST")

    def limit(self, parts: list[Any]) -> int:
        return int(parts[0])

    def offset(self, parts: list[Any]) -> int:
        return int(parts[0])

    def literal(self, parts: list[Token]) -> Any:
        token = parts[0]
        match token.type:
            case "STRING":
                return _text(token)
            case "NUMBER":
                return float(token)
            case "WORD":
                return {"true": True, "false": False, "null": None}[token.lower()]
            case _:
                return str(token)


def _wanted(literal: Any) -> Any:
    """Return a literal to compare with. An id may be written without its last three characters."""
    if isinstance(literal, str) and re.fullmatch(r"[0-9a-zA-Z]{3}gK[0-9]{5}[0-9A-Za-z]{5}", literal):
        return comparable(case_safe_id(literal))
    return comparable(literal)


ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def _text(token: str) -> str:
    return re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), token[1:-1])


_parser: Any = Lark(GRAMMAR, parser="lalr", maybe_placeholders=True)


@lru_cache(maxsize=256)  # those who follow changes ask the same again and again
def parse(text: str) -> Query:
    """Return the parsed query. Raises `MalformedQuery`, with row and column."""
    try:
        return _Build().transform(_parser.parse(text))
    except UnexpectedInput as error:
        raise MalformedQuery(f"unexpected token at row {error.line} column {error.column}") from error


Direction = Literal["ASC", "DESC"]


def ordered(rows: list[Row], query: Query, value: Lookup) -> list[Row]:
    """Return the rows sorted by the query's terms; empty values come first unless a term says otherwise."""
    for path, descending, nulls_last in reversed(query.order):
        filled = [row for row in rows if value(row, path) is not None]
        empty = [row for row in rows if value(row, path) is None]
        filled.sort(key=lambda row: comparable(value(row, path)), reverse=descending)
        rows = filled + empty if nulls_last else empty + filled
    return rows

"""Exports: postings as a file that a spreadsheet or a data warehouse reads.

The rows come in batches and go into a file on disk, so that one of 50,000 rows takes the memory of 1,000. It goes out
when it is whole: what breaks off half way is a problem, and never half a file.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from tempfile import TemporaryFile
from typing import IO, Annotated, Any, Literal

import msgspec
import xlsxwriter  # pyright: ignore[reportMissingTypeStubs]
from arro3.compute import cast  # pyright: ignore[reportUnknownVariableType]
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from arro3.io import write_parquet
from litestar import Response
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from canonical.faults import PlatformFault
from canonical.money import Money, exponent
from canonical.orders import Page, PostingEntry, PostingKind, PostingState, PostingStatus
from experience_apis.process_client import Process
from policies.business.exports import EXPORT_TOO_LARGE
from policies.chain.gate import Gate
from policies.contract.operation import operation
from policies.contract.parameters import ChangedFrom, ChangedTo, OfSeller
from policies.identity.authentication import Principal
from policies.problems import ProblemError

FileFormat = Literal["csv", "xlsx", "parquet"]
InFormat = Annotated[FileFormat, QueryParameter(name="format", description="The format of the file")]
MEDIA_TYPES: Mapping[FileFormat, str] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a text begins that a spreadsheet may take for a formula (OWASP, CSV Injection)."""
MAX_CELL = 32_767
"""Characters that a cell of a spreadsheet has at the most."""
EXACT_DIGITS = 15
"""Digits that a number of a spreadsheet keeps."""
PART = 64 * 1024
"""Bytes that go out at once."""
DECIMAL_DIGITS, SCALE = 38, 4
"""Digits of an amount in Parquet, and how many of them are behind the point: the most that a currency has."""
Value = str | int | bool | Decimal | datetime | None


class Column(msgspec.Struct, frozen=True):
    """A column of a file: its name, what kind its values are, and its width in a spreadsheet, in characters."""

    name: str
    kind: Literal["text", "whole", "amount", "moment", "flag"]
    of: Callable[[PostingStatus], Value]
    width: int = 14


def _currency(posting: PostingStatus) -> str:
    money = posting.amount or posting.tax or posting.balance
    return money.currency if money else ""


def _major(money: Money | None) -> Decimal | None:
    return money and money.decimal


def _minor(money: Money | None) -> int | None:
    return money and money.amount


COLUMNS = (
    Column("entry", "text", lambda each: each.entry),
    Column("id", "text", lambda each: each.id, 30),
    Column("invoice_id", "text", lambda each: each.invoice_id, 30),
    Column("number", "text", lambda each: each.number, 18),
    Column("legal_entity", "text", lambda each: each.legal_entity),
    Column("customer_id", "text", lambda each: each.customer_id, 38),
    Column("contract_id", "text", lambda each: each.contract_id, 38),
    Column("state", "text", lambda each: each.state),
    Column("waits_for", "text", lambda each: each.blocked_reason, 50),
    Column("attempts", "whole", lambda each: each.attempts),
    Column("updated_at", "moment", lambda each: each.updated_at, 22),
    Column("currency", "text", _currency),
    Column("amount", "amount", lambda each: _major(each.amount)),
    Column("tax", "amount", lambda each: _major(each.tax)),
    Column("balance", "amount", lambda each: _major(each.balance)),
    Column("amount_minor", "whole", lambda each: _minor(each.amount)),
    Column("tax_minor", "whole", lambda each: _minor(each.tax)),
    Column("balance_minor", "whole", lambda each: _minor(each.balance)),
    Column("billing", "text", lambda each: each.billing),
    Column("skipped", "flag", lambda each: each.skipped),
    Column("cancelled", "text", lambda each: each.cancelled),
)
"""What a file says of each posting: what its API says, with amounts in major units and in minor units."""
Batches = Iterable[tuple[PostingStatus, ...]]


def write_csv(batches: Batches, file: IO[bytes]) -> None:
    """Write postings as CSV (RFC 4180) in UTF-8. A text that a spreadsheet may take for a formula has an apostrophe in
    front of it."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(each.name for each in COLUMNS)
    for batch in batches:
        writer.writerows([_plain(column.of(each)) for column in COLUMNS] for each in batch)
    text.detach()


def _plain(value: Value) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value:f}"
        case datetime():
            return _iso(value)
        case str():
            return f"'{value}" if value.startswith(FORMULA) else value
        case int():
            return str(value)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def write_xlsx(batches: Batches, file: IO[bytes]) -> None:
    """Write postings as a workbook with one sheet. Every text is a cell of text, so none is a formula; a number that a
    spreadsheet would round is a text too."""
    book: Any = xlsxwriter.Workbook(file, {"constant_memory": True})
    moments = book.add_format({"num_format": 'yyyy-mm-dd"T"hh:mm:ss"Z"'})
    amounts = {digits: book.add_format({"num_format": f"0.{'0' * digits}" if digits else "0"}) for digits in range(5)}
    sheet = book.add_worksheet("Postings")
    sheet.freeze_panes(1, 0)
    for place, column in enumerate(COLUMNS):
        sheet.set_column(place, place, column.width)
        sheet.write_string(0, place, column.name, book.add_format({"bold": True}))
    row = 0
    for batch in batches:
        for each in batch:
            row += 1
            currency = _currency(each)
            amount = amounts[exponent(currency)] if currency else None
            for place, column in enumerate(COLUMNS):
                match column.of(each):
                    case None | "":
                        pass
                    case bool() as flag:
                        sheet.write_boolean(row, place, flag)
                    case datetime() as at:
                        sheet.write_datetime(row, place, at.astimezone(UTC).replace(tzinfo=None), moments)
                    case Decimal() | int() as number if len(Decimal(number).as_tuple().digits) <= EXACT_DIGITS:
                        sheet.write_number(row, place, number, amount if column.kind == "amount" else None)
                    case text:
                        sheet.write_string(row, place, str(text)[:MAX_CELL])
    sheet.autofilter(0, 0, row, len(COLUMNS) - 1)
    book.close()


TYPES = {
    "text": DataType.string(),
    "whole": DataType.int64(),
    "flag": DataType.bool(),
    "amount": DataType.decimal128(DECIMAL_DIGITS, SCALE),
    "moment": DataType.timestamp("us", tz="UTC"),
}
SCHEMA = Schema([Field(each.name, TYPES[each.kind], nullable=True) for each in COLUMNS])
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def write_parquet_file(batches: Batches, file: IO[bytes]) -> None:
    """Write postings as Parquet: amounts as decimals, moments in UTC."""
    records_of: Any = RecordBatch.from_arrays  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    records = (
        records_of([_array(column, [column.of(each) for each in batch]) for column in COLUMNS], schema=SCHEMA)
        for batch in batches
        if batch
    )
    reader = RecordBatchReader.from_batches(SCHEMA, records)
    write_parquet(reader, file, compression="snappy", max_row_group_size=10_000)


def _array(column: Column, values: list[Any]) -> Array:
    match column.kind:
        case "amount":
            texts = [None if each is None else f"{each:f}" for each in values]
            return cast(Array(texts, DataType.string()), TYPES["amount"])
        case "moment":
            microseconds = [(each - EPOCH) // MICROSECOND for each in values]
            return cast(Array(microseconds, DataType.int64()), TYPES["moment"])
        case kind:
            return Array(values, TYPES[kind])


WRITERS: Mapping[FileFormat, Callable[[Batches, IO[bytes]], None]] = {
    "csv": write_csv,
    "xlsx": write_xlsx,
    "parquet": write_parquet_file,
}


@operation(
    "finance_export_postings",
    "GET",
    "/postings/export",
    summary="Get postings as a file: CSV, XLSX or Parquet",
    answers=bytes,
    problems=(EXPORT_TOO_LARGE,),
    files=tuple(MEDIA_TYPES.values()),
)
async def export_postings(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    gate: NamedDependency[Gate],
    file_format: InFormat,
    posting_state: Annotated[PostingState | None, QueryParameter(name="state")] = None,
    kind: FromQuery[PostingKind | None] = None,
    entry: FromQuery[PostingEntry | None] = None,
    seller: OfSeller = None,
    first_day: ChangedFrom = None,
    last_day: ChangedTo = None,
) -> Response[Any]:
    """Return one row for each posting, the newest first, up to 50,000. Amounts are there in major units, and in minor
    units beside them; times are in UTC."""
    query = {
        "state": posting_state,
        "kind": kind,
        "entry": entry,
        "legal_entity": seller,
        "from": first_day,
        "to": last_day,
    }
    loop = asyncio.get_running_loop()

    def read(cursor: str | None) -> Page[PostingStatus]:
        asked = process.read(principal, "postings/export", {**query, "cursor": cursor}, Page[PostingStatus])
        return asyncio.run_coroutine_threadsafe(asked, loop).result()

    with ExitStack() as until_sent:
        file = until_sent.enter_context(TemporaryFile())
        await asyncio.to_thread(write, read, WRITERS[file_format], file)
        until_sent.pop_all()
    name = f"postings-{gate.now():%Y-%m-%dT%H%MZ}.{file_format}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(file.seek(0, io.SEEK_END)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Stream(_parts(file), media_type=MEDIA_TYPES[file_format], headers=headers)


def write(
    read: Callable[[str | None], Page[PostingStatus]], into: Callable[[Batches, IO[bytes]], None], file: IO[bytes]
) -> None:
    """Write all postings that are `read`, batch after batch by cursor. Raises what reading raises."""
    broken: list[PlatformFault | ProblemError] = []

    def batches() -> Iterator[tuple[PostingStatus, ...]]:
        cursor: str | None = None
        while True:
            try:
                page = read(cursor)
            except (PlatformFault, ProblemError) as error:  # a writer in another language would make another of it
                broken.append(error)
                return
            yield page.items
            if (cursor := page.next_cursor) is None:
                return

    into(batches(), file)
    if broken:
        raise broken[0]


async def _parts(file: IO[bytes]) -> AsyncGenerator[bytes]:
    with file:
        file.seek(0)
        while part := await asyncio.to_thread(file.read, PART):
            yield part

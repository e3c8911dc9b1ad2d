"""Postings as files: what each format says of them, what a spreadsheet cannot be made to do, and how much memory it
takes."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import openpyxl  # pyright: ignore[reportMissingModuleSource]
import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]
import pytest

from canonical.faults import Unavailable
from canonical.ids import utc_now
from canonical.money import Money
from canonical.orders import Page, PostingStatus
from experience_apis.finance.exports import COLUMNS, WRITERS, Batches, FileFormat, write
from policies.business.exports import EXPORT_TOO_LARGE
from policies.chain.gate import PROVED
from policies.identity.authentication import Principal
from tests.support.answering_layer import Answer, answering
from tiergate import composition
from tiergate.settings import load

NOW = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
NAMES = [each.name for each in COLUMNS]
HARMFUL = (
    '=HYPERLINK("http://evil.example";"x")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",
)
HOSTILE = (
    'Ärger, "Söhne"; & <b>',
    "two\nlines",
    "𝔘nicode \u202e oediv",
    "\x07bell",
    "https://evil.example/a",
    "1e5",
    "007",
)


def posting(number: int = 0, reason: str = "", money: Money | None = None) -> PostingStatus:
    about = (f"in_{number}", f"in_{number}", "cus_1", "con_1", "DE01", "failed", reason, 2, NOW)
    return PostingStatus("payment", *about, amount=money, tax=money, balance=money, number="RE/1", entry="reversal")


def written(file_format: FileFormat, *items: PostingStatus) -> IO[bytes]:
    file = io.BytesIO()
    WRITERS[file_format]([items], file)
    return io.BytesIO(file.getvalue())


def from_csv(file: IO[bytes]) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")))


def from_xlsx(file: IO[bytes]) -> list[dict[str, Any]]:
    head, *rows = openpyxl.load_workbook(file)["Postings"].iter_rows(values_only=True)
    return [dict(zip(map(str, head), row, strict=True)) for row in rows]


def from_parquet(file: IO[bytes]) -> list[dict[str, Any]]:
    read: Any = pyarrow.parquet.read_table  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    rows: list[dict[str, Any]] = read(file).to_pylist()
    return rows


READERS: dict[FileFormat, Callable[[IO[bytes]], list[dict[str, Any]]]] = {
    "csv": from_csv,
    "xlsx": from_xlsx,
    "parquet": from_parquet,
}
FORMATS: list[FileFormat] = ["csv", "xlsx", "parquet"]


@pytest.mark.parametrize(
    ("money", "major"),
    [
        (Money(-11905, "EUR"), "-119.05"),
        (Money(119, "JPY"), "119"),
        (Money(1234, "KWD"), "1.234"),
        (Money(90_071_992_547_409_931, "EUR"), "900719925474099.31"),
    ],
)
@pytest.mark.parametrize("file_format", FORMATS)
def test_an_amount_is_there_in_major_and_in_minor_units_of_its_currency(
    file_format: FileFormat, money: Money, major: str
) -> None:
    (row,) = READERS[file_format](written(file_format, posting(money=money)))

    assert list(row) == NAMES
    assert row["currency"] == money.currency
    assert Decimal(str(row["amount"])) == Decimal(major)
    assert int(row["balance_minor"]) == money.amount


def test_a_moment_is_in_utc_in_each_format() -> None:
    one = posting()

    assert from_csv(written("csv", one))[0]["updated_at"] == "2026-03-01T12:00:05Z"
    assert from_parquet(written("parquet", one))[0]["updated_at"] == NOW
    sheet = openpyxl.load_workbook(written("xlsx", one))["Postings"]
    cell = sheet.cell(2, NAMES.index("updated_at") + 1)
    assert (cell.value, cell.number_format) == (NOW.replace(tzinfo=None), 'yyyy-mm-dd"T"hh:mm:ss"Z"')


@pytest.mark.parametrize("text", HARMFUL)
def test_no_text_becomes_a_formula(text: str) -> None:
    one = posting(reason=text)

    assert from_csv(written("csv", one))[0]["waits_for"] == f"'{text}"
    cell = openpyxl.load_workbook(written("xlsx", one))["Postings"].cell(2, NAMES.index("waits_for") + 1)
    assert cell.data_type != "f"
    assert str(cell.value).replace("_x000D_", "\r") == text


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_text_comes_back_as_it_is_whatever_is_in_it(file_format: FileFormat) -> None:
    rows = READERS[file_format](written(file_format, *(posting(reason=each) for each in HOSTILE)))

    assert [str(each["waits_for"]).replace("_x0007_", "\x07") for each in rows] == list(HOSTILE)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_of_no_postings_has_its_columns(file_format: FileFormat) -> None:
    file = written(file_format)
    if file_format == "parquet":
        found = pyarrow.parquet.read_schema(file).names  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    elif file_format == "xlsx":
        found = [each.value for each in openpyxl.load_workbook(file)["Postings"][1]]
    else:
        found = file.read().decode().strip().split(",")

    assert found == NAMES


@pytest.mark.parametrize("file_format", FORMATS)
def test_20_000_postings_take_the_memory_of_a_few_batches(file_format: FileFormat) -> None:
    size, batches = 1000, 20

    def read(cursor: str | None) -> Page[PostingStatus]:
        begin = int(cursor or 0)
        items = tuple(
            posting(begin + each, "its invoice is not posted yet", Money(each, "EUR")) for each in range(size)
        )
        following = begin + size
        return Page(items, str(following) if following < size * batches else None)

    with TemporaryFile() as file:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tracemalloc.start()
        write(read, WRITERS[file_format], file)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        file.seek(0)
        rows = READERS[file_format](file)

    assert len(rows) == size * batches
    assert len({each["id"] for each in rows}) == size * batches
    assert peak < 8 * 1024 * 1024
    assert grown < 64 * 1024  # KiB; what another language takes is in no trace


@pytest.mark.parametrize("file_format", FORMATS)
def test_what_breaks_off_half_way_is_the_fault_that_it_was(file_format: FileFormat) -> None:
    pages: Iterator[Page[PostingStatus]] = iter([Page((posting(),), "1")])

    def read(cursor: str | None) -> Page[PostingStatus]:
        if cursor:
            raise Unavailable("process", "it went away")
        return next(pages)

    with pytest.raises(Unavailable, match="it went away"), TemporaryFile() as file:
        write(read, WRITERS[file_format], file)


def test_a_batch_after_another_is_written_while_it_comes() -> None:
    file = io.BytesIO()
    sizes: list[int] = []

    def batches() -> Iterator[tuple[PostingStatus, ...]]:
        for each in range(3):
            sizes.append(len(file.getvalue()))
            yield (posting(each),)

    given: Batches = batches()
    WRITERS["csv"](given, file)

    assert sizes == sorted(set(sizes))


def asked(tmp_path: Path, client: str, query: str, answers: Answer) -> tuple[httpx.Response, list[str]]:
    """Return what a client of the channels gets, and what the process layer is asked for it."""
    paths: list[str] = []

    def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        paths.append(path)
        return answers(method, path, body)

    with answering(answer) as address:
        config = tmp_path / "tiergate.toml"
        config.write_text(f'folder = "{tmp_path}"\n[server]\nprocess_url = "{address}"\n')
        settings = load(config, {})
        parts = composition.experience_parts(settings)
        app = composition.experience_app(settings, parts)
        of = parts.gate.live_catalogue.current.clients[client]
        now = utc_now().timestamp()
        principal = Principal(
            "somebody", client, frozenset(of.scopes), frozenset(of.legal_entities), "j", now, now + 60
        )

        async def as_the_client(scope: Any, receive: Any, send: Any) -> None:
            proved: Any = {**scope, "state": {PROVED: principal}}
            await app(proved, receive, send)

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(as_the_client)
            async with httpx.AsyncClient(transport=transport, base_url="http://channels.example", timeout=20) as caller:
                return await caller.get(f"/finance/v1/postings/export?{query}")

        return asyncio.run(ask()), paths


@pytest.mark.parametrize("client", ["reseller-nord", "console-support", "support-desk"])
def test_a_client_without_finance_gets_no_file(tmp_path: Path, client: str) -> None:
    got, paths = asked(tmp_path, client, "format=csv", lambda _, __, ___: (500, b""))

    assert (got.status_code, paths) == (403, [])


def test_a_file_has_a_plain_name_and_is_kept_nowhere(tmp_path: Path) -> None:
    pages = {"": Page((posting(1),), "7"), "7": Page((posting(2),))}

    def answers(_: str, path: str, __: bytes) -> tuple[int, bytes]:
        cursor = parse_qs(urlsplit(path).query).get("cursor", [""])[0]
        return 200, msgspec.json.encode(pages[cursor])

    got, paths = asked(tmp_path, "console-finance", "format=csv&state=failed&from=2026-03-01&to=2026-03-31", answers)

    assert (got.status_code, got.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert re.fullmatch(r'attachment; filename="postings-[0-9TZ-]+\.csv"', got.headers["content-disposition"])
    assert got.headers["cache-control"] == "no-store"
    assert int(got.headers["content-length"]) == len(got.content)
    assert [each["id"] for each in from_csv(io.BytesIO(got.content))] == ["in_1", "in_2"]
    wanted = "/process/v1/postings/export?state=failed&from=2026-03-01&to=2026-03-31"
    assert paths == [wanted, f"{wanted}&cursor=7"]


def test_an_export_that_the_process_layer_refuses_is_a_problem_and_no_file(tmp_path: Path) -> None:
    problem = {"type": EXPORT_TOO_LARGE.uri, "title": "", "status": 422, "detail": "There are more than 50,000."}

    got, _ = asked(tmp_path, "console-finance", "format=xlsx", lambda _, __, ___: (422, msgspec.json.encode(problem)))

    assert (got.status_code, got.headers["content-type"]) == (422, "application/problem+json")
    assert b"more than 50,000" in got.content
    assert "content-disposition" not in got.headers

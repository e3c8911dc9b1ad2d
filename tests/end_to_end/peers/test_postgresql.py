"""The process layer on a real PostgreSQL, and the ERP too: the same deal, the same kill, the same result."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from canonical.ids import utc_now
from sandbox.site import GERMANY
from sandbox.tryton.server import fingerprint, prepare
from tests.end_to_end.faults.test_killed_after_each_state import seen
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, wait_until
from tests.support.postgresql_server import PostgresqlServer
from tiergate.dev.sandbox import secret_file

SERVER_URI = "postgresql://postgres@/"


def put_books(server: PostgresqlServer, templates: Path) -> None:
    """Put the template of Tryton's books into the server. It takes Tryton a minute, so it is kept as a dump."""
    year = utc_now().year
    name = f"tiergate_template_{fingerprint(year, GERMANY)}"
    kept = templates / f"{name}.dump"
    if kept.exists():
        server.restore(name, kept)
    else:
        prepare(templates, year, secret_file(templates / "erp_password"), SERVER_URI)
        server.dump(name, kept)


@pytest.fixture(
    scope="module", params=["", pytest.param(SERVER_URI, marks=pytest.mark.long)], ids=["ours", "with the ERP"]
)
def on_postgresql(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    templates: Path,
    postgresql_server: PostgresqlServer,
) -> Generator[Environment]:
    """Return an environment with every database of ours in a PostgreSQL server, and in the long tests Tryton's too."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGHOST", str(postgresql_server.folder))
        database = postgresql_server.new_database()
        if request.param:
            put_books(postgresql_server, templates)
        made = Environment(tmp_path_factory.mktemp("environment"), templates, database, request.param)
        yield made
        made.stop()


def test_a_deal_becomes_cash_and_a_kill_on_the_way_doubles_nothing(on_postgresql: Environment) -> None:
    environment = on_postgresql
    for platform in ("crm", "billing"):
        environment.fault(platform, kind="slow", milliseconds=120, times=0)
    _, deal = environment.sell(environment.sale("Postgres"))

    wait_until(lambda: seen(environment, deal, "onboarding"), 30, "the onboarding")
    environment.kill_and_start("process")

    order = environment.order_in(deal, "active")
    environment.settled(order)
    assert environment.counted(order) == EXACTLY_ONE
    assert not (environment.folder / "process.sqlite").exists()
    on_sqlite = not environment.sandbox.plan.erp_database
    assert (environment.folder / "sandbox" / "tryton" / "tiergate.sqlite").exists() == on_sqlite

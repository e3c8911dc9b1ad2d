"""Prepares, starts and stops a real Tryton, on SQLite or, with a `postgresql://` address, on PostgreSQL."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import httpx
import msgspec
import psycopg
from psycopg import sql

from sandbox.site import GERMANY, Site

MODULES = ("party", "company", "account", "account_product", "account_invoice", "account_credit_limit")
DATABASE = "tiergate"
BOOKS = Path(__file__).with_name("books.py")
START_SECONDS = 60


class TrytonError(RuntimeError):
    """Tryton could not be prepared or started; the message ends with what it printed last."""


def fingerprint(year: int, site: Site) -> str:
    """Return a digest that changes when a template is outdated: modules, version, books, site or year. The books
    are the same whether the mapping decides about tax or billing."""
    of = msgspec.structs.replace(site, taxed_by_billing=False)
    facts = f"{version('trytond')} {MODULES} {year} {of}".encode() + BOOKS.read_bytes()
    return hashlib.sha256(facts).hexdigest()[:12]


def is_prepared(templates: Path, year: int, site: Site) -> bool:
    """Return whether the template of a site's books on SQLite is there."""
    return (templates / f"tiergate_template_{fingerprint(year, site)}.sqlite").exists()


def prepare(templates: Path, year: int, password: str, server_uri: str = "", site: Site = GERMANY) -> str:
    """Create the template unless it exists. Return its database name.

    It takes about 20 s on SQLite, a minute on PostgreSQL. Raises `TrytonError`.
    """
    name = f"tiergate_template_{fingerprint(year, site)}"
    templates.mkdir(parents=True, exist_ok=True)
    ready = templates / f"{name}{'.postgresql' if server_uri else '.sqlite'}"
    if ready.exists() and (not server_uri or _has_database(server_uri, name)):
        return name
    draft = f"draft_{os.getpid()}_{site.code.lower()}"
    config = _configuration(templates / f"{draft}.conf", templates, server_uri)
    secret = templates / f"{draft}.password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if server_uri:
        _execute(server_uri, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(draft)))
    else:
        (templates / f"{draft}.sqlite").touch()
    try:
        admin = [_script("trytond-admin"), "-c", str(config), "-d", draft, "-u", *MODULES, "--activate-dependencies"]
        password_file = {"TRYTONPASSFILE": str(secret)}
        _run([*admin, "--email", "admin@example.com", "-l", "en"], password_file)
        _run(
            [
                sys.executable,
                "-m",
                "sandbox.tryton.books",
                str(config),
                draft,
                str(year),
                msgspec.json.encode(site).decode(),
            ],
            password_file,
        )
        if server_uri:
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(draft), sql.Identifier(name))
            _execute(server_uri, rename)
            ready.touch()
        else:
            _fold_log(templates / f"{draft}.sqlite")
            (templates / f"{draft}.sqlite").rename(ready)
    finally:
        secret.unlink()
        config.unlink()
    return name


class TrytonServer:
    """Run Tryton on a copy of the template in `folder`."""

    def __init__(
        self,
        folder: Path,
        templates: Path,
        port: int,
        year: int,
        password: str,
        server_uri: str = "",
        site: Site = GERMANY,
    ) -> None:
        template = prepare(templates, year, password, server_uri, site)
        folder.mkdir(parents=True, exist_ok=True)
        if server_uri:
            if not _has_database(server_uri, DATABASE):
                copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(DATABASE), sql.Identifier(template)
                )
                _execute(server_uri, copy)
        elif not (folder / f"{DATABASE}.sqlite").exists():
            shutil.copyfile(templates / f"{template}.sqlite", folder / f"{DATABASE}.sqlite")
        config = _configuration(folder / "trytond.conf", folder, server_uri)
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "trytond.log").open("ab")
        threads = "4" if server_uri else "1"  # SQLite has one writer: waiting in line beats "database is locked"
        command = [_script("granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--blocking-threads", threads, "--backpressure", "64", "--no-ws", "sandbox.tryton.application:app"]
        environment = os.environ | {"TRYTOND_CONFIG": str(config), "TRYTOND_DATABASE_NAMES": DATABASE}
        self._process = subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> None:
        """Wait until it answers. Raises `TrytonError` when it ends first or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        body: dict[str, object] = {"id": 1, "method": "common.server.version", "params": []}
        with httpx.Client(timeout=30) as client:  # one for all looks: to make it costs more than a look
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    raise TrytonError(f"trytond ended with {self._process.returncode}; see {self._log.name}")
                with contextlib.suppress(httpx.HTTPError):
                    if not client.post(f"{self.url}/{DATABASE}/rpc/", json=body).is_server_error:
                        return
                time.sleep(0.1)
        raise TrytonError(f"trytond did not answer within {START_SECONDS} s; see {self._log.name}")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def _configuration(path: Path, folder: Path, server_uri: str) -> Path:
    """Write a configuration file and return its path.

    Without a queue worker, slow side work (printing invoices, asking VIES) waits instead of holding up a posting.
    """
    database = f"uri = {server_uri}" if server_uri else f"uri = sqlite://\npath = {folder.resolve()}"
    path.write_text(f"[database]\n{database}\nretry = 10\n[queue]\nworker = True\n[session]\ntimeout = 86400\n")
    return path


def _fold_log(database: Path) -> None:
    """Move what is still in the write-ahead log into the file itself, so that a copy of the file is complete."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _run(command: list[str], extra: dict[str, str]) -> None:
    done = subprocess.run(command, env=os.environ | extra, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrytonError(f"{Path(command[0]).name} failed:\n{done.stderr[-2000:]}")


def _execute(server_uri: str, statement: sql.Composed) -> None:
    with psycopg.connect(f"{server_uri.rstrip('/')}/postgres", autocommit=True) as connection:
        connection.execute(statement)


def _has_database(server_uri: str, name: str) -> bool:
    with psycopg.connect(f"{server_uri.rstrip('/')}/postgres") as connection:
        return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None

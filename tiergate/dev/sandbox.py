"""Everything on one machine: the sandbox, settings that point at it, and the three layers."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import secrets as randomness
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from shlex import quote

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from canonical.ids import utc_now
from policies.catalogue.check import load as load_catalogue
from policies.catalogue.model import SHIPPED, Domain
from sandbox.run import CLOCK, SandboxPlan
from sandbox.salesforce.app import ConnectedApp
from sandbox.salesforce.dialect import DEMO, Dialect
from sandbox.seed import Crm, seed_price_list
from sandbox.site import GERMANY, Site
from sandbox.stripe.tax import BOOKS
from sandbox.tryton.server import DATABASE, TrytonError, is_prepared, prepare
from system_apis.erp.tryton.books import SHIPPED as SHIPPED_MAPPING
from tiergate.dev.layers import START_SECONDS, wait_for_the_end
from tiergate.dev.ports import Ports, choose_ports, displaced
from tiergate.dev.processes import Child, stopped_at_the_end, wait_for
from tiergate.platforms import ConnectedPlatform, load_platform
from tiergate.settings import HERE, NotReady, load
from tiergate.setup import keep, setup_of

CLIENT_ID = "tiergate-integration"
USERNAME = "integration@example.com"
SERVERS = ("crm", "billing", "erp", "provisioning", "control")
USUAL_NAMES: dict[Domain, str] = {
    "crm": "salesforce",
    "erp": "tryton",
    "billing": "stripe",
    "provisioning": "provisioner",
}
"""The platforms of the shipped catalogue."""
BILLED_TAXES = """
[[legal_entities."*".billed_taxes]]
tax = "standard"
percent = {site.tax_percent}
countries = ["{site.country}"]

[[legal_entities."*".billed_taxes]]
tax = "reduced"
percent = {site.reduced_percent}
countries = ["{site.country}"]

[[legal_entities."*".billed_taxes]]
tax = "reverse_charge"
reasons = ["reverse_charge"]
"""
"""What stands in the place of the rules in the mapping of a site that leaves tax to billing."""
VIRTUAL = """clock_file = "{clock}"
key_days = 0

[system]
longest_silence = 1e9
"""
"""In virtual time a year passes between two looks at a feed, and no key is followed by another one."""
RULES = re.compile(r'\[\[legal_entities\."\*"\.tax_rules]]\n.*(?=\n#[^\n]*\n\[product_classes])', re.DOTALL)
PLATFORM = re.compile(r"^\[platforms\.([a-z-]+)\]\n((?:[^\[#\n].*\n)+)", re.MULTILINE)


@contextlib.contextmanager
def lock_folder(folder: Path, what: str) -> Generator[None]:
    """Keep a folder to this process as long as the block lasts. Raises `NotReady` when another process has it for
    the same (`what`: demo or sandbox)."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{what}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise NotReady(
                f"a {what} runs in {folder} (pid {lock.read()}): stop it, or use another --folder"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def secret_file(path: Path, value: str | None = None) -> str:
    """Return the secret that a file holds, after creating it on first use; only its owner can read the file."""
    if value is not None or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(value or randomness.token_urlsafe(24))
    return path.read_text()


def public_key(path: Path) -> str:
    """Return the public half (PEM) of the connected app's RSA key, after creating it on first use.

    It is for the JWT bearer flow.
    """
    if not path.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        secret_file(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    private = load_pem_private_key(path.read_bytes(), password=None)
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class Sandbox:
    """Run a set of stand-ins in a folder: its plan, its settings, and its process."""

    def __init__(
        self,
        folder: Path,
        templates: Path,
        ports: Ports,
        today: date,
        database_url: str = "",
        poll_seconds: float = 0.25,
        erp_database: str = "",
        site: Site = GERMANY,
        beside: tuple[Sandbox, ...] = (),
        dialect: Dialect = DEMO,
        crm_mapping: str = "",
        *,
        virtual_time: bool = False,
    ) -> None:
        """Write the settings and secrets of a sandbox.

        `database_url` is the process layer's, `erp_database` Tryton's server: SQLite files where they are empty. The
        settings name the stand-ins of the sandboxes `beside` it too: each is another site, and has no settings of its
        own. `dialect` is what the org of the CRM calls its fields, `crm_mapping` the file that says so to Tiergate.
        With `virtual_time` the layers have the time of the stand-ins, which the control port sets forward.
        """
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "secrets"
        self.ports = ports
        self.config = folder / "tiergate.toml"
        self.site = site
        self._folder = folder
        self._poll_seconds = poll_seconds
        self._password_file = templates / "erp_password"
        self.kept = kept
        provisioning = "whsec_" + randomness.token_hex(16)
        if (kept / "provisioning_secret").exists():
            provisioning = secret_file(kept / "provisioning_secret")
        self.client_secret = secret_file(kept / "crm_client_secret")
        self.api_key = secret_file(kept / "billing_api_key")
        self.erp_password = secret_file(self._password_file)
        self.provisioning_secret = secret_file(kept / "provisioning_secret", provisioning)
        app = ConnectedApp(CLIENT_ID, self.client_secret, USERNAME, public_key(kept / "crm_private_key"))
        self.plan = SandboxPlan(
            folder=folder / "sandbox",
            templates=templates,
            crm_port=ports.crm,
            billing_port=ports.billing,
            erp_port=ports.erp,
            tryton_port=ports.tryton,
            provisioning_port=ports.provisioning,
            control_port=ports.control,
            connected_app=app,
            billing_key=self.api_key,
            provisioning_secret=self.provisioning_secret,
            erp_password=self.erp_password,
            year=today.year,
            erp_database=erp_database,
            site=site,
            dialect=dialect,
        )
        self._crm_mapping = crm_mapping
        for each in beside:
            each.config = self.config
        if not site.suffix:
            self._write_settings(database_url, beside, self.plan.folder / CLOCK if virtual_time else None)

    def url(self, name: str) -> str:
        """Return the address of a stand-in or a layer."""
        return f"http://127.0.0.1:{getattr(self.ports, name)}"

    def platform(self, domain: Domain) -> str:
        """Return the name in the catalogue of the site's platform of a domain."""
        return USUAL_NAMES[domain] + self.site.suffix

    def _write_settings(self, database_url: str, beside: tuple[Sandbox, ...], clock: Path | None) -> None:
        ports, sites = self.ports, (self, *beside)
        catalogue = ""
        if beside:
            path = self._folder / "catalogue.toml"
            path.write_text(catalogue_for([each.site for each in sites]))
            catalogue = str(path.resolve())
        virtual = VIRTUAL.format(clock=clock.resolve()) if clock else ""
        self.config.write_text(
            f"""# Written by `tiergate sandbox`; deleted with its folder.
folder = "{self._folder.resolve()}"

[server]
system_port = {ports.system}
process_port = {ports.process}
experience_port = {ports.experience}

[governance]
catalogue = "{catalogue}"
{virtual}
[process]
database_url = "{database_url}"
webhook_networks = "127.0.0.0/8"
"""
            + "".join(each.platform_settings() for each in sites)
        )
        self.write_here(utc_now().date())

    def write_here(self, today: date) -> None:
        """Write where the sandbox is, and what day it has, for a shell that reads it."""
        (self._folder / HERE).write_text(
            f"""# Written by `tiergate sandbox`: where it is, for a shell that reads it.
export TIERGATE_CONFIG={quote(str(self.config.resolve()))}
export GATEWAY={self.url("experience")}
export CONTROL={self.url("control")}
export TODAY={today}
"""
        )

    def _erp_mapping(self) -> Path:
        """Write the mapping of the site's books: the shipped one, with the site's names of the taxes. Return where."""
        text = SHIPPED_MAPPING.read_text()
        named = {GERMANY.tax_name: self.site.tax_name, GERMANY.reduced_name: self.site.reduced_name}
        for german, own in named.items():
            text = text.replace(f'record = "{german}"', f'record = "{own}"')
        if self.site.taxed_by_billing:
            text = RULES.sub(BILLED_TAXES.format(site=self.site), text)
        file = self.kept / "erp_mapping.toml"
        file.write_text(text)
        return file

    def _terms(self) -> str:
        """Return the settings that say what the org of the CRM has."""
        return f'mapping = "{self._crm_mapping}"' if self._crm_mapping else "deal_terms = true"

    def _tax(self) -> str:
        """Return the settings that leave tax to billing, empty where the mapping decides."""
        if not self.site.taxed_by_billing:
            return ""
        return f"""automatic_tax = true

[platforms.{self.platform("billing")}.tax_codes]
reduced = "{BOOKS}"
"""

    def platform_settings(self) -> str:
        """Return the sections of the settings file for the site's stand-ins."""
        kept = self.kept.resolve()
        return f"""
[platforms.{self.platform("crm")}]
url = "{self.url("crm")}"
client_id = "{CLIENT_ID}"
cut_over = "{utc_now().date()}"
{self._terms()}
username = "{USERNAME}"
poll_seconds = {self._poll_seconds}
client_secret_file = "{kept / "crm_client_secret"}"

[platforms.{self.platform("erp")}]
url = "{self.url("erp")}"
database = "{DATABASE}"
user = "tiergate"
products = true
password_file = "{self._password_file.resolve()}"
mapping = "{self._erp_mapping().resolve()}"

[platforms.{self.platform("billing")}]
url = "{self.url("billing")}"
api_key_file = "{kept / "billing_api_key"}"
webhook_secret_file = "{kept / "billing_webhook_secret"}"
{self._tax()}
[platforms.{self.platform("provisioning")}]
url = "{self.url("provisioning")}"
secret_file = "{kept / "provisioning_secret"}"
"""

    def start(self) -> Child:
        """Start the stand-ins and Tryton. The child is returned at once, so that the caller can stop it."""
        command = [sys.executable, "-m", "sandbox.run"]
        body = msgspec.json.encode(self.plan, enc_hook=str)
        return Child("sandbox", command, self._folder / "logs" / "sandbox.log", stdin=body + b"\n")

    def ready(self, child: Child, system_url: str = "") -> None:
        """Wait until everything answers, then create the price list, and what `tiergate setup` creates in billing.

        The system layer is at `system_url`, or the one of this sandbox when that is empty.
        """
        for server in SERVERS:  # they begin to listen in any order
            wait_for(self.url(server), child, START_SECONDS * 3)
        crm = self.crm()
        seed_price_list(crm)
        crm.close()
        asyncio.run(self._set_up_billing(system_url or self.url("system")))

    async def _set_up_billing(self, system_url: str) -> None:
        given = load(self.config, {"TIERGATE_SERVER_PUBLIC_URL": system_url})
        found = load_platform(given, load_catalogue(given.governance.path()), {}, self.platform("billing"))
        async with setup_of(given, found) as work:
            for step in await work.steps():
                if step.act:
                    keep(await step.act(), found)

    def crm(self) -> Crm:
        return Crm(self.url("crm"), CLIENT_ID, self.client_secret, self.plan.dialect)


def is_stand_in(platform: ConnectedPlatform) -> bool:
    """Return whether a CRM is the sandbox's: no real one has a connected app of this name."""
    return getattr(platform.settings, "client_id", "") == CLIENT_ID


def catalogue_for(sites: Sequence[Site]) -> str:
    """Return the shipped catalogue with platforms for each site, which serve that site's company alone."""

    def of_each_site(section: re.Match[str]) -> str:
        return "\n".join(
            f'[platforms.{section[1]}{site.suffix}]\nlegal_entities = ["{site.code}"]\n{section[2]}' for site in sites
        )

    return PLATFORM.sub(of_each_site, SHIPPED.read_text())


def templates_of(folder: Path) -> Path:
    """Return the folder of the templates, which sandboxes share: `TIERGATE_TEMPLATES`, or one in `folder`."""
    return Path(os.environ.get("TIERGATE_TEMPLATES", folder / "templates"))


def prepare_sandbox(folder: Path, sites: Sequence[Site] = (GERMANY,)) -> None:
    """Create the templates that are missing, which takes long the first time. Raises `NotReady`."""
    templates = templates_of(folder)
    year, password = utc_now().date().year, secret_file(templates / "erp_password")
    missing = [each for each in sites if not is_prepared(templates, year, each)]
    for each in missing:
        click.echo(f"Opening the books of {each.company} in Tryton, once; this takes about 20 s …", err=True)
    with ThreadPoolExecutor() as at_once:
        for done in [at_once.submit(prepare, templates, year, password, site=each) for each in missing]:
            try:
                done.result()
            except TrytonError as error:
                raise NotReady(str(error)) from error


def run_sandbox(folder: Path, database_url: str, erp_database: str) -> None:
    """Run the sandbox alone, until Ctrl-C."""
    today = utc_now().date()
    with lock_folder(folder, "sandbox"), stopped_at_the_end() as children:
        sandbox = Sandbox(folder, templates_of(folder), choose_ports(), today, database_url, erp_database=erp_database)
        children.append(sandbox.start())
        sandbox.ready(children[0])
        for name in SERVERS:
            click.echo(f"{name:13}{sandbox.url(name)}")
        for each in displaced(sandbox.ports):
            click.echo(each)
        click.echo(f"settings     {sandbox.config}")
        click.echo(f"Now `tiergate up --config {sandbox.config}` in another terminal. Ctrl-C stops the sandbox.")
        wait_for_the_end(children)

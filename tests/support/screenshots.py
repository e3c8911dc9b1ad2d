"""Pictures of the console for the documentation: `make screenshots` takes them of an environment of its own."""

from __future__ import annotations

import sys
import tempfile
from decimal import Decimal
from pathlib import Path

from playwright.sync_api import Browser

from tests.support.console import DESKTOP, PHONE, chromium, signed_in
from tests.support.environment import Environment

TEMPLATES = Path(".tiergate/templates")
BUYERS = ("Nordwind", "Kranich", "Elbe Logistik")


def take(folder: Path) -> list[Path]:
    """Take the pictures, and return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        environment = Environment(Path(place), TEMPLATES.resolve())
        try:
            shown, held = _business(environment)
            with chromium() as browser:
                return list(_pictures(environment, browser, folder, shown, held))
        finally:
            environment.stop()


def _business(environment: Environment) -> tuple[str, str]:
    """Sell to some buyers. Return an order that became cash, and a case that waits for a yes."""
    sold = [environment.sell(environment.sale(name)) for name in BUYERS]
    orders = [environment.order_in(deal, "active") for _, deal in sold]
    for each in orders:
        environment.settled(each)
    account, _ = sold[-1]
    (party,) = environment.in_erp("party.party", ("code", "=", orders[-1].customer_id))
    party.credit_limit_amount = Decimal(100)
    party.save()
    _, deal = environment.sell(environment.sale(BUYERS[-1]), account)
    waiting = environment.order_in(deal, "awaiting_approval")
    _, deal = environment.sell(environment.sale("Weser Werft", tax_number="DE123456789"))
    environment.order_in(deal, "on_hold")
    (case,) = environment.cases_of(waiting.id)
    return orders[0].id, case.id


def _pictures(environment: Environment, browser: Browser, folder: Path, order_id: str, case_id: str) -> list[Path]:
    page = signed_in(browser, environment, "anna.berg@example.com", "finance", size=DESKTOP)
    start = page.url
    wanted = {"record": f"/records/{order_id}", "cases": "/cases", "case": f"/cases/{case_id}"}
    made: list[Path] = []
    for name, path in wanted.items():
        page.goto(start + path)
        made.append(folder / f"console-{name}.png")
        page.screenshot(path=made[-1])
    phone = signed_in(
        browser, environment, "anna.berg@example.com", "finance", size=PHONE, language="de-DE", theme="dark"
    )
    phone.goto(start)
    made.append(folder / "console-phone.png")
    phone.screenshot(path=made[-1])
    return made


if __name__ == "__main__":
    sys.stdout.writelines(f"{picture}\n" for picture in take(Path(sys.argv[1])))

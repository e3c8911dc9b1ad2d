"""The console in a real browser: what each team does there, with the mouse, with keys, small and large, in both
languages and both themes."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from canonical.orders import Order
from tests.support.console import DESKTOP, PHONE, findings, sign_in_link, signed_in
from tests.support.environment import Environment


@pytest.fixture(scope="module")
def sold(running: Environment) -> Order:
    """Return the order of a deal that became active, whose buyer has a name that means harm."""
    running.calm()
    _, deal = running.sell(running.sale('Ärger & <img src=x onerror="document.title=1"> Söhne'))
    order = running.order_in(deal, "active")
    running.settled(order)
    return order


def over_the_limit(environment: Environment, name: str) -> Order:
    """Return an order that waits for a yes, since the customer owes more than it may."""
    account, first = environment.sell(environment.sale(name))
    order = environment.order_in(first, "active")
    environment.settled(order)
    (party,) = environment.in_erp("party.party", ("code", "=", order.customer_id))
    party.credit_limit_amount = Decimal(100)
    party.save()
    _, second = environment.sell(environment.sale(name), account)
    return environment.order_in(second, "awaiting_approval")


def test_finance_approves_what_waits_and_sees_it_go_on(environment: Environment, browser: Browser) -> None:
    order = over_the_limit(environment, "Console Approves")
    page = signed_in(browser, environment, "finance@example.com", "finance")

    expect(page.locator("#now")).to_contain_text("awaiting approval")
    page.get_by_role("link", name="Cases").click()
    page.locator("tr", has=page.locator(f"a[href$={order.id}]")).get_by_role("link").first.click()
    expect(page.locator("main")).to_contain_text("over the limit")
    page.locator("form").filter(has_text="It goes on as it was asked for.").get_by_role("button").click()
    expect(page.locator("h1")).to_contain_text("resolved")
    expect(page.locator("main")).to_contain_text("finance@example.com")

    order = environment.order_in(order.deal_id, "active")
    environment.settled(order)
    page.goto(page.url.partition("/console")[0] + f"/console/records/{order.id}")
    expect(page.locator(".steps .present")).to_have_text("active")


def test_a_case_is_taken_has_a_note_and_is_given_back(environment: Environment, browser: Browser) -> None:
    order = over_the_limit(environment, "Console Takes")
    (case,) = environment.cases_of(order.id)
    page = signed_in(browser, environment, "mia@example.com", "finance")
    page.goto(page.url + f"/cases/{case.id}")

    page.get_by_role("button", name="Take it").click()
    page.get_by_label("A note for others").fill("I called them: <b>they pay on Friday</b>.")
    page.get_by_role("button", name="Write it").click()
    expect(page.locator(".notes")).to_contain_text("I called them: <b>they pay on Friday</b>.")
    page.get_by_role("link", name="Cases").first.click()
    page.get_by_role("link", name="Mine").click()
    mine = page.locator(".cases tbody tr")
    expect(mine).to_have_count(1)
    expect(mine).to_contain_text("mia@example.com")
    mine.get_by_role("link").first.click()
    page.get_by_role("button", name="Give back").click()
    expect(page.locator(".facts")).to_contain_text("nobody yet")


def test_what_is_to_be_done_about_several_cases_is_done_for_each_and_said_of_each(
    environment: Environment, browser: Browser
) -> None:
    deals = [environment.sell(environment.sale(f"Console Several {each}", lines=()))[1] for each in range(2)]
    orders = [environment.order_in(each, "on_hold") for each in deals]
    page = signed_in(browser, environment, "sales@example.com", "sales")
    page.goto(page.url + "/cases?order=newest&kind=deal_invalid")

    for order in orders:
        page.locator("tr", has=page.locator(f"a[href$={order.id}]")).get_by_role("checkbox").check()
    page.get_by_label("What to do").select_option("compensate")
    page.get_by_role("button", name="Do it for each").click()

    expect(page.get_by_role("status")).to_contain_text("2 of 2 done")
    for deal in deals:
        environment.order_in(deal, "cancelled")


def test_who_placed_an_order_is_refused_to_approve_it_and_reads_why(environment: Environment, browser: Browser) -> None:
    order = over_the_limit(environment, "Console Refuses")
    (case,) = environment.cases_of(order.id)
    page = signed_in(browser, environment, order.placed_by, "finance")

    page.goto(page.url + f"/cases/{case.id}")
    page.locator("form").filter(has_text="It goes on as it was asked for.").get_by_role("button").click()

    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("h1")).to_contain_text("open")
    environment.decide(case.id, "reject")


def test_a_name_a_number_and_an_id_of_each_system_lead_to_the_order(
    environment: Environment, browser: Browser, sold: Order
) -> None:
    page = signed_in(browser, environment, "support@example.com", "support")

    for words in ("ärger & <img", sold.id, sold.deal_id):
        page.keyboard.press("/")
        page.keyboard.type(words)
        page.keyboard.press("Enter")
        page.wait_for_url("**/find?q=*")
        expect(page.locator("tbody")).to_contain_text("Söhne")


def test_a_name_that_means_harm_is_shown_as_a_name(environment: Environment, browser: Browser, sold: Order) -> None:
    page = signed_in(browser, environment, "sales@example.com", "sales")

    page.goto(page.url + f"/records/{sold.id}")

    expect(page.locator("h1")).to_contain_text("<img src=x onerror=")
    assert page.title() != "1"
    assert page.locator("main img").count() == 0


@pytest.mark.usefixtures("sold")
def test_all_can_be_done_with_keys_alone(environment: Environment, browser: Browser) -> None:
    page = signed_in(browser, environment, "sales@example.com", "sales")

    page.keyboard.press("?")
    expect(page.locator("dialog#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.wait_for_url("**/console/find")
    page.keyboard.press("/")
    page.keyboard.type("Söhne")
    page.keyboard.press("Enter")
    page.wait_for_url("**/find?q=*")
    page.keyboard.press("Escape")
    page.locator("main").focus()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/records/*")
    expect(page.locator("h1")).to_contain_text("Söhne")


def test_a_contract_and_an_invoice_show_where_they_stand_and_what_is_due(
    environment: Environment, browser: Browser, sold: Order
) -> None:
    assert sold.plan
    page = signed_in(browser, environment, "support@example.com", "support")
    root = page.url

    page.goto(f"{root}/records/{sold.plan.contract.id}")
    expect(page.locator(".steps .present")).to_have_text("active")
    expect(page.locator(".follows")).to_contain_text("past due")
    page.goto(f"{root}/records/{sold.customer_id}")
    row = page.get_by_role("row").filter(has=page.locator("small", has_text="invoice")).first
    number, amount = row.get_by_role("link").inner_text(), row.locator(".money").first.inner_text()
    row.get_by_role("link").click()
    expect(page.locator("h1")).to_contain_text(number)
    expect(page.locator("main .facts").first).to_contain_text(amount)
    assert findings(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("size", "language"), [(DESKTOP, "en-GB"), (PHONE, "de-DE")])
def test_every_page_can_be_read_by_everybody_and_fits_its_screen(
    environment: Environment,
    browser: Browser,
    sold: Order,
    size: ViewportSize,
    language: str,
    theme: Literal["light", "dark"],
) -> None:
    page = signed_in(browser, environment, "all@example.com", "support", size=size, language=language, theme=theme)
    root = page.url
    assert sold.plan
    records = (f"/records/{each}" for each in (sold.id, sold.plan.contract.id, sold.customer_id))
    paths = ("", "/find", "/find?q=Söhne", *records, "/cases", "/cases?state=resolved")
    found: list[str] = []
    for path in paths:
        page.goto(root + path)
        found += [f"{path}: {each}" for each in findings(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            found.append(f"{path}: it is wider than the screen")
    assert found == []
    title = page.locator("h1")
    expect(title).to_have_text("Fälle" if language == "de-DE" else "Cases")


def test_the_sign_in_page_can_be_read_by_everybody(environment: Environment, browser: Browser) -> None:
    page = browser.new_context().new_page()
    page.goto(sign_in_link(environment, "anna", "sales").partition("#")[0])

    assert findings(page) == []


def test_the_first_page_is_small(environment: Environment, browser: Browser) -> None:
    page = browser.new_context().new_page()
    sizes: list[int] = []
    page.on("response", lambda each: sizes.append(int(each.headers.get("content-length", "0"))))

    page.goto(sign_in_link(environment, "anna", "sales"))
    page.wait_for_url("**/console")

    assert 0 < sum(sizes) < 100_000

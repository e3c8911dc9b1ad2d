"""Products, meters, prices and tax rates in Stripe: found by our own keys, or created, and read back from invoices.

They are data of the catalogue: none of them bills anything by itself, and none changes once it is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from canonical.billing import Contract
from canonical.deals import LineTerms, PricedLine
from canonical.faults import Conflict, NotFound, Rejected
from policies.context import correlation
from system_apis.billing.stripe import invoices, mapping, parts
from system_apis.billing.stripe.client import Row, StripeClient, at


class PriceList:
    """Find or create what lines are sold as, and know what the prices and tax rates of invoices stand for."""

    def __init__(self, client: StripeClient, *, automatic_tax: bool, tax_codes: dict[str, str]) -> None:
        self._client = client
        self._automatic_tax = automatic_tax
        self._tax_codes = tax_codes
        self.prices: dict[str, str] = {}
        self.tax_rates: dict[str, str] = {}
        """By natural key."""
        self.rates: dict[str, mapping.Rate] = {}
        """By the id of the rate."""
        self.terms: dict[str, LineTerms | None] = {}
        """What was agreed for one piece, by the id of the price."""
        self.months: dict[str, int] = {}
        """How many months a price is for, 0 for one that is charged once, by the id of the price."""

    async def ensure(self, contract: Contract, lines: Sequence[PricedLine]) -> None:
        """Let there be the products, meters, prices and tax rates of lines of a contract. Raises `Rejected` for what
        Stripe cannot bill."""
        if not contract.taxed_by_billing:
            await self._ensure_prices(contract.id, lines)
            await self._ensure_tax_rates(contract, lines)
            return
        codes = {line.sku: code for line in lines if (code := mapping.product_tax_code(line, self._tax_codes))}
        await self._ensure_prices(contract.id, lines)
        await self._ensure_tax_codes(codes)

    async def learn(self, lines: list[Row]) -> None:
        """Read the tax rates and prices of an invoice that were not met before; what they stand for never changes."""
        for rate in {invoices.rate_of(tax) for line in lines for tax in line["taxes"] or ()} - self.rates.keys():
            self.rates[rate] = mapping.rate(await self._client.get(at("tax_rates", rate)))
        for price in {invoices.price_of(each) for each in lines} - self.terms.keys() - {None}:
            self._learn_price(await self._client.get(at("prices", str(price))))

    async def _ensure_prices(self, contract_id: str, lines: Sequence[PricedLine]) -> None:
        """Find or create the products by SKU, and the prices by lookup key: natural keys that Stripe keeps unique."""
        keyed = {parts.price_key(line, contract_id): line for line in lines}
        missing = {key: line for key, line in keyed.items() if key not in self.prices}
        if not missing:
            return
        for line in missing.values():
            mapping.price(line, contract_id)  # all that can be billed, or none is made
        for each in await self._client.listed(at("prices"), lookup_keys=list(missing)):
            if self._automatic_tax and each["tax_behavior"] == "unspecified":
                path, key = at("prices", each["id"]), f"tax_behavior:{each['id']}"
                await self._client.post(path, key, tax_behavior="exclusive")
            self._know(each)
        for key, line in missing.items():
            if key not in self.prices:
                await self._ensure_product(line)
                meter = await self._meter(line, contract_id) if line.meter else None
                wanted = mapping.price(line, contract_id, meter)
                try:
                    made = await self._client.create(
                        at("prices"), ":".join(filter(None, ("price", key, meter))), **wanted
                    )
                except Conflict:
                    made = (await self._client.listed(at("prices"), lookup_keys=[key]))[0]
                except Rejected as refused:
                    field = mapping.FIELDS["prices"].get(refused.field, refused.field)
                    raise Rejected("billing", f"{line.name}: {refused.reason}", field=field) from refused
                self._know(made)

    def _know(self, price: Row) -> None:
        self.prices[price["lookup_key"]] = price["id"]
        self._learn_price(price)

    def _learn_price(self, price: Row) -> None:
        self.terms[price["id"]] = parts.read(price["metadata"])
        self.months[price["id"]] = mapping.months_of(price)

    async def _meter(self, line: PricedLine, contract_id: str) -> str:
        """Return the id of the meter of a line of a contract. One that is active keeps its event name for itself, and
        no list can be asked for one by that (API reference: Create a billing meter, List billing meters)."""
        wanted = mapping.meter(line, contract_id)
        name = wanted["event_name"]
        try:
            made = await self._client.create(at("billing", "meters"), f"meter:{name}", **wanted)
        except (Rejected, Conflict):
            there = await self._client.listed(at("billing", "meters"), status="active")
            made = next((each for each in there if each["event_name"] == name), None)
            if made is None:
                raise
        return made["id"]

    async def _ensure_product(self, line: PricedLine) -> None:
        try:
            await self._client.get(at("products", line.sku))
        except NotFound:
            try:
                await self._client.create(at("products"), f"product:{line.sku}", id=line.sku, name=line.name)
            except Conflict:
                return  # another order made it in this moment

    async def _ensure_tax_codes(self, codes: dict[str, str]) -> None:
        """Let products have the tax codes of their classes, by SKU. The ERP may have put one in another class."""
        for sku, code in codes.items():
            path = at("products", sku)
            if (await self._client.get(path))["tax_code"] != code:
                await self._client.post(path, f"tax_code:{sku}:{code}:{correlation.current()}", tax_code=code)

    async def _ensure_tax_rates(self, contract: Contract, lines: Sequence[PricedLine]) -> None:
        missing = {key: line for line in lines if (key := mapping.tax_key(contract, line)) not in self.tax_rates}
        if not missing:
            return
        for each in await self._client.listed(at("tax_rates"), active=True):
            self.tax_rates[each["metadata"].get("tiergate_key") or each["id"]] = each["id"]
        for key, line in missing.items():
            if key not in self.tax_rates:
                made = await self._client.create(at("tax_rates"), f"tax_rate:{key}", **mapping.tax_rate(contract, line))
                self.tax_rates[key] = made["id"]

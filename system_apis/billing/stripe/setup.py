"""What a Stripe account needs before the first deal: a webhook endpoint, with the events and the version that we read.

The signing secret of an endpoint is shown once, when it is created (API reference: The Webhook Endpoint object), and
its version can never be changed (API reference: Update a webhook endpoint): an endpoint of another version, and one
whose secret is not known here, is replaced.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import msgspec

from canonical.ids import NewId
from policies.store.secret import NO_SECRET, Secret
from system_apis.billing.stripe.client import VERSION, Row, Settings, StripeClient, at
from system_apis.billing.stripe.webhooks import TYPES
from system_apis.connector import ConnectorContext, Misfit
from system_apis.setup import Act, Made, Step

MARK = {"tiergate": "setup"}
"""The metadata of the endpoints that setup made."""
EVENTS = sorted(TYPES)
SECRET = "webhook_secret"  # noqa: S105 - the name of a setting


class WebhookEndpoint:
    """The webhook endpoint of one instance."""

    def __init__(self, client: StripeClient, url: str, new_id: NewId) -> None:
        """`url` is where Stripe is to report to."""
        self._client = client
        self._url = url
        self._new_id = new_id

    async def found(self) -> list[Row]:
        """Return the endpoints with our address: there may be several."""
        return [each for each in await self._client.listed(at("webhook_endpoints")) if each["url"] == self._url]

    async def misfits(self, platform_url: str, instance: str) -> list[Misfit]:
        """Return what hinders the events of a Stripe at `platform_url` from arriving."""
        remedy = f"run `tiergate setup billing {instance}`"
        if unreachable(self._url, platform_url):
            return [Misfit(f"Stripe cannot reach {self._url}", f"set server.public_url, then {remedy}")]
        endpoints = await self.found()
        if not endpoints:
            return [Misfit(f"no webhook endpoint reports to {self._url}", remedy)]
        wrong = [differences(each) for each in endpoints]
        return [] if "" in wrong else [Misfit(f"the webhook endpoint {self._url} {wrong[0]}", remedy)]

    async def create(self) -> Row:
        """Create an endpoint, and return it with its secret. A person asked for it: each time is another one."""
        params: Row = {"url": self._url, "enabled_events": EVENTS, "api_version": VERSION, "metadata": MARK}
        return await self._client.create(at("webhook_endpoints"), self._new_id("cor"), **params)

    async def update(self, endpoint: str) -> None:
        """Give an endpoint the events that are read, and switch it on."""
        path = at("webhook_endpoints", endpoint)
        await self._client.post(path, self._new_id("cor"), enabled_events=EVENTS, disabled=False)

    async def delete(self, endpoint: str) -> None:
        await self._client.delete(at("webhook_endpoints", endpoint))


def differences(endpoint: Row) -> str:
    """Return in which way an endpoint is another one than is needed, empty when it is not."""
    version, events = endpoint["api_version"], set(endpoint["enabled_events"])
    if version != VERSION:
        return f"sends events of the API version {version or 'of the account'}, and {VERSION} is read"
    if endpoint["status"] != "enabled":
        return "is switched off"
    if missing := sorted(set(EVENTS) - events) if "*" not in events else []:
        return f"does not send {', '.join(missing)}"
    if more := sorted(events - set(EVENTS)):
        return f"sends more than is read: {', '.join(more)}"
    return ""


def unreachable(url: str, platform_url: str) -> bool:
    """Return whether an address is one of this machine or network, and the platform is not."""
    return _is_near(url) and not _is_near(platform_url)


def _is_near(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".internal", ".local"))


class StripeSetup:
    """Implement `system_apis.setup.Setup`."""

    def __init__(self, settings: Settings, context: ConnectorContext) -> None:
        client = StripeClient(settings, context.client)
        self._endpoint = WebhookEndpoint(client, context.webhook_url, context.new_id)
        self._url = context.webhook_url
        self._platform_url = settings.url
        self._secret = settings.webhook_secret

    async def steps(self) -> list[Step]:
        what = f"webhook endpoint {self._url} for {', '.join(EVENTS)} in {VERSION}"
        if unreachable(self._url, self._platform_url):
            plan = "a person: Stripe cannot reach this address, so set server.public_url or give --url"
            return [Step(what, "missing", plan)]
        endpoints = await self._endpoint.found()
        if not endpoints:
            return [Step(what, "missing", "create it, and keep its signing secret", self._replace([]))]
        first, *others = sorted(endpoints, key=lambda each: each["api_version"] != VERSION)
        wrong = differences(first)
        if first["api_version"] != VERSION or not self._secret:
            reason = f"it {wrong}" if wrong else "its signing secret is not known here"
            return [Step(what, "wrong", f"replace it, with a new signing secret: {reason}", self._replace(endpoints))]
        own = Step(what, "wrong", f"update it: it {wrong}", self._update(first)) if wrong else Step(what, "there")
        return [own, *(Step(_named(each), "wrong", "delete it: one is enough", self._delete(each)) for each in others)]

    async def removal(self) -> list[Step]:
        return [
            Step(_named(each), "ours", "delete it", self._delete(each))
            if each["metadata"] == MARK
            else Step(_named(each), "kept", "setup did not make it")
            for each in await self._endpoint.found()
        ]

    def _replace(self, endpoints: list[Row]) -> Act:
        async def act() -> Made:
            made = await self._endpoint.create()
            for each in endpoints:
                await self._endpoint.delete(each["id"])
            return Made("", SECRET, Secret(made["secret"]))

        return act

    def _update(self, endpoint: Row) -> Act:
        async def act() -> Made:
            await self._endpoint.update(endpoint["id"])
            return Made()

        return act

    def _delete(self, endpoint: Row) -> Act:
        async def act() -> Made:
            await self._endpoint.delete(endpoint["id"])
            return Made()

        return act


def _named(endpoint: Row) -> str:
    return f"webhook endpoint {endpoint['url']} ({endpoint['id']})"


def prepare(settings: Settings, context: ConnectorContext, administrator: Secret = NO_SECRET) -> StripeSetup:
    """Return the setup of one account, done with the API key of an `administrator` if there is one."""
    if administrator:
        settings = msgspec.structs.replace(settings, api_key=administrator)
    return StripeSetup(settings, context)

"""Sends a webhook to an address that somebody else has named, and says what became of it.

Who answers may do so in any way: slowly, without end, with a redirect. One exchange is bounded in time and in size,
follows nothing, keeps no connection, and goes through no proxy, which would look up the name once more. Only the status
of an answer counts. Of a refusal the first words are kept, so that the partner finds its own error.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from itertools import zip_longest
from time import monotonic

import httpx
import msgspec

from policies.http.client import CONNECTING, HttpResponse
from policies.http.tls import tls_context
from policies.outbound.public_address import (
    AddressRefused,
    NameLookup,
    OutboundAddresses,
    Resolve,
    WebAddress,
    checked,
    parse,
)

SECONDS = 15.0
"""Seconds for the whole exchange, the name included (Standard Webhooks specification, "Request timeouts": 15 to 30)."""
LONGEST_EXCERPT = 200
"""Characters of a refusal that are kept."""
READ = 4096
"""Bytes of a refusal that are read."""
TRIED = 3
"""Addresses of a name that are tried, one after the other, until one takes the connection."""
UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\u024f]+")
"""What stands in no excerpt: line ends, control characters, and what changes the direction of a text."""
AGENT = "Tiergate-Webhooks/1"


class WebhookResult(msgspec.Struct, frozen=True):
    """What became of one attempt. `status` is None when there was no answer, and `reason` says why the attempt has
    failed; empty when it has not. `milliseconds` are those of the whole exchange, `retry_after` the seconds for which
    the endpoint asks to be left alone."""

    status: int | None
    milliseconds: int
    reason: str = ""
    excerpt: str = ""
    retry_after: float | None = None

    @property
    def is_delivered(self) -> bool:
        """Return whether the endpoint has taken it (2xx)."""
        return not self.reason


class WebhookSender:
    """Send webhooks, each over a connection of its own."""

    def __init__(
        self,
        allowed: OutboundAddresses,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = monotonic,
        seconds: float = SECONDS,
    ) -> None:
        """`resolve` looks up names, `tls` is what connections trust (as this machine does, if None), and `clock`
        returns seconds and never goes back. An exchange takes `seconds` at the most."""
        self._allowed = allowed
        self._resolve = resolve or NameLookup()
        self._resolve_for: Callable[[str], Resolve] = (lambda _: resolve) if resolve else NameLookup().of
        """Checks in threads of its own, few for each partner: who names slow names by the hundred holds up no delivery,
        and nobody else's webhooks."""
        self._tls = tls
        self._clock = clock
        self._seconds = seconds

    async def check(self, url: str, who: str) -> str:
        """Return a URL in its one form, after a look at where it leads now, for the partner who names it. Raises
        `AddressRefused`."""
        wanted = parse(url)
        await checked(wanted, self._allowed, self._resolve_for(who))
        return wanted.url

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> WebhookResult:
        """Send `body`, once, and return what became of it: nothing that the endpoint does is raised."""
        began = self._clock()
        answer: httpx.Response | None = None
        excerpt, reason = "", ""
        try:
            async with asyncio.timeout(self._seconds):
                answer, excerpt = await self._exchange(parse(url), body, headers)
        except TimeoutError:
            reason = f"no answer within {self._seconds:.0f} s"
        except AddressRefused as refused:
            reason = f"not called: {refused}"
        except httpx.ConnectError as error:
            reason = f"no connection: {_why(error)}"
        except (httpx.TransportError, OSError) as error:
            reason = f"no answer that is HTTP ({type(error).__name__})"
        took = round((self._clock() - began) * 1000)
        if answer is None:
            return WebhookResult(None, took, reason)
        found = HttpResponse(answer.status_code, {name.lower(): value for name, value in answer.headers.raw}, b"")
        if found.is_success:
            return WebhookResult(found.status, took)
        return WebhookResult(found.status, took, _refusal(found.status), excerpt, found.retry_after)

    async def _exchange(
        self, wanted: WebAddress, body: bytes, headers: Mapping[str, str]
    ) -> tuple[httpx.Response, str]:
        addresses = in_turn(await checked(wanted, self._allowed, self._resolve))
        last = min(len(addresses), TRIED) - 1
        for place, address in enumerate(addresses[: last + 1]):
            try:
                return await self._ask(wanted, address, body, headers)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if place == last:
                    raise
        raise AssertionError("a name that was checked has an address")

    async def _ask(
        self, wanted: WebAddress, address: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[httpx.Response, str]:
        """Send to an address that was checked, under the name that was asked for: TLS and `Host` have the name."""
        # httpx reads the environment's proxies in its client, and a transport knows none
        transport = httpx.AsyncHTTPTransport(
            verify=self._tls or tls_context(), limits=httpx.Limits(max_connections=1, max_keepalive_connections=0)
        )
        sent = {"host": wanted.authority, "content-type": "application/json", "user-agent": AGENT, **headers}
        limits = {"connect": min(CONNECTING, self._seconds), "read": None, "write": None, "pool": None}
        extensions = {"timeout": limits, "sni_hostname": wanted.host}
        request = httpx.Request("POST", wanted.at(address), content=body, headers=sent, extensions=extensions)
        try:
            answer = await transport.handle_async_request(request)
            is_success = HTTPStatus.OK <= answer.status_code < HTTPStatus.MULTIPLE_CHOICES
            return answer, "" if is_success else await _excerpt(answer)
        finally:
            await transport.aclose()


def in_turn(addresses: Sequence[str]) -> list[str]:
    """Return addresses with those of IPv6 and of IPv4 in turn, beginning with the family of the first (RFC 8305,
    section 4): a host with many of one family is reached by the other where only that works."""
    is_ipv6 = ":" in addresses[0]
    first = [each for each in addresses if (":" in each) == is_ipv6]
    other = [each for each in addresses if (":" in each) != is_ipv6]
    return [each for pair in zip_longest(first, other) for each in pair if each is not None]


async def _excerpt(answer: httpx.Response) -> str:
    """Return the first words of a refusal, as they were sent: what is packed is left out. The status counts, whatever
    becomes of the rest."""
    if "content-encoding" in answer.headers:
        return ""
    found = b""
    assert isinstance(answer.stream, httpx.AsyncByteStream)
    try:
        async with asyncio.timeout(1.0):
            async for part in answer.stream:
                found += part[: READ - len(found)]
                if len(found) == READ:
                    break
    except (httpx.TransportError, OSError):  # a time-out, and what is no TLS any more, are an OSError, too
        pass
    return " ".join(UNPRINTABLE.sub(" ", found.decode(errors="replace")).split())[:LONGEST_EXCERPT]


def _refusal(status: int) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"it answered {status}, a redirect, which is not followed: change the URL"
    return f"it answered {status}"


def _why(error: httpx.ConnectError) -> str:
    """Return why there is no connection, without the words of a library."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not good ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return "it does not speak TLS"
        cause = cause.__cause__ or cause.__context__
    return "nobody takes it"

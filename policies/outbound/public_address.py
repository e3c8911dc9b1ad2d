"""Addresses that others name and we call: nobody makes us call what is not on the public Internet.

A URL is taken apart here and nowhere else, its name is resolved by us, every address is checked, and the request goes
to an address that was checked: a name that leads elsewhere a moment later changes nothing (OWASP, Server-Side Request
Forgery Prevention Cheat Sheet, case 2; Standard Webhooks specification, "Server side request forgery").
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from errno import EAGAIN
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str], Awaitable[list[str]]]
"""Returns the addresses of a name, as texts. Raises `OSError` when it has none."""
HTTPS = 443
DEFAULT_PORTS = {"http": 80, "https": HTTPS}
LONGEST_URL = 2000
LONGEST_NAME = 253
"""Characters of a name (RFC 1035, section 2.3.4)."""
MOST_PORTS = 65535
MOST_ADDRESSES = 32
"""Addresses that a name may have. One with more is none that anybody runs a server under."""
MOST_NAMES = 128
"""Names that are looked up, or wait for that, at once."""
MOST_NAMES_OF_ONE = 4
"""Names of them that are looked up for one who asks."""
RESOLVING = 5.0
"""Seconds that looking up a name may take."""
URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>/[!$%&'()*+,./0-9:;=@A-Z_a-z~?-]*)?",
    re.IGNORECASE,
)
"""What a URL is here: no user, no fragment, no blank, no backslash, and nothing that two parsers read as two things."""
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes the whole name an IPv4 address to some (WHATWG URL, "ends in a number checker")."""
GLOBAL_IPV6 = IPv6Network("2000::/3")
"""The only part of IPv6 that is given to hosts of the public Internet (RFC 4291, section 2.4)."""
NAT64 = IPv6Network("64:ff9b::/96")
"""An IPv4 address as a translator writes it (RFC 6052, section 2.1): as public as that is."""
ISATAP = (0x00005EFE, 0x02005EFE)
"""What stands before the IPv4 address in the lower half of a tunnel's (RFC 5214, section 6.1)."""
NOT_PUBLIC: tuple[Network, ...] = tuple(
    ip_network(each)
    for each in (
        # IANA IPv4 Special-Purpose Address Registry, multicast, and what is reserved
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",  # what a machine asks its host for in Azure, which is in no registry
        # IANA IPv6 Special-Purpose Address Registry, as far as it lies in `GLOBAL_IPV6`
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)


class AddressRefused(Exception):
    """An address is not called. The message says why, and is fit for who has named it."""


class OutboundAddresses(msgspec.Struct, frozen=True):
    """What may be called beside port 443 of the public Internet: more `ports` there, and `networks` of a company's own,
    in which any port may be called, without TLS too."""

    ports: frozenset[int] = frozenset({HTTPS})
    networks: tuple[Network, ...] = ()


class WebAddress(msgspec.Struct, frozen=True):
    """A URL, taken apart. `host` is a name, or an address without brackets; `target` is the path with its query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Return the host with its port, as the `Host` header has it (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the URL again, in its one form."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def at(self, address: str) -> str:
        """Return the URL with an address in the place of the name."""
        host = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{host}:{self.port}{self.target}"


def parse(url: str) -> WebAddress:
    """Return a URL taken apart. Raises `AddressRefused` for one that is more, or other, than where to send to."""
    found = URL.fullmatch(url) if len(url) <= LONGEST_URL else None
    if found is None:
        raise AddressRefused(
            f"it is no URL of at most {LONGEST_URL} characters of ASCII such as https://example.com/hooks, without a "
            "user, a password or a fragment; write a name with other letters as xn--…"
        )
    scheme, host = found["scheme"].lower(), found["host"].lower()
    port = int(found["port"]) if found["port"] else DEFAULT_PORTS[scheme]
    if not 1 <= port <= MOST_PORTS:
        raise AddressRefused(f"there is no port {port}")
    return WebAddress(scheme, _host(host), port, found["target"] or "/")


def _host(host: str) -> str:
    """Return a host in its one form. Raises `AddressRefused` for one that is neither a name nor an address."""
    literal = literal_of(host)
    if literal is not None:
        return str(literal)
    labels = host.split(".")
    is_name = len(host) <= LONGEST_NAME and all(map(LABEL.fullmatch, labels)) and not NUMERIC.fullmatch(labels[-1])
    if len(labels) == 1 or not is_name:
        raise AddressRefused(f"{host} is no full name of a host, such as hooks.example.com")
    return host


def literal_of(host: str) -> Address | None:
    """Return the address that a host is written as, None for a name. Only the one usual way of writing it counts."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Return whether an address belongs to a host of the public Internet, whatever it is wrapped in."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if address in NAT64:
            return is_public(inner)
        if address not in GLOBAL_IPV6 or (int(address) >> 32 & 0xFFFFFFFF in ISATAP and not is_public(inner)):
            return False
    if any(address in each for each in NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast


def check(wanted: WebAddress, addresses: Iterable[str], allowed: OutboundAddresses) -> list[str]:
    """Return the addresses of a host, each of which may be called. Raises `AddressRefused` when one may not: who has
    one more address among the good ones would be called there in time."""
    found = [ip_address(each.partition("%")[0]) for each in addresses]
    own = [any(each in network for network in allowed.networks) for each in found]
    if not found or any(not is_own and not is_public(each) for each, is_own in zip(found, own, strict=True)):
        raise _not_found(wanted)
    if len(found) > MOST_ADDRESSES:
        raise AddressRefused(f"{wanted.host} has {len(found)} addresses")
    if not all(own):
        if literal_of(wanted.host) is not None:
            raise AddressRefused("it has an address in the place of a name")
        if wanted.scheme != "https":
            raise AddressRefused("it is not https")
        if wanted.port not in allowed.ports:
            ports = ", ".join(map(str, sorted(allowed.ports)))
            raise AddressRefused(f"port {wanted.port} is not one of those that are called: {ports}")
    return [str(each) for each in found]


async def checked(wanted: WebAddress, allowed: OutboundAddresses, resolve: Resolve) -> list[str]:
    """Look up a host once, and return its addresses, each of which may be called. Raises `AddressRefused`, also for a
    name that cannot be found."""
    if (literal := literal_of(wanted.host)) is not None:
        return check(wanted, [str(literal)], allowed)
    try:
        async with asyncio.timeout(RESOLVING):
            addresses = await resolve(wanted.host)
    except BlockingIOError as error:
        raise AddressRefused("too many names are being looked up: ask again in a minute") from error
    except (OSError, UnicodeError) as error:  # a time-out is an OSError, too
        raise _not_found(wanted) from error
    return check(wanted, addresses, allowed)


def _not_found(wanted: WebAddress) -> AddressRefused:
    """Return the one refusal of a name that is not there, and of one that is in a network of ours: nobody learns by
    asking which internal names there are."""
    return AddressRefused(f"{wanted.host} cannot be found on the public Internet")


class NameLookup:
    """Find the addresses of names as this machine does, in threads of its own.

    A look-up that has begun cannot be ended: one that nobody answers has a thread for half a minute. So there is one of
    a name at a time, which all who ask wait for, and one that has not begun when the last of them goes is not made.
    One who has names looked up that nobody answers has few threads by that, and the others theirs.
    """

    def __init__(self, threads: int = 32, most: int = MOST_NAMES, most_of_one: int = MOST_NAMES_OF_ONE) -> None:
        """`most` names are looked up, or wait for that, at once, and `most_of_one` of them for one who is named."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")
        self._most = most
        self._most_of_one = most_of_one
        self._asked: dict[str, _LookUp] = {}

    async def __call__(self, name: str) -> list[str]:
        """Return the addresses of a name. Raises as `socket.getaddrinfo` does, and `BlockingIOError` when too many are
        asked for."""
        return await self._look_up(name, "")

    def of(self, who: str) -> Resolve:
        """Return what looks names up for one of those who ask, as far as `most_of_one` goes."""
        return partial(self._look_up, who=who)

    async def _look_up(self, name: str, who: str) -> list[str]:
        asked = self._asked.get(name)
        if asked is None:
            of_one = sum(each.who == who for each in self._asked.values()) if who else 0
            if len(self._asked) >= self._most or of_one >= self._most_of_one:
                raise BlockingIOError(EAGAIN, "too many names are looked up")
            asked = self._asked[name] = _LookUp(self._threads.submit(_addresses, name), who)
            asked.answer.add_done_callback(lambda _: self._forget(name, asked))
        asked.waiting += 1
        try:
            return await asyncio.shield(asked.answer)
        finally:
            asked.waiting -= 1
            if not asked.waiting and asked.work.cancel():  # it had not begun
                self._forget(name, asked)

    def _forget(self, name: str, asked: _LookUp) -> None:
        if self._asked.get(name) is asked:
            del self._asked[name]


class _LookUp:
    """The look-up of one name, who asked for it first, and how many wait for it."""

    def __init__(self, work: Future[list[str]], who: str) -> None:
        self.work = work
        self.who = who
        self.answer = asyncio.wrap_future(work)
        self.waiting = 0


def _addresses(name: str) -> list[str]:
    # the full stop says that it is a whole name: else the machine's search domains are put behind it (resolv.conf(5))
    found = socket.getaddrinfo(f"{name}.", None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def networks_of(text: str) -> tuple[Network, ...]:
    """Return the networks of a setting, with blanks between them. Raises `ValueError` for what is none."""
    return tuple(ip_network(each) for each in text.split())

"""What others name is called only where it is on the public Internet."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Generator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.outbound.public_address import (
    GLOBAL_IPV6,
    LONGEST_URL,
    NOT_PUBLIC,
    AddressRefused,
    NameLookup,
    OutboundAddresses,
    Resolve,
    check,
    checked,
    is_public,
    networks_of,
    parse,
)

PUBLIC = "93.184.215.14"
NOWHERE_ELSE = OutboundAddresses()
SANDBOX = OutboundAddresses(networks=networks_of("127.0.0.0/8 ::1/128"))
INTERNAL = st.sampled_from([each for each in NOT_PUBLIC if each.version == 4]).flatmap(
    lambda network: st.integers(int(network[0]), int(network[-1])).map(IPv4Address)
)
OUTSIDE_IPV6 = st.one_of(
    st.sampled_from([each for each in NOT_PUBLIC if each.version == 6]),
    st.sampled_from([ip_network(each) for each in ("::/96", "fc00::/7", "fe80::/10", "ff00::/8", "64:ff9b:1::/48")]),
).flatmap(lambda network: st.integers(int(network[0]), int(network[-1])).map(IPv6Address))


def answers(*addresses: str) -> Resolve:
    async def resolve(_: str) -> list[str]:
        return list(addresses)

    return resolve


@given(INTERNAL)
@example(IPv4Address("169.254.169.254"))
@example(IPv4Address("100.100.100.200"))
@example(IPv4Address("168.63.129.16"))
def test_no_internal_address_is_public_whatever_it_is_wrapped_in(inner: IPv4Address) -> None:
    number = int(inner)
    wrapped = [
        IPv6Address(0xFFFF << 32 | number),  # mapped
        IPv6Address(number),  # compatible
        IPv6Address(0x64FF9B << 96 | number),  # NAT64
        IPv6Address(0x2002 << 112 | number << 80),  # 6to4
        IPv6Address(0x2001 << 112 | number ^ 0xFFFFFFFF),  # Teredo
        IPv6Address(0x2A00 << 112 | 0x5EFE << 32 | number),  # ISATAP
        IPv6Address(0x2A00 << 112 | 0x02005EFE << 32 | number),
    ]

    assert not is_public(inner)
    assert not [each for each in wrapped if is_public(each)]


@given(OUTSIDE_IPV6)
@example(IPv6Address("fd00:ec2::254"))
@example(IPv6Address("::1"))
def test_no_ipv6_address_outside_the_public_part_is_public(address: IPv6Address) -> None:
    assert not is_public(address)


@given(st.ip_addresses())
def test_what_is_public_is_so_for_the_standard_library_and_in_the_part_that_hosts_have(
    address: IPv4Address | IPv6Address,
) -> None:
    if is_public(address):
        assert address.is_global
        assert not any((address.is_private, address.is_multicast, address.is_loopback, address.is_unspecified))
        is_wrapped = address.version == 6 and (address in ip_network("64:ff9b::/96") or address.ipv4_mapped)
        assert address.version == 4 or is_wrapped or address in GLOBAL_IPV6


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"])
def test_hosts_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://example.com/#fragment",
        "https://example.com\\@10.0.0.1/",
        "https://example.com /",
        "https://exämple.com/",
        "https://example.com./",
        "https://localhost/",
        "https://intranet/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://example.0x7f/",
        "https://example.1/",
        "https://[::1%25eth0]/",
        "https://[::1/",
        "https://exa_mple.com/",
        "https://-example.com/",
        "https://example..com/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:4a3/",
        "https:///hooks",
        "//example.com/",
        "https://example.com/\r\nHost: 10.0.0.1",
        "https://example.com/" + "a" * LONGEST_URL,
        "",
    ],
)
def test_a_url_that_two_would_read_as_two_things_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        parse(url)


def test_a_url_has_one_form() -> None:
    assert parse("HTTPS://Hooks.Example.com:443").url == "https://hooks.example.com/"
    assert parse("https://xn--bcher-kva.example/a?b=c%20d").url == "https://xn--bcher-kva.example/a?b=c%20d"
    assert parse("http://[::1]:8080/x").url == "http://[::1]:8080/x"
    assert parse("https://example.com/a").at("2606:4700::1111") == "https://[2606:4700::1111]:443/a"


@given(st.text(min_size=1, max_size=60))
def test_no_text_is_taken_for_a_host_that_it_does_not_name(text: str) -> None:
    try:
        found = parse(f"https://{text}/")
    except AddressRefused:
        return
    assert found.url == parse(found.url).url
    assert found.host in text.lower() or ":" in found.host


@pytest.mark.parametrize(
    ("url", "addresses", "why"),
    [
        ("https://example.com/", ["10.0.0.1"], "cannot be found on the public Internet"),
        ("https://example.com/", [PUBLIC, "127.0.0.1"], "cannot be found on the public Internet"),
        ("https://example.com/", ["10.0.0.1"] * 33, "cannot be found on the public Internet"),
        ("https://example.com/", ["fe80::1%eth0"], "cannot be found on the public Internet"),
        ("https://example.com/", [], "cannot be found on the public Internet"),
        ("https://example.com/", [PUBLIC] * 33, "33 addresses"),
        ("http://example.com/", [PUBLIC], "not https"),
        ("https://example.com:22/", [PUBLIC], "port 22"),
        (f"https://{PUBLIC}/", [PUBLIC], "in the place of a name"),
    ],
)
def test_one_address_that_may_not_be_called_is_enough_to_refuse(url: str, addresses: list[str], why: str) -> None:
    with pytest.raises(AddressRefused, match=why):
        check(parse(url), addresses, NOWHERE_ELSE)


def test_networks_of_the_settings_may_be_called_on_any_port_without_tls() -> None:
    wanted = parse("http://127.0.0.1:8104/hooks")

    assert asyncio.run(checked(wanted, SANDBOX, answers())) == ["127.0.0.1"]
    with pytest.raises(AddressRefused):
        asyncio.run(checked(wanted, NOWHERE_ELSE, answers()))


def test_a_public_host_beside_a_network_of_the_settings_still_needs_https() -> None:
    with pytest.raises(AddressRefused, match="not https"):
        check(parse("http://example.com/"), ["127.0.0.1", PUBLIC], SANDBOX)


def test_more_ports_are_called_where_the_settings_say_so() -> None:
    allowed = OutboundAddresses(ports=frozenset({443, 8443}))

    assert check(parse("https://example.com:8443/"), [PUBLIC], allowed) == [PUBLIC]


class Names:
    """The names that this machine knows. One that begins with slow is answered when the test lets it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_go_on = threading.Event()

    def getaddrinfo(self, name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        self.asked.append(name)
        if name.startswith("slow"):
            self.may_go_on.wait(20)
        if name != "hooks.example.com.":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, 0))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Generator[Names]:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.may_go_on.set()


def test_those_who_ask_for_a_name_at_once_wait_for_one_look_up(names: Names) -> None:
    look_up = NameLookup(threads=1)

    async def both(name: str) -> tuple[list[str] | BaseException, list[str] | BaseException]:
        return await asyncio.gather(look_up(name), look_up(name), return_exceptions=True)

    first, second = asyncio.run(both("hooks.example.com"))
    assert first is second
    assert first == [PUBLIC]
    assert all(isinstance(each, OSError) for each in asyncio.run(both("nobody.invalid")))
    assert names.asked == ["hooks.example.com.", "nobody.invalid."]


def test_a_look_up_that_nobody_waits_for_any_more_is_not_made(names: Names) -> None:
    look_up = NameLookup(threads=1, most=3)

    async def given_up(name: str) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await look_up(name)

    async def act() -> list[str]:
        await given_up("slow.example.com")
        for _ in range(2):
            await asyncio.gather(given_up("a.example.com"), given_up("a.example.com"), given_up("b.example.com"))
        last = asyncio.create_task(look_up("hooks.example.com"))
        await asyncio.sleep(0)
        names.may_go_on.set()
        return await last

    assert asyncio.run(act()) == [PUBLIC]
    assert names.asked == ["slow.example.com.", "hooks.example.com."]


def test_so_many_names_are_looked_up_at_once_and_no_more(names: Names) -> None:
    look_up = NameLookup(threads=1, most=2)

    async def act() -> None:
        asked = [asyncio.create_task(look_up(each)) for each in ("slow.example.com", "hooks.example.com")]
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="too many"):
            await look_up("more.example.com")
        names.may_go_on.set()
        await asyncio.wait(asked)
        assert await look_up("hooks.example.com") == [PUBLIC]

    asyncio.run(act())


def test_who_names_slow_names_has_few_of_them_looked_up_and_keeps_nobody_else_waiting(names: Names) -> None:
    look_up = NameLookup(threads=3, most_of_one=2)
    nord, sued = look_up.of("nord"), look_up.of("sued")

    async def act() -> None:
        slow = [asyncio.ensure_future(nord(f"slow{each}.example.com")) for each in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(AddressRefused, match="ask again in a minute"):
            await checked(parse("https://slow2.example.com/"), NOWHERE_ELSE, nord)
        assert await sued("hooks.example.com") == [PUBLIC]
        names.may_go_on.set()
        await asyncio.wait(slow)
        assert await nord("hooks.example.com") == [PUBLIC]

    asyncio.run(act())
    assert "slow2.example.com." not in names.asked


def test_a_name_that_is_not_there_is_refused_as_one_that_is_internal() -> None:
    async def internal(_: str) -> list[str]:
        return ["10.0.0.1"]

    async def nobody(_: str) -> list[str]:
        raise OSError

    said: list[str] = []
    for each in (nobody, internal):
        with pytest.raises(AddressRefused, match=r"hooks\.example\.com cannot be found") as refused:
            asyncio.run(checked(parse("https://hooks.example.com/"), NOWHERE_ELSE, each))
        said.append(str(refused.value))
    assert said[0] == said[1]

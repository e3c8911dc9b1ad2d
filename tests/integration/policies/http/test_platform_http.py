"""What asks platforms: HTTP/2 and certificates where they are wanted, the environment's proxies, and one answer for
each question, whatever the other side does."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import h2.config
import h2.connection
import h2.events
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from policies.http.client import LONGEST, HttpResponse, TransportFailure
from policies.http.platform_http import LONGEST_LIFE, PlatformHttp
from policies.http.tls import tls_context

Answerer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b"
NAME = "platform.test"


class Files(NamedTuple):
    """PEM files of one certificate, signed by itself, and of its key; `locked_key` has a password."""

    certificate: str
    key: str
    locked_key: str


def made(folder: Path, name: str) -> Files:
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = Files(*(str(folder / f"{name}.{kind}") for kind in ("pem", "key", "locked")))
    Path(files.certificate).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    Path(files.key).write_bytes(key.private_bytes(pem, plain, serialization.NoEncryption()))
    Path(files.locked_key).write_bytes(key.private_bytes(pem, plain, serialization.BestAvailableEncryption(b"word")))
    return files


def serving(server: Files, client: Files | None = None, protocols: list[str] | None = None) -> ssl.SSLContext:
    """Return what a TLS server shows, and which client it takes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.set_alpn_protocols(protocols or ["http/1.1"])
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client.certificate)
    return context


class Asked(NamedTuple):
    """What came of `ask`."""

    replies: list[HttpResponse]
    connections: int


def ask(
    answer: Answerer,
    *,
    times: int = 1,
    path: str = "/",
    method: str = "GET",
    seconds: float = 2.0,
    content: bytes = b"",
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    server_tls: ssl.SSLContext | None = None,
    pace: float = 0.0,
    url: str = "{scheme}://localhost:{port}",
) -> Asked:
    """Send so many requests, one after another, each `pace` seconds of the client's clock after the one before."""
    connections, now = 0, 0.0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await answer(reader, writer)
        writer.close()

    async def run() -> Asked:
        nonlocal now
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=server_tls)
        port = server.sockets[0].getsockname()[1]
        http = PlatformHttp(url.format(scheme="https" if server_tls else "http", port=port), 4, tls, lambda: now)
        replies: list[HttpResponse] = []
        try:
            for _ in range(times):
                replies.append(await http.request(method, path, seconds=seconds, content=content, headers=headers))
                now += pace
        finally:
            await http.close()
            server.close()
        return Asked(replies, connections)

    return asyncio.run(run())


def echo(extra: bytes = b"", pack: Callable[[bytes], bytes] = bytes) -> Answerer:
    """Answers each request with its head, in lower case."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            body = pack((await reader.readuntil(b"\r\n\r\n")).lower())
            writer.write(ANSWER % (len(body), extra, body))

    return answer


def says(whole: bytes) -> Answerer:
    """Answers with these bytes, and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(whole)
        await writer.drain()

    return answer


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def over_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request over HTTP/2 with its method and path."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    asked: dict[int, bytes] = {}
    while data := await reader.read(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                found = {str(name): str(value) for name, value in event.headers or []}
                asked[event.stream_id or 0] = f"{found[':method']} {found[':path']}".encode()
            elif isinstance(event, h2.events.StreamEnded):
                connection.send_headers(event.stream_id, [(":status", "200")])
                connection.send_data(event.stream_id, asked[event.stream_id], end_stream=True)
        writer.write(connection.data_to_send())


def test_requests_share_a_connection_and_carry_no_more_than_is_said() -> None:
    found = ask(echo(b"set-cookie: a=b\r\n"), times=3, path="/a?b=c", headers={"x-own": "1"})

    heads = [each.content.decode().split("\r\n") for each in found.replies]
    assert found.connections == 1
    assert heads[0] == heads[2]
    names = {each.partition(":")[0] for each in heads[2][1:] if each}
    assert heads[2][0] == "get /a?b=c http/1.1"
    assert names == {"host", "accept", "accept-encoding", "x-own"}


def test_connections_are_made_again_after_a_while_however_busy_they_are() -> None:
    assert ask(echo(), times=6, pace=LONGEST_LIFE / 3).connections == 2


def test_a_request_that_is_on_its_way_keeps_its_connection_until_it_ends() -> None:
    now = 0.0

    async def run() -> list[bytes]:
        nonlocal now
        released = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError):
                while True:
                    path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
                    if path == b"/slow":
                        await released.wait()
                    writer.write(ANSWER % (len(path), b"", path))
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        http = PlatformHttp(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 4, None, lambda: now)
        slow = asyncio.create_task(http.request("GET", "/slow", seconds=5))
        first = await http.request("GET", "/first", seconds=5)
        now = LONGEST_LIFE
        second = await http.request("GET", "/second", seconds=5)
        released.set()
        found = [first.content, second.content, (await slow).content]
        await http.close()
        server.close()
        return found

    assert asyncio.run(run()) == [b"/first", b"/second", b"/slow"]


def test_http_2_is_spoken_where_it_is_offered(tmp_path: Path) -> None:
    files = made(tmp_path, NAME)

    found = ask(
        over_http2,
        times=3,
        path="/a?b",
        method="POST",
        content=b"{}",
        tls=tls_context(files.certificate),
        server_tls=serving(files, protocols=["h2", "http/1.1"]),
    )

    assert ([each.content for each in found.replies], found.connections) == ([b"POST /a?b"] * 3, 1)


def test_authorities_and_a_certificate_of_ones_own_are_used(tmp_path: Path) -> None:
    platform, ours = made(tmp_path, NAME), made(tmp_path, "tiergate.test")
    server_tls = serving(platform, client=ours)

    trusted = tls_context(platform.certificate, ours.certificate, ours.key)
    assert ask(echo(), tls=trusted, server_tls=server_tls).replies[0].status == 200
    for tls, sent in ((tls_context(), False), (tls_context(platform.certificate), True)):
        with pytest.raises(TransportFailure) as failed:
            ask(echo(), tls=tls, server_tls=server_tls)
        assert (
            failed.value.request_sent is sent
        )  # TLS 1.3 tells of a certificate that is missing after the request only
    assert tls_context(platform.certificate, ours.certificate, ours.key) is trusted


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    ours = made(tmp_path, NAME)

    with pytest.raises(ssl.SSLError):
        tls_context("", ours.certificate, ours.locked_key)


@pytest.mark.parametrize("refused", [False, True], ids=["taken", "refused"])
def test_an_https_platform_is_reached_through_a_tunnel_of_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, refused: bool
) -> None:
    files, heads = made(tmp_path, NAME), list[bytes]()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if refused:
            writer.write(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await writer.start_tls(serving(files))
            await echo()(reader, writer)

    async def run() -> HttpResponse:
        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        http = PlatformHttp(f"https://{NAME}", 1, tls_context(files.certificate))
        try:
            return await http.request("POST", "/a?b", seconds=2, content=b"")
        finally:
            await http.close()
            server.close()

    if refused:
        with pytest.raises(TransportFailure) as failed:
            asyncio.run(run())
        assert not failed.value.request_sent
    else:
        assert asyncio.run(run()).content.startswith(b"post /a?b http/1.1\r\nhost: platform.test\r\n")
    assert heads[0].startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("direct", ["localhost", "platform.test, localhost", "platform.test,*", "*"])
def test_no_proxy_names_what_is_reached_directly(monkeypatch: pytest.MonkeyPatch, direct: str) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", direct)

    assert ask(echo()).replies[0].status == 200


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (silent, 0.2),
        (says(b""), 2.0),
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc"), 2.0),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), 2.0),
        (says(ANSWER % (3, b"content-encoding: gzip\r\n", b"abc")), 2.0),
        (says(ANSWER % (30, b"content-encoding: gzip\r\n", gzip.compress(b"abcdefgh" * 99)[:30])), 2.0),
        (says(ANSWER % (3, b"content-encoding: br\r\n", b"abc")), 2.0),
    ],
    ids=["late", "closed", "half", "not HTTP", "not packed", "half packed", "packed otherwise"],
)
def test_a_request_without_an_answer_may_have_arrived(answer: Answerer, seconds: float) -> None:
    with pytest.raises(TransportFailure) as failed:
        ask(answer, method="POST", content=b"{}", seconds=seconds)

    assert failed.value.request_sent


def test_a_request_that_found_no_server_was_not_sent() -> None:
    with pytest.raises(TransportFailure) as failed:
        ask(silent, url="http://127.0.0.1:1")

    assert not failed.value.request_sent


def test_a_request_that_found_no_free_connection_in_time_was_not_sent() -> None:
    async def run() -> TransportFailure:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        http = PlatformHttp(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 1)
        first = asyncio.create_task(http.request("GET", "/", seconds=5))
        await asyncio.sleep(0)
        with pytest.raises(TransportFailure) as failed:
            await http.request("POST", "/", seconds=0.2)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await http.close()
        server.close()
        return failed.value

    assert not asyncio.run(run()).request_sent


def test_a_packed_answer_is_unpacked() -> None:
    found = ask(echo(b"content-encoding: gzip\r\n", gzip.compress)).replies[0].content

    assert b"accept-encoding: gzip\r\n" in found


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_an_answer_has_a_greatest_length(*, packed: bool) -> None:
    whole = b"x" * (LONGEST + 1)
    body = gzip.compress(whole) if packed else whole

    with pytest.raises(TransportFailure, match="too long"):
        ask(says(ANSWER % (len(body), b"content-encoding: gzip\r\n" if packed else b"", body)), seconds=5.0)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/a?b=c%20d&e=f", b"get /a?b=c%20d&e=f "),
        ("/a b", b"get /a%20b "),
        ("/ü\x9b", b"get /%c3%bc%c2%9b "),
        ("/a HTTP/1.1\r\nhost: b", b"get /a%20http/1.1%0d%0ahost:%20b "),
        ("//elsewhere.test/a", b"get //elsewhere.test/a "),
        ("/a?b='c'%5B0%5D", b"get /a?b='c'%5b0%5d "),
        ("/a..b/.c", b"get /a..b/.c "),
    ],
)
def test_a_path_is_one_whatever_is_in_it(path: str, sent: bytes) -> None:
    assert ask(echo(), path=path).replies[0].content.startswith(sent)


def test_the_path_of_the_address_comes_first() -> None:
    url = "{scheme}://localhost:{port}/base/"

    assert ask(echo(), path="/a", url=url).replies[0].content.startswith(b"get /base/a ")


@pytest.mark.parametrize("path", ["/a/../b", "/a/..", "/./b", "/a/..?c", "http://elsewhere.test/", "@elsewhere.test/"])
def test_a_path_that_would_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        ask(echo(), path=path)


@pytest.mark.parametrize("header", ["x\r\nhost: b", "x\n", "x\0", "ü"])
def test_no_header_is_smuggled_into_a_request(header: str) -> None:
    with pytest.raises(ValueError, match=r"control character|ascii"):
        ask(echo(), headers={"x-name": header})

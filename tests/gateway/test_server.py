"""What our server adds to uvicorn: it waits for no client that does not write, and reads the same bytes once."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from gateway import asgi, endpoint
from gateway import server as server_module
from tests.gateway import sample
from tests.gateway.conftest import Gateway, until

HELLO = b'{"query": "{ hello }"}'


async def connected(gateway: Gateway, said: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(said)
    await writer.drain()
    return reader, writer


async def all_until_closed(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server hangs up; it must."""
    return await asyncio.wait_for(reader.read(-1), 30)


async def head(gateway: Gateway, length: int) -> bytes:
    lines = ["POST /graphql HTTP/1.1", "host: acorn", f"content-length: {length}"]
    lines += [f"{name}: {value}" for name, value in (await gateway.headers("read")).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        (b"", 0),
        (b"\r\n", 0),
        (b"POST /", 0),
        (b"GET /healthz HTTP/1.1\r\nhost: a", 0),
        (b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nGET", 1),
    ],
    ids=repr,
)
async def test_who_does_not_finish_a_head_is_let_go(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, said: bytes, answers: int
) -> None:
    monkeypatch.setattr(server_module, "HEAD_S", 0.3)
    reader, writer = await connected(gateway, said)
    assert (await all_until_closed(reader)).count(b"HTTP/1.1 200") == answers
    writer.close()


@pytest.mark.parametrize(
    "begun", [b"GET /graphql?query=", b"GET /graphql HTTP/1.1\r\nhost: a\r\naccept: ", b"GET /graphql HTTP/1.1\r\n"]
)
async def test_an_endless_head_is_a_431(gateway: Gateway, begun: bytes) -> None:
    line = b"x: y\r\n" if begun.endswith(b"\r\n") else b"xxxxxx"
    reader, writer = await connected(gateway, begun + line * (server_module.HEAD_BYTES // len(line)))
    assert (await all_until_closed(reader)).startswith(b"HTTP/1.1 431 ")
    writer.close()


async def test_a_large_head_that_ends_is_read(gateway: Gateway) -> None:
    answer = await gateway.ask("{ hello }", "read", x_padding="x" * 30_000)
    assert answer.status_code == 200


NO_REQUEST = [
    b"\x00\x01\x02\r\n\r\n",
    b"GET /graphql?query=\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /\xc3\xa9 HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET * HTTP/1.1\r\nhost: a\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET http://a/graphql HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
    b"POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    b"POST /graphql HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"GET /graphql HTTP/9.9\r\nhost: a\r\n\r\n",
    b"GET /graphql HTTP/1.1\r\naccept : x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    b"POST /graphql HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("said", NO_REQUEST, ids=repr)
async def test_what_is_no_http_request_is_the_clients_fault(gateway: Gateway, said: bytes) -> None:
    reader, writer = await connected(gateway, said)
    writer.write_eof()
    status = (await asyncio.wait_for(reader.readline(), 30)).split(b" ")
    assert status == [b""] or status[1].startswith(b"4"), status
    writer.close()


async def test_a_line_between_requests_stops_no_clock(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEAD_S", 0.3)
    reader, writer = await connected(gateway, b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
    writer.write(b"\r\n")
    assert await all_until_closed(reader) == b""
    writer.close()


async def test_a_connection_at_rest_after_its_answer_is_kept(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEAD_S", 0.3)
    monkeypatch.setattr(server_module, "REST_S", 0.3)
    request = await head(gateway, len(HELLO)) + HELLO
    reader, writer = await connected(gateway, request)
    await reader.readuntil(b"Hello world")
    # Another connection, which says nothing, comes later and is let go first.
    other, silent = await connected(gateway)
    assert await all_until_closed(other) == b""
    writer.write(request)
    await reader.readuntil(b"Hello world")
    writer.close()
    silent.close()


async def test_a_body_that_does_not_come_is_a_408(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BODY_S", 0.2)
    reader, writer = await connected(gateway, await head(gateway, len(HELLO)) + HELLO[:5])
    answer = (await all_until_closed(reader)).decode()
    assert answer.startswith("HTTP/1.1 408")
    assert '"code":"BODY_TOO_SLOW"' in answer
    writer.close()


async def test_a_body_that_nobody_reads_is_not_waited_for(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "REST_S", 0.3)
    reader, writer = await connected(gateway, b"POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc")
    assert (await all_until_closed(reader)).startswith(b"HTTP/1.1 405")
    writer.close()


async def test_a_slow_answer_is_not_cut_by_the_clocks_of_requests(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by its own, and not by that of a request which follows it on the connection half said."""
    for name in ("HEAD_S", "REST_S"):
        monkeypatch.setattr(server_module, name, 0.1)
    body = b'{"query": "{ slow(seconds: 0.5) }"}'
    reader, writer = await connected(gateway, await head(gateway, len(body)) + body + b"POST /")
    answer = await all_until_closed(reader)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'{"slow":"done"}' in answer
    writer.close()


async def test_who_speaks_http_1_0_may_name_no_host(gateway: Gateway) -> None:
    reader, writer = await connected(gateway, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (await all_until_closed(reader)).startswith(b"HTTP/1.1 200")
    writer.close()


CHUNKED = b"POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"


@pytest.mark.parametrize("in_parts", [False, True])
async def test_what_follows_a_body_is_no_header(gateway: Gateway, in_parts: bool) -> None:
    key = f"authorization: Bearer {await gateway.key('read')}\r\n".encode()
    chunks = b"%x\r\n%b\r\n0\r\n" % (len(HELLO), HELLO)
    for said, ends, status in (
        (CHUNKED + b"\r\n" + chunks, key + b"\r\n", b"401"),
        (CHUNKED + key + b"\r\n" + chunks, b"x-more: y\r\n\r\n", b"200"),
    ):
        reader, writer = await connected(gateway, said if in_parts else said + ends)
        if in_parts:
            writer.write(ends)
        assert (await asyncio.wait_for(reader.readline(), 30)).split(b" ")[1] == status
        writer.close()


@pytest.mark.parametrize("line", [b"x: y\r\n", b"x"])
async def test_endless_lines_after_a_body_end_the_connection(gateway: Gateway, line: bytes) -> None:
    """Although the request was answered: all of them would be kept. Bodies in small pieces are taken as they come."""
    reader, writer = await connected(gateway, CHUNKED + b"\r\n0\r\nx: ")
    assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 401")
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(endlessly(writer, line), 30)
    writer.close()


async def endlessly(writer: asyncio.StreamWriter, line: bytes) -> None:
    while True:
        writer.write(line * 10_000)
        await writer.drain()


async def test_a_body_in_tiny_pieces_is_read(gateway: Gateway) -> None:
    key = f"authorization: Bearer {await gateway.key('read')}\r\n".encode()
    body = b'{"query": "{ hello }"' + b" " * 30_000 + b"}"
    pieces = b"".join(b"1\r\n%c\r\n" % sign for sign in body)
    assert len(pieces) > 2 * server_module.HEAD_BYTES
    reader, writer = await connected(gateway, CHUNKED + key + b"\r\n")
    for start in range(0, len(pieces), 5_000):
        writer.write(pieces[start : start + 5_000])
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize("framed", ["length", "chunked"])
@pytest.mark.parametrize("in_parts", [False, True])
async def test_who_offers_another_protocol_is_answered_in_this_one(
    gateway: Gateway, framed: str, in_parts: bool
) -> None:
    """Clients of Java and curl offer HTTP/2 so. Their body is no next request, whatever stands in it."""
    inner = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
    key = f"authorization: Bearer {await gateway.key('read')}\r\ncontent-type: application/json\r\n".encode()
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQBAAAAAAIAAAAA\r\n"
    for body, wanted in ((HELLO, b"Hello world"), (inner, b"BAD_REQUEST")):
        length = b"content-length: %d\r\n\r\n" % len(body)
        chunks = b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(body)
        head = b"POST /graphql HTTP/1.1\r\nhost: a\r\n" + key + offer + (length if framed == "length" else chunks)
        rest = body if framed == "length" else body + b"\r\n0\r\n\r\n"
        reader, writer = await connected(gateway, head if in_parts else head + rest)
        if in_parts:
            writer.write(rest)
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        answers = await all_until_closed(reader)
        assert answers.count(b"HTTP/1.1 ") == 2
        assert wanted in answers
        assert answers.endswith(b"ok\n")
        writer.close()


async def test_offers_by_the_thousand_are_answered_one_after_the_other(gateway: Gateway) -> None:
    offer = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: x\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    reader, writer = await connected(gateway, offer * 1_500 + last)
    assert (await all_until_closed(reader)).count(b"HTTP/1.1 200") == 1_501
    writer.close()


async def test_no_websocket_begins_behind_a_request_that_is_being_answered(gateway: Gateway) -> None:
    body = b'{"query": "{ slow(seconds: 0.2) }"}'
    offer = (
        b"GET /graphql HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    reader, writer = await connected(gateway, await head(gateway, len(body)) + body + offer)
    assert b"101" not in (await all_until_closed(reader)).split(b"\r\n")[0]
    writer.close()


# ── Requests that are known by their bytes ──────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Line:
    """A connection, and a request that goes over it in one piece."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: bytes

    async def answer(self) -> bytes:
        """The next answer as a whole."""
        begin = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        length = int(begin.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return begin + await self.reader.readexactly(length)

    async def ask(self, request: bytes | None = None) -> bytes:
        self.writer.write(self.request if request is None else request)
        return await self.answer()


async def request_for(gateway: Gateway, query: str, *scopes: str) -> bytes:
    body = b'{"query": "%s"}' % query.encode()
    headers = await gateway.headers(*scopes or ("read",))
    lines = ["POST /graphql HTTP/1.1", "host: acorn", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + body


async def known(gateway: Gateway, query: str, *scopes: str) -> Line:
    """A connection at rest, whose request is known; that is so once it was understood, compiled and answered at once."""
    line = Line(*await connected(gateway), await request_for(gateway, query, *scopes))
    async with asyncio.timeout(30):
        while line.request not in pieces():
            assert (await line.ask()).startswith(b"HTTP/1.1 200")
    return line


def pieces() -> dict[bytes, server_module.Piece]:
    """What this loop's server knows."""
    return server_module._SHARED[asyncio.get_running_loop()].pieces


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was read."""
    given: list[bytes] = []
    read = server_module.Http._feed

    def note(self: server_module.Http, data: bytes) -> None:
        given.append(data)
        read(self, data)

    monkeypatch.setattr(server_module.Http, "_feed", note)
    return given


async def test_the_same_bytes_are_read_once_and_answered_each_time(gateway: Gateway, parsed: list[bytes]) -> None:
    line = await known(gateway, "query Bytes { hello }")
    before = parsed.count(line.request)
    answers = [await line.ask() for _ in range(3)]
    assert parsed.count(line.request) == before > 1
    assert {one.partition(b"\r\n\r\n")[2] for one in answers} == {b'{"data":{"hello":"Hello world"}}'}
    ids = {one.partition(b"x-request-id: ")[2].partition(b"\r\n")[0] for one in answers}
    assert len(ids) == len(answers)
    # A connection is not at rest before its first request; its second is known, whoever asked it first.
    other = Line(*await connected(gateway), line.request)
    assert all(b"Hello world" in one for one in [await other.ask(), await other.ask()])
    assert parsed.count(line.request) == before + 1
    line.writer.close()
    other.writer.close()


async def test_requests_that_come_together_or_in_parts_are_read(gateway: Gateway, parsed: list[bytes]) -> None:
    line = await known(gateway, "query Together { hello }")
    other = await request_for(gateway, "query Other { count(number: 7) }")
    for _ in range(5):
        line.writer.write(line.request + other)
        assert [b"Hello world" in await line.answer(), b'"count":7' in await line.answer()] == [True, True]
    assert line.request + other not in pieces()
    parsed.clear()
    line.writer.write(line.request[:-5])
    await until(lambda: parsed)
    line.writer.write(line.request[-5:])
    assert b"Hello world" in await line.answer()
    # What was half said before makes the same bytes another request.
    line.writer.write(b"GET /healthz HTTP/1.1\r\nx-more: ")
    await until(lambda: len(parsed) == 3)
    line.writer.write(line.request)
    assert (await line.answer()).endswith(b"ok\n")
    line.writer.close()


async def test_a_known_request_of_a_key_that_is_gone_is_refused(gateway: Gateway) -> None:
    line = await known(gateway, "query Gone { hello }", "read", "catalog")
    name = "-".join(sorted(("read", "catalog")))
    del gateway.keys[frozenset({"read", "catalog"})]
    async with gateway.store.begin() as tx:
        await tx.execute(text("delete from api_key where name = :name"), {"name": name})
    keys: Any = gateway.app.standing.keys
    keys._known.clear()
    assert (await line.ask()).startswith(b"HTTP/1.1 401")
    line.writer.close()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """What `Query.slow` waits for; it is open at first."""
    opened = asyncio.Event()
    opened.set()

    async def stepped(waits: Any) -> str:
        waits.close()
        sample.STEPS.append("began")
        try:
            await opened.wait()
        except asyncio.CancelledError:
            sample.STEPS.append("cancelled")
            raise
        return "done"

    monkeypatch.setattr(sample, "_stepped", stepped)
    sample.STEPS.clear()
    return opened


async def test_a_known_request_that_has_to_wait_is_answered_later_and_run_once(
    gateway: Gateway, gate: asyncio.Event, parsed: list[bytes]
) -> None:
    line = await known(gateway, "query Waits { slow(seconds: 0) }")
    sample.STEPS.clear()
    parsed.clear()
    gate.clear()
    line.writer.write(line.request)
    await until(lambda: sample.STEPS)
    assert parsed == []
    line.writer.write(await request_for(gateway, "query Behind { count(number: 8) }"))
    await until(lambda: parsed)
    gate.set()
    assert [b'"slow":"done"' in await line.answer(), b'"count":8' in await line.answer()] == [True, True]
    assert sample.STEPS == ["began"]
    line.writer.close()


async def test_a_known_request_whose_client_leaves_is_ended(gateway: Gateway, gate: asyncio.Event) -> None:
    line = await known(gateway, "query Leaves { slow(seconds: 0) }")
    sample.STEPS.clear()
    gate.clear()
    line.writer.write(line.request)
    await until(lambda: sample.STEPS)
    line.writer.close()
    await until(lambda: sample.STEPS == ["began", "cancelled"])


def exchanges() -> int:
    """Requests that are still in memory."""
    return sum(type(one) is endpoint._Exchange for one in gc.get_objects())


async def test_requests_are_forgotten_when_they_are_answered(gateway: Gateway, gate: asyncio.Event) -> None:
    """Without a search for what holds each other, which comes late, and finds all the more."""
    at_once = await known(gateway, 'query Forgotten { stock(skus: [\\"a\\"]) { name } }')
    waits = await known(gateway, "query Waits { slow(seconds: 0) }")
    await at_once.ask()
    gc.collect()
    gc.disable()
    try:
        before = exchanges()
        for _ in range(20):
            assert b'"name":"a"' in await at_once.ask()
        assert exchanges() == before
        gate.clear()
        waits.writer.write(waits.request)
        await until(lambda: exchanges() == before + 1)
        gate.set()
        assert b'"slow":"done"' in await waits.answer()
    finally:
        gc.enable()
    gc.collect()
    assert exchanges() == before
    at_once.writer.close()
    waits.writer.close()


async def test_known_requests_are_refused_like_others_where_there_are_too_many(
    gateway: Gateway, parsed: list[bytes]
) -> None:
    line = await known(gateway, "query Crowd { hello }")
    [connection] = [one for one in gateway.server.server_state.connections if _peer(one) == _name(line)]
    connection.limit_concurrency = 1  # type: ignore[union-attr]
    assert (await line.ask()).startswith(b"HTTP/1.1 503")
    line.writer.close()


def _peer(connection: Any) -> object:
    return connection.transport.get_extra_info("peername")


def _name(line: Line) -> object:
    return line.writer.get_extra_info("sockname")


async def test_what_is_known_is_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_PIECES", 2)
    pieces().clear()
    for number in range(4):
        line = await known(gateway, f"query Bounded{number} {{ hello }}")
        line.writer.close()
    assert len(pieces()) == 2
    assert line.request in pieces()
    monkeypatch.setattr(server_module, "LONGEST_PIECE", len(line.request))
    long = Line(*await connected(gateway), await request_for(gateway, "query Bounded4 { hello } "))
    for _ in range(5):
        assert b"Hello world" in await long.ask()
    assert long.request not in pieces()
    long.writer.close()

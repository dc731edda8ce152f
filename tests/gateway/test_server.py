"""What our server adds to uvicorn: it waits for no client that does not write."""

from __future__ import annotations

import asyncio

import pytest

from gateway import asgi
from gateway import server as server_module
from tests.gateway.conftest import Gateway

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

"""The client for upstreams against real servers on loopback that answer, hang, cut and reset."""

import asyncio
import gzip
import logging
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal

import httpx
import pytest

from adapters.transport import Limits, NothingSent, Transport, Unreadable, parse_json
from domain.errors import OutcomeUnknown, Transient

Answerer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-amzn-RequestId: req-1\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """Hands each request, head and body, to `answer`; keeps them all."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.writers: set[asyncio.StreamWriter] = set()
        self.answer: Answerer = self.fine
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def fine(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async def reset(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def close(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def hang(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        """No answer."""

    async def cut(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK.replace(b"Content-Length: 2", b"Content-Length: 20"))
        writer.close()

    async def stall(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK.replace(b"Content-Length: 2", b"Content-Length: 20"))

    async def until_asked(self, times: int) -> None:
        await until(lambda: len(self.requests) >= times)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
                )
                self.requests.append(head + await reader.readexactly(length))
                await self.answer(self.requests[-1], writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=512)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()
    for writer in server.writers:
        writer.transport.abort()
    await until(lambda: not server.writers)
    await listening.wait_closed()


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.close()


@pytest.fixture
async def hasty() -> AsyncIterator[Transport]:
    transport = Transport(limits=Limits(read_s=1.0, total_s=30))
    yield transport
    await transport.close()


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, "the condition never came true"
        await asyncio.sleep(0.005)


def open_sockets() -> int:
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            continue
    return count


async def test_an_answer_carries_status_headers_body_and_request_id(server: Server, transport: Transport) -> None:
    answer = await transport.send("POST", f"{server.url}/v0/x", write=True, headers={"x-test": "1"}, content=b'{"a":1}')
    assert (answer.status, answer.body, answer.json(), answer.request_id) == (200, b"{}", {}, "req-1")
    assert answer.headers["content-type"] == "application/json"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v0/x HTTP/1.1\r\n")
    assert b"x-test: 1" in head
    assert body == b'{"a":1}'


@pytest.mark.parametrize("status", [b"204 No Content", b"302 Found", b"429 Too Many Requests", b"503 Unavailable"])
async def test_every_status_is_an_answer(server: Server, transport: Transport, status: bytes) -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 " + status + b"\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

    server.answer = answer
    got = await transport.send("GET", server.url, write=False)
    assert (got.status, got.body, got.request_id) == (int(status[:3]), b"", None)
    assert len(server.requests) == 1


async def test_a_get_has_no_body_and_the_url_goes_out_letter_for_letter(server: Server, transport: Transport) -> None:
    path = "/items/A%2FB%2C%20C%25D%3B%3F%40%3A%2B%21%27%28%29%2A?sellerSkus=a%2Cb,c&x=%2B%20%3D%26"
    await transport.send("GET", server.url + path, write=False)
    head = server.requests[0]
    assert head.startswith(f"GET {path} HTTP/1.1\r\n".encode())
    assert b"content-length" not in head.lower()
    assert b"transfer-encoding" not in head.lower()


async def test_no_cookie_comes_back(server: Server, transport: Transport) -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: session=one; Path=/\r\n\r\n"))

    server.answer = answer
    for _ in range(2):
        await transport.send("GET", server.url, write=False)
    assert len(server.requests) == 2
    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize("mood", ["reset", "close", "hang", "cut", "stall"])
@pytest.mark.parametrize("write", [True, False])
async def test_a_lost_answer_is_unknown_for_a_write_and_transient_for_a_read(
    server: Server, hasty: Transport, mood: str, write: bool
) -> None:
    server.answer = getattr(server, mood)
    with pytest.raises((OutcomeUnknown, Transient)) as problem:
        await hasty.send("PUT" if write else "GET", f"{server.url}/x", write=write, content=b"{}" if write else None)
    assert type(problem.value) is (OutcomeUnknown if write else Transient)
    assert problem.value.upstream_request_id == ("req-1" if mood in {"cut", "stall"} else None)
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_request_on_a_kept_connection_is_never_sent_twice(
    server: Server, transport: Transport, method: str
) -> None:
    await transport.send("GET", server.url, write=False)
    server.answer = server.close
    with pytest.raises(OutcomeUnknown):
        await transport.send(method, server.url, write=True)
    assert len(server.requests) == 2


async def test_a_refused_connection_left_nothing(transport: Transport) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can
        with pytest.raises(NothingSent, match="cannot be reached"):
            await transport.send("POST", f"http://127.0.0.1:{taken.getsockname()[1]}/", write=True, content=b"{}")


async def test_an_unknown_host_left_nothing(transport: Transport) -> None:
    with pytest.raises(NothingSent, match="cannot be reached"):
        await transport.send("POST", "http://nowhere.invalid/", write=True, content=b"{}")


@pytest.mark.parametrize("limits", [Limits(connections=1, pool_s=0.1), Limits(connections=1, total_s=0.2)])
async def test_no_free_connection_left_nothing_however_it_is_found_out(server: Server, limits: Limits) -> None:
    transport = Transport(limits=limits)
    server.answer = server.hang
    holder = asyncio.create_task(transport.send("GET", server.url, write=False, timeout_s=30))
    await until(lambda: len(server.requests) == 1)
    with pytest.raises(NothingSent, match="cannot be reached"):
        await transport.send("POST", server.url, write=True, content=b"{}")
    holder.cancel()
    await asyncio.wait({holder})
    assert len(server.requests) == 1
    await transport.close()


async def test_the_time_of_the_whole_exchange_is_bounded(server: Server, transport: Transport) -> None:
    async def drip(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK.replace(b"Content-Length: 2", b"Content-Length: 1000"))
        while not writer.is_closing():
            await asyncio.sleep(0.02)
            writer.write(b" ")
            await writer.drain()

    server.answer = drip
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="TimeoutError"):
        await transport.send("POST", server.url, write=True, timeout_s=1.0)
    assert time.monotonic() - began < 15, "it takes twenty to its end"


@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_beyond_the_cap_is_no_answer(server: Server, packed: bool) -> None:
    body = b" " * 3_000_000
    sent, encoding = (gzip.compress(body), b"Content-Encoding: gzip\r\n") if packed else (body, b"")

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + encoding + b"Content-Length: %d\r\n\r\n" % len(sent) + sent)

    server.answer = answer
    small, large = Transport(limits=Limits(body_bytes=2_999_999)), Transport(limits=Limits(body_bytes=3_000_000))
    with pytest.raises(Transient, match="Unreadable"):
        await small.send("GET", server.url, write=False)
    assert (await large.send("GET", server.url, write=False)).body == body
    await small.close()
    await large.close()


async def test_the_log_names_the_call_and_nothing_that_could_be_secret(
    server: Server, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await transport.send(
        "POST",
        f"{server.url}/orders?who=buyer-secret",
        write=True,
        headers={"x-key": "head-secret"},
        content=b"body-secret",
    )
    server.answer = server.reset
    with pytest.raises(OutcomeUnknown) as problem:
        await transport.send("POST", f"{server.url}/orders?who=buyer-secret", write=True)
    ours = [record for record in caplog.records if record.name == "adapters.transport"]
    assert [record.getMessage() for record in ours] == ["upstream.called", "upstream.called"]
    first, second = (vars(record) for record in ours)
    assert [first[name] for name in ("method", "host", "path", "status", "upstream_request_id")] == [
        "POST",
        "127.0.0.1",
        "/orders",
        200,
        "req-1",
    ]
    assert (second["status"], second["upstream_request_id"]) == (None, None)
    assert 0 < first["seconds"] < 5
    assert "secret" not in "".join(str(vars(record)) for record in caplog.records) + str(problem.value)


async def test_2400_cancelled_callers_leave_no_slot_task_or_socket_behind(server: Server) -> None:
    transport = Transport(limits=Limits(connections=100, connections_per_host=50, read_s=30))
    await transport.send("GET", server.url, write=False)
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    for moment in ("on their way and in the queue for a connection", "in the middle of a body"):
        server.answer = server.hang if moment.startswith("on") else server.stall
        asked = len(server.requests)
        callers = [
            asyncio.create_task(transport.send("GET", f"{server.url}/{number}", write=False)) for number in range(1200)
        ]
        await server.until_asked(asked + 50)
        assert (len(server.requests), open_sockets() > sockets) == (asked + 50, True)
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        assert all(caller.cancelled() for caller in callers)
        server.answer = server.fine
        # All connections are free again: fifty calls at once, none of them waits for another.
        async with asyncio.timeout(Limits().pool_s):
            answers = await asyncio.gather(*(transport.send("GET", server.url, write=False) for _ in range(50)))
        assert [answer.status for answer in answers] == [200] * 50
    await transport.close()
    await until(lambda: not server.writers and open_sockets() < sockets)
    assert {task for task in asyncio.all_tasks() - tasks if not task.done()} == set()


async def test_a_wire_can_be_put_in_the_place_of_the_network() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no", request=request)

    def lose(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("no", request=request)

    for handler, error in ((refuse, NothingSent), (lose, OutcomeUnknown)):
        with pytest.raises(error):
            await Transport(wire=httpx.MockTransport(handler)).send("POST", "https://a.example/", write=True)
    answer = await Transport(wire=httpx.MockTransport(lambda _: httpx.Response(200, json={"a": 1}))).send(
        "GET", "https://a.example/", write=False
    )
    assert answer.json() == {"a": 1}


def test_json_numbers_stay_exact() -> None:
    parsed = parse_json(b'{"price": 19.99, "tiny": 0.10, "many": 9007199254740993, "name": "\xc3\xbc"}')
    assert parsed == {"price": Decimal("19.99"), "tiny": Decimal("0.10"), "many": 9007199254740993, "name": "ü"}
    assert [type(value) for value in parsed.values()] == [Decimal, Decimal, int, str]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"a": 1',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"[" * 100_000 + b"]" * 100_000,
        b"1" * 10_000,
    ],
)
def test_what_is_not_good_json_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_json(body)

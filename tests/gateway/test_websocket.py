"""GraphQL over WebSocket: the protocol's codes, and a client that does not read."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from gateway import server as server_module
from gateway.admission import Admission
from gateway.expiry import Expiry
from gateway.websocket import LONGEST_ID, MOST_OPERATIONS, Pace
from store import api_key
from store.session import Store
from tests.gateway import sample
from tests.gateway.conftest import Gateway, until

PROTOCOL = websockets.Subprotocol("graphql-transport-ws")
FOLLOW = "subscription ($s: String!, $a: String) { follow(subject: $s, after: $a) { cursor } }"


@asynccontextmanager
async def opened(gateway: Gateway, **options: Any) -> AsyncIterator[ClientConnection]:
    async with connect(gateway.ws_url, **{"subprotocols": [PROTOCOL], "compression": None, **options}) as socket:
        yield socket


@asynccontextmanager
async def acknowledged(gateway: Gateway, *scopes: str, **options: Any) -> AsyncIterator[ClientConnection]:
    async with opened(gateway, **options) as socket:
        payload = {"Authorization": f"Bearer {await gateway.key(*scopes or ('read',))}"}
        await say(socket, type="connection_init", payload=payload)
        assert await hear(socket) == {"type": "connection_ack"}
        yield socket


async def say(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps(message))


async def hear(socket: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(socket.recv(), 30))


async def subscribe(socket: ClientConnection, id: str, query: str, **variables: Any) -> None:
    await say(socket, type="subscribe", id=id, payload={"query": query, "variables": variables, "extensions": {"a": 1}})


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """(code, reason) of the end; what comes before is not looked at."""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionClosedError):  # every code but 1000 and 1001
            async for _ in socket:
                pass
        await socket.wait_closed()
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


async def test_a_query_and_a_subscription_are_answered(gateway: Gateway) -> None:
    async with acknowledged(gateway) as socket:
        assert socket.subprotocol == "graphql-transport-ws"
        await subscribe(socket, "q", "{ hello who }")
        assert await hear(socket) == {
            "id": "q",
            "type": "next",
            "payload": {"data": {"hello": "Hello world", "who": "read"}},
        }
        assert await hear(socket) == {"id": "q", "type": "complete"}
        await subscribe(socket, "s", "subscription { counted(to: 2) }")
        told = [await hear(socket) for _ in range(3)]
        assert told == [
            {"id": "s", "type": "next", "payload": {"data": {"counted": 0}}},
            {"id": "s", "type": "next", "payload": {"data": {"counted": 1}}},
            {"id": "s", "type": "complete"},
        ]


async def test_the_key_may_come_with_the_handshake(gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {await gateway.key('read')}", "x-acorn-bill": "1"}
    async with opened(gateway, additional_headers=headers) as socket:
        await say(socket, type="connection_init")
        assert await hear(socket) == {"type": "connection_ack"}
        await subscribe(socket, "q", "{ costly }")
        assert (await hear(socket))["payload"]["extensions"]["bill"]["upstreamCalls"] == 3


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("{ hallo }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("query ($n: Int!) { count(number: $n) }", {}, "BAD_USER_INPUT"),
        ("mutation { ship }", {}, "FORBIDDEN"),
        ("subscription { missing }", {}, "NOT_FOUND"),
    ],
)
async def test_a_refused_operation_gets_an_error_and_its_id_is_free_again(
    gateway: Gateway, query: str, variables: dict[str, Any], code: str
) -> None:
    async with acknowledged(gateway) as socket:
        for _ in range(2):
            await subscribe(socket, "1", query, **variables)
            message = await hear(socket)
            assert (message["id"], message["type"]) == ("1", "error")
            assert [one["extensions"]["code"] for one in message["payload"]] == [code]
    assert "shipped" not in sample.STEPS


FRAMES = [
    "[1]",
    "1",
    "nonsense",
    "{}",
    '{"type": 5}',
    '{"type": "nonsense"}',
    '{"type": "subscribe", "payload": {"query": "{ hello }"}}',
    '{"type": "subscribe", "id": "", "payload": {"query": "{ hello }"}}',
    '{"type": "subscribe", "id": 7, "payload": {"query": "{ hello }"}}',
    '{"type": "subscribe", "id": "1", "payload": 5}',
    '{"type": "subscribe", "id": "1"}',
    '{"type": "subscribe", "id": "1", "payload": {"query": 5}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "variables": []}}',
    '{"type": "complete"}',
    '{"type": "ping", "type": "pong"}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "\\ud800"}}',
    '{"type": "ping", "payload": {"x": ' + "[" * 300 + "]" * 300 + "}}",
    b'{"type": "ping"}',
    '{"type": "ping", "payload": 5}',
    '{"type": "pong", "payload": []}',
    json.dumps({"type": "subscribe", "id": "x" * (LONGEST_ID + 1), "payload": {"query": "{ hello }"}}),
]


@pytest.mark.parametrize("frame", FRAMES, ids=repr)
async def test_a_malformed_frame_closes_with_4400(gateway: Gateway, frame: str | bytes) -> None:
    async with acknowledged(gateway) as socket:
        await socket.send(frame)
        assert (await closed(socket))[0] == 4400


@pytest.mark.parametrize("payload", [[1], [], 0, "", False])
async def test_a_mad_init_closes_with_4400(gateway: Gateway, payload: Any) -> None:
    async with opened(gateway) as socket:
        await say(socket, type="connection_init", payload=payload)
        assert (await closed(socket))[0] == 4400


async def test_no_key_and_no_good_key_close_with_4401_and_4403(gateway: Gateway) -> None:
    async with opened(gateway) as socket:
        await say(socket, type="connection_init")
        assert await closed(socket) == (4401, "Unauthorized")
    async with opened(gateway) as socket:
        await say(socket, type="connection_init", payload={"Authorization": "Bearer acorn_unknown"})
        assert await closed(socket) == (4403, "Forbidden")


async def test_subscribing_before_the_acknowledgement_closes_with_4401(gateway: Gateway) -> None:
    async with opened(gateway) as socket:
        await subscribe(socket, "1", "{ hello }")
        assert await closed(socket) == (4401, "Unauthorized")


async def test_a_second_init_closes_with_4429(gateway: Gateway) -> None:
    async with acknowledged(gateway) as socket:
        await say(socket, type="connection_init")
        assert await closed(socket) == (4429, "Too many initialisation requests")


async def test_silence_closes_with_4408(gateway: Gateway) -> None:
    sockets: Any = gateway.app._sockets
    sockets.pace = Pace(init_s=0.1)
    try:
        async with opened(gateway) as socket:
            assert await closed(socket) == (4408, "Connection initialisation timeout")
    finally:
        sockets.pace = Pace()


async def test_what_came_in_time_counts_although_it_is_read_late(gateway: Gateway) -> None:
    """A process that takes in a crowd is busy for longer than its clocks allow a client."""
    sockets: Any = gateway.app._sockets
    payload = {"Authorization": f"Bearer {await gateway.key('read')}"}
    sockets.pace = Pace(init_s=0.2)
    try:
        async with opened(gateway) as socket:
            await say(socket, type="connection_init", payload=payload)
            time.sleep(0.4)  # noqa: ASYNC251  # the whole loop is busy
            assert await hear(socket) == {"type": "connection_ack"}
    finally:
        sockets.pace = Pace()


async def test_a_second_use_of_a_running_id_closes_with_4409(gateway: Gateway) -> None:
    async with acknowledged(gateway) as socket:
        await subscribe(socket, "1", "subscription { quiet }")
        await subscribe(socket, "1", "{ hello }")
        assert await closed(socket) == (4409, "Subscriber for 1 already exists")


async def test_a_reason_fits_into_its_frame(gateway: Gateway) -> None:
    """Longer ones would break the frame off, and the client would be told nothing."""
    async with acknowledged(gateway) as socket:
        for _ in range(2):
            await subscribe(socket, "é" * LONGEST_ID, "subscription { quiet }")
        code, reason = await closed(socket)
        assert (code, reason) == (4409, "Subscriber for " + "é" * 54)


async def test_other_protocols_close_with_4406(gateway: Gateway) -> None:
    for protocols in ([websockets.Subprotocol("graphql-ws")], None):
        async with opened(gateway, subprotocols=protocols) as socket:
            assert (await closed(socket))[0] == 4406


async def test_a_page_of_another_origin_gets_no_connection(gateway: Gateway) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with opened(gateway, origin=websockets.Origin("https://evil.example")):
            pass
    assert caught.value.response.status_code == 403
    async with acknowledged(gateway, origin=websockets.Origin(gateway.url)) as socket:
        await say(socket, type="ping")
        assert await hear(socket) == {"type": "pong"}


async def test_completing_ends_the_subscription_and_frees_its_id(gateway: Gateway) -> None:
    sample.STEPS.clear()
    async with acknowledged(gateway) as socket:
        await subscribe(socket, "1", "subscription { quiet }")
        await until(lambda: sample.STEPS == ["began"])
        await say(socket, type="complete", id="1")
        await until(lambda: sample.STEPS == ["began", "ended"])
        await say(socket, type="complete", id="1")
        await subscribe(socket, "1", "{ hello }")
        assert (await hear(socket))["payload"] == {"data": {"hello": "Hello world"}}


async def test_leaving_ends_everything(gateway: Gateway) -> None:
    sample.STEPS.clear()
    async with acknowledged(gateway) as socket:
        for id in ("1", "2"):
            await subscribe(socket, id, "subscription { quiet }")
        await until(lambda: sample.STEPS == ["began"] * 2)
    await until(lambda: sample.STEPS == ["began"] * 2 + ["ended"] * 2)


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize("mistake", [KeyError("plan"), RuntimeError("dictionary changed size"), OSError("disk full")])
async def test_a_mistake_of_ours_closes_with_4500_and_is_logged_with_its_trace(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mistake: Exception
) -> None:
    async def mistaken(*_: object) -> None:
        raise mistake

    async with acknowledged(gateway) as socket:
        monkeypatch.setattr(Admission, "plan", mistaken)
        await subscribe(socket, "1", "{ hello }")
        assert await closed(socket) == (4500, "Internal server error")
    [record] = failures(caplog)
    assert record.msg == "socket.failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is mistake


@pytest.mark.parametrize("gone", [ClientDisconnected(), RuntimeError("Unexpected, after sending 'websocket.close'.")])
async def test_a_client_that_is_gone_when_it_is_told_something_is_no_mistake(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, gone: Exception
) -> None:
    """As our server raises it in `send`, before it tells of the disconnect."""
    sent: list[str] = []

    async def send(message: Any) -> None:
        if sent[-1:] == ["websocket.send"]:  # the acknowledgement
            raise gone
        sent.append(message["type"])

    said = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": json.dumps({"type": "connection_init"})},
        {"type": "websocket.receive", "text": json.dumps({"type": "ping"})},
    ]

    async def receive() -> Any:
        return said.pop(0) if said else await asyncio.Event().wait()

    authorization = f"Bearer {await gateway.key('read')}".encode()
    scope = {"type": "websocket", "subprotocols": [PROTOCOL], "headers": [(b"authorization", authorization)]}
    sockets: Any = gateway.app._sockets
    await asyncio.wait_for(sockets(scope, receive, send), 30)
    assert sent == ["websocket.accept", "websocket.send"]
    assert failures(caplog) == []


async def test_one_connection_runs_so_many_operations_and_no_more(gateway: Gateway) -> None:
    async with acknowledged(gateway) as socket:
        for number in range(MOST_OPERATIONS + 1):
            await subscribe(socket, str(number), "subscription { quiet }")
        assert (await closed(socket))[0] == 4429


async def test_a_revoked_key_closes_all_its_connections(fresh: Gateway) -> None:
    sockets: Any = fresh.app._sockets
    sockets.expiry = Expiry(fresh.app.standing.keys, recheck_s=0.2)
    async with acknowledged(fresh) as socket, acknowledged(fresh) as another:
        async with fresh.store.begin() as tx:
            [key] = await api_key.all(tx)
            await api_key.revoke(tx, key.id)
        for one in (socket, another):
            assert await closed(one) == (4403, "Forbidden: the key is no longer valid")


async def test_a_key_that_expires_closes_its_connection_at_that_instant(fresh: Gateway) -> None:
    sample.STEPS.clear()
    await fresh.expire("read")
    async with acknowledged(fresh) as socket, acknowledged(fresh, "ship") as another:
        await subscribe(socket, "1", "subscription { quiet }")
        await until(fresh.let_expire)
        assert await closed(socket) == (4403, "Forbidden: the key is no longer valid")
        await until(lambda: sample.STEPS in (["began", "ended"], []))
        await say(another, type="ping")
        assert await hear(another) == {"type": "pong"}


async def test_the_server_pings_as_long_as_it_is_answered(gateway: Gateway) -> None:
    sockets: Any = gateway.app._sockets
    sockets.pace = Pace(ping_s=0.3)
    try:
        async with acknowledged(gateway) as socket:
            for _ in range(3):
                assert await hear(socket) == {"type": "ping"}
                await say(socket, type="pong", payload={"at": 1})
            assert await hear(socket) == {"type": "ping"}
            assert await closed(socket) == (4408, "No pong came in time")
    finally:
        sockets.pace = Pace()


async def test_a_ping_is_answered_with_what_came_along(gateway: Gateway) -> None:
    async with acknowledged(gateway) as socket:
        await say(socket, type="pong")  # unasked, which is allowed
        await say(socket, type="ping", payload={"at": [1, "x"]})
        assert await hear(socket) == {"type": "pong", "payload": {"at": [1, "x"]}}


async def test_nothing_is_said_before_the_acknowledgement(gateway: Gateway) -> None:
    sockets: Any = gateway.app._sockets
    sockets.pace = Pace(ping_s=0.01)
    try:
        async with opened(gateway) as socket:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.2)
            await say(socket, type="connection_init", payload={"Authorization": f"Bearer {await gateway.key('read')}"})
            assert [await hear(socket), await hear(socket)] == [{"type": "connection_ack"}, {"type": "ping"}]
    finally:
        sockets.pace = Pace()


async def test_a_key_gone_bad_starts_nothing_on_an_open_connection(fresh: Gateway) -> None:
    async with acknowledged(fresh, "ship") as socket:
        await subscribe(socket, "1", "mutation { ship }")
        assert (await hear(socket))["payload"] == {"data": {"ship": "shipped"}}
        assert (await hear(socket))["type"] == "complete"
        async with fresh.store.begin() as tx:
            [key] = await api_key.all(tx)
            await api_key.revoke(tx, key.id)
        sample.STEPS.clear()
        fresh.app.standing.keys._known.clear()  # as five seconds later
        await subscribe(socket, "2", "mutation { ship }")
        assert await closed(socket) == (4403, "Forbidden: the key is no longer valid")
    assert sample.STEPS == []


async def test_without_the_database_an_operation_is_told_so_and_the_connection_lives(
    fresh: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acknowledged(fresh) as socket:
        keys = fresh.app.standing.keys
        away = Store("postgresql://nobody@127.0.0.1:9/none")
        keys._known.clear()
        monkeypatch.setattr(keys, "_store", away)
        await subscribe(socket, "1", "{ hello }")
        message = await hear(socket)
        assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "UNAVAILABLE")
        monkeypatch.undo()
        await away.close()
        await subscribe(socket, "1", "{ hello }")
        assert (await hear(socket))["payload"] == {"data": {"hello": "Hello world"}}


async def test_a_connection_outlives_the_clock_of_connections_at_rest(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rest_s(self: server_module.Http) -> float:
        self._resting = True
        return 0.3

    monkeypatch.setattr(server_module.Http, "_rest_s", rest_s)
    async with acknowledged(gateway) as socket:
        await subscribe(socket, "s", "subscription { counted(to: 1) }")
        assert (await hear(socket))["type"] == "next"
        # Another connection comes later, is at rest after its answer, and is let go first.
        host, _, port = gateway.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(-1), 30)).endswith(b"ok\n")
        writer.close()
        assert (await hear(socket))["type"] == "complete"
        await say(socket, type="ping")
        assert await hear(socket) == {"type": "pong"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("content-length: 3\r\n", b"400"),
        ("transfer-encoding: chunked\r\n", b"400"),
        ("".join(f"x-{number}: y\r\n" for number in range(200)), b"431"),
        (f"cookie: {'x' * 9_000}\r\n", b"431"),
    ],
    ids=["length", "chunked", "many", "long"],
)
async def test_a_handshake_that_cannot_be_read_is_refused(gateway: Gateway, headers: str, status: bytes) -> None:
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    offer = (
        "GET /graphql HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )
    for more, wanted in ((headers, status), ("", b"101")):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{offer}{more}\r\n".encode())
        assert (await asyncio.wait_for(reader.readline(), 30)).split(b" ")[1] == wanted
        if wanted != b"101":
            await asyncio.wait_for(reader.read(-1), 30)  # and hangs up
        writer.close()


@pytest.mark.parametrize(("head", "code"), [(b"\x89\x80", 1008), (b"\x00\x80", 1009)], ids=["pings", "continuations"])
async def test_frames_that_say_nothing_are_not_taken_by_the_thousand(gateway: Gateway, head: bytes, code: int) -> None:
    few = server_module.MOST_FRAMES - 10
    begun = b"" if code == 1008 else b"\x01\x80" + bytes(4)
    for many, frames in ((False, few), (True, 20 * few)):
        async with acknowledged(gateway) as socket:
            socket.transport.write(begun + (head + bytes(4)) * frames)
            if many:
                assert (await closed(socket))[0] in (code, 1008)
            elif code == 1008:
                await say(socket, type="ping")
                assert await hear(socket) == {"type": "pong"}
            else:
                socket.transport.write(b"\x80\x80" + bytes(4))
                assert (await closed(socket))[0] == 4400  # a whole message, of no character


async def test_a_cursor_resumes_without_a_gap(fresh: Gateway) -> None:
    await fresh.tell("A", 2)
    async with acknowledged(fresh) as socket:
        await subscribe(socket, "1", FOLLOW, s="A", a="1")
        await fresh.tell("A", 2)
        told = [(await hear(socket))["payload"]["data"]["follow"]["cursor"] for _ in range(3)]
        assert told == ["2", "3", "4"]
        await subscribe(socket, "2", FOLLOW, s="A", a="99")
        message = await hear(socket)
        assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "RESYNC")


async def test_a_client_that_stops_reading_is_closed_with_4900(fresh: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The close frame waits behind what the client has not read, and the connection is gone a moment later either way."""
    monkeypatch.setattr(server_module, "GRACE_S", 3.0)
    reader, writer = await _raw_socket(fresh)
    await fresh.tell("A")
    hub = fresh.app.standing.hub
    await until(lambda: hub.subscriber_count() == 1)
    for _ in range(30):
        await fresh.tell("A", 50)
        if hub.subscriber_count() == 0:
            break
        await asyncio.sleep(0.05)
    await until(lambda: hub.subscriber_count() == 0)
    everything = await asyncio.wait_for(reader.read(-1), 30)
    reason = b"resume after your last cursor"
    assert everything.endswith(bytes([0x88, 2 + len(reason)]) + (4900).to_bytes(2, "big") + reason)
    writer.close()


async def test_a_client_that_never_reads_again_is_dropped_and_others_notice_nothing(
    fresh: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "GRACE_S", 0.2)
    _, writer = await _raw_socket(fresh)
    hub, state = fresh.app.standing.hub, fresh.server.server_state
    async with acknowledged(fresh) as quick:
        await subscribe(quick, "1", FOLLOW, s="A", a="0")
        await until(lambda: hub.subscriber_count() == 2)
        told, heard = 0, 0
        while hub.subscriber_count() == 2 and told < 1500:
            await fresh.tell("A", 50)
            told += 50
            while heard < told:
                heard += 1
                assert (await hear(quick))["payload"]["data"]["follow"]["cursor"] == str(heard)
        stuck: Any = writer.get_extra_info("sockname")
        await until(lambda: stuck not in [getattr(one, "client", None) for one in state.connections])
        assert hub.subscriber_count() == 1
    writer.close()


async def test_stopping_says_resume_and_closes_with_1001(fresh: Gateway) -> None:
    async with acknowledged(fresh) as socket:
        await subscribe(socket, "1", "subscription { quiet }")
        await until(lambda: len(next(iter(_connections(fresh)))._operations) == 1)
        fresh.server.should_exit = True
        message = await hear(socket)
        assert (message["id"], message["type"]) == ("1", "error")
        assert [one["extensions"]["code"] for one in message["payload"]] == ["RESUME"]
        assert (await closed(socket))[0] == 1001


def _connections(gateway: Gateway) -> Any:
    sockets: Any = gateway.app._sockets
    return sockets._open


async def _raw_socket(gateway: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A subscribed client whose reading is in our hands."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        f"GET /graphql HTTP/1.1\r\nhost: {host}:{port}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        f"sec-websocket-key: {base64.b64encode(os.urandom(16)).decode()}\r\nsec-websocket-version: 13\r\n"
        f"sec-websocket-protocol: graphql-transport-ws\r\nauthorization: Bearer {await gateway.key('read')}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(_frame({"type": "connection_init"}))
    query = 'subscription { follow(subject: "A", after: "0", size: 50000) { cursor text } }'
    await reader.readuntil(b'{"type":"connection_ack"}')
    writer.write(_frame({"type": "subscribe", "id": "1", "payload": {"query": query}}))
    await writer.drain()
    return reader, writer


def _frame(message: dict[str, Any]) -> bytes:
    """A masked text frame; a mask of zeros changes nothing."""
    text = json.dumps(message).encode()
    length = bytes([0x80 | len(text)]) if len(text) < 126 else bytes([0x80 | 126]) + len(text).to_bytes(2, "big")
    return b"\x81" + length + b"\0\0\0\0" + text

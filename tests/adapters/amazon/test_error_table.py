"""Each thing that can go wrong at Amazon has exactly one policy, the wire meets it so, and the docs print it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from redis.asyncio import Redis

from adapters.amazon.errors import POLICIES
from adapters.policy import Again, Pauses, Policy, table
from adapters.port import OrderKey, StockKey
from adapters.transport import Limits, Transport
from domain.budget import Ask
from domain.errors import HouseError, MissingRole, Refused, Unauthorized
from domain.ids import ChannelSku
from tests.adapters.amazon.bench import Desk, Line, go, make_config, make_desk, make_parcel, make_pool

PAGE = Path(__file__).parents[3] / "docs" / "amazon.md"
KEY = OrderKey("902-1106328-1059050", "US")
DENIED = "Access to requested resource is denied."
EMPTY: Any = {"payload": {"inventorySummaries": []}}

Wire: TypeAlias = Sequence[httpx.Response | Exception]


def said(status: int, code: str, message: str, details: str = "") -> httpx.Response:
    return httpx.Response(status, json={"errors": [{"code": code, "message": message, "details": details}]})


def login_says(status: int, error: str) -> Callable[[int], httpx.Response]:
    """From the second token on; the first is given."""
    token = {"access_token": "Atza|1", "expires_in": 3600}
    refused = {"error": error, "error_description": "No."}
    return lambda number: httpx.Response(200, json=token) if number == 1 else httpx.Response(status, json=refused)


HTML = b"<html><head><title>400 Bad Request</title></head></html>"
EXPIRED = said(403, "Unauthorized", DENIED, "The access token you provided has expired.")

# What the wire says for each row, in order; the last answer stays.
WIRE: dict[str, Wire] = {
    "400, an envelope of errors": [said(400, "InvalidInput", "Invalid Input")],
    "400, a page of HTML from in front of the API": [
        httpx.Response(400, content=HTML, headers={"content-type": "text/html"})
    ],
    "401, no token or a malformed one": [said(401, "Unauthorized", DENIED)],
    "403, the access token has expired": [EXPIRED],
    "403 with a fresh token: a missing role": [said(403, "Unauthorized", DENIED)],
    "403 with a fresh token: another region or seller": [said(403, "AccessDeniedException", "No.")],
    "403, then login's `invalid_grant`: consent revoked or run out": [EXPIRED],
    "login's `invalid_client`: a wrong secret": [EXPIRED],
    "404": [said(404, "NotFound", "The specified resource does not exist.")],
    "409": [said(409, "Conflict", "It is there already.")],
    "413": [said(413, "RequestEntityTooLarge", "Too large.")],
    "415": [said(415, "UnsupportedMediaType", "Not JSON.")],
    "422": [said(422, "Unprocessable", "No.")],
    "any other 4xx but 408": [said(418, "Teapot", "No.")],
    "429": [said(429, "QuotaExceeded", "You exceeded your quota for the requested resource.")],
    "408": [said(408, "RequestTimeout", "Too slow.")],
    "500": [said(500, "InternalFailure", "We encountered an internal error.")],
    "503": [said(503, "ServiceUnavailable", "Service is temporarily unavailable.")],
    "any other status": [httpx.Response(502)],
    "no connection": [httpx.ConnectError("refused")],
    "a timeout": [httpx.ReadTimeout("slow")],
    "a reset": [httpx.ReadError("reset by peer")],
    "a body cut short": [httpx.RemoteProtocolError("peer closed connection without sending complete message body")],
    "200 with HTML instead of JSON": [
        httpx.Response(200, content=b"<html>welcome</html>", headers={"content-type": "text/html"})
    ],
    "200 in a wrong charset": [
        httpx.Response(200, content=json.dumps(EMPTY).encode("utf-16"), headers={"content-type": "application/json"})
    ],
}
LOGIN = {
    "403, then login's `invalid_grant`: consent revoked or run out": login_says(400, "invalid_grant"),
    "login's `invalid_client`: a wrong secret": login_says(401, "invalid_client"),
}


async def read(desk: Desk) -> None:
    await desk.port.stock([make_pool(desk.config)], [StockKey(ChannelSku("A1"))], Ask())


async def write(desk: Desk) -> None:
    await desk.port.confirm_shipment(KEY, make_parcel(("1", 1)), Ask(), go)


async def other(desk: Desk) -> None:
    await desk.port.check(Ask())


async def met(call: Any, desk: Desk) -> HouseError:
    with pytest.raises(HouseError) as caught:
        await call(desk)
    return caught.value


def lay(line: Line, policy: Policy) -> None:
    line.answers.clear()
    line.answers.extend(WIRE[policy.met])
    line.login = LOGIN.get(policy.met, line.login)


def test_each_failure_has_one_row_and_each_row_its_wire() -> None:
    assert Counter(one.met for one in POLICIES) == Counter(list(WIRE))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda one: one.met)
async def test_a_read_ends_as_the_table_says(desk: Desk, line: Line, policy: Policy) -> None:
    lay(line, policy)
    assert type(await met(read, desk)) is policy.read
    assert len(line.calls) == (2 if policy.again is Again.RENEWED else 1)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda one: one.met)
async def test_a_write_ends_as_the_table_says(desk: Desk, line: Line, policy: Policy) -> None:
    lay(line, policy)
    # A success of a write has no body, so that whatever is told with 200 may come from something in between.
    assert type(await met(write, desk)) is policy.write
    assert len(line.calls) == (2 if policy.again is Again.RENEWED else 1)


@pytest.mark.parametrize("policy", [one for one in POLICIES if one.again is not Again.RENEWED], ids=lambda one: one.met)
async def test_what_waits_is_what_the_table_says(desk: Desk, line: Line, policy: Policy) -> None:
    lay(line, policy)
    problem = await met(read, desk)
    calls = len(line.calls)
    assert (isinstance(problem, Unauthorized) and problem.pauses) == (policy.pauses is Pauses.ACCOUNT)
    assert isinstance(problem, MissingRole) == (policy.pauses is Pauses.OPERATION)
    assert isinstance(problem, Refused) == (policy.again is Again.NEVER)
    if policy.pauses is Pauses.OPERATION:
        # Its next caller is refused without a call; who needs another role is not.
        assert isinstance(await met(read, desk), MissingRole)
        assert len(line.calls) == calls
        line.answers.clear()
        line.answers.append(httpx.Response(200, json={"payload": []}))
        await other(desk)


async def test_an_expired_token_is_renewed_and_nobody_hears_of_it(desk: Desk, line: Line) -> None:
    line.answers.extend([EXPIRED, httpx.Response(200, json=EMPTY)])
    await read(desk)
    assert len(line.logins) == 2


def test_the_docs_print_the_table() -> None:
    assert table(POLICIES) in PAGE.read_text(encoding="utf-8")


# The same over a real socket: what a test's wire calls by name is what the network does.


@pytest.fixture
async def rude() -> AsyncIterator[Callable[[str], Any]]:
    """Starts a server that gives tokens, and to every call the raw words that it is told, then hangs up."""
    servers: list[asyncio.Server] = []

    async def start(words: str) -> str:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(one[15:]) for one in head.lower().split(b"\r\n") if one.startswith(b"content-length:")), 0
            )
            await reader.readexactly(length)
            if b"/auth/o2/token" in head:
                body = b'{"access_token": "Atza|1", "expires_in": 3600}'
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body)
                )
            elif words == "hang":
                await reader.read()
            else:
                writer.write(words.encode())
            writer.close()

        servers.append(await asyncio.start_server(talk, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


CUT = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{"


@pytest.mark.parametrize(("words", "name"), [("", "a reset"), (CUT, "a body cut short"), ("hang", "a timeout")])
async def test_the_network_breaks_off_as_the_table_says(
    redis: Redis, rude: Callable[[str], Any], words: str, name: str
) -> None:
    policy = next(one for one in POLICIES if one.met == name)
    for call, kind in ((read, policy.read), (write, policy.write)):
        transport = Transport(limits=Limits(total_s=1.0 if words == "hang" else 60.0))
        desk = make_desk(redis, make_config(endpoint=await rude(words)), transport=transport)
        assert type(await met(call, desk)) is kind
        await desk.close()

"""Calls to strangers go to the very address that was judged, and nowhere a redirect or a changed name leads."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from adapters.outside import ANSWER_BYTES, Guard, Outside, excerpt, retry_after_s
from adapters.transport import Answer, NothingSent
from domain.errors import Invalid, OutcomeUnknown
from domain.target import Reach

HERE = Reach(loopback=True)


@dataclass(slots=True)
class Names:
    """What names lead to, look by look; the last for ever."""

    found: dict[str, list[list[str]]]
    looks: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> list[str]:
        self.looks.append(host)
        if host not in self.found:
            raise OSError("no such name")
        answers = self.found[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@dataclass(slots=True)
class Server:
    """Somebody on this machine who counts what comes."""

    port: int = 0
    heard: list[str] = field(default_factory=list)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made, over = Server(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        made.heard.append(request.headers["host"])
        match request.path:
            case "/away":
                return web.Response(status=302, headers={"location": f"http://127.0.0.1:{made.port}/"})
            case "/long":
                return web.Response(body=b"x" * (ANSWER_BYTES + 1))
            case "/packed":
                # A kilobyte that would be a gigabyte.
                twice = gzip.compress(gzip.compress(bytes(2**20)))
                return web.Response(body=twice, headers={"content-encoding": "gzip, gzip"})
            case "/snow":
                # As text it is no latin-1.
                return web.Response(status=500, text="because", headers={"x-weather": "\N{SNOWMAN}"})
            case "/slow":
                await over.wait()
        return web.Response(text="taken")

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    over.set()
    await runner.cleanup()


async def post(names: Names, url: str, reach: Reach = HERE, timeout_s: float = 10) -> Answer:
    outside = Outside(Guard(reach, names))
    try:
        return await outside.post(url, {"content-type": "application/json"}, b"{}", timeout_s)
    finally:
        await outside.close()


async def test_a_name_is_looked_up_judged_and_called_at_that_address(server: Server) -> None:
    names = Names({"localhost": [["127.0.0.1"]]})
    answer = await post(names, f"http://localhost:{server.port}/x")
    assert (answer.status, server.heard, names.looks) == (200, [f"localhost:{server.port}"], ["localhost"])


@pytest.mark.parametrize(
    "bad", [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]]
)
async def test_a_name_that_leads_inside_is_not_called(bad: list[str]) -> None:
    names = Names({"hooks.example.com": [bad]})
    with pytest.raises(Invalid, match="leads to"):
        await Guard(Reach(), names).check("https://hooks.example.com/")
    with pytest.raises(Invalid, match="leads to"):
        await post(names, "https://hooks.example.com/", Reach())


async def test_a_name_that_turns_inside_after_it_was_checked_is_not_called(server: Server) -> None:
    """Rebinding: public when it is subscribed, this machine when it is called."""
    names = Names({"hooks.example.com": [["93.184.215.14"], ["127.0.0.1"]]})
    url = f"https://hooks.example.com:{server.port}/"
    reach = Reach(ports=frozenset({server.port}))
    await Guard(reach, names).check(url)
    with pytest.raises(Invalid, match="this very machine"):
        await post(names, url, reach)
    assert server.heard == []
    assert len(names.looks) == 2


async def test_a_redirect_is_an_answer_and_nobody_follows_it(server: Server) -> None:
    answer = await post(Names({}), f"http://127.0.0.1:{server.port}/away")
    assert (answer.status, len(server.heard)) == (302, 1)


async def test_an_answer_counts_however_long_it_is_and_is_never_unpacked(server: Server) -> None:
    long = await post(Names({}), f"http://127.0.0.1:{server.port}/long")
    assert (long.status, len(long.body)) == (200, ANSWER_BYTES)
    packed = await post(Names({}), f"http://127.0.0.1:{server.port}/packed")
    assert (packed.status, packed.body) == (200, gzip.compress(gzip.compress(bytes(2**20))))


async def test_a_header_that_is_no_latin_1_is_no_trouble(server: Server) -> None:
    answer = await post(Names({}), f"http://127.0.0.1:{server.port}/snow")
    assert (answer.status, excerpt(answer)) == (500, "because")


async def test_the_path_that_opens_the_door_is_in_no_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="adapters")
    await post(Names({}), f"http://127.0.0.1:{server.port}/hooks/opensesame?key=opensesame")
    [line] = [one for one in caplog.records if one.message == "upstream.called"]
    assert vars(line)["host"] == "127.0.0.1"  # the twin: it is told that somebody was called
    assert not any("opensesame" in str(vars(one)) for one in caplog.records)


async def test_an_answer_that_is_too_slow_is_none(server: Server) -> None:
    with pytest.raises((TimeoutError, OutcomeUnknown)):
        await post(Names({}), f"http://127.0.0.1:{server.port}/slow", timeout_s=0.2)


async def test_a_name_that_leads_nowhere_is_told_as_such() -> None:
    with pytest.raises(Invalid, match="no address just now"):
        await Guard(Reach(), Names({})).check("https://hooks.example.com/")
    with pytest.raises(NothingSent):
        await post(Names({}), "https://hooks.example.com/", Reach())


async def test_names_whose_servers_never_answer_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    over, hanging = threading.Event(), threading.Semaphore(0)

    def look(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host.startswith("hangs"):
            hanging.release()
            over.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look)
    guard = Guard(Reach())
    # The same name again and again takes no more than one thread.
    names = [f"hangs{n}.example.com" for n in range(64)] * 4
    looks = [asyncio.create_task(guard.resolve(name, 443)) for name in names]
    try:
        for _ in range(64):
            assert await asyncio.to_thread(hanging.acquire, timeout=30)
        async with asyncio.timeout(30):
            [found] = await guard.resolve("hooks.example.com", 443)
        assert found["host"] == "93.184.215.14"
        assert not hanging.acquire(blocking=False)
        # Who gives up leaves the look to the others.
        looks[0].cancel()
    finally:
        over.set()
    ended = await asyncio.gather(*looks, return_exceptions=True)
    assert [isinstance(one, list) for one in ended] == [False] + [True] * (len(looks) - 1)


def test_what_a_failure_says_is_kept_short_and_without_secrets() -> None:
    body = b'{"error": "no such flow", "email": "jo@example.com", "token": "abc", "more": "' + b"x" * 5_000 + b'"}'
    kept = excerpt(Answer(400, {"content-type": "application/json"}, body, None)) or ""
    assert "no such flow" in kept
    assert len(kept) <= 1_024
    assert "jo@example.com" not in kept
    assert "abc" not in kept
    assert excerpt(Answer(500, {}, b"", None)) is None


@pytest.mark.parametrize(
    ("told", "least_s", "most_s"),
    [
        ("17", 17, 17),
        ("999999999", 3_600, 3_600),
        ("Fri, 31 Dec 2999 23:59:59 GMT", 3_600, 3_600),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0),
        ("-5", 0, 0),
        ("soon", 0, 0),
        ("nan", 0, 0),
        ("", 0, 0),
    ],
)
def test_retry_after_is_read_in_both_its_forms(told: str, least_s: float, most_s: float) -> None:
    assert least_s <= retry_after_s({"Retry-After": told}, 3_600) <= most_s

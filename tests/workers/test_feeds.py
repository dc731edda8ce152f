"""Outgoing feeds: every change is told, signed, in order and at least once, and one that fails holds up nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from adapters.transport import Transport
from domain.channel import LEDGER, Location, LocationKind
from domain.feed import FeedOut, signed
from domain.ids import LocationCode, Sku
from domain.ledger import EntryKind, NewEntry
from store import feed as feed_store
from store import ledger
from store.feed import FeedState
from store.session import Store
from tests.store.bench import give_places
from tests.workers.fake_port import make_port
from tests.workers.house import SHORT, make_deps, until
from workers import feeds as worker_feeds
from workers.deps import Deps
from workers.feeds import Feeds
from workers.worker import work

KEY = b"the secret that signs: 32 bytes!"
PLACES = [
    Location(LocationCode(code), name, LocationKind.WAREHOUSE, LEDGER, "")
    for code, name in (("BER", "Berlin"), ("RNO", "Reno"))
]


@dataclass(slots=True)
class Receiver:
    """Somebody who is told; `answers` are what it says next, then 204."""

    answers: list[int | Exception] = field(default_factory=list)
    heard: list[httpx.Request] = field(default_factory=list)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.heard.append(request)
        said = self.answers.pop(0) if self.answers else 204
        if isinstance(said, Exception):
            raise said
        return httpx.Response(said, headers={"location": "https://elsewhere.example"})

    @property
    def told(self) -> list[list[dict[str, Any]]]:
        """The data of each delivery."""
        return [json.loads(request.content)["data"] for request in self.heard]


@dataclass(slots=True)
class Teller:
    """The loop under test, one look at a time."""

    store: Store
    feeds: Feeds
    receivers: dict[str, Receiver]

    async def look(self) -> None:
        """Give events their places and look once."""
        await give_places(self.store)
        await self.feeds.once()

    async def states(self) -> dict[str, FeedState]:
        async with self.store.begin() as tx:
            return {state.feed: state for state in await feed_store.states(tx)}

    async def hurry(self) -> None:
        """Pauses are over."""
        async with self.store.begin() as tx:
            await tx.execute(text("update feed_cursor set due_at = now()"))


def feed(id: str = "planning", **more: Any) -> FeedOut:
    return FeedOut(id, f"https://{id}.example/stock", KEY, **more)


def deps_of(store: Store, redis: Redis, *feeds: FeedOut) -> Deps:
    made = make_deps(store, redis, [make_port()], feeds=feeds)
    return Deps(**{name: getattr(made, name) for name in made.__slots__} | {"locations": PLACES})


@pytest.fixture
async def telling(store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    """Makes a teller of feeds that has begun, in a house with four products. Pauses end only by `hurry`."""
    monkeypatch.setattr(worker_feeds, "jittered", lambda *_, **__: 3600.0)
    async with store.begin() as tx:
        for sku in ("A", "B", "C", "KIT"):
            await tx.execute(text("insert into product (sku, title) values (:sku, :sku)"), {"sku": sku})
    made: list[Transport] = []

    async def make(*feeds: FeedOut) -> Teller:
        receivers = {one.id: Receiver() for one in feeds}
        wire = httpx.MockTransport(lambda request: receivers[request.url.host.partition(".")[0]].answer(request))
        made.append(Transport(wire=wire))
        teller = Teller(store, Feeds(deps_of(store, redis, *feeds), lambda: None, made[-1]), receivers)
        await teller.look()
        return teller

    yield make
    for transport in made:
        await transport.close()


async def moved(store: Store, sku: str, units: int, location: str = "BER", inbound: int = 0) -> None:
    kind = EntryKind.ADJUSTMENT
    new = NewEntry(Sku(sku), LocationCode(location), kind, "x", "me", "test", on_hand=units, inbound=inbound)
    async with store.begin() as tx:
        await ledger.post(tx, [new])


async def test_a_change_is_told_signed_with_the_numbers_of_the_moment(telling: Any, store: Store) -> None:
    teller = await telling(feed())
    await moved(store, "A", 5)
    await moved(store, "A", -2, inbound=7)
    await moved(store, "B", 1, "RNO")
    await teller.look()
    receiver = teller.receivers["planning"]
    [request] = receiver.heard
    body = json.loads(request.content)
    assert (str(request.url), request.method, body["type"]) == (
        "https://planning.example/stock",
        "POST",
        "stock.changed",
    )
    # Three changes of two SKUs.
    assert [{name: value for name, value in one.items() if name != "asOf"} for one in body["data"]] == [
        {"sku": "A", "availableToSell": 3, "onHand": 3, "reserved": 0, "inbound": 7, "channels": []},
        {"sku": "B", "availableToSell": 1, "onHand": 1, "reserved": 0, "inbound": 0, "channels": []},
    ]
    assert abs(datetime.fromisoformat(body["data"][0]["asOf"]) - datetime.now(UTC)) < timedelta(minutes=1)
    headers = request.headers
    assert headers["webhook-id"].startswith("msg_planning_3_")
    assert signed(
        [KEY],
        headers["webhook-id"],
        headers["webhook-timestamp"],
        request.content,
        headers["webhook-signature"],
        datetime.now(UTC).timestamp(),
    )
    await teller.look()
    assert len(receiver.heard) == 1
    assert (await teller.states())["planning"].seq == 3


async def test_what_was_before_a_feed_is_not_told(telling: Any, store: Store) -> None:
    await moved(store, "A", 5)
    await give_places(store)
    teller = await telling(feed())
    await teller.look()
    assert teller.receivers["planning"].heard == []
    await moved(store, "B", 5)
    await teller.look()
    assert [[one["sku"] for one in data] for data in teller.receivers["planning"].told] == [["B"]]


@pytest.mark.parametrize("failure", [500, 404, 302, httpx.ConnectError("no route"), httpx.ReadTimeout("slow")], ids=str)
async def test_what_was_not_taken_is_told_again_as_it_is_then(
    telling: Any, store: Store, failure: int | Exception
) -> None:
    teller = await telling(feed())
    receiver = teller.receivers["planning"]
    receiver.answers = [failure, failure]
    await moved(store, "A", 5)
    await teller.look()
    state = (await teller.states())["planning"]
    assert (state.failures, state.seq, bool(state.last_error)) == (1, 0, True)
    await teller.hurry()
    await teller.look()
    assert (await teller.states())["planning"].failures == 2
    await teller.hurry()
    await teller.look()
    state = (await teller.states())["planning"]
    assert (state.failures, state.seq, state.last_error) == (0, 1, None)
    # Each time with the numbers of then, so each time it is another message.
    assert len({request.content for request in receiver.heard}) == 3
    ids = {request.headers["webhook-id"] for request in receiver.heard}
    assert (len(ids), {id.rsplit("_", 1)[0] for id in ids}) == (3, {"msg_planning_1"})
    assert {request.url.host for request in receiver.heard} == {"planning.example"}


async def test_pauses_grow_and_end_at_a_quarter_of_an_hour(
    telling: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings: list[float] = []

    def longest(failures: int, *, first_s: float, most_s: float) -> float:
        ceilings.append(min(most_s, first_s * 2 ** (failures - 1)))
        return 3600.0  # whatever this machine is busy with, a pause of the test ends by `hurry` alone

    monkeypatch.setattr(worker_feeds, "jittered", longest)
    teller = await telling(feed())
    teller.receivers["planning"].answers = [503] * 12
    await moved(store, "A", 5)

    async def heard() -> int:
        await teller.look()
        return len(teller.receivers["planning"].heard)

    async def begun() -> bool:
        return bool(await heard())

    await until(begun)
    for told in range(1, 12):
        assert await heard() == told, "it is left alone during its pause"
        await teller.hurry()
        assert await heard() == told + 1
    assert ceilings[:3] == [2, 4, 8]
    assert ceilings[-1] == 900


async def test_one_that_fails_holds_up_nobody(telling: Any, store: Store) -> None:
    teller = await telling(feed("broken"), feed("sound"))
    teller.receivers["broken"].answers = [500] * 5
    for sku in "ABC":
        await moved(store, sku, 1)
        await teller.look()
    assert len(teller.receivers["broken"].heard) == 1
    assert [[one["sku"] for one in data] for data in teller.receivers["sound"].told] == [["A"], ["B"], ["C"]]
    await teller.hurry()
    teller.receivers["broken"].answers = []
    await teller.look()
    assert [one["sku"] for one in teller.receivers["broken"].told[-1]] == ["A", "B", "C"]


async def test_feeds_are_told_what_they_want_to_know(telling: Any, store: Store) -> None:
    teller = await telling(feed("some", skus=("A*", "C")), feed("reno", locations=(LocationCode("RNO"),)))
    for sku, place, units in (("A", "BER", 1), ("A", "RNO", 2), ("B", "RNO", 3), ("C", "BER", 4)):
        await moved(store, sku, units, place)
    await teller.look()
    [some], [reno] = teller.receivers["some"].told, teller.receivers["reno"].told
    assert [(one["sku"], one["onHand"]) for one in some] == [("A", 3), ("C", 4)]
    assert [(one["sku"], one["onHand"], one["availableToSell"]) for one in reno] == [("A", 2, 3), ("B", 3, 3)]
    await moved(store, "B", 1)
    await teller.look()
    assert len(teller.receivers["some"].heard) == 1
    states = await teller.states()
    assert states["some"].seq == states["reno"].seq == 5


async def test_a_kit_is_told_when_a_component_changes(telling: Any, store: Store) -> None:
    teller = await telling(feed())
    async with store.begin() as tx:
        await tx.execute(text("insert into kit_component (kit, component, quantity) values ('KIT', 'A', 2)"))
    await moved(store, "A", 5)
    await teller.look()
    [told] = teller.receivers["planning"].told
    assert [(one["sku"], one["availableToSell"]) for one in told] == [("A", 5), ("KIT", 2)]


async def test_many_changes_are_told_in_batches(telling: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_feeds, "BATCH", 2)
    teller = await telling(feed())
    for sku in "ABCAB":
        await moved(store, sku, 1)
    for _ in range(4):
        await teller.look()
    assert [[(one["sku"], one["onHand"]) for one in data] for data in teller.receivers["planning"].told] == [
        [("A", 2), ("B", 2)],
        [("A", 2), ("C", 1)],
        [("B", 2)],
    ]


async def test_what_each_channel_was_told_is_told_too(telling: Any, store: Store) -> None:
    teller = await telling(feed())
    numbers: Sequence[tuple[str, str, str, int | None, bool]] = [
        ("shop", "A", "gid1", 3, True),
        ("shop", "A", "gid2", 2, True),
        ("amazon", "A-1", "", 5, True),
        ("amazon", "A-2", "", 6, False),
        ("new", "A", "", None, False),
    ]
    async with store.begin() as tx:
        for channel, sku, place, told, confirmed in numbers:
            await tx.execute(
                text(
                    "insert into channel_stock (channel, channel_sku, place, sku, target, version, target_at, told, confirmed_at)"
                    " values (:channel, :sku, :place, 'A', 9, 1, now(), :told, case when :confirmed then now() end)"
                ),
                {"channel": channel, "sku": sku, "place": place, "told": told, "confirmed": confirmed},
            )
    await moved(store, "A", 5)
    await teller.look()
    [[one]] = teller.receivers["planning"].told
    assert [(told["channel"], told["quantity"], told["confirmedAt"] is None) for told in one["channels"]] == [
        ("amazon", 6, True),
        ("shop", 5, False),
    ]


async def test_two_workers_tell_each_change_once(telling: Any, store: Store, redis: Redis) -> None:
    teller = await telling(feed())
    other = Feeds(deps_of(store, redis, feed()), lambda: None, teller.feeds.transport)
    for sku in "ABC":
        await moved(store, sku, 1)
    await give_places(store)
    await asyncio.gather(teller.feeds.once(), other.once())
    await asyncio.gather(teller.feeds.once(), other.once())
    assert len(teller.receivers["planning"].heard) == 1


async def test_a_worker_that_died_in_the_middle_is_followed_by_another(telling: Any, store: Store) -> None:
    teller = await telling(feed())
    await moved(store, "A", 5)
    await give_places(store)
    async with store.begin() as tx:
        dead = await feed_store.claim(tx, "planning", 30)
    assert dead is not None
    await teller.look()
    assert teller.receivers["planning"].heard == []
    await teller.hurry()
    await teller.look()
    assert len(teller.receivers["planning"].heard) == 1
    # Should it wake up after all, it has nothing to say any more.
    async with store.begin() as tx:
        await feed_store.failed(tx, dead, 900, "late")
    assert (await teller.states())["planning"].failures == 0


async def test_a_worker_tells_its_feeds(store: Store, redis: Redis) -> None:
    heard = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        writer.close()
        heard.set()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/stock"
    async with store.begin() as tx:
        await tx.execute(text("insert into product (sku, title) values ('A', 'A')"))
    deps = deps_of(store, redis, FeedOut("here", url, KEY))
    stop = asyncio.Event()
    working = asyncio.create_task(work(deps, stop, bell_url=None))
    try:
        async with asyncio.timeout(60):
            while True:
                async with store.begin() as tx:
                    if await feed_store.states(tx):
                        break
                await asyncio.sleep(0.01)
            await moved(store, "A", 5)
            await heard.wait()
    finally:
        stop.set()
        await working
        server.close()
    assert SHORT.sweep_s < 1

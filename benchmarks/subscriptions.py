"""How many subscribers one process carries: what each holds, how soon a crowd is told, and whether a restart loses anything.

    python -m benchmarks.subscriptions [--subscribers 10000] [--crowd 1000]

The gateway runs as in production (`acorn serve`) on one core; the subscribers, PostgreSQL and Redis have the others. Nine in ten
follow the stock of three SKUs, one of which a whole crowd follows; the others follow an operation. Each has a connection of its
own. Beside it, in the same run, the same schema and event hub behind Strawberry's own ASGI application.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import orjson
import typer
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import text

from benchmarks.stock_read import CONFIG, seed
from domain.event import EventKind, NewEvent
from domain.operation import Capability, Kind, NewItem, OperationStatus
from gateway.auth import hash_secret, new_secret
from gateway.engines import Engines, start
from gateway.server import listen
from gateway.settings import Settings
from store import api_key, event, migrate, operation
from store.session import Store

MOST_KIB = 60.0
MOST_P99_MS = 100.0
SKUS = 20_000
EVENTS = 30  # told to a crowd, one after the other
SAMPLE = 1_200  # subscribers of the other forms
AGAIN_S = 2.0  # within which a client that was refused tries again
PAUSE_S = 0.5  # between events that are told while the gateway restarts: twenty to a few, and one to a crowd
SCOPES = frozenset({"stock:read", "catalog:read", "shipments:write"})

STOCK = """subscription Stock($skus: [String!]!, $after: String) { stock(skus: $skus, after: $after) {
    cursor stock { sku availableToSell onHand reserved asOf freshness
      levels { location { code name } onHand reserved availableToSell } } } }"""
OPERATION = """subscription Operation($id: ID!, $after: String) { operation(id: $id, after: $after) {
    cursor operation { id status progress { total accepted verified failed } } } }"""


@dataclass(slots=True)
class Wish:
    """What one subscriber follows: the field, its variables, the subjects of the log that concern it, and how many answers tell
    how things stand before the first change."""

    field: str
    query: str
    variables: dict[str, Any]
    subjects: frozenset[str]
    first: int


@dataclass(slots=True)
class Crowd:
    """All subscribers, and what the whole of them has seen."""

    port: int
    key: str
    make: type[Subscriber]
    members: list[Subscriber] = field(default_factory=list)
    arrived: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    open: int = 0
    visit: int = 0  # how many gateways there were before
    lost: int = 0  # connections to the one there is that ended before their time
    staying: bool = True

    async def come(self, wishes: Sequence[Wish]) -> float:
        """Open a connection for each; the seconds until all are told how things stand."""
        began = time.perf_counter()
        fresh = [self.make(self, wish) for wish in wishes]
        self.members += fresh
        for one in fresh:
            self.spawn(one)
        await self.until(lambda: all(one.standing for one in fresh), 300)
        return time.perf_counter() - began

    def spawn(self, one: Subscriber) -> None:
        """Connect it, in a task of its own."""
        task = asyncio.create_task(one.connect())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def until(self, true: Callable[[], bool], within_s: float) -> None:
        """Wait for it. Raises TimeoutError, and RuntimeError with what a subscriber met."""
        async with asyncio.timeout(within_s):
            while not true():
                if self.faults:
                    raise RuntimeError(self.faults[0])
                await asyncio.sleep(0.02)

    async def leave(self) -> None:
        """Close every connection."""
        self.staying = False
        for one in self.members:
            one.hang_up()
        await self.until(lambda: self.open == 0, 60)


class Subscriber(asyncio.Protocol):
    """A connection that comes back with its last cursor when it is lost. Bytes are read without a library: the client must cost
    less than the server."""

    def __init__(self, crowd: Crowd, wish: Wish) -> None:
        self.crowd = crowd
        self.wish = wish
        self.seen: list[int] = []
        self.live = False
        self._visit = 0
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    @property
    def standing(self) -> bool:
        """Whether it was told how things stand."""
        return len(self.seen) >= self.wish.first

    async def connect(self) -> None:
        """From one of several addresses, since one has not ports enough for all that have been used."""
        source = f"127.0.0.{2 + id(self) // 64 % 16}"
        while self.crowd.staying:
            try:
                await asyncio.get_running_loop().create_connection(
                    lambda: self, "127.0.0.1", self.crowd.port, local_addr=(source, 0)
                )
                break
            except OSError:
                await asyncio.sleep(random.uniform(0, AGAIN_S))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.crowd.open += 1
        self._visit = self.crowd.visit
        self._buffer, self._transport = b"", transport
        transport.write(self.greeting())

    def connection_lost(self, exc: Exception | None) -> None:
        self.crowd.open -= 1
        self.live = False
        self._transport = None
        if self.crowd.staying:
            self.crowd.lost += self._visit == self.crowd.visit
            self.crowd.spawn(self)

    def data_received(self, data: bytes) -> None:
        self._buffer = self.read(self._buffer + data)

    def hang_up(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def write(self, data: bytes) -> None:
        """Send it, if there is still a connection."""
        if self._transport is not None:
            self._transport.write(data)

    def greeted(self) -> None:
        """The server has taken it in."""
        self.live = True

    def request(self) -> dict[str, Any]:
        """The operation, from the last cursor on."""
        after = {"after": str(self.seen[-1])} if self.standing else {}
        return {"query": self.wish.query, "variables": {**self.wish.variables, **after}}

    def take(self, answer: Mapping[str, Any]) -> None:
        """One answer of the subscription."""
        data = answer.get("data")
        if data is None or answer.get("errors"):
            if [one["extensions"]["code"] for one in answer["errors"]] != ["RESUME"]:
                self.crowd.faults.append(str(answer))
            return
        place = int(data[self.wish.field]["cursor"])
        self.seen.append(place)
        self.crowd.arrived[place].append(time.perf_counter())

    def greeting(self) -> bytes:
        """What is sent first."""
        raise NotImplementedError

    def read(self, data: bytes) -> bytes:
        """Take what is whole, return the rest."""
        raise NotImplementedError


def _frame(message: Mapping[str, Any], opcode: int = 1) -> bytes:
    """A text frame. The mask of zeros that clients may choose leaves the text as it is."""
    body = orjson.dumps(message)
    head = (
        bytes([0x80 | opcode, 0x80 | len(body)])
        if len(body) < 126
        else bytes([0x80 | opcode, 0xFE]) + len(body).to_bytes(2, "big")
    )
    return head + bytes(4) + body


class OverSocket(Subscriber):
    """graphql-transport-ws."""

    def greeting(self) -> bytes:
        self._shaken = False
        return (
            b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
        )

    def read(self, data: bytes) -> bytes:
        if not self._shaken:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                return head
            if not head.startswith(b"HTTP/1.1 101 "):
                self.crowd.faults.append(head.decode())
            self._shaken = True
            self.write(_frame({"type": "connection_init", "payload": {"Authorization": f"Bearer {self.crowd.key}"}}))
        while len(data) >= 2:
            opcode, length, begin = data[0] & 15, data[1], 2
            if length == 126:
                length, begin = int.from_bytes(data[2:4], "big"), 4
            if length == 127 or len(data) < begin + length:
                break
            self._take_frame(opcode, data[begin : begin + length])
            data = data[begin + length :]
        return data

    def _take_frame(self, opcode: int, body: bytes) -> None:
        match opcode:
            case 1:
                self._take_message(orjson.loads(body))
            case 9:
                self.write(bytes([0x8A, 0x80 | len(body)]) + bytes(4) + body)
            case 8:
                self.write(bytes([0x88, 0x82]) + bytes(4) + body[:2])

    def _take_message(self, message: Mapping[str, Any]) -> None:
        match message["type"]:
            case "connection_ack":
                self.greeted()
                self.write(_frame({"id": "1", "type": "subscribe", "payload": self.request()}))
            case "next":
                self.take(message["payload"])
            case "error":
                self.take({"errors": message["payload"]})
            case "ping":
                self.write(_frame({"type": "pong"}))


class OverStream(Subscriber):
    """Server-sent events, a request of its own for each."""

    def greeting(self) -> bytes:
        body = orjson.dumps(self.request())
        return (
            b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Accept: text/event-stream\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
            % (self.crowd.key.encode(), len(body), body)
        )

    def read(self, data: bytes) -> bytes:
        self.greeted()
        while (end := data.find(b"\n\n")) >= 0:
            _, found, answer = data[:end].partition(b"event: next\ndata: ")
            if found:
                self.take(orjson.loads(answer))
            data = data[end + 2 :]
        return data


@dataclass(slots=True)
class Gateway:
    """A served process."""

    process: subprocess.Popen[bytes]

    def rss_kib(self) -> int:
        """What it holds of memory, sockets' buffers in the kernel excepted."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    def cpu_ms(self) -> float:
        """Milliseconds of the processor that it has used."""
        told = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def stop(self) -> float:
        """End it as an operator would; the seconds it took."""
        began = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return time.perf_counter() - began


@dataclass(slots=True)
class Bench:
    """The engines, and who writes to the log."""

    engines: Engines
    settings: Settings
    store: Store
    redis: Redis
    key: str
    folder: Path
    core: int
    operations: list[str]
    port: int = 0
    told: list[tuple[int, str]] = field(default_factory=list)

    async def gateway(self, *command: str) -> Gateway:
        """A process that answers."""
        if not self.port:
            with listen("127.0.0.1", 0) as free:
                self.port = free.getsockname()[1]
        process = self._spawn(command or ("gateway", "serve"))
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError((self.folder / "gateway.log").read_text()[-2_000:]) from None
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return Gateway(process)

    def _spawn(self, module: Sequence[str]) -> subprocess.Popen[bytes]:
        environ = {
            **os.environ,
            "ACORN_DATABASE_URL": self.settings.database_url.get_secret_value(),
            "ACORN_REDIS_URL": self.settings.redis_url.get_secret_value(),
            "ACORN_CONFIG": str(self.settings.config),
            "ACORN_CONNECTION_LIMIT": "40000",
            "ACORN_ARQ": "false",
            "ACORN_PORT": str(self.port),
        }
        command = ["taskset", "-c", str(self.core), sys.executable, "-m", *module]
        with open(self.folder / "gateway.log", "ab") as log:
            return subprocess.Popen(command, env=environ, stdout=log, stderr=log)

    async def tell(self, *subjects: str) -> float:
        """Append an event for each and give them their places; when the last was given."""
        changed = {"status": "RUNNING", "total": 3, "accepted": 1, "verified": 0, "failed": 0}
        events = [
            NewEvent(EventKind.OPERATION_CHANGED, one, changed)
            if one in self.operations
            else NewEvent(EventKind.STOCK_CHANGED, one, {"sku": one})
            for one in subjects
        ]
        async with self.store.begin() as tx:
            await event.append(tx, events)
        missing = len(events)
        while missing:
            began = time.perf_counter()
            async with self.store.begin() as tx:
                placed = await event.relay(tx)
            if placed:
                await self.redis.xadd(event.BELL, {"seq": placed[-1].seq}, maxlen=1_000)
            self.told += [(one.seq, one.subject) for one in placed]
            missing -= len(placed)
        return began


def wishes(count: int, crowd: int, operations: Sequence[str]) -> list[Wish]:
    """What `count` subscribers follow. A tenth follows an operation, each of which is followed by ten."""
    made = []
    for number in range(count):
        if number % 10 == 9:
            id = operations[number // 100 % len(operations)]
            made.append(Wish("operation", OPERATION, {"id": f"Operation:{id}"}, frozenset({id}), 1))
            continue
        # The SKUs of crowds come first; each subscriber has two more that nobody else follows.
        own = SKUS // 10 + number * 2 % (SKUS * 8 // 10)
        skus = [f"SKU-{one}" for one in (hot(number, crowd), own, own + 1)]
        made.append(Wish("stock", STOCK, {"skus": skus}, frozenset(skus), 3))
    return made


def hot(number: int, crowd: int) -> int:
    """The number of the SKU that the whole crowd of a subscriber follows: of ten in a row nine follow stock."""
    return 1 + number * 9 // 10 // crowd


@dataclass(frozen=True, slots=True)
class Held:
    """What one way of subscribing costs: KiB of the process per subscriber, seconds until all who came at once are told how
    things stand, and microseconds of the server's processor for each of them; for an event that concerns a crowd the milliseconds
    until each is told, and those of the server's processor."""

    subscribers: int
    kib: float
    seconds: float
    open_us: float
    crowd: int
    took_ms: Sequence[float]
    cpu_ms: float

    def at(self, share: float) -> float:
        """Within so many milliseconds this share of the deliveries was made."""
        return self.took_ms[min(len(self.took_ms) - 1, int(len(self.took_ms) * share))]


async def hold(bench: Bench, gateway: Gateway, crowd: Crowd, wanted: Sequence[Wish], size: int) -> Held:
    """Let them come, see what the process has grown by, and tell them of events, one after the other."""
    warm = Crowd(crowd.port, crowd.key, crowd.make)
    await warm.come(wanted[:200])
    await warm.leave()
    before = gateway.rss_kib()
    used = gateway.cpu_ms()
    seconds = await crowd.come(wanted)
    open_us = (gateway.cpu_ms() - used) * 1000 / len(wanted)
    await asyncio.sleep(2)
    kib = (gateway.rss_kib() - before) / len(wanted)
    subject = f"SKU-{hot(0, size)}"
    concerned = sum(subject in one.wish.subjects for one in crowd.members)
    took: list[float] = []
    used = gateway.cpu_ms()
    for _ in range(EVENTS):
        began = await bench.tell(subject)
        place = bench.told[-1][0]
        await crowd.until(lambda place=place: len(crowd.arrived[place]) >= concerned, 60)  # type: ignore[misc]
        took += [(at - began) * 1000 for at in crowd.arrived[place]]
        await asyncio.sleep(0.1)
    return Held(len(wanted), kib, seconds, open_us, concerned, sorted(took), (gateway.cpu_ms() - used) / EVENTS)


@dataclass(frozen=True, slots=True)
class Restart:
    """What became of a restart: events told meanwhile, deliveries they meant, missed and doubled ones, the seconds that the stop
    took and until everybody was back, microseconds of the processor for each, and connections that were lost on the way."""

    events: int
    deliveries: int
    missed: int
    doubled: int
    stopped_s: float
    back_s: float
    back_us: float
    lost: int


async def restart(bench: Bench, gateway: Gateway, crowd: Crowd) -> tuple[Gateway, Restart]:
    """Stop the gateway and start it anew while events go on."""
    since = bench.told[-1][0]
    subjects = sorted({one for member in crowd.members for one in member.wish.subjects})
    crowds = [f"SKU-{one}" for one in sorted({hot(number, len(crowd.members)) for number in range(len(crowd.members))})]
    going = True

    async def go_on() -> None:
        while going:
            await bench.tell(*random.sample(subjects, 20), random.choice(crowds))
            await asyncio.sleep(PAUSE_S)

    writer = asyncio.create_task(go_on())
    await asyncio.sleep(1)
    began = time.perf_counter()
    stopped_s = await asyncio.to_thread(gateway.stop)
    crowd.visit, crowd.lost = crowd.visit + 1, 0
    fresh = await bench.gateway()
    await crowd.until(lambda: all(one.live for one in crowd.members), 300)
    await asyncio.sleep(1)
    going = False
    await writer
    by_subject: defaultdict[str, list[int]] = defaultdict(list)
    for place, subject in bench.told:
        by_subject[subject].append(place)

    def due(one: Subscriber) -> list[int]:
        return sorted(
            place
            for subject in one.wish.subjects
            for place in by_subject[subject]
            if place > one.seen[one.wish.first - 1]
        )

    wanted = [due(one) for one in crowd.members]
    with contextlib.suppress(TimeoutError):
        await crowd.until(
            lambda: all(
                not places or one.seen[-1] >= places[-1] for one, places in zip(crowd.members, wanted, strict=True)
            ),
            60,
        )
    back_s = time.perf_counter() - began
    back_us = fresh.cpu_ms() * 1000 / len(crowd.members)
    missed = doubled = deliveries = 0
    for one, places in zip(crowd.members, wanted, strict=True):
        got = one.seen[one.wish.first :]
        missed += len(set(places) - set(got))
        doubled += len(got) - len(set(got)) + len(set(got) - set(places))
        deliveries += sum(place > since for place in places)
    events = sum(place > since for place, _ in bench.told)
    return fresh, Restart(events, deliveries, missed, doubled, stopped_s, back_s, back_us, crowd.lost)


async def measure(subscribers: int, size: int) -> bool:
    """Everything, printed as it comes; whether all bounds were kept."""
    *others, core = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, others or {core})  # the engines, which we start, stay there too
    with tempfile.TemporaryDirectory(prefix="acorn-bench-") as folder:
        engines = await asyncio.to_thread(start, Path(folder) / "engines", environ=dict(os.environ), throwaway=True)
        try:
            bench = await prepare(engines, Path(folder), core)
            try:
                return await rehearse(bench, subscribers, size)
            finally:
                await bench.store.close()
                await bench.redis.aclose()
        finally:
            engines.stop()


async def prepare(engines: Engines, folder: Path, core: int) -> Bench:
    """A catalog, operations, a key."""
    await asyncio.to_thread(migrate.upgrade, engines.database_url)
    store, key = Store(engines.database_url), new_secret()
    operations: list[str] = []
    async with store.begin() as tx:
        await seed(tx, SKUS)
        await api_key.create(tx, uuid4().hex, "storefront", hash_secret(key), SCOPES, None)
        for number in range(100):
            made, _ = await operation.create(
                tx,
                kind=Kind.CONFIRM_SHIPMENTS,
                requested_by="benchmark",
                idempotency_key=None,
                request_hash=str(number),
                dry_run=False,
                status=OperationStatus.QUEUED,
                items=[NewItem("shop", Capability.SHIPMENTS, f"order:{number}", "parcel", {})],  # no worker runs
            )
            operations.append(made.id)
    async with store.begin() as tx:
        await tx.execute(text("analyze"))
        await event.relay(tx)
    path = folder / "acorn.toml"
    path.write_text(CONFIG, encoding="utf-8")
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]  # a developer's own .env is no part of a benchmark
        database_url=SecretStr(engines.database_url),
        redis_url=SecretStr(engines.redis_url),
        config=path,
    )
    return Bench(engines, settings, store, Redis.from_url(engines.redis_url), key, folder, core, operations)


async def rehearse(bench: Bench, subscribers: int, size: int) -> bool:
    """All of them over WebSockets, with a restart; then fewer in the other ways."""
    write = sys.stdout.write
    write(
        f"{'':<18}{'subscribers':>12}{'KiB each':>10}{'all told, s':>13}{'cpu µs each':>13}"
        f"{'crowd':>8}{'p50 ms':>9}{'p99 ms':>9}{'cpu ms':>9}\n"
    )
    gateway = await bench.gateway()
    try:
        crowd = Crowd(bench.port, bench.key, OverSocket)
        held = await hold(bench, gateway, crowd, wishes(subscribers, size, bench.operations), size)
        row("WebSocket", held)
        gateway, after = await restart(bench, gateway, crowd)
        write(
            f"  restarted: stopped in {after.stopped_s:.1f} s, everybody back and told after {after.back_s:.1f} s, "
            f"for {after.back_us:.0f} µs of the processor each, {after.lost} let go on the way; "
            f"{after.events:,} events meanwhile meant {after.deliveries:,} deliveries: "
            f"{after.missed} missed, {after.doubled} doubled\n"
        )
        sys.stdout.flush()
        await crowd.leave()
    finally:
        await asyncio.to_thread(gateway.stop)
    fewer = wishes(min(subscribers, SAMPLE), size, bench.operations)
    streams = await way(bench, OverStream, fewer, size)
    row("event stream", streams)
    plain = await way(bench, OverSocket, fewer, size, "benchmarks.subscriptions_plain")
    row("plain Strawberry", plain)
    write(
        f"\nper delivery: {plain.cpu_ms / plain.crowd / (held.cpu_ms / held.crowd):.1f}x less of the processor than plain "
        f"Strawberry; {plain.kib / held.kib:.1f}x less memory\n"
    )
    kept = max(held.kib, streams.kib) <= MOST_KIB and held.at(0.99) <= MOST_P99_MS and not after.missed + after.doubled
    write(
        f"bounds: {MOST_KIB:g} KiB each, p99 {MOST_P99_MS:g} ms to a crowd of {held.crowd:,}, none missed or doubled: "
        f"{'kept' if kept else 'BROKEN'}\n"
    )
    return kept


async def way(bench: Bench, make: type[Subscriber], wanted: Sequence[Wish], size: int, *command: str) -> Held:
    """Another way of subscribing, or another server."""
    gateway = await bench.gateway(*command)
    try:
        crowd = Crowd(bench.port, bench.key, make)
        held = await hold(bench, gateway, crowd, wanted, size)
        await crowd.leave()
        return held
    finally:
        await asyncio.to_thread(gateway.stop)


def row(name: str, held: Held) -> None:
    """One line of the table."""
    sys.stdout.write(
        f"{name:<18}{held.subscribers:>12,}{held.kib:>10.1f}{held.seconds:>13.1f}{held.open_us:>13.0f}{held.crowd:>8,}"
        f"{held.at(0.5):>9.1f}{held.at(0.99):>9.1f}{held.cpu_ms:>9.1f}\n"
    )
    sys.stdout.flush()


def main(
    subscribers: Annotated[int, typer.Option(help="over WebSockets")] = 10_000,
    crowd: Annotated[int, typer.Option(help="how many follow one SKU")] = 1_000,
) -> None:
    """Print the table; exit 1 when a bound is broken."""
    gc.disable()  # what is measured is the server, which collects its own
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    raise typer.Exit(0 if asyncio.run(measure(subscribers, crowd)) else 1)


if __name__ == "__main__":
    typer.run(main)

"""What one core of the gateway answers: the contract's stock query over HTTP, by graphql-core and compiled, in the same run.

    python -m benchmarks.edge [--rounds 5] [--seconds 1.5] [--product]

Two servers as in production (keys, limits, bill, logs) stand on one core and are asked in turn; the load, PostgreSQL and Redis
have the others. 10,000 SKUs, all of them in the servers' memory, so that the edge and the execution are what is measured.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from pydantic import SecretStr
from sqlalchemy import text

from benchmarks.stock_read import CONFIG, seed
from benchmarks.whole import STOREFRONT
from gateway import logs
from gateway.app import App
from gateway.auth import hash_secret, new_secret
from gateway.engines import start
from gateway.plan import SECOND_USE
from gateway.server import Server, config, listen
from gateway.settings import Settings
from store import api_key, migrate
from store.session import Store

SKUS = 10_000
SIZES = (1, 50, 250)
BOUNDS = {1: 1.0, 50: 2.5, 250: 2.5}  # how many times as many, at least
CONNECTIONS = 8
BODIES = 20  # different questions of each size
WAYS: dict[str, int | None] = {"graphql-core": None, "compiled": SECOND_USE}

STOCK = """query Stock($skus: [String!]!) { stock(skus: $skus, maxAge: "P1D") {
    sku availableToSell onHand reserved asOf freshness
    levels { location { code name } onHand reserved availableToSell freshness }
    explanation { label quantity }%s } }"""


@dataclass(frozen=True, slots=True)
class Rate:
    """Answers of one round: per second, and milliseconds of the servers' processor each."""

    per_second: float
    cpu_ms: float


@dataclass(slots=True)
class Served:
    """A server in a process of its own."""

    process: Any
    pipe: Connection
    port: int

    def cpu_s(self) -> float:
        """Processor seconds that it has used."""
        self.pipe.send("cpu")
        used: float = self.pipe.recv()
        return used

    def stop(self) -> None:
        """End it."""
        self.pipe.send("stop")
        self.process.join(20)


def serve(pipe: Connection, settings: Settings, compile_at: int | None, core: int) -> None:
    """The server's process: it tells its port, then what it has used each time it is asked."""
    os.sched_setaffinity(0, {core})
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # it is written like production's, and nobody reads it
    logs.set_up("INFO", "json")
    listener = listen("127.0.0.1", 0)
    app = App(settings, compile_at=compile_at)
    options = config(
        app,
        connection_limit=settings.connection_limit,
        stop_within_s=1,
        message_limit=settings.body_limit_kib * 1024,
    )
    server = Server(options, app)

    async def run() -> None:
        asyncio.get_running_loop().add_reader(pipe.fileno(), asked)
        await server._serve([listener])

    def asked() -> None:
        if pipe.recv() == "cpu":
            pipe.send(time.process_time())
        else:
            server.should_exit = True

    pipe.send(listener.getsockname()[1])
    with asyncio.Runner(loop_factory=options.get_loop_factory()) as runner:
        runner.run(run())


def serving(settings: Settings, compile_at: int | None, core: int) -> Served:
    """Start a server."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, settings, compile_at, core), daemon=True)
    process.start()
    return Served(process, ours, ours.recv())


class Line:
    """One connection that is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> bytes:
        """The body of the answer to a request; fails unless it is a 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


async def opened(port: int) -> Line:
    """A connection; the server may only just be starting."""
    while True:
        try:
            return Line(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 22))
        except OSError:
            await asyncio.sleep(0.05)


def requests(size: int, key: str, query: str) -> list[bytes]:
    """Questions for `size` SKUs, as they go over the wire."""
    chance = random.Random(size)
    made = []
    for _ in range(BODIES):
        skus = [f"SKU-{number}" for number in chance.sample(range(1, SKUS + 1), size)]
        body = json.dumps({"query": query, "variables": {"skus": skus}}).encode()
        head = (
            "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {key}\r\nx-acorn-bill: 1\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def load(served: Served, asked: Sequence[bytes], seconds: float) -> Rate:
    """Ask on all lines as fast as answers come."""
    lines = [await opened(served.port) for _ in range(CONNECTIONS)]
    done = 0
    used, began = served.cpu_s(), time.perf_counter()

    async def one(number: int) -> None:
        nonlocal done
        while time.perf_counter() - began < seconds:
            await lines[number].ask(asked[(number + done) % len(asked)])
            done += 1

    await asyncio.gather(*map(one, range(CONNECTIONS)))
    took, used = time.perf_counter() - began, served.cpu_s() - used
    for line in lines:
        line.close()
    return Rate(done / took, used * 1000 / done)


async def same(servers: Sequence[Served], asked: Sequence[bytes], size: int) -> None:
    """All answers, which fills the servers' memory; fails unless they are equal and complete."""
    lines = [await opened(one.port) for one in servers]
    for _ in range(2):  # the second time it is compiled
        for request in asked:
            told = [json.loads(await line.ask(request)) for line in lines]
            assert "errors" not in told[0], told[0]["errors"]
            assert told[0]["data"] == told[1]["data"]
            assert len(told[0]["data"]["stock"]) == size
            assert all(one["bill"]["upstreamCalls"] == 0 for one in (told[0]["extensions"], told[1]["extensions"]))
            assert all(len(one["levels"]) == 2 and one["explanation"] for one in told[0]["data"]["stock"])
    for line in lines:
        line.close()


async def measure(rounds: int, seconds: float, product: bool) -> dict[int, dict[str, Rate]]:
    """The median round of each size and way."""
    *others, core = sorted(os.sched_getaffinity(0))
    # PostgreSQL and Redis, which we start, stay there too.
    os.sched_setaffinity(0, others or {core})
    with tempfile.TemporaryDirectory(prefix="acorn-bench-") as folder:
        engines = await asyncio.to_thread(start, Path(folder) / "engines", environ=dict(os.environ), throwaway=True)
        servers: list[Served] = []
        try:
            await asyncio.to_thread(migrate.upgrade, engines.database_url)
            store, key = Store(engines.database_url), new_secret()
            async with store.begin() as tx:
                await seed(tx, SKUS)
                await api_key.create(tx, uuid4().hex, "storefront", hash_secret(key), STOREFRONT, None)
            async with store.begin() as tx:
                await tx.execute(text("analyze"))
            await store.close()
            path = Path(folder) / "acorn.toml"
            path.write_text(CONFIG, encoding="utf-8")
            settings = Settings(
                _env_file=None,  # type: ignore[call-arg]  # a developer's own .env is no part of a benchmark
                database_url=SecretStr(engines.database_url),
                redis_url=SecretStr(engines.redis_url),
                config=path,
            )
            servers += [serving(settings, compile_at, core) for compile_at in WAYS.values()]
            query = STOCK % (" product { title }" if product else "")
            return {size: await _of_size(servers, requests(size, key, query), size, rounds, seconds) for size in SIZES}
        finally:
            for one in servers:
                one.stop()
            engines.stop()


async def _of_size(
    servers: Sequence[Served], asked: Sequence[bytes], size: int, rounds: int, seconds: float
) -> dict[str, Rate]:
    await same(servers, asked, size)
    found: dict[str, list[Rate]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, one in zip(WAYS, servers, strict=True):
            found[way].append(await load(one, asked, seconds))
    return {
        way: Rate(statistics.median(one.per_second for one in all_), statistics.median(one.cpu_ms for one in all_))
        for way, all_ in found.items()
    }


def table(found: dict[int, dict[str, Rate]]) -> bool:
    """Print it; whether compiling is worth what it must be."""
    write = sys.stdout.write
    write("\nstock with levels and explanation over HTTP, answers per second of one core (ms of processor each)\n\n")
    write(f"{'SKUs':>6}" + "".join(f"{way:>22}" for way in WAYS) + f"{'ratio':>9}{'of processor':>15}\n")
    kept = True
    for size, rates in found.items():
        core, compiled = rates["graphql-core"], rates["compiled"]
        ratio = compiled.per_second / core.per_second
        kept = kept and ratio >= BOUNDS[size]
        cells = "".join(f"{one.per_second:>12,.1f} ({one.cpu_ms:>6.2f})" for one in (core, compiled))
        write(f"{size:>6}{cells:>44}{ratio:>8.2f}x{core.cpu_ms / compiled.cpu_ms:>14.2f}x\n")
    bounds = ", ".join(f"{bound:g}x at {size}" for size, bound in BOUNDS.items())
    write(f"\nbounds: at least {bounds}: {'kept' if kept else 'BROKEN'}\n")
    return kept


def main(
    rounds: Annotated[int, typer.Option(help="rounds per size and way")] = 5,
    seconds: Annotated[float, typer.Option(help="of each round")] = 1.5,
    product: Annotated[
        bool, typer.Option(help="ask for the products' titles too, which are read from the rows")
    ] = False,
) -> None:
    """Print the table; exit 1 when compiling is worth less than it must be."""
    raise typer.Exit(0 if table(asyncio.run(measure(rounds, seconds, product))) else 1)


if __name__ == "__main__":
    typer.run(main)

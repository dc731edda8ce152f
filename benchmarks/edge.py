"""What one core answers over HTTP: the gateway as in production, beside plain Strawberry, and Mercurius with its JIT where it is.

    python -m benchmarks.edge [--rounds 5] [--seconds 1] [--only "50 SKUs"]

The contract's stock query of 1, 50 and 250 SKUs, and a dashboard of 50 products with stock and listings. Each server has the one
core for itself while it is asked, the load has the other; keys, limits, bill and logs are on. PostgreSQL and Redis are beside the
load, and idle but for the dashboard: the gateway reads products from the rows, its rivals have all in memory.

"executed" runs the plan and its resolvers for each request; stock that these told within the last second, to whomever, they tell
again. "from bytes" gives whole answers again.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import httpx
import typer
import uvloop
from pydantic import SecretStr
from sqlalchemy import text

from benchmarks import plain
from benchmarks.load import Rate, load, request
from benchmarks.plain import Data
from benchmarks.stock_read import CONFIG, seed
from benchmarks.whole import STOREFRONT
from gateway import logs
from gateway.app import App
from gateway.auth import hash_secret, new_secret
from gateway.engines import Engines, start
from gateway.server import Server, config, listen
from gateway.settings import Settings
from store import api_key, migrate
from store.session import Store

SKUS = 10_000
SIZES = (1, 50, 250)
BODIES = 20  # different questions of each kind
FIRST_S = 2.0  # until all is compiled and in memory
AGAIN_S = 0.3  # until it is hot again, after the others were asked
YOUNG = '\n[stock]\nmax_age = "P1D"\n'  # what was seeded stays young to the end
COMPARED = 3  # of which the answers of all servers are compared

EXECUTED, CACHED, STRAWBERRY, MERCURIUS = "executed", "from bytes", "Strawberry", "Mercurius+JIT"
# (what is asked, who answers, whom it is compared with): how many times as many answers, at least.
GOALS = {
    ("1 SKU", EXECUTED, STRAWBERRY): 6.0,
    ("1 SKU", CACHED, STRAWBERRY): 12.0,
    ("50 SKUs", EXECUTED, STRAWBERRY): 40.0,
    ("50 SKUs", EXECUTED, MERCURIUS): 1.3,
    ("50 SKUs", CACHED, STRAWBERRY): 150.0,
}

_STOCK = """sku availableToSell onHand reserved asOf freshness
    levels { location { code name } onHand reserved availableToSell freshness }
    explanation { label quantity }"""
STOCK = f'query Stock($skus: [String!]!) {{ stock(skus: $skus, maxAge: "P1D") {{ {_STOCK} }} }}'
PRODUCTS = f"""query Dashboard($skus: [String!]!) {{ products(first: 50, filter: {{skus: $skus}}) {{ nodes {{
    sku title stock {{ {_STOCK} }} listings {{ channelSku marketplace externalId status }} }} }} }}"""

Ask = tuple[str, list[str]]  # a query, and the SKUs that it names


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is asked."""

    pid: int
    port: int


def questions() -> dict[str, list[Ask]]:
    """What is asked, `BODIES` different ones of each kind."""
    chance = random.Random(7)

    def some(size: int) -> list[str]:
        return [f"SKU-{number}" for number in chance.sample(range(1, SKUS + 1), size)]

    found = {f"{size} SKU{'s' * (size > 1)}": [(STOCK, some(size)) for _ in range(BODIES)] for size in SIZES}
    return {**found, "50 products": [(PRODUCTS, some(50)) for _ in range(BODIES)]}


def requests(asked: Sequence[Ask], key: str) -> list[bytes]:
    """Questions as they go over the wire."""
    headers = ("content-type: application/json", f"authorization: Bearer {key}", "x-acorn-bill: 1")
    bodies = [json.dumps({"query": query, "variables": {"skus": skus}}).encode() for query, skus in asked]
    return [request("/graphql", headers, body) for body in bodies]


def serve(pipe: Connection, settings: Settings, core: int) -> None:
    """The gateway's process; it tells its port."""
    os.sched_setaffinity(0, {core})
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # it is written like production's, and nobody reads it
    logs.set_up("INFO", "json")
    listener = listen("127.0.0.1", 0)
    app = App(settings)
    options = config(
        app,
        connection_limit=settings.connection_limit,
        stop_within_s=1,
        message_limit=settings.body_limit_kib * 1024,
    )
    pipe.send(listener.getsockname()[1])
    with asyncio.Runner(loop_factory=options.get_loop_factory()) as runner:
        runner.run(Server(options, app).serve([listener]))


def constant(pipe: Connection, core: int) -> None:
    """The same 500 bytes to whatever is asked: what the load can do."""
    os.sched_setaffinity(0, {core})
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + b" " * 500

    class Constant(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(answer)  # type: ignore[attr-defined]

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Constant, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


@contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[Served]:
    """A server in a process of its own, ended at the end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    made = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    made.start()
    theirs.close()  # so that a server that fails to start is noticed
    try:
        assert made.pid is not None
        yield Served(made.pid, ours.recv())
    finally:
        made.terminate()
        made.join(20)


@contextmanager
def node(data: Data, core: int) -> Iterator[Served | None]:
    """Mercurius, where it is."""
    found = plain.rival(data, core)
    if found is None:
        sys.stdout.write(f"\n{MERCURIUS} is left out: {plain.MODULES} has no mercurius, or there is no Node.\n")
        yield None
        return
    rival, port = found
    try:
        yield Served(rival.pid, port)
    finally:
        rival.terminate()
        rival.wait(20)


@contextmanager
def engines_with_stock(folder: Path) -> Iterator[tuple[Engines, str]]:
    """PostgreSQL and Redis with `SKUS` SKUs, and a storefront's key."""
    engines = start(folder / "engines", environ=dict(os.environ), throwaway=True)
    try:
        migrate.upgrade(engines.database_url)
        key = new_secret()

        async def fill() -> None:
            store = Store(engines.database_url)
            async with store.begin() as tx:
                await seed(tx, SKUS)
                await api_key.create(tx, uuid4().hex, "storefront", hash_secret(key), STOREFRONT, None)
            async with store.begin() as tx:
                await tx.execute(text("analyze"))
            await store.close()

        asyncio.run(fill())
        yield engines, key
    finally:
        engines.stop()


def settings_for(engines: Engines, folder: Path, answers_s: float) -> Settings:
    """As in production; `answers_s` is how long an answer is given again as bytes."""
    path = folder / "acorn.toml"
    path.write_text(CONFIG + YOUNG, encoding="utf-8")
    return Settings(
        _env_file=None,  # type: ignore[call-arg]  # a developer's own .env is no part of a benchmark
        database_url=SecretStr(engines.database_url),
        redis_url=SecretStr(engines.redis_url),
        config=path,
        answer_cache_s=answers_s,
        key_points_per_minute=10**12,  # counted, and never spent
    )


def told(server: Served, asked: Sequence[Ask], key: str) -> list[Any]:
    """The data of answers without errors."""
    found = []
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers=headers, timeout=30) as http:
        for query, skus in asked:
            answer = http.post("/graphql", json={"query": query, "variables": {"skus": skus}}).json()
            assert "errors" not in answer, answer["errors"]
            found.append(answer["data"])
    return found


def known(server: Served, asked: Sequence[Ask], key: str) -> tuple[list[Any], list[Any]]:
    """(stock, products) of all that is asked."""
    stock, products = [], []
    for data in told(server, asked, key):
        products += data.get("products", {}).get("nodes", [])
        stock += data.get("stock", [])
    assert all(len(one["levels"]) == 2 and one["explanation"] for one in stock)
    return stock, products


def measure(rounds: int, seconds: float, only: Sequence[str]) -> dict[str, dict[str, Rate]]:
    """The median round of each question and server."""
    *others, core = sorted(os.sched_getaffinity(0))
    # PostgreSQL and Redis, which we start, stay there too.
    os.sched_setaffinity(0, others or {core})
    asked = {name: all_ for name, all_ in questions().items() if not only or name in only}
    with tempfile.TemporaryDirectory(prefix="acorn-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        engines, key = stack.enter_context(engines_with_stock(folder))
        servers = {
            way: stack.enter_context(process(serve, settings_for(engines, folder, answers_s), core))
            for way, answers_s in ((EXECUTED, 0), (CACHED, 1))
        }
        data = Data(folder / "told.json")
        data.write(*known(servers[EXECUTED], [one for all_ in asked.values() for one in all_], key))
        servers[STRAWBERRY] = stack.enter_context(process(plain.serve, data, core))
        if (rival := stack.enter_context(node(data, core))) is not None:
            servers[MERCURIUS] = rival
        ceiling = stack.enter_context(process(constant, core))
        sys.stdout.write(f"\nthe load can do {_rate(ceiling, [b'x'], seconds).per_second:,.0f}/s of constant bytes\n")
        found = {}
        for what, all_ in asked.items():
            answers = [told(server, all_[:COMPARED], key) for server in servers.values()]
            assert all(answer == answers[0] for answer in answers), what
            found[what] = _of(servers, requests(all_, key), rounds, seconds)
        return found


def _of(servers: dict[str, Served], asked: Sequence[bytes], rounds: int, seconds: float) -> dict[str, Rate]:
    rates: dict[str, list[Rate]] = {way: [] for way in servers}
    for server in servers.values():
        _rate(server, asked, FIRST_S)
    for _ in range(rounds):
        for way, server in servers.items():
            _rate(server, asked, AGAIN_S)
            rates[way].append(_rate(server, asked, seconds))
    return {
        way: Rate(statistics.median(one.per_second for one in all_), statistics.median(one.cpu_ms for one in all_))
        for way, all_ in rates.items()
    }


def _rate(server: Served, asked: Sequence[bytes], seconds: float) -> Rate:
    return uvloop.run(load(server.pid, server.port, asked, seconds))


def table(found: dict[str, dict[str, Rate]]) -> None:
    """Print it, and which goals are met."""
    write = sys.stdout.write
    write("\nanswers per second of one core (milliseconds of processor each), and how many times Strawberry's\n\n")
    ways = list(next(iter(found.values())))
    write(f"{'':>12}" + "".join(f"{way:>30}" for way in ways) + "\n")
    for what, rates in found.items():
        write(f"{what:>12}")
        for rate in rates.values():
            write(f"{rate.per_second:>12,.0f} ({rate.cpu_ms:>7.3f}) {_times(rate, rates[STRAWBERRY])[0]:>6.1f}x")
        write("\n")
    write("\n")
    for (what, way, other), goal in GOALS.items():
        if what in found and other in found[what]:
            times, of_processor = _times(found[what][way], found[what][other])
            met = "met" if times >= goal else "NOT MET"
            write(f"{what}, {way}: {times:.1f}x {other} ({of_processor:.1f}x by processor), goal {goal:g}x: {met}\n")


def _times(one: Rate, other: Rate) -> tuple[float, float]:
    """(how many times as many answers, by how many times less of the processor)."""
    return one.per_second / other.per_second, other.cpu_ms / one.cpu_ms


def main(
    rounds: Annotated[int, typer.Option(help="rounds per question and server")] = 5,
    seconds: Annotated[float, typer.Option(help="of each round")] = 1.0,
    only: Annotated[list[str], typer.Option(help="a kind of question, such as '50 SKUs'; all without")] = [],  # noqa: B006  # typer's
) -> None:
    """Print the table and which goals are met."""
    table(measure(rounds, seconds, only))


if __name__ == "__main__":
    typer.run(main)

"""`acorn demo`: the whole house on sandboxes, on engines of its own, gone without a trace when it stops."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
from cryptography.fernet import Fernet
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from domain.channel import StreamName
from domain.ids import ChannelId
from domain.money import Money, minor_digits
from domain.order import SHIPPABLE, Order
from domain.price_inputs import FxRate
from domain.product import FulfilledBy
from gateway import children, engines
from gateway.auth import hash_secret
from gateway.children import Child
from gateway.demo_text import ADDRESSES, CHANNELS, KEYS, RATES, STOREFRONTS, Examples, Storefront, nine_things
from gateway.settings import Settings
from gateway.wiring import House, build_house
from gateway.worker import deps_of
from store import api_key, fx, ledger, migrate, order, product
from workers.streams import sync_once

HOST = "127.0.0.1"
SHOP = ChannelId("shop")
START_WITHIN_S = 60.0
VISIBILITY_LAG_S = 3
RATE_DAYS = 120


class DemoFailed(Exception):
    """The demo cannot run, or has broken down; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens; one number moves all of it."""

    gateway: int

    @property
    def amazon(self) -> int:
        """The Amazon sandbox."""
        return self.gateway + 10

    @property
    def shop(self) -> int:
        """The shop's sandbox."""
        return self.gateway + 20

    @property
    def carrier(self) -> int:
        """The sandbox of who sells labels."""
        return self.gateway + 30


def run(port: int, shop: str = "shopify") -> int:
    """Run until Ctrl-C or SIGTERM, with a shop that runs on "shopify" or is self-built ("rest"). Answers the exit code. Raises
    DemoFailed."""
    if shop not in STOREFRONTS:
        raise DemoFailed(f"{shop!r} is no shop that there is a sandbox of: {', '.join(STOREFRONTS)}.")
    if not 1 <= port <= 65_505:
        raise DemoFailed(
            f"ACORN_PORT is {port}; it must lie between 1 and 65505, since three sandboxes listen above it."
        )
    ports = Ports(port)
    storefront = STOREFRONTS[shop]
    _check_free(ports, storefront)
    try:
        asyncio.run(_Demo(ports, storefront).run())
    except asyncio.CancelledError:
        return 0
    except engines.EnginesFailed as problem:
        raise DemoFailed(str(problem)) from None
    return 0


def _check_free(ports: Ports, storefront: Storefront) -> None:
    """Raises DemoFailed for a taken port, before anything is started."""
    for what, number in (
        ("the gateway", ports.gateway),
        ("the Amazon sandbox", ports.amazon),
        (f"the {storefront.called}", ports.shop),
        ("the Carrier sandbox", ports.carrier),
    ):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, number))
            except OSError as problem:
                raise DemoFailed(
                    f"Port {number}, meant for {what}, cannot be used: {problem.strerror}. "
                    f"Choose another place for the whole demo, such as ACORN_PORT={ports.gateway + 100} make demo."
                ) from None


class _Demo:
    def __init__(self, ports: Ports, storefront: Storefront = STOREFRONTS["shopify"]) -> None:
        self.ports = ports
        self.storefront = storefront
        self.console = Console(highlight=False)
        self.children: list[Child] = []
        self.engines: engines.Engines | None = None

    async def run(self) -> None:
        """Everything, until a signal."""
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, task.cancel)
        with ExitStack() as stack:
            folder = stack.enter_context(_folder())
            stack.callback(self._stop)
            await self._start(folder, stack)
            await self._watch()

    async def _start(self, folder: Path, stack: ExitStack) -> None:
        self.console.print("Starting PostgreSQL, Valkey and the sandboxes …")
        lag = ["--lag", str(VISIBILITY_LAG_S)]
        shop = self.storefront.sandbox
        for name, port, lags in (
            ("amazon", self.ports.amazon, True),
            (shop, self.ports.shop, self.storefront.lags),
            ("carrier", self.ports.carrier, False),
        ):
            command = [sys.executable, "-m", "sandbox", name, "--port", str(port), *(lag if lags else ())]
            self._child(f"{name}-sandbox", command, folder, {})
        # Never the user's own engines: keys that everybody knows are about to be made.
        running = await asyncio.to_thread(engines.start, folder, environ={}, throwaway=True)
        self.engines = running
        stack.callback(running.stop)
        settings = self._settings(folder, running)
        await asyncio.to_thread(migrate.upgrade, running.database_url)
        environ = _environ(settings)
        # So that the command line, called in this folder, speaks of this house.
        (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in environ.items()), encoding="utf-8")
        house = await build_house(settings)
        try:
            await _make_keys(house)
            await _tell_rates(house)
            self._child("gateway", [sys.executable, "-m", "gateway", "serve"], folder, environ)
            await self._answers("amazon-sandbox", f"http://{HOST}:{self.ports.amazon}/_sandbox/clock")
            await self._answers(f"{shop}-sandbox", f"http://{HOST}:{self.ports.shop}/_sandbox/clock")
            await self._answers("carrier-sandbox", f"http://{HOST}:{self.ports.carrier}/_sandbox/clock")
            await self._load(house)
            self._child("worker", [sys.executable, "-m", "gateway", "work"], folder, environ)
            await self._answers("gateway", f"http://{HOST}:{self.ports.gateway}/readyz")
            examples = await _examples(house)
        finally:
            await house.close()
        self._tell(examples, folder)

    def _settings(self, folder: Path, running: engines.Engines) -> Settings:
        path = folder / "acorn.toml"
        shop = self.storefront
        home = f"http://{HOST}:{self.ports.gateway}"
        path.write_text(
            CHANNELS.format(
                home=home,
                amazon=f"http://{HOST}:{self.ports.amazon}",
                carrier=f"http://{HOST}:{self.ports.carrier}",
                storefront=shop.block.format(home=home, shop=f"http://{HOST}:{self.ports.shop}", lag=VISIBILITY_LAG_S),
                berlin=shop.berlin,
                reno=shop.reno,
                lag=VISIBILITY_LAG_S,
            ),
            encoding="utf-8",
        )
        return Settings(
            _env_file=None,  # type: ignore[call-arg]  # nothing of the user's own house belongs in here
            database_url=SecretStr(running.database_url),
            redis_url=SecretStr(running.redis_url),
            config=path,
            host=HOST,
            port=self.ports.gateway,
            graphiql_key=SecretStr("demo-operator"),
            keys=(SecretStr(Fernet.generate_key().decode()),),
        )

    def _child(self, name: str, command: list[str], folder: Path, environ: dict[str, str]) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ACORN_")}
        self.children.append(children.start(name, command, folder=folder, environ={**kept, **environ}))

    async def _answers(self, name: str, url: str) -> None:
        """Wait until a child answers. Raises DemoFailed when it has ended, or takes too long."""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
            for _ in range(int(START_WITHIN_S / 0.1)):
                self._check()
                try:
                    if (await http.get(url)).status_code == httpx.codes.OK:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.1)
        [child] = [one for one in self.children if one.name == name]
        raise DemoFailed(f"The {name} does not answer within {START_WITHIN_S:.0f} s. It said:\n{child.last_words()}")

    def _check(self) -> None:
        """Raises DemoFailed when something of it has broken down."""
        if self.engines is not None and (trouble := self.engines.trouble()) is not None:
            raise DemoFailed(trouble)
        for child in self.children:
            if child.ended:
                raise DemoFailed(f"The {child.name} has ended. Its last words:\n{child.last_words()}")

    async def _load(self, house: House) -> None:
        """The first load, through the synchronization that production uses, at the pace the platforms allow."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as progress:
            bars: dict[tuple[ChannelId, StreamName], TaskID] = {}

            def on_progress(channel: ChannelId, stream: StreamName, done: int, expected: int | None) -> None:
                bar = bars.get((channel, stream))
                if bar is None:
                    bar = bars[channel, stream] = progress.add_task(f"{house.channels[channel].name}: {stream.value}")
                progress.update(bar, completed=done, total=expected if expected is not None else done)

            problems = await sync_once(deps_of(house), on_progress)
        for (channel, stream), problem in problems.items():
            self.console.print(f"[yellow]{house.channels[channel].name}: {stream.value} failed: {problem}[/]")

    def _tell(self, examples: Examples, folder: Path) -> None:
        """What there is, and what to try. Plain text, so that it can be copied."""
        home = f"http://{HOST}:{self.ports.gateway}"
        addresses = ADDRESSES.format(
            home=home,
            amazon=f"http://{HOST}:{self.ports.amazon}",
            called=self.storefront.called,
            shop=f"http://{HOST}:{self.ports.shop}",
            carrier=f"http://{HOST}:{self.ports.carrier}",
            folder=folder,
            acorn=Path(sys.executable).parent / "acorn",
        )
        text = f"{addresses}\n{nine_things(home, examples)}\n\nready"
        print(text, flush=True)  # noqa: T201  the demo's answer to whoever waits for it

    async def _watch(self) -> None:
        """Until a signal, or until something of it breaks down."""
        while True:
            self._check()
            await asyncio.sleep(0.5)

    def _stop(self) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)  # it is stopping already
        self.console.print("Stopping …")
        # Workers and gateway first: they are in the middle of asking the others.
        theirs = [child for child in self.children if not child.name.endswith("-sandbox")]
        children.stop(theirs)
        children.stop([child for child in self.children if child not in theirs])


@contextmanager
def _folder() -> Iterator[Path]:
    """Where everything of this run lies. The engines' keeper deletes it as well, should we be killed."""
    folder = Path(tempfile.mkdtemp(prefix="acorn-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environ(settings: Settings) -> dict[str, str]:
    """The settings as the children read them."""
    return {
        "ACORN_DATABASE_URL": settings.database_url.get_secret_value(),
        "ACORN_REDIS_URL": settings.redis_url.get_secret_value(),
        "ACORN_CONFIG": str(settings.config),
        "ACORN_HOST": settings.host,
        "ACORN_PORT": str(settings.port),
        "ACORN_GRAPHIQL_KEY": settings.graphiql_key.get_secret_value(),
        "ACORN_KEYS": ",".join(one.get_secret_value() for one in settings.keys),
        # Whoever tries webhooks has a receiver on this machine.
        "ACORN_WEBHOOK_LOOPBACK": "true",
    }


async def _make_keys(house: House) -> None:
    """Keys that everybody knows; they exist in the demo's own database and nowhere else."""
    async with house.store.begin() as tx:
        for secret, scopes in KEYS.items():
            # Logs name a key, and no secret belongs there, however well known.
            name = secret.removeprefix("demo-")
            await api_key.create(tx, f"key_{name}", name, hash_secret(secret), scopes, None)


async def _tell_rates(house: House) -> None:
    """Rates of exchange of all days that the sandboxes know of, so that profit can be told in one currency."""
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=ago) for ago in range(RATE_DAYS)]
    async with house.store.begin() as tx:
        await fx.keep(
            tx, [FxRate("EUR", quote, rate, day, "demo") for quote, rate in RATES.items() for day in days], "demo"
        )


async def _examples(house: House) -> Examples:
    """What the demo shows things with, one of Amazon's orders where there is one."""
    found: list[Order] = []
    for status in SHIPPABLE:
        async with house.store.begin() as tx:
            page, _ = await order.page(tx, first=100, statuses=[status])
        found += [one for one in page if one.fulfilled_by is FulfilledBy.MERCHANT]
    if not found:
        raise DemoFailed("The sandboxes gave no order that could be shipped. This is a mistake of ours.")
    best = next((one for one in found if one.channel != SHOP), found[0])
    async with house.store.begin() as tx:
        everywhere, _ = await product.page(tx, first=100, channel=ChannelId("amazon-jp"))
        skus = [one.sku for one in everywhere]
        listings = await product.listings_by_skus(tx, skus)
        balances = await ledger.balances(tx, skus)
        sold, _ = await product.page(tx, first=100, channel=SHOP)
        offers = await product.listings_by_skus(tx, [one.sku for one in sold])
    shared = (
        sku
        for sku in skus
        if all(one.fulfilled_by is FulfilledBy.MERCHANT for one in listings[sku])
        and sum(one.free for one in balances.get(sku, ())) > 1
    )
    priced, price = next(
        (sku, one.price)
        for sku, sellers in offers.items()
        for one in sellers
        if one.channel == SHOP and one.price is not None and one.sale_price is None
    )
    raised = round(price.amount * Decimal("1.05"), minor_digits(price.currency))
    return Examples(best, skus[0], next(shared, skus[0]), priced, Money(raised, price.currency))

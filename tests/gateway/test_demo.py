"""`acorn demo`, as a process: it stands, answers what it says can be pasted, stands beside another, and leaves nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.auth import hash_secret
from gateway.demo import DemoFailed, Ports, _Demo, _make_keys, run
from gateway.demo_text import KEYS
from gateway.engines import Engines
from gateway.settings import Settings
from gateway.wiring import build_house
from schema.scopes import ALL
from store import api_key
from store.session import Store

ROOT = Path(__file__).parents[2]


@dataclass(slots=True)
class Demo:
    """A running demo; `folder` holds all that it puts on the disk."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path

    def said(self) -> str:
        return (self.folder / "said").read_text(encoding="utf-8")

    def ready(self) -> bool:
        assert self.process.poll() is None, self.said()
        return self.said().endswith("\nready\n")

    def left(self) -> list[str]:
        """What is left of it: files, and who still listens."""
        files = [one.name for one in self.folder.iterdir() if one.name != "said"]
        return files + [f"port {port}" for port in range(self.port, self.port + 31, 10) if answered(port)]


def answered(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """One whose neighbors ten, twenty and thirty above are free too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port + 30 < 65_536 and not any(answered(port + above) for above in (10, 20, 30)):
            return port


def wait_for(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


@contextmanager
def started(shop: str = "shopify") -> Iterator[Demo]:
    # A short path, as sockets need.
    folder = Path(tempfile.mkdtemp(prefix="ad-", dir="/tmp"))
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ACORN_")}
    with (folder / "said").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo", "--shop", shop],
            env={**kept, "ACORN_PORT": str(port), "TMPDIR": str(folder)},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    demo = Demo(port, process, folder)
    try:
        yield demo
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(90)
        shutil.rmtree(folder, ignore_errors=True)


def test_demo_keys_are_what_their_names_say() -> None:
    assert {name: sorted(scopes) for name, scopes in KEYS.items() if name != "demo-admin"} == {
        "demo-storefront": ["catalog:read", "stock:read"],
        "demo-checkout": ["catalog:read", "stock:read", "stock:reserve"],
        "demo-operator": [
            "catalog:read",
            "channels:write",
            "operations:approve",
            "orders:read",
            "prices:write",
            "refunds:write",
            "schema:read",
            "shipments:write",
            "stock:read",
            "stock:write",
        ],
        "demo-finance": ["catalog:read", "finance:read", "finance:write", "orders:read"],
        "demo-dashboard": ["apicalls:read", "catalog:read", "finance:read", "orders:read", "schema:read", "stock:read"],
    }
    assert KEYS["demo-admin"] == ALL


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for above, what in (
        (0, "the gateway"),
        (10, "the Amazon sandbox"),
        (20, "the Shopify sandbox"),
        (30, "the Carrier sandbox"),
    ):
        port = free_port()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port + above))
            taken.listen()
            with pytest.raises(DemoFailed) as caught:
                run(port)
        assert str(caught.value) == (
            f"Port {port + above}, meant for {what}, cannot be used: Address already in use. "
            f"Choose another place for the whole demo, such as ACORN_PORT={port + 100} make demo."
        )
    with pytest.raises(DemoFailed, match="must lie between 1 and 65505"):
        run(65_506)
    with pytest.raises(DemoFailed, match="'magento' is no shop that there is a sandbox of: shopify, rest"):
        run(8000, "magento")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_ends_the_command_with_words() -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 10))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "demo"],
            env={**os.environ, "ACORN_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=90,
        )
    told = done.stdout + done.stderr
    assert (done.returncode, str(port + 10) in told, "ACORN_PORT" in told) == (1, True, True)


async def test_no_secret_is_a_name(settings: Settings, store: Store) -> None:
    """Logs name a key."""
    house = await build_house(settings)
    await _make_keys(house)
    await house.close()
    async with store.begin() as tx:
        kept = {one.name: one for one in await api_key.all(tx)}
        found = [await api_key.by_hash(tx, hash_secret(secret)) for secret in KEYS]
    assert sorted(kept) == ["admin", "checkout", "dashboard", "finance", "operator", "storefront"]
    assert found == [kept[secret.removeprefix("demo-")] for secret in KEYS]
    assert not {one.id for one in kept.values()} & set(KEYS)


def test_an_engine_that_ends_by_itself_ends_the_demo() -> None:
    said = json.dumps({"error": "PostgreSQL has ended by itself. Its last words:\nout of memory"})
    keeper = subprocess.Popen(
        [sys.executable, "-c", f"print({said!r})"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    keeper.wait(30)
    demo = _Demo(Ports(8000))
    demo.engines = Engines("", "", keeper)
    with pytest.raises(DemoFailed, match="PostgreSQL has ended by itself"):
        asyncio.run(demo._watch())
    demo.engines.stop()


def test_two_demos_stand_side_by_side_and_neither_leaves_a_trace() -> None:
    with started() as first, started("rest") as second:
        wait_for(first.ready, 240)
        check_readme(first)  # at once: what it answers is as fresh as it says for a minute
        wait_for(second.ready, 240)
        for demo in (first, second):
            answer = httpx.post(
                f"http://127.0.0.1:{demo.port}/graphql",
                json={"query": "{ products(first: 2) { totalCount nodes { sku } } }"},
                headers={"authorization": "Bearer demo-storefront"},
                timeout=30,
            )
            assert answer.json()["data"]["products"]["totalCount"] == 500
        wait_for(lambda: numbers_are_shown(first), 240)
        check_pastes(first)
        family = descendants(first.process.pid)
        assert len(family) >= 5, "three sandboxes, a gateway, a worker"
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(90) == 0
        assert first.left() == []
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), 60)
        # Killed without a chance to stop anything.
        second.process.kill()
        second.process.wait()
        wait_for(lambda: second.left() == [], 90)


def descendants(pid: int) -> set[int]:
    """The processes below one, by Linux's own word."""
    found: set[int] = set()
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for below in map(int, child.read_text().split()):
            found |= {below} | descendants(below)
    return found


def check_readme(demo: Demo) -> None:
    """Its first query is answered as it says, its order is shipped, and its keys are there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    stock, queue, ship, _ = re.findall(r"```graphql\n(.*?)```", readme, re.DOTALL)
    [answer] = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)

    def ask(query: str, key: str, **variables: str) -> Any:
        headers = {"authorization": f"Bearer {key}"}
        url = f"http://127.0.0.1:{demo.port}/graphql"
        return httpx.post(url, json={"query": query, "variables": variables}, headers=headers, timeout=30).json()

    assert ask(stock, "demo-storefront") == {"data": json.loads(answer)}
    [next_one] = ask(queue, "demo-operator")["data"]["orderQueue"]["nodes"]
    placed = next_one["order"]["placedAt"]
    shipped = ask(ship, "demo-operator", order=next_one["order"]["id"], shippedAt=placed)["data"]["confirmShipments"]
    assert (shipped["userErrors"], shipped["operation"]["status"]) == ([], "QUEUED")
    for key in KEYS:
        assert key in demo.said()
        assert ask("{ __typename }", key) == {"data": {"__typename": "Query"}}
    assert ask("{ __typename }", "demo-nobody")["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


def numbers_are_shown(demo: Demo) -> bool:
    """Whether all channels show the number of the SKU that is about to be reserved: at first all numbers of all SKUs are told."""
    [sku] = re.findall(r'reserveStock\(.*?sku: \\"([^"\\]+)', demo.said())
    answer = httpx.post(
        f"http://127.0.0.1:{demo.port}/graphql",
        json={"query": f'{{ stock(skus: ["{sku}"]) {{ channels {{ confirmedAt }} }} }}'},
        headers={"authorization": "Bearer demo-storefront"},
        timeout=30,
    )
    return all(one["confirmedAt"] for one in answer.json()["data"]["stock"][0]["channels"])


def check_pastes(demo: Demo) -> None:
    """The nine things to paste do what is said of them."""
    if shutil.which("bash") is None or shutil.which("curl") is None:
        pytest.skip("what the demo says to paste needs bash and curl")
    said = demo.said()
    text = said[said.index("Nine things to paste:") : said.index("Ctrl-C stops")]
    script = "\n".join(line for line in text.splitlines()[1:] if not re.match(r"\d\. ", line))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=600, check=True)
    assert re.search(r'"availableToSell":\d+,"freshness":"(FRESH|LIVE)"', done.stdout)
    assert '"bill":{"upstreamCalls":' in done.stdout
    assert '"orderQueue":{"totalCount":' in done.stdout
    assert '"status":"ON_HOLD","holds":[{"words":"A first try.","madeBy":"operator"}]' in done.stdout
    assert re.search(
        r'"releaseOrders":\{"orders":\[\{"status":"(PARTIALLY_|UN)SHIPPED"\}\],"userErrors":\[\]\}', done.stdout
    )
    assert re.search(r"^.*Operation:[0-9a-f-]{36}$", done.stdout, re.MULTILINE)
    assert '"status":"SUCCEEDED","progress":{"total":1,"accepted":1,"verified":1,"failed":0}' in done.stdout
    assert done.stdout.count("event: complete") == 2
    assert '"changePercent":"5' in done.stdout
    assert '"approveOperation":{"operation":{"status":"' in done.stdout
    assert re.search(r"^Reservation:[0-9a-f-]{36}$", done.stdout, re.MULTILINE)
    [seen] = [line for line in done.stdout.splitlines() if '{"label":"open reservations","quantity":-1}' in line]
    [stock] = json.loads(seen)["data"]["stock"]
    assert {one["quantity"] for one in stock["channels"]} == {stock["availableToSell"]}
    assert all(one["confirmedAt"] for one in stock["channels"])
    assert '"releaseReservation":{"reservation":{"status":"RELEASED"}' in done.stdout
    assert re.search(r'"settlements":\{"totalCount":\d+,"nodes":\[', done.stdout)
    assert re.search(r'\{"data":\{"profit":\[.*"unitsWithoutCost":0,', done.stdout), (
        "told in one currency, by the demo's rates"
    )
    glance = json.loads("{" + done.stdout.rpartition("}{")[2])["data"]
    assert (len(glance["stock"]), len(glance["orders"]["nodes"])) == (1, 5)
    assert {*glance} == {"stock", "orders", "today", "month"}

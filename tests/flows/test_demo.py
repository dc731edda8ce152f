"""`acorn demo` as a newcomer meets it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
# One that breaks down says so by ending; this is for one that does nothing.
START_WITHIN_S = 240


def free_ports() -> int:
    """A port whose neighbors at +10, +20 and +30 are free too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port + 30 < 65_536 and all(is_free(port + step) for step in (0, 10, 20, 30)):
            return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def begin(port: int) -> Process:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ACORN_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "demo",
        stdout=PIPE,
        stderr=STDOUT,
        cwd=ROOT,
        env={**environ, "ACORN_PORT": str(port)},
    )


async def said_until(process: Process, line: str) -> str:
    """Everything it said, up to and including the line."""
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(START_WITHIN_S):
        while not re.search(rf"^{line}$", said, re.MULTILINE):
            more = (await process.stdout.readline()).decode()
            assert more, said
            said += more
    return said


@asynccontextmanager
async def demo(port: int) -> AsyncIterator[tuple[Process, str]]:
    """A demo that is ready, and what it said."""
    process = await begin(port)
    try:
        yield process, await said_until(process, "ready")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.communicate(), 30)


def descendants(pid: int) -> set[int]:
    """The processes below one, by Linux's own word."""
    found: set[int] = set()
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for below in map(int, child.read_text().split()):
            found |= {below} | descendants(below)
    return found


async def ask(port: int, query: str, key: str = "demo-storefront", **variables: Any) -> Any:
    async with httpx.AsyncClient(timeout=30) as http:
        answer = await http.post(
            f"http://127.0.0.1:{port}/graphql",
            json={"query": query, "variables": variables},
            headers={"authorization": f"Bearer {key}"},
        )
    return answer.json()


async def test_the_readmes_first_query_is_answered_as_it_says_and_nothing_is_left_behind() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    query = re.search(r"```graphql\n(.*?)```", readme, re.DOTALL)
    answer = re.search(r"```json\n(.*?)```", readme, re.DOTALL)
    assert query is not None
    assert answer is not None
    port = free_ports()
    async with demo(port) as (process, said):
        told = await ask(port, query[1])
        assert told == {"data": json.loads(answer[1])}
        for key in ("demo-storefront", "demo-checkout", "demo-operator", "demo-finance", "demo-admin"):
            assert key in said
            assert "errors" not in await ask(port, "{ __typename }", key)
        assert (await ask(port, "{ __typename }", "demo-nobody"))["errors"][0]["extensions"][
            "code"
        ] == "UNAUTHENTICATED"
        family = descendants(process.pid)
        assert len(family) >= 4, "two sandboxes, a gateway, a worker"
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 30)
    async with asyncio.timeout(10):
        while any(Path(f"/proc/{pid}").exists() for pid in family):
            await asyncio.sleep(0.05)
    assert all(is_free(port + step) for step in (0, 10, 20))


async def test_a_taken_port_is_said_clearly_before_anything_starts() -> None:
    port = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 10))
        taken.listen()
        process = await begin(port)
        told, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert str(port + 10) in told.decode()
    assert "ACORN_PORT" in told.decode()

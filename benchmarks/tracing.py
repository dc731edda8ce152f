"""What tracing takes: the contract's stock query over HTTP without it, with its spans thrown away, and with a collector told.

    python -m benchmarks.tracing [--rounds 20] [--seconds 0.5]

Servers as in production on one core, asked in turn, one without it twice, to show what chance does; no answer is given again as
bytes, so each is an operation with its levels.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.edge import Served, engines_with_stock, process, questions, requests, serve, settings_for
from benchmarks.load import Rate, load
from gateway import wiring
from gateway.settings import Settings
from gateway.tracing import BATCH, EVERY_MS, QUEUE, Tracing

ASKED = ("1 SKU", "50 SKUs")
OFF, AGAIN, SPANS, SHARE, ALL = (
    "off",
    "off, another",
    "all spans, thrown away",
    "a collector told, as set",
    "a collector told of all",
)
GOALS = {SHARE: 0.9}


class Nowhere(SpanExporter):
    """Takes spans and keeps none."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Collector(BaseHTTPRequestHandler):
    """Takes whatever it is told."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """An export."""
        self.rfile.read(int(self.headers["content-length"]))
        with suppress(BrokenPipeError):  # whoever told it is gone
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


def collect(pipe: Connection) -> None:
    """A collector's process; it tells its port."""
    server = HTTPServer(("127.0.0.1", 0), Collector)
    pipe.send(server.server_port)
    server.serve_forever()


def serve_spans(pipe: Connection, settings: Settings, core: int) -> None:
    """A gateway's process that makes spans for nobody."""
    wiring.tracing_of = lambda settings: Tracing(BatchSpanProcessor(Nowhere(), QUEUE, EVERY_MS, BATCH))
    serve(pipe, settings, core)


def measure(rounds: int, seconds: float) -> dict[str, dict[str, list[Rate]]]:
    """The rounds of each question and server."""
    *others, core = sorted(os.sched_getaffinity(0))
    # PostgreSQL, Redis and the collector, which we start, stay there too.
    os.sched_setaffinity(0, others or {core})
    with tempfile.TemporaryDirectory(prefix="acorn-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        engines, key = stack.enter_context(engines_with_stock(folder))
        settings = settings_for(engines, folder, 0)
        collector = stack.enter_context(process(collect))
        update = {"tracing": "otlp", "tracing_endpoint": f"http://127.0.0.1:{collector.port}"}
        share = settings.model_copy(update=update)
        all_ = settings.model_copy(update=update | {"tracing_share": 1.0})
        servers = {
            OFF: stack.enter_context(process(serve, settings, core)),
            SHARE: stack.enter_context(process(serve, share, core)),
            AGAIN: stack.enter_context(process(serve, settings, core)),
            SPANS: stack.enter_context(process(serve_spans, settings, core)),
            ALL: stack.enter_context(process(serve, all_, core)),
        }
        found: dict[str, dict[str, list[Rate]]] = {}
        for what in ASKED:
            asked = requests(questions()[what], key)
            for server in servers.values():
                _rate(server, asked, seconds)
            found[what] = {way: [] for way in servers}
            # What the last of them has queued is sent while others are asked: it must not be those that are compared.
            for compared in ((OFF, SHARE, AGAIN), (SPANS, ALL)):
                for _ in range(rounds):
                    for way in compared:
                        found[what][way].append(_rate(servers[way], asked, seconds))
        return found


def _rate(server: Served, asked: Sequence[bytes], seconds: float) -> Rate:
    return uvloop.run(load(server.pid, server.port, asked, seconds))


def main(
    rounds: Annotated[int, typer.Option(help="rounds per question and server")] = 20,
    seconds: Annotated[float, typer.Option(help="of each round")] = 0.5,
) -> None:
    """Print the medians, and whether the goal is met."""
    write = sys.stdout.write
    write("\nanswers per second of one core, and milliseconds of processor each\n\n")
    for what, ways in measure(rounds, seconds).items():
        for way, rates in ways.items():
            per_second = statistics.median(one.per_second for one in rates)
            cpu_ms = statistics.median(one.cpu_ms for one in rates)
            # Of the processor's time, round by round, against both without: what else the machine does comes and goes.
            without = [(one.cpu_ms + other.cpu_ms) / 2 for one, other in zip(ways[OFF], ways[AGAIN], strict=True)]
            kept = statistics.median(off_ms / one.cpu_ms for off_ms, one in zip(without, rates, strict=True))
            told = f"  {kept:.1%} of the throughput"
            if (goal := GOALS.get(way)) is not None:
                told += f", goal {goal:.0%}: {'met' if kept >= goal else 'NOT MET'}"
            write(f"{what:>8}, {way:<26}{per_second:>8,.0f}/s {cpu_ms:>7.3f} ms{told}\n")


if __name__ == "__main__":
    typer.run(main)

"""What operations spend their time on, told to a collector as OpenTelemetry spans. Off unless it is set (docs/tracing.md).

One span per operation, per level of its plan and per upstream call, never per field. A span is made when it has ended, out of two
readings of the clock: that takes a tenth of the time which a span of the SDK's takes that is recorded while it lasts.

Nothing here is imported while tracing is off, since the SDK may not be installed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextvars import ContextVar, Token
from random import getrandbits
from types import TracebackType
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from adapters.route import Routed
from adapters.transport import Made
from domain.budget import Bill
from executor import Watch
from gateway.asgi import Scope, header, named
from gateway.errors import Told
from gateway.execution import Answer, Run
from gateway.settings import Settings

SERVICE = "acorn-gateway"
EXPORT_S = 5
# A batch is sent when there are so many, or every so often; what comes faster than it can be sent is lost. Batches are small, and
# attributes plain values, for the sake of the garbage collector: what lives through its rounds costs more than being made.
QUEUE, BATCH, EVERY_MS = 8_192, 256, 2_000
LONGEST_NAME = 100
MOST_FIELDS = 20

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_FAILED = Status(StatusCode.ERROR)
_UNSET = Status(StatusCode.UNSET)
_SCOPE = InstrumentationScope("acorn")
_PROPAGATOR = TraceContextTextMapPropagator()

# (the span of the client that a request came with, the transport it came by)
_ARRIVAL: ContextVar[tuple[SpanContext | None, str]] = ContextVar("_ARRIVAL", default=(None, "http"))
_ALONE = {transport: (None, transport) for transport in ("http", "websocket")}
_CURRENT: ContextVar[Silent | None] = ContextVar("_CURRENT", default=None)


class Silent:
    """An operation that nobody is told of: nor is anything that begins inside."""

    __slots__ = ("_before",)

    def resume(self) -> None:
        """What begins from here on in this task is part of it: for generators, whose parts may run in other tasks."""
        _CURRENT.set(self)

    def end(self) -> None:
        """It has ended."""

    def enter(self) -> Token[Silent | None]:
        """What begins from here on is part of it, until `leave` is told what this answers; it goes on."""
        return _CURRENT.set(self)

    def leave(self, before: Token[Silent | None]) -> None:
        """See `enter`."""
        _CURRENT.reset(before)

    def __enter__(self) -> Silent:
        self._before = self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave(self._before)


_SILENT = Silent()


class Span(Silent):
    """Something that takes its time. As a context manager it lasts around all that begins inside, and ends with it."""

    __slots__ = ("_tracing", "attributes", "began_ns", "context", "depth", "failed", "kind", "name", "parent")

    def __init__(
        self,
        tracing: Tracing,
        name: str,
        kind: SpanKind,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: dict[str, Any],
        depth: int = 0,
    ) -> None:
        self._tracing = tracing
        self.name = name
        self.kind = kind
        self.context = context
        self.parent = parent
        self.attributes = attributes
        self.depth = depth
        self.failed = False
        self.began_ns = time.time_ns()

    def end(self) -> None:
        """Tell of it."""
        self._tracing.tell(self, time.time_ns())

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave(self._before)
        if kind is not None:
            self.failed = True
            self.attributes["error.type"] = kind.__name__
        self.end()


class _Process(Resource):
    """What describes the process. Its hash, which the encoder asks for with every span, is worked out once."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = hash(resource)

    def __hash__(self) -> int:
        return self._hash


class Tracing:
    """Makes the spans of a process and hands those that have ended to `processor`.

    `share` is the part of operations that is told of, from 0 to 1. A client that sends a `traceparent` has decided for itself.
    """

    def __init__(self, processor: SpanProcessor, share: float = 1.0) -> None:
        self._processor = processor
        self._resource = _Process(Resource.create({"service.name": SERVICE}))
        self._ids = RandomIdGenerator()
        self._bound = round(share * 2**64)

    @classmethod
    def to_collector(cls, settings: Settings) -> Tracing:
        """Tells the collector that is set, in batches, from a thread of its own."""
        exporter = OTLPSpanExporter(endpoint=f"{settings.tracing_endpoint}/v1/traces", timeout=EXPORT_S)
        return cls(BatchSpanProcessor(exporter, QUEUE, EVERY_MS, BATCH), settings.tracing_share)

    async def close(self) -> None:
        """Send what is left."""
        await asyncio.to_thread(self._processor.shutdown)

    def arrived(self, scope: Scope) -> None:
        """A request, or a connection, has come: its operations continue the trace that it names, if it names one."""
        _CURRENT.set(None)
        if b"traceparent" not in named(scope):
            _ARRIVAL.set(_ALONE[scope["type"]])
            return
        carrier = {name: told for name in ("traceparent", "tracestate") if (told := header(scope, name)) is not None}
        parent = get_current_span(_PROPAGATOR.extract(carrier)).get_span_context() if carrier else None
        _ARRIVAL.set((parent if parent is not None and parent.is_valid else None, scope["type"]))

    def arrived_alone(self) -> None:
        """A request has come over HTTP that names no trace. What begins in it is an operation, and nothing else."""
        if _ARRIVAL.get() is not _ALONE["http"]:
            _ARRIVAL.set(_ALONE["http"])

    def operation(self, run: Run) -> Span | None:
        """The span of an operation that begins; None where nobody is told of it, nor of what begins in this task from here on."""
        parent, transport = _ARRIVAL.get()
        context = self._begun(parent)
        if context is None:
            # Almost all are. It stays, for the next here sets its own: to set and reset it cost more than the rest.
            if _CURRENT.get() is not _SILENT:
                _CURRENT.set(_SILENT)
            return None
        kind, name = run.plan.kind.value, run.plan.name[:LONGEST_NAME]
        attributes = {
            "graphql.operation.type": kind,
            "graphql.operation.name": name,
            "acorn.document": run.plan.digest,
            "acorn.caller": run.caller.name,
            "acorn.request_id": run.request_id,
            "acorn.points": 0 if run.charge is None else run.charge.points,
            "acorn.transport": transport,
        }
        return Span(self, f"{kind} {name}".rstrip(), SpanKind.SERVER, context, parent, attributes)

    async def lasting(self, run: Run, source: AsyncGenerator[Answer, None]) -> AsyncGenerator[Answer, None]:
        """The answers of an operation that has several, inside one span that ends with them. Each may be asked for by another
        task, and closed by a third."""
        span = self.operation(run) or _SILENT
        try:
            span.resume()
            async for answer in source:
                self.answered(answer.errors)
                yield answer
                span.resume()
        finally:
            span.resume()
            await source.aclose()
            span.end()

    def answered(self, errors: Sequence[Told], bill: Bill | None = None) -> None:
        """What came of the operation that this task runs: its first error, and what it cost upstream."""
        span = _CURRENT.get()
        if not isinstance(span, Span):
            return
        if errors and not span.failed:
            span.failed = True
            span.attributes["error.type"] = str(errors[0].get("extensions", {}).get("code", ""))
        if bill is not None:
            span.attributes["acorn.upstream_calls"] = sum(line.calls for line in bill.lines.values())
            span.attributes["acorn.waited_ms"] = round(bill.waited_s * 1000)

    @property
    def watch(self) -> Watch | None:
        """What lasts around the levels of the operation that this task runs; None where nobody is told of it."""
        return self._level if isinstance(_CURRENT.get(), Span) else None

    def routed(self, routed: Routed) -> None:
        """A route was chosen to read stock by: told of the operation that this task runs, or alone where it is a worker's."""
        attributes = {f"acorn.route.{name}": value for name, value in routed.told().items()}
        around = _CURRENT.get()
        if isinstance(around, Span):
            around.attributes |= attributes
        elif around is None and (context := self._begun(None)) is not None:
            attributes["acorn.channel"] = routed.channel
            Span(self, "route", SpanKind.INTERNAL, context, None, attributes).end()

    def upstream(self, made: Made) -> None:
        """An upstream call has ended. It is part of what asked for it: of several that share it, of the first; of workers' calls
        each stands alone."""
        around = _CURRENT.get()
        parent = around.context if isinstance(around, Span) else None
        context = None if around is not None and parent is None else self._begun(parent)
        if context is None:
            return
        attributes = {
            "acorn.channel": made.call.channel,
            "acorn.operation": made.call.operation,
            "acorn.waited_ms": round(made.call.waited_s * 1000),
            "http.request.method": made.method,
            "server.address": made.host,
        }
        for name, value in (
            ("http.response.status_code", made.status),
            ("acorn.upstream_request_id", made.request_id),
            ("error.type", made.failure),
        ):
            if value is not None:
                attributes[name] = value
        span = Span(self, made.call.operation, SpanKind.CLIENT, context, parent, attributes)
        span.failed = made.failure is not None or made.status is None or made.status >= 400
        span.began_ns -= round(made.seconds * 1e9)
        span.end()

    def _begun(self, parent: SpanContext | None) -> SpanContext | None:
        """The identity of a new span; None where nobody is to be told of it."""
        if parent is not None:
            return self._below(parent) if parent.trace_flags.sampled else None
        # As the SDK's own sampler decides, by the lower half, so that all that are set alike tell the same traces.
        lower = getrandbits(64)
        if lower >= self._bound:
            return None
        trace_id = getrandbits(64) << 64 | lower
        return SpanContext(trace_id, self._ids.generate_span_id(), False, _SAMPLED)

    def _below(self, parent: SpanContext) -> SpanContext:
        return SpanContext(parent.trace_id, self._ids.generate_span_id(), False, _SAMPLED)

    def _level(self, fields: Sequence[tuple[str, int]]) -> Silent:
        """The span of a level: the fields that are resolved together, each with the number of its objects."""
        around = _CURRENT.get()
        if not isinstance(around, Span):  # an event that is executed for several, in the task of another
            return Silent()
        depth = around.depth + 1
        attributes = {
            "graphql.fields": ", ".join([name for name, _ in fields[:MOST_FIELDS]]),
            "acorn.objects": max((objects for _, objects in fields), default=0),
            "acorn.depth": depth,
        }
        context = self._below(around.context)
        return Span(self, f"level {depth}", SpanKind.INTERNAL, context, around.context, attributes, depth)

    def tell(self, span: Span, ended_ns: int) -> None:
        """Hand over a span that has ended."""
        self._processor.on_end(
            ReadableSpan(
                span.name,
                span.context,
                span.parent,
                self._resource,
                span.attributes,
                kind=span.kind,
                status=_FAILED if span.failed else _UNSET,
                start_time=span.began_ns,
                end_time=ended_ns,
                instrumentation_scope=_SCOPE,
            )
        )

"""Faults on order, at the wire: the outermost ASGI layer, which also writes the journal.

The whole answer is made first and only then journaled and sent, so whoever has an answer finds its call in the journal,
and an apply-then-fail has carried everything out before the connection is spoiled.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.journal import Journal

KINDS = ("status", "latency", "reset", "hang", "truncate", "apply_then_status", "apply_then_hang", "apply_then_reset")
_NEED_STATUS = ("status", "apply_then_status")
_FIELDS = ("operation", "kind", "status", "seconds", "probability", "count", "seed")
_LONG_S = 3600.0


@dataclass(slots=True)
class Rule:
    """One fault. `seconds` are real ones; `count` None means without limit; `fired` counts how often it struck."""

    operation: str
    kind: str
    status: int = 500
    seconds: float = 0.0
    probability: float = 1.0
    count: int | None = None
    seed: int = 0
    fired: int = 0
    dice: random.Random = field(default_factory=random.Random, repr=False)

    @classmethod
    def parse(cls, body: object) -> "Rule":
        """A rule of the control plane; ValueError says what is wrong with it."""
        if not isinstance(body, Mapping):
            raise ValueError("a fault is an object")
        if unknown := [name for name in body if name not in _FIELDS]:
            raise ValueError(f"a fault has no {unknown[0]!r}; it has {', '.join(_FIELDS)}")
        kind = body.get("kind")
        if kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}, not {kind!r}")
        count = body.get("count")
        rule = cls(
            operation=str(body.get("operation", "*")),
            kind=kind,
            status=int(body.get("status", 500)),
            seconds=float(body.get("seconds", _LONG_S if kind.endswith("hang") else 0.0)),
            probability=float(body.get("probability", 1.0)),
            count=None if count is None else int(count),
            seed=int(body.get("seed", 0)),
        )
        if kind in _NEED_STATUS and not 400 <= rule.status <= 599:
            raise ValueError("status lies between 400 and 599")
        if not 0 <= rule.probability <= 1 or rule.seconds < 0:
            raise ValueError("probability lies between 0 and 1, and seconds are not negative")
        rule.dice.seed(rule.seed)
        return rule

    def strikes(self, operation: str) -> bool:
        """Whether it strikes this call; a yes is counted."""
        if self.operation not in ("*", operation) or (self.count is not None and self.fired >= self.count):
            return False
        if self.probability < 1 and self.dice.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def shown(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*_FIELDS, "fired")}


class Faults:
    """The rules in force, in order; the first that strikes a call decides it."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def replace(self, bodies: object) -> None:
        """Put these rules in place of all there are. ValueError when one is malformed; then nothing changes."""
        if not isinstance(bodies, list):
            raise ValueError('send {"faults": [...]}')
        try:
            self._rules = [Rule.parse(body) for body in bodies]
        except TypeError as problem:
            raise ValueError(str(problem)) from problem

    def pick(self, operation: str) -> Rule | None:
        return next((rule for rule in self._rules if rule.strikes(operation)), None)

    def shown(self) -> list[dict[str, Any]]:
        return [rule.shown() for rule in self._rules]


class Named(Protocol):
    """What the wall must know of a platform."""

    def describe(self, scope: Scope, body: bytes) -> tuple[str, list[str]]:
        """The operation a request asks for, and the SKUs or order ids in it."""
        ...

    def fault_answer(self, operation: str, status: int) -> Response:
        """The answer the platform gives with this status when it fails by itself."""
        ...


class Wall:
    """Stands before an app: names each call, spoils it when a rule strikes, journals it.

    An app may add ids to `scope["sandbox.ids"]`. Paths for which `open_to` is true pass unseen.
    """

    def __init__(
        self, app: ASGIApp, platform: Named, faults: Faults, journal: Journal, open_to: Callable[[str], bool]
    ) -> None:
        self._app = app
        self._platform = platform
        self._faults = faults
        self._journal = journal
        self._open_to = open_to

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._open_to(scope["path"]):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        operation, ids = self._platform.describe(scope, body)
        scope["sandbox.operation"] = operation
        scope["sandbox.ids"] = ids
        scope["sandbox.body"] = body
        rule = self._faults.pick(operation)
        kind = rule.kind if rule else ""
        if rule and kind == "latency":
            await asyncio.sleep(rule.seconds)
        answer = _Answer()
        if kind in ("", "latency", "truncate") or kind.startswith("apply_then_"):
            await self._app(scope, _replay(body), answer.take)
        if rule and kind in _NEED_STATUS:
            answer = _Answer()
            await self._platform.fault_answer(operation, rule.status)(scope, _replay(b""), answer.take)
        silent = kind.endswith(("reset", "hang"))
        self._journal.call(
            operation,
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            0 if silent else answer.status,
            scope["sandbox.ids"],
        )
        if rule and silent:
            await _say_nothing(rule.seconds if kind.endswith("hang") else 0.0, receive, send)
        elif kind == "truncate":
            await _send_half(answer, receive, send)
        else:
            await answer.replay(send)


class _Answer:
    """A whole answer, kept."""

    def __init__(self) -> None:
        self._start: Message = {"type": "http.response.start", "status": 500, "headers": []}
        self.body = b""

    @property
    def status(self) -> int:
        return int(self._start["status"])

    @property
    def start(self) -> Message:
        return self._start

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def replay(self, send: Send) -> None:
        await send(self._start)
        await send({"type": "http.response.body", "body": self.body})


async def _read(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _say_nothing(seconds: float, receive: Receive, send: Send) -> None:
    """Keep silent for `seconds`, or until the client has gone, then cut the connection without a byte."""
    if seconds:
        gone = asyncio.ensure_future(receive())
        await asyncio.wait([gone], timeout=seconds)
        if gone.done():
            return
        gone.cancel()
    _transport(send).abort()
    await receive()


async def _send_half(answer: _Answer, receive: Receive, send: Send) -> None:
    headers = [(name, value) for name, value in answer.start["headers"] if name.lower() != b"content-length"]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({**answer.start, "headers": headers})
    if len(answer.body) < 2:
        await send({"type": "http.response.body", "body": answer.body})
        return
    await send({"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True})
    _transport(send).close()
    await receive()


def _transport(send: Send) -> asyncio.Transport:
    # uvicorn hands out a bound method of the cycle that owns the socket; no ASGI message closes a connection.
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("the sandbox cuts this connection")
    return transport  # type: ignore[no-any-return]  # uvicorn's cycle is reached through getattr

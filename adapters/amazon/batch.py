"""Batches: Amazon answers 200, and each question in it has a status and errors of its own, which stay with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

import orjson

from adapters.amazon.client import Client
from adapters.amazon.errors import failure
from adapters.amazon.plans import PLANS
from adapters.amazon.wire import rejected
from adapters.transport import Answer
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import HouseError, Invalid, Transient
from domain.ids import ChannelId
from domain.product import Rejected

T = TypeVar("T")
Told: TypeAlias = T | HouseError | Rejected


class StatusLine(Wire):
    """How one question of a batch fared."""

    status_code: int


class Envelope(Wire):
    """The answer to one question. `request` repeats the question where Amazon does that."""

    status: StatusLine
    headers: Mapping[str, str] | None = None
    body: object = None
    request: object = None


class Batch(Wire):
    """All answers."""

    responses: list[object]


async def batch(
    client: Client,
    operation: str,
    path: str,
    most: int,
    keys: Sequence[str],
    bodies: Sequence[object],
    ask: Ask,
    asked: Callable[[Envelope], str],
    of: Callable[[Envelope, datetime], T],
) -> list[Told[T]]:
    """One answer per key. What Amazon leaves out is Transient; what cannot be placed or understood is Rejected."""
    if len(keys) > most:
        raise Invalid(f"{operation} takes {most} questions at most; {len(keys)} were given.")
    if not keys:
        return []
    as_of = datetime.now(UTC)
    answer, request_id = await client.read(operation, path, {"requests": bodies}, ask, Batch)
    told = told_of(client.channel, operation, answer.responses, request_id, as_of, asked, of)
    missing = f"{operation} gave no answer for "
    return [told.get(key) or Transient(f"{missing}{key}.", upstream_request_id=request_id) for key in keys]


def told_of(
    channel: ChannelId,
    operation: str,
    raws: Sequence[object],
    request_id: str | None,
    as_of: datetime,
    asked: Callable[[Envelope], str],
    of: Callable[[Envelope, datetime], T],
) -> dict[str, Told[T]]:
    """The answers by what they are about. One that does not say what it is about answers nothing."""
    told: dict[str, Told[T]] = {}
    for raw in raws:
        try:
            envelope = read(Envelope, raw)
            key = asked(envelope)
        except Unclear:
            continue
        try:
            ill = not 200 <= envelope.status.status_code < 300
            told[key] = _failure(operation, envelope, request_id) if ill else of(envelope, as_of)
        except Unclear as problem:
            told[key] = replace(rejected(channel, operation, "request", raw, problem), key=key)
    return told


def _failure(operation: str, envelope: Envelope, request_id: str | None) -> HouseError:
    """What the status of one question means: the same as if it had been asked alone."""
    status, body = envelope.status.status_code, orjson.dumps(envelope.body, default=str)
    alone = Answer(status, {}, body, (envelope.headers or {}).get("x-amzn-RequestId") or request_id)
    return failure(alone, PLANS[operation], write=False)

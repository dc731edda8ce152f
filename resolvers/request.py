"""What all requests for a change have in common: words that can be kept, and a key under which a repetition finds the first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Invalid, Refused
from domain.ids import ChannelId, OperationId
from domain.operation import Kind, NewItem, Operation, OperationStatus
from resolvers.shelf import Shelf
from store import operation

L = TypeVar("L")
Made = tuple[Sequence[NewItem], Sequence[Refused]]

LONGEST_WORD = 100


@dataclass(slots=True)
class Accepted:
    """The operation, or why nothing was kept."""

    operation: Operation | None
    problems: list[Refused]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for a change, under which key its repetition finds the first answer, and the hash of what is asked."""

    requested_by: str
    correlation_id: str
    contents: str
    idempotency_key: str | None = None
    dry_run: bool = False


async def keep(
    shelf: Shelf,
    asked: Asked,
    kind: Kind,
    lock: Callable[[AsyncConnection], Awaitable[L]],
    make: Callable[[AsyncConnection, L], Awaitable[Made]],
    *,
    waits: Callable[[Sequence[NewItem]], bool] = lambda _: False,
    id: OperationId | None = None,
) -> Accepted:
    """Keep an operation with the items that `make` makes, all or none, and wake its lanes.

    `lock` holds what the request is about and tells how that stands; `make` says what is wrong, if anything is. An operation
    that `waits` for a second person wakes nobody. A repeated idempotency key answers the first operation as it stands; with other
    contents it is a Conflict.
    """
    usual = OperationStatus.PREVIEW if asked.dry_run else OperationStatus.QUEUED
    try:
        check_key(asked.idempotency_key)
        async with shelf.store.begin() as tx:
            held = await lock(tx)
            # Behind the lock: of parallel repeats all but one find what the first has made, not that its units are gone.
            first = await operation.by_key(tx, asked.requested_by, asked.idempotency_key, asked.contents)
            if first is not None:
                return Accepted(first, [])
            items, problems = await make(tx, held)
            if problems:
                return Accepted(None, list(problems))
            kept, created = await operation.create(
                tx,
                kind=kind,
                requested_by=asked.requested_by,
                idempotency_key=asked.idempotency_key,
                request_hash=asked.contents,
                dry_run=asked.dry_run,
                status=OperationStatus.AWAITING_APPROVAL if not asked.dry_run and waits(items) else usual,
                items=items,
                correlation_id=asked.correlation_id,
                id=id,
            )
    except Refused as problem:
        return Accepted(None, [problem])
    if created and kept.status is OperationStatus.QUEUED:
        for channel, capability in sorted({(item.channel, item.capability) for item in items}, key=lambda one: one[0]):
            await shelf.bell.ring(ChannelId(channel), capability)
    return Accepted(kept, [])


def check_word(field: str, word: str, at: tuple[str, ...] = (), longest: int = LONGEST_WORD) -> None:
    """Raises Invalid for what people could not read."""
    if not word.strip() or len(word) > longest or not word.isprintable():
        raise Invalid(f"`{field}` must be 1 to {longest} printable characters.", field=(*at, field))


def check_key(idempotency_key: str | None) -> None:
    """Raises Invalid for an idempotency key that cannot be kept."""
    if idempotency_key is not None and not 1 <= len(idempotency_key) <= LONGEST_WORD:
        raise Invalid(
            f"An idempotency key has 1 to {LONGEST_WORD} characters; leave it out for none.", field=("idempotencyKey",)
        )


def contents_hash(*told: object) -> str:
    """A hash of what was asked, as JSON values: equal for equal requests."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

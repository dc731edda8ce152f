"""The points that an answer says it cost, how the shop's bucket stands, and what each document is known to cost.

A document's true price is told by its first answer and shared by all processes: prices change without notice, and a document
that is paid with less than it asks for is throttled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any

from adapters.shopify.document import Document
from adapters.usual import Usual
from domain.ids import ChannelId

# An actual cost is told to the other processes when it differs from what they know by this share.
NEWS = 0.1


@dataclass(frozen=True, slots=True)
class Cost:
    """Points. `actual` is None where nothing was carried out; the three of the bucket are None where the answer is silent."""

    requested: float
    actual: float | None
    burst: float | None
    remaining: float | None
    rate: float | None

    def wait_s(self, otherwise_s: float) -> float:
        """Seconds until the bucket holds what was requested; `otherwise_s` where the answer does not tell."""
        if self.remaining is None or not self.rate:
            return otherwise_s
        return max(0.0, self.requested - self.remaining) / self.rate


@dataclass(slots=True)
class _Known:
    """Points of a document: what it asks for, and what it takes in the end (None: never told)."""

    requested: float
    actual: float | None


class Costs:
    """What documents cost in one shop, by name and text: a document that was rewritten is another one."""

    def __init__(self, usual: Usual, channel: ChannelId) -> None:
        self._usual = usual
        self._channel = channel
        self._known: dict[str, _Known] = {}

    async def requested(self, document: Document) -> float:
        """Points that the shop's bucket must hold for it: as told last, to whichever process; at first `Document.cost`."""
        return (await self._of(document)).requested

    async def actual(self, document: Document) -> float:
        """Points that it takes in the end: the usual number, or what it asks for where none is known."""
        known = await self._of(document)
        return known.requested if known.actual is None else known.actual

    async def learn(self, document: Document, cost: Cost) -> None:
        """An answer told."""
        known = await self._of(document)
        if cost.requested != known.requested:
            known.requested = cost.requested
            await self._usual.learn(self._channel, f"{_key(document)}:requested", cost.requested, new_share=1.0)
        if cost.actual is not None and _is_news(cost.actual, known.actual):
            name = f"{_key(document)}:actual"
            await self._usual.learn(self._channel, name, cost.actual)
            known.actual = await self._usual.amount(self._channel, name) or cost.actual

    async def _of(self, document: Document) -> _Known:
        key = _key(document)
        known = self._known.get(key)
        if known is None:
            requested = await self._usual.amount(self._channel, f"{key}:requested")
            actual = await self._usual.amount(self._channel, f"{key}:actual")
            known = self._known.setdefault(key, _Known(requested or document.cost, actual))
        return known


def _key(document: Document) -> str:
    return f"points:{document.name}:{sha256(document.text.encode()).hexdigest()[:8]}"


def _is_news(actual: float, known: float | None) -> bool:
    return known is None or abs(actual - known) > NEWS * max(known, 1.0)


def cost_of(extensions: Mapping[str, Any]) -> Cost | None:
    """`extensions.cost`; None where there is none, as on documents that fail the static validation."""
    told = extensions.get("cost")
    requested = _number(told.get("requestedQueryCost")) if isinstance(told, dict) else None
    if not isinstance(told, dict) or requested is None:
        return None
    bucket = told.get("throttleStatus")
    bucket = bucket if isinstance(bucket, dict) else {}
    return Cost(
        requested=requested,
        actual=_number(told.get("actualQueryCost")),
        burst=_number(bucket.get("maximumAvailable")),
        remaining=_number(bucket.get("currentlyAvailable")),
        rate=_number(bucket.get("restoreRate")),
    )


def _number(told: Any) -> float | None:
    """A number however it is written, whole or not; None for anything else."""
    return float(told) if isinstance(told, int | float | Decimal) and not isinstance(told, bool) else None

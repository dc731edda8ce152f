"""Platforms that tell what money moved before they pay, and write a settlement when they have.

Failures are those of the tree in `domain.errors`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from adapters.port import OrderKey, Page
from adapters.settlement import Read
from domain.budget import Ask
from domain.channel import Channel
from domain.finance import Transaction


@dataclass(frozen=True, slots=True)
class SettlementReport:
    """A settlement that the platform has written, or is at (`ended` is False then). `id` is the platform's own, `document` what
    it has its bytes under; `marketplace` a country code, where it is of one alone."""

    id: str
    created_at: datetime
    marketplace: str | None
    document: str | None
    ended: bool


@dataclass(frozen=True, slots=True)
class SettlementBytes:
    """A file that is still coming, as it lies there, packed or not, and what is said of its contents."""

    content_type: str
    chunks: AsyncIterator[bytes]


@runtime_checkable
class Settlements(Protocol):
    """Writes settlements as files."""

    channel: Channel
    read_settlement: Read

    async def settlement_reports(self, since: datetime, ask: Ask) -> list[SettlementReport]:
        """Those written since then, as far back as there are any, oldest first. What failed for good is left out."""
        ...

    def settlement_file(self, report: SettlementReport, ask: Ask) -> AbstractAsyncContextManager[SettlementBytes]:
        """The file of one that has ended. A walk over its chunks that comes to the end has seen all of it; others raise
        Transient."""
        ...


@runtime_checkable
class Movements(Protocol):
    """Tells what money moved, long before a settlement does."""

    def transaction_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Transaction]]:
        """All that moved since then, oldest first, and again what may have been told incompletely. What cannot be understood, or
        does not add up, is among `rejected`."""
        ...

    async def order_transactions(self, key: OrderKey, ask: Ask) -> Page[Transaction]:
        """All that ever moved for one order."""
        ...

"""Confirming many parcels at once, where a platform takes a file of them and works through it in its own time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias, runtime_checkable

from adapters.port import BeforeSend, OrderKey, Parcel, Receipt, Sighting
from domain.budget import Ask
from domain.errors import Refused

Bulk: TypeAlias = Sequence[tuple[OrderKey, Parcel]]


@dataclass(frozen=True, slots=True)
class InFile:
    """A parcel that left the house in a file asked for `at` that time: the file's name where an answer told it, and that of the
    file which an attempt `before` was in."""

    at: datetime
    file: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """What is known of such a parcel. `again_s`: the platform is not done with its file, and nothing can be told before so many
    seconds have passed. `refused` is what it says against the parcel; else `sighting` is what its order shows."""

    sighting: Sighting | None = None
    refused: Refused | None = None
    again_s: float | None = None


@runtime_checkable
class BulkShipments(Protocol):
    """Takes files of parcels beside single confirmations."""

    async def for_bulk(self, waiting: int) -> int:
        """Of so many parcels that wait, how many at the end of the line a file would bring there sooner than single calls, under
        the budgets as they stand; 0 where none is worth one. Raises Throttled when the budgets cannot be read."""
        ...

    async def confirm_in_bulk(self, parcels: Bulk, ask: Ask, before_send: BeforeSend) -> Receipt:
        """Send one file of parcels, all of one marketplace; the receipt's reference is the file's name.

        Raises what `Port.confirm_shipment` raises; then nothing of it is carried out, but after OutcomeUnknown nobody knows.
        """
        ...

    async def parcel_in_bulk(self, key: OrderKey, parcel: Parcel, sent: InFile, ask: Ask) -> Fate:
        """What has become of one of them. Without a file's name it is looked for among those that there are."""
        ...

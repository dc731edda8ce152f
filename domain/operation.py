"""Operations: what was asked to be changed in the world, item by item, and the transitions that are permitted.

PENDING ──▶ SENT ──▶ ACCEPTED ──▶ VERIFIED
   │  ▲       │ ╲         ╲
   │  └───────┘  ▶ FAILED   ▶ PARKED        SENT without an answer is an unknown outcome: it is read back first, and
   ▼                                        returns to PENDING only when it is provably absent.
CANCELLED, SUPERSEDED
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from domain.ids import OperationId


class Kind(Enum):
    """What can be asked for; imperative."""

    CONFIRM_SHIPMENTS = "CONFIRM_SHIPMENTS"
    ADJUST_STOCK = "ADJUST_STOCK"
    RESTOCK_RETURN = "RESTOCK_RETURN"
    CANCEL_ORDERS = "CANCEL_ORDERS"
    REFUND_ORDERS = "REFUND_ORDERS"
    SHIP_FROM_FBA = "SHIP_FROM_FBA"
    BUY_LABELS = "BUY_LABELS"
    VOID_LABELS = "VOID_LABELS"
    CANCEL_OUTBOUND = "CANCEL_OUTBOUND"
    RETURN_OUTBOUND = "RETURN_OUTBOUND"
    SYNC_NOW = "SYNC_NOW"
    BACKFILL_ORDERS = "BACKFILL_ORDERS"
    REQUEST_REPORT = "REQUEST_REPORT"
    UPDATE_PRICES = "UPDATE_PRICES"
    EXPORT = "EXPORT"
    EXPORT_ORDERS = "EXPORT_ORDERS"


# Whoever may ask for a change, approve it or administer may see its operations and decide about them; nobody else.
READERS: Mapping[Kind, frozenset[str]] = {
    Kind.CONFIRM_SHIPMENTS: frozenset({"shipments:write", "operations:approve", "admin"}),
    Kind.ADJUST_STOCK: frozenset({"stock:write", "operations:approve", "admin"}),
    Kind.RESTOCK_RETURN: frozenset({"stock:write", "operations:approve", "admin"}),
    Kind.CANCEL_ORDERS: frozenset({"shipments:write", "operations:approve", "admin"}),
    Kind.REFUND_ORDERS: frozenset({"refunds:write", "operations:approve", "admin"}),
    Kind.BUY_LABELS: frozenset({"shipments:write", "operations:approve", "admin"}),
    Kind.VOID_LABELS: frozenset({"shipments:write", "operations:approve", "admin"}),
    Kind.SHIP_FROM_FBA: frozenset({"shipments:write", "operations:approve", "admin"}),
    Kind.CANCEL_OUTBOUND: frozenset({"shipments:write", "operations:approve", "admin"}),
    Kind.RETURN_OUTBOUND: frozenset({"shipments:write", "operations:approve", "admin"}),
    Kind.SYNC_NOW: frozenset({"channels:write", "admin"}),
    Kind.BACKFILL_ORDERS: frozenset({"channels:write", "admin"}),
    Kind.REQUEST_REPORT: frozenset({"channels:write", "admin"}),
    Kind.UPDATE_PRICES: frozenset({"prices:write", "operations:approve", "admin"}),
    # Files of lists: who may read the list.
    Kind.EXPORT: frozenset({"finance:read", "admin"}),
    Kind.EXPORT_ORDERS: frozenset({"orders:read", "admin"}),
}


class Capability(Enum):
    """What a lane carries to its channel."""

    SHIPMENTS = "shipments"
    CANCELS = "cancels"
    REFUNDS = "refunds"
    LABELS = "labels"  # of a channel, or of a carrier of ours
    OUTBOUND = "outbound"  # to a platform whose stock ships what others sold
    STREAMS = "streams"  # runs of synchronization that people ask for
    BACKFILL = "backfill"  # orders of days long past
    REPORTS = "reports"  # files that a platform makes in its own time
    PRICES = "prices"
    EXPORTS = "exports"  # files that lists of ours are made into; of no channel
    LEDGER = "ledger"  # done in the transaction that asks for it: no lane carries it


class OperationStatus(Enum):
    """Where an operation stands; computed from its items, except for the three that people decide."""

    PREVIEW = "PREVIEW"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class ItemStatus(Enum):
    """Where one item stands. SENT left the house, ACCEPTED the platform took it, VERIFIED it was read back and seen live,
    PARKED the outcome stays unknown and wants a person."""

    PENDING = "PENDING"
    SENT = "SENT"
    ACCEPTED = "ACCEPTED"
    VERIFIED = "VERIFIED"
    FAILED = "FAILED"
    PARKED = "PARKED"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"


NEXT: Mapping[ItemStatus, frozenset[ItemStatus]] = {
    ItemStatus.PENDING: frozenset(
        {
            ItemStatus.SENT,
            ItemStatus.ACCEPTED,
            ItemStatus.FAILED,
            ItemStatus.PARKED,
            ItemStatus.CANCELLED,
            ItemStatus.SUPERSEDED,
        }
    ),
    ItemStatus.SENT: frozenset(
        {ItemStatus.PENDING, ItemStatus.ACCEPTED, ItemStatus.VERIFIED, ItemStatus.FAILED, ItemStatus.PARKED}
    ),
    # What was taken and has been overtaken by something newer of its resource will not be seen any more.
    ItemStatus.ACCEPTED: frozenset({ItemStatus.VERIFIED, ItemStatus.FAILED, ItemStatus.PARKED, ItemStatus.SUPERSEDED}),
    ItemStatus.VERIFIED: frozenset(),
    # A person may revive what ended badly: a failure is sent anew, an unknown outcome is read back first.
    ItemStatus.FAILED: frozenset({ItemStatus.PENDING}),
    ItemStatus.PARKED: frozenset({ItemStatus.SENT, ItemStatus.VERIFIED, ItemStatus.FAILED}),
    ItemStatus.CANCELLED: frozenset(),
    ItemStatus.SUPERSEDED: frozenset(),
}

OPEN = frozenset({ItemStatus.PENDING, ItemStatus.SENT, ItemStatus.ACCEPTED})
ENDED = frozenset(ItemStatus) - OPEN
FINISHED = frozenset(
    {OperationStatus.SUCCEEDED, OperationStatus.PARTIAL, OperationStatus.FAILED, OperationStatus.CANCELLED}
)
WAITING_FOR_PEOPLE = frozenset({OperationStatus.PREVIEW, OperationStatus.AWAITING_APPROVAL})


@dataclass(slots=True)
class Progress:
    """Items counted: `accepted` includes those that were verified since; `failed` counts FAILED and PARKED."""

    total: int
    accepted: int
    verified: int
    failed: int


@dataclass(slots=True)
class ItemError:
    """Why an item failed: our code, and the platform's own words."""

    code: str
    message: str


@dataclass(slots=True)
class Item:
    """One item of an operation. `key` names what it changes for people; `before` and `after` are told as JSON text."""

    id: int
    operation: OperationId
    key: str
    status: ItemStatus
    attempts: int
    before: str | None = None
    after: str | None = None
    error: ItemError | None = None
    upstream_request_id: str | None = None


@dataclass(slots=True)
class Operation:
    """What one caller asked for."""

    id: OperationId
    kind: Kind
    status: OperationStatus
    requested_by: str
    idempotency_key: str | None
    dry_run: bool
    created_at: datetime
    finished_at: datetime | None
    progress: Progress
    reverts: OperationId | None = None


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to be carried out by the lane (channel, capability).

    Items with equal `resource` go one after the other, in the order they were made. `payload` is what the lane's worker needs,
    as JSON values. `deadline_at` is by when it must have reached its channel: of a lane the most urgent goes first. One that is
    `refused` is kept as FAILED with its reason, and no lane ever sees it.
    """

    channel: str
    capability: Capability
    resource: str
    key: str
    payload: Mapping[str, object]
    before: str | None = None
    after: str | None = None
    deadline_at: datetime | None = None
    refused: ItemError | None = None


@dataclass(slots=True)
class ClaimedItem:
    """An item under lease. `fence` grows with every claim; a write of an older claim is refused by the row.

    `was` is the status it was found in: SENT means its outcome is unknown and must be read back before anything is sent.
    `deaths` are the claims before this one, in a row, whose workers never said what came of it.
    """

    id: int
    operation: OperationId
    channel: str
    capability: Capability
    resource: str
    payload: Mapping[str, object]
    was: ItemStatus
    fence: int
    attempts: int
    checks: int
    sent_at: datetime | None
    accepted_at: datetime | None
    sent_by: str | None = None
    deaths: int = 0
    deadline_at: datetime | None = None


@dataclass(slots=True)
class Outcome:
    """What came of working on a claimed item. `due_in_s` says when to look again while the item stays open. `untried`: what was
    said of the attempt is not said of the item."""

    item: int
    fence: int
    status: ItemStatus
    due_in_s: float = 0.0
    error: ItemError | None = None
    upstream_request_id: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)
    untried: bool = False


def status_of(statuses: Iterable[ItemStatus]) -> OperationStatus:
    """The status that the items give their operation.

    QUEUED while none has been touched; RUNNING while any is open; then SUCCEEDED when all that were not cancelled or superseded
    are verified, CANCELLED when nothing else is left, FAILED when none succeeded, PARTIAL otherwise.
    """
    count = Counter(statuses)
    total = count.total()
    if count[ItemStatus.PENDING] == total:
        return OperationStatus.QUEUED
    if any(count[status] for status in OPEN):
        return OperationStatus.RUNNING
    withdrawn = count[ItemStatus.CANCELLED] + count[ItemStatus.SUPERSEDED]
    if withdrawn == total:
        return OperationStatus.CANCELLED
    if count[ItemStatus.VERIFIED] + withdrawn == total:
        return OperationStatus.SUCCEEDED
    return OperationStatus.PARTIAL if count[ItemStatus.VERIFIED] else OperationStatus.FAILED


def progress_of(statuses: Iterable[ItemStatus]) -> Progress:
    """Counts for people."""
    count = Counter(statuses)
    return Progress(
        total=count.total(),
        accepted=count[ItemStatus.ACCEPTED] + count[ItemStatus.VERIFIED],
        verified=count[ItemStatus.VERIFIED],
        failed=count[ItemStatus.FAILED] + count[ItemStatus.PARKED],
    )

"""What happened to an order, step by step, as people want to read it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from domain.ids import OperationId, OrderId


class StepKind(Enum):
    """What a step was; past tense."""

    IMPORTED = "IMPORTED"  # seen for the first time
    CHANGED = "CHANGED"  # its channel tells something else than before
    ALLOCATED = "ALLOCATED"  # units were promised at places, or given back
    HELD = "HELD"
    RELEASED = "RELEASED"
    CANCELLED = "CANCELLED"
    LABEL_BOUGHT = "LABEL_BOUGHT"
    LABEL_VOIDED = "LABEL_VOIDED"
    TRACKED = "TRACKED"  # somebody told of a parcel, or where it is
    CONFIRMED = "CONFIRMED"  # its channel shows the parcel
    OUTBOUND = "OUTBOUND"  # another platform's stock ships it
    RETURNED = "RETURNED"
    REFUNDED = "REFUNDED"
    RESTOCKED = "RESTOCKED"
    REIMBURSED = "REIMBURSED"
    FORGOTTEN = "FORGOTTEN"  # the buyer's data was erased


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `actor` is a key's name, or "acorn", or a channel's id; `words` are for people and hold nothing of a buyer.

    `key` makes it one step however often it is noted: the same order and key, the same step. `at` is when it happened, None for
    the moment in which it is noted.
    """

    order: OrderId
    kind: StepKind
    actor: str
    words: str
    key: str
    at: datetime | None = None
    operation: OperationId | None = None
    upstream_request_id: str | None = None

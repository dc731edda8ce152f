"""What people decide about large changes of prices: kept when they say so, carried out by a worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from domain.ids import OperationId
from domain.operation import ItemError

MOST_AT_ONCE = 5_000
"""Of more rows nobody waits for the answer: a worker does it."""


class Verdict(Enum):
    """What is to become of an operation: its rows are released, what has not left is withdrawn, what it changed is taken back, or
    what came to nothing is tried again."""

    APPROVE = "APPROVE"
    CANCEL = "CANCEL"
    REVERT = "REVERT"
    RETRY = "RETRY"


@dataclass(frozen=True, slots=True)
class Decision:
    """One verdict about one operation. Without `ended_at` it waits, or is being carried out; `error` says why it was not.
    `made` is the operation that takes back."""

    operation: OperationId
    verdict: Verdict
    asked_by: str
    asked_at: datetime
    correlation_id: str | None = None
    ended_at: datetime | None = None
    error: ItemError | None = None
    made: OperationId | None = None

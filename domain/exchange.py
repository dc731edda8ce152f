"""What was said between us and a platform in one call, as it may be kept: without tokens, without buyers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.ids import OperationId


@dataclass(slots=True)
class Exchange:
    """One call that has ended.

    `operation` is the platform's name for it, `failure` why it did not go well: the platform's own code, an HTTP status or what
    became of the connection; None where it did. `subjects` is what it was about, in the words below. Headers are a few, a line
    each. `request` and `response` are None where nothing of a body is kept; the sizes are the true ones, in bytes.
    """

    id: int
    at: datetime
    channel: str
    operation: str
    method: str
    path: str
    status: int | None
    upstream_request_id: str | None
    seconds: float
    waited_s: float
    failure: str | None
    subjects: tuple[str, ...]
    request_headers: str
    response_headers: str
    request: str | None
    response: str | None
    request_bytes: int
    response_bytes: int


def about_order(external_id: str) -> str:
    """The subject of calls about an order, by its channel's own id."""
    return f"order:{external_id}"


def about_sku(sku: str) -> str:
    """The subject of calls about a SKU, which is mostly the channel's own."""
    return f"sku:{sku}"


def about_item(id: int) -> str:
    """The subject of calls made for one item of an operation."""
    return f"item:{id}"


def about_operation(id: OperationId) -> str:
    """The subject of calls made for an operation of ours."""
    return f"operation:{id}"


def about_item_of(item: int, operation: OperationId, order: str) -> tuple[str, ...]:
    """The subjects of calls made for one item of an operation that does something to an order, by its channel's own id."""
    return about_item(item), about_operation(operation), about_order(order)

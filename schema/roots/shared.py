"""What the root fields of several rooms answer and read."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from domain import operation as operation_domain
from domain import order as order_domain
from domain import stock as stock_domain
from domain.errors import NotFound
from domain.ids import ChannelId, node_key
from schema.payload import UserError


@dataclass(slots=True)
class Payload:
    """What an operation's mutation answers."""

    operation: operation_domain.Operation | None
    user_errors: list[UserError]


@dataclass(slots=True)
class Change:
    """One event of a subscription; it has `operation`, `stock` or `order`, as its type wants."""

    cursor: str
    operation: operation_domain.Operation | None = None
    stock: stock_domain.Stock | None = None
    order: order_domain.Order | None = None

    @property
    def same(self) -> Hashable:
        """Equal for all, of whatever subscription, who are told the same: the very stock, operation or order, at one cursor."""
        return self.cursor, id(self.stock), id(self.operation), id(self.order)


def channel_key(id: str | None) -> ChannelId | None:
    """Raises NotFound for an id of another kind."""
    return None if id is None else ChannelId(node_key("Channel", id))


def key_or_none(kind: str, id: str) -> str | None:
    """The key of a global id; None for an id of another kind, which is answered like one that does not exist."""
    try:
        return node_key(kind, id)
    except NotFound:
        return None

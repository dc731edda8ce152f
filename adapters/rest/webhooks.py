"""What a shop's deliveries prove and say. Source: Standard Webhooks 1.0.0; the events of docs/rest/openapi.yaml.

The signature covers id, time and body. A delivery names something, which is then read; nothing else of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adapters.notices import Delivery, Kept
from adapters.rest.wire import Body, Instant
from adapters.transport import Unreadable, parse_json
from adapters.wire import Unclear, read
from domain.feed import sane_id, signed
from domain.hint import Hint, HintKind
from domain.ids import ChannelId
from domain.product import Rejected

LONGEST = 200

# What each event is about, and by which of its data.
EVENTS: Mapping[str, tuple[HintKind, str]] = {
    "product.created": (HintKind.PRODUCT, "id"),
    "product.updated": (HintKind.PRODUCT, "id"),
    "product.deleted": (HintKind.PRODUCT, "id"),
    "stock.updated": (HintKind.STOCK, "sku"),
    "order.created": (HintKind.ORDER, "id"),
    "order.updated": (HintKind.ORDER, "id"),
    "order.cancelled": (HintKind.ORDER, "id"),
    "order.shipped": (HintKind.ORDER, "id"),
    "refund.created": (HintKind.ORDER, "order_id"),
}


class _Event(Body):
    type: str
    timestamp: Instant
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RestWebhook:
    """What signs a channel's deliveries, the newest key first."""

    channel: ChannelId
    keys: tuple[bytes, ...] = field(repr=False)
    # The specification wants less than 20 kB.
    limit: int = 64 * 1024

    def expected(self, headers: Mapping[str, str]) -> bool:
        """The three headers are there, and a sender's id can be kept."""
        there = all(headers.get(name) for name in ("webhook-timestamp", "webhook-signature"))
        return there and sane_id(headers.get("webhook-id", ""))

    def proven(self, delivery: Delivery) -> bool:
        """Signed by one of the keys, within five minutes of now: each attempt is signed anew."""
        told = delivery.headers
        return signed(
            self.keys,
            told["webhook-id"],
            told["webhook-timestamp"],
            delivery.body,
            told["webhook-signature"],
            delivery.received_at.timestamp(),
        )

    def understood(self, delivery: Delivery) -> Sequence[Kept]:
        """The thing that it names; nothing of an event that says nothing to us."""
        id = delivery.headers["webhook-id"]
        try:
            event = read(_Event, parse_json(delivery.body))
            if event.type not in EVENTS:
                return []
            kind, name = EVENTS[event.type]
            subject = event.data.get(name)
            if not _sane(subject):
                return [Rejected(self.channel, "webhook", id, f"{event.type} names no {name}", "")]
        except (Unreadable, Unclear) as problem:
            return [Rejected(self.channel, "webhook", id, str(problem), "")]
        return [Hint(self.channel, id, event.type, kind, str(subject), event.timestamp)]


def _sane(subject: object) -> bool:
    return isinstance(subject, str) and 0 < len(subject) <= LONGEST and subject.isprintable()

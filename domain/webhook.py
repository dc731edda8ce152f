"""Outgoing webhooks: what can be subscribed to, by whom, what is sent of it, and when it is tried again.

The body is a CloudEvent 1.0 in its structured JSON form, the headers are those of Standard Webhooks 1.0.0; `webhook-id` is the
CloudEvent's id. Sources: cloudevents.io, spec 1.0.2 with the extensions partitioning and sequence; standardwebhooks.com.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from domain.errors import Invalid
from domain.event import Event, EventKind
from domain.ids import ChannelId, Sku, node_id
from domain.operation import READERS, Kind
from domain.scope import INSIDERS

# Standard Webhooks asks for less than 20 kB.
MOST_BYTES = 20_000
MOST_PER_NAME = 50
MOST_FILTERS = 50
LONGEST_PATTERN = 100
TEST = "webhook.test.v1"
# When a delivery is tried again, in seconds since its first try: after the last nobody tries any more.
TRIES_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
LONGEST_WAIT_S = 86_400.0
_PATTERN = re.compile(r"[\x21-\x7e]+")


# The columns that empty lists of objects have in the flat form: a field that comes and goes is none to map.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "order_lines": (
        "id",
        "sku",
        "channelSku",
        "quantity",
        "quantityShipped",
        "unitPrice_amount",
        "unitPrice_currency",
        "total_amount",
        "total_currency",
    ),
    "order_shipments": ("carrier", "trackingNumber", "shippedAt", "channelConfirmedAt"),
}


class WebhookState(Enum):
    """Whether anything is delivered."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"


class WebhookFormat(Enum):
    """CLOUDEVENTS: the envelope. FLAT: one object without objects in it, for tools that map fields by name."""

    CLOUDEVENTS = "CLOUDEVENTS"
    FLAT = "FLAT"


class DeliveryState(Enum):
    """PENDING: to be delivered. DELIVERED: it was taken. FAILED: not for a day, while others were."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class Verdict(Enum):
    """What an answer means: taken; never again; too much or not there now, so the whole endpoint rests; this one was refused."""

    TAKEN = "taken"
    GONE = "gone"
    SLOW = "slow"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Topic:
    """A type of event: who may read it (one of the scopes is enough), and the GraphQL type that its subject is an id of."""

    name: str
    kind: EventKind
    any_of: frozenset[str]
    noun: str


TOPICS: Mapping[str, Topic] = {
    one.name: one
    for one in (
        Topic("stock.changed.v1", EventKind.STOCK_CHANGED, frozenset({"stock:read", "admin"}), "Product"),
        Topic("order.changed.v1", EventKind.ORDER_CHANGED, frozenset({"orders:read", "admin"}), "Order"),
        Topic("operation.changed.v1", EventKind.OPERATION_CHANGED, INSIDERS, "Operation"),
        Topic("channel.paused.v1", EventKind.CHANNEL_PAUSED, INSIDERS, "Channel"),
        Topic("channel.resumed.v1", EventKind.CHANNEL_RESUMED, INSIDERS, "Channel"),
        Topic("settlement.kept.v1", EventKind.SETTLEMENT_KEPT, frozenset({"finance:read", "admin"}), "Settlement"),
        Topic("webhook.paused.v1", EventKind.WEBHOOK_PAUSED, frozenset({"webhooks:write", "admin"}), "Webhook"),
    )
}
BY_KIND: Mapping[EventKind, Topic] = {one.kind: one for one in TOPICS.values()}


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """What is asked for. Empty filters are for all: `channels` narrow events of orders, settlements and channels, `skus`
    (patterns such as `TEE-*`) those of stock. `hook` marks what a tool subscribed by itself: it goes when its target says 410."""

    url: str = field(repr=False)
    events: tuple[str, ...]
    channels: tuple[ChannelId, ...] = ()
    skus: tuple[str, ...] = ()
    format: WebhookFormat = WebhookFormat.CLOUDEVENTS
    hook: bool = False

    def check(self, scopes: Collection[str]) -> None:
        """Raises Invalid for events that do not exist or that `scopes` may not read, and for filters that are no filters."""
        if not self.events:
            raise Invalid("Name at least one event.", field=("events",))
        for name in self.events:
            topic(name, scopes)
        if len(self.skus) > MOST_FILTERS or not all(map(_is_pattern, self.skus)):
            raise Invalid(
                f"`skus` are at most {MOST_FILTERS} patterns such as TEE-*, of 1 to {LONGEST_PATTERN} characters.",
                field=("skus",),
            )


def topic(name: str, scopes: Collection[str]) -> Topic:
    """The type of that name. Raises Invalid where there is none that `scopes` may read."""
    found = TOPICS.get(name)
    if found is None:
        raise Invalid(f"There is no event {name!r}. There are {', '.join(TOPICS)}.", field=("events",))
    if found.any_of.isdisjoint(scopes):
        wanted = " or ".join(sorted(found.any_of))
        raise Invalid(f"This key may not read {name}: it lacks the scope {wanted}.", field=("events",))
    return found


def _is_pattern(text: str) -> bool:
    return len(text) <= LONGEST_PATTERN and _PATTERN.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Webhook:
    """An endpoint that is told. `seq` is the place in the event log up to which its deliveries are made; `failures` count those
    in a row; the secret before this one signs too until `previous_until`."""

    id: str
    url: str = field(repr=False)
    events: tuple[str, ...]
    channels: tuple[ChannelId, ...]
    skus: tuple[str, ...]
    format: WebhookFormat
    hook: bool
    made_by: str
    made_at: datetime
    state: WebhookState
    reason: str | None
    seq: int
    failures: int
    last_success_at: datetime | None
    last_error: str | None
    previous_until: datetime | None

    def wants(self, event: Event, scopes: Collection[str]) -> Topic | None:
        """The type under which an event is to be told, to somebody with these scopes; None where it is not."""
        found = BY_KIND.get(event.kind)
        if found is None or found.name not in self.events or not may_read(found, event.data, scopes):
            return None
        if event.kind is EventKind.WEBHOOK_PAUSED and "admin" not in scopes and event.data["madeBy"] != self.made_by:
            return None
        if self.channels and (channel := _channel(event)) is not None and channel not in self.channels:
            return None
        return found

    def wants_sku(self, sku: Sku) -> bool:
        """Whether stock of this SKU is told."""
        return not self.skus or any(fnmatchcase(sku, pattern) for pattern in self.skus)


def may_read(topic: Topic, data: Mapping[str, Any], scopes: Collection[str]) -> bool:
    """Whether somebody with these scopes may read it. `data` are the event's, or what is told of it: of operations each kind has
    readers of its own."""
    if topic.any_of.isdisjoint(scopes):
        return False
    kind = data.get("kind") if topic.kind is EventKind.OPERATION_CHANGED else None
    return kind is None or not READERS[Kind(kind)].isdisjoint(scopes)


def _channel(event: Event) -> str | None:
    """The channel that an event is of; None where it is of none."""
    match event.kind:
        case EventKind.ORDER_CHANGED | EventKind.SETTLEMENT_KEPT:
            return str(event.data["channel"])
        case EventKind.CHANNEL_PAUSED | EventKind.CHANNEL_RESUMED:
            return event.subject
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint. `id` is the CloudEvent's, the same at every try; `object` is the global id that the order of
    deliveries holds for, `place` the one in the event log. `data` are JSON, None until they have been read first."""

    webhook: str
    id: str
    type: str
    object: str
    place: int
    at: datetime
    state: DeliveryState
    replayed: bool
    attempts: int
    due_at: datetime
    data: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: the status that was answered, or what went wrong, after so many milliseconds; `answer` is the redacted beginning
    of what a failure said."""

    number: int
    at: datetime
    milliseconds: int
    status: int | None
    problem: str | None
    answer: str | None = field(default=None, repr=False)


def verdict(status: int | None) -> Verdict:
    """What an answer means; None where there was none. A redirect is a failure: nobody checked where it leads."""
    if status is None or status in (408, 425, 429) or status >= 500:
        return Verdict.SLOW
    if status == 410:
        return Verdict.GONE
    return Verdict.TAKEN if 200 <= status < 300 else Verdict.REFUSED


def next_try_s(age_s: float, share: float) -> float | None:
    """Seconds until the next try of a delivery that was tried first `age_s` seconds ago; None when that was the last.

    `share`, from 0 to 1, makes it up to a tenth longer, so that what failed together does not come back together.
    """
    at = next((one for one in TRIES_S if one > age_s + 1), None)
    return None if at is None else (at - age_s) * (1 + share / 10)


def envelope(one: Delivery, source: str, data: object) -> dict[str, Any]:
    """The CloudEvent. `sequence` is of one length, so that it sorts as text."""
    told = {
        "specversion": "1.0",
        "id": one.id,
        "source": source,
        "type": one.type,
        "subject": one.object,
        "time": instant(one.at),
        "datacontenttype": "application/json",
        "dataschema": f"urn:acorn:event:{one.type}",
        "partitionkey": one.object,
        "sequence": f"{one.place:020d}",
    }
    return told | ({"replayed": True} if one.replayed else {}) | {"data": data}


def flat(one: Delivery, data: Mapping[str, Any]) -> dict[str, Any]:
    """The same without objects in it: names are joined by underscores behind the event's noun (`order_total_amount`), a list of
    objects becomes a list for each of their names (`order_lines_sku`)."""
    told: dict[str, Any] = {
        "id": one.id,
        "event": one.type,
        "time": instant(one.at),
        "subject": one.object,
        "sequence": f"{one.place:020d}",
    }
    return told | _flattened(data, one.type.partition(".")[0])


def _flattened(data: Mapping[str, Any], above: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in data.items():
        key = f"{above}_{name}"
        if isinstance(value, Mapping):
            told |= _flattened(value, key)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            rows = [_flattened(one, key) for one in value]
            told |= {column: [row[column] for row in rows] for column in rows[0]}
        elif key in _COLUMNS:
            told |= {f"{key}_{column}": [] for column in _COLUMNS[key]}
        else:
            told[key] = value
    return told


def event_id(seq: int, kit: str | None = None) -> str:
    """The CloudEvent's id of an event; `kit` tells apart the kits that one event moves."""
    return f"evt_{seq}" if kit is None else f"evt_{seq}_{kit}"


def object_of(topic: Topic, subject: str) -> str:
    """The global id of what an event is about."""
    return node_id(topic.noun, subject)


def instant(at: datetime) -> str:
    """As the GraphQL schema writes it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def check_overlap(wanted: timedelta) -> timedelta:
    """How long the secret before the new one signs too. Raises Invalid."""
    if not timedelta(0) <= wanted <= timedelta(days=30):
        raise Invalid("`overlap` is from PT0S to P30D.", field=("overlap",))
    return wanted

"""What warehouses and carriers tell of parcels: that one has left, and where it is.

A row is read strictly: what it does not say plainly is refused with words for its sender, never guessed. An order is named by
our id of it, by its channel's, or by the number that people read ("#1001"); `channel` says whose it is where two have the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from domain.carrier import plain_number
from domain.ids import ChannelId, LocationCode, OperationId, OrderId
from domain.outbound import Whereabouts

MOST_ROWS = 1_000
"""Parcels and events of one delivery."""

MOST_LINES = 500
MOST_UNITS = 1_000_000
LONGEST_WORD = 200

PARCEL_FIELDS = ("order", "channel", "carrier", "service", "trackingNumber", "shippedAt", "lines", "location")
LINE_FIELDS = ("sku", "lineId", "quantity")
EVENT_FIELDS = ("trackingNumber", "status", "at", "order", "channel")

FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=6)
AGED = timedelta(days=30)
"""What has found no order by then is looked at no more, and stays listed."""

_TIMES = ("shippedAt", "at")
_FIGURES = re.compile(r"[0-9TZ:/., +eE-]+")
_WHOLE = re.compile(r"[0-9]{1,7}")
_SHORTENED = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]{1,3}")


class RowKind(Enum):
    """What a row tells of."""

    PARCEL = "PARCEL"
    EVENT = "EVENT"


class RowState(Enum):
    """What has become of a row."""

    WAITING = "WAITING"
    DONE = "DONE"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True, slots=True)
class TrackingSource:
    """Somebody who may tell of parcels: `secrets`, any of which signs, and the channels and places it may speak of; None for
    all."""

    id: str
    secrets: tuple[bytes, ...]
    channels: frozenset[ChannelId] | None = None
    locations: frozenset[LocationCode] | None = None

    @property
    def source(self) -> str:
        """As its rows name it."""
        return f"tracking:{self.id}"


@dataclass(frozen=True, slots=True)
class ToldLine:
    """Units of what the channel's or our id of an order line names, or else our SKU."""

    quantity: int
    sku: str | None = None
    line: str | None = None


@dataclass(frozen=True, slots=True)
class ToldParcel:
    """A parcel that has left. No `lines`: all that is still open."""

    order: str
    carrier: str
    tracking_number: str
    shipped_at: datetime
    channel: str | None = None
    service: str | None = None
    lines: tuple[ToldLine, ...] | None = None
    location: str | None = None

    def to_json(self) -> dict[str, object]:
        """As `parcel_of` reads it again."""
        told: dict[str, object] = {
            "order": self.order,
            "channel": self.channel,
            "carrier": self.carrier,
            "service": self.service,
            "trackingNumber": self.tracking_number,
            "shippedAt": self.shipped_at.isoformat(),
            "location": self.location,
        }
        if self.lines is not None:
            told["lines"] = [
                {"sku": one.sku, "lineId": one.line, "quantity": one.quantity} for one in sorted(self.lines, key=str)
            ]
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """Where a parcel was at an instant."""

    tracking_number: str
    status: Whereabouts
    at: datetime
    order: str | None = None
    channel: str | None = None

    def to_json(self) -> dict[str, object]:
        """As `event_of` reads it again."""
        told = {
            "trackingNumber": self.tracking_number,
            "status": self.status.value,
            "at": self.at.isoformat(),
            "order": self.order,
            "channel": self.channel,
        }
        return {name: value for name, value in told.items() if value is not None}


Told = ToldParcel | ToldEvent


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row of a delivery. `number` is its place, as people count, among those of its kind. `told` is None where it could not be
    read, for the `reason`; `kept` is what may be kept of it then."""

    number: int
    kind: RowKind
    told: Told | None
    reason: str = ""
    kept: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that has come to nothing yet. It is looked at again at `retries_at`; None: not any more by itself."""

    id: int
    source: str
    delivery: str
    number: int
    kind: RowKind
    told: Mapping[str, Any]
    code: str
    reason: str
    at: datetime
    tries: int
    retries_at: datetime | None


@dataclass(frozen=True, slots=True)
class ParcelEvent:
    """Where a parcel of an order was at an instant."""

    order: OrderId
    tracking_number: str
    status: Whereabouts
    at: datetime
    source: str


@dataclass(frozen=True, slots=True)
class Became:
    """What a row has come to: `order` and `operation` where there are any, `already` where the parcel was known; else a `code`
    and the `reason`."""

    order: OrderId | None = None
    operation: OperationId | None = None
    already: bool = False
    code: str | None = None
    reason: str = ""


def parcel_of(fields: Mapping[str, Any]) -> ToldParcel:
    """What a row says of a parcel. Raises ValueError, whose words tell the sender what to mend."""
    _known(fields, PARCEL_FIELDS)
    return ToldParcel(
        order=_order(_needed(fields, "order")),
        channel=_channel(fields),
        carrier=_needed(fields, "carrier"),
        service=_text(fields, "service"),
        tracking_number=_number(fields),
        shipped_at=instant("shippedAt", fields.get("shippedAt")),
        lines=_lines(fields.get("lines")),
        location=_text(fields, "location"),
    )


def event_of(fields: Mapping[str, Any]) -> ToldEvent:
    """What a row says of where a parcel is. Raises ValueError."""
    _known(fields, EVENT_FIELDS)
    word = _needed(fields, "status").upper().replace("-", "_").replace(" ", "_")
    status = next((one for one in Whereabouts if one.value == word), None)
    if status is None or status is Whereabouts.OTHER:
        known = ", ".join(one.value for one in Whereabouts if one is not Whereabouts.OTHER)
        raise ValueError(f"`status` must be one of {known}")
    order = _text(fields, "order")
    return ToldEvent(
        tracking_number=_number(fields),
        status=status,
        at=instant("at", fields.get("at")),
        order=None if order is None else _order(order),
        channel=_channel(fields),
    )


def read_row(number: int, kind: RowKind, fields: object, locations: Collection[LocationCode] | None) -> NewRow:
    """A row as it arrived. `locations` are those that may be spoken of."""
    if not isinstance(fields, Mapping):
        return NewRow(number, kind, None, "it must be a JSON object", {})
    try:
        told: Told = parcel_of(fields) if kind is RowKind.PARCEL else event_of(fields)
        if isinstance(told, ToldParcel) and told.location is not None and locations is not None:
            _check_place(told.location, locations)
    except ValueError as problem:
        return NewRow(number, kind, None, str(problem), _keepable(fields, kind))
    return NewRow(number, kind, told)


def names_of(order: str) -> tuple[str, ...]:
    """What an order that is called so may be called here: people leave out the sign before its number."""
    return (order,) if order.startswith("#") else (order, f"#{order}")


def retry_after(tries: int) -> timedelta:
    """How long to wait after so many tries in vain."""
    return min(LONGEST_RETRY, FIRST_RETRY * (1 << min(tries, 20)))


def instant(name: str, value: object) -> datetime:
    """An instant in ISO 8601 with its time zone, in UTC. Raises ValueError for any other form: 03/04/2026 has two meanings."""
    found: datetime | None = None
    if isinstance(value, str) and len(value) <= 40:
        try:
            found = datetime.fromisoformat(value.strip())
            found = None if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError):
            found = None
    if value is None or value == "":
        raise ValueError(f"`{name}` is missing")
    if found is None:
        raise ValueError(f"`{name}` must be a date, time and time zone such as 2026-11-28T09:30:00+01:00")
    return found


def _order(told: str) -> str:
    return told.removeprefix("Order:")


def _channel(fields: Mapping[str, Any]) -> str | None:
    told = _text(fields, "channel")
    return None if told is None else told.removeprefix("Channel:")


def _number(fields: Mapping[str, Any]) -> str:
    told = _needed(fields, "trackingNumber")
    if _SHORTENED.fullmatch(told):
        raise ValueError(f"`trackingNumber` {told} was shortened by a spreadsheet; format its column as text")
    return plain_number(told)


def _lines(told: object) -> tuple[ToldLine, ...] | None:
    if told is None:
        return None
    if not isinstance(told, list) or not 1 <= len(told) <= MOST_LINES:
        raise ValueError(f"`lines` must be a list of 1 to {MOST_LINES}; leave it out for all that is open")
    return tuple(_line(one) for one in told)


def _line(told: object) -> ToldLine:
    if not isinstance(told, Mapping):
        raise ValueError('each of `lines` must be an object such as {"sku": "A", "quantity": 1}')
    _known(told, LINE_FIELDS)
    sku, line = _text(told, "sku"), _text(told, "lineId")
    if (sku is None) == (line is None):
        raise ValueError("each of `lines` names one of `sku` and `lineId`")
    return ToldLine(units(told.get("quantity")), sku, None if line is None else line.removeprefix("OrderLine:"))


def units(value: object) -> int:
    """How many. Raises ValueError."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    if value is None or value == "":
        raise ValueError("`quantity` is missing")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_UNITS:
        # A word in its place may be a name, out of the column beside it.
        told = f", not {str(value)[:20]!r}" if _FIGURES.fullmatch(str(value)) else ""
        raise ValueError(f"`quantity` must be a whole number from 1{told}")
    return value


def _needed(fields: Mapping[str, Any], name: str) -> str:
    found = _text(fields, name)
    if found is None:
        raise ValueError(f"`{name}` is missing")
    return found


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    # What cannot be encoded is half a sign, which no database has a text for.
    if not isinstance(value, str) or not value.strip().isprintable() or len(value) > LONGEST_WORD:
        raise ValueError(f"`{name}` must be a text of 1 to {LONGEST_WORD} printable characters")
    return value.strip() or None


def _known(fields: Mapping[str, Any], names: Collection[str]) -> None:
    unknown = sorted(str(name) for name in fields if name not in names)
    if unknown:
        raise ValueError(f"`{unknown[0][:40]}` is no field here; there are {', '.join(names)}")


def _check_place(place: str, locations: Collection[LocationCode]) -> None:
    if place not in locations:
        raise ValueError(f"{place} is no place that may be told here; there is {', '.join(sorted(locations))}")


def _keepable(fields: Mapping[str, Any], kind: RowKind) -> dict[str, object]:
    """Of a row that cannot be read, the short texts of fields that we know, and of times only figures: what else stands there
    may be a person's."""
    names = PARCEL_FIELDS if kind is RowKind.PARCEL else EVENT_FIELDS
    return {
        name: value
        for name in names
        if isinstance(value := fields.get(name), str)
        and len(value) <= LONGEST_WORD
        and value.isprintable()
        and (name not in _TIMES or _FIGURES.fullmatch(value))
    }

"""Stock feeds: what a warehouse's own system tells us of its counts, and what we tell others of ours.

A row of a feed names a SKU, a place of ours and units; `domain.booking` says what it comes to.

Deliveries are signed as the Standard Webhooks specification says: `v1,` and the base64 of HMAC-SHA256 over
`<webhook-id>.<webhook-timestamp>.<body>`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from domain.booking import BRINGS, Line, Outcome, Result
from domain.ids import LocationCode, Sku
from domain.ledger import MOST_UNITS, EntryKind

TOLERANCE_S = 300
SECRET = "whsec_"  # noqa: S105  what secrets begin with
LEAST_SECRET_BYTES = 24
MOST_CHARS = 200
# The ledger's ids are shown to people and end in an index.
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_WHOLE = re.compile(r"[+-]?[0-9]{1,12}")


class FeedKind(Enum):
    """What the numbers of a feed mean."""

    DELTA = "stock.delta"  # signed units that came or went
    COUNT = "stock.count"  # what lies there, of the SKUs named
    FULL = "stock.full"  # what lies there, of all SKUs: one that is not named lies there no more


# What a warehouse may book. Orders' promises and shipments are booked from the orders.
BOOKED = frozenset({EntryKind.EXPECTED, EntryKind.RECEIPT, EntryKind.ADJUSTMENT, EntryKind.RETURN})


@dataclass(frozen=True, slots=True)
class FeedIn:
    """A warehouse that may tell us its counts: `secrets`, any of which signs, and the places it may speak of."""

    id: str
    secrets: tuple[bytes, ...]
    locations: frozenset[LocationCode]

    @property
    def source(self) -> str:
        """As the ledger names it."""
        return f"webhook:{self.id}"


@dataclass(frozen=True, slots=True)
class FeedOut:
    """Somebody who is told of changes. `skus` are patterns (`TEE-*`), empty for all; with `locations` only what lies at these
    places is counted and told."""

    id: str
    url: str
    secret: bytes
    skus: tuple[str, ...] = ()
    locations: tuple[LocationCode, ...] = ()

    def wants(self, sku: Sku) -> bool:
        """Whether the SKU is told at all."""
        return not self.skus or any(fnmatchcase(sku, pattern) for pattern in self.skus)


def secret_bytes(secret: str) -> bytes:
    """The key in `whsec_<base64>`. Raises ValueError, which says what to do."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET), validate=True) if secret.startswith(SECRET) else b""
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < LEAST_SECRET_BYTES:
        raise ValueError(
            f'write "{SECRET}" and the base64 of at least {LEAST_SECRET_BYTES} random bytes; '
            f"`openssl rand -base64 32` makes them"
        )
    return key


def sign(key: bytes, id: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature`."""
    return "v1," + base64.b64encode(hmac.digest(key, f"{id}.{timestamp}.".encode() + body, "sha256")).decode()


def signed(keys: Iterable[bytes], id: str, timestamp: str, body: bytes, signatures: str, now: float) -> bool:
    """Whether one of `signatures` (separated by spaces) is of one of `keys`, and not older or newer than five minutes. `now` is
    in seconds since 1970."""
    if not _timely(timestamp, now):
        return False
    # Bytes, since a comparison in constant time takes no text beyond ASCII.
    told = [one.encode() for one in signatures.split(" ")][:10]
    wanted = [sign(key, id, int(timestamp), body).encode() for key in keys]
    return any(hmac.compare_digest(one, other) for one in wanted for other in told)


def sane_id(id: str) -> bool:
    """Whether a delivery may be called that: 1 to 128 printable characters without spaces."""
    return _ID.fullmatch(id) is not None


def _timely(timestamp: str, now: float) -> bool:
    return re.fullmatch("[0-9]{1,12}", timestamp) is not None and abs(now - int(timestamp)) <= TOLERANCE_S


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it arrived: `number` is its place in the feed as people count it, `fields` what it says."""

    number: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not taken, and why. `sku` is as it was written, `raw` the row as JSON."""

    number: int
    sku: str
    reason: str
    raw: str = ""


FIELDS = ("sku", "location", "quantity", "kind", "reason", "reference")


def read_rows(
    rows: Iterable[Row],
    kind: FeedKind,
    locations: Collection[LocationCode],
    *,
    default_location: LocationCode | None = None,
    default_reason: str,
) -> tuple[list[Line], list[Rejection]]:
    """What the rows say. `locations` are those that may be spoken of; a row that names none means `default_location`."""
    lines: list[Line] = []
    rejected: list[Rejection] = []
    for row in rows:
        try:
            lines.append(_line(row, kind, locations, default_location, default_reason))
        except ValueError as problem:
            rejected.append(rejection(row, str(problem)))
    return lines, rejected


def rejection(row: Row, reason: str) -> Rejection:
    """The row, not taken."""
    raw = json.dumps(dict(row.fields), ensure_ascii=False, default=str)
    told = row.fields.get("sku")
    sku = str(told).strip() if isinstance(told, str | int) else ""
    return Rejection(row.number, sku[:MOST_CHARS], reason, raw)


def _line(
    row: Row,
    kind: FeedKind,
    locations: Collection[LocationCode],
    default_location: LocationCode | None,
    default_reason: str,
) -> Line:
    """Raises ValueError, whose words tell the sender what to mend."""
    unknown = sorted(set(row.fields) - set(FIELDS))
    if unknown:
        raise ValueError(f"`{unknown[0]}` is no field of a row; there are {', '.join(FIELDS)}")
    sku = _text(row, "sku")
    if sku is None:
        raise ValueError("`sku` is missing")
    location = LocationCode(_text(row, "location") or default_location or "")
    if not location:
        raise ValueError("`location` is missing")
    if location not in locations:
        raise ValueError(f"{location} is no place that may be told here; there is {', '.join(sorted(locations))}")
    quantity = _quantity(row)
    booked = _booked(row, kind, quantity)
    reason = _text(row, "reason") or default_reason
    return Line(row.number, Sku(sku), location, quantity, booked, reason, _text(row, "reference"))


def _booked(row: Row, kind: FeedKind, quantity: int) -> EntryKind:
    named = _text(row, "kind")
    if kind is not FeedKind.DELTA:
        if named not in (None, EntryKind.COUNT.value):
            raise ValueError(f"`kind` {named} is for deltas; this feed counts")
        if quantity < 0:
            raise ValueError("a count cannot be below zero")
        return EntryKind.COUNT
    if named is None:
        return EntryKind.ADJUSTMENT
    if named.upper() == EntryKind.TRANSFER.value:
        # One side that is taken without the other would lose or make units.
        raise ValueError("a TRANSFER is booked whole: by the mutation adjustStock, with `transferTo`")
    booked = next((one for one in BOOKED if one.value == named.upper()), None)
    if booked is None:
        raise ValueError(f"`kind` must be one of {', '.join(sorted(one.value for one in BOOKED))}")
    if booked in BRINGS and quantity < 0:
        raise ValueError(f"a {booked.value} cannot be below zero; book an ADJUSTMENT")
    return booked


def _text(row: Row, name: str) -> str | None:
    value = row.fields.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not value.isprintable() or len(value.strip()) > MOST_CHARS:
        raise ValueError(f"`{name}` must be a text of 1 to {MOST_CHARS} printable characters")
    return value.strip() or None


def _quantity(row: Row) -> int:
    value = row.fields.get("quantity")
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    if value is None or value == "":
        raise ValueError("`quantity` is missing")
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MOST_UNITS:
        raise ValueError(f"`quantity` must be a whole number, not {str(value)[:20]!r}")
    return value


def repeated(lines: Sequence[Line], seen: dict[tuple[Sku, LocationCode], int]) -> tuple[list[Line], list[Outcome]]:
    """(the lines, those that count a SKU at a place a second time). `seen` remembers the first ones, over several calls."""
    kept: list[Line] = []
    again: list[Outcome] = []
    for line in lines:
        first = seen.setdefault((line.sku, line.location), line.number)
        if first == line.number:
            kept.append(line)
        else:
            reason = f"this SKU is counted there in row {first} already; which one is meant?"
            again.append(Outcome(line.number, line.sku, line.location, Result.REJECTED, reason=reason))
    return kept, again


def named_at(lines: Iterable[Line], rejected: Iterable[Rejection]) -> dict[LocationCode, set[Sku]]:
    """The SKUs that a full feed names at each place it speaks of. A row with a mistake still says that its SKU is there; where
    nobody can read which that is, it may be any, and the feed is full nowhere."""
    rejected = list(rejected)
    if not all(names_sku(one.sku) for one in rejected):
        return {}
    named: dict[LocationCode, set[Sku]] = {}
    for line in lines:
        named.setdefault(line.location, set()).add(line.sku)
    doubtful = {Sku(one.sku) for one in rejected}
    return {place: named[place] | doubtful for place in sorted(named)}


def names_sku(sku: str) -> bool:
    """Whether the SKU of a rejected row can be read."""
    return sku != "" and sku.isprintable()


def emptied_too_much(here: int, named: int) -> bool:
    """Whether a full feed looks like a part of one: of `here` SKUs that lie at a place it names fewer than half."""
    return named * 2 < here

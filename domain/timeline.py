"""What happened to an order, step by step, as people want to read it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum

from domain.chain import AT_POOL, PUT_BACK, Piece, PieceKind
from domain.ids import ChannelId, OperationId, OrderId
from domain.ledger import Entry, EntryKind
from domain.operation import ItemStatus, Kind


class StepKind(Enum):
    """What a step was; past tense."""

    IMPORTED = "IMPORTED"  # seen for the first time
    CHANGED = "CHANGED"  # its channel tells something else than before
    ALLOCATED = "ALLOCATED"  # units were promised at places, or given back
    SOURCED = "SOURCED"  # rules, or somebody, chose from where it is sent
    SHIPPED = "SHIPPED"  # units left a place that we count ourselves
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
    WRITTEN_OFF = "WRITTEN_OFF"
    REIMBURSED = "REIMBURSED"
    FORGOTTEN = "FORGOTTEN"  # the buyer's data was erased
    # How a write to its channel went. One that was seen there is told by what it did, where that is known.
    SENT = "SENT"
    ACCEPTED = "ACCEPTED"
    VERIFIED = "VERIFIED"
    FAILED = "FAILED"
    PARKED = "PARKED"  # what became of it is unknown and wants a person


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


@dataclass(frozen=True, slots=True)
class Written:
    """An item of an operation about an order, as its row stands. Times are None where it has not come so far."""

    order: OrderId
    item: int
    channel: ChannelId
    operation: OperationId
    kind: Kind
    requested_by: str
    status: ItemStatus
    attempts: int
    sent_at: datetime | None
    accepted_at: datetime | None
    ended_at: datetime | None
    error_code: str | None
    upstream_request_id: str | None


GIVEN_BACK = "refunded:"
"""What the key of a step begins with that an operation of ours noted of a refund; the channel's id of it follows."""

_SEEN = {Kind.CONFIRM_SHIPMENTS: StepKind.CONFIRMED}
_ENDS = {ItemStatus.FAILED: StepKind.FAILED, ItemStatus.PARKED: StepKind.PARKED}
_PIECES = {
    PieceKind.ANNOUNCED: (StepKind.RETURNED, "return announced"),
    PieceKind.ARRIVED: (StepKind.RETURNED, "came back"),
    PieceKind.REFUNDED: (StepKind.REFUNDED, "refunded"),
    PieceKind.RESTOCKED: (StepKind.RESTOCKED, "back in stock there"),
    PieceKind.WRITTEN_OFF: (StepKind.WRITTEN_OFF, "written off"),
    PieceKind.REIMBURSED: (StepKind.REIMBURSED, "reimbursed"),
}
_PIECE = "piece:"
_REFUND = f"{_PIECE}{PieceKind.REFUNDED.value}:"
_MOVES = {
    EntryKind.ALLOCATION: (StepKind.ALLOCATED, "promised"),
    EntryKind.RELEASE: (StepKind.ALLOCATED, "given back"),
    EntryKind.SHIPMENT: (StepKind.SHIPPED, "left"),
    EntryKind.RETURN: (StepKind.RESTOCKED, "can be sold again"),
}


def of_write(one: Written) -> list[Step]:
    """What follows from an item for its order. The platform's id is that of the last call, so it stands with the last step."""
    told: list[tuple[StepKind, datetime, str]] = []
    what = one.kind.value.lower().replace("_", " ")
    if one.sent_at is not None:
        again = "" if one.attempts < 2 else f", attempt {one.attempts}"
        told.append((StepKind.SENT, one.sent_at, f"{what}: sent to {one.channel}{again}"))
    if one.accepted_at is not None:
        told.append((StepKind.ACCEPTED, one.accepted_at, f"{what}: {one.channel} took it"))
    if one.ended_at is not None and one.status is ItemStatus.VERIFIED:
        told.append((_SEEN.get(one.kind, StepKind.VERIFIED), one.ended_at, f"{what}: seen at {one.channel}"))
    if one.ended_at is not None and one.status in _ENDS:
        kind = _ENDS[one.status]
        told.append((kind, one.ended_at, f"{what}: {kind.value.lower()} ({one.error_code or 'no reason told'})"))
    return [
        Step(
            order=one.order,
            kind=kind,
            actor=one.requested_by,
            words=words,
            key=f"item:{one.item}:{kind.value}",
            at=at,
            operation=one.operation,
            upstream_request_id=one.upstream_request_id if place == len(told) else None,
        )
        for place, (kind, at, words) in enumerate(told, 1)
    ]


def of_moves(order: OrderId, entries: Iterable[Entry]) -> list[Step]:
    """What the ledger's entries for an order tell: one step for all of one kind that were posted together."""
    together: defaultdict[tuple[datetime, EntryKind, str], list[Entry]] = defaultdict(list)
    for one in entries:
        if one.entry.kind in _MOVES:
            together[one.at, one.entry.kind, one.entry.actor].append(one)
    return [_move(order, at, kind, actor, posted) for (at, kind, actor), posted in together.items()]


def _move(order: OrderId, at: datetime, entry_kind: EntryKind, actor: str, posted: Sequence[Entry]) -> Step:
    kind, done = _MOVES[entry_kind]
    units = ", ".join(
        f"{abs(one.entry.on_hand or one.entry.reserved)} of {one.entry.sku} at {one.entry.location}" for one in posted
    )
    asked = posted[0].entry.source == "mutation" and posted[0].entry.reference
    return Step(
        order=order,
        kind=kind,
        actor=actor,
        words=f"{done}: {units}",
        key=f"entry:{posted[0].id}",
        at=at,
        operation=OperationId(asked) if asked else None,
    )


def of_piece(order: OrderId, one: Piece) -> Step | None:
    """What a piece of a chain tells; None for what the ledger, or whoever announced a return to a pool, tells already."""
    if one.kind is PieceKind.ANNOUNCED and one.reference.startswith(AT_POOL):
        return None
    asked = one.reference.split(":")[1] if one.reference.startswith(PUT_BACK) else None
    if asked is not None and one.kind is PieceKind.RESTOCKED:
        return None
    kind, done = _PIECES[one.kind]
    money = "" if one.money is None else f" {one.money.amount} {one.money.currency}"
    units = f": {one.units} of {one.sku}" if one.units else ""
    return Step(
        order=order,
        kind=kind,
        actor=one.channel if asked is None else "acorn",
        words=f"{done}{money}{units}",
        key=f"{_PIECE}{one.kind.value}:{one.reference}",
        at=one.at,
        operation=None if asked is None else OperationId(asked),
    )


def together(noted: Iterable[Step], derived: Iterable[Step]) -> list[Step]:
    """All steps of one order in the order in which they happened, none twice.

    What somebody noted about a write says it better than the write's own end: of an operation that has a noted step, VERIFIED is
    left out, and so is a derived step of the kind that was noted; the platform's id of its call then stands with what was noted
    last of that operation, where that has none. A refund of ours that its channel tells of too is ours.
    """
    steps = {one.key: one for one in noted}
    said = {(one.operation, one.kind) for one in steps.values() if one.operation is not None}
    spoken_for = {operation for operation, _ in said}
    last = {one.operation: one for one in steps.values() if one.operation is not None}
    given_back = tuple(f"{_REFUND}{key.removeprefix(GIVEN_BACK)}:" for key in steps if key.startswith(GIVEN_BACK))
    for one in derived:
        silent = (one.kind is StepKind.VERIFIED and one.operation in spoken_for) or one.key.startswith(given_back)
        if one.key not in steps and (one.operation, one.kind) not in said and not silent:
            steps[one.key] = one
        elif one.upstream_request_id and one.operation in last and last[one.operation].upstream_request_id is None:
            of_it = last[one.operation]
            steps[of_it.key] = replace(of_it, upstream_request_id=one.upstream_request_id)
    return sorted(steps.values(), key=lambda one: one.at or _NEVER)


_NEVER = datetime.max.replace(tzinfo=UTC)

"""Adjusting the stock of own places: all or nothing, done in the transaction that asks for it, and taken back as one thing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.booking import BRINGS, Counts, Line, Outcome, Places, Result, counted, settle
from domain.channel import LEDGER, Location
from domain.errors import Conflict, Invalid, NotFound, Refused
from domain.ids import LocationCode, OperationId, Sku
from domain.ledger import MOST_UNITS, EntryKind, NewEntry
from domain.operation import Capability, ItemStatus, Kind, NewItem, Operation, OperationStatus
from resolvers.request import Accepted, check_key, check_word, contents_hash
from resolvers.shelf import Shelf
from store import agenda, kit, ledger, operation, product

MOST_ADJUSTMENTS = 1_000
LONGEST_REASON = 200
SOURCE = "mutation"

# What people may book with a `delta`.
BOOKED = frozenset({EntryKind.RECEIPT, EntryKind.ADJUSTMENT, EntryKind.RETURN, EntryKind.EXPECTED})
_STAYS = frozenset({EntryKind.TRANSFER, EntryKind.EXPECTED})


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One change as a caller tells it: `delta` units more or less, or `set_to` units counted. With `transfer_to` the units of
    `delta` go from `location` to there."""

    sku: Sku
    location: LocationCode
    delta: int | None = None
    set_to: int | None = None
    kind: EntryKind | None = None
    transfer_to: LocationCode | None = None


async def adjust(
    shelf: Shelf,
    requested_by: str,
    correlation_id: str,
    adjustments: Sequence[Adjustment],
    *,
    reason: str,
    idempotency_key: str | None,
) -> Accepted:
    """Post the entries of all adjustments, or of none, as an operation that has succeeded.

    What was counted (`set_to`) becomes the difference to what lies there at that moment. A repeated idempotency key answers the
    first operation as it stands; with other contents it is a Conflict.
    """
    try:
        _check_request(adjustments, reason, idempotency_key)
        told = contents_hash(reason, [_as_json(one) for one in adjustments])
        async with shelf.store.begin() as tx:
            skus = {one.sku for one in adjustments}
            await ledger.lock(tx, skus)
            # Behind the lock: of parallel repeats all but one find what the first has made.
            first = await operation.by_key(tx, requested_by, idempotency_key, told)
            if first is not None:
                return Accepted(first, [])
            id = operation.new_id()
            entries, items, problems = await book(tx, shelf, adjustments, reason=reason, actor=requested_by, id=id)
            if problems:
                return Accepted(None, problems)
            await ledger.post(tx, entries)
            kept = await done(tx, id, requested_by, correlation_id, items, request_hash=told, key=idempotency_key)
    except Refused as problem:
        return Accepted(None, [problem])
    shelf.stock_cache.wrote(skus)
    return Accepted(kept, [])


async def book(
    tx: AsyncConnection,
    shelf: Shelf,
    adjustments: Sequence[Adjustment],
    *,
    reason: str,
    actor: str,
    id: OperationId,
) -> tuple[list[NewEntry], list[NewItem], list[Refused]]:
    """The entries that the adjustments come to for the operation `id`, not posted yet, and its items; or what is wrong with them,
    by `("adjustments", number, …)`. Their SKUs are locked."""
    known = await product.by_skus(tx, {one.sku for one in adjustments})
    kits = await kit.components(tx, list(known))
    lines, problems = _lines(shelf, adjustments, reason, set(known), set(kits))
    return ([], [], problems) if problems else await _settle(tx, lines, actor, id)


async def revert(
    shelf: Shelf, requested_by: str, correlation_id: str, one: OperationId, kinds: frozenset[Kind]
) -> Operation:
    """Post the opposite of what an adjustment of stock has posted, once, as an operation of its own; `kinds` are those that the
    caller may see.

    Raises NotFound, and Conflict where that cannot be: another kind, reverted before, units that have left since.
    """
    async with shelf.store.begin() as tx:
        undone = await operation.lock(tx, one)
        if undone.kind not in kinds:
            raise NotFound(f"No operation has the id {one!r}.", field=("id",))
        if undone.kind is not Kind.ADJUST_STOCK:
            raise Conflict(
                f"{undone.kind.value} cannot be taken back: it has left the house. Only {Kind.ADJUST_STOCK.value} and "
                f"{Kind.UPDATE_PRICES.value} can.",
                field=("id",),
            )
        if (by := await operation.reverted_by(tx, one)) is not None:
            raise Conflict(f"It was taken back already, by Operation:{by}.", field=("id",))
        id = operation.new_id()
        groups = [_opposite(payload, requested_by, id) for payload in reversed(await agenda.payloads(tx, one))]
        opposite = [entry for group in groups for entry in group]
        skus = {entry.sku for entry in opposite}
        await ledger.lock(tx, skus)
        counts = await _counts(tx, skus)
        items = [_reverting_item(group, counts) for group in groups if group]
        await ledger.post(tx, opposite)
        told = contents_hash("revert", one)
        made = await done(tx, id, requested_by, correlation_id, items, request_hash=told, reverts=one)
    shelf.stock_cache.wrote(skus)
    return made


async def done(
    tx: AsyncConnection,
    id: OperationId,
    requested_by: str,
    correlation_id: str,
    items: Sequence[NewItem],
    *,
    request_hash: str,
    key: str | None = None,
    reverts: OperationId | None = None,
    kind: Kind = Kind.ADJUST_STOCK,
) -> Operation:
    """The operation of what has just been posted: it has succeeded."""
    made, _ = await operation.create(
        tx,
        kind=kind,
        requested_by=requested_by,
        idempotency_key=key,
        request_hash=request_hash,
        dry_run=False,
        status=OperationStatus.QUEUED,
        items=items,
        correlation_id=correlation_id,
        id=id,
        item_status=ItemStatus.VERIFIED,
        reverts=reverts,
    )
    return made


def _check_request(adjustments: Sequence[Adjustment], reason: str, idempotency_key: str | None) -> None:
    if not 1 <= len(adjustments) <= MOST_ADJUSTMENTS:
        raise Invalid(
            f"Make 1 to {MOST_ADJUSTMENTS} adjustments at a time; these are {len(adjustments)}.", field=("adjustments",)
        )
    check_word("reason", reason, longest=LONGEST_REASON)
    check_key(idempotency_key)


def _as_json(one: Adjustment) -> dict[str, Any]:
    return asdict(one) | {"kind": None if one.kind is None else one.kind.value}


def _lines(
    shelf: Shelf, adjustments: Sequence[Adjustment], reason: str, known: set[Sku], kits: set[Sku]
) -> tuple[list[tuple[Line, ...]], list[Refused]]:
    """What each adjustment books: one line, or the two of a transfer."""
    lines: list[tuple[Line, ...]] = []
    problems: list[Refused] = []
    places = {place.code: place for place in shelf.locations}
    for number, one in enumerate(adjustments):
        at = ("adjustments", str(number))
        try:
            _check_sku(one.sku, known, kits, at)
            _check_place(one.location, places, (*at, "location"))
            if one.transfer_to is not None:
                _check_place(one.transfer_to, places, (*at, "transferTo"))
            lines.append(_booked(one, number, reason, at))
        except Refused as problem:
            problems.append(problem)
    return lines, problems


def _check_sku(sku: Sku, known: set[Sku], kits: set[Sku], at: tuple[str, ...]) -> None:
    if sku not in known:
        raise NotFound(f"There is no SKU {sku!r}.", field=(*at, "sku"))
    if sku in kits:
        raise Conflict(
            f"{sku} is a kit and lies nowhere as such: adjust the stock of its components.", field=(*at, "sku")
        )


def _check_place(code: LocationCode, places: Mapping[LocationCode, Location], at: tuple[str, ...]) -> None:
    place = places.get(code)
    if place is None:
        ours = ", ".join(sorted(one.code for one in places.values() if one.ours)) or "none"
        raise NotFound(f"There is no place {code!r}. The places that we count ourselves: {ours}.", field=at)
    if not place.ours:
        raise Conflict(
            f"{place.name} is counted by {place.keeper}, not by us: change the number there, "
            f'or make the place ours (`keeper = "{LEDGER}"` in acorn.toml).',
            field=at,
        )


def _booked(one: Adjustment, number: int, reason: str, at: tuple[str, ...]) -> tuple[Line, ...]:
    """Raises Invalid for an adjustment that says nothing, or two things at once."""
    if (one.delta is None) == (one.set_to is None):
        raise Invalid("Tell either `delta`, units more or less, or `setTo`, units counted.", field=(*at, "delta"))
    if one.set_to is not None:
        return (_counted(one, one.set_to, number, reason, at),)
    assert one.delta is not None
    if one.delta == 0 or abs(one.delta) > MOST_UNITS:
        raise Invalid(f"`delta` is 1 to {MOST_UNITS} units, more or less.", field=(*at, "delta"))
    if one.transfer_to is not None:
        return _transfer(one, one.delta, one.transfer_to, number, reason, at)
    kind = one.kind or EntryKind.ADJUSTMENT
    if kind not in BOOKED:
        names = ", ".join(sorted(each.value for each in BOOKED))
        raise Invalid(f"A `delta` can be {names}; a COUNT is told with `setTo`.", field=(*at, "kind"))
    if kind in BRINGS and one.delta < 0:
        raise Invalid(f"A {kind.value} brings units; take units off with an ADJUSTMENT.", field=(*at, "delta"))
    return (Line(number, one.sku, one.location, one.delta, kind, reason),)


def _counted(one: Adjustment, units: int, number: int, reason: str, at: tuple[str, ...]) -> Line:
    if not 0 <= units <= MOST_UNITS:
        raise Invalid(f"`setTo` is 0 to {MOST_UNITS} units.", field=(*at, "setTo"))
    if one.kind not in (None, EntryKind.COUNT) or one.transfer_to is not None:
        raise Invalid("`setTo` is a COUNT and can be nothing else.", field=(*at, "setTo"))
    return Line(number, one.sku, one.location, units, EntryKind.COUNT, reason)


def _transfer(
    one: Adjustment, units: int, to: LocationCode, number: int, reason: str, at: tuple[str, ...]
) -> tuple[Line, Line]:
    if one.kind not in (None, EntryKind.TRANSFER):
        raise Invalid("With `transferTo` it is a TRANSFER and can be nothing else.", field=(*at, "kind"))
    if units < 0 or to == one.location:
        raise Invalid("A transfer takes `delta` units, above 0, to another place.", field=(*at, "transferTo"))
    return (
        Line(number, one.sku, one.location, -units, EntryKind.TRANSFER, reason),
        Line(number, one.sku, to, units, EntryKind.TRANSFER, reason),
    )


async def _settle(
    tx: AsyncConnection, lines: Sequence[tuple[Line, ...]], actor: str, id: OperationId
) -> tuple[list[NewEntry], list[NewItem], list[Refused]]:
    """The entries and items that the lines come to, given what lies there now; the SKUs are locked."""
    counts = await _counts(tx, {line.sku for group in lines for line in group})
    entries: list[NewEntry] = []
    items: list[NewItem] = []
    problems: list[Refused] = []
    for group in lines:
        settled = [
            settle(replace(line, reference=id), counts[line.sku, line.location], actor=actor, source=SOURCE, key=None)
            for line in group
        ]
        refused = next((one for _, one in settled if one.result is Result.REJECTED), None)
        if refused is None:
            posted = [entry for entry, _ in settled if entry is not None]
            entries += posted
            items.append(_item(group, [outcome for _, outcome in settled], posted))
        else:
            problems.append(
                Conflict(
                    f"{refused.sku} at {refused.location}: {refused.reason}. Look at the balance again, or tell with `setTo` "
                    "what was counted.",
                    field=("adjustments", str(group[0].number)),
                )
            )
    return entries, items, problems


async def _counts(tx: AsyncConnection, skus: Collection[Sku]) -> Places:
    found = await ledger.balances(tx, skus)
    return counted(balance for group in found.values() for balance in group)


def _item(group: Sequence[Line], outcomes: Sequence[Outcome], posted: Sequence[NewEntry]) -> NewItem:
    """What people see of an adjustment; of a transfer both places."""
    count = "inbound" if group[0].kind is EntryKind.EXPECTED else "onHand"
    return _new_item(
        [
            (line.location, outcome.before or 0, outcome.after or 0)
            for line, outcome in zip(group, outcomes, strict=True)
        ],
        count,
        group[0].sku,
        posted,
    )


def _reverting_item(group: Sequence[NewEntry], counts: Mapping[tuple[Sku, LocationCode], Counts]) -> NewItem:
    """Moves `counts` along: a SKU may be named twice."""
    count = "onHand" if any(entry.on_hand for entry in group) else "inbound"
    moved = []
    for entry in group:
        here = counts[entry.sku, entry.location]
        before = here.on_hand if count == "onHand" else here.inbound
        here.on_hand += entry.on_hand
        here.inbound += entry.inbound
        moved.append((entry.location, before, here.on_hand if count == "onHand" else here.inbound))
    return _new_item(moved, count, group[0].sku, group)


def _new_item(
    moved: Sequence[tuple[LocationCode, int, int]], count: str, sku: Sku, posted: Sequence[NewEntry]
) -> NewItem:
    """`moved` are (place, units before, units after); `posted` is kept so that it can be taken back."""
    before: dict[str, Any] = {place: units for place, units, _ in moved}
    after: dict[str, Any] = {place: units for place, _, units in moved}
    alone = moved[0][0] if len(moved) == 1 else None
    return NewItem(
        channel=LEDGER,
        capability=Capability.LEDGER,
        resource=f"stock:{sku}",
        key=f"{sku}/{'→'.join(place for place, _, _ in moved)}",
        payload={"entries": [_payload(entry) for entry in posted]},
        before=json.dumps({count: before if alone is None else before[alone]}),
        after=json.dumps({count: after if alone is None else after[alone]}),
    )


def _payload(entry: NewEntry) -> dict[str, Any]:
    return {
        "sku": entry.sku,
        "location": entry.location,
        "kind": entry.kind.value,
        "reason": entry.reason,
        "on_hand": entry.on_hand,
        "inbound": entry.inbound,
    }


def _opposite(payload: Mapping[str, Any], actor: str, id: OperationId) -> list[NewEntry]:
    """What takes the entries of an item back. Only a transfer or an announcement stays what it was: the rest is no receipt, count
    or return any more."""
    return [
        NewEntry(
            sku=Sku(one["sku"]),
            location=LocationCode(one["location"]),
            kind=kind if (kind := EntryKind(one["kind"])) in _STAYS else EntryKind.ADJUSTMENT,
            reason=f"taken back: {one['reason']}"[:LONGEST_REASON],
            actor=actor,
            source=SOURCE,
            on_hand=-one["on_hand"],
            inbound=-one["inbound"],
            reference=id,
        )
        for one in reversed(payload["entries"])
    ]

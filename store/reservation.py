"""Reservations: units held for somebody who is about to buy, taken by one conditional statement (store/triggers.py).

Whoever locks a reservation does it before any row of `sku_stock`; holds come behind, because a new hold ends those whose time is
over. What counts is the database's clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.allocation import choose
from domain.channel import Location
from domain.errors import Conflict, Insufficient, Invalid, NotFound, key_used
from domain.ids import ChannelId, LocationCode, ReservationId, Sku
from domain.ledger import Entry, EntryKind, NewEntry
from domain.policy import Hold
from domain.reservation import Reservation, ReservedLine
from store import ledger
from store.session import AnyRow, among, storable
from store.tables import reservation, reservation_hold, stock_entry
from store.triggers import INSUFFICIENT

MOST_LINES = 100
MOST_UNITS = 1_000_000
LEAST_TTL_S = 1.0
LONGEST_TTL_S = 24 * 3600.0

_OUT_OF_RANGE = "22003"
_FOR_EVER = datetime.max.replace(tzinfo=UTC)

r = reservation.c
h = reservation_hold.c


async def reserve(
    tx: AsyncConnection,
    *,
    requested_by: str,
    idempotency_key: str | None,
    request_hash: str,
    lines: Sequence[ReservedLine],
    ttl_s: float,
    channel: ChannelId | None = None,
    reference: str | None = None,
) -> tuple[Reservation, bool]:
    """Hold all of `lines` for `ttl_s` seconds, or nothing; or find what the caller's key made before (False). `reference` names
    the order, as its channel calls it, that takes it over when it comes.

    Kits hold their components. Whether `channel` may sell so many says `store.checkout`. Raises Insufficient with what can be
    promised of each line that is short, NotFound for an unknown SKU, Invalid, and Conflict when the key was used with another
    `request_hash`; then nothing was written and `tx` can go on.
    """
    wanted = _wanted(lines, ttl_s)
    # Never released: that would be one more question while the crowd waits.
    await tx.execute(_SAVE)
    try:
        rows = await tx.execute(
            _RESERVE,
            {
                "id": str(uuid4()),
                "requested_by": requested_by,
                "idempotency_key": idempotency_key,
                "request_hash": request_hash,
                "channel": channel,
                "reference": reference,
                "lines": orjson.dumps([{"sku": sku, "quantity": wanted[sku]} for sku in wanted]).decode(),
                "skus": list(wanted),
                "quantities": list(wanted.values()),
                "ttl_s": ttl_s,
            },
        )
    except DBAPIError as problem:
        state = getattr(problem.orig, "sqlstate", None)
        if state not in (INSUFFICIENT, _OUT_OF_RANGE):
            raise
        await tx.execute(_UNDO)
        short = getattr(problem.orig.__cause__, "detail", None) if problem.orig else None
        raise _refused(lines, wanted, await _left(tx, wanted), short) from problem
    row = rows.one()
    if row.unknown:
        raise NotFound(f"There is no SKU {row.unknown[0]!r}.", field=line_of(lines, row.unknown[0]))
    if row.id is None:
        return await _first(tx, requested_by, idempotency_key, request_hash), False
    return _reservation(row), True


async def commit(
    tx: AsyncConnection, id: ReservationId, *, by: str, places: Sequence[Location], reference: str | None = None
) -> Reservation:
    """The reservation was bought: what it holds is allocated at those of `places` that are ours and sell to its channel.

    What they cannot cover stays held without an end. `reference` names the order that it became, as its channel calls it; where
    that order is here already its units are allocated, and the reservation ends. Repeating it changes nothing. Raises NotFound,
    and Conflict for one that has expired, was released, or became another order.
    """
    row = await _locked(tx, id)
    if row.released_at is not None:
        raise Conflict("The reservation was released and holds nothing any more. Reserve anew.")
    if row.committed_at is not None and (reference is None or reference == row.reference):
        return _reservation(row)
    if row.committed_at is not None and row.reference is not None:
        raise Conflict(f"The reservation was committed as {row.reference!r} before.")
    held = await _held(tx, id)
    if row.committed_at is None and _over(row, held):
        raise Conflict("The reservation has expired and holds nothing any more. Reserve anew.")
    named = {} if reference is None else {"reference": storable(reference)}
    statement = update(reservation).where(r.id == id).returning(reservation)
    row = (await tx.execute(statement.values(committed_at=func.coalesce(r.committed_at, held.now), **named))).one()
    taken = await _taken_by_order(tx, row, held)
    if taken:
        await give_up(tx, [id], taken, by=by, reason=f"order {reference} has its units")
    await _allocate(tx, row, held, by, places, taken)
    return _reservation(row)


async def release(tx: AsyncConnection, id: ReservationId, *, by: str) -> Reservation:
    """Hold nothing any more. Of a committed reservation it takes the promise back, but for what an order has got of it.

    Repeating it changes nothing, nor does releasing one that has expired. Raises NotFound.
    """
    row = await _locked(tx, id)
    if row.released_at is not None:
        return _reservation(row)
    held = await _held(tx, id)
    if row.committed_at is None and _over(row, held):
        return _reservation(row)
    await give_up(tx, [id], None, by=by, reason=f"reservation {id} released")
    statement = update(reservation).where(r.id == id).values(released_at=held.now).returning(reservation)
    return _reservation((await tx.execute(statement)).one())


async def by_ids(tx: AsyncConnection, ids: Collection[ReservationId]) -> dict[ReservationId, Reservation]:
    """The reservations there are of `ids`."""
    rows = await tx.execute(select(reservation).where(among(r.id, ids)))
    return {one.id: one for one in map(_reservation, rows)}


async def now(tx: AsyncConnection) -> datetime:
    """The database's clock: by it reservations end."""
    at = await tx.scalar(select(func.clock_timestamp()))
    assert isinstance(at, datetime)
    return at


async def holds(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, list[Hold]]:
    """What is held of `skus` at this moment, by its end; what is held without an end ends at the end of time."""
    return _by_sku(await tx.execute(_HOLDS, {"skus": list(skus)}))


async def holds_at(tx: AsyncConnection, skus: Collection[Sku], at: datetime) -> dict[Sku, list[Hold]]:
    """What was held of `skus` at `at`, by its end."""
    return _by_sku(await tx.execute(_HOLDS_AT, {"skus": list(skus), "at": at, "longest_s": LONGEST_TTL_S}))


async def give_up(
    tx: AsyncConnection, ids: Collection[ReservationId], skus: Collection[Sku] | None, *, by: str, reason: str
) -> list[Entry]:
    """End what the reservations hold and take back what is still allocated for them, of `skus` or of all; tells of each SKU.

    The rows of their SKUs in `sku_stock` must be held already.
    """
    entries = [
        NewEntry(
            sku=sku,
            location=location,
            kind=EntryKind.RELEASE,
            reason=reason,
            actor=by,
            source="reservation",
            reserved=-units,
            reservation=id,
        )
        for (id, sku, location), units in sorted((await allocated(tx, ids)).items())
        if skus is None or sku in skus
    ]
    posted = await ledger.post(tx, entries)
    ended = update(reservation_hold).where(among(h.reservation_id, ids), h.ended_at.is_(None))
    if skus is not None:
        ended = ended.where(among(h.sku, skus))
    rows = await tx.execute(ended.values(ended_at=posted[0].at if posted else func.clock_timestamp()).returning(h.sku))
    await ledger.tell(tx, {Sku(row.sku) for row in rows} - {one.sku for one in entries})
    return posted


async def allocated(
    tx: AsyncConnection, ids: Collection[ReservationId]
) -> dict[tuple[ReservationId, Sku, LocationCode], int]:
    """Units that are still allocated for the reservations themselves, by reservation, SKU and place."""
    e = stock_entry.c
    units = func.sum(e.reserved)
    rows = await tx.execute(
        select(e.reservation_id, e.sku, e.location, units.label("units"))
        .where(among(e.reservation_id, ids), e.reservation_id.is_not(None))
        .group_by(e.reservation_id, e.sku, e.location)
        .having(units > 0)
    )
    return {
        (ReservationId(one.reservation_id), Sku(one.sku), LocationCode(one.location)): int(one.units) for one in rows
    }


class Promisable(NamedTuple):
    """Units of a SKU, no kit: those that own places have and nobody was promised, safety stock included, below zero where it is
    not enough; those that others count, FBA among them; and the safety stock."""

    own: int
    elsewhere: int
    safety_stock: int

    @property
    def units(self) -> int:
        """What can be promised now."""
        return self.own + self.elsewhere - self.safety_stock


async def promisable(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, Promisable]:
    """Of each SKU that is counted."""
    rows = await tx.execute(_PROMISABLE, {"skus": list(skus)})
    return {Sku(row.sku): Promisable(int(row.own), int(row.elsewhere), int(row.safety_stock)) for row in rows}


def _wanted(lines: Sequence[ReservedLine], ttl_s: float) -> dict[Sku, int]:
    """Units by SKU, checked, in the order of the lines."""
    if not LEAST_TTL_S <= ttl_s <= LONGEST_TTL_S:
        raise Invalid("A reservation lasts from 1 second to 24 hours.", field=("ttl",))
    if not 1 <= len(lines) <= MOST_LINES:
        raise Invalid(f"Reserve 1 to {MOST_LINES} lines at a time; these are {len(lines)}.", field=("lines",))
    wanted: defaultdict[Sku, int] = defaultdict(int)
    for position, line in enumerate(lines):
        wanted[line.sku] += line.quantity
        if line.quantity < 1 or wanted[line.sku] > MOST_UNITS:
            field = ("lines", str(position), "quantity")
            raise Invalid(f"Reserve 1 to {MOST_UNITS} units of a SKU; these are {wanted[line.sku]}.", field=field)
    return dict(wanted)


async def _first(tx: AsyncConnection, requested_by: str, key: str | None, request_hash: str) -> Reservation:
    """What the key made before. Raises Conflict for other contents."""
    rows = await tx.execute(select(reservation).where(r.requested_by == requested_by, r.idempotency_key == key))
    row = rows.one()
    if row.request_hash != request_hash:
        raise key_used(key)
    return _reservation(row)


@dataclass(frozen=True, slots=True)
class _Left:
    """What can be promised of a SKU that was asked for; `made_of` are the SKUs that it is held in."""

    units: int
    made_of: frozenset[str]


async def _left(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, _Left]:
    rows = await tx.execute(_LEFT, {"skus": list(skus)})
    return {Sku(row.sku): _Left(max(0, int(row.units)), frozenset(row.made_of)) for row in rows}


def _refused(
    lines: Sequence[ReservedLine], wanted: Mapping[Sku, int], left: Mapping[Sku, _Left], short: str | None
) -> Insufficient:
    """The refusal of a hold, line by line; `short` is the SKU that ran out."""
    words = {
        sku: f"{quantity} of {sku} were asked for, and {left[sku].units} can be promised now."
        for sku, quantity in wanted.items()
        if left[sku].units < quantity
    }
    if not words:
        uses = [sku for sku in wanted if short in left[sku].made_of] or list(wanted)
        shared = f"Each of {', '.join(uses)} can be promised, but they share {short}, and there is not enough of it for all: "
        words = {
            sku: (shared if len(uses) > 1 else "Not enough could be promised; ask again: ")
            + f"{left[sku].units} of {sku} alone can be now."
            for sku in uses
        }
    return all_of([Insufficient(told, field=line_of(lines, sku)) for sku, told in words.items()])


def all_of(short: Sequence[Insufficient]) -> Insufficient:
    """The first refusal, with the others beside it."""
    first, *others = short
    first.others = others
    return first


def line_of(lines: Sequence[ReservedLine], sku: str) -> tuple[str, ...]:
    """The input path of the first line of a SKU."""
    return "lines", str(next(position for position, line in enumerate(lines) if line.sku == sku))


async def _locked(tx: AsyncConnection, id: ReservationId) -> AnyRow:
    row = (await tx.execute(select(reservation).where(r.id == id).with_for_update())).one_or_none()
    if row is None:
        raise NotFound(f"There is no reservation {id}.")
    return row


@dataclass(frozen=True, slots=True)
class _Held:
    """The holds of one reservation that have not ended, under the locks of its SKUs (`skus`), and the database's clock then."""

    skus: frozenset[Sku]
    units: dict[Sku, int]
    ended: bool
    now: datetime


async def _held(tx: AsyncConnection, id: ReservationId) -> _Held:
    skus = (await tx.scalars(select(h.sku).where(h.reservation_id == id))).all()
    await ledger.lock(tx, [Sku(sku) for sku in skus])
    query = select(h.sku, h.quantity, h.ended_at, func.clock_timestamp().label("now")).where(h.reservation_id == id)
    rows = (await tx.execute(query.order_by(h.sku))).all()
    units = {Sku(row.sku): row.quantity for row in rows if row.ended_at is None}
    return _Held(frozenset(Sku(row.sku) for row in rows), units, len(units) < len(rows), rows[0].now)


def _over(row: AnyRow, held: _Held) -> bool:
    """Whether an open reservation's time is over; a hold that has ended says so even to a clock that was set back."""
    return held.ended or bool(row.expires_at <= held.now)


async def _taken_by_order(tx: AsyncConnection, row: AnyRow, held: _Held) -> set[Sku]:
    """The SKUs of the reservation that its order, where it came first, has allocated, or wants no more.

    Looked up under the locks of the SKUs, as `store.allocation.settle` looks for reservations: one of the two sees the other.
    """
    if row.reference is None:
        return set()
    found = (await tx.execute(_ORDERED, {"reference": row.reference, "channel": row.channel})).all()
    if any(one.closed for one in found):
        # What was turned into allocations before the order had its name, too.
        return set(held.skus)
    return {Sku(one.sku) for one in found if one.sku is not None}


async def _allocate(
    tx: AsyncConnection, row: AnyRow, held: _Held, by: str, places: Sequence[Location], taken: Collection[Sku]
) -> None:
    """Turn holds into allocations at own places; what these cannot cover stays held without an end."""
    wanted = {sku: units for sku, units in held.units.items() if sku not in taken}
    if not wanted:
        return
    channel = None if row.channel is None else ChannelId(row.channel)
    codes = [one.code for one in places if one.ours and (channel is None or one.sells(channel))]
    known = await ledger.balances(tx, wanted)
    entries: list[NewEntry] = []
    rest = dict(wanted)
    for sku, units in wanted.items():
        free = {one.location: one.free for one in known.get(sku, [])}
        for location, part in choose(units, {code: free[code] for code in codes if code in free}).items():
            rest[sku] -= part
            entries.append(
                NewEntry(
                    sku=sku,
                    location=location,
                    kind=EntryKind.ALLOCATION,
                    reason=f"reservation {row.id} committed",
                    actor=by,
                    source="reservation",
                    reserved=part,
                    reference=row.reference,
                    reservation=ReservationId(row.id),
                )
            )
    posted = await ledger.post(tx, entries)
    at = posted[0].at if posted else held.now
    await tx.execute(_KEEP_REST, {"id": row.id, "skus": list(rest), "rests": list(rest.values()), "at": at})


_SAVE = text("savepoint reservation")
_UNDO = text("rollback to savepoint reservation")

# Everything in one statement: the reservation, its holds by SKU, and the events. The holds' triggers run at its very end, so that
# the rows a crowd waits for are held only from there to the commit.
_RESERVE = text(
    """
    with asked as (
        select sku, quantity from unnest(cast(:skus as text[]), cast(:quantities as bigint[])) as line (sku, quantity)
    ),
    unknown as (
        select asked.sku from asked where not exists (select from sku_stock where sku_stock.sku = asked.sku)
    ),
    units as (
        select coalesce(part.component, asked.sku) sku, sum(asked.quantity * coalesce(part.quantity, 1)) quantity
        from asked left join kit_component part on part.kit = asked.sku
        group by 1
    ),
    made as (
        insert into reservation (
            id, requested_by, idempotency_key, request_hash, channel, reference, lines, created_at, expires_at
        )
        select
            :id, :requested_by, :idempotency_key, :request_hash, :channel, :reference, cast(:lines as jsonb), clock.now,
            clock.now + make_interval(secs => :ttl_s)
        from (select clock_timestamp() now) clock
        where not exists (select from unknown)
        on conflict (requested_by, idempotency_key) do nothing
        returning *
    ),
    held as (
        insert into reservation_hold (reservation_id, sku, quantity, expires_at)
        select made.id, units.sku, units.quantity, made.expires_at from made cross join units order by units.sku
        returning sku
    ),
    told as (
        insert into event (kind, subject, data)
        select 'StockChanged', sku, jsonb_build_object('sku', sku) from held order by sku
    )
    select (select array_agg(sku) from unknown) as unknown, made.*
    from (select) one left join made on true
    """
)

_OVER = """
    (
        select coalesce(sum(quantity), 0) from reservation_hold gone
        where gone.sku = stock.sku and gone.ended_at is null and gone.expires_at <= clock_timestamp()
    )
"""

_LEFT = text(
    f"""
    select asked.sku,
        floor(min(
            (stock.on_hand + stock.elsewhere - stock.reserved - stock.held - coalesce(stock.safety_stock, 0) + {_OVER})
            / cast(coalesce(part.quantity, 1) as numeric)
        )) units,
        array_agg(stock.sku) made_of
    from unnest(cast(:skus as text[])) as asked (sku)
    left join kit_component part on part.kit = asked.sku
    join sku_stock stock on stock.sku = coalesce(part.component, asked.sku)
    group by asked.sku
    """  # noqa: S608 - words of ours
)

_PROMISABLE = text(
    f"""
    select stock.sku, stock.on_hand - stock.reserved - stock.held + {_OVER} own, stock.elsewhere,
        coalesce(stock.safety_stock, 0) safety_stock
    from sku_stock stock where stock.sku = any(cast(:skus as text[]))
    """  # noqa: S608 - words of ours
)

_HOLDS = text(
    """
    select sku, quantity, expires_at, isfinite(expires_at) ends from reservation_hold
    where sku = any(cast(:skus as text[])) and ended_at is null and expires_at > clock_timestamp()
    order by sku, expires_at, reservation_id
    """
)

# A commit shrinks a hold to what is not allocated, and lets it last for ever; before, it held both parts until its time. All
# others were made not long ago: a SKU that sells has very many that have ended.
_HOLDS_AT = text(
    """
    with at_that_time as (
        select hold.sku, hold.reservation_id,
            case when made.committed_at > :at then made.expires_at else hold.expires_at end expires_at,
            hold.quantity + case when made.committed_at > :at and not isfinite(hold.expires_at) then (
                select coalesce(sum(entry.reserved), 0) from stock_entry entry
                where entry.reservation_id = hold.reservation_id and entry.sku = hold.sku and entry.kind = 'ALLOCATION'
            ) else 0 end quantity
        from (
            select * from reservation_hold
            where sku = any(cast(:skus as text[])) and expires_at <> 'infinity' and expires_at > :at
                and created_at <= :at and created_at > cast(:at as timestamptz) - make_interval(secs => :longest_s)
            union all
            select * from reservation_hold
            where sku = any(cast(:skus as text[])) and expires_at = 'infinity' and created_at <= :at and ended_at is null
            union all
            select * from reservation_hold
            where sku = any(cast(:skus as text[])) and expires_at = 'infinity' and created_at <= :at and ended_at > :at
        ) hold join reservation made on made.id = hold.reservation_id
        where coalesce(hold.ended_at > :at, true)
    )
    select sku, quantity, expires_at, isfinite(expires_at) ends from at_that_time
    where expires_at > :at
    order by sku, expires_at, reservation_id
    """
)

_ORDERED = text(
    """
    select kept.status in ('SHIPPED', 'DELIVERED', 'CANCELLED') closed, part.sku
    from "order" kept left join order_allocation part on part.order_id = kept.id
    where kept.external_id = :reference and (cast(:channel as text) is null or kept.channel = :channel)
    """
)

_KEEP_REST = text(
    """
    update reservation_hold set
        quantity = case when kept.rest > 0 then kept.rest else quantity end,
        expires_at = case when kept.rest > 0 then 'infinity' else expires_at end,
        ended_at = case when kept.rest > 0 then null else cast(:at as timestamptz) end
    from unnest(cast(:skus as text[]), cast(:rests as integer[])) as kept (sku, rest)
    where reservation_id = :id and reservation_hold.sku = kept.sku and ended_at is null
    """
)


def _by_sku(rows: Any) -> dict[Sku, list[Hold]]:
    found: defaultdict[Sku, list[Hold]] = defaultdict(list)
    for row in rows:
        found[Sku(row.sku)].append(Hold(int(row.quantity), row.expires_at if row.ends else _FOR_EVER))
    return dict(found)


def _reservation(row: AnyRow) -> Reservation:
    return Reservation(
        id=ReservationId(row.id),
        requested_by=row.requested_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        lines=[ReservedLine(Sku(line["sku"]), line["quantity"]) for line in row.lines],
        channel=None if row.channel is None else ChannelId(row.channel),
        reference=row.reference,
        committed_at=row.committed_at,
        released_at=row.released_at,
    )

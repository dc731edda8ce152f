"""The ledger of own places: entries are posted, balances and what can be promised follow by triggers (store/triggers.py).

Whoever posts holds the rows of `sku_stock` until its transaction ends, so that it sees the last word of each balance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, func, insert, literal, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict, Invalid, NotFound
from domain.event import EventKind, NewEvent
from domain.ids import LineId, LocationCode, ReservationId, Sku
from domain.ledger import ALL_PLACES, ELSEWHERE, MOST_UNITS, Balance, Check, Discrepancy, Entry, EntryKind, NewEntry
from store import event
from store.session import AnyRow, among, storable
from store.tables import ledger_check, sku_stock, stock_balance, stock_entry

LONGEST_CHECK_S = 1800
"""The proof reads every entry there is."""

b = stock_balance.c
e = stock_entry.c

_COUNTS = {"on_hand": "on hand", "reserved": "reserved", "inbound": "inbound"}


async def lock(tx: AsyncConnection, skus: Collection[Sku]) -> None:
    """Hold what can be promised of `skus` until `tx` ends. Take every other lock of the transaction before this one."""
    await tx.execute(
        select(sku_stock.c.sku).where(among(sku_stock.c.sku, skus)).order_by(sku_stock.c.sku).with_for_update()
    )


async def post(tx: AsyncConnection, entries: Sequence[NewEntry]) -> list[Entry]:
    """Post `entries` in the order of SKU and place, entries of one SKU and place as given, and tell of each SKU once.

    Left out are entries whose `key` was posted before. Those of one call carry one instant. Raises NotFound for an unknown SKU,
    Invalid for units beyond MOST_UNITS, and Conflict, naming SKU and place, where a count would fall below zero or a kit would
    get stock of its own; then nothing was posted and `tx` can go on.
    """
    if not entries:
        return []
    _within_bounds(entries)
    await _known(tx, entries)
    fresh = await _fresh(tx, sorted(entries, key=lambda one: (one.sku, one.location)))
    await _refuse_below_zero(tx, fresh)
    rows = await tx.execute(_POST, {"entries": orjson.dumps([_row(n, one) for n, one in enumerate(fresh)]).decode()})
    posted = sorted(map(entry_of, rows), key=lambda one: one.id)
    await tell(tx, {one.entry.sku for one in posted})
    return posted


async def tell(tx: AsyncConnection, skus: Iterable[Sku]) -> None:
    """Tell, once `tx` has committed, that the numbers of `skus` have changed."""
    await event.append(tx, [NewEvent(EventKind.STOCK_CHANGED, sku, {"sku": sku}) for sku in sorted(skus)])


async def balances(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, list[Balance]]:
    """The balances of `skus`, by place; a SKU without any entry is missing."""
    rows = await tx.execute(select(stock_balance).where(among(b.sku, skus)).order_by(b.sku, b.location))
    return _by_sku(rows)


async def balances_at(tx: AsyncConnection, skus: Collection[Sku], at: datetime) -> dict[Sku, list[Balance]]:
    """The balances of `skus` as they were at `at`, by place; a SKU without any entry by then is missing."""
    rows = await tx.execute(
        select(
            e.sku,
            e.location,
            func.sum(e.on_hand).label("on_hand"),
            func.sum(e.reserved).label("reserved"),
            func.sum(e.inbound).label("inbound"),
            func.max(e.at).label("changed_at"),
        )
        .where(among(e.sku, skus), e.at <= at)
        .group_by(e.sku, e.location)
        .order_by(e.sku, e.location)
    )
    return _by_sku(rows)


async def balance_page(
    tx: AsyncConnection, *, first: int, after: tuple[Sku, LocationCode] | None, location: LocationCode | None
) -> list[Balance]:
    """At most `first` balances after (SKU, place), by SKU and place."""
    query = select(stock_balance).order_by(b.sku, b.location).limit(first)
    if location is not None:
        query = query.where(b.location == location)
    if after is not None:
        query = query.where(tuple_(b.sku, b.location) > tuple_(*map(literal, after)))
    return [_balance(row) for row in await tx.execute(query)]


async def posted(tx: AsyncConnection, keys: Collection[str]) -> set[str]:
    """Those of `keys` that an entry has been posted with."""
    if not keys:
        return set()
    return {key for key in await tx.scalars(select(e.key).where(among(e.key, keys))) if key is not None}


async def opened(tx: AsyncConnection, location: LocationCode, skus: Collection[Sku]) -> set[Sku]:
    """Those of `skus` that have an entry at `location`."""
    rows = await tx.execute(select(b.sku).where(b.location == location, among(b.sku, skus)))
    return {Sku(row.sku) for row in rows}


async def entries(
    tx: AsyncConnection,
    *,
    first: int,
    after: int | None = None,
    sku: Sku | None = None,
    location: LocationCode | None = None,
) -> tuple[list[Entry], bool]:
    """The next `first` entries, newest first, and whether there are more; `after` is the id of the last one seen."""
    query = select(stock_entry).where(*_of(sku, location)).order_by(e.id.desc()).limit(first + 1)
    if after is not None:
        query = query.where(e.id < after)
    rows = (await tx.execute(query)).all()
    return [entry_of(row) for row in rows[:first]], len(rows) > first


async def count(tx: AsyncConnection, *, sku: Sku | None = None, location: LocationCode | None = None) -> int:
    """How many entries `entries` would give in all."""
    query: Select[int] = select(func.count()).select_from(stock_entry)
    return await tx.scalar(query.where(*_of(sku, location))) or 0


def _of(sku: Sku | None, location: LocationCode | None) -> list[ColumnElement[bool]]:
    wanted = [] if sku is None else [e.sku == sku]
    return wanted if location is None else [*wanted, e.location == location]


async def check(tx: AsyncConnection) -> Check:
    """Prove that the ledger adds up, and keep the proof.

    One statement, hence one instant: every balance is the sum of its entries and every entry has its balance; what can be
    promised of each SKU is made of its balances, its open holds and what others keep of it.
    """
    was = await tx.scalar(select(func.current_setting("statement_timeout")))
    await _limit(tx, f"{LONGEST_CHECK_S}s")
    row = (await tx.execute(_CHECK)).one()
    await _limit(tx, was or "0")
    values = {"at": row.at, "balances": row.balances, "entries": row.entries, "wrong": row.wrong}
    await tx.execute(insert(ledger_check).values(**values))
    return _check(row)


async def last_check(tx: AsyncConnection) -> Check | None:
    """The last proof, whoever asked for it."""
    row = (await tx.execute(select(ledger_check).order_by(ledger_check.c.id.desc()).limit(1))).one_or_none()
    return None if row is None else _check(row)


def _within_bounds(entries: Iterable[NewEntry]) -> None:
    for one in entries:
        if max(abs(one.on_hand), abs(one.reserved), abs(one.inbound)) > MOST_UNITS:
            raise Invalid(f"An entry moves at most {MOST_UNITS} units; that of {one.sku} at {one.location} moves more.")


async def _known(tx: AsyncConnection, entries: Sequence[NewEntry]) -> None:
    """Lock the SKUs, and refuse what names none of ours, or what brings a kit stock of its own."""
    rows = (await tx.execute(_LOCK, {"skus": sorted({one.sku for one in entries})})).all()
    known = {row.sku: row.is_kit for row in rows}
    for one in entries:
        if one.sku not in known:
            raise NotFound(f"There is no SKU {one.sku!r}. Products come from listings: list it first.")
        # Orders of a time before it was a kit still end.
        if known[one.sku] and one.order_line is None and (one.on_hand > 0 or one.inbound > 0):
            raise Conflict(f"{one.sku} is a kit and has no stock of its own: post the entry for its components.")


async def _fresh(tx: AsyncConnection, entries: Sequence[NewEntry]) -> list[NewEntry]:
    """Those of `entries` that were not posted before."""
    seen = await posted(tx, [one.key for one in entries if one.key is not None])
    fresh = []
    for one in entries:
        if one.key not in seen:
            fresh.append(one)
        if one.key is not None:
            seen.add(one.key)
    return fresh


async def _refuse_below_zero(tx: AsyncConnection, entries: Sequence[NewEntry]) -> None:
    """The database refuses it too; here it can be said which count, and what is there."""
    skus = {one.sku for one in entries if min(one.on_hand, one.reserved, one.inbound) < 0}
    if not skus:
        return
    counts: defaultdict[tuple[Sku, LocationCode, str], int] = defaultdict(int)
    for found in (await balances(tx, skus)).values():
        for one in found:
            counts.update({(one.sku, one.location, name): getattr(one, name) for name in _COUNTS})
    for entry in entries:
        for name, words in _COUNTS.items():
            count = entry.sku, entry.location, name
            there, moved = counts[count], getattr(entry, name)
            counts[count] = there + moved
            if entry.sku in skus and there + moved < 0:
                raise Conflict(
                    f"{entry.sku} has {there} units {words} at {entry.location}, so {-moved} cannot be taken off. "
                    "Look at the balance again, or count what lies there."
                )


async def _limit(tx: AsyncConnection, longest: str) -> None:
    await tx.execute(select(func.set_config("statement_timeout", longest, True)))


_LOCK = text(
    """
    select sku, exists (select from kit_component where kit = sku_stock.sku) is_kit
    from sku_stock where sku = any(cast(:skus as text[])) order by sku for update
    """
)

# One parameter, whatever the number of entries. The statement's instant comes after the locks, so it grows with each posting.
_POST = text(
    """
    insert into stock_entry (
        at, sku, location, kind, on_hand, reserved, inbound, reason, actor, source, key, reference, reservation_id, order_line_id
    )
    select
        statement_timestamp(), sku, location, kind, on_hand, reserved, inbound, reason, actor, source, key, reference,
        reservation_id, order_line_id
    from json_to_recordset(cast(:entries as json)) as new (
        position integer, sku text, location text, kind text, on_hand integer, reserved integer, inbound integer, reason text,
        actor text, source text, key text, reference text, reservation_id text, order_line_id text
    )
    order by position
    on conflict (key) do nothing
    returning *
    """
)

_CHECK = text(
    f"""
    with sums as (
        select sku, location, count(*) entries, sum(on_hand) on_hand, sum(reserved) reserved, sum(inbound) inbound
        from stock_entry group by sku, location
    ),
    places as (
        select sku, location, entries,
            array[coalesce(kept.on_hand, 0), coalesce(kept.reserved, 0), coalesce(kept.inbound, 0)] balance,
            cast(array[coalesce(sums.on_hand, 0), coalesce(sums.reserved, 0), coalesce(sums.inbound, 0)] as bigint[]) entered,
            kept.sku is not null as kept
        from sums full join stock_balance kept using (sku, location)
    ),
    own as (select sku, sum(on_hand) on_hand, sum(reserved) reserved from stock_balance group by sku),
    holds as (select sku, sum(quantity) units from reservation_hold where ended_at is null group by sku),
    told as (
        select listed.sku, sum(level.on_hand - level.reserved) units
        from (
            select distinct sku, channel, channel_sku from listing
            where sku is not null and (fulfilled_by = 'CHANNEL' or marketplace = '')
        ) listed
        join stock_level level using (channel, channel_sku)
        group by listed.sku
    ),
    promised as (
        select sku, coalesce(stock.elsewhere, 0) elsewhere, coalesce(told.units, 0) told,
            array[stock.on_hand, stock.reserved, stock.held] balance,
            cast(array[coalesce(own.on_hand, 0), coalesce(own.reserved, 0), coalesce(holds.units, 0)] as bigint[]) entered
        from sku_stock stock
        full join own using (sku) full join holds using (sku) full join told using (sku)
    ),
    wrong as (
        select sku, location, balance, entered from places where not kept or balance <> entered
        union all
        select sku, '{ALL_PLACES}', balance, entered from promised where balance is distinct from entered
        union all
        select sku, '{ELSEWHERE}', array[elsewhere, 0, 0], array[told, 0, 0] from promised where elsewhere <> told
    )
    select statement_timestamp() at,
        (select count(*) from places where kept) balances,
        (select coalesce(sum(entries), 0) from sums) entries,
        (
            select coalesce(jsonb_agg(to_jsonb(wrong) order by sku, location), '[]') from wrong
        ) wrong
    """  # noqa: S608 - two words of ours
)


def _row(position: int, one: NewEntry) -> dict[str, Any]:
    return {
        "position": position,
        "sku": one.sku,
        "location": one.location,
        "kind": one.kind.value,
        "on_hand": one.on_hand,
        "reserved": one.reserved,
        "inbound": one.inbound,
        "reason": storable(one.reason),
        "actor": storable(one.actor),
        "source": storable(one.source),
        "key": one.key,
        "reference": None if one.reference is None else storable(one.reference),
        "reservation_id": one.reservation,
        "order_line_id": one.order_line,
    }


def entry_of(row: AnyRow) -> Entry:
    """A row of `stock_entry` as a value."""
    return Entry(
        id=row.id,
        at=row.at,
        entry=NewEntry(
            sku=Sku(row.sku),
            location=LocationCode(row.location),
            kind=EntryKind(row.kind),
            reason=row.reason,
            actor=row.actor,
            source=row.source,
            on_hand=row.on_hand,
            reserved=row.reserved,
            inbound=row.inbound,
            key=row.key,
            reference=row.reference,
            reservation=None if row.reservation_id is None else ReservationId(row.reservation_id),
            order_line=None if row.order_line_id is None else LineId(row.order_line_id),
        ),
    )


def _by_sku(rows: Iterable[AnyRow]) -> dict[Sku, list[Balance]]:
    found: defaultdict[Sku, list[Balance]] = defaultdict(list)
    for row in rows:
        found[Sku(row.sku)].append(_balance(row))
    return dict(found)


def _balance(row: AnyRow) -> Balance:
    return Balance(
        sku=Sku(row.sku),
        location=LocationCode(row.location),
        on_hand=int(row.on_hand),
        reserved=int(row.reserved),
        inbound=int(row.inbound),
        changed_at=row.changed_at,
    )


def _check(row: AnyRow) -> Check:
    return Check(row.at, int(row.balances), int(row.entries), [_discrepancy(one) for one in row.wrong])


def _discrepancy(one: dict[str, Any]) -> Discrepancy:
    return Discrepancy(Sku(one["sku"]), LocationCode(one["location"]), _three(one["balance"]), _three(one["entered"]))


def _three(counts: Sequence[int | None]) -> tuple[int, int, int]:
    on_hand, reserved, third = (int(count or 0) for count in counts)
    return on_hand, reserved, third

"""SKUs whose numbers wait to be computed anew and carried to the channels: the marks that every change leaves on `sku_stock`.

The version of a SKU is read first, and its mark goes only if it is still the same: a change that comes meanwhile keeps waiting.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, case, func, null, or_, select, text, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import bindparam

from domain.ids import Sku
from store import locks
from store.session import among
from store.tables import kit_component, sku_stock

s = sku_stock.c


@dataclass(frozen=True, slots=True)
class Stirred:
    """A SKU whose numbers have to be computed anew, as it was at `at` of the database's clock. `by_time`: nothing happened to it,
    but an instant came at which its numbers change by themselves."""

    sku: Sku
    version: int
    at: datetime
    dirty_since: datetime | None
    caused_at: datetime | None
    by_time: bool


@dataclass(frozen=True, slots=True)
class Carried:
    """A SKU whose targets have been put. `safety_stock` of None leaves it as it is."""

    stirred: Stirred
    recompute_at: datetime | None
    safety_stock: int | None


async def mark(tx: AsyncConnection, skus: Collection[Sku]) -> None:
    """Have these SKUs computed anew once `tx` has committed. Take all other locks before.

    Kits need no mark of their own: they are computed with their components.
    """
    if skus:
        await tx.execute(_MARK, {"skus": list(skus)})


async def propagating(tx: AsyncConnection) -> bool:
    """Whether this transaction is the one that carries changes now; the others need not do the same work beside it."""
    return bool(await tx.scalar(select(func.pg_try_advisory_xact_lock(locks.PROPAGATION))))


async def stirred(tx: AsyncConnection, limit: int) -> list[Stirred]:
    """At most `limit` SKUs that wait longest to be carried, and as many whose numbers change by themselves at this moment."""
    dirty = select(s.sku).where(s.dirty_since.is_not(None)).order_by(s.dirty_since).limit(limit).subquery()
    timed = select(s.sku).where(s.recompute_at <= func.now()).order_by(s.recompute_at).limit(limit).subquery()
    wanted = union_all(dirty.select(), timed.select()).subquery()
    return await _stirred(tx, s.sku.in_(wanted.select()))


async def as_stirred(tx: AsyncConnection, skus: Collection[Sku]) -> list[Stirred]:
    """Those SKUs, whether or not anything happened to them."""
    return await _stirred(tx, among(s.sku, skus))


async def _stirred(tx: AsyncConnection, which: ColumnElement[bool]) -> list[Stirred]:
    now = func.clock_timestamp().label("now")
    rows = await tx.execute(select(s.sku, s.version, s.dirty_since, s.caused_at, now).where(which).order_by(s.sku))
    return [
        Stirred(Sku(row.sku), row.version, row.now, row.dirty_since, row.caused_at, row.dirty_since is None)
        for row in rows
    ]


async def carried(tx: AsyncConnection, done: Sequence[Carried]) -> None:
    """These SKUs wait no more, unless they have changed since they were read; then only what came later still waits.

    A row that somebody holds is about to change and comes again: nobody waits here, and whoever reserves never waits for us.
    """
    by_sku = {one.stirred.sku: one for one in done}
    free = await tx.scalars(select(s.sku).where(among(s.sku, by_sku)).order_by(s.sku).with_for_update(skip_locked=True))
    rows = [
        {
            "of": one.stirred.sku,
            "read_version": one.stirred.version,
            "read_caused_at": one.stirred.caused_at,
            "read_at": one.stirred.at,
            "new_recompute_at": one.recompute_at,
            "new_safety_stock": one.safety_stock,
        }
        for one in (by_sku[Sku(sku)] for sku in free)
    ]
    if rows:
        await tx.execute(_CARRIED, rows)


_UNCHANGED = s.version == bindparam("read_version")
_READ_AT = bindparam("read_at", type_=s.dirty_since.type)
_CAUSED = update(sku_stock).where(s.sku == bindparam("of")).values(caused_at=func.least(s.caused_at, _READ_AT))
_CARRIED = (
    update(sku_stock)
    .where(s.sku == bindparam("of"))
    .values(
        dirty_since=case(
            (or_(_UNCHANGED, s.dirty_since.is_(None)), null()), else_=func.greatest(s.dirty_since, _READ_AT)
        ),
        # The cause that was read has been carried; what changed since came later than that.
        caused_at=case(
            (_UNCHANGED, null()),
            (s.caused_at == bindparam("read_caused_at", type_=s.caused_at.type), _READ_AT),
            else_=s.caused_at,
        ),
        recompute_at=case((_UNCHANGED, bindparam("new_recompute_at", type_=s.recompute_at.type)), else_=s.recompute_at),
        safety_stock=func.coalesce(bindparam("new_safety_stock", type_=s.safety_stock.type), s.safety_stock),
    )
)


async def caused(tx: AsyncConnection, sold: Mapping[Sku, datetime]) -> None:
    """What changed these SKUs in `tx` happened then or before: a sale is as old as its order. Their rows are locked by now."""
    rows = [{"of": sku, "read_at": sold[sku]} for sku in sorted(sold)]
    if rows:
        await tx.execute(_CAUSED, rows)


async def waiting(tx: AsyncConnection, skus: Collection[Sku]) -> set[Sku]:
    """Those of `skus` that wait to be computed anew, kits with a component that does included."""
    part = kit_component.c
    own = select(s.sku).where(among(s.sku, skus), s.dirty_since.is_not(None))
    by_component = (
        select(part.kit)
        .join_from(kit_component, sku_stock, part.component == s.sku)
        .where(among(part.kit, skus), s.dirty_since.is_not(None))
    )
    return {Sku(sku) for sku in await tx.scalars(union_all(own, by_component))}


# The rows are locked by SKU before they change, so that no two writers wait for each other.
_MARK = text(
    """
    with locked as (
        select sku from sku_stock where sku = any(cast(:skus as text[])) order by sku for update
    )
    update sku_stock set version = version + 1, dirty_since = coalesce(dirty_since, clock_timestamp())
    from locked where sku_stock.sku = locked.sku
    """
)

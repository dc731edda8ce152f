"""What units cost us, in layers by date; nothing that was said is ever overwritten."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cost import MOST_COST, CostLayer, NewCost
from domain.errors import Invalid
from domain.ids import ListingId, Sku
from domain.money import Money
from domain.repricing import Reason
from store import locks, price_due
from store.session import AnyRow, among
from store.tables import listing, unit_cost

c = unit_cost.c


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of one thing that was said: the layer as it stands, `fresh` where that is another revision; or why not."""

    layer: CostLayer | None
    fresh: bool = False
    problem: Invalid | None = None


async def keep(tx: AsyncConnection, said: Sequence[NewCost], by: str) -> list[Kept]:
    """Keep what is said, in its order; one answer each. What stands already makes no revision, and what cannot be kept spoils no
    other. Prices of the SKUs' listings wait to be worked out anew."""
    await tx.execute(select(func.pg_advisory_xact_lock(locks.UNIT_COSTS)))
    standing = {(one.sku, one.valid_from): one for one in await _newest(tx, {one.sku for one in said})}
    now: datetime = (await tx.execute(select(func.now()))).scalar_one()
    kept: list[Kept] = []
    for one in said:
        before = standing.get((one.sku, one.valid_from))
        try:
            after = _after(one, before, by, now)
        except Invalid as problem:
            kept.append(Kept(before, problem=problem))
            continue
        kept.append(Kept(after, fresh=after is not before))
        standing[after.sku, after.valid_from] = after
    fresh = [one.layer for one in kept if one.layer is not None and one.fresh]
    if fresh:
        await tx.execute(insert(unit_cost), [_row(one) for one in fresh])
        await price_due.mark(tx, await _listings(tx, {one.sku for one in fresh}), Reason.COST)
    return kept


async def revisions(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, list[CostLayer]]:
    """All that was ever said of each SKU, by day and revision."""
    rows = await tx.execute(select(unit_cost).where(among(c.sku, skus)).order_by(c.sku, c.valid_from, c.revision))
    found: defaultdict[Sku, list[CostLayer]] = defaultdict(list)
    for row in rows:
        found[Sku(row.sku)].append(_layer(row))
    return dict(found)


async def in_force(tx: AsyncConnection, skus: Collection[Sku], on: date) -> dict[Sku, CostLayer]:
    """What a unit of each SKU costs on that day; what has no layer by then is missing."""
    newest = (
        select(unit_cost)
        .where(among(c.sku, skus), c.valid_from <= on)
        .order_by(c.sku, c.valid_from, c.revision.desc())
        .ext(distinct_on(c.sku, c.valid_from))
        .subquery()
    )
    rows = await tx.execute(
        select(newest)
        .where(~newest.c.withdrawn)
        .order_by(newest.c.sku, newest.c.valid_from.desc())
        .ext(distinct_on(newest.c.sku))
    )
    return {Sku(row.sku): _layer(row) for row in rows}


async def _newest(tx: AsyncConnection, skus: Collection[Sku]) -> list[CostLayer]:
    rows = await tx.execute(
        select(unit_cost)
        .where(among(c.sku, skus))
        .order_by(c.sku, c.valid_from, c.revision.desc())
        .ext(distinct_on(c.sku, c.valid_from))
    )
    return [_layer(row) for row in rows]


async def _listings(tx: AsyncConnection, skus: Collection[Sku]) -> list[ListingId]:
    return [ListingId(id) for id in await tx.scalars(select(listing.c.id).where(among(listing.c.sku, skus)))]


def _after(said: NewCost, before: CostLayer | None, by: str, now: datetime) -> CostLayer:
    """The layer when that is said; `before` itself where it stands already."""
    day = said.valid_from.isoformat()
    if said.withdrawn and before is None:
        raise Invalid(f"{said.sku} has no cost from {day} on that could be withdrawn.")
    amount = said.amount if said.amount is not None else None if before is None else before.amount
    if amount is None:
        raise Invalid(f"{said.sku} has no cost from {day} on yet: say what a unit was bought for.")
    extra = said.extra if said.extra is not None or before is None else before.extra
    for one, name in ((amount, "The cost"), (extra, "What freight and duty add")):
        if one is not None and one.amount < 0:
            raise Invalid(f"{name} of {said.sku} is below 0.")
        if one is not None and one.amount >= MOST_COST:
            raise Invalid(f"{name} of {said.sku} is {one.amount:.3g}: nothing costs as much.")
    if extra is not None and extra.currency != amount.currency:
        words = f"{said.sku} is bought in {amount.currency}, and freight and duty are told in {extra.currency}"
        raise Invalid(f"{words}. Tell both in one currency.")
    if before is not None and (before.amount, before.extra, before.withdrawn) == (amount, extra, said.withdrawn):
        return before
    revision = 1 if before is None else before.revision + 1
    return CostLayer(said.sku, said.valid_from, revision, amount, extra, said.withdrawn, said.reason, by, now)


def _row(one: CostLayer) -> dict[str, object]:
    return {
        "sku": one.sku,
        "valid_from": one.valid_from,
        "revision": one.revision,
        "amount": one.amount.amount,
        "currency": one.amount.currency,
        "extra": None if one.extra is None else one.extra.amount,
        "withdrawn": one.withdrawn,
        "reason": one.reason,
        "made_by": one.made_by,
    }


def _layer(row: AnyRow) -> CostLayer:
    extra: Decimal | None = row.extra
    return CostLayer(
        sku=Sku(row.sku),
        valid_from=row.valid_from,
        revision=row.revision,
        amount=Money(row.amount, row.currency),
        extra=None if extra is None else Money(extra, row.currency),
        withdrawn=row.withdrawn,
        reason=row.reason,
        made_by=row.made_by,
        made_at=row.made_at,
    )

"""A changed rule goes through the catalog in steps.

A rule for all SKUs, or for those with a tag, may concern a million rows of `sku_stock`. Marked in one statement they would all
be locked until it ends, and every reservation would wait for that. So the transaction that changes the rule only leaves a row
here, and workers take step after step: each marks the next SKUs to be computed anew, and notes how far it came in the same
transaction. Whoever dies in between loses nothing: the next worker goes on from there.

Until a step has come to a SKU, what its channels show and what reservations leave it (`sku_stock.safety_stock`) follow the older
rules.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import Sku
from store import marks
from store.session import AnyRow
from store.tables import product, sku_stock, stock_sweep

c = stock_sweep.c

STEP = 2000
"""SKUs that one transaction marks: it holds their rows for some hundredths of a second."""


async def begin(tx: AsyncConnection, tags: Collection[str | None]) -> None:
    """Have the SKUs with each tag, or all of them for None, computed anew once `tx` has committed. All includes every tag."""
    wanted = [None] if None in tags else sorted(tag for tag in tags if tag is not None)
    if wanted:
        await tx.execute(insert(stock_sweep), [{"tag": tag} for tag in wanted])


async def step(tx: AsyncConnection) -> bool:
    """Mark the next STEP SKUs of the oldest sweep that no other worker has in hand; False when there is none.

    Which SKUs have a tag is asked at each step.
    """
    oldest = select(stock_sweep).order_by(c.id).limit(1).with_for_update(skip_locked=True)
    sweep = (await tx.execute(oldest)).one_or_none()
    if sweep is None:
        return False
    found = (await tx.scalars(_next(sweep).limit(STEP + 1))).all()
    skus, more = found[:STEP], len(found) > STEP
    await _note(tx, sweep, skus[-1] if more else None)
    await marks.mark(tx, [Sku(sku) for sku in skus])
    return True


def _next(sweep: AnyRow) -> Select[str]:
    """The SKUs that a sweep has yet to come to, in order."""
    if sweep.tag is None:
        return select(sku_stock.c.sku).where(sku_stock.c.sku > sweep.after_sku).order_by(sku_stock.c.sku)
    tagged = product.c.attributes.contains([{"name": "tag", "value": sweep.tag}])
    return select(product.c.sku).where(product.c.sku > sweep.after_sku, tagged).order_by(product.c.sku)


async def _note(tx: AsyncConnection, sweep: AnyRow, last: str | None) -> None:
    """How far the sweep has come; None is its end."""
    if last is None:
        await tx.execute(delete(stock_sweep).where(c.id == sweep.id))
    else:
        await tx.execute(update(stock_sweep).where(c.id == sweep.id).values(after_sku=last))

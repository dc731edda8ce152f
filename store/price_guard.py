"""The guards of prices: every set there ever was, and how often its guards were run into."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import version_passed
from domain.price import Hit
from domain.price_guard import PriceGuards, from_json, to_json
from store import locks
from store.session import AnyRow
from store.tables import price_guard_hit, price_guards

logger = logging.getLogger(__name__)

g = price_guards.c
h = price_guard_hit.c


async def current(tx: AsyncConnection) -> PriceGuards:
    """The set that holds: the newest, or the usual one while nobody has kept any."""
    row = (await tx.execute(select(price_guards).order_by(g.version.desc()).limit(1))).one_or_none()
    return PriceGuards() if row is None else _guards(row)


async def versions(tx: AsyncConnection, limit: int) -> list[PriceGuards]:
    """The newest sets that were kept, newest first."""
    rows = await tx.execute(select(price_guards).order_by(g.version.desc()).limit(limit))
    return [_guards(row) for row in rows]


async def keep(tx: AsyncConnection, wanted: PriceGuards, by: str) -> PriceGuards:
    """Keep a set in place of the version that it names, and answer it; one equal to what holds is not kept again. Sets are to be
    checked before. Raises Conflict where another version holds by now."""
    # One after the other: of two who have read the same version one has to read again.
    await tx.execute(select(func.pg_advisory_xact_lock(locks.PRICE_GUARDS)))
    before = await current(tx)
    if wanted.version != before.version:
        raise version_passed(wanted.version, before.version)
    if replace(wanted, made_by=before.made_by, made_at=before.made_at) == before:
        return before
    statement = insert(price_guards).values(version=before.version + 1, guards=to_json(wanted), made_by=by)
    return _guards((await tx.execute(statement.returning(price_guards))).one())


async def note(tx: AsyncConnection, hits: Iterable[Hit]) -> None:
    """Count what was refused or held, where something becomes of it: not of what is only looked at."""
    counts = Counter((one.guard, one.action.value) for one in hits)
    if not counts:
        return
    rows = [{"guard": guard, "action": action, "hits": count} for (guard, action), count in sorted(counts.items())]
    logger.info("price.guarded", extra={"hits": {f"{guard} {action}": n for (guard, action), n in counts.items()}})
    await tx.execute(insert(price_guard_hit), rows)


async def hits(tx: AsyncConnection, since: datetime) -> dict[tuple[str, str], int]:
    """How often each guard was run into since then, by guard and action."""
    query = select(h.guard, h.action, func.sum(h.hits).label("hits")).where(h.at >= since).group_by(h.guard, h.action)
    return {(row.guard, row.action): int(row.hits) for row in await tx.execute(query)}


async def forget_hits(tx: AsyncConnection, before: datetime, limit: int = 5000) -> int:
    """Delete counts from before that instant, `limit` at most; answers how many."""
    statement = """
        delete from price_guard_hit
        where id in (select id from price_guard_hit where at < :before order by at limit :limit)
    """
    return (await tx.execute(text(statement), {"before": before, "limit": limit})).rowcount


def _guards(row: AnyRow) -> PriceGuards:
    return from_json(row.guards, version=row.version, made_by=row.made_by, made_at=row.made_at)

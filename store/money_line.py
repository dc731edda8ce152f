"""Lines of money: added, and replaced by what is known better; never changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, ChannelSku, LineId, OrderId, Sku
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import Cause, MoneyLine, Source, Stage
from store.session import AnyRow, among
from store.tables import money_line

c = money_line.c

AT_ONCE = 5_000
"""So many rows are added by one statement."""


def standing(known_at: datetime | None = None, of: Any = c) -> ColumnElement[bool]:
    """The lines that hold now, or held by what was known at an instant; `of` are their columns."""
    known, gone = of.known_at, of.replaced_at
    return gone.is_(None) if known_at is None else and_(known <= known_at, or_(gone.is_(None), gone > known_at))


async def add(tx: AsyncConnection, lines: Sequence[MoneyLine]) -> None:
    """Add lines, in their order, known from now on."""
    for first in range(0, len(lines), AT_ONCE):
        await tx.execute(insert(money_line), [_row(one) for one in lines[first : first + AT_ONCE]])


async def add_one(tx: AsyncConnection, line: MoneyLine) -> int:
    """Add a line, known from now on, and answer its id."""
    id: int = (await tx.execute(insert(money_line).values(_row(line)).returning(c.id))).scalar_one()
    return id


async def renew_all(
    tx: AsyncConnection,
    channel: ChannelId,
    source: Source,
    lines: Mapping[str, Sequence[MoneyLine]],
    why: Mapping[str, str],
) -> set[str]:
    """Let exactly these lines stand for what a source tells under each reference; those of which anything changed. What stands
    already is left as it is; the caller has made sure that nobody else renews the same references now."""
    held = await tx.execute(
        select(money_line).where(
            c.channel == channel,
            c.source == source.value,
            among(c.reference, list(lines)),
            # Lines of settlements have no reference; without this their index would not serve.
            c.settlement_id.is_(None),
            standing(),
        )
    )
    wanted = {reference: list(ones) for reference, ones in lines.items()}
    gone: defaultdict[str, list[int]] = defaultdict(list)
    changed = set()
    for row in held:
        if (one := line_of(row)) in wanted[row.reference]:
            wanted[row.reference].remove(one)
        else:
            gone[why[row.reference]].append(row.id)
            changed.add(row.reference)
    for reason, ids in gone.items():
        await tx.execute(update(money_line).where(among(c.id, ids)).values(replaced_at=func.now(), replaced_why=reason))
    await add(tx, [one for ones in wanted.values() for one in ones])
    return changed | {reference for reference, ones in wanted.items() if ones}


async def billed(tx: AsyncConnection, orders: Collection[OrderId], why: str) -> None:
    """Somebody who knows has told money of these orders: what we had reckoned of them does not stand any more, and is reckoned
    anew for what nobody has billed yet. Call it in the transaction that adds the lines, so that nothing counts twice; once, and
    late in it, since orders that change meanwhile wait."""
    if not orders:
        return
    # First: whoever reckons has them in hand, and what comes of that is to be seen here; or waits until this has committed.
    await estimate(tx, orders)
    await tx.execute(
        update(money_line)
        .where(among(c.order_id, orders), c.source == Source.ESTIMATE.value, standing())
        .values(replaced_at=func.now(), replaced_why=why)
    )


async def estimate(tx: AsyncConnection, orders: Collection[OrderId]) -> None:
    """What is reckoned of these orders is to be worked out anew, by what holds when `tx` has committed, and by nobody before
    then: an order that waits already is locked too."""
    if orders:
        await tx.execute(_DUE, {"ids": sorted(orders)})


_DUE = text(
    """
    insert into estimate_due (order_id, since) select id, now() from unnest(cast(:ids as text[])) asked (id) order by id
    on conflict (order_id) do update set since = excluded.since
    """
)


def line_of(row: AnyRow) -> MoneyLine:
    """A line, of a row of `money_line`."""
    return MoneyLine(
        channel=ChannelId(row.channel),
        source=Source(row.source),
        stage=Stage(row.stage),
        event=Event(row.event),
        money_class=MoneyClass(row._mapping["class"]),
        amount=Money(row.amount, row.currency),
        posted_at=row.posted_at,
        day=row.day,
        kind=row.kind,
        amount_kind=row.amount_kind,
        description=row.description,
        reference=row.reference,
        settlement=row.settlement_id,
        row=row.row,
        marketplace=row.marketplace,
        order_external_id=row.order_external_id,
        shipment_id=row.shipment_id,
        adjustment_id=row.adjustment_id,
        item_id=row.item_id,
        channel_sku=None if row.channel_sku is None else ChannelSku(row.channel_sku),
        units=row.units,
        order_id=None if row.order_id is None else OrderId(row.order_id),
        order_line_id=None if row.order_line_id is None else LineId(row.order_line_id),
        sku=None if row.sku is None else Sku(row.sku),
        matched_by=row.matched_by,
        cause=None if row.cause is None else Cause(row.cause),
        extra=row.extra or {},
    )


def _row(one: MoneyLine) -> dict[str, Any]:
    return {
        "channel": one.channel,
        "marketplace": one.marketplace,
        "source": one.source.value,
        "stage": one.stage.value,
        "event": one.event.value,
        "class": one.money_class.value,
        "part": one.part.value,
        "kind": one.kind,
        "amount_kind": one.amount_kind,
        "description": one.description,
        "amount": one.amount.amount,
        "currency": one.amount.currency,
        "units": one.units,
        "posted_at": one.posted_at,
        "day": one.day,
        "reference": one.reference,
        "settlement_id": one.settlement,
        "row": one.row,
        "order_external_id": one.order_external_id,
        "shipment_id": one.shipment_id,
        "adjustment_id": one.adjustment_id,
        "item_id": one.item_id,
        "channel_sku": one.channel_sku,
        "order_id": one.order_id,
        "order_line_id": one.order_line_id,
        "sku": one.sku,
        "matched_by": one.matched_by,
        "cause": None if one.cause is None else one.cause.value,
        "extra": dict(one.extra) or None,
    }

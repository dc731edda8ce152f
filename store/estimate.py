"""What estimates are made from, and the lines that stand for them.

An order waits once, in `estimate_due`. Whoever reckons takes it out of there and adds the lines in one transaction; whoever bills
(`store.money_line.billed`) or changes an order puts it in first, so of two such transactions one waits for the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.apportion import Refunded, refunds_of
from domain.estimate import FEES_UNKNOWN, UnitFee, UnitFees
from domain.fee import FeeKind
from domain.ids import ChannelSku, LineId, ListingId, OrderId, listing_id
from domain.money import Money
from domain.money_class import Event
from domain.money_line import MoneyLine, Source
from domain.order import Order
from store import chain, order
from store import money_line as lines
from store.money_line import standing
from store.session import AnyRow, among, as_table
from store.tables import estimate_due, fee_estimate, money_line, money_transaction

c, d, f, m = money_line.c, estimate_due.c, fee_estimate.c, money_transaction.c

_Offer = tuple[ListingId, str]
"""A listing, and who sends."""


@dataclass(frozen=True, slots=True)
class Facts:
    """An order, what was billed of it, the fees that are known of its lines, and what was refunded."""

    order: Order
    billed: Sequence[MoneyLine] = ()
    fees: Mapping[LineId, Sequence[UnitFees]] = field(default_factory=dict)
    refunded: Sequence[Refunded] = ()


async def take(tx: AsyncConnection, limit: int) -> list[OrderId]:
    """At most `limit` orders that wait, longest first. They wait no more when `tx` commits; until then nobody else is given them,
    and nobody bills or changes them."""
    chosen = (
        # Not one that somebody marked after this transaction began: what replaces may not be known before what is replaced.
        select(d.order_id)
        .where(d.since <= func.now())
        .order_by(d.since, d.order_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte()
    )
    rows = await tx.scalars(delete(estimate_due).where(d.order_id.in_(select(chosen))).returning(d.order_id))
    return sorted(map(OrderId, rows))


async def lag(tx: AsyncConnection) -> timedelta:
    """How long the order has waited that waits longest."""
    late: timedelta | None = await tx.scalar(select(func.now() - func.min(d.since)))
    return timedelta(0) if late is None else max(timedelta(0), late)


async def put_off(tx: AsyncConnection, id: OrderId, by: timedelta) -> None:
    """Nobody looks at this order before so long, unless it changes."""
    await tx.execute(update(estimate_due).where(d.order_id == id).values(since=func.now() + by))


async def facts(tx: AsyncConnection, ids: Collection[OrderId]) -> list[Facts]:
    """What is known of each order that is kept, by id."""
    orders = await order.by_ids(tx, ids)
    billed = await _billed(tx, orders)
    fees = await _fees(tx, orders.values())
    chains = await chain.by_orders(tx, orders)
    return [
        Facts(
            one,
            billed.get(id, ()),
            {line.id: fees[key] for line in one.lines if (key := _offer(one, line.channel_sku)) in fees},
            refunds_of(one, [piece for each in chains.get(id, ()) for piece in each.pieces]),
        )
        for id, one in sorted(orders.items())
    ]


async def fees_came(tx: AsyncConnection, ids: Collection[ListingId]) -> None:
    """What a channel takes of these listings is known: estimates that lack it are worked out anew."""
    if ids:
        await tx.execute(_FEES_CAME, {"ids": sorted(ids)})


async def _billed(tx: AsyncConnection, orders: Mapping[OrderId, Order]) -> dict[OrderId, list[MoneyLine]]:
    """What stands of the sale and of refunds of each order; that too which came before it and is not tied to it yet."""
    told = (c.source != Source.ESTIMATE.value, c.event != Event.ACCOUNT.value, standing())
    tied = await tx.execute(select(money_line).where(among(c.order_id, orders), *told).order_by(c.id))
    keys = {(one.channel, one.external_id): id for id, one in orders.items()}
    asked = as_table(channel=[channel for channel, _ in keys], name=[name for _, name in keys])
    untied = await tx.execute(
        select(money_line)
        .join(asked, (asked.c.channel == c.channel) & (asked.c.name == c.order_external_id))
        .where(c.cause.is_not(None), c.order_id.is_(None), *told)
        .order_by(c.id)
    )
    # Lines of transactions say nothing of what they lack; their transactions do.
    early = await tx.execute(
        select(money_line, m.order_id.label("meant"))
        .join(money_transaction, (m.channel == c.channel) & (m.key == c.reference))
        .where(among(m.order_id, orders), m.order_missing, c.source == Source.TRANSACTION.value)
        .where(c.settlement_id.is_(None), c.order_id.is_(None), *told)
        .order_by(c.id)
    )
    found: defaultdict[OrderId, list[MoneyLine]] = defaultdict(list)
    for row in early:
        found[OrderId(row.meant)].append(lines.line_of(row))
    for row in tied:
        found[OrderId(row.order_id)].append(lines.line_of(row))
    for row in untied:
        found[keys[row.channel, row.order_external_id]].append(lines.line_of(row))
    return found


async def _fees(tx: AsyncConnection, orders: Collection[Order]) -> dict[_Offer, list[UnitFees]]:
    """The channel's estimates for each offer, of the way in which it was sent."""
    asked = {_offer(one, line.channel_sku)[0] for one in orders for line in one.lines}
    rows = await tx.execute(select(fee_estimate).where(among(f.listing, asked)).order_by(f.listing, f.price))
    found: defaultdict[_Offer, list[UnitFees]] = defaultdict(list)
    for row in rows:
        found[ListingId(row.listing), row.fulfilled_by].append(_unit_fees(row))
    return found


def _offer(one: Order, channel_sku: ChannelSku) -> _Offer:
    return listing_id(one.channel, one.marketplace, channel_sku), one.fulfilled_by.value


def _unit_fees(row: AnyRow) -> UnitFees:
    """An estimate as it was told, fee by fee; what they do not come to is a fee without a name."""
    fees = [_unit_fee(one, row.currency) for one in row.fees]
    rest = row.referral + row.fixed - sum((one.amount.amount for one in fees), Decimal(0))
    if rest:
        fees.append(UnitFee(FeeKind.UNCLASSIFIED, "", Money(rest, row.currency), moves=False))
    return UnitFees(Money(row.price, row.currency), tuple(fees))


def _unit_fee(told: Mapping[str, Any], currency: str) -> UnitFee:
    kind = FeeKind(told["kind"])
    return UnitFee(kind, told["name"], Money(Decimal(told["final"]), currency), moves=kind is FeeKind.REFERRAL)


_FEES_CAME = text(
    f"""
    insert into estimate_due (order_id, since)
    select distinct line.order_id, now() from listing join money_line line
        on line.channel = listing.channel and line.channel_sku = listing.channel_sku
            and coalesce(line.marketplace, '') = listing.marketplace
    where listing.id = any(cast(:ids as text[])) and line.source = 'ESTIMATE'
        and line.description = '{FEES_UNKNOWN}' and line.replaced_at is null
    order by line.order_id
    on conflict (order_id) do update set since = excluded.since
    """  # noqa: S608 - words of ours
)

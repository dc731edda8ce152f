"""What money moved, as a channel tells it before a settlement does.

Each transaction is kept as it was told last. Lines of money stand for those alone that count (`domain.finance.counted_once`) and
that no kept settlement holds. Whoever changes either takes the channel's lock first, so what stands follows from what was told,
in whatever order it came:

- A settlement holds the transactions that name it. Of those that name none: those of a group of which any other names it; and
  where nothing is known of the group, what was released in its currency and marketplace within its period.
- What is still held back by the channel is in no settlement. If one says otherwise, because it tells of the same shipment of the
  same order, or of just its amount, or has money of the order that nothing else explains, then its release has only not been told
  yet, and the settlement holds it.
- A settlement's own lines are the books. Where the channel's two views differ, what is missing from the settlement is missing
  until another one tells of it: rather too little than twice. `replaced` says how much, `compare` of which order.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import bindparam, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Text

from domain.channel import Channel
from domain.finance import DEFERRED, Transaction, counted_once
from domain.ids import ChannelId, ChannelSku, OrderId, Sku, order_id
from domain.money import Money
from domain.money_line import Source
from domain.settlement_compare import Replaced, ViewCause, Views
from domain.transaction_lines import Known, Meaning, lines_of, order_of
from store import locks, money_line, order
from store.session import AnyRow, among
from store.tables import listing, money_group, money_transaction, settlement

log = logging.getLogger(__name__)

c = money_transaction.c

_WHOLE = TypeAdapter(Transaction)


async def keep(tx: AsyncConnection, channel: Channel, told: Sequence[Transaction], meaning: Meaning) -> None:
    """Keep transactions as they were told, and let the lines of those that count stand; what was estimated of their orders stands
    no more."""
    if not told:
        return
    await lock(tx, channel.id)
    keys = {one.key for one in told}
    await _write(tx, channel.id, told)
    keys |= await _count(tx, channel.id, [one for one in told if one.id is not None])
    keys |= await _tie(tx, channel.id, told)
    await _place(tx, channel.id, keys)
    await _renew(tx, channel, keys, meaning)


async def cover(tx: AsyncConnection, settlement_id: str) -> int:
    """A settlement was kept: the transactions that it holds stand no more; how many these are. Whoever reads the log is told, and
    warned where the settlement does not tell the same. Call it in the transaction that adds the settlement, behind its lines and
    before their orders are billed."""
    channel = ChannelId(
        (await tx.execute(select(settlement.c.channel).where(settlement.c.id == settlement_id))).scalar_one()
    )
    await lock(tx, channel)
    found = (await tx.execute(_COVER, {"settlement": settlement_id, "channel": channel})).rowcount
    await tx.execute(_END_LINES, {"settlement": settlement_id})
    early = await _place_early(tx, channel, None)
    if early:
        await tx.execute(_END_EARLY, {"channel": channel, "keys": sorted(early)})
    if found or early:
        await _tell(tx, channel, settlement_id)
    return found + len(early)


async def replaced(tx: AsyncConnection, settlement_ids: Collection[str]) -> dict[str, Replaced]:
    """What each kept settlement took the place of; one that took none's is missing."""
    rows = await tx.execute(_REPLACED, {"settlements": sorted(settlement_ids)})
    return {
        row.settlement_id: Replaced(
            row.transactions,
            row.by_period,
            Money(row.told, row.currency),
            row.differing,
            Money(row.difference, row.currency),
        )
        for row in rows
    }


async def match_again(tx: AsyncConnection, channel: Channel, meaning: Meaning, limit: int) -> int:
    """Tie transactions to orders that there were none of when these were told, at most so many; how many were."""
    await lock(tx, channel.id)
    keys = await tx.scalars(_FOUND, {"channel": channel.id, "limit": limit})
    found = set(keys)
    await _renew(tx, channel, found, meaning)
    return len(found)


async def told_at(tx: AsyncConnection, orders: Collection[OrderId]) -> dict[OrderId, datetime]:
    """When anything was told last of what moved for each of these orders."""
    query = select(c.order_id, func.max(c.told_at).label("at")).where(among(c.order_id, orders)).group_by(c.order_id)
    return {OrderId(row.order_id): row.at for row in await tx.execute(query)}


async def held(
    tx: AsyncConnection, channel: ChannelId, before: datetime, told_before: datetime, limit: int
) -> list[tuple[str, str | None]]:
    """Orders of which money is held back since `before`, and of which nothing was told since `told_before`: the channel's ids
    with the marketplaces, those first that were told of longest ago."""
    rows = await tx.execute(
        select(c.order_external_id, func.min(c.marketplace).label("marketplace"))
        .where(
            c.channel == channel,
            c.counts,
            c.settlement_id.is_(None),
            c.status == DEFERRED,
            c.posted_at < before,
            c.told_at < told_before,
            c.order_external_id.is_not(None),
        )
        .group_by(c.order_external_id)
        .order_by(func.min(c.told_at), c.order_external_id)
        .limit(limit)
    )
    return [(row.order_external_id, row.marketplace) for row in rows]


async def asked(tx: AsyncConnection, channel: ChannelId, order: str) -> None:
    """It was asked what moved for an order, by the channel's id: whatever was answered, others have their turn before it is asked
    again."""
    of_order = c.channel == channel, c.order_id == order_id(channel, order)
    await tx.execute(update(money_transaction).where(*of_order).values(told_at=func.now()))


async def compare(tx: AsyncConnection, settlement_id: str, limit: int = 1000) -> list[Views]:
    """Where a kept settlement and the transactions that it holds do not tell the same of an order, to the cent: the greatest
    differences first, at most so many. Only the settlement's lines are in the books."""
    rows = await tx.execute(_COMPARE, {"settlement": settlement_id, "limit": limit})
    return [
        Views(row.order_external_id, Money(row.settled, row.currency), Money(row.told, row.currency), _cause(row))
        for row in rows
    ]


async def _tell(tx: AsyncConnection, channel: ChannelId, settlement_id: str) -> None:
    for id, one in (await replaced(tx, {settlement_id})).items():
        extra = {"channel": channel, "settlement": id, "transactions": one.transactions, "by_period": one.by_period}
        log.info("settlement.replaced", extra=extra)
        if one.warning is not None:
            log.warning("settlement.told_otherwise", extra=extra | {"orders": one.differing, "reason": one.warning})


def _cause(row: AnyRow) -> ViewCause:
    if not row.told_of:
        return ViewCause.ONLY_IN_SETTLEMENT
    return ViewCause.OTHER_AMOUNT if row.settled_of else ViewCause.ONLY_IN_TRANSACTIONS


async def lock(tx: AsyncConnection, channel: ChannelId) -> None:
    """Nobody else changes what stands of the channel's transactions until `tx` ends."""
    await tx.execute(select(func.pg_advisory_xact_lock(locks.TRANSACTIONS, func.hashtext(channel))))


async def _tie(tx: AsyncConnection, channel: ChannelId, told: Sequence[Transaction]) -> set[str]:
    """Remember which settlements groups are of; the keys of transactions whose place was judged without knowing that."""
    pairs = {
        (group, named)
        for one in told
        for group in one.values("FINANCIAL_EVENT_GROUP_ID")
        for named in one.values("SETTLEMENT_ID")
    }
    if not pairs:
        return set()
    rows = [{"channel": channel, "group_id": group, "settlement_external_id": named} for group, named in sorted(pairs)]
    fresh = insert(money_group).on_conflict_do_nothing().returning(money_group)
    new = (await tx.execute(fresh, rows)).all()
    if not new:
        return set()
    values = {"groups": [row.group_id for row in new], "named": [row.settlement_external_id for row in new]}
    return set(await tx.scalars(_TIED, {"channel": channel, **values}))


async def _write(tx: AsyncConnection, channel: ChannelId, told: Sequence[Transaction]) -> None:
    rows = {one.key: _row(channel, one) for one in told}
    fresh = insert(money_transaction)
    replaced = {
        name: fresh.excluded[name] for name in next(iter(rows.values())) if name not in ("channel", "key", "counts")
    }
    await tx.execute(
        fresh.on_conflict_do_update(index_elements=["channel", "key"], set_={**replaced, "told_at": func.now()}),
        [rows[key] for key in sorted(rows)],
    )


async def _count(tx: AsyncConnection, channel: ChannelId, told: Sequence[Transaction]) -> set[str]:
    """Let each movement count once; the keys of those that counted before, and do not any more, and the other way about."""
    family = await _family(tx, channel, told)
    counting = {one.key for one in counted_once(one for one, _ in family.values())}
    changed = {key for key, (_, counts) in family.items() if counts is not (key in counting)}
    if changed:
        await tx.execute(
            update(money_transaction).where(c.channel == channel, among(c.key, changed)).values(counts=~c.counts)
        )
    return changed


async def _family(
    tx: AsyncConnection, channel: ChannelId, told: Sequence[Transaction]
) -> dict[str, tuple[Transaction, bool]]:
    """All that was told of the same movements, by key, and whether it counts so far."""
    found: dict[str, tuple[Transaction, bool]] = {}
    ids = {id for one in told for id in (one.id, *_partners(one)) if id is not None}
    asked: set[str] = set()
    while fresh := sorted(ids - asked):
        asked |= ids
        one_of = bindparam("ids", fresh, ARRAY(Text))
        rows = await tx.execute(
            select(c.key, c.told, c.counts).where(
                c.channel == channel, or_(among(c.id, fresh), (c.partners != text("'{}'")) & c.partners.overlap(one_of))
            )
        )
        for row in rows:
            one = _WHOLE.validate_python(row.told)
            found[row.key] = one, row.counts
            ids |= {id for id in (one.id, *_partners(one)) if id is not None}
    return found


async def _place(tx: AsyncConnection, channel: ChannelId, keys: Collection[str]) -> None:
    """Find the kept settlements that hold these transactions."""
    await tx.execute(_PLACE, {"channel": channel, "keys": sorted(keys)})
    await _place_early(tx, channel, sorted(keys))


async def _place_early(tx: AsyncConnection, channel: ChannelId, keys: Sequence[str] | None) -> list[str]:
    """Find those that are held back by what we were told, and in a settlement all the same; their keys."""
    found: list[str] = []
    for statement in (_BY_SHIPMENT, _BY_AMOUNT, _BY_ORDER):
        found += await tx.scalars(statement, {"channel": channel, "keys": keys})
    return found


async def _renew(tx: AsyncConnection, channel: Channel, keys: Collection[str], meaning: Meaning) -> None:
    """Let exactly the lines stand that these transactions come to now."""
    rows = (await tx.execute(_STANDING, {"channel": channel.id, "keys": sorted(keys)})).all()
    told = {row.key: _WHOLE.validate_python(row.told) for row in rows if row.told is not None}
    known = await _known(tx, channel, told.values(), meaning)
    lines = {row.key: lines_of(channel.id, row.key, told[row.key], known) if row.key in told else [] for row in rows}
    why = {row.key: _why(row) for row in rows}
    changed = await money_line.renew_all(tx, channel.id, Source.TRANSACTION, lines, why)
    whole = {named for named, one in known.orders.items() if one.whole}
    missing = [key for key, one in told.items() if (named := order_of(one)) and named not in whole]
    await tx.execute(
        update(money_transaction)
        .where(c.channel == channel.id, among(c.key, sorted(keys)), c.order_missing != among(c.key, missing))
        .values(order_missing=~c.order_missing)
    )
    orders = {row.key: OrderId(row.order_id) for row in rows if row.key in changed and row.order_id is not None}
    # All at once, so that no two who do this wait for each other; where nothing is told any more, that is estimated again.
    await money_line.estimate(tx, set(orders.values()))
    await money_line.billed(tx, {id for key, id in orders.items() if lines[key]}, "The channel has told what moved.")


async def _known(tx: AsyncConnection, channel: Channel, told: Collection[Transaction], meaning: Meaning) -> Known:
    """What we know beside these."""
    ids = {order_id(channel.id, named) for one in told if (named := order_of(one))}
    kept = await order.by_ids(tx, ids)
    skus = {ChannelSku(item.sku) for one in told for item in one.items if item.sku}
    rows = await tx.execute(
        select(listing.c.channel_sku, listing.c.sku).where(
            listing.c.channel == channel.id, among(listing.c.channel_sku, skus), listing.c.sku.is_not(None)
        )
    )
    ours = {ChannelSku(row.channel_sku): Sku(row.sku) for row in rows}
    return Known({one.external_id: one for one in kept.values()}, ours, channel.zone, meaning)


def _why(row: AnyRow) -> str:
    if row.held_by is not None:
        return f"Settlement {row.held_by} holds it."
    return "It was told anew." if row.counts else "Its release was told."


def _partners(one: Transaction) -> tuple[str, ...]:
    return (*one.values("DEFERRED_TRANSACTION_ID"), *one.values("RELEASE_TRANSACTION_ID"))


def _row(channel: ChannelId, one: Transaction) -> dict[str, Any]:
    named = order_of(one)
    return {
        "channel": channel,
        "key": one.key,
        "id": one.id,
        "status": one.status,
        "kind": one.kind,
        "posted_at": one.posted_at,
        "amount": one.total.amount,
        "currency": one.total.currency,
        "marketplace": one.marketplace,
        "order_external_id": named,
        "order_id": order_id(channel, named) if named else None,
        "shipment_id": next(iter(one.values("SHIPMENT_ID")), None),
        "settlement_external_id": next(iter(one.values("SETTLEMENT_ID")), None),
        "group_id": next(iter(one.values("FINANCIAL_EVENT_GROUP_ID")), None),
        "partners": list(_partners(one)),
        "told": _WHOLE.dump_python(one, mode="json"),
        "counts": True,
        "order_missing": False,
    }


# Whether settlement s holds transaction t, by what t names, else by when it was posted.
_HOLDS = """
    case
        when t.settlement_external_id is not null and t.status is distinct from 'DEFERRED'
            then t.settlement_external_id = s.external_id
        when t.status in ('DEFERRED', 'DEFERRED_RELEASED') then false
        when t.group_id in (select group_id from groups)
            then (t.group_id, s.external_id) in (select group_id, settlement_external_id from groups)
        when t.group_id is not null and s.external_id in (select settlement_external_id from groups) then false
        else t.currency = s.currency and t.posted_at >= s.starts_at and t.posted_at < s.ends_at
            and coalesce(t.marketplace = s.marketplace, true)
    end
"""
_GROUPS = "with groups as materialized (select * from money_group where channel = :channel)"
_COVER = text(
    f"""
    {_GROUPS}
    update money_transaction t set settlement_id = s.id from settlement s
    where s.id = :settlement and s.kind = 'SETTLEMENT' and t.channel = :channel and t.settlement_id is null and t.counts
        and {_HOLDS}
    """  # noqa: S608  both are ours
)
_PLACE = text(
    f"""
    {_GROUPS}
    update money_transaction t set settlement_id = (
        select s.id from settlement s where s.channel = t.channel and s.kind = 'SETTLEMENT' and {_HOLDS}
        order by s.starts_at, s.id limit 1
    )
    where t.channel = :channel and t.key = any(cast(:keys as text[])) and t.counts
    """  # noqa: S608
)
# Those that are held back by what we were told. A label of the same shipment is paid when it is bought, and says nothing of it.
_EARLY = """
    t.channel = :channel and t.counts and t.settlement_id is null and t.status in ('DEFERRED', 'DEFERRED_RELEASED')
    and t.order_id is not null and (cast(:keys as text[]) is null or t.key = any(cast(:keys as text[])))
"""
_BY_SHIPMENT = text(
    f"""
    update money_transaction t set settlement_id = found.settlement_id
    from money_transaction o, lateral (
        select m.settlement_id from money_line m
        where m.order_id = o.order_id and m.channel = o.channel and m.source = 'SETTLEMENT'
            and m.shipment_id = o.shipment_id and m.class = 'SALE' and m.event = 'SALE' and m.replaced_at is null
        union all
        select m.settlement_id from money_line m
        where m.channel = o.channel and m.order_external_id = o.order_external_id and m.source = 'SETTLEMENT'
            and m.shipment_id = o.shipment_id and m.class = 'SALE' and m.event = 'SALE'
            and m.cause is not null and m.replaced_at is null
        limit 1
    ) found
    where o.channel = t.channel and o.key = t.key and {_EARLY}
    returning t.key
    """  # noqa: S608
)
# One of an order at a time, and no second one by the same amount.
_BY_AMOUNT = text(
    f"""
    update money_transaction t set settlement_id = found.settlement_id
    from money_transaction o, lateral (
        select m.settlement_id from money_line m
        where m.order_id = o.order_id and m.channel = o.channel and m.source = 'SETTLEMENT' and m.event = 'SALE'
            and m.replaced_at is null
        group by m.settlement_id having sum(m.amount) = o.amount
        limit 1
    ) found
    where o.channel = t.channel and o.key = t.key and {_EARLY}
        and not exists (
            select from money_transaction k where k.order_id = t.order_id and k.settlement_id = found.settlement_id
        )
        and t.key = (
            select min(k.key) from money_transaction k
            where k.order_id = t.order_id and k.counts and k.settlement_id is null
                and k.status in ('DEFERRED', 'DEFERRED_RELEASED')
        )
    returning t.key
    """  # noqa: S608
)
# The settlement has sold something of the order, and none of what was told is known to be that.
_BY_ORDER = text(
    f"""
    update money_transaction t set settlement_id = found.settlement_id
    from money_transaction o, lateral (
        select m.settlement_id from money_line m join settlement s on s.id = m.settlement_id
        where m.order_id = o.order_id and m.channel = o.channel and m.source = 'SETTLEMENT' and m.event = 'SALE'
            and m.class = 'SALE' and m.replaced_at is null and s.ends_at > o.posted_at
        order by s.ends_at desc limit 1
    ) found
    where o.channel = t.channel and o.key = t.key and {_EARLY}
        and not exists (
            select from money_transaction k where k.order_id = t.order_id and k.settlement_id = found.settlement_id
        )
    returning t.key
    """  # noqa: S608
)
# Whoever keeps a settlement lets its own orders be estimated anew; others here are those that the two views differ on.
_END = """
    with ended as (
        update money_line l set replaced_at = now(), replaced_why = 'Settlement ' || s.external_id || ' holds it.'
        from money_transaction t join settlement s on s.id = t.settlement_id
        where {which} and l.channel = t.channel and l.source = 'TRANSACTION' and l.reference = t.key
            and l.settlement_id is null and l.replaced_at is null
        returning l.order_id
    )
    insert into estimate_due (order_id, since)
    select o.order_id, now() from (select distinct order_id from ended where order_id is not null) o
    where not exists (
        select from money_line m where m.order_id = o.order_id and m.source = 'SETTLEMENT' and m.replaced_at is null
    )
    order by o.order_id
    on conflict (order_id) do update set since = excluded.since
"""
_END_LINES = text(_END.format(which="t.settlement_id = :settlement"))
_END_EARLY = text(_END.format(which="t.channel = :channel and t.key = any(cast(:keys as text[]))"))
# Others of these groups, and what was taken for these settlements by its date and is of another group.
_TIED = text(
    """
    select t.key from money_transaction t left join settlement s on s.id = t.settlement_id
    where t.channel = :channel and t.group_id = any(cast(:groups as text[]))
        and (s.id is null or not s.external_id = any(cast(:named as text[])))
    union all
    select t.key from settlement s join money_transaction t on t.settlement_id = s.id
    where s.channel = :channel and s.external_id = any(cast(:named as text[]))
        and t.settlement_external_id is null and not t.group_id = any(cast(:groups as text[]))
    """
)
_STANDING = text(
    """
    select t.key, t.counts, t.order_id, s.external_id held_by,
        case when t.counts and t.settlement_id is null then t.told end told
    from money_transaction t left join settlement s on s.id = t.settlement_id
    where t.channel = :channel and t.key = any(cast(:keys as text[]))
    order by t.key
    """
)
_FOUND = text(
    """
    select t.key from money_transaction t join "order" o on o.id = t.order_id
    where t.channel = :channel and t.order_missing and o.whole
    order by t.key limit :limit
    """
)
# By our order where there is one: what a settlement has in its column for orders may be something else. What the channel ships
# for a shop has no order of the channel's.
_SETTLED = """
        select m.settlement_id, coalesce(
                case when m.matched_by is distinct from 'MCF' then m.order_id end, m.order_external_id, ''
            ) of_order, max(m.order_external_id) named, sum(m.amount) amount
        from money_line m where m.settlement_id = any({which}) and m.replaced_at is null group by 1, 2
"""
_TOLD = """
        select t.settlement_id, coalesce(o.id, t.order_external_id, '') of_order, max(t.order_external_id) named,
            sum(t.amount) amount, count(*) transactions, count(*) filter (
                where t.status is distinct from 'DEFERRED' and t.status is distinct from 'DEFERRED_RELEASED'
                    and t.settlement_external_id is distinct from s.external_id
                    and not exists (
                        select from money_group g where g.channel = t.channel and g.group_id = t.group_id
                            and g.settlement_external_id = s.external_id
                    )
            ) by_period
        from money_transaction t join settlement s on s.id = t.settlement_id left join "order" o on o.id = t.order_id
        where t.settlement_id = any({which}) and t.counts group by 1, 2
"""
_COMPARE = text(
    f"""
    with settled as ({_SETTLED.format(which="array[cast(:settlement as text)]")}),
    told as ({_TOLD.format(which="array[cast(:settlement as text)]")})
    select coalesce(o.external_id, told.named, settled.named) order_external_id, s.currency,
        coalesce(settled.amount, 0) settled, coalesce(told.amount, 0) told,
        settled.of_order is not null settled_of, told.of_order is not null told_of
    from settled full join told using (of_order) left join "order" o on o.id = of_order
    join settlement s on s.id = :settlement
    where settled.amount is distinct from told.amount
    order by abs(coalesce(settled.amount, 0) - coalesce(told.amount, 0)) desc, of_order limit :limit
    """  # noqa: S608 - words of ours
)
# Transactions leave out much of what is of no order: that the settlement has other such lines says nothing.
_REPLACED = text(
    f"""
    with told as materialized ({_TOLD.format(which="cast(:settlements as text[])")}),
    settled as ({_SETTLED.format(which="array(select settlement_id from told)")}),
    beside as (
        select told.*, settled.amount is distinct from told.amount and (of_order <> '' or settled.amount is null) differs,
            coalesce(settled.amount, 0) settled
        from told left join settled using (settlement_id, of_order)
    )
    select s.id settlement_id, s.currency, sum(transactions)::bigint transactions, sum(by_period)::bigint by_period,
        sum(amount) told, count(*) filter (where differs) differing,
        coalesce(sum(settled - amount) filter (where differs), 0) difference
    from beside join settlement s on s.id = settlement_id group by s.id
    """  # noqa: S608 - words of ours
)

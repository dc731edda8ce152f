"""The rules of `domain.money_match` in SQL: for a million rows of a file at once, and for the few that are looked at again.

What lines name (ids of orders, shipments, adjustments, items, and SKUs) is put together once for each combination in a table of
this connection, `money_tie`; each rule looks there for what the rules before have left. `MATCHED_BY` and `CAUSE` then say of each
line what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Channel
from domain.ids import ChannelId
from domain.money_match import OF_NO_ORDER, Rule

COLUMNS = """
    channel, marketplace, source, stage, event, class, part, kind, amount_kind, description, amount, currency, units,
    posted_at, day, settlement_id, row, order_external_id, shipment_id, adjustment_id, item_id, channel_sku,
    order_id, order_line_id, sku, matched_by, cause, extra
"""
"""Of `money_line`, where lines of settlements are added."""

MERCHANT_ORDER_ID = "merchant-order-id"
"""Where `money_line.extra` has the merchant's own id of an order, should it be another one than the order's."""

_OF_NO_ORDER = ", ".join(sorted(f"'{one.value}'" for one in OF_NO_ORDER))
# `t` is the row of `money_tie`, `s` the line: what stands beside these names is of a removal, a shipment to a warehouse…
_OF_ACCOUNT = f"""
    s.event = 'ACCOUNT' and (
        s.class in ({_OF_NO_ORDER}) or coalesce(t.order_external_id, t.merchant_order_id, t.shipment_id) is null
    )
"""
MATCHED_BY = f"""
    case when t.matched_by is not null then t.matched_by
    when not ({_OF_ACCOUNT}) then null
    when t.channel_sku is not null then case when t.sku is not null then '{Rule.SKU.value}' end
    when t.adjustment_id is null or s.class in ({_OF_NO_ORDER}) then '{Rule.ACCOUNT.value}' end
"""
CAUSE = f"""
    case when t.order_id is null and t.matched_by is null and not ({_OF_ACCOUNT}) then 'ORDER_UNKNOWN'
    when t.order_id is null and t.channel_sku is null and t.matched_by is null and t.adjustment_id is not null
        and s.class not in ({_OF_NO_ORDER}) then 'ORDER_UNKNOWN'
    when t.order_id is not null and t.order_line_id is null and coalesce(t.item_id, t.channel_sku) is not null
        then 'LINE_UNKNOWN'
    when t.sku is null and (t.channel_sku is not null or t.order_line_id is not null) then 'SKU_UNMAPPED'
    when s.class = 'UNCLASSIFIED' then 'UNCLASSIFIED' end
"""
DAY = "case when s.event = 'SALE' and t.sale_day is not null then t.sale_day else (s.posted_at at time zone t.zone)::date end"
"""As `domain.money_line.day_of`."""


async def tie(
    tx: AsyncConnection, channel: Channel, marketplace: str | None, source: str, values: Mapping[str, Any]
) -> None:
    """Let `money_tie` hold, until `tx` ends, what the lines of `source` are tied to: a query with the columns that a line names
    (ids of orders, adjustments, shipments and items, a SKU, a marketplace), and `key`, which is the same for lines that name the
    same. Lines that name no marketplace and are of no order have their day in `marketplace`."""
    await tx.execute(_TABLE)
    await tx.execute(WRITTEN)
    await tx.execute(text("truncate money_tie"))
    clock = {"marketplace": marketplace, **clocks(channel)}
    asked = {"channel": channel.id, **clock, **values}
    await tx.execute(text(_ORDERS.format(source=source)), asked)
    await tx.execute(text("analyze money_tie"))
    for rule in _RULES.values():
        await tx.execute(rule, _asked(rule, channel.id))
    await tx.execute(_LINES)
    await tx.execute(_DAYS, clock)


def clocks(channel: Channel) -> dict[str, str]:
    """By which clocks its days begin, as statements take them: `zones` by marketplace as JSON, and `zone` for all else."""
    zones = {code: channel.zone(code).key for code in channel.zones}
    return {"zones": orjson.dumps(zones).decode(), "zone": channel.time_zone}


def _asked(rule: TextClause, channel: ChannelId) -> dict[str, Any]:
    return {"channel": channel} if ":channel" in rule.text else {}


_TABLE = text(
    """
    create temporary table if not exists money_tie (
        key bigint not null,
        order_external_id text, merchant_order_id text, adjustment_id text, shipment_id text, item_id text, channel_sku text,
        order_id text, order_line_id text, sku text, marketplace text, placed_at timestamptz, matched_by text,
        zone text, sale_day date
    ) on commit delete rows
    """
)
WRITTEN = text(
    "create temporary table if not exists settlement_order (order_id text, shipment_id text) on commit delete rows"
)
"""Orders of the lines of a settlement that were written before its others are tied, with their shipments, some several times."""

# A sketch of an order has no lines to tie to: its own ones replace them.
ITS_LINE = """
    left join order_line item on item.order_id = o.id and item.external_id = {named}.item_id and o.whole
    left join lateral (
        select min(id) id, min(sku) sku from order_line
        where item.id is null and o.whole and order_id = o.id and channel_sku = {named}.channel_sku
        having count(*) = 1
    ) line on true
"""
"""Which line of the order `o` is meant, and LINE_ID and LINE_SKU of it: by its own id, else by a SKU that no other has."""
LINE_ID = "coalesce(item.id, line.id)"
LINE_SKU = "coalesce(item.sku, line.sku)"
MATCHED_FIRST = f"""
    case when item.id is not null then '{Rule.ORDER_ITEM.value}' when line.id is not null then '{Rule.ORDER_SKU.value}'
        when o.id is not null then '{Rule.ORDER.value}' end
"""
"""By which of the first rules a line is tied that names its order."""

# Of a SKU with several meanings at several marketplaces the one of this marketplace holds.
_ORDERS = f"""
    insert into money_tie (
        key, order_external_id, merchant_order_id, adjustment_id, shipment_id, item_id, channel_sku,
        order_id, order_line_id, sku, marketplace, placed_at, matched_by
    )
    select named.key, named.order_external_id, named.merchant_order_id, named.adjustment_id, named.shipment_id, named.item_id,
        named.channel_sku, o.id, {LINE_ID}, coalesce({LINE_SKU}, here.sku, anywhere.sku),
        coalesce(o.marketplace, named.marketplace), o.placed_at, {MATCHED_FIRST}
    from (
        select distinct key, order_external_id, merchant_order_id, adjustment_id, shipment_id, item_id, channel_sku, marketplace
        from ({{source}}) lines
    ) named
    left join "order" o on o.channel = :channel and o.external_id = named.order_external_id
    {ITS_LINE.format(named="named")}
    left join (
        select channel_sku, marketplace, min(sku) sku from listing
        where channel = :channel and sku is not null group by channel_sku, marketplace
    ) here on here.channel_sku = named.channel_sku and here.marketplace = coalesce(named.marketplace, :marketplace, '')
    left join (
        select channel_sku, min(sku) sku from listing
        where channel = :channel and sku is not null group by channel_sku having count(distinct sku) = 1
    ) anywhere on anywhere.channel_sku = named.channel_sku
"""  # noqa: S608 - words of ours

_MERCHANT = text(
    """
    update money_tie t
    set order_id = o.id, marketplace = coalesce(o.marketplace, t.marketplace), placed_at = o.placed_at,
        matched_by = 'MERCHANT_ORDER_ID'
    from "order" o
    where t.order_id is null and t.merchant_order_id is not null
        and o.channel = :channel and o.external_id = t.merchant_order_id
    """
)

# What looks like an id of Amazon's orders (3-7-7) is none of a shipment. Each is looked up once, however many lines name it.
_SHIPMENT = text(
    """
    with wanted as (
        select t.key, named.shipment
        from money_tie t cross join lateral (values (t.shipment_id), (t.order_external_id)) named (shipment)
        where t.order_id is null and named.shipment !~ '^[0-9A-Z]{3}-[0-9]{7}-[0-9]{7}$'
    )
    , asked as (select distinct shipment from wanted)
    , found as (
        select asked.shipment, other.order_id from asked join money_tie other on other.shipment_id = asked.shipment
        where other.order_id is not null
        union
        select asked.shipment, written.order_id from asked
        join settlement_order written on written.shipment_id = asked.shipment
        union
        select asked.shipment, line.order_id from asked
        join money_line line on line.channel = :channel and line.shipment_id = asked.shipment and line.class = 'SALE'
        where line.order_id is not null and line.replaced_at is null
        union
        select asked.shipment, o.id from asked
        join "order" o on o.shipments @> jsonb_build_array(jsonb_build_object('reference', asked.shipment))
        where o.channel = :channel
        union
        select asked.shipment, label.order_id from asked
        join label on label.shop = :channel and label.shipment_id = asked.shipment
    )
    , single as (select shipment, min(order_id) first, max(order_id) last from found group by shipment)
    , one as (
        select key, min(first) order_id from wanted join single using (shipment) group by key having min(first) = max(last)
    )
    update money_tie t
    set order_id = o.id, marketplace = coalesce(o.marketplace, t.marketplace), placed_at = o.placed_at,
        matched_by = 'SHIPMENT_ID'
    from one join "order" o on o.id = one.order_id
    where t.key = one.key
    """
)

# The order is a shop's, the place where it is paid for Amazon's.
_MCF = text(
    """
    with found as (
        select t.key, o.id order_id, o.placed_at, line.id line_id, line.sku
        from money_tie t
        join outbound_order shipped
            on shipped.channel = :channel and shipped.id in (t.order_external_id, t.merchant_order_id)
        join "order" o on o.id = shipped.order_id
        left join lateral (
            select min(mine.id) id, min(mine.sku) sku
            from outbound_line sent join order_line mine on mine.id = sent.line_id
            where sent.outbound_id = shipped.id and sent.channel_sku = t.channel_sku
            having count(*) = 1
        ) line on true
        where t.order_id is null
    )
    update money_tie t set order_id = found.order_id, placed_at = found.placed_at, order_line_id = found.line_id,
        sku = coalesce(found.sku, t.sku), matched_by = 'MCF'
    from found where t.key = found.key
    """
)

# What names no SKU has none of its own, so no line finds itself. Each id is looked up once, however many lines name it.
_ADJUSTMENT = text(
    """
    with wanted as (
        select distinct adjustment_id, channel_sku is null bare
        from money_tie where order_id is null and adjustment_id is not null
    )
    , found as (
        select wanted.*, other.order_id, other.sku
        from wanted join (select distinct adjustment_id, order_id, sku from money_tie) other using (adjustment_id)
        where other.order_id is not null or wanted.bare and other.sku is not null
        union
        select wanted.*, line.order_id, line.sku from wanted
        join money_line line on line.channel = :channel and line.adjustment_id = wanted.adjustment_id
        where line.replaced_at is null and (line.cause is null or line.cause = 'UNCLASSIFIED')
            and (line.order_id is not null or wanted.bare and line.sku is not null)
    )
    , one as (
        select adjustment_id, bare, min(order_id) order_id, case when count(distinct sku) = 1 then min(sku) end sku
        from found group by adjustment_id, bare
        having count(distinct order_id) = 1 or count(order_id) = 0 and count(distinct sku) = 1
    )
    update money_tie t
    set order_id = o.id, marketplace = coalesce(o.marketplace, t.marketplace), placed_at = o.placed_at,
        sku = coalesce(t.sku, one.sku), matched_by = 'ADJUSTMENT'
    from one left join "order" o on o.id = one.order_id
    where t.order_id is null and t.adjustment_id = one.adjustment_id and (t.channel_sku is null) = one.bare
    """
)

_RULES: Mapping[Rule, TextClause] = {
    Rule.MERCHANT_ORDER_ID: _MERCHANT,
    Rule.SHIPMENT_ID: _SHIPMENT,
    Rule.MCF: _MCF,
    Rule.ADJUSTMENT: _ADJUSTMENT,
}

# Which line is meant of orders that were found by other ids than their own.
_LINES = text(
    """
    with found as (
        select t.key, coalesce(item.id, line.id) line_id, coalesce(item.sku, line.sku) sku
        from money_tie t
        join "order" o on o.id = t.order_id and o.whole
        left join order_line item on item.order_id = o.id and item.external_id = t.item_id
        left join lateral (
            select min(id) id, min(sku) sku from order_line
            where item.id is null and order_id = o.id and channel_sku = t.channel_sku having count(*) = 1
        ) line on true
        where t.matched_by in ('MERCHANT_ORDER_ID', 'SHIPMENT_ID', 'ADJUSTMENT')
    )
    update money_tie t set order_line_id = found.line_id, sku = coalesce(found.sku, t.sku)
    from found where t.key = found.key and found.line_id is not null
    """
)

_DAYS = text(
    """
    update money_tie t
    set marketplace = place.code, zone = place.zone, sale_day = (t.placed_at at time zone place.zone)::date
    from (
        select key, coalesce(marketplace, :marketplace) code,
            coalesce(cast(:zones as jsonb) ->> coalesce(marketplace, :marketplace), :zone) zone
        from money_tie
    ) place
    where place.key = t.key
    """
)

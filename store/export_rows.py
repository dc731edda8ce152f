"""The rows of lists that are made into files, read one after the other however many there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Invalid
from domain.export import Cell, ExportList, ExportWanted
from domain.ids import node_id
from domain.profit import Ask, Dimension, Figures, Row
from store import profit
from store.session import ONE_SNAPSHOT, take_time

AT_ONCE = 1_000
"""So many rows are in memory."""
_LONGEST_S = 1_800
_DAYS_AT_ONCE = 31
TOO_MANY = ("groupBy",)
"""What `store.profit.rows` calls the field where there would be too many rows."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The names of the columns, and the rows in their order, some at a time."""

    columns: Sequence[str]
    batches: AsyncIterator[Sequence[Sequence[Cell]]]


async def read(tx: AsyncConnection, wanted: ExportWanted, places: Sequence[profit.Place] = ()) -> Rows:
    """The rows of a list as it stands at this moment, whatever changes while they are read. They can be read until `tx` ends, and
    once. Raises Invalid where profit cannot be told. Comes first in `tx`."""
    await tx.execute(ONE_SNAPSHOT)
    await take_time(tx, _LONGEST_S)
    if wanted.list is ExportList.PROFIT:
        return Rows([*(one.value.lower() for one in wanted.by), *_FIGURES], _profit(tx, wanted, places))
    found = await tx.stream(text(_LISTS[wanted.list]), _values(wanted), execution_options={"yield_per": AT_ONCE})

    async def batches() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        async for rows in found.partitions(AT_ONCE):
            yield rows

    return Rows(list(found.keys()), batches())


_FIGURES: Mapping[str, Callable[[Figures], Cell]] = {
    "currency": lambda one: one.currency,
    "units": lambda one: one.units,
    "revenue": lambda one: one.revenue,
    "fees": lambda one: one.fees,
    "refunds": lambda one: one.refunds,
    "cost": lambda one: one.cost,
    "profit": lambda one: one.profit,
    "margin": lambda one: one.margin,
    "unclassified": lambda one: one.unclassified,
    "reimbursements": lambda one: one.reimbursements,
    "taxes": lambda one: one.taxes,
    "unitsWithoutCost": lambda one: one.units_without_cost,
    "unitsWithCatalogCost": lambda one: one.units_with_catalog_cost,
    "unitsWithoutFees": lambda one: one.units_without_fees,
}
"""The columns of profit behind what it is told by."""


async def _profit(
    tx: AsyncConnection, wanted: ExportWanted, places: Sequence[profit.Place]
) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    """Profit; where it is told by days some of them at a time, so that there may be more rows than of one question."""
    parts = await _spans(tx, wanted) if Dimension.DAY in wanted.by else [(wanted.first, wanted.until)]
    while parts:
        first, until = parts.pop()
        ask = Ask(first, until, channel=wanted.channel, currency=wanted.currency, known_at=wanted.known_at)
        try:
            rows = await profit.rows(tx, ask, wanted.by, places)
        except Invalid as problem:
            if first is None or until is None or (until - first).days < 2 or problem.field != TOO_MANY:
                raise
            middle = first + (until - first) // 2
            parts += [(middle, until), (first, middle)]
            continue
        yield [
            [*(_dimension(row, one) for one in wanted.by), *(told(row.figures) for told in _FIGURES.values())]
            for row in rows
        ]


def _dimension(row: Row, one: Dimension) -> str:
    """What a row is told of; orders by their global ids, as in all other lists."""
    value = row.dimensions[one]
    return node_id("Order", value) if one is Dimension.ORDER and value else value


async def _spans(tx: AsyncConnection, wanted: ExportWanted) -> list[tuple[date | None, date | None]]:
    """All days of which anything is known, some at a time, the last of them first."""
    # Units come back into stock on other days than money moves, and never on later ones than this.
    row = (
        await tx.execute(
            text(
                "select least(min(day), (select min(at)::date - 1 from restock)) first, "
                "greatest(max(day), current_date + 1) last from money_line"
            )
        )
    ).one()
    if row.first is None:
        return []
    first = row.first if wanted.first is None else max(row.first, wanted.first)
    until = row.last + timedelta(days=1) if wanted.until is None else min(row.last + timedelta(days=1), wanted.until)
    begins = range(0, (until - first).days, _DAYS_AT_ONCE)
    return [
        (first + timedelta(days=ahead), min(until, first + timedelta(days=ahead + _DAYS_AT_ONCE)))
        for ahead in reversed(begins)
    ]


def _values(wanted: ExportWanted) -> dict[str, Any]:
    return {
        "channel": wanted.channel,
        "start": wanted.start,
        "end": wanted.end,
        "first": wanted.first,
        "until": wanted.until,
        "known_at": wanted.known_at,
        "settlement": wanted.settlement,
    }


_STANDING = """(cast(:known_at as timestamptz) is null and line.replaced_at is null
    or line.known_at <= :known_at and (line.replaced_at is null or line.replaced_at > :known_at))"""
_OF_CHANNEL = "(cast(:channel as text) is null or {}.channel = :channel)"
_BETWEEN = (
    "(cast(:start as timestamptz) is null or {0} >= :start) and (cast(:end as timestamptz) is null or {0} < :end)"
)
_DAYS = "(cast(:first as date) is null or line.day >= :first) and (cast(:until as date) is null or line.day < :until)"
_LINE = """
    'MoneyLine:' || line.id "id", line.channel "channel", line.marketplace "marketplace", line.source "source",
    line.stage "stage", line.event "event", line.class "class", line.part "part", line.amount "amount",
    line.currency "currency", line.units "units", line.day "day", line.posted_at "postedAt", line.kind "kind",
    line.amount_kind "amountKind", line.description "description", 'Settlement:' || line.settlement_id "settlementId",
    line.row "row", 'Order:' || line.order_id "orderId", line.order_external_id "orderExternalId",
    'OrderLine:' || line.order_line_id "orderLineId", line.channel_sku "channelSku", line.sku "sku",
    line.shipment_id "shipmentId", line.adjustment_id "adjustmentId", line.item_id "itemId", line.reference "reference",
    line.matched_by "matchedBy", line.cause "cause", line.known_at "knownAt", line.replaced_at "replacedAt",
    line.replaced_why "replacedWhy"
"""
_OF_SETTLEMENT = "(cast(:settlement as text) is null or line.settlement_id = :settlement)"
_CHANNEL = _OF_CHANNEL.format("line")
_LISTS: Mapping[ExportList, str] = {
    ExportList.MONEY_LINES: f"""
        select {_LINE} from money_line line
        where {_STANDING} and {_CHANNEL} and {_DAYS} and {_OF_SETTLEMENT} order by line.id
    """,  # noqa: S608 - words of ours
    ExportList.SETTLEMENT_LINES: f"""
        select {_LINE} from money_line line
        where line.settlement_id is not null and {_STANDING} and {_CHANNEL} and {_DAYS} and {_OF_SETTLEMENT}
        order by line.settlement_id, line.row, line.id
    """,  # noqa: S608 - words of ours
    ExportList.RESIDUALS: f"""
        select settlement.kept_at "openSince", settlement.external_id "settlementExternalId", {_LINE}
        from money_line line join settlement on settlement.id = line.settlement_id
        where line.settlement_id is not null and line.cause is not null and {_STANDING} and {_CHANNEL} and {_DAYS}
            and {_OF_SETTLEMENT}
        order by settlement.kept_at, line.id
    """,  # noqa: S608 - words of ours
    ExportList.SETTLEMENTS: f"""
        select 'Settlement:' || one.id "id", one.channel "channel", one.marketplace "marketplace", one.kind "kind",
            one.external_id "externalId", one.starts_at "startsAt", one.ends_at "endsAt",
            one.deposited_at "depositedAt", one.total "total", one.currency "currency", one.reference "reference",
            one.line_count "lineCount", one.line_count - coalesce(residual.rows, 0) "matchedLineCount",
            coalesce(residual.amount, 0) "difference", one.kept_at "keptAt"
        from settlement one left join lateral (
            select count(distinct coalesce(line.row, -line.id)) rows, sum(line.amount) amount from money_line line
            where line.settlement_id = one.id and line.settlement_id is not null and line.cause is not null
                and line.replaced_at is null
        ) residual on true
        where {_OF_CHANNEL.format("one")} and {_BETWEEN.format("one.ends_at")}
            and (cast(:settlement as text) is null or one.id = :settlement)
        order by one.ends_at, one.id
    """,  # noqa: S608 - words of ours
    ExportList.TRANSACTIONS: f"""
        select one.channel "channel", one.marketplace "marketplace", one.id "id", one.status "status",
            one.kind "kind", one.posted_at "postedAt", one.amount "amount", one.currency "currency",
            one.order_external_id "orderExternalId", 'Order:' || one.order_id "orderId",
            one.shipment_id "shipmentId", one.settlement_external_id "settlementExternalId", one.group_id "groupId",
            'Settlement:' || one.settlement_id "settlementId", one.counts "counts", one.told_at "toldAt"
        from money_transaction one
        where {_OF_CHANNEL.format("one")} and {_BETWEEN.format("one.posted_at")}
            and (cast(:settlement as text) is null or one.settlement_id = :settlement)
        order by one.channel, one.posted_at, one.key
    """,  # noqa: S608 - words of ours
    ExportList.ORDERS: f"""
        select 'Order:' || one.id "id", one.channel "channel", one.marketplace "marketplace",
            one.external_id "externalId", one.status "status", one.channel_status "channelStatus",
            one.fulfilled_by "fulfilledBy", one.placed_at "placedAt", one.updated_at "updatedAt",
            one.ship_by "shipBy", one.delivered_at "deliveredAt", one.total_amount "total",
            one.total_currency "currency", line.external_id "lineExternalId", line.channel_sku "channelSku",
            line.sku "sku", line.title "title", line.quantity "quantity", line.quantity_shipped "quantityShipped",
            line.quantity_cancelled "quantityCancelled", line.unit_amount "unitPrice",
            line.unit_currency "unitCurrency", line.total_amount "lineTotal", line.total_currency "lineCurrency"
        from "order" one left join order_line line on line.order_id = one.id
        where {_OF_CHANNEL.format("one")} and {_BETWEEN.format("one.placed_at")}
        order by one.placed_at, one.id, line.position
    """,  # noqa: S608 - words of ours
    ExportList.RETURNS: f"""
        select one.channel "channel", 'Order:' || own.id "orderId", one.order_external_id "orderExternalId",
            one.channel_sku "channelSku", one.kind "kind", one.reference "reference", one.units "units", one.at "at",
            one.amount "amount", one.currency "currency", one.by_channel "byChannel", one.condition "condition",
            one.chain_id "chainId"
        from return_piece one
        left join "order" own on own.channel = one.channel and own.external_id = one.order_external_id
        where {_OF_CHANNEL.format("one")} and {_BETWEEN.format("one.at")}
        order by one.at, one.channel, one.kind, one.reference
    """,  # noqa: S608 - words of ours
    ExportList.BANK_LINES: """
        select one.id "id", one.account "account", one.booked_on "bookedOn", one.valued_on "valuedOn",
            one.amount "amount", one.currency "currency", one.words "words", one.party "party",
            'Settlement:' || matched.settlement_id "settlementId", matched.rule "rule", one.kept_at "keptAt"
        from bank_line one
        left join bank_match matched on matched.bank_line_id = one.id and matched.replaced_at is null
        where (cast(:first as date) is null or one.booked_on >= :first)
            and (cast(:until as date) is null or one.booked_on < :until)
            and (cast(:settlement as text) is null or matched.settlement_id = :settlement)
        order by one.booked_on, one.id
    """,
    ExportList.UNIT_COSTS: f"""
        select one.sku "sku", one.valid_from "validFrom", one.revision "revision", one.amount "amount",
            one.extra "extra", one.currency "currency", one.withdrawn "withdrawn", one.reason "reason",
            one.made_by "madeBy", one.made_at "madeAt"
        from unit_cost one
        where {_BETWEEN.format("one.made_at")} and (cast(:known_at as timestamptz) is null or one.made_at <= :known_at)
        order by one.sku, one.valid_from, one.revision
    """,  # noqa: S608 - words of ours
    ExportList.PRICE_HISTORY: f"""
        select one.at "at", listing.channel "channel", nullif(listing.marketplace, '') "marketplace",
            listing.channel_sku "channelSku", listing.sku "sku", one.what "what",
            cast(one.price ->> 'price' as numeric) "amount", one.price ->> 'currency' "currency",
            cast(one.price -> 'sale' ->> 'price' as numeric) "saleAmount", one.origin "origin",
            one.reason "reason", one.requested_by "requestedBy", one.approved_by "approvedBy",
            'Operation:' || one.operation "operationId"
        from price_event one join listing on listing.id = one.listing
        where {_OF_CHANNEL.format("listing")} and {_BETWEEN.format("one.at")} order by one.at, one.id
    """,  # noqa: S608 - words of ours
}

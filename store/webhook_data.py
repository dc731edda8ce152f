"""What is told of an object by outgoing webhooks: its numbers of the moment, by the names of the GraphQL schema, and no buyer.

`docs/events/` has a JSON Schema of each. Of what is not there any more only its id is told.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import policy
from domain.channel import Location
from domain.event import EventKind
from domain.ids import OperationId, OrderId, Sku, node_id
from domain.money import Money
from domain.operation import Operation
from domain.order import Order, OrderLine, Shipment
from domain.policy import Facts
from domain.residual import Tie
from domain.settlement import Settlement
from domain.webhook import Topic, instant
from store import channel, facts, operation, order, settlement, settlement_view
from store.session import among
from store.tables import webhook

# How old a reading of others may be is told nowhere here, and changes no number.
MAX_AGE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Sight:
    """What numbers of stock rest on beside the rows."""

    locations: Sequence[Location] = ()
    safety_stock: int = 0


async def read(
    tx: AsyncConnection, topic: Topic, subjects: Collection[str], sight: Sight, now: datetime
) -> dict[str, dict[str, Any]]:
    """What is to be told of each of `subjects`, as JSON values."""
    match topic.kind:
        case EventKind.STOCK_CHANGED:
            return await _stock(tx, subjects, sight, now)
        case EventKind.ORDER_CHANGED:
            orders = await order.by_ids(tx, [OrderId(one) for one in subjects])
            found = {str(id): _order(one) for id, one in orders.items()}
        case EventKind.OPERATION_CHANGED:
            operations = await operation.by_ids(tx, [OperationId(one) for one in subjects])
            found = {str(id): _operation(one) for id, one in operations.items()}
        case EventKind.SETTLEMENT_KEPT:
            found = await _settlements(tx, subjects)
        case EventKind.WEBHOOK_PAUSED:
            found = await _webhooks(tx, subjects)
        case _:
            found = await _channels(tx, subjects)
    return {one: found.get(one) or {"id": node_id(topic.noun, one)} for one in subjects}


def thin(topic: Topic, subject: str) -> dict[str, Any]:
    """What is told where all of it would be too long: what it is about, and that the rest is to be asked for."""
    key = {"sku": subject} if topic.kind is EventKind.STOCK_CHANGED else {"id": node_id(topic.noun, subject)}
    return key | {"thin": True}


async def _stock(
    tx: AsyncConnection, subjects: Collection[str], sight: Sight, now: datetime
) -> dict[str, dict[str, Any]]:
    known = await facts.facts(
        tx,
        [Sku(one) for one in subjects],
        locations=sight.locations,
        now=now,
        default_safety_stock=sight.safety_stock,
        max_age=MAX_AGE,
    )
    return {one: _numbers(known[Sku(one)], now) if one in known else {"sku": one} for one in subjects}


def _numbers(known: Facts, now: datetime) -> dict[str, Any]:
    on_hand, free = policy.counts(known, now)
    return {
        "sku": known.sku,
        "availableToSell": policy.available(known, now).quantity,
        "onHand": on_hand,
        "reserved": on_hand - free,
        "inbound": sum(place.inbound for place in known.places),
        "asOf": instant(now),
    }


def _order(one: Order) -> dict[str, Any]:
    return {
        "id": node_id("Order", one.id),
        "channel": {"id": node_id("Channel", one.channel)},
        "marketplace": one.marketplace,
        "externalId": one.external_id,
        "status": one.standing.value,
        "fulfilledBy": one.fulfilled_by.value,
        "placedAt": instant(one.placed_at),
        "updatedAt": instant(one.updated_at),
        "shipBy": _instant(one.ship_by),
        "total": _money(one.total),
        "lines": [_line(line) for line in one.lines],
        "shipments": [_shipment(parcel) for parcel in one.shipments],
    }


def _line(one: OrderLine) -> dict[str, Any]:
    return {
        "id": node_id("OrderLine", one.id),
        "sku": one.sku,
        "channelSku": one.channel_sku,
        "quantity": one.quantity,
        "quantityShipped": one.quantity_shipped,
        "unitPrice": _money(one.unit_price),
        "total": _money(one.total),
    }


def _shipment(one: Shipment) -> dict[str, Any]:
    return {
        "carrier": one.carrier,
        "trackingNumber": one.tracking_number,
        "shippedAt": instant(one.shipped_at),
        "channelConfirmedAt": _instant(one.channel_confirmed_at),
    }


def _operation(one: Operation) -> dict[str, Any]:
    return {
        "id": node_id("Operation", one.id),
        "kind": one.kind.value,
        "status": one.status.value,
        "requestedBy": one.requested_by,
        "dryRun": one.dry_run,
        "createdAt": instant(one.created_at),
        "finishedAt": _instant(one.finished_at),
        "progress": {
            "total": one.progress.total,
            "accepted": one.progress.accepted,
            "verified": one.progress.verified,
            "failed": one.progress.failed,
        },
    }


async def _settlements(tx: AsyncConnection, subjects: Collection[str]) -> dict[str, dict[str, Any]]:
    kept, ties = await settlement_view.by_ids(tx, subjects), await settlement.differences(tx, subjects)
    return {id: _settlement(one, ties[id]) for id, one in kept.items()}


def _settlement(one: Settlement, tie: Tie) -> dict[str, Any]:
    return {
        "id": node_id("Settlement", one.id),
        "channel": {"id": node_id("Channel", one.channel)},
        "kind": one.kind.value,
        "marketplace": one.marketplace,
        "externalId": one.external_id,
        "startsAt": instant(one.starts_at),
        "endsAt": instant(one.ends_at),
        "depositedAt": _instant(one.deposited_at),
        "total": _money(one.total),
        "lineCount": one.line_count,
        "matchedLineCount": tie.matched_rows,
        "difference": _money(tie.difference),
    }


async def _channels(tx: AsyncConnection, subjects: Collection[str]) -> dict[str, dict[str, Any]]:
    paused = {str(id): one for id, one in (await channel.states(tx)).items()}
    return {
        one: {
            "id": node_id("Channel", one),
            "paused": one in paused,
            "reason": paused[one].reason if one in paused else None,
            "pausedUntil": instant(paused[one].paused_until) if one in paused else None,
        }
        for one in subjects
    }


async def _webhooks(tx: AsyncConnection, subjects: Collection[str]) -> dict[str, dict[str, Any]]:
    c = webhook.c
    rows = await tx.execute(select(c.id, c.state, c.reason, c.made_by).where(among(c.id, subjects)))
    return {
        row.id: {
            "id": node_id("Webhook", row.id),
            "state": row.state,
            "reason": row.reason,
            "madeBy": row.made_by,
        }
        for row in rows
    }


def _money(one: Money | None) -> dict[str, str | None]:
    """Always both names: a field that comes and goes is none to map."""
    return {"amount": None if one is None else f"{one.amount:f}", "currency": None if one is None else one.currency}


def _instant(one: datetime | None) -> str | None:
    return None if one is None else instant(one)

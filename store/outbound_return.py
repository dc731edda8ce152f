"""Units that come back to a pool of what it shipped for another channel: kept as its platform shows them, and told to the chains
of the channel that sold them.

Nothing is posted to the ledger: the platform counts what it puts back. Whoever calls this holds the order's lock.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import func, or_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.chain import AT_POOL, Piece, PieceKind
from domain.ids import OperationId, OrderId
from domain.operation import Capability, NewItem
from domain.order import Order
from domain.outbound import Followed, FollowedReturn
from domain.outbound_return import ReturnCondition, ReturnedUnit, ReturnUnit, ReturnWanted
from domain.shipment import resource
from domain.timeline import Step, StepKind
from store import agenda, chain, outbound, timeline
from store.session import storable
from store.tables import outbound_return

RETURN = "return"
"""What an item of the capability OUTBOUND asks for, as `do` of its payload."""

r = outbound_return.c
_OWED = frozenset({ReturnCondition.CARRIER_DAMAGED, ReturnCondition.FULFILLER_DAMAGED})


async def keep(
    tx: AsyncConnection,
    found: Order,
    one: Followed,
    units: Sequence[ReturnedUnit],
    operation: OperationId | None = None,
    upstream_request_id: str | None = None,
) -> Followed:
    """Keep what the platform shows of units of `one` that come back, with what follows for the chains and the timeline of its
    order `found`. Returns the outbound order as it then is."""
    if not units:
        return one
    fresh = insert(outbound_return)
    newest = {name: fresh.excluded[name] for name in ("processed", "condition", "changed_at")}
    # What was told once is not forgotten because another answer leaves it out.
    told = {name: func.coalesce(fresh.excluded[name], r[name]) for name in ("rma", "center")}
    first = {"operation_id": func.coalesce(r.operation_id, fresh.excluded.operation_id)}
    await tx.execute(
        fresh.on_conflict_do_update(
            index_elements=["outbound_id", "id"],
            set_=newest | told | first,
            where=or_(*(r[name].is_distinct_from(value) for name, value in (newest | told | first).items())),
        ),
        [_row(one, unit, operation) for unit in units],
    )
    after = (await outbound.by_ids(tx, [one.wanted.id]))[one.wanted.id]
    if after.returns == one.returns:
        return after
    await chain.keep(tx, [piece for each in after.returns for piece in _pieces(found, after, each)])
    known = {each.unit.id for each in one.returns}
    if new := [each for each in after.returns if each.unit.id not in known]:
        await timeline.note(tx, [_step(after, new, upstream_request_id)])
    await outbound.tell(tx, found.id)
    return after


def returning(found: Order, one: Followed, wanted: ReturnWanted) -> NewItem:
    """The item that announces units of an outbound order."""
    external = {str(line.line): line.external_id for line in one.wanted.lines}
    lines = Counter(external[each.line_id] for each in wanted.units)
    return NewItem(
        channel=one.wanted.channel,
        capability=Capability.OUTBOUND,
        resource=resource(found.id),
        key=f"{found.channel}/{found.external_id}",
        payload={
            "do": RETURN,
            "external_id": found.external_id,
            "order_id": found.id,
            "outbound_id": wanted.order_id,
            "reason": wanted.reason,
            "comment": wanted.comment,
            "units": [[each.id, each.line_id] for each in wanted.units],
        },
        after=json.dumps({"outbound": wanted.order_id, "reason": wanted.reason, "returned": lines}),
    )


def wanted_of(payload: Mapping[str, Any]) -> ReturnWanted:
    """What such an item asks for."""
    units = tuple(ReturnUnit(str(id), str(line)) for id, line in payload["units"])
    return ReturnWanted(str(payload["outbound_id"]), units, str(payload["reason"]), str(payload["comment"]))


async def under_way(tx: AsyncConnection, orders: Collection[OrderId]) -> list[ReturnWanted]:
    """What was asked for of these orders and may yet take effect."""
    payloads = await agenda.under_way(tx, Capability.OUTBOUND, [resource(id) for id in orders])
    return [wanted_of(payload) for payload in payloads if payload["do"] == RETURN]


def _pieces(found: Order, one: Followed, each: FollowedReturn) -> list[Piece]:
    """What the channel that sold it has to know: the unit is announced, is back, and can be sold again or not."""
    skus = {str(line.id): str(line.channel_sku) for line in found.lines}
    ours = {str(line.line): str(line.sku) for line in one.wanted.lines}
    unit = each.unit
    kinds = [(PieceKind.ANNOUNCED, each.announced_at)]
    if unit.processed:
        kinds.append((PieceKind.ARRIVED, unit.changed_at))
    if unit.condition is not None:
        there = PieceKind.RESTOCKED if unit.condition is ReturnCondition.SELLABLE else PieceKind.WRITTEN_OFF
        kinds.append((there, unit.changed_at))
    return [
        Piece(
            channel=found.channel,
            kind=kind,
            reference=f"{AT_POOL}{one.wanted.id}:{unit.id}",
            order=found.external_id,
            sku=skus.get(unit.line_id) or ours.get(unit.line_id, ""),
            units=1,
            at=at,
            owed=unit.condition in _OWED,
            condition=None if unit.condition is None else unit.condition.value,
        )
        for kind, at in kinds
    ]


def _step(one: Followed, new: Sequence[FollowedReturn], upstream_request_id: str | None) -> Step:
    units = "1 unit is" if len(new) == 1 else f"{len(new)} units are"
    rmas = ", ".join(sorted({each.unit.rma for each in new if each.unit.rma}))
    return Step(
        order=one.wanted.order,
        kind=StepKind.RETURNED,
        actor=one.wanted.channel,
        words=f"{units} to come back to {one.wanted.location}" + (f", RMA {rmas}." if rmas else "."),
        key=f"outbound {one.wanted.id} return {min(each.unit.id for each in new)}",
        operation=new[0].operation,
        upstream_request_id=upstream_request_id,
    )


def _row(one: Followed, unit: ReturnedUnit, operation: OperationId | None) -> dict[str, Any]:
    return {
        "outbound_id": one.wanted.id,
        "id": storable(unit.id),
        "line_id": storable(unit.line_id),
        "reason": storable(unit.reason),
        "rma": None if unit.rma is None else storable(unit.rma),
        "center": None if unit.center is None else storable(unit.center),
        "processed": unit.processed,
        "condition": None if unit.condition is None else unit.condition.value,
        "announced_at": unit.changed_at,
        "changed_at": unit.changed_at,
        "operation_id": operation,
    }

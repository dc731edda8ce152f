"""What parcels of an order may still take: read behind its lock."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location, LocationKind
from domain.ids import OrderId
from domain.label import HOLDING, KeptLabel
from domain.operation import Capability
from domain.order import Order
from domain.outbound_request import Ground
from domain.shipment import Promises, resource
from store import agenda, label, order, outbound


async def locked(tx: AsyncConnection, ids: Collection[OrderId]) -> tuple[dict[OrderId, Order], Promises]:
    """The orders there are of `ids`, held until `tx` ends, and what is promised of them: nobody promises the same units twice."""
    orders = await order.lock(tx, sorted(ids))
    resources = [resource(one) for one in orders]
    promises = Promises.of(await agenda.under_way(tx, Capability.SHIPMENTS, resources))
    cancels = await agenda.under_way(tx, Capability.CANCELS, resources)
    labels = await label.by_orders(tx, orders)
    promises.units.update(await outbound.units_held(tx, orders))
    for one in orders.values():
        _add_labels(promises, one, labels.get(one.id, ()))
    promises.cancels = frozenset(_orders(cancels))
    return orders, promises


async def ground(tx: AsyncConnection, ids: Collection[OrderId], places: Sequence[Location]) -> Ground:
    """What requests to have these orders shipped from pools are checked against; the orders are held until `tx` ends."""
    orders, promises = await locked(tx, ids)
    pools = [place for place in places if place.kind is LocationKind.FBA]
    skus = {line.sku for one in orders.values() for line in one.lines if line.sku is not None}
    return Ground(
        orders=orders,
        promised=promises.units,
        addressed=frozenset(await outbound.addressed(tx, orders)),
        offers=await outbound.offers(tx, skus, pools),
        cancels=promises.cancels,
        pools=pools,
    )


async def moving(tx: AsyncConnection, ids: Collection[OrderId]) -> tuple[set[OrderId], set[OrderId]]:
    """Those of `ids` that somebody is shipping (a parcel, a label or an order to another platform is under way), and those that
    are being cancelled. Read behind their locks."""
    resources = [resource(one) for one in ids]
    shipping: set[OrderId] = set()
    for capability in (Capability.SHIPMENTS, Capability.LABELS, Capability.OUTBOUND):
        shipping |= _orders(await agenda.under_way(tx, capability, resources))
    shipping |= await outbound.at_work(tx, ids)
    return shipping, _orders(await agenda.under_way(tx, Capability.CANCELS, resources))


def _add_labels(promises: Promises, one: Order, labels: Sequence[KeptLabel]) -> None:
    """Parcels that their channel takes for sent by their labels alone, before it shows them."""
    shown = {parcel.tracking_number for parcel in one.shipments}
    for each in labels:
        number = each.tracking_number
        if each.confirms_order and each.status in HOLDING and number is not None and number not in shown:
            promises.add({"order_id": one.id, "tracking_number": number, "lines": [*each.lines]})


def _orders(payloads: Sequence[Mapping[str, object]]) -> set[OrderId]:
    return {OrderId(str(payload["order_id"])) for payload in payloads}

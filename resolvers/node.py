"""Anything by its kind and key."""

from __future__ import annotations

from domain.channel import Channel
from domain.ids import ChannelId, ListingId, OperationId, OrderId, ReservationId, Sku
from domain.operation import Operation
from domain.order import Order
from domain.product import Listing, Product
from domain.residual import KeptLine
from domain.settlement import Settlement
from resolvers import channel, fulfillment, product, reservation, settlement
from resolvers.context import Context
from resolvers.operation import kinds_for

Thing = Product | Listing | Order | fulfillment.Sending | Operation | Channel | reservation.Seen | Settlement | KeptLine


async def by_id(context: Context, kind: str, key: str) -> Thing | None:
    """The thing; None when there is none."""
    loaders = context.loaders
    match kind:
        case "Product":
            return await loaders.product_by_sku.load(Sku(key))
        case "Listing":
            return await product.listing(context.shelf, ListingId(key))
        case "Order":
            return await loaders.order_by_id.load(OrderId(key))
        case "FulfillmentOrder":
            return await fulfillment.by_key(context.shelf, key)
        case "Operation":
            found = await loaders.operation_by_id.load(OperationId(key))
            return found if found is not None and found.kind in kinds_for(context.caller.scopes) else None
        case "Channel":
            return channel.known(context.shelf, ChannelId(key))
        case "Reservation":
            caller = context.caller
            by = reservation.Holder(caller.name, all_seeing="admin" in caller.scopes)
            return await reservation.by_id(context.shelf, by, ReservationId(key))
        case "Settlement":
            return await loaders.settlement_by_id.load(key)
        case "MoneyLine":
            return await settlement.line(context.shelf, key)
        case _:
            return None

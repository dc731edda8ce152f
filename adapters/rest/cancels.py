"""Canceling an order. Source: cancelOrder, which may be repeated."""

from __future__ import annotations

from adapters.port import BeforeSend, OrderKey, Receipt
from adapters.rest.client import RestClient
from adapters.rest.offers import Offers
from adapters.rest.operations import CANCEL_ORDER
from domain.budget import Ask
from domain.errors import Conflict, Invalid

REASONS = frozenset({"CUSTOMER", "FRAUD", "INVENTORY", "DECLINED", "OTHER"})
CANCELED = "order-cancelled"


async def cancel_order(
    client: RestClient,
    offers: Offers,
    key: OrderKey,
    reason: str,
    ask: Ask,
    before_send: BeforeSend,
    *,
    restock: bool,
    refund: bool,
) -> Receipt:
    """Cancel the whole order. Raises Conflict when a parcel of it is on its way."""
    if reason not in REASONS:
        raise Invalid(f"{reason!r} is no reason to cancel: {', '.join(sorted(REASONS))}.")
    await offers.need(CANCEL_ORDER, ask)
    body = {"reason": reason.lower(), "restock": restock, "refund": refund}
    try:
        reply = await client.call(CANCEL_ORDER, ask, at={"id": key.external_id}, body=body, before_send=before_send)
    except Conflict as problem:
        if problem.upstream_code != CANCELED:
            raise
        return Receipt(problem.upstream_request_id)
    return Receipt(reply.request_id)

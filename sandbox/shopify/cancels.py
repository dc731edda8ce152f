"""orderCancel: a job that takes its time, after which the order is canceled."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.shopify import errors, ids
from sandbox.shopify.call import Info, Resolvers
from sandbox.shopify.order_views import order_by_id
from sandbox.shopify.orders import Order
from sandbox.shopify.refunds import Wanted, give_back, refundable
from sandbox.shopify.state import Job, Shop

JOB = timedelta(seconds=1)
"""How long a job is at work, in sandbox time."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What is to become of an order."""

    order: Order
    reason: str
    restock: bool
    refund: bool

    def carry_out(self, shop: Shop, at: datetime) -> None:
        """Nothing is done to an order that is canceled or has begun to ship meanwhile."""
        order = self.order
        if _why_not(order):
            return
        if self.refund and refundable(order):
            restock = "CANCEL" if self.restock else "NO_RESTOCK"
            left = [Wanted(line, line.refundable_quantity, restock, None) for line in order.lines]
            shipping = order.shipping - order.refunded_shipping
            lines = [each for each in left if each.quantity]
            give_back(shop, order, lines, refundable(order), shipping=shipping, operation="orderCancel.refund")
        for work in order.works:
            for line in work.lines:
                units = line.remaining if self.restock else 0
                shop.change(line.line.product.index, work.warehouse, committed=-line.remaining, available=units)
            work.updated_at = at
        if order.financial == "AUTHORIZED":
            order.financial = "VOIDED"
        order.cancelled_at = order.closed_at = order.changed_at = at
        order.cancel_reason = self.reason
        detail = {"reason": self.reason, "restock": self.restock, "refund": self.refund}
        shop.core.journal.effect("orderCancel", order.id, detail)


def _why_not(order: Order) -> str | None:
    if order.cancelled_at:
        return "Cannot cancel an order that has already been canceled"
    if any(not parcel.cancelled for parcel in order.parcels):
        return "Cannot cancel an order that has outstanding fulfillments"
    return None


def _cancel(
    _: Any,
    info: Info,
    orderId: str,  # noqa: N803  GraphQL names the argument
    reason: str,
    restock: bool,
    refund: bool | None = None,
    refundMethod: Mapping[str, Any] | None = None,  # noqa: N803  GraphQL names the argument
    **_more: Any,
) -> Mapping[str, Any]:
    call = info.context
    order = order_by_id(call, orderId)
    if order is None:
        return _refused("Order does not exist", "NOT_FOUND")
    if why := _why_not(order):
        return _refused(why, "INVALID")
    back = bool((refundMethod or {}).get("originalPaymentMethodsRefund", refund))
    job = Job(len(call.shop.jobs), call.now + JOB, Cancellation(order, reason, restock, back))
    call.shop.jobs.append(job)
    return {"job": job, "orderCancelUserErrors": [], "userErrors": []}


def _refused(message: str, code: str) -> Mapping[str, Any]:
    problem = errors.user_error(["orderId"], message, code)
    return {"job": None, "orderCancelUserErrors": [problem], "userErrors": [problem]}


def _job(_: Any, info: Info, id: str) -> Job | None:
    place = ids.place("Job", id)
    jobs = info.context.shop.jobs
    return jobs[place] if 0 <= place < len(jobs) else None


RESOLVERS: Resolvers = {
    "QueryRoot": {"job": _job},
    "Mutation": {"orderCancel": _cancel},
    "Job": {"done": lambda job, info: job.done_at <= info.context.now},
}

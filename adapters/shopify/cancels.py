"""Canceling a whole order: orderCancel, which only begins a job.

The order itself says what became of it, so it is read before anything is sent and again when the job is done.
"""

from __future__ import annotations

from adapters.port import BeforeSend, OrderKey, Receipt
from adapters.shopify.client import Reply, ShopClient
from adapters.shopify.document import PAGE, Document
from adapters.shopify.paging import answered
from adapters.shopify.problems import Problem, raised
from adapters.shopify.wire import SENT
from adapters.transport import lost
from adapters.waiting import at_last
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import Conflict, HouseError, Invalid, NotFound, OutcomeUnknown

# Our reasons, as the shop calls them.
REASONS = {
    "CUSTOMER": "CUSTOMER",
    "DECLINED": "DECLINED",
    "FRAUD": "FRAUD",
    "INVENTORY": "INVENTORY",
    "OTHER": "OTHER",
}

# Between two looks at a job, each for a point, and for how long; most are done at the first.
PAUSES_S = (0.2, 0.3, 0.5, 1.0, 2.0)
PATIENCE_S = 20.0

ORDER_STANDS = Document(
    "OrderStands",
    "order",
    2,
    f"""query OrderStands($id: ID!) {{
  order(id: $id) {{ id name cancelledAt displayFulfillmentStatus fulfillments(first: {PAGE}) {{ id status }} }}
}}""",
)

CANCEL_ORDER = Document(
    "CancelOrder",
    "orderCancel",
    10,
    """mutation CancelOrder(
  $id: ID!, $reason: OrderCancelReason!, $restock: Boolean!, $method: OrderCancelRefundMethodInput
) {
  orderCancel(orderId: $id, reason: $reason, restock: $restock, refundMethod: $method, notifyCustomer: true) {
    job { id done }
    orderCancelUserErrors { code field message }
    userErrors { field message }
  }
}""",
    write=True,
    itemized=True,
)

JOB = Document("Job", "job", 1, "query Job($id: ID!) { job(id: $id) { id done } }")


class _Fulfillment(Wire):
    id: str
    status: str


class _Order(Wire):
    id: str
    name: str
    cancelled_at: str | None
    display_fulfillment_status: str
    fulfillments: list[_Fulfillment]

    @property
    def sent(self) -> int:
        return sum(each.status in SENT for each in self.fulfillments)


class _Job(Wire):
    id: str
    done: bool


class _Payload(Wire):
    job: _Job | None
    order_cancel_user_errors: list[Problem]
    user_errors: list[Problem]


async def cancel_order(
    client: ShopClient, key: OrderKey, reason: str, ask: Ask, before_send: BeforeSend, *, restock: bool, refund: bool
) -> Receipt:
    """Cancel an order of which nothing was shipped; its buyer is told by the platform. One that is canceled already is fine.

    `refund` gives all the money back by the way it came; what was only authorized is let go in any case. Raises Conflict where
    a parcel has left, also while the job was at work; Invalid for an unknown reason; OutcomeUnknown where the job is still at
    work when our patience ends, or where the order cannot be read after it.
    """
    if reason not in REASONS:
        raise Invalid(f"{reason!r} is none of the reasons {', '.join(REASONS)}.", field=("reason",))
    order, request_id = await _standing(client, key, ask)
    if order.cancelled_at is not None:
        return Receipt(request_id)
    _check_unsent(order, request_id)
    variables = {
        "id": key.external_id,
        "reason": REASONS[reason],
        "restock": restock,
        "method": {"originalPaymentMethodsRefund": refund},
    }
    reply = await client.run(CANCEL_ORDER, variables, ask, before_send)
    payload = _payload(reply)
    refused = next(iter([*payload.order_cancel_user_errors, *payload.user_errors]), None)
    if refused is not None:
        return await _canceled_meanwhile(client, key, refused, reply.request_id, ask)
    if payload.job is None:
        raise lost(True, "no refusal and no job", reply.request_id)
    await _done(client, payload.job, reply.request_id, ask)
    order = await _read_back(client, key, reply.request_id, ask)
    if order.cancelled_at is None:
        _check_unsent(order, reply.request_id)
        raise OutcomeUnknown(
            f"The shop has done its job, and the order {order.name} is not canceled: it is "
            f"{order.display_fulfillment_status}.",
            upstream_request_id=reply.request_id,
        )
    return Receipt(reply.request_id, payload.job.id)


def _check_unsent(order: _Order, request_id: str | None) -> None:
    """Raises Conflict where a parcel has left."""
    if not order.sent:
        return
    parcels = "1 parcel has" if order.sent == 1 else f"{order.sent} parcels have"
    raise Conflict(
        f"The order {order.name} cannot be canceled: {parcels} left (it is {order.display_fulfillment_status}). "
        "Cancel what was not really sent, or refund.",
        upstream_request_id=request_id,
    )


async def _standing(client: ShopClient, key: OrderKey, ask: Ask) -> tuple[_Order, str | None]:
    reply = await client.run(ORDER_STANDS, {"id": key.external_id}, ask)
    if reply.data["order"] is None:
        text = f"{client.config.shop} has no order {key.external_id}."
        raise NotFound(text, upstream_request_id=reply.request_id)
    return answered(_Order, reply.data["order"]), reply.request_id


async def _read_back(client: ShopClient, key: OrderKey, request_id: str | None, ask: Ask) -> _Order:
    """The order after the cancellation was sent. Raises OutcomeUnknown, whatever keeps us from reading it."""
    try:
        order, _ = await _standing(client, key, ask)
    except HouseError as problem:
        text = f"The cancellation was sent, and the order cannot be read: {problem.message}"
        raise OutcomeUnknown(text, upstream_request_id=request_id) from problem
    return order


def _payload(reply: Reply) -> _Payload:
    try:
        return read(_Payload, reply.data[CANCEL_ORDER.operation])
    except Unclear as problem:
        raise lost(True, f"no refusal and no job: {problem}", reply.request_id) from problem


async def _canceled_meanwhile(
    client: ShopClient, key: OrderKey, problem: Problem, request_id: str | None, ask: Ask
) -> Receipt:
    """Somebody, or an earlier attempt of ours, may have been first, or a parcel has left. Raises what `problem` means where
    nothing of the kind shows."""
    order = await _read_back(client, key, request_id, ask)
    if order.cancelled_at is not None:
        return Receipt(request_id)
    _check_unsent(order, request_id)
    raise raised(CANCEL_ORDER.operation, problem, f"The order {order.name} is not canceled", request_id)


async def _done(client: ShopClient, job: _Job, request_id: str | None, ask: Ask) -> None:
    """Wait for the job. Raises OutcomeUnknown when it is not done in time, or cannot be seen."""

    async def look() -> bool:
        reply = await client.run(JOB, {"id": job.id}, ask)
        # A job that is forgotten is over.
        return reply.data["job"] is None or answered(_Job, reply.data["job"]).done

    if job.done:
        return
    try:
        done = await at_last(look, bool, pauses_s=PAUSES_S, patience_s=PATIENCE_S, deadline=None)
    except HouseError as problem:
        raise OutcomeUnknown(
            f"The cancellation has begun, and its job cannot be seen: {problem.message}", upstream_request_id=request_id
        ) from problem
    if not done:
        text = "The cancellation has begun, and the shop is still at work on it."
        raise OutcomeUnknown(text, upstream_request_id=request_id)

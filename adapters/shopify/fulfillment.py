"""Confirming a parcel: fulfillmentCreate, once for each location that its units lie at.

The platform has no key against doing it twice, so we look before we send: the order's fulfillments (parcels, found by their
tracking number) and fulfillment orders (the work that is open, by location). The first may trail the second after a write; as
long as they disagree about a line, nothing is sent.

A tracking number is taken to name one parcel of its order: two that share one, such as two boxes under one label, would be told
apart by nothing, so the caller must not have two of them under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from adapters.port import BeforeSend, OrderKey, Parcel, Receipt, Sighting
from adapters.shopify.client import Node, Reply, ShopClient
from adapters.shopify.document import Document
from adapters.shopify.documents import PARCEL_LINES, PARCELS, SHIP, TASK_LINES, TASKS
from adapters.shopify.paging import answered, whole
from adapters.shopify.wire import SENT, Connection, PageInfo, Ref
from adapters.transport import lost
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask, Priority
from domain.carrier import sent_as, url
from domain.channel import Platform
from domain.errors import (
    Conflict,
    HouseError,
    Invalid,
    MissingRole,
    NotFound,
    OutcomeUnknown,
    Refused,
    Throttled,
    Transient,
    Unauthorized,
)

Json = Mapping[str, object]

WORKABLE = frozenset({"OPEN", "IN_PROGRESS"})
OVER = frozenset({"CLOSED", "CANCELLED"})


class _Number(Wire):
    number: str | None


class _ParcelLine(Wire):
    line_item: Ref
    quantity: int | None


class _Fulfillment(Wire):
    id: str
    status: str
    tracking_info: list[_Number]
    fulfillment_line_items: Connection[_ParcelLine]


class _OrderLine(Wire):
    id: str
    unfulfilled_quantity: int


class _TaskLine(Wire):
    id: str
    total_quantity: int
    remaining_quantity: int
    line_item: _OrderLine


class _Assigned(Wire):
    location: Ref | None


class _Action(Wire):
    action: str


class _Task(Wire):
    """A fulfillment order."""

    id: str
    status: str
    assigned_location: _Assigned
    supported_actions: list[_Action]
    line_items: Connection[_TaskLine]

    @property
    def open(self) -> bool:
        return self.status in WORKABLE and any(each.action == "CREATE_FULFILLMENT" for each in self.supported_actions)


class _Tasks(Wire):
    nodes: list[_Task]
    page_info: PageInfo


class _Parcels(Wire):
    id: str
    fulfillments: list[_Fulfillment]


class _Order(_Parcels):
    name: str
    cancelled_at: str | None
    fulfillment_orders: _Tasks


class _Payload(Wire):
    fulfillment: Ref


@dataclass(frozen=True, slots=True)
class Seen:
    """A fulfillment: units by order line."""

    gid: str
    numbers: frozenset[str]
    units: Counter[str]


@dataclass(frozen=True, slots=True)
class Task:
    """What one fulfillment order holds of one order line. `unfulfilled` is what the order itself still shows as not shipped."""

    order: str
    line: str
    location: str
    order_line: str
    total: int
    remaining: int
    unfulfilled: int
    status: str
    open: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """Units by order line: those that have left, and those that wait to be sent."""

    sent: Counter[str]
    open: Counter[str]


@dataclass(frozen=True, slots=True)
class Part:
    """Units to be shipped of one fulfillment order line."""

    task: Task
    units: int


async def confirm_shipment(
    client: ShopClient, key: OrderKey, parcel: Parcel, ask: Ask, before_send: BeforeSend
) -> Receipt:
    """Ship what the order does not show yet of this parcel. Its buyer is told by the platform; `shipped_at` is not taken.

    Raises Conflict when the order has not that many units open; Transient while its fulfillment orders are still being made;
    OutcomeUnknown also when an earlier shipment of a line is not visible yet, in which case nothing is sent, and for whatever
    keeps the rest of a parcel from following its first part.
    """
    if not parcel.lines:
        raise Invalid("A parcel without lines cannot be confirmed.")
    found = await _told(client, TASKS, key.external_id, ask)
    order = answered(_Order, found.told)
    seen = await _seen(client, order.fulfillments, ask)
    there, missing = _compared(parcel, seen)
    if not missing:
        return Receipt(found.request_id, " ".join(each.gid for each in there) or None)
    tasks = await _tasks(client, order, ask)
    _check_visible(missing, tasks, seen, found.request_id)
    plan = _plan(order, missing, tasks, found.request_id)
    made: list[str] = []
    request_id = found.request_id
    for parts in plan:
        variables = {"parcel": _input(parcel, parts)}
        # What is half there goes before what has not begun.
        paid = replace(ask, priority=min(ask.priority, Priority.URGENT)) if made else ask
        try:
            sent = await client.run(SHIP, variables, paid, before_send)
        except (Refused, Throttled, Transient, Unauthorized) as problem:
            if not made:
                raise
            done = f"{len(made)} of the parcel's {len(plan)} parts are confirmed ({' '.join(made)})"
            raise half_done(problem, done) from problem
        request_id = sent.request_id
        made.append(_made(sent))
    return Receipt(request_id, " ".join([*(each.gid for each in there), *made]))


async def parcel_seen(client: ShopClient, key: OrderKey, parcel: Parcel, ask: Ask) -> Sighting:
    """Whether fulfillments with the parcel's tracking number hold all its units. Raises NotFound. Source: nodes."""
    found = await _told(client, PARCELS, key.external_id, ask)
    order = answered(_Parcels, found.told)
    there, missing = _compared(parcel, await _seen(client, order.fulfillments, ask))
    return Sighting(not missing, found.request_id, partly=bool(there and missing))


async def standing(client: ShopClient, gid: str, ask: Ask) -> Standing | None:
    """What parcels and fulfillment orders together say of an order; None where the app is not let see how it is worked on.

    Source: nodes. Raises NotFound.
    """
    try:
        order = answered(_Order, (await _told(client, TASKS, gid, ask)).told)
        if not order.fulfillment_orders.nodes or order.fulfillment_orders.page_info.has_next_page:
            return None
        seen, tasks = await _seen(client, order.fulfillments, ask), await _tasks(client, order, ask)
    except MissingRole:
        return None
    found = Standing(Counter(), Counter())
    for each in seen:
        found.sent.update(each.units)
    for task in tasks:
        if task.status not in OVER:
            found.open[task.order_line] += task.remaining
    return found


async def _told(client: ShopClient, document: Document, gid: str, ask: Ask) -> Node:
    """The order as `document` tells of it, read together with those of other parcels. Raises NotFound."""
    found = await client.node(document, gid, ask)
    if not found.told:
        raise NotFound(f"{client.config.shop} has no order {gid}.", upstream_request_id=found.request_id)
    return found


async def _seen(client: ShopClient, fulfillments: Iterable[_Fulfillment], ask: Ask) -> list[Seen]:
    """The fulfillments that were not canceled and did not fail."""
    found = []
    for each in fulfillments:
        if each.status not in SENT:
            continue
        lines = each.fulfillment_line_items
        units: Counter[str] = Counter()
        for line in await whole(client, PARCEL_LINES, each.id, _ParcelLine, lines.nodes, lines.page_info, ask):
            units[line.line_item.id] += line.quantity or 0
        numbers = frozenset(mark.number for mark in each.tracking_info if mark.number)
        found.append(Seen(each.id, numbers, units))
    return found


def _compared(parcel: Parcel, seen: Iterable[Seen]) -> tuple[list[Seen], Counter[str]]:
    """The fulfillments that are this parcel or a part of it, and the units of it that none of them holds.

    Assumes that a tracking number names one parcel of its order: a second parcel of the same number would be taken for this one,
    since units shipped twice are worse than a parcel that has to be asked for under another number.
    """
    there = [each for each in seen if parcel.tracking_number in each.numbers]
    missing: Counter[str] = Counter()
    for line, units in parcel.lines:
        missing[line] += units
    for each in there:
        missing -= each.units
    return there, +missing


async def _tasks(client: ShopClient, order: _Order, ask: Ask) -> list[Task]:
    """Raises Transient when there are none yet, Invalid when there are more than one answer holds."""
    if order.fulfillment_orders.page_info.has_next_page:
        raise Invalid(f"The order {order.name} has more than 50 fulfillment orders; confirm it in the shop's admin.")
    if not order.fulfillment_orders.nodes and order.cancelled_at is None:
        raise Transient(
            f"The order {order.name} shows no fulfillment orders. The platform makes them a moment after the order; if they stay "
            "away, the app lacks a scope such as write_merchant_managed_fulfillment_orders."
        )
    tasks = []
    for each in order.fulfillment_orders.nodes:
        lines = each.line_items
        for line in await whole(client, TASK_LINES, each.id, _TaskLine, lines.nodes, lines.page_info, ask):
            tasks.append(
                Task(
                    order=each.id,
                    line=line.id,
                    location=each.assigned_location.location.id if each.assigned_location.location else "",
                    order_line=line.line_item.id,
                    total=line.total_quantity,
                    remaining=line.remaining_quantity,
                    unfulfilled=line.line_item.unfulfilled_quantity,
                    status=each.status,
                    open=each.open,
                )
            )
    return tasks


def _check_visible(missing: Counter[str], tasks: list[Task], seen: list[Seen], request_id: str | None) -> None:
    """Raises OutcomeUnknown when more of a line was shipped than the order shows: it may be this very parcel.

    Two counts must agree on that. Work counts wrong after a canceled fulfillment, the order's own number after a refund.
    """
    for order_line in missing:
        of_line = [task for task in tasks if task.order_line == order_line]
        left = sum(task.remaining for task in of_line if task.status not in OVER)
        shipped = sum(task.total - task.remaining for task in of_line if task.status != "CANCELLED")
        shown = sum(each.units[order_line] for each in seen)
        if shipped > shown and any(task.unfulfilled > left for task in of_line):
            raise OutcomeUnknown(
                f"{shipped - shown} units of {order_line} were shipped that the order does not show yet; nothing was sent.",
                upstream_request_id=request_id,
            )


def _plan(order: _Order, missing: Counter[str], tasks: list[Task], request_id: str | None) -> list[list[Part]]:
    """What to ship, by location: from one place if it holds everything, else the fullest place first. Raises Conflict."""
    by_location: dict[str, list[Task]] = {}
    for task in tasks:
        if task.open and task.remaining > 0 and task.order_line in missing:
            by_location.setdefault(task.location, []).append(task)

    def held(there: list[Task]) -> int:
        return sum((Counter({t.order_line: t.remaining for t in there}) & missing).values())

    wanted = Counter(missing)
    plan = []
    for there in sorted(by_location.values(), key=held, reverse=True):
        parts = []
        for task in there:
            units = min(task.remaining, wanted[task.order_line])
            if units:
                wanted[task.order_line] -= units
                parts.append(Part(task, units))
        if parts:
            plan.append(parts)
    short = +wanted
    if short:
        raise Conflict(_why_short(order, short, tasks), field=("lines",), upstream_request_id=request_id)
    return plan


def _why_short(order: _Order, short: Counter[str], tasks: list[Task]) -> str:
    line, units = next(iter(short.items()))
    start = f"{units} units of {line} cannot be shipped: "
    if order.cancelled_at is not None:
        return f"{start}the order {order.name} is canceled."
    of_line = [task for task in tasks if task.order_line == line]
    if not of_line:
        return f"{start}it is not a line of the order {order.name} that has anything to ship."
    held = sorted({task.status for task in of_line if task.remaining and not task.open and task.status not in OVER})
    if held:
        return f"{start}its fulfillment order is {' and '.join(held)} in the order {order.name}."
    left = sum(task.remaining for task in of_line if task.open)
    return f"{start}the order {order.name} has {left} of it open."


def _input(parcel: Parcel, parts: list[Part]) -> Json:
    by_order: dict[str, list[Json]] = {}
    for part in parts:
        by_order.setdefault(part.task.order, []).append({"id": part.task.line, "quantity": part.units})
    return {
        "notifyCustomer": True,
        "trackingInfo": _tracking(parcel),
        "lineItemsByFulfillmentOrder": [
            {"fulfillmentOrderId": gid, "fulfillmentOrderLineItems": lines} for gid, lines in by_order.items()
        ],
    }


def _tracking(parcel: Parcel) -> Json:
    """Shopify links companies of its own list; of others it has to be told where they show the parcel."""
    company = sent_as(parcel.carrier, Platform.SHOPIFY)
    shown = None if company.known else url(parcel.carrier, parcel.tracking_number)
    return {"company": company.code, "number": parcel.tracking_number} | ({} if shown is None else {"url": shown})


def _made(reply: Reply) -> str:
    """The new fulfillment's global id."""
    try:
        payload = read(_Payload, reply.data["fulfillmentCreate"])
    except Unclear as problem:
        raise lost(True, f"no refusal and no fulfillment: {problem}", reply.request_id) from problem
    return payload.fulfillment.id


def half_done(problem: HouseError, done: str) -> HouseError:
    """What stopped the parcel after its first parts, saying what stays `done`.

    A refusal stays one. Anything else says by itself that nothing was changed, which is true of the next part alone: of the
    parcel it leaves open how much is done.
    """
    told: dict[str, Any] = {"upstream_request_id": problem.upstream_request_id, "upstream_code": problem.upstream_code}
    if isinstance(problem, Refused):
        return Invalid(f"{done}, the next was refused: {problem.message}", field=problem.field, **told)
    return OutcomeUnknown(f"{done}, the next was not sent: {problem.message}", **told)

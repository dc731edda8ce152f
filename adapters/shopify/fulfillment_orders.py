"""Fulfillment orders, in every status: what each place has to send. Sources: order.fulfillmentOrders, fulfillmentOrders.

Two traps. They are made a moment after their order, so an order without any may be too young. And an app sees only those of the
kinds that its scopes name (assigned to its own service, the merchant's, a third party's) and is told of no others, so an order
without any may be one that we are not let see. Confirming a parcel (fulfillment.py) reads its own, narrower view.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta

from adapters.port import OrderKey, Page
from adapters.shopify.client import ShopClient
from adapters.shopify.document import PAGE, PAGE_INFO, Document
from adapters.shopify.paging import Search, answered, beyond, pages, whole
from adapters.shopify.scopes import missing
from adapters.shopify.wire import Connection, Instant, Ref, quoted, rejected, stamp
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import MissingRole, NotFound, Transient
from domain.fulfillment_order import FulfillmentOrder, Hold, WorkLine, WorkStatus

KINDS = (
    "read_merchant_managed_fulfillment_orders",
    "read_third_party_fulfillment_orders",
    "read_assigned_fulfillment_orders",
)
# As for orders: what changes while pages are read moves to their end, and the index may trail.
OVERLAP = timedelta(minutes=5)
# An order that shows none for so long will not.
YOUNG = timedelta(minutes=15)

_LINE = "id sku totalQuantity remainingQuantity lineItem { id }"
_WORK = f"""id orderId status requestStatus updatedAt fulfillAt fulfillBy
      assignedLocation {{ name location {{ id }} }}
      supportedActions {{ action }}
      fulfillmentHolds {{ reason displayReason heldByRequestingApp }}
      lineItems(first: 50) {{ nodes {{ {_LINE} }} {PAGE_INFO} }}"""

WORK_OF_ORDER = Document(
    "WorkOfOrder",
    "order+currentAppInstallation",
    152,
    f"""query WorkOfOrder($id: ID!, $after: String) {{
  order(id: $id) {{
    id name createdAt cancelledAt requiresShipping
    rest: fulfillmentOrders(first: 50, after: $after) {{
      nodes {{
      {_WORK}
      }}
      {PAGE_INFO}
    }}
  }}
  currentAppInstallation {{ accessScopes {{ handle }} }}
}}""",
)

WORK = Document(
    "Work",
    "fulfillmentOrders",
    191,
    f"""query Work($query: String!, $after: String) {{
  fulfillmentOrders(first: 100, sortKey: UPDATED_AT, includeClosed: true, query: $query, after: $after) {{
    nodes {{
      {_WORK}
    }}
    {PAGE_INFO}
  }}
}}""",
)

WORK_LINES = Document(
    "WorkLines",
    "fulfillmentOrder",
    25,
    f"""query WorkLines($id: ID!, $after: String) {{
  fulfillmentOrder(id: $id) {{
    rest: lineItems(first: {PAGE}, after: $after) {{ nodes {{ {_LINE} }} {PAGE_INFO} }}
  }}
}}""",
)


class _Line(Wire):
    id: str
    sku: str | None
    total_quantity: int
    remaining_quantity: int
    line_item: Ref


class _Assigned(Wire):
    name: str
    location: Ref | None


class _Action(Wire):
    action: str


class _Hold(Wire):
    reason: str
    display_reason: str
    held_by_requesting_app: bool


class _Work(Wire):
    id: str
    order_id: str
    status: str
    request_status: str
    updated_at: Instant
    fulfill_at: Instant | None
    fulfill_by: Instant | None
    assigned_location: _Assigned
    supported_actions: list[_Action]
    fulfillment_holds: list[_Hold]
    line_items: Connection[_Line]


class _Order(Wire):
    id: str
    name: str
    created_at: Instant
    cancelled_at: Instant | None
    requires_shipping: bool
    rest: Connection[_Work]


class _Changed(Wire):
    updated_at: Instant


async def of_order(client: ShopClient, key: OrderKey, ask: Ask) -> list[FulfillmentOrder]:
    """All of one order, in the platform's order; none of one that has nothing to ship.

    Raises NotFound. Of an order that has something to ship and shows none: Transient while it is young, for they come a moment
    after it, and then MissingRole when a scope is missing that may be why. Transient too for one that we do not understand.
    """
    found: list[FulfillmentOrder] = []
    after: str | None = None
    while True:
        reply = await client.run(WORK_OF_ORDER, {"id": key.external_id, "after": after}, ask)
        if reply.data["order"] is None:
            words = f"{client.config.shop} has no order {key.external_id}."
            raise NotFound(words, upstream_request_id=reply.request_id)
        order = answered(_Order, reply.data["order"])
        try:
            found += [await _of(client, wire, ask) for wire in order.rest.nodes]
        except Unclear as problem:
            words = f"The fulfillment orders of {order.name} cannot be read: {problem}"
            raise Transient(words, upstream_request_id=reply.request_id) from problem
        if not order.rest.page_info.has_next_page:
            break
        after = beyond(after, order.rest.page_info)
    if not found and order.requires_shipping and order.cancelled_at is None:
        granted = [str(scope["handle"]) for scope in reply.data["currentAppInstallation"]["accessScopes"]]
        raise _unseen(order, granted, reply.request_id)
    return found


async def fulfillment_order_pages(
    client: ShopClient, since: datetime, ask: Ask
) -> AsyncIterator[Page[FulfillmentOrder]]:
    """Those that have changed since then, closed ones too, oldest change first, each again only when it has changed again.

    `until` is the newest change told so far. Of the kinds that the app has no scope for, nothing is told.
    """
    told: dict[str, datetime] = {}
    until = since
    async for batch in pages(client, WORK, _changed_since(since), ask):
        page: Page[FulfillmentOrder] = Page([])
        for row in batch.rows:
            try:
                wire = read(_Work, row)
                until = max(until, wire.updated_at)
                if told.get(wire.id) != wire.updated_at:
                    told[wire.id] = wire.updated_at
                    page.items.append(await _of(client, wire, ask))
            except Unclear as problem:
                page.rejected.append(rejected(client.config.channel.id, "fulfillment order", row, str(problem)))
        page.until = until
        yield page


def _changed_since(since: datetime) -> Search:
    def search(beyond: object | None) -> str:
        at = since - OVERLAP if beyond is None else answered(_Changed, beyond).updated_at
        return f"updated_at:>={quoted(stamp(at))}"

    return search


def _unseen(order: _Order, granted: Collection[str], request_id: str | None) -> MissingRole | Transient:
    lacking = missing(granted, KINDS)
    if lacking and datetime.now(UTC) - order.created_at > YOUNG:
        return MissingRole(
            f"The order {order.name} shows no fulfillment orders; they may be of a kind that the app may not see, for it lacks "
            f"{', '.join(lacking)}.",
            upstream_request_id=request_id,
        )
    words = f"The order {order.name} shows no fulfillment orders yet; the platform makes them a moment after the order."
    return Transient(words, upstream_request_id=request_id)


async def _of(client: ShopClient, wire: _Work, ask: Ask) -> FulfillmentOrder:
    """Raises Unclear for a status that was not published when this was written."""
    try:
        status = WorkStatus(wire.status)
    except ValueError:
        raise Unclear(f"unknown status {wire.status}") from None
    first = wire.line_items
    lines = await whole(client, WORK_LINES, wire.id, _Line, first.nodes, first.page_info, ask)
    return FulfillmentOrder(
        id=wire.id,
        order=wire.order_id,
        status=status,
        request=wire.request_status,
        place=wire.assigned_location.location.id if wire.assigned_location.location else None,
        place_name=wire.assigned_location.name,
        actions=frozenset(each.action for each in wire.supported_actions),
        updated_at=wire.updated_at,
        lines=tuple(
            WorkLine(each.id, each.line_item.id, each.sku, each.total_quantity, each.remaining_quantity)
            for each in lines
        ),
        holds=tuple(
            Hold(each.reason, each.display_reason, each.held_by_requesting_app) for each in wire.fulfillment_holds
        ),
        due_at=wire.fulfill_at,
        deadline_at=wire.fulfill_by,
    )

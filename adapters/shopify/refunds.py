"""The refunds that an order shows: what went back, of which lines, and where the units came back to. Source: order.refunds."""

from __future__ import annotations

from decimal import Decimal

from adapters.port import OrderKey
from adapters.shopify.client import ShopClient
from adapters.shopify.document import MONEY, PAGE, PAGE_INFO, Document
from adapters.shopify.paging import answered, whole
from adapters.shopify.transactions import SUCCESS, UNDONE
from adapters.shopify.wire import Connection, Instant, MoneyBag, Ref
from adapters.wire import Unclear, Wire
from domain.budget import Ask
from domain.errors import Invalid, NotFound, Transient
from domain.money import Money
from domain.refund import Refund, RefundLine, Restock

# Some refunds have a hundred lines, few have more; those are read on.
_LINE = f"quantity restockType lineItem {{ id }} location {{ id }} subtotalSet {MONEY} totalTaxSet {MONEY}"
_REFUND = f"""id createdAt processedAt totalRefundedSet {MONEY}
      refundLineItems(first: 100) {{ nodes {{ {_LINE} }} {PAGE_INFO} }}
      refundShippingLines(first: 50) {{ nodes {{ subtotalAmountSet {MONEY} taxAmountSet {MONEY} }} {PAGE_INFO} }}
      transactions(first: 50) {{ nodes {{ id kind status amountSet {MONEY} }} {PAGE_INFO} }}"""

REFUNDS = Document(
    "Refunds",
    "order",
    49,
    f"""query Refunds($id: ID!) {{
  order(id: $id) {{
    id name taxesIncluded
    refunds(first: {PAGE}) {{
      {_REFUND}
    }}
  }}
}}""",
)

REFUND_LINES = Document(
    "RefundLines",
    "refund",
    36,
    f"""query RefundLines($id: ID!, $after: String) {{
  refund(id: $id) {{ rest: refundLineItems(first: {PAGE}, after: $after) {{ nodes {{ {_LINE} }} {PAGE_INFO} }} }}
}}""",
)

RESTOCKS = {
    "RETURN": Restock.RETURN,
    "CANCEL": Restock.CANCEL,
    "NO_RESTOCK": Restock.NONE,
    "LEGACY_RESTOCK": Restock.RETURN,  # came back, and it is not told whether from the buyer or from the shelf
}


class _Line(Wire):
    quantity: int
    restock_type: str
    line_item: Ref
    location: Ref | None
    subtotal_set: MoneyBag
    total_tax_set: MoneyBag


class _Shipping(Wire):
    subtotal_amount_set: MoneyBag
    tax_amount_set: MoneyBag


class _Payment(Wire):
    id: str
    kind: str
    status: str
    amount_set: MoneyBag


class _Refund(Wire):
    id: str
    created_at: Instant | None
    processed_at: Instant
    total_refunded_set: MoneyBag
    refund_line_items: Connection[_Line]
    refund_shipping_lines: Connection[_Shipping]
    transactions: Connection[_Payment]


class _Order(Wire):
    id: str
    name: str
    taxes_included: bool
    refunds: list[_Refund]


async def refunds(client: ShopClient, key: OrderKey, ask: Ask) -> list[Refund]:
    """All of one order, oldest first, in the shop's currency, each with all its lines.

    Raises NotFound; Invalid for an order with more refunds than one answer holds; Transient for one that we do not understand.
    """
    reply = await client.run(REFUNDS, {"id": key.external_id}, ask)
    if reply.data["order"] is None:
        words = f"{client.config.shop} has no order {key.external_id}."
        raise NotFound(words, upstream_request_id=reply.request_id)
    order = answered(_Order, reply.data["order"])
    if len(order.refunds) >= PAGE:
        raise Invalid(f"The order {order.name} has {PAGE} refunds or more, and the platform lists no more.")
    try:
        found = [await _refund(client, order, each, ask) for each in order.refunds]
    except Unclear as problem:
        words = f"The refunds of {order.name} cannot be read: {problem}"
        raise Transient(words, upstream_request_id=reply.request_id) from problem
    return sorted(found, key=lambda each: each.created_at)


async def _refund(client: ShopClient, order: _Order, wire: _Refund, ask: Ask) -> Refund:
    """Raises Unclear."""
    first = wire.refund_line_items
    lines = await whole(client, REFUND_LINES, wire.id, _Line, first.nodes, first.page_info, ask)
    if wire.transactions.page_info.has_next_page or wire.refund_shipping_lines.page_info.has_next_page:
        raise Unclear(f"{wire.id} has more than 50 payments or shipping lines")
    shipping = [
        _with_tax(order, each.subtotal_amount_set, each.tax_amount_set) for each in wire.refund_shipping_lines.nodes
    ]
    return Refund(
        reference=wire.id,
        created_at=wire.created_at or wire.processed_at,
        amount=wire.total_refunded_set.money(),
        lines=tuple(_line(order, each) for each in lines),
        shipping=_sum(shipping),
        owed=_sum([each.amount_set.money() for each in wire.transactions.nodes if not _arrived(each)]),
    )


def _line(order: _Order, wire: _Line) -> RefundLine:
    restock = RESTOCKS.get(wire.restock_type)
    if restock is None:
        raise Unclear(f"unknown restockType {wire.restock_type}")
    return RefundLine(
        line_id=wire.line_item.id,
        quantity=wire.quantity,
        restock=restock,
        place=wire.location.id if wire.location else None,
        amount=_with_tax(order, wire.subtotal_set, wire.total_tax_set),
        tax=wire.total_tax_set.money(),
    )


def _with_tax(order: _Order, subtotal: MoneyBag, tax: MoneyBag) -> Money:
    """Where prices include taxes, so do subtotals. Source: Order.taxesIncluded."""
    return subtotal.money() if order.taxes_included else subtotal.money() + tax.money()


def _arrived(payment: _Payment) -> bool:
    """Raises Unclear."""
    if payment.status != SUCCESS and payment.status not in UNDONE:
        raise Unclear(f"unknown status {payment.status}")
    return payment.kind != "REFUND" or payment.status == SUCCESS


def _sum(amounts: list[Money]) -> Money | None:
    return Money(sum((each.amount for each in amounts), Decimal(0)), amounts[0].currency) if amounts else None

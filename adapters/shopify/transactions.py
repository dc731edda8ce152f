"""What was paid for one order, by whichever gateway, and given back. Source: order.transactions.

This is the buyer's side of the money, in the shop's currency; what reaches us, and when, is told by payouts (Shopify Payments) or
by the other gateways themselves.
"""

from __future__ import annotations

from adapters.port import OrderKey, Page
from adapters.shopify.client import ShopClient
from adapters.shopify.document import MONEY, PAGE, Document
from adapters.shopify.paging import answered
from adapters.shopify.wire import Instant, MoneyBag, Ref, rejected
from adapters.wire import Amount, Price, Unclear, Wire, read
from domain.budget import Ask
from domain.errors import NotFound
from domain.finance import Breakdown, Context, Transaction, TransactionItem

_AMOUNT = "{ amount currencyCode }"

TRANSACTIONS = Document(
    "Transactions",
    "order",
    4,
    f"""query Transactions($id: ID!) {{
  order(id: $id) {{
    id name
    transactions(first: {PAGE}) {{
      id kind status gateway test processedAt createdAt manualPaymentGateway amountSet {MONEY}
      parentTransaction {{ id }}
      fees {{ type amount {_AMOUNT} flatFee {_AMOUNT} taxAmount {_AMOUNT} rate }}
    }}
  }}
}}""",
)

# What a transaction of each kind does to what the buyer has paid, once it has succeeded.
SIGNS = {"SALE": 1, "CAPTURE": 1, "REFUND": -1, "CHANGE": -1}
STILL = frozenset({"AUTHORIZATION", "EMV_AUTHORIZATION", "VOID", "SUGGESTED_REFUND"})
SUCCESS = "SUCCESS"
# Nothing has moved by those, or not yet.
UNDONE = frozenset({"AWAITING_RESPONSE", "ERROR", "FAILURE", "PENDING", "UNKNOWN"})


class _Fee(Wire):
    type: str
    amount: Price
    flat_fee: Price
    tax_amount: Price
    rate: Amount


class _Transaction(Wire):
    id: str
    kind: str
    status: str
    gateway: str | None
    test: bool
    processed_at: Instant | None
    created_at: Instant
    manual_payment_gateway: bool
    amount_set: MoneyBag
    parent_transaction: Ref | None
    fees: list[_Fee]


class _Order(Wire):
    id: str
    name: str
    transactions: list[object]


async def transactions(client: ShopClient, key: OrderKey, ask: Ask) -> Page[Transaction]:
    """All transactions of one order, in the platform's order.

    `total` is what moved: 0 for one that did not succeed, and for kinds that move nothing, such as AUTHORIZATION; the amount that
    it was about stands in its context, beside the gateway, and "test" for one that was no real money. `items` are the fees that
    the gateway tells of, negative; they are not part of the total. Raises NotFound.
    """
    reply = await client.run(TRANSACTIONS, {"id": key.external_id}, ask)
    if reply.data["order"] is None:
        words = f"{client.config.shop} has no order {key.external_id}."
        raise NotFound(words, upstream_request_id=reply.request_id)
    order = answered(_Order, reply.data["order"])
    page: Page[Transaction] = Page([])
    for row in order.transactions:
        try:
            page.items.append(_transaction(order, read(_Transaction, row)))
        except Unclear as problem:
            page.rejected.append(rejected(client.config.channel.id, "transaction", row, str(problem)))
    if len(order.transactions) >= PAGE:
        words = f"the order has {PAGE} transactions or more, and the platform lists no more"
        page.rejected.append(rejected(client.config.channel.id, "transactions", {"id": order.id}, words))
    return page


def _transaction(order: _Order, wire: _Transaction) -> Transaction:
    """Raises Unclear for a kind or status that was not published when this was written: it may have moved money or not."""
    amount = wire.amount_set.money()
    facts = {
        "amount": str(amount.amount),
        "gateway": wire.gateway,
        "manual": "true" if wire.manual_payment_gateway else None,
        "test": "true" if wire.test else None,
    }
    related = [("ORDER_ID", order.id), ("ORDER_NAME", order.name)]
    if wire.parent_transaction is not None:
        related.append(("PARENT_TRANSACTION_ID", wire.parent_transaction.id))
    return Transaction(
        id=wire.id,
        status=wire.status,
        kind=wire.kind,
        posted_at=wire.processed_at or wire.created_at,
        total=amount * _sign(wire),
        related=tuple(related),
        items=tuple(_fee(each) for each in wire.fees),
        contexts=(Context("OrderTransaction", {name: value for name, value in facts.items() if value is not None}),),
    )


def _sign(wire: _Transaction) -> int:
    if wire.kind not in SIGNS and wire.kind not in STILL:
        raise Unclear(f"unknown kind {wire.kind}")
    if wire.status != SUCCESS and wire.status not in UNDONE:
        raise Unclear(f"unknown status {wire.status}")
    return SIGNS.get(wire.kind, 0) if wire.status == SUCCESS else 0


def _fee(wire: _Fee) -> TransactionItem:
    """The tax on a fee is told beside it; whether the amount contains it is not published."""
    amount = wire.amount.money()
    parts = {
        "rate": str(wire.rate),
        "flatFee": f"{wire.flat_fee.amount} {wire.flat_fee.currency_code}",
        "taxAmount": f"{wire.tax_amount.amount} {wire.tax_amount.currency_code}",
    }
    return TransactionItem(
        description=wire.type,
        total=-amount,
        breakdowns=(Breakdown("fee", -amount),),
        contexts=(Context("TransactionFee", parts),),
    )

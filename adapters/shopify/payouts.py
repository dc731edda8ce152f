"""What Shopify Payments pays out, and the movements that each payout is made of.

A payout's net is the sum of its movements' nets, without the transfer to the bank itself; each net is the amount less the fee.
Both are reckoned here, and what does not add up is told with its reason. Other providers pay out past the shop, which then has no
account here. Sources: shopifyPaymentsAccount.payouts, shopifyPaymentsAccount.balanceTransactions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator

from adapters.port import Page
from adapters.shopify.client import Json, ShopClient
from adapters.shopify.document import PAGE, PAGE_INFO, Document
from adapters.shopify.paging import Search, answered, by_id, pages
from adapters.shopify.wire import Instant, number_of, quoted, rejected, stamp
from adapters.wire import Price, Unclear, Wire, read
from domain.budget import Ask
from domain.errors import NotFound
from domain.finance import Breakdown, Context, Transaction, imbalance
from domain.money import Money
from domain.payout import Payout

_AMOUNT = "{ amount currencyCode }"
# What the sum of a kind of movement is called; "refundsFeeGross" is the sum of refunds.
TOTALS = (
    "adjustmentsFee",
    "adjustmentsGross",
    "advanceFees",
    "advanceGross",
    "chargesFee",
    "chargesGross",
    "refundsFee",
    "refundsFeeGross",
    "reservedFundsFee",
    "reservedFundsGross",
    "retriedPayoutsFee",
    "retriedPayoutsGross",
)

PAYOUTS = Document(
    "Payouts",
    "shopifyPaymentsAccount",
    25,
    f"""query Payouts($query: String!, $after: String) {{
  shopifyPaymentsAccount {{
    payouts(first: {PAGE}, sortKey: ISSUED_AT, query: $query, after: $after) {{
      nodes {{
        id issuedAt status transactionType externalTraceId net {_AMOUNT}
        summary {{ {" ".join(f"{name} {_AMOUNT}" for name in TOTALS)} }}
      }}
      {PAGE_INFO}
    }}
  }}
}}""",
)

PAYOUT = Document(
    "Payout",
    "shopifyPaymentsAccount+node",
    2,
    f"""query Payout($id: ID!) {{
  shopifyPaymentsAccount {{ id }}
  node(id: $id) {{ ... on ShopifyPaymentsPayout {{ id net {_AMOUNT} }} }}
}}""",
)

MOVEMENTS = Document(
    "Movements",
    "shopifyPaymentsAccount",
    36,
    f"""query Movements($query: String!, $after: String) {{
  shopifyPaymentsAccount {{
    balanceTransactions(first: {PAGE}, sortKey: ID, hideTransfers: true, query: $query, after: $after) {{
      nodes {{
        id type transactionDate test sourceType sourceId sourceOrderTransactionId adjustmentReason
        amount {_AMOUNT} fee {_AMOUNT} net {_AMOUNT}
        associatedOrder {{ id name }}
        associatedPayout {{ id status }}
      }}
      {PAGE_INFO}
    }}
  }}
}}""",
)


# A BigInt, which JSON may show as a number or as a string.
Number = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)]


class _Payout(Wire):
    id: str
    issued_at: Instant
    status: str
    transaction_type: str
    external_trace_id: str | None
    net: Price
    summary: dict[str, Price]


class _Net(Wire):
    id: str
    net: Price


class _Issued(Wire):
    issued_at: Instant


class _Order(Wire):
    id: str
    name: str


class _InPayout(Wire):
    id: str | None
    status: str | None


class _Movement(Wire):
    id: str
    type: str
    transaction_date: Instant
    test: bool
    source_type: str | None
    source_id: Number | None
    source_order_transaction_id: Number | None
    adjustment_reason: str | None
    amount: Price
    fee: Price
    net: Price
    associated_order: _Order | None
    associated_payout: _InPayout


async def payout_pages(client: ShopClient, since: datetime, ask: Ask) -> AsyncIterator[Page[Payout]]:
    """Payouts issued since then, oldest first, in whatever state; one is told again by whoever asks for the same time again, for
    its `status` goes on: SCHEDULED, PAID, FAILED, CANCELED.

    `until` is when the newest one told so far was issued. Raises NotFound for a shop that does not use Shopify Payments, and
    MissingRole without the scopes.
    """
    until = since
    told: set[str] = set()
    async for batch in pages(client, PAYOUTS, _issued_since(since), ask, _account(client, "payouts")):
        page: Page[Payout] = Page([])
        for row in batch.rows:
            try:
                wire = read(_Payout, row)
                until = max(until, wire.issued_at)
                if wire.id not in told:
                    told.add(wire.id)
                    page.items.append(_payout(client, wire))
            except Unclear as problem:
                page.rejected.append(rejected(client.config.channel.id, "payout", row, str(problem)))
        page.until = until
        yield page


async def movement_pages(client: ShopClient, payout: str, ask: Ask) -> AsyncIterator[Page[Transaction]]:
    """The movements of one payout (its gid), in the order of their ids.

    `kind` is the platform's word, whatever it is; `breakdowns` are the amount and, negative, the fee. Those of test orders say so
    in their context. What does not add up is among `rejected`: a movement with its reason, and the payout itself on the last
    page when its movements, those that were rejected included, do not come to its net. Raises NotFound, as for a shop that does
    not use Shopify Payments, and MissingRole without the scopes.
    """
    net = await _net(client, payout, ask)
    channel, added = client.config.channel.id, Decimal(0)
    search = by_id([f"payments_transfer_id:{number_of(payout)}"])
    async for batch in pages(client, MOVEMENTS, search, ask, _account(client, "balanceTransactions")):
        page: Page[Transaction] = Page([])
        for row in batch.rows:
            try:
                wire = read(_Movement, row)
                if wire.net.currency_code == net.currency:
                    added += wire.net.amount
                page.items.append(_movement(wire, payout, net.currency))
            except Unclear as problem:
                page.rejected.append(rejected(channel, "movement", row, str(problem)))
        if batch.last and added != net.amount:
            words = f"its net is {net.amount} {net.currency}, its movements add up to {added}"
            told = {"id": payout, "net": str(net.amount), "movements": str(added)}
            page.rejected.append(rejected(channel, "payout", told, words))
        yield page


def _account(client: ShopClient, connection: str) -> Callable[[Json], object]:
    """Finds a connection of the account. Raises NotFound for a shop that has none."""

    def find(data: Json) -> object:
        return _there(client, data)[connection]

    return find


def _there(client: ShopClient, data: Json) -> Json:
    account: Json | None = data["shopifyPaymentsAccount"]
    if account is None:
        raise NotFound(f"{client.config.shop} does not use Shopify Payments, so there are no payouts to read here.")
    return account


def _issued_since(since: datetime) -> Search:
    def search(beyond: object | None) -> str:
        at = since if beyond is None else answered(_Issued, beyond).issued_at
        return f"issued_at:>={quoted(stamp(at))}"

    return search


def _payout(client: ShopClient, wire: _Payout) -> Payout:
    """Raises Unclear, also where the sign is not that of the direction: money would be booked the wrong way around."""
    if (wire.transaction_type == "WITHDRAWAL" and wire.net.amount > 0) or (
        wire.transaction_type == "DEPOSIT" and wire.net.amount < 0
    ):
        raise Unclear(f"a {wire.transaction_type} of {wire.net.amount}")
    return Payout(
        channel=client.config.channel.id,
        id=wire.id,
        issued_at=wire.issued_at,
        status=wire.status,
        net=wire.net.money(),
        reference=wire.external_trace_id,
        totals={name: amount.money() for name, amount in wire.summary.items()},
    )


async def _net(client: ShopClient, payout: str, ask: Ask) -> Money:
    reply = await client.run(PAYOUT, {"id": payout}, ask)
    _there(client, reply.data)
    if not reply.data["node"]:
        raise NotFound(f"{client.config.shop} has no payout {payout}.", upstream_request_id=reply.request_id)
    return answered(_Net, reply.data["node"]).net.money()


def _movement(wire: _Movement, payout: str, currency: str) -> Transaction:
    """Raises Unclear for what is in another payout or another currency, or does not add up."""
    told = wire.associated_payout
    if told.id != payout:
        raise Unclear(f"it was asked for as a part of {payout} and is told to be in {told.id}")
    net, fee = wire.net.money(), wire.fee.money()
    parts = (Breakdown("amount", wire.amount.money()), Breakdown("fee", -fee))
    if problem := imbalance(net, parts, "the net"):
        raise Unclear(problem)
    if net.currency != currency:
        raise Unclear(f"it is in {net.currency}, its payout in {currency}")
    facts = {
        "sourceType": wire.source_type,
        "sourceId": wire.source_id,
        "adjustmentReason": wire.adjustment_reason,
        "test": "true" if wire.test else None,
    }
    order = wire.associated_order
    related = [
        ("PAYOUT_ID", payout),
        ("ORDER_ID", order.id if order else None),
        ("ORDER_NAME", order.name if order else None),
        ("ORDER_TRANSACTION_ID", wire.source_order_transaction_id),
    ]
    return Transaction(
        id=wire.id,
        status=told.status,
        kind=wire.type,
        posted_at=wire.transaction_date,
        total=net,
        related=tuple((name, value) for name, value in related if value is not None),
        breakdowns=parts,
        contexts=(Context("BalanceTransaction", {name: value for name, value in facts.items() if value is not None}),),
    )

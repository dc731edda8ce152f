"""Payouts and the movements that they are made of. Sources: listPayouts and listTransactions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field

from adapters.port import Page
from adapters.rest.client import RestClient
from adapters.rest.errors import NOT_OFFERED
from adapters.rest.offers import Offers
from adapters.rest.operations import LIST_PAYOUTS, LIST_TRANSACTIONS
from adapters.rest.paging import pages
from adapters.rest.wire import Body, Instant, Name, Price, rejected, stamp
from adapters.wire import Unclear, money, read
from domain.budget import Ask
from domain.errors import NotFound, Refused
from domain.finance import Breakdown, Transaction, imbalance
from domain.ids import ChannelId
from domain.payout import Payout


class _Payout(Body):
    id: Name
    status: Literal["scheduled", "in_transit", "paid", "failed", "canceled"]
    issued_at: Instant
    updated_at: Instant
    net: Price
    reference: str | None = None
    totals: Mapping[str, Price] = {}


class _Movement(Body):
    id: Name
    kind: str = Field(min_length=1)
    amount: Price
    fee: Price
    net: Price
    order_id: str | None = None
    refund_id: str | None = None
    payout_id: str | None = None
    occurred_at: Instant


async def payout_pages(client: RestClient, offers: Offers, since: datetime, ask: Ask) -> AsyncIterator[Page[Payout]]:
    """Payouts issued or changed since then, oldest change first. Raises NotFound for a shop that does not offer them. Source:
    listPayouts."""
    try:
        shop = await offers.need(LIST_PAYOUTS, ask)
    except Refused as problem:
        if problem.upstream_code != NOT_OFFERED:
            raise
        raise NotFound(problem.message, upstream_code=problem.upstream_code) from problem
    query = {"updated_since": stamp(since)}
    async for batch in pages(client, LIST_PAYOUTS, query, ask, size=shop.limits.page):
        page: Page[Payout] = Page([], until=batch.until(since))
        for row in batch.rows:
            try:
                page.items.append(_payout(client.channel, read(_Payout, row)))
            except Unclear as problem:
                page.rejected.append(rejected(client.channel, "payout", row, str(problem)))
        yield page


async def movement_pages(client: RestClient, offers: Offers, payout: str, ask: Ask) -> AsyncIterator[Page[Transaction]]:
    """The movements of one payout. One whose parts do not add up is rejected. Source: listTransactions."""
    shop = await offers.need(LIST_TRANSACTIONS, ask)
    async for batch in pages(client, LIST_TRANSACTIONS, {"payout_id": payout}, ask, size=shop.limits.page):
        page: Page[Transaction] = Page([])
        for row in batch.rows:
            try:
                page.items.append(_transaction(read(_Movement, row), payout))
            except Unclear as problem:
                page.rejected.append(rejected(client.channel, "transaction", row, str(problem)))
        yield page


def _payout(channel: ChannelId, told: _Payout) -> Payout:
    return Payout(
        channel=channel,
        id=told.id,
        issued_at=told.issued_at,
        status=told.status,
        net=told.net.money(),
        reference=told.reference,
        totals={name: one.money() for name, one in told.totals.items()},
    )


def _transaction(told: _Movement, payout: str) -> Transaction:
    """Raises Unclear for a movement of another payout, and for one whose net is not its amount less its fee."""
    if told.payout_id != payout:
        raise Unclear(f"it belongs to the payout {told.payout_id}, not to {payout}")
    parts = (
        Breakdown("amount", told.amount.money()),
        Breakdown("fee", money(-told.fee.amount, told.fee.currency)),
    )
    total = told.net.money()
    if (wrong := imbalance(total, parts)) is not None:
        raise Unclear(wrong)
    related = (("PAYOUT_ID", told.payout_id), ("ORDER_ID", told.order_id), ("REFUND_ID", told.refund_id))
    return Transaction(
        id=told.id,
        status=None,
        kind=told.kind,
        posted_at=told.occurred_at,
        total=total,
        related=tuple((name, value) for name, value in related if value),
        breakdowns=parts,
    )

"""What is left of what buyers pay, of which orders, SKUs and days, and why it is told otherwise than before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.errors import Invalid
from domain.ids import ChannelId, OrderId, Sku
from domain.money_line import Stage
from domain.profit import Ask, Change, Dimension, OrderMoney, Row, days_between
from resolvers import channel
from resolvers.shelf import Shelf
from store import profit, profit_changes
from store.session import ONE_SNAPSHOT

MOST_SKUS = 1_000
_SCOPES = frozenset({"finance:read", "admin"})


@dataclass(frozen=True, slots=True)
class ProfitFilter:
    """Which lines are wanted; None wants all. `since` and `until` name days (`domain.profit.days_between`)."""

    since: datetime
    until: datetime
    channel: ChannelId | None = None
    marketplace: str | None = None
    skus: Sequence[Sku] | None = None
    currency: str | None = None
    stages: Sequence[Stage] | None = None
    known_at: datetime | None = None


async def rows(shelf: Shelf, wanted: ProfitFilter, by: Sequence[Dimension]) -> list[Row]:
    """A row for each value of the dimensions and each currency, by value. Raises Invalid."""
    ask = _ask(wanted)
    async with shelf.store.begin() as tx:
        await tx.execute(ONE_SNAPSHOT)
        return await profit.rows(tx, ask, list(dict.fromkeys(by)), _places(shelf))


async def changes(shelf: Shelf, wanted: ProfitFilter, since: datetime) -> list[Change]:
    """What has been added to what was told at `since`, for one reason each, what moved most first. Raises Invalid."""
    ask = _ask(wanted)
    if wanted.known_at is not None and since >= wanted.known_at:
        raise Invalid("`since` is not before `knownAt`.", field=("since",))
    async with shelf.store.begin() as tx:
        await tx.execute(ONE_SNAPSHOT)
        return await profit_changes.changes(tx, ask, since, _places(shelf))


async def by_orders(shelf: Shelf, ids: Collection[OrderId]) -> Mapping[OrderId, OrderMoney | Invalid]:
    """What stands of each order; missing where no line of it is known."""
    async with shelf.store.begin() as tx:
        await tx.execute(ONE_SNAPSHOT)
        return await profit.by_orders(tx, ids, _places(shelf))


def _places(shelf: Shelf) -> list[profit.Place]:
    return profit.places(channel.ever(shelf).values())


def told_to(scopes: frozenset[str]) -> bool:
    """Whether a caller with these scopes may know what an order brings."""
    return not scopes.isdisjoint(_SCOPES)


def _ask(wanted: ProfitFilter) -> Ask:
    try:
        first, until = days_between(wanted.since, wanted.until)
    except Invalid as problem:
        problem.field = ("filter", *(problem.field or ()))
        raise
    if wanted.skus is not None and not 1 <= len(wanted.skus) <= MOST_SKUS:
        words = f"Name 1 to {MOST_SKUS:,} SKUs, or none for all; these are {len(wanted.skus):,}."
        raise Invalid(words, field=("filter", "skus"))
    currency = wanted.currency
    if currency is not None and (len(currency) != 3 or not currency.isascii() or not currency.isupper()):
        words = f"{currency!r} is not an ISO 4217 currency code such as USD."
        raise Invalid(words, field=("filter", "currency"))
    return Ask(
        first=first,
        until=until,
        channel=wanted.channel,
        marketplace=wanted.marketplace,
        skus=None if wanted.skus is None else tuple(wanted.skus),
        stages=None if wanted.stages is None else tuple(wanted.stages),
        currency=currency,
        known_at=wanted.known_at,
    )

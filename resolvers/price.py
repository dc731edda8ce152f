"""Setting prices: what was asked is checked against the listings as they stand, and handed to the one desk for prices."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.port import Port
from adapters.prices import PriceRoutes, Prices
from domain.budget import Priority
from domain.channel import Channel
from domain.errors import Conflict, Invalid, NotFound, Refused
from domain.ids import ChannelId, ListingId, OperationId, Sku
from domain.operation import WAITING_FOR_PEOPLE, Capability
from domain.price import Origin, PriceWish
from domain.price_change import Change, Lane, Summary
from domain.price_decision import Decision
from domain.price_target import Asked, Flaw, Offer, fitted, flaw_of, meant, wish
from domain.route import Choice
from resolvers.request import Accepted, check_key, check_word, contents_hash
from resolvers.shelf import Shelf
from store import operation, price_decision, price_desk, price_target

MOST_PRICES = 5_000
LONGEST_REASON = 200
# Who names one of these that there is not has named nothing; the others are there, and wrong.
_NAMES = frozenset({"sku", "channel", "marketplace"})


@dataclass(frozen=True, slots=True)
class LaneForecast:
    """What it takes to tell one lane's rows: calls at the least, and where its channel knows several ways, which it would take
    now, in how many seconds, and why."""

    lane: Lane
    calls: int
    choice: Choice | None = None


async def update(
    shelf: Shelf,
    requested_by: str,
    correlation_id: str,
    asked: Sequence[Asked],
    *,
    reason: str,
    idempotency_key: str | None,
    dry_run: bool,
) -> Accepted:
    """Keep an operation that sets the prices, all or none of what is asked, and wake its lanes.

    A row that a guard refuses stands in it as FAILED; with one that a guard holds, all of it awaits an approval. A repeated
    idempotency key answers the first operation as it stands; with other contents it is a Conflict.
    """
    if not 1 <= len(asked) <= MOST_PRICES:
        words = f"Set 1 to {MOST_PRICES:,} prices at a time; these are {len(asked):,}. A file has up to 100,000: /prices/files."
        return Accepted(None, [Invalid(words, field=("prices",))])
    contents = contents_hash("prices", dry_run, reason, [_told(one) for one in asked])
    try:
        check_key(idempotency_key)
        if reason:
            check_word("reason", reason, longest=LONGEST_REASON)
        async with shelf.store.begin() as tx:
            first = await operation.by_key(tx, requested_by, idempotency_key, contents)
            if first is not None:
                return Accepted(first, [])
            offers = await price_target.offers(tx, {one.sku for one in asked}, shelf.channels)
            now = shelf.clock()
            wishes, problems = _wishes(asked, offers, shelf.channels, sellers(shelf.ports), now, reason)
            if problems:
                return Accepted(None, problems)
            request = price_desk.Request(requested_by, contents, now, idempotency_key, dry_run, correlation_id)
            kept, created = await price_desk.keep(tx, request, wishes)
    except Refused as problem:
        return Accepted(None, [problem])
    if created and kept.status not in WAITING_FOR_PEOPLE:
        for channel in sorted({one.channel for one in wishes}):
            await shelf.bell.ring(channel, Capability.PRICES)
    return Accepted(kept, [])


def sellers(ports: Mapping[ChannelId, Port]) -> frozenset[ChannelId]:
    """The channels whose prices can be set."""
    return frozenset(id for id, port in ports.items() if isinstance(port, Prices))


async def changes(shelf: Shelf, items: Collection[int]) -> dict[int, Change]:
    """What items of operations change, by item; those that change no price are missing."""
    async with shelf.store.begin() as tx:
        return await price_desk.changes(tx, items)


async def summaries(shelf: Shelf, ids: Collection[OperationId]) -> dict[OperationId, Summary]:
    """The rows of operations, counted; those that change no prices are missing."""
    async with shelf.store.begin() as tx:
        return await price_desk.summaries(tx, ids)


async def decisions(shelf: Shelf, ids: Collection[OperationId]) -> Mapping[OperationId, Decision]:
    """What was decided last about those operations that are so large that a worker carries it out."""
    async with shelf.store.begin() as tx:
        return await price_decision.by_operations(tx, ids)


async def forecasts(shelf: Shelf, lanes: Sequence[Lane]) -> list[LaneForecast]:
    """What it takes now to tell each lane's rows, without asking anybody; channels that are configured no more are missing.

    Raises Throttled without Redis.
    """
    told = []
    for lane in lanes:
        port: object = shelf.ports.get(lane.channel)
        if isinstance(port, Prices):
            told.append(await _forecast(port, lane))
    return told


async def _forecast(port: Prices, lane: Lane) -> LaneForecast:
    if not isinstance(port, PriceRoutes):
        return LaneForecast(lane, -(-lane.rows // port.price_batch))
    choice = await port.price_route(lane.parts, Priority.WRITE)
    return LaneForecast(lane, choice.taken.calls, choice)


def _wishes(
    asked: Sequence[Asked],
    offers: Mapping[Sku, Sequence[Offer]],
    channels: Mapping[ChannelId, Channel],
    sellers: Collection[ChannelId],
    now: datetime,
    reason: str,
) -> tuple[list[PriceWish], list[Refused]]:
    """A wish for each listing that is meant, and what is wrong with the rows."""
    taken: dict[ListingId, tuple[int, PriceWish]] = {}
    problems: list[Refused] = []
    for number, one in enumerate(asked):
        at = ("prices", str(number))
        found = flaw_of(one.price) or meant(one, offers.get(one.sku, ()), sellers)
        if isinstance(found, Flaw):
            problems.append(_problem(found, at))
            continue
        for offer in found:
            price = fitted(one.price, channels[offer.channel].zone(offer.marketplace), now)
            if isinstance(price, Flaw):
                problems.append(_problem(price, at))
                break
            first, earlier = taken.setdefault(offer.listing, (number, wish(offer, price, Origin.MUTATION, reason)))
            if earlier.price != price:
                words = f"Row {first} asks another price for {earlier.key}; leave one of the two out."
                problems.append(Conflict(words, field=(*at, "amount")))
                break
    return [one for _, one in taken.values()], problems


_FIELDS = {"channel": "channelId", "sale": "saleAmount", "sale_from": "saleFrom", "sale_to": "saleTo"}


def _problem(flaw: Flaw, at: tuple[str, ...]) -> Refused:
    kind = NotFound if flaw.field in _NAMES else Invalid
    return kind(flaw.words, field=(*at, _FIELDS.get(flaw.field, flaw.field)))


def _told(one: Asked) -> list[object]:
    return [one.sku, one.channel, one.marketplace, one.price.told()]

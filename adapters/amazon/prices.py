"""Prices of our own offers, thousands at once. Sources: Listings Items 2021-08-01, searchListingsItems and patchListingsItem;
Feeds 2021-06-30, JSON_LISTINGS_FEED.

An offer is replaced whole, so it is read before it is written: 20 in a call. Then one patch for each, or one feed for all,
whichever is there first under the budgets as they stand. Amazon begins and ends sales by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from adapters.amazon import feeds
from adapters.amazon.client import Client
from adapters.amazon.feeds import FeedItem
from adapters.amazon.listings_offers import BATCH as PAGE
from adapters.amazon.listings_offers import Standing, read_offer, read_offers
from adapters.amazon.listings_submissions import ANY_TYPE, declined, submit
from adapters.amazon.listings_submissions import OPERATION as PATCH
from adapters.amazon.marketplaces import Marketplace, marketplace
from adapters.amazon.patches import OFFER, PriceChange, price_patch
from adapters.amazon.price_feeds import PriceFeeds
from adapters.budget import Budgets
from adapters.port import Receipt
from adapters.prices import Intend, PriceKey, PriceWrite, ShownPrice
from adapters.wire import Unclear
from domain.budget import Ask, Plan, Priority
from domain.errors import HouseError, Invalid, NotFound, OutcomeUnknown, Refused, Throttled, Transient
from domain.exchange import about_sku
from domain.ids import ChannelSku
from domain.price import Price
from domain.route import Choice, Route, Step, Way, choose

log = logging.getLogger(__name__)

BATCH = 5_000  # the most prices that are told or read at once
PIECE = 50  # the most that one piece of work patches one by one
ABREAST = 5
AGAIN = 2  # so often in a row a page is asked for again
AGAIN_S = 1.0

# What an answer takes; what a feed takes where nobody has seen one yet, and how often it is looked at meanwhile.
CALL_S = 0.4
FEED_S = 180.0
LOOKS = 6

Answer = Receipt | HouseError


@dataclass(slots=True)
class AmazonPrices:
    """The prices of an account."""

    client: Client
    seller_id: str
    budgets: Budgets
    plans: Mapping[str, Plan]
    feeds: PriceFeeds

    async def tell(self, writes: Sequence[PriceWrite], ask: Ask, intend: Intend) -> list[Answer]:
        """One answer for each of the first writes. Raises what concerns all of them, OutcomeUnknown of a feed too."""
        store = _only_store(writes)
        by_feed = await self._by_feed(len(writes), ask)
        writes = writes if by_feed else writes[:PIECE]
        standing = await self._standing(store, [write.key.channel_sku for write in writes], ask)
        answers: dict[int, Answer] = {}
        items: dict[int, FeedItem] = {}
        for place, write in enumerate(writes):
            item = _item(store, write, standing[write.key.channel_sku])
            if isinstance(item, FeedItem):
                items[place] = item
            else:
                answers[place] = item
        count = len(writes)
        if items and by_feed:
            receipts = await self.feeds.send(list(items.values()), ask, intend)
            answers |= dict(zip(items, receipts, strict=False))
            count = count if len(receipts) == len(items) else list(items)[len(receipts)]
        elif items:
            await self._patch(store, items, answers, ask, intend)
        return [answers[place] for place in range(count)]

    async def shown(self, keys: Sequence[PriceKey], ask: Ask) -> list[ShownPrice | HouseError]:
        """What each offer asks for, and what buyers pay."""
        by_store: defaultdict[str, list[ChannelSku]] = defaultdict(list)
        for key in keys:
            by_store[_code(key)].append(key.channel_sku)
        as_of = datetime.now(UTC)
        found = {
            code: await self._standing(marketplace(code), list(dict.fromkeys(skus)), ask)
            for code, skus in by_store.items()
        }
        return [_shown(key, found[_code(key)][key.channel_sku], as_of) for key in keys]

    async def explain(self, rows: int, priority: Priority) -> Choice:
        """How so many prices would be told now, and why. Raises Throttled without Redis."""
        ways = routes(self.plans, rows, await self.budgets.usual.seconds(self.client.channel, feeds.FEED_TYPE))
        plans = [step.plan for way in ways for step in way.steps]
        return choose(ways, await self.budgets.purses(self.client.channel, plans, priority))

    async def _by_feed(self, rows: int, ask: Ask) -> bool:
        choice = await self.explain(rows, ask.priority)
        told = {one.route.way.value: round(one.seconds, 1) for one in (choice.taken, *choice.others)}
        way = choice.taken.route.way
        extra = {"channel": self.client.channel, "rows": rows, "way": way.value, "seconds": told}
        log.info("prices.chosen", extra=extra)
        return way is Way.BULK

    async def _standing(
        self, store: Marketplace, skus: Sequence[ChannelSku], ask: Ask
    ) -> dict[ChannelSku, Standing | HouseError]:
        """The offers as they stand, each SKU with one answer; raises what concerns them all. Where the rest have no slot in time
        that is their answer: what has been read would be read again."""
        pages = [skus[start : start + PAGE] for start in range(0, len(skus), PAGE)]
        found: dict[ChannelSku, Standing | HouseError] = {}
        for start in range(0, len(pages), ABREAST):
            read = (self._page(store, page, ask) for page in pages[start : start + ABREAST])
            stop: BaseException | None = None
            for answer in await asyncio.gather(*read, return_exceptions=True):
                if isinstance(answer, BaseException):
                    stop = stop or answer
                else:
                    found |= answer
            if isinstance(stop, Throttled) and found:
                return dict.fromkeys(skus, stop) | found
            if stop is not None:
                raise stop
        return found

    async def _page(
        self, store: Marketplace, skus: Sequence[ChannelSku], ask: Ask
    ) -> dict[ChannelSku, Standing | HouseError]:
        try:
            told = await self._read(store, skus, _about(ask, skus))
        except (Transient, Refused) as problem:
            if isinstance(problem, Transient) and not isinstance(problem.__cause__, Unclear):
                raise
            # One that cannot be asked for or read shall not keep the others of its page from being told.
            return {sku: await self._alone(store, sku, ask) for sku in skus}
        missing = NotFound(f"Nothing is listed under this SKU in {store.code}.")
        return {sku: told.get(sku, missing) for sku in skus}

    async def _read(self, store: Marketplace, skus: Sequence[ChannelSku], ask: Ask) -> Mapping[ChannelSku, Standing]:
        """Again where Amazon fails for a moment, or throttles in spite of our budget, which is empty then and lets it wait: else
        all pages of thousands of prices would be read again for one."""
        for _ in range(AGAIN):
            try:
                return await read_offers(self.client, self.seller_id, store, skus, ask)
            except Throttled as problem:
                if problem.upstream_request_id is None:
                    raise
            except Transient as problem:
                if isinstance(problem.__cause__, Unclear):
                    raise
                await asyncio.sleep(AGAIN_S)
        return await read_offers(self.client, self.seller_id, store, skus, ask)

    async def _alone(self, store: Marketplace, sku: ChannelSku, ask: Ask) -> Standing | HouseError:
        try:
            return await read_offer(self.client, self.seller_id, store, sku, _about(ask, [sku]))
        except Refused as problem:
            return problem
        except Transient as problem:
            if not isinstance(problem.__cause__, Unclear):
                raise
            return problem

    async def _patch(
        self, store: Marketplace, items: Mapping[int, FeedItem], answers: dict[int, Answer], ask: Ask, intend: Intend
    ) -> None:
        """One call for each, a few at a time. What stops the first calls is raised; what stops later ones is the answer to all
        that are left."""
        details: Mapping[str, Mapping[str, str]] = {item.reference: {} for item in items.values()}
        intent: asyncio.Future[None] | None = None

        async def before_send() -> None:
            nonlocal intent
            if intent is None:
                intent = asyncio.ensure_future(intend(details))
            await asyncio.shield(intent)

        async def one(item: FeedItem) -> Answer:
            try:
                product_type, patches = item.product_type, item.patches
                return await submit(
                    self.client,
                    self.seller_id,
                    store,
                    item.sku,
                    patches,
                    _about(ask, [item.sku]),
                    before_send,
                    product_type=product_type,
                    what="the price",
                )
            except HouseError as problem:
                return problem

        places = list(items)
        for start in range(0, len(places), ABREAST):
            part = places[start : start + ABREAST]
            told = await asyncio.gather(*(one(items[place]) for place in part), return_exceptions=True)
            for place, answer in zip(part, told, strict=True):
                # What a call met is returned; raised is what must not go on.
                if isinstance(answer, BaseException) and not isinstance(answer, HouseError):
                    raise answer
                answers[place] = answer
            stop = next((one for one in told if isinstance(one, HouseError) and _stops(one)), None)
            if stop is not None:
                if intent is None:
                    raise stop
                left = Transient("Not sent, for an earlier one of the same batch got no answer.")
                why = left if isinstance(stop, OutcomeUnknown) else stop
                answers |= dict.fromkeys(places[start + ABREAST :], why)
                return


def routes(plans: Mapping[str, Plan], rows: int, usual_s: float | None) -> list[Route]:
    """The ways to tell so many prices that have been read; `usual_s` is what the last feeds took."""
    feed_s = FEED_S if usual_s is None else usual_s
    by_feed = (
        Step(plans["createFeedDocument"], 1, call_s=CALL_S),
        Step(feeds.LIMIT, 1, made=False),
        Step(plans["createFeed"], 1, call_s=CALL_S, then_s=feed_s),
        Step(plans["getFeed"], LOOKS, call_s=CALL_S),
        Step(plans["getFeedDocument"], 1, call_s=CALL_S),
    )
    return [Route(Way.SINGLE, (Step(plans[PATCH], rows, call_s=CALL_S, abreast=ABREAST),)), Route(Way.BULK, by_feed)]


def _about(ask: Ask, skus: Sequence[ChannelSku]) -> Ask:
    return replace(ask, about=tuple(about_sku(sku) for sku in skus))


def _only_store(writes: Sequence[PriceWrite]) -> Marketplace:
    """Raises Invalid."""
    codes = {_code(write.key) for write in writes}
    if len(codes) != 1 or len(writes) > BATCH:
        raise Invalid(f"{len(writes)} prices in {len(codes)} marketplaces; {BATCH} in one are the most at once.")
    return marketplace(codes.pop())


def _code(key: PriceKey) -> str:
    return marketplace(key.marketplace or "").code


def _item(store: Marketplace, write: PriceWrite, standing: Standing | HouseError) -> FeedItem | HouseError:
    """The patch that makes the offer what it is to be, or why there is none. A sale takes the place of all there are."""
    if isinstance(standing, HouseError):
        return standing
    key, wanted = write.key, write.price
    try:
        patch = price_patch(store, standing.entries, PriceChange(wanted.regular, wanted.sale))
    except Refused as problem:
        return problem
    except Unclear as problem:
        return Transient(f"The offer of {key.channel_sku} cannot be read: {problem}.")
    # Where the listing has told its type; Amazon takes this for any of them.
    product_type = dict(key.refs).get("productType") or standing.product_type or ANY_TYPE
    return FeedItem(key.channel_sku, store.code, product_type, (patch,), write.reference)


def _shown(key: PriceKey, standing: Standing | HouseError, as_of: datetime) -> ShownPrice | HouseError:
    if isinstance(standing, NotFound):
        return ShownPrice(key, None, as_of)
    if isinstance(standing, HouseError):
        return standing
    asked = standing.asked
    if asked.price is None:
        return ShownPrice(key, None, standing.as_of, standing.upstream_request_id)
    if len(asked.sales) > 1:
        return Transient(f"{len(asked.sales)} sales of {key.channel_sku} stand beside each other.")
    price = Price(asked.price, asked.sales[0] if asked.sales else None)
    against = [one for one in standing.findings if one.wrong and OFFER in one.attributes]
    request_id = standing.upstream_request_id
    refused = declined(f"the offer of {key.channel_sku}", against, request_id) if against else None
    return ShownPrice(key, price, standing.as_of, request_id, standing.in_force, refused)


def _stops(problem: HouseError) -> bool:
    """Whether what one call met would meet the next ones too."""
    return not isinstance(problem, Refused)

"""Confirming many parcels at once: the feed POST_ORDER_FULFILLMENT_DATA (`adapters.amazon.order_feeds`).

Such a message carries no reference of ours into the order, as confirmShipment does, and sent twice it may ship twice. So each
has our parcel's own number, by which a report names it whichever feed it was in, and a parcel is known in its order by tracking
number and units. Sources: facts of this feed as sellers write it; CarrierCode is wanted everywhere since 2022; "feeds best
practices": one feed of a type in 20 minutes, rather a big one, which can take hours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import Element, SubElement

from adapters.amazon import feeds, orders
from adapters.amazon.client import Client
from adapters.amazon.listings import iso
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.order_feeds import REMEMBERED, FeedKind, OrderFeeds
from adapters.budget import Budgets
from adapters.bulk_shipments import Bulk, Fate, InFile
from adapters.port import BeforeSend, OrderKey, Parcel, Receipt
from domain.budget import Ask, Plan, Priority
from domain.carrier import sent_as
from domain.channel import Platform
from domain.errors import Invalid, Transient
from domain.ids import ChannelId
from domain.route import Route, Step, Way, calls_within, choose, seconds

log = logging.getLogger(__name__)

KIND = FeedKind("POST_ORDER_FULFILLMENT_DATA", "OrderFulfillment", "Amazon did not confirm it")
# About 700 bytes each, of 10 MiB that a feed should have at most.
MOST = 5000
# Fewer are not worth one of the feeds that there are.
LEAST = 100
# Three at once, and then one in 20 minutes.
LIMIT = Plan(KIND.type, rate=1 / 1200, burst=3)
# What a feed takes where nobody knows, and what one call takes.
EXPECTED_S = 600.0
CALL_S = 0.5
LOOKS = 10
# Thousands wait for one feed: so long a look at it holds for all of them.
LOOK_S = 15.0
# How soon a parcel of a feed is looked at again, and how seldom at the most.
SOON_S = 60.0
SELDOM_S = 1800.0
# Amazon is done with the feed that it may have been in, and its order has not shown it for so long: it was not in it.
GONE = timedelta(hours=1)
# What a feed did that has ended shows by then, and a report that is there can be fetched.
SHOWN = timedelta(minutes=15)
PATIENCE = timedelta(hours=6)
# One list of feeds holds for all parcels of one attempt; one without any of theirs for less than passes between two looks at a
# parcel, or they would rest on the same one.
LISTED_S = 60.0
NONE_LISTED_S = 3.0


@dataclass(slots=True)
class ShipmentFeeds:
    """The parcels of an account that are confirmed by feeds."""

    client: Client
    _feeds: OrderFeeds
    _listed: dict[tuple[str, datetime], tuple[float, list[feeds.Feed]]] = field(default_factory=dict)
    _ended: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _listing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def of(cls, client: Client, seller_id: str) -> ShipmentFeeds:
        return cls(client, OrderFeeds(client, seller_id, KIND, LOOK_S))

    async def send(self, parcels: Bulk, ask: Ask, before_send: BeforeSend) -> Receipt:
        """One feed, for parcels of one marketplace; the receipt's reference is Amazon's name of it."""
        codes = {key.marketplace for key, _ in parcels}
        code = codes.pop() if len(codes) == 1 else None
        if code is None:
            raise Invalid("The parcels of a feed belong to orders of one marketplace that is known.")
        await self.client.pay(LIMIT, ask)
        messages = [(int(parcel.reference), _fulfillment(code, key, parcel)) for key, parcel in parcels]
        return await self._feeds.send_all(code, messages, ask, before_send)

    async def fate(self, codes: Mapping[str, str], key: OrderKey, parcel: Parcel, sent: InFile, ask: Ask) -> Fate:
        """What has become of a parcel; see `adapters.bulk_shipments.BulkShipments`."""
        age = datetime.now(UTC) - sent.at
        again_s = min(SELDOM_S, max(SOON_S, age.total_seconds()))
        names = [sent.file] if sent.file else await self._suspects(key, parcel, sent, ask)
        silent: Transient | None = None
        for name in names:
            try:
                verdict = await self._feeds.verdict(f"{name}/{parcel.reference}", ask)
            except Transient as problem:
                silent = problem
                continue
            if not verdict.ended:
                return Fate(again_s=again_s)
            if verdict.refused is not None and (verdict.named or sent.file):
                return Fate(refused=verdict.refused)
        sighting = await orders.parcel_seen(self.client, codes, key, parcel, ask, by_reference=False)
        if sighting.found:
            return Fate(sighting)
        if silent is not None:
            # A feed may take hours, and its report a second attempt: neither is a reason to give its parcels up.
            if age > PATIENCE:
                raise silent
            return Fate(again_s=again_s)
        if names and age < GONE and sent.file is None:
            return Fate(again_s=again_s)
        if sent.file and age > GONE - SHOWN and not self._shown_by_now(sent.file):
            return Fate(again_s=SOON_S)
        return Fate(sighting)

    def _shown_by_now(self, file: str) -> bool:
        """Whether what a feed did, which has ended, has had time to show: how long the feed took says nothing of that."""
        since = self._ended.setdefault(file, time.monotonic())
        self._ended.move_to_end(file)
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        return time.monotonic() >= since + SHOWN.total_seconds()

    async def _suspects(self, key: OrderKey, parcel: Parcel, sent: InFile, ask: Ask) -> list[str]:
        """The feeds in which it may be, after a createFeed without an answer."""
        code, number = key.marketplace or "", int(parcel.reference)
        async with self._listing:
            until, found = self._listed.get((code, sent.at), (0.0, []))
            if time.monotonic() >= until:
                found = await feeds.made_about(self.client, KIND.type, marketplace(code), sent.at, (), ask)
                self._listed = {known: one for known, one in self._listed.items() if time.monotonic() < one[0]}
                self._listed[code, sent.at] = (time.monotonic() + LISTED_S, found)
            names = [one.feed_id for one in found if one.feed_id != sent.before and self._feeds.may_hold(one, number)]
            if not names:
                until = min(self._listed[code, sent.at][0], time.monotonic() + NONE_LISTED_S)
                self._listed[code, sent.at] = (until, found)
        return names


async def for_feed(channel: ChannelId, plans: Mapping[str, Plan], budgets: Budgets, waiting: int) -> int:
    """How many of the parcels that wait a feed would bring there sooner than single calls. Those before them, which are the more
    urgent ones, are left to single calls: they are there before the feed is done. Raises Throttled without Redis."""
    if waiting < LEAST:
        return 0
    single, feed = routes(plans, waiting)
    used = [step.plan for route in (single, feed) for step in route.steps]
    purses = await budgets.purses(channel, used, Priority.WRITE)
    choice = choose((single, feed), purses)
    ahead = calls_within(single.steps[0], purses, seconds(feed, purses))
    spare = min(waiting - ahead, MOST) if choice.taken.route is feed else 0
    told = {"channel": channel, "waiting": waiting, "by_feed": spare, "way": choice.taken.route.way.value}
    log.info("shipments.route_chosen", extra=told | {"seconds": round(choice.taken.seconds), "reason": choice.reason})
    return spare if spare >= LEAST else 0


def routes(plans: Mapping[str, Plan], parcels: int) -> tuple[Route, Route]:
    """So many parcels one by one, and by a feed."""
    one_by_one = Step(plans["confirmShipment"], parcels, call_s=CALL_S, abreast=10)
    by_feed = (
        Step(LIMIT, 1, made=False),
        Step(plans["createFeedDocument"], 1, call_s=CALL_S),
        Step(plans["createFeed"], 1, call_s=CALL_S, then_s=EXPECTED_S),
        Step(plans["getFeed"], LOOKS, call_s=CALL_S),
        Step(plans["getFeedDocument"], 1, call_s=CALL_S),
    )
    return Route(Way.SINGLE, (one_by_one,)), Route(Way.BULK, by_feed)


def _fulfillment(code: str, key: OrderKey, parcel: Parcel) -> Element:
    """One message. A carrier that Amazon has no code for is `Other`, with its name."""
    carrier = sent_as(parcel.carrier, Platform.AMAZON, code)
    said = Element(KIND.message)
    SubElement(said, "AmazonOrderID").text = key.external_id
    SubElement(said, "FulfillmentDate").text = iso(parcel.shipped_at)
    data = SubElement(said, "FulfillmentData")
    SubElement(data, "CarrierCode").text = carrier.code
    if not carrier.known:
        SubElement(data, "CarrierName").text = carrier.name
    if parcel.service:
        SubElement(data, "ShippingMethod").text = parcel.service
    SubElement(data, "ShipperTrackingNumber").text = parcel.tracking_number
    for line, units in parcel.lines:
        item = SubElement(said, "Item")
        SubElement(item, "AmazonOrderItemCode").text = line
        SubElement(item, "Quantity").text = str(units)
    return said

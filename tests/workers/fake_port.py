"""A platform in memory that can be asked everything a port can. It writes down what truly changed, shows changes late, and
fails on demand."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import TypeVar

from adapters.port import (
    BeforeSend,
    Checked,
    OrderKey,
    Page,
    Parcel,
    Receipt,
    Shown,
    ShownKey,
    Sighting,
    StockKey,
    StockWrite,
)
from domain.budget import Ask, Plan
from domain.channel import Channel, Location, LocationKind, Platform, StreamName
from domain.errors import (
    HouseError,
    NotFound,
    OtherNumber,
    OutcomeUnknown,
    Refused,
    Throttled,
    Transient,
    Unauthorized,
)
from domain.ids import ChannelId, ChannelSku, LocationCode, line_id, listing_id, order_id
from domain.order import Order, OrderLine, OrderStatus, Shipment
from domain.product import FulfilledBy, Listing, Rejected
from domain.route import Route, Step, Way
from domain.stock import Reading

T = TypeVar("T")

WALK = Route(Way.PAGES, (Step(Plan("readStock", 100.0, 100.0), 1),), whole=True)


class Fault(Enum):
    """What goes wrong with one confirmation or one call that tells numbers, and whether it was carried out."""

    NO_BUDGET = auto()
    LOGIN_DOWN = auto()
    NOT_CONNECTED = auto()
    TOO_MANY = auto()
    UNAUTHORIZED = auto()
    REFUSED = auto()
    LOST = auto()
    APPLIED_THEN_LOST = auto()
    HALF_APPLIED_THEN_LOST = auto()
    DOUBTED = auto()
    APPLIED_THEN_BUG = auto()
    BUG = auto()
    IGNORED = auto()  # numbers only: taken with thanks, and nothing happens


@dataclass(frozen=True, slots=True)
class Effect:
    """A parcel that was truly made."""

    order: str
    reference: str
    tracking_number: str


@dataclass(frozen=True, slots=True)
class NumberEffect:
    """A shown number that truly changed, and through whom: "told" (with our reference), "bought" or "edited"."""

    at: datetime
    channel_sku: str
    place: str
    before: int | None
    after: int | None
    by: str
    reference: str | None = None


@dataclass(slots=True)
class _Number:
    """What buyers see of one SKU at one place. A write counts from `lands_at` on; what was bought meanwhile is lost on it."""

    now: int | None
    coming: tuple[float, int, str] | None = None


@dataclass(slots=True)
class FakePort:
    """One channel. Faults are used up one per call, `calls` counts by operation, `effects` is the journal.

    Numbers: `told` faults meet one call of `tell_stock` each, `refused_skus` single writes. Buyers `buy`, and somebody may `edit`
    a number or take the offer away (None). `compares` is a shop's way: a write that expects another number is refused, and one
    whose reference was used before has no second effect. A write shows, and counts, after the visibility lag.
    """

    channel: Channel
    visibility_lag_s: float = 0.1
    # How far the next slot is, where there is none.
    slot_s: float = 0.1
    orders: dict[str, Order] = field(default_factory=dict)
    listings: list[Page[Listing]] = field(default_factory=list)
    readings: list[Page[Reading]] = field(default_factory=list)
    changed_orders: list[Page[Order]] = field(default_factory=list)
    asked_since: list[tuple[str, datetime | None]] = field(default_factory=list)
    faults: deque[Fault | None] = field(default_factory=deque)
    look_faults: deque[HouseError | None] = field(default_factory=deque)
    order_faults: deque[Exception | None] = field(default_factory=deque)
    page_faults: deque[Exception | None] = field(default_factory=deque)
    stock_faults: deque[HouseError | None] = field(default_factory=deque)
    effects: list[Effect] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    # What a test wants to happen before the intent is made durable, and between that and its being carried out.
    before_intent: Callable[[str, Parcel], Awaitable[None]] | None = None
    in_flight: Callable[[str, Parcel], Awaitable[None]] | None = None
    blind: bool = False
    compares: bool = True
    told_faults: deque[Fault | None] = field(default_factory=deque)
    shown_faults: deque[HouseError | None] = field(default_factory=deque)
    refused_skus: set[str] = field(default_factory=set)
    number_effects: list[NumberEffect] = field(default_factory=list)
    shown_rejected: list[Rejected] = field(default_factory=list)
    # As with parcels: before the intent is durable, and between that and the numbers being taken.
    before_tell: Callable[[Sequence[StockWrite]], Awaitable[None]] | None = None
    telling: Callable[[Sequence[StockWrite]], Awaitable[None]] | None = None
    tell_batch: int = 10
    shown_batch: int = 20
    # What a pool looks like through another marketplace than the first, by country, and what happens after it was told so.
    elsewhere: dict[str, list[Page[Reading]]] = field(default_factory=dict)
    after_pages: Callable[[FakePort], None] | None = None
    plans: Mapping[str, Plan] = field(default_factory=dict)
    stock_plan: Plan = field(default_factory=lambda: Plan("readStock", 100.0, 100.0))
    stock_call: tuple[str, float] = ("readStock", 1.0)
    stock_batch: int = 50
    # The ways there are to read stock, and those by which all of it was read.
    routes: list[Route] = field(default_factory=lambda: [WALK])
    ways: list[Way] = field(default_factory=list)
    every: Mapping[StreamName, timedelta] = field(
        default_factory=lambda: dict.fromkeys(StreamName, timedelta(minutes=5))
    )
    leads: bool = True
    _seen_at: defaultdict[str, dict[str, tuple[float, Parcel]]] = field(default_factory=lambda: defaultdict(dict))
    _numbers: dict[tuple[str, str], _Number] = field(default_factory=dict)
    _references: set[str] = field(default_factory=set)

    def stock_groups(self, locations: Sequence[Location]) -> list[list[Location]]:
        return [list(locations)] if locations else []

    async def stock(self, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
        self.calls["stock_of"] += 1
        problem = self.stock_faults.popleft() if self.stock_faults else None
        if problem is not None:
            raise problem
        now = datetime.now(UTC)
        told = {(one.location, one.channel_sku): one for page in self._readings(locations) for one in page.items}
        return [
            replace(told[place.code, key.channel_sku], as_of=now)
            if (place.code, key.channel_sku) in told
            else Reading(place.code, self.channel.id, key.channel_sku, 0, 0, 0, now)
            for place in locations
            for key in keys
        ]

    async def stock_routes(self, locations: Sequence[Location], keys: int | None, known: int) -> list[Route]:
        return self.routes

    async def stock_pages(
        self, locations: Sequence[Location], ask: Ask, way: Way = Way.PAGES
    ) -> AsyncIterator[Page[Reading]]:
        self.ways.append(way)
        codes = {place.code for place in locations}
        async for page in self._told("stock", None, self._readings(locations)):
            yield replace(page, items=[one for one in page.items if one.location in codes])
        if self.after_pages is not None:
            self.after_pages(self)

    def _readings(self, locations: Sequence[Location]) -> list[Page[Reading]]:
        return next(
            (self.elsewhere[one.external_id] for one in locations if one.external_id in self.elsewhere), self.readings
        )

    async def listing_pages(self, since: datetime | None, ask: Ask) -> AsyncIterator[Page[Listing]]:
        async for page in self._told("listings", since, self.listings):
            yield page

    async def order_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        async for page in self._told("orders", since, self.changed_orders):
            yield page

    async def _told(self, what: str, since: datetime | None, pages: Sequence[Page[T]]) -> AsyncIterator[Page[T]]:
        self.asked_since.append((what, since))
        for page in pages:
            self.calls[what] += 1
            problem = self.page_faults.popleft() if self.page_faults else None
            if problem is not None:
                raise problem
            yield page

    async def order(self, key: OrderKey, ask: Ask) -> Order:
        self.calls["order"] += 1
        problem = self.order_faults.popleft() if self.order_faults else None
        if problem is not None:
            raise problem
        found = self.orders.get(key.external_id)
        if found is None:
            raise NotFound(f"There is no order {key.external_id}.")
        parcels = self._visible(key.external_id)
        shipped: Counter[str] = Counter()
        for parcel in parcels:
            shipped.update(dict(parcel.lines))
        lines = [replace(line, quantity_shipped=shipped[line.external_id]) for line in found.lines]
        status = OrderStatus.UNSHIPPED
        if parcels:
            whole = all(line.quantity_open == 0 for line in lines)
            status = OrderStatus.SHIPPED if whole else OrderStatus.PARTIALLY_SHIPPED
        shipments = [
            Shipment(parcel.reference, parcel.carrier, parcel.tracking_number, parcel.shipped_at) for parcel in parcels
        ]
        return replace(found, status=status, lines=lines, shipments=shipments, updated_at=datetime.now(UTC))

    async def confirm_shipment(self, key: OrderKey, parcel: Parcel, ask: Ask, before_send: BeforeSend) -> Receipt:
        self.calls["confirm"] += 1
        assert ask.deadline is not None
        fault = self.faults.popleft() if self.faults else None
        match fault:
            case Fault.NO_BUDGET:
                raise Throttled("No slot in time.", retry_after_s=self.slot_s)
            case Fault.LOGIN_DOWN:
                raise Transient("The login does not answer.")
            case Fault.DOUBTED:
                raise OutcomeUnknown("Something was shipped that does not show yet; nothing was sent.")
        if self.before_intent is not None:
            await self.before_intent(key.external_id, parcel)
        await before_send()
        if self.in_flight is not None:
            await self.in_flight(key.external_id, parcel)
        match fault:
            case Fault.NOT_CONNECTED:
                raise Transient("The connection was refused.")
            case Fault.TOO_MANY:
                raise Throttled(
                    "429", retry_after_s=self.slot_s, upstream_request_id="r-429", upstream_code="QuotaExceeded"
                )
            case Fault.UNAUTHORIZED:
                raise Unauthorized("The consent was withdrawn.", upstream_request_id="r-403")
            case Fault.REFUSED:
                raise Refused("The order is gone.", upstream_request_id="r-400", upstream_code="InvalidInput")
            case Fault.LOST:
                raise OutcomeUnknown("The connection broke.", upstream_request_id="r-500")
            case Fault.BUG:
                raise ZeroDivisionError
            case Fault.HALF_APPLIED_THEN_LOST:
                [(line, units)] = parcel.lines
                self.apply(key.external_id, replace(parcel, lines=((line, units // 2),)))
                raise OutcomeUnknown("The answer to the first half was lost.")
        _, there = self._seen_at[key.external_id].get(parcel.reference, (0.0, parcel))
        self.apply(key.external_id, parcel if there == parcel else _rest(parcel, there))
        self._seen_at[key.external_id][parcel.reference] = (time.monotonic() + self.visibility_lag_s, parcel)
        match fault:
            case Fault.APPLIED_THEN_LOST:
                raise OutcomeUnknown("The answer was lost.", upstream_request_id="r-504")
            case Fault.APPLIED_THEN_BUG:
                raise ZeroDivisionError
        return Receipt(f"r-{parcel.reference}")

    async def parcel_seen(self, key: OrderKey, parcel: Parcel, ask: Ask) -> Sighting:
        self.calls["look"] += 1
        problem = self.look_faults.popleft() if self.look_faults else None
        if problem is not None:
            raise problem
        visible = self._visible(key.external_id)
        partly = parcel not in visible and any(one.reference == parcel.reference for one in visible)
        return Sighting(parcel in visible, "r-look", partly=partly)

    async def tell_stock(
        self, writes: Sequence[StockWrite], ask: Ask, before_send: BeforeSend
    ) -> list[Receipt | HouseError]:
        assert len(writes) <= self.tell_batch
        self.calls["tell"] += 1
        fault = self.told_faults.popleft() if self.told_faults else None
        match fault:
            case Fault.NO_BUDGET:
                raise Throttled("No slot in time.", retry_after_s=self.slot_s)
            case Fault.LOGIN_DOWN:
                raise Transient("The login does not answer.")
        if self.before_tell is not None:
            await self.before_tell(writes)
        await before_send()
        if self.telling is not None:
            await self.telling(writes)
        match fault:
            case Fault.NOT_CONNECTED:
                raise Transient("The connection was refused.")
            case Fault.TOO_MANY:
                raise Throttled(
                    "429", retry_after_s=self.slot_s, upstream_request_id="r-429", upstream_code="QuotaExceeded"
                )
            case Fault.UNAUTHORIZED:
                raise Unauthorized("The consent was withdrawn.", upstream_request_id="r-403")
            case Fault.REFUSED:
                raise Refused("It is malformed.", upstream_request_id="r-400", upstream_code="InvalidInput")
            case Fault.LOST:
                raise OutcomeUnknown("The connection broke.", upstream_request_id="r-500")
            case Fault.BUG:
                raise ZeroDivisionError
            case Fault.IGNORED:
                return [Receipt(f"r-{write.reference}") for write in writes]
        answers = [self._take(write) for write in writes]
        match fault:
            case Fault.APPLIED_THEN_LOST:
                raise OutcomeUnknown("The answer was lost.", upstream_request_id="r-504")
            case Fault.APPLIED_THEN_BUG:
                raise ZeroDivisionError
        return answers

    def _take(self, write: StockWrite) -> Receipt | HouseError:
        key = (write.key.channel_sku, write.key.place)
        request = f"r-{write.reference}"
        if write.key.channel_sku in self.refused_skus:
            return Refused("It is not ours to sell.", upstream_request_id=request, upstream_code="InvalidInput")
        number = self._number(key)
        taken = number.now if number.coming is None else number.coming[1]
        if self.compares:
            if write.reference in self._references:
                return Receipt(request)
            if write.expected is not None and write.expected != taken:
                return OtherNumber("Another number is shown.", shown=taken, upstream_request_id=request)
        self._references.add(write.reference)
        number.coming = (time.monotonic() + self.visibility_lag_s, write.quantity, write.reference)
        self._number(key)
        return Receipt(request)

    async def shown_stock(self, keys: Sequence[ShownKey], ask: Ask) -> list[Shown]:
        assert len(keys) <= self.shown_batch
        self.calls["shown_of"] += 1
        as_of = datetime.now(UTC)
        problem = self.shown_faults.popleft() if self.shown_faults else None
        if problem is not None:
            raise problem
        return [Shown(key, self.number(key.channel_sku, key.place), as_of, "r-shown") for key in keys]

    async def shown_pages(self, places: Sequence[str], ask: Ask) -> AsyncIterator[Page[Shown]]:
        as_of = datetime.now(UTC)
        found = [
            Shown(ShownKey(ChannelSku(sku), place), self._number((sku, place)).now, as_of, "r-sweep")
            for sku, place in sorted(self._numbers)
            if place in places
        ]
        half = (len(found) + 1) // 2
        pages = [Page(found[:half], list(self.shown_rejected)), Page(found[half:])] if found else [Page(found)]
        async for page in self._told("shown", None, pages):
            yield page

    def number(self, channel_sku: str, place: str = "") -> int | None:
        """What buyers see now; None where it is not offered."""
        return self._number((channel_sku, place)).now if (channel_sku, place) in self._numbers else None

    def buy(self, channel_sku: str, place: str = "", units: int = 1) -> bool:
        """A buyer buys what is shown; False when fewer units are."""
        number = self._number((channel_sku, place))
        if number.now is None or number.now < units:
            return False
        self._change((channel_sku, place), number.now - units, "bought")
        return True

    def edit(self, channel_sku: str, place: str, quantity: int | None) -> None:
        """Somebody else changes the number, or takes the offer away (None)."""
        self._number((channel_sku, place))
        self._change((channel_sku, place), quantity, "edited")

    def _number(self, key: tuple[str, str]) -> _Number:
        """As it stands, with what has landed by now."""
        number = self._numbers.setdefault(key, _Number(None))
        if number.coming is not None and number.coming[0] <= time.monotonic():
            _, quantity, reference = number.coming
            number.coming = None
            self._change(key, quantity, "told", reference)
        return number

    def _change(self, key: tuple[str, str], after: int | None, by: str, reference: str | None = None) -> None:
        number = self._numbers[key]
        self.number_effects.append(NumberEffect(datetime.now(UTC), *key, number.now, after, by, reference))
        number.now = after

    async def check(self, ask: Ask) -> Checked:
        return Checked("It answers.")

    def apply(self, order: str, parcel: Parcel) -> None:
        """Carry a confirmation out. Raises Refused when nothing is left to ship."""
        found = self.orders[order]
        already = sum(units for _, one in self._seen_at[order].values() for _, units in one.lines)
        if already + sum(units for _, units in parcel.lines) > sum(line.quantity for line in found.lines):
            raise Refused("Nothing is left to ship.", upstream_request_id="r-closed")
        self.effects.append(Effect(order, parcel.reference, parcel.tracking_number))
        self._seen_at[order][parcel.reference] = (time.monotonic() + self.visibility_lag_s, parcel)

    def _visible(self, order: str) -> list[Parcel]:
        if self.blind:
            return []
        return [parcel for at, parcel in self._seen_at[order].values() if at <= time.monotonic()]


def _rest(parcel: Parcel, there: Parcel) -> Parcel:
    """What is not there of the parcel."""
    held = dict(there.lines)
    return replace(parcel, lines=tuple((line, units - held.get(line, 0)) for line, units in parcel.lines))


def make_port(channel: str = "shop", platform: Platform = Platform.SHOPIFY) -> FakePort:
    """A channel without anything in it."""
    return FakePort(Channel(ChannelId(channel), platform, channel.title(), True), compares=platform is Platform.SHOPIFY)


def make_order(
    port: FakePort, number: str, *, units: int = 2, updated_at: datetime | None = None, sku: str = "SKU-1"
) -> Order:
    """An unshipped order of one line."""
    id = order_id(port.channel.id, number)
    placed_at = datetime.now(UTC) - timedelta(hours=1)
    line = OrderLine(line_id(id, f"{number}-1"), f"{number}-1", ChannelSku(sku), units, 0)
    return Order(
        id=id,
        channel=port.channel.id,
        marketplace=None,
        external_id=number,
        status=OrderStatus.UNSHIPPED,
        channel_status="UNFULFILLED",
        fulfilled_by=FulfilledBy.MERCHANT,
        placed_at=placed_at,
        updated_at=updated_at or placed_at,
        lines=[line],
    )


def make_listing(port: FakePort, sku: str, external_id: str | None = None) -> Listing:
    """A listing as a port tells it: not yet mapped."""
    return Listing(
        id=listing_id(port.channel.id, None, ChannelSku(sku)),
        channel=port.channel.id,
        marketplace=None,
        channel_sku=ChannelSku(sku),
        external_id=external_id or f"X-{sku}",
        status="ACTIVE",
        fulfilled_by=FulfilledBy.MERCHANT,
        as_of=datetime.now(UTC),
        title=f"Title of {sku}",
    )


def make_reading(port: FakePort, sku: str, on_hand: int) -> Reading:
    """What the warehouse BER holds."""
    return Reading(LocationCode("BER"), port.channel.id, ChannelSku(sku), on_hand, 0, 0, datetime.now(UTC))


def make_warehouse(port: FakePort) -> Location:
    """The warehouse BER, counted by this channel."""
    return Location(LocationCode("BER"), "Berlin", LocationKind.WAREHOUSE, port.channel.id, "BER")


def make_rejected(port: FakePort, what: str) -> Rejected:
    """Something that the adapter did not understand."""
    return Rejected(port.channel.id, what, "K-1", "unknown word", "{}")

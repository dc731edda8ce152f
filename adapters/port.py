"""What every platform can be asked, and the values it answers in.

One `Port` is one channel. A port knows its platform's wire, limits and quirks; it spends the budget of each call it makes, puts
the call on `ask.bill`, and turns every failure into the tree of `domain.errors`. It keeps nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from domain.budget import Ask, Plan
from domain.channel import Channel, Location, StreamName
from domain.errors import HouseError
from domain.ids import ChannelSku
from domain.order import Order
from domain.product import Listing, Rejected
from domain.route import Route, Way
from domain.stock import Reading

T = TypeVar("T")

# How many calls for stock are under way at a time where one read takes several.
ABREAST = 4


@dataclass(slots=True)
class Page(Generic[T]):
    """Part of a synchronization. `rejected` is what could not be understood; `until` is the instant up to which everything has
    been told once this page is kept (on the last page at the latest); `expected` is the total, where the platform says it."""

    items: list[T]
    rejected: list[Rejected] = field(default_factory=list)
    until: datetime | None = None
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class StockKey:
    """One SKU to ask stock for, with the listing's `refs`, as a hashable tuple of pairs."""

    channel_sku: ChannelSku
    refs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class OrderKey:
    """What a call about one order needs."""

    external_id: str
    marketplace: str | None
    refs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A parcel to be confirmed. `reference` is a positive number of ours, the same at every attempt; `lines` are
    (the channel's order line id, units). `carrier` is our name of it (domain.carrier), `service` the carrier's own."""

    reference: str
    carrier: str
    tracking_number: str
    shipped_at: datetime
    lines: tuple[tuple[str, int], ...]
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The platform took a write. `reference` is its own name for what was made, where it gives one."""

    upstream_request_id: str | None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a read-back of a parcel found: the whole parcel as sent, or not (yet) all of it; `partly` says that some is there.

    `order` is the order as it was read, lines unmapped, so that one call answers both questions; None where the platform sent
    one that we do not understand.
    """

    found: bool
    upstream_request_id: str | None = None
    order: Order | None = None
    partly: bool = False


@dataclass(frozen=True, slots=True)
class ShownKey:
    """One number that a channel shows its buyers: of a SKU at one of the channel's own places (`place` is "" where the channel
    knows none), with the listing's `refs` as a hashable tuple of pairs."""

    channel_sku: ChannelSku
    place: str = ""
    refs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class StockWrite:
    """A number to be shown. `expected` is what we believe is shown now (None: write whatever is there); channels that can
    compare refuse with OtherNumber. `reference` is ours, the same at each attempt and never used for another write."""

    key: ShownKey
    quantity: int
    expected: int | None
    reference: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What the channel shows now; None where it does not offer the SKU there. `as_of` is taken before asking."""

    key: ShownKey
    quantity: int | None
    as_of: datetime
    upstream_request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Warned:
    """What stands in the way of selling although the channel answers, and what to do about it: two sentences for people."""

    found: str
    do: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The credentials hold. `said` is a sentence for people."""

    said: str
    warnings: tuple[Warned, ...] = ()


class Port(Protocol):
    """One channel's platform. Methods raise Throttled, Transient, Unauthorized and Refused; writes also OutcomeUnknown.

    `stock_call` is what `stock` is called on the bill, and how many tokens of `stock_plan` it takes.
    `every` is how often each stream of it runs unless configured otherwise; `leads` says that its titles and costs win over those
    of platforms that do not lead.
    """

    channel: Channel
    plans: Mapping[str, Plan]
    stock_plan: Plan
    stock_call: tuple[str, float]
    stock_batch: int
    visibility_lag_s: float
    every: Mapping[StreamName, timedelta]
    leads: bool
    tell_batch: int
    shown_batch: int

    def stock_groups(self, locations: Sequence[Location]) -> list[list[Location]]:
        """`locations` of this channel, put together as one call answers them: all of a shop's, each FBA pool alone."""
        ...

    async def stock(self, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
        """Readings of one group for at most `stock_batch` keys, in one upstream call.

        Exactly one reading per location and key: zeros where the platform holds none of a SKU. `as_of` is taken before asking.
        """
        ...

    def stock_pages(
        self, locations: Sequence[Location], ask: Ask, way: Way = Way.PAGES
    ) -> AsyncIterator[Page[Reading]]:
        """Every reading of one group: the full sweep, by one of the ways of `stock_routes` that tell all there is."""
        ...

    async def stock_routes(self, locations: Sequence[Location], keys: int | None, known: int) -> list[Route]:
        """The ways to read one group, each with its calls: so many `keys` (None: all there is) where `known` SKUs are. Asks
        nothing of the platform."""
        ...

    def listing_pages(self, since: datetime | None, ask: Ask) -> AsyncIterator[Page[Listing]]:
        """Listings changed since then, or all; `Listing.sku` is left None for the caller to map."""
        ...

    def order_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        """Orders changed since then, oldest change first where the platform can; `OrderLine.sku` is left None to map."""
        ...

    async def order(self, key: OrderKey, ask: Ask) -> Order:
        """One order as it stands now. Raises NotFound; Transient for one that we do not understand (yet)."""
        ...

    async def confirm_shipment(self, key: OrderKey, parcel: Parcel, ask: Ask, before_send: BeforeSend) -> Receipt:
        """Tell the channel that the parcel is on its way. Taken is not yet visible.

        `before_send` is awaited after the budget is paid and right before each request that changes something leaves the house;
        when it raises, nothing has been sent. What is already there (same parcel) is not sent again. Where one parcel takes
        several requests, only a refusal or OutcomeUnknown is raised after the first: the other failures say that nothing was
        changed.
        """
        ...

    async def parcel_seen(self, key: OrderKey, parcel: Parcel, ask: Ask) -> Sighting:
        """Read the order back and look for the whole parcel."""
        ...

    async def tell_stock(
        self, writes: Sequence[StockWrite], ask: Ask, before_send: BeforeSend
    ) -> list[Receipt | HouseError]:
        """Show these numbers: at most `tell_batch`, in one upstream call; one answer per write, in their order.

        Absolute numbers, so that a repeat does no harm. `before_send` as in `confirm_shipment`. A failure of the whole call is
        raised; that of one write (Refused, OtherNumber, Transient) stands in its place. Taken is not yet visible.
        """
        ...

    async def shown_stock(self, keys: Sequence[ShownKey], ask: Ask) -> list[Shown]:
        """What is shown now, for at most `shown_batch` keys in one upstream call: exactly one answer per key."""
        ...

    def shown_pages(self, places: Sequence[str], ask: Ask) -> AsyncIterator[Page[Shown]]:
        """Everything that the channel shows of offers that we fulfill ourselves: the full sweep. `places` are the channel's own
        names of the places that are ours to show, [""] where it knows none. `refs` of the keys may be left empty."""
        ...

    async def check(self, ask: Ask) -> Checked:
        """Prove the credentials with one cheap read, and tell what it shows to be wrong."""
        ...


class BeforeSend(Protocol):
    """Makes the intent durable; raises when the caller may no longer send."""

    async def __call__(self) -> None: ...

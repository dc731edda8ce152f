"""What all requests of one process share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from adapters.budget import Budgets
from adapters.fulfillment import LabelShop
from adapters.outside import Guard
from adapters.port import Port
from domain.channel import Channel, Location
from domain.chart import Chart, built_in
from domain.event import Event, EventKind
from domain.ids import ChannelId
from domain.mapping import FieldMap
from domain.operation import Capability
from domain.target import Reach
from resolvers.followed import Followed
from resolvers.live import LiveStock
from resolvers.stock_cache import StockCache
from store.keyring import Keyring
from store.session import Store


class Events(Protocol):
    """The event log as a subscriber follows it."""

    @property
    def place(self) -> int | None:
        """The last event that subscribers were given; None at first."""
        ...

    async def head(self) -> int:
        """The place of the newest event there is."""
        ...

    def follow(
        self, *, kinds: frozenset[EventKind], subjects: frozenset[str] | None, after: int | None
    ) -> AsyncGenerator[Event, None]:
        """Events after the place `after`, or from now on; gap-free, each once."""
        ...


class Bell(Protocol):
    """Wakes the lane of (channel, capability). A lost ring costs a sweep, never the work."""

    async def ring(self, channel: ChannelId, capability: Capability) -> None: ...


@dataclass(frozen=True, slots=True)
class Shelf:
    """What all requests of one process share. `past` are the channels that were ever configured, as they were last.
    `stock_max_age` is meant where a query names none, `safety_stock` where no rule does. `ring` closes new secrets, `guard`
    judges addresses that are to be told of events. Refunds of more than `refund_approval`, by currency, want a second person.
    Journals are booked on the accounts of `chart`."""

    store: Store
    channels: Mapping[ChannelId, Channel]
    ports: Mapping[ChannelId, Port]
    budgets: Budgets
    live: LiveStock
    bell: Bell
    events: Events
    clock: Callable[[], datetime]
    stock_cache: StockCache
    followed: Followed = field(default_factory=Followed)
    locations: Sequence[Location] = ()
    safety_stock: int = 0
    stock_max_age: timedelta = timedelta(minutes=5)
    ring: Keyring = field(default_factory=Keyring)
    guard: Guard = field(default_factory=lambda: Guard(Reach()))
    field_map: FieldMap = field(default_factory=FieldMap)
    label_shops: Mapping[ChannelId, LabelShop] = field(default_factory=dict)
    refund_approval: Mapping[str, Decimal] = field(default_factory=dict)
    past: Mapping[ChannelId, Channel] = field(default_factory=dict)
    chart: Chart = field(default_factory=lambda: built_in("general"))

"""What every worker is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from redis.asyncio import Redis

from adapters.fulfillment import LabelShop
from adapters.notices import Source, Subscriptions
from adapters.port import Port
from adapters.route import Routes
from adapters.transport import Transport
from domain.channel import Channel, Location, StreamName
from domain.feed import FeedOut
from domain.ids import ChannelId
from domain.mapping import FieldMap
from domain.outbound_request import FbaRule
from domain.product import SkuMap
from domain.retention import TRANSIT
from domain.target import Reach
from store.keyring import Keyring
from store.market import Terms
from store.session import Store


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things may take, in seconds. The order matters: waiting for budget and one request end within a lease."""

    lease_s: float = 15.0
    # A write that has no slot by then goes back to its row.
    budget_wait_s: float = 5.0
    # A platform may still carry out a request whose connection is gone: its own timeout.
    settle_s: float = 10.0
    # An accepted write that nobody has seen live by then wants a person.
    unseen_s: float = 3600.0
    pause_s: float = 60.0
    sweep_s: float = 1.0
    relay_s: float = 0.1
    stream_lease_s: float = 60.0
    # A loop that shows no life for so long takes its process with it.
    stall_s: float = 60.0
    # What an orderly stop waits for.
    finish_s: float = 20.0


@dataclass(frozen=True, slots=True)
class WebhookTerms:
    """Which addresses may be told of events, what calls itself the source of them, and for how long deliveries are kept."""

    reach: Reach = field(default_factory=Reach)
    source: str = "/acorn"
    days: int = 30


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """When prices are worked out anew: `every` so often, and for what others do not before a listing has rested for `rest`.

    Channels are asked for their market `with_rules` only, `always` or `never`: for fees and for offers by their terms. Rates of
    exchange are fetched from `rates_url`; None: they are not. What became of prices is kept for `history_months`.
    """

    every: timedelta = timedelta(minutes=15)
    rest: timedelta = timedelta(minutes=30)
    ask_market: Literal["with_rules", "always", "never"] = "with_rules"
    fees: Terms = field(default_factory=lambda: Terms(timedelta(days=7), Decimal(5)))
    offers: Terms = field(default_factory=lambda: Terms(timedelta(hours=4)))
    rates_url: str | None = None
    history_months: int = 25


@dataclass(frozen=True, slots=True)
class Deps:
    """What every worker of one process shares. `intervals` are those of streams that differ from the defaults; `safety_stock`
    holds where no rule does; `feeds` are told of every change of stock; calls to platforms are kept for `call_months`.
    `sources` are where notifications come from, `subscriptions` what channels should be told; `ring` opens and
    closes secrets; `webhooks` are the terms of outgoing ones; parcels of which nobody tells the delivery travel for
    `transit`; labels are bought in `label_shops`;
    `fba` are the rules of shops whose orders pools may ship; rates of exchange are fetched by `transport`."""

    store: Store
    ports: Mapping[ChannelId, Port]
    channels: Mapping[ChannelId, Channel]
    locations: Sequence[Location]
    sku_map: SkuMap
    redis: Redis
    clock: Callable[[], datetime]
    worker: str
    routes: Routes
    field_map: FieldMap = field(default_factory=FieldMap)
    intervals: Mapping[tuple[ChannelId, StreamName], timedelta] = field(default_factory=dict)
    safety_stock: int = 0
    feeds: Sequence[FeedOut] = ()
    call_months: int = 12
    sources: Sequence[Source] = ()
    subscriptions: Mapping[ChannelId, Subscriptions] = field(default_factory=dict)
    ring: Keyring = field(default_factory=Keyring)
    webhooks: WebhookTerms = WebhookTerms()
    fba: Mapping[ChannelId, FbaRule] = field(default_factory=dict)
    label_shops: Mapping[ChannelId, LabelShop] = field(default_factory=dict)
    transit: timedelta = TRANSIT
    prices: PriceTerms = field(default_factory=PriceTerms)
    transport: Transport | None = None
    timing: Timing = Timing()

"""The house, put together: the only place that names a platform and builds one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from adapters.amazon.config import AmazonConfig
from adapters.amazon.consent import AmazonConsent
from adapters.amazon.platform import AmazonPort
from adapters.budget import Budgets
from adapters.call_log import CallLog
from adapters.carrier.labels import CarrierLabels
from adapters.consent import Consent
from adapters.fulfillment import LabelShop
from adapters.port import Port
from adapters.rest.client import RestClient
from adapters.rest.config import RestConfig
from adapters.rest.platform import RestPort
from adapters.shopify.config import Kind, ShopifyConfig
from adapters.shopify.consent import ShopifyConsent
from adapters.shopify.platform import ShopifyPort
from adapters.shopify.scopes import ASKED
from adapters.tokens import TokenStore
from adapters.transport import Transport
from adapters.vault import Vault
from domain.channel import Channel, Location, Platform, StreamName
from domain.chart import Chart
from domain.errors import Invalid
from domain.feed import FeedIn, FeedOut
from domain.ids import ChannelId
from domain.mapping import FieldMap
from domain.outbound_request import FbaRule
from domain.product import SkuMap
from domain.target import Reach
from domain.tracking import TrackingSource
from gateway import metrics
from gateway.config import Config, read_config
from gateway.entries import AmazonEntry, RestEntry, ShopifyEntry
from gateway.notices import Notices
from gateway.notices import build as build_notices
from gateway.settings import Settings
from store.budget import BudgetMemory
from store.exchange import ExchangeLog
from store.grant import Grants
from store.keyring import Keyring
from store.session import Store
from workers.deps import PriceTerms, WebhookTerms

if TYPE_CHECKING:
    from gateway.tracing import Tracing  # it needs what is not always installed


@dataclass(slots=True)
class House:
    """What a process works with, gateway and worker alike. `intervals` are those of streams that differ from the defaults."""

    settings: Settings
    channels: dict[ChannelId, Channel]
    ports: dict[ChannelId, Port]
    locations: list[Location]
    sku_map: SkuMap
    field_map: FieldMap
    store: Store
    redis: Redis
    budgets: Budgets
    transport: Transport
    safety_stock: int
    stock_max_age: timedelta
    refund_approval: dict[str, Decimal]
    transit: timedelta
    prices: PriceTerms
    chart: Chart
    feeds_in: list[FeedIn]
    feeds_out: list[FeedOut]
    tracking_in: list[TrackingSource]
    intervals: dict[tuple[ChannelId, StreamName], timedelta]
    ring: Keyring
    consents: dict[ChannelId, Consent]
    notices: Notices
    label_shops: dict[ChannelId, LabelShop] = field(default_factory=dict)
    fba: dict[ChannelId, FbaRule] = field(default_factory=dict)
    tracing: Tracing | None = None
    _closing: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def close(self) -> None:
        """Give back every connection."""
        await self._closing.aclose()


def redis_client(url: str) -> Redis:
    """A client for short commands. A consumer that blocks on purpose needs one of its own, without `socket_timeout`."""
    client: Redis = Redis.from_url(
        url,
        socket_timeout=2,
        socket_connect_timeout=2,
        health_check_interval=15,
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError],
        # A connection to a socket in the file system knows no keep-alive and refuses the word.
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    )
    return client


async def build_house(settings: Settings, config: Config | None = None, *, log_calls: bool = True) -> House:
    """Put the house together; nothing is asked of anybody yet. Raises ConfigError. Close it at the end.

    Without `log_calls` it leaves no trace in the log of calls, which may not be there yet.
    """
    config = config or read_config(settings.config)
    _check_buyers(config, settings)
    closing = AsyncExitStack()
    store = Store(settings.database_url.get_secret_value(), pool_size=settings.database_pool)
    closing.push_async_callback(store.close)
    redis = redis_client(settings.redis_url.get_secret_value())
    closing.push_async_callback(_close_redis(redis))
    tracing = tracing_of(settings)
    if tracing is not None:
        closing.push_async_callback(tracing.close)
    calls = CallLog(ExchangeLog(store).keep, bodies=settings.call_bodies)
    metrics.CALLS_UNLOGGED.set_function(lambda: calls.dropped)
    closing.push_async_callback(calls.settle)
    transport = Transport(watch=None if tracing is None else tracing.upstream, hear=calls.hear if log_calls else None)
    closing.push_async_callback(transport.close)
    budgets = Budgets(redis, BudgetMemory(store))
    closing.push_async_callback(budgets.settle)
    tokens = TokenStore(redis)
    closing.push_async_callback(tokens.settle)
    ring = keyring(settings)
    grants = Grants(store, ring)
    try:
        ports = build_ports(config, transport, tokens, budgets, grants)
        notices = build_notices(config, ports)
        label_shops = build_label_shops(config, ports, transport, tokens, budgets)
    except BaseException:
        await closing.aclose()
        raise
    return House(
        settings=settings,
        channels={one.channel.id: one.channel for one in ports.values()},
        ports=ports,
        locations=config.locations,
        sku_map=config.sku_map,
        field_map=config.field_map,
        store=store,
        redis=redis,
        budgets=budgets,
        transport=transport,
        safety_stock=config.file.stock.safety_stock,
        stock_max_age=config.file.stock.max_age,
        refund_approval=config.file.orders.refund_approval,
        transit=config.file.orders.transit,
        prices=config.file.prices.terms(),
        chart=config.chart,
        feeds_in=[one.feed() for one in config.file.feeds_in],
        feeds_out=[one.feed() for one in config.file.feeds_out],
        tracking_in=[one.tracking() for one in config.file.tracking_in],
        intervals=config.intervals,
        ring=ring,
        notices=notices,
        consents=build_consents(config, transport, grants),
        fba=config.fba,
        label_shops=label_shops,
        tracing=tracing,
        _closing=closing,
    )


def _check_buyers(config: Config, settings: Settings) -> None:
    """Raises ConfigError where buyers are to be kept and there is no key to seal them with."""
    for index, entry in enumerate(config.file.channels):
        if entry.buyers and not settings.keys:
            words = (
                f"`buyers` of {entry.id} needs ACORN_KEYS, under which buyers are encrypted. Make a key with "
                "`acorn channels new-key` and put it into the environment of every process, or take `buyers` out."
            )
            raise config.problem(("channels", index, "buyers"), words)


def tracing_of(settings: Settings) -> Tracing | None:
    """What tells of operations and upstream calls; None where nobody is to be told."""
    if settings.tracing == "off":
        return None
    from gateway.tracing import Tracing

    return Tracing.to_collector(settings)


def keyring(settings: Settings) -> Keyring:
    """What opens the consents that are kept."""
    return Keyring([one.get_secret_value() for one in settings.keys])


def webhook_terms(settings: Settings) -> WebhookTerms:
    """On which terms events are told to others."""
    reach = Reach(
        ports=frozenset(map(int, settings.webhook_ports)),
        private=frozenset(settings.webhook_private_hosts),
        loopback=settings.webhook_loopback,
    )
    return WebhookTerms(reach, settings.webhook_source, settings.webhook_days)


def build_ports(
    config: Config, transport: Transport, tokens: TokenStore, budgets: Budgets, vault: Vault
) -> dict[ChannelId, Port]:
    """A port for each channel. What a platform finds wrong with its own entry is told with the entry's line."""
    ports: dict[ChannelId, Port] = {}
    for index, entry in enumerate(config.file.channels):
        try:
            match entry:
                case AmazonEntry():
                    port: Port = AmazonPort(amazon_config(entry), transport, tokens, budgets, vault)
                case ShopifyEntry():
                    port = ShopifyPort(shopify_config(entry), transport, tokens, budgets, vault)
                case RestEntry():
                    port = RestPort(rest_config(entry), transport, tokens, budgets)
        except Invalid as problem:
            raise config.problem(("channels", index), problem.message) from None
        ports[port.channel.id] = port
    return ports


# How long a carrier may be at a purchase whose connection is gone, in seconds.
CARRIER_LAG_S = 5.0


def build_label_shops(
    config: Config, ports: Mapping[ChannelId, Port], transport: Transport, tokens: TokenStore, budgets: Budgets
) -> dict[ChannelId, LabelShop]:
    """Who sells labels: Amazon's accounts for their own orders, and the carriers for all. What is wrong with a carrier's entry is
    told with its line."""
    shops: dict[ChannelId, LabelShop] = {}
    for port in ports.values():
        if isinstance(port, AmazonPort):
            channel, lag_s = port.channel, port.visibility_lag_s
            shops[channel.id] = LabelShop(channel.id, channel.name, port.merchant_labels, own=True, lag_s=lag_s)
    for index, entry in enumerate(config.file.carriers):
        id = ChannelId(entry.id)
        try:
            # Its HTTP is that of self-built shops.
            spoken = RestConfig(
                Channel(id, Platform.REST, entry.name, sandbox=False), entry.url, entry.token.get_secret_value()
            )
        except Invalid as problem:
            raise config.problem(("carriers", index), problem.message) from None
        labels = CarrierLabels(RestClient(spoken, transport, tokens, budgets))
        shops[id] = LabelShop(id, entry.name, labels, own=False, lag_s=CARRIER_LAG_S)
    return shops


def build_consents(config: Config, transport: Transport, vault: Vault) -> dict[ChannelId, Consent]:
    """Who can be asked for a consent, or given a token: all but those that need neither."""
    found: list[Consent] = []
    for entry in config.file.channels:
        if isinstance(entry, AmazonEntry):
            found.append(AmazonConsent(amazon_config(entry), transport, vault))
        elif isinstance(entry, ShopifyEntry):
            shop = shopify_config(entry)
            if shop.kind is not Kind.CLIENT_CREDENTIALS:
                found.append(ShopifyConsent(shop, transport, vault))
    return {one.channel.id: one for one in found}


def amazon_config(entry: AmazonEntry) -> AmazonConfig:
    """As the adapter takes it. Raises Invalid."""
    return AmazonConfig(
        channel=entry.channel(),
        region=entry.region,
        seller_id=entry.seller_id,
        client_id=entry.client_id,
        client_secret=entry.client_secret.get_secret_value(),
        refresh_token=None if entry.refresh_token is None else entry.refresh_token.get_secret_value(),
        application_id=entry.application_id,
        redirect_uri=entry.redirect_uri,
        draft=entry.draft,
        outbound_version=entry.outbound_version,
        visibility_lag_s=entry.visibility_lag.total_seconds(),
        endpoint=entry.endpoint,
        token_endpoint=entry.token_endpoint,
        buyers=entry.buyers,
    )


def shopify_config(entry: ShopifyEntry) -> ShopifyConfig:
    """As the adapter takes it. Raises Invalid."""
    return ShopifyConfig(
        channel=entry.channel(),
        shop=entry.shop,
        access_token=None if entry.access_token is None else entry.access_token.get_secret_value(),
        client_id=entry.client_id,
        client_secret=None if entry.client_secret is None else entry.client_secret.get_secret_value(),
        api_version=entry.api_version,
        visibility_lag_s=entry.visibility_lag.total_seconds(),
        endpoint=entry.endpoint,
        grant=None if entry.grant is None else Kind(entry.grant),
        redirect_uri=entry.redirect_uri,
        scopes=entry.scopes or ASKED,
        buyers=entry.buyers,
    )


def rest_config(entry: RestEntry) -> RestConfig:
    """As the adapter takes it. Raises Invalid."""
    return RestConfig(
        channel=entry.channel(),
        url=entry.url,
        token=None if entry.token is None else entry.token.get_secret_value(),
        client_id=entry.client_id,
        client_secret=None if entry.client_secret is None else entry.client_secret.get_secret_value(),
        visibility_lag_s=entry.visibility_lag.total_seconds(),
        endpoint=entry.endpoint,
        buyers=entry.buyers,
    )


def _close_redis(redis: Redis) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        await redis.aclose(close_connection_pool=True)

    return close

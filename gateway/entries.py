"""The tables of `acorn.toml`: what each may say, and what it is to the house."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

import isodate
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
)

from domain.address import Address as PostalAddress
from domain.channel import LEDGER, Channel, Location, LocationKind, Platform
from domain.errors import Invalid
from domain.feed import FeedIn, FeedOut, secret_bytes
from domain.ids import ChannelId, LocationCode
from domain.mapping import FieldRule
from domain.payment_fee import PaymentFee, read_payment_fee
from domain.retention import TRANSIT
from domain.tracking import TrackingSource
from gateway.settings import unread_on_the_way
from store.market import Terms
from workers.deps import PriceTerms

ID = r"^[a-z0-9][a-z0-9-]{0,62}$"


def _duration(value: Any) -> timedelta:
    """ISO 8601, positive, of fixed length."""
    try:
        read = isodate.parse_duration(value)
    except (ValueError, TypeError, OverflowError):
        read = None
    # isodate takes `PT` for nothing at all.
    if read is None or str(value).endswith("T"):
        raise ValueError("write a duration such as PT5M (five minutes) or PT6H")
    if not isinstance(read, timedelta) or read < timedelta(0):
        raise ValueError("write a positive duration without months or years, such as PT5M")
    return read


def _resolved(value: Any, info: ValidationInfo) -> Any:
    """`env:NAME` is the value of NAME in the environment or in `.env`."""
    if not isinstance(value, str) or not value.startswith("env:"):
        return value
    name = value.removeprefix("env:")
    found = (info.context or {}).get(name)
    if not found:
        raise ValueError(f"{name} is not set; put it into the environment or into .env")
    return found


def _signing(value: Any, info: ValidationInfo) -> Any:
    """A secret of Standard Webhooks."""
    resolved = _resolved(value, info)
    if isinstance(resolved, str):
        secret_bytes(resolved)
    return resolved


def _unguessed(value: Any, info: ValidationInfo) -> Any:
    """A key that opens by itself."""
    resolved = _resolved(value, info)
    if isinstance(resolved, str) and len(resolved) < 32:
        raise ValueError("write at least 32 characters that nobody guesses")
    return resolved


def _payment_fee(value: Any) -> PaymentFee:
    """What a payment provider takes, as people write it."""
    if not isinstance(value, str):
        raise ValueError("write a text such as `2.9 % + 0.30`")
    try:
        return read_payment_fee(value)
    except Invalid as problem:
        raise ValueError(problem.message.rstrip(".")) from None


def _zone(value: str) -> str:
    """A zone of time by its name."""
    if value not in available_timezones():
        raise ValueError("write a name of the IANA's time zones, such as Europe/Berlin")
    return value


def _address(value: str) -> str:
    """Where a feed goes: nobody on the way may read it."""
    if not unread_on_the_way(value):
        raise ValueError("write an address that begins with https://; http:// is for this machine alone")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Text = Annotated[str, Field(min_length=1), BeforeValidator(_resolved)]
Secret = Annotated[SecretStr, Field(min_length=1), BeforeValidator(_resolved)]
WebhookKey = Annotated[SecretStr, BeforeValidator(_unguessed)]
SigningSecret = Annotated[SecretStr, BeforeValidator(_signing)]
Address = Annotated[Text, AfterValidator(_address)]
Zone = Annotated[str, AfterValidator(_zone)]
Fee = Annotated[PaymentFee, BeforeValidator(_payment_fee)]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


class Entry(BaseModel):
    """A table of the file; a key that we do not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StockEntry(Entry):
    safety_stock: int = Field(default=0, ge=0)
    max_age: Duration = timedelta(minutes=5)


class OrdersEntry(Entry):
    refund_approval: dict[Annotated[str, Field(pattern=r"^[A-Z]{3}$")], Annotated[Decimal, Field(ge=0)]] = {}
    transit: Duration = TRANSIT


class PricesEntry(Entry):
    """What prices are made of and when they are worked out anew; see docs/prices.md."""

    every: Duration = timedelta(minutes=15)
    rest: Duration = timedelta(minutes=30)
    ask_market: Literal["with_rules", "always", "never"] = "with_rules"
    fees_age: Duration = timedelta(days=7)
    fees_moved: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(5)
    offers_age: Duration = timedelta(hours=4)
    rates_url: Address | None = None
    history_months: Annotated[int, Field(ge=1, le=240)] = 25

    def terms(self) -> PriceTerms:
        """As workers take it."""
        return PriceTerms(
            every=self.every,
            rest=self.rest,
            ask_market=self.ask_market,
            fees=Terms(self.fees_age, self.fees_moved),
            offers=Terms(self.offers_age),
            rates_url=self.rates_url,
            history_months=self.history_months,
        )


class JournalsEntry(Entry):
    """How settlements are booked; see docs/finance.md. `chart` is one of ours, or a file beside this one."""

    chart: Text = "general"


class StreamsEntry(Entry):
    """How often each stream runs, where it differs from the default."""

    listings: Duration | None = None
    stock: Duration | None = None
    orders: Duration | None = None
    shown: Duration | None = None
    returns: Duration | None = None
    settlements: Duration | None = None
    transactions: Duration | None = None
    payouts: Duration | None = None
    notifications: Duration | None = None


class PoolEntry(Entry):
    """An FBA pool: units that several marketplaces report and that count once."""

    code: str = Field(pattern=ID)
    name: str = Field(min_length=1)
    marketplaces: tuple[Country, ...] = Field(min_length=1)
    shown: dict[str, Text] = {}


class ChannelEntry(Entry):
    id: str = Field(pattern=ID)
    name: str = Field(min_length=1)
    sandbox: bool = False
    endpoint: Text | None = None
    visibility_lag: Duration = timedelta(minutes=2)
    buyers: bool = False
    streams: StreamsEntry = StreamsEntry()


class NotificationsEntry(Entry):
    """What Amazon tells of its own accord: to a queue of SQS, and over EventBridge to our webhook."""

    queue_url: Text | None = None
    queue_arn: Text | None = None
    region: Text | None = None
    endpoint: Text | None = None
    access_key_id: Text | None = None
    secret_access_key: Secret | None = None
    event_bus_account: Annotated[str, Field(pattern=r"^[0-9]{12}$")] | None = None
    event_bus_region: Text | None = None
    webhook_key: WebhookKey | None = None
    previous_webhook_key: WebhookKey | None = None
    types: tuple[Annotated[str, Field(pattern=r"^[A-Z0-9_]+$")], ...] = ()


class AmazonEntry(ChannelEntry):
    """One selling account in one region."""

    platform: Literal["amazon"]
    region: Literal["na", "eu", "fe"]
    marketplaces: tuple[Country, ...] = Field(min_length=1)
    seller_id: Text
    client_id: Text
    client_secret: Secret
    refresh_token: Secret | None = None
    application_id: Text | None = None
    redirect_uri: Address | None = None
    draft: bool = False
    outbound_version: Literal["2020-07-01", "2026-07-04"] = "2020-07-01"
    token_endpoint: Text | None = None
    notifications: NotificationsEntry = NotificationsEntry()
    pools: tuple[PoolEntry, ...] = ()

    def channel(self) -> Channel:
        """As the house knows it."""
        return Channel(
            ChannelId(self.id), Platform.AMAZON, self.name, self.sandbox, self.marketplaces, buyers=self.buyers
        )

    def locations(self) -> list[Location]:
        """The pools as named, and one of its own for each other marketplace. A pool is asked through its first marketplace."""
        named = {code for pool in self.pools for code in pool.marketplaces}
        own = tuple(
            PoolEntry(code=f"fba-{code.lower()}", name=f"FBA {code}", marketplaces=(code,))
            for code in self.marketplaces
            if code not in named
        )
        return [
            Location(
                code=LocationCode(pool.code),
                name=pool.name,
                kind=LocationKind.FBA,
                keeper=ChannelId(self.id),
                external_id=pool.marketplaces[0],
                marketplaces=pool.marketplaces,
                shown=_channels(pool.shown),
            )
            for pool in (*self.pools, *own)
        ]


class ShipFromFbaEntry(Entry):
    """What pool ships a shop's orders that no own place can ship whole."""

    pool: str
    approval: bool = True
    speed: Literal["STANDARD", "EXPEDITED", "PRIORITY"] = "STANDARD"


class ShopifyEntry(ChannelEntry):
    """One shop, and how access tokens for it are come by: `grant`, or what the credentials that are given speak for."""

    platform: Literal["shopify"]
    shop: Text
    time_zone: Zone = "UTC"
    grant: Literal["token", "client_credentials", "expiring", "lasting"] | None = None
    access_token: Secret | None = None
    client_id: Text | None = None
    client_secret: Secret | None = None
    redirect_uri: Address | None = None
    scopes: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z_]+$")], ...], Field(min_length=1)] | None = None
    api_version: str = "2026-07"
    webhook_url: Address | None = None
    webhook_topics: tuple[Annotated[str, Field(pattern=r"^[A-Z_]+$")], ...] = ()
    previous_client_secret: Secret | None = None
    client_secret_since: AwareDatetime | None = None
    ship_from_fba: ShipFromFbaEntry | None = None
    payment_fee: Fee | None = None

    def channel(self) -> Channel:
        """As the house knows it."""
        return Channel(
            ChannelId(self.id),
            Platform.SHOPIFY,
            self.name,
            self.sandbox,
            time_zone=self.time_zone,
            buyers=self.buyers,
            payment_fee=self.payment_fee,
        )


class RestEntry(ChannelEntry):
    """A self-built shop that meets docs/rest/openapi.yaml, with a token or with a client id and secret."""

    platform: Literal["rest"]
    url: Address
    time_zone: Zone = "UTC"
    token: Secret | None = None
    client_id: Text | None = None
    client_secret: Secret | None = None
    webhook_url: Address | None = None
    webhook_secret: SigningSecret | None = None
    previous_webhook_secret: SigningSecret | None = None
    ship_from_fba: ShipFromFbaEntry | None = None
    payment_fee: Fee | None = None

    def channel(self) -> Channel:
        """As the house knows it."""
        return Channel(
            ChannelId(self.id),
            Platform.REST,
            self.name,
            self.sandbox,
            time_zone=self.time_zone,
            buyers=self.buyers,
            payment_fee=self.payment_fee,
        )

    def webhook_keys(self) -> tuple[bytes, ...]:
        """What signs the shop's deliveries, the newest first; empty where it delivers none."""
        secrets = (self.webhook_secret, self.previous_webhook_secret)
        return tuple(secret_bytes(one.get_secret_value()) for one in secrets if one is not None)


# Channels that know places, and count or show units at each.
SHOPS = (ShopifyEntry, RestEntry)


class AddressEntry(Entry):
    """Where parcels are sent from: what carriers want to know of it."""

    name: str = Field(min_length=1)
    line1: str = Field(min_length=1)
    line2: str = ""
    city: str = Field(min_length=1)
    region: str = ""
    postal_code: str = Field(min_length=1)
    country: str = Field(pattern="^[A-Z]{2}$")
    phone: str = ""
    email: str = ""

    def address(self) -> PostalAddress:
        """As the house knows it. Raises Invalid."""
        return PostalAddress(**self.model_dump(exclude={"region"}), state=self.region)


class LocationEntry(Entry):
    """An own place: counted by our ledger, or by a storefront."""

    code: str = Field(min_length=1, max_length=63)
    name: str = Field(min_length=1)
    kind: Literal["WAREHOUSE", "THIRD_PARTY", "STORE"] = "WAREHOUSE"
    keeper: str
    external_id: Text | None = None
    shown: dict[str, Text] = {}
    opens_from: str | None = None
    sells_to: tuple[str, ...] | None = None
    address: AddressEntry | None = None
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None

    @property
    def ours(self) -> bool:
        """Whether the ledger counts here."""
        return self.keeper == LEDGER

    def location(self) -> Location:
        """As the house knows it."""
        return Location(
            code=LocationCode(self.code),
            name=self.name,
            kind=LocationKind(self.kind),
            keeper=ChannelId(self.keeper),
            external_id=self.external_id or "",
            shown=_channels(self.shown),
            opens_from=None if self.opens_from is None else ChannelId(self.opens_from),
            sells_to=None if self.sells_to is None else frozenset(map(ChannelId, self.sells_to)),
            address=None if self.address is None else self.address.address(),
            time_zone=self.time_zone,
            latitude=self.latitude,
            longitude=self.longitude,
        )


class CarrierEntry(Entry):
    """Who sells labels by docs/carrier/openapi.yaml, for orders of any channel."""

    id: str = Field(pattern=ID)
    name: str = Field(min_length=1)
    url: Address
    token: Secret


class FeedEntry(Entry):
    """A signed feed, in or out."""

    id: str = Field(pattern=ID)
    secret: SigningSecret
    locations: tuple[str, ...] = ()


class FeedInEntry(FeedEntry):
    """A warehouse's own system that tells us its counts."""

    previous_secret: SigningSecret | None = None
    locations: tuple[str, ...] = Field(min_length=1)

    def feed(self) -> FeedIn:
        """As the house knows it."""
        secrets = [self.secret] + ([] if self.previous_secret is None else [self.previous_secret])
        return FeedIn(
            self.id,
            tuple(secret_bytes(one.get_secret_value()) for one in secrets),
            frozenset(map(LocationCode, self.locations)),
        )


class FeedOutEntry(FeedEntry):
    """Somebody who is told of changes of stock."""

    url: Address
    skus: tuple[Annotated[str, Field(min_length=1)], ...] = ()

    def feed(self) -> FeedOut:
        """As the house knows it."""
        key = secret_bytes(self.secret.get_secret_value())
        return FeedOut(self.id, self.url, key, self.skus, tuple(map(LocationCode, self.locations)))


class TrackingInEntry(FeedEntry):
    """A warehouse's or carrier's system that tells us of parcels. `channels` are those whose orders it may ship."""

    previous_secret: SigningSecret | None = None
    channels: tuple[str, ...] = ()

    def tracking(self) -> TrackingSource:
        """As the house knows it."""
        secrets = [self.secret] + ([] if self.previous_secret is None else [self.previous_secret])
        return TrackingSource(
            self.id,
            tuple(secret_bytes(one.get_secret_value()) for one in secrets),
            frozenset(map(ChannelId, self.channels)) or None,
            frozenset(map(LocationCode, self.locations)) or None,
        )


def _channels(shown: Mapping[str, str]) -> dict[ChannelId, str]:
    return {ChannelId(channel): place for channel, place in shown.items()}


class FieldEntry(Entry):
    """What a channel's field is here: `to` is our name of it, None for what is none of our business."""

    to: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_ ]*$")] | None
    unit: Annotated[str, Field(min_length=1)] | None = None

    def rule(self) -> FieldRule:
        """As the house knows it."""
        return FieldRule(self.to, self.unit)


def _field(value: Any) -> Any:
    """`"Farbe" = "color"` is short for a table with `to`; `false` leaves the field out."""
    if value is False:
        return {"to": None}
    return {"to": value} if isinstance(value, str) else value


class FileEntry(Entry):
    stock: StockEntry = StockEntry()
    orders: OrdersEntry = OrdersEntry()
    prices: PricesEntry = PricesEntry()
    journals: JournalsEntry = JournalsEntry()
    channels: tuple[Annotated[AmazonEntry | ShopifyEntry | RestEntry, Field(discriminator="platform")], ...] = Field(
        min_length=1
    )
    locations: tuple[LocationEntry, ...] = ()
    carriers: tuple[CarrierEntry, ...] = ()
    feeds_in: tuple[FeedInEntry, ...] = ()
    feeds_out: tuple[FeedOutEntry, ...] = ()
    tracking_in: tuple[TrackingInEntry, ...] = ()
    sku_map: dict[str, dict[str, Annotated[str, Field(min_length=1)]]] = {}
    fields: dict[str, dict[str, Annotated[FieldEntry, BeforeValidator(_field)]]] = {}
    words: dict[str, dict[str, tuple[Annotated[str, Field(min_length=1)], ...]]] = {}

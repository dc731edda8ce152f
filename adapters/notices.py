"""What platforms send of their own accord, before it is kept, and where it waits for us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias, runtime_checkable

from adapters.port import OrderKey, Page
from domain.budget import Ask
from domain.hint import Hint
from domain.ids import ChannelId
from domain.order import Order
from domain.privacy import PrivacyRequest
from domain.product import Listing, Rejected


@dataclass(frozen=True, slots=True)
class NewSecret:
    """The new secret of an application, good until `expires_at`; the old one still works until `old_expires_at`. Nobody shows or
    keeps it but in the way of secrets."""

    channel: ChannelId
    client_id: str
    secret: str = field(repr=False)
    expires_at: datetime
    old_expires_at: datetime


Kept: TypeAlias = Hint | Rejected | PrivacyRequest
"""What becomes a row."""
Delivered: TypeAlias = Kept | NewSecret


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a queue; `receipt` is what it is deleted by."""

    receipt: str
    body: bytes


class Mailbox(Protocol):
    """A queue that a platform fills. What was received and not deleted comes again after a while."""

    async def receive(self) -> Sequence[Message]:
        """What has come, a few at a time; waits a while for the first. Raises Transient and Unauthorized."""
        ...

    async def delete(self, messages: Sequence[Message]) -> None:
        """They need not come again. Raises Transient and Unauthorized, and then some may."""
        ...


class Source(Protocol):
    """Where notifications of some channels come from."""

    @property
    def channels(self) -> tuple[ChannelId, ...]:
        """Those whose notifications come here."""
        ...

    def understood(self, raw: bytes) -> Delivered | None:
        """What one message says; None where it says nothing that we act on. Never raises."""
        ...

    def open(self) -> AbstractAsyncContextManager[Mailbox]:
        """The queue, for as long as the block runs."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came to a channel's webhook, as it came; names of headers in small letters."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: datetime


class Webhook(Protocol):
    """How the webhook of one channel is opened, and what comes in by it."""

    @property
    def limit(self) -> int:
        """The most bytes of a body."""
        ...

    def expected(self, headers: Mapping[str, str]) -> bool:
        """Whether the body is worth reading: what proves a sender is there, and where it stands in the headers alone, right."""
        ...

    def proven(self, delivery: Delivery) -> bool:
        """Whether the sender is who it says, in a time that does not depend on how wrong it is, and whether it was sent now."""
        ...

    def understood(self, delivery: Delivery) -> Sequence[Kept]:
        """What a proven delivery says; nothing where we do not act on it. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """A destination or a subscription: how it stands, and whether it was set right. `wrong` is None for one that is as wanted."""

    what: str
    wrong: str | None = None
    mended: bool = False


class Subscriptions(Protocol):
    """What a channel should be told of."""

    async def wrong(self, ask: Ask) -> list[str]:
        """What is not as wanted, in words for people. What a platform ends by itself is made anew first."""
        ...

    async def ensure(self, ask: Ask, *, apply: bool) -> list[Finding]:
        """How each stands; with `apply`, what is missing is made and what is wrong set right. Raises what is refused."""
        ...


@runtime_checkable
class Catalog(Protocol):
    """A port that can be asked for single listings. A hint about a product names them by the second way."""

    listings_batch: int

    async def listings_named(self, by: str, names: Sequence[str], ask: Ask) -> Page[Listing]:
        """The listings of at most `listings_batch` names, in one call for each marketplace: channel SKUs where `by` is "SKU", the
        channel's ids of catalog items where it is "ITEM". `Listing.sku` is left None for the caller to map."""
        ...


@runtime_checkable
class OrderBook(Protocol):
    """A port that can be asked for several orders in one call, for little more than one of them costs."""

    orders_batch: int

    async def orders_named(self, ids: Sequence[str], ask: Ask) -> list[Order]:
        """At most `orders_batch` orders as they stand now, by the channel's ids. What is missing has to be asked for alone:
        `order` says why."""
        ...


@runtime_checkable
class Workshop(Protocol):
    """A port whose hints name work to do in place of the order."""

    async def order_of(self, work: str, ask: Ask) -> OrderKey:
        """Whose work it is. Raises NotFound."""
        ...

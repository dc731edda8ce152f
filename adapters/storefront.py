"""What a storefront can be asked beyond `adapters.port`: what becomes of its orders, and its money.

Each protocol is a capability; a port has those that its platform (and, of a self-built shop, this very shop) can carry out.
Failures are those of the tree in `domain.errors`; writes may raise OutcomeUnknown. `before_send` is as in
`Port.confirm_shipment`. `sent_before` says that an earlier attempt may have reached the platform: then it is looked for first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from adapters.port import BeforeSend, OrderKey, Page, Receipt
from domain.budget import Ask
from domain.errors import Refused
from domain.finance import Transaction
from domain.fulfillment_order import FulfillmentOrder
from domain.payout import Payout
from domain.place import ChannelPlace
from domain.refund import Refund, RefundWanted


@runtime_checkable
class Parcels(Protocol):
    """Mends parcels that have been confirmed. `parcel` is the channel's own id of it (`Shipment.reference`)."""

    async def correct_tracking(
        self, key: OrderKey, parcel: str, carrier: str, tracking_number: str, ask: Ask, before_send: BeforeSend
    ) -> Receipt:
        """Put this carrier and number in the place of those shown. Repeating does no harm."""
        ...

    async def cancel_parcel(self, key: OrderKey, parcel: str, ask: Ask, before_send: BeforeSend) -> Receipt:
        """The parcel was not sent after all: what lay in it is to be shipped again. Repeating does no harm."""
        ...


@runtime_checkable
class Cancels(Protocol):
    """Cancels orders."""

    async def cancel_order(
        self, key: OrderKey, reason: str, ask: Ask, before_send: BeforeSend, *, restock: bool, refund: bool
    ) -> Receipt:
        """Cancel the whole order; `reason` is one of CUSTOMER, FRAUD, INVENTORY, DECLINED, OTHER. Already canceled is fine.

        Raises Refused, saying where the order stands, when it is too late.
        """
        ...


@runtime_checkable
class CancelVerdicts(Protocol):
    """Cancels in its own time, and tells afterwards what it did not carry out."""

    async def cancel_refused(self, key: OrderKey, sent_as: str, ask: Ask) -> Refused | None:
        """Why it was not cancelled, where the platform has come to that; None while it has not. `sent_as` is the `reference` of
        the receipt."""
        ...


@runtime_checkable
class Refunds(Protocol):
    """Gives money back, once per `RefundWanted.reference`, however often it is asked."""

    async def refunds(self, key: OrderKey, ask: Ask) -> list[Refund]:
        """Those that there are, oldest first. Raises NotFound for an order that there is none of; Transient for a refund that we
        do not understand (yet)."""
        ...

    async def refund(
        self,
        key: OrderKey,
        wanted: RefundWanted,
        ask: Ask,
        before_send: BeforeSend,
        *,
        sent_before: bool = False,
    ) -> Receipt:
        """Refund. Raises Refused where more is wanted than was paid, or than is left of a line."""
        ...


@dataclass(frozen=True, slots=True)
class RefundSent:
    """An attempt to refund: when it left at the latest, and the `reference` of its receipt; without one nobody knows whether it
    was taken. `before` is the reference of an attempt before it that came to nothing.

    Equal refunds of one order are told apart one after the other: `taken` are those that others have seen as theirs, and
    `first` says that of those that are still unseen this one was asked for first.
    """

    at: datetime
    sent_as: str | None
    before: str | None = None
    taken: Collection[str] = ()
    first: bool = True


@dataclass(frozen=True, slots=True)
class RefundSight:
    """What has become of it: `shown` is the platform's id of the refund, `refused` why it was not made. Nothing can be told
    before `again_s` seconds have passed. With none of them there is no such refund, and it is not under way."""

    shown: str | None = None
    refused: Refused | None = None
    again_s: float | None = None


@runtime_checkable
class RefundVerdicts(Protocol):
    """Refunds in its own time, and tells afterwards what became of it. Such a platform's `Refunds.refund` looks for nothing by
    itself: it is asked again only when `refund_seen` has told that the attempt before came to nothing."""

    async def refund_seen(self, key: OrderKey, wanted: RefundWanted, sent: RefundSent, ask: Ask) -> RefundSight:
        """What has become of an attempt. Raises OutcomeUnknown where that will never be told."""
        ...


@runtime_checkable
class Payments(Protocol):
    """Tells what buyers paid, whichever provider took it."""

    async def transactions(self, key: OrderKey, ask: Ask) -> Page[Transaction]:
        """All of one order; the totals are what moved, so they add up to what the shop has received. Raises NotFound."""
        ...


@runtime_checkable
class Places(Protocol):
    """Knows its places by itself, so that what is configured about them can be checked."""

    async def places(self, ask: Ask) -> list[ChannelPlace]:
        """All of them, those that are no longer in use too."""
        ...


@runtime_checkable
class Work(Protocol):
    """Tells what each place has to send of an order."""

    async def fulfillment_orders(self, key: OrderKey, ask: Ask) -> list[FulfillmentOrder]:
        """All of one order, in every status. Raises NotFound; Transient while an order's work is still being made."""
        ...

    def fulfillment_order_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[FulfillmentOrder]]:
        """Those of all orders that have changed since then, oldest change first."""
        ...


@runtime_checkable
class Payouts(Protocol):
    """Tells what was paid out, and of which movements it is made."""

    def payout_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Payout]]:
        """Payouts issued since then, oldest first. What cannot be understood is among `rejected`. Raises NotFound where the
        channel makes no payouts at all."""
        ...

    def movement_pages(self, payout: str, ask: Ask) -> AsyncIterator[Page[Transaction]]:
        """The movements of one payout; the sum of their totals is its net, or the payout is among `rejected` of the last page.
        `related` has PAYOUT_ID and, where there is one, ORDER_ID. The transfer itself is not among them."""
        ...

"""What a platform that holds our stock, or sells labels, can be asked beyond `adapters.port`.

Failures are those of the tree in `domain.errors`. `before_send` is as in `Port.confirm_shipment`. `sent_before` says that an
earlier attempt may have reached the platform. What is handed over of people goes to the platform and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from adapters.port import BeforeSend
from domain.budget import Ask
from domain.ids import ChannelId, ChannelSku
from domain.label import LabelWanted, Offer, Purchase, Voided
from domain.outbound import OutboundOrder, OutboundState, Preview, Speed, Standing, Taken
from domain.outbound_return import Announced, ReturnReason, ReturnWanted


class Outbound(Protocol):
    """Ships other channels' orders out of the stock that the platform holds."""

    async def preview(self, order: OutboundOrder, speeds: Sequence[Speed], ask: Ask) -> Preview:
        """How, when and for what the order could be shipped. Changes nothing."""
        ...

    async def create(
        self,
        order: OutboundOrder,
        ask: Ask,
        before_send: BeforeSend,
        *,
        sent_before: bool = False,
        preview: Preview | None = None,
    ) -> Taken:
        """Have the order shipped, once, however often this is called with its id.

        An unknown outcome is read back first. Raises Conflict where the id stands for another order or for one that was canceled,
        Insufficient where units are missing (StockMoved where `preview` had them), NoDelivery where nobody brings them, and
        OutcomeUnknown: then call again with `sent_before`, which looks before it sends. A refusal then proves nothing about the
        attempt before, and leaves the outcome unknown: a person has to look.
        """
        ...

    async def track(self, order_id: str, ask: Ask) -> OutboundState:
        """The order and its parcels as they stand. Raises NotFound; Transient for a word that we do not understand."""
        ...

    async def cancel(self, order_id: str, ask: Ask, before_send: BeforeSend) -> Taken:
        """Stop it. Raises Refused, saying where the order stands, when it is too late. Taken is not yet visible."""
        ...

    async def changed(self, since: datetime, ask: Ask, most_calls: int) -> Mapping[str, Standing] | None:
        """The orders whose status changed since then, by our id. None where that would take more than `most_calls` calls."""
        ...

    @property
    def no_returns(self) -> str:
        """Why it announces no returns, and what to do instead; empty where it does."""
        ...

    async def return_reasons(self, order_id: str, channel_sku: ChannelSku, ask: Ask) -> list[ReturnReason]:
        """Why units of this SKU may come back. Raises Invalid with `no_returns`."""
        ...

    async def announce_return(
        self, wanted: ReturnWanted, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Announced:
        """Have units expected back, each once, however often this is called with its id.

        Units that are shown as announced are not announced again. Raises Invalid with `no_returns`, Conflict where fewer units
        can come back, Refused for another reason that the platform has, and OutcomeUnknown as `create` does.
        """
        ...


@runtime_checkable
class Ships(Protocol):
    """A port whose platform ships other channels' orders."""

    outbound: Outbound


class Labels(Protocol):
    """Sells labels."""

    async def offers(self, wanted: LabelWanted, ask: Ask) -> list[Offer]:
        """What carriers ask for this parcel, the cheapest first. Changes nothing."""
        ...

    async def buy(
        self, wanted: LabelWanted, offer: Offer, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Purchase:
        """Buy one label for the parcel, once, however often this is called with its reference. With `sent_before`, `offer` is the
        one of that attempt.

        Raises OutcomeUnknown, saying what a person must look at, where the platform offers no way to know.
        """
        ...

    async def void(self, shipment_id: str, ask: Ask, before_send: BeforeSend) -> Voided:
        """Ask for the money back. Raises Refused when the carrier has the parcel already."""
        ...


@runtime_checkable
class LabelBooks(Protocol):
    """Tells what has become of a label that it sold."""

    async def shipment(self, reference: str, shipment_id: str, ask: Ask) -> Purchase:
        """The purchase as it stands, with its label. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class LabelShop:
    """Somebody who sells labels: a carrier of ours, or a channel, which then sells for its own orders alone (`own`) and knows
    where their buyers live. `lag_s` is how long a purchase may stay unseen there, in seconds."""

    id: ChannelId
    name: str
    labels: Labels
    own: bool
    lag_s: float

"""What a platform that holds our stock, or sells labels, can be asked beyond `adapters.port`.

Failures are those of the tree in `domain.errors`. `before_send` is as in `Port.confirm_shipment`. `sent_before` says that an
earlier attempt may have reached the platform. What is handed over of people goes to the platform and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from adapters.port import BeforeSend
from domain.budget import Ask
from domain.label import LabelWanted, Offer, Purchase, Voided
from domain.outbound import OutboundOrder, OutboundState, Preview, Speed, Taken


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

"""The capability CANCELS: cancel a whole order at its channel, and see it cancelled there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.port import BeforeSend, OrderKey, Port
from adapters.storefront import Cancels, CancelVerdicts
from domain.budget import Ask
from domain.errors import Refused
from domain.exchange import about_item_of
from domain.ids import ChannelId, OrderId
from domain.operation import ClaimedItem
from domain.order import OrderStatus
from domain.timeline import Step, StepKind
from store import agenda, timeline
from workers.deps import Deps
from workers.lanes import Worked
from workers.mapping import with_our_skus
from workers.writes import Looked, Sent, carry


async def work(deps: Deps, item: ClaimedItem) -> Worked:
    """One step of one cancellation. Raises nothing but cancellation."""
    return await carry(deps, item, _read)


@dataclass(frozen=True, slots=True)
class _Cancellation:
    """An order that is to be cancelled. Every platform takes a repetition for what it is, so none is feared."""

    deps: Deps
    item: ClaimedItem
    port: Port
    order_id: OrderId
    key: OrderKey
    looks_first: bool = True

    @property
    def lag_s(self) -> float:
        return self.port.visibility_lag_s

    @property
    def about(self) -> tuple[str, ...]:
        return about_item_of(self.item.id, self.item.operation, self.key.external_id)

    async def send(self, ask: Ask, before_send: BeforeSend, *, sent_before: bool) -> Sent:
        if not isinstance(self.port, Cancels):
            raise Refused(f"{self.item.channel} cannot be asked to cancel an order; cancel it there.")
        wish: Mapping[str, Any] = self.item.payload
        receipt = await self.port.cancel_order(
            self.key, wish["reason"], ask, before_send, restock=wish["restock"], refund=wish["refund"]
        )
        return Sent(
            receipt.upstream_request_id,
            detail={} if receipt.reference is None else {agenda.SENT_AS: receipt.reference},
        )

    async def look(self, ask: Ask) -> Looked:
        """The order as it stands; where it is not cancelled, what the platform has said of it since."""
        order = await self.port.order(self.key, ask)
        if order.status is OrderStatus.CANCELLED:
            order = replace(order, lines=with_our_skus(self.deps.sku_map, order.channel, order.lines))
            return Looked(True, keep=self._note, order=order, locks=frozenset({self.order_id}))
        told, refused = self.item.payload.get(agenda.SENT_AS), None
        if isinstance(self.port, CancelVerdicts) and told is not None:
            refused = await self.port.cancel_refused(self.key, str(told), ask)
        return Looked(False, missing=f"the order as {order.channel_status}", refused=refused)

    async def whole(self, looked: Looked, ask: Ask) -> Looked:
        return looked

    async def _note(self, tx: AsyncConnection) -> None:
        words = f"{self.item.channel} shows the order cancelled, as we asked ({self.item.payload['reason']})."
        step = Step(
            self.order_id,
            StepKind.CANCELLED,
            str(self.item.payload["by"]),
            words,
            f"cancelled:{self.item.id}",
            operation=self.item.operation,
        )
        await timeline.note(tx, [step])


def _read(deps: Deps, item: ClaimedItem) -> _Cancellation:
    payload: Mapping[str, Any] = item.payload
    key = OrderKey(payload["external_id"], payload["marketplace"], payload["refs"])
    return _Cancellation(deps, item, deps.ports[ChannelId(item.channel)], OrderId(payload["order_id"]), key)

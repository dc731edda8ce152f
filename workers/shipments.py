"""The capability SHIPMENTS: confirm a parcel to its channel, and see it there with its order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from adapters.port import BeforeSend, OrderKey, Parcel, Port
from domain.budget import Ask
from domain.exchange import about_item_of
from domain.ids import ChannelId, OrderId
from domain.operation import ClaimedItem
from workers.deps import Deps
from workers.lanes import Seen, Worked
from workers.mapping import with_our_skus
from workers.writes import Looked, Sent, carry


async def work(deps: Deps, item: ClaimedItem) -> Worked:
    """One step of one shipment. Raises nothing but cancellation."""
    return await carry(deps, item, _read)


@dataclass(frozen=True, slots=True)
class _Confirmation:
    """A parcel of an order."""

    deps: Deps
    item: ClaimedItem
    port: Port
    order_id: OrderId
    key: OrderKey
    parcel: Parcel
    looks_first: bool = False

    @property
    def lag_s(self) -> float:
        return self.port.visibility_lag_s

    @property
    def about(self) -> tuple[str, ...]:
        return about_item_of(self.item.id, self.item.operation, self.key.external_id)

    async def send(self, ask: Ask, before_send: BeforeSend, *, sent_before: bool) -> Sent:
        receipt = await self.port.confirm_shipment(self.key, self.parcel, ask, before_send)
        return Sent(receipt.upstream_request_id)

    async def look(self, ask: Ask) -> Looked:
        sighting = await self.port.parcel_seen(self.key, self.parcel, ask)
        missing = "only a part of the parcel" if sighting.partly else "no such parcel"
        seen = Seen(self.order_id, self.parcel, sighting.order)
        return Looked(sighting.found, sighting.upstream_request_id, sighting.partly, missing, seen)

    async def whole(self, looked: Looked, ask: Ask) -> Looked:
        """With the order as it stands now, in our SKUs."""
        known = looked.seen.order if looked.seen else None
        order = known or await self.port.order(self.key, ask)
        order = replace(order, lines=with_our_skus(self.deps.sku_map, order.channel, order.lines))
        return replace(looked, seen=Seen(self.order_id, self.parcel, order))


def _read(deps: Deps, item: ClaimedItem) -> _Confirmation:
    payload: Mapping[str, Any] = item.payload
    return _Confirmation(
        deps,
        item,
        deps.ports[ChannelId(item.channel)],
        OrderId(payload["order_id"]),
        OrderKey(payload["external_id"], payload["marketplace"], payload["refs"]),
        Parcel(
            reference=str(item.id),
            carrier=payload["carrier"],
            tracking_number=payload["tracking_number"],
            shipped_at=datetime.fromisoformat(payload["shipped_at"]),
            lines=tuple((str(line), int(units)) for line, units in payload["lines"]),
            service=payload.get("service"),
        ),
    )

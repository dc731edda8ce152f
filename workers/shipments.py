"""The capability SHIPMENTS: confirm a parcel to its channel, and see it there with its order."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from adapters.bulk_shipments import BulkShipments, InFile
from adapters.port import BeforeSend, OrderKey, Parcel, Port, Sighting
from domain.budget import Ask
from domain.exchange import about_item_of
from domain.ids import ChannelId, OrderId
from domain.operation import ClaimedItem
from domain.order import Order, Shipment
from store import agenda, order
from workers.deps import Deps
from workers.lanes import Seen, Worked
from workers.mapping import with_our_skus
from workers.writes import Looked, Sent, carry

log = logging.getLogger(__name__)

ASKED_AT = "asked_at"
"""In the intent of a parcel that leaves in a file: when the platform was asked to take the file."""


async def work(deps: Deps, item: ClaimedItem) -> Worked:
    """One step of one shipment. Raises nothing but cancellation."""
    return await carry(deps, item, _read)


def confirmation(deps: Deps, item: ClaimedItem) -> Confirmation | None:
    """The parcel of an item; None where it cannot be read, which the lane will say of it."""
    try:
        return _read(deps, item)
    except (KeyError, TypeError, ValueError):
        log.exception("write.unreadable", extra={"item": item.id})
        return None


@dataclass(frozen=True, slots=True)
class Confirmation:
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
        # It leaves by itself now, whatever an attempt before did.
        detail = {agenda.SENDING: ""} if agenda.SENDING in self.item.payload else {}
        if receipt.reference and receipt.reference != self.parcel.reference:
            detail[agenda.SENT_AS] = receipt.reference
        return Sent(receipt.upstream_request_id, detail=detail)

    async def look(self, ask: Ask) -> Looked:
        sent = self._in_file()
        if (known := await self._told_meanwhile(sent is not None)) is not None:
            return Looked(True, known.upstream_request_id, seen=Seen(self.order_id, self.parcel, known))
        if sent is None or not isinstance(self.port, BulkShipments):
            return self._found(await self.port.parcel_seen(self.key, self.parcel, ask))
        fate = await self.port.parcel_in_bulk(self.key, self.parcel, sent, ask)
        if fate.sighting is None:
            return Looked(False, missing="no such parcel", refused=fate.refused, again_s=fate.again_s)
        return self._found(fate.sighting)

    async def whole(self, looked: Looked, ask: Ask) -> Looked:
        """With the order as it stands now, in our SKUs."""
        known = looked.seen.order if looked.seen else None
        found = known or await self.port.order(self.key, ask)
        found = replace(found, lines=with_our_skus(self.deps.sku_map, found.channel, found.lines))
        return replace(looked, seen=Seen(self.order_id, self.parcel, found))

    def _found(self, sighting: Sighting) -> Looked:
        missing = "only a part of the parcel" if sighting.partly else "no such parcel"
        seen = Seen(self.order_id, self.parcel, sighting.order)
        return Looked(sighting.found, sighting.upstream_request_id, sighting.partly, missing, seen)

    def _in_file(self) -> InFile | None:
        """How it left, where that was in a file."""
        intent: Any = self.item.payload.get(agenda.SENDING)
        if not intent:
            return None
        file, before = (self.item.payload.get(name) for name in (agenda.SENT_AS, agenda.SENT_BEFORE_AS))
        return InFile(
            datetime.fromisoformat(intent[ASKED_AT]),
            None if file is None else str(file),
            None if before is None else str(before),
        )

    async def _told_meanwhile(self, in_file: bool) -> Order | None:
        """The order as a stream or a hint has read it since, where it shows the parcel: then nobody need be asked."""
        async with self.deps.store.begin() as tx:
            known = (await order.by_ids(tx, [self.order_id])).get(self.order_id)
        sent_at = self.item.sent_at
        if known is None or sent_at is None or known.read_at is None or known.read_at < sent_at or not known.whole:
            return None
        shipped = {line.external_id: line.quantity_shipped for line in known.lines}
        whole = all(shipped.get(line, 0) >= units for line, units in self.parcel.lines)
        return known if whole and self._among(known.shipments, in_file) else None

    def _among(self, shown: Sequence[Shipment], in_file: bool) -> bool:
        """Whether these hold the parcel: by all that the channel has called it, or by its own marks where nobody knows that."""
        there = {one.reference for one in shown if one.tracking_number == self.parcel.tracking_number}
        if in_file:
            return bool(there)
        names = str(self.item.payload.get(agenda.SENT_AS, "")).split()
        return there.issuperset(names) if names else self.parcel.reference in there


def _read(deps: Deps, item: ClaimedItem) -> Confirmation:
    payload: Mapping[str, Any] = item.payload
    return Confirmation(
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

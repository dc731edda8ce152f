"""Parcels: confirmed once, corrected, taken back. Sources: getOrder, createShipment, getShipment, patchShipment, deleteShipment.

A shop keeps our `reference` of a parcel and shows it again; where it does not, the tracking number tells parcels apart. We look
before we send, and send under a key that is the same at every attempt: one that is being carried out, or was and is not shown
yet, is not made twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from adapters.port import BeforeSend, OrderKey, Parcel, Receipt, Sighting
from adapters.rest import orders
from adapters.rest.client import Reply, RestClient, answered, make
from adapters.rest.errors import STALE_REVISION
from adapters.rest.offers import Offers
from adapters.rest.operations import CREATE_SHIPMENT, DELETE_SHIPMENT, GET_SHIPMENT, PATCH_SHIPMENT
from adapters.rest.orders import order_as_told, order_of
from adapters.rest.wire import Body, stamp
from adapters.wire import Unclear
from domain.budget import Ask
from domain.errors import Conflict, Invalid, NotFound, Transient

TRIES = 3  # of a change that meets another one


class _Tracking(Body):
    carrier: str
    tracking_number: str


async def confirm_shipment(
    client: RestClient, offers: Offers, key: OrderKey, parcel: Parcel, ask: Ask, before_send: BeforeSend
) -> Receipt:
    """Ship what the order does not show yet of this parcel. Raises Conflict when the order has not that many units open."""
    if not parcel.lines:
        raise Invalid("A parcel without lines cannot be confirmed.")
    await offers.need(CREATE_SHIPMENT, ask)
    wanted, reply = await order_as_told(client, offers, key.external_id, ask)
    there, missing = _compared(parcel, wanted.shipments)
    if not missing:
        return Receipt(reply.request_id, " ".join(one.id for one in there) or None)
    body = {
        "carrier": parcel.carrier,
        "tracking_number": parcel.tracking_number,
        "shipped_at": stamp(parcel.shipped_at),
        "lines": [{"line_id": line, "quantity": units} for line, units in missing.items()],
        "reference": parcel.reference,
    }
    made = await make(client, CREATE_SHIPMENT, key, parcel.reference, body, ask, before_send)
    return replace(made, reference=" ".join(filter(None, [*(one.id for one in there), made.reference])))


async def parcel_seen(client: RestClient, offers: Offers, key: OrderKey, parcel: Parcel, ask: Ask) -> Sighting:
    """Whether the order shows the parcel with all its units. Raises NotFound."""
    wanted, reply = await order_as_told(client, offers, key.external_id, ask)
    there, missing = _compared(parcel, wanted.shipments)
    try:
        order = order_of(client.channel, wanted, reply.request_id)
    except Unclear:
        order = None
    return Sighting(not missing, reply.request_id, order, partly=bool(there and missing))


async def correct_tracking(
    client: RestClient,
    offers: Offers,
    parcel: str,
    carrier: str,
    tracking_number: str,
    ask: Ask,
    before_send: BeforeSend,
) -> Receipt:
    """Put these in the place of those shown. Raises Conflict where somebody else changes the parcel all the time."""
    await offers.need(PATCH_SHIPMENT, ask)
    wanted = {"carrier": carrier, "tracking_number": tracking_number}

    async def change(seen: Reply) -> Receipt:
        if answered(_Tracking, seen).model_dump() == wanted:
            return Receipt(seen.request_id, parcel)
        sent = await client.call(
            PATCH_SHIPMENT, ask, at={"id": parcel}, body=wanted, if_match=_tag(seen), before_send=before_send
        )
        return Receipt(sent.request_id, parcel)

    return await _on_newest(client, parcel, ask, change)


async def cancel_parcel(
    client: RestClient, offers: Offers, key: OrderKey, parcel: str, ask: Ask, before_send: BeforeSend
) -> Receipt:
    """The parcel was not sent after all. One that its order does not show any more is taken back already."""
    await offers.need(DELETE_SHIPMENT, ask)

    async def change(seen: Reply) -> Receipt:
        sent = await client.call(DELETE_SHIPMENT, ask, at={"id": parcel}, if_match=_tag(seen), before_send=before_send)
        return Receipt(sent.request_id, parcel)

    try:
        return await _on_newest(client, parcel, ask, change)
    except NotFound:
        wanted, reply = await order_as_told(client, offers, key.external_id, ask)
        if any(one.id == parcel for one in wanted.shipments):
            raise
        return Receipt(reply.request_id, parcel)


async def _on_newest(
    client: RestClient, parcel: str, ask: Ask, change: Callable[[Reply], Awaitable[Receipt]]
) -> Receipt:
    """What `change` makes of the parcel as it stands, read anew where somebody else was faster."""
    turn = 1
    while True:
        seen = await client.call(GET_SHIPMENT, ask, at={"id": parcel})
        try:
            return await change(seen)
        except Conflict as problem:
            if turn == TRIES or problem.upstream_code != STALE_REVISION:
                raise
        turn += 1


def _tag(seen: Reply) -> str:
    if seen.etag is None:
        words = "The shop gave no ETag, without which nothing can be changed."
        raise Transient(words, upstream_request_id=seen.request_id)
    # What packs an answer on its way weakens its tag, and a weak one matches nothing (RFC 9110, 13.1.1).
    return seen.etag.removeprefix("W/")


def _compared(parcel: Parcel, shown: Iterable[orders.Parcel]) -> tuple[list[orders.Parcel], Counter[str]]:
    """The shop's parcels that are this one, and the units of it that they do not hold."""
    there = [one for one in shown if _same(parcel, one)]
    missing: Counter[str] = Counter()
    for id, units in parcel.lines:
        missing[id] += units
    for line in (line for one in there for line in one.lines):
        missing[line.line_id] -= line.quantity
    return there, +missing


def _same(parcel: Parcel, shown: orders.Parcel) -> bool:
    """By our reference; by the tracking number where the shop shows none. So two boxes under one label are two parcels."""
    if shown.reference:
        return shown.reference == parcel.reference
    return shown.tracking_number == parcel.tracking_number

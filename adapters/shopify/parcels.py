"""Mending parcels that were confirmed: fulfillmentTrackingInfoUpdate and fulfillmentCancel.

A parcel of ours is a fulfillment, named by its global id; "<id>#2" is the second tracking number of one. What was shipped from
two places at once is named by both ids, with a space between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.port import BeforeSend, OrderKey, Receipt
from adapters.shopify.client import Json, ShopClient
from adapters.shopify.document import Document
from adapters.shopify.fulfillment import half_done
from adapters.shopify.paging import answered
from adapters.shopify.wire import Ref
from adapters.transport import lost
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.carrier import sent_as
from domain.channel import Platform
from domain.errors import Conflict, Invalid, NotFound, Refused, Throttled, Transient, Unauthorized

# The platform spells it either way, by the field.
GONE = frozenset({"CANCELLED", "CANCELED"})

PARCEL = Document(
    "Parcel",
    "fulfillment",
    3,
    """query Parcel($id: ID!) {
  fulfillment(id: $id) { id status order { id name } trackingInfo { company number } }
}""",
)

# Ten points or fifty, under one API version: the platform changed its mind in 2026.
TRACK = Document(
    "Track",
    "fulfillmentTrackingInfoUpdate",
    50,
    """mutation Track($id: ID!, $tracking: FulfillmentTrackingInput!) {
  fulfillmentTrackingInfoUpdate(fulfillmentId: $id, trackingInfoInput: $tracking, notifyCustomer: true) {
    fulfillment { id status } userErrors { field message }
  }
}""",
    write=True,
)

CANCEL_PARCEL = Document(
    "CancelParcel",
    "fulfillmentCancel",
    10,
    """mutation CancelParcel($id: ID!) {
  fulfillmentCancel(id: $id) { fulfillment { id status } userErrors { field message } }
}""",
    write=True,
)


class _Mark(Wire):
    company: str | None
    number: str | None


class _Changed(Ref):
    status: str


class _Payload(Wire):
    fulfillment: _Changed


class _Order(Ref):
    name: str


class _Parcel(Wire):
    id: str
    status: str
    order: _Order
    tracking_info: list[_Mark]


async def correct_tracking(
    client: ShopClient,
    key: OrderKey,
    parcel: str,
    carrier: str,
    tracking_number: str,
    ask: Ask,
    before_send: BeforeSend,
) -> Receipt:
    """Replace carrier and number of a parcel, and of no other of its fulfillment. What is shown already is not sent again.

    Raises NotFound; Conflict for a canceled parcel, and where the others of its fulfillment go by another carrier: there is one
    for all of them. The buyer is told by the platform. Source: fulfillmentTrackingInfoUpdate.
    """
    if not carrier.strip() or not tracking_number.strip():
        raise Invalid("A carrier and a tracking number are needed.", field=("trackingNumber",))
    request_id: str | None = None
    wanting: list[Json] = []
    for gid, place in _named(parcel):
        found, request_id = await _parcel(client, key, gid, ask)
        if found.status in GONE:
            raise Conflict(f"The parcel {gid} of the order {found.order.name} was canceled.")
        marks = list(found.tracking_info)
        if place > 0 and place >= len(marks):
            raise NotFound(
                f"The fulfillment {gid} of the order {found.order.name} has no {place + 1} tracking numbers."
            )
        wanted = _Mark(company=sent_as(carrier, Platform.SHOPIFY).code, number=tracking_number)
        if marks[place : place + 1] == [wanted]:
            continue
        marks[place : place + 1] = [wanted]
        wanting.append({"id": gid, "tracking": _tracking(marks, found)})
    return Receipt(await _sent(client, TRACK, wanting, ask, before_send) or request_id, parcel)


async def cancel_parcel(client: ShopClient, key: OrderKey, parcel: str, ask: Ask, before_send: BeforeSend) -> Receipt:
    """Take a parcel back: what lay in it waits to be shipped again. One that was canceled already is fine.

    Raises NotFound; Conflict for a fulfillment of several tracking numbers, for all of them would go.
    Source: fulfillmentCancel.
    """
    request_id: str | None = None
    there: list[Json] = []
    for gid, _ in _named(parcel):
        found, request_id = await _parcel(client, key, gid, ask)
        if found.status in GONE:
            continue
        if len(found.tracking_info) > 1:
            raise Conflict(
                f"The fulfillment {gid} of the order {found.order.name} holds {len(found.tracking_info)} parcels, and can only "
                "be canceled with all of them; do so in the shop's admin."
            )
        there.append({"id": gid})
    return Receipt(await _sent(client, CANCEL_PARCEL, there, ask, before_send) or request_id, parcel)


async def _sent(
    client: ShopClient, document: Document, changes: Sequence[Json], ask: Ask, before_send: BeforeSend
) -> str | None:
    """Change the fulfillments of a parcel, all of which were looked at before; the last call's id. What stops a later one leaves
    the first changed, and says so."""
    request_id: str | None = None
    for place, variables in enumerate(changes):
        try:
            reply = await client.run(document, variables, ask, before_send)
        except (Refused, Throttled, Transient, Unauthorized) as problem:
            if not place:
                raise
            done = f"{place} of the parcel's {len(changes)} fulfillments are changed"
            raise half_done(problem, done) from problem
        request_id = reply.request_id
        try:
            shown = read(_Payload, reply.data[document.operation]).fulfillment
        except Unclear as problem:
            raise lost(True, f"no refusal and no fulfillment: {problem}", request_id) from problem
        if document is CANCEL_PARCEL and shown.status not in GONE:
            raise lost(True, f"the fulfillment {shown.id} is {shown.status}, and not canceled", request_id)
    return request_id


def _named(parcel: str) -> list[tuple[str, int]]:
    """(fulfillment, place of the tracking number in it). Raises NotFound for what is no parcel's name."""
    named = []
    for one in parcel.split():
        gid, mark, number = one.partition("#")
        prefix, _, digits = gid.rpartition("/")
        wrong = prefix != "gid://shopify/Fulfillment" or not (digits.isascii() and digits.isdigit())
        if wrong or (mark and not (number.isascii() and number.isdigit() and int(number) > 1)):
            raise NotFound(f"{one!r} is no gid://shopify/Fulfillment/<number>.")
        named.append((gid, int(number) - 1 if mark else 0))
    if not named:
        raise NotFound("No parcel was named.")
    if len({gid for gid, _ in named}) < len(named):
        raise NotFound(f"{parcel!r} names a fulfillment twice, which no parcel does.")
    return named


async def _parcel(client: ShopClient, key: OrderKey, gid: str, ask: Ask) -> tuple[_Parcel, str | None]:
    """The fulfillment as it stands. Raises NotFound, also for one of another order."""
    reply = await client.run(PARCEL, {"id": gid}, ask)
    raw = reply.data["fulfillment"]
    found = None if raw is None else answered(_Parcel, raw)
    if found is None or found.order.id != key.external_id:
        raise NotFound(f"The order {key.external_id} has no parcel {gid}.", upstream_request_id=reply.request_id)
    return found, reply.request_id


def _tracking(marks: Sequence[_Mark], found: _Parcel) -> dict[str, Any]:
    """Raises Conflict for two carriers."""
    carriers = {mark.company for mark in marks}
    if len(carriers) > 1:
        others = ", ".join(sorted(str(carrier) for carrier in carriers))
        raise Conflict(f"The parcels of the fulfillment {found.id} share one carrier; they cannot be {others} at once.")
    if len(marks) == 1:
        return {"company": marks[0].company, "number": marks[0].number}
    numbers = [mark.number for mark in marks]
    if None in numbers:
        raise Conflict(f"A parcel of the fulfillment {found.id} has no tracking number; mend them in the shop's admin.")
    return {"company": marks[0].company, "numbers": numbers}

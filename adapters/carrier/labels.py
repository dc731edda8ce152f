"""Carriers' labels, from anybody who meets docs/carrier/openapi.yaml.

The contract speaks HTTP as the one for self-built shops does, so the client is that one: token, budget, keys, problems. A label
is bought by naming its carrier and service and the most that it may cost, so no offer runs out; the key is made of our reference
alone, and the reference finds the label for ever.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters.carrier.operations import (
    BUY_LABEL,
    GET_ACCOUNT,
    GET_DOCUMENT,
    GET_LABEL,
    LIST_LABELS,
    RATES,
    VOID_LABEL,
)
from adapters.port import BeforeSend, Checked
from adapters.private import hiding
from adapters.rest.client import Reply, RestClient, answered
from adapters.rest.wire import Body, Instant, Name, Price, stamp, told
from adapters.wire import Unclear, money
from domain.address import Address
from domain.budget import Ask
from domain.errors import HouseError, Invalid, OutcomeUnknown, Refused, Transient
from domain.ids import derived_id
from domain.label import Label, LabelFormat, LabelStatus, LabelWanted, Offer, Purchase, Voided
from domain.outbound import Whereabouts

FORMATS = {
    "pdf": LabelFormat.PDF,
    "png": LabelFormat.PNG,
    "zpl203": LabelFormat.ZPL203,
    "zpl300": LabelFormat.ZPL300,
}
PRINTED = {format: word for word, format in FORMATS.items()}
STATUSES = {
    "bought": LabelStatus.BOUGHT,
    "refund_pending": LabelStatus.REFUND_PENDING,
    "refunded": LabelStatus.REFUNDED,
    "refund_refused": LabelStatus.REFUND_REFUSED,
}
WHEREABOUTS = {
    "label_created": Whereabouts.PREPARING,
    "in_transit": Whereabouts.IN_TRANSIT,
    "out_for_delivery": Whereabouts.OUT_FOR_DELIVERY,
    "delivered": Whereabouts.DELIVERED,
    "delivery_failed": Whereabouts.DELIVERY_ATTEMPTED,
    "returned": Whereabouts.RETURNED,
    "lost": Whereabouts.LOST,
}
MOST_BYTES = 8 * 1024 * 1024


class _Account(Body):
    name: Name
    carriers: tuple[Name, ...]


class _Rate(Body):
    carrier: Name
    carrier_name: Name
    service: Name
    service_name: Name
    price: Price
    arrives_from: Instant | None = None
    arrives_until: Instant | None = None
    formats: tuple[str, ...]


class _Rates(Body):
    data: tuple[_Rate, ...]


class _Tracking(Body):
    status: str


class _Label(Body):
    id: Name
    reference: Name
    status: str
    carrier_name: Name
    price: Price
    tracking_number: Name | None = None
    tracking: _Tracking | None = None


class _Labels(Body):
    data: tuple[_Label, ...]


class _Document(Body):
    format: str
    sha256: str
    content: str


class CarrierLabels:
    """Satisfies `adapters.fulfillment.Labels` and `LabelBooks`; see there. For orders of any channel."""

    def __init__(self, client: RestClient) -> None:
        self._client = client

    async def check(self, ask: Ask) -> Checked:
        """Prove the token. Source: getAccount."""
        account = answered(_Account, await self._client.call(GET_ACCOUNT, ask))
        return Checked(f"{account.name} answers, with {', '.join(account.carriers) or 'no carrier'}")

    async def offers(self, wanted: LabelWanted, ask: Ask) -> list[Offer]:
        """They do not run out: what is bought names the most that it may cost. Source: rates."""
        with hiding(wanted.ship_from, wanted.ship_to):
            reply = await self._client.call(RATES, ask, body=_parcel(wanted))
            rates = answered(_Rates, reply).data
        try:
            offers = [_offer(one) for one in rates]
        except Unclear as problem:
            raise Transient(
                f"The rates of {self._client.config.shop} cannot be read: {problem}.",
                upstream_request_id=reply.request_id,
            ) from problem
        return sorted(offers, key=lambda offer: (offer.price.amount, offer.service_id))

    async def buy(
        self, wanted: LabelWanted, offer: Offer, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Purchase:
        """Without its document, which `shipment` brings. Sources: buyLabel; where it was sent before, listLabels first."""
        if sent_before and (there := await self._found(wanted.reference, ask)) is not None:
            return there
        body = _parcel(wanted) | {
            "reference": wanted.reference,
            "carrier": offer.carrier_id,
            "service": offer.service_id.removeprefix(f"{offer.carrier_id}/"),
            "format": PRINTED[wanted.format],
            "most": told(offer.price),
        }
        key = derived_id("label", self._client.channel, wanted.reference)
        with hiding(wanted.ship_from, wanted.ship_to):
            reply = await self._client.call(BUY_LABEL, ask, body=body, key=key, before_send=before_send)
            return self._purchase(wanted.reference, answered(_Label, reply, write=True), reply, write=True)

    async def shipment(self, reference: str, shipment_id: str, ask: Ask) -> Purchase:
        """Source: getLabel, getDocument. A document that is refused is left out, and `missing` says why."""
        reply = await self._client.call(GET_LABEL, ask, at={"id": shipment_id})
        bought = self._purchase(reference, answered(_Label, reply), reply)
        try:
            return replace(bought, label=await self._document(shipment_id, ask))
        except Refused as problem:
            return replace(bought, missing=problem.message)

    async def void(self, shipment_id: str, ask: Ask, before_send: BeforeSend) -> Voided:
        """Asked twice, it gives the money back once. Source: voidLabel."""
        reply = await self._client.call(VOID_LABEL, ask, at={"id": shipment_id}, body={}, before_send=before_send)
        label = answered(_Label, reply, write=True)
        return Voided(shipment_id, self._purchase(label.reference, label, reply, write=True).status, reply.request_id)

    async def _found(self, reference: str, ask: Ask) -> Purchase | None:
        reply = await self._client.call(LIST_LABELS, ask, query={"reference": reference})
        found = [one for one in answered(_Labels, reply).data if one.reference == reference]
        return self._purchase(reference, found[0], reply) if found else None

    async def _document(self, shipment_id: str, ask: Ask) -> Label:
        """Raises Transient for one that is damaged."""
        reply = await self._client.call(GET_DOCUMENT, ask, at={"id": shipment_id})
        try:
            return _label(answered(_Document, reply))
        except Unclear as problem:
            raise Transient(
                f"The label {shipment_id} cannot be read: {problem}.", upstream_request_id=reply.request_id
            ) from problem

    def _purchase(self, reference: str, one: _Label, reply: Reply, *, write: bool = False) -> Purchase:
        """Raises Transient, or for a write OutcomeUnknown, for words that we do not know."""
        try:
            cost, status, where = one.price.money(), _status(one), _whereabouts(one)
        except Unclear as problem:
            words = f"The label {one.id} of {self._client.config.shop} cannot be read: {problem}."
            kind: type[HouseError] = OutcomeUnknown if write else Transient
            raise kind(words, upstream_request_id=reply.request_id) from problem
        return Purchase(
            reference=reference,
            shipment_id=one.id,
            status=status,
            tracking_number=one.tracking_number,
            carrier=one.carrier_name,
            cost=cost,
            label=None,
            confirms_order=False,
            upstream_request_id=reply.request_id,
            whereabouts=where,
        )


def _parcel(wanted: LabelWanted) -> dict[str, Any]:
    """What rates and purchases say of a parcel. Raises Invalid without an address to send it to."""
    if wanted.ship_to is None:
        raise Invalid(f"Parcel {wanted.reference} needs the address that it goes to.", field=("orderId",))
    box = wanted.box
    parcel: dict[str, Any] = {
        "ship_from": _address(wanted.ship_from),
        "ship_to": _address(wanted.ship_to),
        "box": {name: f"{getattr(box, name):f}" for name in ("length_cm", "width_cm", "height_cm", "weight_g")},
    }
    return parcel | ({"ship_at": stamp(wanted.ship_at)} if wanted.ship_at else {})


def _address(address: Address) -> Mapping[str, str]:
    names = ("name", "line1", "line2", "line3", "city", "state", "postal_code", "country", "phone", "email")
    return {name: value for name in names if (value := getattr(address, name))}


def _offer(rate: _Rate) -> Offer:
    """Raises Unclear for a price that is none. What we cannot print we do not ask for."""
    return Offer(
        id=f"{rate.carrier}/{rate.service}",
        carrier_id=rate.carrier,
        carrier=rate.carrier_name,
        service_id=f"{rate.carrier}/{rate.service}",
        service=rate.service_name,
        price=money(rate.price.amount, rate.price.currency),
        arrives_from=rate.arrives_from,
        arrives_until=rate.arrives_until,
        formats=frozenset(FORMATS[word] for word in rate.formats if word in FORMATS),
    )


def _status(one: _Label) -> LabelStatus:
    if one.status not in STATUSES:
        raise Unclear(f"status: {one.status!r} is not known")
    return STATUSES[one.status]


def _whereabouts(one: _Label) -> Whereabouts | None:
    if one.tracking is None:
        return None
    if one.tracking.status not in WHEREABOUTS:
        raise Unclear(f"tracking.status: {one.tracking.status!r} is not known")
    return WHEREABOUTS[one.tracking.status]


def _label(document: _Document) -> Label:
    """Raises Unclear for what is no label, or not the one that was sent."""
    format = FORMATS.get(document.format)
    if format is None:
        raise Unclear(f"format: {document.format!r} is not known")
    try:
        data = base64.b64decode(document.content, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise Unclear("content is not Base64") from problem
    if not 0 < len(data) <= MOST_BYTES:
        raise Unclear(f"it has {len(data)} bytes")
    if hashlib.sha256(data).hexdigest() != document.sha256:
        raise Unclear("it does not have the checksum that came with it")
    return Label(format, data, hashlib.md5(data, usedforsecurity=False).hexdigest())

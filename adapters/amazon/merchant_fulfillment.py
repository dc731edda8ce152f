"""Merchant Fulfillment v0, Amazon's Buy Shipping for its own orders: getEligibleShipmentServices, createShipment, getShipment,
cancelShipment. All but the first show the buyer and want a restricted data token."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from pydantic import ConfigDict
from pydantic.alias_generators import to_pascal

from adapters.amazon.client import Client, Restricted
from adapters.amazon.labels import MISSING, Number, found, need, sent, unpacked
from adapters.amazon.listings import iso
from adapters.amazon.wire import Instant
from adapters.port import BeforeSend
from adapters.private import hiding
from adapters.wire import Unclear, Wire, money
from domain.address import Address
from domain.budget import Ask
from domain.errors import HouseError, Invalid, OutcomeUnknown, Refused, Transient
from domain.label import Box, Label, LabelFormat, LabelStatus, LabelWanted, Offer, Purchase, Voided
from domain.money import Money

SHIPMENTS = "/mfn/v0/shipments"
# Without a signature of the buyer, handed in by us.
EXPERIENCE = "DeliveryConfirmationWithoutSignature"
LONGEST = {"name": 30, "line1": 180, "line2": 60, "line3": 60, "city": 30, "state": 30, "postal_code": 30, "phone": 30}

STATUSES = {
    "Purchased": LabelStatus.BOUGHT,
    "RefundPending": LabelStatus.REFUND_PENDING,
    "RefundApplied": LabelStatus.REFUNDED,
    "RefundRejected": LabelStatus.REFUND_REFUSED,
}
FORMATS = {format.value: format for format in LabelFormat}
# ZPL is told by its type alone, not by its dots.
OF_TYPE = {"application/pdf": LabelFormat.PDF, "image/png": LabelFormat.PNG, "application/zpl": LabelFormat.ZPL203}


class Pascal(Wire):
    """Base of answers whose names begin with a capital letter."""

    model_config = ConfigDict(alias_generator=to_pascal)


class Sum(Pascal):
    """An amount of money."""

    amount: Number
    currency_code: str

    def money(self) -> Money:
        """Raises Unclear for what is no money."""
        return money(self.amount, self.currency_code)


class Service(Pascal):
    """A carrier's service and its price."""

    shipping_service_name: str
    carrier_name: str
    shipping_service_id: str
    shipping_service_offer_id: str
    earliest_estimated_delivery_date: Instant | None = None
    latest_estimated_delivery_date: Instant | None = None
    rate_with_adjustments: Sum
    available_label_formats: tuple[str, ...] = ()
    requires_additional_seller_inputs: bool


class Services(Pascal):
    """What getEligibleShipmentServices finds."""

    shipping_service_list: tuple[Service, ...]


class ServicesAnswer(Wire):
    """Its envelope, which is not written with capitals."""

    payload: Services


class Contents(Pascal):
    """The label as a file; all empty once it was given back."""

    contents: str = ""
    file_type: str = ""
    checksum: str = ""


class WireLabel(Pascal):
    """The label."""

    file_contents: Contents = Contents()
    label_format: str | None = None


class BoughtService(Pascal):
    """What was bought."""

    carrier_name: str
    rate_with_adjustments: Sum


class Shipment(Pascal):
    """A label and what became of it. Of the buyer nothing is read."""

    shipment_id: str
    status: str
    tracking_id: str | None = None
    shipping_service: BoughtService
    label: WireLabel = WireLabel()


class ShipmentAnswer(Wire):
    """Its envelope."""

    payload: Shipment


class MerchantFulfillment:
    """Satisfies `adapters.fulfillment.Labels`; see there. Only for orders of Amazon's own buyers.

    Amazon takes each purchase for a new one and lists none: after a lost answer only the parcel that appears at the order tells
    of it. So nothing is bought for a parcel that was `sent_before`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def offers(self, wanted: LabelWanted, ask: Ask) -> list[Offer]:
        """Source: getEligibleShipmentServices."""
        body = {"ShipmentRequestDetails": details(wanted)}
        with hiding(wanted.ship_from, wanted.ship_to):
            answer, request_id = await self._client.read(
                "getEligibleShipmentServices", "/mfn/v0/eligibleShippingServices", body, ask, ServicesAnswer
            )
        try:
            offers = [offer_of(service) for service in answer.payload.shipping_service_list]
        except Unclear as problem:
            raise Transient(f"Amazon's rates cannot be read: {problem}.", upstream_request_id=request_id) from problem
        return sorted(offers, key=lambda offer: (offer.price.amount, offer.service_id))

    async def buy(
        self, wanted: LabelWanted, offer: Offer, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Purchase:
        """Source: createShipment."""
        _check(wanted, offer)
        body = {
            "ShipmentRequestDetails": details(wanted),
            "ShippingServiceId": offer.service_id,
            "ShippingServiceOfferId": offer.id,
        }
        with hiding(wanted.ship_from, wanted.ship_to):
            if sent_before:
                return await found(self._client, wanted, OutcomeUnknown("It was sent before."), ask)
            try:
                answer, request_id = await self._client.change(
                    "createShipment",
                    "POST",
                    SHIPMENTS,
                    ask,
                    before_send,
                    ShipmentAnswer,
                    body=body,
                    restricted=Restricted("POST", SHIPMENTS),
                )
            except OutcomeUnknown as problem:
                return await found(self._client, wanted, problem, ask)
        return await self._with_label(wanted.reference, answer.payload, request_id, ask)

    async def shipment(self, reference: str, shipment_id: str, ask: Ask) -> Purchase:
        """A purchase as it stands, with its label, for printing it again. Raises NotFound. Source: getShipment."""
        wire, request_id = await self._read(shipment_id, ask)
        try:
            return purchase_of(reference, wire, request_id)
        except Unclear as problem:
            raise Transient(f"Amazon's shipment {shipment_id} cannot be read: {problem}.") from problem

    async def void(self, shipment_id: str, ask: Ask, before_send: BeforeSend) -> Voided:
        """Source: cancelShipment. Asked twice, it gives the money back once. The order stays shipped."""
        try:
            answer, request_id = await self._client.change(
                "cancelShipment",
                "DELETE",
                f"{SHIPMENTS}/{quote(shipment_id, safe='')}",
                ask,
                before_send,
                ShipmentAnswer,
                restricted=Restricted("DELETE", SHIPMENTS + "/{shipmentId}"),
            )
            wire = answer.payload
        except (OutcomeUnknown, Refused) as problem:
            wire, request_id = await self._after(problem, shipment_id, ask)
            if status_of(wire) not in (LabelStatus.REFUND_PENDING, LabelStatus.REFUNDED):
                raise
        if status_of(wire) is LabelStatus.REFUND_REFUSED:
            raise Refused(
                f"The carrier gives no money back for the label {shipment_id}.", upstream_request_id=request_id
            )
        return Voided(shipment_id, status_of(wire), request_id)

    async def _after(self, problem: HouseError, shipment_id: str, ask: Ask) -> tuple[Shipment, str | None]:
        try:
            return await self._read(shipment_id, ask)
        except HouseError:
            raise problem from None

    async def _read(self, shipment_id: str, ask: Ask) -> tuple[Shipment, str | None]:
        answer, request_id = await self._client.get_with_id(
            "getShipment",
            f"{SHIPMENTS}/{quote(shipment_id, safe='')}",
            {},
            ask,
            ShipmentAnswer,
            restricted=Restricted("GET", SHIPMENTS + "/{shipmentId}"),
        )
        return answer.payload, request_id

    async def _with_label(self, reference: str, wire: Shipment, request_id: str | None, ask: Ask) -> Purchase:
        """The purchase; a label that came damaged is fetched once more."""
        try:
            bought = purchase_of(reference, wire, request_id)
        except Unclear as problem:
            raise OutcomeUnknown(
                f"Amazon's shipment {wire.shipment_id} was bought and cannot be read: {problem}.",
                upstream_request_id=request_id,
            ) from problem
        if bought.label is not None:
            return bought
        try:
            again, _ = await self._read(wire.shipment_id, ask)
            return purchase_of(reference, again, request_id)
        except (HouseError, Unclear):
            return bought


def _check(wanted: LabelWanted, offer: Offer) -> None:
    if offer.needs_more:
        raise Invalid(
            f"{offer.service} asks questions about the parcel that cannot be answered here.", field=("offer",)
        )
    if offer.formats and wanted.format not in offer.formats:
        told = ", ".join(sorted(format.value for format in offer.formats))
        raise Invalid(f"{offer.service} prints no {wanted.format.value}; it prints {told}.", field=("format",))


def details(wanted: LabelWanted) -> dict[str, Any]:
    """The parcel as the API wants it told. Raises Invalid for what it would refuse."""
    if wanted.order_id is None:
        raise Invalid("Merchant Fulfillment sells labels for orders of Amazon's buyers only.", field=("orderId",))
    need(wanted.ship_from, "email", "city", "phone")
    for name, most in LONGEST.items():
        if len(getattr(wanted.ship_from, name)) > most:
            raise Invalid(f"The {name} of where the parcel comes from is longer than {most}.", field=("shipFrom", name))
    told: dict[str, Any] = {
        "AmazonOrderId": wanted.order_id,
        "ItemList": [{"OrderItemId": line.id, "Quantity": line.quantity} for line in wanted.lines],
        "ShipFromAddress": _address(wanted.ship_from),
        "PackageDimensions": _box(wanted.box),
        "Weight": {"Value": sent(wanted.box.weight_g), "Unit": "g"},
        "ShippingServiceOptions": {
            "DeliveryExperience": EXPERIENCE,
            "CarrierWillPickUp": False,
            "LabelFormat": wanted.format.value,
        },
    }
    return told | ({"ShipDate": iso(wanted.ship_at)} if wanted.ship_at else {})


def _box(box: Box) -> dict[str, Any]:
    sizes: dict[str, Decimal] = {"Length": box.length_cm, "Width": box.width_cm, "Height": box.height_cm}
    return {name: sent(size) for name, size in sizes.items()} | {"Unit": "centimeters"}


def _address(address: Address) -> dict[str, str]:
    told = {
        "Name": address.name,
        "AddressLine1": address.line1,
        "AddressLine2": address.line2,
        "AddressLine3": address.line3,
        "Email": address.email,
        "City": address.city,
        "StateOrProvinceCode": address.state,
        "PostalCode": address.postal_code,
        "CountryCode": address.country,
        "Phone": address.phone,
    }
    return {name: value for name, value in told.items() if value}


def offer_of(service: Service) -> Offer:
    """Raises Unclear for a price that is none."""
    first, last = service.earliest_estimated_delivery_date, service.latest_estimated_delivery_date
    return Offer(
        id=service.shipping_service_offer_id,
        carrier_id=service.carrier_name,
        carrier=service.carrier_name,
        service_id=service.shipping_service_id,
        service=service.shipping_service_name,
        price=service.rate_with_adjustments.money(),
        arrives_from=first.astimezone(UTC) if first else None,
        arrives_until=last.astimezone(UTC) if last else None,
        # ShippingServiceDefault is no format of its own.
        formats=frozenset(FORMATS[name] for name in service.available_label_formats if name in FORMATS),
        needs_more=service.requires_additional_seller_inputs,
    )


def status_of(wire: Shipment) -> LabelStatus:
    """Raises Transient for a word that we do not know."""
    status = STATUSES.get(wire.status)
    if status is None:
        raise Transient(f"Amazon's shipment {wire.shipment_id} cannot be read: Status: {wire.status!r} is not known.")
    return status


def purchase_of(reference: str, wire: Shipment, request_id: str | None) -> Purchase:
    """A purchase, with its label if that can be read. Raises Unclear for all else that cannot."""
    status = STATUSES.get(wire.status)
    if status is None:
        raise Unclear(f"Status: {wire.status!r} is not known")
    label: Label | None = None
    missing: str | None = None
    try:
        label = label_of(wire.label)
    except Unclear as problem:
        missing = f"{MISSING} ({problem})"
    return Purchase(
        reference=reference,
        shipment_id=wire.shipment_id,
        status=status,
        tracking_number=wire.tracking_id,
        carrier=wire.shipping_service.carrier_name,
        cost=wire.shipping_service.rate_with_adjustments.money(),
        label=label,
        confirms_order=True,
        missing=missing,
        upstream_request_id=request_id,
    )


def label_of(label: WireLabel) -> Label:
    """Raises Unclear."""
    file = label.file_contents
    format = FORMATS.get(label.label_format or "") or OF_TYPE.get(file.file_type)
    if format is None:
        raise Unclear(f"FileType: {file.file_type!r} is not known")
    return unpacked(file.contents, format, file.checksum)

"""Shipping v2, labels for Amazon's orders and for those of elsewhere: getRates, purchaseShipment, getShipmentDocuments,
getTracking, cancelShipment (here cancelPurchase)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import quote

import orjson
from pydantic import BeforeValidator, Field

from adapters.amazon.client import Client
from adapters.amazon.labels import MISSING, Number, found, need, plain, sent
from adapters.amazon.listings import iso
from adapters.amazon.wire import Instant
from adapters.port import BeforeSend
from adapters.private import hiding
from adapters.wire import Unclear, Wire, money
from domain.address import Address
from domain.budget import Ask
from domain.errors import Conflict, HouseError, Invalid, OutcomeUnknown, Refused, Transient
from domain.ids import derived_id
from domain.label import Label, LabelFormat, LabelStatus, LabelWanted, Offer, ParcelState, Purchase, Voided
from domain.money import Money
from domain.outbound import Whereabouts

PATH = "/shipping/v2"
EXPIRED = "TOKEN_EXPIRED"
# Amazon gives ten minutes from its making of the rates; the way to us and back takes some of them.
RATES_LIFE = timedelta(minutes=9, seconds=30)

# The shipping business of each marketplace. Amazon takes the United Kingdom's where none is named, so one is always named.
BUSINESSES = {
    "US": "AmazonShipping_US",
    "IN": "AmazonShipping_IN",
    "UK": "AmazonShipping_UK",
    "AE": "AmazonShipping_UAE",
    "SA": "AmazonShipping_SA",
    "EG": "AmazonShipping_EG",
    "IT": "AmazonShipping_IT",
    "ES": "AmazonShipping_ES",
    "FR": "AmazonShipping_FR",
    "JP": "AmazonShipping_JP",
}
# Our formats as (format, dots an inch) here.
PRINTED = {
    LabelFormat.PDF: ("PDF", None),
    LabelFormat.PNG: ("PNG", None),
    LabelFormat.ZPL203: ("ZPL", 203),
    LabelFormat.ZPL300: ("ZPL", 300),
}
WHEREABOUTS = {
    "PreTransit": Whereabouts.PREPARING,
    "InTransit": Whereabouts.IN_TRANSIT,
    "OutForDelivery": Whereabouts.OUT_FOR_DELIVERY,
    "DeliveryAttempted": Whereabouts.DELIVERY_ATTEMPTED,
    "AwaitingCustomerPickup": Whereabouts.AVAILABLE_FOR_PICKUP,
    "Delivered": Whereabouts.DELIVERED,
    "Undeliverable": Whereabouts.UNDELIVERABLE,
    "Lost": Whereabouts.LOST,
    "Rejected": Whereabouts.OTHER,
    "PickupCancelled": Whereabouts.OTHER,
}


def _text(value: object) -> object:
    # The model says text; Amazon's own example has a number.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Charge(Wire):
    """An amount of money."""

    value: Number
    unit: str


class Window(Wire):
    """From, until."""

    start: Instant | None = None
    end: Instant | None = None


class Promise(Wire):
    """When the parcel arrives."""

    delivery_window: Window = Window()


class Size(Wire):
    """Of the paper."""

    width: Number
    length: Number
    unit: str


class PrintOption(Wire):
    """How a document can be printed."""

    # to_camel would write supportedDpis.
    supported_dpis: tuple[int, ...] = Field((), alias="supportedDPIs")
    supported_page_layouts: tuple[str, ...] = ()
    supported_file_joining_options: tuple[bool, ...] = ()


class Document(Wire):
    """A document that the service can make."""

    format: str
    size: Size
    print_options: tuple[PrintOption, ...] = ()


class Group(Wire):
    """Extras of which one may have to be chosen."""

    is_required: bool


class Rate(Wire):
    """A carrier's service and its price."""

    rate_id: str
    carrier_id: str
    carrier_name: str
    service_id: str
    service_name: str
    total_charge: Charge
    promise: Promise = Promise()
    supported_document_specifications: tuple[Document, ...] = ()
    available_value_added_service_groups: tuple[Group, ...] = ()
    requires_additional_inputs: bool


class Rates(Wire):
    """What getRates finds."""

    request_token: str
    rates: tuple[Rate, ...]


class RatesAnswer(Wire):
    """Its envelope."""

    payload: Rates


class Paper(Wire):
    """A document in Base64."""

    type: str
    format: str
    contents: str


class Papers(Wire):
    """Those of one parcel."""

    package_documents: tuple[Paper, ...] = ()
    tracking_id: Annotated[str | None, BeforeValidator(_text)] = None


class Bought(Wire):
    """What purchaseShipment made."""

    shipment_id: str
    package_document_details: tuple[Papers, ...]


class BoughtAnswer(Wire):
    """Its envelope."""

    payload: Bought


class Again(Wire):
    """What getShipmentDocuments finds."""

    package_document_detail: Papers


class AgainAnswer(Wire):
    """Its envelope."""

    payload: Again


class Summary(Wire):
    """Where the parcel is."""

    status: str | None = None


class Tracked(Wire):
    """What getTracking finds."""

    tracking_id: str
    promised_delivery_date: Instant | None = None
    summary: Summary = Summary()


class TrackedAnswer(Wire):
    """Its envelope."""

    payload: Tracked


class Shipping:
    """Satisfies `adapters.fulfillment.Labels`; see there. One marketplace of the account.

    The idempotency key is made of the parcel's reference alone: whatever is sent again, and by whom, is one purchase.
    """

    def __init__(self, client: Client, marketplace: str) -> None:
        business = _business(marketplace)
        if business is None:
            raise Invalid(f"Amazon Shipping does not exist in {marketplace}; it does in {', '.join(BUSINESSES)}.")
        self._client = client
        self._headers = {"x-amzn-shipping-business-id": business}

    async def offers(self, wanted: LabelWanted, ask: Ask) -> list[Offer]:
        """They hold for ten minutes. Source: getRates."""
        self._check(wanted)
        body = rates_body(wanted)
        asked_at = datetime.now(UTC)
        with hiding(wanted.ship_from, wanted.ship_to):
            answer, request_id = await self._client.read(
                "getRates", f"{PATH}/shipments/rates", body, ask, RatesAnswer, headers=self._headers
            )
        token, until = answer.payload.request_token, asked_at + RATES_LIFE
        try:
            offers = [offer_of(rate, wanted, token, until) for rate in answer.payload.rates]
        except Unclear as problem:
            raise Transient(f"Amazon's rates cannot be read: {problem}.", upstream_request_id=request_id) from problem
        return sorted(offers, key=lambda offer: (offer.price.amount, offer.service_id))

    async def buy(
        self, wanted: LabelWanted, offer: Offer, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Purchase:
        """Source: purchaseShipment. Rates that are too old are asked again; the same service may then not cost more."""
        self._check(wanted)
        if offer.parcel != _mark(wanted):
            # Amazon sends the parcel that was offered for, wherever the one at hand goes.
            raise Invalid(f"That is no offer for parcel {wanted.reference} as it is now.", field=("offer",))
        with hiding(wanted.ship_from, wanted.ship_to):
            if sent_before:
                problem = OutcomeUnknown(f"Whether the label of parcel {wanted.reference} was bought is not known yet.")
                return await self._same_again(wanted, offer, problem, ask, before_send)
            if offer.until is not None and datetime.now(UTC) >= offer.until:
                offer = await self._renewed(wanted, offer, ask)
            try:
                return await self._bought(wanted, offer, ask, before_send)
            except Refused as problem:
                if problem.upstream_code != EXPIRED:
                    raise
            return await self._bought(wanted, await self._renewed(wanted, offer, ask), ask, before_send)

    async def label(self, shipment_id: str, reference: str, format: LabelFormat, ask: Ask) -> Label:
        """The label once more. Raises NotFound; Transient for one that cannot be read. Source: getShipmentDocuments."""
        name, dpi = PRINTED[format]
        query = {"packageClientReferenceId": reference, "format": name} | ({"dpi": str(dpi)} if dpi else {})
        path = f"{PATH}/shipments/{quote(shipment_id, safe='')}/documents"
        answer, request_id = await self._client.get_with_id(
            "getShipmentDocuments", path, query, ask, AgainAnswer, headers=self._headers
        )
        try:
            return label_of(answer.payload.package_document_detail, format)
        except Unclear as problem:
            raise Transient(f"Amazon's label cannot be read: {problem}.", upstream_request_id=request_id) from problem

    async def track(self, tracking_number: str, carrier_id: str, ask: Ask) -> ParcelState:
        """Where the parcel is. Raises NotFound; Transient for a word that we do not know. Source: getTracking."""
        query = {"trackingId": tracking_number, "carrierId": carrier_id}
        answer, request_id = await self._client.get_with_id(
            "getTracking", f"{PATH}/tracking", query, ask, TrackedAnswer, headers=self._headers
        )
        word, promised = answer.payload.summary.status, answer.payload.promised_delivery_date
        if word is not None and word not in WHEREABOUTS:
            raise Transient(
                f"Amazon's parcel {tracking_number} cannot be read: status: {word!r} is not known.",
                upstream_request_id=request_id,
            )
        where = WHEREABOUTS[word] if word else None
        return ParcelState(tracking_number, where, word, promised.astimezone(UTC) if promised else None)

    async def void(self, shipment_id: str, ask: Ask, before_send: BeforeSend) -> Voided:
        """Source: cancelShipment. There is no reading of what became of it: asked again, it gives the money back once."""
        request_id = await self._client.change_unanswered(
            "cancelPurchase",
            "PUT",
            f"{PATH}/shipments/{quote(shipment_id, safe='')}/cancel",
            ask,
            before_send,
            status=200,
            headers=self._headers,
        )
        return Voided(shipment_id, LabelStatus.REFUND_PENDING, request_id)

    def _check(self, wanted: LabelWanted) -> None:
        if _business(wanted.marketplace) != self._headers["x-amzn-shipping-business-id"]:
            raise Invalid(
                f"Parcel {wanted.reference} is of {wanted.marketplace}, whose labels are not sold here.",
                field=("marketplace",),
            )

    async def _bought(self, wanted: LabelWanted, offer: Offer, ask: Ask, before_send: BeforeSend) -> Purchase:
        try:
            return await self._purchase(wanted, offer, ask, before_send)
        except OutcomeUnknown as problem:
            return await self._same_again(wanted, offer, problem, ask, before_send)

    async def _purchase(self, wanted: LabelWanted, offer: Offer, ask: Ask, before_send: BeforeSend) -> Purchase:
        answer, request_id = await self._client.change(
            "purchaseShipment",
            "POST",
            f"{PATH}/shipments",
            ask,
            before_send,
            BoughtAnswer,
            body=purchase_body(wanted, offer),
            headers={**self._headers, "x-amzn-IdempotencyKey": key(self._client.channel, wanted)},
        )
        papers = answer.payload.package_document_details
        label, missing = await self._label_of(answer.payload, wanted, ask)
        return Purchase(
            reference=wanted.reference,
            shipment_id=answer.payload.shipment_id,
            status=LabelStatus.BOUGHT,
            tracking_number=papers[0].tracking_id if papers else None,
            carrier=offer.carrier,
            cost=offer.price,
            label=label,
            confirms_order=wanted.order_id is not None,
            missing=missing,
            upstream_request_id=request_id,
        )

    async def _label_of(self, bought: Bought, wanted: LabelWanted, ask: Ask) -> tuple[Label | None, str | None]:
        """The label, and if there is none why; one that came damaged is fetched once more."""
        try:
            if bought.package_document_details:
                return label_of(bought.package_document_details[0], wanted.format), None
        except Unclear:
            pass
        try:
            return await self.label(bought.shipment_id, wanted.reference, wanted.format, ask), None
        except HouseError as problem:
            return None, f"{MISSING} ({problem.message})"

    async def _same_again(
        self, wanted: LabelWanted, offer: Offer, problem: OutcomeUnknown, ask: Ask, before_send: BeforeSend
    ) -> Purchase:
        """Send what may have been bought with the same key: Amazon then answers as it did the first time. A refusal now proves
        nothing about then."""
        try:
            return await self._purchase(wanted, offer, ask, before_send)
        except OutcomeUnknown:
            raise
        except Refused as refused:
            return await found(self._client, wanted, refused, ask)
        except HouseError:
            raise problem from None

    async def _renewed(self, wanted: LabelWanted, offer: Offer, ask: Ask) -> Offer:
        """The same service at today's price. Raises Refused when it is gone, Conflict when it costs more."""
        for one in await self.offers(wanted, ask):
            if (one.carrier_id, one.service_id) != (offer.carrier_id, offer.service_id):
                continue
            if one.price.currency != offer.price.currency or one.price.amount > offer.price.amount:
                raise Conflict(
                    f"{offer.service} now costs {one.price.amount} {one.price.currency} instead of {offer.price.amount}; "
                    "ask for the offers again and choose.",
                    field=("offer",),
                )
            return one
        raise Refused(f"{offer.carrier} offers {offer.service} no longer; ask for the offers again.", field=("offer",))


def key(channel: str, wanted: LabelWanted) -> str:
    """The idempotency key of a parcel's purchase."""
    return derived_id("label", channel, wanted.reference)


def rates_body(wanted: LabelWanted) -> dict[str, Any]:
    """The body of getRates. Raises Invalid for what is needed and not there."""
    need(wanted.ship_from, "city")
    channel: dict[str, Any] = {"channelType": "EXTERNAL"}
    if wanted.order_id is not None:
        channel = {"channelType": "AMAZON", "amazonOrderDetails": {"orderId": wanted.order_id}}
    told: dict[str, Any] = {
        "shipFrom": _address(wanted.ship_from),
        "packages": [_package(wanted)],
        "channelDetails": channel,
    }
    if wanted.ship_to is not None:
        told["shipTo"] = _address(wanted.ship_to)
    return told | ({"shipDate": iso(wanted.ship_at)} if wanted.ship_at else {})


def _package(wanted: LabelWanted) -> dict[str, Any]:
    box = wanted.box
    values = [line.unit_value * line.quantity for line in wanted.lines if line.unit_value is not None]
    if len(values) < len(wanted.lines):
        raise Invalid("Amazon Shipping asks for the value of all that is in the parcel.", field=("lines", "unitValue"))
    total = values[0]
    for value in values[1:]:
        total = total + value
    return {
        "dimensions": {
            "length": sent(box.length_cm),
            "width": sent(box.width_cm),
            "height": sent(box.height_cm),
            "unit": "CENTIMETER",
        },
        "weight": {"unit": "GRAM", "value": sent(box.weight_g)},
        "insuredValue": _currency(total),
        "packageClientReferenceId": wanted.reference,
        "items": [
            {"itemIdentifier": line.id, "quantity": line.quantity}
            | ({"itemValue": _currency(line.unit_value)} if line.unit_value else {})
            | ({"weight": {"unit": "GRAM", "value": sent(line.unit_weight_g)}} if line.unit_weight_g else {})
            for line in wanted.lines
        ],
    }


def _currency(amount: Money) -> dict[str, Any]:
    return {"value": sent(amount.amount), "unit": amount.currency}


def _address(address: Address) -> dict[str, str]:
    told = {
        "name": address.name,
        "addressLine1": address.line1,
        "addressLine2": address.line2,
        "addressLine3": address.line3,
        "countryCode": address.country,
        "postalCode": address.postal_code,
        "email": address.email,
        "phoneNumber": address.phone,
    }
    # These two are wanted of every country, also of those that have no states.
    return {name: value for name, value in told.items() if value} | {
        "city": address.city,
        "stateOrRegion": address.state,
    }


def _business(marketplace: str) -> str | None:
    return BUSINESSES.get("UK" if marketplace == "GB" else marketplace)


def _mark(wanted: LabelWanted) -> str:
    return hashlib.sha256(orjson.dumps(rates_body(wanted))).hexdigest()


def offer_of(rate: Rate, wanted: LabelWanted, token: str, until: datetime) -> Offer:
    """Raises Unclear for a price that is none."""
    window = rate.promise.delivery_window
    documents = {format: spec for format in LabelFormat if (spec := _document(rate, format))}
    return Offer(
        id=rate.rate_id,
        carrier_id=rate.carrier_id,
        carrier=rate.carrier_name,
        service_id=rate.service_id,
        service=rate.service_name,
        price=money(rate.total_charge.value, rate.total_charge.unit),
        arrives_from=window.start.astimezone(UTC) if window.start else None,
        arrives_until=window.end.astimezone(UTC) if window.end else None,
        formats=frozenset(documents),
        until=until,
        token=token,
        document=json.dumps(documents[wanted.format]) if wanted.format in documents else "",
        parcel=_mark(wanted),
        needs_more=rate.requires_additional_inputs
        or any(group.is_required for group in rate.available_value_added_service_groups),
    )


def _document(rate: Rate, format: LabelFormat) -> Mapping[str, Any] | None:
    """The specification to ask for, which must be one of those offered; None where there is none for the format."""
    name, dpi = PRINTED[format]
    for document in rate.supported_document_specifications:
        for option in document.print_options if document.format == name else ():
            if dpi is not None and dpi not in option.supported_dpis:
                continue
            chosen = dpi or max(option.supported_dpis, default=None)
            joined = option.supported_file_joining_options
            return {
                "format": name,
                "size": {
                    "width": _plain(document.size.width),
                    "length": _plain(document.size.length),
                    "unit": document.size.unit,
                },
                "needFileJoining": bool(joined) and False not in joined,
                "requestedDocumentTypes": ["LABEL"],
                **({"dpi": chosen} if chosen else {}),
                **({"pageLayout": option.supported_page_layouts[0]} if option.supported_page_layouts else {}),
            }
    return None


def _plain(size: Decimal) -> int | float:
    return int(size) if size == size.to_integral_value() else sent(size)


def purchase_body(wanted: LabelWanted, offer: Offer) -> dict[str, Any]:
    """The body of purchaseShipment. Raises Invalid for an offer that cannot be bought so."""
    if offer.needs_more:
        raise Invalid(
            f"{offer.service} asks questions about the parcel that cannot be answered here.", field=("offer",)
        )
    if not offer.document:
        raise Invalid(f"{offer.service} prints no {wanted.format.value}.", field=("format",))
    return {
        "requestToken": offer.token,
        "rateId": offer.id,
        "requestedDocumentSpecification": json.loads(offer.document),
    }


def label_of(papers: Papers, format: LabelFormat) -> Label:
    """The label among a parcel's documents. Raises Unclear."""
    name, _ = PRINTED[format]
    for paper in papers.package_documents:
        if paper.type == "LABEL" and paper.format == name:
            return plain(paper.contents, format)
    raise Unclear(f"there is no {name} label among the documents")

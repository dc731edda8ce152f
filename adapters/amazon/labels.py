"""What both of Amazon's label shops have in common: labels as files, and what is known of one whose purchase got no answer."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from decimal import Decimal
from typing import Annotated
from urllib.parse import quote

import orjson
from pydantic import BeforeValidator

from adapters.amazon.client import Client
from adapters.amazon.orders import INCLUDED, Package, ParcelsOfOne
from adapters.wire import Unclear
from domain.address import Address
from domain.budget import Ask
from domain.errors import HouseError, Invalid, OutcomeUnknown
from domain.label import Label, LabelFormat, LabelStatus, LabelWanted, Purchase


def _number_only(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("should be a number")
    return value


# Both APIs write money and sizes as JSON numbers, which are read digit by digit.
Number = Annotated[Decimal, BeforeValidator(_number_only)]

MOST_BYTES = 8 * 1024 * 1024
MISSING = "The label itself cannot be had from here: print it again in Seller Central."


def unpacked(contents: str, format: LabelFormat, checksum: str) -> Label:
    """A label out of Base64 and gzip, checked by its MD5 in Base64. Raises Unclear for a damaged one.

    Amazon does not say whether the MD5 is that of the document or of the compressed file; either one proves that it is whole.
    Source: Merchant Fulfillment v0, FileContents.
    """
    packed = _bytes(contents)
    unpack = zlib.decompressobj(wbits=31)
    try:
        data = unpack.decompress(packed, MOST_BYTES)
    except zlib.error as problem:
        raise Unclear("the label is not compressed as it should be") from problem
    if not unpack.eof:
        raise Unclear("the label is cut off or too big")
    if checksum not in (_md5(data), _md5(packed)):
        raise Unclear("the label does not have the checksum that came with it")
    return made(format, data)


def plain(contents: str, format: LabelFormat) -> Label:
    """A label out of Base64. Raises Unclear for what is none. Source: Shipping v2, PackageDocument."""
    return made(format, _bytes(contents))


def made(format: LabelFormat, data: bytes) -> Label:
    """Raises Unclear for an empty one."""
    if not data:
        raise Unclear("the label is empty")
    return Label(format, data, hashlib.md5(data, usedforsecurity=False).hexdigest())


def _bytes(contents: str) -> bytes:
    try:
        return base64.b64decode(contents, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise Unclear("the label is not Base64") from problem


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def sent(number: Decimal) -> float:
    """`number` as JSON has it. Raises Invalid for one that would not arrive digit by digit."""
    told = float(number)
    if Decimal(orjson.dumps(told).decode()) != number:
        raise Invalid(f"{number} cannot be written as a JSON number without changing it.")
    return told


def need(address: Address, *names: str) -> None:
    """Raises Invalid for an address that lacks one of these."""
    for name in names:
        if not getattr(address, name):
            raise Invalid(
                f"Amazon asks for the {name} of where the parcel comes from: tell it in [locations.address] of acorn.toml.",
                field=("shipFrom", name),
            )


async def found(client: Client, wanted: LabelWanted, problem: HouseError, ask: Ask) -> Purchase:
    """The purchase by the parcel that it left at its order: the order's only trace of it, and told a little later.

    Raises OutcomeUnknown when there is none, as `problem` left it: that proves nothing.
    Source: Orders 2026-01-01, getOrder; SP-API documentation, "Confirm the shipment status".
    """
    package = await _package(client, wanted, ask)
    if package is None:
        raise unknown(wanted, problem) from problem
    return Purchase(
        reference=wanted.reference,
        shipment_id=None,
        status=LabelStatus.BOUGHT,
        tracking_number=package.tracking_number,
        carrier=package.carrier,
        cost=None,
        label=None,
        confirms_order=True,
        missing=MISSING,
    )


async def _package(client: Client, wanted: LabelWanted, ask: Ask) -> Package | None:
    if wanted.order_id is None:
        return None
    path = f"/orders/2026-01-01/orders/{quote(wanted.order_id, safe='')}"
    try:
        answer, _ = await client.get_with_id("getOrder", path, {"includedData": INCLUDED}, ask, ParcelsOfOne)
    except HouseError:
        return None
    return next((one for one in answer.order.packages if _is(one, wanted)), None)


def _is(package: Package, wanted: LabelWanted) -> bool:
    inside: dict[str, int] = {}
    for item in package.package_items:
        inside[item.order_item_id] = inside.get(item.order_item_id, 0) + item.quantity
    new = package.tracking_number and package.tracking_number not in wanted.known
    return bool(new) and package.status != "CANCELLED" and inside == {line.id: line.quantity for line in wanted.lines}


def unknown(wanted: LabelWanted, problem: HouseError) -> OutcomeUnknown:
    """What a person has to look at, since Amazon offers no way to ask."""
    where = (
        f"order {wanted.order_id} under Manage Orders"
        if wanted.order_id
        else f"the parcel {wanted.reference} under Buy Shipping"
    )
    return OutcomeUnknown(
        f"Nobody knows whether the label of parcel {wanted.reference} was bought. Look in Seller Central at {where}: "
        "if there is a label, print it there; if there is none some minutes later, buy one anew.",
        upstream_request_id=problem.upstream_request_id,
        upstream_code=problem.upstream_code,
    )

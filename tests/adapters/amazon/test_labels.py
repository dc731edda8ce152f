"""Labels, over HTTP: bought once whatever happens to the answer, checked, given back."""

from __future__ import annotations

import base64
import gzip
import hashlib
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from adapters.amazon.labels import unpacked
from adapters.amazon.merchant_fulfillment import MerchantFulfillment
from adapters.amazon.shipping import Shipping
from adapters.fulfillment import Labels
from adapters.wire import Unclear
from domain.budget import Ask
from domain.errors import Conflict, Invalid, OutcomeUnknown, Refused
from domain.label import LabelFormat, LabelLine, LabelStatus, LabelWanted, Offer, Purchase
from domain.money import Money
from domain.outbound import Whereabouts
from tests.adapters.amazon.bench import Desk, Line, Sandbox, go
from tests.adapters.amazon.parcels import BUYER, DEPOT, make_wanted

OpenDesk = Callable[..., Desk]

MAGIC = {LabelFormat.PDF: b"%PDF-", LabelFormat.PNG: b"\x89PNG", LabelFormat.ZPL203: b"^XA", LabelFormat.ZPL300: b"^XA"}


@pytest.fixture(scope="module")
async def post_office() -> AsyncIterator[Sandbox]:
    """A world that shows at once what was written."""
    started = Sandbox("--products", "60", "--orders", "20", "--lag", "0")
    names = ("getEligibleShipmentServices", "createShipment", "getShipment", "cancelShipment", "getOrder")
    await started.generous(*names, "createRestrictedDataToken")
    yield started
    await started.close()


class Shop:
    """One account's two shops for labels, and what the sandbox says of them."""

    def __init__(self, sandbox: Sandbox, desk: Desk) -> None:
        self.sandbox = sandbox
        self.merchant: MerchantFulfillment = desk.port.merchant_labels  # type: ignore[attr-defined]  # Amazon's port has it
        self.shipping: Shipping = desk.port.shipping_labels["US"]  # type: ignore[attr-defined]
        self.since = 0

    def of(self, kind: str) -> Labels:
        return self.merchant if kind == "merchant" else self.shipping

    async def parcel(self, **changes: Any) -> LabelWanted:
        """All of a new order that the merchant ships."""
        skus = (await self.sandbox.get("world"))["skus"]
        sku = next(one["sku"] for one in skus if one["fulfilledBy"] == "MERCHANT" and "US" in one["marketplaces"])
        placed = {"marketplace": "US", "lines": [{"sku": sku, "quantity": 2}]}
        (order_id,) = (await self.sandbox.post("state", {"orders": [placed]}))["orders"]
        order = next(one for one in (await self.sandbox.get("world"))["orders"] if one["id"] == order_id)
        self.since = await self.sandbox.mark()
        lines = [(line["id"], line["quantity"]) for line in order["lines"]]
        return make_wanted(*lines, order_id=order_id, reference=f"parcel-{uuid4().hex[:10]}", **changes)

    async def bought(self) -> int:
        effects = await self.sandbox.effects(self.since)
        return sum(one["detail"].get("label") == "bought" for one in effects)

    async def fault(self, operation: str, kind: str, count: int = 1, **more: Any) -> None:
        await self.sandbox.post("faults", {"faults": [{"operation": operation, "kind": kind, "count": count, **more}]})

    async def wait(self, **span: float) -> None:
        await self.sandbox.post("clock", {"advance": timedelta(**span).total_seconds()})

    async def open(self, order_id: str | None) -> bool:
        return order_id in {one["id"] for one in (await self.sandbox.get("world"))["orders"]}


@pytest.fixture
async def shop(post_office: Sandbox, open_desk: OpenDesk) -> Shop:
    await post_office.post("faults", {"faults": []})
    return Shop(post_office, open_desk(post_office))


@pytest.fixture(params=["merchant", "shipping"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_offers_have_prices_days_and_formats_the_cheapest_first(shop: Shop, kind: str) -> None:
    wanted = await shop.parcel()
    offers = await shop.of(kind).offers(wanted, Ask())
    prices = [one.price.amount for one in offers]
    assert len(prices) == 3
    assert prices == sorted(prices)
    assert all(one.price.currency == "USD" and one.arrives_until and one.formats == set(LabelFormat) for one in offers)
    heavy = replace(wanted, box=replace(wanted.box, weight_g=Decimal(9000)))
    assert min(one.price.amount for one in await shop.of(kind).offers(heavy, Ask())) > prices[0]


@pytest.mark.parametrize("format", list(LabelFormat))
async def test_a_label_is_bought_and_ships_its_order(shop: Shop, kind: str, format: LabelFormat) -> None:
    wanted = await shop.parcel(format=format)
    labels = shop.of(kind)
    offer = (await labels.offers(wanted, Ask()))[0]
    purchase = await labels.buy(wanted, offer, Ask(), go)
    assert purchase.label is not None, purchase.missing
    assert purchase.label.data.startswith(MAGIC[format])
    assert purchase.label.format is format
    assert purchase.label.checksum == hashlib.md5(purchase.label.data, usedforsecurity=False).hexdigest()
    assert (purchase.status, purchase.cost, purchase.carrier) == (LabelStatus.BOUGHT, offer.price, offer.carrier)
    assert purchase.tracking_number
    assert purchase.confirms_order
    assert (await shop.bought(), await shop.open(wanted.order_id)) == (1, False)


async def test_an_order_of_elsewhere_is_shipped_too_and_confirms_nothing(shop: Shop) -> None:
    wanted = make_wanted(order_id=None, reference=f"parcel-{uuid4().hex[:10]}")
    offer = (await shop.shipping.offers(wanted, Ask()))[0]
    purchase = await shop.shipping.buy(wanted, offer, Ask(), go)
    assert purchase.label is not None
    assert not purchase.confirms_order
    with pytest.raises(Invalid):
        await shop.merchant.offers(wanted, Ask())


@pytest.mark.parametrize("fault", ["apply_then_reset", "apply_then_status"])
async def test_a_lost_answer_of_shipping_is_asked_for_with_the_same_key(shop: Shop, fault: str) -> None:
    wanted = await shop.parcel()
    offer = (await shop.shipping.offers(wanted, Ask()))[0]
    await shop.fault("purchaseShipment", fault, status=503)
    purchase = await shop.shipping.buy(wanted, offer, Ask(), go)
    assert purchase.label is not None
    await shop.fault("purchaseShipment", fault, count=2, status=503)
    again = await shop.parcel()
    other = (await shop.shipping.offers(again, Ask()))[0]
    with pytest.raises(OutcomeUnknown):
        await shop.shipping.buy(again, other, Ask(), go)
    # Long after the rates have died, and with others of today: still the one label.
    await shop.wait(minutes=30)
    found = await shop.shipping.buy(again, other, Ask(), go, sent_before=True)
    assert found.label is not None
    assert await shop.bought() == 1


@pytest.mark.parametrize("fault", ["apply_then_reset", "apply_then_status"])
async def test_a_lost_answer_of_merchant_fulfillment_is_found_at_the_order(shop: Shop, fault: str) -> None:
    wanted = await shop.parcel()
    offer = (await shop.merchant.offers(wanted, Ask()))[0]
    await shop.fault("createShipment", fault, status=503)
    purchase = await shop.merchant.buy(wanted, offer, Ask(), go)
    assert (purchase.shipment_id, purchase.label, purchase.confirms_order) == (None, None, True)
    assert purchase.tracking_number
    assert "Seller Central" in str(purchase.missing)
    again = await shop.merchant.buy(wanted, offer, Ask(), go, sent_before=True)
    assert again == purchase
    assert (await shop.bought(), len(await shop.sandbox.calls(shop.since, "createShipment"))) == (1, 1)


async def test_where_nothing_can_be_known_a_person_is_told_what_to_look_at(shop: Shop) -> None:
    wanted = await shop.parcel()
    offer = (await shop.merchant.offers(wanted, Ask()))[0]
    await shop.fault("createShipment", "status", status=503)
    with pytest.raises(OutcomeUnknown, match=f"Seller Central at order {wanted.order_id}"):
        await shop.merchant.buy(wanted, offer, Ask(), go)
    with pytest.raises(OutcomeUnknown, match="Seller Central"):
        await shop.merchant.buy(wanted, offer, Ask(), go, sent_before=True)
    assert len(await shop.sandbox.calls(shop.since, "createShipment")) == 1
    assert await shop.bought() == 0


async def test_a_parcel_that_is_known_already_is_not_taken_for_the_purchase(shop: Shop) -> None:
    wanted = await shop.parcel()
    offer = (await shop.merchant.offers(wanted, Ask()))[0]
    first = await shop.merchant.buy(wanted, offer, Ask(), go)
    assert first.tracking_number is not None
    known = replace(wanted, reference="another", known=frozenset({first.tracking_number}))
    with pytest.raises(OutcomeUnknown):
        await shop.merchant.buy(known, offer, Ask(), go, sent_before=True)
    assert (
        await shop.merchant.buy(replace(known, known=frozenset()), offer, Ask(), go, sent_before=True)
    ).shipment_id is None


async def test_rates_that_are_too_old_are_asked_again(shop: Shop) -> None:
    for by_clock in (True, False):
        wanted = await shop.parcel()
        offer = (await shop.shipping.offers(wanted, Ask()))[0]
        await shop.wait(minutes=11)
        if by_clock:
            offer = replace(offer, until=datetime.now(UTC) - timedelta(seconds=1))
        assert (await shop.shipping.buy(wanted, offer, Ask(), go)).label is not None
        assert await shop.bought() == 1
        purchases = len(await shop.sandbox.calls(shop.since, "purchaseShipment"))
        assert purchases == (1 if by_clock else 2)


async def test_a_price_that_rose_meanwhile_is_not_paid(shop: Shop) -> None:
    wanted = await shop.parcel()
    offer = (await shop.shipping.offers(wanted, Ask()))[0]
    cheap = replace(offer, price=Money(offer.price.amount - 1, "USD"), until=datetime.now(UTC))
    with pytest.raises(Conflict, match="now costs"):
        await shop.shipping.buy(wanted, cheap, Ask(), go)
    gone = replace(offer, service_id="NO-SUCH", until=datetime.now(UTC))
    with pytest.raises(Refused, match="no longer"):
        await shop.shipping.buy(wanted, gone, Ask(), go)
    assert await shop.bought() == 0


async def test_what_was_renewed_and_lost_is_asked_for_with_the_same_key(shop: Shop) -> None:
    wanted = await shop.parcel()
    offer = (await shop.shipping.offers(wanted, Ask()))[0]
    await shop.wait(minutes=11)
    sends = 0

    async def lose_the_second() -> None:
        nonlocal sends
        sends += 1
        if sends == 2:
            await shop.fault("purchaseShipment", "apply_then_reset")

    assert (await shop.shipping.buy(wanted, offer, Ask(), lose_the_second)).label is not None
    assert (await shop.bought(), sends) == (1, 3)


@pytest.mark.parametrize("status", [403, 429, 500])
async def test_what_may_be_bought_stays_unknown_whatever_is_said_then(shop: Shop, status: int) -> None:
    wanted = await shop.parcel()
    offer = (await shop.shipping.offers(wanted, Ask()))[0]
    sends = 0

    async def fail() -> None:
        nonlocal sends
        sends += 1
        await shop.fault("purchaseShipment", "apply_then_reset" if sends == 1 else "status", status=status)

    with pytest.raises(OutcomeUnknown):
        await shop.shipping.buy(wanted, offer, Ask(), fail)
    assert await shop.bought() == 1


async def test_an_offer_for_another_parcel_buys_nothing(shop: Shop) -> None:
    wanted = await shop.parcel()
    offer = (await shop.shipping.offers(wanted, Ask()))[0]
    moved = replace(wanted, ship_to=BUYER)
    for other in (
        moved,
        replace(wanted, reference="another"),
        replace(wanted, box=replace(wanted.box, weight_g=Decimal(1))),
    ):
        for sent_before in (False, True):
            with pytest.raises(Invalid, match="no offer for parcel"):
                await shop.shipping.buy(other, offer, Ask(), go, sent_before=sent_before)
    for abroad in ("DE", "JP"):
        with pytest.raises(Invalid, match=f"is of {abroad}"):
            await shop.shipping.offers(replace(wanted, marketplace=abroad), Ask())
    assert await shop.bought() == 0


async def bought(shop: Shop, kind: str) -> tuple[LabelWanted, Offer, Purchase, str]:
    wanted = await shop.parcel()
    offer = (await shop.of(kind).offers(wanted, Ask()))[0]
    purchase = await shop.of(kind).buy(wanted, offer, Ask(), go)
    assert purchase.shipment_id is not None
    return wanted, offer, purchase, purchase.shipment_id


async def test_a_label_can_be_had_again(shop: Shop) -> None:
    wanted, _, purchase, id = await bought(shop, "merchant")
    assert (await shop.merchant.shipment(wanted.reference, id, Ask())) == purchase
    wanted, _, purchase, id = await bought(shop, "shipping")
    assert await shop.shipping.label(id, wanted.reference, wanted.format, Ask()) == purchase.label
    assert purchase.label is not None
    assert (await shop.shipping.label(id, wanted.reference, LabelFormat.PNG, Ask())).data.startswith(b"\x89PNG")


async def test_money_is_asked_back_once_and_given_back_later(shop: Shop) -> None:
    wanted, _, _, id = await bought(shop, "merchant")
    await shop.fault("cancelShipment", "apply_then_reset")
    assert (await shop.merchant.void(id, Ask(), go)).status is LabelStatus.REFUND_PENDING
    assert (await shop.merchant.void(id, Ask(), go)).status is LabelStatus.REFUND_PENDING
    await shop.wait(hours=2)
    stands = await shop.merchant.shipment(wanted.reference, id, Ask())
    assert stands.status is LabelStatus.REFUNDED
    assert sum(one["detail"].get("label") == "refund asked" for one in await shop.sandbox.effects(shop.since)) == 1
    assert not await shop.open(wanted.order_id)
    _, _, _, other = await bought(shop, "shipping")
    assert (await shop.shipping.void(other, Ask(), go)).status is LabelStatus.REFUND_PENDING


async def test_a_label_that_the_carrier_has_is_not_given_back(shop: Shop) -> None:
    wanted, _, _, id = await bought(shop, "merchant")
    _, _, _, other = await bought(shop, "shipping")
    await shop.wait(days=2)
    await shop.merchant.void(id, Ask(), go)
    await shop.wait(hours=2)
    assert (await shop.merchant.shipment(wanted.reference, id, Ask())).status is LabelStatus.REFUND_REFUSED
    with pytest.raises(Refused, match="no money back"):
        await shop.merchant.void(id, Ask(), go)
    with pytest.raises(Refused):
        await shop.shipping.void(other, Ask(), go)


async def test_a_parcel_is_followed(shop: Shop) -> None:
    _, offer, purchase, _ = await bought(shop, "shipping")
    assert purchase.tracking_number is not None
    where = []
    for days in (0, 1.5, 9):
        await shop.wait(days=days)
        state = await shop.shipping.track(purchase.tracking_number, offer.carrier_id, Ask())
        where.append(state.whereabouts)
        assert state.promised_at is not None
    assert where == [Whereabouts.PREPARING, Whereabouts.IN_TRANSIT, Whereabouts.DELIVERED]


async def test_no_failure_tells_where_people_live(shop: Shop) -> None:
    wanted = await shop.parcel()
    assert DEPOT.line1 not in repr(wanted)
    heavy = replace(wanted, ship_to=BUYER, box=replace(wanted.box, weight_g=Decimal(99_000)))
    for labels in (shop.merchant, shop.shipping):
        with pytest.raises(Refused) as raised:
            await labels.offers(heavy, Ask())
        told = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
        assert not [text for text in (*DEPOT.texts, *BUYER.texts) if len(text) > 2 and text in told]
        # The twin: the platform did repeat the street, and something stands where it stood.
        assert "…" in told


async def test_what_was_bought_is_told_although_the_second_reading_of_it_says_nothing(desk: Desk, line: Line) -> None:
    price = {"CurrencyCode": "USD", "Amount": 7.4}
    service = {"CarrierName": "UPS", "RateWithAdjustments": price}
    shipment = {"ShipmentId": "S-1", "Status": "Purchased", "TrackingId": "1Z", "ShippingService": service}
    sealed = {"restrictedDataToken": "Atz.sprdt|1", "expiresIn": 3600}
    for answer in (sealed, {"payload": shipment}, sealed, {"payload": shipment | {"Status": "Teleporting"}}):
        line.answers.append(httpx.Response(200, json=answer))
    shop: MerchantFulfillment = desk.port.merchant_labels  # type: ignore[attr-defined]
    offer = Offer("o", "UPS", "UPS", "s", "Ground", Money(Decimal("7.4"), "USD"), None, None, frozenset())
    purchase = await shop.buy(make_wanted(), offer, Ask(), go)
    assert (purchase.shipment_id, purchase.cost, purchase.label) == ("S-1", offer.price, None)
    assert purchase.missing is not None


def test_a_parcel_that_no_platform_would_take_is_refused_here() -> None:
    for changes in (
        {"ship_at": datetime(2026, 11, 20, tzinfo=UTC).replace(tzinfo=None)},
        {"lines": (LabelLine("1", 1), LabelLine("1", 2))},
        {"lines": ()},
        {"reference": ""},
    ):
        with pytest.raises(Invalid):
            make_wanted(**changes)


def pack(data: bytes, checksum: bytes | None = None) -> tuple[str, str]:
    digest = hashlib.md5(data if checksum is None else checksum, usedforsecurity=False).digest()
    return base64.b64encode(gzip.compress(data)).decode(), base64.b64encode(digest).decode()


def test_a_damaged_label_is_not_printed() -> None:
    contents, checksum = pack(b"%PDF-1.4 a label")
    assert unpacked(contents, LabelFormat.PDF, checksum).data == b"%PDF-1.4 a label"
    packed = base64.b64decode(contents)
    over_the_file = base64.b64encode(hashlib.md5(packed, usedforsecurity=False).digest()).decode()
    assert unpacked(contents, LabelFormat.PDF, over_the_file).data == b"%PDF-1.4 a label"
    wrong = pack(b"%PDF-1.4 a label", b"another")
    cut = base64.b64encode(packed[:-9]).decode()
    bomb = pack(b"0" * (9 * 1024 * 1024))
    for damaged, sum_ in (wrong, (cut, checksum), ("%%%", checksum), (base64.b64encode(b"x").decode(), checksum), bomb):
        with pytest.raises(Unclear):
            unpacked(damaged, LabelFormat.PDF, sum_)

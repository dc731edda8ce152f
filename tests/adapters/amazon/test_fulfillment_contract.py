"""What we send for outbound orders and labels, what the sandbox answers, and what Amazon shows as examples, against Amazon's own
models: ACORN_CONTRACTS names a folder that holds them under spapi-models/."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest
from redis.asyncio import Redis

from adapters.amazon import merchant_fulfillment, outbound_2020_wire, outbound_2026, shipping
from adapters.amazon.fulfillment import OUTBOUND, outbound
from adapters.amazon.merchant_fulfillment import MerchantFulfillment
from adapters.amazon.outbound import known
from adapters.amazon.shipping import Shipping
from adapters.fulfillment import Labels
from adapters.transport import parse_json
from adapters.wire import Unclear, read
from domain.budget import Ask
from domain.errors import HouseError, Refused
from domain.label import LabelFormat, LabelLine, LabelStatus
from domain.money import Money
from domain.outbound import Feature, OutboundStatus, Speed, Whereabouts
from domain.outbound_return import ReturnUnit, ReturnWanted
from sandbox.amazon.app import build
from sandbox.options import Options
from tests.adapters.amazon.bench import Desk, go, make_config, make_desk
from tests.adapters.amazon.parcels import BUYER, make_outbound, make_wanted
from tests.contracts import spapi

pytestmark = spapi.published


class Recorded(httpx.AsyncBaseTransport):
    """The sandbox in this process, and all that was said to it and by it."""

    def __init__(self) -> None:
        # A token lives an hour of the sandbox's clock: half a minute here.
        options = Options(products=60, orders=20, speed=120, lag_s=0)
        self.inner = httpx.ASGITransport(app=build(options))
        self.said: list[tuple[httpx.Request, httpx.Response]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        answer = await self.inner.handle_async_request(request)
        await answer.aread()
        if not request.url.path.startswith("/auth"):
            self.said.append((request, answer))
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def names(self) -> set[tuple[str, int]]:
        """(operation, status) of all that was said; each of it as published."""
        names = set()
        for request, answer in self.said:
            name = spapi.operation_of(request.method, request.url.raw_path.decode().partition("?")[0])
            assert spapi.request_faults(request) == [], f"{request.method} {request.url}"
            assert spapi.answer_faults(name, answer) == [], answer.text
            names.add((name, answer.status_code))
        return names


@pytest.fixture
async def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
async def account(redis: Redis, recorded: Recorded) -> AsyncIterator[Desk]:
    made = make_desk(redis, make_config(), recorded)
    for plan in made.port.plans.values():
        await made.budgets.states([(made.channel, plan)])
        await made.budgets.adopt(made.channel, plan.operation, rate=1000)
    yield made
    await made.close()


async def control(path: str, recorded: Recorded, body: Any = None) -> Any:
    async with httpx.AsyncClient(transport=recorded.inner, base_url="http://sandbox") as client:
        answer = await (client.post(path, json=body) if body is not None else client.get(path))
        assert answer.status_code == 200, answer.text
        return answer.json()


async def held(recorded: Recorded, party: str) -> str:
    skus = (await control("/_sandbox/world", recorded))["skus"]
    sku = str(next(one["sku"] for one in skus if one["fulfilledBy"] == party and "US" in one["marketplaces"]))
    await control("/_sandbox/state", recorded, {"stock": [{"sku": sku, "marketplace": "US", "quantity": 50}]})
    return sku


@pytest.mark.parametrize("version", sorted(OUTBOUND))
async def test_outbound_is_spoken_as_published(account: Desk, recorded: Recorded, version: str) -> None:
    port = outbound(account.port.client, version)  # type: ignore[attr-defined]  # Amazon's port has one
    sku = await held(recorded, "AMAZON")
    base = make_outbound((sku, 2), (sku, 1), features=frozenset({Feature.BLANK_BOX}))
    declared = tuple(replace(line, declared_value=Money(Decimal("9.50"), "USD")) for line in base.lines)
    order = replace(base, lines=declared, address=replace(BUYER, line2="Unit 4", email="o@buyer.example"))
    await port.preview(order, tuple(Speed), Ask())
    await port.preview(make_outbound((sku, 99)), (Speed.STANDARD,), Ask())
    for number in range(2):  # one that 2026-07-04 answers at once, one that it only accepts
        await port.create(replace(order, id=f"shop-{number}"), Ask(), go)
    with pytest.raises(Refused):
        await port.create(replace(order, id="shop-7", speed=Speed.PRIORITY), Ask(), go)
    await port.cancel("shop-0", Ask(), go)
    with pytest.raises(HouseError):
        await port.cancel("no-such", Ask(), go)
    await control("/_sandbox/clock", recorded, {"advance": 8 * 3600})
    assert (await port.track("shop-1", Ask())).packages
    with pytest.raises(Refused):
        await port.cancel("shop-1", Ask(), go)
    with pytest.raises(HouseError):
        await port.track("no-such", Ask())
    assert await port.changed(order.placed_at, Ask(), 1)
    wanted = ReturnWanted("shop-1", (ReturnUnit("back-1", order.lines[0].id),), "CR-DEFECTIVE", "Too small")
    if not port.no_returns:
        assert (await port.announce_return(wanted, Ask(), go)).units
        assert (await port.track("shop-1", Ask())).returns
    names = {
        "2020-07-01": {
            ("getFulfillmentPreview", 200),
            ("createFulfillmentOrder", 200),
            ("createFulfillmentOrder", 400),
            ("getFulfillmentOrder", 200),
            ("getFulfillmentOrder", 404),
            ("cancelFulfillmentOrder", 200),
            ("cancelFulfillmentOrder", 400),
            ("cancelFulfillmentOrder", 404),
            ("getPackageTrackingDetails", 200),
            ("listAllFulfillmentOrders", 200),
            ("createFulfillmentReturn", 200),
            ("listReturnReasonCodes", 200),
        },
        "2026-07-04": {
            ("getOrderPreview", 200),
            ("createOrder", 200),
            ("createOrder", 202),
            ("createOrder", 400),
            ("getOutboundOrder", 200),
            ("getOutboundOrder", 404),
            ("cancelOrder", 202),
            ("cancelOrder", 400),
            ("cancelOrder", 404),
            ("listOrders", 200),
        },
    }
    assert names[version] <= recorded.names()


async def test_labels_are_spoken_as_published(account: Desk, recorded: Recorded) -> None:
    client = account.port.client  # type: ignore[attr-defined]
    merchant, shops = MerchantFulfillment(client), Shipping(client, "US")
    for labels in (merchant, shops):
        await one_label(labels, recorded)
    with pytest.raises(HouseError):
        await merchant.shipment("r", "00000000-0000-0000-0000-000000000000", Ask())
    with pytest.raises(HouseError):
        await merchant.void("00000000-0000-0000-0000-000000000000", Ask(), go)
    with pytest.raises(HouseError):
        await merchant.offers(make_wanted(order_id="1"), Ask())
    outside = make_wanted(order_id=None, ship_at=BASE.placed_at, format=LabelFormat.ZPL203)
    weighed = replace(outside, lines=(LabelLine("1", 1, Money(Decimal("5"), "USD"), Decimal("200")),))
    offer = (await shops.offers(weighed, Ask()))[0]
    purchase = await shops.buy(weighed, offer, Ask(), go)
    await shops.label(str(purchase.shipment_id), weighed.reference, weighed.format, Ask())
    await shops.track(str(purchase.tracking_number), offer.carrier_id, Ask())
    other = replace(weighed, reference="2")
    for call in (
        shops.offers(make_wanted(order_id="1"), Ask()),
        shops.track("nothing", "UPS", Ask()),
        shops.label("nothing", "r", LabelFormat.PDF, Ask()),
        shops.void("nothing", Ask(), go),
        shops.buy(other, replace((await shops.offers(other, Ask()))[0], id="x"), Ask(), go),
    ):
        with pytest.raises(HouseError):
            await call
    assert {
        ("getEligibleShipmentServices", 200),
        ("getEligibleShipmentServices", 400),
        ("createShipment", 200),
        ("getShipment", 404),
        ("cancelShipment", 200),
        ("cancelShipment", 404),
        ("getRates", 200),
        ("getRates", 400),
        ("purchaseShipment", 200),
        ("purchaseShipment", 400),
        ("getShipmentDocuments", 200),
        ("getShipmentDocuments", 404),
        ("getTracking", 200),
        ("getTracking", 404),
        ("cancelPurchase", 200),
        ("cancelPurchase", 404),
        ("createRestrictedDataToken", 200),
    } <= recorded.names()


BASE = make_outbound()


async def one_label(labels: Labels, recorded: Recorded) -> None:
    sku = await held(recorded, "MERCHANT")
    placed = {"marketplace": "US", "lines": [{"sku": sku, "quantity": 1}]}
    (order_id,) = (await control("/_sandbox/state", recorded, {"orders": [placed]}))["orders"]
    orders = (await control("/_sandbox/world", recorded))["orders"]
    line = next(one for one in orders if one["id"] == order_id)["lines"][0]
    wanted = make_wanted((line["id"], 1), order_id=order_id, ship_at=BASE.placed_at)
    offer = (await labels.offers(wanted, Ask()))[0]
    purchase = await labels.buy(wanted, offer, Ask(), go)
    await labels.void(str(purchase.shipment_id), Ask(), go)


def shown(name: str, status: int = 200) -> Any:
    """The example of an answer that stands beside an operation's schema, as it comes over the wire."""
    _, one = spapi.operation(name)
    example = one["responses"][str(status)]["examples"]
    return parse_json(orjson.dumps(example.get("application/json", example)))


def wrapped(name: str) -> Any:
    """The same of Shipping v2, whose examples leave out the payload that its schemas and its answers have."""
    return {"payload": shown(name)}


def test_amazons_outbound_examples_are_understood() -> None:
    previews = read(outbound_2020_wire.PreviewAnswer, shown("getFulfillmentPreview")).payload.fulfillment_previews
    told = outbound_2020_wire.speed_preview(previews[0])
    assert (told.speed, told.possible, told.fees[0].amount) == (Speed.STANDARD, True, Money(Decimal("19.71"), "USD"))
    wire = read(outbound_2020_wire.OrderAnswer, shown("getFulfillmentOrder")).payload
    state = outbound_2020_wire.state_of(wire, None)
    # The example has the status in capitals, which the model has not.
    assert (state.status, state.channel_status) == (OutboundStatus.PROCESSING, "PROCESSING")
    assert len(state.lines) == len(shown("getFulfillmentOrder")["payload"]["fulfillmentOrderItems"])
    shipments = shown("getFulfillmentOrder")["payload"].get("fulfillmentShipments", [])
    assert len(state.packages) == sum(len(one.get("fulfillmentShipmentPackage", [])) for one in shipments)
    tracked = read(outbound_2020_wire.TrackingAnswer, shown("getPackageTrackingDetails")).payload
    assert outbound_2020_wire.WHEREABOUTS[str(tracked.current_status)] is Whereabouts.DELIVERED
    order = replace(make_outbound(("someSku", 1)))
    preview = read(outbound_2026.PreviewAnswer, shown("getOrderPreview"))
    standard = outbound_2026.speed_preview(order, Speed.STANDARD, preview)
    assert standard.fees[0].amount == Money(Decimal("4.25"), "USD")
    assert standard.arrives_until is not None
    found = outbound_2026.state_of(read(outbound_2026.OrderAnswer, shown("getOutboundOrder")).order, None)
    assert (found.status, found.packages[0].whereabouts) == (OutboundStatus.PROCESSING, Whereabouts.DELIVERED)
    assert (found.packages[0].tracking_number, found.packages[0].lines) == ("123456789", (("LI789012", 1),))
    assert read(outbound_2026.Accepted, shown("createOrder", 202)).order_id == "ABC123XYZ"
    assert read(outbound_2026.Accepted, shown("createOrder")).order


def test_a_status_that_is_new_is_told_with_its_word() -> None:
    wire = shown("getFulfillmentOrder")
    wire["payload"]["fulfillmentOrder"]["fulfillmentOrderStatus"] = "Teleporting"
    with pytest.raises(Unclear, match="Teleporting"):
        outbound_2020_wire.state_of(read(outbound_2020_wire.OrderAnswer, wire).payload, None)
    newer = shown("getOutboundOrder")
    newer["order"]["status"] = "TELEPORTING"
    with pytest.raises(Unclear, match="TELEPORTING"):
        outbound_2026.state_of(read(outbound_2026.OrderAnswer, newer).order, None)


def test_every_published_status_has_its_place() -> None:
    model = spapi.model("fulfillmentOutbound_2020-07-01.json")["definitions"]
    for word in model["FulfillmentOrderStatus"]["enum"]:
        assert known(outbound_2020_wire.STATUSES, word, "status") in OutboundStatus
    for word in model["CurrentStatus"]["enum"]:
        assert known(outbound_2020_wire.WHEREABOUTS, word, "status") in Whereabouts
    labels = spapi.model("merchantFulfillmentV0.json")["definitions"]
    assert set(labels["ShipmentStatus"]["enum"]) == set(merchant_fulfillment.STATUSES)
    newer = spapi.model("shippingV2.json")["definitions"]
    assert set(newer["Status"]["enum"]) == set(shipping.WHEREABOUTS)


def test_amazons_label_examples_are_understood() -> None:
    told = json.dumps(spapi.examples("getEligibleShipmentServices")[0][1]).encode()
    services = read(merchant_fulfillment.ServicesAnswer, parse_json(told)).payload.shipping_service_list
    offers = [merchant_fulfillment.offer_of(service) for service in services]
    assert offers[0].price == Money(Decimal("33.73"), "USD")
    assert offers[0].needs_more
    for name in ("createShipment", "getShipment", "cancelShipment"):
        for _, answer in spapi.examples(name):
            wire = read(merchant_fulfillment.ShipmentAnswer, parse_json(json.dumps(answer).encode())).payload
            purchase = merchant_fulfillment.purchase_of("r", wire, None)
            assert purchase.status in LabelStatus
            # The examples' labels are cut off: what was bought is told, and that its label is missing.
            assert (purchase.label, purchase.missing is not None) == (None, True)
    rates = read(shipping.RatesAnswer, wrapped("getRates")).payload
    (offer,) = [
        shipping.offer_of(rate, make_wanted(format=LabelFormat.PNG), "t", BASE.placed_at) for rate in rates.rates
    ]
    assert (offer.price, offer.formats) == (
        Money(Decimal("7"), "USD"),
        frozenset({LabelFormat.PNG, LabelFormat.ZPL203, LabelFormat.ZPL300}),
    )
    bought = read(shipping.BoughtAnswer, wrapped("purchaseShipment")).payload
    assert bought.package_document_details[0].tracking_id == "1578648261977"
    assert read(shipping.AgainAnswer, wrapped("getShipmentDocuments")).payload.package_document_detail.tracking_id
    assert read(shipping.TrackedAnswer, wrapped("getTracking")).payload.summary.status == "Delivered"

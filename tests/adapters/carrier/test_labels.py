"""Carriers' labels, over HTTP: bought once whatever happens to the answer, given back once, and without a word of people."""

from __future__ import annotations

import traceback
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml  # type: ignore[import-untyped]  # it has no types
from openapi_spec_validator import validate

from adapters.carrier import operations
from adapters.carrier.labels import FORMATS, STATUSES, WHEREABOUTS, CarrierLabels
from adapters.fulfillment import LabelBooks, Labels
from adapters.rest.client import Operation
from domain.budget import Ask
from domain.errors import Conflict, HouseError, Invalid, MissingRole, NotFound, OutcomeUnknown, Throttled, Unauthorized
from domain.label import LabelFormat, LabelStatus, LabelWanted, Offer, Purchase
from domain.money import Money
from domain.outbound import Whereabouts
from tests.adapters.amazon.parcels import BUYER, DEPOT, make_wanted
from tests.adapters.bench import Sandbox
from tests.adapters.carrier.conftest import OpenLabels

PAGE = Path(__file__).parents[3] / "docs" / "carrier" / "openapi.yaml"
MAGIC = {LabelFormat.PDF: b"%PDF-", LabelFormat.PNG: b"\x89PNG", LabelFormat.ZPL203: b"^XA", LabelFormat.ZPL300: b"^XA"}
# A write that was never carried out, and one that was and whose answer is lost.
LOST = [
    {"kind": "status", "status": 500},
    {"kind": "reset"},
    {"kind": "hang"},
    {"kind": "apply_then_status", "status": 502},
    {"kind": "apply_then_reset"},
    {"kind": "apply_then_hang"},
    {"kind": "truncate"},
]


async def go() -> None:
    """Nothing stands in the way of sending."""


def wanted(**changes: Any) -> LabelWanted:
    return make_wanted(**({"order_id": None, "reference": f"ref-{uuid4().hex[:12]}"} | changes))


async def cheapest(labels: Labels, parcel: LabelWanted) -> Offer:
    return (await labels.offers(parcel, Ask()))[0]


async def buy(labels: Labels, parcel: LabelWanted, *, sent_before: bool = False) -> Purchase:
    return await labels.buy(parcel, await cheapest(labels, parcel), Ask(), go, sent_before=sent_before)


async def bought(parcels: Sandbox, reference: str) -> int:
    effects = (await parcels.get("journal"))["effects"]
    return sum(one["operation"] == "buyLabel" and one["key"] == reference for one in effects)


async def test_rates_come_cheapest_first_with_their_formats(labels: CarrierLabels) -> None:
    offers = await labels.offers(wanted(), Ask())
    assert [one.service for one in offers] == ["Hermes Standard", "DHL Paket", "UPS Standard", "DHL Express"]
    assert offers[0].formats == {LabelFormat.PDF, LabelFormat.PNG}
    assert all(one.price.currency == "EUR" and one.arrives_until is not None for one in offers)
    abroad = await labels.offers(wanted(ship_to=replace(BUYER, country="CA", postal_code="K1A 0B1")), Ask())
    assert "Hermes Standard" not in [one.service for one in abroad]


@pytest.mark.parametrize("format", list(LabelFormat))
async def test_a_label_is_bought_and_comes_whole_in_its_format(labels: CarrierLabels, format: LabelFormat) -> None:
    parcel = wanted(format=format)
    offer = next(one for one in await labels.offers(parcel, Ask()) if format in one.formats)
    taken = await labels.buy(parcel, offer, Ask(), go)
    assert (taken.status, taken.cost, taken.confirms_order) == (LabelStatus.BOUGHT, offer.price, False)
    assert isinstance(labels, LabelBooks)
    whole = await labels.shipment(parcel.reference, taken.shipment_id or "", Ask())
    assert whole.label is not None
    assert (whole.label.format, whole.label.data.startswith(MAGIC[format])) == (format, True)
    assert (whole.tracking_number, whole.whereabouts) == (taken.tracking_number, Whereabouts.PREPARING)


@pytest.mark.parametrize("fault", LOST, ids=lambda one: "-".join(str(part) for part in one.values()))
async def test_a_lost_answer_is_found_or_bought_once(
    parcels: Sandbox, open_labels: OpenLabels, fault: dict[str, Any]
) -> None:
    labels, parcel = open_labels(), wanted()
    offer = await cheapest(labels, parcel)
    await parcels.faults({"operation": "buyLabel", "count": 1, **fault})
    with pytest.raises(OutcomeUnknown):
        await labels.buy(parcel, offer, Ask(), go)
    taken = await labels.buy(parcel, offer, Ask(), go, sent_before=True)
    again = await labels.buy(parcel, offer, Ask(), go, sent_before=True)
    assert (await bought(parcels, parcel.reference), taken.shipment_id) == (1, again.shipment_id)


async def test_the_same_key_buys_once_also_without_a_look(parcels: Sandbox, labels: CarrierLabels) -> None:
    parcel = wanted()
    first, second = await buy(labels, parcel), await buy(labels, parcel)
    assert (first, await bought(parcels, parcel.reference)) == (second, 1)


async def test_a_reference_stands_for_one_label_for_ever(parcels: Sandbox, open_labels: OpenLabels) -> None:
    parcel, seen = wanted(), []

    class OtherKey(httpx.AsyncBaseTransport):
        """The key is lost on its way, as if it had been made of something else."""

        def __init__(self) -> None:
            self.inner = httpx.AsyncHTTPTransport()

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if "idempotency-key" in request.headers:
                seen.append(request.headers["idempotency-key"])
                request.headers["idempotency-key"] = f'"{uuid4().hex}"'
            return await self.inner.handle_async_request(request)

        async def aclose(self) -> None:
            await self.inner.aclose()

    labels = open_labels(wire=OtherKey())
    await buy(labels, parcel)
    with pytest.raises(Conflict, match="reference"):
        await buy(labels, parcel)
    assert (len(set(seen)), await bought(parcels, parcel.reference)) == (1, 1)


async def test_what_costs_more_by_now_is_not_bought(parcels: Sandbox, labels: CarrierLabels) -> None:
    parcel = wanted()
    offer = await cheapest(labels, parcel)
    with pytest.raises(Conflict) as caught:
        await labels.buy(parcel, replace(offer, price=Money(Decimal("0.01"), "EUR")), Ask(), go)
    assert (caught.value.upstream_code, await bought(parcels, parcel.reference)) == ("price-rose", 0)


async def test_nothing_is_sent_when_the_intent_cannot_be_kept(parcels: Sandbox, labels: CarrierLabels) -> None:
    async def refuse() -> None:
        raise RuntimeError("no")

    parcel = wanted()
    with pytest.raises(RuntimeError):
        await labels.buy(parcel, await cheapest(labels, parcel), Ask(), refuse)
    assert await bought(parcels, parcel.reference) == 0


async def test_a_label_is_given_back_once_and_the_money_comes_later(parcels: Sandbox, labels: CarrierLabels) -> None:
    taken = await buy(labels, wanted())
    id = taken.shipment_id or ""
    before = Decimal((await parcels.get("world"))["balance"]["amount"])
    first, second = await labels.void(id, Ask(), go), await labels.void(id, Ask(), go)
    assert (first.status, second.status) == (LabelStatus.REFUND_PENDING, LabelStatus.REFUND_PENDING)
    await parcels.post("clock", advance=3_601)
    assert (await labels.shipment(taken.reference, id, Ask())).status is LabelStatus.REFUNDED
    after = Decimal((await parcels.get("world"))["balance"]["amount"])
    assert taken.cost is not None
    assert before - after == taken.cost.amount


async def test_a_parcel_that_the_carrier_has_is_not_given_back(parcels: Sandbox, labels: CarrierLabels) -> None:
    taken = await buy(labels, wanted())
    await parcels.post("state", parcels=[{"trackingNumber": taken.tracking_number, "status": "in_transit"}])
    with pytest.raises(Conflict) as caught:
        await labels.void(taken.shipment_id or "", Ask(), go)
    assert caught.value.upstream_code == "too-late"
    told = await labels.shipment(taken.reference, taken.shipment_id or "", Ask())
    assert (told.status, told.whereabouts) == (LabelStatus.BOUGHT, Whereabouts.IN_TRANSIT)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 429}, Throttled),
        ({"kind": "status", "status": 503}, Throttled),
        ({"kind": "status", "status": 401}, Unauthorized),
        ({"kind": "status", "status": 403}, MissingRole),
        ({"kind": "status", "status": 404}, NotFound),
    ],
)
@pytest.mark.parametrize("call", ["rates", "buyLabel", "getLabel", "getDocument", "voidLabel", "listLabels"])
async def test_each_call_fails_as_the_tree_says(
    parcels: Sandbox, open_labels: OpenLabels, call: str, fault: dict[str, Any], kind: type[HouseError]
) -> None:
    labels, parcel = open_labels(), wanted()
    offer = await cheapest(labels, parcel)
    taken = await labels.buy(parcel, offer, Ask(), go)
    id = taken.shipment_id or ""
    await parcels.faults({"operation": call, **fault})
    does: dict[str, Any] = {
        "rates": lambda: labels.offers(parcel, Ask()),
        "buyLabel": lambda: labels.buy(replace(parcel, reference="never"), offer, Ask(), go),
        "listLabels": lambda: labels.buy(parcel, offer, Ask(), go, sent_before=True),
        "getLabel": lambda: labels.shipment(parcel.reference, id, Ask()),
        "getDocument": lambda: labels.shipment(parcel.reference, id, Ask()),
        "voidLabel": lambda: labels.void(id, Ask(), go),
    }
    if (call, kind) == ("getDocument", NotFound):
        assert (await does[call]()).missing is not None
        return
    with pytest.raises(kind):
        await does[call]()


async def test_a_token_that_may_only_read_buys_nothing(open_labels: OpenLabels, parcels: Sandbox) -> None:
    labels, parcel = open_labels("ct_sandbox_readonly"), wanted()
    offer = await cheapest(labels, parcel)
    with pytest.raises(MissingRole):
        await labels.buy(parcel, offer, Ask(), go)
    assert await bought(parcels, parcel.reference) == 0


async def test_a_parcel_without_an_address_is_refused_before_anything_is_asked(labels: CarrierLabels) -> None:
    with pytest.raises(Invalid, match="address"):
        await labels.offers(make_wanted(), Ask())


async def test_what_a_carrier_repeats_of_people_is_left_out(open_labels: OpenLabels) -> None:
    words = f"{BUYER.name}, {BUYER.line1} is no address in {BUYER.city}"

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"type": "https://x/validation", "title": words, "status": 422})

    labels = open_labels(wire=httpx.MockTransport(answer))
    with pytest.raises(Invalid) as caught:
        await labels.offers(wanted(), Ask())
    told = "".join(traceback.format_exception(caught.value))
    assert not any(word in told for word in (*BUYER.texts, DEPOT.line1) if len(word) > 3)


async def test_a_word_that_nobody_knows_leaves_a_purchase_unknown(open_labels: OpenLabels) -> None:
    label = {
        "id": "l1",
        "reference": "r",
        "status": "melted",
        "carrier_name": "DHL",
        "price": {"amount": "4.80", "currency": "EUR"},
    }
    labels = open_labels(wire=httpx.MockTransport(lambda _: httpx.Response(201, json=label)))
    offer = Offer("dhl/paket", "dhl", "DHL", "dhl/paket", "x", Money(Decimal(5), "EUR"), None, None, frozenset())
    with pytest.raises(OutcomeUnknown, match="melted"):
        await labels.buy(wanted(), offer, Ask(), go)


def test_the_contract_is_an_openapi_document_and_names_what_is_called() -> None:
    contract = yaml.safe_load(PAGE.read_text(encoding="utf-8"))
    validate(contract)
    published = {
        (one["operationId"], method.upper(), path)
        for path, methods in contract["paths"].items()
        for method, one in methods.items()
        if method in ("get", "post")
    }
    called = {(one.name, one.method, one.path) for one in vars(operations).values() if isinstance(one, Operation)}
    assert called == published
    schemas = contract["components"]["schemas"]
    assert set(schemas["Format"]["enum"]) == set(FORMATS)
    assert set(schemas["LabelStatus"]["enum"]) == set(STATUSES)
    assert set(schemas["ParcelStatus"]["enum"]) == set(WHEREABOUTS)

"""Mending parcels: another tracking number, or taken back; twice is as good as once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from adapters.port import OrderKey, Receipt
from adapters.shopify.platform import ShopifyPort
from adapters.storefront import Parcels
from domain.budget import Ask
from domain.errors import Conflict, HouseError, Invalid, NotFound, OutcomeUnknown, Throttled, Transient, Unauthorized
from tests.adapters.shopify.bench import OpenPort, Sandbox, Script, key_of, parcel_of

ORDER = "gid://shopify/Order/1"
GID = "gid://shopify/Fulfillment/1"


async def nothing() -> None:
    """Nobody minds that it is sent."""


async def sent(sandbox: Sandbox, port: ShopifyPort, number: str, *places: str) -> tuple[dict[str, Any], str]:
    """An order whose units were shipped under a number, and what the parcel is called."""
    rows = (await sandbox.get("world", limit=2, offset=540))["skus"]
    lines = [{"sku": row["sku"], "quantity": 2, "location": place} for row, place in zip(rows, places, strict=False)]
    order = await sandbox.place_order(*lines)
    parcel = parcel_of(number, *((line["id"], 2) for line in order["lines"]))
    receipt = await port.confirm_shipment(key_of(order), parcel, Ask(), nothing)
    await sandbox.show()
    assert receipt.reference
    return order, receipt.reference


async def correct(
    port: ShopifyPort, order: Mapping[str, Any], parcel: str, number: str, carrier: str = "UPS"
) -> Receipt:
    return await port.correct_tracking(key_of(order), parcel, carrier, number, Ask(), nothing)


async def tracking(port: ShopifyPort, order: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    shipments = (await port.order(key_of(order), Ask())).shipments
    return [(each.reference, each.carrier, each.tracking_number) for each in shipments]


async def test_a_shop_can_mend_parcels(port: ShopifyPort) -> None:
    assert isinstance(port, Parcels)


async def test_another_number_takes_the_place_of_the_first_once(sandbox: Sandbox, port: ShopifyPort) -> None:
    order, parcel = await sent(sandbox, port, "P-1", "Berlin")
    journal = await sandbox.journal()
    receipt = await correct(port, order, parcel, "P-1a")
    assert (receipt.reference, bool(receipt.upstream_request_id)) == (parcel, True)
    assert await tracking(port, order) == [(parcel, "UPS", "P-1a")]
    await correct(port, order, parcel, "P-1a")
    calls = await journal.calls()
    assert calls.count("fulfillmentTrackingInfoUpdate") == 1
    (effect,) = await journal.effects()
    assert (effect["detail"]["trackingNumber"], effect["detail"]["company"]) == ("P-1a", "UPS")


async def test_a_parcel_from_two_places_is_mended_in_both(sandbox: Sandbox, port: ShopifyPort) -> None:
    order, parcel = await sent(sandbox, port, "P-2", "Berlin", "Reno")
    first, second = parcel.split()
    await correct(port, order, parcel, "P-2a")
    assert sorted(await tracking(port, order)) == sorted([(first, "UPS", "P-2a"), (second, "UPS", "P-2a")])
    await port.cancel_parcel(key_of(order), parcel, Ask(), nothing)
    assert await tracking(port, order) == []


async def test_a_parcel_that_is_taken_back_can_be_shipped_again(sandbox: Sandbox, port: ShopifyPort) -> None:
    order, parcel = await sent(sandbox, port, "P-3", "Berlin")
    journal = await sandbox.journal()
    assert (await port.cancel_parcel(key_of(order), parcel, Ask(), nothing)).reference == parcel
    assert isinstance(await port.cancel_parcel(key_of(order), parcel, Ask(), nothing), Receipt)
    assert (await journal.calls()).count("fulfillmentCancel") == 1
    with pytest.raises(Conflict, match="was canceled"):
        await correct(port, order, parcel, "P-3a")
    await sandbox.show()
    again = parcel_of("P-3b", (order["lines"][0]["id"], 2))
    receipt = await port.confirm_shipment(key_of(order), again, Ask(), nothing)
    await sandbox.show()
    assert await tracking(port, order) == [(receipt.reference, "DHL Express", "P-3b")]


async def test_after_a_lost_answer_nothing_is_done_twice(sandbox: Sandbox, port: ShopifyPort) -> None:
    order, parcel = await sent(sandbox, port, "P-4", "Berlin")
    journal = await sandbox.journal()
    for operation in ("fulfillmentTrackingInfoUpdate", "fulfillmentCancel"):
        await sandbox.faults({"operation": operation, "kind": "apply_then_reset", "count": 1})

        async def attempt(operation: str = operation) -> Receipt:
            if operation == "fulfillmentCancel":
                return await port.cancel_parcel(key_of(order), parcel, Ask(), nothing)
            return await correct(port, order, parcel, "P-4a")

        with pytest.raises(OutcomeUnknown):
            await attempt()
        assert isinstance(await attempt(), Receipt)
    effects = [each["operation"] for each in await journal.effects()]
    assert effects == ["fulfillmentTrackingInfoUpdate", "fulfillmentCancel"]


async def test_parcels_of_others_and_of_nobody_are_not_found(sandbox: Sandbox, port: ShopifyPort) -> None:
    order, _ = await sent(sandbox, port, "P-5", "Berlin")
    _, stranger = await sent(sandbox, port, "P-6", "Berlin")
    journal = await sandbox.journal()
    for parcel in (
        stranger,
        "gid://shopify/Fulfillment/7",
        "P-5",
        "",
        f"{stranger}#1",
        f"{stranger} {stranger}#2",
        "gid://shopify/Order/1",
    ):
        with pytest.raises(NotFound):
            await correct(port, order, parcel, "P-5a")
        with pytest.raises(NotFound):
            await port.cancel_parcel(key_of(order), parcel, Ask(), nothing)
    with pytest.raises(Invalid):
        await correct(port, order, stranger, " ")
    assert set(await journal.calls()) == {"fulfillment"}


async def test_no_scope_and_a_caller_that_may_not(sandbox: Sandbox, open_port: OpenPort, port: ShopifyPort) -> None:
    order, parcel = await sent(sandbox, port, "P-7", "Berlin")
    journal = await sandbox.journal()

    async def fenced() -> None:
        raise Transient("Somebody else has it.")

    with pytest.raises(Transient):
        await port.correct_tracking(key_of(order), parcel, "UPS", "P-7a", Ask(), fenced)
    with pytest.raises(Transient):
        await port.cancel_parcel(key_of(order), parcel, Ask(), fenced)
    reader = open_port(sandbox.url, access_token="shpat_sandbox_readonly")
    with pytest.raises(Unauthorized):
        await correct(reader, order, parcel, "P-7a")
    assert await journal.effects() == []


ANSWERS = {"Track": "fulfillmentTrackingInfoUpdate", "CancelParcel": "fulfillmentCancel"}


def shop(*marks: tuple[str | None, str | None], status: str = "SUCCESS", says: Any = None) -> Script:
    """A shop with one fulfillment that has these (carrier, number); `says` are its answers to what is to be changed."""
    answers = iter(says or ())

    def told(name: str, given: dict[str, Any]) -> Any:
        if name == "Parcel":
            info = [{"company": company, "number": number} for company, number in marks]
            return {
                "fulfillment": {"id": GID, "status": status, "order": {"id": ORDER, "name": "#1"}, "trackingInfo": info}
            }
        told = next(answers, {"fulfillment": {"id": GID, "status": status}, "userErrors": []})
        return told if isinstance(told, httpx.Response) else {ANSWERS[name]: told}

    return Script(told)


async def mended(open_port: OpenPort, script: Script, parcel: str, carrier: str, number: str) -> list[Any]:
    """What was sent as tracking."""
    port = open_port(wire=script.wire())
    await port.correct_tracking(OrderKey(ORDER, None), parcel, carrier, number, Ask(), nothing)
    return [given["tracking"] for name, given in script.asked if name == "Track"]


async def test_one_of_several_numbers_is_replaced_and_the_others_stay(open_port: OpenPort) -> None:
    several = [("UPS", "1"), ("UPS", "2"), ("UPS", "3")]
    assert await mended(open_port, shop(*several), f"{GID}#2", "UPS", "two") == [
        {"company": "UPS", "numbers": ["1", "two", "3"]}
    ]
    assert await mended(open_port, shop(*several), GID, "UPS", "one") == [
        {"company": "UPS", "numbers": ["one", "2", "3"]}
    ]
    assert await mended(open_port, shop(*several), f"{GID}#3", "UPS", "3") == []
    assert await mended(open_port, shop(), GID, "UPS", "1") == [{"company": "UPS", "number": "1"}]
    with pytest.raises(NotFound, match="no 4 tracking numbers"):
        await mended(open_port, shop(*several), f"{GID}#4", "UPS", "4")


async def test_numbers_of_one_fulfillment_go_by_one_carrier(open_port: OpenPort) -> None:
    with pytest.raises(Conflict, match="DHL, UPS"):
        await mended(open_port, shop(("UPS", "1"), ("UPS", "2")), GID, "DHL", "1")
    with pytest.raises(Conflict, match="no tracking number"):
        await mended(open_port, shop(("UPS", "1"), ("UPS", None)), GID, "UPS", "one")


@pytest.mark.parametrize("spelling", ["CANCELLED", "CANCELED"])
async def test_both_spellings_are_canceled(open_port: OpenPort, spelling: str) -> None:
    script = shop(("UPS", "1"), status=spelling)
    await open_port(wire=script.wire()).cancel_parcel(OrderKey(ORDER, None), GID, Ask(), nothing)
    assert [name for name, _ in script.asked] == ["Parcel"]


async def test_a_fulfillment_of_several_parcels_is_not_taken_back_for_one(open_port: OpenPort) -> None:
    script = shop(("UPS", "1"), ("UPS", "2"))
    with pytest.raises(Conflict, match="2 parcels"):
        await open_port(wire=script.wire()).cancel_parcel(OrderKey(ORDER, None), f"{GID}#2", Ask(), nothing)
    assert [name for name, _ in script.asked] == ["Parcel"]


BOTH = f"{GID} gid://shopify/Fulfillment/2"
DONE = {"fulfillment": {"id": GID, "status": "CANCELLED"}, "userErrors": []}
REFUSED = {"fulfillment": None, "userErrors": [{"field": ["id"], "message": "No."}]}


async def change(port: ShopifyPort, name: str, parcel: str) -> Receipt:
    key = OrderKey(ORDER, None)
    if name == "Track":
        return await port.correct_tracking(key, parcel, "UPS", "1a", Ask(), nothing)
    return await port.cancel_parcel(key, parcel, Ask(), nothing)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (REFUSED, Invalid),
        (httpx.Response(429), OutcomeUnknown),
        (httpx.Response(403), OutcomeUnknown),
        (httpx.Response(500), OutcomeUnknown),
    ],
)
async def test_what_stops_the_second_part_of_a_parcel_does_not_pass_for_nothing_done(
    open_port: OpenPort, name: str, second: Any, kind: type[HouseError]
) -> None:
    with pytest.raises(kind) as caught:
        await change(open_port(wire=shop(("UPS", "1"), says=[DONE, second]).wire()), name, BOTH)
    assert type(caught.value) is kind
    said = "1 of the parcel's 2 fulfillments are changed" in caught.value.message
    assert said or second.status_code == 500
    whole = shop(("UPS", "1"), says=[DONE, DONE])
    assert (await change(open_port(wire=whole.wire()), name, BOTH)).reference == BOTH


@pytest.mark.parametrize("name", ANSWERS)
async def test_what_stops_the_first_part_left_all_as_it_was(open_port: OpenPort, name: str) -> None:
    for first, kind in ((REFUSED, Invalid), (httpx.Response(429), Throttled), (httpx.Response(403), Unauthorized)):
        with pytest.raises(kind):
            await change(open_port(wire=shop(("UPS", "1"), says=[first]).wire()), name, GID)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("answer", [None, {"fulfillment": None, "userErrors": []}])
async def test_an_answer_that_shows_no_parcel_leaves_the_outcome_open(
    open_port: OpenPort, name: str, answer: Any
) -> None:
    with pytest.raises(OutcomeUnknown, match="no fulfillment"):
        await change(open_port(wire=shop(("UPS", "1"), says=[answer]).wire()), name, GID)


async def test_a_parcel_that_is_not_canceled_by_the_answer_is_not_taken_for_it(open_port: OpenPort) -> None:
    with pytest.raises(OutcomeUnknown, match="is SUCCESS"):
        await change(open_port(wire=shop(("UPS", "1")).wire()), "CancelParcel", GID)


async def test_all_parts_are_looked_at_before_one_is_changed(sandbox: Sandbox, port: ShopifyPort) -> None:
    order, parcel = await sent(sandbox, port, "P-8", "Berlin", "Reno")
    first, second = parcel.split()
    await port.cancel_parcel(key_of(order), second, Ask(), nothing)
    journal = await sandbox.journal()
    with pytest.raises(Conflict, match="was canceled"):
        await correct(port, order, parcel, "P-8a")
    with pytest.raises(NotFound):
        await port.cancel_parcel(key_of(order), f"{first} gid://shopify/Fulfillment/7", Ask(), nothing)
    assert await journal.effects() == []

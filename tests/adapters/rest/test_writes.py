"""What is changed at a shop, on the sandbox: once whatever is lost, and seen to be so. All of it is judged by the contract."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from adapters.port import Page, Port, Receipt, ShownKey, StockKey, StockWrite
from adapters.prices import PriceKey, Prices, PriceWrite, ShownPrice
from adapters.rest.platform import RestPort
from adapters.storefront import Cancels, Parcels, Payouts, Refunds
from domain.budget import Ask
from domain.errors import Conflict, Invalid, NotFound, OtherNumber, OutcomeUnknown, Refused
from domain.ids import ChannelSku
from domain.money import Money
from domain.price import Price, Sale
from domain.refund import RefundLine, RefundWanted, Restock
from domain.stock import Reading
from tests.adapters.bench import Sandbox
from tests.adapters.rest.bench import LONG_AGO, go, key_of, parcel_of

BERLIN, RENO = "loc_1", "loc_2"


def dollars(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


@pytest.fixture(scope="session")
async def skus(sandbox: Sandbox) -> list[str]:
    return [one["sku"] for one in (await sandbox.get("world", limit=200))["skus"]]


async def placed(sandbox: Sandbox, *lines: tuple[str, int]) -> tuple[str, list[str]]:
    """An order that is paid: its id, and those of its lines."""
    made = await sandbox.post("state", orders=[{"lines": [{"sku": sku, "quantity": units} for sku, units in lines]}])
    (id,) = made["orders"]
    return id, [f"{id.replace('ord', 'lin')}_{number + 1}" for number in range(len(lines))]


async def set_to(sandbox: Sandbox, sku: str, units: int, place: str = "Berlin") -> None:
    await sandbox.post("state", stock=[{"sku": sku, "location": place, "quantity": units}])


def write(sku: str, units: int, expected: int | None, reference: str, place: str = BERLIN) -> StockWrite:
    return StockWrite(ShownKey(ChannelSku(sku), place), units, expected, reference)


async def shown(port: RestPort, sku: str, place: str = BERLIN) -> int | None:
    (told,) = await port.shown_stock([ShownKey(ChannelSku(sku), place)], Ask())
    return told.quantity


async def lines_of(port: RestPort, id: str) -> list[str]:
    return [line.external_id for line in (await port.order(key_of(id), Ask())).lines]


def test_it_is_a_port_and_all_that_a_storefront_can_be(port: RestPort) -> None:
    whole: Port = port
    assert whole.leads
    for capability in (Prices, Parcels, Cancels, Refunds, Payouts):
        assert isinstance(port, capability)


async def test_a_number_is_told_compared_and_seen(port: RestPort, sandbox: Sandbox, skus: list[str]) -> None:
    await set_to(sandbox, skus[0], 9)
    (taken,) = await port.tell_stock([write(skus[0], 4, 9, "a1")], Ask(), go)
    assert isinstance(taken, Receipt)
    assert await shown(port, skus[0]) == 4
    (other,) = await port.tell_stock([write(skus[0], 7, 9, "a2")], Ask(), go)
    assert isinstance(other, OtherNumber)
    assert other.shown == 4
    assert await shown(port, skus[0]) == 4
    (forced,) = await port.tell_stock([write(skus[0], 7, None, "a3")], Ask(), go)
    assert isinstance(forced, Receipt)
    assert await shown(port, skus[0]) == 7


async def test_what_cannot_be_told_stands_in_its_place(port: RestPort, sandbox: Sandbox, skus: list[str]) -> None:
    await set_to(sandbox, skus[1], 5)
    answers = await port.tell_stock(
        [
            write("NO-SUCH-SKU", 1, None, "b1"),
            write(skus[1], 6, 5, "b2"),
            write(skus[1], 6, None, "b3", place="loc_99"),
            write(skus[1], -1, None, "b4", place=RENO),
        ],
        Ask(),
        go,
    )
    assert [type(one) for one in answers] == [NotFound, Receipt, NotFound, Invalid]
    assert await shown(port, skus[1]) == 6


async def test_a_write_whose_answer_was_lost_is_not_applied_twice(
    port: RestPort, sandbox: Sandbox, skus: list[str]
) -> None:
    """The second attempt replays the first: the buyer who came between them keeps what was bought."""
    await set_to(sandbox, skus[2], 9)
    await sandbox.faults({"operation": "patchStock", "kind": "apply_then_status", "status": 500, "count": 1})
    with pytest.raises(OutcomeUnknown):
        await port.tell_stock([write(skus[2], 4, 9, "c1")], Ask(), go)
    await set_to(sandbox, skus[2], 3)
    (again,) = await port.tell_stock([write(skus[2], 4, 9, "c1")], Ask(), go)
    assert isinstance(again, Receipt)
    assert await shown(port, skus[2]) == 3


async def test_writers_who_compare_never_write_over_a_sale(port: RestPort, sandbox: Sandbox, skus: list[str]) -> None:
    """Ten tellers and ten sales at once: each number stands on the one before it, so every sale is in the last."""
    sku = skus[3]
    await set_to(sandbox, sku, 100)
    raised = 0

    async def raise_by_one(number: int) -> None:
        nonlocal raised
        for attempt in range(60):
            seen = await shown(port, sku)
            assert seen is not None
            (answer,) = await port.tell_stock([write(sku, seen + 1, seen, f"d{number}-{attempt}")], Ask(), go)
            if isinstance(answer, Receipt):
                raised += 1
                return
            assert isinstance(answer, OtherNumber)
        raise AssertionError("never came through")

    async def buy() -> None:
        bought = await sandbox.post("buy", lines=[{"sku": sku, "quantity": 1, "location": "Berlin"}])
        assert bought["order"]

    await asyncio.gather(*(raise_by_one(one) for one in range(10)), *(buy() for _ in range(10)))
    assert raised == 10
    assert await shown(port, sku) == 100 + 10 - 10


async def test_every_level_there_is_equals_what_is_asked_for(port: RestPort, sandbox: Sandbox, skus: list[str]) -> None:
    swept: dict[tuple[str, str], Reading] = {}
    async for page in port.stock_pages(sandbox.locations, Ask()):
        assert page.rejected == []
        swept |= {(one.channel_sku, one.location): one for one in page.items}
    assert len(swept) == 600
    asked = await port.stock(sandbox.locations, [StockKey(ChannelSku(sku)) for sku in skus[100:150]], Ask())
    assert len(asked) == 100
    for one in asked:
        other = swept[one.channel_sku, one.location]
        assert (one.on_hand, one.reserved, one.inbound) == (other.on_hand, other.reserved, other.inbound)


@pytest.mark.parametrize("kind", ["apply_then_status", "apply_then_reset", "truncate"])
async def test_a_parcel_is_confirmed_once_whatever_is_lost(
    port: RestPort, sandbox: Sandbox, skus: list[str], kind: str
) -> None:
    id, _ = await placed(sandbox, (skus[10], 2), (skus[11], 1))
    first, second = await lines_of(port, id)
    parcel = parcel_of("JD100", (first, 1), (second, 1), reference="41")
    journal = await sandbox.journal()
    assert not (await port.parcel_seen(key_of(id), parcel, Ask())).found
    await sandbox.faults({"operation": "createShipment", "kind": kind, "status": 500, "count": 1})
    with pytest.raises(OutcomeUnknown):
        await port.confirm_shipment(key_of(id), parcel, Ask(), go)
    sighting = await port.parcel_seen(key_of(id), parcel, Ask())
    assert sighting.found
    receipts = await asyncio.gather(*(port.confirm_shipment(key_of(id), parcel, Ask(), go) for _ in range(3)))
    assert [(one["operation"], one["key"]) for one in await journal.effects()] == [("createShipment", id)]
    assert sighting.order is not None
    assert {one.reference for one in receipts} == {one.reference for one in sighting.order.shipments}


async def test_attempts_at_once_make_one_parcel(port: RestPort, sandbox: Sandbox, skus: list[str]) -> None:
    """None of them sees what the others are about to do; the key keeps them one."""
    id, _ = await placed(sandbox, (skus[16], 3))
    (line,) = await lines_of(port, id)
    parcel = parcel_of("JD110", (line, 1), reference="42")
    journal = await sandbox.journal()
    receipts = await asyncio.gather(*(port.confirm_shipment(key_of(id), parcel, Ask(), go) for _ in range(8)))
    assert len({one.reference for one in receipts}) == 1
    assert [one["operation"] for one in await journal.effects()] == ["createShipment"]


async def test_two_boxes_under_one_label_are_two_parcels(port: RestPort, sandbox: Sandbox, skus: list[str]) -> None:
    id, _ = await placed(sandbox, (skus[12], 2))
    (line,) = await lines_of(port, id)
    one, other = (parcel_of("JD200", (line, 1), reference=reference) for reference in ("51", "52"))
    await port.confirm_shipment(key_of(id), one, Ask(), go)
    assert not (await port.parcel_seen(key_of(id), other, Ask())).found
    await port.confirm_shipment(key_of(id), other, Ask(), go)
    assert (await port.parcel_seen(key_of(id), other, Ask())).found
    with pytest.raises(Conflict):
        await port.confirm_shipment(key_of(id), parcel_of("JD201", (line, 1), reference="53"), Ask(), go)


async def test_tracking_is_corrected_and_a_parcel_taken_back(port: RestPort, sandbox: Sandbox, skus: list[str]) -> None:
    id, _ = await placed(sandbox, (skus[13], 1))
    (line,) = await lines_of(port, id)
    parcel = parcel_of("WRONG", (line, 1), reference="61")
    made = (await port.confirm_shipment(key_of(id), parcel, Ask(), go)).reference
    assert made is not None
    for _ in range(2):
        await port.correct_tracking(key_of(id), made, "UPS", "RIGHT", Ask(), go)
    (shown_parcel,) = (await port.order(key_of(id), Ask())).shipments
    assert (shown_parcel.carrier, shown_parcel.tracking_number) == ("UPS", "RIGHT")
    assert (await port.parcel_seen(key_of(id), parcel, Ask())).found, "the reference is still ours"
    for _ in range(2):
        await port.cancel_parcel(key_of(id), made, Ask(), go)
    after = await port.order(key_of(id), Ask())
    assert (after.shipments, after.lines[0].quantity_open) == ([], 1)
    with pytest.raises(NotFound):
        await port.cancel_parcel(key_of("ord_none"), made, Ask(), go)


async def test_an_order_is_canceled_unless_a_parcel_is_on_its_way(
    port: RestPort, sandbox: Sandbox, skus: list[str]
) -> None:
    id, _ = await placed(sandbox, (skus[14], 1))
    for _ in range(2):
        await port.cancel_order(key_of(id), "INVENTORY", Ask(), go, restock=True, refund=True)
    assert (await port.order(key_of(id), Ask())).status.value == "CANCELLED"
    gone, _ = await placed(sandbox, (skus[14], 1))
    (line,) = await lines_of(port, gone)
    await port.confirm_shipment(key_of(gone), parcel_of("JD300", (line, 1), reference="71"), Ask(), go)
    with pytest.raises(Conflict) as caught:
        await port.cancel_order(key_of(gone), "CUSTOMER", Ask(), go, restock=True, refund=True)
    assert caught.value.upstream_code == "already-shipped"


async def test_money_is_given_back_once(port: RestPort, sandbox: Sandbox, skus: list[str]) -> None:
    id, _ = await placed(sandbox, (skus[15], 2))
    (line,) = await lines_of(port, id)
    wanted = RefundWanted(
        "refund:81", (RefundLine(line, 1, Restock.RETURN, BERLIN),), dollars("1.50"), note="a scratch"
    )
    journal = await sandbox.journal()
    await sandbox.faults({"operation": "createRefund", "kind": "apply_then_status", "status": 500, "count": 1})
    with pytest.raises(OutcomeUnknown):
        await port.refund(key_of(id), wanted, Ask(), go)
    await sandbox.faults({"operation": "listRefunds", "kind": "status", "status": 404, "count": 1})
    with pytest.raises(OutcomeUnknown, match="cannot be looked for"):
        await port.refund(key_of(id), wanted, Ask(), go, sent_before=True)
    found = await port.refund(key_of(id), wanted, Ask(), go, sent_before=True)
    again = await port.refund(key_of(id), wanted, Ask(), go)
    assert found.reference == again.reference
    assert [one["operation"] for one in await journal.effects()] == ["createRefund"]
    (kept,) = await port.refunds(key_of(id), Ask())
    assert (kept.reference, kept.amount.amount) == (found.reference, Decimal("1.50"))
    assert kept.lines == (RefundLine(line, 1, Restock.RETURN, BERLIN),)
    with pytest.raises(Refused) as caught:
        await port.refund(key_of(id), RefundWanted("refund:82", (), dollars("99999.00")), Ask(), go)
    assert caught.value.upstream_code == "exceeds-captured"
    with pytest.raises(NotFound):
        await port.refunds(key_of("ord_none"), Ask())


async def intend(details: object = None) -> None:
    """Nobody minds that prices are sent."""


async def test_prices_and_sales_are_set_and_shown(port: RestPort, skus: list[str]) -> None:
    keys = [PriceKey(ChannelSku(sku)) for sku in (skus[20], skus[21], "NO-SUCH-SKU")]
    writes = [
        PriceWrite(keys[0], Price(dollars("20.00"), Sale(dollars("15.00"))), "e1"),
        PriceWrite(keys[1], Price(dollars("8.00")), "e2"),
        PriceWrite(keys[2], Price(dollars("8.00")), "e3"),
        PriceWrite(keys[1], Price(Money(Decimal(8), "EUR")), "e4"),
        PriceWrite(keys[1], Price(dollars("8.00"), Sale(dollars("9.00"))), "e5"),
    ]
    answers = await port.tell_prices(writes, Ask(), intend)
    assert [type(one) for one in answers] == [Receipt, Receipt, NotFound, Invalid, Invalid]
    told = await port.shown_prices(keys, Ask())
    assert [one.price for one in told if isinstance(one, ShownPrice)] == [writes[0].price, writes[1].price, None]


async def test_payouts_are_the_sum_of_their_movements(port: RestPort) -> None:
    payouts = [one async for page in port.payout_pages(LONG_AGO, Ask()) for one in page.items]
    assert payouts
    for payout in payouts[:3]:
        pages: list[Page[Any]] = [page async for page in port.movement_pages(payout.id, Ask())]
        assert [kept for page in pages for kept in page.rejected] == []
        total = sum((one.total.amount for page in pages for one in page.items), Decimal(0))
        assert total == payout.net.amount


async def test_orders_and_listings_are_the_worlds(port: RestPort, sandbox: Sandbox, skus: list[str]) -> None:
    world = await sandbox.get("world")
    listed: dict[str, Any] = {}
    async for page in port.listing_pages(None, Ask()):
        assert page.rejected == []
        listed |= {one.channel_sku: one for one in page.items}
    assert set(listed) == {one["sku"] for one in world["skus"]}
    orders: dict[str, Any] = {}
    async for found in port.order_pages(LONG_AGO, Ask()):
        assert found.rejected == []
        orders |= {one.external_id: one for one in found.items}
    for one in world["orders"]:
        mine = orders[one["id"]]
        assert {line.external_id: line.quantity_open for line in mine.lines} == {
            line["id"]: line["unshipped"] for line in one["lines"]
        }

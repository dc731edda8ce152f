"""What an order costs, as Amazon's parts tell it, and who bought, as its roles let it be told."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amazon.order_money import ItemProceeds, Proceeds, of_item, of_order
from adapters.port import OrderKey
from adapters.wire import Unclear
from domain.budget import Ask
from domain.charge import ChargeKind, charged
from domain.money import Money
from domain.order import CancelledBy
from domain.person import Destination
from tests.adapters.amazon.bench import Desk, Sandbox
from tests.adapters.amazon.test_sandbox import skus_in

OpenDesk = Callable[..., Desk]


def price(amount: Decimal | str, currency: str = "EUR") -> dict[str, str]:
    return {"amount": str(amount), "currencyCode": currency}


def proceeds(total: str, *parts: tuple[str, str], details: dict[str, str] | None = None) -> ItemProceeds:
    rows: list[dict[str, Any]] = [{"type": kind, "subtotal": price(amount)} for kind, amount in parts]
    for row in rows:
        if row["type"] == "TAX" and details:
            row["detailedBreakdowns"] = [{"subtype": name, "value": price(told)} for name, told in details.items()]
    return ItemProceeds.model_validate({"proceedsTotal": price(total), "breakdowns": rows})


def told(item: ItemProceeds) -> dict[str, str]:
    return {one.kind.value: str(one.amount.amount) for one in of_item(item)}


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_discount_takes_off_whichever_sign_it_comes_with(sign: str) -> None:
    item = proceeds("20.30", ("ITEM", "20.00"), ("SHIPPING", "5.00"), ("DISCOUNT", f"{sign}6.00"), ("TAX", "1.30"))
    assert told(item) == {"GOODS": "20.00", "SHIPPING": "5.00", "DISCOUNT": "-6.00", "TAX": "1.30"}


def test_a_discount_that_adds_is_kept_where_only_that_leads_to_the_total() -> None:
    assert told(proceeds("26.00", ("ITEM", "20.00"), ("DISCOUNT", "6.00")))["DISCOUNT"] == "6.00"


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_total_that_is_off_by_a_cent_turns_no_discount_into_a_surcharge(sign: str) -> None:
    item = proceeds("20.31", ("ITEM", "20.00"), ("SHIPPING", "5.00"), ("DISCOUNT", f"{sign}6.00"), ("TAX", "1.30"))
    assert charged(of_item(item)) == Money(Decimal("20.30"), "EUR")


def test_taxes_of_parts_are_told_apart_where_they_come_to_the_tax() -> None:
    details = {"ITEM": "3.80", "SHIPPING": "0.95", "DISCOUNT": "1.14"}
    item = proceeds(
        "22.61", ("ITEM", "20.00"), ("SHIPPING", "5.00"), ("DISCOUNT", "6.00"), ("TAX", "3.61"), details=details
    )
    assert told(item) == {
        "GOODS": "20.00",
        "SHIPPING": "5.00",
        "DISCOUNT": "-6.00",
        "TAX": "3.80",
        "SHIPPING_TAX": "0.95",
        "DISCOUNT_TAX": "-1.14",
    }
    other = proceeds("24.00", ("ITEM", "20.00"), ("TAX", "4.00"), details={"ITEM": "3.80", "SHIPPING": "0.95"})
    assert told(other) == {"GOODS": "20.00", "TAX": "4.00"}


def test_a_part_that_was_not_published_is_not_guessed() -> None:
    with pytest.raises(Unclear, match="CARBON"):
        of_item(proceeds("1.00", ("CARBON", "1.00")))
    with pytest.raises(Unclear, match="CARBON"):
        of_order(
            Proceeds.model_validate({"breakdowns": [{"type": "CARBON", "subtotal": price("1")}]}),
            of_item(proceeds("1", ("ITEM", "1"))),
        )


def test_a_tip_belongs_to_no_line_and_sums_over_lines_are_not_counted_again() -> None:
    lines = of_item(proceeds("20.00", ("ITEM", "20.00")))
    rows = [
        {"type": "ITEM", "subtotal": price("20.00")},
        {"type": "DELIVERY_TIP", "status": "PENDING", "subtotal": price("2.00")},
    ]
    whole = Proceeds.model_validate({"grandTotal": price("22.00"), "breakdowns": rows})
    assert [(one.kind, one.amount.amount) for one in of_order(whole, lines)] == [(ChargeKind.TIP, Decimal("2.00"))]
    assert [one.kind for one in of_order(whole, ())] == [ChargeKind.GOODS, ChargeKind.TIP]


cents = st.decimals(min_value=0, max_value=1000, places=2)


@given(cents, cents, cents, cents, st.booleans())
def test_whatever_the_parts_are_their_sum_is_the_total(
    goods: Decimal, shipping: Decimal, off: Decimal, tax: Decimal, positive: bool
) -> None:
    total = goods + shipping - off + tax
    rows = (("ITEM", goods), ("SHIPPING", shipping), ("DISCOUNT", off if positive else -off), ("TAX", tax))
    found = of_item(proceeds(str(total), *((kind, str(amount)) for kind, amount in rows)))
    assert charged(found) == Money(total, "EUR")


async def placed(sandbox: Sandbox, marketplace: str, **more: Any) -> OrderKey:
    skus = await skus_in(sandbox, marketplace, "MERCHANT")
    lines = [
        {"sku": skus[0]["sku"], "quantity": 3, "extras": {"SHIPPING": "500", "GIFT_WRAP": "333", "DISCOUNT": "-101"}},
        {"sku": skus[1]["sku"], "quantity": 1},
    ]
    if marketplace != "JP":
        lines[0]["extras"] = {"SHIPPING": "4.99", "GIFT_WRAP": "3.33", "DISCOUNT": "-1.01"}
    entry = {"marketplace": marketplace, "fulfilledBy": "MERCHANT", "lines": lines, **more}
    return OrderKey((await sandbox.post("state", {"orders": [entry]}))["orders"][0], marketplace)


@pytest.mark.parametrize(("region", "code", "with_tax"), [("na", "US", False), ("eu", "DE", True), ("fe", "JP", True)])
async def test_all_parts_of_an_order_come_to_what_it_costs(
    sandbox: Sandbox, open_desk: OpenDesk, region: str, code: str, with_tax: bool
) -> None:
    """Also in yen, and where prices are shown with the tax in them."""
    await sandbox.generous("getOrder")
    desk = open_desk(sandbox, region)
    order = await desk.port.order(await placed(sandbox, code), Ask())
    assert order.unexplained == Money(Decimal(0), order.lines[0].charges[0].amount.currency)
    assert order.charged == order.total
    kinds = {one.kind for one in order.lines[0].charges}
    assert kinds == {
        ChargeKind.GOODS,
        ChargeKind.SHIPPING,
        ChargeKind.GIFT_WRAP,
        ChargeKind.DISCOUNT,
        ChargeKind.TAX,
        ChargeKind.SHIPPING_TAX,
        ChargeKind.GIFT_WRAP_TAX,
        ChargeKind.DISCOUNT_TAX,
    }
    assert order.prices_with_tax is with_tax
    if code == "JP":
        assert all(one.amount.amount == one.amount.amount.to_integral_value() for one in order.all_charges)
    assert [charged(line.charges) for line in order.lines] == [line.total for line in order.lines]
    # Without asking for buyers nothing of one comes, and what was promised does.
    assert (order.person, order.destination, order.service) == (None, None, "STANDARD")
    assert order.deliver_by is not None


async def test_who_bought_comes_with_the_orders_where_it_is_to(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await sandbox.generous("getOrder")
    await sandbox.post("plans", {"searchOrders": {"rate": 1000, "burst": 1000}})
    desk = open_desk(sandbox, "eu", buyers=True)
    buyer = {"name": "Ada Canary", "addressLine1": "Kanarienweg 1", "postalCode": "50667", "phone": "+49 1"}
    key = await placed(sandbox, "DE", buyer=buyer | {"email": "canary@marketplace.example"})
    order = await desk.port.order(key, Ask())
    assert order.person is not None
    assert order.person.ship_to is not None
    assert (order.person.name, order.person.email) == ("Ada Canary", "canary@marketplace.example")
    assert (order.person.ship_to.line1, order.person.ship_to.city) == ("Kanarienweg 1", "Köln")
    assert order.person.ship_to.address().phone == "+49 1"
    assert order.destination == Destination("DE", "506")
    assert "Ada" not in repr(order)


@pytest.mark.parametrize("how", ["silent", "refused"])
async def test_without_the_role_the_orders_come_without_their_buyers(
    sandbox: Sandbox, open_desk: OpenDesk, how: str
) -> None:
    """Amazon leaves out what the role would show, or refuses the data sets: these alone wait then."""
    await sandbox.generous("getOrder")
    desk = open_desk(sandbox, "fe", buyers=True)
    role = "Direct-to-Consumer Delivery (Restricted)"
    key = await placed(sandbox, "JP")
    seller = desk.config.seller_id
    try:
        if how == "silent":
            await sandbox.post("accounts", {"sellerId": seller, "roles": {role: False}})
        else:
            fault = {"operation": "getOrder", "kind": "status", "status": 400, "count": 1}
            await sandbox.post("faults", {"faults": [fault]})
        order = await desk.port.order(key, Ask())
        assert order.external_id == key.external_id
        assert order.person is None
        if how == "silent":
            assert order.destination == Destination("JP", "")
        else:
            mark = await sandbox.mark()
            await desk.port.order(key, Ask())
            assert len(await sandbox.calls(mark, "getOrder")) == 1
    finally:
        await sandbox.post("accounts", {"sellerId": seller, "roles": {role: True}})


async def test_who_cancelled_and_how_many(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await sandbox.generous("getOrder")
    desk = open_desk(sandbox)
    key = await placed(sandbox, "US")
    before = await desk.port.order(key, Ask())
    assert [(line.quantity_cancelled, line.cancelled_by) for line in before.lines] == [(0, None)] * 2
    await sandbox.post("orders", {"id": key.external_id, "status": "CANCELLED"})
    after = await desk.port.order(key, Ask())
    assert [(line.quantity_cancelled, line.cancelled_by) for line in after.lines] == [
        (3, CancelledBy.BUYER),
        (1, CancelledBy.BUYER),
    ]

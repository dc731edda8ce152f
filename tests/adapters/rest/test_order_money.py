"""What an order of a self-built shop costs, and who bought, where its token may know."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.port import OrderKey
from adapters.rest.orders import Wanted, order_of
from adapters.wire import Unclear, read
from domain.budget import Ask
from domain.charge import ChargeKind
from domain.ids import ChannelId
from domain.money import Money
from domain.order import CancelledBy
from domain.person import Destination, Person, Recipient
from tests.adapters.bench import Sandbox
from tests.adapters.rest.bench import LONG_AGO, OpenPort, Script, euros, order, problem
from tests.adapters.rest.contract import Judging

BUYER = {"name": "Ada Canary", "email": "canary@example.test"}
SHIP_TO = {"name": "Ada Canary", "line1": "Kanarienweg 1", "city": "Köln", "postal_code": "50667"}


def cost(order: Any) -> dict[str, str]:
    return {one.kind.value: str(one.amount.amount) for one in order.all_charges}


def read_as(**more: Any) -> Any:
    return order_of(ChannelId("shop"), read(Wanted, order(**more)))


def totals(**amounts: str) -> dict[str, Any]:
    return {"totals": {name: euros(amount) for name, amount in amounts.items()}}


def test_the_tax_of_an_order_is_contained_where_the_shop_does_not_say_otherwise() -> None:
    told = totals(items="80.70", shipping="4.90", tax="13.50", discount="1.00", grand="84.60")
    found = read_as(**told)
    assert cost(found) == {"GOODS": "80.70", "DISCOUNT": "-1.00", "SHIPPING": "4.90", "TAX": "13.50"}
    assert (found.unexplained, found.tax) == (Money(Decimal("0.00"), "EUR"), Money(Decimal("13.50"), "EUR"))
    assert read_as(taxes_included=False, **told).unexplained == Money(Decimal("-13.50"), "EUR")


def test_tax_that_no_line_tells_belongs_to_the_order() -> None:
    """Such as that of the shipping, which is in the shop's own tax of the whole."""
    told = totals(items="80.70", shipping="4.90", tax="13.50", discount="1.00", grand="84.60")
    lines = [one | {"tax": euros("12.72")} if at == 0 else one for at, one in enumerate(order()["lines"])]
    found = read_as(lines=lines, **told)
    assert (found.tax, cost(found)["OTHER_TAX"]) == (Money(Decimal("13.50"), "EUR"), "0.78")
    told["totals"]["shipping_tax"] = euros("0.78")
    assert "OTHER_TAX" not in cost(read_as(lines=lines, **told))
    told["totals"]["grand"] = euros("98.10")
    assert read_as(lines=lines, taxes_included=False, **told).unexplained == Money(Decimal("0.00"), "EUR")


@given(st.data())
def test_whatever_the_shop_tells_apart_the_parts_come_to_what_is_paid(data: Any) -> None:
    """In any currency, with or without tax in the prices, nothing and less than nothing."""
    digits, currency = data.draw(st.sampled_from([(0, "JPY"), (2, "EUR"), (3, "KWD")]))
    amount = st.decimals(min_value=-500, max_value=500, places=digits)
    goods, off, whole_off, shipping, line_tax, shipping_tax, tax = (data.draw(amount) for _ in range(7))
    contained, told_line, told_shipping = (data.draw(st.booleans()) for _ in range(3))

    def price(value: Decimal) -> dict[str, str]:
        return {"amount": f"{value:f}", "currency": currency}

    (first, *_) = order()["lines"]
    line = first | {"quantity": 3, "unit_price": price(goods), "discount": price(off)}
    line |= {"tax": price(line_tax)} if told_line else {}
    paid = goods * 3 - whole_off + shipping + (0 if contained else tax)
    told = {"items": goods * 3, "shipping": shipping, "tax": tax, "discount": whole_off, "grand": paid}
    told |= {"shipping_tax": shipping_tax} if told_shipping else {}
    found = read_as(lines=[line], taxes_included=contained, totals={name: price(value) for name, value in told.items()})
    assert found.unexplained == Money(Decimal(0), currency)
    assert found.tax == Money(tax, currency)


def test_what_no_part_explains_is_named_and_the_order_is_kept() -> None:
    told = totals(items="80.70", shipping="4.90", tax="0.00", discount="1.00", grand="84.61")
    assert read_as(**told).unexplained == Money(Decimal("0.01"), "EUR")


def test_a_discount_on_the_whole_order_belongs_to_no_line() -> None:
    found = read_as(**totals(items="80.70", shipping="0.00", tax="0.00", discount="11.00", grand="69.70"))
    assert [(one.kind, one.amount.amount) for one in found.charges if one.kind is ChargeKind.DISCOUNT] == [
        (ChargeKind.DISCOUNT, Decimal("-10.00"))
    ]
    assert found.unexplained == Money(Decimal("0.00"), "EUR")


def test_two_currencies_in_one_order_are_not_added() -> None:
    told = totals(shipping="4.90", tax="0.00", discount="1.00", grand="84.60")
    told["totals"]["discount"]["currency"] = "USD"
    with pytest.raises(Unclear):
        read_as(**told)


def test_who_cancelled() -> None:
    (line,) = read_as(cancel_reason="customer").lines
    assert (line.quantity, line.quantity_cancelled, line.cancelled_by) == (2, 1, CancelledBy.BUYER)
    assert read_as(cancel_reason="fraud").lines[0].cancelled_by is CancelledBy.SELLER
    assert read_as().lines[0].cancelled_by is None


async def placed(sandbox: Sandbox, **more: Any) -> OrderKey:
    sku = (await sandbox.get("world", limit=1))["skus"][0]["sku"]
    entry = {"lines": [{"sku": sku, "quantity": 3}], **more}
    return OrderKey((await sandbox.post("state", orders=[entry]))["orders"][0], None)


async def test_taxes_on_top_come_to_the_total(sandbox: Sandbox, open_port: OpenPort, contract: Any) -> None:
    port = open_port(sandbox.url, Judging(httpx.AsyncHTTPTransport(), contract))
    found = await port.order(await placed(sandbox, addedRate="0.0825", service="Express"), Ask())
    assert found.unexplained == Money(Decimal("0.00"), "USD")
    assert found.tax is not None
    assert found.tax.amount > 0
    assert (found.prices_with_tax, found.service) == (False, "Express")


async def test_who_bought_is_told_to_who_asks_and_may_know(
    sandbox: Sandbox, open_port: OpenPort, contract: Any
) -> None:
    key = await placed(sandbox, buyer=BUYER, shipTo=SHIP_TO)
    wire = Judging(httpx.AsyncHTTPTransport(), contract)
    quiet = await open_port(sandbox.url, wire).order(key, Ask())
    assert quiet.person is None
    assert quiet.destination is not None
    assert quiet.destination.area == ""
    found = await open_port(sandbox.url, wire, buyers=True).order(key, Ask())
    country = quiet.destination.country
    at = Recipient(country, "Ada Canary", "Kanarienweg 1", city="Köln", postal_code="50667")
    assert found.person == Person("Ada Canary", "canary@example.test", at)
    assert found.destination == Destination(country, "506")
    pages = [page async for page in open_port(sandbox.url, wire, buyers=True).order_pages(LONG_AGO, Ask())]
    assert [one.person for page in pages for one in page.items if one.external_id == key.external_id] == [found.person]


async def test_a_token_that_may_not_know_gets_the_orders_without(open_port: OpenPort) -> None:
    def answer(asked: Any) -> Any:
        if "include" in asked.query:
            return problem(403, "forbidden-scope", scope="buyers:read")
        return order() if asked.operation == "getOrder" else {"data": [order()], "next_cursor": None}

    port = open_port(wire=Script(answer).wire(), buyers=True)
    assert (await port.order(OrderKey("ord_1", None), Ask())).person is None
    pages = [page async for page in port.order_pages(LONG_AGO, Ask())]
    assert [one.external_id for page in pages for one in page.items] == ["ord_1"]


async def test_a_shop_that_tells_of_buyers_unasked_is_not_listened_to(open_port: OpenPort) -> None:
    told = order(buyer=BUYER, ship_to={"country": "DE", **SHIP_TO})
    found = await open_port(wire=Script(lambda asked: told, loose=True).wire()).order(OrderKey("ord_1", None), Ask())
    assert (found.person, found.destination) == (None, Destination("DE"))

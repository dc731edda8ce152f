"""The feed of payment adjustments: it refunds what was paid and no more, and the money shows everywhere it should."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.amazon import seed
from sandbox.amazon.adjustments import FEED
from sandbox.amazon.money_flow import flows, net_and_tax, overdrawn
from sandbox.amazon.order_feeds import OrderFeed
from sandbox.amazon.reports import reports_of
from sandbox.amazon.state import Amazon, Line, Order
from sandbox.control import Core
from sandbox.options import Options

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
Message = tuple[Order, Line, dict[str, str], dict[str, str]]


def world(number: int = 7) -> Amazon:
    amazon = Amazon(Core.of(Options(seed=number, products=20, orders=900, speed=0, start=START)))
    seed.fill(amazon)
    return amazon


@pytest.fixture(scope="module")
def amazon() -> Amazon:
    return world()


def shipped(amazon: Amazon) -> list[tuple[Order, Line]]:
    """Lines of merchants' orders that have left whole, and of which nothing went back."""
    found = [one for one in amazon.orders.values() if one.fulfilled_by == "MERCHANT" and one.status == "SHIPPED"]
    return [(one, one.lines[0]) for one in found if not one.refunds and one.marketplace == "US"]


def worked(amazon: Amazon, messages: Iterable[Message], feed: OrderFeed = FEED) -> dict[str, str]:
    """What the report says against each message, by its number."""
    told = list(messages)
    account = told[0][0].account
    root = ElementTree.Element("AmazonEnvelope")
    ElementTree.SubElement(ElementTree.SubElement(root, "Header"), "MerchantIdentifier").text = account.seller
    ElementTree.SubElement(root, "MessageType").text = feed.message
    for number, (order, line, amounts, more) in enumerate(told, start=1):
        message = ElementTree.SubElement(root, "Message")
        ElementTree.SubElement(message, "MessageID").text = str(number)
        message.append(adjustment(order, line, amounts, **more))
    read = feed.messages(account, ElementTree.tostring(root))
    assert read is not None
    report = ElementTree.fromstring(feed.worked(amazon, account, "F1", read))
    assert report.findtext(".//MessagesProcessed") == str(len(told))
    return {one.findtext("MessageID", ""): one.findtext("ResultMessageCode", "") for one in report.iter("Result")}


def adjustment(
    order: Order, line: Line, amounts: dict[str, str], reason: str = "GeneralAdjustment", currency: str = "USD"
) -> Element:
    said = ElementTree.Element("OrderAdjustment")
    ElementTree.SubElement(said, "AmazonOrderID").text = order.id
    item = ElementTree.SubElement(said, "AdjustedItem")
    ElementTree.SubElement(item, "AmazonOrderItemCode").text = line.id
    ElementTree.SubElement(item, "MerchantAdjustmentItemID").text = "4711"
    ElementTree.SubElement(item, "AdjustmentReason").text = reason
    prices = ElementTree.SubElement(item, "ItemPriceAdjustments")
    for kind, amount in amounts.items():
        component = ElementTree.SubElement(prices, "Component")
        ElementTree.SubElement(component, "Type").text = kind
        ElementTree.SubElement(component, "Amount", currency=currency).text = amount
    return said


def test_an_amount_is_refunded_and_stands_in_the_settlement_under_the_merchants_name(amazon: Amazon) -> None:
    order, line = shipped(amazon)[0]
    assert worked(amazon, [(order, line, {"Principal": "1.50", "Tax": "0.12"}, {})]) == {}
    (refund,) = [one for one in flows(amazon, order) if one.kind == "REFUND"]
    parts = refund.lines[0].parts
    assert (parts["PRINCIPAL"], parts["TAX"], parts["TAX_WITHHELD"]) == (
        Decimal("-1.50"),
        Decimal("-0.12"),
        Decimal("0.12"),
    )
    assert parts["REFERRAL_FEE"] > -parts.get("REFUND_FEE", Decimal(0)) > 0
    amazon.clock.advance(60)
    closed = reports_of(amazon).settlements.close_now("US")
    stored = amazon.documents.stored(closed.document_id)
    assert stored is not None
    rows = [row.split("\t") for row in stored.text.decode().splitlines()]
    named = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    ours = [row for row in named if row["merchant-adjustment-item-id"] == "4711"]
    assert {row["order-id"] for row in ours} == {order.id}
    assert {"Principal", "Tax"} <= {row["amount-description"] for row in ours}


def test_what_cannot_be_refunded_is_named_and_moves_nothing(amazon: Amazon) -> None:
    order, line = shipped(amazon)[1]
    fba = next(one for one in amazon.orders.values() if one.fulfilled_by == "AMAZON" and one.account is order.account)
    net, tax = net_and_tax(order, line)
    wrong: list[Message] = [
        (order, line, {"Principal": str(net + Decimal("0.01"))}, {}),
        (order, line, {"Tax": str(tax + Decimal("0.01"))}, {}),
        (order, line, {"Shipping": "0.01"}, {}),
        (order, line, {"Principal": "0.001"}, {}),
        (order, line, {"Principal": "-1.00"}, {}),
        (order, line, {"Principal": "1.00"}, {"reason": "Whim"}),
        (order, line, {"Principal": "1.00"}, {"currency": "EUR"}),
        (order, line, {}, {}),
        (order, shipped(amazon)[2][1], {"Principal": "1.00"}, {}),
        (fba, fba.lines[0], {"Principal": "1.00"}, {}),
    ]
    assert list(worked(amazon, wrong)) == [str(number) for number in range(1, len(wrong) + 1)]
    assert (order.refunds, fba.refunds) == ([], [])


def test_a_file_that_numbers_two_alike_or_is_of_another_merchant_is_none(amazon: Amazon) -> None:
    account = shipped(amazon)[0][0].account

    def file(*numbers: str, seller: str = account.seller, kind: str = FEED.message) -> bytes:
        messages = "".join(f"<Message><MessageID>{one}</MessageID></Message>" for one in numbers)
        header = f"<Header><MerchantIdentifier>{seller}</MerchantIdentifier></Header>"
        return f"<AmazonEnvelope>{header}<MessageType>{kind}</MessageType>{messages}</AmazonEnvelope>".encode()

    found = FEED.messages(account, file("1", "2"))
    assert found is not None
    assert len(found) == 2
    others: list[bytes] = [file("1", "1"), file("1", seller="X"), file("1", kind="Price"), file("1" * 21), b"<a", b""]
    assert [FEED.messages(account, one) for one in others] == [None] * len(others)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 8), st.lists(st.integers(1, 120), min_size=1, max_size=4))
def test_however_it_is_cut_never_more_goes_back_than_was_paid(amazon: Amazon, place: int, percents: list[int]) -> None:
    order, line = shipped(amazon)[place]
    net, _ = net_and_tax(order, line)
    gone = Decimal(0)
    try:
        for percent in percents:
            part = max(Decimal("0.01"), (net * percent / 100).quantize(Decimal("0.01")))
            refused = worked(amazon, [(order, line, {"Principal": str(part)}, {})])
            assert bool(refused) == (gone + part > net)
            gone += Decimal(0) if refused else part
            shown = [flow.lines[0].parts["PRINCIPAL"] for flow in flows(amazon, order) if flow.kind == "REFUND"]
            assert (-sum(shown, Decimal(0)), overdrawn(order)) == (gone, False)
        assert sum(one.items[line.id] for one in order.refunds) <= order.shipped(line)
    finally:
        order.refunds.clear()

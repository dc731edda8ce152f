"""The money of an order, however it is sent and given back."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.money_flow import Flow, flows, net_and_tax
from sandbox.amazon.state import Amazon, Line, Order, Package, Refund
from sandbox.control import Core
from sandbox.options import Options

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
AMAZON = Amazon(Core.of(Options(products=40, orders=0, speed=0, start=AT)))
PRODUCT = AMAZON.world.product(9)


def order_of(code: str, cents: int, parcels: list[int], refunds: list[int]) -> Order:
    """One line, sent in `parcels` of so many units, and given back in steps."""
    account = next(one for one in AMAZON.accounts if code in one.marketplaces)
    price = Decimal(cents).scaleb(-MARKETPLACES[code].places)
    line = Line("1", PRODUCT, sum(parcels), price)
    sent_at = AT - timedelta(days=2)
    order = Order("1-1", account, code, "MERCHANT", [line], sent_at, sent_at)
    for number, units in enumerate(parcels):
        reference = str(number)
        order.visible[reference] = Package(reference, "UPS", "", "1Z", sent_at, sent_at, sent_at, {"1": units})
    order.refunds = [Refund(AT, {"1": units}) for units in refunds]
    return order


def summed(found: list[Flow], kind: str, *parts: str) -> Decimal:
    return sum(
        (
            amount
            for flow in found
            if flow.kind == kind
            for line in flow.lines
            for part, amount in line.parts.items()
            if part in parts
        ),
        Decimal(0),
    )


@given(
    st.sampled_from(list(MARKETPLACES)),
    st.integers(min_value=1, max_value=99_999),
    st.lists(st.integers(min_value=1, max_value=5), min_size=1, max_size=5),
    st.data(),
)
def test_parcels_add_up_to_the_line_and_a_whole_refund_takes_all_of_it_back(
    code: str, cents: int, parcels: list[int], data: st.DataObject
) -> None:
    refunds = data.draw(st.permutations(parcels))
    order = order_of(code, cents, parcels, refunds)
    found = flows(AMAZON, order)
    net, tax = net_and_tax(order, order.lines[0])
    assert summed(found, "SHIPMENT", "PRINCIPAL", "TAX") == net + tax
    for part in ("PRINCIPAL", "TAX", "TAX_WITHHELD", "REFERRAL_FEE"):
        assert summed(found, "REFUND", part) == -summed(found, "SHIPMENT", part)
    assert summed(found, "REFUND", "REFUND_FEE") <= 0
    assert all(amount == round(amount, MARKETPLACES[code].places) for flow in found for amount in [flow.total])
    assert flows(AMAZON, order) == found
    assert len({flow.id for flow in found}) == len(parcels) + len(refunds)


def test_what_happens_later_is_not_posted_yet() -> None:
    order = order_of("DE", 1999, [2], [1])
    assert [flow.kind for flow in flows(AMAZON, order)] == ["SHIPMENT", "REFUND"]
    order.refunds = [Refund(AT + timedelta(seconds=1), {"1": 1})]
    assert [flow.kind for flow in flows(AMAZON, order)] == ["SHIPMENT"]

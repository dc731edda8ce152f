"""Until when who bought is remembered."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import ChannelId, OrderId
from domain.order import Order, OrderStatus, Shipment
from domain.product import FulfilledBy
from domain.retention import KEPT_FOR, LONGEST, erase_at

PLACED = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def order(status: OrderStatus, **more: object) -> Order:
    plain = Order(
        id=OrderId("o"),
        channel=ChannelId("shop"),
        marketplace=None,
        external_id="1",
        status=status,
        channel_status="",
        fulfilled_by=FulfilledBy.MERCHANT,
        placed_at=PLACED,
        updated_at=PLACED + 3 * DAY,
        lines=[],
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def left(day: int) -> Shipment:
    return Shipment(str(day), "DHL", "1", PLACED + day * DAY)


@pytest.mark.parametrize(
    ("one", "days"),
    [
        (order(OrderStatus.CANCELLED), 3),
        (order(OrderStatus.DELIVERED, delivered_at=PLACED + 2 * DAY), 2),
        (order(OrderStatus.DELIVERED), 3),
        (order(OrderStatus.SHIPPED, shipments=[left(1), left(2)]), 2 + 10),
        (order(OrderStatus.SHIPPED), 3 + 10),
    ],
)
def test_thirty_days_after_it_is_over(one: Order, days: int) -> None:
    assert erase_at(one) == PLACED + days * DAY + KEPT_FOR
    assert KEPT_FOR == 30 * DAY


def test_parcels_travel_as_long_as_the_settings_say() -> None:
    assert erase_at(order(OrderStatus.SHIPPED, shipments=[left(1)]), timedelta(days=4)) == PLACED + 5 * DAY + KEPT_FOR


@given(st.sampled_from(OrderStatus), st.integers(0, 1000), st.integers(0, 100))
def test_there_is_always_an_end(status: OrderStatus, changed: int, transit: int) -> None:
    one = order(status, updated_at=PLACED + changed * DAY)
    assert erase_at(one, transit * DAY) <= PLACED + LONGEST

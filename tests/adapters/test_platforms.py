"""What the platforms say of themselves for the house to plan by."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adapters.amazon.platform import AmazonPort
from adapters.rest.platform import RestPort
from adapters.shopify.platform import ShopifyPort
from domain.channel import StreamName


@pytest.mark.parametrize(
    ("port", "minutes", "leads"),
    [(AmazonPort, (360, 10, 15), False), (ShopifyPort, (15, 5, 1), True), (RestPort, (15, 5, 1), True)],
)
def test_how_often_its_streams_run_and_whether_its_words_win(
    port: type[AmazonPort | ShopifyPort | RestPort], minutes: tuple[int, int, int], leads: bool
) -> None:
    names = (StreamName.LISTINGS, StreamName.STOCK, StreamName.ORDERS)
    assert tuple(port.every[name] for name in names) == tuple(timedelta(minutes=each) for each in minutes)
    assert port.leads is leads


def test_amazon_shows_what_it_offers_each_hour() -> None:
    assert AmazonPort.every[StreamName.SHOWN] == timedelta(hours=1)


def test_a_shop_shows_what_it_offers_every_five_minutes() -> None:
    assert ShopifyPort.every[StreamName.SHOWN] == timedelta(minutes=5)

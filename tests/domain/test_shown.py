"""Numbers of one SKU that count together."""

from __future__ import annotations

from dataclasses import dataclass

from domain.ids import ChannelId, ChannelSku
from domain.shown import counting

SHOP, AMAZON = ChannelId("shop"), ChannelId("amazon")


@dataclass(frozen=True)
class Part:
    """A number at one place."""

    channel: ChannelId
    channel_sku: ChannelSku
    units: int


def test_places_add_up_and_of_several_listings_the_highest_counts() -> None:
    berlin, munich = Part(SHOP, ChannelSku("A"), 3), Part(SHOP, ChannelSku("A"), 4)
    other = Part(SHOP, ChannelSku("A-2"), 6)
    amazon = Part(AMAZON, ChannelSku("A"), 0)
    found = counting([berlin, other, munich, amazon], lambda part: part.units)
    assert found == {SHOP: [berlin, munich], AMAZON: [amazon]}
    assert counting([], lambda part: part.units) == {}

"""What a channel's buyers see of one SKU, put together from the numbers that show it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from domain.ids import ChannelId, ChannelSku


class _Number(Protocol):
    """A number at one place of one listing."""

    @property
    def channel(self) -> ChannelId: ...
    @property
    def channel_sku(self) -> ChannelSku: ...


N = TypeVar("N", bound=_Number)


def counting(numbers: Iterable[N], units: Callable[[N], int]) -> dict[ChannelId, list[N]]:
    """The numbers of one SKU that count together in each channel.

    The places of one listing add up. Of several listings of the SKU the highest counts: they show the same units.
    """
    listings: defaultdict[tuple[ChannelId, ChannelSku], list[N]] = defaultdict(list)
    for number in numbers:
        listings[number.channel, number.channel_sku].append(number)
    most: dict[ChannelId, int] = {}
    found: dict[ChannelId, list[N]] = {}
    for (channel, _), places in listings.items():
        together = sum(map(units, places))
        if channel not in most or together > most[channel]:
            most[channel], found[channel] = together, places
    return found

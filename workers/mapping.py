"""From a channel's SKUs to ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from domain.ids import ChannelId
from domain.order import OrderLine
from domain.product import SkuMap


def with_our_skus(rules: SkuMap, channel: ChannelId, lines: Sequence[OrderLine]) -> list[OrderLine]:
    """Order lines with our SKU beside the channel's; a line that names none (a fee, a gift wrap) is left without."""
    return [replace(line, sku=rules.ours(channel, line.channel_sku)) if line.channel_sku else line for line in lines]

"""Settlements follow one another without a gap, and hand on what is held back: so one that is missing is noticed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from domain.ids import ChannelId
from domain.money import Money
from domain.residual import Missing


@dataclass(frozen=True, slots=True)
class Link:
    """A settlement of the period [`starts_at`, `ends_at`): what `came_in` of the one before, and what `went_out` to the next."""

    channel: ChannelId
    marketplace: str | None
    starts_at: datetime
    ends_at: datetime
    came_in: Money
    went_out: Money


def missing(links: Iterable[Link]) -> list[Missing]:
    """The settlements that must be there, by channel, marketplace and currency, oldest first; the same in whatever order those
    that are there came.

    One is missing from where a settlement ends and none begins to where the next one begins that follows none; its `amount` is
    what went out to it. Where all that end are followed, and another balance comes in than went out, something of no length is
    missing, of that difference. Before the first and after the last nothing can be told. An account may have several chains side
    by side (invoiced orders have settlements of their own).
    """
    chains: defaultdict[tuple[str, str, str], list[Link]] = defaultdict(list)
    for one in links:
        chains[one.channel, one.marketplace or "", one.came_in.currency].append(one)
    return [gap for _, chain in sorted(chains.items()) for gap in sorted(_gaps(chain), key=_when)]


def _gaps(chain: Sequence[Link]) -> Iterator[Missing]:
    channel, marketplace, currency = chain[0].channel, chain[0].marketplace, chain[0].came_in.currency
    starts, ends = Counter(one.starts_at for one in chain), Counter(one.ends_at for one in chain)
    came_in, went_out = defaultdict[datetime, Decimal](Decimal), defaultdict[datetime, Decimal](Decimal)
    for one in chain:
        came_in[one.starts_at] += one.came_in.amount
        went_out[one.ends_at] += one.went_out.amount
    loose = sorted((starts - ends).elements())
    for end in sorted((ends - starts).elements()):
        loose = [start for start in loose if start > end]
        if not loose:
            break
        amount = went_out[end] - came_in[end]
        yield Missing(channel, marketplace, end, loose.pop(0), Money(amount, currency))
    for at in starts.keys() & ends.keys():
        if starts[at] == ends[at] and came_in[at] != went_out[at]:
            yield Missing(channel, marketplace, at, at, Money(went_out[at] - came_in[at], currency))


def _when(one: Missing) -> tuple[datetime, datetime]:
    return one.starts_at, one.ends_at

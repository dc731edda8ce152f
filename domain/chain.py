"""What comes back of orders: announced, arrived, refunded, restocked or written off, reimbursed; put together from pieces that
come by different roads, in any order.

Units of one SKU of one order are alike. Each kind of piece counts them off in the order of time, and pieces that count the same
units belong together: with two units announced (a), one arrived (b), one refunded (c), and later one arrived (d)

    ANNOUNCED  [ a a ]
    ARRIVED    [ b d ]        one chain, in which one unit is not refunded
    REFUNDED   [ c   ]

So the same pieces make the same chains whenever each came to be known, and no piece is in two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import accumulate

from domain.ids import ChannelId, derived_id
from domain.money import Money


class PieceKind(Enum):
    """What happened to units that come back."""

    ANNOUNCED = "ANNOUNCED"  # the buyer is about to send them
    ARRIVED = "ARRIVED"  # they are back, with us or with the channel
    REFUNDED = "REFUNDED"
    RESTOCKED = "RESTOCKED"  # they can be sold again
    WRITTEN_OFF = "WRITTEN_OFF"  # they cannot, or are not waited for any more
    REIMBURSED = "REIMBURSED"  # the channel pays for what it lost or broke


class Gap(Enum):
    """A link that a chain lacks."""

    NOT_BACK = "NOT_BACK"  # announced or refunded, and nothing came
    NOT_REFUNDED = "NOT_REFUNDED"  # came back, and the buyer has no money
    NOT_RESTOCKED = "NOT_RESTOCKED"  # came back, and neither restocked nor written off
    NOT_REIMBURSED = "NOT_REIMBURSED"  # lost or broken by the channel that ships for us, and not paid


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing that a channel, or a person here, told of `units` of one SKU of one order.

    `order` and `sku` are the channel's own names; `order` is None where a channel tells none (a reimbursement of what was lost in
    its warehouse). `reference` is the channel's id of it, one per kind. `by_channel`: the channel ships for us and takes back.
    `expected` is False for a refund of units that never left. `owed`: the channel broke these units. `condition` is its own word.
    A refund of money alone has 0 units.
    """

    channel: ChannelId
    kind: PieceKind
    reference: str
    order: str | None
    sku: str
    units: int
    at: datetime
    money: Money | None = None
    by_channel: bool = False
    expected: bool = True
    owed: bool = False
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """So many units of a chain lack a link, the first of them `since`."""

    gap: Gap
    units: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Chain:
    """Pieces that belong together, by time. `id` stays as long as no earlier piece comes to be known."""

    id: str
    channel: ChannelId
    order: str | None
    sku: str
    pieces: tuple[Piece, ...]

    @property
    def started_at(self) -> datetime:
        """When the first of it happened."""
        return self.pieces[0].at

    @property
    def by_channel(self) -> bool:
        """Whether the channel takes back and restocks by itself."""
        return any(one.by_channel for one in self.pieces)

    def units(self, *kinds: PieceKind) -> int:
        """Units of all pieces of these kinds, by whichever of two knows of more."""
        told = {False: 0, True: 0}
        for one in self.pieces:
            if one.kind in kinds:
                told[one.reference.startswith(AT_POOL)] += one.units
        return max(told.values())


AT_POOL = "pool:"
"""What the reference of a piece begins with that a pool tells of which shipped for another channel. Both of them may tell of the
same units, which then come back once."""

PUT_BACK = "operation:"
"""What the reference of a piece begins with that an operation of ours made; its id and a number follow."""

# After so long what a channel's warehouse has not received back is lost, and owed to the seller.
# Source: Amazon's "FBA customer returns policy": the buyer has 45 days; later the refund is reimbursed.
LOST_AFTER = timedelta(days=45)

_STAGES = {
    PieceKind.ANNOUNCED: 0,
    PieceKind.ARRIVED: 1,
    PieceKind.REFUNDED: 2,
    PieceKind.RESTOCKED: 3,
    PieceKind.WRITTEN_OFF: 3,
    PieceKind.REIMBURSED: 4,
}


def chains(pieces: Iterable[Piece]) -> list[Chain]:
    """The chains that the pieces make, the same for every order of them."""
    groups: defaultdict[tuple[ChannelId, str | None, str], list[Piece]] = defaultdict(list)
    alone: list[Piece] = []
    for one in pieces:
        if one.order is None or not one.units or not one.expected:
            alone.append(one)
        else:
            groups[one.channel, one.order, one.sku].append(one)
    made = [_chain([one], one.kind.value, one.reference) for one in alone]
    for group in groups.values():
        made += _linked(group)
    return sorted(made, key=lambda one: (one.started_at, one.id))


def _linked(group: Sequence[Piece]) -> list[Chain]:
    """The chains of one SKU of one order: spans of units that no piece crosses the ends of."""
    stages: defaultdict[tuple[int, bool], list[Piece]] = defaultdict(list)
    for one in sorted(group, key=_place):
        stages[_STAGES[one.kind], one.reference.startswith(AT_POOL)].append(one)
    spans = [
        (end - one.units, end, one)
        for stage in stages.values()
        for one, end in zip(stage, accumulate(each.units for each in stage), strict=True)
    ]
    found: list[list[Piece]] = []
    reach = first = 0
    starts: list[int] = []
    for start, end, one in sorted(spans, key=lambda span: (span[0], span[1], _place(span[2]))):
        if not found or start >= reach:
            first = start
            found.append([])
            starts.append(first)
        found[-1].append(one)
        reach = max(reach, end)
    return [_chain(each, "units", str(start)) for each, start in zip(found, starts, strict=True)]


def _chain(pieces: Sequence[Piece], *name: str) -> Chain:
    told = tuple(sorted(pieces, key=_place))
    one = told[0]
    id = derived_id("chain", one.channel, one.order or "", one.sku, *name)
    return Chain(id, one.channel, one.order, one.sku, told)


def _place(one: Piece) -> tuple[datetime, str, str]:
    return one.at, one.kind.value, one.reference


def gaps(chain: Chain, now: datetime) -> list[Open]:
    """The links that a chain lacks at `now`; none when it is complete."""
    return _gaps_there(chain, now) if chain.by_channel else _gaps_here(chain)


def is_open(chain: Chain) -> bool:
    """Whether any link is missing. Time changes which, and never whether."""
    return bool(gaps(chain, chain.started_at))


def words(one: Open, now: datetime) -> str:
    """A gap as people read it."""
    days = max(0, (now - one.since).days)
    since = "today" if not days else "1 day ago" if days == 1 else f"{days} days ago"
    units = "1 unit" if one.units == 1 else f"{one.units} units"
    return f"{units}: {_WORDS[one.gap].format(since=since)}"


_WORDS = {
    Gap.NOT_BACK: "announced or refunded {since}, nothing came back",
    Gap.NOT_REFUNDED: "came back {since}, not refunded",
    Gap.NOT_RESTOCKED: "came back {since}, not restocked",
    Gap.NOT_REIMBURSED: "lost or broken at the channel {since}, not reimbursed",
}


def _gaps_here(chain: Chain) -> list[Open]:
    """Of units that come back to us, or to a shop."""
    announced, arrived = chain.units(PieceKind.ANNOUNCED), chain.units(PieceKind.ARRIVED)
    refunded = sum(one.units for one in chain.pieces if one.kind is PieceKind.REFUNDED and one.expected)
    settled = chain.units(PieceKind.RESTOCKED, PieceKind.WRITTEN_OFF)
    found = []
    back = max(arrived, settled)
    if (missing := max(announced, refunded) - back) > 0:
        kind = PieceKind.ANNOUNCED if announced >= refunded else PieceKind.REFUNDED
        found.append(Open(Gap.NOT_BACK, missing, _since(chain.pieces, {kind}, back)))
    # What lies on the shelf again has come back, whether or not anybody told of it.
    restocked = chain.units(PieceKind.RESTOCKED)
    if (unpaid := max(arrived, restocked) - refunded) > 0:
        kind = PieceKind.ARRIVED if arrived >= restocked else PieceKind.RESTOCKED
        found.append(Open(Gap.NOT_REFUNDED, unpaid, _since(chain.pieces, {kind}, refunded)))
    if (unsettled := arrived - settled) > 0:
        found.append(Open(Gap.NOT_RESTOCKED, unsettled, _since(chain.pieces, {PieceKind.ARRIVED}, settled)))
    return found


def _gaps_there(chain: Chain, now: datetime) -> list[Open]:
    """Of units that come back to a channel's own warehouse, which puts sellable ones back by itself.

    What it pays counts for what it broke first, then for what never came. The buyer's money is the channel's affair.
    """
    broken = [one for one in chain.pieces if one.kind is PieceKind.ARRIVED and one.owed]
    owed, paid = sum(one.units for one in broken), chain.units(PieceKind.REIMBURSED)
    written_off = chain.units(PieceKind.WRITTEN_OFF)
    found = []
    if (unpaid := owed - paid - written_off) > 0:
        found.append(Open(Gap.NOT_REIMBURSED, unpaid, _since(broken, {PieceKind.ARRIVED}, owed - unpaid)))
    refunded = sum(one.units for one in chain.pieces if one.kind is PieceKind.REFUNDED and one.expected)
    here = chain.units(PieceKind.ARRIVED) + max(0, paid + written_off - owed)
    if (missing := refunded - here) > 0:
        since = _since(chain.pieces, {PieceKind.REFUNDED}, here)
        gap = Gap.NOT_BACK if now - since <= LOST_AFTER else Gap.NOT_REIMBURSED
        found.append(Open(gap, missing, since))
    return found


def _since(pieces: Sequence[Piece], kinds: Collection[PieceKind], done: int) -> datetime:
    """When the first unit beyond the first `done` of these kinds happened."""
    wanted = [one for one in pieces if one.kind in kinds]
    reached = accumulate(one.units for one in wanted)
    return next(one.at for one, units in zip(wanted, reached, strict=True) if units > done)

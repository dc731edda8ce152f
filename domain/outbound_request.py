"""Orders that people, or a rule, want shipped from a pool: checked against what is known of the order and of the pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.channel import Location, LocationKind
from domain.errors import Conflict, Invalid, NotFound
from domain.ids import ChannelId, ChannelSku, LineId, LocationCode, OrderId, Sku
from domain.order import SHIPPABLE, Order, OrderLine
from domain.outbound import LONGEST_ID, MOST_LINES, MOST_UNITS, Feature, Policy, Speed, Wanted, WantedLine
from domain.product import FulfilledBy
from domain.shipment import ShippedLine

COMMENT = "Thank you for your order."
"""What the packing slip says, which Amazon wants to say something."""


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """An order to be shipped from a pool of `channel`; no `location` means its only pool, no `lines` all that is still open."""

    order: OrderId
    channel: ChannelId
    location: LocationCode | None = None
    speed: Speed = Speed.STANDARD
    policy: Policy = Policy.FILL_OR_KILL
    features: frozenset[Feature] = frozenset()
    lines: tuple[ShippedLine, ...] | None = None


@dataclass(frozen=True, slots=True)
class FbaRule:
    """What happens with a shop's order that none of our places can ship whole, and this pool of `channel` can: it is shipped from
    there, or (`approval`) proposed to be."""

    channel: ChannelId
    location: LocationCode
    speed: Speed = Speed.STANDARD
    approval: bool = True


@dataclass(frozen=True, slots=True)
class AtFba:
    """A SKU of ours as a pool holds it: under the channel's SKU, with the units that were free there when it told last."""

    location: LocationCode
    channel_sku: ChannelSku
    free: int


@dataclass(slots=True)
class Ground:
    """What a request is checked against. `promised` are units by (order, channel's line id) that something else ships or shall
    ship, `addressed` the orders of which it is kept whom they are for, `offers` what lies in pools, by our SKU."""

    orders: Mapping[OrderId, Order]
    promised: Counter[tuple[str, str]]
    addressed: frozenset[OrderId]
    offers: Mapping[Sku, Sequence[AtFba]]
    cancels: frozenset[OrderId] = frozenset()
    pools: Sequence[Location] = field(default_factory=tuple)


def wanted_of(one: OutboundRequest, ground: Ground, id: str, at: tuple[str, ...] = ()) -> Wanted:
    """The order as it is to be shipped, under `id`. Raises Refused with the input field that is wrong, below `at`."""
    found = _order(one, ground, at)
    pool = _pool(one, ground.pools, at)
    lines = [_line(found, line, units, pool, ground, here) for line, units, here in _units(one, found, ground, at)]
    if len(lines) > MOST_LINES or sum(line.quantity for line in lines) > MOST_UNITS:
        raise Invalid(
            f"At most {MOST_LINES} lines and {MOST_UNITS} units are shipped at a time; name some of the lines.",
            field=(*at, "lines"),
        )
    return Wanted(
        id=id,
        order=found.id,
        channel=one.channel,
        location=pool.code,
        marketplace=pool.external_id,
        shown_id=str(found.refs.get("name") or found.external_id)[:LONGEST_ID],
        placed_at=found.placed_at,
        comment=COMMENT,
        lines=tuple(lines),
        speed=one.speed,
        policy=one.policy,
        features=one.features,
    )


def covered(wanted: Wanted, offers: Mapping[Sku, Sequence[AtFba]]) -> bool:
    """Whether the pool told last that it has all of it."""
    units: Counter[ChannelSku] = Counter()
    for line in wanted.lines:
        units[line.channel_sku] += line.quantity
    free = {one.channel_sku: one.free for found in offers.values() for one in found if one.location == wanted.location}
    return all(count <= free.get(sku, 0) for sku, count in units.items())


def _order(one: OutboundRequest, ground: Ground, at: tuple[str, ...]) -> Order:
    here = (*at, "orderId")
    found = ground.orders.get(one.order)
    if found is None:
        raise NotFound(f"There is no order {one.order}.", field=here)
    if found.fulfilled_by is FulfilledBy.CHANNEL:
        raise Invalid(f"Order {found.external_id} is shipped by its channel, not by us.", field=here)
    if found.channel == one.channel:
        raise Invalid(
            f"Order {found.external_id} was sold at {one.channel}; only orders of other channels go out.", field=here
        )
    if found.status not in SHIPPABLE:
        raise Conflict(f"Order {found.external_id} is {found.status.value} and cannot ship.", field=here)
    if found.held is not None:
        raise Conflict(
            f"Order {found.external_id} is held and cannot ship: {found.held} Release or approve it first.", field=here
        )
    if found.id in ground.cancels:
        raise Conflict(f"Order {found.external_id} is being cancelled. Wait for the outcome.", field=here)
    if found.id not in ground.addressed:
        raise Invalid(
            f"It is not kept whom order {found.external_id} is for. Set `buyers = true` for {found.channel} and have the order "
            "read again.",
            field=here,
        )
    return found


def _pool(one: OutboundRequest, pools: Sequence[Location], at: tuple[str, ...]) -> Location:
    there = [place for place in pools if place.kind is LocationKind.FBA and place.keeper == one.channel]
    named = [place for place in there if one.location in (None, place.code)]
    codes = ", ".join(place.code for place in there)
    if not there:
        raise NotFound(f"{one.channel} has no pool that ships for others.", field=(*at, "channelId"))
    if len(named) != 1:
        problem = f"{one.channel} has no pool {one.location}" if one.location else f"{one.channel} has several pools"
        raise Invalid(f"{problem}: name one of {codes}.", field=(*at, "location"))
    return named[0]


def _units(
    one: OutboundRequest, found: Order, ground: Ground, at: tuple[str, ...]
) -> list[tuple[OrderLine, int, tuple[str, ...]]]:
    """(line, units, input field) of what is to be shipped."""
    left = {line.id: line.quantity_open - ground.promised[found.id, line.external_id] for line in found.lines}
    lines = {line.id: line for line in found.lines}
    if one.lines is None:
        rest = [(lines[id], units, (*at, "orderId")) for id, units in left.items() if units > 0]
        if not rest:
            raise Conflict(f"Nothing of order {found.external_id} is left to ship.", field=(*at, "orderId"))
        return rest
    wanted: Counter[LineId] = Counter()
    fields: dict[LineId, tuple[str, ...]] = {}
    for position, line in enumerate(one.lines):
        here = (*at, "lines", str(position))
        if line.line not in left:
            raise NotFound(f"Order {found.external_id} has no line {line.line}.", field=(*here, "orderLineId"))
        wanted[line.line] += line.quantity
        fields.setdefault(line.line, here)
        if line.quantity < 1 or wanted[line.line] > left[line.line]:
            raise Invalid(
                f"{line.quantity} units cannot ship: {max(0, left[line.line])} of this line are open.",
                field=(*here, "quantity"),
            )
    if not wanted:
        raise Invalid("Name at least one line, or leave `lines` out for all that is open.", field=(*at, "lines"))
    return [(lines[id], units, fields[id]) for id, units in wanted.items()]


def _line(
    found: Order, line: OrderLine, units: int, pool: Location, ground: Ground, here: tuple[str, ...]
) -> WantedLine:
    """With the channel's SKU that has the most: a SKU may lie in a pool under several."""
    if line.sku is None:
        raise Invalid(f"Order {found.external_id}: {line.channel_sku} is mapped to no SKU of ours.", field=here)
    there = [one for one in ground.offers.get(line.sku, ()) if one.location == pool.code]
    if not there:
        raise Invalid(
            f"{line.sku} is not offered from {pool.code}; ship it from elsewhere, or list it there.", field=here
        )
    best = max(there, key=lambda one: (one.free, one.channel_sku))
    return WantedLine(line.id, line.external_id, line.sku, best.channel_sku, units)

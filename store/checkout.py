"""What a reservation depends on beside the counts: the safety stock of a new SKU, and the part of a check-out's channel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import policy
from domain.channel import Location
from domain.errors import Insufficient
from domain.ids import ChannelId, Sku
from domain.policy import Facts, Hold
from domain.reservation import Buyer, Reservation, ReservedLine
from domain.rule import Rule
from store import channel_stock, facts, ledger, marks, reservation, rule
from store.reservation import all_of, line_of


@dataclass(frozen=True, slots=True)
class Terms:
    """What numbers are computed by, beside what the tables say. `channels` are those that there are."""

    locations: Sequence[Location]
    channels: Collection[ChannelId]
    default_safety_stock: int
    max_age: timedelta


async def unsettled(tx: AsyncConnection, skus: Collection[Sku]) -> set[Sku]:
    """Of these SKUs, components in the place of kits, those whose safety stock was never computed: a reservation leaves none."""
    return {Sku(row.sku) for row in await tx.execute(_UNSETTLED, {"skus": list(skus)})}


async def settle(tx: AsyncConnection, skus: Collection[Sku], terms: Terms) -> None:
    """Compute the safety stock of these SKUs, which are no kits, where nobody has."""
    await ledger.lock(tx, skus)
    now = await marks.as_stirred(tx, skus)
    known = await _facts(tx, skus, terms, now[0].at) if now else {}
    units = {sku: policy.safety_stock(one, now[0].at)[0] for sku, one in known.items()}
    await tx.execute(_SETTLE, {"skus": list(units), "units": list(units.values())})


async def reserve(
    tx: AsyncConnection,
    *,
    requested_by: str,
    idempotency_key: str | None,
    request_hash: str,
    lines: Sequence[ReservedLine],
    ttl_s: float,
    terms: Terms,
    buyer: Buyer | None,
) -> tuple[Reservation, bool]:
    """As `store.reservation.reserve`, and with a `buyer` no more than their channel could sell.

    That is what it may sell of ours, where it lists it as sent by us, and what it keeps itself. Raises what that raises; `tx` has
    to be given up then.
    """
    # What nobody's reservation changes is read before the crowd has to wait.
    part = None if buyer is None else await _part(tx, lines, terms, buyer)
    try:
        made, created = await reservation.reserve(
            tx,
            requested_by=requested_by,
            idempotency_key=idempotency_key,
            request_hash=request_hash,
            lines=lines,
            ttl_s=ttl_s,
            channel=None if buyer is None else buyer.channel,
        )
    except Insufficient as problem:
        if part is None:
            raise
        # Of each line the tighter limit, so that whoever asks for what can be had gets it.
        limits = [problem, *problem.others, *await _beyond(tx, lines, None, part)]
        tightest = {one.field: one for one in limits if one.field is not None}
        raise all_of([tightest[field] for field in sorted(tightest, key=lambda field: int(field[1]))]) from None
    if created and part is not None:
        # Its SKUs are locked by now, so what is looked at is exact.
        short = await _beyond(tx, lines, made, part)
        if short:
            raise all_of(short)
    return made, created


@dataclass(frozen=True, slots=True)
class _Part:
    """What limits a channel, beside the counts: rules, and the channels that show numbers of ours of each SKU."""

    terms: Terms
    buyer: Buyer
    rules: Sequence[Rule]
    selling: Mapping[Sku, frozenset[ChannelId]]


async def _part(tx: AsyncConnection, lines: Sequence[ReservedLine], terms: Terms, buyer: Buyer) -> _Part:
    outlets = await channel_stock.outlets(tx, {line.sku for line in lines}, terms.channels)
    selling = {sku: frozenset(one.channel for one in found) for sku, found in outlets.items()}
    return _Part(terms, buyer, await rule.rules(tx), selling)


async def _beyond(
    tx: AsyncConnection, lines: Sequence[ReservedLine], made: Reservation | None, part: _Part
) -> list[Insufficient]:
    """The lines that ask for more than the buyer's channel can sell; what is held for them already, by `made`, left out."""
    now = await reservation.now(tx) if made is None else made.created_at
    wanted: defaultdict[Sku, int] = defaultdict(int)
    for line in lines:
        wanted[line.sku] += line.quantity
    buyer = part.buyer
    known = await _facts(tx, wanted, part.terms, now, part.rules)
    uses = _uses(wanted, known)
    if made is not None:
        held = {part: sum(by_line.values()) for part, by_line in uses.items()}
        known = {sku: _without(one, held, made.expires_at) for sku, one in known.items()}
    short: dict[Sku, str] = {}
    for sku, quantity in wanted.items():
        selling = part.selling.get(sku, frozenset())
        most = _most(known[sku], selling, now, buyer)
        if quantity > most:
            asked = f"{quantity} of {sku} were asked for, and {buyer.channel}"
            sells = buyer.channel in selling or _keeps(known[sku], buyer.channel)
            short[sku] = f"{asked} may sell {most} of it now." if sells else f"{asked} does not sell it (yet)."
    if not short:
        short = _shared(uses, known, now, buyer)
    return [Insufficient(words, field=line_of(lines, sku)) for sku, words in short.items()]


async def _facts(
    tx: AsyncConnection, skus: Collection[Sku], terms: Terms, now: datetime, rules: Sequence[Rule] | None = None
) -> dict[Sku, Facts]:
    return await facts.facts(
        tx,
        skus,
        locations=terms.locations,
        now=now,
        default_safety_stock=terms.default_safety_stock,
        max_age=terms.max_age,
        rules=rules,
        with_sales=True,
        with_shown=True,
    )


def _uses(wanted: Mapping[Sku, int], known: Mapping[Sku, Facts]) -> dict[Sku, dict[Sku, int]]:
    """Units of each component, or SKU that is no kit, that each of the SKUs asked for takes."""
    uses: defaultdict[Sku, dict[Sku, int]] = defaultdict(dict)
    for sku, quantity in wanted.items():
        for part, units in known[sku].components or [(known[sku], 1)]:
            uses[part.sku][sku] = units * quantity
    return dict(uses)


def _without(known: Facts, held: Mapping[Sku, int], expires_at: datetime) -> Facts:
    """The facts as they were before these units were held."""
    holds = list(known.holds)
    own = Hold(held.get(known.sku, 0), expires_at)
    if own in holds:
        holds.remove(own)
    return replace(
        known, holds=holds, components=[(_without(one, held, expires_at), units) for one, units in known.components]
    )


def _most(known: Facts, selling: Collection[ChannelId], now: datetime, buyer: Buyer, *, in_kit: bool = False) -> int:
    """What the buyer's channel can sell of it; `selling` are the channels that show numbers of ours."""
    ours = 0 if known.components else -sum(hold.quantity for hold in known.holds if hold.expires_at > now)
    if buyer.channel in selling:
        number = policy.offers(known, sorted(selling), now, buyer.destination, in_kit=in_kit)[buyer.channel]
        # What is held beyond what is ours is held of what the channel keeps.
        ours = number.quantity - sum(term.quantity for term in number.terms if term.label == policy.NEVER_BELOW_ZERO)
    return max(0, ours + _keeps(known, buyer.channel))


def _keeps(known: Facts, channel: ChannelId) -> int:
    """Units where the channel counts by itself, a shop's warehouse or an FBA pool; of a kit what its components make."""
    if known.components:
        return min(_keeps(one, channel) // units for one, units in known.components)
    there = (place for place in known.places if place.location.keeper == channel)
    return sum(max(0, place.on_hand - place.reserved) for place in there)


def _shared(
    uses: Mapping[Sku, Mapping[Sku, int]], known: Mapping[Sku, Facts], now: datetime, buyer: Buyer
) -> dict[Sku, str]:
    """The SKUs asked for that share a component of which the channel may not sell enough for all, and that in words."""
    parts = {part.sku: part for one in known.values() for part, _ in (one.components or [(one, 1)])}
    for sku, by_line in uses.items():
        most = _most(parts[sku], {buyer.channel, *parts[sku].shown}, now, buyer, in_kit=True)
        if len(by_line) > 1 and sum(by_line.values()) > most:
            words = f"{', '.join(by_line)} share {sku}, and {buyer.channel} may sell {most} of it now."
            return dict.fromkeys(by_line, words)
    return {}


_UNSETTLED = text(
    """
    select distinct stock.sku from unnest(cast(:skus as text[])) as asked (sku)
    left join kit_component part on part.kit = asked.sku
    join sku_stock stock on stock.sku = coalesce(part.component, asked.sku)
    where stock.safety_stock is null
    """
)

_SETTLE = text(
    """
    update sku_stock set safety_stock = settled.units
    from unnest(cast(:skus as text[]), cast(:units as bigint[])) as settled (sku, units)
    where sku_stock.sku = settled.sku and safety_stock is null
    """
)

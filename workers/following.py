"""Orders that another platform's stock ships, followed to their end: what has left is confirmed to whoever sold it, once for each
parcel, and what will not be shipped comes back to our own places.

Units stay promised where they were until the platform's own count has been read later than it took the order. In between they
may be missing twice, and are never sold twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fulfillment import Ships
from adapters.port import StockKey
from domain.budget import Ask, Priority
from domain.errors import HouseError, NotFound, Refused, Throttled, Transient, Unauthorized
from domain.exchange import about_operation, about_order
from domain.ids import ChannelId, ChannelSku, LocationCode, OrderId, derived_id
from domain.operation import Kind, OperationStatus
from domain.order import Order, OrderStatus
from domain.outbound import (
    CLOCKS,
    ENDED,
    Followed,
    FollowedPackage,
    OutboundState,
    Speed,
    Standing,
    listed,
    look_again,
    preview_to_json,
    unchanged,
)
from domain.outbound_request import OutboundRequest, covered, wanted_of
from domain.shipment import Promises, ShipmentRequest, ShippedLine, item_of
from domain.timeline import Step, StepKind
from store import allocation, channel, operation, order, outbound, outbound_return, shipment, stock, timeline
from store.outbound import Unquoted
from workers.backoff import jittered
from workers.calls import ROLE_WAIT_S, batches
from workers.crash import point
from workers.deps import Deps
from workers.outbound import addressed, outbound_of

T = TypeVar("T")

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
# One look, with waiting for slots, ends well within it; else it is done twice, and nothing is wrong.
LEASE_S = 120.0
PATIENCE_S = 20.0
CLAIMED = 100
LOOKS = 20
"""Orders that are taken at once, and looked at themselves before the next ones are; what a list says costs nothing."""
FEW = 3
"""Orders that are looked at one by one: with more it is worth a call to ask what has changed at all."""
COUNT_EVERY_S = 30.0
SPEEDS = (Speed.STANDARD, Speed.EXPEDITED, Speed.PRIORITY)


@dataclass(slots=True)
class Following:
    """Follows what platforms ship for us. `pulse` is called at each look."""

    deps: Deps
    pulse: Callable[[], None]
    _count_at: float = field(default=0.0)
    _uncounted: set[str] = field(default_factory=set)
    _left_alone: set[OrderId] = field(default_factory=set)

    async def run(self) -> None:
        """For ever."""
        while True:
            busy = await self.once()
            self.pulse()
            if not busy:
                await asyncio.sleep(LOOK_EVERY_S)

    async def once(self) -> int:
        """One round: what people want to know first, then what is due, then what the pools count; how much there was."""
        ids = [id for id, port in self.deps.ports.items() if isinstance(port, Ships)]
        if not ids:
            return 0
        done = await self._quotes(ids) + await self._states(ids)
        if time.monotonic() >= self._count_at:
            self._count_at = time.monotonic() + COUNT_EVERY_S
            await count(self.deps, ids, self._uncounted)
            done += await apply_rules(self.deps, self._left_alone)
        return done

    async def _quotes(self, ids: Sequence[ChannelId]) -> int:
        async with self.deps.store.begin() as tx:
            found = await outbound.unquoted(tx, ids, LEASE_S)
        for one in found:
            await quote(self.deps, one)
            self.pulse()
        return len(found)

    async def _states(self, ids: Sequence[ChannelId]) -> int:
        async with self.deps.store.begin() as tx:
            found = await outbound.claim(tx, ids, LEASE_S, limit=CLAIMED)
        due: list[tuple[Followed, OutboundState | None]] = []
        for id in ids:
            due += await by_list(self.deps, id, [one for one in found if one.wanted.channel == id])
        for one, state in due[:LOOKS]:
            await look(self.deps, one, state)
            self.pulse()
        async with self.deps.store.begin() as tx:
            for one, _ in due[LOOKS:]:
                await outbound.look_in(tx, one.wanted.id, timedelta(0))
        return len(found)


def _ask(one: Order | Followed | Unquoted, priority: Priority) -> Ask:
    about: tuple[str, ...] = ()
    if isinstance(one, Followed | Unquoted):
        about = about_operation(one.operation), about_order(one.wanted.shown_id)
    return Ask(priority, time.monotonic() + PATIENCE_S, about=about)


# ── What it would cost ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def quote(deps: Deps, one: Unquoted) -> None:
    """Find out what an order would cost, and when it would arrive, at each speed; for the people whom it waits for."""
    wanted = one.wanted
    speeds = tuple(dict.fromkeys((wanted.speed, *SPEEDS)))
    told: dict[str, object]
    try:
        there = outbound_of(deps, wanted.channel)
        preview = await there.preview(await addressed(deps, wanted), speeds, _ask(one, Priority.WRITE))
    except Refused as problem:
        told = {"refused": {"code": problem.code, "message": problem.words}}
    except HouseError as problem:
        await _quote_later(deps, one, problem)
        return
    except Exception as problem:
        log.exception("outbound.preview_broken", extra={"item": one.item})
        await _quote_later(deps, one, Transient(f"An unexpected {type(problem).__name__} came up."))
        return
    else:
        told = {"preview": preview_to_json(preview)}
    after = json.dumps(outbound.after(wanted, told), ensure_ascii=False)
    async with deps.store.begin() as tx:
        await outbound.quote(tx, one, told, after)


async def _quote_later(deps: Deps, one: Unquoted, problem: HouseError) -> None:
    log.warning("outbound.preview_failed", extra={"channel": one.wanted.channel, "reason": problem.words})
    wait_s = problem.retry_after_s if isinstance(problem, Throttled) else 5.0
    async with deps.store.begin() as tx:
        await outbound.quote_later(tx, one, min(60.0, max(0.5, wait_s)))
        if isinstance(problem, Unauthorized) and problem.pauses:
            await channel.pause(tx, one.wanted.channel, problem.message, deps.timing.pause_s)


# ── What becomes of it ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def by_list(deps: Deps, id: ChannelId, found: Sequence[Followed]) -> list[tuple[Followed, OutboundState | None]]:
    """Those of one channel's orders that there is something to see of, with their states where a list has told them; the others
    are put off. The list is read while it takes fewer calls than looking at each."""
    now = deps.clock()
    waiting = [one for one in found if listed(one, now)]
    told: Mapping[str, Standing] | None = None
    if len(waiting) > FEW:
        since = min(one.seen_at for one in waiting if one.seen_at is not None) - CLOCKS
        ask = Ask(Priority.BACKGROUND, time.monotonic() + PATIENCE_S)
        try:
            told = await outbound_of(deps, id).changed(since, ask, len(waiting) - 1)
        except HouseError as problem:
            log.warning("outbound.not_listed", extra={"channel": id, "reason": problem.words})
    if told is None:
        return [(one, None) for one in found]
    same = {one.wanted.id for one in waiting if unchanged(one, told.get(one.wanted.id))}
    await _put_off(deps, [one for one in waiting if one.wanted.id in same], now)
    states = {one.wanted.id: told[one.wanted.id].state for one in waiting if one.wanted.id in told}
    return [(one, states.get(one.wanted.id)) for one in found if one.wanted.id not in same]


async def _put_off(deps: Deps, same: Sequence[Followed], now: datetime) -> None:
    async with deps.store.begin() as tx:
        orders = await order.by_ids(tx, [one.wanted.order for one in same])
        for one in same:
            await outbound.look_in(tx, one.wanted.id, look_again(one, orders[one.wanted.order].ship_by, now))


async def look(deps: Deps, one: Followed, state: OutboundState | None = None) -> None:
    """Look at one order, unless its `state` was told already, and do what follows from it. A failure stays with its row."""
    id, problem = one.wanted.channel, None
    try:
        if state is None:
            state = await outbound_of(deps, id).track(one.wanted.id, _ask(one, Priority.BACKGROUND))
        point("after_outbound_look")
        await keep(deps, one, state)
    except HouseError as found:
        problem = found
    except Exception as found:
        log.exception("outbound.broken", extra={"channel": id, "outbound": one.wanted.id})
        problem = Transient(f"An unexpected {type(found).__name__} came up; see the log.")
    if problem is None:
        return
    log.warning("outbound.put_off", extra={"channel": id, "outbound": one.wanted.id, "reason": problem.words})
    async with deps.store.begin() as tx:
        await outbound.put_off(tx, one.wanted.id, _wait_s(problem), problem.words)
        if isinstance(problem, Unauthorized) and problem.pauses:
            await channel.pause(tx, id, problem.message, deps.timing.pause_s)


def _wait_s(problem: HouseError) -> float:
    match problem:
        case Throttled():
            return max(1.0, problem.retry_after_s)
        case Unauthorized():
            return ROLE_WAIT_S
        case NotFound():
            return 5.0  # what was just taken may not be found everywhere yet
        case _:
            return 5.0 + jittered(3, first_s=10.0, most_s=60.0)


async def keep(deps: Deps, one: Followed, state: OutboundState) -> None:
    """Keep what the platform shows, in one transaction with all that follows from it: parcels confirmed, units given back."""
    id = one.wanted.order
    async with deps.store.begin() as tx:
        orders, promises = await shipment.locked(tx, [id])
        found, before = orders[id], (await outbound.by_ids(tx, [one.wanted.id]))[one.wanted.id]
        now = deps.clock()
        after = await outbound.keep(tx, before, state, now)
        after = await outbound_return.keep(tx, found, after, state.returns, None, state.upstream_request_id)
        for each in after.packages:
            await _confirm(deps, tx, found, promises, after, each)
        after = (await outbound.by_ids(tx, [one.wanted.id]))[one.wanted.id]
        await outbound.look_in(tx, one.wanted.id, look_again(after, found.ship_by, now))
        if found.status is OrderStatus.CANCELLED and after.cancelable:
            await _stop(tx, found, after)
        if any(units.left for units in after.units.values()):
            # What has left is in no count any more.
            await outbound.counted(tx, [after.wanted.id])
        changed = _changed(before, after)
        await timeline.note(tx, _steps(before, after, state))
        if changed:
            await outbound.tell(tx, id)
        point("inside_outbound_record")
        await _settle(tx, deps, found)
    point("after_outbound_record")


async def _settle(tx: AsyncConnection, deps: Deps, found: Order) -> None:
    """Bring what our own places promise in step with what pools have. The locks of stock come last."""
    followed = (await outbound.by_orders(tx, [found.id])).get(found.id, [])
    await allocation.leave_to_pools(tx, found, outbound.at_pools(followed))
    await allocation.settle(tx, [found], deps.locations)


async def _confirm(
    deps: Deps, tx: AsyncConnection, found: Order, promises: Promises, one: Followed, each: FollowedPackage
) -> None:
    """Have the channel that sold the order told of a parcel that has left, by the checks of any other parcel."""
    package = each.package
    number = package.tracking_number
    if each.confirmation is not None or package.shipped_at is None or number is None:
        return
    if any(shown.tracking_number == number for shown in found.shipments):
        return
    external = {str(line.line): line for line in one.wanted.lines}
    for line, units in package.lines:
        # Until now the pool held them.
        promises.units[found.id, external[line].external_id] -= units
    request = ShipmentRequest(
        order=found.id,
        carrier=package.carrier or one.wanted.channel,
        tracking_number=number,
        shipped_at=package.shipped_at,
        lines=tuple(ShippedLine(external[line].line, units) for line, units in package.lines),
    )
    platforms = {id: channel.platform for id, channel in deps.channels.items()}
    try:
        item = item_of(request, {found.id: found}, promises, platforms, deps.clock())
    except Refused as problem:
        await outbound.not_confirmed(tx, one.wanted.id, package.id, problem.message)
        return
    promises.add(item.payload)
    key = f"outbound:{derived_id(one.wanted.id, package.id)}"
    made, _ = await operation.create(
        tx,
        kind=Kind.CONFIRM_SHIPMENTS,
        requested_by=outbound.RULE,
        idempotency_key=key,
        request_hash=key,
        dry_run=False,
        status=OperationStatus.QUEUED,
        items=[item],
    )
    await outbound.confirmed(tx, one.wanted.id, package.id, made.id)


async def _stop(tx: AsyncConnection, found: Order, one: Followed) -> None:
    """Its channel has canceled the order: it is not to be shipped any more, where it is not too late."""
    key = f"outbound:{derived_id(one.wanted.id, 'canceled by its channel')}"
    await operation.create(
        tx,
        kind=Kind.CANCEL_OUTBOUND,
        requested_by=outbound.RULE,
        idempotency_key=key,
        request_hash=key,
        dry_run=False,
        status=OperationStatus.QUEUED,
        items=[outbound.stopping(found, one)],
    )


def _changed(before: Followed, after: Followed) -> bool:
    same = (before.status, before.channel_status, before.lines, before.packages)
    return same != (after.status, after.channel_status, after.lines, after.packages)


def _steps(before: Followed, after: Followed, state: OutboundState) -> list[Step]:
    """What is new, for people."""
    id, actor = after.wanted.id, after.wanted.channel
    steps = []

    def step(words: str, key: str) -> None:
        steps.append(
            Step(
                after.wanted.order,
                StepKind.OUTBOUND,
                actor,
                words,
                f"outbound {id} {key}",
                operation=after.operation,
                upstream_request_id=state.upstream_request_id,
            )
        )

    known = {one.package.id: one.package for one in before.packages}
    for one in after.packages:
        package, was = one.package, known.get(one.package.id)
        if package.shipped_at is not None and (was is None or was.shipped_at is None):
            units = sum(count for _, count in package.lines)
            by = f" by {package.carrier}" if package.carrier else ""
            step(f"{units} units left {after.wanted.location}{by}, in parcel {package.id}.", f"left {package.id}")
        if package.whereabouts is not None and (was is None or was.whereabouts is not package.whereabouts):
            step(f"Parcel {package.id} is {package.whereabouts.value}.", f"{package.id} {package.whereabouts.value}")
    if after.status is not before.status and after.status in ENDED:
        wanted = sum(line.quantity for line in after.wanted.lines)
        sent = sum(units.left for units in after.units.values())
        rest = wanted - sum(units.kept + units.left for units in after.units.values())
        back = f" {rest} units are for other places to ship." if rest else ""
        step(f"It is {state.channel_status} there: {sent} of {wanted} units have left.{back}", after.status.value)
    return steps


# ── What rules say ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def apply_rules(deps: Deps, passed: set[OrderId], at_once: int = 50) -> int:
    """Have pools ship what none of our own places can, where the shop's rule says so and the pool has all of it; or propose it.
    Of each order once: what becomes of it is for people. Returns how many orders.

    What is left alone goes to `passed`, and comes again when all others have had their turn: it holds up nobody behind it.
    """
    if not deps.fba:
        return 0
    async with deps.store.begin() as tx:
        ids = await outbound.short(tx, deps.fba, passed, at_once)
    done = {id for id in ids if await _apply_rule(deps, id)}
    _pass(passed, set(ids) - done, whole=len(ids) < at_once)
    return len(done)


def _pass(passed: set[T], more: set[T], *, whole: bool) -> None:
    if whole:
        passed.clear()
    else:
        passed |= more


async def _apply_rule(deps: Deps, id: OrderId) -> bool:
    async with deps.store.begin() as tx:
        ground = await shipment.ground(tx, [id], deps.locations)
        rule = deps.fba[ground.orders[id].channel]
        request = OutboundRequest(id, rule.channel, rule.location, rule.speed)
        made = operation.new_id()
        try:
            wanted = wanted_of(request, ground, derived_id("outbound", made, "0"))
        except Refused as problem:
            log.info("outbound.rule_left_out", extra={"order": id, "reason": problem.message})
            return False
        if not covered(wanted, ground.offers):
            return False
        key = outbound.rule_key(id)
        _, created = await operation.create(
            tx,
            kind=Kind.SHIP_FROM_FBA,
            requested_by=outbound.RULE,
            idempotency_key=key,
            request_hash=key,
            dry_run=False,
            status=OperationStatus.AWAITING_APPROVAL if rule.approval else OperationStatus.QUEUED,
            items=[outbound.shipping(ground.orders[id], wanted)],
            id=made,
        )
    return created


# ── What the pools count ────────────────────────────────────────────────────────────────────────────────────────────────────


async def count(deps: Deps, ids: Sequence[ChannelId], passed: set[str], at_once: int = 100) -> int:
    """Give our own places their units back once a pool's own count, read late enough, is without them; how many orders were.

    Those that a pool does not count go to `passed`, as in `apply_rules`.
    """
    async with deps.store.begin() as tx:
        waiting = await outbound.uncounted(tx, ids, passed, at_once)
    ripe = [one for one in waiting if deps.clock() - one.taken_at > _shown_after(deps, one)]
    await _read(deps, ripe)
    done = {one.wanted.id for one in ripe if await _counted(deps, one)}
    _pass(passed, {one.wanted.id for one in waiting} - done, whole=len(waiting) < at_once)
    return len(done)


def _shown_after(deps: Deps, one: Followed) -> timedelta:
    return timedelta(seconds=deps.ports[one.wanted.channel].visibility_lag_s)


async def _read(deps: Deps, ripe: Sequence[Followed]) -> None:
    """Read the counts of what nobody has read late enough."""
    wanted: defaultdict[tuple[ChannelId, LocationCode], set[ChannelSku]] = defaultdict(set)
    for one in ripe:
        if not await _late_enough(deps, one):
            skus = {line.channel_sku for line in one.wanted.lines}
            wanted[one.wanted.channel, one.wanted.location] |= skus
    places = {place.code: place for place in deps.locations}
    for (id, code), skus in wanted.items():
        port, place = deps.ports[id], places.get(code)
        if place is None:
            continue
        ask = Ask(Priority.BACKGROUND, time.monotonic() + PATIENCE_S)
        for few in batches(sorted(skus), port.stock_batch):
            try:
                readings = await port.stock([place], [StockKey(sku) for sku in few], ask)
            except HouseError as problem:
                log.warning("outbound.not_counted", extra={"channel": id, "reason": problem.words})
                break
            async with deps.store.begin() as tx:
                await stock.keep_and_tell(tx, readings)


async def _late_enough(deps: Deps, one: Followed) -> bool:
    """Whether every SKU of it has been counted since the platform shows that it took the order."""
    since, wanted = one.taken_at + _shown_after(deps, one), {line.channel_sku for line in one.wanted.lines}
    async with deps.store.begin() as tx:
        told = await stock.of_channel_skus(tx, one.wanted.channel, wanted)
    young = {
        sku
        for sku, found in told.items()
        if any(each.location == one.wanted.location and each.as_of > since for each in found)
    }
    return young == wanted


async def _counted(deps: Deps, one: Followed) -> bool:
    if not await _late_enough(deps, one):
        return False
    async with deps.store.begin() as tx:
        orders, _ = await shipment.locked(tx, [one.wanted.order])
        await outbound.counted(tx, [one.wanted.id])
        await _settle(tx, deps, orders[OrderId(one.wanted.order)])
    return True

"""Holding orders, and letting them go on; each order for itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict, Forbidden, Invalid, NotFound, Refused
from domain.hold import LONGEST_WORDS, MOST_HOLD, Hold, HoldReason, HoldRule, NewHold
from domain.ids import OrderId
from domain.order import OPEN, Order
from domain.product import FulfilledBy
from resolvers.request import check_word
from resolvers.shelf import Shelf
from store import hold, order, shipment

MOST_ORDERS = 500


@dataclass(slots=True)
class Held:
    """The orders as they stand, those that were held or let go before too; and why the others were left alone."""

    orders: list[Order]
    problems: list[Refused]


async def hold_orders(
    shelf: Shelf,
    by: str,
    ids: Sequence[OrderId],
    reason: HoldReason,
    words: str,
    until: datetime | None,
    *,
    approval: bool,
) -> Held:
    """Hold each order that is open, ours to ship, and of which no parcel and no cancellation is on its way.

    `until`: from then on others may have its units. One that is held for the same reason already stays as it is.
    """
    now = shelf.clock()
    try:
        _check_ids(ids)
        check_word("words", words, longest=LONGEST_WORDS)
        if until is not None and not now < until <= now + MOST_HOLD:
            raise Invalid("`until` lies in the future, by 90 days at most.", field=("until",))
    except Refused as problem:
        return Held([], [problem])
    async with shelf.store.begin() as tx:
        found = await order.lock(tx, set(ids))
        shipping, cancelling = await shipment.moving(tx, found)
        fit, problems = _each(ids, found, lambda one: _check_holdable(one, shipping | cancelling))
        holds = [NewHold(id, reason, words, by, until, approval) for id in fit]
        changed = await hold.hold(tx, holds, now)
        return await _told(tx, shelf, fit, changed, problems)


async def release_orders(shelf: Shelf, by: str, ids: Sequence[OrderId], words: str) -> Held:
    """Let orders go on, with their units where there still are any. Those that wait for an approval are left alone."""
    return await _end(shelf, by, ids, words, _check_free)


async def approve_orders(shelf: Shelf, by: str, ids: Sequence[OrderId], words: str) -> Held:
    """Let orders go on, those too that wait for the approval of somebody else than who held them."""

    def check(one: Order, holds: Sequence[Hold]) -> None:
        if any(each.open and each.approval and each.made_by == by for each in holds):
            raise Forbidden(f"You have held order {one.external_id} for an approval: somebody else has to give it.")

    return await _end(shelf, by, ids, words, check)


async def by_orders(shelf: Shelf, ids: Collection[OrderId]) -> Mapping[OrderId, list[Hold]]:
    """All holds of the orders, oldest first."""
    async with shelf.store.begin() as tx:
        return await hold.by_orders(tx, ids)


async def rules(shelf: Shelf) -> list[HoldRule]:
    """By name."""
    async with shelf.store.begin() as tx:
        return await hold.rules(tx)


async def set_rule(shelf: Shelf, rule: HoldRule, by: str) -> HoldRule:
    """Raises Invalid, with the rule's own field."""
    unknown = sorted(rule.conditions.channels - {str(id) for id in shelf.channels})
    if unknown:
        raise NotFound(f"There is no channel {unknown[0]}.", field=("channelIds",))
    async with shelf.store.begin() as tx:
        return await hold.save_rule(tx, rule, by)


async def remove_rule(shelf: Shelf, name: str) -> HoldRule:
    """Raises NotFound."""
    async with shelf.store.begin() as tx:
        removed = await hold.remove_rule(tx, name)
    if removed is None:
        raise NotFound(f"There is no rule {name!r}.", field=("name",))
    return removed


async def _end(
    shelf: Shelf, by: str, ids: Sequence[OrderId], words: str, check: Callable[[Order, Sequence[Hold]], None]
) -> Held:
    try:
        _check_ids(ids)
        check_word("words", words, longest=LONGEST_WORDS)
    except Refused as problem:
        return Held([], [problem])
    async with shelf.store.begin() as tx:
        found = await order.lock(tx, set(ids))
        holds = await hold.by_orders(tx, found)
        fit, problems = _each(ids, found, lambda one: check(one, holds.get(one.id, [])))
        changed = await hold.end(tx, fit, by, shelf.clock(), words=words) if fit else set()
        return await _told(tx, shelf, fit, changed, problems)


async def _told(
    tx: AsyncConnection, shelf: Shelf, fit: Sequence[OrderId], changed: Collection[OrderId], problems: list[Refused]
) -> Held:
    if changed:
        await hold.tell(tx, changed, shelf.locations)
    kept = await order.by_ids(tx, fit)
    return Held([kept[id] for id in fit], problems)


def _each(
    ids: Sequence[OrderId], found: Mapping[OrderId, Order], check: Callable[[Order], None]
) -> tuple[list[OrderId], list[Refused]]:
    """The orders that pass, in the order asked and each once; and what is wrong with the others, at their places."""
    fit: dict[OrderId, None] = {}
    problems: list[Refused] = []
    for index, id in enumerate(ids):
        try:
            if id not in found:
                raise NotFound(f"There is no order {id}.")
            check(found[id])
        except Refused as problem:
            problem.field = ("orderIds", str(index))
            problems.append(problem)
        else:
            fit[id] = None
    return list(fit), problems


def _check_holdable(one: Order, moving: Collection[OrderId]) -> None:
    if one.fulfilled_by is FulfilledBy.CHANNEL:
        raise Invalid(f"Order {one.external_id} is shipped by its channel: it cannot be held by us.")
    if one.status not in OPEN:
        raise Conflict(f"Order {one.external_id} is {one.status.value}: there is nothing to hold.")
    if one.id in moving:
        raise Conflict(
            f"A parcel or a cancellation of order {one.external_id} is on its way to the channel. Withdraw it by "
            "cancelOperation, or wait for its outcome."
        )


def _check_free(one: Order, holds: Sequence[Hold]) -> None:
    if any(each.open and each.approval for each in holds):
        raise Conflict(
            f"Order {one.external_id} waits for an approval: let somebody who may approve call approveOrders."
        )


def _check_ids(ids: Sequence[OrderId]) -> None:
    if not 1 <= len(ids) <= MOST_ORDERS:
        raise Invalid(f"Name 1 to {MOST_ORDERS} orders at a time; these are {len(ids)}.", field=("orderIds",))

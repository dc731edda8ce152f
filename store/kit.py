"""Kits and multipacks: SKUs without stock of their own, made of units of others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict, Invalid, NotFound
from domain.event import EventKind, NewEvent
from domain.ids import Sku
from store import event, ledger, marks
from store.session import among
from store.tables import kit_component, kit_history, product, stock_balance

c = kit_component.c
h = kit_history.c

_PROMISED = "promised to open orders or committed reservations at {place}: let them ship or cancel them"
_LYING = "on hand at {place}: adjust it to zero, or book it as components"
_ANNOUNCED = "announced at {place}: take it back with an EXPECTED of as many less"


async def components(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, list[tuple[Sku, int]]]:
    """The (component, units) of each kit among `skus`, by component; what is no kit is missing."""
    rows = await tx.execute(select(c.kit, c.component, c.quantity).where(among(c.kit, skus)).order_by(c.component))
    found: defaultdict[Sku, list[tuple[Sku, int]]] = defaultdict(list)
    for row in rows:
        found[Sku(row.kit)].append((Sku(row.component), row.quantity))
    return dict(found)


async def components_at(tx: AsyncConnection, skus: Collection[Sku], at: datetime) -> dict[Sku, list[tuple[Sku, int]]]:
    """The same as it was at `at`."""
    now = await tx.execute(
        select(c.kit, c.component, c.quantity).where(among(c.kit, skus), c.changed_at <= at).order_by(c.component)
    )
    found: defaultdict[Sku, list[tuple[Sku, int]]] = defaultdict(list)
    for row in now:
        found[Sku(row.kit)].append((Sku(row.component), row.quantity))
    then = await tx.execute(select(h.kit, h.components).where(among(h.kit, skus), h.from_at <= at, h.until_at > at))
    for old in then:
        found[Sku(old.kit)] = [(Sku(component), quantity) for component, quantity in sorted(old.components.items())]
    return dict(found)


async def page(tx: AsyncConnection, *, first: int, after: Sku | None = None) -> tuple[list[Sku], bool]:
    """The next `first` kits after the SKU `after`, by SKU, and whether there are more."""
    query = select(c.kit).distinct().order_by(c.kit).limit(first + 1)
    if after is not None:
        query = query.where(c.kit > after)
    found = [Sku(sku) for sku in await tx.scalars(query)]
    return found[:first], len(found) > first


async def count(tx: AsyncConnection) -> int:
    """How many kits there are."""
    return await tx.scalar(select(func.count(c.kit.distinct()))) or 0


async def kits_with(tx: AsyncConnection, components: Collection[Sku]) -> set[Sku]:
    """The kits that any of `components` is in."""
    rows = await tx.execute(select(c.kit).where(among(c.component, components)).distinct())
    return {Sku(row.kit) for row in rows}


async def save(tx: AsyncConnection, kit: Sku, components: Mapping[Sku, int], by: str) -> None:
    """Make `kit` a kit of these components with the units of each; without any it is no kit any more.

    Raises Invalid for units below 1, NotFound for an unknown SKU, and Conflict where the kit has stock of its own, is a component
    of another, or where a component is a kit: a kit's components are goods.
    """
    for component, units in components.items():
        if units < 1:
            raise Invalid(
                f"A kit holds at least one of each component; {component} has {units}.", field=("components",)
            )
    await _lock(tx, kit, components)
    # What is posted to it meanwhile is seen below; what comes later finds a kit.
    await ledger.lock(tx, [kit])
    if components:
        await _check(tx, kit, components)
    before = (await tx.execute(select(c.component, c.quantity, c.changed_at).where(c.kit == kit))).all()
    if {row.component: row.quantity for row in before} == dict(components):
        return
    at = await tx.scalar(select(func.clock_timestamp()))
    if before:
        then = {row.component: row.quantity for row in before}
        since = before[0].changed_at
        await tx.execute(insert(kit_history).values(kit=kit, from_at=since, until_at=at, components=then))
        await tx.execute(delete(kit_component).where(c.kit == kit))
    rows = [
        {"kit": kit, "component": component, "quantity": units, "changed_at": at}
        for component, units in sorted(components.items())
    ]
    if rows:
        await tx.execute(insert(kit_component), rows)
    told = {"kit": kit, "components": dict(components), "by": by}
    await event.append(tx, [NewEvent(EventKind.STOCK_RULES_CHANGED, kit, told)])
    await marks.mark(tx, [kit])


async def _lock(tx: AsyncConnection, kit: Sku, components: Collection[Sku]) -> None:
    """Keep everybody else from making a kit of any of these meanwhile. Raises NotFound."""
    wanted = {kit, *components}
    # Not FOR UPDATE: whoever posts an entry holds the row's key, and waits for nobody behind it.
    locking = select(product.c.sku).where(among(product.c.sku, wanted)).order_by(product.c.sku)
    found = set(await tx.scalars(locking.with_for_update(key_share=True)))
    unknown = sorted(wanted - found)
    if unknown:
        named = "sku" if kit in unknown else "components"
        raise NotFound(f"No product has the SKU {', '.join(unknown)}.", field=(named,))


async def _check(tx: AsyncConnection, kit: Sku, components: Collection[Sku]) -> None:
    """Raises Conflict."""
    if kit in components:
        raise Conflict(f"{kit} cannot be a component of itself.", field=("components",))
    nested = sorted(set(await tx.scalars(select(c.kit).where(among(c.kit, components)))))
    if nested:
        raise Conflict(
            f"{', '.join(nested)} is a kit itself: name its components instead of it.", field=("components",)
        )
    above = sorted(await kits_with(tx, [kit]))
    if above:
        raise Conflict(f"{kit} is a component of {', '.join(above)}: take it out there first.", field=("sku",))
    b = stock_balance.c
    lying = select(stock_balance).where(b.sku == kit, or_(b.on_hand != 0, b.reserved != 0, b.inbound != 0))
    rows = (await tx.execute(lying.order_by(b.location))).all()
    blocking = [
        f"{units} {words.format(place=row.location)}"
        for row in rows
        for units, words in ((row.reserved, _PROMISED), (row.on_hand, _LYING), (row.inbound, _ANNOUNCED))
        if units
    ]
    if blocking:
        raise Conflict(f"{kit} has stock of its own: {'; '.join(blocking)}.", field=("sku",))

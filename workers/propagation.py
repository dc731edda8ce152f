"""From a change of a SKU to what each channel should show of it.

Whatever changes a SKU marks its row. Here the marked ones are computed anew, many at a time and each once however often it has
changed, and kept as targets, which `workers.push` carries to the channels. The versions are read first: a change that comes while
we compute leaves its mark, and is computed in the next round.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from domain import policy
from domain.ids import ChannelId, Sku
from domain.policy import Facts, Number
from domain.product import Rejected
from store import channel_stock, drift, facts, kit, ledger, marks, quarantine, stock_sweep
from store.channel_stock import NumberKey, Outlet, Target
from store.marks import Carried, Stirred
from workers import opening
from workers.deps import Deps
from workers.drift import places_shown

log = logging.getLogger(__name__)

BATCH = 200
IDLE_S = 0.2
BUSY_S = 0.05
# Only grades readings for people; what an old reading means to a number, its rule says.
MAX_AGE = timedelta(minutes=5)


@dataclass(slots=True)
class Propagation:
    """Carries changes. `pulse` is called after each round, `woken` is set when numbers have become due."""

    deps: Deps
    pulse: Callable[[], None]
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """For ever."""
        await self.part_with_places()
        while True:
            worked = await self.once()
            self.pulse()
            if worked:
                self.woken.set()
            await asyncio.sleep(BUSY_S if worked else IDLE_S)

    async def part_with_places(self) -> None:
        """Have SKUs computed anew that show numbers at places which have left the configuration."""
        places, skus = self._places(), [Sku("")]
        while skus:
            async with self.deps.store.begin() as tx:
                skus = await channel_stock.placed_elsewhere(tx, places, skus[-1], stock_sweep.STEP)
                await marks.mark(tx, skus)
            self.pulse()

    async def once(self) -> bool:
        """One round; whether there was anything to compute or to mark."""
        carried = await self._round()
        if carried is None or carried >= BATCH:
            return bool(carried)
        # A changed rule marks many SKUs. They come when few wait, so that a sale is never behind the whole catalog.
        async with self.deps.store.begin() as tx:
            return await stock_sweep.step(tx) or carried > 0

    async def _round(self) -> int | None:
        """How many SKUs that waited were computed anew; None when another worker does it now."""
        async with self.deps.store.begin() as tx:
            if not await marks.propagating(tx):
                return None
            stirred = await marks.stirred(tx, BATCH)
            if stirred:
                kits = await kit.kits_with(tx, [one.sku for one in stirred]) - {one.sku for one in stirred}
                await self._carry(tx, [*stirred, *(await marks.as_stirred(tx, kits) if kits else [])])
        return len(stirred)

    async def _carry(self, tx: AsyncConnection, stirred: Sequence[Stirred]) -> None:
        skus = [one.sku for one in stirred]
        components = await kit.components(tx, skus)
        all_skus = {*skus, *(part for parts in components.values() for part, _ in parts)}
        held = await channel_stock.lock(tx, all_skus)
        places = self._places()
        outlets = await channel_stock.outlets(tx, skus, places)
        # Before the facts: what is shown no more shall hold nothing up.
        cleared = await self._clear(tx, held, skus, outlets, places)
        known = await facts.facts(
            tx,
            skus,
            locations=self.deps.locations,
            now=stirred[0].at,
            default_safety_stock=self.deps.safety_stock,
            max_age=MAX_AGE,
            with_sales=True,
            with_shown=True,
        )
        counted = await channel_stock.counted(tx, all_skus)
        uncounted = await opening.uncounted(tx, self.deps, skus)
        by_sku = {one.sku: one for one in stirred}
        targets: list[Target] = []
        carried: list[Carried] = []
        for one in stirred:
            if one.sku not in known:
                continue
            parts = [part for part, _ in components.get(one.sku, [])]
            ready = counted.issuperset(parts or [one.sku])
            causes = [by_sku[sku] for sku in (one.sku, *parts) if sku in by_sku]
            offered = policy.offers(
                known[one.sku], sorted({outlet.channel for outlet in outlets.get(one.sku, [])}), one.at
            )
            shops = outlets.get(one.sku, [])
            targets += _targets(one, causes, known[one.sku], shops, offered, places, uncounted, ready=ready)
            carried.append(_carried(one, known[one.sku], offered))
        await channel_stock.put(tx, targets)
        # What changed by time alone, or through its components, nobody has told of yet.
        await ledger.tell(tx, [one.sku for one in stirred if one.by_time or one.sku in cleared])
        await marks.carried(tx, carried)

    def _places(self) -> dict[ChannelId, list[str]]:
        """The places that each channel is told numbers of."""
        return {id: names for id in self.deps.ports if (names := places_shown(self.deps, id))}

    async def _clear(
        self,
        tx: AsyncConnection,
        held: Sequence[tuple[NumberKey, Sku]],
        skus: Collection[Sku],
        outlets: Mapping[Sku, Sequence[Outlet]],
        places: Mapping[ChannelId, Sequence[str]],
    ) -> set[Sku]:
        """Part with numbers that `skus` show no more; returns those of which some were."""
        shown = {
            (NumberKey(one.channel, one.channel_sku, place), one.sku)
            for shops in outlets.values()
            for one in shops
            for place in places[one.channel]
        }
        asked = set(skus)
        strays = {key: sku for key, sku in held if sku in asked and (key, sku) not in shown}
        if not strays:
            return set()
        cleared = await channel_stock.clear(tx, strays, places)
        now = self.deps.clock()
        over = [*cleared.gone, *(key for key, _ in cleared.unmapped)]
        for id in sorted({key.channel for key in over}):
            await drift.end(tx, id, {(key.channel_sku, key.place): now for key in over if key.channel == id})
        await quarantine.keep(tx, [_unmapped(key, strays[key], units) for key, units in cleared.unmapped])
        for key in over:
            log.info("stock.parted", extra={**key._asdict(), "sku": strays[key], "unmapped": key not in cleared.gone})
        return {strays[key] for key in over}


def _unmapped(key: NumberKey, sku: Sku, units: int) -> Rejected:
    words = "It is mapped to no SKU any more and still offered: map it, or take it out of sale there."
    name = f"{key.channel_sku} {key.place}".strip()
    return Rejected(key.channel, "shown", name, words, f"it was {sku} and shows {units}")


def _targets(
    stirred: Stirred,
    causes: Sequence[Stirred],
    known: Facts,
    outlets: Sequence[Outlet],
    offered: Mapping[ChannelId, Number],
    places: Mapping[ChannelId, Sequence[str]],
    uncounted: Collection[tuple[ChannelId, str, Sku]],
    *,
    ready: bool,
) -> Iterator[Target]:
    """One target for each listing and place of its channel."""
    caused_at = min((one.caused_at for one in causes if one.caused_at is not None), default=None)
    noticed_at = min((one.dirty_since for one in causes if one.dirty_since is not None), default=None)
    for outlet in outlets:
        number = offered[outlet.channel]
        parts = policy.spread(number.quantity, known, outlet.channel, stirred.at)
        for place in places[outlet.channel]:
            yield Target(
                key=NumberKey(outlet.channel, outlet.channel_sku, place),
                sku=stirred.sku,
                refs=outlet.refs,
                quantity=parts.get(place, 0),
                version=stirred.version,
                at=stirred.at,
                terms=number.terms,
                caused_at=caused_at,
                noticed_at=noticed_at,
                ready=ready and (outlet.channel, place, stirred.sku) not in uncounted,
            )


def _carried(stirred: Stirred, known: Facts, offered: Mapping[ChannelId, Number]) -> Carried:
    """When the SKU's numbers change by themselves, and what of it nobody may promise. A kit's units are its components'."""
    instants = [one.changes_at for one in offered.values()]
    instants.append(policy.available(known, stirred.at).changes_at)
    recompute_at = min((at for at in instants if at is not None), default=None)
    safety_stock = 0 if known.components else policy.safety_stock(known, stirred.at)[0]
    return Carried(stirred, recompute_at, safety_stock)

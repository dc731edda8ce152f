"""Prices on their way to Amazon, where a file is worked through in its own time and what stands there may be no price at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from adapters.prices import PriceKey, ShownPrice
from domain.budget import Ask
from domain.ids import OperationId
from domain.price import Action, Price
from domain.price_guard import Guard, GuardKind, PriceGuards
from domain.product import Listing
from store import price_guard
from store.session import Store
from tests.adapters.amazon.bench import Sandbox
from tests.adapters.amazon.offers import OPERATIONS, skus
from tests.workers import pricing
from tests.workers.house import until
from tests.workers.pricing import AMAZON, SHOP, Places, ask, drain, hurry, items, sold, usd, wish

NINE, EIGHT = Price(usd("19.00")), Price(usd("18.00"))


@pytest.fixture(scope="module")
async def amazon() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox("--products", "60", "--orders", "0", "--lag", "0", "--marketplaces", "US")
    try:
        await sandbox.generous(*OPERATIONS)
        yield sandbox
    finally:
        await sandbox.close()


@dataclass(slots=True)
class Town:
    """A house at Amazon."""

    amazon: Sandbox
    places: Places
    listings: Sequence[Listing]

    async def by_patches(self) -> None:
        """From now on a few prices go one by one."""
        await self.places.desk.budgets.adopt(AMAZON, "patchListingsItem", rate=1000)

    async def once(self) -> None:
        """What is due later is due now, and is worked at."""
        await hurry(self.places.deps.store)
        await drain(self.places.deps, AMAZON)

    async def states(self, id: OperationId) -> list[str]:
        return [row.status for row in await items(self.places.deps.store, id)]

    async def settled(self, *ids: OperationId) -> list[str]:
        """The statuses of all once none is open; Amazon goes on with its feeds meanwhile."""

        async def over() -> bool:
            await self.once()
            await self.amazon.post("clock", {"advance": 61})
            return all(row.ended_at for row in await items(self.places.deps.store, *ids))

        await until(over)
        return [row.status for row in await items(self.places.deps.store, *ids)]

    async def shows(self, listing: Listing) -> Price | None:
        (shown,) = await self.places.desk.port.shown_prices([PriceKey(listing.channel_sku, (), "US")], Ask())  # type: ignore[attr-defined]
        assert isinstance(shown, ShownPrice)
        return shown.price


@pytest.fixture
async def town(store: Store, redis: Redis, amazon: Sandbox) -> AsyncIterator[Town]:
    places = await pricing.opened(store, redis, {AMAZON: amazon.url, SHOP: amazon.url})
    there = (await skus(amazon, "US"))[:4]
    listings = await sold(store, AMAZON, dict.fromkeys(there, Price(usd("20.00"))), marketplace="US")
    await pricing.budgeted(places.desk, by_feed=True)
    yield Town(amazon, places, listings)
    await places.close()


async def test_a_file_that_is_still_worked_through_is_not_overtaken(town: Town) -> None:
    """Amazon would write the older price of the file over the newer one."""
    store, (one, other, *_) = town.places.deps.store, town.listings
    first = await ask(store, wish(one, NINE), wish(other, NINE))
    await drain(town.places.deps, AMAZON)
    assert await town.states(first) == ["ACCEPTED"] * 2
    await town.by_patches()
    second = await ask(store, wish(one, EIGHT))
    await town.once()
    assert await town.states(second) == ["PENDING"]
    assert await town.settled(first, second) == ["VERIFIED"] * 3
    await town.amazon.post("clock", {"advance": 61})
    assert await town.shows(one) == EIGHT


async def test_while_one_file_is_in_doubt_no_other_is_sent(town: Town) -> None:
    """Nobody could tell the two apart. Each comes there once."""
    store, (_, _, one, other) = town.places.deps.store, town.listings
    since = (await town.amazon.get("journal"))["next"]
    lost = {"operation": "createFeed", "kind": "apply_then_reset", "count": 1}
    await town.amazon.post("faults", {"faults": [lost]})
    first = await ask(store, wish(one, NINE))
    await drain(town.places.deps, AMAZON)
    assert await town.states(first) == ["SENT"]
    second = await ask(store, wish(other, NINE))
    await drain(town.places.deps, AMAZON)
    (row,) = await items(store, second)
    assert (row.status, row.error_code, row.sent_at) == ("PENDING", "THROTTLED", None)
    assert await town.settled(first, second) == ["VERIFIED"] * 2
    effects = (await town.amazon.get("journal", since=since))["effects"]
    assert sum(each["operation"] == "createFeed" for each in effects) == 2
    assert [await town.shows(each) for each in (one, other)] == [NINE, NINE]


@pytest.mark.parametrize("by_feed", [True, False])
async def test_nothing_outside_the_guards_is_sent(town: Town, by_feed: bool) -> None:
    """Guards that were kept only when it waited to be sent. Those within come there, so it was not for nothing."""
    store, within = town.places.deps.store, town.listings[2:]
    if not by_feed:
        await town.by_patches()
    since = (await town.amazon.get("journal"))["next"]
    amounts = ("17.00", "23.00", *(("18.90", "20.90") if by_feed else ("18.80", "20.80")))
    asked = zip(town.listings, amounts, strict=True)
    id = await ask(store, *(wish(listing, Price(usd(one))) for listing, one in asked))
    bounds = {GuardKind.FLOOR: "17.50", GuardKind.CEILING: "22.00"}
    kept = [Guard(kind.value, kind, Action.REFUSE, currency="USD", amount=Decimal(one)) for kind, one in bounds.items()]
    async with store.begin() as tx:
        await price_guard.keep(tx, PriceGuards(guards=tuple(kept)), "boss")
    assert await town.settled(id) == ["FAILED", "FAILED", "VERIFIED", "VERIFIED"]
    assert [row.error_code for row in await items(store, id)] == ["GUARD", "GUARD", None, None]
    effects = (await town.amazon.get("journal", since=since))["effects"]
    assert sum(each["operation"] == "createFeed" for each in effects) == by_feed
    changed = [each["key"] for each in effects if each["operation"] == "patchListingsItem"]
    assert sorted(changed) == sorted(listing.channel_sku for listing in within)

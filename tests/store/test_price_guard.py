"""Guards as they are kept, counted, and fed with what the database knows of a listing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import insert

from domain.errors import Conflict
from domain.ids import ChannelId, ChannelSku, listing_id
from domain.money import Money
from domain.operation import OperationStatus
from domain.price import Action, Hit, PriceFacts
from domain.price_guard import DEFAULTS, GuardKind, PriceGuards
from domain.price_inputs import FxRate
from store import fx, price, price_desk, price_guard
from store.session import Store
from store.tables import product
from tests.store.price_lane import asked, carried, euros, id_of, items, listed, sold, wish
from tests.store.warehouse import statements

OTHER = ChannelId("amazon")


async def facts(store: Store, sku: str, at: datetime | None = None) -> PriceFacts:
    async with store.begin() as tx:
        return (await price.facts(tx, [id_of(sku)], at or datetime.now(UTC)))[id_of(sku)]


async def keep(store: Store, wanted: PriceGuards, by: str = "boss") -> PriceGuards:
    async with store.begin() as tx:
        return await price_guard.keep(tx, wanted, by)


async def test_of_many_who_keep_a_set_at_once_one_does(store: Store) -> None:
    sets = [PriceGuards(guards=DEFAULTS[:number]) for number in range(1, 6)]
    ends = await asyncio.gather(*(keep(store, one) for one in sets), return_exceptions=True)
    [kept] = [one for one in ends if isinstance(one, PriceGuards)]
    assert (kept.version, kept.made_by) == (1, "boss")
    assert [type(one) for one in ends].count(Conflict) == 4
    async with store.begin() as tx:
        assert await price_guard.current(tx) == kept


async def test_the_usual_set_is_kept_as_a_version_only_where_it_changes_something(store: Store) -> None:
    assert (await keep(store, PriceGuards())).version == 0
    first = await keep(store, PriceGuards(guards=()))
    assert (await keep(store, replace(PriceGuards(), version=1))).version == 2
    async with store.begin() as tx:
        assert [one.version for one in await price_guard.versions(tx, 9)] == [2, 1]
        assert (await price_guard.versions(tx, 9))[1] == first


async def test_hits_are_counted_where_something_comes_of_them(store: Store) -> None:
    await listed(store, sold("A", "10"), sold("B", "10"))
    at = datetime.now(UTC)
    async with store.begin() as tx:
        await price_desk.weigh(tx, [wish("A", "1000")], at)
        assert await price_guard.hits(tx, at - timedelta(hours=1)) == {}
    one = await asked(store, wish("A", "1000"), wish("B", "14"))
    assert one.status is OperationStatus.AWAITING_APPROVAL
    async with store.begin() as tx:
        counted = await price_guard.hits(tx, at - timedelta(hours=1))
        assert counted == {("SHIFT", "REFUSE"): 1, ("STEP", "HOLD"): 2}
        assert await price_guard.hits(tx, at + timedelta(hours=1)) == {}
        await price_guard.note(tx, [Hit("FLOOR", Action.REFUSE, "low")])
        assert await price_guard.forget_hits(tx, at + timedelta(hours=1)) == 3
        assert await price_guard.hits(tx, at - timedelta(hours=1)) == {}


async def test_the_desk_refuses_and_holds_by_the_usual_guards(store: Store) -> None:
    await listed(store, sold("A", "10"), sold("B", "10"), sold("C", "10"))
    refused = await asked(store, wish("A", "1000"), wish("B", "11"))
    assert await items(store, refused.id) == [("A", "FAILED", "GUARD"), ("B", "PENDING", None)]
    held = await asked(store, wish("C", "14"))
    assert held.status is OperationStatus.AWAITING_APPROVAL
    assert await carried(store) == ["B"]


async def test_a_day_of_small_steps_is_held_by_what_stood_there_before_the_first(store: Store) -> None:
    """Nothing is known from 24 hours ago; so what counts is what the first of them began from."""
    await listed(store, sold("A", "10"))
    assert (await facts(store, "A")).day_ago is None
    for amount in ("8", "6.40", "5.20"):
        assert (await asked(store, wish("A", amount))).status is OperationStatus.QUEUED
        await carried(store)
        assert (await facts(store, "A")).day_ago == Money(Decimal(10), "EUR")
    assert (await asked(store, wish("A", "4.50"))).status is OperationStatus.AWAITING_APPROVAL


async def test_what_was_seen_live_lately_because_we_asked_for_it_is_known_for_a_day(store: Store) -> None:
    await listed(store, sold("A", "10"))
    await asked(store, wish("A", "11"))
    await carried(store)
    now = datetime.now(UTC)
    assert (await facts(store, "A", now)).verified == euros("11")
    assert (await facts(store, "A", now + timedelta(hours=25))).verified is None


async def test_other_listings_of_the_sku_are_told_each_in_its_currency_and_with_its_rate(store: Store) -> None:
    async with store.begin() as tx:
        await tx.execute(insert(product).values(sku="A", title="Mug", brand="Acme"))
        await fx.keep(tx, [FxRate("EUR", "USD", Decimal("1.25"), date(2026, 11, 20), "bank")], "ops")
    abroad = sold(
        "A",
        "12",
        id=listing_id(OTHER, "US", ChannelSku("A-US")),
        channel=OTHER,
        marketplace="US",
        channel_sku=ChannelSku("A-US"),
        price=Money(Decimal(12), "USD"),
    )
    gone = replace(abroad, id=listing_id(OTHER, "MX", ChannelSku("A-US")), marketplace="MX", status="WITHDRAWN")
    await listed(store, sold("A", "10"), abroad, gone, sold("B", "99"))
    found = await facts(store, "A", datetime(2026, 11, 23, tzinfo=UTC))
    assert found.elsewhere == (Money(Decimal(12), "USD"),)
    assert found.rates == {"USD": Decimal("0.8")}
    assert found.brand == "Acme"
    assert (await facts(store, "B")).elsewhere == ()


@pytest.mark.parametrize(("kept", "statuses"), [(DEFAULTS, ["FAILED"]), (DEFAULTS[2:], ["PENDING"])])
async def test_a_set_holds_from_the_next_request_on(
    store: Store, kept: tuple[object, ...], statuses: list[str]
) -> None:
    """Without the guard of shifts ten times the price waits for a second person; with it nobody can send it."""
    await listed(store, sold("A", "10"))
    guards = tuple(one for one in DEFAULTS if one in kept and one.kind is not GuardKind.UNKNOWN)
    await keep(store, PriceGuards(guards=guards))
    one = await asked(store, wish("A", "100"))
    assert [status for _, status, _ in await items(store, one.id)] == statuses


async def test_many_rows_are_weighed_by_as_many_statements_as_one(store: Store) -> None:
    skus = [f"S-{number}" for number in range(50)]
    await listed(store, *(sold(sku, "10") for sku in skus))
    counts = []
    for wishes in ([wish(skus[0], "11")], [wish(sku, "11") for sku in skus]):
        async with store.begin() as tx:
            with statements(store) as seen:
                judged = await price_desk.weigh(tx, wishes, datetime.now(UTC))
        assert not judged.held
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 10

"""The history of prices: what was in force when, whose it was, what others changed, and what differs from what is wanted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from domain.ids import Sku
from domain.money import Money
from domain.operation import ItemStatus
from domain.price import Origin, Price, Sale
from domain.price_history import DriftCause, EventKind, InForce, PriceDrift, PriceEvent, alike
from store import price_back, price_history
from store.session import Store
from store.tables import listing_price, price_event
from tests.store.price_lane import SHOP, asked, carried, euros, guarded, id_of, listed, sold, wish

EARLY = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
async def shop(store: Store) -> Store:
    await guarded(store)
    await listed(store, sold("A", "10", EARLY), sold("B", "10", EARLY))
    return store


async def events(store: Store, sku: str = "A", **more: Any) -> list[PriceEvent]:
    """Oldest first."""
    async with store.begin() as tx:
        found, _ = await price_history.page(tx, Sku(sku), first=100, **more)
        assert await price_history.count(tx, Sku(sku), **more) == len(found)
    return found[::-1]


async def in_force(store: Store, at: datetime, sku: str = "A") -> InForce | None:
    async with store.begin() as tx:
        return (await price_history.in_force(tx, [(id_of(sku), at)])).get((id_of(sku), at))


async def drifts(store: Store, over: timedelta = timedelta(0), **more: Any) -> list[PriceDrift]:
    async with store.begin() as tx:
        found, _ = await price_history.drifts(tx, over, first=100, **more)
        assert await price_history.drift_count(tx, over, **more) == len(found)
    return found


def told(found: list[PriceEvent]) -> list[tuple[str, str]]:
    return [(one.kind.value, f"{one.price.regular.amount:f}") for one in found if one.price is not None]


async def test_what_a_catalog_shows_is_kept_once_per_change(shop: Store) -> None:
    later = EARLY + timedelta(hours=1)
    await listed(shop, sold("A", "10", later), sold("B", "11", later))
    await listed(shop, sold("A", "10.00", later + timedelta(hours=1)), sold("B", "11", later + timedelta(hours=1)))
    await listed(shop, sold("B", "12", EARLY))  # older than what is known
    assert told(await events(shop, "A")) == [("OTHER", "10")]
    assert told(await events(shop, "B")) == [("OTHER", "10"), ("OTHER", "11")]


async def test_for_any_instant_the_price_its_rule_who_asked_and_who_approved(shop: Store) -> None:
    chain = ({"rule": "base"}, {"rule": "rounding"})
    made = await asked(shop, wish("A", "12", origin=Origin.RULE, rules_version=7, chain=chain))
    before = datetime.now(UTC)
    await carried(shop)
    now = await in_force(shop, datetime.now(UTC) + timedelta(seconds=1))
    assert now is not None
    assert (now.paid, now.event.kind) == (Money(Decimal(12), "EUR"), EventKind.LIVE)
    assert (now.event.requested_by, now.event.origin, now.event.rules_version) == ("ann", Origin.RULE, 7)
    assert (now.event.operation, now.event.chain, now.event.reason) == (made.id, chain, "because")
    assert now.since >= before
    then = await in_force(shop, before)
    assert then is not None
    assert (then.paid.amount, then.since, then.event.origin) == (Decimal(10), EARLY, None)
    assert await in_force(shop, EARLY - timedelta(seconds=1)) is None


async def test_a_sale_begins_and_ends_in_what_was_paid(shop: Store) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    start, end = now + timedelta(hours=1), now + timedelta(hours=2)
    sale = Price(Money(Decimal(10), "EUR"), Sale(Money(Decimal(7), "EUR"), start, end))
    await asked(shop, wish("A", "10", price=sale))
    await carried(shop)
    paid = [await in_force(shop, at) for at in (start - timedelta(minutes=1), start, end - timedelta(seconds=1), end)]
    assert [(one.paid.amount, one.since) for one in paid if one is not None][1:] == [
        (Decimal(7), start),
        (Decimal(7), start),
        (Decimal(10), end),
    ]
    assert paid[0] is not None
    assert paid[0].paid.amount == Decimal(10)


async def test_our_own_change_is_never_taken_for_anothers(shop: Store) -> None:
    """Seen in the catalog before it is read back, and after."""
    await asked(shop, wish("A", "12"))
    await listed(shop, sold("A", "12"))
    await carried(shop)
    await listed(shop, sold("A", "12"))
    assert told(await events(shop)) == [("OTHER", "10"), ("ASKED", "12"), ("LIVE", "12")]
    assert await drifts(shop) == []


async def test_what_others_change_is_kept_and_differs_until_it_is_as_wanted_again(shop: Store) -> None:
    made = await asked(shop, wish("A", "12"))
    await carried(shop)
    assert await drifts(shop) == []
    await listed(shop, sold("A", "15"))
    [found] = await drifts(shop)
    assert (found.listing, found.cause, found.operation) == (id_of("A"), DriftCause.CHANGED_THERE, made.id)
    assert (found.wanted, found.live) == (euros("12"), euros("15"))
    await listed(shop, sold("A", "12"))
    assert await drifts(shop) == []
    assert told(await events(shop))[-2:] == [("OTHER", "15"), ("LIVE", "12")]
    assert (await events(shop))[-1].requested_by == "ann"


async def test_each_cause_has_its_name_and_only_what_lasts_is_told(shop: Store) -> None:
    await listed(shop, sold("C", "10"))
    await asked(shop, wish("A", "12"), wish("B", "12"), wish("C", "12"))
    assert {one.cause for one in await drifts(shop)} == {DriftCause.UNDER_WAY}
    await carried(shop, but={"A"})
    await asked(shop, wish("C", "13"))
    await carried(shop, but={"C"}, as_=ItemStatus.PARKED)
    assert {one.listing: (one.cause, one.words) for one in await drifts(shop)} == {
        id_of("A"): (DriftCause.FAILED, "no"),
        id_of("C"): (DriftCause.PARKED, None),
    }
    assert told(await events(shop))[-1] == ("FAILED", "12")
    assert await drifts(shop, timedelta(minutes=15)) == []
    async with shop.begin() as tx:
        long_ago = datetime.now(UTC) - timedelta(minutes=16)
        await tx.execute(
            update(listing_price).where(listing_price.c.listing == id_of("A")).values(differs_since=long_ago)
        )
    assert [one.listing for one in await drifts(shop, timedelta(minutes=15))] == [id_of("A")]
    assert [one.listing for one in await drifts(shop, channel=SHOP)] == [id_of("A"), id_of("C")]


async def test_what_is_cancelled_is_wanted_no_more_and_differs_from_nothing(shop: Store) -> None:
    await asked(shop, wish("A", "11"))
    await carried(shop)
    made = await asked(shop, wish("A", "12"), wish("B", "12"))
    assert len(await drifts(shop)) == 2
    async with shop.begin() as tx:
        await price_back.cancel(tx, made.id, "bob")
        rows = {row.listing: row.wanted for row in await tx.execute(select(listing_price))}
    assert await drifts(shop) == []
    assert rows == {id_of("A"): euros("11").told(), id_of("B"): None}


async def test_pages_follow_each_other_and_a_window_leaves_out_the_rest(shop: Store) -> None:
    for hour in range(1, 6):
        await listed(shop, sold("A", str(10 + hour), EARLY + timedelta(hours=hour)))
    everything = (await events(shop))[::-1]
    async with shop.begin() as tx:
        first, more = await price_history.page(tx, Sku("A"), first=4)
        rest, last = await price_history.page(tx, Sku("A"), first=4, after=(first[-1].at, first[-1].id))
    assert ([*first, *rest], more, last) == (everything, True, False)
    since, until = EARLY + timedelta(hours=2), EARLY + timedelta(hours=4)
    assert told(await events(shop, since=since, until=until)) == [("OTHER", "12"), ("OTHER", "13")]
    assert await events(shop, channel=SHOP, marketplace="DE") == []


amounts = st.sampled_from([Money(Decimal(n), "EUR") for n in range(1, 4)])


@given(amounts, amounts)
def test_a_catalog_that_tells_less_than_we_know_agrees_with_it(regular: Money, sale: Money) -> None:
    known = Price(regular, Sale(sale, EARLY, EARLY + timedelta(days=1)))
    assert alike(known, Price(regular))
    assert alike(known, Price(sale))  # the amount that buyers pay
    assert alike(known, Price(regular, Sale(sale)))
    other = Money(Decimal(9), "EUR")
    assert not alike(known, Price(other))
    assert not alike(known, Price(regular, Sale(other)))
    assert not alike(Price(regular), Price(regular, Sale(sale)))
    assert not alike(replace(known, sale=None), Price(Money(regular.amount, "USD")))


async def test_what_is_old_is_forgotten_but_not_what_was_in_force_nor_who_had_asked_for_it(shop: Store) -> None:
    await asked(shop, wish("A", "11"), by="ann")
    await carried(shop)
    await asked(shop, wish("A", "12"), by="bob")
    await carried(shop)
    await asked(shop, wish("A", "13"), by="eve")
    await carried(shop, but={"A"})
    async with shop.begin() as tx:
        await tx.execute(update(price_event).values(at=price_event.c.at - timedelta(days=3)))
    await asked(shop, wish("B", "14"))
    await carried(shop)
    limit = datetime.now(UTC) - timedelta(days=1)
    async with shop.begin() as tx:
        assert await price_history.forget(tx, limit, limit=2) == 2
    async with shop.begin() as tx:
        assert await price_history.forget(tx, limit) == 3
        assert await price_history.forget(tx, limit) == 0
    assert told(await events(shop)) == [("ASKED", "12"), ("LIVE", "12")]
    assert told(await events(shop, "B")) == [("OTHER", "10"), ("ASKED", "14"), ("LIVE", "14")]
    then = await in_force(shop, limit)
    assert then is not None
    assert (then.paid.amount, then.event.requested_by) == (Decimal(12), "bob")

"""A check-out holds what its channel may sell, to the unit, from the first second on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from domain.channel import Location, LocationKind
from domain.errors import Insufficient
from domain.ids import ChannelId, ChannelSku, LocationCode, RuleId, Sku, listing_id
from domain.policy import Destination
from domain.product import FulfilledBy, Listing
from domain.reservation import Buyer, Reservation, ReservedLine
from domain.rule import ChannelShare, FbaShare, LastUnits, MaximumShown, Rule, SafetyStock, Settings
from domain.stock import Reading
from store import checkout, product, rule, stock
from store.checkout import Terms
from store.session import Store
from tests.store.warehouse import AMAZON, MAIN, SHOP, A, B, kit, place, promisable, stocked

PAIR = Sku("PAIR")
POOL = Location(LocationCode("FBA"), "FBA", LocationKind.FBA, AMAZON, "DE", ("DE",))
THEIRS = Location(LocationCode("STORE"), "the shop's", LocationKind.WAREHOUSE, SHOP, "1")
PLACES = [place(MAIN), POOL, THEIRS]
MERCHANT, CHANNEL = FulfilledBy.MERCHANT, FulfilledBy.CHANNEL


async def listed(store: Store, channel: ChannelId, *skus: Sku, by: FulfilledBy = MERCHANT) -> None:
    marketplace = "DE" if channel == AMAZON else None
    listings = [
        Listing(
            id=listing_id(channel, marketplace, ChannelSku(sku)),
            channel=channel,
            marketplace=marketplace,
            channel_sku=ChannelSku(sku),
            external_id=sku,
            status="ACTIVE",
            fulfilled_by=by,
            as_of=datetime.now(UTC),
            sku=sku,
            title=sku,
        )
        for sku in skus
    ]
    async with store.begin() as tx:
        await product.upsert_listings(tx, listings)


async def told(store: Store, location: Location, units: int, *, age: timedelta = timedelta()) -> None:
    """A place that others keep tells its A."""
    reading = Reading(location.code, location.keeper, ChannelSku("A"), units, 0, 0, datetime.now(UTC) - age)
    async with store.begin() as tx:
        await stock.keep(tx, [reading])


async def ruled(store: Store, settings: Settings, channel: ChannelId | None = None) -> None:
    async with store.begin() as tx:
        await rule.save(tx, Rule(RuleId(""), type(settings).__name__, settings, channel=channel), "test")


def terms(default_safety_stock: int = 0) -> Terms:
    return Terms(PLACES, [SHOP, AMAZON], default_safety_stock, timedelta(minutes=5))


async def bought(
    store: Store, lines: Mapping[Sku, int], channel: ChannelId = SHOP, country: str | None = None
) -> Reservation:
    asked = [ReservedLine(sku, units) for sku, units in lines.items()]
    buyer = Buyer(channel, None if country is None else Destination(country))
    async with store.begin() as tx:
        made, _ = await checkout.reserve(
            tx,
            requested_by="shop",
            idempotency_key=None,
            request_hash="h",
            lines=asked,
            ttl_s=600,
            terms=terms(),
            buyer=buyer,
        )
    return made


async def refused(
    store: Store, lines: Mapping[Sku, int], channel: ChannelId = SHOP, country: str | None = None
) -> Sequence[str]:
    """The words for each line, nothing having been held."""
    before = await promisable(store)
    with pytest.raises(Insufficient) as caught:
        await bought(store, lines, channel, country)
    assert await promisable(store) == before
    return [one.message for one in (caught.value, *caught.value.others)]


async def test_a_channel_keeps_within_its_part_though_nothing_was_propagated(store: Store) -> None:
    await stocked(store, A=10, B=1)
    await listed(store, SHOP, A, B)
    await ruled(store, MaximumShown(6), SHOP)
    assert await refused(store, {B: 1, A: 7}) == ["7 of A were asked for, and shop may sell 6 of it now."]
    await bought(store, {B: 1, A: 6})


async def test_of_what_is_short_in_all_the_channels_part_is_told(store: Store) -> None:
    await stocked(store, A=10, B=1)
    await listed(store, SHOP, A, B)
    await ruled(store, MaximumShown(6), SHOP)
    assert await refused(store, {B: 2, A: 11}) == [
        "2 of B were asked for, and shop may sell 1 of it now.",
        "11 of A were asked for, and shop may sell 6 of it now.",
    ]


async def test_each_reservation_counts_for_the_next(store: Store) -> None:
    await stocked(store, A=10)
    await listed(store, SHOP, A)
    await ruled(store, ChannelShare(Decimal(30), hard=True), AMAZON)
    await bought(store, {A: 4})
    assert await refused(store, {A: 6}) == ["6 of A were asked for, and shop may sell 5 of it now."]
    await bought(store, {A: 5})


async def test_what_a_channel_does_not_list_it_may_not_sell(store: Store) -> None:
    await stocked(store, A=10, B=10)
    await listed(store, SHOP, A)
    assert await refused(store, {A: 10, B: 1}) == ["1 of B were asked for, and shop does not sell it (yet)."]
    assert await refused(store, {A: 1}, AMAZON) == ["1 of A were asked for, and amazon-eu does not sell it (yet)."]
    await bought(store, {A: 10})


async def test_a_share_of_fba_for_some_countries_is_for_their_buyers(store: Store) -> None:
    await stocked(store, A=1)
    await listed(store, SHOP, A)
    await listed(store, AMAZON, A, by=CHANNEL)
    await told(store, POOL, 10)
    await ruled(store, FbaShare(Decimal(50), countries=frozenset({"US"})), SHOP)
    assert await refused(store, {A: 2}) == ["2 of A were asked for, and shop may sell 1 of it now."]
    assert await refused(store, {A: 2}, country="DE") == ["2 of A were asked for, and shop may sell 1 of it now."]
    assert await refused(store, {A: 7}, country="US") == ["7 of A were asked for, and shop may sell 6 of it now."]
    await bought(store, {A: 6}, country="US")


async def test_a_share_of_fba_ends_when_its_reading_is_too_old(store: Store) -> None:
    await stocked(store, A=1)
    await listed(store, SHOP, A)
    await listed(store, AMAZON, A, by=CHANNEL)
    await told(store, POOL, 10, age=timedelta(minutes=10))
    await ruled(store, FbaShare(Decimal(50), floor=2, max_age=timedelta(minutes=9)), SHOP)
    assert await refused(store, {A: 4}) == ["4 of A were asked for, and shop may sell 3 of it now."]
    await bought(store, {A: 3})


async def test_a_channel_that_amazon_sends_for_sells_what_lies_there(store: Store) -> None:
    await stocked(store, A=5)
    await listed(store, AMAZON, A, by=CHANNEL)
    await told(store, POOL, 10)
    assert await refused(store, {A: 11}, AMAZON) == ["11 of A were asked for, and amazon-eu may sell 10 of it now."]
    await bought(store, {A: 6}, AMAZON)
    assert await refused(store, {A: 5}, AMAZON) == ["5 of A were asked for, and amazon-eu may sell 4 of it now."]


async def test_a_shop_sells_what_it_keeps_itself_beside_what_is_ours(store: Store) -> None:
    await stocked(store, A=5)
    await listed(store, SHOP, A)
    await listed(store, AMAZON, A, by=CHANNEL)
    await told(store, THEIRS, 4)
    await told(store, POOL, 10)
    assert await refused(store, {A: 10}) == ["10 of A were asked for, and shop may sell 9 of it now."]
    await bought(store, {A: 8})
    # What is held beyond what is ours is held there.
    assert await refused(store, {A: 2}) == ["2 of A were asked for, and shop may sell 1 of it now."]


async def test_a_channel_that_is_closed_for_the_last_units_may_hold_none(store: Store) -> None:
    await stocked(store, A=4)
    await listed(store, SHOP, A)
    await listed(store, AMAZON, A)
    await ruled(store, LastUnits(3))
    await bought(store, {A: 1})
    # Nothing was measured, so the first by name goes on.
    assert await refused(store, {A: 1}) == ["1 of A were asked for, and shop may sell 0 of it now."]
    await bought(store, {A: 3}, AMAZON)


async def test_kits_and_goods_in_one_cart_share_the_channels_part(store: Store) -> None:
    await stocked(store, A=10, PAIR=0)
    await kit(store, PAIR, A=2)
    await listed(store, SHOP, A, PAIR)
    await ruled(store, ChannelShare(Decimal(50)), SHOP)
    assert await refused(store, {PAIR: 3}) == ["3 of PAIR were asked for, and shop may sell 2 of it now."]
    assert await refused(store, {PAIR: 1, A: 4}) == ["PAIR, A share A, and shop may sell 5 of it now."] * 2
    await bought(store, {PAIR: 1, A: 3})


async def test_the_safety_stock_of_a_new_sku_is_computed_once(store: Store) -> None:
    await stocked(store, A=10, B=5, PAIR=0)
    await kit(store, PAIR, A=2)
    async with store.begin() as tx:
        assert await checkout.unsettled(tx, [PAIR, B]) == {A, B}
        await checkout.settle(tx, [A, B], terms(3))
        assert await checkout.unsettled(tx, [PAIR, B]) == set()
    await ruled(store, SafetyStock(1))
    async with store.begin() as tx:
        # What the propagator keeps is newer than what we know.
        await checkout.settle(tx, [A], terms(9))
    assert (await promisable(store, A), await promisable(store, B)) == (7, 2)

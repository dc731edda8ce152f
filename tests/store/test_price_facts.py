"""What prices are made of: costs by date, rates by day, fees and offers with their age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from domain.cost import NewCost
from domain.errors import Invalid
from domain.fee import Fee, FeeKind, FeesEstimate
from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.money import Money
from domain.offer import OfferPrice
from domain.price import Origin, Price, PriceWish
from domain.price_inputs import FxRate
from domain.product import FulfilledBy
from domain.repricing import Became, Reason, Repriced
from store import cost, fx, market, price, price_clock, price_desk, price_due, price_facts
from store.market import About, Terms
from store.session import Store
from store.tables import listing, listing_price, market_look, product, repriced, sku_stock, stock_level, unit_cost

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
TODAY = AT.date()
A_YEAR = timedelta(days=365)
DE, US, SHOP = ListingId("l-de"), ListingId("l-us"), ListingId("l-shop")
MUG = Sku("MUG")
OFFERS = Terms(timedelta(hours=4))


def euros(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def dollars(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


async def sold(
    store: Store, id: ListingId, channel: str, marketplace: str, amount: str, currency: str, *, sku: str = MUG
) -> None:
    row: dict[str, Any] = {
        "id": id,
        "channel": channel,
        "marketplace": marketplace,
        "channel_sku": f"{sku}-there",
        "external_id": f"B-{sku}",
        "sku": sku,
        "status": "BUYABLE",
        "fulfilled_by": "MERCHANT",
        "price_amount": Decimal(amount),
        "price_currency": currency,
        "as_of": AT,
    }
    async with store.begin() as tx:
        await tx.execute(insert(listing).values(row))


@pytest.fixture
async def shelf(store: Store) -> Store:
    """One mug in three places."""
    async with store.begin() as tx:
        await tx.execute(insert(product).values(sku=MUG, title="Mug", cost_amount=Decimal(4), cost_currency="EUR"))
    await sold(store, DE, "amazon-eu", "DE", "20", "EUR")
    await sold(store, US, "amazon-us", "US", "24", "USD")
    await sold(store, SHOP, "shop", "", "19", "EUR")
    return store


async def said(store: Store, *costs: NewCost) -> list[cost.Kept]:
    async with store.begin() as tx:
        return await cost.keep(tx, costs, "ann")


async def waiting(store: Store) -> dict[ListingId, frozenset[Reason]]:
    async with store.begin() as tx:
        found: dict[ListingId, frozenset[Reason]] = {}
        for channel in ("amazon-eu", "amazon-us", "shop"):
            found |= {one.listing: one.reasons for one in await price_due.take(tx, ChannelId(channel), 100)}
        await tx.rollback()
    return found


# ── costs ──


async def test_the_catalogs_cost_holds_until_there_is_a_layer_and_converts_only_by_a_rate(shelf: Store) -> None:
    async with shelf.begin() as tx:
        before = await price_facts.inputs(tx, [DE, US], AT)
        judged = await price.facts(tx, [DE, US], AT)
    told = before[DE].cost
    assert told is not None
    assert (told.amount, told.source) == (euros("4"), "catalog")
    assert judged[DE].cost == euros("4")
    assert judged[US].cost is None
    async with shelf.begin() as tx:
        await fx.keep(tx, [FxRate("EUR", "USD", Decimal("1.10"), TODAY - timedelta(days=2), "ECB")], "ann")
    await said(shelf, NewCost(MUG, TODAY, euros("5"), euros("1.50")), NewCost(MUG, TODAY + A_YEAR, euros("9")))
    async with shelf.begin() as tx:
        after = await price_facts.inputs(tx, [DE, US], AT)
        judged = await price.facts(tx, [DE, US], AT)
    told = after[DE].cost
    assert told is not None
    assert told.amount == euros("6.50")
    assert "revision 1, landed" in told.source
    assert judged[US].cost == dollars("7.150000")
    assert judged[US].cost_rate == "1 EUR = 1.1 USD (ECB, 2026-11-27)"
    assert [(one.base, one.quote, one.rate, one.day) for one in after[US].rates] == [
        ("EUR", "USD", Decimal("1.10"), TODAY - timedelta(days=2))
    ]


async def test_a_listing_that_has_shown_no_price_has_its_cost_as_it_was_told_and_is_held_by_it(shelf: Store) -> None:
    async with shelf.begin() as tx:
        await tx.execute(update(listing).where(listing.c.id == SHOP).values(price_amount=None, price_currency=None))
        facts = (await price.facts(tx, [SHOP], AT))[SHOP]
        assert (facts.currency, facts.cost) == (None, euros("4"))
        asked = [
            PriceWish(SHOP, ChannelId("shop"), None, ChannelSku("MUG-there"), MUG, {}, Price(one), Origin.MUTATION)
            for one in (euros("3.99"), euros("20"))
        ]
        judged = await price_desk.weigh(tx, asked, AT, single=True)
    assert [row.refused for row in judged.rows] == [True, False]


async def test_nothing_that_was_said_is_overwritten(shelf: Store) -> None:
    first, again = await said(shelf, NewCost(MUG, TODAY, euros("5")), NewCost(MUG, TODAY, euros("5")))
    assert (first.fresh, again.fresh) == (True, False)
    (freight,) = await said(shelf, NewCost(MUG, TODAY, extra=euros("0.75"), reason="freight of October"))
    assert freight.layer is not None
    assert (freight.layer.revision, freight.layer.landed) == (2, euros("5.75"))
    (gone,) = await said(shelf, NewCost(MUG, TODAY, withdrawn=True, reason="typed for another mug"))
    assert gone.fresh
    async with shelf.begin() as tx:
        kept = (await cost.revisions(tx, {MUG}))[MUG]
        assert await cost.in_force(tx, {MUG}, TODAY) == {}
    assert [(one.revision, one.landed, one.withdrawn) for one in kept] == [
        (1, euros("5"), False),
        (2, euros("5.75"), False),
        (3, euros("5.75"), True),
    ]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (NewCost(MUG, TODAY, extra=euros("1")), "say what a unit was bought for"),
        (NewCost(MUG, TODAY, euros("1"), dollars("1")), "Tell both in one currency"),
        (NewCost(MUG, TODAY, euros("-1")), "below 0"),
        (NewCost(MUG, TODAY, withdrawn=True), "no cost"),
    ],
)
async def test_what_cannot_be_a_cost_is_refused_alone(shelf: Store, wrong: NewCost, words: str) -> None:
    bad, good = await said(shelf, wrong, NewCost(MUG, TODAY + A_YEAR, euros("3")))
    assert bad.problem is not None
    assert words in bad.problem.message
    assert good.fresh
    async with shelf.begin() as tx:
        assert len((await tx.execute(select(unit_cost))).all()) == 1


async def test_a_cost_makes_all_listings_of_the_sku_wait_once(shelf: Store) -> None:
    assert await waiting(shelf) == {}
    await said(shelf, NewCost(MUG, TODAY, euros("5")))
    await said(shelf, NewCost(MUG, TODAY, euros("6")))
    assert await waiting(shelf) == {id: frozenset({Reason.COST}) for id in (DE, US, SHOP)}


async def test_a_layer_that_begins_is_seen_on_its_day(shelf: Store) -> None:
    await said(shelf, NewCost(MUG, TODAY + timedelta(days=1), euros("5")))
    midnight = datetime(2026, 11, 30, tzinfo=UTC)
    async with shelf.begin() as tx:
        assert await price_clock.new_costs(tx, AT, midnight - timedelta(seconds=1)) == []
        assert set(await price_clock.new_costs(tx, AT, midnight)) == {DE, US, SHOP}
        assert await price_clock.new_costs(tx, midnight, midnight + timedelta(hours=1)) == []


# ── rates ──


async def test_a_mended_rate_holds_and_the_older_one_stays(shelf: Store) -> None:
    rates = [FxRate("EUR", "USD", Decimal(rate), TODAY, "ECB") for rate in ("1.10", "1.20")]
    async with shelf.begin() as tx:
        assert len(await fx.keep(tx, rates[:1], "ann")) == 1
        assert await fx.keep(tx, rates[:1], "ann") == []
        assert len(await fx.keep(tx, rates[1:], "ann")) == 1
        known = await fx.rates(tx, TODAY)
    found = known.convert(euros("1"), "USD", TODAY)
    assert found is not None
    assert found.money.amount == Decimal("1.2")


async def test_a_source_with_two_bases_is_refused(shelf: Store) -> None:
    async with shelf.begin() as tx:
        await fx.keep(tx, [FxRate("EUR", "USD", Decimal(1), TODAY, "bank")], "ann")
        with pytest.raises(Invalid, match="EUR and GBP"):
            await fx.keep(tx, [FxRate("GBP", "USD", Decimal(1), TODAY, "bank")], "ann")


# ── fees and offers ──


def estimate(price: str, referral: str, fulfillment: str, age: timedelta = timedelta(0)) -> FeesEstimate:
    fees = tuple(
        Fee(kind, kind.value, euros(amount), euros(amount))
        for kind, amount in ((FeeKind.REFERRAL, referral), (FeeKind.FULFILLMENT, fulfillment))
    )
    total = euros(str(Decimal(referral) + Decimal(fulfillment) + Decimal("0.10")))  # a dime without a name
    return FeesEstimate(MUG, False, "DE", FulfilledBy.MERCHANT, OfferPrice(euros(price)), AT - age, total, fees)


async def test_fees_are_kept_by_price_with_what_has_no_name_among_the_fixed(shelf: Store) -> None:
    async with shelf.begin() as tx:
        assert await market.keep_fees(tx, [(DE, estimate("20", "3.00", "4.00"))]) == [DE]
        # At another price with the same share nothing has changed.
        assert await market.keep_fees(tx, [(DE, estimate("24", "3.60", "4.00"))]) == []
        assert await market.keep_fees(tx, [(DE, estimate("24", "3.60", "4.50"))]) == [DE]
        known = (await price_facts.inputs(tx, [DE], AT))[DE].estimates
        judged = (await price.facts(tx, [DE], AT))[DE]
    assert [(one.price, one.referral, one.fixed) for one in known] == [
        (euros("20"), euros("3.00"), euros("4.10")),
        (euros("24"), euros("3.60"), euros("4.60")),
    ]
    # What is taken of a price is told by the nearest, in proportion.
    assert [judged.fees(euros(one)) for one in ("20", "21.99", "24", "48")] == [
        euros("7.10"),
        euros("7.40"),
        euros("8.20"),
        euros("11.80"),
    ]
    assert judged.fees(Money(Decimal(20), "GBP")) is None


async def test_fees_are_asked_for_again_when_the_price_moves_and_not_before(shelf: Store) -> None:
    terms, channel = Terms(timedelta(days=36500), Decimal(5)), ChannelId("amazon-eu")

    async def due(lease_s: float = 0.0) -> list[tuple[ListingId, Money]]:
        async with shelf.begin() as tx:
            found = await market.due(tx, channel, About.FEES, terms, 20, lease_s)
        return [(one.listing, one.price) for one in found]

    async def told() -> None:
        async with shelf.begin() as tx:
            await market.told(tx, About.FEES, [DE], datetime.now(UTC))

    async def sells_for(amount: str) -> None:
        async with shelf.begin() as tx:
            await tx.execute(update(listing).where(listing.c.id == DE).values(price_amount=Decimal(amount)))

    assert await due(60.0) == [(DE, euros("20"))]
    assert await due() == []  # somebody is at it
    async with shelf.begin() as tx:
        await market.keep_fees(tx, [(DE, estimate("20", "3.00", "4.00"))])
    await told()
    assert await due() == []
    await sells_for("21.00")
    assert await due() == []
    await sells_for("21.06")
    assert await due() == []  # asked about a moment ago
    async with shelf.begin() as tx:
        await tx.execute(update(market_look).values(asked_at=datetime.now(UTC) - timedelta(minutes=11)))
    assert await due() == [(DE, euros("21.06"))]
    async with shelf.begin() as tx:
        await market.want_fees(tx, {DE: euros("30")})
    assert await due() == [(DE, euros("30"))]


async def test_offers_are_asked_about_by_need_and_a_notice_goes_first(shelf: Store) -> None:
    channel = ChannelId("amazon-eu")
    other = ListingId("l-other")
    async with shelf.begin() as tx:
        await tx.execute(insert(product).values(sku="CUP", title="Cup"))
    await sold(shelf, other, channel, "DE", "10", "EUR", sku="CUP")

    async def due(limit: int = 20) -> list[ListingId]:
        async with shelf.begin() as tx:
            return [one.listing for one in await market.due(tx, channel, About.FEATURED, OFFERS, limit, 0.0)]

    assert await due() == [DE, other]
    began_at = datetime.now(UTC)
    async with shelf.begin() as tx:
        await market.due(tx, channel, About.EXPECTED, OFFERS, 20, 0.0)
        for about in (About.FEATURED, About.EXPECTED):
            await market.told(tx, about, [DE, other], began_at)
    assert await due() == []
    async with shelf.begin() as tx:
        old = ("DE", "B-MUG", began_at - timedelta(hours=1))  # older than what is known
        now = datetime.now(UTC)
        assert await market.hurry(tx, channel, [old, ("FR", "B-MUG", now)]) == []
        # Seen after the question had begun: the answer may be older.
        assert await market.hurry(tx, channel, [old, ("DE", "B-MUG", began_at + timedelta(microseconds=1)), old]) == [
            DE
        ]
    assert await due() == [DE]
    # It was told while the question was on its way: the answer may be older.
    async with shelf.begin() as tx:
        await market.told(tx, About.FEATURED, [DE], began_at)
    assert await due() == [DE]
    # So it is where it waited for that question already.
    async with shelf.begin() as tx:
        await market.due(tx, channel, About.FEATURED, OFFERS, 20, 60.0)
        began_at = (await tx.scalars(select(func.now()))).one()
    async with shelf.begin() as tx:
        await market.hurry(tx, channel, [("DE", "B-MUG", datetime.now(UTC))])
    async with shelf.begin() as tx:
        await market.told(tx, About.FEATURED, [DE], began_at)
    assert await due() == [DE]
    async with shelf.begin() as tx:
        await market.told(tx, About.FEATURED, [DE], datetime.now(UTC))
    assert await due() == []


async def test_a_featured_offer_is_kept_with_its_age_and_only_another_one_is_news(shelf: Store) -> None:
    theirs = OfferPrice(euros("18.99"), euros("2.00"))
    async with shelf.begin() as tx:
        assert await market.keep_featured(tx, [(DE, theirs, "A2", False)], AT) == [DE]
        assert await market.keep_featured(tx, [(DE, theirs, "A2", False)], AT + timedelta(minutes=1)) == []
        late = OfferPrice(euros("1.00"))
        assert await market.keep_featured(tx, [(DE, late, "A2", False)], AT - timedelta(hours=1)) == []
        assert await market.keep_expected(tx, [(DE, euros("18.50"), "VALID_FOEP")], AT) == [DE]
        known = await price_facts.inputs(tx, [DE, SHOP], AT)
    featured, expected = known[DE].featured, known[DE].expected
    assert featured is not None
    assert (featured.price, featured.shipping, featured.mine) == (euros("18.99"), euros("2.00"), False)
    assert featured.as_of == AT + timedelta(minutes=1)
    assert expected is not None
    assert expected.amount == euros("18.50")
    assert known[SHOP].featured is None


# ── what waits ──


async def test_what_others_do_waits_until_the_listing_has_rested(shelf: Store) -> None:
    rest = timedelta(hours=1)
    async with shelf.begin() as tx:
        await price_due.note(tx, [Repriced(DE, AT, Became.ASKED, "", "f", datetime.now(UTC))])
    async with shelf.begin() as tx:
        await price_due.mark(tx, [DE, US], Reason.OFFER, rest)
    assert await waiting(shelf) == {US: frozenset({Reason.OFFER})}
    async with shelf.begin() as tx:
        await price_due.mark(tx, [DE], Reason.COST, rest)
    assert await waiting(shelf) == {DE: frozenset({Reason.OFFER, Reason.COST}), US: frozenset({Reason.OFFER})}


async def test_stock_that_nobody_counted_is_not_told_as_none(shelf: Store) -> None:
    async with shelf.begin() as tx:
        assert (await price_facts.inputs(tx, [SHOP], AT))[SHOP].available is None
        counted = {"location": "BER", "channel": "shop", "channel_sku": "MUG-there", "on_hand": 0, "reserved": 0}
        await tx.execute(insert(stock_level).values(**counted, inbound=0, as_of=AT - timedelta(hours=3)))
        known = (await price_facts.inputs(tx, [SHOP], AT))[SHOP]
    assert (known.available, known.cover_days, known.stock_at) == (0, None, AT - timedelta(hours=3))


async def test_stock_that_crosses_an_edge_is_seen_and_other_stock_is_not(shelf: Store) -> None:
    async with shelf.begin() as tx:
        await price_due.note(tx, [Repriced(DE, AT, Became.IDLE, units=12), Repriced(US, AT, Became.IDLE)])
        assert (await tx.execute(select(sku_stock.c.sku))).scalars().all() == [MUG]

    async def crossed(units: int, *edges: int) -> list[ListingId]:
        async with shelf.begin() as tx:
            await tx.execute(update(sku_stock).values(on_hand=units))
            return await price_clock.crossed(tx, edges)

    assert await crossed(10, 10, 50) == []
    assert await crossed(9, 10, 50) == [DE]
    assert await crossed(50, 10, 50) == [DE]
    assert await crossed(49, 10, 50) == []
    async with shelf.begin() as tx:
        assert (await tx.execute(select(repriced.c.units).where(repriced.c.listing == DE))).scalar_one() == 12


async def test_a_sale_turns_at_its_instants_and_never_before(shelf: Store) -> None:
    sale = {"price": "9", "from": "2026-10-25T00:30:00+00:00", "to": "2026-10-25T01:30:00+00:00"}
    async with shelf.begin() as tx:
        for id in (DE, SHOP):
            wanted = {"price": "10", "currency": "EUR", "sale": sale}
            await tx.execute(insert(listing_price).values(listing=id, wanted=wanted))
        await tx.execute(insert(listing_price).values(listing=US, wanted=wanted | {"sale": None}))

    begins = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    ends, second = begins + timedelta(hours=1), timedelta(seconds=1)

    async def turned(after: datetime, until: datetime) -> list[ListingId]:
        async with shelf.begin() as tx:
            return await price_clock.turned_sales(tx, [ChannelId("shop")], after, until)

    assert await turned(begins - second, begins - timedelta(microseconds=1)) == []
    assert await turned(begins - second, begins) == [SHOP]
    assert await turned(begins, ends - second) == []
    assert await turned(begins, ends) == [SHOP]
    assert await turned(ends, ends + timedelta(days=400)) == []

"""The market of our listings is asked for where it is needed, and what is another one works prices out anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import func, insert, select, update

from adapters.market import ExpectedSeen, FeaturedSeen, FeesQuestion
from adapters.transport import Transport
from domain.errors import HouseError, Invalid, Throttled, Unauthorized
from domain.fee import Fee, FeeKind, FeesEstimate
from domain.hint import Hint, HintKind
from domain.ids import ChannelId, ChannelSku, ListingId
from domain.money import Money
from domain.offer import OfferPrice
from domain.price_rules import Base, PriceRule, PriceRules
from domain.product import Rejected
from store import channel, fx, hint, market, price_due, price_rules
from store.market import About
from store.session import Store
from store.tables import fx_rate, listing, market_look, quarantine
from tests.workers.fake_port import FakePort, make_port
from tests.workers.house import SHORT, make_deps
from workers.deps import Deps, PriceTerms
from workers.hints import Hints
from workers.market import Markets, fetch_rates

AMAZON = ChannelId("amazon")
NOW = datetime.now(UTC)
SKUS = ("MUG", "CUP", "POT")


def euros(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


@dataclass(slots=True)
class MarketPort(FakePort):
    """Tells of the market; `answers` by SKU or item stand for what it would say, `whole` for a call that fails,
    `poison` for what spoils the batch that it is in."""

    fees_batch: int = 2
    featured_batch: int = 20
    expected_batch: int = 40
    answers: dict[str, Any] = field(default_factory=dict)
    whole: HouseError | None = None
    poison: str | None = None
    asked: list[tuple[str, list[str]]] = field(default_factory=list)

    async def fees(self, place: str, questions: Sequence[FeesQuestion], ask: Any) -> list[Any]:
        return self._said("fees", [one.channel_sku for one in questions])

    async def featured(self, place: str, items: Sequence[str], ask: Any) -> list[Any]:
        return self._said("featured", list(items))

    async def expected(self, place: str, skus: Sequence[ChannelSku], ask: Any) -> list[Any]:
        return self._said("expected", list(skus))

    def _said(self, about: str, names: list[str]) -> list[Any]:
        self.asked.append((about, names))
        if self.whole is not None:
            raise self.whole
        if self.poison in names:
            raise Invalid("The batch is malformed.")
        return [self.answers[name] for name in names]


@pytest.fixture
async def port(store: Store) -> MarketPort:
    async with store.begin() as tx:
        for sku in SKUS:
            row = {
                "id": f"l-{sku}",
                "channel": AMAZON,
                "marketplace": "DE",
                "channel_sku": sku,
                "external_id": f"B-{sku}",
                "status": "BUYABLE",
                "fulfilled_by": "CHANNEL",
                "price_amount": Decimal(20),
                "price_currency": "EUR",
                "as_of": NOW,
            }
            await tx.execute(insert(listing).values(row))
    return MarketPort(make_port("amazon").channel)


@pytest.fixture
def deps(store: Store, redis: Redis, port: MarketPort) -> Deps:
    # A pause that ends during the test would not be seen.
    timing = replace(SHORT, pause_s=600.0)
    terms = PriceTerms(ask_market="always", rest=timedelta(hours=1))
    return make_deps(store, redis, [port], timing=timing, prices=terms)


def markets(deps: Deps) -> Markets:
    return Markets(deps, lambda: None)


def estimate(referral: str = "3.00") -> FeesEstimate:
    fee = Fee(FeeKind.REFERRAL, "ReferralFee", euros(referral), euros(referral))
    return FeesEstimate("MUG", False, "DE", None, OfferPrice(euros("20")), NOW, euros(referral), (fee,))


def seen(price: str | None, *, mine: bool = False) -> FeaturedSeen:
    if price is None:
        return FeaturedSeen(None, None, None, NOW)
    return FeaturedSeen(OfferPrice(euros(price)), "A1", mine, NOW)


async def due(store: Store) -> list[tuple[ListingId, list[str]]]:
    async with store.begin() as tx:
        taken = await price_due.take(tx, AMAZON, 100)
        await tx.rollback()
    return [(one.listing, sorted(reason.value for reason in one.reasons)) for one in taken]


async def test_each_question_fails_alone_and_what_is_not_understood_is_kept_apart(
    store: Store, port: MarketPort, deps: Deps
) -> None:
    port.answers = {
        "B-MUG": seen("18.99"),
        "B-CUP": Invalid("No such item."),
        "B-POT": Rejected(AMAZON, "getCompetitiveSummary", "B-POT", "two prices", "{}"),
    }
    work = markets(deps)
    assert await work.once(AMAZON, About.FEATURED) == 3
    assert await work.once(AMAZON, About.FEATURED) == 0
    assert await due(store) == [(ListingId("l-MUG"), ["OFFER"])]
    async with store.begin() as tx:
        known = await market.markets(tx, [ListingId(f"l-{sku}") for sku in SKUS])
        rows = await tx.execute(select(market_look.c.listing, market_look.c.problem))
        problems = {row.listing: row.problem for row in rows}
        assert list(await tx.scalars(select(quarantine.c.reason))) == ["two prices"]
    assert list(known) == ["l-MUG"]
    assert problems["l-MUG"] is None
    assert problems["l-CUP"] == "No such item."
    assert problems["l-POT"] == "two prices"


async def test_fees_are_asked_for_in_batches_and_the_same_again_is_no_news(
    store: Store, port: MarketPort, deps: Deps
) -> None:
    port.answers = dict.fromkeys(SKUS, estimate())
    work = markets(deps)
    assert [await work.once(AMAZON, About.FEES) for _ in range(3)] == [2, 1, 0]
    assert [id for id, _ in await due(store)] == [f"l-{sku}" for sku in sorted(SKUS)]
    async with store.begin() as tx:
        await price_due.take(tx, AMAZON, 100)
        await tx.execute(update(market_look).values(hurried_at=func.now()))
    assert [await work.once(AMAZON, About.FEES) for _ in range(3)] == [2, 1, 0]
    assert await due(store) == []
    async with store.begin() as tx:
        await tx.execute(update(market_look).values(hurried_at=func.now()))
    port.answers["MUG"] = estimate("4.00")
    assert [await work.once(AMAZON, About.FEES) for _ in range(3)] == [2, 1, 0]
    assert await due(store) == [(ListingId("l-MUG"), ["FEES"])]


async def test_a_call_that_was_not_made_leaves_everything_due(store: Store, port: MarketPort, deps: Deps) -> None:
    port.whole = Throttled("No slot.", retry_after_s=0.0)
    work = markets(deps)
    assert await work.once(AMAZON, About.EXPECTED) == 3
    port.whole = Unauthorized("Consent revoked.")
    assert await work.once(AMAZON, About.EXPECTED) == 3
    async with store.begin() as tx:
        assert list(await channel.states(tx)) == [AMAZON]
        await channel.resume(tx, AMAZON)
        await tx.execute(update(market_look).values(not_before=None))
    port.whole, port.answers = None, dict.fromkeys(SKUS, ExpectedSeen(euros("19.50"), "VALID_FOEP", NOW))
    assert await work.once(AMAZON, About.EXPECTED) == 3
    assert len(await due(store)) == 3


async def test_one_that_spoils_its_batch_holds_up_no_other(store: Store, port: MarketPort, deps: Deps) -> None:
    port.answers, port.poison = dict.fromkeys(SKUS, ExpectedSeen(euros("19.50"), "VALID_FOEP", NOW)), "MUG"
    work = markets(deps)
    while await work.once(AMAZON, About.EXPECTED):
        async with store.begin() as tx:  # what was put off for some seconds only is due again
            await tx.execute(update(market_look).where(market_look.c.failures == 0).values(not_before=None))
    assert [id for id, _ in await due(store)] == ["l-CUP", "l-POT"]
    async with store.begin() as tx:
        rows = await tx.execute(select(market_look.c.listing, market_look.c.problem).order_by(market_look.c.listing))
        assert [tuple(row) for row in rows] == [
            ("l-CUP", None),
            ("l-MUG", "The batch is malformed."),
            ("l-POT", None),
        ]


async def test_two_workers_do_not_ask_the_same(port: MarketPort, deps: Deps) -> None:
    port.answers = dict.fromkeys(SKUS, estimate())
    other = markets(replace(deps, worker="other"))
    work = markets(deps)
    done = [await one.once(AMAZON, About.FEES) for one in (work, other, work, other)]
    assert sum(done) == len(SKUS)
    assert sorted(name for _, names in port.asked for name in names) == sorted(SKUS)


async def test_nobody_is_asked_while_no_rule_will_use_it(store: Store, port: MarketPort, deps: Deps) -> None:
    work = markets(replace(deps, prices=PriceTerms()))
    assert not await work._wanted()
    async with store.begin() as tx:
        await price_rules.keep(tx, PriceRules((PriceRule("as it is", base=Base(current=True)),)), "ann")
    assert await work._wanted()
    assert not await markets(replace(deps, prices=PriceTerms(ask_market="never")))._wanted()


async def test_a_notice_of_an_offer_has_its_item_asked_about_first(store: Store, port: MarketPort, deps: Deps) -> None:
    port.answers = {f"B-{sku}": seen("18.99") for sku in SKUS}
    work = markets(deps)
    await work.once(AMAZON, About.FEATURED)
    port.asked.clear()
    told = Hint(AMAZON, "n-1", "ANY_OFFER_CHANGED", HintKind.OFFER, "B-CUP", datetime.now(UTC), "DE")
    async with store.begin() as tx:
        await hint.keep(tx, [told])
    assert await Hints(deps, lambda: None).once() == 1
    assert await work.once(AMAZON, About.FEATURED) == 1
    assert port.asked == [("featured", ["B-CUP"])]


async def test_rates_are_fetched_once_and_again_only_where_they_are_new(store: Store, deps: Deps) -> None:
    rates = [b"Date,USD,\n2026-11-27,1.08,\n"]
    transport = Transport(wire=httpx.MockTransport(lambda _: httpx.Response(200, content=rates[-1])))
    try:
        assert await fetch_rates(deps, transport, "https://rates.example/hist.csv") == 1
        assert await fetch_rates(deps, transport, "https://rates.example/hist.csv") == 0
        rates.append(b"Date,USD,\n2026-11-27,1.09,\n")
        assert await fetch_rates(deps, transport, "https://rates.example/hist.csv") == 1
    finally:
        await transport.close()
    async with store.begin() as tx:
        assert len((await tx.execute(select(fx_rate))).all()) == 2
        assert await fx.newest(tx, "ECB") is not None

"""The market of our listings, as Amazon's port tells it, against the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from adapters.market import ExpectedSeen, FeaturedSeen, FeesQuestion, Market
from domain.budget import Ask
from domain.errors import Invalid
from domain.fee import FeesEstimate
from domain.ids import ChannelSku
from domain.money import Money
from domain.product import FulfilledBy
from tests.adapters.amazon.bench import Desk, Sandbox

ASK = Ask()


async def test_fees_offers_and_expected_prices_come_one_for_each_question(
    sandbox: Sandbox, open_desk: Callable[..., Desk]
) -> None:
    port = open_desk(sandbox).port
    assert isinstance(port, Market)
    page = await anext(aiter(port.listing_pages(None, ASK)))
    listings = [one for one in page.items if one.marketplace == "US" and one.price is not None][:3]
    assert listings
    skus = [one.channel_sku for one in listings]

    questions = [FeesQuestion(sku, Money(Decimal("20.00"), "USD"), FulfilledBy.CHANNEL) for sku in skus]
    fees = await port.fees(
        "US", [*questions, FeesQuestion(ChannelSku("NO-SUCH"), questions[0].price, FulfilledBy.MERCHANT)], ASK
    )
    assert [one.item for one in fees if isinstance(one, FeesEstimate)] == skus
    assert isinstance(fees[-1], Invalid)
    assert {one.price.listing for one in fees if isinstance(one, FeesEstimate)} == {questions[0].price}

    featured = await port.featured("US", [one.external_id for one in listings], ASK)
    seen = [one for one in featured if isinstance(one, FeaturedSeen)]
    assert len(seen) == len(listings)
    for one in seen:
        assert (one.price is None) == (one.seller is None) == (one.mine is None)
    assert any(one.price is not None for one in seen)

    expected = await port.expected("US", skus, ASK)
    told = [one for one in expected if isinstance(one, ExpectedSeen)]
    assert len(told) == len(listings)
    assert all((one.price is not None) == ("VALID_FOEP" in one.status) for one in told)

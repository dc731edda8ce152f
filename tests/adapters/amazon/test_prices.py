"""Prices of offers: yen have no decimals, and a feed that is somebody else's tells nothing of ours."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import pytest

from adapters.amazon.feeds import judgment
from adapters.amazon.plans import PLANS
from adapters.amazon.price_feeds import MESSAGE, Ended, PriceFeeds
from adapters.port import Receipt
from adapters.prices import IN_DOUBT, PriceKey, Prices, PriceSent, PriceVerdict, PriceWrite, ShownPrice
from domain.budget import Ask
from domain.errors import HouseError, Invalid, OutcomeUnknown, Throttled, Transient
from domain.ids import ChannelSku
from domain.price import Price
from tests.adapters.amazon.bench import Desk, Sandbox
from tests.adapters.amazon.offers import client_of, money, skus, unhurried
from tests.adapters.amazon.test_feeds import ENDED, remark, report

OpenDesk = Callable[..., Desk]


async def nothing(details: object = None) -> None:
    """Nobody minds that it is sent."""


async def test_yen_are_told_and_shown_without_decimals(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await sandbox.generous("patchListingsItem", "searchListingsItems")
    desk = open_desk(sandbox, "fe")
    await unhurried(desk, "patchListingsItem", "searchListingsItems")
    port, (sku, other) = desk.port, (await skus(sandbox, "JP"))[:2]
    assert isinstance(port, Prices)
    keys = [PriceKey(one, (), "JP") for one in (sku, other)]
    amounts = (money("1980", "JPY"), money("1980.50", "JPY"))
    writes = [PriceWrite(key, Price(one), f"r-{key.channel_sku}") for key, one in zip(keys, amounts, strict=True)]
    told = await port.tell_prices(writes, Ask(), nothing)
    assert [type(one) for one in told] == [Receipt, Invalid]
    await sandbox.post("clock", {"advance": 10})
    (shown,) = await port.shown_prices(keys[:1], Ask())
    assert isinstance(shown, ShownPrice)
    assert shown.price == Price(money("1980", "JPY"))


@pytest.mark.parametrize(("status", "problem"), [(429, Throttled), (503, Transient)])
async def test_a_page_that_fails_for_a_moment_is_asked_for_again_and_no_other(
    sandbox: Sandbox, open_desk: OpenDesk, status: int, problem: type[HouseError]
) -> None:
    await sandbox.generous("searchListingsItems")
    desk = open_desk(sandbox)
    await unhurried(desk, "searchListingsItems")
    assert isinstance(desk.port, Prices)
    keys = [PriceKey(ChannelSku(f"NONE-{number}"), (), "US") for number in range(120)]
    since = await sandbox.mark()
    once = {"operation": "searchListingsItems", "kind": "status", "status": status, "count": 1}
    await sandbox.post("faults", {"faults": [once]})
    shown = await desk.port.shown_prices(keys, Ask())
    assert all(isinstance(one, ShownPrice) for one in shown)
    assert sorted((one["status"] for one in await sandbox.calls(since)), reverse=True) == [status, *[200] * 6]
    # What goes on for ever is told.
    await sandbox.post("faults", {"faults": [{**once, "count": None}]})
    with pytest.raises(problem):
        await desk.port.shown_prices(keys[:20], Ask())


async def test_what_has_been_read_stands_though_there_is_no_slot_for_the_rest(
    sandbox: Sandbox, open_desk: OpenDesk
) -> None:
    slow = {"rate": 0.05, "burst": 3.2}
    await sandbox.post("plans", {"searchListingsItems": slow})
    desk = open_desk(sandbox)
    await unhurried(desk, "patchListingsItem")
    await sandbox.generous("patchListingsItem")
    await desk.budgets.spend(desk.channel, PLANS["searchListingsItems"], Ask())
    await desk.budgets.adopt(desk.channel, "searchListingsItems", remaining=2.1, **slow)
    assert isinstance(desk.port, Prices)
    there = (await skus(sandbox, "US"))[:45]
    assert len(there) == 45
    writes = [PriceWrite(PriceKey(one, (), "US"), Price(money("9.00")), one) for one in there]
    told = await desk.port.tell_prices(writes, Ask(deadline=time.monotonic() + 16), nothing)
    assert [type(one) for one in told] == [Receipt] * 40 + [Throttled] * 5


async def test_a_feed_that_was_taken_for_ours_by_its_time_refuses_nothing(desk: Desk) -> None:
    """Its report names SKUs: an error of another one is none of ours."""
    told = report(3, 1, 2, remark(1, sku="A"), remark(2, sku="SOMEBODYS"))
    ended = OrderedDict({"7": Ended(judgment(ENDED, told, 3))})
    feeds = PriceFeeds(client_of(desk), desk.config.seller_id, desk.budgets, ended)
    sent = []
    for number, sku in enumerate("ABC", start=1):
        write = PriceWrite(PriceKey(ChannelSku(sku), (), "US"), Price(money("9.00")), sku)
        detail = {IN_DOUBT: "2026-03-01T12:00:00+00:00", MESSAGE: f"{number}/3"}
        sent.append(PriceSent(write, f"7/{number}", detail))
    ours, foreign, unnamed = await feeds.verdicts(sent, (), Ask())
    assert isinstance(ours, PriceVerdict)
    assert ours.refused is not None
    assert isinstance(foreign, OutcomeUnknown)
    assert unnamed == PriceVerdict(sent_as="7/3")

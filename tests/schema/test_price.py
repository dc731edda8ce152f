"""Setting prices, asked through the contract: which listings are meant, what is refused where, and what a preview shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from adapters.port import Receipt
from adapters.prices import Intend, PriceKey, PriceWrite, ShownPrice
from domain.budget import Ask, Plan, Priority
from domain.channel import Platform
from domain.errors import HouseError
from domain.ids import ChannelId
from domain.money import Money
from domain.operation import Capability, ItemStatus, Outcome
from domain.price_approval import Approval
from domain.price_guard import PriceGuards
from domain.route import Choice, Cost, Route, Step, Way
from resolvers.context import Caller
from resolvers.shelf import Shelf
from schema.scopes import ALL
from store import agenda, price_guard, product
from store.session import Store
from tests.resolvers.platform import StockPlatform, make_listing
from tests.resolvers.test_shipment import CountingBell
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask

ANN, BOB = (Caller(name, ALL) for name in ("ann", "bob"))
UPDATE = """mutation($input: UpdatePricesInput!) { updatePrices(input: $input) {
    operation { id status kind progress { total failed } items { nodes { key status error { code } } } }
    userErrors { code message field } } }"""
APPROVE = "mutation($id: ID!) { approveOperation(id: $id) { operation { status } userErrors { code message } } }"
CANCEL = "mutation($id: ID!) { cancelOperation(id: $id) { operation { status } userErrors { code message } } }"
RETRY = "mutation($id: ID!) { retryOperation(id: $id) { operation { status } userErrors { code message } } }"
PREVIEW = """query($id: ID!) { operation(id: $id) {
    priceSummary { rows refused held unchanged unknown fallPercent risePercent hits { guard }
        routes { channelId marketplace rows way calls seconds reason } }
    items { nodes { key price { sku channelId marketplace channelSku unchanged changePercent margin { amount } origin reason
        before { price { amount currency } salePrice { amount } saleFrom saleTo }
        after { price { amount currency } salePrice { amount } saleFrom saleTo }
        hits { guard action message } } } } } }"""


class Seller(StockPlatform):
    """One that can be told prices, in batches of 10."""

    price_batch = 10
    keeps_sales = True

    async def tell_prices(self, writes: Sequence[PriceWrite], ask: Ask, intend: Intend) -> list[Receipt | HouseError]:
        raise AssertionError("Nobody tells prices while a request is answered.")

    async def shown_prices(self, keys: Sequence[PriceKey], ask: Ask) -> list[ShownPrice | HouseError]:
        raise AssertionError("Nobody reads prices while a request is answered.")


class Chooser(Seller):
    """One that has two ways."""

    async def price_route(self, parts: int, priority: Priority, /) -> Choice:
        step = Step(Plan("set", 1.0, 1.0), parts)
        return Choice(Cost(Route(Way.SINGLE, (step,)), 2.5), (Cost(Route(Way.BULK, (step,)), 9.0, "later"),))


@pytest.fixture
def bell() -> CountingBell:
    return CountingBell()


@pytest.fixture
async def shelf(store: Store, redis: Redis, bell: CountingBell) -> Shelf:
    """A is sold for 10 EUR in a shop, on Amazon DE and UK (8 GBP) and JP (1500 JPY), and in a shop that takes no prices."""
    shop, amazon = Seller("shop", Platform.SHOPIFY), Chooser("amazon", Platform.AMAZON)
    amazon.channel.zones = {"DE": "Europe/Berlin", "UK": "Europe/London", "JP": "Asia/Tokyo"}
    amazon.channel.currencies = {"DE": "EUR", "UK": "GBP", "JP": "JPY"}
    mute = StockPlatform("mute", Platform.REST)
    listings = [
        make_listing("A", shop, price=Money(Decimal(10), "EUR")),
        make_listing("A", amazon, "DE", price=Money(Decimal(10), "EUR")),
        make_listing("A", amazon, "UK", price=Money(Decimal(8), "GBP")),
        make_listing("A", amazon, "JP"),
        make_listing("B", shop, price=Money(Decimal(20), "EUR")),
        make_listing("C", mute, price=Money(Decimal(5), "EUR")),
        replace(make_listing("D", shop, price=Money(Decimal(5), "EUR")), status=product.WITHDRAWN),
        make_listing("E", shop),
    ]
    async with store.begin() as tx:
        await product.upsert_listings(tx, listings)
        await price_guard.keep(tx, PriceGuards(guards=()), "boss")
    sides = (shop, amazon, mute)
    return replace(
        House(store, redis).shelf,
        bell=bell,
        ports={one.channel.id: one.port for one in sides},
        channels={one.channel.id: one.channel for one in sides},
    )


def eur(sku: str, amount: str, **more: Any) -> dict[str, Any]:
    return {"sku": sku, "amount": amount, "currency": "EUR", **more}


async def update(shelf: Shelf, *prices: dict[str, Any], caller: Caller = ANN, **more: Any) -> dict[str, Any]:
    data, errors, _ = await ask(shelf, UPDATE, caller, input={"prices": list(prices), **more})
    assert errors == []
    found: dict[str, Any] = data["updatePrices"]
    return found


async def decide(shelf: Shelf, what: str, id: str, caller: Caller = ANN) -> tuple[Any, list[str]]:
    """The status, and the codes of what is wrong."""
    data, errors, _ = await ask(shelf, what, caller, id=id)
    assert errors == []
    (payload,) = data.values()
    status = None if payload["operation"] is None else payload["operation"]["status"]
    return status, [one["code"] for one in payload["userErrors"]]


async def test_a_sku_means_all_its_listings_in_that_currency_or_those_that_are_named(
    shelf: Shelf, bell: CountingBell
) -> None:
    everywhere = await update(shelf, eur("A", "11"), reason="spring")
    assert [one["key"] for one in everywhere["operation"]["items"]["nodes"]] == ["amazon/DE/A", "shop/A"]
    assert everywhere["operation"]["status"] == "QUEUED"
    assert bell.rung == [("amazon", Capability.PRICES), ("shop", Capability.PRICES)]
    here = await update(shelf, eur("A", "12", channelId="Channel:shop"))
    assert [one["key"] for one in here["operation"]["items"]["nodes"]] == ["shop/A"]
    in_japan = await update(shelf, {"sku": "A", "amount": "1600", "currency": "JPY"})
    assert [one["key"] for one in in_japan["operation"]["items"]["nodes"]] == ["amazon/JP/A"]
    unpriced = await update(shelf, eur("E", "3", channelId="Channel:shop"))
    assert [one["key"] for one in unpriced["operation"]["items"]["nodes"]] == ["shop/E"]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    (eur("Z", "1"), "NOT_FOUND", "sku"),
    (eur("D", "1"), "NOT_FOUND", "sku"),
    (eur("A", "1", channelId="Channel:nowhere"), "NOT_FOUND", "channelId"),
    (eur("A", "1", channelId="Order:1"), "NOT_FOUND", "channelId"),
    (eur("C", "1", channelId="Channel:mute"), "NOT_FOUND", "channelId"),
    (eur("C", "1"), "NOT_FOUND", "channelId"),
    (eur("E", "1"), "NOT_FOUND", "channelId"),
    (eur("A", "1", marketplace="US"), "NOT_FOUND", "marketplace"),
    ({"sku": "A", "amount": "1", "currency": "USD"}, "INVALID", "currency"),
    ({"sku": "A", "amount": "1", "currency": "euro"}, "INVALID", "currency"),
    ({"sku": "A", "amount": "1600.5", "currency": "JPY"}, "INVALID", "amount"),
    (eur("A", "9.999"), "INVALID", "amount"),
    (eur("A", "0"), "INVALID", "amount"),
    (eur("A", "-1"), "INVALID", "amount"),
    (eur("A", "9", saleAmount="9"), "INVALID", "saleAmount"),
    (eur("A", "9", saleFrom="2030-01-01T00:00:00Z"), "INVALID", "saleAmount"),
    (eur("A", "9", saleAmount="8", saleTo="2020-01-01T00:00:00Z"), "INVALID", "saleTo"),
    (
        eur("A", "9", saleAmount="8", saleFromLocal="2030-01-02T00:00", saleToLocal="2030-01-01T00:00"),
        "INVALID",
        "saleTo",
    ),
    (eur("A", "9", saleAmount="8", saleFromLocal="2030-01-02T00:00Z"), "INVALID", "saleFromLocal"),
    (eur("A", "9", saleAmount="8", saleFromLocal="0001-01-01T00:00"), "INVALID", "saleFrom"),
    (eur("A", "9", saleAmount="8", saleToLocal="9999-12-31T23:59:59"), "INVALID", "saleTo"),
    (
        eur("A", "9", saleAmount="8", saleTo="2030-01-01T00:00:00Z", saleToLocal="2030-01-01"),
        "INVALID",
        "saleToLocal",
    ),
]


async def test_what_is_wrong_is_named_with_its_row_and_field_and_nothing_is_kept(
    shelf: Shelf, bell: CountingBell
) -> None:
    for price, code, field in WRONG:
        told = await update(shelf, eur("B", "21"), price)
        assert told["operation"] is None
        named = [(one["code"], one["field"]) for one in told["userErrors"]]
        assert named == [(code, ["input", "prices", "1", field])], price
    data, _, _ = await ask(shelf, "{ operations { totalCount } }", ANN)
    assert data["operations"]["totalCount"] == 0
    assert bell.rung == []


async def test_two_rows_for_one_listing_are_one_where_they_agree_and_refused_where_they_do_not(shelf: Shelf) -> None:
    same = await update(shelf, eur("B", "21"), eur("B", "21.00", channelId="Channel:shop"))
    assert same["operation"]["progress"]["total"] == 1
    torn = await update(shelf, eur("B", "21"), eur("B", "22"))
    assert [(one["code"], one["field"]) for one in torn["userErrors"]] == [
        ("CONFLICT", ["input", "prices", "1", "amount"])
    ]


async def test_more_than_a_request_may_hold_belongs_into_a_file(shelf: Shelf) -> None:
    for prices in ([], [eur("B", "21")] * 5_001):
        told = await update(shelf, *prices)
        assert told["operation"] is None
        assert [one["field"] for one in told["userErrors"]] == [["input", "prices"]]
        assert "/prices/files" in told["userErrors"][0]["message"]


async def test_a_preview_shows_each_row_and_what_it_would_take_and_sends_nothing(
    shelf: Shelf, bell: CountingBell
) -> None:
    made = await update(shelf, eur("A", "5", saleAmount="4"), eur("B", "20"), dryRun=True, reason="clearance")
    assert made["operation"]["status"] == "PREVIEW"
    data, errors, _ = await ask(shelf, PREVIEW, ANN, id=made["operation"]["id"])
    assert errors == []
    summary, rows = data["operation"]["priceSummary"], data["operation"]["items"]["nodes"]
    assert {name: summary[name] for name in ("rows", "refused", "held", "unchanged", "unknown")} == {
        "rows": 3,
        "refused": 0,
        "held": 0,
        "unchanged": 1,
        "unknown": 0,
    }
    assert (summary["fallPercent"], summary["risePercent"]) == ("-60.0", None)
    single = {
        "way": "SINGLE",
        "calls": 1,
        "seconds": 3,
        "reason": "No other is there sooner, nor as soon with fewer calls.",
    }
    plain = {"way": None, "calls": 1, "seconds": None, "reason": None}
    assert summary["routes"] == [
        {"channelId": "Channel:amazon", "marketplace": "DE", "rows": 1, **single},
        {"channelId": "Channel:shop", "marketplace": None, "rows": 2, **plain},
    ]
    no_sale = {"salePrice": None, "saleFrom": None, "saleTo": None}
    assert rows[0] == {
        "key": "amazon/DE/A",
        "price": {
            "sku": "A",
            "channelId": "Channel:amazon",
            "marketplace": "DE",
            "channelSku": "A",
            "unchanged": False,
            "changePercent": "-60.0",
            "margin": None,
            "origin": "MUTATION",
            "reason": "clearance",
            "before": {"price": {"amount": "10", "currency": "EUR"}, **no_sale},
            "after": {"price": {"amount": "5", "currency": "EUR"}, **no_sale, "salePrice": {"amount": "4"}},
            "hits": [],
        },
    }
    assert [row["price"]["unchanged"] for row in rows] == [False, False, True]
    assert bell.rung == []
    assert await decide(shelf, APPROVE, made["operation"]["id"]) == ("QUEUED", [])
    assert bell.rung == [("amazon", Capability.PRICES), ("shop", Capability.PRICES)]


async def test_a_guards_words_stand_on_the_row_and_its_approval_is_somebody_elses(shelf: Shelf) -> None:
    async with shelf.store.begin() as tx:
        bound = Approval(row={"EUR": Decimal(5)})
        await price_guard.keep(tx, PriceGuards(version=1, approval=bound), "boss")  # with the usual guards
    made = await update(shelf, eur("B", "200"), eur("A", "12", channelId="Channel:shop"))
    assert made["operation"]["status"] == "RUNNING"
    rows = [(one["key"], one["status"], one["error"]) for one in made["operation"]["items"]["nodes"]]
    assert rows == [("shop/B", "FAILED", {"code": "GUARD"}), ("shop/A", "PENDING", None)]
    held = await update(shelf, eur("B", "25.50"))
    id = held["operation"]["id"]
    assert held["operation"]["status"] == "AWAITING_APPROVAL"
    data, _, _ = await ask(shelf, PREVIEW, ANN, id=id)
    assert [one["guard"] for one in data["operation"]["priceSummary"]["hits"]] == ["APPROVAL"]
    assert await decide(shelf, APPROVE, id, ANN) == (None, ["FORBIDDEN"])
    assert await decide(shelf, APPROVE, id, BOB) == ("QUEUED", [])


# In 2031 the clocks of Berlin leap from 2 to 3 on 30 March, and show 2:30 twice on 26 October; London's from 1 to 2, and 1:30.
@pytest.mark.parametrize(
    ("begins", "ends", "berlin", "london"),
    [
        (
            "2031-01-01T00:00",
            "2031-07-01T00:00",
            ("2030-12-31T23", "2031-06-30T22"),
            ("2031-01-01T00", "2031-06-30T23"),
        ),
        (
            "2031-03-30T02:30",
            "2031-03-30T04:00",
            ("2031-03-30T01", "2031-03-30T02"),
            ("2031-03-30T01:30", "2031-03-30T03"),
        ),
        (
            "2031-10-26T02:30",
            "2031-10-26T02:45",
            ("2031-10-26T00:30", "2031-10-26T01:45"),
            ("2031-10-26T02:30", "2031-10-26T02:45"),
        ),
    ],
)
async def test_a_local_sale_begins_and_ends_by_the_clocks_of_each_marketplace(
    shelf: Shelf, begins: str, ends: str, berlin: tuple[str, str], london: tuple[str, str]
) -> None:
    sale = {"saleAmount": "7", "saleFromLocal": begins, "saleToLocal": ends, "channelId": "Channel:amazon"}
    pounds = {"sku": "A", "amount": "8", "currency": "GBP", **sale}
    made = await update(shelf, eur("A", "10", **sale), pounds, dryRun=True)
    data, _, _ = await ask(shelf, PREVIEW, ANN, id=made["operation"]["id"])
    told = [one["price"]["after"] for one in data["operation"]["items"]["nodes"]]
    assert [(one["saleFrom"], one["saleTo"]) for one in told] == [
        tuple(f"{at}:00:00Z" if len(at) == 13 else f"{at}:00Z" for at in pair) for pair in (berlin, london)
    ]


async def test_a_key_answers_the_first_operation_and_wakes_nobody_again(shelf: Shelf, bell: CountingBell) -> None:
    first = await update(shelf, eur("B", "21"), idempotencyKey="k")
    again = await update(shelf, eur("B", "21.0"), idempotencyKey="k")
    assert again["operation"]["id"] == first["operation"]["id"]
    assert bell.rung == [("shop", Capability.PRICES)]
    other = await update(shelf, eur("B", "22"), idempotencyKey="k")
    assert [one["code"] for one in other["userErrors"]] == ["CONFLICT"]


async def test_what_has_not_left_is_withdrawn_and_what_failed_is_tried_again(shelf: Shelf) -> None:
    one = (await update(shelf, eur("B", "21")))["operation"]["id"]
    assert await decide(shelf, CANCEL, one) == ("CANCELLED", [])
    again = (await update(shelf, eur("B", "20"), dryRun=True))["operation"]["id"]
    data, _, _ = await ask(shelf, PREVIEW, ANN, id=again)
    assert data["operation"]["items"]["nodes"][0]["price"]["unchanged"]  # what was withdrawn is wanted no more
    two = (await update(shelf, eur("B", "22")))["operation"]["id"]
    async with shelf.store.begin() as tx:
        (item,) = await agenda.claim(tx, ChannelId("shop"), Capability.PRICES, limit=1, lease_s=15, worker="w")
        await agenda.record(tx, [Outcome(item.id, item.fence, ItemStatus.FAILED)])
    assert await decide(shelf, RETRY, two) == ("QUEUED", [])
    assert await decide(shelf, RETRY, two) == (None, ["CONFLICT"])

"""Prices by rule, asked through the contract: keeping sets, trying them, explaining a price, and asking for what they make."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import event as sa_event

from domain.channel import Platform
from domain.ids import ChannelId, ListingId
from domain.money import Money
from domain.operation import Capability
from domain.price_guard import PriceGuards
from domain.product import Attribute
from resolvers.shelf import Shelf
from store import price_guard, price_rules, product
from store.session import Store
from tests.resolvers.platform import make_listing
from tests.resolvers.test_shipment import CountingBell
from tests.resolvers.test_stock import House
from tests.schema.test_price import ANN, Seller
from tests.schema.test_queries import ask

SET = """mutation($input: SetPriceRulesInput!) { setPriceRules(input: $input) {
    priceRules { version madeBy rules { name } } userErrors { code message field } } }"""
RULES = """{ priceRules { version rules {
    name final lacking maxAgeHours match { skus brands tags channelIds marketplaces hoursFrom hoursTo weekdays firstOn }
    base { amounts { amount currency } channelId convert } limit { minimum { amount currency } margin { markupPercent } }
    costPlus { markupPercent extra { amount } fees { currency bands { percent upTo } least fixed whole } }
    featuredOffer { target holding maximum { amount } } round { currency endings direction }
    promotion { startsLocal endsLocal percent } stock { measure steps { percent below } } window { percent closed } } }
    priceRuleVersions { version } }"""
TRY = """query($rules: [PriceRuleInput!], $skus: [String!], $channel: ID, $first: Int, $after: String) {
    previewPriceRules(rules: $rules, skus: $skus, channelId: $channel, first: $first, after: $after) {
        totalCount pageInfo { hasNextPage endCursor }
        nodes { listingId sku channelId marketplace channelSku changes words lacking hits { guard }
            before { price { amount } } after { price { amount currency } salePrice { amount } saleFrom }
            chain { rule kind outcome why inputs { name value } before { price { amount } } after { price { amount } } } } } }"""
EXPLAIN = "query($id: ID!) { explainPrice(listingId: $id) { words after { price { amount } } chain { rule } } }"
APPLY = """mutation($skus: [String!], $channel: ID, $key: String, $dryRun: Boolean! = false) {
    applyPriceRules(skus: $skus, channelId: $channel, idempotencyKey: $key, dryRun: $dryRun) {
        operation { id status items { nodes { key price { origin reason after { price { amount } } } } } }
        userErrors { code message field } } }"""

PLUS = {
    "name": "cost plus 20 %",
    "costPlus": {
        "markupPercent": "20",
        "taxPercent": "19",
        "extra": [{"amount": "1.00", "currency": "EUR"}],
        "fees": [{"currency": "EUR", "bands": [{"percent": "15"}], "fixed": "3.50"}],
    },
}
NINES = {"name": ".99", "round": [{"currency": "EUR", "endings": ["0.99"], "direction": "UP"}]}


@pytest.fixture
def bell() -> CountingBell:
    return CountingBell()


@pytest.fixture
async def shelf(store: Store, redis: Redis, bell: CountingBell) -> Shelf:
    """A (cost 10 EUR, fragile) and B are sold in a shop and on Amazon DE; C in the shop alone."""
    shop, amazon = Seller("shop", Platform.SHOPIFY), Seller("amazon", Platform.AMAZON)
    amazon.channel.zones = {"DE": "Europe/Berlin"}
    a = replace(
        make_listing("A", shop, price=Money(Decimal(20), "EUR")),
        unit_cost=Money(Decimal(10), "EUR"),
        brand="Acme",
        attributes=[Attribute("tag", "fragile")],
    )
    listings = [
        a,
        make_listing("A", amazon, "DE", price=Money(Decimal(25), "EUR")),
        make_listing("B", shop, price=Money(Decimal(5), "EUR")),
        make_listing("B", amazon, "DE", price=Money(Decimal(6), "EUR")),
        make_listing("C", shop, price=Money(Decimal(7), "EUR")),
    ]
    async with store.begin() as tx:
        await product.upsert_listings(tx, listings)
        await price_guard.keep(tx, PriceGuards(guards=()), "boss")
    return replace(
        House(store, redis).shelf,
        bell=bell,
        ports={one.channel.id: one.port for one in (shop, amazon)},
        channels={one.channel.id: one.channel for one in (shop, amazon)},
    )


async def keep(shelf: Shelf, *rules: dict[str, Any], version: int = 0) -> dict[str, Any]:
    data, errors, _ = await ask(shelf, SET, ANN, input={"version": version, "rules": list(rules)})
    assert errors == []
    found: dict[str, Any] = data["setPriceRules"]
    return found


async def tried(shelf: Shelf, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    data, errors, _ = await ask(shelf, TRY, ANN, **({"rules": list(rules)} if rules else {}), **more)
    assert errors == []
    found: dict[str, Any] = data["previewPriceRules"]
    return found


async def applied(shelf: Shelf, **more: Any) -> dict[str, Any]:
    data, errors, _ = await ask(shelf, APPLY, ANN, **more)
    assert errors == []
    found: dict[str, Any] = data["applyPriceRules"]
    return found


def fixed(amount: str, **more: Any) -> dict[str, Any]:
    return {"name": f"fixed {amount}", "base": {"amounts": [{"amount": amount, "currency": "EUR"}]}, **more}


EVERYTHING: list[dict[str, Any]] = [
    {
        "name": "night",
        "match": {
            "skus": ["A"],
            "brands": ["Acme"],
            "tags": ["fragile"],
            "channelIds": ["Channel:shop"],
            "marketplaces": ["DE"],
            "hoursFrom": "22:00:00",
            "hoursTo": "06:00:00",
            "weekdays": [6, 7],
            "firstOn": "2026-11-27",
        },
        "window": {"percent": "-5"},
    },
    {**PLUS, "name": "plus", "lacking": "SKIP", "final": True},
    {
        "name": "follow",
        "featuredOffer": {"target": "EXPECTED", "holding": "RAISE", "maximum": [{"amount": "30", "currency": "EUR"}]},
        "maxAgeHours": 2,
    },
    {"name": "shop", "base": {"channelId": "Channel:shop", "convert": True}},
    {
        "name": "floor",
        "limit": {
            "margin": {"markupPercent": "5", "taxPercent": "19"},
            "minimum": [{"amount": "0.50", "currency": "EUR"}],
        },
    },
    {"name": "stock", "stock": {"measure": "COVER_DAYS", "steps": [{"percent": "10", "below": "7"}]}},
    {
        "name": "sale",
        "promotion": {"startsLocal": "2026-11-27T00:00:00", "endsLocal": "2026-12-01T00:00:00", "percent": "25"},
    },
    NINES,
]


async def test_a_set_is_kept_as_it_was_told_and_its_versions_stay(shelf: Shelf) -> None:
    kept = await keep(shelf, *EVERYTHING)
    assert kept == {
        "priceRules": {"version": 1, "madeBy": "ann", "rules": [{"name": one["name"]} for one in EVERYTHING]},
        "userErrors": [],
    }
    assert (await keep(shelf, *EVERYTHING, version=1))["priceRules"]["version"] == 1

    data, errors, _ = await ask(shelf, RULES, ANN)

    assert errors == []
    night, plus, follow, shop, floor, stock, sale, nines = data["priceRules"]["rules"]
    assert night["match"] == EVERYTHING[0]["match"]
    assert (night["window"], night["lacking"]) == ({"percent": "-5", "closed": False}, "STOP")
    assert plus["costPlus"]["fees"] == [
        {"currency": "EUR", "bands": [{"percent": "15", "upTo": None}], "least": "0", "fixed": "3.50", "whole": True}
    ]
    assert (plus["final"], plus["lacking"]) == (True, "SKIP")
    assert (follow["featuredOffer"]["target"], follow["maxAgeHours"]) == ("EXPECTED", 2)
    assert shop["base"] == {"amounts": [], "channelId": "Channel:shop", "convert": True}
    assert floor["limit"] == {"minimum": [{"amount": "0.50", "currency": "EUR"}], "margin": {"markupPercent": "5"}}
    assert stock["stock"]["steps"] == [{"percent": "10", "below": "7"}]
    assert sale["promotion"] == EVERYTHING[6]["promotion"]
    assert nines["round"] == NINES["round"]
    assert (await keep(shelf, version=1))["priceRules"] == {"version": 2, "madeBy": "ann", "rules": []}
    async with shelf.store.begin() as tx:
        assert await price_rules.current(tx) is None
        assert [one.version for one in await price_rules.versions(tx, 5)] == [2, 1]


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": "x"}, []),
    ({"name": " ", "base": {"current": True}}, ["name"]),
    ({"name": "x" * 101, "base": {"current": True}}, ["name"]),
    ({"name": "x", "base": {"current": True}, "window": {"closed": True}}, []),
    (fixed("1.005"), ["base", "amounts", "0"]),
    ({"name": "x", "base": {"channelId": "Channel:nowhere"}}, ["base", "channelId"]),
    ({"name": "x", "base": {"channelId": "Order:1"}}, ["base", "channelId"]),
    (fixed("1", match={"channelIds": ["Channel:shop", "Channel:gone"]}), ["match", "channelIds", "1"]),
    (fixed("1", match={"hoursFrom": "10:00:00"}), ["match", "hoursTo"]),
    (fixed("1", match={"hoursFrom": "10:00:00Z", "hoursTo": "12:00:00"}), ["match", "hoursFrom"]),
    (fixed("1", match={"lastOn": "9999-12-31"}), ["match", "lastOn"]),
    (fixed("1", match={"firstOn": "0001-01-01"}), ["match", "firstOn"]),
    (fixed("1", maxAgeHours=2**31 - 1), ["maxAgeHours"]),
    (
        {
            "name": "x",
            "promotion": {"startsLocal": "2026-11-27", "endsLocal": "9999-12-31T23:59:59", "percent": "5"},
        },
        ["promotion", "endsLocal"],
    ),
    ({"name": "x", "window": {"percent": "5"}}, ["window"]),
    ({"name": "x", "round": [{"currency": "JPY", "endings": ["0.99"]}]}, ["round", "0", "endings", "0"]),
    (
        {"name": "x", "limit": {"margin": {"markupPercent": "5", "marginPercent": "5", "taxPercent": "0"}}},
        ["limit", "margin"],
    ),
    (
        {"name": "x", "promotion": {"startsLocal": "2026-11-27", "endsLocal": "soon", "percent": "5"}},
        ["promotion", "endsLocal"],
    ),
    (
        {
            "name": "x",
            "costPlus": {
                "markupPercent": "5",
                "taxPercent": "0",
                "fees": [{"currency": "EUR", "bands": [{"percent": "95"}]}],
            },
        },
        ["costPlus", "fees", "0", "bands", "0", "percent"],
    ),
    (
        {
            "name": "x",
            "limit": {
                "minimum": [{"amount": "3", "currency": "EUR"}],
                "maximum": [{"amount": "2", "currency": "EUR"}],
            },
        },
        ["limit", "minimum", "0"],
    ),
]


async def test_rules_that_mean_nothing_are_refused_with_their_path_and_nothing_is_kept(shelf: Shelf) -> None:
    for rule, path in WRONG:
        found = await keep(shelf, fixed("3"), rule)
        assert found["priceRules"] is None
        assert [one["field"] for one in found["userErrors"]] == [["input", "rules", "1", *path]], rule
    twice = await keep(shelf, fixed("3"), fixed("3"))
    assert twice["userErrors"][0]["field"] == ["input", "rules", "1", "name"]
    stale = await keep(shelf, fixed("3"), version=4)
    assert (stale["userErrors"][0]["code"], stale["userErrors"][0]["field"]) == ("CONFLICT", ["input", "version"])
    async with shelf.store.begin() as tx:
        assert await price_rules.versions(tx, 5) == []


async def test_of_two_who_keep_a_set_at_once_one_has_to_read_again(shelf: Shelf) -> None:
    both = await asyncio.gather(keep(shelf, fixed("3")), keep(shelf, fixed("4")))

    assert sorted(len(one["userErrors"]) for one in both) == [0, 1]


async def test_a_set_is_tried_over_listings_page_by_page_and_nothing_is_kept(shelf: Shelf) -> None:
    first = await tried(shelf, PLUS, NINES, first=3)
    second = await tried(shelf, PLUS, NINES, first=3, after=first["pageInfo"]["endCursor"])

    assert (first["totalCount"], first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (
        5,
        True,
        False,
    )
    nodes = {(one["channelId"], one["sku"]): one for one in first["nodes"] + second["nodes"]}
    assert len(nodes) == 5
    a = nodes["Channel:amazon", "A"]
    assert (a["marketplace"], a["before"], a["changes"]) == ("DE", {"price": {"amount": "25"}}, True)
    assert a["after"] == {"price": {"amount": "23.99", "currency": "EUR"}, "salePrice": None, "saleFrom": None}
    assert [(one["rule"], one["kind"], one["outcome"]) for one in a["chain"]] == [
        ("cost plus 20 %", "COST_PLUS", "APPLIED"),
        (".99", "ROUND", "APPLIED"),
    ]
    assert a["chain"][1]["before"] == {"price": {"amount": "23.89"}}
    used = {one["name"]: one["value"] for one in a["chain"][0]["inputs"]}
    assert (used["fees"], used["tax"], used["margin"]) == ("7.08 EUR", "3.81 EUR", "2.00 EUR")
    b = nodes["Channel:shop", "B"]
    assert (b["after"], b["changes"]) == (None, False)
    assert (b["words"], b["lacking"]) == (
        "cost plus 20 %: no cost is known.",
        ["cost plus 20 %: no cost is known"],
    )
    async with shelf.store.begin() as tx:
        assert await price_rules.versions(tx, 5) == []


async def test_a_preview_tells_the_guards_that_a_price_would_run_into(shelf: Shelf) -> None:
    async with shelf.store.begin() as tx:
        await price_guard.keep(tx, replace(PriceGuards(), version=1), "boss")

    (found,) = (await tried(shelf, fixed("2000"), skus=["C"]))["nodes"]

    assert found["hits"] != []
    assert (await tried(shelf, fixed("7.01"), skus=["C"]))["nodes"][0]["hits"] == []


async def test_a_rule_is_for_whom_it_matches(shelf: Shelf) -> None:
    rules = [
        fixed("11", match={"tags": ["fragile"], "channelIds": ["Channel:shop"]}, final=True),
        fixed("12", match={"brands": ["Acme"]}, final=True),
        fixed("13", match={"marketplaces": ["DE"]}, final=True),
        fixed("14"),
    ]
    nodes = (await tried(shelf, *rules))["nodes"]

    assert {
        (one["channelId"].removeprefix("Channel:"), one["sku"]): one["after"]["price"]["amount"] for one in nodes
    } == {
        ("shop", "A"): "11.00",
        ("amazon", "A"): "12.00",
        ("amazon", "B"): "13.00",
        ("shop", "B"): "14.00",
        ("shop", "C"): "14.00",
    }


async def test_a_page_of_many_listings_takes_as_many_statements_as_one(shelf: Shelf) -> None:
    async def statements(first: int) -> tuple[int, int]:
        seen: list[str] = []

        def count(*args: Any) -> None:
            seen.append(args[2])

        engine = shelf.store._engine.sync_engine
        sa_event.listen(engine, "before_cursor_execute", count)
        try:
            nodes = (await tried(shelf, PLUS, NINES, first=first))["nodes"]
        finally:
            sa_event.remove(engine, "before_cursor_execute", count)
        return len(seen), len(nodes)

    (one, _), (many, listings) = await statements(1), await statements(5)

    assert (one, listings) == (many, 5)
    assert one > 5


async def test_a_price_is_explained_by_the_rules_that_hold(shelf: Shelf) -> None:
    await keep(shelf, PLUS, NINES)
    (found,) = (await tried(shelf, skus=["A"], channel="Channel:shop"))["nodes"]

    data, errors, _ = await ask(shelf, EXPLAIN, ANN, id=found["listingId"])
    missing, _, _ = await ask(shelf, EXPLAIN, ANN, id="Listing:none")

    assert errors == []
    assert data["explainPrice"] == {
        "words": "cost plus 20 %, .99",
        "after": {"price": {"amount": "23.99"}},
        "chain": [{"rule": "cost plus 20 %"}, {"rule": ".99"}],
    }
    assert missing == {"explainPrice": None}


async def test_what_the_rules_make_is_asked_for_once_and_carries_its_chain(shelf: Shelf, bell: CountingBell) -> None:
    await keep(shelf, PLUS, NINES)

    preview = await applied(shelf, dryRun=True)
    assert (preview["operation"]["status"], bell.rung) == ("PREVIEW", [])
    made = await applied(shelf, key="k")
    again = await applied(shelf, key="k")
    nothing = await applied(shelf)

    nodes = made["operation"]["items"]["nodes"]
    assert sorted((one["key"], one["price"]["after"]["price"]["amount"]) for one in nodes) == [
        ("amazon/DE/A", "23.99"),
        ("shop/A", "23.99"),
    ]
    assert {(one["price"]["origin"], one["price"]["reason"]) for one in nodes} == {("RULE", "cost plus 20 %, .99")}
    assert sorted(bell.rung) == [("amazon", Capability.PRICES), ("shop", Capability.PRICES)]
    assert again["operation"]["id"] == made["operation"]["id"]
    assert nothing["userErrors"] == [
        {
            "code": "INVALID",
            "message": "The rules make no other price of these 5 listings. previewPriceRules says what they make.",
            "field": ["skus"],
        }
    ]
    async with shelf.store.begin() as tx:
        ids = await price_rules.listings(tx, [ChannelId("shop")], None, None, 10)
        rules = await price_rules.current(tx)
        assert rules is not None
        found = await price_rules.work_out(tx, rules, ids, shelf.channels, shelf.clock())
        assert [one.changes for one in found] == [False] * len(ids)


async def test_without_rules_or_for_a_place_that_there_is_not_nothing_is_asked_for(shelf: Shelf) -> None:
    assert [one["code"] for one in (await applied(shelf))["userErrors"]] == ["INVALID"]
    await keep(shelf, fixed("3"))
    nowhere = await applied(shelf, channel="Channel:nowhere")
    assert [(one["code"], one["field"]) for one in nowhere["userErrors"]] == [("NOT_FOUND", ["channelId"])]
    assert [one["field"] for one in (await applied(shelf, skus=[]))["userErrors"]] == [["skus"]]
    unknown = await applied(shelf, skus=["A", "C", "TYPO"], channel="Channel:amazon")
    assert [(one["code"], one["field"]) for one in unknown["userErrors"]] == [("NOT_FOUND", ["skus"])]
    assert "C, TYPO is known" in unknown["userErrors"][0]["message"]


async def test_a_listing_that_never_had_a_price_gets_one_in_the_currency_of_its_marketplace(shelf: Shelf) -> None:
    amazon = Seller("amazon", Platform.AMAZON)
    async with shelf.store.begin() as tx:
        await product.upsert_listings(tx, [make_listing("N", amazon, "DE")])

    (before,) = (await tried(shelf, fixed("3"), skus=["N"]))["nodes"]
    shelf.channels[ChannelId("amazon")].currencies = {"DE": "EUR"}
    (after,) = (await tried(shelf, fixed("3"), skus=["N"]))["nodes"]

    assert (before["after"], before["words"]) == (None, "Nobody knows in which currency it is sold.")
    assert after["after"]["price"] == {"amount": "3.00", "currency": "EUR"}


async def test_a_listing_that_is_withdrawn_or_of_another_channel_has_no_price_by_rule(shelf: Shelf) -> None:
    await keep(shelf, fixed("3"))
    async with shelf.store.begin() as tx:
        (rules, known) = await price_rules.newest(tx), [ChannelId("shop")]
        ids = await price_rules.listings(tx, known, None, None, 10)
        gone = replace(make_listing("C", Seller("shop", Platform.SHOPIFY)), status=product.WITHDRAWN)
        await product.upsert_listings(tx, [gone])
        shops = {ChannelId("shop"): shelf.channels[ChannelId("shop")]}
        made = await price_rules.work_out(tx, rules, [*ids, ListingId("none")], shops, shelf.clock())

    assert [one.sku for one in sorted(made, key=lambda one: one.sku or "")] == ["A", "B"]

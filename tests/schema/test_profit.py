"""Profit as clients ask for it, and who is told nothing of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.ids import derived_id, order_id
from domain.money_class import Event, MoneyClass
from domain.price_inputs import FxRate
from resolvers.context import Caller
from store import chain, fx, money_line, order
from store.session import Store
from tests.executor.test_contract import compiled
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ADMIN, ask
from tests.store.test_profit import World, a_piece, instant, keep_settlement, make_line, new_world, sale

PROFIT = """query($filter: ProfitFilter!, $by: [ProfitDimension!]!) { profit(filter: $filter, groupBy: $by) {
    dimensions { dimension value } units revenue { amount currency } fees { amount } refunds { amount } cost { amount }
    profit { amount } margin unclassified { amount } reimbursements { amount } taxes { amount }
    unitsWithoutCost unitsWithCatalogCost unitsWithoutFees
    byStage { stage units revenue { amount } fees { amount } refunds { amount } cost { amount } profit { amount } } } }"""
CHANGES = """query($filter: ProfitFilter!, $since: DateTime!) { profitChanges(filter: $filter, since: $since) {
    kind words lines units revenue { amount } cost { amount } profit { amount } settlement { id externalId } } }"""
ORDERS = """{ orders { nodes { externalId finance { settled revenue { amount currency } fees { amount } refunds { amount }
    cost { amount } profit { amount } byStage { stage units } } } } }"""
# Late days of October and the first of November.
WANTED = {"from": "2026-10-30T00:00:00Z", "to": "2026-11-04T00:00:00Z"}


@pytest.fixture
async def world(store: Store, redis: Redis) -> World:
    """An order of Germany in a settlement, with a refund and a unit that came back; one of the US that is estimated."""
    world = await new_world(store, 2)
    german, american = world.books.orders
    mug, cup = german.lines
    refund = {"event": Event.REFUND, "sku": "MUG", "posted_at": german.placed_at + timedelta(days=2), "units": 1}
    lines = [
        *sale(german, mug, 2, "70.00"),
        *sale(german, cup, 2, "35.00"),
        make_line(german, MoneyClass.SALE, "-35.00", **refund),
        make_line(german, MoneyClass.UNCLASSIFIED, "-1.25"),
        make_line(german, MoneyClass.REIMBURSEMENT, "3.00", event=Event.ACCOUNT, order_id=None),
    ]
    async with store.begin() as tx:
        await keep_settlement(tx, german, lines, "S-1")
        await money_line.add(tx, sale(american, american.lines[0], 2, "14.00"))
        await chain.keep(tx, [a_piece(german, mug, 1, 1)])
    return world


@pytest.fixture
def house(store: Store, redis: Redis) -> House:
    return House(store, redis)


async def profits(house: House, by: list[str], **more: Any) -> list[dict[str, Any]]:
    data, errors, _ = await ask(house.shelf, PROFIT, ADMIN, filter=WANTED | more, by=by)
    assert errors == []
    rows: list[dict[str, Any]] = data["profit"]
    return rows


def amount(text: str) -> dict[str, str]:
    return {"amount": text}


def values(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(one["value"] for one in row["dimensions"])


async def test_a_row_in_full(house: House, world: World) -> None:
    german = world.books.orders[0]
    rows = await profits(house, ["ORDER", "CHANNEL"])
    assert [values(row) for row in rows] == [("", "Channel:amazon"), *sorted([values(rows[1]), values(rows[2])])]
    [row] = [row for row in rows if values(row)[0] == f"Order:{german.id}"]
    # Two mugs of 4.205 USD by 1.1 USD, one of them came back; two cups of 2 EUR.
    assert row | {"dimensions": []} == {
        "dimensions": [],
        "units": 4,
        "revenue": {"amount": "105.00", "currency": "EUR"},
        "fees": amount("16.25"),
        "refunds": amount("35.00"),
        "cost": amount("7.822728"),
        "profit": amount("45.927272"),
        "margin": "0.437403",
        "unclassified": amount("1.25"),
        "reimbursements": amount("0"),
        "taxes": amount("21.00"),
        "unitsWithoutCost": 0,
        "unitsWithCatalogCost": 0,
        "unitsWithoutFees": 0,
        "byStage": [
            {
                "stage": "SETTLED",
                "units": 4,
                "revenue": amount("105.00"),
                "fees": amount("16.25"),
                "refunds": amount("35.00"),
                "cost": amount("7.822728"),
                "profit": amount("45.927272"),
            }
        ],
    }
    [account] = [row for row in rows if values(row)[0] == ""]
    assert (account["reimbursements"], account["fees"], account["cost"]) == (
        amount("3.00"),
        amount("-3.00"),
        amount("0"),
    )


async def test_rows_by_month_and_the_total_are_the_same_money(house: House, world: World) -> None:
    months = await profits(house, ["MONTH"], currency="EUR")
    [total] = await profits(house, [], currency="EUR")
    assert [values(row) for row in months] == [("2026-10",), ("2026-11",)]
    assert values(total) == ()
    for name in ("revenue", "fees", "refunds", "cost", "profit"):
        assert sum(Decimal(row[name]["amount"]) for row in months) == Decimal(total[name]["amount"])
    assert {row["revenue"]["currency"] for row in await profits(house, [])} == {"EUR", "USD"}
    [estimated] = await profits(house, [], stage=["ESTIMATED"])
    assert [one["stage"] for one in estimated["byStage"]] == ["ESTIMATED"]


async def test_why_it_is_told_otherwise_now(house: House, world: World, store: Store) -> None:
    since = (await instant(store)).isoformat()
    american = world.books.orders[1]
    async with store.begin() as tx:
        await keep_settlement(tx, american, sale(american, american.lines[0], 2, "21.00"), "S-2")
    data, errors, _ = await ask(house.shelf, CHANGES, ADMIN, filter=WANTED, since=since)
    assert errors == []
    assert data["profitChanges"] == [
        {
            "kind": "SETTLEMENT",
            "words": "S-2",
            "lines": 6,
            "units": 0,
            "revenue": {"amount": "7.00"},
            "cost": {"amount": "0.000"},
            "profit": {"amount": "6.000"},
            "settlement": {"id": f"Settlement:{derived_id('settlement', 'amazon', 'S-2')}", "externalId": "S-2"},
        }
    ]
    [before] = await profits(house, [], currency="USD", knownAt=since)
    [now] = await profits(house, [], currency="USD")
    assert Decimal(now["profit"]["amount"]) - Decimal(before["profit"]["amount"]) == 6


async def test_orders_bring_their_money_to_those_who_may_know_it(house: House, world: World, store: Store) -> None:
    data, errors, _ = await ask(house.shelf, ORDERS, ADMIN)
    assert errors == []
    assert (await compiled(house.shelf, ORDERS, ADMIN))[:2] == (data, [])
    found = {node["externalId"]: node["finance"] for node in data["orders"]["nodes"]}
    assert found["O-0"] == {
        "settled": False,  # the next estimate has not been worked out yet
        "revenue": {"amount": "105.00", "currency": "EUR"},
        "fees": {"amount": "16.25"},
        "refunds": {"amount": "35.00"},
        "cost": {"amount": "7.822728"},
        "profit": {"amount": "45.927272"},
        "byStage": [{"stage": "SETTLED", "units": 4}],
    }
    assert found["O-1"]["byStage"] == [{"stage": "ESTIMATED", "units": 2}]
    for scopes in ({"orders:read"}, {"orders:read", "orders:pii", "shipments:write", "prices:write", "finance:write"}):
        data, errors, _ = await ask(house.shelf, ORDERS, Caller("operator", frozenset(scopes)))
        assert errors == []
        assert [node["finance"] for node in data["orders"]["nodes"]] == [None, None]


async def test_an_order_without_a_line_has_no_money_and_one_without_a_rate_fails_alone(
    house: House, world: World, store: Store
) -> None:
    german, american = world.books.orders
    other = replace(american, id=german.id, external_id="O-9")
    async with store.begin() as tx:
        await order.upsert(tx, [replace(other, id=order_id(american.channel, "O-9"), lines=[])])
        await money_line.add(tx, [make_line(american, MoneyClass.SHIPPING_LABEL, "-1", currency="CHF")])
    data, errors, _ = await ask(house.shelf, ORDERS, ADMIN)
    found = {node["externalId"]: node["finance"] for node in data["orders"]["nodes"]}
    assert (found["O-9"], found["O-1"], found["O-0"]["revenue"]["amount"]) == (None, None, "105.00")
    [error] = errors
    assert "what CHF was worth in USD on 2026-10-30" in error.message


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"to": "2026-10-30T00:00:00Z"}, "name no day"),
        ({"skus": []}, "1 to 1,000 SKUs"),
        ({"currency": "euro"}, "'euro' is not an ISO 4217"),
        ({"currency": "SEK"}, "No rate tells what EUR was worth in SEK on 2026-10-30"),
        ({"channelId": "Order:1"}, "No Channel has the id"),
    ],
)
async def test_what_cannot_be_told_is_said(house: House, world: World, wrong: dict[str, Any], words: str) -> None:
    data, errors, _ = await ask(house.shelf, PROFIT, ADMIN, filter=WANTED | wrong, by=[])
    assert data is None
    assert words in errors[0].message
    _, errors, _ = await ask(house.shelf, CHANGES, ADMIN, filter=WANTED | wrong, since="2020-01-01T00:00:00Z")
    assert errors


async def test_a_change_needs_a_span_and_rates_that_were_known_then(house: House, world: World, store: Store) -> None:
    at = (await instant(store)).isoformat()
    _, errors, _ = await ask(house.shelf, CHANGES, ADMIN, filter=WANTED | {"knownAt": at}, since=at)
    assert "`since` is not before `knownAt`" in errors[0].message
    day = world.books.orders[0].placed_at.date()
    rates = [FxRate("EUR", quote, Decimal(11), day, "ECB") for quote in ("SEK", "USD")]
    async with store.begin() as tx:
        await fx.keep(tx, rates, "me")
    _, errors, _ = await ask(house.shelf, CHANGES, ADMIN, filter=WANTED | {"currency": "SEK"}, since=at)
    assert f"what EUR was worth in SEK on {day}, by what was known at" in errors[0].message

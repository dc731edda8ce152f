"""What prices are made of, as clients tell and read it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.ids import Sku
from domain.offer import OfferPrice
from domain.price import Price
from domain.repricing import Became, Repriced
from store import market, price_due
from store.session import Store
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ADMIN, ask
from tests.workers.pricing import SHOP, sold, usd

SET = """mutation($costs: [UnitCostInput!]!, $dry: Boolean!) { setUnitCosts(input: {costs: $costs, dryRun: $dry}) {
    costs { sku revision landed { amount currency } } userErrors { code field message } } }"""
COSTS = """query($skus: [String!]!, $on: Date) { unitCosts(skus: $skus, on: $on) {
    sku inForce { revision landed { amount } validFrom } revisions { revision withdrawn extra { amount } reason } } }"""
INPUTS = """query($skus: [String!]!) { priceInputs(skus: $skus) {
    listing { channelSku price { amount } } cost { amount { amount currency } source } fees { price { amount } }
    featured { price { amount } shipping { amount } mine asOf } expected { amount { amount } } available coverDays
    lastRepricing { result words } } }"""
MUG = {"sku": "MUG", "validFrom": "2026-01-01", "currency": "USD"}


@pytest.fixture
async def house(store: Store, redis: Redis) -> House:
    return House(store, redis)


async def told(house: House, *costs: dict[str, Any], dry: bool = False) -> Any:
    data, errors, _ = await ask(house.shelf, SET, ADMIN, costs=list(costs), dry=dry)
    assert errors == []
    return data["setUnitCosts"]


async def test_costs_are_told_in_layers_and_read_by_day(house: House) -> None:
    first = await told(house, MUG | {"amount": "4.20"}, MUG | {"validFrom": "2026-06-01", "amount": "5.00"})
    assert [one["revision"] for one in first["costs"]] == [1, 1]
    late = await told(house, MUG | {"extra": "0.35", "reason": "freight"}, dry=True)
    assert late["costs"][0]["landed"] == {"amount": "4.55", "currency": "USD"}
    late = await told(house, MUG | {"extra": "0.35", "reason": "freight"})
    assert late["costs"][0]["revision"] == 2
    data, errors, _ = await ask(house.shelf, COSTS, ADMIN, skus=["MUG", "CUP"], on="2026-05-31")
    assert errors == []
    mug, cup = data["unitCosts"]
    assert mug["inForce"] == {"revision": 2, "landed": {"amount": "4.55"}, "validFrom": "2026-01-01"}
    assert [(one["revision"], one["reason"]) for one in mug["revisions"]] == [(1, ""), (2, "freight"), (1, "")]
    assert cup == {"sku": "CUP", "inForce": None, "revisions": []}


async def test_what_is_wrong_is_named_and_spoils_no_other_layer(house: House) -> None:
    mixed = await told(house, MUG | {"extra": "1"}, MUG | {"amount": "3"})
    assert [one and one["revision"] for one in mixed["costs"]] == [None, 1]
    (problem,) = mixed["userErrors"]
    assert problem["field"] == ["input", "costs", "0"]
    assert "say what a unit was bought for" in problem["message"]
    wrong = await told(house, MUG | {"amount": "3", "currency": None}, MUG | {"amount": "3", "sku": " "})
    assert wrong["costs"] == []
    assert [one["field"] for one in wrong["userErrors"]] == [
        ["input", "costs", "0", "currency"],
        ["input", "costs", "1", "sku"],
    ]
    assert (await told(house))["userErrors"][0]["field"] == ["input", "costs"]


async def test_what_a_price_is_made_of_stands_there_with_its_age(house: House, store: Store) -> None:
    (mug,) = await sold(store, SHOP, {"MUG": Price(usd("20"))}, sku=Sku("MUG"))
    at = datetime(2026, 11, 1, tzinfo=UTC)
    async with store.begin() as tx:
        await market.keep_featured(tx, [(mug.id, OfferPrice(usd("18.99"), usd("2")), "A1", False)], at)
        await market.keep_expected(tx, [(mug.id, usd("18.50"), "VALID_FOEP")], at)
        await price_due.note(tx, [Repriced(mug.id, at, Became.NONE, "Its cost is lacking.")])
    await told(house, MUG | {"amount": "4.20"})
    data, errors, _ = await ask(house.shelf, INPUTS, ADMIN, skus=["MUG"])
    assert errors == []
    assert data["priceInputs"] == [
        {
            "listing": {"channelSku": "MUG", "price": {"amount": "20"}},
            "cost": {
                "amount": {"amount": "4.20", "currency": "USD"},
                "source": "unit cost from 2026-01-01, revision 1, without freight and duty",
            },
            "fees": [],
            "featured": {
                "price": {"amount": "18.99"},
                "shipping": {"amount": "2"},
                "mine": False,
                "asOf": "2026-11-01T00:00:00Z",
            },
            "expected": {"amount": {"amount": "18.50"}},
            "available": None,
            "coverDays": None,
            "lastRepricing": {"result": "NONE", "words": "Its cost is lacking."},
        }
    ]
    _, errors, _ = await ask(house.shelf, INPUTS, ADMIN, skus=[])
    assert "1 to 100 SKUs" in str(errors[0])

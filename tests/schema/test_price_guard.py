"""Guards of prices, as clients read and keep them."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from resolvers.shelf import Shelf
from schema.scopes import SCOPES
from store.session import Store
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask

READ = """{ priceGuards { version madeBy madeAt
    guards { name kind action sku channelId exceptSkus amount margin fees up down step share rows }
    radius { share rows watch } approval { rows row { currency amount } total { amount } channelIds } } }"""
SET = """mutation($input: SetPriceGuardsInput!) { setPriceGuards(input: $input) {
    priceGuards { version madeBy guards { name kind action channelId currency amount margin }
        radius { share rows watch } approval { rows row { currency amount } channelIds } }
    userErrors { code field message } } }"""
FLOOR: dict[str, Any] = {"name": "cost and 15 %", "kind": "FLOOR", "margin": "15", "fees": True}
MAP: dict[str, Any] = {"name": "map", "kind": "MAP", "amount": "19.90", "currency": "EUR", "channelId": "Channel:shop"}


@pytest.fixture
def shelf(store: Store, redis: Redis) -> Shelf:
    return House(store, redis).shelf


async def kept(shelf: Shelf, **input: Any) -> Any:
    data, errors, _ = await ask(shelf, SET, input=input)
    assert errors == []
    return data["setPriceGuards"]


async def test_the_usual_guards_hold_while_nobody_has_kept_any(shelf: Shelf) -> None:
    data, errors, _ = await ask(shelf, READ)
    assert errors == []
    found = data["priceGuards"]
    assert (found["version"], found["madeBy"], found["madeAt"]) == (0, "", None)
    assert [(one["kind"], one["action"]) for one in found["guards"]] == [
        ("FLOOR", "REFUSE"),
        ("SHIFT", "REFUSE"),
        ("STEP", "HOLD"),
        ("DAY", "HOLD"),
        ("UNKNOWN", "HOLD"),
        ("STOP_LOSS", "HOLD"),
    ]
    assert (found["guards"][0]["margin"], found["guards"][2]["down"]) == ("0", "30")
    assert found["radius"] == {"share": "5", "rows": 50, "watch": "PT30M"}
    assert found["approval"] == {"rows": None, "row": [], "total": [], "channelIds": []}


async def test_a_set_is_kept_whole_by_version_and_the_one_before_stays_readable(shelf: Shelf) -> None:
    first = await kept(
        shelf,
        version=0,
        guards=[FLOOR, MAP],
        radius={"rows": 10},
        approval={"row": [{"currency": "EUR", "amount": "50"}], "channelIds": ["Channel:shop"]},
    )
    assert first == {
        "priceGuards": {
            "version": 1,
            "madeBy": "admin",
            "guards": [
                {
                    "name": "cost and 15 %",
                    "kind": "FLOOR",
                    "action": "REFUSE",
                    "channelId": None,
                    "currency": None,
                    "amount": None,
                    "margin": "15",
                },
                {
                    "name": "map",
                    "kind": "MAP",
                    "action": "REFUSE",
                    "channelId": "Channel:shop",
                    "currency": "EUR",
                    "amount": "19.90",
                    "margin": None,
                },
            ],
            "radius": {"share": "5", "rows": 10, "watch": "PT30M"},
            "approval": {
                "rows": None,
                "row": [{"currency": "EUR", "amount": "50"}],
                "channelIds": ["Channel:shop"],
            },
        },
        "userErrors": [],
    }
    second = await kept(shelf, version=1, guards=[FLOOR])
    assert second["priceGuards"]["version"] == 2
    again = await kept(shelf, version=2, guards=[FLOOR])
    assert again["priceGuards"]["version"] == 2
    data, _, _ = await ask(shelf, "{ priceGuards { version } priceGuardVersions { version guards { name } } }")
    assert data["priceGuards"] == {"version": 2}
    assert [(one["version"], len(one["guards"])) for one in data["priceGuardVersions"]] == [(2, 1), (1, 2)]


async def test_of_two_who_have_read_the_same_version_the_second_is_told(shelf: Shelf) -> None:
    await kept(shelf, version=0, guards=[FLOOR])
    late = await kept(shelf, version=0, guards=[])
    assert late["priceGuards"] is None
    assert [(one["code"], one["field"]) for one in late["userErrors"]] == [("CONFLICT", ["input", "version"])]
    data, _, _ = await ask(shelf, "{ priceGuards { guards { name } } }")
    assert data["priceGuards"]["guards"] == [{"name": "cost and 15 %"}]


@pytest.mark.parametrize(
    ("input", "field"),
    [
        ({"guards": [FLOOR, {"name": "step", "kind": "STEP"}]}, ["guards", "1", "up"]),
        ({"guards": [MAP | {"channelId": "Channel:nowhere"}]}, ["guards", "0", "channelId"]),
        ({"guards": [MAP | {"channelId": "Order:1"}]}, ["guards", "0", "channelId"]),
        ({"guards": [], "radius": {"canaryShare": "101"}}, ["radius", "canaryShare"]),
        ({"guards": [], "approval": {"row": [{"currency": "EUR", "amount": "-1"}]}}, ["approval", "row"]),
        ({"guards": [], "approval": {"channelIds": ["Order:1"]}}, ["approval", "channelIds", "0"]),
        ({"guards": [], "approval": {"channelIds": ["Channel:shop", "Channel:no"]}}, ["approval", "channelIds", "1"]),
        (
            {"guards": [], "approval": {"row": [{"currency": "EUR", "amount": "1"}] * 2}},
            ["approval", "row", "1", "currency"],
        ),
    ],
)
async def test_what_means_nothing_is_refused_by_its_path(shelf: Shelf, input: dict[str, Any], field: list[str]) -> None:
    refused = await kept(shelf, version=0, **input)
    assert refused["priceGuards"] is None
    assert [one["field"] for one in refused["userErrors"]] == [["input", *field]]
    data, _, _ = await ask(shelf, "{ priceGuards { version } }")
    assert data["priceGuards"] == {"version": 0}


def test_who_may_only_write_prices_does_not_loosen_what_holds_them() -> None:
    assert SCOPES["Mutation.setPriceGuards"] == {"operations:approve", "admin"}
    assert "prices:write" in SCOPES["Query.priceGuards"]

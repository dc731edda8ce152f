"""Listings that are kept are put into the house's words, and words that nobody knows wait for a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from adapters.port import Page
from domain.ids import ChannelId, Sku
from domain.mapping import FieldMap, FieldRule, TaskState
from domain.product import Attribute
from resolvers.context import Caller
from resolvers.shelf import Shelf
from schema.scopes import SCOPES
from store import mapping, product
from store.session import Store
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.workers.fake_port import FakePort, make_listing, make_port
from tests.workers.house import make_deps
from workers.deps import Deps
from workers.streams import keep_listings

SHOP = ChannelId("shop")
MERCHANDISER = Caller("merchandiser", frozenset({"catalog:read", "catalog:write"}))
TASKS = """query($state: MappingTaskState) { mappingTasks(state: $state) { totalCount nodes {
  id field raw reason channelSku state value everywhere answeredBy channel { id } } } }"""
ANSWER = """mutation($input: AnswerMappingTaskInput!) { answerMappingTask(input: $input) {
  changedProducts task { state value everywhere answeredBy } userErrors { code message field } } }"""
IGNORE = """mutation($id: ID!) { ignoreMappingTask(id: $id) {
  task { state value } userErrors { code message field } } }"""
PRODUCT = "query($sku: String!) { product(sku: $sku) { attributes { name value raw understood } } }"


@pytest.fixture
def port() -> FakePort:
    return make_port()


@pytest.fixture
def deps(store: Store, redis: Redis, port: FakePort) -> Deps:
    rules = {(SHOP, "gewicht"): FieldRule("weight", "g")}
    return make_deps(store, redis, [port], field_map=FieldMap(rules))


@pytest.fixture
def shelf(store: Store, redis: Redis) -> Shelf:
    return House(store, redis).shelf


async def keep(deps: Deps, port: FakePort, sku: str, *attributes: tuple[str, str]) -> None:
    listing = make_listing(port, sku)
    listing.attributes = [Attribute(name, raw, raw) for name, raw in attributes]
    await keep_listings(deps, port.channel.id, Page([listing]), datetime.now(UTC))


async def told(shelf: Shelf, query: str, caller: Caller = MERCHANDISER, **variables: Any) -> Any:
    found, errors, _ = await ask(shelf, query, caller=caller, **variables)
    assert errors == []
    return found


async def attributes(shelf: Shelf, sku: str) -> list[tuple[str, str, str, bool]]:
    found = (await told(shelf, PRODUCT, sku=sku))["product"]["attributes"]
    return [(one["name"], one["value"], one["raw"], one["understood"]) for one in found]


async def test_words_of_three_languages_become_one_and_a_strange_one_a_task(
    deps: Deps, port: FakePort, shelf: Shelf
) -> None:
    await keep(deps, port, "A", ("Farbe", "marineblau"), ("Größe", "XXL"), ("Gewicht", "180"), ("tag", "Sale"))
    await keep(deps, port, "B", ("color", "ネイビー"))
    await keep(deps, port, "C", ("Farbe", "Nachtviole"))
    await keep(deps, port, "D", ("Farbe", "NACHTVIOLE"))
    assert await attributes(shelf, "A") == [
        ("color", "navy", "marineblau", True),
        ("size", "2XL", "XXL", True),
        ("weight", "180 g", "180", True),
        ("tag", "Sale", "Sale", True),
    ]
    assert await attributes(shelf, "B") == [("color", "navy", "ネイビー", True)]
    assert await attributes(shelf, "C") == [("color", "Nachtviole", "Nachtviole", False)]
    found = (await told(shelf, TASKS))["mappingTasks"]
    assert found["totalCount"] == 1
    (task,) = found["nodes"]
    assert task == {
        "id": task["id"],
        "field": "color",
        "raw": "Nachtviole",
        "reason": "No dictionary knows this color.",
        "channelSku": "C",
        "state": "OPEN",
        "value": None,
        "everywhere": False,
        "answeredBy": None,
        "channel": {"id": "Channel:shop"},
    }


async def test_an_answer_reaches_the_products_that_are_there_and_those_that_come(
    deps: Deps, port: FakePort, shelf: Shelf
) -> None:
    for sku, raw in (("A", "Nachtviole"), ("B", "NACHTVIOLE"), ("C", "navy")):
        await keep(deps, port, sku, ("Farbe", raw), ("Größe", "M"))
    (task,) = (await told(shelf, TASKS))["mappingTasks"]["nodes"]
    refused = (await told(shelf, ANSWER, input={"id": task["id"], "value": "Nachtviole"}))["answerMappingTask"]
    assert refused["userErrors"][0]["field"] == ["input", "value"]
    assert "is no color of ours" in refused["userErrors"][0]["message"]
    answered = (await told(shelf, ANSWER, input={"id": task["id"], "value": "Purple"}))["answerMappingTask"]
    assert answered == {
        "changedProducts": 2,
        "task": {"state": "ANSWERED", "value": "purple", "everywhere": False, "answeredBy": "merchandiser"},
        "userErrors": [],
    }
    assert await attributes(shelf, "A") == [
        ("color", "purple", "Nachtviole", True),
        ("size", "M", "M", True),
    ]
    assert (await attributes(shelf, "B"))[0] == ("color", "purple", "NACHTVIOLE", True)
    assert (await attributes(shelf, "C"))[0] == ("color", "navy", "navy", True)
    await keep(deps, port, "D", ("Farbe", "nachtviole"))
    assert await attributes(shelf, "D") == [("color", "purple", "nachtviole", True)]
    assert (await told(shelf, TASKS))["mappingTasks"]["totalCount"] == 0
    # Somebody was wrong: another answer takes the place of the first everywhere.
    again = {"id": task["id"], "value": "aubergine", "newWord": True}
    assert (await told(shelf, ANSWER, input=again))["answerMappingTask"]["changedProducts"] == 3
    assert await attributes(shelf, "D") == [("color", "aubergine", "nachtviole", True)]
    assert (await attributes(shelf, "C"))[0] == ("color", "navy", "navy", True)


async def test_an_answer_is_one_channels_unless_it_is_said_to_hold_everywhere(
    store: Store, redis: Redis, shelf: Shelf
) -> None:
    shop, other = make_port(), make_port("shop-2")
    deps = make_deps(store, redis, [shop, other])
    await keep(deps, shop, "A", ("color", "Marsala"), ("finish", "x"))
    await keep(deps, other, "B", ("color", "Marsala"))
    await keep(deps, shop, "C", ("color", "Greige"))
    await keep(deps, other, "D", ("color", "Greige"))
    tasks = (await told(shelf, TASKS))["mappingTasks"]["nodes"]
    mine = {one["raw"]: one["id"] for one in tasks if one["channel"] and one["channel"]["id"] == "Channel:shop"}
    assert len(tasks) == 4
    await told(shelf, ANSWER, input={"id": mine["Marsala"], "value": "burgundy"})
    assert [(await attributes(shelf, sku))[0][1] for sku in "AB"] == ["burgundy", "Marsala"]
    await told(shelf, ANSWER, input={"id": mine["Greige"], "value": "beige", "everywhere": True})
    assert [(await attributes(shelf, sku))[0][1] for sku in "CD"] == ["beige", "beige"]
    left = (await told(shelf, TASKS))["mappingTasks"]["nodes"]
    assert [one["raw"] for one in left] == ["Marsala"]
    third = make_port("shop-3")
    await keep(make_deps(store, redis, [third]), third, "E", ("color", "GREIGE"), ("colour", "Marsala"))
    assert [one[1] for one in await attributes(shelf, "E")] == ["beige", "Marsala"]


async def test_what_a_channel_says_of_its_own_word_goes_before_what_holds_everywhere(
    store: Store, redis: Redis, shelf: Shelf
) -> None:
    ports = [make_port(id) for id in ("shop", "shop-2", "shop-3", "shop-4")]
    deps = make_deps(store, redis, ports)
    for port, sku in zip(ports, "ABCD", strict=True):
        await keep(deps, port, sku, ("color", "Marsala"))
    tasks = (await told(shelf, TASKS))["mappingTasks"]["nodes"]
    first, second, third, _ = (one["id"] for one in reversed(tasks))
    await told(shelf, ANSWER, input={"id": second, "value": "red"})
    await told(shelf, IGNORE, id=third)
    for value, changed in (("burgundy", 2), ("purple", 2)):
        said = await told(shelf, ANSWER, input={"id": first, "value": value, "everywhere": True})
        assert said["answerMappingTask"]["changedProducts"] == changed
        wanted = [value, "red", "Marsala", value]
        assert [(await attributes(shelf, sku))[0][1] for sku in "ABCD"] == wanted
        # What comes later is understood as what is there.
        for port, sku in zip(ports, "EFGH", strict=True):
            await keep(deps, port, sku + value, ("color", "Marsala"))
        assert [(await attributes(shelf, sku + value))[0][1] for sku in "EFGH"] == wanted
        for port, sku in zip(ports, "EFGH", strict=True):
            await keep(deps, port, sku + value, ("color", "white"))


async def test_what_is_ignored_stays_as_it_is_and_asks_nobody_again(deps: Deps, port: FakePort, shelf: Shelf) -> None:
    await keep(deps, port, "A", ("color", "Nachtviole"))
    (task,) = (await told(shelf, TASKS))["mappingTasks"]["nodes"]
    assert (await told(shelf, IGNORE, id=task["id"]))["ignoreMappingTask"]["task"] == {
        "state": "IGNORED",
        "value": None,
    }
    await keep(deps, port, "B", ("color", "Nachtviole"))
    assert (await told(shelf, TASKS))["mappingTasks"]["totalCount"] == 0
    assert await attributes(shelf, "B") == [("color", "Nachtviole", "Nachtviole", False)]
    # And it may still be answered.
    assert (await told(shelf, ANSWER, input={"id": task["id"], "value": "purple"}))["answerMappingTask"][
        "changedProducts"
    ] == 2
    refused = (await told(shelf, IGNORE, id=task["id"]))["ignoreMappingTask"]["userErrors"]
    assert [one["code"] for one in refused] == ["INVALID"]


@pytest.mark.parametrize(
    "id", ["MappingTask:77", "MappingTask:x", "Order:1", "MappingTask:" + "9" * 30, "MappingTask:²"]
)
async def test_a_task_that_is_none_is_told_so(shelf: Shelf, id: str) -> None:
    for answer in (
        (await told(shelf, ANSWER, input={"id": id, "value": "navy"}))["answerMappingTask"],
        (await told(shelf, IGNORE, id=id))["ignoreMappingTask"],
    ):
        assert [one["code"] for one in answer["userErrors"]] == ["NOT_FOUND"]


async def test_a_measure_is_answered_for_one_channel(deps: Deps, port: FakePort, shelf: Shelf) -> None:
    await keep(deps, port, "A", ("Gewicht", "1.500"))
    (task,) = (await told(shelf, TASKS))["mappingTasks"]["nodes"]
    everywhere = {"id": task["id"], "value": "1.5 kg", "everywhere": True}
    assert (await told(shelf, ANSWER, input=everywhere))["answerMappingTask"]["userErrors"][0]["code"] == "INVALID"
    await told(shelf, ANSWER, input={"id": task["id"], "value": "1.5 kg"})
    assert await attributes(shelf, "A") == [("weight", "1500 g", "1.500", True)]


def test_who_only_reads_may_not_answer() -> None:
    reader = Caller("reader", frozenset({"catalog:read"}))
    for field, allowed in (
        ("Query.product", True),
        ("Query.mappingTasks", False),
        ("Mutation.answerMappingTask", False),
    ):
        assert reader.scopes.isdisjoint(SCOPES[field]) is not allowed


async def test_wild_text_opens_a_task_and_breaks_nothing(store: Store, deps: Deps, port: FakePort) -> None:
    wild = "\x00 ✎" + "鉛" * 3000
    await keep(deps, port, "A", ("color", wild), ("color", wild + "!"))
    await keep(deps, port, "B", ("weight", "1 " + wild))
    async with store.begin() as tx:
        (measured, *tasks), _ = await mapping.page(tx, first=10, after=None, channel=SHOP, state=TaskState.OPEN)
        found = await product.by_skus(tx, [Sku("A")])
        # The row of a task is bounded; both begin alike, so one task stands for both.
        said = await mapping.answer(tx, tasks[0], "grey", "somebody", everywhere=False)
    assert len(measured.reason) <= 400
    assert len(tasks) == 1
    assert replace(said, state=TaskState.OPEN).raw == tasks[0].raw
    assert not any(one.understood for one in found[Sku("A")].attributes)

"""Bulk operations: found again when their start is lost or their process died, read as a stream, put together in any order."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.budget import Budgets
from adapters.shopify import bulk, bulk_query
from adapters.shopify.bulk_mutation import run_mutation
from adapters.shopify.bulk_query import BulkQuery, Load, cheaper, families, loaded
from adapters.shopify.catalog import LONG as LONG_LISTINGS
from adapters.shopify.client import Reply, ShopClient
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.document import Document
from adapters.shopify.documents import ITEMS, VARIANTS_COUNT
from adapters.shopify.inventory import ALL
from adapters.shopify.paging import Batch, by_id
from adapters.shopify.platform import ShopifyPort
from adapters.tokens import TokenStore
from adapters.transport import Transport
from adapters.wire import read
from domain.budget import Ask, Priority
from domain.errors import Invalid, OutcomeUnknown, Throttled, Transient
from domain.product import Listing
from domain.route import Way, Wish, choose
from domain.stock import Reading
from tests.adapters.shopify.bench import CHANNEL, LONG_AGO, Sandbox

USUAL: dict[str, Any] = {
    "createdSeconds": 0, "runSeconds": 0.02, "objectSeconds": 0, "places": 5, "shuffle": False, "omit": 0, "endings": [],
}  # fmt: skip

# Few fields of many rows, where it is the course of an operation that matters and not what it tells.
BARE = Load(ITEMS, by_id(()), BulkQuery("Bare", "productVariants { edges { node { id } } }"))

# No price is set twice.
NEW_PRICE = itertools.count(1000)

PRICES = Document(
    "BulkPrices",
    "productVariantsBulkUpdate",
    10,
    """mutation BulkPrices($productId: ID!, $variants: [ProductVariantsBulkInput!]!) {
  productVariantsBulkUpdate(productId: $productId, variants: $variants) { userErrors { code field message } }
}""",
    write=True,
)


@pytest.fixture
async def client(sandbox: Sandbox, tokens: TokenStore, budgets: Budgets) -> AsyncIterator[ShopClient]:
    """A shop with a full bucket whose operations take a moment."""
    await sandbox.faults()
    await sandbox.post("plans", maximumAvailable=2000, restoreRate=100)
    await sandbox.post("bulk", **USUAL)
    transport = Transport()
    config = ShopifyConfig(CHANNEL, "acorn.myshopify.com", access_token="shpat_sandbox", endpoint=sandbox.url)
    yield ShopClient(config, transport, tokens, budgets)
    await transport.close()
    await sandbox.faults()
    await sandbox.post("bulk", **USUAL)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks does so again at once, for the operations here take no time."""
    monkeypatch.setattr(bulk, "LOOKS_S", (0.0, 0.05))
    monkeypatch.setattr(bulk, "PAUSES_S", (0.02, 0.05))


async def rows_of(batches: AsyncIterator[Batch]) -> list[Any]:
    return [row async for batch in batches for row in batch.rows]


def plain(rows: Sequence[Any]) -> dict[str, Any]:
    """Items by id: SKU, and units by place and name, whatever their order."""
    return {
        row["id"]: (
            row["sku"],
            {
                level["location"]["id"]: {one["name"]: one["quantity"] for one in level["quantities"]}
                for level in row["inventoryLevels"]["nodes"]
            },
        )
        for row in rows
    }


async def test_a_bulk_query_tells_what_the_pages_tell_in_whatever_order_its_lines_come(
    sandbox: Sandbox, client: ShopClient
) -> None:
    walked = await rows_of(loaded(client, ALL, Way.PAGES, Ask()))
    for shuffle in (False, True):
        await sandbox.post("bulk", shuffle=shuffle)
        journal = await sandbox.journal()
        made = await rows_of(loaded(client, ALL, Way.BULK, Ask()))
        assert plain(made) == plain(walked)
        assert len(made) == len(walked) == 600
        calls = Counter(await journal.calls())
        assert (calls["bulkOperationRunQuery"], calls["download"], calls["inventoryItems"]) == (1, 1, 0)


async def test_what_it_costs_is_a_start_a_search_and_a_point_per_look(sandbox: Sandbox, client: ShopClient) -> None:
    ask = Ask()
    await rows_of(loaded(client, BARE, Way.BULK, ask))
    points = {name: line.tokens for (_, name), line in ask.bill.lines.items()}
    looks = ask.bill.line(CHANNEL.id, "bulkOperation")
    assert points["bulkOperationRunQuery"] == 10
    assert looks.tokens == looks.calls
    assert points["download"] == 0


async def test_an_operation_that_a_dead_process_left_running_is_taken_over(
    sandbox: Sandbox, client: ShopClient
) -> None:
    await sandbox.post("bulk", createdSeconds=600)
    dead = asyncio.create_task(rows_of(loaded(client, BARE, Way.BULK, Ask())))
    while not await sandbox_operations(sandbox, "CREATED"):
        await asyncio.sleep(0.02)
    dead.cancel()
    await asyncio.gather(dead, return_exceptions=True)
    (left,) = await sandbox_operations(sandbox, "CREATED")
    heir = asyncio.create_task(batches_of(loaded(client, BARE, Way.BULK, Ask())))
    journal = await sandbox.journal()
    while "bulkOperation" not in await journal.calls():
        await asyncio.sleep(0.02)
    await sandbox.post("clock", advance=601)
    batches = await heir
    assert {batch.request_id for batch in batches} == {left}
    assert "bulkOperationRunQuery" not in await journal.calls()
    assert len([row for batch in batches for row in batch.rows]) == 600


async def test_one_that_asks_something_else_is_left_alone(sandbox: Sandbox, client: ShopClient) -> None:
    other = BulkQuery("AcornStock", "inventoryItems { edges { node { id } } }")
    await sandbox.post("bulk", createdSeconds=600)
    await bulk.start(client, bulk_query.BULK_RUN_QUERY, {"query": other.text}, other.tag, Ask())
    assert await bulk.under_way(client, ALL.query.tag, Ask()) is None
    assert await bulk.under_way(client, other.tag, Ask()) is not None


@pytest.mark.parametrize("kind", ["apply_then_status", "apply_then_reset"])
async def test_a_start_whose_answer_was_lost_is_found(sandbox: Sandbox, client: ShopClient, kind: str) -> None:
    await sandbox.faults({"operation": "bulkOperationRunQuery", "kind": kind, "status": 502, "count": 1})
    journal = await sandbox.journal()
    assert len(await rows_of(loaded(client, BARE, Way.BULK, Ask()))) == 600
    calls = Counter(await journal.calls())
    assert (calls["bulkOperationRunQuery"], calls["inventoryItems"]) == (1, 0)


async def test_what_is_found_in_place_of_a_lost_start_is_as_old_as_it_is(sandbox: Sandbox, client: ShopClient) -> None:
    """An operation of somebody else's that asked the same, and had ended before."""
    load = replace(BARE, query=replace(BARE.query, name="Twice"))
    earlier = await begun(client, load.query)
    await sandbox.post("clock", advance=60)
    await sandbox.faults({"operation": "bulkOperationRunQuery", "kind": "status", "status": 502, "count": 1})
    batches = await batches_of(loaded(client, load, Way.BULK, Ask()))
    assert {batch.request_id for batch in batches} == {earlier.id}
    assert all(batch.as_of <= earlier.created_at for batch in batches)


async def test_who_finds_all_five_places_taken_waits_for_one(sandbox: Sandbox, client: ShopClient) -> None:
    await sandbox.post("bulk", createdSeconds=600)
    for number in range(5):
        query = BulkQuery(f"Other{number}", "products { edges { node { id } } }")
        await bulk.start(client, bulk_query.BULK_RUN_QUERY, {"query": query.text}, query.tag, Ask())
    journal = await sandbox.journal()
    sixth = asyncio.create_task(rows_of(loaded(client, BARE, Way.BULK, Ask())))
    while "bulkOperationRunQuery" not in await journal.calls():
        await asyncio.sleep(0.02)
    assert not sixth.done()
    await sandbox.post("bulk", createdSeconds=0)
    assert len(await sixth) == 600


async def test_no_place_before_the_deadline_is_throttled(sandbox: Sandbox, client: ShopClient) -> None:
    await sandbox.post("bulk", places=0)
    ask = Ask(deadline=asyncio.get_running_loop().time() + 1.0)
    with pytest.raises(Throttled):
        await bulk.start(client, bulk_query.BULK_RUN_QUERY, {"query": ALL.query.text}, ALL.query.tag, ask)


async def test_where_an_operation_fails_the_pages_are_walked_through(sandbox: Sandbox, client: ShopClient) -> None:
    await sandbox.post("bulk", endings=[{"errorCode": "INTERNAL_SERVER_ERROR", "share": 0.7}])
    rows = await rows_of(loaded(client, ALL, Way.BULK, Ask()))
    # None of half a family: a level that is missing would have passed for no stock.
    assert len(rows) == len(plain(rows)) == 600
    assert {len(units) for _, units in plain(rows).values()} == {len(sandbox.locations)}


@pytest.mark.parametrize("status", ["CANCELED", "EXPIRED"])
async def test_one_that_was_canceled_or_expired_is_no_answer(sandbox: Sandbox, client: ShopClient, status: str) -> None:
    await sandbox.post("bulk", endings=[{"status": status}])
    operation = await begun(client, BARE.query)
    with pytest.raises(Transient, match=status):
        [row async for row in bulk.rows(client, operation, Ask())]


async def test_rows_without_children_that_a_failed_one_left_are_told(sandbox: Sandbox, client: ShopClient) -> None:
    query = BulkQuery("Part", "productVariants { edges { node { id } } }")
    await sandbox.post("bulk", endings=[{"errorCode": "TIMEOUT", "share": 0.5}])
    operation = await begun(client, query)
    told: list[Any] = []

    async def read() -> None:
        async for row in bulk.rows(client, operation, Ask()):
            told.append(row)

    with pytest.raises(Transient, match="TIMEOUT"):
        await read()
    assert len(told) == 300


async def test_an_empty_result_is_empty(client: ShopClient) -> None:
    query = BulkQuery("Nothing", 'productVariants(query: "sku:NONE") { edges { node { id } } }')
    assert [row async for row in bulk.rows(client, await begun(client, query), Ask())] == []


async def test_a_file_that_breaks_off_is_read_on_and_a_dead_address_asked_for_anew(
    sandbox: Sandbox, client: ShopClient
) -> None:
    query = BulkQuery("Cut", "productVariants { edges { node { id } } }")
    operation = await begun(client, query)
    await sandbox.post("bulk", forgetAddresses=True)
    await sandbox.faults({"operation": "download", "kind": "truncate", "count": 1})
    rows = [row["id"] async for row in bulk.rows(client, operation, Ask())]
    assert len(rows) == len(set(rows)) == 600


async def test_a_file_is_read_line_by_line_before_its_end_has_come(client: ShopClient) -> None:
    """So that its size does not matter: the sender waits for the reader."""
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for number in range(10_000):
            sent += 1
            yield orjson.dumps({"id": f"gid://shopify/Product/{number}", "title": "x" * 500}) + b"\n"

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body())

    transport = Transport(wire=httpx.MockTransport(answer))
    reader = ShopClient(client.config, transport, None, client.budgets)  # type: ignore[arg-type]  # no token is needed
    rows = bulk.rows(reader, operation_of("http://files.test/1"), Ask())
    first = await anext(rows)
    assert first["id"] == "gid://shopify/Product/0"
    assert sent < 10_000
    assert sum([1 async for _ in rows]) == 9_999
    await transport.close()


# Which way


@pytest.mark.parametrize(
    ("rate", "known", "way"),
    [(1000.0, 600, Way.PAGES), (100.0, 600, Way.PAGES), (100.0, 200_000, Way.BULK), (5000.0, 100_000, Way.PAGES)],
)
async def test_the_way_to_all_stock_depends_on_points_and_seconds(
    sandbox: Sandbox, port: ShopifyPort, budgets: Budgets, rate: float, known: int, way: Way
) -> None:
    await budgets.spend(CHANNEL.id, port.stock_plan, Ask())
    await budgets.adopt(CHANNEL.id, "graphql", rate=rate, burst=rate * 20)
    routes = await port.stock_routes(sandbox.locations, None, known)
    choice = choose(routes, await budgets.purses(CHANNEL.id, [port.stock_plan], Priority.BACKGROUND), Wish(whole=True))
    assert choice.taken.route.way is way
    assert {one.route.way for one in choice.others} | {way} == {Way.BATCH, Way.PAGES, Way.BULK}


async def test_what_an_operation_took_is_what_the_next_one_is_taken_to_take(
    sandbox: Sandbox, client: ShopClient, port: ShopifyPort
) -> None:
    before = await bulk_query.routes(client, BARE, 1_000_000)
    await rows_of(loaded(client, BARE, Way.BULK, Ask()))
    after = await bulk_query.routes(client, BARE, 1_000_000)
    assert before[1].age_s > 1000
    assert after[1].age_s < 60


async def test_stock_by_a_bulk_operation_is_the_stock_by_pages(
    sandbox: Sandbox, client: ShopClient, port: ShopifyPort
) -> None:
    async def told(way: Way) -> tuple[list[Reading], datetime | None]:
        pages = [page async for page in port.stock_pages(sandbox.locations, Ask(), way)]
        assert not any(page.rejected for page in pages)
        return [one for page in pages for one in page.items], pages[-1].until

    (walked, _), before = await told(Way.PAGES), datetime.now(UTC)
    made, until = await told(Way.BULK)

    def units(readings: list[Reading]) -> dict[Any, Any]:
        return {(one.location, one.channel_sku): (one.on_hand, one.reserved, one.inbound) for one in readings}

    assert units(made) == units(walked)
    assert until is not None
    assert before <= until <= min(one.as_of for one in made)


async def test_the_first_load_of_listings_and_orders_comes_by_the_cheaper_way(
    sandbox: Sandbox, client: ShopClient, port: ShopifyPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listings() -> list[Listing]:
        return [one async for page in port.listing_pages(None, Ask()) for one in page.items]

    async def orders() -> dict[str, Any]:
        pages = [page async for page in port.order_pages(LONG_AGO, Ask())]
        assert pages[-1].until is not None
        return {one.external_id: one for page in pages for one in page.items}

    walked, taken = await listings(), await orders()
    # A shop that gives hardly a point, and is quick with files.
    monkeypatch.setattr(bulk_query, "BEGIN_S", 0.0)
    monkeypatch.setattr(bulk_query, "OBJECTS_PER_S", 1e6)
    await sandbox.post("plans", maximumAvailable=2000, restoreRate=40, currentlyAvailable=40)
    await client.run(VARIANTS_COUNT, {}, Ask())
    journal = await sandbox.journal()
    made, given = await listings(), await orders()
    calls = Counter(await journal.calls())
    assert (calls["bulkOperationRunQuery"], calls["productVariants"], calls["orders"]) == (2, 0, 0)
    assert sorted(one.channel_sku for one in made) == sorted(one.channel_sku for one in walked)
    assert {one.external_id: one.price for one in made} == {one.external_id: one.price for one in walked}
    assert given == taken


async def test_a_short_increment_is_walked_without_counting(sandbox: Sandbox, port: ShopifyPort) -> None:
    journal = await sandbox.journal()
    since = datetime.now(UTC) - LONG_LISTINGS + timedelta(hours=1)
    async for _ in port.listing_pages(since, Ask()):
        pass
    assert "productVariantsCount" not in await journal.calls()
    assert "productVariants" in await journal.calls()


async def test_the_count_is_of_what_the_search_takes(sandbox: Sandbox, client: ShopClient) -> None:
    load = Load(ITEMS, by_id(()), ALL.query)
    assert await cheaper(client, load, VARIANTS_COUNT, "sku:'NONE'", Ask()) is Way.PAGES


# Putting families together


@st.composite
def files(draw: st.DrawFn) -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """Parents with their children, and the lines of a file of them in any order."""
    counts = draw(st.lists(st.integers(0, 4), max_size=12))
    wanted = {
        f"gid://shopify/Order/{n}": [f"gid://shopify/LineItem/{n}{m}" for m in range(count)]
        for n, count in enumerate(counts)
    }
    lines: list[dict[str, Any]] = [{"id": gid} for gid in wanted]
    lines += [{"id": child, "__parentId": gid} for gid, children in wanted.items() for child in children]
    return wanted, draw(st.permutations(lines))


async def given_lines(lines: Sequence[Mapping[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    for line in lines:
        yield dict(line)


KIN = {"Order": {"LineItem": "lineItems"}}


@given(files())
def test_families_are_whole_in_whatever_order_their_lines_come(
    made: tuple[dict[str, list[str]], list[dict[str, Any]]],
) -> None:
    wanted, lines = made

    async def found() -> list[Any]:
        return [row async for batch in families(given_lines(lines), KIN) for row in batch]

    rows = asyncio.run(found())
    assert {row["id"]: {one["id"] for one in row["lineItems"]["nodes"]} for row in rows} == {
        gid: set(children) for gid, children in wanted.items()
    }
    assert [row["id"] for row in rows] == [line["id"] for line in lines if "__parentId" not in line]


async def test_a_line_that_belongs_to_nothing_we_know_is_told_for_itself() -> None:
    lines = [
        {"id": "gid://shopify/Order/1"},
        {"id": "gid://shopify/LineItem/1", "__parentId": "gid://shopify/Order/2"},
        {"id": "gid://shopify/Refund/1", "__parentId": "gid://shopify/Order/1"},
        {"sku": "no id"},
    ]
    (rows,) = [batch async for batch in families(given_lines(lines), KIN)]
    assert [row.get("id", "none") for row in rows] == [
        "gid://shopify/Order/1", "gid://shopify/LineItem/1", "none", "gid://shopify/Refund/1",
    ]  # fmt: skip
    assert rows[0]["lineItems"]["nodes"] == []


async def test_many_families_come_in_batches() -> None:
    lines = [{"id": f"gid://shopify/Order/{n}"} for n in range(1201)]
    sizes = [len(batch) async for batch in families(given_lines(lines), KIN)]
    assert sizes == [250, 250, 250, 250, 201]


# Mutations


class Intent:
    """Counts how often the intent was made durable; refuses when told to."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.count = 0
        self.problem = problem

    async def __call__(self) -> None:
        self.count += 1
        if self.problem is not None:
            raise self.problem


async def prices(client: ShopClient, count: int) -> list[dict[str, Any]]:
    """So many rows, each a new price of one variant."""
    document = Document(
        "Some",
        "productVariants",
        46,
        f"query Some {{ productVariants(first: {count}) {{ nodes {{ id product {{ id }} }} }} }}",
    )
    nodes = (await client.run(document, {}, Ask())).data["productVariants"]["nodes"]
    return [
        {
            "productId": node["product"]["id"],
            "variants": [{"id": node["id"], "price": f"{next(NEW_PRICE)}.00"}],
        }
        for node in nodes
    ]


async def test_each_row_has_the_answer_that_its_own_call_would_have_had(sandbox: Sandbox, client: ShopClient) -> None:
    rows = await prices(client, 4)
    rows[1]["variants"][0]["price"] = "-1"
    del rows[2]["variants"]
    await sandbox.post("bulk", shuffle=True)
    journal, intent = await sandbox.journal(), Intent()
    good, refused, malformed, last = await run_mutation(client, PRICES, rows, Ask(), intent)
    assert isinstance(good, Reply)
    assert isinstance(last, Reply)
    assert isinstance(refused, Invalid)
    assert refused.field == ("variants", "0", "price")
    assert isinstance(malformed, Invalid)
    assert malformed.upstream_code == "INVALID_VARIABLE"
    assert intent.count == 1
    assert len(await journal.effects()) == 2


async def test_a_row_that_the_result_does_not_tell_of_is_unknown(sandbox: Sandbox, client: ShopClient) -> None:
    await sandbox.post("bulk", omit=1)
    lost, told = await run_mutation(client, PRICES, await prices(client, 2), Ask(), Intent())
    assert isinstance(lost, OutcomeUnknown)
    assert isinstance(told, Reply)


async def test_of_a_failed_one_the_rows_that_it_tells_are_known_and_the_others_are_not(
    sandbox: Sandbox, client: ShopClient
) -> None:
    await sandbox.post("bulk", endings=[{"errorCode": "INTERNAL_SERVER_ERROR", "share": 0.5}])
    outcomes = await run_mutation(client, PRICES, await prices(client, 4), Ask(), Intent())
    assert [type(one) for one in outcomes] == [Reply, Reply, OutcomeUnknown, OutcomeUnknown]


async def test_rows_that_fit_no_one_file_go_in_several(sandbox: Sandbox, client: ShopClient) -> None:
    rows = await prices(client, 5)
    longest = max(len(orjson.dumps(row)) for row in rows) + 1
    journal, intent = await sandbox.journal(), Intent()
    outcomes = await run_mutation(client, PRICES, rows, Ask(), intent, file_bytes=2 * longest)
    assert [type(one) for one in outcomes] == [Reply] * 5
    assert Counter(await journal.calls())["bulkOperationRunMutation"] == intent.count == 3
    assert len(await journal.effects()) == 5
    rows[4]["variants"] *= 9
    with pytest.raises(Invalid, match="One row alone"):
        await run_mutation(client, PRICES, rows, Ask(), intent, file_bytes=2 * longest)
    assert intent.count == 3


async def test_a_lost_start_is_found_and_not_repeated(sandbox: Sandbox, client: ShopClient) -> None:
    rows, journal = await prices(client, 3), await sandbox.journal()
    await sandbox.faults({"operation": "bulkOperationRunMutation", "kind": "apply_then_reset", "count": 1})
    outcomes = await run_mutation(client, PRICES, rows, Ask(), Intent())
    assert [type(one) for one in outcomes] == [Reply] * 3
    assert Counter(await journal.calls())["bulkOperationRunMutation"] == 1
    assert len(await journal.effects()) == 3


async def test_a_lost_start_that_is_not_found_leaves_every_row_unknown(sandbox: Sandbox, client: ShopClient) -> None:
    rows, journal = await prices(client, 2), await sandbox.journal()
    await sandbox.faults({"operation": "bulkOperationRunMutation", "kind": "status", "status": 502, "count": 1})
    outcomes = await run_mutation(client, PRICES, rows, Ask(), Intent())
    assert [type(one) for one in outcomes] == [OutcomeUnknown] * 2
    assert await journal.effects() == []


@pytest.mark.parametrize("operation", ["stagedUploadsCreate", "upload"])
async def test_before_the_start_nothing_has_changed_whatever_is_lost(
    sandbox: Sandbox, client: ShopClient, operation: str
) -> None:
    rows, intent = await prices(client, 2), Intent()
    await sandbox.faults({"operation": operation, "kind": "apply_then_status", "status": 503, "count": 1})
    with pytest.raises(Transient):
        await run_mutation(client, PRICES, rows, Ask(), intent)
    assert intent.count == 0


async def test_nothing_starts_when_the_intent_cannot_be_kept(sandbox: Sandbox, client: ShopClient) -> None:
    rows, journal = await prices(client, 2), await sandbox.journal()
    with pytest.raises(LookupError):
        await run_mutation(client, PRICES, rows, Ask(), Intent(LookupError()))
    assert "bulkOperationRunMutation" not in await journal.calls()


async def test_a_mutation_that_the_platform_does_not_take_is_refused_as_a_whole(client: ShopClient) -> None:
    wrong = Document("Wrong", "wrong", 10, "mutation Wrong { wrong { id } }", write=True)
    with pytest.raises(Invalid) as caught:
        await run_mutation(client, wrong, [{}], Ask(), Intent())
    assert caught.value.upstream_code == "INVALID_MUTATION"


FILE = "http://files.test/1"
BEGUN = {
    "id": "gid://shopify/BulkOperation/1", "status": "CREATED", "errorCode": None, "createdAt": "2026-11-20T08:00:00Z",
    "completedAt": None, "objectCount": "0", "url": None, "partialDataUrl": None,
}  # fmt: skip


def start_answer(operation: Any) -> dict[str, Any]:
    return {"bulkOperationRunMutation": {"bulkOperation": operation, "userErrors": []}}


Lines = Sequence[bytes | dict[str, Any]]


@pytest.fixture
async def scripted(client: ShopClient, tokens: TokenStore) -> AsyncIterator[Callable[..., ShopClient]]:
    """Makes a shop of which the start of a mutation is answered with `start`, and whose files are `files`, one after the other;
    what was begun is found when `found`."""
    transports: list[Transport] = []

    def build(*files: Lines, start: Any = None, stage: Any = "?", found: bool = False) -> ShopClient:
        told = iter(files)
        target = {"url": FILE, "parameters": [{"name": "key", "value": "tmp/1"}]}
        ended = BEGUN | {"status": "COMPLETED", "url": FILE}
        tags: list[str] = []

        def data(name: str, given: dict[str, Any]) -> Any:
            match name:
                case "BulkStage":
                    return {"stagedUploadsCreate": {"stagedTargets": [target]} if stage == "?" else stage}
                case "BulkRunMutation":
                    tags.append(given["tag"])
                    return start or start_answer(BEGUN)
                case "BulkPoll":
                    return {"bulkOperation": ended}
                case "BulkFind":
                    nodes = [ended | {"query": f"mutation {tag} {{ x }}"} for tag in tags if found]
                    return {"bulkOperations": {"nodes": nodes}}
            raise AssertionError(name)

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.host != "files.test":
                body = orjson.loads(request.content)
                return httpx.Response(200, json={"data": data(body["operationName"], body["variables"])})
            if request.method == "POST":
                return httpx.Response(201)
            lines = [line if isinstance(line, bytes) else orjson.dumps(line) + b"\n" for line in next(told)]
            return httpx.Response(200, content=pieces(lines))

        transports.append(Transport(wire=httpx.MockTransport(answer)))
        return ShopClient(client.config, transports[-1], tokens, client.budgets)

    yield build
    for transport in transports:
        await transport.close()


async def pieces(lines: Sequence[bytes]) -> AsyncIterator[bytes]:
    """A body whose length nobody announces."""
    for line in lines:
        yield line


def row(number: Any) -> dict[str, Any]:
    return {"data": {"productVariantsBulkUpdate": {"userErrors": []}}, "__lineNumber": number}


async def test_a_row_that_is_told_twice_or_of_no_line_is_unknown(scripted: Callable[..., ShopClient]) -> None:
    lines = [row(2), row(1), row(True), row(7), row(-1), row("0"), row(None), row(1)]
    outcomes = await run_mutation(scripted(lines), PRICES, [{}, {}, {}], Ask(), Intent())
    assert [type(one) for one in outcomes] == [OutcomeUnknown, OutcomeUnknown, Reply]


async def test_a_line_that_was_cut_is_read_whole_the_next_time(scripted: Callable[..., ShopClient]) -> None:
    cut = orjson.dumps(row(1))[:-5]
    shop = scripted([row(0), cut], [row(0), row(1), row(2)])
    outcomes = await run_mutation(shop, PRICES, [{}, {}, {}], Ask(), Intent())
    assert [type(one) for one in outcomes] == [Reply, Reply, Reply]


@pytest.mark.parametrize("told", [None, {}, BEGUN | {"createdAt": "yesterday"}, BEGUN | {"objectCount": None}])
async def test_a_start_that_does_not_say_what_began_is_looked_for(
    scripted: Callable[..., ShopClient], told: Any
) -> None:
    begun = start_answer(told)
    (known,) = await run_mutation(scripted([row(0)], start=begun, found=True), PRICES, [{}], Ask(), Intent())
    assert isinstance(known, Reply)
    (unknown,) = await run_mutation(scripted([row(0)], start=begun), PRICES, [{}], Ask(), Intent())
    assert isinstance(unknown, OutcomeUnknown)


@pytest.mark.parametrize("stage", [None, {"stagedTargets": []}, {"stagedTargets": None}, {"stagedTargets": [None]}])
async def test_without_a_place_for_the_upload_nothing_has_changed(
    scripted: Callable[..., ShopClient], stage: Any
) -> None:
    intent = Intent()
    with pytest.raises(Transient):
        await run_mutation(scripted(stage=stage), PRICES, [{}], Ask(), intent)
    assert intent.count == 0


# Shorthands


async def batches_of(batches: AsyncIterator[Batch]) -> list[Batch]:
    return [batch async for batch in batches]


async def begun(client: ShopClient, query: BulkQuery) -> bulk.Operation:
    """An operation that has ended."""
    operation = await bulk.start(client, bulk_query.BULK_RUN_QUERY, {"query": query.text}, query.tag, Ask())
    return await bulk.ended(client, operation, Ask())


async def sandbox_operations(sandbox: Sandbox, status: str) -> list[str]:
    told = (await sandbox.get("bulk"))["operations"]
    return [one["id"] for one in told if one["status"] == status]


def operation_of(url: str) -> bulk.Operation:
    ended = {"status": "COMPLETED", "errorCode": None, "createdAt": LONG_AGO, "completedAt": LONG_AGO}
    file = {"objectCount": "1", "url": url, "partialDataUrl": None}
    return read(bulk.Operation, {"id": "gid://shopify/BulkOperation/1", **ended, **file})

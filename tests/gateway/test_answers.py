"""Answers about stock are given again as bytes for a moment, and never when something of them has changed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import text

from benchmarks.stock_read import CONFIG, seed
from benchmarks.whole import key_for
from benchmarks.whole import served as serving
from domain.ids import Sku
from gateway import metrics
from gateway.answers import Again, Answers, Draft, Kept
from gateway.app import App
from gateway.auth import hash_secret
from gateway.plan import Plans
from gateway.settings import Settings
from resolvers import stock_cache
from resolvers.stock_answer import Basis
from resolvers.stock_cache import StockCache
from schema.root import schema
from schema.scopes import ALL, LASTING, SCOPES
from store import api_key, migrate
from store.session import Store
from tests.gateway.conftest import settings_of, until

STOCK = 'query ($skus: [String!]!, $age: Duration = "P1D") { stock(skus: $skus, maxAge: $age) { sku availableToSell } }'
ADJUST = "mutation ($input: AdjustStockInput!) { adjustStock(input: $input) { userErrors { message } } }"
KIT = "mutation ($input: SetKitInput!) { setKit(input: $input) { userErrors { message } } }"
SKUS = 5
KEEP_S = 1.0


@dataclass(slots=True)
class Shop:
    """A served gateway of the whole contract."""

    app: App
    http: httpx.AsyncClient
    keys: dict[str, str] = field(default_factory=dict)

    async def post(
        self, query: str, key: str = "admin", headers: dict[str, str] | None = None, **variables: Any
    ) -> httpx.Response:
        sent = {"authorization": f"Bearer {self.keys[key]}", **(headers or {})}
        return await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=sent)

    async def sold(self, sku: str, units: int = 1) -> None:
        """Take units from the shelf."""
        change = {"sku": sku, "location": "BER", "delta": -units}
        told = await self.post(ADJUST, input={"reason": "sold", "adjustments": [change]})
        assert told.json()["data"]["adjustStock"]["userErrors"] == [], told.text

    async def number(self, *skus: str) -> int:
        """What can be sold of the first."""
        return number(await self.post(STOCK, skus=list(skus)))

    async def kept(self, *skus: str, key: str = "admin", **variables: Any) -> httpx.Response:
        """Asked until the answer is one that was kept."""
        async with asyncio.timeout(30):
            while "age" not in (answer := await self.post(STOCK, key, skus=list(skus), **variables)).headers:
                pass
        return answer


def number(answer: httpx.Response) -> int:
    sold: int = answer.json()["data"]["stock"][0]["availableToSell"]
    return sold


def age(answer: httpx.Response) -> int:
    return int(answer.headers.get("age", 0))


@asynccontextmanager
async def shop(settings: Settings) -> AsyncIterator[Shop]:
    app = App(settings)
    async with serving(app) as (_, url), httpx.AsyncClient(base_url=url, timeout=20) as http:
        keys = {
            "admin": ALL,
            "storefront": {"stock:read"},
            "other storefront": {"stock:read"},
            "catalog": {"catalog:read"},
        }
        made = Shop(app, http)
        for name, scopes in keys.items():
            made.keys[name] = await key_for(app, name, frozenset(scopes))
        yield made


@pytest.fixture(scope="module")
def settings(new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder: Path = tmp_path_factory.mktemp("answers")
    made = settings_of(new_database(), redis_url, folder)
    made.config.write_text(CONFIG, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
async def shops(settings: Settings) -> AsyncIterator[tuple[Shop, Shop]]:
    """Two gateways on one database, with 100 of each SKU on the shelf."""
    await asyncio.to_thread(migrate.upgrade, settings.database_url.get_secret_value())
    store = Store(settings.database_url.get_secret_value())
    async with store.begin() as tx:
        await seed(tx, SKUS)
        await tx.execute(text("insert into product (sku, title) values ('KIT', 'Thing 5 in a box')"))
    await store.close()
    async with shop(settings) as one, shop(settings) as other:
        for sku in range(1, SKUS + 1):
            await one.sold(f"SKU-{sku}", -1000)
        yield one, other


def executed() -> int:
    return metrics.OPERATIONS.count("query", "ok")


def again() -> float:
    counted: float = metrics.ANSWERS_AGAIN._value.get()
    return counted


async def test_the_same_question_is_answered_with_the_same_bytes(shops: tuple[Shop, Shop]) -> None:
    one, _ = shops
    first = await one.post(STOCK, skus=["SKU-1", "SKU-2"])
    async with asyncio.timeout(30):
        while True:
            kept = await one.kept("SKU-1", "SKU-2")
            before, given = executed(), again()
            second = await one.post(STOCK, headers={"x-request-id": "mine"}, skus=["SKU-1", "SKU-2"])
            # On a slow machine its second may be over.
            if age(second):
                break
    assert (second.content, age(second)) == (first.content, 1)
    assert (executed(), again()) == (before, given + 1)
    # But for what is told of the moment, it is a whole answer like any other.
    moment = ("age", "date", "x-request-id", "ratelimit")
    told = [
        {name: one for name, one in answer.headers.items() if name not in moment} for answer in (first, kept, second)
    ]
    assert told[0] == told[1] == told[2]
    assert second.headers["x-request-id"] == "mine"
    assert kept.headers["x-request-id"] != first.headers["x-request-id"]
    assert "ratelimit" in second.headers


async def test_its_age_is_told_by_get_too(shops: tuple[Shop, Shop]) -> None:
    one, _ = shops
    sent = {"authorization": f"Bearer {one.keys['admin']}"}

    async def get(query: str) -> httpx.Response:
        return await one.http.get("/graphql", params={"query": query}, headers=sent)

    async with asyncio.timeout(30):
        while not age(answer := await get('{ stock(skus: ["SKU-3"]) { levels { onHand } } }')):
            pass
    assert answer.headers["cache-control"] == "no-store"
    held = await one.http.get(answer.request.url, headers={**sent, "if-none-match": answer.headers["etag"]})
    assert held.status_code == 304
    # What caches on the way may keep is made anew, since they add an age of their own.
    for _ in range(3):
        public = await get('{ stock(skus: ["SKU-3"]) { availableToSell } }')
        assert ("age" in public.headers, public.headers["cache-control"]) == (False, "public, max-age=1")


async def test_it_is_given_again_on_every_transport_and_in_other_words(shops: tuple[Shop, Shop]) -> None:
    one, _ = shops
    # Where the second of the one was over on a slow machine, the next is asked about: it was never spelled so before.
    for sku in (f"SKU-{number}" for number in range(1, SKUS + 1)):
        await one.kept(sku)
        spelled = await one.http.post(
            "/graphql",
            content=b'{ "variables": {"skus" : ["%b"]}, "query":"%b" }'
            % (sku.encode(), STOCK.replace('"', '\\"').encode()),
            headers={"authorization": f"Bearer {one.keys['admin']}", "content-type": "application/json"},
        )
        streamed = await one.post(STOCK, headers={"accept": "text/event-stream"}, skus=[sku])
        if age(spelled):
            break
    assert age(spelled) == 1
    assert spelled.content.decode() in streamed.text


async def test_a_sale_ends_it_at_once_where_it_was_made(shops: tuple[Shop, Shop]) -> None:
    one, _ = shops
    for _ in range(5):
        before = number(await one.kept("SKU-2", "SKU-3"))
        await one.sold("SKU-2")
        assert await one.number("SKU-2", "SKU-3") == before - 1


async def test_the_same_bytes_on_a_connection_are_answered_again_and_never_past_a_sale(
    shops: tuple[Shop, Shop],
) -> None:
    one, _ = shops
    url = one.http.base_url
    body = json.dumps({"query": STOCK, "variables": {"skus": ["SKU-4"]}}).encode()
    lines = [
        f"content-length: {len(body)}",
        "content-type: application/json",
        f"authorization: Bearer {one.keys['admin']}",
    ]
    request = "\r\n".join(["POST /graphql HTTP/1.1", "host: acorn", *lines, "", ""]).encode() + body
    reader, writer = await asyncio.open_connection(url.host, url.port)

    async def ask() -> tuple[int, int]:
        """(age, units)"""
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        told = dict(line.split(": ", 1) for line in head.splitlines()[1:-1])
        data = json.loads(await reader.readexactly(int(told["content-length"])))
        return int(told.get("age", 0)), data["data"]["stock"][0]["availableToSell"]

    before = await one.number("SKU-4")
    async with asyncio.timeout(30):
        ages = [(await ask())[0] for _ in range(3)]
        while not all(ages[-2:]):
            ages.append((await ask())[0])
    await one.sold("SKU-4")
    assert await ask() == (0, before - 1)
    writer.close()


async def test_another_gateways_sale_is_seen_within_a_look(shops: tuple[Shop, Shop]) -> None:
    one, other = shops
    for _ in range(5):
        before = number(await other.kept("SKU-2"))
        await one.sold("SKU-2")
        asked_at = sold_at = time.monotonic()
        while await other.number("SKU-2") == before:
            assert asked_at - sold_at < KEEP_S + stock_cache.TRUST_S
            asked_at = time.monotonic()
        assert await other.number("SKU-2") == before - 1


async def test_what_is_told_was_true_within_the_age_that_is_told(shops: tuple[Shop, Shop]) -> None:
    one, other = shops
    truth = [(-1e9, await one.number("SKU-4"))]  # from when on it may be told, and what
    done, told = asyncio.Event(), [0, 0]

    async def sell() -> None:
        while len(truth) <= 15 or not min(told):
            began = time.monotonic()
            await one.sold("SKU-4")
            truth.append((began, truth[-1][1] - 1))
            ended[truth[-1][1]] = time.monotonic()
            await asyncio.sleep(0.05)
        done.set()

    ended: dict[int, float] = {}  # number: when the sale that made it was over, at the latest

    async def read(where: Shop) -> None:
        while not done.is_set():
            sent = time.monotonic()
            answer = await where.post(STOCK, skus=["SKU-4", "SKU-5"])
            seen, came = number(answer), time.monotonic()
            told[age(answer) > 0] += 1
            oldest = sent - age(answer) - stock_cache.TRUST_S
            begins = {value: at for at, value in truth}
            assert begins.get(seen, came) <= came
            assert ended.get(seen - 1, came) >= oldest, "this number was over long before"

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(sell())
        for where in (one, other, other):
            group.create_task(read(where))


async def test_a_components_sale_ends_the_answer_about_its_kit(shops: tuple[Shop, Shop]) -> None:
    one, other = shops
    kit = {"sku": "KIT", "components": [{"sku": "SKU-5", "quantity": 1}]}
    answer = await one.post(KIT, input=kit)
    assert answer.json()["data"]["setKit"]["userErrors"] == [], answer.text
    before = number(await one.kept("KIT"))
    assert number(await other.kept("KIT")) == before
    await one.sold("SKU-5", 3)
    assert await one.number("KIT") == before - 3
    async with asyncio.timeout(30):
        while await other.number("KIT") != before - 3:
            pass


async def test_scopes_are_asked_before_and_keys_of_equal_scopes_share(shops: tuple[Shop, Shop]) -> None:
    one, _ = shops
    kept = await one.kept("SKU-1", key="storefront")
    assert (await one.kept("SKU-1", key="other storefront")).content == kept.content
    for key in ("catalog", "storefront"):
        refused = await one.post(STOCK.replace("sku ", "sku exposure { beyond } "), key, skus=["SKU-1"])
        assert refused.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (await one.post(STOCK, "catalog", skus=["SKU-1"])).json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    nobody = await one.http.post("/graphql", json={"query": STOCK, "variables": {"skus": ["SKU-1"]}})
    assert nobody.status_code == 401


async def test_a_revoked_key_is_not_answered_again_once_it_is_looked_up(shops: tuple[Shop, Shop]) -> None:
    one, _ = shops
    await one.kept("SKU-1", key="storefront")
    keys: Any = one.app.standing.keys
    sent = f"Bearer {one.keys['storefront']}"
    keys._known[sent] = keys._known[sent][0], time.monotonic()
    given = again()
    async with one.app.standing.house.store.begin() as tx:
        key = await api_key.by_hash(tx, hash_secret(one.keys["storefront"]))
        assert key is not None
        await api_key.revoke(tx, key.id)
    assert (await one.post(STOCK, "storefront", skus=["SKU-1"])).status_code == 401
    assert again() == given


async def test_a_kept_answer_costs_its_points_and_no_calls(shops: tuple[Shop, Shop]) -> None:
    one, _ = shops
    wants = {"x-acorn-bill": "1"}
    async with asyncio.timeout(30):
        while "age" not in (answer := await one.post(STOCK, headers=wants, skus=["SKU-1"])).headers:
            pass
    told = answer.json()["extensions"]
    assert told["bill"] == {"upstreamCalls": 0, "waitedMs": 0, "byOperation": []}
    quotas: Any = one.app._quotas
    caller = one.app.standing.keys.known(f"Bearer {one.keys['admin']}")
    before = after = quotas.left(caller)
    kept = [False, False]
    async with asyncio.timeout(30):
        # Two in a row within one minute: the one before the first is settled by then, whatever it gives back.
        while kept != [True, True] or after[2] > before[2]:
            before = quotas.left(caller)
            kept = [kept[1], "age" in (await one.post(STOCK, headers=wants, skus=["SKU-1"])).headers]
            after = quotas.left(caller)
    assert (before[0] - after[0], before[1] - after[1]) == (told["cost"]["requested"]["points"], 0)


@pytest.mark.parametrize(
    ("query", "lasting"),
    [
        (STOCK, True),
        (
            '{ a: stock(skus: ["A"]) { sku levels { location { code } } } b: stock(skus: ["B"]) { explanation { rule } } }',
            True,
        ),
        ('query ($at: DateTime) { stock(skus: ["A"], asOf: $at) { sku } }', False),
        ('{ stock(skus: ["A"]) { sku product { title } } }', False),
        ('{ stock(skus: ["A"]) { sku channels { shown } } }', False),
        ('{ stock(skus: ["A"]) { sku } products { totalCount } }', False),
        ('{ stock(skus: ["A"]) { sku ... @defer { inbound } } }', False),
        ("mutation { checkLedger { userErrors { message } } }", False),
    ],
)
def test_only_what_events_tell_of_is_kept(query: str, lasting: bool) -> None:
    assert Plans(schema._schema, SCOPES, lasting=LASTING).of(query, None).lasting is lasting


def test_what_is_kept_is_the_same_for_all_who_may_read_stock() -> None:
    assert {one for one in LASTING if one in SCOPES} == {"Query.stock"}
    fields = {
        f"{name}.{one}" for name, type_ in schema._schema.type_map.items() for one in getattr(type_, "fields", {})
    }
    assert fields >= LASTING


@pytest.mark.parametrize("age_wanted", ["PT0S", "PT0.001S"])
async def test_a_reading_never_outgrows_the_age_that_was_asked_for(shops: tuple[Shop, Shop], age_wanted: str) -> None:
    one, _ = shops
    given = again()
    for _ in range(3):
        answer = await one.post(STOCK, skus=["SKU-1"], age=age_wanted)
        assert "age" not in answer.headers
    assert again() == given


async def test_an_answer_with_an_error_is_not_kept(shops: tuple[Shop, Shop]) -> None:
    one, _ = shops
    query = STOCK.replace("maxAge: $age", "maxAge: $age, onStale: FAIL")
    for _ in range(3):
        answer = await one.post(query, skus=["SKU-1"], age="PT0S")
        assert answer.json()["errors"]
        assert "age" not in answer.headers


async def test_none_is_given_while_nobody_looks_at_the_log(settings: Settings, shops: tuple[Shop, Shop]) -> None:
    async with shop(settings) as blind:
        await blind.kept("SKU-1")
        blind.app.standing.watch.cancel()
        await until(blind.app.standing.watch.done)
        for _ in range(3):
            assert "age" not in (await blind.post(STOCK, skus=["SKU-1"])).headers


async def test_an_answer_is_paid_for_once_also_where_the_connection_ends_with_it(shops: tuple[Shop, Shop]) -> None:
    one, _ = shops

    def points_left(answer: httpx.Response) -> int:
        return int(answer.headers["ratelimit"].partition('"points";r=')[2].partition(";")[0])

    async with asyncio.timeout(30):
        while True:
            before = points_left(await one.kept("SKU-1"))
            closed = await one.post(STOCK, headers={"connection": "close"}, skus=["SKU-1"])
            after = await one.post(STOCK, skus=["SKU-1"])
            # Not so where the minute went over, or the answer ended, meanwhile.
            if before > points_left(after) and "age" in closed.headers and "age" in after.headers:
                break
    assert closed.headers["connection"] == "close"
    assert (before - points_left(closed), before - points_left(after)) == (1, 2)


async def test_none_is_kept_where_the_setting_is_zero(settings: Settings, shops: tuple[Shop, Shop]) -> None:
    one, _ = shops
    async with shop(settings.model_copy(update={"answer_cache_s": 0.0})) as off:
        for _ in range(3):
            assert "age" not in (await off.post(STOCK, skus=["SKU-1"])).headers
        assert await off.number("SKU-1") == await one.number("SKU-1")
    assert off.app._executor.answers is None


class FakeStock:
    """A stock cache as answers see it."""

    def __init__(self) -> None:
        self.changes = 0
        self.looked = True
        self.known = {Sku("A"), Sku("B")}
        self.tell: Callable[[Sku | None], None] = lambda sku: None

    def watch(self, watcher: Callable[[Sku | None], None]) -> None:
        self.tell = watcher

    def believed(self, now: float) -> bool:
        return self.looked

    def keeps(self, skus: set[Sku]) -> bool:
        return skus <= self.known


@pytest.fixture
def stock() -> FakeStock:
    return FakeStock()


def answers_on(stock: FakeStock, keep_s: float = 60.0, **bounds: int) -> Answers:
    return Answers(cast(StockCache, stock), keep_s, lambda: datetime.now(UTC), **bounds)


def drafted(answers: Answers, *skus: str, **more: Any) -> Draft:
    draft = answers.draft()
    draft.basis = Basis({Sku(sku) for sku in skus}, **more)
    return draft


def test_it_ends_with_any_of_its_skus_and_with_all(stock: FakeStock) -> None:
    answers = answers_on(stock)
    for changed, left in ((Sku("A"), ["b"]), (Sku("B"), []), (Sku("C"), ["a", "ab", "b"]), (None, [])):
        for name in ("a", "b", "ab"):
            assert answers.keep(name, b"{}", drafted(answers, *name.upper())) is not None
        stock.tell(changed)
        expected = {"A": ["b"], "B": ["a"], "C": ["a", "ab", "b"]}.get(changed or "", left)
        assert [name for name in ("a", "ab", "b") if answers.of(name)] == expected
        stock.tell(None)
    assert (len(answers), answers.size) == (0, 0)


def test_it_is_not_kept_when_something_changed_meanwhile_or_is_not_known(stock: FakeStock) -> None:
    answers = answers_on(stock)
    draft = drafted(answers, "A")
    stock.changes += 1
    assert answers.keep("q", b"{}", draft) is None
    assert answers.keep("q", b"{}", drafted(answers, "A", firm=False)) is None
    assert answers.keep("q", b"{}", drafted(answers, "A", until=datetime.now(UTC) - timedelta(seconds=1))) is None
    assert answers.keep("q", b"{}", drafted(answers, "Z")) is None
    assert answers.keep("q", b"{}", drafted(answers)) is None
    brief = answers_on(stock, keep_s=0.0)
    assert brief.keep("q", b"{}", drafted(brief, "A")) is None
    assert answers.keep("q", b"{}", drafted(answers, "A", until=datetime.now(UTC) + timedelta(seconds=30))) is not None


def test_it_ends_with_its_time_and_is_hidden_from_who_cannot_look(stock: FakeStock) -> None:
    answers = answers_on(stock)
    kept = answers.keep("q", b"{}", drafted(answers, "A"))
    assert kept is not None
    assert 59 < kept.until - time.monotonic() <= 60
    assert answers.of("q") is kept
    stock.looked = False
    assert answers.of("q") is None
    stock.looked = True
    kept.until = time.monotonic()
    assert answers.of("q") is None
    assert kept.age(kept.began + 0.001) == 1
    assert kept.age(kept.began + 1.001) == 2


def remember(answers: Answers, kept: Kept, request: str) -> None:
    answers.remember(request, 100, Again(kept, "", "", 1))


def test_requests_are_remembered_with_their_answer_and_forgotten_with_it(stock: FakeStock) -> None:
    answers, now = answers_on(stock), time.monotonic()
    kept = answers.keep("q", b"{}", drafted(answers, "A"))
    assert kept is not None
    for number in range(20):
        remember(answers, kept, f"r{number}")
    assert sum(answers.again(f"r{number}", now) is not None for number in range(20)) == 8
    stock.tell(Sku("A"))
    assert answers.again("r1", now) is None
    remember(answers, kept, "late")
    assert answers.again("late", now) is None
    assert answers.size == 0


def test_the_same_request_is_remembered_once(stock: FakeStock) -> None:
    answers = answers_on(stock)
    kept = answers.keep("q", b"{}", drafted(answers, "A"))
    assert kept is not None
    remember(answers, kept, "r0")
    size = answers.size
    for _ in range(20):
        remember(answers, kept, "r0")
    assert (answers.size, kept.requests) == (size, ["r0"])
    remember(answers, kept, "r1")
    assert answers.again("r1", time.monotonic()) is not None


def test_questions_and_skus_count_with_their_lengths(stock: FakeStock) -> None:
    answers = answers_on(stock)
    stock.known.add(Sku("A" * 5_000))
    for name, skus, question in (("few", "A", "q"), ("long", "A" * 5_000, "q"), ("asked", "A", "q" * 5_000)):
        before = answers.size
        assert answers.keep((name, question), b"{}", drafted(answers, skus)) is not None
        assert (answers.size - before > 5_000) is (name != "few")


def test_the_oldest_make_room(stock: FakeStock) -> None:
    few = answers_on(stock, most=3)
    small = answers_on(stock, most_bytes=10_000)
    for number in range(10):
        assert few.keep(f"q{number}", b"{}", drafted(few, "A"))
        small.keep(f"q{number}", b"x" * 3_000, drafted(small, "A"))
    assert [name for name in (f"q{number}" for number in range(10)) if few.of(name)] == ["q7", "q8", "q9"]
    assert len(small) == 2
    assert small.size <= 10_000

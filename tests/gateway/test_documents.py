"""Documents by id: kept automatically, or registered and then trusted; and what a cache on the way may hold of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from gateway import documents as module
from gateway import manifest
from gateway.body import Request, id_of
from gateway.documents import Documents
from gateway.plan import Plans, Rejected
from gateway.settings import Settings
from resolvers.context import Caller
from schema.root import schema
from schema.scopes import PUBLIC, SCOPES
from store import document
from store.session import Store
from tests.gateway.conftest import Acorn, Gateway, plain, served
from tests.gateway.test_websocket import acknowledged, hear, say

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"
BOTH = f"{GRAPHQL}, {JSON};q=0.9"
HELLO = "query Hello($n: String!) { hello(name: $n) }"
CALLER = Caller("shop", frozenset({"read"}))


def persisted(text: str, **more: Any) -> dict[str, Any]:
    """As clients of automatic persisted queries ask."""
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": id_of(text)}}, **more}


async def post(gateway: Gateway, body: Any, accept: str = GRAPHQL) -> httpx.Response:
    return await gateway.http.post("/graphql", json=body, headers=await gateway.headers("read", accept=accept))


async def get(gateway: Gateway, accept: str = GRAPHQL, scope: str = "read", **parameters: Any) -> httpx.Response:
    told = {name: one if isinstance(one, str) else json.dumps(one) for name, one in parameters.items()}
    headers = {"authorization": f"Bearer {await gateway.key(scope)}", "accept": accept}
    return await gateway.http.get("/graphql", params=told, headers=headers)


def code(answer: httpx.Response) -> str:
    [error] = answer.json()["errors"]
    return str(error["extensions"]["code"])


async def register(store: Store, *texts: str, **named: str) -> None:
    await manifest.register(store, {id_of(text): text for text in texts} | named)


async def soon(ask: Callable[[], Any], wanted: Callable[[httpx.Response], bool]) -> httpx.Response:
    """The first answer that is as wanted; fails after half a minute."""
    async with asyncio.timeout(30):
        while not wanted(answer := await ask()):
            await asyncio.sleep(0.05)
    assert isinstance(answer, httpx.Response)
    return answer


# ── Kept automatically ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("accept", [GRAPHQL, JSON, BOTH, "*/*"])
async def test_a_document_is_asked_for_by_hash_once_it_was_sent(fresh: Gateway, accept: str) -> None:
    first = await post(fresh, persisted(HELLO, variables={"n": "a"}), accept)
    assert first.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    assert code(first) == "PERSISTED_QUERY_NOT_FOUND"
    # Some clients send the text only after a 200; who takes nothing but the new type knows better.
    assert first.status_code == (404 if accept == GRAPHQL else 200)
    sent = await post(fresh, persisted(HELLO, query=HELLO, variables={"n": "b"}), accept)
    again = await post(fresh, persisted(HELLO, variables={"n": "c"}), accept)
    by_get = await get(fresh, accept, variables={"n": "d"}, **persisted(HELLO))
    by_id = await post(fresh, {"documentId": f"sha256:{id_of(HELLO)}", "variables": {"n": "e"}}, accept)
    greeted = [one.json()["data"]["hello"] for one in (sent, again, by_get, by_id)]
    assert greeted == ["Hello b", "Hello c", "Hello d", "Hello e"]


async def test_a_document_is_known_to_every_process(fresh: Gateway, settings: Settings) -> None:
    assert (await post(fresh, persisted(HELLO, query=HELLO, variables={"n": "a"}))).status_code == 200
    async with served(settings) as other:
        answer = await post(other, persisted(HELLO, variables={"n": "b"}))
        assert answer.json() == {"data": {"hello": "Hello b"}}


@pytest.mark.parametrize("accept", [GRAPHQL, JSON])
@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (persisted(HELLO, query="{ hello }"), "DOCUMENT_ID_MISMATCH"),
        ({"documentId": f"sha256:{id_of(HELLO)}", "query": "{ hello }"}, "DOCUMENT_ID_MISMATCH"),
        ({"documentId": "cart", "query": "{ hello }"}, "DOCUMENT_ID_MISMATCH"),
        ({"extensions": {"persistedQuery": {"version": 2, "sha256Hash": id_of(HELLO)}}}, "BAD_REQUEST"),
        ({"extensions": {"persistedQuery": {"version": 1}}}, "BAD_REQUEST"),
        ({"extensions": {"persistedQuery": 5}}, "BAD_REQUEST"),
        ({"documentId": 5}, "BAD_REQUEST"),
        ({"documentId": ""}, "BAD_REQUEST"),
        ({"documentId": "sha256:"}, "BAD_REQUEST"),
        ({"documentId": f"sha256:{id_of(HELLO).upper()}"}, "BAD_REQUEST"),
        ({"documentId": "a b"}, "BAD_REQUEST"),
        ({"documentId": "x" * 201}, "BAD_REQUEST"),
    ],
)
async def test_an_id_that_is_none_or_not_the_documents_is_a_400(
    gateway: Gateway, body: Any, wanted: str, accept: str
) -> None:
    answer = await post(gateway, body, accept)
    assert (answer.status_code, code(answer)) == (400, wanted)


async def test_an_unknown_document_id_is_told_what_to_do(gateway: Gateway) -> None:
    for id in (f"sha256:{id_of('never sent')}", "x-shop:cart", "cart"):
        strict, old = await post(gateway, {"documentId": id}), await post(gateway, {"documentId": id}, JSON)
        assert (strict.status_code, old.status_code, code(strict)) == (404, 200, "DOCUMENT_NOT_FOUND")
        assert "acorn documents register" in strict.json()["errors"][0]["message"]


@pytest.mark.parametrize("text", ["{ nowhere }", "{ hello", "query A { hello } query B { who }"])
async def test_what_is_not_valid_is_not_kept(fresh: Gateway, text: str) -> None:
    assert (await post(fresh, persisted(text, query=text))).status_code == 400
    assert code(await post(fresh, persisted(text))) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_document_works_over_a_socket_and_as_a_stream(fresh: Gateway) -> None:
    text = "subscription { counted(to: 1) }"
    async with acknowledged(fresh) as socket:
        await say(socket, type="subscribe", id="1", payload=persisted(text))
        refused = await hear(socket)
        assert (refused["type"], refused["payload"][0]["message"]) == ("error", "PersistedQueryNotFound")
        for id, payload in (("2", persisted(text, query=text)), ("3", persisted(text))):
            await say(socket, type="subscribe", id=id, payload=payload)
            assert await hear(socket) == {"id": id, "type": "next", "payload": {"data": {"counted": 0}}}
            assert await hear(socket) == {"id": id, "type": "complete"}
    streamed = await post(fresh, persisted(text), "text/event-stream")
    assert streamed.text == 'event: next\ndata: {"data":{"counted":0}}\n\nevent: complete\ndata:\n\n'


async def test_a_client_keeps_so_many_in_a_minute_and_no_more(store: Store, redis: Redis) -> None:
    found = Documents(store, redis, quota=2)
    texts = [f"{{ a{number} }}" for number in range(3)]
    for text in texts:
        await found.offered(id_of(text), text, CALLER)
    await found.offered(id_of(texts[0]), texts[0], CALLER)  # one that is there costs nothing
    other = "{ other }"
    await found.offered(id_of(other), other, Caller("another", frozenset()))
    assert await kept(store, redis, *texts, other) == [True, True, False, True]


async def test_there_are_so_many_in_all_and_the_longest_unasked_makes_room(store: Store, redis: Redis) -> None:
    """So that no client can take the room of all the others."""
    found = Documents(store, redis, most=2)
    texts = [f"{{ b{number} }}" for number in range(3)]
    for age_s, text in zip((50, 100), texts, strict=False):
        await found.offered(id_of(text), text, CALLER)
        await redis.zincrby("acorn:documents", -age_s, id_of(text))  # as if it had been asked for so long ago
    await found.offered(id_of(texts[2]), texts[2], Caller("another", frozenset()))
    assert await kept(store, redis, *texts) == [True, False, True]
    assert len(await redis.keys("acorn:document:*")) == await redis.zcard("acorn:documents") == 2


async def test_a_redis_that_hangs_holds_nobody_up(store: Store, hanging_redis: Redis) -> None:
    await register(store, "{ a }")
    async with asyncio.timeout(30):
        for _ in range(20):
            assert await kept(store, hanging_redis, "{ a }", "{ b }") == [True, False]
        await Documents(store, hanging_redis).offered(id_of("{ b }"), "{ b }", CALLER)


async def test_a_document_that_is_asked_for_stays(store: Store, redis: Redis) -> None:
    text = "{ c }"
    await Documents(store, redis).offered(id_of(text), text, CALLER)
    await redis.expire(f"acorn:document:{id_of(text)}", 100)
    await redis.zadd("acorn:documents", {id_of(text): 1})
    assert await kept(store, redis, text) == [True]
    assert await redis.ttl(f"acorn:document:{id_of(text)}") > module.AGE_S - 60
    assert await redis.zscore("acorn:documents", id_of(text)) > module.AGE_S


async def test_a_long_document_runs_and_is_not_kept(fresh: Gateway) -> None:
    text = "{ hello }" + "#" * module.LONGEST
    assert (await post(fresh, persisted(text, query=text))).json() == {"data": {"hello": "Hello world"}}
    assert code(await post(fresh, persisted(text))) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_text_that_is_not_what_its_id_says_is_not_believed(store: Store, redis: Redis) -> None:
    await redis.set(f"acorn:document:{id_of('{ a }')}", "mutation { ship }")
    assert await kept(store, redis, "{ a }") == [False]


async def test_without_redis_nothing_is_kept_and_nothing_fails(store: Store) -> None:
    away = Redis.from_url("redis://127.0.0.1:9", socket_connect_timeout=1)
    found = Documents(store, away)
    await found.offered(id_of("{ a }"), "{ a }", CALLER)
    assert await kept(store, away, "{ a }") == [False]
    await register(store, "{ a }")
    assert await kept(store, away, "{ a }") == [True]
    await away.aclose()


async def kept(store: Store, redis: Redis, *texts: str) -> list[bool]:
    """Whether a process that has seen none of them finds each."""
    found = Documents(store, redis)
    there = []
    for text in texts:
        try:
            there.append(await found.text(Request(document_id=id_of(text))) == text)
        except Rejected:
            there.append(False)
    return there


def test_the_memory_of_a_process_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    monkeypatch.setattr(module, "KEPT_BYTES", 100)
    memory = module._Memory()
    for id in "abcd":
        memory.keep(id, id, 60)
    assert [memory.fresh(id) for id in "abcd"] == [None, "b", "c", "d"]
    memory.keep("long", "x" * 99, 60)
    assert [memory.fresh(id) for id in ("b", "c", "d", "long")] == [None, None, "d", "x" * 99]
    memory.keep("old", "y", -1)
    assert (memory.fresh("old"), memory.of("old")) == (None, "y")


# ── Registered ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def strict(store: Store, redis: object, settings: Settings) -> Any:
    async with served(settings.model_copy(update={"documents": "trusted"})) as made:
        yield made


async def test_a_registered_document_is_found_by_running_gateways_and_soon_forgotten(fresh: Gateway) -> None:
    async def ask() -> httpx.Response:
        return await post(fresh, {"documentId": f"sha256:{id_of(HELLO)}", "variables": {"n": "a"}})

    assert code(await ask()) == "DOCUMENT_NOT_FOUND"
    await register(fresh.store, HELLO)
    found = await soon(ask, lambda answer: answer.status_code == 200)
    assert found.json() == {"data": {"hello": "Hello a"}}
    assert (await post(fresh, persisted(HELLO, variables={"n": "b"}))).json() == {"data": {"hello": "Hello b"}}
    assert await manifest.remove(fresh.store, [id_of(HELLO)]) == []
    assert code(await soon(ask, lambda answer: answer.status_code != 200)) == "DOCUMENT_NOT_FOUND"


async def test_a_document_may_have_a_name_of_its_own(fresh: Gateway) -> None:
    await register(fresh.store, **{"x-shop:hello": HELLO})
    answer = await post(fresh, {"documentId": "x-shop:hello", "variables": {"n": "a"}})
    assert answer.json() == {"data": {"hello": "Hello a"}}


async def test_in_the_strict_profile_nothing_else_runs(strict: Gateway) -> None:
    async def refused(body: Any) -> str:
        answer = await strict.http.post("/graphql", json=body, headers=await strict.headers("admin", accept=GRAPHQL))
        assert answer.status_code == 403
        return code(answer)

    await register(strict.store, HELLO)
    others: list[Any] = [
        {"query": "{ hello }"},
        {"query": HELLO + " "},
        {"query": "not GraphQL at all"},
        {"documentId": "cart"},
        persisted("{ who }"),
        persisted("{ who }", query="{ who }"),
        persisted("{ who }"),
    ]
    assert {await refused(one) for one in others} == {"DOCUMENT_NOT_TRUSTED"}
    for body in ({"query": HELLO}, persisted(HELLO), persisted(HELLO, query=HELLO), {"documentId": id_of(HELLO)}):
        answer = await post(strict, {**body, "variables": {"n": "a"}})
        assert answer.json() == {"data": {"hello": "Hello a"}}
    by_get = await get(strict, documentId=f"sha256:{id_of(HELLO)}", variables={"n": "b"})
    assert by_get.json() == {"data": {"hello": "Hello b"}}
    async with acknowledged(strict) as socket:
        await say(socket, type="subscribe", id="1", payload={"query": "{ hello }"})
        told = await hear(socket)
        assert (told["type"], told["payload"][0]["extensions"]["code"]) == ("error", "DOCUMENT_NOT_TRUSTED")


async def test_what_is_in_use_goes_on_while_the_database_is_away(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRUSTED_S", 0.0)
    found = Documents(store, redis, trusted_only=True)
    await register(store, "{ a }")
    assert await found.text(Request("{ a }")) == "{ a }"

    async def away(*_: object) -> Any:
        raise OSError

    monkeypatch.setattr(document, "texts", away)
    assert await found.text(Request("{ a }")) == "{ a }"
    with pytest.raises(Rejected) as refused:
        await found.text(Request("{ b }"))
    assert (refused.value.error.extensions or {})["code"] == "UNAVAILABLE"


# ── Caches on the way ─────────────────────────────────────────────────────────────────────────────────────────────────


STOCK = "query Stock($skus: [String!]!) { stock(skus: $skus) { name __typename } }"
SKUS = {"skus": ["A", "B"]}


async def test_public_stock_may_be_kept_for_a_second_by_key(fresh: Gateway) -> None:
    await register(fresh.store, STOCK)
    answer = await get(fresh, documentId=id_of(STOCK), variables=SKUS)
    assert answer.json()["data"]["stock"][1] == {"name": "B", "__typename": "Leaf"}
    assert answer.headers["cache-control"] == "public, max-age=1"
    assert answer.headers["vary"] == "accept, authorization, origin, x-acorn-bill"
    headers = {
        "authorization": f"Bearer {await fresh.key('read')}",
        "accept": GRAPHQL,
        "if-none-match": answer.headers["etag"],
    }
    same = await fresh.http.get(str(answer.request.url), headers=headers)
    assert (same.status_code, same.content) == (304, b"")
    assert [same.headers[name] for name in ("etag", "cache-control", "vary")] == [
        answer.headers[name] for name in ("etag", "cache-control", "vary")
    ]


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("{ hello }", {}),
        ("{ stock(skus: []) { name } hello }", {}),
        ("{ stock(skus: []) { name child { name } } }", {}),
        ("{ stock(skus: []) { name } broken }", {}),
        ("{ stock(skus: []) { nowhere } }", {}),
        ("{ __typename }", {}),
        ("{ stock(skus: []) { name } }", {"x-acorn-bill": "1"}),
    ],
)
async def test_nothing_else_may_be_kept(gateway: Gateway, text: str, headers: dict[str, str]) -> None:
    own = {"authorization": f"Bearer {await gateway.key('read')}", **headers}
    answer = await gateway.http.get("/graphql", params={"query": text}, headers=own)
    assert answer.headers["cache-control"] == "no-store"


async def test_post_may_never_be_kept_nor_anything_where_that_is_switched_off(settings: Settings, store: Store) -> None:
    async with served(settings.model_copy(update={"public_max_age_s": 0})) as gateway:
        answer = await get(gateway, query=STOCK, variables=SKUS)
        assert answer.headers["cache-control"] == "no-store"
    async with served(settings.model_copy(update={"public_max_age_s": 7})) as gateway:
        answer = await get(gateway, query=STOCK, variables=SKUS)
        assert answer.headers["cache-control"] == "public, max-age=7"
        posted = await post(gateway, {"query": STOCK, "variables": SKUS})
        assert posted.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ('{ stock(skus: ["A"]) { sku availableToSell asOf freshness __typename } }', True),
        ('{ a: stock(skus: ["A"]) { ...S } } fragment S on Stock { availableToSell }', True),
        ('{ stock(skus: ["A"]) { sku levels { onHand } } }', False),
        ('{ stock(skus: ["A"]) { sku explanation { label } } }', False),
        ('{ stock(skus: ["A"], maxAge: "PT1S") { sku } }', False),
        ('{ stock(skus: ["A"], asOf: "2026-11-01T00:00:00Z") { sku } }', False),
        ('{ product(sku: "A") { sku } }', False),
        ('{ stock(skus: ["A"]) { sku } channels { name } }', False),
        ("{ __schema { types { name } } }", False),
        ("{ __typename }", False),
    ],
)
def test_public_is_what_a_page_of_the_shop_may_show(text: str, public: bool) -> None:
    assert Plans(schema._schema, SCOPES, public=PUBLIC).of(text, None).public is public


# ── The command line ──────────────────────────────────────────────────────────────────────────────────────────────────


CART = """\
import { gql } from "@apollo/client";
import { STOCK_PARTS } from "./parts";
export const CART = gql`
  query Cart($skus: [String!]!) {
    stock(skus: $skus) { ...Parts }
  }
  ${STOCK_PARTS}
`;
const other = graphql(/* GraphQL */ `query Channels { channels { id } }`);
const text = `not ${GraphQL} at all`;
"""
PARTS = "fragment Parts on Stock { sku availableToSell }\nfragment Unused on Stock { sku }\n"


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """The sources of a client."""
    (tmp_path / "web/node_modules/other").mkdir(parents=True)
    (tmp_path / "web/node_modules/other/bad.graphql").write_text("query {", encoding="utf-8")
    (tmp_path / "web/cart.ts").write_text(CART, encoding="utf-8")
    (tmp_path / "web/parts.graphql").write_text(PARTS, encoding="utf-8")
    (tmp_path / "web/schema.graphql").write_text("type Query { a: Int }", encoding="utf-8")
    return tmp_path / "web"


def test_a_clients_operations_are_built_registered_listed_and_removed(acorn: Acorn, client: Path) -> None:
    built = acorn("documents", "build", str(client), "--output", "manifest.json")
    assert (built.exit_code, "2 documents" in plain(built)) == (0, True), plain(built)
    texts = json.loads(Path("manifest.json").read_text(encoding="utf-8"))
    assert all(id == id_of(text) for id, text in texts.items())
    [cart] = [text for text in texts.values() if "Cart" in text]
    assert cart.endswith("}\n\nfragment Parts on Stock {\n  sku\n  availableToSell\n}")
    assert "2 registered, 0 were before." in plain(acorn("documents", "register", "manifest.json"))
    assert "0 registered, 2 were before." in plain(acorn("documents", "register", "manifest.json"))
    listed = plain(acorn("documents", "list"))
    assert f"{id_of(cart)}  " in listed
    assert listed.splitlines()[0].endswith(("Cart", "Channels"))
    assert "1 removed." in plain(acorn("documents", "remove", id_of(cart)))
    assert "Cart" not in plain(acorn("documents", "list"))
    assert acorn("documents", "remove", id_of(cart)).exit_code == 1


@pytest.mark.parametrize(
    ("name", "source", "told"),
    [
        ("a.graphql", "query A {\n  nowhere\n}", "a.graphql:1: Cannot query field 'nowhere' on type 'Query'."),
        ("a.graphql", "{ channels { ...None } }", "a.graphql:1: there is no fragment None."),
        ("a.ts", "\n\nconst a = gql`\n  query {\n`;", "a.ts:5: Syntax Error"),
        ("a.graphql", "fragment Parts on Stock { asOf }", "there is another fragment Parts."),
    ],
)
def test_a_mistake_in_a_source_is_told_with_its_place(
    acorn: Acorn, client: Path, name: str, source: str, told: str
) -> None:
    (client / name).write_text(source, encoding="utf-8")
    built = acorn("documents", "build", str(client))
    assert (built.exit_code, told in plain(built)) == (1, True), plain(built)


def test_nothing_to_build_is_said(acorn: Acorn, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "No operation was found." in plain(acorn("documents", "build", "empty"))
    assert "There is no elsewhere." in plain(acorn("documents", "build", "elsewhere"))


BODY = "query A { channels { id } }"


@pytest.mark.parametrize(
    "written",
    [
        {id_of(BODY): BODY},
        {f"sha256:{id_of(BODY)}": BODY},
        {"5d41402abc4b2a76b9719d911017c592": BODY},
        {
            "format": "apollo-persisted-query-manifest",
            "version": 1,
            "operations": [{"id": id_of(BODY), "name": "A", "type": "query", "body": BODY}],
        },
    ],
)
def test_manifests_of_other_tools_are_read(acorn: Acorn, written: Any) -> None:
    Path("manifest.json").write_text(json.dumps(written), encoding="utf-8")
    assert acorn("documents", "register", "manifest.json").exit_code == 0
    listed = plain(acorn("documents", "list"))
    assert id_of(BODY) in listed
    assert ("5d41402abc4b2a76b9719d911017c592" in listed) is ("5d41402abc4b2a76b9719d911017c592" in written)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[]", "is no manifest"),
        ("{", "is no manifest"),
        ('{"a": 1}', "is no manifest"),
        ('{"format": "apollo-persisted-query-manifest"}', "is no manifest"),
        (json.dumps({"0" * 64: BODY}), "this is not the SHA-256 of its document."),
        (json.dumps({"a b": BODY}), "The id of a document is"),
        (json.dumps({"a": "{ nowhere }"}), "a: Cannot query field"),
        (json.dumps({"a": "fragment A on Stock { sku }"}), "a: The document has no operation."),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_whole(acorn: Acorn, written: str, told: str) -> None:
    Path("manifest.json").write_text(written, encoding="utf-8")
    refused = acorn("documents", "register", "manifest.json")
    assert (refused.exit_code, told in plain(refused)) == (1, True), plain(refused)
    assert plain(acorn("documents", "list")) == ""


def test_an_id_is_never_given_to_another_document(acorn: Acorn) -> None:
    for body in (BODY, "query B { channels { id } }"):
        Path("manifest.json").write_text(json.dumps({"cart": body}), encoding="utf-8")
        told = plain(acorn("documents", "register", "manifest.json"))
    assert "cart is another document's already." in told
    assert "query B" not in plain(acorn("documents", "list"))

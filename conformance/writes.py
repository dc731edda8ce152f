"""Checks that write stock, prices and products. Each sets a known value first, and puts back what was there."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from conformance.kit import (
    Failed,
    Shop,
    Skipped,
    asked,
    at,
    body,
    by_sku,
    check,
    listed,
    new_key,
    problem_of,
    refused,
    result,
    told,
)
from conformance.reads import amount
from conformance.start import NOBODY

STOCK = ("stock", "stock_write")
_POLL_S = 0.05


def _done(item: dict[str, Any], status: int, name: str = "") -> None:
    """Failed unless an item of a bulk came to this."""
    found = (item.get("status"), problem_of(item.get("problem")))
    if found != (status, name):
        raise Failed(f"expected an item with {status} {name}".rstrip() + f", got {found[0]} {found[1]}".rstrip())


@check(
    "stock.read-back",
    "PATCH /stock:bulk",
    "writes a level and reads it",
    "Show what was written to whoever reads afterwards.",
    parts=STOCK,
    write=True,
)
async def read_back(shop: Shop) -> None:
    async with shop.level() as level:
        for quantity in (6, 7):
            _done(await shop.set_stock(level, quantity=quantity), 200)
            shown = [row for row in await shop.levels() if row["location_id"] == level["location_id"]]
            if shown[0]["available"] != quantity:
                raise Failed(f"wrote {quantity}, read {shown[0]['available']}")


@check(
    "stock.negative",
    "PATCH /stock:bulk",
    "takes more than there is",
    "Answer an item that would go below 0 with 409 `insufficient-stock`.",
    parts=STOCK,
    write=True,
)
async def negative(shop: Shop) -> None:
    async with shop.level() as level:
        _done(await shop.set_stock(level, delta=-6), 409, "insufficient-stock")


@check("bulk.status", "PATCH /stock:bulk", "sends one item", "Answer bulk writes with 207.", parts=STOCK, write=True)
async def bulk_status(shop: Shop) -> None:
    async with shop.level() as level:
        answer = await _bulk(shop, [{**level, "quantity": 5}])
        if answer.status_code != 207:
            raise Failed(f"PATCH /stock:bulk answered {told(answer)}")


@check(
    "bulk.partial",
    "PATCH /stock:bulk",
    "sends an unknown SKU before a known one",
    "Let each item stand for itself, and answer each in its place.",
    parts=STOCK,
    write=True,
)
async def partial(shop: Shop) -> None:
    async with shop.level() as level:
        unknown = {"sku": NOBODY, "location_id": level["location_id"], "quantity": 1}
        answer = body(await _bulk(shop, [unknown, {**level, "quantity": 6}]), 200, 207)
        first, second = answer["results"]
        _done(first, 404, "unknown-sku")
        _done(second, 200)
        if (first["index"], second["index"], answer["summary"]) != (0, 1, {"ok": 1, "failed": 1}):
            raise Failed(f"indexes {first['index']}, {second['index']} and summary {answer['summary']}")


@check(
    "bulk.expected",
    "PATCH /stock:bulk",
    "writes with an `expected` that is not so",
    "Answer 412 `stale-quantity` with `current`, and change nothing.",
    parts=STOCK,
    write=True,
)
async def expected(shop: Shop) -> None:
    async with shop.level() as level:
        item = await shop.set_stock(level, quantity=9, expected=4)
        _done(item, 412, "stale-quantity")
        if item["problem"].get("current") != 5:
            raise Failed(f"current is {item['problem'].get('current')}, not 5")
        _done(await shop.set_stock(level, quantity=6, expected=5), 200)


@check(
    "bulk.limit",
    "PATCH /stock:bulk",
    "sends 251 items, none of which there is",
    "Answer more items than limits.bulk with 413.",
    parts=STOCK,
    write=True,
)
async def bulk_limit(shop: Shop) -> None:
    item = {"sku": NOBODY, "location_id": NOBODY, "quantity": 0}
    refused(await _bulk(shop, [item] * 251), 413, "payload-too-large")


async def _bulk(shop: Shop, items: list[dict[str, Any]], mode: str = "set", key: str | None = "") -> httpx.Response:
    return await shop.send("PATCH", "/stock:bulk", {"mode": mode, "items": items}, key=key)


@check(
    "once.required",
    "Once",
    "writes without an Idempotency-Key",
    "Answer 400 `idempotency-key-missing`.",
    parts=STOCK,
    write=True,
)
async def key_required(shop: Shop) -> None:
    async with shop.level() as level:
        refused(await _bulk(shop, [{**level, "quantity": 5}], key=None), 400, "idempotency-key-missing")


@check(
    "once.replay",
    "Once",
    "adds one unit twice with the same key",
    "Keep the answer of a key, give it again with Idempotency-Replayed, do nothing.",
    parts=STOCK,
    write=True,
)
async def replay(shop: Shop) -> None:
    async with shop.level() as level:
        key = new_key()
        first = await _bulk(shop, [{**level, "delta": 1}], "adjust", key)
        second = await _bulk(shop, [{**level, "delta": 1}], "adjust", key)
        shop.keeps_keys = (await shop.set_stock(level, quantity=6, expected=6))["status"] == 200
        if not shop.keeps_keys:
            raise Failed("one unit was added twice with one key, and there are not just one more")
        if (first.status_code, first.content) != (second.status_code, second.content):
            raise Failed(f"the first answer was {told(first)}, the repeated one is {told(second)}, or another body")
        if second.headers.get("Idempotency-Replayed") != "true":
            raise Failed("the repeated answer has no Idempotency-Replayed: true")


def _keys_kept(shop: Shop) -> None:
    if not shop.keeps_keys:
        raise Skipped("no key is kept; see once.replay")


@check(
    "once.mismatch",
    "Once",
    "uses a key for something else",
    "Answer 422 `idempotency-mismatch`, and do nothing.",
    parts=STOCK,
    write=True,
)
async def mismatch(shop: Shop) -> None:
    _keys_kept(shop)
    async with shop.level() as level:
        key = new_key()
        await _bulk(shop, [{**level, "delta": 1}], "adjust", key)
        refused(await _bulk(shop, [{**level, "delta": 2}], "adjust", key), 422, "idempotency-mismatch")


@check(
    "once.at-once",
    "Once",
    "adds one unit five times at once with the same key",
    "Take the key before you begin; answer 409 to others until it is done.",
    parts=STOCK,
    write=True,
)
async def at_once(shop: Shop) -> None:
    _keys_kept(shop)
    async with shop.level() as level:
        key = new_key()
        asked_at_once = (_bulk(shop, [{**level, "delta": 1}], "adjust", key) for _ in range(5))
        answers = await asyncio.gather(*asked_at_once)
        strange = [answer for answer in answers if answer.status_code not in (200, 207, 409)]
        if strange:
            raise Failed(f"one of five answered {told(strange[0])}")
        if (await shop.set_stock(level, quantity=6, expected=6))["status"] != 200:
            raise Failed("five requests with one key at once were not carried out exactly once")


@check(
    "paging.changes",
    "Lists",
    "changes a row between two pages",
    "Let the cursor name (updated_at, id) of the last row, and count nothing.",
    parts=STOCK,
    write=True,
)
async def changes(shop: Shop) -> None:
    levels = (await shop.levels())[:2]
    if len(levels) < 2:
        raise Skipped("name a second SKU with --sku, or one that lies at two locations")
    first, second = ({"sku": row["sku"], "location_id": row["location_id"]} for row in levels)
    try:
        for level, before in zip((first, second), levels, strict=True):
            await shop.set_stock(level, quantity=int(before["available"]) + 1)
        since = at(await _changed_at(shop, first))
        path = f"/stock?{httpx.QueryParams(limit=1, updated_since=asked(since))}"
        if len([row async for row in shop.walk(path, 50)]) < 2:
            raise Skipped("the list does not walk; see paging.walk and paging.since")
        page = body(await shop.get(path), 200)
        if len(page["data"]) != 1 or page["next_cursor"] is None:
            raise Skipped("the list has one page; see paging.limit")
        met = {(row["sku"], row["location_id"]) for row in page["data"]}
        if met != {(first["sku"], first["location_id"])}:
            raise Skipped("the list is not as it was written; see stock.read-back")
        await shop.set_stock(first, quantity=int(levels[0]["available"]) + 2)
        rest = f"{path}&{httpx.QueryParams(cursor=page['next_cursor'])}"
        met |= {(row["sku"], row["location_id"]) for row in listed(await shop.get(rest))}
        if (second["sku"], second["location_id"]) not in met:
            raise Failed("a row that stayed was passed over when the row before it changed")
    finally:
        for level in (first, second):
            await shop.put_stock_back(level)


async def _changed_at(shop: Shop, level: dict[str, Any]) -> str:
    """When a level changed, by the list; a level that is shown late is another check's finding."""
    rows = listed(await shop.get(f"/stock?{by_sku(level['sku'])}"))
    return str(next(row["updated_at"] for row in rows if row["location_id"] == level["location_id"]))


@asynccontextmanager
async def _price(shop: Shop) -> AsyncIterator[dict[str, Any]]:
    """A variant that may be written to, as it is; afterwards its prices are what they were."""
    named = shop.skus()
    if not named:
        raise Skipped("name SKUs with --sku")
    rows = (await shop.json(f"/variants?{by_sku(named[0])}"))["data"]
    if not rows:
        raise Skipped(f"there is no SKU {named[0]}")
    variant = rows[0]
    before = {name: _text(variant.get(name)) for name in ("price", "compare_at_price")}
    what = f"prices of {variant['sku']}"
    shop.touched.add(what)
    try:
        yield variant
    finally:
        were = " and ".join(money["amount"] for money in before.values() if money)
        await shop.put_back(f"{what}, which were {were}", _set_price(shop, variant, **before))


def _text(money: dict[str, Any] | None) -> dict[str, Any] | None:
    """As it was, to the last digit: currencies have none, two or three decimals."""
    return None if money is None else {"amount": f"{amount(money):f}", "currency": money["currency"]}


def _like(money: dict[str, Any], units: int) -> dict[str, Any]:
    """So many whole units, with the decimals of `money`."""
    exponent = amount(money).as_tuple().exponent
    places = max(0, -exponent) if isinstance(exponent, int) else 0
    return {"amount": f"{units:.{places}f}", "currency": money["currency"]}


async def _set_price(shop: Shop, variant: dict[str, Any], **item: object) -> dict[str, Any]:
    return result(await shop.send("PATCH", "/variants:bulk", {"items": [{"sku": variant["sku"], **item}]}))


@check(
    "prices.set",
    "PATCH /variants:bulk",
    "sets both prices, and takes the struck one away",
    "Take compare_at_price away where it is null, keep it where it is left out.",
    parts=("products", "prices"),
    write=True,
)
async def prices(shop: Shop) -> None:
    async with _price(shop) as variant:
        low, high = _like(variant["price"], 11), _like(variant["price"], 12)
        path = f"/variants?{by_sku(variant['sku'])}"
        for sent, kept in (
            ({"price": low, "compare_at_price": high}, ("11", "12")),
            ({"price": high}, ("12", "12")),
            ({"price": low, "compare_at_price": None}, ("11", None)),
        ):
            _done(await _set_price(shop, variant, **sent), 200)
            row = (await shop.json(path))["data"][0]
            shown = [
                None if row.get(name) is None else f"{amount(row[name]):.0f}" for name in ("price", "compare_at_price")
            ]
            if shown != list(kept):
                raise Failed(f"expected price and compare_at_price {kept}, read {tuple(shown)}")


@check(
    "prices.if-rev",
    "PATCH /variants:bulk",
    "sets a price with an if_rev that is over",
    "Answer 412 `stale-revision`, and change nothing.",
    parts=("products", "prices"),
    write=True,
)
async def if_rev(shop: Shop) -> None:
    async with _price(shop) as variant:
        price = _like(variant["price"], 13)
        _done(await _set_price(shop, variant, price=price, if_rev=NOBODY), 412, "stale-revision")


@asynccontextmanager
async def _draft(shop: Shop) -> AsyncIterator[str]:
    """The path of a product that is made for a check and taken away again."""
    mark = secrets.token_hex(4).upper()
    money = {"amount": "1", "currency": shop.told["currency"]}
    made = {
        "title": f"Conformance check {mark}",
        "status": "draft",
        "variants": [{"sku": f"ACORN-CHECK-{mark}", "title": "Check", "price": money}],
    }
    product = body(await shop.send("POST", "/products", made), 201)
    shop.touched.add(f"a draft of its own, {made['title']}")
    path = f"/products/{product['id']}"
    try:
        yield path
    finally:
        rev = (await shop.json(path))["rev"]
        await shop.send("DELETE", path, {}, key=None, rev=rev)


@asynccontextmanager
async def _lockable(shop: Shop) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Something that is changed under If-Match, and a change of it: a draft, or a parcel."""
    if "products_write" in shop.parts:
        async with _draft(shop) as path:
            yield path, {"title": "Conformance check, changed"}
    elif "shipments" in shop.parts:
        yield f"/shipments/{(await shop.shipment())['id']}", {"carrier": "UPS"}
    else:
        raise Skipped("the shop has nothing that is changed under If-Match")


@check(
    "locking.required",
    "Locking",
    "changes something without If-Match",
    "Answer 428 `precondition-required`.",
    write=True,
)
async def if_match_required(shop: Shop) -> None:
    async with _lockable(shop) as (path, change):
        refused(await shop.send("PATCH", path, change, key=None), 428, "precondition-required")


@check(
    "locking.stale",
    "Locking",
    "changes something with an If-Match that is over",
    "Answer 412 `stale-revision`.",
    write=True,
)
async def if_match_stale(shop: Shop) -> None:
    async with _lockable(shop) as (path, change):
        rev = (await shop.json(path))["rev"]
        body(await shop.send("PATCH", path, change, key=None, rev=rev), 200)
        refused(await shop.send("PATCH", path, change, key=None, rev=rev), 412, "stale-revision")


@check(
    "jobs.result",
    "POST /jobs",
    "sets two rows, one of an unknown SKU",
    "Answer 202, then 303 to a result with a line for each line, counted from 1.",
    parts=(*STOCK, "jobs"),
    write=True,
)
async def job(shop: Shop) -> None:
    async with shop.level() as level:
        lines = [{**level, "quantity": 5}, {**level, "sku": NOBODY, "quantity": 5}]
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": f'"{new_key()}"'}
        sent = "\n".join(json.dumps(line) for line in lines)
        made = await shop.ask("POST", "/jobs?kind=stock_set", content=sent, headers=headers)
        path = f"/jobs/{body(made, 202)['id']}"
        ended = await _ended(shop, path)
        answer = await shop.get(f"{path}/result")
        if answer.status_code != 200 or not ended.headers.get("Location", "").endswith("/result"):
            raise Failed(f"{path}/result answered {told(answer)}, Location is {ended.headers.get('Location')}")
        results = [json.loads(line) for line in answer.text.splitlines()]
        found = [(row["line"], row["status"], problem_of(row.get("problem"))) for row in results]
        if found != [(1, 200, ""), (2, 404, "unknown-sku")]:
            raise Failed(f"expected lines 1 with 200 and 2 with 404 unknown-sku, got {found}")


async def _ended(shop: Shop, path: str) -> httpx.Response:
    async with asyncio.timeout(shop.wanted.patience_s):
        while True:
            answer = await shop.get(path)
            if answer.status_code == 303:
                return answer
            body(answer, 200)
            await asyncio.sleep(_POLL_S)

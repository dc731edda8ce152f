"""Checks that only read: pages, revisions, and whether what is told agrees with itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx

from conformance.kit import SAMPLES, Failed, Shop, Skipped, asked, at, body, by_sku, check, listed, refused, told
from conformance.start import NOBODY

LISTS = ("products", "orders", "stock")
ROWS = 60
PER_PAGE = 7
TRIES = 3
PRIVATE = frozenset(
    [
        "email",
        "e_mail",
        "phone",
        "mobile",
        "first_name",
        "last_name",
        "surname",
        "full_name",
        "buyer_name",
        "customer_name",
        "recipient",
        "line1",
        "line2",
        "street",
        "address1",
        "address2",
        "address_line1",
        "address_line2",
        "birthday",
    ]
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[a-z]{2,}", re.IGNORECASE)


def _lists(shop: Shop) -> list[str]:
    found = [SAMPLES[name].partition("?")[0] for name in LISTS if name in shop.parts]
    if not found:
        raise Skipped("the shop lists nothing")
    return found


def _key(row: dict[str, Any]) -> tuple[str, str]:
    return (str(row["id"]), "") if "id" in row else (str(row["sku"]), str(row["location_id"]))


@check(
    "paging.limit",
    "Lists",
    "asks for pages of one row, and of none",
    "Keep to limit, and refuse one that is not 1 to 250 with 400.",
)
async def limit(shop: Shop) -> None:
    for path in _lists(shop):
        count = len(listed(await shop.get(f"{path}?limit=1")))
        if count > 1:
            raise Failed(f"{path}?limit=1 has {count} rows")
        refused(await shop.get(f"{path}?limit=0"), 400, "bad-request")


@check(
    "paging.link",
    "Lists",
    "follows Link",
    'Send Link with rel="next" exactly where next_cursor is not null, to the same page.',
)
async def link(shop: Shop) -> None:
    for path in _lists(shop):
        page = await shop.get(f"{path}?limit=1")
        cursor, target = body(page, 200).get("next_cursor"), page.links.get("next", {}).get("url")
        if (cursor is None) != (target is None):
            raise Failed(
                f"{path}: next_cursor is {'null' if cursor is None else 'there'}, Link is {'there' if target else 'not'}"
            )
        if target is not None:
            address = page.url.join(target)
            if (address.scheme, address.netloc) != (page.url.scheme, page.url.netloc):
                # The token is for the shop alone.
                raise Failed(f"{path}: Link leads to {address.scheme}://{address.netloc.decode()}, which is not asked")
            by_link = listed(await shop.client.get(address, headers={"Authorization": f"Bearer {shop.wanted.token}"}))
            by_cursor = listed(await shop.get(f"{path}?{httpx.QueryParams(limit=1, cursor=cursor)}"))
            if [_key(row) for row in by_link] != [_key(row) for row in by_cursor]:
                raise Failed(f"{path}: Link leads to another page than next_cursor")


@check("paging.order", "Lists", "reads the first rows", "Sort lists by (updated_at, id), ascending.")
async def order(shop: Shop) -> None:
    for path in _lists(shop):
        moments = [at(row["updated_at"]) for row in listed(await shop.get(f"{path}?limit={ROWS}"))]
        if moments != sorted(moments):
            raise Failed(f"{path} is not sorted by updated_at")


@check(
    "paging.walk",
    "Lists",
    f"reads the first {ROWS} rows at once, and by {PER_PAGE}",
    "Let next_cursor go on right after the last row of the page.",
)
async def walk(shop: Shop) -> None:
    for path in _lists(shop):
        for _ in range(TRIES):
            whole = {_key(row) for row in listed(await shop.get(f"{path}?limit={ROWS}"))}
            walked = {_key(row) async for row in shop.walk(f"{path}?limit={PER_PAGE}", len(whole))}
            if whole <= walked:
                break
        else:
            raise Failed(f"{path}: {len(whole - walked)} of {len(whole)} rows are lost between pages of {PER_PAGE}")


@check(
    "paging.cursor",
    "Lists",
    "sends a cursor that nobody gave",
    "Answer 400 `invalid-cursor` to a cursor that you cannot read.",
)
async def cursor(shop: Shop) -> None:
    for path in _lists(shop):
        refused(await shop.get(f"{path}?cursor={NOBODY}"), 400, "invalid-cursor")


@check(
    "paging.since",
    "Lists",
    "asks for what changed since the instant of a row",
    "Let updated_since include the instant it names, and nothing older.",
)
async def since(shop: Shop) -> None:
    for path in _lists(shop):
        rows = listed(await shop.get(f"{path}?limit={ROWS}"))
        if not rows:
            continue
        row = max(rows, key=lambda row: at(row["updated_at"]))
        moment = at(row["updated_at"])
        found = listed(await shop.get(f"{path}?{httpx.QueryParams(limit=250, updated_since=asked(moment))}"))
        if any(at(each["updated_at"]) < moment for each in found):
            raise Failed(f"{path}?updated_since={asked(moment)} has older rows")
        if len(found) < 250 and _key(row) not in {_key(each) for each in found}:
            raise Failed(f"{path}?updated_since={asked(moment)} leaves out the row of that instant")


@check(
    "products.missing",
    "GET /variants",
    "asks for a SKU there is and one there is none of",
    "Name SKUs that you do not have in `missing`.",
    parts=("products",),
)
async def missing_variants(shop: Shop) -> None:
    known = (await shop.rows("products"))[0]["variants"][0]["sku"]
    answer = await shop.json(f"/variants?{by_sku(known, NOBODY)}")
    if [row["sku"] for row in answer["data"]] != [known] or answer["missing"] != [NOBODY]:
        raise Failed(f"asked for {known} and {NOBODY}; missing is {answer['missing']}")


@check(
    "stock.missing",
    "GET /stock",
    "asks for a SKU there is and one there is none of",
    "Name SKUs that you do not have in `missing`.",
    parts=("stock",),
)
async def missing_levels(shop: Shop) -> None:
    known = (await shop.rows("stock"))[0]["sku"]
    answer = await shop.json(f"/stock?{by_sku(known, NOBODY)}")
    if {row["sku"] for row in answer["data"]} != {known} or answer.get("missing") != [NOBODY]:
        raise Failed(f"asked for {known} and {NOBODY}; missing is {answer.get('missing')}")


async def _single(shop: Shop) -> str:
    """The path of something that is read singly."""
    for part in ("orders", "products"):
        if part in shop.parts:
            return f"/{part}/{(await shop.rows(part))[0]['id']}"
    raise Skipped("nothing is read singly")


@check("locking.etag", "Locking", "reads one thing", "Send its rev in quotes as ETag, without W/.")
async def etag(shop: Shop) -> None:
    answer = await shop.get(await _single(shop))
    rev = body(answer, 200)["rev"]
    if answer.headers.get("ETag") != f'"{rev}"':
        raise Failed(f"rev is {rev}, ETag is {answer.headers.get('ETag')}")


@check(
    "locking.not-modified",
    "Locking",
    "reads it again with If-None-Match",
    "Answer 304 where If-None-Match has the ETag that it still has.",
)
async def not_modified(shop: Shop) -> None:
    path = await _single(shop)
    for _ in range(TRIES):
        rev = (await shop.json(path))["rev"]
        answer = await shop.get(path, headers={"If-None-Match": f'"{rev}"'})
        if answer.status_code == 304:
            return
    raise Failed(f"{path} answered {told(answer)} to its own ETag")


@check(
    "orders.same",
    "GET /orders/{id}",
    "reads orders singly and in the list",
    "Tell the same of an order alone and in the list.",
    parts=("orders",),
)
async def same(shop: Shop) -> None:
    for row in (await shop.rows("orders"))[:3]:
        alone = await shop.json(f"/orders/{row['id']}")
        differing = [name for name in row if alone.get(name) != row[name]]
        if differing and alone["rev"] == row["rev"]:
            raise Failed(f"order {row['id']} differs in {differing[0]} at the same rev")


@check(
    "orders.filter",
    "GET /orders",
    "asks for cancelled and for open orders",
    "Keep to status, payment_status and fulfilment_status.",
    parts=("orders",),
)
async def filtered(shop: Shop) -> None:
    for status in ("cancelled", "open"):
        wrong = [row for row in listed(await shop.get(f"/orders?status={status}")) if row["status"] != status]
        if wrong:
            raise Failed(f"/orders?status={status} has order {wrong[0]['id']}, which is {wrong[0]['status']}")


@check(
    "orders.totals",
    "Order.totals",
    "adds up orders",
    "Let grand be items less discount plus shipping, and plus tax where prices do not contain it.",
    parts=("orders",),
)
async def totals(shop: Shop) -> None:
    for row in await shop.rows("orders"):
        amounts = {name: amount(value) for name, value in row["totals"].items()}
        made = amounts["items"] - amounts["discount"] + amounts["shipping"]
        if row.get("taxes_included") is False:
            made += amounts["tax"]
        if made != amounts["grand"]:
            raise Failed(f"order {row['id']}: items less discount plus shipping is {made}, grand is {amounts['grand']}")


@check(
    "orders.buyers",
    "Buyers",
    "looks for names, addresses and e-mails",
    "Leave everything about the buyer out but the country, unless it is asked for with include=buyer.",
    parts=("orders",),
)
async def buyers(shop: Shop) -> None:
    for row in await shop.rows("orders"):
        for place in _private(row, ""):
            raise Failed(f"order {row['id']} has {place}")


def _private(value: object, place: str) -> Iterator[str]:
    """Where a value tells of a buyer; never what it tells."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in PRIVATE or (place.endswith("ship_to") and name == "name"):
                yield f"{place}/{name}"
            yield from _private(inner, f"{place}/{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _private(inner, place)
    elif isinstance(value, str) and _EMAIL.search(value):
        yield place


@check(
    "payouts.sums",
    "GET /payouts",
    "adds up the newest payouts",
    "Let net be amount less fee, and a payout's net the sum of its transactions.",
    parts=("payouts",),
)
async def sums(shop: Shop) -> None:
    for payout in (await shop.rows("payouts"))[-3:]:
        total = Decimal(0)
        async for one in shop.walk(f"/transactions?{httpx.QueryParams(payout_id=payout['id'], limit=250)}", 100_000):
            if amount(one["amount"]) - amount(one["fee"]) != amount(one["net"]):
                raise Failed(f"transaction {one['id']}: net is not amount less fee")
            total += amount(one["net"])
        if total != amount(payout["net"]):
            raise Failed(f"payout {payout['id']}: its transactions sum up to {total}, net is {amount(payout['net'])}")


def amount(money: dict[str, Any]) -> Decimal:
    """An amount, also one that is a number: that is another check's finding."""
    return Decimal(str(money["amount"]))

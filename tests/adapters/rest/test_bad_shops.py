"""Shops that keep the contract badly: what they tell is taken where it is clear, kept apart where it is not, and nothing of it
stops what others tell, goes on for ever, or is taken for more than it proves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.budget import Budgets
from adapters.port import Page, Receipt, ShownKey, StockKey
from adapters.prices import PriceKey
from adapters.rest.catalog import listing_pages
from adapters.rest.client import PLAN, Operation, Reply
from adapters.rest.config import RestConfig
from adapters.rest.orders import order_pages
from adapters.rest.paging import IDLE
from adapters.rest.payouts import movement_pages, payout_pages
from adapters.rest.platform import RestPort
from adapters.rest.skus import LONGEST, MOST, parts
from adapters.rest.stock import Stock
from domain.budget import Ask
from domain.errors import NotFound, OutcomeUnknown, Refused, Transient
from domain.ids import ChannelSku
from tests.adapters.rest.bench import (
    CHANNEL,
    LONG_AGO,
    Asked,
    OpenPort,
    Script,
    euros,
    go,
    key_of,
    level,
    offered,
    ok,
    order,
    problem,
    remembered,
    shipment,
)
from tests.adapters.rest.test_client import NO_LEVELS, TOKEN, done, in_turn, write
from tests.adapters.rest.test_reads import BERLIN, all_of, product, variant

MUG = StockKey(ChannelSku("MUG-R"))


def endless(body: Callable[[int], dict[str, Any]]) -> Callable[[Asked], Any]:
    number = count()
    return lambda asked: body(next(number))


@pytest.mark.parametrize(
    "body",
    [
        lambda number: {"data": [order()], "next_cursor": "same"},
        lambda number: {"data": [order()], "next_cursor": f"c{number}"},
        lambda number: {"data": [], "next_cursor": f"c{number}"},
        lambda number: {"data": [order(f"ord_{number % 3}")], "next_cursor": f"c{number}"},
    ],
    ids=["the cursor is not looked at", "nor is the new one", "empty pages", "in a circle"],
)
async def test_a_list_that_never_ends_is_given_up(open_port: OpenPort, body: Any) -> None:
    script = Script(endless(body), loose=True)
    with pytest.raises(Transient, match="does not end"):
        await all_of(open_port(wire=script.wire()).order_pages(LONG_AGO, Ask()))
    assert IDLE < len(script.of("listOrders")) <= IDLE + 3


async def test_some_empty_pages_do_not_end_a_list(open_port: OpenPort) -> None:
    pages = [{"data": [], "next_cursor": str(number)} for number in range(IDLE)]
    script = Script(in_turn(*pages, {"data": [order()], "next_cursor": None}), loose=True)
    items, _, _ = await all_of(open_port(wire=script.wire()).order_pages(LONG_AGO, Ask()))
    assert [one.external_id for one in items] == ["ord_1"]


@pytest.mark.parametrize("more", [{}, {"next_cursor": ""}, {"next": "/orders?page=2"}], ids=str)
async def test_a_page_that_does_not_say_whether_it_is_the_last_is_not_taken_for_it(
    open_port: OpenPort, more: dict[str, Any]
) -> None:
    script = Script(lambda asked: {"data": [order()], **more}, loose=True)
    with pytest.raises(Transient, match="next_cursor"):
        await all_of(open_port(wire=script.wire()).order_pages(LONG_AGO, Ask()))
    assert len(script.of("listOrders")) == 1


async def untils(pages: AsyncIterator[Page[Any]]) -> list[datetime | None]:
    return [page.until async for page in pages]


async def test_nothing_is_concluded_from_the_order_of_a_list_that_has_none(open_port: OpenPort) -> None:
    """A walk that breaks off after the first page goes on from its `until`: what was older and came later would be lost."""
    first = [order("ord_3", updated_at="2026-11-23T09:00:00Z"), order("ord_2", updated_at="2026-11-23T08:00:00Z")]
    last = [order("ord_1", updated_at="2026-11-23T07:00:00Z")]
    pages = [{"data": first, "next_cursor": "c"}, {"data": last, "next_cursor": None}]
    told = await untils(open_port(wire=Script(in_turn(*pages), loose=True).wire()).order_pages(LONG_AGO, Ask()))
    assert told == [None, datetime(2026, 11, 23, 9, tzinfo=UTC)]
    pages = [{"data": first[::-1], "next_cursor": "c"}, {"data": [], "next_cursor": None}]
    told = await untils(open_port(wire=Script(in_turn(*pages), loose=True).wire()).order_pages(LONG_AGO, Ask()))
    assert told[0] == datetime(2026, 11, 23, 9, tzinfo=UTC), "in their order they are something to go on from"


async def test_a_change_of_next_year_does_not_hide_those_until_then(open_port: OpenPort) -> None:
    rows = [order(), order("ord_2", updated_at="2999-01-01T00:00:00Z")]
    port = open_port(wire=Script(lambda asked: {"data": rows, "next_cursor": None}).wire())
    items, _, until = await all_of(port.order_pages(LONG_AGO, Ask()))
    assert len(items) == 2
    assert until is not None
    assert until <= datetime.now(UTC)


LINE = order()["lines"][0]
BAD_ORDERS = {
    "a NUL": {"number": "10\x0001"},
    "more units than a table counts": {"lines": [LINE | {"quantity": 10**12}]},
    "less than nothing shipped": {"lines": [LINE | {"shipped": -1}]},
    "yes for a number": {"lines": [LINE | {"shipped": True}]},
    "two lines of one id": {"lines": [LINE, LINE | {"sku": "MUG-B"}]},
    "a SKU that no index holds": {"lines": [LINE | {"sku": "x" * 501}]},
    "a time before all time": {"placed_at": "0001-01-01T00:00:00+05:00"},
    "seconds in a string": {"placed_at": "1795420800"},
    "money as a float": {"lines": [LINE | {"unit_price": {"amount": 26.9, "currency": "EUR"}}]},
    "money that no table holds": {"lines": [LINE | {"unit_price": euros("1e999999")}]},
    "money in words": {"lines": [LINE | {"unit_price": euros("1_000")}]},
}


@pytest.mark.parametrize("wrong", BAD_ORDERS.values(), ids=BAD_ORDERS)
async def test_an_order_that_could_not_be_kept_hides_no_other(open_port: OpenPort, wrong: dict[str, Any]) -> None:
    rows = [order("ord_2", **wrong), order()]
    port = open_port(wire=Script(lambda asked: {"data": rows, "next_cursor": None}, loose=True).wire())
    items, rejected, _ = await all_of(port.order_pages(LONG_AGO, Ask()))
    assert [one.external_id for one in items] == ["ord_1"]
    assert [one.key for one in rejected] == ["ord_2"]


PAYOUT = {
    "id": "pay_1",
    "status": "paid",
    "issued_at": "2026-11-24T00:00:00Z",
    "updated_at": "2026-11-24T00:00:00Z",
    "net": euros("56.70"),
    "totals": {"charges": euros("58.70")},
}
MOVEMENT = {
    "id": "txn_1",
    "kind": "charge",
    "amount": euros("58.70"),
    "fee": euros("2.00"),
    "net": euros("56.70"),
    "payout_id": "pay_1",
    "occurred_at": "2026-11-23T08:00:00Z",
}
ORDER = order(shipments=[shipment("shp_1", "JD1", ("lin_1", 1))], on_hold=False, reservation="r", ship_by=None)
PRODUCT = product(variant("A", compare_at_price=euros("30.00"), unit_cost=euros("9.00"), options={"Size": "L"}))
ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.text(max_size=8)
    | st.sampled_from(
        ["", "\x00", "1e999999", "-0", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00Z", [], {}, [None], {"id": 1}]
    )
)


def places(row: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    for key, one in row.items() if isinstance(row, dict) else enumerate(row) if isinstance(row, list) else ():
        found += places(one, (*at, key))
    return found


def put(row: Any, at: tuple[Any, ...], odd: Any) -> Any:
    row = deepcopy(row)
    inner = row
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = odd
    return row


class Shop:
    """A client and what it offers: one page of one row."""

    channel = CHANNEL.id

    def __init__(self, row: Any) -> None:
        self.row = row
        self.client = self
        self.limits = self
        self.config = RestConfig(CHANNEL, "https://shop.test", "token", buyers=True)
        self.page = 250

    async def need(self, operation: Operation, ask: Ask) -> Shop:
        return self

    async def call(self, operation: Operation, ask: Ask, **_: Any) -> Reply:
        return Reply({"data": [self.row], "next_cursor": None}, None, "req")


def walks(shop: Any) -> list[tuple[Any, Callable[[], AsyncIterator[Page[Any]]]]]:
    ask = Ask()
    return [
        (ORDER, lambda: order_pages(shop, shop, LONG_AGO, ask)),
        (PRODUCT, lambda: listing_pages(shop, shop, None, ask)),
        (level("A", "loc_1", 3), lambda: Stock(shop, shop).pages([BERLIN], ask)),
        (PAYOUT, lambda: payout_pages(shop, shop, LONG_AGO, ask)),
        (MOVEMENT, lambda: movement_pages(shop, shop, "pay_1", ask)),
    ]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_row_it_is_taken_or_kept_apart(data: st.DataObject) -> None:
    shop = Shop(None)
    row, walk = data.draw(st.sampled_from(walks(shop)))
    shop.row = put(row, data.draw(st.sampled_from(places(row))), data.draw(ODD))
    asyncio.run(all_of(walk()))


async def test_a_row_as_it_should_be_is_taken() -> None:
    shop = Shop(None)
    for row, walk in walks(shop):
        shop.row = row
        items, rejected, _ = await all_of(walk())
        assert (len(items), rejected) == (1, [])


async def test_prices_in_two_currencies_are_not_compared(open_port: OpenPort) -> None:
    mixed = variant("A", "24.90", compare_at_price={"amount": "2690", "currency": "JPY"})

    def answer(asked: Asked) -> Any:
        return {
            "data": [mixed if asked.operation == "listVariants" else product(mixed)],
            "next_cursor": None,
            "missing": [],
        }

    port = open_port(wire=Script(answer).wire())
    items, rejected, _ = await all_of(port.listing_pages(None, Ask()))
    assert (items, [one.key for one in rejected]) == ([], ["var_A"])
    (unreadable,) = await port.shown_prices([PriceKey(ChannelSku("A"))], Ask())
    assert isinstance(unreadable, Transient)
    assert "JPY" in unreadable.message


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_token": "st\r\n1"},
        {"access_token": ""},
        {"access_token": "st_ü"},
        {"expires_in": 0},
        {"expires_in": 1e300},
    ],
    ids=str,
)
async def test_a_token_that_cannot_be_used_is_none(open_port: OpenPort, wrong: dict[str, Any]) -> None:
    script = Script(lambda asked: httpx.Response(200, json=TOKEN | wrong), loose=True)
    port = open_port(wire=script.wire(), token=None, client_id="gateway", client_secret="s3")
    with pytest.raises(Transient, match="gave no access token"):
        await port.stock([], [MUG], Ask())


async def test_a_tag_that_was_weakened_on_its_way_still_names_the_revision(open_port: OpenPort) -> None:
    there = shipment("shp_1", "OLD", ("lin_1", 1))

    def answer(asked: Asked) -> Any:
        return ok(there, headers={"ETag": 'W/"1"'} if asked.operation == "getShipment" else {"ETag": '"2"'})

    script = Script(answer, loose=True)
    await open_port(wire=script.wire()).correct_tracking(key_of("ord_1"), "shp_1", "DHL", "NEW", Ask(), go)
    assert [one.headers["if-match"] for one in script.of("patchShipment")] == ['"1"']


@pytest.mark.parametrize("id", ["", ".", ".."])
async def test_an_id_that_would_be_another_path_is_not_asked_for(open_port: OpenPort, id: str) -> None:
    script = Script(in_turn(order()))
    port = open_port(wire=script.wire())
    with pytest.raises(NotFound):
        await port.order(key_of(id), Ask())
    assert script.of("getOrder") == []


async def test_who_holds_a_lease_does_not_wait_an_hour_for_an_earlier_attempt(open_port: OpenPort) -> None:
    busy = problem(409, "idempotency-in-progress")
    busy.headers["Retry-After"] = "3600"
    script = Script(in_turn(busy))
    with pytest.raises(OutcomeUnknown):
        await open_port(wire=script.wire()).tell_stock([write(4)], Ask(), go)
    assert len(script.of("patchStock")) == 1


async def test_a_quota_below_one_does_not_stop_us_for_ever(open_port: OpenPort, budgets: Budgets) -> None:
    told = {"RateLimit-Policy": '"default";q=0.5;w=1', "RateLimit": '"default";r=0;t=1'}
    script = Script(lambda asked: ok(NO_LEVELS, headers=told), loose=True)
    port = open_port(wire=script.wire())
    await port.stock([], [MUG], Ask())
    (state,) = await budgets.states([(CHANNEL.id, PLAN)])
    assert state.burst == 1
    await port.stock([], [MUG], Ask())


async def test_two_results_of_one_item_leave_the_outcome_open(open_port: OpenPort) -> None:
    twice = done("MUG-R")
    twice["results"].append(twice["results"][0] | {"status": 404})
    with pytest.raises(OutcomeUnknown):
        await open_port(wire=Script(in_turn(ok(twice, 207)), loose=True).wire()).tell_stock([write(4)], Ask(), go)


async def test_bulk_that_answers_200_is_read_all_the_same(open_port: OpenPort) -> None:
    stale = {"type": "stale-quantity", "title": "Changed", "status": 412, "current": 3}
    mixed = {
        "results": [
            {"index": 1, "sku": "MUG-B", "status": 200},
            {"index": 0, "sku": "MUG-R", "status": 412, "problem": stale},
        ],
        "summary": {"ok": 1, "failed": 1},
    }
    script = Script(in_turn(ok(mixed)), loose=True)
    answers = await open_port(wire=script.wire()).tell_stock([write(4), write(1, sku="MUG-B")], Ask(), go)
    assert [getattr(one, "code", "taken") for one in answers] == ["OTHER_NUMBER", "taken"]


async def test_refunds_on_more_pages_are_not_taken_for_all(open_port: OpenPort) -> None:
    script = Script(lambda asked: {"data": [], "next_cursor": "c"}, loose=True)
    with pytest.raises(Transient, match="next_cursor"):
        await open_port(wire=script.wire()).refunds(key_of("ord_1"), Ask())


async def test_long_skus_are_asked_for_in_addresses_that_servers_take(open_port: OpenPort) -> None:
    skus = [f"マグカップ・ネイビー・{number:02}" for number in range(MOST)] + ["'/ \",%🙂"]
    lengths: list[int] = []

    def answer(asked: Asked) -> Any:
        told = [unquote(part) for part in asked.query["sku"].split(",")]
        return {"data": [level(one, "loc_1", 4) for one in told], "next_cursor": None, "missing": []}

    script = Script(answer)
    handle = script.wire().handler

    def watched(request: httpx.Request) -> Any:
        lengths.append(len(urlsplit(str(request.url)).query))
        return handle(request)

    port: RestPort = open_port(wire=httpx.MockTransport(watched))
    told = await port.shown_stock([ShownKey(ChannelSku(sku), "loc_1") for sku in skus[1:]], Ask())
    assert [one.quantity for one in told] == [4] * MOST
    assert len(script.of("listStock")) > 1
    assert max(lengths) < LONGEST + 100


# All that can be printed, and no character has to be thrown away for it.
PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=60)


@given(st.lists(PRINTABLE, max_size=250))
def test_parts_hold_every_sku_once_and_in_order(skus: list[str]) -> None:
    made = [[unquote(one) for one in part.split(",")] for part in parts(skus)]
    assert [sku for part in made for sku in part] == skus
    assert all(len(part) <= MOST for part in made)


async def test_a_shop_that_stops_saying_what_it_offers_is_not_asked_at_every_call(open_port: OpenPort) -> None:
    script = Script(in_turn(NO_LEVELS), shop=offered(), loose=True)
    port = open_port(wire=script.wire())
    await port.stock([], [MUG], Ask())
    script.shop = {"error": "overloaded"}
    port.offers._until = 0.0
    await port.stock([], [MUG], Ask())
    await port.stock([], [MUG], Ask())
    assert [one.operation for one in script.asked] == ["getShop", "listStock", "getShop", "listStock", "listStock"]


async def test_a_wrong_address_says_so(open_port: OpenPort) -> None:
    html = httpx.Response(404, content=b"<html>nothing here</html>", headers={"content-type": "text/html"})
    with pytest.raises(Refused, match="`url` names the root") as caught:
        await open_port(wire=httpx.MockTransport(lambda _: html)).check(Ask())
    assert "http://shop.test/api/v1" in caught.value.message


async def test_an_old_refusal_is_not_told_where_the_new_attempt_may_have_been_carried_out(open_port: OpenPort) -> None:
    script = Script(in_turn(remembered(), problem(500, "internal")))
    answers = await open_port(wire=script.wire()).tell_stock([write(4), write(1, sku="MUG-B")], Ask(), go)
    assert [type(one) for one in answers] == [Receipt, OutcomeUnknown]


async def test_a_page_of_a_proxy_is_no_proof_that_a_product_is_gone(open_port: OpenPort) -> None:
    html = httpx.Response(404, content=b"<html>nothing here</html>", headers={"content-type": "text/html"})
    with pytest.raises(NotFound):
        await open_port(wire=Script(lambda asked: html, loose=True).wire()).listings_named("ITEM", ["prd_1"], Ask())
    gone = await open_port(wire=Script(lambda asked: problem(404, "not-found")).wire()).listings_named(
        "ITEM", ["p"], Ask()
    )
    assert gone.items == []

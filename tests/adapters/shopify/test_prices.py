"""Prices: told by product, each answer at its own variant, read back as buyers see them."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.port import Receipt
from adapters.prices import PriceKey, Prices, PriceWrite, ShownPrice
from adapters.shopify import bulk, prices
from adapters.shopify.platform import ShopifyPort
from adapters.shopify.prices import Row, routes
from domain.budget import Ask, Priority, Purse
from domain.errors import HouseError, Invalid, NotFound, OutcomeUnknown, Throttled, Transient, Unauthorized
from domain.ids import ChannelSku
from domain.money import Money
from domain.price import Price, Sale
from domain.route import Way, choose
from tests.adapters.shopify.bench import OpenPort, Sandbox, Script, connection

PRODUCT = "gid://shopify/Product/1"


async def nothing(details: object = None) -> None:
    """Nobody minds that it is sent."""


async def skus(sandbox: Sandbox, offset: int, count: int = 1) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await sandbox.get("world", limit=count, offset=offset))["skus"]
    return rows


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


def key(row: dict[str, Any]) -> PriceKey:
    refs = (("product", row["productId"]), ("variant", row["productVariantId"]))
    return PriceKey(ChannelSku(row["sku"]), refs)


def write(row: dict[str, Any], price: str | Money, sale: str | None = None) -> PriceWrite:
    money = price if isinstance(price, Money) else usd(price)
    wanted = Price(money, None if sale is None else Sale(usd(sale)))
    return PriceWrite(key(row), wanted, f"{row['sku']}-{price}-{sale}")


def bare(one: PriceWrite, refs: tuple[tuple[str, str], ...] = ()) -> PriceWrite:
    """The same write where less is known of its variant."""
    return PriceWrite(PriceKey(one.key.channel_sku, refs), one.price, one.reference)


def kinds(answers: list[Receipt | HouseError]) -> list[type]:
    return [type(answer) for answer in answers]


async def seen(port: ShopifyPort, *keys: PriceKey) -> list[tuple[str | None, str | None]]:
    told = [one for one in await port.shown_prices(keys, Ask()) if isinstance(one, ShownPrice)]
    assert [one.key for one in told] == list(keys)
    return [
        (
            str(one.price.regular.amount) if one.price else None,
            str(one.price.sale.price.amount) if one.price and one.price.sale else None,
        )
        for one in told
    ]


async def test_a_shop_can_be_told_prices(port: ShopifyPort) -> None:
    assert isinstance(port, Prices)


async def test_prices_are_told_by_product_and_siblings_stay_as_they_are(sandbox: Sandbox, port: ShopifyPort) -> None:
    rows = await skus(sandbox, 0, 40)
    products = {row["productId"] for row in rows[:30]}
    before = await seen(port, *map(key, rows[30:]))
    journal, ask = await sandbox.journal(), Ask()
    writes = [write(row, f"{10 + n}.90", f"{9 + n}.50" if n % 2 else None) for n, row in enumerate(rows[:30])]
    answers = await port.tell_prices(writes, ask, nothing)
    assert kinds(answers) == [Receipt] * 30
    assert all(isinstance(answer, Receipt) and answer.upstream_request_id for answer in answers)
    assert 1 < len(products) == (await journal.calls()).count("productVariantsBulkUpdate")
    line = ask.bill.lines[port.channel.id, "productVariantsBulkUpdate"]
    assert (line.calls, line.tokens) == (len(products), 10.0 * len(products))
    wanted = [(f"{10 + n}.90", f"{9 + n}.50" if n % 2 else None) for n in range(30)]
    assert await seen(port, *map(key, rows[:30])) == wanted
    assert await seen(port, *map(key, rows[30:])) == before


async def test_a_sale_is_what_buyers_pay_and_the_listing_reads_it_that_way(sandbox: Sandbox, port: ShopifyPort) -> None:
    (row,) = await skus(sandbox, 50)
    await port.tell_prices([write(row, "30", "24.50")], Ask(), nothing)
    (effect,) = [each for each in (await sandbox.get("journal"))["effects"] if each["key"] == row["sku"]][-1:]
    assert (effect["detail"]["price"], effect["detail"]["compareAtPrice"]) == ("24.50", "30.00")
    listed = [one async for page in port.listing_pages(None, Ask()) for one in page.items]
    (found,) = [one for one in listed if one.channel_sku == row["sku"]]
    assert (found.price, found.sale_price) == (usd("30.00"), usd("24.50"))
    await port.tell_prices([write(row, "30")], Ask(), nothing)
    assert await seen(port, key(row)) == [("30.00", None)]


async def test_the_same_again_changes_nothing(sandbox: Sandbox, port: ShopifyPort) -> None:
    rows = await skus(sandbox, 52, 3)
    writes = [write(row, "17.00") for row in rows]
    await port.tell_prices(writes, Ask(), nothing)
    journal = await sandbox.journal()
    assert kinds(await port.tell_prices(writes, Ask(), nothing)) == [Receipt] * 3
    assert await journal.effects() == []


async def test_what_is_wrong_with_one_price_stays_with_it(sandbox: Sandbox, port: ShopifyPort) -> None:
    rows = await skus(sandbox, 56, 5)
    gone = write(rows[1] | {"productVariantId": "gid://shopify/ProductVariant/7"}, "9.00")
    strange = write(rows[2], Money(Decimal("9.00"), "EUR"))
    nobody = write(rows[3] | {"productId": "gid://shopify/Product/7"}, "9.00")
    writes = [write(rows[0], "9.00"), gone, strange, nobody, write(rows[4], "9.999"), write(rows[4], "9", "9")]
    answers = await port.tell_prices(writes, Ask(), nothing)
    assert kinds(answers) == [Receipt, NotFound, Invalid, NotFound, Invalid, Invalid]
    codes = [answer.upstream_code for answer in answers if isinstance(answer, HouseError)]
    assert codes == ["PRODUCT_VARIANT_DOES_NOT_EXIST", None, "PRODUCT_DOES_NOT_EXIST", None, None]
    assert "in EUR; the shop's own prices are in USD" in str(answers[2])
    assert await seen(port, key(rows[0])) == [("9.00", None)]


async def test_a_variant_that_a_key_does_not_name_is_looked_up(sandbox: Sandbox, port: ShopifyPort) -> None:
    rows = await skus(sandbox, 64, 3)
    by_sku = bare(write(rows[0], "8.10"))
    by_variant = bare(write(rows[1], "8.20"), (("variant", rows[1]["productVariantId"]),))
    stranger = PriceWrite(PriceKey(ChannelSku("NONE")), Price(usd("1")), "1")
    journal = await sandbox.journal()
    answers = await port.tell_prices([by_sku, by_variant, stranger, write(rows[2], "8.30")], Ask(), nothing)
    assert kinds(answers) == [Receipt, Receipt, NotFound, Receipt]
    assert await seen(port, *map(key, rows)) == [("8.10", None), ("8.20", None), ("8.30", None)]
    assert {"nodes", "productVariants"} <= set(await journal.calls())


async def test_a_sku_that_is_not_there_shows_no_price(sandbox: Sandbox, port: ShopifyPort) -> None:
    (row,) = await skus(sandbox, 68)
    moved = PriceKey(ChannelSku(row["sku"]), (("variant", "gid://shopify/ProductVariant/7"),))
    first, second = await port.shown_prices([moved, PriceKey(ChannelSku("NONE"))], Ask())
    assert isinstance(first, ShownPrice)
    assert isinstance(second, ShownPrice)
    assert first.price is not None
    assert first.price.regular.amount == Decimal(row["price"])
    assert first.upstream_request_id
    assert (second.price, second.upstream_request_id) == (None, None)


async def test_two_prices_of_one_variant_are_told_one_after_the_other(sandbox: Sandbox, port: ShopifyPort) -> None:
    (row,) = await skus(sandbox, 70)
    journal = await sandbox.journal()
    assert kinds(await port.tell_prices([write(row, "5.00"), write(row, "6.00")], Ask(), nothing)) == [Receipt] * 2
    assert (await journal.calls()).count("productVariantsBulkUpdate") == 2
    assert await seen(port, key(row)) == [("6.00", None)]


async def test_a_lost_answer_leaves_its_call_open_and_sends_no_other(sandbox: Sandbox, port: ShopifyPort) -> None:
    rows = await skus(sandbox, 72, 40)
    first = [row for row in rows if row["productId"] == rows[0]["productId"]]
    second = [row for row in rows if row["productId"] != rows[0]["productId"]][:1]
    await sandbox.faults({"operation": "productVariantsBulkUpdate", "kind": "apply_then_reset", "count": 1})
    writes = [write(row, "3.33") for row in [*first, *second]]
    answers = await port.tell_prices(writes, Ask(), nothing)
    assert kinds(answers) == [OutcomeUnknown] * len(first) + [Transient]
    assert await seen(port, *map(key, first)) == [("3.33", None)] * len(first)
    assert await seen(port, key(second[0])) != [("3.33", None)]
    assert kinds(await port.tell_prices(writes, Ask(), nothing)) == [Receipt] * len(writes)


async def test_nothing_is_sent_once_the_caller_may_not(sandbox: Sandbox, port: ShopifyPort) -> None:
    (row,) = await skus(sandbox, 120)
    journal = await sandbox.journal()

    async def fenced(details: object = None) -> None:
        raise RuntimeError("the lease is lost")

    with pytest.raises(RuntimeError, match="lease"):
        await port.tell_prices([write(row, "4.00")], Ask(), fenced)
    assert "productVariantsBulkUpdate" not in await journal.calls()


async def test_no_scope_fails_the_whole_call(sandbox: Sandbox, open_port: OpenPort) -> None:
    (row,) = await skus(sandbox, 121)
    await sandbox.faults()
    with pytest.raises(Unauthorized, match="write_products"):
        await open_port(sandbox.url, access_token="shpat_sandbox_readonly").tell_prices(
            [write(row, "4.00")], Ask(), nothing
        )


async def test_many_products_go_as_one_bulk_operation_and_each_row_finds_its_answer(
    sandbox: Sandbox, port: ShopifyPort, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(prices, "BULK_S", 0.0)
    monkeypatch.setattr(prices, "ROW_S", 0.0)
    rows = await skus(sandbox, 200, 150)
    writes = [write(row, f"{20 + n}.10") for n, row in enumerate(rows)]
    writes[7] = write(rows[7] | {"productVariantId": "gid://shopify/ProductVariant/7"}, "9.00")
    journal = await sandbox.journal()
    with caplog.at_level(logging.INFO, logger="adapters.shopify.prices"):
        answers = await port.tell_prices(writes, Ask(), nothing)
    assert kinds(answers) == [NotFound if n == 7 else Receipt for n in range(150)]
    calls = await journal.calls()
    assert calls.count("bulkOperationRunMutation") == 1
    assert "productVariantsBulkUpdate" not in calls
    told = await seen(port, *[key(row) for n, row in enumerate(rows) if n != 7])
    assert told == [(f"{20 + n}.10", None) for n in range(150) if n != 7]
    (chosen,) = [record.__dict__ for record in caplog.records if record.message == "prices.chosen"]
    assert chosen["way"] == "bulk"
    assert set(chosen["seconds"]) == {"batch", "bulk"}


async def test_prices_that_a_dead_process_left_at_work_are_not_written_over_newer_ones(
    sandbox: Sandbox, port: ShopifyPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "BULK_S", 0.0)
    monkeypatch.setattr(prices, "ROW_S", 0.0)
    monkeypatch.setattr(bulk, "PAUSES_S", (0.02,))
    rows = await skus(sandbox, 400, 150)
    await sandbox.post("bulk", runSeconds=3600)
    try:
        dying = asyncio.create_task(port.tell_prices([write(row, "30.10") for row in rows], Ask(), nothing))
        while not (begun := await at_work(sandbox)):
            assert not dying.done()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        newer = [write(rows[0], "31.20")]
        with pytest.raises(Transient, match=begun[0]):
            await port.tell_prices(newer, Ask(), nothing)
        await sandbox.post("bulk", runSeconds=0)
        await sandbox.post("clock", advance=3600)
        assert await at_work(sandbox) == []
        assert await seen(port, key(rows[0])) == [("30.10", None)]
        assert kinds(await port.tell_prices(newer, Ask(), nothing)) == [Receipt]
        assert await seen(port, key(rows[0])) == [("31.20", None)]
    finally:
        await sandbox.post("bulk", runSeconds=0.2)


async def at_work(sandbox: Sandbox) -> list[str]:
    told = (await sandbox.get("bulk"))["operations"]
    return [one["id"] for one in told if one["status"] not in ("COMPLETED", "CANCELED", "FAILED", "EXPIRED")]


def purse(tokens: float, rate: float) -> dict[str, Purse]:
    return {"graphql": Purse(tokens, rate, 2000.0, 0.0, 0)}


@pytest.mark.parametrize(
    ("products", "tokens", "rate", "way"),
    [(1, 2000, 100, Way.BATCH), (15, 2000, 100, Way.BATCH), (400, 2000, 100, Way.BULK), (15, 80, 1, Way.BULK)],
)
def test_the_route_is_the_one_that_is_done_first(products: int, tokens: float, rate: float, way: Way) -> None:
    choice = choose(routes(products, 10), purse(tokens, rate))
    assert choice.taken.route.way is way
    assert [other.lost for other in choice.others] != [""]


async def test_the_route_is_told_without_asking_the_shop(sandbox: Sandbox, port: ShopifyPort) -> None:
    journal = await sandbox.journal()
    choice = await port.price_route(3, Priority.WRITE)
    assert (choice.taken.route.way, choice.taken.calls) == (Way.BATCH, 3)
    assert choice.reason
    assert await journal.calls() == []


def script(answer: Any, currency: str = "USD") -> Script:
    def told(name: str, given: dict[str, Any]) -> Any:
        if name == "Currency":
            return {"shop": {"currencyCode": currency}}
        return answer(given) if callable(answer) else answer

    return Script(told)


def row_of(number: int, product: str = PRODUCT) -> dict[str, Any]:
    return {"sku": f"A-{number}", "productId": product, "productVariantId": f"gid://shopify/ProductVariant/{number}"}


def payload(given: dict[str, Any], *errors: tuple[str | None, list[str] | None], echo: bool = True) -> dict[str, Any]:
    return {
        "productVariantsBulkUpdate": {
            "productVariants": given["variants"] if echo else None,
            "userErrors": [{"code": code, "field": field, "message": "No."} for code, field in errors],
        }
    }


async def test_yen_have_no_decimals_and_are_never_rounded(open_port: OpenPort) -> None:
    wire = script(payload, "JPY")
    port = open_port(wire=wire.wire())
    yen = [write(row_of(1), Money(Decimal("1200"), "JPY")), write(row_of(2), Money(Decimal("1200.0"), "JPY"))]
    answers = await port.tell_prices([*yen, write(row_of(3), Money(Decimal("99.5"), "JPY"))], Ask(), nothing)
    assert kinds(answers) == [Receipt, Receipt, Invalid]
    sent = wire.asked[-1][1]["variants"]
    assert [(one["price"], one["compareAtPrice"]) for one in sent] == [("1200", None), ("1200", None)]


async def test_what_is_neither_refused_nor_shown_is_unknown(open_port: OpenPort) -> None:
    def answer(given: dict[str, Any]) -> Any:
        told = payload(given, ("INVALID_INPUT", ["variants", "2", "price"]))
        told["productVariantsBulkUpdate"]["productVariants"] = [
            given["variants"][0],
            {"id": given["variants"][1]["id"], "price": "1.00", "compareAtPrice": None},
        ]
        return told

    answers = await open_port(wire=script(answer).wire()).tell_prices(
        [write(row_of(n), "7.00") for n in range(1, 5)], Ask(), nothing
    )
    assert kinds(answers) == [Receipt, OutcomeUnknown, Invalid, OutcomeUnknown]


@pytest.mark.parametrize("field", [["variants"], None, ["variants", "99", "price"]])
async def test_a_refusal_that_names_no_row_is_that_of_all_that_are_not_shown(
    open_port: OpenPort, field: list[str] | None
) -> None:
    wire = script(lambda given: payload(given, ("PRODUCT_SUSPENDED", field), echo=False))
    answers = await open_port(wire=wire.wire()).tell_prices([write(row_of(n), "7.00") for n in (1, 2)], Ask(), nothing)
    assert kinds(answers) == [Invalid, Invalid]
    assert "suspended" in str(answers[0])


async def test_an_answer_that_makes_no_sense_leaves_the_outcome_open(open_port: OpenPort) -> None:
    wire = script({"productVariantsBulkUpdate": {"productVariants": "all"}})
    answers = await open_port(wire=wire.wire()).tell_prices([write(row_of(1), "7.00")], Ask(), nothing)
    assert kinds(answers) == [OutcomeUnknown]


async def test_more_than_250_variants_of_a_product_take_a_second_call(open_port: OpenPort) -> None:
    wire = script(payload)
    writes = [write(row_of(n), "7.00") for n in range(300)]
    assert kinds(await open_port(wire=wire.wire()).tell_prices(writes, Ask(), nothing)) == [Receipt] * 300
    assert [len(given["variants"]) for name, given in wire.asked if name == "SetPrices"] == [250, 50]


async def test_what_stops_a_later_call_leaves_the_answers_of_the_first(open_port: OpenPort) -> None:
    calls: list[str] = []

    def answer(given: dict[str, Any]) -> Any:
        calls.append(given["product"])
        return payload(given) if len(calls) == 1 else httpx.Response(429, headers={"Retry-After": "4"})

    products = [f"gid://shopify/Product/{n}" for n in (1, 2, 3)]
    writes = [write(row_of(n, product), "7.00") for n, product in enumerate(products)]
    answers = await open_port(wire=script(answer).wire()).tell_prices(writes, Ask(), nothing)
    assert kinds(answers) == [Receipt, Throttled, Throttled]
    assert calls == products[:2]
    calls.append("so that the first call is the one that is stopped")
    with pytest.raises(Throttled):
        await open_port(wire=script(answer).wire()).tell_prices(writes, Ask(), nothing)


async def test_more_than_a_batch_is_refused_unasked(open_port: OpenPort) -> None:
    wire = script(payload)
    port = open_port(wire=wire.wire())
    with pytest.raises(Invalid, match="2001"):
        await port.tell_prices([write(row_of(n), "1") for n in range(2001)], Ask(), nothing)
    with pytest.raises(Invalid, match="2001"):
        await port.shown_prices([key(row_of(n)) for n in range(2001)], Ask())
    assert wire.asked == []


async def test_a_sku_on_two_variants_is_the_first_of_them(open_port: OpenPort) -> None:
    def variant(number: int, price: str) -> dict[str, Any]:
        gid = f"gid://shopify/ProductVariant/{number}"
        return {"id": gid, "sku": "A-1", "price": price, "compareAtPrice": None, "product": {"id": PRODUCT}}

    wire = script({"productVariants": connection(variant(3, "3.00"), variant(9, "9.00"))})
    (told,) = await open_port(wire=wire.wire()).shown_prices([PriceKey(ChannelSku("A-1"))], Ask())
    assert isinstance(told, ShownPrice)
    assert told.price == Price(usd("3.00"))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=60))
def test_calls_hold_every_row_once_by_product_in_the_order_of_each_variant(given: list[tuple[int, int]]) -> None:
    rows = [
        Row(place, ChannelSku("A"), f"p{product}", f"p{product}v{variant}", Decimal(1), None)
        for place, (product, variant) in enumerate(given)
    ]
    calls = prices._calls(rows)
    assert sorted(row.place for call in calls for row in call) == list(range(len(rows)))
    for call in calls:
        assert len({row.product for row in call}) == 1
        assert len({row.variant for row in call}) == len(call)
    for variant in {row.variant for row in rows}:
        told = [row.place for call in calls for row in call if row.variant == variant]
        assert told == sorted(told)

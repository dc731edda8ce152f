"""How a shop is spoken to: tokens, keys, budget, and what is done before a failure is one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from adapters.budget import Budgets
from adapters.port import Receipt, ShownKey, StockKey, StockWrite
from adapters.rest import operations
from adapters.rest.client import PLAN, WAITS, Operation
from adapters.rest.errors import retry_after_s
from adapters.transport import NothingSent
from domain.budget import Ask
from domain.errors import Conflict, NotFound, OtherNumber, OutcomeUnknown, Refused, Throttled, Unauthorized
from domain.ids import ChannelSku
from tests.adapters.rest.bench import (
    CHANNEL,
    Asked,
    OpenPort,
    Script,
    go,
    key_of,
    level,
    offered,
    ok,
    order,
    parcel_of,
    problem,
    remembered,
    shipment,
)
from tests.adapters.rest.contract import Contract

TOKEN: dict[str, Any] = {"access_token": "st_1", "token_type": "Bearer", "expires_in": 3600, "scope": "stock:read"}
NO_LEVELS: dict[str, Any] = {"data": [], "next_cursor": None, "missing": ["MUG-R"]}
MUG = StockKey(ChannelSku("MUG-R"))


def write(units: int, expected: int | None = 5, sku: str = "MUG-R", reference: str = "w1") -> StockWrite:
    return StockWrite(ShownKey(ChannelSku(sku), "loc_1"), units, expected, reference)


def done(*skus: str) -> dict[str, Any]:
    results = [{"index": index, "sku": sku, "status": 200, "rev": "20"} for index, sku in enumerate(skus)]
    return {"results": results, "summary": {"ok": len(skus), "failed": 0}}


def in_turn(*answers: Any) -> Any:
    """Answers in their order; the last one stays."""
    rest: Iterator[Any] = iter(answers[:-1])
    return lambda asked: next(rest, answers[-1])


async def test_a_lasting_token_goes_with_every_request(open_port: OpenPort) -> None:
    script = Script(in_turn(NO_LEVELS))
    await open_port(wire=script.wire(), token="st_mine").stock([], [MUG], Ask())
    assert {one.headers["authorization"] for one in script.asked} == {"Bearer st_mine"}


async def test_a_token_is_bought_once_and_anew_when_it_is_refused(open_port: OpenPort) -> None:
    tokens = iter(["st_1", "st_2"])

    def answer(asked: Asked) -> Any:
        if asked.operation == "postToken":
            headers = {"X-Request-Id": "r", "Cache-Control": "no-store"}
            return httpx.Response(200, json=TOKEN | {"access_token": next(tokens)}, headers=headers)
        return problem(401, "unauthorized") if asked.headers["authorization"] == "Bearer st_1" else NO_LEVELS

    script = Script(answer)
    port = open_port(wire=script.wire(), token=None, client_id="gateway", client_secret="s3")
    await port.stock([], [MUG], Ask())
    assert [one.operation for one in script.asked] == ["postToken", "getShop", "listStock", "postToken", "listStock"]
    assert script.of("postToken")[0].body == b"grant_type=client_credentials&client_id=gateway&client_secret=s3"


async def test_a_token_that_is_refused_for_good_says_so(open_port: OpenPort) -> None:
    def answer(asked: Asked) -> Any:
        if asked.operation == "postToken":
            return httpx.Response(
                401, json={"error": "invalid_client"}, headers={"X-Request-Id": "r", "content-type": "application/json"}
            )
        raise AssertionError("nothing is asked without a token")

    port = open_port(wire=Script(answer).wire(), token=None, client_id="gateway", client_secret="wrong")
    with pytest.raises(Unauthorized, match="client_secret"):
        await port.stock([], [MUG], Ask())


async def test_the_budget_takes_over_what_the_shop_grants(open_port: OpenPort, budgets: Budgets) -> None:
    told = {"RateLimit-Policy": '"default";q=600;w=600', "RateLimit": '"default";r=300;t=600'}
    script = Script(lambda asked: ok(NO_LEVELS, headers=told))
    await open_port(wire=script.wire()).stock([], [MUG], Ask())
    (state,) = await budgets.states([(CHANNEL.id, PLAN)])
    assert (state.rate, state.burst) == (1, 600)
    assert state.remaining == 0, (
        "the bucket gains 600 until the reset, and 300 are left: nothing may be made ahead of it"
    )


async def test_429_empties_the_budget_and_says_when(open_port: OpenPort, budgets: Budgets) -> None:
    refused = problem(429, "rate-limited")
    refused.headers["RateLimit-Policy"], refused.headers["RateLimit"] = '"default";q=60;w=60', '"default";r=0;t=60'
    with pytest.raises(Throttled) as caught:
        await open_port(wire=Script(in_turn(refused)).wire()).stock([], [MUG], Ask())
    assert caught.value.retry_after_s == 7
    (state,) = await budgets.states([(CHANNEL.id, PLAN)])
    assert (state.throttled, state.remaining) == (1, 0)


async def test_the_bill_names_the_operations(open_port: OpenPort) -> None:
    ask = Ask()
    await open_port(wire=Script(in_turn(NO_LEVELS)).wire()).stock([], [MUG], ask)
    assert {(operation, line.calls) for (_, operation), line in ask.bill.lines.items()} == {
        ("getShop", 1),
        ("listStock", 1),
    }


async def test_what_never_left_the_house_costs_nothing(open_port: OpenPort, budgets: Budgets) -> None:
    ask = Ask()
    script = Script(in_turn(httpx.ConnectError("refused")))
    port = open_port(wire=script.wire())
    await port.offers.shop(Ask())
    (before,) = await budgets.states([(CHANNEL.id, PLAN)])
    with pytest.raises(NothingSent):
        await port.stock([], [MUG], ask)
    (after,) = await budgets.states([(CHANNEL.id, PLAN)])
    assert after.remaining >= before.remaining
    assert sum(line.calls for line in ask.bill.lines.values()) == 0


async def test_the_same_writes_have_the_same_key_and_others_another(open_port: OpenPort) -> None:
    script = Script(lambda asked: ok(done(*(one["sku"] for one in asked.body["items"])), 207))
    port = open_port(wire=script.wire())
    for writes in ([write(4)], [write(4)], [write(3)], [write(4, reference="w2")], [write(4), write(1, sku="MUG-B")]):
        assert all(isinstance(one, Receipt) for one in await port.tell_stock(writes, Ask(), go))
    first, second, *others = [one.headers["idempotency-key"] for one in script.of("patchStock")]
    assert first == second
    assert len({first, *others}) == 4


async def test_an_attempt_that_is_under_way_is_waited_for_under_its_key(open_port: OpenPort) -> None:
    busy = problem(409, "idempotency-in-progress")
    busy.headers["Retry-After"] = "0"
    script = Script(in_turn(busy, busy, ok(done("MUG-R"), 207)))
    (answer,) = await open_port(wire=script.wire()).tell_stock([write(4)], Ask(), go)
    assert isinstance(answer, Receipt)
    assert len({one.headers["idempotency-key"] for one in script.of("patchStock")}) == 1
    assert len(script.of("patchStock")) == 3


async def test_an_attempt_that_stays_under_way_leaves_its_outcome_open(open_port: OpenPort) -> None:
    busy = problem(409, "idempotency-in-progress")
    busy.headers["Retry-After"] = "0"
    script = Script(in_turn(busy))
    with pytest.raises(OutcomeUnknown):
        await open_port(wire=script.wire()).tell_stock([write(4)], Ask(), go)
    assert len(script.of("patchStock")) == WAITS + 1


async def test_a_refusal_from_the_shops_memory_is_asked_anew_under_the_next_key(open_port: OpenPort) -> None:
    """What was refused an hour ago, before somebody mended it, must not be refused for a day."""
    old = problem(409, "over-shipment")
    old.headers["Idempotency-Replayed"] = "true"
    made = shipment("shp_1", "JD1", ("lin_1", 2), reference="7")
    answers = iter([old, ok(made, 201, {"Location": "/x", "ETag": '"1"'})])
    script = Script(lambda asked: order() if asked.operation == "getOrder" else next(answers), loose=True)
    receipt = await open_port(wire=script.wire()).confirm_shipment(
        key_of("ord_1"), parcel_of("JD1", ("lin_1", 2)), Ask(), go
    )
    assert receipt.reference == "shp_1"
    keys = [one.headers["idempotency-key"] for one in script.of("createShipment")]
    assert len(set(keys)) == 2


async def test_a_refusal_of_now_is_final(open_port: OpenPort) -> None:
    script = Script(lambda asked: order() if asked.operation == "getOrder" else problem(409, "over-shipment"))
    with pytest.raises(Conflict) as caught:
        await open_port(wire=script.wire()).confirm_shipment(key_of("ord_1"), parcel_of("JD1", ("lin_1", 2)), Ask(), go)
    assert caught.value.upstream_code == "over-shipment"
    assert len(script.of("createShipment")) == 1


async def test_items_that_the_shop_remembers_as_refused_are_asked_anew_and_no_others(open_port: OpenPort) -> None:
    script = Script(in_turn(remembered(), ok(done("MUG-B"), 207)))
    answers = await open_port(wire=script.wire()).tell_stock([write(4), write(1, sku="MUG-B")], Ask(), go)
    assert [type(one) for one in answers] == [Receipt, Receipt]
    assert [one["sku"] for one in script.of("patchStock")[1].body["items"]] == ["MUG-B"]


async def test_each_item_has_its_own_answer(open_port: OpenPort) -> None:
    def failed(index: int, sku: str, status: int, name: str, **more: Any) -> dict[str, Any]:
        said = {"type": f"https://shop.example/problems/{name}", "title": name, "status": status, **more}
        return {"index": index, "sku": sku, "status": status, "problem": said}

    results = [
        failed(2, "C", 404, "unknown-sku"),
        {"index": 0, "sku": "A", "status": 200, "rev": "20"},
        failed(1, "B", 412, "stale-quantity", current=3),
        failed(3, "D", 500, "internal"),
        failed(4, "E", 422, "validation"),
    ]
    script = Script(in_turn(ok({"results": results, "summary": {"ok": 1, "failed": 4}}, 207)))
    writes = [write(4, sku=sku) for sku in "ABCDE"]
    answers = await open_port(wire=script.wire()).tell_stock(writes, Ask(), go)
    assert [getattr(one, "code", "taken") for one in answers] == [
        "taken",
        "OTHER_NUMBER",
        "NOT_FOUND",
        "OUTCOME_UNKNOWN",
        "INVALID",
    ]
    assert isinstance(answers[1], OtherNumber)
    assert answers[1].shown == 3


@pytest.mark.parametrize("results", [[], [{"index": 0, "sku": "OTHER", "status": 200, "rev": "1"}]])
async def test_results_that_cannot_be_told_apart_leave_the_outcome_open(
    open_port: OpenPort, results: list[Any]
) -> None:
    script = Script(in_turn(ok({"results": results, "summary": {"ok": 0, "failed": 0}}, 207)))
    with pytest.raises(OutcomeUnknown):
        await open_port(wire=script.wire()).tell_stock([write(4)], Ask(), go)


async def test_a_shop_with_small_limits_is_told_in_small_parts(open_port: OpenPort) -> None:
    def answer(asked: Asked) -> Any:
        skus = [one["sku"] for one in asked.body["items"]]
        return problem(429, "rate-limited") if "E" in skus else ok(done(*skus), 207)

    script = Script(answer, shop=offered(bulk=2))
    answers = await open_port(wire=script.wire()).tell_stock([write(1, sku=sku) for sku in "ABCDEF"], Ask(), go)
    assert [len(one.body["items"]) for one in script.of("patchStock")] == [2, 2, 2]
    assert [type(one) for one in answers] == [Receipt] * 4 + [Throttled] * 2


async def test_nothing_is_sent_that_cannot_be_made_durable(open_port: OpenPort, budgets: Budgets) -> None:
    async def refuse() -> None:
        raise RuntimeError("lease lost")

    script = Script(in_turn(ok(done("MUG-R"), 207)))
    with pytest.raises(RuntimeError):
        await open_port(wire=script.wire()).tell_stock([write(4)], Ask(), refuse)
    assert script.of("patchStock") == []


async def test_a_shop_that_offers_no_payouts_makes_none(open_port: OpenPort) -> None:
    port = open_port(wire=Script(in_turn(NO_LEVELS), shop=offered("products")).wire())
    with pytest.raises(NotFound, match="does not offer `payouts`"):
        async for _ in port.payout_pages(datetime.now(UTC), Ask()):
            pass


async def test_a_part_that_is_not_offered_is_never_called(open_port: OpenPort) -> None:
    script = Script(in_turn(NO_LEVELS), shop=offered("products", "stock"))
    port = open_port(wire=script.wire())
    for wanted in (
        port.tell_stock([write(4)], Ask(), go),
        port.confirm_shipment(key_of("ord_1"), parcel_of("JD1", ("lin_1", 1)), Ask(), go),
        port.refunds(key_of("ord_1"), Ask()),
        port.order(key_of("ord_1"), Ask()),
    ):
        with pytest.raises(Refused, match="does not offer") as caught:
            await wanted
        assert caught.value.upstream_code == "not-offered"
    assert [one.operation for one in script.asked] == ["getShop"], "asked once, and believed"


async def test_doctor_tells_what_is_missing_and_what_to_do(open_port: OpenPort) -> None:
    shop = offered("products", "stock", "orders", scopes=["catalog:read", "orders:read"])
    checked = await open_port(wire=Script(in_turn(NO_LEVELS), shop=shop).wire()).check(Ask())
    found = {one.found for one in checked.warnings}
    assert "The token lacks the scope stock:read for `stock`: its stock is not read." in found
    assert "The shop does not offer `shipments`: parcels cannot be confirmed to it." in found
    whole = await open_port(wire=Script(in_turn(NO_LEVELS)).wire()).check(Ask())
    assert (whole.said, whole.warnings) == ("Shop Mugs and more answers, in EUR, and offers everything.", ())


async def test_a_shop_of_another_contract_is_refused(open_port: OpenPort) -> None:
    script = Script(in_turn(NO_LEVELS), shop=offered() | {"contract": "2.0"}, loose=True)
    with pytest.raises(Refused, match=r"speaks version 2\.0"):
        await open_port(wire=script.wire()).stock([], [MUG], Ask())


@pytest.mark.parametrize("sku", ["a,b", "50%", "a%2Cb", "ä b/c?&#", "+1"])
async def test_any_sku_is_asked_for_as_it_is(open_port: OpenPort, sku: str) -> None:
    def answer(asked: Asked) -> Any:
        # As the contract says: parted at the commas, then each decoded once more.
        skus = [unquote(part) for part in asked.query["sku"].split(",")]
        return {"data": [level(one, "loc_1", 4) for one in skus], "next_cursor": None, "missing": []}

    port = open_port(wire=Script(answer).wire())
    told = await port.shown_stock([ShownKey(ChannelSku(sku), "loc_1"), ShownKey(ChannelSku("X"), "loc_1")], Ask())
    assert [one.quantity for one in told] == [4, 4]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("17", 17.0), ("", 1.0), ("soon", 1.0), ("-4", 0.0), ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0), ("9e9", 3600.0)],
)
def test_how_long_to_wait(told: str, seconds: float) -> None:
    assert retry_after_s({"Retry-After": told}) == seconds


def test_all_that_is_called_stands_in_the_contract() -> None:
    contract = Contract()
    called = [one for one in vars(operations).values() if isinstance(one, Operation)]
    assert len(called) > 15
    for one in called:
        method, path, said = contract.operations[one.name]
        assert (one.method, one.path, one.part) == (method, path, said.get("x-part", "")), one.name
        assert one.write == (method != "GET"), one.name

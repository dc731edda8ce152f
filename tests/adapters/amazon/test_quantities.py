"""What our own offers show, out of written answers."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from redis.asyncio import Redis

from adapters.port import Page, Receipt, Shown, ShownKey, StockWrite
from domain.budget import Ask
from domain.errors import HouseError, Invalid, MissingRole, OutcomeUnknown, Refused, Throttled, Transient
from domain.ids import ChannelSku
from tests.adapters.amazon.bench import IDS, Desk, Line, go, make_config, make_desk

REFS = {"marketplace": "US", "productType": "LUGGAGE", "fulfillmentChannel": "DEFAULT"}


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """With a budget that pages do not exhaust."""
    plan = desk.port.plans["searchListingsItems"]
    await desk.budgets.states([(desk.channel, plan)])
    await desk.budgets.adopt(desk.channel, plan.operation, rate=1000)
    return desk


def key(sku: str, **refs: str) -> ShownKey:
    return ShownKey(ChannelSku(sku), refs=tuple(sorted(refs.items())))


def submission(status: str = "ACCEPTED", *issues: dict[str, Any], code: int = 200) -> httpx.Response:
    body = {"sku": "A1", "status": status, "submissionId": "f1dc2914-75dd-11ea-bc55-0242ac130003", "issues": issues}
    return httpx.Response(code, json=body, headers={"x-amzn-RequestId": "call-1"})


def issue(message: str, severity: str = "ERROR", code: str = "90220") -> dict[str, Any]:
    return {"code": code, "message": message, "severity": severity, "categories": []}


def item(sku: str, *channels: str | tuple[str, int]) -> dict[str, Any]:
    """A listing that is sold through these channels, with their units where Amazon says them."""
    availability = []
    for one in channels:
        code, units = one if isinstance(one, tuple) else (one, None)
        availability.append(
            {"fulfillmentChannelCode": code} | ({} if units is None else {"quantity": units}),
        )
    summary = {"marketplaceId": IDS["US"], "createdDate": "2026-03-01T12:00:00Z"}
    return {"sku": sku, "summaries": [summary], "fulfillmentAvailability": availability}


def page(*items: Any, token: str | None = None) -> httpx.Response:
    pagination = {"pagination": {"nextToken": token}} if token else {}
    body = {"numberOfResults": len(items), "items": items, **pagination}
    return httpx.Response(200, json=body, headers={"x-amzn-RateLimit-Limit": "1000", "x-amzn-RequestId": "call-1"})


async def tell(desk: Desk, told: ShownKey | None = None) -> Receipt | HouseError:
    (answer,) = await desk.port.tell_stock([StockWrite(told or key("A1", **REFS), 7, 9, "701")], Ask(), go)
    return answer


async def shown(desk: Desk, *keys: ShownKey) -> list[tuple[str, int | None]]:
    return [(one.key.channel_sku, one.quantity) for one in await desk.port.shown_stock(keys, Ask())]


async def sweep(desk: Desk) -> list[Page[Shown]]:
    return [page async for page in desk.port.shown_pages([""], Ask())]


# Telling


async def test_a_number_is_merged_into_the_listing_of_its_marketplace(desk: Desk, line: Line) -> None:
    line.answers.append(submission())
    ask = Ask()
    write = StockWrite(key("A,1/2 ü", **REFS), 7, 9, "701")
    assert await desk.port.tell_stock([write], ask, go) == [Receipt("call-1", "f1dc2914-75dd-11ea-bc55-0242ac130003")]
    (call,) = line.calls
    assert call.method == "PATCH"
    assert call.url.raw_path.decode().partition("?")[0] == ("/listings/2021-08-01/items/A1SANDBOXNA/A%2C1%2F2%20%C3%BC")
    assert dict(call.url.params) == {"marketplaceIds": IDS["US"], "includedData": "issues", "issueLocale": "en_US"}
    entry = {"fulfillment_channel_code": "DEFAULT", "quantity": 7, "marketplace_id": IDS["US"]}
    patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": [entry]}
    assert json.loads(call.content) == {"productType": "LUGGAGE", "patches": [patch]}
    assert ask.bill.lines[desk.channel, "patchListingsItem"].calls == 1


async def test_without_refs_the_first_marketplace_and_any_type_will_do(redis: Redis, line: Line) -> None:
    eu = make_desk(redis, make_config("eu"), httpx.MockTransport(line))
    line.answers.append(submission())
    assert isinstance(await tell(eu, key("A1")), Receipt)
    assert isinstance(await tell(eu, key("A1", marketplace="FR")), Receipt)
    assert [call.url.params["marketplaceIds"] for call in line.calls] == [IDS["DE"], IDS["FR"]]
    assert {json.loads(call.content)["productType"] for call in line.calls} == {"PRODUCT"}
    await eu.close()


@pytest.mark.parametrize(
    ("channel_code", "words"),
    [
        ("AMAZON_NA", r"Amazon fulfills A1 \(AMAZON_NA\) and counts it itself"),
        ("8c1f-supply-source", "sold from the supply source 8c1f-supply-source"),
    ],
)
async def test_only_our_own_offers_are_given_a_number(desk: Desk, line: Line, channel_code: str, words: str) -> None:
    answer = await tell(desk, key("A1", **{**REFS, "fulfillmentChannel": channel_code}))
    assert isinstance(answer, Refused)
    with pytest.raises(Refused, match=words):
        raise answer
    assert line.calls == []


async def test_an_invalid_submission_is_refused_in_amazons_words(desk: Desk, line: Line) -> None:
    line.answers.append(
        submission(
            "INVALID", issue("Look at the image.", "WARNING", "18027"), issue("'quantity' is too large."), issue("No.")
        )
    )
    answer = await tell(desk)
    assert isinstance(answer, Refused)
    assert answer.message == "Amazon refuses the quantity of A1: 'quantity' is too large. No."
    assert (answer.upstream_code, answer.upstream_request_id) == ("90220", "call-1")


async def test_an_invalid_submission_without_a_reason_is_refused_all_the_same(desk: Desk, line: Line) -> None:
    line.answers.append(submission("INVALID"))
    assert isinstance(await tell(desk), Refused)


async def test_warnings_of_an_accepted_submission_change_nothing(desk: Desk, line: Line) -> None:
    line.answers.append(submission("ACCEPTED", issue("Look at the image.", "WARNING", "18027")))
    assert isinstance(await tell(desk), Receipt)


@pytest.mark.parametrize("status", [400, 404, 413])
async def test_a_refusal_stands_in_the_place_of_its_write(desk: Desk, line: Line, status: int) -> None:
    line.answers.append(httpx.Response(status, json={"errors": [{"code": "NotFound", "message": "No such SKU."}]}))
    answer = await tell(desk)
    assert isinstance(answer, Refused)
    assert "No such SKU." in answer.message


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (httpx.Response(429, json={"errors": [{"code": "QuotaExceeded", "message": "Slower."}]}), Throttled),
        (httpx.Response(403, json={"errors": [{"code": "Unauthorized", "message": "Denied."}]}), MissingRole),
        (httpx.Response(500, json={"errors": [{"code": "InternalFailure", "message": "Oh."}]}), OutcomeUnknown),
        (httpx.Response(503), OutcomeUnknown),
        (httpx.ReadTimeout("late"), OutcomeUnknown),
        (httpx.Response(200, content=b"{"), OutcomeUnknown),
        (httpx.Response(202), OutcomeUnknown),
        (submission("VALID"), OutcomeUnknown),
        (submission("STRANGE"), OutcomeUnknown),
        (httpx.ConnectError("no way"), Transient),
    ],
)
async def test_a_failure_of_the_call_says_what_is_known(
    desk: Desk, line: Line, answer: httpx.Response | Exception, failure: type[HouseError]
) -> None:
    line.answers.append(answer)
    with pytest.raises(failure) as caught:
        await tell(desk)
    assert type(caught.value) is failure or failure is Transient
    assert len(line.calls) == 1


async def test_who_may_no_longer_send_sends_nothing_and_pays_nothing(desk: Desk, line: Line) -> None:
    async def stop() -> None:
        raise Refused("The lease is over.")

    with pytest.raises(Refused, match="lease is over"):
        await desk.port.tell_stock([StockWrite(key("A1", **REFS), 7, None, "701")], Ask(), stop)
    assert line.calls == []
    # A burst of 5 less what is kept back: 0.1 tokens and 0.05 s of the rate.
    assert (await desk.state("patchListingsItem"))[1] == pytest.approx(4.65)


async def test_one_write_a_call(desk: Desk, line: Line) -> None:
    write = StockWrite(key("A1"), 7, None, "701")
    assert desk.port.tell_batch == 1
    with pytest.raises(Invalid, match="takes one SKU"):
        await desk.port.tell_stock([write, write], Ask(), go)
    assert await desk.port.tell_stock([], Ask(), go) == []
    assert line.calls == []


# Reading back


async def test_one_answer_for_each_key_in_their_order(desk: Desk, line: Line) -> None:
    line.answers.append(
        page(
            item("Z", ("DEFAULT", 0)),
            item("A,1", ("DEFAULT", 4)),
            item("F", "AMAZON_NA"),
            item("M", ("DEFAULT", 3), "AMAZON_NA"),
            item("S", ("8c1f-supply-source", 6)),
            item("N", "DEFAULT"),
            item("E"),
        )
    )
    keys = [key(sku, marketplace="US") for sku in ("A,1", "Z", "F", "M", "S", "N", "E", "GONE")]
    told = await desk.port.shown_stock(keys, Ask())
    assert [one.key for one in told] == keys
    assert [one.quantity for one in told] == [4, 0, None, None, None, None, None, None]
    assert {one.upstream_request_id for one in told} == {"call-1"}
    assert all(one.as_of.tzinfo is not None for one in told)
    (call,) = line.calls
    assert "identifiers=A%2C1,Z,F,M,S,N,E,GONE" in str(call.url)
    assert parse_qs(urlsplit(str(call.url)).query) == {
        "marketplaceIds": [IDS["US"]],
        "identifiers": ["A,1,Z,F,M,S,N,E,GONE"],
        "identifiersType": ["SKU"],
        "includedData": ["fulfillmentAvailability"],
        "pageSize": ["20"],
    }


async def test_keys_are_looked_for_where_they_are_listed(redis: Redis, line: Line) -> None:
    eu = make_desk(redis, make_config("eu"), httpx.MockTransport(line))
    line.answers.append(page())
    await shown(eu, key("A1", marketplace="FR"), key("B2", marketplace="FR"))
    await shown(eu, key("A1", marketplace="FR"), key("B2"))
    assert [call.url.params["marketplaceIds"] for call in line.calls] == [IDS["FR"], f"{IDS['DE']},{IDS['FR']}"]
    await eu.close()


async def test_a_second_page_of_numbers_is_followed(desk: Desk, line: Line) -> None:
    line.answers.extend([page(item("A1", ("DEFAULT", 4)), token="x+/="), page(item("B2", ("DEFAULT", 5)))])
    assert await shown(desk, key("A1"), key("B2")) == [("A1", 4), ("B2", 5)]
    assert "pageToken=x%2B%2F%3D" in str(line.calls[1].url)


@pytest.mark.parametrize("broken", [item("A1", ("DEFAULT", -1)), {"sku": None}, "odd"])
async def test_an_unreadable_number_never_becomes_none(desk: Desk, line: Line, broken: Any) -> None:
    line.answers.append(page(broken))
    with pytest.raises(Transient, match="cannot be read"):
        await shown(desk, key("A1"))


async def test_no_keys_no_call_and_no_more_than_twenty(desk: Desk, line: Line) -> None:
    assert await shown(desk) == []
    assert desk.port.shown_batch == 20
    with pytest.raises(Invalid):
        await shown(desk, *(key(f"S{number}") for number in range(21)))
    assert line.calls == []


# The full sweep


async def test_a_sweep_tells_only_our_own_offers_and_rejects_what_is_broken(desk: Desk, line: Line) -> None:
    line.answers.extend(
        [
            page(item("A1", ("DEFAULT", 4)), item("F", "AMAZON_NA"), item("B2", ("DEFAULT", -1)), token="t1"),
            page(item("N", "DEFAULT"), item("S", ("8c1f-supply-source", 6)), item("C3", ("DEFAULT", 0)), item("E")),
        ]
    )
    first, second = await sweep(desk)
    assert [(one.key, one.quantity) for one in first.items] == [(key("A1"), 4)]
    assert [(one.what, one.key) for one in first.rejected] == [("shown", "B2")]
    assert [(one.key, one.quantity) for one in second.items] == [(key("N"), None), (key("C3"), 0)]
    assert (first.until, second.rejected) == (None, [])
    assert second.until is not None
    assert {one.upstream_request_id for one in first.items + second.items} == {"call-1"}
    assert line.calls[0].url.params["includedData"] == "summaries,fulfillmentAvailability"


async def test_a_sweep_tells_a_number_once_although_two_marketplaces_list_it(redis: Redis, line: Line) -> None:
    eu = make_desk(redis, make_config("eu"), httpx.MockTransport(line))
    line.answers.extend(
        [page(item("A1", ("DEFAULT", 4))), page(item("A1", ("DEFAULT", 4)), item("B2", ("DEFAULT", 5)))]
    )
    german, french = await sweep(eu)
    assert [one.key.channel_sku for one in german.items] == ["A1"]
    assert [one.key.channel_sku for one in french.items] == ["B2"]
    assert german.until is None
    assert french.until is not None
    await eu.close()

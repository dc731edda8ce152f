"""How a call is made, in front of written answers."""

import re
import time

import httpx
import pytest

from adapters.amazon.client import encoded
from adapters.port import OrderKey, StockKey
from domain.budget import Ask
from domain.errors import Invalid, OutcomeUnknown, Throttled, Transient, Unauthorized
from domain.ids import ChannelSku
from tests.adapters.amazon.bench import Desk, Line, go, make_parcel, make_pool

KEY = OrderKey("902-1106328-1059050", "US")
PARCEL = make_parcel(("79039765272157", 1))
OPERATION = "getInventorySummaries"


def empty() -> httpx.Response:
    return httpx.Response(
        200,
        json={"payload": {"inventorySummaries": []}},
        headers={"x-amzn-RateLimit-Limit": "2.0", "x-amzn-RequestId": "req-1"},
    )


def refused(status: int, details: str = "") -> httpx.Response:
    error = {"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": details}
    return httpx.Response(status, json={"errors": [error]})


def expired() -> httpx.Response:
    return refused(403, "The access token you provided has expired.")


async def ask_stock(desk: Desk, ask: Ask | None = None) -> None:
    await desk.port.stock([make_pool(desk.config)], [StockKey(ChannelSku("A1"))], ask or Ask())


def test_items_of_a_list_are_encoded_one_by_one() -> None:
    assert encoded({"sellerSkus": ["a,b", "c d/e", "50%"], "nextToken": "x+/="}) == (
        "sellerSkus=a%2Cb,c%20d%2Fe,50%25&nextToken=x%2B%2F%3D"
    )


async def test_a_read_carries_amazons_headers_and_no_body(desk: Desk, line: Line) -> None:
    line.answers.append(empty())
    await ask_stock(desk)
    request = line.calls[0]
    assert request.headers["x-amz-access-token"] == "Atza|1"
    assert re.fullmatch(r"\d{8}T\d{6}Z", request.headers["x-amz-date"])
    assert request.headers["user-agent"] == "Acorn/0.1 (Language=Python)"
    assert {"authorization", "content-type", "content-length"}.isdisjoint(request.headers)
    assert str(request.url).endswith("&marketplaceIds=ATVPDKIKX0DER&sellerSkus=A1")


async def test_the_login_is_asked_once_with_the_refresh_token(desk: Desk, line: Line) -> None:
    line.answers.append(empty())
    await ask_stock(desk)
    await ask_stock(desk)
    assert line.logins == [
        {
            "grant_type": ["refresh_token"],
            "refresh_token": ["Atzr|sandbox-na"],
            "client_id": ["amzn1.application-oa2-client.sandbox"],
            "client_secret": ["sandbox-secret"],
        }
    ]


async def test_secrets_do_not_print(desk: Desk) -> None:
    assert "sandbox-secret" not in repr(desk.config)
    assert "Atzr|" not in repr(desk.config)


async def test_a_call_goes_on_the_bill_and_costs_a_token(desk: Desk, line: Line) -> None:
    line.answers.append(empty())
    ask, began = Ask(), time.monotonic()
    await ask_stock(desk, ask)
    bill = ask.bill.lines[desk.channel, OPERATION]
    assert (bill.calls, bill.tokens) == (1, 1.0)
    # A burst of 2 less what is kept back, less 1, and what has come in since, at 2 a second.
    assert (await desk.state(OPERATION))[1] < 1.0 + 2.0 * (time.monotonic() - began)


async def test_the_rate_of_an_answer_is_adopted(desk: Desk, line: Line) -> None:
    answer = empty()
    answer.headers["x-amzn-RateLimit-Limit"] = "4.0"
    line.answers.append(answer)
    await ask_stock(desk)
    assert (await desk.state(OPERATION))[0] == 4.0


async def test_a_rate_that_is_no_number_is_left_aside(desk: Desk, line: Line) -> None:
    answer = empty()
    answer.headers["x-amzn-RateLimit-Limit"] = "a few"
    line.answers.append(answer)
    await ask_stock(desk)
    assert (await desk.state(OPERATION))[0] == 2.0


async def test_429_empties_the_bucket_for_everybody(desk: Desk, line: Line) -> None:
    line.answers.append(httpx.Response(429, json={"errors": [{"code": "QuotaExceeded", "message": "Too much."}]}))
    ask, began = Ask(), time.monotonic()
    with pytest.raises(Throttled) as caught:
        await ask_stock(desk, ask)
    assert caught.value.retry_after_s == 0.5
    assert caught.value.upstream_code == "QuotaExceeded"
    _, remaining, throttled = await desk.state(OPERATION)
    assert throttled == 1
    assert remaining <= 2.0 * (time.monotonic() - began), "what has come in since, at 2 a second"
    assert ask.bill.lines[desk.channel, OPERATION].calls == 1


async def test_an_expired_token_is_renewed_once_and_the_call_repeated_once(desk: Desk, line: Line) -> None:
    line.answers.extend([expired(), empty()])
    ask = Ask()
    await ask_stock(desk, ask)
    assert [call.headers["x-amz-access-token"] for call in line.calls] == ["Atza|1", "Atza|2"]
    assert ask.bill.lines[desk.channel, OPERATION].calls == 2


async def test_a_token_that_is_expired_again_is_a_refusal(desk: Desk, line: Line) -> None:
    line.answers.append(expired())
    with pytest.raises(Unauthorized):
        await ask_stock(desk)
    assert len(line.calls) == 2


@pytest.mark.parametrize("status", [401, 403])
async def test_any_other_refusal_of_the_caller_is_not_repeated(desk: Desk, line: Line, status: int) -> None:
    line.answers.append(refused(status))
    with pytest.raises(Unauthorized) as caught:
        await ask_stock(desk)
    assert caught.value.upstream_code == "Unauthorized"
    assert (len(line.calls), len(line.logins)) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b'{"payload": null}',
        b"[]",
        b'{"errors": [{"code": "InternalFailure", "message": "No."}]}',
        b'{"payload": {"inventorySummaries": 5}}',
    ],
)
async def test_an_answer_that_makes_no_sense_may_make_sense_later(desk: Desk, line: Line, body: bytes) -> None:
    line.answers.append(httpx.Response(200, content=body, headers={"x-amzn-RequestId": "req-9"}))
    with pytest.raises(Transient) as caught:
        await ask_stock(desk)
    assert caught.value.upstream_request_id == "req-9"


async def test_a_write_is_taken_with_204(desk: Desk, line: Line) -> None:
    line.answers.append(httpx.Response(204, headers={"x-amzn-RequestId": "req-3"}))
    ask = Ask()
    receipt = await desk.port.confirm_shipment(KEY, PARCEL, ask, go)
    assert (receipt.upstream_request_id, receipt.reference) == ("req-3", "701")
    assert line.calls[0].method == "POST"
    assert line.calls[0].headers["content-type"] == "application/json"
    assert ask.bill.lines[desk.channel, "confirmShipment"].calls == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b"<html>welcome</html>"),
        httpx.Response(500),
        httpx.Response(503),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut"),
    ],
)
async def test_a_write_without_a_sure_answer_is_unknown(
    desk: Desk, line: Line, answer: httpx.Response | Exception
) -> None:
    line.answers.append(answer)
    ask = Ask()
    with pytest.raises(OutcomeUnknown):
        await desk.port.confirm_shipment(KEY, PARCEL, ask, go)
    assert len(line.calls) == 1
    assert ask.bill.lines[desk.channel, "confirmShipment"].calls == 1


async def test_a_refused_write_is_not_unknown(desk: Desk, line: Line) -> None:
    words = "PackageReferenceId: is invalid, must be a positive numeric value."
    line.answers.append(httpx.Response(400, json={"errors": [{"code": "InvalidInput", "message": words}]}))
    with pytest.raises(Invalid, match="must be a positive numeric value"):
        await desk.port.confirm_shipment(KEY, PARCEL, Ask(), go)


async def test_nothing_is_sent_when_the_caller_may_no_longer_send(desk: Desk, line: Line) -> None:
    class Stale(Exception):
        pass

    async def stop() -> None:
        raise Stale

    ask = Ask()
    with pytest.raises(Stale):
        await desk.port.confirm_shipment(KEY, PARCEL, ask, stop)
    assert line.calls == []
    assert ask.bill.lines == {}
    # A burst of 10 less what is kept back: 0.1 tokens and 0.05 s of the rate.
    assert (await desk.state("confirmShipment"))[1] == pytest.approx(9.8)


async def test_the_budget_is_paid_before_the_caller_commits_to_sending(desk: Desk, line: Line) -> None:
    seen: list[float] = []

    async def look() -> None:
        seen.append((await desk.state("confirmShipment"))[1])

    line.answers.append(httpx.Response(204))
    await desk.port.confirm_shipment(KEY, PARCEL, Ask(), look)
    assert [round(tokens, 1) for tokens in seen] == [8.8]


async def test_an_unreachable_amazon_costs_nothing(desk: Desk, line: Line) -> None:
    line.answers.append(httpx.ConnectError("refused"))
    ask = Ask()
    with pytest.raises(Transient):
        await desk.port.confirm_shipment(KEY, PARCEL, ask, go)
    assert ask.bill.lines == {}
    assert (await desk.state("confirmShipment"))[1] == pytest.approx(9.8)


async def test_a_login_that_is_down_costs_no_token_of_the_budget(desk: Desk, line: Line) -> None:
    line.login = lambda number: httpx.Response(503)
    with pytest.raises(Transient, match="not to be had"):
        await ask_stock(desk)
    assert line.calls == []
    assert (await desk.state(OPERATION))[1] == pytest.approx(1.8)


async def test_a_login_without_a_token_may_have_one_later(desk: Desk, line: Line) -> None:
    line.login = lambda number: httpx.Response(200, json={"token_type": "bearer"})
    with pytest.raises(Transient, match="gave no access token"):
        await ask_stock(desk)

"""Cancelling orders at Amazon: one feed for the orders of a moment, what it did not carry out, and a buyer's wish."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amazon.cancels import Cancels
from adapters.amazon.order_feeds import failures
from adapters.amazon.platform import AmazonPort
from adapters.port import OrderKey, Receipt
from adapters.storefront import Cancels as CancelsProtocol
from adapters.storefront import CancelVerdicts
from domain.budget import Ask
from domain.errors import Conflict, Invalid, Refused, Transient
from domain.order import Order, OrderStatus
from tests.adapters.amazon.bench import Desk, Sandbox, go
from tests.adapters.amazon.offers import skus, unhurried

FEEDS = ("createFeedDocument", "createFeed", "getFeed", "getFeedDocument", "getOrder")


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """A small world of its own: time passes quickly in it."""
    started = Sandbox("--products", "50", "--orders", "0", "--marketplaces", "US")
    yield started
    await started.close()


@pytest.fixture
async def desk(sandbox: Sandbox, open_desk: Callable[..., Desk]) -> Desk:
    """An account whose feeds nothing throttles."""
    await sandbox.generous(*FEEDS)
    opened = open_desk(sandbox)
    await unhurried(opened, *FEEDS)
    return opened


async def ordered(sandbox: Sandbox, count: int, party: str = "MERCHANT") -> list[OrderKey]:
    sku = (await skus(sandbox, "US", party))[0]
    entry = {"marketplace": "US", "fulfilledBy": party, "lines": [{"sku": sku, "quantity": 1}]}
    placed = await sandbox.post("state", {"orders": [entry] * count})
    return [OrderKey(id, "US", {}) for id in placed["orders"]]


async def cancel(desk: Desk, key: OrderKey, before_send: Any = go, reason: str = "INVENTORY") -> Receipt:
    assert isinstance(desk.port, CancelsProtocol)
    return await desk.port.cancel_order(key, reason, Ask(), before_send, restock=True, refund=True)


async def refused(desk: Desk, key: OrderKey, receipt: Receipt) -> Refused | None:
    assert isinstance(desk.port, CancelVerdicts)
    assert receipt.reference is not None
    return await desk.port.cancel_refused(key, receipt.reference, Ask())


async def stands(desk: Desk, key: OrderKey) -> Order:
    return await desk.port.order(key, Ask())


async def test_the_cancellations_of_a_moment_share_one_feed(sandbox: Sandbox, desk: Desk) -> None:
    mark = await sandbox.mark()
    keys = await ordered(sandbox, 7)
    receipts = await asyncio.gather(*(cancel(desk, key) for key in keys))
    assert len({str(one.reference).partition("/")[0] for one in receipts}) == 1
    assert sorted(str(one.reference).partition("/")[2] for one in receipts) == [str(number) for number in range(1, 8)]
    assert len(await sandbox.calls(mark, "createFeed")) == 1
    assert {(await stands(desk, key)).status for key in keys} == {OrderStatus.UNSHIPPED}
    assert await refused(desk, keys[0], receipts[0]) is None  # Amazon has not come to it yet
    await sandbox.post("clock", {"advance": 120})
    assert {(await stands(desk, key)).status for key in keys} == {OrderStatus.CANCELLED}
    assert await refused(desk, keys[0], receipts[0]) is None
    effects = [one for one in await sandbox.effects(mark) if one["operation"] == "cancelOrder"]
    assert len(effects) == 7
    mark = await sandbox.mark()
    assert await cancel(desk, keys[0]) == Receipt(None)  # it is cancelled already, and nothing is sent
    assert await sandbox.calls(mark, "createFeed") == []


async def test_what_was_not_carried_out_is_told_in_amazons_words(sandbox: Sandbox, desk: Desk) -> None:
    fit, late = await ordered(sandbox, 2)
    receipts = await asyncio.gather(cancel(desk, fit), cancel(desk, late))
    await sandbox.post("orders", {"id": late.external_id, "status": "CANCELLED"})
    await sandbox.post("clock", {"advance": 120})
    assert await refused(desk, fit, receipts[0]) is None
    mark = await sandbox.mark()
    for _ in range(3):
        problem = await refused(desk, late, receipts[1])
        assert problem is not None
        assert problem.message == "Amazon did not cancel it: The order cannot be cancelled: it is CANCELLED. (18029)"
    assert await sandbox.calls(mark, "getFeedDocument") == []  # a report is read once for all of its orders


async def test_who_may_not_send_any_more_is_left_out_and_the_rest_goes(sandbox: Sandbox, desk: Desk) -> None:
    class LeaseLostError(Exception):
        pass

    async def lost() -> None:
        raise LeaseLostError

    out, stays = await ordered(sandbox, 2)
    answers = await asyncio.gather(cancel(desk, out, lost), cancel(desk, stays), return_exceptions=True)
    assert isinstance(answers[0], LeaseLostError)
    assert isinstance(answers[1], Receipt)
    await sandbox.post("clock", {"advance": 120})
    assert (await stands(desk, out)).status is OrderStatus.UNSHIPPED
    assert (await stands(desk, stays)).status is OrderStatus.CANCELLED


async def test_a_feed_that_was_called_back_says_so(sandbox: Sandbox, desk: Desk) -> None:
    [key] = await ordered(sandbox, 1)
    await sandbox.post("feeds", {"verdict": "CANCELLED", "count": 1})
    receipt = await cancel(desk, key)
    await sandbox.post("clock", {"advance": 120})
    problem = await refused(desk, key, receipt)
    assert problem is not None
    assert "called back" in problem.message
    assert (await stands(desk, key)).status is OrderStatus.UNSHIPPED


async def test_a_shipped_order_and_an_unknown_reason_ask_for_no_feed(sandbox: Sandbox, desk: Desk) -> None:
    mark = await sandbox.mark()
    [key] = await ordered(sandbox, 1)
    with pytest.raises(Invalid):
        await cancel(desk, key, reason="BORED")
    order = await stands(desk, key)
    order.lines[0].quantity_shipped = 1
    assert isinstance(desk.port, AmazonPort)
    with pytest.raises(Conflict):
        await Cancels(desk.port.client, desk.config.seller_id).cancel(order, "OTHER", Ask(), go)
    assert await sandbox.calls(mark, "createFeedDocument") == []


async def test_a_buyer_who_asks_for_a_cancellation_is_told_of(sandbox: Sandbox, desk: Desk) -> None:
    [key] = await ordered(sandbox, 1)
    assert not (await stands(desk, key)).cancellation_requested
    await sandbox.post("orders", {"id": key.external_id, "status": "CANCELLATION_WANTED"})
    order = await stands(desk, key)
    assert (order.cancellation_requested, order.status) == (True, OrderStatus.UNSHIPPED)


def report(feed_id: str, *results: tuple[int, str, str]) -> bytes:
    told = "".join(
        f"<Result><MessageID>{number}</MessageID><ResultCode>{code}</ResultCode>"
        f"<ResultDescription>{words}</ResultDescription></Result>"
        for number, code, words in results
    )
    return (
        "<AmazonEnvelope><Message><ProcessingReport>"
        f"<DocumentTransactionID>{feed_id}</DocumentTransactionID>{told}"
        "</ProcessingReport></Message></AmazonEnvelope>"
    ).encode()


def test_warnings_are_no_failures() -> None:
    told = report("7", (1, "Warning", "Late."), (2, "Error", "Shipped."), (0, "Error", "All wrong."))
    assert failures("7", told) == {2: "Shipped.", 0: "All wrong."}


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"<AmazonEnvelope>", report("8"), b"<!DOCTYPE a []>" + report("7"), report("7").replace(b"7", b"x")],
)
def test_a_report_that_cannot_be_read_tells_nothing(content: bytes) -> None:
    assert failures("7", report("7")) == {}
    with pytest.raises(Transient):
        failures("7", content)


@given(st.binary(max_size=300))
def test_no_content_breaks_the_reader(content: bytes) -> None:
    with contextlib.suppress(Transient):
        assert isinstance(failures("7", content), dict)

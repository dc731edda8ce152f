"""Faults as a client on a real socket meets them, and the start of the server."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from sandbox.amazon.visit import Seller, confirmation
from sandbox.visit import calls, effects, serving


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    # A token lives an hour of the sandbox's clock: a minute here.
    async with (
        serving("amazon", products=40, orders=60, lag=0, speed=60) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as visitor,
    ):
        yield visitor


@pytest.fixture
async def seller(client: httpx.AsyncClient) -> AsyncIterator[Seller]:
    yield await Seller.login(client)
    await fault(client)


async def fault(client: httpx.AsyncClient, *rules: dict[str, object]) -> None:
    answer = await client.post("/_sandbox/faults", json={"faults": rules})
    assert answer.status_code == 200, answer.text


async def open_order(client: httpx.AsyncClient, place: int) -> dict[str, object]:
    """The `place`th order that the North American account can ship."""
    orders = (await client.get("/_sandbox/world")).json()["orders"]
    mine = [o for o in orders if (o["status"], o["fulfilledBy"], o["marketplace"]) == ("UNSHIPPED", "MERCHANT", "US")]
    order: dict[str, object] = mine[place]
    return order


async def test_a_reset_closes_the_connection_without_an_answer(seller: Seller) -> None:
    await fault(seller.client, {"operation": "getInventorySummaries", "kind": "reset", "count": 1})
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response") as problem:
        await seller.inventory("US")
    assert not isinstance(problem.value, httpx.TimeoutException)
    assert (await seller.inventory("US")).status_code == 200
    assert [call["status"] for call in await calls(seller.client, "getInventorySummaries")][-2:] == [0, 200]


async def test_a_truncated_answer_ends_in_the_middle_of_its_body(seller: Seller) -> None:
    await fault(seller.client, {"operation": "getInventorySummaries", "kind": "truncate", "count": 1})
    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        await seller.inventory("US")
    assert (await seller.inventory("US")).status_code == 200


async def test_a_hang_says_nothing_until_the_client_gives_up(seller: Seller) -> None:
    await fault(seller.client, {"operation": "getOrder", "kind": "hang", "count": 1})
    with pytest.raises(httpx.ReadTimeout):
        await seller.client.get("/orders/2026-01-01/orders/1", headers=seller.headers, timeout=1.0)
    assert [call["status"] for call in await calls(seller.client, "getOrder")][-1] == 0


async def test_a_hang_with_seconds_ends_in_a_cut_connection(seller: Seller) -> None:
    await fault(seller.client, {"operation": "getOrder", "kind": "hang", "seconds": 0.2, "count": 1})
    began = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError):
        await seller.order("1")
    assert time.monotonic() - began >= 0.2


async def test_latency_is_real_seconds_whatever_the_speed(seller: Seller) -> None:
    await fault(seller.client, {"kind": "latency", "seconds": 0.3, "count": 1})
    began = time.monotonic()
    assert (await seller.inventory("US")).status_code == 200
    assert time.monotonic() - began >= 0.3


async def test_a_status_comes_with_the_platforms_own_body_and_changes_nothing(seller: Seller) -> None:
    order = await open_order(seller.client, 0)
    before = await effects(seller.client)
    await fault(seller.client, {"operation": "confirmShipment", "kind": "status", "status": 503, "count": 1})
    answer = await seller.confirm(str(order["id"]), confirmation(order))
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["code"] == "ServiceUnavailable"
    assert answer.headers["x-amzn-requestid"]
    assert await effects(seller.client) == before


@pytest.mark.parametrize(("place", "kind"), [(1, "apply_then_reset"), (2, "apply_then_status"), (3, "apply_then_hang")])
async def test_apply_then_fail_ships_exactly_once_and_hides_it(seller: Seller, place: int, kind: str) -> None:
    order = await open_order(seller.client, place)
    await fault(seller.client, {"operation": "confirmShipment", "kind": kind, "seconds": 0.1, "count": 1})
    if kind == "apply_then_status":
        assert (await seller.confirm(str(order["id"]), confirmation(order))).status_code == 500
    else:
        with pytest.raises(httpx.RemoteProtocolError):
            await seller.confirm(str(order["id"]), confirmation(order))
    made = [effect for effect in await effects(seller.client) if effect["key"] == order["id"]]
    assert [effect["detail"]["edit"] for effect in made] == [False]
    shown = (await seller.order(str(order["id"]), "FULFILLMENT", "PACKAGES")).json()["order"]
    assert shown["fulfillment"]["fulfillmentStatus"] == "SHIPPED"
    assert [package["packageReferenceId"] for package in shown["packages"]] == ["1"]
    # Sent again by a client that did not look first: an edit of the same parcel, and the journal tells.
    assert (await seller.confirm(str(order["id"]), confirmation(order))).status_code == 204
    made = [effect for effect in await effects(seller.client) if effect["key"] == order["id"]]
    assert [effect["detail"]["edit"] for effect in made] == [False, True]


async def test_control_calls_are_never_faulted_nor_journaled(seller: Seller) -> None:
    await fault(seller.client, {"kind": "reset"})
    before = (await seller.client.get("/_sandbox/journal")).json()["next"]
    assert (await seller.client.get("/_sandbox/clock")).status_code == 200
    assert (await seller.client.get("/_sandbox/journal")).json()["next"] == before


async def test_a_taken_port_is_one_clear_line_and_exit_code_1(client: httpx.AsyncClient) -> None:
    port = client.base_url.port
    with pytest.raises(RuntimeError, match=rf"exit 1: amazon sandbox: cannot listen on 127.0.0.1:{port}: Address"):
        async with serving("amazon", port=port):
            pass


async def test_many_calls_at_once_are_all_answered(seller: Seller) -> None:
    answers = await asyncio.gather(*(seller.client.get("/_sandbox/clock") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}

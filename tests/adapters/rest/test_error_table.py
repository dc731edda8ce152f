"""Each thing that can go wrong at a shop has exactly one policy, the wire meets it so, and the docs print it."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.port import StockKey
from adapters.rest.errors import IN_PROGRESS, POLICIES, Policy, table
from domain.budget import Ask
from domain.errors import HouseError
from domain.ids import ChannelSku
from tests.adapters.rest.bench import Asked, OpenPort, Script, go, key_of, order, parcel_of, problem
from tests.adapters.rest.contract import Contract

PAGE = Path(__file__).parents[3] / "docs" / "rest.md"
HTML = httpx.Response(200, content=b"<html>welcome</html>", headers={"content-type": "text/html"})
WITHOUT_ANSWER: dict[str, httpx.Response | Exception] = {
    "no connection": httpx.ConnectError("refused"),
    "a timeout": httpx.ReadTimeout("slow"),
    "a reset": httpx.ReadError("reset by peer"),
    "a body cut short": httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
    "200 with HTML instead of JSON": HTML,
}


def wire(policy: Policy) -> Any:
    if policy.met in WITHOUT_ANSWER:
        return WITHOUT_ANSWER[policy.met]
    assert policy.status is not None
    if policy.problem is None:
        return httpx.Response(policy.status, content=b"<html>from something before the shop</html>")
    said = problem(policy.status, policy.problem)
    said.headers["Retry-After"] = "0"
    return said


def script(policy: Policy) -> Script:
    def answer(asked: Asked) -> Any:
        return order() if asked.operation == "getOrder" else wire(policy)

    return Script(answer, loose=True)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda one: one.met)
async def test_a_read_ends_so(policy: Policy, open_port: OpenPort) -> None:
    port = open_port(wire=script(policy).wire())
    with pytest.raises(HouseError) as caught:
        await port.stock([], [StockKey(ChannelSku("MUG-R"))], Ask())
    assert type(caught.value) is policy.read


@pytest.mark.parametrize("policy", POLICIES, ids=lambda one: one.met)
async def test_a_write_ends_so(policy: Policy, open_port: OpenPort) -> None:
    port = open_port(wire=script(policy).wire())
    with pytest.raises(HouseError) as caught:
        await port.confirm_shipment(key_of("ord_1"), parcel_of("JD1", ("lin_1", 1)), Ask(), go)
    assert type(caught.value) is policy.write


def test_each_has_one_policy() -> None:
    met = Counter((one.status, one.problem) for one in POLICIES if one.met not in WITHOUT_ANSWER)
    assert [one for one, count in met.items() if count > 1] == []
    assert [one for one, count in Counter(one.met for one in POLICIES).items() if count > 1] == []
    assert IN_PROGRESS in {one.problem for one in POLICIES}


def test_every_problem_of_the_contract_has_one() -> None:
    known = {(one.status, one.problem) for one in POLICIES}
    listed = Contract().document["info"]["description"]
    rows = [line.strip("| ").split(" | ") for line in listed.splitlines() if line.startswith("| `")]
    named = {(int(status), name.strip(" `")) for names, status in rows for name in names.split(",")}
    assert len(named) > 20
    assert named - known == set()


async def test_the_page_prints_it() -> None:
    page = await asyncio.to_thread(PAGE.read_text, "utf-8")
    assert table() in page

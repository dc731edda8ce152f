"""The kit passes a shop that keeps the contract, and fails one that does not exactly where it does not."""

from __future__ import annotations

import json
import runpy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.kit import Status
from conformance.listener import listening
from conformance.report import as_json, shown
from conformance.rest import CHECKS, Report, Wanted, run
from sandbox.options import Options
from sandbox.shop.app import build
from sandbox.shop.broken import POINTS
from sandbox.shop.state import CLIENT_ID, CLIENT_SECRET, PARTS, TOKEN
from tests.contracts.rest import Watched

START = datetime(2026, 11, 25, 12, tzinfo=UTC)
URL = "http://shop/api/v1"
SMALLEST = Path(__file__).parents[2] / "docs" / "rest" / "smallest.py"
# Sandbox seconds run fast, so that the wait before a second attempt is short.
OPTIONS = Options(products=20, orders=50, speed=60.0, seed=1, start=START)

# Every point is met once more beside some others, by all checks.
SHARES = 8

EVERYTHING: dict[str, Any] = {"write": True, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


async def kit(*, listen: bool = False, **built: Any) -> tuple[Report, Watched]:
    wire = Watched(httpx.ASGITransport(app=build(OPTIONS, **built)), URL)
    async with hooked(listen) as where:
        report = await run(Wanted(URL, TOKEN, **EVERYTHING, **where), httpx.AsyncClient(transport=wire))
    return report, wire


@asynccontextmanager
async def hooked(listen: bool) -> AsyncIterator[dict[str, Any]]:
    if not listen:
        yield {}
        return
    async with listening() as listener:
        yield {"listener": listener, "hook": f"http://127.0.0.1:{listener.port}", "patience_s": 5.0}


def failed(report: Report) -> dict[str, str]:
    return {each.check.id: each.found for each in report.outcomes if each.status is Status.FAILED}


async def test_the_sandbox_shop_passes_every_check_and_keeps_the_contract_at_every_request() -> None:
    report, wire = await kit(listen=True)
    assert failed(report) == {}
    assert report.ids(Status.SKIPPED) == []
    assert report.ids(Status.PASSED) == [check.id for check in CHECKS]
    assert wire.faults == []


def test_every_check_has_a_shop_that_fails_it() -> None:
    assert sorted(POINTS) == sorted(check.id for check in CHECKS)


@pytest.mark.parametrize("point", POINTS)
async def test_a_shop_broken_at_one_point_fails_at_that_point_and_not_beside_it(point: str) -> None:
    report = await broken_at([point], only=(f"{kind(point)}.",))
    assert list(failed(report)) == [point], failed(report)


@pytest.mark.parametrize("share", range(SHARES))
async def test_a_shop_broken_at_points_of_every_kind_fails_at_these_and_no_other(share: int) -> None:
    points = [point for point in POINTS if not listens(point)][share::SHARES]
    assert len({kind(point) for point in points}) > 4
    report = await broken_at(points)
    assert sorted(failed(report)) == sorted(points), failed(report)


async def broken_at(points: list[str], only: tuple[str, ...] = ()) -> Report:
    wire = httpx.ASGITransport(app=build(OPTIONS, broken=points))
    async with hooked(any(map(listens, points))) as where:
        return await run(Wanted(URL, TOKEN, **EVERYTHING, **where), httpx.AsyncClient(transport=wire), only)


def listens(point: str) -> bool:
    return next(check.listens for check in CHECKS if check.id == point)


def kind(point: str) -> str:
    return point.partition(".")[0]


@pytest.mark.parametrize(
    ("without", "skipped"),
    [
        (["refunds", "payouts"], {"refunds.shape", "refunds.exceeds", "payouts.shape", "payouts.sums"}),
        (
            ["orders", "webhooks", "token"],
            {"orders.shape", "shipments.once", "webhooks.secret", "token.grant", "refunds.shape"},
        ),
        (["stock"], {"stock.shape", "bulk.status", "once.replay", "paging.changes"}),
        (["products_write", "prices", "jobs"], {"prices.set", "jobs.result"}),
        ([part for part in PARTS if part != "products"], {"orders.shape", "stock.shape", "locking.required"}),
    ],
)
async def test_a_shop_that_has_less_passes_with_the_rest_skipped(without: list[str], skipped: set[str]) -> None:
    report, wire = await kit(without=without)
    assert failed(report) == {}
    assert skipped <= set(report.ids(Status.SKIPPED))
    assert len(report.ids(Status.PASSED)) > 15
    assert wire.faults == []


async def test_the_smallest_shop_of_the_page_has_what_it_names_and_keeps_the_contract() -> None:
    smallest = runpy.run_path(str(SMALLEST))
    wire = Watched(httpx.ASGITransport(app=smallest["app"]), "http://shop")
    report = await run(Wanted("http://shop", smallest["TOKEN"], write=True), httpx.AsyncClient(transport=wire))
    assert failed(report) == {}
    assert wire.faults == []
    assert {"start.rate-limit", "products.shape", "paging.limit", "locking.etag"} <= set(report.ids(Status.PASSED))


async def test_without_write_nothing_is_sent_but_reads_and_tokens() -> None:
    app = build(OPTIONS)
    wanted = Wanted(URL, TOKEN, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    report = await run(wanted, httpx.AsyncClient(transport=httpx.ASGITransport(app=app)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop") as client:
        journal = (await client.get("/_sandbox/journal")).json()
    assert {call["operation"] for call in journal["calls"] if call["method"] != "GET"} == {"postToken"}
    assert report.touched == []
    assert report.passed
    writes = [check.id for check in CHECKS if check.write]
    assert set(writes) <= set(report.ids(Status.SKIPPED))


@pytest.mark.parametrize("broken", [[], ["stock.read-back"]])
async def test_what_was_written_is_put_back_by_a_shop_too_that_shows_it_late(broken: list[str]) -> None:
    app = build(OPTIONS, broken=broken)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop") as client:
        before = (await client.get("/_sandbox/world")).json()
        wanted = Wanted(URL, TOKEN, write=True, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
        report = await run(wanted, httpx.AsyncClient(transport=httpx.ASGITransport(app=app)))
        await client.post("/_sandbox/clock", json={"advance": 3600})
        after = (await client.get("/_sandbox/world")).json()
        effects = (await client.get("/_sandbox/journal")).json()["effects"]
    assert before == after
    assert effects != []
    sku = before["skus"][0]["sku"]
    assert f"stock of {sku}" in report.touched
    assert f"prices of {sku}" in report.touched
    assert {one["key"] for one in effects if one["operation"] == "patchVariants"} == {sku}


async def test_what_the_shop_does_not_take_back_is_told_and_is_no_pass() -> None:
    sandbox = httpx.ASGITransport(app=build(OPTIONS))
    written = 0

    class Tired(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal written
            written += request.url.path.endswith("/stock:bulk")
            if request.url.path.endswith("/stock:bulk") and written > 2:
                return httpx.Response(500, request=request)
            return await sandbox.handle_async_request(request)

    client = httpx.AsyncClient(transport=Tired())
    report = await run(Wanted(URL, TOKEN, write=True), client, only=("bulk.status",))
    assert failed(report) == {}
    [what] = report.astray
    assert what.startswith("stock of ")
    assert not report.passed
    assert f"  {what}" in [str(one) for one in shown(report)]
    written = -100
    assert (await run(Wanted(URL, TOKEN, write=True), httpx.AsyncClient(transport=Tired()), ("bulk.status",))).passed


@pytest.mark.parametrize("check", ["shipments.once", "orders.cancel"])
async def test_a_parcel_that_is_not_taken_back_is_told(check: str) -> None:
    sandbox = httpx.ASGITransport(app=build(OPTIONS))

    class Stubborn(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "DELETE" or (request.method == "GET" and "/shipments/" in request.url.path):
                return httpx.Response(500, request=request)
            return await sandbox.handle_async_request(request)

    client = httpx.AsyncClient(transport=Stubborn())
    report = await run(Wanted(URL, TOKEN, write=True), client, only=(check,))
    assert failed(report) == {}
    assert [what.partition(" ")[0] for what in report.astray] == ["parcel"]


async def test_a_shop_that_throttles_is_waited_for() -> None:
    app = build(OPTIONS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop") as client:
        # One request a sandbox second, of which there are sixty a second.
        await client.post("/_sandbox/plans", json={"q": 60, "w": 60, "remaining": 0})
        report = await run(
            Wanted(URL, TOKEN), httpx.AsyncClient(transport=httpx.ASGITransport(app=app)), only=["paging."]
        )
    assert failed(report) == {}
    assert len(report.outcomes) == 7


@pytest.mark.parametrize("said", ['["?"]', "{", '{"parts": null}', '{"parts": 3, "rehearsal": []}'])
async def test_a_shop_that_answers_nonsense_fails_and_nothing_breaks(said: str) -> None:
    def nonsense(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=said, headers={"Content-Type": "application/json"})

    report = await run(Wanted(URL, TOKEN, write=True), httpx.AsyncClient(transport=httpx.MockTransport(nonsense)))
    assert not report.passed
    assert {"start.shop", "start.token", "start.request-id"} <= set(failed(report))


async def test_a_token_that_the_shop_refuses_is_told_first_and_alone() -> None:
    wire = httpx.ASGITransport(app=build(OPTIONS))
    report = await run(Wanted(URL, "st_mistyped", write=True), httpx.AsyncClient(transport=wire))
    assert failed(report) == {"start.shop": "the token is refused: 401. Nothing else can be asked with it"}
    assert report.outcomes[0].check.id == "start.shop"
    whys = {each.found for each in report.outcomes if each.check.parts}
    assert whys == {"GET / does not say which parts there are"}


@pytest.mark.parametrize(
    ("link", "next_cursor", "rows", "found"),
    [
        (
            "https://elsewhere.example/products?cursor=a",
            "a",
            1,
            "Link leads to https://elsewhere.example, which is not",
        ),
        ("/api/v1/products?cursor=a", "a", 1, "next_cursor leads in a circle"),
        ("/api/v1/products?cursor=a", "a", 0, "next_cursor leads in a circle"),
    ],
)
async def test_pages_that_lead_astray_are_not_followed_for_ever_nor_to_others(
    link: str, next_cursor: str, rows: int, found: str
) -> None:
    asked = []

    def astray(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.path == "/api/v1/":
            return httpx.Response(200, json={"parts": ["products"]})
        page = {"data": [{"id": "prd_1", "updated_at": "2026-11-23T08:00:00Z"}] * rows, "next_cursor": next_cursor}
        # A first page of sixty has rows, so that the walk by seven begins.
        if "limit=60" in str(request.url):
            page["data"] = [{"id": f"prd_{n}", "updated_at": "2026-11-23T08:00:00Z"} for n in range(60)]
        return httpx.Response(200, json=page, headers={"Link": f'<{link}>; rel="next"'})

    client = httpx.AsyncClient(transport=httpx.MockTransport(astray))
    report = await run(Wanted(URL, TOKEN), client, only=("paging.link", "paging.walk"))
    assert found in " ".join(failed(report).values())
    assert set(asked) == {"shop"}


async def test_the_report_says_what_to_mend() -> None:
    report = await broken_at(["bulk.status"], only=("bulk.",))
    told = json.loads(as_json(report))
    [wrong] = [row for row in told["checks"] if row["status"] == "failed"]
    assert wrong == {
        "id": "bulk.status",
        "clause": "PATCH /stock:bulk",
        "did": "sends one item",
        "status": "failed",
        "found": "PATCH /stock:bulk answered 200",
        "mend": "Answer bulk writes with 207.",
    }
    assert told["passed"] is False
    words = [str(one) for one in shown(report)]
    assert "  bulk.status: Answer bulk writes with 207." in words

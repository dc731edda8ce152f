"""Reports against Amazon's own model: what we send, and what its own examples say."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx

from adapters.amazon import reports
from adapters.amazon.reports import Address, Created, Listed, Report
from adapters.wire import Wire, read
from domain.budget import Ask
from tests.adapters.amazon.bench import Desk, Line, go
from tests.adapters.amazon.test_documents import client_of
from tests.adapters.amazon.test_reports import ADDRESS, CREATED, DONE, lift, told
from tests.contracts import spapi

pytestmark = spapi.published

AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
READS: dict[str, tuple[int, type[Wire]]] = {
    "createReport": (202, Created),
    "getReport": (200, Report),
    "getReports": (200, Listed),
    "getReportDocument": (200, Address),
}


def answer(request: httpx.Request) -> httpx.Response:
    path = request.url.path
    if request.method == "POST":
        return httpx.Response(202, json=CREATED)
    if request.method == "DELETE":
        return httpx.Response(200)
    if path.endswith("/reports"):
        more = {} if "nextToken" in request.url.params else {"nextToken": "x+/="}
        return httpx.Response(200, json={"reports": [told()], **more})
    return httpx.Response(200, json=ADDRESS if "/documents/" in path else DONE)


async def test_every_request_is_one_that_amazon_publishes(desk: Desk, line: Line) -> None:
    line.answers.append(answer)
    await lift(desk)
    client, ask = client_of(desk), Ask()
    for kind in (reports.FBA_STOCK, reports.LISTINGS, reports.ORDERS):
        await reports.run(client, kind, ["US"], ask, go)
    await reports.run(client, reports.LISTINGS, ["US", "CA"], ask, go, options={"a": "b"}, start=AT, end=AT)
    everything = reports.listed(
        client, [reports.SETTLEMENTS], ask, since=AT, until=AT, marketplaces=["US"], statuses=["DONE", "FATAL"]
    )
    assert len([one async for one in everything]) == 2
    await reports.cancel(client, "R/1 ü", ask, go)
    names = set()
    for request in line.calls:
        assert spapi.request_faults(request) == [], f"{request.method} {request.url}"
        names.add(spapi.operation_of(request.method, request.url.raw_path.decode().partition("?")[0]))
    assert names == {*READS, "cancelReport"}


def test_amazons_own_examples_are_read_without_loss() -> None:
    for name, (status, model) in READS.items():
        examples = spapi.examples(name, status)
        assert examples
        for _, told_ in examples:
            found = read(model, told_)
            assert found.model_dump(by_alias=True, exclude_unset=True, mode="json") == same(told_), name


def same(told_: object) -> object:
    """Times as we write them: without the zeros of milliseconds, if there are none."""
    if isinstance(told_, dict):
        return {name: same(value) for name, value in told_.items()}
    if isinstance(told_, list):
        return [same(value) for value in told_]
    if isinstance(told_, str) and told_.endswith("Z") and "T" in told_:
        return datetime.fromisoformat(told_).isoformat().replace("+00:00", "Z")
    return told_

"""Data Kiosk: a query is asked once, waited for, and its records are read to the last or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapters.amazon import kiosk
from adapters.amazon.kiosk import Asked, NoData, Stuck
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import Invalid, NotFound, OutcomeUnknown, Refused, Transient
from tests.adapters.amazon.bench import Desk, Line, Sandbox, go
from tests.adapters.amazon.test_documents import client_of, stored
from tests.adapters.amazon.test_reports import answer
from tests.adapters.amazon.test_reports_contract import same
from tests.contracts import spapi

OPERATIONS = ("createQuery", "getQuery", "getQueries", "cancelQuery", "getDocument")
QUICK = (0.02,)
QUERY = """query {
  analytics_salesAndTraffic_2024_04_24 {
    salesAndTrafficByDate(aggregateBy: DAY, startDate: "%s", endDate: "%s", marketplaceIds: ["%s"]) {
      startDate  sales { unitsOrdered orderedProductSales { amount currencyCode } }
    }
  }
}"""
SHORT = "query{a{b}}"
CREATED = {"queryId": "Q1"}
ADDRESS = {"documentId": "D1", "documentUrl": "https://store.test/D1?X-Amz-Signature=s"}


def told(status: str = "IN_QUEUE", **more: Any) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat()
    return {"queryId": "Q1", "query": SHORT, "createdTime": at, "processingStatus": status, **more}


DONE = told("DONE", dataDocumentId="D1")


async def lift(desk: Desk) -> None:
    for operation in OPERATIONS:
        await desk.budgets.states([(desk.channel, desk.port.plans[operation])])
        await desk.budgets.adopt(desk.channel, operation, rate=1000)


@pytest.fixture
async def quick(desk: Desk) -> Desk:
    """The account, with slots enough."""
    await lift(desk)
    return desk


async def everything(desk: Desk, query: str = SHORT) -> list[dict[str, Any]]:
    return [one async for one in kiosk.run(client_of(desk), query, Ask(), go, pauses_s=QUICK)]


async def test_a_query_is_asked_waited_for_and_read_line_by_line(quick: Desk, line: Line) -> None:
    line.answers.extend(answer(body) for body in (CREATED, told(), told("IN_PROGRESS"), DONE, ADDRESS))
    line.answers.append(stored(b'{"a": 1.10, "b": "\xc3\xa9"}\n', b"\n", b'{"a": 2}'))
    assert await everything(quick, "query {\n  a { b }\n}") == [{"a": Decimal("1.10"), "b": "é"}, {"a": 2}]
    assert re.fullmatch(rb'{"query":"query acorn_\w{12}{a{b}}"}', line.calls[0].read())
    assert [call.url.path.rpartition("2023-11-15/")[2] for call in line.calls] == [
        "queries",
        *["queries/Q1"] * 3,
        "documents/D1",
        "/D1",
    ]


async def test_data_of_several_documents_are_asked_for_page_by_page(quick: Desk, line: Line) -> None:
    first = {**DONE, "pagination": {"nextToken": "x+/="}}
    line.answers.extend([*map(answer, (CREATED, first, ADDRESS)), stored(b'{"a": 1}\n')])
    line.answers.extend([*map(answer, (CREATED, DONE, ADDRESS)), stored(b'{"a": 2}\n')])
    assert await everything(quick) == [{"a": 1}, {"a": 2}]
    words = json.loads(line.calls[0].read())["query"]
    assert json.loads(line.calls[4].read()) == {"query": words, "paginationToken": "x+/="}


async def test_an_empty_page_is_not_the_end(quick: Desk, line: Line) -> None:
    line.answers.extend(map(answer, (CREATED, told("DONE", pagination={"nextToken": "x"}), CREATED, DONE, ADDRESS)))
    line.answers.append(stored(b'{"a": 2}\n'))
    assert await everything(quick) == [{"a": 2}]


async def test_no_run_has_the_words_of_another_whose_pages_it_might_find(quick: Desk, line: Line) -> None:
    query = "fragment F on A { b } query Mine($c: C) { a(c: $c) { ...F } }"
    words = set()
    for _ in range(2):
        line.calls.clear()
        line.answers.clear()
        line.answers.extend([answer(CREATED), answer({"errors": []}, 404)])
        with pytest.raises(NotFound):
            await everything(quick, query)
        told = json.loads(line.calls[0].read())["query"]
        assert re.fullmatch(r"query Mine_\w{12}\(\$c:C\){a\(c:\$c\){...F}}fragment F on A{b}", told)
        words.add(told)
    assert len(words) == 2


async def test_a_query_is_one_operation(quick: Desk, line: Line) -> None:
    for query in ("query A { a } query B { b }", "fragment F on A { b }"):
        with pytest.raises(Invalid, match="one operation"):
            await everything(quick, query)
    assert line.calls == []


async def test_no_data_a_cancelled_and_a_failed_query_are_told_apart(quick: Desk, line: Line) -> None:
    line.answers.extend([answer(CREATED), answer(told("DONE"))])
    assert await everything(quick) == []
    line.answers.clear()
    line.answers.extend([answer(CREATED), answer(told("CANCELLED"))])
    with pytest.raises(Refused, match="was cancelled"):
        await everything(quick)
    line.answers.clear()
    failed = told("FATAL", errorDocumentId="D1")
    line.answers.extend([*map(answer, (CREATED, failed, ADDRESS)), stored(b'{"errors": "Too old."}')])
    with pytest.raises(Refused, match="Too old"):
        await everything(quick)


async def test_a_line_that_is_no_object_or_is_cut_is_told(quick: Desk, line: Line) -> None:
    for body, kind in ((b'{"a": 1}\n{"a":', Unclear), (b"[1]\n", Unclear), (b'{"a": 1}\n{"a": NaN}\n', Unclear)):
        line.answers.clear()
        line.answers.extend([*map(answer, (CREATED, DONE, ADDRESS)), stored(body)])
        with pytest.raises(kind, match="line"):
            await everything(quick)
    line.answers.clear()
    line.answers.extend([*map(answer, (CREATED, DONE, ADDRESS)), stored(b'{"a": 1}\n', content_length="100")])
    with pytest.raises(Transient):
        await everything(quick)


async def test_a_lost_answer_finds_the_query_or_asks_once_more(quick: Desk, line: Line) -> None:
    client = client_of(quick)
    other = told(queryId="Q8", query="query { other }")
    mine = told(queryId="Q7", query=SHORT)
    line.answers.extend([httpx.Response(500), answer({"queries": [other, mine]})])
    assert await kiosk.create(client, SHORT, Ask(), go, looks_s=(0,)) == "Q7"
    line.answers.clear()
    line.answers.extend([httpx.Response(500), answer({"queries": [other]}), answer(CREATED)])
    assert await kiosk.create(client, SHORT, Ask(), go, looks_s=(0,)) == "Q1"
    for token in (None, "x"):
        line.answers.clear()
        line.answers.append(httpx.Response(500))
        with pytest.raises(OutcomeUnknown):
            await kiosk.create(client, SHORT, Ask(), go, token=token, looks_s=(0,))


async def test_what_is_no_query_is_not_sent_and_patience_ends(quick: Desk, line: Line) -> None:
    client = client_of(quick)
    for query in ("query {", f"query {{ {' '.join(f'field{n}' for n in range(2000))} }}"):
        with pytest.raises(Invalid):
            await kiosk.create(client, query, Ask(), go)
    assert line.calls == []
    line.answers.append(answer(told()))
    with pytest.raises(Stuck) as caught:
        await kiosk.wait(client, "Q1", Ask(), pauses_s=QUICK, patience_s=0.1)
    assert caught.value.query_id == "Q1"


async def test_the_sandboxs_sales_arrive_with_exact_amounts(sandbox: Sandbox, open_desk: Callable[..., Desk]) -> None:
    await sandbox.generous(*OPERATIONS)
    await sandbox.post("kiosk", {"queueSeconds": 0, "progressSeconds": 0, "records": 10})
    desk = open_desk(sandbox)
    await lift(desk)
    today = datetime.now(UTC).date()
    dates = [(today - timedelta(days=days)).isoformat() for days in (24, 0)]
    found = await everything(desk, QUERY % (*dates, "ATVPDKIKX0DER"))
    assert [one["startDate"] for one in found][:: len(found) - 1] == dates
    assert len(found) == 25
    amounts = [one["sales"]["orderedProductSales"]["amount"] for one in found]
    assert all(isinstance(amount, Decimal) for amount in amounts)
    assert sum(amounts) > 0
    with pytest.raises(Refused, match="does not sell"):
        await everything(desk, QUERY % (*dates, "A1PA6795UKMFR9"))
    client = client_of(desk)
    await sandbox.post("kiosk", {"queueSeconds": 3600})
    query_id = await kiosk.create(client, QUERY % (*dates, "ATVPDKIKX0DER"), Ask(), go)
    await kiosk.cancel(client, query_id, Ask(), go)
    assert isinstance(await kiosk.wait(client, query_id, Ask()), NoData)
    with pytest.raises(NotFound):
        await kiosk.status(client, "1", Ask())


READS: dict[str, tuple[int, type[Wire]]] = {
    "createQuery": (202, kiosk.Created),
    "getQuery": (200, Asked),
    "getQueries": (200, kiosk.Listed),
    "getDocument": (200, kiosk.Address),
}


@spapi.published
def test_amazons_own_examples_are_read_without_loss() -> None:
    for name, (status, model) in READS.items():
        for _, example in spapi.examples(name, status):
            found = read(model, example)
            assert found.model_dump(by_alias=True, exclude_unset=True, mode="json") == same(example), name


@spapi.published
async def test_every_request_is_one_that_amazon_publishes(quick: Desk, line: Line) -> None:
    client, ask, at = client_of(quick), Ask(), datetime(2026, 11, 21, tzinfo=UTC)
    first = {**DONE, "pagination": {"nextToken": "x+/="}}
    line.answers.extend([*map(answer, (CREATED, first, ADDRESS)), stored(b"{}\n")])
    line.answers.extend([*map(answer, (CREATED, DONE, ADDRESS)), stored(b"{}\n")])
    assert await everything(quick) == [{}, {}]
    line.answers.clear()
    line.answers.extend([answer({"queries": [DONE], "pagination": {"nextToken": "x+/="}}), answer({"queries": []})])
    assert len([one async for one in kiosk.listed(client, ask, since=at, until=at, statuses=["DONE"])]) == 1
    line.answers.append(httpx.Response(204))
    line.answers.popleft()
    await kiosk.cancel(client, "Q/1 ü", ask, go)
    sent = [call for call in line.calls if call.url.host != "store.test"]
    for request in sent:
        assert spapi.request_faults(request) == [], f"{request.method} {request.url}"
    names = {spapi.operation_of(one.method, one.url.raw_path.decode().partition("?")[0]) for one in sent}
    assert names == {*READS, "cancelQuery"}

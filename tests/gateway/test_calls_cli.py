"""`acorn calls` finds what was said, and says what it does not understand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from gateway.calls import shown
from store.exchange import ExchangeLog
from store.session import Store
from tests.gateway.conftest import Acorn, plain
from tests.store.test_exchange import call, without


@pytest.fixture
def said(acorn: Acorn, database_url: str) -> Acorn:
    """Three calls: an hour, a day and a minute old; the last was refused."""
    now = datetime.now(UTC)
    told = [
        call(1, now - timedelta(hours=1)),
        call(2, now - timedelta(days=1), operation="confirmShipment"),
        call(3, now - timedelta(minutes=1), status=400, failure="InvalidInput", subjects=("item:7", "sku:[A]")),
    ]

    async def keep() -> None:
        store = Store(database_url)
        try:
            await without(store)
            await ExchangeLog(store).keep(told)
        finally:
            await store.close()

    asyncio.run(keep())
    return acorn


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ([], ["req-3", "req-1", "req-2"]),
        (["--order", "1"], ["req-1", "req-2"]),
        (["--sku", "[A]"], ["req-3"]),
        (["--item", "7"], ["req-3"]),
        (["--request-id", "req-1"], ["req-1"]),
        (["--failed", "--since", "30m"], ["req-3"]),
        (["--since", "2h"], ["req-3", "req-1"]),
        (["--operation", "confirmShipment"], ["req-2"]),
        (["--limit", "1"], ["req-3"]),
        (["--channel", "shop"], []),
    ],
)
def test_calls_are_found(said: Acorn, arguments: list[str], ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = plain(said("calls", *arguments))
    assert [word for word in told.split() if word.startswith("req-")] == ids
    assert ("InvalidInput" in told) == ("req-3" in ids)


def test_nothing_found_is_said(said: Acorn) -> None:
    told = said("calls", "--channel", "shop")
    assert (told.exit_code, told.stdout, told.stderr) == (0, "", "No call that is kept is like that.\n")


@pytest.mark.parametrize("columns", [40, 80])
def test_request_ids_are_never_cut(said: Acorn, columns: int) -> None:
    id = "6f3a2c1e-7d44-4b0a-9f1e-0c5d8a7b6e21"
    console = Console(width=columns, record=True, file=StringIO())
    [table] = shown([call(1, datetime.now(UTC), upstream_request_id=id)], body=False)
    console.print(table)
    assert id in "".join(console.export_text().split())


def test_bodies_are_shown_where_asked_for(said: Acorn) -> None:
    assert '{"é": "…"}' in plain(said("calls", "--request-id", "req-1", "--body"))
    assert '{"é"' not in plain(said("calls", "--request-id", "req-1"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--since", "yesterday"], "is no time such as 90s"), (["--order", "1", "--sku", "A"], "Say one of")],
)
def test_what_is_not_understood_is_said(acorn: Acorn, arguments: list[str], words: str) -> None:
    refused = acorn("calls", *arguments)
    assert refused.exit_code == 1
    assert words in refused.stderr

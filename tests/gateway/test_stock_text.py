"""`acorn stock explain`, as people read it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from domain.stock import Term
from gateway.stock_text import tables

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def _number(channel: str, place: str, target: int) -> Any:
    terms = [Term("on hand at Berlin", 5, "ledger", None), Term("on hand at Reno", 2, "ledger", None)]
    facts: dict[str, object] = {"channel_sku": "A", "told": None, "confirmed_at": None, "error_message": None}
    return SimpleNamespace(channel=channel, place=place, target=target, terms=terms, **facts)


def test_a_listing_tells_once_of_what_its_places_share() -> None:
    told: Any = SimpleNamespace(
        facts=SimpleNamespace(sku="A"),
        available=SimpleNamespace(quantity=7, terms=[]),
        exposure=SimpleNamespace(sellable=14, existing=7, beyond=7),
        channels=[_number("shop", "BER", 5), _number("shop", "RNO", 2), _number("amazon-us", "", 7)],
    )
    console = Console(width=200)
    with console.capture() as shown:
        console.print(*tables(told, [], NOW))
    whys = [
        line.partition(" - ")[2].strip(" -") for line in shown.get().splitlines() if " A " in line and " - " in line
    ]
    assert whys == [
        "+5 on hand at Berlin, +2 on hand at Reno",
        "part of the above",
        "+5 on hand at Berlin, +2 on hand at Reno",
    ]

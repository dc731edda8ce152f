"""What docs/finance.md says that money is called is what the tables have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from domain.money_class import Event, MoneyClass, part_of
from domain.money_words import AMAZON, REST, SHOPIFY, read

PAGE = Path(__file__).parents[2] / "docs" / "finance.md"
ROW = re.compile(r"^\| `([A-Z_]+)` \| [^|]+ \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)


def named(source: str, of: MoneyClass) -> Iterator[str]:
    """The words of a class: its descriptions; where any will do, what is written before them."""
    for block in read(source)["words"]:
        for word in block.get(of.name, ()):
            yield from [word] if word != "*" else outer(source, block)


def outer(source: str, block: Mapping[str, Any]) -> list[str]:
    found: list[str] = block["amount_kind"] if source == AMAZON or "kind" not in block else block["kind"]
    return found


def cell(words: Iterator[str]) -> str:
    return ", ".join(f"`{word}`" for word in dict.fromkeys(words))


def row(of: MoneyClass) -> tuple[str, str, str]:
    """Where a class stands in a profit, and what it is called."""
    parts = dict.fromkeys(f"`{part_of(of, event).value}`" for event in Event)
    return ", ".join(parts), cell(named(AMAZON, of)), cell(word for one in (SHOPIFY, REST) for word in named(one, of))


def test_the_page_has_every_class_with_its_words() -> None:
    told = {name: (part, amazon, shops) for name, part, amazon, shops in ROW.findall(PAGE.read_text(encoding="utf-8"))}
    assert told == {of.name: row(of) for of in MoneyClass}


def test_a_row_that_differs_would_be_found() -> None:
    """The twin."""
    parts, amazon, shops = row(MoneyClass.TRANSFER)
    told = f"| `TRANSFER` | payouts | {parts} | {amazon}, `Kaching` | {shops} |\n"
    assert ROW.findall(told) == [("TRANSFER", parts, f"{amazon}, `Kaching`", shops)]
    assert "`Payable to Amazon`" in amazon
    assert "`transfer`" in shops

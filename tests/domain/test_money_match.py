"""The rules by which lines are tied, as people read them."""

from __future__ import annotations

from pathlib import Path

from domain.money_line import Cause
from domain.money_match import RULES, Rule

PAGE = Path(__file__).parents[2] / "docs" / "finance.md"


def test_the_page_tells_of_each_rule_and_cause() -> None:
    page = PAGE.read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    told = [f"| `{rule.value}` | {words} |" for rule, words in RULES.items()]
    assert [row for row in rows if row in told] == told, "in the order in which they are tried"
    assert list(RULES) == list(Rule)
    named = {row.split("`")[1] for row in rows}
    assert {cause.value for cause in Cause} <= named

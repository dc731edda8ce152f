"""What would break or surprise the contract's clients is named before it is released."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from scripts import schema_diff
from scripts.schema_diff import ACCEPTED, NO_REASONS, RELEASED, TODAY, Changes, changes, problems

OLD = """
type Query { stock(sku: String!, first: Int = 50): Stock  order: String }
type Stock { units: Int!  sku: String!  state: State! }
enum State { LIVE STALE }
input Filter { sku: String }
union Thing = Stock
"""


def changed(old: str, new: str) -> Changes:
    assert old in OLD
    return changes(OLD, OLD.replace(old, new))


def test_the_contract_breaks_nothing_since_the_last_release_but_what_has_a_reason() -> None:
    found = changes(RELEASED.read_text(encoding="utf-8"), TODAY.read_text(encoding="utf-8"))
    assert problems(found, tomllib.loads(ACCEPTED.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("order: String", "", "Field Query.order was removed."),
        ("sku: String!  state", "sku: String  state", "Field Stock.sku changed type from String! to String."),
        ("sku: String!, first", "sku: String!, by: ID!, first", "A required argument Query.stock(by:) was added."),
        ("first: Int = 50", "", "Argument Query.stock(first:) was removed."),
        ("LIVE STALE", "LIVE", "Enum value State.STALE was removed."),
        (
            "input Filter { sku: String }",
            "input Filter { sku: String! }",
            "Field Filter.sku changed type from String to String!.",
        ),
        ("union Thing = Stock", "", "Thing was removed."),
    ],
)
def test_a_breaking_change_is_named_and_fails(old: str, new: str, words: str) -> None:
    found = changed(old, new)
    assert [one.startswith(words) for one in found.breaking] == [True], found
    assert problems(found, {}) == [f"Breaking: {found.breaking[0]}"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("LIVE STALE", "LIVE STALE NEW", "Enum value State.NEW was added."),
        ("first: Int = 50", "first: Int = 20", "Query.stock(first:) has changed defaultValue from 50 to 20."),
        ("input Filter { sku: String }", "input Filter { sku: String text: String }", "An optional field Filter.text"),
    ],
)
def test_a_dangerous_change_is_named_and_passes(old: str, new: str, words: str) -> None:
    found = changed(old, new)
    assert [one.startswith(words) for one in found.dangerous] == [True], found
    assert problems(found, {}) == []


def test_what_is_only_added_is_no_change_for_clients() -> None:
    assert changed("order: String", "order: String  orders: [String!]!") == Changes([], [])


def test_a_reason_lets_one_change_pass_and_is_not_kept_for_what_is_over() -> None:
    found = changed("order: String", "")
    gone = found.breaking[0]
    assert problems(found, {gone: "Nobody asks for it."}) == []
    assert problems(found, {gone: ""}) == [f"{gone!r} has no reason in words."]
    assert problems(Changes([], []), {gone: "Nobody."}) == [f"{gone!r} is no breaking change since the last release."]


def test_a_release_takes_todays_contract_and_forgets_the_reasons(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / name for name in ("RELEASED", "TODAY", "ACCEPTED")}
    for name, path in files.items():
        monkeypatch.setattr(schema_diff, name, path)
    files["RELEASED"].write_text(OLD)
    files["TODAY"].write_text(OLD.replace("order: String", "").replace("LIVE STALE", "LIVE STALE NEW"))
    files["ACCEPTED"].write_text(NO_REASONS)
    assert schema_diff.check() == 1
    assert "Breaking: Field Query.order was removed." in capsys.readouterr().err
    files["ACCEPTED"].write_text('"Field Query.order was removed." = "Nobody asks for it."')
    assert schema_diff.check() == 0
    told = capsys.readouterr().err
    assert "Dangerous: " in told
    assert "with a reason: Field Query.order was removed. Nobody asks for it." in told
    schema_diff.release()
    assert schema_diff.check() == 0
    assert capsys.readouterr().err == ""

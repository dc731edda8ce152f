"""Logs: one line each, whatever is put into them, and no secret among it."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, Literal

import pytest
from sqlalchemy.exc import ProgrammingError

from gateway.logs import LONGEST, formatter


def line(message: str, form: Literal["json", "console"] = "json", *, failed: bool = False, **extra: Any) -> str:
    error = sys.exc_info() if failed else None
    record = logging.LogRecord("gateway.test", logging.WARNING, __file__, 1, message, (), error)
    record.__dict__.update(extra)
    return formatter(form).format(record)


def test_an_event_and_its_values_are_one_object() -> None:
    told = json.loads(line("lane.sent", operation="op-1", status=204, seconds=0.25))
    assert told.pop("at").endswith("Z")
    assert told == {
        "event": "lane.sent",
        "logger": "gateway.test",
        "level": "warning",
        "operation": "op-1",
        "status": 204,
        "seconds": 0.25,
    }


@pytest.mark.parametrize("form", ["json", "console"])
def test_nothing_put_into_a_value_makes_a_second_line_or_moves_a_terminal(form: Literal["json", "console"]) -> None:
    evil = "x\r\nlevel=critical fake\x1b[31mred\x00\x85\u2028\u202e"
    told = line("auth.unknown_key", form, address=evil)
    assert len(told.splitlines()) == 1
    for char in "\x00\x85\u2028\u202e\r":
        assert char not in told
    assert evil not in told


def test_long_values_are_cut() -> None:
    told = json.loads(line("graphql.answered", operation="x" * 100_000))
    assert len(told["operation"]) == LONGEST + 1


def test_a_value_whose_name_says_secret_stays_out() -> None:
    told = line(
        "http.asked", authorization="canary-1", headers={"a": "canary-2"}, body="canary-3", refresh_token="canary-4"
    )
    assert "canary" not in told


def test_an_exception_is_told_with_its_trace() -> None:
    try:
        int("paper")
    except ValueError:
        told = json.loads(line("graphql.failed", failed=True))
    assert "ValueError: invalid literal" in told["exception"]
    assert "test_logs.py" in told["exception"]


def test_a_database_error_tells_no_values() -> None:
    problem = ProgrammingError("insert into buyer values ($1)", ("canary",), Exception("syntax"))
    try:
        raise problem
    except ProgrammingError:
        told = json.loads(line("graphql.failed", failed=True, reason=str(problem)))
    assert "canary" not in str(told)
    assert "insert into buyer" in told["exception"]

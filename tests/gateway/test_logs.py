"""Logs: one line each, whatever is put into them, and no secret among it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from sqlalchemy.exc import ProgrammingError

from gateway import logs
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


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What goes to stderr once logs are set up as in production."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(logs, "_lines", None)
    logs.set_up("INFO", "json")
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


async def test_lines_of_requests_are_like_all_others_and_keep_their_order(written: io.StringIO) -> None:
    log = logging.getLogger("gateway.test")
    values: dict[str, Any] = {
        "request_id": "r-1",
        "status": 200,
        "seconds": 0.25,
        "caller": "shop\x1b[2J\n",
        "operation": "x" * 100_000,
    }
    words = f'"caller":{logs.word(values["caller"])},"operation":{logs.word(values["operation"])}'
    logs.tell_many(log, "graphql.answered", [f'"request_id":"r-1","status":200,"seconds":0.25,{words}'])
    log.info("graphql.answered", extra=values)
    logs.tell_many(log, "graphql.answered", [f'"caller":{logs.word("a" + chr(0x2028) + "b")}', '"status":200'])
    assert len(written.getvalue().splitlines()) == 2  # the rest waits for the end of the loop's turn
    await asyncio.sleep(0)
    quick, usual, *many = (json.loads(line) for line in written.getvalue().splitlines())
    assert list(quick) == list(usual)
    assert quick.pop("at").endswith("Z")
    usual.pop("at")
    assert quick == usual
    assert [(one["event"], one["logger"], one["level"]) for one in many] == [
        ("graphql.answered", "gateway.test", "info")
    ] * 2
    assert many[0]["caller"] == "a\\u2028b"
    assert many[1]["status"] == 200


async def test_lines_of_requests_have_a_level_and_outlive_a_stream_that_is_gone(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("gateway.test")
    logging.getLogger().setLevel("WARNING")
    logs.tell_many(log, "graphql.answered", ['"status":200'])
    await asyncio.sleep(0)
    assert written.getvalue() == ""
    logging.getLogger().setLevel("INFO")
    monkeypatch.setattr(written, "write", _broken)
    logs.tell_many(log, "graphql.answered", ['"status":200'])
    await asyncio.sleep(0)


def _broken(text: str) -> int:
    raise BrokenPipeError


def test_without_a_loop_a_line_is_written_at_once(written: io.StringIO) -> None:
    logs.tell_many(logging.getLogger("gateway.test"), "graphql.answered", ['"status":200'])
    assert json.loads(written.getvalue())["status"] == 200

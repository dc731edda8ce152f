"""The places where a worker can be made to die, and where it then does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workers.crash import POINTS

HOUSE = Path(__file__).parents[2]


def test_each_place_is_passed_somewhere_and_none_is_unknown() -> None:
    passed = {
        name
        for folder in ("workers", "gateway", "resolvers")
        for file in (HOUSE / folder).glob("*.py")
        for name in re.findall(r'\bpoint\("(\w+)"\)', file.read_text(encoding="utf-8"))
    }
    assert passed == set(POINTS)


@pytest.mark.parametrize(("wish", "passed"), [("", 3), ("after_send", 0), ("after_send:3", 2), ("after_claim", 3)])
def test_a_process_dies_where_it_was_told_to_and_as_often_passed(wish: str, passed: int) -> None:
    code = "from workers.crash import point\nfor _ in range(3): point('after_send'); print('x', flush=True)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ACORN_CRASH_AT": wish},
        cwd=HOUSE,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.count("x")) == (0 if passed == 3 else 137, passed)


def test_an_unknown_place_is_said_at_the_start() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import workers.crash"],
        env={**os.environ, "ACORN_CRASH_AT": "after_lunch"},
        cwd=HOUSE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "ACORN_CRASH_AT=after_lunch: there is no such place" in done.stderr

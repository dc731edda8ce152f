"""The contract's tests of stock once more, with the compiled executor in the place of Strawberry's."""

from __future__ import annotations

import pytest

from tests.executor.test_contract import compiled
from tests.schema import test_stock
from tests.schema.test_stock import *  # noqa: F403  # the tests themselves


@pytest.fixture(autouse=True)
def _through_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_stock, "ask", compiled)

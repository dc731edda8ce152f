"""The contract's own tests once more, with the compiled executor in the place of Strawberry's."""

from __future__ import annotations

import time
from typing import Any

import pytest
from graphql import parse

from domain.budget import Ask
from executor import UTC_DATETIME, compile
from resolvers.context import Caller, Context, Shelf
from schema.root import schema
from tests.schema import test_queries
from tests.schema.test_queries import *  # noqa: F403  # the tests themselves


async def compiled(
    shelf: Shelf, query: str, caller: Caller = test_queries.ADMIN, **variables: Any
) -> tuple[Any, list[Any], Context]:
    """(data, errors, the context afterward), as `ask` gives them."""
    context = Context(shelf, caller, Ask(deadline=time.monotonic() + 5), "req-1")
    plan = compile(schema._schema, parse(query), natives={"DateTime": UTC_DATETIME})
    assert plan is not None
    result = await plan.run(variables, context)
    return result.data, result.errors, context


@pytest.fixture(autouse=True)
def _through_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_queries, "ask", compiled)

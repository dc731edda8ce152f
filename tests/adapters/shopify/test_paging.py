"""Lists are read to their end, and one that has none is given up."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.shopify.document import DEEPEST, PAGE
from adapters.shopify.locations import LOCATIONS
from adapters.shopify.paging import by_id, pages, whole
from adapters.shopify.subscriptions import SUBSCRIPTIONS
from adapters.shopify.wire import PageInfo, Ref
from adapters.wire import read
from domain.budget import Ask, Priority
from domain.errors import Transient
from tests.adapters.shopify.bench import OpenPort, Script

BACK = Ask(Priority.BACKGROUND)


def goes_on(after: str | None, *nodes: Any) -> dict[str, Any]:
    return {"nodes": list(nodes), "pageInfo": {"hasNextPage": True, "endCursor": after}}


@pytest.mark.parametrize("cursors", [[None], ["c1", "c1"]])
async def test_a_list_that_does_not_say_where_it_goes_on_is_given_up(
    open_port: OpenPort, cursors: list[str | None]
) -> None:
    told = iter(cursors)
    script = Script(lambda name, asked: {"locations": goes_on(next(told))})
    port = open_port(wire=script.wire())
    with pytest.raises(Transient, match="does not say where"):
        [batch async for batch in pages(port._client, LOCATIONS, by_id(()), BACK)]
    assert len(script.asked) == len(cursors)
    part = Script(lambda name, asked: {"webhookSubscriptions": {"rest": goes_on("c1")}})
    client = open_port(wire=part.wire())._client
    with pytest.raises(Transient, match="does not say where"):
        await whole(client, SUBSCRIPTIONS, "1", Ref, [], read(PageInfo, goes_on("c1")["pageInfo"]), BACK)
    assert len(part.asked) == 1


async def test_rows_that_no_search_goes_beyond_are_given_up(open_port: OpenPort) -> None:
    asked = 0

    def answer(name: str, given: dict[str, Any]) -> Any:
        nonlocal asked
        asked += 1
        return {"locations": goes_on(f"c{asked}", *[{"id": "1"}] * PAGE)}

    port = open_port(wire=Script(answer).wire())
    with pytest.raises(Transient, match="cannot be told apart"):
        [batch async for batch in pages(port._client, LOCATIONS, lambda beyond: "always the same", BACK)]
    assert asked == DEEPEST // PAGE

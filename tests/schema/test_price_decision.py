"""Large changes of prices: who decides about one is answered at once, and sees by the operation what came of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.ids import node_id
from resolvers import operation as resolver
from resolvers.context import Caller
from resolvers.shelf import Shelf
from store import price_decision
from store.session import Store
from tests.resolvers.test_shipment import CountingBell
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.store.price_lane import asked, carried, guarded, listed, sold, wish
from tests.workers.test_price_decisions import HELD
from workers.price_decisions import work

SCOPES = frozenset({"prices:write", "operations:approve"})
BOSS, ANN = Caller("boss", SCOPES), Caller("ann", SCOPES)
FIELDS = "status priceDecision { verdict askedBy endedAt revertedBy error { code } }"
NOW = f"query($id: ID!) {{ operation(id: $id) {{ {FIELDS} }} }}"


@pytest.fixture
async def shelf(store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(resolver, "MOST_AT_ONCE", 1)
    await guarded(store)
    await listed(store, sold("A", "10"), sold("B", "10"))
    return replace(House(store, redis).shelf, bell=CountingBell())


async def decide(shelf: Shelf, what: str, id: str, caller: Caller = BOSS) -> dict[str, Any]:
    mutation = f"mutation($id: ID!) {{ {what}(id: $id) {{ operation {{ {FIELDS} }} userErrors {{ code }} }} }}"
    data, errors, _ = await ask(shelf, mutation, caller, id=id)
    assert errors == []
    return dict(data[what])


async def worked(shelf: Shelf) -> None:
    async with shelf.store.begin() as tx:
        one = await price_decision.claim(tx, 60.0)
    assert one is not None
    await work(shelf.store, one, lambda: datetime.now(UTC))


async def test_a_large_change_is_approved_and_taken_back_by_a_worker(shelf: Shelf) -> None:
    one = await asked(shelf.store, wish("A", "12"), wish("B", "12"), dry_run=True)
    id = node_id("Operation", one.id)
    waits = {"verdict": "APPROVE", "askedBy": "boss", "endedAt": None, "revertedBy": None, "error": None}
    for _ in range(2):
        answer = await decide(shelf, "approveOperation", id)
        assert answer == {"operation": {"status": "PREVIEW", "priceDecision": waits}, "userErrors": []}
    await worked(shelf)
    data, _, _ = await ask(shelf, NOW, BOSS, id=id)
    assert data["operation"]["status"] == "QUEUED"
    assert data["operation"]["priceDecision"]["endedAt"] is not None
    assert (await decide(shelf, "approveOperation", id))["userErrors"] == [{"code": "CONFLICT"}]
    await carried(shelf.store)
    answer = await decide(shelf, "revertOperation", id)
    assert answer["operation"]["priceDecision"]["verdict"] == "REVERT"
    await worked(shelf)
    data, _, _ = await ask(shelf, NOW, BOSS, id=id)
    back = data["operation"]["priceDecision"]["revertedBy"]
    assert (await decide(shelf, "cancelOperation", back))["operation"]["priceDecision"]["verdict"] == "CANCEL"
    await worked(shelf)
    data, _, _ = await ask(shelf, NOW, BOSS, id=back)
    assert data["operation"]["status"] == "CANCELLED"


async def test_what_failed_of_a_large_change_is_tried_again_by_a_worker(shelf: Shelf) -> None:
    one = await asked(shelf.store, wish("A", "12"), wish("B", "12"))
    id = node_id("Operation", one.id)
    # Nothing has failed: that is told at once.
    assert (await decide(shelf, "retryOperation", id))["userErrors"] == [{"code": "CONFLICT"}]
    await carried(shelf.store, but={"A"})
    waits = {"verdict": "RETRY", "askedBy": "boss", "endedAt": None, "revertedBy": None, "error": None}
    answer = await decide(shelf, "retryOperation", id)
    assert answer == {"operation": {"status": "PARTIAL", "priceDecision": waits}, "userErrors": []}
    assert await carried(shelf.store) == []
    await worked(shelf)
    assert await carried(shelf.store) == ["A"]
    data, _, _ = await ask(shelf, NOW, BOSS, id=id)
    assert data["operation"]["status"] == "SUCCEEDED"
    # What is not to be revived is told with the operation.
    other = await asked(shelf.store, wish("A", "13"), wish("B", "13"))
    await carried(shelf.store, but={"A"})
    await asked(shelf.store, wish("A", "14"))
    await decide(shelf, "retryOperation", node_id("Operation", other.id))
    await worked(shelf)
    data, _, _ = await ask(shelf, NOW, BOSS, id=node_id("Operation", other.id))
    assert data["operation"]["priceDecision"]["error"] == {"code": "CONFLICT"}


async def test_what_was_shown_and_has_moved_is_told_with_the_operation_and_the_author_is_refused_at_once(
    shelf: Shelf,
) -> None:
    one = await asked(shelf.store, wish("A", "12"), wish("B", "12"), dry_run=True)
    id = node_id("Operation", one.id)
    await decide(shelf, "approveOperation", id, ANN)
    await listed(shelf.store, sold("A", "11"), sold("B", "11"))
    await worked(shelf)
    data, _, _ = await ask(shelf, NOW, BOSS, id=id)
    assert data["operation"]["priceDecision"]["error"] == {"code": "CONFLICT"}
    await listed(shelf.store, sold("NEW", "10", price=None), sold("NEWER", "10", price=None))
    await guarded(shelf.store, HELD)
    held = await asked(shelf.store, wish("NEW", "12"), wish("NEWER", "12"))
    answer = await decide(shelf, "approveOperation", node_id("Operation", held.id), ANN)
    assert answer == {"operation": None, "userErrors": [{"code": "FORBIDDEN"}]}

"""Large changes of prices are decided about at once and carried out by a worker: once, whoever dies over it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.errors import Forbidden, Throttled
from domain.operation import Operation, OperationStatus
from domain.price_canary import Radius
from domain.price_decision import Verdict
from domain.price_guard import ACTIONS, Guard, GuardKind
from store import operation, price_back, price_decision, price_desk
from store.session import Store
from tests.store.price_lane import SHOP, asked, carried, guarded, items, listed, shown, sold, wish
from workers.price_decisions import once, work

HELD = Guard("held", GuardKind.UNKNOWN, ACTIONS[GuardKind.UNKNOWN])


@pytest.fixture
async def shop(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A and B are sold for 10 EUR; no guard says anything."""
    # Whoever waits for the channel waits as long as it takes.
    monkeypatch.setattr(price_desk, "PATIENCE_S", 60.0)
    await guarded(store)
    await listed(store, sold("A", "10"), sold("B", "10"))
    return store


class Bench:
    """As much of a worker as a decision needs."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def clock(self) -> datetime:
        return datetime.now(UTC)


async def decided(store: Store, one: Operation, verdict: Verdict, by: str = "bob") -> None:
    async with store.begin() as tx:
        await price_decision.ask(tx, one.id, verdict, by)


async def worked(store: Store, hand_s: float = 60.0) -> bool:
    deps: Any = Bench(store)
    return await once(deps, hand_s)


async def outcome(store: Store, one: Operation) -> tuple[OperationStatus, str | None, bool]:
    """The operation's status, the code of why nothing was done, and whether the decision is carried out."""
    async with store.begin() as tx:
        now = (await operation.by_ids(tx, [one.id]))[one.id]
        last = (await price_decision.by_operations(tx, [one.id]))[one.id]
    return now.status, None if last.error is None else last.error.code, last.ended_at is not None


async def test_what_was_approved_is_carried_out_once_and_so_is_what_was_taken_back(shop: Store) -> None:
    one = await asked(shop, wish("A", "11"), wish("B", "12"), dry_run=True)
    assert not await worked(shop)
    await decided(shop, one, Verdict.APPROVE)
    await decided(shop, one, Verdict.APPROVE, "eve")
    assert await outcome(shop, one) == (OperationStatus.PREVIEW, None, False)
    assert await worked(shop)
    assert not await worked(shop)
    assert await outcome(shop, one) == (OperationStatus.QUEUED, None, True)
    await carried(shop)
    await decided(shop, one, Verdict.REVERT)
    assert await worked(shop)
    async with shop.begin() as tx:
        last = (await price_decision.by_operations(tx, [one.id]))[one.id]
        assert last.made is not None
        assert (await operation.by_ids(tx, [last.made]))[last.made].reverts == one.id
    await carried(shop)
    assert await shown(shop, "A", "B") == ["10", "10"]


async def test_what_waits_behind_a_canary_is_let_go_and_what_has_not_left_is_cancelled(shop: Store) -> None:
    await guarded(shop, radius=Radius(rows=2))
    one = await asked(shop, wish("A", "5"), wish("B", "5"))
    assert len(await carried(shop)) == 1
    async with shop.begin() as tx:
        with pytest.raises(Forbidden):
            await price_back.can_be_approved(tx, one, "ann")
        assert await price_back.can_be_approved(tx, one, "bob")
    await decided(shop, one, Verdict.APPROVE)
    assert await worked(shop)
    assert len(await carried(shop)) == 1
    async with shop.begin() as tx:
        assert not await price_back.can_be_approved(tx, one, "bob")
    two = await asked(shop, wish("A", "6"))
    await decided(shop, two, Verdict.CANCEL)
    assert await worked(shop)
    assert await outcome(shop, two) == (OperationStatus.CANCELLED, None, True)


async def test_whoever_dies_over_it_leaves_it_to_the_next_and_of_two_one_does_it(shop: Store) -> None:
    one = await asked(shop, wish("A", "11"), dry_run=True)
    await decided(shop, one, Verdict.APPROVE)
    async with shop.begin() as tx:
        dead = await price_decision.claim(tx, 0.0)
    assert dead is not None
    async with shop.begin() as tx:
        late = await price_decision.claim(tx, 60.0)
    assert late is not None
    await asyncio.gather(*(work(shop, each, lambda: datetime.now(UTC)) for each in (dead, late)))
    assert await outcome(shop, one) == (OperationStatus.QUEUED, None, True)


async def test_what_kills_every_worker_comes_to_an_end_and_may_be_asked_anew(shop: Store) -> None:
    one = await asked(shop, wish("A", "11"), dry_run=True)
    await decided(shop, one, Verdict.APPROVE)
    for _ in range(price_decision.MOST_TRIES):
        async with shop.begin() as tx:
            assert await price_decision.claim(tx, 0.0) is not None
    assert not await worked(shop)
    assert await outcome(shop, one) == (OperationStatus.PREVIEW, "INTERNAL", True)
    await decided(shop, one, Verdict.APPROVE)
    assert await worked(shop)
    assert await outcome(shop, one) == (OperationStatus.QUEUED, None, True)


async def test_why_nothing_was_done_is_told_with_the_operation(shop: Store) -> None:
    one = await asked(shop, wish("A", "11"), dry_run=True)
    await decided(shop, one, Verdict.APPROVE)
    await listed(shop, sold("A", "10.50"))
    assert await worked(shop)
    assert await outcome(shop, one) == (OperationStatus.PREVIEW, "CONFLICT", True)
    assert await items(shop, one.id) == [("A", "PENDING", None)]


async def test_the_author_of_what_is_held_is_refused_at_once(shop: Store) -> None:
    await guarded(shop, HELD)
    await listed(shop, sold("NEW", "10", price=None))
    one = await asked(shop, wish("NEW", "11"))
    free = await asked(shop, wish("A", "11"), dry_run=True)
    assert one.status is OperationStatus.AWAITING_APPROVAL
    async with shop.begin() as tx:
        with pytest.raises(Forbidden):
            await price_desk.check_author(tx, one, "ann")
        await price_desk.check_author(tx, one, "bob")
        await price_desk.check_author(tx, free, "ann")


async def test_whoever_waits_for_long_is_told_to_come_again_and_a_decision_does(
    shop: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_desk, "PATIENCE_S", 0.05)
    one = await asked(shop, wish("A", "11"), dry_run=True)
    sent = await asked(shop, wish("B", "12"))
    await decided(shop, one, Verdict.APPROVE)
    async with shop.begin() as other:
        await price_desk.lock(other, [SHOP])
        with pytest.raises(Throttled) as told:
            await asked(shop, wish("A", "13"))
        assert (told.value.code, told.value.retry_after_s) == ("THROTTLED", 0.05)
        with pytest.raises(Throttled):
            async with shop.begin() as tx:
                await price_back.cancel(tx, sent.id, "ann")
        # A preview changes nothing: it waits for nobody.
        assert (await asked(shop, wish("A", "14"), dry_run=True)).status is OperationStatus.PREVIEW
        assert await worked(shop)
        assert await outcome(shop, one) == (OperationStatus.PREVIEW, None, False)
    while not (await outcome(shop, one))[2]:
        await worked(shop)
        await asyncio.sleep(0.01)
    assert await outcome(shop, one) == (OperationStatus.QUEUED, None, True)

"""Hints are kept once, looked after together, and forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from domain.hint import Hint, HintKind, HintState
from domain.ids import ChannelId
from store import channel
from store import hint as hints
from store.session import Store
from store.tables import hint as table
from tests.conftest import emptied

US, EU = ChannelId("amazon-us"), ChannelId("amazon-eu")
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _hint(id: str, subject: str = "903-1", *, of: ChannelId = US, minutes: int = 0, place: str | None = None) -> Hint:
    return Hint(of, id, "ORDER_CHANGE", HintKind.ORDER, subject, AT + timedelta(minutes=minutes), place)


async def test_a_copy_is_kept_once_whatever_became_of_the_first(store: Store) -> None:
    async with store.begin() as tx:
        assert await hints.keep(tx, [_hint("n-1"), _hint("n-1"), _hint("n-2")]) == 2
        assert await hints.keep(tx, [_hint("n-1", of=EU)]) == 1
        await hints.done(tx, await hints.claim(tx, [US, EU], 10, 10))
    async with store.begin() as tx:
        assert await hints.keep(tx, [_hint("n-1"), _hint("n-2")]) == 0
        assert await hints.claim(tx, [US, EU], 10, 10) == []
        assert await hints.keep(tx, [_hint("n-3")]) == 1
        assert len(await hints.claim(tx, [US, EU], 10, 10)) == 1


async def test_all_that_waits_about_a_subject_is_one_errand(store: Store) -> None:
    async with store.begin() as tx:
        await hints.keep(tx, [_hint("n-1", place="US"), _hint("n-2", minutes=9), _hint("n-3", minutes=3)])
        await hints.keep(tx, [_hint("n-4", "903-2")])
        first, second = await hints.claim(tx, [US], 10, 10)
    assert (first.subject, first.event_at, first.marketplace, len(first.rows)) == (
        "903-1",
        AT + timedelta(minutes=9),
        "US",
        3,
    )
    assert (second.subject, second.attempts) == ("903-2", 1)


async def test_what_somebody_is_at_is_left_alone_and_what_comes_meanwhile_is_not(store: Store) -> None:
    async with store.begin() as tx:
        await hints.keep(tx, [_hint("n-1")])
    async with store.begin() as mine:
        (taken,) = await hints.claim(mine, [US], 10, 10)
        async with store.begin() as other:
            assert await hints.claim(other, [US], 10, 10) == []
    async with store.begin() as tx:
        assert await hints.claim(tx, [US], 10, 10) == []
        await hints.keep(tx, [_hint("n-2")])
        (again,) = await hints.claim(tx, [US], 10, 10)
    assert set(again.rows).isdisjoint(taken.rows)


async def test_a_lease_that_is_over_lets_others_at_it(store: Store) -> None:
    async with store.begin() as tx:
        await hints.keep(tx, [_hint("n-1")])
        await hints.claim(tx, [US], -1, 10)
    async with store.begin() as tx:
        (again,) = await hints.claim(tx, [US], 10, 10)
    assert again.attempts == 2


async def test_a_paused_channel_waits(store: Store) -> None:
    async with store.begin() as tx:
        await hints.keep(tx, [_hint("n-1"), _hint("n-2", of=EU)])
        await channel.pause(tx, US, "consent", 60)
    async with store.begin() as tx:
        assert [one.channel for one in await hints.claim(tx, [US, EU], 10, 10)] == [EU]
        await channel.resume(tx, US)
    async with store.begin() as tx:
        assert [one.channel for one in await hints.claim(tx, [US, EU], 10, 10)] == [US]


async def test_putting_off_counts_unless_nothing_was_tried(store: Store) -> None:
    async with store.begin() as tx:
        await hints.keep(tx, [_hint("n-1")])
        await hints.put_off(tx, await hints.claim(tx, [US], 10, 1), 0, "503", free=False)
    async with store.begin() as tx:
        (second,) = await hints.claim(tx, [US], 10, 1)
        assert second.attempts == 2
        await hints.put_off(tx, [second], 0, "no slot", free=True)
    async with store.begin() as tx:
        (third,) = await hints.claim(tx, [US], 10, 1)
        assert third.attempts == 2
        await hints.give_up(tx, [third], "it does not exist")
    async with store.begin() as tx:
        rows = await tx.execute(select(table.c.state, table.c.reason))
        assert rows.all() == [(HintState.QUARANTINED.value, "it does not exist")]


async def test_the_latest_word_on_the_account_is_the_one_that_happened_last(store: Store) -> None:
    at_risk = Hint(US, "n-2", "ACCOUNT_STATUS_CHANGED", HintKind.ACCOUNT, "AT_RISK", AT)
    normal = Hint(US, "n-1", "ACCOUNT_STATUS_CHANGED", HintKind.ACCOUNT, "NORMAL", AT - timedelta(days=1))
    async with store.begin() as tx:
        assert await hints.last_of(tx, US, HintKind.ACCOUNT) is None
        await hints.keep(tx, [at_risk])
        await hints.keep(tx, [normal])
        assert await hints.last_of(tx, US, HintKind.ACCOUNT) == at_risk


async def test_what_is_old_is_forgotten(store: Store) -> None:
    async with store.begin() as tx:
        await hints.keep(tx, [_hint("n-1"), _hint("n-2")])
        await tx.execute(update(table).where(table.c.notification_id == "n-1").values(received_at=AT))
        assert await hints.forget(tx, AT + timedelta(days=30)) == 1
        assert list(await tx.scalars(select(table.c.notification_id))) == ["n-2"]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), max_size=30), st.integers(1, 5))
async def test_whatever_comes_each_notification_is_looked_after_once(
    session_store: Store, arrivals: list[tuple[int, int]], limit: int
) -> None:
    await emptied(session_store)
    subjects = dict(reversed(arrivals))
    handled: list[int] = []
    for id, _ in arrivals:
        async with session_store.begin() as tx:
            await hints.keep(tx, [_hint(f"n-{id}", f"903-{subjects[id]}")])
        async with session_store.begin() as tx:
            taken = await hints.claim(tx, [US], 60, limit)
            assert len({one.subject for one in taken}) == len(taken) <= limit
            handled += [row for one in taken for row in one.rows]
            await hints.done(tx, taken)
    assert len(handled) == len(set(handled)) == len(subjects)

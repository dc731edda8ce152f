"""What each channel is to show, was told, and was seen to show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from domain.channel import StreamName
from domain.ids import ChannelId, ChannelSku, Sku
from domain.policy import Shown
from domain.stock import Term
from store import channel_numbers, channel_stock, kit, marks, stock_push, stream
from store.channel_numbers import Told
from store.channel_stock import NumberKey, Target
from store.session import Store
from store.stock_push import Errand, Outcome, Record, Write
from store.tables import channel_stock as numbers_table
from store.tables import product, sku_stock
from store.tables import stock_push as push_table

SHOP, AMAZON = ChannelId("shop"), ChannelId("amazon")
A, B = Sku("A"), Sku("B")
KEY = NumberKey(SHOP, ChannelSku("A"), "Berlin")
THEN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def at(seconds: float) -> datetime:
    """So long after a moment within this day."""
    return THEN + timedelta(seconds=seconds)


def target(quantity: int, version: int = 1, second: float = 0, **more: Any) -> Target:
    """A target of A in the shop."""
    made = Target(
        key=KEY,
        sku=A,
        refs={"item": "i"},
        quantity=quantity,
        version=version,
        at=at(second),
        terms=[Term("on hand", quantity, "ledger", THEN, upstream_request_id="r")],
        caused_at=None,
        noticed_at=None,
        ready=True,
    )
    return replace(made, **more)


@pytest.fixture
async def shelf(store: Store) -> Store:
    """A store that knows A and B."""
    async with store.begin() as tx:
        await tx.execute(insert(product), [{"sku": sku, "title": sku} for sku in (A, B)])
    return store


async def put(store: Store, *targets: Target) -> None:
    async with store.begin() as tx:
        await channel_stock.put(tx, targets)


async def row(store: Store, key: NumberKey = KEY) -> Any:
    c = numbers_table.c
    async with store.begin() as tx:
        query = select(numbers_table).where(c.channel == key.channel, c.channel_sku == key.channel_sku)
        return (await tx.execute(query.where(c.place == key.place))).one()


async def change(store: Store, **values: Any) -> None:
    """What the worker that tells numbers would have written."""
    async with store.begin() as tx:
        await tx.execute(update(numbers_table).values(**values))


async def pushed(store: Store, quantity: int, second: float, key: NumberKey = KEY, **more: Any) -> int:
    """A send; `accepted`, `confirmed` and `caused` are seconds after that moment."""
    seconds = {f"{name}_at": at(more.pop(name)) for name in ("accepted", "confirmed", "caused") if name in more}
    values = {"sku": A, "quantity": quantity, "cause": "CHANGE", "sent_at": at(second), **seconds, **more}
    async with store.begin() as tx:
        made = await tx.scalar(insert(push_table).values(**key._asdict(), **values).returning(push_table.c.id))
    assert isinstance(made, int)
    return made


async def test_a_number_is_kept_as_it_was_put(shelf: Store) -> None:
    await put(shelf, target(5, caused_at=at(-2), noticed_at=at(-1)))
    async with shelf.begin() as tx:
        [one] = (await channel_numbers.numbers(tx, [A, B]))[A]
    assert (one.key, one.sku, one.target, one.version, one.target_at) == (KEY, A, 5, 1, THEN)
    assert (one.caused_at, one.noticed_at, one.told, one.confirmed_at) == (at(-2), at(-1), None, None)
    assert one.terms == [Term("on hand", 5, "ledger", THEN, None, "r")]
    assert one.refs == {"item": "i"}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=1, max_size=6, unique=True).flatmap(
        lambda written: st.tuples(st.just(written), st.permutations(written))
    )
)
async def test_in_whatever_order_targets_come_the_one_that_knows_most_stays(
    shelf: Store, written: tuple[list[tuple[int, int]], list[tuple[int, int]]]
) -> None:
    known, order = written
    async with shelf.begin() as tx:
        await tx.execute(text("delete from channel_stock"))
    for version, second in order:
        await put(shelf, target(10 * version + second, version, second))
    newest = max(known)
    assert (await row(shelf)).target == 10 * newest[0] + newest[1]


async def test_a_channels_sku_that_became_another_of_ours_is_not_taken_back(shelf: Store) -> None:
    await put(shelf, target(5, version=90, second=1))
    await put(shelf, target(7, version=1, second=2, sku=B))
    # Computed before the listing became one of B.
    await put(shelf, target(6, version=99, second=1.5))
    assert ((await row(shelf)).sku, (await row(shelf)).target) == (B, 7)


async def test_a_negative_target_is_refused_by_the_database(shelf: Store) -> None:
    with pytest.raises(DBAPIError, match="channel_stock_target_check"):
        await put(shelf, target(-1))


async def test_a_new_number_is_due_at_once_and_one_that_was_told_is_not(shelf: Store) -> None:
    await put(shelf, target(5))
    assert (await row(shelf)).due_at == THEN
    await change(shelf, told=5, confirmed_at=at(1), due_at=None)
    await put(shelf, target(5, 2, 3))
    assert (await row(shelf)).due_at is None
    await put(shelf, target(4, 3, 4))
    assert (await row(shelf)).due_at == at(4)


async def test_a_number_under_way_keeps_its_time_until_it_is_another(shelf: Store) -> None:
    await put(shelf, target(5))
    # Refused, or waiting for its read-back: the same number again is no news.
    await change(shelf, attempts=3, due_at=at(600))
    await put(shelf, target(5, 2, 3))
    assert (await row(shelf)).due_at == at(600)
    await put(shelf, target(4, 3, 4))
    assert (await row(shelf)).due_at == at(4)


async def test_a_number_that_goes_back_to_what_was_told_is_only_looked_at(shelf: Store) -> None:
    await put(shelf, target(5))
    await change(shelf, told=5, confirmed_at=None, due_at=at(2))
    await put(shelf, target(4, 2, 1, caused_at=at(0.5), noticed_at=at(0.6)))
    assert (await row(shelf)).caused_at == at(0.5)
    await put(shelf, target(5, 3, 1.5, caused_at=at(1.2), noticed_at=at(1.3)))
    kept = await row(shelf)
    assert (kept.due_at, kept.caused_at, kept.noticed_at) == (at(1), None, None)


async def test_what_is_not_ready_is_not_due(shelf: Store) -> None:
    await put(shelf, target(0, ready=False))
    assert (await row(shelf)).due_at is None
    await put(shelf, target(0, 2, 1))
    assert (await row(shelf)).due_at == at(1)


async def test_the_oldest_cause_that_was_not_told_is_kept(shelf: Store) -> None:
    await put(shelf, target(5, caused_at=at(-5), noticed_at=at(-4)))
    await put(shelf, target(4, 2, 1, caused_at=at(-1), noticed_at=at(0)))
    kept = await row(shelf)
    assert (kept.caused_at, kept.noticed_at) == (at(-5), at(-4))


async def test_a_repair_writes_over_what_was_seen(shelf: Store) -> None:
    await put(shelf, target(5))
    await change(shelf, told=5, confirmed_at=at(1), due_at=None)
    async with shelf.begin() as tx:
        await channel_stock.repair(tx, *KEY, 3, at(9))
    kept = await row(shelf)
    assert (kept.shown, kept.shown_at, kept.attempts, kept.confirmed_at) == (3, at(9), 1, None)
    assert kept.due_at is not None


async def send(store: Store, quantity: int) -> Write:
    """The number is sent; nothing has come of it yet."""
    now = datetime.now(UTC)
    await put(store, target(quantity, version=await newer(store)))
    await change(store, due_at=now, lease_until=None)
    async with store.begin() as tx:
        await stream.register(tx, SHOP, StreamName.ORDERS, timedelta(minutes=1))
        await stream.finished(tx, SHOP, StreamName.ORDERS, now, now)
    async with store.begin() as tx:
        claimed = await stock_push.claim(tx, SHOP, Errand.TELL, limit=1, lease_s=60.0)
        [write] = await stock_push.writes(tx, claimed)
        assert await stock_push.intend(tx, [write], 60.0)
    return write


async def newer(store: Store) -> int:
    """A version that no target was computed from."""
    async with store.begin() as tx:
        return (await tx.scalar(select(func.max(numbers_table.c.version))) or 0) + 1


async def came(store: Store, write: Write, outcome: Outcome, **more: Any) -> None:
    """What became of it."""
    async with store.begin() as tx:
        await stock_push.record(tx, [Record(write.claimed, outcome, write.quantity, write.id, **more)])


async def shown(store: Store) -> Shown | None:
    async with store.begin() as tx:
        return (await channel_numbers.shown_of(tx, [A, B])).get(A, {}).get(SHOP)


async def test_what_buyers_can_still_buy_is_the_most_that_they_may_see(shelf: Store) -> None:
    assert await shown(shelf) is None
    await put(shelf, target(10))
    assert await shown(shelf) == Shown(None, confirmed=False)
    # The first send may be there already.
    first = await send(shelf, 10)
    assert await shown(shelf) == Shown(10, confirmed=False)
    await came(shelf, first, Outcome.TAKEN)
    assert await shown(shelf) == Shown(10, confirmed=False)
    # Seen, and bought from since.
    await came(shelf, first, Outcome.CONFIRMED, shown=8, shown_at=at(1))
    assert await shown(shelf) == Shown(8, confirmed=True)
    # On its way: the intent is there before anything leaves.
    await send(shelf, 9)
    assert await shown(shelf) == Shown(9, confirmed=False)


async def test_a_raise_that_was_sent_before_lower_numbers_may_be_seen_until_one_of_these_is(shelf: Store) -> None:
    await came(shelf, await send(shelf, 20), Outcome.TAKEN)
    for quantity in (5, 7, 4):
        lower = await send(shelf, quantity)
        await came(shelf, lower, Outcome.TAKEN)
        assert await shown(shelf) == Shown(20, confirmed=False)
    await came(shelf, lower, Outcome.CONFIRMED)
    assert await shown(shelf) == Shown(4, confirmed=True)


async def test_what_was_provably_not_taken_cannot_be_seen_and_what_may_have_been_can(shelf: Store) -> None:
    await came(shelf, await send(shelf, 10), Outcome.CONFIRMED)
    await came(shelf, await send(shelf, 30), Outcome.UNCHANGED, error_code="REFUSED")
    assert await shown(shelf) == Shown(10, confirmed=True)
    await came(shelf, await send(shelf, 20), Outcome.IN_DOUBT, error_code="OUTCOME_UNKNOWN")
    assert await shown(shelf) == Shown(20, confirmed=False)
    # Whoever sent this one has not come back.
    await send(shelf, 25)
    await came(shelf, await send(shelf, 6), Outcome.TAKEN)
    assert await shown(shelf) == Shown(25, confirmed=False)


async def test_all_places_and_listings_of_a_channel_can_be_bought_from(shelf: Store) -> None:
    places = [KEY, KEY._replace(place="Munich"), NumberKey(SHOP, ChannelSku("A-2"), "Berlin")]
    await put(shelf, *(target(5, key=key) for key in places))
    await change(shelf, told=5, shown=5, confirmed_at=at(1))
    assert await shown(shelf) == Shown(15, confirmed=True)


async def test_the_past_knows_what_each_channel_had_been_told(shelf: Store) -> None:
    munich = KEY._replace(place="Munich")
    await pushed(shelf, 4, 10, accepted=11, confirmed=12)
    await pushed(shelf, 6, 20, munich, accepted=21, confirmed=25)
    await pushed(shelf, 3, 30, accepted=31, confirmed=50)
    await pushed(shelf, 99, 35, error_code="REFUSED")
    await pushed(shelf, 7, 40, NumberKey(AMAZON, ChannelSku("A"), ""), accepted=41)
    # Another listing of the same SKU shows the same units.
    await pushed(shelf, 2, 40, NumberKey(AMAZON, ChannelSku("A-2"), ""), accepted=41)

    async def told(second: float) -> list[Told]:
        async with shelf.begin() as tx:
            return (await channel_numbers.numbers_at(tx, [A, B], at(second))).get(A, [])

    # The channel's SKU has become one of B since, which is another story.
    await pushed(shelf, 50, 60, munich, sku=B)

    assert await told(9) == []
    assert await told(11) == [Told(SHOP, 4, at(10), None)]
    assert await told(12) == [Told(SHOP, 4, at(10), at(12))]
    assert await told(24) == [Told(SHOP, 10, at(20), None)]
    assert await told(25) == [Told(SHOP, 10, at(20), at(25))]
    assert await told(49) == [Told(AMAZON, 7, at(40), None), Told(SHOP, 9, at(30), None)]
    assert await told(50) == await told(70) == [Told(AMAZON, 7, at(40), None), Told(SHOP, 9, at(30), at(50))]


async def test_lag_is_measured_from_the_sale_to_the_lower_number_being_seen(shelf: Store) -> None:
    now = datetime.now(UTC)

    async def lowered(seconds: float, **more: Any) -> None:
        times = {"caused_at": now - timedelta(seconds=seconds), "sent_at": now, "accepted_at": now, "confirmed_at": now}
        values = {"expected": 5, "quantity": 4, **times, **more}
        async with shelf.begin() as tx:
            await tx.execute(insert(push_table).values(**KEY._asdict(), sku=A, cause="CHANGE", **values))

    samples = [0.5, 1.5, 2.0, 9.0, 30.0]
    for seconds in samples:
        await lowered(seconds)
    # None of these is one: raised, told first, not caused, lowered by the channel itself, not seen, long ago.
    await lowered(500, quantity=6)
    await lowered(500, expected=None)
    await lowered(500, caused_at=None)
    await lowered(500, accepted_at=None)
    await lowered(500, confirmed_at=None)
    await lowered(500, confirmed_at=now - timedelta(hours=30))
    async with shelf.begin() as tx:
        found = await channel_numbers.lags(tx, [SHOP, AMAZON])
        longer = await channel_numbers.lags(tx, [SHOP], hours=48)
    assert found.keys() == {SHOP}
    lag = found[SHOP]
    assert lag.samples == len(samples)
    assert [lag.p50_s, lag.p95_s, lag.p99_s] == pytest.approx([2.0, 25.8, 29.16])
    assert longer[SHOP].samples == len(samples) + 1


async def test_the_newest_samples_say_enough(shelf: Store) -> None:
    async with shelf.begin() as tx:
        await tx.execute(
            text(
                """
                insert into stock_push (channel, channel_sku, place, sku, expected, quantity, cause, accepted_at,
                    caused_at, confirmed_at)
                select 'shop', 'A', 'Berlin', 'A', 5, 4, 'CHANGE', now(),
                    now() - make_interval(secs => n + case when n > 2000 then 500 else 1 end), now() - make_interval(secs => n)
                from generate_series(1, 2500) n
                """
            )
        )
        lag = (await channel_numbers.lags(tx, [SHOP]))[SHOP]
    assert (lag.samples, lag.p50_s, lag.p99_s) == (2000, 1.0, 1.0)


async def test_only_one_transaction_carries_at_a_time(store: Store) -> None:
    async with store.begin() as first:
        assert await marks.propagating(first)
        async with store.begin() as second:
            assert not await marks.propagating(second)
    async with store.begin() as third:
        assert await marks.propagating(third)


async def test_who_waits_longest_is_computed_first_and_so_is_what_changes_by_itself(shelf: Store) -> None:
    async with shelf.begin() as tx:
        c = sku_stock.c
        await tx.execute(update(sku_stock).where(c.sku == A).values(dirty_since=None, recompute_at=THEN))
        await tx.execute(insert(product).values(sku="C", title="C"))
        await tx.execute(update(sku_stock).where(c.sku == "C").values(dirty_since=THEN))
    async with shelf.begin() as tx:
        found = await marks.stirred(tx, 1)
        everything = await marks.stirred(tx, 10)
    assert [(one.sku, one.by_time) for one in found] == [("A", True), ("C", False)]
    assert [one.sku for one in everything] == ["A", "B", "C"]


async def test_what_somebody_holds_is_left_for_the_next_round(shelf: Store) -> None:
    async with shelf.begin() as tx:
        stirred = await marks.stirred(tx, 10)
    done = [marks.Carried(one, at(60), 3) for one in stirred]
    async with shelf.begin() as holder:
        await holder.execute(select(sku_stock).where(sku_stock.c.sku == A).with_for_update())
        async with shelf.begin() as tx:
            await marks.carried(tx, done)
    async with shelf.begin() as tx:
        rows = (await tx.execute(select(sku_stock).order_by(sku_stock.c.sku))).all()
    assert [(one.dirty_since is None, one.recompute_at, one.safety_stock) for one in rows] == [
        (False, None, None),
        (True, at(60), 3),
    ]


async def test_a_kit_waits_when_a_component_of_it_does(shelf: Store) -> None:
    async with shelf.begin() as tx:
        await kit.save(tx, B, {A: 2}, "tests")
        await tx.execute(update(sku_stock).values(dirty_since=None))
        assert await marks.waiting(tx, [A, B]) == set()
        await tx.execute(update(sku_stock).where(sku_stock.c.sku == A).values(dirty_since=THEN))
        assert await marks.waiting(tx, [A, B]) == {A, B}
        assert await marks.waiting(tx, [B]) == {B}


async def test_a_sale_is_as_old_as_its_order(shelf: Store) -> None:
    async with shelf.begin() as tx:
        await tx.execute(update(sku_stock).values(caused_at=at(5)))
        await marks.caused(tx, {A: at(2), B: at(9)})
        rows = (await tx.execute(select(sku_stock.c.sku, sku_stock.c.caused_at).order_by(sku_stock.c.sku))).all()
    assert [tuple(one) for one in rows] == [(A, at(2)), (B, at(5))]

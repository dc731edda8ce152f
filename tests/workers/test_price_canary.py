"""Canaries: what reaches far is tried on a few listings; what does badly there goes no further and is undone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, update

from domain.errors import Conflict, Forbidden, OutcomeUnknown, Transient
from domain.ids import ChannelSku, OperationId, Sku
from domain.operation import ItemStatus, Operation, OperationStatus
from domain.price import Origin
from domain.price_canary import Canary, CanaryState, Radius
from domain.product import ListingIssue
from store import operation, order, price_back, price_canary, price_desk
from store.session import Store, among
from store.tables import operation as operation_table
from store.tables import operation_item
from store.tables import price_canary as canary_table
from tests.store.price_lane import asked, carried, euros, guarded, id_of, items, listed, prices, shown, sold, wish
from tests.workers import canary_watcher
from tests.workers.fake_port import make_order, make_port
from tests.workers.house import make_deps
from tests.workers.pricing import QUICK, drain, hurry, make_priced
from tests.workers.test_webhooks_out import FORKS
from workers.deps import Deps
from workers.price_canary import WATCHER, watch

RADIUS = Radius(rows=10, watch=timedelta(hours=1))
SKUS = [f"S{number:02}" for number in range(40)]


@pytest.fixture
async def shop(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """40 SKUs are sold for 10 EUR; a change of at least 10 rows by more than 20 % sends a canary of two."""
    # Whoever waits for the channel waits as long as it takes.
    monkeypatch.setattr(price_desk, "PATIENCE_S", 60.0)
    await guarded(store, radius=RADIUS)
    await listed(store, *(sold(sku, "10") for sku in SKUS))
    return store


@pytest.fixture
def deps(shop: Store, redis: Redis) -> Deps:
    return make_deps(shop, redis, [make_port()])


async def halved(store: Store, skus: Sequence[str] = SKUS) -> Operation:
    """By a bad rule."""
    return await asked(store, *(wish(sku, "5", origin=Origin.RULE) for sku in skus))


async def canary_of(store: Store, id: OperationId) -> Canary:
    async with store.begin() as tx:
        return (await price_canary.by_operations(tx, [id]))[id]


async def over(store: Store) -> None:
    """The time of all canaries is over, and what has left has left before it."""
    async with store.begin() as tx:
        sent = operation_item.c.sent_at
        await tx.execute(update(operation_item).where(sent.is_not(None)).values(sent_at=sent - RADIUS.watch))
        await tx.execute(update(canary_table).values(until=canary_table.c.began_at))


async def found(store: Store, id: OperationId) -> Operation:
    async with store.begin() as tx:
        return (await operation.by_ids(tx, [id]))[id]


async def reverts(store: Store, id: OperationId) -> list[Operation]:
    async with store.begin() as tx:
        ops, _ = await operation.page(tx, first=50)
    return [one for one in ops if one.reverts == id]


async def test_of_a_change_that_reaches_far_only_the_canary_goes_at_first(deps: Deps) -> None:
    one = await halved(deps.store)
    went = await carried(deps.store)
    canary = await canary_of(deps.store, one.id)
    assert (len(went), canary.total, canary.state) == (2, 40, CanaryState.WATCHING)
    await watch(deps)
    assert await carried(deps.store) == []
    assert Counter(status for _, status, _ in await items(deps.store, one.id)) == {"VERIFIED": 2, "PENDING": 38}
    # Nobody wants the rest yet: what is asked for next is a change of what is shown.
    rest = next(sku for sku in SKUS if sku not in went)
    again = await asked(deps.store, wish(rest, "9"))
    async with deps.store.begin() as tx:
        [item] = (await operation.items(tx, again.id, first=1))[0]
    assert item.before == '{"price": "10", "currency": "EUR", "sale": null}'


async def test_what_reaches_less_far_goes_at_once(deps: Deps) -> None:
    await halved(deps.store, SKUS[:9])
    await asked(deps.store, *(wish(sku, "11") for sku in SKUS[9:]))
    assert len(await carried(deps.store)) == 40
    async with deps.store.begin() as tx:
        assert await price_canary.watching(tx) == []


async def test_many_small_changes_reach_as_far_as_one(deps: Deps) -> None:
    """A round of rules comes in batches, and people come again."""
    await halved(deps.store, SKUS[:8])
    assert len(await carried(deps.store)) == 8
    far = await halved(deps.store, SKUS[8:])
    assert len(await carried(deps.store)) == 1
    assert (await canary_of(deps.store, far.id)).total == 32
    # What a canary has let pass is counted no more.
    await over(deps.store)
    await watch(deps)
    await carried(deps.store)
    await guarded(deps.store, radius=replace(RADIUS, rows=12))
    await asked(deps.store, *(wish(sku, "9") for sku in SKUS[:3]))
    assert len(await carried(deps.store)) == 3


async def test_what_was_approved_late_counts_from_then_on(deps: Deps) -> None:
    shown_first = await asked(deps.store, *(wish(sku, "5") for sku in SKUS[:9]), dry_run=True)
    async with deps.store.begin() as tx:
        await tx.execute(update(operation_table).values(created_at=datetime.now(UTC) - timedelta(hours=2)))
    async with deps.store.begin() as tx:
        await price_desk.approve(tx, shown_first.id, "eve", datetime.now(UTC))
    assert len(await carried(deps.store)) == 9
    await halved(deps.store, SKUS[9:18])
    assert len(await carried(deps.store)) == 1


async def test_what_could_not_leave_is_waited_for_and_an_outage_is_no_bad_price(deps: Deps) -> None:
    one = await halved(deps.store)
    await over(deps.store)
    await watch(deps)
    assert (await canary_of(deps.store, one.id)).state is CanaryState.WATCHING
    # What has left just now is given half of the time, and no more.
    assert len(await carried(deps.store, but=set(SKUS), as_=ItemStatus.ACCEPTED)) == 2
    await watch(deps)
    assert (await canary_of(deps.store, one.id)).state is CanaryState.WATCHING
    await over(deps.store)
    await watch(deps)
    await halted(deps, one)


async def test_where_all_that_went_first_is_overtaken_the_rest_does_not_go(deps: Deps) -> None:
    one = await halved(deps.store)
    first = (await canary_of(deps.store, one.id)).items
    async with deps.store.begin() as tx:
        keys = await tx.scalars(
            select(operation_item.c.payload["channel_sku"].astext).where(among(operation_item.c.id, first))
        )
        overtaken = list(keys)
    await asked(deps.store, *(wish(sku, "9") for sku in overtaken))
    await watch(deps)
    canary = await canary_of(deps.store, one.id)
    assert (canary.state, canary.ended_by, len(canary.reasons)) == (CanaryState.CANCELLED, None, 1)
    assert (await found(deps.store, one.id)).status is OperationStatus.CANCELLED
    assert sorted(await carried(deps.store)) == sorted(overtaken)


async def test_one_that_cannot_be_read_holds_no_other_up(deps: Deps) -> None:
    bad = await halved(deps.store, SKUS[:20])
    good = await halved(deps.store, SKUS[20:])
    await carried(deps.store)
    await over(deps.store)
    broken, whole = sorted((bad.id, good.id))
    async with deps.store.begin() as tx:
        await tx.execute(update(canary_table).where(canary_table.c.operation == broken).values(radius={"odd": 1}))
    await watch(deps)
    assert (await canary_of(deps.store, whole)).state is CanaryState.PASSED


async def test_rules_of_which_a_canary_did_badly_want_a_person_until_they_are_mended(deps: Deps) -> None:
    ruled = [wish(sku, "5", origin=Origin.RULE, rules_version=7) for sku in SKUS]
    one = await asked(deps.store, *ruled, by=WATCHER)
    await carried(deps.store, but=set(SKUS))
    await watch(deps)
    await halted(deps, one)
    again = await asked(deps.store, ruled[0], by=WATCHER)
    assert again.status is OperationStatus.AWAITING_APPROVAL
    assert await carried(deps.store) == []
    mended = await asked(deps.store, replace(ruled[0], rules_version=8), by=WATCHER)
    assert mended.status is OperationStatus.QUEUED
    by_hand = await asked(deps.store, wish("S01", "5"))
    assert by_hand.status is OperationStatus.QUEUED


async def test_a_canary_that_does_well_lets_the_rest_go_when_its_time_is_over(deps: Deps) -> None:
    one = await halved(deps.store)
    await carried(deps.store)
    await over(deps.store)
    await watch(deps)
    assert (await canary_of(deps.store, one.id)).state is CanaryState.PASSED
    assert len(await carried(deps.store)) == 38
    assert set((await prices(deps.store, [id_of(sku) for sku in SKUS])).values()) == {"5"}
    assert (await found(deps.store, one.id)).status is OperationStatus.SUCCEEDED
    await watch(deps)
    assert await reverts(deps.store, one.id) == []


async def test_what_something_newer_was_asked_for_meanwhile_stays_behind(deps: Deps) -> None:
    one = await halved(deps.store)
    went = await carried(deps.store)
    rest = next(sku for sku in SKUS if sku not in went)
    await asked(deps.store, wish(rest, "9"))
    await over(deps.store)
    await watch(deps)
    await carried(deps.store)
    assert await shown(deps.store, rest, went[0]) == ["9", "5"]
    assert (rest, "SUPERSEDED", None) in await items(deps.store, one.id)


async def halted(deps: Deps, one: Operation) -> Canary:
    """It was halted: nothing but the canary ever went, and all of that is undone."""
    canary = await canary_of(deps.store, one.id)
    assert (canary.state, canary.ended_by) == (CanaryState.HALTED, None)
    statuses = Counter(status for _, status, _ in await items(deps.store, one.id))
    assert statuses["CANCELLED"] == 38
    await carried(deps.store)
    assert set((await prices(deps.store, [id_of(sku) for sku in SKUS])).values()) == {"10"}
    return canary


async def test_failures_halt_it_at_once(deps: Deps) -> None:
    one = await halved(deps.store)
    await carried(deps.store, but=set(SKUS))
    await watch(deps)
    canary = await halted(deps, one)
    assert canary.reasons == ("2 of 2 prices did not come about; at most 10 % may.",)
    assert await reverts(deps.store, one.id) == []  # nothing had changed


@pytest.mark.parametrize("reached", [False, True])
async def test_calls_without_an_answer_say_nothing_of_a_price(shop: Store, redis: Redis, reached: bool) -> None:
    """Whether they never got there, or got there and nobody said so."""
    port = make_priced()
    deps = make_deps(shop, redis, [port], timing=QUICK)
    if reached:
        port.whole.extend([OutcomeUnknown("It timed out.")] * 50)
    else:
        port.unclear.update(map(ChannelSku, SKUS))
    ruled = [wish(sku, "5", origin=Origin.RULE, rules_version=7) for sku in SKUS]
    one = await asked(shop, *ruled, by=WATCHER)
    ended = {
        ("PARKED", "OUTCOME_UNKNOWN") if reached else ("FAILED", "UPSTREAM_UNAVAILABLE"): 2,
        ("CANCELLED", None): 38,
    }
    for _ in range(50):
        await watch(deps)
        canary = await canary_of(shop, one.id)
        if canary.state is not CanaryState.WATCHING:
            break
        await drain(deps)
        await hurry(shop)
    assert (canary.state, len(canary.reasons)) == (CanaryState.CANCELLED, 1)
    assert Counter((status, error) for _, status, error in await items(shop, one.id)) == ended
    assert (await reverts(shop, one.id), port.told) == ([], [])
    # Nobody distrusts the rules for it.
    assert (await asked(shop, ruled[0], by=WATCHER)).status is OperationStatus.QUEUED


async def test_what_was_taken_and_could_not_be_looked_at_has_its_answer(deps: Deps) -> None:
    """Whoever looks for it in vain knows no less than whoever does not see it in time: it is there, for all we know."""
    one = await halved(deps.store)
    await carried(deps.store, but=set(SKUS), as_=ItemStatus.ACCEPTED)
    async with deps.store.begin() as tx:
        accepted = operation_item.c.status == ItemStatus.ACCEPTED.value
        unread = {"status": ItemStatus.PARKED.value, "error_code": Transient.code, "error_message": "No answer."}
        await tx.execute(update(operation_item).where(accepted).values(unread))
    await watch(deps)
    assert (await canary_of(deps.store, one.id)).state is CanaryState.HALTED
    [back] = await reverts(deps.store, one.id)
    assert back.progress.total == 2


async def test_what_is_not_seen_live_in_time_halts_it_and_is_taken_back(deps: Deps) -> None:
    one = await halved(deps.store)
    await carried(deps.store, but=set(SKUS), as_=ItemStatus.ACCEPTED)
    await watch(deps)
    assert (await canary_of(deps.store, one.id)).state is CanaryState.WATCHING
    await over(deps.store)
    await watch(deps)
    [back] = await reverts(deps.store, one.id)
    assert (back.requested_by, back.progress.total) == (WATCHER, 2)
    await halted(deps, one)


async def test_new_issues_of_its_listings_halt_it_and_old_ones_do_not(deps: Deps) -> None:
    old = ListingIssue("18027", "ERROR", "an old one")
    await listed(deps.store, *(sold(sku, "10", issues=[old]) for sku in SKUS))
    one = await halved(deps.store)
    went = await carried(deps.store)
    await watch(deps)
    assert (await canary_of(deps.store, one.id)).state is CanaryState.WATCHING
    new = ListingIssue("100232", "ERROR", "Price too low")
    await listed(deps.store, sold(went[0], "5", issues=[old, new]))
    await watch(deps)
    canary = await halted(deps, one)
    assert canary.reasons == (f"1 of 2 listings have issues that they had not before: shop/{went[0]}.",)
    [back] = await reverts(deps.store, one.id)
    assert [row[1] for row in await items(deps.store, back.id)] == ["VERIFIED", "VERIFIED"]


async def test_far_more_sales_than_usual_halt_it(deps: Deps) -> None:
    one = await halved(deps.store)
    went = await carried(deps.store)
    placed = datetime.now(UTC) + timedelta(seconds=1)
    rush = make_order(make_port(), "rush", units=5, sku=went[0])
    rush = replace(rush, placed_at=placed, lines=[replace(line, sku=Sku(went[0])) for line in rush.lines])
    async with deps.store.begin() as tx:
        await order.upsert(tx, [rush])
    await watch(deps)
    canary = await halted(deps, one)
    assert canary.reasons[0].startswith(f"{went[0]}: 5 sold since, usually 0.00")


async def test_of_many_workers_one_decides(deps: Deps) -> None:
    one = await halved(deps.store)
    await carried(deps.store, but=set(SKUS), as_=ItemStatus.PARKED)
    await asyncio.gather(*(watch(deps) for _ in range(5)))
    assert len(await reverts(deps.store, one.id)) == 1
    await halted(deps, one)


@pytest.mark.parametrize("place", ["inside_canary_verdict", "after_canary_verdict"])
async def test_a_worker_that_dies_leaves_all_of_the_verdict_or_nothing(
    deps: Deps, database_url: str, redis_url: str, place: str
) -> None:
    one = await halved(deps.store)
    await carried(deps.store, but=set(SKUS), as_=ItemStatus.PARKED)
    worker = FORKS.Process(target=canary_watcher.watch, args=(database_url, redis_url, place), daemon=True)
    await asyncio.to_thread(worker.start)
    await asyncio.to_thread(worker.join, 180)
    assert worker.exitcode == 137
    died = place == "inside_canary_verdict"
    assert len(await reverts(deps.store, one.id)) == (0 if died else 1)
    assert ((await canary_of(deps.store, one.id)).state is CanaryState.WATCHING) is died
    await watch(deps)
    assert len(await reverts(deps.store, one.id)) == 1
    await halted(deps, one)


async def test_a_person_lets_the_rest_go_and_never_the_one_who_asked(deps: Deps) -> None:
    one = await halved(deps.store)
    await carried(deps.store)
    with pytest.raises(Forbidden):
        async with deps.store.begin() as tx:
            await price_back.let_go(tx, one.id, "ann")
    assert await carried(deps.store) == []
    async with deps.store.begin() as tx:
        assert await price_back.let_go(tx, one.id, "bob") is not None
        assert await price_back.let_go(tx, one.id, "bob") is None
    canary = await canary_of(deps.store, one.id)
    assert (canary.state, canary.ended_by) == (CanaryState.RELEASED, "bob")
    assert len(await carried(deps.store)) == 38


async def test_a_person_cancels_the_rest_and_what_had_gone_stays_until_it_is_taken_back(deps: Deps) -> None:
    one = await halved(deps.store)
    went = await carried(deps.store)
    async with deps.store.begin() as tx:
        await price_back.cancel(tx, one.id, "bob")
    canary = await canary_of(deps.store, one.id)
    assert (canary.state, canary.ended_by) == (CanaryState.CANCELLED, "bob")
    await over(deps.store)
    await watch(deps)
    assert await carried(deps.store) == []
    assert await shown(deps.store, *went) == ["5", "5"]
    with pytest.raises(Conflict):
        async with deps.store.begin() as tx:
            await operation.cancel(tx, one.id)


async def test_a_bad_rule_over_1000_listings_touches_its_canary_and_is_undone(shop: Store, redis: Redis) -> None:
    """By the lane as it is; counted at the shop."""
    port = make_priced()
    deps = make_deps(shop, redis, [port], timing=QUICK)
    many = [f"M{number:04}" for number in range(1000)]
    port.prices = {ChannelSku(sku): euros("10") for sku in many}
    await listed(shop, *(sold(sku, "10") for sku in many))
    one = await halved(shop, many)
    await carried_by_lane(deps)
    assert Counter(price for _, price in port.told) == {euros("5"): 50}  # 5 %
    went = {sku for sku, _ in port.told}
    new = ListingIssue("1", "ERROR", "Price too low")
    await listed(shop, *(sold(sku, "5", issues=[new]) for sku in sorted(went)))
    await watch(deps)
    assert (await canary_of(shop, one.id)).state is CanaryState.HALTED
    await carried_by_lane(deps)
    assert {sku for sku, _ in port.told} == went
    assert set(port.prices.values()) == {euros("10")}
    [back] = await reverts(shop, one.id)
    assert (back.status, back.progress.verified) == (OperationStatus.SUCCEEDED, 50)
    assert set((await prices(shop, [id_of(sku) for sku in many])).values()) == {"10"}


async def carried_by_lane(deps: Deps) -> None:
    """Told, and read back."""
    for _ in range(2):
        await drain(deps)
        await hurry(deps.store)
    await drain(deps)

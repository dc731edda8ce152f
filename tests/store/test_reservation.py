"""Reservations: all or nothing, once, and over to the second."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from domain.errors import Conflict, HouseError, Insufficient, Invalid, NotFound
from domain.ids import ReservationId, Sku
from domain.ledger import EntryKind
from domain.policy import Hold
from domain.reservation import ReservationStatus, ReservedLine
from store import reservation
from store.session import Store
from store.tables import sku_stock
from tests.store.bench import blocked
from tests.store.warehouse import (
    AMAZON,
    MAIN,
    SHOP,
    SIDE,
    A,
    B,
    C,
    balance,
    committed,
    elsewhere,
    entry,
    expire,
    kit,
    later,
    moves,
    place,
    posted,
    promisable,
    released,
    reserved,
    stocked,
    told,
    wrong,
)

PAIR, SET = Sku("PAIR"), Sku("SET")


async def refused(store: Store, problem: type[HouseError], **more: Any) -> HouseError:
    """The refusal of a reservation, which wrote nothing."""
    with pytest.raises(problem) as caught:
        await reserved(store, **more)
    assert await wrong(store) == []
    return caught.value


async def held(store: Store, *skus: Sku) -> list[int]:
    async with store.begin() as tx:
        found = await reservation.holds(tx, skus)
    return [sum(one.quantity for one in found.get(sku, [])) for sku in skus]


async def test_a_reservation_holds_all_of_its_lines(store: Store) -> None:
    await stocked(store, A=3, B=2)
    before = await told(store)
    one = await reserved(store, lines={B: 2, A: 1}, channel=SHOP, by="shop")
    assert one.lines == [ReservedLine(B, 2), ReservedLine(A, 1)]
    assert (one.requested_by, one.channel, one.reference, one.committed_at) == ("shop", SHOP, None, None)
    assert one.expires_at - one.created_at == timedelta(seconds=600)
    assert one.status(await later(store)) is ReservationStatus.OPEN
    async with store.begin() as tx:
        assert await reservation.by_ids(tx, [one.id, ReservationId("none")]) == {one.id: one}
        assert await reservation.holds(tx, [A, B, C]) == {A: [Hold(1, one.expires_at)], B: [Hold(2, one.expires_at)]}
    assert (await promisable(store, A), await promisable(store, B)) == (2, 0)
    assert (await told(store))[len(before) :] == [A, B]


async def test_all_or_nothing_and_what_can_be_had(store: Store) -> None:
    await stocked(store, A=3, B=2)
    await reserved(store, lines={A: 1})
    before = await told(store)
    problem = await refused(store, Insufficient, lines={B: 1, A: 3})
    assert isinstance(problem, Insufficient)
    assert (problem.message, problem.field) == ("3 of A were asked for, and 2 can be promised now.", ("lines", "1"))
    assert await held(store, A, B) == [1, 0]
    assert await told(store) == before


async def test_each_line_that_is_short_is_told(store: Store) -> None:
    await stocked(store, A=3, B=2, C=1)
    problem = await refused(store, Insufficient, lines={A: 4, B: 2, C: 5})
    assert isinstance(problem, Insufficient)
    assert [(one.message, one.field) for one in (problem, *problem.others)] == [
        ("4 of A were asked for, and 3 can be promised now.", ("lines", "0")),
        ("5 of C were asked for, and 1 can be promised now.", ("lines", "2")),
    ]


async def test_after_a_refusal_the_transaction_goes_on(store: Store) -> None:
    await stocked(store, A=1)
    async with store.begin() as tx:
        for quantity in (2, 1):
            try:
                await reservation.reserve(
                    tx,
                    requested_by="shop",
                    idempotency_key="k",
                    request_hash="h",
                    lines=[ReservedLine(A, quantity)],
                    ttl_s=60,
                )
            except Insufficient:
                assert quantity == 2
    assert await held(store, A) == [1]


async def test_what_is_kept_elsewhere_counts_and_the_safety_stock_does_not(store: Store) -> None:
    await stocked(store, A=1)
    await elsewhere(store, A, 4)
    async with store.begin() as tx:
        await tx.execute(update(sku_stock).values(safety_stock=2))
    with pytest.raises(Insufficient, match=r"and 3 can be promised now"):
        await reserved(store, lines={A: 4})
    await reserved(store, lines={A: 3})
    async with store.begin() as tx:
        left = await reservation.promisable(tx, [A])
    assert left == {A: (-2, 4, 2)}
    assert left[A].units == 0


async def test_kits_hold_their_components_summed(store: Store) -> None:
    await stocked(store, A=7, B=2, PAIR=0, SET=0)
    await kit(store, PAIR, A=2)
    await kit(store, SET, A=1, B=1)
    await reserved(store, lines={PAIR: 1, A: 1, SET: 1})
    assert await held(store, A, B, PAIR, SET) == [4, 1, 0, 0]
    problem = await refused(store, Insufficient, lines={SET: 1, PAIR: 2})
    assert problem.message == "2 of PAIR were asked for, and 1 can be promised now."
    problem = await refused(store, Insufficient, lines={SET: 1, PAIR: 1, A: 1})
    assert isinstance(problem, Insufficient)
    assert problem.field == ("lines", "0")
    assert problem.message == (
        "Each of SET, PAIR, A can be promised, but they share A, and there is not enough of it for all: "
        "1 of SET alone can be now."
    )
    assert [one.field for one in problem.others] == [("lines", "1"), ("lines", "2")]
    await reserved(store, lines={SET: 1, PAIR: 1})
    assert await held(store, A, B) == [7, 2]


async def test_the_same_key_answers_the_same_reservation(store: Store) -> None:
    await stocked(store, A=9)
    one = await reserved(store, key="cart", lines={A: 2})
    async with store.begin() as tx:
        again, created = await reservation.reserve(
            tx, requested_by="shop", idempotency_key="cart", request_hash="h", lines=[ReservedLine(A, 2)], ttl_s=5
        )
    assert (again, created) == (one, False)
    problem = await refused(store, Conflict, key="cart", hash="other", lines={A: 1})
    assert "used before with other contents" in problem.message
    # Another caller's key is another key, and none is never the same.
    await reserved(store, key="cart", by="another", lines={A: 1})
    assert await held(store, A) == [3]


async def test_a_key_sent_many_times_at_once_holds_once(store: Store) -> None:
    await stocked(store, A=9)
    many = await asyncio.gather(*(reserved(store, key="cart", lines={A: 2}) for _ in range(8)))
    assert len({one.id for one in many}) == 1
    assert await held(store, A) == [2]


async def test_a_key_that_was_refused_can_be_used_again(store: Store) -> None:
    await stocked(store, A=1)
    await refused(store, Insufficient, key="cart", lines={A: 2})
    await posted(store, entry(A, 1))
    assert (await reserved(store, key="cart", lines={A: 2})).lines == [ReservedLine(A, 2)]


@pytest.mark.parametrize(
    ("more", "problem", "field"),
    [
        ({"lines": {}}, Invalid, ("lines",)),
        ({"lines": {Sku(f"S{number}"): 1 for number in range(101)}}, Invalid, ("lines",)),
        ({"lines": {A: 1, B: 0}}, Invalid, ("lines", "1", "quantity")),
        ({"lines": {A: -1}}, Invalid, ("lines", "0", "quantity")),
        ({"lines": {A: 1_000_001}}, Invalid, ("lines", "0", "quantity")),
        ({"ttl_s": 0.9}, Invalid, ("ttl",)),
        ({"ttl_s": 86_401}, Invalid, ("ttl",)),
        ({"ttl_s": float("nan")}, Invalid, ("ttl",)),
        ({"lines": {A: 1, Sku("none"): 1}}, NotFound, ("lines", "1")),
    ],
)
async def test_what_makes_no_sense_is_refused(
    store: Store, more: dict[str, Any], problem: type[Invalid], field: tuple[str, ...]
) -> None:
    await stocked(store, A=9)
    refusal = await refused(store, problem, **more)
    assert isinstance(refusal, problem)
    assert refusal.field == field
    assert await held(store, A) == [0]


async def test_more_than_any_count_holds_is_insufficient(store: Store) -> None:
    await stocked(store, A=9, PAIR=0)
    await kit(store, PAIR, A=1_000_000)
    problem = await refused(store, Insufficient, lines={PAIR: 1_000_000})
    assert problem.message == "1000000 of PAIR were asked for, and 0 can be promised now."


async def test_lines_of_one_sku_are_summed(store: Store) -> None:
    await stocked(store, A=3)
    async with store.begin() as tx:
        lines = [ReservedLine(A, 1), ReservedLine(A, 2)]
        one, _ = await reservation.reserve(
            tx, requested_by="shop", idempotency_key=None, request_hash="h", lines=lines, ttl_s=60
        )
    assert one.lines == [ReservedLine(A, 3)]
    assert await promisable(store) == 0


async def test_a_reservation_ends_by_its_time_and_nobody_has_to_tidy(store: Store) -> None:
    await stocked(store, A=3)
    one = await reserved(store, lines={A: 3})
    with pytest.raises(Insufficient, match="and 0 can be promised"):
        await reserved(store)
    await expire(store, one.id)
    async with store.begin() as tx:
        over = (await reservation.by_ids(tx, [one.id]))[one.id]
    assert over.status(await later(store)) is ReservationStatus.EXPIRED
    # What is over is left out, by whoever asks.
    assert (await held(store, A), await promisable(store)) == ([0], 3)
    two = await reserved(store, lines={A: 3})
    assert await held(store, A) == [3]
    for act in (committed, released):
        if act is committed:
            with pytest.raises(Conflict, match="has expired"):
                await committed(store, one.id)
        else:
            assert (await released(store, one.id)).released_at is None
    assert await held(store, A) == [3]
    assert (await committed(store, two.id)).status(await later(store)) is ReservationStatus.COMMITTED
    assert await wrong(store) == []


async def test_who_waits_beyond_its_own_time_holds_nothing_and_gives_nothing_back(store: Store) -> None:
    await stocked(store, A=3, B=1, C=0)
    waited, _ = await reserved(store), await reserved(store, lines={B: 1})
    late = text(
        "insert into reservation_hold (reservation_id, sku, quantity, expires_at) values (:id, :sku, 1, now() - interval '1 s')"
    )
    for sku in (B, C):
        with pytest.raises(DBAPIError, match=f"not enough of {sku} can be promised"):
            async with store.begin() as tx:
                await tx.execute(late, {"id": waited.id, "sku": sku})
    assert await held(store, B, C) == [1, 0]
    assert await wrong(store) == []


async def test_an_expired_one_that_nobody_has_tidied_cannot_be_committed(store: Store) -> None:
    await stocked(store, A=3)
    one = await reserved(store)
    await expire(store, one.id)
    with pytest.raises(Conflict, match="has expired"):
        await committed(store, one.id)
    assert (await released(store, one.id)).status(await later(store)) is ReservationStatus.EXPIRED
    assert await moves(store, A) == [("RECEIPT", "main", 3, 0)]


async def test_a_commit_takes_the_whole_from_one_place_where_it_can(store: Store) -> None:
    await stocked(store, A=2, B=9)
    await posted(store, entry(A, 5, SIDE))
    one = await reserved(store, lines={A: 3, B: 1})
    done = await committed(store, one.id, reference="1001")
    assert (done.reference, done.status(await later(store))) == ("1001", ReservationStatus.COMMITTED)
    assert (await balance(store, A, MAIN), await balance(store, A, SIDE), await balance(store, B)) == (
        (2, 0),
        (5, 3),
        (9, 1),
    )
    assert await held(store, A, B) == [0, 0]
    assert (await promisable(store, A), await promisable(store, B)) == (4, 8)
    assert await committed(store, one.id) == await committed(store, one.id, reference="1001") == done
    with pytest.raises(Conflict, match="committed as '1001' before"):
        await committed(store, one.id, reference="1002")
    two = await reserved(store, lines={A: 4})
    await committed(store, two.id)
    assert (await balance(store, A, MAIN), await balance(store, A, SIDE)) == ((2, 2), (5, 5))
    assert await wrong(store) == []


async def test_a_commit_keeps_to_places_that_sell_to_its_channel(store: Store) -> None:
    await stocked(store, A=5)
    await posted(store, entry(A, 2, SIDE))
    one = await reserved(store, lines={A: 3}, channel=SHOP)
    await committed(store, one.id, places=[place(MAIN, AMAZON), place(SIDE, SHOP)])
    assert (await balance(store, A, MAIN), await balance(store, A, SIDE)) == ((5, 0), (2, 2))
    # The rest is still held, for as long as it takes.
    async with store.begin() as tx:
        assert await reservation.holds(tx, [A]) == {A: [Hold(1, datetime.max.replace(tzinfo=UTC))]}
    assert await promisable(store) == 4


async def test_what_lies_elsewhere_stays_held_after_a_commit(store: Store) -> None:
    await stocked(store, A=1, B=0)
    await elsewhere(store, A, 5)
    await elsewhere(store, B, 5)
    before = await later(store)
    one = await reserved(store, lines={A: 3, B: 2})
    held_at = await later(store)
    done = await committed(store, one.id)
    assert await balance(store, A) == (1, 1)
    assert (await promisable(store, A), await promisable(store, B)) == (3, 3)
    assert done.expires_at == one.expires_at
    async with store.begin() as tx:
        endless = datetime.max.replace(tzinfo=UTC)
        assert await reservation.holds(tx, [A, B]) == {A: [Hold(2, endless)], B: [Hold(2, endless)]}
        # The past stays as it was.
        assert await reservation.holds_at(tx, [A, B], before) == {}
        assert await reservation.holds_at(tx, [A, B], held_at) == {
            A: [Hold(3, one.expires_at)],
            B: [Hold(2, one.expires_at)],
        }
        assert await reservation.holds_at(tx, [A], await reservation.now(tx)) == {A: [Hold(2, endless)]}
    taken = await released(store, one.id)
    assert taken.status(await later(store)) is ReservationStatus.RELEASED
    assert (await balance(store, A), await held(store, A, B)) == ((1, 0), [0, 0])


async def test_time_travel_sees_each_unit_once_around_a_commit(store: Store) -> None:
    await stocked(store, A=5)
    one = await reserved(store, lines={A: 2})
    await committed(store, one.id)
    async with store.begin() as tx:
        at = await tx.scalar(text("select max(at) from stock_entry"))
        assert at is not None
        assert await reservation.holds_at(tx, [A], at) == {}
        assert await reservation.holds_at(tx, [A], at - timedelta(microseconds=1)) == {A: [Hold(2, one.expires_at)]}


async def test_a_hold_is_kept_while_it_is_open(store: Store) -> None:
    await stocked(store, A=5)
    one = await reserved(store, lines={A: 2})
    for statement in ("delete from reservation_hold", "truncate reservation_hold"):
        with pytest.raises(DBAPIError, match="only forgotten after it has ended"):
            async with store.begin() as tx:
                await tx.execute(text(statement))
    await released(store, one.id)
    async with store.begin() as tx:
        assert (await tx.execute(text("delete from reservation_hold"))).rowcount == 1
    assert await held(store, A) == [0]


async def test_a_release_gives_everything_back_once(store: Store) -> None:
    await stocked(store, A=3)
    one = await reserved(store, lines={A: 2})
    before = len(await told(store))
    done = await released(store, one.id)
    assert done.status(await later(store)) is ReservationStatus.RELEASED
    assert await released(store, one.id) == done
    assert (await told(store))[before:] == [A]
    with pytest.raises(Conflict, match="was released"):
        await committed(store, one.id)
    assert (await promisable(store), await moves(store)) == (3, [("RECEIPT", "main", 3, 0)])

    two = await reserved(store, lines={A: 2})
    await committed(store, two.id)
    await released(store, two.id)
    await released(store, two.id)
    assert (await moves(store))[1:] == [("ALLOCATION", "main", 0, 2), ("RELEASE", "main", 0, -2)]
    assert await wrong(store) == []


async def test_nobody_has_a_reservation_that_is_not_there(store: Store) -> None:
    for act in (committed, released):
        with pytest.raises(NotFound, match="There is no reservation none"):
            await act(store, ReservationId("none"))


async def test_two_want_the_last_unit_at_an_exact_line(store: Store) -> None:
    await stocked(store, A=1)
    async with store.begin() as tx:
        await reservation.reserve(
            tx, requested_by="one", idempotency_key=None, request_hash="h", lines=[ReservedLine(A, 1)], ttl_s=60
        )
        waiting = asyncio.create_task(reserved(store))
        await blocked(store, 1)
    with pytest.raises(Insufficient):
        await waiting
    assert await held(store, A) == [1]


async def test_a_commit_and_the_tidying_of_its_hold_wait_for_each_other_but_not_in_a_circle(store: Store) -> None:
    await stocked(store, A=50, B=50)
    for _ in range(3):
        open_ones = [await reserved(store, lines={A: 10, B: 10}) for _ in range(4)]
        expired = {one.id for one in open_ones[:2]}
        await expire(store, *expired)

        async def end(one: ReservationId, number: int, expired: set[ReservationId] = expired) -> None:
            if number % 2:
                await released(store, one)
            elif one in expired:
                with pytest.raises(Conflict, match="has expired"):
                    await committed(store, one)
            else:
                await committed(store, one)
                await released(store, one)

        async def ask() -> None:
            try:
                await reserved(store, lines={B: 20, A: 20})
            except Insufficient:
                return

        await asyncio.gather(*(end(one.id, n) for n, one in enumerate(open_ones)), *(ask() for _ in range(6)))
        assert await wrong(store) == []
        async with store.begin() as tx:
            for id in await tx.scalars(text("select reservation_id from reservation_hold where ended_at is null")):
                await reservation.release(tx, ReservationId(id), by="test")


async def test_opposite_carts_do_not_wait_in_a_circle(store: Store) -> None:
    await stocked(store, A=100, B=100, C=100)
    carts: list[dict[Sku, int]] = [{A: 1, B: 1, C: 1}, {C: 1, B: 1, A: 1}, {B: 1, A: 1}]
    await asyncio.gather(*(reserved(store, lines=carts[number % 3]) for number in range(30)))
    assert await held(store, A, B, C) == [30, 30, 20]


async def test_a_crowd_never_gets_more_than_there_is(store: Store) -> None:
    await stocked(store, A=20)

    async def buy() -> int:
        try:
            await reserved(store, lines={A: 3})
        except Insufficient:
            return 0
        return 3

    assert sum(await asyncio.gather(*(buy() for _ in range(30)))) == 18
    async with store.begin() as tx:
        assert await tx.scalar(select(sku_stock.c.held).where(sku_stock.c.sku == A)) == 18
    # The two that were left can still be found broken.
    await posted(store, entry(A, -2, kind=EntryKind.ADJUSTMENT))
    assert await promisable(store) == 0

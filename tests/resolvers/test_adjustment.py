"""Adjusting own places: what is booked, what is refused with which words, and taking it back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.errors import Conflict, NotFound
from domain.ids import LocationCode, OperationId, Sku
from domain.ledger import EntryKind
from domain.operation import ItemStatus, Kind, OperationStatus
from resolvers import adjustment, operation
from resolvers.adjustment import Adjustment
from resolvers.request import Accepted
from resolvers.shelf import Shelf
from store import ledger
from store.session import Store
from tests.resolvers.test_shipment import CountingBell, confirm, keep, make_order, parcel
from tests.resolvers.test_stock import House

KINDS = frozenset(Kind)


@pytest.fixture
async def house(store: Store, redis: Redis) -> House:
    made = House(store, redis)
    await made.list_everywhere("A1", "B2")
    return made


def change(sku: str = "A1", place: str = "vienna", **more: Any) -> Adjustment:
    if "transfer_to" in more:
        more["transfer_to"] = LocationCode(more["transfer_to"])
    return Adjustment(Sku(sku), LocationCode(place), **more)


async def adjust(house: House, *changes: Adjustment, key: str | None = None, reason: str = "test") -> Accepted:
    return await adjustment.adjust(house.shelf, "warehouse", "req-1", changes, reason=reason, idempotency_key=key)


async def done(house: House, *changes: Adjustment, **more: Any) -> OperationId:
    """The operation of adjustments that nothing speaks against."""
    accepted = await adjust(house, *changes, **more)
    assert accepted.problems == []
    assert accepted.operation is not None
    assert accepted.operation.status is OperationStatus.SUCCEEDED
    return accepted.operation.id


async def lies(house: House, sku: str = "A1") -> dict[str, tuple[int, int]]:
    """(on hand, inbound) by place."""
    async with house.store.begin() as tx:
        found = await ledger.balances(tx, [Sku(sku)])
    return {str(one.location): (one.on_hand, one.inbound) for one in found.get(Sku(sku), [])}


async def entries(house: House) -> list[tuple[EntryKind, int, int]]:
    """(kind, on hand, inbound) of each entry, oldest first."""
    async with house.store.begin() as tx:
        found, _ = await ledger.entries(tx, first=100, after=None, sku=None, location=None)
    return [(one.entry.kind, one.entry.on_hand, one.entry.inbound) for one in reversed(found)]


async def test_all_adjustments_are_booked_at_once_and_told_as_an_operation(house: House) -> None:
    id = await done(house, change(delta=10, kind=EntryKind.RECEIPT), change("B2", delta=3), change(set_to=8))
    assert await lies(house) == {"vienna": (8, 0)}
    assert [kind for kind, _, _ in await entries(house)] == [EntryKind.RECEIPT, EntryKind.COUNT, EntryKind.ADJUSTMENT]
    items = (await operation.items(house.shelf, id, None, None, None)).nodes
    assert [(one.key, one.status) for one in items] == [
        ("A1/vienna", ItemStatus.VERIFIED),
        ("B2/vienna", ItemStatus.VERIFIED),
        ("A1/vienna", ItemStatus.VERIFIED),
    ]
    told = [(json.loads(one.before or ""), json.loads(one.after or "")) for one in items]
    assert told[2] == ({"onHand": 10}, {"onHand": 8})
    async with house.store.begin() as tx:
        found, _ = await ledger.entries(tx, first=10, after=None, sku=None, location=None)
    assert {(one.entry.actor, one.entry.reason, one.entry.reference) for one in found} == {("warehouse", "test", id)}


async def test_what_was_announced_is_taken_off_by_its_receipt(house: House) -> None:
    await done(house, change(delta=10, kind=EntryKind.EXPECTED))
    assert await lies(house) == {"vienna": (0, 10)}
    await done(house, change(delta=7, kind=EntryKind.RECEIPT))
    assert await lies(house) == {"vienna": (7, 3)}


async def test_a_transfer_moves_units_between_own_places(house: House) -> None:
    await done(house, change(delta=10))
    id = await done(house, change(delta=4, transfer_to="graz"))
    assert await lies(house) == {"vienna": (6, 0), "graz": (4, 0)}
    (item,) = (await operation.items(house.shelf, id, None, None, None)).nodes
    assert json.loads(item.after or "") == {"onHand": {"vienna": 6, "graz": 4}}


async def test_a_count_books_the_difference_to_what_is_there_at_that_moment(house: House) -> None:
    await done(house, change(delta=10))
    counts = [adjust(house, change(set_to=units)) for units in (3, 5, 7)]
    await asyncio.gather(*counts, adjust(house, change(delta=100)))
    assert (await lies(house))["vienna"][0] in {3, 5, 7, 103, 105, 107}


@pytest.mark.parametrize(
    ("wrong", "code", "field", "words"),
    [
        (change("?", delta=1), "NOT_FOUND", ("sku",), "no SKU"),
        (change(place="nowhere", delta=1), "NOT_FOUND", ("location",), "graz, vienna"),
        (change(place="berlin", delta=1), "CONFLICT", ("location",), "counted by shop"),
        (change(place="fba-eu", delta=1), "CONFLICT", ("location",), "counted by amazon-eu"),
        (change(delta=1, transfer_to="berlin"), "CONFLICT", ("transferTo",), "counted by shop"),
        (change("SET", delta=1), "CONFLICT", ("sku",), "its components"),
        (change(delta=-6), "CONFLICT", (), "5 are there"),
        (change(delta=6, transfer_to="graz"), "CONFLICT", (), "5 are there"),
        (change(), "INVALID", ("delta",), "either"),
        (change(delta=1, set_to=1), "INVALID", ("delta",), "either"),
        (change(delta=0), "INVALID", ("delta",), "more or less"),
        (change(set_to=-1), "INVALID", ("setTo",), "0 to"),
        (change(set_to=1, kind=EntryKind.RECEIPT), "INVALID", ("setTo",), "COUNT"),
        (change(delta=1, kind=EntryKind.COUNT), "INVALID", ("kind",), "setTo"),
        (change(delta=1, kind=EntryKind.SHIPMENT), "INVALID", ("kind",), "RECEIPT"),
        (change(delta=-1, kind=EntryKind.RECEIPT), "INVALID", ("delta",), "ADJUSTMENT"),
        (change(delta=-1, transfer_to="graz"), "INVALID", ("transferTo",), "above 0"),
        (change(delta=1, transfer_to="vienna"), "INVALID", ("transferTo",), "another place"),
        (change(delta=1, transfer_to="graz", kind=EntryKind.RETURN), "INVALID", ("kind",), "TRANSFER"),
    ],
)
async def test_what_cannot_be_booked_is_refused_with_its_field_and_nothing_is(
    house: House, wrong: Adjustment, code: str, field: tuple[str, ...], words: str
) -> None:
    await house.make_kit("SET", A1=1)
    await house.book("A1", 5)
    accepted = await adjust(house, change("B2", delta=1), wrong)
    assert accepted.operation is None
    (problem,) = accepted.problems
    assert (problem.code, problem.field) == (code, ("adjustments", "1", *field))
    assert words in problem.message
    assert await lies(house, "B2") == {}


@pytest.mark.parametrize(
    ("changes", "more", "field"),
    [
        (0, {}, "adjustments"),
        (1001, {}, "adjustments"),
        (1, {"reason": " "}, "reason"),
        (1, {"key": ""}, "idempotencyKey"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    house: House, changes: int, more: dict[str, Any], field: str
) -> None:
    accepted = await adjust(house, *[change(delta=1)] * changes, **more)
    assert [problem.field for problem in accepted.problems] == [(field,)]


async def test_a_repeated_key_books_once_however_many_ask_at_once(house: House) -> None:
    asked = await asyncio.gather(*(adjust(house, change(delta=5), key="k1") for _ in range(8)))
    assert len({one.operation.id for one in asked if one.operation is not None}) == 1
    assert await lies(house) == {"vienna": (5, 0)}
    (problem,) = (await adjust(house, change(delta=6), key="k1")).problems
    assert (problem.code, problem.field) == ("CONFLICT", ("idempotencyKey",))


async def test_an_operation_is_taken_back_once_with_all_it_has_booked(house: House) -> None:
    await done(house, change(delta=10, kind=EntryKind.EXPECTED), change(delta=20))
    id = await done(
        house,
        change(delta=7, kind=EntryKind.RECEIPT),
        change(delta=4, transfer_to="graz"),
        change("B2", set_to=3),
        reason="a mistake",
    )
    asked = await asyncio.gather(*(revert(house.shelf, id) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(one, Conflict) for one in asked) == 2
    assert (await lies(house), await lies(house, "B2")) == ({"vienna": (20, 10), "graz": (0, 0)}, {"vienna": (0, 0)})
    made = next(one for one in asked if not isinstance(one, BaseException))
    assert (made.kind, made.status, made.reverts) == (Kind.ADJUST_STOCK, OperationStatus.SUCCEEDED, id)
    with pytest.raises(Conflict, match=f"taken back already, by Operation:{made.id}"):
        await revert(house.shelf, id)
    await revert(house.shelf, made.id)  # and that can be taken back, too
    assert await lies(house) == {"vienna": (23, 3), "graz": (4, 0)}


async def revert(shelf: Shelf, id: OperationId, kinds: frozenset[Kind] = KINDS) -> Any:
    return await adjustment.revert(shelf, "boss", "req-2", id, kinds)


async def test_what_has_left_since_cannot_be_taken_back(house: House) -> None:
    id = await done(house, change(delta=10))
    await done(house, change(delta=-8))
    with pytest.raises(Conflict, match="A1 has 2 units on hand at vienna"):
        await revert(house.shelf, id)
    assert await lies(house) == {"vienna": (2, 0)}


async def test_only_adjustments_can_be_taken_back_and_only_by_who_may_see_them(house: House) -> None:
    one = make_order()
    await keep(house.shelf, one)
    shipped = await confirm(replace(house.shelf, bell=CountingBell()), parcel(one))
    assert shipped.operation is not None
    with pytest.raises(Conflict, match="Only ADJUST_STOCK and UPDATE_PRICES can"):
        await revert(house.shelf, shipped.operation.id)
    with pytest.raises(NotFound):
        await revert(house.shelf, shipped.operation.id, frozenset({Kind.ADJUST_STOCK}))
    with pytest.raises(NotFound):
        await revert(house.shelf, OperationId("none"))

"""The ledger: what is posted, what is refused, and the proof that it adds up."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from domain.errors import Conflict, Invalid, NotFound
from domain.ids import LocationCode, Sku
from domain.ledger import Discrepancy, EntryKind, NewEntry
from store import ledger
from store.session import Store
from store.tables import stock_balance, stock_entry
from tests.conftest import emptied
from tests.store.warehouse import (
    MAIN,
    SIDE,
    A,
    B,
    C,
    balance,
    entries,
    entry,
    kit,
    later,
    posted,
    products,
    reserved,
    stocked,
    told,
    wrong,
)


async def test_entries_make_balances(store: Store) -> None:
    await products(store, A, B)
    made = await posted(
        store,
        entry(B, 5),
        entry(A, 7, SIDE),
        entry(A, 3),
        entry(A, -1, kind=EntryKind.ADJUSTMENT, reason="broken"),
        entry(A, inbound=9, kind=EntryKind.EXPECTED),
        entry(A, 4, inbound=-4),
    )
    # In the order of SKU and place; those of one place as given.
    assert [(one.entry.sku, one.entry.location, one.entry.on_hand, one.entry.inbound) for one in made] == [
        (A, MAIN, 3, 0),
        (A, MAIN, -1, 0),
        (A, MAIN, 0, 9),
        (A, MAIN, 4, -4),
        (A, SIDE, 7, 0),
        (B, MAIN, 5, 0),
    ]
    assert [one.id for one in made] == sorted(one.id for one in made)
    assert len({one.at for one in made}) == 1
    async with store.begin() as tx:
        found = await ledger.balances(tx, [A, B, C])
        assert await ledger.opened(tx, SIDE, [A, B]) == {A}
    assert [(one.location, one.on_hand, one.reserved, one.inbound, one.free) for one in found[A]] == [
        (MAIN, 6, 0, 5, 6),
        (SIDE, 7, 0, 0, 7),
    ]
    assert found.keys() == {A, B}
    assert await told(store) == [A, B]
    assert await posted(store) == []


async def test_an_entry_comes_back_as_it_was_posted(store: Store) -> None:
    await products(store, A)
    whole = entry(A, 2, key="delivery:1", reference="PO 7", actor="a person", reason="größer")
    await posted(store, whole)
    assert await entries(store) == [whole]


async def test_entries_newest_first_by_sku_and_place(store: Store) -> None:
    await products(store, A, B)
    for number in range(1, 4):
        await posted(store, entry(A, number), entry(B, number, SIDE))
    async with store.begin() as tx:
        page, more = await ledger.entries(tx, first=4)
        rest, no_more = await ledger.entries(tx, first=4, after=page[-1].id)
        of_b, _ = await ledger.entries(tx, first=9, sku=B)
        here, _ = await ledger.entries(tx, first=9, location=MAIN)
    assert [one.id for one in page + rest] == [6, 5, 4, 3, 2, 1]
    assert (more, no_more) == (True, False)
    assert [one.entry.sku for one in of_b] == [B, B, B]
    assert [one.entry.on_hand for one in here] == [3, 2, 1]


async def test_a_key_counts_once(store: Store) -> None:
    await products(store, A, B)
    delivery = [entry(A, 3, key="d:1"), entry(B, 4, key="d:2")]
    assert len(await posted(store, *delivery, entry(A, 3, key="d:1"))) == 2
    assert await posted(store, *delivery) == []
    assert [one.entry.key for one in await posted(store, *delivery, entry(B, 1, key="d:3"))] == ["d:3"]
    assert (await balance(store, A), await balance(store, B)) == ((3, 0), (5, 0))
    # What was posted before is not taken off once more, so there is enough.
    away = entry(A, -3, kind=EntryKind.ADJUSTMENT, key="w:1")
    await posted(store, away)
    assert await posted(store, away) == []
    assert await told(store) == [A, B, B, A]


async def test_a_key_delivered_many_times_at_once_counts_once(store: Store) -> None:
    await products(store, A)
    made = await asyncio.gather(*(posted(store, entry(A, 3, key="d:1")) for _ in range(8)))
    assert sum(map(len, made)) == 1
    assert await balance(store) == (3, 0)


async def test_no_count_falls_below_zero(store: Store) -> None:
    await stocked(store, A=3, B=1)
    await posted(store, entry(A, reserved=1, kind=EntryKind.ALLOCATION))
    async with store.begin() as tx:
        with pytest.raises(Conflict, match=r"^A has 3 units on hand at main, so 4 cannot be taken off\. "):
            await ledger.post(tx, [entry(A, -4, kind=EntryKind.ADJUSTMENT)])
        with pytest.raises(Conflict, match=r"^A has 1 units reserved at main, so 2 cannot be taken off\. "):
            await ledger.post(tx, [entry(A, reserved=-2, kind=EntryKind.RELEASE)])
        with pytest.raises(Conflict, match=r"^A has 0 units inbound at side, so 1 cannot be taken off\. "):
            await ledger.post(tx, [entry(A, 1, SIDE, inbound=-1)])
        # None of several is posted, not those before either.
        with pytest.raises(Conflict, match=r"^B has 2 units on hand at main, so 3 "):
            await ledger.post(tx, [entry(A, 1), entry(B, 1), entry(B, -3, kind=EntryKind.COUNT)])
        # And the transaction goes on.
        await ledger.post(tx, [entry(A, 5), entry(A, -8, kind=EntryKind.ADJUSTMENT)])
    assert (await balance(store, A), await balance(store, B)) == ((0, 1), (1, 0))


async def test_the_database_refuses_it_by_itself(store: Store) -> None:
    await stocked(store, A=3)
    values: dict[str, Any] = {
        "sku": A,
        "location": MAIN,
        "kind": "ADJUSTMENT",
        "reason": "r",
        "actor": "a",
        "source": "s",
    }
    refused: list[Any] = [
        insert(stock_entry).values(values | {"on_hand": -4}),
        insert(stock_entry).values(values | {"reserved": 1}),
        insert(stock_entry).values(values | {"on_hand": 1, "reason": ""}),
        update(stock_entry).values(on_hand=1),
        text("delete from stock_entry"),
        text("truncate stock_entry"),
        update(stock_balance).values(on_hand=9),
        text("delete from stock_balance"),
        update(stock_balance).values(on_hand=3),
    ]
    for statement in refused:
        with pytest.raises(DBAPIError):
            async with store.begin() as tx:
                await tx.execute(statement)
    assert await balance(store) == (3, 0)


async def test_what_names_nothing_of_ours_is_refused(store: Store) -> None:
    await products(store, A, Sku("PAIR"))
    await kit(store, Sku("PAIR"), A=2)
    for bad, problem, words in (
        (entry(B, 1), NotFound, "There is no SKU 'B'"),
        (entry(Sku("PAIR"), 1), Conflict, "PAIR is a kit"),
        (entry(A, 2_000_000_000), Invalid, "An entry moves at most 1000000000 units"),
    ):
        with pytest.raises(problem, match=words):
            await posted(store, entry(A, 1), bad)
    assert await entries(store) == []
    assert await told(store) == []


async def test_balances_of_any_past_instant(store: Store) -> None:
    await products(store, A)
    before = await later(store)
    at = []
    for units in (3, -1, 5):
        made = await posted(store, entry(A, units, kind=EntryKind.ADJUSTMENT))
        at.append(made[0].at)
    async with store.begin() as tx:
        counts = [
            [one.on_hand for one in (await ledger.balances_at(tx, [A], then)).get(A, [])] for then in [before, *at]
        ]
    assert counts == [[], [3], [2], [7]]


async def test_opposite_transfers_wait_for_each_other_but_not_in_a_circle(store: Store) -> None:
    await stocked(store, A=100, B=100)
    await posted(store, entry(A, 100, SIDE), entry(B, 100, SIDE))
    dice = random.Random(7)

    def transfer() -> list[NewEntry]:
        one, other = dice.sample([MAIN, SIDE], 2)
        skus = dice.sample([A, B], 2)
        moved: list[tuple[LocationCode, int]] = [(one, -1), (other, 1)]
        return [entry(sku, units, code, kind=EntryKind.TRANSFER) for sku in skus for code, units in moved]

    await asyncio.gather(*(posted(store, *transfer()) for _ in range(40)))
    for sku in (A, B):
        assert sum([(await balance(store, sku, code))[0] for code in (MAIN, SIDE)]) == 200
    assert await wrong(store) == []


async def test_the_proof_is_kept(store: Store) -> None:
    async with store.begin() as tx:
        assert await ledger.last_check(tx) is None
    await stocked(store, A=3, B=4)
    await reserved(store)
    async with store.begin() as tx:
        proof = await ledger.check(tx)
        assert await ledger.last_check(tx) == proof
        assert await tx.scalar(select(func.current_setting("statement_timeout"))) == "30s"
    assert (proof.balances, proof.entries, proof.wrong) == (2, 2, [])


async def test_the_proof_finds_what_does_not_add_up(store: Store) -> None:
    """The twin: each count put wrong by hand, the guards looking away."""
    hand = (
        ("update stock_balance set on_hand = 9 where sku = 'A'", {("A", "main"), ("A", "*")}),
        ("delete from stock_balance where sku = 'B'", {("B", "main"), ("B", "*")}),
        ("insert into stock_balance values ('C', 'main', 0, 0, 1, now())", {("C", "main")}),
        ("update sku_stock set reserved = 1 where sku = 'A'", {("A", "*")}),
        ("update sku_stock set held = 0 where sku = 'A'", {("A", "*")}),
        ("update sku_stock set elsewhere = 5 where sku = 'C'", {("C", "elsewhere")}),
        ("delete from sku_stock where sku = 'A'", {("A", "*")}),
    )
    for statement, expected in hand:
        await emptied(store)
        await stocked(store, A=3, B=4, C=0)
        await reserved(store)
        assert await wrong(store) == []
        async with store.begin() as tx:
            await tx.execute(text("alter table stock_balance disable trigger user"))
            await tx.execute(text(statement))
            await tx.execute(text("alter table stock_balance enable trigger user"))
        found = await wrong(store)
        assert {(one.sku, one.location) for one in found} == expected, statement
    await emptied(store)
    await stocked(store, A=3)
    async with store.begin() as tx:
        await tx.execute(text("alter table stock_balance disable trigger user"))
        await tx.execute(text("update stock_balance set on_hand = 9"))
        await tx.execute(text("alter table stock_balance enable trigger user"))
    assert Discrepancy(A, MAIN, (9, 0, 0), (3, 0, 0)) in await wrong(store)

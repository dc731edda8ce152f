"""Pieces are kept once, and make the same chains in whatever order they come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

from sqlalchemy import select

from domain.chain import Piece, PieceKind, chains
from domain.channel import Channel, Platform
from domain.event import EventKind
from domain.ids import ChannelId, order_id
from domain.money import Money
from store import chain, event, order
from store.session import Store
from store.tables import return_chain, return_piece
from tests.conftest import emptied
from tests.store.bench import give_places
from tests.store.warehouse import statements
from tests.workers.fake_port import FakePort, make_order

SHOP = ChannelId("shop")
AT = datetime(2026, 3, 1, tzinfo=UTC)


def piece(kind: PieceKind, day: int = 0, reference: str = "r", **more: Any) -> Piece:
    values: dict[str, Any] = {"order": "1001", "sku": "MUG", "units": 1, "at": AT + timedelta(days=day)}
    return Piece(channel=SHOP, kind=kind, reference=reference, **(values | more))


STORY = [
    piece(PieceKind.ANNOUNCED, 1, units=2),
    piece(PieceKind.ARRIVED, 3, "a"),
    piece(PieceKind.ARRIVED, 9, "b"),
    piece(PieceKind.REFUNDED, 4, money=Money(Decimal("9.90"), "EUR"), units=2),
    piece(PieceKind.ANNOUNCED, 30, "later"),
]


async def keep(store: Store, *pieces: Piece) -> int:
    async with store.begin() as tx:
        return await chain.keep(tx, pieces)


async def rows(store: Store) -> tuple[Sequence[Any], Sequence[Any]]:
    async with store.begin() as tx:
        kept = (await tx.execute(select(return_chain).order_by(return_chain.c.id))).all()
        of = return_piece.c
        return kept, (await tx.execute(select(return_piece).order_by(of.kind, of.reference))).all()


async def test_any_order_of_arrival_leaves_the_same_rows(store: Store) -> None:
    seen = []
    for number, turns in enumerate(permutations(STORY)):
        if number % 20:
            continue
        await emptied(store)
        for one in turns:
            await keep(store, one)
        seen.append(await rows(store))
    assert len(seen) > 5
    assert all(one == seen[0] for one in seen)
    assert [row.open for row in seen[0][0]] == [True, True]


async def test_what_is_told_again_changes_nothing_and_what_is_told_otherwise_replaces(store: Store) -> None:
    assert await keep(store, *STORY) == len(STORY)
    before = await rows(store)
    assert await keep(store, *STORY, *STORY) == 0
    assert await rows(store) == before
    assert await keep(store, replace(STORY[0], units=1)) == 1
    async with store.begin() as tx:
        (found,) = (await chain.by_orders(tx, [order_id(SHOP, "1001")])).values()
    assert found == chains([replace(STORY[0], units=1), *STORY[1:]])


async def test_what_changes_the_chains_of_orders_tells_each_of_them_once(store: Store) -> None:
    """By one event for all pieces that came together, and by none for what was told before."""
    one = make_order(FakePort(Channel(SHOP, Platform.SHOPIFY, "Shop", sandbox=True)), "1001")
    async with store.begin() as tx:
        await order.upsert(tx, [one])

    async def told() -> list[str]:
        await give_places(store)
        async with store.begin() as tx:
            return [each.subject for each in await event.after(tx, 0, kinds=[EventKind.ORDER_CHANGED])]

    strange = piece(PieceKind.REFUNDED, 2, "of an order that has not come in", order="1002")
    assert await keep(store, *STORY, strange) == len(STORY) + 1
    assert await told() == [one.id]
    await keep(store, *STORY)
    assert await told() == [one.id]
    await keep(store, replace(STORY[0], units=1))
    assert await told() == [one.id, one.id]


async def test_a_piece_that_turns_out_to_be_of_another_sku_or_order_leaves_the_chain_that_it_was_in(
    store: Store,
) -> None:
    await keep(store, *STORY)
    moved = replace(STORY[0], sku="CUP")
    assert await keep(store, moved) == 1
    async with store.begin() as tx:
        assert (await chain.by_orders(tx, [order_id(SHOP, "1001")]))[order_id(SHOP, "1001")] == chains(
            [moved, *STORY[1:]]
        )
    paid = piece(PieceKind.REIMBURSED, 40, order=None)
    await keep(store, paid, piece(PieceKind.REIMBURSED, 41, "other", order=None))
    assert await keep(store, replace(paid, order="1001")) == 1
    async with store.begin() as tx:
        (found,) = (await chain.by_orders(tx, [order_id(SHOP, "1001")])).values()
        assert found == chains([moved, *STORY[1:], replace(paid, order="1001")])
        assert await chain.count(tx, open_only=False) == len(found) + 1


async def test_many_pieces_cost_as_many_statements_as_few(store: Store) -> None:
    async def cost(number: int) -> int:
        pieces = [piece(PieceKind.ARRIVED, 1, f"{number} {one}", order=f"{number} {one}") for one in range(number)]
        with statements(store) as seen:
            assert await keep(store, *pieces) == number
        return len(seen)

    assert await cost(40) == await cost(2)


async def test_pieces_that_come_at_the_same_moment_make_the_same_chains(store: Store) -> None:
    await asyncio.gather(*(keep(store, one) for one in [*STORY, *STORY]))
    async with store.begin() as tx:
        (found,) = (await chain.by_orders(tx, [order_id(SHOP, "1001")])).values()
    assert found == chains(STORY)


async def test_a_chain_that_is_complete_is_open_no_more(store: Store) -> None:
    await keep(store, piece(PieceKind.ARRIVED), piece(PieceKind.REFUNDED))
    async with store.begin() as tx:
        assert await chain.count(tx) == 1
    await keep(store, piece(PieceKind.RESTOCKED, 2))
    async with store.begin() as tx:
        assert (await chain.count(tx), await chain.count(tx, open_only=False)) == (0, 1)
        assert await chain.page(tx, first=5) == ([], False)

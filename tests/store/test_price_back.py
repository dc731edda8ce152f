"""Taking changes of prices back: to what was live before, and never over what others have done since."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from domain.errors import Conflict, NotFound
from domain.ids import OperationId
from domain.money import Money
from domain.operation import Capability, ItemError, ItemStatus, Operation, OperationStatus, Outcome
from domain.price import Origin, Price, Sale
from domain.price_back import SINCE
from domain.price_guard import ACTIONS, DEFAULTS, Guard, GuardKind, PriceGuards
from store import agenda, operation, price_back, price_desk, price_guard
from store.session import Store
from tests.store.price_lane import SHOP, asked, carried, euros, guarded, items, listed, shown, sold, wish


@pytest.fixture
async def shop(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A, B and C are sold for 10 EUR; no guard says anything."""
    # Whoever waits for the channel waits as long as it takes.
    monkeypatch.setattr(price_desk, "PATIENCE_S", 60.0)
    await guarded(store)
    await listed(store, sold("A", "10"), sold("B", "10"), sold("C", "10"))
    return store


async def taken_back(store: Store, one: Operation, by: str = "bob") -> Operation:
    async with store.begin() as tx:
        request = price_desk.Request(by, f"revert {one.id}", datetime.now(UTC))
        return await price_back.take_back(tx, one.id, request)


async def found(store: Store, id: OperationId) -> Operation:
    async with store.begin() as tx:
        return (await operation.by_ids(tx, [id]))[id]


async def test_what_was_live_before_is_asked_for_and_read_back_as_any_other_change(shop: Store) -> None:
    first = await asked(shop, wish("A", "20"), wish("B", "5"))
    assert sorted(await carried(shop)) == ["A", "B"]
    back = await taken_back(shop, first)
    assert (back.reverts, back.requested_by, back.status) == (first.id, "bob", OperationStatus.QUEUED)
    assert await shown(shop, "A", "B") == ["20", "5"]
    await carried(shop)
    assert await shown(shop, "A", "B", "C") == ["10", "10", "10"]
    assert (await found(shop, back.id)).status is OperationStatus.SUCCEEDED


async def test_what_takes_back_can_be_taken_back_itself(shop: Store) -> None:
    first = await asked(shop, wish("A", "20"))
    await carried(shop)
    back = await taken_back(shop, first)
    await carried(shop)
    await taken_back(shop, back)
    await carried(shop)
    assert await shown(shop, "A") == ["20"]


async def test_one_is_taken_back_once_whoever_asks_at_once(shop: Store) -> None:
    first = await asked(shop, wish("A", "20"))
    await carried(shop)
    ends = await asyncio.gather(*(taken_back(shop, first, by) for by in ("bob", "eve", "kim")), return_exceptions=True)
    [made] = [one for one in ends if isinstance(one, Operation)]
    assert [one.message for one in ends if isinstance(one, Conflict)] == [
        f"It was taken back already, by Operation:{made.id}."
    ] * 2


async def test_what_came_to_nothing_may_be_tried_again(shop: Store) -> None:
    first = await asked(shop, wish("A", "20"))
    await carried(shop)
    back = await taken_back(shop, first)
    await carried(shop, but={"A"})
    assert (await found(shop, back.id)).status is OperationStatus.FAILED
    await taken_back(shop, first)
    await carried(shop)
    assert await shown(shop, "A") == ["10"]


async def test_what_others_have_changed_since_is_left_and_named(shop: Store) -> None:
    first = await asked(shop, wish("A", "20"), wish("B", "20"), wish("C", "20"))
    await carried(shop)
    await asked(shop, wish("B", "21"))
    await listed(shop, sold("C", "22"))
    back = await taken_back(shop, first)
    assert await items(shop, back.id) == [
        ("A", "PENDING", None),
        ("B", "SUPERSEDED", SINCE),
        ("C", "SUPERSEDED", SINCE),
    ]
    async with shop.begin() as tx:
        told, _ = await operation.items(tx, back.id, first=10)
        changes = await price_desk.changes(tx, [one.id for one in told])
    assert [changes[one.id].wish.key for one in told] == ["shop/A", "shop/B", "shop/C"]
    assert [one.error.message for one in told if one.error is not None] == [
        "Something else was asked for shop/B since.",
        "shop/C shows 22 EUR, which we have not asked for: somebody has changed it since.",
    ]
    await carried(shop)
    assert await shown(shop, "A", "B", "C") == ["10", "21", "22"]
    assert (await found(shop, back.id)).status is OperationStatus.SUCCEEDED


async def test_where_nothing_is_left_to_take_back_nothing_is_kept(shop: Store) -> None:
    first = await asked(shop, wish("A", "20"))
    await carried(shop)
    await listed(shop, sold("A", "22"))
    with pytest.raises(Conflict, match=r"Nothing is left to take back\. shop/A shows 22 EUR"):
        await taken_back(shop, first)
    assert await carried(shop) == []
    with pytest.raises(NotFound):
        await taken_back(shop, Operation(**{name: getattr(first, name) for name in first.__slots__} | {"id": "none"}))


async def test_rows_that_have_not_left_are_cancelled_and_what_they_wanted_is_forgotten(shop: Store) -> None:
    await asked(shop, wish("A", "11"))
    await carried(shop)
    first = await asked(shop, wish("A", "20"), wish("B", "20"))
    with pytest.raises(Conflict, match=r"Nothing is left.* 2 of its rows still wait to be sent: cancelOperation"):
        await taken_back(shop, first)
    # Nothing of that is kept; a cancellation is another question.
    async with shop.begin() as tx:
        await price_back.cancel(tx, first.id, "bob")
    assert await carried(shop) == []
    again = await asked(shop, wish("A", "12"))
    async with shop.begin() as tx:
        [item] = (await operation.items(tx, again.id, first=1))[0]
    assert item.before == '{"price": "11", "currency": "EUR", "sale": null}'


async def test_a_row_whose_outcome_is_open_is_taken_back_behind_it(shop: Store) -> None:
    first = await asked(shop, wish("A", "20"))
    await carried(shop, but={"A"}, as_=ItemStatus.PARKED)
    back = await taken_back(shop, first)
    assert await items(shop, back.id) == [("A", "PENDING", None)]
    await carried(shop)
    assert await shown(shop, "A") == ["10"]


async def ended(shop: Store, *statuses: ItemStatus) -> None:
    """All that is due ends so, one after the other, unseen."""
    for status in statuses:
        async with shop.begin() as tx:
            due = await agenda.claim(tx, SHOP, Capability.PRICES, limit=10, lease_s=60.0, worker="w1")
            for one in due:
                assert await agenda.mark_sent(tx, one.id, one.fence, 60.0) or one.was is ItemStatus.ACCEPTED
            error = ItemError("REFUSED", "The price is too low.") if status is ItemStatus.FAILED else None
            await agenda.record(tx, [Outcome(one.id, one.fence, status, error=error) for one in due])


async def test_what_a_channel_took_and_then_found_fault_with_is_taken_back_too(shop: Store) -> None:
    """It may show it all the same, or sell it again for that when the fault is mended."""
    first = await asked(shop, wish("A", "1"))
    await ended(shop, ItemStatus.ACCEPTED, ItemStatus.FAILED)
    await taken_back(shop, first)
    await carried(shop)
    refused = await asked(shop, wish("A", "2"))
    await ended(shop, ItemStatus.FAILED)
    with pytest.raises(Conflict, match="None of its rows has changed a price"):
        await taken_back(shop, refused)


async def test_what_comes_back_unseen_is_not_sent_again_before_what_takes_it_back(shop: Store) -> None:
    first = await asked(shop, wish("A", "1"))
    await ended(shop, ItemStatus.SENT)
    back = await taken_back(shop, first)
    await ended(shop, ItemStatus.PENDING)
    async with shop.begin() as tx:
        due = await agenda.claim(tx, SHOP, Capability.PRICES, limit=10, lease_s=60.0, worker="w1")
        assert [one.operation for one in due] == [first.id]
        assert await agenda.mark_sent_together(tx, due, 60.0, {one.id: {} for one in due}) == set()
    assert await items(shop, first.id) == [("A", "SUPERSEDED", None)]
    assert (await found(shop, first.id)).status is OperationStatus.CANCELLED
    assert await carried(shop) == ["A"]
    assert (await found(shop, back.id)).status is OperationStatus.SUCCEEDED


async def test_a_sale_that_has_begun_by_itself_since_is_taken_back(shop: Store) -> None:
    """At a channel that keeps no times that is an item of its own."""
    now = datetime.now(UTC)
    price = Price(Money(Decimal(20), "EUR"), Sale(Money(Decimal(8), "EUR"), now, now + timedelta(days=1)))
    first = await asked(shop, wish("A", "20", price=price))
    await carried(shop)
    begun = await asked(shop, wish("A", "20", price=price, origin=Origin.SALE), by="acorn")
    await carried(shop)
    with pytest.raises(Conflict, match="None of its rows has changed a price"):
        await taken_back(shop, begun)
    assert await items(shop, (await taken_back(shop, first)).id) == [("A", "PENDING", None)]
    await carried(shop)
    assert await shown(shop, "A") == ["10"]


async def test_what_shows_the_price_of_before_again_is_taken_back_and_what_never_changed_is_left_out(
    shop: Store,
) -> None:
    """A catalog may be read that tells of the time before."""
    first = await asked(shop, wish("A", "100"), wish("B", "10"))
    await carried(shop)
    await listed(shop, sold("A", "10"))
    assert await items(shop, (await taken_back(shop, first)).id) == [("A", "PENDING", None)]


async def test_what_lies_below_a_floor_by_now_is_refused_and_named(shop: Store) -> None:
    first = await asked(shop, wish("A", "20"), wish("B", "30"))
    await carried(shop)
    floor = Guard(
        "f", GuardKind.FLOOR, ACTIONS[GuardKind.FLOOR], sku=wish("A", "1").sku, currency="EUR", amount=Decimal(15)
    )
    await guarded(shop, floor)
    back = await taken_back(shop, first)
    assert await items(shop, back.id) == [("A", "FAILED", price_desk.GUARD), ("B", "PENDING", None)]
    await carried(shop)
    assert await shown(shop, "A", "B") == ["20", "10"]


async def test_far_steps_back_need_nobody_else(shop: Store) -> None:
    """The usual guards: what was a slip of the finger is undone at once."""
    first = await asked(shop, wish("A", "1000"))
    await carried(shop)
    async with shop.begin() as tx:
        await price_guard.keep(tx, PriceGuards(version=1, guards=DEFAULTS), "boss")
    assert (await taken_back(shop, first)).status is OperationStatus.QUEUED
    await carried(shop)
    assert await shown(shop, "A") == ["10"]


async def test_a_sale_that_is_over_is_not_begun_anew(shop: Store) -> None:
    now = datetime.now(UTC)
    ten, eight = Money(Decimal(10), "EUR"), Money(Decimal(8), "EUR")
    over = Price(ten, Sale(eight, now - timedelta(days=2), now - timedelta(days=1)))
    await asked(shop, wish("A", "10", price=over))
    await carried(shop)
    first = await asked(shop, wish("A", "20"))
    await carried(shop)
    back = await taken_back(shop, first)
    async with shop.begin() as tx:
        [item] = (await operation.items(tx, back.id, first=1))[0]
    assert item.after == '{"price": "10", "currency": "EUR", "sale": null}'
    assert euros("10").told() == {"price": "10", "currency": "EUR", "sale": None}


async def test_a_preview_is_cancelled_and_not_taken_back(shop: Store) -> None:
    one = await asked(shop, wish("A", "20"), dry_run=True)
    with pytest.raises(Conflict, match=r"nothing of it was sent\. Cancel it"):
        await taken_back(shop, one)

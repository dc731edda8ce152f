"""What the law lets people ask is kept once, until it is done; erasing a channel leaves the seller's own books."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, insert, select

from domain.hint import Hint, HintKind
from domain.ids import ChannelId, Sku
from domain.money import Money
from domain.privacy import PrivacyKind, PrivacyRequest
from store import hint, privacy, product, stock, tables
from store.privacy import ERASED
from store.session import Store
from tests.workers.fake_port import make_listing, make_port, make_reading

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
SHOP = ChannelId("shop")
# Of these tables nothing goes with a channel, and why.
STAYS = {
    "budget_use": "seconds of use, and nothing of anybody",
    "event": "no channel of its own",
    "finance_file": "the seller's books",
    "journal_posting": "the seller's books",
    "known_channel": "what the seller called it, beside the books that stay",
    "money_group": "the seller's books",
    "money_line": "the seller's books",
    "money_transaction": "the seller's books",
    "operation_item": "what we did, by ids",
    "order": "the seller's books",
    "outbound_order": "the seller's books",
    "oversale": "the seller's books",
    "payout_movement": "the seller's books",
    "price_due": "goes with its listing",
    "price_file_row": "what somebody of ours has sent, and goes with its file",
    "privacy_request": "the proof that it was done",
    "restock": "the seller's books",
    "return_chain": "the seller's books",
    "return_piece": "the seller's books",
    "reservation": "promises of the seller's own",
    "settlement": "the seller's books",
    "stock_rule": "the seller's rules",
}


def asked(id: str, kind: PrivacyKind = PrivacyKind.BUYER_REDACT, at: datetime = AT) -> PrivacyRequest:
    buyer = None if kind is PrivacyKind.SHOP_REDACT else "gid://shopify/Customer/1"
    return PrivacyRequest(SHOP, id, kind, buyer, ("gid://shopify/Order/1",), at)


async def test_a_request_is_kept_once_and_told_by_its_date(store: Store) -> None:
    later, sooner = asked("a", at=AT + timedelta(days=1)), asked("b")
    async with store.begin() as tx:
        await privacy.keep(tx, [later, sooner])
        await privacy.keep(tx, [replace(later, buyer="gid://shopify/Customer/2")])
    async with store.begin() as tx:
        found = await privacy.all_of(tx)
        assert await privacy.all_of(tx, ChannelId("other")) == []
    assert [one.request for one in found] == [sooner, later]
    assert [one.due_at for one in found] == [AT + timedelta(days=30), AT + timedelta(days=31)]


async def test_what_is_done_is_done_once_and_stays_as_proof(store: Store) -> None:
    async with store.begin() as tx:
        await privacy.keep(tx, [asked("a")])
        (one,) = await privacy.all_of(tx)
    async with store.begin() as tx:
        assert await privacy.done(tx, one.number, "told the CRM")
        assert not await privacy.done(tx, one.number, "again")
        assert not await privacy.done(tx, one.number + 1, None)
        assert await privacy.all_of(tx) == []
        (kept,) = await privacy.all_of(tx, unfinished=False)
        assert kept == await privacy.by_number(tx, one.number)
    assert kept.note == "told the CRM"
    assert kept.done_at is not None


async def test_erasing_takes_one_channel_and_no_other(store: Store) -> None:
    other = ChannelId("other")
    hints = [Hint(id, "n-1", "orders/updated", HintKind.ORDER, "1", AT) for id in (SHOP, other)]
    async with store.begin() as tx:
        await hint.keep(tx, hints)
        await privacy.keep(tx, [asked("a", PrivacyKind.SHOP_REDACT)])
    async with store.begin() as tx:
        assert await privacy.erase(tx, SHOP) == {"hint": 1}
        assert list(await tx.scalars(select(tables.hint.c.channel))) == [other]
        assert await tx.scalar(select(func.count()).select_from(tables.privacy_request)) == 1


async def test_units_that_an_erased_shop_counted_are_counted_no_more(store: Store) -> None:
    port = make_port()
    listed = replace(make_listing(port, "A"), sku=Sku("A"))
    reading = make_reading(port, "A", 7)
    async with store.begin() as tx:
        await product.upsert_listings(tx, [listed])
        await stock.keep_and_tell(tx, [reading])
        assert await tx.scalar(select(tables.sku_stock.c.elsewhere)) == 7
    async with store.begin() as tx:
        gone = await privacy.erase(tx, SHOP)
        assert await privacy.erase(tx, SHOP) == {}
    assert (gone["listing"], gone["stock_level"]) == (1, 1)
    async with store.begin() as tx:
        assert await tx.scalar(select(tables.sku_stock.c.elsewhere)) == 0
        assert list(await product.by_skus(tx, {Sku("A")})) == ["A"]


async def test_prices_go_with_their_listings(store: Store) -> None:
    listed = replace(make_listing(make_port(), "A"), price=Money(Decimal(10), "EUR"))
    event, due = tables.price_event, tables.price_due
    async with store.begin() as tx:
        await product.upsert_listings(tx, [listed])
        await tx.execute(insert(due).values(listing=listed.id, channel=SHOP, reasons=["COST"], due_at=AT))
        assert await tx.scalar(select(func.count()).select_from(event)) == 1
    async with store.begin() as tx:
        assert (await privacy.erase(tx, SHOP))["listing"] == 1
        assert [await tx.scalar(select(func.count()).select_from(one)) for one in (event, due)] == [0, 0]


async def test_much_is_erased_a_little_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy, "AT_ONCE", 2)
    port = make_port()
    names = ["A", "B", "C"]
    async with store.begin() as tx:
        await product.upsert_listings(tx, [replace(make_listing(port, one), sku=Sku(one)) for one in names])
        await stock.keep_and_tell(tx, [make_reading(port, one, 7) for one in [*names, "unlisted"]])
        await hint.keep(tx, [Hint(SHOP, f"n-{n}", "orders/updated", HintKind.ORDER, "1", AT) for n in range(5)])
    gone, rounds = Counter[str](), 0
    while True:
        async with store.begin() as tx:
            some = await privacy.erase(tx, SHOP)
            left = list(
                await tx.scalars(
                    select(tables.stock_level.c.channel_sku).where(tables.stock_level.c.channel_sku.in_(names))
                )
            )
            # At any moment what is counted elsewhere is what there still is.
            assert await tx.scalar(select(func.sum(tables.sku_stock.c.elsewhere))) == 7 * len(left)
        if not some:
            break
        gone, rounds = gone + Counter(some), rounds + 1
    assert rounds == 3
    assert gone == {"listing": 3, "stock_level": 4, "hint": 5, "stock_level_history": 4}


def test_of_every_table_it_is_known_whether_a_channel_leaves_something_there() -> None:
    with_channel = {one.name for one in tables.metadata.sorted_tables if "channel" in one.c}
    erased = {one.name for one in ERASED} | {"listing", "stock_level"}
    assert with_channel - erased <= STAYS.keys()
    assert not erased & STAYS.keys()

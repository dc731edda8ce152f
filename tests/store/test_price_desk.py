"""The desk for prices: what is kept, what takes the place of what, and what an approval releases."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any

import pytest
from sqlalchemy import select, update

from domain.errors import Conflict, Forbidden
from domain.fee import Fee, FeeKind, FeesEstimate
from domain.ids import ChannelId, ChannelSku, ListingId, OperationId, Sku, listing_id
from domain.money import Money
from domain.offer import OfferPrice
from domain.operation import ItemStatus, Operation, OperationStatus
from domain.price import Origin, Price, PriceWish, Sale
from domain.price_approval import Approval
from domain.price_canary import Radius
from domain.price_guard import PriceGuards
from domain.price_rules import Base, PriceRule, PriceRules
from domain.product import FulfilledBy, Listing
from store import market, operation, price_desk, price_guard, price_rules, product
from store.session import Store
from store.tables import listing as listing_table
from store.tables import listing_price, operation_item, price_event
from store.tables import product as product_table

SHOP = ChannelId("shop")
i = operation_item.c
WAS_ASKED = price_event.c.what == "ASKED"


def id_of(sku: str) -> ListingId:
    return listing_id(SHOP, None, ChannelSku(sku))


def wish(sku: str, amount: str, origin: Origin = Origin.MUTATION) -> PriceWish:
    price = Price(Money(Decimal(amount), "EUR"))
    return PriceWish(id_of(sku), SHOP, None, ChannelSku(sku), Sku(sku), {"product": sku}, price, origin, "because")


def unguarded(**more: Any) -> PriceGuards:
    return PriceGuards(guards=(), **more)


@pytest.fixture
async def shop(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A and B are sold for 10 EUR, as the catalog told just now; no guard says anything."""
    # Whoever waits for the channel waits as long as it takes.
    monkeypatch.setattr(price_desk, "PATIENCE_S", 60.0)
    async with store.begin() as tx:
        await product.upsert_listings(tx, [sold("A", "10"), sold("B", "10")])
        await price_guard.keep(tx, unguarded(), "boss")
    return store


def sold(sku: str, amount: str) -> Listing:
    return Listing(
        id=id_of(sku),
        channel=SHOP,
        marketplace=None,
        channel_sku=ChannelSku(sku),
        external_id=sku,
        status="ACTIVE",
        fulfilled_by=FulfilledBy.MERCHANT,
        as_of=datetime.now(UTC),
        sku=Sku(sku),
        price=Money(Decimal(amount), "EUR"),
    )


async def asked(
    store: Store, *wishes: PriceWish, key: str | None = None, dry_run: bool = False, by: str = "ann"
) -> Operation:
    async with store.begin() as tx:
        request = price_desk.Request(by, repr(wishes), datetime.now(UTC), key, dry_run)
        return (await price_desk.keep(tx, request, wishes))[0]


async def approved(store: Store, one: Operation, by: str = "bob") -> Operation:
    async with store.begin() as tx:
        return await price_desk.approve(tx, one.id, by, datetime.now(UTC))


async def items(store: Store, one: Operation) -> list[tuple[str, str | None, bool]]:
    """Status, error and release of each row."""
    async with store.begin() as tx:
        query = select(i.status, i.error_code, i.released).where(i.operation_id == one.id).order_by(i.id)
        return [(row.status, row.error_code, row.released) for row in await tx.execute(query)]


async def wanted(store: Store) -> dict[str, str]:
    """What is wanted now, by listing."""
    async with store.begin() as tx:
        rows = await tx.execute(select(listing_price.c.listing, listing_price.c.wanted))
        return {row.listing: row.wanted["price"] for row in rows}


async def test_what_is_asked_for_is_wanted_and_told_with_who_and_why(shop: Store) -> None:
    one = await asked(shop, wish("A", "11"), wish("B", "12"))
    assert one.status is OperationStatus.QUEUED
    assert await items(shop, one) == [("PENDING", None, True), ("PENDING", None, True)]
    assert await wanted(shop) == {id_of("A"): "11", id_of("B"): "12"}
    async with shop.begin() as tx:
        events = (await tx.execute(select(price_event).where(WAS_ASKED).order_by(price_event.c.id))).all()
    assert [(one.listing, one.what, one.price["price"], one.requested_by, one.reason) for one in events] == [
        (id_of("A"), "ASKED", "11", "ann", "because"),
        (id_of("B"), "ASKED", "12", "ann", "because"),
    ]


async def test_newer_takes_the_place_of_what_has_not_left_and_of_nothing_else(shop: Store) -> None:
    first = await asked(shop, wish("A", "11"), wish("B", "11"))
    async with shop.begin() as tx:
        left = update(operation_item).where(i.resource == price_desk.resource(id_of("B"))).values(status="SENT")
        await tx.execute(left)
    preview = await asked(shop, wish("A", "13"), dry_run=True)
    second = await asked(shop, wish("A", "12"), wish("B", "12"))
    assert await items(shop, first) == [("SUPERSEDED", None, True), ("SENT", None, True)]
    assert await items(shop, preview) == [("PENDING", None, False)]
    assert await items(shop, second) == [("PENDING", None, True)] * 2
    assert await wanted(shop) == {id_of("A"): "12", id_of("B"): "12"}


async def test_of_two_desks_at_once_one_is_wanted_and_the_other_superseded(shop: Store) -> None:
    made = await asyncio.gather(*(asked(shop, wish("A", str(amount))) for amount in range(11, 17)))
    states = {str(11 + n): (await items(shop, one))[0][0] for n, one in enumerate(made)}
    [standing] = [amount for amount, status in states.items() if status == "PENDING"]
    assert set(states.values()) == {"PENDING", "SUPERSEDED"}
    assert await wanted(shop) == {id_of("A"): standing}


async def test_a_key_makes_one_operation_however_often_it_comes_and_with_other_contents_none(shop: Store) -> None:
    made = await asyncio.gather(*(asked(shop, wish("A", "11"), key="k") for _ in range(4)))
    assert len({one.id for one in made}) == 1
    with pytest.raises(Conflict):
        await asked(shop, wish("A", "12"), key="k")
    assert await wanted(shop) == {id_of("A"): "11"}


async def test_a_preview_holds_nothing_and_its_approval_releases_exactly_its_rows(shop: Store) -> None:
    one = await asked(shop, wish("A", "11"), wish("B", "11"), dry_run=True)
    assert one.status is OperationStatus.PREVIEW
    assert await wanted(shop) == {}
    assert (await approved(shop, one, by="ann")).status is OperationStatus.QUEUED
    assert await items(shop, one) == [("PENDING", None, True)] * 2
    assert await wanted(shop) == {id_of("A"): "11", id_of("B"): "11"}
    with pytest.raises(Conflict, match="only one that is PREVIEW"):
        await approved(shop, one)


async def test_a_row_that_moved_since_its_preview_is_refused_by_name_and_the_others_go(shop: Store) -> None:
    one = await asked(shop, wish("A", "11"), wish("B", "11"), dry_run=True)
    await asked(shop, wish("B", "9"))
    assert (await approved(shop, one)).status is OperationStatus.RUNNING
    assert await items(shop, one) == [("PENDING", None, True), ("FAILED", "MOVED", False)]
    async with shop.begin() as tx:
        (_, moved), _ = await operation.items(tx, one.id, first=5)
    assert moved.error is not None
    assert moved.error.message.startswith("What shop/B was judged by has changed")
    assert await wanted(shop) == {id_of("A"): "11", id_of("B"): "9"}


async def test_what_was_shown_of_a_margin_a_sale_or_rules_has_to_hold_when_it_is_approved(shop: Store) -> None:
    """Each in turn, beside a row of which nothing changes."""
    now = datetime.now(UTC)
    sale = Sale(Money(Decimal(9), "EUR"), None, now + timedelta(hours=1))
    on_sale = replace(wish("A", "11"), price=Price(Money(Decimal(11), "EUR"), sale))
    by_rule = replace(wish("A", "11", Origin.RULE), rules_version=1)

    def taken(referral: str) -> FeesEstimate:
        eur = Money(Decimal(referral), "EUR")
        fees = (Fee(FeeKind.REFERRAL, "", eur, eur),)
        price = OfferPrice(Money(Decimal(10), "EUR"))
        return FeesEstimate(Sku("A"), False, "", FulfilledBy.MERCHANT, price, datetime.now(UTC), eur, fees)

    async def told(referral: str) -> None:
        async with shop.begin() as tx:
            await tx.execute(update(product_table).values(cost_amount=Decimal(1), cost_currency="EUR"))
            await market.keep_fees(tx, [(id_of("A"), taken(referral))])

    async def ruled() -> None:
        async with shop.begin() as tx:
            await price_rules.keep(tx, PriceRules((PriceRule("x", base=Base(current=True)),)), "ann")

    async def nothing() -> None:
        pass

    await told("1")
    for one, later, meanwhile, words in (
        (wish("A", "11"), timedelta(0), partial(told, "2"), "Less would be left of shop/A than was shown"),
        (wish("A", "11"), timedelta(0), partial(told, "1"), ""),
        (on_sale, timedelta(hours=1), nothing, "The sale of shop/A is over by now"),
        (on_sale, timedelta(minutes=59), nothing, ""),
        (by_rule, timedelta(0), nothing, "Version 1 of the rules made the price of shop/A; version 0 holds by now"),
        (by_rule, timedelta(0), ruled, ""),
    ):
        preview = await asked(shop, one, wish("B", "11"), dry_run=True)
        await meanwhile()
        async with shop.begin() as tx:
            await price_desk.approve(tx, preview.id, "bob", datetime.now(UTC) + later)
            (row, other), _ = await operation.items(tx, preview.id, first=5)
            assert other.error is None
            assert (row.error.message if row.error is not None else "").startswith(words)
            assert (row.error is None) == (not words)
            await tx.rollback()


async def test_where_every_row_moved_nothing_is_approved_and_it_stays_a_preview(shop: Store) -> None:
    one = await asked(shop, wish("A", "11"), dry_run=True)
    async with shop.begin() as tx:
        later = datetime.now(UTC) + timedelta(seconds=1)
        await tx.execute(update(listing_table).values(price_amount=Decimal(8), as_of=later))
    with pytest.raises(Conflict, match="Ask for a new preview"):
        await approved(shop, one)
    assert await items(shop, one) == [("PENDING", None, False)]


async def test_what_a_guard_says_now_and_did_not_say_then_keeps_its_row_back(shop: Store) -> None:
    one = await asked(shop, wish("A", "100"), wish("B", "10.50"), dry_run=True)
    async with shop.begin() as tx:
        await price_guard.keep(tx, PriceGuards(version=1), "boss")  # the usual guards
    await approved(shop, one)
    assert await items(shop, one) == [("FAILED", "GUARD", False), ("PENDING", None, True)]


class TestSecondPerson:
    """What one may not do alone: here nobody moves a price by more than 2 EUR."""

    @pytest.fixture
    async def strict(self, shop: Store) -> Store:
        async with shop.begin() as tx:
            bound = Approval(row={"EUR": Decimal(2)})
            await price_guard.keep(tx, unguarded(version=1, approval=bound), "boss")
        return shop

    async def test_a_small_change_goes_at_once_and_a_large_one_waits(self, strict: Store) -> None:
        assert (await asked(strict, wish("A", "12"))).status is OperationStatus.QUEUED
        assert (await asked(strict, wish("B", "12.01"))).status is OperationStatus.AWAITING_APPROVAL
        assert await wanted(strict) == {id_of("A"): "12"}

    @pytest.mark.parametrize("dry_run", [False, True])
    async def test_its_author_cannot_approve_it_and_somebody_else_can(self, strict: Store, dry_run: bool) -> None:
        one = await asked(strict, wish("A", "20"), dry_run=dry_run)
        with pytest.raises(Forbidden):
            await approved(strict, one, by="ann")
        assert await items(strict, one) == [("PENDING", None, False)]
        assert (await approved(strict, one, by="bob")).status is OperationStatus.QUEUED
        assert await items(strict, one) == [("PENDING", None, True)]
        async with strict.begin() as tx:
            event = (
                await tx.execute(select(price_event.c.requested_by, price_event.c.approved_by).where(WAS_ASKED))
            ).one()
        assert tuple(event) == ("ann", "bob")

    async def test_a_preview_from_before_the_rule_wants_the_second_person_too(self, shop: Store) -> None:
        one = await asked(shop, wish("A", "20"), dry_run=True)
        async with shop.begin() as tx:
            await price_guard.keep(tx, unguarded(version=1, approval=Approval(rows=0)), "boss")
        with pytest.raises(Forbidden):
            await approved(shop, one, by="ann")
        assert (await approved(shop, one)).status is OperationStatus.QUEUED


async def test_of_rows_by_the_thousand_what_is_shown_already_is_not_sent_and_what_a_person_asks_for_is(
    shop: Store,
) -> None:
    by_file = await asked(shop, wish("A", "10.00", Origin.FILE), wish("B", "11", Origin.FILE))
    assert await items(shop, by_file) == [("VERIFIED", None, True), ("PENDING", None, True)]
    assert by_file.status is OperationStatus.RUNNING
    alone = await asked(shop, wish("A", "10.00", Origin.FILE))
    assert alone.status is OperationStatus.SUCCEEDED
    person = await asked(shop, wish("A", "10.00"))
    assert await items(shop, person) == [("PENDING", None, True)]


class TestRetry:
    async def test_what_failed_at_its_channel_is_tried_again_where_nothing_newer_was_asked_for(
        self, shop: Store
    ) -> None:
        first = await asked(shop, wish("A", "11"), wish("B", "11"))
        await fail(shop, first, "REFUSED")
        await asked(shop, wish("B", "12"))
        async with shop.begin() as tx:
            assert (await price_desk.retry(tx, first.id)).status is OperationStatus.RUNNING
        assert await items(shop, first) == [("PENDING", None, True), ("FAILED", "REFUSED", True)]
        assert await wanted(shop) == {id_of("A"): "11", id_of("B"): "12"}

    @pytest.mark.parametrize("code", [price_desk.GUARD, price_desk.MOVED])
    async def test_what_nobody_may_send_is_not(self, shop: Store, code: str) -> None:
        one = await asked(shop, wish("A", "11"))
        await fail(shop, one, code)
        with pytest.raises(Conflict, match="ask anew"):
            async with shop.begin() as tx:
                await price_desk.retry(tx, one.id)
        assert await items(shop, one) == [("FAILED", code, True)]


async def fail(store: Store, one: Operation, code: str) -> None:
    async with store.begin() as tx:
        values = {"status": ItemStatus.FAILED.value, "error_code": code, "error_message": "no"}
        await tx.execute(update(operation_item).where(i.operation_id == one.id).values(**values))
        await operation.refresh(tx, [one.id])


async def test_what_waits_behind_a_canary_is_overtaken_too(shop: Store) -> None:
    async with shop.begin() as tx:
        radius = Radius(rows=1, share=Decimal(0), step=Decimal(0), most=1)
        await price_guard.keep(tx, unguarded(version=1, radius=radius), "boss")
    first = await asked(shop, wish("A", "11"), wish("B", "11"))
    states = await items(shop, first)
    assert sorted(states) == [("PENDING", None, False), ("PENDING", None, True)]
    behind = "AB"[states.index(("PENDING", None, False))]
    await asked(shop, wish(behind, "12"))
    assert sorted(await items(shop, first)) == [("PENDING", None, True), ("SUPERSEDED", None, False)]
    assert (await wanted(shop))[id_of(behind)] == "12"


async def test_whatever_people_decide_a_listing_has_one_price_on_its_way_and_it_is_the_newest(shop: Store) -> None:
    """A walk through all that can be decided, with lanes that send and fail in between."""
    walk, made = Random(7), [await asked(shop, wish("A", "11"), wish("B", "11"))]
    seen: Counter[str] = Counter()
    for step in range(60):
        one = walk.choice(made[-4:])
        what = walk.choice(["ask", "preview", "approve", "cancel", "retry", "send", "fail"])
        if what in ("ask", "preview"):
            skus = walk.choice(["A", "B", "AB"])
            wishes = [wish(sku, f"{walk.randint(11, 14)}.{step:02}") for sku in skus]
            made.append(await asked(shop, *wishes, dry_run=what == "preview"))
        elif what in ("send", "fail"):
            status = "SENT" if what == "send" else "FAILED"
            mine = (i.operation_id == one.id, i.status == "PENDING", i.released)
            async with shop.begin() as tx:
                await tx.execute(update(operation_item).where(*mine).values(status=status))
                await operation.refresh(tx, [one.id])
        else:
            decide = {"approve": price_desk.approve, "cancel": operation.cancel, "retry": price_desk.retry}[what]
            by = ("bob", datetime.now(UTC)) if what == "approve" else ()
            try:
                async with shop.begin() as tx:
                    await decide(tx, one.id, *by)  # type: ignore[operator]
            except Conflict:
                what = f"not {what}"
        seen[what] += 1
        await check(shop)
    assert set(seen) >= {"ask", "preview", "approve", "not approve", "cancel", "retry", "send", "fail"}


async def check(store: Store) -> None:
    async with store.begin() as tx:
        unsent = select(i.resource, i.id).where(i.released, i.status == "PENDING")
        waiting = [(row.resource, row.id) for row in await tx.execute(unsent)]
        newest = {
            price_desk.resource(row.listing): row.wanted_item
            for row in await tx.execute(select(listing_price.c.listing, listing_price.c.wanted_item))
        }
    assert waiting == [(resource, newest[resource]) for resource, _ in waiting]


async def test_an_operation_is_counted_as_it_was_shown(shop: Store) -> None:
    sale = Price(Money(Decimal(20), "EUR"), Sale(Money(Decimal(5), "EUR")))
    one = await asked(shop, wish("A", "15"), PriceWish(**fields(wish("B", "1")) | {"price": sale}), dry_run=True)
    async with shop.begin() as tx:
        told = (await price_desk.summaries(tx, [one.id, OperationId("none")]))[one.id]
    assert (told.rows, told.refused, told.held, told.idle, told.unknown) == (2, 0, 0, 0, 0)
    assert (told.fall, told.rise) == (Decimal("-50.0"), Decimal("50.0"))
    assert [(lane.channel, lane.marketplace, lane.rows, lane.parts) for lane in told.lanes] == [(SHOP, None, 2, 2)]


def fields(one: PriceWish) -> dict[str, Any]:
    return {name: getattr(one, name) for name in PriceWish.__dataclass_fields__}

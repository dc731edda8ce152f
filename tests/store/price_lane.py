"""A shop whose prices change by a lane that never fails, for tests of what is asked of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from domain.ids import ChannelId, ChannelSku, ListingId, OperationId, Sku, listing_id
from domain.money import Money
from domain.operation import Capability, ItemError, ItemStatus, Operation, Outcome
from domain.price import Origin, Price, PriceWish
from domain.price_canary import Radius
from domain.price_guard import PriceGuards
from domain.product import FulfilledBy, Listing
from store import agenda, price, price_desk, price_guard, product
from store.session import Store, among
from store.tables import listing as listing_table
from store.tables import operation_item

SHOP = ChannelId("shop")
i = operation_item.c
EVERYTHING = 100_000
NOWHERE = Radius(share=Decimal(100))
"""However far a change reaches, all of it goes at once."""


def id_of(sku: str) -> ListingId:
    return listing_id(SHOP, None, ChannelSku(sku))


def euros(amount: str) -> Price:
    return Price(Money(Decimal(amount), "EUR"))


def wish(sku: str, amount: str, **more: Any) -> PriceWish:
    values: dict[str, Any] = {"price": euros(amount), "origin": Origin.MUTATION, "reason": "because"} | more
    return PriceWish(id_of(sku), SHOP, None, ChannelSku(sku), Sku(sku), {"product": sku}, **values)


def sold(sku: str, amount: str, at: datetime | None = None, **more: Any) -> Listing:
    values: dict[str, Any] = {
        "id": id_of(sku),
        "channel": SHOP,
        "marketplace": None,
        "channel_sku": ChannelSku(sku),
        "external_id": sku,
        "status": "ACTIVE",
        "fulfilled_by": FulfilledBy.MERCHANT,
        "as_of": at or datetime.now(UTC),
        "sku": Sku(sku),
        "price": Money(Decimal(amount), "EUR"),
    }
    return Listing(**values | more)


async def guarded(store: Store, *guards: Any, radius: Radius = NOWHERE) -> None:
    """From now on these guards hold, and no other."""
    async with store.begin() as tx:
        version = (await price_guard.current(tx)).version
        await price_guard.keep(tx, PriceGuards(version=version, guards=tuple(guards), radius=radius), "boss")


async def listed(store: Store, *listings: Listing) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(tx, listings)


async def asked(store: Store, *wishes: PriceWish, by: str = "ann", dry_run: bool = False) -> Operation:
    async with store.begin() as tx:
        request = price_desk.Request(by, repr(wishes), datetime.now(UTC), dry_run=dry_run)
        return (await price_desk.keep(tx, request, wishes))[0]


async def carried(store: Store, *, but: Collection[str] = (), as_: ItemStatus = ItemStatus.FAILED) -> list[str]:
    """Carry out all that is due in the shop's lane: what each row asks for is seen live, those of the SKUs `but` end otherwise.
    Returns the keys of what was sent."""
    async with store.begin() as tx:
        due = await agenda.claim(tx, SHOP, Capability.PRICES, limit=EVERYTHING, lease_s=60.0, worker="w1")
        fresh = [one for one in due if one.was is ItemStatus.PENDING]
        for one in fresh:
            assert await agenda.mark_sent(tx, one.id, one.fence, 60.0)
        # What was taken before and is not seen yet stays so.
        ends = [_end(one, but, as_) for one in fresh]
        ends += [Outcome(one.id, one.fence, one.was, 60.0) for one in due if one not in fresh]
        await agenda.record(tx, ends)
        # Read back before another transaction begins, as time goes on in between.
        now = datetime.now(UTC)
        await price.seen_live(tx, {one.item: now for one in ends if one.status is ItemStatus.VERIFIED})
        await price.failed(tx, [one.item for one in ends if one.status is ItemStatus.FAILED])
    return [str(one.payload["channel_sku"]) for one in fresh]


def _end(one: Any, but: Collection[str], as_: ItemStatus) -> Outcome:
    bad = one.payload["channel_sku"] in but
    error = ItemError("REFUSED", "no") if bad and as_ is ItemStatus.FAILED else None
    return Outcome(one.id, one.fence, as_ if bad else ItemStatus.VERIFIED, error=error)


async def items(store: Store, id: OperationId) -> list[tuple[str, str, str | None]]:
    """Key, status and error code of each row."""
    async with store.begin() as tx:
        rows = await tx.execute(select(i.payload, i.status, i.error_code).where(i.operation_id == id).order_by(i.id))
        return [(row.payload["channel_sku"], row.status, row.error_code) for row in rows]


async def shown(store: Store, *skus: str) -> list[str]:
    """What the shop shows."""
    found = await prices(store, [id_of(sku) for sku in skus])
    return [found[id_of(sku)] for sku in skus]


async def prices(store: Store, ids: Sequence[ListingId]) -> dict[ListingId, str]:
    async with store.begin() as tx:
        c = listing_table.c
        rows = await tx.execute(select(c.id, c.price_amount).where(among(c.id, ids)))
        return {row.id: f"{row.price_amount:f}" for row in rows}

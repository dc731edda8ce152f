"""A shop and an Amazon account that sell from one warehouse of ours, and the two loops that tell them how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import exists, func, select, update

from domain.channel import LEDGER, Location, LocationKind, Platform, StreamName
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku, listing_id
from domain.ledger import EntryKind, NewEntry
from domain.product import FulfilledBy, Listing
from store import ledger, product, stream
from store.session import Store
from store.tables import channel_stock, sku_stock, stock_push
from tests.workers.fake_port import FakePort, make_port
from tests.workers.house import make_deps, until
from workers.deps import Deps
from workers.propagation import Propagation
from workers.push import Push
from workers.streams import register

SHOP, AMAZON = ChannelId("shop"), ChannelId("amazon")
PLACE = "Berlin"
"""What the shop calls the warehouse."""
LAG_S = 0.01

BERLIN = Location(
    LocationCode("BER"), "Berlin", LocationKind.WAREHOUSE, LEDGER, "BER", shown={SHOP: PLACE}, opens_from=SHOP
)


@dataclass(slots=True)
class Market:
    """One worker's loops, run by hand: `settle` does what there is to do now."""

    store: Store
    deps: Deps
    shop: FakePort
    amazon: FakePort
    propagation: Propagation
    push: Push

    async def sell(
        self, sku: str, *channels: ChannelId, channel_sku: str | None = None, stock: int | None = None
    ) -> None:
        """List a SKU in these channels (both without any); with `stock` as many units lie in Berlin."""
        listings = [make_listing_of(id, sku, channel_sku or sku) for id in channels or (SHOP, AMAZON)]
        async with self.store.begin() as tx:
            await product.upsert_listings(tx, listings)
        if stock is not None:
            await self.count(sku, stock)

    async def count(self, sku: str, change: int) -> None:
        """So many units more (or fewer) lie in Berlin."""
        kind = EntryKind.ADJUSTMENT
        entry = NewEntry(Sku(sku), BERLIN.code, kind, "a test", "tests", "test", on_hand=change)
        async with self.store.begin() as tx:
            await ledger.post(tx, [entry])

    async def propagate(self) -> None:
        """Compute whatever waits."""
        while await self.propagation.once():
            pass

    async def tell(self) -> None:
        """Tell and look at whatever is due."""
        await self.push.once()
        await self.push.idle()

    async def settle(self) -> None:
        """Compute, tell and look at what is due now."""
        await self.propagate()
        await self.tell()

    async def hurry(self) -> None:
        """What is due later is due now, and no channel is left alone any more."""
        self.push._holds.clear()
        async with self.store.begin() as tx:
            c = channel_stock.c
            await tx.execute(update(channel_stock).where(c.due_at.is_not(None)).values(due_at=func.now()))

    async def rested(self, within_s: float = 60.0) -> None:
        """Settle until every number is told and seen."""

        async def at_rest() -> bool:
            await self.settle()
            async with self.store.begin() as tx:
                c = channel_stock.c
                unrested = c.due_at.is_not(None) | c.told.is_distinct_from(c.target) | c.confirmed_at.is_(None)
                dirty = sku_stock.c.dirty_since.is_not(None)
                return not await tx.scalar(select(exists().where(unrested) | exists().where(dirty)))

        await until(at_rest, within_s=within_s)

    async def row(self, channel: ChannelId, sku: str = "A") -> Any:
        """The only number of a channel's SKU, as its row has it."""
        async with self.store.begin() as tx:
            c = channel_stock.c
            return (await tx.execute(select(channel_stock).where(c.channel == channel, c.channel_sku == sku))).one()

    async def pushes(self, channel: ChannelId) -> Sequence[Any]:
        """What was sent to a channel, in order."""
        async with self.store.begin() as tx:
            p = stock_push.c
            return (await tx.execute(select(stock_push).where(p.channel == channel).order_by(p.id))).all()

    async def pushes_of(self, channel: ChannelId, sku: str) -> Sequence[Any]:
        """What was sent of one SKU."""
        return [push for push in await self.pushes(channel) if push.sku == sku]

    def shown(self, sku: str = "A") -> tuple[int | None, int | None]:
        """What buyers see in the shop and at Amazon."""
        return self.shop.number(sku, PLACE), self.amazon.number(sku)


def make_listing_of(
    channel: ChannelId, sku: str, channel_sku: str, *, by: FulfilledBy = FulfilledBy.MERCHANT
) -> Listing:
    """A listing that is mapped to our SKU."""
    marketplace = None if channel == SHOP else "DE"
    return Listing(
        id=listing_id(channel, marketplace, ChannelSku(channel_sku)),
        channel=channel,
        marketplace=marketplace,
        channel_sku=ChannelSku(channel_sku),
        external_id=f"X-{channel_sku}",
        status="ACTIVE",
        fulfilled_by=by,
        as_of=datetime.now(UTC),
        sku=Sku(sku),
        title=f"Title of {sku}",
        refs={"item": f"i-{channel_sku}"},
    )


async def make_market(
    store: Store,
    redis: Redis,
    *,
    shop: FakePort | None = None,
    orders_read: bool = True,
    locations: Sequence[Location] = (BERLIN,),
    **more: Any,
) -> Market:
    """A market whose channels have told their orders once (`orders_read`)."""
    shop, amazon = shop or make_port("shop"), make_port("amazon", Platform.AMAZON)
    shop.visibility_lag_s = amazon.visibility_lag_s = LAG_S
    amazon.tell_batch = 1
    deps = make_deps(store, redis, [shop, amazon], locations=list(locations), **more)
    await register(deps)
    if orders_read:
        for id in (SHOP, AMAZON):
            await read_orders(store, id)
    push = Push(deps, lambda: None)
    return Market(store, deps, shop, amazon, Propagation(deps, lambda: None, push.woken), push)


async def read_orders(store: Store, channel: ChannelId) -> None:
    """A run of the channel's orders that was asked for or not has come to its end."""
    now = datetime.now(UTC)
    async with store.begin() as tx:
        await stream.claim_due(tx, 1.0, 100)
        await stream.finished(tx, channel, StreamName.ORDERS, now, now)

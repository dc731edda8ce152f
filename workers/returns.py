"""The stream RETURNS: what comes back of orders, as each channel tells it.

Amazon tells of all orders by reports and transactions. Shops tell it with the refunds of an order, which are read of those orders
that have changed and that the shop itself calls refunded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from adapters.port import OrderKey, Page, Port
from adapters.returns import Returns
from adapters.storefront import Refunds
from domain.budget import Ask
from domain.chain import Piece
from domain.channel import StreamName
from domain.errors import NotFound, Refused, Transient
from domain.ids import ChannelId, OrderId
from domain.order import Order
from domain.product import Rejected
from domain.refunded import pieces_of
from store import chain, order, quarantine, stream
from workers.deps import Deps

FIRST = timedelta(days=60)
AT_ONCE = 50


def tells_of_returns(port: Port) -> bool:
    """Whether there is anything to read."""
    return StreamName.RETURNS in port.every and isinstance(port, Returns | Refunds)


async def changed(deps: Deps, port: Port, since: datetime, ask: Ask) -> AsyncIterator[Page[Piece]]:
    """The pieces told since then. Raises what stopped it."""
    if isinstance(port, Returns):
        async for page in port.return_pages(since, ask):
            yield page
    elif isinstance(port, Refunds):
        async for page in _of_shop(deps, port.channel.id, port, since, ask):
            yield page


async def keep(deps: Deps, page: Page[Piece]) -> None:
    """Keep a page; its chains follow."""
    async with deps.store.begin() as tx:
        await quarantine.keep(tx, page.rejected)
        await chain.keep(tx, page.items)


async def _of_shop(deps: Deps, id: ChannelId, port: Refunds, since: datetime, ask: Ask) -> AsyncIterator[Page[Piece]]:
    """Told is no more than the orders have been read for: their own stream may be behind."""
    async with deps.store.begin() as tx:
        states = {one.name: one for one in await stream.states(tx, [id])}
    read_until = states[StreamName.ORDERS].cursor if StreamName.ORDERS in states else None
    desk = _Desk(deps, id, port, ask)
    after: tuple[datetime, OrderId] | None = None
    while True:
        async with deps.store.begin() as tx:
            found = await chain.refunded(tx, id, since, after, AT_ONCE)
            orders = await order.by_ids(tx, [one for _, one in found])
        for _, one in found:
            yield await desk.read(orders[one])
        if len(found) < AT_ONCE:
            break
        after = found[-1]
    yield Page(await desk.again(), desk.rejected, until=max(since, read_until or since))


@dataclass(slots=True)
class _Desk:
    """Reads the refunds of one order after the other. One that cannot be read holds up no other: it is tried again at the end,
    and goes to the quarantine when others can be read then; else the shop is away, and the run fails."""

    deps: Deps
    channel: ChannelId
    port: Refunds
    ask: Ask
    rejected: list[Rejected] = field(default_factory=list)
    _unread: list[Order] = field(default_factory=list)
    _last_read: Order | None = None

    async def read(self, one: Order) -> Page[Piece]:
        """What is understood of its refunds."""
        try:
            found = await self._refunds(one)
        except NotFound:
            return Page([])
        except Transient:
            self._unread.append(one)
            return Page([])
        self._last_read = one
        return found

    async def again(self) -> list[Piece]:
        """What is understood at the second try."""
        pieces: list[Piece] = []
        failed: list[tuple[Order, Transient]] = []
        for one in self._unread:
            try:
                page = await self._refunds(one)
            except Transient as problem:
                failed.append((one, problem))
            else:
                self._last_read = one
                pieces += page.items
                self.rejected += page.rejected
        if failed and self._last_read is None:
            raise failed[0][1]
        if failed and self._last_read is not None:
            await self._refunds(self._last_read)  # raises where it is the shop that cannot be read
            self.rejected += [Rejected(self.channel, "refund", one.external_id, why.words, "") for one, why in failed]
        return pieces

    async def _refunds(self, one: Order) -> Page[Piece]:
        page: Page[Piece] = Page([])
        for refund in await self.port.refunds(OrderKey(one.external_id, one.marketplace, one.refs), self.ask):
            try:
                page.items += pieces_of(one, refund, self._by_shop)
            except Refused as problem:
                page.rejected.append(Rejected(self.channel, "refund", refund.reference, problem.message, ""))
        return page

    def _by_shop(self, place: str | None) -> bool:
        """Whether the shop counts at the place; where it names none, whether it counts anywhere but at places of ours."""
        places: Sequence[bool] = [
            one.keeper == self.channel
            for one in self.deps.locations
            if place is None or place in (one.shown.get(self.channel), one.external_id)
            if one.keeper == self.channel or self.channel in one.shown
        ]
        return all(places)

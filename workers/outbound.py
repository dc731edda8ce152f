"""The capability OUTBOUND: have a platform ship another channel's order out of its stock, once, stop it again, or expect units of
it back.

Whom it is for is opened here, for the platform alone; an item never holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fulfillment import Outbound, Ships
from adapters.port import BeforeSend
from domain.budget import Ask
from domain.errors import Conflict, Invalid, NotFound, Refused
from domain.exchange import about_item_of
from domain.ids import ChannelId, OrderId
from domain.operation import ClaimedItem
from domain.order import SHIPPABLE, Order
from domain.outbound import ENDED, OutboundOrder, OutboundState, OutboundStatus, Preview, Wanted, preview_from_json
from domain.outbound_return import ReturnedUnit, ReturnWanted
from domain.shipment import Promises
from store import order, outbound, outbound_return, person, shipment
from store.keyring import Unopened
from workers.deps import Deps
from workers.lanes import Keep, Worked
from workers.writes import Looked, Sent, Write, carry


async def work(deps: Deps, item: ClaimedItem) -> Worked:
    """One step of one item. Raises nothing but cancellation."""
    return await carry(deps, item, _read)


def outbound_of(deps: Deps, id: ChannelId) -> Outbound:
    """What ships for others at the channel. Raises Invalid where nothing does."""
    port = deps.ports[id]
    if not isinstance(port, Ships):
        raise Invalid(f"{id} ships nothing for other channels.")
    return port.outbound


async def addressed(deps: Deps, wanted: Wanted) -> OutboundOrder:
    """The order with whom it is for. Raises Invalid where that is not kept, cannot be opened, or is not enough."""
    try:
        async with deps.store.begin() as tx:
            known = (await person.by_orders(tx, deps.ring, [wanted.order])).get(wanted.order)
    except Unopened as problem:
        # A key that is missing here is no reason to pause all work with the platform.
        raise Invalid(f"{problem.message} Put the key back into ACORN_KEYS, then retry.") from None
    if known is None or known.ship_to is None:
        raise Invalid(
            f"No address is kept of order {wanted.shown_id}. Set `buyers = true` for its channel and let the order be read again."
        )
    return wanted.to(known.ship_to.address(known.email))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """What both kinds of items have in common. `lag_s` is how long the platform takes to show a change."""

    deps: Deps
    item: ClaimedItem
    outbound: Outbound
    lag_s: float
    external_id: str
    looks_first: bool = True

    @property
    def about(self) -> tuple[str, ...]:
        return about_item_of(self.item.id, self.item.operation, self.external_id)

    async def whole(self, looked: Looked, ask: Ask) -> Looked:
        return looked


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shipping(_Item):
    """An order to be shipped. `preview` is what was approved."""

    wanted: Wanted
    preview: Preview | None

    async def send(self, ask: Ask, before_send: BeforeSend, *, sent_before: bool) -> Sent:
        """Raises Conflict where the order is not to be shipped (so) any more."""
        wrong = await self._wrong()
        if wrong is not None and not sent_before:
            raise wrong
        if wrong is not None:
            return self._taken(await self._there(wrong, ask))
        try:
            order = await addressed(self.deps, self.wanted)
        except Invalid as problem:
            if not sent_before:
                raise
            return self._taken(await self._there(problem, ask))
        taken = await self.outbound.create(order, ask, before_send, sent_before=sent_before, preview=self.preview)
        return self._taken(taken.upstream_request_id, live=taken.state is not None)

    async def look(self, ask: Ask) -> Looked:
        try:
            state = await self.outbound.track(self.wanted.id, ask)
        except NotFound as problem:
            return Looked(False, problem.upstream_request_id, missing="no such order")
        if state.status is OutboundStatus.INVALID:
            wrong = Invalid(
                f"{self.wanted.channel} took the order {self.wanted.id} and then found it {state.channel_status}.",
                upstream_request_id=state.upstream_request_id,
            )
            return Looked(False, state.upstream_request_id, refused=wrong)
        return Looked(True, state.upstream_request_id)

    async def _wrong(self) -> Refused | None:
        """Why it must not be sent: between being asked for and now days may lie."""
        async with self.deps.store.begin() as tx:
            orders, promises = await shipment.locked(tx, [self.wanted.order])
        return unfit(orders.get(self.wanted.order), promises, self.wanted)

    async def _there(self, wrong: Refused, ask: Ask) -> str | None:
        """An earlier attempt may have been taken all the same. Raises `wrong` where it was not."""
        try:
            return (await self.outbound.track(self.wanted.id, ask)).upstream_request_id
        except NotFound:
            raise wrong from None

    def _taken(self, request_id: str | None, *, live: bool = False) -> Sent:
        async def keep(tx: AsyncConnection) -> None:
            await outbound.take(tx, self.wanted, self.item.operation, self.preview, request_id)

        return Sent(request_id, live=live, keep=keep, locks=frozenset({self.wanted.order}))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stopping(_Item):
    """An order that is not to be shipped after all."""

    id: str

    async def send(self, ask: Ask, before_send: BeforeSend, *, sent_before: bool) -> Sent:
        taken = await self.outbound.cancel(self.id, ask, before_send)
        return Sent(taken.upstream_request_id, live=_stopped(taken.state), keep=self._looked_at)

    async def look(self, ask: Ask) -> Looked:
        state = await self.outbound.track(self.id, ask)
        if state.status in ENDED and not _stopped(state):
            late = Refused(
                f"It was too late to cancel the outbound order {self.id}: it stands at {state.channel_status}.",
                upstream_request_id=state.upstream_request_id,
            )
            return Looked(False, state.upstream_request_id, refused=late)
        return Looked(_stopped(state), state.upstream_request_id, missing="it not canceled", keep=self._looked_at)

    async def _looked_at(self, tx: AsyncConnection) -> None:
        """Whoever follows the order gives its units back."""
        await outbound.hurry(tx, ChannelId(self.item.channel), [self.id])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Returning(_Item):
    """Units that are to be expected back."""

    order: OrderId
    wanted: ReturnWanted

    async def send(self, ask: Ask, before_send: BeforeSend, *, sent_before: bool) -> Sent:
        told = await self.outbound.announce_return(self.wanted, ask, before_send, sent_before=sent_before)
        return Sent(
            told.upstream_request_id,
            live=self._whole(told.units),
            keep=self._kept(told.units, told.upstream_request_id),
            detail={"refused": told.refused} if told.refused else {},
            locks=frozenset({self.order}),
        )

    async def look(self, ask: Ask) -> Looked:
        state = await self.outbound.track(self.wanted.order_id, ask)
        ids = {one.id for one in self.wanted.units}
        shown = [one for one in state.returns if one.id in ids]
        if self._whole(shown):
            keep = self._kept(shown, state.upstream_request_id)
            return Looked(True, state.upstream_request_id, keep=keep, locks=frozenset({self.order}))
        if words := self.item.payload.get("refused"):
            some = f"Of {len(ids)} units {len(shown)} can come back. {words}"
            wrong = Refused(some, upstream_request_id=state.upstream_request_id)
            return Looked(False, state.upstream_request_id, refused=wrong)
        return Looked(False, state.upstream_request_id, missing="no such return")

    def _whole(self, shown: Sequence[ReturnedUnit]) -> bool:
        return len(shown) == len(self.wanted.units)

    def _kept(self, shown: Sequence[ReturnedUnit], request_id: str | None) -> Keep:
        async def keep(tx: AsyncConnection) -> None:
            found = (await order.by_ids(tx, [self.order]))[self.order]
            one = (await outbound.by_ids(tx, [self.wanted.order_id]))[self.wanted.order_id]
            await outbound_return.keep(tx, found, one, shown, self.item.operation, request_id)
            # Followed again, until the units are back.
            await outbound.hurry(tx, ChannelId(self.item.channel), [self.wanted.order_id])

        return keep


def unfit(found: Order | None, promises: Promises, wanted: Wanted) -> Refused | None:
    """Why an order of ours can no longer be shipped as it was wanted; `promises` has the units of this very attempt too."""
    if found is None or found.status not in SHIPPABLE:
        word = "gone" if found is None else found.status.value
        return Conflict(f"Order {wanted.shown_id} is {word} by now and is not to be shipped.")
    if found.held is not None:
        return Conflict(f"Order {wanted.shown_id} is held and cannot ship: {found.held} Release or approve it first.")
    if found.id in promises.cancels:
        return Conflict(f"Order {wanted.shown_id} is being cancelled.")
    open_now = {line.id: line.quantity_open for line in found.lines}
    if any(promises.units[found.id, one.external_id] > open_now.get(one.line, 0) for one in wanted.lines):
        return Conflict(f"Fewer units of order {wanted.shown_id} are open by now than were to be shipped.")
    return None


def _stopped(state: OutboundState | None) -> bool:
    return state is not None and state.status is OutboundStatus.CANCELLED


def _read(deps: Deps, item: ClaimedItem) -> Write:
    channel = ChannelId(item.channel)
    common: dict[str, Any] = {
        "deps": deps,
        "item": item,
        "outbound": outbound_of(deps, channel),
        "lag_s": deps.ports[channel].visibility_lag_s,
        "external_id": str(item.payload["external_id"]),
    }
    if item.payload["do"] == outbound.CANCEL:
        return _Stopping(**common, id=str(item.payload["outbound_id"]))
    if item.payload["do"] == outbound_return.RETURN:
        order_id = OrderId(str(item.payload["order_id"]))
        return _Returning(**common, order=order_id, wanted=outbound_return.wanted_of(item.payload))
    quote = item.payload.get("quote")
    preview = preview_from_json(quote["preview"]) if isinstance(quote, dict) and "preview" in quote else None
    return _Shipping(**common, wanted=Wanted.from_json(item.payload), preview=preview)

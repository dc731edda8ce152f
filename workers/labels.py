"""The capability LABELS: buy a label for a parcel, once, and keep what is to be printed; or ask the money for one back.

A lane is (who sells, LABELS): a carrier of ours, or a channel that sells labels for its own orders. The reference of a label is
made with its item, so whatever crashes, it is one purchase. The offer that is taken is on the item's row before anything is
bought: who takes up an unknown outcome asks for the same again. Where the buyer lives is read here, by who needs it, and stands
on no item.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fulfillment import LabelBooks, LabelShop
from adapters.port import BeforeSend
from domain.budget import Ask
from domain.errors import Conflict, Invalid, NotFound, OutcomeUnknown, Refused
from domain.exchange import about_item_of
from domain.ids import ChannelId, OperationId, line_id
from domain.label import HOLDING, KeptLabel, LabelStatus, LabelWanted, Offer, Purchase, Voided, taken
from domain.operation import ClaimedItem, ItemStatus, Kind, OperationStatus
from domain.order import SHIPPABLE, Order, OrderStatus
from domain.package import Package
from domain.shipment import ShipmentRequest, ShippedLine, item_of
from domain.timeline import Step, StepKind
from store import agenda, label, operation, order, person, shipment, timeline
from workers.deps import Deps
from workers.lanes import Worked
from workers.writes import Looked, Sent, Write, carry


async def work(deps: Deps, item: ClaimedItem) -> Worked:
    """One step of one label. Raises nothing but cancellation."""
    return await carry(deps, item, _read)


def _read(deps: Deps, item: ClaimedItem) -> Write:
    shop = deps.label_shops[ChannelId(item.channel)]
    if "void" in item.payload:
        return _Void(deps, item, shop, str(item.payload["void"]))
    return _Buy(deps, item, shop, Package.from_json(item.payload))


@dataclass(frozen=True, slots=True)
class _Label:
    """What both have in common."""

    deps: Deps
    item: ClaimedItem
    shop: LabelShop

    @property
    def looks_first(self) -> bool:
        """Whoever sells labels is asked for the same again, and sells it once."""
        return True

    @property
    def lag_s(self) -> float:
        return self.shop.lag_s

    @property
    def about(self) -> tuple[str, ...]:
        item = self.item
        return about_item_of(item.id, item.operation, str(item.payload["external_id"]))

    @property
    def by(self) -> str:
        """Who asked for it."""
        return str(self.item.payload["by"])

    async def whole(self, looked: Looked, ask: Ask) -> Looked:
        """A look at a label shows all of it."""
        return looked


@dataclass(frozen=True, slots=True)
class _Buy(_Label):
    """A label that is wanted."""

    package: Package

    @property
    def doubtful(self) -> bool:
        """Whether an earlier attempt may have bought it: all others are known to have changed nothing."""
        return self.item.was is ItemStatus.SENT

    async def send(self, ask: Ask, before_send: BeforeSend, *, sent_before: bool) -> Sent:
        left = False

        async def leaving() -> None:
            nonlocal left
            await before_send()
            left = True

        try:
            found, wanted = await self._wanted()
            offer = await self._offer(found, wanted, ask)
            bought = await self.shop.labels.buy(wanted, offer, ask, leaving, sent_before=self.doubtful)
        except Refused as problem:
            if left or not self.doubtful:
                raise
            # A refusal of looking for it says nothing of the attempt before.
            raise OutcomeUnknown(f"Whether it was bought cannot be found out any more: {problem.message}") from problem
        complete = bought.label is not None or not self._told_again(bought.shipment_id)
        keep = partial(self._keep, bought=bought, offer=offer, complete=complete)
        detail = {"shipment_id": bought.shipment_id or "", "offer": json.dumps(offer.to_json())}
        return Sent(
            bought.upstream_request_id, live=complete, keep=keep, detail=detail, locks=frozenset({self.package.order})
        )

    async def look(self, ask: Ask) -> Looked:
        """For the document of what has been bought."""
        books, payload = self.shop.labels, self.item.payload
        assert isinstance(books, LabelBooks), "only who can be asked again is asked again"
        bought = await books.shipment(self.package.reference, str(payload["shipment_id"]), ask)
        offer = Offer.from_json(json.loads(str(payload["offer"])))
        keep = partial(self._keep, bought=bought, offer=offer, complete=True)
        return Looked(
            bought.label is not None or bought.status is not LabelStatus.BOUGHT,
            bought.upstream_request_id,
            missing=bought.missing or "the label, and not its document",
            keep=keep,
            locks=frozenset({self.package.order}),
        )

    def _told_again(self, shipment_id: str | None) -> bool:
        return shipment_id is not None and isinstance(self.shop.labels, LabelBooks)

    async def _wanted(self) -> tuple[Order, LabelWanted]:
        """The order as it stands, and the parcel. Raises Refused for what cannot be sent (any more)."""
        async with self.deps.store.begin() as tx:
            id, own = self.package.order, self.shop.own
            found = (await order.by_ids(tx, [id])).get(id)
            labels = (await label.by_orders(tx, [id])).get(id, [])
            people = {} if own else await person.by_orders(tx, self.deps.ring, [id])
        if found is None:
            raise NotFound(f"There is no order {id} any more.")
        if not self.doubtful:
            _check(self.package, found, labels)
        wanted = self.package.wanted(found, self.deps.locations, people.get(id), own=own)
        known = self.item.payload.get("known")
        if self.doubtful and isinstance(known, list):
            # The parcel that is looked for may have come in with its order since.
            wanted = replace(wanted, known=frozenset(map(str, known)))
        return found, wanted

    async def _offer(self, found: Order, wanted: LabelWanted, ask: Ask) -> Offer:
        """The offer to be taken, on the item's row, with the parcels that were there before it."""
        kept = self.item.payload.get("offer")
        if self.doubtful and kept is not None:
            return Offer.from_json(json.loads(str(kept)))
        offers = await self.shop.labels.offers(wanted, ask)
        offer = taken(offers, self.package.wish, wanted.format, found.deliver_by)
        async with self.deps.store.begin() as tx:
            before = {"offer": json.dumps(offer.to_json()), "known": sorted(wanted.known)}
            await agenda.remember(tx, self.item.id, self.item.fence, before)
        return offer

    async def _keep(self, tx: AsyncConnection, *, bought: Purchase, offer: Offer, complete: bool) -> None:
        """The label, its document where it came with it, and its parcel confirmed once there is nothing more to come."""
        one = self._label(bought, offer)
        price = f"{one.price.amount} {one.price.currency}"
        fresh = await label.keep(tx, one)
        if fresh:
            words = f"Label bought: {one.carrier}, {one.service}, {price}, tracking number {one.tracking_number or 'unknown'}"
            step = Step(
                one.order,
                StepKind.LABEL_BOUGHT,
                self.by,
                words,
                f"label:{one.id}",
                operation=self.item.operation,
                upstream_request_id=bought.upstream_request_id,
            )
            await timeline.note(tx, [step])
        elif complete:
            told = label.Change(bought.status, bought.cost, bought.tracking_number, missing=bought.missing or "")
            await label.change(tx, one.id, told)
        await keep_document(tx, self.deps, one.id, bought)
        if complete and self.package.confirm and not bought.confirms_order:
            kept = (await label.by_ids(tx, [one.id]))[one.id]
            if kept.confirmed_by is None:
                await self._confirm(tx, kept)

    async def _confirm(self, tx: AsyncConnection, one: KeptLabel) -> None:
        """Have the parcel told to its order's channel: an operation of its own, once for a label."""
        orders, promises = await shipment.locked(tx, [one.order])
        request = ShipmentRequest(
            one.order,
            one.carrier,
            one.tracking_number or "",
            self.deps.clock(),
            tuple(ShippedLine(line_id(one.order, line), units) for line, units in one.lines),
            one.service,
        )
        platforms = {id: channel.platform for id, channel in self.deps.channels.items()}
        try:
            item = item_of(request, orders, promises, platforms, self.deps.clock())
        except Refused as problem:
            words = f"The label was bought, and its parcel was not confirmed: {problem.message}"
            await label.change(tx, one.id, label.Change(missing=words))
            return
        made, _ = await operation.create(
            tx,
            kind=Kind.CONFIRM_SHIPMENTS,
            requested_by=self.by,
            idempotency_key=f"label:{one.id}",
            request_hash=one.id,
            dry_run=False,
            status=OperationStatus.QUEUED,
            items=[item],
        )
        await label.change(tx, one.id, label.Change(confirmed_by=made.id))

    def _label(self, bought: Purchase, offer: Offer) -> KeptLabel:
        package = self.package
        return KeptLabel(
            id=package.reference,
            shop=self.shop.id,
            order=package.order,
            operation=self.item.operation,
            location=package.location,
            lines=package.lines,
            format=package.format,
            status=bought.status,
            carrier=bought.carrier or offer.carrier,
            service=offer.service,
            price=bought.cost or offer.price,
            tracking_number=bought.tracking_number,
            shipment_id=bought.shipment_id,
            confirms_order=bought.confirms_order,
            confirmed_by=None,
            replaces=package.replaces,
            missing=bought.missing,
            whereabouts=bought.whereabouts,
            bought_at=self.deps.clock(),
            printable=False,
        )


@dataclass(frozen=True, slots=True)
class _Void(_Label):
    """A label that is to be given back."""

    label_id: str

    async def send(self, ask: Ask, before_send: BeforeSend, *, sent_before: bool) -> Sent:
        async with self.deps.store.begin() as tx:
            one = (await label.by_ids(tx, [self.label_id]))[self.label_id]
            orders, promises = await shipment.locked(tx, [one.order])
        if one.status in (LabelStatus.REFUND_PENDING, LabelStatus.REFUNDED):
            return Sent(None, live=True)
        if one.shipment_id is None:
            raise Invalid(f"{self.shop.name} did not tell its name of this label; give it back there.")
        fresh = self.item.was is not ItemStatus.SENT
        number, shown = one.tracking_number, {parcel.tracking_number for parcel in orders[one.order].shipments}
        told = not one.confirms_order and (number in shown or (one.order, number) in promises.parcels)
        if fresh and (told or one.confirmed_by != self.item.payload["confirmed_by"]):
            raise Conflict("Its parcel has been confirmed to the channel meanwhile; take it back there first.")
        voided = await self.shop.labels.void(one.shipment_id, ask, before_send)
        return Sent(voided.upstream_request_id, live=True, keep=partial(self._keep, one=one, voided=voided))

    async def look(self, ask: Ask) -> Looked:
        raise AssertionError("the answer shows what has become of it")

    async def _keep(self, tx: AsyncConnection, *, one: KeptLabel, voided: Voided) -> None:
        await label.change(tx, one.id, label.Change(voided.status))
        await timeline.note(
            tx, [voided_step(one, voided.status, self.by, self.item.operation, voided.upstream_request_id)]
        )


def _check(package: Package, found: Order, labels: Sequence[KeptLabel]) -> None:
    """Whether the order may still ship, its units are open, and no label has been bought for them: the item may be an old one
    that was revived. Where a label takes the place of one by which the channel holds them for sent, none of them is open.

    Raises Conflict.
    """
    old = next((one for one in labels if one.id == package.replaces), None)
    again = old is not None and old.confirms_order and found.status is not OrderStatus.CANCELLED
    if found.held is not None or (found.status not in SHIPPABLE and not again):
        word = "held" if found.held is not None else found.status.value
        raise Conflict(f"Order {found.external_id} is {word}; nothing was bought.")
    if not again:
        _check_units(package, found, labels)


def _check_units(package: Package, found: Order, labels: Sequence[KeptLabel]) -> None:
    """Raises Conflict."""
    left = Counter({line.external_id: line.quantity_open for line in found.lines})
    told = {parcel.tracking_number for parcel in found.shipments}
    for one in labels:
        if one.status in HOLDING and one.tracking_number not in told:
            left.subtract(dict(one.lines))
    if any(units > left[line] for line, units in package.lines):
        raise Conflict(
            f"What is in the parcel of order {found.external_id} is sent or labeled already; nothing was bought."
        )


def voided_step(
    one: KeptLabel, status: LabelStatus, by: str, operation: OperationId | None = None, request_id: str | None = None
) -> Step:
    """What the order's timeline says of a label that was asked back, at each stage."""
    words = {
        LabelStatus.REFUND_PENDING: "was given back; the carrier decides about the money",
        LabelStatus.REFUNDED: f"was given back, with {one.price.amount} {one.price.currency}",
        LabelStatus.REFUND_REFUSED: "is not taken back: the carrier has the parcel",
        LabelStatus.BOUGHT: "stands again",
    }[status]
    return Step(
        one.order,
        StepKind.LABEL_VOIDED,
        by,
        f"Label {one.tracking_number or one.id} {words}",
        f"label:{one.id}:{status.value}",
        operation=operation,
        upstream_request_id=request_id,
    )


async def keep_document(tx: AsyncConnection, deps: Deps, id: str, bought: Purchase) -> None:
    """Keep what is to be printed; without a key to seal it with, say so."""
    if bought.label is None:
        return
    try:
        await label.keep_document(tx, deps.ring, id, bought.label)
    except Invalid as problem:
        await label.change(tx, id, label.Change(missing=problem.message))

"""Labels: what carriers ask for a parcel, buying and giving back, and the links by which labels are fetched."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fulfillment import LabelShop
from domain.budget import Ask
from domain.errors import Conflict, Invalid, NotFound, Refused
from domain.fulfillment import Fulfillment
from domain.ids import ChannelId, LocationCode, OperationId, OrderId
from domain.label import HOLDING, Box, KeptLabel, LabelFormat, LabelStatus, Offer, Wish, taken
from domain.operation import Capability, Kind, NewItem, Operation, OperationStatus
from domain.order import SHIPPABLE, Order, OrderStatus
from domain.package import Package
from domain.product import FulfilledBy
from domain.shipment import Promises, ShippedLine, check_whole, resource
from resolvers.link import Links
from resolvers.request import Accepted, Asked, Made, check_key, contents_hash, keep
from resolvers.shelf import Shelf
from store import agenda, fulfillment, label, operation, person, shipment

MOST_PACKAGES = 200
# Of a dry run each asks for its rates while the caller waits.
MOST_PREVIEWED = 20
MOST_LABELS = 200
LINKS = Links("/labels/", "links to labels")
# A label shows who lives where: whoever sends parcels may see it, and whoever may see buyers.
PRINTERS = frozenset({"shipments:write", "orders:pii"})

ENDED_BADLY = frozenset({OperationStatus.FAILED, OperationStatus.CANCELLED})


@dataclass(frozen=True, slots=True)
class PackageRequest:
    """A parcel as a caller tells it. What is None is chosen: all that is open, the only place that has an address, who sells
    labels for the order."""

    order: OrderId
    box: Box
    lines: tuple[ShippedLine, ...] | None = None
    place: LocationCode | None = None
    shop: ChannelId | None = None
    wish: Wish = field(default_factory=Wish)
    format: LabelFormat = LabelFormat.PDF
    ship_at: datetime | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """What one shop asks. `in_time`: it arrives within what the buyer was promised; None where one of the two is not known."""

    shop: LabelShop
    offer: Offer
    in_time: bool | None


@dataclass(slots=True)
class _Spoken:
    """What of orders is spoken for: by parcels on their way to their channels, by labels, and by labels that are being bought;
    and what of them is promised where."""

    promises: Promises
    labels: Mapping[OrderId, Sequence[KeptLabel]]
    wanted: list[Mapping[str, Any]]
    parts: Mapping[OrderId, Sequence[Fulfillment]]

    def units(self, found: Order) -> Counter[str]:
        """Units by the channel's line id."""
        known = {one.id for one in self.labels.get(found.id, ())}
        told = {parcel.tracking_number for parcel in found.shipments}
        units = Counter({line: count for (id, line), count in self.promises.units.items() if id == found.id})
        for one in self.labels.get(found.id, ()):
            number = one.tracking_number or ""
            if one.status in HOLDING and number not in told and (found.id, number) not in self.promises.parcels:
                units.update(dict(one.lines))
        for payload in self.wanted:
            if payload["order_id"] == found.id and "void" not in payload and payload["reference"] not in known:
                units.update({str(line): int(count) for line, count in payload["lines"]})
        return units

    def voids(self, id: str) -> bool:
        """Whether the label is being given back."""
        return any(payload.get("void") == id for payload in self.wanted)

    def replaced(self, id: str) -> bool:
        """Whether another label has its place, or is to have it."""
        there = any(one.replaces == id for labels in self.labels.values() for one in labels)
        return there or any(payload.get("replaces") == id for payload in self.wanted)


async def offers(shelf: Shelf, ask: Ask, request: PackageRequest, at: tuple[str, ...] = ()) -> list[Offered]:
    """What everybody asks who may sell a label for the parcel, the cheapest first. Raises Refused, with the field
    below `at`; what the only shop raises."""
    if ask.before_calls is not None and not await ask.before_calls(()):
        return []
    async with shelf.store.begin() as tx:
        orders, spoken = await _locked(tx, [request.order])
        found = _order(request, orders, at)
        shops = _shops(shelf, request, found, at)
        package = _package(shelf, request, found, spoken, at, confirm=False)
    told = [one for shop in shops for one in await _asked(shelf, ask, shop, package, found, at)]
    return sorted(told, key=lambda one: (one.offer.price.amount, one.offer.service_id))


async def buy(
    shelf: Shelf,
    ask: Ask,
    requested_by: str,
    correlation_id: str,
    requests: Sequence[PackageRequest],
    *,
    idempotency_key: str | None,
    dry_run: bool,
    confirm: bool,
) -> Accepted:
    """Keep an operation that buys a label for each parcel, all or none, and wake its lanes.

    A dry run asks for the rates, and buys, when it is approved, what was shown and not for more. A repeated idempotency key
    answers the first operation as it stands; with other contents it is a Conflict.
    """
    most = MOST_PREVIEWED if dry_run else MOST_PACKAGES
    if not 1 <= len(requests) <= most:
        words = f"Buy 1 to {most} labels at a time{' by a dry run' if dry_run else ''}; these are {len(requests)}."
        return Accepted(None, [Invalid(words, field=("packages",))])
    asked = Asked(
        requested_by,
        correlation_id,
        contents_hash("labels", dry_run, confirm, [_told(one) for one in requests]),
        idempotency_key,
        dry_run,
    )
    if dry_run:
        return await _previewed(shelf, ask, asked, requests, confirm)

    async def lock(tx: AsyncConnection) -> tuple[dict[OrderId, Order], _Spoken]:
        shelf.ring.check()
        return await _locked(tx, {one.order for one in requests})

    async def make(_: AsyncConnection, held: tuple[dict[OrderId, Order], _Spoken]) -> Made:
        orders, spoken = held
        chosen, problems = _packages(shelf, requests, orders, spoken, confirm)
        return [_item(shop, one, orders[one.order], requested_by, None) for shop, one in chosen], problems

    return await keep(shelf, asked, Kind.BUY_LABELS, lock, make)


async def recheck(shelf: Shelf, tx: AsyncConnection, one: OperationId) -> None:
    """A preview holds no units: before it is approved its parcels must still fit. Raises Conflict naming those that do not."""
    payloads = await agenda.payloads(tx, one)
    orders, spoken = await _locked(tx, {OrderId(str(payload["order_id"])) for payload in payloads})
    gone = []
    for payload in payloads:
        package, found = Package.from_json(payload), orders[OrderId(str(payload["order_id"]))]
        try:
            _check_order(found, spoken, package.replaces, ())
            old = _replaced(found, spoken, package.replaces, ())
            if old is None or not old.confirms_order:
                _check_lines(found, dict(package.lines), spoken.units(found), ())
        except Refused:
            gone.append(found.external_id)
        spoken.wanted.append(payload)
    if gone:
        raise Conflict(
            f"Meanwhile these orders have changed and their parcels fit no more: {', '.join(gone)}. Ask for a new preview.",
            field=("id",),
        )


async def void(
    shelf: Shelf, requested_by: str, correlation_id: str, ids: Sequence[str], *, idempotency_key: str | None
) -> Accepted:
    """Keep an operation that asks the money back for each label, all or none, and wake its lanes."""
    if not 1 <= len(set(ids)) == len(ids) <= MOST_LABELS:
        return Accepted(None, [Invalid(f"Name 1 to {MOST_LABELS} labels, each once.", field=("labelIds",))])
    contents = contents_hash("void labels", list(ids))

    async def lock(tx: AsyncConnection) -> tuple[dict[OrderId, Order], _Spoken]:
        found = await label.by_ids(tx, ids)
        return await _locked(tx, {one.order for one in found.values()})

    async def make(tx: AsyncConnection, held: tuple[dict[OrderId, Order], _Spoken]) -> Made:
        orders, spoken = held
        # Behind the lock they stand as they are.
        found = {one.id: one for labels in spoken.labels.values() for one in labels}
        confirmed = await operation.by_ids(tx, [one.confirmed_by for one in found.values() if one.confirmed_by])
        items: list[NewItem] = []
        problems: list[Refused] = []
        for index, id in enumerate(ids):
            try:
                one = _voidable(shelf, found.get(id), orders, spoken, confirmed, ("labelIds", str(index)))
            except Refused as problem:
                problems.append(problem)
                continue
            items.append(_void_item(one, orders[one.order], requested_by))
        return items, problems

    asked = Asked(requested_by, correlation_id, contents, idempotency_key)
    return await keep(shelf, asked, Kind.VOID_LABELS, lock, make)


async def by_orders(shelf: Shelf, ids: Collection[OrderId]) -> dict[OrderId, list[KeptLabel]]:
    """The labels of each order, oldest first."""
    async with shelf.store.begin() as tx:
        found = await label.by_orders(tx, ids)
    return {id: found.get(id, []) for id in ids}


async def by_tracking_numbers(shelf: Shelf, numbers: Collection[str]) -> dict[str, KeptLabel]:
    """The label that has each number alone."""
    async with shelf.store.begin() as tx:
        return await label.by_tracking_numbers(tx, numbers)


def link(shelf: Shelf, scopes: frozenset[str], one: KeptLabel | None) -> str | None:
    """Where the label can be fetched for ten minutes, below the gateway's address, by whoever has the link; None where nothing is
    kept, or to who may not see it."""
    if one is None or not one.printable or scopes.isdisjoint(PRINTERS):
        return None
    return LINKS.to(shelf, one.id).url


async def _locked(tx: AsyncConnection, ids: Collection[OrderId]) -> tuple[dict[OrderId, Order], _Spoken]:
    """The orders there are of `ids`, held until `tx` ends, and what is spoken for of them."""
    orders, promises = await shipment.locked(tx, ids)
    labels = await label.by_orders(tx, orders)
    wanted = await agenda.under_way(tx, Capability.LABELS, [resource(one) for one in orders])
    return orders, _Spoken(promises, labels, list(wanted), await fulfillment.by_orders(tx, orders))


def _packages(
    shelf: Shelf, requests: Sequence[PackageRequest], orders: Mapping[OrderId, Order], spoken: _Spoken, confirm: bool
) -> tuple[list[tuple[LabelShop, Package]], list[Refused]]:
    """Who sells each label, and the parcel; units of an earlier one are gone for the later ones."""
    chosen: list[tuple[LabelShop, Package]] = []
    problems: list[Refused] = []
    for index, one in enumerate(requests):
        at = ("packages", str(index))
        try:
            found = _order(one, orders, at)
            shop = _only(_shops(shelf, one, found, at), at)
            package = _package(shelf, one, found, spoken, at, confirm=confirm)
        except Refused as problem:
            problems.append(problem)
            continue
        chosen.append((shop, package))
        spoken.wanted.append(package.to_json())
    return chosen, problems


def _order(one: PackageRequest, orders: Mapping[OrderId, Order], at: tuple[str, ...]) -> Order:
    found = orders.get(one.order)
    if found is None:
        raise NotFound(f"There is no order {one.order}.", field=(*at, "orderId"))
    return found


def _shops(shelf: Shelf, one: PackageRequest, found: Order, at: tuple[str, ...]) -> list[LabelShop]:
    """Who may sell a label for it: its own channel alone where that sells labels, else every carrier."""
    if one.shop is not None:
        shop = shelf.label_shops.get(one.shop)
        if shop is None:
            names = ", ".join(id for id, each in shelf.label_shops.items() if not each.own or id == found.channel)
            raise NotFound(
                f"{one.shop} sells no labels for this order. Who does: {names or 'nobody'}.", field=(*at, "seller")
            )
        if shop.own and shop.id != found.channel:
            raise Invalid(f"{shop.name} sells labels for its own orders only.", field=(*at, "seller"))
        return [shop]
    own = shelf.label_shops.get(found.channel)
    if own is not None:
        return [own]
    carriers = [shop for shop in shelf.label_shops.values() if not shop.own]
    if not carriers:
        raise Invalid("There is no [[carriers]] in acorn.toml to buy labels from.", field=(*at, "seller"))
    return carriers


def _only(shops: Sequence[LabelShop], at: tuple[str, ...]) -> LabelShop:
    if len(shops) > 1:
        names = ", ".join(shop.id for shop in shops)
        raise Invalid(f"Say whose label it is to be: {names}.", field=(*at, "seller"))
    return shops[0]


def _package(
    shelf: Shelf, one: PackageRequest, found: Order, spoken: _Spoken, at: tuple[str, ...], *, confirm: bool
) -> Package:
    """The parcel, checked against its order. Raises Refused."""
    _check_order(found, spoken, one.replaces, at)
    return Package(
        reference=str(uuid4()),
        order=found.id,
        location=_place(shelf, one, spoken, at),
        lines=tuple(_lines(one, found, spoken, at).items()),
        box=one.box,
        format=one.format,
        wish=one.wish,
        ship_at=one.ship_at,
        confirm=confirm,
        replaces=one.replaces,
    )


def _check_order(found: Order, spoken: _Spoken, replaces: str | None, at: tuple[str, ...]) -> None:
    here = (*at, "orderId")
    check_whole(found, here)
    if found.fulfilled_by is FulfilledBy.CHANNEL:
        raise Invalid(f"Order {found.external_id} is shipped by its channel, not by us.", field=here)
    old = _replaced(found, spoken, replaces, at)
    again = old is not None and old.confirms_order and found.status is not OrderStatus.CANCELLED
    if found.status not in SHIPPABLE and not again:
        raise Conflict(f"Order {found.external_id} is {found.status.value} and cannot ship.", field=here)
    if found.held is not None:
        raise Conflict(
            f"Order {found.external_id} is held and cannot ship: {found.held} Release or approve it first.", field=here
        )
    if found.id in spoken.promises.cancels:
        raise Conflict(f"Order {found.external_id} is being cancelled.", field=here)


def _replaced(found: Order, spoken: _Spoken, id: str | None, at: tuple[str, ...]) -> KeptLabel | None:
    """The label whose place another is to take. Raises Refused."""
    if id is None:
        return None
    here = (*at, "replacesId")
    old = next((one for one in spoken.labels.get(found.id, ()) if one.id == id), None)
    if old is None:
        raise NotFound(f"Order {found.external_id} has no label {id}.", field=here)
    if old.status in HOLDING:
        raise Conflict(f"Label {id} has not been given back; void it first.", field=here)
    if spoken.replaced(id):
        raise Conflict(f"Label {id} has been replaced already.", field=here)
    return old


def _lines(one: PackageRequest, found: Order, spoken: _Spoken, at: tuple[str, ...]) -> dict[str, int]:
    """Units by the channel's line id. Raises Refused."""
    old = _replaced(found, spoken, one.replaces, at)
    spoken_for = spoken.units(found)
    if old is None and one.lines is None:
        left = {line.external_id: line.quantity_open - spoken_for[line.external_id] for line in found.lines}
        rest = {line: units for line, units in left.items() if units > 0}
        if not rest:
            raise Conflict(f"Nothing of order {found.external_id} is left to label.", field=(*at, "orderId"))
        return rest
    names = {line.id: line.external_id for line in found.lines}
    wanted = Counter(dict(old.lines)) if old is not None and one.lines is None else Counter[str]()
    for position, line in enumerate(one.lines or ()):
        if line.line not in names:
            raise NotFound(
                f"Order {found.external_id} has no line {line.line}.",
                field=(*at, "lines", str(position), "orderLineId"),
            )
        if line.quantity < 1:
            raise Invalid("A line of a parcel has at least one unit.", field=(*at, "lines", str(position), "quantity"))
        wanted[names[line.line]] += line.quantity
    if not wanted:
        raise Invalid("Name at least one line, or leave `lines` out for all that is open.", field=(*at, "lines"))
    if old is not None and old.confirms_order:
        # The channel takes these for sent: there is nothing open, and exactly what was in the old parcel may be in the new one.
        open_ = Counter(dict(old.lines))
        _check_units(dict(wanted), open_, at)
    else:
        _check_lines(found, dict(wanted), spoken_for, at)
    return dict(wanted)


def _check_lines(found: Order, wanted: Mapping[str, int], spoken_for: Counter[str], at: tuple[str, ...]) -> None:
    _check_units(
        wanted,
        Counter({line.external_id: line.quantity_open - spoken_for[line.external_id] for line in found.lines}),
        at,
    )


def _check_units(wanted: Mapping[str, int], left: Counter[str], at: tuple[str, ...]) -> None:
    for line, units in wanted.items():
        if units > left[line]:
            raise Conflict(
                f"{units} units of line {line} cannot be sent: {max(0, left[line])} are open and in no other parcel.",
                field=(*at, "lines"),
            )


def _place(shelf: Shelf, one: PackageRequest, spoken: _Spoken, at: tuple[str, ...]) -> LocationCode:
    """Where it is sent from; where it is not told, the only place that has something of the order left to send, or an address.
    Raises Refused."""
    places = [place.code for place in shelf.locations if place.address is not None]
    if one.place is not None and one.place not in places:
        raise NotFound(
            f"There is no address of {one.place} to send from; there is one of {', '.join(places) or 'no place'}.",
            field=(*at, "location"),
        )
    if one.place is not None:
        return one.place
    promised = [part.place for part in spoken.parts.get(one.order, ()) if part.open]
    chosen = promised if len(promised) == 1 and promised[0] in places else places
    if len(chosen) != 1:
        raise Invalid(
            f"Say where it is sent from: {', '.join(places) or 'no place has a [locations.address] in acorn.toml'}.",
            field=(*at, "location"),
        )
    return chosen[0]


async def _asked(
    shelf: Shelf, ask: Ask, shop: LabelShop, package: Package, found: Order, at: tuple[str, ...]
) -> list[Offered]:
    """The offers of one shop. Raises what it raises, about the parcel as a whole: the words of its fields are its own."""
    people = {}
    if not shop.own:
        async with shelf.store.begin() as tx:
            people = await person.by_orders(tx, shelf.ring, [found.id])
    wanted = package.wanted(found, shelf.locations, people.get(found.id), own=shop.own)
    try:
        told = await shop.labels.offers(wanted, replace(ask, about=(f"order:{found.external_id}",)))
    except Refused as problem:
        problem.field = at
        raise
    by = found.deliver_by
    return [
        Offered(shop, one, None if by is None or one.arrives_until is None else one.arrives_until <= by)
        for one in told
        if not one.needs_more
    ]


async def _previewed(
    shelf: Shelf, ask: Ask, asked: Asked, requests: Sequence[PackageRequest], confirm: bool
) -> Accepted:
    """A PREVIEW of what would be bought, and for how much at the most. Carriers are asked outside any transaction."""
    try:
        check_key(asked.idempotency_key)
        shelf.ring.check()
        async with shelf.store.begin() as tx:
            orders, spoken = await _locked(tx, {one.order for one in requests})
            first = await operation.by_key(tx, asked.requested_by, asked.idempotency_key, asked.contents)
            if first is not None:
                return Accepted(first, [])
            chosen, problems = _packages(shelf, requests, orders, spoken, confirm)
    except Refused as problem:
        return Accepted(None, [problem])
    if problems:
        return Accepted(None, problems)
    items: list[NewItem] = []
    for index, (shop, package) in enumerate(chosen):
        found = orders[package.order]
        at = ("packages", str(index))
        try:
            told = [one.offer for one in await _asked(shelf, ask, shop, package, found, at)]
            offer = taken(told, package.wish, package.format, found.deliver_by)
        except Refused as problem:
            problem.field = at
            problems.append(problem)
            continue
        pinned = replace(package, wish=Wish(offer.service_id, in_time=False, most=offer.price))
        items.append(_item(shop, pinned, found, asked.requested_by, offer))

    async def lock(_: AsyncConnection) -> None:
        return None

    async def make(_: AsyncConnection, held: None) -> Made:
        return items, problems

    return await keep(shelf, asked, Kind.BUY_LABELS, lock, make)


def _item(shop: LabelShop, package: Package, found: Order, by: str, offer: Offer | None) -> NewItem:
    after: dict[str, object] = {
        "label": package.reference,
        "location": package.location,
        "seller": shop.id,
        "lines": dict(package.lines),
        "format": package.format.value,
    }
    if offer is not None:
        arrives = None if offer.arrives_until is None else offer.arrives_until.astimezone(UTC).isoformat()
        price = {"amount": str(offer.price.amount), "currency": offer.price.currency}
        after |= {"carrier": offer.carrier, "service": offer.service, "price": price, "arrivesUntil": arrives}
    return NewItem(
        channel=shop.id,
        capability=Capability.LABELS,
        resource=resource(found.id),
        key=f"{found.channel}/{found.external_id}",
        payload={**package.to_json(), "external_id": found.external_id, "by": by},
        after=json.dumps(after, ensure_ascii=False),
        deadline_at=found.ship_by,
    )


def _voidable(
    shelf: Shelf,
    one: KeptLabel | None,
    orders: Mapping[OrderId, Order],
    spoken: _Spoken,
    confirmed: Mapping[OperationId, Operation],
    at: tuple[str, ...],
) -> KeptLabel:
    """A label that can be given back; `confirmed` are the operations that told channels of parcels. Raises Refused."""
    if one is None:
        raise NotFound("There is no such label.", field=at)
    if one.status is not LabelStatus.BOUGHT:
        raise Conflict(f"Label {one.id} is {one.status.value}, so there is nothing to give back.", field=at)
    if spoken.voids(one.id):
        raise Conflict(f"Label {one.id} is being given back already.", field=at)
    if one.shop not in shelf.label_shops or one.shipment_id is None:
        raise Invalid(f"Label {one.id} cannot be given back from here; do so at {one.shop}.", field=at)
    number, found = one.tracking_number or "", orders[one.order]
    shown = any(parcel.tracking_number == number for parcel in found.shipments)
    by = None if one.confirmed_by is None else confirmed.get(one.confirmed_by)
    if not one.confirms_order and (shown or (found.id, number) in spoken.promises.parcels or _stands(by, found)):
        raise Conflict(
            f"The buyer of order {found.external_id} has been told of parcel {number}. Take the parcel back at {found.channel} "
            "first; once the order has come in without it, its label can be given back.",
            field=at,
        )
    return one


def _stands(confirmation: Operation | None, found: Order) -> bool:
    """Whether the channel has been told of a parcel that `found` does not show, and has not told of the order since."""
    if confirmation is None or confirmation.status in ENDED_BADLY:
        return False
    ended = confirmation.finished_at
    return ended is None or found.read_at is None or found.read_at <= ended


def _void_item(one: KeptLabel, found: Order, by: str) -> NewItem:
    price = {"amount": str(one.price.amount), "currency": one.price.currency}
    return NewItem(
        channel=one.shop,
        capability=Capability.LABELS,
        resource=resource(found.id),
        key=f"{found.channel}/{found.external_id}",
        payload={
            "void": one.id,
            "order_id": one.order,
            "external_id": found.external_id,
            "confirmed_by": one.confirmed_by,
            "by": by,
        },
        before=json.dumps({"label": one.id, "status": one.status.value, "price": price}),
        after=json.dumps({"status": LabelStatus.REFUND_PENDING.value}),
    )


def _told(one: PackageRequest) -> object:
    """A request as JSON values."""
    told = asdict(one)
    told["format"], told["box"] = one.format.value, [str(size) for size in asdict(one.box).values()]
    told["ship_at"] = None if one.ship_at is None else one.ship_at.astimezone(UTC).isoformat()
    most = one.wish.most
    told["wish"] = [one.wish.service_id, one.wish.in_time, None if most is None else [str(most.amount), most.currency]]
    return told

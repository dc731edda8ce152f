"""Buying labels and giving them back: what is kept, what is refused, that no unit gets two labels, and who may print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import insert

from adapters.fulfillment import LabelShop
from adapters.port import BeforeSend
from domain.budget import Ask
from domain.channel import Location, LocationKind
from domain.errors import Conflict, HouseError, Invalid, NotFound
from domain.ids import ChannelId, LocationCode
from domain.label import Box, KeptLabel, Label, LabelFormat, LabelStatus, LabelWanted, Offer, Purchase, Voided
from domain.money import Money
from domain.operation import Capability, ItemStatus, Kind, OperationStatus, Outcome
from domain.order import Order, OrderStatus
from domain.person import Person, Recipient
from domain.shipment import ShippedLine
from gateway.linked import Linked as Route
from resolvers import cancel, label, operation, shipment
from resolvers.cancel import CancelReason, CancelRequest
from resolvers.label import PackageRequest
from resolvers.request import Accepted
from resolvers.shelf import Shelf
from schema.label import LabelOffer
from store import agenda, order, person
from store import label as labels
from store import operation as operations
from store.keyring import Keyring
from store.session import Store
from store.tables import order_allocation, product
from tests.adapters.amazon.parcels import BUYER, DEPOT
from tests.resolvers.test_hold import Shop
from tests.resolvers.test_shipment import CHANNEL, CountingBell, make_order, parcel
from tests.resolvers.test_stock import House

PARCELS, AMAZON = ChannelId("parcels"), ChannelId("amazon-eu")
BOX = Box(Decimal(30), Decimal(20), Decimal(10), Decimal(850))
HOME = Recipient("US", BUYER.name, BUYER.line1, city=BUYER.city, region="WA", postal_code=BUYER.postal_code)


def offer(service: str, amount: str, days: int = 2) -> Offer:
    at = datetime.now(UTC) + timedelta(days=days)
    return Offer(
        service, "dhl", "DHL", service, service, Money(Decimal(amount), "EUR"), None, at, frozenset(LabelFormat)
    )


@dataclass
class Desk:
    """Sells what it is told to, and writes down for whom."""

    rates: list[Offer] = field(default_factory=lambda: [offer("slow", "3.90", 5), offer("fast", "9.90", 1)])
    asked: list[LabelWanted] = field(default_factory=list)

    async def offers(self, wanted: LabelWanted, ask: Ask) -> list[Offer]:
        self.asked.append(wanted)
        return self.rates

    async def buy(
        self, wanted: LabelWanted, offer: Offer, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Purchase:
        raise AssertionError("a resolver buys nothing")

    async def void(self, shipment_id: str, ask: Ask, before_send: BeforeSend) -> Voided:
        raise AssertionError("a resolver gives nothing back")


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def bell() -> CountingBell:
    return CountingBell()


@pytest.fixture
def shelf(store: Store, redis: Redis, bell: CountingBell, desk: Desk) -> Shelf:
    place = Location(LocationCode("RNO"), "Reno", LocationKind.WAREHOUSE, ChannelId("ledger"), "", address=DEPOT)
    shops = {
        PARCELS: LabelShop(PARCELS, "Parcels", desk, own=False, lag_s=1.0),
        AMAZON: LabelShop(AMAZON, "Amazon", desk, own=True, lag_s=1.0),
    }
    ring = Keyring([Fernet.generate_key().decode()])
    return replace(House(store, redis).shelf, bell=bell, locations=[place], label_shops=shops, ring=ring)


async def keep(shelf: Shelf, one: Order) -> Order:
    one = replace(one, person=Person(BUYER.name, None, HOME))
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [one])
        await person.keep(tx, shelf.ring, [one])
    return one


def package(of: Order, *lines: tuple[int, int], **more: Any) -> PackageRequest:
    """A parcel with (line's position, units), or with all that is open."""
    told = tuple(ShippedLine(of.lines[at].id, units) for at, units in lines) or None
    return PackageRequest(of.id, BOX, told, **more)


async def buy(shelf: Shelf, *packages: PackageRequest, **more: Any) -> Accepted:
    values: dict[str, Any] = {"idempotency_key": None, "dry_run": False, "confirm": False}
    return await label.buy(shelf, Ask(), "packer", "req-1", packages, **(values | more))


async def void(shelf: Shelf, *ids: str, key: str | None = None) -> Accepted:
    return await label.void(shelf, "packer", "req-1", ids, idempotency_key=key)


async def payloads(shelf: Shelf, kept: Accepted) -> Sequence[Any]:
    assert kept.operation is not None, kept.problems
    async with shelf.store.begin() as tx:
        return await agenda.payloads(tx, kept.operation.id)


async def bought(shelf: Shelf, of: Order, kept: Accepted, **changes: Any) -> KeptLabel:
    """The label of an operation's only item, as its worker would keep it."""
    [payload] = await payloads(shelf, kept)
    assert kept.operation is not None
    values: dict[str, Any] = {
        "id": payload["reference"],
        "shop": PARCELS,
        "order": of.id,
        "operation": kept.operation.id,
        "location": LocationCode("RNO"),
        "lines": tuple((line, units) for line, units in payload["lines"]),
        "format": LabelFormat.PDF,
        "status": LabelStatus.BOUGHT,
        "carrier": "DHL",
        "service": "slow",
        "price": Money(Decimal("3.90"), "EUR"),
        "tracking_number": f"T{uuid4().hex[:10]}",
        "shipment_id": uuid4().hex,
        "confirms_order": False,
        "confirmed_by": None,
        "replaces": payload["replaces"],
        "missing": None,
        "whereabouts": None,
        "bought_at": shelf.clock(),
        "printable": False,
    }
    one = KeptLabel(**(values | changes))
    async with shelf.store.begin() as tx:
        await operations.cancel(tx, kept.operation.id)
        assert await labels.keep(tx, one)
        await labels.keep_document(tx, shelf.ring, one.id, Label(LabelFormat.PDF, b"%PDF-1", ""))
        return (await labels.by_ids(tx, [one.id]))[one.id]


def kinds(kept: Accepted) -> list[type[HouseError]]:
    return [type(problem) for problem in kept.problems]


async def test_a_parcel_becomes_an_item_of_its_sellers_lane_without_its_buyer(
    shelf: Shelf, bell: CountingBell, desk: Desk
) -> None:
    one = await keep(shelf, make_order(ship_by=datetime.now(UTC) + timedelta(hours=5)))
    kept = await buy(shelf, package(one), confirm=True)
    [payload] = await payloads(shelf, kept)
    assert kept.operation is not None
    assert (kept.operation.kind, kept.operation.status) == (Kind.BUY_LABELS, OperationStatus.QUEUED)
    assert (payload["lines"], payload["confirm"], payload["location"]) == ([["L0", 3], ["L1", 1]], True, "RNO")
    assert bell.rung == [(PARCELS, Capability.LABELS)]
    assert [word for word in (BUYER.name, BUYER.line1, BUYER.city) if word in json.dumps(payload)] == []
    assert desk.asked == [], "nobody was asked for a price"


async def test_no_unit_gets_two_labels(shelf: Shelf) -> None:
    one = await keep(shelf, make_order(quantities=(3, 1)))
    first = await buy(shelf, package(one, (0, 2)))
    assert kinds(await buy(shelf, package(one, (0, 2)))) == [Conflict]
    [rest] = await payloads(shelf, await buy(shelf, package(one)))
    assert rest["lines"] == [["L0", 1], ["L1", 1]]
    assert kinds(await buy(shelf, package(one))) == [Conflict]
    # Bought, the units stay spoken for; given back, they are free.
    label = await bought(shelf, one, first)
    assert kinds(await buy(shelf, package(one))) == [Conflict]
    async with shelf.store.begin() as tx:
        await labels.change(tx, label.id, labels.Change(LabelStatus.REFUNDED))
    [again] = await payloads(shelf, await buy(shelf, package(one)))
    assert again["lines"] == [["L0", 2]]


async def test_a_repeated_key_answers_the_first_operation(shelf: Shelf, bell: CountingBell) -> None:
    one = await keep(shelf, make_order())
    first, second = [await buy(shelf, package(one), idempotency_key="k") for _ in range(2)]
    assert first.operation is not None
    assert second.operation is not None
    assert (first.operation.id, len(bell.rung)) == (second.operation.id, 1)
    assert kinds(await buy(shelf, package(one), idempotency_key="k", confirm=True)) == [Conflict]


async def test_a_dry_run_shows_the_price_and_buys_no_dearer(shelf: Shelf, desk: Desk) -> None:
    one = await keep(shelf, make_order(deliver_by=datetime.now(UTC) + timedelta(days=3)))
    kept = await buy(shelf, package(one), dry_run=True)
    [payload] = await payloads(shelf, kept)
    assert kept.operation is not None
    [item] = (await operation.items(shelf, kept.operation.id, 1, None, None)).nodes
    assert kept.operation.status is OperationStatus.PREVIEW
    assert json.loads(item.after or "")["price"] == {"amount": "9.90", "currency": "EUR"}
    assert (payload["service"], payload["most"]) == ("fast", ["9.90", "EUR"])
    assert desk.asked[0].ship_to is not None
    approved = await operation.approve(shelf, kept.operation.id, "boss", frozenset(Kind))
    assert approved.status is OperationStatus.QUEUED


async def test_a_preview_whose_units_are_gone_is_not_approved(shelf: Shelf) -> None:
    one = await keep(shelf, make_order())
    kept = await buy(shelf, package(one), dry_run=True)
    await buy(shelf, package(one, (0, 1)))
    assert kept.operation is not None
    with pytest.raises(Conflict, match="1001"):
        await operation.approve(shelf, kept.operation.id, "boss", frozenset(Kind))


@pytest.mark.parametrize(
    ("changes", "asked", "kind", "field"),
    [
        ({"status": OrderStatus.CANCELLED}, {}, Conflict, "orderId"),
        ({"whole": False}, {}, Conflict, "orderId"),
        ({}, {"shop": ChannelId("nobody")}, NotFound, "seller"),
        ({}, {"shop": AMAZON}, Invalid, "seller"),
        ({}, {"place": LocationCode("MARS")}, NotFound, "location"),
        ({}, {"replaces": "none"}, NotFound, "replacesId"),
    ],
)
async def test_what_cannot_be_sent_is_refused_with_its_field(
    shelf: Shelf, changes: dict[str, Any], asked: dict[str, Any], kind: type[HouseError], field: str
) -> None:
    one = await keep(shelf, make_order(**changes))
    refused = await buy(shelf, package(one, **asked))
    assert (kinds(refused), refused.problems[0].field) == ([kind], ("packages", "0", field))


async def test_without_a_key_to_seal_with_nothing_is_bought(shelf: Shelf) -> None:
    one = await keep(shelf, make_order())
    assert kinds(await buy(replace(shelf, ring=Keyring()), package(one))) == [Invalid]


async def test_offers_are_the_cheapest_first_and_say_what_is_in_time(shelf: Shelf) -> None:
    one = await keep(shelf, make_order(deliver_by=datetime.now(UTC) + timedelta(days=3)))
    told = await label.offers(shelf, Ask(), package(one))
    assert [(found.offer.service_id, found.in_time) for found in told] == [("slow", False), ("fast", True)]


async def test_a_rehearsal_asks_no_carrier(shelf: Shelf, desk: Desk) -> None:
    async def rehearsed(dues: Sequence[Any]) -> bool:
        return False

    one = await keep(shelf, make_order())
    assert await label.offers(shelf, Ask(before_calls=rehearsed), package(one)) == []
    assert desk.asked == []


async def test_a_label_is_given_back_once_and_another_takes_its_place(shelf: Shelf, bell: CountingBell) -> None:
    one = await keep(shelf, make_order())
    old = await bought(shelf, one, await buy(shelf, package(one)))
    assert kinds(await buy(shelf, package(one, replaces=old.id))) == [Conflict], "it was not given back"
    asked = await void(shelf, old.id, key="v")
    assert asked.operation is not None
    assert (await void(shelf, old.id, key="v")).operation == asked.operation
    assert kinds(await void(shelf, old.id)) == [Conflict]
    assert kinds(await void(shelf, "none")) == [NotFound]
    async with shelf.store.begin() as tx:
        await labels.change(tx, old.id, labels.Change(LabelStatus.REFUND_PENDING))
    [new] = await payloads(shelf, await buy(shelf, package(one, replaces=old.id)))
    assert (new["replaces"], new["lines"]) == (old.id, [["L0", 3], ["L1", 1]])
    assert new["reference"] != old.id
    assert kinds(await buy(shelf, package(one, replaces=old.id))) == [Conflict], "it has been replaced"


async def test_an_order_with_a_label_in_hand_is_not_cancelled(shelf: Shelf) -> None:
    one = await keep(shelf, make_order())
    found = await bought(shelf, one, await buy(shelf, package(one)))
    shop: Any = Shop(shelf.ports[CHANNEL])
    canceling = replace(shelf, ports={**shelf.ports, CHANNEL: shop})

    async def ask() -> Accepted:
        wish = CancelRequest(one.id, CancelReason.BUYER)
        return await cancel.cancel(canceling, "ann", "r", [wish], idempotency_key=None, dry_run=False)

    [refused] = (await ask()).problems
    assert (found.id in refused.message, "voidLabels" in refused.message) == (True, True)
    async with shelf.store.begin() as tx:
        await labels.change(tx, found.id, labels.Change(LabelStatus.REFUND_PENDING))
    assert (await ask()).operation is not None


async def test_a_label_whose_parcel_was_confirmed_is_not_given_back(shelf: Shelf) -> None:
    one = await keep(shelf, make_order())
    found = await bought(shelf, one, await buy(shelf, package(one)))
    await shipment.confirm(
        shelf, "packer", "r", [parcel(one, found.tracking_number or "")], idempotency_key=None, dry_run=False
    )
    refused = await void(shelf, found.id)
    assert kinds(refused) == [Conflict]
    assert "Take the parcel back at shop first" in refused.problems[0].message


async def test_a_label_is_given_back_when_its_channel_shows_its_parcel_no_more(shelf: Shelf) -> None:
    one = await keep(shelf, make_order(quantities=(2,)))
    found = await bought(shelf, one, await buy(shelf, package(one)))
    told = [parcel(one, found.tracking_number or "")]
    confirmed = await shipment.confirm(shelf, "packer", "r", told, idempotency_key=None, dry_run=False)
    assert confirmed.operation is not None
    async with shelf.store.begin() as tx:
        await labels.change(tx, found.id, labels.Change(confirmed_by=confirmed.operation.id))
    for status in (ItemStatus.ACCEPTED, ItemStatus.VERIFIED):
        async with shelf.store.begin() as tx:
            [item] = await agenda.claim(tx, one.channel, Capability.SHIPMENTS, limit=1, lease_s=9.0, worker="w")
            await agenda.record(tx, [Outcome(item.id, item.fence, status)])
    assert kinds(await void(shelf, found.id)) == [Conflict], "the order was not read since"
    again = replace(one, updated_at=one.updated_at + timedelta(minutes=1), read_at=datetime.now(UTC))
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [again])
    assert (await void(shelf, found.id)).problems == []


async def test_what_a_label_alone_confirms_is_not_confirmed_once_more(shelf: Shelf) -> None:
    one = await keep(shelf, make_order(quantities=(3,)))
    found = await bought(shelf, one, await buy(shelf, package(one, (0, 2))), confirms_order=True)

    async def confirm(number: str, *lines: tuple[int, int]) -> Accepted:
        told = [parcel(one, number, *lines)]
        return await shipment.confirm(shelf, "wms", "r", told, idempotency_key=None, dry_run=False)

    again = await confirm(found.tracking_number or "")
    assert [problem.field for problem in again.problems] == [("shipments", "0", "trackingNumber")]
    assert kinds(await confirm("JD02", (0, 2))) == [Invalid]
    [rest] = await payloads(shelf, await confirm("JD02"))
    assert rest["lines"] == [["L0", 1]]


async def test_a_label_in_anothers_place_needs_units_that_are_open(shelf: Shelf) -> None:
    one = await keep(shelf, make_order(quantities=(2, 1)))
    old = await bought(shelf, one, await buy(shelf, package(one, (0, 2))))
    async with shelf.store.begin() as tx:
        await labels.change(tx, old.id, labels.Change(LabelStatus.REFUNDED))
    told = [parcel(one, "JD02", (0, 2))]
    assert (await shipment.confirm(shelf, "wms", "r", told, idempotency_key=None, dry_run=False)).problems == []
    assert kinds(await buy(shelf, package(one, replaces=old.id))) == [Conflict]


async def fetched(shelf: Shelf, link: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    path, _, query = link.partition("?")
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": []}
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("it has no body")

    async def send(message: Any) -> None:
        sent.append(message)

    await Route(shelf)(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, sent[1]["body"]


async def test_a_link_is_for_who_may_print_and_ends_after_ten_minutes(shelf: Shelf) -> None:
    one = await keep(shelf, make_order())
    found = await bought(shelf, one, await buy(shelf, package(one)))
    assert label.link(shelf, frozenset({"orders:read", "stock:write"}), found) is None
    link = label.link(shelf, frozenset({"orders:pii"}), found)
    assert link is not None
    status, headers, body = await fetched(shelf, link)
    assert (status, headers["content-type"], body) == (200, "application/pdf", b"%PDF-1")
    assert headers["cache-control"] == "no-store"
    assert (await fetched(shelf, link, "HEAD"))[2] == b""
    assert (await fetched(shelf, link, "POST"))[0] == 405
    later = replace(shelf, clock=lambda: datetime.now(UTC) + timedelta(minutes=10, seconds=1))
    assert (await fetched(later, link))[0] == 403
    forged = link.replace("expires=", "expires=9")
    other = link.replace(found.id, str(uuid4()))
    unsigned = link.partition("&")[0]
    assert [(await fetched(shelf, one))[0] for one in (forged, other, unsigned, link[:-1], "/labels/x")] == [403] * 5
    async with shelf.store.begin() as tx:
        assert await labels.forget_orders(tx, [one.id]) == 1
    assert (await fetched(shelf, link))[0] == 410
    assert label.link(shelf, frozenset({"shipments:write"}), replace(found, printable=False)) is None
    assert label.link(shelf, frozenset({"admin"}), found) is None, "it shows where the buyer lives"


async def test_a_tracking_number_of_two_labels_names_neither(shelf: Shelf) -> None:
    made = []
    for number in ("1001", "1002"):
        one = await keep(shelf, make_order(number))
        made.append(await bought(shelf, one, await buy(shelf, package(one)), tracking_number="T1"))
    assert await label.by_tracking_numbers(shelf, ["T1"]) == {}
    found = await label.by_orders(shelf, [one.order for one in made])
    assert [[one.id for one in found[each.order]] for each in made] == [[each.id] for each in made]


async def test_a_parcel_is_sent_from_where_its_units_are_promised_unless_it_is_told(shelf: Shelf) -> None:
    reno = shelf.locations[0]
    both = replace(shelf, locations=[reno, replace(reno, code=LocationCode("BER"))])
    one = await keep(both, make_order())
    [told] = (await buy(both, package(one))).problems
    assert (told.message, told.field) == ("Say where it is sent from: RNO, BER.", ("packages", "0", "location"))
    async with both.store.begin() as tx:
        await tx.execute(insert(product).values(sku="MUG", title="Mug"))
        await tx.execute(
            insert(order_allocation).values(
                order_id=one.id, order_line_id=one.lines[0].id, sku="MUG", location="BER", quantity=3
            )
        )
    [payload] = await payloads(both, await buy(both, package(one, (0, 1))))
    assert payload["location"] == "BER"
    [payload] = await payloads(both, await buy(both, package(one, (0, 1), place=LocationCode("RNO"))))
    assert payload["location"] == "RNO"


async def test_offers_are_told_as_the_schema_says(shelf: Shelf) -> None:
    """Each field was once read of the wrong thing, and no query could be answered."""
    one = await keep(shelf, make_order())
    told = [LabelOffer.of(offer) for offer in await label.offers(shelf, Ask(), package(one))]
    assert [(each.seller, each.carrier, each.service_id, str(each.price.amount), each.in_time) for each in told] == [
        ("parcels", "DHL", "slow", "3.90", None),
        ("parcels", "DHL", "fast", "9.90", None),
    ]
    assert told[0].formats == sorted(LabelFormat, key=lambda each: each.value)
